//! Where there is too much to do: who comes first, who is turned away, and what bounds that are changed meanwhile do. On the acceptor's
//! threads and elsewhere, at a remote key.

use crate::bounds::{code, first_of_two, junk, start};
use crate::elsewhere::{Elsewhere, remote};
use crate::ends::{
    Adapter, accepting, asking, config, connector, eventually, eventually_empty, failed, login, pair, protocol, refused,
};
use crate::peer::Peer;
use crate::penalties::HOUR;
use crate::places::{Gate, one_at_a_time};
use crate::support::{ALICE, RSA2048, Scenario, verifier};
use countersign::frame::FrameType;
use countersign::{
    Acceptor, AsyncVerifier, Attempt, Bounds, Credential, Error, Grant, LoginError, Penalties, Reason, Source, Waits,
};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

for_every_adapter!(
    whose_logins_were_refused_waits_behind_others_for_a_key_that_is_elsewhere,
    whose_logins_were_not_looked_at_waits_behind_others,
    whose_account_has_all_its_sessions_waits_behind_others,
    nobody_waits_longer_than_the_patience_for_a_key_that_does_not_answer,
    hellos_are_turned_away_while_others_wait_too_long_for_a_key_that_is_elsewhere,
    bounds_of_work_that_change_while_it_serves_count_at_once,
    a_verifier_that_has_too_much_computed_at_once_can_not_decide_now,
);

/// At a key that is elsewhere, one at a time.
fn at_a_remote_key(elsewhere: &Arc<Elsewhere>, patience: Duration) -> Acceptor {
    let bounds = Bounds::default().with_remote(1).with_patience(patience);
    Acceptor::new(config(), remote(elsewhere), verifier).with_bounds(bounds)
}

/// Sends a login from this source.
fn begin<A: Adapter>(
    acceptor: &Acceptor,
    source: &str,
    credential: Credential<'static>,
) -> (Peer, JoinHandle<Result<A::Session, LoginError>>) {
    let (client, server) = pair();
    let server = accepting::<A>(acceptor, server, Source::named(source));
    let mut peer = Peer::new(client);
    peer.login(&Scenario::new(), credential);
    (peer, server)
}

/// Alike, either of two who wait would be first half of the times.
const ROUNDS: usize = 12;

fn whose_logins_were_refused_waits_behind_others_for_a_key_that_is_elsewhere<A: Adapter>() {
    for _ in 0..ROUNDS {
        let (elsewhere, asked) = Elsewhere::new();
        let acceptor = at_a_remote_key(&elsewhere, HOUR);
        for _ in 0..4 {
            let (mut peer, server) = begin::<A>(&acceptor, "junk", junk("junk"));
            asked.recv().unwrap().send(()).unwrap();
            peer.receive(FrameType::ServerVerdict);
            drop(peer);
            assert_eq!(code(server.join().unwrap()), "unknown-user");
        }
        let first = begin::<A>(&acceptor, "first", ALICE);
        let go = asked.recv().unwrap();
        let [was_refused, good] = [("junk", 1), ("good", 2)].map(|(source, count)| {
            let ends = begin::<A>(&acceptor, source, ALICE);
            eventually("it waits", || acceptor.counts().waiting == count);
            ends
        });
        go.send(()).unwrap();
        asked.recv().unwrap().send(()).unwrap();
        // The other one is asked about only now, and not answered.
        eventually("one of them is served", || good.1.is_finished() || was_refused.1.is_finished());
        assert!(good.1.is_finished());
        asked.recv().unwrap().send(()).unwrap();
        for (peer, server) in [first, was_refused, good] {
            drop((server.join().unwrap().unwrap(), peer));
        }
    }
}

fn whose_logins_were_not_looked_at_waits_behind_others<A: Adapter>() {
    for _ in 0..ROUNDS {
        let (gate, verifier) = Gate::new();
        let penalties = Penalties::default().with_account(Waits::new(0, HOUR, HOUR));
        let acceptor = asking(verifier).with_bounds(one_at_a_time()).with_penalties(penalties);
        let guess = |source: &str| {
            let (client, server) = start::<A>(&acceptor, source, junk("the victim"));
            assert!(client.join().unwrap().is_err());
            code(server.join().unwrap())
        };
        gate.go.send(()).unwrap();
        assert_eq!((guess("elsewhere"), gate.entered.recv().unwrap().as_str()), ("unknown-user", "the victim"));
        (0..4).for_each(|_| assert_eq!(guess("the guesser's"), "penalty-account"));
        assert_eq!(first_of_two::<A>(&acceptor, &gate, ["the guesser's", "good"]), "other");
    }
}

fn whose_account_has_all_its_sessions_waits_behind_others<A: Adapter>() {
    for _ in 0..ROUNDS {
        let (gate, verifier) = Gate::new();
        let acceptor = asking(verifier).with_bounds(one_at_a_time().with_sessions_per_principal(1));
        let log_in = |source: &str| {
            gate.go.send(()).unwrap();
            let (client, server) = start::<A>(&acceptor, source, ALICE);
            assert_eq!(gate.entered.recv().unwrap(), "alice");
            assert_eq!(client.join().unwrap().is_ok(), source == "one");
            server.join().unwrap()
        };
        let held = log_in("one").unwrap();
        (0..4).for_each(|_| assert_eq!(code(log_in("full")), "not-admitted"));
        drop(held);
        eventually_empty(&acceptor);
        assert_eq!(first_of_two::<A>(&acceptor, &gate, ["full", "good"]), "other");
    }
}

fn nobody_waits_longer_than_the_patience_for_a_key_that_does_not_answer<A: Adapter>() {
    let (elsewhere, asked) = Elsewhere::new();
    let acceptor = at_a_remote_key(&elsewhere, Duration::from_millis(200));
    let first = begin::<A>(&acceptor, "first", ALICE);
    let go = asked.recv().unwrap();
    let second = begin::<A>(&acceptor, "second", ALICE);
    eventually("it is told so", || second.1.is_finished());
    assert!(second.1.join().unwrap().is_err() && !first.1.is_finished());
    go.send(()).unwrap();
    drop((first.1.join().unwrap().unwrap(), first.0, second.0));
    eventually_empty(&acceptor);
}

fn hellos_are_turned_away_while_others_wait_too_long_for_a_key_that_is_elsewhere<A: Adapter>() {
    let (elsewhere, asked) = Elsewhere::new();
    let acceptor = at_a_remote_key(&elsewhere, Duration::from_secs(2));
    let first = begin::<A>(&acceptor, "first", ALICE);
    let go = asked.recv().unwrap();
    let (mut waits, mut tries) = (begin::<A>(&acceptor, "another", ALICE), 0);
    eventually("a hello is turned away", || {
        // Once its time is over nobody waits.
        if waits.1.is_finished() {
            waits = begin::<A>(&acceptor, "another", ALICE);
        }
        let (client, server) = pair();
        // Of whom nothing has come to nothing yet.
        tries += 1;
        let server = accepting::<A>(&acceptor, server, Source::named(&format!("stranger {tries}")));
        let mut peer = Peer::new(client);
        peer.send(&Scenario::new().await_challenge().0);
        eventually("it has an answer", || peer.has_answer());
        drop(peer);
        code(server.join().unwrap()) == "pressed"
    });
    go.send(()).unwrap();
    drop((first.1.join().unwrap().unwrap(), first.0, waits.0));
    // Who waits now may be asked about, or have left.
    std::thread::spawn(move || asked.into_iter().for_each(|next| next.send(()).unwrap_or_default()));
    drop(waits.1.join().unwrap());
    eventually_empty(&acceptor);
}

fn bounds_of_work_that_change_while_it_serves_count_at_once<A: Adapter>() {
    // Unequal, so that neither is taken for the other; and nobody may wait.
    let bounds = |working, remote| {
        Bounds::default().with_working(working).with_remote(remote).with_waiting(0).with_patience(HOUR)
    };
    let (gate, verifier) = Gate::new();
    let acceptor = asking(verifier).with_bounds(bounds(1, 1));
    let first = start::<A>(&acceptor, "first", ALICE);
    gate.entered.recv().unwrap();
    let is_too_many = || {
        let (client, server) = start::<A>(&acceptor, "another", ALICE);
        client.join().unwrap().is_err() && code(server.join().unwrap()) == "not-now"
    };
    assert!(is_too_many());
    acceptor.set_bounds(bounds(2, 1));
    let second = start::<A>(&acceptor, "second", ALICE);
    eventually("it is computed, or turned away", || gate.asked() == 2 || second.1.is_finished());
    assert_eq!(gate.asked(), 2);
    acceptor.set_bounds(bounds(1, 2));
    assert!(is_too_many());
    (0..2).for_each(|_| gate.go.send(()).unwrap());
    for (client, server) in [first, second] {
        client.join().unwrap().unwrap();
        drop(server.join().unwrap().unwrap());
    }

    let (elsewhere, asked) = Elsewhere::new();
    let acceptor = at_a_remote_key(&elsewhere, HOUR).with_bounds(bounds(1, 1));
    let first = begin::<A>(&acceptor, "first", ALICE);
    let mut going = vec![asked.recv().unwrap()];
    let is_too_many = || {
        let (mut peer, server) = begin::<A>(&acceptor, "another", ALICE);
        assert!(peer.rest().is_empty());
        drop(peer);
        code(server.join().unwrap()) == "not-now"
    };
    assert!(is_too_many());
    acceptor.set_bounds(bounds(1, 2));
    let second = begin::<A>(&acceptor, "second", ALICE);
    eventually("it is asked about, or turned away", || {
        going.extend(asked.try_recv());
        going.len() == 2 || second.1.is_finished()
    });
    assert_eq!(going.len(), 2);
    acceptor.set_bounds(bounds(2, 1));
    assert!(is_too_many());
    going.into_iter().for_each(|go| go.send(()).unwrap());
    for (peer, server) in [first, second] {
        drop((server.join().unwrap().unwrap(), peer));
    }
}

/// Has so much computed for a login, all of it at once.
struct Computes(usize);

impl AsyncVerifier for Computes {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let door = Arc::new(Mutex::new(()));
        let mut all: Vec<_> = (0..self.0)
            .map(|_| {
                let door = Arc::clone(&door);
                Box::pin(attempt.compute(move || drop(door.lock())))
            })
            .collect();
        poll_fn(|task| {
            // None of them is done before all are asked for.
            let _closed = door.lock().unwrap();
            let mut refused = None;
            all.retain_mut(|one| match one.as_mut().poll(task) {
                Poll::Ready(done) => {
                    refused = refused.take().or(done.err());
                    false
                }
                Poll::Pending => true,
            });
            match refused {
                Some(reason) => Poll::Ready(Err(reason)),
                None if all.is_empty() => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await?;
        verifier(attempt)
    }
}

fn a_verifier_that_has_too_much_computed_at_once_can_not_decide_now<A: Adapter>() {
    let bounds = Bounds::default().with_working(1).with_waiting(4).with_patience(HOUR);
    let acceptor = |count| Acceptor::new_async(config(), RSA2048.server.clone(), Computes(count)).with_bounds(bounds);
    let (client, server) = failed::<A>(&acceptor(100), &connector(), ALICE);
    assert_eq!(protocol(client), Error::NotNow);
    assert!(matches!(refused(server).1, Reason::NotNow(_)));
    let (client, server) = login::<A>(&acceptor(5), &connector(), ALICE);
    assert!(client.is_ok() && server.is_ok());
}
