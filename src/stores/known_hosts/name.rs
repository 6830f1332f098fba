//! Names of servers: what they may be, and how they stand in a line.

use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use core::net::Ipv6Addr;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The longest name, in bytes: a host's, a port, and the name of one of several servers there.
pub(super) const MAX_NAME: usize = 512;

/// What a hashed name begins with.
const TAG: &str = "|hmac-sha256|";

/// Stands for every server, in lines that revoke.
pub(super) const ALL: &str = "*";

/// A name as it is compared: in lower case, and an IPv6 address as RFC 5952 writes it. None where it can't stand in a line.
pub(super) fn normal(name: &str) -> Option<String> {
    let is_odd = |byte: u8| !byte.is_ascii_graphic() || b"!\"#'*,=?@\\|".contains(&byte);
    let allowed = !name.is_empty() && name.len() <= MAX_NAME && !name.bytes().any(is_odd);
    let address = || {
        let (address, rest) = name.strip_prefix('[')?.split_once(']')?;
        Some(format!("[{}]{}", address.parse::<Ipv6Addr>().ok()?, rest.to_ascii_lowercase()))
    };
    allowed.then(|| address().unwrap_or_else(|| name.to_ascii_lowercase()))
}

/// Which servers a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Plain(String),
    /// HMAC-SHA256 of the name, keyed by the salt: it tells nobody which server it is who does not know its name.
    Hashed {
        salt: [u8; 32],
        hash: [u8; 32],
    },
    /// All of them.
    All,
}

impl Name {
    /// This name, hashed with this salt.
    pub(super) fn hashed(salt: [u8; 32], name: &str) -> Self {
        Self::Hashed { salt, hash: hash(&salt, name) }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == ALL {
            return Some(Self::All);
        }
        let Some(hashed) = text.strip_prefix(TAG) else { return normal(text).map(Self::Plain) };
        let (salt, hash) = hashed.split_once('|')?;
        Some(Self::Hashed { salt: bytes(salt)?, hash: bytes(hash)? })
    }

    /// Whether it is about the server of this name, which is in lower case.
    pub(super) fn covers(&self, name: &str) -> bool {
        match self {
            Self::Plain(own) => own == name,
            Self::Hashed { salt, hash: own } => hash(salt, name) == *own,
            Self::All => true,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(name) => f.write_str(name),
            Self::Hashed { salt, hash } => {
                write!(f, "{TAG}{}|{}", Base64Unpadded::encode_string(salt), Base64Unpadded::encode_string(hash))
            }
            Self::All => f.write_str(ALL),
        }
    }
}

/// `HMAC-SHA256[salt](name)`
fn hash(salt: &[u8; 32], name: &str) -> [u8; 32] {
    // A key is filled up with zeros to the hash's block (RFC 2104, section 2).
    let mut block = [0; 64];
    if let Some(front) = block.first_chunk_mut() {
        *front = *salt;
    }
    Hmac::<Sha256>::new(&block.into()).chain_update(name).finalize().into_bytes().into()
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let len = Base64Unpadded::decode(text, &mut bytes).ok()?.len();
    (len == 32).then_some(bytes)
}

/// Whether a line that can't be read may be about the server of this name, which is in lower case.
pub(super) fn mentions(line: &[u8], name: &str) -> bool {
    let text = folded(line);
    // In its own case: base64 has both.
    let own = visible(line);
    let hashed = own.split([' ', ',']).filter_map(Name::parse).filter(|found| matches!(found, Name::Hashed { .. }));
    text.contains(name) || hashed.into_iter().any(|found| found.covers(name))
}

/// Whether a line that can't be read may have been one that revokes: it begins with a marker, or has the word.
pub(super) fn may_revoke(line: &[u8]) -> bool {
    let text = folded(line);
    text.trim_start().starts_with('@') || text.contains("revoked")
}

fn folded(line: &[u8]) -> String {
    visible(line).to_ascii_lowercase()
}

/// The characters that a name can have, and blanks: what an encoding or a slip of the hand has put between them is left out.
fn visible(line: &[u8]) -> String {
    let seen = |&byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    line.iter()
        .copied()
        .filter(seen)
        .map(|byte| if byte.is_ascii_whitespace() { ' ' } else { char::from(byte) })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_name_is_an_hmac_that_openssl_makes_too() {
        // printf db.example:4500 | openssl mac -digest SHA256 -macopt hexkey:0101..01 -binary HMAC | base64
        let name = Name::hashed([1; 32], "db.example:4500");
        let printed = name.to_string();
        assert_eq!(Name::parse(&printed), Some(name.clone()));
        assert_eq!(printed, EXPECTED);
        assert!(name.covers("db.example:4500") && !name.covers("db.example:4501"));
    }

    const EXPECTED: &str =
        "|hmac-sha256|AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE|nrSDnmrGtzBZw0WfB9tXqrivxTNilyVGlx9Jkhjcnq0";

    #[test]
    fn names_are_compared_in_lower_case_and_can_stand_in_a_line() {
        assert_eq!(normal("DB.example:4500").as_deref(), Some("db.example:4500"));
        assert_eq!(normal("[fe80::1%eth0]:4500").as_deref(), Some("[fe80::1%eth0]:4500"));
        let long = "a".repeat(MAX_NAME + 1);
        for name in ["", "a b", "a,b", "#a", "@a", "|a", "*", "a*", "a=b", "caf\u{e9}", "a\n", &long] {
            assert_eq!(normal(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_line_that_cant_be_read_mentions_whatever_it_may_be_about() {
        let utf16: Vec<u8> = "DB.example:4500 key=x".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let hashed = format!("\u{a0}{} x", Name::hashed([7; 32], "db.example:4500"));
        for line in [b"Db.Example:4500,other key=".as_slice(), b"\"db.example:4500\" x", &utf16, hashed.as_bytes()] {
            assert!(mentions(line, "db.example:4500") && !mentions(line, "www.example:4500"), "{line:?}");
        }
        let utf16: Vec<u8> = "@revoked *".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for line in [b"@Revoked x".as_slice(), b" @revokd x", b"\xef\xbb\xbf@revoked", b"x @revoked", &utf16] {
            assert!(may_revoke(line), "{line:?}");
        }
        assert!(!may_revoke(b"db.example:4500 accepted=first-use"));
    }
}
