//! What verifiers on other threads are told.

use super::factors::Verdict;
use crate::handshake::server::{Claim, FactorClaim};
use crate::terms::context::Context;
use crate::terms::credential::CredentialKind;
use crate::terms::error::Reason;
use crate::terms::factor::Prompt;
use crate::terms::grant::{Epochs, Grant};
use crate::terms::verifier::{Asker, Attempt, FactorAttempt, Further, Good, Returning, Verifier};
use crate::time::UnixTime;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a verifier on another thread is told.
pub(super) struct Asked {
    pub(super) context: Arc<Context>,
    pub(super) server_name: String,
}

impl Asked {
    /// Asks a verifier. One that panics must not end the connection sooner than a refusal would: that would tell something.
    pub(super) fn verify(&self, claim: &Claim, verifier: &dyn Verifier) -> Verdict {
        let attempt = Attempt { credential: claim.credential(), asker: self.asker() };
        let verdict = catch_unwind(AssertUnwindSafe(|| {
            let grant = verifier.verify(&attempt)?;
            let good = Good { grant: &grant, kind: attempt.credential.kind(), step: 0 };
            let further = verifier.further(&Further { good, asker: self.asker() })?;
            Ok((grant, further))
        }));
        verdict.unwrap_or(Err(Reason::VerifierFailed))
    }

    /// Asks a verifier about the answer for a further factor, and whether one more is needed.
    pub(super) fn check_factor(
        &self,
        claim: &FactorClaim,
        (grant, step): (&Grant, usize),
        verifier: &dyn Verifier,
    ) -> Result<Option<Prompt>, Reason> {
        let good = Good { grant, kind: claim.kind(), step };
        let attempt = FactorAttempt { answer: claim.answer(), good, asker: self.asker() };
        let checked = catch_unwind(AssertUnwindSafe(|| {
            verifier.check_factor(&attempt)?;
            verifier.further(&Further { good: Good { step: step.saturating_add(1), ..good }, asker: self.asker() })
        }));
        checked.unwrap_or(Err(Reason::VerifierFailed))
    }

    /// Asks a verifier whether a principal is still welcome. A panic is no answer: the client may show a credential.
    pub(super) fn welcome(
        &self,
        (principal, epochs): (&str, Epochs),
        (kind, authenticated): (CredentialKind, UnixTime),
        verifier: &dyn Verifier,
    ) -> Option<Result<Grant, Reason>> {
        let returning = Returning { principal, kind, authenticated, is_session: false, epochs, asker: self.asker() };
        catch_unwind(AssertUnwindSafe(|| verifier.resume(&returning))).ok()
    }

    fn asker(&self) -> Asker<'_> {
        Asker { server_name: &self.server_name, context: &self.context, pool: None }
    }
}
