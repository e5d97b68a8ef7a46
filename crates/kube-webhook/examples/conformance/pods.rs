//! The handlers for pods.

use k8s_openapi::api::core::v1::{Container, Pod};
use kube_webhook::{
    Fault, Mutation, Resources, Validation, Webhook,
    admission::{
        AdmissionContext, Connect, Create, MutateCreate, MutateUpdate, MutationResult,
        MutationWebhook, Old, Update, ValidateConnect, ValidateCreate, ValidateUpdate,
        ValidationResult, ValidationWebhook,
    },
};
use serde::Deserialize;

struct NoUnwantedPods;

impl NoUnwantedPods {
    async fn judge(&self, pod: &Pod) -> ValidationResult {
        let labels = pod.metadata.labels.as_ref();
        let label = labels.and_then(|labels| labels.get("webhook-e2e-test"));
        let mut complaints = Vec::new();
        match label.map(String::as_str) {
            Some("webhook-disallow") => complaints.push("the pod contains unwanted label;"),
            // Until the deadline that the API server gave, when the framework drops this call.
            Some("wait-forever") => std::future::pending().await,
            _ => {}
        }
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        for container in containers {
            if container.name.contains("webhook-disallow") {
                complaints.push("the pod contains unwanted container name;");
            }
        }
        if complaints.is_empty() {
            ValidationResult::success()
        } else {
            ValidationResult::fail(complaints.join(" "))
        }
    }
}

impl ValidationWebhook<Pod> for NoUnwantedPods {
    type Operations = (Create, Update);
}

impl ValidateCreate<Pod> for NoUnwantedPods {
    async fn create(&self, pod: &Pod, _: &AdmissionContext<'_>) -> Result<ValidationResult, Fault> {
        Ok(self.judge(pod).await)
    }
}

impl ValidateUpdate<Pod> for NoUnwantedPods {
    async fn update(
        &self,
        _: &Old<'_, Pod>,
        new: &Pod,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(self.judge(new).await)
    }
}

/// `/pods`
pub(crate) fn pods() -> Webhook {
    Validation::new(NoUnwantedPods).route("/pods").into()
}

/// Of `PodAttachOptions`, which isn't among the types of k8s-openapi.
#[derive(Deserialize)]
struct Attach {
    #[serde(default)]
    stdin: bool,
    #[serde(default)]
    container: String,
}

struct NoAttaching;

impl ValidationWebhook<Attach> for NoAttaching {
    type Operations = (Connect,);
}

impl ValidateConnect<Attach> for NoAttaching {
    async fn connect(
        &self,
        options: &Attach,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let is_guarded = cx.name() == Some("to-be-attached-pod")
            && options.stdin
            && options.container == "container1";
        Ok(if is_guarded {
            ValidationResult::fail("attaching to pod 'to-be-attached-pod' is not allowed")
        } else {
            ValidationResult::success()
        })
    }
}

/// `/pods/attach`
pub(crate) fn attach() -> Webhook {
    let attach = Resources::of::<Pod>().subresource("attach");
    Validation::for_resources(attach, NoAttaching)
        .route("/pods/attach")
        .into()
}

struct AddInitContainer;

impl AddInitContainer {
    fn add(mut pod: Pod) -> MutationResult<Pod> {
        let is_meant = pod.metadata.name.as_deref() == Some("webhook-to-be-mutated");
        let Some(spec) = pod.spec.as_mut().filter(|_| is_meant) else {
            return MutationResult::no_changes();
        };
        let containers = spec.init_containers.get_or_insert_default();
        if !add_once(
            containers,
            "webhook-added-init-container",
            "webhook-added-image",
        ) {
            return MutationResult::no_changes();
        }
        MutationResult::modified(pod)
    }
}

impl MutationWebhook<Pod> for AddInitContainer {
    type Operations = (Create, Update);
}

impl MutateCreate<Pod> for AddInitContainer {
    async fn create(
        &self,
        pod: Pod,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Pod>, Fault> {
        Ok(Self::add(pod))
    }
}

impl MutateUpdate<Pod> for AddInitContainer {
    async fn update(
        &self,
        _: &Old<'_, Pod>,
        new: Pod,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Pod>, Fault> {
        Ok(Self::add(new))
    }
}

/// `/mutating-pods`
pub(crate) fn init_container() -> Webhook {
    Mutation::new(AddInitContainer)
        .name("init-container")
        .route("/mutating-pods")
        .into()
}

struct AddSidecar {
    image: String,
}

impl AddSidecar {
    fn add(&self, mut pod: Pod) -> MutationResult<Pod> {
        if self.image.is_empty() {
            return MutationResult::fail("No image specified by the sidecar-image parameter")
                .with_code(500);
        }
        let Some(spec) = pod.spec.as_mut() else {
            return MutationResult::no_changes();
        };
        if !add_once(&mut spec.containers, "webhook-added-sidecar", &self.image) {
            return MutationResult::no_changes();
        }
        MutationResult::modified(pod)
    }
}

impl MutationWebhook<Pod> for AddSidecar {
    type Operations = (Create, Update);
}

impl MutateCreate<Pod> for AddSidecar {
    async fn create(
        &self,
        pod: Pod,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Pod>, Fault> {
        Ok(self.add(pod))
    }
}

impl MutateUpdate<Pod> for AddSidecar {
    async fn update(
        &self,
        _: &Old<'_, Pod>,
        new: Pod,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Pod>, Fault> {
        Ok(self.add(new))
    }
}

/// `/mutating-pods-sidecar`
pub(crate) fn sidecar(image: String) -> Webhook {
    Mutation::new(AddSidecar { image })
        .name("sidecar")
        .route("/mutating-pods-sidecar")
        .into()
}

/// Says whether it wasn't there yet.
fn add_once(containers: &mut Vec<Container>, name: &str, image: &str) -> bool {
    if containers.iter().any(|container| container.name == name) {
        return false;
    }
    containers.push(Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        ..Container::default()
    });
    true
}
