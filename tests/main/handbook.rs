//! What docs/install.md, upgrade.md, failures.md and sender-trust.md tell an operator to type,
//! typed: on a real control plane with its controllers, as a Service, by the pages' own text.
//!
//! No kubelet is there: the test says that pods are ready, and runs the program with what the
//! Deployment gives its container.

#[path = "handbook/site.rs"]
mod site;

use std::{fs, path::Path};

use control_plane::{Assets, Tool};
use harbormaster::api::v1::Phase;
use metal3::BareMetalHost;
use tokio::runtime;

use self::site::Site;
use crate::stage::OWN_CONTROL_PLANE;

#[test]
fn the_documented_commands_install_upgrade_and_uninstall() {
    let test = "handbook::the_documented_commands_install_upgrade_and_uninstall";
    on_a_site(test, async |site| {
        let install = Page::read("install.md");
        let upgrade = Page::read("upgrade.md");
        site.host("srv01").await;

        site.types(install.command("kubectl create namespace"));
        site.types(install.command("generate manifests --k8s-namespace"));
        let mut pod = site.serve().await;
        // A replica must be elected, and endpoints be there, before nothing is to be found.
        let is_well = install.command("rollout status");
        site.types_until_it_succeeds(is_well).await;
        site.types(install.command("kubectl label namespace"));
        site.types(install.command("kubectl annotate bmh"));

        site.sends("EVENT_START", "Lab Server A1");
        site.reaches(Phase::Active).await;
        let failures = Page::read("failures.md");
        site.types(failures.command("create role break-glass"));
        site.types(failures.command("--as=system:serviceaccount"));
        site.types(failures.command("kubectl delete validatingwebhookconfiguration"));

        site.types_until_it_succeeds(upgrade.command("--force-conflicts"))
            .await;
        site.types(upgrade.command("--durable-spool"));
        site.types("kubectl get pvc --namespace harbormaster-system spool-harbormaster-1");

        site.types(upgrade.command("kubectl delete rsv"));
        let host: BareMetalHost = site.get("srv01").await;
        assert!(host.consumer().is_none() && host.deployed_image_url().is_none());
        site.types(failures.command("kubectl delete bmh"));
        pod.stop();
        site.has_nothing_left();
        site.close().await;
    });
}

/// Without the program there is nobody to release what is held.
#[test]
fn the_documented_commands_take_away_what_a_program_left_that_is_gone() {
    let test = "handbook::the_documented_commands_take_away_what_a_program_left_that_is_gone";
    on_a_site(test, async |site| {
        site.held_host("srv01").await;
        site.types("kubectl create -f neighbours.json");
        site.types("kubectl create namespace ingress-nginx");
        let install = Page::read("install.md");
        site.types(install.command("kubectl create namespace"));
        site.types(install.command("--cert-manager"));
        // Any certificate: who signed it makes no difference to kubectl.
        site.types(install.command("openssl req"));
        site.types("cp tls.crt events.crt; cp tls.key events.key");
        let trust = Page::read("sender-trust.md");
        for way in [
            "namespace portal",
            "create ingress",
            "--events-tls",
            "--tls-extra-names",
        ] {
            // The Service that two ways expose is there after the first; and no CA was issued.
            let text = trust.command(way).replace(
                "kubectl expose",
                "kubectl delete service harbormaster-outside --ignore-not-found \
                 --namespace harbormaster-system; kubectl expose",
            );
            let text = text.split("kubectl get secret").next().unwrap();
            site.types(text);
        }

        site.types("kubectl wait --for=condition=Established crd --all --timeout=60s");
        site.leave_reservation("srv01").await;
        site.types(
            "kubectl delete namespace harbormaster-system
             kubectl delete rsv --all --namespace metal3 --wait=false",
        );
        let upgrade = Page::read("upgrade.md");
        site.types(upgrade.command("\"finalizers\":null"));
        site.types(upgrade.command("kubectl patch bmh srv01"));
        site.types(upgrade.command("kubectl delete rsv"));
        site.has_nothing_left();
        site.close().await;
    });
}

/// Runs `body` where Metal3 is, with the controllers of a control plane.
#[track_caller]
fn on_a_site(test: &str, body: impl AsyncFnOnce(Site)) {
    let _turn = OWN_CONTROL_PLANE.blocking_lock();
    // Inside there is no network to fetch the sources of one more binary from.
    let outside = runtime::Builder::new_current_thread().enable_all().build();
    let tools = Assets::find_or_build(&[Tool::KubeControllerManager]);
    outside.unwrap().block_on(tools).unwrap();
    control_plane::in_network_namespace(test, async |network| {
        body(Site::open(network).await).await;
    });
}

/// A page's blocks of commands.
struct Page {
    name: &'static str,
    blocks: Vec<String>,
}

impl Page {
    fn read(name: &'static str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let blocks = text.split("```sh").skip(1);
        let blocks = blocks.map(|rest| rest.split("```").next().unwrap().to_owned());
        Self {
            name,
            blocks: blocks.collect(),
        }
    }

    /// The block that holds a text.
    fn command(&self, text: &str) -> &str {
        let found = self.blocks.iter().find(|block| block.contains(text));
        found.unwrap_or_else(|| panic!("no block of {} holds {text}", self.name))
    }
}

#[test]
fn the_pages_name_the_image_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for page in ["install.md", "sender-trust.md", "upgrade.md"] {
        let page = Page::read(page);
        let images = page.blocks.iter().flat_map(|block| {
            let names = block.split("/harbormaster:").skip(1);
            names.map(|rest| rest.split_whitespace().next().unwrap())
        });
        let images: Vec<_> = images.collect();
        assert!(!images.is_empty());
        assert!(images.iter().all(|tag| *tag == version), "{images:?}");
    }
}
