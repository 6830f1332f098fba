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

/// The account with what was shown at the newest parameters, after a good login; `None` where it has that, or where it is not sure that this is
/// of the same password.
pub(super) fn moved(account: &Account, shown: &StretchedPassword) -> Option<Account> {
    let newest = shown.newest();
    if account.stretched().is_some_and(|kept| kept.parameters() == newest.parameters()) {
        return None;
    }
    let is_sure = match (shown.password(), account.stretched()) {
        // It was checked against the hash, or is now against what it was stretched to before.
        (Some(password), kept) => {
            let stored = account.password.as_ref().filter(|_| kept.is_none());
            if stored.is_some_and(|(hash, _)| !hash::is_exact(hash, password)) {
                return None;
            }
            let computed = shown.stretching().stretch(account.name(), password).ok()?;
            computed.newest() == newest && (kept.is_none() || computed.check(kept).is_ok())
        }
        (None, kept) => kept.is_some() && !account.has_totp(),
    };
    is_sure.then(|| {
        let mut moved = account.clone();
        moved.set_stretched(&newest);
        moved
    })
}

impl PasswordCheck {
    /// Checks a stretched password against what the store has of its user: the hash of a stretched one, or, while accounts move
    /// ([`crate::Stretching::is_moving`]), the hash of one that was not stretched. It costs the same whatever the store has: while accounts move, one password
    /// hash, and otherwise none.
    ///
    /// Of a login that is good, [`StretchedPassword::newest`] is what to store from then on, in the place of both; of one by a hash, if its
    /// password is the one that was set ([`PasswordCheck::is_exact`] of [`StretchedPassword::password`]).
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
