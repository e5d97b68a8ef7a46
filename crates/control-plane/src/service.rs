//! Services, without kubelet or kube-proxy.
//!
//! Owns the objects by which the API server finds a webhook that is named by a
//! Service: one with a cluster IP that the test listens on itself, or one with
//! endpoints. The addresses are the matter of [`network`](crate::network).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::error::Error;

impl ControlPlane {
    /// Makes a Service of which `ip` is the cluster IP, and `port` the port and
    /// what is to be listened on.
    ///
    /// The address is to be one of the service range, 10.0.0.0/24, of which the first
    /// is taken; the API server calls it directly.
    ///
    /// # Errors
    ///
    /// When the API server refuses the Service, for one because the namespace is
    /// not there or the address is taken.
    pub async fn cluster_ip_service(
        &self,
        namespace: &str,
        name: &str,
        ip: Ipv4Addr,
        port: u16,
    ) -> Result<(), Error> {
        let spec = json!({"clusterIP": ip, "ports": [{"port": port}]});
        self.apply_service(namespace, name, &spec).await
    }

    /// Makes a Service, of port 443, with these endpoints.
    ///
    /// A control plane that was built with
    /// [`endpoint_routing`](crate::Builder::endpoint_routing) calls one of them,
    /// and stays with it for as long as the connection lasts.
    ///
    /// # Errors
    ///
    /// When the API server refuses the Service or its endpoints, which may not be
    /// loopback addresses.
    pub async fn endpoints_service(
        &self,
        namespace: &str,
        name: &str,
        endpoints: &[SocketAddr],
    ) -> Result<ServiceEndpoints, Error> {
        let spec = json!({"ports": [{"port": 443}]});
        self.apply_service(namespace, name, &spec).await?;
        let service = ServiceEndpoints {
            slices: Api::namespaced(self.client(), namespace),
            service: name.to_owned(),
        };
        service.set(endpoints).await?;
        Ok(service)
    }

    async fn apply_service(&self, namespace: &str, name: &str, spec: &Value) -> Result<(), Error> {
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": spec,
        });
        let services: Api<Service> = Api::namespaced(self.client(), namespace);
        let applied = services.patch(name, &apply(), &Patch::Apply(service)).await;
        applied.map_err(refused("Service"))?;
        Ok(())
    }
}

/// The endpoints of a Service, which a rollout changes.
#[derive(Clone, Debug)]
pub struct ServiceEndpoints {
    slices: Api<EndpointSlice>,
    service: String,
}

impl ServiceEndpoints {
    /// Makes these the endpoints of the Service: all ready, and no others.
    ///
    /// The API server learns of it asynchronously, as kube-proxy does: an endpoint
    /// has to serve a while longer than it is listed.
    ///
    /// # Errors
    ///
    /// When the API server refuses them, or cannot be reached.
    pub async fn set(&self, endpoints: &[SocketAddr]) -> Result<(), Error> {
        let slices = self.by_slice(endpoints);
        for (name, (kind, port, addresses)) in &slices {
            let ready = json!({"ready": true, "serving": true, "terminating": false});
            let endpoints = addresses
                .iter()
                .map(|address| json!({"addresses": [address], "conditions": ready}));
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": {
                    "kubernetes.io/service-name": self.service,
                    "endpointslice.kubernetes.io/managed-by": MANAGER,
                }},
                "addressType": kind,
                "ports": [{"port": port, "protocol": "TCP", "name": ""}],
                "endpoints": endpoints.collect::<Vec<_>>(),
            });
            let applied = self
                .slices
                .patch(name, &apply(), &Patch::Apply(slice))
                .await;
            applied.map_err(refused("EndpointSlice"))?;
        }
        // Last, so that there is no moment without endpoints.
        let selector = format!("kubernetes.io/service-name={}", self.service);
        let listed = self
            .slices
            .list(&ListParams::default().labels(&selector))
            .await;
        for slice in listed.map_err(refused("list of EndpointSlices"))? {
            let name = slice.name_any();
            if !slices.contains_key(&name) {
                let deleted = self.slices.delete(&name, &DeleteParams::default()).await;
                deleted.map_err(refused("deletion of an EndpointSlice"))?;
            }
        }
        Ok(())
    }

    /// All endpoints of a slice have the same port and kind of address.
    fn by_slice(
        &self,
        endpoints: &[SocketAddr],
    ) -> BTreeMap<String, (&'static str, u16, Vec<IpAddr>)> {
        let mut slices = BTreeMap::new();
        for endpoint in endpoints {
            let kind = if endpoint.is_ipv4() { "IPv4" } else { "IPv6" };
            let port = endpoint.port();
            let name = format!("{}-{}-{port}", self.service, kind.to_lowercase());
            let (.., addresses) = slices.entry(name).or_insert((kind, port, Vec::new()));
            addresses.push(endpoint.ip());
        }
        slices
    }
}

fn apply() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

fn refused(request: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Api {
        request,
        source: Box::new(source),
    }
}

/// The name that we have as manager of fields and of slices.
const MANAGER: &str = "control-plane";
