//! What can go wrong, as types: what the peer did, what our caller did, and why a login was refused.

mod reason;

pub use reason::{Penalty, Reason};

use crate::crypto::{CryptoError, KeyError, KeyId, SignError, Suite};
use crate::terms::credential::CredentialKind;
use crate::terms::factor::Prompt;
use crate::terms::revocation::Revocation;
use crate::terms::stretch::StretchError;
use crate::terms::trust::{TrustLevel, UntrustedKey};
use crate::wire::codec::{DecodeError, EncodeError};
use crate::wire::frame::FrameError;

/// Why a handshake or a session ended.
///
/// An error is for the local side only: nothing in the library turns one into bytes. What the peer learns is at most
/// one refusal that looks the same whatever the reason (PROTOCOL.md, "Refusals").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's bytes are not the frame this state waits for.
    #[error("bad frame from the peer")]
    Frame(#[from] FrameError),
    /// The peer's frame has a body that is not a message of its type.
    #[error("malformed message from the peer")]
    Decode(#[from] DecodeError),
    /// The peer sent a well-formed message that breaks a rule of the protocol.
    #[error("the peer broke the protocol")]
    Violation(#[from] Violation),
    /// The server sent a public key that this library refuses to use.
    #[error("the server's key is unusable")]
    ServerKey(#[source] KeyError),
    /// The server's key is not one the client trusts; nothing secret was sent.
    #[error("{0}")]
    Untrusted(UntrustedKey),
    /// The server picked a suite under the floor kept with the pin; nothing secret was sent.
    #[error("the server picked {0}, which is under the floor kept with its pin; nothing secret was sent")]
    UnderFloor(Suite),
    /// The client has a key of this server whole, and the server has not proved that it holds the key that it answers under; nothing
    /// secret was sent.
    ///
    /// It changed its key, or does not want to do the RSA operation now, or somebody answers in its place. A new connection with
    /// that key named first makes it prove itself, if that key is trusted.
    #[error("the server did not prove that it holds the key {0}, as it could have; nothing secret was sent")]
    NoProof(KeyId),
    /// The server's proof is wrong; nothing secret was sent.
    ///
    /// Whoever answered does not hold the server's private key, or a frame was altered on the way.
    #[error("the server's proof is wrong: somebody else answered, or a frame was altered; nothing secret was sent")]
    ProofNotAuthentic,
    /// The two ends do not mean the same prologue or channel binding; nothing secret was sent.
    #[error(
        "{} differ at the two ends, or somebody changed them on the way; nothing secret was sent",
        .0.as_str()
    )]
    DifferentContext(Differs),
    /// The server has no room now; nothing secret was sent. Nothing authenticates that: anybody on the way could have said it.
    #[error("the server says that it is busy (or somebody on the way does): try again in {retry_after} s")]
    Busy {
        /// After how many seconds it is worth trying again.
        retry_after: u16,
    },
    /// The server's key is not known well enough for a credential of this kind; nothing secret was sent.
    #[error(
        "a {kind} is not sent to a key that is trusted on {level} alone; nothing secret was sent. Check the key's fingerprint with \
         the server's operator, and confirm it"
    )]
    TrustTooLow {
        /// The credential's kind.
        kind: CredentialKind,
        /// How well the key is known.
        level: TrustLevel,
    },
    /// The server takes no credential of the kind the client has; nothing secret was sent.
    #[error("the server takes no {0} credential; nothing secret was sent")]
    KindNotTaken(CredentialKind),
    /// There is no signature by the client's key; nothing secret was sent.
    #[error("{0}; nothing was sent that could log anybody in")]
    Sign(SignError),
    /// The password is not stretched as the server wants it; nothing secret was sent.
    #[error("{0}; nothing secret was sent")]
    Stretch(StretchError),
    /// The server opened the login and refused it. It never says why.
    #[error(
        "the server refused this login. It does not say why: check the user name and the secret, or ask its operator"
    )]
    Refused,
    /// The server asks for a further factor, and there is none to give: nobody was there to ask, or who was asked had no answer.
    #[error("the server asks for a further factor{}, and there was no answer; the login was given up", shown(.0))]
    FactorWanted(Prompt),
    /// The server opened the login and can't decide it now, whatever the account and the credential. Try again later.
    #[error("the server can't decide this login now: try again later")]
    NotNow,
    /// The verdict does not open under the keys of this handshake.
    ///
    /// Somebody interfered, or an end is faulty: a server that is busy says so otherwise. Where the server had not proved itself before,
    /// the credential may be in the hands of somebody who can read it should the server's private key leak later: do not
    /// try again and again by machine.
    #[error("the verdict is not authentic: somebody interfered with this login, or one of the ends is faulty")]
    VerdictNotAuthentic,
    /// The handshake took longer than its deadline.
    #[error("the handshake did not finish before its deadline")]
    DeadlinePassed,
    /// The server does not go by the name that the client wants; it closed the connection.
    #[error("this server does not go by the name that the client wants")]
    NoServerKey,
    /// Server side: what followed an answer to a ticket is not the client's confirmation; the ticket was shown by somebody
    /// else, such as whoever plays a recorded hello again.
    #[error("the resumption was not confirmed")]
    NotConfirmed,
    /// A record of the session broke a rule; the session is over.
    #[error("the session is broken")]
    Record(#[from] RecordError),
    /// Server side: the session was ended while it was under way, and the peer is not at fault. See [`crate::Recheck`].
    #[error("the session was ended")]
    Revoked(#[source] Revocation),
    /// Our caller handed in something that can't be used; the peer is not at fault.
    #[error("the call can't be carried out")]
    Misuse(#[from] Misuse),
    /// The crypto provider failed at something that does not depend on the peer.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl From<StretchError> for Error {
    fn from(error: StretchError) -> Self {
        Self::Stretch(error)
    }
}

fn shown(prompt: &Prompt) -> String {
    if prompt.text().is_empty() { String::new() } else { format!(" ({prompt})") }
}

/// What two ends mean differently that they must mean alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Differs {
    /// The prologue: they speak other applications' protocols, or other versions of one.
    Prologue,
    /// The channel binding: one of them has none, or TLS ends somewhere between them.
    Binding,
    /// Both.
    Both,
}

impl Differs {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Prologue => "the prologue (the application's protocol or its version)",
            Self::Binding => "the channel binding (does TLS end between them, or does one end have none?)",
            Self::Both => "prologue and channel binding",
        }
    }
}

/// A message of ours that does not encode: the caller's inputs were too long for it.
impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::StringTooLong(limit) | EncodeError::DoesNotFit(limit) => {
                Misuse::TooLong { what: "the message", len: limit.saturating_add(1), limit }.into()
            }
        }
    }
}

/// A rule of PROTOCOL.md that a well-formed message broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The client offers no version that this server speaks.
    #[error("no protocol version in common")]
    NoCommonVersion,
    /// The client offers no suite that this server takes.
    #[error("no suite in common")]
    NoCommonSuite,
    /// A list that must not be empty is.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A list names the same thing twice.
    #[error("{0} names an entry twice")]
    Duplicate(&'static str),
    /// A ClientHello must carry one key share for each key exchange of its suites and no others.
    #[error("the key shares do not match the suites offered")]
    KeyShares,
    /// The peer's key share has the wrong length or yields no shared secret.
    #[error("unusable key share")]
    BadKeyShare,
    /// The server picked a version that the client did not offer.
    #[error("the server picked version {0}, which was not offered")]
    VersionNotOffered(u16),
    /// The server picked a suite that the client did not offer.
    #[error("the server picked suite {0:#06x}, which was not offered")]
    SuiteNotOffered(u16),
    /// The key id is not the SHA-256 of the key that came with it.
    #[error("the key id does not match the key")]
    KeyIdMismatch,
    /// The server left out a key that the client did not list as known.
    #[error("the server left out a key that the client does not know")]
    KeyNotSent,
    /// The RSA ciphertext's length is not the modulus's, or it is not below the modulus.
    #[error("the RSA ciphertext is out of range for the key")]
    CiphertextRange,
    /// A secret comes without the key that it is sealed to.
    #[error("a sealed secret without a known key")]
    KeyNotNamed,
    /// The extensions have more bytes together than they may.
    #[error("the extensions have {0} bytes together, more than they may")]
    Extensions(usize),
    /// The sealed credential's length is not a multiple of the padding block plus a tag.
    #[error("the sealed credential has an impossible length")]
    SealedLength,
    /// A string has a length or a character that the message does not allow.
    #[error("{0} is not allowed here")]
    BadString(&'static str),
    /// A ticket comes without a binder or a binder without a ticket, or one of them has a wrong length or date.
    #[error("the ticket or its binder has a wrong length")]
    BadTicket,
    /// The server took a ticket that the client did not show, or under another suite than the ticket's.
    #[error("the server resumed what was not offered")]
    ResumedOther,
    /// A verdict asks for a further factor of a client that did not offer that, or once more than there may be.
    #[error("the server asks for a further factor, which it may not")]
    FactorNotOffered,
    /// A verdict asks for a further factor, and does not say which as it must.
    #[error("the server asks for a further factor in a way that is not allowed")]
    BadFactorRequest,
    /// The server takes stretched passwords, and does not say how they are stretched as it must.
    #[error("the server takes stretched passwords, and does not say how they are stretched")]
    BadStretching,
    /// The solution of a puzzle is wrong.
    #[error("the solution of the puzzle is wrong")]
    WrongSolution,
    /// The verdict has a decision that is not known, or that has no place here.
    #[error("unknown decision {0}")]
    UnknownDecision(u8),
}

/// Why a session ended other than by a close. Once it has, no more bytes come out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A record was altered, replayed, dropped or put out of order.
    #[error("a record is not authentic: it was altered, dropped, repeated or put out of order")]
    NotAuthentic,
    /// A record came after the peer's close, or after an earlier error.
    #[error("a record came after the end of the session")]
    AfterEnd,
    /// The stream ended without the peer's close: somebody may have cut it.
    #[error("the stream ended without the peer's close; its last bytes may be missing")]
    Truncated,
    /// The peer updated a key that it had not used.
    #[error("the peer updates keys that it does not use")]
    IdleUpdate,
    /// The peer sealed more records under one key than is safe.
    #[error("the peer did not update its key in time")]
    KeyOverused,
    /// The crypto provider failed at something that does not depend on the peer.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The bytes are no record.
    #[error("bad record frame")]
    Frame(#[source] FrameError),
}

/// Something our own caller did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// An input is longer than the protocol can carry.
    #[error("{what} is {len} bytes long, over the limit of {limit}")]
    TooLong {
        /// The input.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The largest length in bytes.
        limit: usize,
    },
    /// A list has more entries than the protocol can carry.
    #[error("{what} has more than {limit} entries")]
    TooMany {
        /// The list.
        what: &'static str,
        /// The largest number of entries.
        limit: usize,
    },
    /// An input that must not be empty is, or has a character it must not have.
    #[error("{0} is empty or has a character that is not allowed")]
    BadInput(&'static str),
    /// A list names the same thing twice.
    #[error("{0} names an entry twice")]
    Duplicate(&'static str),
    /// A suite that the chosen provider does not implement.
    #[error("the crypto provider does not implement the suite {0}")]
    UnsupportedSuite(Suite),
    /// A credential kind that the chosen provider can do nothing with.
    #[error("the crypto provider has no signatures, which a {0} credential needs")]
    UnsupportedKind(CredentialKind),
    /// The stream was already closed by our side.
    #[error("this side of the session is already closed")]
    Closed,
    /// As many records as one key may seal were sealed in place: send a key update first.
    #[error("the sending key has to be updated before the next record")]
    KeyUpdateDue,
    /// The two halves belong to different sessions, or a step got a value of another connection.
    #[error("this value belongs to another key or connection")]
    Mismatch,
}

/// `code()`: names that stay the same from release to release, for logs, metrics and tests. Lower-case words joined by hyphens.
macro_rules! codes {
    ($type:ident { $($(#[$attribute:meta])* $variant:pat => $code:expr),* $(,)? }) => {
        impl $type {
            /// A name for this kind of error that stays the same from release to release, for logs, metrics and tests:
            /// lower-case words joined by hyphens. That of the inner error, where it says no more than that.
            pub fn code(&self) -> &'static str {
                match self { $($(#[$attribute])* $variant => $code),* }
            }
        }
    };
}

pub(crate) use codes;

codes!(Error {
    Self::Frame(error) => error.code(),
    Self::Decode(error) => error.code(),
    Self::Violation(violation) => violation.code(),
    Self::ServerKey(_) => "server-key-unusable",
    Self::Untrusted(key) => key.code(),
    Self::TrustTooLow { .. } => "trust-too-low",
    Self::UnderFloor(_) => "under-floor",
    Self::NoProof(_) => "no-proof",
    Self::ProofNotAuthentic => "proof-not-authentic",
    Self::DifferentContext(_) => "different-context",
    Self::Busy { .. } => "busy",
    Self::KindNotTaken(_) => "kind-not-taken",
    Self::Sign(error) => error.code(),
    Self::Stretch(error) => error.code(),
    Self::FactorWanted(_) => "factor-wanted",
    Self::NotNow => "not-now",
    Self::Refused => "refused",
    Self::VerdictNotAuthentic => "verdict-not-authentic",
    Self::DeadlinePassed => "deadline-passed",
    Self::NoServerKey => "no-server-key",
    Self::NotConfirmed => "not-confirmed",
    Self::Record(error) => error.code(),
    Self::Revoked(revocation) => revocation.code(),
    Self::Misuse(misuse) => misuse.code(),
    Self::Crypto(error) => error.code(),
});

codes!(Violation {
    Self::NoCommonVersion => "no-common-version",
    Self::NoCommonSuite => "no-common-suite",
    Self::Empty(_) => "empty-list",
    Self::Duplicate(_) => "duplicate-entry",
    Self::KeyShares => "key-shares",
    Self::BadKeyShare => "bad-key-share",
    Self::VersionNotOffered(_) => "version-not-offered",
    Self::SuiteNotOffered(_) => "suite-not-offered",
    Self::KeyIdMismatch => "key-id-mismatch",
    Self::KeyNotSent => "key-not-sent",
    Self::CiphertextRange => "ciphertext-range",
    Self::KeyNotNamed => "key-not-named",
    Self::Extensions(_) => "extensions-too-long",
    Self::SealedLength => "sealed-length",
    Self::BadString(_) => "bad-string",
    Self::BadTicket => "bad-ticket",
    Self::ResumedOther => "resumed-other",
    Self::FactorNotOffered => "factor-not-offered",
    Self::BadFactorRequest => "bad-factor-request",
    Self::BadStretching => "bad-stretching",
    Self::WrongSolution => "wrong-solution",
    Self::UnknownDecision(_) => "unknown-decision",
});

codes!(RecordError {
    Self::NotAuthentic => "record-not-authentic",
    Self::AfterEnd => "record-after-end",
    Self::Truncated => "truncated",
    Self::IdleUpdate => "idle-key-update",
    Self::KeyOverused => "key-overused",
    Self::Crypto(error) => error.code(),
    Self::Frame(error) => error.code(),
});

codes!(Misuse {
    Self::TooLong { .. } => "too-long",
    Self::TooMany { .. } => "too-many",
    Self::BadInput(_) => "bad-input",
    Self::Duplicate(_) => "duplicate-input",
    Self::UnsupportedSuite(_) => "unsupported-suite",
    Self::UnsupportedKind(_) => "unsupported-kind",
    Self::Closed => "closed",
    Self::KeyUpdateDue => "key-update-due",
    Self::Mismatch => "mismatch",
});
