//! One question about a session, on a thread that may wait for its answer.

use super::super::acceptor::AnyVerifier;
use super::super::drive::block_on_for;
use super::Shown;
use crate::crypto::Caught;
use crate::terms::error::Reason;
use crate::terms::grant::Grant;
use crate::terms::verifier::{Asker, Returning};
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Asks whether a principal is still welcome. A panic is no answer, nor is one that comes too late.
pub(super) fn ask(
    verifier: &AnyVerifier,
    late: Duration,
    held: &Grant,
    shown: &Shown,
) -> Option<Result<Grant, Reason>> {
    let Shown { kind, authenticated, server_name, context, .. } = shown;
    let asker = Asker { server_name, context, pool: None };
    let (principal, epochs) = (held.principal(), held.epochs());
    let returning =
        Returning { principal, kind: *kind, authenticated: *authenticated, is_session: true, epochs, asker };
    match verifier {
        AnyVerifier::Blocking(verifier) => catch_unwind(AssertUnwindSafe(|| verifier.resume(&returning))).ok(),
        AnyVerifier::Async(verifier) => {
            let asking =
                catch_unwind(AssertUnwindSafe(|| block_on_for(late, Caught::new(verifier.resume(&returning)))));
            asking.ok().flatten().flatten()
        }
    }
}
