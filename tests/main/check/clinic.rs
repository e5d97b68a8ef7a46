//! An installation on a control plane of its own, without pods: a listener of the test's serves
//! the certificate, and the Service's endpoint is an address that nobody has.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use control_plane::ControlPlane;
use kube_webhook::{Server, TlsIdentity};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};
use xtask::stage::{SECRET, administrators};

use crate::stage::{install_crypto, program};

pub(super) struct Clinic {
    control_plane: ControlPlane,
    folder: PathBuf,
    authority: Issuer<'static, KeyPair>,
    identity: TlsIdentity,
    address: String,
    stop: oneshot::Sender<()>,
    listener: JoinHandle<std::io::Result<()>>,
}

/// What a certificate is like that is served.
#[derive(Clone, Copy)]
pub(super) struct Served {
    name: &'static str,
    /// Days from now.
    not_before: i64,
    not_after: i64,
    is_for_servers: bool,
}

impl Served {
    pub(super) const fn good() -> Self {
        Self {
            name: NAME,
            not_before: -1,
            not_after: 30,
            is_for_servers: true,
        }
    }
}

/// Bad ones, and the finding that comes of each.
pub(super) const CERTIFICATES: &[(&str, Served)] = &[
    (
        "certificate-expired",
        Served {
            not_before: -30,
            not_after: -1,
            ..Served::good()
        },
    ),
    (
        "certificate-not-yet-valid",
        Served {
            not_before: 1,
            ..Served::good()
        },
    ),
    (
        "certificate-expires-soon",
        Served {
            not_before: -90,
            not_after: 10,
            ..Served::good()
        },
    ),
    (
        "certificate-name",
        Served {
            name: "localhost",
            ..Served::good()
        },
    ),
    (
        "certificate-unusable",
        Served {
            is_for_servers: false,
            ..Served::good()
        },
    ),
];

impl Clinic {
    /// A healthy installation, as `generate manifests` and the docs have it.
    pub(super) async fn open() -> Self {
        install_crypto();
        let control_plane = ControlPlane::start().await.unwrap();
        let folder = control_plane.folder().join("clinic");
        fs::create_dir(&folder).unwrap();
        let (authority, pem) = authority("test CA", 365);
        let write = |file: &str, text: String| fs::write(folder.join(file), text).unwrap();
        write("ca.crt", pem);
        write("other-ca.crt", self::authority("another CA", 365).1);
        write("expired-ca.crt", self::authority("an old CA", -1).1);
        write("secret.txt", SECRET.to_owned());
        write(
            "hosts-crd.json",
            serde_json::to_string(&metal3::crd()).unwrap(),
        );
        write("endpoints.json", endpoints().to_string());
        write("other.json", other_webhook().to_string());
        write("lease.json", lease().to_string());

        let (chain, key) = leaf(&authority, Served::good());
        let identity = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let server = Server::bind(
            ([127, 0, 0, 1], 0).into(),
            identity.clone(),
            axum::Router::new(),
        )
        .unwrap();
        let address = server.local_addr().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        let clinic = Self {
            control_plane,
            folder,
            authority,
            identity,
            address,
            stop,
            listener,
        };
        clinic.shell(INSTALL);
        clinic
    }

    pub(super) async fn close(self) {
        // The listener may have ended with an error, which the join below shows.
        let _ = self.stop.send(());
        self.listener.await.unwrap().unwrap();
        self.control_plane.stop().await.unwrap();
    }

    /// Presents another certificate from now on.
    pub(super) fn serve(&self, served: Served) {
        let (chain, key) = leaf(&self.authority, served);
        self.identity
            .replace(chain.as_bytes(), key.as_bytes())
            .unwrap();
    }

    pub(super) fn check(&self, arguments: &[&str]) -> Report {
        let mut connect = vec!["--connect", &self.address];
        if arguments.contains(&"--connect") {
            connect.clear();
        }
        connect.extend(arguments);
        self.run(&connect)
    }

    /// At the Service's own endpoints.
    pub(super) fn check_endpoints(&self) -> Report {
        self.run(&[])
    }

    pub(super) fn check_as_nobody(&self) -> Report {
        let file = self.control_plane.kubeconfig_for("nobody", &[]).unwrap();
        let file = file.to_str().unwrap().to_owned();
        self.check(&["--kubeconfig", &file])
    }

    fn run(&self, arguments: &[&str]) -> Report {
        let mut check = self.environment(program().to_str().unwrap());
        check.args(["check", "--output", "json"]).args(arguments);
        Report::of(&check.output().unwrap())
    }

    pub(super) fn assert_healthy(&self, after: &str) {
        let report = self.check(&[]);
        assert_eq!(report.code, 0, "after {after}: {}", report.text());
        assert!(report.ids().is_empty(), "after {after}: {}", report.text());
    }

    pub(super) fn assert_found(&self, id: &str) {
        let report = self.check(&[]);
        assert!(
            report.ids().contains(&id),
            "{id} is not among {}",
            report.text()
        );
        assert_eq!(report.code, 2, "{id}");
    }

    /// Types what the findings say, until there are none. What one mends, another may follow
    /// from: a configuration that is made anew has no CA bundle yet.
    pub(super) fn mend(&self, id: &str) {
        let mut rounds = 0;
        loop {
            let report = self.check(&[]);
            let commands = report.commands();
            if commands.is_empty() {
                assert_eq!(report.code, 0, "{id}");
                return;
            }
            rounds += 1;
            assert!(rounds <= ROUNDS, "{id} is not mended: {}", report.text());
            for command in commands {
                // One may be done by the command of another already, or by a later round.
                drop(self.sh(&command));
            }
        }
    }

    /// As a user would type it, in a folder with `ca.crt` and `secret.txt`.
    pub(super) fn shell(&self, line: &str) {
        let output = self.sh(line);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {complaint}");
    }

    fn sh(&self, line: &str) -> Output {
        self.environment("sh").args(["-c", line]).output().unwrap()
    }

    fn environment(&self, command: &str) -> Command {
        let mut command = administrators(command, &self.control_plane, program());
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env_remove("KUBERNETES_SERVICE_HOST");
        command
    }
}

/// What `check` answered.
pub(super) struct Report {
    pub(super) code: i32,
    findings: Vec<Value>,
}

impl Report {
    fn of(output: &Output) -> Self {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let answer: Value = serde_json::from_slice(&output.stdout).expect(&complaint);
        Self {
            code: output.status.code().unwrap(),
            findings: answer["findings"].as_array().unwrap().clone(),
        }
    }

    /// Of what is to be mended.
    pub(super) fn ids(&self) -> Vec<&str> {
        let bad = self.findings.iter().filter(|one| one["severity"] != "note");
        bad.map(|finding| finding["id"].as_str().unwrap()).collect()
    }

    fn commands(&self) -> Vec<String> {
        let bad = self.findings.iter().filter(|one| one["severity"] != "note");
        bad.map(|finding| finding["mend"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string_pretty(&self.findings).unwrap()
    }
}

fn authority(name: &str, days: i64) -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.not_before = days_from_now(-400).into();
    params.not_after = days_from_now(days).into();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn leaf(authority: &Issuer<'static, KeyPair>, served: Served) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([served.name.to_owned()]).unwrap();
    params.extended_key_usages = vec![if served.is_for_servers {
        ExtendedKeyUsagePurpose::ServerAuth
    } else {
        ExtendedKeyUsagePurpose::ClientAuth
    }];
    params.not_before = days_from_now(served.not_before).into();
    params.not_after = days_from_now(served.not_after).into();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn days_from_now(days: i64) -> SystemTime {
    let span = Duration::from_secs(days.unsigned_abs() * 24 * 60 * 60);
    if days < 0 {
        SystemTime::now() - span
    } else {
        SystemTime::now() + span
    }
}

/// As the EndpointSlice controller would write it, with an address of a documentation range.
pub(crate) fn endpoints() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "harbormaster-1",
            "namespace": "harbormaster-system",
            "labels": {"kubernetes.io/service-name": "harbormaster"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": 5001}],
        "endpoints": [{"addresses": ["192.0.2.7"], "conditions": {"ready": true}}],
    })
}

fn other_webhook() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "other"},
        "webhooks": [{
            "name": "all.other.example.org",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"service": {"namespace": "default", "name": "gone", "path": "/"}},
            "rules": [{
                "apiGroups": ["metal3.io"], "apiVersions": ["*"],
                "resources": ["*"], "operations": ["*"],
            }],
        }],
    })
}

/// Of a replica that is elected, and stays so.
fn lease() -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "harbormaster", "namespace": "harbormaster-system"},
        "spec": {
            "holderIdentity": "harbormaster-1",
            "leaseDurationSeconds": 15,
            "renewTime": "2099-01-01T00:00:00.000000Z",
        },
    })
}

/// Server-side throughout, as the docs say: a client-side apply would own the CA bundles.
const INSTALL: &str = "set -e
kubectl create -f hosts-crd.json
harbormaster generate manifests --ca-file ca.crt > installation.yaml
kubectl apply --server-side -f installation.yaml
kubectl create secret generic harbormaster-events --namespace harbormaster-system \\
  --from-file=WEBHOOK_SECRET=secret.txt
kubectl set env deployment/harbormaster --namespace harbormaster-system \\
  PROVISION_IMAGE=https://images.example.org/noble.img EVENTS_HTTP_PORT=5080
kubectl get service harbormaster-events --namespace harbormaster-system ||
  kubectl create service clusterip harbormaster-events --namespace harbormaster-system --tcp=80:5080
kubectl apply -f endpoints.json -f lease.json
kubectl wait --for=condition=Established crd --all --timeout=60s
";

const NAME: &str = "harbormaster.harbormaster-system.svc";

const ROUNDS: u32 = 3;
