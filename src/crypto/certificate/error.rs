//! Why a file gives no certificates, and why one is not valid at a time.

use super::Date;
use crate::crypto::{KeyError, KeyFileError};
use crate::time::UnixTime;
use core::fmt;

/// Why a file gives no certificates, or no chain of them. Lines are counted from 1; 0 stands for a file that is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFileError {
    /// There is nothing in it.
    #[error("it is empty; a certificate in PEM is needed")]
    Empty,
    /// There is no certificate in it.
    #[error(
        "there is no certificate in it, but {0}; a PEM block that begins with -----BEGIN CERTIFICATE----- is needed"
    )]
    NoCertificate(String),
    /// The PEM around a certificate is damaged.
    #[error(transparent)]
    Pem(KeyFileError),
    /// What should be a certificate is none.
    #[error("{}this is no X.509 certificate, or it is damaged: get it again from whoever issued it", At(*line))]
    Malformed {
        /// Where it begins.
        line: usize,
    },
    /// There are more than a chain may have.
    #[error(
        "there are {0} certificates in it: a server sends up to 8, its own, then each one's issuer; leave out those that \
         do not lead to the root"
    )]
    TooMany(usize),
    /// They are longer than a server may send.
    #[error("its certificates take {0} bytes: a server sends up to 16000; leave out the root, which clients have")]
    TooLarge(usize),
    /// The key of the first can't be a server's.
    #[error("{}the first certificate is to be the server key's, and this one's key can't be that", At(*line))]
    Key {
        /// Where it begins.
        line: usize,
        /// What is wrong with its key.
        source: KeyError,
    },
    /// It is to vouch for others, and is no authority's.
    #[error(
        "{}the certificate of {subject} says that it is no authority's, so it vouches for nobody: where it is the server's own, \
         have clients trust that one alone",
        At(*line)
    )]
    NotAuthority {
        /// Where it begins.
        line: usize,
        /// Whose it is.
        subject: String,
    },
    /// The certificate behind another did not issue it.
    #[error(
        "{}the certificate of {subject} is issued by {issuer}, and the next one, of {next}, did not issue it; put them in \
         order: the server's own, then its issuer's, and so on",
        At(*line)
    )]
    NotIssuedByNext {
        /// Where it begins.
        line: usize,
        /// Whose it is.
        subject: String,
        /// By whom it is issued.
        issuer: String,
        /// Whose the next one is.
        next: String,
    },
    /// The certificate behind another has the name of its issuer, and not verifiably its signature.
    #[error(
        "{}the certificate of {subject} is issued by {next}, whose certificate is the next one, but its signature can't be verified \
         with that one's key: it is made in a way that is not taken, such as with SHA-1, or by another key of that name; get \
         one that is signed with SHA-256, and its issuer's own certificate",
        At(*line)
    )]
    NotSignedByNext {
        /// Where it begins.
        line: usize,
        /// Whose it is.
        subject: String,
        /// By whom it is issued.
        next: String,
    },
    /// The first certificate is another key's.
    #[error(
        "the first certificate is that of the key {certificate}, and the server key is {key}; get one for this key, \
         by a request that is made with it"
    )]
    OtherKey {
        /// The fingerprint of the certificate's key.
        certificate: String,
        /// The fingerprint of the server key.
        key: String,
    },
    /// The system has no roots that can be read.
    #[error("the system's root certificates can't be read: {0}; give those you trust in a file of your own")]
    NoSystemRoots(String),
}

impl CertificateFileError {
    /// A word for logs and metrics, such as `certificates-not-in-order`: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "certificate-file-empty",
            Self::NoCertificate(_) => "certificate-file-without-certificate",
            Self::Pem(error) => error.code(),
            Self::Malformed { .. } => "certificate-malformed",
            Self::TooMany(_) => "certificates-too-many",
            Self::TooLarge(_) => "certificates-too-large",
            Self::Key { source, .. } => source.code(),
            Self::NotAuthority { .. } => "certificate-of-no-authority",
            Self::NotIssuedByNext { .. } => "certificates-not-in-order",
            Self::NotSignedByNext { .. } => "certificate-signature-not-verified",
            Self::OtherKey { .. } => "certificate-of-other-key",
            Self::NoSystemRoots(_) => "no-system-roots",
        }
    }
}

/// A certificate that is not valid at a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTimely {
    /// It was valid, and is no more.
    #[error("the certificate of {subject} expired at {}; it is {} now", Date(*at), Date(*now))]
    Expired {
        /// Whose it is.
        subject: String,
        /// Up to when it was valid.
        at: UnixTime,
        /// The time that it was looked at.
        now: UnixTime,
    },
    /// It will be valid.
    #[error("the certificate of {subject} is not valid before {}; it is {} now", Date(*at), Date(*now))]
    NotYet {
        /// Whose it is.
        subject: String,
        /// From when on it will be valid.
        at: UnixTime,
        /// The time that it was looked at.
        now: UnixTime,
    },
}

impl NotTimely {
    /// A word for logs and metrics: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "certificate-expired",
            Self::NotYet { .. } => "certificate-not-yet-valid",
        }
    }
}

/// `line 3: `, or nothing where the file is no text.
struct At(usize);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, "line {}: ", self.0) }
    }
}
