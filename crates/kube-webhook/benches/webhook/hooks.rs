//! The hooks that are called: rules such as operators have.

use std::collections::BTreeMap;

use kube_webhook::{
    Fault,
    admission::{
        AdmissionContext, MutateUpdate, MutationResult, MutationWebhook, Old, Update,
        ValidateUpdate, ValidationResult, ValidationWebhook,
    },
    conversion::{ConversionError, ConversionWebhook, Converter, Converters},
};

use crate::fixtures::{Bmc, Host, HostSpec, Narrow, NarrowChange, V1Host, V1HostSpec};

/// Judges the whole object.
pub(crate) struct Whole;

impl ValidationWebhook<Host> for Whole {
    type Operations = (Update,);
}

impl ValidateUpdate<Host> for Whole {
    async fn update(
        &self,
        _: &Old<'_, Host>,
        new: &Host,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let spec = &new.spec;
        Ok(if !is_mac(&spec.boot_mac_address) {
            ValidationResult::fail("spec.bootMACAddress is not a MAC address").with_code(422)
        } else if !spec.bmc.address.contains("://") {
            ValidationResult::fail("spec.bmc.address has no scheme").with_code(422)
        } else if !spec.image.url.starts_with("https://") {
            ValidationResult::fail("spec.image.url is not https").with_code(422)
        } else {
            ValidationResult::success()
        })
    }
}

/// Compares a field of the new object with that of the stored one, and decodes nothing else.
pub(crate) struct Unchanged;

impl ValidationWebhook<Narrow> for Unchanged {
    type Operations = (Update,);
}

impl ValidateUpdate<Narrow> for Unchanged {
    async fn update(
        &self,
        old: &Old<'_, Narrow>,
        new: &Narrow,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let old = old.decode()?;
        Ok(if old.spec.boot_mac_address == new.spec.boot_mac_address {
            ValidationResult::success()
        } else {
            ValidationResult::fail("spec.bootMACAddress can't change").with_code(422)
        })
    }
}

/// Adds a label, and rewrites a field.
pub(crate) struct Defaults;

impl MutationWebhook<Host> for Defaults {
    type Operations = (Update,);
}

impl MutateUpdate<Host> for Defaults {
    async fn update(
        &self,
        _: &Old<'_, Host>,
        mut new: Host,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Host>, Fault> {
        set(
            &mut new.metadata.labels,
            &mut new.spec.automated_cleaning_mode,
        );
        Ok(MutationResult::modified(new))
    }
}

/// The same of a view that has no more than that.
pub(crate) struct NarrowDefaults;

impl MutationWebhook<NarrowChange> for NarrowDefaults {
    type Operations = (Update,);
}

impl MutateUpdate<NarrowChange> for NarrowDefaults {
    async fn update(
        &self,
        _: &Old<'_, NarrowChange>,
        mut new: NarrowChange,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<NarrowChange>, Fault> {
        set(
            &mut new.metadata.labels,
            &mut new.spec.automated_cleaning_mode,
        );
        Ok(MutationResult::modified(new))
    }
}

fn set(labels: &mut Option<BTreeMap<String, String>>, cleaning: &mut Option<String>) {
    let labels = labels.get_or_insert_default();
    labels.insert("managed".to_owned(), "yes".to_owned());
    *cleaning = Some("disabled".to_owned());
}

pub(crate) struct Versions;

impl ConversionWebhook for Versions {
    type Storage = Host;

    fn converters(&self) -> Converters<Host> {
        Converters::new().add(V1ToV2)
    }
}

struct V1ToV2;

impl Converter for V1ToV2 {
    type From = V1Host;
    type Storage = Host;

    fn convert(&self, from: V1Host) -> Result<Host, ConversionError> {
        Ok(Host {
            metadata: from.metadata,
            spec: HostSpec {
                online: from.spec.online,
                boot_mac_address: from.spec.boot_mac_address,
                bmc: Bmc {
                    address: from.spec.bmc_address,
                    credentials_name: from.spec.bmc_credentials,
                },
                image: from.spec.image,
                automated_cleaning_mode: from.spec.automated_cleaning_mode,
            },
            status: from.status,
        })
    }

    fn revert(&self, to: Host) -> Result<V1Host, ConversionError> {
        Ok(V1Host {
            metadata: to.metadata,
            spec: V1HostSpec {
                online: to.spec.online,
                boot_mac_address: to.spec.boot_mac_address,
                bmc_address: to.spec.bmc.address,
                bmc_credentials: to.spec.bmc.credentials_name,
                image: to.spec.image,
                automated_cleaning_mode: to.spec.automated_cleaning_mode,
            },
            status: to.status,
        })
    }
}

fn is_mac(text: &str) -> bool {
    let mut parts = text.split(':');
    parts.by_ref().filter(|part| part.len() == 2).count() == 6
}
