//! Certificates and requests for them, made by the operator of a server, away from it.

use crate::crypto::{KeyError, PrivateKey, PublicKey, rng};
use crate::time::UnixTime;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use core::net::IpAddr;
use core::time::Duration;
use pkcs8::der::pem::{LineEnding, encode_string};
use rand_core::Rng;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod};
use rcgen::{KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey};
use rustls_pki_types::DnsName;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// The longest common name (RFC 5280, appendix A.1).
const MAX_COMMON_NAME: usize = 64;

/// How long before it is made a certificate is valid already: clocks differ.
const BEFORE: Duration = Duration::from_secs(3600);

/// What a certificate of a server key is to say: the names of the server. Its key may then encipher keys and stand for a server,
/// and issue nothing.
///
/// This is the one thing that a server key ever signs, once, with RSASSA-PKCS1-v1_5 and SHA-256 (RFC 8017, section 8.2), which is
/// what certificate authorities take: a server does not, and no message of the protocol is anything like it.
///
/// ```
/// use countersign::crypto::CertificateDraft;
/// use countersign::{PrivateKey, UnixTime};
/// use std::time::{Duration, SystemTime};
///
/// # let key = PrivateKey::from_pem(include_str!("../../../tests/keys/rsa2048.pem"))?;
/// # /*
/// let key = PrivateKey::from_pem(&std::fs::read_to_string("server.pem")?)?;
/// # */
/// let draft = CertificateDraft::for_names(["db.example", "10.0.0.1"])?;
/// let request = draft.request(&key)?; // for a certificate authority
/// let year = Duration::from_secs(365 * 24 * 3600);
/// let certificate = draft.self_signed(&key, UnixTime::from_system(SystemTime::now()), year)?;
/// assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CertificateDraft {
    names: Vec<SanType>,
    common_name: Option<String>,
}

/// Why a certificate, or a request for one, could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// There is no name.
    #[error("a certificate is for at least one name: a DNS name or an IP address")]
    NoName,
    /// This is no name of a server.
    #[error(
        "{0:?} is neither a DNS name, such as db.example or *.db.example, nor an IP address; give no port and no scheme, no dot \
         at the end, and two labels or more behind a star: clients take no other"
    )]
    BadName(String),
    /// The certificate would be valid beyond what a date can say, or for no time at all.
    #[error("a certificate is valid for at least a second, and not beyond the year 9999")]
    BadTime,
    /// The private key can't sign, or there is no randomness.
    #[error("the key can't sign")]
    Key(#[from] KeyError),
}

impl DraftError {
    /// A word for logs and metrics, such as `certificate-bad-name`: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoName => "certificate-no-name",
            Self::BadName(_) => "certificate-bad-name",
            Self::BadTime => "certificate-bad-time",
            Self::Key(error) => error.code(),
        }
    }
}

impl CertificateDraft {
    /// For a server of these names, each a DNS name, which may begin with `*.` before two labels or more, or an IP address. The first is its common name,
    /// too, if that has room for it.
    ///
    /// # Errors
    /// [`DraftError::NoName`] or [`DraftError::BadName`].
    pub fn for_names<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, DraftError> {
        let given: Vec<N> = names.into_iter().collect();
        let first = given.first().ok_or(DraftError::NoName)?.as_ref();
        let common_name = (first.len() <= MAX_COMMON_NAME).then(|| first.to_owned());
        let names = given.iter().map(|name| alternative(name.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { names, common_name })
    }

    /// A certificate that the key signs itself, in PEM: valid from an hour before `now`, as clocks differ, until `lifetime` after
    /// it. To be given to clients, who choose it explicitly: no root vouches for it.
    ///
    /// # Errors
    /// [`DraftError::BadTime`] or [`DraftError::Key`].
    pub fn self_signed(&self, key: &PrivateKey, now: UnixTime, lifetime: Duration) -> Result<String, DraftError> {
        let signer = Signer::of(key)?;
        let mut serial = [0; 16];
        rng().map_err(|_| KeyError::Provider)?.fill_bytes(&mut serial);
        // Positive, and of the same length always (RFC 5280, section 4.1.2.2).
        serial[0] = serial[0] & 0x3f | 0x40;
        let mut params = self.params(key.public_key());
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = date(now.as_secs().saturating_sub(BEFORE.as_secs()))?;
        params.not_after = date(now.as_secs().saturating_add(lifetime.as_secs()))?;
        if lifetime.as_secs() == 0 || params.not_after.year() > 9999 {
            return Err(DraftError::BadTime);
        }
        let certificate = params.self_signed(&signer).map_err(|_| KeyError::Provider)?;
        Ok(pem("CERTIFICATE", certificate.der()))
    }

    /// A request for a certificate (PKCS#10, RFC 2986), in PEM: what a certificate authority wants to see, with proof that its
    /// sender holds the key.
    ///
    /// # Errors
    /// [`DraftError::Key`].
    pub fn request(&self, key: &PrivateKey) -> Result<String, DraftError> {
        let mut params = self.params(key.public_key());
        // An authority says itself that it is not about to make another.
        params.is_ca = IsCa::NoCa;
        let request = params.serialize_request(&Signer::of(key)?).map_err(|_| KeyError::Provider)?;
        Ok(pem("CERTIFICATE REQUEST", request.der()))
    }

    fn params(&self, key: &PublicKey) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.subject_alt_names.clone_from(&self.names);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Any will do, if it is the key's: 160 bits of a hash of it (RFC 7093, section 2).
        let id = Sha256::digest(key.spki_der()).into_iter().take(20).collect();
        params.key_identifier_method = KeyIdMethod::PreSpecified(id);
        params
    }
}

/// A DNS name or an IP address, as it stands in a certificate.
fn alternative(name: &str) -> Result<SanType, DraftError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad = || DraftError::BadName(name.to_owned());
    let behind_star = name.strip_prefix("*.");
    // Whoever verifies it takes no other, so that nobody could use the certificate.
    if name.ends_with('.') || behind_star.is_some_and(|name| !name.contains('.')) {
        return Err(bad());
    }
    DnsName::try_from(behind_star.unwrap_or(name)).map_err(|_| bad())?;
    Ok(SanType::DnsName(Ia5String::try_from(name).map_err(|_| bad())?))
}

fn date(seconds: u64) -> Result<OffsetDateTime, DraftError> {
    let seconds = i64::try_from(seconds).map_err(|_| DraftError::BadTime)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| DraftError::BadTime)
}

fn pem(label: &'static str, der: &[u8]) -> String {
    // The only failure is a label with forbidden characters, and ours are constants.
    encode_string(label, LineEnding::LF, der).unwrap_or_default()
}

/// `RSASSA-PKCS1-v1_5[SHA-256](key, message)` (RFC 8017, section 8.2.1), by aws-lc-rs.
struct Signer {
    pair: RsaKeyPair,
}

impl Signer {
    fn of(key: &PrivateKey) -> Result<Self, KeyError> {
        let pair = RsaKeyPair::from_pkcs8(key.pkcs8_der()).map_err(|_| KeyError::Inconsistent)?;
        Ok(Self { pair })
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature)
    }
}
