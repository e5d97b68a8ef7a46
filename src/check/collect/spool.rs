//! Looks into the spool of a replica that doesn't run.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use super::Asker;
use crate::{
    check::observed::{Reading, Spool, SpoolContent, Unread},
    events::spool::{self, StoreError},
    manifests::NAME,
};

impl Asker {
    pub(super) async fn spool(&mut self, folder: PathBuf) -> Option<Spool> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let system = self
            .read("Namespace/kube-system", namespaces.get("kube-system"))
            .await;
        let this_cluster = match system {
            Reading::Found(namespace) => namespace.metadata.uid,
            Reading::Missing | Reading::Unknown => None,
        };
        let shown = folder.display().to_string();
        // It reads files, and waits for nobody.
        let looked = tokio::task::spawn_blocking(move || spool::inspect(&folder)).await;
        let content = match looked {
            Ok(Ok(inspection)) => Ok(SpoolContent {
                events: inspection.counts.waiting,
                oldest: inspection.counts.oldest,
                set_aside: inspection
                    .set_aside
                    .into_iter()
                    .map(|(_, reason)| reason)
                    .collect(),
                cluster: inspection.cluster,
                this_cluster,
            }),
            Ok(Err(StoreError::InUse(_))) => {
                self.unread.push(Unread {
                    what: format!("the spool {shown}"),
                    why: "a replica that runs has it open".to_owned(),
                    mend: format!(
                        "kubectl port-forward deployment/{NAME} 8080 & \
                         curl --silent localhost:8080/metrics | grep spool"
                    ),
                });
                return None;
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        Some(Spool {
            folder: shown,
            content,
        })
    }
}
