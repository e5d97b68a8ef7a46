//! Judges Reservations that people write; Harbormaster's own writes never come here.
//!
//! Refuses with every fault at once, in words. What is only guarded (somebody else's
//! reservation, what is settled once it has begun, a host that is taken) gives way to
//! break-glass; what is malformed or forged doesn't. Deletions aren't asked about: RBAC
//! decides, and a deletion is an early release.

use kube::{Resource, ResourceExt};
use kube_webhook::{
    Fault,
    admission::{
        AdmissionContext, CauseReason, Create, Old, Update, ValidateCreate, ValidateUpdate,
        ValidationResult, ValidationWebhook,
    },
};
use metal3::BareMetalHost;

use super::{
    OwnUser,
    authorizer::{Authorizer, Wish},
    break_glass::BreakGlass,
    reservation_rules::{FieldFault, Write, check},
};
use crate::{
    api::v1::{Reservation, SecretReference},
    clock::Clock,
    reservations::{caches::Caches, lookup::named_host},
};

/// The guard of Reservations.
#[derive(Clone, Debug)]
pub struct ReservationGuard {
    own_user: OwnUser,
    reserved: Vec<String>,
    authorizer: Authorizer,
    break_glass: BreakGlass,
    caches: Caches,
    clock: Clock,
}

impl ReservationGuard {
    /// A guard that lets `own_user` through, and keeps the names that it gives to bookings of
    /// `provider` for it.
    pub fn new(
        own_user: OwnUser,
        provider: &str,
        authorizer: Authorizer,
        caches: Caches,
        clock: Clock,
    ) -> Self {
        Self {
            own_user,
            reserved: vec![format!("{provider}-"), "host-".to_owned()],
            break_glass: BreakGlass::new(authorizer.clone()),
            authorizer,
            caches,
            clock,
        }
    }

    /// For what needs no API server: the manifests, and reviews that were saved.
    pub fn offline(own_user: impl Into<OwnUser>) -> Self {
        let caches = Caches::offline(&BareMetalHost::resource());
        Self::new(
            own_user.into(),
            "portal",
            Authorizer::offline(),
            caches,
            Clock::system(),
        )
    }

    /// Whom it lets through, once that is known.
    pub fn own_user(&self) -> Option<&str> {
        self.own_user.name()
    }

    async fn judge(
        &self,
        old: Option<&Reservation>,
        new: &Reservation,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        if self.own_user() == Some(cx.user().username()) || new.meta().deletion_timestamp.is_some()
        {
            return Ok(ValidationResult::success());
        }
        let namespace = cx.namespace().unwrap_or_default();
        let write = Write {
            old,
            new,
            username: cx.user().username(),
            reserved: &self.reserved,
            bookings: named_host(new)
                .map(|host| self.caches.bookings(namespace, host))
                .unwrap_or_default(),
            now: self.clock.now(),
        };
        let mut faults = check(&write);
        if faults.iter().all(|fault| fault.is_guard) {
            faults.extend(self.unreadable_secrets(old, new, cx).await?);
        }
        if faults.is_empty() {
            return Ok(warned(new));
        }
        let refusal = refusal(new, &faults);
        if !faults.iter().all(|fault| fault.is_guard) {
            return Ok(refusal);
        }
        let rule = faults[0].field.as_str();
        let annotations = old.map(ResourceExt::annotations);
        self.break_glass
            .apply(refusal, rule, annotations, new.annotations(), cx)
            .await
    }

    /// A Secret that is named here is put on a host by Harbormaster, which may read it: whoever
    /// names it must be allowed to read it themselves.
    async fn unreadable_secrets(
        &self,
        old: Option<&Reservation>,
        new: &Reservation,
        cx: &AdmissionContext<'_>,
    ) -> Result<Vec<FieldFault>, Fault> {
        let before: Vec<_> = old.map(secrets).unwrap_or_default();
        let mut faults = Vec::new();
        for (field, name) in secrets(new) {
            if before.contains(&(field, name)) {
                continue;
            }
            let wish = Wish {
                verb: "get",
                group: "",
                resource: "secrets",
                namespace: cx.namespace().unwrap_or_default(),
                name,
            };
            if !self.authorizer.may(cx.user(), wish).await? {
                faults.push(FieldFault {
                    field: format!("{field}.name"),
                    message: format!(
                        "{} may not read Secret {name}: name one that you may read",
                        cx.user().username()
                    ),
                    is_guard: false,
                });
            }
        }
        Ok(faults)
    }
}

impl ValidationWebhook<Reservation> for ReservationGuard {
    type Operations = (Create, Update);
}

impl ValidateCreate<Reservation> for ReservationGuard {
    async fn create(
        &self,
        object: &Reservation,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        self.judge(None, object, cx).await
    }
}

impl ValidateUpdate<Reservation> for ReservationGuard {
    async fn update(
        &self,
        old: &Old<'_, Reservation>,
        new: &Reservation,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let old = old.decode()?;
        self.judge(Some(&old), new, cx).await
    }
}

fn secrets(reservation: &Reservation) -> Vec<(&'static str, &str)> {
    let spec = &reservation.spec;
    let access = spec.access.as_ref();
    let provisioning = spec.provisioning.as_ref();
    let named: [(_, Option<&SecretReference>); 3] = [
        (
            "spec.access.userDataSecretRef",
            access.and_then(|access| access.user_data_secret_ref.as_ref()),
        ),
        (
            "spec.provisioning.networkDataSecretRef",
            provisioning.and_then(|data| data.network_data_secret_ref.as_ref()),
        ),
        (
            "spec.provisioning.metaDataSecretRef",
            provisioning.and_then(|data| data.meta_data_secret_ref.as_ref()),
        ),
    ];
    let named = named.into_iter();
    named
        .filter_map(|(field, secret)| Some((field, secret?.name.as_str())))
        .collect()
}

fn refusal(new: &Reservation, faults: &[FieldFault]) -> ValidationResult {
    let told: Vec<_> = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.field, fault.message))
        .collect();
    let message = format!("Reservation {} {}", new.name_any(), told.join("; "));
    let refusal = ValidationResult::fail(message)
        .with_code(422)
        .with_reason("Invalid");
    faults.iter().fold(refusal, |refusal, fault| {
        let reason = if fault.is_guard {
            CauseReason::Forbidden
        } else {
            CauseReason::Invalid
        };
        refusal.with_cause_of(reason, fault.field.as_str(), fault.message.as_str())
    })
}

/// What is let pass, but seldom meant.
fn warned(new: &Reservation) -> ValidationResult {
    let image = new.spec.provisioning.as_ref();
    let Some(image) = image.and_then(|provisioning| provisioning.image.as_ref()) else {
        return ValidationResult::success();
    };
    let needs_checksum = !image.url.starts_with("oci://")
        && image.format.as_deref() != Some("live-iso")
        && image.checksum.is_none();
    if needs_checksum {
        ValidationResult::success().with_warning(
            "spec.provisioning.image.checksum: the operator refuses images without a checksum",
        )
    } else {
        ValidationResult::success()
    }
}

#[cfg(test)]
mod tests;
