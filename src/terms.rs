//! What both ends agree on, and who decides: credentials, grants, trust, tickets, and the errors.

pub(crate) mod binding;
pub(crate) mod context;
pub(crate) mod credential;
pub(crate) mod error;
pub(crate) mod grant;
pub(crate) mod manifest;
#[cfg(feature = "serde")]
mod serde;
pub(crate) mod server;
pub(crate) mod ticket;
pub(crate) mod verifier;
