//! Certificates on disk.

use super::files::{Existing, FileError, place};
use super::key_files::read_bytes;
use crate::crypto::{Certificate, CertificateChain, CertificateFileError, certificates_of};
use crate::terms::trust::x509::{PinnedCertificate, Roots};
use std::path::Path;

/// Reads all certificates of a file; at least one. Blocks; where nobody writes to a pipe, for three seconds.
///
/// # Errors
/// [`FileError`].
pub fn read_certificates(path: impl AsRef<Path>) -> Result<Vec<Certificate>, FileError> {
    let certificates = read(path.as_ref(), certificates_of)?;
    Ok(certificates.into_iter().map(|(_, certificate)| certificate).collect())
}

/// Reads what a server is to send of its certificates, as [`CertificateChain::parse`] does.
///
/// # Errors
/// [`FileError`].
pub fn read_certificate_chain(path: impl AsRef<Path>) -> Result<CertificateChain, FileError> {
    read(path.as_ref(), CertificateChain::parse)
}

/// Reads the roots that a client believes, as [`Roots::parse`] does.
///
/// # Errors
/// [`FileError`].
pub fn read_roots(path: impl AsRef<Path>) -> Result<Roots, FileError> {
    read(path.as_ref(), Roots::parse)
}

/// Reads the certificate that a client trusts, as [`PinnedCertificate::parse`] does.
///
/// # Errors
/// [`FileError`].
pub fn read_pinned_certificate(path: impl AsRef<Path>) -> Result<PinnedCertificate, FileError> {
    read(path.as_ref(), PinnedCertificate::parse)
}

/// Writes a certificate, or a request for one, in PEM with mode 0644.
///
/// # Errors
/// [`FileError`]; the file is then as it was before.
pub fn write_certificate(path: impl AsRef<Path>, pem: &str, existing: Existing) -> Result<(), FileError> {
    place::write(path.as_ref(), pem.as_bytes(), 0o644, existing)
}

fn read<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, CertificateFileError>) -> Result<T, FileError> {
    let (bytes, _) = read_bytes(path)?;
    parse(&bytes).map_err(|source| FileError::Certificates { path: path.to_owned(), source })
}
