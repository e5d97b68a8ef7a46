//! Presents what is in the leaf's Secret, on every replica, from the next handshake on. What isn't
//! a certificate with its key is refused, and what was presented before stays.

use futures::{FutureExt, StreamExt, future::BoxFuture};
use kube_webhook::{
    TlsIdentity,
    certs::{Pem, certificates},
};
use tracing::{debug, info, warn};

use super::secrets::Secrets;
use crate::manifests::TLS_SECRET;

/// Follows the Secret until `shutdown`.
pub(crate) async fn follow(
    secrets: Secrets,
    identity: TlsIdentity,
    shutdown: BoxFuture<'static, ()>,
) {
    let mut leaves = Box::pin(secrets.leaves().take_until(shutdown.fuse()));
    while let Some(seen) = leaves.next().await {
        match seen {
            Ok(Some(pem)) => {
                present(&identity, &pem);
            }
            Ok(None) => debug!(secret = TLS_SECRET, "holds no certificate yet"),
            Err(error) => debug!(secret = TLS_SECRET, "can't be watched: {error}"),
        }
    }
}

/// Whether another certificate is presented now. Of the same one, no connection hears.
fn present(identity: &TlsIdentity, pem: &Pem) -> bool {
    if certificates(pem.chain.as_bytes()) == identity.chain() {
        return false;
    }
    match identity.replace(pem.chain.as_bytes(), pem.key.as_bytes()) {
        Ok(()) => {
            info!(secret = TLS_SECRET, "serving certificate renewed");
            true
        }
        Err(error) => {
            warn!(
                secret = TLS_SECRET,
                "serving certificate not renewed: {error}"
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use kube_webhook::certs::Authority;

    use super::*;

    #[test]
    fn the_same_again_and_what_is_damaged_change_nothing() {
        let names = ["localhost".to_owned()];
        let (identity, _) = TlsIdentity::ephemeral(&names).unwrap();
        let now = SystemTime::now();
        let ca = Authority::create("ca", now, Duration::from_secs(60)).unwrap();
        let good = ca.issue(&names, now, Duration::from_secs(60)).unwrap();
        assert!(present(&identity, &good));
        assert!(!present(&identity, &good));
        let other = ca.issue(&names, now, Duration::from_secs(60)).unwrap();
        let mixed = Pem {
            chain: other.chain,
            key: good.key.clone(),
        };
        assert!(!present(&identity, &mixed));
        assert_eq!(identity.chain(), certificates(good.chain.as_bytes()));
    }
}
