//! What an [`AccountVerifier`] over a store lets whom in by, and what that costs.

use super::{Rounds, account, argon2, at_once, found, good, log_in, now, some};
use countersign::accounts::{Account, AccountStore, AccountVerifier, TotpSecret};
use countersign::{AsyncVerifier, Context, CredentialKind, FactorAttempt, Further, Grant, Reason, Returning, UnixTime};
use std::sync::Arc;
use std::time::Duration;

/// What each of these names costs, which nobody has.
pub(super) async fn costs_of(store: &impl AccountStore, names: &[String]) -> Vec<String> {
    let imitation = store.imitation().await;
    names.iter().map(|name| imitation.cost_of(name)).collect()
}

/// By what an unknown name costs it is told from a known one, unless that is what some known one costs, and stays so, whoever comes and goes.
pub(super) async fn an_unknown_name_costs_the_same_each_time(store: &impl AccountStore) {
    let (mut users, mut costs) = (Vec::new(), Vec::new());
    for memory in [16, 24, 32] {
        let mut user = good(Account::new(&format!("user{memory}"), [""; 0]));
        good(user.set_password_with(super::PASSWORD, argon2(memory)));
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

pub(super) async fn a_login_is_what_the_account_says<S: AccountStore>(store: &Arc<S>) {
    let verifier = AccountVerifier::new(Arc::clone(store));
    good(store.add(&account("alice")).await);
    good(store.add(&good(Account::new("bare", [""; 0]))).await);
    let grant = good(log_in(&verifier, "alice", super::PASSWORD).await);
    assert_eq!((grant.permits("read"), grant.epoch()), (true, Some(found(&**store, "alice").await.epoch())));
    for (user, password, reason) in [
        ("alice", &b"wrong"[..], Reason::WrongPassword),
        ("alice", b"", Reason::WrongPassword),
        ("bare", super::PASSWORD, Reason::WrongPassword),
        ("Alice", super::PASSWORD, Reason::UnknownUser),
        ("", b"", Reason::UnknownUser),
        ("a\0", super::PASSWORD, Reason::UnknownUser),
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
    assert_eq!(log_in(&verifier, "alice", super::PASSWORD).await, locked());
    assert_eq!(verifier.resume(&returning).await, locked());
    assert_eq!(verifier.further(&further).await, Err(Reason::AccountLocked), "locked during the login");
    good(store.remove("alice").await);
    assert_eq!(log_in(&verifier, "alice", super::PASSWORD).await, Err(Reason::UnknownUser));
    assert_eq!(verifier.resume(&returning).await, Err(Reason::UnknownUser));
    assert_eq!(verifier.further(&further).await, Err(Reason::UnknownUser), "removed during the login");
    good(store.remove("bare").await);
}

/// The same answer from several logins at once, one store after the other: how many were let in.
async fn answered_at_once<S: AccountStore + 'static>(
    stores: &[Arc<S>],
    logins: usize,
    grant: &Grant,
    answer: &str,
) -> usize {
    let answered = at_once(stores, logins, |_, store| {
        let (verifier, grant, answer) = (AccountVerifier::new(store), grant.clone(), answer.to_owned());
        async move {
            let context = Context::uncounted();
            let attempt = FactorAttempt::new(answer.as_bytes(), &grant, CredentialKind::Password, 0, &context);
            verifier.check_factor(&attempt).await.is_ok()
        }
    });
    answered.await.into_iter().filter(|is_let_in| *is_let_in).count()
}

/// Logins at once that show one code.
const LOGINS: usize = 8;

pub(super) async fn a_code_is_good_once<S: AccountStore + 'static>(stores: &[Arc<S>]) {
    let Some(store) = stores.first() else { return };
    let mut rounds = Rounds::new();
    while rounds.goes_on() {
        let secret = good(TotpSecret::generate());
        let mut dave = account("dave");
        dave.set_totp(&secret);
        good(store.add(&dave).await);
        let verifier = AccountVerifier::new(Arc::clone(store)).without_upgrade();
        let grant = good(log_in(&verifier, "dave", super::PASSWORD).await);
        let context = Context::uncounted();
        let further = Further::new(&grant, CredentialKind::Password, 0, &context);
        assert!(good(verifier.further(&further).await).is_some(), "a second factor is asked for");
        // The next one: of a store that remembers for as long as its process lives, no earlier one is taken.
        let code = secret.code(UnixTime::from_secs(now().saturating_add(30)));
        let let_in = answered_at_once(stores, LOGINS, &grant, &code).await;
        assert_eq!(let_in, 1, "one code that is shown {LOGINS} times at once lets one in");
        assert_eq!(answered_at_once(stores, 1, &grant, &code).await, 0, "a code that was used lets nobody in");
        assert_eq!(
            good(log_in(&verifier, "dave", super::PASSWORD).await).epoch(),
            grant.epoch(),
            "a code is no change"
        );
        good(store.remove("dave").await);
    }
    let secret = good(TotpSecret::generate());
    let mut dave = account("dave");
    dave.set_totp(&secret);
    good(store.add(&dave).await);
    let verifier = AccountVerifier::new(Arc::clone(store)).without_upgrade();
    let grant = good(log_in(&verifier, "dave", super::PASSWORD).await);
    // Until nobody's answer is looked at.
    while answered_at_once(stores, 4, &grant, "000000").await == 0 {
        let answers = found(&**store, "dave").await.answers();
        if answers.closed_until.as_secs() > now() {
            break;
        }
    }
    let (context, code) = (Context::uncounted(), secret.code(UnixTime::from_secs(now().saturating_add(30))));
    let attempt = FactorAttempt::new(code.as_bytes(), &grant, CredentialKind::Password, 0, &context);
    assert_eq!(verifier.check_factor(&attempt).await, Err(Reason::FactorLocked), "after many wrong answers");
    good(store.remove("dave").await);
}

/// Logins at once that show one recovery code: each of them changes the account.
const RECOVERIES: usize = 4;

pub(super) async fn a_recovery_code_is_good_once<S: AccountStore + 'static>(stores: &[Arc<S>]) {
    let Some(store) = stores.first() else { return };
    let mut carol = account("carol");
    carol.set_totp(&good(TotpSecret::generate()));
    let codes = good(carol.issue_recovery_codes());
    good(store.add(&carol).await);
    let verifier = AccountVerifier::new(Arc::clone(store)).without_upgrade();
    let mut rounds = Rounds::new();
    for (number, code) in codes.iter().enumerate() {
        if number > 1 && !rounds.goes_on() {
            break;
        }
        let grant = good(log_in(&verifier, "carol", super::PASSWORD).await);
        let let_in = answered_at_once(stores, RECOVERIES, &grant, code).await;
        assert_eq!(let_in, 1, "one recovery code that is shown {RECOVERIES} times at once lets one in");
        let left = codes.len().saturating_sub(number).saturating_sub(1);
        assert_eq!(found(&**store, "carol").await.recovery_codes(), left, "it is used up");
        let grant = good(log_in(&verifier, "carol", super::PASSWORD).await);
        let let_in = answered_at_once(stores, RECOVERIES, &grant, code).await;
        assert_eq!(let_in, 0, "a recovery code that was used lets nobody in");
    }
    good(store.remove("carol").await);
}
