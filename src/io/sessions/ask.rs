//! One question about a session.

use super::super::acceptor::AnyVerifier;
use super::super::drive::block_on_unless;
use super::super::live::Live;
use super::Shown;
use crate::crypto::Caught;
use crate::terms::error::Reason;
use crate::terms::grant::Grant;
#[cfg(feature = "tokio")]
use crate::terms::verifier::DynVerifier;
use crate::terms::verifier::{Asker, Returning};
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Whether a principal is still welcome.
pub(super) struct Question {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) live: Arc<Live>,
    pub(super) held: Arc<Grant>,
    pub(super) shown: Arc<Shown>,
    /// Where it is asked, if not on a thread.
    #[cfg(feature = "tokio")]
    pub(super) runtime: Option<tokio::runtime::Handle>,
}

/// What a verifier says; nothing where it panics, or says nothing in time.
pub(super) type Answer = Option<Result<Grant, Reason>>;

impl Question {
    /// Asks on this thread, which may wait for the answer: of an async verifier so long, and as long as there is a session.
    pub(super) fn ask_here(&self, verifier: &AnyVerifier, late: Duration) -> Answer {
        if self.live.has_ended() {
            return None;
        }
        let returning = self.returning();
        match verifier {
            AnyVerifier::Blocking(verifier) => catch_unwind(AssertUnwindSafe(|| verifier.resume(&returning))).ok(),
            AnyVerifier::Async(verifier) => {
                let start = Instant::now();
                let is_over = || start.elapsed() >= late || self.live.has_ended();
                let asking = || block_on_unless(is_over, Caught::new(verifier.resume(&returning)));
                catch_unwind(AssertUnwindSafe(asking)).ok().flatten().flatten()
            }
        }
    }

    #[cfg(feature = "tokio")]
    pub(super) async fn ask(&self, verifier: &dyn DynVerifier) -> Answer {
        Caught::new(verifier.resume(&self.returning())).await
    }

    fn returning(&self) -> Returning<'_> {
        let Shown { kind, authenticated, server_name, context, .. } = &*self.shown;
        let asker = Asker { server_name, context, pool: None };
        let (principal, epochs) = (self.held.principal(), self.held.epochs());
        Returning { principal, kind: *kind, authenticated: *authenticated, is_session: true, epochs, asker }
    }
}
