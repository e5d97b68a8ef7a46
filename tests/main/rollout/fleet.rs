//! Replicas behind the Service, each at an address of its own, as a Deployment rolls them.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use control_plane::{Network, ServiceEndpoints};

use crate::{certificates::site::Site, own::Own};

pub(crate) struct Fleet<'a> {
    site: &'a Site,
    network: &'a Network,
    endpoints: ServiceEndpoints,
    settings: Vec<(&'a str, &'a str)>,
    replicas: VecDeque<(SocketAddr, Own)>,
    started: u16,
}

impl<'a> Fleet<'a> {
    pub(crate) async fn new(
        site: &'a Site,
        network: &'a Network,
        settings: &[(&'a str, &'a str)],
    ) -> Self {
        let mut settings = settings.to_vec();
        settings.push(("DRAIN_DELAY", DRAIN_DELAY));
        Self {
            site,
            network,
            endpoints: site.endpoints().await,
            settings,
            replicas: VecDeque::new(),
            started: 0,
        }
    }

    /// Another one, which is called once it is ready.
    pub(crate) async fn add(&mut self, more: &[(&str, &str)]) {
        self.started += 1;
        let [block, last] = self.started.to_be_bytes();
        let ip = Ipv4Addr::new(10, 1, block, last);
        self.network.add_address(ip).unwrap();
        let address = ip.to_string();
        let mut settings = self.settings.clone();
        settings.extend([("BIND_ADDRESS", &*address), ("PORT", "5001")]);
        settings.extend(more);
        let name = format!("replica-{}", self.started);
        let own = self.site.start(&name, &settings).await;
        own.until_ready().await;
        self.replicas.push_back((SocketAddr::from((ip, 5001)), own));
        self.list().await;
    }

    /// Ends the oldest as the kubelet does; that it is no endpoint any more is known a little later.
    pub(crate) async fn remove_the_oldest(&mut self) {
        let (_, own) = self.replicas.pop_front().unwrap();
        own.terminate();
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.list().await;
        own.ends_well().await;
    }

    /// All there are.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = &Own> {
        self.replicas.iter().map(|(_, own)| own)
    }

    async fn list(&self) {
        let addresses: Vec<_> = self.replicas.iter().map(|(address, _)| *address).collect();
        self.endpoints.set(&addresses).await.unwrap();
    }
}

/// Less than in production, where endpoints take longer to be known everywhere.
const DRAIN_DELAY: &str = "4s";
