//! Checking a password against the hash of a store of one's own, at a cost that tells nothing.

use super::hash::{self, Cost};
use super::{AccountError, LineError};
use crate::limits;
use crate::terms::error::Reason;
use argon2::{Argon2, PasswordHasher};
use core::fmt;
use std::collections::HashSet;
use std::hash::RandomState;
use zeroize::Zeroizing;

/// Checks passwords against stored Argon2id hashes (PHC strings, RFC 9106). A user whom the store does not know costs what a
/// wrong password costs: names can't be found out by timing.
///
/// Make one, and keep it: what an unknown name's check costs is decided by a key that is drawn with it.
///
/// ```
/// use countersign::{Reason, accounts::PasswordCheck};
///
/// let passwords = PasswordCheck::new();
/// let stored = PasswordCheck::hash(b"correct horse")?; // as it stands in the database
/// assert_eq!(passwords.verify("alice", b"correct horse", Some(&stored)), Ok(()));
/// assert_eq!(passwords.verify("alice", b"battery staple", Some(&stored)), Err(Reason::WrongPassword));
/// assert_eq!(passwords.verify("bob", b"battery staple", None), Err(Reason::UnknownUser));
/// # Ok::<(), countersign::accounts::AccountError>(())
/// ```
pub struct PasswordCheck {
    /// At least one.
    imitated: HashSet<Cost>,
    random: RandomState,
}

impl Default for PasswordCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl PasswordCheck {
    /// An unknown user costs a hash at the defaults: 19 MiB, 2 passes. Right for hashes that [`PasswordCheck::hash`] made.
    pub fn new() -> Self {
        Self { imitated: HashSet::from([Cost::default()]), random: RandomState::new() }
    }

    /// An unknown user costs a hash at the parameters of one of these stored hashes: always the same for the same name, as long
    /// as those parameters are among them. For a table with parameters of your own: give one hash for each set of parameters in it.
    ///
    /// # Errors
    /// [`LineError`] where one of them can't be read, or there is none.
    pub fn imitating<H: AsRef<str>>(hashes: impl IntoIterator<Item = H>) -> Result<Self, LineError> {
        let costs: Result<HashSet<Cost>, LineError> = hashes.into_iter().map(|hash| Cost::of(hash.as_ref())).collect();
        let imitated = costs?;
        if imitated.is_empty() { Err(LineError::Password) } else { Ok(Self { imitated, random: RandomState::new() }) }
    }

    /// Hashes a password for the store, with a fresh salt, at the defaults: Argon2id, 19 MiB, 2 passes.
    ///
    /// # Errors
    /// [`AccountError::BadPassword`] where it is empty or has more than 4096 bytes; [`AccountError::Hashing`].
    pub fn hash(password: &[u8]) -> Result<String, AccountError> {
        if password.is_empty() || password.len() > limits::MAX_SECRET {
            return Err(AccountError::BadPassword);
        }
        Argon2::default().hash_password(password).map(|phc| phc.to_string()).map_err(|_| AccountError::Hashing)
    }

    /// Checks a password against the store's hash, or does the same work where the store has none. Takes a processor for some
    /// ten milliseconds: from async code, hand [`PasswordCheck::prepare`] to [`crate::Attempt::compute`].
    ///
    /// # Errors
    /// [`Reason::WrongPassword`]; [`Reason::UnknownUser`] without a stored hash; [`Reason::NotNow`] where the stored hash can't
    /// be read, or there is no memory.
    pub fn verify(&self, user: &str, password: &[u8], stored: Option<&str>) -> Result<(), Reason> {
        check(self.imitated(user), password, stored)
    }

    /// As [`PasswordCheck::verify`], to be done elsewhere: owned, and wiped when dropped.
    pub fn prepare(&self, user: &str, password: &[u8], stored: Option<String>) -> PreparedCheck {
        let password = Zeroizing::new(password.to_vec());
        PreparedCheck { imitated: self.imitated(user), password, stored }
    }

    fn imitated(&self, user: &str) -> Cost {
        Cost::imitated(&self.imitated, &self.random, user)
    }
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordCheck").finish_non_exhaustive()
    }
}

/// A password check that is yet to be done: [`PasswordCheck::prepare`] makes one.
pub struct PreparedCheck {
    imitated: Cost,
    password: Zeroizing<Vec<u8>>,
    stored: Option<String>,
}

impl PreparedCheck {
    /// Does it.
    ///
    /// # Errors
    /// As [`PasswordCheck::verify`].
    pub fn run(self) -> Result<(), Reason> {
        check(self.imitated, &self.password, self.stored.as_deref())
    }
}

crate::opaque_debug!(PreparedCheck);

fn check(imitated: Cost, password: &[u8], stored: Option<&str>) -> Result<(), Reason> {
    let Some(phc) = stored else {
        imitated.spend(password)?;
        return Err(Reason::UnknownUser);
    };
    if Cost::of(phc).is_err() {
        // It costs what one that can be read costs.
        imitated.spend(password)?;
        return Err(Reason::NotNow("a stored password hash can't be read"));
    }
    if hash::matches(phc, password)? { Ok(()) } else { Err(Reason::WrongPassword) }
}
