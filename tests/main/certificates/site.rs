//! A cluster in which the program is installed at a URL, and what can be done to it there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use control_plane::{ControlPlane, Process, ServiceEndpoints};
use harbormaster::api::v1;
use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::Secret,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use xtask::stage::{USER, free_port};

use crate::{
    own::{Own, Settings},
    rights,
    stage::{install_crypto, program, until},
    traffic,
};

pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) secrets: Api<Secret>,
    control_plane: ControlPlane,
    kubeconfig: PathBuf,
    way: Way,
    flags: Vec<&'static str>,
}

/// How the API server calls.
enum Way {
    Url { port: u16 },
    Service,
}

impl Site {
    /// Installs all but the program, and nobody is trusted yet.
    pub(crate) async fn open() -> Self {
        let control_plane = ControlPlane::start().await.unwrap();
        let port = free_port().unwrap();
        Self::install(control_plane, Way::Url { port }, &[]).await
    }

    /// The same, called as a Service by its endpoints. In a network namespace only.
    pub(crate) async fn open_as_service(flags: &[&'static str]) -> Self {
        let builder = ControlPlane::builder().endpoint_routing();
        Self::install(builder.start().await.unwrap(), Way::Service, flags).await
    }

    async fn install(control_plane: ControlPlane, way: Way, flags: &[&'static str]) -> Self {
        install_crypto();
        let groups = [
            "system:serviceaccounts",
            "system:serviceaccounts:harbormaster-system",
        ];
        let client = control_plane.client();
        let site = Self {
            secrets: Api::namespaced(client.clone(), NAMESPACE),
            client,
            kubeconfig: control_plane.kubeconfig_for(USER, &groups).unwrap(),
            control_plane,
            way,
            flags: flags.to_vec(),
        };
        site.kubectl(&["create", "namespace", NAMESPACE]);
        let hosts = serde_json::to_string(&metal3::crd()).unwrap();
        site.apply("hosts", &hosts);
        site.apply("rbac", &site.generate("rbac"));
        site.apply("crds", &site.generate("crds"));
        site.until_established();
        site.apply_webhooks();
        site
    }

    pub(crate) fn until_established(&self) {
        let condition = "--for=condition=Established";
        self.kubectl(&["wait", condition, "crd", "--all", "--timeout=60s"]);
    }

    /// Those of the Service, of which there are none yet.
    pub(crate) async fn endpoints(&self) -> ServiceEndpoints {
        let endpoints = self.control_plane.endpoints_service(NAMESPACE, NAME, &[]);
        endpoints.await.unwrap()
    }

    /// The administrator's kubeconfig.
    pub(crate) fn admin(&self) -> &Path {
        self.control_plane.kubeconfig()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.control_plane.folder()
    }

    pub(crate) async fn spawn(&self, name: &'static str, command: &Command) -> Process {
        self.control_plane.spawn(name, command).await.unwrap()
    }

    /// Starts a replica; the API server calls the one that is given no other port.
    pub(crate) async fn start(&self, name: &str, more: &[(&str, &str)]) -> Own {
        let folder = self.control_plane.folder().join(name);
        fs::create_dir_all(&folder).unwrap();
        let port = match self.way {
            Way::Url { port } => port.to_string(),
            Way::Service => "0".to_owned(),
        };
        let mut all = vec![
            ("TLS_MODE", "self-managed"),
            ("POD_NAMESPACE", NAMESPACE),
            ("PORT", &*port),
        ];
        all.extend(more);
        Own::start(&Settings {
            kubeconfig: &self.kubeconfig,
            namespace: "default",
            folder: &folder,
            more: &all,
        })
    }

    pub(crate) async fn close(self) {
        self.control_plane.stop().await.unwrap();
    }

    /// Waits until each kind of call succeeds.
    pub(crate) async fn until_called(&self) {
        self.keep("called").await;
        until("each kind of call to succeed", async || {
            traffic::once(&self.client, "called", 0).await.ok()
        })
        .await;
    }

    /// Stores a Reservation that nothing comes of.
    pub(crate) async fn keep(&self, name: &str) {
        let reservations: Api<v1::Reservation> = Api::namespaced(self.client.clone(), "default");
        until("a Reservation to be stored", async || {
            let reservation = traffic::reservation(name);
            match reservations
                .create(&PostParams::default(), &reservation)
                .await
            {
                Ok(_) => Some(()),
                Err(kube::Error::Api(status)) if status.code == 409 => Some(()),
                Err(_) => None,
            }
        })
        .await;
    }

    /// What is trusted, as the CA's Secret has it for senders.
    pub(crate) async fn root(&self) -> Vec<u8> {
        until("the CA's Secret", async || {
            let secret = self.secrets.get_opt("harbormaster-ca").await.unwrap()?;
            Some(secret.data?.get("ca.crt")?.0.clone())
        })
        .await
    }

    /// What each of our places trusts.
    pub(crate) async fn bundles(&self) -> Vec<Vec<u8>> {
        let mut configs = Vec::new();
        if let Some(validating) = self.validating().get_opt(NAME).await.unwrap() {
            let ours = validating.webhooks.into_iter().flatten();
            let ours = ours.filter(|webhook| webhook.name.ends_with(".harbormaster.dev"));
            configs.extend(ours.map(|webhook| webhook.client_config.ca_bundle));
        }
        if let Some(mutating) = self.mutating().get_opt(NAME).await.unwrap() {
            let ours = mutating.webhooks.into_iter().flatten();
            configs.extend(ours.map(|webhook| webhook.client_config.ca_bundle));
        }
        let crd = self.crds().get(CRD).await.unwrap();
        let conversion = crd.spec.conversion.unwrap().webhook.unwrap();
        configs.push(conversion.client_config.unwrap().ca_bundle);
        configs
            .into_iter()
            .map(|bundle| bundle.map(|bytes| bytes.0).unwrap_or_default())
            .collect()
    }

    /// Waits until so many CAs are trusted, in every place.
    pub(crate) async fn until_trusted_are(&self, cas: usize) {
        until(&format!("{cas} CAs to be trusted"), async || {
            let bundles = self.bundles().await;
            let is_so = |bundle: &Vec<u8>| {
                let text = String::from_utf8_lossy(bundle);
                text.matches("BEGIN CERTIFICATE").count() == cas
            };
            (bundles.len() == WEBHOOKS && bundles.iter().all(is_so)).then_some(())
        })
        .await;
    }

    /// Lets all our places trust something else.
    pub(crate) async fn tamper(&self, bundle: &Value) {
        let params = PatchParams::default();
        let at =
            |path: &str| json!({"op": "add", "path": format!("{path}/caBundle"), "value": bundle});
        let webhooks = |count: usize| {
            let all = (0..count).map(|index| at(&format!("/webhooks/{index}/clientConfig")));
            Patch::Json::<()>(serde_json::from_value(all.collect()).unwrap())
        };
        let live = self.validating().get(NAME).await.unwrap().webhooks.unwrap();
        self.validating()
            .patch(NAME, &params, &webhooks(live.len()))
            .await
            .unwrap();
        let live = self.mutating().get(NAME).await.unwrap().webhooks.unwrap();
        self.mutating()
            .patch(NAME, &params, &webhooks(live.len()))
            .await
            .unwrap();
        // Of a CRD, the API server takes no bundle that isn't PEM.
        let config = json!({"caBundle": null});
        let patch = json!({"spec": {"conversion": {"webhook": {"clientConfig": config}}}});
        self.crds()
            .patch(CRD, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Changes one of the Secrets.
    pub(crate) async fn merge(&self, name: &str, patch: &Value) {
        let params = PatchParams::default();
        self.secrets
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub(crate) async fn delete_webhooks(&self) {
        let params = DeleteParams::default();
        self.validating().delete(NAME, &params).await.unwrap();
        self.mutating().delete(NAME, &params).await.unwrap();
    }

    pub(crate) fn apply_webhooks(&self) {
        self.apply("webhooks", &self.generate("webhooks"));
    }

    /// A webhook of somebody else's in our configuration, and a configuration of theirs.
    pub(crate) async fn add_strangers(&self) {
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "strangers"},
            "webhooks": [stranger()],
        });
        self.apply("strangers", &configuration.to_string());
        let patch = json!([{"op": "add", "path": "/webhooks/0", "value": stranger()}]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        self.validating()
            .patch(NAME, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    pub(crate) async fn strangers(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for name in [NAME, "strangers"] {
            let live = self.validating().get(name).await.unwrap();
            let theirs = live.webhooks.into_iter().flatten();
            let theirs = theirs.filter(|webhook| webhook.name == "all.strangers.example.org");
            all.extend(theirs.map(|webhook| serde_json::to_value(webhook).unwrap()));
        }
        assert_eq!(all.len(), 2);
        let live = self.validating().get("strangers").await.unwrap();
        all.push(json!(live.resource_version()));
        all
    }

    /// Whoever applies the rest must never meet us in it.
    pub(crate) async fn assert_only_bundles_are_ours(&self) {
        let mut managed = Vec::new();
        managed.extend(
            self.validating()
                .get(NAME)
                .await
                .unwrap()
                .metadata
                .managed_fields,
        );
        managed.extend(
            self.mutating()
                .get(NAME)
                .await
                .unwrap()
                .metadata
                .managed_fields,
        );
        managed.extend(self.crds().get(CRD).await.unwrap().metadata.managed_fields);
        let ours = managed
            .into_iter()
            .flatten()
            .filter(|entry| entry.manager.as_deref() == Some("harbormaster-certificates"));
        let mut bundles = 0;
        for entry in ours {
            assert_eq!(entry.operation.as_deref(), Some("Apply"));
            let mut leaves = Vec::new();
            collect_leaves(&entry.fields_v1.unwrap().0, &mut leaves);
            leaves.retain(|leaf| !matches!(&**leaf, "." | "f:name"));
            assert!(leaves.iter().all(|leaf| leaf == "f:caBundle"), "{leaves:?}");
            bundles += leaves.len();
        }
        assert_eq!(bundles, WEBHOOKS);
    }

    /// After all has happened that can.
    pub(crate) fn assert_rights_are_just_enough(&self) {
        let used = rights::used(&self.control_plane);
        let idle: Vec<_> = rights::of_certificates()
            .difference(&used)
            .cloned()
            .collect();
        assert!(idle.is_empty(), "granted, and not made use of: {idle:?}");
    }

    fn validating(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    fn mutating(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    fn crds(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.client.clone())
    }

    pub(crate) fn generate(&self, what: &str) -> String {
        let mut generate = Command::new(program());
        generate.args(["generate", what]).args(&self.flags);
        if let Way::Url { port } = self.way {
            generate.arg(format!("--url=https://127.0.0.1:{port}"));
        }
        let output = generate.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn apply(&self, name: &str, manifest: &str) {
        let file = self.control_plane.folder().join(format!("{name}.yaml"));
        fs::write(&file, manifest).unwrap();
        self.kubectl(&["apply", "--server-side", "-f", file.to_str().unwrap()]);
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) {
        let output = self
            .control_plane
            .kubectl()
            .args(arguments)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
    }
}

fn collect_leaves(fields: &Value, leaves: &mut Vec<String>) {
    for (key, inner) in fields.as_object().into_iter().flatten() {
        if inner.as_object().is_some_and(serde_json::Map::is_empty) {
            leaves.push(key.clone());
        } else {
            collect_leaves(inner, leaves);
        }
    }
}

/// It matches nothing that there is.
fn stranger() -> Value {
    json!({
        "name": "all.strangers.example.org",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "clientConfig": {"url": "https://192.0.2.1/x", "caBundle": "c3RyYW5nZXI="},
        "rules": [{
            "apiGroups": ["example.org"], "apiVersions": ["*"],
            "resources": ["*"], "operations": ["*"],
        }],
    })
}

/// As many places lead to us: three webhooks that validate, two that mutate, one conversion.
pub(crate) const WEBHOOKS: usize = 6;

const NAME: &str = "harbormaster";

pub(crate) const NAMESPACE: &str = "harbormaster-system";

const CRD: &str = "reservations.harbormaster.dev";
