//! Bounds: what strangers do in numbers costs other strangers nothing.

use crate::ends::{
    Adapter, Session, accepting, asking, config, connector, eventually, eventually_empty, login, pair, refused,
};
use crate::logins::Returns;
use crate::peer::{Challenged, Peer};
use crate::places::{Gate, logins_are, one_at_a_time};
use crate::support::{ALICE, RSA2048, Scenario, provider, verifier};
use countersign::frame::FrameType;
use countersign::{Acceptor, Bounds, Credential, LoginError, Penalties, Recheck, Source, TicketKeys, Waits};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

for_every_adapter!(
    a_source_at_its_bound_makes_way_for_itself_the_silent_first,
    a_good_client_gets_through_a_flood_of_idle_connections,
    junk_from_one_source_delays_no_good_client_of_another,
    a_hello_that_is_opened_in_vain_counts_against_its_source,
    a_hello_that_was_opened_and_has_to_make_way_counts_against_nobody,
    who_comes_from_where_somebody_has_logged_in_has_its_turn_before_strangers,
    a_login_whose_hello_was_opened_does_not_make_way_for_hellos,
    a_login_that_waits_for_too_long_is_closed_unopened,
    a_hello_is_turned_away_once_a_login_has_waited_for_half_of_what_it_may,
    one_login_after_the_other_is_never_too_many,
    refusals_that_wait_are_bounded_by_source,
    sessions_are_bounded_for_those_who_come_back_by_ticket_too,
    bounds_that_change_while_it_serves_keep_count_of_the_sessions_that_are_there,
);

pub type Ends<A> = (JoinHandle<Result<(), LoginError>>, JoinHandle<Result<<A as Adapter>::Session, LoginError>>);

/// A login from this source on its way, at the client and at the server.
pub fn start<A: Adapter>(acceptor: &Acceptor, source: &str, credential: Credential<'static>) -> Ends<A> {
    let (client, server) = pair();
    let server = accepting::<A>(acceptor, server, Source::named(source));
    (std::thread::spawn(move || A::connect(&connector(), client, credential).map(drop)), server)
}

pub fn junk(user: &'static str) -> Credential<'static> {
    Credential::Password { user, password: b"junk" }
}

pub fn code<T>(result: Result<T, LoginError>) -> &'static str {
    result.map(drop).unwrap_err().code()
}

fn a_source_at_its_bound_makes_way_for_itself_the_silent_first<A: Adapter>() {
    let acceptor = asking(verifier).with_bounds(Bounds::default().with_handshakes_per_source(2));
    let open = |source: &str, count: usize| {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named(source));
        eventually("it is in", || acceptor.counts().handshakes == count);
        (Peer::new(client), server)
    };
    let (mut greeted, of_greeted) = open("one", 1);
    greeted.hello(&Scenario::new());
    let (_silent, of_silent) = open("one", 2);
    let (_other, of_other) = open("another", 3);
    // The third of one source takes the place of the one that has sent nothing.
    let (_third, of_third) = open("one", 3);
    assert_eq!(code(of_silent.join().unwrap()), "made-way");
    // The fourth that of the third.
    let (mut fourth, of_fourth) = open("one", 3);
    assert_eq!(code(of_third.join().unwrap()), "made-way");
    fourth.hello(&Scenario::new());
    // Where all have sent something it is one of them; never one of another source.
    let (_fifth, of_fifth) = open("one", 3);
    eventually("one made way", || of_greeted.is_finished() || of_fourth.is_finished());
    assert_eq!(acceptor.counts().made_way, 3);
    assert!(!of_other.is_finished() && !of_fifth.is_finished());
    acceptor.stop();
    for server in [of_greeted, of_fourth, of_other, of_fifth] {
        assert!(["stopping", "made-way"].contains(&code(server.join().unwrap())));
    }
}

fn a_good_client_gets_through_a_flood_of_idle_connections<A: Adapter>() {
    let bounds = Bounds::default().with_handshakes(12).with_handshakes_per_source(6);
    let acceptor = asking(verifier).with_bounds(bounds);
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..3)
        .map(|number| {
            let (acceptor, stop) = (acceptor.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut held = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let (client, server) = pair();
                    held.push((client, accepting::<A>(&acceptor, server, Source::named(&format!("flood {number}")))));
                    // So many at a time as make the table overflow, and no more threads than this machine has room for.
                    if held.len() > 10 {
                        let (client, server) = held.remove(0);
                        drop(client);
                        let code = code(server.join().unwrap());
                        assert!(["made-way", "disconnected", "no-room"].contains(&code), "{code}");
                    }
                }
                for (client, server) in held {
                    drop(client);
                    drop(server.join().unwrap());
                }
            })
        })
        .collect();
    eventually("the table is full", || acceptor.counts().made_way > 20);
    for round in 0..10 {
        let (client, server) = start::<A>(&acceptor, "good", ALICE);
        assert!(client.join().unwrap().is_ok() && server.join().unwrap().is_ok(), "login {round}");
    }
    stop.store(true, Ordering::SeqCst);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    eventually_empty(&acceptor);
}

fn junk_from_one_source_delays_no_good_client_of_another<A: Adapter>() {
    // Nobody outside can tell when a login has taken its place in the queue: on a machine that is busy the good one may come late
    // to it. In one line with all the others it would be the last each time.
    assert!((0..5).any(|_| turn_among_junk::<A>() <= 4));
}

/// Which turn a good login has that comes when nine of another source are there.
fn turn_among_junk<A: Adapter>() -> usize {
    let (gate, verifier) = Gate::new();
    let acceptor = asking(verifier).with_bounds(one_at_a_time());
    // One is being computed, and eight wait, when the good one comes.
    let junk: Vec<_> = (0..9)
        .map(|before| {
            let ends = start::<A>(&acceptor, "junk", junk("junk"));
            logins_are(&acceptor, before + 1);
            eventually("it waits", || acceptor.counts().waiting == before);
            ends
        })
        .collect();
    assert_eq!(gate.entered.recv().unwrap(), "junk");
    let good = start::<A>(&acceptor, "good", ALICE);
    eventually("it waits", || acceptor.counts().waiting == 9);
    let mut order = Vec::new();
    for _ in 0..10 {
        gate.go.send(()).unwrap();
        if order.len() < 9 {
            order.push(gate.entered.recv().unwrap());
        }
    }
    let turn = order.iter().position(|user| user == "alice").unwrap();
    good.0.join().unwrap().unwrap();
    drop(good.1.join().unwrap().unwrap());
    for (client, server) in junk {
        assert!(client.join().unwrap().is_err());
        assert_eq!(code(server.join().unwrap()), "unknown-user");
    }
    turn
}

fn who_comes_from_where_somebody_has_logged_in_has_its_turn_before_strangers<A: Adapter>() {
    // Among strangers, who are all alike, it would be next by chance alone.
    for _ in 0..3 {
        let (gate, verifier) = Gate::new();
        let acceptor = asking(verifier).with_bounds(one_at_a_time().with_patience(crate::ends::HANG));
        let before = start::<A>(&acceptor, "home", ALICE);
        assert_eq!(gate.entered.recv().unwrap(), "alice");
        gate.go.send(()).unwrap();
        before.0.join().unwrap().unwrap();
        drop(before.1.join().unwrap().unwrap());
        let strangers: Vec<_> = (0..9)
            .map(|before| {
                let ends = start::<A>(&acceptor, &format!("stranger {before}"), junk("junk"));
                eventually("it waits", || {
                    acceptor.counts().logins == before + 1 && acceptor.counts().waiting == before
                });
                ends
            })
            .collect();
        assert_eq!(gate.entered.recv().unwrap(), "junk");
        let known = start::<A>(&acceptor, "home", ALICE);
        eventually("it waits", || acceptor.counts().waiting == 9);
        gate.go.send(()).unwrap();
        assert_eq!(gate.entered.recv().unwrap(), "alice");
        (0..9).for_each(|_| gate.go.send(()).unwrap());
        known.0.join().unwrap().unwrap();
        drop(known.1.join().unwrap().unwrap());
        strangers.into_iter().for_each(|(client, server)| drop((client.join().unwrap(), server.join().unwrap())));
    }
}

/// Who is served first of two logins that wait, the first of which came first.
pub fn first_of_two<A: Adapter>(acceptor: &Acceptor, gate: &Gate, [one, other]: [&str; 2]) -> String {
    let held = start::<A>(acceptor, "holds the thread", ALICE);
    assert_eq!(gate.entered.recv().unwrap(), "alice");
    let waiting: Vec<_> = [one, other]
        .into_iter()
        .enumerate()
        .map(|(before, source)| {
            let ends = start::<A>(acceptor, source, junk(if source == one { "one" } else { "other" }));
            eventually("it waits", || acceptor.counts().waiting == before + 1);
            ends
        })
        .collect();
    (0..3).for_each(|_| gate.go.send(()).unwrap());
    let first = gate.entered.recv().unwrap();
    gate.entered.recv().unwrap();
    for (client, server) in waiting.into_iter().chain([held]) {
        drop((client.join().unwrap(), server.join().unwrap()));
    }
    eventually_empty(acceptor);
    first
}

/// Sends hellos that cost the server its RSA operation, and no login after them.
fn probe<A: Adapter>(acceptor: &Acceptor, source: &str) {
    for _ in 0..4 {
        let (client, server) = pair();
        let server = accepting::<A>(acceptor, server, Source::named(source));
        let mut peer = Peer::new(client);
        let challenged = peer.hello(&Scenario::new().known_key());
        drop((peer, challenged));
        assert!(server.join().unwrap().is_err());
    }
}

fn a_hello_that_is_opened_in_vain_counts_against_its_source<A: Adapter>() {
    // Alike, either of the two would be first half of the times.
    for _ in 0..12 {
        let (gate, verifier) = Gate::new();
        let acceptor = asking(verifier).with_bounds(one_at_a_time());
        probe::<A>(&acceptor, "prober");
        assert_eq!(first_of_two::<A>(&acceptor, &gate, ["prober", "good"]), "other", "the prober was not behind");
    }
}

fn a_hello_that_was_opened_and_has_to_make_way_counts_against_nobody<A: Adapter>() {
    const HOUR: Duration = Duration::from_secs(3600);
    // The first failure of a source would be its last.
    let acceptor = asking(verifier)
        .with_bounds(Bounds::default().with_handshakes_per_source(1))
        .with_penalties(Penalties::default().with_source(Waits::new(0, HOUR, HOUR)));
    let open = || {
        let (client, server) = pair();
        (Peer::new(client), accepting::<A>(&acceptor, server, Source::named("one")))
    };
    let (mut first, of_first) = open();
    first.hello(&Scenario::new().known_key());
    let (mut second, of_second) = open();
    assert_eq!(code(of_first.join().unwrap()), "made-way");
    second.hello(&Scenario::new());
    drop(second);
    drop(of_second.join().unwrap());
}

/// Where two may wait: a login whose hello was opened, then four hellos, while something else is done that `occupy` begins and `go`
/// lets end, and everything after it. The login is accepted, and three of the hellos are turned away.
pub fn a_begun_login_among_hellos<A: Adapter, T, R>(
    acceptor: &Acceptor,
    occupy: impl FnOnce() -> T,
    go: impl FnOnce(T) -> R,
) -> R {
    let known = Scenario::new().known_key();
    let begin = |source: &str| {
        let (client, server) = pair();
        let server = accepting::<A>(acceptor, server, Source::named(source));
        (Peer::new(client), server)
    };
    let (mut begun, of_begun) = begin("begun");
    let Challenged { challenge, state, .. } = begun.hello(&known);
    let occupied = occupy();
    begun.send(&known.clone().credential(ALICE).log_in(state, &challenge).unwrap().0);
    logins_are(acceptor, 2);
    let mut hellos = ["one", "two", "three", "four"].map(begin);
    hellos.iter_mut().for_each(|(peer, _)| peer.send(&known.await_challenge().0));
    eventually("three are told so", || hellos.iter().filter(|(peer, _)| peer.has_answer()).count() == 3);
    let gone = go(occupied);
    begun.receive(FrameType::ServerVerdict);
    drop(of_begun.join().unwrap().unwrap());
    let mut answers = hellos.map(|(mut peer, server)| {
        let mut answer = [0];
        peer.0.read_exact(&mut answer).unwrap();
        drop(peer);
        assert!(server.join().unwrap().is_err());
        answer[0]
    });
    answers.sort_unstable();
    let [challenge, busy] = [FrameType::ServerHello, FrameType::Busy].map(FrameType::byte);
    assert_eq!(answers, [challenge, busy, busy, busy]);
    gone
}

fn a_login_whose_hello_was_opened_does_not_make_way_for_hellos<A: Adapter>() {
    // At random it would be shed three times of five.
    for _ in 0..3 {
        let (gate, verifier) = Gate::new();
        let acceptor = asking(verifier).with_bounds(one_at_a_time().with_waiting(2));
        let occupy = || {
            let first = start::<A>(&acceptor, "first", ALICE);
            gate.entered.recv().unwrap();
            first
        };
        let (client, server) = a_begun_login_among_hellos::<A, _, _>(&acceptor, occupy, |first| {
            (0..2).for_each(|_| gate.go.send(()).unwrap());
            first
        });
        client.join().unwrap().unwrap();
        drop(server.join().unwrap().unwrap());
        eventually_empty(&acceptor);
    }
}

fn a_login_that_waits_for_too_long_is_closed_unopened<A: Adapter>() {
    let (gate, verifier) = Gate::new();
    let bounds = Bounds::default().with_working(1).with_patience(Duration::from_secs(2));
    let acceptor = asking(verifier).with_bounds(bounds);
    let first = start::<A>(&acceptor, "one", ALICE);
    gate.entered.recv().unwrap();
    let waiting: Vec<_> = (0..3).map(|_| start::<A>(&acceptor, "another", ALICE)).collect();
    for (client, server) in waiting {
        // No refusal that it can't open: that would look like an attack. Some may have come so late that they are told at once.
        let seen = code(client.join().unwrap());
        let reason = code(server.join().unwrap());
        assert!([("disconnected", "not-now"), ("busy", "pressed")].contains(&(seen, reason)), "{seen}, {reason}");
    }
    gate.go.send(()).unwrap();
    first.0.join().unwrap().unwrap();
    drop(first.1.join().unwrap().unwrap());
    assert_eq!(gate.asked(), 1);
    // Whoever comes now is served.
    gate.go.send(()).unwrap();
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    assert!(client.is_ok() && server.is_ok());
}

/// More come then than can be served: nothing is done for somebody who would wait in vain.
fn a_hello_is_turned_away_once_a_login_has_waited_for_half_of_what_it_may<A: Adapter>() {
    let (gate, verifier) = Gate::new();
    let acceptor = asking(verifier).with_bounds(one_at_a_time().with_patience(Duration::from_secs(8)));
    let first = start::<A>(&acceptor, "one", ALICE);
    gate.entered.recv().unwrap();
    let second = start::<A>(&acceptor, "another", ALICE);
    logins_are(&acceptor, 2);
    eventually("it is told so", || {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named("new"));
        let (mut peer, mut answer) = (Peer::new(client), [0]);
        peer.send(&Scenario::new().await_challenge().0);
        peer.0.read_exact(&mut answer).unwrap();
        drop(peer);
        answer[0] == FrameType::Busy.byte() && code(server.join().unwrap()) == "pressed"
    });
    (0..2).for_each(|_| gate.go.send(()).unwrap());
    first.0.join().unwrap().unwrap();
    drop(first.1.join().unwrap().unwrap());
    drop((second.0.join(), second.1.join()));
    eventually_empty(&acceptor);
}

fn one_login_after_the_other_is_never_too_many<A: Adapter>() {
    let acceptor = asking(verifier).with_bounds(one_at_a_time().with_waiting(0));
    for _ in 0..20 {
        let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
        client.unwrap();
        server.unwrap();
    }
}

fn refusals_that_wait_are_bounded_by_source<A: Adapter>() {
    // Two of each source; none is due before the test is over.
    let config = config().with_refusal_floor(Duration::from_secs(3600));
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), verifier);
    let acceptor = acceptor.with_bounds(Bounds::default().with_refusals(8));
    let refuse = |source: &str| {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named(source));
        let mut peer = Peer::new(client);
        peer.login(&Scenario::new(), junk("bob"));
        (peer, server)
    };
    let mut held = Vec::new();
    for count in 1..=2 {
        held.push(refuse("one"));
        eventually("it waits", || acceptor.counts().refusals == count);
    }
    // The third is closed where its login arrives: before anybody knows whether it is good.
    let (mut third, server) = refuse("one");
    assert_eq!(code(server.join().unwrap()), "no-room");
    assert_eq!(third.rest(), b"");
    // Before its RSA operation, and told that it may come again, where its hello has something for the key to open.
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Source::named("one"));
    let mut sealed = Peer::new(client);
    sealed.send(&Scenario::new().known_key().await_challenge().0);
    sealed.receive(FrameType::Busy);
    drop(sealed);
    assert_eq!(code(server.join().unwrap()), "no-room");
    held.push(refuse("another"));
    eventually("another source has places of its own", || acceptor.counts().refusals == 3);
    let (client, server) = start::<A>(&acceptor, "a third", ALICE);
    assert!(client.join().unwrap().is_ok() && server.join().unwrap().is_ok());
}

fn sessions_are_bounded_for_those_who_come_back_by_ticket_too<A: Adapter>() {
    for bounds in [
        Bounds::default().with_sessions(2).with_sessions_per_source(9).with_sessions_per_principal(9),
        Bounds::default().with_sessions_per_source(2),
        Bounds::default().with_sessions_per_principal(2),
    ] {
        let returns = Arc::new(Returns::default());
        let keys = TicketKeys::new(provider(), Duration::from_secs(3600)).with_unlimited_reuse();
        let config = config().with_tickets(keys);
        let acceptor = Acceptor::new(config, RSA2048.server.clone(), Arc::clone(&returns))
            .with_bounds(bounds)
            .with_recheck(Recheck::never());
        let resume = |ticket| {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Source::named("one"));
            let client = A::resume(&connector(), client, ticket, ALICE);
            (client, server.join().unwrap())
        };
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named("one"));
        let client = A::connect(&connector(), client, ALICE).unwrap();
        let (ticket, first) = (client.info().ticket().unwrap().clone(), server.join().unwrap().unwrap());
        let (client, second) = resume(&ticket);
        assert!(client.unwrap().info().is_resumed());
        let second = second.unwrap();
        assert_eq!(acceptor.counts().sessions, 2);
        // The third would be one too many, and its credential does not help either.
        let (client, third) = resume(&ticket);
        assert!(client.is_err());
        assert_eq!(refused(third.map(drop).unwrap_err()).1.code(), "not-admitted");
        assert_eq!(acceptor.counts().sessions, 2);
        drop(second);
        let (client, again) = resume(&ticket);
        assert!(client.unwrap().info().is_resumed() && again.is_ok());
        drop((first, again));
        eventually_empty(&acceptor);
    }
}

#[cfg(feature = "accounts")]
mod with_accounts {
    use super::*;
    use crate::ends::{Blocking, bounded};
    use countersign::Attempt;
    use std::sync::atomic::AtomicUsize;

    /// The real thing: junk passwords against Argon2id, and as many hashes at once as there may be, whatever comes.
    #[test]
    fn two_hundred_junk_passwords_at_once_are_hashed_two_at_a_time() {
        bounded(|| {
            let mut accounts = countersign::Accounts::new();
            accounts.add("alice", ["read"]).unwrap();
            accounts.edit("alice", |account| account.set_password(b"password")).unwrap();
            let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (now, peak) = (Arc::clone(&inside), Arc::clone(&most));
            let counted = move |attempt: &Attempt<'_>| {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let verdict = accounts.check(attempt.credential());
                now.fetch_sub(1, Ordering::SeqCst);
                verdict
            };
            let bounds = Bounds::default().with_working(2).with_handshakes(300);
            let acceptor =
                asking(counted).with_bounds(bounds.with_patience(Duration::from_secs(3600))).without_penalties();
            let attempts: Vec<_> = (0..200)
                .map(|number: u32| {
                    let (client, server) = pair();
                    let source = Source::named(&format!("source {}", number % 20));
                    let server = accepting::<Blocking>(&acceptor, server, source);
                    let user = if number.is_multiple_of(2) { "alice" } else { "nobody" };
                    let mut peer = Peer::new(client);
                    // All are sent before any is answered, for the most part.
                    peer.login(&Scenario::new(), junk(user));
                    (peer, server)
                })
                .collect();
            for (mut peer, server) in attempts {
                let verdict = peer.rest();
                assert_eq!(verdict.len(), crate::peer::VERDICT);
                drop(peer);
                let reason = refused(server.join().unwrap().map(drop).unwrap_err()).1;
                assert!(["wrong-password", "unknown-user"].contains(&reason.code()), "{reason:?}");
            }
            let most = most.load(Ordering::SeqCst);
            assert!((1..=2).contains(&most), "{most} at once");
            assert_eq!(inside.load(Ordering::SeqCst), 0);
            eventually_empty(&acceptor);
            let (client, server) = login::<Blocking>(&acceptor, &connector(), ALICE);
            assert!(client.is_ok() && server.is_ok());
        });
    }
}

fn bounds_that_change_while_it_serves_keep_count_of_the_sessions_that_are_there<A: Adapter>() {
    let acceptor = asking(verifier).with_bounds(Bounds::default().with_sessions_per_principal(1));
    let clone = acceptor.clone();
    let (first, of_first) = login::<A>(&acceptor, &connector(), ALICE);
    let (first, of_first) = (first.unwrap(), of_first.unwrap());
    let full = || code(login::<A>(&acceptor, &connector(), ALICE).1);
    assert_eq!(full(), "not-admitted");
    clone.set_bounds(Bounds::default().with_sessions_per_principal(2));
    let (second, of_second) = login::<A>(&acceptor, &connector(), ALICE);
    let (second, of_second) = (second.unwrap(), of_second.unwrap());
    assert_eq!((acceptor.counts().sessions, full()), (2, "not-admitted"));
    // Nobody is cut by a lower bound, and nobody comes past it.
    acceptor.set_bounds(Bounds::default().with_sessions(1).with_sessions_per_principal(1));
    drop((first, of_first));
    assert_eq!(code(login::<A>(&acceptor, &connector(), ALICE).1), "not-admitted");
    drop((second, of_second));
    eventually_empty(&acceptor);
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    assert!(client.is_ok() && server.is_ok());
}
