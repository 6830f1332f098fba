//! Stored password hashes: Argon2id, as PHC strings, and behind a feature what other programs have stored.
//!
//! Each format has a module: what a hash of it costs, read from the stored text and bounded; whether a password is the one of it;
//! and a text of the same cost that no password is known for, so that a check against nothing is a check like any other.

mod argon2;
#[cfg(feature = "password-formats")]
mod formats;
mod memory;
mod parameters;

use super::LineError;
use crate::terms::error::Reason;
pub(super) use argon2::{MAX_LANES, MAX_MEMORY, MAX_PASSES, MAX_WORK};
pub use parameters::HashParameters;

/// Least bytes of a stored hash: one with fewer was cut, or can be guessed.
const MIN_OUTPUT: usize = 16;

/// Longest stored hash, in bytes. The longest that is made has 200.
const MAX_TEXT: usize = 512;

/// What computing a hash costs, and all that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    Argon2(argon2::Cost),
    #[cfg(feature = "password-formats")]
    Other(formats::Cost),
}

impl Cost {
    /// That of a hash that this module can and will verify against, checked now so that it can't fail at a login.
    pub(super) fn of(text: &str) -> Result<Self, LineError> {
        let inner = unwrapped(text);
        if inner.len() > MAX_TEXT {
            return Err(LineError::Password);
        }
        if argon2::is(inner) {
            return argon2::Cost::of(inner).map(Self::Argon2);
        }
        #[cfg(feature = "password-formats")]
        if let Some(cost) = formats::Cost::of(inner) {
            return cost.map(Self::Other);
        }
        Err(what_else(inner))
    }

    /// A hash of this cost that no password is known for. Always the same text for the same cost, and [`Cost::of`] reads it.
    pub(super) fn example(&self) -> String {
        match self {
            Self::Argon2(cost) => cost.example(),
            #[cfg(feature = "password-formats")]
            Self::Other(cost) => cost.example(),
        }
    }

    /// Whether new hashes may still be made like this.
    pub(super) fn is_up_to_date(&self) -> bool {
        match self {
            Self::Argon2(cost) => cost.is_up_to_date(),
            #[cfg(feature = "password-formats")]
            Self::Other(_) => false,
        }
    }
}

/// What an unknown user's password costs where there is no stored hash to imitate: Argon2id at its defaults.
impl Default for Cost {
    fn default() -> Self {
        Self::Argon2(argon2::Cost::default())
    }
}

/// Whether the password is the one of this hash.
pub(super) fn matches(text: &str, password: &[u8]) -> Result<bool, Reason> {
    let inner = unwrapped(text);
    let verified = if argon2::is(inner) { argon2::verify(inner, password) } else { other(inner, password) };
    verified.ok_or(Reason::NotNow("a stored password hash can't be computed"))
}

/// Whether no other password is good where this one, which is good, is: only then is it known to be the one that was set.
pub(super) fn is_exact(text: &str, password: &[u8]) -> bool {
    let inner = unwrapped(text);
    argon2::is(inner) || is_exact_other(inner, password)
}

#[cfg(feature = "password-formats")]
fn is_exact_other(text: &str, password: &[u8]) -> bool {
    formats::is_exact(text, password)
}

#[cfg(not(feature = "password-formats"))]
fn is_exact_other(_: &str, _: &[u8]) -> bool {
    false
}

#[cfg(feature = "password-formats")]
fn other(text: &str, password: &[u8]) -> Option<bool> {
    formats::verify(text, password)
}

#[cfg(not(feature = "password-formats"))]
fn other(_: &str, _: &[u8]) -> Option<bool> {
    None
}

/// Without what other programs have in front of a hash: `argon2$argon2id$...`, `bcrypt$$2b$...` (Django), `{bcrypt}$2b$...` (Spring), `{BLF-CRYPT}$2y$...`
/// (Dovecot), `{CRYPT}$6$...` (LDAP).
fn unwrapped(text: &str) -> &str {
    let is_scheme = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._@".contains(&byte))
    };
    let braced = text.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let text = match braced {
        Some((scheme, inner)) if is_scheme(scheme) && inner.starts_with('$') => inner,
        _ => text,
    };
    let inner = [("argon2", "$argon2"), ("bcrypt$", "$2")]
        .iter()
        .find_map(|(wrapper, front)| text.strip_prefix(wrapper).filter(|inner| inner.starts_with(front)));
    inner.unwrap_or(text)
}

/// What stands where a hash should that can be used, as far as can be seen. Nothing of it is repeated: it may be a password.
fn what_else(text: &str) -> LineError {
    const KINDS: [(&str, &str); 24] = [
        ("$2a$", "bcrypt"),
        ("$2b$", "bcrypt"),
        ("$2y$", "bcrypt"),
        ("$2x$", "bcrypt with the flaw that $2x$ stands for"),
        ("bcrypt_sha256$", "bcrypt, by Django"),
        ("$bcrypt-sha256$", "bcrypt, by passlib"),
        ("$1$", "MD5-crypt"),
        ("$apr1$", "Apache MD5"),
        ("$sha1$", "SHA-1-crypt"),
        ("$md5", "Sun MD5"),
        ("$5$", "SHA-256-crypt"),
        ("$6$", "SHA-512-crypt"),
        ("$7$", "scrypt"),
        ("$scrypt$", "scrypt"),
        ("scrypt$", "scrypt"),
        ("$y$", "yescrypt"),
        ("$gy$", "gost-yescrypt"),
        ("$argon2i$", "Argon2i"),
        ("$argon2d$", "Argon2d"),
        ("$pbkdf2", "PBKDF2"),
        ("pbkdf2_", "PBKDF2"),
        ("$P$", "phpass"),
        ("$H$", "phpass"),
        ("{", "LDAP"),
    ];
    let kind = KINDS.iter().find(|(front, _)| text.starts_with(front)).map(|&(_, kind)| kind);
    match kind {
        Some(kind) => LineError::OtherHash(kind),
        None if text.starts_with("$argon2id$") => LineError::CutHash,
        None if is_marked(text) => LineError::OtherHash("a format that is not known here"),
        None if text.starts_with('$') => LineError::Password,
        None => LineError::ClearPassword,
    }
}

/// Whether it has the mark of a format in front, `$NAME$`.
fn is_marked(text: &str) -> bool {
    let mark = text.strip_prefix('$').and_then(|rest| rest.split_once('$'));
    mark.is_some_and(|(name, _)| !name.is_empty() && !name.starts_with("argon2"))
}
