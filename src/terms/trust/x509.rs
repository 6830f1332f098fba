//! Servers known by X.509 certificates (RFC 5280): to roots that the client has, or by one certificate that it was given.
//!
//! A chain is verified by webpki, as those of TLS servers are, up to a root: signatures, dates, authorities, path lengths, name
//! constraints, and extended key usages. Besides, PROTOCOL.md, "Certificates", has rules of its own (X1 to X3), as these keys decrypt.
//! Roots are what the client was told to believe: their own dates are not looked at, as RFC 5280, section 6.1.1, has it. Nobody
//! is asked whether a certificate was revoked; let them live for a short time.
//!
//! ```no_run
//! use countersign::x509::{Roots, X509};
//! use countersign::Server;
//!
//! let roots = Roots::parse(&std::fs::read("ca.crt")?)?;
//! let server = Server::trusting(X509::new(roots)).with_name("db.example")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod pinned;
mod roots;
mod verify;

pub use error::CertificateError;
pub use pinned::PinnedCertificate;
pub use roots::Roots;

use super::{Answer, Question, Trust, TrustLevel, Untrusted, Wants};
use crate::crypto::{KeyId, PublicKey, Suite};
use crate::terms::error::Misuse;
use crate::time::UnixTime;
use core::fmt;
use rustls_pki_types::ServerName;
use std::sync::{Mutex, PoisonError};

/// The most keys that are remembered for the tickets of their servers.
const MAX_REMEMBERED: usize = 16;

/// Trusts a key if the server's certificates lead from it to one of these roots and are for the server's name: it is then
/// [`TrustLevel::Certified`].
pub struct X509 {
    roots: Roots,
    name: Option<String>,
    accepted: Mutex<Vec<Accepted>>,
}

/// A key that was accepted, for the server of this name, and until when its certificates are valid.
struct Accepted {
    key: KeyId,
    server_name: String,
    until: UnixTime,
}

impl Accepted {
    fn is_of(&self, key: KeyId, server_name: &str) -> bool {
        self.key == key && self.server_name == server_name
    }
}

impl X509 {
    /// Certificates that lead to these roots. They are to be for the name of the [`Server`](crate::Server) (`with_name`).
    pub fn new(roots: Roots) -> Self {
        Self { roots, name: None, accepted: Mutex::default() }
    }

    /// They are to be for this name instead: a DNS name or an IP address. It does not cross the wire.
    ///
    /// # Errors
    /// [`Misuse::BadInput`] for what is neither.
    pub fn for_name(mut self, name: &str) -> Result<Self, Misuse> {
        ServerName::try_from(name).map_err(|_| Misuse::BadInput("the name for certificates"))?;
        self.name = Some(name.to_owned());
        Ok(self)
    }

    /// Verifies certificates in DER, the key's own first, for this key and name at this time. Gives the last second at which they
    /// are all valid. The name counts where none was given by [`X509::for_name`].
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(
        &self,
        certificates: &[&[u8]],
        key: &PublicKey,
        name: &str,
        now: UnixTime,
    ) -> Result<UnixTime, CertificateError> {
        let name = server_name(self.name.as_deref().unwrap_or(name))?;
        verify::chain(&self.roots, certificates, key, &name, now)
    }

    /// The memory's keys; those who panicked while they held it did not leave it half-written.
    fn accepted(&self) -> std::sync::MutexGuard<'_, Vec<Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, key: KeyId, server_name: &str, until: UnixTime) {
        let mut accepted = self.accepted();
        accepted.retain(|known| !known.is_of(key, server_name));
        if accepted.len() >= MAX_REMEMBERED {
            accepted.remove(0);
        }
        accepted.push(Accepted { key, server_name: server_name.to_owned(), until });
    }
}

impl Trust for X509 {
    fn decide(&self, question: &Question<'_>) -> Answer {
        let certificates: Vec<&[u8]> = question.certificates().collect();
        let key = question.key();
        match self.verify(&certificates, key, question.server_name(), question.now()) {
            Ok(until) => {
                self.remember(key.id(), question.server_name(), until);
                Answer::Trusted(TrustLevel::Certified)
            }
            Err(error) => Answer::Unknown(Untrusted::new(error.code(), error)),
        }
    }

    fn wants(&self) -> Wants {
        Wants::CERTIFICATES
    }

    /// A key that was accepted for a server is trusted until one of its certificates expires; not by another process, which has not seen them.
    fn recall(&self, key: KeyId, _: Suite, server_name: &str, now: UnixTime) -> Answer {
        let until = self.accepted().iter().find(|known| known.is_of(key, server_name)).map(|known| known.until);
        match until {
            Some(until) if now <= until => Answer::Trusted(TrustLevel::Certified),
            _ => Answer::Unknown(Untrusted::new("certificate-not-seen", NotSeen)),
        }
    }

    fn scope(&self) -> String {
        format!("x509 {} {}", self.name.as_deref().unwrap_or_default(), self.roots.id())
    }
}

impl fmt::Debug for X509 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509").field("roots", &self.roots).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The name that certificates are to be for.
fn server_name(name: &str) -> Result<ServerName<'_>, CertificateError> {
    if name.is_empty() {
        return Err(CertificateError::NoNameWanted);
    }
    ServerName::try_from(name).map_err(|_| CertificateError::BadNameWanted(name.to_owned()))
}

#[derive(Debug, thiserror::Error)]
#[error("no certificate of this key has been seen that is still valid")]
struct NotSeen;
