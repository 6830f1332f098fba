//! Signed manifests of server keys (PROTOCOL.md, "Manifest"): a client has the identity key, and follows the server's keys.
//!
//! | to | see |
//! |---|---|
//! | make one | [`ManifestBody::sign`] |
//! | keep, send and print one | [`SignedManifest`] |
//! | read one that can be relied on | [`Manifest`], by [`SignedManifest::verify`] |
//! | have a client decide by it | [`Identity`] |
//! | keep what a client has learnt | [`ManifestStore`] |

mod body;
mod error;
mod identity;
mod kept;
mod signed;

pub use body::{ManifestBody, ManifestFloor, ManifestKey};
pub use error::ManifestError;
pub use identity::Identity;
pub use kept::{ManifestStore, MemoryManifests};
pub use signed::{Manifest, SignedManifest};
