//! What `serve` was told, checked: arguments and environment become a [`Config`] that is
//! whole, or the start is refused with the setting's name. Nothing is read after it.
//!
//! Two stages: [`ServeArgs`] is what was said, [`Config`] what it means.

mod alt_name;
mod callbacks;
mod events_tls;
mod registration;
mod tls;

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{ArgAction, Args};
use kube::discovery::ApiResource;

pub(crate) use self::tls::extra_names;
pub use self::{
    alt_name::{AltName, BadName},
    events_tls::EventsTls,
    registration::Registration,
    tls::TlsMode,
};
use self::{
    callbacks::CallbackArgs, events_tls::EventsTlsArgs, registration::RegistrationArgs,
    tls::TlsArgs,
};
use crate::{
    api::{span, v1::Image},
    callbacks::Endpoints,
    events::{identity::HOST, intent::Filters, signature::Secrets},
    reservations::decide::Policy,
};

/// The settings of `serve`, as they were given.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    pub hosts: HostArgs,

    /// Where the image is that is put on a host at the start of a booking
    #[arg(long, env = "PROVISION_IMAGE", default_value = PLACEHOLDER_IMAGE)]
    provision_image: String,

    /// The image's checksum, or where that is
    #[arg(long, env = "PROVISION_CHECKSUM")]
    provision_checksum: Option<String>,

    /// md5, sha256, sha512 or auto
    #[arg(long, env = "PROVISION_CHECKSUM_TYPE")]
    provision_checksum_type: Option<String>,

    /// The image that a host carries while it is free; empty: none
    #[arg(long, env = "DEPROVISION_IMAGE", default_value = "")]
    deprovision_image: String,

    /// The secret that the events are signed with; empty: signatures are not checked
    #[arg(
        long,
        env = "WEBHOOK_SECRET",
        hide_env_values = true,
        default_value = ""
    )]
    webhook_secret: SecretText,

    /// A folder of more such secrets, a file each; while it is empty, no event is accepted
    #[arg(long, env = "WEBHOOK_SECRETS_DIR", value_name = "FOLDER")]
    webhook_secrets_dir: Option<PathBuf>,

    /// The port of the TLS listener
    #[arg(long, env = "PORT", default_value_t = 5001)]
    port: u16,

    /// The address that all listeners bind
    #[arg(long, env = "BIND_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    bind_address: IpAddr,

    /// The port of the plain listener for probes
    #[arg(long, env = "ADMIN_PORT", default_value_t = 8080)]
    admin_port: u16,

    /// The port of a plain listener for /webhook, for use behind an ingress that ends TLS
    #[arg(long, env = "EVENTS_HTTP_PORT")]
    events_http_port: Option<u16>,

    /// The program's own namespace, where its Lease is [default: the service account's]
    #[arg(long, env = "POD_NAMESPACE")]
    pod_namespace: Option<String>,

    /// A kubeconfig that overrules the cluster's own configuration and KUBECONFIG
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Names the sender: part of a Reservation's name and identity
    #[arg(long, env = "EVENT_PROVIDER", default_value = "portal")]
    event_provider: String,

    /// The resource types acted on, separated by commas [default: all]
    #[arg(long, env = "RESOURCE_TYPES", value_delimiter = ',')]
    resource_types: Vec<String>,

    /// How long imaging may take before a reservation fails
    #[arg(long, env = "PROVISIONING_TIMEOUT", default_value = "45m", value_parser = span::parse)]
    provisioning_timeout: Duration,

    /// How long after its end a booking is released by our own clock
    #[arg(long, env = "END_GRACE", default_value = "10m", value_parser = span::parse)]
    end_grace: Duration,

    /// Where accepted events wait while the API server is away; a folder for each replica
    /// [default: /var/lib/harbormaster in a cluster, else the platform's state directory]
    #[arg(long, env = "SPOOL_DIR", value_name = "FOLDER")]
    spool_dir: Option<PathBuf>,

    /// How much may wait there
    #[arg(
        long,
        env = "SPOOL_LIMIT",
        value_name = "SIZE",
        default_value = "256MiB"
    )]
    spool_limit: ByteSize,

    #[command(flatten)]
    tls: TlsArgs,

    /// The CAs of API servers' client certificates, PEM: without one of theirs, a review for
    /// /validate or /mutate is refused (never one for /convert, which bears none)
    #[arg(long, env = "CLIENT_CA_FILE", value_name = "FILE")]
    client_ca_file: Option<PathBuf>,

    #[command(flatten)]
    registration: RegistrationArgs,

    #[command(flatten)]
    events_tls: EventsTlsArgs,

    /// A file with the cloud-init template of the hosts' user data [default: the user's keys]
    #[arg(long, env = "USER_DATA_TEMPLATE", value_name = "FILE")]
    user_data_template: Option<PathBuf>,

    #[command(flatten)]
    callbacks: CallbackArgs,

    /// How long to go on serving after SIGTERM, while endpoints still name this replica
    #[arg(long, env = "DRAIN_DELAY", default_value = "10s", value_parser = span::parse)]
    drain_delay: Duration,

    /// Whether the calendar page names the users, to all who reach the admin port
    #[arg(
        long,
        env = "CALENDAR_SHOW_USERS",
        value_name = "BOOL",
        default_value_t = false,
        action = ArgAction::Set
    )]
    calendar_show_users: bool,
}

/// Which hosts, and where; shared by `serve` and `generate`.
#[derive(Args, Clone, Debug)]
pub struct HostArgs {
    /// The namespace of BareMetalHosts and Reservations
    #[arg(long, env = "K8S_NAMESPACE", default_value = "default")]
    pub k8s_namespace: String,

    /// The API group of the host kind
    #[arg(long, env = "BMH_API_GROUP", default_value = "metal3.io")]
    bmh_api_group: String,

    /// The API version of the host kind
    #[arg(long, env = "BMH_API_VERSION", default_value = "v1alpha1")]
    bmh_api_version: String,

    /// The plural of the host kind
    #[arg(long, env = "BMH_PLURAL", default_value = "baremetalhosts")]
    bmh_plural: String,

    /// Users whose writes to hosts are the operator's own, separated by commas; the flag may be empty
    /// (nobody), the variable then means the default
    #[arg(
        long,
        env = "OPERATOR_USERS",
        value_delimiter = ',',
        default_value = OPERATOR_USERS
    )]
    operator_users: Vec<String>,
}

/// A text that is never shown.
#[derive(Clone)]
struct SecretText(String);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// The settings of `serve`, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace of BareMetalHosts and Reservations.
    pub namespace: String,
    /// The host kind.
    pub hosts: ApiResource,
    /// The site's rules.
    pub policy: Policy,
    /// Who may send events.
    pub secrets: Secrets,
    /// A folder of more of their secrets.
    pub secrets_dir: Option<PathBuf>,
    /// Which events are acted on.
    pub filters: Filters,
    /// Where the portal is told what became of them.
    pub callbacks: Endpoints,
    /// Names the sender.
    pub event_provider: String,
    /// Where the TLS listener binds.
    pub tls_address: SocketAddr,
    /// Where the plain listener for probes binds.
    pub admin_address: SocketAddr,
    /// Where the plain listener for events binds, if there is one.
    pub events_address: Option<SocketAddr>,
    /// Where the serving certificate comes from.
    pub tls: TlsMode,
    /// As what we register ourselves, if we do.
    pub registration: Option<Registration>,
    /// The CAs of API servers' client certificates, if they must present one.
    pub client_ca: Option<PathBuf>,
    /// A second certificate for the event processor.
    pub events_tls: Option<EventsTls>,
    /// The program's own namespace, if it was said.
    pub pod_namespace: Option<String>,
    /// A kubeconfig that overrules everything else.
    pub kubeconfig: Option<PathBuf>,
    /// The template of the hosts' user data, if the site has its own.
    pub user_data_template: Option<PathBuf>,
    /// How long to go on serving after SIGTERM.
    pub drain_delay: Duration,
    /// Where accepted events wait while the API server is away.
    pub spool_dir: PathBuf,
    /// How many bytes of them may.
    pub spool_limit: u64,
    /// Users whose writes to hosts are the operator's own.
    pub operator_users: BTreeSet<String>,
    /// Whether the calendar page names users.
    pub show_users: bool,
}

/// A setting that can't be used: exit code 64.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct BadSetting {
    setting: &'static str,
    problem: String,
}

impl ServeArgs {
    /// Checks what was said. `in_cluster`: whether this is a pod.
    pub fn check(self, in_cluster: bool) -> Result<Config, BadSetting> {
        let tls = self.tls.check(in_cluster)?;
        let provider = check_provider(self.event_provider)?;
        let image = check_image(
            self.provision_image,
            self.provision_checksum,
            self.provision_checksum_type,
        )?;
        let address = |port| SocketAddr::new(self.bind_address, port);
        Ok(Config {
            namespace: self.hosts.k8s_namespace.clone(),
            hosts: self.hosts.resource(),
            policy: Policy {
                image,
                deprovision_image: Some(self.deprovision_image).filter(|url| !url.is_empty()),
                provisioning_timeout: self.provisioning_timeout,
                end_grace: self.end_grace,
            },
            secrets: Secrets::from_text(&self.webhook_secret.0),
            secrets_dir: self.webhook_secrets_dir,
            filters: Filters {
                resource_types: words(self.resource_types),
            },
            registration: self.registration.check()?,
            client_ca: self.client_ca_file,
            events_tls: self.events_tls.check()?,
            callbacks: self.callbacks.check()?,
            event_provider: provider,
            tls_address: address(self.port),
            admin_address: address(self.admin_port),
            events_address: self.events_http_port.map(address),
            tls,
            pod_namespace: self.pod_namespace.filter(|name| !name.is_empty()),
            kubeconfig: self.kubeconfig,
            spool_dir: self.spool_dir.unwrap_or_else(|| state_folder(in_cluster)),
            spool_limit: self.spool_limit.as_u64(),
            user_data_template: self.user_data_template,
            drain_delay: self.drain_delay,
            operator_users: self.hosts.operator_users(),
            show_users: self.calendar_show_users,
        })
    }
}

impl HostArgs {
    /// Users whose writes to hosts are the operator's own.
    pub fn operator_users(&self) -> BTreeSet<String> {
        words(self.operator_users.clone())
    }

    /// The host kind.
    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.bmh_api_group.clone(),
            version: self.bmh_api_version.clone(),
            api_version: format!("{}/{}", self.bmh_api_group, self.bmh_api_version),
            plural: self.bmh_plural.clone(),
            ..metal3::BareMetalHost::resource()
        }
    }
}

impl Config {
    /// Whether `PROVISION_IMAGE` still has the default of the earlier receiver, which no
    /// operator accepts.
    pub fn has_placeholder_image(&self) -> bool {
        self.policy.image.url == PLACEHOLDER_IMAGE
    }
}

fn check_provider(provider: String) -> Result<String, BadSetting> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let label = !provider.is_empty() && provider.len() <= 12 && provider.bytes().all(plain);
    if label && provider != HOST {
        return Ok(provider);
    }
    Err(bad(
        "EVENT_PROVIDER",
        "must be 1 to 12 lower-case letters or digits, and not `host`",
    ))
}

fn check_image(
    url: String,
    checksum: Option<String>,
    checksum_type: Option<String>,
) -> Result<Image, BadSetting> {
    if url.is_empty() {
        return Err(bad("PROVISION_IMAGE", "must not be empty"));
    }
    let checksum_type = checksum_type.filter(|text| !text.is_empty());
    if let Some(given) = &checksum_type
        && !CHECKSUM_TYPES.contains(&given.as_str())
    {
        return Err(bad(
            "PROVISION_CHECKSUM_TYPE",
            "must be md5, sha256, sha512 or auto",
        ));
    }
    // An OCI image is named by its digest, and the operator refuses a checksum beside it.
    let checksum = checksum.filter(|text| !text.is_empty() && !url.starts_with("oci://"));
    Ok(Image {
        url,
        checksum_type: checksum.as_ref().and(checksum_type),
        checksum,
        format: None,
    })
}

/// Where a program's state is kept: the image's volume, or what the platform says.
fn state_folder(in_cluster: bool) -> PathBuf {
    let platform = || dirs::state_dir().or_else(dirs::data_local_dir);
    match (in_cluster, platform()) {
        (false, Some(folder)) => folder.join("harbormaster"),
        (true, _) | (false, None) => PathBuf::from("/var/lib/harbormaster"),
    }
}

fn words(list: Vec<String>) -> BTreeSet<String> {
    list.into_iter()
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

fn bad(setting: &'static str, problem: impl Into<String>) -> BadSetting {
    BadSetting {
        setting,
        problem: problem.into(),
    }
}

/// The earlier receiver's default.
pub(crate) const PLACEHOLDER_IMAGE: &str = "default-provision-image-url";

/// Where Metal3's own manifests put the operator.
const OPERATOR_USERS: &str = "\
    system:serviceaccount:baremetal-operator-system:baremetal-operator-controller-manager,\
    system:serviceaccount:metal3:baremetal-operator,\
    system:serviceaccount:capm3-system:baremetal-operator-controller-manager";

const CHECKSUM_TYPES: [&str; 4] = ["auto", "md5", "sha256", "sha512"];

#[cfg(test)]
mod tests;
