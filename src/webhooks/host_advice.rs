//! Looks after hosts that nobody holds just now: booked ones are not deleted or renamed, two
//! machines don't answer to one name, and what will surprise is warned of.
//!
//! Decides from the review and from caches, calls nobody (but to ask who may break the
//! glass), and is registered with `Ignore`: while we are away, hosts that nobody holds can
//! be written to. Held hosts are the guard's (`host_guard`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{ResourceExt, discovery::ApiResource};
use kube_webhook::{
    Fault,
    admission::{
        AdmissionContext, Create, Delete, Old, Update, ValidateCreate, ValidateDelete,
        ValidateUpdate, ValidationResult, ValidationWebhook,
    },
};
use metal3::BareMetalHost;

use super::{
    authorizer::Authorizer,
    break_glass::BreakGlass,
    host_guard::{COLLECTORS, forbidden},
};
use crate::{
    api::{RESOURCE_ID_LABEL, RESOURCE_NAME_ANNOTATION, calendar::Booking},
    clock::Clock,
    reservations::caches::Caches,
};

/// The hook.
#[derive(Clone, Debug)]
pub struct HostAdvice {
    caches: Caches,
    glass: BreakGlass,
    clock: Clock,
}

impl HostAdvice {
    /// Looks bookings and other hosts up in `caches`.
    pub fn new(caches: Caches, glass: BreakGlass, clock: Clock) -> Self {
        Self {
            caches,
            glass,
            clock,
        }
    }

    /// Knows of no host and no booking.
    pub fn offline(hosts: &ApiResource) -> Self {
        let glass = BreakGlass::new(Authorizer::offline());
        Self::new(Caches::offline(hosts), glass, Clock::system())
    }

    /// A booking of this host that is not over.
    fn booking(&self, host: &BareMetalHost) -> Option<Booking> {
        let namespace = host.metadata.namespace.as_deref().unwrap_or_default();
        let now = self.clock.now();
        let is_to_come = |booking: &Booking| {
            let end = booking.end.as_ref().map_or(Timestamp::MAX, |end| end.0);
            end > now
        };
        self.caches
            .bookings(namespace, host.name())
            .into_iter()
            .find(is_to_come)
    }

    /// Another host that answers to the same portal id or name.
    fn twin(&self, host: &BareMetalHost) -> Option<String> {
        let (id, name) = identity(host);
        let others = self.caches.hosts().into_iter();
        let is_near = |other: &BareMetalHost| other.metadata.namespace == host.metadata.namespace;
        let mut others = others.filter(|other| other.name() != host.name() && is_near(other));
        let twin = others.find(|other| {
            let (other_id, other_name) = identity(other);
            (id.is_some() && id == other_id) || (name.is_some() && name == other_name)
        })?;
        Some(twin.name().to_owned())
    }
}

impl ValidationWebhook<BareMetalHost> for HostAdvice {
    type Operations = (Create, Update, Delete);
}

impl ValidateCreate<BareMetalHost> for HostAdvice {
    async fn create(
        &self,
        host: &BareMetalHost,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let result = match self.twin(host) {
            Some(twin) => refuse_twin(&twin),
            None => ValidationResult::success(),
        };
        let result = advised(result, None, host);
        let annotations = Some(host.annotations());
        self.glass.apply(result, "H7", None, annotations, cx).await
    }
}

impl ValidateUpdate<BareMetalHost> for HostAdvice {
    async fn update(
        &self,
        old: &Old<'_, BareMetalHost>,
        new: &BareMetalHost,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let old = old.decode()?;
        let renamed = identity(&old) != identity(new);
        let booking = renamed.then(|| self.booking(new)).flatten();
        let twin = renamed.then(|| self.twin(new)).flatten();
        let result = match (booking, twin) {
            (Some(booking), _) => forbidden(&format!(
                "the host is booked by Reservation {}; {RESOURCE_ID_LABEL} and \
                 {RESOURCE_NAME_ANNOTATION} say which machine that is",
                booking.name
            )),
            (None, Some(twin)) => refuse_twin(&twin),
            (None, None) => ValidationResult::success(),
        };
        let result = advised(result, Some(&old), new);
        let (before, after) = (old.annotations(), new.annotations());
        let judged = self
            .glass
            .apply(result, "H7", Some(before), Some(after), cx);
        judged.await
    }
}

impl ValidateDelete<BareMetalHost> for HostAdvice {
    async fn delete(
        &self,
        old: &Old<'_, BareMetalHost>,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let old = old.decode()?;
        let is_collector = COLLECTORS.contains(&cx.user().username());
        let Some(booking) = self.booking(&old) else {
            return Ok(ValidationResult::success());
        };
        if is_collector || old.is_deleting() {
            return Ok(ValidationResult::success());
        }
        let refusal = forbidden(&format!(
            "the host is booked by Reservation {0}; delete that first: kubectl delete \
             reservation {0}",
            booking.name
        ));
        let annotations = Some(old.annotations());
        self.glass.apply(refusal, "H4", annotations, None, cx).await
    }
}

/// What the portal calls the machine.
pub(super) fn identity(host: &BareMetalHost) -> (Option<&str>, Option<&str>) {
    fn value<'a>(map: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
        map.get(key).map(|text| text.trim())
    }
    (
        value(host.labels(), RESOURCE_ID_LABEL),
        value(host.annotations(), RESOURCE_NAME_ANNOTATION),
    )
}

fn refuse_twin(twin: &str) -> ValidationResult {
    forbidden(&format!(
        "host {twin} has the same {RESOURCE_ID_LABEL} or {RESOURCE_NAME_ANNOTATION}; a booking \
         of it could image the wrong machine"
    ))
}

/// What the operator does silently, said aloud; only of what this write changes.
fn advised(
    mut result: ValidationResult,
    old: Option<&BareMetalHost>,
    new: &BareMetalHost,
) -> ValidationResult {
    let image = new.spec.image.as_ref().filter(|image| {
        !image.url.is_empty() && old.and_then(|old| old.spec.image.as_ref()) != Some(*image)
    });
    let Some(image) = image else { return result };
    if new.spec.online == Some(false) {
        result = result.with_warning("spec.online is false: the image is not put on the host");
    }
    if image.url.starts_with("http://") {
        result = result.with_warning("the image is fetched over plain HTTP");
    }
    if image.checksum_type.as_deref() == Some("md5") {
        result = result.with_warning("md5 tells accidents, not attacks; use sha256");
    }
    result
}

#[cfg(test)]
mod tests {
    use kube_webhook::admission::Operation;
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;

    async fn update(old: &Value, new: &Value) -> ValidationResult {
        let cx = AdmissionContext::new(Operation::Update).with_user("luigi", &[]);
        let raw = to_raw_value(old).unwrap();
        let new = serde_json::from_value(new.clone()).unwrap();
        HostAdvice::offline(&BareMetalHost::resource())
            .update(&Old::new(&raw), &new, &cx)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn what_the_operator_does_silently_is_said_aloud_and_only_once() {
        let free = json!({"metadata": {"name": "srv"}, "spec": {"online": false}});
        let image = json!({"url": "http://i", "checksum": "a", "checksumType": "md5"});
        let imaged = json!({
            "metadata": {"name": "srv"}, "spec": {"online": false, "image": image},
        });
        let first = update(&free, &imaged).await;
        assert!(first.is_allowed());
        assert_eq!(first.warnings().len(), 3, "{first:?}");
        assert_eq!(update(&imaged, &imaged).await.warnings().len(), 0);
    }

    #[tokio::test]
    async fn what_is_booked_and_who_is_a_twin_is_a_matter_of_one_namespace() {
        let calendar = json!({
            "metadata": {"name": "srv", "namespace": "metal3"},
            "spec": {},
            "status": {"bookings": [{"uid": "1", "name": "later", "start": "2199-01-01T00:00:00Z"}]},
        });
        let host = |namespace: &str, name: &str| {
            json!({"metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {RESOURCE_ID_LABEL: "7"},
            }})
        };
        let caches = Caches::offline(&BareMetalHost::resource())
            .with_calendar(serde_json::from_value(calendar).unwrap())
            .with_host(serde_json::from_value(host("metal3", "srv")).unwrap());
        let glass = BreakGlass::new(Authorizer::offline());
        let advice = HostAdvice::new(caches, glass, Clock::system());
        for (namespace, is_ours) in [("metal3", true), ("elsewhere", false)] {
            let cx = AdmissionContext::new(Operation::Delete).with_user("luigi", &[]);
            let raw = to_raw_value(&host(namespace, "srv")).unwrap();
            let deleted = advice.delete(&Old::new(&raw), &cx).await.unwrap();
            assert_eq!(deleted.is_allowed(), !is_ours, "{deleted:?}");
            let twin = serde_json::from_value(host(namespace, "twin")).unwrap();
            let cx = AdmissionContext::new(Operation::Create).with_user("luigi", &[]);
            let made = advice.create(&twin, &cx).await.unwrap();
            assert_eq!(made.is_allowed(), !is_ours, "{made:?}");
        }
    }
}
