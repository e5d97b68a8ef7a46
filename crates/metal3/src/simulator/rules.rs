//! Owns what the operator does next with a host: a pure function of the object and of time, so that a
//! test may drive it without an API server. It refuses to look at anything but the present object, as
//! the operator does: a change that was taken back before it looked never happened. Called by the
//! driver.

use std::time::Duration;

use serde_json::Value;

use super::draft::Draft;
use super::situation::Situation;
use super::timings::Timings;
use crate::{BareMetalHost, BareMetalHostStatus, ProvisioningState, names};

/// What the operator would do now.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Add the finalizer [`names::FINALIZER`].
    AddFinalizer,
    /// Nothing, until the object changes.
    Idle,
    /// Remove the finalizer [`names::FINALIZER`]: the host is wiped and off.
    RemoveFinalizer,
    /// Nothing, until the object changes or this time has passed.
    Wait(Duration),
    /// Write this status.
    Write(Box<BareMetalHostStatus>),
}

impl Step {
    /// Whether the step changes the object.
    #[must_use]
    pub fn is_change(&self) -> bool {
        !matches!(self, Self::Idle | Self::Wait(_))
    }

    /// Changes an object in memory as the step would change it in the cluster.
    pub fn apply(self, host: &mut BareMetalHost) {
        let finalizers = host.metadata.finalizers.get_or_insert_default();
        match self {
            Self::AddFinalizer => finalizers.push(names::FINALIZER.to_owned()),
            Self::RemoveFinalizer => finalizers.retain(|finalizer| finalizer != names::FINALIZER),
            Self::Write(status) => host.status = Some(*status),
            Self::Idle | Self::Wait(_) => {}
        }
    }
}

/// What the operator would do now with the host.
#[must_use]
pub fn next(host: &BareMetalHost, situation: &Situation, timings: &Timings) -> Step {
    if host.is_paused() {
        return Step::Idle;
    }
    match (has_finalizer(host), host.is_deleting()) {
        (false, false) => return Step::AddFinalizer,
        (false, true) => return Step::Idle,
        (true, _) => {}
    }
    let pass = Pass {
        host,
        draft: Draft::of(host, situation.now()),
        situation,
        timings,
    };
    let step = pass.step();
    if step.is_change() || !is_managed(host) {
        return step;
    }
    // Nothing to do is a result as well, and the operator notes that it looked.
    let status = Draft::of(host, situation.now()).renew();
    if host.status.as_ref() == Some(&status) {
        return step;
    }
    Step::Write(Box::new(status))
}

/// One look at a host. Each method either ends the pass with a step or hands it on.
struct Pass<'a> {
    host: &'a BareMetalHost,
    draft: Draft,
    situation: &'a Situation,
    timings: &'a Timings,
}

impl Pass<'_> {
    fn step(self) -> Step {
        if self.host.is_deleting()
            && let Some(state) = self.on_the_way_out()
        {
            return self.draft.enter(state);
        }
        if self.is_to_be_detached() {
            return self.detach();
        }
        if self.draft.is_detached() {
            return self.attach();
        }
        self.proceed()
    }

    /// The state by which a deletion begins; none where it has begun.
    fn on_the_way_out(&self) -> Option<ProvisioningState> {
        use ProvisioningState::{
            Deleting, Deprovisioning, None as Unseen, PoweringOffBeforeDelete, Provisioned,
            Provisioning, Registering, Unmanaged,
        };

        let state = self.host.state();
        if self.draft.is_detached() && *state != Deleting {
            // Neither wiped nor switched off: the machine belongs to somebody else by now.
            return (!self.detached_annotation_says("deleteAction", &"delay".into()))
                .then_some(Deleting);
        }
        match state {
            Deleting | Deprovisioning | PoweringOffBeforeDelete => None,
            Unseen | Registering | Unmanaged => Some(Deleting),
            Provisioned | Provisioning => Some(Deprovisioning),
            _ => Some(PoweringOffBeforeDelete),
        }
    }

    fn is_to_be_detached(&self) -> bool {
        use ProvisioningState::{Available, Deleting, ExternallyProvisioned, Provisioned, Ready};

        self.host.is_detached()
            && match self.host.state() {
                Available | ExternallyProvisioned | Provisioned | Ready => true,
                Deleting => false,
                _ => self.detached_annotation_says("force", &true.into()),
            }
    }

    fn detach(mut self) -> Step {
        if self.draft.is_detached() {
            return Step::Idle;
        }
        self.draft.status.operational_status = Some("detached".to_owned());
        self.draft.write()
    }

    fn attach(mut self) -> Step {
        let status = if self.draft.error_type().is_some() {
            "error"
        } else {
            "OK"
        };
        self.draft.status.operational_status = Some(status.to_owned());
        self.draft.write()
    }

    fn proceed(self) -> Step {
        match self.host.state() {
            ProvisioningState::None => self.none(),
            ProvisioningState::Unmanaged => self.unmanaged(),
            ProvisioningState::Registering => self.registering(),
            ProvisioningState::MatchProfile => self.draft.enter(ProvisioningState::Preparing),
            ProvisioningState::Inspecting => self.inspecting(),
            ProvisioningState::Preparing => self.preparing(),
            ProvisioningState::Ready | ProvisioningState::Available => self.available(),
            ProvisioningState::Provisioning => self.provisioning(),
            ProvisioningState::Provisioned => self.provisioned(),
            ProvisioningState::ExternallyProvisioned => self.externally_provisioned(),
            ProvisioningState::Deprovisioning => self.deprovisioning(),
            ProvisioningState::PoweringOffBeforeDelete => self.powering_off(),
            ProvisioningState::Deleting => self.deleting(),
            ProvisioningState::Other(_) => Step::Idle,
        }
    }

    fn none(mut self) -> Step {
        if self.has_bmc() {
            return self.draft.enter(ProvisioningState::Registering);
        }
        self.draft.status.operational_status = Some("discovered".to_owned());
        self.draft.enter(ProvisioningState::Unmanaged)
    }

    fn unmanaged(self) -> Step {
        if self.has_bmc() {
            self.draft.enter(ProvisioningState::Registering)
        } else {
            Step::Idle
        }
    }

    fn registering(mut self) -> Step {
        match self.host.name() {
            "demo-registering" => return Step::Idle,
            "demo-registration-error" => {
                let phase = self.timings.registering;
                return self.keep_failing(
                    phase,
                    "registration error",
                    "failed to register new host",
                );
            }
            _ => {}
        }
        if let Some(remaining) = self.situation.remaining(self.timings.registering) {
            return Step::Wait(remaining);
        }
        self.draft.forget_error();
        self.draft.forget_failures();
        self.draft.status.provisioning.id = Some(self.host.name().to_owned());
        let state = if self.host.is_externally_provisioned() {
            ProvisioningState::ExternallyProvisioned
        } else if self.is_inspection_disabled() {
            ProvisioningState::Preparing
        } else {
            ProvisioningState::Inspecting
        };
        self.draft.enter(state)
    }

    fn inspecting(self) -> Step {
        if self.host.name() == "demo-inspecting" {
            return Step::Idle;
        }
        let phase = self.timings.inspecting;
        self.finish(phase, ProvisioningState::Preparing)
    }

    fn preparing(self) -> Step {
        let phase = self.timings.preparing;
        match self.host.name() {
            "demo-preparing" => Step::Idle,
            "demo-preparing-error" => {
                self.keep_failing(phase, "preparation error", "preparing failed")
            }
            _ => self.finish(phase, ProvisioningState::Available),
        }
    }

    fn available(mut self) -> Step {
        if self.host.is_externally_provisioned() {
            return self.draft.enter(ProvisioningState::ExternallyProvisioned);
        }
        if self.is_to_be_provisioned() {
            self.draft.forget_error();
            return self.draft.enter(ProvisioningState::Provisioning);
        }
        self.power()
    }

    fn provisioning(mut self) -> Step {
        if self.is_cancelled() {
            return self.draft.enter(ProvisioningState::Deprovisioning);
        }
        if self.draft.error_type().is_some() {
            let backoff = self.timings.backoff(self.draft.failures());
            return self.finish(backoff, ProvisioningState::Deprovisioning);
        }
        if self.host.name() == "demo-provisioning" {
            return Step::Idle;
        }
        if let Some(remaining) = self.situation.remaining(self.timings.provisioning) {
            return Step::Wait(remaining);
        }
        if self.host.name() == "demo-validation-error" {
            return self.draft.fail("provisioning error", "validation failed");
        }
        if self.situation.is_user_data_missing() {
            return self
                .draft
                .fail("provisioning error", "secret with the user data not found");
        }
        if let Some(image) = &self.host.spec.image {
            self.draft.status.provisioning.image = Some(image.clone());
        }
        self.draft.status.provisioning.custom_deploy = self.host.spec.custom_deploy.clone();
        self.draft.forget_failures();
        self.draft.enter(ProvisioningState::Provisioned)
    }

    fn provisioned(self) -> Step {
        if self.is_cancelled() {
            return self.draft.enter(ProvisioningState::Deprovisioning);
        }
        self.power()
    }

    fn externally_provisioned(mut self) -> Step {
        if self.host.is_externally_provisioned() {
            return self.power();
        }
        // What is on the disk is taken to be what the spec says, so that a host whose spec names an
        // image is not wiped on its way into management.
        if let Some(image) = &self.host.spec.image {
            self.draft.status.provisioning.image = Some(image.clone());
        }
        if let Some(custom_deploy) = &self.host.spec.custom_deploy {
            self.draft.status.provisioning.custom_deploy = Some(custom_deploy.clone());
        }
        self.draft.enter(ProvisioningState::Provisioned)
    }

    fn deprovisioning(mut self) -> Step {
        if let Some(remaining) = self.situation.remaining(self.timings.deprovisioning) {
            return Step::Wait(remaining);
        }
        self.draft.empty_disk();
        self.draft.forget_failures();
        let state = if self.host.is_deleting() {
            ProvisioningState::PoweringOffBeforeDelete
        } else {
            ProvisioningState::Available
        };
        self.draft.enter(state)
    }

    fn powering_off(mut self) -> Step {
        self.draft.status.powered_on = Some(false);
        let phase = self.timings.powering_off;
        self.finish(phase, ProvisioningState::Deleting)
    }

    fn deleting(self) -> Step {
        let remaining = self.situation.remaining(self.timings.deleting);
        remaining.map_or(Step::RemoveFinalizer, Step::Wait)
    }

    fn power(mut self) -> Step {
        let is_on = self.draft.is_powered_on();
        // The operator turns "off" into a reboot where the power may not be switched off.
        let stays_on = is_on && self.host.spec.disable_power_off == Some(true);
        let wanted = self.host.spec.online == Some(true) || stays_on;
        if is_on == wanted {
            return Step::Idle;
        }
        self.draft.status.powered_on = Some(wanted);
        self.draft.forget_failures();
        self.draft.write()
    }

    fn finish(mut self, phase: Duration, state: ProvisioningState) -> Step {
        if let Some(remaining) = self.situation.remaining(phase) {
            return Step::Wait(remaining);
        }
        self.draft.forget_failures();
        self.draft.enter(state)
    }

    fn keep_failing(self, phase: Duration, error_type: &str, message: &str) -> Step {
        let wait = match self.draft.failures() {
            0 => phase,
            failures => self.timings.backoff(failures),
        };
        match self.situation.remaining(wait) {
            Some(remaining) => Step::Wait(remaining),
            None => self.draft.fail(error_type, message),
        }
    }

    fn is_to_be_provisioned(&self) -> bool {
        // Off means "leave it alone", and the operator says so to nobody.
        let is_online = self.host.spec.online == Some(true);
        let image =
            self.host.wanted_image_url().is_some() && self.host.deployed_image_url().is_none();
        let method =
            self.wanted_method().is_some() && self.wanted_method() != self.deployed_method();
        is_online && (image || method)
    }

    /// Whether what is on the disk, or is being written, is wanted no more. Only the URL counts: the
    /// operator does not compare checksums, formats or the references to cloud-init data.
    fn is_cancelled(&self) -> bool {
        let wanted = self.host.wanted_image_url();
        let deployed = self.host.deployed_image_url();
        let has_other_image = deployed.is_some() && wanted != deployed;
        match (self.wanted_method(), self.deployed_method()) {
            (Some(wanted), Some(deployed)) if wanted != deployed => true,
            (Some(_), _) => has_other_image,
            (None, Some(_)) => true,
            (None, None) => wanted.is_none() || has_other_image,
        }
    }

    fn wanted_method(&self) -> Option<&str> {
        let method = &self.host.spec.custom_deploy.as_ref()?.method;
        Some(method.as_str()).filter(|method| !method.is_empty())
    }

    fn deployed_method(&self) -> Option<&str> {
        let status = self.host.status.as_ref()?;
        let method = &status.provisioning.custom_deploy.as_ref()?.method;
        Some(method.as_str()).filter(|method| !method.is_empty())
    }

    fn has_bmc(&self) -> bool {
        self.host.spec.bmc.as_ref().is_some_and(|bmc| {
            let texts = [&bmc.address, &bmc.credentials_name];
            texts.into_iter().flatten().any(|text| !text.is_empty())
        })
    }

    fn is_inspection_disabled(&self) -> bool {
        let mode = self.host.spec.other.get("inspectionMode");
        mode.and_then(Value::as_str) == Some("disabled")
            || self.host.annotation("inspect.metal3.io") == Some("disabled")
    }

    /// The annotation's value is JSON by custom only; the operator takes any other text as empty.
    fn detached_annotation_says(&self, key: &str, value: &Value) -> bool {
        let text = self.host.annotation(names::DETACHED).unwrap_or_default();
        let options = serde_json::from_str::<Value>(text).unwrap_or_default();
        options.get(key) == Some(value)
    }
}

fn is_managed(host: &BareMetalHost) -> bool {
    !matches!(
        host.state(),
        ProvisioningState::None | ProvisioningState::Other(_)
    )
}

fn has_finalizer(host: &BareMetalHost) -> bool {
    let mut finalizers = host.metadata.finalizers.iter().flatten();
    finalizers.any(|finalizer| finalizer == names::FINALIZER)
}

#[cfg(test)]
mod tests;
