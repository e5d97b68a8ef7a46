//! `/crdconvert`: `hostPort` in v1 is `host` and `port` in v2, in whatever kind of the group
//! stable.example.com. In JSON and in YAML, which the framework itself doesn't speak, as no API
//! server does.

use std::borrow::Cow;

use axum::{
    Router,
    body::{Body, to_bytes},
    response::Response,
    routing::post,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use kube_webhook::{
    Conversion, Webhook,
    conversion::{ConversionError, ConversionWebhook, Converter, Converters},
    status_response,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower::ServiceExt;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_port: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize, Serialize)]
struct V2 {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

struct HostPort;

impl Converter for HostPort {
    type From = V1;
    type Storage = V2;

    fn convert(&self, from: V1) -> Result<V2, ConversionError> {
        let (host, port) = match &from.host_port {
            None => (None, None),
            Some(both) => match both.split(':').collect::<Vec<_>>()[..] {
                [host, port] => (Some(host.to_owned()), Some(port.to_owned())),
                _ => {
                    let message = format!("invalid hostPort value `{both}`");
                    return Err(ConversionError::new(message));
                }
            },
        };
        Ok(V2 {
            metadata: from.metadata,
            host,
            port,
            rest: from.rest,
        })
    }

    fn revert(&self, stored: V2) -> Result<V1, ConversionError> {
        let (host, port) = (stored.host, stored.port);
        let says_any = host.is_some() || port.is_some();
        let both = || format!("{}:{}", host.unwrap_or_default(), port.unwrap_or_default());
        Ok(V1 {
            metadata: stored.metadata,
            host_port: says_any.then(both),
            rest: stored.rest,
        })
    }
}

struct HostPorts;

impl ConversionWebhook for HostPorts {
    type Storage = V2;

    fn converters(&self) -> Converters<V2> {
        Converters::new().add(HostPort)
    }
}

/// The hook, to be wrapped in [`negotiating`].
pub(crate) fn hook() -> Webhook {
    Conversion::new(HostPorts)
        .any_kind()
        .route("/crdconvert")
        .into()
}

/// The same, in the media types that the headers say.
pub(crate) fn negotiating(json: &Router) -> Router {
    let json = json.clone();
    let convert = async move |request: Request<Body>| -> Response {
        match negotiate(json, request).await {
            Ok(response) => response,
            Err(message) => status_response(StatusCode::BAD_REQUEST, "BadRequest", &message),
        }
    };
    Router::new().route("/crdconvert", post(convert))
}

async fn negotiate(json: Router, request: Request<Body>) -> Result<Response, String> {
    let (mut head, body) = request.into_parts();
    let given = media_type(&head.headers).ok_or_else(|| {
        format!(
            "invalid Content-Type header `{}`",
            text(&head.headers, header::CONTENT_TYPE)
        )
    })?;
    let wanted = accepted(&head.headers).ok_or_else(|| {
        format!(
            "invalid accept header `{}`",
            text(&head.headers, header::ACCEPT)
        )
    })?;
    let body = to_bytes(body, LARGEST)
        .await
        .map_err(|error| error.to_string())?;
    let body: Body = match given {
        Encoding::Json => body.into(),
        Encoding::Yaml => {
            let review: Value = serde_saphyr::from_slice(&body)
                .map_err(|error| format!("failed to deserialize body: {error}"))?;
            review.to_string().into()
        }
    };
    let json_type = HeaderValue::from_static("application/json");
    head.headers.insert(header::CONTENT_TYPE, json_type);
    head.headers.remove(header::CONTENT_LENGTH);
    let answer = json
        .oneshot(Request::from_parts(head, body))
        .await
        .unwrap_or_else(|never| match never {});
    match wanted {
        Encoding::Yaml if answer.status().is_success() => yaml(answer).await,
        _ => Ok(answer),
    }
}

#[derive(Clone, Copy)]
enum Encoding {
    Json,
    Yaml,
}

fn media_type(headers: &HeaderMap) -> Option<Encoding> {
    let value = text(headers, header::CONTENT_TYPE);
    match value.split(';').next().unwrap_or_default().trim() {
        "application/json" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        _ => None,
    }
}

/// The one that is liked best; JSON if any will do, or nothing is said.
fn accepted(headers: &HeaderMap) -> Option<Encoding> {
    let value = text(headers, header::ACCEPT);
    if value.trim().is_empty() {
        return Some(Encoding::Json);
    }
    let mut clauses: Vec<(f32, Encoding)> = value
        .split(',')
        .filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let encoding = match parts.next()? {
                "application/json" | "application/*" | "*/*" => Encoding::Json,
                "application/yaml" => Encoding::Yaml,
                _ => return None,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            Some((quality.unwrap_or(1.0), encoding))
        })
        .collect();
    clauses.sort_by(|one, other| other.0.total_cmp(&one.0));
    clauses.first().map(|(_, encoding)| *encoding)
}

async fn yaml(answer: Response) -> Result<Response, String> {
    let body = to_bytes(answer.into_body(), usize::MAX)
        .await
        .map_err(|error| error.to_string())?;
    let review: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let body = serde_saphyr::to_string(&review).map_err(|error| error.to_string())?;
    let mut answer = Response::new(body.into());
    let yaml_type = HeaderValue::from_static("application/yaml");
    answer.headers_mut().insert(header::CONTENT_TYPE, yaml_type);
    Ok(answer)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// The kind isn't known: the hook takes any.
macro_rules! version_of_any_kind {
    ($version:ty, $name:literal) => {
        impl Resource for $version {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                "Any".into()
            }

            fn group((): &()) -> Cow<'_, str> {
                "stable.example.com".into()
            }

            fn version((): &()) -> Cow<'_, str> {
                $name.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                "any".into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

version_of_any_kind!(V1, "v1");
version_of_any_kind!(V2, "v2");

const LARGEST: usize = 64 * 1024 * 1024;
