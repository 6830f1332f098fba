//! The rules of key hygiene.

use super::KeyError;
use crate::limits;
use pkcs8::der::asn1::AnyRef;
use pkcs8::spki::{AlgorithmIdentifier, ObjectIdentifier};

const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// `rsaEncryption` with NULL parameters (RFC 8017, appendix A.1).
pub(super) const RSA_ENCRYPTION: AlgorithmIdentifier<AnyRef<'static>> =
    AlgorithmIdentifier { oid: pkcs1::ALGORITHM_OID, parameters: Some(AnyRef::NULL) };

/// That it is rsaEncryption, whatever its parameters.
pub(super) fn check_is_rsa(algorithm: &AlgorithmIdentifier<AnyRef<'_>>) -> Result<(), KeyError> {
    match algorithm.oid {
        oid if oid == RSA_ENCRYPTION.oid => Ok(()),
        RSASSA_PSS => Err(KeyError::Pss),
        other => Err(KeyError::NotRsa(other.to_string())),
    }
}

/// That it is rsaEncryption in its one canonical encoding.
pub(super) fn check_algorithm(algorithm: &AlgorithmIdentifier<AnyRef<'_>>) -> Result<(), KeyError> {
    check_is_rsa(algorithm)?;
    if *algorithm == RSA_ENCRYPTION { Ok(()) } else { Err(KeyError::NotDer) }
}

/// Size and oddness of a big-endian modulus without leading zeros. Gives the size in bits.
pub(super) fn check_modulus(modulus: &[u8]) -> Result<usize, KeyError> {
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
    let bits = modulus.len().saturating_mul(8).saturating_sub(usize::try_from(leading).unwrap_or(0));
    if !(limits::MIN_MODULUS_BITS..=limits::MAX_MODULUS_BITS).contains(&bits) {
        return Err(KeyError::Size(bits));
    }
    if modulus.last().is_none_or(|byte| byte & 1 == 0) {
        return Err(KeyError::EvenModulus);
    }
    Ok(bits)
}

/// A big-endian exponent without leading zeros, as a number: odd, from 65537 to 2^33 - 1.
pub(super) fn check_exponent(exponent: &[u8]) -> Result<u64, KeyError> {
    let mut padded = [0; 8];
    let start = padded.len().checked_sub(exponent.len()).ok_or(KeyError::Exponent)?;
    padded.get_mut(start..).ok_or(KeyError::Exponent)?.copy_from_slice(exponent);
    match u64::from_be_bytes(padded) {
        exponent if limits::EXPONENTS.contains(&exponent) && exponent & 1 == 1 => Ok(exponent),
        _ => Err(KeyError::Exponent),
    }
}
