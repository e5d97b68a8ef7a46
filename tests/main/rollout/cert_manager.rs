//! The same over cert-manager's renewals: its real controller and cainjector, and the kubelet's
//! part played as it plays it, late and by an exchange of symbolic links.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use control_plane::Process;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    discovery::ApiResource,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{PEOPLE, fleet::Fleet, wanted};
use crate::{
    certificates::site::{NAMESPACE, Site},
    stage::{OWN_CONTROL_PLANE, until},
    tools,
    traffic::Traffic,
    trust::presented,
};

#[test]
fn no_call_fails_while_cert_manager_renews() {
    let test = "rollout::cert_manager::no_call_fails_while_cert_manager_renews";
    let Some(tools) = tools::folder_with("cert-manager/cert-manager-controller") else {
        return;
    };
    let _turn = OWN_CONTROL_PLANE.blocking_lock();
    control_plane::in_network_namespace(test, async |network| {
        let site = Site::open_as_service(&["--cert-manager"]).await;
        let running = cert_manager(&site, &tools).await;
        site.apply("certificate", &certificate(&site));
        let mut kubelet = JoinSet::new();
        let mounts = [1, 2].map(|number| site.folder().join(format!("tls-{number}")));
        for (mount, delay) in mounts
            .iter()
            .zip([Duration::from_secs(3), Duration::from_secs(6)])
        {
            fs::create_dir(mount).unwrap();
            kubelet.spawn(play_kubelet(site.secrets.clone(), mount.clone(), delay));
        }
        let mut fleet = Fleet::new(&site, &network, &[("TLS_MODE", "files")]).await;
        for mount in &mounts {
            until("the certificate to be mounted", async || {
                mount.join("tls.key").exists().then_some(())
            })
            .await;
            let file = |name: &str| mount.join(name).to_str().unwrap().to_owned();
            let (chain, key) = (file("tls.crt"), file("tls.key"));
            fleet
                .add(&[("TLS_CERT_FILE", &chain), ("TLS_KEY_FILE", &key)])
                .await;
        }
        site.until_called().await;
        site.keep("kept").await;
        let traffic = Traffic::start(&site.client, "kept", PEOPLE).await;
        let mut renewed = 0;
        while renewed < 1 || traffic.calls() < wanted() {
            renew(&site, "harbormaster-cert-manager-ca").await;
            renew(&site, "harbormaster").await;
            served_by_all(&site, &fleet).await;
            renewed += 1;
        }
        traffic
            .stop(&format!("{renewed} CAs and leaves of cert-manager renewed"))
            .await;
        kubelet.abort_all();
        drop(fleet);
        for process in running {
            process.stop().await.unwrap();
        }
        site.close().await;
    });
}

async fn cert_manager(site: &Site, tools: &Path) -> [Process; 2] {
    let crds = tools.join("cert-manager/crds");
    site.kubectl(&["apply", "--server-side", "-f", crds.to_str().unwrap()]);
    site.kubectl(&["create", "namespace", "cert-manager"]);
    site.until_established();
    let unpacked = |tool: &str| tools::unpack(tools, &format!("cert-manager/{tool}"));
    let mut controller = Command::new(unpacked("cert-manager-controller"));
    controller
        .arg(format!("--kubeconfig={}", site.admin().display()))
        .args([
            "--leader-elect=false",
            "--cluster-resource-namespace=cert-manager",
        ])
        .arg("--metrics-listen-address=127.0.0.1:9402");
    let mut injector = Command::new(unpacked("cert-manager-cainjector"));
    injector
        .env("KUBECONFIG", site.admin())
        .args(["--leader-elect=false", "--metrics-listen-address=0"]);
    [
        site.spawn("cert-manager-controller", &controller).await,
        site.spawn("cert-manager-cainjector", &injector).await,
    ]
}

/// What the component `cert-manager` adds.
fn certificate(site: &Site) -> String {
    let all = site.generate("manifests");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&all).unwrap();
    let theirs = objects
        .iter()
        .filter(|object| object["apiVersion"] == "cert-manager.io/v1");
    let texts: Vec<_> = theirs.map(Value::to_string).collect();
    assert_eq!(texts.len(), 4);
    texts.join("\n---\n")
}

/// What `cmctl renew` does; waits until it is done.
async fn renew(site: &Site, name: &str) {
    let kind = ApiResource {
        group: "cert-manager.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "cert-manager.io/v1".to_owned(),
        kind: "Certificate".to_owned(),
        plural: "certificates".to_owned(),
    };
    let certificates: Api<DynamicObject> =
        Api::namespaced_with(site.client.clone(), NAMESPACE, &kind);
    let before = certificates.get(name).await.unwrap();
    let mut conditions = before.data["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    conditions.push(json!({
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Certificate re-issuance manually triggered",
    }));
    let patch = json!({"status": {"conditions": conditions}});
    let params = PatchParams::default();
    certificates
        .patch_status(name, &params, &Patch::Merge(patch))
        .await
        .unwrap();
    until("cert-manager to have renewed", async || {
        let now = certificates.get(name).await.unwrap();
        let revision = |object: &DynamicObject| object.data["status"]["revision"].as_u64();
        (revision(&now) > revision(&before)).then_some(())
    })
    .await;
}

/// Waits until every replica presents what is in the Secret.
async fn served_by_all(site: &Site, fleet: &Fleet<'_>) {
    let secret = site.secrets.get("harbormaster-tls").await.unwrap();
    let data = secret.data.unwrap();
    let chain = kube_webhook::certs::certificates(&data["tls.crt"].0);
    let name = format!("harbormaster.{NAMESPACE}.svc");
    for own in fleet.replicas() {
        until("the renewed certificate to be served", async || {
            let served = presented(own.tls(), &name, &data["ca.crt"].0).await?;
            (served == chain).then_some(())
        })
        .await;
    }
}

/// Brings the Secret to a pod, for ever.
async fn play_kubelet(secrets: Api<Secret>, mount: PathBuf, delay: Duration) {
    let mut mounted = None;
    for generation in 0.. {
        let secret = secrets.get_opt("harbormaster-tls").await.ok().flatten();
        if let Some(data) = secret.and_then(|secret| secret.data)
            && mounted.as_ref() != Some(&data)
        {
            // Seen by then; in the pod a while later.
            tokio::time::sleep(delay).await;
            let files = data.iter().map(|(name, text)| (name.as_str(), &*text.0));
            swap(&mount, generation, files).unwrap();
            mounted = Some(data);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn swap<'a>(
    mount: &Path,
    generation: usize,
    files: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> io::Result<()> {
    let folder = format!("..{generation}");
    fs::create_dir(mount.join(&folder))?;
    for (name, text) in files {
        fs::write(mount.join(&folder).join(name), text)?;
        let link = mount.join(name);
        if !link.is_symlink() {
            symlink(format!("..data/{name}"), link)?;
        }
    }
    symlink(&folder, mount.join("..data_tmp"))?;
    fs::rename(mount.join("..data_tmp"), mount.join("..data"))
}
