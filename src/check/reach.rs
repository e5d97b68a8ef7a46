//! The way of a call: Service, endpoints, pods, listener.

use k8s_openapi::{
    api::core::v1::{Container, Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use super::{Findings, observed::Observed};
use crate::manifests::NAME;

pub(super) fn examine(observed: &Observed, findings: &mut Findings) {
    if let Some((name, port)) = &observed.expected.service {
        service(observed, name, *port, findings);
    }
    listeners(observed, findings);
}

fn service(observed: &Observed, name: &str, port: u16, findings: &mut Findings) {
    let expected = &observed.expected;
    let namespace = &expected.namespace;
    let subject = format!("Service/{name}");
    if observed.service.is_missing() {
        findings.error(
            "service-missing",
            subject,
            format!("the Service is not there in the namespace {namespace}"),
            "the API server has nobody to call, and fails with `service \"...\" not found`",
            expected.apply_file("base/service.yaml", ""),
        );
        return;
    }
    let Some(live) = observed.service.found() else {
        return;
    };
    let ports = live
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    match ports.iter().position(|one| one.port == i32::from(port)) {
        None => findings.error(
            "service-port",
            subject.clone(),
            format!("the Service has no port {port}"),
            "the configurations name that port; every call fails",
            replace(namespace, name, "/spec/ports/0/port", i32::from(port)),
        ),
        Some(index) => {
            if let Some((told, listened)) = target_port(observed, &ports[index]) {
                let path = format!("/spec/ports/{index}/targetPort");
                findings.error(
                    "target-port",
                    subject.clone(),
                    told,
                    "calls reach nobody, or a listener that doesn't speak TLS",
                    replace(namespace, name, &path, listened),
                );
            }
        }
    }
    no_endpoints(observed, live, &subject, findings);
}

/// An apply would add a second port of that name, and be refused.
fn replace(namespace: &str, service: &str, path: &str, value: i32) -> String {
    format!(
        "kubectl patch service {service} --namespace {namespace} --type=json \
         -p '[{{\"op\":\"replace\",\"path\":\"{path}\",\"value\":{value}}}]'"
    )
}

/// The kubelet knows the containers' ports by name, so a name that no container has leads nowhere.
fn target_port(observed: &Observed, port: &ServicePort) -> Option<(String, i32)> {
    let deployment = observed.deployment.found()?;
    let pod = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
    let listened = tls_port(observed, containers)?;
    let leads_to = match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => containers
            .iter()
            .flat_map(|container| container.ports.iter().flatten())
            .find(|one| one.name.as_ref() == Some(name))
            .map(|one| one.container_port),
    };
    if leads_to == Some(listened) {
        return None;
    }
    let told = match (&port.target_port, leads_to) {
        (Some(IntOrString::String(name)), None) => {
            format!("targetPort {name} is a name that no container port has")
        }
        (_, number) => format!(
            "the Service leads to port {}, and we listen on {listened}",
            number.unwrap_or_default()
        ),
    };
    Some((told, listened))
}

fn tls_port(observed: &Observed, containers: &[Container]) -> Option<i32> {
    if let Some(port) = observed.value("PORT") {
        return port.parse().ok();
    }
    containers
        .iter()
        .any(|container| container.name == NAME)
        .then_some(DEFAULT_PORT)
}

fn no_endpoints(observed: &Observed, live: &Service, subject: &str, findings: &mut Findings) {
    let namespace = &observed.expected.namespace;
    let Some(endpoints) = observed.endpoints.found() else {
        return;
    };
    if endpoints.iter().any(|endpoint| endpoint.is_ready) {
        return;
    }
    let selector = live.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let labels = selector.map(|labels| {
        let pairs = labels.iter().map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    });
    let (cause, mend) = match (observed.pods.found(), labels) {
        (_, None) => (
            "the Service has no selector, and nobody writes its EndpointSlices".to_owned(),
            observed.expected.apply_file("base/service.yaml", ""),
        ),
        (Some(pods), Some(labels)) if pods.is_empty() => (
            format!("no pod has the labels {labels}"),
            format!(
                "kubectl get deployment,replicaset,pod --namespace {namespace}; kubectl get events --namespace {namespace}"
            ),
        ),
        (Some(pods), Some(labels)) => (
            pods.iter().map(trouble).collect::<Vec<_>>().join("; "),
            format!(
                "kubectl describe pod --namespace {namespace} --selector {labels}; kubectl logs --namespace {namespace} --selector {labels} --tail 20"
            ),
        ),
        (None, Some(labels)) => (
            "no pod is ready".to_owned(),
            format!("kubectl describe pod --namespace {namespace} --selector {labels}"),
        ),
    };
    findings.error(
        "no-ready-endpoints",
        subject,
        "the Service has no ready endpoint: calls fail with `no endpoints available`, or time out",
        cause,
        mend,
    );
}

/// What a pod says about itself.
fn trouble(pod: &Pod) -> String {
    let name = pod.name_any();
    let Some(status) = &pod.status else {
        return format!("{name} has no status");
    };
    for container in status.container_statuses.iter().flatten() {
        let state = container.state.as_ref();
        if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or("waits");
            let last = container
                .last_state
                .as_ref()
                .and_then(|state| state.terminated.as_ref());
            let exit = last.map(|last| format!(", last exit code {}", last.exit_code));
            let message = waiting.message.as_ref().map(|text| format!(": {text}"));
            return format!(
                "{name}: {reason}{}{}",
                exit.unwrap_or_default(),
                message.unwrap_or_default()
            );
        }
    }
    let conditions = status.conditions.iter().flatten();
    let bad = conditions
        .filter(|condition| condition.status != "True")
        .find(|condition| condition.type_ == "PodScheduled" || condition.type_ == "Ready");
    match bad {
        Some(condition) => format!(
            "{name}: {} is {}{}",
            condition.type_,
            condition.status,
            condition
                .message
                .as_ref()
                .map(|text| format!(": {text}"))
                .unwrap_or_default()
        ),
        None => format!("{name}: {}", status.phase.as_deref().unwrap_or("no phase")),
    }
}

fn listeners(observed: &Observed, findings: &mut Findings) {
    for dial in &observed.dials {
        if let Err(why) = &dial.chain {
            findings.error(
                "no-tls-answer",
                &dial.address,
                format!("the listener does not complete a TLS handshake: {why}"),
                "nobody listens there, a NetworkPolicy is in the way, or it doesn't speak TLS",
                format!(
                    "kubectl logs --namespace {} deployment/harbormaster --tail 20",
                    observed.expected.namespace
                ),
            );
        }
    }
}

/// Of `PORT`.
const DEFAULT_PORT: i32 = 5001;
