//! Called as in production: as a Service, over HTTP/1.1 alone, by a name of the cluster.

use std::net::Ipv4Addr;

use harbormaster::api::{v1, v1alpha1};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use metal3::BareMetalHost;
use serde_json::json;
use xtask::stage::{Cast, HOST, NAMESPACE, Stage, Way};

use crate::stage::{OWN_CONTROL_PLANE, install_crypto, program};

#[test]
fn the_hooks_and_the_conversion_are_called_as_a_service() {
    let test = "service_mode::the_hooks_and_the_conversion_are_called_as_a_service";
    let _turn = OWN_CONTROL_PLANE.blocking_lock();
    control_plane::in_network_namespace(test, async |network| {
        install_crypto();
        let ip = Ipv4Addr::new(10, 0, 0, 50);
        network.add_address(ip).unwrap();
        // That the stage is set shows the validating hook at work: it waits for its refusal.
        let stage = Stage::set(program(), Cast::Simulator, Way::Service(ip))
            .await
            .unwrap();
        let client = stage.control_plane().client();

        let hosts: Api<BareMetalHost> =
            Api::namespaced_with(client.clone(), NAMESPACE, &BareMetalHost::resource());
        let image = json!({"spec": {"image": {"url": "http://i", "checksum": "abc"}}});
        let params = PatchParams::default();
        let host = hosts
            .patch(HOST, &params, &Patch::Merge(&image))
            .await
            .unwrap();
        let checksum_type = host.spec.image.unwrap().checksum_type;
        assert_eq!(checksum_type.as_deref(), Some("auto"));

        let hub: Api<v1::Reservation> = Api::namespaced(client.clone(), NAMESPACE);
        let reservation = serde_json::from_value(json!({
            "apiVersion": "harbormaster.dev/v1",
            "kind": "Reservation",
            "metadata": {"name": "served"},
            "spec": {
                "window": {"start": "2030-01-02T10:00:00Z"},
                "requester": {"id": "u1"},
                "target": {"hostRef": {"name": "nowhere"}},
            },
        }))
        .unwrap();
        hub.create(&PostParams::default(), &reservation)
            .await
            .unwrap();
        let spokes: Api<v1alpha1::Reservation> = Api::namespaced(client, NAMESPACE);
        let spoke = spokes.get("served").await.unwrap();
        assert_eq!(spoke.spec.user_id.as_deref(), Some("u1"));
        stage.strike().await.unwrap();
    });
}
