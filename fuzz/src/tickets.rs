//! Bytes for tickets, wherever there are any: in a hello, in a client's keeping, among the keys of a server that follows
//! another.
//!
//! ```text
//! input = what (1) || seconds between the login and the next (2) || the rest
//! ```
//!
//! | `what & 7` | the rest is |
//! |---|---|
//! | 0 | length of a ticket (2) \|\| the ticket \|\| its binder, in a hello that is genuine otherwise |
//! | 1 | edits of a genuine hello with a ticket, 4 bytes each |
//! | 2 | a ticket that a client has kept |
//! | 3 | another server's keys |
//! | 4 | what a server with good ticket keys has sealed into a ticket |
//!
//! Three more bits are as in [`crate::server_machine`]; with the top bit, tickets are for single use. Never may a ticket be
//! taken unless it is the genuine one, in time, and shown by who got it.

use crate::judge::{self, Reached};
use crate::peers::{LIFETIME, Opening, Peers, ticket_keys};
use crate::toy::{self, CountingRng};
use crate::{Input, edit, frame, hostile};
use countersign::Ticket;
use countersign::client::Answer;
use countersign::codec::{self, Bytes, ClientHello};
use countersign::frame::{FrameType, split};

pub fn run(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let what = input.byte();
    let (choice, once) = (what >> 3, what & 0x80 != 0);
    let seconds = input.number();
    match what & 7 {
        0 => {
            let len = input.number();
            let (ticket, binder) = (input.bytes(len), input.rest());
            hello(choice, once, seconds, |hello| *hello = with(hello, ticket, binder))
        }
        1 => hello(choice, once, seconds, |hello| {
            while !input.is_empty() {
                edit([input.byte(), input.byte(), input.byte(), input.byte()], hello);
            }
        }),
        2 => kept(choice, seconds, input.rest()),
        3 => keys(choice, seconds, input.rest()),
        4 => contents(choice, seconds, input.rest()),
        _ => Reached::AwaitHello,
    }
}

/// This hello, with another ticket and binder.
fn with(hello: &[u8], ticket: &[u8], binder: &[u8]) -> Vec<u8> {
    let (_, body) = split(hello).unwrap();
    let mut message: ClientHello<'_> = codec::decode(body).unwrap();
    (message.ticket, message.binder) = (Bytes(ticket), Bytes(binder));
    let mut body = Vec::new();
    // What is too long for its length field is cut off: then this is no hello.
    codec::encode(&message, &mut body).unwrap_or_default();
    frame(FrameType::ClientHello, &body)
}

fn hello(choice: u8, once: bool, seconds: usize, change: impl FnOnce(&mut Vec<u8>)) -> Reached {
    let keys = ticket_keys(toy::provider());
    let peers = Peers::new(choice).with_tickets(if once { keys.with_single_use(4) } else { keys });
    let ticket = peers.ticket();
    let peers = peers.later(seconds);
    let (sent, client) = peers.open(Some(&ticket));
    let mut hello = sent.clone();
    change(&mut hello);
    let good = hello == sent && (seconds as u64) < LIFETIME;
    let reached = show(&peers, &hello, client, good);
    if reached == Reached::Resumed {
        assert_eq!(peers.take(&hello).is_some(), !once, "a ticket for single use is taken once");
    }
    reached
}

/// Shows the server a hello with a ticket, which it takes if that is `good`, and not otherwise.
fn show(peers: &Peers, hello: &[u8], client: Opening, good: bool) -> Reached {
    let Some(accepted) = peers.take(hello) else {
        assert!(!good, "a good ticket was not taken");
        // Whatever the ticket is, the hello is as good as one without.
        return peers.challenge(hello).map_or(Reached::AwaitHello, |_| Reached::NotTaken);
    };
    assert!(good, "took a ticket that is not good");
    let Ok(Answer::Resumed(session)) = client.read(&accepted.frame) else { panic!("the answer is genuine") };
    judge::agree(&session, &accepted.session);
    Reached::Resumed
}

fn kept(choice: u8, seconds: usize, bytes: &[u8]) -> Reached {
    let peers = Peers::new(choice);
    let genuine = peers.ticket();
    let peers = peers.later(seconds);
    let Ok(ticket) = Ticket::from_bytes(bytes) else {
        assert_ne!(bytes, genuine.to_bytes().unwrap().as_slice(), "a genuine ticket was not read");
        return Reached::AwaitHello;
    };
    let again = ticket.to_bytes().unwrap();
    assert_eq!(again.as_slice(), bytes, "not the canonical encoding");
    let (hello, client) = peers.open(Some(&ticket));
    // When it expires is for the client to know; the server has it sealed in the ticket. All else has to be right.
    let timeless = |bytes: &[u8]| [&bytes[..35], &bytes[43..]].concat();
    let genuine = timeless(bytes) == timeless(&genuine.to_bytes().unwrap());
    show(&peers, &hello, client, genuine && (seconds as u64) < LIFETIME)
}

fn keys(choice: u8, seconds: usize, bytes: &[u8]) -> Reached {
    let peers = Peers::new(choice);
    let ticket = peers.ticket();
    let genuine = peers.tickets.export(peers.today, &mut CountingRng(7)).unwrap();
    let keys = ticket_keys(toy::provider());
    if keys.follow(bytes).is_err() {
        assert_ne!(bytes, genuine.as_slice(), "genuine keys were not taken over");
        return Reached::AwaitHello;
    }
    let follower = peers.with_tickets(keys).later(seconds);
    let exported = follower.tickets.export(follower.today, &mut CountingRng(7)).unwrap();
    assert_eq!(exported.as_slice(), bytes, "a follower has the keys that it was given");

    // Whatever it gives out it takes.
    let (session, _) = follower.sessions();
    if let Some(ticket) = session.info.ticket() {
        let (hello, client) = follower.open(Some(ticket));
        assert_eq!(show(&follower, &hello, client, true), Reached::Resumed);
    }

    // It takes the other's tickets if it has the key: a name and 32 bytes, after version and count.
    let (hello, client) = follower.open(Some(&ticket));
    let key = &genuine[2..42];
    let taken = follower.take(&hello).is_some();
    assert!(!taken || bytes.windows(key.len()).any(|window| window == key), "took a ticket of nobody's");
    assert!(taken || bytes != genuine.as_slice() || seconds as u64 >= LIFETIME, "a good ticket was not taken");
    show(&follower, &hello, client, taken)
}

/// Whatever is in a ticket of ours, what comes out of it is alice, or nothing.
fn contents(choice: u8, seconds: usize, plaintext: &[u8]) -> Reached {
    let peers = Peers::new(choice).with_tickets(ticket_keys(hostile::provider()));
    hostile::slip_in(plaintext);
    let ticket = peers.ticket();
    let peers = peers.later(seconds);
    let (hello, client) = peers.open(Some(&ticket));
    let taken = peers.take(&hello).is_some();
    // The secret has to be the client's for its binder to fit; it is the last thing in a ticket.
    let saved = ticket.to_bytes().unwrap();
    let secret = &saved[43..75];
    assert!(!taken || plaintext.windows(secret.len()).any(|window| window == secret), "took a ticket of nobody's");
    show(&peers, &hello, client, taken)
}
