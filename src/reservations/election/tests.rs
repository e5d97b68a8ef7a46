//! Who may take the lease, by a clock of one's own.

use super::*;

fn lease(holder: &str, renewed: i64) -> Lease {
    let spec = View::new(holder.to_owned()).spec(3, None, Timestamp::from_second(renewed).unwrap());
    Lease {
        metadata: ObjectMeta {
            resource_version: Some(renewed.to_string()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    }
}

fn written(step: Step) -> LeaseSpec {
    match step {
        Step::Write(lease) => lease.spec.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_lease_that_is_not_there_is_created_and_ours_is_renewed() {
    let mut view = View::new("a".to_owned());
    let (start, clock) = (Instant::now(), Timestamp::now());
    assert!(matches!(view.step(None, start, clock), Step::Create(_)));
    let renewed = written(view.step(Some(&lease("a", 1)), start, clock));
    assert_eq!(renewed.holder_identity.as_deref(), Some("a"));
    // The term is the same one.
    assert_eq!(renewed.lease_transitions, Some(3));
    assert_eq!(
        renewed.acquire_time,
        lease("a", 1).spec.unwrap().acquire_time
    );
}

#[test]
fn anothers_lease_is_taken_only_after_it_stood_still_for_its_duration_by_our_own_clock() {
    let mut view = View::new("a".to_owned());
    let (start, clock) = (Instant::now(), Timestamp::now());
    // Renewed decades ago by its own stamp: clocks of other machines prove nothing.
    assert_eq!(view.step(Some(&lease("b", 1)), start, clock), Step::Wait);
    let later = start + seconds(14);
    assert_eq!(view.step(Some(&lease("b", 1)), later, clock), Step::Wait);
    // It was renewed: counted anew.
    assert_eq!(view.step(Some(&lease("b", 2)), later, clock), Step::Wait);
    let much_later = later + seconds(14);
    assert_eq!(
        view.step(Some(&lease("b", 2)), much_later, clock),
        Step::Wait
    );
    let taken = written(view.step(Some(&lease("b", 2)), later + seconds(15), clock));
    assert_eq!(taken.holder_identity.as_deref(), Some("a"));
    assert_eq!(taken.lease_transitions, Some(4));
}

#[test]
fn a_released_lease_is_taken_at_once_and_only_ours_is_released() {
    let holder = View::new("b".to_owned());
    let released = holder.released(lease("b", 1)).unwrap();
    let mut view = View::new("a".to_owned());
    let step = view.step(Some(&released), Instant::now(), Timestamp::now());
    assert_eq!(written(step).holder_identity.as_deref(), Some("a"));
    assert_eq!(view.released(lease("b", 1)), None);
}
