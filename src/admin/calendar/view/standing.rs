//! How a reservation stands, in a word and with the reason.

use jiff::Timestamp;

use super::Tag;
use crate::{
    api::v1::{Phase, Reservation},
    reservations::reasons,
};

/// How a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Active,
    Provisioning,
    Releasing,
    Booked,
    Waiting,
    Failed,
    Over,
}

impl Standing {
    pub(super) fn of(reservation: &Reservation, now: Timestamp) -> Self {
        let phase = reservation.status.as_ref().and_then(|status| status.phase);
        match phase.unwrap_or_default() {
            Phase::Active => Self::Active,
            Phase::Provisioning => Self::Provisioning,
            Phase::Releasing => Self::Releasing,
            Phase::Failed => Self::Failed,
            Phase::Released => Self::Over,
            Phase::Pending => {
                let start = reservation.spec.window.start.as_ref();
                let is_due = start.is_some_and(|start| start.0 <= now);
                if condition(reservation, "Accepted").is_some_and(|it| it.1) && !is_due {
                    Self::Booked
                } else {
                    Self::Waiting
                }
            }
        }
    }

    /// Whether the host is its own.
    pub(super) fn holds(self) -> bool {
        matches!(self, Self::Active | Self::Provisioning | Self::Releasing)
    }

    pub(super) fn tag(self) -> Tag {
        let (word, class) = match self {
            Self::Active => ("in use", "active"),
            Self::Provisioning => ("being prepared", "preparing"),
            Self::Releasing => ("being wiped", "wiping"),
            Self::Booked => ("booked", "booked"),
            Self::Waiting => ("waiting", "waiting"),
            Self::Failed => ("failed", "failed"),
            Self::Over => ("over", "over"),
        };
        Tag {
            word: word.to_owned(),
            class,
        }
    }
}

/// Why it isn't ready: the condition's reason, as words. Its message is for those who may
/// read the object: it can hold what a machine or a person said.
pub(super) fn why(reservation: &Reservation) -> String {
    let of = |type_| condition(reservation, type_).filter(|it| !it.1);
    let reason = match Standing::of(reservation, Timestamp::MIN) {
        Standing::Failed => of("Provisioned").or_else(|| of("Ready")),
        _ => of("Ready").or_else(|| of("Accepted")),
    };
    let Some((reason, _)) = reason else {
        return "not looked at yet".to_owned();
    };
    let known = PLAIN.iter().find(|(known, _)| *known == reason);
    known.map_or_else(|| words(reason), |(_, plain)| (*plain).to_owned())
}

/// The reason, and whether it holds.
fn condition<'a>(reservation: &'a Reservation, type_: &str) -> Option<(&'a str, bool)> {
    let conditions = &reservation.status.as_ref()?.conditions;
    let found = conditions.iter().find(|it| it.type_ == type_)?;
    Some((&found.reason, found.status == "True"))
}

/// What has no plainer words: `HostPaused` becomes `host paused`.
fn words(reason: &str) -> String {
    let mut text = String::with_capacity(reason.len() + 4);
    for c in reason.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(c.to_lowercase());
    }
    text
}

/// The reasons that people meet most.
const PLAIN: &[(&str, &str)] = &[
    (reasons::CLAIMED_BY_OTHER, "somebody else uses the host"),
    (reasons::DEADLINE_EXCEEDED, "the host was not ready in time"),
    (reasons::HOST_AMBIGUOUS, "several hosts answer to that name"),
    (reasons::HOST_BUSY, "the host is not free yet"),
    (reasons::HOST_DELETING, "the host is being deleted"),
    (reasons::HOST_GONE, "the host was deleted"),
    (reasons::HOST_NOT_FOUND, "no host answers to that name"),
    (reasons::HOST_NOT_RESERVABLE, "the host can’t be lent"),
    (reasons::HOST_REFUSED, "the host can’t be changed"),
    (reasons::NO_HOST_FREE, "no fitting host is free yet"),
    (reasons::OVERLAP, "another booking has that time"),
    (
        reasons::RETRY_LIMIT_REACHED,
        "preparing the host failed again and again",
    ),
    (reasons::TEMPLATE_INVALID, "the site’s template is broken"),
    (reasons::WINDOW_EXPIRED, "its time passed without a host"),
];
