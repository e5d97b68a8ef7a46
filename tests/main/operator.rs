//! The same life with the real baremetal-operator, whose states and timing are its own.

use std::path::{Path, PathBuf};

use harbormaster::api::v1::{Phase, Reservation};
use kube::Api;
use metal3::BareMetalHost;
use xtask::stage::{Cast, HOST, NAMESPACE, Stage, Way};

use crate::stage::{OWN_CONTROL_PLANE, flat, install_crypto, post_signed, program, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_real_operator_images_and_wipes_a_host_for_two_tenants_in_turn() {
    let Some(tools) = tools() else { return };
    let _turn = OWN_CONTROL_PLANE.lock().await;
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let cast = Cast::Operator {
        program: unpack(&tools, folder.path()),
        crds: tools.join("metal3/crds"),
    };
    let stage = Stage::set(program(), cast, Way::Url).await.unwrap();
    post_signed(&stage, &flat("EVENT_START", "501", HOST)).await;
    reaches(&stage, "portal-501", Phase::Active).await;
    // The next one comes while the first is there, with the same image.
    post_signed(&stage, &flat("EVENT_START", "502", HOST)).await;
    post_signed(&stage, &flat("EVENT_END", "501", HOST)).await;
    reaches(&stage, "portal-501", Phase::Released).await;
    reaches(&stage, "portal-502", Phase::Active).await;
    post_signed(&stage, &flat("EVENT_END", "501", HOST)).await;
    let host = host(&stage).await;
    assert_eq!(host.consumer().unwrap().name.as_deref(), Some("portal-502"));
    assert!(host.last_deprovision().unwrap().end.is_some());
    assert!(host.deployed_image_url().is_some());

    post_signed(&stage, &flat("EVENT_END", "502", HOST)).await;
    reaches(&stage, "portal-502", Phase::Released).await;
    let host = self::host(&stage).await;
    assert!(host.is_available() && host.consumer().is_none());
    assert_eq!(host.wanted_image_url(), None);
    stage.strike().await.unwrap();
}

async fn reaches(stage: &Stage, name: &str, phase: Phase) {
    let reservations: Api<Reservation> = Api::namespaced(stage.control_plane().client(), NAMESPACE);
    until(&format!("{name} to be {phase:?}"), async || {
        let reservation = reservations.get_opt(name).await.unwrap()?;
        (reservation.status?.phase == Some(phase)).then_some(())
    })
    .await;
}

async fn host(stage: &Stage) -> BareMetalHost {
    let client = stage.control_plane().client();
    let hosts: Api<BareMetalHost> =
        Api::namespaced_with(client, NAMESPACE, &BareMetalHost::resource());
    hosts.get(HOST).await.unwrap()
}

/// The folder with the real operator, or a loud word that it is missing.
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn tools() -> Option<PathBuf> {
    let named = std::env::var_os("METAL3_TOOLS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tools");
    let tools = named.unwrap_or(beside);
    if tools.join("metal3/baremetal-operator.xz").exists() {
        return Some(tools);
    }
    let complaint = "NOT RUN: set METAL3_TOOLS to a folder with metal3/baremetal-operator.xz and \
                     metal3/crds/ to test with the real baremetal-operator";
    assert!(
        std::env::var_os("REQUIRE_METAL3_TOOLS").is_none(),
        "{complaint}"
    );
    eprintln!("{complaint}");
    None
}

fn unpack(tools: &Path, folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let packed = tools.join("metal3/baremetal-operator.xz");
    let unpacked = std::process::Command::new("xz")
        .arg("-dc")
        .arg(packed)
        .output()
        .unwrap();
    assert!(unpacked.status.success());
    let operator = folder.join("baremetal-operator");
    std::fs::write(&operator, unpacked.stdout).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&operator, executable).unwrap();
    operator
}
