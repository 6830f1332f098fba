//! Guessing: who has to wait, and who does not, over real connections.

use crate::ends::{
    Adapter, Session, accepting, client_config, config, connector, failed, login, pair, protocol, refused,
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
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

for_every_adapter!(
    many_names_from_one_source_are_turned_away_before_any_rsa_operation,
    one_name_from_many_sources_is_not_looked_at_and_its_owner_gets_in_where_she_was_before,
    where_a_principal_has_other_names_a_source_is_known_by_the_one_that_it_showed,
    one_account_whose_name_is_written_in_many_ways_pays_for_no_guesses,
    a_password_that_is_not_looked_at_is_refused_as_any_other_and_no_sooner,
    tickets_tokens_and_keys_wait_for_nothing_where_somebody_has_logged_in,
    a_source_that_goes_on_at_a_name_that_waits_is_turned_away_in_the_end,
    where_a_token_has_logged_in_others_wrong_names_keep_it_out_of_nothing,
    past_the_total_newcomers_are_told_not_now_and_their_tries_count,
    servers_that_share_their_counts_stop_a_guesser_together,
    a_store_that_fails_hangs_or_panics_is_counted_and_does_as_configured,
    async_verifiers_are_asked_as_seldom,
    a_password_in_the_place_of_a_name_is_told_to_no_log,
    what_all_servers_share_is_not_asked_about_who_has_to_wait_here_anyway,
    what_can_not_be_guessed_and_is_not_answered_for_counts_for_nothing,
    a_guess_that_an_async_verifier_does_not_answer_for_in_time_is_counted,
);

/// Counts what is looked at.
#[derive(Clone, Default)]
pub struct Looked(Arc<AtomicUsize>);

impl Looked {
    pub fn count(&self) -> usize {
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
pub fn penalties() -> Penalties {
    let waits = |free| Waits::new(free, HOUR, HOUR);
    Penalties::default().with_source(waits(8)).with_block(waits(64)).with_account(waits(10))
}

pub const HOUR: Duration = Duration::from_secs(3600);

pub fn acceptor(looked: &Looked) -> Acceptor {
    Acceptor::new(config(), RSA2048.server.clone(), looked.clone()).with_penalties(penalties())
}

pub fn wrong(user: &str) -> Credential<'_> {
    Credential::Password { user, password: b"guess" }
}

/// A login from this source: what the client gets, and what the server gets.
pub fn from<A: Adapter>(
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
pub fn why<A: Adapter>(acceptor: &Acceptor, source: &str, credential: Credential<'_>) -> Reason {
    let (client, server) = from::<A>(acceptor, source, credential);
    let reason = refused(server.map(drop).unwrap_err()).1;
    let client = protocol(client.map(drop).unwrap_err());
    match &reason {
        Reason::Penalty(Penalty::Source | Penalty::Block) => assert!(matches!(client, Error::Busy { .. }), "{client}"),
        reason if reason.is_not_now() => assert_eq!(client, Error::NotNow, "{reason}"),
        _ => assert_eq!(client, Error::Refused, "{reason}"),
    }
    reason
}

pub fn gets_in<A: Adapter>(acceptor: &Acceptor, source: &str, credential: Credential<'_>) {
    let (client, server) = from::<A>(acceptor, source, credential);
    assert!(client.is_ok() && server.is_ok(), "{source} {:?}", server.map(drop));
}

fn a_source_that_goes_on_at_a_name_that_waits_is_turned_away_in_the_end<A: Adapter>() {
    let acceptor = acceptor(&Looked::default());
    for number in 0..11 {
        assert_eq!(why::<A>(&acceptor, &format!("flat {number}"), wrong("alice")), Reason::WrongPassword);
    }
    // Each a quarter of a failure, of which eight cost nothing.
    for _ in 0..33 {
        assert_eq!(why::<A>(&acceptor, "guesser", wrong("alice")), Reason::Penalty(Penalty::Account));
    }
    assert_eq!(why::<A>(&acceptor, "guesser", wrong("alice")), Reason::Penalty(Penalty::Source));
}

/// Has another name for alice, too.
struct Alias;

impl Verifier for Alias {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        match attempt.credential() {
            Credential::Password { user: "a.liddell", password } => {
                verify(Credential::Password { user: "alice", password })
            }
            credential => verify(credential),
        }
    }
}

fn where_a_principal_has_other_names_a_source_is_known_by_the_one_that_it_showed<A: Adapter>() {
    let acceptor = Acceptor::new(config(), RSA2048.server.clone(), Alias).with_penalties(penalties());
    let Credential::Password { password, .. } = ALICE else { panic!("no password") };
    let credential = Credential::Password { user: "a.liddell", password };
    gets_in::<A>(&acceptor, "home", credential);
    for number in 0..11 {
        assert_eq!(why::<A>(&acceptor, &format!("flat {number}"), wrong("a.liddell")), Reason::WrongPassword);
    }
    assert_eq!(why::<A>(&acceptor, "elsewhere", credential), Reason::Penalty(Penalty::Account));
    gets_in::<A>(&acceptor, "home", credential);
    // Nobody has guessed at her own name.
    gets_in::<A>(&acceptor, "elsewhere", ALICE);
}

/// Takes upper for lower case, as directories do.
struct Folding;

impl Verifier for Folding {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        match attempt.credential() {
            Credential::Password { user, password } => {
                verify(Credential::Password { user: &user.to_lowercase(), password })
            }
            credential => verify(credential),
        }
    }
}

fn one_account_whose_name_is_written_in_many_ways_pays_for_no_guesses<A: Adapter>() {
    let acceptor = Acceptor::new(config(), RSA2048.server.clone(), Folding).with_penalties(penalties());
    let Credential::Password { password, .. } = ALICE else { panic!("no password") };
    let ways = (0..20).map(|number| {
        let raised =
            "alice".char_indices().map(|(at, c)| if number >> at & 1 == 1 { c.to_ascii_uppercase() } else { c });
        raised.collect::<String>()
    });
    let looked_at = ways.enumerate().filter(|(number, way)| {
        let (_, server) = from::<A>(&acceptor, "flat", Credential::Password { user: way, password });
        server.is_ok() && why::<A>(&acceptor, "flat", wrong(&format!("user {number}"))) == Reason::UnknownUser
    });
    // Eight, and the one by which a wait begins.
    assert_eq!(looked_at.count(), 9);
}

fn where_a_token_has_logged_in_others_wrong_names_keep_it_out_of_nothing<A: Adapter>() {
    let acceptor = acceptor(&Looked::default());
    let token = Credential::Token(TOKEN);
    gets_in::<A>(&acceptor, "plant", token);
    for source in ["plant", "elsewhere"] {
        for number in 0..9 {
            assert_eq!(why::<A>(&acceptor, source, wrong(&format!("user {number}"))), Reason::UnknownUser);
        }
    }
    gets_in::<A>(&acceptor, "plant", token);
    assert_eq!(why::<A>(&acceptor, "elsewhere", token), Reason::Penalty(Penalty::Source));
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

fn past_the_total_newcomers_are_told_not_now_and_their_tries_count<A: Adapter>() {
    let looked = Looked::default();
    let acceptor = acceptor(&looked).with_penalties(penalties().with_total(0));
    gets_in::<A>(&acceptor, "home", ALICE);
    assert_eq!(why::<A>(&acceptor, "flat", wrong("bob")), Reason::UnknownUser);
    let (strangers, source) = (Reason::Penalty(Penalty::Strangers), Reason::Penalty(Penalty::Source));
    for user in ["alice", "bob", "nobody"] {
        assert_eq!(why::<A>(&acceptor, user, wrong(user)), strangers);
    }
    // By a quarter each: at last their source waits.
    let reasons: Vec<_> = (0..40).map(|_| why::<A>(&acceptor, "road", ALICE)).collect();
    let told = reasons.iter().take_while(|reason| **reason == strangers).count();
    assert!((33..40).contains(&told) && reasons[told..].iter().all(|reason| *reason == source), "{reasons:?}");
    gets_in::<A>(&acceptor, "home", ALICE);
    assert_eq!(looked.count(), 3);
}

/// Counts that some servers share; on no clock, so they don't fade.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<HashMap<PenaltyKey, f64>>>, Arc<AtomicUsize>);

impl Shared {
    /// How often it was asked.
    pub fn reads(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }

    /// What it has counted.
    pub fn level(&self, key: &PenaltyKey) -> f64 {
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
    // They are switched on while it serves, and off.
    acceptor.set_penalties(Some(penalties()));
    let reasons: Vec<_> = (0..20).map(|flat| why::<A>(&acceptor, &flat.to_string(), wrong("alice"))).collect();
    assert_eq!(reasons[11..], vec![Reason::Penalty(Penalty::Account); 9]);
    acceptor.set_penalties(None);
    assert_eq!(why::<A>(&acceptor, "20", wrong("alice")), Reason::WrongPassword);
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

fn what_all_servers_share_is_not_asked_about_who_has_to_wait_here_anyway<A: Adapter>() {
    let (looked, store) = (Looked::default(), Arc::new(Shared::default()));
    let shared = || penalties().with_store(Arc::clone(&store), WhenAway::GoOn);
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

/// Somebody who gets no answer about anybody in time.
struct Silent;

impl Verifier for Silent {
    fn verify(&self, _: &Attempt<'_>) -> Result<Grant, Reason> {
        Err(Reason::NoAnswer("it hangs"))
    }
}

fn what_can_not_be_guessed_and_is_not_answered_for_counts_for_nothing<A: Adapter>() {
    let store = Shared::default();
    let acceptor = Acceptor::new(config(), RSA2048.server.clone(), Silent)
        .with_penalties(penalties().with_store(store.clone(), WhenAway::GoOn));
    for (credential, counted) in [(Credential::Token(TOKEN), 0.0), (ALICE, 3.0)] {
        (0..3).for_each(|_| assert_eq!(why::<A>(&acceptor, "flat", credential), Reason::NoAnswer("it hangs")));
        assert_eq!(store.level(&PenaltyKey::Source(Source::named("flat"))), counted);
    }
}

impl AsyncVerifier for Silent {
    async fn verify(&self, _: &Attempt<'_>) -> Result<Grant, Reason> {
        pending().await
    }
}

fn a_guess_that_an_async_verifier_does_not_answer_for_in_time_is_counted<A: Adapter>() {
    let (store, config) = (Shared::default(), config().with_handshake_timeout(Duration::from_secs(6)));
    let acceptor = Acceptor::new_async(config, RSA2048.server.clone(), Silent)
        .with_penalties(penalties().with_store(store.clone(), WhenAway::GoOn));
    assert!(matches!(why::<A>(&acceptor, "flat", ALICE), Reason::NoAnswer(_)));
    assert_eq!(store.level(&PenaltyKey::Account("alice".into())), 1.0);
}
