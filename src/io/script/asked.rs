//! What verifiers on other threads are told.

use crate::handshake::server::Claim;
use crate::terms::context::Context;
use crate::terms::credential::CredentialKind;
use crate::terms::error::Reason;
use crate::terms::grant::Grant;
use crate::terms::verifier::{Asker, Attempt, Returning, Verifier};
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
    pub(super) fn verify(&self, claim: &Claim, verifier: &dyn Verifier) -> Result<Grant, Reason> {
        let asker = Asker { server_name: &self.server_name, context: &self.context, pool: None };
        let attempt = Attempt { credential: claim.credential(), asker };
        catch_unwind(AssertUnwindSafe(|| verifier.verify(&attempt))).unwrap_or(Err(Reason::VerifierFailed))
    }

    /// Asks a verifier whether a principal is still welcome. A panic is no answer: the client may show a credential.
    pub(super) fn welcome(
        &self,
        principal: &str,
        (kind, authenticated): (CredentialKind, UnixTime),
        verifier: &dyn Verifier,
    ) -> Option<Result<Grant, Reason>> {
        let asker = Asker { server_name: &self.server_name, context: &self.context, pool: None };
        let returning = Returning { principal, kind, authenticated, asker };
        catch_unwind(AssertUnwindSafe(|| verifier.resume(&returning))).ok()
    }
}
