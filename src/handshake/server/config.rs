//! What a server keeps from one login to the next.

use crate::crypto::{Provider, Suite};
use crate::handshake;
use crate::limits;
use crate::terms::binding::Prologue;
use crate::terms::credential::{Credential, CredentialKind};
use crate::terms::error::{Error, Misuse};
use crate::terms::stretch::{StretchedPassword, Stretching};
use crate::terms::ticket::TicketKeys;
use core::time::Duration;
use std::sync::Arc;

/// What a server keeps from one login to the next.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use countersign::{ServerConfig, crypto::rustcrypto};
/// use std::time::Duration;
///
/// let config = ServerConfig::new(rustcrypto::provider()).with_refusal_floor(Duration::from_millis(400));
/// # }
/// ```
#[derive(Clone)]
pub struct ServerConfig {
    pub(super) provider: Provider,
    pub(super) suites: Vec<Suite>,
    /// As they were named.
    named: Vec<CredentialKind>,
    /// As they are taken.
    pub(super) kinds: Vec<CredentialKind>,
    pub(super) prologue: Prologue,
    pub(super) handshake_timeout: Duration,
    pub(super) refusal_floor: Duration,
    pub(super) factor_timeout: Duration,
    pub(super) answer_floor: Option<Duration>,
    pub(super) tickets: Option<Arc<TicketKeys>>,
    pub(super) stretching: Option<Arc<Announced>>,
}

/// How passwords are stretched for this server.
pub(super) struct Announced {
    pub(super) stretching: Stretching,
    /// As every ServerHello has it.
    pub(super) bytes: Vec<u8>,
    /// What stands in for one that does not open.
    decoy: StretchedPassword,
}

impl core::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ServerConfig")
            .field("suites", &self.suites)
            .field("kinds", &self.kinds)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("refusal_floor", &self.refusal_floor)
            .finish_non_exhaustive()
    }
}

impl ServerConfig {
    /// A configuration with this crypto provider, its forward-secret suites ([`Suite::DEFAULT`]), passwords and tokens, no prologue,
    /// [`limits::HANDSHAKE_TIMEOUT`], [`limits::FACTOR_TIMEOUT`], [`limits::REFUSAL_FLOOR`], and no tickets.
    pub fn new(provider: Provider) -> Self {
        Self {
            provider,
            suites: handshake::default_suites(&provider),
            named: CredentialKind::DEFAULT.to_vec(),
            kinds: CredentialKind::DEFAULT.to_vec(),
            prologue: Prologue::default(),
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            refusal_floor: limits::REFUSAL_FLOOR,
            factor_timeout: limits::FACTOR_TIMEOUT,
            answer_floor: None,
            tickets: None,
            stretching: None,
        }
    }

    /// Takes these suites, most wanted first; the server's order decides.
    ///
    /// # Errors
    /// [`Misuse`] where the list is empty, names one twice, or names one the provider does not implement.
    pub fn with_suites(mut self, suites: &[Suite]) -> Result<Self, Misuse> {
        self.suites = handshake::check_suites(&self.provider, suites)?;
        Ok(self)
    }

    /// Takes these credential kinds; the default is [`CredentialKind::DEFAULT`]. What [`ServerConfig::with_stretching`] makes of passwords holds
    /// for these, too, whichever is called first. A login that does not open costs what refusing the first of them costs.
    ///
    /// # Errors
    /// [`Misuse`] where the list is empty or names one twice, where it names keys and the provider checks no signatures, or where it names stretched
    /// passwords and how they are stretched was not said before.
    pub fn with_credential_kinds(mut self, kinds: &[CredentialKind]) -> Result<Self, Misuse> {
        if kinds.is_empty() {
            return Err(Misuse::BadInput("the list of credential kinds"));
        }
        if handshake::has_duplicate(kinds.iter()) {
            return Err(Misuse::Duplicate("the list of credential kinds"));
        }
        if kinds.contains(&CredentialKind::Key) && self.provider.signatures.is_none() {
            return Err(Misuse::UnsupportedKind(CredentialKind::Key));
        }
        if kinds.contains(&CredentialKind::Stretched) && self.stretching.is_none() {
            return Err(Misuse::UnsupportedKind(CredentialKind::Stretched));
        }
        self.named = kinds.to_vec();
        Ok(self.resolved())
    }

    /// Takes passwords that its clients have stretched as this says: in the place of passwords, or beside what else
    /// [`ServerConfig::with_credential_kinds`] names. A login by password costs the server no password
    /// hash then, and a login that does not open costs nothing but its RSA operation. The verifier gets a [`Credential::Stretched`].
    ///
    /// Clients that can't stretch are turned away. To take passwords as they are, too, at their cost, name both kinds afterwards.
    ///
    /// # Errors
    /// [`Misuse`] where it can't be announced.
    pub fn with_stretching(mut self, stretching: Stretching) -> Result<Self, Misuse> {
        let bytes = stretching.to_bytes().map_err(|error| match error {
            Error::Misuse(misuse) => misuse,
            _ => Misuse::BadInput("the stretching parameters"),
        })?;
        let decoy = StretchedPassword::decoy(&stretching);
        self.stretching = Some(Arc::new(Announced { stretching, bytes, decoy }));
        Ok(self.resolved())
    }

    /// With the kinds that are taken: of what was named and how passwords are stretched, whichever was said last.
    fn resolved(mut self) -> Self {
        self.kinds.clone_from(&self.named);
        if self.stretching.is_some() && !self.kinds.contains(&CredentialKind::Stretched) {
            match self.kinds.iter_mut().find(|kind| **kind == CredentialKind::Password) {
                Some(kind) => *kind = CredentialKind::Stretched,
                None => self.kinds.insert(0, CredentialKind::Stretched),
            }
        }
        self
    }

    /// What every ServerHello says of stretching, if stretched passwords are taken.
    pub(super) fn announced(&self) -> Option<&Announced> {
        self.stretching.as_deref()
    }

    /// What stands in for a credential that did not open.
    pub(super) fn decoy(&self) -> Credential<'_> {
        // The configuration always names a kind.
        let kind = self.kinds.first().copied().unwrap_or(CredentialKind::Password);
        Credential::decoy(kind, self.stretching.as_deref().map(|announced| &announced.decoy))
    }

    /// Sets the application's prologue: bytes both ends must agree on and that are never sent. Up to 65535 bytes. It
    /// is no secret: whoever sees a login can check a guess of it.
    ///
    /// # Errors
    /// [`Misuse::TooLong`].
    pub fn with_prologue(mut self, prologue: &[u8]) -> Result<Self, Misuse> {
        self.prologue = Prologue::new(prologue)?;
        Ok(self)
    }

    /// Bounds the time from [`super::AwaitHello::new`] to the login's arrival, and then once more the time from there to the
    /// decision: waiting for a turn, the RSA operation and the verifier.
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Bounds the time from a request for a further factor to the answer's arrival: somebody has to look for it and type it. The default is
    /// [`limits::FACTOR_TIMEOUT`].
    #[must_use]
    pub fn with_factor_timeout(mut self, timeout: Duration) -> Self {
        self.factor_timeout = timeout;
        self
    }

    /// Gives out tickets under these keys, and takes them: the next login of the same client is cheap.
    #[must_use]
    pub fn with_tickets(mut self, keys: impl Into<Arc<TicketKeys>>) -> Self {
        self.tickets = Some(keys.into());
        self
    }

    /// Sets how long after a ClientHello's arrival an answer is released that took a private-key operation. It hides how long that took, where
    /// whoever did it does not promise a time that is independent of what it found: a hardware module, a key service.
    ///
    /// The default is no wait for keys that are loaded ([`crate::ServerKey::load`]), and that of refusals
    /// ([`ServerConfig::with_refusal_floor`]) for all others.
    #[must_use]
    pub fn with_answer_floor(mut self, floor: Duration) -> Self {
        self.answer_floor = Some(floor);
        self
    }

    /// Sets how long after a login's arrival a refusal is released. Keep it above what verifying a credential takes,
    /// or the reason for a refusal may show in its timing.
    #[must_use]
    pub fn with_refusal_floor(mut self, floor: Duration) -> Self {
        self.refusal_floor = floor;
        self
    }
}
