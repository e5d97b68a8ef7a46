//! What a webhook answers when it fails itself: a non-2xx HTTP answer with a `metav1.Status` body.
//!
//! The API server tells a *verdict* (`allowed: false`, which always denies) from a *failed call*
//! (anything but 2xx, to which `failurePolicy` applies). A panic, an overrun deadline or a body that
//! nobody understands is the second, and so must never leave as the first. Every other module makes
//! its failures here; nothing here knows what a review is.

use std::{error::Error, fmt, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// The webhook's own failure, answered with a non-2xx status so that `failurePolicy` decides.
///
/// Any error becomes an internal fault (500) with `?`, its sources joined into the message; the
/// constructors choose another code. Like `anyhow::Error`, and for the same reason of coherence,
/// `Fault` is not itself a [`std::error::Error`].
///
/// ```
/// use kube_webhook::Fault;
///
/// fn port(text: &str) -> Result<u16, Fault> {
///     Ok(text.parse()?)
/// }
///
/// let fault = port("many").unwrap_err();
/// assert_eq!(fault.code(), 500);
/// assert_eq!(fault.message(), "invalid digit found in string");
/// ```
#[derive(Debug)]
pub struct Fault {
    code: StatusCode,
    reason: &'static str,
    message: String,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    quotes_object: bool,
}

impl Fault {
    /// 400: the review can't be read.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 422: the review was read, but holds something that this webhook doesn't serve, such as an
    /// object that isn't of the hook's type.
    #[must_use]
    pub fn invalid_object(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// 500: the hook itself went wrong.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 503: the hook can't decide at present.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    }

    /// 504: no answer within the time that the API server gave.
    #[must_use]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    /// Asks the API server to call again within its deadline.
    ///
    /// It obeys for 429 and for 500 and above, up to ten times, and reads whole seconds only.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The HTTP status code of the answer.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code.as_u16()
    }

    /// The machine-readable reason, as in `metav1.Status`.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.reason
    }

    /// The text that the API server relays to the user, after `failed calling webhook`.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same, saying which call it was about.
    pub(crate) fn of_call(mut self, call: &impl fmt::Display) -> Self {
        self.message = format!("{call}: {}", self.message);
        self
    }

    /// What may be logged: the message, unless it quotes an object, which could be a Secret.
    pub(crate) fn log_message(&self) -> &str {
        if self.quotes_object {
            "the object isn't of the hook's type"
        } else {
            &self.message
        }
    }

    /// The same, with a message that quotes an object.
    pub(crate) fn quoting_object(mut self) -> Self {
        self.quotes_object = true;
        self
    }

    /// 429: there is too much to do already. The API server calls again if it is told when.
    pub(crate) fn overloaded() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequests",
            "too many reviews are in flight",
        )
        .with_retry_after(Duration::from_secs(1))
    }

    /// 401: the caller doesn't say who it is.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403: the caller isn't one of those who may call.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("the review is larger than the limit of {limit} bytes"),
        )
    }

    pub(crate) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "Timeout",
            "the body did not arrive in time",
        )
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self {
            allow: Some("POST"),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "webhooks are called by POST",
            )
        }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            retry_after: None,
            allow: None,
            quotes_object: false,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::internal(chain(&error))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = status_response(self.code, self.reason, &self.message);
        if let Some(delay) = self.retry_after {
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// An HTTP answer whose body is a failed `metav1.Status`, which is what the API server and kubectl
/// read error texts from.
///
/// For a program's own routes and fallback, so that all of a server answers alike.
#[must_use]
pub fn status_response(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = Status {
        kind: "Status",
        api_version: "v1",
        metadata: Empty {},
        status: "Failure",
        message,
        reason,
        code: code.as_u16(),
    };
    let body = serde_json::to_vec(&status).unwrap_or_default();
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A fallback for a router: 404 with a `metav1.Status` body.
pub async fn not_found() -> Response {
    Fault::not_found("nothing is served here").into_response()
}

/// An error and its sources on one line, without what a source would merely repeat.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    status: &'static str,
    message: &'a str,
    reason: &'a str,
    code: u16,
}

#[derive(Serialize)]
struct Empty {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_asked_for_in_whole_seconds_rounded_up() {
        let fault = Fault::unavailable("busy").with_retry_after(Duration::from_millis(1_200));
        let response = fault.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn the_sources_of_an_error_are_part_of_the_message() {
        #[derive(Debug, thiserror::Error)]
        #[error("the calendar can't be read")]
        struct Outer(#[source] std::fmt::Error);

        let fault = Fault::from(Outer(std::fmt::Error));
        assert!(
            fault
                .message()
                .starts_with("the calendar can't be read: an error")
        );
    }
}
