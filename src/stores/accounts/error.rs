//! Why accounts can't be changed.

use super::LineError;
use crate::limits;
use crate::terms::addresses::BadAddressPattern;
use crate::terms::error::{Misuse, codes};

/// Why an account could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// There is an account of this name.
    #[error("user {0} exists already")]
    Exists(String),
    /// There is no account of this name.
    #[error("there is no user {0}")]
    Unknown(String),
    /// A line that can't be read has this name.
    #[error("line {line} is of user {name} and can't be read; mend it, or remove the user")]
    Broken {
        /// The name.
        name: String,
        /// The line's number; the first is 1.
        line: usize,
    },
    /// What a store keeps of this account can't be read.
    #[error("what is stored of user {0} can't be read ({1}); mend it, or remove the user")]
    Unreadable(String, LineError),
    /// The name can't stand in an account file.
    #[error(
        "not a user name: 1 to {} bytes, no spaces, no : or =, no control or invisible characters, no # or @ in front",
        limits::MAX_USER
    )]
    BadName,
    /// The password is empty or longer than a login can carry.
    #[error("a password has 1 to {} bytes", limits::MAX_SECRET)]
    BadPassword,
    /// The password is easily guessed.
    #[error("a password has at least {} characters, and is not the user's name", limits::MIN_PASSWORD)]
    WeakPassword,
    /// The password hash is none that can be verified here.
    #[error("not a password hash that can be used here")]
    BadHash(#[source] LineError),
    /// The permissions are not allowed.
    #[error(transparent)]
    Permissions(#[from] Misuse),
    /// The account has as many tokens as it may have.
    #[error("user {0} has as many tokens as an account may have; revoke them, or some by hand")]
    TooManyTokens(String),
    /// The account has as many keys as it may have.
    #[error("user {0} has as many keys as an account may have; remove one first")]
    TooManyKeys(String),
    /// The account has no second factor that recovery codes could be for.
    #[error("user {0} has no second factor")]
    NoTotp(String),
    /// Another account has one of its tokens.
    #[error("a token of user {0} belongs to somebody else")]
    DuplicateToken(String),
    /// Something of the account is a text that the store can't have: a character that a database's encoding has not.
    #[error("user {0} has a character that the encoding of the database can't hold")]
    Encoding(String),
    /// The name can't be that of a role.
    #[error("not a role's name: 1 to {} letters, digits, dots, dashes and underscores", limits::MAX_ROLE)]
    BadRole,
    /// There is a role of this name, or a line that can't be read has it.
    #[error("role {0} exists already")]
    RoleExists(String),
    /// There is no role of this name.
    #[error("there is no role {0}")]
    UnknownRole(String),
    /// An account has the role.
    #[error("user {user} has the role {role}; take it from everybody first")]
    RoleInUse {
        /// The role.
        role: String,
        /// One of those who have it.
        user: String,
    },
    /// The account has as many roles as it may have.
    #[error("user {0} has as many roles as an account may have")]
    TooManyRoles(String),
    /// A list of addresses is none.
    #[error(transparent)]
    From(#[from] BadAddressPattern),
    /// The operating system gave no randomness, the hash found no memory, or no account file may hold its parameters.
    #[error("hashing failed: out of memory or randomness, or parameters beyond the limits")]
    Hashing,
}

codes!(AccountError {
    Self::Exists(_) => "account-exists",
    Self::Unknown(_) => "unknown-account",
    Self::Broken { .. } => "account-line-broken",
    Self::Unreadable(..) => "account-unreadable",
    Self::BadName => "bad-name",
    Self::BadPassword => "bad-password",
    Self::WeakPassword => "weak-password",
    Self::BadHash(error) => error.code(),
    Self::Permissions(error) => error.code(),
    Self::TooManyKeys(_) => "too-many-keys",
    Self::TooManyTokens(_) => "too-many-tokens",
    Self::NoTotp(_) => "no-totp",
    Self::DuplicateToken(_) => "duplicate-token",
    Self::Encoding(_) => "not-encodable",
    Self::BadRole => "bad-role",
    Self::RoleExists(_) => "role-exists",
    Self::UnknownRole(_) => "unknown-role",
    Self::RoleInUse { .. } => "role-in-use",
    Self::TooManyRoles(_) => "too-many-roles",
    Self::From(_) => "bad-addresses",
    Self::Hashing => "hashing-failed",
});
