//! Starts, and what a started control plane offers.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use control_plane::{ControlPlane, Error};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};

use super::support::eventually;

#[tokio::test]
async fn the_administrator_may_do_everything() {
    let control_plane = ControlPlane::shared().await;
    let secrets: Api<Secret> = Api::namespaced(control_plane.client(), "kube-system");
    let secret = Secret {
        metadata: named("anything"),
        ..Secret::default()
    };
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_user_is_known_by_name_and_groups() {
    let control_plane = ControlPlane::shared().await;
    let user = "system:serviceaccount:metal3:ironic";
    let groups = [
        "system:serviceaccounts",
        "system:serviceaccounts:metal3",
        "größe",
    ];
    let client = control_plane.client_as(user, &groups).unwrap();

    let (name, mut known) = who_am_i(client.clone()).await;
    assert_eq!(name, user);
    known.sort();
    assert_eq!(known[..1], ["größe"]);
    assert_eq!(
        known[1..],
        [
            "system:authenticated",
            "system:serviceaccounts",
            "system:serviceaccounts:metal3"
        ]
    );

    let secrets: Api<Secret> = Api::namespaced(client, "default");
    match secrets.list(&Default::default()).await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 403),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_in_no_group_is_still_a_user() {
    let control_plane = ControlPlane::shared().await;
    let client = control_plane.client_as("alice", &[]).unwrap();
    let (name, groups) = who_am_i(client).await;
    assert_eq!(
        (name.as_str(), groups),
        ("alice", vec!["system:authenticated".to_owned()])
    );
}

#[tokio::test]
async fn kubectl_is_the_administrator_or_the_user_of_a_kubeconfig() {
    let control_plane = ControlPlane::shared().await;
    let mut kubectl = control_plane.kubectl();
    kubectl.args(["get", "secrets", "--namespace=kube-system", "--output=name"]);
    succeeds(&mut kubectl);

    let kubeconfig = control_plane
        .kubeconfig_for("bob", &["builders", "drivers"])
        .unwrap();
    let mut whoami = control_plane.kubectl();
    whoami
        .args(["auth", "whoami", "--output=yaml"])
        .env("KUBECONFIG", kubeconfig);
    let output = succeeds(&mut whoami);
    for part in ["username: bob", "- builders", "- drivers"] {
        assert!(output.contains(part), "{output}");
    }
}

#[test]
fn tests_with_their_own_runtimes_share_one_control_plane() {
    let mut urls = Vec::new();
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        urls.push(runtime.block_on(async {
            let control_plane = ControlPlane::shared().await;
            let namespaces: Api<Namespace> = Api::all(control_plane.client());
            namespaces.get("default").await.unwrap();
            control_plane.url()
        }));
    }
    assert_eq!(urls[0], urls[1]);
}

#[tokio::test]
async fn two_control_planes_know_nothing_of_each_other() {
    let (first, second) = tokio::join!(ControlPlane::start(), ControlPlane::start());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.url(), second.url());

    create_config_map(first.client(), "only-here").await;
    let there: Api<ConfigMap> = Api::namespaced(second.client(), "default");
    assert!(there.get_opt("only-here").await.unwrap().is_none());

    let stopped = tokio::join!(first.stop(), second.stop());
    stopped.0.unwrap();
    stopped.1.unwrap();
}

#[tokio::test]
async fn the_audit_log_tells_who_did_what() {
    let control_plane = ControlPlane::shared().await;
    let client = control_plane
        .client_as("carol", &["system:masters"])
        .unwrap();
    let config_map = create_config_map(client, "audited").await;

    let log = control_plane.audit_log();
    let event = log
        .wait_for(|event| event.is_about("configmaps", "audited"))
        .await
        .unwrap();
    assert_eq!(event.verb, "create");
    assert_eq!(event.stage, "ResponseComplete");
    assert_eq!(event.user.username, "carol");
    assert_eq!(event.code(), Some(201));
    assert_eq!(event.request_object.unwrap()["data"]["key"], "value");
    let uid = event.response_object.unwrap()["metadata"]["uid"].clone();
    assert_eq!(uid.as_str(), config_map.metadata.uid.as_deref());
}

#[tokio::test]
async fn an_outage_of_the_api_server_keeps_data_and_port() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client();
    create_config_map(client.clone(), "kept").await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client, "default");

    control_plane.stop_api_server().await.unwrap();
    control_plane.stop_api_server().await.unwrap();
    assert!(
        config_maps.get("kept").await.is_err(),
        "nobody is there to answer"
    );

    control_plane.start_api_server().await.unwrap();
    assert!(matches!(
        control_plane.start_api_server().await,
        Err(Error::AlreadyStarted)
    ));
    let kept = eventually("the client of before has a new connection", async || {
        config_maps.get("kept").await.ok()
    });
    assert_eq!(kept.await.data.unwrap()["key"], "value");
    control_plane.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_waits_for_a_port_that_another_process_has_taken() {
    let control_plane = ControlPlane::start().await.unwrap();
    control_plane.stop_api_server().await.unwrap();
    let address = control_plane.url().trim_start_matches("https://");
    let taken = TcpListener::bind(address).unwrap();

    let log = control_plane.folder().join("kube-apiserver.log");
    let release = eventually("the API server finds its port taken", async || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.contains("address already in use").then_some(())
    });
    let release = async {
        release.await;
        drop(taken);
    };
    let (started, ()) = tokio::join!(control_plane.start_api_server(), release);
    started.unwrap();
    control_plane.stop().await.unwrap();
}

#[tokio::test]
async fn a_port_that_stays_taken_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let argument = format!("--secure-port={port}");
    match ControlPlane::builder()
        .api_server_arg(argument)
        .start()
        .await
    {
        Err(Error::Exited { log, .. }) => assert!(log.contains("address already in use"), "{log}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn arguments_reach_the_api_server_which_tells_what_it_does_not_know() {
    let control_plane = ControlPlane::builder().api_server_arg("--no-such-flag");
    match control_plane.start().await {
        Err(Error::Exited {
            daemon: "kube-apiserver",
            log,
            ..
        }) => {
            assert!(log.contains("unknown flag: --no-such-flag"), "{log}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_given_up() {
    let control_plane = ControlPlane::builder().startup_timeout(Duration::from_millis(300));
    match control_plane.start().await {
        Err(Error::NotReady { daemon, waited, .. }) => {
            assert_eq!(
                (daemon, waited),
                ("kube-apiserver", Duration::from_millis(300))
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn with_the_controller_manager_namespaces_are_deleted() {
    let control_plane = ControlPlane::builder()
        .with_controller_manager()
        .start()
        .await
        .unwrap();
    let namespaces: Api<Namespace> = Api::all(control_plane.client());
    let namespace = Namespace {
        metadata: named("short-lived"),
        ..Namespace::default()
    };
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    namespaces
        .delete("short-lived", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the namespace is gone", async || {
        let namespace = namespaces.get_opt("short-lived").await.unwrap();
        namespace.is_none().then_some(())
    })
    .await;
    control_plane.stop().await.unwrap();
}

#[test]
fn without_go_and_binaries_the_error_names_both_ways() {
    let output = run_again(|command| {
        let nothing = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        command
            .env("PATH", nothing)
            .env_remove("KUBEBUILDER_ASSETS");
    });
    for way in ["install Go 1.26", "https://go.dev", "KUBEBUILDER_ASSETS"] {
        assert!(output.contains(way), "{output}");
    }
}

#[test]
fn a_folder_without_the_binaries_is_told_by_the_first_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let output = run_again(|command| {
        command.env("KUBEBUILDER_ASSETS", folder.path());
    });
    let message = format!("no file `etcd` in {}", folder.path().display());
    assert!(output.contains(&message), "{output}");
}

/// Runs `the_administrator_may_do_everything` in a process of its own, where it
/// fails for want of a control plane.
fn run_again(prepare: impl FnOnce(&mut Command)) -> String {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "start::the_administrator_may_do_everything",
            "--nocapture",
        ])
        .env("CONTROL_PLANE_CACHE", empty.path());
    prepare(&mut command);
    let output = command.output().unwrap();
    assert!(
        !output.status.success(),
        "it should not find anything to start"
    );
    String::from_utf8(output.stderr).unwrap()
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

async fn who_am_i(client: Client) -> (String, Vec<String>) {
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let review = SelfSubjectReview::default();
    let review = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    (user.username.unwrap(), user.groups.unwrap())
}

async fn create_config_map(client: Client, name: &str) -> ConfigMap {
    let config_maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let config_map = ConfigMap {
        metadata: named(name),
        data: Some(BTreeMap::from([("key".to_owned(), "value".to_owned())])),
        ..ConfigMap::default()
    };
    config_maps
        .create(&PostParams::default(), &config_map)
        .await
        .unwrap()
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}
