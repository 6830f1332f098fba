//! SHA-crypt: `$5$` (SHA-256) and `$6$` (SHA-512), with `rounds=` or without, as /etc/shadow, `openssl passwd` and `mkpasswd` have it.

use super::{c_string, crypt_digit, crypt64, number};
use crate::stores::accounts::LineError;
use sha_crypt::password_hash::Error;
use sha_crypt::{PasswordVerifier, ShaCrypt};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stores::accounts) struct Cost {
    front: &'static str,
    rounds: u32,
}

/// At least what the specification has; at most, a second or two. Where it does not stand there it is 5000; passlib has 656,000.
const ROUNDS: core::ops::RangeInclusive<u32> = 1_000..=1_000_000;

/// What is in front, and the output's characters.
const KINDS: [(&str, usize); 2] = [("$5$", 43), ("$6$", 86)];

pub(super) fn is(text: &str) -> bool {
    KINDS.iter().any(|(front, _)| text.starts_with(front))
}

impl Cost {
    pub(super) fn of(text: &str) -> Result<Self, LineError> {
        let found = KINDS.iter().find_map(|&(front, length)| Some((front, length, text.strip_prefix(front)?)));
        let (front, length, rest) = found.ok_or(LineError::Password)?;
        let (rounds, rest) = match rest.strip_prefix("rounds=") {
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$').ok_or(LineError::CutHash)?;
                (number(rounds), rest)
            }
            None => (Some(5_000), rest),
        };
        let (salt, output) = rest.split_once('$').ok_or(LineError::CutHash)?;
        let rounds = rounds.filter(|rounds| ROUNDS.contains(rounds)).ok_or(LineError::Password)?;
        let is_salt = (1..=16).contains(&salt.len()) && salt.bytes().all(|byte| crypt_digit(byte).is_some());
        match crypt64(output) {
            Some(_) if is_salt && output.len() == length => Ok(Self { front, rounds }),
            _ if output.len() < length => Err(LineError::CutHash),
            _ => Err(LineError::Password),
        }
    }

    pub(super) fn example(&self) -> String {
        let Self { front, rounds } = self;
        let length = KINDS.iter().find(|(kind, _)| kind == front).map_or(0, |&(_, length)| length);
        format!("{front}rounds={rounds}${}${}", ".".repeat(16), ".".repeat(length))
    }
}

/// Compared in constant time by the library. What it takes of the password is in digests, which are wiped.
pub(super) fn verify(text: &str, password: &[u8]) -> Option<bool> {
    let (password, can_be) = c_string(password);
    match ShaCrypt::default().verify_password(password, text) {
        Ok(()) => Some(can_be),
        Err(Error::PasswordInvalid) => Some(false),
        Err(_) => None,
    }
}
