//! A verdict that may ask for a further factor, and the answer.

use super::AwaitVerdict;
use crate::handshake;
use crate::limits;
use crate::session::Session;
use crate::terms::error::Error;
use crate::terms::factor::{self, Prompt};
use crate::time::Moment;
use crate::wire::codec::ClientFactor;
use crate::wire::frame::FrameType;
use zeroize::Zeroizing;

/// What a server says of a login that it does not refuse.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub enum Verdict {
    /// It is accepted.
    Accepted(Session),
    /// A further factor is asked for.
    Factor(FactorWanted),
}

impl Verdict {
    /// The session.
    ///
    /// # Errors
    /// [`Error::FactorWanted`] where there is none yet.
    pub fn accepted(self) -> Result<Session, Error> {
        match self {
            Self::Accepted(session) => Ok(session),
            Self::Factor(wanted) => Err(Error::FactorWanted(wanted.prompt)),
        }
    }
}

/// The credential was good, and the factors so far. *The next factor?*
pub struct FactorWanted {
    state: AwaitVerdict,
    prompt: Prompt,
    deadline: Moment,
}

impl FactorWanted {
    pub(super) fn new(state: AwaitVerdict, prompt: Prompt, now: Moment) -> Self {
        let deadline = now.after(state.config.factor_timeout);
        Self { state, prompt, deadline }
    }

    /// What is asked for.
    pub fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    /// When the answer must be there.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Seals the answer, 1 to 256 bytes: gives the ClientFactor frame to send. There is one attempt.
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`]; [`Error::Misuse`] for an answer out of bounds; [`Error::Crypto`].
    pub fn answer(self, answer: &[u8], now: Moment) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        let Self { mut state, deadline, .. } = self;
        if now > deadline {
            return Err(Error::DeadlinePassed);
        }
        let answer = factor::answer(answer)?;
        let message = ClientFactor { sealed_factor: &[0; limits::CLIENT_FACTOR] };
        let [tail] = message.tails();
        let mut frame = Zeroizing::new(handshake::write(FrameType::ClientFactor, &message)?);
        // Written where it is sent from, and sealed there, so that no copy of it is left behind.
        handshake::seal(&*state.secrets.factor_key()?, &answer, tail.cut_mut(&mut frame).content_mut())?;
        state.secrets.add(&frame);
        state.deadline = now.after(state.config.handshake_timeout);
        Ok((core::mem::take(&mut *frame), state))
    }
}

crate::opaque_debug!(FactorWanted);
