//! Who we are, as the API server sees it: known only once it has been asked, which may be
//! long after the event door has opened. Nobody but us can be us, so until then nobody is.

use std::sync::{Arc, OnceLock};

/// Our own user. Clones share what is learnt.
#[derive(Clone, Debug, Default)]
pub struct OwnUser(Arc<OnceLock<String>>);

impl OwnUser {
    /// Takes note of what the API server says.
    pub fn learn(&self, username: String) {
        // It is asked once, and a user's name doesn't change while it runs.
        let _ = self.0.set(username);
    }

    /// The name, if it is known.
    pub fn name(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

impl From<String> for OwnUser {
    fn from(username: String) -> Self {
        let user = Self::default();
        user.learn(username);
        user
    }
}
