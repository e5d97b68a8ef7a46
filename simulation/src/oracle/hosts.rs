//! What must hold of hosts: whose disk is written and wiped, when, by whom, and with whose keys.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use metal3::{BareMetalHost, ProvisioningState};
use serde_json::Value;

use super::{Disk, Oracle, Times, Writer, holder, host};
use crate::{
    api_server::{ApiServer, Change, Kind},
    world::{Actor, FREE_IMAGE},
};

impl Oracle {
    /// One write to a host, whoever made it.
    pub(super) fn host(
        &mut self,
        writer: Writer<'_>,
        change: &Change,
        server: &ApiServer,
        times: Times,
    ) -> Result<(), String> {
        let before = change.before.as_ref().map(host);
        let Some(after) = change.after.as_ref().map(host) else {
            self.disks.remove(&change.name);
            self.relabelled.remove(&change.name);
            return Ok(());
        };
        let before = before.unwrap_or_default();
        self.relabelled(&before, &after, times.now);
        match writer.actor {
            Actor::Leader(_) => {
                self.is_the_holders(writer.concerns, &before, &after)?;
                self.by_us(&before, &after, server, times)
            }
            Actor::Operator => self.by_operator(&before, &after, server, times),
            Actor::Admin => {
                if before.wanted_image_url() != after.wanted_image_url() || after.is_deleting() {
                    self.disks.entry(change.name.clone()).or_default().by_hand = true;
                }
                Ok(())
            }
            Actor::Door => Err("the event door wrote to a host".to_owned()),
        }
    }

    /// Only what concerns its holder is written to a host, and only who is concerned claims it.
    fn is_the_holders(
        &self,
        concerns: Option<&str>,
        before: &BareMetalHost,
        after: &BareMetalHost,
    ) -> Result<(), String> {
        let name = after.name();
        let Some(holder) = holder(before).or_else(|| holder(after)) else {
            return Err(format!("host {name}, which nobody holds, was written to"));
        };
        let record = self.records.get(&holder);
        if record.is_some_and(|record| Some(&*record.name) == concerns) {
            return Ok(());
        }
        Err(format!(
            "host {name}, which {holder} holds, was written to for {concerns:?}"
        ))
    }

    fn relabelled(&mut self, before: &BareMetalHost, after: &BareMetalHost, now: Timestamp) {
        if before.labels() != after.labels() {
            let before = before.labels().clone();
            self.relabelled
                .insert(after.name().to_owned(), (now, before));
        }
    }

    /// Whether a host bears these labels, or did so until a moment ago.
    pub(super) fn bears(
        &self,
        host: &BareMetalHost,
        labels: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> bool {
        let are_in = |there: &BTreeMap<String, String>| {
            let mut labels = labels.iter();
            labels.all(|(key, value)| there.get(key) == Some(value))
        };
        let before = self.relabelled.get(host.name());
        are_in(host.labels()) || before.is_some_and(|(at, there)| *at == now && are_in(there))
    }

    fn by_us(
        &self,
        before: &BareMetalHost,
        after: &BareMetalHost,
        server: &ApiServer,
        times: Times,
    ) -> Result<(), String> {
        let name = after.name();
        let disk = self.disks.get(name).cloned().unwrap_or_default();
        match (holder(before), holder(after)) {
            (Some(one), Some(other)) if one != other => {
                return Err(format!("host {name}: the claim of {one} became {other}'s"));
            }
            (Some(one), None) => {
                if disk.is_dirty {
                    return Err(format!(
                        "host {name} was freed by {one} while a disk of {:?} was on it",
                        disk.owner
                    ));
                }
                let consumer = before.consumer().and_then(|it| it.name.clone());
                let secret = format!("{}-userdata", consumer.unwrap_or_default());
                let there = server.one(Kind::Secret, &secret);
                if there.is_some_and(|there| has_keys_of(there, &one)) {
                    return Err(format!(
                        "host {name} was freed, and Secret {secret} is there"
                    ));
                }
                if after.spec.user_data.is_some() {
                    return Err(format!("host {name} was freed with its user data"));
                }
                if after
                    .wanted_image_url()
                    .is_some_and(|url| url != FREE_IMAGE)
                {
                    return Err(format!("host {name} was freed with an image"));
                }
            }
            _ => {}
        }
        let changed = before.wanted_image_url() != after.wanted_image_url();
        if changed && before.wanted_image_url().is_some() && !disk.by_hand {
            self.may_wipe(&disk, name, times)?;
        }
        if changed && disk.by_hand && before.wanted_image_url().is_some() {
            // On the way off it is taken off as well, and nothing is put in its place.
            if after.wanted_image_url().is_some() {
                return Err(format!(
                    "host {name}: an image put there by hand was replaced"
                ));
            }
        }
        if changed && after.wanted_image_url().is_some() && holder(after).is_some() {
            if disk.is_dirty {
                return Err(format!("host {name} got an image on an unwiped disk"));
            }
            self.keys_are_the_holders(after, server)?;
        }
        Ok(())
    }

    fn by_operator(
        &mut self,
        before: &BareMetalHost,
        after: &BareMetalHost,
        server: &ApiServer,
        times: Times,
    ) -> Result<(), String> {
        let name = after.name().to_owned();
        if before.state() == after.state() {
            return Ok(());
        }
        let disk = self.disks.entry(name.clone()).or_default();
        match after.state() {
            ProvisioningState::Provisioning => {
                // What a free host idles with is nobody's, whoever has claimed it since.
                let is_idle = after.wanted_image_url() == Some(FREE_IMAGE);
                disk.owner = holder(after).filter(|_| !is_idle);
                disk.is_dirty = disk.owner.is_some();
                disk.is_whole = false;
            }
            ProvisioningState::Provisioned => {
                disk.is_whole = true;
                let is_idle = after.wanted_image_url() == Some(FREE_IMAGE);
                if disk.owner != holder(after) && !disk.by_hand && !is_idle {
                    return Err(format!(
                        "host {name} was imaged for {:?}, and is held by {:?}",
                        disk.owner,
                        holder(after)
                    ));
                }
                if !disk.by_hand && !is_idle {
                    self.keys_are_the_holders(after, server)?;
                }
            }
            ProvisioningState::Deprovisioning => {
                let disk = disk.clone();
                let was_used = *before.state() == ProvisioningState::Provisioned;
                if was_used && !disk.by_hand {
                    self.may_wipe(&disk, &name, times)?;
                }
            }
            ProvisioningState::Available | ProvisioningState::PoweringOffBeforeDelete => {
                // An image that somebody put there stays theirs while it is tried again.
                let by_hand = disk.by_hand && after.wanted_image_url().is_some();
                *disk = Disk {
                    by_hand,
                    ..Disk::default()
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn may_wipe(&self, disk: &Disk, name: &str, times: Times) -> Result<(), String> {
        let Some(owner) = &disk.owner else {
            return Ok(());
        };
        let Some(record) = self.records.get(owner) else {
            return Err(format!("host {name}: a disk of nobody known ({owner})"));
        };
        let is_over = record.is_over || record.ends.iter().any(|end| *end <= times.latest);
        if is_over || record.ran_late {
            return Ok(());
        }
        Err(format!(
            "host {name}: the disk of {} is wiped before its time is over",
            record.name
        ))
    }

    /// Not even by a replica that was stopped for long, and dies right afterwards.
    pub(super) fn nobody_who_is_over_gets_keys(&self, change: &Change) -> Result<(), String> {
        let Some(secret) = change.after.as_ref().filter(|secret| is_filled(secret)) else {
            return Ok(());
        };
        let record = owner(secret).and_then(|owner| self.records.get(owner));
        match record {
            Some(record) if record.is_finished => Err(format!(
                "{} is over, and its keys are written to Secret {}",
                record.name, change.name
            )),
            _ => Ok(()),
        }
    }

    /// Nobody's key but the holder's is in what the host will read.
    fn keys_are_the_holders(&self, host: &BareMetalHost, server: &ApiServer) -> Result<(), String> {
        let Some(uid) = holder(host) else {
            return Ok(());
        };
        let secret = host.spec.user_data.as_ref().and_then(|it| it.name.clone());
        let Some(secret) = secret.and_then(|name| server.one(Kind::Secret, &name)) else {
            return Ok(());
        };
        let person = self.records.get(&uid).and_then(|it| it.person.clone());
        for key in keys(secret) {
            let owner = key.rsplit(' ').next();
            if owner != person.as_deref() {
                return Err(format!(
                    "host {}: a key of {owner:?} for the host of {person:?}",
                    host.name()
                ));
            }
        }
        Ok(())
    }
}

/// Whether anything is in a Secret. An empty one gives nobody away.
pub(super) fn is_filled(secret: &Value) -> bool {
    let data = secret["data"].as_object();
    data.is_some_and(|data| !data.is_empty())
}

/// Whether it holds what was made for this Reservation.
pub(super) fn has_keys_of(secret: &Value, uid: &str) -> bool {
    is_filled(secret) && owner(secret) == Some(uid)
}

fn owner(secret: &Value) -> Option<&str> {
    secret["metadata"]["ownerReferences"][0]["uid"].as_str()
}

fn keys(secret: &Value) -> Vec<String> {
    let secret: Secret = serde_json::from_value(secret.clone()).unwrap_or_default();
    let data = secret.data.unwrap_or_default();
    let text = data.get("userData").map(|data| data.0.clone());
    let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
    let json = text.trim_start_matches("#cloud-config\n");
    let document: Value = serde_json::from_str(json).unwrap_or_default();
    let keys = document["ssh_authorized_keys"].as_array();
    keys.into_iter()
        .flatten()
        .filter_map(|key| key.as_str().map(str::to_owned))
        .collect()
}
