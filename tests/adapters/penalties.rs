//! Guessing: who has to wait, and who does not, over real connections.

use crate::ends::{
    Adapter, Session, accepting, client_config, config, connector, eventually, eventually_empty, failed, login, pair,
    protocol, refused,
};
use crate::peer::{Peer, VERDICT};
use crate::support::{ALICE, Counting, RSA2048, Scenario, TOKEN, verify};
use countersign::frame::FrameType;
use countersign::{
    Acceptor, AsyncVerifier, Attempt, Connector, Credential, Error, Grant, KeyExchange, LoginError, Moment, Penalties,
    Penalty, PenaltyEvent, PenaltyKey, PenaltyStore, Reason, Returning, Server, ServerKey, Source, Standing, StoreAway,
    Stored, TicketKeys, Verifier, Waits, WhenAway,
};
use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

for_every_adapter!(
    many_names_from_one_source_are_turned_away_before_any_rsa_operation,
    one_name_from_many_sources_is_not_looked_at_and_its_owner_gets_in_where_she_was_before,
    a_password_that_is_not_looked_at_is_refused_as_any_other_and_no_sooner,
    a_hundred_guesses_at_once_fare_no_better_than_a_hundred_in_a_row,
    tickets_tokens_and_keys_wait_for_nothing_where_somebody_has_logged_in,
    connections_that_come_to_nothing_count_by_a_quarter,
    servers_that_share_their_counts_stop_a_guesser_together,
    a_store_that_fails_hangs_or_panics_is_counted_and_does_as_configured,
    async_verifiers_are_asked_as_seldom,
    a_password_in_the_place_of_a_name_is_told_to_no_log,
    of_many_logins_at_once_no_more_are_looked_at_than_may_be_wrong,
    good_logins_at_once_wait_for_one_another_and_all_get_in,
    what_all_servers_share_is_not_asked_about_who_has_to_wait_here_anyway,
    a_hello_that_is_opened_in_vain_is_told_to_others,
);

/// Counts what is looked at.
#[derive(Clone, Default)]
struct Looked(Arc<AtomicUsize>);

impl Looked {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn check(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.0.fetch_add(1, Ordering::SeqCst);
        verify(attempt.credential()).map(|grant| grant.with_epoch(1))
    }
}

impl Verifier for Looked {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.check(attempt)
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        Ok(Grant::new(returning.principal(), ["read"]).unwrap().with_epoch(1))
    }
}

struct Asynchronous(Looked);

impl AsyncVerifier for Asynchronous {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.0.check(attempt)
    }
}

/// As by default, but whoever waits waits for longer than any of these tests takes.
fn penalties() -> Penalties {
    let waits = |free| Waits::new(free, HOUR, HOUR);
    Penalties::default().with_source(waits(8)).with_block(waits(64)).with_account(waits(10))
}

const HOUR: Duration = Duration::from_secs(3600);

fn acceptor(looked: &Looked) -> Acceptor {
    Acceptor::new(config(), RSA2048.server.clone(), looked.clone()).with_penalties(penalties())
}

fn wrong(user: &str) -> Credential<'_> {
    Credential::Password { user, password: b"guess" }
}

/// A login from this source: what the client gets, and what the server gets.
fn from<A: Adapter>(
    acceptor: &Acceptor,
    source: &str,
    credential: Credential<'_>,
) -> (Result<A::Session, LoginError>, Result<A::Session, LoginError>) {
    let (client, server) = pair();
    let server = accepting::<A>(acceptor, server, Source::named(source));
    let client = A::connect(&connector(), client, credential);
    (client, server.join().unwrap())
}

/// Why the server let nobody in.
fn why<A: Adapter>(acceptor: &Acceptor, source: &str, credential: Credential<'_>) -> Reason {
    let (client, server) = from::<A>(acceptor, source, credential);
    let reason = refused(server.map(drop).unwrap_err()).1;
    let client = protocol(client.map(drop).unwrap_err());
    match reason {
        Reason::Penalty(Penalty::Source | Penalty::Block) => assert!(matches!(client, Error::Busy { .. }), "{client}"),
        _ => assert_eq!(client, Error::Refused, "{reason}"),
    }
    reason
}

fn gets_in<A: Adapter>(acceptor: &Acceptor, source: &str, credential: Credential<'_>) {
    let (client, server) = from::<A>(acceptor, source, credential);
    assert!(client.is_ok() && server.is_ok(), "{source} {:?}", server.map(drop));
}

fn many_names_from_one_source_are_turned_away_before_any_rsa_operation<A: Adapter>() {
    let (looked, key) = (Looked::default(), Arc::new(Counting::with(&RSA2048)));
    let server_key = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), key.clone());
    let acceptor = Acceptor::new(config(), server_key, looked.clone()).with_penalties(penalties());
    gets_in::<A>(&acceptor, "home", ALICE);
    for number in 0..9 {
        assert_eq!(why::<A>(&acceptor, "flat", wrong(&format!("user {number}"))), Reason::UnknownUser);
    }
    let before = (looked.count(), key.count());
    for number in 0..50 {
        let reason = why::<A>(&acceptor, "flat", wrong(&format!("user {number}")));
        assert_eq!(reason, Reason::Penalty(Penalty::Source));
    }
    // Also with the right password, and as somebody who shows that it has the key whole.
    assert_eq!(why::<A>(&acceptor, "flat", ALICE), Reason::Penalty(Penalty::Source));
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Source::named("flat"));
    let whole = Server::key(RSA2048.private.public_key().clone()).with_floor(KeyExchange::X25519);
    let client = A::connect(&Connector::new(client_config(), whole), client, ALICE);
    match protocol(client.map(drop).unwrap_err()) {
        // After the hour that it has to wait, and some seconds so that not all come at once.
        Error::Busy { retry_after } => assert!((3000..=3603).contains(&retry_after), "{retry_after}"),
        other => panic!("{other}"),
    }
    assert_eq!(refused(server.join().unwrap().map(drop).unwrap_err()), (None, Reason::Penalty(Penalty::Source)));
    assert_eq!((looked.count(), key.count()), before, "no RSA operation, and nobody was asked");
    gets_in::<A>(&acceptor, "home", ALICE);
    gets_in::<A>(&acceptor, "elsewhere", ALICE);
    assert_eq!((acceptor.counts().turned_away, acceptor.counts().unchecked), (52, 0));
}

fn one_name_from_many_sources_is_not_looked_at_and_its_owner_gets_in_where_she_was_before<A: Adapter>() {
    let looked = Looked::default();
    let acceptor = acceptor(&looked);
    gets_in::<A>(&acceptor, "home", ALICE);
    for name in ["alice", "nobody"] {
        let before = looked.count();
        let reasons: Vec<_> = (0..40).map(|flat| why::<A>(&acceptor, &format!("{name} {flat}"), wrong(name))).collect();
        let unseen = reasons.iter().filter(|reason| **reason == Reason::Penalty(Penalty::Account)).count();
        assert_eq!(unseen, 29, "{name}");
        assert_eq!(looked.count() - before, 11, "{name}: those that exist and those that don't alike");
    }
    // A right guess is no better than another.
    assert_eq!(why::<A>(&acceptor, "alice's neighbour", ALICE), Reason::Penalty(Penalty::Account));
    (0..5).for_each(|_| gets_in::<A>(&acceptor, "home", ALICE));
    assert_eq!(why::<A>(&acceptor, "home", wrong("alice")), Reason::WrongPassword);
    gets_in::<A>(&acceptor, "home", ALICE);
}

fn a_password_that_is_not_looked_at_is_refused_as_any_other_and_no_sooner<A: Adapter>() {
    const FLOOR: Duration = Duration::from_millis(300);
    let acceptor = Acceptor::new(config().with_refusal_floor(FLOOR), RSA2048.server.clone(), Looked::default());
    let acceptor = acceptor.with_penalties(penalties());
    let scenario = Scenario::new();
    let refusal = |flat: usize, credential| {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named(&flat.to_string()));
        let mut peer = Peer::new(client);
        let before = Instant::now();
        let state = peer.login(&scenario, credential);
        let verdict = peer.receive(FrameType::ServerVerdict);
        assert!(before.elapsed() >= FLOOR);
        assert_eq!((verdict.len(), peer.rest().len()), (VERDICT, 0));
        assert_eq!(state.read(&verdict, Moment::ORIGIN, crate::support::TODAY).map(drop), Err(Error::Refused));
        refused(server.join().unwrap().map(drop).unwrap_err()).1
    };
    let guesses: Vec<_> =
        (0..12).map(|flat| refusal(flat, Credential::Password { user: "alice", password: b"guess" })).collect();
    assert_eq!((&guesses[10], &guesses[11]), (&Reason::WrongPassword, &Reason::Penalty(Penalty::Account)));
    assert_eq!(refusal(12, ALICE), Reason::Penalty(Penalty::Account));
}

fn a_hundred_guesses_at_once_fare_no_better_than_a_hundred_in_a_row<A: Adapter>() {
    let looked = Looked::default();
    let working = 2;
    let acceptor = acceptor(&looked).with_bounds(countersign::Bounds::default().with_working(working));
    let guesses: Vec<_> = (0..40)
        .map(|flat| {
            let (client, server) = pair();
            let server = accepting::<A>(&acceptor, server, Source::named(&flat.to_string()));
            (std::thread::spawn(move || A::connect(&connector(), client, wrong("alice")).map(drop)), server)
        })
        .collect();
    for (client, server) in guesses {
        assert!(client.join().unwrap().is_err() && server.join().unwrap().is_err());
    }
    // Those that were being looked at when the last of the free ones was found wrong; the others know of it.
    assert!((10..=30).contains(&looked.count()), "{}", looked.count());
    eventually_empty(&acceptor);
}

fn tickets_tokens_and_keys_wait_for_nothing_where_somebody_has_logged_in<A: Adapter>() {
    let looked = Looked::default();
    let tickets = TicketKeys::new(crate::support::provider(), Duration::from_secs(600));
    let acceptor = Acceptor::new(config().with_tickets(tickets), RSA2048.server.clone(), looked.clone());
    let acceptor = acceptor.with_penalties(penalties());
    let (session, _server) = from::<A>(&acceptor, "home", ALICE);
    let ticket = session.unwrap().info().ticket().cloned().unwrap();
    (0..9).for_each(|number| assert_eq!(why::<A>(&acceptor, "home", wrong(&number.to_string())), Reason::UnknownUser));
    // Alice has logged in from there, so hellos are taken, and a token is looked at.
    assert_eq!(
        refused(from::<A>(&acceptor, "home", wrong("bob")).1.map(drop).unwrap_err()).1,
        Reason::Penalty(Penalty::Source)
    );
    gets_in::<A>(&acceptor, "home", Credential::Token(TOKEN));
    // Where nobody has, a ticket is.
    (0..9)
        .for_each(|number| assert_eq!(why::<A>(&acceptor, "road", wrong(&format!("r{number}"))), Reason::UnknownUser));
    assert_eq!(why::<A>(&acceptor, "road", ALICE), Reason::Penalty(Penalty::Source));
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Source::named("road"));
    let resumed = A::resume(&connector(), client, &ticket, ALICE).unwrap();
    assert!(resumed.info().is_resumed());
    drop(server.join().unwrap());
    // From then on the road is a place that alice has logged in from.
    gets_in::<A>(&acceptor, "road", ALICE);
}

fn connections_that_come_to_nothing_count_by_a_quarter<A: Adapter>() {
    let acceptor = acceptor(&Looked::default());
    for round in 0..33 {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named("flat"));
        let mut peer = Peer::new(client);
        match round % 3 {
            // Leaves after the challenge.
            0 => drop(peer.hello(&Scenario::new())),
            1 => peer.send(b"GET / HTTP/1.1\r\n\r\n"),
            _ => peer.send(&[1, 0, 53, 200, 0, 0, 0, 0, 0, 0]),
        }
        peer.end_sending();
        drop(peer);
        assert!(server.join().unwrap().is_err());
    }
    eventually("they were counted", || {
        let (client, server) = from::<A>(&acceptor, "flat", wrong("alice"));
        drop(client);
        server.map(drop).unwrap_err().code() == "penalty-source"
    });
    // Whoever looks whether anybody listens does no harm.
    for _ in 0..100 {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named("balancer"));
        drop(client);
        assert!(server.join().unwrap().is_err());
    }
    gets_in::<A>(&acceptor, "balancer", ALICE);
}

/// Counts that some servers share; on no clock, so they don't fade.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<HashMap<PenaltyKey, f64>>>, Arc<AtomicUsize>);

impl Shared {
    /// How often it was asked.
    pub fn reads(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }

    fn level(&self, key: &PenaltyKey) -> f64 {
        self.0.lock().unwrap().get(key).copied().unwrap_or_default()
    }
}

impl PenaltyStore for Shared {
    fn read<'a>(&'a self, keys: &'a [PenaltyKey]) -> Stored<'a, Vec<Standing>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let counts = self.0.lock().unwrap();
        let standing = |key| Standing { level: counts.get(key).copied().unwrap_or(0.0), since: Duration::ZERO };
        let standings = keys.iter().map(standing).collect();
        Box::pin(async { Ok(standings) })
    }

    fn add<'a>(&'a self, amounts: &'a [(PenaltyKey, f64)]) -> Stored<'a, ()> {
        let mut counts = self.0.lock().unwrap();
        for (key, amount) in amounts {
            let count = counts.entry(key.clone()).or_default();
            *count = (*count + amount).max(0.0);
        }
        Box::pin(async { Ok(()) })
    }
}

fn servers_that_share_their_counts_stop_a_guesser_together<A: Adapter>() {
    let (looked, store) = (Looked::default(), Shared::default());
    let shared = || penalties().with_store(store.clone(), WhenAway::GoOn);
    let servers = [0, 1].map(|_| acceptor(&looked).with_penalties(shared()));
    gets_in::<A>(&servers[0], "home", ALICE);
    // From one source, at either.
    for number in 0..9 {
        let reason = why::<A>(&servers[number % 2], "flat", wrong(&number.to_string()));
        assert_eq!(reason, Reason::UnknownUser, "{number}");
    }
    servers.iter().for_each(|server| {
        assert_eq!(why::<A>(server, "flat", ALICE), Reason::Penalty(Penalty::Source));
    });
    // At one name.
    for number in 0..11 {
        let reason = why::<A>(&servers[number % 2], &format!("at alice {number}"), wrong("alice"));
        assert_eq!(reason, Reason::WrongPassword, "{number}");
    }
    servers.iter().for_each(|server| {
        assert_eq!(why::<A>(server, "far", ALICE), Reason::Penalty(Penalty::Account));
        // She has logged in at one of them, and both know that.
        gets_in::<A>(server, "home", ALICE);
    });
}

/// A store that does not work.
#[derive(Clone, Copy)]
enum Broken {
    Fails,
    Hangs,
    Panics,
    SaysTooLittle,
}

impl Broken {
    fn answer<T: Send + 'static>(self, too_little: T) -> Stored<'static, T> {
        match self {
            Self::Fails => Box::pin(async { Err(StoreAway) }),
            Self::Hangs => Box::pin(pending()),
            Self::Panics => std::panic::resume_unwind(Box::new(())),
            Self::SaysTooLittle => Box::pin(async { Ok(too_little) }),
        }
    }
}

impl PenaltyStore for Broken {
    fn read<'a>(&'a self, _: &'a [PenaltyKey]) -> Stored<'a, Vec<Standing>> {
        self.answer(Vec::new())
    }

    fn add<'a>(&'a self, _: &'a [(PenaltyKey, f64)]) -> Stored<'a, ()> {
        self.answer(())
    }
}

fn a_store_that_fails_hangs_or_panics_is_counted_and_does_as_configured<A: Adapter>() {
    for broken in [Broken::Fails, Broken::Hangs, Broken::Panics, Broken::SaysTooLittle] {
        // A login waits for a store that hangs for as long as it may for a turn.
        let patience = Duration::from_secs(if matches!(broken, Broken::Hangs) { 2 } else { 60 });
        let patience = countersign::Bounds::default().with_patience(patience);
        let away = Arc::new(AtomicUsize::new(0));
        let with = |when_away| {
            let away = Arc::clone(&away);
            penalties().with_store(broken, when_away).with_observer(move |event| {
                away.fetch_add(usize::from(matches!(event, PenaltyEvent::StoreAway)), Ordering::SeqCst);
            })
        };
        let looked = Looked::default();
        let open = acceptor(&looked).with_bounds(patience).with_penalties(with(WhenAway::GoOn));
        gets_in::<A>(&open, "home", ALICE);
        assert!(open.counts().store_away >= 2);
        if matches!(broken, Broken::Hangs) {
            continue;
        }
        // By its own counts it goes on.
        (0..9).for_each(|number| assert_eq!(why::<A>(&open, "flat", wrong(&number.to_string())), Reason::UnknownUser));
        assert_eq!(why::<A>(&open, "flat", ALICE), Reason::Penalty(Penalty::Source));
        let counted = open.counts().store_away;
        assert!(counted >= 20, "{counted}");
        assert_eq!(away.load(Ordering::SeqCst), usize::try_from(counted).unwrap());
        let shut = acceptor(&looked).with_bounds(patience).with_penalties(with(WhenAway::TurnAway));
        let (client, server) = from::<A>(&shut, "home", ALICE);
        assert!(matches!(protocol(client.map(drop).unwrap_err()), Error::Busy { .. }));
        assert!(matches!(refused(server.map(drop).unwrap_err()).1, Reason::NotNow(_)));
    }
}

fn async_verifiers_are_asked_as_seldom<A: Adapter>() {
    let looked = Looked::default();
    let acceptor =
        Acceptor::new_async(config(), RSA2048.server.clone(), Asynchronous(looked.clone())).with_penalties(penalties());
    let reasons: Vec<_> = (0..20).map(|flat| why::<A>(&acceptor, &flat.to_string(), wrong("alice"))).collect();
    assert_eq!(reasons[11..], vec![Reason::Penalty(Penalty::Account); 9]);
    assert_eq!(looked.count(), 11);
    // Without penalties, all are.
    let acceptor = acceptor.without_penalties();
    (0..20).for_each(|_| {
        let (_, error) = failed::<A>(&acceptor, &connector(), wrong("alice"));
        assert_eq!(refused(error).1, Reason::WrongPassword);
    });
    let (client, server) = login::<A>(&acceptor, &connector(), ALICE);
    assert!(client.is_ok() && server.is_ok());
}

/// Somebody who types the password where the name belongs, and again, until it has to wait.
fn a_password_in_the_place_of_a_name_is_told_to_no_log<A: Adapter>() {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let observe = |penalties: Penalties| {
        let lines = Arc::clone(&lines);
        penalties.with_observer(move |event| {
            let mut line = format!("{event:?}");
            if let PenaltyEvent::Wait { user, .. } = event {
                user.fields(|name, field| line.push_str(&format!(" {name}={field}")));
            }
            lines.lock().unwrap().push(line);
        })
    };
    let swapped = Credential::Password { user: "Hunter2 of alice", password: b"alice" };
    let acceptor = acceptor(&Looked::default());
    let tags = Arc::clone(&lines);
    let told = acceptor.with_observer(move |event| tags.lock().unwrap().push(event.to_string()));
    let quiet = told.clone().with_penalties(observe(penalties()));
    (0..12).for_each(|flat| drop(why::<A>(&quiet, &format!("flat {flat}"), swapped)));
    let seen = std::mem::take(&mut *lines.lock().unwrap());
    assert!(!seen.iter().any(|line| line.to_lowercase().contains("hunter2")), "{seen:?}");
    let tag = seen[0].split("user_tag=").nth(1).unwrap()[..8].to_owned();
    let wait = |seen: &[String]| seen.iter().find(|line| line.starts_with("Wait")).unwrap().clone();
    assert!(wait(&seen).contains(&format!("user_tag={tag}")), "by which both are found: {seen:?}");
    // A name that the verifier vouches for is one; and all are told to whoever asked for them.
    (0..12).for_each(|flat| drop(why::<A>(&quiet, &format!("flat {flat}"), wrong("alice"))));
    assert!(wait(&std::mem::take(&mut *lines.lock().unwrap())).ends_with(" user=\"alice\""));
    let curious = told.with_unknown_names().with_penalties(observe(penalties()));
    (0..12).for_each(|flat| drop(why::<A>(&curious, &format!("flat {flat}"), swapped)));
    assert!(wait(&lines.lock().unwrap()).contains("unknown_user=\"Hunter2 of alice\""));
}

/// A verifier that knows nothing while it is closed.
#[derive(Clone, Default)]
struct Closed(Arc<(Mutex<Inside>, Condvar)>);

#[derive(Default)]
struct Inside {
    is_open: bool,
    wakers: Vec<Waker>,
    /// About whom it was asked since it was closed.
    users: Vec<String>,
}

impl Closed {
    fn close(&self) {
        *self.0.0.lock().unwrap() = Inside::default();
    }

    fn open(&self) {
        let mut inside = self.0.0.lock().unwrap();
        inside.is_open = true;
        inside.wakers.drain(..).for_each(Waker::wake);
        self.0.1.notify_all();
    }

    fn asked(&self, user: &str) -> usize {
        self.0.0.lock().unwrap().users.iter().filter(|asked| *asked == user).count()
    }

    fn enter(&self, attempt: &Attempt<'_>) {
        self.0.0.lock().unwrap().users.push(attempt.credential().user().unwrap().to_owned());
    }
}

impl Verifier for Closed {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.enter(attempt);
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |inside| !inside.is_open).unwrap());
        verify(attempt.credential())
    }
}

impl AsyncVerifier for Closed {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.enter(attempt);
        poll_fn(|task| {
            let mut inside = self.0.0.lock().unwrap();
            if inside.is_open {
                return Poll::Ready(());
            }
            inside.wakers.push(task.waker().clone());
            Poll::Pending
        })
        .await;
        verify(attempt.credential())
    }
}

/// One that is asked on the acceptor's threads, and one that is asked elsewhere, each with many at once.
fn closed(penalties: &Penalties) -> [(Closed, Acceptor); 2] {
    let bounds = countersign::Bounds::default().with_working(32).with_patience(HOUR);
    [false, true].map(|is_async| {
        let closed = Closed::default();
        let acceptor = match is_async {
            false => Acceptor::new(config(), RSA2048.server.clone(), closed.clone()),
            true => Acceptor::new_async(config(), RSA2048.server.clone(), closed.clone()),
        };
        (closed, acceptor.with_bounds(bounds).with_penalties(penalties.clone()))
    })
}

/// Logins at once, each from a source of its own: what the server gets.
fn at_once<A: Adapter>(
    acceptor: &Acceptor,
    count: usize,
    credential: Credential<'static>,
) -> Vec<std::thread::JoinHandle<Result<(), LoginError>>> {
    let each = (0..count).map(|flat| {
        let acceptor = acceptor.clone();
        std::thread::spawn(move || from::<A>(&acceptor, &flat.to_string(), credential).1.map(drop))
    });
    each.collect()
}

fn of_many_logins_at_once_no_more_are_looked_at_than_may_be_wrong<A: Adapter>() {
    // No wait ever: what is bounded is how many are looked at before there is a verdict.
    let waits = Waits::new(2, Duration::ZERO, Duration::ZERO);
    for (closed, acceptor) in closed(&penalties().with_account(waits)) {
        for (looked_at, round) in [(3, 0), (1, 1), (1, 2)] {
            closed.close();
            let mut logins = at_once::<A>(&acceptor, 12, wrong("alice"));
            eventually("they have arrived", || acceptor.counts().logins == 12);
            // Whoever comes after them, and is in nobody's way.
            logins.extend(at_once::<A>(&acceptor, 1, wrong(["x", "y", "z"][round])));
            eventually("the last one is looked at", || closed.asked(["x", "y", "z"][round]) == 1);
            assert_eq!(closed.asked("alice"), looked_at, "{round}");
            // The others wait until those are decided.
            closed.open();
            let codes = logins.into_iter().map(|login| login.join().unwrap().unwrap_err().code().to_owned());
            assert_eq!(codes.filter(|code| code == "wrong-password").count(), 12);
            assert_eq!(closed.asked("alice"), 12);
        }
        eventually_empty(&acceptor);
    }
}

fn good_logins_at_once_wait_for_one_another_and_all_get_in<A: Adapter>() {
    // One failure more would mean an hour for everybody.
    let waits = Waits::new(0, HOUR, HOUR);
    for (closed, acceptor) in closed(&penalties().with_account(waits)) {
        let logins = at_once::<A>(&acceptor, 24, ALICE);
        eventually("they have arrived", || acceptor.counts().logins == 24);
        eventually("one is looked at", || closed.asked("alice") == 1);
        closed.open();
        assert!(logins.into_iter().all(|login| login.join().unwrap().is_ok()));
        assert_eq!(closed.asked("alice"), 24);
        assert_eq!(acceptor.counts().unchecked, 0);
    }
}

fn what_all_servers_share_is_not_asked_about_who_has_to_wait_here_anyway<A: Adapter>() {
    let (looked, store) = (Looked::default(), Shared::default());
    let shared = || penalties().with_store(store.clone(), WhenAway::GoOn);
    let [here, there] = [0, 1].map(|_| acceptor(&looked).with_penalties(shared()));
    gets_in::<A>(&there, "office", ALICE);
    for source in ["flat", "office"] {
        (0..9).for_each(|number| {
            let name = format!("{source} {number}");
            assert_eq!(why::<A>(&here, source, wrong(&name)), Reason::UnknownUser);
        });
    }
    let reads = store.reads();
    (0..20).for_each(|_| assert_eq!(why::<A>(&here, "flat", ALICE), Reason::Penalty(Penalty::Source)));
    // But seldom: somebody may have logged in from there elsewhere.
    assert!(store.reads() - reads < 10, "{}", store.reads() - reads);
    // Where somebody has logged in elsewhere, hellos are taken, as this server has been told.
    let (_, bob) = from::<A>(&here, "office", wrong("bob"));
    assert_eq!(refused(bob.map(drop).unwrap_err()).1, Reason::Penalty(Penalty::Source));
    gets_in::<A>(&here, "office", ALICE);
}

fn a_hello_that_is_opened_in_vain_is_told_to_others<A: Adapter>() {
    let store = Shared::default();
    let acceptor = acceptor(&Looked::default()).with_penalties(penalties().with_store(store.clone(), WhenAway::GoOn));
    for _ in 0..3 {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named("flat"));
        let mut peer = Peer::new(client);
        let (hello, _) = Scenario::new().known_key().await_challenge();
        peer.send(&hello);
        peer.receive(FrameType::ServerHello);
        peer.end_sending();
        drop(peer);
        assert!(server.join().unwrap().is_err());
    }
    gets_in::<A>(&acceptor, "home", ALICE);
    // Each is a failure, and by a quarter a connection that ended after the ServerHello.
    let level = store.level(&PenaltyKey::Source(Source::named("flat")));
    assert!((3.0..=3.75).contains(&level), "{level}");
}
