//! What a host learns at its first boot: from the site's template, or from Secrets that a
//! reservation brings.

use std::fs;

use harbormaster::api::v1::{Phase, Reservation};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use metal3::{BareMetalHost, SecretReference};
use serde_json::{Value, json};
use xtask::stage::Stage;

use crate::{
    site::{Site, condition, says},
    stage::{
        KEY, flat, host_until, hosts, named, namespaced, new_host, reaches, reservations, reserve,
        shared,
    },
};

#[tokio::test]
async fn a_broken_template_is_told_of_and_a_mended_one_makes_the_hosts_user_data() {
    let site = Site::new("templated").await.simulated();

    site.host("srv", json!({})).await;
    let template = tempfile::NamedTempFile::new().unwrap();
    fs::write(template.path(), "#cloud-config\nhostname: {{ hots }}\n").unwrap();
    let file = template.path().to_str().unwrap();
    let own = site.run(&[("USER_DATA_TEMPLATE", file)]);
    assert!(site.log().contains("USER_DATA_TEMPLATE makes no user data"));
    let mut start = flat("EVENT_START", "401", "srv");
    start["username"] = json!("mario\n- name: root");
    let sent = own.sender().post(&start).await.unwrap();
    assert_eq!(sent.0, 200);
    let told = says("Provisioned", "TemplateInvalid");
    let waiting = site
        .reservation_until("portal-401", "to tell of the template", told)
        .await;
    let [_, _, message] = condition(&waiting, "Provisioned").unwrap();
    assert!(message.contains("undefined value"), "{message}");
    let secrets: Api<Secret> = site.all();
    let made = secrets.get_opt("portal-401-userdata").await.unwrap();
    assert_eq!(made, None);
    let host = site.hosts().get("srv").await.unwrap();
    assert_eq!(host.wanted_image_url(), None);

    let mended = "#cloud-config\n\
        hostname: {{ host }}\n\
        users:\n\
        - name: {{ requester.username }}\n\
        \x20 ssh_authorized_keys: {{ authorized_keys }}\n";
    fs::write(template.path(), mended).unwrap();
    let is_active = |reservation: &Reservation| {
        let status = reservation.status.as_ref();
        status.and_then(|status| status.phase) == Some(Phase::Active)
    };
    site.reservation_until("portal-401", "to be active", is_active)
        .await;
    let secret = secrets.get("portal-401-userdata").await.unwrap();
    let document = String::from_utf8(secret.data.unwrap()["userData"].0.clone()).unwrap();
    let read: Value = serde_saphyr::from_str(&document).unwrap();
    assert_eq!(read["hostname"], "srv");
    let users = json!([{"name": "mario\n- name: root", "ssh_authorized_keys": [KEY]}]);
    assert_eq!(read["users"], users);
}

#[tokio::test]
async fn what_a_reservation_brings_goes_with_it_and_what_was_the_admins_stays() {
    let stage = shared();
    for name in ["bare", "cabled"] {
        new_host(stage, name).await;
    }
    for (name, key) in [
        ("own-user-data", "userData"),
        ("own-network-data", "networkData"),
        ("own-meta-data", "metaData"),
    ] {
        make_secret(stage, name, key).await;
    }
    let cabling = json!({"spec": {"networkData": {"name": "cabling"}}});
    let params = PatchParams::default();
    let cabling = Patch::Merge(&cabling);
    let all = hosts(stage);
    all.patch("cabled", &params, &cabling).await.unwrap();
    for name in ["bare", "cabled"] {
        let spec = json!({
            "target": {"hostRef": {"name": name}},
            "window": {"start": "2026-01-01T00:00:00Z"},
            "access": {"userDataSecretRef": {"name": "own-user-data"}},
            "provisioning": {
                "networkDataSecretRef": {"name": "own-network-data"},
                "metaDataSecretRef": {"name": "own-meta-data"},
            },
        });
        reserve(stage, name, spec).await;
        reaches(stage, name, Phase::Active).await;
    }
    let host = |name| async move { hosts(stage).get(name).await.unwrap().spec };
    let name = |there: &Option<SecretReference>| there.as_ref().and_then(|it| it.name.clone());
    let bare = host("bare").await;
    assert_eq!(name(&bare.user_data).as_deref(), Some("own-user-data"));
    assert_eq!(
        name(&bare.network_data).as_deref(),
        Some("own-network-data")
    );
    assert_eq!(name(&bare.meta_data).as_deref(), Some("own-meta-data"));
    let cabled = host("cabled").await;
    assert_eq!(name(&cabled.network_data).as_deref(), Some("cabling"));
    assert_eq!(name(&cabled.meta_data).as_deref(), Some("own-meta-data"));
    let secrets: Api<Secret> = namespaced(stage);
    let made = secrets.get_opt("bare-userdata").await.unwrap();
    assert_eq!(made, None);

    let release = json!({"spec": {"lifecycle": {"desiredState": "Released"}}});
    for reservation in ["bare", "cabled"] {
        let all = reservations(stage);
        let release = Patch::Merge(&release);
        all.patch(reservation, &params, &release).await.unwrap();
        let free = |host: &BareMetalHost| host.is_available() && host.consumer().is_none();
        let host = host_until(stage, reservation, "to be free", free).await;
        assert_eq!(host.spec.user_data, None);
        assert_eq!(host.spec.meta_data, None);
        let network_data = name(&host.spec.network_data);
        let stays = (reservation == "cabled").then_some("cabling");
        assert_eq!(network_data.as_deref(), stays);
    }
    // They were somebody's before, and still are.
    for name in ["own-user-data", "own-network-data", "own-meta-data"] {
        secrets.get(name).await.unwrap();
    }
}

async fn make_secret(stage: &Stage, name: &str, key: &str) {
    let secret = Secret {
        metadata: named(name),
        string_data: Some([(key.to_owned(), "{}".to_owned())].into()),
        ..Secret::default()
    };
    let secrets: Api<Secret> = namespaced(stage);
    let params = PostParams::default();
    secrets.create(&params, &secret).await.unwrap();
}
