//! Why a password is not stretched.

use super::StretchParameters;
use crate::limits;
use crate::terms::error::codes;

/// Why a client does not stretch a password. Nothing secret was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StretchError {
    /// Whoever gets the result could guess the password too cheaply.
    #[error(
        "{0} is too weak to stretch a password: at least {least} MiB of memory, and {work} MiB times passes, are needed",
        least = limits::MIN_STRETCH_MEMORY,
        work = limits::MIN_STRETCH_WORK
    )]
    TooWeak(StretchParameters),
    /// It takes more memory, time or lanes than a server may ask for, alone or with the other set of parameters.
    #[error(
        "{0} is too much to ask of a client: at most {most} MiB of memory, {work} MiB times passes together, and {lanes} lanes",
        most = limits::MAX_STRETCH_MEMORY,
        work = limits::MAX_STRETCH_WORK,
        lanes = limits::MAX_STRETCH_LANES
    )]
    TooCostly(StretchParameters),
    /// The server announces another realm than the one that was named for it ([`crate::Server::with_realm`]).
    #[error("the server stretches passwords for the realm {0:?}, which is not the one that was named for it")]
    OtherRealm(String),
    /// The server takes no stretched password, and is to get no other ([`crate::Server::with_stretched_only`]).
    #[error("the server takes no stretched password, and is not to get the password itself")]
    NotTaken,
    /// The password is empty, or longer than 4096 bytes.
    #[error("a password has 1 to {} bytes", limits::MAX_SECRET)]
    BadPassword,
    /// The system has no memory for it, or no thread.
    #[error("the password can't be stretched here: there is no memory or no thread for it")]
    NoMemory,
    /// This build can't compute it.
    #[error("the server takes stretched passwords alone, and this client was built without the feature `stretch`")]
    NotBuilt,
}

codes!(StretchError {
    Self::TooWeak(_) => "stretch-too-weak",
    Self::TooCostly(_) => "stretch-too-costly",
    Self::OtherRealm(_) => "stretch-other-realm",
    Self::NotTaken => "stretch-not-taken",
    Self::BadPassword => "stretch-bad-password",
    Self::NoMemory => "stretch-no-memory",
    Self::NotBuilt => "stretch-not-built",
});
