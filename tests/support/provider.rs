//! The crypto provider under test. Include it with `#[path]` where the rest of `support` is not wanted.

#![allow(dead_code, unreachable_pub, unused_imports)]

#[cfg(feature = "rustcrypto")]
pub use countersign::crypto::rustcrypto::provider;
