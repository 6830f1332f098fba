//! The crypto provider of this command: the fast one, unless it was built without.

#[cfg(feature = "aws-lc")]
pub(crate) use countersign::crypto::aws_lc::provider;
#[cfg(not(feature = "aws-lc"))]
pub(crate) use countersign::crypto::rustcrypto::provider;
