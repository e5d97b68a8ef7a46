//! The end, as every task hears of it, and the wait for theirs.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::{sync::watch, task::JoinSet};
use tracing::warn;

/// One switch for all tasks.
pub(super) struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(super) fn wait(&self) -> BoxFuture<'static, ()> {
        let mut receiver = self.0.subscribe();
        async move {
            // An error means that the switch is gone, and with it the reason to run.
            let _ = receiver.wait_for(|stopped| *stopped).await;
        }
        .boxed()
    }

    pub(super) fn is_on(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }

    pub(super) fn now(&self) {
        self.0.send_replace(true);
    }
}

/// Waits for the end of each, for so long; whoever is late then is cut off.
pub(super) async fn until_ended(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    limit: Duration,
) -> anyhow::Result<()> {
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    if let Ok(ended) = tokio::time::timeout(limit, ended).await {
        return ended;
    }
    warn!(tasks = tasks.len(), "cut off at the end of the shutdown");
    tasks.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::{self, error::TryRecvError};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn who_never_ends_is_cut_off_at_the_end_of_the_shutdown() {
        let (alive, mut is_alive) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { Ok(()) });
        tasks.spawn(async move {
            std::future::pending::<()>().await;
            drop(alive);
            Ok(())
        });
        until_ended(&mut tasks, Duration::from_millis(50))
            .await
            .unwrap();
        assert!(tasks.is_empty());
        assert_eq!(is_alive.try_recv(), Err(TryRecvError::Closed));
    }

    #[tokio::test]
    async fn a_shutdown_lasts_no_longer_than_its_tasks_and_tells_of_one_that_failed() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { Ok(()) });
        until_ended(&mut tasks, LONG).await.unwrap();
        tasks.spawn(async { anyhow::bail!("no") });
        let failed = until_ended(&mut tasks, LONG).await;
        assert_eq!(failed.unwrap_err().to_string(), "no");
    }
}
