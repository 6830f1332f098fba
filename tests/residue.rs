//! Memory that is given back holds no credential and no key: after a login over each adapter, accepted or refused, no block that was freed
//! has the password in it, or the token; and where a state, a session or a key of ours is dropped, none of its secrets is left in its place.
//!
//! The allocator looks through every block as it is freed. What C code holds, and stacks, are out of its sight.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "residue/at_rest.rs"]
mod at_rest;
mod support;

use countersign::crypto::{Group, Provider, SharedSecret};
use countersign::{
    Acceptor, AsyncVerifier, Attempt, ChannelBinding, ClientConfig, Connector, Context, Credential, FactorAttempt,
    Form, Further, Grant, KeyExchange, MemoryTickets, PrivateKey, Prompt, Reason, Returning, Server, ServerConfig,
    ServerKey, Suite, TicketCache, TicketKeys, Verifier, client,
};
#[cfg(feature = "accounts")]
use countersign::{StretchParameters, Stretching};
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::PrivateKeyParts;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;
use support::{LOGIN_AT, RSA2048, Scenario, Sent, TODAY, at, provider, wire};

/// In the password, in the token, and in the answer to what is asked further.
const MARK: &[u8] = b"x-marked-secret-x";
const PASSWORD: &[u8] = b"pass x-marked-secret-x word";
const WRONG: &[u8] = b"not x-marked-secret-x it";
const TOKEN: &[u8] = b"token x-marked-secret-x";
const ANSWER: &[u8] = b"answer x-marked-secret-x";

/// The fronts of secrets that a test has made: zeros stand for none.
static SECRETS: RwLock<[[u8; 16]; 24]> = RwLock::new([[0; 16]; 24]);

/// The front of what the password is stretched to.
static STRETCHED: OnceLock<[u8; 16]> = OnceLock::new();

static ARMED: AtomicBool = AtomicBool::new(false);
static FOUND: AtomicUsize = AtomicUsize::new(0);
/// The length of the last block that was found.
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Where what is freed is kept, for secrets that are known only later; nowhere if it is null. And how many bytes of it there are.
static KEPT: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static BYTES: AtomicUsize = AtomicUsize::new(0);
const ROOM: usize = 64 << 20;

struct Looking;

/// # Safety
/// `pointer` is to `length` readable bytes.
unsafe fn keep(pointer: *const u8, length: usize) {
    let kept = KEPT.load(Ordering::SeqCst);
    // Larger ones are buffers, and Argon2's memory.
    if kept.is_null() || length > 1 << 16 {
        return;
    }
    let at = BYTES.fetch_add(length, Ordering::SeqCst);
    if at + length <= ROOM {
        // SAFETY: within both.
        unsafe { pointer.copy_to_nonoverlapping(kept.add(at), length) };
    }
}

/// # Safety
/// `pointer` is to `length` readable bytes.
unsafe fn look(pointer: *const u8, length: usize) {
    if !ARMED.load(Ordering::Relaxed) {
        return;
    }
    // Argon2's memory: no secret stands in it as it is, and all of it is made of one.
    if length > 1 << 20 {
        // A few bytes of each of its blocks.
        // SAFETY: within the block.
        if (0..length).step_by(251).any(|at| unsafe { pointer.add(at).read_volatile() } != 0) {
            FOUND.fetch_add(1, Ordering::SeqCst);
            LENGTH.store(length, Ordering::SeqCst);
        }
        return;
    }
    let secrets = *SECRETS.read().unwrap();
    let secrets = secrets.iter().take_while(|secret| **secret != [0; 16]).map(|secret| &secret[..]);
    let marks = [Some(MARK), STRETCHED.get().map(|mark| &mark[..])].into_iter().flatten().chain(secrets);
    for mark in marks {
        for at in 0..(length + 1).saturating_sub(mark.len()) {
            // A byte at a time: a block that was not written in whole is no slice.
            // SAFETY: within the block.
            if (0..mark.len()).all(|index| unsafe { pointer.add(at + index).read_volatile() } == mark[index]) {
                FOUND.fetch_add(1, Ordering::SeqCst);
                LENGTH.store(length, Ordering::SeqCst);
                return;
            }
        }
    }
}

// SAFETY: hands every call to the system's allocator, but for growing, which it makes of the others.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that what an earlier owner left is not taken for what this one leaves.
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's until it is freed below.
        unsafe { look(pointer, layout.size()) };
        // SAFETY: as above.
        unsafe { keep(pointer, layout.size()) };
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    // `realloc` is made of these, so that what it leaves behind is looked at.
}

#[global_allocator]
static LOOKING: Looking = Looking;

/// What `work` gives, and how many blocks with the mark were freed meanwhile, by any thread.
fn left_behind(work: impl FnOnce()) -> usize {
    FOUND.store(0, Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
    work();
    ARMED.store(false, Ordering::SeqCst);
    FOUND.load(Ordering::SeqCst)
}

/// What was left behind, and by what: told all together.
static LEFT: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn leaves_nothing(what: impl Display, work: impl FnOnce()) {
    let found = left_behind(work);
    if found > 0 {
        LEFT.lock().unwrap().push(format!("{what}: {found} blocks, one of {LENGTH:?} bytes"));
    }
}

fn judge(credential: Credential<'_>) -> Result<Grant, Reason> {
    match credential {
        Credential::Password { user: "alice", password: PASSWORD } | Credential::Token(TOKEN) => {
            Ok(Grant::new("alice", ["read"]).unwrap().with_epoch(1))
        }
        Credential::Password { .. } => Err(Reason::WrongPassword),
        _ => Err(Reason::UnknownToken),
    }
}

struct Blocking;

impl Verifier for Blocking {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        judge(attempt.credential())
    }

    fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        Ok(Grant::new("alice", ["read"]).unwrap().with_epoch(1))
    }
}

/// Wants to know one thing more.
struct Asking;

impl Verifier for Asking {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        judge(attempt.credential())
    }

    fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        Ok((further.step() == 0).then(|| Prompt::new(Form::Hidden, "PIN").unwrap()))
    }

    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        if attempt.answer() == ANSWER { Ok(()) } else { Err(Reason::WrongFactor) }
    }
}

struct Asynchronous;

impl AsyncVerifier for Asynchronous {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        attempt.compute(|| ()).await?;
        judge(attempt.credential())
    }
}

/// With a real check, as a store over a network would make it.
#[cfg(feature = "accounts")]
struct Checking(countersign::accounts::PasswordCheck, String);

#[cfg(feature = "accounts")]
impl AsyncVerifier for Checking {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let Credential::Password { user, password } = attempt.credential() else {
            return judge(attempt.credential());
        };
        let check = self.0.prepare(user, password, Some(self.1.clone()));
        attempt.compute(move || check.run()).await??;
        Ok(Grant::new(user, ["read"]).unwrap())
    }
}

fn config() -> ServerConfig {
    let tickets = TicketKeys::new(provider(), Duration::from_secs(60));
    ServerConfig::new(provider()).with_refusal_floor(Duration::from_millis(1)).with_tickets(Arc::new(tickets))
}

fn acceptors() -> Vec<Acceptor> {
    let key = || RSA2048.server.clone();
    #[allow(unused_mut)]
    let mut acceptors = vec![
        Acceptor::new(config(), key(), Blocking),
        Acceptor::new(config(), key(), Asking),
        Acceptor::new_async(config(), key(), Asynchronous),
    ];
    #[cfg(feature = "accounts")]
    {
        use countersign::accounts::{AccountVerifier, Accounts, PasswordCheck};
        let mut accounts = Accounts::new();
        accounts.add("alice", ["read"]).unwrap();
        accounts.edit("alice", |account| account.set_password(PASSWORD)).unwrap();
        let verifier = AccountVerifier::new(std::sync::RwLock::new(accounts));
        acceptors.push(Acceptor::new_async(config(), key(), verifier));
        let stored = PasswordCheck::hash(PASSWORD).unwrap();
        acceptors.push(Acceptor::new_async(config(), key(), Checking(PasswordCheck::new(), stored)));
        // Stretched, alone and with the password beside it.
        let weakest = StretchParameters::new(7, 5, 1).unwrap();
        for stretching in [Stretching::new(REALM, &[weakest]).unwrap(), moving(weakest)] {
            let stretched = stretching.stretch("alice", PASSWORD).unwrap();
            let mut accounts = Accounts::new();
            accounts.add("alice", ["read"]).unwrap();
            accounts
                .edit("alice", |account| {
                    account.set_stretched(&stretched.newest());
                    Ok(())
                })
                .unwrap();
            let verifier = AccountVerifier::new(std::sync::RwLock::new(accounts)).with_moving();
            acceptors.push(Acceptor::new_async(config().with_stretching(stretching).unwrap(), key(), verifier));
        }
    }
    acceptors
}

#[cfg(feature = "accounts")]
const REALM: &str = "db.example";

#[cfg(feature = "accounts")]
fn moving(parameters: StretchParameters) -> Stretching {
    Stretching::new(REALM, &[parameters]).unwrap().with_moving()
}

/// Looks for what the password is stretched to, too.
#[cfg(feature = "accounts")]
fn mark_stretched() {
    use argon2::{Algorithm, Argon2, Params, Version};
    use sha2::{Digest, Sha256};
    let part = |part: &[u8]| [&u16::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat();
    let parts = [b"countersign v1 stretch".as_slice(), REALM.as_bytes(), b"alice"].map(part);
    let params = Params::new(7 << 10, 5, 1, Some(32)).unwrap();
    let mut value = [0; 32];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(PASSWORD, &Sha256::digest(parts.concat()), &mut value).unwrap();
    STRETCHED.set(*value.first_chunk().unwrap()).unwrap();
    assert_eq!(left_behind(|| drop(std::hint::black_box(value.to_vec()))), 1);
}

/// A login that is good, one that comes back, and those that are refused.
fn credentials() -> [Credential<'static>; 6] {
    let password = |user, password| Credential::Password { user, password };
    let (good, wrong) = (password("alice", PASSWORD), password("alice", WRONG));
    [good, good, wrong, password("nobody", WRONG), Credential::Token(TOKEN), Credential::Token(WRONG)]
}

/// One that has pinned the key, and one that has it whole.
fn connectors() -> [Connector; 2] {
    [RSA2048.trust(), Server::key(RSA2048.private.public_key().clone())].map(|server| {
        let connector = Connector::new(ClientConfig::new(provider()), server).with_tickets(MemoryTickets::new());
        connector.with_factors(|_| Some(ANSWER.to_vec()))
    })
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn over_blocking_streams(acceptor: &Acceptor, connector: &Connector) {
    for credential in credentials() {
        let (client, server) = pair();
        let ours = acceptor.clone();
        let server = std::thread::spawn(move || ours.accept_blocking(server, Context::uncounted()));
        let client = connector.connect_blocking(client, credential);
        let server = server.join().unwrap();
        assert_eq!(client.is_ok(), server.is_ok());
        if let (Ok(mut client), Ok(mut server)) = (client, server) {
            client.write_all(b"hello").unwrap();
            server.read_exact(&mut [0; 5]).unwrap();
        }
    }
    while acceptor.counts().refusals > 0 {
        std::thread::yield_now();
    }
}

#[cfg(feature = "tokio")]
fn over_tokio(acceptor: &Acceptor, connector: &Connector) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for credential in credentials() {
            let (client, server) = pair();
            let registered = |stream: TcpStream| {
                stream.set_nonblocking(true).unwrap();
                tokio::net::TcpStream::from_std(stream).unwrap()
            };
            let (client, server) = tokio::join!(
                connector.connect(registered(client), credential),
                acceptor.accept(registered(server), Context::uncounted())
            );
            assert_eq!(client.is_ok(), server.is_ok());
            drop((client, server));
            while acceptor.counts().refusals > 0 {
                tokio::task::yield_now().await;
            }
            // A client that begins and is dropped before its answer has come.
            let (client, _server) = pair();
            tokio::select! {
                biased;
                _ = connector.connect(registered(client), credential) => panic!("nobody answers"),
                () = std::future::ready(()) => {}
            }
        }
    });
}

/// A client's keys: made, written, read, and used.
fn over_signature_keys() {
    use countersign::{ClientKey, SigningKey};
    const SECRET: &[u8; 32] = b"seed x-marked-secret-x seed seed";
    for key in [SigningKey::from_ed25519(SECRET), SigningKey::from_p256(SECRET)] {
        let key = key.unwrap();
        let read = SigningKey::from_pem(&key.to_pkcs8_pem()).unwrap();
        let loaded = ClientKey::load(&read, provider()).unwrap();
        loaded.sign(b"a transcript", &mut support::TestRng::new("residue")).unwrap();
    }
}

/// From now on these are looked for, too.
fn look_for(secrets: &[&[u8]]) {
    let mut marks = [[0; 16]; 24];
    for (mark, secret) in marks.iter_mut().zip(secrets) {
        *mark = *secret.first_chunk().unwrap();
    }
    *SECRETS.write().unwrap() = marks;
}

/// What `work` gives, and copies of all blocks that were freed meanwhile, by any thread.
fn freed_by<T>(work: impl FnOnce() -> T) -> (T, Vec<u8>) {
    let layout = Layout::from_size_align(ROOM, 1).unwrap();
    // SAFETY: the layout has a size.
    let room = unsafe { System.alloc_zeroed(layout) };
    assert!(!room.is_null());
    BYTES.store(0, Ordering::SeqCst);
    KEPT.store(room, Ordering::SeqCst);
    let made = work();
    KEPT.store(std::ptr::null_mut(), Ordering::SeqCst);
    let bytes = BYTES.load(Ordering::SeqCst);
    assert!(bytes <= ROOM, "{bytes} bytes are too many to keep");
    // SAFETY: zeroed, and so long.
    let freed = unsafe { std::slice::from_raw_parts(room, bytes) }.to_vec();
    // SAFETY: it is of this allocator and layout.
    unsafe { System.dealloc(room, layout) };
    (made, freed)
}

/// Carries all bytes between a client and `server`, and gives those of the one and of the other.
fn relay(client: TcpStream, server: TcpStream) -> [Vec<u8>; 2] {
    fn carry(mut from: TcpStream, mut to: TcpStream) -> Vec<u8> {
        let (mut carried, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = from.read(&mut piece) {
            carried.extend_from_slice(&piece[..count]);
            if to.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
        carried
    }
    let (other_client, other_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let there = std::thread::spawn(move || carry(client, server));
    let back = carry(other_server, other_client);
    [there.join().unwrap(), back]
}

/// The first two frames of each way, in the order of a login.
fn frames_of([client, server]: &[Vec<u8>; 2]) -> [Vec<u8>; 4] {
    let two = |bytes: &[u8]| {
        let length = |bytes: &[u8]| 3 + usize::from(u16::from_be_bytes([bytes[1], bytes[2]]));
        let (first, rest) = bytes.split_at(length(bytes));
        (first.to_vec(), rest[..length(rest)].to_vec())
    };
    let ((hello, login), (challenge, verdict)) = (two(client), two(server));
    [hello, challenge, login, verdict]
}

/// Who logs in over a relay, at whom, and how, gives the secret of the ticket that the client got.
type Visit<'a> = &'a (dyn Fn(TcpStream, TcpStream) -> Vec<u8> + Sync);

/// Of a login over an adapter, whose keys nobody can know before: none is left in what is freed, by whom it is moved.
fn over_an_adapter(what: &str, visit: Visit<'_>) {
    let ((carried, ticket), freed) = freed_by(|| {
        let ((client, to_client), (to_server, server)) = (pair(), pair());
        let relaying = std::thread::spawn(move || relay(to_client, to_server));
        let ticket = visit(client, server);
        (relaying.join().unwrap(), ticket)
    });
    let mut keys = keys_of(&frames_of(&carried));
    keys.push(("ticket", ticket));
    for (name, key) in keys {
        // Ciphers spread their own keys over the stack, and what is there comes to lie in the padding of what is moved from it.
        let is_of_a_cipher = ["credential", "verdict", "key"].contains(&name);
        let found = freed.windows(16).filter(|window| *window == &key[..16]).count();
        if found > 0 && !is_of_a_cipher {
            LEFT.lock().unwrap().push(format!("{what}: {name}, {found} times"));
        }
    }
}

fn over_adapters() {
    let suites = [Suite::RSA_AES_256_GCM];
    let (blocking, asynchronous) = (Blocking, Asynchronous);
    let config = || config().with_suites(&suites).unwrap();
    let acceptors = [
        ("a blocking verifier", Acceptor::new(config(), RSA2048.server.clone(), blocking)),
        ("an async one", Acceptor::new_async(config(), RSA2048.server.clone(), asynchronous)),
    ];
    let client = || ClientConfig::new(provider()).with_suites(&suites).unwrap();
    let known = Server::key(RSA2048.private.public_key().clone());
    for (of, acceptor) in &acceptors {
        for (by, server) in [("pinned", RSA2048.trust()), ("known", known.clone())] {
            let connector = Connector::new(client(), server.with_floor(KeyExchange::Rsa));
            let alice = Credential::Password { user: "alice", password: PASSWORD };
            over_an_adapter(&format!("{of}, {by}, blocking streams"), &|ours, theirs| {
                std::thread::scope(|scope| {
                    let accepting = scope.spawn(|| {
                        let mut session = acceptor.accept_blocking(theirs, Context::uncounted()).unwrap();
                        session.read_exact(&mut [0; 5]).unwrap();
                        session.close().unwrap();
                    });
                    let mut session = connector.connect_blocking(ours, alice).unwrap();
                    let ticket = wire::ticket_secret(session.info().ticket().unwrap());
                    session.write_all(b"hello").unwrap();
                    session.update_key().unwrap();
                    session.close().unwrap();
                    accepting.join().unwrap();
                    ticket
                })
            });
            #[cfg(feature = "tokio")]
            over_an_adapter(&format!("{of}, {by}, tokio"), &|ours, theirs| {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let registered = |stream: TcpStream| {
                    stream.set_nonblocking(true).unwrap();
                    tokio::net::TcpStream::from_std(stream).unwrap()
                };
                runtime.block_on(async {
                    let accepting = async {
                        let mut session = acceptor.accept(registered(theirs), Context::uncounted()).await.unwrap();
                        session.read_exact(&mut [0; 5]).await.unwrap();
                        session.shutdown().await.unwrap();
                    };
                    let connecting = async {
                        let mut session = connector.connect(registered(ours), alice).await.unwrap();
                        let ticket = wire::ticket_secret(session.info().ticket().unwrap());
                        session.write_all(b"hello").await.unwrap();
                        session.shutdown().await.unwrap();
                        ticket
                    };
                    tokio::join!(connecting, accepting).0
                })
            });
        }
    }
}

/// Every key of a handshake, as PROTOCOL.md computes it from what a thief of the server's key could.
fn keys_of(frames: &[Vec<u8>; 4]) -> Vec<(&'static str, Vec<u8>)> {
    let [hello, challenge, login, verdict] = frames.each_ref().map(Vec::as_slice);
    let secret = wire::secret_of(RSA2048.pem, hello, login);
    let master = wire::master(&secret, &[0; 32]);
    let key = |label, frames: &[&[u8]]| (label, wire::expand(&master, label, &wire::transcript(frames), 32));
    let [two, three] = [&[hello, challenge, &login[..5]][..], &[hello, challenge, login][..]];
    let mut keys = vec![key("credential", two), key("verdict", three), key("resumption", three)];
    for label in ["client traffic", "server traffic", "exporter"] {
        let (label, secret) = key(label, &[hello, challenge, login, verdict]);
        if label != "exporter" {
            keys.extend(["key", "update"].map(|label| (label, wire::expand(&secret, label, b"", 32))));
        }
        keys.push((label, secret));
    }
    keys.extend([("secret", secret), ("master", master.to_vec())]);
    keys
}

/// Those of this build.
fn providers() -> Vec<Provider> {
    vec![
        #[cfg(feature = "rustcrypto")]
        countersign::crypto::rustcrypto::provider(),
        #[cfg(feature = "aws-lc")]
        countersign::crypto::aws_lc::provider(),
    ]
}

/// What a login leaves of its keys where it is dropped, in each of its states, and what a session does.
fn over_states_and_sessions() {
    let suites = [Suite::RSA_AES_256_GCM, Suite::RSA_CHACHA20_POLY1305];
    for (provider, suite) in providers().into_iter().flat_map(|provider| suites.map(|suite| (provider, suite))) {
        let key = ServerKey::load(&RSA2048.private, provider).unwrap();
        let scenario = Scenario::over(provider, key).suite(suite).known_key_under(KeyExchange::Rsa);
        let keys = keys_of(&scenario.finish().frames);
        look_for(&keys.iter().map(|(_, key)| key.as_slice()).collect::<Vec<_>>());
        let found = left_behind(|| drop(std::hint::black_box(keys[0].1.clone())));
        assert_eq!(found, 1, "what is looked for");
        leaves_nothing(format!("{suite}, {}", provider.name), || {
            let Sent { login, client, server, .. } = scenario.await_verdict();
            drop(Box::new(client));
            let claim = Box::new(scenario.open(server, &login).unwrap());
            drop(claim);
            drop(Box::new(scenario.await_login().server));
            drop(Box::new(scenario.await_challenge().1));
            let (mut client, mut server) = scenario.sessions();
            let mut record = Vec::new();
            client.sealer.seal(b"hello", &mut record).unwrap();
            server.opener.open(&mut record).unwrap();
            client.sealer.update_key(&mut Vec::new()).unwrap();
            drop(Box::new(client));
            drop(Box::new(server));
        });
    }
    look_for(&[]);
}

/// The client's half of each key exchange: what recordings could be opened with.
fn over_ephemeral_keys() {
    // What is drawn first is the key; where it is not what goes out, it is secret.
    let secret = support::TestRng::new("ephemeral").bytes(32);
    look_for(&[&secret]);
    let groups = [Group::X25519, Group::MlKem768];
    for (provider, group) in providers().into_iter().flat_map(|provider| groups.map(|group| (provider, group))) {
        let agreement = provider.agreement(group).unwrap();
        leaves_nothing(format!("{group:?}, {}", provider.name), || {
            let (mut share, mut answer) = (Vec::new(), Vec::new());
            let start = || agreement.start(&mut support::TestRng::new("ephemeral"), &mut Vec::new()).unwrap();
            drop(start());
            let exchange = agreement.start(&mut support::TestRng::new("ephemeral"), &mut share).unwrap();
            agreement.answer(&share, &mut support::TestRng::new("the other"), &mut answer).unwrap();
            exchange.finish(&answer).unwrap();
        });
    }
    // And what both halves give: a half-open login waits with it.
    let shared = b"what both of them have computed!".as_slice();
    look_for(&[shared]);
    leaves_nothing("a shared secret", || drop(Box::new(SharedSecret::new(shared).unwrap())));
    look_for(&[]);
}

/// A ticket's secret at both ends of a resumption, and the keys of tickets in a server that saves them and goes on.
fn over_tickets() {
    let keys = Arc::new(TicketKeys::new(provider(), Duration::from_secs(60)));
    let scenario = Scenario::new().tickets(Arc::clone(&keys));
    let (rng, none) = (&mut support::TestRng::new("tickets"), ChannelBinding::none());
    let grant = || Grant::new("alice", ["read"]).unwrap().with_epoch(1);
    let accepted = scenario.claim().accept_with_ticket(grant(), TODAY, rng).unwrap();
    let session = scenario.await_verdict().client.read(&accepted.frame, at(LOGIN_AT), TODAY).unwrap();
    let ticket = session.info.ticket().unwrap();
    let secret = wire::ticket_secret(ticket);
    look_for(&[&secret]);
    assert_eq!(left_behind(|| drop(std::hint::black_box(secret.clone()))), 1, "what is looked for");
    leaves_nothing("a ticket's secret", || {
        let mut resume = || {
            let shown = scenario.trusted().resume(ticket.clone(), "alice", TODAY).unwrap();
            client::resume(&scenario.client_config(), scenario.trusted(), &none, shown, rng, at(0)).unwrap()
        };
        drop(Box::new(resume().1));
        let (hello, client) = resume();
        let hello = scenario.hello(&hello).unwrap();
        drop(Box::new(hello.ticket(TODAY).unwrap()));
        let fresh = hello.ticket(TODAY).unwrap().use_up_now().unwrap();
        let (frame, server) = hello.resume(fresh, grant(), TODAY, rng).unwrap();
        let client::Answer::Resumed(resumed) = client.read(&frame, at(0), TODAY).unwrap() else { panic!("it is good") };
        drop(Box::new(server.read(resumed.frame, at(0)).unwrap()));
        drop(Box::new(resumed.session));
    });
    leaves_nothing("a cache of tickets", || {
        let (cache, server) = (MemoryTickets::new(), scenario.trusted());
        let users: Vec<String> = (0..40).map(|user| format!("user {user}")).collect();
        users.iter().for_each(|user| cache.put(server, user, ticket));
        let taken: Vec<_> = users.iter().map(|user| cache.take(server, user).unwrap()).collect();
        drop((cache, taken));
    });
    let exported = keys.export(TODAY, rng).unwrap();
    // A version, how many, a name, and the key.
    look_for(&[&exported[2 + 8..]]);
    leaves_nothing("saved ticket keys", || {
        let saved = keys.save().unwrap();
        assert!(saved.len() > exported.len() + 32, "and what was used");
        let loaded = TicketKeys::new(provider(), Duration::from_secs(60));
        loaded.load(&saved).unwrap();
        drop((saved, Arc::new(loaded)));
    });
    look_for(&[]);
}

/// A server's keys: its private one, as it stands in its file and as numbers stand in memory, and those of its tickets.
fn over_server_keys() {
    let der = RSA2048.private.pkcs8_der().to_vec();
    let private = rsa::PrivateKey::from_pkcs8_der(&der).unwrap();
    let number = private.d().to_be_bytes();
    let reversed: Vec<u8> = number.iter().rev().copied().collect();
    look_for(&[&number[8..], &reversed[8..]]);
    leaves_nothing("a private key", || {
        let read = PrivateKey::from_pem(RSA2048.pem).unwrap();
        let key = ServerKey::load(&read, provider()).unwrap();
        drop(key.clone());
        drop((read, key));
    });
    let keys = TicketKeys::new(provider(), Duration::from_secs(60));
    let exported = keys.export(support::TODAY, &mut support::TestRng::new("tickets")).unwrap();
    // A version, how many, a name, and the key.
    look_for(&[&exported[2 + 8..]]);
    leaves_nothing("ticket keys", || {
        let follower = TicketKeys::new(provider(), Duration::from_secs(60));
        follower.follow(&exported).unwrap();
        drop((Arc::new(follower), Arc::new(keys), exported));
    });
    look_for(&[]);
}

#[test]
fn what_is_freed_after_a_login_holds_no_credential_and_no_key() {
    // One test, so that nothing else is freed meanwhile. First: does it see what it looks for?
    assert_eq!(left_behind(|| drop(std::hint::black_box(PASSWORD.to_vec()))), 1);
    #[cfg(feature = "accounts")]
    mark_stretched();
    let grown = left_behind(|| {
        let mut bytes = std::hint::black_box(PASSWORD.to_vec());
        bytes.reserve_exact(100_000);
        bytes.fill(0);
        drop(std::hint::black_box(bytes));
    });
    assert_eq!(grown, 1, "what growing leaves behind");
    assert_eq!(left_behind(|| drop(std::hint::black_box(vec![7; 100_000]))), 0);
    assert_eq!(left_behind(|| drop(std::hint::black_box(vec![7; 2 << 20]))), 1, "Argon2's memory as it is used");
    for (number, acceptor) in acceptors().iter().enumerate() {
        for connector in connectors() {
            let what = format!("over blocking streams, acceptor {number}");
            leaves_nothing(what, || over_blocking_streams(acceptor, &connector));
        }
        #[cfg(feature = "tokio")]
        for connector in connectors() {
            leaves_nothing(format!("over tokio, acceptor {number}"), || over_tokio(acceptor, &connector));
        }
    }
    leaves_nothing("signature keys", over_signature_keys);
    over_states_and_sessions();
    over_adapters();
    over_ephemeral_keys();
    over_tickets();
    over_server_keys();
    at_rest::over_key_files();
    #[cfg(feature = "accounts")]
    at_rest::over_accounts();
    let left = LEFT.lock().unwrap();
    assert!(left.is_empty(), "{left:#?}");
}
