//! A server key at work.

use super::{KeyError, PrivateKey, PublicKey};
use crate::crypto::{Decrypt, Provider};
use core::fmt;
use std::sync::Arc;

/// A private key that a provider has loaded, ready to open logins. Cheap to clone.
#[derive(Clone)]
pub struct ServerKey {
    public: PublicKey,
    private: Arc<dyn Decrypt>,
}

impl ServerKey {
    /// Loads a private key with a provider. Do it once: it costs up to half of a login.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] or [`KeyError::Provider`].
    pub fn load(key: &PrivateKey, provider: Provider) -> Result<Self, KeyError> {
        Ok(Self { public: key.public_key().clone(), private: provider.rsa.load_key(key)? })
    }

    /// A key whose private half is elsewhere: in a hardware module, or behind a service.
    pub fn from_parts(public: PublicKey, private: Arc<dyn Decrypt>) -> Self {
        Self { public, private }
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn private(&self) -> &dyn Decrypt {
        &*self.private
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKey").field("public", &self.public).finish_non_exhaustive()
    }
}
