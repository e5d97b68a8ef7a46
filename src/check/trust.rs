//! Whether the API server can trust what is served: each live `caBundle` against each chain that
//! was presented. The API server itself never says so; its callers get `x509: ...` one by one.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;
use rustls::pki_types::CertificateDer;

use super::{
    Findings,
    certificates::{self, Distrust, Facts},
    observed::{Dial, Observed},
};

pub(super) fn examine(observed: &Observed, now: Timestamp, findings: &mut Findings) {
    let holders = holders(observed);
    for holder in &holders {
        bundle(observed, holder, now, findings);
    }
    for dial in &observed.dials {
        let Ok(chain) = &dial.chain else {
            continue;
        };
        leaf(observed, dial, chain, now, findings);
        let mut told = BTreeSet::new();
        for holder in &holders {
            // Three webhooks with one bundle are one thing to mend.
            if told.insert(&holder.pem) {
                trusted(observed, dial, chain, holder, now, findings);
            }
        }
    }
}

/// Who has a `caBundle`, and who keeps it.
struct Holder {
    subject: String,
    pem: Vec<u8>,
    is_injected: bool,
}

fn holders(observed: &Observed) -> Vec<Holder> {
    let injected = |annotations: &std::collections::BTreeMap<String, String>| {
        annotations
            .keys()
            .any(|key| key.starts_with("cert-manager.io/inject-"))
    };
    let mut holders = Vec::new();
    let expected = &observed.expected;
    for live in observed.configurations.found().into_iter().flatten() {
        let is_ours =
            |one: &&super::observed::Configuration| one.kind == live.kind && one.name == live.name;
        let Some(ours) = expected.configurations.iter().find(is_ours) else {
            continue;
        };
        for hook in &live.hooks {
            if ours.hooks.iter().any(|one| one.name == hook.name) {
                holders.push(Holder {
                    subject: format!("{}/{} {}", live.kind, live.name, hook.name),
                    pem: hook.ca_bundle.clone(),
                    is_injected: injected(&live.annotations),
                });
            }
        }
    }
    for crd in observed.crds.values().filter_map(|crd| crd.found()) {
        let webhook = crd
            .spec
            .conversion
            .as_ref()
            .and_then(|stanza| stanza.webhook.as_ref());
        if let Some(config) = webhook.and_then(|webhook| webhook.client_config.as_ref()) {
            holders.push(Holder {
                subject: format!("CustomResourceDefinition/{}", crd.name_any()),
                pem: config
                    .ca_bundle
                    .as_ref()
                    .map(|bytes| bytes.0.clone())
                    .unwrap_or_default(),
                is_injected: injected(crd.annotations()),
            });
        }
    }
    holders
}

fn bundle(observed: &Observed, holder: &Holder, now: Timestamp, findings: &mut Findings) {
    let mend = mend(observed, holder);
    if holder.pem.is_empty() {
        findings.error(
            "ca-bundle-empty",
            &holder.subject,
            "caBundle is empty",
            "the API server then trusts its own system's roots alone, so that every call fails \
             with `x509: certificate signed by unknown authority`",
            mend,
        );
        return;
    }
    let Some(roots) = certificates::bundle(&holder.pem) else {
        findings.error(
            "ca-bundle-invalid",
            &holder.subject,
            "caBundle is not PEM with a certificate in it",
            "the API server took it unread, and fails each call with `could not get REST client`",
            mend,
        );
        return;
    };
    let facts: Vec<_> = roots.iter().filter_map(Facts::of).collect();
    if let Some(last) = facts.iter().max_by_key(|facts| facts.not_after)
        && last.is_expired(now)
    {
        findings.error(
            "ca-bundle-expired",
            &holder.subject,
            format!(
                "the last CA of caBundle ({}) expired at {}",
                last.subject, last.not_after
            ),
            "every call fails with `x509: certificate has expired or is not yet valid`",
            mend,
        );
    }
}

fn leaf(
    observed: &Observed,
    dial: &Dial,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
    findings: &mut Findings,
) {
    let Some(facts) = chain.first().and_then(Facts::of) else {
        return;
    };
    let mend = renewal(observed);
    if facts.is_expired(now) {
        findings.error(
            "certificate-expired",
            &dial.address,
            format!("the certificate served expired at {}", facts.not_after),
            "every call fails with `x509: certificate has expired or is not yet valid`",
            mend,
        );
    } else if facts.not_before > now {
        findings.error(
            "certificate-not-yet-valid",
            &dial.address,
            format!(
                "the certificate served is valid from {} on",
                facts.not_before
            ),
            "made by a machine whose clock is ahead, or ours is behind",
            "date --utc    # on the nodes, and here",
        );
    } else if facts.is_late(now) {
        findings.warning(
            "certificate-expires-soon",
            &dial.address,
            format!("the certificate served expires at {}", facts.not_after),
            "less than a quarter of its life is left, so whoever is to renew it doesn't",
            mend,
        );
    }
}

fn trusted(
    observed: &Observed,
    dial: &Dial,
    chain: &[CertificateDer<'_>],
    holder: &Holder,
    now: Timestamp,
    findings: &mut Findings,
) {
    let (Some(roots), Some(name)) = (
        certificates::bundle(&holder.pem),
        observed.expected.server_name(),
    ) else {
        return;
    };
    let facts = chain.first().and_then(Facts::of);
    match certificates::verify(chain, &roots, &name, now) {
        // Said of the leaf and of the bundle already.
        Ok(()) | Err(Distrust::Expired | Distrust::NotYet) => {}
        Err(Distrust::Name) => findings.error(
            "certificate-name",
            &dial.address,
            format!(
                "the certificate served is for {}, and not for {name}",
                facts.map(|facts| facts.names.join(", ")).unwrap_or_default()
            ),
            "the API server verifies the name of the Service (subject alternative names alone), and \
             fails every call with `x509: certificate is valid for ...`",
            format!("{}    # with the DNS name {name}", renewal(observed)),
        ),
        Err(Distrust::Issuer) => findings.error(
            "ca-bundle-mismatch",
            &holder.subject,
            format!(
                "caBundle ({}) does not cover what {} serves",
                subjects(&roots),
                dial.address
            ),
            "certificate and bundle come from different CAs: one was renewed without the other; \
             every call fails with `x509: certificate signed by unknown authority`",
            mend(observed, holder),
        ),
        Err(Distrust::Unusable) => findings.error(
            "certificate-unusable",
            &dial.address,
            "the certificate served can't be verified at all",
            "it is not for servers (extended key usage), or is of a form or key that isn't understood",
            renewal(observed),
        ),
    }
}

fn subjects(roots: &[CertificateDer<'_>]) -> String {
    let subjects = roots
        .iter()
        .filter_map(Facts::of)
        .map(|facts| facts.subject);
    subjects.collect::<Vec<_>>().join("; ")
}

/// What puts the right bundle there, by who keeps it.
fn mend(observed: &Observed, holder: &Holder) -> String {
    let namespace = &observed.expected.namespace;
    if holder.is_injected {
        return format!(
            "kubectl describe certificate harbormaster --namespace {namespace}; \
             kubectl logs --namespace cert-manager deployment/cert-manager-cainjector"
        );
    }
    match observed.tls_mode() {
        Some("self-managed") => format!(
            "kubectl rollout restart deployment/harbormaster --namespace {namespace}    # each \
             replica repairs its bundles when it starts; its log says why it can't"
        ),
        _ => {
            let what = if holder.subject.starts_with("CustomResourceDefinition") {
                "crds"
            } else {
                "webhooks"
            };
            format!(
                "harbormaster generate {what} {} --ca-file ca.crt | kubectl apply --server-side \
                 --force-conflicts -f -    # ca.crt: the CA that issued the certificate",
                observed.expected.flags()
            )
        }
    }
}

/// What renews the certificate, by where it comes from.
fn renewal(observed: &Observed) -> String {
    let namespace = &observed.expected.namespace;
    match observed.tls_mode() {
        Some("self-managed") => {
            format!("kubectl rollout restart deployment/harbormaster --namespace {namespace}")
        }
        Some("files") => format!(
            "kubectl describe certificate,secret harbormaster-tls --namespace {namespace}    # \
             renew what is in the Secret; it is read again within seconds of reaching the pod"
        ),
        _ => "renew the files that TLS_CERT_FILE and TLS_KEY_FILE name".to_owned(),
    }
}
