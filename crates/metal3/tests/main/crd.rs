//! The definition, before a real API server.

use control_plane::ControlPlane;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use metal3::BareMetalHost;
use serde_json::{Value, json};

use crate::lab::Lab;

#[tokio::test]
async fn a_host_is_stored_with_all_that_the_definition_does_not_know() {
    let lab = Lab::shared().await;
    let spec = json!({
        "online": true,
        "raid": {"hardwareRAIDVolumes": []},
        "image": {"url": "https://images.example/a.raw", "ociAuthSecretName": "pull"},
        "consumerRef": {"kind": "Machine", "fieldPath": "spec"},
        "bmc": {"address": "redfish://192.0.2.1", "credentialsName": "bmc", "unknown": 1},
    });
    let stored = create(&lab, "rack1-u07", &spec).await.unwrap();
    assert_eq!(stored.data["spec"], spec);
}

#[tokio::test]
async fn a_host_that_the_operator_would_not_understand_is_refused() {
    let lab = Lab::shared().await;
    let image = |change: Value| {
        let mut image = json!({"url": "https://images.example/a.raw"});
        image
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        json!({"online": true, "image": image})
    };
    for (spec, complaint) in [
        (json!({}), "spec.online"),
        (json!({"online": "yes"}), "spec.online"),
        (json!({"online": true, "image": {}}), "spec.image.url"),
        (
            image(json!({"checksumType": ""})),
            "spec.image.checksumType",
        ),
        (
            image(json!({"checksumType": "crc32"})),
            "spec.image.checksumType",
        ),
        (image(json!({"format": "iso"})), "spec.image.format"),
        (
            json!({"online": true, "automatedCleaningMode": "full"}),
            "spec.automatedCleaningMode",
        ),
    ] {
        let error = create(&lab, "refused", &spec).await.unwrap_err();
        let kube::Error::Api(status) = error else {
            panic!("{spec} failed with {error:?}");
        };
        assert_eq!(status.code, 422, "{spec}");
        assert!(status.message.contains(complaint), "{}", status.message);
    }
}

#[tokio::test]
async fn the_status_is_written_apart_from_the_spec() {
    let lab = Lab::shared().await;
    let mut host = BareMetalHost::new("rack1-u07", &BareMetalHost::resource());
    host.spec.online = Some(true);
    host.status.get_or_insert_default().powered_on = Some(true);
    let host = lab
        .hosts
        .create(&PostParams::default(), &host)
        .await
        .unwrap();
    assert_eq!(host.status, None);

    let mut changed = host.clone();
    changed.spec.online = Some(false);
    changed.status.get_or_insert_default().powered_on = Some(true);
    let params = PostParams::default();
    let stored = lab
        .hosts
        .replace_status("rack1-u07", &params, &changed)
        .await
        .unwrap();
    assert_eq!(stored.spec.online, Some(true));
    assert_eq!(stored.status.unwrap().powered_on, Some(true));

    let conflict = lab
        .hosts
        .replace_status("rack1-u07", &params, &changed)
        .await;
    let Err(kube::Error::Api(status)) = conflict else {
        panic!("a stale write went through: {conflict:?}");
    };
    assert!(status.is_conflict());
}

#[tokio::test]
async fn kubectl_knows_the_short_names_and_shows_what_matters() {
    let lab = Lab::shared().await;
    create(
        &lab,
        "rack1-u07",
        &json!({"online": true, "consumerRef": {"name": "tenant"}}),
    )
    .await
    .unwrap();
    for name in ["bmh", "bmhost"] {
        let output = ControlPlane::shared()
            .await
            .kubectl()
            .args(["-n", &lab.namespace, "get", name])
            .output()
            .unwrap();
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        let heads: Vec<_> = table
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        assert_eq!(
            heads,
            ["NAME", "STATE", "CONSUMER", "ONLINE", "ERROR", "AGE"],
            "{table}"
        );
        assert!(
            table.contains("tenant") && table.contains("true"),
            "{table}"
        );
    }
    let list = lab.hosts.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items[0].name(), "rack1-u07");
}

async fn create(lab: &Lab, name: &str, spec: &Value) -> kube::Result<DynamicObject> {
    let resource = BareMetalHost::resource();
    let client: Client = lab.client.clone();
    let hosts = Api::<DynamicObject>::namespaced_with(client, &lab.namespace, &resource);
    let object = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
    hosts.create(&PostParams::default(), &object).await
}
