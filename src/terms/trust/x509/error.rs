//! Why certificates do not make a key trusted.

use crate::crypto::{KeyError, KeyId, NotTimely};

/// Why certificates do not make a key trusted. The texts are for whoever logs in, or runs the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The server sent none.
    #[error(
        "the server sent no certificate, and its key is to be known by one; its operator gives it one with --certificates, or beside each \
         key of --keys"
    )]
    NoneSent,
    /// There are more than 8.
    #[error("the server sent {0} certificates; up to 8 are looked at")]
    TooMany(usize),
    /// One of them is none. Has its place, from 1.
    #[error("certificate {0} of those that the server sent is damaged, or of a form that is not taken")]
    Malformed(usize),
    /// Its key can't be a server's, such as one of an elliptic curve.
    #[error("the certificate of {subject} has a key that can't be a server's here: {source}")]
    Key {
        /// Whose it is.
        subject: String,
        /// What is wrong with the key.
        #[source]
        source: KeyError,
    },
    /// It is another key's.
    #[error(
        "the certificate of {subject} is that of the key {certificate}, and the server answered under {key}: its operator \
         has renewed one of the two alone, or somebody sends the certificate of another"
    )]
    OtherKey {
        /// Whose it is.
        subject: String,
        /// The certificate's key.
        certificate: KeyId,
        /// The server's key.
        key: KeyId,
    },
    /// One of them is not valid at this time.
    #[error("{0}; renew it, unless this clock is wrong")]
    Time(#[from] NotTimely),
    /// It is for other names.
    #[error("the certificate of {subject} is for {}, and not for {wanted}", Names(names))]
    OtherName {
        /// Whose it is.
        subject: String,
        /// The name that was wanted.
        wanted: String,
        /// Its names.
        names: Vec<String>,
    },
    /// No name is wanted.
    #[error("a certificate is for a name, and this client names no server; give the server's name")]
    NoNameWanted,
    /// What is wanted is no name.
    #[error("{0:?} is neither a DNS name nor an IP address, and a certificate is for one of those")]
    BadNameWanted(String),
    /// It is an authority's.
    #[error("the certificate of {0} is one of an authority, which issues others, and not one of a server")]
    Authority(String),
    /// An issuer's certificate is not an authority's.
    #[error("a certificate was issued by the owner of one that is not an authority's")]
    IssuerNotAuthority,
    /// Its key usage is without keyEncipherment.
    #[error(
        "the certificate of {0} does not let its key decrypt what is sealed to it: its key usage is without keyEncipherment"
    )]
    KeyUsage(String),
    /// Its extended key usage, or that of an issuer, is without serverAuth.
    #[error(
        "the certificate of {0}, or one of its issuers', is not for servers: its extended key usage is without serverAuth"
    )]
    Purpose(String),
    /// It signed itself, and is no root.
    #[error(
        "the certificate of {subject} is self-signed, so that it says of itself what it is; if its key {key} is the right \
         one, trust that, or this very certificate"
    )]
    SelfSigned {
        /// Whose it is.
        subject: String,
        /// Its key.
        key: KeyId,
    },
    /// They lead to a root that is none of the client's.
    #[error("the server's certificates lead to the root {0}, which is none of those that are trusted here")]
    UnknownRoot(String),
    /// They lead to an issuer that is not known.
    #[error(
        "the certificate of {subject} is issued by {issuer}, which is no root that is trusted here, and whose own \
         certificate the server did not send: its operator left that out, or the roots here are not the right ones"
    )]
    UnknownIssuer {
        /// Whose is the last one.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// A signature is not that of the issuer it names.
    #[error(
        "a certificate is not signed by the issuer that it names, of which there is a certificate: it was altered, or \
         another authority has the same name"
    )]
    Signature,
    /// A signature is of an algorithm that is not taken, such as one with SHA-1.
    #[error("a certificate is signed by an algorithm that is not taken, such as one with SHA-1 or MD5")]
    SignatureAlgorithm,
    /// An authority up the chain may not issue for such names.
    #[error(
        "an authority that issued the certificate may not issue it for its names: its name constraints are against it"
    )]
    NameConstraint,
    /// There are more authorities in between than one of them allows, or than the 6 that are looked at.
    #[error("there are more authorities between the certificate and the root than one of them allows, or more than 6")]
    PathLength,
    /// The verifier refuses them for another reason: what it calls it.
    #[error("the verifier refuses the server's certificates: {0}")]
    Other(String),
}

impl CertificateError {
    /// A word for logs and metrics, such as `certificate-expired`: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoneSent => "no-certificate",
            Self::TooMany(_) => "certificates-too-many",
            Self::Malformed(_) => "certificate-malformed",
            Self::Key { .. } => "certificate-key",
            Self::OtherKey { .. } => "certificate-of-other-key",
            Self::Time(error) => error.code(),
            Self::OtherName { .. } => "certificate-name",
            Self::NoNameWanted | Self::BadNameWanted(_) => "certificate-no-name-wanted",
            Self::Authority(_) => "certificate-of-authority",
            Self::IssuerNotAuthority => "certificate-issuer-not-authority",
            Self::KeyUsage(_) => "certificate-key-usage",
            Self::Purpose(_) => "certificate-purpose",
            Self::SelfSigned { .. } => "certificate-self-signed",
            Self::UnknownRoot(_) => "certificate-unknown-root",
            Self::UnknownIssuer { .. } => "certificate-unknown-issuer",
            Self::Signature => "certificate-signature",
            Self::SignatureAlgorithm => "certificate-signature-algorithm",
            Self::NameConstraint => "certificate-name-constraint",
            Self::PathLength => "certificate-path-length",
            Self::Other(_) => "certificate-refused",
        }
    }
}

/// The first names of a certificate, for people.
struct Names<'a>(&'a [String]);

impl core::fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        const SHOWN: usize = 8;
        if self.0.is_empty() {
            return f.write_str("no name at all (a common name is none)");
        }
        let shown: Vec<&str> = self.0.iter().take(SHOWN).map(String::as_str).collect();
        f.write_str(&shown.join(", "))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
