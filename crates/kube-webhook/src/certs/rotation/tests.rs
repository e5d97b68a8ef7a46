//! A world of numbered CAs, in which anything is lost, tampered with or slow at any time.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

/// What carries out the steps, on what is stored.
#[derive(Clone, Debug)]
struct World {
    now: SystemTime,
    state: State<u32>,
    seen_since: Option<SystemTime>,
    /// Where writes fail.
    locked: [bool; PLACES],
    made: u32,
    /// The present leaf was issued when there was none, so that its callers had to wait.
    is_first: bool,
}

#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    LoseAuthority,
    LoseLeaf,
    Rename,
    Tamper(usize, Vec<u32>),
    Lock(usize, bool),
    Restart,
}

impl World {
    fn new() -> Self {
        let state = State {
            signing: None,
            next: None,
            old: Vec::new(),
            leaf: None,
            places: vec![Vec::new(); PLACES],
        };
        Self {
            now: UNIX_EPOCH + Duration::from_secs(1_000_000),
            state,
            seen_since: None,
            locked: [false; PLACES],
            made: 0,
            is_first: false,
        }
    }

    /// Decides and acts until there is nothing to do, as the loop of a program does.
    fn settle(&mut self) -> SystemTime {
        for _ in 0..32 {
            self.expire();
            let plan = self.state.decide(self.seen_since, self.now, &TIMING);
            self.seen_since = plan.seen_since;
            assert!(plan.wake > self.now);
            if plan.step == Step::Wait || !self.act(plan.step) {
                return plan.wake;
            }
        }
        panic!("no end of steps: {self:?}");
    }

    /// What a verifier doesn't accept, a program doesn't report.
    fn expire(&mut self) {
        let now = self.now;
        let bundle = self.state.bundle();
        if let Some(leaf) = &mut self.state.leaf {
            leaf.issuer = leaf.issuer.filter(|issuer| bundle.contains(issuer));
        }
        self.state.leaf = self
            .state
            .leaf
            .take()
            .filter(|leaf| leaf.validity.not_after > now);
    }

    /// Whether it could be done.
    fn act(&mut self, step: Step) -> bool {
        match step {
            Step::Begin => {
                let state = &mut self.state;
                if state.signing.is_none() {
                    let trusted = state.places.iter().flatten().copied();
                    let issuer = state.leaf.iter().filter_map(|leaf| leaf.issuer);
                    let mut trusted: Vec<_> = trusted.chain(issuer).collect();
                    trusted.sort_unstable();
                    trusted.dedup();
                    state.old = trusted;
                }
                self.made += 1;
                let expired = |ca: &Ca<u32>| ca.validity.not_after <= self.now;
                if state.signing.as_ref().is_some_and(expired) {
                    state.signing = None;
                }
                state.next = Some(Ca {
                    id: self.made,
                    validity: validity(self.now, TIMING.ca),
                });
            }
            Step::Publish => {
                let bundle = self.state.bundle();
                let mut all = true;
                for (place, locked) in self.state.places.iter_mut().zip(self.locked) {
                    if locked {
                        all &= *place == bundle;
                    } else {
                        place.clone_from(&bundle);
                    }
                }
                return all;
            }
            Step::Issue(by) => {
                let ca = match by {
                    By::Signing => self.state.signing.as_ref(),
                    By::Next => self.state.next.as_ref(),
                };
                let ca = ca.expect("a CA that is to issue is there");
                let mut validity = validity(self.now, TIMING.leaf);
                validity.not_after = validity.not_after.min(ca.validity.not_after);
                let before = self.state.leaf.replace(Leaf {
                    issuer: Some(ca.id),
                    validity,
                    fits: true,
                });
                let before = before.and_then(|leaf| leaf.issuer);
                self.is_first = before.is_none();
                // The one that matters: nobody who trusted the leaf before distrusts the new one.
                for place in &self.state.places {
                    let trusted = before.is_some_and(|issuer| place.contains(&issuer));
                    let trusts = place.contains(&ca.id);
                    assert!(!trusted || trusts, "{place:?} lost: {self:?}");
                }
            }
            Step::Promote => {
                let signing = self.state.signing.take().map(|ca| ca.id);
                self.state.old.extend(signing);
                self.state.signing = self.state.next.take();
            }
            Step::Retire => {
                let issuer = self.state.leaf.as_ref().and_then(|leaf| leaf.issuer);
                assert!(!self.state.old.iter().any(|old| Some(*old) == issuer));
                self.state.old.clear();
            }
            Step::Wait => {}
        }
        true
    }

    fn suffer(&mut self, event: Event) {
        match event {
            Event::Pass(seconds) => self.now += Duration::from_secs(seconds),
            Event::LoseAuthority => {
                self.state.signing = None;
                self.state.next = None;
                self.state.old.clear();
                self.seen_since = None;
            }
            Event::LoseLeaf => self.state.leaf = None,
            Event::Rename => {
                if let Some(leaf) = &mut self.state.leaf {
                    leaf.fits = false;
                }
            }
            Event::Tamper(place, bundle) => self.state.places[place] = bundle,
            Event::Lock(place, locked) => self.locked[place] = locked,
            Event::Restart => self.seen_since = None,
        }
    }

    /// Whether every caller accepts what is presented.
    fn is_trusted(&self) -> bool {
        let issuer = self.state.leaf.as_ref().and_then(|leaf| leaf.issuer);
        let Some(issuer) = issuer else {
            return false;
        };
        self.state
            .places
            .iter()
            .all(|place| place.contains(&issuer))
    }
}

fn validity(now: SystemTime, life: Duration) -> Validity {
    Validity {
        not_before: now - CLOCK_SKEW,
        not_after: now + life,
    }
}

fn event() -> impl Strategy<Value = Event> {
    let place = 0..PLACES;
    prop_oneof![
        8 => (1..400_u64).prop_map(Event::Pass),
        1 => Just(Event::LoseAuthority),
        1 => Just(Event::LoseLeaf),
        1 => Just(Event::Rename),
        2 => (place.clone(), prop::collection::vec(STRANGERS..STRANGERS + 3, 0..3))
            .prop_map(|(place, bundle)| Event::Tamper(place, bundle)),
        2 => (place, any::<bool>()).prop_map(|(place, locked)| Event::Lock(place, locked)),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// `act` asserts it at each exchange of the leaf.
    #[test]
    fn whatever_happens_no_caller_is_lost_by_a_step_of_ours_and_all_ends_well(
        events in prop::collection::vec(event(), 0..40),
    ) {
        let mut world = World::new();
        world.settle();
        for event in events {
            world.suffer(event);
            world.settle();
        }
        world.locked = [false; PLACES];
        for _ in 0..6 {
            let wake = world.settle();
            world.now = wake.min(world.now + TIMING.retire);
        }
        world.settle();
        prop_assert!(world.is_trusted(), "{world:?}");
        prop_assert!(world.state.signing.is_some());
    }

    /// Undisturbed, whenever it is looked at.
    #[test]
    fn every_caller_accepts_what_is_presented_through_many_rotations(
        pauses in prop::collection::vec(1..60_u64, 400),
    ) {
        let mut world = World::new();
        world.settle();
        for pause in pauses {
            world.suffer(Event::Pass(pause));
            prop_assert!(world.is_trusted(), "{world:?}");
            world.settle();
            prop_assert!(world.is_trusted(), "{world:?}");
        }
        prop_assert!(world.made > 3);
        prop_assert!(world.state.old.len() <= 1);
    }
}

#[test]
fn a_ca_issues_only_after_it_has_been_seen_everywhere_for_a_while() {
    let mut world = World::new();
    world.settle();
    assert!(world.is_first && world.state.signing.is_none());
    world.locked[1] = true;
    world.suffer(Event::Tamper(1, Vec::new()));
    world.suffer(Event::Pass(TIMING.settle.as_secs()));
    world.settle();
    assert!(world.state.signing.is_none());
    world.locked[1] = false;
    world.settle();
    world.suffer(Event::Pass(TIMING.settle.as_secs()));
    world.settle();
    assert!(world.state.signing.is_some());
}

/// Whoever keeps us from writing one object must not let the leaf end for all the others.
#[test]
fn a_place_that_can_not_be_written_keeps_no_leaf_from_its_exchange() {
    let (old, signing) = (1, 2);
    for (locked, issuer) in [
        (vec![STRANGERS], signing),
        (vec![signing], signing),
        // Its calls would fail from now on, instead of when the leaf ends.
        (vec![old], old),
    ] {
        let mut world = World::new();
        let [ca, leaf] = [TIMING.ca, TIMING.leaf].map(|life| validity(world.now, life));
        world.state = State {
            signing: Some(Ca {
                id: signing,
                validity: ca,
            }),
            next: None,
            old: vec![old],
            leaf: Some(Leaf {
                issuer: Some(old),
                validity: leaf,
                fits: true,
            }),
            places: vec![vec![signing, old]; PLACES],
        };
        world.state.places[0] = locked;
        world.locked[0] = true;
        world.settle();
        let leaf = world.state.leaf.as_ref().unwrap();
        assert_eq!(leaf.issuer, Some(issuer), "{world:?}");
    }
}

#[test]
fn times_that_leave_no_room_are_refused() {
    TIMING.check().unwrap();
    Timing {
        ca: TIMING.leaf,
        ..TIMING
    }
    .check()
    .unwrap_err();
    Timing {
        retire: TIMING.leaf,
        ..TIMING
    }
    .check()
    .unwrap_err();
}

/// CAs from here on are other people's.
const STRANGERS: u32 = 1_000_000;

const PLACES: usize = 3;

const TIMING: Timing = Timing {
    ca: Duration::from_secs(3_000),
    leaf: Duration::from_secs(900),
    settle: Duration::from_secs(10),
    retire: Duration::from_secs(100),
};
