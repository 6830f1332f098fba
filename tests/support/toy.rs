//! A toy crypto provider, for fuzzers and tests of the machines. It keeps no secret from anyone: RSA is a copy, the key
//! exchange is public, the AEAD only detects changes, and anybody can sign for anybody. It is fast, deterministic, and fails where real crypto would:
//! a ciphertext for another key or with any byte changed does not decrypt, and a changed record does not open.
//!
//! It works with any real public key; the private half is not needed. Include it with `#[path]`.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use core::convert::Infallible;
use countersign::crypto::SharedSecret;
use countersign::crypto::{
    AeadKey, Agreement, Cipher, CryptoError, Decrypt, Decrypted, Exchange, Group, Provider, Rsa, Sign, SignError,
    Signatures,
};
use countersign::{Aead, ClientKey, CryptoRng, KeyError, PrivateKey, PublicKey, ServerKey, limits};
use countersign::{SigningKey, VerifyingKey};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The provider. It holds no state, and makes no keys: there are some in `tests/keys`.
pub const fn provider() -> Provider {
    Provider {
        name: "toy",
        rsa: &Toy,
        key_generation: None,
        aes_256_gcm: Some(&ToyCipher(Aead::Aes256Gcm)),
        chacha20_poly1305: Some(&ToyCipher(Aead::ChaCha20Poly1305)),
        x25519: Some(&ToyAgreement(Group::X25519)),
        ml_kem_768: Some(&ToyAgreement(Group::MlKem768)),
        signatures: Some(&Toy),
    }
}

/// A server key that undoes what this provider encrypts to `public`.
pub fn server_key(public: &PublicKey) -> ServerKey {
    ServerKey::with_decrypt(public.clone(), Arc::new(ToyKey(public.clone())))
}

/// A client's key that signs what this provider takes for signatures of `public`.
pub fn client_key(public: &VerifyingKey) -> ClientKey {
    ClientKey::with_sign(public.clone(), Arc::new(ToySigner(public.clone())))
}

/// Insecure on purpose, as all of them: see the module.
struct Toy;

impl Rsa for Toy {
    fn encrypt(
        &self,
        key: &PublicKey,
        message: &[u8; limits::SEALED_SECRET],
        _: &mut dyn CryptoRng,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        out.copy_from_slice(&ciphertext(key, message));
        Ok(())
    }

    fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError> {
        Ok(Arc::new(ToyKey(key.public_key().clone())))
    }
}

impl Signatures for Toy {
    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        if is_same(&self::signature(key, message), signature) { Ok(()) } else { Err(CryptoError::NotAuthentic) }
    }

    fn load_signer(&self, key: &SigningKey) -> Result<Arc<dyn Sign>, KeyError> {
        Ok(Arc::new(ToySigner(key.public_key().clone())))
    }
}

struct ToySigner(VerifyingKey);

impl Sign for ToySigner {
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        Ok(signature(&self.0, message))
    }
}

/// `SHA-256(SHA-256(key) || message)`, again and again up to the length of a signature of the key.
pub fn signature(key: &VerifyingKey, message: &[u8]) -> Vec<u8> {
    let hash = Sha256::new_with_prefix(key.id().as_bytes()).chain_update(message).finalize();
    hash.iter().copied().cycle().take(key.signature_len()).collect()
}

/// Not with `==`: a fuzzer watches comparisons, and would read the right bytes off them.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let bytes = ours.iter().zip(theirs);
    ours.len() == theirs.len() && bytes.fold(0, |difference, (ours, theirs)| difference | (ours ^ theirs)) == 0
}

pub struct ToyCipher(pub Aead);

impl Cipher for ToyCipher {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(ToyAead { number: self.0.number(), key: *key }))
    }
}

struct ToyAgreement(Group);

impl Agreement for ToyAgreement {
    fn start(&self, rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<Box<dyn Exchange>, CryptoError> {
        let ours = random(self.0.client_share(), rng);
        out.extend_from_slice(&ours);
        Ok(Box::new(ToyExchange(ours)))
    }

    fn answer(&self, share: &[u8], rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<SharedSecret, CryptoError> {
        let ours = random(self.0.server_share(), rng);
        out.extend_from_slice(&ours);
        shared(share, &ours)
    }
}

/// `0x00 || the first 31 bytes of the key id || message || 0x00...`: below the modulus, and for one key only.
fn ciphertext(key: &PublicKey, message: &[u8; limits::SEALED_SECRET]) -> Vec<u8> {
    let mut out = vec![0; key.size()];
    out[1..32].copy_from_slice(&key.id().as_bytes()[..31]);
    out[32..96].copy_from_slice(message);
    out
}

struct ToyKey(PublicKey);

impl Decrypt for ToyKey {
    fn decrypt(&self, bytes: &[u8], _: &mut dyn CryptoRng) -> Decrypted {
        match bytes.get(32..96).and_then(|message| message.try_into().ok()) {
            Some(message) if bytes == ciphertext(&self.0, message) => Decrypted::new(message),
            _ => Decrypted::failed(),
        }
    }
}

/// XOR with the key and the nonce, and a tag that is a hash of everything.
struct ToyAead {
    number: u8,
    key: [u8; 32],
}

impl ToyAead {
    fn apply(&self, nonce: &[u8; 12], data: &mut [u8]) {
        let stream = self.key.iter().zip(nonce.iter().cycle()).map(|(key, nonce)| key ^ nonce);
        data.iter_mut().zip(stream.cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }

    /// `SHA-256(number || key || nonce || u64(length of aad) || aad || ciphertext)`, its first 16 bytes
    fn tag(&self, nonce: &[u8; 12], aad: &[u8], data: &[u8]) -> [u8; limits::TAG] {
        let mut hash = Sha256::new_with_prefix([self.number]);
        for part in [&self.key[..], nonce, &(aad.len() as u64).to_be_bytes(), aad, data] {
            hash.update(part);
        }
        *hash.finalize().first_chunk().expect("32 bytes hold 16")
    }
}

impl AeadKey for ToyAead {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; limits::TAG], CryptoError> {
        self.apply(nonce, data);
        Ok(self.tag(nonce, aad, data))
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; limits::TAG]) -> Result<(), CryptoError> {
        if !is_same(&self.tag(nonce, aad, data), tag) {
            return Err(CryptoError::NotAuthentic);
        }
        self.apply(nonce, data);
        Ok(())
    }
}

/// The client's share. The secret is a hash of both shares, which anyone can compute.
struct ToyExchange(Vec<u8>);

impl Exchange for ToyExchange {
    fn finish(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, CryptoError> {
        shared(&self.0, share)
    }
}

/// `SHA-256(client's share || server's share)`. Zeros yield no secret, as a share of small order does with X25519.
fn shared(client: &[u8], server: &[u8]) -> Result<SharedSecret, CryptoError> {
    if [client, server].iter().any(|share| share.iter().all(|&byte| byte == 0)) {
        return Err(CryptoError::BadKeyShare);
    }
    SharedSecret::new(&Sha256::new_with_prefix(client).chain_update(server).finalize())
}

fn random(len: usize, rng: &mut dyn CryptoRng) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A generator that counts up from its seed and scrambles each number (SplitMix64). As predictable as it sounds.
#[derive(Clone, Debug)]
pub struct CountingRng(pub u64);

impl TryRng for CountingRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(number ^ (number >> 31))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for piece in out.chunks_mut(8) {
            let Ok(number) = self.try_next_u64();
            piece.copy_from_slice(&number.to_le_bytes()[..piece.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for CountingRng {}
