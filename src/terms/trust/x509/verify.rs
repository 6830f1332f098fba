//! The verification of a chain: what is looked at before webpki, webpki, and what its reasons mean.

use super::{CertificateError, Roots};
use crate::crypto::{Certificate, NotTimely, PublicKey};
use crate::limits::MAX_CERTIFICATES;
use crate::time::UnixTime;
use core::time::Duration;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime as WebpkiTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, VerifiedPath};

/// Verifies a chain, and gives the last second in which all of it is valid.
pub(super) fn chain(
    roots: &Roots,
    ders: &[&[u8]],
    key: &PublicKey,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<UnixTime, CertificateError> {
    if ders.len() > MAX_CERTIFICATES {
        return Err(CertificateError::TooMany(ders.len()));
    }
    let sent =
        ders.iter().zip(1..).map(|(der, place)| Certificate::from_der(der).ok_or(CertificateError::Malformed(place)));
    let sent = sent.collect::<Result<Vec<_>, _>>()?;
    let Some(leaf) = sent.first() else { return Err(CertificateError::NoneSent) };
    check_leaf(leaf, key)?;

    let ders: Vec<CertificateDer<'_>> =
        sent.iter().map(|certificate| CertificateDer::from(certificate.der())).collect();
    let Some((leaf_der, issuers)) = ders.split_first() else { return Err(CertificateError::NoneSent) };
    let end = EndEntityCert::try_from(leaf_der).map_err(|error| reason(error, &sent, now))?;
    let time = WebpkiTime::since_unix_epoch(Duration::from_secs(now.as_secs()));
    // RFC 5280, section 4.2.1.12: a certificate without an extended key usage is for all.
    let usage = KeyUsage::server_auth();
    let path = end.verify_for_usage(ALL_VERIFICATION_ALGS, roots.anchors(), issuers, time, usage, None, None);
    let path = path.map_err(|error| reason(error, &sent, now))?;
    check_name(&end, leaf, name)?;
    Ok(until(leaf, &path))
}

/// That the certificate is for this name.
pub(super) fn check_name(
    end: &EndEntityCert<'_>,
    leaf: &Certificate,
    name: &ServerName<'_>,
) -> Result<(), CertificateError> {
    end.verify_is_valid_for_subject_name(name).map_err(|_| CertificateError::OtherName {
        subject: leaf.subject().to_owned(),
        wanted: name.to_str().into_owned(),
        names: leaf.names().to_vec(),
    })
}

/// Rules X1 and X2, which come before all signatures: they cost nothing.
fn check_leaf(leaf: &Certificate, key: &PublicKey) -> Result<(), CertificateError> {
    let subject = || leaf.subject().to_owned();
    let of =
        leaf.public_key().map_err(|source| CertificateError::Key { subject: subject(), source: source.clone() })?;
    if of != key {
        return Err(CertificateError::OtherKey { subject: subject(), certificate: of.id(), key: key.id() });
    }
    if leaf.is_authority() {
        return Err(CertificateError::Authority(subject()));
    }
    if !leaf.may_encipher() {
        return Err(CertificateError::KeyUsage(subject()));
    }
    Ok(())
}

/// When the first certificate of the path expires. The root does not.
fn until(leaf: &Certificate, path: &VerifiedPath<'_>) -> UnixTime {
    let issuers = path.intermediate_certificates().filter_map(|issuer| Certificate::from_der(&issuer.der()));
    issuers.map(|issuer| issuer.not_after()).fold(leaf.not_after(), UnixTime::min)
}

/// What webpki's reason means for people.
fn reason(error: Error, sent: &[Certificate], now: UnixTime) -> CertificateError {
    let leaf = || sent.first().map_or_else(String::new, |leaf| leaf.subject().to_owned());
    let whose = |at: WebpkiTime, of: fn(&Certificate) -> UnixTime| {
        let found = sent.iter().find(|certificate| of(certificate).as_secs() == at.as_secs());
        (found.map_or_else(leaf, |found| found.subject().to_owned()), UnixTime::from_secs(at.as_secs()))
    };
    match error {
        Error::CertExpired { not_after, .. } => {
            let (subject, at) = whose(not_after, Certificate::not_after);
            NotTimely::Expired { subject, at, now }.into()
        }
        Error::CertNotValidYet { not_before, .. } => {
            let (subject, at) = whose(not_before, Certificate::not_before);
            NotTimely::NotYet { subject, at, now }.into()
        }
        Error::CaUsedAsEndEntity => CertificateError::Authority(leaf()),
        Error::EndEntityUsedAsCa => CertificateError::IssuerNotAuthority,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => CertificateError::Purpose(leaf()),
        Error::UnknownIssuer => unknown_issuer(sent),
        Error::InvalidSignatureForPublicKey | Error::SignatureAlgorithmMismatch => CertificateError::Signature,
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            CertificateError::SignatureAlgorithm
        }
        Error::NameConstraintViolation => CertificateError::NameConstraint,
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => CertificateError::PathLength,
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::UnsupportedCertVersion => {
            CertificateError::Malformed(first_damaged(sent))
        }
        other => CertificateError::Other(format!("{other:?}")),
    }
}

/// The place of the first that webpki can't read.
fn first_damaged(sent: &[Certificate]) -> usize {
    let is_damaged =
        |certificate: &Certificate| EndEntityCert::try_from(&CertificateDer::from(certificate.der())).is_err();
    sent.iter().position(is_damaged).unwrap_or_default().saturating_add(1)
}

/// Where the way from the server's certificate ends, by the names alone.
fn unknown_issuer(sent: &[Certificate]) -> CertificateError {
    let Some(mut last) = sent.first() else { return CertificateError::NoneSent };
    for _ in sent {
        if last.is_self_issued() {
            break;
        }
        let issuer = sent.iter().find(|other| last.names_issuer(other));
        let Some(issuer) = issuer else { break };
        last = issuer;
    }
    match (last.is_self_issued(), sent.first().filter(|leaf| *leaf == last), last.public_key()) {
        (true, Some(leaf), Ok(key)) => {
            CertificateError::SelfSigned { subject: leaf.subject().to_owned(), key: key.id() }
        }
        (true, ..) => CertificateError::UnknownRoot(last.subject().to_owned()),
        (false, ..) => {
            CertificateError::UnknownIssuer { subject: last.subject().to_owned(), issuer: last.issuer().to_owned() }
        }
    }
}
