//! RSA keys: from and to PEM and DER, and the rules of key hygiene (PROTOCOL.md, "Server key").

mod error;
mod id;
mod pem;
mod private;
mod public;
mod rules;
mod server;
mod size;

pub use error::KeyError;
pub use id::{KeyId, ParseKeyIdError};
pub use private::PrivateKey;
pub use public::PublicKey;
pub use server::ServerKey;
pub use size::KeySize;
