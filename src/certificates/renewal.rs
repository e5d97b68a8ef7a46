//! Takes up a certificate that was renewed in its files (`TLS_MODE=files`), once callers would accept
//! it: with another CA, the file may be here before the CA is in each `caBundle`, or before each API
//! server has read it there, and every call in between would fail.
//!
//! Waits only as long as waiting helps: as long as a place accepts what is presented and would not
//! accept what is new. That ends by itself when the old certificate does. Whoever serves nobody (no
//! place leads here, or none accepts the old one either) has nothing to wait for, and neither has one
//! that can't ask. Writes nothing; run by the wiring.

use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use kube_webhook::{TlsIdentity, certs::verify};
use rustls::pki_types::CertificateDer;
use tracing::{info, warn};

use super::{
    Complaint,
    places::{Place, Places},
};
use crate::reservations::host::ApiError;

/// Looks at the files now and then, until `shutdown`.
pub(crate) async fn take_up(
    identity: TlsIdentity,
    places: Places,
    mut shutdown: BoxFuture<'static, ()>,
) {
    let mut waiting = None;
    let mut complaint = Complaint::default();
    loop {
        let pause = if waiting.is_some() { WAITING } else { PERIOD };
        tokio::select! {
            () = &mut shutdown => return,
            () = tokio::time::sleep(pause) => {}
        }
        tokio::select! {
            () = &mut shutdown => return,
            () = look(&identity, &places, &mut waiting, &mut complaint) => {}
        }
    }
}

/// A renewed chain that isn't presented yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    chain: Vec<CertificateDer<'static>>,
    since: SystemTime,
    /// Since when nobody would be lost by it.
    accepted_since: Option<SystemTime>,
}

/// What becomes of it now.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is presented, and in spite of what.
    Present(Option<String>),
    /// It isn't yet: what for, unless it's a matter of seconds.
    Wait(Option<String>),
}

async fn look(
    identity: &TlsIdentity,
    places: &Places,
    waiting: &mut Option<Waiting>,
    complaint: &mut Complaint,
) {
    let renewal = match identity.renewal().await {
        Ok(Some(renewal)) => renewal,
        Ok(None) => {
            *waiting = None;
            complaint.settle();
            return;
        }
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            if complaint.raise(&error) {
                warn!("serving certificate not renewed: {error}");
            }
            return;
        }
    };
    let now = SystemTime::now();
    waiting.take_if(|waiting| waiting.chain != renewal.chain());
    let this = waiting.get_or_insert_with(|| Waiting {
        chain: renewal.chain().to_vec(),
        since: now,
        accepted_since: None,
    });
    match this.judge(&identity.chain(), &places.read().await, now) {
        Verdict::Present(in_spite) => {
            renewal.present();
            *waiting = None;
            complaint.settle();
            match in_spite {
                Some(why) => warn!("serving certificate renewed, though {why}"),
                None => info!("serving certificate renewed"),
            }
        }
        Verdict::Wait(Some(why)) if complaint.raise(&why) => {
            warn!("a renewed certificate is held back: {why}");
        }
        Verdict::Wait(_) => {}
    }
}

impl Waiting {
    fn judge(
        &mut self,
        presented: &[CertificateDer<'_>],
        places: &Result<Vec<Place>, ApiError>,
        now: SystemTime,
    ) -> Verdict {
        let waited = now.duration_since(self.since).unwrap_or_default();
        let places = match places {
            Ok(places) => places,
            Err(_) if waited < UNASKED => return Verdict::Wait(None),
            Err(error) => {
                return Verdict::Present(Some(format!(
                    "the API server can't be asked whether it is trusted: {error}"
                )));
            }
        };
        // In good time: whoever is called in the last second answers in the next.
        let served = |place: &&Place| accepts(place, presented, now + MARGIN).is_ok();
        let mut served = places.iter().filter(served).peekable();
        if served.peek().is_none() {
            return Verdict::Present(None);
        }
        let lost = served.find_map(|place| {
            let error = accepts(place, &self.chain, now).err()?;
            Some(format!("{} doesn't accept it: {error:#}", place.name()))
        });
        match lost {
            Some(why) if waited >= LONGEST => Verdict::Present(Some(why)),
            Some(why) => {
                self.accepted_since = None;
                Verdict::Wait(Some(why))
            }
            None => {
                let since = *self.accepted_since.get_or_insert(now);
                if now < since + SETTLE {
                    Verdict::Wait(None)
                } else {
                    Verdict::Present(None)
                }
            }
        }
    }
}

fn accepts(place: &Place, chain: &[CertificateDer<'_>], at: SystemTime) -> anyhow::Result<()> {
    Ok(verify(chain, &place.trusted(), &place.server_name, at)?)
}

/// As often as the files of other certificates are looked at.
const PERIOD: Duration = Duration::from_secs(10);

/// The same while one is held back.
const WAITING: Duration = Duration::from_secs(2);

/// From when a bundle was read by us until each API server has: no API tells. As long as the
/// self-managed mode waits.
const SETTLE: Duration = Duration::from_secs(10);

/// An API server that is away calls nobody; one that only stumbles is asked again.
const UNASKED: Duration = Duration::from_secs(60);

/// Whoever exchanged a key that was stolen must not wait for the old certificate's end.
const LONGEST: Duration = Duration::from_secs(60 * 60);

const MARGIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use kube_webhook::certs::{Authority, certificates};

    use super::*;

    const NAME: &str = "h.n.svc";
    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn ca(name: &str) -> Authority {
        Authority::create(name, SystemTime::now(), HOUR * 24).unwrap()
    }

    fn leaf(ca: &Authority, lifetime: Duration) -> Vec<CertificateDer<'static>> {
        let pem = ca.issue(&[NAME.to_owned()], SystemTime::now(), lifetime);
        certificates(pem.unwrap().chain.as_bytes())
    }

    fn place(cas: &[&Authority]) -> Place {
        let pem: String = cas.iter().map(|ca| ca.pem().chain.clone()).collect();
        Place::of(NAME, pem.into_bytes())
    }

    fn waiting(chain: &[CertificateDer<'static>], since: SystemTime) -> Waiting {
        Waiting {
            chain: chain.to_vec(),
            since,
            accepted_since: None,
        }
    }

    fn is_held(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Wait(Some(_)))
    }

    #[test]
    fn it_waits_until_each_place_has_trusted_it_for_a_while() {
        let (old_ca, new_ca) = (ca("old"), ca("new"));
        let (old, new) = (leaf(&old_ca, HOUR), leaf(&new_ca, HOUR));
        let now = SystemTime::now();
        let mut waiting = waiting(&new, now);
        let (behind, ahead) = (place(&[&old_ca]), place(&[&old_ca, &new_ca]));
        let mixed = Ok(vec![ahead.clone(), behind]);
        assert!(is_held(&waiting.judge(&old, &mixed, now)));
        let all = Ok(vec![ahead.clone(), ahead]);
        let later = now + HOUR / 4;
        assert_eq!(waiting.judge(&old, &all, later), Verdict::Wait(None));
        let settled = later + SETTLE;
        assert_eq!(waiting.judge(&old, &all, settled), Verdict::Present(None));
        // What was trusted in between and isn't any more begins anew.
        assert!(is_held(&waiting.judge(&old, &mixed, settled)));
        assert_eq!(waiting.judge(&old, &all, settled), Verdict::Wait(None));
    }

    #[test]
    fn who_serves_nobody_has_nothing_to_wait_for() {
        let (old_ca, new_ca) = (ca("old"), ca("new"));
        let (old, new) = (leaf(&old_ca, HOUR), leaf(&new_ca, HOUR));
        let now = SystemTime::now();
        for places in [vec![], vec![place(&[])], vec![place(&[&new_ca])]] {
            let verdict = waiting(&new, now).judge(&old, &Ok(places), now);
            assert_eq!(verdict, Verdict::Present(None));
        }
        // The same once the old one ends.
        let places = Ok(vec![place(&[&old_ca])]);
        let mut waiting = waiting(&new, now + HOUR / 2);
        let shortly = now + HOUR - MARGIN * 2;
        assert!(is_held(&waiting.judge(&old, &places, shortly)));
        let verdict = waiting.judge(&old, &places, now + HOUR - MARGIN / 2);
        assert_eq!(verdict, Verdict::Present(None));
    }

    #[test]
    fn it_never_waits_for_ever() {
        let (old_ca, new_ca) = (ca("old"), ca("new"));
        let (old, new) = (leaf(&old_ca, HOUR * 8), leaf(&new_ca, HOUR * 8));
        let now = SystemTime::now();
        let mut waiting = waiting(&new, now);
        let places = Ok(vec![place(&[&old_ca])]);
        assert!(is_held(&waiting.judge(&old, &places, now + LONGEST / 2)));
        let verdict = waiting.judge(&old, &places, now + LONGEST);
        assert!(matches!(verdict, Verdict::Present(Some(_))), "{verdict:?}");
        let away = || Err(ApiError::Timeout);
        assert_eq!(waiting.judge(&old, &away(), now), Verdict::Wait(None));
        let verdict = waiting.judge(&old, &away(), now + UNASKED);
        assert!(matches!(verdict, Verdict::Present(Some(_))), "{verdict:?}");
    }
}
