//! What is done to hosts in front of the simulator and of the real operator alike, and what of it is
//! looked at. States in between may be too short to be seen: only those in which a host rests count.

use std::collections::{BTreeMap, BTreeSet};

use metal3::{BareMetalHost, Image, OperationMetric, ProvisioningState, names};
use serde_json::{Value, json};

use crate::lab::Lab;

/// A host at rest, without names, times and counters.
#[derive(Debug, PartialEq)]
pub(crate) struct Rest {
    pub(crate) after: &'static str,
    pub(crate) state: ProvisioningState,
    pub(crate) id: Option<String>,
    pub(crate) image: Option<Image>,
    pub(crate) powered_on: Option<bool>,
    pub(crate) operational_status: Option<String>,
    pub(crate) error: (Option<String>, Option<String>),
    pub(crate) history: BTreeMap<&'static str, Option<(bool, bool)>>,
    pub(crate) conditions: BTreeSet<[String; 3]>,
    pub(crate) finalizers: Option<Vec<String>>,
    /// All fields that are filled, as paths.
    pub(crate) fields: BTreeSet<String>,
}

impl Rest {
    fn of(after: &'static str, host: &BareMetalHost) -> Self {
        let status = host.status.clone().unwrap();
        let history = status.operation_history.clone().unwrap();
        let ends = |metric: Option<OperationMetric>| {
            metric.map(|metric| (metric.start.is_some(), metric.end.is_some()))
        };
        let mut fields = BTreeSet::new();
        collect("", &serde_json::to_value(&status).unwrap(), &mut fields);
        Self {
            after,
            state: host.state().clone(),
            id: status.provisioning.id,
            image: status.provisioning.image,
            powered_on: status.powered_on,
            operational_status: status.operational_status,
            error: (status.error_type, status.error_message),
            history: BTreeMap::from([
                ("register", ends(history.register)),
                ("inspect", ends(history.inspect)),
                ("provision", ends(history.provision)),
                ("deprovision", ends(history.deprovision)),
            ]),
            conditions: conditions(&status.other),
            finalizers: host.metadata.finalizers.clone(),
            fields,
        }
    }
}

/// One host through a whole life.
pub(crate) async fn life(lab: &Lab) -> Vec<Rest> {
    let name = "rack1-u07";
    let mut rests = Vec::new();

    lab.add(name, |_| {}).await;
    let host = lab.settle(name, BareMetalHost::is_available).await;
    rests.push(Rest::of("creation", &host));

    lab.patch(name, json!({"spec": {"online": true, "image": image("a")}}))
        .await;
    let written = |host: &BareMetalHost| {
        is(host, &ProvisioningState::Provisioned) && power(host) == Some(true)
    };
    let host = lab.settle(name, written).await;
    rests.push(Rest::of("an image", &host));

    let before = host.status.unwrap().operation_history;
    let same = json!({"spec": {
        "image": {"url": image("a")["url"], "checksum": "https://images.example/other.sum"},
        "userData": {"name": "next-tenant"},
    }});
    lab.patch(name, same).await;
    let host = lab.settle(name, |_| true).await;
    rests.push(Rest::of("the same url again", &host));
    assert_eq!(host.status.unwrap().operation_history, before);

    let cleared = json!({"spec": {"image": null, "userData": null, "online": false}});
    lab.patch(name, cleared.clone()).await;
    let wiped = |host: &BareMetalHost| host.is_available() && power(host) == Some(false);
    let host = lab.settle(name, wiped).await;
    rests.push(Rest::of("the image cleared", &host));

    let before = host.status.unwrap().operation_history;
    lab.patch(name, json!({"spec": {"image": image("b")}}))
        .await;
    let host = lab.settle(name, |_| true).await;
    rests.push(Rest::of("an image for a host that is off", &host));
    assert_eq!(host.status.unwrap().operation_history, before);

    lab.patch(name, json!({"spec": {"online": true}})).await;
    lab.settle(name, written).await;
    lab.patch(name, json!({"spec": {"image": image("a")}}))
        .await;
    let replaced = |host: &BareMetalHost| {
        written(host) && host.deployed_image_url() == image("a")["url"].as_str()
    };
    let host = lab.settle(name, replaced).await;
    rests.push(Rest::of("another url", &host));

    lab.patch(name, annotate(names::DETACHED, json!(""))).await;
    let detached = |host: &BareMetalHost| operational(host) == Some("detached");
    lab.settle(name, detached).await;
    lab.patch(name, cleared).await;
    let host = lab.settle(name, |_| true).await;
    rests.push(Rest::of("the image cleared while detached", &host));

    lab.patch(name, annotate(names::DETACHED, Value::Null))
        .await;
    let host = lab.settle(name, wiped).await;
    rests.push(Rest::of("attached again", &host));

    lab.delete(name).await;
    lab.wait_until_gone(name).await;
    rests
}

/// Hosts that come to rest in other states than most. They are not deleted: the operator has looked at
/// some of them so often that it takes a minute before it looks again.
pub(crate) async fn odd_ones(lab: &Lab) -> Vec<Rest> {
    let wanted = |host: &mut BareMetalHost| {
        host.spec.online = Some(true);
        host.spec.image = serde_json::from_value(image("a")).ok();
    };
    let names = [
        "demo-provisioning",
        "demo-registration-error",
        "demo-preparing-error",
        "demo-validation-error",
    ];
    for name in names {
        lab.add(name, wanted).await;
    }
    lab.add("external", |host| {
        wanted(host);
        host.spec.externally_provisioned = Some(true);
    })
    .await;
    lab.add("unmanaged", |host| host.spec.bmc = None).await;

    let mut rests = Vec::new();
    let provisioning = |host: &BareMetalHost| is(host, &ProvisioningState::Provisioning);
    let host = lab.settle("demo-provisioning", provisioning).await;
    rests.push(Rest::of("demo-provisioning", &host));
    for name in &names[1..] {
        let host = lab.settle(name, BareMetalHost::has_error).await;
        rests.push(Rest::of(name, &host));
    }
    let external = |host: &BareMetalHost| {
        is(host, &ProvisioningState::ExternallyProvisioned) && power(host) == Some(true)
    };
    let host = lab.settle("external", external).await;
    rests.push(Rest::of("external", &host));
    let unmanaged = |host: &BareMetalHost| is(host, &ProvisioningState::Unmanaged);
    let host = lab.settle("unmanaged", unmanaged).await;
    rests.push(Rest::of("unmanaged", &host));
    rests
}

pub(crate) fn image(name: &str) -> Value {
    json!({
        "url": format!("https://images.example/{name}.raw"),
        "checksum": format!("https://images.example/{name}.sum"),
    })
}

pub(crate) fn annotate(key: &str, value: Value) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

pub(crate) fn is(host: &BareMetalHost, state: &ProvisioningState) -> bool {
    host.state() == state
}

pub(crate) fn power(host: &BareMetalHost) -> Option<bool> {
    host.status.as_ref()?.powered_on
}

pub(crate) fn operational(host: &BareMetalHost) -> Option<&str> {
    host.status.as_ref()?.operational_status.as_deref()
}

fn conditions(status: &serde_json::Map<String, Value>) -> BTreeSet<[String; 3]> {
    let conditions = status["conditions"].as_array().unwrap().iter();
    conditions
        .map(|condition| {
            ["type", "status", "reason"].map(|key| condition[key].as_str().unwrap().to_owned())
        })
        .collect()
}

fn collect(path: &str, value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) if path.matches('.').count() < 2 => {
            for (key, value) in object {
                collect(&format!("{path}.{key}"), value, fields);
            }
        }
        _ => {
            fields.insert(path.to_owned());
        }
    }
}
