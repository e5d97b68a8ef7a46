//! Carries out what `kube_webhook::certs::rotation` decides: reads what is there, decides, takes
//! one step, looks again.
//!
//! The published bundles are read first, the CAs last, and each write carries the version that was
//! read. So a rotator that was overtaken, by another replica or by a person, can't publish CAs
//! older than those that are published, nor serve a leaf of a CA that was retired.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::select};
use jiff::Timestamp;
use kube_webhook::{
    TlsError, TlsIdentity,
    certs::{
        self, Authority, Pem, Validity, bundle, certificates,
        rotation::{self, By, Plan, State, Step},
        verify,
    },
};
use rustls::pki_types::CertificateDer;
use tracing::{info, warn};

use super::{
    Complaint, SelfManaged,
    places::{Place, Places},
    secrets::{Authorities, Leaf, Secrets},
};
use crate::{
    config::AltName,
    manifests::{CA_SECRET, TLS_SECRET},
    reservations::host::ApiError,
};

/// Keeps the CAs and the leaf.
#[derive(Clone, Debug)]
pub(crate) struct Rotator {
    places: Places,
    secrets: Secrets,
    settings: SelfManaged,
}

/// Why a step wasn't taken.
#[derive(Debug, thiserror::Error)]
enum RotationError {
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("{0}: check TLS_EXTRA_NAMES")]
    Make(#[from] TlsError),
    #[error("callers wouldn't accept a certificate for {0}: check TLS_EXTRA_NAMES")]
    Unacceptable(String),
    #[error(
        "Secret {TLS_SECRET} is cert-manager's: delete its Certificate and the Secret, or set \
         TLS_MODE=files"
    )]
    CertManager,
}

/// All that was read, once, and what follows from it.
struct Look {
    places: Vec<Place>,
    leaf: Leaf,
    cas: Authorities,
    names: Vec<String>,
    state: State<CertificateDer<'static>>,
    now: SystemTime,
    plan: Plan,
}

/// Since when the next CA has been seen everywhere.
type Seen = Option<(CertificateDer<'static>, SystemTime)>;

impl Rotator {
    pub(crate) fn new(places: Places, secrets: Secrets, settings: SelfManaged) -> Self {
        Self {
            places,
            secrets,
            settings,
        }
    }

    /// Works until `end`; a step that is under way then is finished first, a look is not.
    pub(crate) async fn run(self, end: BoxFuture<'static, ()>) {
        let end = end.shared();
        let changes = select(self.places.changes(), self.secrets.changes());
        let mut changes = changes.take_until(end.clone());
        let mut seen = None;
        let mut complaint = Complaint::default();
        loop {
            let look = tokio::select! {
                () = end.clone() => return,
                look = self.look(&mut seen) => look,
            };
            let taken = match look {
                Ok(look) => self.take(look).await,
                Err(error) => Err(error),
            };
            let pause = match taken {
                Ok(Plan {
                    step: Step::Wait,
                    wake,
                    ..
                }) => {
                    complaint.settle();
                    let left = wake.duration_since(SystemTime::now()).unwrap_or_default();
                    left.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
                }
                Ok(_) => Duration::ZERO,
                // Whoever overtook us has changed what there is to do.
                Err(RotationError::Api(error)) if error.is_conflict() => SHORTEST_PAUSE,
                Err(error) => {
                    let text = error.to_string();
                    if complaint.raise(&text) {
                        warn!("certificates can't be kept: {text}");
                    }
                    RETRY
                }
            };
            if let Ok(None) = tokio::time::timeout(pause, changes.next()).await {
                return;
            }
        }
    }

    async fn look(&self, seen: &mut Seen) -> Result<Look, RotationError> {
        let places = self.places.read().await;
        let leaf = self.secrets.leaf().await?;
        if leaf.is_cert_managers {
            return Err(RotationError::CertManager);
        }
        let cas = self.secrets.authorities().await?;
        let places = match places {
            Ok(places) => places,
            Err(error) => {
                self.renew(&leaf, &cas).await?;
                return Err(error.into());
            }
        };
        // Where cert-manager was asked to write, two would write in turns.
        let names = self.names(&places);
        let is_ours = |place: &Place| !place.is_injected;
        let places: Vec<_> = places.into_iter().filter(is_ours).collect();
        let now = SystemTime::now();
        let state = state(&places, &leaf, &cas, &names, now);
        let next = state.next.as_ref().map(|ca| &ca.id);
        let since = seen.as_ref().filter(|(id, _)| Some(id) == next);
        let plan = state.decide(since.map(|(_, since)| *since), now, &self.settings.timing);
        *seen = next.cloned().zip(plan.seen_since);
        Ok(Look {
            places,
            leaf,
            cas,
            names,
            state,
            now,
            plan,
        })
    }

    /// Issues a leaf, if one is due, where it can't be told whom callers trust: one object that can't be
    /// read must not let it end. Which names are registered isn't known then, either, so that it keeps
    /// those that it has.
    async fn renew(&self, leaf: &Leaf, cas: &Authorities) -> Result<(), RotationError> {
        let Some(signing) = &cas.signing else {
            return Ok(());
        };
        let mut names: BTreeSet<AltName> = self.settings.names.iter().cloned().collect();
        let present = leaf.pem.as_ref().and_then(|pem| {
            let chain = certificates(pem.chain.as_bytes());
            chain.first().map(certs::names)
        });
        let present = present.into_iter().flatten();
        names.extend(present.filter_map(|name| name.parse().ok()));
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let now = SystemTime::now();
        let due = state(&[], leaf, cas, &names, now).renewal(now);
        if due.is_some_and(|due| due <= now) {
            self.store_leaf(leaf, signing, &names, now).await?;
        }
        Ok(())
    }

    async fn store_leaf(
        &self,
        before: &Leaf,
        by: &Authority,
        names: &[String],
        now: SystemTime,
    ) -> Result<(), RotationError> {
        let pem = issue(by, names, now, self.settings.timing.leaf)?;
        self.secrets.store_leaf(before, &pem).await?;
        info!(secret = TLS_SECRET, ?names, "issued a serving certificate");
        Ok(())
    }

    /// Takes the step that the plan is about.
    async fn take(&self, look: Look) -> Result<Plan, RotationError> {
        let Look {
            places,
            leaf,
            mut cas,
            names,
            state,
            now,
            plan,
        } = look;
        match plan.step {
            Step::Begin => {
                begin(&state, &mut cas, now, self.settings.timing.ca)?;
                self.secrets.store_authorities(&cas).await?;
                info!(secret = CA_SECRET, "a new CA is there");
            }
            Step::Publish => {
                self.places
                    .publish(&bundle(&state.bundle()), &places)
                    .await?;
                let cas = state.bundle().len();
                info!(cas, "published whom API servers are to trust");
            }
            Step::Issue(by) => {
                let authority = match by {
                    By::Signing => cas.signing.as_ref(),
                    By::Next => cas.next.as_ref(),
                };
                if let Some(authority) = authority {
                    self.store_leaf(&leaf, authority, &names, now).await?;
                }
            }
            Step::Promote => {
                let before = cas.signing.take();
                cas.old.extend(before.map(|ca| ca.certificate().clone()));
                cas.signing = cas.next.take();
                self.secrets.store_authorities(&cas).await?;
                info!(
                    secret = CA_SECRET,
                    "the new CA is trusted everywhere, and issues from now on"
                );
            }
            Step::Retire => {
                cas.old.clear();
                self.secrets.store_authorities(&cas).await?;
                info!(secret = CA_SECRET, "the old CA is trusted no more");
            }
            Step::Wait => {}
        }
        Ok(plan)
    }

    /// By which names we are called: as we are registered, and as we were told.
    fn names(&self, places: &[Place]) -> Vec<String> {
        // One that can't be in a certificate is not worth going without one.
        let registered = places
            .iter()
            .filter_map(|place| place.server_name.parse().ok());
        let told = self.settings.names.iter().cloned();
        let names: BTreeSet<AltName> = registered.chain(told).collect();
        names.iter().map(ToString::to_string).collect()
    }
}

/// What was read, as the rotation knows it.
fn state(
    places: &[Place],
    leaf: &Leaf,
    cas: &Authorities,
    names: &[String],
    now: SystemTime,
) -> State<CertificateDer<'static>> {
    let ca = |authority: &Authority| rotation::Ca {
        id: authority.certificate().clone(),
        validity: authority.validity(),
    };
    let known = cas.trusted();
    State {
        signing: cas.signing.as_ref().map(ca),
        next: cas.next.as_ref().map(ca),
        old: cas.old.clone(),
        leaf: presented(leaf.pem.as_ref(), &known, names, now),
        places: places.iter().map(Place::trusted).collect(),
    }
}

/// A leaf that will be found good when it is looked at again: were it not, another would be issued
/// at once, and so on without end.
fn issue(
    authority: &Authority,
    names: &[String],
    now: SystemTime,
    lifetime: Duration,
) -> Result<Pem, RotationError> {
    let pem = authority.issue(names, now, lifetime)?;
    let known = [authority.certificate().clone()];
    match presented(Some(&pem), &known, names, now) {
        Some(rotation::Leaf { fits: true, .. }) => Ok(pem),
        _ => Err(RotationError::Unacceptable(names.join(", "))),
    }
}

/// The leaf, if it can be presented, and which of the CAs a caller may accept it by.
fn presented(
    leaf: Option<&Pem>,
    known: &[CertificateDer<'static>],
    names: &[String],
    now: SystemTime,
) -> Option<rotation::Leaf<CertificateDer<'static>>> {
    let pem = leaf?;
    let chain = TlsIdentity::from_pem(pem.chain.as_bytes(), pem.key.as_bytes());
    let chain = chain.ok()?.chain();
    let accepted = |ca: &CertificateDer<'static>, name: &String| {
        verify(&chain, std::slice::from_ref(ca), name, now).is_ok()
    };
    let issuer = known
        .iter()
        .find(|ca| names.iter().any(|name| accepted(ca, name)));
    let fits = issuer.is_some_and(|ca| names.iter().all(|name| accepted(ca, name)));
    Some(rotation::Leaf {
        issuer: issuer.cloned(),
        validity: Validity::of(chain.first()?)?,
        fits,
    })
}

/// Makes the next CA. Where the present one is lost, whoever is trusted now stays trusted, until
/// callers can be sure of the new one.
fn begin(
    state: &State<CertificateDer<'static>>,
    cas: &mut Authorities,
    now: SystemTime,
    lifetime: Duration,
) -> Result<(), TlsError> {
    if cas.signing.is_none() {
        for trusted in state.places.iter().flatten() {
            if !cas.old.contains(trusted) {
                cas.old.push(trusted.clone());
            }
        }
    }
    let is_over = |ca: &mut Authority| ca.validity().not_after <= now;
    cas.signing.take_if(is_over);
    // Its subject is its own: of two CAs of one name, a verifier may try the wrong one first.
    let name = Timestamp::try_from(now).unwrap_or_default();
    cas.next = Some(Authority::create(
        &format!("harbormaster CA {name}"),
        now,
        lifetime,
    )?);
    Ok(())
}

/// Between two looks at what nobody has changed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// After an error.
const RETRY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_that_would_not_be_accepted_is_never_stored() {
        let (now, hour) = (SystemTime::now(), Duration::from_secs(60 * 60));
        let ca = Authority::create("ca", now, hour).unwrap();
        let issue = |names: &[&str], now| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            issue(&ca, &names, now, hour)
        };
        issue(&["h.n.svc", "192.0.2.1"], now).unwrap();
        // No caller could verify the first, and the CA is over by the second's time.
        for refused in [
            issue(&["h.n.svc", "h.example.org."], now),
            issue(&["h.n.svc"], now + hour + Duration::from_secs(60)),
        ] {
            assert!(matches!(refused, Err(RotationError::Unacceptable(_))));
        }
    }
}
