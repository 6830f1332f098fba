//! The private half at rest: PKCS#8, and what can be checked without doing RSA.

use super::pem::encode_pem;
use super::rules::{RSA_ENCRYPTION, check_algorithm, check_is_rsa};
use super::{KeyError, KeyFile, KeyFileError, KeySize, PublicKey};
use crate::crypto::{Provider, SecretString, rng};
use core::fmt;
use pkcs1::RsaPrivateKeyRef;
use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use pkcs8::der::{Decode, SecretDocument};

/// An RSA private key as PKCS#8 DER: at rest, not yet loaded by a provider. Zeroized, never printed.
pub struct PrivateKey {
    pkcs8: SecretDocument,
    public: PublicKey,
}

type Info<'a> = pkcs8::PrivateKeyInfo<AnyRef<'a>, &'a OctetStringRef, BitStringRef<'a>>;

impl PrivateKey {
    /// Generates a key pair with e = 65537, with randomness of the operating system. How long it takes is a matter of luck with
    /// primes: from some tens of milliseconds to many seconds, more for larger keys and in builds without optimisation.
    ///
    /// # Errors
    /// [`KeyError::Provider`] where the provider fails or makes no keys, or there is no randomness.
    pub fn generate(provider: Provider, size: KeySize) -> Result<Self, KeyError> {
        provider.generate_key(size, &mut rng().map_err(|_| KeyError::Provider)?)
    }

    /// Reads a PrivateKeyInfo (RFC 5208) in DER, as `openssl genpkey -algorithm RSA` makes it.
    ///
    /// Checks the public half; [`super::ServerKey::load`] checks that the private half fits it.
    ///
    /// # Errors
    /// [`KeyError`] for anything but an acceptable RSA key.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let pkcs8 = SecretDocument::try_from(der).map_err(|_| KeyError::NotDer)?;
        let public = {
            let info = Info::from_der(pkcs8.as_bytes()).map_err(|_| KeyError::NotDer)?;
            check_algorithm(&info.algorithm)?;
            // RFC 5958 lets a public key follow, which RFC 5208 does not know, and neither do all libraries.
            if info.public_key.is_some() {
                return Err(KeyError::NotDer);
            }
            let rsa = RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| KeyError::NotDer)?;
            if rsa.other_prime_infos.is_some() {
                return Err(KeyError::MultiPrime);
            }
            PublicKey::from_parts(rsa.modulus.as_bytes(), rsa.public_exponent.as_bytes())?
        };
        Ok(Self { pkcs8, public })
    }

    /// Reads an RSAPrivateKey (RFC 8017, appendix A.1.2) in DER, as `openssl rsa -traditional` writes it.
    pub(super) fn from_pkcs1_der(der: &[u8]) -> Result<Self, KeyError> {
        let not_der = |_| KeyError::NotDer;
        let private_key = OctetStringRef::new(der).map_err(not_der)?;
        let info: Info<'_> = pkcs8::PrivateKeyInfo::new(RSA_ENCRYPTION, private_key);
        let der = SecretDocument::encode_msg(&info).map_err(not_der)?;
        Self::from_pkcs8_der(der.as_bytes())
    }

    /// Reads a PrivateKeyInfo as tools write it: where they disagree (no NULL behind the algorithm, attributes, a public key
    /// behind it, as RFC 5958 has it), what comes of it is the one form that every library reads.
    pub(in crate::crypto) fn from_any_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = Info::from_der(der).map_err(|_| KeyError::NotDer)?;
        check_is_rsa(&info.algorithm)?;
        Self::from_pkcs1_der(info.private_key.as_bytes())
    }

    /// dP, dQ and qInv as they stand in the key, big-endian without leading zeros.
    #[cfg(feature = "rustcrypto")]
    pub(crate) fn crt_numbers(&self) -> Result<[&[u8]; 3], KeyError> {
        let info = Info::from_der(self.pkcs8.as_bytes()).map_err(|_| KeyError::NotDer)?;
        let rsa = RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| KeyError::NotDer)?;
        Ok([rsa.exponent1.as_bytes(), rsa.exponent2.as_bytes(), rsa.coefficient.as_bytes()])
    }

    /// Reads the private key of a text, in any of the forms that a [`KeyFile`] takes, such as a PEM block `PRIVATE KEY`; not
    /// an encrypted one.
    ///
    /// # Errors
    /// As [`KeyFile::private_key`].
    pub fn from_pem(text: &str) -> Result<Self, KeyFileError> {
        KeyFile::parse(text.as_bytes())?.private_key(None)
    }

    /// A PEM block `PRIVATE KEY`, with a final line feed.
    pub fn to_pem(&self) -> SecretString {
        SecretString::new(encode_pem("PRIVATE KEY", self.pkcs8.as_bytes()))
    }

    /// The PrivateKeyInfo in DER.
    pub fn pkcs8_der(&self) -> &[u8] {
        self.pkcs8.as_bytes()
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}
