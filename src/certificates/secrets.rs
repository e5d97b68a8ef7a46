//! The two Secrets of the self-managed mode: the CAs with their keys, and the leaf.
//!
//! What can't be read is taken for lost, and its certificate for one that is still trusted. Every
//! write carries the version that was read, so that of two writers one fails. Keys leave this
//! module as types that don't show them.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt, stream::select_all};
use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::PostParams,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, watch_object},
    },
};
use kube_webhook::certs::{Authority, Pem, bundle, certificates};
use rustls::pki_types::CertificateDer;

use super::changes_of;
use crate::{
    manifests::{CA_SECRET, NAME, TLS_SECRET},
    reservations::host::{ApiError, within_deadline},
};

/// Those of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    api: Api<Secret>,
    metadata: Api<PartialObjectMeta<Secret>>,
}

/// The CAs, and what they were read from.
pub(super) struct Authorities {
    pub(super) signing: Option<Authority>,
    pub(super) next: Option<Authority>,
    /// Trusted, and issue no more.
    pub(super) old: Vec<CertificateDer<'static>>,
    read: Option<Secret>,
}

/// The leaf, and what it was read from.
pub(super) struct Leaf {
    pub(super) pem: Option<Pem>,
    /// Whether cert-manager keeps this Secret.
    pub(super) is_cert_managers: bool,
    read: Option<Secret>,
}

impl Secrets {
    pub(crate) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            metadata: Api::namespaced(client.clone(), namespace),
        }
    }

    pub(super) async fn authorities(&self) -> Result<Authorities, ApiError> {
        Ok(Authorities::of(
            within_deadline(self.api.get_opt(CA_SECRET)).await?,
        ))
    }

    /// Whom API servers are to trust.
    pub(crate) async fn trusted(&self) -> Result<Vec<CertificateDer<'static>>, ApiError> {
        Ok(self.authorities().await?.trusted())
    }

    pub(super) async fn leaf(&self) -> Result<Leaf, ApiError> {
        Ok(Leaf::of(
            within_deadline(self.api.get_opt(TLS_SECRET)).await?,
        ))
    }

    /// Stores the CAs over what they were read from.
    pub(super) async fn store_authorities(&self, cas: &Authorities) -> Result<(), ApiError> {
        self.store(CA_SECRET, "Opaque", cas.read.as_ref(), cas.data())
            .await
    }

    /// Stores another leaf over the one that was read.
    pub(super) async fn store_leaf(&self, before: &Leaf, pem: &Pem) -> Result<(), ApiError> {
        let data = [(CHAIN, pem.chain.clone()), (KEY, pem.key.clone())];
        self.store(
            TLS_SECRET,
            "kubernetes.io/tls",
            before.read.as_ref(),
            data.into(),
        )
        .await
    }

    async fn store(
        &self,
        name: &str,
        kind: &str,
        before: Option<&Secret>,
        data: BTreeMap<&str, String>,
    ) -> Result<(), ApiError> {
        let data = data
            .into_iter()
            .map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
        let data = Some(data.collect());
        let params = PostParams::default();
        match before {
            // Its type can't be changed, and its labels are not ours to judge.
            Some(before) => {
                let mut secret = before.clone();
                secret.data = data;
                within_deadline(self.api.replace(name, &params, &secret)).await?;
            }
            None => {
                let label = ("app.kubernetes.io/name".to_owned(), NAME.to_owned());
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(name.to_owned()),
                        labels: Some(BTreeMap::from([label])),
                        ..ObjectMeta::default()
                    },
                    type_: Some(kind.to_owned()),
                    data,
                    ..Secret::default()
                };
                within_deadline(self.api.create(&params, &secret)).await?;
            }
        }
        Ok(())
    }

    /// The leaf whenever it has changed; nothing while there is none, or it can't be read.
    pub(super) fn leaves(
        &self,
    ) -> impl Stream<Item = Result<Option<Pem>, watcher::Error>> + Send + use<> {
        let watch = watch_object(self.api.clone(), TLS_SECRET).default_backoff();
        watch.map(|seen| Ok(Leaf::of(seen?).pem))
    }

    /// Something whenever one of them has changed, or may have.
    pub(super) fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        select_all([CA_SECRET, TLS_SECRET].map(|name| changes_of(&self.metadata, name)))
    }
}

impl Authorities {
    fn of(read: Option<Secret>) -> Self {
        let text = |key: &str| text(read.as_ref(), key);
        let authority = |certificate: &str, key: &str| {
            let pem = Pem {
                chain: text(certificate)?,
                key: text(key)?,
            };
            Authority::from_pem(pem).ok()
        };
        let signing = authority(CHAIN, KEY);
        let next = authority(NEXT_CHAIN, NEXT_KEY);
        let issuing: Vec<_> = [&signing, &next].into_iter().flatten().collect();
        let mut old = Vec::new();
        // A CA whose key is lost may be the one of the leaf that is served.
        for key in [CHAIN, NEXT_CHAIN, OLD] {
            for certificate in certificates(text(key).unwrap_or_default().as_bytes()) {
                let issues = issuing.iter().any(|ca| *ca.certificate() == certificate);
                if !issues && !old.contains(&certificate) {
                    old.push(certificate);
                }
            }
        }
        Self {
            signing,
            next,
            old,
            read,
        }
    }

    /// What is trusted, those that issue first.
    pub(super) fn trusted(&self) -> Vec<CertificateDer<'static>> {
        let issuing = [&self.signing, &self.next].into_iter().flatten();
        let issuing = issuing.map(|ca| ca.certificate().clone());
        issuing.chain(self.old.iter().cloned()).collect()
    }

    fn data(&self) -> BTreeMap<&'static str, String> {
        let mut data = BTreeMap::from([(TRUSTED, bundle(&self.trusted()))]);
        let issuing = [
            (&self.signing, CHAIN, KEY),
            (&self.next, NEXT_CHAIN, NEXT_KEY),
        ];
        for (authority, certificate, key) in issuing {
            if let Some(authority) = authority {
                data.insert(certificate, authority.pem().chain.clone());
                data.insert(key, authority.pem().key.clone());
            }
        }
        if !self.old.is_empty() {
            data.insert(OLD, bundle(&self.old));
        }
        data
    }
}

impl Leaf {
    fn of(read: Option<Secret>) -> Self {
        let pem = text(read.as_ref(), CHAIN)
            .zip(text(read.as_ref(), KEY))
            .map(|(chain, key)| Pem { chain, key });
        let annotations = read
            .as_ref()
            .and_then(|read| read.metadata.annotations.as_ref());
        let is_cert_managers = annotations.is_some_and(|annotations| {
            annotations.contains_key("cert-manager.io/certificate-name")
        });
        Self {
            pem,
            is_cert_managers,
            read,
        }
    }
}

fn text(secret: Option<&Secret>, key: &str) -> Option<String> {
    let bytes = &secret?.data.as_ref()?.get(key)?.0;
    String::from_utf8(bytes.clone()).ok()
}

/// All that is trusted: what a sender's trust store needs.
const TRUSTED: &str = "ca.crt";

const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
const NEXT_CHAIN: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const OLD: &str = "old.crt";

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn ca(name: &str) -> Authority {
        Authority::create(name, SystemTime::now(), Duration::from_secs(60)).unwrap()
    }

    fn stored(cas: &Authorities) -> Secret {
        let data = cas
            .data()
            .into_iter()
            .map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
        Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    fn three() -> Authorities {
        Authorities {
            signing: Some(ca("signing")),
            next: Some(ca("next")),
            old: vec![ca("old").certificate().clone()],
            read: None,
        }
    }

    #[test]
    fn cas_are_read_back_as_they_were_stored() {
        let cas = three();
        let read = Authorities::of(Some(stored(&cas)));
        assert_eq!(read.trusted(), cas.trusted());
        assert_eq!(read.signing.unwrap().pem(), cas.signing.unwrap().pem());
        assert_eq!(read.next.unwrap().pem(), cas.next.unwrap().pem());
    }

    #[test]
    fn a_ca_whose_key_is_lost_stays_trusted() {
        let cas = three();
        let mut secret = stored(&cas);
        let data = secret.data.as_mut().unwrap();
        data.insert(KEY.to_owned(), ByteString(b"damaged".to_vec()));
        data.remove(NEXT_KEY);
        let read = Authorities::of(Some(secret));
        assert!(read.signing.is_none() && read.next.is_none());
        assert_eq!(read.trusted(), cas.trusted());
    }

    #[test]
    fn no_key_is_ever_shown() {
        let shown = format!("{:?} {:?}", three().signing, three().next);
        assert!(!shown.contains("PRIVATE"), "{shown}");
    }
}
