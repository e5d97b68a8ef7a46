//! Which Reservation an event is about: its name is the idempotency key.
//!
//! `<provider>-<eventId>`, or `host-<resourceName>` for the shape that has no event id.
//! Where the text isn't already a DNS-1123 label, a hash of the whole of it stands at the
//! end, so that two bookings never share a name. Later objects of the same booking carry
//! `.2`, `.3`, ...: no base name holds a dot.

use std::fmt;

use sha2::{Digest, Sha256};

use super::event::Booking;

/// The name that all objects of one booking begin with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseName(String);

impl BaseName {
    /// The name for a booking.
    pub fn of(provider: &str, booking: &Booking) -> Self {
        match &booking.event_id {
            Some(event_id) => Self(one_to_one(provider, event_id)),
            None => Self(one_to_one(HOST, &booking.resource_name)),
        }
    }

    /// The name of the `n`th object, counted from 1.
    pub fn nth(&self, n: u32) -> String {
        match n {
            0 | 1 => self.0.clone(),
            n => format!("{}.{n}", self.0),
        }
    }

    /// Which object of this booking bears the name, if any does.
    pub fn number(&self, name: &str) -> Option<u32> {
        let rest = name.strip_prefix(&self.0)?;
        if rest.is_empty() {
            return Some(1);
        }
        let number: u32 = rest.strip_prefix('.')?.parse().ok()?;
        (self.nth(number) == name && number > 1).then_some(number)
    }
}

impl fmt::Display for BaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn one_to_one(prefix: &str, id: &str) -> String {
    let plain = !id.is_empty()
        && id.len() <= LONGEST_ID
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && id.ends_with(|last: char| last != '-');
    if plain {
        return format!("{prefix}-{id}");
    }
    let slug: String = id
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(LONGEST_ID)
        .collect();
    let digest = Sha256::digest(id.as_bytes());
    let hash: String = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match slug.trim_matches('-') {
        "" => format!("{prefix}-{hash}"),
        slug => format!("{prefix}-{slug}-{hash}"),
    }
}

/// Stands for the provider where an event has no id; no provider may be called so.
pub const HOST: &str = "host";

/// Leaves room for the provider, the hash and a number within the 63 of a label.
const LONGEST_ID: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(event_id: &str) -> String {
        let booking = Booking {
            event_id: Some(event_id.to_owned()),
            ..Booking::default()
        };
        BaseName::of("portal", &booking).to_string()
    }

    #[test]
    fn a_plain_id_is_seen_in_the_name() {
        assert_eq!(name("101"), "portal-101");
        let minimal = Booking {
            resource_name: "restart-srv01".to_owned(),
            ..Booking::default()
        };
        assert_eq!(
            BaseName::of("portal", &minimal).to_string(),
            "host-restart-srv01"
        );
    }

    #[test]
    fn ids_that_differ_only_in_what_a_name_cannot_hold_stay_apart() {
        let names = ["A", "a", "a.2", "a/2", "a 2", "-", "é", ""].map(name);
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }

    #[test]
    fn later_objects_of_a_booking_are_counted() {
        let base = BaseName("portal-101".to_owned());
        assert_eq!(base.number("portal-101"), Some(1));
        assert_eq!(base.number(&base.nth(12)), Some(12));
        for other in [
            "portal-1012",
            "portal-101.1",
            "portal-101.02",
            "portal-101.x",
            "portal-10",
        ] {
            assert_eq!(base.number(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_id_makes_a_dns_label_with_room_for_a_number(id in ".{0,300}") {
            let name = name(&id);
            prop_assert!(name.len() <= 55, "{name}");
            prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!name.ends_with('-') && !name.starts_with('-'));
        }
    }
}
