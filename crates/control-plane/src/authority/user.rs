//! The DER of a client certificate.
//!
//! The API server takes the user from the subject's common name and a group from
//! each of its organizations. rcgen's names hold each kind of attribute once, so
//! a user in two groups needs a certificate written by hand: RFC 5280, sections
//! 4.1 and 4.2.
//!
//! Called by [`authority`](super) alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use yasna::models::ObjectIdentifier;
use yasna::tags::TAG_UTCTIME;
use yasna::{DERWriter, Tag};

/// A PEM certificate for `user` in `groups`, signed by the CA named `issuer`.
pub(super) fn certificate(
    user: &str,
    groups: &[&str],
    key: &KeyPair,
    issuer: &str,
    issuer_key: &KeyPair,
) -> Result<String, rcgen::Error> {
    let signed = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer
                .next()
                .write_tagged(Tag::context(0), |writer| writer.write_u8(VERSION_3));
            writer.next().write_bigint_bytes(&serial(key), true);
            signature_algorithm(writer.next());
            name(writer.next(), issuer, &[]);
            writer.next().write_sequence(|writer| {
                for time in [NOT_BEFORE, NOT_AFTER] {
                    let writer = writer.next();
                    writer.write_tagged_implicit(TAG_UTCTIME, |writer| writer.write_bytes(time));
                }
            });
            name(writer.next(), user, groups);
            writer.next().write_der(&key.subject_public_key_info());
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| extended_key_usage(writer.next()));
            });
        });
    });
    let signature = issuer_key.sign(&signed)?;
    let certificate = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&signed);
            signature_algorithm(writer.next());
            writer
                .next()
                .write_bitvec_bytes(&signature, signature.len() * 8);
        });
    });
    Ok(pem(&certificate))
}

/// A positive number of at most 20 octets that no other certificate of this CA has.
fn serial(key: &KeyPair) -> [u8; 16] {
    let mut serial = [0; 16];
    let public = key.public_key_raw();
    // The first octet of an uncompressed point is 4 for all keys.
    for (octet, random) in serial.iter_mut().zip(public.iter().skip(1)) {
        *octet = *random;
    }
    serial[0] = serial[0] & 0x7f | 0x01;
    serial
}

fn signature_algorithm(writer: DERWriter<'_>) {
    writer.write_sequence(|writer| {
        writer
            .next()
            .write_oid(&ObjectIdentifier::from_slice(ECDSA_WITH_SHA256));
    });
}

fn name(writer: DERWriter<'_>, common_name: &str, organizations: &[&str]) {
    let organizations = organizations.iter().map(|group| (ORGANIZATION, *group));
    writer.write_sequence(|writer| {
        for (kind, value) in organizations.chain([(COMMON_NAME, common_name)]) {
            writer.next().write_set(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(kind));
                    writer.next().write_utf8_string(value);
                });
            });
        }
    });
}

fn extended_key_usage(writer: DERWriter<'_>) {
    let usages = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer
                .next()
                .write_oid(&ObjectIdentifier::from_slice(CLIENT_AUTH));
        });
    });
    writer.write_sequence(|writer| {
        writer
            .next()
            .write_oid(&ObjectIdentifier::from_slice(EXTENDED_KEY_USAGE));
        writer.next().write_bytes(&usages);
    });
}

/// RFC 7468: lines of 64 characters.
fn pem(der: &[u8]) -> String {
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (position, character) in STANDARD.encode(der).chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

/// Extensions need version 3, which is written as 2.
const VERSION_3: u8 = 2;

/// From 1975 to 2049, as far as a `UTCTime` reaches: clocks of test machines are
/// not to be trusted.
const NOT_BEFORE: &[u8] = b"750101000000Z";
const NOT_AFTER: &[u8] = b"491231235959Z";

/// RFC 5758, what the P-256 keys of rcgen sign with.
const ECDSA_WITH_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];
