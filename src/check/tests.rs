//! One broken cluster per finding, as a value.

mod operation;
mod registration;
mod world;

use std::collections::BTreeSet;

use serde_json::json;

use self::world::World;
use super::{
    Severity, examine,
    observed::{Dial, Reading, Setting},
    report,
};

/// What is broken, and the finding that must come of it: its id and severity, and a word each of
/// what is said and of the command.
type Row = (
    fn(&mut World),
    &'static str,
    Severity,
    &'static str,
    &'static str,
);

fn rows() -> impl Iterator<Item = &'static Row> {
    registration::ROWS.iter().chain(operation::ROWS)
}

#[test]
fn what_the_program_generates_is_healthy() {
    let world = World::healthy();
    let findings = examine(&world.observed, world.now);
    assert!(!report::is_bad(&findings), "{}", report::text(&findings));
    let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["sender-way"]);
}

#[test]
fn each_broken_state_is_found_with_its_cause_and_command() {
    for (broken, id, severity, said, command) in rows() {
        let mut world = World::healthy();
        broken(&mut world);
        let findings = examine(&world.observed, world.now);
        let all = report::text(&findings);
        let found = findings.iter().find(|finding| {
            let told = format!("{} {}", finding.problem, finding.cause);
            finding.id == *id && told.contains(said)
        });
        let found = found.unwrap_or_else(|| panic!("{id}, {said:?}, is not among\n{all}"));
        assert_eq!(found.severity, *severity, "{id}");
        assert!(found.mend.contains(command), "{id}: {}", found.mend);
        assert!(!found.subject.is_empty() && !found.cause.is_empty(), "{id}");
    }
}

/// One fault must not be told as another: what a state breaks is told by its own finding, or by
/// such as follow from it.
#[test]
fn a_broken_state_is_not_told_as_something_else() {
    let follows: &[(&str, &[&str])] = &[
        ("ca-bundle-expired", &["certificate-expired"]),
        ("certificate-expired", &["certificate-expires-soon"]),
        (
            "events-certificate-expired",
            &["certificate-expired", "certificate-expires-soon"],
        ),
        (
            "events-certificate-expires-soon",
            &["certificate-expires-soon"],
        ),
        ("version-not-served", &["schema-outdated"]),
    ];
    for (broken, id, ..) in rows() {
        let mut world = World::healthy();
        broken(&mut world);
        for finding in examine(&world.observed, world.now) {
            let follows = follows
                .iter()
                .any(|(of, ids)| of == id && ids.contains(&finding.id));
            assert!(
                finding.id == *id || follows || finding.id == "sender-way",
                "{id} is also told as {}: {}",
                finding.id,
                finding.problem
            );
        }
    }
}

#[test]
fn what_cannot_be_read_is_not_taken_for_missing() {
    let mut world = World::healthy();
    let mut blind = super::observed::Observed::unasked(world.observed.expected.clone());
    std::mem::swap(&mut blind, &mut world.observed);
    let findings = examine(&world.observed, world.now);
    assert!(findings.is_empty(), "{}", report::text(&findings));
}

#[test]
fn the_certificate_of_each_replica_is_looked_at() {
    let mut world = World::healthy();
    let good = world.observed.dials[0].clone();
    world.serve(&["localhost"]);
    world.observed.dials.insert(
        0,
        Dial {
            address: "10.1.0.8:5001".to_owned(),
            ..good
        },
    );
    let findings = examine(&world.observed, world.now);
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| (finding.id, &*finding.subject))
        .collect();
    assert_eq!(bad, [("certificate-name", "10.1.0.7:5001")]);
}

#[test]
fn the_name_of_a_url_is_the_one_that_a_caller_verifies() {
    let mut expected = World::healthy().observed.expected;
    expected.service = None;
    for (url, name) in [
        ("https://Hooks.example.org.:8443/x", "hooks.example.org"),
        ("https://[2001:db8::1]:8443", "2001:db8::1"),
    ] {
        expected.url = Some(url.to_owned());
        assert_eq!(expected.server_name().as_deref(), Some(name));
    }
}

#[test]
fn an_address_stands_in_a_url_as_it_must() {
    let mut world = World::healthy();
    world.observed.settings.remove("EVENTS_HTTP_PORT");
    world.set("TLS_EXTRA_NAMES", "2001:db8::1");
    let findings = examine(&world.observed, world.now);
    let mut ways = findings.iter().filter(|it| it.id == "sender-way");
    assert!(ways.any(|it| it.mend.contains(" https://[2001:db8::1]/webhook ")));

    world.second_certificate(&["2001:db8::2"]);
    let findings = examine(&world.observed, world.now);
    let mut ways = findings.iter().filter(|it| it.id == "sender-way");
    let told = ways.any(|it| it.mend.contains(" https://[2001:db8::2]/webhook "));
    assert!(told, "{}", report::text(&findings));
}

#[test]
fn a_chain_is_good_under_the_old_ca_beside_the_new() {
    let mut world = World::healthy();
    let both = format!("{}{}", world::Authority::new().pem, world.authority.pem);
    world.bundles(both.as_bytes());
    assert!(!report::is_bad(&examine(&world.observed, world.now)));
}

#[test]
fn each_way_of_the_sender_is_told() {
    let mut world = World::healthy();
    world.observed.settings.remove("EVENTS_HTTP_PORT");
    world.observed.events_service = Reading::Missing;
    world.set("TLS_EXTRA_NAMES", "booking.example.org");
    world.serve(&[
        "harbormaster.harbormaster-system.svc",
        "booking.example.org",
    ]);
    world.set("EVENTS_TLS_CERT_FILE", "/etc/harbormaster/events/tls.crt");
    let ingress = json!({
        "metadata": {"name": "events"},
        "spec": {"rules": [{
            "host": "events.example.org",
            "http": {"paths": [{"pathType": "Exact", "path": "/webhook", "backend": {
                "service": {"name": "harbormaster-events", "port": {"number": 80}},
            }}]},
        }]},
    });
    world.observed.ingresses = Reading::Found(vec![serde_json::from_value(ingress).unwrap()]);
    let findings = examine(&world.observed, world.now);
    assert!(!report::is_bad(&findings), "{}", report::text(&findings));
    let text = report::text(&findings);
    for said in [
        "https://events.example.org/webhook",
        "keytool -importcert",
        "https://booking.example.org/webhook",
        "/etc/harbormaster/events/tls.crt",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
}

#[test]
fn what_the_sender_would_not_trust_is_found() {
    let mut world = World::healthy();
    let bad = |world: &World| {
        let findings = examine(&world.observed, world.now);
        let those = findings
            .iter()
            .filter(|one| one.subject.starts_with("Secret/"));
        let those = those.map(|finding| finding.id);
        (those.collect::<Vec<_>>(), report::text(&findings))
    };
    world.second_certificate(&["portal.example.org"]);
    let (ids, text) = bad(&world);
    assert_eq!(ids, [""; 0]);
    for said in ["https://portal.example.org/webhook", "trust CN=test CA"] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    world.now = world::later(world::LEAF_DAYS - 8);
    assert_eq!(bad(&world).0, ["events-certificate-expires-soon"]);
    world.now = world::later(world::LEAF_DAYS + 1);
    assert_eq!(bad(&world).0, ["events-certificate-expired"]);
    let mut secrets = world.observed.secrets.iter_mut();
    *secrets.find(|(name, _)| *name == "site").unwrap().1 = Reading::Missing;
    assert_eq!(bad(&world).0, ["events-certificate-missing"]);

    // In the mode `files`, nobody but the issuer puts a name into the certificate.
    let mut world = World::healthy();
    world.set(
        "TLS_EXTRA_NAMES",
        "booking.example.org, harbormaster.harbormaster-system.svc",
    );
    let findings = examine(&world.observed, world.now);
    let found = findings.iter().find(|one| one.id == "extra-name-missing");
    let problem = &found.unwrap().problem;
    assert!(
        problem.ends_with("not for booking.example.org"),
        "{problem}"
    );
}

#[test]
fn a_secret_is_judged_and_never_shown() {
    let mut world = World::healthy();
    let shown = |world: &World| report::json(&examine(&world.observed, world.now)).unwrap();
    assert!(!shown(&world).contains(world::SECRET));
    world.observed.settings.insert(
        "WEBHOOK_SECRET".to_owned(),
        Setting::Value(world::SECRET.to_owned()),
    );
    assert!(!shown(&world).contains(world::SECRET));
}

#[test]
fn the_worst_comes_first() {
    let mut world = World::healthy();
    world.hook()["timeoutSeconds"] = json!(30);
    world.observed.service = Reading::Missing;
    let findings = examine(&world.observed, world.now);
    let severities: Vec<_> = findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(
        severities,
        [Severity::Error, Severity::Warning, Severity::Note]
    );
}

#[test]
fn every_finding_stands_in_the_documentation_and_no_other() {
    let page = include_str!("../../docs/check.md");
    let table = page.split("| id |").nth(1).unwrap();
    let cells = table.lines().filter_map(|line| line.split('|').nth(1));
    let documented: BTreeSet<_> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let known: BTreeSet<_> = rows().map(|(_, id, ..)| *id).collect();
    assert_eq!(documented, known);
}

const CRD: &str = "reservations.harbormaster.dev";
