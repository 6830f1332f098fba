//! What a client keeps from one login to the next.

use crate::crypto::{Provider, Suite};
use crate::handshake;
use crate::limits;
use crate::terms::binding::Prologue;
use crate::terms::error::Misuse;
use crate::terms::puzzle::PuzzleDifficulty;
use core::time::Duration;

/// What a client keeps from one login to the next.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use countersign::{ClientConfig, crypto::rustcrypto};
///
/// let config = ClientConfig::new(rustcrypto::provider()).with_prologue(b"my protocol 3")?;
/// # }
/// # Ok::<(), countersign::Misuse>(())
/// ```
#[derive(Clone)]
pub struct ClientConfig {
    pub(super) provider: Provider,
    pub(super) suites: Vec<Suite>,
    pub(super) prologue: Prologue,
    pub(super) handshake_timeout: Duration,
    pub(super) proof_at_resumption: bool,
    pub(super) factors: bool,
    pub(super) factor_timeout: Duration,
    pub(super) puzzles: Option<PuzzleDifficulty>,
}

impl core::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ClientConfig").field("suites", &self.suites).finish_non_exhaustive()
    }
}

impl ClientConfig {
    /// A configuration with this crypto provider, its forward-secret suites ([`Suite::DEFAULT`]; without any, no login starts
    /// until [`ClientConfig::with_suites`] names others), no prologue, and
    /// [`limits::HANDSHAKE_TIMEOUT`].
    pub fn new(provider: Provider) -> Self {
        Self {
            provider,
            suites: handshake::default_suites(&provider),
            prologue: Prologue::default(),
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            proof_at_resumption: false,
            factors: false,
            factor_timeout: limits::FACTOR_TIMEOUT,
            puzzles: Some(PuzzleDifficulty::CLIENT),
        }
    }

    /// Offers these suites, most wanted first.
    ///
    /// # Errors
    /// [`Misuse`] where the list is empty, too long, names one twice, or names one the provider does not implement.
    pub fn with_suites(mut self, suites: &[Suite]) -> Result<Self, Misuse> {
        self.suites = handshake::check_suites(&self.provider, suites)?;
        Ok(self)
    }

    /// Sets the application's prologue: bytes both ends must agree on and that are never sent, such as the name and
    /// version of the protocol inside. Up to 65535 bytes. It is no secret: whoever sees a login can check a guess of it.
    ///
    /// # Errors
    /// [`Misuse::TooLong`].
    pub fn with_prologue(mut self, prologue: &[u8]) -> Result<Self, Misuse> {
        self.prologue = Prologue::new(prologue)?;
        Ok(self)
    }

    /// Bounds the whole handshake, from [`super::start`] to the verdict; after a further factor, the time from its answer to the next
    /// verdict.
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Offers to answer requests for further factors: a verdict may be one then ([`super::AwaitVerdict::read_step`]). Without it an
    /// account that needs more than its credential is refused.
    #[must_use]
    pub fn offering_factors(mut self) -> Self {
        self.factors = true;
        self
    }

    /// Bounds the time from a request for a further factor to the answer. The default is [`limits::FACTOR_TIMEOUT`].
    #[must_use]
    pub fn with_factor_timeout(mut self, timeout: Duration) -> Self {
        self.factor_timeout = timeout;
        self
    }

    /// Solves puzzles of servers under load that are no harder than this; a harder one is [`crate::Error::Busy`]. The default is
    /// [`PuzzleDifficulty::CLIENT`]. Anybody on the way can ask for it in the server's place, once on each connection.
    #[must_use]
    pub fn with_puzzles(mut self, most: PuzzleDifficulty) -> Self {
        self.puzzles = Some(most);
        self
    }

    /// Solves no puzzles: a server under load that asks for one is [`crate::Error::Busy`]. For devices that live on a battery.
    #[must_use]
    pub fn without_puzzles(mut self) -> Self {
        self.puzzles = None;
        self
    }

    pub(crate) fn asks_for_proof_at_resumption(&self) -> bool {
        self.proof_at_resumption
    }

    /// Has the server prove that it holds its key also when a ticket is shown, where the key is known whole: nobody who has stolen
    /// the ticket, or the server's ticket keys, can be the server to this client then. It costs the server an RSA operation for
    /// each resumption. The default is without.
    #[must_use]
    pub fn with_proof_at_resumption(mut self) -> Self {
        self.proof_at_resumption = true;
        self
    }
}
