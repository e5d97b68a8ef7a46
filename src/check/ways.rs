//! By which way the event processor reaches us, and what it needs for it. It trusts the authorities of
//! its Java runtime alone, asks once, and never complains: where it doesn't trust, every event is
//! lost without a word.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;

use super::{
    Findings,
    certificates::{self, Facts},
    observed::{Observed, Reading},
};
use crate::{config::AltName, manifests::NAME};

pub(super) fn examine(observed: &Observed, now: Timestamp, findings: &mut Findings) {
    if observed.deployment.found().is_none() {
        return;
    }
    let before = findings.0.len();
    plain(observed, findings);
    ingresses(observed, findings);
    second_certificate(observed, now, findings);
    extra_names(observed, findings);
    if findings.0.len() == before {
        none(observed, findings);
    }
}

fn plain(observed: &Observed, findings: &mut Findings) {
    if observed.value(HTTP_PORT).is_none() || observed.events_service.found().is_none() {
        return;
    }
    let namespace = &observed.expected.namespace;
    let url = format!("http://{EVENTS_SERVICE}.{namespace}.svc/webhook");
    findings.note(
        "sender-way",
        format!("Service/{EVENTS_SERVICE}"),
        format!("events come over plain HTTP, inside the cluster: {url}"),
        "the sender needs no certificate; what is sent can be read on the cluster's network",
        test(&url),
    );
}

fn ingresses(observed: &Observed, findings: &mut Findings) {
    let all = observed.ingresses.found().into_iter().flatten();
    for (host, ingress) in all.flat_map(hosts) {
        let url = format!("https://{host}/webhook");
        findings.note(
            "sender-way",
            format!("Ingress/{}", ingress.name_any()),
            format!("events come through an ingress: {url}"),
            "the sender must trust the ingress's certificate, not ours",
            format!("{} --ca-file ca.crt", test(&url)),
        );
    }
}

fn second_certificate(observed: &Observed, now: Timestamp, findings: &mut Findings) {
    let Some(file) = observed.value("EVENTS_TLS_CERT_FILE") else {
        return;
    };
    let key = file.rsplit_once('/').map_or(file, |(_, key)| key);
    let mounted = observed.events_certificate.as_ref();
    let mounted = mounted.and_then(|name| Some((name, observed.secrets.get(name)?)));
    // Mounted from elsewhere, or not to be read: what is in it can't be told.
    let Some((name, secret)) = mounted.filter(|(_, secret)| !matches!(secret, Reading::Unknown))
    else {
        way_by_name(
            file,
            "a name that it is for",
            "NAME",
            "its issuer",
            findings,
        );
        return;
    };
    let subject = format!("Secret/{name}");
    let namespace = &observed.expected.namespace;
    let mend = format!(
        "kubectl create secret tls {name} --namespace {namespace} --cert=events.crt \
         --key=events.key --dry-run=client -o yaml | kubectl apply -f -    # events.crt: the chain"
    );
    let chain = secret
        .found()
        .and_then(|secret| secret.data.as_ref()?.get(key));
    let chain = chain.and_then(|pem| certificates::bundle(&pem.0));
    let Some(facts) = chain.as_ref().and_then(|chain| Facts::of(chain.first()?)) else {
        findings.error(
            "events-certificate-missing",
            subject,
            format!("there is no certificate {key} for the sender"),
            "new pods don't start without the Secret, and show the sender our own certificate \
             without what is in it",
            mend,
        );
        return;
    };
    if facts.is_expired(now) {
        findings.error(
            "events-certificate-expired",
            subject,
            format!(
                "the certificate for the sender expired at {}",
                facts.not_after
            ),
            "the sender's Java refuses it, and every event is lost without a word",
            mend,
        );
        return;
    }
    if facts.is_late(now) {
        findings.warning(
            "events-certificate-expires-soon",
            subject,
            format!(
                "the certificate for the sender expires at {}",
                facts.not_after
            ),
            "less than a quarter of its life is left, so whoever is to renew it doesn't",
            mend,
        );
    }
    let name = facts.names.first().map_or("NAME", String::as_str);
    // A wildcard is no name, and has to be filled in anyhow.
    let host = name.parse().map(|name: AltName| name.in_url());
    let host = host.unwrap_or_else(|_| name.to_owned());
    way_by_name(
        file,
        &facts.names.join(", "),
        &host,
        &facts.issuer,
        findings,
    );
}

fn way_by_name(file: &str, names: &str, host: &str, issuer: &str, findings: &mut Findings) {
    findings.note(
        "sender-way",
        format!("Deployment/{NAME}"),
        format!("who asks for {names} is shown the certificate {file}"),
        format!("the sender must trust {issuer}, and use one of these names"),
        format!(
            "{} --ca-file ca.crt",
            test(&format!("https://{host}/webhook"))
        ),
    );
}

fn extra_names(observed: &Observed, findings: &mut Findings) {
    let Some(names) = observed.value("TLS_EXTRA_NAMES") else {
        return;
    };
    let texts: Vec<_> = names.split(',').map(str::to_owned).collect();
    // What it can't be the program says, and doesn't start.
    let each: Vec<_> = AltName::list(&texts).unwrap_or_default();
    let Some(first) = each.first() else {
        return;
    };
    let url = format!("https://{}/webhook", first.in_url());
    let each: Vec<_> = each.iter().map(ToString::to_string).collect();
    findings.note(
        "sender-way",
        format!("Deployment/{NAME}"),
        format!("our own certificate is also for {names}"),
        "the sender's Java trust store must hold our CA: keytool -importcert -cacerts \
         -alias harbormaster -file ca.crt",
        format!("{} --ca-file ca.crt", test(&url)),
    );
    for dial in &observed.dials {
        let chain = dial.chain.as_ref().ok();
        let Some(facts) = chain.and_then(|chain| Facts::of(chain.first()?)) else {
            continue;
        };
        let own = each.iter().map(String::as_str);
        let missing: Vec<_> = own
            .filter(|name| !facts.names.iter().any(|own| own.eq_ignore_ascii_case(name)))
            .collect();
        if !missing.is_empty() {
            findings.error(
                "extra-name-missing",
                &dial.address,
                format!("the certificate served is not for {}", missing.join(", ")),
                "whoever issues it wasn't told of the name (TLS_EXTRA_NAMES counts for \
                 certificates that we make ourselves): the sender's Java refuses it, and every \
                 event is lost without a word",
                format!(
                    "kubectl describe certificate,secret harbormaster-tls --namespace {}    # with \
                     cert-manager: harbormaster generate manifests --cert-manager \
                     --tls-extra-names {names}",
                    observed.expected.namespace
                ),
            );
        }
    }
}

fn none(observed: &Observed, findings: &mut Findings) {
    let namespace = &observed.expected.namespace;
    if let Some(port) = observed.value(HTTP_PORT)
        && observed.events_service.is_missing()
    {
        findings.warning(
            "events-service-missing",
            format!("Service/{EVENTS_SERVICE}"),
            "EVENTS_HTTP_PORT is set, and no Service leads there",
            "the sender can't reach the plain listener by a name that lasts",
            observed.expected.apply_file(
                "components/events-http/events-service.yaml",
                &format!(" --events-http-port {port}"),
            ),
        );
    } else if observed.ingresses != Reading::Unknown && observed.events_service != Reading::Unknown
    {
        findings.warning(
            "sender-cannot-trust",
            format!("Deployment/{NAME}"),
            "events can only come over TLS with a certificate of the cluster's own CA",
            "the sender's Java trust store doesn't know that CA: it makes one connection, sends \
             nothing, and marks the event as notified. Choose one of four ways: docs/sender-trust.md",
            format!(
                "kubectl set env deployment/{NAME} --namespace {namespace} EVENTS_HTTP_PORT=5080    \
                 # or another way of docs/sender-trust.md"
            ),
        );
    }
}

fn test(url: &str) -> String {
    format!(
        "harbormaster send-event --type ALL --resource none --url {url} --secret-file secret.txt"
    )
}

/// The hosts under which an ingress leads to us.
fn hosts(ingress: &Ingress) -> impl Iterator<Item = (&str, &Ingress)> {
    let rules = ingress
        .spec
        .iter()
        .flat_map(|spec| spec.rules.iter().flatten());
    let ours = rules.filter(|rule| {
        let paths = rule.http.iter().flat_map(|http| &http.paths);
        let mut services = paths.filter_map(|path| path.backend.service.as_ref());
        services.any(|service| service.name == NAME || service.name == EVENTS_SERVICE)
    });
    ours.map(move |rule| (rule.host.as_deref().unwrap_or("HOST"), ingress))
}

/// The plain Service for events.
pub(super) const EVENTS_SERVICE: &str = "harbormaster-events";

const HTTP_PORT: &str = "EVENTS_HTTP_PORT";
