//! Certificates in files.

use super::{Certificate, CertificateFileError, printable};
use crate::crypto::key::{MAX_KEY_FILE, PemBlocks};
use crate::crypto::{KeyFile, KeyFileError};

/// All certificates of a file, of up to 1 MiB, in its order, with the line in which each begins, from 1: PEM, with whatever stands
/// around and between, or a single one in DER, at line 0. There is at least one.
///
/// # Errors
/// [`CertificateFileError`], with the line.
pub fn certificates_of(bytes: &[u8]) -> Result<Vec<(usize, Certificate)>, CertificateFileError> {
    if bytes.len() > MAX_KEY_FILE {
        return Err(CertificateFileError::Pem(KeyFileError::TooLong));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(CertificateFileError::Empty);
    }
    if bytes.first() == Some(&0x30) {
        let malformed = || CertificateFileError::Malformed { line: 0 };
        return Ok(vec![(0, Certificate::from_der(bytes).ok_or_else(malformed)?)]);
    }
    let (mut certificates, mut other) = (Vec::new(), None);
    for block in PemBlocks::of(bytes) {
        // A private key that is cut short is no matter here, a certificate is: who knows what is missing behind it.
        let block = block.map_err(|block| CertificateFileError::Pem(block.into()))?;
        if !matches!(block.label, "CERTIFICATE" | "X509 CERTIFICATE") {
            other.get_or_insert_with(|| format!("a PEM block {}", printable(block.label)));
            continue;
        }
        let line = block.line;
        let der = block.decode().map_err(CertificateFileError::Pem)?;
        certificates.push((line, Certificate::from_der(&der).ok_or(CertificateFileError::Malformed { line })?));
    }
    if certificates.is_empty() {
        return Err(CertificateFileError::NoCertificate(other.unwrap_or_else(|| looks_like(bytes))));
    }
    Ok(certificates)
}

/// What a file without PEM seems to be.
fn looks_like(bytes: &[u8]) -> String {
    match KeyFile::parse(bytes) {
        Err(KeyFileError::NoKey { looks_like, .. }) => looks_like.to_owned(),
        Err(_) => "binary data".to_owned(),
        Ok(_) => "a key".to_owned(),
    }
}
