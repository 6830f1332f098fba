//! Many passwords at once: how many are looked at, and who waits for whom.

use crate::bounds::{code, junk, start};
use crate::ends::{Adapter, AsyncAdapter, accepting, config, connector, eventually, eventually_empty, pair};
use crate::peer::{Peer, VERDICT};
use crate::penalties::{HOUR, Looked, Shared, acceptor, from, gets_in, penalties, why, wrong};
use crate::places::{Gate, one_at_a_time};
use crate::support::{ALICE, Counting, RSA2048, Scenario, verify};
use countersign::events::{Decision, Timings};
use countersign::{
    Acceptor, AsyncVerifier, Attempt, Bounds, Credential, Grant, LoginError, Penalties, Penalty, PenaltyEvent,
    PenaltyKey, PenaltyStore, Reason, ServerKey, Source, Standing, StoreAway, Stored, Verifier, Waits, WhenAway,
};
use std::future::{poll_fn, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

for_every_adapter!(
    forty_guesses_at_once_fare_no_better_than_forty_in_a_row,
    of_many_logins_at_once_no_more_are_looked_at_than_may_be_wrong,
    good_logins_at_once_wait_for_one_another_and_all_get_in,
    those_who_wait_for_others_crowd_nobody_out_when_one_is_decided,
    whoever_leaves_while_it_waits_for_others_gives_its_place_back,
    whoever_waits_for_others_up_to_the_deadline_is_refused_as_any_other,
    a_login_that_has_waited_for_others_does_not_make_way_for_hellos,
);

for_every_async_adapter!(
    a_guess_that_is_cut_is_told_to_others_once_they_can_be_told,
    a_guess_that_is_cut_is_told_with_the_tag_that_its_name_has_everywhere,
);

fn forty_guesses_at_once_fare_no_better_than_forty_in_a_row<A: Adapter>() {
    let looked = Looked::default();
    let bounds = Bounds::default().with_working(2).with_patience(HOUR);
    let acceptor = acceptor(&looked).with_bounds(bounds);
    let guesses: Vec<_> = (0..40)
        .map(|flat| {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Source::named(&flat.to_string()));
            (std::thread::spawn(move || A::connect(&connector(), client, wrong("alice")).map(drop)), server)
        })
        .collect();
    for (client, server) in guesses {
        assert!(client.join().unwrap().is_err() && server.join().unwrap().is_err());
    }
    // Those that are free, and the one by which the wait begins.
    assert_eq!(looked.count(), 11);
    eventually_empty(&acceptor);
}

/// A verifier that knows nothing while it is closed.
#[derive(Clone, Default)]
struct Closed(Arc<(Mutex<Inside>, Condvar)>);

#[derive(Default)]
struct Inside {
    is_open: bool,
    wakers: Vec<Waker>,
    /// About whom it was asked since it was closed.
    users: Vec<String>,
}

impl Closed {
    fn close(&self) {
        *self.0.0.lock().unwrap() = Inside::default();
    }

    fn open(&self) {
        let mut inside = self.0.0.lock().unwrap();
        inside.is_open = true;
        inside.wakers.drain(..).for_each(Waker::wake);
        self.0.1.notify_all();
    }

    fn asked(&self, user: &str) -> usize {
        self.0.0.lock().unwrap().users.iter().filter(|asked| *asked == user).count()
    }

    fn enter(&self, attempt: &Attempt<'_>) {
        self.0.0.lock().unwrap().users.push(attempt.credential().user().unwrap().to_owned());
    }
}

impl Verifier for Closed {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.enter(attempt);
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |inside| !inside.is_open).unwrap());
        verify(attempt.credential())
    }
}

impl AsyncVerifier for Closed {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.enter(attempt);
        poll_fn(|task| {
            let mut inside = self.0.0.lock().unwrap();
            if inside.is_open {
                return Poll::Ready(());
            }
            inside.wakers.push(task.waker().clone());
            Poll::Pending
        })
        .await;
        verify(attempt.credential())
    }
}

/// One that is asked on the acceptor's threads, and one that is asked elsewhere, each with many at once.
fn closed(penalties: &Penalties) -> [(Closed, Acceptor); 2] {
    let bounds = Bounds::default().with_working(32).with_patience(HOUR);
    [false, true].map(|is_async| {
        let closed = Closed::default();
        let acceptor = match is_async {
            false => Acceptor::new(config(), RSA2048.server.clone(), closed.clone()),
            true => Acceptor::new_async(config(), RSA2048.server.clone(), closed.clone()),
        };
        (closed, acceptor.with_bounds(bounds).with_penalties(penalties.clone()))
    })
}

/// Logins at once, each from a source of its own: what the server gets.
fn at_once<A: Adapter>(
    acceptor: &Acceptor,
    count: usize,
    credential: Credential<'static>,
) -> Vec<std::thread::JoinHandle<Result<(), LoginError>>> {
    let each = (0..count).map(|flat| {
        let acceptor = acceptor.clone();
        std::thread::spawn(move || from::<A>(&acceptor, &flat.to_string(), credential).1.map(drop))
    });
    each.collect()
}

fn of_many_logins_at_once_no_more_are_looked_at_than_may_be_wrong<A: Adapter>() {
    // No wait ever: what is bounded is how many are looked at before there is a verdict.
    let waits = Waits::new(2, Duration::ZERO, Duration::ZERO);
    for (closed, acceptor) in closed(&penalties().with_account(waits)) {
        for (looked_at, round) in [(3, 0), (1, 1), (1, 2)] {
            closed.close();
            let mut logins = at_once::<A>(&acceptor, 12, wrong("alice"));
            eventually("they have arrived", || acceptor.counts().logins == 12);
            eventually("as many as may be are looked at", || closed.asked("alice") >= looked_at);
            // Whoever comes after them, and is in nobody's way.
            logins.extend(at_once::<A>(&acceptor, 1, wrong(["x", "y", "z"][round])));
            eventually("the last one is looked at", || closed.asked(["x", "y", "z"][round]) == 1);
            assert_eq!(closed.asked("alice"), looked_at, "{round}");
            // The others wait until those are decided.
            closed.open();
            let codes = logins.into_iter().map(|login| login.join().unwrap().unwrap_err().code().to_owned());
            assert_eq!(codes.filter(|code| code == "wrong-password").count(), 12);
            assert_eq!(closed.asked("alice"), 12);
        }
        eventually_empty(&acceptor);
    }
}

fn good_logins_at_once_wait_for_one_another_and_all_get_in<A: Adapter>() {
    // One failure more would mean an hour for everybody.
    let waits = Waits::new(0, HOUR, HOUR);
    for (closed, acceptor) in closed(&penalties().with_account(waits)) {
        let accounted: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let told = Arc::clone(&accounted);
        let acceptor = acceptor.with_observer(move |event| {
            if matches!(event.decision, Decision::Accepted(_)) {
                let Timings { waited, opened, verified, .. } = event.timings;
                told.lock().unwrap().push(waited + opened + verified);
            }
        });
        let logins = at_once::<A>(&acceptor, 24, ALICE);
        eventually("they have arrived", || acceptor.counts().logins == 24);
        eventually("one is looked at", || closed.asked("alice") == 1);
        // As long as a verifier takes that is slow.
        std::thread::sleep(SLOW);
        closed.open();
        assert!(logins.into_iter().all(|login| login.join().unwrap().is_ok()));
        assert_eq!(closed.asked("alice"), 24);
        assert_eq!(acceptor.counts().unchecked, 0);
        // None of them seems to have waited for its client.
        let accounted = accounted.lock().unwrap();
        assert!(accounted.len() == 24 && accounted.iter().all(|time| *time > SLOW / 2), "{accounted:?}");
    }
}

const SLOW: Duration = Duration::from_millis(500);

/// A login of this source, of which nobody has decided whether it is looked at.
fn begin<A: Adapter>(acceptor: &Acceptor, source: &str) -> (Peer, JoinHandle<Result<A::Session, LoginError>>) {
    let (client, server) = pair();
    let server = accepting::<A>(acceptor, server, Source::named(source));
    let mut peer = Peer::new(client);
    peer.login(&Scenario::new(), ALICE);
    (peer, server)
}

fn whoever_leaves_while_it_waits_for_others_gives_its_place_back<A: Adapter>() {
    let one = Waits::new(0, HOUR, HOUR);
    for (closed, acceptor) in closed(&penalties().with_account(one).with_source(one)) {
        let first = begin::<A>(&acceptor, "first");
        eventually("it is looked at", || closed.asked("alice") == 1);
        let (waits, leaves) = (begin::<A>(&acceptor, "waits"), begin::<A>(&acceptor, "leaves"));
        eventually("they wait", || acceptor.counts().logins == 3);
        drop(leaves.0);
        eventually("its place is free", || acceptor.counts().logins == 2);
        closed.open();
        assert!(first.1.join().unwrap().is_ok() && waits.1.join().unwrap().is_ok());
        assert!(leaves.1.join().unwrap().is_err());
        // It was opened for it in vain.
        assert_eq!(why::<A>(&acceptor, "leaves", ALICE), Reason::Penalty(Penalty::Source));
        drop((first.0, waits.0));
        eventually_empty(&acceptor);
    }
}

fn whoever_waits_for_others_up_to_the_deadline_is_refused_as_any_other<A: Adapter>() {
    // What the first one holds it holds for as long as the verifier has its thread.
    let (closed, config) = (Closed::default(), config().with_handshake_timeout(Duration::from_secs(3)));
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), closed.clone())
        .with_bounds(Bounds::default().with_working(2).with_patience(HOUR))
        .with_penalties(penalties().with_account(Waits::new(0, HOUR, HOUR)));
    let first = begin::<A>(&acceptor, "first");
    eventually("it is looked at", || closed.asked("alice") == 1);
    let (mut peer, waits) = begin::<A>(&acceptor, "waits");
    eventually("its time is over", || waits.is_finished());
    assert_eq!(code(waits.join().unwrap()), "penalty-account");
    assert_eq!((peer.rest().len(), acceptor.counts().unchecked, closed.asked("alice")), (VERDICT, 1, 1));
    closed.open();
    drop((first.1.join().unwrap(), first.0));
    eventually_empty(&acceptor);
}

fn a_login_that_has_waited_for_others_does_not_make_way_for_hellos<A: Adapter>() {
    // At random it would be shed more often than not.
    for _ in 0..6 {
        let (gate, verifier) = Gate::new();
        let opened = Arc::new(Counting::with(&RSA2048));
        let key = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), Arc::clone(&opened) as _);
        let bounds = one_at_a_time().with_waiting(2);
        let acceptor = Acceptor::new(config(), key, verifier)
            .with_bounds(bounds.with_working(2))
            .with_penalties(penalties().with_account(Waits::new(0, HOUR, HOUR)));
        let first = begin::<A>(&acceptor, "first");
        assert_eq!(gate.entered.recv().unwrap(), "alice");
        let waits = begin::<A>(&acceptor, "waits");
        eventually("it is opened", || opened.count() == 2);
        // This takes its thread, of which there is one less as soon as the first is decided.
        let other = start::<A>(&acceptor, "other", junk("other"));
        assert_eq!(gate.entered.recv().unwrap(), "other");
        acceptor.set_bounds(bounds);
        gate.go.send(()).unwrap();
        drop((first.1.join().unwrap().unwrap(), first.0));
        eventually("it waits for a thread", || acceptor.counts().waiting == 1);
        let known = Scenario::new().known_key();
        let hellos = ["one", "two", "three", "four"].map(|source| {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Source::named(source));
            let mut peer = Peer::new(client);
            peer.send(&known.await_challenge().0);
            (peer, server)
        });
        let told = || hellos.iter().filter(|(peer, _)| peer.has_answer()).count();
        eventually("three are told to come later", || told() == 3 || waits.1.is_finished());
        (0..2).for_each(|_| gate.go.send(()).unwrap());
        drop((waits.1.join().unwrap().unwrap(), waits.0));
        assert!(other.0.join().unwrap().is_err() && other.1.join().unwrap().is_err());
        for (peer, server) in hellos {
            drop(peer);
            assert!(server.join().unwrap().is_err());
        }
    }
}

/// Each verdict calls one of those who wait for it: all of them together would be more than may wait for a thread.
fn those_who_wait_for_others_crowd_nobody_out_when_one_is_decided<A: Adapter>() {
    let waits = Waits::new(0, HOUR, HOUR);
    for (closed, acceptor) in closed(&penalties().with_account(waits)) {
        let bounds = Bounds::default().with_working(16).with_waiting(8).with_patience(HOUR);
        let acceptor = acceptor.with_bounds(bounds);
        let (mut logins, mut others) = (Vec::new(), Vec::new());
        for (lot, other) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            logins.extend(at_once::<A>(&acceptor, 8, ALICE));
            eventually("they have arrived", || acceptor.counts().logins == 9 * lot + 8);
            others.extend(at_once::<A>(&acceptor, 1, wrong(other)));
            eventually("whoever comes after them is looked at", || closed.asked(other) == 1);
        }
        assert_eq!(closed.asked("alice"), 1);
        closed.open();
        assert!(logins.into_iter().all(|login| login.join().unwrap().is_ok()));
        assert!(others.into_iter().all(|other| other.join().unwrap().is_err()));
    }
}

/// Counts that some servers share, where they can be had.
#[derive(Clone, Default)]
struct Ailing {
    shared: Shared,
    is_away: Arc<AtomicBool>,
}

impl PenaltyStore for Ailing {
    fn read<'a>(&'a self, keys: &'a [PenaltyKey]) -> Stored<'a, Vec<Standing>> {
        if self.is_away.load(Ordering::SeqCst) { Box::pin(ready(Err(StoreAway))) } else { self.shared.read(keys) }
    }

    fn add<'a>(&'a self, amounts: &'a [(PenaltyKey, f64)]) -> Stored<'a, ()> {
        if self.is_away.load(Ordering::SeqCst) { Box::pin(ready(Err(StoreAway))) } else { self.shared.add(amounts) }
    }
}

/// A password of this user that is looked at when the future of its login is dropped.
fn cut<A: AsyncAdapter>(acceptor: &Acceptor, closed: &Closed, user: &'static str) {
    let (client, server) = pair();
    let guess = std::thread::spawn(move || A::connect(&connector(), client, wrong(user)).map(drop));
    let looked = closed.clone();
    let is_looked_at = async move {
        while looked.asked(user) == 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(A::accept_until(acceptor, server, is_looked_at).is_none());
    assert!(guess.join().unwrap().is_err());
    closed.open();
}

fn a_guess_that_is_cut_is_told_to_others_once_they_can_be_told<A: AsyncAdapter>() {
    let (store, closed) = (Ailing::default(), Closed::default());
    let acceptor = Acceptor::new_async(config(), RSA2048.server.clone(), closed.clone())
        .with_penalties(penalties().with_store(store.clone(), WhenAway::GoOn));
    cut::<A>(&acceptor, &closed, "alice");
    for (is_away, told) in [(true, 0), (false, 1), (false, 1)] {
        store.is_away.store(is_away, Ordering::SeqCst);
        gets_in::<A>(&acceptor, "home", ALICE);
        let level = store.shared.level(&PenaltyKey::Account("alice".into()));
        assert_eq!(level.round() as u32, told, "{is_away}");
    }
}

fn a_guess_that_is_cut_is_told_with_the_tag_that_its_name_has_everywhere<A: AsyncAdapter>() {
    let (waits, events) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<String>>>::default());
    let (tell_wait, tell_event) = (Arc::clone(&waits), Arc::clone(&events));
    let strict = penalties().with_account(Waits::new(0, HOUR, HOUR)).with_observer(move |event| {
        if let PenaltyEvent::Wait { user, .. } = event {
            user.fields(|name, field| tell_wait.lock().unwrap().push(format!("{name}={field}")));
        }
    });
    let closed = Closed::default();
    let acceptor = Acceptor::new_async(config(), RSA2048.server.clone(), closed.clone())
        .with_penalties(strict)
        .with_observer(move |event| tell_event.lock().unwrap().push(event.to_string()));
    cut::<A>(&acceptor, &closed, "nobody");
    assert_eq!(why::<A>(&acceptor, "flat", wrong("nobody")), Reason::Penalty(Penalty::Account));
    let (waits, events) = (waits.lock().unwrap(), events.lock().unwrap());
    let [wait] = &waits[..] else { panic!("{waits:?}") };
    assert!(wait.starts_with("user_tag=") && events.iter().any(|event| event.contains(wait)), "{wait} {events:?}");
}
