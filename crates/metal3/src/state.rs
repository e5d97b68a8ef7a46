//! Owns the names of the provisioning states; refuses nothing, since an operator newer than this crate
//! may know more of them. Called by the status types and by whoever decides on a host's state.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `status.provisioning.state`: where the operator has brought a host.
///
/// There is no state of error: a failed host stays in the state that failed, and
/// `status.operationalStatus` says `error`. Whatever text the operator wrote comes back unchanged.
///
/// ```
/// use metal3::ProvisioningState;
///
/// let state: ProvisioningState = "externally provisioned".into();
/// assert_eq!(state, ProvisioningState::ExternallyProvisioned);
/// assert_eq!(ProvisioningState::from("rebuilding").as_str(), "rebuilding");
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ProvisioningState {
    /// The empty text: the operator has not looked at the host yet.
    #[default]
    None,
    /// `unmanaged`: the host has no BMC address, so nothing can be done with it.
    Unmanaged,
    /// `registering`: the BMC's address and credentials are being tried.
    Registering,
    /// `match profile`: a state of old operators between inspection and preparation.
    MatchProfile,
    /// `inspecting`: the hardware is being read out.
    Inspecting,
    /// `preparing`: RAID and firmware settings are being written.
    Preparing,
    /// `ready`: what old operators called [`Available`](Self::Available).
    Ready,
    /// `available`: fit to be provisioned.
    Available,
    /// `provisioning`: the image is being written.
    Provisioning,
    /// `provisioned`: the image was written, and the host is in use.
    Provisioned,
    /// `externally provisioned`: somebody else wrote the disk; the operator only switches the power.
    ExternallyProvisioned,
    /// `deprovisioning`: the disk is being wiped.
    Deprovisioning,
    /// `powering off before delete`: the last thing done to a host that is being deleted.
    PoweringOffBeforeDelete,
    /// `deleting`: the host is being dropped from Ironic.
    Deleting,
    /// A state that this crate does not know.
    Other(String),
}

impl ProvisioningState {
    /// The text as it stands in `status.provisioning.state`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if let Self::Other(text) = self {
            return text;
        }
        TEXTS
            .iter()
            .find(|(state, _)| state == self)
            .map_or("", |(_, text)| text)
    }

    /// Whether the host can be provisioned from here: `available`, or `ready` as old operators say.
    #[must_use]
    pub fn is_available(&self) -> bool {
        matches!(self, Self::Available | Self::Ready)
    }
}

impl fmt::Display for ProvisioningState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&str> for ProvisioningState {
    fn from(text: &str) -> Self {
        TEXTS
            .iter()
            .find(|(_, known)| *known == text)
            .map_or_else(|| Self::Other(text.to_owned()), |(state, _)| state.clone())
    }
}

impl FromStr for ProvisioningState {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl Serialize for ProvisioningState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProvisioningState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Null as absent: an Option costs nothing and keeps one odd host from failing a whole LIST.
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.as_deref().unwrap_or_default().into())
    }
}

const TEXTS: [(ProvisioningState, &str); 14] = [
    (ProvisioningState::None, ""),
    (ProvisioningState::Unmanaged, "unmanaged"),
    (ProvisioningState::Registering, "registering"),
    (ProvisioningState::MatchProfile, "match profile"),
    (ProvisioningState::Inspecting, "inspecting"),
    (ProvisioningState::Preparing, "preparing"),
    (ProvisioningState::Ready, "ready"),
    (ProvisioningState::Available, "available"),
    (ProvisioningState::Provisioning, "provisioning"),
    (ProvisioningState::Provisioned, "provisioned"),
    (
        ProvisioningState::ExternallyProvisioned,
        "externally provisioned",
    ),
    (ProvisioningState::Deprovisioning, "deprovisioning"),
    (
        ProvisioningState::PoweringOffBeforeDelete,
        "powering off before delete",
    ),
    (ProvisioningState::Deleting, "deleting"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_state_reads_back_from_its_text() {
        for (state, text) in TEXTS {
            assert_eq!(ProvisioningState::from(text), state);
            assert_eq!(state.as_str(), text);
            assert!(!matches!(state, ProvisioningState::Other(_)));
        }
    }

    #[test]
    fn an_unknown_state_keeps_its_text() {
        let state = ProvisioningState::from("Available");
        assert_eq!(state, ProvisioningState::Other("Available".into()));
        assert!(!state.is_available());
        assert_eq!(serde_json::to_value(state).unwrap(), "Available");
    }

    #[test]
    fn ready_is_available_but_stays_ready() {
        let state = ProvisioningState::from("ready");
        assert!(state.is_available());
        assert_eq!(state.to_string(), "ready");
    }
}
