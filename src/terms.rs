//! What both ends agree on, and who decides: credentials, grants, trust, tickets, and the errors.

pub(crate) mod addresses;
pub(crate) mod authorized_key;
pub(crate) mod binding;
pub(crate) mod context;
pub(crate) mod credential;
pub(crate) mod error;
pub(crate) mod factor;
pub(crate) mod grant;
pub(crate) mod policy;
pub(crate) mod puzzle;
pub(crate) mod revocation;
#[cfg(feature = "serde")]
mod serde;
pub(crate) mod stretch;
pub(crate) mod ticket;
pub(crate) mod trust;
pub(crate) mod verifier;
