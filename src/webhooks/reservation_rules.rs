//! What a Reservation that people write must be like: pure, whole objects, all faults at once.
//!
//! Whatever version a write came through, what is looked at is the v1 object that it would
//! become. The rules that v1's schema has too are here again, for the older versions' sake.

use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use crate::{
    api::{
        EVENT_ID_LABEL,
        calendar::Booking,
        span::Span,
        v1::{DesiredState, Phase, Requester, Reservation, Target},
    },
    reservations::{
        calendar::{candidate, overlaps},
        lookup::named_host,
    },
    ssh::{MOST_KEYS, PublicKey},
};

/// A field that is at fault, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// The field's path.
    pub field: String,
    /// For people.
    pub message: String,
    /// Whether breaking the glass overrules it.
    pub is_guard: bool,
}

/// Who writes what, and when.
#[derive(Clone, Debug)]
pub struct Write<'a> {
    /// As it was; absent for a creation.
    pub old: Option<&'a Reservation>,
    /// As it is to be.
    pub new: &'a Reservation,
    /// Who wants that.
    pub username: &'a str,
    /// The names that Harbormaster gives begin with these.
    pub reserved: &'a [String],
    /// The accepted bookings of the host that is named.
    pub bookings: Vec<Booking>,
    /// When it is.
    pub now: Timestamp,
}

/// All that is wrong with a write.
pub fn check(write: &Write<'_>) -> Vec<FieldFault> {
    let mut faults = Faults::default();
    origin(write, &mut faults);
    if let Some(old) = write.old
        && old.spec == write.new.spec
    {
        // What an earlier release let in, or nobody can help, holds up no edit of a label.
        return faults.0;
    }
    form(write, &mut faults);
    match write.old {
        None => person(write, &mut faults),
        Some(old) => change(old, write, &mut faults),
    }
    overlap(write, &mut faults);
    faults.0
}

/// Whether anything has been done for it: what decides about the disk is then settled.
pub fn has_begun(reservation: &Reservation) -> bool {
    let Some(status) = &reservation.status else {
        return false;
    };
    status.begin_time.is_some() || !matches!(status.phase, None | Some(Phase::Pending))
}

#[derive(Default)]
struct Faults(Vec<FieldFault>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldFault {
            field: field.into(),
            message: message.into(),
            is_guard: false,
        });
    }

    fn guard(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldFault {
            field: field.into(),
            message: message.into(),
            is_guard: true,
        });
    }
}

/// What only Harbormaster may say: that a booking is behind it.
fn origin(write: &Write<'_>, faults: &mut Faults) {
    let new = write.new;
    let source = write.old.and_then(|old| old.spec.source.as_ref());
    if new.spec.source.as_ref() != source {
        faults.add(
            "spec.source",
            "is set by Harbormaster alone, from a signed event: leave it as it is",
        );
    }
    let label = |object: &Reservation| object.labels().get(EVENT_ID_LABEL).cloned();
    if label(new) != write.old.and_then(label) {
        faults.add(
            format!("metadata.labels[{EVENT_ID_LABEL}]"),
            "is set by Harbormaster alone: leave it as it is",
        );
    }
    if write.old.is_some() {
        return;
    }
    let name = new.meta().name.as_deref().unwrap_or_default();
    if let Some(prefix) = write.reserved.iter().find(|own| name.starts_with(*own)) {
        faults.add(
            "metadata.name",
            format!("names that begin with {prefix} are for bookings: choose another"),
        );
    }
    if name.len() > LONGEST_NAME {
        faults.add(
            "metadata.name",
            format!("is longer than {LONGEST_NAME} characters: choose a shorter one"),
        );
    }
}

fn form(write: &Write<'_>, faults: &mut Faults) {
    let spec = &write.new.spec;
    match (&spec.window.start, &spec.window.end) {
        (None, _) => faults.add("spec.window.start", "is required"),
        (Some(start), Some(end)) if end.0 <= start.0 => faults.add(
            "spec.window.end",
            "must be after start; leave it out for a reservation without an end",
        ),
        _ => {}
    }
    let end = |object: &Reservation| object.spec.window.end.clone();
    let is_new_end = write.old.map(end) != Some(end(write.new));
    if let Some(end) = end(write.new)
        && is_new_end
        && end.0 <= write.now
    {
        faults.add(
            "spec.window.end",
            "is in the past: to end a reservation now, delete it",
        );
    }
    match (&spec.target, &spec.resource) {
        (None, None) => faults.add("spec.target", "is required where spec.resource is absent"),
        (
            Some(Target {
                host_ref: Some(_),
                selector: Some(_),
            }),
            _,
        ) => faults.add("spec.target", "has both hostRef and selector: name one"),
        (
            Some(Target {
                host_ref: None,
                selector: None,
            }),
            _,
        ) => faults.add("spec.target", "has neither hostRef nor selector: name one"),
        _ => {}
    }
    if let Some(provisioning) = &spec.provisioning
        && provisioning.image.is_some()
        && provisioning.custom_deploy.is_some()
    {
        faults.add(
            "spec.provisioning",
            "has both image and customDeploy: name one",
        );
    }
    keys(write.new, faults);
    spans(write.new, faults);
}

/// Never the text: what somebody pasted by mistake may be a private key.
fn keys(reservation: &Reservation, faults: &mut Faults) {
    let keys = reservation.authorized_keys();
    if keys.len() > MOST_KEYS {
        faults.add(
            "spec.access.authorizedKeys",
            format!("has more than {MOST_KEYS} keys"),
        );
    }
    for (place, key) in keys.iter().enumerate() {
        if PublicKey::parse(&key.key).is_none() {
            faults.add(
                format!("spec.access.authorizedKeys[{place}].key"),
                "is no public SSH key: one line of type, base64 and comment, as in \
                 ~/.ssh/id_ed25519.pub, without options",
            );
        }
    }
}

fn spans(reservation: &Reservation, faults: &mut Faults) {
    let Some(lifecycle) = &reservation.spec.lifecycle else {
        return;
    };
    for (field, span) in [
        ("leadTime", &lifecycle.lead_time),
        ("cleanupTime", &lifecycle.cleanup_time),
        ("provisionTimeout", &lifecycle.provision_timeout),
        ("ttlAfterFinished", &lifecycle.ttl_after_finished),
    ] {
        if let Some(Err(error)) = span.as_ref().map(Span::parse) {
            faults.add(format!("spec.lifecycle.{field}"), error.to_string());
        }
    }
}

/// A reservation made by hand is for whoever makes it.
fn person(write: &Write<'_>, faults: &mut Faults) {
    let requester = write.new.spec.requester.as_ref();
    let named = requester.and_then(|requester| requester.username.as_deref());
    if let Some(named) = named
        && named != write.username
    {
        faults.guard(
            "spec.requester.username",
            format!(
                "is {named}, but you are {}: leave it out to reserve for yourself",
                write.username
            ),
        );
    }
}

fn change(old: &Reservation, write: &Write<'_>, faults: &mut Faults) {
    let (before, after) = (&old.spec, &write.new.spec);
    if old.desired_state() == DesiredState::Released
        && write.new.desired_state() != DesiredState::Released
    {
        faults.add(
            "spec.lifecycle.desiredState",
            "a released reservation stays released: make a new one",
        );
    }
    let (person, other) = (before.requester.as_ref(), after.requester.as_ref());
    let who = |requester: &'_ Requester| (requester.id.clone(), requester.username.clone());
    if person.map(who).unwrap_or_default() != other.map(who).unwrap_or_default() {
        faults.guard(
            "spec.requester",
            "can't become another's: make a reservation of your own",
        );
    }
    let owner = person.and_then(|person| person.username.as_deref());
    if before.access != after.access && owner.is_some_and(|owner| owner != write.username) {
        faults.guard(
            "spec.access",
            "only its requester may change who can log in",
        );
    }
    if !has_begun(old) {
        return;
    }
    for (field, same) in [
        ("spec.target", before.target == after.target),
        ("spec.resource", before.resource == after.resource),
        (
            "spec.window.start",
            before.window.start == after.window.start,
        ),
        ("spec.access", before.access == after.access),
        (
            "spec.provisioning",
            before.provisioning == after.provisioning,
        ),
    ] {
        if !same {
            faults.guard(
                field,
                "can't be changed any more: the reservation has begun, and the host is imaged \
                 for it",
            );
        }
    }
}

fn overlap(write: &Write<'_>, faults: &mut Faults) {
    let (Some(host), Some(_)) = (named_host(write.new), &write.new.spec.window.start) else {
        return;
    };
    let asks = |object: &Reservation| {
        let window = object.spec.window.clone();
        (named_host(object).map(str::to_owned), window)
    };
    if write.old.is_some_and(|old| asks(old) == asks(write.new)) {
        return;
    }
    let wanted = candidate(write.new);
    let taken = write.bookings.iter().find(|other| {
        Some(other.uid.as_str()) != write.new.meta().uid.as_deref()
            && overlaps(&wanted, other, write.now)
    });
    if let Some(taken) = taken {
        let until = match &taken.end {
            Some(end) => format!("until {}", end.0),
            None => "without an end".to_owned(),
        };
        let from = taken.start.as_ref().map(|start| start.0.to_string());
        faults.guard(
            "spec.window",
            format!(
                "{host} is reserved by {} from {} {until}: see kubectl get hcal {host}",
                taken.name,
                from.unwrap_or_else(|| "now".to_owned()),
            ),
        );
    }
}

/// As long as a label's value.
const LONGEST_NAME: usize = 63;
