//! `/calendar`: who has which host now and next, as a page for people.
//!
//! Shown to whoever reaches the admin port, so it names nobody unless the setting says so,
//! and nothing that a machine or an event brought in stands in it unescaped. It is made from
//! the caches alone: the API server is never asked, and may be away. Called by the wiring.

mod timeline;
mod times;
mod view;

use askama::Template;
use axum::{
    Router,
    extract::RawQuery,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use self::view::{Choice, Facts, Free, View};
use crate::{clock::Clock, reservations::caches::Caches};

/// The page, made anew for each request.
pub(crate) fn routes(caches: Caches, clock: Clock, show_users: bool) -> Router {
    let page = move |RawQuery(query): RawQuery| {
        let choice = Choice::read(query.as_deref().unwrap_or_default());
        let facts = Facts {
            reservations: caches.reservations(),
            calendars: caches.calendars(),
            hosts: caches.hosts(),
            freshness: caches.freshness(),
            show_users,
        };
        let view = view::view(&facts, choice, clock.now());
        async move { answer(&view) }
    };
    Router::new().route("/calendar", get(page))
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct Page<'a> {
    view: &'a View,
    /// Trusted: our own style sheet, and numbers.
    style: &'a str,
}

fn answer(view: &View) -> Response {
    let style = format!("{STYLE}{}", view.places);
    let page = Page {
        view,
        style: &style,
    };
    let Ok(html) = page.render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy(&style)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, html).into_response()
}

/// Nothing but this very style sheet: no scripts, no images, no frames, nowhere to send to.
fn policy(style: &str) -> String {
    let hash = STANDARD.encode(Sha256::digest(style));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

const STYLE: &str = include_str!("../../templates/calendar.css");

#[cfg(test)]
mod tests;
