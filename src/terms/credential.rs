//! Credentials: what a client proves who it is with.

use crate::limits;
use crate::terms::error::Misuse;
use crate::wire::codec::{Bytes, CredentialMessage, Text};
use core::fmt;

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
}

impl<'a> Credential<'a> {
    /// What kind this is.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Password { .. } => CredentialKind::Password,
            Self::Token(_) => CredentialKind::Token,
        }
    }

    /// The user name; `None` for a token.
    pub fn user(&self) -> Option<&'a str> {
        match self {
            Self::Password { user, .. } => Some(user),
            Self::Token(_) => None,
        }
    }

    /// As a message, if it keeps to the limits.
    pub(crate) fn to_message(self) -> Result<CredentialMessage<'a>, Misuse> {
        let (user, secret) = match self {
            Self::Password { user, password } => (user, password),
            Self::Token(token) => ("", token),
        };
        let message = CredentialMessage { kind: self.kind().number(), user: Text(user), secret: Bytes(secret) };
        for (what, len, limit) in
            [("the user name", user.len(), limits::MAX_USER), ("the secret", secret.len(), limits::MAX_SECRET)]
        {
            if len > limit {
                return Err(Misuse::TooLong { what, len, limit });
            }
        }
        if Self::from_message(&message).is_none() {
            return Err(Misuse::BadInput("the user name or the secret"));
        }
        Ok(message)
    }

    /// From a message; `None` where it breaks the rules of PROTOCOL.md, "Credential".
    pub(crate) fn from_message(message: &CredentialMessage<'a>) -> Option<Self> {
        let (user, secret) = (message.user.0, message.secret.0);
        if secret.is_empty() || secret.len() > limits::MAX_SECRET {
            return None;
        }
        match CredentialKind::from_number(message.kind)? {
            CredentialKind::Password if is_user_name(user) => Some(Self::Password { user, password: secret }),
            CredentialKind::Token if user.is_empty() => Some(Self::Token(secret)),
            _ => None,
        }
    }

    /// What stands in for a credential that did not open, so that refusing it takes the usual work. No account can
    /// match it: a user name is never empty, and neither is a token.
    pub(crate) fn decoy(kind: CredentialKind) -> Self {
        match kind {
            CredentialKind::Password => Self::Password { user: "", password: b"" },
            CredentialKind::Token => Self::Token(b""),
        }
    }
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
    // 3 is set aside for signatures.
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Password, Self::Token];

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "password",
            Self::Token => "token",
        })
    }
}
