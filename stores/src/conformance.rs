//! Tests that any store of accounts can be put to: what [`AccountStore`] promises, and what an [`AccountVerifier`] makes of it.
//!
//! ```
//! # async fn with<S: countersign::accounts::AccountStore + 'static>(my_store: S) {
//! // In a test under #[tokio::test(flavor = "multi_thread")], over an empty store:
//! countersign_stores::conformance::check(std::sync::Arc::new(my_store)).await;
//! # }
//! ```
//!
//! | | what it is put to |
//! |---|---|
//! | [`check`] | everything that one process notices |
//! | [`check_two`] | what two servers over the same accounts notice: of a store that several processes share |
//! | [`check_away`] | what logins are told while a store is away |
//!
//! On a runtime of several threads: where one task begins when another waits, what has to be done in one step is, by chance. The futures are no tasks that could
//! be spawned; a test awaits them itself.

mod accounts;
mod changes;
mod logins;
mod roles;
mod several;
mod tokens;

use core::fmt::Debug;
use core::future::Future;
use countersign::accounts::{Account, AccountStore, AccountVerifier, Answers, HashParameters, StoreError};
use countersign::{AsyncVerifier, Attempt, Context, Credential, CredentialKind, Grant, Reason, Returning, UnixTime};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Barrier;

use accounts::{added_and_removed, all_fields_come_back, names_are_told_apart_by_their_bytes, pages_have_all_once};
use changes::{
    each_change_has_a_version_of_its_own, edits_at_once_lose_nothing, only_what_is_as_it_was_read_is_changed,
    what_is_given_up_halves_nothing, what_is_remembered_of_answers_is_the_authenticator_s,
    whatever_is_changed_is_another_version,
};
use logins::{
    a_code_is_good_once, a_login_is_what_the_account_says, a_recovery_code_is_good_once,
    an_unknown_name_costs_the_same_each_time,
};
use roles::{
    a_role_is_what_all_who_have_it_may_do, a_role_never_gives_more_than_a_grant_may_have,
    roles_are_added_changed_and_removed,
};
use several::{changes_of_one_are_seen_by_the_other, what_is_done_at_two_servers_at_once_is_done_once};
use tokens::a_token_belongs_to_one;

/// Puts a store to all tests, one after the other. It must be empty, and is so again at the end.
///
/// # Panics
/// Where the store does not do what it should, and on a runtime of one thread.
#[allow(clippy::panic, reason = "that is what tests do")]
pub async fn check<S: AccountStore + 'static>(store: Arc<S>) {
    begin(&*store).await;
    // Each by itself: all in one would be more than a thread's stack holds, without optimisation.
    Box::pin(added_and_removed(&*store)).await;
    Box::pin(names_are_told_apart_by_their_bytes(&*store)).await;
    Box::pin(all_fields_come_back(&*store)).await;
    Box::pin(each_change_has_a_version_of_its_own(&*store)).await;
    Box::pin(whatever_is_changed_is_another_version(&*store)).await;
    Box::pin(only_what_is_as_it_was_read_is_changed(&*store)).await;
    Box::pin(what_is_remembered_of_answers_is_the_authenticator_s(&*store)).await;
    Box::pin(a_token_belongs_to_one(&*store)).await;
    Box::pin(pages_have_all_once(&*store)).await;
    Box::pin(edits_at_once_lose_nothing(&[Arc::clone(&store)])).await;
    Box::pin(what_is_given_up_halves_nothing(&*store)).await;
    Box::pin(an_unknown_name_costs_the_same_each_time(&*store)).await;
    Box::pin(a_login_is_what_the_account_says(&store)).await;
    Box::pin(a_code_is_good_once(&[Arc::clone(&store)])).await;
    Box::pin(a_recovery_code_is_good_once(&[Arc::clone(&store)])).await;
    Box::pin(roles_are_added_changed_and_removed(&*store)).await;
    Box::pin(a_role_is_what_all_who_have_it_may_do(&store)).await;
    Box::pin(a_role_never_gives_more_than_a_grant_may_have(&*store)).await;
    end(&*store).await;
}

/// Puts two stores over the same accounts, as two servers have them, to what these have to notice of each other: each change within some
/// seconds, and at once where both change the same. They must be empty, and are so again at the end. For stores that several processes share:
/// [`AccountFile`](countersign::accounts::AccountFile)s are none, as each remembers for itself which codes were used.
///
/// # Panics
/// As [`check`].
#[allow(clippy::panic, reason = "that is what tests do")]
pub async fn check_two<S: AccountStore + 'static>(one: Arc<S>, other: Arc<S>) {
    begin(&*one).await;
    let both = [one, other];
    Box::pin(changes_of_one_are_seen_by_the_other(&both)).await;
    Box::pin(what_is_done_at_two_servers_at_once_is_done_once(&both)).await;
    Box::pin(edits_at_once_lose_nothing(&both)).await;
    Box::pin(a_code_is_good_once(&both)).await;
    Box::pin(a_recovery_code_is_good_once(&both)).await;
    for store in &both {
        end(&**store).await;
    }
}

/// Puts a store that is away to what it has to say then: that it is, within ten seconds, and never that somebody is not there.
///
/// # Panics
/// As [`check`].
#[allow(clippy::panic, reason = "that is what tests do")]
pub async fn check_away<S: AccountStore + 'static>(store: Arc<S>) {
    let (old, mut new) = (account("alice"), account("alice"));
    new.lock();
    away("find", store.find("alice")).await;
    away("find_token", store.find_token(&[0; 32])).await;
    away("page", store.page(None, 1)).await;
    unwritten("add", store.add(&old)).await;
    away("update", store.update(&old, &new)).await;
    unwritten("remove", store.remove("alice")).await;
    away("roles", store.roles()).await;
    away("role_users", store.role_users("clerk")).await;
    away("edit", store.edit("alice", |account| Ok(account.lock()))).await;
    let verifier = AccountVerifier::new(Arc::clone(&store));
    let context = Context::uncounted();
    let returning = Returning::new("alice", CredentialKind::Password, UnixTime::from_secs(1), &context);
    for (what, said) in [
        ("a password", log_in(&verifier, "alice", PASSWORD).await),
        ("a token", by_token(&*store, "cst_nobody").await),
        ("a session", verifier.resume(&returning).await),
    ] {
        assert!(matches!(said, Err(Reason::NotNow(_))), "while the store is away {what} is told \"not now\": {said:?}");
    }
}

async fn away<T: Debug>(what: &str, asked: impl Future<Output = Result<T, StoreError>>) {
    let said = in_time(what, asked).await;
    assert!(matches!(said, Err(StoreError::Away { .. })), "{what}: a store that is away says so: {said:?}");
}

/// What no login does: a file may say by its own errors that it can't be written.
async fn unwritten(what: &str, asked: impl Future<Output = Result<(), StoreError>>) {
    let said = in_time(what, asked).await;
    let is_told = matches!(said, Err(StoreError::Away { .. } | StoreError::File(_)));
    assert!(is_told, "{what}: a store that is away says so: {said:?}");
}

async fn in_time<T>(what: &str, asked: impl Future<Output = T>) -> T {
    let said = tokio::time::timeout(Duration::from_secs(10), asked).await;
    assert!(said.is_ok(), "{what}: a store that is away says so within ten seconds");
    good(said)
}

async fn begin(store: &impl AccountStore) {
    let runs_several = Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread;
    assert!(runs_several, "a runtime of several threads is needed: #[tokio::test(flavor = \"multi_thread\")]");
    assert!(
        good(store.page(None, 1).await).is_empty() && good(store.roles().await).is_empty(),
        "the store must be empty"
    );
}

async fn end(store: &impl AccountStore) {
    assert!(good(store.roles().await).is_empty(), "roles are left");
    assert!(good(store.page(None, 1).await).is_empty(), "accounts are left");
}

/// What a test goes on with.
#[allow(clippy::panic, reason = "that is what tests do")]
#[track_caller]
fn good<T, E: Debug>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error:?}"))
}

#[allow(clippy::panic, reason = "that is what tests do")]
#[track_caller]
fn some<T>(option: Option<T>) -> T {
    option.unwrap_or_else(|| panic!("there is none"))
}

const PASSWORD: &[u8] = b"correct horse";

fn argon2(memory: u32) -> HashParameters {
    good(HashParameters::new(memory, 1, 1))
}

fn cheap() -> HashParameters {
    argon2(8)
}

fn account(name: &str) -> Account {
    let mut account = good(Account::new(name, ["read"]));
    good(account.set_password_with(PASSWORD, cheap()));
    account
}

#[allow(clippy::panic, reason = "that is what tests do")]
#[track_caller]
fn found(store: &impl AccountStore, name: &str) -> impl Future<Output = Account> {
    let at = core::panic::Location::caller();
    async move { good(store.find(name).await).unwrap_or_else(|| panic!("{at}: there is no account {name:?}")) }
}

/// Its fields, in whatever order they are kept.
fn texts(account: &Account) -> Vec<(&'static str, String)> {
    let mut fields: Vec<_> =
        account.fields().into_iter().map(|(field, value)| (field, value.as_str().to_owned())).collect();
    fields.sort_unstable();
    fields
}

/// After a change that was refused.
async fn is_as_it_was(store: &impl AccountStore, before: &Account) {
    let now = found(store, before.name()).await;
    assert!(now.is_same(before) && now.epoch() == before.epoch(), "of a change that is refused nothing is kept");
    assert_eq!(now.answers(), before.answers(), "of a change that is refused nothing is remembered");
}

async fn by_token(store: &impl AccountStore, token: &str) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    AccountVerifier::new(store).verify(&Attempt::new(Credential::Token(token.as_bytes()), &context)).await
}

async fn log_in<S: AccountStore>(verifier: &AccountVerifier<S>, user: &str, password: &[u8]) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    verifier.verify(&Attempt::new(Credential::Password { user, password }, &context)).await
}

fn now() -> u64 {
    UnixTime::from_system(SystemTime::now()).as_secs()
}

/// Other ones than an account begins with, and none that small numbers hold.
fn answers() -> Answers {
    Answers { last_step: 1 << 40, wrong: 70_000, closed_until: UnixTime::from_secs(1 << 33) }
}

/// Has so many tasks do the same at once, one store after the other, and gives what came of each.
async fn at_once<S, T, F>(stores: &[Arc<S>], tasks: usize, task: impl Fn(usize, Arc<S>) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let barrier = Arc::new(Barrier::new(tasks));
    let all = stores.iter().cycle().take(tasks).enumerate().map(|(number, store)| {
        let (barrier, task) = (Arc::clone(&barrier), task(number, Arc::clone(store)));
        tokio::spawn(async move {
            barrier.wait().await;
            task.await
        })
    });
    let mut done = Vec::new();
    for one in all.collect::<Vec<_>>() {
        done.push(good(one.await));
    }
    done
}

/// How often something is done at once: where it takes no time, hardly two tasks meet.
struct Rounds {
    begun: Instant,
    count: usize,
}

impl Rounds {
    fn new() -> Self {
        Self { begun: Instant::now(), count: 0 }
    }

    /// Whether there is one more: the first in any case.
    fn goes_on(&mut self) -> bool {
        let goes_on = self.count == 0 || self.count < 20 && self.begun.elapsed() < Duration::from_secs(2);
        self.count = self.count.saturating_add(1);
        goes_on
    }
}
