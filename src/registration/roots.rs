//! Whom API servers are to trust when they call us, by who makes the certificate; and what that means
//! for a bundle that is there already.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use kube_webhook::certs::{Validity, bundle, certificates};
use rustls::pki_types::CertificateDer;

use crate::{
    certificates::{Secrets, are_same},
    reservations::host::ApiError,
};

/// Where the CAs are.
#[derive(Clone, Debug)]
pub(crate) enum Roots {
    /// Made up for this run, PEM.
    Ephemeral(String),
    /// In a file.
    File {
        /// The file.
        file: PathBuf,
        /// Whether it was named; otherwise it need not be there.
        is_named: bool,
    },
    /// In our own Secret. Whoever exchanges them writes the bundles that are there.
    SelfManaged(Box<Secrets>),
}

/// Whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// These, beside those that are trusted: pods that present the old ones' leaves may be around.
    Beside(Vec<CertificateDer<'static>>),
    /// These, where there is no bundle yet.
    First(Vec<CertificateDer<'static>>),
    /// These and no others.
    Just(Vec<CertificateDer<'static>>),
    /// Whoever is trusted: the bundle is somebody else's, or the certificate a public CA's.
    Whoever,
}

/// Why that isn't known.
#[derive(Debug, thiserror::Error)]
pub(super) enum RootsError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("REGISTER_CA_FILE {}: {why}", file.display())]
    File { file: PathBuf, why: String },
}

impl Roots {
    /// `None`: there are none yet.
    pub(super) async fn read(&self) -> Result<Option<Trust>, RootsError> {
        Ok(match self {
            Self::Ephemeral(pem) => Some(Trust::Just(certificates(pem.as_bytes()))),
            Self::File { file, is_named } => Some(of_file(file, *is_named).await?),
            Self::SelfManaged(secrets) => {
                let trusted = secrets.trusted().await?;
                (!trusted.is_empty()).then_some(Trust::First(trusted))
            }
        })
    }

    /// Waits until they are others than those that were read last; what is in our own Secret has its
    /// own keeper.
    pub(super) async fn changed(&self, last: Option<&Trust>) {
        if !matches!(self, Self::File { .. }) {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(PERIOD).await;
            if !self.are(last).await {
                return;
            }
        }
    }

    /// A file that can't be read at present is no change.
    async fn are(&self, last: Option<&Trust>) -> bool {
        match self.read().await {
            Ok(read) => read.as_ref() == last,
            Err(_) => true,
        }
    }
}

async fn of_file(file: &Path, is_named: bool) -> Result<Trust, RootsError> {
    let bad = |why: String| RootsError::File {
        file: file.to_owned(),
        why,
    };
    match tokio::fs::read(file).await {
        Ok(pem) => match certificates(&pem) {
            cas if cas.is_empty() => Err(bad("holds no certificate".to_owned())),
            cas => Ok(Trust::Beside(cas)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok(Trust::Whoever),
        Err(error) => Err(bad(error.to_string())),
    }
}

impl Trust {
    /// Those that must accept us before we are called.
    pub(super) fn roots(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            Self::Beside(cas) | Self::First(cas) | Self::Just(cas) => Some(cas),
            Self::Whoever => None,
        }
    }

    /// What a bundle is to be, given what it is; `None` if that is not ours to say.
    pub(super) fn bundle(&self, live: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let trusted = certificates(live);
        let wanted = match self {
            Self::First(cas) if trusted.is_empty() => cas.clone(),
            Self::First(_) => return Some(live.to_vec()),
            Self::Just(cas) => cas.clone(),
            Self::Beside(cas) => {
                let is_over =
                    |ca: &CertificateDer<'_>| Validity::of(ca).is_none_or(|it| it.not_after <= now);
                let old = trusted
                    .iter()
                    .filter(|ca| !cas.contains(ca) && !is_over(ca));
                cas.iter().chain(old).cloned().collect()
            }
            Self::Whoever => return None,
        };
        // As it is written there: a line's end more is no change.
        Some(if are_same(&wanted, &trusted) {
            live.to_vec()
        } else {
            bundle(&wanted).into_bytes()
        })
    }
}

/// As often as the files of certificates are looked at.
const PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use kube_webhook::certs::Authority;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ca(name: &str) -> CertificateDer<'static> {
        let ca = Authority::create(name, SystemTime::now(), MINUTE).unwrap();
        ca.certificate().clone()
    }

    fn after(trust: &Trust, live: &[CertificateDer<'static>], now: SystemTime) -> Vec<u8> {
        trust.bundle(bundle(live).as_bytes(), now).unwrap()
    }

    /// What is written while a pass goes on is not missed by whoever compares with what it read.
    #[tokio::test]
    async fn a_file_that_is_exchanged_is_noticed_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let roots = Roots::File {
            file: file.clone(),
            is_named: false,
        };
        assert_eq!(roots.read().await.unwrap(), Some(Trust::Whoever));
        std::fs::write(&file, bundle(&[ca("one")])).unwrap();
        assert!(!roots.are(Some(&Trust::Whoever)).await);
        let last = roots.read().await.unwrap();
        assert!(roots.are(last.as_ref()).await);
        std::fs::write(&file, "half of").unwrap();
        assert!(roots.are(last.as_ref()).await);
        std::fs::write(&file, bundle(&[ca("other")])).unwrap();
        assert!(!roots.are(last.as_ref()).await);
        let named = Roots::File {
            file: folder.path().join("missing"),
            is_named: true,
        };
        assert!(named.read().await.is_err());
    }

    #[test]
    fn a_bundle_loses_nobody_before_their_time() {
        let (ours, old, strangers) = (ca("ours"), ca("old"), ca("strangers"));
        let now = SystemTime::now();
        let pem = |cas: &[&CertificateDer<'static>]| {
            let cas: Vec<_> = cas.iter().map(|ca| (*ca).clone()).collect();
            bundle(&cas).into_bytes()
        };
        let beside = Trust::Beside(vec![ours.clone()]);
        assert_eq!(after(&beside, &[], now), pem(&[&ours]));
        let live = [old.clone()];
        assert_eq!(after(&beside, &live, now), pem(&[&ours, &old]));
        assert_eq!(after(&beside, &live, now + MINUTE), pem(&[&ours]));
        let both = [old.clone(), ours.clone()];
        assert_eq!(after(&beside, &both, now), pem(&[&old, &ours]));
        // What its keeper has written stands, also where it knows better than we.
        let first = Trust::First(vec![ours.clone()]);
        assert_eq!(after(&first, &[], now), pem(&[&ours]));
        assert_eq!(after(&first, &live, now), pem(&[&old]));
        let just = Trust::Just(vec![ours.clone()]);
        assert_eq!(after(&just, &[strangers], now), pem(&[&ours]));
        assert_eq!(Trust::Whoever.bundle(b"x", now), None);
    }
}
