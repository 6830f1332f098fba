//! The public half: SubjectPublicKeyInfo, taken apart once.

use super::pem::encode_pem;
use super::rules::{RSA_ENCRYPTION, check_algorithm, check_exponent, check_is_rsa, check_modulus};
use super::{KeyError, KeyFile, KeyFileError, KeyId};
use crate::limits;
use core::fmt;
use core::ops::Range;
use pkcs1::RsaPublicKeyRef;
use pkcs8::der::asn1::{AnyRef, BitStringRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::spki::SubjectPublicKeyInfo;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// An RSA public key that passed the rules of key hygiene: 2048 to 8192 bits, odd modulus, odd exponent from 65537 to 2^33 - 1.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct PublicKey(Arc<PublicParts>);

struct PublicParts {
    spki: Box<[u8]>,
    id: KeyId,
    /// Where in `spki` it is.
    modulus: Range<usize>,
    exponent: u64,
    bits: usize,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`KeyError`] for anything but the canonical encoding of an acceptable RSA key.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(der).map_err(|_| KeyError::NotDer)?;
        check_algorithm(&spki.algorithm)?;
        let inner = spki.subject_public_key.as_bytes().ok_or(KeyError::NotDer)?;
        let rsa = RsaPublicKeyRef::from_der(inner).map_err(|_| KeyError::NotDer)?;
        let modulus = rsa.modulus.as_bytes();
        let bits = check_modulus(modulus)?;
        let exponent = check_exponent(rsa.public_exponent.as_bytes())?;
        // No key that gets here is longer, and whoever has room for a key in a message counts on it.
        if der.len() > limits::MAX_SPKI {
            return Err(KeyError::NotDer);
        }
        // The exponent is the last thing in the DER, and the modulus comes before it.
        let after = rsa.public_exponent.encoded_len().ok().and_then(|len| usize::try_from(len).ok());
        let end = after.and_then(|len| der.len().checked_sub(len)).ok_or(KeyError::NotDer)?;
        let start = end.checked_sub(modulus.len()).ok_or(KeyError::NotDer)?;
        let id = KeyId::from_bytes(Sha256::digest(der).into());
        Ok(Self(Arc::new(PublicParts { spki: der.into(), id, modulus: start..end, exponent, bits })))
    }

    /// Reads an RSAPublicKey (RFC 8017, appendix A.1.1) in DER.
    pub(super) fn from_pkcs1_der(der: &[u8]) -> Result<Self, KeyError> {
        let rsa = RsaPublicKeyRef::from_der(der).map_err(|_| KeyError::NotDer)?;
        Self::from_parts(rsa.modulus.as_bytes(), rsa.public_exponent.as_bytes())
    }

    /// Reads a SubjectPublicKeyInfo as tools write it: with or without the NULL behind the algorithm.
    pub(in crate::crypto) fn from_any_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(der).map_err(|_| KeyError::NotDer)?;
        check_is_rsa(&spki.algorithm)?;
        Self::from_pkcs1_der(spki.subject_public_key.as_bytes().ok_or(KeyError::NotDer)?)
    }

    /// Reads the first public key of a text, in any of the forms that a [`KeyFile`] takes, such as a PEM block `PUBLIC KEY`.
    ///
    /// # Errors
    /// As [`KeyFile::public_keys`].
    pub fn from_pem(text: &str) -> Result<Self, KeyFileError> {
        KeyFile::parse(text.as_bytes())?.first_public_key()
    }

    /// A PEM block `PUBLIC KEY`, with a final line feed.
    pub fn to_pem(&self) -> String {
        encode_pem("PUBLIC KEY", &self.0.spki).to_string()
    }

    /// The SubjectPublicKeyInfo in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// The key's name; prints as its fingerprint.
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    /// The size of the modulus in bits.
    pub fn bits(&self) -> usize {
        self.0.bits
    }

    /// The size of the modulus, and so of a ciphertext, in bytes.
    pub fn size(&self) -> usize {
        self.modulus().len()
    }

    /// The modulus, big-endian, without leading zeros.
    pub fn modulus(&self) -> &[u8] {
        self.0.spki.get(self.0.modulus.clone()).unwrap_or_default()
    }

    /// The public exponent.
    pub fn exponent(&self) -> u64 {
        self.0.exponent
    }

    /// Whether `ciphertext` is as long as the modulus and below it (RFC 8017, section 5.1.2). Nothing secret is
    /// compared.
    pub(crate) fn admits(&self, ciphertext: &[u8]) -> bool {
        ciphertext.len() == self.size() && ciphertext < self.modulus()
    }

    pub(super) fn from_parts(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let not_der = |_| KeyError::NotDer;
        let rsa = RsaPublicKeyRef {
            modulus: pkcs8::der::asn1::UintRef::new(modulus).map_err(not_der)?,
            public_exponent: pkcs8::der::asn1::UintRef::new(exponent).map_err(not_der)?,
        };
        let inner = rsa.to_der().map_err(not_der)?;
        let spki = SubjectPublicKeyInfo {
            algorithm: RSA_ENCRYPTION,
            subject_public_key: BitStringRef::from_bytes(&inner).map_err(not_der)?,
        };
        Self::from_spki_der(&spki.to_der().map_err(not_der)?)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("id", &self.id()).field("bits", &self.bits()).finish()
    }
}
