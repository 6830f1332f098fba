//! Places: every way out of a handshake gives its place back, and none is taken from whoever has sent its login.

use crate::ends::{
    Adapter, AsyncAdapter, accepting, acceptor, asking, config, connector, disconnected, eventually, eventually_empty,
    failed, login, pair, refused,
};
use crate::peer::Peer;
use crate::support::{ALICE, RSA2048, Scenario, verifier};
use countersign::crypto::{Decrypt, Decrypted, Decrypting, RemoteDecrypt};
use countersign::frame::FrameType;
use countersign::{
    Acceptor, AsyncVerifier, Attempt, Bounds, Context, Credential, Grant, LoginError, Reason, ServerKey, Source,
};
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

for_every_adapter!(
    every_way_out_of_a_handshake_gives_its_place_back,
    a_login_that_is_computed_has_a_place_that_nobody_can_take,
    a_login_for_whose_refusal_there_is_no_place_is_closed_unseen,
    whoever_leaves_the_queue_is_never_asked_about,
    a_session_counts_until_it_is_dropped,
);

for_every_async_adapter!(
    a_login_dropped_at_any_moment_gives_its_place_back,
    a_login_dropped_while_it_computes_gives_its_turn_back,
);

/// A verifier that says when it begins, and waits until it may go on.
pub struct Gate {
    pub entered: Receiver<String>,
    pub go: Sender<()>,
    pub asked: Arc<AtomicUsize>,
}

impl Gate {
    pub fn new() -> (Self, impl Fn(&Attempt<'_>) -> Result<Grant, Reason> + Send + Sync + 'static) {
        let (enter, entered) = channel();
        let (go, may_go) = channel::<()>();
        let (may_go, asked) = (Mutex::new(may_go), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let verifier = move |attempt: &Attempt<'_>| {
            count.fetch_add(1, Ordering::SeqCst);
            enter.send(attempt.credential().user().unwrap_or_default().to_owned()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
            verifier(attempt)
        };
        (Self { entered, go, asked }, verifier)
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// One login at a time, and nobody waits too long.
pub fn one_at_a_time() -> Bounds {
    Bounds::default().with_working(1).with_patience(Duration::from_secs(3600))
}

/// Waits until so many logins have arrived and are not decided.
pub fn logins_are(acceptor: &Acceptor, count: usize) {
    eventually("so many have arrived", || acceptor.counts().logins == count);
}

fn every_way_out_of_a_handshake_gives_its_place_back<A: Adapter>() {
    let panicking = |attempt: &Attempt<'_>| match attempt.credential().user() {
        Some("panic") => panic!("on purpose"),
        _ => verifier(attempt),
    };
    let acceptor = |config| {
        Acceptor::new(config, RSA2048.server.clone(), panicking).with_bounds(Bounds::default().with_handshakes(1))
    };
    let (acceptor, hurried) =
        (acceptor(config()), acceptor(config().with_handshake_timeout(Duration::from_millis(500))));
    let none = || Context::uncounted();
    // Accepted, and dropped.
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    assert_eq!((acceptor.counts().handshakes, acceptor.counts().sessions), (0, 1));
    drop((client, server));
    eventually_empty(&acceptor);
    // Refused, for a reason or a panic.
    for user in ["bob", "panic"] {
        failed::<A>(&acceptor, &connector(), Credential::Password { user, password: b"password" });
        eventually_empty(&acceptor);
    }
    // Out of time, in both states.
    let (silent, server) = pair();
    drop(A::accept(&hurried, server, none()).map(drop).unwrap_err());
    assert_eq!(hurried.counts().handshakes, 0);
    let (client, server) = pair();
    let mut peer = Peer::new(client);
    peer.send(&Scenario::new().await_challenge().0);
    drop(A::accept(&hurried, server, none()).map(drop).unwrap_err());
    assert_eq!(hurried.counts().handshakes, 0);
    // Left.
    let (client, server) = pair();
    drop((client, silent));
    drop(A::accept(&acceptor, server, none()).map(drop).unwrap_err());
    assert_eq!(acceptor.counts().handshakes, 0);
    // Another protocol.
    let (client, server) = pair();
    Peer::new(client.try_clone().unwrap()).send(b"GET / HTTP/1.1\r\n\r\n");
    drop(A::accept(&acceptor, server, none()).map(drop).unwrap_err());
    assert_eq!(acceptor.counts().handshakes, 0);
    // Made way, and then the other way out.
    let (first, server) = pair();
    let making_way = accepting::<A>(&acceptor, server, none());
    eventually("it is in", || acceptor.counts().handshakes == 1);
    let (second, server) = pair();
    let newcomer = accepting::<A>(&acceptor, server, none());
    assert_eq!(making_way.join().unwrap().map(drop).unwrap_err().code(), "made-way");
    assert_eq!(Peer::new(first).rest(), b"", "told nothing");
    drop(second);
    drop(newcomer.join().unwrap().map(drop).unwrap_err());
    eventually_empty(&acceptor);
    // And the place is good for the next.
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    assert!(client.is_ok() && server.is_ok());
    assert_eq!(acceptor.counts().made_way, 1);
}

fn a_login_that_is_computed_has_a_place_that_nobody_can_take<A: Adapter>() {
    let (gate, verifier) = Gate::new();
    let acceptor = asking(verifier).with_bounds(one_at_a_time().with_handshakes(1));
    // One is being computed, and one waits for its turn.
    let mut ends = Vec::new();
    for count in 1..=2 {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        ends.push((std::thread::spawn(move || A::connect(&connector(), client, ALICE).map(drop)), server));
        logins_are(&acceptor, count);
    }
    assert_eq!(gate.entered.recv().unwrap(), "alice");
    // Whoever comes now takes the places of others that wait for their peers, and not theirs.
    let mut newcomers = Vec::new();
    for source in [Source::uncounted(), Source::named("one"), Source::named("one"), Source::named("another")] {
        let (client, server) = pair();
        newcomers.push((client, accepting::<A>(&acceptor, server, source)));
        eventually("it is in", || acceptor.counts().made_way == newcomers.len() as u64 - 1);
    }
    assert_eq!((acceptor.counts().handshakes, acceptor.counts().logins), (1, 2));
    (0..2).for_each(|_| gate.go.send(()).unwrap());
    for (client, server) in ends {
        client.join().unwrap().unwrap();
        drop(server.join().unwrap().unwrap());
    }
    let (last, of_last) = newcomers.pop().unwrap();
    for (_, server) in newcomers {
        assert_eq!(server.join().unwrap().map(drop).unwrap_err().code(), "made-way");
    }
    drop(last);
    assert!(of_last.join().unwrap().is_err());
    assert_eq!(gate.asked(), 2);
    eventually_empty(&acceptor);
}

fn a_login_for_whose_refusal_there_is_no_place_is_closed_unseen<A: Adapter>() {
    let (gate, verifier) = Gate::new();
    let acceptor = asking(verifier).with_bounds(one_at_a_time().with_refusals(4));
    let source = || Source::named("one");
    // A quarter of four is of one source.
    let (client, server) = pair();
    let held = accepting::<A>(&acceptor, server, source());
    let logging_in = std::thread::spawn(move || A::connect(&connector(), client, ALICE).map(drop));
    gate.entered.recv().unwrap();
    let (client, server) = pair();
    let second = accepting::<A>(&acceptor, server, source());
    let mut peer = Peer::new(client);
    peer.login(&Scenario::new(), ALICE);
    assert_eq!(second.join().unwrap().map(drop).unwrap_err().code(), "no-room");
    assert_eq!(peer.rest(), b"", "told nothing");
    gate.go.send(()).unwrap();
    logging_in.join().unwrap().unwrap();
    drop(held.join().unwrap().unwrap());
    assert_eq!(gate.asked(), 1);
    eventually_empty(&acceptor);
}

fn whoever_leaves_the_queue_is_never_asked_about<A: Adapter>() {
    let (gate, verifier) = Gate::new();
    let acceptor = asking(verifier).with_bounds(one_at_a_time());
    let (client, server) = pair();
    let first = accepting::<A>(&acceptor, server, Context::uncounted());
    let logging_in = std::thread::spawn(move || A::connect(&connector(), client, ALICE).map(drop));
    gate.entered.recv().unwrap();
    // One leaves, and one says something where it has nothing to say.
    for talks in [false, true] {
        let (client, server) = pair();
        let leaving = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut peer = Peer::new(client);
        peer.login(&Scenario::new(), ALICE);
        logins_are(&acceptor, 2);
        if talks {
            peer.send(b"x");
        } else {
            drop(peer);
        }
        assert_eq!(disconnected(leaving.join().unwrap().map(drop).unwrap_err()), FrameType::Data);
        eventually("its place is free", || (acceptor.counts().handshakes, acceptor.counts().logins) == (0, 1));
    }
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    logging_in.join().unwrap().unwrap();
    drop(first.join().unwrap().unwrap());
    // The next one is served, and nobody before it was.
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    assert!(client.is_ok() && server.is_ok());
    assert_eq!(gate.asked(), 2);
}

fn a_session_counts_until_it_is_dropped<A: Adapter>() {
    let acceptor = acceptor();
    let sessions: Vec<_> = (0..3).map(|_| login::<A>(&acceptor, &connector(), ALICE).1.unwrap()).collect();
    for (left, session) in (0..3).rev().zip(sessions) {
        assert_eq!(acceptor.counts().sessions, left + 1);
        drop(session);
        assert_eq!(acceptor.counts().sessions, left);
    }
    assert_eq!(acceptor.counts().made_way, 0);
}

/// Ready when it is asked for the nth time.
fn polls(n: usize) -> impl Future<Output = ()> + Send + 'static {
    let mut polled = 0;
    poll_fn(move |_| {
        polled += 1;
        if polled > n { Poll::Ready(()) } else { Poll::Pending }
    })
}

/// Answers from another thread.
struct Elsewhere(Arc<dyn Decrypt>);

impl RemoteDecrypt for Elsewhere {
    fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting {
        let (tell, told) = tokio::sync::oneshot::channel();
        let private = Arc::clone(&self.0);
        std::thread::spawn(move || {
            drop(tell.send(private.decrypt(&ciphertext, &mut Scenario::new().rng("elsewhere"))));
        });
        Box::pin(async move { told.await.unwrap_or_else(|_| Decrypted::failed()) })
    }
}

struct Asynchronous;

impl AsyncVerifier for Asynchronous {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        attempt.compute(|| ()).await?;
        verifier(attempt)
    }
}

fn a_login_dropped_at_any_moment_gives_its_place_back<A: AsyncAdapter>() {
    let remote = || {
        let private = RSA2048.decryptor();
        ServerKey::with_remote_decrypt(RSA2048.private.public_key().clone(), Arc::new(Elsewhere(private)))
    };
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    for acceptor in [
        Acceptor::new(config(), RSA2048.server.clone(), verifier),
        Acceptor::new_async(config(), RSA2048.server.clone(), Asynchronous),
        Acceptor::new(config(), remote(), verifier),
        Acceptor::new_async(config(), remote(), Asynchronous),
    ] {
        // A wrong password whose login is dropped counts as one: here a hundred may be.
        let acceptor = acceptor.without_penalties();
        for credential in [ALICE, wrong] {
            let mut last = None;
            for n in 0..1000 {
                let (client, server) = pair();
                let client = std::thread::spawn(move || A::connect(&connector(), client, credential).map(drop));
                let done = A::accept_until(&acceptor, server, polls(n));
                drop(client.join().unwrap());
                let done = done.map(|result| result.map(drop));
                eventually_empty(&acceptor);
                if done.is_some() {
                    last = done;
                    break;
                }
            }
            // In the end it was not dropped.
            match last.unwrap() {
                Ok(()) => assert_eq!(credential.user(), Some("alice")),
                Err(error) => assert_eq!(refused(error).1, Reason::WrongPassword),
            }
        }
    }
}

fn a_login_dropped_while_it_computes_gives_its_turn_back<A: AsyncAdapter>() {
    let (gate, verifier) = Gate::new();
    let acceptor = asking(verifier).with_bounds(one_at_a_time().with_waiting(1));
    let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
    let (client, server) = pair();
    let ours = acceptor.clone();
    let dropped = std::thread::spawn(move || {
        A::accept_until(&ours, server, async { drop(cancelled.await) }).map(|session| session.map(drop))
    });
    let first = std::thread::spawn(move || A::connect(&connector(), client, ALICE).map(drop));
    gate.entered.recv().unwrap();
    cancel.send(()).unwrap();
    assert!(dropped.join().unwrap().is_none());
    assert!(matches!(first.join().unwrap(), Err(LoginError::Disconnected { .. } | LoginError::Io(_))));
    eventually_empty(&acceptor);
    (0..2).for_each(|_| gate.go.send(()).unwrap());
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    assert!(client.is_ok() && server.is_ok());
}
