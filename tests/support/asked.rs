//! Asking the verifier over a store of accounts from a test that waits.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_docs)]

use countersign::accounts::{AccountStore, AccountVerifier};
use countersign::{
    AsyncVerifier, Attempt, Context, Credential, CredentialKind, FactorAttempt, Further, Grant, Prompt, Reason,
    Returning, UnixTime,
};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut task = std::task::Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut task) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

fn verifier<S: AccountStore>(store: &Arc<S>) -> AccountVerifier<Arc<S>> {
    // What is stored in tests costs next to nothing.
    AccountVerifier::new(Arc::clone(store)).without_upgrade()
}

pub fn check<S: AccountStore>(store: &Arc<S>, credential: Credential<'_>) -> Result<Grant, Reason> {
    block_on(verifier(store).verify(&Attempt::new(credential, &Context::uncounted())))
}

/// Whether a ticket that was got with such a credential lets them in.
pub fn resume<S: AccountStore>(store: &Arc<S>, principal: &str, kind: CredentialKind) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    block_on(verifier(store).resume(&Returning::new(principal, kind, UnixTime::from_secs(1), &context)))
}

pub fn further<S: AccountStore>(
    store: &Arc<S>,
    grant: &Grant,
    kind: CredentialKind,
    step: usize,
) -> Result<Option<Prompt>, Reason> {
    block_on(verifier(store).further(&Further::new(grant, kind, step, &Context::uncounted())))
}

/// The answer for the factor after a password.
pub fn answer<S: AccountStore>(store: &Arc<S>, grant: &Grant, answer: &str) -> Result<(), Reason> {
    let context = Context::uncounted();
    let attempt = FactorAttempt::new(answer.as_bytes(), grant, CredentialKind::Password, 0, &context);
    block_on(verifier(store).check_factor(&attempt))
}
