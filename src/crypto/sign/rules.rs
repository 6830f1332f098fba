//! What the signature keys and signatures of every provider have to keep to.

use super::SignatureAlgorithm;
#[cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
use super::VerifyingKey;
#[cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
use crate::crypto::CryptoError;
use crate::crypto::KeyError;
use pkcs8::der::asn1::AnyRef;
use pkcs8::spki::{AlgorithmIdentifier, ObjectIdentifier};

/// `id-Ed25519` (RFC 8410, section 3), without parameters.
pub(super) const ED25519: AlgorithmIdentifier<AnyRef<'static>> =
    AlgorithmIdentifier { oid: ObjectIdentifier::new_unwrap("1.3.101.112"), parameters: None };

/// `id-ecPublicKey` (RFC 5480, section 2.1.1), whose parameter names the curve.
pub(super) const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// `secp256r1`, which is NIST's P-256 (RFC 5480, section 2.1.1.1).
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// Which kind of key an AlgorithmIdentifier stands for.
///
/// # Errors
/// [`KeyError::NotSigning`] or [`KeyError::Curve`] where it is none that is taken.
pub(super) fn algorithm_of(algorithm: &AlgorithmIdentifier<AnyRef<'_>>) -> Result<SignatureAlgorithm, KeyError> {
    match algorithm.oid {
        oid if oid == ED25519.oid => Ok(SignatureAlgorithm::Ed25519),
        ELLIPTIC_CURVE => match algorithm.parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok()) {
            Some(P256) => Ok(SignatureAlgorithm::EcdsaP256),
            Some(other) => Err(KeyError::Curve(other.to_string())),
            None => Err(KeyError::NotDer),
        },
        pkcs1::ALGORITHM_OID => Ok(SignatureAlgorithm::RsaPss),
        other => Err(KeyError::NotSigning(other.to_string())),
    }
}

/// The points of small order, by their y without the sign of x, little-endian: of order 4, 1, 2, and two of order 8. Whoever has
/// such a key, or such a point in a signature, makes one signature fit many messages.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    last_bytes([0; 32], 0x01, 0x00),
    last_bytes([0xff; 32], 0xec, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

const fn last_bytes(mut bytes: [u8; 32], first: u8, last: u8) -> [u8; 32] {
    let [low, .., high] = &mut bytes;
    (*low, *high) = (first, last);
    bytes
}

/// Whether these 32 bytes encode a point of Ed25519 of small order.
fn is_of_small_order(point: &[u8; 32]) -> bool {
    SMALL_ORDER.contains(&without_sign(point))
}

/// Whether y is below 2^255 - 19 (RFC 8032, section 5.1.3), so that no other bytes encode the same point.
fn is_canonical(point: &[u8; 32]) -> bool {
    let y = without_sign(point);
    let [low, middle @ .., high] = &y;
    *low < 0xed || *high < 0x7f || middle.iter().any(|&byte| byte < 0xff)
}

fn without_sign(point: &[u8; 32]) -> [u8; 32] {
    let mut y = *point;
    let [.., last] = &mut y;
    *last &= 0x7f;
    y
}

/// That a public key of Ed25519 is one by its bytes: whether they are a point takes arithmetic.
pub(super) fn check_ed25519(point: &[u8; 32]) -> Result<(), KeyError> {
    if is_canonical(point) && !is_of_small_order(point) { Ok(()) } else { Err(KeyError::Point) }
}

/// That a signature has the length of one of this key, and no point of small order in it, which libraries disagree on.
///
/// # Errors
/// [`CryptoError::NotAuthentic`].
#[cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
pub(crate) fn check_form(key: &VerifyingKey, signature: &[u8]) -> Result<(), CryptoError> {
    let is_harmful = |signature: &[u8]| signature.first_chunk().is_none_or(is_of_small_order);
    let has_form = signature.len() == key.signature_len()
        && (key.algorithm() != SignatureAlgorithm::Ed25519 || !is_harmful(signature));
    if has_form { Ok(()) } else { Err(CryptoError::NotAuthentic) }
}
