//! What servers keep of tickets: the memory of used ones, as its bounds make it forget, and keys that are kept in one place for several; and how
//! what is kept is laid out, which the next release reads.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects, missing_docs)]

mod support;

use countersign::{
    AlreadyUsed, ChannelBinding, KeyId, Suite, Ticket, TicketKeys, TicketMemory, TicketUse, UnixTime, UsedTickets,
    client, limits,
};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use support::{Scenario, TODAY, TestRng, VERDICT_AT, at, grant, provider};

/// Uses the ticket at the start of a chain.
fn begin(memory: &UsedTickets, principal: &str, chain: u8, began: u64, until: u64) -> Result<(), AlreadyUsed> {
    let (authenticated, until) = (UnixTime::from_secs(began), UnixTime::from_secs(until));
    let ticket = TicketUse { principal: principal.to_owned(), chain: [chain; 16], number: 1, authenticated, until };
    let mut using = memory.use_once(&ticket);
    match using.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(used) => used,
        Poll::Pending => panic!("this memory answers at once"),
    }
}

/// Others: at twice as many principals as were there before, and 64 at the least, those of whom nothing is left to remember are let go.
fn crowd(memory: &UsedTickets, at: u64, many: u8) {
    for number in 0..many {
        begin(memory, &format!("{number} of {at}"), number, at, at + 1).unwrap();
    }
}

#[test]
fn k6_whose_chains_are_alive_is_not_forgotten_in_a_crowd() {
    let memory = UsedTickets::new(10_000).with_chains_per_principal(1);
    begin(&memory, "alice", 200, 10, 1000).unwrap();
    crowd(&memory, 10, 100);
    // She is still known, and with her that she has as many chains as there is room for: the older one goes.
    begin(&memory, "alice", 201, 20, 1000).unwrap();
    assert_eq!(begin(&memory, "alice", 200, 10, 1000), Err(AlreadyUsed::Forgotten));
}

#[test]
fn k6_what_was_forgotten_is_refused_until_its_chain_would_have_ended_and_then_let_go() {
    let memory = UsedTickets::new(10_000).with_chains_per_principal(1);
    begin(&memory, "bob", 200, 10, 1000).unwrap();
    begin(&memory, "bob", 201, 20, 500).unwrap();
    // The second chain has ended; the first, of which nothing is left but that, has not.
    crowd(&memory, 600, 100);
    assert_eq!(begin(&memory, "bob", 200, 10, 1000), Err(AlreadyUsed::Forgotten));
    // Nobody shows that ticket any more: nothing is left of him, or every name would be kept for ever.
    crowd(&memory, 1000, 200);
    assert_eq!(begin(&memory, "bob", 200, 10, 1000), Ok(()));
}

#[test]
fn keys_that_servers_share_are_made_when_one_is_due_and_dropped_when_it_no_longer_opens() {
    let keys = TicketKeys::new(provider(), Duration::from_secs(100));
    let mut rng = TestRng::new("shared");
    let mut rotate = |kept: &[u8], at: u64, lead: u64| {
        let (now, lead) = (UnixTime::from_secs(10_000 + at), Duration::from_secs(lead));
        keys.rotate_shared(kept, now, lead, &mut rng).unwrap().map(|kept| kept.as_slice().to_vec())
    };
    let first = rotate(b"", 0, 0).unwrap();
    assert_eq!(rotate(&first, 99, 0), None);
    assert!(rotate(&first, 100, 0).is_some(), "it has sealed for a lifetime");
    assert_eq!(rotate(&first, 89, 10), None);
    let second = rotate(&first, 90, 10).unwrap();
    assert!(second.len() > first.len(), "the first still opens");
    // A key opens for two lifetimes, and not for a second more.
    assert_eq!(rotate(&first, 199, 0).unwrap().len(), second.len());
    assert_eq!(rotate(&first, 200, 0).unwrap().len(), first.len());
    // There is room for three: where each is made longer before it is due than keys open, the oldest gives way.
    let third = rotate(&second, 100, 150).unwrap();
    assert_eq!(third.len() - second.len(), second.len() - first.len());
    assert_eq!(rotate(&third, 150, 150).unwrap().len(), third.len());
    // One that is late begins when it is made: it is not due again before it has sealed for a lifetime.
    let late = rotate(&first, 190, 0).unwrap();
    assert_eq!(rotate(&late, 289, 0), None);
    // What a clock that was wrong has made is not waited for, but for the lead and a small skew.
    let ahead = |seconds: u64| rotate(b"", seconds, 0).unwrap();
    let [near, far] = [70, 71].map(ahead);
    assert_eq!(rotate(&near, 0, 10), None);
    assert_eq!(rotate(&far, 0, 10).unwrap().len(), first.len());
}

#[test]
fn by_default_there_is_room_for_a_chain_a_second_within_bounds() {
    let hour = 3600;
    for (lifetime, room) in [(60, 4096), (hour, 7200), (7 * 24 * hour, 1 << 18), (365 * 24 * hour, 1 << 18)] {
        let keys = TicketKeys::new(provider(), Duration::from_secs(lifetime));
        assert_eq!(keys.used().unwrap().room, room, "{lifetime} s");
    }
}

/// So many seconds after [`TODAY`].
fn later(seconds: u64) -> UnixTime {
    UnixTime::from_secs(TODAY.as_secs() + seconds)
}

fn bytes(time: UnixTime) -> [u8; 8] {
    time.as_secs().to_be_bytes()
}

#[test]
fn a_ticket_that_a_client_has_kept_since_an_earlier_release_is_read_as_it_was_meant() {
    let (began, received) = (TODAY, later(600_000));
    let kept = [
        &[2, 2, 1][..],
        &[0xa1; 32],
        b"\x00\x0adb.example",
        b"\x00\x05alice",
        &bytes(began),
        &bytes(received),
        &3600_u64.to_be_bytes(),
        &[0xb2; 32],
        &[0, 5],
        &[0xc3; 5],
    ]
    .concat();
    let ticket = Ticket::from_bytes(&kept).unwrap();
    assert_eq!((ticket.suite(), ticket.key_id()), (Suite::X25519_AES_256_GCM, KeyId::from_bytes([0xa1; 32])));
    assert_eq!((ticket.server_name(), ticket.user()), ("db.example", "alice"));
    assert_eq!(ticket.expires(), later(603_600));
    // From when it was received, but for the clocks' skew, and to the end of its lifetime.
    let usable = |seconds: u64| ticket.is_usable(later(seconds));
    assert_eq!([590_000, 600_000, 603_599, 603_600].map(usable), [false, true, true, false]);
    // Of a credential that was shown an hour earlier a week is over before.
    let older = [&kept[..54], &(began.as_secs() - 3600).to_be_bytes(), &kept[62..]].concat();
    let older = Ticket::from_bytes(&older).unwrap();
    assert_eq!((older.expires(), older.is_usable(later(601_300))), (ticket.expires(), false));
    assert_eq!(ticket.to_bytes().unwrap().as_slice(), kept);
}

#[test]
fn what_servers_keep_of_tickets_is_laid_out_as_in_earlier_releases() {
    let mut drawn = TestRng::new("keys");
    let keys = Arc::new(TicketKeys::new(provider(), Duration::from_secs(100)));
    let exported = keys.export(TODAY, &mut TestRng::new("keys")).unwrap();
    let ends = later(200);
    let key = [&drawn.bytes(8)[..], &drawn.bytes(32), &bytes(TODAY), &bytes(ends)].concat();
    assert_eq!(exported.as_slice(), [&[2, 1][..], &key].concat());
    // A ticket is got, and used.
    let scenario = Scenario::new().tickets(Arc::clone(&keys));
    let (rng, none) = (&mut TestRng::new("tickets"), ChannelBinding::none());
    let accepted = scenario.claim().accept_with_ticket(grant().with_epoch(1), later(5), rng).unwrap();
    let session = scenario.await_verdict().client.read(&accepted.frame, at(VERDICT_AT), later(5)).unwrap();
    let shown = scenario.trusted().resume(session.info.ticket().unwrap().clone(), "alice", later(6)).unwrap();
    let (hello, _) = client::resume(&scenario.client_config(), scenario.trusted(), &none, shown, rng, at(0)).unwrap();
    drop(scenario.hello(&hello).unwrap().ticket(later(7)).unwrap().use_up_now().unwrap());
    let saved = keys.save().unwrap();
    let front = [&[2, 1][..], &key, &bytes(later(7)), &[0; 8], &[1], b"\x00\x05alice"].concat();
    let (before, used) = saved.split_at(front.len());
    assert_eq!(before, front);
    // The chain's id is drawn, and this is its first ticket.
    let until = UnixTime::from_secs(ends.as_secs() + limits::CLOCK_SKEW.as_secs());
    let behind = [&[0; 8][..], &bytes(later(5)), &bytes(until)].concat();
    assert_eq!(used[16..], behind);
}
