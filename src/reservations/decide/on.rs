//! The way on: find the host, claim it, image it, and know when it is done.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use metal3::{BareMetalHost, ProvisioningState};

use super::{
    Action, Holder, Pass,
    conditions::{HOST_CLAIMED, PROVISIONED, READY, RELEASED},
    timing,
};
use crate::{
    api::v1::{AppliedImage, Baseline, HeldHost, Phase},
    reservations::{
        deployment::{self, Deployment},
        lookup::{Lookup, Shortage, not_reservable},
        reasons, user_data,
    },
};

impl Pass<'_> {
    /// Its time hasn't come: say what will happen when it does.
    pub(super) fn pending(&mut self, host: &Lookup, begin: Timestamp) -> Action {
        self.status.phase = Some(Phase::Pending);
        self.wake_at(begin);
        match self.accept(host) {
            Ok(_) => {
                self.not_ready(reasons::SCHEDULED, format!("begins at {begin}"));
                Action::Wait
            }
            Err(action) => action,
        }
    }

    /// Its time has come.
    pub(super) fn on(&mut self, host: &Lookup) -> Action {
        if let Some(end) = timing::end(self.reservation, &self.slot, self.policy) {
            self.wake_at(end);
        }
        let was_active = self.status.active_time.is_some();
        let has_begun = !self.waits_for_its_time() && !matches!(host, Lookup::NoneFree(_));
        if !was_active && has_begun {
            // Who waits for another booking's end has not begun: no time limit runs.
            let begun = self.status.begin_time.get_or_insert(Time(self.now)).0;
            let deadline = timing::deadline(self.reservation, self.policy, begun);
            if deadline <= self.now {
                let message = "the host was not provisioned in time; it is taken back";
                return self.fail(reasons::DEADLINE_EXCEEDED, message);
            }
            self.wake_at(deadline);
        }
        if self.status.claim_time.is_some() && *host == Lookup::Gone {
            return self.fail(reasons::HOST_GONE, "the host was deleted while it was held");
        }
        // A host that is ours already is not judged again: it must be imaged or released.
        if let Lookup::Found(host) = host
            && self.holder(host) == Holder::Us
        {
            return self.held(host);
        }
        if let Lookup::Found(host) = host
            && self.has_lost_claim(host)
        {
            return self.reclaim();
        }
        let host = match self.accept(host) {
            Ok(host) => host,
            Err(action) => {
                self.status.phase = Some(Phase::Pending);
                return action;
            }
        };
        match self.holder(host) {
            Holder::Us | Holder::Nobody => self.claim(host),
            Holder::OtherReservation(name) => self.busy(
                reasons::HOST_BUSY,
                format!("the host is held by Reservation {name}"),
            ),
            Holder::Stranger(name) => self.busy(
                reasons::CLAIMED_BY_OTHER,
                format!("the host is in use by {name}"),
            ),
        }
    }

    /// The host, if it is known, may be reserved, and has us in its calendar; else what is
    /// to be done. Says so in the conditions.
    fn accept<'h>(&mut self, lookup: &'h Lookup) -> Result<&'h BareMetalHost, Action> {
        let (reason, message) = match lookup {
            Lookup::Found(host) => match not_reservable(host) {
                None => {
                    return match self.book(host) {
                        Ok(()) => Ok(host),
                        Err(action) => {
                            self.unpin();
                            Err(action)
                        }
                    };
                }
                Some(why) => (
                    reasons::HOST_NOT_RESERVABLE,
                    format!("host {} {why}", host.name()),
                ),
            },
            Lookup::NoneFree(shortage) => {
                if let Some(end) = &self.reservation.spec.window.end {
                    self.wake_at(end.0);
                }
                let out = self.unbook();
                if out.is_some() {
                    self.leave_undecided();
                } else {
                    // It waits for whichever host becomes free first.
                    self.status.calendar = None;
                }
                self.unpin();
                let (reason, message) = told(shortage);
                self.unaccepted(reason, message);
                return Err(out.unwrap_or(Action::Wait));
            }
            Lookup::Ambiguous => (
                reasons::HOST_AMBIGUOUS,
                "several hosts answer to the booked resource; none is touched".to_owned(),
            ),
            Lookup::Gone | Lookup::NotFound | Lookup::Unreadable { .. } => (
                reasons::HOST_NOT_FOUND,
                "no host has the booked resource's id, name or annotation".to_owned(),
            ),
        };
        self.unpin();
        self.unaccepted(reason, message);
        if let Lookup::Found(_) = lookup {
            // It may become so again, and keeps its place until then.
            return Err(Action::Wait);
        }
        Err(self.unbook().unwrap_or(Action::Wait))
    }

    /// Which host is about to be claimed is stored before it is: were it looked up again
    /// after a crash, a label moved in between would leave it held for ever.
    pub(super) fn pin(&mut self, host: &BareMetalHost) {
        self.status.host_ref = Some(HeldHost {
            namespace: host.namespace().unwrap_or_default(),
            name: host.name().to_owned(),
            uid: host.uid().unwrap_or_default(),
        });
    }

    /// A host that was never had may be another one next time.
    fn unpin(&mut self) {
        if self.status.claim_time.is_none() {
            self.status.host_ref = None;
        }
    }

    /// Whether somebody took our claim off a host that still is as we made it.
    pub(super) fn has_lost_claim(&self, host: &BareMetalHost) -> bool {
        let user_data = host.spec.user_data.as_ref();
        let ours = user_data::given_name(self.reservation);
        self.status.claim_time.is_some()
            && self.holder(host) == Holder::Nobody
            && self.status.applied_image.is_some()
            && deployment::wanted(host) == self.status.applied_image
            && user_data.and_then(|there| there.name.as_ref()) == Some(&ours)
    }

    /// Only the claim is put back: what is on the disk is its user's.
    pub(super) fn reclaim(&mut self) -> Action {
        let message = "the claim was taken off by others; it is put back";
        self.set(HOST_CLAIMED, false, reasons::CLAIM_LOST, message);
        Action::Claim
    }

    fn claim(&mut self, host: &BareMetalHost) -> Action {
        if host.is_paused() {
            return self.busy(
                reasons::HOST_PAUSED,
                "the host is paused: remove its paused annotation",
            );
        }
        let free_image = self.policy.deprovision_image.as_deref();
        if deployment::has_leftover(host, free_image) {
            return self.busy(
                reasons::HOST_BUSY,
                "the host carries an image that no reservation put there: clear spec.image",
            );
        }
        self.pin(host);
        self.status.phase = Some(Phase::Provisioning);
        self.not_ready(reasons::CLAIMING, "the host is being claimed");
        Action::Claim
    }

    fn held(&mut self, host: &BareMetalHost) -> Action {
        let was_active = self.status.active_time.is_some();
        self.status.phase = Some(if was_active {
            Phase::Active
        } else {
            Phase::Provisioning
        });
        self.set(
            HOST_CLAIMED,
            true,
            "Claimed",
            format!("host {} is held", host.name()),
        );
        self.set(RELEASED, false, reasons::IN_USE, "the host is held");
        if self.status.claim_time.is_none() {
            // Stored before anything is done to the disk: later, a provisioning that isn't
            // in this record is the one that we asked for.
            self.status.claim_time = Some(Time(self.now));
            self.pin(host);
            self.status.baseline = Some(Baseline {
                provision_end: provision_end(host),
                ..Baseline::default()
            });
            self.not_provisioned("WaitingForHost", "the claim is recorded");
            return Action::Wait;
        }
        if host.is_deleting() {
            // There is no way back from that, and the operator wipes the disk by itself.
            let message = "the host is being deleted, with all that is on it";
            return self.fail(reasons::HOST_DELETING, message);
        }
        // Where the calendar was lost, or the window moved, it catches up with the facts.
        if let Err(action @ Action::WriteCalendar { .. }) = self.book(host) {
            return action;
        }
        let deployment = Deployment::of(self.reservation, &self.policy.image);
        // What we put there counts, and not what would be put there today: the site's image
        // may be another by now.
        let applied = self.status.applied_image.clone();
        let ours = applied.unwrap_or_else(|| deployment.applied());
        match deployment::wanted(host) {
            Some(there) if Some(there.url.as_str()) == self.free_image_left() => {
                self.not_provisioned("WaitingForHost", "the free host's image is taken off");
                Action::Clear
            }
            Some(there) if there != ours => {
                // Somebody broke glass. Putting our image back would wipe what they did.
                let message = "the host's image was changed by others; it is left alone";
                self.not_ready(reasons::IMAGE_CHANGED, message);
                self.set(PROVISIONED, false, reasons::IMAGE_CHANGED, message);
                Action::Wait
            }
            Some(_) => self.watch(host, &ours),
            None => self.provision(host, deployment),
        }
    }

    /// The host has no image yet: give it ours as soon as it can take one.
    fn provision(&mut self, host: &BareMetalHost, deployment: Deployment) -> Action {
        if self.status.active_time.is_some() {
            // It was ours and ready, and somebody took the image off: the disk is being
            // wiped. Imaging it again would hide that from its user.
            let message = "the host's image was taken off by others";
            self.not_ready(reasons::IMAGE_CHANGED, message);
            return Action::Wait;
        }
        if let Some((reason, message)) = unattended(host) {
            self.not_provisioned(reason, message);
            return Action::Wait;
        }
        // An error from before is no obstacle: the operator forgets it with a new image.
        if !host.is_available() || deployment::deployed(host).is_some() {
            let message = format!("the host is {}; waiting until it is available", state(host));
            self.not_provisioned("WaitingForHost", message);
            return Action::Wait;
        }
        if self.status.applied_image.is_none() {
            self.status.attempts = Some(self.status.attempts.unwrap_or_default() + 1);
        }
        self.status.applied_image = Some(deployment.applied());
        self.not_provisioned("Provisioning", "the image is being put on the host");
        Action::Provision(deployment)
    }

    /// The host has our image: is it on the disk, and did *our* asking put it there?
    fn watch(&mut self, host: &BareMetalHost, ours: &AppliedImage) -> Action {
        // History stamps are whole seconds, so two provisionings may bear the same one; an
        // operator that says which generation it has seen (0.13 on) settles it.
        let baseline = self.status.baseline.as_ref();
        let another = provision_end(host).is_some()
            && provision_end(host) != baseline.and_then(|baseline| baseline.provision_end.clone());
        let fresh = another || has_seen_spec(host);
        let done = *host.state() == ProvisioningState::Provisioned
            && deployment::deployed(host).as_ref() == Some(ours)
            && fresh;
        if done && !host.has_error() {
            self.status.phase = Some(Phase::Active);
            self.status.active_time.get_or_insert(Time(self.now));
            self.set(
                PROVISIONED,
                true,
                reasons::PROVISIONED,
                "the image is on the host",
            );
            if !user_data::lets_somebody_in(self.reservation) {
                self.not_ready(
                    reasons::NO_AUTHORIZED_KEY,
                    "the host is up, but nobody's key is on it",
                );
            } else {
                self.set(READY, true, "Active", "the host is ready for its user");
            }
            return Action::Wait;
        }
        let trouble = error(host);
        if let Some(trouble) = &trouble
            && self.status.active_time.is_none()
            && has_given_up(host)
        {
            let message = format!("the operator tries no more: {trouble}");
            return self.fail(reasons::RETRY_LIMIT_REACHED, &message);
        }
        let (reason, message) = match (unattended(host), trouble) {
            (Some((reason, message)), _) => (reason, message.to_owned()),
            (None, Some(trouble)) => (reasons::PROVISIONING_FAILED, trouble),
            (None, None) if is_delayed(host) => (
                "CapacityLimited",
                "the operator is busy with as many hosts as it may be; this one waits its turn"
                    .to_owned(),
            ),
            (None, None) => ("Provisioning", format!("the host is {}", state(host))),
        };
        if self.status.active_time.is_some() {
            // Its image is on it all the same.
            let is_ours = reason == reasons::PROVISIONING_FAILED;
            self.not_ready(if is_ours { reasons::HOST_ERROR } else { reason }, message);
        } else {
            self.not_provisioned(reason, message);
        }
        Action::Wait
    }

    /// The image that a free host of this site carries, until we put ours there.
    fn free_image_left(&self) -> Option<&str> {
        let free_image = self.policy.deprovision_image.as_deref()?;
        self.status.applied_image.is_none().then_some(free_image)
    }

    fn busy(&mut self, reason: &str, message: impl Into<String>) -> Action {
        let message = message.into();
        self.unpin();
        self.status.phase = Some(Phase::Pending);
        self.set(HOST_CLAIMED, false, reason, message.clone());
        self.not_ready(reason, message);
        Action::Wait
    }

    fn fail(&mut self, reason: &str, message: &str) -> Action {
        self.set(PROVISIONED, false, reason, message);
        self.not_ready(reason, message);
        self.status.phase = Some(Phase::Releasing);
        self.wake = Some(self.now);
        Action::Wait
    }

    fn not_provisioned(&mut self, reason: &str, message: impl Into<String>) {
        let message = message.into();
        self.set(PROVISIONED, false, reason, message.clone());
        self.not_ready(reason, message);
    }

    pub(super) fn not_ready(&mut self, reason: &str, message: impl Into<String>) {
        self.set(READY, false, reason, message);
    }

    pub(super) fn set(
        &mut self,
        type_: &str,
        holds: bool,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.conditions
            .set(&mut self.status, type_, holds, reason, message);
    }
}

/// Why the operator doesn't heed the host's spec, if it doesn't: nothing is written to a host
/// like that.
fn unattended(host: &BareMetalHost) -> Option<(&'static str, &'static str)> {
    if host.is_paused() {
        let message = "the host is paused: remove its paused annotation";
        Some((reasons::HOST_PAUSED, message))
    } else if host.is_detached() {
        let message = "the host is detached: remove its detached annotation";
        Some((reasons::HOST_DETACHED, message))
    } else if host.is_externally_provisioned() {
        let message = "the host is called externally provisioned: the operator heeds no image";
        Some((reasons::HOST_NOT_RESERVABLE, message))
    } else if *host.state() == ProvisioningState::Unmanaged {
        let message = "the operator can't manage the host: it has no BMC address or credentials";
        Some((reasons::HOST_NOT_MANAGED, message))
    } else {
        None
    }
}

/// Whether the operator (0.14 on) has failed so often that it leaves the host `available`, with
/// the error. One that hasn't seen our image yet may still show its predecessor's.
fn has_given_up(host: &BareMetalHost) -> bool {
    let Some(status) = &host.status else {
        return false;
    };
    let failures = status.other.get("provisioningFailCount");
    host.is_available()
        && status.error_type.as_deref() == Some("provisioning error")
        && failures.and_then(serde_json::Value::as_i64) > Some(0)
        && has_seen_spec(host)
}

fn is_delayed(host: &BareMetalHost) -> bool {
    let status = host.status.as_ref();
    status.and_then(|status| status.operational_status.as_deref()) == Some("delayed")
}

fn told(shortage: &Shortage) -> (&'static str, String) {
    match shortage {
        Shortage::AllTaken(bearing) => (
            reasons::NO_HOST_FREE,
            format!(
                "none of the {bearing} hosts that bear the labels of target.selector is free in \
                 the window; waiting until one is"
            ),
        ),
        Shortage::Nonsense(why) => (
            reasons::HOST_NOT_FOUND,
            format!("target.selector can't be understood: {why}"),
        ),
        Shortage::NoneBearing => (
            reasons::HOST_NOT_FOUND,
            "no host bears the labels of target.selector".to_owned(),
        ),
    }
}

fn provision_end(host: &BareMetalHost) -> Option<Time> {
    host.last_provision()?.end.clone()
}

/// Whether the operator says that it has acted on the spec as it is now.
pub(super) fn has_seen_spec(host: &BareMetalHost) -> bool {
    let seen = host.observed_generation();
    seen.is_some() && seen >= host.metadata.generation
}

/// What the operator says of the host's error, if it has one.
pub(super) fn error(host: &BareMetalHost) -> Option<String> {
    let status = host.status.as_ref().filter(|_| host.has_error())?;
    let said = [&status.error_message, &status.error_type];
    let mut said = said.into_iter().flatten().filter(|text| !text.is_empty());
    let told = said.next().cloned();
    Some(told.unwrap_or_else(|| "the operator reports an error, and not which".to_owned()))
}

pub(super) fn state(host: &BareMetalHost) -> &str {
    match host.state().as_str() {
        "" => "not yet managed",
        state => state,
    }
}
