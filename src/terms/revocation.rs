//! Why a server ended a session that was under way.

use super::error::Reason;

/// Why a server ended a session that was under way. For the server alone: its peer reads an end, or a cut, and is told no reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Revocation {
    /// The application ended all sessions of the principal: [`crate::Acceptor::revoke`].
    #[error("the application ended all sessions of its principal")]
    Ended,
    /// Asked again, the verifier refused: the account is removed, locked, expired, or not welcome from there or now.
    #[error("its principal is not let in any more")]
    Refused(#[source] Box<Reason>),
    /// What the client logged in with may not be good any more ([`crate::Grant::with_credential_epoch`]).
    #[error("the account's credentials have changed")]
    CredentialChanged,
    /// The account's permissions changed, and that ends sessions here ([`crate::Recheck::closing_on_change`]).
    #[error("the account's permissions have changed")]
    PermissionsChanged,
    /// For longer than the grace ([`crate::Recheck::with_grace`]) nobody could tell whether the principal is still welcome.
    #[error("for too long nobody could tell whether its principal is still let in")]
    Unconfirmed,
}

impl Revocation {
    /// A name for this kind of end that stays the same from release to release, for logs, metrics and tests: lower-case words
    /// joined by hyphens. That of the reason, where the verifier gave one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ended => "revoked",
            Self::Refused(reason) => reason.code(),
            Self::CredentialChanged => "credential-changed",
            Self::PermissionsChanged => "permissions-changed",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}
