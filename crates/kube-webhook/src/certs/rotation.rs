//! In which order a CA and its leaves are exchanged, so that no call is lost: a pure function of what
//! is stored, what is published and the time, which says the next step. Called by a program that
//! keeps its own CA; who carries the steps out, and where things are stored, is the program's matter.
//!
//! The order: a new CA is *begun* and *published* beside the old one, wherever API servers read whom
//! to trust; once it has been seen in every place for a while (no API tells when each API server has
//! taken it up) it is *promoted*, and leaves are *issued* by it; the old one is *retired* when every
//! replica must long have left its last leaf.
//!
//! There is no phase to be stored and to be wrong: each decision is made from what is there, so that
//! it can be repeated, taken over by another replica, and goes on after anything was lost.

use std::time::{Duration, SystemTime};

use super::{CLOCK_SKEW, Validity};

/// What is there. `C` tells CAs apart, such as by their certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State<C> {
    /// The CA that issues.
    pub signing: Option<Ca<C>>,
    /// The CA that will, once it is trusted everywhere.
    pub next: Option<Ca<C>>,
    /// CAs that are trusted, and issue no more.
    pub old: Vec<C>,
    /// What the replicas present.
    pub leaf: Option<Leaf<C>>,
    /// Whom each place trusts at present: each webhook of the configurations, and the CRDs.
    pub places: Vec<Vec<C>>,
}

/// A CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca<C> {
    /// Which.
    pub id: C,
    /// When it is good.
    pub validity: Validity,
}

/// A serving certificate that is good at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<C> {
    /// The CA that it is of; `None` if that is none of those that we know.
    pub issuer: Option<C>,
    /// When it is good.
    pub validity: Validity,
    /// Whether it bears every name that it should.
    pub fits: bool,
}

/// How long everything lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a CA is good; it is exchanged after two thirds of that.
    pub ca: Duration,
    /// How long a leaf is good; it is exchanged after two thirds of that.
    pub leaf: Duration,
    /// How long a CA must have been seen everywhere before it issues: the lag of the API servers.
    pub settle: Duration,
    /// How long an old CA stays trusted after its last leaf was exchanged: longer than a replica takes
    /// to notice, and than API servers keep connections (90 s).
    pub retire: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a CA, to be the next one. Where nothing is known of the present one, whoever is trusted
    /// now stays trusted as an old one.
    Begin,
    /// Write [`State::bundle`] to every place that trusts others.
    Publish,
    /// Issue a leaf.
    Issue(By),
    /// Let the next CA be the one that issues, and the one that did an old one.
    Promote,
    /// Forget the old ones.
    Retire,
    /// Nothing for now.
    Wait,
}

/// Who issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The CA that issues.
    Signing,
    /// The next one, before its time: there is no leaf whose callers could be lost.
    Next,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to do now.
    pub step: Step,
    /// When to decide again, at the latest, if nothing changes.
    pub wake: SystemTime,
    /// Since when the next CA has been seen everywhere: to be given to the next decision.
    pub seen_since: Option<SystemTime>,
}

impl<C: Clone + PartialEq> State<C> {
    /// Whom every place should trust.
    #[must_use]
    pub fn bundle(&self) -> Vec<C> {
        let issuing = self.signing.iter().chain(&self.next);
        let mut bundle: Vec<C> = issuing.map(|ca| ca.id.clone()).collect();
        for old in &self.old {
            if !bundle.contains(old) {
                bundle.push(old.clone());
            }
        }
        bundle
    }

    /// When the CA that issues is due to issue a leaf whoever is trusted, and also where that can't be
    /// told: one in place of its own, since who accepts the one accepts the other, or, at once, where
    /// there is none whose callers could be lost.
    #[must_use]
    pub fn renewal(&self, now: SystemTime) -> Option<SystemTime> {
        let signing = self.signing.as_ref().filter(|ca| ca.is_good(now))?;
        let Some(leaf) = self.good_leaf(now) else {
            return Some(now);
        };
        if leaf.issuer.as_ref() != Some(&signing.id) {
            return None;
        }
        if !leaf.fits {
            return Some(now);
        }
        // A leaf that ends with its CA can't be renewed by it.
        let life = leaf.validity;
        (life.not_after < signing.validity.not_after).then(|| due(life))
    }

    fn good_leaf(&self, now: SystemTime) -> Option<&Leaf<C>> {
        let leaf = self.leaf.as_ref();
        leaf.filter(|leaf| leaf.issuer.is_some() && now < leaf.validity.not_after)
    }

    /// Decides, at `now`. A decision that doesn't know of an earlier one (`seen_since`) only waits
    /// longer.
    #[must_use]
    pub fn decide(&self, seen_since: Option<SystemTime>, now: SystemTime, timing: &Timing) -> Plan {
        let signing = self.signing.as_ref().filter(|ca| ca.is_good(now));
        let next = self.next.as_ref().filter(|ca| ca.is_good(now));
        let leaf = self.good_leaf(now);
        let of_signing = |leaf: &&Leaf<C>| leaf.issuer.as_ref() == signing.map(|ca| &ca.id);
        let is_seen = |ca: &Ca<C>| self.places.iter().all(|place| place.contains(&ca.id));
        let seen_since = next
            .filter(|next| is_seen(next))
            .map(|_| seen_since.unwrap_or(now).min(now));

        let settled = seen_since.map(|since| since + timing.settle);
        let retired = leaf
            .filter(of_signing)
            .filter(|_| !self.old.is_empty())
            .map(|leaf| leaf.validity.not_before + CLOCK_SKEW + timing.retire);
        let renewal = self.renewal(now);
        let change = signing
            .filter(|_| next.is_none() && self.old.is_empty())
            .map(|ca| due(ca.validity));
        let is_due = |time: Option<SystemTime>| time.is_some_and(|time| time <= now);

        let step = match (signing, next, leaf) {
            (None, None, _) => Step::Begin,
            (None, Some(_), None) => Step::Issue(By::Next),
            // Before anything is published: it must not depend on that going well.
            _ if is_due(renewal) => Step::Issue(By::Signing),
            (Some(signing), _, Some(leaf))
                if !of_signing(&leaf) && self.loses_nobody(leaf, signing) =>
            {
                Step::Issue(By::Signing)
            }
            _ if !self.is_published() => Step::Publish,
            _ if is_due(settled) => Step::Promote,
            _ if is_due(retired) => Step::Retire,
            _ if is_due(change) => Step::Begin,
            _ => Step::Wait,
        };
        let ends = leaf.map(|leaf| leaf.validity.not_after);
        let wake = [settled, retired, renewal, change, ends];
        let wake = wake.into_iter().flatten().filter(|time| *time > now).min();
        Plan {
            step,
            wake: wake.unwrap_or(now + LONGEST_WAIT),
            seen_since,
        }
    }

    /// Whether who accepts the leaf would accept one of this CA as well.
    fn loses_nobody(&self, leaf: &Leaf<C>, ca: &Ca<C>) -> bool {
        let accepts = |place: &Vec<C>| leaf.issuer.as_ref().is_some_and(|id| place.contains(id));
        let mut served = self.places.iter().filter(|place| accepts(place));
        served.all(|place| place.contains(&ca.id))
    }

    fn is_published(&self) -> bool {
        let bundle = self.bundle();
        let same = |place: &Vec<C>| {
            place.len() == bundle.len() && bundle.iter().all(|id| place.contains(id))
        };
        self.places.iter().all(same)
    }
}

impl<C> Ca<C> {
    fn is_good(&self, now: SystemTime) -> bool {
        now < self.validity.not_after
    }
}

impl Timing {
    /// Whether the times leave room for each other.
    ///
    /// # Errors
    ///
    /// Which don't.
    pub fn check(&self) -> Result<(), &'static str> {
        // What is left of a CA when its change begins must suffice for the change, and a leaf must
        // not be renewed before its CA's predecessor can go.
        if self.leaf > self.ca / 3 {
            return Err("a leaf must last no longer than a third of its CA");
        }
        if self.settle + self.retire > self.leaf / 2 {
            return Err("settling and retirement must take no longer than half the life of a leaf");
        }
        Ok(())
    }
}

/// After two thirds of the time that it was meant for.
fn due(validity: Validity) -> SystemTime {
    let issued = validity.not_before + CLOCK_SKEW;
    let life = validity.not_after.duration_since(issued);
    issued + life.unwrap_or_default() * 2 / 3
}

const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
