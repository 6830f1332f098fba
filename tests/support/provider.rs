//! The crypto provider under test. The same tests pass with each: where both are built, `rustcrypto` is tested here, and
//! a build with `aws-lc` alone tests the other. Include it with `#[path]` where the rest of `support` is not wanted.

#![allow(dead_code, unreachable_pub, unused_imports)]

#[cfg(all(feature = "aws-lc", not(feature = "rustcrypto")))]
pub use countersign::crypto::aws_lc::provider;
#[cfg(feature = "rustcrypto")]
pub use countersign::crypto::rustcrypto::provider;
