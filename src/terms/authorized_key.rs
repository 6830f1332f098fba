//! Lines of `authorized_keys`: a client's public key, from where it may be used, and until when (sshd(8), "AUTHORIZED_KEYS FILE
//! FORMAT").

mod error;
#[cfg(feature = "key-formats")]
mod expiry;
#[cfg(feature = "key-formats")]
mod line;

pub use error::AuthorizedKeyError;
#[cfg(feature = "key-formats")]
pub use error::AuthorizedKeysError;

#[cfg(feature = "key-formats")]
use crate::crypto::KeyFile;
use crate::crypto::VerifyingKey;
use crate::terms::addresses::AddressPatterns;
use crate::time::UnixTime;
#[cfg(feature = "key-formats")]
use core::fmt;
use std::net::IpAddr;

/// A client's public key as `authorized_keys` has it: with a comment, and with what bounds its use.
///
/// Of the options only two are taken, `from=` and `expiry-time=`; any other is refused by its name, since whoever wrote it counts
/// on it.
///
/// ```
/// # #[cfg(feature = "key-formats")] fn main() -> Result<(), countersign::AuthorizedKeyError> {
/// use countersign::{AuthorizedKey, UnixTime};
/// use std::net::{IpAddr, Ipv4Addr};
///
/// let line = r#"from="192.0.2.0/24,!192.0.2.13",expiry-time="20271231Z" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA2YFxVfc23TmZiO0lGTS6xtNB7zCmdlUJd5zPLW1G9z alice@laptop"#;
/// # let key = countersign::crypto::SigningKey::from_ed25519(&[7; 32]);
/// # let Ok(key) = key else { return Ok(()) };
/// # let line = format!(r#"from="192.0.2.0/24,!192.0.2.13",expiry-time="20271231Z" {}"#, key.public_key().to_openssh("alice@laptop"));
/// let alice = AuthorizedKey::parse(&line)?;
/// assert_eq!(alice.comment(), "alice@laptop");
/// let today = UnixTime::from_secs(1_800_000_000);
/// let admits = |last| alice.admits(Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))), today);
/// assert!(admits(7) && !admits(13));
/// assert!(AuthorizedKey::parse(&format!("no-pty {}", alice.key().to_openssh(""))).is_err());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "key-formats"))] fn main() {}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey {
    key: VerifyingKey,
    comment: String,
    allowed_from: Option<AddressPatterns>,
    until: Option<UnixTime>,
}

impl AuthorizedKey {
    /// A key that may be used from everywhere, for ever. Control characters are left out of the comment.
    pub fn new(key: VerifyingKey, comment: &str) -> Self {
        let comment: String = comment.chars().filter(|c| !c.is_control()).collect();
        Self { key, comment: comment.trim().to_owned(), allowed_from: None, until: None }
    }

    /// A key that may be used from these addresses alone, if any are given, as `from=` of [`AuthorizedKey::parse`] has them, and until then: at
    /// that time it is over.
    ///
    /// # Errors
    /// [`AuthorizedKeyError::From`].
    pub fn bounded(
        key: VerifyingKey,
        comment: &str,
        allowed_from: Option<&str>,
        until: Option<UnixTime>,
    ) -> Result<Self, AuthorizedKeyError> {
        let allowed_from = allowed_from.map(AddressPatterns::parse).transpose().map_err(AuthorizedKeyError::From)?;
        Ok(Self { allowed_from, until, ..Self::new(key, comment) })
    }

    /// Reads one line, of up to 64 KiB.
    ///
    /// | option | means |
    /// |---|---|
    /// | `from="PATTERNS"` | usable from these addresses alone: `192.0.2.7`, `2001:db8::/32`, `192.0.2.*`, `10.?.0.1`, with commas between; one with `!` before it excludes what it fits, whatever else fits. Host names are refused. |
    /// | `expiry-time="TIME"` | usable up to and with that second, so until the next: `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, in UTC, with a `Z` behind it or not. (Without it, sshd takes the time zone of its machine.) |
    ///
    /// # Errors
    /// [`AuthorizedKeyError`].
    #[cfg(feature = "key-formats")]
    #[cfg_attr(docsrs, doc(cfg(feature = "key-formats")))]
    pub fn parse(line: &str) -> Result<Self, AuthorizedKeyError> {
        line::parse(line)
    }

    /// Reads all keys of a file, of up to 1 MiB, in either form: lines of `authorized_keys`, which may be blank or comments; or
    /// whatever else a [`KeyFile`] takes, such as PEM blocks `PUBLIC KEY`. At least one.
    ///
    /// # Errors
    /// [`AuthorizedKeysError`], with the line. One line that can't be taken is an error: whoever wrote it counts on it.
    #[cfg(feature = "key-formats")]
    #[cfg_attr(docsrs, doc(cfg(feature = "key-formats")))]
    pub fn read(file: &[u8]) -> Result<Vec<Self>, AuthorizedKeysError> {
        const LONGEST: usize = 1 << 20;
        // As some editors of Windows begin a file; and comments may be in whatever encoding there was.
        let text = String::from_utf8_lossy(file.strip_prefix("\u{feff}".as_bytes()).unwrap_or(file));
        let Some(text) = Some(text).filter(|text| text.len() <= LONGEST && line::are_lines(text)) else {
            let keys = KeyFile::parse(file)?.verifying_keys()?;
            return Ok(keys.into_iter().map(|source| Self::new(source.key, "")).collect());
        };
        let numbered = text.lines().enumerate().filter(|(_, line)| !line::is_blank(line));
        let read = |(index, line): (usize, &str)| {
            let at = |source| AuthorizedKeysError::Line { line: index.saturating_add(1), source };
            Self::parse(line).map_err(at)
        };
        numbered.map(read).collect()
    }

    /// The key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// What stands behind the key, such as `alice@laptop`. Nothing depends on it.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// From where it may be used; none where it may from everywhere.
    pub fn allowed_from(&self) -> Option<&AddressPatterns> {
        self.allowed_from.as_ref()
    }

    /// From when on it may not be used; none where it may for ever.
    pub fn until(&self) -> Option<UnixTime> {
        self.until
    }

    /// Whether the key may be used from this address, at this time. Where the address is not known, one that is bound to
    /// addresses may not. An IPv4 address that is written as one of IPv6 is one of IPv4.
    #[must_use = "this decides whether they may log in"]
    pub fn admits(&self, address: Option<IpAddr>, now: UnixTime) -> bool {
        let is_in_time = self.until.is_none_or(|until| now < until);
        let is_from_there = self.allowed_from.as_ref().is_none_or(|from| from.admit(address));
        is_in_time && is_from_there
    }
}

/// As a line, which can be read again; the time in UTC with a `Z`.
#[cfg(feature = "key-formats")]
#[cfg_attr(docsrs, doc(cfg(feature = "key-formats")))]
impl fmt::Display for AuthorizedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.allowed_from.as_ref().map(|from| format!("from=\"{}\"", from.as_str()));
        let expiry = self.until.map(|until| format!("expiry-time=\"{}\"", expiry::LastSecond(until)));
        let options: Vec<String> = from.into_iter().chain(expiry).collect();
        if !options.is_empty() {
            write!(f, "{} ", options.join(","))?;
        }
        f.write_str(&self.key.to_openssh(&self.comment))
    }
}
