//! The private half at rest: PKCS#8, and its parts.

use super::rules::{ED25519, ELLIPTIC_CURVE, P256, algorithm_of};
use super::{SignatureAlgorithm, VerifyingKey, curve};
use crate::crypto::key::encode_pem;
use crate::crypto::{CryptoRng, KeyError, KeyFile, KeyFileError, PrivateKey, Provider, SecretString, rng};
use core::fmt;
use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use pkcs8::der::{Decode, Encode, SecretDocument};
use pkcs8::spki::AlgorithmIdentifier;
use sec1::EcPrivateKey;
use zeroize::Zeroizing;

/// The private half of a signature key: at rest, not yet loaded by a provider. Zeroized, never printed.
///
/// A key of RSA that is a server's must not be a client's, too: it is for one of the two.
pub struct SigningKey {
    secret: Secret,
    public: VerifyingKey,
}

/// Each with its PKCS#8. Boxed, so that a key that is moved leaves none of itself behind.
enum Secret {
    Ed25519(Box<Zeroizing<[u8; 32]>>, SecretDocument),
    EcdsaP256(Box<Zeroizing<[u8; 32]>>, SecretDocument),
    Rsa(PrivateKey),
}

/// What a [`SigningKey`] consists of, for whoever computes with it.
#[non_exhaustive]
pub enum SigningParts<'a> {
    /// The seed, which RFC 8032 calls the private key.
    Ed25519(&'a [u8; 32]),
    /// The number, big-endian: from 1 to below the order of the curve.
    EcdsaP256(&'a [u8; 32]),
    /// The RSA key.
    Rsa(&'a PrivateKey),
}

type Info<'a> = pkcs8::PrivateKeyInfo<AnyRef<'a>, &'a OctetStringRef, BitStringRef<'a>>;

impl SigningKey {
    /// Generates a key of Ed25519, with randomness of the operating system.
    ///
    /// # Errors
    /// [`KeyError::Provider`] where the provider has no such part, or there is no randomness.
    pub fn generate(provider: Provider) -> Result<Self, KeyError> {
        let signatures = provider.signatures.ok_or(KeyError::Provider)?;
        signatures.generate_ed25519(&mut rng().map_err(|_| KeyError::Provider)?)
    }

    /// The key of Ed25519 with a seed out of this generator.
    ///
    /// # Errors
    /// [`KeyError::Provider`] where this build has no crypto provider.
    pub(in crate::crypto) fn random_ed25519(rng: &mut dyn CryptoRng) -> Result<Self, KeyError> {
        let mut seed = Box::new(Zeroizing::new([0; 32]));
        rng.fill_bytes(seed.as_mut_slice());
        Self::from_ed25519(&seed)
    }

    /// The key of Ed25519 with this seed, which RFC 8032, section 5.1.5, calls the private key.
    ///
    /// # Errors
    /// [`KeyError::Provider`] where this build has no crypto provider.
    pub fn from_ed25519(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let public = VerifyingKey::from_ed25519(&curve::ed25519_public(seed)?)?;
        // CurvePrivateKey (RFC 8410, section 7): an OCTET STRING in the one of PKCS#8.
        let inner = Zeroizing::new(octets(seed)?.to_der().map_err(|_| KeyError::NotDer)?);
        let pkcs8 = encode(ED25519, &inner)?;
        Ok(Self { secret: Secret::Ed25519(boxed(seed), pkcs8), public })
    }

    /// The key of P-256 with this number, big-endian.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] where it is 0 or not below the order of the curve, [`KeyError::Provider`] where this build has
    /// no crypto provider.
    pub fn from_p256(scalar: &[u8; 32]) -> Result<Self, KeyError> {
        let point = curve::p256_public(scalar)?;
        let inner = EcPrivateKey { private_key: scalar, parameters: None, public_key: Some(&point) };
        let inner = SecretDocument::encode_msg(&inner).map_err(|_| KeyError::NotDer)?;
        let algorithm = AlgorithmIdentifier { oid: ELLIPTIC_CURVE, parameters: Some(AnyRef::from(&P256)) };
        let pkcs8 = encode(algorithm, inner.as_bytes())?;
        let public = VerifyingKey::from_p256(&point)?;
        Ok(Self { secret: Secret::EcdsaP256(boxed(scalar), pkcs8), public })
    }

    /// Reads a PrivateKeyInfo in DER: PKCS#8 of version 1 (RFC 5208) or 2 (RFC 5958), as `openssl genpkey` makes it. What comes
    /// of it is the one form that every library reads.
    ///
    /// Checks that a public half in it is that of the private one; for RSA, [`ClientKey::load`](super::ClientKey::load) does.
    ///
    /// # Errors
    /// [`KeyError`] for anything but an acceptable key.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = Info::from_der(der).map_err(|_| KeyError::NotDer)?;
        let key = match algorithm_of(&info.algorithm)? {
            SignatureAlgorithm::Ed25519 => {
                let seed = <&OctetStringRef>::from_der(info.private_key.as_bytes()).map_err(|_| KeyError::NotDer)?;
                Self::from_ed25519(seed.as_bytes().try_into().map_err(|_| KeyError::NotDer)?)?
            }
            SignatureAlgorithm::EcdsaP256 => Self::from_sec1_der(info.private_key.as_bytes(), Some(P256))?,
            SignatureAlgorithm::RsaPss => return Ok(PrivateKey::from_any_pkcs8_der(der)?.into()),
        };
        match info.public_key {
            Some(stated) => key.with_stated(stated.as_bytes().ok_or(KeyError::NotDer)?),
            None => Ok(key),
        }
    }

    /// Reads the private key of a text, in any of the forms that a [`KeyFile`] takes, such as a PEM block `PRIVATE KEY`; not an
    /// encrypted one.
    ///
    /// # Errors
    /// As [`KeyFile::signing_key`].
    pub fn from_pem(text: &str) -> Result<Self, KeyFileError> {
        KeyFile::parse(text.as_bytes())?.signing_key(None)
    }

    /// Reads an ECPrivateKey (RFC 5915) in DER. The curve is named in it, or around it.
    pub(in crate::crypto) fn from_sec1_der(
        der: &[u8],
        curve: Option<pkcs8::spki::ObjectIdentifier>,
    ) -> Result<Self, KeyError> {
        let key = EcPrivateKey::from_der(der).map_err(|_| KeyError::NotDer)?;
        match key.parameters.and_then(sec1::EcParameters::named_curve).or(curve) {
            Some(P256) => {}
            Some(other) => return Err(KeyError::Curve(other.to_string())),
            None => return Err(KeyError::NotDer),
        }
        let private = Self::from_p256(key.private_key.try_into().map_err(|_| KeyError::NotDer)?)?;
        match key.public_key {
            Some(stated) => private.with_stated(stated),
            None => Ok(private),
        }
    }

    /// That the public half is the one that its file states.
    pub(in crate::crypto) fn with_stated(self, public: &[u8]) -> Result<Self, KeyError> {
        let is_same = match self.public.parts() {
            super::VerifyingParts::Ed25519(point) => *point == *public,
            super::VerifyingParts::EcdsaP256(point) => *point == *public,
            super::VerifyingParts::Rsa(_) => true,
        };
        if is_same { Ok(self) } else { Err(KeyError::Inconsistent) }
    }

    /// A PEM block `PRIVATE KEY`, with a final line feed.
    pub fn to_pkcs8_pem(&self) -> SecretString {
        SecretString::new(encode_pem("PRIVATE KEY", self.pkcs8_der()))
    }

    /// The PrivateKeyInfo in DER (RFC 5208; RFC 8410 for Ed25519, RFC 5915 for P-256).
    pub fn pkcs8_der(&self) -> &[u8] {
        match &self.secret {
            Secret::Ed25519(_, pkcs8) | Secret::EcdsaP256(_, pkcs8) => pkcs8.as_bytes(),
            Secret::Rsa(key) => key.pkcs8_der(),
        }
    }

    /// The public half.
    pub fn public_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// What it consists of.
    pub fn parts(&self) -> SigningParts<'_> {
        match &self.secret {
            Secret::Ed25519(seed, _) => SigningParts::Ed25519(seed),
            Secret::EcdsaP256(scalar, _) => SigningParts::EcdsaP256(scalar),
            Secret::Rsa(key) => SigningParts::Rsa(key),
        }
    }
}

/// Copied to where it is to stay.
fn boxed(secret: &[u8; 32]) -> Box<Zeroizing<[u8; 32]>> {
    let mut boxed = Box::new(Zeroizing::new([0; 32]));
    boxed.copy_from_slice(secret);
    boxed
}

fn octets(bytes: &[u8]) -> Result<&OctetStringRef, KeyError> {
    OctetStringRef::new(bytes).map_err(|_| KeyError::NotDer)
}

fn encode(algorithm: AlgorithmIdentifier<AnyRef<'_>>, private_key: &[u8]) -> Result<SecretDocument, KeyError> {
    let info: Info<'_> = pkcs8::PrivateKeyInfo::new(algorithm, octets(private_key)?);
    SecretDocument::encode_msg(&info).map_err(|_| KeyError::NotDer)
}

impl From<PrivateKey> for SigningKey {
    fn from(key: PrivateKey) -> Self {
        let public = VerifyingKey::from(key.public_key().clone());
        Self { secret: Secret::Rsa(key), public }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl fmt::Debug for SigningParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningParts").finish_non_exhaustive()
    }
}
