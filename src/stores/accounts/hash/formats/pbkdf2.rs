//! PBKDF2 (RFC 8018) with HMAC: PHC strings (`$pbkdf2-sha256$i=600000,l=32$salt$output`), passlib's (`$pbkdf2-sha256$29000$salt$output`)
//! and Django's (`pbkdf2_sha256$600000$salt$output`).

use super::super::what_else;
use super::{Stored, b64, number, padded};
use crate::stores::accounts::LineError;
use base64ct::{Base64Unpadded, Encoding};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stores::accounts) struct Cost {
    digest: Digest,
    iterations: u32,
    /// In bytes: the work is done anew for each output of the digest in it.
    output: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

/// At least what RFC 2898 asked for in the year 2000; at most, some seconds. Django 6 has 1.2 million.
const ITERATIONS: core::ops::RangeInclusive<u32> = 1_000..=5_000_000;

const DIGESTS: [(&str, Digest); 7] = [
    ("$pbkdf2$", Digest::Sha1),
    ("$pbkdf2-sha1$", Digest::Sha1),
    ("$pbkdf2-sha256$", Digest::Sha256),
    ("$pbkdf2-sha512$", Digest::Sha512),
    ("pbkdf2_sha1$", Digest::Sha1),
    ("pbkdf2_sha256$", Digest::Sha256),
    ("pbkdf2_sha512$", Digest::Sha512),
];

pub(super) fn is(text: &str) -> bool {
    text.starts_with("$pbkdf2") || text.starts_with("pbkdf2_")
}

fn read(text: &str) -> Result<(Cost, Stored), LineError> {
    let found = DIGESTS.iter().find_map(|&(front, digest)| Some((digest, text.strip_prefix(front)?)));
    let (digest, rest) = found.ok_or_else(|| what_else(text))?;
    let mut fields = rest.split('$');
    let (Some(params), Some(salt), Some(output), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(LineError::CutHash);
    };
    let (iterations, length) = match params.strip_prefix("i=").unwrap_or(params).split_once(",l=") {
        Some((iterations, length)) => (number(iterations), Some(number(length))),
        None => (number(params.strip_prefix("i=").unwrap_or(params)), None),
    };
    let stored = if text.starts_with('$') {
        // passlib has a dot where others have a plus.
        let decode = |text: &str| b64(&text.replace('.', "+"));
        Stored::new(decode(salt), decode(output))?
    } else {
        // Django's salt is what it looks like.
        Stored::new(Some(salt.as_bytes().to_vec()), padded(output))?
    };
    let output = stored.output.len();
    let is_as_said = length.is_none_or(|length| length.and_then(|length| usize::try_from(length).ok()) == Some(output));
    match iterations {
        Some(iterations) if is_as_said && ITERATIONS.contains(&iterations) => {
            Ok((Cost { digest, iterations, output }, stored))
        }
        _ => Err(LineError::Password),
    }
}

impl Cost {
    pub(super) fn of(text: &str) -> Result<Self, LineError> {
        read(text).map(|(cost, _)| cost)
    }

    pub(super) fn example(&self) -> String {
        let front = match self.digest {
            Digest::Sha1 => "$pbkdf2-sha1$",
            Digest::Sha256 => "$pbkdf2-sha256$",
            Digest::Sha512 => "$pbkdf2-sha512$",
        };
        let (salt, output) = (Base64Unpadded::encode_string(&[0; 16]), vec![0; self.output]);
        format!("{front}i={}${salt}${}", self.iterations, Base64Unpadded::encode_string(&output))
    }
}

pub(super) fn verify(text: &str, password: &[u8]) -> Option<bool> {
    let (Cost { digest, iterations, .. }, stored) = read(text).ok()?;
    let compute = match digest {
        Digest::Sha1 => pbkdf2_hmac::<Sha1>,
        Digest::Sha256 => pbkdf2_hmac::<Sha256>,
        Digest::Sha512 => pbkdf2_hmac::<Sha512>,
    };
    stored.is(|salt, output| {
        compute(password, salt, iterations, output);
        Some(())
    })
}
