//! Passwords that an LDAP directory checks, and permissions that its groups stand for.

mod ask;
mod dn;
mod entry;
mod policy;

use ask::Session;
use core::fmt;
use core::time::Duration;
use countersign::{AsyncVerifier, Attempt, Credential, CredentialKind, Grant, Reason, Returning};
use entry::Person;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use tokio::runtime::Handle;
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
    url: String,
    security: Security,
    roots: Option<Vec<CertificateDer<'static>>>,
    people: Option<People>,
    service: Option<(String, Zeroizing<String>)>,
    name: Option<String>,
    password_set: Option<String>,
    groups: Option<(String, String)>,
    everybody: Vec<String>,
    permissions: Vec<(String, Vec<String>)>,
    patience: Duration,
}

/// How what is said to a directory is kept from others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Security {
    /// From its first byte.
    Tls,
    /// Asked for in the clear, and then.
    StartTls,
    /// It does not leave the machine, or somebody wanted it so.
    None,
}

/// How a user's entry is found.
#[derive(Clone)]
enum People {
    /// Its name is known.
    Named(String),
    /// By a base and a filter.
    Found(String, String),
}

/// What a name is put in the place of.
const USER: &str = "{user}";

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
        })
    }

    /// Users have the distinguished names that come of this template: `uid={user},ou=people,dc=example`. The user's name is escaped in it
    /// (RFC 4514). Users have to be able to read their own entries, unless there is a service account for that.
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
    /// `={user}`. A directory takes `ALICE` for `alice`; here they are one, too, and it is the directory's spelling.
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

    /// How long the directory may take for all of a login: to connect, to find, to check. Then the login is told "not now".
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

    fn name_attribute(&self) -> &str {
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
        f.debug_struct("LdapConfig").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Lets in whom an LDAP directory lets in: the [`AsyncVerifier`] that binds as them, with the password that they showed.
///
/// The directory decides whether a password is right. It is asked over a connection that is made for this login alone; a password is in no
/// other's hands then. What it may say:
///
/// | the directory | the login |
/// |---|---|
/// | takes the password | is accepted, with the permissions of the user's groups |
/// | knows no such user, or not this password (49) | is refused |
/// | says that the account is locked, disabled, expired, or its password is to be changed (by a password policy's control, Active Directory's code, 19, 53, or in the entry) | is refused |
/// | is away, slow, busy, wants something that is not configured, or says anything else | is told "not now", never that the password is wrong |
///
/// **An empty password is never sent**: to a directory that is a login as nobody, which succeeds. Passwords that are no UTF-8, or have a NUL, are
/// refused.
///
/// **Unknown names** cost the directory what known ones do as far as it can be told from here: as many requests, and a bind under a name that there
/// is not. How long it takes to refuse that, with which hash or none, is the directory's; OpenLDAP computes none. What shows of it is up to
/// [`ServerConfig::with_refusal_floor`](countersign::ServerConfig::with_refusal_floor).
///
/// **Tickets and open sessions**, with a service account: the entry is read again, with its groups. The account's epoch is a hash of the entry's identity, of when its password was set,
/// and of the groups that count; that of its credentials is one of the first two. So another password ends tickets and sessions, a group that is taken away ends
/// tickets and takes its permissions from sessions, and a lock ends sessions and stops tickets while it lasts.
#[derive(Clone)]
pub struct LdapVerifier(Arc<Inner>);

struct Inner {
    config: LdapConfig,
    tls: Option<Arc<rustls::ClientConfig>>,
    runtime: Handle,
}

impl LdapVerifier {
    /// Asks this directory, on the runtime of tokio that this is called on. Nothing is sent yet.
    ///
    /// # Errors
    /// [`LdapError`] where the configuration does not say how people are found, or can't be.
    pub fn new(config: LdapConfig) -> Result<Self, LdapError> {
        let runtime = Handle::try_current().map_err(|_| LdapError::NoRuntime)?;
        let is_found = match &config.people {
            Some(People::Named(template)) => template.contains(USER),
            Some(People::Found(_, filter)) => filter.contains(USER) && config.service.is_some(),
            None => false,
        };
        // Also a service account's: it would be nobody's.
        if !is_found || config.service.as_ref().is_some_and(|(name, password)| name.is_empty() || password.is_empty()) {
            return Err(LdapError::People);
        }
        Grant::new("-", config.everybody.iter()).map_err(|_| LdapError::Permissions)?;
        for (_, permissions) in &config.permissions {
            Grant::new("-", permissions.iter()).map_err(|_| LdapError::Permissions)?;
        }
        let tls = (config.security != Security::None).then(|| tls(config.roots.as_deref())).transpose()?;
        Ok(Self(Arc::new(Inner { config, tls, runtime })))
    }

    /// Whether the directory answers, and lets the service account in, where there is one.
    ///
    /// # Errors
    /// [`LdapError::Away`] with what it said.
    pub async fn check(&self) -> Result<(), LdapError> {
        let inner = Arc::clone(&self.0);
        let asked = self.within(async move { Session::open(&inner).await?.as_service().await });
        asked.await.map_err(|reason| LdapError::Away(reason.to_string()))
    }

    /// Does something with the directory on a task of its own: in time, and whatever it sends (the library underneath panics at
    /// what is no LDAP).
    async fn within<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Reason>> + Send + 'static,
    ) -> Result<T, Reason> {
        let work = tokio::time::timeout(self.0.config.patience, work);
        match self.0.runtime.spawn(work).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Reason::NotNow("the directory does not answer in time")),
            Err(_) => Err(Reason::NotNow("the directory says what can't be understood")),
        }
    }
}

impl AsyncVerifier for LdapVerifier {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let (user, password) = match attempt.credential() {
            Credential::Password { user, password } => (user, password),
            Credential::Token(_) => return Err(Reason::UnknownToken),
            Credential::Key { .. } => return Err(Reason::UnknownKey),
            // Nothing that a directory could check.
            other => return Err(Reason::KindNotTaken(other.kind())),
        };
        let inner = Arc::clone(&self.0);
        let (user, password) = (user.to_owned(), Zeroizing::new(password.to_vec()));
        self.within(async move {
            // What can't be anybody's is asked about as somebody who is not there: it takes as long.
            let shown = core::str::from_utf8(&password).ok().filter(|text| !text.is_empty() && !text.contains('\0'));
            let is_possible =
                shown.is_some() && !user.is_empty() && user.trim() == user && !user.contains(char::is_control);
            let (user, password) = match shown {
                Some(password) if is_possible => (user.as_str(), password),
                _ => (NOBODY, NOBODY),
            };
            let person = Session::open(&inner).await?.log_in(user, password).await;
            match person {
                Ok(person) if is_possible => person.grant(&inner.config),
                Err(reason) if is_possible || matches!(reason, Reason::NotNow(_)) => Err(reason),
                _ => Err(Reason::UnknownUser),
            }
        })
        .await
    }

    async fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        if self.0.config.service.is_none() {
            return Err(Reason::ResumeUnsupported);
        }
        if returning.kind() != CredentialKind::Password {
            return Err(Reason::AccountDisabled);
        }
        let (inner, name) = (Arc::clone(&self.0), returning.principal().to_owned());
        self.within(async move {
            let mut session = Session::open(&inner).await?;
            session.as_service().await?;
            let person: Person = session.find(&name).await?.ok_or(Reason::UnknownUser)?;
            person.grant(&inner.config)
        })
        .await
    }
}

/// A user that no directory has, and a password that nobody has.
const NOBODY: &str = "countersign-knows-nobody-of-this-name";

fn tls(roots: Option<&[CertificateDer<'static>]>) -> Result<Arc<rustls::ClientConfig>, LdapError> {
    let mut store = rustls::RootCertStore::empty();
    match roots {
        Some(roots) => roots.iter().try_for_each(|root| store.add(root.clone())).map_err(|_| LdapError::Roots)?,
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| LdapError::Roots)?;
    Ok(Arc::new(config.with_root_certificates(store).with_no_client_auth()))
}

impl fmt::Debug for LdapVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LdapVerifier").field(&self.0.config).finish()
    }
}

/// What is wrong with a directory, or its configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LdapError {
    /// It is no address of one.
    #[error("not a directory: expected ldaps://HOST, ldap://HOST or ldapi://PATH, with no name or password in it")]
    Address,
    /// Nothing says how people are found: a template or a filter with `{user}` in it is missing, or the account that a search needs, or its
    /// password.
    #[error(
        "it is not said how people are found: by a template with {{user}} in it, or a filter and an account that searches"
    )]
    People,
    /// One of the permissions can't be one.
    #[error("one of the permissions can't be one, or they are too many")]
    Permissions,
    /// There is no certificate in what should hold some.
    #[error("no certificate that could be trusted")]
    Roots,
    /// There is no runtime of tokio's here.
    #[error("a directory has to be opened on a runtime of tokio")]
    NoRuntime,
    /// It can't be reached, does not answer in time, or does not let the service account in.
    #[error("the directory can't be asked: {0}")]
    Away(String),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{LdapConfig, Security};

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
        assert!(LdapConfig::parse("ldap://ldap.example").unwrap().without_encryption().security == Security::None);
        for bad in ["http://ldap.example", "ldap://", "ldap.example", "ldap://cn=x:secret@ldap.example", ""] {
            let error = LdapConfig::parse(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
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
