//! Calls as in production: of a Service, over HTTP/1.1 alone, and through a rollout. (K2, K71.)

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use control_plane::{ControlPlane, in_network_namespace};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube_webhook::{Server, TlsIdentity};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::stage::{Stage, config_map, dry_run, refusal, rule};
use crate::conformance_server;

const NAME: &str = "webhooks.default.svc";

fn in_service_mode(ca: &str) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    json!({
        "service": {"namespace": "default", "name": "webhooks", "path": "/configmaps"},
        "caBundle": STANDARD.encode(ca),
    })
}

/// Serves at `ip` and `port` until the sender is dropped.
pub(super) fn serve(
    ip: Ipv4Addr,
    port: u16,
    identity: &TlsIdentity,
) -> (
    oneshot::Sender<()>,
    tokio::task::JoinHandle<std::io::Result<()>>,
) {
    let router = conformance_server::admission(String::new()).unwrap();
    let server = Server::bind((ip, port).into(), identity.clone(), router).unwrap();
    let server = server.parting(Duration::from_secs(2));
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    (stop, task)
}

#[test]
fn a_service_is_called_over_http_1_1() {
    in_network_namespace(
        "conformance::network::a_service_is_called_over_http_1_1",
        async |network| {
            // K71: in service mode only http/1.1 is offered; on the loopback, as in all the other
            // cases, h2 too, which the server declines.
            let ip = Ipv4Addr::new(10, 0, 0, 50);
            network.add_address(ip).unwrap();
            let control_plane = ControlPlane::start().await.unwrap();
            let service = control_plane.cluster_ip_service("default", "webhooks", ip, 443);
            service.await.unwrap();
            let (identity, ca) = TlsIdentity::ephemeral(&[NAME.to_owned()]).unwrap();
            let (_stop, _task) = serve(ip, 443, &identity);
            let stage = Stage::on(control_plane.client(), "service").await;
            stage
                .validating(vec![stage.hook_at(
                    in_service_mode(&ca),
                    rule("", "v1", "configmaps", &["CREATE"]),
                )])
                .await;
            let config_maps: Api<ConfigMap> = stage.api();
            let unwanted = config_map("any", &json!({"webhook-e2e-test": "webhook-disallow"}));
            let status = refusal(config_maps.create(&dry_run(), &unwanted).await);
            assert!(
                status.message.contains("unwanted key and value"),
                "{status:?}"
            );
            control_plane.stop().await.unwrap();
        },
    );
}

#[test]
fn no_call_fails_while_the_server_is_rolled_out_and_its_ca_exchanged() {
    in_network_namespace(
        "conformance::network::no_call_fails_while_the_server_is_rolled_out_and_its_ca_exchanged",
        async |network| {
            let (old, new) = (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2));
            network.add_address(old).unwrap();
            network.add_address(new).unwrap();
            let control_plane = ControlPlane::builder()
                .endpoint_routing()
                .start()
                .await
                .unwrap();
            let (identity, old_ca) = TlsIdentity::ephemeral(&[NAME.to_owned()]).unwrap();
            let (next_identity, new_ca) = TlsIdentity::ephemeral(&[NAME.to_owned()]).unwrap();
            let (stop_old, old_task) = serve(old, 8443, &identity);
            let endpoints = control_plane
                .endpoints_service("default", "webhooks", &[(old, 8443).into()])
                .await
                .unwrap();
            let stage = Stage::on(control_plane.client(), "rollout").await;
            // Both CAs, for as long as servers with either are about.
            stage
                .validating(vec![stage.hook_at(
                    in_service_mode(&format!("{old_ca}{new_ca}")),
                    rule("", "v1", "configmaps", &["CREATE"]),
                )])
                .await;

            let (over, calls) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicUsize::new(0)),
            );
            let callers = (0..4).map(|_| {
                let (over, calls) = (Arc::clone(&over), Arc::clone(&calls));
                let config_maps: Api<ConfigMap> = stage.api();
                tokio::spawn(async move {
                    while !over.load(Ordering::SeqCst) {
                        let any = config_map("any", &json!({}));
                        config_maps.create(&dry_run(), &any).await.unwrap();
                        calls.fetch_add(1, Ordering::SeqCst);
                    }
                })
            });
            let callers: Vec<_> = callers.collect();
            let some_calls = async || {
                let before = calls.load(Ordering::SeqCst);
                while calls.load(Ordering::SeqCst) < before + 40 {
                    assert!(!callers.iter().any(tokio::task::JoinHandle::is_finished));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            some_calls().await;
            let (_stop, _task) = serve(new, 9443, &next_identity);
            endpoints
                .set(&[(old, 8443).into(), (new, 9443).into()])
                .await
                .unwrap();
            some_calls().await;
            endpoints.set(&[(new, 9443).into()]).await.unwrap();
            // As a preStop delay has it: until all that call know.
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(stop_old);
            some_calls().await;
            tokio::time::timeout(Duration::from_secs(10), old_task)
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            some_calls().await;
            over.store(true, Ordering::SeqCst);
            for caller in callers {
                caller.await.unwrap();
            }
            control_plane.stop().await.unwrap();
        },
    );
}
