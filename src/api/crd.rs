//! The CustomResourceDefinitions, made from the types. Called by `generate` and the tests.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition,
};
use kube::{CustomResourceExt, core::crd::MergeError};

use super::{calendar, v1, v1alpha1, v1beta1};

/// The calendars' definition: one version, which needs no conversion.
pub fn calendars() -> CustomResourceDefinition {
    calendar::HostCalendar::crd()
}

/// The Reservation's definition: all versions served, `v1` stored, converted as `conversion`
/// says.
pub fn reservations(
    conversion: Option<CustomResourceConversion>,
) -> Result<CustomResourceDefinition, MergeError> {
    let mut crd = kube::core::crd::merge_crds(
        vec![
            v1::Reservation::crd(),
            v1beta1::Reservation::crd(),
            v1alpha1::Reservation::crd(),
        ],
        "v1",
    )?;
    crd.spec.conversion = conversion;
    Ok(crd)
}
