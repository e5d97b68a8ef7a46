//! Objects that the API server takes and no type of ours has room for: they wait for somebody
//! to mend them, and nothing else does.

use harbormaster::api::{calendar::HostCalendar, v1::Reservation};
use kube::{api::PostParams, discovery::ApiResource};
use metal3::BareMetalHost;
use serde_json::{Value, json};

use crate::{
    site::{Site, condition, says},
    stage::until,
};

#[tokio::test]
async fn an_object_that_cannot_be_read_keeps_no_other_from_its_host() {
    let site = Site::new("unreadable").await;
    for name in ["sound", "torn", "later", "booked"] {
        site.host(name, json!({})).await;
        site.status(&host(), name, available()).await;
    }
    // In the list that the program begins with ...
    let mut unreadable = available();
    unreadable["operationHistory"]["provision"]["end"] = json!(TEN_DIGITS);
    site.status(&host(), "torn", unreadable).await;
    make_unreadable(&site, "before").await;
    make_torn_calendar(&site, "booked").await;
    let _own = site.run(&[]);
    site.reserve("one", by_name("sound")).await;
    site.host_until("sound", "to be imaged", has_image).await;

    // ... and in the watch.
    make_unreadable(&site, "meanwhile").await;
    site.reserve("two", by_name("later")).await;
    site.host_until("later", "to be imaged", has_image).await;
    for name in ["before", "meanwhile"] {
        let named = format!("\"{name}\"");
        until(&format!("the log to tell of {name}"), async || {
            let log = site.log();
            let mut told = log
                .lines()
                .filter(|line| line.contains("a Reservation can't be read"));
            told.any(|line| line.contains(&named)).then_some(())
        })
        .await;
    }

    // Whose host it is, or whose calendar, is told, and goes on once it is mended.
    site.reserve("three", by_name("torn")).await;
    let waiting = site
        .reservation_until("three", "to tell of its host", says("Ready", "Unreadable"))
        .await;
    let [_, _, message] = condition(&waiting, "Ready").unwrap();
    assert!(
        message.starts_with("BareMetalHost torn can't be read"),
        "{message}"
    );
    site.status(
        &host(),
        "torn",
        json!({"operationHistory": {"provision": {"end": null}}}),
    )
    .await;
    site.host_until("torn", "to be imaged", has_image).await;

    site.reserve("four", by_name("booked")).await;
    let waiting = site
        .reservation_until(
            "four",
            "to tell of its calendar",
            says("Ready", "Unreadable"),
        )
        .await;
    let [_, _, message] = condition(&waiting, "Ready").unwrap();
    assert!(
        message.starts_with("HostCalendar booked can't be read"),
        "{message}"
    );
    let calendars = site.raw(&ApiResource::erase::<HostCalendar>(&()));
    calendars
        .delete("booked", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    site.host_until("booked", "to be imaged", has_image).await;

    // What such an object says may be somebody's name, or keys.
    let log = site.log();
    assert!(log.contains("a Reservation can't be read"));
    assert!(!log.contains(TEN_DIGITS), "{log}");
}

/// A Reservation with a time that no timestamp of ours has room for.
async fn make_unreadable(site: &Site, name: &str) {
    site.reserve(name, by_name("nowhere")).await;
    let status = json!({"conditions": [{
        "type": "Ready", "status": "False", "reason": "Old", "message": "",
        "lastTransitionTime": TEN_DIGITS,
    }]});
    site.status(&ApiResource::erase::<Reservation>(&()), name, status)
        .await;
}

async fn make_torn_calendar(site: &Site, name: &str) {
    let kind = ApiResource::erase::<HostCalendar>(&());
    let calendar = serde_json::from_value(json!({
        "apiVersion": "harbormaster.dev/v1",
        "kind": "HostCalendar",
        "metadata": {"name": name},
        "spec": {},
    }));
    let params = PostParams::default();
    let calendars = site.raw(&kind);
    calendars.create(&params, &calendar.unwrap()).await.unwrap();
    site.status(&kind, name, json!({"until": TEN_DIGITS})).await;
}

fn host() -> ApiResource {
    BareMetalHost::resource()
}

fn by_name(host: &str) -> Value {
    json!({"target": {"hostRef": {"name": host}}})
}

fn has_image(host: &BareMetalHost) -> bool {
    host.wanted_image_url().is_some()
}

fn available() -> Value {
    json!({
        "operationalStatus": "OK",
        "errorMessage": "",
        "errorCount": 0,
        "poweredOn": false,
        "provisioning": {"state": "available", "ID": "1"},
    })
}

const TEN_DIGITS: &str = "2026-01-01T10:00:00.1234567890Z";
