//! Credentials: what a client proves who it is with.

use crate::crypto::{ClientKey, VerifyingKey};
use crate::limits;
use crate::terms::error::Misuse;
use crate::wire::codec::{Bytes, CredentialMessage, Text};
use core::fmt;
use std::sync::LazyLock;

/// A credential: borrowed, secret, and never printed.
///
/// ```compile_fail
/// let credential = countersign::Credential::Token(b"secret");
/// println!("{credential:?}"); // a credential has no `Debug`
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
#[allow(missing_debug_implementations, reason = "a credential is never printed")]
pub enum Credential<'a> {
    /// A user name and a password.
    Password {
        /// The user's name: 1 to 255 bytes of UTF-8 without control characters, compared byte for byte.
        user: &'a str,
        /// The password: 1 to 4096 bytes, compared byte for byte.
        password: &'a [u8],
    },
    /// A bearer token: 1 to 4096 bytes.
    Token(&'a [u8]),
    /// A user name and a key of the client's, which signs for this connection alone. At the server, [`ClientKey::public_only`]: the
    /// signature has been checked before anybody sees it, and what is left to say is whether the key is the user's.
    Key {
        /// The user's name, as with a password.
        user: &'a str,
        /// The key.
        key: &'a ClientKey,
    },
}

impl<'a> Credential<'a> {
    /// What kind this is.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Password { .. } => CredentialKind::Password,
            Self::Token(_) => CredentialKind::Token,
            Self::Key { .. } => CredentialKind::Key,
        }
    }

    /// The user name; `None` for a token.
    pub fn user(&self) -> Option<&'a str> {
        match self {
            Self::Password { user, .. } | Self::Key { user, .. } => Some(user),
            Self::Token(_) => None,
        }
    }

    /// As a message, if it keeps to the limits; `proof` is the KeyProof of a key.
    pub(crate) fn to_message(self, proof: &'a [u8]) -> Result<CredentialMessage<'a>, Misuse> {
        let (user, secret) = match self {
            Self::Password { user, password } => (user, password),
            Self::Token(token) => ("", token),
            Self::Key { user, .. } => (user, proof),
        };
        let message = CredentialMessage { kind: self.kind().number(), user: Text(user), secret: Bytes(secret) };
        for (what, len, limit) in
            [("the user name", user.len(), limits::MAX_USER), ("the secret", secret.len(), limits::MAX_SECRET)]
        {
            if len > limit {
                return Err(Misuse::TooLong { what, len, limit });
            }
        }
        if !is_well_formed(&message) {
            return Err(Misuse::BadInput("the user name or the secret"));
        }
        Ok(message)
    }

    /// From a message; `None` where it breaks the rules of PROTOCOL.md, "Credential". `key` is the one in the KeyProof, once its signature
    /// was checked.
    pub(crate) fn from_message(message: &CredentialMessage<'a>, key: Option<&'a ClientKey>) -> Option<Self> {
        let (user, secret) = (message.user.0, message.secret.0);
        if !is_well_formed(message) {
            return None;
        }
        Some(match CredentialKind::from_number(message.kind)? {
            CredentialKind::Password => Self::Password { user, password: secret },
            CredentialKind::Token => Self::Token(secret),
            CredentialKind::Key => Self::Key { user, key: key? },
        })
    }

    /// What stands in for a credential that did not open, so that refusing it takes the usual work. No account can
    /// match it: a user name is never empty, and neither is a token.
    pub(crate) fn decoy(kind: CredentialKind) -> Self {
        let password = Self::Password { user: "", password: b"" };
        match kind {
            CredentialKind::Password => password,
            CredentialKind::Token => Self::Token(b""),
            CredentialKind::Key => NOBODYS_KEY.as_ref().map_or(password, |key| Self::Key { user: "", key }),
        }
    }
}

/// The base point of Ed25519 (RFC 8032, section 5.1): the public key of the secret 1, which nobody has.
static NOBODYS_KEY: LazyLock<Option<ClientKey>> = LazyLock::new(|| {
    let mut point = [0x66; 32];
    point[0] = 0x58;
    VerifyingKey::from_ed25519(&point).ok().map(ClientKey::public_only)
});

fn is_well_formed(message: &CredentialMessage<'_>) -> bool {
    let (user, secret) = (message.user.0, message.secret.0);
    let is_user = match CredentialKind::from_number(message.kind) {
        Some(CredentialKind::Password | CredentialKind::Key) => is_user_name(user),
        Some(CredentialKind::Token) => user.is_empty(),
        None => false,
    };
    is_user && !secret.is_empty() && secret.len() <= limits::MAX_SECRET
}

/// 1 to 255 bytes, no control characters: a name that can stand in a log line.
fn is_user_name(user: &str) -> bool {
    !user.is_empty() && user.len() <= limits::MAX_USER && !user.chars().any(char::is_control)
}

/// The kind of a credential. The numbers are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum CredentialKind {
    /// A user name and a password.
    Password = 1,
    /// A bearer token.
    Token = 2,
    /// A user name and a signature by a key of the client's.
    Key = 3,
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Password, Self::Token, Self::Key];

    /// What a server takes unless it is told otherwise: what a verifier that knows nothing of keys can check.
    pub const DEFAULT: [Self; 2] = [Self::Password, Self::Token];

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Whether somebody might find it by trying: a token or a key has too many bits for that.
    pub(crate) const fn can_be_guessed(self) -> bool {
        !matches!(self, Self::Token | Self::Key)
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "password",
            Self::Token => "token",
            Self::Key => "key",
        })
    }
}
