//! Roles, and what they are to the accounts that have them.

use super::{PASSWORD, account, found, good, is_as_it_was, log_in, some};
use countersign::accounts::{Account, AccountError, AccountStore, AccountVerifier, Role, StoreError};
use countersign::limits;
use std::sync::Arc;

pub(super) async fn roles_are_added_changed_and_removed(store: &impl AccountStore) {
    // By their letters, and with their words in the order in which they were given.
    let clerk = good(Role::new("clerk", ["orders:write", "orders:read", "ORDERS:READ"]));
    let capital = good(Role::new("Clerk", ["read"]));
    let none = good(Role::new("a-none", [""; 0]));
    for role in [&clerk, &capital, &none] {
        good(store.add_role(role).await);
        let again = store.add_role(role).await;
        let is_told = matches!(&again, Err(StoreError::Account(AccountError::RoleExists(name))) if name == role.name());
        assert!(is_told, "a role is added once: {again:?}");
    }
    let roles = good(store.roles().await);
    assert_eq!(roles.iter().map(Role::name).collect::<Vec<_>>(), ["Clerk", "a-none", "clerk"], "by their names' bytes");
    for (role, added) in roles.iter().zip([&capital, &none, &clerk]) {
        assert!(role.permissions().eq(added.permissions()), "{} is found as it was added", role.name());
    }
    let old = some(roles.into_iter().find(|role| role.name() == "clerk"));
    let another = store.update_role(&old, &none).await;
    assert!(matches!(another, Err(StoreError::Conflict)), "a change into a role of another name: {another:?}");
    assert!(good(store.edit_role("clerk", |role| role.add_permission("orders:cancel")).await), "a new permission");
    assert!(!good(store.edit_role("clerk", |role| role.add_permission("orders:cancel")).await), "once");
    let late = store.update_role(&old, &clerk).await;
    assert!(
        matches!(late, Err(StoreError::Conflict)),
        "a change of a role that does not know of the last one: {late:?}"
    );
    for name in ["nobody", "CLERK"] {
        let unknown = store.edit_role(name, |role| role.add_permission("x")).await;
        let is_told = matches!(&unknown, Err(StoreError::Account(AccountError::UnknownRole(gone))) if gone == name);
        assert!(is_told, "{name} is no role: {unknown:?}");
    }
    let current = some(good(store.roles().await).into_iter().find(|role| role.name() == "clerk"));
    for role in ["clerk", "a-none", "Clerk"] {
        good(store.remove_role(role).await);
        let again = store.remove_role(role).await;
        let is_told = matches!(&again, Err(StoreError::Account(AccountError::UnknownRole(name))) if name == role);
        assert!(is_told, "a role is removed once: {again:?}");
    }
    let late = store.update_role(&current, &clerk).await;
    assert!(matches!(late, Err(StoreError::Conflict)), "a change of a role that was removed: {late:?}");
    assert!(good(store.roles().await).is_empty(), "a role that was removed does not come alive");
}

pub(super) async fn a_role_is_what_all_who_have_it_may_do<S: AccountStore>(store: &Arc<S>) {
    let verifier = AccountVerifier::new(Arc::clone(store));
    let mut erin = account("erin");
    for role in ["clerk", "auditor"] {
        good(erin.add_role(role));
    }
    let unknown = store.add(&erin).await;
    assert!(matches!(unknown, Err(StoreError::Account(AccountError::UnknownRole(_)))), "{unknown:?}");
    assert!(good(store.find("erin").await).is_none(), "of an account that is refused nothing is kept");
    good(store.add_role(&good(Role::new("clerk", ["orders:read"]))).await);
    good(store.add_role(&good(Role::new("auditor", ["orders:read", "reports"]))).await);
    good(store.add(&erin).await);
    good(store.add(&account("other")).await);
    for (role, users) in [("clerk", 1), ("auditor", 1), ("nobody", 0), ("CLERK", 0), ("", 0)] {
        assert_eq!(good(store.role_users(role).await), users, "{role:?} has so many users");
    }
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

pub(super) async fn a_role_never_gives_more_than_a_grant_may_have(store: &impl AccountStore) {
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
