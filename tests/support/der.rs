//! DER by hand, so that what no library would write can be written.

use rsa::BoxedUint;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};

pub const RSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub const PSS_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
pub const NULL: &[u8] = &[0x05, 0x00];

pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ 0..=127 => vec![short as u8],
        medium @ 128..=255 => vec![0x81, medium as u8],
        long => [&[0x82][..], &u16::try_from(long).unwrap().to_be_bytes()].concat(),
    };
    [&[tag], &length[..], content].concat()
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// A non-negative INTEGER of these big-endian bytes.
pub fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    match bytes.first() {
        Some(byte) if byte & 0x80 == 0 => tlv(2, bytes),
        _ => tlv(2, &[&[0], bytes].concat()),
    }
}

pub fn algorithm(oid: &[u8], parameters: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(6, oid), parameters])
}

pub fn bit_string(content: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], content].concat())
}

/// A SubjectPublicKeyInfo of these parts, as it should be.
pub fn spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let inner = sequence(&[&integer(modulus), &integer(exponent)]);
    sequence(&[&algorithm(RSA_OID, NULL), &bit_string(&inner)])
}

/// A modulus of so many bits, odd and without anything else to it: nobody has its factors.
pub fn modulus(bits: usize) -> Vec<u8> {
    let mut bytes = vec![0xa5; bits.div_ceil(8)];
    let top = (bits - 1) % 8;
    bytes[0] = 1 << top;
    *bytes.last_mut().unwrap() |= 1;
    bytes
}

/// The numbers of an RSA private key, big-endian: `n, e, d, p, q, dP, dQ, qInv`.
pub struct Numbers(pub [Vec<u8>; 8]);

impl Numbers {
    pub fn of(pem: &str) -> Self {
        let key = rsa::PrivateKey::from_pkcs8_pem(pem).unwrap();
        let [p, q] = key.primes() else { panic!("two primes") };
        let bytes = |number: &BoxedUint| number.to_be_bytes().to_vec();
        Self([
            bytes(key.n()),
            bytes(key.e()),
            bytes(key.d()),
            bytes(p),
            bytes(q),
            bytes(key.dp().unwrap()),
            bytes(key.dq().unwrap()),
            bytes(&key.crt_coefficient().unwrap()),
        ])
    }

    /// RSAPrivateKey, as PKCS#1 has it.
    pub fn pkcs1(&self) -> Vec<u8> {
        let mut parts = vec![integer(&[0])];
        parts.extend(self.0.iter().map(|number| integer(number)));
        tlv(0x30, &parts.concat())
    }

    pub fn pkcs8(&self) -> Vec<u8> {
        pkcs8(&algorithm(RSA_OID, NULL), &self.pkcs1())
    }
}

/// A PrivateKeyInfo.
pub fn pkcs8(algorithm: &[u8], inner: &[u8]) -> Vec<u8> {
    sequence(&[&integer(&[0]), algorithm, &tlv(4, inner)])
}

pub fn pem(label: &str, der: &[u8]) -> String {
    rsa::pkcs8::der::pem::encode_string(label, rsa::pkcs8::der::pem::LineEnding::LF, der).unwrap()
}
