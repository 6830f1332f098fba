//! What a certificate says. Whether that is true is for webpki to check.

use super::NotTimely;
use crate::crypto::{KeyError, PublicKey};
use crate::time::UnixTime;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert};
use x509_cert::certificate::{CertificateInner, Raw, TbsCertificateInner};
use x509_cert::der::{DateTime, Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};

/// The most names of a certificate that are shown; the rest are there nevertheless.
const SHOWN_NAMES: usize = 64;

/// The longest name that is shown, in characters.
const LONGEST_SHOWN: usize = 256;

/// An X.509 certificate (RFC 5280), as it was read: nothing of it is verified. Cheap to clone.
///
/// All text of it is a stranger's: what a terminal would act on is replaced by `?`.
#[derive(Clone)]
pub struct Certificate(Arc<Parts>);

struct Parts {
    der: Box<[u8]>,
    subject: String,
    issuer: String,
    /// In DER, to be compared.
    subject_der: Vec<u8>,
    issuer_der: Vec<u8>,
    names: Vec<String>,
    not_before: UnixTime,
    not_after: UnixTime,
    key: Result<PublicKey, KeyError>,
    /// None where it does not say.
    is_authority: Option<bool>,
    key_usage: Option<KeyUsage>,
}

impl Certificate {
    /// Reads a certificate in DER; none where these bytes are not exactly one.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        // Authorities break rules of RFC 5280 that no reader depends on, such as that of the serial number's length.
        let whole = CertificateInner::<Raw>::from_der(der).ok()?;
        let tbs = whole.tbs_certificate();
        let validity = tbs.validity();
        let spki = tbs.subject_public_key_info().to_der().ok()?;
        let is_authority = tbs.get_extension::<BasicConstraints>().ok()?.map(|(_, basic)| basic.ca);
        Some(Self(Arc::new(Parts {
            der: der.into(),
            subject: name(&tbs.subject().to_string()),
            issuer: name(&tbs.issuer().to_string()),
            subject_der: tbs.subject().to_der().ok()?,
            issuer_der: tbs.issuer().to_der().ok()?,
            names: names(tbs)?,
            not_before: UnixTime::from_secs(validity.not_before.to_unix_duration().as_secs()),
            not_after: UnixTime::from_secs(validity.not_after.to_unix_duration().as_secs()),
            key: PublicKey::from_any_spki_der(&spki),
            is_authority,
            key_usage: tbs.get_extension::<KeyUsage>().ok()?.map(|(_, usage)| usage),
        })))
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Whose it is, as RFC 4514 writes it: `CN=db.example,O=Example`.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Who issued it, as RFC 4514 writes it.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Whether it names its subject as its issuer, as those that are self-signed do.
    pub fn is_self_issued(&self) -> bool {
        self.names_issuer(self)
    }

    /// The first 64 of its DNS names and IP addresses (RFC 5280, section 4.2.1.6). The common name is none of them.
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// When it begins to be valid.
    pub fn not_before(&self) -> UnixTime {
        self.0.not_before
    }

    /// The last second in which it is valid.
    pub fn not_after(&self) -> UnixTime {
        self.0.not_after
    }

    /// Its key.
    ///
    /// # Errors
    /// [`KeyError`] for one that can't be a server's, such as one of an elliptic curve.
    pub fn public_key(&self) -> Result<&PublicKey, &KeyError> {
        self.0.key.as_ref()
    }

    /// Whether it says that it is an authority's, which may issue others.
    pub fn is_authority(&self) -> bool {
        self.0.is_authority == Some(true)
    }

    /// Whether it may be one to vouch for others: it does not say that it is no authority's, and where it has a key usage, that has keyCertSign
    /// (RFC 5280, section 4.2.1.9 and 4.2.1.3).
    pub(crate) fn may_vouch(&self) -> bool {
        self.0.is_authority != Some(false) && self.0.key_usage.is_none_or(|usage| usage.key_cert_sign())
    }

    /// Whether secrets may be sealed to its key: where it has a key usage, that has keyEncipherment (RFC 5280, section 4.2.1.3).
    pub fn may_encipher(&self) -> bool {
        self.0.key_usage.is_none_or(|usage| usage.key_encipherment())
    }

    /// Whether it is valid at this time, by its dates alone.
    ///
    /// # Errors
    /// [`NotTimely`].
    pub fn check_time(&self, now: UnixTime) -> Result<(), NotTimely> {
        let subject = || self.0.subject.clone();
        if now < self.0.not_before {
            return Err(NotTimely::NotYet { subject: subject(), at: self.0.not_before, now });
        }
        if now > self.0.not_after {
            return Err(NotTimely::Expired { subject: subject(), at: self.0.not_after, now });
        }
        Ok(())
    }

    /// Whether `issuer` is named as its issuer, and its key made the signature.
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        self.names_issuer(issuer) && self.is_signed_by(issuer).unwrap_or(false)
    }

    /// Whether the subject of `issuer` is named as its issuer.
    pub(crate) fn names_issuer(&self, issuer: &Self) -> bool {
        self.0.issuer_der == issuer.0.subject_der
    }

    fn is_signed_by(&self, issuer: &Self) -> Option<bool> {
        let whole = CertificateInner::<Raw>::from_der(self.der()).ok()?;
        let signature = whole.signature().as_bytes()?;
        let issuer = CertificateDer::from(issuer.der());
        let issuer = EndEntityCert::try_from(&issuer).ok()?;
        let signed = self.signed_bytes()?;
        let algorithm = whole.signature_algorithm().to_der().ok()?;
        let fitting = ALL_VERIFICATION_ALGS.iter().filter(|known| algorithm.ends_with(&known.signature_alg_id()));
        Some(fitting.copied().any(|known| issuer.verify_signature(known, signed, signature).is_ok()))
    }

    /// The bytes that the signature is of: the first element, as it stands in the DER.
    fn signed_bytes(&self) -> Option<&[u8]> {
        let mut outer = SliceReader::new(self.der()).ok()?;
        let header = x509_cert::der::Header::decode(&mut outer).ok()?;
        header.tag().is_constructed().then(|| outer.tlv_bytes().ok()).flatten()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.0.subject)
            .field("issuer", &self.0.issuer)
            .finish_non_exhaustive()
    }
}

/// The DNS names and IP addresses; none where the extension is damaged.
fn names(tbs: &TbsCertificateInner<Raw>) -> Option<Vec<String>> {
    let Some((_, alternatives)) = tbs.get_extension::<SubjectAltName>().ok()? else {
        return Some(Vec::new());
    };
    let shown = alternatives.0.iter().filter_map(|alternative| match alternative {
        GeneralName::DnsName(dns) => Some(printable(dns.as_str())),
        GeneralName::IpAddress(address) => address_of(address.as_bytes()).map(|address| address.to_string()),
        _ => None,
    });
    Some(shown.take(SHOWN_NAMES).collect())
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|octets| Ipv4Addr::from(octets).into());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

fn name(text: &str) -> String {
    if text.is_empty() { "nobody".to_owned() } else { printable(text) }
}

/// Text of a stranger, without what a terminal would act on, and without what changes the order of what is read.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(LONGEST_SHOWN).map(shown).collect()
}

/// A time as `2026-11-27T02:49:29Z` (RFC 3339).
pub(crate) struct Date(pub(crate) UnixTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_unix_duration(core::time::Duration::from_secs(self.0.as_secs())) {
            Ok(date) => write!(f, "{date}"),
            // After the year 9999.
            Err(_) => write!(f, "{} seconds after 1970", self.0.as_secs()),
        }
    }
}
