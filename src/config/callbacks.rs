//! Where the portal wants to be told: addresses that can be posted to, and how long they
//! may take.

use std::time::Duration;

use axum::http::Uri;
use clap::Args;

use super::{BadSetting, bad};
use crate::{
    api::span,
    callbacks::{Endpoint, Endpoints},
};

/// The settings of the callbacks, as they were given.
#[derive(Args, Clone, Debug)]
pub(super) struct CallbackArgs {
    /// Where the portal takes notifications for users; unset: none are sent
    #[arg(long, env = NOTIFICATION_ENDPOINT, value_name = "URL")]
    notification_endpoint: Option<String>,

    /// How long a notification may take
    #[arg(long, env = "NOTIFICATION_TIMEOUT", default_value = "30s", value_parser = span::parse)]
    notification_timeout: Duration,

    /// Where the portal keeps its log of webhooks; unset: nothing is logged there
    #[arg(long, env = WEBHOOK_LOG_ENDPOINT, value_name = "URL")]
    webhook_log_endpoint: Option<String>,

    /// How long an entry in that log may take
    #[arg(long, env = "WEBHOOK_LOG_TIMEOUT", default_value = "30s", value_parser = span::parse)]
    webhook_log_timeout: Duration,
}

impl CallbackArgs {
    pub(super) fn check(self) -> Result<Endpoints, BadSetting> {
        Ok(Endpoints {
            log: endpoint(
                WEBHOOK_LOG_ENDPOINT,
                self.webhook_log_endpoint,
                self.webhook_log_timeout,
            )?,
            notifications: endpoint(
                NOTIFICATION_ENDPOINT,
                self.notification_endpoint,
                self.notification_timeout,
            )?,
        })
    }
}

fn endpoint(
    setting: &'static str,
    url: Option<String>,
    timeout: Duration,
) -> Result<Option<Endpoint>, BadSetting> {
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let uri: Option<Uri> = url.parse().ok();
    let usable = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|it| !it.is_empty())
    };
    match uri.filter(usable) {
        Some(uri) => Ok(Some(Endpoint { uri, timeout })),
        None => Err(bad(setting, "must be an http or https URL")),
    }
}

const NOTIFICATION_ENDPOINT: &str = "NOTIFICATION_ENDPOINT";

const WEBHOOK_LOG_ENDPOINT: &str = "WEBHOOK_LOG_ENDPOINT";
