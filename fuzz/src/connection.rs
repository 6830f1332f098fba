//! Whole servers and clients, with their scripts and streams, over connections in memory, with somebody between; on a clock that goes on
//! where nothing else does.
//!
//! ```text
//! input = server (1) || for each connection: client (1) || for each frame, in the order they are sent: act (1) || what the act needs
//! ```
//!
//! The server's bits: 1 for penalties; the next two for how many further factors it wants of passwords; the next for a client that has its
//! key whole, and so waits for its proof; the next for one that shows tickets, the one after that for one that asks for a proof then,
//! too, and one more for passwords that are stretched. The client's, `client & 7`:
//!
//! | | it logs in as alice with |
//! |---|---|
//! | 0, 1 | her password |
//! | 2 | another |
//! | 3 | a token of hers |
//! | 4 | another |
//! | 5 | her key |
//! | 6 | another |
//! | 7 | her password, and wrong answers to requests for further factors |
//!
//! Two bits more say in which pieces bytes arrive. What the acts are is in [`crate::between`].
//!
//! Nobody has a session without a good credential, and without the other end having the same; where nobody interferes, a good credential
//! gives one, and data arrives as it was sent. The server answers each frame once at the most, and nothing after it has refused; it holds
//! little for whoever is not logged in; and whatever happens, it gives every place back.

use crate::Input;
use crate::between::{Between, DOWN, UP};
use crate::judge::Reached;
use crate::memory;
use crate::peers::{ALICE, ALICES_KEY, KEY, LONG_KEY, STRETCHED, account, answer, prompt, ticket_keys};
use crate::toy::{self, CountingRng};
use core::future::{Future, ready};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use countersign::crypto::{Decrypt, Decrypting, RemoteDecrypt};
use countersign::frame::{FrameType, Header};
use countersign::{
    Acceptor, AsyncVerifier, Attempt, ClientConfig, Connector, Credential, CredentialKind, FactorAttempt, Further,
    Grant, KeyExchange, Link, LoginError, MemoryTickets, Moment, Penalties, Prompt, Reason, Returning, Server,
    ServerConfig, ServerKey, Stream, Waits, limits,
};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More connections show nothing that fewer do not.
const MOST_CONNECTIONS: usize = 5;

/// What one login may hold at both ends together, in bytes, from the connection to its end: frames of the largest size on their way, in
/// the hands of somebody between as well.
const BUDGET: usize = 1 << 20;

pub fn run(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let house = House::new(input.byte());
    let mut reached = Reached::AwaitHello;
    for _ in 0..MOST_CONNECTIONS {
        if input.is_empty() {
            break;
        }
        reached = memory::within(BUDGET + 8 * input.len(), || house.visit(&mut input));
        let counts = house.acceptor.counts();
        assert_eq!((counts.handshakes, counts.sessions), (0, 0), "a place that nobody gave back: {counts:?}");
        assert_eq!(counts.refusals, 0, "{counts:?}");
    }
    reached
}

/// What stays from one connection to the next.
struct House {
    acceptor: Acceptor,
    connector: Connector,
    has_penalties: bool,
    has_tickets: bool,
    is_stretching: bool,
    factors: usize,
}

impl House {
    fn new(what: u8) -> Self {
        let provider = toy::provider();
        let factors = usize::from(what >> 1 & 3).min(2);
        let kinds = [CredentialKind::Password, CredentialKind::Token, CredentialKind::Key];
        let config = ServerConfig::new(provider).with_credential_kinds(&kinds).unwrap();
        let config = config.with_tickets(Arc::new(ticket_keys(provider)));
        let is_stretching = what & 0x40 != 0;
        let config = match is_stretching {
            true => config.with_stretching(STRETCHED[0].stretching().clone()).unwrap(),
            false => config,
        };
        let key = ServerKey::with_remote_decrypt(
            KEY.public_key().clone(),
            Arc::new(Remote(provider.rsa.load_key(&KEY).unwrap())),
        );
        let acceptor = Acceptor::new_async(config, key, Alice { factors });
        // Two wrong ones are free.
        let waits = Waits::new(2, Duration::from_secs(15), Duration::from_secs(600));
        let penalties = Penalties::default().with_source(waits);
        let acceptor = if what & 1 == 0 { acceptor.without_penalties() } else { acceptor.with_penalties(penalties) };
        let server =
            if what & 8 == 0 { Server::pinned(KEY.public_key().id()) } else { Server::key(KEY.public_key().clone()) };
        let config = ClientConfig::new(provider);
        let config = if what & 0x20 != 0 { config.with_proof_at_resumption() } else { config };
        let connector = Connector::new(config, server.with_floor(KeyExchange::Rsa));
        let has_tickets = what & 0x10 != 0;
        let connector = if has_tickets { connector.with_tickets(MemoryTickets::new()) } else { connector };
        Self { acceptor, connector, has_penalties: what & 1 != 0, has_tickets, is_stretching, factors }
    }

    fn visit(&self, input: &mut Input<'_>) -> Reached {
        let what = input.byte();
        let stretched = |at: usize| Credential::Stretched { user: "alice", password: &STRETCHED[at] };
        let (credential, is_good) = match what & 7 {
            2 if self.is_stretching => (stretched(1), false),
            0 | 1 if self.is_stretching => (stretched(0), true),
            7 if self.is_stretching => (stretched(0), self.factors == 0),
            2 => (Credential::Password { user: "alice", password: b"battery staple" }, false),
            3 => (Credential::Token(TOKEN), true),
            4 => (Credential::Token(b"cst_another"), false),
            5 => (Credential::Key { user: "alice", key: &ALICES_KEY }, true),
            6 => (Credential::Key { user: "alice", key: &LONG_KEY }, false),
            7 => (ALICE, self.factors == 0),
            _ => (ALICE, true),
        };
        let (is_wrong, asked) = (what & 7 == 7, AtomicUsize::new(0));
        let connector = self.connector.clone().with_factors(move |_| {
            let turn = asked.fetch_add(1, Ordering::SeqCst);
            Some(if is_wrong { b"wrong".to_vec() } else { answer(turn) })
        });

        let piece = [1400, 1, 7, 100][usize::from(what >> 3 & 3)];
        let world = Rc::new(RefCell::new(World { piece, ..World::default() }));
        let [client, server] =
            [UP, DOWN].map(|side| MemoryLink(End { world: Rc::clone(&world), side }, Moment::ORIGIN));
        let peer: std::net::SocketAddr = "192.0.2.7:1000".parse().unwrap();
        let mut accepting = pin!(self.acceptor.accept_over(server, peer));
        let mut connecting = pin!(connector.connect_over(client, credential));
        let (mut accepted, mut connected) = (None, None);
        let task = &mut Context::from_waker(Waker::noop());
        for _ in 0..MOST_ROUNDS {
            poll(&mut connecting, &mut connected, task);
            world.borrow_mut().carry(input);
            poll(&mut accepting, &mut accepted, task);
            world.borrow_mut().carry(input);
            if accepted.is_some() && connected.is_some() {
                break;
            }
            world.borrow_mut().go_on();
        }
        let accepted = accepted.expect("the server has a deadline for everything");
        let connected = connected.expect("so has the client");
        world.borrow().check();
        let is_genuine = world.borrow().is_genuine;
        self.judge(accepted, connected, (is_good, is_genuine), (input, &world))
    }

    fn judge(
        &self,
        accepted: Result<Stream<End>, LoginError>,
        connected: Result<Stream<End>, LoginError>,
        (is_good, is_genuine): (bool, bool),
        (input, world): (&mut Input<'_>, &Rc<RefCell<World>>),
    ) -> Reached {
        // With a ticket she is in without a credential, if she was in before.
        let is_resumed = accepted.as_ref().is_ok_and(|stream| stream.info().is_resumed());
        assert!(!is_resumed || self.has_tickets, "a ticket that nobody kept");
        if !self.has_penalties && is_genuine && is_good {
            assert!(accepted.is_ok() && connected.is_ok(), "a good login failed: {accepted:?} {connected:?}");
        }
        match (accepted, connected) {
            (Ok(server), Ok(client)) => {
                assert!(is_good || is_resumed, "got in without a good credential");
                assert!(client.id() == server.id() && client.info().is_resumed() == is_resumed);
                assert_eq!((server.grant().principal(), client.grant().principal()), ("alice", "alice"));
                assert_eq!(self.acceptor.counts().sessions, 1);
                let reached = if is_resumed { Reached::Resumed } else { Reached::Session };
                if talk(server, client, input, world) { reached } else { Reached::Cut }
            }
            (Ok(_), Err(error)) => {
                // What the client should have read last, it did not get.
                assert!(is_good || is_resumed, "got in without a good credential");
                assert!(!world.borrow().is_genuine, "a client left its session: {error:?}");
                Reached::Accepted
            }
            // A resumption is over for the client before it is for the server.
            (Err(error), Ok(client)) => {
                assert!(client.info().is_resumed(), "a session that the server knows nothing of: {error:?}");
                assert!(!world.borrow().is_genuine);
                Reached::AwaitConfirm
            }
            (Err(LoginError::LoginRefused { reason, .. }), Err(_)) => {
                assert!(!is_genuine || !is_good || self.has_penalties, "{reason:?}");
                Reached::Refused
            }
            (Err(_), Err(_)) => {
                assert!(!is_genuine || self.has_penalties, "a failure that nobody made");
                Reached::AwaitLogin
            }
        }
    }
}

/// Rounds are many where bytes arrive one by one.
const MOST_ROUNDS: usize = 40_000;

const TOKEN: &[u8] = b"cst_token";

fn poll<F: Future>(future: &mut Pin<&mut F>, done: &mut Option<F::Output>, task: &mut Context<'_>) {
    if done.is_none()
        && let Poll::Ready(output) = future.as_mut().poll(task)
    {
        *done = Some(output);
    }
}

/// Each says something and closes, and reads what the other says. Gives whether all of it arrived.
fn talk(mut server: Stream<End>, mut client: Stream<End>, input: &mut Input<'_>, world: &Rc<RefCell<World>>) -> bool {
    let said: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
    let say = |stream: &mut Stream<End>| {
        stream.write_all(&said[..100])?;
        stream.update_key().map_err(io::Error::other)?;
        stream.write_all(&said[100..])?;
        stream.flush()
    };
    let spoken = [say(&mut server), say(&mut client)];
    assert!(spoken.iter().all(Result::is_ok), "{spoken:?}");
    // Half of it is enough for somebody who hears no more.
    world.borrow_mut().carry(input);
    let mut heard = [Vec::new(), Vec::new()];
    let mut whole = [false; 2];
    for (stream, at) in [(&mut server, 0), (&mut client, 1)] {
        let mut room = [0; 777];
        loop {
            match stream.read(&mut room) {
                Ok(0) => panic!("an end that nobody said"),
                Ok(count) => heard[at].extend_from_slice(&room[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    whole[at] = heard[at].len() == said.len();
                    break;
                }
                Err(_) => {
                    assert!(
                        stream.read(&mut room).is_err() && stream.write(b"more").is_err(),
                        "a broken session goes on"
                    );
                    break;
                }
            }
        }
        assert!(said.starts_with(&heard[at]), "what was heard is not what was said");
    }
    let is_genuine = world.borrow().is_genuine;
    assert!(!is_genuine || whole == [true; 2], "something got lost by itself: {} {}", heard[0].len(), heard[1].len());
    whole == [true; 2]
}

/// Whom the server knows.
struct Alice {
    factors: usize,
}

impl AsyncVerifier for Alice {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        match attempt.credential() {
            Credential::Password { user: "alice", password: b"correct horse" } | Credential::Token(TOKEN) => {
                Ok(account())
            }
            // What it is stretched to does not come out of it.
            Credential::Stretched { user: "alice", password } if password.password() == STRETCHED[0].password() => {
                Ok(account())
            }
            Credential::Password { user: "alice", .. } | Credential::Stretched { user: "alice", .. } => {
                Err(Reason::WrongPassword)
            }
            Credential::Key { user: "alice", key } if key.public_key() == ALICES_KEY.public_key() => Ok(account()),
            _ => Err(Reason::UnknownUser),
        }
    }

    async fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        if returning.principal() == "alice" { Ok(account()) } else { Err(Reason::UnknownUser) }
    }

    async fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        let is_password = matches!(further.kind(), CredentialKind::Password | CredentialKind::Stretched);
        let wants = is_password && further.step() < self.factors;
        Ok(wants.then(|| prompt(further.step())))
    }

    async fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        if attempt.answer() == answer(attempt.step()) { Ok(()) } else { Err(Reason::WrongFactor) }
    }
}

/// The key, by somebody who is asked: then everything happens on this thread.
struct Remote(Arc<dyn Decrypt>);

impl RemoteDecrypt for Remote {
    fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting {
        Box::pin(ready(self.0.decrypt(&ciphertext, &mut CountingRng(0))))
    }
}

/// A connection.
#[derive(Default)]
struct World {
    now: Duration,
    /// When somebody wants to be asked again.
    waits: Vec<Duration>,
    /// What the two have written, and what they have yet to read.
    written: [Vec<u8>; 2],
    arrived: [Vec<u8>; 2],
    has_left: [bool; 2],
    between: Between,
    is_genuine: bool,
    has_begun: bool,
    /// In which pieces bytes arrive, at most.
    piece: usize,
    /// The frames that each has sent, and all that came out at the other end.
    sent: [Vec<FrameType>; 2],
    passed: [Vec<u8>; 2],
    moved: usize,
    moved_before: usize,
}

impl World {
    /// Takes the frames that were written to the other end, as far as somebody lets them.
    fn carry(&mut self, input: &mut Input<'_>) {
        if !self.has_begun {
            (self.has_begun, self.is_genuine) = (true, true);
        }
        for way in [UP, DOWN] {
            while let Ok(Some(header)) = Header::parse(&self.written[way]) {
                let len = limits::FRAME_HEADER + header.body;
                if self.written[way].len() < len {
                    break;
                }
                let frame: Vec<u8> = self.written[way].drain(..len).collect();
                self.sent[way].push(header.kind);
                let passed = self.between.pass(input, way, &frame);
                self.is_genuine &= passed == frame;
                self.passed[way].extend(&passed);
                self.arrived[way].extend(passed);
                self.moved += 1;
            }
        }
    }

    /// Where nothing has moved, time does.
    fn go_on(&mut self) {
        if self.moved == self.moved_before {
            let next = self.waits.iter().copied().filter(|wait| *wait > self.now).min();
            self.now = next.unwrap_or(self.now + Duration::from_secs(1));
            let now = self.now;
            self.waits.retain(|wait| *wait > now);
        }
        self.moved_before = self.moved;
    }

    fn wait(&mut self, moment: Moment) {
        self.waits.push(moment.saturating_since(Moment::ORIGIN));
        // The same few come again and again.
        if self.waits.len() > 64 {
            self.waits.sort_unstable();
            self.waits.dedup();
        }
    }

    /// No state of the server's answers twice, or unasked.
    fn check(&self) {
        let sent = &self.sent[DOWN];
        let is_first =
            |kind: &&FrameType| matches!(kind, FrameType::ServerHello | FrameType::ServerResumption | FrameType::Busy);
        assert!(sent.iter().filter(is_first).count() <= 1, "a hello was answered twice: {sent:?}");
        assert!(sent.first().is_none_or(|kind| is_first(&kind)), "{sent:?}");
        let verdicts = sent.iter().filter(|kind| **kind == FrameType::ServerVerdict).count();
        assert!(verdicts <= 1 + limits::MAX_FACTORS, "{sent:?}");
        // One answer for each frame that came, and one for what is none.
        let (mut rest, mut asked) = (&self.passed[UP][..], 0);
        while !rest.is_empty() {
            asked += 1;
            let len = Header::parse(rest).ok().flatten().map(|header| limits::FRAME_HEADER + header.body);
            rest = len.and_then(|len| rest.get(len..)).unwrap_or_default();
        }
        assert!(sent.len() <= asked, "{sent:?} for {asked} frames");
    }
}

/// One end of it.
struct End {
    world: Rc<RefCell<World>>,
    side: usize,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        world.has_left[self.side] = true;
        world.moved += 1;
    }
}

impl Read for End {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        let world = &mut *world;
        let from = 1 - self.side;
        let count = room.len().min(world.arrived[from].len()).min(world.piece.max(1));
        if count == 0 && !room.is_empty() {
            let is_over = world.has_left[from] && world.written[from].is_empty() || world.between.is_cut(from);
            return if is_over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        room[..count].copy_from_slice(&world.arrived[from][..count]);
        world.arrived[from].drain(..count);
        world.moved += 1;
        Ok(count)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        world.written[self.side].extend_from_slice(bytes);
        world.moved += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same during the login, with its deadline.
struct MemoryLink(End, Moment);

impl MemoryLink {
    fn try_now<T>(&mut self, call: impl FnOnce(&mut End) -> io::Result<T>) -> Poll<io::Result<T>> {
        if self.now() >= self.1 {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        match call(&mut self.0) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.0.world.borrow_mut().wait(self.1);
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }
}

impl Link for MemoryLink {
    type Stream = End;

    fn now(&self) -> Moment {
        Moment::after_origin(self.0.world.borrow().now)
    }

    fn set_deadline(&mut self, deadline: Moment) {
        self.1 = deadline;
    }

    fn poll_read(&mut self, _: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.try_now(|end| end.read(room))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.try_now(|end| end.write(bytes))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_end_sending(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let side = self.0.side;
        self.0.world.borrow_mut().has_left[side] = true;
        Poll::Ready(Ok(()))
    }

    fn poll_wait(&mut self, _: &mut Context<'_>, moment: Moment) -> Poll<()> {
        if self.now() >= moment {
            return Poll::Ready(());
        }
        self.0.world.borrow_mut().wait(moment);
        Poll::Pending
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let world = self.0.world.borrow();
        let from = 1 - self.0.side;
        let is_gone = world.has_left[from] || !world.arrived[from].is_empty();
        if is_gone { Poll::Ready(()) } else { Poll::Pending }
    }

    fn into_stream(self) -> io::Result<End> {
        Ok(self.0)
    }
}
