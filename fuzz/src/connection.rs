//! Whole servers and clients, with their scripts and streams, over connections in memory, with somebody between; on a clock that goes on
//! where nothing else does.
//!
//! ```text
//! input = server (1) || for each connection: client (1) || who gives up, and when (2), if somebody does
//!         || for each frame, in the order they are sent: act (1) || what the act needs
//! ```
//!
//! The server's bits: 1 for penalties; the next two for how many further factors it wants of passwords, both of them for none, and a puzzle first; the
//! next for a client that has its key whole, and so waits for its proof; the next for one that shows tickets, the one after that for one that asks
//! for a proof then, too; one more for passwords that are stretched, and the last for another prologue than the client's. The client's,
//! `client & 7`:
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
//! Two bits more say in which pieces bytes arrive. With the next one they also leave in such pieces, and calls of the transport are interrupted now
//! and then, or would have to wait. One more is for somebody who gives up: the future of the server's login is dropped, or of the client's, or both (0, 1,
//! 2 or more, in the top two bits of two bytes), in a round that the others name. The last is for a server that names another channel underneath
//! than the client. What the acts are is in [`crate::between`].
//!
//! Nobody has a session without a good credential, and without the other end having the same; where nobody interferes, a good credential
//! gives one, and data arrives as it was sent. Where the two mean different connections nobody has one, no credential gets to the verifier, and nothing is
//! opened. The server answers each frame once at the most, and nothing after it has refused; it opens one thing in a login, and nothing before its
//! puzzle is solved; it looks at no more wrong passwords than are free, whoever leaves in the middle; it holds little for whoever is not logged in;
//! and whatever happens, it gives every place back, and tells of each connection once.

use crate::Input;
use crate::between::{Between, DOWN, UP};
use crate::judge::Reached;
use crate::memory;
use crate::peers::{ALICE, ALICES_KEY, KEY, LONG_KEY, STRETCHED, account, answer, prompt, ticket_keys};
use crate::toy::{self, CountingRng};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use countersign::crypto::{Decrypt, Decrypting, RemoteDecrypt};
use countersign::frame::{FrameType, Header};
use countersign::{
    Acceptor, AsyncVerifier, Attempt, Bounds, ChannelBinding, ClientConfig, Connector, Credential, CredentialKind,
    Differs, Error, FactorAttempt, Further, Grant, KeyExchange, Link, LoginError, MemoryTickets, Moment, Penalties,
    Prompt, PuzzleDifficulty, Puzzles, Reason, Returning, Server, ServerConfig, ServerKey, Stream, Waits, limits,
};
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Wake;

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
        house.check();
    }
    reached
}

/// What stays from one connection to the next.
struct House {
    acceptor: Acceptor,
    connector: Connector,
    has_penalties: bool,
    has_tickets: bool,
    has_puzzles: bool,
    is_stretching: bool,
    is_elsewhere: bool,
    factors: usize,
    asked: Arc<Asked>,
    /// The connections that came as far as to the server, and the sessions that it had of them.
    came: Cell<u64>,
    began: Cell<u64>,
}

/// What the server's own were asked.
#[derive(Default)]
struct Asked {
    /// How often to open something.
    opened: AtomicUsize,
    /// About how many credentials that somebody has sent, and of these, how many passwords that were wrong.
    credentials: AtomicUsize,
    wrong: AtomicUsize,
}

impl Asked {
    fn counts(&self) -> [usize; 3] {
        [&self.opened, &self.credentials, &self.wrong].map(|count| count.load(Ordering::SeqCst))
    }
}

/// Wrong passwords that cost nothing.
const FREE: u32 = 2;

impl House {
    fn new(what: u8) -> Self {
        let provider = toy::provider();
        let (factors, has_puzzles) = (usize::from(what >> 1 & 3) % 3, what & 6 == 6);
        let kinds = [CredentialKind::Password, CredentialKind::Token, CredentialKind::Key];
        let config = ServerConfig::new(provider).with_credential_kinds(&kinds).unwrap();
        let config = config.with_tickets(Arc::new(ticket_keys(provider)));
        let is_stretching = what & 0x40 != 0;
        let config = match is_stretching {
            true => config.with_stretching(STRETCHED[0].stretching().clone()).unwrap(),
            false => config,
        };
        let is_elsewhere = what & 0x80 != 0;
        let config = if is_elsewhere { config.with_prologue(b"another application").unwrap() } else { config };
        let asked = Arc::new(Asked::default());
        let key = ServerKey::with_remote_decrypt(
            KEY.public_key().clone(),
            Arc::new(Remote(provider.rsa.load_key(&KEY).unwrap(), Arc::clone(&asked))),
        );
        let acceptor = Acceptor::new_async(config, key, Alice { factors, asked: Arc::clone(&asked) });
        // One leave to ask elsewhere: whoever keeps it keeps everybody out.
        let acceptor = acceptor.with_bounds(Bounds::default().with_remote(1));
        let waits = Waits::new(FREE, Duration::from_secs(600), Duration::from_secs(3600));
        let penalties = Penalties::default().with_source(waits);
        let acceptor = if what & 1 == 0 { acceptor.without_penalties() } else { acceptor.with_penalties(penalties) };
        let puzzles = Puzzles::default().with_wait(Duration::ZERO).with_most(PuzzleDifficulty::new(2).unwrap());
        let acceptor = if has_puzzles { acceptor.with_puzzles(puzzles) } else { acceptor };
        let server =
            if what & 8 == 0 { Server::pinned(KEY.public_key().id()) } else { Server::key(KEY.public_key().clone()) };
        let config = ClientConfig::new(provider);
        let config = if what & 0x20 != 0 { config.with_proof_at_resumption() } else { config };
        let connector = Connector::new(config, server.with_floor(KeyExchange::Rsa));
        let has_tickets = what & 0x10 != 0;
        let connector = if has_tickets { connector.with_tickets(MemoryTickets::new()) } else { connector };
        Self {
            acceptor,
            connector,
            has_penalties: what & 1 != 0,
            has_tickets,
            has_puzzles,
            is_stretching,
            is_elsewhere,
            factors,
            asked,
            came: Cell::default(),
            began: Cell::default(),
        }
    }

    /// Between two connections.
    fn check(&self) {
        let counts = self.acceptor.counts();
        let held = [counts.handshakes, counts.logins, counts.waiting, counts.refusals, counts.sessions];
        assert_eq!(held, [0; 5], "a place that nobody gave back: {counts:?}");
        let totals = self.acceptor.totals();
        let [accepted, resumed, refused, turned_away, failed] =
            ["login-accepted", "login-resumed", "login-refused", "turned-away", "handshake-failed"]
                .map(|of| totals.of(of));
        let told = accepted + resumed + refused + turned_away + failed;
        assert_eq!(told, self.came.get(), "each connection is told of once: {totals:?}");
        assert_eq!(totals.of("session-ended"), accepted + resumed, "a session without an end, or with two: {totals:?}");
        assert!(accepted + resumed >= self.began.get(), "a session that nobody was told of: {totals:?}");
        let [_, _, wrong] = self.asked.counts();
        // Whoever was in once may try more often from where they were.
        let is_bounded = self.has_penalties && accepted == 0;
        assert!(!is_bounded || wrong <= FREE as usize + 1, "{wrong} wrong passwords were looked at");
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
        let stutters = what & 0x20 != 0;
        let leaving = if what & 0x40 != 0 { Some(input.number()) } else { None };
        let differs = match (self.is_elsewhere, what & 0x80 != 0) {
            (false, false) => None,
            (true, false) => Some(Differs::Prologue),
            (false, true) => Some(Differs::Binding),
            (true, true) => Some(Differs::Both),
        };
        let world = World { piece, stutters, is_genuine: true, has_puzzles: self.has_puzzles, ..World::default() };
        let world = Rc::new(RefCell::new(world));
        let [client, server] =
            [UP, DOWN].map(|side| MemoryLink(End { world: Rc::clone(&world), side }, Moment::ORIGIN));
        let peer: std::net::SocketAddr = "192.0.2.7:1000".parse().unwrap();
        let mut context = countersign::Context::from(peer);
        if what & 0x80 != 0 {
            context = context.with_binding(ChannelBinding::tls_exporter([7; 32]));
        }
        let before = (self.asked.counts(), self.acceptor.counts().puzzles_solved);
        let mut accepting = Login::new(self.acceptor.accept_over(server, context));
        let mut connecting = Login::new(connector.connect_over(client, credential));
        for round in 0..MOST_ROUNDS {
            match leaving.filter(|leaving| leaving & 0x3fff == round).map(|leaving| leaving >> 14) {
                Some(0) => accepting.give_up(),
                Some(1) => connecting.give_up(),
                Some(_) => {
                    accepting.give_up();
                    connecting.give_up();
                }
                None => {}
            }
            // What a thread does for the client is done by the next round, however long that takes.
            connecting.bell.wait();
            connecting.poll();
            world.borrow_mut().carry(input);
            accepting.poll();
            world.borrow_mut().carry(input);
            if accepting.is_over() && connecting.is_over() {
                break;
            }
            let is_solving = !connecting.is_over() && connecting.bell.is_awaited();
            world.borrow_mut().go_on(is_solving || connecting.is_called() || accepting.is_called());
        }
        assert!(accepting.is_over(), "the server has a deadline for everything");
        assert!(connecting.is_over(), "so has the client");
        self.came.update(|came| came + u64::from(accepting.has_begun));
        world.borrow().check();
        let is_genuine = world.borrow().is_genuine;
        self.check_work(before, differs, is_genuine);
        let (accepted, connected) = (accepting.done, connecting.done);
        self.began.update(|began| began + u64::from(matches!(accepted, Some(Ok(_)))));
        if let Some(differs) = differs {
            let is_heard = is_genuine && !self.has_penalties;
            return elsewhere(&accepted, &connected, differs, is_heard);
        }
        match (accepted, connected) {
            (Some(accepted), Some(connected)) => {
                self.judge(accepted, connected, (is_good, is_genuine), (input, &world))
            }
            (accepted, connected) => {
                let left = [accepted.and_then(Result::ok), connected.and_then(Result::ok)];
                left.into_iter().flatten().for_each(|stream| {
                    assert!(is_good || stream.info().is_resumed(), "got in without a good credential");
                    assert_cut(stream, input, &world);
                });
                Reached::Cut
            }
        }
    }

    /// What one login has cost the server, by what its own were asked.
    fn check_work(
        &self,
        ([opened, credentials, _], solved): ([usize; 3], u64),
        differs: Option<Differs>,
        is_genuine: bool,
    ) {
        let [now_opened, now_credentials, _] = self.asked.counts();
        let counts = self.acceptor.counts();
        let (opened, credentials) = (now_opened - opened, now_credentials - credentials);
        assert!(
            opened <= 1 && credentials <= 1,
            "one RSA operation in a login, and one attempt: {opened}, {credentials}"
        );
        assert!(counts.puzzles_solved + counts.puzzles_failed <= counts.puzzles_asked, "{counts:?}");
        // Whoever was in before, or comes back by ticket, need not solve one.
        let pays = self.has_puzzles && !self.has_penalties && !self.has_tickets;
        assert!(!pays || opened == 0 || counts.puzzles_solved == solved + 1, "an RSA operation before the puzzle");
        assert!(differs.is_none() || credentials == 0, "a credential of somebody who means another connection");
        assert!(
            differs.is_none() || !is_genuine || opened == 0,
            "an RSA operation for somebody who means another connection"
        );
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

/// What each end sends at the most: its frames of the login, and what it says in the session.
const MOST_BYTES: usize = 48 << 10;

const TOKEN: &[u8] = b"cst_token";

/// What has become of a login at one end.
type Outcome = Result<Stream<End>, LoginError>;

/// Where the two mean different connections nobody has a session, and both say why, if nobody interferes.
fn elsewhere(accepted: &Option<Outcome>, connected: &Option<Outcome>, differs: Differs, is_heard: bool) -> Reached {
    for outcome in [accepted, connected].into_iter().flatten() {
        let Err(error) = outcome else { panic!("a session with somebody who means another connection") };
        let is_said = matches!(error, LoginError::Protocol(Error::DifferentContext(said)) if *said == differs);
        assert!(
            is_said || !is_heard || accepted.is_none() || connected.is_none(),
            "{error:?}, where they differ in {differs:?}"
        );
    }
    Reached::AwaitAnswer
}

/// The other end of this session has given up: nothing was said, and no end is heard.
fn assert_cut(mut stream: Stream<End>, input: &mut Input<'_>, world: &Rc<RefCell<World>>) {
    world.borrow_mut().carry(input);
    let error = loop {
        match stream.read(&mut [0; 99]) {
            Ok(count) => panic!("{count} bytes of somebody who has said nothing"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => break error,
        }
    };
    assert!(stream.read(&mut [0; 99]).is_err() && stream.write(b"more").is_err(), "a session goes on after {error}");
}

/// One end's login, under way.
struct Login<F: Future> {
    future: Option<Pin<Box<F>>>,
    bell: Arc<Bell>,
    has_begun: bool,
    done: Option<F::Output>,
}

impl<F: Future> Login<F> {
    fn new(future: F) -> Self {
        Self { future: Some(Box::pin(future)), bell: Arc::default(), has_begun: false, done: None }
    }

    fn poll(&mut self) {
        let Some(future) = &mut self.future else { return };
        self.has_begun = true;
        let waker = self.bell.rope();
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.done = Some(output);
            self.future = None;
        }
    }

    /// Drops it where it is.
    fn give_up(&mut self) {
        self.future = None;
    }

    fn is_over(&self) -> bool {
        self.future.is_none()
    }

    /// Whether something is there for it.
    fn is_called(&self) -> bool {
        !self.is_over() && self.bell.has_rung()
    }
}

/// Tells whether somebody has done what a login waits for, and whether there is anybody who may.
#[derive(Default)]
struct Bell {
    state: Mutex<BellState>,
    changed: Condvar,
}

#[derive(Default)]
struct BellState {
    has_rung: bool,
    ropes: usize,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, BellState> {
        self.state.lock().unwrap()
    }

    fn has_rung(&self) -> bool {
        self.lock().has_rung
    }

    /// What it is to be rung by from now on, anew.
    fn rope(self: &Arc<Self>) -> Waker {
        let mut state = self.lock();
        state.has_rung = false;
        state.ropes += 1;
        drop(state);
        Waker::from(Arc::new(Rope(Arc::clone(self))))
    }

    /// Whether somebody is there who is to ring it.
    fn is_awaited(&self) -> bool {
        self.lock().ropes > 0
    }

    /// Until there is nobody any more.
    fn wait(&self) {
        // Nobody takes so long who takes part in this.
        let waited = self.changed.wait_timeout_while(self.lock(), Duration::from_secs(20), |state| state.ropes > 0);
        drop(waited.unwrap());
    }
}

struct Rope(Arc<Bell>);

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.0.lock().has_rung = true;
    }
}

impl Drop for Rope {
    fn drop(&mut self) {
        self.0.lock().ropes -= 1;
        self.0.changed.notify_all();
    }
}

/// Each says something and closes, and reads what the other says. Gives whether all of it arrived.
fn talk(mut server: Stream<End>, mut client: Stream<End>, input: &mut Input<'_>, world: &Rc<RefCell<World>>) -> bool {
    let said: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
    let say = |stream: &mut Stream<End>| {
        write_all(stream, &said[..100])?;
        stream.update_key().map_err(io::Error::other)?;
        write_all(stream, &said[100..])?;
        again(|| stream.flush())
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !world.borrow().arrived[at].is_empty() => {}
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

/// As `Write::write_all`, over a transport that would have to wait now and then: what was taken is not written again.
fn write_all(stream: &mut Stream<End>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = again(|| stream.write(bytes))?;
        bytes = &bytes[taken..];
    }
    Ok(())
}

/// Tries until it need not wait.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            done => return done,
        }
    }
}

/// Whoever is asked has the answer a moment later: so somebody can give up in between.
async fn a_moment() {
    let mut has_passed = false;
    poll_fn(|task| {
        if core::mem::replace(&mut has_passed, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whom the server knows.
struct Alice {
    factors: usize,
    asked: Arc<Asked>,
}

impl AsyncVerifier for Alice {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let verdict = self.look(&attempt.credential());
        // What did not open is asked about like any other.
        let is_sent = !matches!(verdict, Err(Reason::UnknownUser)) || attempt.credential().user() == Some("alice");
        self.asked.credentials.fetch_add(usize::from(is_sent), Ordering::SeqCst);
        self.asked.wrong.fetch_add(usize::from(matches!(verdict, Err(Reason::WrongPassword))), Ordering::SeqCst);
        a_moment().await;
        verdict
    }

    async fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        a_moment().await;
        if returning.principal() == "alice" { Ok(account()) } else { Err(Reason::UnknownUser) }
    }

    async fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        a_moment().await;
        let is_password = matches!(further.kind(), CredentialKind::Password | CredentialKind::Stretched);
        let wants = is_password && further.step() < self.factors;
        Ok(wants.then(|| prompt(further.step())))
    }

    async fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        a_moment().await;
        if attempt.answer() == answer(attempt.step()) { Ok(()) } else { Err(Reason::WrongFactor) }
    }
}

impl Alice {
    fn look(&self, credential: &Credential<'_>) -> Result<Grant, Reason> {
        match *credential {
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
}

/// The key, by somebody who is asked: then everything happens on this thread.
struct Remote(Arc<dyn Decrypt>, Arc<Asked>);

impl RemoteDecrypt for Remote {
    fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting {
        self.1.opened.fetch_add(1, Ordering::SeqCst);
        let decrypted = self.0.decrypt(&ciphertext, &mut CountingRng(0));
        Box::pin(async move {
            a_moment().await;
            decrypted
        })
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
    /// Whether the server asks for a puzzle first.
    has_puzzles: bool,
    /// In which pieces bytes arrive, at most, and leave, where the transport stutters.
    piece: usize,
    stutters: bool,
    calls: usize,
    taken: [usize; 2],
    /// The frames that each has sent, and all that came out at the other end.
    sent: [Vec<FrameType>; 2],
    passed: [Vec<u8>; 2],
    moved: usize,
    moved_before: usize,
}

impl World {
    /// Takes the frames that were written to the other end, as far as somebody lets them.
    fn carry(&mut self, input: &mut Input<'_>) {
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
            // What was written in part arrives in part.
            if self.has_left[way] && !self.between.is_cut(way) {
                self.passed[way].extend(&self.written[way]);
                let rest = core::mem::take(&mut self.written[way]);
                self.arrived[way].extend(rest);
            }
        }
    }

    /// Where nothing has moved, and nobody is about to, time does.
    fn go_on(&mut self, is_busy: bool) {
        if self.moved == self.moved_before && !is_busy {
            let next = self.waits.iter().copied().filter(|wait| *wait > self.now).min();
            self.now = next.unwrap_or(self.now + Duration::from_secs(1));
            let now = self.now;
            self.waits.retain(|wait| *wait > now);
        }
        self.moved_before = self.moved;
    }

    /// A call of the transport: now and then it is interrupted, or would have to wait.
    fn call(&mut self) -> io::Result<()> {
        if !self.stutters {
            return Ok(());
        }
        self.calls += 1;
        match self.calls % 7 {
            2 => Err(io::ErrorKind::Interrupted.into()),
            5 => {
                // The next one need not.
                self.moved += 1;
                Err(io::ErrorKind::WouldBlock.into())
            }
            _ => Ok(()),
        }
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
        let is_asking = self.has_puzzles && sent.first() == Some(&FrameType::Busy);
        let answers = sent.iter().filter(is_first).count();
        assert!(answers <= 1 + usize::from(is_asking), "a hello was answered twice: {sent:?}");
        let solutions = self.sent[UP].iter().filter(|kind| **kind == FrameType::Solution).count();
        assert!(solutions <= 1, "a client solved twice: {:?}", self.sent[UP]);
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
        world.call()?;
        let from = 1 - self.side;
        let count = room.len().min(world.arrived[from].len()).min(world.piece);
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
        world.call()?;
        let taken = if world.stutters { bytes.len().min(world.piece) } else { bytes.len() };
        world.written[self.side].extend_from_slice(&bytes[..taken]);
        world.taken[self.side] += taken;
        assert!(world.taken[self.side] <= MOST_BYTES, "more leaves than was written");
        world.moved += 1;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.world.borrow_mut().call()
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
        self.try_now(Write::flush)
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
