//! Where a directory is, how people are found in it, and what they may do.

use super::{LdapError, dn};
use core::fmt;
use core::time::Duration;
use countersign::Clock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where a directory is, how people are found in it, and what they may do.
///
/// ```
/// use countersign_stores::LdapConfig;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = LdapConfig::parse("ldaps://ldap.example")?
///     .with_search("ou=people,dc=example", "(uid={user})")
///     .with_service("cn=countersign,ou=services,dc=example", "its password")
///     .with_groups("ou=groups,dc=example", "(member={dn})")
///     .with_permissions_of("cn=clerks,ou=groups,dc=example", ["orders:read"])
///     .with_permissions_of("cn=chiefs,ou=groups,dc=example", ["orders:*"]);
/// # drop(directory); Ok(()) }
/// ```
#[derive(Clone)]
pub struct LdapConfig {
    pub(super) url: String,
    pub(super) security: Security,
    pub(super) roots: Option<Vec<CertificateDer<'static>>>,
    pub(super) people: Option<People>,
    pub(super) service: Option<(String, Zeroizing<String>)>,
    name: Option<String>,
    pub(super) password_set: Option<String>,
    pub(super) groups: Option<(String, String)>,
    pub(super) everybody: Vec<String>,
    pub(super) permissions: Vec<(String, Vec<String>)>,
    pub(super) patience: Duration,
    pub(super) clock: Arc<Clock>,
}

/// How what is said to a directory is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// From its first byte.
    Tls,
    /// Asked for in the clear, and then.
    StartTls,
    /// It does not leave the machine, or somebody wanted it so.
    None,
}

/// How a user's entry is found.
#[derive(Clone, Debug)]
pub(super) enum People {
    /// Its name is known.
    Named(String),
    /// By a base and a filter.
    Found(String, String),
}

/// What a name is put in the place of.
pub(super) const USER: &str = "{user}";

impl LdapConfig {
    /// How long a directory may take for all of a login, unless configured: 3 seconds.
    pub const PATIENCE: Duration = Duration::from_secs(3);

    /// `ldaps://HOST:PORT`; `ldap://HOST:PORT`, which is made safe by StartTLS, but on the loopback; `ldapi://PATH`, with `%2F` for each slash.
    /// Certificates are checked against the system's roots, and must name HOST.
    ///
    /// # Errors
    /// [`LdapError::Address`].
    pub fn parse(address: &str) -> Result<Self, LdapError> {
        let (scheme, rest) = address.split_once("://").ok_or(LdapError::Address)?;
        let host = rest.split('/').next().unwrap_or_default();
        let bare = match host.rsplit_once(':') {
            Some((bare, port)) if port.parse::<u16>().is_ok() => bare,
            _ => host,
        };
        // No names or passwords in an address: they would be printed with it.
        if host.is_empty() || rest.contains(['@', '?', '#', ' ']) {
            return Err(LdapError::Address);
        }
        let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&bare);
        let security = match scheme {
            "ldaps" => Security::Tls,
            "ldap" if is_local => Security::None,
            "ldap" => Security::StartTls,
            "ldapi" => Security::None,
            _ => return Err(LdapError::Address),
        };
        Ok(Self {
            url: address.to_owned(),
            security,
            roots: None,
            people: None,
            service: None,
            name: None,
            password_set: None,
            groups: None,
            everybody: Vec::new(),
            permissions: Vec::new(),
            patience: Self::PATIENCE,
            clock: Clock::system(),
        })
    }

    /// Users have the distinguished names that come of this template: `uid={user},ou=people,dc=example`. The user's name is escaped in it
    /// (RFC 4514). Users have to be able to read their own entries, unless there is a service account for that. A name that is not there is nobody's:
    /// whether all of them are missing can't be told, as it can of a search.
    #[must_use]
    pub fn with_names(mut self, template: &str) -> Self {
        self.people = Some(People::Named(template.to_owned()));
        self
    }

    /// Users are found below `base` by this filter: `(uid={user})`, or `(&(objectClass=person)(sAMAccountName={user}))`. The user's name is
    /// escaped in it (RFC 4515). Of several that are found none is let in.
    #[must_use]
    pub fn with_search(mut self, base: &str, filter: &str) -> Self {
        self.people = Some(People::Found(base.to_owned(), filter.to_owned()));
        self
    }

    /// The account by which entries and groups are read. Without one, users' own entries and groups are read as themselves; then nobody
    /// can look an account up again, so there are no tickets, and open sessions are not looked at again.
    #[must_use]
    pub fn with_service(mut self, name: &str, password: &str) -> Self {
        self.service = Some((name.to_owned(), Zeroizing::new(password.to_owned())));
        self
    }

    /// The attribute that has the user's name, by which one that is let in is called: `uid`, or what the template or the filter has before
    /// `={user}`. A directory takes `ALICE` for `alice`; here they are one, too, and it is the directory's spelling. Who has several names is called by the
    /// one that stands in the entry's own name, whichever they came by; where none of them does, by the one that they came by. Users must not be able to write
    /// this attribute of their own entries: whoever can takes any name that nobody has in the directory, such as one that your application treats in a way of
    /// its own.
    #[must_use]
    pub fn with_name_attribute(mut self, attribute: &str) -> Self {
        self.name = Some(attribute.to_owned());
        self
    }

    /// The attribute that is another whenever a user's password is: `pwdChangedTime`, `pwdLastSet` or `krbLastPwdChange`, as far as there are. A directory that has none of them gets
    /// no tickets here, unless this names one. `modifyTimestamp` will do where no password policy is at work: with one, wrong passwords change that, too, and
    /// whoever guesses would end sessions and tickets.
    #[must_use]
    pub fn with_password_set_attribute(mut self, attribute: &str) -> Self {
        self.password_set = Some(attribute.to_owned());
        self
    }

    /// Groups are those below `base` that this filter finds, with `{dn}` and `{user}` for the user's: `(member={dn})`, `(memberUid={user})`,
    /// `(member:1.2.840.113556.1.4.1941:={dn})` for Active Directory's groups in groups. Without this they are what the user's entry says
    /// (`memberOf`).
    #[must_use]
    pub fn with_groups(mut self, base: &str, filter: &str) -> Self {
        self.groups = Some((base.to_owned(), filter.to_owned()));
        self
    }

    /// What the members of a group may do. Who is in several of them has the permissions of all. **Once there is one, who is in none of them is
    /// not let in**, unless everybody is ([`LdapConfig::with_permissions`]).
    #[must_use]
    pub fn with_permissions_of<P: Into<String>>(
        mut self,
        group: &str,
        permissions: impl IntoIterator<Item = P>,
    ) -> Self {
        self.permissions.push((dn::normal(group), permissions.into_iter().map(Into::into).collect()));
        self
    }

    /// What everybody may do who has an account there.
    #[must_use]
    pub fn with_permissions<P: Into<String>>(mut self, permissions: impl IntoIterator<Item = P>) -> Self {
        self.everybody.extend(permissions.into_iter().map(Into::into));
        self
    }

    /// How long the directory may take for all of a login: to connect, to find, to check. Then the login is told "not now". Where the directory has the
    /// password by then, it counts as a guess: take a longer time than the directory delays its answer to a wrong one, or it is "not now", and never "no", to
    /// whoever mistypes theirs. Take less than half of
    /// [`ServerConfig::with_handshake_timeout`](countersign::ServerConfig::with_handshake_timeout): a login whose time is over counts as a guess, too, and
    /// while the directory is away it would be everybody's.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Trusts the certificates in this PEM, and no others, to speak for the directory: those of an authority of one's own.
    ///
    /// # Errors
    /// [`LdapError::Roots`].
    pub fn with_roots(mut self, pem: &[u8]) -> Result<Self, LdapError> {
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        self.roots = Some(roots.ok().filter(|roots| !roots.is_empty()).ok_or(LdapError::Roots)?);
        Ok(self)
    }

    /// Speaks `ldap://` without StartTLS, also over a network. **Whoever is in between then reads every password**, and can let in whom they like.
    #[must_use]
    pub fn without_encryption(mut self) -> Self {
        if self.security == Security::StartTls {
            self.security = Security::None;
        }
        self
    }

    /// Goes by another clock than [`Clock::system`] where an entry says when its account ends.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Into<Arc<Clock>>) -> Self {
        self.clock = clock.into();
        self
    }

    pub(super) fn name_attribute(&self) -> &str {
        if let Some(name) = &self.name {
            return name;
        }
        let text = match &self.people {
            Some(People::Named(text) | People::Found(_, text)) => text,
            None => "",
        };
        let before = text.split(USER).next().unwrap_or_default().trim_end_matches('=');
        let start = before.rfind(['(', ',', '+']).map_or(0, |at| at.saturating_add(1));
        before.get(start..).map(str::trim).filter(|name| !name.is_empty()).unwrap_or("uid")
    }
}

/// Its address.
impl fmt::Display for LdapConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for LdapConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            security,
            roots,
            people,
            service,
            name,
            password_set,
            groups,
            everybody,
            permissions,
            patience,
            ..
        } = self;
        let mut shown = f.debug_struct("LdapConfig");
        shown.field("url", url).field("security", security).field("roots", &roots.as_ref().map(Vec::len));
        // Without its password.
        shown.field("people", people).field("service", &service.as_ref().map(|(name, _)| name)).field("name", name);
        shown.field("password_set", password_set).field("groups", groups).field("everybody", everybody);
        shown.field("permissions", permissions).field("patience", patience).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{LdapConfig, Security};
    use crate::circuit::EVERY;

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_somebody_wants_otherwise() {
        for (address, security) in [
            ("ldaps://ldap.example", Security::Tls),
            ("ldap://ldap.example:3890", Security::StartTls),
            ("ldap://localhost.example", Security::StartTls),
            ("ldap://127.0.0.1:3890", Security::None),
            ("ldap://[::1]:3890", Security::None),
            ("ldapi://%2Frun%2Fslapd.sock", Security::None),
        ] {
            assert!(LdapConfig::parse(address).unwrap().security == security, "{address}");
        }
        for (address, security) in [("ldap://ldap.example", Security::None), ("ldaps://ldap.example", Security::Tls)] {
            assert!(LdapConfig::parse(address).unwrap().without_encryption().security == security, "{address}");
        }
        for bad in ["http://ldap.example", "ldap://", "ldap.example", "ldap://cn=x:secret@ldap.example", ""] {
            let error = LdapConfig::parse(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
    }

    #[test]
    fn a_directory_has_as_long_as_is_documented_and_twice_that_is_within_a_handshake() {
        let (patience, text) = (LdapConfig::PATIENCE, include_str!("../../../docs/accounts.md"));
        assert_eq!(LdapConfig::parse("ldaps://ldap.example").unwrap().patience, patience);
        assert!(patience.saturating_mul(2) < countersign::limits::HANDSHAKE_TIMEOUT);
        assert_eq!((patience.as_secs(), EVERY.as_millis()), (3, 500));
        for sentence in [
            "how long the directory may take for all of a login: 3s; at most half of `--handshake-timeout`",
            "and all but one in each half second at once",
        ] {
            assert!(text.contains(sentence), "docs/accounts.md does not say: {sentence}");
        }
    }

    #[test]
    fn all_is_shown_but_the_password() {
        let config = LdapConfig::parse("ldaps://ldap.example").unwrap().with_service("cn=ours", "hunter22");
        let shown = format!("{:?}", config.with_groups("ou=groups", "(member={dn})"));
        assert!(shown.contains("cn=ours") && shown.contains("(member={dn})") && !shown.contains("hunter22"), "{shown}");
    }

    #[test]
    fn the_attribute_of_the_name_is_the_one_that_is_searched_by() {
        let config = || LdapConfig::parse("ldaps://ldap.example").unwrap();
        let searched = |filter: &str| config().with_search("dc=example", filter).name_attribute().to_owned();
        assert_eq!(searched("(uid={user})"), "uid");
        assert_eq!(searched("(&(objectClass=person)(sAMAccountName={user}))"), "sAMAccountName");
        assert_eq!(config().with_names("cn={user},dc=example").name_attribute(), "cn");
        assert_eq!(config().with_names("{user}@example").name_attribute(), "uid");
        assert_eq!(config().with_names("cn={user}").with_name_attribute("uid").name_attribute(), "uid");
    }
}
