//! The verifier over a store of accounts: what it does with a store that is away, or in which others are at work.

#![cfg(feature = "accounts")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/asked.rs"]
mod asked;

use asked::block_on;
use countersign::accounts::{
    Account, AccountError, AccountStore, AccountVerifier, HashParameters, Imitation, Role, StoreError, TotpSecret,
};
use countersign::{
    Accounts, AsyncVerifier, Attempt, AuthorizedKey, ClientKey, Clock, Context, Credential, CredentialKind,
    FactorAttempt, Further, Grant, Moment, Reason, Returning, SigningKey, StretchParameters, Stretching, UnixTime,
    limits,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

const PASSWORD: &[u8] = b"correct horse";

fn cheap(passes: u32) -> HashParameters {
    HashParameters::new(8, passes, 1).unwrap()
}

fn alice() -> Account {
    let mut alice = Account::new("alice", ["read"]).unwrap();
    alice.set_password_with(PASSWORD, cheap(1)).unwrap();
    alice
}

/// What a store does instead of updating.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Away,
    /// Somebody else sets another password first, once.
    Overtaken,
    /// Somebody else is always first.
    Crowded,
}

struct Store {
    accounts: RwLock<Accounts>,
    fault: Mutex<Fault>,
    is_away: Mutex<bool>,
    updates: AtomicUsize,
}

fn away() -> StoreError {
    StoreError::Away { what: "the database is away", source: None }
}

impl Store {
    fn with(account: &Account) -> Arc<Self> {
        let mut accounts = Accounts::new();
        accounts.insert(account).unwrap();
        let (fault, is_away) = (Mutex::new(Fault::None), Mutex::new(false));
        Arc::new(Self { accounts: RwLock::new(accounts), fault, is_away, updates: AtomicUsize::new(0) })
    }

    fn alice(&self) -> Account {
        self.accounts.read().unwrap().get("alice").unwrap().clone()
    }

    fn there(&self) -> Result<(), StoreError> {
        if *self.is_away.lock().unwrap() { Err(away()) } else { Ok(()) }
    }
}

impl AccountStore for Store {
    async fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.there()?;
        self.accounts.find(name).await
    }

    async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        self.there()?;
        self.accounts.find_token(hash).await
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError> {
        self.accounts.page(after, most).await
    }

    async fn imitation(&self) -> Imitation {
        self.accounts.imitation().await
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        self.accounts.add(account).await
    }

    async fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        self.updates.fetch_add(1, SeqCst);
        let fault = *self.fault.lock().unwrap();
        match fault {
            Fault::None => {}
            Fault::Away => return Err(away()),
            Fault::Crowded => return Err(StoreError::Conflict),
            Fault::Overtaken => {
                *self.fault.lock().unwrap() = Fault::None;
                let other = |account: &mut Account| account.set_password_with(b"another", cheap(1));
                self.accounts.write().unwrap().edit("alice", other).unwrap();
            }
        }
        self.accounts.update(old, new).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.accounts.remove(name).await
    }

    async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        self.accounts.roles().await
    }

    async fn role_users(&self, role: &str) -> Result<u64, StoreError> {
        self.accounts.role_users(role).await
    }

    async fn add_role(&self, role: &Role) -> Result<(), StoreError> {
        self.accounts.add_role(role).await
    }

    async fn update_role(&self, old: &Role, new: &Role) -> Result<(), StoreError> {
        self.accounts.update_role(old, new).await
    }

    async fn remove_role(&self, name: &str) -> Result<(), StoreError> {
        self.accounts.remove_role(name).await
    }
}

/// One that edits in a way of its own, as a database may.
struct InOneStep {
    accounts: RwLock<Accounts>,
    edits: AtomicUsize,
}

impl AccountStore for InOneStep {
    async fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.accounts.find(name).await
    }

    async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        self.accounts.find_token(hash).await
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError> {
        self.accounts.page(after, most).await
    }

    async fn imitation(&self) -> Imitation {
        self.accounts.imitation().await
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        self.accounts.add(account).await
    }

    async fn update(&self, _: &Account, _: &Account) -> Result<Account, StoreError> {
        unreachable!("it edits in one step")
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.accounts.remove(name).await
    }

    async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        self.accounts.roles().await
    }

    async fn role_users(&self, role: &str) -> Result<u64, StoreError> {
        self.accounts.role_users(role).await
    }

    async fn add_role(&self, role: &Role) -> Result<(), StoreError> {
        self.accounts.add_role(role).await
    }

    async fn update_role(&self, _: &Role, _: &Role) -> Result<(), StoreError> {
        unreachable!("it edits in one step")
    }

    async fn remove_role(&self, name: &str) -> Result<(), StoreError> {
        self.accounts.remove_role(name).await
    }

    async fn edit<T: Send>(
        &self,
        name: &str,
        change: impl FnMut(&mut Account) -> Result<T, AccountError> + Send,
    ) -> Result<T, StoreError> {
        self.edits.fetch_add(1, SeqCst);
        self.accounts.edit(name, change).await
    }

    async fn edit_role<T: Send>(
        &self,
        name: &str,
        change: impl FnMut(&mut Role) -> Result<T, AccountError> + Send,
    ) -> Result<T, StoreError> {
        self.edits.fetch_add(1, SeqCst);
        self.accounts.edit_role(name, change).await
    }
}

#[test]
fn a_store_that_is_lent_or_shared_edits_as_it_does_itself() {
    fn edited(store: &impl AccountStore, permission: &str) {
        block_on(store.edit("alice", |account| account.add_permission(permission))).unwrap();
        block_on(store.edit_role("clerk", |role| role.add_permission(permission))).unwrap();
    }
    let store = Arc::new(InOneStep { accounts: RwLock::default(), edits: AtomicUsize::new(0) });
    block_on(store.add(&alice())).unwrap();
    block_on(store.add_role(&Role::new("clerk", ["read"]).unwrap())).unwrap();
    edited(&*store, "first");
    edited(&store, "second");
    edited(&&*store, "third");
    assert_eq!(store.edits.load(SeqCst), 6);
}

fn log_in<S: AccountStore>(verifier: &AccountVerifier<S>, password: &[u8]) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    block_on(verifier.verify(&Attempt::new(Credential::Password { user: "alice", password }, &context)))
}

/// Hashes with two passes what was hashed with one.
fn upgrading(store: &Arc<Store>) -> AccountVerifier<Arc<Store>> {
    AccountVerifier::new(Arc::clone(store)).with_upgrade(|account, password| {
        let is_old = account.to_string().contains("t=1");
        let mut better = account.clone();
        better.set_password_with(password, cheap(2)).unwrap();
        is_old.then_some(better)
    })
}

#[test]
fn a_good_password_is_stored_anew_before_the_grant_is_made() {
    let store = Store::with(&alice());
    let verifier = upgrading(&store);
    assert_eq!(log_in(&verifier, b"wrong"), Err(Reason::WrongPassword));
    assert_eq!(store.updates.load(SeqCst), 0);
    let grant = log_in(&verifier, PASSWORD).unwrap();
    assert_eq!(grant.epoch(), Some(store.alice().epoch()), "its ticket lives");
    assert!(store.alice().to_string().contains("t=2"));
    assert_eq!(log_in(&verifier, PASSWORD).unwrap().epoch(), grant.epoch(), "once");
    assert_eq!(store.updates.load(SeqCst), 1);
}

#[test]
fn a_closed_account_is_not_stored_anew() {
    let mut locked = alice();
    locked.lock();
    let store = Store::with(&locked);
    assert_eq!(log_in(&upgrading(&store), PASSWORD), Err(Reason::AccountLocked));
    assert_eq!(store.updates.load(SeqCst), 0);
}

#[test]
fn a_password_that_can_t_be_stored_anew_lets_in_all_the_same() {
    for fault in [Fault::Away, Fault::Crowded] {
        let store = Store::with(&alice());
        *store.fault.lock().unwrap() = fault;
        assert_eq!(log_in(&upgrading(&store), PASSWORD).unwrap().epoch(), Some(store.alice().epoch()));
        assert!(store.alice().to_string().contains("t=1"));
    }
}

#[test]
fn a_password_that_is_changed_while_it_is_stored_anew_lets_nobody_in() {
    let store = Store::with(&alice());
    *store.fault.lock().unwrap() = Fault::Overtaken;
    assert_eq!(log_in(&upgrading(&store), PASSWORD), Err(Reason::WrongPassword));
    assert!(log_in(&upgrading(&store), b"another").is_ok());
}

#[test]
fn a_store_that_is_away_says_not_now_whoever_asks_and_whatever_they_show() {
    let mut account = alice();
    let token = account.issue_token().unwrap();
    let store = Store::with(&account);
    let verifier = AccountVerifier::new(Arc::clone(&store));
    let grant = log_in(&verifier, PASSWORD).unwrap();
    *store.is_away.lock().unwrap() = true;
    let (context, not_now) = (Context::uncounted(), Reason::NotNow("the database is away"));
    let unknown = Credential::Password { user: "mallory", password: PASSWORD };
    let alices = [PASSWORD, b"wrong"].map(|password| Credential::Password { user: "alice", password });
    for credential in alices.into_iter().chain([unknown, Credential::Token(token.as_bytes()), Credential::Token(b"x")])
    {
        assert_eq!(block_on(verifier.verify(&Attempt::new(credential, &context))), Err(not_now.clone()));
    }
    let returning = Returning::new("alice", CredentialKind::Password, UnixTime::from_secs(1), &context);
    assert_eq!(block_on(verifier.resume(&returning)), Err(not_now.clone()));
    let further = Further::new(&grant, CredentialKind::Password, 0, &context);
    assert_eq!(block_on(verifier.further(&further)), Err(not_now.clone()));
    let answer = FactorAttempt::new(b"123456", &grant, CredentialKind::Password, 0, &context);
    assert_eq!(block_on(verifier.check_factor(&answer)), Err(not_now));
}

/// Otherwise "not now" would say that the code was right, and the code would still be good.
#[test]
fn a_store_that_can_be_read_and_not_written_says_the_same_to_right_codes_and_wrong_ones() {
    let mut account = alice();
    let secret = TotpSecret::generate().unwrap();
    account.set_totp(&secret);
    let codes = account.issue_recovery_codes().unwrap();
    let store = Store::with(&account);
    let grant = asked::check(&store, Credential::Password { user: "alice", password: PASSWORD }).unwrap();
    let now = UnixTime::from_system(std::time::SystemTime::now()).as_secs();
    let right = secret.code(UnixTime::from_secs(now + 30));
    for (fault, reason) in [
        (Fault::Away, Reason::NotNow("the database is away")),
        (Fault::Crowded, Reason::Application("the account was changed again and again meanwhile")),
    ] {
        *store.fault.lock().unwrap() = fault;
        for answer in [right.as_str(), "000000", &codes[0], "aaaa-aaaa"] {
            assert_eq!(asked::answer(&store, &grant, answer), Err(reason.clone()), "{answer}");
        }
    }
    *store.fault.lock().unwrap() = Fault::None;
    assert_eq!(asked::answer(&store, &grant, &right), Ok(()), "nothing was used up");
}

#[test]
fn an_edit_is_made_on_what_others_made_of_the_account_and_an_error_changes_nothing() {
    let store = Store::with(&alice());
    *store.fault.lock().unwrap() = Fault::Overtaken;
    let mut seen = Vec::new();
    block_on(store.edit("alice", |account| {
        seen.push(account.version());
        account.add_permission("write")
    }))
    .unwrap();
    assert_eq!(seen.len(), 2);
    assert!(store.alice().own_grant().permits("write"));
    assert!(log_in(&AccountVerifier::new(Arc::clone(&store)), b"another").is_ok(), "the other change is kept");
    let unchanged = store.alice();
    let failed = block_on(store.edit("alice", |account| {
        account.lock();
        account.add_permission("a b")
    }));
    assert!(matches!(failed, Err(StoreError::Account(AccountError::Permissions(_)))));
    assert_eq!(store.alice().epoch(), unchanged.epoch());
    let unknown = block_on(store.edit("bob", |account| Ok(account.lock())));
    assert!(matches!(unknown, Err(StoreError::Account(AccountError::Unknown(name))) if name == "bob"));
    *store.fault.lock().unwrap() = Fault::Crowded;
    assert!(matches!(block_on(store.edit("alice", |account| Ok(account.lock()))), Err(StoreError::Conflict)));
}

/// What was shown at new parameters is taken on the word of whoever knew the password. One who knows that alone, and not the second factor, must
/// not make another password of it.
#[test]
fn an_account_with_a_second_factor_moves_only_where_the_password_came_with_it() {
    let [old, new] = [7, 8].map(|memory| StretchParameters::new(memory, 5, 1).unwrap());
    let [kept, both] = [&[old][..], &[new, old]].map(|sets| Stretching::new("db.example", sets).unwrap());
    for has_factor in [false, true] {
        let mut account = Account::new("alice", ["read"]).unwrap();
        account.set_stretched(&kept.stretch("alice", PASSWORD).unwrap().newest());
        if has_factor {
            account.set_totp(&TotpSecret::generate().unwrap());
        }
        let store = Store::with(&account);
        let verifier = AccountVerifier::new(Arc::clone(&store)).with_moving();
        for (announced, moves) in [(both.clone(), !has_factor), (both.clone().with_moving(), true)] {
            let shown = announced.stretch("alice", PASSWORD).unwrap();
            let (context, credential) =
                (Context::uncounted(), Credential::Stretched { user: "alice", password: &shown });
            let grant = block_on(verifier.verify(&Attempt::new(credential, &context))).unwrap();
            assert_eq!(grant.epoch(), Some(store.alice().epoch()), "its ticket lives");
            assert_eq!(store.alice().stretched().unwrap().parameters(), if moves { new } else { old });
        }
    }
}

/// A key, without the half that nobody here needs.
fn key(seed: u8) -> ClientKey {
    ClientKey::public_only(SigningKey::from_ed25519(&[seed; 32]).unwrap().public_key().clone())
}

fn bounded(seed: u8, from: Option<&str>, until: Option<u64>) -> AuthorizedKey {
    let until = until.map(UnixTime::from_secs);
    AuthorizedKey::bounded(key(seed).public_key().clone(), "", from, until).unwrap()
}

/// What a key of alice's is good for, at logins, with a ticket, and in a session, from an address.
struct Keys(AccountVerifier<Arc<Store>>);

impl Keys {
    fn context(from: &str) -> Context {
        Context::from(SocketAddr::new(from.parse().unwrap(), 1))
    }

    fn log_in(&self, seed: u8, from: &str) -> Result<Grant, Reason> {
        let (key, context) = (key(seed), Self::context(from));
        block_on(self.0.verify(&Attempt::new(Credential::Key { user: "alice", key: &key }, &context)))
    }

    /// With a ticket of this grant: whether it is taken.
    fn come_back(&self, held: &Grant, from: &str) -> Result<bool, Reason> {
        let context = Self::context(from);
        let returning = Returning::new("alice", CredentialKind::Key, UnixTime::from_secs(1), &context);
        let grant = block_on(self.0.resume(&returning.with_epoch(held.epoch().unwrap())))?;
        Ok(grant.epoch() == held.epoch())
    }

    /// In a session with this grant: whether it goes on.
    fn go_on(&self, held: &Grant, from: &str) -> Result<bool, Reason> {
        let context = Self::context(from);
        let returning = Returning::new("alice", CredentialKind::Key, UnixTime::from_secs(1), &context).of_session();
        let returning = returning.with_epoch(held.epoch().unwrap());
        let grant = block_on(self.0.resume(&returning.with_credential_epoch(held.credential_epoch().unwrap())))?;
        Ok(grant.credential_epoch() == held.credential_epoch())
    }

    /// In the middle of a login: whether it goes on.
    fn further(&self, held: &Grant, from: &str) -> Result<(), Reason> {
        let context = Self::context(from);
        block_on(self.0.further(&Further::new(held, CredentialKind::Key, 0, &context))).map(drop)
    }
}

const OFFICE: &str = "192.0.2.7";
const ELSEWHERE: &str = "203.0.113.5";

#[test]
fn what_one_of_several_keys_began_ends_with_its_bounds_and_nothing_else_does() {
    let start = 1_800_000_000;
    let mut alice = alice();
    for seed in [1, 2, 3] {
        alice.add_key(&bounded(seed, None, (seed == 3).then_some(start + 60))).unwrap();
    }
    let store = Store::with(&alice);
    let time = Arc::new(AtomicU64::new(start));
    let now = Arc::clone(&time);
    let clock = Clock::new(move || {
        let passed = std::time::Duration::from_secs(now.load(SeqCst) - start);
        (Moment::after_origin(passed), UnixTime::from_secs(now.load(SeqCst)))
    });
    let keys = Keys(AccountVerifier::new(Arc::clone(&store)).with_clock(clock));
    let [first, second, third] = [1, 2, 3].map(|seed| keys.log_in(seed, ELSEWHERE).unwrap());
    for held in [&first, &second, &third] {
        assert_eq!((keys.come_back(held, ELSEWHERE), keys.go_on(held, ELSEWHERE)), (Ok(true), Ok(true)));
        assert_eq!(keys.further(held, ELSEWHERE), Ok(()));
    }
    // The third comes to its end by itself.
    time.fetch_add(59, SeqCst);
    assert_eq!((keys.come_back(&third, OFFICE), keys.go_on(&third, OFFICE)), (Ok(true), Ok(true)), "to the second");
    time.fetch_add(1, SeqCst);
    let over = Err(Reason::KeyNotAdmitted);
    assert_eq!((keys.come_back(&third, OFFICE), keys.go_on(&third, OFFICE)), (over.clone(), over.clone()));
    assert_eq!(keys.further(&third, OFFICE).map(|()| true), over);
    for held in [&first, &second] {
        assert_eq!((keys.come_back(held, ELSEWHERE), keys.go_on(held, ELSEWHERE)), (Ok(true), Ok(true)));
    }
    // The first is bound to the office, and the account is another for tickets.
    block_on(store.edit("alice", |alice| alice.add_key(&bounded(1, Some("192.0.2.0/24"), None)))).unwrap();
    assert_eq!((keys.go_on(&first, ELSEWHERE), keys.go_on(&first, OFFICE)), (over.clone(), Ok(true)));
    assert_eq!(keys.further(&first, ELSEWHERE).map(|()| true), over);
    assert_eq!(keys.come_back(&first, ELSEWHERE), Ok(false));
    assert_eq!((keys.go_on(&second, ELSEWHERE), keys.come_back(&second, ELSEWHERE)), (Ok(true), Ok(false)));
    // What it is granted meanwhile comes with it.
    block_on(store.edit("alice", |alice| alice.add_permission("write"))).unwrap();
    assert_eq!((keys.go_on(&first, OFFICE), keys.go_on(&second, ELSEWHERE)), (Ok(true), Ok(true)));
    // One that is gone ends what the keys began, as no one knows any more which it was.
    block_on(store.edit("alice", |alice| Ok(alice.remove_key(key(1).public_key().id())))).unwrap();
    assert_eq!((keys.go_on(&first, OFFICE), keys.go_on(&second, OFFICE)), (Ok(false), Ok(false)));
    assert_eq!(
        keys.further(&first, OFFICE),
        Err(Reason::Application("the account's credentials have changed since they were checked"))
    );
}

/// As one does whose machine is told a wrong time.
#[test]
fn a_clock_that_jumps_ahead_ends_no_key_before_that_time_is_believed() {
    let (start, year) = (1_800_000_000, 365 * 24 * 3600);
    let mut alice = alice();
    alice.add_key(&bounded(1, None, Some(start + 3600))).unwrap();
    let hands = Arc::new(Mutex::new((0, start)));
    let read = Arc::clone(&hands);
    let clock = Clock::new(move || {
        let (passed, time) = *read.lock().unwrap();
        (Moment::after_origin(Duration::from_secs(passed)), UnixTime::from_secs(time))
    });
    let keys = Keys(AccountVerifier::new(Store::with(&alice)).with_clock(clock));
    let held = keys.log_in(1, OFFICE).unwrap();
    *hands.lock().unwrap() = (10, start + year + 10);
    assert!(keys.log_in(1, OFFICE).is_ok());
    assert_eq!((keys.come_back(&held, OFFICE), keys.go_on(&held, OFFICE)), (Ok(true), Ok(true)));
    let doubt = limits::CLOCK_DOUBT.as_secs() + 20;
    *hands.lock().unwrap() = (doubt, start + year + doubt);
    assert_eq!(keys.log_in(1, OFFICE), Err(Reason::KeyNotAdmitted));
    assert!(keys.come_back(&held, OFFICE).is_err());
}

/// For machines by hand that tell nothing but whom a ticket is of.
#[test]
fn whoever_comes_back_by_the_only_key_needs_no_number_to_be_known_by() {
    let mut alice = alice();
    alice.add_key(&bounded(1, Some("192.0.2.0/24"), None)).unwrap();
    let store = Store::with(&alice);
    let keys = Keys(AccountVerifier::new(Arc::clone(&store)));
    let held = keys.log_in(1, OFFICE).unwrap();
    assert_eq!(held.epoch(), Some(store.alice().epoch()));
    let resumed = |from| {
        let context = Keys::context(from);
        let returning = Returning::new("alice", CredentialKind::Key, UnixTime::from_secs(1), &context);
        block_on(keys.0.resume(&returning))
    };
    assert_eq!(resumed(OFFICE).as_ref(), Ok(&held));
    assert_eq!(resumed(ELSEWHERE), Err(Reason::AccountDisabled));
}
