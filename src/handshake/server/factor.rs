//! From a verdict that asks for a further factor to the next verdict.

use super::verdict::{Accepted, Refusal, Undecided};
use crate::crypto::{CryptoRng, Suite, once};
use crate::handshake;
use crate::limits;
use crate::terms::credential::CredentialKind;
use crate::terms::error::{Error, Reason};
use crate::terms::factor::Prompt;
use crate::terms::grant::Grant;
use crate::time::{Moment, UnixTime};
use crate::wire::codec::{self, ClientFactor, Factor, Tail};
use crate::wire::frame::{self, FrameType};
use zeroize::Zeroizing;

/// A login whose client is asked for a further factor.
#[non_exhaustive]
#[must_use = "the client is asked by the frame"]
pub struct Asked {
    /// The ServerVerdict frame to send, at once.
    pub frame: Vec<u8>,
    /// What is next.
    pub state: AwaitFactor,
}

/// A further factor was asked for; a ClientFactor is awaited.
pub struct AwaitFactor {
    undecided: Undecided,
    deadline: Moment,
}

impl AwaitFactor {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::ClientFactor];

    pub(super) fn new(undecided: Undecided, deadline: Moment) -> Self {
        Self { undecided, deadline }
    }

    /// When the answer must have arrived.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Takes the ClientFactor, one whole frame, and opens it.
    ///
    /// # Errors
    /// A [`Refusal`] to send, the same on the wire as any other.
    pub fn read(self, frame: Vec<u8>, now: Moment) -> Result<FactorClaim, Refusal> {
        if now > self.deadline {
            // The connection is closed without an answer.
            return Err(Refusal::silent(Reason::Malformed(Error::DeadlinePassed), now));
        }
        if let Err(error) = frame::expect(&frame, FrameType::ClientFactor) {
            return Err(self.fail(error.into(), now));
        }
        let Self { undecided, .. } = self;
        let mut undecided = Undecided { arrival: now, ..undecided };
        let key = undecided.secrets.factor_key();
        undecided.secrets.add(&frame);
        let mut frame = Zeroizing::new(frame);
        let opened = handshake::read::<ClientFactor<'_>>(FrameType::ClientFactor, &frame).and_then(|message| {
            let [tail] = message.tails();
            Ok((key?, tail))
        });
        let opened = opened.and_then(|(key, tail)| {
            once::open(&*key, tail.cut_mut(&mut frame).content_mut())?;
            Ok(tail)
        });
        let Ok(tail) = opened else { return Err(undecided.reject(Reason::NotOpened)) };
        let claim = FactorClaim { undecided, frame, tail };
        if claim.opened().is_some() { Ok(claim) } else { Err(claim.reject(Reason::NotOpened)) }
    }

    /// Refuses without an answer: the stream did not carry one. Gives the one refusal there is.
    pub fn fail(self, error: Error, now: Moment) -> Refusal {
        Undecided { arrival: now, ..self.undecided }.reject(Reason::Malformed(error))
    }
}

/// The answer to a request for a further factor, not yet checked. *Is it good?*
pub struct FactorClaim {
    undecided: Undecided,
    frame: Zeroizing<Vec<u8>>,
    tail: Tail,
}

impl FactorClaim {
    /// The answer to check: 1 to 256 bytes. There is one attempt.
    pub fn answer(&self) -> &[u8] {
        // It was read before, so it can be read again.
        self.opened().unwrap_or_default()
    }

    /// The kind of the credential that was good.
    pub fn kind(&self) -> CredentialKind {
        self.undecided.kind
    }

    /// The suite of this handshake.
    pub fn suite(&self) -> Suite {
        self.undecided.secrets.suite()
    }

    /// When the answer must have been decided about: as long after its arrival as a handshake may take.
    pub fn deadline(&self) -> Moment {
        self.undecided.arrival.after(self.undecided.config.handshake_timeout)
    }

    /// The answer is good, and it was the last: gives the verdict to send and the session.
    ///
    /// # Errors
    /// A [`Refusal`] where the crypto provider fails.
    pub fn accept(self, grant: Grant) -> Result<Accepted, Refusal> {
        self.undecided.accept(grant)
    }

    /// As [`FactorClaim::accept`], with a ticket for the next login, if the server gives tickets and the grant has an epoch.
    ///
    /// # Errors
    /// As [`FactorClaim::accept`].
    pub fn accept_with_ticket(self, grant: Grant, now: UnixTime, rng: &mut dyn CryptoRng) -> Result<Accepted, Refusal> {
        self.undecided.accept_with_ticket(grant, now, rng)
    }

    /// The answer is good, and it is not enough: asks for the next one. `now` is when the time for it begins.
    ///
    /// # Errors
    /// A [`Refusal`] for the fifth ([`limits::MAX_FACTORS`]), and as [`FactorClaim::accept`].
    pub fn ask(self, prompt: &Prompt, now: Moment) -> Result<Asked, Refusal> {
        self.undecided.ask(prompt, now)
    }

    /// The answer is not good, or nobody can tell now, as for [`super::Claim::reject`].
    pub fn reject(self, reason: Reason) -> Refusal {
        self.undecided.reject(reason)
    }

    /// The answer in the opened plaintext; `None` where it breaks a rule of PROTOCOL.md, "ClientFactor".
    fn opened(&self) -> Option<&[u8]> {
        let (plaintext, _) = self.tail.cut(&self.frame).content().split_last_chunk::<{ limits::TAG }>()?;
        let Factor { answer } = codec::decode_padded(plaintext, limits::FACTOR).ok()?;
        let is_in_bounds = !answer.is_empty() && answer.len() <= limits::MAX_ANSWER;
        is_in_bounds.then_some(answer.0)
    }
}

crate::opaque_debug!(Asked, AwaitFactor, FactorClaim);
