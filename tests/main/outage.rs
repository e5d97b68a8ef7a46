//! What a replica says of itself while the API server is away: its last word stays, and its door for
//! events is open.

use harbormaster::api::v1::Reservation;
use kube::Api;

use crate::{
    certificates::site::Site,
    stage::{OWN_CONTROL_PLANE, flat, until},
};

#[tokio::test]
async fn who_was_ready_stays_so_and_who_starts_then_takes_events() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let site = Site::open().await;
    let before = site.start("before", &[]).await;
    site.until_called().await;
    before.until_ready().await;

    site.stop_api_server().await;
    until("it to notice", async || {
        let (_, text) = before.scrape("/readyz?verbose").await;
        text.contains("[!]caches ok, but: what is known is of")
            .then_some(())
    })
    .await;
    let (status, text) = before.scrape("/readyz?verbose").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("[+]trust ok"), "{text}");

    let started = site.start("started", &[("PORT", "0")]).await;
    for (own, id) in [(&before, "970"), (&started, "971")] {
        let event = flat("EVENT_START", id, "nowhere");
        let (status, answer) = own.sender().post(&event).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        tokio::net::TcpStream::connect(own.tls()).await.unwrap();
    }
    let (status, text) = started.scrape("/readyz").await;
    assert_eq!(status, 503);
    assert!(
        text.contains("trust: the API server hasn't said yet whom it trusts"),
        "{text}"
    );

    site.start_api_server().await;
    started.until_ready().await;
    before.until_ready().await;
    let reservations: Api<Reservation> = Api::namespaced(site.client.clone(), "default");
    for name in ["portal-970", "portal-971"] {
        until("what was spooled to be recorded", async || {
            reservations.get_opt(name).await.ok().flatten()
        })
        .await;
    }
    drop((before, started));
    site.close().await;
}
