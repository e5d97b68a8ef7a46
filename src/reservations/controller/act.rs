//! What a pass does about what was decided: stores the status, then takes one step, each on
//! the very version that was decided on. Called by the controller's pass.

use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use metal3::BareMetalHost;
use serde_json::{Value, json};
use tracing::info;

use super::{Context, living::is_over, look::FoundCalendar};
use crate::{
    api::{
        self,
        v1::{Phase, Reservation, ReservationStatus},
    },
    reservations::{
        decide::Action,
        host::{ApiError, FIELD_MANAGER, within_deadline},
        lookup::Lookup,
        user_data,
    },
};

/// Gives back the reservation as it is stored now: what follows must carry its version.
pub(super) async fn store_status(
    reservation: Reservation,
    status: &ReservationStatus,
    context: &Context,
) -> Result<Reservation, ApiError> {
    if reservation.status.as_ref() == Some(status) {
        return Ok(reservation);
    }
    let name = reservation.name_any();
    let before = reservation.status.clone().unwrap_or_default();
    if before.phase != status.phase {
        let told = |phase: Option<Phase>| {
            phase.map_or_else(|| "none".to_owned(), |phase| format!("{phase:?}"))
        };
        let (from, to) = (told(before.phase), told(status.phase));
        info!(reservation = name, "phase {from} -> {to}");
    }
    let patch = json!({
        "apiVersion": <Reservation as kube::Resource>::api_version(&()),
        "kind": <Reservation as kube::Resource>::kind(&()),
        "metadata": {"resourceVersion": reservation.resource_version()},
        "status": status,
    });
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&patch);
    let stored = within_deadline(context.reservations.patch_status(&name, &apply, &patch)).await?;
    context.metrics.status_stored(&before, status);
    if let Some(news) = &context.news {
        news.tell(&stored, &before);
    }
    Ok(stored)
}

/// Takes the one step.
pub(super) async fn act(
    action: &Action,
    reservation: Reservation,
    host: &Lookup,
    calendar: &FoundCalendar,
    context: &Context,
) -> Result<(), ApiError> {
    let name = reservation.name_any();
    let writer = &context.writer;
    match (action, host) {
        (Action::Wait, _) => Ok(()),
        (Action::Finish { status }, _) => {
            writer.remove_user_data(&reservation).await?;
            store_status(reservation, status, context).await?;
            Ok(())
        }
        (Action::AddFinalizer, _) => {
            let mut finalizers = reservation.finalizers().to_vec();
            finalizers.push(api::FINALIZER.to_owned());
            finalize(&reservation, finalizers, context).await
        }
        (Action::Forget, _) => {
            let others = reservation.finalizers().iter();
            let others = others.filter(|other| *other != api::FINALIZER).cloned();
            finalize(&reservation, others.collect(), context).await
        }
        (Action::Delete, _) => {
            // This record, and no other that has come to bear its name since.
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: reservation.uid(),
                    resource_version: reservation.resource_version(),
                }),
                ..DeleteParams::default()
            };
            within_deadline(context.reservations.delete(&name, &params)).await?;
            Ok(())
        }
        (Action::WriteCalendar { host: name, status }, host) => {
            let owner = match host {
                Lookup::Found(host) if host.name() == name => Some(&**host),
                _ => None,
            };
            let store = &context.calendar_store;
            let read = calendar.stored.as_ref();
            store.write(name, read, owner, status).await
        }
        (Action::Claim, Lookup::Found(host)) => writer.claim(host, &reservation).await,
        (Action::Clear, Lookup::Found(host)) => writer.clear(host, &reservation).await,
        (Action::Free { image }, Lookup::Found(host)) => {
            writer.free(host, &reservation, image.as_deref()).await
        }
        (Action::Provision(deployment), Lookup::Found(host)) => {
            if user_data::is_made(&reservation) {
                write_user_data(host, &reservation, context).await?;
            }
            writer.provision(host, &reservation, deployment).await
        }
        (Action::Claim | Action::Clear | Action::Free { .. } | Action::Provision(_), _) => Ok(()),
    }
}

/// Writes the keys, though another replica may have brought the reservation to its end while
/// this one was stopped, and then nobody would look for them any more.
///
/// Whoever ends a reservation first marks it as over, then takes its Secret away, by the uid.
/// Here an empty Secret is made, then the mark is looked for, and only that same Secret is
/// filled: where there was no mark, the Secret is there for whoever sets it later. A replica
/// that dies on the way leaves an empty one.
async fn write_user_data(
    host: &BareMetalHost,
    reservation: &Reservation,
    context: &Context,
) -> Result<(), ApiError> {
    let writer = &context.writer;
    let document = writer.user_data(host, reservation).await?;
    let secret = writer.make_user_data(reservation).await?;
    if is_over(reservation, context).await? {
        writer.remove_user_data(reservation).await?;
        return Err(ApiError::Overtaken);
    }
    writer.fill_user_data(reservation, &secret, document).await
}

async fn finalize(
    reservation: &Reservation,
    finalizers: Vec<String>,
    context: &Context,
) -> Result<(), ApiError> {
    let patch: Value = json!({"metadata": {
        "resourceVersion": reservation.resource_version(),
        "finalizers": finalizers,
    }});
    let name = reservation.name_any();
    let params = PatchParams::default();
    within_deadline(
        context
            .reservations
            .patch(&name, &params, &Patch::Merge(&patch)),
    )
    .await?;
    Ok(())
}
