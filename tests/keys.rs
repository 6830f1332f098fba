//! Keys from and to PEM and DER, and the keys that are refused.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::ParseKeyIdError;
use countersign::{KeyError, KeyId, KeySize, PrivateKey, PublicKey, ServerKey, limits};
use rsa::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};
use support::der::{self, Numbers, algorithm, bit_string, integer, sequence, spki, tlv};
use support::{OTHER2048, RSA2048, RSA3072, RSA4096, TestRng, provider};

const F4: &[u8] = &[1, 0, 1];
const EC_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519_OID: &[u8] = &[0x2b, 0x65, 0x70];

/// The key inside a SubjectPublicKeyInfo of a good 2048-bit key.
fn inner() -> Vec<u8> {
    sequence(&[&integer(&der::modulus(2048)), &integer(F4)])
}

fn refused(der: &[u8]) -> KeyError {
    PublicKey::from_spki_der(der).expect_err("this must be refused")
}

fn refused_private(der: &[u8]) -> KeyError {
    PrivateKey::from_pkcs8_der(der).expect_err("this must be refused")
}

#[test]
fn keys_made_by_openssl_are_read_and_written_back_as_they_were() {
    for (key, bits) in [(&RSA2048, 2048), (&OTHER2048, 2048), (&RSA3072, 3072), (&RSA4096, 4096)] {
        let private = PrivateKey::from_pem(key.pem).unwrap();
        assert_eq!(&*private.to_pem(), key.pem);
        let again = PrivateKey::from_pkcs8_der(private.pkcs8_der()).unwrap();
        assert_eq!(again.pkcs8_der(), private.pkcs8_der());
        let public = private.public_key();
        assert_eq!((public.bits(), public.size(), public.exponent()), (bits, bits / 8, 65537));
        assert_eq!(&PublicKey::from_pem(&public.to_pem()).unwrap(), public);
        assert_eq!(&PublicKey::from_spki_der(public.spki_der()).unwrap(), public);
        assert!(public.to_pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
        assert!(public.to_pem().ends_with("-----END PUBLIC KEY-----\n"));
        assert_eq!(key.server.public_key(), public);
    }
    assert_ne!(RSA2048.private.public_key(), OTHER2048.private.public_key());
}

#[test]
fn the_public_half_is_what_another_library_makes_of_the_private_key() {
    for key in [&RSA2048, &RSA3072, &RSA4096] {
        let theirs = rsa::PrivateKey::from_pkcs8_pem(key.pem).unwrap().to_public_key();
        let ours = key.private.public_key();
        assert_eq!(ours.spki_der(), theirs.to_public_key_der().unwrap().as_bytes());
        assert_eq!(ours.modulus(), &*theirs.n_bytes());
        assert_eq!(ours.spki_der(), spki(ours.modulus(), F4), "and what is made by hand");
    }
}

#[test]
fn a_fingerprint_is_the_sha_256_of_the_spki() {
    for key in [&RSA2048, &OTHER2048, &RSA3072, &RSA4096] {
        let public = key.private.public_key();
        let hash: [u8; 32] = Sha256::digest(public.spki_der()).into();
        assert_eq!(public.id(), KeyId::from_bytes(hash));
        assert_eq!(public.id().as_bytes(), &hash);
        let printed = public.id().to_string();
        assert_eq!(printed.len(), 50);
        assert_eq!(printed.parse(), Ok(public.id()));
        assert_eq!(format!("{:?}", public.id()), printed);
    }
    let zeros = KeyId::from_bytes([0; 32]);
    assert_eq!(zeros.to_string(), format!("SHA256:{}", "A".repeat(43)));
}

#[test]
fn text_that_is_no_fingerprint_is_refused() {
    let good = RSA2048.private.public_key().id().to_string();
    let body = &good[7..];
    let cases = [
        String::new(),
        "SHA256:".to_owned(),
        body.to_owned(),
        format!("sha256:{body}"),
        format!("SHA256 {body}"),
        format!("MD5:{body}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{good}="),
        format!("{good}A"),
        format!("{good}AAAA"),
        good[..49].to_owned(),
        format!("SHA256:{}", body.replace(body.chars().next().unwrap(), "-")),
        format!("SHA256:{}", "_".repeat(43)),
        // 258 bits: the last character has two bits that must be zero.
        format!("SHA256:{}B", "A".repeat(42)),
        format!("SHA256:{}\u{e9}", "A".repeat(41)),
        hex::encode([0; 32]),
    ];
    for text in cases {
        assert_eq!(text.parse::<KeyId>(), Err(ParseKeyIdError), "{text:?}");
    }
}

#[test]
fn a_modulus_of_another_size_is_refused() {
    for bits in [512, 1024, 2040, 2047, 8193, 8200, 8256] {
        assert_eq!(refused(&spki(&der::modulus(bits), F4)), KeyError::Size(bits), "{bits}");
    }
    assert_eq!(refused(&spki(&[0], F4)), KeyError::Size(0));
    // Also where it is longer than any message has room for.
    assert_eq!(refused(&spki(&der::modulus(16384), F4)), KeyError::Size(16384));
    assert_eq!(KeyError::Size(16384).to_string(), "the key has 16384 bits, too many: accepted are 2048 to 8192");
    assert_eq!(KeyError::Size(1024).to_string(), "the key has 1024 bits, too few: accepted are 2048 to 8192");
    for bits in [2048, 2049, 2055, 3072, 4095, 8191, 8192] {
        assert_eq!(PublicKey::from_spki_der(&spki(&der::modulus(bits), F4)).unwrap().bits(), bits);
    }
}

#[test]
fn the_largest_key_fits_the_limit() {
    let exponent = [1, 0xff, 0xff, 0xff, 0xff];
    for (exponent, number) in [(F4, 65537), (&exponent[..], (1 << 33) - 1)] {
        let der = spki(&vec![0xff; 1024], exponent);
        assert!(der.len() <= limits::MAX_SPKI, "{} bytes", der.len());
        let key = PublicKey::from_spki_der(&der).unwrap();
        assert_eq!((key.bits(), key.size(), key.exponent()), (8192, 1024, number));
        assert_eq!(key.spki_der(), der);
        assert_eq!(PublicKey::from_pem(&key.to_pem()).unwrap(), key);
    }
    assert_eq!(spki(&vec![0xff; 1024], F4).len(), 1062, "as limits.rs says");
}

#[test]
fn an_even_modulus_is_refused() {
    for bits in [2048, 4096] {
        let mut modulus = der::modulus(bits);
        *modulus.last_mut().unwrap() &= 0xfe;
        assert_eq!(refused(&spki(&modulus, F4)), KeyError::EvenModulus);
    }
}

#[test]
fn a_small_an_even_or_a_long_exponent_is_refused() {
    for exponent in [
        &[0][..],
        &[1],
        &[2],
        &[3],
        &[17],
        &[0xff, 0xff],
        &[1, 0, 0],
        &[1, 0, 2],
        &[2, 0, 0, 0, 0],
        &[2, 0, 0, 0, 1],
        &[1, 0, 0, 0, 0, 0, 0, 1],
        &[0x7f; 8],
        &[1, 0, 0, 0, 0, 0, 0, 0, 1],
        &[1; 20],
    ] {
        assert_eq!(refused(&spki(&der::modulus(2048), exponent)), KeyError::Exponent, "{exponent:?}");
    }
    for exponent in [&[1, 0, 1][..], &[1, 0, 3], &[0xff, 0xff, 0xff, 0xff], &[1, 0xff, 0xff, 0xff, 0xff]] {
        assert!(PublicKey::from_spki_der(&spki(&der::modulus(2048), exponent)).is_ok(), "{exponent:?}");
    }
}

#[test]
fn a_key_of_another_algorithm_is_refused_by_its_name() {
    let other = |name: &str| KeyError::NotRsa(name.to_owned());
    for (algorithm, error) in [
        (algorithm(EC_OID, P256), other("1.2.840.10045.2.1")),
        (algorithm(ED25519_OID, &[]), other("1.3.101.112")),
        (algorithm(der::PSS_OID, &[]), KeyError::Pss),
        (algorithm(der::PSS_OID, der::NULL), KeyError::Pss),
    ] {
        assert_eq!(refused(&sequence(&[&algorithm, &bit_string(&inner())])), error);
        let private = der::pkcs8(&algorithm, &Numbers::of(RSA2048.pem).pkcs1());
        assert_eq!(refused_private(&private), error);
    }
    assert!(other("1.3.101.112").to_string().contains("Ed25519 (1.3.101.112)"));
}

#[test]
fn an_algorithm_without_its_null_is_refused() {
    for parameters in [&[][..], &[0x30, 0x00], &[0x05, 0x01, 0x00], P256] {
        let algorithm = algorithm(der::RSA_OID, parameters);
        assert_eq!(refused(&sequence(&[&algorithm, &bit_string(&inner())])), KeyError::NotDer, "{parameters:?}");
    }
}

#[test]
fn a_private_key_whose_algorithm_is_without_its_null_is_refused() {
    for parameters in [&[][..], &[0x30, 0x00], P256] {
        let private = der::pkcs8(&algorithm(der::RSA_OID, parameters), &Numbers::of(RSA2048.pem).pkcs1());
        assert!(PrivateKey::from_pkcs8_der(&private).is_err(), "{parameters:?}");
    }
}

#[test]
fn der_cut_anywhere_is_refused() {
    let spki = RSA2048.private.public_key().spki_der();
    for cut in 0..spki.len() {
        assert_eq!(refused(&spki[..cut]), KeyError::NotDer, "cut at {cut}");
    }
    let private = RSA2048.private.pkcs8_der();
    for cut in 0..private.len() {
        assert_eq!(refused_private(&private[..cut]), KeyError::NotDer, "cut at {cut}");
    }
}

#[test]
fn der_that_is_not_canonical_is_refused() {
    let good = spki(&der::modulus(2048), F4);
    let rsa = algorithm(der::RSA_OID, der::NULL);
    let modulus = integer(&der::modulus(2048));
    let build = |inner: &[u8]| sequence(&[&rsa, &bit_string(inner)]);
    let long_form = |tag: u8, content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x83, 0, high, low][..], content].concat()
    };
    let mut indefinite = vec![0x30, 0x80];
    indefinite.extend_from_slice(&[&rsa[..], &bit_string(&inner()), &[0, 0]].concat());
    let cases = [
        ("a byte after the end", [&good[..], &[0]].concat()),
        ("a byte after the bit string", sequence(&[&rsa, &bit_string(&inner()), &[0]])),
        ("an element after the bit string", sequence(&[&rsa, &bit_string(&inner()), der::NULL])),
        ("a byte after the key", build(&[&inner()[..], &[0]].concat())),
        ("an element after the exponent", build(&sequence(&[&modulus, &integer(F4), &integer(F4)]))),
        ("no exponent", build(&sequence(&[&modulus]))),
        ("a length in a form too long", long_form(0x30, &[&rsa[..], &bit_string(&inner())].concat())),
        ("a short length in long form", build(&sequence(&[&modulus, &[2, 0x81, 3, 1, 0, 1]]))),
        ("an indefinite length", indefinite),
        (
            "a modulus with a zero too many",
            build(&sequence(&[&tlv(2, &[&[0, 0][..], &der::modulus(2048)].concat()), &integer(F4)])),
        ),
        ("a negative modulus", build(&sequence(&[&tlv(2, &der::modulus(2048)), &integer(F4)]))),
        ("an exponent with a zero too many", build(&sequence(&[&modulus, &tlv(2, &[0, 1, 0, 1])]))),
        ("an empty exponent", build(&sequence(&[&modulus, &tlv(2, &[])]))),
        ("a bit string with unused bits", sequence(&[&rsa, &tlv(3, &[&[1][..], &inner()].concat())])),
        ("an octet string for a bit string", sequence(&[&rsa, &tlv(4, &inner())])),
        ("a set for a sequence", tlv(0x31, &good[4..])),
        ("the key without its wrapping", inner()),
    ];
    for (name, der) in cases {
        assert_eq!(refused(&der), KeyError::NotDer, "{name}");
    }
    assert!(PublicKey::from_spki_der(&good).is_ok());
}

#[test]
fn private_der_that_is_not_canonical_is_refused() {
    let numbers = Numbers::of(RSA2048.pem);
    let good = numbers.pkcs8();
    assert_eq!(good, RSA2048.private.pkcs8_der(), "by hand as by openssl");
    let rsa = algorithm(der::RSA_OID, der::NULL);
    let pkcs1 = numbers.pkcs1();
    let cases = [
        ("a byte after the end", [&good[..], &[0]].concat()),
        ("a byte after the key", der::pkcs8(&rsa, &[&pkcs1[..], &[0]].concat())),
        ("another version", sequence(&[&integer(&[2]), &rsa, &tlv(4, &pkcs1)])),
        ("no key", sequence(&[&integer(&[0]), &rsa])),
        ("the key without its wrapping", pkcs1),
    ];
    for (name, der) in cases {
        assert_eq!(refused_private(&der), KeyError::NotDer, "{name}");
    }
}

#[test]
fn the_public_half_of_a_private_key_is_held_to_the_same_rules() {
    let with = |modulus: &[u8], exponent: &[u8]| {
        let mut numbers = Numbers::of(RSA2048.pem);
        (numbers.0[0], numbers.0[1]) = (modulus.to_vec(), exponent.to_vec());
        refused_private(&numbers.pkcs8())
    };
    let modulus = der::modulus(2048);
    let mut even = modulus.clone();
    *even.last_mut().unwrap() &= 0xfe;
    assert_eq!(with(&der::modulus(1024), F4), KeyError::Size(1024));
    assert_eq!(with(&der::modulus(8193), F4), KeyError::Size(8193));
    assert_eq!(with(&even, F4), KeyError::EvenModulus);
    assert_eq!(with(&modulus, &[3]), KeyError::Exponent);
    assert_eq!(with(&modulus, &[1]), KeyError::Exponent);
}

#[test]
fn a_private_key_with_a_public_key_behind_it_is_refused() {
    // RFC 5958: version 1, and [1] with the public key. Libraries disagree on it.
    let inner = Numbers::of(RSA2048.pem).pkcs8();
    let rest = &inner[4 + 3..];
    let public = tlv(0x81, &[&[0][..], RSA2048.private.public_key().spki_der()].concat());
    let with_public = sequence(&[&integer(&[1]), rest, &public]);
    assert_eq!(PrivateKey::from_pkcs8_der(&with_public).map(drop), Err(KeyError::NotDer));
    assert!(PrivateKey::from_pkcs8_der(&sequence(&[&integer(&[0]), rest])).is_ok());
}

#[test]
fn a_private_key_whose_parts_do_not_fit_is_inconsistent() {
    assert_eq!(load(&Numbers::of(RSA2048.pem)), Ok(()));
    is_inconsistent([(0, "n"), (1, "e"), (2, "d"), (3, "p"), (4, "q")]);
}

#[test]
fn a_private_key_whose_numbers_for_the_chinese_remainder_do_not_fit_is_inconsistent() {
    is_inconsistent([(5, "dP"), (6, "dQ"), (7, "qInv")]);
}

fn load(numbers: &Numbers) -> Result<(), KeyError> {
    let key = PrivateKey::from_pkcs8_der(&numbers.pkcs8())?;
    ServerKey::load(&key, provider()).map(drop)
}

/// Takes each number from another key, but for the public exponent, which both keys share; and each a little off.
fn is_inconsistent<const N: usize>(numbers: [(usize, &str); N]) {
    let other = Numbers::of(OTHER2048.pem);
    for (at, name) in numbers {
        let mut swapped = Numbers::of(RSA2048.pem);
        swapped.0[at] = other.0[at].clone();
        let mut off = Numbers::of(RSA2048.pem);
        let last = off.0[at].len() - 1;
        off.0[at][last] ^= 2;
        if name != "e" {
            assert_eq!(load(&swapped), Err(KeyError::Inconsistent), "{name} of another key");
        }
        assert_eq!(load(&off), Err(KeyError::Inconsistent), "{name} a little off");
    }
}

#[test]
fn more_than_two_primes_are_refused() {
    let numbers = Numbers::of(RSA2048.pem);
    let mut parts = vec![integer(&[1])];
    parts.extend(numbers.0.iter().map(|number| integer(number)));
    parts.push(sequence(&[&sequence(&[&integer(&[5]), &integer(&[3]), &integer(&[2])])]));
    let multi = der::pkcs8(&algorithm(der::RSA_OID, der::NULL), &tlv(0x30, &parts.concat()));
    assert_eq!(refused_private(&multi), KeyError::MultiPrime);
}

#[test]
fn a_generated_key_is_a_key_like_any_other() {
    let provider = provider();
    let key = provider.generate_key(KeySize::Rsa2048, &mut TestRng::new("a new key")).unwrap();
    assert_eq!((key.public_key().bits(), key.public_key().exponent()), (2048, 65537));
    let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
    assert_eq!(again.public_key(), key.public_key());
    assert!(ServerKey::load(&again, provider).is_ok());
    assert_ne!(key.public_key().id(), RSA2048.private.public_key().id());
    assert_eq!(KeySize::default(), KeySize::Rsa3072);
    assert_eq!([KeySize::Rsa2048, KeySize::Rsa3072, KeySize::Rsa4096].map(KeySize::bits), [2048, 3072, 4096]);
}

#[cfg(feature = "files")]
mod files {
    use super::*;
    use countersign::files::{self, Existing, FileError};
    use std::fs;

    #[test]
    fn keys_on_disk_are_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("server.pem"), folder.path().join("server.pub"));
        files::write_private_key(&private, &RSA2048.private, Existing::Keep).unwrap();
        files::write_public_key(&public, RSA2048.private.public_key(), Existing::Keep).unwrap();
        assert_eq!(files::read_private_key(&private).unwrap().pkcs8_der(), RSA2048.private.pkcs8_der());
        let read = files::read_public_keys(&public).unwrap();
        assert_eq!(read.iter().map(|source| &source.key).collect::<Vec<_>>(), [RSA2048.private.public_key()]);
        let kept = files::write_private_key(&private, &OTHER2048.private, Existing::Keep);
        assert!(matches!(kept, Err(FileError::Exists { path }) if path == private));
        assert_eq!(fs::read_to_string(&private).unwrap(), RSA2048.pem);
        files::write_private_key(&private, &OTHER2048.private, Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(&private).unwrap(), OTHER2048.pem);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary files are left");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_is_replaced_through_a_link_takes_the_place_of_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let [target, link, nowhere] = ["server.pem", "link.pem", "nowhere.pem"].map(|name| folder.path().join(name));
        files::write_private_key(&target, &RSA2048.private, Existing::Keep).unwrap();
        std::os::unix::fs::symlink("server.pem", &link).unwrap();
        std::os::unix::fs::symlink("missing.pem", &nowhere).unwrap();
        for path in [&link, &nowhere] {
            let kept = files::write_private_key(path, &OTHER2048.private, Existing::Keep);
            assert!(matches!(kept, Err(FileError::Exists { .. })), "{kept:?}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), RSA2048.pem);
        files::write_private_key(&link, &OTHER2048.private, Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), OTHER2048.pem);
        files::write_private_key(&nowhere, &OTHER2048.private, Existing::Replace).unwrap_err();
        assert!(link.is_symlink() && nowhere.is_symlink() && !target.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_private_key_that_everyone_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pem");
        files::write_private_key(&path, &RSA2048.private, Existing::Keep).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        for (mode, refused) in
            [(0o644, true), (0o604, true), (0o602, true), (0o601, true), (0o640, false), (0o400, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match files::read_private_key(&path) {
                Err(FileError::Exposed { mode: named, .. }) => assert!(refused && named == mode, "{mode:o}"),
                other => assert!(other.is_ok() && !refused, "{mode:o}"),
            }
        }
        let public = folder.path().join("server.pub");
        files::write_public_key(&public, RSA2048.private.public_key(), Existing::Keep).unwrap();
        assert_eq!(fs::metadata(&public).unwrap().permissions().mode() & 0o7777, 0o644);
    }

    #[test]
    fn each_error_of_a_key_file_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        let named = |error: FileError| assert!(error.to_string().contains("a.pem"), "{error}");
        let missing = files::read_public_keys(&path).unwrap_err();
        assert!(matches!(missing, FileError::Io { .. }));
        named(missing);
        for content in [&b"\xff\xfe"[..], b"hello", b""] {
            fs::write(&path, content).unwrap();
            let error = files::read_public_keys(&path).unwrap_err();
            assert!(matches!(error, FileError::Key { .. }));
            named(error);
        }
        let folder = files::read_private_key(folder.path()).unwrap_err();
        assert!(matches!(folder, FileError::NotFile { what: "a directory", .. }), "{folder}");
        assert_eq!(folder.remedy(), None);
    }
}
