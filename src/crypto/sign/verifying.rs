//! The public half: SubjectPublicKeyInfo, taken apart once.

use super::curve;
use super::rules::{self, ED25519, ELLIPTIC_CURVE, P256, algorithm_of};
use crate::crypto::key::encode_pem;
use crate::crypto::{KeyError, KeyFile, KeyFileError, KeyId, PublicKey};
use core::fmt;
use pkcs8::der::asn1::{AnyRef, BitStringRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// How a key signs; which of them follows from the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// Ed25519 (RFC 8032): signatures of 64 bytes.
    Ed25519,
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5): signatures of 64 bytes, r and s. Either of the two s that fit is taken: no more
    /// follows from a signature than that the key has made one.
    EcdsaP256,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes (RFC 8017, section 8.1): signatures as long as the
    /// modulus, 256 to 1024 bytes.
    RsaPss,
}

impl SignatureAlgorithm {
    /// As it prints: `Ed25519`, `ECDSA P-256`, `RSA-PSS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::EcdsaP256 => "ECDSA P-256",
            Self::RsaPss => "RSA-PSS",
        }
    }

    /// Its keys, with an article.
    const fn key_name(self) -> &'static str {
        match self {
            Self::Ed25519 => "an Ed25519 key",
            Self::EcdsaP256 => "a P-256 key",
            Self::RsaPss => "an RSA key",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The public half of a signature key: of Ed25519, of ECDSA on P-256, or of RSA within the bounds of a [`PublicKey`].
///
/// Cheap to clone. A key of RSA can be a server's key, too; that it is the same key shows in its id.
#[derive(Clone)]
pub struct VerifyingKey(Arc<Inner>);

struct Inner {
    spki: Box<[u8]>,
    id: KeyId,
    point: Point,
}

enum Point {
    Ed25519([u8; 32]),
    EcdsaP256([u8; 65]),
    Rsa(PublicKey),
}

/// What a [`VerifyingKey`] consists of, for whoever computes with it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum VerifyingParts<'a> {
    /// The point (RFC 8032, section 5.1.2): canonical, and not of small order.
    Ed25519(&'a [u8; 32]),
    /// The point (SEC 1, section 2.3.3): 0x04, x, y.
    EcdsaP256(&'a [u8; 65]),
    /// The RSA key.
    Rsa(&'a PublicKey),
}

impl VerifyingKey {
    /// Reads a SubjectPublicKeyInfo in DER (RFC 8410, RFC 5480, RFC 3279).
    ///
    /// Points of Ed25519 that are of small order are refused, and bytes that are no point: at once where this build has the
    /// arithmetic for it (`rustcrypto` has, `aws-lc` for P-256); else they are of a key that verifies nothing.
    ///
    /// # Errors
    /// [`KeyError`] for anything but the canonical encoding of an acceptable key.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = Self::from_any_spki_der(der)?;
        if *key.spki_der() == *der { Ok(key) } else { Err(KeyError::NotDer) }
    }

    /// Reads a SubjectPublicKeyInfo as tools write it: with or without the NULL behind the algorithm of an RSA key.
    pub(in crate::crypto) fn from_any_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(der).map_err(|_| KeyError::NotDer)?;
        let bytes = || spki.subject_public_key.as_bytes().ok_or(KeyError::NotDer);
        match algorithm_of(&spki.algorithm)? {
            SignatureAlgorithm::Ed25519 => Self::from_ed25519(bytes()?.try_into().map_err(|_| KeyError::Point)?),
            SignatureAlgorithm::EcdsaP256 => Self::from_p256(bytes()?.try_into().map_err(|_| KeyError::Point)?),
            SignatureAlgorithm::RsaPss => Ok(PublicKey::from_any_spki_der(der)?.into()),
        }
    }

    /// Reads the first public key of a text, in any of the forms that a [`KeyFile`] takes, such as a PEM block `PUBLIC KEY`.
    ///
    /// # Errors
    /// As [`KeyFile::verifying_keys`].
    pub fn from_pem(text: &str) -> Result<Self, KeyFileError> {
        let keys = KeyFile::parse(text.as_bytes())?.verifying_keys()?;
        keys.into_iter().next().map(|source| source.key).ok_or(KeyFileError::Empty)
    }

    /// The key of Ed25519 with this point (RFC 8032, section 5.1.2).
    ///
    /// # Errors
    /// [`KeyError::Point`] where it is not canonical, of small order, or none.
    pub fn from_ed25519(point: &[u8; 32]) -> Result<Self, KeyError> {
        rules::check_ed25519(point)?;
        curve::check_ed25519(point)?;
        Self::new(&ED25519, point, Point::Ed25519(*point))
    }

    /// The key of P-256 with this point (SEC 1, section 2.3.3): 0x04, x, y.
    ///
    /// # Errors
    /// [`KeyError::Point`] where it is none, or compressed.
    pub fn from_p256(point: &[u8; 65]) -> Result<Self, KeyError> {
        curve::check_p256(point)?;
        let algorithm = AlgorithmIdentifier { oid: ELLIPTIC_CURVE, parameters: Some(AnyRef::from(&P256)) };
        Self::new(&algorithm, point, Point::EcdsaP256(*point))
    }

    fn new(algorithm: &AlgorithmIdentifier<AnyRef<'_>>, bytes: &[u8], point: Point) -> Result<Self, KeyError> {
        let subject_public_key = BitStringRef::from_bytes(bytes).map_err(|_| KeyError::NotDer)?;
        let spki = SubjectPublicKeyInfo { algorithm: *algorithm, subject_public_key };
        let spki = spki.to_der().map_err(|_| KeyError::NotDer)?.into_boxed_slice();
        let id = KeyId::from_bytes(Sha256::digest(&spki).into());
        Ok(Self(Arc::new(Inner { spki, id, point })))
    }

    /// A PEM block `PUBLIC KEY`, with a final line feed.
    pub fn to_pem(&self) -> String {
        encode_pem("PUBLIC KEY", self.spki_der()).to_string()
    }

    /// The SubjectPublicKeyInfo in DER: 44 bytes of Ed25519, 91 of P-256, and of RSA up to
    /// [`MAX_SPKI`](crate::limits::MAX_SPKI).
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// The key's name; prints as its fingerprint. OpenSSH prints another for the same key, as it hashes its own encoding.
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    /// How the key signs.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.point {
            Point::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Point::EcdsaP256(_) => SignatureAlgorithm::EcdsaP256,
            Point::Rsa(_) => SignatureAlgorithm::RsaPss,
        }
    }

    /// The length of its signatures in bytes.
    pub fn signature_len(&self) -> usize {
        match &self.0.point {
            Point::Ed25519(_) | Point::EcdsaP256(_) => 64,
            Point::Rsa(key) => key.size(),
        }
    }

    /// That the key is of this algorithm, where no other will do.
    ///
    /// # Errors
    /// [`KeyError::OtherAlgorithm`], which names both.
    pub fn require(&self, wanted: SignatureAlgorithm) -> Result<(), KeyError> {
        match self.algorithm() {
            found if found == wanted => Ok(()),
            found => Err(KeyError::OtherAlgorithm { found: found.key_name(), wanted: wanted.key_name() }),
        }
    }

    /// What it consists of.
    pub fn parts(&self) -> VerifyingParts<'_> {
        match &self.0.point {
            Point::Ed25519(point) => VerifyingParts::Ed25519(point),
            Point::EcdsaP256(point) => VerifyingParts::EcdsaP256(point),
            Point::Rsa(key) => VerifyingParts::Rsa(key),
        }
    }
}

impl From<PublicKey> for VerifyingKey {
    fn from(key: PublicKey) -> Self {
        Self(Arc::new(Inner { spki: key.spki_der().into(), id: key.id(), point: Point::Rsa(key) }))
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for VerifyingKey {}

/// The algorithm and the fingerprint: `Ed25519 SHA256:...`.
impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.id())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("VerifyingKey");
        shown.field("algorithm", &self.algorithm()).field("id", &self.id()).finish()
    }
}
