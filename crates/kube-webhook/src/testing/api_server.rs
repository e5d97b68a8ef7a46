//! Calls of a webhook as kube-apiserver makes them. Made by tests.

use std::{fmt, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    CallError, Review, ReviewVersion, Verdict,
    check::{Status, check_conversion, check_mutation, check_validation},
    review::fresh_uid,
    transport::Transport,
};

/// As much of an API server as webhooks see.
///
/// It keeps idle connections for 90 s, honours `Retry-After` on 429 and 5xx, and gives up at the
/// deadline that it tells the webhook.
pub struct ApiServer {
    transport: Transport,
    base: String,
    timeout: Duration,
}

impl ApiServer {
    /// Calls a router in this process.
    #[must_use]
    pub fn of(router: Router) -> Self {
        Self {
            transport: Transport::Router(router),
            base: String::new(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Calls `https://HOST:PORT`, whose certificate must come from a CA of the bundle, in PEM.
    ///
    /// # Errors
    ///
    /// If the bundle is not PEM with at least one certificate, or `base` no such URL; the API server
    /// says so when it calls, never when a configuration is applied.
    pub fn at(base: &str, ca_bundle: &str) -> Result<Self, CallError> {
        if !base.starts_with("https://") {
            return Err(CallError::Transport {
                message: format!("{base:?} does not begin with https://"),
            });
        }
        Ok(Self {
            transport: Transport::tls(ca_bundle.as_bytes())?,
            base: base.trim_end_matches('/').to_owned(),
            timeout: DEFAULT_TIMEOUT,
        })
    }

    /// How long an admission call may take, as `timeoutSeconds` says: by default 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Calls a validating webhook, and checks its answer.
    ///
    /// # Errors
    ///
    /// If the API server would take the call for failed.
    pub async fn validate(&self, path: &str, review: &Review) -> Result<Verdict, CallError> {
        let (uid, body) = self.admit(path, review).await?;
        check_validation(review.review_version(), &uid, &body)
    }

    /// Calls a mutating webhook, checks its answer, and applies its patch.
    ///
    /// # Errors
    ///
    /// If the API server would take the call for failed, or for its own internal error.
    pub async fn mutate(&self, path: &str, review: &Review) -> Result<Verdict, CallError> {
        let (uid, body) = self.admit(path, review).await?;
        let object = if review.is_delete() {
            &Value::Null
        } else {
            review.object()
        };
        check_mutation(review.review_version(), &uid, object, &body)
    }

    async fn admit(&self, path: &str, review: &Review) -> Result<(String, Bytes), CallError> {
        let review = review.to_json();
        let uid = review["request"]["uid"].as_str().unwrap_or_default();
        let body = self.post(path, self.timeout, &review).await?;
        Ok((uid.to_owned(), body))
    }

    /// Calls a conversion webhook for those of `objects` that aren't at the version `desired` (such
    /// as `example.com/v1`), and gives all of them there.
    ///
    /// # Errors
    ///
    /// If the API server would take the call for failed.
    pub async fn convert(
        &self,
        path: &str,
        desired: &str,
        objects: &[Value],
    ) -> Result<Vec<Value>, CallError> {
        self.convert_in(ReviewVersion::V1, path, desired, objects)
            .await
    }

    /// The same, in this version of the review.
    ///
    /// # Errors
    ///
    /// As for [`convert`](Self::convert).
    pub async fn convert_in(
        &self,
        version: ReviewVersion,
        path: &str,
        desired: &str,
        objects: &[Value],
    ) -> Result<Vec<Value>, CallError> {
        let is_there = |object: &Value| object["apiVersion"] == desired;
        let sent: Vec<Value> = objects
            .iter()
            .filter(|object| !is_there(object))
            .cloned()
            .collect();
        if sent.is_empty() {
            return Ok(objects.to_vec());
        }
        let uid = fresh_uid();
        let review = json!({
            "kind": "ConversionReview",
            "apiVersion": format!("apiextensions.k8s.io/{}", version.as_str()),
            "request": {"uid": uid, "desiredAPIVersion": desired, "objects": sent},
        });
        let body = self.post(path, CONVERSION_TIMEOUT, &review).await?;
        let converted = check_conversion(version, &uid, desired, &sent, &body)?;
        let mut converted = converted.into_iter();
        let all = objects.iter().map(|object| {
            if is_there(object) {
                object.clone()
            } else {
                converted.next().unwrap_or_default()
            }
        });
        Ok(all.collect())
    }

    /// Posts a body of whatever content, and gives that of a successful answer, unchecked.
    ///
    /// # Errors
    ///
    /// If there is no answer of 200 to 206 with a body by the deadline.
    pub async fn post(
        &self,
        path: &str,
        timeout: Duration,
        review: &Value,
    ) -> Result<Bytes, CallError> {
        // Go's encoder ends with a line feed.
        let body = Bytes::from(format!("{review}\n"));
        let deadline = Instant::now() + timeout;
        let uri = format!(
            "{}{}?timeout={}s",
            self.base,
            cleaned(path),
            timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)
        );
        let attempts = async {
            let mut retries = RETRIES;
            loop {
                let response = self.transport.send(request(&uri, body.clone())?).await?;
                match retry_after(&response).filter(|_| retries > 0) {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => return outcome(&response),
                }
                retries -= 1;
            }
        };
        timeout_at(deadline, attempts)
            .await
            .map_err(|_| CallError::Deadline)?
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ApiServer")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

fn request(uri: &str, body: Bytes) -> Result<Request<Body>, CallError> {
    Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::from(body))
        .map_err(|error| CallError::Transport {
            message: error.to_string(),
        })
}

/// Only whole seconds, and only where the server is to blame.
fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let status = response.status();
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return None;
    }
    let seconds = text(response.headers(), header::RETRY_AFTER).parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn outcome(response: &Response<Bytes>) -> Result<Bytes, CallError> {
    let code = response.status().as_u16();
    let content_type = text(response.headers(), header::CONTENT_TYPE);
    let body = response.body();
    let status = serde_json::from_slice::<Typed>(body)
        .ok()
        .filter(|typed| typed.kind == "Status")
        .map(|typed| typed.status);
    if !(200..=206).contains(&code) {
        let message = match status {
            Some(status) if !status.message.is_empty() => status.message,
            _ => generic_message(code, &shown(body, content_type)),
        };
        return Err(CallError::Status { code, message });
    }
    if body.is_empty() {
        return Err(CallError::Empty {
            code,
            content_type: content_type.to_owned(),
        });
    }
    match status {
        Some(status) if status.status == "Failure" => Err(CallError::Status {
            code,
            message: status.message,
        }),
        _ => Ok(body.clone()),
    }
}

/// Texts are shown in part, anything else not at all.
fn shown(body: &[u8], content_type: &str) -> String {
    if !content_type.starts_with("text/") {
        return "unknown".to_owned();
    }
    let part = &body[..body.len().min(2048)];
    String::from_utf8_lossy(part).into_owned()
}

/// What client-go says of an answer that isn't a `metav1.Status`.
fn generic_message(code: u16, shown: &str) -> String {
    let message = match code {
        400 => "the server rejected our request for an unknown reason",
        401 => "the server has asked for the client to provide credentials",
        404 => "the server could not find the requested resource",
        405 => "the server does not allow this method on the requested resource",
        415 => "the body of the request was in an unknown format - accepted media types include: ",
        422 => "the server rejected our request due to an error in our request",
        429 => "the server has received too many requests and has asked us to try again later",
        503 => "the server is currently unable to handle the request",
        504 => {
            "the server was unable to return a response in the time allotted, but may still be \
             processing the request"
        }
        500.. => {
            return format!(
                "an error on the server ({shown:?}) has prevented the request from succeeding"
            );
        }
        _ => {
            return format!(
                "the server responded with the status code {code} but did not return more information"
            );
        }
    };
    message.to_owned()
}

#[derive(serde::Deserialize)]
struct Typed {
    kind: String,
    #[serde(flatten)]
    status: Status,
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// As Go's `path.Clean` does, of which a slash at the end is the usual victim.
fn cleaned(path: &str) -> String {
    let segments: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", segments.join("/"))
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const CONVERSION_TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 10;
