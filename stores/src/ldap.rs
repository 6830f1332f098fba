//! Passwords that an LDAP directory checks, and permissions that its groups stand for.

mod ask;
mod config;
mod dn;
mod entry;
mod policy;

pub use config::LdapConfig;

use crate::circuit::{self, Circuit};
use crate::watcher::{Asker, Availability, Watcher};
use ask::{Session, Trouble};
use config::{People, Security, USER};
use core::fmt;
use countersign::accounts::StoreError;
use countersign::{AsyncVerifier, Attempt, Credential, CredentialKind, Grant, Reason, Returning};
use entry::Person;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::runtime::Handle;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Lets in whom an LDAP directory lets in: the [`AsyncVerifier`] that binds as them, with the password that they showed.
///
/// The directory decides whether a password is right. It is asked over a connection that is made for this login alone; a password is in no
/// other's hands then. First it is asked something that depends on nobody: to let the service account in, or, where there is none, for its
/// root entry. While it has no answer to that, one login in each half second goes on asking, and all others are told "not now" at once, which costs nobody
/// anything. One who makes the directory slow for one account, as those do that delay the answer to wrong passwords, keeps nobody else out like that.
/// What it may say:
///
/// | the directory | the login |
/// |---|---|
/// | takes the password | is accepted, with the permissions of the user's groups |
/// | knows no such user, or not this password (49) | is refused |
/// | says that the account is locked, disabled, expired, or its password is to be changed (by a password policy's control, Active Directory's code, 19, 53, or in the entry) | is refused. Without a service account, 19 and 53 name nobody in the log, and 53 that is said to a name that nobody has, too, is "not now" |
/// | is away, slow, busy, wants something that is not configured, has no entry to search below, does not give all groups of a user, or says anything else | is told "not now", never that the password is wrong |
/// | has the password, and does not answer in time, hangs up, or is busy then | is told "not now", and counts as a guess: a directory may let those wait who show a wrong one ([`Reason::NoAnswer`]) |
/// | takes the password, and then does not show the user's own entry or groups, or not in time (without a service account) | is refused, and counts as a guess: "not now" would say that the password is right. The log has why |
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
/// tickets and takes its permissions from sessions, and a lock ends sessions and stops tickets while it lasts. A directory that shows no
/// more which entry it is, or when its password was set, where it did (a right to read that is gone, another replica) can't tell: sessions go on for the grace.
#[derive(Clone)]
pub struct LdapVerifier(Arc<Inner>);

struct Inner {
    config: LdapConfig,
    tls: Option<Arc<rustls::ClientConfig>>,
    runtime: Handle,
    circuit: Circuit,
    watcher: Watcher,
    /// Whether it has shown of any entry which one it is. Then every entry has such a mark.
    has_marks: AtomicBool,
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
        let (circuit, watcher) = (Circuit::new(circuit::EVERY), Watcher::default());
        let has_marks = AtomicBool::new(false);
        Ok(Self(Arc::new(Inner { config, tls, runtime, circuit, watcher, has_marks })))
    }

    /// Tells when the directory goes away, and when it is back: as soon as a login finds it so, or [`LdapVerifier::check`].
    /// A second observer takes the first one's place.
    #[must_use]
    pub fn with_observer(self, observer: impl Fn(Availability<'_>) + Send + Sync + 'static) -> Self {
        self.0.watcher.set(observer);
        self
    }

    /// Whether the directory answers what logins ask, as far as that depends on nobody: it lets the service account in, where there is one, and has what
    /// that is to search. To be asked every few seconds by a server that wants to know.
    ///
    /// # Errors
    /// [`LdapError::Away`] or [`LdapError::Refused`], with what it said.
    pub async fn check(&self) -> Result<(), LdapError> {
        let (end, inner) = (self.end(), Arc::clone(&self.0));
        let looked = self.0.runtime.spawn(async move { Session::open(&inner, end).await?.look().await });
        let looked = looked.await.unwrap_or_else(|_| Err(Trouble::Unreachable(NO_LDAP.to_owned())));
        let looked = looked.map_err(|trouble| LdapError::from(&trouble));
        match &looked {
            Ok(()) => self.0.answered(Asker::Check),
            Err(error) => self.0.watcher.away(Asker::Check, &away(error)),
        }
        looked
    }

    fn end(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.0.config.patience).unwrap_or(now)
    }

    /// Does something with the directory on tasks of its own: in time, and whatever it sends (the library underneath panics at what is no LDAP, which is
    /// `lost`).
    async fn within<T: Send + 'static, F: Future<Output = Result<T, Reason>> + Send + 'static>(
        &self,
        lost: Reason,
        work: impl FnOnce(Session) -> F,
    ) -> Result<T, Reason> {
        let Some(asking) = self.0.circuit.ask() else {
            return Err(Reason::NotNow("the directory did not answer a moment ago"));
        };
        let (end, inner) = (self.end(), Arc::clone(&self.0));
        // What comes of it is noted also where whoever asked is gone.
        let opened = self.0.runtime.spawn(async move {
            let opened = Session::open(&inner, end).await;
            match opened {
                Ok(session) => {
                    inner.answered(Asker::Login);
                    Ok(session)
                }
                Err(trouble) => {
                    // Whoever comes next would be told the same.
                    inner.circuit.failed(&asking);
                    // Unless others were answered meanwhile.
                    if inner.circuit.is_away() {
                        inner.watcher.away(Asker::Login, &away(&LdapError::from(&trouble)));
                    }
                    Err(trouble.reason())
                }
            }
        });
        let session = opened.await.unwrap_or(Err(Reason::NotNow(NO_LDAP)))?;
        self.0.runtime.spawn(work(session)).await.unwrap_or(Err(lost))
    }
}

const NO_LDAP: &str = "the directory says what can't be understood";

fn away(error: &LdapError) -> StoreError {
    StoreError::away("the directory is away", error.to_string())
}

impl Inner {
    fn answered(&self, asker: Asker) {
        self.circuit.answered();
        self.watcher.back(asker);
    }

    /// Whether it is shown which entry this is, as far as that ever was. Without it nobody could tell the one that somebody was let in by from another.
    fn is_shown(&self, person: &Person) -> bool {
        let is_shown = person.is_identified();
        self.has_marks.fetch_or(is_shown, Relaxed);
        is_shown || !self.has_marks.load(Relaxed)
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
        // The password may be with it.
        self.within(Reason::NoAnswer(NO_LDAP), move |session| async move {
            // What can't be anybody's is asked about as somebody who is not there: it takes as long.
            let shown = core::str::from_utf8(&password).ok().filter(|text| !text.is_empty() && !text.contains('\0'));
            let is_possible =
                shown.is_some() && !user.is_empty() && user.trim() == user && !user.contains(char::is_control);
            let (user, password) = match shown {
                Some(password) if is_possible => (user.as_str(), password),
                _ => (NOBODY, NOBODY),
            };
            match session.log_in(user, password).await {
                Ok(person) if is_possible => {
                    inner.is_shown(&person);
                    person.grant(&inner.config)
                }
                Err(reason) if is_possible || reason.is_not_now() => Err(reason),
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
        self.within(Reason::NotNow(NO_LDAP), move |mut session| async move {
            let person = session.find(&name).await.map_err(|trouble| trouble.reason())?.ok_or(Reason::UnknownUser)?;
            if !inner.is_shown(&person) {
                return Err(Reason::NotNow("the directory no longer shows which entry it is"));
            }
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
    /// It can't be reached, does not answer in time, or is busy.
    #[error("the directory can't be asked: {0}")]
    Away(String),
    /// It is there, and does not let the service account in, or does not show it what it is to search. That does not pass by itself.
    #[error("the directory refuses: {0}")]
    Refused(String),
}

impl LdapError {
    /// A word for logs and metrics: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address => "directory-address",
            Self::People => "directory-people",
            Self::Permissions => "directory-permissions",
            Self::Roots => "directory-roots",
            Self::NoRuntime => "no-runtime",
            Self::Away(_) => "directory-away",
            Self::Refused(_) => "directory-refused",
        }
    }
}
