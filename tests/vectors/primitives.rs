//! What PROTOCOL.md takes from libraries, each in one call.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use hkdf::Hkdf;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, PrivateKey, PublicKey};
use sha2::{Digest, Sha256};
use std::convert::Infallible;

pub fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// `lp(x) = u16(length of x) || x`
/// `Argon2id(password, salt, ...)`, 32 bytes; the memory is in KiB.
pub fn argon2id(password: &[u8], salt: &[u8], memory: u32, passes: u32, lanes: u32) -> Vec<u8> {
    use argon2::{Algorithm, Argon2, Params, Version};
    let params = Params::new(memory, passes, lanes, Some(32)).unwrap();
    let mut out = vec![0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password, salt, &mut out).unwrap();
    out
}

pub fn lp(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

pub fn extract(salt: &[u8], ikm: &[u8]) -> Vec<u8> {
    Hkdf::<Sha256>::extract(Some(salt), ikm).0.to_vec()
}

pub fn expand(prk: &[u8], label: &str, context: &[u8], length: usize) -> Vec<u8> {
    let length_field = u16::try_from(length).unwrap().to_be_bytes();
    let info = [&length_field[..], b"countersign v1 ", label.as_bytes(), &[0], context].concat();
    let mut out = vec![0; length];
    Hkdf::<Sha256>::from_prk(prk).unwrap().expand(&info, &mut out).unwrap();
    out
}

pub fn key_id(spki: &[u8]) -> Vec<u8> {
    Sha256::digest(spki).to_vec()
}

pub fn modulus_size(spki: &[u8]) -> usize {
    PublicKey::from_public_key_der(spki).unwrap().size()
}

pub fn encrypt(spki: &[u8], message: &[u8], seed: &String) -> Vec<u8> {
    let key = PublicKey::from_public_key_der(spki).unwrap();
    key.encrypt(&mut Script::new(&[seed]), Oaep::<Sha256>::new(), message).unwrap()
}

pub fn decrypt(pkcs8: &str, ciphertext: &[u8]) -> Option<Vec<u8>> {
    PrivateKey::from_pkcs8_der(&unhex(pkcs8)).unwrap().decrypt(Oaep::<Sha256>::new(), ciphertext).ok()
}

/// A signature by a client's key, given as PKCS#8: by the rules of PROTOCOL.md, "KeyProof".
pub fn sign(pkcs8: &[u8], message: &[u8]) -> Vec<u8> {
    use rsa::signature::{RandomizedSigner, SignatureEncoding, Signer};
    // In both, the secret of 32 bytes stands at a fixed place (RFC 8410, section 7; RFC 5915).
    const ED25519: [u8; 5] = [6, 3, 0x2b, 0x65, 0x70];
    const P256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let has = |oid: &[u8]| pkcs8[..40].windows(oid.len()).any(|window| window == oid);
    if has(&ED25519) {
        let seed: [u8; 32] = pkcs8[16..48].try_into().unwrap();
        ed25519_dalek::SigningKey::from_bytes(&seed).sign(message).to_bytes().to_vec()
    } else if has(&P256) {
        let signature: p256::ecdsa::Signature =
            p256::ecdsa::SigningKey::from_slice(&pkcs8[36..68]).unwrap().sign(message);
        signature.to_bytes().to_vec()
    } else {
        let key = rsa::pss::SigningKey::<Sha256>::new(PrivateKey::from_pkcs8_der(pkcs8).unwrap());
        key.sign_with_rng(&mut Script::new(&[]), message).to_vec()
    }
}

pub fn x25519_public(private: &str) -> [u8; 32] {
    x25519_dalek::x25519(unhex(private).try_into().unwrap(), x25519_dalek::X25519_BASEPOINT_BYTES)
}

/// From both private keys, as nobody but a vector can.
pub fn x25519(ours: &str, theirs: &str) -> Vec<u8> {
    x25519_dalek::x25519(unhex(ours).try_into().unwrap(), x25519_public(theirs)).to_vec()
}

/// The encapsulation key of this seed (d, then z), the ciphertext that m gives, and the secret.
pub fn ml_kem(seed: &str, m: &str) -> [Vec<u8>; 3] {
    use ml_kem::KeyExport;
    let (seed, m): ([u8; 64], [u8; 32]) = (unhex(seed).try_into().unwrap(), unhex(m).try_into().unwrap());
    let key = ml_kem::DecapsulationKey::<ml_kem::MlKem768>::from_seed(seed.into());
    let (ciphertext, secret) = key.encapsulation_key().encapsulate_deterministic(&m.into());
    [key.encapsulation_key().to_bytes().to_vec(), ciphertext.to_vec(), secret.to_vec()]
}

pub fn open(suite: &str, key: &[u8], nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (key, payload): ([u8; 32], _) = (key.try_into().unwrap(), Payload { msg: sealed, aad });
    match &suite[2..] {
        "01" => aes_gcm::Aes256Gcm::new(&key.into()).decrypt(&(*nonce).into(), payload).ok(),
        _ => chacha20poly1305::ChaCha20Poly1305::new(&key.into()).decrypt(&(*nonce).into(), payload).ok(),
    }
}

/// With a nonce of zeros and nothing beside.
pub fn seal(suite: &str, key: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let key: [u8; 32] = key.try_into().unwrap();
    match &suite[2..] {
        "01" => aes_gcm::Aes256Gcm::new(&key.into()).encrypt(&[0; 12].into(), plaintext).unwrap(),
        _ => chacha20poly1305::ChaCha20Poly1305::new(&key.into()).encrypt(&[0; 12].into(), plaintext).unwrap(),
    }
}

/// Gives out the listed bytes first, and then a fixed stream: what draws past the list is blinding, which leaves no trace, or a
/// ticket, which is opaque.
pub struct Script {
    bytes: Vec<u8>,
    at: usize,
}

impl Script {
    pub fn new(parts: &[&String]) -> Self {
        Self { bytes: parts.iter().flat_map(|part| unhex(part)).collect(), at: 0 }
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
        for byte in out {
            *byte = match self.bytes.get(self.at) {
                Some(byte) => *byte,
                None => Sha256::digest((self.at as u64).to_be_bytes())[0],
            };
            self.at += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for Script {}
