//! The binaries: found, built once, and asked for in vain.

use std::fs;

use tempfile::TempDir;

use super::*;

#[tokio::test]
async fn ready_binaries_are_used_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for tool in Tool::REQUIRED {
        fs::write(folder.path().join(tool.file_name()), "").unwrap();
    }
    let sources = Sources {
        assets: Some(folder.path().to_owned()),
        cache: None,
        go: "/no/such/go".into(),
    };
    let assets = sources.find_or_build(Tool::REQUIRED).await.unwrap();
    assert_eq!(assets.path(Tool::Kubectl), folder.path().join("kubectl"));
}

#[tokio::test]
async fn a_missing_binary_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["etcd", "kube-apiserver", "kubectl"] {
        let sources = Sources {
            assets: Some(folder.path().to_owned()),
            cache: None,
            go: "go".into(),
        };
        let error = sources.find_or_build(Tool::REQUIRED).await.unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(&format!("no file `{name}` in")),
            "{message}"
        );
        assert!(message.contains("KUBEBUILDER_ASSETS"), "{message}");
        fs::write(folder.path().join(name), "").unwrap();
    }
}

#[tokio::test]
async fn without_go_and_binaries_both_ways_are_named() {
    let cache = tempfile::tempdir().unwrap();
    let sources = Sources {
        go: "/no/such/go".into(),
        ..sources(&cache)
    };
    let error = sources.find_or_build(Tool::REQUIRED).await.unwrap_err();
    assert!(matches!(error, AssetsError::NoGo(_)), "{error:?}");
    let message = error.to_string();
    for way in ["install Go 1.26", "https://go.dev", "KUBEBUILDER_ASSETS"] {
        assert!(message.contains(way), "{message}");
    }
}

#[tokio::test]
async fn an_old_go_is_named_with_its_version() {
    let cache = tempfile::tempdir().unwrap();
    mark(&cache, "old");
    let error = sources(&cache)
        .find_or_build(Tool::REQUIRED)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, AssetsError::OldGo { found } if found == "go1.25.9"),
        "{error:?}"
    );
    assert!(error.to_string().contains("install Go 1.26"));
}

#[tokio::test]
async fn a_failed_build_shows_why_and_leaves_no_binary() {
    let cache = tempfile::tempdir().unwrap();
    mark(&cache, "broken");
    let error = sources(&cache)
        .find_or_build(Tool::REQUIRED)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cannot find package"), "{error}");
    let assets = Assets {
        folder: cache.path().join(build::version()).join("bin"),
    };
    assert_eq!(assets.missing(Tool::REQUIRED), Tool::REQUIRED);
}

#[tokio::test]
async fn binaries_are_built_once_for_all_that_ask_at_the_same_time() {
    let cache = tempfile::tempdir().unwrap();
    let ask = || tokio::spawn(sources(&cache).find_or_build(Tool::REQUIRED));
    for asked in [ask(), ask(), ask()] {
        let assets = asked.await.unwrap().unwrap();
        for tool in Tool::REQUIRED {
            assert_eq!(fs::read_to_string(assets.path(*tool)).unwrap(), "binary\n");
        }
    }
    // One of etcd, one of kube-apiserver and kubectl.
    assert_eq!(builds(&cache), 2);
}

#[tokio::test]
async fn only_what_is_missing_is_built() {
    let cache = tempfile::tempdir().unwrap();
    sources(&cache).find_or_build(Tool::REQUIRED).await.unwrap();
    let more = [Tool::Etcd, Tool::KubeControllerManager];
    let assets = sources(&cache).find_or_build(&more).await.unwrap();
    assert!(assets.path(Tool::KubeControllerManager).is_file());
    assert_eq!(builds(&cache), 3);
}

/// Sources of the `go` that lies beside this file.
fn sources(cache: &TempDir) -> Sources {
    Sources {
        assets: None,
        cache: Some(cache.path().to_owned()),
        go: Path::new(env!("CARGO_MANIFEST_DIR")).join("src/assets/tests/go"),
    }
}

/// Tells that `go` how to behave.
fn mark(cache: &TempDir, mark: &str) {
    let folder = cache.path().join(build::version());
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(mark), "").unwrap();
}

fn builds(cache: &TempDir) -> usize {
    let builds = cache.path().join(build::version()).join("builds");
    fs::read_to_string(builds).unwrap().lines().count()
}
