//! Two servers over the same accounts.

use super::logins::costs_of;
use super::{PASSWORD, Rounds, account, argon2, at_once, by_token, found, good, log_in};
use core::future::Future;
use countersign::accounts::{Account, AccountStore, AccountVerifier, Role, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Within some seconds: what was found before may count as long as that.
async fn seen<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let end = Instant::now().checked_add(Duration::from_secs(15));
    while !is_so().await {
        assert!(end.is_none_or(|end| Instant::now() < end), "within ten seconds the other one sees {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn changes_of_one_are_seen_by_the_other<S: AccountStore + 'static>([one, other]: &[Arc<S>; 2]) {
    let verifier = AccountVerifier::new(Arc::clone(other)).without_upgrade();
    let (verifier, other) = (&verifier, &**other);
    let in_by_password = || async { log_in(verifier, "alice", PASSWORD).await.is_ok() };
    // It is asked for before, so that what it has found may be in its way.
    assert!(!in_by_password().await, "nobody was added yet");
    good(one.add_role(&good(Role::new("clerk", ["orders:read"]))).await);
    let mut alice = account("alice");
    good(alice.add_role("clerk"));
    let token = good(alice.issue_token());
    good(one.add(&alice).await);
    let in_by_token = || async { by_token(other, token.as_str()).await.is_ok() };
    seen("an account that was added", in_by_password).await;
    seen("a token that was added", in_by_token).await;
    let may_write =
        || async { log_in(verifier, "alice", PASSWORD).await.is_ok_and(|grant| grant.permits("orders:write")) };
    good(one.edit_role("clerk", |role| role.add_permission("orders:write")).await);
    seen("a permission that a role was given", may_write).await;
    good(one.edit("alice", |account| Ok(account.revoke_tokens())).await);
    seen("that tokens were revoked", || async { !in_by_token().await }).await;
    good(one.edit("alice", |account| Ok(account.lock())).await);
    seen("that an account was locked", || async { !in_by_password().await }).await;
    good(one.edit("alice", |account| Ok(account.unlock())).await);
    seen("that an account was unlocked", in_by_password).await;
    good(one.remove("alice").await);
    seen("that an account was removed", || async { good(other.find("alice").await).is_none() }).await;
    good(one.remove_role("clerk").await);
    seen("that a role was removed", || async { good(other.roles().await).is_empty() }).await;
    // By what unknown names cost two servers are told apart, and known names from unknown ones. Where all cost the same there is nothing to choose.
    for memory in [16, 24] {
        let mut user = good(Account::new(&format!("user{memory}"), [""; 0]));
        good(user.set_password_with(PASSWORD, argon2(memory)));
        good(one.add(&user).await);
        good(one.remove(user.name()).await);
    }
    let names: Vec<String> = (0..256).map(|number| format!("nobody{number}")).collect();
    let names = &names;
    seen("what unknown names cost", || async { costs_of(&**one, names).await == costs_of(other, names).await }).await;
}

pub(super) async fn what_is_done_at_two_servers_at_once_is_done_once<S: AccountStore + 'static>(both: &[Arc<S>; 2]) {
    let [one, other] = both;
    let mut rounds = Rounds::new();
    while rounds.goes_on() {
        good(one.add(&account("alice")).await);
        let old = found(&**one, "alice").await;
        let changed = at_once(both, 4, |number, store| {
            let (old, mut new) = (old.clone(), old.clone());
            async move {
                new.add_permission(&format!("p{number}"))?;
                store.update(&old, &new).await
            }
        });
        let changed = changed.await;
        let is_told = |result: &Result<_, StoreError>| matches!(result, Ok(_) | Err(StoreError::Conflict));
        assert!(changed.iter().all(is_told), "a change that comes late is in conflict: {changed:?}");
        let made = changed.into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(made.len(), 1, "of changes of the same account that two servers make at once one is made");
        // Whoever was late finds what was made, to make theirs of it.
        for store in [one, other] {
            good(store.edit("alice", |account| account.add_permission("more")).await);
        }
        assert_eq!(found(&**one, "alice").await.own_grant().permissions().count(), 3, "none of the changes is lost");
        good(other.remove("alice").await);
    }
}
