//! One certificate that the client was given.

use super::super::{Answer, Question, Trust, TrustLevel, Untrusted};
use super::verify::check_name;
use super::{CertificateError, server_name};
use crate::crypto::{Certificate, CertificateFileError, KeyId, PublicKey, Suite, certificates_of};
use crate::time::UnixTime;
use core::fmt;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Trusts the key of this very certificate, such as a self-signed one, while it is valid and for its names alone: it is then
/// [`TrustLevel::Verified`]. Who issued it is not looked at, nor what else its key is for.
///
/// As the client has the key whole, the server proves that it holds it before a credential leaves, and need not send the
/// certificate.
#[derive(Clone)]
pub struct PinnedCertificate {
    certificate: Certificate,
    key: PublicKey,
    name: Option<String>,
}

impl PinnedCertificate {
    /// The first certificate of a file: PEM, or one in DER.
    ///
    /// # Errors
    /// [`CertificateFileError`], with the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, CertificateFileError> {
        let first = certificates_of(bytes)?.into_iter().next();
        let (line, certificate) = first.ok_or(CertificateFileError::Empty)?;
        let key = certificate.public_key().map_err(|source| CertificateFileError::Key { line, source: source.clone() });
        let key = key?.clone();
        Ok(Self { certificate, key, name: None })
    }

    /// It is to be for this name, and not for that of the [`Server`](crate::Server): a DNS name or an IP address. It does not cross
    /// the wire.
    ///
    /// # Errors
    /// [`CertificateError`] where it is for others.
    pub fn for_name(mut self, name: &str) -> Result<Self, CertificateError> {
        self.check(name)?;
        self.name = Some(name.to_owned());
        Ok(self)
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether it makes this key trusted under this name at this time. The name counts where none was given by
    /// [`PinnedCertificate::for_name`].
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(&self, key: &PublicKey, name: &str, now: UnixTime) -> Result<(), CertificateError> {
        self.verify_id(key.id(), name, now)
    }

    fn verify_id(&self, key: KeyId, name: &str, now: UnixTime) -> Result<(), CertificateError> {
        self.verify_key(key, now)?;
        self.check_for(name)
    }

    fn check_for(&self, name: &str) -> Result<(), CertificateError> {
        self.check(self.name.as_deref().unwrap_or(name))
    }

    fn verify_key(&self, key: KeyId, now: UnixTime) -> Result<(), CertificateError> {
        if key != self.key.id() {
            let subject = self.certificate.subject().to_owned();
            return Err(CertificateError::OtherKey { subject, certificate: self.key.id(), key });
        }
        Ok(self.certificate.check_time(now)?)
    }

    fn check(&self, name: &str) -> Result<(), CertificateError> {
        let name = server_name(name)?;
        let der = CertificateDer::from(self.certificate.der());
        let end = EndEntityCert::try_from(&der).map_err(|_| CertificateError::Malformed(1))?;
        check_name(&end, &self.certificate, &name)
    }
}

impl Trust for PinnedCertificate {
    fn decide(&self, question: &Question<'_>) -> Answer {
        answer(self.verify(question.key(), question.server_name(), question.now()))
    }

    fn known_keys(&self, server_name: &str) -> Vec<PublicKey> {
        self.check_for(server_name).map(|()| self.key.clone()).into_iter().collect()
    }

    fn recall(&self, key: KeyId, _: Suite, server_name: &str, now: UnixTime) -> Answer {
        answer(self.verify_id(key, server_name, now))
    }

    fn scope(&self) -> String {
        format!("certificate {} {}", self.name.as_deref().unwrap_or_default(), self.key.id())
    }
}

fn answer(verified: Result<(), CertificateError>) -> Answer {
    match verified {
        Ok(()) => Answer::Trusted(TrustLevel::Verified),
        Err(error) => Answer::Unknown(Untrusted::new(error.code(), error)),
    }
}

impl fmt::Debug for PinnedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedCertificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
