//! One account: what is kept of a user, and how it is changed.

use super::hash::{Cost, HashParameters};
use super::line::hash_token;
use super::role::{self, Role};
use super::since::Since;
use super::totp::{Answers, TotpSecret};
use super::{AccountError, Line, claims, name};
use crate::crypto::SecretString;
use crate::limits;
use crate::stores::date::LAST;
use crate::stores::files::text::content;
use crate::terms::addresses::AddressPatterns;
use crate::terms::authorized_key::AuthorizedKey;
use crate::terms::credential::CredentialKind;
use crate::terms::error::Reason;
use crate::terms::grant::Grant;
use crate::terms::stretch::StretchedHash;
use crate::time::{TimeOfDay, UnixTime};
use base64ct::{Base64UrlUnpadded, Encoding};
use core::fmt::{self, Write};
use rand::TryRng;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Does this with each part of what is written.
struct Each<F: FnMut(&str)>(F);

impl<F: FnMut(&str)> fmt::Write for Each<F> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        (self.0)(part);
        Ok(())
    }
}

/// What `make` makes of so many random bytes of the system's.
pub(super) fn random<const N: usize, T>(make: impl FnOnce(&[u8; N]) -> T) -> Result<T, AccountError> {
    let mut bytes = Box::new(Zeroizing::new([0; N]));
    rand::rngs::SysRng.try_fill_bytes(bytes.as_mut_slice()).map_err(|_| AccountError::Hashing)?;
    Ok(make(&bytes))
}

/// What every issued token begins with, so that a leaked one is recognised for what it is.
const TOKEN_PREFIX: &str = "cst_";

/// One account. Changing it changes no store: a copy is changed, and the store is told to take it, as
/// [`AccountStore::edit`](super::AccountStore::edit) and [`Accounts::edit`](super::Accounts::edit) do.
#[derive(Clone)]
pub struct Account {
    pub(super) grant: Grant,
    pub(super) password: Option<(String, Cost)>,
    pub(super) stretched: Option<StretchedHash>,
    pub(super) tokens: Vec<[u8; 32]>,
    pub(super) keys: Vec<AuthorizedKey>,
    pub(super) totp: Option<TotpSecret>,
    /// The hashes of what takes the place of a code of the authenticator, once.
    pub(super) recovery: Vec<[u8; 32]>,
    pub(super) is_locked: bool,
    /// How often it was locked: so that the tickets of before stay dead when it is unlocked.
    pub(super) locks: u32,
    pub(super) expires: Option<UnixTime>,
    pub(super) from: Option<AddressPatterns>,
    pub(super) roles: Vec<String>,
    /// The roles, once they were found: all of them, or none.
    pub(super) resolved: Vec<Arc<Role>>,
    /// The line that it was read from, where that is not what is written: it is kept until the account is changed.
    pub(super) line: Option<Zeroizing<Box<[u8]>>>,
    pub(super) since: Since,
    pub(super) answers: Answers,
}

impl Account {
    /// A new account without a password, a key or a token: nothing lets the user in yet.
    ///
    /// # Errors
    /// [`AccountError::BadName`], [`AccountError::Permissions`].
    pub fn new<P: AsRef<str>>(name: &str, permissions: impl IntoIterator<Item = P>) -> Result<Self, AccountError> {
        name::check(name)?;
        Ok(Self::of(Grant::new(name, permissions)?))
    }

    pub(super) fn of(grant: Grant) -> Self {
        Self {
            grant,
            password: None,
            stretched: None,
            tokens: Vec::new(),
            keys: Vec::new(),
            totp: None,
            recovery: Vec::new(),
            is_locked: false,
            locks: 0,
            expires: None,
            from: None,
            roles: Vec::new(),
            resolved: Vec::new(),
            line: None,
            since: Since::now(),
            answers: Answers::default(),
        }
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        self.grant.principal()
    }

    /// What the account has of its own: its roles give more ([`Account::granted`]).
    pub fn own_grant(&self) -> &Grant {
        &self.grant
    }

    /// The names of the account's roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(String::as_str)
    }

    /// All that the user is granted on login: the account's own permissions, and those of its roles.
    ///
    /// # Errors
    /// [`AccountError::UnknownRole`] where they were not found ([`Account::with_roles`]); [`AccountError::Permissions`] where all together are more than
    /// a grant may have.
    pub fn granted(&self) -> Result<Grant, AccountError> {
        if let Some(role) = self.roles.iter().find(|name| self.resolved.iter().all(|role| role.name() != name.as_str()))
        {
            return Err(AccountError::UnknownRole(role.clone()));
        }
        if self.roles.is_empty() {
            return Ok(self.grant.clone());
        }
        let mut all: Vec<&str> = self.grant.permissions().collect();
        for permission in self.resolved.iter().flat_map(|role| role.permissions()) {
            if !all.contains(&permission) {
                all.push(permission);
            }
        }
        Ok(Grant::new(self.name(), all)?)
    }

    /// The same account with these roles found for it. For stores of one's own, which keep roles beside their accounts; an
    /// [`AccountFile`](super::AccountFile) and [`Accounts`](super::Accounts) do that by themselves. An account whose roles were not found lets nobody in.
    ///
    /// # Errors
    /// As [`Account::granted`].
    pub fn with_roles(mut self, roles: impl IntoIterator<Item = Role>) -> Result<Self, AccountError> {
        let roles: Vec<Arc<Role>> = roles.into_iter().map(Arc::new).collect();
        self.resolve(|name| roles.iter().find(|role| role.name() == name).cloned())?;
        Ok(self)
    }

    pub(super) fn resolve(&mut self, find: impl Fn(&str) -> Option<Arc<Role>>) -> Result<(), AccountError> {
        let found = self.roles.iter().map(|name| find(name).ok_or_else(|| AccountError::UnknownRole(name.clone())));
        self.resolved = found.collect::<Result<_, _>>()?;
        self.granted().map(drop)
    }

    /// Its line, when it can't be read after all.
    pub(super) fn to_broken(&self, number: usize) -> Line {
        let line = self.line.clone().unwrap_or_else(|| {
            let mut line = Vec::with_capacity(self.length());
            self.write_to(&mut line);
            Zeroizing::new(line.into())
        });
        let claimed = claims(content(&line, number));
        Line::Other(line, claimed)
    }

    /// How long the line is that is written of it.
    pub(super) fn length(&self) -> usize {
        let mut length: usize = 0;
        let _ = write!(Each(|text| length = length.saturating_add(text.len())), "{self}");
        length
    }

    /// Appends that line. As text of its own it would stand in memory once more, with the second factor's secret in it.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let _ = write!(Each(|text| out.extend_from_slice(text.as_bytes())), "{self}");
    }

    /// From where it may be used; none where from everywhere.
    pub fn allowed_from(&self) -> Option<&AddressPatterns> {
        self.from.as_ref()
    }

    /// A number that is another whenever the account is, by an edit by hand, too: its permissions, its password, its tokens, its
    /// expiry, and how often it was locked. Tickets of other epochs are not taken.
    ///
    /// None comes back, either: not with an account that is removed and added again as it was, and not with a backup. In
    /// [`Accounts`](super::Accounts) of your own, every change gives another, and so does every start of the process. That of
    /// an [`AccountFile`](super::AccountFile) stays as long as the process sees no other line for the account, and is the same
    /// in the next process, if nothing has touched the file since this one opened it. That of another store stays as long as its
    /// [`Account::version`] does.
    ///
    /// It is the front of a SHA-256 of the fields, with the hashes of its secrets, and of the version; and of its roles and their versions.
    pub fn epoch(&self) -> u64 {
        let mut hash = Sha256::new().chain_update(self.since.to_bytes());
        let _ = write!(Each(|text| hash.update(text)), "{self}");
        for role in &self.resolved {
            hash.update(role.since().to_bytes());
            hash.update(role.to_string());
        }
        front(hash)
    }

    /// A number that is another whenever what lets the user in by a credential of this kind is: the password, the tokens, or the keys, the
    /// second factor beside a password or a key, and how often the account was locked ([`Grant::with_credential_epoch`]).
    fn credential_epoch(&self, kind: CredentialKind) -> u64 {
        let mut hash = Sha256::new().chain_update(self.locks.to_be_bytes());
        if kind != CredentialKind::Token
            && let Some(totp) = &self.totp
        {
            hash.update(totp.to_base32().as_bytes());
        }
        match kind {
            // One password, whoever hashes it.
            CredentialKind::Password | CredentialKind::Stretched => {
                hash.update(self.password.as_ref().map_or("", |(hash, _)| hash));
                if let Some(stretched) = &self.stretched {
                    hash.update(stretched.to_string());
                }
            }
            CredentialKind::Token => self.tokens.iter().for_each(|token| hash.update(token)),
            CredentialKind::Key => self.keys.iter().for_each(|key| hash.update(key.key().id().as_bytes())),
        }
        front(hash)
    }

    /// A number that stands for the last change of the account.
    pub fn version(&self) -> u64 {
        self.since.number()
    }

    /// The same account under this version. For stores: a random number, drawn anew whenever the account is added or
    /// changed, and kept with it.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.since = Since::from_number(version);
        self
    }

    /// What is remembered of the answers to its second factor.
    pub fn answers(&self) -> Answers {
        self.answers
    }

    /// The same account, of which this is remembered. It is no part of the account's epoch.
    #[must_use]
    pub fn with_answers(mut self, answers: Answers) -> Self {
        self.answers = answers;
        self
    }

    /// Whether both have the same fields, whatever their versions are and what is remembered of them.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self {
            grant,
            password,
            stretched,
            tokens,
            keys,
            totp,
            recovery,
            is_locked,
            locks,
            expires,
            from,
            roles,
            ..
        } = self;
        (from, roles) == (&other.from, &other.roles)
            && (grant, password, tokens, keys) == (&other.grant, &other.password, &other.tokens, &other.keys)
            && (stretched, totp, recovery) == (&other.stretched, &other.totp, &other.recovery)
            && (is_locked, locks, expires) == (&other.is_locked, &other.locks, &other.expires)
    }

    /// Whether both have the same line, to the byte.
    pub(super) fn is_same_line(&self, other: &Self) -> bool {
        self.is_same(other) && self.line == other.line
    }

    /// Whether a password is set.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// What its password costs to check, as a text that is the same for all that cost the same, and says nothing else of them: a hash that no
    /// password is known for. `None` without a password. For stores, which keep one of each: see [`Imitation::new`](super::Imitation::new).
    pub fn password_cost(&self) -> Option<String> {
        self.password.as_ref().map(|(_, cost)| cost.example())
    }

    /// How many tokens are valid.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The public keys that its user can log in by.
    pub fn keys(&self) -> &[AuthorizedKey] {
        &self.keys
    }

    /// Whether a second factor is set: one-time codes of an authenticator.
    pub fn has_totp(&self) -> bool {
        self.totp.is_some()
    }

    /// How many recovery codes are left.
    pub fn recovery_codes(&self) -> usize {
        self.recovery.len()
    }

    /// Whether it is locked: nothing lets the user in.
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// From when on nothing lets the user in; never, where there is none.
    pub fn expires(&self) -> Option<UnixTime> {
        self.expires
    }

    /// The grant for a good credential of this kind, unless the account is closed, or may not be used from there.
    pub(super) fn admit(
        &self,
        kind: CredentialKind,
        address: Option<IpAddr>,
        time: TimeOfDay,
    ) -> Result<Grant, Reason> {
        if self.is_locked {
            return Err(Reason::AccountLocked);
        }
        if self.expires.is_some_and(|expires| expires <= time.earliest()) {
            return Err(Reason::AccountExpired);
        }
        if self.from.as_ref().is_some_and(|from| !from.admit(address)) {
            return Err(Reason::NetworkNotAdmitted);
        }
        let granted = self.granted().map_err(|_| Reason::Application("a role of the account is not known"))?;
        Ok(granted.with_epoch(self.epoch()).with_credential_epoch(self.credential_epoch(kind)))
    }
}

/// Changes.
impl Account {
    /// Sets the password, hashed with Argon2id at the crate's defaults (RFC 9106 and OWASP: 19 MiB, 2 passes).
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn set_password(&mut self, password: &[u8]) -> Result<(), AccountError> {
        self.set_password_with(password, HashParameters::default())
    }

    /// Sets the password under parameters of your own.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn set_password_with(&mut self, password: &[u8], parameters: HashParameters) -> Result<(), AccountError> {
        let hash = parameters.hash(password)?;
        self.set_password_hash(&hash).map_err(|_| AccountError::Hashing)
    }

    /// Sets the password by its hash: an Argon2id PHC string, as [`PasswordCheck::hash`](super::PasswordCheck::hash) makes it, or with the
    /// feature `password-formats` one of [those of other programs](crate::accounts#passwords-of-other-programs).
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn set_password_hash(&mut self, hash: &str) -> Result<(), AccountError> {
        let cost = Cost::of(hash).map_err(AccountError::BadHash)?;
        self.password = Some((hash.to_owned(), cost));
        // It would still be the old one.
        self.stretched = None;
        Ok(())
    }

    /// Adds a new token of 256 random bits. It is returned this once and stored only as a hash.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn issue_token(&mut self) -> Result<SecretString, AccountError> {
        if self.tokens() >= limits::MAX_TOKENS {
            return Err(AccountError::TooManyTokens(self.name().to_owned()));
        }
        let secret = random::<32, _>(|secret| Zeroizing::new(Base64UrlUnpadded::encode_string(secret)))?;
        let token = Zeroizing::new(format!("{TOKEN_PREFIX}{}", *secret));
        self.tokens.push(hash_token(token.as_bytes()));
        Ok(SecretString::new(token))
    }

    /// Takes all tokens away. Gives how many there were.
    pub fn revoke_tokens(&mut self) -> usize {
        core::mem::take(&mut self.tokens).len()
    }

    /// Locks it: nothing lets the user in, and the tickets of logins so far stay dead when it is unlocked. Gives
    /// whether it was open.
    pub fn lock(&mut self) -> bool {
        let was_open = !core::mem::replace(&mut self.is_locked, true);
        self.locks = self.locks.saturating_add(u32::from(was_open));
        was_open
    }

    /// Unlocks it. Gives whether it was locked.
    pub fn unlock(&mut self) -> bool {
        core::mem::replace(&mut self.is_locked, false)
    }

    /// Says from when on nothing lets the user in, until the end of the year 9999; `None` for never.
    pub fn set_expiry(&mut self, expires: Option<UnixTime>) {
        self.expires = expires.map(|expires| expires.min(LAST));
    }

    /// Says from where the account may be used, whatever the credential, as [`AddressPatterns::parse`] takes it; `None` for everywhere.
    ///
    /// # Errors
    /// [`AccountError::From`].
    pub fn set_from(&mut self, from: Option<&str>) -> Result<(), AccountError> {
        self.from = from.map(|from| AddressPatterns::parse(&from.replace(' ', ""))).transpose()?;
        Ok(())
    }

    /// Gives the user a role. Gives whether it is a new one. That there is such a role is seen when the account is kept.
    ///
    /// # Errors
    /// [`AccountError::BadRole`], [`AccountError::TooManyRoles`].
    pub fn add_role(&mut self, role: &str) -> Result<bool, AccountError> {
        role::check(role)?;
        if self.roles().any(|held| held == role) {
            return Ok(false);
        }
        if self.roles.len() >= limits::MAX_ROLES {
            return Err(AccountError::TooManyRoles(self.name().to_owned()));
        }
        self.roles.push(role.to_owned());
        Ok(true)
    }

    /// Takes a role from the user. Gives whether there was such a one.
    pub fn remove_role(&mut self, role: &str) -> bool {
        let count = self.roles.len();
        self.roles.retain(|held| held != role);
        self.roles.len() != count
    }

    /// Gives the user a permission. Gives whether it is a new one.
    ///
    /// # Errors
    /// [`AccountError::Permissions`].
    pub fn add_permission(&mut self, permission: &str) -> Result<bool, AccountError> {
        if self.grant.permissions().any(|held| held == permission) {
            return Ok(false);
        }
        self.grant = Grant::new(self.name(), self.grant.permissions().chain([permission]))?;
        Ok(true)
    }

    /// Takes a permission from the user. Gives whether there was such a one.
    ///
    /// # Errors
    /// [`AccountError::Permissions`].
    pub fn remove_permission(&mut self, permission: &str) -> Result<bool, AccountError> {
        if self.grant.permissions().all(|held| held != permission) {
            return Ok(false);
        }
        self.grant = Grant::new(self.name(), self.grant.permissions().filter(|&held| held != permission))?;
        Ok(true)
    }
}

/// The front of a hash, as a number.
pub(super) fn front(hash: Sha256) -> u64 {
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().map_or(0, |front| u64::from_be_bytes(*front))
}

/// Prints no hashes.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("grant", &self.grant).finish_non_exhaustive()
    }
}
