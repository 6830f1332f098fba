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
//! | 5 | what becomes of a server and its tickets, one act (1) and what it needs after the other ([`Life`]); the seconds are for how long a chain
//!       lasts, 0 for a week |
//! | 6 | what the two ends mean of the connection (1), at the login and at the next |
//!
//! Four more bits are as in [`crate::server_machine`]; with the top bit, a ticket can be used again and again. Never may a ticket
//! be taken unless it is the genuine one, in time, and shown by who got it, and not twice.

use crate::judge::{self, Reached};
use crate::peers::{self, KEY, LIFETIME, Opening, Peers, TODAY, secret, shown, ticket_keys};
use crate::seeds::scope;
use crate::toy::{self, CountingRng};
use crate::{Input, edit, frame, hostile};
use countersign::client::Answer;
use countersign::codec::{self, Bytes, ClientHello};
use countersign::frame::{FrameType, split};
use countersign::{Error, Ticket, UsedTickets, limits};
use std::collections::HashSet;
use std::time::Duration;

pub fn run(data: &[u8]) -> Reached {
    peers::within_budget(data, || meet(data))
}

fn meet(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let what = input.byte();
    let (choice, once) = (what >> 3, what & 0x80 == 0);
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
        5 => Life::new(choice, once, seconds as u64).run(input),
        6 => elsewhere(choice, seconds, input.byte()),
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
    let peers = Peers::new(choice).with_tickets(if once { keys } else { keys.with_unlimited_reuse() });
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
    let Some(taken) = peers.take(hello) else {
        assert!(!good, "a good ticket was not taken");
        // Whatever the ticket is, the hello is as good as one without.
        return peers.challenge(hello).map_or(Reached::AwaitHello, |_| Reached::NotTaken);
    };
    assert!(good, "took a ticket that is not good");
    let Ok(Answer::Resumed(resumed)) = client.read(&taken.frame, peers) else { panic!("the answer is genuine") };
    judge::confirm(peers, resumed, taken);
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
    // Whose it is, and since when, is for the client to know; the server has it sealed in the ticket.
    let is_genuine = secret(&ticket) == secret(&genuine) && shown(&ticket) == shown(&genuine);
    let is_shown = matches!(client, Opening::Shown(_)) && ticket.suite() == genuine.suite();
    show(&peers, &hello, client, is_shown && is_genuine && (seconds as u64) < LIFETIME)
}

fn keys(choice: u8, seconds: usize, bytes: &[u8]) -> Reached {
    let peers = Peers::new(choice);
    let ticket = peers.ticket();
    let genuine = peers.tickets.export(peers.today, &mut CountingRng(7)).unwrap();
    // What was used it does not know, so that it takes nothing from before with a memory of its own.
    let (keys, careful) = (ticket_keys(toy::provider()).with_unlimited_reuse(), ticket_keys(toy::provider()));
    if keys.follow(bytes).is_err() {
        assert_ne!(bytes, genuine.as_slice(), "genuine keys were not taken over");
        return Reached::AwaitHello;
    }
    careful.follow(bytes).expect("the same keys");
    let careful = peers.clone().with_tickets(careful).later(seconds);
    assert!(careful.take(&careful.open(Some(&ticket)).0).is_none(), "took a ticket of unknown use");
    // What it gives out is of another chain.
    let follower = peers.with_tickets(keys).later(seconds).seeded(1);
    let now = follower.today.as_secs();
    let exported = follower.tickets.export(follower.today, &mut CountingRng(7)).unwrap();
    // A key: its name, itself, when it was made, and when it ends.
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).expect("eight bytes");
    let alive: Vec<_> = bytes[2..].chunks(56).filter(|key| now < number(&key[48..])).collect();
    let count = u8::try_from(alive.len()).expect("there are three at most");
    let kept = [&[bytes[0], count], &alive.concat()[..]].concat();
    assert_eq!(exported.as_slice(), kept, "a follower has the keys that it was given");

    // Whatever it gives out it takes, unless the other's clock is ahead: then it is the other that takes it.
    let (session, _) = follower.sessions();
    if let Some(ticket) = session.info.ticket() {
        let (hello, client) = follower.open(Some(ticket));
        // It is sealed under the newest whose time has come, or, where there is none, the newest of all.
        let made: Vec<_> = alive.iter().map(|key| number(&key[40..48])).collect();
        // None is sealed by a key that is further ahead than clocks may be.
        let is_near = |made: &u64| *made <= now + limits::CLOCK_SKEW.as_secs();
        let seals = |made: &&u64| now < made.saturating_add(LIFETIME) && is_near(made);
        let sealed = made.iter().filter(|made| **made <= now).find(seals).or_else(|| made.iter().find(seals));
        show(&follower, &hello, client, sealed.is_some());
    }

    // It takes the other's tickets if it has the key: a name and 32 bytes, after version and count.
    let (hello, client) = follower.open(Some(&ticket));
    let key = &genuine[2..42];
    let taken = follower.take(&hello).is_some();
    assert!(!taken || bytes.windows(key.len()).any(|window| window == key), "took a ticket of nobody's");
    assert!(taken || bytes != genuine.as_slice() || seconds as u64 >= LIFETIME, "a good ticket was not taken");
    if taken { Reached::Resumed } else { show(&follower, &hello, client, false) }
}

/// A ticket is good under the prologue that it was given out under, over any channel, and nowhere where the two ends mean different connections. Two
/// bits each are for the client, for the server, and for both at the login that gave it out ([`Peers::meaning`]).
fn elsewhere(choice: u8, seconds: usize, meant: u8) -> Reached {
    let [client, server, before] = [meant & 3, meant >> 2 & 3, meant >> 4 & 3];
    let peers = Peers::new(choice).meaning([before; 2]);
    let ticket = peers.ticket();
    let peers = peers.later(seconds).meaning([client, server]);
    let (hello, opening) = peers.open(Some(&ticket));
    let state = peers.read(&hello).expect("a genuine hello");
    assert_eq!(state.differs(), peers.differs());
    if peers.differs().is_none() {
        let is_good = (client ^ before) & 1 == 0 && (seconds as u64) < LIFETIME;
        return show(&peers, &hello, opening, is_good);
    }
    assert!(peers.take(&hello).is_none(), "took a ticket over a connection that the client does not mean");
    let (challenge, _) = peers.challenge(&hello).unwrap();
    let said = opening.read(&challenge, &peers).err();
    let is_said = matches!(said, Some(Error::DifferentContext(differs)) if Some(differs) == peers.differs());
    assert!(is_said, "the client says {said:?} where they differ in {:?}", peers.differs());
    Reached::AwaitAnswer
}

/// Whatever is in a ticket of ours, what comes out of it is alice, in time, or nothing.
fn contents(choice: u8, seconds: usize, plaintext: &[u8]) -> Reached {
    let peers = Peers::new(choice).with_tickets(ticket_keys(hostile::provider()));
    hostile::slip_in(plaintext);
    let ticket = peers.ticket();
    let peers = peers.later(seconds);
    let (hello, client) = peers.open(Some(&ticket));
    let taken = peers.take(&hello).is_some();
    let mut filled_up = plaintext.to_vec();
    filled_up.resize(CONTENTS, 0);
    assert_eq!(
        taken,
        is_good(&ticket, &filled_up, peers.today.as_secs()),
        "a ticket that is taken and not good, or not taken and good"
    );
    if taken { Reached::Resumed } else { show(&peers, &hello, client, false) }
}

/// Room for what is sealed into a ticket: the name of the key that it is sealed under, a nonce and a tag are beside it.
const CONTENTS: usize = limits::TICKET - NAME - 16 - limits::TAG;
const NAME: usize = 8;

/// Whether this is what alice's ticket may hold, by where each part of it has to stand: hers, of this server, in time, and nothing behind it.
fn is_good(ticket: &Ticket, contents: &[u8], now: u64) -> bool {
    let mut input = Input(contents);
    let len = input.number();
    let (principal, epoch) = (input.bytes(len), number(&mut input));
    let (suite, key_id, of) = (input.number(), input.bytes(32), input.bytes(32));
    let (_id, _number, kind) = (input.bytes(16), number(&mut input), input.byte());
    let (authenticated, root) = (number(&mut input), input.bytes(NAME));
    let (made, expires) = (number(&mut input), number(&mut input));
    let (held, rest) = (input.bytes(limits::SECRET), input.rest());
    // The one key of this server's: it opens for two lifetimes.
    let is_open = now < TODAY + 2 * LIFETIME && root == &shown(ticket)[..NAME];
    let is_past = |time: u64| time <= now + limits::CLOCK_SKEW.as_secs();
    let is_alive = now < expires && now < authenticated.saturating_add(limits::TICKET_MAX_AGE.as_secs());
    let is_hers = principal == b"alice" && epoch == 7 && held == secret(ticket);
    let is_of_suite = suite == usize::from(ticket.suite().number());
    let is_of_this =
        is_of_suite && key_id == KEY.public_key().id().as_bytes() && of == scope() && (1..=3).contains(&kind);
    is_open
        && is_past(made)
        && is_past(authenticated)
        && is_alive
        && is_hers
        && is_of_this
        && rest.iter().all(|&byte| byte == 0)
}

fn number(input: &mut Input<'_>) -> u64 {
    input.bytes(8).try_into().map_or(0, u64::from_be_bytes)
}

/// A server with tickets, its clock, its restarts, and alice, who logs in and comes back.
///
/// | `act & 7` | what happens |
/// |---|---|
/// | 0 | she logs in, and keeps the ticket |
/// | 1 to 3 | she shows a ticket: which (1) |
/// | 4 | the clock goes on: seconds (2) |
/// | 5 | the clock jumps, forwards or back by the next bit: minutes (2) |
/// | 6 | the server restarts with what it saved |
/// | 7 | it restarts with nothing |
///
/// The first act's other bits say for how many chains there is room.
struct Life {
    peers: Peers,
    once: bool,
    room: usize,
    tickets: Vec<Held>,
    used: HashSet<Vec<u8>>,
    chains: Vec<Chain>,
    /// How long after its login a chain ends at the latest, by the server's configuration.
    max_age: Option<u64>,
    /// What the server goes by.
    clock: u64,
    latest: u64,
    /// Nothing has happened that a ticket may be lost by.
    is_quiet: bool,
    turn: u64,
}

impl Life {
    fn new(choice: u8, once: bool, max_age: u64) -> Self {
        Self {
            peers: Peers::new(choice),
            once,
            room: 0,
            tickets: Vec::new(),
            used: HashSet::new(),
            chains: Vec::new(),
            max_age: (max_age > 0).then_some(max_age),
            clock: TODAY,
            latest: 0,
            is_quiet: true,
            turn: 0,
        }
    }

    fn run(mut self, mut input: Input<'_>) -> Reached {
        self.room = 1 + usize::from(input.byte());
        self.peers = self.keys();
        let mut reached = Reached::AwaitHello;
        // More acts show nothing that fewer do not.
        while !input.is_empty() && self.turn < 48 {
            self.turn += 1;
            let act = input.byte();
            let seconds = match act & 7 {
                0 => {
                    self.log_in();
                    continue;
                }
                1..=3 => {
                    reached = self.show(usize::from(input.byte())).unwrap_or(reached);
                    continue;
                }
                4 => input.number() as u64,
                5 => 60 * input.number() as u64,
                what => {
                    let saved = (what == 6).then(|| self.peers.tickets.save().unwrap());
                    self.is_quiet &= saved.is_some();
                    self.peers = self.keys();
                    // Without anything it has no clock to go by.
                    self.latest = if saved.is_some() { self.latest } else { 0 };
                    saved.iter().for_each(|saved| self.peers.tickets.load(saved).unwrap());
                    continue;
                }
            };
            let back = act & 8 != 0 && act & 7 == 5;
            self.is_quiet &= !back;
            self.clock = if back { self.clock - seconds.min(self.clock) } else { self.clock + seconds };
        }
        reached
    }

    /// A server that begins anew.
    fn keys(&self) -> Peers {
        let keys = ticket_keys(toy::provider()).with_memory(UsedTickets::new(self.room));
        let keys = if self.once { keys } else { keys.with_unlimited_reuse() };
        let keys = match self.max_age {
            Some(seconds) => keys.with_max_age(Duration::from_secs(seconds)),
            None => keys,
        };
        self.peers.clone().with_tickets(keys)
    }

    /// The time by the server's clock, which does not go back, unless it was wrong.
    fn now(&mut self) -> u64 {
        let skew = limits::CLOCK_SKEW.as_secs();
        self.latest = if self.clock + skew < self.latest { self.clock } else { self.latest.max(self.clock) };
        self.latest
    }

    fn tick(&mut self) {
        self.peers = self.peers.clone().seeded(self.turn << 16).at(self.clock);
    }

    fn keep(&mut self, ticket: &Ticket, now: u64, chain: usize, number: usize) {
        let end = now + ticket.expires().as_secs() - self.clock;
        assert!(end <= self.chains[chain].end, "a ticket is said to be good for longer than its chain");
        self.tickets.push(Held { ticket: ticket.clone(), end, chain, number });
    }

    fn log_in(&mut self) {
        self.tick();
        let now = self.now();
        let (session, _) = self.peers.sessions();
        let max_age = self.max_age.unwrap_or(limits::TICKET_MAX_AGE.as_secs());
        // The key that it begins under is no younger than this, and opens for two lifetimes.
        let end = (self.clock + max_age).min(now + 2 * LIFETIME);
        self.chains.push(Chain { used: 0, end });
        match session.info.ticket() {
            Some(ticket) => self.keep(ticket, now, self.chains.len() - 1, 0),
            None => assert!(end <= now, "a server of its own has a key"),
        }
    }

    fn show(&mut self, which: usize) -> Option<Reached> {
        let Held { ticket, end, chain, number } = self.tickets.get(which.checked_rem(self.tickets.len())?)?.clone();
        self.tick();
        let now = self.now();
        let (hello, client) = self.peers.open(Some(&ticket));
        let Some(taken) = self.peers.take(&hello) else {
            // There are fewer chains than this, so that none is forgotten.
            let is_kept = self.is_quiet && self.room >= 64;
            let is_good = is_kept && now < end && !(self.once && number < self.chains[chain].used);
            assert!(!is_good, "a good ticket was not taken");
            return Some(Reached::NotTaken);
        };
        assert!(now < end, "took a ticket past its time");
        assert!(self.used.insert(shown(&ticket)) || !self.once, "took a ticket twice");
        let held = &mut self.chains[chain];
        assert!(now < held.end, "took a ticket past the end of its chain");
        assert!(number >= held.used || !self.once, "took a ticket whose successor was used");
        held.used = number + 1;
        let Ok(Answer::Resumed(resumed)) = client.read(&taken.frame, &self.peers) else {
            panic!("the answer is genuine")
        };
        let (session, _) = judge::confirm(&self.peers, resumed, taken);
        if let Some(next) = session.info.ticket() {
            self.keep(next, now, chain, number + 1);
        }
        Some(Reached::Resumed)
    }
}

/// The tickets that have come of one login.
struct Chain {
    /// How many of them can't be used any more.
    used: usize,
    /// From then on none of them is taken, whatever was said of it.
    end: u64,
}

/// A ticket of alice's.
#[derive(Clone)]
struct Held {
    ticket: Ticket,
    /// When the server no longer takes it.
    end: u64,
    chain: usize,
    /// How many came before it.
    number: usize,
}
