//! Accounts: names, permissions, Argon2id password hashes and token hashes, as lines of text.
//!
//! ```text
//! # comment
//! alice permissions=read,write password=$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$... token=SHA256:...
//! ```
//!
//! One account per line: the name, then fields in any order. Passwords are stored as PHC strings (Argon2id, RFC 9106, of
//! at most 1 GiB, 32 passes and 16 lanes), tokens as SHA-256 alone, which is enough for 256 random bits. A line that
//! can't be read is left as it is and reported with its number; the others still work.

mod file;
mod hash;
mod password;

pub use file::AccountFile;
pub use password::{PasswordCheck, PreparedCheck};

use crate::crypto::SecretString;
use crate::limits;
use crate::terms::credential::Credential;
use crate::terms::error::{Misuse, Reason};
use crate::terms::grant::Grant;
use crate::terms::verifier::{Attempt, Returning, Verifier};
use argon2::{Argon2, PasswordHasher};
use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};
use core::fmt;
use hash::{MAX_LANES, MAX_MEMORY, MAX_PASSES};
use rand::TryRng;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
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
    index: Index,
    /// Keyed at random: which stored hash an unknown name imitates can't be predicted. An [`AccountFile`] hands it on
    /// from reading to reading, or a name whose cost changes with the file would be known not to be in it.
    imitation: RandomState,
}

/// Where in the lines the accounts are.
#[derive(Default)]
struct Index {
    names: HashMap<String, usize>,
    /// By the token's SHA-256.
    tokens: HashMap<[u8; 32], usize>,
    /// Those with a password, in order. Without it an unknown name would cost a walk over all accounts.
    passwords: Vec<usize>,
}

impl Index {
    fn add(&mut self, line: usize, account: &Account) {
        self.names.insert(account.name().to_owned(), line);
        self.tokens.extend(account.tokens.iter().map(|hash| (*hash, line)));
        if account.has_password() {
            self.passwords.push(line);
        }
    }
}

/// One line of the file. What is no account is kept word for word.
enum Line {
    Account(Account),
    Other(String),
}

/// One account.
pub struct Account {
    grant: Grant,
    password: Option<String>,
    tokens: Vec<[u8; 32]>,
}

impl Account {
    /// The user's name.
    pub fn name(&self) -> &str {
        self.grant.principal()
    }

    /// What the user is granted on login.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// A number that is another whenever the account is: its permissions, its password, its tokens. Tickets of earlier
    /// epochs are not taken.
    ///
    /// It is the front of the SHA-256 of the account's line, so that an edit by hand counts, too.
    pub fn epoch(&self) -> u64 {
        let hash: [u8; 32] = Sha256::digest(self.to_string()).into();
        hash.first_chunk().map_or(0, |front| u64::from_be_bytes(*front))
    }

    /// Whether a password is set.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// How many tokens are valid.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    fn current(&self) -> Grant {
        self.grant.clone().with_epoch(self.epoch())
    }

    fn parse(line: &str) -> Result<Self, LineError> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().ok_or(LineError::Name)?;
        let (mut permissions, mut password, mut tokens) = (None, None, Vec::new());
        for word in words {
            let (field, value) = word.split_once('=').ok_or(LineError::Field)?;
            match field {
                "permissions" if permissions.is_none() => permissions = Some(value.split(',')),
                "password" if password.is_none() => {
                    hash::check(value)?;
                    password = Some(value.to_owned());
                }
                "token" => tokens.push(parse_token_hash(value).ok_or(LineError::Token)?),
                _ => return Err(LineError::Field),
            }
        }
        check_name(name).map_err(|_| LineError::Name)?;
        let grant = Grant::new(name, permissions.into_iter().flatten()).map_err(|_| LineError::Permissions)?;
        Ok(Self { grant, password, tokens })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        for (index, permission) in self.grant.permissions().enumerate() {
            f.write_str(if index == 0 { " permissions=" } else { "," })?;
            f.write_str(permission)?;
        }
        if let Some(password) = &self.password {
            write!(f, " password={password}")?;
        }
        self.tokens.iter().try_for_each(|hash| write!(f, " token=SHA256:{}", Base64Unpadded::encode_string(hash)))
    }
}

/// Prints no hashes.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// A line that is no account, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {error}")]
pub struct BrokenLine {
    /// The line's number; the first is 1.
    pub number: usize,
    /// What is wrong with it.
    pub error: LineError,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The name is missing or not allowed.
    #[error("not a user name")]
    Name,
    /// An earlier line has this name.
    #[error("this user has an earlier line")]
    DuplicateName,
    /// A word is not `permissions=`, `password=` or `token=`, or one of the first two comes twice.
    #[error("a field is unknown, repeated, or not of the form field=value; expected permissions=, password= or token=")]
    Field,
    /// The permissions are not allowed or too many.
    #[error("the permissions are not a comma-separated list of different words")]
    Permissions,
    /// The password is not an Argon2id PHC string, or one that costs more than a server can spend on a login.
    #[error(
        "the password is not an Argon2id hash ($argon2id$v=19$...) of at most m={MAX_MEMORY}, t={MAX_PASSES}, p={MAX_LANES}"
    )]
    Password,
    /// A token is not a SHA-256 hash.
    #[error("a token is not SHA256: and unpadded base64")]
    Token,
    /// An earlier account has the same token.
    #[error("a token also belongs to an earlier line")]
    DuplicateToken,
}

/// Why an account could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// There is an account of this name.
    #[error("user {0} exists already")]
    Exists(String),
    /// There is no account of this name.
    #[error("there is no user {0}")]
    Unknown(String),
    /// The name can't stand in an account file.
    #[error("not a user name: 1 to 255 bytes, no spaces or control characters, not starting with #")]
    BadName,
    /// The password is empty or longer than a login can carry.
    #[error("a password has 1 to {} bytes", limits::MAX_SECRET)]
    BadPassword,
    /// The permissions are not allowed.
    #[error(transparent)]
    Permissions(#[from] Misuse),
    /// The operating system gave no randomness, the hash found no memory, or no account file may hold its parameters.
    #[error("hashing failed: out of memory or randomness, or parameters beyond the limits")]
    Hashing,
}

impl Accounts {
    /// No accounts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads lines of accounts, and says which lines could not be read.
    pub fn parse(text: &str) -> (Self, Vec<BrokenLine>) {
        let mut accounts = Self::new();
        let mut broken = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let content = line.trim_ascii();
            if content.is_empty() || content.starts_with('#') {
                accounts.lines.push(Line::Other(line.to_owned()));
                continue;
            }
            if let Err(error) = Account::parse(content).and_then(|account| accounts.insert(account)) {
                accounts.lines.push(Line::Other(line.to_owned()));
                broken.push(BrokenLine { number: index.saturating_add(1), error });
            }
        }
        (accounts, broken)
    }

    /// The accounts, in the order of their lines.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.lines.iter().filter_map(|line| match line {
            Line::Account(account) => Some(account),
            Line::Other(_) => None,
        })
    }

    /// The account of this name.
    pub fn get(&self, name: &str) -> Option<&Account> {
        self.at(*self.index.names.get(name)?)
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
        check_name(name)?;
        if self.index.names.contains_key(name) {
            return Err(AccountError::Exists(name.to_owned()));
        }
        let account = Account { grant: Grant::new(name, permissions)?, password: None, tokens: Vec::new() };
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
        let account = self.get_mut(name)?;
        if !hash::is_affordable(argon2.params()) {
            return Err(AccountError::Hashing);
        }
        let hash = argon2.hash_password(password).map_err(|_| AccountError::Hashing)?.to_string();
        hash::check(&hash).map_err(|_| AccountError::Hashing)?;
        if account.password.replace(hash).is_none() {
            self.reindex();
        }
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

    /// Removes an account, and every broken line of that name: a later line for the same user would otherwise take the
    /// removed one's place.
    ///
    /// # Errors
    /// [`AccountError::Unknown`].
    pub fn remove(&mut self, name: &str) -> Result<(), AccountError> {
        if self.get(name).is_none() {
            return Err(AccountError::Unknown(name.to_owned()));
        }
        self.lines.retain(|line| match line {
            Line::Account(account) => account.name() != name,
            Line::Other(text) => text.split_ascii_whitespace().next() != Some(name),
        });
        self.reindex();
        Ok(())
    }

    fn at(&self, index: usize) -> Option<&Account> {
        match self.lines.get(index)? {
            Line::Account(account) => Some(account),
            Line::Other(_) => None,
        }
    }

    fn get_mut(&mut self, name: &str) -> Result<&mut Account, AccountError> {
        let line = self.index.names.get(name).and_then(|&index| self.lines.get_mut(index));
        match line {
            Some(Line::Account(account)) => Ok(account),
            _ => Err(AccountError::Unknown(name.to_owned())),
        }
    }

    fn insert(&mut self, account: Account) -> Result<(), LineError> {
        if self.index.names.contains_key(account.name()) {
            return Err(LineError::DuplicateName);
        }
        if account.tokens.iter().any(|hash| self.index.tokens.contains_key(hash)) {
            return Err(LineError::DuplicateToken);
        }
        self.index.add(self.lines.len(), &account);
        self.lines.push(Line::Account(account));
        Ok(())
    }

    fn reindex(&mut self) {
        self.index = Index::default();
        for (number, line) in self.lines.iter().enumerate() {
            if let Line::Account(account) = line {
                self.index.add(number, account);
            }
        }
    }

    fn verify_password(&self, user: &str, password: &[u8]) -> Result<Grant, Reason> {
        let account = self.get(user);
        match account.and_then(|account| account.password.as_deref()) {
            Some(hash) => {
                let good = hash::matches(hash, password)?;
                account.filter(|_| good).map(Account::current).ok_or(Reason::WrongPassword)
            }
            None => {
                // The work of a known user's wrong password, and its result thrown away.
                let _ = self.imitate(user, password);
                Err(if account.is_some() { Reason::WrongPassword } else { Reason::UnknownUser })
            }
        }
    }

    /// One password hash at the parameters of a stored user: always the same one for the same unknown name.
    fn imitate(&self, user: &str, password: &[u8]) -> Result<bool, Reason> {
        let stored = &self.index.passwords;
        let hash = self.imitation.hash_one(user);
        let pick = u64::try_from(stored.len()).ok().and_then(|count| hash.checked_rem(count));
        let line = pick.and_then(|pick| stored.get(usize::try_from(pick).ok()?));
        match line.and_then(|&line| self.at(line)?.password.as_deref()) {
            Some(hash) => hash::matches(hash, password),
            None => hash::matches(hash::IMITATED, password),
        }
    }
}

/// As a file: what [`Accounts::parse`] reads.
impl fmt::Display for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| match line {
            Line::Account(account) => writeln!(f, "{account}"),
            Line::Other(text) => writeln!(f, "{text}"),
        })
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("count", &self.index.names.len()).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Checks a credential, and gives the account's grant with its epoch. An unknown user costs what a wrong password costs.
    ///
    /// # Errors
    /// The local reason for a refusal.
    pub fn check(&self, credential: Credential<'_>) -> Result<Grant, Reason> {
        match credential {
            Credential::Password { user, password } => self.verify_password(user, password),
            Credential::Token(token) => {
                // Looked up by hash: the time it takes says nothing about any token.
                let account = self.index.tokens.get(&hash_token(token)).and_then(|&index| self.at(index));
                account.map(Account::current).ok_or(Reason::UnknownToken)
            }
        }
    }

    /// The grant of an account that may log in, as it is now.
    ///
    /// # Errors
    /// The local reason why it may not.
    pub fn current(&self, principal: &str) -> Result<Grant, Reason> {
        let account = self.get(principal).ok_or(Reason::UnknownUser)?;
        let can_log_in = account.has_password() || account.tokens() > 0;
        if can_log_in { Ok(account.current()) } else { Err(Reason::AccountDisabled) }
    }
}

impl Verifier for Accounts {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.check(attempt.credential())
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.current(returning.principal())
    }
}

/// Names can stand in a line of words: no white space, and no `#` in front.
fn check_name(name: &str) -> Result<(), AccountError> {
    let allowed = !name.is_empty() && name.len() <= limits::MAX_USER && !name.starts_with('#');
    if allowed && !name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Ok(())
    } else {
        Err(AccountError::BadName)
    }
}

fn hash_token(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn parse_token_hash(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let decoded = Base64Unpadded::decode(text.strip_prefix("SHA256:")?, &mut bytes).ok()?;
    (decoded.len() == 32).then_some(bytes)
}
