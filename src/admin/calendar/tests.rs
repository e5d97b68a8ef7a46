//! The page as it goes over the wire: escaped, and with a policy that allows its own style alone.

use http_body_util::BodyExt;
use kube::discovery::ApiResource;
use metal3::BareMetalHost;
use serde_json::json;
use tower::ServiceExt;

use super::*;
use crate::{api::v1::Reservation, reservations::caches::Freshness};

const HOSTILE: &str = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;{{x}}";

#[test]
fn whatever_a_name_holds_it_stays_a_text() {
    let now = "2026-11-24T18:00:00Z".parse().unwrap();
    let reservation: Reservation = serde_json::from_value(json!({
        "metadata": {"name": HOSTILE, "uid": "1"},
        "spec": {
            "requester": {"username": HOSTILE},
            "resource": {"name": HOSTILE},
            "window": {"start": "2026-11-24T17:00:00Z", "end": "2026-11-24T20:00:00Z"},
        },
        "status": {
            "phase": "Failed",
            "calendar": HOSTILE,
            "conditions": [{
                "type": "Provisioned", "status": "False", "reason": HOSTILE, "message": HOSTILE,
                "lastTransitionTime": "2026-11-24T17:30:00Z",
            }],
        },
    }))
    .unwrap();
    let mut host = BareMetalHost::new(HOSTILE, &BareMetalHost::resource());
    let status = host.status.get_or_insert_default();
    status.provisioning.state = HOSTILE.into();
    let facts = Facts {
        reservations: vec![reservation],
        calendars: Vec::new(),
        hosts: vec![host],
        freshness: Freshness::Current,
        show_users: true,
    };
    let view = view::view(&facts, Choice::default(), now);
    let style = view.places.clone();
    let page = Page {
        view: &view,
        style: &style,
    };
    let html = page.render().unwrap();
    for tag in ["<script", "<img", "onerror=alert(2)>", "\"'>"] {
        assert!(!html.contains(tag), "{tag}");
    }
    assert_eq!(html.matches("</style>").count(), 1);
    // Host, holder and machine, in the timeline and in both tables.
    assert!(
        html.matches("&#60;script&#62;alert(1)").count() >= 5,
        "{html}"
    );
}

#[tokio::test]
async fn the_policy_allows_this_style_sheet_and_nothing_else() {
    let resource: ApiResource = BareMetalHost::resource();
    let app = routes(Caches::offline(&resource), Clock::system(), false);
    let request = axum::http::Request::get("/calendar?view=week&refresh=off&x=%ff")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = app.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let header = |name: header::HeaderName| answer.headers()[name].to_str().unwrap().to_owned();
    let policy = header(header::CONTENT_SECURITY_POLICY);
    assert_eq!(header(header::CACHE_CONTROL), "no-store");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let html = String::from_utf8(body.to_vec()).unwrap();
    let style = html.split("<style>").nth(1).unwrap();
    let style = style.split("</style>").next().unwrap();
    let hash = STANDARD.encode(Sha256::digest(style));
    assert!(
        policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}';")),
        "{policy}"
    );
    // What the policy forbids isn't there, either.
    for absent in [
        "<script", "<link", "<img", "style=\"", "src=", "http:", "https:", "url(",
    ] {
        assert!(!html.contains(absent), "{absent}");
    }
    assert!(!html.contains("http-equiv=\"refresh\""), "{html}");
}
