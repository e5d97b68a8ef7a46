//! Folders of secrets, as the kubelet lays them out and exchanges them.

use std::{fs, os::unix::fs::symlink};

use axum::http::HeaderMap;
use bytes::Bytes;

use super::*;
use crate::events::signature::{SIGNATURE_HEADER, Secrets, sign};

const BODY: &[u8] = b"{}";

fn accepts(secrets: &Secrets, signed_with: &str) -> bool {
    let mut headers = HeaderMap::new();
    let signature = sign(signed_with, BODY).parse().unwrap();
    headers.insert(SIGNATURE_HEADER, signature);
    secrets.verify(&headers, Bytes::from_static(BODY)).is_ok()
}

/// Which of the words `secrets` accepts.
fn accepted<'a>(secrets: &Secrets, words: &[&'a str]) -> Vec<&'a str> {
    let accepted = words.iter().filter(|word| accepts(secrets, word));
    accepted.copied().collect()
}

#[tokio::test]
async fn any_secret_of_the_folder_may_have_signed_and_that_of_the_setting() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("7", "one\n"),
        ("8", "two"),
        ("9", "\n"),
        (".hidden", "three"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::create_dir(folder.path().join("folder")).unwrap();
    let dir = SecretsDir::open(folder.path()).await;
    let secrets = Secrets::from_text("setting").and_folder(&dir);
    let words = ["one", "two", "three", "setting", "", "\n"];
    assert_eq!(accepted(&secrets, &words), ["one", "two", "setting"]);
    assert!(!secrets.refuses_all() && !secrets.is_unsigned_mode());
    let shown = format!("{secrets:?} {dir:?}");
    assert!(!shown.contains("one") && !shown.contains("two"), "{shown}");
}

#[tokio::test]
async fn a_folder_that_is_empty_or_missing_refuses_everything() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing")] {
        let dir = SecretsDir::open(path).await;
        let secrets = Secrets::default().and_folder(&dir);
        assert!(secrets.refuses_all() && !secrets.is_unsigned_mode());
        assert!(!accepts(&secrets, "") && !accepts(&secrets, "one"));
        let unsigned = secrets.verify(&HeaderMap::new(), Bytes::new());
        assert!(unsigned.is_err());
    }
}

/// As the kubelet mounts a Secret: `7 -> ..data/7`, `..data -> ..VERSION`.
fn mount(folder: &Path, version: &str, files: &[(&str, &str)]) {
    let versioned = folder.join(version);
    fs::create_dir(&versioned).unwrap();
    for (name, text) in files {
        fs::write(versioned.join(name), text).unwrap();
        let link = folder.join(name);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(name), link).unwrap();
        }
    }
    let new = folder.join("..data_tmp");
    symlink(version, &new).unwrap();
    fs::rename(new, folder.join("..data")).unwrap();
}

#[tokio::test]
async fn the_kubelets_exchange_is_followed_while_the_program_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    mount(path, "..1", &[("7", "old"), ("8", "other")]);
    let dir = SecretsDir::open(path).await;
    let secrets = Secrets::default().and_folder(&dir);
    let words = ["old", "other", "new"];
    assert_eq!(accepted(&secrets, &words), ["old", "other"]);

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let watch = dir.every(Duration::from_millis(10)).watch(async {
        let _ = stopped.await;
    });
    let watch = tokio::spawn(watch);
    let until = async |wanted: &[&str]| {
        let seen = async {
            while accepted(&secrets, &words) != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
        seen.unwrap_or_else(|_| panic!("{wanted:?} is not what is accepted"));
    };
    // 8 is gone, and its link hangs until the kubelet takes it away, too.
    mount(path, "..2", &[("7", "new")]);
    until(&["new"]).await;
    fs::rename(path.join("..data"), path.join("..gone")).unwrap();
    until(&[]).await;
    assert!(secrets.refuses_all());
    fs::rename(path.join("..gone"), path.join("..data")).unwrap();
    until(&["new"]).await;
    stop.send(()).unwrap();
    watch.await.unwrap();
}
