//! Fills in what people leave out of a Reservation, and writes its times in one way.
//!
//! Works on the JSON, since a time's text is lost on a typed object. Nothing that was
//! written is overruled, and a second run changes nothing more.

use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject, discovery::ApiResource};
use kube_webhook::{
    Fault,
    admission::{
        AdmissionContext, Create, MutateCreate, MutateUpdate, MutationResult, MutationWebhook, Old,
        Update,
    },
};
use serde_json::{Value, json};

use crate::api::{self, FINALIZER, HOST_LABEL};

/// The defaults of Reservations.
#[derive(Clone, Copy, Debug)]
pub struct ReservationDefaults;

impl ReservationDefaults {
    /// The kind that it is registered for, untyped.
    pub fn kind() -> ApiResource {
        ApiResource::erase::<api::v1::Reservation>(&())
    }
}

impl MutationWebhook<DynamicObject> for ReservationDefaults {
    type Operations = (Create, Update);
}

impl MutateCreate<DynamicObject> for ReservationDefaults {
    async fn create(
        &self,
        mut object: DynamicObject,
        cx: &AdmissionContext<'_>,
    ) -> Result<MutationResult<DynamicObject>, Fault> {
        let finalizers = object.finalizers_mut();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
        // A booking's requester comes with its event.
        if let Some(spec) = object.data.get_mut("spec").and_then(Value::as_object_mut)
            && !spec.contains_key("source")
        {
            let requester = spec.entry("requester").or_insert_with(|| json!({}));
            if let Some(requester) = requester.as_object_mut() {
                let username = cx.user().username();
                requester.entry("username").or_insert(username.into());
            }
        }
        normalise(&mut object);
        Ok(MutationResult::modified(object))
    }
}

impl MutateUpdate<DynamicObject> for ReservationDefaults {
    async fn update(
        &self,
        _: &Old<'_, DynamicObject>,
        mut new: DynamicObject,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<DynamicObject>, Fault> {
        normalise(&mut new);
        Ok(MutationResult::modified(new))
    }
}

fn normalise(object: &mut DynamicObject) {
    for end in ["/spec/window/start", "/spec/window/end"] {
        if let Some(time) = object.data.pointer_mut(end)
            && let Some(whole) = time.as_str().and_then(in_utc_seconds)
        {
            *time = Value::String(whole);
        }
    }
    let host = object.data.pointer("/spec/target/hostRef/name");
    let host = host.and_then(Value::as_str).map(str::to_owned);
    label(object, host);
}

/// For `kubectl get rsv -l`, where the name fits.
fn label(object: &mut DynamicObject, host: Option<String>) {
    match host.filter(|host| (1..=63).contains(&host.len())) {
        Some(host) => {
            object.labels_mut().insert(HOST_LABEL.to_owned(), host);
        }
        None if object.labels().contains_key(HOST_LABEL) => {
            object.labels_mut().remove(HOST_LABEL);
        }
        None => {}
    }
}

fn in_utc_seconds(text: &str) -> Option<String> {
    let time: Timestamp = text.parse().ok()?;
    let whole = Timestamp::from_second(time.as_second()).ok()?;
    Some(whole.to_string())
}
