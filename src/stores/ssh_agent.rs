//! Keys that an `ssh-agent` holds: it signs, and never gives a key away (draft-miller-ssh-agent).
//!
//! ```no_run
//! # #[cfg(feature = "rustcrypto")] {
//! use countersign::crypto::rustcrypto;
//! use countersign::ssh_agent::Agent;
//!
//! let agent = Agent::from_env()?;
//! for held in agent.keys()? {
//!     println!("{} {}", held.key, held.comment);
//! }
//! # let wanted: countersign::VerifyingKey = todo!();
//! let key = agent.client_key(&wanted, rustcrypto::provider())?;
//! # }
//! # Ok::<(), countersign::crypto::SignError>(())
//! ```

mod message;
mod socket;

use crate::crypto::{
    ClientKey, CryptoRng, Provider, Sign, SignError, SignatureAlgorithm, VerifyingKey, VerifyingParts,
};
use message::Answer;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long an agent may take for one answer, where nothing else is said: 10 seconds. One that asks somebody first takes longer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// An agent at a Unix socket. Each question is a connection of its own: nothing is kept open, and one that was started anew is
/// found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    socket: PathBuf,
    timeout: Duration,
}

/// A key that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentKey {
    /// Its public half.
    pub key: VerifyingKey,
    /// What it is called there, without control characters.
    pub comment: String,
}

impl Agent {
    /// The agent that the environment names, in `SSH_AUTH_SOCK`.
    ///
    /// # Errors
    /// [`SignError::NoAgent`] where it names none.
    pub fn from_env() -> Result<Self, SignError> {
        let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
        Ok(Self::at(socket.ok_or(SignError::NoAgent)?))
    }

    /// The agent at this socket.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), timeout: TIMEOUT }
    }

    /// Another time for one answer than [`TIMEOUT`].
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Where it is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its keys, in its order; without those of algorithms that are not taken, and of certificates. Blocks, up to the timeout.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn keys(&self) -> Result<Vec<AgentKey>, SignError> {
        let held = message::identities(&self.ask(&message::REQUEST_IDENTITIES)?)?;
        let known = |(blob, comment): (Vec<u8>, String)| {
            let key = VerifyingKey::from_openssh_blob(&blob).ok()?;
            Some(AgentKey { key, comment })
        };
        Ok(held.into_iter().filter_map(known).collect())
    }

    /// Signs with a key that the agent holds. It is asked whether it does; that blocks, as each signature does, up to the timeout.
    ///
    /// What it signs is checked with this provider before anybody gets it.
    ///
    /// # Errors
    /// [`SignError::NotHere`] where the agent does not hold the key; [`SignError::Unsupported`] for a key of RSA, which agents can
    /// use for the older signatures of PKCS #1 v1.5 alone; and what else may be the matter with an agent.
    pub fn signer(&self, key: &VerifyingKey, provider: Provider) -> Result<Arc<dyn Sign>, SignError> {
        if key.algorithm() == SignatureAlgorithm::RsaPss {
            return Err(SignError::Unsupported(SignatureAlgorithm::RsaPss));
        }
        if !self.keys()?.iter().any(|held| held.key == *key) {
            return Err(SignError::NotHere);
        }
        Ok(Arc::new(Signer { agent: self.clone(), key: key.clone(), provider }))
    }

    /// As [`Agent::signer`], as a client's key.
    ///
    /// # Errors
    /// As [`Agent::signer`].
    pub fn client_key(&self, key: &VerifyingKey, provider: Provider) -> Result<ClientKey, SignError> {
        Ok(ClientKey::with_sign(key.clone(), self.signer(key, provider)?))
    }

    fn ask(&self, request: &[u8]) -> Result<Vec<u8>, SignError> {
        socket::ask(&self.socket, request, self.timeout)
    }
}

/// A key at an agent.
struct Signer {
    agent: Agent,
    key: VerifyingKey,
    provider: Provider,
}

impl Sign for Signer {
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        let request = message::sign_request(&self.key.openssh_blob(), message)?;
        let signature = match (message::signature(&self.agent.ask(&request)?)?, self.key.parts()) {
            (Answer::Ed25519(signature), VerifyingParts::Ed25519(_))
            | (Answer::EcdsaP256(signature), VerifyingParts::EcdsaP256(_)) => signature,
            _ => return Err(SignError::Wrong),
        };
        ClientKey::public_only(self.key.clone()).check(self.provider, message, &signature)?;
        Ok(signature.to_vec())
    }
}
