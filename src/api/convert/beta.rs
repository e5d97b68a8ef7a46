//! `v1beta1` <-> `v1`.

use std::{collections::BTreeMap, time::Duration};

use kube_webhook::conversion::{ConversionError, Converter};
use serde_json::Value;

use super::{access, held, host, provisioning, unless_empty};
use crate::api::{span::Span, v1, v1beta1};

pub(super) struct FromV1beta1;

impl Converter for FromV1beta1 {
    type From = v1beta1::Reservation;
    type Storage = v1::Reservation;

    fn convert(&self, from: Self::From) -> Result<Self::Storage, ConversionError> {
        Ok(v1::Reservation {
            metadata: from.metadata,
            spec: spec_to_hub(from.spec),
            status: from.status.map(status_to_hub),
        })
    }

    fn revert(&self, storage: Self::Storage) -> Result<Self::From, ConversionError> {
        Ok(v1beta1::Reservation {
            metadata: storage.metadata,
            spec: spec_to_beta(storage.spec),
            status: storage.status.map(status_to_beta),
        })
    }
}

fn spec_to_hub(spec: v1beta1::ReservationSpec) -> v1::ReservationSpec {
    let event = spec.event_ref.unwrap_or_default();
    let user = spec.user.unwrap_or_default();
    let source = v1::Source {
        provider: event.provider,
        event_id: event.id,
        title: spec.title,
        ..v1::Source::default()
    };
    let requester = v1::Requester {
        id: user.id,
        username: user.name,
        email: user.email,
        groups: Vec::new(),
    };
    let resource = v1::BookedResource {
        name: spec.resource_name,
        site_id: spec.site_id,
        ..v1::BookedResource::default()
    };
    let lifecycle = v1::Lifecycle {
        desired_state: spec.cancelled.map(|cancelled| {
            if cancelled {
                v1::DesiredState::Released
            } else {
                v1::DesiredState::Scheduled
            }
        }),
        cleanup_time: spec.grace_period_seconds.and_then(gap),
        ..v1::Lifecycle::default()
    };
    v1::ReservationSpec {
        source: unless_empty(source),
        requester: unless_empty(requester),
        resource: unless_empty(resource),
        target: spec.host_ref.and_then(|reference| reference.name).map(host),
        window: v1::Window {
            start: spec.start_time,
            end: spec.end_time,
        },
        lifecycle: unless_empty(lifecycle),
        access: access(spec.ssh_authorized_keys, spec.user_data_secret_name),
        provisioning: spec.image.map(image_to_hub).map(provisioning),
        parameters: spec.parameters.map(|parameters| {
            let texts = parameters.into_iter();
            texts
                .map(|(key, text)| (key, Value::String(text)))
                .collect()
        }),
    }
}

fn spec_to_beta(spec: v1::ReservationSpec) -> v1beta1::ReservationSpec {
    let source = spec.source.unwrap_or_default();
    let requester = spec.requester.unwrap_or_default();
    let resource = spec.resource.unwrap_or_default();
    let lifecycle = spec.lifecycle.unwrap_or_default();
    let access = spec.access.unwrap_or_default();
    v1beta1::ReservationSpec {
        start_time: spec.window.start,
        end_time: spec.window.end,
        user: unless_empty(v1beta1::User {
            id: requester.id,
            name: requester.username,
            email: requester.email,
        }),
        ssh_authorized_keys: access
            .authorized_keys
            .into_iter()
            .map(|key| key.key)
            .collect(),
        user_data_secret_name: access.user_data_secret_ref.map(|secret| secret.name),
        host_ref: spec.target.and_then(|target| target.host_ref).map(|host| {
            v1beta1::HostReference {
                name: host.name,
                namespace: None,
            }
        }),
        event_ref: unless_empty(v1beta1::EventReference {
            id: source.event_id,
            provider: source.provider,
        }),
        title: source.title,
        resource_name: resource.name,
        site_id: resource.site_id,
        image: spec
            .provisioning
            .and_then(|provisioning| provisioning.image)
            .map(image_to_beta),
        parameters: spec.parameters.map(texts),
        cancelled: lifecycle.desired_state.and_then(|state| match state {
            v1::DesiredState::Released => Some(true),
            v1::DesiredState::Scheduled => Some(false),
            v1::DesiredState::Active => None,
        }),
        grace_period_seconds: lifecycle.cleanup_time.as_ref().and_then(whole_seconds),
    }
}

fn status_to_hub(status: v1beta1::ReservationStatus) -> v1::ReservationStatus {
    v1::ReservationStatus {
        phase: status.phase,
        host_ref: status.host.map(held),
        conditions: status.conditions,
        ..v1::ReservationStatus::default()
    }
}

fn status_to_beta(status: v1::ReservationStatus) -> v1beta1::ReservationStatus {
    v1beta1::ReservationStatus {
        phase: status.phase,
        host: status.host_ref.map(|host| host.name),
        conditions: status.conditions,
    }
}

fn image_to_hub(image: v1beta1::Image) -> v1::Image {
    v1::Image {
        url: image.url,
        checksum: image.checksum,
        checksum_type: image.checksum_type,
        format: image.format,
    }
}

fn image_to_beta(image: v1::Image) -> v1beta1::Image {
    v1beta1::Image {
        url: image.url,
        checksum: image.checksum,
        checksum_type: image.checksum_type,
        format: image.format,
    }
}

/// A text as it is, everything else as the JSON that it is.
fn texts(parameters: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let parameters = parameters.into_iter();
    parameters.map(|(key, value)| (key, text(value))).collect()
}

fn gap(seconds: i32) -> Option<Span> {
    let seconds = u64::try_from(seconds).ok()?;
    Some(Span::from(Duration::from_secs(seconds)))
}

fn whole_seconds(span: &Span) -> Option<i32> {
    i32::try_from(span.parse().ok()?.as_secs()).ok()
}
