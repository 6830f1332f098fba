//! Key files as tools write them: what is in one, and the keys of it.

#[cfg(feature = "key-formats")]
mod decode;
mod error;
mod shape;

pub use error::{Cure, KeyFileError};
#[cfg(feature = "key-formats")]
pub(in crate::crypto) use {decode::of_ssh_rsa, shape::is_openssh_certificate};

use super::pem::{PemBlock, PemBlocks, Unfinished, decode_base64};
use super::{KeyError, PrivateKey, PublicKey};
use crate::crypto::sign::{SigningKey, VerifyingKey};
use core::fmt;
use shape::Shape;
use zeroize::Zeroizing;

/// What a key file holds, in whatever form tools gave it: keys of RSA for a server, and of RSA, Ed25519 or P-256 for signatures.
///
/// | taken | with |
/// |---|---|
/// | PEM: PKCS#8, PKCS#1, SEC 1, SubjectPublicKeyInfo; on one line or many, with other text and other blocks around it | – |
/// | the same in DER, or in base64 without the lines around it | – |
/// | PKCS#8 encrypted by PBES2, OpenSSH's private keys and lines such as `ssh-ed25519 AAAA...`, certificates | the feature `key-formats` |
///
/// Whatever the form, the same key has the same fingerprint. Zeroized, never printed.
///
/// ```
/// use countersign::crypto::KeyFile;
///
/// # let text = include_bytes!("../../../tests/keys/rsa2048.pem");
/// # /*
/// let text = std::fs::read("server.pem")?;
/// # */
/// let file = KeyFile::parse(text)?;
/// let key = if file.needs_passphrase() { file.private_key(Some(b"correct horse"))? } else { file.private_key(None)? };
/// println!("{}", key.public_key().id());
/// # Ok::<(), countersign::crypto::KeyFileError>(())
/// ```
pub struct KeyFile(Vec<Entry>);

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoded {
    /// SubjectPublicKeyInfo (RFC 5280), `PUBLIC KEY` in PEM.
    Spki,
    /// RSAPublicKey (RFC 8017), `RSA PUBLIC KEY` in PEM.
    Pkcs1Public,
    /// An X.509 certificate: the key that it certifies. Nothing else in it is looked at, nor who signed it.
    Certificate,
    /// A line of OpenSSH's, such as `ssh-rsa AAAA...`.
    OpenSshPublic,
    /// PrivateKeyInfo (RFC 5208), `PRIVATE KEY` in PEM.
    Pkcs8,
    /// RSAPrivateKey (RFC 8017), `RSA PRIVATE KEY` in PEM.
    Pkcs1,
    /// ECPrivateKey (RFC 5915, after SEC 1), `EC PRIVATE KEY` in PEM.
    Sec1,
    /// EncryptedPrivateKeyInfo (RFC 5208), `ENCRYPTED PRIVATE KEY` in PEM.
    EncryptedPkcs8,
    /// OpenSSH's own, `OPENSSH PRIVATE KEY` in PEM; encrypted or not.
    OpenSsh,
}

impl Encoded {
    /// Whether it is a private key.
    pub const fn is_private(self) -> bool {
        matches!(self, Self::Pkcs8 | Self::Pkcs1 | Self::Sec1 | Self::EncryptedPkcs8 | Self::OpenSsh)
    }

    /// What stands under this label in PEM, if it is a key.
    fn of_label(label: &str) -> Option<Self> {
        Some(match label {
            "PUBLIC KEY" => Self::Spki,
            "RSA PUBLIC KEY" => Self::Pkcs1Public,
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Self::Certificate,
            "PRIVATE KEY" => Self::Pkcs8,
            "RSA PRIVATE KEY" => Self::Pkcs1,
            "EC PRIVATE KEY" => Self::Sec1,
            "ENCRYPTED PRIVATE KEY" => Self::EncryptedPkcs8,
            "OPENSSH PRIVATE KEY" => Self::OpenSsh,
            _ => return None,
        })
    }
}

/// As people call it: `PKCS#8`, `a certificate`.
impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spki => "SPKI",
            Self::Pkcs1Public | Self::Pkcs1 => "PKCS#1",
            Self::Certificate => "certificate",
            Self::OpenSshPublic | Self::OpenSsh => "OpenSSH",
            Self::Pkcs8 => "PKCS#8",
            Self::Sec1 => "SEC 1",
            Self::EncryptedPkcs8 => "encrypted PKCS#8",
        })
    }
}

/// A public key of a file, and how it is written there: one of RSA, or a [`VerifyingKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicSource<K = PublicKey> {
    /// The key.
    pub key: K,
    /// How it is written.
    pub encoded: Encoded,
    /// In which line it begins, from 1; none where the file is no text.
    pub line: Option<usize>,
}

/// Something in a file.
struct Entry {
    /// Where it begins; 0 where the file is no text.
    line: usize,
    what: What,
    content: Result<Zeroizing<Vec<u8>>, KeyFileError>,
}

#[derive(Clone)]
enum What {
    Key(Encoded),
    /// A line of OpenSSH's, which begins with the name of its algorithm.
    Line(String),
    /// Something else, by its label or another name.
    Other(String),
}

/// Longer than any chain of certificates with its key; longer files are not searched.
pub(crate) const MAX_KEY_FILE: usize = 1 << 20;

impl KeyFile {
    /// Looks at the content of a file, up to 1 MiB.
    ///
    /// # Errors
    /// [`KeyFileError::NoKey`] where there is nothing like a key in it; what is wrong with a key shows when it is asked for.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        if bytes.len() > MAX_KEY_FILE {
            return Err(KeyFileError::TooLong);
        }
        // As some editors of Windows begin a file.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.trim_ascii().is_empty() {
            return Err(KeyFileError::Empty);
        }
        if bytes.first() == Some(&0x30) && shape::is_sequence(bytes) {
            return Ok(Self(vec![Entry::of_der(0, shape::trim(bytes).to_vec().into())?]));
        }
        let mut entries: Vec<Entry> = PemBlocks::of(bytes).map(Entry::of_pem).collect();
        entries.extend(shape::ssh_lines(bytes).map(|(line, algorithm, blob)| Entry::of_ssh(line, algorithm, blob)));
        if entries.is_empty() {
            let whole = decode_base64(bytes).ok().filter(|der| shape::is_sequence(der));
            let der = whole.ok_or_else(|| KeyFileError::no_key(bytes))?;
            entries.push(Entry::of_der(1, der)?);
        }
        Ok(Self(entries))
    }

    /// Whether its private key of RSA can't be read without a passphrase; for one that signs, see whether
    /// [`KeyFile::signing_key`] says so.
    pub fn needs_passphrase(&self) -> bool {
        matches!(self.private_key(None), Err(KeyFileError::Encrypted { .. }))
    }

    /// Whether there is a private key in it, of whatever algorithm.
    pub fn has_private_key(&self) -> bool {
        self.0.iter().any(Entry::is_private)
    }

    /// How its first private key is written, if there is one.
    pub fn private_encoded(&self) -> Option<Encoded> {
        self.0.iter().filter_map(|entry| entry.what.encoded()).find(|encoded| encoded.is_private())
    }

    /// The private key of a server: the first one of RSA, where there are several. What else stands in the file is no matter.
    ///
    /// Deriving the key from a passphrase takes as long as whoever encrypted it wanted, from milliseconds to seconds; costs
    /// beyond that are refused.
    ///
    /// # Errors
    /// [`KeyFileError`], with the line.
    pub fn private_key(&self, passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyFileError> {
        let mut other = None;
        for entry in self.0.iter().filter(|entry| entry.is_private()) {
            match entry.private_key(passphrase) {
                Err(error @ KeyFileError::Key { source: KeyError::NotRsa(_) | KeyError::Pss, .. }) => {
                    other.get_or_insert(error);
                }
                Err(error @ KeyFileError::Wrong { .. }) => {
                    other.get_or_insert(error);
                }
                done => return done,
            }
        }
        Err(other.or_else(|| self.wrong("a private key")).unwrap_or(KeyFileError::Empty))
    }

    /// The private key of a signer: the first one of an algorithm that is taken, where there are several.
    ///
    /// A passphrase costs what [`KeyFile::private_key`] says.
    ///
    /// # Errors
    /// [`KeyFileError`], with the line.
    pub fn signing_key(&self, passphrase: Option<&[u8]>) -> Result<SigningKey, KeyFileError> {
        let mut other = None;
        for entry in self.0.iter().filter(|entry| entry.is_private()) {
            match entry.signing_key(passphrase) {
                Err(error @ KeyFileError::Key { source: KeyError::NotSigning(_) | KeyError::Curve(_), .. }) => {
                    other.get_or_insert(error);
                }
                Err(error @ KeyFileError::Wrong { .. }) => {
                    other.get_or_insert(error);
                }
                done => return done,
            }
        }
        Err(other.or_else(|| self.wrong("a private key")).unwrap_or(KeyFileError::Empty))
    }

    /// All its public keys of RSA, for any of them to be trusted, as for a rotation; at least one. Of certificates only the first one's
    /// key is taken: those behind it are of its issuers.
    ///
    /// # Errors
    /// [`KeyFileError`], with the line, where one can't be used, or there is none.
    pub fn public_keys(&self) -> Result<Vec<PublicSource>, KeyFileError> {
        self.every_public(Entry::public_key)
    }

    /// All its public keys that verify signatures; at least one, and of certificates only the first one's.
    ///
    /// # Errors
    /// [`KeyFileError`], with the line, where one can't be used, or there is none.
    pub fn verifying_keys(&self) -> Result<Vec<PublicSource<VerifyingKey>>, KeyFileError> {
        self.every_public(Entry::verifying_key)
    }

    fn every_public<K>(
        &self,
        read: impl Fn(&Entry, Encoded) -> Result<K, KeyFileError>,
    ) -> Result<Vec<PublicSource<K>>, KeyFileError> {
        let (mut keys, mut certificates) = (Vec::new(), 0_usize);
        for entry in &self.0 {
            let Some(encoded) = entry.what.encoded() else { continue };
            certificates = certificates.saturating_add(usize::from(encoded == Encoded::Certificate));
            if encoded.is_private() || (encoded == Encoded::Certificate && certificates > 1) {
                continue;
            }
            let line = Some(entry.line).filter(|&line| line > 0);
            keys.push(PublicSource { key: read(entry, encoded)?, encoded, line });
        }
        if keys.is_empty() { Err(self.wrong("a public key").unwrap_or(KeyFileError::Empty)) } else { Ok(keys) }
    }

    pub(super) fn first_public_key(&self) -> Result<PublicKey, KeyFileError> {
        self.public_keys()?.into_iter().next().map(|source| source.key).ok_or(KeyFileError::Empty)
    }

    /// That what is there is something else.
    fn wrong(&self, wanted: &'static str) -> Option<KeyFileError> {
        self.0.first().map(|entry| match &entry.content {
            Err(error) => error.clone(),
            Ok(_) => KeyFileError::Wrong { line: entry.line, found: entry.name(), wanted },
        })
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").finish_non_exhaustive()
    }
}

impl Entry {
    /// What the label says, unless the bytes are clearly something else: tools mix up PKCS#1 with the forms around it.
    fn of_pem(block: Result<PemBlock<'_>, Unfinished<'_>>) -> Self {
        let (label, line, content) = match block {
            Ok(block) => (block.label.to_owned(), block.line, block.decode()),
            Err(block) => (block.label.to_owned(), block.line, Err(block.into())),
        };
        let Some(labelled) = Encoded::of_label(&label) else {
            return Self { line, what: What::Other(label), content };
        };
        let content =
            content.map(|bytes| if shape::is_sequence(&bytes) { shape::trim(&bytes).to_vec().into() } else { bytes });
        let found =
            content.as_ref().ok().filter(|_| labelled != Encoded::OpenSsh).and_then(|der| Shape::of(der).encoded());
        Self { line, what: What::Key(found.unwrap_or(labelled)), content }
    }

    fn of_der(line: usize, der: Zeroizing<Vec<u8>>) -> Result<Self, KeyFileError> {
        let shape = Shape::of(&der);
        match shape.encoded() {
            Some(encoded) => Ok(Self { line, what: What::Key(encoded), content: Ok(der) }),
            None => Err(shape.no_key()),
        }
    }

    fn of_ssh(line: usize, algorithm: &str, blob: &[u8]) -> Self {
        let content = decode_base64(blob).map_err(|_| KeyFileError::BadBase64 { line });
        Self { line, what: What::Line(algorithm.to_owned()), content }
    }

    fn is_private(&self) -> bool {
        match &self.what {
            What::Key(encoded) => encoded.is_private(),
            What::Line(_) => false,
            What::Other(label) => label.ends_with("PRIVATE KEY"),
        }
    }

    /// What it is, for people.
    fn name(&self) -> String {
        match &self.what {
            What::Key(Encoded::Certificate) => "a certificate".to_owned(),
            What::Key(Encoded::Sec1) => "an elliptic-curve private key".to_owned(),
            What::Key(Encoded::OpenSsh) => error::OPENSSH_PRIVATE.to_owned(),
            What::Key(encoded) if encoded.is_private() => "a private key".to_owned(),
            What::Key(_) | What::Line(_) => "a public key".to_owned(),
            What::Other(label) => match label.as_str() {
                "DSA PRIVATE KEY" => "a DSA private key".to_owned(),
                "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => "a certificate request".to_owned(),
                label => format!("a PEM block {}", printable(label)),
            },
        }
    }

    fn content(&self) -> Result<&[u8], KeyFileError> {
        self.content.as_ref().map(|bytes| bytes.as_slice()).map_err(Clone::clone)
    }

    fn bad(&self) -> impl Fn(KeyError) -> KeyFileError {
        let line = self.line;
        move |source| KeyFileError::Key { line, source }
    }

    fn private_key(&self, passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyFileError> {
        let bytes = self.content()?;
        match &self.what {
            What::Key(Encoded::Pkcs8) => PrivateKey::from_any_pkcs8_der(bytes).map_err(self.bad()),
            What::Key(Encoded::Pkcs1) => PrivateKey::from_pkcs1_der(bytes).map_err(self.bad()),
            What::Key(encoded) if *encoded != Encoded::Sec1 => {
                decode::private_key(*encoded, bytes, passphrase, self.line)
            }
            _ => Err(KeyFileError::Wrong { line: self.line, found: self.name(), wanted: "an RSA private key" }),
        }
    }

    fn signing_key(&self, passphrase: Option<&[u8]>) -> Result<SigningKey, KeyFileError> {
        let bytes = self.content()?;
        match &self.what {
            What::Key(Encoded::Pkcs8) => SigningKey::from_pkcs8_der(bytes).map_err(self.bad()),
            What::Key(Encoded::Pkcs1) => PrivateKey::from_pkcs1_der(bytes).map(SigningKey::from).map_err(self.bad()),
            What::Key(Encoded::Sec1) => SigningKey::from_sec1_der(bytes, None).map_err(self.bad()),
            What::Key(encoded) => decode::signing_key(*encoded, bytes, passphrase, self.line),
            _ => Err(KeyFileError::Wrong { line: self.line, found: self.name(), wanted: "a key for signatures" }),
        }
    }

    fn public_key(&self, encoded: Encoded) -> Result<PublicKey, KeyFileError> {
        self.check_line(|algorithm| algorithm == "ssh-rsa", KeyError::NotRsa)?;
        let bytes = self.content()?;
        match encoded {
            Encoded::Spki => PublicKey::from_any_spki_der(bytes).map_err(self.bad()),
            Encoded::Pkcs1Public => PublicKey::from_pkcs1_der(bytes).map_err(self.bad()),
            _ => decode::public_key(encoded, bytes, self.line),
        }
    }

    fn verifying_key(&self, encoded: Encoded) -> Result<VerifyingKey, KeyFileError> {
        const TAKEN: [&str; 3] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"];
        self.check_line(|algorithm| TAKEN.contains(&algorithm), KeyError::NotSigning)?;
        let bytes = self.content()?;
        match encoded {
            Encoded::Spki => VerifyingKey::from_any_spki_der(bytes).map_err(self.bad()),
            Encoded::Pkcs1Public => PublicKey::from_pkcs1_der(bytes).map(VerifyingKey::from).map_err(self.bad()),
            _ => decode::verifying_key(encoded, bytes, self.line),
        }
    }

    /// That the algorithm of a line is taken, before anything else is looked at.
    fn check_line(
        &self,
        is_taken: impl Fn(&str) -> bool,
        error: impl Fn(String) -> KeyError,
    ) -> Result<(), KeyFileError> {
        match &self.what {
            What::Line(algorithm) if shape::is_openssh_certificate(algorithm.as_bytes()) => {
                Err(self.bad()(KeyError::OpenSshCertificate))
            }
            What::Line(algorithm) if !is_taken(algorithm) => Err(self.bad()(error(algorithm.clone()))),
            _ => Ok(()),
        }
    }
}

impl What {
    /// How it is written, if it is a key.
    fn encoded(&self) -> Option<Encoded> {
        match self {
            Self::Key(encoded) => Some(*encoded),
            Self::Line(_) => Some(Encoded::OpenSshPublic),
            Self::Other(_) => None,
        }
    }
}

/// A label of a stranger's file, without what a terminal would act on.
fn printable(label: &str) -> String {
    label.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect()
}

/// Without the feature they are named, with the way to convert them.
#[cfg(not(feature = "key-formats"))]
mod decode {
    use super::{Encoded, KeyFileError, PrivateKey, PublicKey, SigningKey, VerifyingKey};

    type Taken<K> = Result<K, KeyFileError>;

    pub(super) fn private_key(encoded: Encoded, _: &[u8], _: Option<&[u8]>, line: usize) -> Taken<PrivateKey> {
        Err(KeyFileError::NotBuiltIn { line, encoded })
    }

    pub(super) fn signing_key(encoded: Encoded, _: &[u8], _: Option<&[u8]>, line: usize) -> Taken<SigningKey> {
        Err(KeyFileError::NotBuiltIn { line, encoded })
    }

    pub(super) fn public_key(encoded: Encoded, _: &[u8], line: usize) -> Taken<PublicKey> {
        Err(KeyFileError::NotBuiltIn { line, encoded })
    }

    pub(super) fn verifying_key(encoded: Encoded, _: &[u8], line: usize) -> Taken<VerifyingKey> {
        Err(KeyFileError::NotBuiltIn { line, encoded })
    }
}
