//! A provider and randomness whose secrets memcheck is told of, and what an opened message shows to whoever sent it.

use crate::memcheck::{hide, show};
use core::cell::Cell;
use core::convert::Infallible;
use countersign::crypto::{AeadKey, Cipher, CryptoError, Decrypt, Decrypted, Provider, Rsa};
use countersign::{CryptoRng, KeyError, PrivateKey, PublicKey, limits};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_core::{Rng, TryCryptoRng, TryRng};
use std::sync::Arc;

/// The provider, but what the RSA operation gives is secret, and whether it gave anything; and of what an AEAD opens, nothing is public but what
/// [`showing`] says.
pub(crate) fn hidden(provider: Provider) -> Provider {
    let cipher = |inner: &'static dyn Cipher| -> &'static dyn Cipher { Box::leak(Box::new(Shown(inner))) };
    Provider {
        rsa: Box::leak(Box::new(HiddenRsa(provider.rsa))),
        aes_256_gcm: provider.aes_256_gcm.map(cipher),
        chacha20_poly1305: provider.chacha20_poly1305.map(cipher),
        ..provider
    }
}

struct HiddenRsa(&'static dyn Rsa);

impl Rsa for HiddenRsa {
    fn encrypt(
        &self,
        key: &PublicKey,
        message: &[u8; limits::SEALED_SECRET],
        rng: &mut dyn CryptoRng,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.0.encrypt(key, message, rng, out)
    }

    fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError> {
        Ok(Arc::new(HiddenKey(self.0.load_key(key)?)))
    }
}

struct HiddenKey(Arc<dyn Decrypt>);

impl Decrypt for HiddenKey {
    fn decrypt(&self, ciphertext: &[u8], _: &mut dyn CryptoRng) -> Decrypted {
        // With randomness of its own, which is not hidden: this operation is the library's.
        failed_or_not(self.0.decrypt(ciphertext, &mut StdRng::seed_from_u64(2)))
    }
}

/// What RSA gave, of which nothing is known from here on: not even whether it failed.
pub(crate) fn failed_or_not(mut decrypted: Decrypted) -> Decrypted {
    hide(&mut decrypted);
    decrypted
}

struct Shown(&'static dyn Cipher);

impl Cipher for Shown {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(ShownKey(self.0.key(key)?)))
    }
}

struct ShownKey(Box<dyn AeadKey>);

impl AeadKey for ShownKey {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; limits::TAG], CryptoError> {
        self.0.seal(nonce, aad, data)
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; limits::TAG]) -> Result<(), CryptoError> {
        let mut opened = self.0.open(nonce, aad, data, tag);
        // Whether it opens, its sender is told.
        show(&mut opened);
        opened?;
        LOOK.get()(data);
        Ok(())
    }
}

thread_local! {
    static LOOK: Cell<fn(&mut [u8])> = const { Cell::new(nothing) };
}

/// What is opened meanwhile shows this.
pub(crate) fn showing<R>(look: fn(&mut [u8]), work: impl FnOnce() -> R) -> R {
    LOOK.set(look);
    let done = work();
    LOOK.set(nothing);
    done
}

pub(crate) fn nothing(_: &mut [u8]) {}

pub(crate) fn everything(opened: &mut [u8]) {
    show(opened);
}

/// Of a credential all but the secret: its kind, the name, how long the secret is, and that zeros follow.
pub(crate) fn all_but_the_secret(opened: &mut [u8]) {
    show(&mut opened[..3]);
    let secret = 3 + length(&opened[1..]) + 2;
    show(&mut opened[3..secret]);
    let end = secret + length(&opened[secret - 2..]);
    show(&mut opened[end..]);
}

/// Of a stretched password, the same: how many values there are, and that the password itself is not there.
pub(crate) fn all_but_the_values(opened: &mut [u8]) {
    all_but_the_secret(opened);
    let values = 3 + length(&opened[1..]) + 2;
    show(&mut opened[values..=values]);
    let password = values + 1 + usize::from(opened[values]) * limits::STRETCHED;
    show(&mut opened[password..]);
}

/// Of an answer to a request for a further factor the same: its length, and the zeros.
pub(crate) fn all_but_the_answer(opened: &mut [u8]) {
    show(&mut opened[..2]);
    let end = 2 + length(opened);
    show(&mut opened[end..]);
}

/// Of a ticket, at the server that made it: all but its secret, which stands before the zeros at the end. Whose ticket it is, its owner knows.
pub(crate) fn all_but_the_ticket_secret(opened: &mut [u8]) {
    show(opened);
    let end = opened.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    hide(&mut opened[end - 32..end]);
}

fn length(bytes: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Randomness whose long draws are secret: keys, secrets, seeds. Short ones are names.
pub(crate) struct HiddenRng {
    from: StdRng,
    /// Of a hello that is being made: what it draws first, once that is drawn.
    nonce: Option<Option<Vec<u8>>>,
}

impl HiddenRng {
    pub(crate) fn new() -> Self {
        Self { from: StdRng::seed_from_u64(1), nonce: None }
    }

    /// Makes a hello. What is drawn first is its nonce, which stands in it for everybody to see.
    pub(crate) fn hello<S>(&mut self, make: impl FnOnce(&mut Self) -> (Vec<u8>, S)) -> (Vec<u8>, S) {
        self.nonce = Some(None);
        let (mut frame, state) = make(self);
        show(frame.as_mut_slice());
        let nonce = self.nonce.take().flatten().expect("it drew a nonce");
        assert!(frame.windows(nonce.len()).any(|part| part == nonce), "what is drawn first is something else");
        (frame, state)
    }
}

impl TryRng for HiddenRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.from.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.from.next_u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.from.fill_bytes(out);
        match &mut self.nonce {
            Some(nonce @ None) => *nonce = Some(out.to_vec()),
            _ if out.len() >= 32 => hide(out),
            _ => {}
        }
        Ok(())
    }
}

impl TryCryptoRng for HiddenRng {}
