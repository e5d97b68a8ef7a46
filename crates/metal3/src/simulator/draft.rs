//! Owns how a status changes: stamps of the history, errors, conditions, and the fields that the
//! operator's own definition of the kind requires. Decides nothing; called by the rules.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::conditions;
use super::rules::Step;
use crate::{
    BareMetalHost, BareMetalHostStatus, Image, OperationHistory, OperationMetric, ProvisioningState,
};

/// The status that a pass is about to write.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) status: BareMetalHostStatus,
    generation: Option<i64>,
    now: Timestamp,
}

impl Draft {
    pub(super) fn of(host: &BareMetalHost, now: Timestamp) -> Self {
        let mut status = host.status.clone().unwrap_or_default();
        // The operator writes all of these from its first pass on, and its CRD requires them.
        status.operational_status.get_or_insert_default();
        status.error_message.get_or_insert_default();
        status.error_count.get_or_insert_default();
        status.powered_on.get_or_insert_default();
        status.provisioning.id.get_or_insert_default();
        status.provisioning.image.get_or_insert_default();
        let history = status.operation_history.get_or_insert_default();
        history.register.get_or_insert_default();
        history.inspect.get_or_insert_default();
        history.provision.get_or_insert_default();
        history.deprovision.get_or_insert_default();
        Self {
            status,
            generation: host.metadata.generation,
            now,
        }
    }

    /// Writes the draft with the host in another state.
    pub(super) fn enter(mut self, state: ProvisioningState) -> Step {
        let now = Time(self.now);
        let left = self.status.provisioning.state.clone();
        if let Some(metric) = self.metric(&left)
            && metric.start.is_some()
            && metric.end.is_none()
        {
            metric.end = Some(now.clone());
        }
        if let Some(metric) = self.metric(&state)
            && (metric.start.is_none() || metric.end.is_some())
        {
            *metric = OperationMetric {
                start: Some(now),
                ..OperationMetric::default()
            };
        }
        self.status.provisioning.state = state;
        self.write()
    }

    /// Writes the draft with one more failure in the host's present state.
    pub(super) fn fail(mut self, error_type: &str, message: &str) -> Step {
        self.status.operational_status = Some("error".to_owned());
        self.status.error_type = Some(error_type.to_owned());
        self.status.error_message = Some(message.to_owned());
        self.status.error_count = Some(self.failures().saturating_add(1));
        self.write()
    }

    /// Writes the draft with the host in its present state.
    pub(super) fn write(mut self) -> Step {
        let now = Time(self.now);
        self.status
            .other
            .insert("lastUpdated".to_owned(), json!(now));
        conditions::renew(&mut self.status, self.generation, &now);
        Step::Write(Box::new(self.status))
    }

    /// Notes that the host was looked at: the conditions say of which generation.
    pub(super) fn renew(mut self) -> BareMetalHostStatus {
        conditions::renew(&mut self.status, self.generation, &Time(self.now));
        self.status
    }

    /// Forgets the error, as the operator does when an operation begins anew.
    pub(super) fn forget_error(&mut self) {
        self.status.operational_status = Some("OK".to_owned());
        self.status.error_type = None;
        self.status.error_message = Some(String::new());
    }

    /// Forgets how often the operation failed: only its success does that.
    pub(super) fn forget_failures(&mut self) {
        self.status.error_count = Some(0);
    }

    /// Notes that nothing is on the disk. The operator leaves an image with an empty URL.
    pub(super) fn empty_disk(&mut self) {
        self.status.provisioning.image = Some(Image::default());
        self.status.provisioning.custom_deploy = None;
    }

    pub(super) fn failures(&self) -> i64 {
        self.status.error_count.unwrap_or_default()
    }

    pub(super) fn is_powered_on(&self) -> bool {
        self.status.powered_on.unwrap_or_default()
    }

    pub(super) fn is_detached(&self) -> bool {
        self.status.operational_status.as_deref() == Some("detached")
    }

    pub(super) fn error_type(&self) -> Option<&str> {
        let error_type = self.status.error_type.as_deref();
        error_type.filter(|error_type| !error_type.is_empty())
    }

    fn metric(&mut self, state: &ProvisioningState) -> Option<&mut OperationMetric> {
        let OperationHistory {
            register,
            inspect,
            provision,
            deprovision,
            ..
        } = self.status.operation_history.as_mut()?;
        match state {
            ProvisioningState::Registering => register.as_mut(),
            ProvisioningState::Inspecting => inspect.as_mut(),
            ProvisioningState::Provisioning => provision.as_mut(),
            ProvisioningState::Deprovisioning => deprovision.as_mut(),
            _ => None,
        }
    }
}
