//! The good practices that show in how a webhook server is installed: its pods, and the rights
//! around it. Called by `lint`.

use k8s_openapi::api::{
    core::v1::{PodSpec, PodTemplateSpec},
    policy::v1::PodDisruptionBudget,
    rbac::v1::PolicyRule,
};

use super::{
    Findings,
    Severity::{Advice, Warning},
};

/// Of a Deployment or a StatefulSet: where neither says how many, it means one.
pub(super) fn pods(
    name: &str,
    replicas: Option<i32>,
    template: &PodTemplateSpec,
    budgets: &[PodDisruptionBudget],
    findings: &mut Findings,
) {
    let replicas = replicas.unwrap_or(1);
    if replicas < 2 {
        findings.add(
            "G6",
            Warning,
            name,
            format!("it has {replicas} replica: while that one moves, nobody answers"),
            "run two or more",
        );
    }
    if !template.spec.as_ref().is_some_and(is_spread) {
        findings.add(
            "G6",
            Advice,
            name,
            "nothing spreads its replicas: one node may hold all of them",
            "add topologySpreadConstraints, or a podAntiAffinity, on kubernetes.io/hostname",
        );
    }
    let labels = template.metadata.as_ref();
    let labels = labels.and_then(|metadata| metadata.labels.as_ref());
    let is_budgeted = budgets.iter().any(|budget| {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let wanted = selector.and_then(|selector| selector.match_labels.as_ref());
        wanted.is_some_and(|wanted| {
            let has = |(key, value)| labels.is_some_and(|own| own.get(key) == Some(value));
            wanted.iter().all(has)
        })
    });
    if !is_budgeted {
        findings.add(
            "G6",
            Advice,
            name,
            "no PodDisruptionBudget selects its pods: a drain may take all at once",
            "add one with maxUnavailable 1",
        );
    }
}

fn is_spread(pod: &PodSpec) -> bool {
    let apart = pod
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    apart.is_some()
        || pod
            .topology_spread_constraints
            .iter()
            .flatten()
            .next()
            .is_some()
}

pub(super) fn rights(subject: &str, rules: &[PolicyRule], findings: &mut Findings) {
    for rule in rules {
        let is_for = |list: Option<&Vec<String>>, wanted: &[&str]| {
            let mut list = list.into_iter().flatten();
            list.any(|one| one == "*" || wanted.contains(&&**one))
        };
        let names = rule.resource_names.iter().flatten().next();
        if is_for(rule.api_groups.as_ref(), &["admissionregistration.k8s.io"])
            && is_for(rule.resources.as_ref(), &CONFIGURATIONS)
            && is_for(Some(&rule.verbs), &WRITES)
            && names.is_none()
        {
            findings.add(
                "G28",
                Warning,
                subject,
                "it may write every webhook configuration, and so have itself sent all Secrets",
                "name its own in resourceNames",
            );
        }
    }
}

const CONFIGURATIONS: [&str; 2] = [
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
];
const WRITES: [&str; 3] = ["create", "patch", "update"];
