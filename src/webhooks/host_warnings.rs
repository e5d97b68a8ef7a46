//! What passes, but should be said aloud: warnings that kubectl shows.
//!
//! Pure; only of what a write changes, so that nobody is told twice. Called by the guards.

use kube::ResourceExt;
use metal3::{BareMetalHost, names};

use super::host_rules::sets_image_while_off;

/// What the user of a held host will notice.
pub fn of_held(holder: &str, old: &BareMetalHost, new: &BareMetalHost) -> Vec<String> {
    let adds = |prefix: &str| {
        let before = old.annotations();
        let mut keys = new.annotations().keys();
        keys.any(|key| key.starts_with(prefix) && !before.contains_key(key))
    };
    let is_kept = |host: &BareMetalHost| host.finalizers().iter().any(|it| it == names::FINALIZER);
    let table = [
        (
            old.spec.online == Some(true) && new.spec.online == Some(false),
            "it is switched off",
        ),
        (
            old.spec.bmc != new.spec.bmc,
            "with a wrong spec.bmc it can't be wiped",
        ),
        (
            new.is_paused() && !old.is_paused(),
            "while it is paused, it can't be given back",
        ),
        (
            is_kept(old) && !is_kept(new),
            "without the operator's finalizer, its deletion would not wipe it",
        ),
        (adds("reboot.metal3.io"), "it is rebooted"),
        (adds("inspect.metal3.io"), "it is inspected"),
    ];
    let said = table.into_iter().filter(|(is_so, _)| *is_so);
    said.map(|(_, what)| format!("Reservation {holder} has this host: {what}"))
        .collect()
}

/// What the operator does silently, or will stumble over; `beside` names a host beside it that is
/// like this.
pub fn of_any(
    old: Option<&BareMetalHost>,
    new: &BareMetalHost,
    beside: impl Fn(&dyn Fn(&BareMetalHost) -> bool) -> Option<String>,
) -> Vec<String> {
    let mut said = of_image(old, new);
    let twin = |what: fn(&BareMetalHost) -> Option<String>| {
        let wanted = what(new).filter(|wanted| old.and_then(what).as_ref() != Some(wanted))?;
        beside(&|other| what(other).as_ref() == Some(&wanted))
    };
    if let Some(twin) = twin(bmc_address) {
        said.push(format!(
            "host {twin} has the same spec.bmc.address: two hosts would be one machine"
        ));
    }
    if let Some(twin) = twin(mac) {
        said.push(format!("host {twin} has the same spec.bootMACAddress"));
    }
    said
}

fn of_image(old: Option<&BareMetalHost>, new: &BareMetalHost) -> Vec<String> {
    let before = old.and_then(|old| old.spec.image.as_ref());
    let image = new.spec.image.as_ref();
    let Some(image) = image.filter(|image| !image.url.is_empty() && before != Some(*image)) else {
        return Vec::new();
    };
    let scheme = bmc_address(new).and_then(|address| Some(address.split_once("://")?.0.to_owned()));
    let table = [
        (
            sets_image_while_off(old, new),
            "spec.online is false: the image is not put on the host",
        ),
        (
            image.url.starts_with("http://"),
            "the image is fetched over plain HTTP",
        ),
        (
            image.checksum_type.as_deref() == Some("md5"),
            "md5 tells accidents, not attacks; use sha256",
        ),
        (
            image.format.as_deref() == Some("live-iso")
                && scheme.is_some_and(|scheme| !scheme.contains("virtualmedia")),
            "a live-iso is booted from virtual media, which the scheme of spec.bmc.address \
             doesn't ask for",
        ),
    ];
    let said = table.into_iter().filter(|(is_so, _)| *is_so);
    said.map(|(_, what)| what.to_owned()).collect()
}

fn bmc_address(host: &BareMetalHost) -> Option<String> {
    let address = host.spec.bmc.as_ref()?.address.as_deref()?;
    let address = address.trim_end_matches('/').to_ascii_lowercase();
    Some(address).filter(|address| !address.is_empty())
}

fn mac(host: &BareMetalHost) -> Option<String> {
    let mac = host.spec.boot_mac_address.as_deref()?;
    Some(mac.to_ascii_lowercase()).filter(|mac| !mac.is_empty())
}
