//! The user-data Secrets: writes and deletes only those that were made for the reservation.
//!
//! Anybody who may make a Reservation chooses its name, and with it the name of its Secret:
//! were that one overwritten blindly, a reservation called `x` would hand out, or destroy,
//! whatever Secret is called `x-userdata`. So a Secret is created, or changed only where it
//! bears the reservation's own uid; the test is part of the write. It is never read. Called
//! by the writer of hosts.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};

use super::{ApiError, within_deadline};
use crate::{api::v1::Reservation, reservations::user_data};

/// Writes user-data Secrets.
#[derive(Clone, Debug)]
pub(super) struct Secrets {
    secrets: Api<Secret>,
}

impl Secrets {
    pub(super) fn new(secrets: Api<Secret>) -> Self {
        Self { secrets }
    }

    /// Creates the Secret of a reservation, or writes over the one that it has.
    pub(super) async fn put(
        &self,
        reservation: &Reservation,
        document: String,
    ) -> Result<(), ApiError> {
        let secret = user_data::secret(reservation, document);
        let params = PostParams::default();
        match within_deadline(self.secrets.create(&params, &secret)).await {
            Err(error) if error.is_conflict() => {}
            other => return other.map(drop),
        }
        let data = json!({"op": "add", "path": "/data", "value": secret.data});
        match self.patch_own(reservation, data).await? {
            Own::Patched(_) => Ok(()),
            // Gone in between: the next pass creates it.
            Own::Missing => Err(ApiError::Timeout),
            Own::Foreign => Err(ApiError::ForeignSecret(user_data::secret_name(reservation))),
        }
    }

    /// Deletes the Secret of a reservation; another's of that name stays.
    pub(super) async fn remove(&self, reservation: &Reservation) -> Result<(), ApiError> {
        let emptied = json!({"op": "add", "path": "/data", "value": {}});
        let Own::Patched(secret) = self.patch_own(reservation, emptied).await? else {
            return Ok(());
        };
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: secret.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let name = user_data::secret_name(reservation);
        match within_deadline(self.secrets.delete(&name, &params)).await {
            Err(ApiError::Kube(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    async fn patch_own(
        &self,
        reservation: &Reservation,
        operation: Value,
    ) -> Result<Own, ApiError> {
        let test = json!({
            "op": "test",
            "path": "/metadata/ownerReferences/0/uid",
            "value": reservation.uid(),
        });
        let patch: json_patch::Patch = serde_json::from_value(json!([test, operation]))
            .expect("these are JSON patch operations (RFC 6902)");
        let name = user_data::secret_name(reservation);
        let params = PatchParams::default();
        let patch = Patch::Json::<()>(patch);
        let patched = self.secrets.patch(&name, &params, &patch);
        match within_deadline(patched).await {
            Ok(secret) => Ok(Own::Patched(Box::new(secret))),
            Err(ApiError::Kube(kube::Error::Api(status))) if status.code == 404 => Ok(Own::Missing),
            // What the API server says to a test that fails, or has nothing to look at.
            Err(ApiError::Kube(kube::Error::Api(status))) if status.code == 422 => Ok(Own::Foreign),
            Err(error) => Err(error),
        }
    }
}

enum Own {
    Foreign,
    Missing,
    Patched(Box<Secret>),
}
