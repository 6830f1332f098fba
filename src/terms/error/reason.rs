//! Why a server refused a login.

use super::{Error, Misuse, codes};
use crate::crypto::CryptoError;
use crate::terms::credential::CredentialKind;

/// Why a server refused a login: the rich local reason, for the audit log.
///
/// It has no encoding, and the verdict that goes out is the same for all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The login frame was malformed; it was refused before the RSA operation.
    #[error("the login is malformed")]
    Malformed(#[source] Error),
    /// The admission check turned the login away before the RSA operation.
    #[error("not admitted: {0}")]
    NotAdmitted(&'static str),
    /// The login did not open: OAEP failed, it was made for another challenge, or it was altered.
    ///
    /// Which of these is deliberately not known.
    #[error("the login does not open under this key and challenge")]
    NotOpened,
    /// The credential is of a kind that this server does not take.
    #[error("a {0} credential, which this server does not take")]
    KindNotTaken(CredentialKind),
    /// There is no such user.
    #[error("unknown user")]
    UnknownUser,
    /// The user exists; the password is not theirs.
    #[error("wrong password")]
    WrongPassword,
    /// What is kept of the password is for another realm than the server announces, or at parameters that it does not announce: no client
    /// can log in with it. Announce those, or set the password anew.
    #[error("the stored password is stretched for another realm, or at parameters that are not announced")]
    OtherStretching,
    /// The signature is not that of the key that came with it, or the key is none that is taken.
    #[error("the signature is not that key's")]
    BadSignature,
    /// The user, if there is one, has not this key.
    #[error("unknown key")]
    UnknownKey,
    /// The key is the user's, and may not be used from there, or no longer.
    #[error("the key may not be used from this address, or no longer")]
    KeyNotAdmitted,
    /// No account has this token.
    #[error("unknown token")]
    UnknownToken,
    /// The account exists and may not log in.
    #[error("account disabled")]
    AccountDisabled,
    /// The credential is good, and the account is locked.
    #[error("account locked")]
    AccountLocked,
    /// The credential is good, and the account's time is over.
    #[error("account expired")]
    AccountExpired,
    /// The credential is good and not enough, and the client can't be asked for a further factor.
    #[error("a further factor is needed, and the client can't be asked for one")]
    FactorNotOffered,
    /// The verifier asks for more further factors than a handshake may have.
    #[error("more than {} further factors are needed", crate::limits::MAX_FACTORS)]
    TooManyFactors,
    /// The answer to the request for a further factor is wrong.
    #[error("wrong answer for the further factor")]
    WrongFactor,
    /// The code was good, and was used before.
    #[error("the code for the further factor was used before")]
    FactorUsed,
    /// Too many answers in a row were wrong: for a while none is looked at.
    #[error("too many wrong answers for the further factor in a row; none is looked at for a while")]
    FactorLocked,
    /// The credential is good, and the account may not be used from this address.
    #[error("the account may not be used from this address")]
    NetworkNotAdmitted,
    /// Nobody looked at the password: there were too many failed logins of late, and this is not the time for the next one.
    #[error("not looked at: {0}")]
    Penalty(Penalty),
    /// Whether the credential is good can't be told now, and nobody has looked at it: the store of accounts is away, or too slow.
    #[error("not now: {0}")]
    NotNow(&'static str),
    /// Whether the credential is good can't be told now: whoever decides that has it, and did not answer in time, or the connection to them broke.
    ///
    /// To the client it is a [`Reason::NotNow`]. But it counts as a failed login, as a *no* does: many who check passwords let those
    /// wait who show a wrong one, and guesses must not be free because their answers are not waited for.
    #[error("no answer: {0}")]
    NoAnswer(&'static str),
    /// The crypto provider, or the system's randomness, failed at something that does not depend on the peer.
    #[error("the server can't answer")]
    Failed(#[source] CryptoError),
    /// The verifier panicked.
    #[error("the verifier panicked")]
    VerifierFailed,
    /// The verifier does not know how to look a principal up again ([`crate::Verifier::resume`]).
    #[error("the verifier can't look a principal up again")]
    ResumeUnsupported,
    /// What the verifier would grant can't be a grant.
    #[error("the account's grant can't be given")]
    BadGrant(#[from] Misuse),
    /// The application's own reason.
    #[error("{0}")]
    Application(&'static str),
}

/// Whose failed logins are too many, so that whoever shares them has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Penalty {
    /// Those of this source.
    #[error("too many failed logins from this source")]
    Source,
    /// Those of the block of addresses around this source.
    #[error("too many failed logins from the addresses around this one")]
    Block,
    /// Those with this name, from sources that have not logged in to it.
    #[error("too many wrong passwords for this name")]
    Account,
    /// Those with this name, from this source, which has logged in to it before.
    #[error("too many wrong passwords for this name from this source")]
    KnownSource,
    /// Those of all sources that have not logged in to the names that they tried.
    #[error("too many wrong passwords in all, and nobody has logged in to this name from this source")]
    Total,
    /// The same, and nobody has logged in from this source at all, so that whoever is there is told that it is *not now*, whatever the name.
    #[error("too many wrong passwords in all, and nobody has logged in from this source")]
    Strangers,
}

codes!(Reason {
    Self::Malformed(_) => "malformed",
    Self::NotAdmitted(_) => "not-admitted",
    Self::NotOpened => "not-opened",
    Self::KindNotTaken(_) => "kind-not-taken",
    Self::UnknownUser => "unknown-user",
    Self::WrongPassword => "wrong-password",
    Self::OtherStretching => "other-stretching",
    Self::BadSignature => "bad-signature",
    Self::UnknownKey => "unknown-key",
    Self::KeyNotAdmitted => "key-not-admitted",
    Self::UnknownToken => "unknown-token",
    Self::AccountDisabled => "account-disabled",
    Self::AccountLocked => "account-locked",
    Self::AccountExpired => "account-expired",
    Self::FactorNotOffered => "factor-needed",
    Self::TooManyFactors => "too-many-factors",
    Self::WrongFactor => "wrong-factor",
    Self::FactorUsed => "factor-used",
    Self::FactorLocked => "factor-locked",
    Self::NetworkNotAdmitted => "network-not-admitted",
    Self::Penalty(penalty) => penalty.code(),
    Self::NotNow(_) => "not-now",
    Self::NoAnswer(_) => "no-answer",
    Self::Failed(_) => "failed",
    Self::VerifierFailed => "verifier-failed",
    Self::ResumeUnsupported => "resume-unsupported",
    Self::BadGrant(_) => "bad-grant",
    Self::Application(_) => "application",
});

codes!(Penalty {
    Self::Source => "penalty-source",
    Self::Block => "penalty-block",
    Self::Account => "penalty-account",
    Self::KnownSource => "penalty-known-source",
    Self::Total => "penalty-total",
    Self::Strangers => "penalty-strangers",
});
/// What a refusal says of what the client showed.
enum Says {
    /// Nothing: nobody looked at it. The server was busy, the client was to wait, the store was away, something broke.
    Nothing,
    /// No, or it may be, and nothing of an account.
    No,
    /// No, and that there is an account of the name that the client gave.
    NoToAnAccount,
}

impl Reason {
    const fn says(&self) -> Says {
        match self {
            Self::NotAdmitted(_)
            | Self::Penalty(_)
            | Self::NotNow(_)
            | Self::Failed(_)
            | Self::VerifierFailed
            | Self::ResumeUnsupported
            | Self::BadGrant(_) => Says::Nothing,
            Self::NoAnswer(_)
            | Self::Malformed(_)
            | Self::NotOpened
            | Self::KindNotTaken(_)
            | Self::UnknownUser
            | Self::UnknownToken
            | Self::OtherStretching
            | Self::BadSignature
            | Self::UnknownKey
            | Self::Application(_) => Says::No,
            Self::WrongPassword
            | Self::KeyNotAdmitted
            | Self::AccountDisabled
            | Self::AccountLocked
            | Self::AccountExpired
            | Self::NetworkNotAdmitted
            | Self::FactorNotOffered
            | Self::TooManyFactors
            | Self::WrongFactor
            | Self::FactorUsed
            | Self::FactorLocked => Says::NoToAnAccount,
        }
    }

    /// Whether it says that there is an account of the name that the client gave. Others leave that open, or say that there is none:
    /// what stands in the place of the name is a stranger's then, and may be a password that was typed in the wrong place.
    pub const fn knows_account(&self) -> bool {
        matches!(self.says(), Says::NoToAnAccount)
    }

    /// Whether a login that is refused for this counts as a failed one ([`crate::Penalties`]): it is a *no* to what the client showed, or it may be
    /// one ([`Reason::NoAnswer`]). Otherwise nobody looked at it (the server was busy, it was to wait, the store was away, something broke).
    pub const fn is_failure(&self) -> bool {
        !matches!(self.says(), Says::Nothing)
    }

    /// Whether the client is told that nobody can decide now, and not that it is refused: [`Reason::NotNow`], [`Reason::NoAnswer`] and
    /// [`Penalty::Strangers`].
    pub const fn is_not_now(&self) -> bool {
        matches!(self, Self::NotNow(_) | Self::NoAnswer(_) | Self::Penalty(Penalty::Strangers))
    }
}
