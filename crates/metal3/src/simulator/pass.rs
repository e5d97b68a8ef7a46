//! Owns one look at one host in the cluster: read it, ask the rules, write what they say, until they
//! have nothing more to say. Every write carries the version it was decided on, so that a change made
//! meanwhile by somebody else is never overwritten. Called by the driver, for one host at a time.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::rules::{Step, next};
use super::situation::Situation;
use super::timings::Timings;
use super::{CALL_DEADLINE, Simulator};
use crate::{BareMetalHost, ProvisioningState, names};

/// What every pass needs.
pub(super) struct Worker {
    client: Client,
    hosts: Api<BareMetalHost>,
    namespace: String,
    timings: Timings,
    require_user_data: bool,
}

/// What a pass leaves to the driver.
pub(super) struct Outcome {
    pub(super) name: String,
    /// When to look again, if not only after a change.
    pub(super) again: Option<Duration>,
    /// None where the host is gone.
    pub(super) situation: Option<Situation>,
}

impl Worker {
    pub(super) fn new(simulator: &Simulator, hosts: Api<BareMetalHost>) -> Self {
        Self {
            client: simulator.client.clone(),
            hosts,
            namespace: simulator.namespace.clone(),
            timings: simulator.timings.clone(),
            require_user_data: simulator.require_user_data,
        }
    }

    pub(super) async fn pass(&self, name: String, mut situation: Option<Situation>) -> Outcome {
        let mut again = Some(Duration::ZERO);
        // A host is given up after some steps to let others have their turn.
        for _ in 0..MOST_STEPS {
            match self.step(&name, situation.clone()).await {
                Ok(None) => {
                    (again, situation) = (None, None);
                    break;
                }
                Ok(Some((step, seen))) => {
                    situation = Some(seen);
                    match step {
                        Step::Idle => {
                            again = None;
                            break;
                        }
                        Step::Wait(remaining) => {
                            again = Some(remaining);
                            break;
                        }
                        _ => {}
                    }
                }
                Err(Failure::Call(kube::Error::Api(status)))
                    if status.is_conflict() || status.is_not_found() =>
                {
                    debug!(host = name, "changed meanwhile, reading it again");
                }
                Err(error) => {
                    warn!(host = name, %error, "host cannot be served now, trying again");
                    again = Some(RETRY);
                    break;
                }
            }
        }
        Outcome {
            name,
            again,
            situation,
        }
    }

    async fn step(
        &self,
        name: &str,
        situation: Option<Situation>,
    ) -> Result<Option<(Step, Situation)>, Failure> {
        // Read anew each time: a watch may lag behind the simulator's own last write.
        let Some(host) = within(self.hosts.get_opt(name)).await? else {
            return Ok(None);
        };
        let now = Timestamp::now();
        let situation = match situation {
            Some(situation) => situation.again(&host, now),
            None => Situation::first(&host, now),
        };
        let is_there = self.read_user_data(&host).await?;
        let user_data_missing = self.require_user_data && !is_there;
        let situation = situation.with_user_data_missing(user_data_missing);
        let step = next(&host, &situation, &self.timings);
        self.take(host, step.clone()).await?;
        Ok(Some((step, situation)))
    }

    async fn take(&self, mut host: BareMetalHost, step: Step) -> Result<(), Failure> {
        let name = host.name().to_owned();
        let before = host.state().clone();
        match step {
            Step::Idle | Step::Wait(_) => {}
            Step::AddFinalizer | Step::RemoveFinalizer => {
                step.apply(&mut host);
                let patch = json!({"metadata": {
                    "resourceVersion": host.metadata.resource_version,
                    "finalizers": host.metadata.finalizers,
                }});
                let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
                within(self.hosts.patch_metadata(&name, &params, &patch)).await?;
            }
            Step::Write(_) => {
                step.apply(&mut host);
                debug!(host = name, %before, after = %host.state(), "writing the status");
                within(
                    self.hosts
                        .replace_status(&name, &PostParams::default(), &host),
                )
                .await?;
            }
        }
        Ok(())
    }

    /// Looks for the user data of a host that is being provisioned, and marks the Secret as read.
    /// Whether it is there, or none is asked for.
    async fn read_user_data(&self, host: &BareMetalHost) -> Result<bool, Failure> {
        let Some(reference) = &host.spec.user_data else {
            return Ok(true);
        };
        if *host.state() != ProvisioningState::Provisioning {
            return Ok(true);
        }
        let Some(name) = reference.name.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(true);
        };
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        if !namespace.is_empty() && namespace != self.namespace {
            return Ok(false);
        }
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let Some(secret) = within(secrets.get_metadata_opt(name)).await? else {
            return Ok(false);
        };
        let label = secret
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(names::ENVIRONMENT));
        if label.is_none_or(|value| value != names::ENVIRONMENT_BAREMETAL) {
            let labels = json!({names::ENVIRONMENT: names::ENVIRONMENT_BAREMETAL});
            let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
            within(secrets.patch_metadata(name, &PatchParams::default(), &patch)).await?;
        }
        Ok(true)
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the API server did not answer within {CALL_DEADLINE:?}")]
    Late,
    #[error(transparent)]
    Call(#[from] kube::Error),
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    let answer = timeout(CALL_DEADLINE, call).await;
    Ok(answer.map_err(|_| Failure::Late)??)
}

const MOST_STEPS: usize = 32;

const RETRY: Duration = Duration::from_secs(1);
