//! What a server sends of its certificates.

use core::fmt;
use std::sync::Arc;

#[cfg(feature = "x509")]
use {
    super::{Certificate, CertificateFileError, NotTimely, certificates_of},
    crate::crypto::PublicKey,
    crate::limits::{MAX_CERTIFICATES, MAX_CERTIFICATES_SIZE},
    crate::time::UnixTime,
};

/// The certificates of a server key, as a server sends them to clients that ask: the key's own first, each issued by the next.
/// Up to 8, and 16,000 bytes together. Cheap to clone.
///
/// Made with the feature `x509`, by `CertificateChain::parse`; without it there is only the empty one.
#[derive(Clone, Default)]
pub struct CertificateChain {
    ders: Arc<[Box<[u8]>]>,
    #[cfg(feature = "x509")]
    certificates: Arc<[Certificate]>,
}

impl CertificateChain {
    /// The certificates in DER, the key's own first.
    pub fn ders(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.ders.iter().map(AsRef::as_ref)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ders.is_empty()
    }
}

#[cfg(feature = "x509")]
impl CertificateChain {
    /// Reads the certificates of a file: PEM, or one in DER. The key's own is to be the first, and each is to be issued by the
    /// next, as certificate authorities give them out; whatever else stands in the file, such as a private key, is no matter.
    ///
    /// Whether they are valid now is not looked at: see [`CertificateChain::warning`].
    ///
    /// # Errors
    /// [`CertificateFileError`], with the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, CertificateFileError> {
        let found = certificates_of(bytes)?;
        let size = found.iter().fold(0_usize, |sum, (_, certificate)| sum.saturating_add(certificate.der().len()));
        if found.len() > MAX_CERTIFICATES {
            return Err(CertificateFileError::TooMany(found.len()));
        }
        if size > MAX_CERTIFICATES_SIZE {
            return Err(CertificateFileError::TooLarge(size));
        }
        if let Some((line, leaf)) = found.first() {
            let line = *line;
            leaf.public_key().map_err(|source| CertificateFileError::Key { line, source: source.clone() })?;
        }
        for ((line, certificate), (_, next)) in found.iter().zip(found.iter().skip(1)) {
            if certificate.is_issued_by(next) {
                continue;
            }
            let (line, subject, next_subject) = (*line, certificate.subject().to_owned(), next.subject().to_owned());
            if certificate.names_issuer(next) {
                return Err(CertificateFileError::NotSignedByNext { line, subject, next: next_subject });
            }
            let issuer = certificate.issuer().to_owned();
            return Err(CertificateFileError::NotIssuedByNext { line, subject, issuer, next: next_subject });
        }
        let certificates: Vec<Certificate> = found.into_iter().map(|(_, certificate)| certificate).collect();
        let ders = certificates.iter().map(|certificate| certificate.der().into()).collect();
        Ok(Self { ders, certificates: certificates.into() })
    }

    /// The certificates, the key's own first.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The key that the first certificate is of; none in the empty chain.
    pub fn key(&self) -> Option<&PublicKey> {
        self.certificates.first().and_then(|certificate| certificate.public_key().ok())
    }

    /// What is wrong with the certificates at this time: clients will not trust the server for them.
    pub fn warning(&self, now: UnixTime) -> Option<NotTimely> {
        self.certificates.iter().find_map(|certificate| certificate.check_time(now).err())
    }

    /// When the first of them expires, which is the time to have others; none in the empty chain.
    pub fn expires(&self) -> Option<UnixTime> {
        self.certificates.iter().map(Certificate::not_after).min()
    }
}

impl fmt::Debug for CertificateChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateChain").field("len", &self.ders.len()).finish_non_exhaustive()
    }
}
