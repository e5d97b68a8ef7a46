//! Owns `spec` of a BareMetalHost: what its user asks for. Only the fields by which hosts are claimed,
//! imaged and switched are typed; all others are carried along. Called by [`crate::BareMetalHost`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `spec`: what is wanted of the host.
///
/// Absent and `false` are different things to the operator's users, so every flag is an `Option`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BareMetalHostSpec {
    /// Whether the power is to be on. The only field the CRD requires; `false` also keeps a host from
    /// being provisioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// The image to be written. Only a changed [`url`](Image::url) makes the operator act on a host
    /// that is already provisioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// A deploy procedure in place of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_deploy: Option<CustomDeploy>,
    /// Secret with the cloud-init user data, in the host's own namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<SecretReference>,
    /// Secret with the cloud-init network data, in the host's own namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_data: Option<SecretReference>,
    /// Secret with the cloud-init metadata, in the host's own namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_data: Option<SecretReference>,
    /// Who uses the host. The operator only reads whether it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_ref: Option<ConsumerRef>,
    /// Whether somebody else wrote the disk, so that the operator must not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub externally_provisioned: Option<bool>,
    /// How much is wiped between two users: `metadata` (partition tables only, the default) or
    /// `disabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automated_cleaning_mode: Option<String>,
    /// Whether the operator may never switch the host off; its webhook refuses `online: false` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_power_off: Option<bool>,
    /// How the host's management controller is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bmc: Option<Bmc>,
    /// MAC address of the interface the host boots from.
    #[serde(rename = "bootMACAddress", skip_serializing_if = "Option::is_none")]
    pub boot_mac_address: Option<String>,
    /// Text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An image, wanted (`spec.image`) or written (`status.provisioning.image`).
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Where the image is fetched from. Empty is the operator's way to say "no image".
    #[serde(default)]
    pub url: String,
    /// Checksum of the image, or the URL of a file with checksums. Not for `oci://` and `live-iso`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// `md5`, `sha256`, `sha512` or `auto`; the CRD refuses the empty text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum_type: Option<String>,
    /// `raw`, `qcow2`, `vdi`, `vmdk` or `live-iso`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A deploy procedure in place of an image.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomDeploy {
    /// Name of the procedure, known to the deploy ramdisk. Empty means none.
    #[serde(default)]
    pub method: String,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Names a Secret. The operator refuses any namespace but the host's own, so it is best left out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace of the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl SecretReference {
    /// The Secret of that name in the host's own namespace.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::default()
        }
    }
}

/// Who uses the host: an `ObjectReference`. Consumers of hosts skip those that carry a foreign one,
/// comparing kind, group, namespace and name, so all of these should be filled in.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerRef {
    /// `group/version` of the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace of the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Uid of the consumer, which tells it from a later one of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ConsumerRef {
    /// The group within [`api_version`](Self::api_version); `None` for the core group and where there
    /// is no version.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        let (group, _) = self.api_version.as_deref()?.split_once('/')?;
        Some(group)
    }
}

/// How the host's management controller is reached.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bmc {
    /// URL whose scheme names the driver, such as `redfish://192.0.2.7/redfish/v1/Systems/1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Secret with the keys `username` and `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_name: Option<String>,
    /// Whether any certificate of the controller is good enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_certificate_verification: Option<bool>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
