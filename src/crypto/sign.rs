//! Signature keys: Ed25519, ECDSA on P-256, RSA-PSS (PROTOCOL.md, "Client keys").
//!
//! | to | see |
//! |---|---|
//! | check a signature | [`VerifyingKey`], [`Provider::verify`](super::Provider::verify) |
//! | keep a private half | [`SigningKey`] |
//! | sign | [`Sign`], [`RemoteSign`] |
//! | log a client in by its key | [`ClientKey`] |

mod client;
mod curve;
#[cfg(feature = "key-formats")]
mod encrypted;
mod error;
#[cfg(feature = "key-formats")]
mod openssh;
mod rules;
mod signer;
mod signing;
mod verifying;

pub use client::ClientKey;
pub use error::SignError;
#[cfg(feature = "key-formats")]
pub use openssh::OpenSshFingerprint;
#[cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
pub(super) use rules::check_form;
pub use signer::{RemoteSign, Sign, Signing};
pub use signing::{SigningKey, SigningParts};
pub use verifying::{SignatureAlgorithm, VerifyingKey, VerifyingParts};
