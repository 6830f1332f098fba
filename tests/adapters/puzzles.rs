//! Puzzles: a login pays before the server does, whichever way it goes; and nobody else notices.

use crate::elsewhere::{Elsewhere, remote};
use crate::ends::{
    Adapter, accepting, asking, client_config, config, connector, eventually, failed, login, pair, protocol,
};
use crate::logins::{Returns, with_tickets};
use crate::peer::Peer;
use crate::places::{Gate, one_at_a_time};
use crate::support::{ALICE, Counting, RSA2048, Scenario, frame, verifier};
use countersign::frame::FrameType;
use countersign::{
    Acceptor, Bounds, Connector, Credential, Error, LoginError, MemoryTickets, Penalties, PuzzleDifficulty, Puzzles,
    Recheck, Server, ServerKey, Source, WhenAway,
};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

for_every_adapter!(
    a_login_solves_what_it_is_asked_and_goes_on_with_a_proof_and_without,
    a_client_that_solves_no_puzzles_is_told_that_the_server_is_busy,
    nothing_costly_is_done_for_whoever_solves_nothing_or_solves_it_wrong,
    who_comes_back_by_ticket_is_not_asked,
    who_comes_from_where_somebody_has_logged_in_is_not_asked_until_a_login_is_refused,
    ends_that_differ_find_out_after_the_puzzle,
    puzzles_begin_when_somebody_has_waited_and_end,
    puzzles_begin_when_somebody_has_waited_for_a_key_that_is_elsewhere,
    a_server_that_leaves_while_its_puzzle_is_solved_is_noticed,
    a_puzzle_that_takes_longer_than_a_handshake_may_is_given_up,
    who_comes_back_by_a_ticket_that_is_not_taken_solves_what_it_is_asked,
);

fn bits(bits: u8) -> PuzzleDifficulty {
    PuzzleDifficulty::new(bits).unwrap()
}

/// Asks everybody for so much that whoever solves it looks some times whether it is still wanted.
fn always() -> Puzzles {
    Puzzles::default().with_first(bits(10)).with_most(bits(10)).with_wait(Duration::ZERO)
}

/// Asked, solved, failed.
fn puzzles(acceptor: &Acceptor) -> (u64, u64, u64) {
    let counts = acceptor.counts();
    (counts.puzzles_asked, counts.puzzles_solved, counts.puzzles_failed)
}

fn knows_key() -> Connector {
    Connector::new(client_config(), Server::key(RSA2048.private.public_key().clone()))
}

fn code<T>(result: Result<T, LoginError>) -> &'static str {
    result.map(drop).unwrap_err().code()
}

fn a_login_solves_what_it_is_asked_and_goes_on_with_a_proof_and_without<A: Adapter>() {
    let acceptor = asking(verifier).with_puzzles(always());
    assert_eq!(acceptor.counts().puzzle_bits, 0);
    for (number, connector) in [connector(), knows_key()].into_iter().enumerate() {
        let (client, server) = login::<A>(&acceptor, &connector, ALICE);
        assert!(client.is_ok() && server.is_ok());
        let number = u64::try_from(number).unwrap() + 1;
        assert_eq!((puzzles(&acceptor), acceptor.counts().puzzle_bits), ((number, number, 0), 10));
    }
    // Without, nobody is.
    let acceptor = asking(verifier);
    assert!(login::<A>(&acceptor, &knows_key(), ALICE).0.is_ok());
    assert_eq!((puzzles(&acceptor), acceptor.counts().puzzle_bits), ((0, 0, 0), 0));
}

fn a_client_that_solves_no_puzzles_is_told_that_the_server_is_busy<A: Adapter>() {
    let acceptor = asking(verifier).with_puzzles(always());
    for config in [client_config().without_puzzles(), client_config().with_puzzles(bits(3))] {
        let (client, server) = failed::<A>(&acceptor, &Connector::new(config, RSA2048.trust()), ALICE);
        assert!(matches!(protocol(client), Error::Busy { retry_after: 2..=4 }));
        assert_eq!(server.code(), "unsolved");
    }
    assert_eq!(puzzles(&acceptor), (2, 0, 0));
    assert_eq!(acceptor.totals().iter().find(|(_, code, _)| *code == "unsolved").unwrap().2, 2);
}

fn nothing_costly_is_done_for_whoever_solves_nothing_or_solves_it_wrong<A: Adapter>() {
    let counting = Arc::new(Counting::with(&RSA2048));
    let key = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), Arc::clone(&counting) as _);
    let store = crate::penalties::Shared::default();
    let shared = Penalties::default().with_store(store.clone(), WhenAway::GoOn);
    let acceptor = Acceptor::new(config(), key, verifier).with_puzzles(always()).with_penalties(shared);
    let visit = |answer: Option<Vec<u8>>| {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named("junk"));
        let mut peer = Peer::new(client);
        let (hello, _) = Scenario::new().known_key().await_challenge();
        peer.send(&hello);
        peer.receive(FrameType::Busy);
        answer.into_iter().for_each(|frame| peer.send(&frame));
        peer.end_sending();
        // It is told no more.
        assert!(peer.rest().is_empty());
        code(server.join().unwrap())
    };
    assert_eq!(visit(None), "unsolved");
    assert_eq!(visit(Some(frame(12, &[7; 128]))), "wrong-solution");
    assert_eq!(visit(Some(frame(3, &[0; 400]))), "unexpected-frame");
    assert_eq!((puzzles(&acceptor), counting.count()), ((3, 0, 1), 0));
    assert_eq!(store.reads(), 0, "nor is anybody else asked");
}

fn who_comes_back_by_ticket_is_not_asked<A: Adapter>() {
    let returns = Arc::new(Returns::default());
    let acceptor = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), returns)
        .with_recheck(Recheck::never())
        .with_puzzles(always());
    let connector = connector().with_tickets(MemoryTickets::new());
    for resumed in [false, true, true] {
        let (client, _) = login::<A>(&acceptor, &connector, ALICE);
        assert_eq!(crate::ends::Session::info(&client.unwrap()).is_resumed(), resumed);
    }
    assert_eq!(puzzles(&acceptor), (1, 1, 0));
}

fn who_comes_from_where_somebody_has_logged_in_is_not_asked_until_a_login_is_refused<A: Adapter>() {
    let exempt = Penalties::default().with_exempt(Source::named("gateway"));
    let acceptor = asking(verifier).with_puzzles(always()).with_penalties(exempt);
    let visit = |source: &str, password: &'static [u8]| {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named(source));
        let _ = A::connect(&connector(), client, Credential::Password { user: "alice", password });
        let _ = server.join().unwrap();
        acceptor.counts().puzzles_asked
    };
    let Credential::Password { password: right, .. } = ALICE else { panic!("alice has a password") };
    assert_eq!(visit("home", right), 1);
    assert_eq!(visit("home", right), 1);
    assert_eq!(visit("elsewhere", right), 2);
    assert_eq!(visit("home", b"wrong"), 2);
    assert_eq!(visit("home", right), 3);
    // An exempt source is as one where somebody has.
    assert_eq!(visit("gateway", right), 3);
}

fn ends_that_differ_find_out_after_the_puzzle<A: Adapter>() {
    let acceptor = asking(verifier).with_puzzles(always());
    let config = client_config().with_prologue(b"another").unwrap();
    let (client, server) = failed::<A>(&acceptor, &Connector::new(config, RSA2048.trust()), ALICE);
    assert_eq!([client.code(), server.code()], ["different-context"; 2]);
    assert_eq!(puzzles(&acceptor), (1, 1, 0));
}

/// Asks as soon as somebody has waited.
fn soon() -> Puzzles {
    Puzzles::default().with_first(bits(2)).with_most(bits(2)).with_wait(Duration::from_millis(1))
}

/// A first login has its turn, as this says when it returns, and a second waits behind it: more come until one of them is asked. All that are there
/// are let go then, and get in.
fn come_until_somebody_is_asked<A: Adapter>(
    acceptor: &Acceptor,
    has_its_turn: impl FnOnce(),
    let_go: impl FnOnce(usize),
) {
    let start = |source: &str| {
        let (client, server) = pair();
        let server = accepting::<A>(acceptor, server, Source::named(source));
        (std::thread::spawn(move || A::connect(&connector(), client, ALICE).map(drop)), server)
    };
    let first = start("one");
    has_its_turn();
    // It waits for the first; nobody was asked so far.
    let second = start("two");
    eventually("both are here", || acceptor.counts().logins == 2);
    assert_eq!(acceptor.counts().puzzles_asked, 0);
    // Whoever comes now finds one that waits, sooner or later.
    let mut others = Vec::new();
    eventually("somebody is asked", || {
        others.push(start(&format!("another {}", others.len())));
        let count = 2 + others.len();
        eventually("it is here", || acceptor.counts().logins == count);
        acceptor.counts().puzzles_solved > 0
    });
    assert_eq!(acceptor.counts().puzzle_bits, 2);
    let_go(2 + others.len());
    for (client, server) in [first, second].into_iter().chain(others) {
        client.join().unwrap().unwrap();
        drop(server.join().unwrap().unwrap());
    }
}

fn puzzles_begin_when_somebody_has_waited_and_end<A: Adapter>() {
    let (gate, verifier) = Gate::new();
    let bounds = one_at_a_time().with_patience(Duration::from_secs(60));
    let acceptor = asking(verifier).with_bounds(bounds).with_puzzles(soon());
    let has_its_turn = || drop(gate.entered.recv().unwrap());
    come_until_somebody_is_asked::<A>(&acceptor, has_its_turn, |count| {
        (0..count).for_each(|_| gate.go.send(()).unwrap());
    });
}

fn puzzles_begin_when_somebody_has_waited_for_a_key_that_is_elsewhere<A: Adapter>() {
    let (elsewhere, asked) = Elsewhere::new();
    let bounds = Bounds::default().with_remote(1).with_patience(Duration::from_secs(60));
    let acceptor = Acceptor::new(config(), remote(&elsewhere), verifier).with_bounds(bounds).with_puzzles(soon());
    let first = Cell::new(None);
    come_until_somebody_is_asked::<A>(
        &acceptor,
        || first.set(Some(asked.recv().unwrap())),
        |count| {
            first.take().unwrap().send(()).unwrap();
            (1..count).for_each(|_| asked.recv().unwrap().send(()).unwrap());
        },
    );
}

fn a_server_that_leaves_while_its_puzzle_is_solved_is_noticed<A: Adapter>() {
    let (client, server) = pair();
    let config = client_config().with_puzzles(bits(24));
    let connecting = std::thread::spawn(move || {
        A::connect(&Connector::new(config, RSA2048.trust()), client, ALICE).map(drop).unwrap_err()
    });
    let mut peer = Peer::new(server);
    peer.receive(FrameType::ClientHello);
    peer.send(&frame(9, &[&[0, 9, 1, 0, 3, 0, 33, 24][..], &[7; 32]].concat()));
    drop(peer);
    // Whether it is noticed while it solves, or when the solution is sent: it does not take the server's word for anything.
    assert!(["disconnected", "io"].contains(&connecting.join().unwrap().code()));
}

fn a_puzzle_that_takes_longer_than_a_handshake_may_is_given_up<A: Adapter>() {
    let hardest = always().with_first(bits(24)).with_most(bits(24));
    let acceptor = asking(verifier).with_puzzles(hardest);
    let config = client_config().with_puzzles(bits(24)).with_handshake_timeout(Duration::from_millis(500));
    let (client, _) = failed::<A>(&acceptor, &Connector::new(config, RSA2048.trust()), ALICE);
    assert_eq!(protocol(client), Error::DeadlinePassed);
    assert_eq!(acceptor.counts().puzzles_solved, 0);
}

fn who_comes_back_by_a_ticket_that_is_not_taken_solves_what_it_is_asked<A: Adapter>() {
    let acceptor = |returns| {
        Acceptor::new(with_tickets(config()), RSA2048.server.clone(), returns)
            .with_recheck(Recheck::never())
            .with_puzzles(always())
    };
    let connector = connector().with_tickets(MemoryTickets::new());
    // A server that has been started anew, and has kept no ticket keys.
    for acceptor in [acceptor(Arc::new(Returns::default())), acceptor(Arc::new(Returns::default()))] {
        let (client, server) = login::<A>(&acceptor, &connector, ALICE);
        assert!(!crate::ends::Session::info(&client.unwrap()).is_resumed());
        drop(server.unwrap());
        assert_eq!(puzzles(&acceptor), (1, 1, 0));
    }
}
