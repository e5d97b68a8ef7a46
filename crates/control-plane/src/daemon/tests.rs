//! Daemons that end at once, late, or only when killed.

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[tokio::test]
async fn a_daemon_that_ends_is_reported_with_its_log() {
    let folder = folder().await;
    let daemon = start(&folder, "echo out; echo err >&2; exit 3").await;
    match daemon.ready(wait(), async || false).await {
        Err(Error::Exited {
            daemon: "test",
            status: 3,
            log,
            // Some shells add how the process ended that watched over ours.
        }) => assert!(log.starts_with("out\nerr"), "{log}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_reported() {
    let folder = folder().await;
    let command = ["/no/such/program".into()];
    let log = folder.path().join("log");
    let daemon = Daemon::start("test", &command, &log, folder.lifeline())
        .await
        .unwrap();
    match daemon.ready(wait(), async || false).await {
        Err(Error::Exited {
            status: 126 | 127,
            log,
            ..
        }) => assert!(log.contains("/no/such")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_daemon_that_is_never_ready_is_given_up() {
    let folder = folder().await;
    let daemon = start(&folder, "echo busy; exec sleep 600").await;
    let timeout = Duration::from_millis(300);
    match daemon.ready(Wait::of(timeout), async || false).await {
        Err(Error::NotReady { waited, log, .. }) => {
            assert_eq!((waited, log), (timeout, "busy".to_owned()));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_probe_that_hangs_does_not_outlast_the_deadline() {
    let folder = folder().await;
    let daemon = start(&folder, "exec sleep 600").await;
    let ready = daemon.ready(Wait::of(Duration::from_millis(100)), std::future::pending);
    assert!(matches!(ready.await, Err(Error::NotReady { .. })));
}

#[tokio::test]
async fn a_daemon_hears_sigterm() {
    let folder = folder().await;
    let script = "trap 'echo term >\"$0\"; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let daemon = start(&folder, script).await;
    daemon
        .ready(wait(), async || daemon.log_tail() == "up")
        .await
        .unwrap();
    daemon.stop().await.unwrap();
    let heard = fs::read_to_string(folder.path().join("said")).unwrap();
    assert_eq!(heard, "term\n");
}

#[tokio::test]
async fn a_daemon_that_ignores_sigterm_is_killed() {
    let folder = folder().await;
    let daemon = start(
        &folder,
        "trap '' TERM; echo up; while :; do sleep 0.05; done",
    )
    .await;
    daemon
        .ready(wait(), async || daemon.log_tail() == "up")
        .await
        .unwrap();
    let mut state = daemon.supervisor.state.clone();
    daemon.stop().await.unwrap();
    let state = *state.borrow_and_update();
    assert!(matches!(state, State::Gone(Some(137))), "{state:?}");
}

#[tokio::test]
async fn a_dropped_folder_stays_until_its_daemons_are_gone() {
    let folder = folder().await;
    let path = folder.path().to_owned();
    let mut folder_state = folder.keeper.state.clone();
    let script = "trap 'sleep 0.3; ls \"$0\"; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let daemon = start(&folder, script).await;
    let mut daemon_state = daemon.supervisor.state.clone();
    daemon
        .ready(wait(), async || daemon.log_tail() == "up")
        .await
        .unwrap();

    drop(folder);
    drop(daemon);
    gone(&mut folder_state).await;
    assert!(matches!(
        *daemon_state.borrow_and_update(),
        State::Exited(0) | State::Gone(Some(0))
    ));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = folder().await;
    let path = folder.path().to_owned();
    match Folder::keep(path.clone()).await {
        Err(Error::File { path: refused, .. }) => assert_eq!(refused, path),
        other => panic!("{other:?}"),
    }
}

async fn folder() -> Folder {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("control-plane-daemon-{}-{number}", std::process::id());
    Folder::keep(env::temp_dir().join(name)).await.unwrap()
}

/// Runs a script that finds, as `$0`, a file that it may write.
async fn start(folder: &Folder, script: &str) -> Daemon {
    let said = folder.path().join("said");
    let command = ["/bin/sh".into(), "-c".into(), script.into(), said.into()];
    let log = folder.path().join("log");
    Daemon::start("test", &command, &log, folder.lifeline())
        .await
        .unwrap()
}

fn wait() -> Wait {
    Wait::of(Duration::from_secs(30))
}

async fn gone(state: &mut watch::Receiver<State>) {
    let gone = state.wait_for(|state| matches!(state, State::Gone(_)));
    timeout(STOP_TIMEOUT, gone).await.unwrap().unwrap();
}
