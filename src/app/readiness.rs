//! What keeps a replica from being ready: the verdicts that stand behind `/readyz`.

use crate::{
    admin::{Check, Verdict},
    certificates::{Standing, Trusted},
    events::signature::Secrets,
    reservations::caches::{Caches, Freshness},
};

/// Whether there is a sender whose events can be taken.
pub(super) fn senders(secrets: Secrets) -> Check {
    Check::new("events", move || {
        if secrets.is_unsigned_mode() {
            Verdict::ReadyBut("no WEBHOOK_SECRET is set, so signatures are not checked".to_owned())
        } else if secrets.refuses_all() {
            Verdict::Unready("WEBHOOK_SECRETS_DIR holds no secret: every event gets 401".to_owned())
        } else {
            Verdict::Ready
        }
    })
}

/// Whether API servers will accept what we present.
pub(super) fn trust(trusted: Trusted) -> Check {
    Check::new("trust", move || match trusted.standing() {
        Standing::Unasked => {
            Verdict::Unready("the API server hasn't said yet whom it trusts".to_owned())
        }
        Standing::Unregistered => Verdict::ReadyBut("no webhook leads to us yet".to_owned()),
        Standing::Accepted => Verdict::Ready,
        Standing::Refused(why) => {
            Verdict::Unready(format!("{why}; `harbormaster check` says what to do"))
        }
        // To go would help no caller, as the others present the same, and would close the door
        // for events, which nobody sends twice.
        Standing::Lost(why) => Verdict::ReadyBut(format!(
            "API servers can't call us: {why}; `harbormaster check` says what to do"
        )),
    })
}

/// Whether the hooks know what they are asked about.
pub(super) fn caches(caches: Caches) -> Check {
    Check::new("caches", move || match caches.freshness() {
        Freshness::Unknown => {
            Verdict::Unready("hosts, calendars and Reservations weren't read yet".to_owned())
        }
        // Others know no better, and an event can still be taken.
        Freshness::AsOf(time) => Verdict::ReadyBut(format!("what is known is of {time}")),
        Freshness::Current => Verdict::Ready,
    })
}
