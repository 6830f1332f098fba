//! The keys of an account: with which, from where and until when its user can log in without a password.

use super::AccountError;
use super::account::Account;
use crate::crypto::{KeyId, VerifyingKey};
use crate::limits;
use crate::stores::date::{self, Date};
use crate::terms::authorized_key::AuthorizedKey;
use crate::time::{TimeOfDay, UnixTime};
use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use std::net::IpAddr;

impl Account {
    /// Lets the user log in by this key. One that is there already is kept with what bounds it now. Gives whether it is a new one.
    ///
    /// # Errors
    /// [`AccountError::TooManyKeys`].
    pub fn add_key(&mut self, key: &AuthorizedKey) -> Result<bool, AccountError> {
        let is_new = self.keys.iter().all(|held| held.key() != key.key());
        if is_new && self.keys.len() >= limits::MAX_CLIENT_KEYS {
            return Err(AccountError::TooManyKeys(self.name().to_owned()));
        }
        self.keys.retain(|held| held.key() != key.key());
        self.keys.push(key.clone());
        Ok(is_new)
    }

    /// Takes a key from the user, by its fingerprint. Gives whether there was such a one.
    pub fn remove_key(&mut self, key: KeyId) -> bool {
        let before = self.keys.len();
        self.keys.retain(|held| held.key().id() != key);
        self.keys.len() < before
    }

    /// Whether one of them may be used from this address now.
    pub(super) fn admits_key(&self, address: Option<IpAddr>, time: TimeOfDay) -> bool {
        self.keys.iter().any(|key| key.admits(address, time.earliest()))
    }
}

/// As it stands behind `key=` in an account's line: base64 of the SubjectPublicKeyInfo, then what bounds it.
pub(super) struct Written<'a>(pub(super) &'a AuthorizedKey);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(key) = self;
        f.write_str(&Base64Unpadded::encode_string(key.key().spki_der()))?;
        if let Some(from) = key.from() {
            write!(f, ";from={}", from.replace(' ', ""))?;
        }
        if let Some(expiry) = key.expiry() {
            write!(f, ";until={}", Date(expiry))?;
        }
        if !key.comment().is_empty() {
            let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != ';';
            let comment: String = key.comment().chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
            write!(f, ";comment={comment}")?;
        }
        Ok(())
    }
}

/// Reads what stands behind `key=`.
pub(super) fn parse(text: &str) -> Option<AuthorizedKey> {
    let mut parts = text.split(';');
    let spki = Base64Unpadded::decode_vec(parts.next()?).ok()?;
    let key = VerifyingKey::from_spki_der(&spki).ok()?;
    let (mut from, mut until, mut comment): (Option<&str>, Option<UnixTime>, Option<&str>) = (None, None, None);
    for part in parts {
        match part.split_once('=')? {
            ("from", value) if from.is_none() => from = Some(value),
            ("until", value) if until.is_none() => until = Some(date::parse(value)?),
            ("comment", value) if comment.is_none() => comment = Some(value),
            // Somebody counts on it.
            _ => return None,
        }
    }
    AuthorizedKey::bounded(key, comment.unwrap_or_default(), from, until).ok()
}
