//! RSA keys: from and to PEM and DER, and the rules of key hygiene (PROTOCOL.md, "Server key").

use super::provider::{Decrypt, Provider};
use crate::limits;
use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use core::ops::Range;
use core::str::FromStr;
use pkcs1::{RsaPrivateKeyRef, RsaPublicKeyRef};
use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use pkcs8::der::{Decode, Encode, SecretDocument, pem};
use pkcs8::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use zeroize::Zeroizing;

const PUBLIC_LABEL: &str = "PUBLIC KEY";
const PRIVATE_LABEL: &str = "PRIVATE KEY";

/// `rsaEncryption` with NULL parameters (RFC 8017, appendix A.1).
const RSA_ENCRYPTION: AlgorithmIdentifier<AnyRef<'static>> =
    AlgorithmIdentifier { oid: pkcs1::ALGORITHM_OID, parameters: Some(AnyRef::NULL) };

/// The name of a server key: SHA-256 of its SubjectPublicKeyInfo in DER.
///
/// Prints and parses as a fingerprint, in the way of OpenSSH: `SHA256:` and unpadded base64, 50 characters.
///
/// ```
/// use countersign::KeyId;
/// let printed = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
/// let id: KeyId = printed.parse()?;
/// assert_eq!(id.to_string(), printed);
/// # Ok::<(), countersign::crypto::ParseKeyIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; limits::KEY_ID]);

impl KeyId {
    /// The key id with these bytes.
    pub const fn from_bytes(bytes: [u8; limits::KEY_ID]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; limits::KEY_ID] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", Base64Unpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, ParseKeyIdError> {
        let encoded = text.strip_prefix("SHA256:").ok_or(ParseKeyIdError)?;
        let mut bytes = [0; limits::KEY_ID];
        match Base64Unpadded::decode(encoded, &mut bytes) {
            Ok(decoded) if decoded.len() == limits::KEY_ID => Ok(Self(bytes)),
            _ => Err(ParseKeyIdError),
        }
    }
}

/// Text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a fingerprint: expected SHA256: and 43 characters of unpadded base64, as `countersign key show` prints it"
)]
pub struct ParseKeyIdError;

/// The size of a key to generate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySize {
    /// 2048 bits: about 112 bits of security (NIST SP 800-57 part 1, table 2).
    Rsa2048,
    /// 3072 bits: about 128 bits of security. The default.
    #[default]
    Rsa3072,
    /// 4096 bits.
    Rsa4096,
}

impl KeySize {
    /// The size of the modulus in bits.
    pub const fn bits(self) -> usize {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
        }
    }
}

/// Bytes that are not a key, or a key that this library refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text has no PEM block.
    #[error("not a PEM file: expected -----BEGIN {expected}-----")]
    NotPem {
        /// The label that was looked for.
        expected: &'static str,
    },
    /// The PEM block is of another kind.
    #[error("the PEM block is a {found}, not a {expected}{}", hint(found))]
    WrongPem {
        /// The label found.
        found: String,
        /// The label that was looked for.
        expected: &'static str,
    },
    /// The DER is malformed, or not the canonical encoding.
    #[error("the key is not valid DER")]
    NotDer,
    /// The key is not an RSA encryption key.
    #[error("not an RSA key: its algorithm is {0}, expected rsaEncryption (1.2.840.113549.1.1.1)")]
    NotRsa(String),
    /// The modulus is too small or too large.
    #[error("the key has {0} bits; accepted are 2048 to 8192")]
    Size(usize),
    /// The modulus is even.
    #[error("the modulus is even")]
    EvenModulus,
    /// The public exponent is even, below 65537, or above 2^33 - 1.
    #[error("the public exponent must be odd, and from 65537 to 2^33 - 1")]
    Exponent,
    /// The parts of the private key do not fit each other.
    #[error("the private key is inconsistent")]
    Inconsistent,
    /// The crypto provider can't use or make the key.
    #[error("the crypto provider can't use or make this key")]
    Provider,
}

fn hint(found: &str) -> &'static str {
    match found {
        "RSA PRIVATE KEY" => "; convert it with: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW",
        "ENCRYPTED PRIVATE KEY" => "; decrypt it with: openssl pkcs8 -in OLD -out NEW",
        "RSA PUBLIC KEY" => "; convert it with: openssl rsa -RSAPublicKey_in -in OLD -pubout -out NEW",
        _ => "",
    }
}

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
        if der.len() > limits::MAX_SPKI {
            return Err(KeyError::Size(der.len().saturating_mul(8)));
        }
        let spki = SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(der).map_err(|_| KeyError::NotDer)?;
        check_algorithm(&spki.algorithm)?;
        let inner = spki.subject_public_key.as_bytes().ok_or(KeyError::NotDer)?;
        let rsa = RsaPublicKeyRef::from_der(inner).map_err(|_| KeyError::NotDer)?;
        let modulus = rsa.modulus.as_bytes();
        let bits = check_modulus(modulus)?;
        let exponent = check_exponent(rsa.public_exponent.as_bytes())?;
        // The exponent is the last thing in the DER, and the modulus comes before it.
        let after = rsa.public_exponent.encoded_len().ok().and_then(|len| usize::try_from(len).ok());
        let end = after.and_then(|len| der.len().checked_sub(len)).ok_or(KeyError::NotDer)?;
        let start = end.checked_sub(modulus.len()).ok_or(KeyError::NotDer)?;
        let id = KeyId(Sha256::digest(der).into());
        Ok(Self(Arc::new(PublicParts { spki: der.into(), id, modulus: start..end, exponent, bits })))
    }

    /// Reads a PEM block `PUBLIC KEY`.
    ///
    /// # Errors
    /// [`KeyError`], as [`PublicKey::from_spki_der`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (_, der) = decode_pem(text, PUBLIC_LABEL)?;
        Self::from_spki_der(&der)
    }

    /// A PEM block `PUBLIC KEY`, with a final line feed.
    pub fn to_pem(&self) -> String {
        encode_pem(PUBLIC_LABEL, &self.0.spki).to_string()
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

    fn from_parts(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
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

/// An RSA private key as PKCS#8 DER: at rest, not yet loaded by a provider. Zeroized, never printed.
pub struct PrivateKey {
    pkcs8: SecretDocument,
    public: PublicKey,
}

type Info<'a> = pkcs8::PrivateKeyInfo<AnyRef<'a>, &'a OctetStringRef, BitStringRef<'a>>;

impl PrivateKey {
    /// Reads a PrivateKeyInfo (RFC 5208) in DER, as `openssl genpkey -algorithm RSA` makes it.
    ///
    /// Checks the public half; [`ServerKey::load`] checks that the private half fits it.
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
                return Err(KeyError::Inconsistent);
            }
            PublicKey::from_parts(rsa.modulus.as_bytes(), rsa.public_exponent.as_bytes())?
        };
        Ok(Self { pkcs8, public })
    }

    /// dP, dQ and qInv as they stand in the key, big-endian without leading zeros.
    #[cfg(feature = "rustcrypto")]
    pub(crate) fn crt_numbers(&self) -> Result<[&[u8]; 3], KeyError> {
        let info = Info::from_der(self.pkcs8.as_bytes()).map_err(|_| KeyError::NotDer)?;
        let rsa = RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| KeyError::NotDer)?;
        Ok([rsa.exponent1.as_bytes(), rsa.exponent2.as_bytes(), rsa.coefficient.as_bytes()])
    }

    /// Reads a PEM block `PRIVATE KEY`.
    ///
    /// # Errors
    /// [`KeyError`], as [`PrivateKey::from_pkcs8_der`]; for the other PEM blocks that hold RSA keys it says how to
    /// convert them.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (_, der) = decode_pem(text, PRIVATE_LABEL)?;
        Self::from_pkcs8_der(&der)
    }

    /// A PEM block `PRIVATE KEY`, with a final line feed.
    pub fn to_pem(&self) -> Zeroizing<String> {
        encode_pem(PRIVATE_LABEL, self.pkcs8.as_bytes())
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

/// A private key that a provider has loaded, ready to open logins. Cheap to clone.
#[derive(Clone)]
pub struct ServerKey {
    public: PublicKey,
    private: Arc<dyn Decrypt>,
}

impl ServerKey {
    /// Loads a private key with a provider. Do it once: it costs up to half of a login.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] or [`KeyError::Provider`].
    pub fn load(key: &PrivateKey, provider: &dyn Provider) -> Result<Self, KeyError> {
        Ok(Self { public: key.public.clone(), private: provider.load_key(key)? })
    }

    /// A key whose private half is elsewhere: in a hardware module, or behind a service.
    pub fn from_parts(public: PublicKey, private: Arc<dyn Decrypt>) -> Self {
        Self { public, private }
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn private(&self) -> &dyn Decrypt {
        &*self.private
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKey").field("public", &self.public).finish_non_exhaustive()
    }
}

fn check_algorithm(algorithm: &AlgorithmIdentifier<AnyRef<'_>>) -> Result<(), KeyError> {
    if algorithm.oid != RSA_ENCRYPTION.oid {
        return Err(KeyError::NotRsa(algorithm.oid.to_string()));
    }
    if *algorithm == RSA_ENCRYPTION { Ok(()) } else { Err(KeyError::NotDer) }
}

/// Size and oddness of a big-endian modulus without leading zeros. Gives the size in bits.
fn check_modulus(modulus: &[u8]) -> Result<usize, KeyError> {
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
fn check_exponent(exponent: &[u8]) -> Result<u64, KeyError> {
    let mut padded = [0; 8];
    let start = padded.len().checked_sub(exponent.len()).ok_or(KeyError::Exponent)?;
    padded.get_mut(start..).ok_or(KeyError::Exponent)?.copy_from_slice(exponent);
    match u64::from_be_bytes(padded) {
        exponent if limits::EXPONENTS.contains(&exponent) && exponent & 1 == 1 => Ok(exponent),
        _ => Err(KeyError::Exponent),
    }
}

fn decode_pem(text: &str, expected: &'static str) -> Result<(String, Zeroizing<Vec<u8>>), KeyError> {
    let block = pem_block(text).ok_or(KeyError::NotPem { expected })?.as_bytes();
    let label = pem::decode_label(block).map_err(|_| KeyError::NotPem { expected })?.to_owned();
    if label != expected {
        return Err(KeyError::WrongPem { found: label, expected });
    }
    let (_, der) = pem::decode_vec(block).map_err(|_| KeyError::NotPem { expected })?;
    Ok((label, Zeroizing::new(der)))
}

/// The first block, from its BEGIN to its END line. Text and other blocks may stand around it (RFC 7468, section 2), such
/// as a certificate behind its key, but the decoder takes a block alone.
fn pem_block(text: &str) -> Option<&str> {
    let block = text.get(text.find("-----BEGIN ")?..)?;
    let end = block.find("-----END ")?;
    let last_line = block.get(end..)?.split(['\r', '\n']).next()?.trim_end();
    block.get(..end.checked_add(last_line.len())?)
}

fn encode_pem(label: &'static str, der: &[u8]) -> Zeroizing<String> {
    // The only failure is a label with forbidden characters, and ours are constants.
    Zeroizing::new(pem::encode_string(label, pem::LineEnding::LF, der).unwrap_or_default())
}
