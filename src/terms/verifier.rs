//! Verifiers: where the application says whether a credential is good.

use crate::terms::credential::Credential;
use crate::terms::error::Reason;
use crate::terms::grant::Grant;

/// Says whether a credential is good, and for what.
///
/// Any `Fn(Credential<'_>) -> Result<Grant, Reason>` is one. What each kind of mistake costs:
///
/// - returning a grant without checking: anyone logs in;
/// - skipping the password hash for an unknown user: names can be enumerated, up to the refusal floor's hiding it;
/// - giving out grants with an epoch that stays the same when an account changes: tickets outlive the change;
/// - treating an empty password as "anonymous" in a directory behind it: nothing, since a login with an empty secret
///   never opens and is refused whatever the verifier says.
pub trait Verifier {
    /// Checks a credential. An unknown user must cost what a wrong password costs.
    ///
    /// # Errors
    /// The local reason for the refusal; it goes to the audit log and never onto the wire.
    fn verify(&self, credential: Credential<'_>) -> Result<Grant, Reason>;

    /// The account of `principal` as it is now, with its epoch: asked when a client shows a ticket. `None` if the account
    /// is gone or may not log in; the client must then show a credential.
    ///
    /// The default is `None`: a verifier that does not know of tickets never lets one in.
    fn current(&self, principal: &str) -> Option<Grant> {
        let _ = principal;
        None
    }
}

impl<V: Verifier + ?Sized> Verifier for std::sync::Arc<V> {
    fn verify(&self, credential: Credential<'_>) -> Result<Grant, Reason> {
        (**self).verify(credential)
    }

    fn current(&self, principal: &str) -> Option<Grant> {
        (**self).current(principal)
    }
}

impl<F: Fn(Credential<'_>) -> Result<Grant, Reason>> Verifier for F {
    fn verify(&self, credential: Credential<'_>) -> Result<Grant, Reason> {
        self(credential)
    }
}
