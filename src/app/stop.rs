//! The end, as every task hears of it.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::watch;

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
