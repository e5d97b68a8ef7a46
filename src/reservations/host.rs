//! The only writer of BareMetalHosts.
//!
//! Every write carries the version of the host that was decided on, or a test of whose
//! claim it is: a lease is no fence, and a cache lags, so a write that was overtaken fails
//! and is decided anew. Called by the controller.

mod secrets;

use std::{future::Future, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use metal3::BareMetalHost;
use serde_json::{Value, json};
use tracing::warn;

pub use self::secrets::Made;
use self::secrets::Secrets;
use super::{
    deployment::{self, Deployment},
    metrics::ControllerMetrics,
    user_data::{self, Template, TemplateError},
};
use crate::api::v1::{Image, Reservation};

/// Writes hosts and the Secrets that go with them.
#[derive(Clone, Debug)]
pub struct HostWriter {
    hosts: Api<BareMetalHost>,
    secrets: Secrets,
    template: Option<Template>,
    metrics: ControllerMetrics,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The Secret that the user data would go to is somebody else's.
    #[error("Secret {0} is not this reservation's: delete or rename it")]
    ForeignSecret(String),
    /// The API server said no, or couldn't be reached.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// Somebody else was faster, and this is to be decided anew.
    #[error("another replica has done otherwise meanwhile")]
    Overtaken,
    /// What is stored can't be understood.
    #[error("{object} can't be read: {why}")]
    Unreadable {
        /// Kind and name of the object.
        object: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no user data to give to a host.
    #[error("the user data can't be made from USER_DATA_TEMPLATE: {0}")]
    UserData(#[from] TemplateError),
    /// The API server did not answer in time.
    #[error("the API server did not answer within {} s", DEADLINE.as_secs())]
    Timeout,
}

impl ApiError {
    /// Whether somebody was faster: what there is to do has changed, and is to be read again.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Overtaken => true,
            Self::Kube(kube::Error::Api(status)) => status.code == 409,
            _ => false,
        }
    }
}

impl HostWriter {
    /// A writer for the hosts and Secrets of one namespace.
    pub fn new(hosts: Api<BareMetalHost>, secrets: Api<Secret>) -> Self {
        Self {
            hosts,
            secrets: Secrets::new(secrets),
            template: None,
            metrics: ControllerMetrics::default(),
        }
    }

    /// Counts its writes there.
    #[must_use]
    pub fn counting(self, metrics: ControllerMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Makes the user data from the site's own template.
    #[must_use]
    pub fn templated(self, template: Option<Template>) -> Self {
        Self { template, ..self }
    }

    /// Makes the claim of a host ours, if nobody has touched the host since.
    pub async fn claim(
        &self,
        host: &BareMetalHost,
        reservation: &Reservation,
    ) -> Result<(), ApiError> {
        let consumer = json!({
            "apiVersion": Reservation::api_version(&()),
            "kind": Reservation::kind(&()),
            "namespace": reservation.namespace(),
            "name": reservation.name_any(),
            "uid": reservation.uid(),
        });
        self.merge(host, &json!({"consumerRef": consumer})).await
    }

    /// The document that the host will read.
    pub async fn user_data(
        &self,
        host: &BareMetalHost,
        reservation: &Reservation,
    ) -> Result<String, ApiError> {
        Ok(match &self.template {
            Some(template) => template.document(reservation, host.name()).await?,
            None => user_data::built_in(reservation),
        })
    }

    /// Makes the Secret for the user data, with nothing in it, or finds the one that is there.
    pub async fn make_user_data(&self, reservation: &Reservation) -> Result<Made, ApiError> {
        self.secrets.make(reservation).await
    }

    /// Writes the document into that very Secret.
    pub async fn fill_user_data(
        &self,
        reservation: &Reservation,
        made: &Made,
        document: String,
    ) -> Result<(), ApiError> {
        self.secrets.fill(reservation, made, document).await
    }

    /// Puts image, user data and power on a host.
    pub async fn provision(
        &self,
        host: &BareMetalHost,
        reservation: &Reservation,
        deployment: &Deployment,
    ) -> Result<(), ApiError> {
        let mut spec = json!({
            "userData": {"name": user_data::given_name(reservation)},
            "online": true,
        });
        match deployment {
            Deployment::Image(image) => {
                spec["customDeploy"] = Value::Null;
                spec["image"] = whole(image);
            }
            Deployment::Method(method) => {
                spec["image"] = Value::Null;
                spec["customDeploy"] = json!({"method": method.method});
            }
        }
        // The admin's own network data says how this very machine is cabled: it stays.
        if let Some(asked) = &reservation.spec.provisioning {
            if let (Some(ours), None) = (&asked.network_data_secret_ref, &host.spec.network_data) {
                spec["networkData"] = json!({"name": ours.name});
            }
            if let (Some(ours), None) = (&asked.meta_data_secret_ref, &host.spec.meta_data) {
                spec["metaData"] = json!({"name": ours.name});
            }
        }
        self.merge(host, &spec).await
    }

    /// Takes image, user data and power off a host. Network data and metadata that the
    /// reservation didn't bring stay: they are the admin's.
    pub async fn clear(
        &self,
        host: &BareMetalHost,
        reservation: &Reservation,
    ) -> Result<(), ApiError> {
        let mut spec = json!({"image": null, "customDeploy": null, "userData": null});
        if deployment::has_our_network_data(host, reservation) {
            spec["networkData"] = Value::Null;
        }
        if deployment::has_our_meta_data(host, reservation) {
            spec["metaData"] = Value::Null;
        }
        // The operator's own webhook refuses online=false where power-off is disabled.
        if host.spec.disable_power_off != Some(true) {
            spec["online"] = Value::Bool(false);
        }
        self.merge(host, &spec).await
    }

    /// Deletes the user data, then gives the claim back, of the very host that was seen to be clean: whoever
    /// has put an image on it since is not to be its user for nobody. `image` is what a free host of this site
    /// carries.
    pub async fn free(
        &self,
        host: &BareMetalHost,
        reservation: &Reservation,
        image: Option<&str>,
    ) -> Result<(), ApiError> {
        self.secrets.remove(reservation).await?;
        let freed = self.drop_claim(host, image).await;
        match (freed, image) {
            (Err(ApiError::Kube(kube::Error::Api(status))), Some(url)) if is_refusal(&status) => {
                // The operator's webhook takes few images without a checksum. The host is
                // clean; it must not stay held for the sake of what it would idle with.
                warn!(
                    host = host.name(),
                    "the free host does not get the image {url}: {}", status.message
                );
                self.drop_claim(host, None).await
            }
            (freed, _) => freed,
        }
    }

    /// Deletes the user data of a reservation that has no host to take it off.
    pub async fn remove_user_data(&self, reservation: &Reservation) -> Result<(), ApiError> {
        self.secrets.remove(reservation).await
    }

    async fn drop_claim(&self, host: &BareMetalHost, image: Option<&str>) -> Result<(), ApiError> {
        let mut spec = json!({"consumerRef": null});
        if let Some(url) = image {
            spec["image"] = whole(&Image {
                url: url.to_owned(),
                ..Image::default()
            });
            spec["online"] = Value::Bool(true);
        }
        self.merge(host, &spec).await
    }

    async fn merge(&self, host: &BareMetalHost, spec: &Value) -> Result<(), ApiError> {
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": host.resource_version()},
            "spec": spec,
        }));
        let params = PatchParams::default();
        let written = within_deadline(self.hosts.patch(host.name(), &params, &patch)).await;
        self.metrics.host_written(&written);
        written.map(drop)
    }
}

/// An image with nulls for what it doesn't say: a merge would keep the fields of what was there before.
fn whole(image: &Image) -> Value {
    json!({
        "url": image.url,
        "checksum": image.checksum,
        "checksumType": image.checksum_type,
        "format": image.format,
    })
}

/// The API server, or a webhook that it asked, says that such an object can't be.
pub(super) fn is_refusal(status: &kube::core::Status) -> bool {
    matches!(status.code, 400 | 403 | 422)
}

/// Every call to the API server has a deadline: kube sets none of its own.
pub async fn within_deadline<T>(
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ApiError::Timeout),
    }
}

/// The manager of the fields that we apply.
pub const FIELD_MANAGER: &str = "reservation-controller";

/// Longer than the API server's own 34 s for a write is never useful; a third of it is
/// enough for a webhook or two on the way.
const DEADLINE: Duration = Duration::from_secs(12);

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::{Method, Request, Response};
    use http_body_util::BodyExt;
    use kube::{Client, client::Body};

    use super::*;

    /// A writer whose API server refuses every host with an image, and what it was asked.
    fn refused_images() -> (HostWriter, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let client = Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let log = log.clone();
                async move {
                    let is_patch = request.method() == Method::PATCH
                        && request.uri().path().contains("baremetalhosts");
                    let body = request.into_body().collect().await?.to_bytes();
                    let body = String::from_utf8_lossy(&body).into_owned();
                    let (code, answer) = match is_patch && body.contains(r#""image""#) {
                        true => (
                            403,
                            json!({"status": "Failure", "code": 403, "message": "no"}),
                        ),
                        false => (200, json!({"metadata": {"name": "srv"}, "spec": {}})),
                    };
                    if is_patch {
                        log.lock().expect("no test panics here").push(body);
                    }
                    let answer = Body::from(answer.to_string().into_bytes());
                    let answer = Response::builder().status(code).body(answer);
                    Ok::<_, kube::Error>(answer.expect("the parts are valid"))
                }
            }),
            "metal3",
        );
        let hosts =
            Api::namespaced_with(client.clone(), "metal3", &metal3::BareMetalHost::resource());
        (
            HostWriter::new(hosts, Api::namespaced(client, "metal3")),
            asked,
        )
    }

    #[tokio::test]
    async fn a_clean_host_is_freed_even_if_its_idle_image_is_refused() {
        let (writer, asked) = refused_images();
        let mut host = BareMetalHost::new("srv", &BareMetalHost::resource());
        host.metadata.resource_version = Some("7".to_owned());
        let mut reservation = Reservation::default();
        reservation.metadata.name = Some("portal-101".to_owned());
        reservation.metadata.uid = Some("uid-101".to_owned());
        writer
            .free(&host, &reservation, Some("http://idle"))
            .await
            .unwrap();
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 2);
        // Even then only as the host was read.
        let is_of_that_host = asked[1].contains(r#""resourceVersion":"7""#);
        assert!(is_of_that_host && !asked[1].contains("http://idle"));
    }
}
