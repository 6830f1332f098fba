//! Why a file gives no key, and what to do about it.

use super::super::KeyError;
use super::{Encoded, shape};
use core::fmt;

/// Why a file gives no key. Lines are counted from 1; 0 stands for a file that is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is longer than 1 MiB.
    #[error("it is longer than 1 MiB, which no key file is")]
    TooLong,
    /// There is nothing like a key in it.
    #[error("there is no key in it: it looks like {looks_like}")]
    NoKey {
        /// What it seems to be.
        looks_like: &'static str,
        /// The way to a key.
        cure: Option<Cure>,
    },
    /// A PEM block has no END line, or that of another.
    #[error(
        "line {line}: the PEM block {} that begins here has no END line of its own up to line {last}: it was cut short or mixed \
         up; get the whole file again",
        super::printable(label)
    )]
    Unfinished {
        /// What its BEGIN line says.
        label: String,
        /// Where that is.
        line: usize,
        /// Where the text ends, or something else begins.
        last: usize,
    },
    /// There is something else than base64 in a PEM block.
    #[error("line {line}: this is no base64; get the file again, unaltered")]
    BadBase64 {
        /// Where.
        line: usize,
    },
    /// It is something else than what was wanted.
    #[error("{}this is {found}; {wanted} is needed", At(*line))]
    Wrong {
        /// Where it begins.
        line: usize,
        /// What it is.
        found: String,
        /// What was wanted.
        wanted: &'static str,
    },
    /// The private key is encrypted, and no passphrase was given.
    #[error("{}the private key is encrypted: its passphrase is needed", At(*line))]
    Encrypted {
        /// Where it begins.
        line: usize,
    },
    /// The passphrase does not open the private key.
    #[error("{}the passphrase does not open this private key", At(*line))]
    WrongPassphrase {
        /// Where it begins.
        line: usize,
    },
    /// The private key is encrypted in OpenSSL's old way, which protects it badly.
    #[error(
        "line {line}: the private key is encrypted in the old way of OpenSSL (Proc-Type: 4,ENCRYPTED), which is not read"
    )]
    OldEncryption {
        /// Where it begins.
        line: usize,
    },
    /// The private key is encrypted by a method, or at a cost, that is not taken.
    #[error("{}the private key is encrypted by a method, or at a cost, that is not taken", At(*line))]
    Encryption {
        /// Where it begins.
        line: usize,
        /// How it is written.
        encoded: Encoded,
    },
    /// A key of ECDSA in OpenSSH's form whose private number begins with zeros, which that form leaves out: one in 256 is like that.
    #[error("{}this ECDSA key of OpenSSH's has a short private number, which is not read in this form", At(*line))]
    Short {
        /// Where it begins.
        line: usize,
    },
    /// A form that this build does not read: it is without the feature `key-formats`.
    #[error("{}{encoded}, which this build does not read", At(*line))]
    NotBuiltIn {
        /// Where it begins.
        line: usize,
        /// Which form.
        encoded: Encoded,
    },
    /// The key itself is refused.
    #[error("{}this key can't be used", At(*line))]
    Key {
        /// Where it begins.
        line: usize,
        /// What is wrong with it.
        source: KeyError,
    },
}

/// How people call a private key in OpenSSH's own form.
pub(super) const OPENSSH_PRIVATE: &str = "an OpenSSH private key";

impl KeyFileError {
    pub(super) fn no_key(bytes: &[u8]) -> Self {
        let (looks_like, cure) = shape::looks_like(bytes);
        Self::NoKey { looks_like, cure }
    }

    /// A word for logs and metrics, such as `key-encrypted`: kebab-case, and the same in every version. That of the key's own
    /// error, where it is that.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "key-file-empty",
            Self::TooLong => "key-file-too-long",
            Self::NoKey { .. } => "key-file-without-key",
            Self::Unfinished { .. } => "key-unfinished",
            Self::BadBase64 { .. } => "key-bad-base64",
            Self::Wrong { .. } => "key-of-other-kind",
            Self::Encrypted { .. } => "key-encrypted",
            Self::WrongPassphrase { .. } => "key-wrong-passphrase",
            Self::OldEncryption { .. } => "key-old-encryption",
            Self::Encryption { .. } => "key-encryption-not-taken",
            Self::Short { .. } => "key-short",
            Self::NotBuiltIn { .. } => "key-form-not-built-in",
            Self::Key { source, .. } => source.code(),
        }
    }

    /// The way to what was wanted, if a command can make it of this file.
    pub fn cure(&self) -> Option<Cure> {
        match self {
            Self::NoKey { cure, .. } => *cure,
            Self::Encryption { encoded: Encoded::OpenSsh, .. } | Self::Short { .. } => Some(Cure::FromOpenSsh),
            Self::OldEncryption { .. } | Self::Encryption { .. } => Some(Cure::ToPkcs8),
            Self::Wrong { found, wanted: "a public key", .. } if found == OPENSSH_PRIVATE => {
                Some(Cure::PublicHalfOfOpenSsh)
            }
            Self::Wrong { found, wanted: "a public key", .. } if found.ends_with("private key") => {
                Some(Cure::PublicHalf)
            }
            Self::Wrong { found, wanted: "a public key", .. } if found == "a certificate request" => {
                Some(Cure::OfRequest)
            }
            Self::NotBuiltIn { encoded, .. } => Some(match encoded {
                Encoded::Certificate => Cure::OfCertificate,
                Encoded::OpenSshPublic => Cure::FromOpenSshPublic,
                Encoded::OpenSsh => Cure::FromOpenSsh,
                _ => Cure::ToPkcs8,
            }),
            _ => None,
        }
    }
}

/// A command that makes a key of a file that is none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cure {
    /// A private key in PEM, encrypted as is done today: it asks for the old and the new passphrase.
    ToPkcs8,
    /// The public half of a private key.
    PublicHalf,
    /// The public half of a private key in OpenSSH's own form, which OpenSSL does not read: a line such as `ssh-ed25519 AAAA...`.
    PublicHalfOfOpenSsh,
    /// The key of a certificate.
    OfCertificate,
    /// The key of a certificate request.
    OfRequest,
    /// The private key of a PKCS#12 archive.
    FromPkcs12,
    /// A public key of RFC 4716.
    FromSsh2,
    /// A private key of PuTTY.
    FromPutty,
    /// A private key of OpenSSH.
    FromOpenSsh,
    /// A line of OpenSSH's, such as `ssh-rsa AAAA...`.
    FromOpenSshPublic,
    /// Text in UTF-16.
    FromUtf16,
    /// A file in base64.
    FromBase64,
}

impl Cure {
    /// The command for a shell, which leaves `from` as it is and writes `to`. Both are put in as they are: quote them.
    pub fn command(self, from: &str, to: &str) -> String {
        match self {
            Self::ToPkcs8 => format!("openssl pkcs8 -topk8 -in {from} -out {to}"),
            Self::PublicHalf => format!("openssl pkey -in {from} -pubout -out {to}"),
            Self::PublicHalfOfOpenSsh => format!("ssh-keygen -y -f {from} > {to}"),
            Self::OfCertificate => format!("openssl x509 -in {from} -pubkey -noout -out {to}"),
            Self::OfRequest => format!("openssl req -in {from} -pubkey -noout -out {to}"),
            Self::FromPkcs12 => format!("openssl pkcs12 -in {from} -nocerts -out {to}"),
            Self::FromSsh2 => format!("ssh-keygen -i -f {from} > {to}"),
            Self::FromPutty => format!("puttygen {from} -O private-openssh -o {to}"),
            Self::FromOpenSsh => format!("cp {from} {to} && ssh-keygen -p -m PKCS8 -f {to}"),
            Self::FromOpenSshPublic => format!("ssh-keygen -e -m PKCS8 -f {from} > {to}"),
            // There may be a private key in it.
            Self::FromBase64 => format!("(umask 077 && base64 -d {from} > {to})"),
            Self::FromUtf16 => format!("(umask 077 && iconv -f UTF-16 -t UTF-8 {from} > {to})"),
        }
    }

    /// How the name of the new file may end, so that it says what is in it: `pub.pem`.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::ToPkcs8 | Self::FromOpenSsh | Self::FromPkcs12 => "pkcs8.pem",
            Self::PublicHalf | Self::OfCertificate | Self::OfRequest | Self::FromOpenSshPublic | Self::FromSsh2 => {
                "pub.pem"
            }
            Self::PublicHalfOfOpenSsh => "pub",
            Self::FromPutty => "openssh.pem",
            Self::FromUtf16 => "utf8.pem",
            Self::FromBase64 => "decoded.pem",
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
