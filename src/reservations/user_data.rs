//! What a host learns at its first boot: a Secret with a cloud-init document.
//!
//! The document is built as data and then written, never pasted together as text, so that
//! nothing in a key can become another line of it. It has no password and names no user of
//! its own: the keys go to the image's default user. A site may have a template of its own.

mod template;

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde::Serialize;

pub use self::template::{Template, TemplateError};
use crate::{api::v1::Reservation, ssh::PublicKey};

/// The name of a reservation's Secret.
pub fn secret_name(reservation: &Reservation) -> String {
    format!("{}-userdata", reservation.name_any())
}

/// The Secret that the host is given: one that the reservation names, else the one made for
/// it.
pub fn given_name(reservation: &Reservation) -> String {
    let access = reservation.spec.access.as_ref();
    let named = access.and_then(|access| access.user_data_secret_ref.as_ref());
    named.map_or_else(|| secret_name(reservation), |named| named.name.clone())
}

/// Whether the Secret is made for the reservation.
pub fn is_made(reservation: &Reservation) -> bool {
    let access = reservation.spec.access.as_ref();
    access.is_none_or(|access| access.user_data_secret_ref.is_none())
}

/// Whether anybody can log in; of user data that somebody else wrote we must think so.
pub fn lets_somebody_in(reservation: &Reservation) -> bool {
    !is_made(reservation) || !accepted_keys(reservation).is_empty()
}

/// The Secret of a reservation, before anything is in it. Owned by it, so that a lost one is
/// collected.
pub fn empty_secret(reservation: &Reservation) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(secret_name(reservation)),
            namespace: reservation.namespace(),
            owner_references: reservation.owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// What the host's operator looks for in it.
pub fn contents(document: String) -> BTreeMap<&'static str, ByteString> {
    BTreeMap::from([("userData", ByteString(document.into_bytes()))])
}

/// The keys that go on the host. Their form is checked again: a Reservation made by hand
/// never passed the event door.
pub fn accepted_keys(reservation: &Reservation) -> Vec<PublicKey> {
    reservation
        .authorized_keys()
        .iter()
        .filter_map(|key| PublicKey::parse(&key.key))
        .collect()
}

#[derive(Serialize)]
struct CloudConfig<'a> {
    ssh_pwauth: bool,
    disable_root: bool,
    ssh_authorized_keys: Vec<&'a str>,
}

/// The document of a site that has no template.
pub fn built_in(reservation: &Reservation) -> String {
    let keys = accepted_keys(reservation);
    let config = CloudConfig {
        ssh_pwauth: false,
        disable_root: true,
        ssh_authorized_keys: keys.iter().map(PublicKey::as_str).collect(),
    };
    // JSON is YAML (YAML 1.2, section 1.3), with the one quoting that nothing escapes from.
    let json = serde_json::to_string_pretty(&config).expect("strings and bools are JSON");
    format!("#cloud-config\n{json}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::{Access, AuthorizedKey};

    fn with_keys(keys: &[&str]) -> Reservation {
        let mut reservation = Reservation::default();
        reservation.metadata.name = Some("portal-101".to_owned());
        reservation.spec.access = Some(Access {
            authorized_keys: keys
                .iter()
                .map(|key| AuthorizedKey {
                    name: None,
                    key: (*key).to_owned(),
                })
                .collect(),
            ..Access::default()
        });
        reservation
    }

    fn keys_of(document: &str) -> Vec<String> {
        assert!(document.starts_with("#cloud-config\n"));
        #[derive(serde::Deserialize)]
        struct Read {
            ssh_authorized_keys: Vec<String>,
        }
        serde_saphyr::from_str::<Read>(document)
            .unwrap()
            .ssh_authorized_keys
    }

    #[test]
    fn the_secret_holds_exactly_the_users_keys() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 mario: \"x\" # {y}";
        let reservation = with_keys(&[key]);
        let contents = contents(built_in(&reservation));
        let document = String::from_utf8(contents["userData"].0.clone()).unwrap();
        assert_eq!(keys_of(&document), [key]);
        let secret = empty_secret(&reservation);
        assert_eq!(secret.metadata.name.as_deref(), Some("portal-101-userdata"));
    }

    #[test]
    fn a_key_that_is_not_one_never_reaches_the_host() {
        let document = built_in(&with_keys(&["ssh-rsa AAAA\n- name: evil", "#cloud-config"]));
        assert_eq!(keys_of(&document), Vec::<String>::new());
        assert!(!document.contains("evil"));
    }
}
