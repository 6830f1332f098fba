//! Why a login over a connection failed.

use crate::terms::error::{Error, Misuse, Reason, RecordError};
use crate::wire::frame::FrameType;
use std::io;

/// Why a login or a stream over a connection failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The transport failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The peer closed the connection in the middle of the handshake.
    #[error("the peer closed the connection before its {awaited}{}", hint(*awaited))]
    Disconnected {
        /// The frame that was awaited.
        awaited: FrameType,
    },
    /// Server side: the connection had to make way for others, as [`super::Bounds`] say. With
    /// [`BusyReason::Pressed`] it was told that the server is busy, otherwise nothing; close it.
    #[error("{0}")]
    Busy(BusyReason),
    /// The handshake or the session failed.
    #[error(transparent)]
    Protocol(#[from] Error),
    /// Server side: the login was refused here, and the refusal is sent when it is due. (A client whose login the server
    /// refused gets [`Error::Refused`].)
    #[error("login refused")]
    LoginRefused {
        /// The user the client named, where the login opened and named one, and the verifier knows them
        /// ([`Reason::knows_account`]): people type passwords where their name belongs. Others are named only by an acceptor that was made
        /// [`with_unknown_names`](crate::Acceptor::with_unknown_names).
        user: Option<String>,
        /// Why, for the audit log alone.
        #[source]
        reason: Reason,
    },
}

/// Which bound a connection met before it had logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusyReason {
    /// As many logins as may be, of this source or of all, are not decided, or refused and not told so yet.
    #[error("too many logins are undecided, or refused and not told so yet")]
    NoRoom,
    /// More is asked of the server than it can do; the client was told so.
    #[error("more logins come than can be computed")]
    Pressed,
    /// As many sessions as may be were there by the time a resumption was confirmed.
    #[error("too many sessions")]
    NoSession,
    /// A newer connection took the place of this one, which had not sent its login.
    #[error("made way for a newer connection")]
    MadeWay,
    /// It was asked to solve a puzzle, and left instead ([`crate::Puzzles`]).
    #[error("left without solving the puzzle that it was asked to solve")]
    Unsolved,
    /// The acceptor was told to stop.
    #[error("the server is stopping")]
    Stopping,
}

impl BusyReason {
    /// As [`LoginError::code`].
    pub fn code(self) -> &'static str {
        match self {
            Self::NoRoom => "no-room",
            Self::Pressed => "pressed",
            Self::NoSession => "no-session",
            Self::MadeWay => "made-way",
            Self::Unsolved => "unsolved",
            Self::Stopping => "stopping",
        }
    }
}

impl LoginError {
    /// A name for this kind of error that stays the same from release to release, for logs, metrics and tests: lower-case
    /// words joined by hyphens. That of the inner error, where it says no more than that.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::Disconnected { .. } => "disconnected",
            Self::Busy(reason) => reason.code(),
            Self::Protocol(error) => error.code(),
            Self::LoginRefused { reason, .. } => reason.code(),
        }
    }
}

fn hint(awaited: FrameType) -> &'static str {
    match awaited {
        FrameType::ServerHello => {
            ": it may not go by the name that was asked for, share no version or suite, be stopping, or speak another protocol"
        }
        FrameType::ServerVerdict => ": it may be too busy, or have been stopped, or the login took too long",
        _ => "",
    }
}

/// Inside an [`io::Error`] of the kind that generic code expects. A server that is busy, or can't check the login now, is
/// [`io::ErrorKind::ResourceBusy`]: never `WouldBlock`, by which an event loop would wait for the socket.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use io::ErrorKind;
        let kind = match &error {
            Error::Record(RecordError::Truncated) => ErrorKind::UnexpectedEof,
            Error::Misuse(Misuse::Closed) => ErrorKind::BrokenPipe,
            Error::Misuse(_) => ErrorKind::InvalidInput,
            Error::DeadlinePassed => ErrorKind::TimedOut,
            Error::Refused
            | Error::VerdictNotAuthentic
            | Error::ProofNotAuthentic
            | Error::NoProof(_)
            | Error::FactorWanted(_)
            | Error::Untrusted(_)
            | Error::TrustTooLow { .. }
            | Error::UnderFloor(_)
            | Error::Revoked(_) => ErrorKind::PermissionDenied,
            Error::Busy { .. } | Error::NotNow => ErrorKind::ResourceBusy,
            Error::Crypto(_) | Error::Sign(_) => ErrorKind::Other,
            _ => ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// What a write says of an error: a peer that has left without a close, which a reader calls an end too early, is a
/// [`io::ErrorKind::BrokenPipe`] here.
pub(super) fn of_write(error: Error) -> io::Error {
    match error {
        Error::Record(RecordError::Truncated) => io::Error::new(io::ErrorKind::BrokenPipe, error),
        error => error.into(),
    }
}

/// As the inner error; a refused login is [`io::ErrorKind::PermissionDenied`], a peer that left is
/// [`io::ErrorKind::UnexpectedEof`].
impl From<LoginError> for io::Error {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Io(error) => error,
            LoginError::Protocol(error) => error.into(),
            LoginError::Disconnected { .. } => Self::new(io::ErrorKind::UnexpectedEof, error),
            LoginError::Busy(_) => Self::new(io::ErrorKind::ConnectionAborted, error),
            LoginError::LoginRefused { .. } => Self::new(io::ErrorKind::PermissionDenied, error),
        }
    }
}
