//! A server key at work: the public half, and who does the private-key operation.

use super::{KeyError, PrivateKey, PublicKey};
#[cfg(feature = "x509")]
use crate::crypto::CertificateFileError;
use crate::crypto::holder::Holder;
use crate::crypto::{CertificateChain, CryptoRng, Decrypt, Decrypted, Decrypting, Provider, RemoteDecrypt};
use core::fmt;
use std::sync::Arc;

/// A server's key: the public half, and a way to the private one. Cheap to clone.
///
/// | the private half is | made by | logins are opened by |
/// |---|---|---|
/// | in this process | [`ServerKey::load`] | [`Open::run`] |
/// | behind a call that blocks | [`ServerKey::with_decrypt`] | [`Open::run`] |
/// | behind a call that answers later | [`ServerKey::with_remote_decrypt`] | [`Open::remote`] |
/// | nobody's business here | [`ServerKey::public_only`] | whoever then calls [`Open::answer`] |
///
/// [`Open::run`]: crate::server::Open::run
/// [`Open::remote`]: crate::server::Open::remote
/// [`Open::answer`]: crate::server::Open::answer
#[derive(Clone)]
pub struct ServerKey {
    public: PublicKey,
    /// One thin pointer: every half-open login holds its key.
    held: Arc<Held>,
}

/// What a server has besides the public half.
#[derive(Clone)]
struct Held {
    private: Private,
    /// A provider has loaded the private half.
    is_loaded: bool,
    certificates: CertificateChain,
}

type Private = Holder<Arc<dyn Decrypt>, Arc<dyn RemoteDecrypt>>;

impl ServerKey {
    /// Loads a private key with a provider. Do it once: it costs up to half of a login.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] or [`KeyError::Provider`].
    pub fn load(key: &PrivateKey, provider: Provider) -> Result<Self, KeyError> {
        Ok(Self::new(key.public_key().clone(), Private::Local(provider.rsa.load_key(key)?), true))
    }

    /// A key whose private half is behind a call that blocks, as that of many hardware modules.
    pub fn with_decrypt(public: PublicKey, private: Arc<dyn Decrypt>) -> Self {
        Self::new(public, Private::Local(private), false)
    }

    /// A key whose private half answers later, such as one behind a key service.
    pub fn with_remote_decrypt(public: PublicKey, private: Arc<dyn RemoteDecrypt>) -> Self {
        Self::new(public, Private::Remote(private), false)
    }

    /// The public half alone, where somebody else opens the logins and hands what they find to
    /// [`Open::answer`](crate::server::Open::answer). By itself it opens none: see [`ServerKey::can_open`].
    pub fn public_only(public: PublicKey) -> Self {
        Self::new(public, Private::Elsewhere, false)
    }

    /// The same key with its certificates, which clients that ask for them get.
    ///
    /// # Errors
    /// [`CertificateFileError::OtherKey`] where the first of them is another key's.
    #[cfg(feature = "x509")]
    pub fn with_certificates(mut self, chain: CertificateChain) -> Result<Self, CertificateFileError> {
        if let Some(key) = chain.key().filter(|key| **key != self.public) {
            let (certificate, key) = (key.id().to_string(), self.public.id().to_string());
            return Err(CertificateFileError::OtherKey { certificate, key });
        }
        Arc::make_mut(&mut self.held).certificates = chain;
        Ok(self)
    }

    /// Its certificates; none unless it was given some.
    pub fn certificates(&self) -> &CertificateChain {
        &self.held.certificates
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Whether the key has a private half, local or remote. Without one every login is refused, unless whoever drives the
    /// handshake opens it by other means.
    pub fn can_open(&self) -> bool {
        self.held.private.is_known()
    }

    /// Whether the private half answers later, so that [`Open::run`](crate::server::Open::run) does not open.
    pub fn is_remote(&self) -> bool {
        self.held.private.is_remote()
    }

    /// Whether a provider does the private-key operation: its time does not depend on what it finds.
    pub(crate) fn is_loaded(&self) -> bool {
        self.held.is_loaded
    }

    fn new(public: PublicKey, private: Private, is_loaded: bool) -> Self {
        Self { public, held: Arc::new(Held { private, is_loaded, certificates: CertificateChain::default() }) }
    }

    /// The private-key operation in this thread; a failure where no private half is here. A decryptor that panics must not
    /// take the server's thread with it: that, too, is a failure.
    pub(crate) fn decrypt(&self, ciphertext: &[u8], rng: &mut dyn CryptoRng) -> Decrypted {
        let decrypted = self.held.private.here(Decrypted::failed, |private| private.decrypt(ciphertext, rng));
        decrypted.unwrap_or_else(Decrypted::failed)
    }

    /// The private-key operation somewhere else; none where the private half is not remote. A panic is a failure here, too.
    pub(crate) fn decrypt_remotely(&self, ciphertext: &[u8]) -> Option<Decrypting> {
        self.held.private.later(Decrypted::failed, |private| private.decrypt(ciphertext.to_vec()))
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKey").field("public", &self.public).finish_non_exhaustive()
    }
}
