//! What an attacker who counts the server's work would see: every refusal does the password hash.
//!
//! Argon2id takes its memory cost from the allocator, so the bytes that a login allocates show, without a clock, whether
//! a hash was done and at which parameters.
#![allow(unsafe_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, missing_docs)]

use argon2::{Algorithm, Argon2, Params, Version};
use countersign::crypto::rustcrypto;
use countersign::{
    Accounts, ChannelBinding, ClientConfig, Credential, Grant, Moment, PrivateKey, Reason, ServerConfig, ServerKey,
    ServerTrust, Verifier, client, server,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands every call to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The bytes that `work` allocates, in KiB.
fn kib<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.with(Cell::get);
    let result = work();
    (result, (ALLOCATED.with(Cell::get) - before) / 1024)
}

/// One hash at this memory cost, and nothing else that would show.
fn is_one_hash(kib: usize, memory: usize) -> bool {
    (memory..memory + 256).contains(&kib)
}

fn accounts(memory: u32) -> Accounts {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(memory, 1, 1, None).unwrap());
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts.set_password_with("alice", b"correct horse", &argon2).unwrap();
    accounts.add("robot", [""; 0]).unwrap();
    accounts
}

fn password(user: &'static str, password: &'static str) -> Credential<'static> {
    Credential::Password { user, password: password.as_bytes() }
}

#[test]
fn an_unknown_user_costs_one_password_hash_at_the_parameters_of_a_stored_user() {
    for memory in [1024, 4096] {
        let accounts = accounts(memory);
        let memory = usize::try_from(memory).unwrap();
        let (known, cost) = kib(|| accounts.verify(password("alice", "wrong")));
        assert_eq!(known, Err(Reason::WrongPassword));
        assert!(is_one_hash(cost, memory), "known user: {cost} KiB");
        let (unknown, cost) = kib(|| accounts.verify(password("mallory", "wrong")));
        assert_eq!(unknown, Err(Reason::UnknownUser));
        assert!(is_one_hash(cost, memory), "unknown user: {cost} KiB");
        let (no_password, cost) = kib(|| accounts.verify(password("robot", "wrong")));
        assert_eq!(no_password, Err(Reason::WrongPassword));
        assert!(is_one_hash(cost, memory), "user without a password: {cost} KiB");
    }
}

#[test]
fn an_unknown_user_costs_a_default_hash_where_no_password_is_stored() {
    let (unknown, cost) = kib(|| Accounts::new().verify(password("mallory", "wrong")));
    assert_eq!(unknown, Err(Reason::UnknownUser));
    assert!(is_one_hash(cost, usize::try_from(Params::DEFAULT_M_COST).unwrap()), "{cost} KiB");
}

/// One login up to its verdict; gives the reason for a refusal and what opening, verifying and answering allocated.
fn login(accounts: &Accounts, credential: Credential<'_>, alter: fn(&mut Vec<u8>)) -> (Option<Reason>, usize) {
    let (provider, binding, now) = (rustcrypto::provider(), ChannelBinding::none(), Moment::ORIGIN);
    let key = PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap();
    let trust = ServerTrust::pin(key.public_key().id());
    let key = ServerKey::load(&key, provider).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let config = Arc::new(ClientConfig::new(provider));
    let (hello, client) = client::start(&config, &binding, &[], &mut rng, now).unwrap();
    let server = server::AwaitHello::new(&Arc::new(ServerConfig::new(provider)), &binding, now);
    let (challenge, server) = server.read(&hello, now).unwrap().challenge(&key, &mut rng).unwrap();
    let trusted = client.read(&challenge, now).unwrap().trust(&trust).unwrap();
    let (mut frame, _) = trusted.login(credential, &mut rng).unwrap();
    alter(&mut frame);
    kib(|| {
        let claim = server.read(frame, now).unwrap().admit().run(&mut rng);
        match accounts.verify(claim.credential()) {
            Ok(grant) => claim.accept(grant).err().map(|refusal| refusal.reason),
            Err(reason) => Some(claim.reject(reason).reason),
        }
    })
}

/// A name, what is sent, how it is altered on the way, and the reason for the refusal.
type Class = (&'static str, Credential<'static>, fn(&mut Vec<u8>), Option<Reason>);

#[test]
fn a_login_that_does_not_open_costs_the_password_hash_of_one_that_does() {
    let accounts = accounts(4096);
    let alice = password("alice", "correct horse");
    let classes: [Class; 5] = [
        ("accept", alice, |_| {}, None),
        ("wrong password", password("alice", "wrong"), |_| {}, Some(Reason::WrongPassword)),
        ("unknown user", password("mallory", "wrong"), |_| {}, Some(Reason::UnknownUser)),
        ("RSA ciphertext altered", alice, |frame| frame[100] ^= 1, Some(Reason::NotOpened)),
        ("credential altered", alice, |frame| *frame.last_mut().unwrap() ^= 1, Some(Reason::NotOpened)),
    ];
    let costs = classes.map(|(class, credential, alter, expected)| {
        let (reason, cost) = login(&accounts, credential, alter);
        assert_eq!(reason, expected, "{class}");
        (class, cost)
    });
    let (least, most) = (costs.iter().map(|c| c.1).min().unwrap(), costs.iter().map(|c| c.1).max().unwrap());
    assert!(least >= 4096 && most - least <= 8, "{costs:?} KiB");
}

#[test]
fn a_verifier_that_accepts_everything_still_does_not_accept_a_login_that_did_not_open() {
    let anyone = |_: Credential<'_>| Ok(Grant::new("anyone", [""; 0]).unwrap());
    let (provider, binding, now) = (rustcrypto::provider(), ChannelBinding::none(), Moment::ORIGIN);
    let key = PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap();
    let trust = ServerTrust::key(key.public_key().clone());
    let key = ServerKey::load(&key, provider).unwrap();
    let mut rng = StdRng::seed_from_u64(2);
    let config = Arc::new(ClientConfig::new(provider));
    let (hello, client) = client::start(&config, &binding, trust.known_keys(), &mut rng, now).unwrap();
    let server = server::AwaitHello::new(&Arc::new(ServerConfig::new(provider)), &binding, now);
    let (challenge, server) = server.read(&hello, now).unwrap().challenge(&key, &mut rng).unwrap();
    let trusted = client.read(&challenge, now).unwrap().trust(&trust).unwrap();
    let (mut frame, _) = trusted.login(Credential::Token(b"token"), &mut rng).unwrap();
    frame[100] ^= 1;
    let claim = server.read(frame, now).unwrap().admit().run(&mut rng);
    let grant = anyone.verify(claim.credential()).unwrap();
    assert_eq!(claim.accept(grant).unwrap_err().reason, Reason::NotOpened);
}
