//! Who has the host that an END names which names no booking.
//!
//! Events know nothing of hosts: the wiring says how one is looked up. It may look into a
//! cache, since nothing is decided by it alone: the Reservation is asked for afresh, and what
//! a wrong answer lets through, the controller looks at again.

use std::{fmt, sync::Arc};

use super::{NotRecorded, Recorder};

/// Finds the Reservation that has the host which answers to a resource's name.
#[derive(Clone)]
pub(super) struct Holders(Arc<Who>);

type Who = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Recorder {
    /// Asks there who has a host, before its END without an event id is recorded.
    #[must_use]
    pub fn asking(mut self, who: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.holders = Some(Holders(Arc::new(who)));
        self
    }

    /// Why the host is none of the minimal shape's: somebody's reservation has it.
    pub(super) async fn held_by_another(
        &self,
        resource: &str,
    ) -> Result<Option<String>, NotRecorded> {
        let holders = self.holders.as_ref();
        let Some(name) = holders.and_then(|holders| (holders.0)(resource)) else {
            return Ok(None);
        };
        let held = self.reservations.get_opt(&name).await?;
        Ok(held
            .filter(|reservation| !reservation.is_finished())
            .map(|_| format!("the host is held by Reservation {name}, which has its own end")))
    }
}

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holders")
    }
}
