//! Owns the conditions: a restatement of the other fields of the status, with the generation that the
//! operator looked at. Called when a status is written, and after each look that wrote nothing else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

use crate::{BareMetalHostStatus, ProvisioningState};

/// Brings the conditions in line with the rest of the status.
pub(super) fn renew(status: &mut BareMetalHostStatus, generation: Option<i64>, now: &Time) {
    let known = known(status);
    let stored = status
        .other
        .entry("conditions")
        .or_insert_with(|| json!([]));
    let Value::Array(stored) = stored else {
        return;
    };
    for (kind, (holds, reason)) in known {
        let before = stored.iter_mut().find(|stored| stored["type"] == kind);
        let mut condition = Condition {
            type_: kind.to_owned(),
            status: holds.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: generation,
            last_transition_time: now.clone(),
        };
        let Some(before) = before else {
            stored.push(json!(condition));
            continue;
        };
        if before["status"] == holds {
            if kind == HEALTHY {
                // Known to nobody without hardware, and not touched again.
                continue;
            }
            if let Ok(time) = serde_json::from_value(before["lastTransitionTime"].clone()) {
                condition.last_transition_time = time;
            }
        }
        *before = json!(condition);
    }
}

type Verdict = (&'static str, &'static str);

fn known(status: &BareMetalHostStatus) -> [(&'static str, Verdict); 6] {
    [
        ("Ready", ready(status)),
        ("AvailableForProvisioning", available(status)),
        (HEALTHY, ("Unknown", "Unknown")),
        ("Manageable", manageable(status)),
        ("Progressing", progressing(status)),
        ("Provisioned", provisioned(status)),
    ]
}

fn ready(status: &BareMetalHostStatus) -> Verdict {
    match status.operational_status.as_deref() {
        Some("error") => ("False", "Error"),
        Some("detached") => ("False", "Detached"),
        _ => provisioned(status),
    }
}

fn available(status: &BareMetalHostStatus) -> Verdict {
    if status.provisioning.state.is_available() {
        ("True", "Available")
    } else {
        ("False", "NotAvailable")
    }
}

fn manageable(status: &BareMetalHostStatus) -> Verdict {
    match status.provisioning.state {
        ProvisioningState::Unmanaged => ("False", "NotManaged"),
        ProvisioningState::None | ProvisioningState::Registering => {
            if status.operational_status.as_deref() == Some("error") {
                ("False", "RegistrationFailed")
            } else {
                ("False", "Registering")
            }
        }
        _ => ("True", "Manageable"),
    }
}

fn progressing(status: &BareMetalHostStatus) -> Verdict {
    if status.operational_status.as_deref() == Some("detached") {
        return ("False", "Detached");
    }
    match status.provisioning.state {
        ProvisioningState::Registering => ("True", "Registering"),
        ProvisioningState::Inspecting => ("True", "Inspecting"),
        ProvisioningState::Preparing => ("True", "Preparing"),
        ProvisioningState::Provisioning => ("True", "Provisioning"),
        ProvisioningState::Deprovisioning => ("True", "Deprovisioning"),
        ProvisioningState::PoweringOffBeforeDelete => ("True", "PoweringOffBeforeDelete"),
        ProvisioningState::Deleting => ("True", "Deleting"),
        _ => ("False", "NotProgressing"),
    }
}

fn provisioned(status: &BareMetalHostStatus) -> Verdict {
    match status.provisioning.state {
        ProvisioningState::Provisioned | ProvisioningState::ExternallyProvisioned => {
            ("True", "Provisioned")
        }
        _ => ("False", "NotProvisioned"),
    }
}

const HEALTHY: &str = "Healthy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let mut status = BareMetalHostStatus::default();
        let time = |second| Time(jiff::Timestamp::from_second(second).unwrap());
        let ready = |status: &BareMetalHostStatus| {
            let conditions = status.other["conditions"].as_array().unwrap();
            let ready = conditions.iter().find(|stored| stored["type"] == "Ready");
            serde_json::from_value::<Condition>(ready.unwrap().clone()).unwrap()
        };
        renew(&mut status, Some(1), &time(1));
        renew(&mut status, Some(2), &time(2));
        let before = ready(&status);
        assert_eq!(before.last_transition_time, time(1));
        assert_eq!(before.observed_generation, Some(2));

        status.provisioning.state = ProvisioningState::Provisioned;
        renew(&mut status, Some(2), &time(3));
        assert_eq!(ready(&status).status, "True");
        assert_eq!(ready(&status).last_transition_time, time(3));
    }

    #[test]
    fn conditions_of_others_stay() {
        let mut status = BareMetalHostStatus::default();
        let other = json!({"type": "Racked", "status": "True"});
        status.other.insert("conditions".to_owned(), json!([other]));
        renew(&mut status, None, &Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(status.other["conditions"][0], other);
        assert_eq!(status.other["conditions"].as_array().unwrap().len(), 7);
    }
}
