//! Signature keys: what is one, who signs with it, and that every provider verifies the same.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

#[path = "support/drawn.rs"]
mod drawn;

use countersign::crypto::{CryptoError, Provider, RemoteSign, Sign, SignError, Signing, SigningParts, VerifyingParts};
use countersign::{ClientKey, CryptoRng, KeyError, PrivateKey, SignatureAlgorithm, SigningKey, VerifyingKey};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest, Sha256, Sha512};
use std::sync::Arc;
use support::der::{bit_string, sequence, tlv};
use support::{OTHER2048, RSA2048, RSA3072, TestRng, provider};

const MESSAGE: &[u8] = b"a transcript";

fn providers() -> Vec<Provider> {
    vec![
        #[cfg(feature = "rustcrypto")]
        countersign::crypto::rustcrypto::provider(),
        #[cfg(feature = "aws-lc")]
        countersign::crypto::aws_lc::provider(),
    ]
}

/// What all providers say to a signature; they say the same.
fn verify(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let verdicts: Vec<_> = providers().iter().map(|provider| provider.verify(key, message, signature)).collect();
    assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "the providers disagree: {verdicts:?}");
    verdicts[0]
}

fn rsa(pem: &str) -> SigningKey {
    PrivateKey::from_pem(pem).unwrap().into()
}

/// One key of each kind, and for RSA of two sizes.
fn keys() -> Vec<SigningKey> {
    vec![
        SigningKey::from_ed25519(&[7; 32]).unwrap(),
        SigningKey::from_p256(&[7; 32]).unwrap(),
        rsa(RSA2048.pem),
        rsa(RSA3072.pem),
    ]
}

fn other(key: &SigningKey) -> VerifyingKey {
    let other = match key.public_key().algorithm() {
        SignatureAlgorithm::Ed25519 => SigningKey::from_ed25519(&[8; 32]),
        SignatureAlgorithm::EcdsaP256 => SigningKey::from_p256(&[8; 32]),
        _ => Ok(rsa(OTHER2048.pem)),
    };
    other.unwrap().public_key().clone()
}

#[test]
fn what_one_provider_signs_each_verifies() {
    let mut rng = TestRng::new("signing");
    for key in keys() {
        for provider in providers() {
            let signer = ClientKey::load(&key, provider).unwrap();
            for message in [&b""[..], MESSAGE, &[0x5a; 5000]] {
                let signature = signer.sign(message, &mut rng).unwrap();
                assert_eq!(signature.len(), key.public_key().signature_len());
                assert_eq!(verify(key.public_key(), message, &signature), Ok(()), "{}", provider.name);
                assert_eq!(signer.check(provider, message, &signature), Ok(()));
            }
        }
    }
}

#[test]
fn a_signature_fits_its_key_and_its_message_alone_and_no_byte_of_it_can_be_changed() {
    let mut rng = TestRng::new("tampering");
    for key in keys() {
        let public = key.public_key();
        let signature = ClientKey::load(&key, provider()).unwrap().sign(MESSAGE, &mut rng).unwrap();
        let refused = |message: &[u8], signature: &[u8]| {
            assert_eq!(verify(public, message, signature), Err(CryptoError::NotAuthentic), "{public}");
        };
        for message in [&b""[..], b"a transcripT", b"a transcript\0"] {
            refused(message, &signature);
        }
        for at in 0..signature.len() {
            let mut changed = signature.clone();
            changed[at] ^= 1 << rng.below(8);
            refused(MESSAGE, &changed);
        }
        let [zeros, ones] = [0, 0xff].map(|byte| vec![byte; signature.len()]);
        for wrong in [&[][..], &signature[1..], &signature[..signature.len() - 1], &zeros, &ones] {
            refused(MESSAGE, wrong);
        }
        refused(MESSAGE, &[&signature[..], &[0]].concat());
        refused(MESSAGE, &[&[0], &signature[..]].concat());
        assert_eq!(verify(&other(&key), MESSAGE, &signature), Err(CryptoError::NotAuthentic));
        for other in keys().iter().filter(|other| other.public_key() != public) {
            assert_eq!(verify(other.public_key(), MESSAGE, &signature), Err(CryptoError::NotAuthentic));
        }
    }
}

/// `a - b`, big-endian.
fn minus(a: &[u8; 32], b: &[u8]) -> [u8; 32] {
    let (mut out, mut borrow) = ([0; 32], 0);
    for at in (0..32).rev() {
        let digit = i16::from(a[at]) - i16::from(b[at]) - borrow;
        borrow = i16::from(digit < 0);
        out[at] = digit.rem_euclid(256) as u8;
    }
    out
}

#[test]
fn either_s_of_ecdsa_is_taken_and_nothing_out_of_range() {
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: [u8; 32] = hex::decode(order).unwrap().try_into().unwrap();
    let key = SigningKey::from_p256(&[7; 32]).unwrap();
    let mut rng = TestRng::new("either s");
    let signature = ClientKey::load(&key, provider()).unwrap().sign(MESSAGE, &mut rng).unwrap();
    let (r, s) = signature.split_at(32);
    let say = |r: &[u8], s: &[u8]| verify(key.public_key(), MESSAGE, &[r, s].concat());
    assert_eq!(say(r, s), Ok(()));
    assert_eq!(say(r, &minus(&order, s)), Ok(()));
    for (r, s) in [(s, r), (&[0; 32], s), (r, &[0; 32]), (&order, s), (r, &order), (&[0xff; 32], s), (r, &[0xff; 32])] {
        assert_eq!(say(r, s), Err(CryptoError::NotAuthentic));
    }
}

/// The secret number of a key of Ed25519, and the challenge that its equation has.
fn secret(seed: [u8; 32]) -> Scalar {
    let mut bytes: [u8; 32] = Sha512::digest(seed)[..32].try_into().unwrap();
    bytes[0] &= 248;
    bytes[31] = bytes[31] & 63 | 64;
    Scalar::from_bytes_mod_order(bytes)
}

fn challenge(r: &EdwardsPoint, a: &EdwardsPoint, message: &[u8]) -> Scalar {
    let hash = Sha512::new_with_prefix(r.compress().0).chain_update(a.compress().0).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn joined(r: &EdwardsPoint, s: &Scalar) -> Vec<u8> {
    [r.compress().0, s.to_bytes()].concat()
}

#[test]
fn ed25519_is_verified_strictly_and_alike() {
    let a = secret([7; 32]);
    let point = a * ED25519_BASEPOINT_POINT;
    let key = VerifyingKey::from_ed25519(&point.compress().0).unwrap();
    assert_eq!(&key, SigningKey::from_ed25519(&[7; 32]).unwrap().public_key());
    // The equation without the cofactor holds with r = 0 and R of order 1, and would hold with others by chance.
    for r in EIGHT_TORSION {
        for number in 0..16_u8 {
            let signature = joined(&r, &(challenge(&r, &point, &[number]) * a));
            assert_eq!(verify(&key, &[number], &signature), Err(CryptoError::NotAuthentic));
        }
    }
    // s of another range, which is the same number.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let r = Scalar::from(1234_u64);
    let (nonce, s) = (r * ED25519_BASEPOINT_POINT, r + challenge(&(r * ED25519_BASEPOINT_POINT), &point, MESSAGE) * a);
    assert_eq!(verify(&key, MESSAGE, &joined(&nonce, &s)), Ok(()));
    let (mut more, mut carry) = (s.to_bytes(), 0);
    for (digit, add) in more.iter_mut().zip(&order) {
        let sum = u16::from(*digit) + u16::from(*add) + carry;
        (*digit, carry) = (sum as u8, sum >> 8);
    }
    let signature = [nonce.compress().0, more].concat();
    assert_eq!(verify(&key, MESSAGE, &signature), Err(CryptoError::NotAuthentic));
    // Keys and nonces with a part of small order: what fits is a matter of chance, and the same for all.
    let mut verdicts = [0; 2];
    for torsion in EIGHT_TORSION {
        let (mixed, mixed_nonce) = (point + torsion, nonce + torsion);
        let key_of_mixed = VerifyingKey::from_ed25519(&mixed.compress().0).unwrap();
        for message in 0..24_u8 {
            let s = r + challenge(&nonce, &mixed, &[message]) * a;
            verdicts[usize::from(verify(&key_of_mixed, &[message], &joined(&nonce, &s)).is_ok())] += 1;
            let s = r + challenge(&mixed_nonce, &mixed, &[message]) * a;
            verdicts[usize::from(verify(&key_of_mixed, &[message], &joined(&mixed_nonce, &s)).is_ok())] += 1;
        }
    }
    assert!(verdicts.iter().all(|&count| count > 0), "{verdicts:?}");
}

#[test]
fn rsa_pss_takes_a_salt_of_32_bytes_and_sha_256_alone() {
    use rsa::pkcs8::DecodePrivateKey;
    use rsa::signature::{RandomizedSigner, SignatureEncoding};
    let key = rsa::PrivateKey::from_pkcs8_pem(RSA2048.pem).unwrap();
    let public = VerifyingKey::from(RSA2048.private.public_key().clone());
    let mut rng = TestRng::new("salts");
    for salt in [0, 20, 31, 32, 33, 64, 222] {
        let signer = rsa::pss::SigningKey::<Sha256>::new_with_salt_len(key.clone(), salt);
        let signature = signer.sign_with_rng(&mut rng, MESSAGE).to_vec();
        assert_eq!(verify(&public, MESSAGE, &signature).is_ok(), salt == 32, "{salt}");
    }
    let signature = rsa::pss::SigningKey::<Sha512>::new_with_salt_len(key, 32).sign_with_rng(&mut rng, MESSAGE);
    assert_eq!(verify(&public, MESSAGE, &signature.to_vec()), Err(CryptoError::NotAuthentic));
}

fn oid(bytes: &[u8]) -> Vec<u8> {
    tlv(6, bytes)
}

const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

fn spki(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    sequence(&[&sequence(algorithm), &bit_string(key)])
}

#[test]
fn a_public_key_has_one_encoding_and_nothing_else_is_taken() {
    for key in keys() {
        let (der, id) = (key.public_key().spki_der(), key.public_key().id());
        let read = VerifyingKey::from_spki_der(der).unwrap();
        assert_eq!((&read, read.id()), (key.public_key(), id));
        assert_eq!(read.to_string(), format!("{} {id}", read.algorithm()));
        assert_eq!(id.as_bytes()[..], Sha256::digest(der)[..]);
        for wrong in [&[][..], &der[1..], &der[..der.len() - 1], &[der, &[0]].concat()] {
            assert_eq!(VerifyingKey::from_spki_der(wrong).unwrap_err(), KeyError::NotDer);
        }
        // A length in more bytes than it takes.
        let long = [&[0x30, 0x83, 0, 0], &der[1..]].concat();
        assert!(VerifyingKey::from_spki_der(&long).is_err());
    }
    let [ed25519, p256, ..] = &keys()[..] else { panic!() };
    let (VerifyingParts::Ed25519(point), VerifyingParts::EcdsaP256(other)) =
        (ed25519.public_key().parts(), p256.public_key().parts())
    else {
        panic!()
    };
    assert_eq!(spki(&[&oid(ED25519)], point), ed25519.public_key().spki_der());
    assert_eq!(spki(&[&oid(EC), &oid(P256)], other), p256.public_key().spki_der());
    for (der, error) in [
        (spki(&[&oid(ED25519), support::der::NULL], point), KeyError::NotDer),
        (spki(&[&oid(ED25519)], &point[1..]), KeyError::Point),
        (spki(&[&oid(ED25519)], &[&point[..], &[0]].concat()), KeyError::Point),
        (spki(&[&oid(EC)], other), KeyError::NotDer),
        (spki(&[&oid(EC), support::der::NULL], other), KeyError::NotDer),
        (spki(&[&oid(EC), &oid(P256)], &[&[2], &other[1..33]].concat()), KeyError::Point),
        (spki(&[&oid(EC), &oid(P256)], &[&[6], &other[1..]].concat()), KeyError::Point),
        (spki(&[&oid(EC), &oid(P256)], &[0]), KeyError::Point),
        (spki(&[&oid(EC), &oid(&[0x2b, 0x81, 4, 0, 0x22])], other), KeyError::Curve("1.3.132.0.34".to_owned())),
        (spki(&[&oid(&[0x2b, 0x65, 0x71])], &[0; 57]), KeyError::NotSigning("1.3.101.113".to_owned())),
        (spki(&[&oid(&[0x2b, 0x65, 0x6e])], point), KeyError::NotSigning("1.3.101.110".to_owned())),
    ] {
        let found = VerifyingKey::from_spki_der(&der).unwrap_err();
        assert_eq!(found, error, "{}", hex::encode(der));
        assert!(!found.to_string().is_empty() && found.code().starts_with("key-"));
    }
    // Without the NULL it is another encoding, and its id would be another.
    let inner =
        sequence(&[&support::der::integer(RSA2048.private.public_key().modulus()), &support::der::integer(&[1, 0, 1])]);
    let bare = sequence(&[&support::der::algorithm(support::der::RSA_OID, &[]), &bit_string(&inner)]);
    assert_eq!(VerifyingKey::from_spki_der(&bare).unwrap_err(), KeyError::NotDer);
    let small = sequence(&[&support::der::integer(&support::der::modulus(1024)), &support::der::integer(&[1, 0, 1])]);
    let small = sequence(&[&support::der::algorithm(support::der::RSA_OID, support::der::NULL), &bit_string(&small)]);
    assert_eq!(VerifyingKey::from_spki_der(&small).unwrap_err(), KeyError::Size(1024));
}

#[test]
fn a_point_that_is_weak_or_none_is_no_key() {
    let refused = |point: [u8; 32]| assert_eq!(VerifyingKey::from_ed25519(&point).unwrap_err(), KeyError::Point);
    for point in EIGHT_TORSION {
        let bytes = point.compress().0;
        refused(bytes);
        // The other sign is another point of small order, or another encoding of this one.
        let mut signed = bytes;
        signed[31] ^= 0x80;
        refused(signed);
    }
    // y from 2^255 - 19 on.
    for low in 0xed..=0xff_u8 {
        for high in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            refused(bytes);
        }
    }
    // Below that they are keys, if they are points: about half of them.
    let is_key = |low: &u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (*low, 0x7f);
        VerifyingKey::from_ed25519(&bytes).is_ok()
    };
    assert!((0..0xec).filter(is_key).count() > 80);
    let mut p256 = [0; 65];
    p256[0] = 4;
    assert_eq!(VerifyingKey::from_p256(&p256).unwrap_err(), KeyError::Point);
    let p256 = SigningKey::from_p256(&[7; 32]).unwrap();
    let VerifyingParts::EcdsaP256(good) = p256.public_key().parts() else { panic!() };
    for at in 0..65 {
        let mut bytes = *good;
        bytes[at] ^= 1;
        assert_eq!(VerifyingKey::from_p256(&bytes).unwrap_err(), KeyError::Point, "{at}");
    }
}

#[cfg(feature = "rustcrypto")]
#[test]
fn bytes_that_are_no_point_of_ed25519_are_no_key() {
    let refused = (0..=255_u8).filter(|&byte| {
        let mut bytes = [0x22; 32];
        bytes[0] = byte;
        VerifyingKey::from_ed25519(&bytes).is_err()
    });
    // Half of all numbers are no y.
    assert!((90..166).contains(&refused.count()));
}

#[test]
fn a_private_key_is_written_and_read_again() {
    for key in keys() {
        let read = SigningKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert_eq!(read.pkcs8_der(), key.pkcs8_der());
        assert!(key.to_pkcs8_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        let shown = format!("{key:?} {:?}", key.parts());
        assert!(shown.contains("SHA256:") && !shown.contains('7'.to_string().repeat(4).as_str()), "{shown}");
    }
    for scalar in [[0; 32], [0xff; 32]] {
        assert_eq!(SigningKey::from_p256(&scalar).unwrap_err(), KeyError::Inconsistent);
    }
    let mut rng = TestRng::new("generated");
    for provider in providers() {
        let [one, two] = [0, 1].map(|_| provider.signatures.unwrap().generate_ed25519(&mut rng).unwrap());
        assert_ne!(one.public_key(), two.public_key());
        assert_eq!(one.public_key().algorithm(), SignatureAlgorithm::Ed25519);
        assert_ne!(SigningKey::generate(provider).unwrap().public_key(), one.public_key());
    }
    let none = Provider { signatures: None, ..provider() };
    let key = &keys()[0];
    assert_eq!(SigningKey::generate(none).unwrap_err(), KeyError::Provider);
    assert_eq!(ClientKey::load(key, none).unwrap_err(), KeyError::Provider);
    assert_eq!(none.verify(key.public_key(), MESSAGE, &[0; 64]), Err(CryptoError::Unsupported));
}

#[test]
fn each_bit_of_a_generated_key_is_random() {
    let seed = |key: &SigningKey| match key.parts() {
        SigningParts::Ed25519(seed) => seed.to_vec(),
        other => panic!("{other:?}"),
    };
    for provider in providers() {
        let seeds: Vec<_> = (0..64).map(|_| seed(&SigningKey::generate(provider).unwrap())).collect();
        drawn::each_bit_varies(&seeds, 8);
        let [mut one, mut same] = [0, 1].map(|_| TestRng::new("a generator"));
        let generated = provider.signatures.unwrap().generate_ed25519(&mut one).unwrap();
        assert_eq!(seed(&generated), same.bytes(32), "what was drawn, and all of it");
    }
}

/// What the standards print (RFC 8032, section 7.1, the second of its tests; RFC 6979, appendix A.2.5, its key).
#[test]
fn the_standards_own_keys_and_signatures_fit() {
    let bytes = |text: &str| hex::decode(text).unwrap();
    let seed = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let key = SigningKey::from_ed25519(&seed.try_into().unwrap()).unwrap();
    let signature = bytes(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    assert_eq!(verify(key.public_key(), &[0x72], &signature), Ok(()));
    for provider in providers() {
        let signer = ClientKey::load(&key, provider).unwrap();
        assert_eq!(signer.sign(&[0x72], &mut TestRng::new("none is used")).unwrap(), signature);
    }
    let scalar = bytes("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    let key = SigningKey::from_p256(&scalar.try_into().unwrap()).unwrap();
    let VerifyingParts::EcdsaP256(point) = key.public_key().parts() else { panic!() };
    assert_eq!(hex::encode(&point[1..33]), "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6");
    let signature = bytes(
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
         f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    );
    assert_eq!(verify(key.public_key(), b"sample", &signature), Ok(()));
}

/// Signs whatever it is told to, or does not.
#[derive(Clone)]
enum Odd {
    Answers(Vec<u8>),
    Refuses,
    Panics,
    PanicsLater,
}

impl Sign for Odd {
    fn sign(&self, _: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Answers(bytes) => Ok(bytes.clone()),
            Self::Refuses => Err(SignError::Refused),
            Self::Panics | Self::PanicsLater => panic!("on purpose"),
        }
    }
}

impl RemoteSign for Odd {
    fn sign(&self, message: Vec<u8>) -> Signing {
        let odd = self.clone();
        assert!(!matches!(odd, Self::Panics), "on purpose");
        Box::pin(async move { Sign::sign(&odd, &message, &mut TestRng::new("none is used")) })
    }
}

#[test]
fn a_signer_elsewhere_may_fail_panic_or_lie_and_takes_nobody_with_it() {
    use std::task::{Context, Poll, Waker};
    let public = keys()[0].public_key().clone();
    let mut rng = TestRng::new("odd signers");
    let cases = [
        (Odd::Answers(vec![1; 64]), Ok(vec![1; 64])),
        (Odd::Refuses, Err(SignError::Refused)),
        (Odd::Panics, Err(SignError::Panicked)),
        (Odd::PanicsLater, Err(SignError::Panicked)),
    ];
    for (odd, answer) in cases {
        let local = ClientKey::with_sign(public.clone(), Arc::new(odd.clone()));
        assert!(local.can_sign() && !local.is_remote() && local.sign_remotely(MESSAGE.to_vec()).is_none());
        assert_eq!(local.sign(MESSAGE, &mut rng), answer);
        let remote = ClientKey::with_remote_sign(public.clone(), Arc::new(odd));
        assert!(remote.can_sign() && remote.is_remote());
        assert_eq!(remote.sign(MESSAGE, &mut rng), Err(SignError::NotHere));
        let mut signing = remote.sign_remotely(MESSAGE.to_vec()).unwrap();
        let polled = signing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(answer.clone()));
        if let Ok(signature) = answer {
            for wrong in [&signature[..], &[]] {
                assert_eq!(local.check(provider(), MESSAGE, wrong), Err(SignError::Wrong));
            }
        }
    }
    let known = ClientKey::public_only(public.clone());
    assert!(!known.can_sign() && !known.is_remote() && known.sign_remotely(MESSAGE.to_vec()).is_none());
    assert_eq!((known.sign(MESSAGE, &mut rng), known.public_key()), (Err(SignError::NotHere), &public));
    assert!(format!("{known:?}").contains("SHA256:"));
}

#[test]
fn every_reason_not_to_sign_has_a_code_and_a_sentence_of_its_own() {
    use SignError as E;
    let errors = [
        E::Crypto(CryptoError::Failed),
        E::NotHere,
        E::NoAgent,
        E::Panicked,
        E::Wrong,
        E::Refused,
        E::Unsupported(SignatureAlgorithm::RsaPss),
        E::TimedOut,
        E::Gone,
        E::Garbled,
    ];
    for (index, error) in errors.iter().enumerate() {
        assert!(!errors[..index].iter().any(|other| other.code() == error.code()), "{error}");
        assert!(!errors[..index].iter().any(|other| other.to_string() == error.to_string()), "{error}");
    }
}
