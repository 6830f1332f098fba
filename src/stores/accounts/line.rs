//! An account as text: one line of an account file, or its fields.

use super::AccountError;
use super::account::Account;
use super::hash::{Cost, MAX_LANES, MAX_MEMORY, MAX_PASSES, MAX_WORK};
use super::keys;
use super::name;
use super::role;
use super::totp::TotpSecret;
use crate::crypto::SecretString;
use crate::crypto::hash_secret;
use crate::limits;
use crate::stores::date::Date;
use crate::stores::files::TextError;
use crate::terms::addresses::AddressPatterns;
use crate::terms::error::codes;
use crate::terms::grant::Grant;
use crate::time::UnixTime;
use base64ct::{Base64Unpadded, Encoding};
use core::fmt;
use zeroize::Zeroizing;

impl Account {
    /// Reads a line; `line` is all of it, and this what is in it.
    pub(super) fn parse(text: &str, line: &[u8]) -> Result<Self, LineError> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().ok_or(LineError::Name)?;
        // First: what other programs' files have behind a colon is not looked at.
        if let Some((_, rest)) = name.split_once(':') {
            return Err(if is_other_file(rest) { LineError::OtherFile } else { LineError::Name });
        }
        let mut account = Self::read(name, words.map(|word| word.split_once('=').ok_or(LineError::Field)))?;
        if !Rest::is_all(line, format_args!("{account}")) {
            account.line = Some(Zeroizing::new(line.into()));
        }
        Ok(account)
    }

    /// An account of its name and its fields, as a line of an account file has them: for stores of one's own, whatever they keep
    /// the fields in. Their order does not matter.
    ///
    /// ```
    /// use countersign::accounts::Account;
    ///
    /// let account = Account::from_fields("alice", [("permissions", "read,write"), ("locked", "yes")])?;
    /// assert!(account.is_locked() && account.own_grant().permits("write"));
    /// # Ok::<(), countersign::accounts::LineError>(())
    /// ```
    ///
    /// # Errors
    /// [`LineError`].
    pub fn from_fields<'a>(
        name: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, LineError> {
        Self::read(name, fields.into_iter().map(Ok))
    }

    fn read<'a>(
        name: &str,
        fields: impl Iterator<Item = Result<(&'a str, &'a str), LineError>>,
    ) -> Result<Self, LineError> {
        let mut account = Self::of(Grant::new("x", [""; 0]).map_err(|_| LineError::Name)?);
        let mut permissions = None;
        for field in fields {
            let (field, value) = field?;
            match field {
                "permissions" if permissions.is_none() => permissions = Some(value.split(',')),
                "password" if account.password.is_none() => {
                    account.password = Some((value.to_owned(), Cost::of(value)?))
                }
                "stretched" if account.stretched.is_none() => {
                    account.stretched = Some(value.parse().map_err(|_| LineError::Stretched)?);
                }
                "token" => account.tokens.push(parse_token_hash(value).ok_or(LineError::Token)?),
                "key" => account.keys.push(keys::parse(value).ok_or(LineError::Key)?),
                "totp" if account.totp.is_none() => {
                    account.totp = Some(TotpSecret::parse(value).ok_or(LineError::Totp)?);
                }
                "recovery" => account.recovery.push(parse_token_hash(value).ok_or(LineError::Recovery)?),
                "locked" if !account.is_locked && value == "yes" => account.is_locked = true,
                "locks" if account.locks == 0 => account.locks = value.parse().map_err(|_| LineError::Lock)?,
                "locked" | "locks" => return Err(LineError::Lock),
                "expires" if account.expires.is_none() => account.expires = Some(parse_time(value)?),
                "from" if account.from.is_none() => {
                    account.from = Some(AddressPatterns::parse(value).map_err(|_| LineError::From)?);
                }
                "roles" if account.roles.is_empty() => account.roles = parse_roles(value).ok_or(LineError::Roles)?,
                _ => return Err(LineError::Field),
            }
        }
        name::check(name).map_err(|_| LineError::Name)?;
        if account.tokens.len() > limits::MAX_TOKENS {
            return Err(LineError::TooManyTokens);
        }
        if account.keys.len() > limits::MAX_CLIENT_KEYS {
            return Err(LineError::TooManyKeys);
        }
        // What is left of a second factor that was taken out by hand.
        if account.recovery.len() > limits::MAX_RECOVERY_CODES
            || (account.totp.is_none() && !account.recovery.is_empty())
        {
            return Err(LineError::Recovery);
        }
        account.grant = Grant::new(name, permissions.into_iter().flatten()).map_err(|_| LineError::Permissions)?;
        Ok(account)
    }

    /// Its fields, as a line of an account file has them: what [`Account::from_fields`] takes. There are secrets among them.
    pub fn fields(&self) -> Vec<(&'static str, SecretString)> {
        let mut fields = Vec::new();
        // Writing to strings does not fail.
        let _ = self.write_fields(&mut |field, value| {
            fields.push((field, SecretString::new(Zeroizing::new(value.to_string()))));
            Ok(())
        });
        fields
    }

    /// What is kept open comes first: of a line that was cut, nothing may be missing that closes the account.
    fn write_fields(&self, write: &mut dyn FnMut(&'static str, fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
        if self.is_locked {
            write("locked", format_args!("yes"))?;
        }
        if self.locks > 0 {
            write("locks", format_args!("{}", self.locks))?;
        }
        if let Some(expires) = self.expires {
            write("expires", format_args!("{}", Date(expires)))?;
        }
        if let Some(from) = &self.from {
            write("from", format_args!("{}", from.as_str().replace(' ', "")))?;
        }
        if let Some(totp) = &self.totp {
            write("totp", format_args!("{}", totp.to_base32().as_str()))?;
        }
        if !self.roles.is_empty() {
            write("roles", format_args!("{}", self.roles.join(",")))?;
        }
        if self.grant.permissions().next().is_some() {
            write("permissions", format_args!("{}", Permissions(&self.grant)))?;
        }
        if let Some((password, _)) = &self.password {
            write("password", format_args!("{password}"))?;
        }
        if let Some(stretched) = &self.stretched {
            write("stretched", format_args!("{stretched}"))?;
        }
        self.keys.iter().try_for_each(|key| write("key", format_args!("{}", keys::Written(key))))?;
        let fields = self.tokens.iter().map(|hash| ("token", hash));
        let mut fields = fields.chain(self.recovery.iter().map(|hash| ("recovery", hash)));
        fields
            .try_for_each(|(field, hash)| write(field, format_args!("SHA256:{}", Base64Unpadded::encode_string(hash))))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.write_fields(&mut |field, value| write!(f, " {field}={value}"))
    }
}

/// With commas between.
pub(super) struct Permissions<'a>(pub(super) &'a Grant);

impl fmt::Display for Permissions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.permissions().enumerate().try_for_each(|(index, permission)| {
            f.write_str(if index == 0 { "" } else { "," })?;
            f.write_str(permission)
        })
    }
}

/// What is still to come of a line that is compared with what is written.
pub(super) struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Whether this is all of a line.
    pub(super) fn is_all(line: &'a [u8], written: fmt::Arguments<'_>) -> bool {
        let mut rest = Self(line);
        fmt::write(&mut rest, written).is_ok() && rest.0.is_empty()
    }
}

impl fmt::Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text.as_bytes()).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// Different names of roles, with commas between.
fn parse_roles(text: &str) -> Option<Vec<String>> {
    let roles: Vec<String> = text.split(',').map(str::to_owned).collect();
    let are_different = roles
        .iter()
        .enumerate()
        .all(|(index, role)| !roles.iter().skip(index.saturating_add(1)).any(|other| other == role));
    let are_names = roles.len() <= limits::MAX_ROLES && roles.iter().all(|role| role::check(role).is_ok());
    (are_names && are_different).then_some(roles)
}

fn parse_time(text: &str) -> Result<UnixTime, LineError> {
    UnixTime::from_rfc3339(text).ok_or(LineError::Expires)
}

/// Whether this is what `htpasswd`, `/etc/passwd` or `/etc/shadow` has behind the name.
fn is_other_file(rest: &str) -> bool {
    let field = rest.split(':').next().unwrap_or_default();
    let is_crypt = field.len() == 13 && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte));
    field.starts_with('$') || field.starts_with('{') || is_crypt || rest.contains(':')
}

pub(super) fn hash_token(token: &[u8]) -> [u8; 32] {
    hash_secret(token)
}

fn parse_token_hash(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let decoded = Base64Unpadded::decode(text.strip_prefix("SHA256:")?, &mut bytes).ok()?;
    (decoded.len() == 32).then_some(bytes)
}

/// The bounds of what other programs have stored.
const OTHER_BOUNDS: &str = if cfg!(feature = "password-formats") {
    "; bcrypt: 4 to 16; scrypt: N from 1024, 256 MiB, N*r*p of 8388608, p=16; PBKDF2: 1000 to 5000000; SHA-crypt: 1000 to 1000000; \
     yescrypt: N from 1024, 256 MiB, and as crypt makes it"
} else {
    ""
};

/// A line that is no account, and what is wrong with it.
pub type BrokenLine = crate::stores::files::BrokenLine<LineError>;

impl BrokenLine {
    /// That of what is wrong with it.
    pub fn code(&self) -> &'static str {
        self.error.code()
    }
}

/// What is wrong with a line. Nothing of the line is in it: that may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The name is missing or not allowed.
    #[error(
        "not a user name: 1 to {} bytes, no spaces, no : or =, no control or invisible characters, no # or @ in front",
        limits::MAX_USER
    )]
    Name,
    /// An earlier line has this name, even if that can't be read.
    #[error("this user has an earlier line, line {first}, and that alone counts, even if it can't be read")]
    DuplicateName {
        /// The earlier line's number.
        first: usize,
    },
    /// A word is none of the fields, or one that may stand once comes twice.
    #[error(
        "a field is unknown, repeated, or not of the form field=value; expected roles=, permissions=, password=, \
         stretched=, key=, token=, totp=, recovery=, from=, locked=yes, locks= or expires="
    )]
    Field,
    /// The permissions are not allowed or too many.
    #[error("the permissions are not a comma-separated list of different words")]
    Permissions,
    /// The roles are not names with commas between.
    #[error("the roles are not a comma-separated list of different names of roles")]
    Roles,
    /// One of the roles has no line of its own that can be read.
    #[error(
        "a role in roles= has no line of its own, or that can't be read: add one that begins with @ and the role's name"
    )]
    UnknownRole,
    /// The roles' permissions and the account's own are more than a grant may have.
    #[error("the permissions of the roles and the account's own are together more than a grant may have")]
    TooManyPermissions,
    /// What stands behind an `@` is no name of a role.
    #[error(
        "@ begins a role, and no name of one stands behind it: 1 to {} letters, digits, dots, dashes and underscores",
        limits::MAX_ROLE
    )]
    RoleName,
    /// A role has something else than permissions.
    #[error("a role has permissions= and nothing else")]
    RoleField,
    /// An earlier line has this role, even if that can't be read.
    #[error("this role has an earlier line, line {first}, and that alone counts, even if it can't be read")]
    DuplicateRole {
        /// The earlier line's number.
        first: usize,
    },
    /// The addresses are none.
    #[error(
        "from= is not a comma-separated list of addresses, blocks such as 192.0.2.0/24 (with nothing after the /24) and patterns such as \
         192.0.2.*, each with a ! before it or not"
    )]
    From,
    /// The password hash costs more than a server can spend on a login, or less than one that protects anything, or has parameters
    /// that are not known.
    #[error(
        "the password hash is damaged, or its cost is out of bounds (Argon2: at most m={MAX_MEMORY}, t={MAX_PASSES}, p={MAX_LANES}, and m times t {MAX_WORK}{})",
        OTHER_BOUNDS
    )]
    Password,
    /// The password is another kind of hash.
    #[error(
        "the password is a hash of another kind ({0}), which can't be used here; take password= out, and set a new one"
    )]
    OtherHash(&'static str),
    /// The password is no hash at all.
    #[error(
        "the password is no hash, but perhaps the password itself; set a new one with the command, which hashes it"
    )]
    ClearPassword,
    /// The password hash has no end.
    #[error("the password hash is cut short; take password= out, and set a new one")]
    CutHash,
    /// What a password is stretched to is not as the command writes it.
    #[error(
        "stretched= is not SHA256:BASE64;m=KIB,t=PASSES,p=LANES;realm=REALM within what clients compute; set the password anew with the command"
    )]
    Stretched,
    /// A token is not a SHA-256 hash.
    #[error("a token is not SHA256: and unpadded base64")]
    Token,
    /// An earlier account has the same token.
    #[error("a token also belongs to an earlier line")]
    DuplicateToken,
    /// A key is none that a client can have, or something behind it is not known.
    #[error(
        "key= is not the base64 of a public key (Ed25519, ECDSA on P-256, or RSA), or what stands behind it is not ;from=, ;until= or \
         ;comment=; add the key anew"
    )]
    Key,
    /// More keys than an account may have.
    #[error("more than {} keys", limits::MAX_CLIENT_KEYS)]
    TooManyKeys,
    /// More tokens than an account may have.
    #[error("more than {} tokens", limits::MAX_TOKENS)]
    TooManyTokens,
    /// The second factor's secret is not as authenticators have it.
    #[error("totp= is not the unpadded base32 of 16 to 64 bytes; set up a new one")]
    Totp,
    /// A recovery code's hash is none, or one too many, or without a second factor.
    #[error(
        "recovery= is not SHA256: and unpadded base64, stands more than {} times, or stands without totp=",
        limits::MAX_RECOVERY_CODES
    )]
    Recovery,
    /// `locked=` or `locks=` is not as the command writes it.
    #[error("locked= has no other value than yes, and locks= is a number; each stands once")]
    Lock,
    /// The expiry is no date.
    #[error("expires= is not a date such as 2027-01-31T00:00:00Z")]
    Expires,
    /// The line is no text, or not whole.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The line is one of another program's file of users.
    #[error(
        "a line of htpasswd, /etc/passwd or /etc/shadow, which can't be used here; remove it, and add the user anew, with a new \
         password"
    )]
    OtherFile,
    /// The line that says what unknown names cost is damaged.
    #[error("the line #imitate is damaged; put it back as it was, or remove it and let the next change make a new one")]
    Imitation,
}

impl LineError {
    /// Why roles could not be given to an account.
    pub(super) fn of_role(error: &AccountError) -> Self {
        match error {
            AccountError::UnknownRole(_) => Self::UnknownRole,
            _ => Self::TooManyPermissions,
        }
    }
}

codes!(LineError {
    Self::Name => "bad-name",
    Self::DuplicateName { .. } => "duplicate-name",
    Self::Field => "bad-field",
    Self::Permissions => "bad-permissions",
    Self::Roles => "bad-roles",
    Self::UnknownRole => "unknown-role",
    Self::TooManyPermissions => "too-many-permissions",
    Self::RoleName => "bad-role-name",
    Self::RoleField => "bad-role-field",
    Self::DuplicateRole { .. } => "duplicate-role",
    Self::From => "bad-addresses",
    Self::Password => "bad-password-hash",
    Self::OtherHash(_) => "other-password-hash",
    Self::ClearPassword => "password-not-hashed",
    Self::CutHash => "password-hash-cut",
    Self::Stretched => "bad-stretched-password",
    Self::Key => "bad-key",
    Self::TooManyKeys => "too-many-keys",
    Self::Token => "bad-token",
    Self::DuplicateToken => "duplicate-token",
    Self::TooManyTokens => "too-many-tokens",
    Self::Totp => "bad-totp",
    Self::Recovery => "bad-recovery-code",
    Self::Lock => "bad-lock",
    Self::Expires => "bad-expiry",
    Self::Text(error) => error.code(),
    Self::OtherFile => "other-file",
    Self::Imitation => "bad-imitation",
});
