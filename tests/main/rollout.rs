//! Zero failed calls, in service mode with endpoints as in production: replicas come and go,
//! certificates are exchanged, and nobody who writes or reads a Reservation notices. Counted by
//! the people and by the API server's own metrics.
//!
//! CI sees each change once or twice; `cargo xtask soak calls` goes on until the calls are many.

#[path = "rollout/cert_manager.rs"]
mod cert_manager;
#[path = "rollout/fleet.rs"]
pub(crate) mod fleet;

use std::time::Duration;

use self::fleet::Fleet;
use crate::{
    certificates::{FAST, site::Site},
    stage::{OWN_CONTROL_PLANE, until},
    traffic::Traffic,
};

#[test]
fn no_call_fails_while_replicas_are_replaced() {
    let test = "rollout::no_call_fails_while_replicas_are_replaced";
    let _turn = OWN_CONTROL_PLANE.blocking_lock();
    control_plane::in_network_namespace(test, async |network| {
        let site = Site::open_as_service(&[]).await;
        let mut fleet = Fleet::new(&site, &network, &[("TLS_MODE", "self-managed")]).await;
        fleet.add(&[]).await;
        fleet.add(&[]).await;
        site.until_called().await;
        site.keep("kept").await;
        let traffic = Traffic::start(&site.client, "kept", PEOPLE).await;
        // Both of them, and then those that took their place.
        let mut replaced = 0;
        while replaced < 2 || traffic.calls() < wanted() {
            fleet.add(&[]).await;
            fleet.remove_the_oldest().await;
            replaced += 1;
        }
        traffic.stop(&format!("{replaced} replicas replaced")).await;
        drop(fleet);
        site.close().await;
    });
}

#[test]
fn no_call_fails_while_the_own_ca_is_exchanged() {
    let test = "rollout::no_call_fails_while_the_own_ca_is_exchanged";
    let _turn = OWN_CONTROL_PLANE.blocking_lock();
    control_plane::in_network_namespace(test, async |network| {
        let site = Site::open_as_service(&[]).await;
        let settings = [("TLS_MODE", "self-managed"), ("CERTIFICATE_TIMES", times())];
        let mut fleet = Fleet::new(&site, &network, &settings).await;
        fleet.add(&[]).await;
        fleet.add(&[]).await;
        site.until_called().await;
        site.keep("kept").await;
        let traffic = Traffic::start(&site.client, "kept", PEOPLE).await;
        let mut exchanged = 0;
        while exchanged < 1 || traffic.calls() < wanted() {
            // Beside, then alone.
            let before = site.root().await;
            site.until_trusted_are(2).await;
            until("the old CA to be gone", async || {
                let root = site.root().await;
                let text = String::from_utf8(root.clone()).unwrap();
                let is_alone = text.matches("BEGIN CERTIFICATE").count() == 1;
                (is_alone && root != before).then_some(())
            })
            .await;
            exchanged += 1;
        }
        // What the API server kept of old connections has its turn, too.
        tokio::time::sleep(Duration::from_secs(2)).await;
        traffic.stop(&format!("{exchanged} CAs exchanged")).await;
        site.assert_rights_are_just_enough();
        drop(fleet);
        site.close().await;
    });
}

/// A leaf is exchanged at two thirds of its life. Five seconds are enough for that while a test
/// lasts; in the long run a busy machine is later once. (No more than a third of the CA's, whose own
/// two thirds must end within the patience of a wait.)
fn times() -> &'static str {
    if wanted() > 0 { UNHURRIED } else { FAST }
}

/// How many calls there are to be at least.
fn wanted() -> u64 {
    let asked = std::env::var("SOAK_CALLS").ok();
    asked.map_or(0, |text| text.parse().unwrap())
}

const UNHURRIED: &str = "ca=84s,leaf=28s,settle=2s,retire=5s";

const PEOPLE: usize = 4;
