//! The way off: take the image off, wait for evidence that the disk was wiped, and only
//! then let go of the host.
//!
//! Only ever acts on a host whose claim is ours: that alone keeps a late end of one user
//! from wiping the next one's disk. A claim is never dropped because time ran out on an
//! operator that doesn't answer: a dirty host stays held.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use metal3::{BareMetalHost, ProvisioningState};

use super::{
    Action, Holder, Pass, conditions,
    conditions::{HOST_CLAIMED, PROVISIONED, RELEASED},
    on::{error, has_seen_spec, state},
    timing,
};
use crate::{
    api::v1::{Baseline, DesiredState, Phase},
    reservations::{deployment, lookup::Lookup, reasons, user_data},
};

impl Pass<'_> {
    /// It is over, or was never to be.
    pub(super) fn off(&mut self, host: &Lookup) -> Action {
        let Lookup::Found(host) = host else {
            return self.finish("NotHeld", "no host is held");
        };
        match self.holder(host) {
            Holder::Us => self.release(host),
            // Nobody would wipe it otherwise.
            Holder::Nobody if self.has_lost_claim(host) => self.reclaim(),
            Holder::Nobody if self.clears_unheld(host) => {
                self.pin(host);
                Action::Claim
            }
            _ if self.was_clean() => self.finish(CLEAN, "the host is clean and free again"),
            _ => self.finish("NotHeld", "no host is held"),
        }
    }

    /// An end of the minimal shape clears a host that nothing holds, as the earlier
    /// receiver did: it is claimed first, so that the way off is the same for all. Only an
    /// end does so, and not the deletion of a record that never began.
    fn clears_unheld(&self, host: &BareMetalHost) -> bool {
        let spec = &self.reservation.spec;
        let minimal = spec
            .source
            .as_ref()
            .is_some_and(|source| source.provider.is_some() && source.event_id.is_none());
        let free_image = self.policy.deprovision_image.as_deref();
        minimal
            && self.reservation.desired_state() == DesiredState::Released
            && self.status.begin_time.is_none()
            && self.status.release_time.is_none()
            && !host.is_paused()
            && !host.is_deleting()
            && !host.is_externally_provisioned()
            && host
                .wanted_image_url()
                .is_some_and(|url| Some(url) != free_image)
    }

    pub(super) fn release(&mut self, host: &BareMetalHost) -> Action {
        self.status.phase = Some(Phase::Releasing);
        self.not_ready(reasons::RELEASING, "the host is being taken back");
        let Some(since) = self.status.release_time.as_ref().map(|time| time.0) else {
            if self.status.active_time.is_none() && self.ends_by_the_clock() {
                let message = "its time was over before the host was ready";
                self.set(PROVISIONED, false, reasons::DEADLINE_EXCEEDED, message);
            }
            // Stored before the host is touched, as on the way on.
            self.status.release_time = Some(Time(self.now));
            let baseline = self.status.baseline.get_or_insert_default();
            *baseline = Baseline {
                provision_end: baseline.provision_end.take(),
                deprovision_start: deprovision_start(host),
                powered_on: host.status.as_ref().and_then(|status| status.powered_on),
            };
            self.set(
                RELEASED,
                false,
                "EndRequested",
                "the host is being taken back",
            );
            return Action::Wait;
        };
        // Of one that is being deleted the operator takes everything off by itself.
        let is_marked = deployment::is_marked(host, self.reservation);
        if is_marked && !host.is_deleting() {
            self.set(
                RELEASED,
                false,
                "Deprovisioning",
                "the image is being taken off",
            );
            return Action::Clear;
        }
        if !is_marked && self.is_clean(host) {
            self.set(
                RELEASED,
                false,
                CLEAN,
                "the host is clean; it is being freed",
            );
            let idle = self.policy.deprovision_image.clone();
            return Action::Free {
                image: idle.filter(|_| !host.is_deleting()),
            };
        }
        self.wake_at(timing::later(since, EVIDENCE_WAIT));
        let (reason, message) = if host.is_paused() || host.is_detached() {
            (
                reasons::CLEANING_FAILED,
                "the host is paused or detached: it is not being cleaned, and stays held"
                    .to_owned(),
            )
        } else if host.is_externally_provisioned() {
            (
                reasons::CLEANING_FAILED,
                "the host is called externally provisioned: it is not being cleaned, and stays held"
                    .to_owned(),
            )
        } else if !is_cleaned(host) {
            (
                reasons::CLEANING_FAILED,
                "the host's cleaning is disabled: it is not being cleaned, and stays held"
                    .to_owned(),
            )
        } else if let Some(trouble) = error(host) {
            (reasons::CLEANING_FAILED, trouble)
        } else if host.is_deleting() {
            (
                reasons::HOST_DELETING,
                "the host is being deleted; waiting until it is gone".to_owned(),
            )
        } else {
            ("Deprovisioning", format!("the host is {}", state(host)))
        };
        self.set(RELEASED, false, reason, message);
        Action::Wait
    }

    /// Free, and seen to be so *after* we asked: BareMetalHost has no observedGeneration, so
    /// `available` alone may be the operator not having looked yet.
    fn is_clean(&self, host: &BareMetalHost) -> bool {
        // A host that never got an image from anybody has nothing to be cleaned of. An end that
        // clears one which nobody held knows that only of one that was never `available`: it
        // may stay where it is for ever.
        let untouched = self.status.begin_time.is_some() || takes_no_image_yet(host.state());
        let deployed = deployment::deployed(host);
        // Somebody else may be imaging it by hand: what is being written will have to be wiped.
        let at_work = matches!(
            host.state(),
            ProvisioningState::Deprovisioning
                | ProvisioningState::Provisioned
                | ProvisioningState::Provisioning
        );
        if self.status.applied_image.is_none() && untouched && deployed.is_none() && !at_work {
            return true;
        }
        if !host.is_available() || deployed.is_some() || !is_cleaned(host) {
            return false;
        }
        let baseline = self.status.baseline.clone().unwrap_or_default();
        let powered_on = host.status.as_ref().and_then(|status| status.powered_on);
        let deprovisioned = deprovision_start(host).is_some()
            && deprovision_start(host) != baseline.deprovision_start;
        let powered_off = baseline.powered_on == Some(true) && powered_on == Some(false);
        // An operator that was told not to look has not looked, however long we wait.
        let looked_at = !host.is_paused() && !host.is_detached();
        let seen = looked_at && has_seen_spec(host);
        let waited = looked_at
            && self
                .status
                .release_time
                .as_ref()
                .is_some_and(|since| timing::later(since.0, EVIDENCE_WAIT) <= self.now);
        deprovisioned || powered_off || seen || waited
    }

    /// Whether the host was freed after it was seen to be clean.
    fn was_clean(&self) -> bool {
        let mut told = self.status.conditions.iter();
        told.any(|it| it.type_ == RELEASED && it.reason == CLEAN)
    }

    fn finish(&mut self, reason: &str, message: &str) -> Action {
        // First of all: a record that is over is not looked at again.
        if let Some(action) = self.unbook() {
            return action;
        }
        // Whose host was deleted, or taken by others, may have left its keys behind.
        let may_have_keys =
            self.status.applied_image.is_some() && user_data::is_made(self.reservation);
        if may_have_keys && self.status.release_time.is_none() {
            // Marked before they are taken away, so that nobody puts them back.
            self.status.phase = Some(Phase::Releasing);
            self.status.release_time = Some(Time(self.now));
            self.set(RELEASED, false, reason, message);
            if conditions::failure(&self.status).is_none() {
                self.not_ready(reasons::RELEASING, message);
            }
            self.wake = Some(self.now);
            return Action::Wait;
        }
        if self.has_run_out() {
            let message = "its time is over, and it never had its host";
            self.set(PROVISIONED, false, reasons::WINDOW_EXPIRED, message);
        }
        let unfinished = self.status.clone();
        let failed = conditions::failure(&self.status).cloned();
        self.status.phase = Some(if failed.is_some() {
            Phase::Failed
        } else {
            Phase::Released
        });
        self.status.released_time.get_or_insert(Time(self.now));
        self.set(HOST_CLAIMED, false, reasons::RELEASED, message);
        self.set(RELEASED, true, reason, message);
        match failed {
            Some(failed) => self.not_ready(&failed.reason, failed.message),
            None => self.not_ready(reasons::RELEASED, message),
        }
        if may_have_keys {
            let mut status = Box::new(std::mem::replace(&mut self.status, unfinished));
            status.next_transition_time = None;
            return Action::Finish { status };
        }
        Action::Wait
    }
}

impl Pass<'_> {
    /// Whether it ends by the clock alone, without ever having had a host: somebody who
    /// counted on it must see that.
    fn has_run_out(&self) -> bool {
        self.status.claim_time.is_none()
            && self.status.release_time.is_none()
            && self.ends_by_the_clock()
    }

    /// Whether nobody and nothing ended it but its window.
    fn ends_by_the_clock(&self) -> bool {
        self.reservation.metadata.deletion_timestamp.is_none()
            && self.reservation.desired_state() != DesiredState::Released
            && conditions::failure(&self.status).is_none()
    }
}

/// Whether the operator wipes this host at all: to be lent, it had to; what was changed since
/// must be changed back before anybody else gets the disk.
fn is_cleaned(host: &BareMetalHost) -> bool {
    host.spec.automated_cleaning_mode.as_deref() != Some("disabled")
}

/// Whether the operator is still at what comes before any image: one that is set meanwhile is
/// only remembered, and once it is taken off again there is nothing to undo.
fn takes_no_image_yet(state: &ProvisioningState) -> bool {
    matches!(
        state,
        ProvisioningState::None
            | ProvisioningState::Unmanaged
            | ProvisioningState::Registering
            | ProvisioningState::MatchProfile
            | ProvisioningState::Inspecting
            | ProvisioningState::Preparing
    )
}

fn deprovision_start(host: &BareMetalHost) -> Option<Time> {
    host.last_deprovision()?.start.clone()
}

/// The reason of who has nothing more to do with its host.
const CLEAN: &str = "Clean";

/// How long an `available` without other evidence is held against an operator that may not
/// have looked yet.
const EVIDENCE_WAIT: Duration = Duration::from_secs(150);
