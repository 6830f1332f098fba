//! A line, taken apart: options, algorithm, base64, comment.

use super::{AuthorizedKey, AuthorizedKeyError as Error, expiry};
use crate::crypto::VerifyingKey;
use crate::limits;
use crate::terms::addresses::{AddressPatterns, printable};
use crate::time::UnixTime;
use base64ct::{Base64, Encoding};

pub(super) fn parse(line: &str) -> Result<AuthorizedKey, Error> {
    if line.len() > limits::MAX_LINE {
        return Err(Error::TooLong);
    }
    if is_blank(line) {
        return Err(Error::Empty);
    }
    let line = line.trim_matches([' ', '\t', '\r', '\n']);
    // So that text of another kind is not taken for options.
    if !has_algorithm(line) {
        return Err(Error::NoKey);
    }
    let (options, rest) = if is_algorithm(word(line).0) { (Options::default(), line) } else { Options::parse(line)? };
    let (algorithm, rest) = word(rest);
    let (blob, comment) = word(rest);
    if !is_algorithm(algorithm) || blob.is_empty() {
        return Err(Error::NoKey);
    }
    let key = key(algorithm, blob)?;
    let Options { from: allowed_from, until } = options;
    Ok(AuthorizedKey { allowed_from, until, ..AuthorizedKey::new(key, comment) })
}

/// Whether there is nothing in it, or a comment.
pub(super) fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// Whether a text is a file of such lines: its first is none of PEM, and there is a key behind some algorithm.
pub(super) fn are_lines(text: &str) -> bool {
    !text.contains("-----BEGIN ") && text.lines().any(|line| !is_blank(line) && has_algorithm(line))
}

fn has_algorithm(line: &str) -> bool {
    line.split([' ', '\t']).any(is_algorithm)
}

fn key(algorithm: &str, blob: &str) -> Result<VerifyingKey, Error> {
    let blob = Base64::decode_vec(blob).map_err(|_| Error::BadBase64)?;
    // A string with its length in front of it (RFC 4251, section 5).
    let (len, named) = blob.split_first_chunk::<4>().ok_or(Error::BadBase64)?;
    let named = usize::try_from(u32::from_be_bytes(*len)).ok().and_then(|len| named.get(..len));
    if named != Some(algorithm.as_bytes()) {
        return Err(Error::Mismatch);
    }
    Ok(VerifyingKey::from_openssh_blob(&blob)?)
}

/// Whether a word can be the name of a key's algorithm, whether taken or not.
fn is_algorithm(word: &str) -> bool {
    let starts = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start));
    starts && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-@.".contains(&byte))
}

/// The first word, and what follows the blanks behind it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start_matches([' ', '\t']))
}

const FROM: &str = "from";
const EXPIRY: &str = "expiry-time";

#[derive(Default)]
struct Options {
    from: Option<AddressPatterns>,
    until: Option<UnixTime>,
}

impl Options {
    /// The options at the begin of a line, up to the first blank outside of quotes, and what follows.
    fn parse(line: &str) -> Result<(Self, &str), Error> {
        let mut options = Self::default();
        let mut rest = line;
        loop {
            let len = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(len);
            rest = options.take(name, after)?;
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None => return Ok((options, word(rest).1)),
            }
        }
    }

    /// One option; gives what follows it.
    fn take<'a>(&mut self, name: &str, after: &'a str) -> Result<&'a str, Error> {
        match name.to_ascii_lowercase().as_str() {
            FROM => {
                let (value, rest) = quoted(FROM, after)?;
                let is_second = self.from.replace(AddressPatterns::parse(value).map_err(Error::From)?).is_some();
                if is_second { Err(Error::Twice(FROM)) } else { Ok(rest) }
            }
            EXPIRY => {
                let (value, rest) = quoted(EXPIRY, after)?;
                let time = expiry::parse(value).ok_or_else(|| Error::Expiry(printable(value)))?;
                let is_second = self.until.replace(time).is_some();
                if is_second { Err(Error::Twice(EXPIRY)) } else { Ok(rest) }
            }
            _ => Err(Error::Option(printable(name))),
        }
    }
}

/// The value behind `=`, in quotes, and what follows, which is a comma or a blank. A quote in it, which sshd writes as `\"`, is in
/// no value that is taken.
fn quoted<'a>(name: &'static str, after: &'a str) -> Result<(&'a str, &'a str), Error> {
    let value = after.strip_prefix("=\"").and_then(|value| value.split_once('"')).ok_or(Error::Unquoted(name))?;
    if value.1.starts_with([',', ' ', '\t']) { Ok(value) } else { Err(Error::Unquoted(name)) }
}
