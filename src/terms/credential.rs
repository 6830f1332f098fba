//! Credentials: what a client proves who it is with.

use crate::crypto::{ClientKey, VerifyingKey};
use crate::limits;
use crate::terms::error::Misuse;
use crate::terms::stretch::StretchedPassword;
use crate::wire::codec::{Bytes, CredentialMessage, Message as _, StretchedMessage, Text};
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
    /// A user name and a password. A client stretches it first where the server takes that ([`CredentialKind::Stretched`]).
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
    /// A user name and what the user's password is stretched to, at the client: [`StretchedPassword::check`] says whether it is good.
    Stretched {
        /// The user's name, as with a password.
        user: &'a str,
        /// What the password is stretched to.
        password: &'a StretchedPassword,
    },
}

/// What a server has read out of a credential's secret.
pub(crate) enum Shown {
    /// The secret itself.
    Secret,
    /// A key, whose signature was checked.
    Key(ClientKey),
    /// A stretched password, as it was announced.
    Stretched(StretchedPassword),
}

impl<'a> Credential<'a> {
    /// What kind this is.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Password { .. } => CredentialKind::Password,
            Self::Token(_) => CredentialKind::Token,
            Self::Key { .. } => CredentialKind::Key,
            Self::Stretched { .. } => CredentialKind::Stretched,
        }
    }

    /// The user name; `None` for a token.
    pub fn user(&self) -> Option<&'a str> {
        match self {
            Self::Password { user, .. } | Self::Key { user, .. } | Self::Stretched { user, .. } => Some(user),
            Self::Token(_) => None,
        }
    }

    /// Whether a password or a token keeps to the limits.
    pub(crate) fn check(self) -> Result<(), Misuse> {
        self.to_message(&[]).map(drop)
    }

    /// As a message, if it keeps to the limits; `shown` is the KeyProof of a key, or the StretchedPassword.
    pub(crate) fn to_message(self, shown: &'a [u8]) -> Result<CredentialMessage<'a>, Misuse> {
        let (user, secret) = match self {
            Self::Password { user, password } => (user, password),
            Self::Token(token) => ("", token),
            Self::Key { user, .. } | Self::Stretched { user, .. } => (user, shown),
        };
        let message = CredentialMessage { kind: self.kind().number(), user: Text(user), secret: Bytes(secret) };
        for (what, len, limit) in
            [("the user name", user.len(), limits::MAX_USER), ("the secret", secret.len(), max_secret(self.kind()))]
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

    /// From a message; `None` where it breaks the rules of PROTOCOL.md, "Credential". `shown` is what was read out of its secret.
    pub(crate) fn from_message(message: &CredentialMessage<'a>, shown: &'a Shown) -> Option<Self> {
        let (user, secret) = (message.user.0, message.secret.0);
        if !is_well_formed(message) {
            return None;
        }
        match (CredentialKind::from_number(message.kind)?, shown) {
            (CredentialKind::Password, Shown::Secret) => Some(Self::Password { user, password: secret }),
            (CredentialKind::Token, Shown::Secret) => Some(Self::Token(secret)),
            (CredentialKind::Key, Shown::Key(key)) => Some(Self::Key { user, key }),
            (CredentialKind::Stretched, Shown::Stretched(password)) => Some(Self::Stretched { user, password }),
            _ => None,
        }
    }

    /// What stands in for a credential that did not open, so that refusing it takes the usual work. No account can
    /// match it: a user name is never empty, and neither is a token. `stretched` is what stands in for a stretched password.
    pub(crate) fn decoy(kind: CredentialKind, stretched: Option<&'a StretchedPassword>) -> Self {
        let password = Self::Password { user: "", password: b"" };
        match kind {
            CredentialKind::Password => password,
            CredentialKind::Token => Self::Token(b""),
            CredentialKind::Key => NOBODYS_KEY.as_ref().map_or(password, |key| Self::Key { user: "", key }),
            CredentialKind::Stretched => stretched.map_or(password, |password| Self::Stretched { user: "", password }),
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
    let Some(kind) = CredentialKind::from_number(message.kind) else { return false };
    let is_user = match kind {
        CredentialKind::Password | CredentialKind::Key | CredentialKind::Stretched => is_user_name(user),
        CredentialKind::Token => user.is_empty(),
    };
    is_user && !secret.is_empty() && secret.len() <= max_secret(kind)
}

/// A stretched password has room for what it is stretched to beside the longest password.
fn max_secret(kind: CredentialKind) -> usize {
    if kind == CredentialKind::Stretched { StretchedMessage::MAX } else { limits::MAX_SECRET }
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
    /// A user name and what a password is stretched to, at the client, as the server announces it ([`crate::Stretching`]).
    Stretched = 4,
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Password, Self::Token, Self::Key, Self::Stretched];

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

    /// A name that stays the same from release to release, without spaces, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Token => "token",
            Self::Key => "key",
            Self::Stretched => "stretched-password",
        }
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
            Self::Stretched => "stretched password",
        })
    }
}
