//! What takes arithmetic on a curve before a provider is named: done by whichever crate this build has for it.

use crate::crypto::KeyError;

/// That these bytes, of canonical form, are a point of Ed25519. A build that can't tell takes them: what is no point verifies
/// nothing.
pub(super) fn check_ed25519(point: &[u8; 32]) -> Result<(), KeyError> {
    if built_in::is_ed25519(point) { Ok(()) } else { Err(KeyError::Point) }
}

/// That these bytes, 0x04, x and y, are a point of P-256. A build that can't tell takes them: what is no point verifies nothing.
pub(super) fn check_p256(point: &[u8; 65]) -> Result<(), KeyError> {
    // Others than these are of a compressed point, or of none.
    if *point.first_chunk::<1>().unwrap_or(&[0]) == [4] && built_in::is_p256(point) {
        Ok(())
    } else {
        Err(KeyError::Point)
    }
}

/// The public half of the private key with this seed (RFC 8032, section 5.1.5).
///
/// # Errors
/// [`KeyError::Provider`] where this build has no crypto provider.
pub(super) fn ed25519_public(seed: &[u8; 32]) -> Result<[u8; 32], KeyError> {
    built_in::ed25519_public(seed)
}

/// The public half of the private key with this number, as 0x04, x and y.
///
/// # Errors
/// [`KeyError::Inconsistent`] where it is 0 or not below the order of the curve, [`KeyError::Provider`] where this build has no
/// crypto provider.
pub(super) fn p256_public(scalar: &[u8; 32]) -> Result<[u8; 65], KeyError> {
    built_in::p256_public(scalar)
}

#[cfg(feature = "rustcrypto")]
mod built_in {
    use super::KeyError;

    pub(super) fn is_ed25519(point: &[u8; 32]) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(point).is_ok_and(|key| !key.is_weak())
    }

    pub(super) fn is_p256(point: &[u8; 65]) -> bool {
        p256::PublicKey::from_sec1_bytes(point).is_ok()
    }

    pub(super) fn ed25519_public(seed: &[u8; 32]) -> Result<[u8; 32], KeyError> {
        Ok(ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes())
    }

    pub(super) fn p256_public(scalar: &[u8; 32]) -> Result<[u8; 65], KeyError> {
        let key = p256::ecdsa::SigningKey::from_slice(scalar).map_err(|_| KeyError::Inconsistent)?;
        key.verifying_key().to_sec1_point(false).as_bytes().try_into().map_err(|_| KeyError::Provider)
    }
}

#[cfg(all(feature = "aws-lc", not(feature = "rustcrypto")))]
mod built_in {
    use super::KeyError;
    use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, Ed25519KeyPair, KeyPair, ParsedPublicKey};

    /// AWS-LC looks when it verifies.
    pub(super) fn is_ed25519(_: &[u8; 32]) -> bool {
        true
    }

    pub(super) fn is_p256(point: &[u8; 65]) -> bool {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok()
    }

    pub(super) fn ed25519_public(seed: &[u8; 32]) -> Result<[u8; 32], KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Provider)?;
        pair.public_key().as_ref().try_into().map_err(|_| KeyError::Provider)
    }

    pub(super) fn p256_public(scalar: &[u8; 32]) -> Result<[u8; 65], KeyError> {
        let key = PrivateKey::from_private_key(&ECDH_P256, scalar).map_err(|_| KeyError::Inconsistent)?;
        let public = key.compute_public_key().map_err(|_| KeyError::Provider)?;
        public.as_ref().try_into().map_err(|_| KeyError::Provider)
    }
}

#[cfg(not(any(feature = "rustcrypto", feature = "aws-lc")))]
mod built_in {
    use super::KeyError;

    pub(super) fn is_ed25519(_: &[u8; 32]) -> bool {
        true
    }

    pub(super) fn is_p256(_: &[u8; 65]) -> bool {
        true
    }

    pub(super) fn ed25519_public(_: &[u8; 32]) -> Result<[u8; 32], KeyError> {
        Err(KeyError::Provider)
    }

    pub(super) fn p256_public(_: &[u8; 32]) -> Result<[u8; 65], KeyError> {
        Err(KeyError::Provider)
    }
}
