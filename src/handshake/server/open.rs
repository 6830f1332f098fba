//! The RSA operation.

use super::hello::Hello;
use super::login::{Claim, Pending};
use crate::crypto::{CryptoRng, Decrypted, Decrypting, ServerKey, TranscriptHash};
use crate::limits;
use crate::time::Moment;
use zeroize::Zeroizing;

/// The RSA operation, to be done here or anywhere: `Send + 'static`. Of a hello ([`SealedHello`]) or of a login ([`SealedLogin`]).
///
/// Either call [`Open::run`] on whatever thread suits, or await [`Open::remote`], or hand [`Open::ciphertext`] to a queue or
/// a hardware module; from the last two come back with [`Open::answer`].
#[must_use = "nothing is opened before it is run, or answered"]
pub struct Open<S>(S);

/// A ClientHello whose secret is to be opened; it goes on as a [`Hello`].
pub struct SealedHello {
    pub(super) hello: Hello,
    pub(super) bound_to: TranscriptHash,
    pub(super) fallback: Zeroizing<[u8; limits::SECRET]>,
}

/// A login whose secret is to be opened; it goes on as a [`Claim`].
pub struct SealedLogin(pub(super) Pending);

/// What has a ciphertext that is to be opened: one of the two above, and no other.
pub trait Sealed: OneOfTwo + Send + 'static {
    /// What comes after it.
    type Next: Send + 'static;

    #[doc(hidden)]
    fn key(&self) -> &ServerKey;
    #[doc(hidden)]
    fn ciphertext(&self) -> &[u8];
    #[doc(hidden)]
    fn deadline(&self) -> Moment;
    #[doc(hidden)]
    fn answer(self, decrypted: Decrypted) -> Self::Next;
}

/// Out of reach, so that nobody else implements [`Sealed`].
mod private {
    pub trait OneOfTwo {}

    impl OneOfTwo for super::SealedHello {}
    impl OneOfTwo for super::SealedLogin {}
}
use private::OneOfTwo;

impl Sealed for SealedHello {
    type Next = Hello;

    fn key(&self) -> &ServerKey {
        self.hello.key()
    }

    fn ciphertext(&self) -> &[u8] {
        self.hello.ciphertext()
    }

    fn deadline(&self) -> Moment {
        self.hello.deadline()
    }

    fn answer(self, decrypted: Decrypted) -> Hello {
        // Implicit rejection: whatever went wrong, there is a secret; if it is the fallback, the proof will be wrong.
        let secret = decrypted.secret_or(&self.bound_to, &self.fallback);
        self.hello.with_secret(secret)
    }
}

impl Sealed for SealedLogin {
    type Next = Claim;

    fn key(&self) -> &ServerKey {
        self.0.key()
    }

    fn ciphertext(&self) -> &[u8] {
        self.0.ciphertext()
    }

    fn deadline(&self) -> Moment {
        self.0.deadline()
    }

    fn answer(self, decrypted: Decrypted) -> Claim {
        self.0.opened(&decrypted)
    }
}

impl<S: Sealed> Open<S> {
    pub(super) fn new(sealed: S) -> Self {
        Self(sealed)
    }

    /// When it must have been done.
    pub fn deadline(&self) -> Moment {
        self.0.deadline()
    }

    /// The RSA-OAEP ciphertext: as long as the key's modulus, and below it.
    pub fn ciphertext(&self) -> &[u8] {
        self.0.ciphertext()
    }

    /// The key it was sealed to.
    pub fn key(&self) -> &ServerKey {
        self.0.key()
    }

    /// Does the RSA operation with the server key, in this thread. `rng` is for blinding.
    ///
    /// Where the key's private half is not here ([`ServerKey::with_remote_decrypt`], [`ServerKey::public_only`]), and where a
    /// decryptor panics, it goes on as [`Decrypted::failed`]: every login ends in the one refusal.
    pub fn run(self, rng: &mut dyn CryptoRng) -> S::Next {
        let decrypted = self.key().decrypt(self.ciphertext(), rng);
        self.answer(decrypted)
    }

    /// Starts the RSA operation where the key's private half answers later ([`ServerKey::with_remote_decrypt`]): a future that
    /// gives what [`Open::answer`] takes, for any executor. A panic in it is [`Decrypted::failed`]. None where the private half
    /// is not remote: then [`Open::run`].
    pub fn remote(&self) -> Option<Decrypting> {
        self.key().decrypt_remotely(self.ciphertext())
    }

    /// Goes on with what somebody else decrypted. A failure goes on just the same: it ends in a wrong proof, or the same refusal.
    pub fn answer(self, decrypted: Decrypted) -> S::Next {
        self.0.answer(decrypted)
    }

    pub(super) fn into_sealed(self) -> S {
        self.0
    }
}

impl<S> core::fmt::Debug for Open<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

crate::opaque_debug!(SealedHello, SealedLogin);
