//! The names that a certificate can be for, read once where they come in: what a caller could never
//! verify (a wildcard, an empty label) is refused there, and nothing further in has to ask again.

use std::{fmt, net::IpAddr, str::FromStr};

use rustls::pki_types::DnsName;

/// A subject alternative name (RFC 5280, 4.2.1.6) of the two kinds that callers ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AltName {
    /// An address.
    Address(IpAddr),
    /// A DNS name in lower case, without the dot of the root, which no certificate bears.
    Dns(String),
}

/// Why a text is no such name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a DNS name nor an address (a wildcard is no name that a caller asks for)"
)]
pub struct BadName(String);

impl AltName {
    /// Those in texts that stood between commas; what is blank is none.
    pub fn list(texts: &[String]) -> Result<Vec<Self>, BadName> {
        let given = texts.iter().map(|text| text.trim());
        given
            .filter(|text| !text.is_empty())
            .map(str::parse)
            .collect()
    }

    /// As it stands in a URL.
    pub(crate) fn in_url(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]"),
            name => name.to_string(),
        }
    }
}

impl FromStr for AltName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        // As a URL has an IPv6 address.
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match DnsName::try_from(name.as_str()) {
            Ok(_) if !name.ends_with('.') => Ok(Self::Dns(name)),
            _ => Err(BadName(text.to_owned())),
        }
    }
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Dns(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use kube_webhook::certs::{Authority, certificates, verify};

    use super::*;

    #[test]
    fn what_a_caller_could_never_verify_is_refused() {
        for bad in [
            "*.example.org",
            ".example.org",
            "a..example.org",
            "example.org..",
            ".",
            "a b",
            "-a.example.org",
            "https://example.org",
            "example.org:5001",
            "10.0.0.256",
            "b\u{fc}cher.example.org",
        ] {
            let refused: Result<AltName, _> = bad.parse();
            assert_eq!(refused, Err(BadName(bad.to_owned())));
        }
    }

    #[test]
    fn whatever_is_taken_makes_a_certificate_that_is_accepted_for_it() {
        let now = SystemTime::now();
        let hour = Duration::from_secs(60 * 60);
        let ca = Authority::create("ca", now, hour).unwrap();
        for (text, name) in [
            ("events.example.org", "events.example.org"),
            ("events.example.org.", "events.example.org"),
            ("EVENTS.Example.org", "events.example.org"),
            ("under_score.example.org", "under_score.example.org"),
            ("localhost", "localhost"),
            ("1a", "1a"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
        ] {
            let taken: AltName = text.parse().unwrap();
            assert_eq!(taken.to_string(), name);
            let leaf = ca.issue(&[taken.to_string()], now, hour).unwrap();
            let chain = certificates(leaf.chain.as_bytes());
            let roots = [ca.certificate().clone()];
            verify(&chain, &roots, &taken.to_string(), now).unwrap();
        }
    }

    #[test]
    fn between_commas_blanks_are_nothing() {
        let texts = [" a.example.org ", "", " 192.0.2.1"].map(str::to_owned);
        let names = AltName::list(&texts).unwrap();
        let shown: Vec<_> = names.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a.example.org", "192.0.2.1"]);
    }
}
