//! RSA keys: from and to PEM and DER, and the rules of key hygiene (PROTOCOL.md, "Server key").

mod error;
mod file;
mod id;
mod pem;
mod private;
mod public;
mod rules;
mod server;
mod size;

pub use error::KeyError;
#[cfg(any(feature = "files", feature = "x509"))]
pub(crate) use file::MAX_KEY_FILE;
pub use file::{Cure, Encoded, KeyFile, KeyFileError, PublicSource};
#[cfg(feature = "key-formats")]
pub(super) use file::{is_openssh_certificate, of_ssh_rsa};
pub use id::{KeyId, ParseKeyIdError};
pub(crate) use pem::{PemBlocks, encode_pem};
pub use private::PrivateKey;
pub use public::PublicKey;
pub use server::ServerKey;
pub use size::KeySize;
