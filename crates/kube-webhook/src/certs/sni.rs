//! Which of several certificates a peer gets: one that is for the name it asks for.
//!
//! The first one comes first, and is what everybody gets who asks for no name (or for one that none
//! is for): API servers trust it, and a call of theirs that fails is a refused request. The others
//! are for peers with other trust, by names of their own. Used by the server's TLS side.

use std::{fmt, sync::Arc};

use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::TlsIdentity;

/// Chooses for each handshake, among certificates that may be exchanged at any time.
pub(crate) struct ByName {
    first: TlsIdentity,
    others: Vec<TlsIdentity>,
}

impl ByName {
    pub(crate) fn new(first: TlsIdentity, others: Vec<TlsIdentity>) -> Self {
        Self { first, others }
    }

    fn choose(&self, name: Option<&str>) -> &TlsIdentity {
        if self.others.is_empty() {
            return &self.first;
        }
        let Some(name) = name.and_then(|name| ServerName::try_from(name).ok()) else {
            return &self.first;
        };
        if is_for(&self.first, &name) {
            return &self.first;
        }
        let mut others = self.others.iter();
        others
            .find(|other| is_for(other, &name))
            .unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.choose(hello.server_name());
        Some(chosen.current.get())
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ByName").finish_non_exhaustive()
    }
}

/// As a peer would judge it, wildcards and all.
fn is_for(identity: &TlsIdentity, name: &ServerName<'_>) -> bool {
    let pair = identity.current.get();
    let leaf = pair
        .cert
        .first()
        .map(|leaf: &CertificateDer<'_>| ParsedCertificate::try_from(leaf));
    matches!(leaf, Some(Ok(leaf)) if verify_server_name(&leaf, name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_names(names: &[&str]) -> TlsIdentity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        TlsIdentity::ephemeral(&names).unwrap().0
    }

    #[test]
    fn the_first_is_for_all_but_the_names_that_only_another_is_for() {
        let first = for_names(&["hooks.ns.svc", "shared.example.org", "127.0.0.1"]);
        let second = for_names(&["events.example.org", "shared.example.org"]);
        let third = for_names(&["*.lab.example.org", "events.example.org"]);
        let by_name = ByName::new(first.clone(), vec![second.clone(), third.clone()]);
        for (name, expected) in [
            (None, &first),
            (Some("hooks.ns.svc"), &first),
            (Some("shared.example.org"), &first),
            (Some("nobody.example.org"), &first),
            (Some("not a name"), &first),
            (Some("events.example.org"), &second),
            (Some("EVENTS.example.org"), &second),
            (Some("a.lab.example.org"), &third),
            (Some("a.b.lab.example.org"), &first),
        ] {
            assert_eq!(by_name.choose(name).chain(), expected.chain(), "{name:?}");
        }
        // Exchanged behind it, as files are.
        let renewed = TlsIdentity::ephemeral(&["new.example.org".to_owned()])
            .unwrap()
            .0;
        second.current.set(renewed.current.get());
        assert_eq!(
            by_name.choose(Some("new.example.org")).chain(),
            renewed.chain()
        );
        assert_eq!(
            by_name.choose(Some("events.example.org")).chain(),
            third.chain()
        );
    }
}
