//! Tests that any store of accounts can be put to: what [`AccountStore`] promises, and what an [`AccountVerifier`] makes of it.
//!
//! ```
//! # async fn with<S: countersign::accounts::AccountStore + 'static>(my_store: S) {
//! // In a test, over an empty store, on a runtime of tokio's:
//! countersign_stores::conformance::check(std::sync::Arc::new(my_store)).await;
//! # }
//! ```

use core::fmt::Debug;
use countersign::accounts::{
    Account, AccountError, AccountStore, AccountVerifier, Answers, HashParameters, Role, StoreError, TotpSecret,
};
use countersign::{
    AsyncVerifier, Attempt, AuthorizedKey, Context, Credential, CredentialKind, FactorAttempt, Further, Grant, Reason,
    Returning, SigningKey, StretchParameters, Stretching, UnixTime, limits,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Puts a store to all tests, one after the other. It must be empty, and is so again at the end.
///
/// # Panics
/// Where the store does not do what it should.
#[allow(clippy::panic, reason = "that is what tests do")]
pub async fn check<S: AccountStore + 'static>(store: Arc<S>) {
    assert!(store.page(None, 1).await.is_ok_and(|page| page.is_empty()), "the store must be empty");
    // Each by itself: all in one would be more than a thread's stack holds, without optimisation.
    Box::pin(added_and_removed(&*store)).await;
    Box::pin(all_fields_come_back(&*store)).await;
    Box::pin(each_change_has_a_version_of_its_own(&*store)).await;
    Box::pin(whatever_is_changed_is_another_version(&*store)).await;
    Box::pin(only_what_is_as_it_was_read_is_changed(&*store)).await;
    Box::pin(a_token_belongs_to_one(&*store)).await;
    Box::pin(pages_have_all_once(&*store)).await;
    Box::pin(edits_at_once_lose_nothing(&store)).await;
    Box::pin(what_is_given_up_halves_nothing(&*store)).await;
    Box::pin(an_unknown_name_costs_the_same_each_time(&*store)).await;
    Box::pin(a_login_is_what_the_account_says(&store)).await;
    Box::pin(a_code_is_good_once(&store)).await;
    Box::pin(a_recovery_code_is_good_once(&store)).await;
    Box::pin(roles_are_added_changed_and_removed(&*store)).await;
    Box::pin(a_role_is_what_all_who_have_it_may_do(&store)).await;
    Box::pin(a_role_never_gives_more_than_a_grant_may_have(&*store)).await;
    assert!(good(store.roles().await).is_empty());
    assert!(good(store.page(None, 1).await).is_empty());
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

async fn found(store: &impl AccountStore, name: &str) -> Account {
    some(good(store.find(name).await))
}

async fn added_and_removed(store: &impl AccountStore) {
    for name in ["alice", "\u{e9}mile", "o'brien", "a,b+c\\%_\"$1", &"x".repeat(255)] {
        assert!(good(store.find(name).await).is_none());
        good(store.add(&account(name)).await);
        assert_eq!(found(store, name).await.name(), name);
        let again = store.add(&account(name)).await;
        assert!(matches!(again, Err(StoreError::Account(AccountError::Exists(taken))) if taken == name));
        good(store.remove(name).await);
        let again = store.remove(name).await;
        assert!(matches!(again, Err(StoreError::Account(AccountError::Unknown(gone))) if gone == name));
    }
    good(store.add(&account("alice")).await);
    for other in ["Alice", "alic", "alice ", "", "\0", "alice\0", "%"] {
        assert!(good(store.find(other).await).is_none(), "{other:?}");
    }
    good(store.remove("alice").await);
}

/// Its fields, in whatever order they are kept.
fn texts(account: &Account) -> Vec<(&'static str, String)> {
    let mut fields: Vec<_> =
        account.fields().into_iter().map(|(field, value)| (field, value.as_str().to_owned())).collect();
    fields.sort_unstable();
    fields
}

async fn all_fields_come_back(store: &impl AccountStore) {
    let mut alice = account("alice");
    good(alice.add_permission("write"));
    for seed in [1, 2] {
        let key = good(SigningKey::from_ed25519(&[seed; 32])).public_key().clone();
        let until = UnixTime::from_secs(1_900_000_000);
        let key = AuthorizedKey::bounded(key, "a laptop", Some("192.0.2.0/24,!192.0.2.7"), Some(until));
        good(alice.add_key(&good(key)));
        good(alice.issue_token());
    }
    alice.set_totp(&good(TotpSecret::generate()));
    good(alice.issue_recovery_codes());
    alice.set_expiry(Some(UnixTime::from_secs(1_800_000_000)));
    alice.lock();
    good(alice.set_from(Some("192.0.2.0/24,!192.0.2.7")));
    let mut stretched = good(Account::new("stretched", [""; 0]));
    let stretching = good(Stretching::new("db.example", &[StretchParameters::DEFAULT]));
    stretched.set_stretched(&good(stretching.stretch("stretched", PASSWORD)).newest());
    let answers = Answers { last_step: 60_000_000, wrong: 7, closed_until: UnixTime::from_secs(1_800_000_001) };
    for account in [account("bare"), good(Account::new("nothing", [""; 0])), alice, stretched] {
        good(store.add(&account).await);
        let read = found(store, account.name()).await;
        assert_eq!(texts(&read), texts(&account));
        assert_eq!(read.epoch(), found(store, account.name()).await.epoch(), "and again");
        let remembered = good(store.update(&read, &read.clone().with_answers(answers)).await);
        assert_eq!((remembered.answers(), remembered.epoch()), (answers, read.epoch()));
        assert_eq!(found(store, account.name()).await.answers(), answers);
        good(store.remove(account.name()).await);
    }
}

async fn each_change_has_a_version_of_its_own(store: &impl AccountStore) {
    let mut epochs = Vec::new();
    for _ in 0..2 {
        good(store.add(&account("alice")).await);
        epochs.push(found(store, "alice").await.epoch());
        for lock in [true, false] {
            let old = found(store, "alice").await;
            let mut new = old.clone();
            if lock {
                new.lock()
            } else {
                new.unlock()
            };
            let stored = good(store.update(&old, &new).await);
            assert_eq!(stored.epoch(), found(store, "alice").await.epoch(), "what an update gives is what is found");
            assert_ne!(stored.version(), old.version());
            epochs.push(stored.epoch());
        }
        let before = found(store, "alice").await.version();
        good(store.edit("alice", |account| Ok(account.unlock())).await);
        assert_eq!(found(store, "alice").await.version(), before, "no change");
        good(store.remove("alice").await);
    }
    let count = epochs.len();
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), count, "no epoch comes back");
}

type Change = fn(&mut Account) -> Result<(), AccountError>;

/// One of each kind: a store may keep each in a place of its own.
const CHANGES: [(&str, Change); 13] = [
    ("a permission", |account| account.add_permission("write").map(drop)),
    ("a token", |account| account.issue_token().map(drop)),
    ("another token", |account| account.issue_token().map(drop)),
    ("a role", |account| account.add_role("clerk").map(drop)),
    ("a key", |account| {
        let key = good(SigningKey::from_ed25519(&[1; 32])).public_key().clone();
        account.add_key(&good(AuthorizedKey::bounded(key, "a laptop", None, None))).map(drop)
    }),
    ("a password", |account| account.set_password_with(b"battery staple", cheap())),
    ("a second factor", |account| {
        account.set_totp(&good(TotpSecret::generate()));
        Ok(())
    }),
    ("recovery codes", |account| account.issue_recovery_codes().map(drop)),
    ("an end", |account| {
        account.set_expiry(Some(UnixTime::from_secs(1_800_000_000)));
        Ok(())
    }),
    ("addresses", |account| account.set_from(Some("192.0.2.0/24"))),
    ("no end", |account| {
        account.set_expiry(None);
        Ok(())
    }),
    ("no role", |account| {
        account.remove_role("clerk");
        Ok(())
    }),
    ("no token", |account| {
        account.revoke_tokens();
        Ok(())
    }),
];

async fn whatever_is_changed_is_another_version(store: &impl AccountStore) {
    good(store.add_role(&good(Role::new("clerk", ["orders:read"]))).await);
    good(store.add(&account("alice")).await);
    let mut versions = vec![found(store, "alice").await.version()];
    for (what, change) in CHANGES {
        let old = found(store, "alice").await;
        let (mut new, mut late) = (old.clone(), old.clone());
        good(change(&mut new));
        let stored = good(store.update(&old, &new).await);
        assert!(stored.granted().is_ok(), "{what}: an update gives the account with its roles");
        let now = found(store, "alice").await;
        assert!(texts(&stored) == texts(&new) && texts(&now) == texts(&new), "{what}: it is kept");
        assert_eq!(stored.epoch(), now.epoch(), "{what}: what an update gives is what is found");
        assert!(!versions.contains(&now.version()), "{what}: another version");
        versions.push(now.version());
        late.lock();
        let late = store.update(&old, &late).await;
        assert!(matches!(late, Err(StoreError::Conflict)), "{what}: a change that does not know of it");
    }
    good(store.remove("alice").await);
    good(store.remove_role("clerk").await);
}

async fn only_what_is_as_it_was_read_is_changed(store: &impl AccountStore) {
    good(store.add(&account("alice")).await);
    let old = found(store, "alice").await;
    let mut locked = old.clone();
    locked.lock();
    let current = good(store.update(&old, &locked).await);
    let mut late = old.clone();
    good(late.add_permission("write"));
    for stale in [late, old.clone().with_answers(Answers { wrong: 1, ..Answers::default() }), old.clone()] {
        assert!(matches!(store.update(&old, &stale).await, Err(StoreError::Conflict)));
    }
    let wrong = |wrong| current.clone().with_answers(Answers { wrong, ..current.answers() });
    let once = good(store.update(&current, &wrong(1)).await);
    assert!(matches!(store.update(&current, &wrong(2)).await, Err(StoreError::Conflict)), "answers are, too");
    let twice = good(store.update(&once, &wrong(2)).await);
    assert_eq!((twice.answers().wrong, twice.is_locked()), (2, true));
    good(store.remove("alice").await);
    assert!(matches!(store.update(&twice, &wrong(3)).await, Err(StoreError::Conflict)), "nothing comes alive");
    assert!(good(store.find("alice").await).is_none());
}

async fn by_token(store: &impl AccountStore, token: &str) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    AccountVerifier::new(store).verify(&Attempt::new(Credential::Token(token.as_bytes()), &context)).await
}

async fn a_token_belongs_to_one(store: &impl AccountStore) {
    let mut robot = account("robot");
    let tokens = [good(robot.issue_token()), good(robot.issue_token())];
    good(store.add(&robot).await);
    good(store.add(&account("other")).await);
    for token in &tokens {
        assert_eq!(good(by_token(store, token.as_str()).await).principal(), "robot");
    }
    assert_eq!(good(store.edit("robot", |account| Ok(account.revoke_tokens())).await), 2);
    for token in [tokens.first().map_or("", |token| token.as_str()), "", "cst_nobody"] {
        assert_eq!(by_token(store, token).await.map(drop), Err(Reason::UnknownToken));
    }
    // Those that an account has when it is removed go with it, and do not come back with another of its name.
    let last = good(store.edit("robot", |account| account.issue_token()).await);
    good(store.remove("robot").await);
    let of_nobody = by_token(store, last.as_str()).await.map(drop);
    assert_eq!(of_nobody, Err(Reason::UnknownToken), "a token of an account that was removed");
    good(store.add(&account("robot")).await);
    let of_another = by_token(store, last.as_str()).await.map(drop);
    assert_eq!(
        of_another,
        Err(Reason::UnknownToken),
        "a token of an account that was removed, and added anew without it"
    );
    good(store.remove("robot").await);
    // One that has the same tokens as an account that is there.
    let mut one = account("one");
    let token = good(one.issue_token());
    good(store.add(&one).await);
    let fields = one.fields();
    let fields = fields.iter().map(|(field, value)| (*field, value.as_str()));
    let twin = good(Account::from_fields("two", fields));
    let taken = store.add(&twin).await;
    assert!(matches!(taken, Err(StoreError::Account(AccountError::DuplicateToken(_)))), "{taken:?}");
    assert!(good(store.find("two").await).is_none(), "all or nothing");
    // Or is changed to have them.
    good(store.add(&account("two")).await);
    let old = found(store, "two").await;
    let taken = store.update(&old, &twin).await.map(drop);
    let is_refused = matches!(taken, Err(StoreError::Account(AccountError::DuplicateToken(_))));
    assert!(is_refused, "an update with a token of somebody else's: {taken:?}");
    is_as_it_was(store, &old).await;
    assert_eq!(good(by_token(store, token.as_str()).await).principal(), "one");
    for name in ["one", "two", "other"] {
        good(store.remove(name).await);
    }
}

/// After a change that was refused.
async fn is_as_it_was(store: &impl AccountStore, before: &Account) {
    let now = found(store, before.name()).await;
    assert!(
        now.is_same(before) && (now.epoch(), now.answers()) == (before.epoch(), before.answers()),
        "of a change that is refused nothing is kept"
    );
}

async fn pages_have_all_once(store: &impl AccountStore) {
    let mut names = vec!["B", "Z", "a", "a-b", "aa", "b", "z", "\u{c4}", "\u{e9}"];
    for name in &names {
        good(store.add(&account(name)).await);
    }
    names.sort_unstable();
    for most in [1, 2, names.len(), 100] {
        let (mut seen, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let page = good(store.page(after.as_deref(), most).await);
            assert!(page.len() <= most);
            seen.extend(page.iter().map(|account| account.name().to_owned()));
            after = seen.last().cloned();
            if page.len() < most {
                break;
            }
        }
        assert_eq!(seen, names, "by the names' bytes");
    }
    for name in names {
        good(store.remove(name).await);
    }
}

async fn edits_at_once_lose_nothing<S: AccountStore + 'static>(store: &Arc<S>) {
    good(store.add(&good(Account::new("alice", [""; 0]))).await);
    let edits: Vec<_> = (0..6)
        .map(|number| {
            let store = Arc::clone(store);
            let permission = format!("p{number}");
            tokio::spawn(async move { store.edit("alice", |account| account.add_permission(&permission)).await })
        })
        .collect();
    for edit in edits {
        assert!(good(good(edit.await)));
    }
    assert_eq!(found(&**store, "alice").await.own_grant().permissions().count(), 6);
    // Nor where what is changed stands in a table of its own.
    let edits: Vec<_> = (0..6)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.edit("alice", |account| account.issue_token().map(drop)).await })
        })
        .collect();
    for edit in edits {
        good(good(edit.await));
    }
    assert_eq!(found(&**store, "alice").await.tokens(), 6);
    // Of many who add the same one, one is first.
    let adds: Vec<_> = (0..6)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.add(&account("bob")).await.is_ok() })
        })
        .collect();
    let mut firsts = 0_usize;
    for add in adds {
        firsts = firsts.saturating_add(usize::from(good(add.await)));
    }
    assert_eq!(firsts, 1);
    for name in ["alice", "bob"] {
        good(store.remove(name).await);
    }
}

/// Whoever hangs up has the call dropped, wherever it is.
async fn what_is_given_up_halves_nothing(store: &impl AccountStore) {
    good(store.add(&account("alice")).await);
    for polls in 0..8_usize {
        let old = found(store, "alice").await;
        let mut new = old.clone();
        good(new.issue_token());
        {
            let mut update = Box::pin(store.update(&old, &new));
            for _ in 0..polls {
                let polled = core::future::poll_fn(|task| core::task::Poll::Ready(update.as_mut().poll(task))).await;
                if polled.is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // It was done or not: nothing in between, and the next one is.
        let now = found(store, "alice").await;
        assert!(now.tokens() == old.tokens() || now.tokens() == new.tokens());
        good(store.edit("alice", |account| Ok(account.revoke_tokens())).await);
    }
    good(store.remove("alice").await);
}

/// What each of these names costs, which nobody has.
async fn costs_of(store: &impl AccountStore, names: &[String]) -> Vec<String> {
    let imitation = store.imitation().await;
    names.iter().map(|name| imitation.cost_of(name)).collect()
}

/// By what an unknown name costs it is told from a known one, unless that is what some known one costs, and stays so, whoever comes and goes.
async fn an_unknown_name_costs_the_same_each_time(store: &impl AccountStore) {
    let (mut users, mut costs) = (Vec::new(), Vec::new());
    for memory in [16, 24, 32] {
        let mut user = good(Account::new(&format!("user{memory}"), [""; 0]));
        good(user.set_password_with(PASSWORD, argon2(memory)));
        good(store.add(&user).await);
        costs.push(some(user.password_cost()));
        users.push(user);
    }
    let names: Vec<String> = (0..256).map(|number| format!("nobody{number}")).collect();
    let mut first = Vec::new();
    // A store need not look at what there is for each login.
    for _ in 0..150 {
        let _ = found(store, "user16").await;
        first = costs_of(store, &names).await;
        if costs.iter().all(|cost| first.contains(cost)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(costs.iter().all(|cost| first.contains(cost)), "what each password costs is what some unknown name costs");
    for _ in 0..3 {
        assert!(costs_of(store, &names).await == first, "an unknown name costs the same each time");
    }
    for user in &users {
        good(store.remove(user.name()).await);
    }
    assert!(costs_of(store, &names).await == first, "an unknown name costs the same when others have gone");
    for user in users.iter().rev() {
        good(store.add(user).await);
        good(store.remove(user.name()).await);
    }
    assert!(costs_of(store, &names).await == first, "an unknown name costs the same when others have come and gone");
}

async fn log_in<S: AccountStore>(verifier: &AccountVerifier<S>, user: &str, password: &[u8]) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    verifier.verify(&Attempt::new(Credential::Password { user, password }, &context)).await
}

async fn a_login_is_what_the_account_says<S: AccountStore>(store: &Arc<S>) {
    let verifier = AccountVerifier::new(Arc::clone(store));
    good(store.add(&account("alice")).await);
    good(store.add(&good(Account::new("bare", [""; 0]))).await);
    let grant = good(log_in(&verifier, "alice", PASSWORD).await);
    assert_eq!((grant.permits("read"), grant.epoch()), (true, Some(found(&**store, "alice").await.epoch())));
    for (user, password, reason) in [
        ("alice", &b"wrong"[..], Reason::WrongPassword),
        ("alice", b"", Reason::WrongPassword),
        ("bare", PASSWORD, Reason::WrongPassword),
        ("Alice", PASSWORD, Reason::UnknownUser),
        ("", b"", Reason::UnknownUser),
        ("a\0", PASSWORD, Reason::UnknownUser),
    ] {
        assert_eq!(log_in(&verifier, user, password).await, Err(reason), "{user:?}");
    }
    let context = Context::uncounted();
    let returning = Returning::new("alice", CredentialKind::Password, UnixTime::from_secs(1), &context);
    let further = Further::new(&grant, CredentialKind::Password, 0, &context);
    assert_eq!(verifier.resume(&returning).await.map(|grant| grant.epoch()), Ok(grant.epoch()));
    assert_eq!(verifier.further(&further).await, Ok(None));
    good(store.edit("alice", |account| Ok(account.lock())).await);
    let locked = || Err(Reason::AccountLocked);
    assert_eq!(log_in(&verifier, "alice", PASSWORD).await, locked());
    assert_eq!(verifier.resume(&returning).await, locked());
    assert_eq!(verifier.further(&further).await, Err(Reason::AccountLocked), "locked during the login");
    good(store.remove("alice").await);
    assert_eq!(log_in(&verifier, "alice", PASSWORD).await, Err(Reason::UnknownUser));
    assert_eq!(verifier.resume(&returning).await, Err(Reason::UnknownUser));
    assert_eq!(verifier.further(&further).await, Err(Reason::UnknownUser), "removed during the login");
    good(store.remove("bare").await);
}

/// The same answer from several logins at once, each at a server of its own: how many were let in.
async fn answered_at_once<S: AccountStore + 'static>(store: &Arc<S>, grant: &Grant, answer: &str) -> usize {
    let answers: Vec<_> = (0..4)
        .map(|_| {
            let (verifier, grant) = (AccountVerifier::new(Arc::clone(store)), grant.clone());
            let answer = answer.to_owned();
            tokio::spawn(async move {
                let context = Context::uncounted();
                let attempt = FactorAttempt::new(answer.as_bytes(), &grant, CredentialKind::Password, 0, &context);
                verifier.check_factor(&attempt).await.is_ok()
            })
        })
        .collect();
    let mut good_ones = 0_usize;
    for answer in answers {
        good_ones = good_ones.saturating_add(usize::from(good(answer.await)));
    }
    good_ones
}

fn now() -> u64 {
    UnixTime::from_system(SystemTime::now()).as_secs()
}

async fn a_code_is_good_once<S: AccountStore + 'static>(store: &Arc<S>) {
    let secret = good(TotpSecret::generate());
    let mut dave = account("dave");
    dave.set_totp(&secret);
    good(store.add(&dave).await);
    let verifier = AccountVerifier::new(Arc::clone(store));
    let grant = good(log_in(&verifier, "dave", PASSWORD).await);
    let context = Context::uncounted();
    let further = Further::new(&grant, CredentialKind::Password, 0, &context);
    assert!(good(verifier.further(&further).await).is_some());
    assert_eq!(answered_at_once(store, &grant, "000000").await, 0);
    // The next one: of a store that remembers for as long as its process lives, no earlier one is taken.
    let code = secret.code(UnixTime::from_secs(now().saturating_add(30)));
    assert_eq!(answered_at_once(store, &grant, &code).await, 1);
    assert_eq!(answered_at_once(store, &grant, &code).await, 0);
    assert_eq!(good(log_in(&verifier, "dave", PASSWORD).await).epoch(), grant.epoch(), "a code is no change");
    // Until nobody's answer is looked at.
    while answered_at_once(store, &grant, "000000").await == 0 {
        let answers = found(&**store, "dave").await.answers();
        if answers.closed_until.as_secs() > now() {
            break;
        }
    }
    let attempt = FactorAttempt::new(code.as_bytes(), &grant, CredentialKind::Password, 0, &context);
    assert_eq!(verifier.check_factor(&attempt).await, Err(Reason::FactorLocked));
    good(store.remove("dave").await);
}

async fn a_recovery_code_is_good_once<S: AccountStore + 'static>(store: &Arc<S>) {
    let mut carol = account("carol");
    carol.set_totp(&good(TotpSecret::generate()));
    let codes = good(carol.issue_recovery_codes());
    good(store.add(&carol).await);
    let verifier = AccountVerifier::new(Arc::clone(store));
    for (number, code) in codes.iter().take(2).enumerate() {
        let grant = good(log_in(&verifier, "carol", PASSWORD).await);
        assert_eq!(answered_at_once(store, &grant, code).await, 1);
        let left = codes.len().saturating_sub(number).saturating_sub(1);
        assert_eq!(found(&**store, "carol").await.recovery_codes(), left);
        let grant = good(log_in(&verifier, "carol", PASSWORD).await);
        assert_eq!(answered_at_once(store, &grant, code).await, 0);
    }
    good(store.remove("carol").await);
}

async fn roles_are_added_changed_and_removed(store: &impl AccountStore) {
    let clerk = good(Role::new("clerk", ["orders:read", "orders:write"]));
    let none = good(Role::new("a-none", [""; 0]));
    for role in [&clerk, &none] {
        good(store.add_role(role).await);
        let again = store.add_role(role).await;
        assert!(matches!(again, Err(StoreError::Account(AccountError::RoleExists(name))) if name == role.name()));
    }
    let roles = good(store.roles().await);
    assert_eq!(roles.iter().map(Role::name).collect::<Vec<_>>(), ["a-none", "clerk"], "by their names");
    let old = some(roles.into_iter().find(|role| role.name() == "clerk"));
    assert!(old.is_same(&clerk));
    assert!(matches!(store.update_role(&old, &none).await, Err(StoreError::Conflict)), "of another name");
    assert!(good(store.edit_role("clerk", |role| role.add_permission("orders:cancel")).await));
    assert!(!good(store.edit_role("clerk", |role| role.add_permission("orders:cancel")).await), "once");
    assert!(matches!(store.update_role(&old, &clerk).await, Err(StoreError::Conflict)), "it has changed");
    let unknown = store.edit_role("nobody", |role| role.add_permission("x")).await;
    assert!(matches!(unknown, Err(StoreError::Account(AccountError::UnknownRole(name))) if name == "nobody"));
    for role in ["clerk", "a-none"] {
        good(store.remove_role(role).await);
        let again = store.remove_role(role).await;
        assert!(matches!(again, Err(StoreError::Account(AccountError::UnknownRole(name))) if name == role));
    }
}

async fn a_role_is_what_all_who_have_it_may_do<S: AccountStore>(store: &Arc<S>) {
    let verifier = AccountVerifier::new(Arc::clone(store));
    let mut erin = account("erin");
    for role in ["clerk", "auditor"] {
        good(erin.add_role(role));
    }
    let unknown = store.add(&erin).await;
    assert!(matches!(unknown, Err(StoreError::Account(AccountError::UnknownRole(_)))), "{unknown:?}");
    assert!(good(store.find("erin").await).is_none());
    good(store.add_role(&good(Role::new("clerk", ["orders:read"]))).await);
    good(store.add_role(&good(Role::new("auditor", ["orders:read", "reports"]))).await);
    good(store.add(&erin).await);
    good(store.add(&account("other")).await);
    assert_eq!((good(store.role_users("clerk").await), good(store.role_users("nobody").await)), (1, 0));
    let grant = good(log_in(&verifier, "erin", PASSWORD).await);
    for permission in ["read", "orders:read", "reports"] {
        assert!(grant.permits(permission), "{permission}");
    }
    assert_eq!(grant.epoch(), good(log_in(&verifier, "erin", PASSWORD).await).epoch());
    let other = good(log_in(&verifier, "other", PASSWORD).await).epoch();
    assert!(good(store.edit_role("clerk", |role| role.add_permission("orders:write")).await));
    let more = good(log_in(&verifier, "erin", PASSWORD).await);
    assert!(
        more.permits("orders:write") && more.epoch() != grant.epoch(),
        "a change of the role is one of the account"
    );
    assert_eq!(good(log_in(&verifier, "other", PASSWORD).await).epoch(), other, "and of no other");
    // There and back is no way to an epoch of before: the tickets of then would come alive.
    let mut epochs = vec![grant.epoch(), more.epoch()];
    for is_back in [false, true] {
        let change = |role: &mut Role| {
            if is_back { role.add_permission("orders:write") } else { role.remove_permission("orders:write") }
        };
        assert!(good(store.edit_role("clerk", change).await));
        let now = good(log_in(&verifier, "erin", PASSWORD).await);
        assert_eq!(now.permits("orders:write"), is_back);
        assert!(!epochs.contains(&now.epoch()), "no epoch comes back with what a role was");
        epochs.push(now.epoch());
    }
    let in_use = store.remove_role("clerk").await;
    let is_erin = |error: &StoreError| matches!(error, StoreError::Account(AccountError::RoleInUse { role, user }) if role == "clerk" && user == "erin");
    assert!(in_use.as_ref().is_err_and(is_erin), "{in_use:?}");
    assert!(good(store.edit("erin", |account| Ok(account.remove_role("clerk"))).await));
    let less = good(log_in(&verifier, "erin", PASSWORD).await);
    assert!(!less.permits("orders:write") && less.permits("orders:read"));
    let before = found(&**store, "erin").await;
    let change = |account: &mut Account| {
        account.lock();
        account.issue_token()?;
        account.add_role("nobody")
    };
    let unknown = store.edit("erin", change).await;
    assert!(matches!(unknown, Err(StoreError::Account(AccountError::UnknownRole(_)))), "{unknown:?}");
    is_as_it_was(&**store, &before).await;
    good(store.remove_role("clerk").await);
    good(store.remove("erin").await);
    good(store.remove("other").await);
    good(store.remove_role("auditor").await);
}

async fn a_role_never_gives_more_than_a_grant_may_have(store: &impl AccountStore) {
    let words = |front: &str, count: usize| (0..count).map(|number| format!("{front}{number}")).collect::<Vec<_>>();
    good(store.add_role(&good(Role::new("wide", words("w", 20)))).await);
    let mut full = good(Account::new("full", words("own", limits::MAX_PERMISSIONS.saturating_sub(20))));
    good(full.add_role("wide"));
    good(store.add(&full).await);
    let mut fuller = good(Account::new("fuller", words("own", 20)));
    good(fuller.add_role("wide"));
    let before = found(store, "full").await;
    let change = |account: &mut Account| {
        account.lock();
        account.issue_token()?;
        account.add_permission("more")
    };
    for refused in [
        store.add(&fuller).await,
        store.edit("full", change).await.map(drop),
        store.edit_role("wide", |role| role.add_permission("more")).await.map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::Account(AccountError::Permissions(_)))), "{refused:?}");
        is_as_it_was(store, &before).await;
    }
    assert!(good(store.find("fuller").await).is_none());
    // What it has already is no more.
    assert!(good(store.edit_role("wide", |role| role.add_permission("own1")).await));
    assert_eq!(good(found(store, "full").await.granted()).permissions().count(), limits::MAX_PERMISSIONS);
    good(store.remove("full").await);
    good(store.remove_role("wide").await);
    // Few words, and long ones: with one more all together are too many bytes.
    let long = |front: &str| (0..8).map(|number| format!("{front}{number:057}")).collect::<Vec<_>>();
    good(store.add_role(&good(Role::new("long", long("any")))).await);
    let mut lengthy = good(Account::new("lengthy", long("own")));
    good(lengthy.add_role("long"));
    good(store.add(&lengthy).await);
    let before = found(store, "lengthy").await;
    let one_more = format!("one{:057}", 0);
    for refused in [
        store.edit("lengthy", |account| account.add_permission(&one_more)).await.map(drop),
        store.edit_role("long", |role| role.add_permission(&one_more)).await.map(drop),
    ] {
        assert!(
            matches!(refused, Err(StoreError::Account(AccountError::Permissions(_)))),
            "too many bytes: {refused:?}"
        );
        is_as_it_was(store, &before).await;
    }
    good(store.remove("lengthy").await);
    good(store.remove_role("long").await);
}
