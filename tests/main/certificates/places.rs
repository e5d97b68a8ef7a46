//! The places where API servers read whom to call and to trust: what is in them, and what others do to
//! them.

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use kube_webhook::certs::Authority;
use serde_json::{Value, json};

use super::{CRD, NAME, Site, WEBHOOKS};
use crate::stage::until;

impl Site {
    /// All that leads to us, but for whose it is and since when.
    pub(crate) async fn registration(&self) -> Vec<Value> {
        let crd = self.crds().get(CRD).await.unwrap();
        let mut all = vec![json!(crd.spec.conversion)];
        if let Some(validating) = self.validating().get_opt(NAME).await.unwrap() {
            all.push(json!(validating.webhooks));
        }
        if let Some(mutating) = self.mutating().get_opt(NAME).await.unwrap() {
            all.push(json!(mutating.webhooks));
        }
        all
    }

    /// The version of each.
    pub(crate) async fn versions(&self) -> [Option<String>; 3] {
        [
            self.crds().get(CRD).await.unwrap().resource_version(),
            self.validating()
                .get(NAME)
                .await
                .unwrap()
                .resource_version(),
            self.mutating().get(NAME).await.unwrap().resource_version(),
        ]
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
        let conversion = crd.spec.conversion.and_then(|stanza| stanza.webhook);
        let config = conversion.and_then(|webhook| webhook.client_config);
        configs.extend(config.map(|config| config.ca_bundle));
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

    /// Lets all our places trust these CAs, as their administrator would.
    pub(crate) async fn trust(&self, cas: &[&Authority]) {
        let pem: String = cas.iter().map(|ca| ca.pem().chain.as_str()).collect();
        let bundle = json!(ByteString(pem.into_bytes()));
        self.write_bundles(&bundle, &bundle).await;
    }

    /// Lets all our places trust something else.
    pub(crate) async fn tamper(&self, bundle: &Value) {
        // Of a CRD, the API server takes no bundle that isn't PEM.
        self.write_bundles(bundle, &Value::Null).await;
    }

    async fn write_bundles(&self, bundle: &Value, of_crd: &Value) {
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
        let config = json!({"caBundle": of_crd});
        let patch = json!({"spec": {"conversion": {"webhook": {"clientConfig": config}}}});
        self.crds()
            .patch(CRD, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Changes our mutating configuration as an administrator may.
    pub(crate) async fn patch_mutating(&self, operations: Value) {
        let patch = Patch::Json::<()>(serde_json::from_value(operations).unwrap());
        let params = PatchParams::default();
        self.mutating().patch(NAME, &params, &patch).await.unwrap();
    }

    /// The code of the API server's refusal of a change of our mutating configuration.
    pub(crate) async fn refusal_of(&self, operations: Value) -> u16 {
        let patch = Patch::Json::<()>(serde_json::from_value(operations).unwrap());
        let params = PatchParams::default();
        match self.mutating().patch(NAME, &params, &patch).await {
            Err(kube::Error::Api(status)) => status.code,
            other => panic!("{other:?}"),
        }
    }

    /// Lets nobody convert.
    pub(crate) async fn convert_nowhere(&self) {
        let patch = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
        let params = PatchParams::default();
        self.crds()
            .patch(CRD, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub(crate) async fn delete_webhooks(&self) {
        let params = DeleteParams::default();
        self.validating().delete(NAME, &params).await.unwrap();
        self.mutating().delete(NAME, &params).await.unwrap();
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

    fn validating(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    fn mutating(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    fn crds(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.client.clone())
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
