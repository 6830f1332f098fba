//! The keys of an account: with which, from where and until when its user can log in without a password.

use super::AccountError;
use super::account::{Account, front};
use crate::crypto::{KeyId, VerifyingKey};
use crate::limits;
use crate::stores::date::Date;
use crate::terms::authorized_key::AuthorizedKey;
use crate::terms::error::Reason;
use crate::terms::grant::{Epochs, Grant};
use crate::time::{TimeOfDay, UnixTime};
use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use sha2::{Digest, Sha256};
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
        // Where it stood: the others are no others by this.
        match self.keys.iter_mut().find(|held| held.key() == key.key()) {
            Some(held) => *held = key.clone(),
            None => self.keys.push(key.clone()),
        }
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

    /// The grant for this key: of several, under numbers of its own, by which a ticket and a session say that it was this one.
    pub(super) fn granted_to(&self, key: KeyId, grant: Grant) -> Grant {
        let Epochs { account: Some(account), credential: Some(credential) } = grant.epochs() else { return grant };
        if self.keys.len() < 2 {
            return grant;
        }
        let own = |epoch: u64| front(Sha256::new().chain_update(epoch.to_be_bytes()).chain_update(key.as_bytes()));
        grant.with_epoch(own(account)).with_credential_epoch(own(credential))
    }

    /// The grant for the key that somebody was let in by under these numbers, if that may still be used from there. Where it is none that the
    /// account has now, for any: its numbers are others.
    pub(super) fn granted_again(
        &self,
        grant: &Grant,
        epochs: Epochs,
        address: Option<IpAddr>,
        time: TimeOfDay,
    ) -> Result<Grant, Reason> {
        let admits = |key: &AuthorizedKey| key.admits(address, time.earliest());
        let granted = |key: &AuthorizedKey| self.granted_to(key.key().id(), grant.clone());
        // A ticket has the account's alone, and a session goes on where that alone is another.
        let is_shown = |key: &AuthorizedKey| {
            let own = granted(key).epochs();
            own.account == epochs.account || own.credential == epochs.credential
        };
        match self.keys.iter().find(|key| is_shown(key)) {
            Some(key) if admits(key) => Ok(granted(key)),
            Some(_) => Err(Reason::KeyNotAdmitted),
            None => self.keys.iter().find(|key| admits(key)).map(granted).ok_or(Reason::AccountDisabled),
        }
    }
}

/// As it stands behind `key=` in an account's line: base64 of the SubjectPublicKeyInfo, then what bounds it.
pub(super) struct Written<'a>(pub(super) &'a AuthorizedKey);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(key) = self;
        f.write_str(&Base64Unpadded::encode_string(key.key().spki_der()))?;
        if let Some(from) = key.allowed_from() {
            write!(f, ";from={}", from.as_str().replace(' ', ""))?;
        }
        if let Some(until) = key.until() {
            write!(f, ";until={}", Date(until))?;
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
            ("until", value) if until.is_none() => until = Some(UnixTime::from_rfc3339(value)?),
            ("comment", value) if comment.is_none() => comment = Some(value),
            // Somebody counts on it.
            _ => return None,
        }
    }
    AuthorizedKey::bounded(key, comment.unwrap_or_default(), from, until).ok()
}
