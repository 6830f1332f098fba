//! Certificates with damage: whatever is read of them is what stands there, and what is trusted is what was issued.
#![cfg(feature = "x509")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::crypto::{Certificate, CertificateChain, certificates_of};
use countersign::x509::{PinnedCertificate, Roots, X509};
use countersign::{PrivateKey, PublicKey, UnixTime};
use rand_core::Rng;
use std::fs;
use std::path::Path;

#[path = "support/toy.rs"]
mod toy;
use toy::CountingRng;

/// 2026-11-27: within the certificates' dates.
const NOW: UnixTime = UnixTime::from_secs(1_795_737_600);

const NAME: &str = "db.example";

/// How often each certificate is damaged.
const ROUNDS: usize = 400;

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/certificates/{name}.pem"))).unwrap()
}

fn der(name: &str) -> Vec<u8> {
    certificates_of(&file(name)).unwrap()[0].1.der().to_vec()
}

fn key() -> PublicKey {
    PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap().public_key().clone()
}

/// Flips a few bits, or cuts, inserts, removes or doubles a piece.
fn damage(bytes: &[u8], rng: &mut CountingRng) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let mut below = |end: usize| usize::try_from(rng.next_u64() % u64::try_from(end).unwrap()).unwrap();
    for _ in 0..=below(3) {
        let at = below(damaged.len());
        match below(8) {
            0 => damaged.truncate(at.max(1)),
            1 => damaged.insert(at, u8::try_from(below(256)).unwrap()),
            2 if damaged.len() > 1 => drop(damaged.remove(at)),
            3 => {
                let piece = damaged[at..damaged.len().min(at + 20)].to_vec();
                damaged.splice(at..at, piece);
            }
            _ => damaged[at] ^= 1 << below(8),
        }
    }
    damaged
}

#[test]
fn what_is_read_of_a_damaged_certificate_is_the_same_when_it_is_read_again() {
    let rng = &mut CountingRng(11);
    let names = ["good", "self", "by-middle", "middle", "constrained", "critical", "escapes", "ec", "root-ed25519"];
    let mut read = 0;
    for name in names {
        let (pem, der) = (file(name), der(name));
        for _ in 0..ROUNDS {
            if let Some(certificate) = Certificate::from_der(&damage(&der, rng)) {
                let again = Certificate::from_der(certificate.der()).unwrap();
                let says =
                    |of: &Certificate| (of.subject().to_owned(), of.names().to_vec(), of.not_before(), of.not_after());
                assert_eq!(says(&again), says(&certificate));
                assert!(certificate.subject().chars().chain(certificate.issuer().chars()).all(|c| !c.is_control()));
                read += 1;
            }
            let damaged = damage(&pem, rng);
            let (chain, pinned) = (CertificateChain::parse(&damaged), PinnedCertificate::parse(&damaged));
            let found = certificates_of(&damaged).unwrap_or_default();
            if let Ok(chain) = chain {
                assert!(chain.ders().eq(found.iter().map(|(_, certificate)| certificate.der())), "{name}");
                assert_eq!(chain.key(), found[0].1.public_key().ok(), "{name}");
            }
            if let Ok(pinned) = pinned {
                assert_eq!(pinned.certificate().der(), found[0].1.der(), "{name}");
            }
        }
    }
    assert!(read > ROUNDS / 4, "most damage is to bytes that can be anything: {read}");
}

#[test]
fn a_damaged_certificate_is_trusted_by_no_root() {
    let (key, rng) = (key(), &mut CountingRng(12));
    let x509 = X509::new(Roots::parse(&file("root")).unwrap());
    for sent in [&["good"][..], &["by-middle", "middle"]] {
        let ders: Vec<Vec<u8>> = sent.iter().map(|name| der(name)).collect();
        let verify = |ders: &[Vec<u8>]| {
            let ders: Vec<&[u8]> = ders.iter().map(Vec::as_slice).collect();
            x509.verify(&ders, &key, NAME, NOW)
        };
        assert!(verify(&ders).is_ok(), "{sent:?}");
        for round in 0..ROUNDS {
            let mut damaged = ders.clone();
            let which = round % ders.len();
            damaged[which] = damage(&ders[which], rng);
            if damaged != ders {
                assert!(verify(&damaged).is_err(), "{sent:?}, number {which}, in round {round}");
            }
        }
    }
}

/// What is pinned is whatever stands in the file, but it is for its own key, names and dates alone.
#[test]
fn a_damaged_certificate_that_is_pinned_is_for_no_other_key() {
    let (other, rng) = (PrivateKey::from_pem(include_str!("keys/other2048.pem")).unwrap(), &mut CountingRng(13));
    let genuine = der("self");
    assert_eq!(PinnedCertificate::parse(&genuine).unwrap().verify(&key(), NAME, NOW), Ok(()));
    for _ in 0..ROUNDS {
        let Ok(pinned) = PinnedCertificate::parse(&damage(&genuine, rng)) else { continue };
        assert!(pinned.verify(other.public_key(), NAME, NOW).is_err());
        if pinned.verify(&key(), NAME, NOW).is_ok() {
            let certificate = pinned.certificate();
            assert_eq!(certificate.public_key(), Ok(&key()));
            assert!(certificate.not_before() <= NOW && NOW <= certificate.not_after());
        }
    }
}
