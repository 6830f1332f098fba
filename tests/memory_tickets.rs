//! Tickets that a client keeps in memory: whose they are, and how many.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::{MemoryTickets, Server, ServerConfig, Ticket, TicketCache, TicketKeys, UnixTime};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use support::{ALICE, OTHER2048, RSA2048, Scenario, TODAY, TestRng, VERDICT_AT, at, grant, provider};

/// What the documentation says that there is room for.
const ROOM: u64 = 1024;

/// A ticket that expires then. Which is all that is told apart here.
fn ticket(expires: u64) -> Ticket {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let keys = Arc::new(TicketKeys::new(provider(), Duration::from_secs(60)));
        let config = ServerConfig::new(provider()).with_tickets(keys);
        let scenario = Scenario::new().server_config_of(config);
        let sent = scenario.await_verdict();
        let claim = scenario.open(sent.server, &sent.login).unwrap();
        assert_eq!(claim.credential().user(), ALICE.user());
        let (grant, now) = (grant().with_epoch(1), UnixTime::from_secs(0));
        let accepted = claim.accept_with_ticket(grant, now, &mut TestRng::new("ticket")).unwrap();
        let session = sent.client.read(&accepted.frame, at(VERDICT_AT), TODAY).unwrap();
        session.info.ticket().unwrap().to_bytes().unwrap().to_vec()
    });
    let mut bytes = BYTES.clone();
    // After the version, the suite, the key id, no name, alice, and when she showed a credential: received at the beginning of
    // time, and good for so long from then.
    let received = 1 + 2 + 32 + 2 + 2 + "alice".len() + 8;
    bytes[received..received + 8].fill(0);
    bytes[received + 8..received + 16].copy_from_slice(&expires.to_be_bytes());
    let ticket = Ticket::from_bytes(&bytes).unwrap();
    assert_eq!(ticket.expires(), UnixTime::from_secs(expires));
    ticket
}

fn taken(tickets: &MemoryTickets, server: &Server, user: &str) -> Option<u64> {
    tickets.take(server, user).map(|ticket| ticket.expires().as_secs())
}

#[test]
fn a_ticket_is_taken_once_and_the_newest_counts() {
    let (tickets, server) = (MemoryTickets::new(), RSA2048.trust());
    assert_eq!(taken(&tickets, &server, "alice"), None);
    tickets.put(&server, "alice", &ticket(2));
    tickets.put(&server, "alice", &ticket(1));
    assert_eq!(taken(&tickets, &server, "alice"), Some(1), "the newest, whenever it expires");
    assert_eq!(taken(&tickets, &server, "alice"), None, "good for one login");
}

#[test]
fn each_user_of_each_server_has_a_ticket_of_their_own() {
    let tickets = MemoryTickets::new();
    let named = |name: &str| RSA2048.trust().with_name(name).unwrap();
    let whose = [
        (RSA2048.trust(), "alice"),
        (RSA2048.trust(), "bob"),
        (OTHER2048.trust(), "alice"),
        (named("db.example"), "alice"),
        (named("mail.example"), "alice"),
    ];
    for (number, (server, user)) in (1..).zip(&whose) {
        tickets.put(server, user, &ticket(number));
    }
    // The key whole is the key pinned, and a pin for later changes nothing.
    let whole = Server::key(RSA2048.private.public_key().clone());
    let moving = RSA2048.trust().or(OTHER2048.trust());
    assert_eq!([taken(&tickets, &whole, "alice"), taken(&tickets, &moving, "bob")], [Some(1), Some(2)]);
    for (number, (server, user)) in (1..).zip(&whose).skip(2) {
        assert_eq!(taken(&tickets, server, user), Some(number));
    }
}

#[test]
fn past_the_room_that_there_is_those_go_that_expire_first() {
    let (tickets, server) = (MemoryTickets::new(), RSA2048.trust());
    let user = |number: u64| format!("user-{number}");
    // Ten more than there is room for; the order in which they come is not that in which they expire.
    let expiry = |number: u64| 1 + number * 7 % (ROOM + 10);
    for number in 0..ROOM + 10 {
        tickets.put(&server, &user(number), &ticket(expiry(number)));
    }
    let kept: Vec<u64> = (0..ROOM + 10).filter_map(|number| taken(&tickets, &server, &user(number))).collect();
    assert_eq!(u64::try_from(kept.len()).unwrap(), ROOM);
    // Each time the one that expired first of those that there were.
    let latest = 1 + ROOM + 9;
    assert!(kept.contains(&latest) && !kept.contains(&1));
    let lost: Vec<u64> = (1..=latest).filter(|expires| !kept.contains(expires)).collect();
    assert_eq!(lost, (1..=10).collect::<Vec<_>>());
}

#[test]
fn whoever_comes_back_takes_no_more_room() {
    let (tickets, server) = (MemoryTickets::new(), RSA2048.trust());
    for number in 0..ROOM {
        tickets.put(&server, &format!("user-{number}"), &ticket(10 + number));
    }
    for _ in 0..10 {
        tickets.put(&server, "user-5", &ticket(5));
    }
    let kept = (0..ROOM).filter(|number| taken(&tickets, &server, &format!("user-{number}")).is_some()).count();
    assert_eq!(u64::try_from(kept).unwrap(), ROOM);
}

#[test]
fn connectors_that_share_a_memory_have_one_ticket_of_each_user() {
    let (tickets, server) = (Arc::new(MemoryTickets::new()), RSA2048.trust());
    let cache = || -> Box<dyn TicketCache> { Box::new(Arc::clone(&tickets)) };
    cache().put(&server, "alice", &ticket(1));
    assert_eq!(cache().take(&server, "alice").map(|ticket| ticket.expires().as_secs()), Some(1));
    assert_eq!(taken(&tickets, &server, "alice"), None);
}

#[test]
fn a_ticket_cache_prints_nothing() {
    let tickets = MemoryTickets::new();
    tickets.put(&RSA2048.trust(), "alice", &ticket(1));
    assert_eq!(format!("{tickets:?}"), "MemoryTickets { .. }");
}
