//! What every adapter shares: the errors of a login over a transport, its clock and its randomness.

use crate::credential::Credential;
use crate::crypto::CryptoError;
use crate::error::{Misuse, Reason, RecordError};
use crate::frame::FrameType;
use crate::server::{Accepted, Claim, Refusal};
use crate::time::Moment;
use crate::verifier::Verifier;
use core::time::Duration;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// How long sending a verdict may take, once the handshake's own deadline no longer bounds it.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a login or a stream over a transport failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The transport failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer closed the connection in the middle of the handshake.
    #[error("the peer closed the connection before its {awaited}{}", before(*awaited))]
    Disconnected {
        /// The frame that was awaited.
        awaited: FrameType,
    },
    /// The handshake or the session failed.
    #[error(transparent)]
    Protocol(#[from] crate::Error),
    /// Server side: the login was refused here, and the refusal sent. (A client whose login the server refused gets
    /// [`crate::Error::Refused`].)
    #[error("login refused: {reason}")]
    LoginRefused {
        /// The user the client named, where the login opened and named one.
        user: Option<String>,
        /// Why, for the audit log alone.
        reason: Reason,
    },
}

fn before(awaited: FrameType) -> &'static str {
    match awaited {
        FrameType::ServerHello => ": it may be busy, share no version or suite, or speak another protocol",
        FrameType::ServerVerdict => ": it may have been stopped, or the login took too long",
        _ => "",
    }
}

/// A generator seeded by the operating system.
pub(crate) fn rng() -> Result<StdRng, Error> {
    StdRng::try_from_rng(&mut SysRng).map_err(|_| crate::Error::from(CryptoError::Failed).into())
}

/// How long an end that has said its last word waits for the peer to hang up: closing a connection that still has
/// something to read could take the last word back.
pub(crate) const LINGER: Duration = Duration::from_millis(500);

/// The user's name for the log, where the login opened and named one, and the verdict.
pub(crate) type Decision = (Option<String>, Result<Accepted, Refusal>);

/// Asks the verifier and gives the verdict.
pub(crate) fn decide(claim: Claim, verifier: &(impl Verifier + ?Sized)) -> Decision {
    let credential: Credential<'_> = claim.credential();
    let user = credential.user().filter(|user| !user.is_empty()).map(str::to_owned);
    // A verifier that panics must not end the connection sooner than a refusal would: that would tell something.
    let verified = catch_unwind(AssertUnwindSafe(|| verifier.verify(credential)));
    let verdict = match verified.unwrap_or(Err(Reason::VerifierFailed)) {
        Ok(grant) => claim.accept(grant),
        Err(reason) => Err(claim.reject(reason)),
    };
    (user, verdict)
}

/// A clock that starts with the connection, and the deadline on it.
pub(crate) struct Timer {
    start: Instant,
    deadline: Moment,
}

impl Timer {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), deadline: Moment::ORIGIN }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }

    pub(crate) fn set_deadline(&mut self, deadline: Moment) {
        self.deadline = deadline;
    }

    /// The login is here, and only the verdict is left to send.
    pub(crate) fn allow_for_verdict(&mut self) {
        self.deadline = self.now().after(VERDICT_TIMEOUT);
    }

    /// How long until `moment`; zero if it has passed.
    pub(crate) fn until(&self, moment: Moment) -> Duration {
        moment.saturating_since(self.now())
    }

    /// What is left until the deadline.
    pub(crate) fn left(&self) -> Result<Duration, Error> {
        match self.until(self.deadline) {
            Duration::ZERO => Err(crate::Error::DeadlinePassed.into()),
            left => Ok(left),
        }
    }
}

/// As `Read` and `Write` report it: inside an [`io::Error`] of a fitting kind.
pub(crate) fn into_io(error: crate::Error) -> io::Error {
    let kind = match error {
        crate::Error::Record(RecordError::Truncated) => io::ErrorKind::UnexpectedEof,
        crate::Error::Misuse(Misuse::Closed) => io::ErrorKind::BrokenPipe,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}
