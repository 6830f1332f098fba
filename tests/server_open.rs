//! The RSA operation of a server, wherever it is done, and whoever fails at it.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use core::task::{Context, Poll, Waker};
use countersign::crypto::{CryptoRng, Decrypt, Decrypted, Decrypting, RemoteDecrypt};
use countersign::server::Claim;
use countersign::{Error, Reason, ServerKey};
use std::sync::Arc;
use support::{LOGIN_AT, Open, RSA2048, Scenario, Sent, TODAY, VERDICT_AT, at, grant, provider, sealed};

fn with_decrypt(private: impl Decrypt + 'static) -> ServerKey {
    ServerKey::with_decrypt(RSA2048.private.public_key().clone(), Arc::new(private))
}

fn with_remote(private: impl RemoteDecrypt + 'static) -> ServerKey {
    ServerKey::with_remote_decrypt(RSA2048.private.public_key().clone(), Arc::new(private))
}

fn public_only() -> ServerKey {
    ServerKey::public_only(RSA2048.private.public_key().clone())
}

fn run(open: Open) -> Claim {
    open.run(&mut Scenario::new().rng("blinding"))
}

fn remote(open: Open) -> Claim {
    let decrypting = open.remote().unwrap();
    open.answer(poll(decrypting))
}

fn poll(mut decrypting: Decrypting) -> Decrypted {
    loop {
        if let Poll::Ready(decrypted) = decrypting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return decrypted;
        }
    }
}

fn decrypt(ciphertext: &[u8]) -> Decrypted {
    let private = RSA2048.decryptor();
    private.decrypt(ciphertext, &mut Scenario::new().rng("blinding"))
}

/// Panics unless alice gets in.
fn accepts(key: ServerKey, open: fn(Open) -> Claim) {
    assert!(key.can_open() || !key.is_remote());
    let Sent { login, client, server, .. } = Scenario::new().server_key(key).await_verdict();
    let accepted = open(sealed(server.read(login, at(LOGIN_AT)).unwrap())).accept(grant()).unwrap();
    assert_eq!(client.read(&accepted.frame, at(VERDICT_AT), TODAY).unwrap().info.id(), accepted.session.info.id());
}

/// Panics unless alice is refused in just the way in which a login is that does not open.
fn refuses(key: ServerKey, open: fn(Open) -> Claim) {
    let scenario = Scenario::new().server_key(key);
    let Sent { login, client, server, .. } = scenario.await_verdict();
    // The same server once more: it repeats exactly, and what a provider seals need not.
    let again = scenario.await_login().server;
    let claim = open(sealed(server.read(login.clone(), at(LOGIN_AT)).unwrap()));
    assert_eq!(claim.credential().user(), Some(""), "a stand-in for the verifier's usual work");
    let refusal = claim.accept(grant()).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotOpened);
    assert_eq!(client.read(&refusal.frame, at(VERDICT_AT), TODAY).err(), Some(Error::VerdictNotAuthentic));
    let failed = sealed(again.read(login, at(LOGIN_AT)).unwrap()).answer(Decrypted::failed());
    let ordinary = failed.accept(grant()).unwrap_err();
    assert_eq!((refusal.frame, refusal.not_before), (ordinary.frame, ordinary.not_before));
}

struct Local;

impl Decrypt for Local {
    fn decrypt(&self, ciphertext: &[u8], _: &mut dyn CryptoRng) -> Decrypted {
        decrypt(ciphertext)
    }
}

/// Answers at the second time of asking.
struct Remote;

impl RemoteDecrypt for Remote {
    fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting {
        let mut asked = false;
        Box::pin(core::future::poll_fn(move |_| {
            if core::mem::replace(&mut asked, true) { Poll::Ready(decrypt(&ciphertext)) } else { Poll::Pending }
        }))
    }
}

#[test]
fn a_login_opens_wherever_the_private_half_is() {
    accepts(ServerKey::load(&RSA2048.private, provider()).unwrap(), run);
    accepts(with_decrypt(Local), run);
    accepts(with_remote(Remote), remote);
    let elsewhere: fn(Open) -> Claim = |open| {
        let decrypted = decrypt(open.ciphertext());
        open.answer(decrypted)
    };
    for key in [public_only(), with_remote(Remote), with_decrypt(Local)] {
        accepts(key, elsewhere);
    }
}

#[test]
fn a_key_says_what_it_can_do() {
    let all = [with_decrypt(Local), with_remote(Remote), public_only()];
    assert_eq!(all.each_ref().map(ServerKey::can_open), [true, true, false]);
    assert_eq!(all.each_ref().map(ServerKey::is_remote), [false, true, false]);
    for key in all {
        let is_remote = key.is_remote();
        let Sent { login, server, .. } = Scenario::new().server_key(key).await_verdict();
        assert_eq!(sealed(server.read(login, at(LOGIN_AT)).unwrap()).remote().is_some(), is_remote);
    }
}

#[test]
fn without_a_private_half_at_hand_every_login_is_refused() {
    refuses(public_only(), run);
    refuses(with_remote(Remote), run);
}

struct Panics;

impl Decrypt for Panics {
    fn decrypt(&self, _: &[u8], _: &mut dyn CryptoRng) -> Decrypted {
        panic!("as a test asks")
    }
}

impl RemoteDecrypt for Panics {
    fn decrypt(&self, _: Vec<u8>) -> Decrypting {
        panic!("as a test asks")
    }
}

struct PanicsLater;

impl RemoteDecrypt for PanicsLater {
    fn decrypt(&self, _: Vec<u8>) -> Decrypting {
        Box::pin(async { panic!("as a test asks") })
    }
}

#[test]
fn a_decryptor_that_panics_ends_in_the_ordinary_refusal() {
    refuses(with_decrypt(Panics), run);
    refuses(with_remote(Panics), remote);
    refuses(with_remote(PanicsLater), remote);
}

/// Whoever polls it again has a bug, and is told no secret.
#[test]
fn a_decryption_that_answered_is_over() {
    for key in [with_remote(Remote), with_remote(PanicsLater)] {
        let Sent { login, server, .. } = Scenario::new().server_key(key).await_verdict();
        let open = sealed(server.read(login, at(LOGIN_AT)).unwrap());
        let mut decrypting = open.remote().unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        while decrypting.as_mut().poll(cx).is_pending() {}
        let Poll::Ready(again) = decrypting.as_mut().poll(cx) else { panic!("it goes on") };
        let refusal = open.answer(again).accept(grant()).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotOpened);
    }
}
