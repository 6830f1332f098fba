//! Open sessions learn of what becomes of their accounts: in time, and nobody else's are touched.

use crate::ends::{
    Adapter, Blocking, Session, accepting, bounded, client_config, config, connector, eventually, eventually_empty,
    login, pair,
};
use crate::support::{RSA2048, TestRng, provider};
use countersign::blocking::{Over, Stopper, Timed, Transport, Untimed};
use countersign::client;
use countersign::server::AwaitHello;
use countersign::{
    Acceptor, AsyncVerifier, Attempt, ChannelBinding, Context, Credential, CredentialKind, Error, Grant, Link, Moment,
    PolicyRequest, Reason, Recheck, Returning, Revocation, Stream, TicketKeys, UnixTime, Verifier,
};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{self, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

for_every_adapter!(
    a_removed_user_is_cut_off_while_it_waits_and_nobody_else_is,
    a_session_goes_on_with_new_permissions_and_ends_with_a_new_password,
    any_change_ends_a_session_where_a_store_knows_no_better,
    other_permissions_and_nothing_less_end_a_session_where_that_is_asked_for,
    a_write_that_waits_ends_too,
    a_session_that_is_ended_before_all_is_written_is_cut_and_not_closed,
    sessions_go_on_while_the_store_is_away_for_the_grace_and_no_longer,
    a_verifier_that_can_not_look_again_keeps_its_sessions,
    a_verifier_that_hangs_or_panics_holds_up_neither_logins_nor_other_sessions,
    all_sessions_of_a_principal_are_ended_by_a_word_and_no_other,
    a_store_that_looks_empty_for_a_moment_ends_nobodys_session,
    a_login_that_was_decided_before_a_change_is_looked_at_after_it,
    a_session_by_ticket_is_looked_at_as_what_its_chain_began_with,
    a_session_by_ticket_is_looked_at_by_when_its_credential_was_shown,
    async_verifiers_are_asked_about_sessions_too,
    an_async_verifier_that_hangs_or_panics_holds_up_no_other_sessions,
    a_session_never_becomes_that_of_another_principal,
    somebody_who_was_asked_about_by_a_word_while_the_store_was_away_is_asked_about_again,
    what_came_before_a_session_was_ended_is_not_read_after_it,
);

/// Soon, so that tests need not wait.
pub const SOON: Duration = Duration::from_millis(20);

/// What stands in a store, and what is to happen when it is asked.
#[derive(Default)]
struct Rows {
    grants: HashMap<String, Grant>,
    trouble: HashMap<String, Trouble>,
    /// Whom it was asked about as of a session, and by which kind of credential.
    asked: Vec<(String, CredentialKind)>,
    /// Whether it was about a session, and the epochs that it was told.
    told: Vec<(bool, Option<u64>, Option<u64>)>,
    /// How many questions find nobody.
    blinks: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    Locked,
    Away,
    Panics,
    Hangs,
    Blinks,
    /// The store gives somebody else's grant.
    MixesUp(&'static str),
}

#[derive(Clone, Default)]
pub struct Store(Arc<(Mutex<Rows>, Condvar)>);

impl Store {
    pub fn of(names: &[&str]) -> Self {
        let store = Self::default();
        names.iter().for_each(|name| store.put(name, &["read"], 1, Some(1)));
        store
    }

    fn change<R>(&self, change: impl FnOnce(&mut Rows) -> R) -> R {
        let changed = change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        changed
    }

    pub fn put(&self, name: &str, permissions: &[&str], epoch: u64, credential_epoch: Option<u64>) {
        let mut grant = Grant::new(name, permissions).unwrap().with_epoch(epoch);
        if let Some(epoch) = credential_epoch {
            grant = grant.with_credential_epoch(epoch);
        }
        self.change(|rows| rows.grants.insert(name.to_owned(), grant));
    }

    fn remove(&self, name: &str) {
        self.change(|rows| rows.grants.remove(name));
    }

    fn trouble(&self, name: &str, trouble: Option<Trouble>) {
        self.change(|rows| match trouble {
            Some(trouble) => drop(rows.trouble.insert(name.to_owned(), trouble)),
            None => drop(rows.trouble.remove(name)),
        });
    }

    /// How often it was asked about a principal's session.
    fn asked(&self, name: &str) -> usize {
        self.change(|rows| rows.asked.iter().filter(|(asked, _)| asked == name).count())
    }

    /// Waits until it was asked about everybody's sessions, and once more.
    fn all_asked_again(&self, names: &[&str]) {
        let before: Vec<_> = names.iter().map(|name| self.asked(name)).collect();
        eventually("everybody is asked about", || {
            names.iter().zip(&before).all(|(name, before)| self.asked(name) > before + 1)
        });
    }

    fn look_up(&self, name: &str) -> Result<Grant, Reason> {
        self.change(|rows| rows.grants.get(name).cloned()).ok_or(Reason::UnknownUser)
    }

    /// Notes a question, and gives what is to become of it.
    fn note(&self, returning: &Returning<'_>) -> Option<Trouble> {
        let name = returning.principal();
        self.change(|rows| {
            rows.told.push((returning.is_session(), returning.epoch(), returning.credential_epoch()));
            if returning.is_session() {
                rows.asked.push((name.to_owned(), returning.kind()));
            }
            if rows.blinks > 0 {
                rows.blinks -= 1;
                return Some(Trouble::Blinks);
            }
            rows.trouble.get(name).copied()
        })
    }

    fn answer(&self, name: &str, trouble: Option<Trouble>) -> Result<Grant, Reason> {
        match trouble {
            Some(Trouble::Blinks) => Err(Reason::UnknownUser),
            Some(Trouble::Locked) => Err(Reason::AccountLocked),
            Some(Trouble::Away) => Err(Reason::NotNow("the store is away")),
            Some(Trouble::Panics) => panic!("on purpose"),
            Some(Trouble::MixesUp(other)) => self.look_up(other),
            Some(Trouble::Hangs) => {
                let rows = self.0.0.lock().unwrap();
                drop(self.0.1.wait_while(rows, |rows| rows.trouble.contains_key(name)));
                self.look_up(name)
            }
            None => self.look_up(name),
        }
    }
}

impl Verifier for Store {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        match attempt.credential() {
            Credential::Password { user, password: b"password" } => self.look_up(user),
            _ => Err(Reason::WrongPassword),
        }
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.answer(returning.principal(), self.note(returning))
    }
}

fn acceptor(store: &Store, recheck: Recheck) -> Acceptor {
    Acceptor::new(config(), RSA2048.server.clone(), store.clone()).with_recheck(recheck)
}

pub fn meet<A: Adapter>(acceptor: &Acceptor, user: &str) -> (A::Session, A::Session) {
    let (client, server) = login::<A>(acceptor, &connector(), Credential::Password { user, password: b"password" });
    (client.unwrap(), server.unwrap())
}

/// What ended a session, as its server is told.
fn revoked(error: &io::Error) -> Revocation {
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::Revoked(revocation)) => revocation.clone(),
        other => panic!("{other:?}"),
    }
}

/// Reads in a thread of its own, to the error.
pub fn reading<S: Session>(mut session: S) -> JoinHandle<(S, Revocation)> {
    std::thread::spawn(move || {
        let error = session.read(&mut [0]).unwrap_err();
        let revocation = revoked(&error);
        // And from then on.
        assert_eq!(revoked(&session.read(&mut [0]).unwrap_err()), revocation);
        assert_eq!(revoked(&session.write(b"more").unwrap_err()), revocation);
        assert_eq!(revoked(&session.flush().unwrap_err()), revocation);
        (session, revocation)
    })
}

/// That a session carries bytes both ways.
pub fn works<S: Session>(client: &mut S, server: &mut S) {
    carries(client, server);
    carries(server, client);
}

fn carries<S: Session>(from: &mut S, to: &mut S) {
    from.write_all(b"still here").unwrap();
    from.flush().unwrap();
    let mut room = [0; 10];
    to.read_exact(&mut room).unwrap();
    assert_eq!(&room, b"still here");
}

pub fn refused_as(reason: Reason) -> Revocation {
    Revocation::Refused(Box::new(reason))
}

fn a_removed_user_is_cut_off_while_it_waits_and_nobody_else_is<A: Adapter>() {
    let store = Store::of(&["alice", "bob", "carol"]);
    let acceptor = acceptor(&store, Recheck::every(SOON));
    let [alice, bob, mut carol] = ["alice", "bob", "carol"].map(|name| meet::<A>(&acceptor, name));
    let handle = alice.1.current_grant();
    let (alice, bob) = ((alice.0, reading(alice.1)), (bob.0, reading(bob.1)));
    store.all_asked_again(&["alice", "bob", "carol"]);
    assert_eq!(acceptor.counts().sessions, 3);

    store.remove("alice");
    let (mut client, (server, revocation)) = (alice.0, alice.1.join().unwrap());
    assert_eq!(revocation, refused_as(Reason::UnknownUser));
    assert_eq!(server.info().login_grant().principal(), "alice");
    assert!(!server.permits("read") && !handle.permits("read") && handle.get().permits("read"));
    // Not that something is missing which it has.
    let forbidden = handle.require("read").unwrap_err();
    assert_eq!((forbidden.has_ended, forbidden.to_string().as_str()), (true, "the session has ended"));
    assert_eq!(handle.check(), Err(Error::Revoked(revocation)));
    drop(server);
    // Its peer is not told why: a close, or a cut where nothing could say that in time.
    match client.read(&mut [0]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
    }
    store.trouble("bob", Some(Trouble::Locked));
    let (server, revocation) = bob.1.join().unwrap();
    assert_eq!(revocation, refused_as(Reason::AccountLocked));
    drop((server, bob.0));
    store.all_asked_again(&["carol"]);
    works(&mut carol.0, &mut carol.1);
    let counts = acceptor.counts();
    assert_eq!((counts.sessions, counts.revoked, counts.unconfirmed), (1, 2, 0));
    drop(carol);
    eventually_empty(&acceptor);
}

fn a_session_goes_on_with_new_permissions_and_ends_with_a_new_password<A: Adapter>() {
    let store = Store::of(&["alice"]);
    let acceptor = acceptor(&store, Recheck::every(SOON));
    let (mut client, mut server) = meet::<A>(&acceptor, "alice");
    assert!(server.permits("read") && !server.permits("write"));
    store.put("alice", &["write"], 2, Some(1));
    eventually("the new permissions are in force", || server.permits("write"));
    assert!(!server.permits("read"));
    assert_eq!(server.current_grant().get().epoch(), Some(2));
    // What the login gave.
    assert!(client.permits("read") && server.info().login_grant().permits("read"));
    works(&mut client, &mut server);
    // Another epoch and nothing else: an expiry that was set, say.
    store.put("alice", &["write"], 3, Some(1));
    eventually("it is seen", || server.current_grant().get().epoch() == Some(3));
    works(&mut client, &mut server);
    store.put("alice", &["write"], 4, Some(2));
    assert_eq!(reading(server).join().unwrap().1, Revocation::CredentialChanged);
    // Where a store has no epoch for credentials, the account's own stands for that, and has to change.
    store.put("bob", &["read"], 1, None);
    let (mut client, mut server) = meet::<A>(&acceptor, "bob");
    store.put("bob", &["write"], 1, None);
    eventually("the new permissions are in force", || server.permits("write"));
    works(&mut client, &mut server);
}

fn any_change_ends_a_session_where_a_store_knows_no_better<A: Adapter>() {
    let store = Store::default();
    store.put("alice", &["read"], 1, None);
    let acceptor = acceptor(&store, Recheck::every(SOON));
    let (_client, server) = meet::<A>(&acceptor, "alice");
    store.all_asked_again(&["alice"]);
    store.put("alice", &["read"], 2, None);
    assert_eq!(reading(server).join().unwrap().1, Revocation::CredentialChanged);
}

fn other_permissions_and_nothing_less_end_a_session_where_that_is_asked_for<A: Adapter>() {
    let store = Store::default();
    store.put("alice", &["read"], 1, Some(1));
    let acceptor = acceptor(&store, Recheck::every(SOON).closing_on_change());
    let (mut client, mut server) = meet::<A>(&acceptor, "alice");
    // A recovery code that was used up, a key that was added.
    store.put("alice", &["read"], 2, Some(1));
    eventually("it is seen", || server.current_grant().get().epoch() == Some(2));
    works(&mut client, &mut server);
    store.put("alice", &["write"], 3, Some(1));
    assert_eq!(reading(server).join().unwrap().1, Revocation::PermissionsChanged);
}

fn a_write_that_waits_ends_too<A: Adapter>() {
    let store = Store::of(&["alice"]);
    let acceptor = acceptor(&store, Recheck::never());
    let (mut client, mut server) = meet::<A>(&acceptor, "alice");
    let writing = std::thread::spawn(move || {
        loop {
            // Nobody reads: it waits, soon.
            if let Err(error) = server.write_all(&[7; 1 << 20]) {
                return (revoked(&error), server);
            }
        }
    });
    // Some of it has come.
    client.read_exact(&mut [0; 1000]).unwrap();
    assert_eq!(acceptor.revoke("alice"), 1);
    let (revocation, server) = writing.join().unwrap();
    assert_eq!(revocation, Revocation::Ended);
    drop(server);
    // Half of what was to be said is missing, and no clean end makes it look whole.
    let error = io::copy(&mut client, &mut io::sink()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error:?}");
}

fn sessions_go_on_while_the_store_is_away_for_the_grace_and_no_longer<A: Adapter>() {
    let store = Store::of(&["alice", "bob"]);
    store.trouble("alice", Some(Trouble::Away));
    let patient = acceptor(&store, Recheck::every(SOON).with_unlimited_grace());
    let (mut client, mut server) = meet::<A>(&patient, "alice");
    store.all_asked_again(&["alice"]);
    eventually("it is counted", || patient.counts().unconfirmed == 1);
    works(&mut client, &mut server);
    store.trouble("alice", None);
    eventually("it is confirmed", || patient.counts().unconfirmed == 0);
    // It has no word of the credentials any more: whether they are as they were nobody can tell.
    store.put("alice", &["read"], 2, None);
    store.all_asked_again(&["alice"]);
    eventually("it is counted", || patient.counts().unconfirmed == 1);
    works(&mut client, &mut server);
    store.put("alice", &["read"], 1, Some(1));
    eventually("it is confirmed", || patient.counts().unconfirmed == 0);
    // Somebody who was removed meanwhile.
    store.trouble("alice", Some(Trouble::Away));
    eventually("it is counted", || patient.counts().unconfirmed == 1);
    store.remove("alice");
    store.trouble("alice", None);
    assert_eq!(reading(server).join().unwrap().1, refused_as(Reason::UnknownUser));

    let strict = acceptor(&store, Recheck::every(SOON).with_grace(SOON));
    let (client, server) = meet::<A>(&strict, "bob");
    store.trouble("bob", Some(Trouble::Away));
    let (server, revocation) = reading(server).join().unwrap();
    assert_eq!(revocation, Revocation::Unconfirmed);
    // About one that is over there is nothing to be told, also where its owner keeps it.
    assert_eq!((strict.counts().revoked, strict.counts().unconfirmed), (1, 0));
    drop((client, server));
}

fn a_verifier_that_can_not_look_again_keeps_its_sessions<A: Adapter>() {
    let acceptor = crate::ends::acceptor().with_recheck(Recheck::every(SOON).with_grace(Duration::ZERO));
    let (client, server) = login::<A>(&acceptor, &connector(), crate::support::ALICE);
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    // As long as another's is looked at many times.
    let store = Store::of(&["bob"]);
    let other = self::acceptor(&store, Recheck::every(SOON));
    let bob = meet::<A>(&other, "bob");
    acceptor.recheck_all();
    (0..3).for_each(|_| store.all_asked_again(&["bob"]));
    works(&mut client, &mut server);
    assert_eq!((acceptor.counts().revoked, acceptor.counts().unconfirmed), (0, 0));
    drop(bob);
}

fn a_verifier_that_hangs_or_panics_holds_up_neither_logins_nor_other_sessions<A: Adapter>() {
    let store = Store::of(&["alice", "bob", "carol", "dave"]);
    let acceptor = acceptor(&store, Recheck::every(SOON).with_grace(Duration::from_millis(1)));
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| meet::<A>(&acceptor, name));
    store.trouble("alice", Some(Trouble::Hangs));
    eventually("it hangs", || store.asked("alice") > 0);
    store.all_asked_again(&["bob", "carol"]);
    assert_eq!(store.look_up("dave").map(|_| meet::<A>(&acceptor, "dave")).map(drop), Ok(()));
    // An answer that does not come is none: the grace begins, and ends.
    let (client, server) = alice;
    assert_eq!(reading(server).join().unwrap().1, Revocation::Unconfirmed);
    store.trouble("bob", Some(Trouble::Panics));
    let (other_client, server) = bob;
    assert_eq!(reading(server).join().unwrap().1, Revocation::Unconfirmed);
    store.all_asked_again(&["carol"]);
    store.trouble("alice", None);
    drop((client, other_client, carol));
    eventually_empty(&acceptor);
}

fn all_sessions_of_a_principal_are_ended_by_a_word_and_no_other<A: Adapter>() {
    let store = Store::of(&["alice", "bob"]);
    let acceptor = acceptor(&store, Recheck::never());
    let alices: Vec<_> = (0..5).map(|_| meet::<A>(&acceptor, "alice")).collect();
    let mut bob = meet::<A>(&acceptor, "bob");
    assert_eq!(store.asked("alice"), 0);
    acceptor.recheck("alice");
    eventually("each is looked at", || store.asked("alice") == 5);
    assert_eq!((acceptor.revoke("nobody"), store.asked("bob")), (0, 0));
    let (clients, servers): (Vec<_>, Vec<_>) = alices.into_iter().unzip();
    let reading: Vec<_> = servers.into_iter().map(reading).collect();
    assert_eq!((acceptor.revoke("alice"), acceptor.revoke("alice")), (5, 0));
    for server in reading {
        assert_eq!(server.join().unwrap().1, Revocation::Ended);
    }
    works(&mut bob.0, &mut bob.1);
    // It is no lock.
    let mut again = meet::<A>(&acceptor, "alice");
    works(&mut again.0, &mut again.1);
    store.remove("bob");
    acceptor.recheck_all();
    assert_eq!(self::reading(bob.1).join().unwrap().1, refused_as(Reason::UnknownUser));
    works(&mut again.0, &mut again.1);
    drop(clients);
    // And of all of them, by another.
    let (_client, carol) = {
        store.put("carol", &["read"], 1, Some(1));
        meet::<A>(&acceptor, "carol")
    };
    assert_eq!((acceptor.revoke_all(), acceptor.revoke_all()), (2, 0));
    for server in [again.1, carol] {
        assert_eq!(self::reading(server).join().unwrap().1, Revocation::Ended);
    }
}

/// As a file does that is cut and filled again.
fn a_store_that_looks_empty_for_a_moment_ends_nobodys_session<A: Adapter>() {
    let store = Store::of(&["alice"]);
    let acceptor = acceptor(&store, Recheck::never());
    let (mut client, mut server) = meet::<A>(&acceptor, "alice");
    for count in 0..3 {
        let before = store.asked("alice");
        // The first question alone finds nobody.
        store.change(|rows| rows.blinks = 1);
        acceptor.recheck_all();
        eventually("it is asked once more", || store.asked("alice") == before + 2);
        assert_eq!(acceptor.counts().revoked, 0, "{count}");
        works(&mut client, &mut server);
    }
    store.remove("alice");
    acceptor.recheck_all();
    assert_eq!(reading(server).join().unwrap().1, refused_as(Reason::UnknownUser));
}

fn a_login_that_was_decided_before_a_change_is_looked_at_after_it<A: Adapter>() {
    let tell: [fn(&Acceptor); 3] = [
        |acceptor| acceptor.recheck("alice"),
        Acceptor::recheck_all,
        |acceptor| assert_eq!(acceptor.revoke("alice"), 0, "it is no session yet"),
    ];
    for tell in tell {
        let store = Store::of(&["alice"]);
        let (in_time, told) = (Arc::new(Mutex::new(None::<Acceptor>)), store.clone());
        let at_verify = Arc::clone(&in_time);
        // The account is removed, and that is told, after the credential was found good and before there is a session.
        let verifier = store.clone().with_policy(move |request: &PolicyRequest<'_>| {
            let acceptor = at_verify.lock().unwrap().take();
            if let Some(acceptor) = acceptor {
                told.remove("alice");
                tell(&acceptor);
            }
            Ok(request.grant().clone())
        });
        let acceptor = Acceptor::new(config(), RSA2048.server.clone(), verifier).with_recheck(Recheck::never());
        *in_time.lock().unwrap() = Some(acceptor.clone());
        let (client, server) = meet::<A>(&acceptor, "alice");
        assert_eq!(reading(server).join().unwrap().1, refused_as(Reason::UnknownUser));
        drop(client);
    }
}

fn a_session_by_ticket_is_looked_at_as_what_its_chain_began_with<A: Adapter>() {
    for is_async in [false, true] {
        let store = Store::default();
        store.put("alice", &["read"], 1, Some(7));
        let tickets = Arc::new(TicketKeys::new(provider(), Duration::from_secs(600)));
        let (config, key) = (config().with_tickets(tickets), RSA2048.server.clone());
        let acceptor = if is_async {
            Acceptor::new_async(config, key, Async(store.clone()))
        } else {
            Acceptor::new(config, key, store.clone())
        };
        let acceptor = acceptor.with_recheck(Recheck::every(SOON));
        let (client, server) = meet::<A>(&acceptor, "alice");
        let ticket = client.info().ticket().unwrap().clone();
        drop((client, server));
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Context::uncounted());
        let wrong = Credential::Password { user: "alice", password: b"wrong" };
        let client = A::resume(&connector(), client, &ticket, wrong).unwrap();
        let server = server.join().unwrap().unwrap();
        assert!(client.info().is_resumed() && server.info().is_resumed());
        store.all_asked_again(&["alice"]);
        let (asked, told) = store.change(|rows| (rows.asked.clone(), rows.told.clone()));
        assert!(asked.iter().all(|(_, kind)| *kind == CredentialKind::Password));
        // A ticket has the account's epoch alone.
        let (sessions, tickets): (Vec<_>, Vec<_>) = told.into_iter().partition(|(is_session, ..)| *is_session);
        assert!(sessions.iter().all(|told| *told == (true, Some(1), Some(7))), "{sessions:?}");
        assert_eq!(tickets, [(false, Some(1), None)]);
        store.put("alice", &["read"], 2, Some(2));
        assert_eq!(reading(server).join().unwrap().1, Revocation::CredentialChanged);
        drop(client);
    }
}

/// A store that is asked from async code, and answers on the second poll.
pub struct Async(pub Store);

impl AsyncVerifier for Async {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.0.verify(attempt)
    }

    async fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        let mut is_second = false;
        core::future::poll_fn(|task| {
            if core::mem::replace(&mut is_second, true) {
                return core::task::Poll::Ready(());
            }
            task.waker().wake_by_ref();
            core::task::Poll::Pending
        })
        .await;
        // Read once: a trouble that becomes another one meanwhile must not block here, as it does in a blocking verifier.
        let trouble = self.0.note(returning);
        if trouble == Some(Trouble::Hangs) {
            core::future::pending::<()>().await;
        }
        self.0.answer(returning.principal(), trouble)
    }
}

/// Notes when the credential was shown of those who come back, and of their sessions.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<(bool, UnixTime)>>>);

impl Verifier for Shown {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        crate::support::verifier(attempt)
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        self.0.lock().unwrap().push((returning.is_session(), returning.authenticated()));
        Ok(crate::support::grant().with_epoch(1))
    }
}

fn a_session_by_ticket_is_looked_at_by_when_its_credential_was_shown<A: Adapter>() {
    let now = UnixTime::from_system(std::time::SystemTime::now()).as_secs();
    let earlier = UnixTime::from_secs(now - 1000);
    let tickets = Arc::new(TicketKeys::new(provider(), Duration::from_secs(3600)));
    let (config, shown) = (config().with_tickets(tickets), Shown::default());
    let ticket = {
        let (none, start) = (ChannelBinding::none(), Moment::ORIGIN);
        let (client, config) = (Arc::new(client_config()), Arc::new(config.clone()));
        let mut rng = TestRng::new("earlier");
        let (hello, client) = client::start(&client, &RSA2048.trust(), &none, &mut rng, start).unwrap();
        let choice = AwaitHello::new(&config, &none, start).read(hello, start).unwrap();
        let (challenge, server) = choice.choose(&RSA2048.server).unwrap().challenge(&mut rng).unwrap();
        let trusted = client.read(&challenge, start).unwrap().trust(&RSA2048.trust(), earlier).unwrap();
        let (login, client) = trusted.login(crate::support::ALICE, &mut rng).unwrap();
        let claim = server.read(login, start).unwrap().admit().open(&mut rng);
        let grant = crate::support::grant().with_epoch(1);
        let accepted = claim.accept_with_ticket(grant, earlier, &mut rng).unwrap();
        client.read(&accepted.frame, start, earlier).unwrap().info.ticket().unwrap().clone()
    };
    let acceptor = Acceptor::new(config, RSA2048.server.clone(), shown.clone()).with_recheck(Recheck::every(SOON));
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor, server, Context::uncounted());
    let client = A::resume(&connector(), client, &ticket, crate::support::ALICE).unwrap();
    let server = server.join().unwrap().unwrap();
    assert!(client.info().is_resumed());
    eventually("it is asked about its session", || shown.0.lock().unwrap().len() > 1);
    assert_eq!(shown.0.lock().unwrap()[..2], [(false, earlier), (true, earlier)]);
    drop((client, server));
}

fn async_verifiers_are_asked_about_sessions_too<A: Adapter>() {
    let store = Store::of(&["alice", "bob"]);
    let verifier = Async(store.clone()).with_policy(|request: &PolicyRequest<'_>| Ok(request.grant().clone()));
    let acceptor = Acceptor::new_async(config(), RSA2048.server.clone(), verifier).with_recheck(Recheck::every(SOON));
    let (alice, mut bob) = (meet::<A>(&acceptor, "alice"), meet::<A>(&acceptor, "bob"));
    let (client, server) = (alice.0, reading(alice.1));
    store.all_asked_again(&["alice", "bob"]);
    store.remove("alice");
    assert_eq!(server.join().unwrap().1, refused_as(Reason::UnknownUser));
    works(&mut bob.0, &mut bob.1);
    drop(client);
}

fn an_async_verifier_that_hangs_or_panics_holds_up_no_other_sessions<A: Adapter>() {
    // As many as are asked about at once.
    let troubled = ["alice", "bob", "carol", "dave"];
    let store = Store::of(&["alice", "bob", "carol", "dave", "erin"]);
    let recheck = Recheck::every(SOON).with_unlimited_grace();
    let acceptor = Acceptor::new_async(config(), RSA2048.server.clone(), Async(store.clone())).with_recheck(recheck);
    let open = troubled.map(|name| meet::<A>(&acceptor, name));
    let (client, server) = meet::<A>(&acceptor, "erin");
    for trouble in [Trouble::Panics, Trouble::Hangs] {
        troubled.iter().for_each(|name| store.trouble(name, Some(trouble)));
        store.all_asked_again(&troubled);
        store.all_asked_again(&["erin"]);
    }
    store.remove("erin");
    assert_eq!(reading(server).join().unwrap().1, refused_as(Reason::UnknownUser));
    drop((client, open));
}

fn a_session_never_becomes_that_of_another_principal<A: Adapter>() {
    let store = Store::of(&["alice", "bob"]);
    let acceptor = acceptor(&store, Recheck::every(SOON));
    let (client, server) = meet::<A>(&acceptor, "alice");
    let held = server.current_grant();
    store.trouble("alice", Some(Trouble::MixesUp("bob")));
    let mixed_up = Reason::Application("the verifier gave another principal's grant");
    assert_eq!(reading(server).join().unwrap().1, refused_as(mixed_up));
    assert_eq!(held.get().principal(), "alice");
    drop(client);
}

fn somebody_who_was_asked_about_by_a_word_while_the_store_was_away_is_asked_about_again<A: Adapter>() {
    let store = Store::of(&["alice"]);
    let acceptor = acceptor(&store, Recheck::never().with_unlimited_grace());
    let (client, server) = meet::<A>(&acceptor, "alice");
    store.trouble("alice", Some(Trouble::Away));
    acceptor.recheck("alice");
    eventually("it is counted", || acceptor.counts().unconfirmed == 1);
    store.remove("alice");
    store.trouble("alice", None);
    assert_eq!(reading(server).join().unwrap().1, refused_as(Reason::UnknownUser));
    drop(client);
}

fn what_came_before_a_session_was_ended_is_not_read_after_it<A: Adapter>() {
    let acceptor = acceptor(&Store::of(&["alice"]), Recheck::never());
    let (mut client, mut server) = meet::<A>(&acceptor, "alice");
    client.write_all(b"do this, and that").unwrap();
    client.flush().unwrap();
    server.read_exact(&mut [0; 7]).unwrap();
    assert_eq!(acceptor.revoke("alice"), 1);
    assert_eq!(revoked(&server.read(&mut [0; 10]).unwrap_err()), Revocation::Ended);
}

/// A clean end would make half of it look whole.
fn a_session_that_is_ended_before_all_is_written_is_cut_and_not_closed<A: Adapter>() {
    let store = Store::of(&["alice"]);
    let acceptor = acceptor(&store, Recheck::never());
    let (mut client, mut server) = meet::<A>(&acceptor, "alice");
    server.write_all(b"half of it").unwrap();
    server.flush().unwrap();
    assert_eq!(acceptor.revoke("alice"), 1);
    assert_eq!(revoked(&server.write_all(b", and the rest").unwrap_err()), Revocation::Ended);
    // An adapter may say that it is, and closes what is underneath all the same.
    drop(server.close());
    drop(server);
    let mut said = Vec::new();
    assert!(client.read_to_end(&mut said).is_err(), "it is no end");
    assert_eq!(said, b"half of it");
}

/// The owner of the stream waits for its peer, and has nothing on its way: the peer is told that this is the end.
fn closes<A: Adapter>() {
    let store = Store::of(&["alice"]);
    let acceptor = acceptor(&store, Recheck::never());
    let (mut client, mut server) = meet::<A>(&acceptor, "alice");
    server.write_all(b"all of it").unwrap();
    server.flush().unwrap();
    let server = reading(server);
    assert_eq!(acceptor.revoke("alice"), 1);
    let mut said = Vec::new();
    client.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"all of it");
    drop(server.join().unwrap());
}

#[test]
fn a_blocking_session_that_is_ended_while_it_waits_is_closed_and_not_cut() {
    bounded(closes::<Blocking>);
}

#[test]
#[cfg(feature = "tokio")]
fn a_session_of_a_task_that_is_ended_while_it_waits_is_closed_and_not_cut() {
    bounded(closes::<crate::ends::Tokio>);
}

/// The owner of the stream writes, and never reads: its next flush says so, or its close.
fn closes_at_a_flush<A: Adapter>() {
    for flushes in [true, false] {
        let store = Store::of(&["alice"]);
        let acceptor = acceptor(&store, Recheck::never());
        let (mut client, mut server) = meet::<A>(&acceptor, "alice");
        server.write_all(b"all of it").unwrap();
        server.flush().unwrap();
        assert_eq!(acceptor.revoke("alice"), 1);
        if flushes {
            assert_eq!(revoked(&server.flush().unwrap_err()), Revocation::Ended);
        } else {
            // An adapter may say that it is ended, and closes what is underneath all the same.
            drop(server.close());
        }
        let mut said = Vec::new();
        client.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"all of it");
        drop(server);
    }
}

#[test]
fn a_blocking_session_that_is_ended_is_closed_and_not_cut_by_who_flushes_or_closes_it() {
    bounded(closes_at_a_flush::<Blocking>);
}

#[test]
#[cfg(feature = "tokio")]
fn a_session_of_a_task_that_is_ended_is_closed_and_not_cut_by_who_flushes_or_closes_it() {
    bounded(closes_at_a_flush::<crate::ends::Tokio>);
}

/// Nothing is sent once more, and no end is said: what is missing is missed.
#[test]
#[cfg(feature = "tokio")]
fn a_session_that_is_ended_with_something_on_its_way_sends_nothing_more() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    bounded(|| {
        let store = Store::of(&["alice"]);
        let acceptor = acceptor(&store, Recheck::never());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, server) = tokio::io::duplex(700);
            let (connector, alice) = (connector(), Credential::Password { user: "alice", password: b"password" });
            let (client, server) =
                tokio::join!(connector.connect(client, alice), acceptor.accept(server, Context::uncounted()));
            let (mut client, mut server) = (client.unwrap(), server.unwrap());
            assert_eq!(server.write(&[7; 1000]).await.unwrap(), 1000, "sealed, and the most of it sent");
            // There is room on the way again.
            let mut room = [0; 1];
            tokio::select! {
                biased;
                read = client.read(&mut room) => panic!("it has the whole record: {read:?}"),
                () = tokio::task::yield_now() => {}
            }
            assert_eq!(acceptor.revoke("alice"), 1);
            assert_eq!(revoked(&server.read(&mut room).await.unwrap_err()), Revocation::Ended);
            drop(server);
            let mut said = Vec::new();
            assert_eq!(client.read_to_end(&mut said).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(said, b"");
        });
    });
}

/// A login over transports of the test's own.
fn blocking<S: Transport + Send + 'static>(
    acceptor: &Acceptor,
    wrap: impl FnOnce(TcpStream) -> S,
) -> (Stream<TcpStream>, Stream<S>) {
    let (client, server) = pair();
    let acceptor = acceptor.clone();
    let server = wrap(server);
    let accepting = std::thread::spawn(move || acceptor.accept_blocking(server, Context::uncounted()));
    let alice = Credential::Password { user: "alice", password: b"password" };
    (connector().connect_blocking(client, alice).unwrap(), accepting.join().unwrap().unwrap())
}

#[test]
fn both_halves_of_a_split_session_end_and_the_writer_says_so() {
    bounded(|| {
        let store = Store::of(&["alice"]);
        let acceptor = acceptor(&store, Recheck::never());
        let (mut client, server) = blocking(&acceptor, |stream| stream);
        let grant = server.current_grant();
        let (_, mut reader, mut writer) = server.split(TcpStream::try_clone).unwrap();
        let reading = std::thread::spawn(move || (revoked(&reader.read(&mut [0]).unwrap_err()), reader));
        assert_eq!(acceptor.revoke("alice"), 1);
        let (revocation, reader) = reading.join().unwrap();
        assert_eq!(revocation, Revocation::Ended);
        assert_eq!(writer.close().unwrap_err().code(), "revoked");
        assert_eq!(revoked(&writer.write(b"more").unwrap_err()), Revocation::Ended);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        // No descriptor of the socket is kept for whoever keeps the grant.
        drop((reader, writer));
        assert!(grant.require("read").is_err());
        let mut under = client.into_inner();
        assert_eq!(under.read(&mut [0]).unwrap(), 0);
    });
}

/// Is not ready to be written to, now and then.
struct Balking(TcpStream, Arc<AtomicBool>);

impl Read for Balking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Balking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1.load(Ordering::SeqCst) { Err(ErrorKind::WouldBlock.into()) } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Transport for Balking {
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_timeouts(timeout)
    }

    fn stopper(&mut self) -> io::Result<Option<Stopper>> {
        self.0.stopper()
    }
}

#[test]
fn a_session_of_which_a_write_was_tried_again_is_closed_and_not_cut() {
    bounded(|| {
        let acceptor = acceptor(&Store::of(&["alice"]), Recheck::never());
        let balks = Arc::<AtomicBool>::default();
        let (mut client, mut server) = blocking(&acceptor, |stream| Balking(stream, Arc::clone(&balks)));
        balks.store(true, Ordering::SeqCst);
        assert_eq!(server.write(b"all").unwrap(), 3, "sealed, and not sent");
        assert_eq!(server.write(b" of it").unwrap_err().kind(), ErrorKind::WouldBlock);
        balks.store(false, Ordering::SeqCst);
        server.write_all(b" of it").unwrap();
        server.flush().unwrap();
        assert_eq!(acceptor.revoke("alice"), 1);
        assert_eq!(revoked(&server.flush().unwrap_err()), Revocation::Ended);
        let mut said = Vec::new();
        client.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"all of it");
    });
}

/// A link of an event loop, which is to look at a session when that was ended.
struct Woken(crate::events::SocketLink, std::sync::mpsc::Sender<Shutdown>);

impl Link for Woken {
    type Stream = crate::events::Socket;

    fn now(&self) -> Moment {
        self.0.now()
    }

    fn set_deadline(&mut self, deadline: Moment) {
        self.0.set_deadline(deadline);
    }

    fn poll_read(&mut self, task: &mut task::Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(task, room)
    }

    fn poll_write(&mut self, task: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(task, bytes)
    }

    fn poll_flush(&mut self, task: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(task)
    }

    fn poll_end_sending(&mut self, task: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_end_sending(task)
    }

    fn poll_wait(&mut self, task: &mut task::Context<'_>, moment: Moment) -> Poll<()> {
        self.0.poll_wait(task, moment)
    }

    fn poll_gone(&mut self, task: &mut task::Context<'_>) -> Poll<()> {
        self.0.poll_gone(task)
    }

    fn stopper(&mut self) -> io::Result<Option<Stopper>> {
        let tell = self.1.clone();
        Ok(Some(Stopper::new(move |how| tell.send(how).unwrap_or_default())))
    }

    fn into_stream(self) -> io::Result<Self::Stream> {
        self.0.into_stream()
    }
}

#[test]
fn an_event_loop_is_told_that_a_session_was_ended_and_its_peer_finds_it_closed() {
    bounded(|| {
        let acceptor = acceptor(&Store::of(&["alice"]), Recheck::never());
        let (tell, told) = std::sync::mpsc::channel();
        let (client, server) = pair();
        let accept = acceptor.clone();
        let accepting = move || {
            let link = Woken(crate::events::link(server), tell);
            crate::events::run(async move { accept.accept_over(link, Context::uncounted()).await.unwrap() })
        };
        let accepting = std::thread::spawn(accepting);
        let alice = Credential::Password { user: "alice", password: b"password" };
        let mut client = connector().connect_blocking(client, alice).unwrap();
        let mut server = accepting.join().unwrap();
        server.write_all(b"all of it").unwrap();
        assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(acceptor.revoke("alice"), 1);
        assert_eq!(told.recv(), Ok(Shutdown::Read));
        assert_eq!(revoked(&server.read(&mut [0]).unwrap_err()), Revocation::Ended);
        let mut said = Vec::new();
        client.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"all of it");
        // Once more, and no more, where it has not been let go by then.
        assert_eq!(told.recv(), Ok(Shutdown::Both));
        assert!(told.recv().is_err());
        drop(server);
    });
}

/// Counts its reads, each before it waits.
struct Counted(Timed<TcpStream>, Arc<AtomicUsize>);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.read(buffer)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn what_waits_on_a_stream_over_another_ends_and_what_can_not_be_woken_notices_at_its_next_byte() {
    bounded(|| {
        let store = Store::of(&["alice"]);
        let acceptor = acceptor(&store, Recheck::never());
        let reads = Arc::<AtomicUsize>::default();
        let (client, mut server) = blocking(&acceptor, |stream| {
            let under = Timed::new(stream);
            Over::new(Counted(under.clone(), Arc::clone(&reads)), under)
        });
        let before = reads.load(Ordering::SeqCst);
        let reading = std::thread::spawn(move || revoked(&server.read(&mut [0]).unwrap_err()));
        eventually("it waits", || reads.load(Ordering::SeqCst) > before);
        assert_eq!(acceptor.revoke("alice"), 1);
        assert_eq!(reading.join().unwrap(), Revocation::Ended);
        drop(client);

        let (mut client, mut server) = blocking(&acceptor, Untimed);
        let reading = std::thread::spawn(move || revoked(&server.read(&mut [0]).unwrap_err()));
        assert_eq!(acceptor.revoke("alice"), 1);
        client.write_all(b"too late").unwrap();
        assert_eq!(reading.join().unwrap(), Revocation::Ended);
    });
}

/// As most stores that are asked from async code do.
#[cfg(feature = "tokio")]
struct NeedsARuntime(Store);

#[cfg(feature = "tokio")]
impl AsyncVerifier for NeedsARuntime {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self.0.verify(attempt)
    }

    async fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.0.resume(returning)
    }
}

#[test]
#[cfg(feature = "tokio")]
fn an_async_verifier_is_asked_about_sessions_on_the_runtime_that_their_logins_came_by() {
    bounded(|| {
        let store = Store::of(&["alice"]);
        let acceptor = Acceptor::new_async(config(), RSA2048.server.clone(), NeedsARuntime(store.clone()));
        let acceptor = acceptor.with_recheck(Recheck::every(SOON));
        let (mut client, mut server) = meet::<crate::ends::Tokio>(&acceptor, "alice");
        store.all_asked_again(&["alice"]);
        assert_eq!(acceptor.counts().unconfirmed, 0);
        works(&mut client, &mut server);
    });
}

/// Each session on its own: another login, on a runtime that is gone by now, changes nothing for those before it.
#[test]
#[cfg(feature = "tokio")]
fn an_async_verifier_has_the_runtime_of_each_session_by_whichever_call_it_was_accepted() {
    bounded(|| {
        let names = ["alice", "bob", "carol"];
        let store = Store::of(&[&names[..], &["dave"]].concat());
        let acceptor = Acceptor::new_async(config(), RSA2048.server.clone(), NeedsARuntime(store.clone()));
        let acceptor = acceptor.with_recheck(Recheck::every(SOON));
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (stays, goes) = (runtime(), runtime());
        let connecting = |user| {
            let (client, server) = pair();
            let connect =
                move || connector().connect_blocking(client, Credential::Password { user, password: b"password" });
            (std::thread::spawn(move || connect().unwrap()), server)
        };
        // Blocking, on a thread of the runtime's, and on one of the application's own that has entered it.
        let (alice, server) = connecting("alice");
        let accept = acceptor.clone();
        let accept = move || accept.accept_blocking(server, Context::uncounted()).unwrap();
        let _alice =
            (stays.block_on(async { tokio::task::spawn_blocking(accept).await.unwrap() }), alice.join().unwrap());
        let (bob, server) = connecting("bob");
        let entered = stays.enter();
        let _bob = (acceptor.accept_blocking(server, Context::uncounted()).unwrap(), bob.join().unwrap());
        drop(entered);
        // A link of the application's own.
        let (carol, server) = connecting("carol");
        let (handle, accept) = (stays.handle().clone(), acceptor.clone());
        let mut accepting =
            Box::pin(
                async move { accept.accept_over(crate::events::link(server), Context::uncounted()).await.unwrap() },
            );
        let within = core::future::poll_fn(move |task| {
            let _entered = handle.enter();
            accepting.as_mut().poll(task)
        });
        let _carol = (crate::events::run(within), carol.join().unwrap());
        let (dave, server) = connecting("dave");
        server.set_nonblocking(true).unwrap();
        let accept = async {
            acceptor.accept(tokio::net::TcpStream::from_std(server).unwrap(), Context::uncounted()).await.unwrap()
        };
        drop((goes.block_on(accept), dave.join().unwrap(), goes));
        store.all_asked_again(&names);
        assert_eq!(acceptor.counts().unconfirmed, 0);
    });
}

/// Waits for as long as it is asked to about each session, and counts.
#[derive(Clone, Default)]
#[cfg(feature = "tokio")]
struct Waits {
    /// No answer comes before this.
    until: Arc<Mutex<Option<Duration>>>,
    at_once: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
    /// By which threads it was asked.
    threads: Arc<Mutex<Vec<Option<String>>>>,
}

/// A question that is on its way.
#[cfg(feature = "tokio")]
struct OnItsWay(Arc<AtomicUsize>);

#[cfg(feature = "tokio")]
impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(feature = "tokio")]
impl Waits {
    fn at_once(&self) -> usize {
        self.at_once.load(Ordering::SeqCst)
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// An acceptor with so many sessions, about which nobody is asked yet, and so many questions at once.
    fn meet(
        &self,
        sessions: usize,
        questions: usize,
    ) -> (Acceptor, Vec<(crate::ends::OnRuntime, crate::ends::OnRuntime)>) {
        let acceptor = Acceptor::new_async(config(), RSA2048.server.clone(), self.clone());
        let acceptor = acceptor
            .with_recheck(Recheck::never())
            .with_bounds(countersign::Bounds::default().with_rechecks(questions));
        let open = (0..sessions).map(|_| meet::<crate::ends::Tokio>(&acceptor, "alice")).collect();
        (acceptor, open)
    }
}

#[cfg(feature = "tokio")]
impl AsyncVerifier for Waits {
    async fn verify(&self, _: &Attempt<'_>) -> Result<Grant, Reason> {
        Ok(Grant::new("alice", ["read"])?.with_epoch(1))
    }

    async fn resume(&self, _: &Returning<'_>) -> Result<Grant, Reason> {
        self.at_once.fetch_add(1, Ordering::SeqCst);
        let _on_its_way = OnItsWay(Arc::clone(&self.at_once));
        let time = *self.until.lock().unwrap();
        match time {
            Some(time) => tokio::time::sleep(time).await,
            // Not at all, on a timer of the runtime's.
            None => loop {
                self.threads.lock().unwrap().push(std::thread::current().name().map(str::to_owned));
                tokio::time::sleep(Duration::from_millis(1)).await;
            },
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
        Ok(Grant::new("alice", ["read"])?.with_epoch(1))
    }
}

/// A healthy one that takes its time: of 200 sessions the last waits for six seconds, and nobody has an answer about it for more than one
/// and the grace.
#[test]
#[cfg(feature = "tokio")]
fn a_store_that_needs_longer_for_all_sessions_than_the_grace_ends_none_of_them() {
    bounded(|| {
        let waits = Waits::default();
        *waits.until.lock().unwrap() = Some(Duration::from_millis(120));
        let (acceptor, open) = waits.meet(200, 4);
        acceptor.set_recheck(Recheck::every(Duration::from_secs(1)).with_grace(Duration::from_secs(3)));
        eventually("all are asked about", || waits.answered() > open.len() || acceptor.counts().revoked > 0);
        assert_eq!(acceptor.counts().revoked, 0);
        assert!(open.iter().all(|(_, server)| server.current_grant().check().is_ok()));
    });
}

#[test]
#[cfg(feature = "tokio")]
fn an_async_verifier_is_asked_about_as_many_sessions_at_once_as_the_bounds_say() {
    bounded(|| {
        let waits = Waits::default();
        let (acceptor, open) = waits.meet(12, 5);
        acceptor.recheck_all();
        eventually("five are asked about", || waits.at_once() == 5);
        acceptor.set_bounds(countersign::Bounds::default().with_rechecks(9));
        eventually("nine are asked about", || waits.at_once() == 9);
        // One that is over makes room for the next.
        drop(open);
        eventually("nobody is asked about", || waits.at_once() == 0);
    });
}

#[test]
#[cfg(feature = "tokio")]
fn a_question_ends_with_its_session_and_where_no_answer_comes_in_time() {
    bounded(|| {
        let waits = Waits::default();
        let (acceptor, mut open) = waits.meet(2, 4);
        acceptor.recheck_all();
        eventually("both are asked about", || waits.at_once() == 2);
        drop(open.pop());
        eventually("one is not any more", || waits.at_once() == 1);
        // The other has a second.
        acceptor.set_recheck(Recheck::every(Duration::from_secs(1)).with_unlimited_grace());
        eventually("nor is the other", || waits.at_once() == 0);
        eventually("it is counted", || acceptor.counts().unconfirmed == 1);
        *waits.until.lock().unwrap() = Some(Duration::ZERO);
        eventually("it is confirmed", || acceptor.counts().unconfirmed == 0);
        // No thread of ours drives what belongs to a runtime.
        let threads = waits.threads.lock().unwrap();
        assert!(!threads.is_empty());
        assert!(!threads.iter().flatten().any(|name| name.starts_with("countersign")), "{threads:?}");
    });
}

/// Its timers panic for whoever polls them then, and so would whatever was polled by a thread of the acceptor's.
#[test]
#[cfg(feature = "tokio")]
fn a_question_ends_with_its_runtime_and_has_no_answer_then() {
    bounded(|| {
        let waits = Waits::default();
        let acceptor = Acceptor::new_async(config(), RSA2048.server.clone(), waits.clone());
        let acceptor = acceptor.with_recheck(Recheck::never().with_unlimited_grace());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (client, server) = pair();
        let entered = runtime.enter();
        let alice = Credential::Password { user: "alice", password: b"password" };
        let client = std::thread::spawn(move || connector().connect_blocking(client, alice).unwrap());
        let server = acceptor.accept_blocking(server, Context::uncounted()).unwrap();
        drop(entered);
        acceptor.recheck("alice");
        eventually("it is asked about", || waits.threads.lock().unwrap().len() > 3);
        drop(runtime);
        // At once, and not when the answer is late.
        assert_eq!(waits.at_once(), 0);
        assert_eq!(acceptor.counts().unconfirmed, 1);
        assert!(!waits.threads.lock().unwrap().iter().flatten().any(|name| name.starts_with("countersign")));
        // Nor is there one to be had from now on.
        acceptor.recheck("alice");
        assert_eq!((waits.at_once(), server.current_grant().check()), (0, Ok(())));
        drop((client.join().unwrap(), server));
    });
}

#[test]
#[cfg(feature = "tokio")]
fn both_halves_of_a_split_session_of_tasks_are_woken() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    bounded(|| {
        let store = Store::of(&["alice"]);
        let acceptor = acceptor(&store, Recheck::never());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, server) = pair();
            let [client, server] = [client, server].map(|stream| {
                stream.set_nonblocking(true).unwrap();
                tokio::net::TcpStream::from_std(stream).unwrap()
            });
            let (connector, alice) = (connector(), Credential::Password { user: "alice", password: b"password" });
            let (client, server) =
                tokio::join!(connector.connect(client, alice), acceptor.accept(server, Context::uncounted()));
            let (client, (mut reader, mut writer)) = (client.unwrap(), tokio::io::split(server.unwrap()));
            let reading = tokio::spawn(async move { revoked(&reader.read(&mut [0]).await.unwrap_err()) });
            // Nobody reads: it waits, soon.
            let writing = tokio::spawn(async move {
                loop {
                    if let Err(error) = writer.write_all(&[7; 1 << 20]).await {
                        return revoked(&error);
                    }
                }
            });
            tokio::task::yield_now().await;
            assert_eq!(acceptor.revoke("alice"), 1);
            assert_eq!((reading.await.unwrap(), writing.await.unwrap()), (Revocation::Ended, Revocation::Ended));
            drop(client);
        });
    });
}
