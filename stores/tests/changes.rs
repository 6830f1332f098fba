//! What becomes of a login, and of a session, whose account is changed in the middle of it, or whose server's clock jumps: in memory, over a file, over
//! SQLite, and over PostgreSQL where there is one (`.ci/postgres COMMAND`).
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/databases.rs"]
mod databases;
mod support;

use argon2::{Algorithm, Argon2, Params, Version};
use countersign::accounts::{Account, AccountFile, AccountStore, AccountVerifier, StoreError, TotpSecret};
use countersign::crypto::rustcrypto;
use countersign::files::FileError;
use countersign::{
    Acceptor, Accounts, Answer, AsyncVerifier, Attempt, ClientConfig, Clock, Connector, Context, Credential,
    CredentialKind, Error, FactorAttempt, Further, Grant, KeyId, LoginError, Moment, Question, Reason, Recheck,
    Returning, Server, ServerConfig, Trust, TrustLevel, UnixTime, limits,
};
use countersign_stores::SqlStore;
use databases::databases;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime};
use support::{PASSWORD, account, connector, private_key, server_key, source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

const DAY: u64 = 24 * 3600;
const YEAR: u64 = 365 * DAY;

/// Does the same over each kind of store.
macro_rules! over_each_store {
    ($name:literal, $test:ident) => {
        $test(Arc::new(RwLock::new(Accounts::new()))).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        AccountFile::edit(&path, true, |_| Ok::<_, FileError>(())).unwrap();
        $test(Arc::new(AccountFile::open(&path).unwrap())).await;
        for (place, _folder) in databases($name).await {
            $test(Arc::new(SqlStore::open(&place).await.unwrap())).await;
        }
    };
}

/// A clock that tests set.
#[derive(Clone)]
struct Hands(Arc<Mutex<(Duration, u64)>>, Arc<Mutex<usize>>);

impl Hands {
    /// A little ahead, so that no code of now was used before.
    fn start() -> (Self, u64) {
        let now = UnixTime::from_system(SystemTime::now()).as_secs() + 120;
        (Self(Arc::new(Mutex::new((Duration::ZERO, now))), Arc::default()), now)
    }

    fn clock(&self) -> Arc<Clock> {
        let hands = self.clone();
        Arc::new(Clock::new(move || {
            *hands.1.lock().unwrap() += 1;
            let (passed, time) = *hands.0.lock().unwrap();
            (Moment::after_origin(passed), UnixTime::from_secs(time))
        }))
    }

    fn looks(&self) -> usize {
        *self.1.lock().unwrap()
    }

    fn pass(&self, seconds: u64) {
        let mut hands = self.0.lock().unwrap();
        *hands = (hands.0 + Duration::from_secs(seconds), hands.1 + seconds);
    }

    fn jump(&self, to: u64) {
        self.0.lock().unwrap().1 = to;
    }
}

/// Where somebody who logs in waits until a test has changed something.
struct Gate(UnboundedSender<()>, Mutex<Receiver<()>>);

/// The test's side of it.
struct Keeper(UnboundedReceiver<()>, Sender<()>);

fn gate() -> (Gate, Keeper) {
    let ((reached, arrivals), (go_on, passing)) = (unbounded_channel(), channel());
    (Gate(reached, Mutex::new(passing)), Keeper(arrivals, go_on))
}

impl Gate {
    fn pass(&self) {
        self.0.send(()).unwrap();
        self.1.lock().unwrap().recv().unwrap();
    }
}

/// Trusts the server's key, and lets the login leave when the gate is open.
struct Waiting(Gate, KeyId);

impl Trust for Waiting {
    fn decide(&self, question: &Question<'_>) -> Answer {
        assert_eq!(question.key().id(), self.1);
        // What waits for this thread of the runtime goes on on another.
        tokio::task::block_in_place(|| self.0.pass());
        Answer::Trusted(TrustLevel::Verified)
    }

    fn scope(&self) -> String {
        "waiting".to_owned()
    }
}

fn acceptor<S: AccountStore + 'static>(verifier: AccountVerifier<Arc<S>>) -> Acceptor {
    let config = ServerConfig::new(rustcrypto::provider()).with_refusal_floor(Duration::ZERO);
    Acceptor::new_async(config, server_key(), verifier).with_recheck(Recheck::every(Duration::from_millis(50)))
}

/// What the server makes of alice: a session that says all back, until it ends by an error.
fn serve(acceptor: Acceptor, end: UnixStream) -> JoinHandle<Result<io::Error, LoginError>> {
    tokio::spawn(async move {
        let mut session = acceptor.accept(end, Context::new(source(1))).await?;
        let mut byte = [0; 1];
        loop {
            let echoed = async {
                session.read_exact(&mut byte).await?;
                session.write_all(&byte).await?;
                session.flush().await
            };
            if let Err(error) = echoed.await {
                return Ok(error);
            }
        }
    })
}

const ALICE: Credential<'static> = Credential::Password { user: "alice", password: PASSWORD };

/// Why a session was ended.
fn ended(error: &io::Error) -> &'static str {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    error.unwrap_or_else(|| panic!("it was not ended")).code()
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Remove,
    Lock,
    Password,
}

impl Change {
    async fn make<S: AccountStore>(self, store: &S) {
        match self {
            Self::Remove => store.remove("alice").await,
            Self::Lock => store.edit("alice", |alice| Ok(alice.lock())).await.map(drop),
            Self::Password => {
                let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
                store.edit("alice", |alice| alice.set_password_with(b"battery staple", &cheap)).await
            }
        }
        .unwrap();
    }

    /// The reason at a login, and at a session.
    fn reasons(self) -> (&'static str, &'static str) {
        match self {
            Self::Remove => ("unknown-user", "unknown-user"),
            Self::Lock => ("account-locked", "account-locked"),
            Self::Password => ("wrong-password", "credential-changed"),
        }
    }
}

/// Alice as she was.
async fn renew<S: AccountStore>(store: &S, alice: &Account) {
    match store.remove("alice").await {
        Ok(()) | Err(StoreError::Account(_)) => store.add(alice).await.unwrap(),
        Err(error) => panic!("{error}"),
    }
}

async fn log_in<S: AccountStore>(verifier: &AccountVerifier<Arc<S>>, password: &[u8]) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    verifier.verify(&Attempt::new(Credential::Password { user: "alice", password }, &context)).await
}

async fn answer<S: AccountStore>(
    verifier: &AccountVerifier<Arc<S>>,
    grant: &Grant,
    answer: &str,
) -> Result<(), Reason> {
    let context = Context::uncounted();
    let attempt = FactorAttempt::new(answer.as_bytes(), grant, CredentialKind::Password, 0, &context);
    verifier.check_factor(&attempt).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_removed_locked_or_given_another_password_during_a_login_is_not_let_in() {
    over_each_store!("changed", changes_during_logins);
}

async fn changes_during_logins<S: AccountStore + 'static>(store: Arc<S>) {
    let alice = account("alice");
    for change in [Change::Remove, Change::Lock, Change::Password] {
        for is_hashing in [false, true] {
            renew(&*store, &alice).await;
            let (gate, mut keeper) = gate();
            let verifier = AccountVerifier::new(Arc::clone(&store));
            let (acceptor, by) = if is_hashing {
                // Asked where the hash was computed, and was that of the password.
                let hashed = verifier.with_upgrade(move |_, _| {
                    gate.pass();
                    None
                });
                (acceptor(hashed), connector())
            } else {
                // The challenge has come.
                let server = Server::trusting(Waiting(gate, private_key().public_key().id()));
                let by = Connector::new(ClientConfig::new(rustcrypto::provider()), server);
                (acceptor(verifier.without_upgrade()), by)
            };
            let (client, end) = UnixStream::pair().unwrap();
            let server = serve(acceptor, end);
            let connected = tokio::spawn(async move { by.connect(client, ALICE).await.map(drop) });
            keeper.0.recv().await.unwrap();
            change.make(&*store).await;
            keeper.1.send(()).unwrap();
            let refused = connected.await.unwrap();
            assert!(matches!(refused, Err(LoginError::Protocol(Error::Refused))), "{change:?}: {refused:?}");
            match server.await.unwrap() {
                Err(LoginError::LoginRefused { reason, .. }) => {
                    assert_eq!(reason.code(), change.reasons().0, "{change:?}");
                }
                other => panic!("{change:?}: {other:?}"),
            }
        }

        // After the verdict, and before the first look at the session.
        renew(&*store, &alice).await;
        let (client, end) = UnixStream::pair().unwrap();
        let server = serve(acceptor(AccountVerifier::new(Arc::clone(&store)).without_upgrade()), end);
        let mut session = connector().connect(client, ALICE).await.unwrap();
        change.make(&*store).await;
        assert_eq!(session.read(&mut [0; 1]).await.unwrap(), 0, "a close");
        assert_eq!(ended(&server.await.unwrap().unwrap()), change.reasons().1, "{change:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_ends_when_it_has_ended_by_both_times_of_a_clock_that_jumped() {
    over_each_store!("ends", ends);
}

async fn ends<S: AccountStore + 'static>(store: Arc<S>) {
    let (hands, start) = Hands::start();
    let mut alice = account("alice");
    alice.set_expiry(Some(UnixTime::from_secs(start + DAY)));
    store.add(&alice).await.unwrap();
    let verifier = AccountVerifier::new(Arc::clone(&store)).without_upgrade().with_clock(hands.clock());
    let doubt = limits::CLOCK_DOUBT.as_secs();
    let check = async |is_open: bool, when: &str| {
        let context = Context::uncounted();
        let returning = Returning::new("alice", CredentialKind::Password, UnixTime::from_secs(1), &context);
        let expected = if is_open { Ok(()) } else { Err(Reason::AccountExpired) };
        assert_eq!(log_in(&verifier, PASSWORD).await.map(drop), expected, "{when}");
        assert_eq!(verifier.resume(&returning).await.map(drop), expected, "{when}");
        assert_eq!(log_in(&verifier, b"wrong").await, Err(Reason::WrongPassword), "{when}");
    };
    check(true, "at first").await;
    hands.jump(start + YEAR);
    check(true, "ahead").await;
    hands.pass(doubt - 1);
    check(true, "still in doubt").await;
    // Another jump, and another hour.
    hands.jump(start + 2 * YEAR);
    check(true, "further ahead").await;
    hands.pass(doubt - 1);
    check(true, "and in doubt").await;
    hands.pass(1);
    check(false, "it stays there").await;
    // Set right: the account was open all the time.
    hands.jump(start + 2 * doubt);
    check(true, "back").await;
    hands.pass(doubt);
    check(true, "and it stays there").await;
    // Set back by ten years, and right again before that counts.
    hands.jump(start - 10 * YEAR);
    check(true, "long ago").await;
    hands.jump(start + 3 * doubt);
    check(true, "right again").await;
    hands.pass(DAY);
    check(false, "its end has come").await;
    // That a clock goes back does not change at once.
    hands.jump(start);
    let context = Context::uncounted();
    let further = Grant::new("alice", ["read"]).unwrap();
    let further = Further::new(&further, CredentialKind::Password, 0, &context);
    assert_eq!(verifier.further(&further).await, Ok(None), "by one of the times it is open");
    store.remove("alice").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn codes_of_both_times_of_a_clock_that_jumped_are_good_and_each_once() {
    over_each_store!("codes", codes);
}

async fn codes<S: AccountStore + 'static>(store: Arc<S>) {
    let (hands, start) = Hands::start();
    let (mut alice, secret) = (account("alice"), TotpSecret::generate().unwrap());
    alice.set_totp(&secret);
    let recovery = alice.issue_recovery_codes().unwrap();
    store.add(&alice).await.unwrap();
    let verifier = AccountVerifier::new(Arc::clone(&store)).without_upgrade().with_clock(hands.clock());
    let code = |time: u64| secret.code(UnixTime::from_secs(time)).as_str().to_owned();
    let show = async |shown: &str| {
        let grant = log_in(&verifier, PASSWORD).await.unwrap();
        answer(&verifier, &grant, shown).await
    };
    let used = Err(Reason::FactorUsed);
    assert_eq!(show(&code(start)).await, Ok(()));
    assert_eq!(show(&code(start)).await, used);
    // Her authenticator's clock did not jump.
    for (jump, passed) in [(start + YEAR, 30), (start + 3600, 60), (start - YEAR, 90), (start - 3600, 120)] {
        hands.pass(30);
        hands.jump(jump);
        assert_eq!(show(&code(start + passed)).await, Ok(()), "{jump}");
        assert_eq!(show(&code(start + passed)).await, used, "{jump}");
        assert_eq!(show(&code(start + passed - 30)).await, used, "{jump}");
    }
    // Back where one was good.
    hands.jump(start + 30);
    assert_eq!(show(&code(start + 30)).await, used);
    hands.jump(start + 120);
    assert_eq!(show(&code(start + 120)).await, used);
    hands.pass(30);
    assert_eq!(show(&code(start + 150)).await, Ok(()));

    // It did, too: then no code of before is taken any more, until she shows a recovery code.
    hands.pass(30);
    hands.jump(start + YEAR);
    assert_eq!(show(&code(start + YEAR)).await, Ok(()));
    hands.jump(start + 180);
    assert_eq!(show(&code(start + 180)).await, used);
    assert_eq!(show(&recovery[0]).await, Ok(()));
    // What may have been used stays so.
    for passed in [150, 180, 210] {
        assert_eq!(show(&code(start + passed)).await, used);
    }
    hands.pass(60);
    assert_eq!(show(&code(start + 240)).await, Ok(()));
    store.remove("alice").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_outlives_a_jump_of_the_clock_and_not_the_end_of_its_account() {
    over_each_store!("looked_at", looks);
}

async fn looks<S: AccountStore + 'static>(store: Arc<S>) {
    let (hands, start) = Hands::start();
    let mut alice = account("alice");
    alice.set_expiry(Some(UnixTime::from_secs(start + DAY)));
    store.add(&alice).await.unwrap();
    let verifier = AccountVerifier::new(Arc::clone(&store)).without_upgrade().with_clock(hands.clock());
    let (client, end) = UnixStream::pair().unwrap();
    let server = serve(acceptor(verifier), end);
    let mut session = connector().connect(client, ALICE).await.unwrap();
    for time in [start + YEAR, start + 3600, start - YEAR, start - 3600, start, start + YEAR] {
        hands.jump(time);
        let looks = hands.looks();
        // Until it was looked at twice since: what a look before the jump ended would be ended.
        while hands.looks() < looks + 2 {
            let mut byte = [0; 1];
            session.write_all(&[7]).await.unwrap();
            session.read_exact(&mut byte).await.unwrap();
        }
    }
    hands.pass(limits::CLOCK_DOUBT.as_secs());
    assert_eq!(session.read(&mut [0; 1]).await.unwrap(), 0, "a close");
    assert_eq!(ended(&server.await.unwrap().unwrap()), "account-expired");
    store.remove("alice").await.unwrap();
}
