//! What connections hold and logins allocate, counted by the allocator.
//!
//! ```text
//! cargo bench --bench memory --features tokio,aws-lc
//! ```
//!
//! Heap bytes are those that Rust code asks for: what a crypto library in C allocates for itself is not seen. A state's own
//! size is where it lives: on a thread's stack, or in a task. tests/memory.rs holds the core to these.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "../tests/support/heap.rs"]
mod heap;
#[allow(unused)]
mod support;

use countersign::client::{self, AwaitChallenge, AwaitVerdict};
use countersign::frame::FrameReader;
use countersign::server::{AwaitConfirm, AwaitHello, AwaitLogin};
use countersign::{ChannelBinding, ClientConfig, PuzzleDifficulty, Server, ServerConfig, ServerKey, Session, Suite};
use heap::{allocated, measure};
use std::sync::Arc;
use std::time::Duration;
use support::{KEYS, NOW, Peers, TODAY, claim, grant, private_key, providers, rng};

/// What a login may take, at most, between the challenge and its arrival, with a proof or without.
const HALF_OPEN: usize = 400;

fn main() {
    println!("sizes, in bytes, of what one connection holds while it waits");
    let reader = size_of::<FrameReader>();
    let half_open = size_of::<AwaitLogin>() + reader;
    assert!(half_open <= HALF_OPEN, "a half-open login takes {half_open} bytes, more than {HALF_OPEN}");
    for (state, size) in [
        ("server, for the hello, with its reader", size_of::<AwaitHello>() + reader),
        ("server, for the login, with its reader", half_open),
        ("server, for the Confirm, with its reader", size_of::<AwaitConfirm>() + reader),
        ("client, for the challenge, with its reader", size_of::<AwaitChallenge>() + reader),
        ("client, for the verdict, with its reader", size_of::<AwaitVerdict>() + reader),
        ("either, in a session", size_of::<Session>()),
    ] {
        println!("  {state:<46} {size:>6}");
    }
    for provider in providers() {
        for suite in [Suite::RSA_AES_256_GCM, Suite::X25519_AES_256_GCM, Suite::X25519MLKEM768_AES_256_GCM] {
            let (peers, name) = (Peers::new(provider, suite, KEYS[0].1), format!("{}, {suite}", provider.name));
            login(&peers, &format!("{name}, without a proof"));
            login(&peers.with_proof(), &format!("{name}, with a proof"));
        }
    }
    puzzle();
    #[cfg(feature = "tokio")]
    adapter();
}

/// The state that keeps a hello until its client has solved a puzzle.
fn puzzle() {
    let provider = providers()[0];
    let (client, server) = (Arc::new(ClientConfig::new(provider)), Arc::new(ServerConfig::new(provider)));
    let key = ServerKey::load(&private_key(KEYS[0].1), provider).unwrap();
    let none = ChannelBinding::none();
    println!("a hello at the default suites, kept until a puzzle is solved, in bytes");
    for (name, trust) in [
        ("without a proof", Server::pinned(key.public_key().id())),
        ("with one", Server::key(key.public_key().clone())),
    ] {
        let (hello, _) = client::start(&client, &trust, &none, &mut rng(), NOW).unwrap();
        let len = hello.len();
        let (state, held, _) = measure(|| {
            let hello = AwaitHello::new(&server, &none, NOW).read(hello, NOW).unwrap().choose(&key).unwrap();
            hello.puzzle(PuzzleDifficulty::new(10).unwrap(), Duration::ZERO, &mut rng()).unwrap().1
        });
        // The hello itself was there before.
        let on_the_heap = held + isize::try_from(len).unwrap();
        let state = size_of_val(&state) + size_of::<FrameReader>();
        println!("  {name:<46} {state:>6}, and {on_the_heap} on the heap, of which the hello {len}");
    }
}

fn login(peers: &Peers, name: &str) {
    let (mut ours, mut theirs) = (rng(), rng());
    let mut client = Cost::default();
    let mut server = Cost::default();
    let (hello, state) = client.of(|| peers.hello(&mut ours));
    // The hello is gone with the step, and the challenge is for sending.
    let before = heap::held() - isize::try_from(hello.capacity()).unwrap();
    let (challenge, waiting) = server.of(|| peers.challenge(hello, &mut theirs));
    let half_open = heap::held() - before - isize::try_from(challenge.capacity()).unwrap();
    let (login, awaiting) = client.of(|| peers.seal(state, &challenge, &mut ours));
    let grant = grant();
    let accepted = server.of(|| claim(waiting, login, &mut theirs).accept(grant).unwrap());
    let mut session = client.of(|| awaiting.read(&accepted.frame, NOW, TODAY).unwrap());
    let mut out = Vec::with_capacity(64);
    let (_, in_use, _) = measure(|| session.sealer.seal(b"hello", &mut out).unwrap());
    println!("{name}");
    println!("  half-open at the server, on the heap: {half_open}; a direction of a session in use: {in_use}");
    for (side, cost) in [("server", server), ("client", client)] {
        println!("  {side}: {} allocations, {} bytes in all", cost.calls, cost.bytes);
    }
}

/// What one side's steps allocate.
#[derive(Default)]
struct Cost {
    calls: usize,
    bytes: usize,
}

impl Cost {
    fn of<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let ((result, _, calls), bytes) = allocated(|| measure(step));
        self.calls += calls;
        self.bytes += bytes;
        result
    }
}

#[cfg(feature = "tokio")]
fn adapter() {
    use countersign::{Acceptor, Attempt, Connector, Context, Grant, Reason, Stream};

    let peers = Peers::new(providers()[0], Suite::X25519_AES_256_GCM, KEYS[0].1);
    let nobody = |_: &Attempt<'_>| -> Result<Grant, Reason> { Err(Reason::UnknownUser) };
    let acceptor = Acceptor::new(ServerConfig::clone(&peers.server), peers.key.clone(), nobody);
    let (ours, theirs) = tokio::io::duplex(64);
    let connector = Connector::new(ClientConfig::clone(&peers.client), peers.trust.clone());
    let accept = acceptor.accept(theirs, Context::uncounted());
    let connect = connector.connect(ours, support::ALICE);
    println!("the tokio adapter, in bytes");
    println!("  the future of a login: server {}, client {}", size_of_val(&accept), size_of_val(&connect));
    println!("  a stream, without its transport: {}", size_of::<Stream<()>>());
}
