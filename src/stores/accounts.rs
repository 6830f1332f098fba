//! Accounts: names, permissions, Argon2id password hashes and token hashes, as lines of text.
//!
//! ```text
//! # comment
//! @clerk permissions=orders:read,orders:write
//! erin roles=clerk from=192.0.2.0/24 password=$argon2id$...
//! alice permissions=read,write password=$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$... token=SHA256:...
//! robot locked=yes locks=1 expires=2027-01-31T00:00:00Z token=SHA256:...
//! dave key=MCowBQYDK2VwAyEA...;from=192.0.2.0/24;until=2027-01-31T00:00:00Z;comment=dave@laptop
//! carol totp=GEZDGNBVGY3TQOJQ... password=$argon2id$... recovery=SHA256:...
//! ```
//!
//! One account per line: the name, then fields in any order. Passwords are stored as PHC strings (Argon2id, RFC 9106, of
//! at most 1 GiB, 32 passes, 4 GiB of memory times passes, and 16 lanes; others [below](#passwords-of-other-programs)), tokens as SHA-256 alone, which is enough for 256 random bits. A public key is the base64 of its
//! SubjectPublicKeyInfo; `from=` and `until=` behind it bound its use: at that time it is over, as an account is at `expires=`. The secret of a second
//! factor (TOTP, RFC 6238) stands there as it is, since the server computes codes from it, its recovery codes as SHA-256. With one,
//! passwords and keys need a code, too; tokens don't. The text is UTF-8, with or without a byte order mark, of at most 64 MiB, a line
//! at most 64 KiB.
//!
//! A line that begins with `@` is a role: permissions under a name, which accounts have with `roles=`, beside permissions of their own. A change of
//! a role is one of all its accounts. An account with a role that there is not can't be read. `from=` says from where an account may be used, whatever the
//! credential: addresses, blocks and patterns, with commas between, as in `authorized_keys` ([`crate::AddressPatterns`]).
//!
//! A line that can't be read is left as it is and reported with its number; the others still work. Its name stays taken: a
//! later line of that name does not come alive. A last line without a line feed can't be told from one that was cut short, and
//! counts as broken.
//!
//! # Passwords of other programs
//!
//! With the feature `password-formats`, a stored password may also be one of these, as other programs have written it:
//!
//! | format | as it looks | bounds |
//! |---|---|---|
//! | Argon2i, Argon2d | `$argon2i$v=19$m=...` | as Argon2id |
//! | bcrypt | `$2a$`, `$2b$`, `$2y$` | cost 4 to 16 |
//! | scrypt | `$scrypt$ln=16,r=8,p=1$...`, `$7$...` | N of 1024 or more; 256 MiB; N·r·p up to 8 Mi; p up to 16 |
//! | PBKDF2 | `$pbkdf2-sha256$i=...`, passlib's `$pbkdf2-sha256$29000$...`; also SHA-1 and SHA-512 | 1000 to 5,000,000 iterations |
//! | SHA-crypt | `$5$...`, `$6$rounds=...` | 1000 to 1,000,000 rounds |
//! | yescrypt | `$y$j9T$...` | as `crypt` makes it; N of 1024 or more; 256 MiB |
//! | Django's | `pbkdf2_sha256$`, `bcrypt_sha256$$2b$`, `bcrypt$$2b$`, `argon2$argon2id$`, `scrypt$` | as above |
//!
//! bcrypt looks at the first 72 bytes of a password alone, as the programs did that made the hash. Whoever shows 72 bytes or more may have mistyped the
//! rest, and is let in as they were there; but what they showed is not stored in the place of the hash ([`PasswordCheck::is_exact`]), which stays until a
//! password is set anew. bcrypt and `crypt`'s formats refuse a
//! password with a zero byte, and `crypt`'s one of more than 511 bytes: no hash of such a one was ever made. MD5-crypt, `{SHA}` and their
//! like are not taken: they protect nothing, and whoever has one needs a new password.
//!
//! # What unknown names cost
//!
//! A login under a name that has no password costs what one costs that has: of all parameters that passwords are stored with, those that
//! a secret key assigns to the name. The line `#imitate`, which edits write where there is more than one set of them, keeps the key and the
//! parameters, so that nothing changes for a name when accounts come and go, when passwords are upgraded, after a restart, or on another
//! server. Parameters stay on it when the last account that has them goes. New ones change the cost of some names, once: those that imitate
//! them from then on.

mod account;
mod error;
mod factor;
pub(super) mod file;
mod hash;
mod imitation;
mod keys;
mod line;
mod memory;
mod name;
mod password;
mod reader;
mod role;
mod since;
mod store;
mod stretched;
mod totp;
mod verifier;

pub use account::Account;
pub use error::AccountError;
pub use file::{AccountFile, News};
pub use hash::HashParameters;
pub use imitation::Imitation;
pub use line::{BrokenLine, LineError};
pub use password::{PasswordCheck, PreparedCheck};
pub use role::Role;
pub use store::{AccountStore, StoreError};
pub use totp::{Answers, TotpCheck, TotpSecret};
pub use verifier::AccountVerifier;

use crate::crypto::SecretBytes;
use crate::limits;
use crate::stores::files::TextError;
use crate::stores::files::text::{self, content};
use crate::terms::context::Context;
use crate::terms::credential::{Credential, CredentialKind};
use crate::terms::error::Reason;
use crate::terms::grant::Grant;
use crate::time::{Clock, TimeOfDay};
use core::fmt;
use hash::Cost;
use imitation::Learned;
use line::hash_token;
use since::Since;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A set of accounts, in memory. An [`AccountStore`] within a [`std::sync::RwLock`], which an [`AccountVerifier`] lets users in by. A machine
/// driven by hand may ask [`Accounts::check`], which lets nobody in by a password or a key who has a second factor.
///
/// Checking keeps the memory of a hash for the next one, up to 64 MiB for each core: 19 MiB at the usual parameters.
///
/// ```
/// use countersign::{Accounts, Credential, Reason};
///
/// let mut accounts = Accounts::new();
/// accounts.add("alice", ["read"])?;
/// accounts.edit("alice", |account| account.set_password(b"correct horse"))?;
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
    tail: Zeroizing<Box<[u8]>>,
    index: Index,
    /// Which cost an unknown name imitates. An [`AccountFile`] hands it on from reading to reading.
    imitation: Arc<Learned>,
    /// What is remembered of answers to second factors. Handed on as well, or a code would be good twice.
    answers: Arc<TotpCheck>,
}

/// Where in the lines the accounts are.
#[derive(Default)]
struct Index {
    names: HashMap<String, usize>,
    roles: HashMap<String, usize>,
    /// The names that broken lines claim.
    claims: HashMap<String, usize>,
    /// By the token's SHA-256.
    tokens: HashMap<[u8; 32], usize>,
}

impl Index {
    fn add(&mut self, line: usize, account: &Account) {
        self.names.insert(account.name().to_owned(), line);
        self.tokens.extend(account.tokens.iter().map(|hash| (*hash, line)));
    }

    fn claim(&mut self, line: usize, claimed: &[String]) {
        for name in claimed {
            self.claims.entry(name.clone()).or_insert(line);
        }
    }
}

/// One line of the file, without its line feed. What is no account is kept to the byte.
enum Line {
    Account(Box<Account>),
    Role(Arc<Role>),
    /// With the names that it claims, if it was meant to be an account.
    Other(Zeroizing<Box<[u8]>>, Vec<String>),
}

impl Line {
    fn other(line: &[u8], claimed: Vec<String>) -> Self {
        Self::Other(Zeroizing::new(line.into()), claimed)
    }

    /// How long it is when it is written.
    fn length(&self) -> usize {
        match self {
            Self::Other(line, _) => line.len(),
            Self::Role(role) => role.to_line().len(),
            Self::Account(account) => account.line.as_ref().map_or_else(|| account.length(), |line| line.len()),
        }
    }
}

/// Refuses a new password that is easily guessed: fewer than 8 characters, or the user's name. Whoever sets passwords for
/// others asks this first; [`Account::set_password`] takes any.
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
        accounts.tail = Zeroizing::new(tail.into());
        for (index, error) in accounts.resolve() {
            broken.push(BrokenLine { number: index.saturating_add(1), error });
        }
        broken.sort_by_key(|line| line.number);
        if let Some(error) = accounts.read_tail() {
            broken.push(BrokenLine { number: accounts.lines.len().saturating_add(1), error });
        }
        (accounts, broken)
    }

    /// Reads the next line.
    fn read(&mut self, line: &[u8], number: usize) -> Result<(), LineError> {
        let content = content(line, number);
        let read = match content.first() {
            None | Some(b'#') => check_text(content).and_then(|text| self.read_comment(text)).map(|()| None),
            Some(b'@') => match check_text(content).and_then(|text| Role::parse(text.get(1..).unwrap_or(""), line)) {
                Ok(role) => return self.push_role(role, line),
                Err(error) => Err(error),
            },
            Some(_) => check_text(content).and_then(|text| Account::parse(text, line)).map(Some),
        };
        let inserted = match read {
            Ok(Some(account)) => self.push(account),
            Ok(None) => {
                self.lines.push(Line::other(line, Vec::new()));
                return Ok(());
            }
            Err(error) => Err(error),
        };
        if inserted.is_err() {
            let claimed = claims(content);
            self.index.claim(self.lines.len(), &claimed);
            self.lines.push(Line::other(line, claimed));
        }
        inserted
    }

    /// A comment; one of them says what unknown names cost.
    fn read_comment(&self, text: &str) -> Result<(), LineError> {
        let Some(kept) = text.strip_prefix(imitation::FRONT) else { return Ok(()) };
        self.imitation.adopt(&Imitation::parse(kept).ok_or(LineError::Imitation)?);
        Ok(())
    }

    /// Has what unknown names cost stand in the file, where there is something to choose.
    fn keep_imitation(&mut self) {
        // What `set_password` makes, and an upgrade.
        self.imitation.learn(Cost::default());
        let Some(kept) = self.imitation().line() else { return };
        let is_kept =
            |line: &Line| matches!(line, Line::Other(line, _) if line.starts_with(imitation::FRONT.as_bytes()));
        let line = Line::other(kept.as_bytes(), Vec::new());
        match self.lines.iter().position(is_kept).and_then(|index| self.lines.get_mut(index)) {
            Some(old) => *old = line,
            None => self.push_line(line),
        }
    }

    /// What is wrong with the text after the last line feed. What claims a name there may be the half of one.
    fn read_tail(&mut self) -> Option<LineError> {
        let content = content(&self.tail, self.lines.len().saturating_add(1));
        let claimed = claims(content);
        self.index.claim(self.lines.len(), &claimed);
        let broken = match text::check(content) {
            Err(error) => Some(error),
            Ok(_) => (!claimed.is_empty()).then_some(TextError::Unended),
        };
        broken.map(LineError::Text)
    }

    /// The accounts, in the order of their lines.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.lines.iter().filter_map(|line| match line {
            Line::Account(account) => Some(&**account),
            Line::Role(_) | Line::Other(..) => None,
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
        self.insert(&Account::new(name, permissions)?)
    }

    /// Adds an account that was made elsewhere, with what is remembered of it.
    ///
    /// # Errors
    /// As [`Accounts::check_new`], and [`AccountError::DuplicateToken`].
    pub fn insert(&mut self, account: &Account) -> Result<(), AccountError> {
        let name = account.name();
        self.check_new(name)?;
        let new = self.resolved(Account { line: None, since: Since::now(), ..account.clone() })?;
        self.push(new).map_err(|_| AccountError::DuplicateToken(name.to_owned()))?;
        self.answers.adopt(account, now().now());
        Ok(())
    }

    /// Changes an account. An error of `change` leaves it as it was.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Broken`], what `change` says, and [`AccountError::DuplicateToken`].
    pub fn edit<T>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Account) -> Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        let time = now().now();
        let old = self.find(name)?;
        let old = old.clone().with_answers(self.answers.known(old, time));
        let mut new = old.clone();
        let result = change(&mut new)?;
        let new = self.changed_to(new)?;
        // Of a new authenticator no code was used, nor a wrong one given. Nobody else answers meanwhile: this is borrowed whole.
        let _ = self.answers.replace(&old, &new, time);
        self.put(new);
        Ok(result)
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
            Line::Role(_) => true,
            Line::Other(_, claimed) => !claims_it(claimed),
        });
        if claims_it(&claims(content(&self.tail, usize::MAX))) {
            self.tail = Zeroizing::default();
        }
        self.reindex();
        Ok(())
    }

    /// As a file, to the byte: what [`Accounts::parse`] reads.
    pub fn to_bytes(&self) -> SecretBytes {
        SecretBytes::new(self.text())
    }

    fn text(&self) -> Zeroizing<Vec<u8>> {
        // As long as it will be: growing would leave copies of the secrets behind.
        let room =
            self.lines.iter().fold(self.tail.len(), |room, line| room.saturating_add(line.length()).saturating_add(1));
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        for line in &self.lines {
            match line {
                Line::Other(line, _) => bytes.extend_from_slice(line),
                Line::Role(role) => bytes.extend_from_slice(&role.to_line()),
                Line::Account(account) => match &account.line {
                    Some(line) => bytes.extend_from_slice(line),
                    None => account.write_to(&mut bytes),
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
            Line::Role(_) | Line::Other(..) => None,
        }
    }

    /// Says when the lines were last seen to change: those that are as they were in `last` then, the others now.
    fn changed(&mut self, last: Option<&Self>, now: Since) {
        for line in &mut self.lines {
            match line {
                Line::Account(account) => {
                    let old = last.and_then(|last| last.get(account.name()));
                    account.since = old.filter(|old| old.is_same_line(account)).map_or(now, |old| old.since);
                }
                Line::Role(role) => {
                    let old = last.and_then(|last| last.role(role.name()));
                    let since = old.filter(|old| old.is_same_line(role)).map_or(now, Role::since);
                    *role = Arc::new(role.changed(since));
                }
                Line::Other(..) => {}
            }
        }
        // None of them has become unknown.
        drop(self.resolve());
    }

    /// Puts a changed account in the place of the one of its name: what its line was before is forgotten.
    fn put(&mut self, new: Account) {
        let line = self.index.names.get(new.name()).and_then(|&index| self.lines.get_mut(index));
        let Some(Line::Account(account)) = line else { return };
        if account.is_same(&new) {
            return;
        }
        let new = Box::new(Account { line: None, since: Since::now(), ..new });
        let old = core::mem::replace(account, new);
        if let Some((_, cost)) = account.password {
            self.imitation.learn(cost);
        }
        if old.tokens != account.tokens {
            self.reindex();
        }
    }

    /// A changed account as it would be kept: with the permissions of its roles, and with no token of somebody else's, who would be locked out by it when
    /// the lines are read again.
    fn changed_to(&self, new: Account) -> Result<Account, AccountError> {
        let own = self.index.names.get(new.name());
        if new.tokens.iter().any(|hash| self.index.tokens.get(hash).is_some_and(|line| Some(line) != own)) {
            return Err(AccountError::DuplicateToken(new.name().to_owned()));
        }
        self.resolved(new)
    }

    /// The account of this name, with what is remembered of it.
    fn stored(&self, name: &str) -> Option<Account> {
        self.get(name).map(|account| account.clone().with_answers(self.answers.known(account, now().now())))
    }

    /// The account that has this token.
    fn by_token(&self, hash: &[u8; 32]) -> Option<&Account> {
        self.at(*self.index.tokens.get(hash)?)
    }

    /// What to say of a name that no account has.
    fn missing(&self, name: &str) -> AccountError {
        let name = name.to_owned();
        match self.index.claims.get(&name) {
            Some(index) => AccountError::Broken { name, line: index.saturating_add(1) },
            None => AccountError::Unknown(name),
        }
    }

    fn push(&mut self, account: Account) -> Result<(), LineError> {
        let name = account.name();
        if let Some(index) = self.index.names.get(name).or_else(|| self.index.claims.get(name)) {
            return Err(LineError::DuplicateName { first: index.saturating_add(1) });
        }
        if account.tokens.iter().any(|hash| self.index.tokens.contains_key(hash)) {
            return Err(LineError::DuplicateToken);
        }
        if let Some((_, cost)) = account.password {
            self.imitation.learn(cost);
        }
        self.index.add(self.lines.len(), &account);
        self.push_line(Line::Account(Box::new(account)));
        Ok(())
    }

    fn push_role(&mut self, role: Role, line: &[u8]) -> Result<(), LineError> {
        let claim = format!("@{}", role.name());
        let first = self.index.roles.get(role.name()).or_else(|| self.index.claims.get(&claim)).copied();
        let Some(first) = first else {
            self.index.roles.insert(role.name().to_owned(), self.lines.len());
            self.lines.push(Line::Role(Arc::new(role)));
            return Ok(());
        };
        self.lines.push(Line::other(line, vec![claim]));
        Err(LineError::DuplicateRole { first: first.saturating_add(1) })
    }

    /// Adds a line. What comes after the last line feed moves behind it.
    fn push_line(&mut self, line: Line) {
        let old = self.lines.len();
        self.lines.push(line);
        for name in claims(content(&self.tail, usize::MAX)) {
            if let Some(index) = self.index.claims.get_mut(&name).filter(|index| **index == old) {
                *index = self.lines.len();
            }
        }
    }

    fn reindex(&mut self) {
        self.index = Index::default();
        for (number, line) in self.lines.iter().enumerate() {
            match line {
                Line::Account(account) => self.index.add(number, account),
                Line::Role(role) => drop(self.index.roles.insert(role.name().to_owned(), number)),
                Line::Other(_, claimed) => self.index.claim(number, claimed),
            }
        }
        self.index.claim(self.lines.len(), &claims(content(&self.tail, usize::MAX)));
    }

    fn imitation(&self) -> Imitation {
        self.imitation.now()
    }

    /// Checks a credential, and gives the account's grant with its epoch. An unknown user costs what a wrong password costs.
    ///
    /// No second factor is asked for here, so an account that has one is let in by tokens alone: see [`AccountVerifier`]. A key that may be used
    /// from some addresses alone is not good here, either: see [`Accounts::check_from`].
    ///
    /// # Errors
    /// The local reason for a refusal: [`Reason::FactorNotOffered`] where the password or the key is good, and not enough.
    pub fn check(&self, credential: Credential<'_>) -> Result<Grant, Reason> {
        self.check_from(credential, None)
    }

    /// As [`Accounts::check`], of a client at this address, where it is known.
    ///
    /// # Errors
    /// As [`Accounts::check`].
    pub fn check_from(&self, credential: Credential<'_>, address: Option<IpAddr>) -> Result<Grant, Reason> {
        let account = match credential {
            Credential::Token(token) => self.by_token(&hash_token(token)),
            Credential::Password { user, .. } | Credential::Key { user, .. } | Credential::Stretched { user, .. } => {
                self.get(user)
            }
        };
        let admit = |kind| account.ok_or(Reason::UnknownUser)?.admit(kind, address, now());
        let grant = match credential {
            Credential::Password { user, password } => {
                verifier::check_password(account, &self.imitation().of(user), password)?;
                admit(CredentialKind::Password)?
            }
            Credential::Stretched { user, password } => {
                stretched::check(account, &self.imitation().of(user), password)?;
                admit(CredentialKind::Stretched)?
            }
            Credential::Token(_) | Credential::Key { .. } => {
                verifier::check_other(account, credential, address, now())?
            }
        };
        // Whoever asks here can't be asked for a code.
        let is_enough = account.is_none_or(|account| account.next_factor(credential.kind(), 0).is_none());
        if is_enough { Ok(grant) } else { Err(Reason::FactorNotOffered) }
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
        verifier::check_return(self.get(principal), kind, address, now())
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

fn now() -> TimeOfDay {
    Clock::system().look()
}

fn check_text(content: &[u8]) -> Result<&str, LineError> {
    Ok(text::check(content)?)
}

/// The names that a broken line with this in it keeps others from having.
fn claims(content: &[u8]) -> Vec<String> {
    if content.starts_with(b"#") { Vec::new() } else { name::claimed(content) }
}
