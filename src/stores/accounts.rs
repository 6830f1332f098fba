//! Accounts: names, permissions, Argon2id password hashes and token hashes, as lines of text.
//!
//! ```text
//! # comment
//! alice permissions=read,write password=$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$... token=SHA256:...
//! robot locked=yes locks=1 expires=2027-01-31T00:00:00Z token=SHA256:...
//! dave key=MCowBQYDK2VwAyEA...;from=192.0.2.0/24;until=2027-01-31T00:00:00Z;comment=dave@laptop
//! carol totp=GEZDGNBVGY3TQOJQ... password=$argon2id$... recovery=SHA256:...
//! ```
//!
//! One account per line: the name, then fields in any order. Passwords are stored as PHC strings (Argon2id, RFC 9106, of
//! at most 1 GiB, 32 passes and 16 lanes), tokens as SHA-256 alone, which is enough for 256 random bits. A public key is the base64 of its
//! SubjectPublicKeyInfo; `from=` and `until=` behind it bound its use. The secret of a second
//! factor (TOTP, RFC 6238) stands there as it is, since the server computes codes from it, its recovery codes as SHA-256. With one,
//! passwords and keys need a code, too; tokens don't. The text is UTF-8, with or without a byte order mark, of at most 64 MiB, a line
//! at most 64 KiB.
//!
//! A line that can't be read is left as it is and reported with its number; the others still work. Its name stays taken: a
//! later line of that name does not come alive. A last line without a line feed can't be told from one that was cut short, and
//! counts as broken.

mod error;
mod factor;
mod file;
mod hash;
mod keys;
mod line;
mod name;
mod password;
mod reader;
mod since;
mod stretched;
mod totp;

pub use error::AccountError;
pub use file::{AccountFile, News};
pub use line::{Account, BrokenLine, LineError};
pub use password::{PasswordCheck, PreparedCheck};
pub use totp::{TotpCheck, TotpSecret};

use crate::crypto::{SecretBytes, SecretString};
use crate::limits;
use crate::stores::date::LAST;
use crate::stores::files::text::{self, NoText, content};
use crate::terms::context::Context;
use crate::terms::credential::{Credential, CredentialKind};
use crate::terms::error::Reason;
use crate::terms::factor::Prompt;
use crate::terms::grant::Grant;
use crate::terms::verifier::{Attempt, FactorAttempt, Further, Returning, Verifier};
use crate::time::UnixTime;
use argon2::{Argon2, PasswordHasher};
use base64ct::{Base64UrlUnpadded, Encoding};
use core::fmt;
use hash::Cost;
use line::hash_token;
use rand::TryRng;
use since::Since;
use std::collections::HashMap;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// What every issued token begins with, so that a leaked one is recognised for what it is.
const TOKEN_PREFIX: &str = "cst_";

/// A set of accounts. A [`Verifier`]: an unknown user costs one password hash, at the parameters of a stored one.
///
/// Verifying keeps the memory of a hash for the next one, up to 64 MiB for each core: 19 MiB at the usual parameters.
///
/// ```
/// use countersign::{Accounts, Credential, Reason};
///
/// let mut accounts = Accounts::new();
/// accounts.add("alice", ["read"])?;
/// accounts.set_password("alice", b"correct horse")?;
/// let grant = accounts.check(Credential::Password { user: "alice", password: b"correct horse" });
/// assert_eq!(grant.map(|grant| grant.permits("read")), Ok(true));
/// let wrong = accounts.check(Credential::Password { user: "alice", password: b"battery staple" });
/// assert_eq!(wrong, Err(Reason::WrongPassword));
/// # Ok::<(), countersign::accounts::AccountError>(())
/// ```
#[derive(Default)]
pub struct Accounts {
    lines: Vec<Line>,
    /// What comes after the last line feed.
    tail: Box<[u8]>,
    index: Index,
    /// Keyed at random: which cost an unknown name imitates can't be predicted. An [`AccountFile`] hands it on from reading to
    /// reading, or a name whose cost changes with the file would be known not to be in it.
    imitation: RandomState,
    /// What second factors were used. Handed on as well, or a code would be good twice.
    factors: Arc<factor::Memory>,
}

/// Where in the lines the accounts are.
#[derive(Default)]
struct Index {
    names: HashMap<String, usize>,
    /// The names that broken lines claim.
    claims: HashMap<String, usize>,
    /// By the token's SHA-256.
    tokens: HashMap<[u8; 32], usize>,
    /// What the stored passwords cost, and how many cost that. Without it an unknown name would cost a walk over all accounts.
    costs: HashMap<Cost, usize>,
}

impl Index {
    fn add(&mut self, line: usize, account: &Account) {
        self.names.insert(account.name().to_owned(), line);
        self.tokens.extend(account.tokens.iter().map(|hash| (*hash, line)));
        self.count(account.password.as_ref());
    }

    fn claim(&mut self, line: usize, claimed: &[String]) {
        for name in claimed {
            self.claims.entry(name.clone()).or_insert(line);
        }
    }

    fn count(&mut self, password: Option<&(String, Cost)>) {
        if let Some((_, cost)) = password {
            let count = self.costs.entry(*cost).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn discount(&mut self, password: Option<&(String, Cost)>) {
        if let Some((_, cost)) = password
            && let Some(count) = self.costs.get_mut(cost)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.costs.remove(cost);
            }
        }
    }
}

/// One line of the file, without its line feed. What is no account is kept to the byte.
enum Line {
    Account(Box<Account>),
    /// With the names that it claims, if it was meant to be an account.
    Other(Box<[u8]>, Vec<String>),
}

/// Refuses a new password that is easily guessed: fewer than 8 characters, or the user's name. Whoever sets passwords for
/// others asks this first; [`Accounts::set_password`] takes any.
///
/// # Errors
/// [`AccountError::WeakPassword`].
pub fn check_strength(name: &str, password: &[u8]) -> Result<(), AccountError> {
    let characters = core::str::from_utf8(password).map_or(password.len(), |text| text.chars().count());
    let is_weak = characters < limits::MIN_PASSWORD || password.eq_ignore_ascii_case(name.as_bytes());
    if is_weak { Err(AccountError::WeakPassword) } else { Ok(()) }
}

impl Accounts {
    /// No accounts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads lines of accounts, and says which lines could not be read.
    pub fn parse(text: impl AsRef<[u8]>) -> (Self, Vec<BrokenLine>) {
        let text = text.as_ref();
        let mut accounts = Self::new();
        let mut broken = Vec::new();
        let (lines, tail) = text::split(text);
        for (line, number) in lines.zip(1..) {
            if let Err(error) = accounts.read(line, number) {
                broken.push(BrokenLine { number, error });
            }
        }
        accounts.tail = tail.into();
        if let Some(error) = accounts.read_tail() {
            broken.push(BrokenLine { number: accounts.lines.len().saturating_add(1), error });
        }
        (accounts, broken)
    }

    /// Reads the next line.
    fn read(&mut self, line: &[u8], number: usize) -> Result<(), LineError> {
        let content = content(line, number);
        let read = match content.first() {
            None | Some(b'#') => check_text(content).map(|_| None),
            Some(_) => check_text(content).and_then(|text| Account::parse(text, line)).map(Some),
        };
        let inserted = match read {
            Ok(Some(account)) => self.insert(account),
            Ok(None) => {
                self.lines.push(Line::Other(line.into(), Vec::new()));
                return Ok(());
            }
            Err(error) => Err(error),
        };
        if inserted.is_err() {
            let claimed = claims(content);
            self.index.claim(self.lines.len(), &claimed);
            self.lines.push(Line::Other(line.into(), claimed));
        }
        inserted
    }

    /// What is wrong with the text after the last line feed. What claims a name there may be the half of one.
    fn read_tail(&mut self) -> Option<LineError> {
        let content = content(&self.tail, self.lines.len().saturating_add(1));
        let claimed = claims(content);
        self.index.claim(self.lines.len(), &claimed);
        match check_text(content) {
            Err(error) => Some(error),
            Ok(_) => (!claimed.is_empty()).then_some(LineError::Unended),
        }
    }

    /// The accounts, in the order of their lines.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.lines.iter().filter_map(|line| match line {
            Line::Account(account) => Some(&**account),
            Line::Other(..) => None,
        })
    }

    /// The account of this name.
    pub fn get(&self, name: &str) -> Option<&Account> {
        self.at(*self.index.names.get(name)?)
    }

    /// The account of this name.
    ///
    /// # Errors
    /// [`AccountError::Unknown`]; [`AccountError::Broken`] where its line can't be read.
    pub fn find(&self, name: &str) -> Result<&Account, AccountError> {
        self.get(name).ok_or_else(|| self.missing(name))
    }

    /// Whether an account of this name can be added.
    ///
    /// # Errors
    /// [`AccountError::BadName`], [`AccountError::Exists`], [`AccountError::Broken`].
    pub fn check_new(&self, name: &str) -> Result<(), AccountError> {
        name::check(name)?;
        match self.get(name) {
            Some(_) => Err(AccountError::Exists(name.to_owned())),
            None if self.index.claims.contains_key(name) => Err(self.missing(name)),
            None => Ok(()),
        }
    }

    /// Adds an account without a password or a token.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn add<P: AsRef<str>>(
        &mut self,
        name: &str,
        permissions: impl IntoIterator<Item = P>,
    ) -> Result<(), AccountError> {
        self.check_new(name)?;
        let account = Account::new(Grant::new(name, permissions)?);
        self.insert(account).map_err(|_| AccountError::Exists(name.to_owned()))
    }

    /// Sets a user's password, hashed with Argon2id at the crate's defaults (RFC 9106 and OWASP: 19 MiB, 2 passes).
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn set_password(&mut self, name: &str, password: &[u8]) -> Result<(), AccountError> {
        self.set_password_with(name, password, &Argon2::default())
    }

    /// Sets a user's password under parameters of your own, up to 1 GiB, 32 passes and 16 lanes.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn set_password_with(&mut self, name: &str, password: &[u8], argon2: &Argon2<'_>) -> Result<(), AccountError> {
        if password.is_empty() || password.len() > limits::MAX_SECRET {
            return Err(AccountError::BadPassword);
        }
        self.find(name)?;
        if !hash::is_affordable(argon2.params()) {
            return Err(AccountError::Hashing);
        }
        let hash = argon2.hash_password(password).map_err(|_| AccountError::Hashing)?.to_string();
        self.set_password_hash(name, &hash).map_err(|_| AccountError::Hashing)
    }

    /// Sets a user's password by its hash: an Argon2id PHC string, as [`PasswordCheck::hash`] makes it.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn set_password_hash(&mut self, name: &str, hash: &str) -> Result<(), AccountError> {
        let cost = Cost::of(hash).map_err(AccountError::BadHash)?;
        let account = self.get_mut(name)?;
        let old = account.password.replace((hash.to_owned(), cost));
        // It would still be the old one.
        account.stretched = None;
        self.index.discount(old.as_ref());
        self.index.count(Some(&(String::new(), cost)));
        Ok(())
    }

    /// Gives a user a new token of 256 random bits. It is returned this once and stored only as a hash.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn issue_token(&mut self, name: &str) -> Result<SecretString, AccountError> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::rngs::SysRng.try_fill_bytes(secret.as_mut_slice()).map_err(|_| AccountError::Hashing)?;
        let token =
            Zeroizing::new(format!("{TOKEN_PREFIX}{}", *Zeroizing::new(Base64UrlUnpadded::encode_string(&*secret))));
        let hash = hash_token(token.as_bytes());
        if self.find(name)?.tokens() >= limits::MAX_TOKENS {
            return Err(AccountError::TooManyTokens(name.to_owned()));
        }
        self.get_mut(name)?.tokens.push(hash);
        self.reindex();
        Ok(SecretString::new(token))
    }

    /// Takes all of a user's tokens away. Gives how many there were.
    ///
    /// # Errors
    /// [`AccountError::Unknown`].
    pub fn revoke_tokens(&mut self, name: &str) -> Result<usize, AccountError> {
        let count = core::mem::take(&mut self.get_mut(name)?.tokens).len();
        self.reindex();
        Ok(count)
    }

    /// Locks an account: nothing lets the user in, and the tickets of logins so far stay dead when it is unlocked. Gives
    /// whether it was open.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Broken`].
    pub fn lock(&mut self, name: &str) -> Result<bool, AccountError> {
        if self.find(name)?.is_locked() {
            return Ok(false);
        }
        let account = self.get_mut(name)?;
        account.is_locked = true;
        account.locks = account.locks.saturating_add(1);
        Ok(true)
    }

    /// Unlocks an account. Gives whether it was locked.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Broken`].
    pub fn unlock(&mut self, name: &str) -> Result<bool, AccountError> {
        let was_locked = self.find(name)?.is_locked();
        if was_locked {
            self.get_mut(name)?.is_locked = false;
        }
        Ok(was_locked)
    }

    /// Says from when on nothing lets a user in, until the end of the year 9999; `None` for never.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Broken`].
    pub fn set_expiry(&mut self, name: &str, expires: Option<UnixTime>) -> Result<(), AccountError> {
        let expires = expires.map(|expires| expires.min(LAST));
        if self.find(name)?.expires() != expires {
            self.get_mut(name)?.expires = expires;
        }
        Ok(())
    }

    /// Gives a user a permission. Gives whether it is a new one.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn grant(&mut self, name: &str, permission: &str) -> Result<bool, AccountError> {
        let held = self.find(name)?.grant();
        if held.permits(permission) {
            return Ok(false);
        }
        let grant = Grant::new(name, held.permissions().chain([permission]))?;
        self.get_mut(name)?.grant = grant;
        Ok(true)
    }

    /// Takes a permission from a user. Gives whether there was such a one.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn revoke(&mut self, name: &str, permission: &str) -> Result<bool, AccountError> {
        let held = self.find(name)?.grant();
        if !held.permits(permission) {
            return Ok(false);
        }
        let grant = Grant::new(name, held.permissions().filter(|&held| held != permission))?;
        self.get_mut(name)?.grant = grant;
        Ok(true)
    }

    /// Removes an account, and every broken line of that name: it can be added anew then.
    ///
    /// # Errors
    /// [`AccountError::Unknown`] where there is neither.
    pub fn remove(&mut self, name: &str) -> Result<(), AccountError> {
        if self.get(name).is_none() && !self.index.claims.contains_key(name) {
            return Err(AccountError::Unknown(name.to_owned()));
        }
        let claims_it = |claimed: &[String]| claimed.iter().any(|claimed| claimed == name);
        self.lines.retain(|line| match line {
            Line::Account(account) => account.name() != name,
            Line::Other(_, claimed) => !claims_it(claimed),
        });
        if claims_it(&claims(content(&self.tail, usize::MAX))) {
            self.tail = Box::default();
        }
        self.reindex();
        Ok(())
    }

    /// As a file, to the byte: what [`Accounts::parse`] reads.
    pub fn to_bytes(&self) -> SecretBytes {
        SecretBytes::new(self.text())
    }

    fn text(&self) -> Zeroizing<Vec<u8>> {
        // Most lines have a name, a hash and a few permissions.
        let room = self.lines.len().saturating_mul(256).saturating_add(self.tail.len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        for line in &self.lines {
            match line {
                Line::Other(line, _) => bytes.extend_from_slice(line),
                Line::Account(account) => match &account.line {
                    Some(line) => bytes.extend_from_slice(line),
                    None => bytes.extend_from_slice(account.to_string().as_bytes()),
                },
            }
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(&self.tail);
        bytes
    }

    fn at(&self, index: usize) -> Option<&Account> {
        match self.lines.get(index)? {
            Line::Account(account) => Some(account),
            Line::Other(..) => None,
        }
    }

    /// Says when the lines were last seen to change: those that are as they were in `last` then, the others now.
    fn changed(&mut self, last: Option<&Self>, now: Since) {
        for line in &mut self.lines {
            if let Line::Account(account) = line {
                let old = last.and_then(|last| last.get(account.name()));
                account.since = old.filter(|old| old.is_same_line(account)).map_or(now, |old| old.since);
            }
        }
    }

    /// To change it: what its line was before is forgotten.
    fn get_mut(&mut self, name: &str) -> Result<&mut Account, AccountError> {
        let missing = self.missing(name);
        let line = self.index.names.get(name).and_then(|&index| self.lines.get_mut(index));
        match line {
            Some(Line::Account(account)) => {
                (account.line, account.since) = (None, Since::now());
                Ok(account)
            }
            _ => Err(missing),
        }
    }

    /// What to say of a name that no account has.
    fn missing(&self, name: &str) -> AccountError {
        let name = name.to_owned();
        match self.index.claims.get(&name) {
            Some(index) => AccountError::Broken { name, line: index.saturating_add(1) },
            None => AccountError::Unknown(name),
        }
    }

    fn insert(&mut self, account: Account) -> Result<(), LineError> {
        let name = account.name();
        if let Some(index) = self.index.names.get(name).or_else(|| self.index.claims.get(name)) {
            return Err(LineError::DuplicateName { first: index.saturating_add(1) });
        }
        if account.tokens.iter().any(|hash| self.index.tokens.contains_key(hash)) {
            return Err(LineError::DuplicateToken);
        }
        self.index.add(self.lines.len(), &account);
        self.lines.push(Line::Account(Box::new(account)));
        if !self.tail.is_empty() {
            self.reindex();
        }
        Ok(())
    }

    fn reindex(&mut self) {
        self.index = Index::default();
        for (number, line) in self.lines.iter().enumerate() {
            match line {
                Line::Account(account) => self.index.add(number, account),
                Line::Other(_, claimed) => self.index.claim(number, claimed),
            }
        }
        self.index.claim(self.lines.len(), &claims(content(&self.tail, usize::MAX)));
    }

    fn verify_password(&self, user: &str, password: &[u8]) -> Result<Grant, Reason> {
        let account = self.get(user);
        if let Some((account, (hash, _))) = account.and_then(|account| Some((account, account.password.as_ref()?))) {
            // A closed account costs what an open one does.
            let good = hash::matches(hash, password)?;
            return if good { account.admit(now()) } else { Err(Reason::WrongPassword) };
        }
        // The work of a known user's wrong password.
        Cost::imitated(self.index.costs.keys(), &self.imitation, user).spend(password)?;
        Err(if account.is_some() { Reason::WrongPassword } else { Reason::UnknownUser })
    }

    /// Checks a credential, and gives the account's grant with its epoch. An unknown user costs what a wrong password costs.
    ///
    /// A key that may be used from some addresses alone is not good here: see [`Accounts::check_from`].
    ///
    /// # Errors
    /// The local reason for a refusal.
    pub fn check(&self, credential: Credential<'_>) -> Result<Grant, Reason> {
        self.check_from(credential, None)
    }

    /// As [`Accounts::check`], of a client at this address, where it is known.
    ///
    /// # Errors
    /// As [`Accounts::check`].
    pub fn check_from(&self, credential: Credential<'_>, address: Option<IpAddr>) -> Result<Grant, Reason> {
        match credential {
            Credential::Password { user, password } => self.verify_password(user, password),
            Credential::Token(token) => {
                // Looked up by hash: the time it takes says nothing about any token.
                let account = self.index.tokens.get(&hash_token(token)).and_then(|&index| self.at(index));
                account.ok_or(Reason::UnknownToken)?.admit(now())
            }
            Credential::Key { user, key } => self.verify_key(user, key.public_key(), address),
            Credential::Stretched { user, password } => self.verify_stretched(user, password),
        }
    }

    /// The grant of an account that may log in with a credential of this kind, as it is now: not with a password where it has
    /// none, nor with a token where all are gone.
    ///
    /// # Errors
    /// The local reason why it may not.
    pub fn current(&self, principal: &str, kind: CredentialKind) -> Result<Grant, Reason> {
        self.current_from(principal, kind, None)
    }

    /// As [`Accounts::current`], of a client at this address, where it is known.
    ///
    /// # Errors
    /// As [`Accounts::current`].
    pub fn current_from(
        &self,
        principal: &str,
        kind: CredentialKind,
        address: Option<IpAddr>,
    ) -> Result<Grant, Reason> {
        let account = self.get(principal).ok_or(Reason::UnknownUser)?;
        let can_log_in = match kind {
            CredentialKind::Password | CredentialKind::Stretched => account.has_password() || account.has_stretched(),
            CredentialKind::Token => account.tokens() > 0,
            CredentialKind::Key => account.admits_key(address),
        };
        if can_log_in { account.admit(now()) } else { Err(Reason::AccountDisabled) }
    }
}

impl Verifier for Accounts {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.check_from(attempt.credential(), address_of(attempt.context()))
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.current_from(returning.principal(), returning.kind(), address_of(returning.context()))
    }

    fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        Ok(self.next_factor(further.grant(), further.kind(), further.step()))
    }

    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        self.check_answer(attempt.grant(), attempt.answer(), now())
    }
}

/// As a text: [`Accounts::to_bytes`], and what is not UTF-8 of it replaced.
impl fmt::Display for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("count", &self.index.names.len()).finish_non_exhaustive()
    }
}

/// Where a connection comes from, if the application knows.
fn address_of(context: &Context) -> Option<IpAddr> {
    context.peer().map(|peer| peer.ip())
}

fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

fn check_text(content: &[u8]) -> Result<&str, LineError> {
    text::check(content).map_err(|error| match error {
        NoText::TooLong => LineError::TooLong,
        NoText::ZeroBytes => LineError::ZeroBytes,
        NoText::NotUtf8 { column } => LineError::NotUtf8 { column },
    })
}

/// The names that a broken line with this in it keeps others from having.
fn claims(content: &[u8]) -> Vec<String> {
    if content.starts_with(b"#") { Vec::new() } else { name::claimed(content) }
}
