//! A cluster in which the program is installed at a URL, and what can be done to it there.

#[path = "places.rs"]
mod places;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use control_plane::{Builder, ControlPlane, Process, ServiceEndpoints};
use harbormaster::api::v1;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use xtask::stage::{USER, free_port};

use crate::{
    line::Line,
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

impl Way {
    fn by_url() -> Self {
        let port = free_port().unwrap();
        Self::Url { port }
    }
}

impl Site {
    /// Installs all but the program, and nobody is trusted yet.
    pub(crate) async fn open() -> Self {
        Self::open_on(ControlPlane::builder()).await
    }

    /// The same, with an API server of the test's own settings.
    pub(crate) async fn open_on(builder: Builder) -> Self {
        let site = Self::install(builder, Way::by_url(), &[]).await;
        site.apply("crds", &site.generate("crds"));
        site.apply_webhooks();
        site
    }

    /// The same, called as a Service by its endpoints. In a network namespace only.
    pub(crate) async fn open_as_service(flags: &[&'static str]) -> Self {
        let builder = ControlPlane::builder().endpoint_routing();
        let site = Self::install(builder, Way::Service, flags).await;
        site.apply("crds", &site.generate("crds"));
        site.apply_webhooks();
        site
    }

    /// The definitions alone, and the rights to register: nothing leads to the program yet.
    pub(crate) async fn open_bare() -> Self {
        Self::install(ControlPlane::builder(), Way::by_url(), &["--register"]).await
    }

    /// The same, to be called as a Service.
    pub(crate) async fn open_bare_as_service() -> Self {
        let builder = ControlPlane::builder().endpoint_routing();
        Self::install(builder, Way::Service, &["--register"]).await
    }

    async fn install(builder: Builder, way: Way, flags: &[&'static str]) -> Self {
        install_crypto();
        let control_plane = builder.start().await.unwrap();
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
        site.apply("crds", &site.unconverted());
        site.until_established();
        site
    }

    /// Our definitions, without whoever converts.
    fn unconverted(&self) -> String {
        let crds: Vec<Value> = serde_saphyr::from_multiple(&self.generate("crds")).unwrap();
        let plain = crds.into_iter().map(|mut crd| {
            crd["spec"]["conversion"] = json!({"strategy": "None"});
            crd.to_string()
        });
        plain.collect::<Vec<_>>().join("\n---\n")
    }

    /// The base of the URL that API servers call.
    pub(crate) fn url(&self) -> String {
        match self.way {
            Way::Url { port } => format!("https://127.0.0.1:{port}"),
            Way::Service => panic!("it is called as a Service"),
        }
    }

    /// How many calls of our webhooks were not answered as they should be, by the API server's count.
    pub(crate) async fn failed_calls(&self) -> u64 {
        traffic::failed(&self.client).await
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
        self.start_with(&self.kubeconfig, name, more)
    }

    /// The same, by a line that can fall silent.
    pub(crate) async fn start_by(&self, line: &Line, name: &str, more: &[(&str, &str)]) -> Own {
        let kubeconfig = line.kubeconfig(&self.kubeconfig, self.control_plane.url());
        self.start_with(&kubeconfig, name, more)
    }

    /// A line to the API server.
    pub(crate) async fn line(&self) -> Line {
        Line::to(self.control_plane.url()).await
    }

    fn start_with(&self, kubeconfig: &Path, name: &str, more: &[(&str, &str)]) -> Own {
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
            kubeconfig,
            namespace: "default",
            folder: &folder,
            more: &all,
        })
    }

    pub(crate) async fn stop_api_server(&self) {
        self.control_plane.stop_api_server().await.unwrap();
    }

    pub(crate) async fn start_api_server(&self) {
        self.control_plane.start_api_server().await.unwrap();
    }

    pub(crate) async fn close(self) {
        self.control_plane.stop().await.unwrap();
    }

    /// Waits until each kind of call succeeds.
    ///
    /// And until the API server calls as it is told now: the watches that it has set up under a
    /// definition without our CA see what is written for a while, and fail to convert it.
    pub(crate) async fn until_called(&self) {
        self.keep("called").await;
        let reservations: Api<v1::Reservation> = Api::namespaced(self.client.clone(), "default");
        let (mut round, mut in_a_row) = (0, 0);
        until("each kind of call to succeed", async || {
            traffic::once(&self.client, "called", 0).await.ok()?;
            round += 1;
            let before = traffic::failed(&self.client).await;
            let round = json!({"example.com/round": round.to_string()});
            let change = Patch::Merge(json!({"metadata": {"annotations": round}}));
            let params = PatchParams::default();
            reservations.patch("called", &params, &change).await.ok()?;
            tokio::time::sleep(UNTIL_WATCHED).await;
            let has_failed = traffic::failed(&self.client).await > before;
            in_a_row = if has_failed { 0 } else { in_a_row + 1 };
            (in_a_row == ROUNDS).then_some(())
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

    /// Changes one of the Secrets.
    pub(crate) async fn merge(&self, name: &str, patch: &Value) {
        let params = PatchParams::default();
        self.secrets
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub(crate) fn apply_webhooks(&self) {
        self.apply("webhooks", &self.generate("webhooks"));
    }

    /// The program was refused nothing, and these rights were of use.
    pub(crate) fn assert_no_right_was_missing(&self, of_use: &BTreeSet<String>) {
        let used = rights::used(&self.control_plane);
        let idle: Vec<_> = of_use.difference(&used).collect();
        assert!(idle.is_empty(), "granted, and not made use of: {idle:?}");
    }

    /// After all has happened that can.
    pub(crate) fn assert_rights_are_just_enough(&self) {
        self.assert_no_right_was_missing(&rights::of_certificates());
    }

    pub(crate) fn generate(&self, what: &str) -> String {
        let mut generate = Command::new(program());
        generate.args(["generate", what]).args(&self.flags);
        if let Way::Url { .. } = self.way {
            generate.arg(format!("--url={}", self.url()));
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

/// As many places lead to us: three webhooks that validate, two that mutate, one conversion.
pub(crate) const WEBHOOKS: usize = 6;

/// A watch of the API server's own sees a write in milliseconds.
const UNTIL_WATCHED: Duration = Duration::from_millis(300);

/// As many writes that no watch failed over: one that failed may pause before it goes on.
const ROUNDS: usize = 4;

const NAME: &str = "harbormaster";

pub(crate) const NAMESPACE: &str = "harbormaster-system";

const CRD: &str = "reservations.harbormaster.dev";
