//! `v1alpha1` <-> `v1`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_webhook::conversion::{ConversionError, Converter};
use serde_json::Value;

use super::{access, held, host, provisioning, unless_empty};
use crate::api::{v1, v1alpha1};

pub(super) struct FromV1alpha1;

impl Converter for FromV1alpha1 {
    type From = v1alpha1::Reservation;
    type Storage = v1::Reservation;

    fn convert(&self, from: Self::From) -> Result<Self::Storage, ConversionError> {
        Ok(v1::Reservation {
            metadata: from.metadata,
            spec: spec_to_hub(from.spec),
            status: from.status.map(status_to_hub),
        })
    }

    fn revert(&self, storage: Self::Storage) -> Result<Self::From, ConversionError> {
        Ok(v1alpha1::Reservation {
            metadata: storage.metadata,
            spec: spec_to_alpha(storage.spec),
            status: storage.status.map(status_to_alpha),
        })
    }
}

fn spec_to_hub(spec: v1alpha1::ReservationSpec) -> v1::ReservationSpec {
    let source = v1::Source {
        event_id: spec.event_id,
        webhook_id: spec.webhook_id,
        title: spec.event_title,
        ..v1::Source::default()
    };
    let requester = v1::Requester {
        id: spec.user_id,
        username: spec.username,
        email: spec.email,
        groups: Vec::new(),
    };
    let resource = v1::BookedResource {
        name: spec.resource_name,
        site_id: spec.site_id,
        ..v1::BookedResource::default()
    };
    let image = v1::Image {
        url: spec.image_url.unwrap_or_default(),
        checksum: spec.image_checksum,
        checksum_type: spec.image_checksum_type,
        format: None,
    };
    v1::ReservationSpec {
        source: unless_empty(source),
        requester: unless_empty(requester),
        resource: unless_empty(resource),
        target: spec.bmh_name.map(host),
        window: v1::Window {
            start: spec.start_time.as_deref().and_then(instant),
            end: spec.end_time.as_deref().and_then(instant),
        },
        lifecycle: None,
        access: access(
            spec.ssh_public_key.into_iter().collect(),
            spec.user_data_secret_name,
        ),
        provisioning: unless_empty(image).map(provisioning),
        parameters: spec
            .custom_parameters
            .and_then(|text| serde_json::from_str(&text).ok()),
    }
}

fn spec_to_alpha(spec: v1::ReservationSpec) -> v1alpha1::ReservationSpec {
    let source = spec.source.unwrap_or_default();
    let requester = spec.requester.unwrap_or_default();
    let resource = spec.resource.unwrap_or_default();
    let image = spec.provisioning.unwrap_or_default().image;
    let (image_url, image_checksum, image_checksum_type) = match image {
        Some(image) => (Some(image.url), image.checksum, image.checksum_type),
        None => (None, None, None),
    };
    let access = spec.access.unwrap_or_default();
    v1alpha1::ReservationSpec {
        start_time: spec.window.start.map(|time| time.0.to_string()),
        end_time: spec.window.end.map(|time| time.0.to_string()),
        user_id: requester.id,
        username: requester.username,
        email: requester.email,
        ssh_public_key: access.authorized_keys.into_iter().next().map(|key| key.key),
        user_data_secret_name: access.user_data_secret_ref.map(|secret| secret.name),
        bmh_name: spec
            .target
            .and_then(|target| target.host_ref)
            .and_then(|host| host.name),
        event_id: source.event_id,
        webhook_id: source.webhook_id,
        event_title: source.title,
        resource_name: resource.name,
        site_id: resource.site_id,
        image_url,
        image_checksum,
        image_checksum_type,
        custom_parameters: spec
            .parameters
            .map(|parameters| Value::from_iter(parameters).to_string()),
    }
}

fn status_to_hub(status: v1alpha1::ReservationStatus) -> v1::ReservationStatus {
    v1::ReservationStatus {
        phase: status.state,
        host_ref: status.host.map(held),
        ..v1::ReservationStatus::default()
    }
}

fn status_to_alpha(status: v1::ReservationStatus) -> v1alpha1::ReservationStatus {
    v1alpha1::ReservationStatus {
        state: status.phase,
        message: status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready")
            .map(|condition| condition.message),
        host: status.host_ref.map(|host| host.name),
    }
}

fn instant(text: &str) -> Option<Time> {
    text.parse::<jiff::Timestamp>().ok().map(Time)
}
