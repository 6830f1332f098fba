//! Passwords that are stretched at the client (PROTOCOL.md, "Stretching"): what an account keeps of them.

use super::hash::{self, Cost};
use super::line::Account;
use super::{AccountError, Accounts, PasswordCheck, now};
use crate::terms::error::Reason;
use crate::terms::grant::Grant;
use crate::terms::stretch::{StretchedHash, StretchedPassword};

impl Account {
    /// Whether a stretched password is set.
    pub fn has_stretched(&self) -> bool {
        self.stretched.is_some()
    }

    /// What is kept of a password that is stretched at the client.
    pub fn stretched(&self) -> Option<&StretchedHash> {
        self.stretched.as_ref()
    }
}

impl Accounts {
    /// Sets a user's password by the hash of what it is stretched to at the client. It takes the place of the one that is hashed by the server.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn set_stretched(&mut self, name: &str, stretched: &StretchedHash) -> Result<(), AccountError> {
        let account = self.get_mut(name)?;
        let old = account.password.take();
        account.stretched = Some(stretched.clone());
        self.index.discount(old.as_ref());
        Ok(())
    }

    /// One SHA-256 for each set of parameters announced. While accounts move, one password hash besides: of the user's own, where their
    /// account has not moved, and otherwise of one that they might have.
    pub(super) fn verify_stretched(&self, user: &str, shown: &StretchedPassword) -> Result<Grant, Reason> {
        let account = self.get(user);
        let kept = account.and_then(Account::stretched);
        let checked = shown.check(kept);
        let stored = account.filter(|_| kept.is_none()).and_then(|account| account.password.as_ref());
        let hashed = if shown.stretching().is_moving() {
            let imitated = || Cost::imitated(self.index.costs.keys(), &self.imitation, user);
            let is_good = spend(stored.map(|(hash, _)| hash.as_str()), shown.password().unwrap_or_default(), imitated)?;
            // Whoever sends none knows none, also where a file has the hash of nothing.
            is_good && shown.password().is_some()
        } else {
            false
        };
        match account {
            Some(account) if checked.is_ok() || hashed => account.admit(now()),
            Some(_) => Err(if kept.is_some() { checked.err() } else { None }.unwrap_or(Reason::WrongPassword)),
            None => Err(Reason::UnknownUser),
        }
    }
}

/// One password hash, whatever is stored. Gives whether the password is the one of that.
fn spend(stored: Option<&str>, password: &[u8], imitated: impl FnOnce() -> Cost) -> Result<bool, Reason> {
    match stored {
        Some(hash) => hash::matches(hash, password),
        None => imitated().spend(password).map(|()| false),
    }
}

impl PasswordCheck {
    /// Checks a stretched password against what the store has of its user: the hash of a stretched one, or, while accounts move
    /// ([`crate::Stretching::is_moving`]), the hash of one that was not stretched. It costs the same whatever the store has: while accounts move, one password
    /// hash, and otherwise none.
    ///
    /// Of a login that is good, [`StretchedPassword::newest`] is what to store from then on, in the place of both.
    ///
    /// # Errors
    /// As [`StretchedPassword::check`] and [`PasswordCheck::verify`].
    pub fn verify_stretched(
        &self,
        user: &str,
        shown: &StretchedPassword,
        stretched: Option<&StretchedHash>,
        hash: Option<&str>,
    ) -> Result<(), Reason> {
        let checked = shown.check(stretched);
        if !shown.stretching().is_moving() {
            return if stretched.is_none() && hash.is_some() { Err(Reason::WrongPassword) } else { checked };
        }
        // An account that has moved costs what one that has not does.
        let hashed = self.verify(user, shown.password().unwrap_or_default(), hash.filter(|_| stretched.is_none()));
        match (stretched, hashed) {
            (_, Err(reason @ Reason::NotNow(_))) => Err(reason),
            (Some(_), _) => checked,
            // Whoever sends none knows none, also where a store has the hash of nothing.
            (None, Ok(())) if shown.password().is_none() => Err(Reason::WrongPassword),
            (None, hashed) => hashed,
        }
    }
}
