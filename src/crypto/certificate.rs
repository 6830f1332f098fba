//! X.509 certificates of server keys (RFC 5280): read, put in a chain, and made.

mod chain;
#[cfg(feature = "x509")]
mod error;
#[cfg(feature = "x509")]
mod file;
#[cfg(feature = "x509")]
mod issue;
#[cfg(feature = "x509")]
mod read;

pub use chain::CertificateChain;
#[cfg(feature = "x509")]
pub use error::{CertificateFileError, NotTimely};
#[cfg(feature = "x509")]
pub use file::certificates_of;
#[cfg(feature = "x509")]
pub use issue::{CertificateDraft, DraftError};
#[cfg(feature = "x509")]
pub use read::Certificate;
#[cfg(feature = "x509")]
use read::{Date, printable};
