//! bcrypt: `$2b$12$` and 53 characters; and Django's, over a hash of the password: `bcrypt_sha256$$2b$12$...`.
//!
//! The password ends at 72 bytes, as in what has made these hashes (`htpasswd`, PHP, most libraries): a longer one is good if its
//! front is, here as it was there. Nobody can tell then which of them was set, so it is never stored anew. A password with a zero byte is no
//! password of any: C programs stop there, and others refuse it.

use crate::crypto::hash_secret;
use crate::stores::accounts::LineError;
use core::fmt::Write;
use zeroize::Zeroizing;

/// `log2` of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stores::accounts) struct Cost(u32);

/// At most, some seconds. 10 to 12 are usual.
const COSTS: core::ops::RangeInclusive<u32> = 4..=16;

/// So many bytes of a password count, at most.
const LONGEST: usize = 72;

const DJANGO: &str = "bcrypt_sha256$";

fn inner(text: &str) -> &str {
    text.strip_prefix(DJANGO).unwrap_or(text)
}

/// `$2x$` is what was made with a flaw that took passwords beyond ASCII for others.
pub(super) fn is(text: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|front| inner(text).starts_with(front))
}

impl Cost {
    pub(super) fn of(text: &str) -> Result<Self, LineError> {
        let hash = inner(text);
        let (cost, rest) = hash.get(4..).and_then(|text| text.split_once('$')).ok_or(LineError::CutHash)?;
        let is_cost = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let cost = cost.parse().ok().filter(|cost| is_cost && COSTS.contains(cost)).ok_or(LineError::Password)?;
        if rest.len() < 53 {
            return Err(LineError::CutHash);
        }
        // The salt and the hash, as the library reads them.
        let parts: Result<bcrypt::HashParts, _> = hash.parse();
        if parts.is_err() { Err(LineError::Password) } else { Ok(Self(cost)) }
    }

    pub(super) fn example(&self) -> String {
        format!("$2b${:02}${}", self.0, ".".repeat(53))
    }
}

/// Whether no other password is good where this one is. Of 72 bytes it may be the front of a longer one.
pub(super) fn is_exact(text: &str, password: &[u8]) -> bool {
    text.starts_with(DJANGO) || password.len() < LONGEST
}

pub(super) fn verify(text: &str, password: &[u8]) -> Option<bool> {
    // Compared in constant time by the library, which wipes its copy of the password.
    let verify = |password: &[u8]| bcrypt::verify(password, inner(text)).ok();
    if text.starts_with(DJANGO) {
        let mut hex = Zeroizing::new(String::with_capacity(64));
        hash_secret(password).iter().try_for_each(|byte| write!(hex, "{byte:02x}")).ok()?;
        return verify(hex.as_bytes());
    }
    Some(verify(password)? && !password.contains(&0))
}
