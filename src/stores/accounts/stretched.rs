//! Passwords that are stretched at the client (PROTOCOL.md, "Stretching"): what an account keeps of them.

use super::PasswordCheck;
use super::account::Account;
use super::hash;
use super::imitation::Imitated;
use crate::terms::error::Reason;
use crate::terms::stretch::{StretchedHash, StretchedPassword};

impl Account {
    /// What is kept of a password that is stretched at the client.
    pub fn stretched(&self) -> Option<&StretchedHash> {
        self.stretched.as_ref()
    }
}

impl Account {
    /// Sets the password by the hash of what it is stretched to at the client. It takes the place of one that the server hashed.
    pub fn set_stretched(&mut self, stretched: &StretchedHash) {
        self.password = None;
        self.stretched = Some(stretched.clone());
    }
}

/// One SHA-256 for each set of parameters announced. While accounts move, one password hash besides: of the user's own, where their
/// account has not moved, and otherwise of what is imitated.
pub(super) fn check(account: Option<&Account>, imitated: &Imitated, shown: &StretchedPassword) -> Result<(), Reason> {
    let kept = account.and_then(Account::stretched);
    let checked = shown.check(kept);
    let stored = account.filter(|_| kept.is_none()).and_then(|account| account.password.as_ref());
    let is_hashed = if shown.stretching().is_moving() {
        let password = shown.password().unwrap_or_default();
        let text = stored.map_or(imitated.as_str(), |(hash, _)| hash);
        let is_good = hash::matches(text, password)?;
        // Whoever sends none knows none, also where a file has the hash of nothing.
        is_good && stored.is_some() && shown.password().is_some()
    } else {
        false
    };
    match account {
        Some(_) if kept.is_some() => checked,
        Some(_) if is_hashed => Ok(()),
        Some(_) => Err(Reason::WrongPassword),
        None => Err(Reason::UnknownUser),
    }
}

/// The account with what is to be kept at the newest parameters, after a good login; `None` where it has that, or where it can't be told.
pub(super) fn moved(account: &Account, shown: &StretchedPassword) -> Result<Option<Account>, Reason> {
    let hash = account.password.as_ref().map(|(hash, _)| hash.as_str());
    let newest = PasswordCheck::moved(account.name(), shown, account.stretched(), hash, account.has_totp())?;
    Ok(newest.map(|newest| {
        let mut moved = account.clone();
        moved.set_stretched(&newest);
        moved
    }))
}

impl PasswordCheck {
    /// Checks a stretched password against what the store has of its user: the hash of a stretched one, or, while accounts move
    /// ([`crate::Stretching::is_moving`]), the hash of one that was not stretched. It costs the same whatever the store has: while accounts move, one password
    /// hash, and otherwise none.
    ///
    /// Of a login that is good, [`PasswordCheck::moved`] says what to store from then on.
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

    /// What to store of a stretched password from now on, in the place of what there was, after [`PasswordCheck::verify_stretched`] has found it good. `None` where
    /// that is stored already, where it can't be told (of a hash that other passwords are good for, too: [`PasswordCheck::is_exact`]), or not be computed.
    ///
    /// Where the client sent the password itself, it is computed here what that is stretched to: the client's time, a second at the most, once for each account. What
    /// the client showed beside it is not stored, or whoever sends something else there would never move, and have it computed at each login. Where it did not, what it showed at
    /// the newest parameters is taken on its word; not with `has_second_factor`, which has not been asked for yet: whoever knows the password alone could make it another one.
    ///
    /// # Errors
    /// [`Reason::WrongPassword`] where the password beside it does not lead to the stretched one that was good: nobody would ever move with that.
    pub fn moved(
        user: &str,
        shown: &StretchedPassword,
        stretched: Option<&StretchedHash>,
        hash: Option<&str>,
        has_second_factor: bool,
    ) -> Result<Option<StretchedHash>, Reason> {
        let newest = shown.newest();
        if stretched.is_some_and(|kept| kept.parameters() == newest.parameters()) {
            return Ok(None);
        }
        let Some(password) = shown.password() else {
            return Ok((stretched.is_some() && !has_second_factor).then_some(newest));
        };
        if stretched.is_none() && !hash.is_some_and(|hash| hash::is_exact(hash, password)) {
            return Ok(None);
        }
        let Ok(computed) = shown.stretching().stretch(user, password) else { return Ok(None) };
        match stretched {
            Some(kept) if computed.check(Some(kept)).is_err() => Err(Reason::WrongPassword),
            _ => Ok(Some(computed.newest())),
        }
    }
}
