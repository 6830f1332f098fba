//! What becomes of a login, and of a session, whose account is changed in the middle of it, or whose server's clock jumps: in memory, over a file, over
//! SQLite, and over PostgreSQL where there is one (`.ci/postgres COMMAND`).
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/databases.rs"]
mod databases;
mod support;

use countersign::accounts::{
    Account, AccountFile, AccountStore, AccountVerifier, HashParameters, Imitation, Role, StoreError, TotpSecret,
};
use countersign::crypto::rustcrypto;
use countersign::files::{FileError, Missing, edit_accounts};
use countersign::{
    Acceptor, Accounts, Answer, AsyncVerifier, Attempt, AuthorizedKey, ClientConfig, ClientKey, Clock, Connector,
    Context, Credential, CredentialKind, Error, FactorAttempt, Further, Grant, KeyId, LoginError, Moment, Question,
    Reason, Recheck, Returning, Server, ServerConfig, SigningKey, StretchParameters, Stretching, Trust, TrustLevel,
    UnixTime, limits,
};
use countersign_stores::SqlStore;
use databases::databases;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
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
        edit_accounts(&path, Missing::Make, |_| Ok::<_, FileError>(())).unwrap();
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

fn config() -> ServerConfig {
    let kinds = [CredentialKind::Password, CredentialKind::Token, CredentialKind::Key];
    let config = ServerConfig::new(rustcrypto::provider()).with_refusal_floor(Duration::ZERO);
    config.with_credential_kinds(&kinds).unwrap()
}

fn acceptor<S: AccountStore + 'static>(verifier: AccountVerifier<Arc<S>>) -> Acceptor {
    accepting(config(), verifier)
}

fn accepting<S: AccountStore + 'static>(config: ServerConfig, verifier: AccountVerifier<Arc<S>>) -> Acceptor {
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
                let cheap = HashParameters::new(8, 1, 1).unwrap();
                store.edit("alice", |alice| alice.set_password_with(b"battery staple", cheap)).await
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

/// A store in which somebody takes a credential away between the first answer and the next question.
struct Meddled<S> {
    store: Arc<S>,
    taken: Mutex<Option<Taken>>,
    /// Whether the next question has no answer.
    is_away: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Taken {
    /// While the store does not answer when it is asked whether the account is still the one that the hash was computed for.
    Password,
    Stretched,
    Token,
    Key,
}

impl Taken {
    async fn take<S: AccountStore>(self, store: &S) {
        match self {
            Self::Password | Self::Stretched => Change::Password.make(store).await,
            Self::Token => assert_eq!(store.edit("alice", |alice| Ok(alice.revoke_tokens())).await.unwrap(), 1),
            Self::Key => assert!(store.edit("alice", |alice| Ok(alice.remove_key(id(1)))).await.unwrap()),
        }
    }
}

impl<S: AccountStore> Meddled<S> {
    fn of(store: &Arc<S>, taken: Taken) -> Arc<Self> {
        let (taken, is_away) = (Mutex::new(Some(taken)), AtomicBool::new(false));
        Arc::new(Self { store: Arc::clone(store), taken, is_away })
    }

    async fn meddle(&self) {
        let taken = self.taken.lock().unwrap().take();
        if let Some(taken) = taken {
            taken.take(&*self.store).await;
            self.is_away.store(matches!(taken, Taken::Password), SeqCst);
        }
    }
}

impl<S: AccountStore> AccountStore for Meddled<S> {
    async fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        if self.is_away.swap(false, SeqCst) {
            return Err(StoreError::Away { what: "the store is away", source: None });
        }
        let found = self.store.find(name).await;
        self.meddle().await;
        found
    }

    async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        let found = self.store.find_token(hash).await;
        self.meddle().await;
        found
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError> {
        self.store.page(after, most).await
    }

    async fn imitation(&self) -> Imitation {
        self.store.imitation().await
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        self.store.add(account).await
    }

    async fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        self.store.update(old, new).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.store.remove(name).await
    }

    async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        self.store.roles().await
    }

    async fn role_users(&self, role: &str) -> Result<u64, StoreError> {
        self.store.role_users(role).await
    }

    async fn add_role(&self, role: &Role) -> Result<(), StoreError> {
        self.store.add_role(role).await
    }

    async fn update_role(&self, old: &Role, new: &Role) -> Result<(), StoreError> {
        self.store.update_role(old, new).await
    }

    async fn remove_role(&self, name: &str) -> Result<(), StoreError> {
        self.store.remove_role(name).await
    }
}

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_ed25519(&[seed; 32]).unwrap()
}

fn id(seed: u8) -> KeyId {
    signing(seed).public_key().id()
}

fn bounded(seed: u8, from: Option<&str>) -> AuthorizedKey {
    AuthorizedKey::bounded(signing(seed).public_key().clone(), "", from, None).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_credential_that_is_taken_away_while_it_is_looked_at_lets_nobody_in() {
    over_each_store!("taken_away", takes_during_logins);
}

async fn takes_during_logins<S: AccountStore + 'static>(store: Arc<S>) {
    let stretching = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap();
    let key = ClientKey::load(&signing(1), rustcrypto::provider()).unwrap();
    for taken in [Taken::Password, Taken::Stretched, Taken::Token, Taken::Key] {
        let (mut alice, mut config) = (account("alice"), config());
        let token = alice.issue_token().unwrap();
        [1, 2].iter().for_each(|seed| assert!(alice.add_key(&bounded(*seed, None)).unwrap()));
        if matches!(taken, Taken::Stretched) {
            alice.set_stretched(&stretching.stretch("alice", PASSWORD).unwrap().newest());
            config = config.with_stretching(stretching.clone()).unwrap();
        }
        renew(&*store, &alice).await;
        let meddled = Meddled::of(&store, taken);
        let acceptor = accepting(config, AccountVerifier::new(Arc::clone(&meddled)).without_upgrade());
        let credential = match taken {
            Taken::Password | Taken::Stretched => ALICE,
            Taken::Token => Credential::Token(token.as_bytes()),
            Taken::Key => Credential::Key { user: "alice", key: &key },
        };
        let (client, end) = UnixStream::pair().unwrap();
        let server = serve(acceptor, end);
        let refused = connector().connect(client, credential).await.map(drop);
        assert!(matches!(refused, Err(LoginError::Protocol(Error::Refused))), "{taken:?}: {refused:?}");
        let changed = Reason::Application("the account's credentials have changed since they were checked");
        match server.await.unwrap() {
            Err(LoginError::LoginRefused { reason, .. }) => assert_eq!(reason, changed, "{taken:?}"),
            other => panic!("{taken:?}: {other:?}"),
        }
        assert!(meddled.taken.lock().unwrap().is_none());
    }
    store.remove("alice").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_else_is_changed_during_a_login_ends_it_at_no_step() {
    over_each_store!("other_changes", other_changes);
}

async fn other_changes<S: AccountStore + 'static>(store: Arc<S>) {
    let mut alice = account("alice");
    alice.set_totp(&TotpSecret::generate().unwrap());
    let recovery = alice.issue_recovery_codes().unwrap();
    store.add(&alice).await.unwrap();
    let verifier = AccountVerifier::new(Arc::clone(&store)).without_upgrade();
    let context = Context::uncounted();
    let grant = log_in(&verifier, PASSWORD).await.unwrap();
    let next = async |step| {
        let further = Further::new(&grant, CredentialKind::Password, step, &context);
        verifier.further(&further).await.map(|prompt| prompt.is_some())
    };
    assert_eq!(next(0).await, Ok(true));
    // A code that is used up makes another account of hers, and the same credentials.
    assert_eq!(answer(&verifier, &grant, &recovery[0]).await, Ok(()));
    assert_eq!(next(1).await, Ok(false));
    store.edit("alice", |alice| alice.add_permission("write")).await.unwrap();
    store.edit("alice", |alice| alice.issue_token().map(drop)).await.unwrap();
    assert_eq!((next(0).await, next(1).await), (Ok(true), Ok(false)));
    let renewed = TotpSecret::generate().unwrap();
    let renew = |alice: &mut Account| {
        alice.set_totp(&renewed);
        Ok(())
    };
    store.edit("alice", renew).await.unwrap();
    let changed = Err(Reason::Application("the account's credentials have changed since they were checked"));
    assert_eq!((next(0).await, next(1).await), (changed.clone(), changed));
    store.remove("alice").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_is_bound_to_other_addresses_ends_its_sessions_and_no_other_key_s() {
    over_each_store!("narrowed", narrowed);
}

async fn narrowed<S: AccountStore + 'static>(store: Arc<S>) {
    let (mut alice, (hands, _)) = (account("alice"), Hands::start());
    [1, 2].iter().for_each(|seed| assert!(alice.add_key(&bounded(*seed, None)).unwrap()));
    store.add(&alice).await.unwrap();
    let acceptor = acceptor(AccountVerifier::new(Arc::clone(&store)).with_clock(hands.clock()));
    let mut sessions = Vec::new();
    for seed in [1, 2] {
        let (client, end) = UnixStream::pair().unwrap();
        let key = ClientKey::load(&signing(seed), rustcrypto::provider()).unwrap();
        let server = serve(acceptor.clone(), end);
        let credential = Credential::Key { user: "alice", key: &key };
        sessions.push((connector().connect(client, credential).await.unwrap(), server));
    }
    let (mut second, of_second) = sessions.pop().unwrap();
    let (mut first, of_first) = sessions.pop().unwrap();
    store.edit("alice", |alice| alice.add_key(&bounded(1, Some("10.0.0.0/8")))).await.unwrap();
    assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 0, "a close");
    assert_eq!(ended(&of_first.await.unwrap().unwrap()), "key-not-admitted");
    // Until the other was looked at twice since: what a look ends is asked about once more.
    let looks = hands.looks();
    while hands.looks() < looks + 3 {
        let mut byte = [0; 1];
        second.write_all(&[7]).await.unwrap();
        second.read_exact(&mut byte).await.unwrap();
    }
    drop(second);
    assert!(of_second.await.unwrap().is_ok());
    store.remove("alice").await.unwrap();
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
