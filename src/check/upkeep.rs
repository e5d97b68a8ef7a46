//! What else keeps reservations from going on: the clock, the image, who acts, what waits.

use jiff::{SignedDuration, Timestamp};

use super::{
    Findings,
    observed::{Observed, Reading, Spool},
};
use crate::{config::PLACEHOLDER_IMAGE, manifests::NAME, reservations::election::LEASE};

pub(super) fn examine(observed: &Observed, now: Timestamp, findings: &mut Findings) {
    clock(observed, findings);
    image(observed, findings);
    lease(observed, now, findings);
    if let Some(spool) = &observed.spool {
        examine_spool(spool, now, findings);
    }
}

fn clock(observed: &Observed, findings: &mut Findings) {
    let Some((theirs, ours)) = observed.clocks else {
        return;
    };
    let skew = ours.duration_since(theirs);
    if skew.abs() < SKEW {
        return;
    }
    let (seconds, word) = (
        skew.as_secs().unsigned_abs(),
        if skew.is_negative() {
            "behind"
        } else {
            "ahead of"
        },
    );
    let whose = if observed.inside {
        "this node's clock"
    } else {
        "this machine's clock"
    };
    findings.warning(
        "clock-skew",
        "clock",
        format!("{whose} is {seconds} s {word} the API server's"),
        if observed.inside {
            "reservations begin and end by that much too early or too late, and certificates that \
             were just made are not yet valid for whoever is behind"
        } else {
            "what is said here about expiry is said by a wrong clock"
        },
        "timedatectl    # on this machine and on the nodes: \"System clock synchronized: yes\"",
    );
}

fn image(observed: &Observed, findings: &mut Findings) {
    if observed.deployment.found().is_none() {
        return;
    }
    let is_placeholder = match observed.value("PROVISION_IMAGE") {
        // Its ConfigMap may not be readable; then it isn't known.
        None => !observed
            .unread
            .iter()
            .any(|unread| unread.what.starts_with("ConfigMap/")),
        Some(url) => url == PLACEHOLDER_IMAGE,
    };
    if is_placeholder {
        let namespace = &observed.expected.namespace;
        findings.warning(
            "placeholder-image",
            format!("Deployment/{NAME}"),
            "PROVISION_IMAGE is not set",
            "the operator refuses the placeholder, so that no host is imaged, except for \
             Reservations that name an image themselves",
            format!(
                "kubectl set env deployment/{NAME} --namespace {namespace} \
                 PROVISION_IMAGE=https://...    # or in the ConfigMap {NAME}"
            ),
        );
    }
}

fn lease(observed: &Observed, now: Timestamp, findings: &mut Findings) {
    // Whoever isn't ready, or isn't there, has its own finding.
    let endpoints = observed.endpoints.found().into_iter().flatten();
    if !endpoints.clone().any(|endpoint| endpoint.is_ready) {
        return;
    }
    let namespace = &observed.expected.namespace;
    let cause = "no replica acts: events are recorded, and reservations neither begin nor end";
    let mend = format!(
        "kubectl logs --namespace {namespace} deployment/{NAME} --tail 50; \
         kubectl get lease {LEASE} --namespace {namespace} -o yaml"
    );
    let subject = format!("Lease/{LEASE}");
    let spec = match &observed.lease {
        Reading::Missing => {
            let problem = "no replica has ever been elected";
            findings.error("lease-missing", subject, problem, cause, mend);
            return;
        }
        Reading::Found(lease) => lease.spec.clone().unwrap_or_default(),
        Reading::Unknown => return,
    };
    // Renewed by the cluster's clocks, so it is judged by the API server's.
    let now = observed.clocks.map_or(now, |(theirs, _)| theirs);
    let Some(renewed) = spec.renew_time.map(|time| time.0) else {
        return;
    };
    let lasts = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into());
    if now.duration_since(renewed) <= lasts + SKEW {
        return;
    }
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let problem = match holder {
        Some(holder) => format!("{holder} holds it, and has not renewed it since {renewed}"),
        None => format!("nobody has held it since {renewed}"),
    };
    findings.error("lease-stale", subject, problem, cause, mend);
}

fn examine_spool(spool: &Spool, now: Timestamp, findings: &mut Findings) {
    let subject = format!("spool {}", spool.folder);
    let content = match &spool.content {
        Ok(content) => content,
        Err(why) => {
            findings.error(
                "spool-unreadable",
                subject,
                format!("the spool can't be read: {why}"),
                "while the API server is away, events can be kept nowhere and are answered 503, \
                 upon which the sender drops them",
                "ls -ld, df    # of that folder: it must be ours to write, with room on its volume",
            );
            return;
        }
    };
    if let (Some(theirs), Some(this)) = (&content.cluster, &content.this_cluster)
        && theirs != this
    {
        findings.error(
            "spool-of-another-cluster",
            subject.clone(),
            format!("its events are for the cluster {theirs}, and this is {this}"),
            "they are never recorded here, and none of this cluster's is taken into it",
            "kubectl get namespace kube-system -o jsonpath={.metadata.uid}    # run `serve` against \
             the cluster of that UID, or set SPOOL_DIR to an empty folder",
        );
    }
    for reason in &content.set_aside {
        findings.warning(
            "event-set-aside",
            subject.clone(),
            format!("an event was answered 200 and will never be recorded: {reason}"),
            "the API server refuses the object that comes of it; nothing is tried again",
            "harbormaster send-event --help    # or change and save the booking in the portal; then \
             kubectl get rsv",
        );
    }
    let age = content.oldest.map(|oldest| now.duration_since(oldest));
    if content.events > 0 {
        let age = age.map_or_else(String::new, |age| {
            format!(", the oldest for {} s", age.as_secs())
        });
        findings.warning(
            "events-waiting",
            subject,
            format!("{} events wait{age}", content.events),
            "the API server was away or refuses them; a replica records them as soon as it can",
            "kubectl get --raw /readyz?verbose    # then the program's log: why they can't be recorded",
        );
    }
}

/// Beyond what NTP leaves, and short of what certificates are backdated by.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
