//! Checking a password against the hash of a store of one's own, at a cost that tells nothing.

use super::hash::{self, Cost, HashParameters};
use super::imitation::{Imitated, Imitation};
use super::{AccountError, LineError};
use crate::terms::error::Reason;
use core::fmt;
use zeroize::Zeroizing;

/// Checks passwords against stored hashes: Argon2id (PHC strings, RFC 9106), and with the feature `password-formats` those of
/// [other programs](crate::accounts#passwords-of-other-programs). A user whom the store does not know costs what a wrong password costs:
/// names can't be found out by timing.
///
/// Make one, and keep it: what an unknown name's check costs is decided by a key, which is drawn with it
/// ([`PasswordCheck::with_key`] sets one that outlives the process).
///
/// ```
/// use countersign::{Reason, accounts::PasswordCheck};
///
/// let passwords = PasswordCheck::new();
/// let stored = PasswordCheck::hash(b"correct horse")?; // as it stands in the database
/// assert_eq!(passwords.verify("alice", b"correct horse", Some(&stored)), Ok(()));
/// assert_eq!(passwords.verify("alice", b"battery staple", Some(&stored)), Err(Reason::WrongPassword));
/// assert_eq!(passwords.verify("bob", b"battery staple", None), Err(Reason::UnknownUser));
/// // After a good login: what to store instead, if the hash is one of the past.
/// assert_eq!(PasswordCheck::upgrade(&stored, b"correct horse"), None);
/// # Ok::<(), countersign::accounts::AccountError>(())
/// ```
pub struct PasswordCheck {
    imitation: Imitation,
}

impl Default for PasswordCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl PasswordCheck {
    /// An unknown user costs a hash at the defaults: 19 MiB, 2 passes. Right for hashes that [`PasswordCheck::hash`] made.
    pub fn new() -> Self {
        Self { imitation: Imitation::default() }
    }

    /// An unknown user costs a hash at the parameters of one of these stored hashes, always the same for the same name. For a table with
    /// parameters of your own, or with hashes of other programs: give one hash for each set of parameters in it.
    ///
    /// Give those as well that the table had and will have: where it is upgraded at logins, one of [`PasswordCheck::hash`]. Each that is
    /// added or taken away later changes the cost of some unknown names at once, and shows to whoever timed them before that nobody has
    /// these names. 32 sets at most are imitated, those that come first.
    ///
    /// # Errors
    /// [`LineError`] where one of them can't be read, or there is none.
    pub fn imitating<H: AsRef<str>>(hashes: impl IntoIterator<Item = H>) -> Result<Self, LineError> {
        let mut passwords = Self::new();
        let mut count = 0_usize;
        for hash in hashes {
            passwords.imitation.learn(Cost::of(hash.as_ref())?);
            count = count.saturating_add(1);
        }
        if count == 0 { Err(LineError::Password) } else { Ok(passwords) }
    }

    /// With a key of 32 random bytes that is kept with the table, as secret as the table is: an unknown name then costs the same after a
    /// restart, and on each of several servers. Without it, whoever times a name before and after a restart can tell, where parameters
    /// are mixed.
    #[must_use]
    pub fn with_key(mut self, key: &[u8; 32]) -> Self {
        self.imitation.adopt(&Imitation::new(*key, [""; 0]));
        self
    }

    /// Hashes a password for the store, with a fresh salt, at the defaults: Argon2id, 19 MiB, 2 passes.
    ///
    /// # Errors
    /// [`AccountError::BadPassword`] where it is empty or has more than 4096 bytes; [`AccountError::Hashing`].
    pub fn hash(password: &[u8]) -> Result<String, AccountError> {
        Self::hash_with(password, HashParameters::default())
    }

    /// As [`PasswordCheck::hash`], at parameters of your own.
    ///
    /// # Errors
    /// As [`PasswordCheck::hash`].
    pub fn hash_with(password: &[u8], parameters: HashParameters) -> Result<String, AccountError> {
        parameters.hash(password)
    }

    /// Whether a stored hash should be replaced at the next good login: it is no Argon2id of the present version with one of OWASP's
    /// settings or more (46 MiB with 1 pass, 19 with 2, 12 with 3, 9 with 4, 7 with 5). Not for one that can't be read.
    pub fn needs_upgrade(stored: &str) -> bool {
        Cost::of(stored).is_ok_and(|cost| !cost.is_up_to_date())
    }

    /// Whether this password, which was just found to be good, is the one that was set: no other is good for this hash. bcrypt looks at 72 bytes
    /// alone, so one of as many or more may have been mistyped. What is not exact must take the place of nothing: its owner would be locked
    /// out.
    pub fn is_exact(stored: &str, password: &[u8]) -> bool {
        hash::is_exact(stored, password)
    }

    /// What to store instead of this hash, whose password was just found to be good: as [`PasswordCheck::hash`]; `None` where it needs no
    /// upgrade, where nobody can tell that it is the one that was set ([`PasswordCheck::is_exact`]), or no hash can be computed now. Takes a
    /// processor for some ten milliseconds.
    ///
    /// Store it only if the stored hash is still that one (compare and set): the password may have been changed meanwhile.
    pub fn upgrade(stored: &str, password: &[u8]) -> Option<String> {
        let is_due = Self::needs_upgrade(stored) && Self::is_exact(stored, password);
        if is_due { Self::hash(password).ok() } else { None }
    }

    /// Checks a password against the store's hash, or does the same work where the store has none. Takes a processor for some
    /// ten milliseconds: from async code, hand [`PasswordCheck::prepare`] to [`crate::Attempt::compute`].
    ///
    /// # Errors
    /// [`Reason::WrongPassword`]; [`Reason::UnknownUser`] without a stored hash; [`Reason::Application`] where the stored hash can't
    /// be read: no password is good then, and the client is refused as with a wrong one; [`Reason::NotNow`] where there is no memory.
    pub fn verify(&self, user: &str, password: &[u8], stored: Option<&str>) -> Result<(), Reason> {
        check(&self.imitated(user), password, stored)
    }

    /// As [`PasswordCheck::verify`], to be done elsewhere: owned, and wiped when dropped.
    pub fn prepare(&self, user: &str, password: &[u8], stored: Option<String>) -> PreparedCheck {
        let password = Zeroizing::new(password.to_vec());
        PreparedCheck { imitated: self.imitated(user), password, stored }
    }

    fn imitated(&self, user: &str) -> Imitated {
        self.imitation.of(user)
    }
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordCheck").finish_non_exhaustive()
    }
}

/// A password check that is yet to be done: [`PasswordCheck::prepare`] makes one.
#[must_use = "nothing is checked before it is run"]
pub struct PreparedCheck {
    imitated: Imitated,
    password: Zeroizing<Vec<u8>>,
    stored: Option<String>,
}

impl PreparedCheck {
    /// Does it.
    ///
    /// # Errors
    /// As [`PasswordCheck::verify`].
    pub fn run(self) -> Result<(), Reason> {
        check(&self.imitated, &self.password, self.stored.as_deref())
    }
}

crate::opaque_debug!(PreparedCheck);

fn check(imitated: &Imitated, password: &[u8], stored: Option<&str>) -> Result<(), Reason> {
    let text = stored.unwrap_or(imitated.as_str());
    let is_readable = Cost::of(text).is_ok();
    // One that can't be read costs what one that can costs.
    let is_good = hash::matches(if is_readable { text } else { imitated.as_str() }, password)?;
    match stored {
        None => Err(Reason::UnknownUser),
        // A *not now*, for this name alone, would tell that there is one, and cost whoever tries names nothing.
        Some(_) if !is_readable => Err(Reason::Application("a stored password hash can't be read")),
        Some(_) if is_good => Ok(()),
        Some(_) => Err(Reason::WrongPassword),
    }
}
