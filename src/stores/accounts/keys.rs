//! The keys of an account: with which, from where and until when its user can log in without a password.

use super::line::Account;
use super::{AccountError, Accounts};
use crate::crypto::{KeyId, VerifyingKey};
use crate::limits;
use crate::stores::date::{self, Date};
use crate::terms::authorized_key::AuthorizedKey;
use crate::terms::error::Reason;
use crate::terms::grant::Grant;
use crate::time::UnixTime;
use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use std::net::IpAddr;

impl Account {
    /// The public keys that its user can log in by.
    pub fn keys(&self) -> &[AuthorizedKey] {
        &self.keys
    }

    /// Whether one of them may be used from this address now.
    pub(super) fn admits_key(&self, address: Option<IpAddr>) -> bool {
        let now = super::now();
        self.keys.iter().any(|key| key.admits(address, now))
    }
}

impl Accounts {
    /// Lets a user log in by this key. One that is there already is kept with what bounds it now. Gives whether it is a new one.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn add_key(&mut self, name: &str, key: &AuthorizedKey) -> Result<bool, AccountError> {
        let held = self.find(name)?.keys();
        let is_new = held.iter().all(|held| held.key() != key.key());
        if is_new && held.len() >= limits::MAX_CLIENT_KEYS {
            return Err(AccountError::TooManyKeys(name.to_owned()));
        }
        let account = self.get_mut(name)?;
        account.keys.retain(|held| held.key() != key.key());
        account.keys.push(key.clone());
        Ok(is_new)
    }

    /// Takes a key from a user, by its fingerprint. Gives whether there was such a one.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Broken`].
    pub fn remove_key(&mut self, name: &str, key: KeyId) -> Result<bool, AccountError> {
        if self.find(name)?.keys().iter().all(|held| held.key().id() != key) {
            return Ok(false);
        }
        self.get_mut(name)?.keys.retain(|held| held.key().id() != key);
        Ok(true)
    }

    /// Whether the key, whose signature has been checked, is one of the user's, usable from where the connection comes.
    ///
    /// An account that has not this key, one that has it for another address, and a user that there is not cost and say the same.
    pub(super) fn verify_key(&self, user: &str, key: &VerifyingKey, address: Option<IpAddr>) -> Result<Grant, Reason> {
        let now = super::now();
        let account = self.get(user);
        let held = account.map_or(&[][..], Account::keys).iter().find(|held| held.key() == key);
        match (account, held) {
            (Some(account), Some(held)) if held.admits(address, now) => account.admit(now),
            (_, Some(_)) => Err(Reason::KeyNotAdmitted),
            (_, None) => Err(Reason::UnknownKey),
        }
    }
}

/// As a field of an account's line: `key=` and base64 of the SubjectPublicKeyInfo, then what bounds it.
pub(super) struct Written<'a>(pub(super) &'a AuthorizedKey);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(key) = self;
        write!(f, "key={}", Base64Unpadded::encode_string(key.key().spki_der()))?;
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
