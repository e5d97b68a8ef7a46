//! Looks after hosts that nobody holds just now: booked ones are not deleted or renamed, two
//! machines don't answer to one name, and what will surprise is warned of.
//!
//! Decides from the review and from caches, calls nobody (but to ask who may break the
//! glass), and is registered with `Ignore`: while we are away, hosts that nobody holds can
//! be written to. Held hosts are the guard's (`host_guard`).

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
    host_guard::{NAMESPACE_CONTROLLER, forbidden, rules},
    host_rules::{Change, Rule, changes, identity, sets_deployment},
    host_warnings,
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

    /// The first booking of this host that is not over.
    fn booking(&self, host: &BareMetalHost, now: Timestamp) -> Option<Booking> {
        let namespace = host.metadata.namespace.as_deref().unwrap_or_default();
        let bookings = self.caches.bookings(namespace, host.name()).into_iter();
        bookings
            .filter(|booking| booking.end.as_ref().is_none_or(|end| end.0 > now))
            .min_by_key(|booking| booking.start.as_ref().map(|start| start.0))
    }

    /// The name of a host beside it that is like this.
    fn beside(
        &self,
        host: &BareMetalHost,
        is_alike: &dyn Fn(&BareMetalHost) -> bool,
    ) -> Option<String> {
        self.caches.find_host(|other| {
            let is_other =
                other.metadata.namespace == host.metadata.namespace && other.name() != host.name();
            (is_other && is_alike(other)).then(|| other.name().to_owned())
        })
    }

    /// Another host that answers to the same portal id or name.
    fn twin(&self, host: &BareMetalHost) -> Option<String> {
        let (id, name) = identity(host);
        self.beside(host, &|other| {
            let (other_id, other_name) = identity(other);
            (id.is_some() && id == other_id) || (name.is_some() && name == other_name)
        })
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
        let warnings =
            host_warnings::of_any(None, host, |like| self.beside(host, like)).into_iter();
        let result = warnings.fold(result, ValidationResult::with_warning);
        self.glass
            .apply(result, Rule::H7, None, host.annotations(), cx)
            .await
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
        let now = self.clock.now();
        let booking = self.booking(new, now);
        let changes = booked_changes(&old, new, booking.as_ref(), now);
        let renamed = identity(&old) != identity(new);
        let twin = renamed.then(|| self.twin(new)).flatten();
        let (rules, result) = match (&booking, twin) {
            (Some(booking), _) if !changes.is_empty() => {
                (rules(&changes), refuse_booked(booking, &changes))
            }
            (_, Some(twin)) => (Rule::H7.to_string(), refuse_twin(&twin)),
            _ => (String::new(), ValidationResult::success()),
        };
        let warnings =
            host_warnings::of_any(Some(&old), new, |like| self.beside(new, like)).into_iter();
        let result = warnings.fold(result, ValidationResult::with_warning);
        let (before, after) = (old.annotations(), new.annotations());
        let judged = self.glass.apply(result, rules, Some(before), after, cx);
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
        let booking = self.booking(&old, self.clock.now());
        let is_excused = old.is_deleting() || cx.user().username() == NAMESPACE_CONTROLLER;
        let Some(booking) = booking.filter(|_| !is_excused) else {
            return Ok(ValidationResult::success());
        };
        let message = format!(
            "the host is booked by Reservation {0}; delete that first: kubectl delete \
             reservation {0}",
            booking.name
        );
        let refusal = forbidden(Rule::H4, &message);
        self.glass
            .apply_to_deletion(refusal, Rule::H4, &old.metadata, cx)
            .await
    }
}

/// What nobody may change of a host that is booked: its names, and, while the booking's time
/// is running but its claim isn't made yet, what would keep it from being imaged for its
/// user. To clear a host by hand is what such a booking may be waiting for; and what another
/// consumer does to its own host is not ours to judge.
fn booked_changes(
    old: &BareMetalHost,
    new: &BareMetalHost,
    booking: Option<&Booking>,
    now: Timestamp,
) -> Vec<Change> {
    let Some(booking) = booking else {
        return Vec::new();
    };
    let has_begun = booking.start.as_ref().is_none_or(|start| start.0 <= now);
    let is_free = new.consumer().is_none();
    let counts = |change: &Change| match change.rule {
        Rule::H1 => has_begun && is_free && sets_deployment(Some(old), new),
        Rule::H5 => has_begun && is_free,
        Rule::H7 => true,
        _ => false,
    };
    changes(old, new).into_iter().filter(counts).collect()
}

fn refuse_booked(booking: &Booking, changes: &[Change]) -> ValidationResult {
    let fields: Vec<_> = changes.iter().map(|change| change.field).collect();
    let message = format!(
        "the host is booked by Reservation {}, for which {} must stay as they are: {RESOURCE_ID_LABEL} \
         and {RESOURCE_NAME_ANNOTATION} say which machine that is, and the rest would keep it \
         from being imaged",
        booking.name,
        fields.join(", "),
    );
    let refusal = forbidden(rules(changes), &message);
    fields.into_iter().fold(refusal, |refusal, field| {
        refusal.with_cause(field, "the host is booked")
    })
}

fn refuse_twin(twin: &str) -> ValidationResult {
    let message = format!(
        "host {twin} has the same {RESOURCE_ID_LABEL} or {RESOURCE_NAME_ANNOTATION}; a booking \
         of it could image the wrong machine"
    );
    forbidden(Rule::H7, &message)
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
