//! A token is one account's, for as long as that has it.

use super::{account, by_token, found, good, is_as_it_was};
use countersign::accounts::{Account, AccountError, AccountStore, AccountVerifier, Role, StoreError};
use countersign::{AsyncVerifier, Context, CredentialKind, Reason, Returning, UnixTime};

pub(super) async fn a_token_belongs_to_one(store: &impl AccountStore) {
    good(store.add_role(&good(Role::new("clerk", ["orders:read"]))).await);
    let mut robot = account("robot");
    good(robot.add_role("clerk"));
    let tokens = [good(robot.issue_token()), good(robot.issue_token())];
    good(store.add(&robot).await);
    good(store.add(&account("other")).await);
    for token in &tokens {
        is_as_by_name(store, token.as_str(), "robot").await;
    }
    assert_eq!(good(store.edit("robot", |account| Ok(account.revoke_tokens())).await), 2);
    for token in [tokens.first().map_or("", |token| token.as_str()), "", "cst_nobody"] {
        let said = by_token(store, token).await.map(drop);
        assert_eq!(said, Err(Reason::UnknownToken), "a token that was revoked, or was none");
    }
    // Those that an account has when it is removed go with it, and do not come back with another of its name.
    let last = good(store.edit("robot", |account| account.issue_token()).await);
    is_as_by_name(store, last.as_str(), "robot").await;
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
    let is_refused = matches!(taken, Err(StoreError::Account(AccountError::DuplicateToken(_))));
    assert!(is_refused, "an account with a token of somebody else's: {taken:?}");
    assert!(good(store.find("two").await).is_none(), "all or nothing");
    // Or is changed to have them.
    good(store.add(&account("two")).await);
    let old = found(store, "two").await;
    let taken = store.update(&old, &twin).await.map(drop);
    let is_refused = matches!(taken, Err(StoreError::Account(AccountError::DuplicateToken(_))));
    assert!(is_refused, "an update with a token of somebody else's: {taken:?}");
    is_as_it_was(store, &old).await;
    is_as_by_name(store, token.as_str(), "one").await;
    for name in ["one", "two", "other"] {
        good(store.remove(name).await);
    }
    good(store.remove_role("clerk").await);
}

/// Whoever shows it is who has the account, with all that it has: a ticket of theirs is compared with what is found by the name.
async fn is_as_by_name(store: &impl AccountStore, token: &str, name: &str) {
    let shown = by_token(store, token).await;
    assert!(shown.is_ok(), "a token of {name}'s lets {name} in: {shown:?}");
    let grant = good(shown);
    assert_eq!(grant.principal(), name);
    let context = Context::uncounted();
    let returning = Returning::new(name, CredentialKind::Token, UnixTime::from_secs(1), &context);
    let found = good(AccountVerifier::new(store).resume(&returning).await);
    let is_same = grant.permissions().eq(found.permissions()) && grant.epoch() == found.epoch();
    assert!(is_same, "who is found by a token is as by their name, with roles and version");
}
