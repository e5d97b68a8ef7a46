//! Spoke <-> hub, field by field, and nothing else: no clock, no client, no defaults.
//!
//! Lossy on purpose: what a version can't express is the framework's remainder to carry
//! (an annotation), so each function only says how a field looks on the other side. Odd
//! data converts to less, never to an error, since one failed object fails a whole LIST.

mod alpha;
mod beta;

use kube_webhook::conversion::{ConversionWebhook, Converters};

use self::{alpha::FromV1alpha1, beta::FromV1beta1};
use super::v1;

/// The Reservation's conversion: `v1` in the middle.
#[derive(Clone, Copy, Debug)]
pub struct ReservationConversion;

impl ConversionWebhook for ReservationConversion {
    type Storage = v1::Reservation;

    fn converters(&self) -> Converters<Self::Storage> {
        Converters::new().add(FromV1beta1).add(FromV1alpha1)
    }
}

/// A group of fields none of which is set is absent, so that both ways agree.
fn unless_empty<T: Default + PartialEq>(group: T) -> Option<T> {
    (group != T::default()).then_some(group)
}

fn host(name: String) -> v1::Target {
    v1::Target {
        host_ref: Some(v1::HostReference { name: Some(name) }),
        selector: None,
    }
}

fn held(name: String) -> v1::HeldHost {
    v1::HeldHost {
        name,
        ..v1::HeldHost::default()
    }
}

fn access(keys: Vec<String>, user_data: Option<String>) -> Option<v1::Access> {
    unless_empty(v1::Access {
        authorized_keys: keys
            .into_iter()
            .map(|key| v1::AuthorizedKey { name: None, key })
            .collect(),
        user_data_secret_ref: user_data.map(|name| v1::SecretReference { name }),
    })
}

fn provisioning(image: v1::Image) -> v1::Provisioning {
    v1::Provisioning {
        image: Some(image),
        ..v1::Provisioning::default()
    }
}

#[cfg(test)]
mod tests;
