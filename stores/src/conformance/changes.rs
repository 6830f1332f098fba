//! What changes an account, and what is remembered of it: each under a version of its own, and only where nobody else was first.

use super::{Rounds, account, answers, at_once, cheap, found, good, is_as_it_was, some, texts};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use countersign::accounts::{Account, AccountError, AccountStore, Answers, Role, StoreError, TotpSecret};
use countersign::{AuthorizedKey, SigningKey, UnixTime};
use std::sync::Arc;

pub(super) async fn each_change_has_a_version_of_its_own(store: &impl AccountStore) {
    // It comes back just as it was: by what a store says of it alone is it told from the one of before.
    let alice = account("alice");
    let (mut epochs, mut first) = (Vec::new(), None);
    for _ in 0..2 {
        good(store.add(&alice).await);
        let added = found(store, "alice").await;
        epochs.push(added.epoch());
        let before = first.get_or_insert_with(|| added.clone());
        if epochs.len() > 1 {
            let mut late = before.clone();
            late.lock();
            let late = store.update(before, &late).await.map(drop);
            let is_refused = matches!(late, Err(StoreError::Conflict));
            assert!(is_refused, "an account that was removed and added again is another one: {late:?}");
        }
        let changes: [Change; 4] = [
            |account| account.add_permission("write").map(drop),
            |account| account.remove_permission("write").map(drop),
            |account| {
                account.lock();
                Ok(())
            },
            |account| {
                account.unlock();
                Ok(())
            },
        ];
        for change in changes {
            let old = found(store, "alice").await;
            let mut new = old.clone();
            good(change(&mut new));
            let stored = good(store.update(&old, &new).await);
            assert_eq!(stored.epoch(), found(store, "alice").await.epoch(), "what an update gives is what is found");
            assert_ne!(stored.version(), old.version(), "each change has a version of its own");
            epochs.push(stored.epoch());
        }
        let before = found(store, "alice").await.version();
        good(store.edit("alice", |account| Ok(account.unlock())).await);
        assert_eq!(found(store, "alice").await.version(), before, "no change has no version of its own");
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

pub(super) async fn whatever_is_changed_is_another_version(store: &impl AccountStore) {
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

pub(super) async fn only_what_is_as_it_was_read_is_changed(store: &impl AccountStore) {
    good(store.add(&account("alice")).await);
    let old = found(store, "alice").await;
    let mut locked = old.clone();
    locked.lock();
    let current = good(store.update(&old, &locked).await);
    let mut late = old.clone();
    good(late.add_permission("write"));
    for stale in [late, old.clone().with_answers(Answers { wrong: 1, ..Answers::default() }), old.clone()] {
        let stale = store.update(&old, &stale).await;
        assert!(matches!(stale, Err(StoreError::Conflict)), "a change that does not know of the last one: {stale:?}");
    }
    let another = store.update(&current, &account("bob")).await;
    assert!(matches!(another, Err(StoreError::Conflict)), "a change into an account of another name: {another:?}");
    assert!(good(store.find("bob").await).is_none(), "a change into an account of another name");
    is_as_it_was(store, &current).await;
    let wrong = |wrong| current.clone().with_answers(Answers { wrong, ..current.answers() });
    let once = good(store.update(&current, &wrong(1)).await);
    let late = store.update(&current, &wrong(2)).await;
    assert!(matches!(late, Err(StoreError::Conflict)), "an answer that does not know of the last one: {late:?}");
    let twice = good(store.update(&once, &wrong(2)).await);
    assert_eq!((twice.answers().wrong, twice.is_locked()), (2, true), "answers alone change nothing else");
    // Under the same version: what was answered since would be forgotten, and a code be good again.
    let mut late = once.clone();
    good(late.add_permission("write"));
    let late = store.update(&once, &late).await;
    assert!(matches!(late, Err(StoreError::Conflict)), "a change that does not know of the last answer: {late:?}");
    is_as_it_was(store, &twice).await;
    let mut both = twice.clone().with_answers(answers());
    good(both.add_permission("write"));
    let both = good(store.update(&twice, &both).await);
    let is_kept = both.answers() == answers() && found(store, "alice").await.answers() == answers();
    assert!(is_kept, "what is changed with a change of the fields is remembered");
    let mut fields = both.clone();
    good(fields.add_permission("more"));
    let fields = good(store.update(&both, &fields).await);
    let is_kept = fields.answers() == answers() && found(store, "alice").await.answers() == answers();
    assert!(is_kept, "a change of the fields leaves what is remembered as it is");
    good(store.remove("alice").await);
    let late = store.update(&fields, &fields.clone().with_answers(Answers::default())).await;
    assert!(matches!(late, Err(StoreError::Conflict)), "nothing comes alive: {late:?}");
    assert!(good(store.find("alice").await).is_none(), "nothing comes alive");
}

pub(super) async fn what_is_remembered_of_answers_is_the_authenticator_s(store: &impl AccountStore) {
    let enrolled = |account: &mut Account| -> Result<(), AccountError> {
        account.set_totp(&TotpSecret::generate()?);
        Ok(())
    };
    let mut eve = account("eve");
    good(enrolled(&mut eve));
    good(store.add(&eve.clone().with_answers(answers())).await);
    assert_eq!(found(store, "eve").await.answers(), answers(), "an account is added with what is remembered of it");
    let is_open = |account: &Account| (account.answers().wrong, account.answers().closed_until.as_secs()) == (0, 0);
    good(store.edit("eve", enrolled).await);
    assert!(is_open(&found(store, "eve").await), "a new authenticator is not held to answers for the old one");
    let old = found(store, "eve").await;
    good(store.update(&old, &old.clone().with_answers(answers())).await);
    good(store.remove("eve").await);
    good(enrolled(&mut eve));
    good(store.add(&eve).await);
    assert!(is_open(&found(store, "eve").await), "who is new is not held to answers of another of the name");
    // Of a change that is refused nothing is remembered.
    let old = found(store, "eve").await;
    let closed = good(store.update(&old, &old.clone().with_answers(answers())).await);
    let mut refused = closed.clone().with_answers(Answers::default());
    good(refused.add_role("nobody"));
    let refused = store.update(&closed, &refused).await.map(drop);
    let is_refused = matches!(refused, Err(StoreError::Account(AccountError::UnknownRole(_))));
    assert!(is_refused, "a role that there is not: {refused:?}");
    is_as_it_was(store, &closed).await;
    good(store.remove("eve").await);
}

/// Tasks that write at once: a store may turn away more of them.
const WRITERS: usize = 6;

pub(super) async fn edits_at_once_lose_nothing<S: AccountStore + 'static>(stores: &[Arc<S>]) {
    let Some(store) = stores.first() else { return };
    let mut rounds = Rounds::new();
    while rounds.goes_on() {
        good(store.add(&good(Account::new("alice", [""; 0]))).await);
        let granted = at_once(stores, WRITERS, |number, store| async move {
            store.edit("alice", |account| account.add_permission(&format!("p{number}"))).await
        });
        assert!(granted.await.into_iter().all(good), "each edit is made");
        let count = found(&**store, "alice").await.own_grant().permissions().count();
        assert_eq!(count, WRITERS, "of {WRITERS} permissions that are given at once none is lost");
        // Nor where what is changed stands in a table of its own.
        let issued = at_once(stores, WRITERS, |_, store| async move {
            store.edit("alice", |account| account.issue_token().map(drop)).await
        });
        issued.await.into_iter().for_each(good);
        let count = found(&**store, "alice").await.tokens();
        assert_eq!(count, WRITERS, "of {WRITERS} tokens that are issued at once none is lost");
        let bob = account("bob");
        let added = at_once(stores, WRITERS, |_, store| {
            let bob = bob.clone();
            async move { store.add(&bob).await.is_ok() }
        });
        let firsts = added.await.into_iter().filter(|added| *added).count();
        assert_eq!(firsts, 1, "of many who add the same account at once one is first");
        for name in ["alice", "bob"] {
            good(store.remove(name).await);
        }
    }
}

/// Polls something so often, and drops it.
async fn given_up(work: impl Future, polls: usize) {
    let mut work = pin!(work);
    for _ in 0..polls {
        if poll_fn(|task| Poll::Ready(work.as_mut().poll(task))).await.is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Whoever hangs up has the call dropped, wherever it is: it was done or not, and the next one is.
pub(super) async fn what_is_given_up_halves_nothing(store: &impl AccountStore) {
    good(store.add(&account("alice")).await);
    for polls in 0..8_usize {
        let old = found(store, "alice").await;
        let mut new = old.clone();
        good(new.issue_token());
        given_up(store.update(&old, &new), polls).await;
        let now = found(store, "alice").await;
        assert!(now.tokens() == old.tokens() || now.tokens() == new.tokens(), "an update that is given up is whole");
        good(store.edit("alice", |account| Ok(account.revoke_tokens())).await);
    }
    good(store.remove("alice").await);
    // These may be done at any time from now on: what was added so is removed when all others were.
    let names = |polls: usize| (format!("given-up-{polls}"), format!("role-{polls}"));
    let is_there =
        |again: &Result<(), StoreError>, code| again.as_ref().map_or_else(|error| error.code() == code, |()| true);
    let permits = async |name: &str, any: &[&[&str]]| {
        let found = good(store.roles().await).into_iter().find(|role| role.name() == name);
        found.is_none_or(|role| any.iter().any(|words| role.permissions().eq(words.iter().copied())))
    };
    let mut users = Vec::new();
    for polls in 0..4 {
        let (name, role) = names(polls);
        let new = good(Role::new(&role, ["read"]));
        given_up(store.add_role(&new), polls).await;
        assert!(permits(&role, &[&["read"]]).await, "a role that is added and given up is whole");
        let again = store.add_role(&new).await;
        assert!(is_there(&again, "role-exists"), "a role is added again: {again:?}");
        let mut user = account(&name);
        good(user.add_role(&role));
        good(user.issue_token());
        given_up(store.add(&user), polls).await;
        let is_whole = good(store.find(&name).await).is_none_or(|found| texts(&found) == texts(&user));
        assert!(is_whole, "an account that is added and given up is whole");
        let again = store.add(&user).await;
        assert!(is_there(&again, "account-exists"), "an account is added again: {again:?}");
        assert_eq!(texts(&found(store, &name).await), texts(&user), "an account is added after one that was given up");
        users.push(user);
    }
    for (polls, user) in users.iter().enumerate() {
        let (name, role) = names(polls);
        let old = some(good(store.roles().await).into_iter().find(|found| found.name() == role));
        given_up(store.update_role(&old, &good(Role::new(&role, ["read", "write"]))), polls).await;
        let is_whole = permits(&role, &[&["read"], &["read", "write"]]).await;
        assert!(is_whole, "a change of a role that is given up is whole");
        given_up(store.remove(&name), polls).await;
        let is_whole = good(store.find(&name).await).is_none_or(|found| texts(&found) == texts(user));
        assert!(is_whole, "an account that is removed and given up is whole");
        let again = store.remove(&name).await;
        assert!(is_there(&again, "unknown-account"), "an account is removed again: {again:?}");
        given_up(store.remove_role(&role), polls).await;
        let again = store.remove_role(&role).await;
        assert!(is_there(&again, "unknown-role"), "a role is removed again: {again:?}");
    }
}
