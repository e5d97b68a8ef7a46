//! The start of a control plane.
//!
//! Owns what can be chosen about one, and the order in which its parts start.
//! Called by users, through [`ControlPlane::builder`].

use std::env;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::Client;
use tokio::sync::OnceCell;

use crate::access::Access;
use crate::api_server::{self, ApiServer, Options};
use crate::assets::{Assets, Tool};
use crate::authority::Authority;
use crate::control_plane::{ATTEMPTS, ControlPlane, Parts};
use crate::controller_manager;
use crate::daemon::{Folder, Wait};
use crate::error::Error;
use crate::etcd;
use crate::ports;

impl ControlPlane {
    /// Starts a control plane with all defaults.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// A control plane to be started with other than the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The control plane that all tests of a binary share, started by the first.
    ///
    /// A static is never dropped: what ends this control plane is the end of the
    /// process.
    ///
    /// # Panics
    ///
    /// When it cannot be started, with all that is known of why: no test that asks
    /// for it can go on.
    #[expect(clippy::panic, reason = "what a test does when it cannot go on")]
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        match SHARED.get_or_try_init(Self::start).await {
            Ok(control_plane) => control_plane,
            Err(error) => {
                let mut causes = error.to_string();
                let mut error: &dyn std::error::Error = &error;
                while let Some(source) = error.source() {
                    causes.push_str(": ");
                    causes.push_str(&source.to_string());
                    error = source;
                }
                panic!("no control plane: {causes}");
            }
        }
    }
}

/// A control plane that is not yet started.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing runs until `start`"]
pub struct Builder {
    options: Options,
    controller_manager: bool,
}

impl Builder {
    /// Adds an argument to kube-apiserver's, such as `--feature-gates=...`. The
    /// last of several arguments with the same name counts.
    pub fn api_server_arg(mut self, argument: impl Into<String>) -> Self {
        self.options.arguments.push(argument.into().into());
        self
    }

    /// Sets the address that the API server gives out for itself in the endpoints of
    /// the Service `kubernetes`. Without it that is one that leads nowhere, as the
    /// API server listens on the loopback address alone.
    pub fn advertise_address(mut self, address: IpAddr) -> Self {
        self.options.advertise_address = address;
        self
    }

    /// Makes the API server call Services by their endpoints rather than by their
    /// cluster IP (`--enable-aggregator-routing=true`).
    pub fn endpoint_routing(self) -> Self {
        self.api_server_arg("--enable-aggregator-routing=true")
    }

    /// Runs kube-controller-manager too: without it no garbage is collected, no
    /// namespace is ever deleted, and no service account is made.
    pub fn with_controller_manager(mut self) -> Self {
        self.controller_manager = true;
        self
    }

    /// Sets how long each part may take to be ready; 60 seconds without it.
    pub fn startup_timeout(mut self, timeout: Duration) -> Self {
        self.options.startup_timeout = timeout;
        self
    }

    /// Starts the control plane and waits until it is ready, some two seconds.
    ///
    /// # Errors
    ///
    /// When the binaries are neither there nor can they be built, or when a daemon
    /// ends (the end of its log is in the error) or is not ready in time.
    pub async fn start(self) -> Result<ControlPlane, Error> {
        let mut tools = Tool::REQUIRED.to_vec();
        if self.controller_manager {
            tools.push(Tool::KubeControllerManager);
        }
        let assets = Assets::find_or_build(&tools).await?;
        let mut attempt = 1;
        loop {
            match self.attempt(&assets).await {
                Err(error) if error.is_port_clash() && attempt < ATTEMPTS => {
                    tracing::debug!(attempt, "another process took a port, starting again");
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn attempt(&self, assets: &Assets) -> Result<ControlPlane, Error> {
        let Self {
            options,
            controller_manager,
        } = self;
        let folder = Folder::keep(folder_path()).await?;
        let authority = Authority::generate()?;
        let admin = authority.user(ADMIN, &["system:masters"])?;
        let wait = Wait::of(options.startup_timeout);
        let (etcd, etcd_url) = etcd::start(assets, &folder, wait).await?;

        let [port] = ports::free()?;
        let access = Access::new(port, &authority);
        let config = access.config(&admin);
        let api_server = ApiServer::prepare(
            assets,
            &folder,
            &authority,
            &etcd_url,
            port,
            options,
            config.clone(),
        )?;
        api_server.start(etcd.lifeline()).await?;

        let kubeconfig = folder.path().join("kubeconfig");
        api_server::write(&kubeconfig, &access.kubeconfig(ADMIN, &admin))?;
        let controller_manager = if *controller_manager {
            let client = Client::try_from(config.clone()).map_err(|source| Error::Api {
                request: "credentials of its administrator",
                source: Box::new(source),
            })?;
            let wait = Wait::of(options.startup_timeout);
            let lifeline = etcd.lifeline();
            let start =
                controller_manager::start(assets, &folder, &kubeconfig, &client, lifeline, wait);
            Some(start.await?)
        } else {
            None
        };
        Ok(ControlPlane::new(Parts {
            controller_manager,
            api_server,
            etcd,
            folder,
            authority,
            access,
            admin: config,
            kubeconfig,
            assets: assets.clone(),
        }))
    }
}

/// A name that no other control plane of this machine has.
fn folder_path() -> PathBuf {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let started = STARTED.fetch_add(1, Ordering::Relaxed);
    // The time, as process ids come again and in each container the same.
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let name = format!(
        "{PREFIX}{}-{started}-{:08x}",
        process::id(),
        time.subsec_nanos()
    );
    // The scripts that keep the folder have the root folder as theirs.
    let folder = env::temp_dir().join(name);
    std::path::absolute(&folder).unwrap_or(folder)
}

/// What the name of each control plane's folder begins with.
const PREFIX: &str = "control-plane-";

/// The name of the administrator.
const ADMIN: &str = "admin";
