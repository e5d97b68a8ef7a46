//! Ends: whatever becomes of the process, nothing is left behind.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;

use control_plane::ControlPlane;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::WatchParams;

use super::support::{announce, eventually, nothing_is_left_of, parent, processes_of};

#[tokio::test]
async fn a_stopped_control_plane_is_gone_at_once() {
    let control_plane = ControlPlane::start().await.unwrap();
    let folder = control_plane.folder().to_owned();
    // An open watch would keep an API server that is only asked to stop.
    let config_maps: Api<ConfigMap> = Api::all(control_plane.client());
    let _watch = config_maps
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap();
    assert!(!processes_of(&folder).is_empty());

    control_plane.stop().await.unwrap();
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), Vec::<String>::new());
}

#[tokio::test]
async fn a_program_beside_the_control_plane_ends_with_it() {
    let control_plane = ControlPlane::start().await.unwrap();
    let folder = control_plane.folder().to_owned();
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo \"$GREETING\"; exec sleep 600"])
        .env("GREETING", "hello");
    let program = control_plane.spawn("program", &command).await.unwrap();
    eventually("it has its variables", async || {
        (program.log_tail() == "hello").then_some(())
    })
    .await;

    drop(control_plane);
    assert!(
        folder.exists(),
        "the program is there yet, and needs its log"
    );
    drop(program);
    nothing_is_left_of(&folder).await;
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_told_by_its_end() {
    let control_plane = ControlPlane::shared().await;
    let command = Command::new("/no/such/program");
    let program = control_plane.spawn("program", &command).await.unwrap();
    let end = program.exited().await.to_string();
    assert!(end.contains("program ended with status 127"), "{end}");
    assert!(end.contains("/no/such/program"), "{end}");
}

#[tokio::test]
async fn a_dropped_control_plane_leaves_nothing_behind() {
    let control_plane = ControlPlane::start().await.unwrap();
    let folder = control_plane.folder().to_owned();
    drop(control_plane);
    nothing_is_left_of(&folder).await;
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let mut folder = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        runtime().block_on(async {
            let control_plane = ControlPlane::start().await.unwrap();
            folder = Some(control_plane.folder().to_owned());
            panic!("as a failed test does");
        })
    }));
    assert!(panicked.is_err());
    runtime().block_on(nothing_is_left_of(&folder.unwrap()));
}

#[tokio::test]
async fn a_killed_parent_leaves_no_process_behind() {
    let parent = parent("end::a_killed_parent_leaves_no_process_behind");
    let Some((mut parent, folder)) = parent else {
        return share_until_stdin_ends().await;
    };
    parent.kill().unwrap();
    parent.wait().unwrap();
    nothing_is_left_of(&folder).await;
}

#[tokio::test]
async fn ctrl_c_in_a_terminal_leaves_no_process_behind() {
    let parent = parent("end::ctrl_c_in_a_terminal_leaves_no_process_behind");
    let Some((mut parent, folder)) = parent else {
        return share_until_stdin_ends().await;
    };
    // The terminal would signal its process group, of which the daemons are no part.
    let interrupt = Command::new("kill")
        .args(["-INT", &parent.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    assert!(!parent.wait().unwrap().success());
    nothing_is_left_of(&folder).await;
}

#[tokio::test]
async fn the_end_of_the_process_ends_the_shared_control_plane() {
    let parent = parent("end::the_end_of_the_process_ends_the_shared_control_plane");
    let Some((mut parent, folder)) = parent else {
        return share_until_stdin_ends().await;
    };
    drop(parent.stdin.take());
    assert!(parent.wait().unwrap().success());
    nothing_is_left_of(&folder).await;
}

#[tokio::test]
async fn a_parent_killed_while_it_starts_leaves_nothing_behind() {
    let parent = parent("end::a_parent_killed_while_it_starts_leaves_nothing_behind");
    let Some((mut parent, folder)) = parent else {
        let start = tokio::spawn(ControlPlane::start());
        announce(&eventually("a folder", async || folders().pop()).await);
        start.await.unwrap().unwrap();
        return;
    };
    parent.kill().unwrap();
    parent.wait().unwrap();
    nothing_is_left_of(&folder).await;
}

/// The part of the process to be ended, whose tests have passed when stdin ends.
async fn share_until_stdin_ends() {
    announce(ControlPlane::shared().await.folder());
    std::io::stdin().lines().for_each(drop);
    // As libtest does, but for its last words, which nobody reads any more.
    std::process::exit(0);
}

/// The folders of this process's control planes.
fn folders() -> Vec<PathBuf> {
    let prefix = format!("control-plane-{}-", std::process::id());
    let entries = env::temp_dir().read_dir().unwrap().flatten();
    let folders = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    folders.map(|entry| entry.path()).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
