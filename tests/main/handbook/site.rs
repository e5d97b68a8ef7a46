//! A cluster without kubelets, and what stands in for them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    net::Ipv4Addr,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use control_plane::{ControlPlane, Network};
use harbormaster::api::{
    FINALIZER,
    v1::{Phase, Reservation},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, Secret, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use metal3::{BareMetalHost, simulator::Simulator};
use serde_json::{Value, json};
use xtask::stage::{USER, administrators};

use crate::{
    check::clinic::endpoints,
    manifests::{NEIGHBOURS, neighbour},
    stage::{install_crypto, program, until},
};

pub(super) struct Site {
    control_plane: ControlPlane,
    network: Network,
    folder: PathBuf,
}

impl Site {
    /// Where Metal3 is, and a portal.
    pub(super) async fn open(network: Network) -> Self {
        install_crypto();
        let builder = ControlPlane::builder().with_controller_manager();
        let control_plane = builder.start().await.unwrap();
        let folder = control_plane.folder().join("operator");
        fs::create_dir(&folder).unwrap();
        let client = control_plane.client();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for name in [HOSTS, "portal"] {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            let params = PostParams::default();
            namespaces.create(&params, &namespace).await.unwrap();
        }
        let neighbours = NEIGHBOURS.map(|(group, version, plural, kind)| {
            let mut crd = neighbour(group, version, plural, kind);
            crd["apiVersion"] = json!("apiextensions.k8s.io/v1");
            crd["kind"] = json!("CustomResourceDefinition");
            crd
        });
        let list = json!({"apiVersion": "v1", "kind": "List", "items": neighbours});
        fs::write(folder.join("neighbours.json"), list.to_string()).unwrap();
        let hosts = serde_json::to_string(&metal3::crd()).unwrap();
        fs::write(folder.join("hosts.json"), hosts).unwrap();
        let site = Self {
            control_plane,
            network,
            folder,
        };
        site.types(
            "kubectl create clusterrolebinding operator --clusterrole=cluster-admin \
               --serviceaccount=baremetal-operator-system:baremetal-operator-controller-manager
             kubectl create -f hosts.json
             kubectl wait --for=condition=Established crd --all --timeout=60s",
        );
        tokio::spawn(Simulator::new(client.clone(), HOSTS).run(std::future::pending()));
        tokio::spawn(ready(client));
        site
    }

    pub(super) async fn close(self) {
        self.control_plane.stop().await.unwrap();
    }

    /// As an operator types it, line by line, into a shell.
    pub(super) fn types(&self, text: &str) {
        let output = self.typed(text);
        let answer = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{answer}{complaint}");
    }

    pub(super) async fn types_until_it_succeeds(&self, text: &str) {
        let begun = Instant::now();
        let mut output = self.typed(text);
        while !output.status.success() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(500)).await;
            output = self.typed(text);
        }
        let answer = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{answer}{complaint}");
    }

    fn typed(&self, text: &str) -> Output {
        // The last `kubectl apply` says how a pipe ends; what it was fed is checked by it.
        let mut shell = self.environment("sh");
        shell.args(["-e", "-c", text]).output().unwrap()
    }

    fn environment(&self, command: &str) -> Command {
        let mut command = administrators(command, &self.control_plane, program());
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env_remove("KUBERNETES_SERVICE_HOST");
        command
    }

    /// Runs the program as the Deployment has it, behind the Service's address.
    pub(super) async fn serve(&self) -> Running {
        let deployments: Api<Deployment> = self.own();
        let deployment = deployments.get("harbormaster").await.unwrap();
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        let container = pod.containers.into_iter().next().unwrap();
        let map: Api<ConfigMap> = self.own();
        let map = map.get("harbormaster").await.unwrap().data.unwrap();
        let secret: Api<Secret> = self.own();
        let secret = secret.get("harbormaster-events").await.unwrap();
        let secret = secret.data.unwrap().remove("WEBHOOK_SECRET").unwrap();
        let secret = String::from_utf8(secret.0).unwrap();
        let own = container.env.unwrap().into_iter();
        let own = own.map(|variable| {
            let value = variable.value.unwrap_or_else(|| secret.clone());
            (variable.name, value)
        });
        let variables: BTreeMap<_, _> = map.into_iter().chain(own).collect();

        let services: Api<Service> = self.own();
        let service = services.get("harbormaster").await.unwrap();
        let address = service.spec.unwrap().cluster_ip.unwrap();
        let address: Ipv4Addr = address.parse().unwrap();
        self.network.add_address(address).unwrap();
        let log = self.folder.join("log");
        let mut serve = self.environment(program().to_str().unwrap());
        serve
            .arg("serve")
            .arg("--kubeconfig")
            .arg(self.control_plane.kubeconfig_for(USER, &[]).unwrap())
            .envs(variables)
            .env("POD_NAMESPACE", OWN)
            .env("SPOOL_DIR", self.folder.join("spool"))
            .env("BIND_ADDRESS", address.to_string())
            .env("PORT", "443")
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap());
        let running = Running {
            child: serve.spawn().unwrap(),
            log,
        };
        // Their controller goes by nodes, and there is none.
        fs::write(self.folder.join("endpoints.json"), endpoints().to_string()).unwrap();
        self.types("kubectl create -f endpoints.json");
        let sender = format!("http://{address}:5080/webhook");
        fs::write(self.folder.join("url"), sender).unwrap();
        until("the program to listen", async || {
            std::net::TcpStream::connect((address, 443)).ok().map(drop)
        })
        .await;
        running
    }

    pub(super) fn sends(&self, event_type: &str, resource: &str) {
        self.types(&format!(
            "harbormaster send-event --type {event_type} --resource '{resource}' --event-id 1 \
             --url $(cat url) --secret-file secret.txt"
        ));
    }

    pub(super) async fn reaches(&self, phase: Phase) {
        let reservations: Api<Reservation> = Api::namespaced(self.client(), HOSTS);
        until("the reservation to go on", async || {
            let reservation = reservations.get_opt("portal-1").await.unwrap()?;
            (reservation.status?.phase? == phase).then_some(())
        })
        .await;
    }

    pub(super) async fn host(&self, name: &str) {
        self.create_host(name, json!(null)).await;
    }

    /// One that a Reservation has.
    pub(super) async fn held_host(&self, name: &str) {
        let claim = json!({
            "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": "left",
        });
        self.create_host(name, claim).await;
    }

    async fn create_host(&self, name: &str, claim: Value) {
        let host = serde_json::from_value(json!({
            "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "metadata": {"name": name},
            "spec": {
                "online": false, "bootMACAddress": "02:00:00:00:02:01", "consumerRef": claim,
                "bmc": {"address": "redfish://192.0.2.9/redfish/v1/Systems/1",
                    "credentialsName": "bmc"},
            },
        }));
        let hosts = self.hosts();
        let params = PostParams::default();
        hosts.create(&params, &host.unwrap()).await.unwrap();
    }

    /// The Reservation that has it, whose program is gone.
    pub(super) async fn leave_reservation(&self, host: &str) {
        let own = self.control_plane.client_as(USER, &["system:masters"]);
        let reservations: Api<Reservation> = Api::namespaced(own.unwrap(), HOSTS);
        let reservation = serde_json::from_value(json!({
            "apiVersion": "harbormaster.dev/v1", "kind": "Reservation",
            "metadata": {"name": "left", "finalizers": [FINALIZER]},
            "spec": {
                "window": {"start": "2026-01-02T10:00:00Z"},
                "target": {"hostRef": {"name": host}},
            },
        }));
        let params = PostParams::default();
        let created = reservations.create(&params, &reservation.unwrap()).await;
        created.unwrap();
    }

    pub(super) async fn get(&self, name: &str) -> BareMetalHost {
        self.hosts().get(name).await.unwrap()
    }

    /// Whatever kind it may be of.
    pub(super) fn has_nothing_left(&self) {
        self.types(
            "kinds=$(kubectl api-resources --verbs=list -o name | grep -v '^events' | paste -sd,)
             left=$(kubectl get $kinds --all-namespaces -o name --ignore-not-found \
               --selector app.kubernetes.io/name=harbormaster)
             left=$left$(kubectl get namespace,crd -o name | grep harbormaster || true)
             echo \"$left\"
             test -z \"$left\"",
        );
    }

    fn client(&self) -> Client {
        self.control_plane.client()
    }

    fn own<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), OWN)
    }

    fn hosts(&self) -> Api<BareMetalHost> {
        Api::namespaced_with(self.client(), HOSTS, &BareMetalHost::resource())
    }
}

/// The program; killed when it is dropped, with its log shown if the test has failed.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(super) fn stop(&mut self) {
        // It may have ended by itself: its rights are gone with the installation.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read(&self.log).unwrap_or_default();
            // Best effort: the test has failed anyway.
            let _ = std::io::stderr().write_all(&log);
        }
    }
}

/// Says of each pod what its kubelet would.
async fn ready(client: Client) {
    let pods: Api<Pod> = Api::namespaced(client, OWN);
    let mut number = 0_u8;
    loop {
        let list = pods.list(&ListParams::default()).await;
        for pod in list.into_iter().flatten() {
            let is_told = pod.status.as_ref().is_some_and(|one| one.pod_ip.is_some());
            if is_told {
                continue;
            }
            number = number.wrapping_add(1);
            let address = format!("192.0.2.{number}");
            let status = json!({"status": {
                "phase": "Running",
                "podIP": address, "podIPs": [{"ip": address}],
                "conditions": [{"type": "Ready", "status": "True"}],
            }});
            let patch = Patch::Merge(&status);
            let params = PatchParams::default();
            // It may be gone by now.
            let _ = pods.patch_status(&pod.name_any(), &params, &patch).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const OWN: &str = "harbormaster-system";

const HOSTS: &str = "metal3";

const PATIENCE: Duration = Duration::from_secs(90);
