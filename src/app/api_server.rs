//! The API server: how it is reached, and who we are to it. Called by the wiring; `check` reaches it
//! the same way.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::{authentication::v1::SelfSubjectReview, core::v1::Namespace};
use kube::{Api, Client, api::PostParams, config::KubeConfigOptions};
use tracing::{info, warn};

use crate::{reservations::host::within_deadline, webhooks::OwnUser};

/// In-cluster configuration first, then KUBECONFIG or the usual file: the order of the
/// earlier receiver, which is the reverse of kube's own.
pub(crate) async fn client(kubeconfig: Option<&PathBuf>) -> anyhow::Result<Client> {
    let options = KubeConfigOptions::default();
    let mut config = match kubeconfig {
        Some(file) => {
            let read = kube::config::Kubeconfig::read_from(file)
                .with_context(|| format!("--kubeconfig {}", file.display()))?;
            kube::Config::from_custom_kubeconfig(read, &options).await?
        }
        None => match kube::Config::incluster() {
            Ok(config) => config,
            Err(_) => kube::Config::from_kubeconfig(&options).await.context(
                "no API server: neither is this a pod, nor can KUBECONFIG or ~/.kube/config be \
                 read; name a file with --kubeconfig",
            )?,
        },
    };
    // kube retries by itself, up to 15 times and as slowly as the server asks: our calls
    // have deadlines of their own, and tell when they failed.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Without it, a watch over a connection that died silently would wait for ever.
    config.read_timeout = Some(WATCH_TIMEOUT);
    Ok(Client::try_from(config)?)
}

/// The namespace of the service account, in a pod.
pub(super) fn account_namespace() -> Option<String> {
    let text = std::fs::read_to_string(ACCOUNT_NAMESPACE).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Which cluster this is: its `kube-system` namespace is made once, and its UID stays.
pub(super) async fn cluster_uid(namespaces: &Api<Namespace>) -> Result<String, kube::Error> {
    let namespace = namespaces.get("kube-system").await?;
    Ok(namespace.metadata.uid.unwrap_or_default())
}

/// Asks the API server who we are until it answers.
pub(super) async fn introduce(reviews: &Api<SelfSubjectReview>, own_user: &OwnUser) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match ask_own_user(reviews).await {
            Ok(user) => {
                info!(user, "connected to the API server");
                own_user.learn(user);
                return;
            }
            Err(error) => warn!("no hosts are looked after yet: {error:#}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Who we are, as the API server sees it: what the guard lets through.
async fn ask_own_user(reviews: &Api<SelfSubjectReview>) -> anyhow::Result<String> {
    let params = PostParams::default();
    let question = SelfSubjectReview::default();
    let answer = within_deadline(reviews.create(&params, &question))
        .await
        .context("the API server can't be asked who we are")?;
    answer
        .status
        .and_then(|status| status.user_info?.username)
        .context("the API server doesn't say who we are")
}

/// Where the kubelet puts it.
const ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A little longer than the 290 s after which a quiet watch is ended by the API server.
const WATCH_TIMEOUT: Duration = Duration::from_secs(295);
