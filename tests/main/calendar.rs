//! The page of the admin port, as the running program shows it. That it goes on while the
//! API server is away stands in `crash`, where one is taken away.

use harbormaster::api::v1::Phase;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use serde_json::json;
use xtask::stage::USER;

use crate::{
    own::{Own, Settings},
    stage::{flat, new_host, post_signed, reaches, scrape, shared, until},
};

#[tokio::test]
async fn the_page_tells_who_has_a_host_and_names_no_user() {
    let stage = shared();
    new_host(stage, "calendar-1").await;
    post_signed(stage, &flat("EVENT_START", "calendar-1", "calendar-1")).await;
    reaches(stage, "portal-calendar-1", Phase::Active).await;
    let page = until("the page to tell of the host's user", async || {
        let page = scrape(stage, "/calendar").await;
        let row = row_of(&page, "calendar-1")?;
        (row.contains("in use") && row.contains("portal-calendar-1")).then_some(page)
    })
    .await;
    assert!(!page.contains("mario"), "{page}");
    assert!(!page.contains("API server"), "{page}");
}

#[tokio::test]
async fn users_are_named_where_the_setting_says_so() {
    let client = shared().control_plane().client();
    let namespaces: Api<Namespace> = Api::all(client);
    let namespace = serde_json::from_value(json!({"metadata": {"name": "calendar"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(&Settings {
        kubeconfig: &shared()
            .control_plane()
            .kubeconfig_for(USER, &["system:masters"])
            .unwrap(),
        namespace: "calendar",
        folder: folder.path(),
        more: &[("CALENDAR_SHOW_USERS", "true")],
    });
    let sender = own.sender();
    sender
        .post(&flat("EVENT_START", "9", "nowhere"))
        .await
        .unwrap();
    until("the page to name who waits for a host", async || {
        let (_, page) = own.scrape("/calendar").await;
        let row = page.split("scope=\"row\"").nth(1)?;
        let tells = ["mario.rossi", "portal-9", "waiting", "no host answers"];
        tells.iter().all(|word| row.contains(word)).then_some(())
    })
    .await;
}

/// The host's row of the table.
fn row_of<'a>(page: &'a str, host: &str) -> Option<&'a str> {
    let from = page.find(&format!("scope=\"row\">{host}</th>"))?;
    page[from..].split("</tr>").next()
}
