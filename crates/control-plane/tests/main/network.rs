//! Calls of webhooks as Services, in a network namespace.

use std::net::Ipv4Addr;
use std::panic::catch_unwind;

use control_plane::{ControlPlane, NetworkError, in_network_namespace};
use serde_json::json;

use super::support::{announce, nothing_is_left_of, parent};
use super::webhook::Webhook;

#[test]
fn calls_reach_a_cluster_ip() {
    in_network_namespace("network::calls_reach_a_cluster_ip", async |network| {
        let ip = Ipv4Addr::new(10, 0, 0, 50);
        network.add_address(ip).unwrap();
        let control_plane = ControlPlane::start().await.unwrap();
        let service = control_plane.cluster_ip_service("default", "guard", ip, 443);
        service.await.unwrap();
        let mut webhook = Webhook::new("guard.default.svc", &["h2", "http/1.1"]);
        webhook.serve((ip, 443).into()).await;

        let service = json!({"service": {"namespace": "default", "name": "guard", "path": "/v"}});
        let call = webhook.first_call(&control_plane, service).await;
        assert_eq!(call.alpn.as_deref(), Some("http/1.1"));
        assert_eq!(call.sni.as_deref(), Some("guard.default.svc"));
        assert_eq!(call.host, "guard.default.svc:443");
        assert_eq!(call.path, "/v?timeout=5s");
        assert_eq!(call.user, "dave");
        control_plane.stop().await.unwrap();
    });
}

#[test]
fn calls_reach_endpoints_and_follow_a_rollout() {
    in_network_namespace(
        "network::calls_reach_endpoints_and_follow_a_rollout",
        async |network| {
            let (old, new) = (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2));
            network.add_address(old).unwrap();
            network.add_address(new).unwrap();
            let control_plane = ControlPlane::builder()
                .endpoint_routing()
                .start()
                .await
                .unwrap();
            let mut webhook = Webhook::new("guard.default.svc", &["h2", "http/1.1"]);
            let old = webhook.serve((old, 8443).into()).await;
            let endpoints = control_plane
                .endpoints_service("default", "guard", &[old])
                .await;
            let endpoints = endpoints.unwrap();

            let service = json!({"service": {"namespace": "default", "name": "guard"}});
            let call = webhook.first_call(&control_plane, service).await;
            assert_eq!((call.at, call.alpn.as_deref()), (old, Some("http/1.1")));
            assert_eq!(call.host, "guard.default.svc:443");

            let new = webhook.serve((new, 9443).into()).await;
            endpoints.set(&[old, new]).await.unwrap();
            endpoints.set(&[new]).await.unwrap();
            webhook.stop(old);
            let call = webhook
                .next_call(&control_plane, |call| call.at == new)
                .await;
            assert_eq!(call.sni.as_deref(), Some("guard.default.svc"));
            control_plane.stop().await.unwrap();
        },
    );
}

#[test]
fn two_namespaces_have_the_same_address() {
    // The first does not see the second, and its addresses go with it.
    for _ in 0..2 {
        in_network_namespace(
            "network::two_namespaces_have_the_same_address",
            async |network| {
                network.add_address(Ipv4Addr::new(10, 0, 0, 50)).unwrap();
                let again = network.add_address(Ipv4Addr::new(10, 0, 0, 50));
                assert!(matches!(again, Err(NetworkError::Ip { .. })), "{again:?}");
            },
        );
        if std::env::var_os("CONTROL_PLANE_NETWORK_NAMESPACE").is_some() {
            break;
        }
    }
}

#[test]
fn the_end_of_the_outer_process_ends_the_inner_one() {
    let test = "network::the_end_of_the_outer_process_ends_the_inner_one";
    let Some((mut outer, folder)) = parent(test) else {
        return in_network_namespace(test, async |_| {
            announce(ControlPlane::shared().await.folder());
            std::future::pending::<()>().await;
        });
    };
    outer.kill().unwrap();
    outer.wait().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(nothing_is_left_of(&folder));
}

#[test]
fn a_failed_body_fails_the_test() {
    let message = panic_of("network::a_failed_body_fails_the_test");
    // In the namespace it is the panic of the body, and this assertion that fails.
    assert!(
        message.contains("failed in its network namespace"),
        "{message}"
    );
}

#[test]
fn a_name_without_a_test_does_not_pass() {
    let message = panic_of("network::no_such_test");
    assert!(
        message.contains("no test called network::no_such_test"),
        "{message}"
    );
}

#[test]
fn the_name_of_another_test_does_not_pass() {
    let message = panic_of("network::two_namespaces_have_the_same_address");
    assert!(
        message.contains("failed in its network namespace"),
        "{message}"
    );
}

/// What `in_network_namespace` panics with, given this name and a body that panics.
fn panic_of(test: &'static str) -> String {
    let run = || in_network_namespace(test, async |_| panic!("in the body"));
    let panic = catch_unwind(run).unwrap_err();
    panic
        .downcast::<String>()
        .map_or_else(|_| "in the body".to_owned(), |message| *message)
}
