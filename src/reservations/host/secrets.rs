//! The user-data Secrets: writes and deletes only those that were made for the reservation.
//!
//! Anybody who may make a Reservation chooses its name, and with it the name of its Secret:
//! were that one overwritten blindly, a reservation called `x` would hand out, or destroy,
//! whatever Secret is called `x-userdata`. So a Secret is created, or changed only where it
//! bears the reservation's own uid; the test is part of the write. What is in it is never looked
//! at. Called by the writer of hosts.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde_json::{Value, json};

use super::{ApiError, is_refusal, within_deadline};
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

    /// Creates the Secret of a reservation, with nothing in it, or finds the one that it has.
    pub(super) async fn make(&self, reservation: &Reservation) -> Result<Made, ApiError> {
        let secret = user_data::empty_secret(reservation);
        let params = PostParams::default();
        let created = within_deadline(self.secrets.create(&params, &secret)).await;
        let there = match created {
            Ok(created) => created,
            Err(error) if error.is_conflict() => match self.patch_own(reservation, None).await? {
                Own::Patched(there) => *there,
                Own::Missing => return Err(ApiError::Overtaken),
                Own::Foreign => {
                    let name = user_data::secret_name(reservation);
                    return Err(ApiError::ForeignSecret(name));
                }
            },
            Err(error) => return Err(error),
        };
        Ok(Made {
            name: there.name_any(),
            uid: there.uid(),
        })
    }

    /// Writes the document into this Secret, and into no other that has come to bear its name.
    pub(super) async fn fill(
        &self,
        reservation: &Reservation,
        made: &Made,
        document: String,
    ) -> Result<(), ApiError> {
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": made.uid},
            {"op": "add", "path": "/data", "value": user_data::contents(document)},
        ]);
        match self.patch(&made.name, patch).await {
            Err(ApiError::Kube(kube::Error::Api(status))) if status.code == 404 => {
                Err(ApiError::Overtaken)
            }
            // The test has failed, or the Secret can't be written to: then it still is that one.
            Err(ApiError::Kube(kube::Error::Api(status))) if status.code == 422 => {
                match self.patch_own(reservation, None).await? {
                    Own::Patched(there) if there.uid() == made.uid => {
                        Err(kube::Error::Api(status).into())
                    }
                    Own::Foreign | Own::Missing | Own::Patched(_) => Err(ApiError::Overtaken),
                }
            }
            filled => filled.map(drop),
        }
    }

    /// Deletes the Secret of a reservation; another's of that name stays.
    pub(super) async fn remove(&self, reservation: &Reservation) -> Result<(), ApiError> {
        let Own::Patched(secret) = self.patch_own(reservation, None).await? else {
            return Ok(());
        };
        // One that others keep by a finalizer stays, and one that is immutable stays full until
        // it goes. Both at once must not count as gone.
        let emptied = json!({"op": "add", "path": "/data", "value": {}});
        let refusal = match self.patch_own(reservation, Some(emptied)).await {
            Err(ApiError::Kube(kube::Error::Api(status))) if is_refusal(&status) => Some(status),
            emptied => emptied.map(|_| None)?,
        };
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: secret.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let name = user_data::secret_name(reservation);
        let deleted = within_deadline(self.secrets.delete(&name, &params)).await;
        match (deleted, refusal) {
            (Err(ApiError::Kube(kube::Error::Api(status))), _)
                if matches!(status.code, 404 | 409) =>
            {
                Ok(())
            }
            (Ok(deleted), Some(refusal)) if deleted.is_left() => {
                Err(kube::Error::Api(refusal).into())
            }
            (deleted, _) => deleted.map(drop),
        }
    }

    async fn patch_own(
        &self,
        reservation: &Reservation,
        operation: Option<Value>,
    ) -> Result<Own, ApiError> {
        let test = json!({
            "op": "test",
            "path": "/metadata/ownerReferences/0/uid",
            "value": reservation.uid(),
        });
        let operations = [test].into_iter().chain(operation).collect();
        let name = user_data::secret_name(reservation);
        match self.patch(&name, operations).await {
            Ok(secret) => Ok(Own::Patched(Box::new(secret))),
            Err(ApiError::Kube(kube::Error::Api(status))) if status.code == 404 => Ok(Own::Missing),
            Err(ApiError::Kube(kube::Error::Api(status))) if is_failed_test(&status) => {
                Ok(Own::Foreign)
            }
            Err(error) => Err(error),
        }
    }

    async fn patch(&self, name: &str, operations: Value) -> Result<Secret, ApiError> {
        let patch: json_patch::Patch =
            serde_json::from_value(operations).expect("these are JSON patch operations (RFC 6902)");
        let (params, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
        within_deadline(self.secrets.patch(name, &params, &patch)).await
    }
}

/// A Secret that is there, as the very one.
#[derive(Clone, Debug)]
pub struct Made {
    name: String,
    uid: Option<String>,
}

enum Own {
    Foreign,
    Missing,
    Patched(Box<Secret>),
}

/// What the API server says to a test that fails, or has nothing to look at. Where it is the
/// schema or a policy that says no, the Secret is named.
fn is_failed_test(status: &Status) -> bool {
    let details = status.details.as_ref();
    status.code == 422 && details.is_none_or(|details| details.name.is_empty())
}
