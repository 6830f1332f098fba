//! Connections that come to nothing: each is a quarter of a failure of its source, here and for all servers that share their counts.

use crate::bounds::first_of_two;
use crate::ends::{
    Adapter, Session, accepting, asking, client_config, config, connector, disconnected, eventually, pair,
};
use crate::logins::{Returns, hello_with, ticket};
use crate::peer::Peer;
use crate::penalties::{Shared, gets_in, penalties, why};
use crate::places::{Gate, logins_are, one_at_a_time};
use crate::support::wire::{ClientHello, edit};
use crate::support::{ALICE, RSA2048, Scenario, frame, provider};
use countersign::frame::FrameType;
use countersign::{
    Acceptor, Connector, Context, Error, LoginError, Penalty, PenaltyKey, Reason, Server, ServerConfig, Source,
    TicketKeys, WhenAway,
};
use std::time::Duration;

for_every_adapter!(
    connections_that_come_to_nothing_count_by_a_quarter,
    silence_counts_by_a_quarter_once_its_time_is_over,
    good_resumptions_count_for_nothing_also_with_a_proof,
    a_hello_that_is_opened_in_vain_is_told_to_others,
    a_login_that_leaves_the_queue_pays_for_what_was_opened_for_it,
);

/// A server that takes a ticket as often as it is shown, and what it tells others.
fn acceptor(config: ServerConfig) -> (Acceptor, Shared) {
    let store = Shared::default();
    let keys = TicketKeys::new(provider(), Duration::from_secs(3600)).with_unlimited_reuse();
    let acceptor = Acceptor::new(config.with_tickets(keys), RSA2048.server.clone(), Returns::default());
    (acceptor.with_penalties(penalties().with_store(store.clone(), WhenAway::GoOn)), store)
}

/// A connection from this source, on which a peer does this and leaves: what the server says of it.
fn visit<A: Adapter>(acceptor: &Acceptor, source: &str, does: impl FnOnce(&mut Peer)) -> LoginError {
    let (client, server) = pair();
    let server = accepting::<A>(acceptor, server, Source::named(source));
    let mut peer = Peer::new(client);
    does(&mut peer);
    peer.end_sending();
    drop(peer);
    server.join().unwrap().map(drop).unwrap_err()
}

fn flat() -> PenaltyKey {
    PenaltyKey::Source(Source::named("flat"))
}

fn hello() -> Vec<u8> {
    Scenario::new().await_challenge().0
}

/// What a peer does that may have a hello with a ticket from this.
type Does = fn(&mut Peer, &[u8]);

/// What the server says of it.
type Says = fn(&LoginError) -> bool;

fn connections_that_come_to_nothing_count_by_a_quarter<A: Adapter>() {
    use Error::{Decode, Frame, NotConfirmed, Violation};
    use LoginError::{Disconnected, Io, Protocol};
    let kinds: [(&str, Does, Says, f64); 8] = [
        (
            "another protocol",
            |peer, _| peer.send(b"GET / HTTP/1.1\r\n\r\n"),
            |error| matches!(error, Protocol(Frame(_))),
            1.0,
        ),
        (
            "no hello in a hello's frame",
            |peer, _| peer.send(&frame(FrameType::ClientHello.byte(), &[&hello()[3..], &[0]].concat())),
            |error| matches!(error, Protocol(Decode(_))),
            1.0,
        ),
        (
            "a hello that has no version of ours",
            |peer, _| peer.send(&edit(&hello(), |hello: &mut ClientHello| hello.versions = vec![2])),
            |error| matches!(error, Protocol(Violation(_))),
            1.0,
        ),
        (
            "a hello that was recorded",
            |peer, by_ticket| {
                peer.send(by_ticket);
                peer.receive(FrameType::ServerResumption);
                peer.send(&frame(FrameType::Confirm.byte(), &[7; 16]));
            },
            |error| matches!(error, Protocol(NotConfirmed)),
            1.0,
        ),
        (
            "no login after the challenge",
            |peer, _| drop(peer.hello(&Scenario::new())),
            |error| matches!(error, Disconnected { awaited: FrameType::ClientLogin }),
            1.0,
        ),
        (
            "a reset after the challenge",
            |peer, _| {
                peer.send(&hello());
                // What is there, and is not read, makes a reset of its end.
                let stream = std::mem::replace(&mut peer.0, pair().0);
                stream.peek(&mut [0]).unwrap();
            },
            |error| matches!(error, Io(_)),
            1.0,
        ),
        // Whoever looks whether anybody listens, and whoever is cut off.
        ("nothing", |_, _| (), |error| matches!(error, Disconnected { awaited: FrameType::ClientHello }), 0.0),
        (
            "half a hello",
            |peer, _| peer.send(&hello()[..50]),
            |error| matches!(error, Disconnected { awaited: FrameType::ClientHello }),
            0.0,
        ),
    ];
    let expected = kinds.map(|(what, .., level)| (what, level));
    let levels = kinds.map(|(what, does, says, _)| {
        let (acceptor, store) = acceptor(config());
        let by_ticket = hello_with(ticket::<A>(&acceptor));
        for _ in 0..4 {
            let error = visit::<A>(&acceptor, "flat", |peer| does(peer, &by_ticket));
            assert!(says(&error), "{what}: {error:?}");
        }
        // With whatever comes next, others are told.
        gets_in::<A>(&acceptor, "home", ALICE);
        (what, store.level(&flat()))
    });
    assert_eq!(levels, expected);
    // Eight failures cost nothing, and one connection more is too many.
    let (acceptor, _) = acceptor(config());
    for _ in 0..33 {
        visit::<A>(&acceptor, "flat", |peer| drop(peer.hello(&Scenario::new())));
    }
    assert_eq!(why::<A>(&acceptor, "flat", ALICE), Reason::Penalty(Penalty::Source));
    (0..100).for_each(|_| drop(visit::<A>(&acceptor, "balancer", |_| ())));
    gets_in::<A>(&acceptor, "balancer", ALICE);
}

fn good_resumptions_count_for_nothing_also_with_a_proof<A: Adapter>() {
    let (acceptor, store) = acceptor(config());
    let ticket = ticket::<A>(&acceptor);
    let known = Server::key(RSA2048.private.public_key().clone());
    let connector = Connector::new(client_config().with_proof_at_resumption(), known);
    for _ in 0..10 {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named("office"));
        let client = A::resume(&connector, client, &ticket, ALICE).unwrap();
        assert!(client.info().is_resumed() && server.join().unwrap().is_ok());
    }
    gets_in::<A>(&acceptor, "home", ALICE);
    let office = PenaltyKey::Source(Source::named("office"));
    assert_eq!(store.level(&office), 0.0);
}

fn silence_counts_by_a_quarter_once_its_time_is_over<A: Adapter>() {
    let (acceptor, store) = acceptor(config().with_handshake_timeout(Duration::from_millis(50)));
    let mut count = 0;
    // Nothing else comes, so others are told once a second.
    eventually("others are told", || {
        let (_silent, server) = pair();
        let error = A::accept(&acceptor, server, Source::named("flat").into()).map(drop).unwrap_err();
        assert!(matches!(error, LoginError::Protocol(Error::DeadlinePassed)), "{error:?}");
        count += 1;
        store.level(&flat()) > 0.0
    });
    assert_eq!(store.level(&flat()), f64::from(count) * 0.25);
}

fn a_hello_that_is_opened_in_vain_is_told_to_others<A: Adapter>() {
    let (acceptor, store) = acceptor(config());
    for _ in 0..3 {
        visit::<A>(&acceptor, "flat", |peer| drop(peer.hello(&Scenario::new().known_key())));
    }
    gets_in::<A>(&acceptor, "home", ALICE);
    // Each is a failure, and by a quarter a connection that ended after the ServerHello.
    assert_eq!(store.level(&flat()), 3.75);
}

/// Where one login is computed at a time, and takes its time: others wait for their turn, and leave, or say something.
fn a_login_that_leaves_the_queue_pays_for_what_was_opened_for_it<A: Adapter>() {
    // Alike, either of two sources would be first half of the times.
    let opened = (0..6).map(|_| (Scenario::new().known_key(), true));
    for (scenario, is_opened) in opened.chain([(Scenario::new(), false)]) {
        let ((gate, verifier), store) = (Gate::new(), Shared::default());
        let acceptor = asking(verifier)
            .with_bounds(one_at_a_time())
            .with_penalties(penalties().with_store(store.clone(), WhenAway::GoOn));
        // Their hellos are opened while there is nothing else to do.
        let greeted: Vec<_> = (0..3)
            .map(|_| {
                let (client, server) = pair();
                let server = accepting::<A>(&acceptor, server, Source::named("flat"));
                let mut peer = Peer::new(client);
                let challenged = peer.hello(&scenario);
                (peer, challenged, server)
            })
            .collect();
        let (client, server) = pair();
        let first = accepting::<A>(&acceptor, server, Context::uncounted());
        let logging_in = std::thread::spawn(move || A::connect(&connector(), client, ALICE).map(drop));
        gate.entered.recv().unwrap();
        for (number, (mut peer, challenged, server)) in greeted.into_iter().enumerate() {
            let logging_in = scenario.clone().credential(ALICE).log_in(challenged.state, &challenged.challenge);
            peer.send(&logging_in.unwrap().0);
            logins_are(&acceptor, 2);
            if number == 0 {
                peer.send(b"x");
            } else {
                peer.end_sending();
            }
            assert_eq!(disconnected(server.join().unwrap().map(drop).unwrap_err()), FrameType::Data);
        }
        gate.go.send(()).unwrap();
        logging_in.join().unwrap().unwrap();
        // With the first one's login others are told.
        drop(first.join().unwrap().unwrap());
        let each = if is_opened { 1.0 } else { 0.25 };
        assert_eq!((store.level(&flat()), gate.asked()), (3.0 * each, 1));
        if is_opened {
            // So that a login waits for one turn, and not for one more once others were asked.
            acceptor.set_penalties(Some(penalties()));
            assert_eq!(first_of_two::<A>(&acceptor, &gate, ["flat", "good"]), "other", "whoever left was not behind");
        }
    }
}
