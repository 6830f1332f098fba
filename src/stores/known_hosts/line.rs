//! One line of a known-hosts file.

use super::name::Name;
use crate::crypto::{KeyError, KeyExchange, KeyId, PublicKey};
use crate::limits;
use crate::stores::date::{Date, LAST};
use crate::stores::files::text::NoText;
use crate::terms::error::codes;
use crate::time::UnixTime;
use base64ct::{Base64, Base64Unpadded, Encoding};
use core::fmt;

/// What a key was accepted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Accepted {
    /// It was the first that the server showed, and nobody checked it.
    FirstUse,
    /// A certificate said so.
    Certificate,
    /// A signed manifest said so.
    Manifest,
    /// Somebody compared its fingerprint.
    Confirmed,
    /// Its fingerprint was given.
    Pin,
}

impl Accepted {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::FirstUse, Self::Certificate, Self::Manifest, Self::Confirmed, Self::Pin];

    /// The word in a file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::FirstUse => "first-use",
            Self::Certificate => "certificate",
            Self::Manifest => "manifest",
            Self::Confirmed => "confirmed",
            Self::Pin => "pin",
        }
    }

    /// Whether it follows from evidence that may name another key tomorrow.
    pub(super) const fn is_evidence(self) -> bool {
        matches!(self, Self::Certificate | Self::Manifest)
    }

    /// How much it says: more where it is more.
    pub(super) const fn strength(self) -> u8 {
        match self {
            Self::FirstUse => 0,
            Self::Certificate | Self::Manifest => 1,
            Self::Confirmed | Self::Pin => 2,
        }
    }
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A line: servers, and a key that they have, or must not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(super) line: usize,
    pub(super) is_revoked: bool,
    pub(super) names: Vec<Name>,
    pub(super) id: KeyId,
    pub(super) key: Option<PublicKey>,
    pub(super) accepted: Option<Accepted>,
    pub(super) floor: Option<KeyExchange>,
    pub(super) since: Option<UnixTime>,
    pub(super) until: Option<UnixTime>,
    /// From a `#` on.
    pub(super) note: String,
}

impl Entry {
    /// The line's number; the first is 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Whether the key is revoked for these servers.
    pub fn is_revoked(&self) -> bool {
        self.is_revoked
    }

    /// The servers' names as they stand in the line: hashed ones as hashes, `*` for all.
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(ToString::to_string).collect()
    }

    /// The key's fingerprint.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The whole key. A revoked one may be known by its fingerprint alone.
    pub fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    /// What the key was accepted on; a revoked one may say nothing.
    pub fn accepted(&self) -> Option<Accepted> {
        self.accepted
    }

    /// The weakest key exchange to keep with the server: [`KeyExchange::X25519`], forward secrecy, where the line does not say.
    pub fn floor(&self) -> KeyExchange {
        self.floor.unwrap_or(KeyExchange::X25519)
    }

    /// When the key was accepted, if the line says so.
    pub fn since(&self) -> Option<UnixTime> {
        self.since
    }

    /// When what the key was accepted on runs out, if it does. A revocation never does.
    pub fn until(&self) -> Option<UnixTime> {
        self.until
    }

    /// Whether the key is good at this time.
    pub(super) fn is_live(&self, now: UnixTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it is about the server of this name, which is in lower case.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.covers(name))
    }

    /// Reads the content of a line.
    pub(super) fn parse(text: &str, line: usize) -> Result<Self, LineError> {
        let (fields, note) = match text.match_indices('#').find(|&(at, _)| is_apart(text, at)) {
            Some((at, _)) => text.split_at_checked(at).unwrap_or((text, "")),
            None => (text, ""),
        };
        let mut words = fields.split_ascii_whitespace().peekable();
        let is_revoked = match words.peek() {
            Some(&"@revoked") => words.next().is_some(),
            Some(word) if word.starts_with('@') => return Err(LineError::Marker),
            _ => false,
        };
        let names = words.next().ok_or(LineError::Name)?;
        if words.peek().is_some_and(|word| ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| word.starts_with(kind))) {
            return Err(LineError::OfOpenSsh);
        }
        let names: Option<Vec<Name>> = names.split(',').map(Name::parse).collect();
        let names = names.ok_or(LineError::Name)?;
        if !is_revoked && names.contains(&Name::All) {
            return Err(LineError::All);
        }
        let mut entry = Self {
            line,
            is_revoked,
            names,
            id: KeyId::from_bytes([0; limits::KEY_ID]),
            key: None,
            accepted: None,
            floor: None,
            since: None,
            until: None,
            note: note.to_owned(),
        };
        let mut id = None;
        for word in words {
            let (field, value) = word.split_once('=').ok_or(LineError::Field)?;
            match field {
                "key" if entry.key.is_none() => entry.key = Some(parse_key(value)?),
                "id" if id.is_none() => id = Some(value.parse().map_err(|_| LineError::Id)?),
                "accepted" if entry.accepted.is_none() => entry.accepted = Some(parse_accepted(value)?),
                "floor" if entry.floor.is_none() => entry.floor = Some(parse_floor(value)?),
                "since" if entry.since.is_none() => entry.since = Some(parse_date(value)?),
                "until" if entry.until.is_none() => entry.until = Some(parse_date(value)?),
                _ => return Err(LineError::Field),
            }
        }
        entry.id = match (&entry.key, id) {
            (Some(key), None) => key.id(),
            (Some(key), Some(id)) if key.id() == id => id,
            (Some(_), Some(_)) => return Err(LineError::OtherId),
            (None, Some(id)) if is_revoked => id,
            (None, _) => return Err(LineError::NoKey),
        };
        if !is_revoked && entry.accepted.is_none() {
            return Err(LineError::NotAccepted);
        }
        Ok(entry)
    }
}

/// The key comes last: of a line that was cut, nothing may be missing that binds it.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_revoked {
            f.write_str("@revoked ")?;
        }
        for (index, name) in self.names.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { "," })?;
        }
        if let Some(accepted) = self.accepted {
            write!(f, " accepted={accepted}")?;
        }
        for (field, date) in [("since", self.since), ("until", self.until)] {
            if let Some(date) = date {
                write!(f, " {field}={}", Date(date.min(LAST)))?;
            }
        }
        if let Some(floor) = self.floor {
            write!(f, " floor={floor}")?;
        }
        match &self.key {
            Some(key) => write!(f, " key={}", Base64::encode_string(key.spki_der()))?,
            None => write!(f, " id={}", self.id)?,
        }
        if self.note.is_empty() { Ok(()) } else { write!(f, " {}", self.note) }
    }
}

/// Whether a word begins here.
fn is_apart(text: &str, at: usize) -> bool {
    text.get(..at).is_some_and(|front| front.ends_with(|c: char| c.is_ascii_whitespace()))
}

fn parse_key(text: &str) -> Result<PublicKey, LineError> {
    let der = match text.ends_with('=') {
        true => Base64::decode_vec(text),
        false => Base64Unpadded::decode_vec(text),
    };
    PublicKey::from_spki_der(&der.map_err(|_| LineError::NotBase64)?).map_err(LineError::Key)
}

fn parse_accepted(text: &str) -> Result<Accepted, LineError> {
    Accepted::ALL.into_iter().find(|accepted| accepted.word() == text).ok_or(LineError::Accepted)
}

fn parse_floor(text: &str) -> Result<KeyExchange, LineError> {
    KeyExchange::ALL.into_iter().find(|exchange| exchange.to_string() == text).ok_or(LineError::Floor)
}

fn parse_date(text: &str) -> Result<UnixTime, LineError> {
    UnixTime::from_rfc3339(text).ok_or(LineError::Date)
}

/// A line that can't be read, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {error}")]
#[non_exhaustive]
pub struct BrokenLine {
    /// The line's number; the first is 1.
    pub number: usize,
    /// What is wrong with it.
    pub error: LineError,
}

impl BrokenLine {
    /// That of what is wrong with it.
    pub fn code(&self) -> &'static str {
        self.error.code()
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The line begins with a marker that is not known.
    #[error("the marker in front is not @revoked, which is the only one")]
    Marker,
    /// The names are missing or not allowed.
    #[error(
        "not a comma-separated list of server names such as db.example:4500 or [2001:db8::1]:4500: 1 to {} printable ASCII \
         characters each, no wildcards",
        super::name::MAX_NAME
    )]
    Name,
    /// A key that is good for every server.
    #[error("* stands for all servers, and only a @revoked key can be theirs")]
    All,
    /// A word is none of the fields, or one comes twice.
    #[error(
        "a field is unknown, repeated, or not of the form field=value; expected accepted=, since=, until=, floor=, and key= or \
         id=; what follows a # is a comment"
    )]
    Field,
    /// The line has no key.
    #[error("key= is missing; only a @revoked line can do with id=, the fingerprint alone")]
    NoKey,
    /// The key is not base64.
    #[error("key= is not the base64 of a SubjectPublicKeyInfo, or was cut short")]
    NotBase64,
    /// The key is not one that is used.
    #[error("key= is not the SubjectPublicKeyInfo of an acceptable key: {0}")]
    Key(KeyError),
    /// The fingerprint is none.
    #[error("id= is not SHA256: and 43 characters of unpadded base64")]
    Id,
    /// The fingerprint is another key's.
    #[error("id= is the fingerprint of another key than key=")]
    OtherId,
    /// The line does not say what the key was accepted on.
    #[error("accepted= is missing; expected first-use, certificate, manifest, confirmed or pin")]
    NotAccepted,
    /// What the key was accepted on is not known.
    #[error("accepted= is not first-use, certificate, manifest, confirmed or pin")]
    Accepted,
    /// The floor is no key exchange.
    #[error("floor= is not rsa, rsa+x25519 or rsa+x25519mlkem768")]
    Floor,
    /// A date is none.
    #[error("since= or until= is not a date such as 2027-01-31T00:00:00Z")]
    Date,
    /// The line has a byte that is not UTF-8.
    #[error("not UTF-8 text: see column {column}; the file may be in Latin-1, and has to be saved as UTF-8")]
    NotUtf8 {
        /// Where, in bytes; the first is 1.
        column: usize,
    },
    /// The line has zero bytes.
    #[error("there are zero bytes in it: the file may be in UTF-16, and has to be saved as UTF-8")]
    ZeroBytes,
    /// The line is longer than 64 KiB.
    #[error("longer than {} KiB, which is as much as a line may have", limits::MAX_LINE >> 10)]
    TooLong,
    /// The line is one of OpenSSH's.
    #[error("a line of OpenSSH's known_hosts: those are keys of SSH servers, and of no use here")]
    OfOpenSsh,
    /// The file's last line has no line feed.
    #[error("the file ends without a line feed behind it, so it may be cut short; put one there if it is whole")]
    Unended,
}

codes!(LineError {
    Self::Marker => "bad-marker",
    Self::Name => "bad-name",
    Self::All => "key-for-all",
    Self::Field => "bad-field",
    Self::NoKey => "key-missing",
    Self::NotBase64 => "key-not-base64",
    Self::Key(_) => "bad-key",
    Self::Id => "bad-fingerprint",
    Self::OtherId => "other-fingerprint",
    Self::NotAccepted => "accepted-missing",
    Self::Accepted => "bad-accepted",
    Self::Floor => "bad-floor",
    Self::Date => "bad-date",
    Self::NotUtf8 { .. } => "not-utf8",
    Self::ZeroBytes => "zero-bytes",
    Self::TooLong => "line-too-long",
    Self::OfOpenSsh => "other-file",
    Self::Unended => "line-unended",
});

impl From<NoText> for LineError {
    fn from(error: NoText) -> Self {
        match error {
            NoText::TooLong => Self::TooLong,
            NoText::ZeroBytes => Self::ZeroBytes,
            NoText::NotUtf8 { column } => Self::NotUtf8 { column },
        }
    }
}
