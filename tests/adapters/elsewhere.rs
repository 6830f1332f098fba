//! What is asked elsewhere, of a remote key or an async verifier: so many at once, in turn, and about nobody who has left.
//! And tickets that are asked about: their places are safe, and the limiter is asked about them once.

use crate::bounds::{a_begun_login_among_hellos, code, start};
use crate::ends::{
    Adapter, Session, accepting, asking, client_config, config, connector, disconnected, eventually, eventually_empty,
    login, pair, refused,
};
use crate::logins::{Returns, hello_with_proof, ticket, with_tickets};
use crate::peer::{Peer, VERDICT};
use crate::places::{Gate, one_at_a_time};
use crate::support::{ALICE, Counting, RSA2048, Scenario, provider, verifier};
use countersign::crypto::{Decrypt, Decrypting, RemoteDecrypt};
use countersign::frame::FrameType;
use countersign::{
    Acceptor, AsyncVerifier, Attempt, Bounds, Connector, Context, Grant, LoginError, Reason, Recheck, Returning,
    Server, ServerKey, Source, Ticket, TicketKeys, Verifier,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

for_every_adapter!(
    what_is_asked_elsewhere_is_asked_about_so_many_at_once_in_turn,
    a_login_that_was_opened_elsewhere_and_is_verified_here_leaves_its_question_to_the_next,
    a_login_whose_hello_was_opened_elsewhere_does_not_make_way_for_hellos,
    tickets_are_asked_about_elsewhere_so_many_at_once,
    a_ticket_that_is_asked_about_has_a_place_that_nobody_can_take,
    a_ticket_that_is_not_taken_waits_for_its_peer_again,
    a_ticket_that_is_used_up_does_not_make_way_for_hellos,
    a_ticket_is_not_used_up_where_its_client_is_turned_away,
    the_limiter_is_asked_once_about_whoever_shows_a_ticket,
    a_login_that_arrives_as_the_server_stops_is_answered_or_told_so,
);

/// Somebody elsewhere, who says that it was asked, and answers when it may.
pub struct Elsewhere {
    asked: Mutex<Sender<oneshot::Sender<()>>>,
    inside: AtomicUsize,
    most: AtomicUsize,
}

/// Counted for as long as somebody waits for the answer.
struct Inside(Arc<Elsewhere>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Elsewhere {
    pub fn new() -> (Arc<Self>, Receiver<oneshot::Sender<()>>) {
        let (ask, asked) = channel();
        (Arc::new(Self { asked: Mutex::new(ask), inside: AtomicUsize::new(0), most: AtomicUsize::new(0) }), asked)
    }

    /// Asks now; the answer comes when it may.
    fn ask(self: &Arc<Self>) -> (Inside, oneshot::Receiver<()>) {
        let inside = Inside(Arc::clone(self));
        self.most.fetch_max(self.inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (go, may_go) = oneshot::channel();
        self.asked.lock().unwrap().send(go).unwrap();
        (inside, may_go)
    }
}

struct Key(Arc<Elsewhere>, Arc<dyn Decrypt>);

impl RemoteDecrypt for Key {
    fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting {
        let (private, (inside, may_go)) = (Arc::clone(&self.1), self.0.ask());
        Box::pin(async move {
            may_go.await.unwrap();
            drop(inside);
            private.decrypt(&ciphertext, &mut Scenario::new().rng("elsewhere"))
        })
    }
}

struct Store(Option<Arc<Elsewhere>>);

impl Store {
    async fn ask(&self) {
        if let Some(elsewhere) = &self.0 {
            let (inside, may_go) = elsewhere.ask();
            may_go.await.unwrap();
            drop(inside);
        }
    }
}

impl AsyncVerifier for Store {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.ask().await;
        verifier(attempt)
    }
}

pub fn remote(elsewhere: &Arc<Elsewhere>) -> ServerKey {
    let private = RSA2048.decryptor();
    ServerKey::with_remote_decrypt(RSA2048.private.public_key().clone(), Arc::new(Key(Arc::clone(elsewhere), private)))
}

fn what_is_asked_elsewhere_is_asked_about_so_many_at_once_in_turn<A: Adapter>() {
    let bounds =
        Bounds::default().with_working(1).with_remote(2).with_waiting(4).with_patience(Duration::from_secs(3600));
    for variant in 0..3 {
        let (elsewhere, asked) = Elsewhere::new();
        let opened = Arc::new(Counting::with(&RSA2048));
        let here = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), Arc::clone(&opened) as _);
        let acceptor = match variant {
            0 => Acceptor::new(config(), remote(&elsewhere), verifier),
            1 => Acceptor::new_async(config(), remote(&elsewhere), Store(None)),
            _ => Acceptor::new_async(config(), here, Store(Some(Arc::clone(&elsewhere)))),
        };
        let acceptor = acceptor.with_bounds(bounds);
        let start = |source: &str| {
            let before = opened.count();
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Source::named(source));
            let mut peer = Peer::new(client);
            peer.login(&Scenario::new(), ALICE);
            // A key that is here has a bounded queue, too, in which none of these is to wait for the others.
            eventually("it is opened", || variant < 2 || opened.count() > before);
            (peer, server)
        };
        let begun = [start("many"), start("many")];
        let mut answers: Vec<_> = (0..2).map(|_| asked.recv().unwrap()).collect();
        // Four may wait, so two of six are shed: of the source with the most.
        let mut waiting: Vec<_> = (0..5).map(|_| start("many")).collect();
        waiting.push(start("good"));
        // All of them are in then: two are asked about, four wait, and two have been told.
        let told = || waiting.iter().filter(|(_, server)| server.is_finished()).count();
        eventually("two are refused", || told() == 2 && acceptor.counts().logins == 6);
        assert!(matches!(asked.try_recv(), Err(TryRecvError::Empty)), "{variant}");
        // One of those that wait leaves, and is not asked about.
        let (good, of_good) = waiting.pop().unwrap();
        drop(good);
        assert_eq!(disconnected(of_good.join().unwrap().map(drop).unwrap_err()), FrameType::Data);
        eventually("it holds nothing", || acceptor.counts().logins == 5);
        let mut ends: Vec<_> = begun.into_iter().chain(waiting).collect();
        let mut count = 2;
        while !answers.is_empty() {
            answers.remove(0).send(()).unwrap();
            if count < 5 {
                answers.push(asked.recv().unwrap());
                count += 1;
            }
        }
        let results: Vec<_> = ends
            .drain(..)
            .map(|(mut peer, server)| {
                let result = server.join().unwrap().map(drop);
                let told = peer.rest().len();
                // Whoever could not be told anything that it can open was told nothing.
                let is_opened = variant == 2;
                assert_eq!(told, if result.is_ok() || is_opened { VERDICT } else { 0 }, "{variant}");
                result
            })
            .collect();
        let good = results.iter().filter(|result| result.is_ok()).count();
        let shed = results.into_iter().filter_map(Result::err).map(|error| refused(error).1.code());
        assert_eq!((good, shed.collect::<Vec<_>>()), (5, vec!["not-now"; 2]), "{variant}");
        assert_eq!(elsewhere.most.load(Ordering::SeqCst), 2, "{variant}");
        assert!(matches!(asked.try_recv(), Err(TryRecvError::Empty)));
        eventually_empty(&acceptor);
    }
}

fn a_login_that_was_opened_elsewhere_and_is_verified_here_leaves_its_question_to_the_next<A: Adapter>() {
    let ((gate, verifier), (elsewhere, asked)) = (Gate::new(), Elsewhere::new());
    let bounds = Bounds::default().with_working(1).with_remote(1).with_patience(Duration::from_secs(3600));
    let acceptor = Acceptor::new(config(), remote(&elsewhere), verifier).with_bounds(bounds);
    let first = start::<A>(&acceptor, "one", ALICE);
    asked.recv().unwrap().send(()).unwrap();
    assert_eq!(gate.entered.recv().unwrap(), "alice");
    // Its password is looked at, for as long as that takes.
    let second = start::<A>(&acceptor, "another", ALICE);
    asked.recv().unwrap().send(()).unwrap();
    (0..2).for_each(|_| gate.go.send(()).unwrap());
    for (client, server) in [first, second] {
        assert!(client.join().unwrap().is_ok() && server.join().unwrap().is_ok());
    }
}

fn a_login_whose_hello_was_opened_elsewhere_does_not_make_way_for_hellos<A: Adapter>() {
    for _ in 0..3 {
        let (elsewhere, asked) = Elsewhere::new();
        let acceptor = Acceptor::new_async(config(), remote(&elsewhere), Store(None));
        let bounds = Bounds::default().with_remote(1).with_waiting(2).with_patience(Duration::from_secs(3600));
        let acceptor = acceptor.with_bounds(bounds);
        let of_hello = std::thread::spawn(move || {
            asked.recv().unwrap().send(()).unwrap();
            asked
        });
        let occupy = || {
            let asked = of_hello.join().unwrap();
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Source::named("first"));
            let mut peer = Peer::new(client);
            peer.login(&Scenario::new(), ALICE);
            (asked.recv().unwrap(), asked, peer, server)
        };
        let (mut peer, server) =
            a_begun_login_among_hellos::<A, _, _>(&acceptor, occupy, |(first, asked, peer, server)| {
                first.send(()).unwrap();
                // All that is still to be asked about, until nobody is left who might ask.
                std::thread::spawn(move || asked.into_iter().for_each(|next| next.send(()).unwrap()));
                (peer, server)
            });
        drop(server.join().unwrap().unwrap());
        assert_eq!(peer.rest().len(), VERDICT);
        eventually_empty(&acceptor);
    }
}

struct AsksAboutTickets(Store);

impl AsyncVerifier for AsksAboutTickets {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        verifier(attempt).map(|grant| grant.with_epoch(1))
    }

    async fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        self.0.ask().await;
        Ok(crate::support::grant().with_epoch(1))
    }
}

fn tickets_are_asked_about_elsewhere_so_many_at_once<A: Adapter>() {
    let (elsewhere, asked) = Elsewhere::new();
    let verifier = AsksAboutTickets(Store(Some(Arc::clone(&elsewhere))));
    let keys = TicketKeys::new(provider(), Duration::from_secs(3600)).with_unlimited_reuse();
    let acceptor = Acceptor::new_async(config().with_tickets(keys), RSA2048.server.clone(), verifier)
        .with_recheck(Recheck::never());
    let acceptor = acceptor.with_bounds(Bounds::default().with_remote(1).with_patience(Duration::from_secs(3600)));
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    let ticket = client.unwrap().info().ticket().unwrap().clone();
    drop(server.unwrap());
    let returning: Vec<_> = (0..3)
        .map(|_| {
            let ((client, server), ticket) = (pair(), ticket.clone());
            let server = accepting::<A>(&acceptor, server, Context::uncounted());
            (std::thread::spawn(move || A::resume(&connector(), client, &ticket, ALICE)), server)
        })
        .collect();
    eventually("all wait", || acceptor.counts().logins == 3);
    for _ in 0..3 {
        asked.recv().unwrap().send(()).unwrap();
    }
    for (client, server) in returning {
        assert!(client.join().unwrap().unwrap().info().is_resumed());
        drop(server.join().unwrap().unwrap());
    }
    assert_eq!(elsewhere.most.load(Ordering::SeqCst), 1);
    eventually_empty(&acceptor);
}

/// Asked about a ticket, says so, and answers when it is told what.
struct Slow {
    asked: Mutex<Sender<()>>,
    answer: Mutex<Receiver<bool>>,
}

impl Verifier for Slow {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        verifier(attempt).map(|grant| grant.with_epoch(1))
    }

    fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        self.asked.lock().unwrap().send(()).unwrap();
        let is_good = self.answer.lock().unwrap().recv().unwrap();
        if is_good { Ok(crate::support::grant().with_epoch(1)) } else { Err(Reason::AccountDisabled) }
    }
}

/// A ticket that is being asked about: the client's end, the server's end, and how to answer.
#[allow(clippy::type_complexity)]
fn slow_ticket<A: Adapter>(
    bounds: Bounds,
) -> (
    Acceptor,
    Sender<bool>,
    std::thread::JoinHandle<Result<A::Session, LoginError>>,
    std::thread::JoinHandle<Result<A::Session, LoginError>>,
) {
    let ((ask, asked), (answer, answers)) = (channel(), channel());
    let slow = Slow { asked: Mutex::new(ask), answer: Mutex::new(answers) };
    let acceptor = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), slow)
        .with_bounds(bounds)
        .with_recheck(Recheck::never());
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    let ticket = client.unwrap().info().ticket().unwrap().clone();
    drop(server.unwrap());
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Context::uncounted());
    let client = std::thread::spawn(move || A::resume(&connector(), client, &ticket, ALICE));
    asked.recv().unwrap();
    (acceptor, answer, client, server)
}

fn a_ticket_that_is_asked_about_has_a_place_that_nobody_can_take<A: Adapter>() {
    let (acceptor, answer, client, server) = slow_ticket::<A>(Bounds::default().with_handshakes(1));
    let flood: Vec<_> = (0..4)
        .map(|number| {
            let (peer, theirs) = pair();
            let newcomer = accepting::<A>(&acceptor, theirs, Source::named("flood"));
            eventually("it is in", || acceptor.counts().made_way == number);
            eventually("it is in", || acceptor.counts().handshakes == 1);
            (peer, newcomer)
        })
        .collect();
    assert_eq!(acceptor.counts().logins, 1);
    answer.send(true).unwrap();
    assert!(client.join().unwrap().unwrap().info().is_resumed());
    drop(server.join().unwrap().unwrap());
    for (peer, newcomer) in flood {
        drop(peer);
        drop(newcomer.join().unwrap());
    }
    eventually_empty(&acceptor);
    assert_eq!(acceptor.counts().logins, 0);
}

fn a_ticket_that_is_not_taken_waits_for_its_peer_again<A: Adapter>() {
    for stops in [false, true] {
        let (acceptor, answer, client, server) = slow_ticket::<A>(Bounds::default());
        assert_eq!((acceptor.counts().handshakes, acceptor.counts().logins), (0, 1));
        if stops {
            acceptor.stop();
        }
        answer.send(false).unwrap();
        let (client, server) = (client.join().unwrap(), server.join().unwrap());
        if stops {
            assert!(client.is_err());
            assert_eq!(server.map(drop).unwrap_err().code(), "stopping");
        } else {
            assert!(!client.unwrap().info().is_resumed());
            drop(server.unwrap());
        }
        eventually_empty(&acceptor);
        assert_eq!((acceptor.counts().logins, acceptor.counts().made_way), (0, 0));
    }
}

type End<A> = JoinHandle<Result<<A as Adapter>::Session, LoginError>>;

/// Those who show two tickets, of which one is asked about and the other waits for that; with room for one who waits.
struct InLine<A: Adapter> {
    acceptor: Acceptor,
    asked: Receiver<()>,
    answer: Sender<bool>,
    returning: [[End<A>; 2]; 2],
    /// Nobody has shown it yet.
    third: Ticket,
}

impl<A: Adapter> InLine<A> {
    fn new() -> Self {
        let ((ask, asked), (answer, answers)) = (channel(), channel());
        let slow = Slow { asked: Mutex::new(ask), answer: Mutex::new(answers) };
        let acceptor = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), slow)
            .with_bounds(one_at_a_time().with_waiting(1))
            .with_recheck(Recheck::never());
        let [first, second, third] = [(); 3].map(|()| ticket::<A>(&acceptor));
        let show = |source: &str, ticket: Ticket| {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Source::named(source));
            [std::thread::spawn(move || A::resume(&connector(), client, &ticket, ALICE)), server]
        };
        let first = show("first", first);
        asked.recv().unwrap();
        let second = show("second", second);
        eventually("it waits", || acceptor.counts().waiting == 1);
        Self { acceptor, asked, answer, returning: [first, second], third }
    }

    /// Sends this from another source, and is told to come later: why.
    fn is_turned_away(&self, source: &str, hello: &[u8]) -> &'static str {
        let (client, server) = pair();
        let server = accepting::<A>(&self.acceptor, server, Source::named(source));
        let mut peer = Peer::new(client);
        peer.send(hello);
        eventually("it has an answer", || peer.has_answer());
        peer.receive(FrameType::Busy);
        drop(peer);
        code(server.join().unwrap())
    }

    /// Answers about each of them, and one more: they are back.
    fn go(self) -> (Acceptor, Receiver<()>) {
        (0..3).for_each(|_| self.answer.send(true).unwrap());
        for end in self.returning.into_iter().flatten() {
            assert!(end.join().unwrap().unwrap().info().is_resumed());
        }
        (self.acceptor, self.asked)
    }
}

fn a_ticket_that_is_used_up_does_not_make_way_for_hellos<A: Adapter>() {
    // At random one of them would take its place but once in nine times.
    for _ in 0..3 {
        let tickets = InLine::<A>::new();
        let known = Scenario::new().known_key();
        for number in 0..8 {
            tickets.is_turned_away(&number.to_string(), &known.await_challenge().0);
        }
        tickets.go();
    }
}

fn a_ticket_is_not_used_up_where_its_client_is_turned_away<A: Adapter>() {
    let tickets = InLine::<A>::new();
    let third = tickets.third.clone();
    // The one who waits has waited for too long by this.
    tickets.acceptor.set_bounds(one_at_a_time().with_waiting(1).with_patience(Duration::from_nanos(1)));
    assert_eq!(tickets.is_turned_away("third", &hello_with_proof(third.clone())), "pressed");
    tickets.acceptor.set_bounds(one_at_a_time().with_waiting(1));
    let (acceptor, _asked) = tickets.go();
    let known = Server::key(RSA2048.private.public_key().clone());
    let connector = Connector::new(client_config().with_proof_at_resumption(), known);
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Source::named("third"));
    let client = A::resume(&connector, client, &third, ALICE).unwrap();
    assert!(client.info().is_resumed() && server.join().unwrap().is_ok());
}

fn the_limiter_is_asked_once_about_whoever_shows_a_ticket<A: Adapter>() {
    let asked = Arc::new(AtomicUsize::new(0));
    for is_open in [true, false] {
        let returns = Arc::new(Returns::default());
        let acceptor = Acceptor::new(with_tickets(config()), RSA2048.server.clone(), Arc::clone(&returns))
            .with_recheck(Recheck::never());
        let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
        let ticket = client.unwrap().info().ticket().unwrap().clone();
        drop(server.unwrap());
        // Every house is full for a second session of the same principal: the ticket is good, and not taken.
        let acceptor = acceptor.with_bounds(Bounds::default().with_sessions_per_principal(1));
        let (_client, _first) = login::<A>(&acceptor, &connector(), ALICE);
        let count = Arc::clone(&asked);
        let limited = acceptor.with_limiter(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            if is_open { Ok(()) } else { Err(Reason::NotAdmitted("closed")) }
        });
        let (client, server) = pair();
        let server = accepting::<A>(&limited, server, Context::uncounted());
        assert!(A::resume(&connector(), client, &ticket, ALICE).is_err());
        assert_eq!(refused(server.join().unwrap().map(drop).unwrap_err()).1.code(), "not-admitted");
        assert_eq!(returns.resumed.load(Ordering::SeqCst), usize::from(is_open));
        assert_eq!(asked.swap(0, Ordering::SeqCst), 1);
    }
}

fn a_login_that_arrives_as_the_server_stops_is_answered_or_told_so<A: Adapter>() {
    for round in 0..40 {
        let acceptor = asking(verifier);
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let mut peer = Peer::new(client);
        let login = peer.hello(&Scenario::new());
        let (login, _) = Scenario::new().credential(ALICE).log_in(login.state, &login.challenge).unwrap();
        let stopping = acceptor.clone();
        let stop = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(round * 5));
            stopping.stop();
        });
        // It may be closed already.
        let _ = std::io::Write::write_all(&mut peer.0, &login);
        if let Err(error) = server.join().unwrap() {
            assert_eq!(error.code(), "stopping", "{error:?}");
        }
        stop.join().unwrap();
        eventually_empty(&acceptor);
    }
}
