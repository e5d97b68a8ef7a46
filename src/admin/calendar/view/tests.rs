//! What the page says of hosts and bookings in each state.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-11-24T18:20:00Z";

fn reservation(name: &str, spec: &Value, status: &Value) -> Reservation {
    let meta = json!({"name": name, "uid": format!("uid-{name}")});
    serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": status})).unwrap()
}

/// One of `mario`, for `srv`, from an hour to an hour of today.
fn booking(name: &str, hours: (u32, u32), status: &Value) -> Reservation {
    let at = |hour: u32| format!("2026-11-24T{hour:02}:00:00Z");
    let spec = json!({
        "requester": {"username": "mario", "email": "mario@example.com"},
        "target": {"hostRef": {"name": "srv"}},
        "window": {"start": at(hours.0), "end": at(hours.1)},
    });
    reservation(name, &spec, status)
}

fn status(phase: &str, conditions: &[(&str, &str, &str)]) -> Value {
    let conditions = conditions.iter().map(|(type_, status, reason)| {
        json!({"type": type_, "status": status, "reason": reason, "message": "secret words",
            "lastTransitionTime": "2026-11-24T18:00:00Z"})
    });
    json!({
        "phase": phase,
        "hostRef": {"name": "srv", "namespace": "metal3", "uid": "u"},
        "conditions": conditions.collect::<Vec<_>>(),
    })
}

fn host(name: &str, state: &str) -> BareMetalHost {
    let mut host = BareMetalHost::new(name, &BareMetalHost::resource());
    let status = host.status.get_or_insert_default();
    status.provisioning.state = state.into();
    host
}

fn calendar(host: &str, bookings: &[(&str, &str, Option<&str>)]) -> HostCalendar {
    let bookings = bookings.iter().map(|(name, start, end)| {
        json!({"uid": format!("uid-{name}"), "name": name, "start": start, "end": end})
    });
    serde_json::from_value(json!({
        "metadata": {"name": host},
        "spec": {},
        "status": {"bookings": bookings.collect::<Vec<_>>()},
    }))
    .unwrap()
}

fn facts(
    reservations: Vec<Reservation>,
    calendars: Vec<HostCalendar>,
    hosts: Vec<BareMetalHost>,
) -> Facts {
    Facts {
        reservations,
        calendars,
        hosts,
        freshness: Freshness::Current,
        show_users: false,
    }
}

fn seen(facts: &Facts) -> View {
    view(facts, Choice::default(), NOW.parse().unwrap())
}

fn who(holder: Option<&Holder>) -> &str {
    holder.map_or("nobody", |holder| &holder.who)
}

fn free(row: &HostRow) -> &str {
    match &row.free {
        Free::At(moment) => &moment.text,
        Free::Words(words) => words,
    }
}

#[test]
fn a_host_says_who_has_it_who_is_next_and_when_it_is_free() {
    let accepted = [("Accepted", "True", "Accepted")];
    let facts = facts(
        vec![
            booking("one", (17, 19), &status("Active", &accepted)),
            booking("two", (20, 21), &status("Pending", &accepted)),
        ],
        vec![calendar(
            "srv",
            &[
                ("one", "2026-11-24T17:00:00Z", Some("2026-11-24T19:00:00Z")),
                ("two", "2026-11-24T20:00:00Z", Some("2026-11-24T21:00:00Z")),
            ],
        )],
        vec![host("idle", "available"), host("srv", "provisioned")],
    );
    let view = seen(&facts);
    let names: Vec<_> = view.hosts.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["idle", "srv"]);
    let [idle, srv] = &view.hosts[..] else {
        unreachable!("two were just counted")
    };
    assert_eq!((who(idle.now.as_ref()), free(idle)), ("nobody", "now"));
    assert_eq!(idle.tag.word, "free");
    assert_eq!(srv.tag.word, "in use");
    assert_eq!(who(srv.now.as_ref()), "one");
    assert_eq!(who(srv.next.as_ref()), "two");
    assert_eq!(free(srv), "19:00");
    assert_eq!(srv.bars.len(), 2);
    assert!(view.troubles.is_empty());
    assert_eq!(view.notice, None);
}

#[test]
fn each_way_to_stand_has_its_word_and_only_trouble_its_reason() {
    let accepted = ("Accepted", "True", "Accepted");
    for (phase, conditions, hours, word, why) in [
        ("Active", vec![accepted], (17, 19), "in use", None),
        (
            "Provisioning",
            vec![accepted],
            (17, 19),
            "being prepared",
            None,
        ),
        ("Releasing", vec![accepted], (17, 19), "being wiped", None),
        ("Pending", vec![accepted], (20, 21), "booked", None),
        ("Released", vec![accepted], (17, 18), "over", None),
        (
            "Pending",
            vec![("Accepted", "False", "Overlap")],
            (20, 21),
            "waiting",
            Some("another booking has that time"),
        ),
        (
            "Pending",
            vec![accepted, ("Ready", "False", "HostBusy")],
            (17, 19),
            "waiting",
            Some("the host is not free yet"),
        ),
        (
            "Pending",
            vec![],
            (20, 21),
            "waiting",
            Some("not looked at yet"),
        ),
        (
            "Failed",
            vec![("Provisioned", "False", "DeadlineExceeded")],
            (17, 19),
            "failed",
            Some("the host was not ready in time"),
        ),
    ] {
        let one = booking("one", hours, &status(phase, &conditions));
        let view = seen(&facts(vec![one], vec![], vec![host("srv", "available")]));
        let [bar] = &view.hosts[0].bars[..] else {
            panic!("{phase}: {:?}", view.hosts[0].bars)
        };
        assert_eq!(bar.tag.word, word, "{phase} {conditions:?}");
        let told = view.troubles.first().map(|trouble| trouble.why.as_str());
        assert_eq!(told, why, "{phase} {conditions:?}");
    }
}

#[test]
fn a_host_that_nobody_of_ours_has_says_why_it_is_not_free() {
    let mut others = host("srv", "provisioned");
    others.spec.consumer_ref = Some(metal3::ConsumerRef {
        api_version: Some("infrastructure.cluster.x-k8s.io/v1beta1".to_owned()),
        kind: Some("Metal3Machine".to_owned()),
        ..metal3::ConsumerRef::default()
    });
    let mut broken = host("srv", "inspecting");
    let status = broken.status.get_or_insert_default();
    status.operational_status = Some("error".to_owned());
    status.error_type = Some("inspection error".to_owned());
    for (host, word, from) in [
        (host("srv", "available"), "free", "now"),
        (host("srv", "inspecting"), "inspecting", "not now"),
        (host("srv", ""), "unknown", "not now"),
        (others, "somebody else’s", "not now"),
        (broken, "in error", "not now"),
    ] {
        let view = seen(&facts(vec![], vec![], vec![host]));
        assert_eq!(view.hosts[0].tag.word, word);
        assert_eq!(free(&view.hosts[0]), from, "{word}");
    }
}

#[test]
fn an_end_that_is_over_or_open_is_told_as_such() {
    let accepted = [("Accepted", "True", "Accepted")];
    for (phase, end, from) in [
        ("Releasing", Some("2026-11-24T18:00:00Z"), "once clean"),
        ("Active", None, "when it is given back"),
    ] {
        let mut one = booking("one", (17, 18), &status(phase, &accepted));
        if end.is_none() {
            one.spec.window.end = None;
        }
        let calendar = calendar("srv", &[("one", "2026-11-24T17:00:00Z", end)]);
        let view = seen(&facts(
            vec![one],
            vec![calendar],
            vec![host("srv", "provisioned")],
        ));
        assert_eq!(free(&view.hosts[0]), from, "{phase}");
    }
}

#[test]
fn users_are_named_only_where_that_is_wanted() {
    let mut facts = facts(
        vec![
            booking("one", (17, 19), &status("Active", &[])),
            booking(
                "two",
                (20, 21),
                &status("Pending", &[("Accepted", "False", "Overlap")]),
            ),
        ],
        vec![],
        vec![host("srv", "provisioned")],
    );
    let hidden = format!("{:?}", seen(&facts));
    assert!(!hidden.contains("mario"), "{hidden}");
    facts.show_users = true;
    let view = seen(&facts);
    assert_eq!(who(view.hosts[0].now.as_ref()), "mario");
    let shown = format!("{view:?}");
    // What conditions say, and addresses, are for those who may read the object.
    assert!(
        !shown.contains("secret words") && !shown.contains("@example.com"),
        "{shown}"
    );
}

#[test]
fn what_no_host_answers_to_waits_under_the_name_it_asked_for() {
    let conditions = [("Accepted", "False", "HostNotFound")];
    let mut one = booking("one", (20, 21), &status("Pending", &conditions));
    one.status.as_mut().unwrap().host_ref = None;
    let view = seen(&facts(vec![one], vec![], vec![]));
    assert!(view.hosts.is_empty());
    assert_eq!(view.troubles[0].host.as_deref(), Some("srv"));
    assert_eq!(view.troubles[0].why, "no host answers to that name");
}

#[test]
fn a_booking_whose_reservation_is_not_heard_of_yet_is_shown() {
    let calendar = calendar("srv", &[("new", "2026-11-24T20:00:00Z", None)]);
    let view = seen(&facts(
        vec![],
        vec![calendar],
        vec![host("srv", "available")],
    ));
    assert_eq!(who(view.hosts[0].next.as_ref()), "new");
    assert_eq!(view.hosts[0].bars.len(), 1);
}

#[test]
fn an_old_failure_is_no_news() {
    let failed = status("Failed", &[("Provisioned", "False", "WindowExpired")]);
    let one = booking("one", (17, 18), &failed);
    let facts = facts(vec![one], vec![], vec![]);
    let at = |text: &str| view(&facts, Choice::default(), text.parse().unwrap());
    assert_eq!(at("2026-11-25T17:59:00Z").troubles.len(), 1);
    assert!(at("2026-11-25T18:01:00Z").troubles.is_empty());
}

#[test]
fn what_is_old_says_how_old() {
    let mut facts = facts(vec![], vec![], vec![]);
    facts.freshness = Freshness::AsOf("2026-11-24T18:05:00Z".parse().unwrap());
    let (at, age) = seen(&facts).notice.unwrap().since.unwrap();
    assert_eq!((at.text.as_str(), age.as_str()), ("18:05", "15 min"));
    facts.freshness = Freshness::Unknown;
    assert_eq!(seen(&facts).notice.unwrap().since, None);
}

#[test]
fn the_counts_are_of_hosts_and_of_what_is_in_trouble() {
    let waiting = status("Pending", &[("Accepted", "False", "Overlap")]);
    let facts = facts(
        vec![booking("one", (20, 21), &waiting)],
        vec![],
        vec![host("a", "available"), host("srv", "available")],
    );
    let counts: Vec<_> = seen(&facts)
        .counts
        .into_iter()
        .map(|count| (count.number, count.tag.word))
        .collect();
    assert_eq!(counts, [(2, "free".to_owned()), (1, "waiting".to_owned())]);
}
