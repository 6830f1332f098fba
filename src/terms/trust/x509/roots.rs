//! Whom a client believes when they vouch for a server.

use crate::crypto::{CertificateFileError, KeyId, certificates_of};
use core::fmt;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest, Sha256};
use webpki::anchor_from_trusted_cert;

/// The authorities that a client believes when they vouch for a server: their names, keys and name constraints. Their dates do
/// not count. There is at least one.
#[derive(Clone)]
pub struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    is_platform: bool,
}

impl Roots {
    /// The certificates of a file: PEM, or one in DER. All of them are believed, so give no more than the roots. One that says that it is no
    /// authority's is refused.
    ///
    /// # Errors
    /// [`CertificateFileError`], with the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, CertificateFileError> {
        let anchors = certificates_of(bytes)?.into_iter().map(|(line, certificate)| {
            if !certificate.may_vouch() {
                return Err(CertificateFileError::NotAuthority { line, subject: certificate.subject().to_owned() });
            }
            anchor(&CertificateDer::from(certificate.der())).ok_or(CertificateFileError::Malformed { line })
        });
        Ok(Self { anchors: anchors.collect::<Result<_, _>>()?, is_platform: false })
    }

    /// Those that the operating system has, for all programs; or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, as with OpenSSL.
    /// Any of their some hundred authorities can then vouch for a server. Single ones that can't be read are left out.
    ///
    /// Blocks while they are read.
    ///
    /// # Errors
    /// [`CertificateFileError::NoSystemRoots`] where there is none at all.
    pub fn platform() -> Result<Self, CertificateFileError> {
        let found = rustls_native_certs::load_native_certs();
        let anchors: Vec<_> = found.certs.iter().filter_map(anchor).collect();
        if anchors.is_empty() {
            let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
            return Err(CertificateFileError::NoSystemRoots(why));
        }
        Ok(Self { anchors, is_platform: true })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.anchors.len()
    }

    /// Both of these, together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.anchors.extend(other.anchors);
        self.is_platform &= other.is_platform;
        self
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// What tells these from others: those of the system change with its updates, and stay the system's.
    pub(super) fn id(&self) -> String {
        if self.is_platform {
            return "of the system".to_owned();
        }
        let mut hashes: Vec<[u8; 32]> = self.anchors.iter().map(hash).collect();
        hashes.sort_unstable();
        KeyId::from_bytes(Sha256::digest(hashes.concat()).into()).to_string()
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("count", &self.count()).field("id", &self.id()).finish()
    }
}

fn anchor(certificate: &CertificateDer<'_>) -> Option<TrustAnchor<'static>> {
    anchor_from_trusted_cert(certificate).ok().map(|anchor| anchor.to_owned())
}

fn hash(anchor: &TrustAnchor<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [&anchor.subject, &anchor.subject_public_key_info] {
        hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
