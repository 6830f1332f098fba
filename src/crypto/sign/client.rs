//! A client's key at work: the public half, and who signs with the private one.

use super::{RemoteSign, Sign, SignError, Signing, SigningKey, VerifyingKey};
use crate::crypto::holder::Holder;
use crate::crypto::{CryptoRng, KeyError, Provider};
use core::fmt;
use std::sync::Arc;

/// A client's key: the public half, and a way to the private one. Cheap to clone.
///
/// | the private half is | made by |
/// |---|---|
/// | in this process | [`ClientKey::load`] |
/// | behind a call that blocks, as of a smart card or an agent | [`ClientKey::with_sign`] |
/// | behind a call that answers later | [`ClientKey::with_remote_sign`] |
/// | at the client, which this server has seen sign | [`ClientKey::public_only`] |
#[derive(Clone)]
pub struct ClientKey {
    public: VerifyingKey,
    private: Private,
}

type Private = Holder<Arc<dyn Sign>, Arc<dyn RemoteSign>>;

impl ClientKey {
    /// Loads a private key with a provider.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] or [`KeyError::Provider`].
    pub fn load(key: &SigningKey, provider: Provider) -> Result<Self, KeyError> {
        let signatures = provider.signatures.ok_or(KeyError::Provider)?;
        Ok(Self::with_sign(key.public_key().clone(), signatures.load_signer(key)?))
    }

    /// A key whose private half is behind a call that blocks, as that of many smart cards.
    pub fn with_sign(public: VerifyingKey, private: Arc<dyn Sign>) -> Self {
        Self { public, private: Private::Local(private) }
    }

    /// A key whose private half answers later, such as one behind a key service.
    pub fn with_remote_sign(public: VerifyingKey, private: Arc<dyn RemoteSign>) -> Self {
        Self { public, private: Private::Remote(private) }
    }

    /// The public half alone, as a server knows it. It signs nothing: see [`ClientKey::can_sign`].
    pub fn public_only(public: VerifyingKey) -> Self {
        Self { public, private: Private::Elsewhere }
    }

    /// The public half.
    pub fn public_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Whether the key has a private half, local or remote.
    pub fn can_sign(&self) -> bool {
        self.private.is_known()
    }

    /// Whether the private half answers later, so that [`ClientKey::sign_remotely`] signs and [`ClientKey::sign`] does not.
    pub fn is_remote(&self) -> bool {
        self.private.is_remote()
    }

    /// Signs in this thread, which may block. Whoever uses the signature checks it first, with [`ClientKey::check`].
    ///
    /// # Errors
    /// [`SignError`]: [`SignError::NotHere`] where the private half is remote or nowhere, [`SignError::Panicked`] where the signer
    /// panicked, which must not take the thread with it.
    pub fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        let signed = self.private.here(|| Err(SignError::Panicked), |private| private.sign(message, rng));
        signed.unwrap_or(Err(SignError::NotHere))
    }

    /// Signs somewhere else; none where the private half is not remote. A panic is [`SignError::Panicked`] here, too. Whoever
    /// uses the signature checks it first, with [`ClientKey::check`].
    pub fn sign_remotely(&self, message: Vec<u8>) -> Option<Signing> {
        self.private.later(|| Err(SignError::Panicked), |private| private.sign(message))
    }

    /// That a signature is one of this key over this message, before it is used: a signer may be mistaken, or lie.
    ///
    /// # Errors
    /// [`SignError::Wrong`] where it is not, [`SignError::Crypto`] where the provider can't tell.
    pub fn check(&self, provider: Provider, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        provider.verify(&self.public, message, signature).map_err(|error| match error {
            crate::crypto::CryptoError::NotAuthentic => SignError::Wrong,
            other => SignError::Crypto(other),
        })
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey").field("public", &self.public).finish_non_exhaustive()
    }
}
