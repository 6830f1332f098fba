//! Policies: what decides beside the account, at each login and whenever a session is looked at again.

use super::context::Context;
use super::credential::CredentialKind;
use super::error::Reason;
use super::factor::Prompt;
use super::grant::Grant;
use super::verifier::{Asker, AsyncVerifier, Attempt, FactorAttempt, Further, Returning, Verifier};
use crate::time::UnixTime;
use core::fmt;
use core::future::Future;

/// A verifier, and a policy that is asked about whatever it grants: [`Verifier::with_policy`] makes one, and
/// [`AsyncVerifier::with_policy`].
pub struct WithPolicy<V, P> {
    verifier: V,
    policy: P,
}

/// What a policy is asked about: somebody whose credential is good, or who was let in before, and what the verifier grants them.
#[derive(Clone, Copy)]
pub struct PolicyRequest<'a> {
    grant: &'a Grant,
    kind: CredentialKind,
    authenticated: Option<UnixTime>,
    is_session: bool,
    asker: Asker<'a>,
}

impl<'a> PolicyRequest<'a> {
    /// What the verifier grants.
    pub fn grant(&self) -> &'a Grant {
        self.grant
    }

    /// Of what kind the credential is, or was that they last showed.
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// When they last showed a credential; none where they show it now.
    pub fn authenticated(&self) -> Option<UnixTime> {
        self.authenticated
    }

    /// Whether this is about a session that is open, and not about a login.
    pub fn is_session(&self) -> bool {
        self.is_session
    }

    /// The connection, as the application described it.
    pub fn context(&self) -> &'a Context {
        self.asker.context
    }

    /// The server name that the client asked for; empty if it named none.
    pub fn server_name(&self) -> &'a str {
        self.asker.server_name
    }
}

impl fmt::Debug for PolicyRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyRequest").field("grant", self.grant).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<V, P: Fn(&PolicyRequest<'_>) -> Result<Grant, Reason> + Send + Sync> WithPolicy<V, P> {
    pub(super) fn new(verifier: V, policy: P) -> Self {
        Self { verifier, policy }
    }

    /// The verifier.
    pub fn get_ref(&self) -> &V {
        &self.verifier
    }

    fn at_login(&self, grant: &Grant, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let kind = attempt.credential().kind();
        self.decide(PolicyRequest { grant, kind, authenticated: None, is_session: false, asker: attempt.asker })
    }

    fn again(&self, grant: &Grant, returning: &Returning<'_>) -> Result<Grant, Reason> {
        let Returning { kind, authenticated, is_session, asker, .. } = *returning;
        self.decide(PolicyRequest { grant, kind, authenticated: Some(authenticated), is_session, asker })
    }

    fn decide(&self, request: PolicyRequest<'_>) -> Result<Grant, Reason> {
        let decided = (self.policy)(&request)?;
        // Whoever is asked about next, by this name, must be the one who showed the credential.
        if decided.principal() != request.grant.principal() {
            return Err(Reason::Application("the policy gave the grant of another principal"));
        }
        // The account's epochs, however the policy made its grant.
        Ok(decided.with_epochs_of(request.grant))
    }
}

impl<V: Verifier, P: Fn(&PolicyRequest<'_>) -> Result<Grant, Reason> + Send + Sync> Verifier for WithPolicy<V, P> {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.at_login(&self.verifier.verify(attempt)?, attempt)
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.again(&self.verifier.resume(returning)?, returning)
    }

    fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        self.verifier.further(further)
    }

    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        self.verifier.check_factor(attempt)
    }
}

impl<V: AsyncVerifier, P: Fn(&PolicyRequest<'_>) -> Result<Grant, Reason> + Send + Sync> AsyncVerifier
    for WithPolicy<V, P>
{
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.at_login(&self.verifier.verify(attempt).await?, attempt)
    }

    async fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.again(&self.verifier.resume(returning).await?, returning)
    }

    fn further(&self, further: &Further<'_>) -> impl Future<Output = Result<Option<Prompt>, Reason>> + Send {
        self.verifier.further(further)
    }

    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> impl Future<Output = Result<(), Reason>> + Send {
        self.verifier.check_factor(attempt)
    }
}

impl<V: fmt::Debug, P> fmt::Debug for WithPolicy<V, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithPolicy").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}
