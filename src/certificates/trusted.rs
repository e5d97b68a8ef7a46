//! Whether whoever calls us will accept what we present: what readiness stands on.
//!
//! It is tried rather than thought out: a handshake with our own listener, by the name and with
//! the bundle of each place where API servers read whom to trust. That proves the listener, the
//! key and the chain at once. Asks the API server for the places and nothing else; while that is
//! away the last verdict stays, since nobody calls us then, and events are taken all the same.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use kube_webhook::TlsIdentity;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use tracing::{debug, info, warn};

use super::places::{Place, Places};

/// What came of the last try. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusted(Arc<Mutex<Standing>>);

/// How we stand with those who call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The API server was never asked whom it trusts.
    #[default]
    Unasked,
    /// Nothing leads to us, so nobody calls.
    Unregistered,
    /// Each place accepts what we present.
    Accepted,
    /// One doesn't, and why; nobody has relied on this replica yet.
    Refused(String),
    /// One doesn't any more, and why. Whoever sends events relies on this replica by now.
    Lost(String),
}

impl Trusted {
    pub(crate) fn standing(&self) -> Standing {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Tries again whenever a place or the chain has changed, and now and then, until `shutdown`.
    pub(crate) async fn watch(
        self,
        places: Places,
        identity: TlsIdentity,
        listener: SocketAddr,
        shutdown: BoxFuture<'static, ()>,
    ) {
        let shutdown = shutdown.shared();
        let mut changes = Box::pin(places.changes().take_until(shutdown.clone()));
        let mut soon = SHORT_PAUSE;
        loop {
            // Before the places: what changes meanwhile is looked at again.
            let chain = identity.chain();
            let look = async {
                match places.read().await {
                    Ok(places) => self.conclude(judge(&places, listener).await),
                    Err(error) => debug!("the API server can't be asked whom it trusts: {error}"),
                }
            };
            // An API server that is silent must not outlast the grace of a pod's end.
            tokio::select! {
                () = shutdown.clone() => return,
                () = look => {}
            }
            let pause = match self.standing() {
                Standing::Accepted | Standing::Unregistered => {
                    soon = SHORT_PAUSE;
                    LONG_PAUSE
                }
                // A greeting may have failed for want of room, which comes again unannounced.
                Standing::Unasked | Standing::Refused(_) | Standing::Lost(_) => {
                    let pause = soon;
                    soon = (soon * 2).min(LONG_PAUSE);
                    pause
                }
            };
            let is_same = || identity.chain() == chain;
            if !until_changed(&mut changes, is_same, pause).await {
                return;
            }
        }
    }

    fn conclude(&self, now: Standing) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_relied_on = !matches!(*standing, Standing::Unasked | Standing::Refused(_));
        let now = match now {
            Standing::Refused(why) if was_relied_on => Standing::Lost(why),
            now => now,
        };
        if *standing == now {
            return;
        }
        match &now {
            Standing::Refused(why) => warn!("not ready, as API servers can't call us: {why}"),
            Standing::Lost(why) => warn!(
                "API servers can't call us any more, and events are taken all the same: {why}"
            ),
            Standing::Accepted => info!("API servers trust what is served"),
            Standing::Unregistered | Standing::Unasked => {}
        }
        *standing = now;
    }
}

/// Waits for a change of the places or the chain, or until the pause is over; false if there will
/// be none.
async fn until_changed(
    changes: &mut (impl Stream<Item = ()> + Unpin),
    is_same: impl Fn() -> bool,
    pause: Duration,
) -> bool {
    let end = Instant::now() + pause;
    loop {
        match timeout(GLANCE, changes.next()).await {
            Ok(change) => return change.is_some(),
            Err(_) if is_same() && Instant::now() < end => {}
            Err(_) => return true,
        }
    }
}

/// Bundle by bundle: most places have the same one.
async fn judge(places: &[Place], listener: SocketAddr) -> Standing {
    if places.is_empty() {
        return Standing::Unregistered;
    }
    let mut tried: Vec<&Place> = Vec::new();
    for place in places {
        let is_same =
            |other: &&Place| other.pem == place.pem && other.server_name == place.server_name;
        if tried.iter().any(is_same) {
            continue;
        }
        if let Err(why) = greet(&place.server_name, &place.trusted(), listener).await {
            return Standing::Refused(format!("{}: {why}", place.name()));
        }
        tried.push(place);
    }
    Standing::Accepted
}

/// As kube-apiserver does, but for the address.
pub(crate) async fn greet(
    name: &str,
    trusted: &[CertificateDer<'static>],
    listener: SocketAddr,
) -> Result<(), String> {
    let server_name = ServerName::try_from(name.to_owned());
    let server_name = server_name.map_err(|_| format!("{name} is no name of a server"))?;
    if trusted.is_empty() {
        return Err("its caBundle holds no certificate".to_owned());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let greeting = async {
        let stream = TcpStream::connect(loopback(listener)).await?;
        connector.connect(server_name, stream).await
    };
    match timeout(DEADLINE, greeting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{listener} doesn't answer")),
    }
}

/// Where we can be reached from here, of what we listen on.
fn loopback(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// How soon another chain is noticed.
const GLANCE: Duration = Duration::from_secs(1);

/// Before the first try again, where the API server hasn't answered yet or we were refused.
const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// Between two tries of what nobody has changed: certificates end without a word.
const LONG_PAUSE: Duration = Duration::from_secs(60);

const DEADLINE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use axum::Router;
    use kube_webhook::{Server, certs::Authority};

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    fn ca(name: &str) -> Authority {
        Authority::create(name, SystemTime::now(), LIFETIME).unwrap()
    }

    fn place(name: &str, cas: &[&Authority]) -> Place {
        let pem: String = cas.iter().map(|ca| ca.pem().chain.clone()).collect();
        Place::of(name, pem.into_bytes())
    }

    #[tokio::test]
    async fn a_chain_counts_by_each_live_bundle_and_name() {
        let (ours, theirs) = (ca("ours"), ca("theirs"));
        let names = ["h.n.svc".to_owned()];
        let pem = ours.issue(&names, SystemTime::now(), LIFETIME).unwrap();
        let identity = TlsIdentity::from_pem(pem.chain.as_bytes(), pem.key.as_bytes()).unwrap();
        let server = Server::bind(([127, 0, 0, 1], 0).into(), identity, Router::new()).unwrap();
        let listener = server.local_addr();
        let serving = tokio::spawn(server.serve(std::future::pending::<()>()));

        let good = place("h.n.svc", &[&theirs, &ours]);
        assert_eq!(
            judge(std::slice::from_ref(&good), listener).await,
            Standing::Accepted
        );
        for (bad, reason) in [
            (place("h.n.svc", &[&theirs]), "UnknownIssuer"),
            (place("other.n.svc", &[&ours]), "not valid for"),
            (place("h.n.svc", &[]), "no certificate"),
        ] {
            let standing = judge(&[good.clone(), bad], listener).await;
            let Standing::Refused(why) = standing else {
                panic!("{standing:?}");
            };
            assert!(why.contains(reason), "{why}");
        }
        assert_eq!(judge(&[], listener).await, Standing::Unregistered);
        serving.abort();
    }

    #[test]
    fn who_was_ready_once_is_not_taken_from_the_senders_of_events() {
        let refused = || Standing::Refused("no".to_owned());
        let lost = Standing::Lost("no".to_owned());
        for (before, now, concluded) in [
            (Standing::Unasked, refused(), refused()),
            (refused(), refused(), refused()),
            (Standing::Accepted, refused(), lost.clone()),
            (Standing::Unregistered, refused(), lost.clone()),
            (lost.clone(), refused(), lost.clone()),
            (lost, Standing::Accepted, Standing::Accepted),
        ] {
            let trusted = Trusted(Arc::new(Mutex::new(before)));
            trusted.conclude(now);
            assert_eq!(trusted.standing(), concluded);
        }
    }

    /// The API server never speaks of it: nothing that it holds has changed.
    #[tokio::test]
    async fn a_greeting_that_failed_for_want_of_room_is_made_good_within_seconds() {
        let ours = ca("ours");
        let names = ["h.n.svc".to_owned()];
        let pem = ours.issue(&names, SystemTime::now(), LIFETIME).unwrap();
        let identity = TlsIdentity::from_pem(pem.chain.as_bytes(), pem.key.as_bytes()).unwrap();
        let server =
            Server::bind(([127, 0, 0, 1], 0).into(), identity.clone(), Router::new()).unwrap();
        let listener = server.local_addr();
        let serving = tokio::spawn(
            server
                .connection_limit(1)
                .serve(std::future::pending::<()>()),
        );
        let crowd = TcpStream::connect(listener).await.unwrap();

        let trusted = Trusted::default();
        let places = Places::in_memory("h.n.svc", &ours.pem().chain);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let watch = trusted.clone().watch(
            places,
            identity,
            listener,
            async move { drop(ended.await) }.boxed(),
        );
        let watching = tokio::spawn(watch);
        until(&trusted, |standing| {
            matches!(standing, Standing::Refused(_))
        })
        .await;
        drop(crowd);
        until(&trusted, |standing| *standing == Standing::Accepted).await;
        end.send(()).unwrap();
        watching.await.unwrap();
        serving.abort();
    }

    async fn until(trusted: &Trusted, is_so: impl Fn(&Standing) -> bool) {
        let reached = async {
            while !is_so(&trusted.standing()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let reached = timeout(Duration::from_secs(20), reached).await;
        assert!(reached.is_ok(), "{:?}", trusted.standing());
    }

    #[test]
    fn what_listens_everywhere_is_reached_by_the_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            assert_eq!(loopback(listens.parse().unwrap()).to_string(), reached);
        }
    }
}
