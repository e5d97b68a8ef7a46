//! Whose bytes these are: HMAC-SHA256 over the raw body, compared in constant time.
//!
//! Owns the only way to a [`VerifiedDelivery`]. Refuses everything but one header that holds
//! the MAC as padded base64 or as hex, each with or without `sha256=` (the sender writes
//! base64; its documentation told users of hex). Called by the intake with bytes that
//! nothing has looked at yet.

use std::fmt;

use axum::http::{HeaderMap, HeaderName};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secrets::{Current, Named, SecretsDir};

/// A body whose sender knows the secret, or one that nobody asked to be signed.
#[derive(Debug)]
pub struct VerifiedDelivery(Bytes);

/// The secrets of which any one may have signed.
#[derive(Clone, Default)]
pub struct Secrets {
    setting: Option<Secret>,
    folder: Option<Current>,
}

/// Missing, unreadable or wrong: the sender is told no more than that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Signature verification failed")]
pub struct BadSignature;

/// A key. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Box<[u8]>);

impl Secrets {
    /// One secret, as a setting or a file holds it: its text is the key, one newline at its
    /// end is an editor's and is left out. Empty: nothing is checked.
    pub fn from_text(text: &str) -> Self {
        Self {
            setting: Secret::from_bytes(text.as_bytes()),
            folder: None,
        }
    }

    /// Those of a folder as well. Even while it is empty, everything is checked.
    #[must_use]
    pub fn and_folder(mut self, folder: &SecretsDir) -> Self {
        self.folder = Some(folder.current());
        self
    }

    /// Whether deliveries are not checked at all.
    pub fn is_unsigned_mode(&self) -> bool {
        self.setting.is_none() && self.folder.is_none()
    }

    /// Whether no delivery can pass: there is a folder for secrets, and there are none.
    pub fn refuses_all(&self) -> bool {
        !self.is_unsigned_mode() && self.count() == 0
    }

    /// Signs what is sent to a webhook's owner: with the folder's file that is named for it,
    /// or with the only secret that there is where there is no folder.
    pub fn signature_of(&self, webhook_id: i64, body: &[u8]) -> Option<String> {
        let Some(folder) = &self.folder else {
            return self.setting.as_ref().map(|secret| secret.sign(body));
        };
        let file = webhook_id.to_string();
        folder.with(|secrets| {
            let mut secrets = secrets.iter();
            let named = secrets.find(|named| named.file == *file)?;
            Some(named.secret.sign(body))
        })
    }

    fn count(&self) -> usize {
        let folder = self.folder.as_ref();
        usize::from(self.setting.is_some()) + folder.map_or(0, |folder| folder.with(<[Named]>::len))
    }

    /// Lets the body through if one of the secrets signed it.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<VerifiedDelivery, BadSignature> {
        if self.is_unsigned_mode() {
            return Ok(VerifiedDelivery(body));
        }
        let mac = claimed_mac(headers).ok_or(BadSignature)?;
        // Every secret is tried, whichever fits: which one it was is not to be timed.
        let any = |found: bool, secret: &Secret| found | secret.signed(&body, &mac);
        let verified = self.setting.iter().fold(false, any);
        let verified = match &self.folder {
            Some(folder) => folder.with(|secrets| {
                let secrets = secrets.iter().map(|named| &named.secret);
                secrets.fold(verified, any)
            }),
            None => verified,
        };
        if verified {
            Ok(VerifiedDelivery(body))
        } else {
            Err(BadSignature)
        }
    }
}

impl VerifiedDelivery {
    /// The bytes that were signed.
    pub fn body(&self) -> &[u8] {
        &self.0
    }
}

impl Secret {
    /// A text as a setting or a file holds it; nothing for an empty one.
    pub(super) fn from_bytes(text: &[u8]) -> Option<Self> {
        let key = key_of(text);
        (!key.is_empty()).then(|| Self(key.into()))
    }

    fn sign(&self, body: &[u8]) -> String {
        STANDARD.encode(hmac(&self.0, body).finalize().into_bytes())
    }

    fn signed(&self, body: &[u8], mac: &[u8; MAC_LENGTH]) -> bool {
        hmac(&self.0, body).verify_slice(mac).is_ok()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} of them)", self.count())
    }
}

/// Signs a body as the sender does. Called by `send-event`'s callers: the demo and tests.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mac = hmac(key_of(secret.as_bytes()), body);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The key that a text stands for: all of it, but for the one newline that an editor left.
fn key_of(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn hmac(key: &[u8], body: &[u8]) -> Hmac<Sha256> {
    let mut hmac = Hmac::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104)");
    hmac.update(body);
    hmac
}

fn claimed_mac(headers: &HeaderMap) -> Option<[u8; MAC_LENGTH]> {
    let mut values = headers.get_all(SIGNATURE_HEADER).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let text = value.to_str().ok()?.trim_matches([' ', '\t']);
    let text = text.strip_prefix("sha256=").unwrap_or(text);
    if text.len() == 2 * MAC_LENGTH {
        return from_hex(text);
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn from_hex(text: &str) -> Option<[u8; MAC_LENGTH]> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut mac = [0; MAC_LENGTH];
    for (byte, pair) in mac.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(mac)
}

/// The header that carries the MAC.
pub const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-webhook-signature");

const MAC_LENGTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0LWtleS0zMi1ieXRlcy1sb25nLWV4YW1wbGU=";
    const M1: &[u8] = br#"{"eventType":"EVENT_START","resourceName":"restart-srv01"}"#;
    const M1_BASE64: &str = "78cYUV2I07TaYMxuNBMOHM4TpcKmTqCPSjGEQzseIIw=";
    const M1_HEX: &str = "efc718515d88d3b4da60cc6e34130e1cce13a5c2a64ea08f4a3184433b1e208c";

    const M2: &[u8] = br#"{"eventType":"EVENT_END","resourceName":"restart-srv01"}"#;
    const M2_BASE64: &str = "q5xzAorxlIBi/pk5zGp6Wuvy32no3pJVM51Mc+dFD3A=";

    fn verify(secret: &str, signature: Option<&str>, body: &'static [u8]) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(signature) = signature {
            headers.insert(SIGNATURE_HEADER, signature.parse().unwrap());
        }
        Secrets::from_text(secret)
            .verify(&headers, Bytes::from_static(body))
            .is_ok()
    }

    #[test]
    fn the_documented_forms_are_accepted() {
        for signature in [
            M1_BASE64.to_owned(),
            M1_HEX.to_owned(),
            M1_HEX.to_uppercase(),
            format!("sha256={M1_HEX}"),
            format!("sha256={M1_BASE64}"),
            format!(" \t{M1_BASE64} "),
        ] {
            assert!(verify(SECRET, Some(&signature), M1), "{signature}");
        }
        assert_eq!(sign(SECRET, M1), M1_BASE64);
    }

    #[test]
    fn everything_else_is_refused() {
        for signature in [
            None,
            Some(""),
            Some("garbage"),
            Some(M1_BASE64.trim_end_matches('=')),
            Some(M2_BASE64),
            Some("cJOyyXvQvRWpOJsNeqdY3MfWqMO0WoGLykX0vz1MwWw="),
            Some("SHA256=78cYUV2I07TaYMxuNBMOHM4TpcKmTqCPSjGEQzseIIw="),
            Some(&M1_HEX[1..]),
        ] {
            assert!(!verify(SECRET, signature, M1), "{signature:?}");
        }
        assert!(!verify(SECRET, Some(M1_BASE64), b"another body"));
        // M2's MAC has both characters that the URL-safe alphabet replaces.
        let url_safe = M2_BASE64.replace('/', "_").replace('+', "-");
        assert!(verify(SECRET, Some(M2_BASE64), M2));
        assert!(!verify(SECRET, Some(&url_safe), M2));
    }

    #[test]
    fn a_newline_at_the_end_of_the_setting_is_not_part_of_the_key() {
        assert!(verify(&format!("{SECRET}\n"), Some(M1_BASE64), M1));
        assert!(!verify(&format!("{SECRET}\n\n"), Some(M1_BASE64), M1));
    }

    #[test]
    fn without_a_secret_nothing_is_checked() {
        assert!(verify("", None, M1));
        assert!(verify("\n", Some("garbage"), M1));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let shown = format!("{:?}", Secrets::from_text(SECRET));
        assert_eq!(shown, "Secrets(1 of them)");
    }
}
