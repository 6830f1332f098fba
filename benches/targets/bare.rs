//! The crypto libraries with nothing around them.

use super::{BATCH, Timed, time};
use core::hint::black_box;
use countersign::PrivateKey;

pub(crate) trait Bare {
    /// OAEP-SHA-256, with the key loaded; blinded.
    fn decrypt(&self, key: &PrivateKey) -> Timed<'static>;
    /// From the SubjectPublicKeyInfo to the ciphertext.
    fn parse_and_encrypt(&self, key: &PrivateKey) -> Timed<'static>;
    /// A key pair, and the secret shared with a known share.
    fn x25519(&self) -> Timed<'static>;
    /// Sealing and opening in place, under one key.
    fn aes_256_gcm(&self, size: usize) -> [Timed<'static>; 2];
}

pub(crate) fn of(provider: &str) -> Box<dyn Bare> {
    match provider {
        "rustcrypto" => Box::new(rustcrypto::Crates),
        #[cfg(feature = "aws-lc")]
        "aws-lc-rs" => Box::new(aws_lc::Crate),
        other => panic!("no bare operations for {other}"),
    }
}

/// As records are: each under a nonce of its own.
fn nonce(number: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&number.to_be_bytes());
    nonce
}

mod rustcrypto {
    use super::*;
    use crate::support;
    use aes_gcm::aead::{AeadInOut, KeyInit};
    use aes_gcm::{Aes256Gcm, Tag};
    use rsa::Oaep;
    use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
    use sha2::Sha256;

    pub(super) struct Crates;

    impl Bare for Crates {
        fn decrypt(&self, key: &PrivateKey) -> Timed<'static> {
            let key = rsa::PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
            let mut rng = support::rng();
            let ciphertext = key.to_public_key().encrypt(&mut rng, Oaep::<Sha256>::new(), &[7; 64]).unwrap();
            Box::new(move || {
                time(|| key.decrypt_blinded(&mut rng, Oaep::<Sha256>::new(), black_box(&ciphertext)).unwrap())
            })
        }

        fn parse_and_encrypt(&self, key: &PrivateKey) -> Timed<'static> {
            let spki = key.public_key().spki_der().to_vec();
            let mut rng = support::rng();
            Box::new(move || {
                time(|| {
                    let key = rsa::PublicKey::from_public_key_der(black_box(&spki)).unwrap();
                    key.encrypt(&mut rng, Oaep::<Sha256>::new(), &[7; 64]).unwrap()
                })
            })
        }

        fn x25519(&self) -> Timed<'static> {
            let mut rng = support::rng();
            let theirs = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::random_from_rng(&mut rng));
            Box::new(move || {
                time(|| {
                    let ours = x25519_dalek::EphemeralSecret::random_from_rng(&mut rng);
                    (x25519_dalek::PublicKey::from(&ours), ours.diffie_hellman(black_box(&theirs)))
                })
            })
        }

        fn aes_256_gcm(&self, size: usize) -> [Timed<'static>; 2] {
            let (key, mut data) = (Aes256Gcm::new(&[7; 32].into()), vec![7; size]);
            let seal = Box::new(move || {
                time(|| {
                    for number in 0..BATCH {
                        let data = black_box(data.as_mut_slice());
                        black_box(key.encrypt_inout_detached(&nonce(number).into(), &[5, 0, 0], data.into()).unwrap());
                    }
                }) / BATCH
            });
            let (key, mut sealed) =
                (Aes256Gcm::new(&[7; 32].into()), vec![(vec![7; size], Tag::default()); BATCH as usize]);
            let open = Box::new(move || {
                for (number, (data, tag)) in (0..).zip(&mut sealed) {
                    let data = data.as_mut_slice();
                    *tag = key.encrypt_inout_detached(&nonce(number).into(), &[5, 0, 0], data.into()).unwrap();
                }
                time(|| {
                    for (number, (data, tag)) in (0..).zip(&mut sealed) {
                        let data = black_box(data.as_mut_slice());
                        key.decrypt_inout_detached(&nonce(number).into(), &[5, 0, 0], data.into(), tag).unwrap();
                    }
                }) / BATCH
            });
            [seal, open]
        }
    }
}

#[cfg(feature = "aws-lc")]
mod aws_lc {
    use super::*;
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
    use aws_lc_rs::rsa::{
        OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
        PublicEncryptingKey,
    };

    pub(super) struct Crate;

    fn encrypt(spki: &[u8]) -> [u8; 1024] {
        let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(spki).unwrap()).unwrap();
        let mut out = [0; 1024];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, &[7; 64], &mut out, None).unwrap();
        out
    }

    fn key() -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap())
    }

    fn seal(key: &LessSafeKey, number: u32, data: &mut [u8]) -> [u8; 16] {
        let nonce = Nonce::assume_unique_for_key(nonce(number));
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&[5, 0, 0]), data).unwrap();
        tag.as_ref().try_into().unwrap()
    }

    impl Bare for Crate {
        fn decrypt(&self, key: &PrivateKey) -> Timed<'static> {
            let size = key.public_key().size();
            let ciphertext = encrypt(key.public_key().spki_der());
            let key = PrivateDecryptingKey::from_pkcs8(key.pkcs8_der()).unwrap();
            let key = OaepPrivateDecryptingKey::new(key).unwrap();
            Box::new(move || {
                time(|| {
                    let mut out = [0; 1024];
                    let ciphertext = black_box(&ciphertext[..size]);
                    key.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut out, None).unwrap().len()
                })
            })
        }

        fn parse_and_encrypt(&self, key: &PrivateKey) -> Timed<'static> {
            let spki = key.public_key().spki_der().to_vec();
            Box::new(move || time(|| encrypt(black_box(&spki))))
        }

        fn x25519(&self) -> Timed<'static> {
            let theirs = agreement::PrivateKey::generate(&X25519).unwrap().compute_public_key().unwrap();
            Box::new(move || {
                time(|| {
                    let ours = agreement::PrivateKey::generate(&X25519).unwrap();
                    let share = ours.compute_public_key().unwrap();
                    let theirs = UnparsedPublicKey::new(&X25519, black_box(theirs.as_ref()));
                    let secret =
                        agreement::agree(&ours, theirs, (), |secret| Ok(<[u8; 32]>::try_from(secret).unwrap()));
                    (share, secret.unwrap())
                })
            })
        }

        fn aes_256_gcm(&self, size: usize) -> [Timed<'static>; 2] {
            let (sealing, mut data) = (key(), vec![7; size]);
            let sealed = Box::new(move || {
                time(|| {
                    for number in 0..BATCH {
                        black_box(seal(&sealing, number, black_box(data.as_mut_slice())));
                    }
                }) / BATCH
            });
            let (opening, mut records) = (key(), vec![(vec![7; size], [0; 16]); BATCH as usize]);
            let opened = Box::new(move || {
                for (number, (data, tag)) in (0..).zip(&mut records) {
                    *tag = seal(&opening, number, data);
                }
                time(|| {
                    for (number, (data, tag)) in (0..).zip(&mut records) {
                        let nonce = Nonce::assume_unique_for_key(nonce(number));
                        let data = black_box(data.as_mut_slice());
                        opening.open_in_place_separate_tag(nonce, Aad::from(&[5, 0, 0]), &*tag, data).unwrap();
                    }
                }) / BATCH
            });
            [sealed, opened]
        }
    }
}
