//! A healthy installation as `collect` would see it, and what breaks it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, Secret, Service, ServicePort},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, CustomResourceDefinitionStatus, WebhookClientConfig,
    },
};
use kube::ResourceExt;
use kube_webhook::Target;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use serde_json::{Value, json};

use crate::{
    check::{
        expected::Expected,
        observed::{Configuration, Dial, Endpoint, Hook, Observed, Reading, Setting},
        settings,
    },
    manifests::{IMAGE, Installation, NAMESPACE},
    webhooks,
};

pub(super) struct World {
    pub(super) observed: Observed,
    pub(super) authority: Authority,
    pub(super) now: Timestamp,
}

impl World {
    pub(super) fn healthy() -> Self {
        let installation = Installation {
            namespace: NAMESPACE.to_owned(),
            hosts_namespace: "metal3".to_owned(),
            hosts: metal3::BareMetalHost::resource(),
            target: Target::Service {
                namespace: NAMESPACE.to_owned(),
                name: "harbormaster".to_owned(),
                port: 443,
                ca_bundle: None,
            },
            image: IMAGE.to_owned(),
            extra_names: Vec::new(),
            extras: BTreeSet::new(),
        };
        let own_user = format!("system:serviceaccount:{NAMESPACE}:harbormaster");
        let registered = webhooks::offline(&installation.hosts, own_user, BTreeSet::new()).unwrap();
        let expected = Expected::of(&installation, &registered).unwrap();
        let objects: Vec<Value> = installation
            .all(&registered)
            .unwrap()
            .iter()
            .flat_map(|file| serde_saphyr::from_multiple::<Value>(&file.yaml).unwrap())
            .collect();
        let object = |kind: &str, name: &str| {
            let is_it = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
            objects.iter().find(is_it).cloned().unwrap_or_default()
        };

        let mut observed = Observed::unasked(expected.clone());
        observed.configurations = Reading::Found(expected.configurations.clone());
        for crd in expected.crds {
            let mut live = crd.clone();
            live.status = Some(CustomResourceDefinitionStatus {
                stored_versions: Some(vec!["v1".to_owned()]),
                ..CustomResourceDefinitionStatus::default()
            });
            observed.crds.insert(crd.name_any(), Reading::Found(live));
        }
        observed.hosts_crd = found(json!({
            "metadata": {"name": "baremetalhosts.metal3.io"},
            "spec": {
                "group": "metal3.io", "scope": "Namespaced",
                "names": {"kind": "BareMetalHost", "plural": "baremetalhosts"},
                "versions": [{"name": "v1alpha1", "served": true, "storage": true}],
            },
        }));
        let labels = [(
            "kubernetes.io/metadata.name".to_owned(),
            "metal3".to_owned(),
        )];
        observed.hosts_namespace = Reading::Found(BTreeMap::from(labels));
        observed.service = found(object("Service", "harbormaster"));
        observed.deployment = found(object("Deployment", "harbormaster"));
        let deployment = observed.deployment.found().unwrap();
        let (_, container) = settings::container(deployment).unwrap();
        observed.settings = settings::resolve(container, &BTreeMap::new());
        observed.endpoints = Reading::Found(vec![Endpoint {
            address: ADDRESS.to_owned(),
            is_ready: true,
        }]);
        observed.missing_rights = Reading::Found(Vec::new());
        observed.events_service = Reading::Found(Service::default());
        observed.ingresses = Reading::Found(Vec::new());
        observed.lease = found(json!({"spec": {
            "holderIdentity": "harbormaster-1",
            "leaseDurationSeconds": 15,
            "renewTime": "2030-01-01T11:59:58.000000Z",
        }}));
        observed.clocks = Some((now(), now()));

        let mut world = Self {
            observed,
            authority: Authority::new(),
            now: now(),
        };
        world.set("PROVISION_IMAGE", "https://images.example.org/noble.img");
        world.set("EVENTS_HTTP_PORT", "5080");
        world.set("TLS_MODE", "files");
        for setting in [
            "EVENTS_TLS_CERT_FILE",
            "TLS_EXTRA_NAMES",
            "WEBHOOK_SECRETS_DIR",
        ] {
            world.observed.settings.remove(setting);
        }
        world.observed.settings.insert(
            "WEBHOOK_SECRET".to_owned(),
            Setting::Secret {
                name: "harbormaster-events".to_owned(),
                key: "WEBHOOK_SECRET".to_owned(),
                optional: false,
            },
        );
        world.secret(Reading::Found(secret(SECRET.as_bytes())));
        let pem = world.authority.pem.clone();
        world.bundles(pem.as_bytes());
        world.serve(&["harbormaster.harbormaster-system.svc"]);
        world
    }

    pub(super) fn configurations(&mut self) -> &mut Vec<Configuration> {
        match &mut self.observed.configurations {
            Reading::Found(configurations) => configurations,
            _ => panic!("the configurations were found"),
        }
    }

    /// The webhook that fails closed on held hosts.
    pub(super) fn hook(&mut self) -> &mut Value {
        let hooks = self
            .configurations()
            .iter_mut()
            .flat_map(|one| &mut one.hooks);
        let mut held = hooks.filter(|hook| hook.name.starts_with("held.baremetalhost"));
        &mut held.next().unwrap().spec
    }

    pub(super) fn crd(&mut self) -> &mut CustomResourceDefinition {
        match self.observed.crds.get_mut(super::CRD) {
            Some(Reading::Found(crd)) => crd,
            _ => panic!("the CRD was found"),
        }
    }

    pub(super) fn conversion(&mut self) -> &mut WebhookClientConfig {
        let stanza = self.crd().spec.conversion.as_mut().unwrap();
        stanza
            .webhook
            .as_mut()
            .unwrap()
            .client_config
            .as_mut()
            .unwrap()
    }

    pub(super) fn stored(&mut self, versions: &[&str]) {
        let versions = versions
            .iter()
            .map(|version| (*version).to_owned())
            .collect();
        self.crd().status.as_mut().unwrap().stored_versions = Some(versions);
    }

    pub(super) fn port(&mut self) -> &mut ServicePort {
        let Reading::Found(service) = &mut self.observed.service else {
            panic!("the Service was found");
        };
        &mut service.spec.as_mut().unwrap().ports.as_mut().unwrap()[0]
    }

    /// These pods, and nothing ready.
    pub(super) fn pods(&mut self, pods: &[Pod]) {
        self.observed.endpoints = Reading::Found(Vec::new());
        self.observed.dials.clear();
        self.observed.pods = Reading::Found(pods.to_vec());
    }

    /// This CA bundle everywhere.
    pub(super) fn bundles(&mut self, pem: &[u8]) {
        for hook in self
            .configurations()
            .iter_mut()
            .flat_map(|one| &mut one.hooks)
        {
            hook.ca_bundle = pem.to_vec();
        }
        self.conversion().ca_bundle = Some(ByteString(pem.to_vec()));
    }

    /// A certificate of the authority for these names, served at the one endpoint.
    pub(super) fn serve(&mut self, names: &[&str]) {
        self.serve_leaf(names, ExtendedKeyUsagePurpose::ServerAuth);
    }

    pub(super) fn serve_for_clients(&mut self) {
        let name = "harbormaster.harbormaster-system.svc";
        self.serve_leaf(&[name], ExtendedKeyUsagePurpose::ClientAuth);
    }

    fn serve_leaf(&mut self, names: &[&str], usage: ExtendedKeyUsagePurpose) {
        self.observed.dials = vec![Dial {
            address: ADDRESS.to_owned(),
            chain: Ok(vec![self.authority.leaf(names, usage).der().clone()]),
        }];
    }

    pub(super) fn set(&mut self, setting: &str, value: &str) {
        let value = Setting::Value(value.to_owned());
        self.observed.settings.insert(setting.to_owned(), value);
    }

    pub(super) fn secret(&mut self, secret: Reading<Secret>) {
        self.observed
            .secrets
            .insert("harbormaster-events".to_owned(), secret);
    }

    /// A certificate of the authority for these names, mounted for the sender.
    pub(super) fn second_certificate(&mut self, names: &[&str]) {
        self.set(
            "EVENTS_TLS_CERT_FILE",
            "/etc/harbormaster/events-tls/tls.crt",
        );
        let leaf = self
            .authority
            .leaf(names, ExtendedKeyUsagePurpose::ServerAuth);
        let pem = ByteString(leaf.pem().into_bytes());
        let secret = Secret {
            data: Some(BTreeMap::from([("tls.crt".to_owned(), pem)])),
            ..Secret::default()
        };
        self.observed.events_certificate = Some("site".to_owned());
        let secrets = &mut self.observed.secrets;
        secrets.insert("site".to_owned(), Reading::Found(secret));
    }

    /// Somebody else's webhook on hosts, closed, with so much behind it.
    pub(super) fn other_webhook(&mut self, backend: Reading<usize>) {
        self.configurations().push(Configuration {
            kind: "ValidatingWebhookConfiguration",
            name: "other".to_owned(),
            annotations: BTreeMap::new(),
            hooks: vec![Hook {
                name: "all.other.example.org".to_owned(),
                spec: json!({
                    "rules": [{"apiGroups": ["*"], "resources": ["*"]}],
                    "clientConfig": {"service": {"namespace": "elsewhere", "name": "gone"}},
                }),
                ca_bundle: Vec::new(),
            }],
        });
        let service = ("elsewhere".to_owned(), "gone".to_owned());
        self.observed.backends.insert(service, backend);
    }
}

/// A CA of 60 days, whose leaves have 40.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_before = date_time_ymd(2029, 12, 31);
        params.not_after = date_time_ymd(2030, 3, 2);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn leaf(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Certificate {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        params.not_before = date_time_ymd(2029, 12, 31);
        params.not_after = date_time_ymd(2030, 2, 10);
        params.signed_by(&key, &self.issuer).unwrap()
    }
}

pub(super) fn secret(value: &[u8]) -> Secret {
    let data = [("WEBHOOK_SECRET".to_owned(), ByteString(value.to_vec()))];
    Secret {
        data: Some(BTreeMap::from(data)),
        ..Secret::default()
    }
}

pub(super) fn now() -> Timestamp {
    "2030-01-01T12:00:00Z".parse().unwrap()
}

pub(super) fn later(days: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * days)
}

fn found<K: serde::de::DeserializeOwned>(object: Value) -> Reading<K> {
    Reading::Found(serde_json::from_value(object).unwrap())
}

pub(super) const CA_DAYS: i64 = 60;
pub(super) const LEAF_DAYS: i64 = 40;
pub(super) const SECRET: &str = "ZGVtby1zZWNyZXQtMzItYnl0ZXMtbG9uZy1leGFtcGw=";

const ADDRESS: &str = "10.1.0.7:5001";
