//! Accounts come back as they were added, under their names, all of them.

use super::{account, answers, found, good, texts};
use countersign::accounts::{Account, AccountError, AccountStore, Role, StoreError, TotpSecret};
use countersign::{AuthorizedKey, SigningKey, StretchParameters, Stretching, UnixTime, limits};

pub(super) async fn added_and_removed(store: &impl AccountStore) {
    for name in ["alice", "\u{e9}mile", "o'brien", "a,b+c\\%_\"$1", &"x".repeat(limits::MAX_USER)] {
        assert!(good(store.find(name).await).is_none(), "{name:?} was not added yet");
        good(store.add(&account(name)).await);
        assert_eq!(found(store, name).await.name(), name);
        let again = store.add(&account(name)).await;
        let is_told = matches!(&again, Err(StoreError::Account(AccountError::Exists(taken))) if taken == name);
        assert!(is_told, "{name:?} is added once: {again:?}");
        good(store.remove(name).await);
        let again = store.remove(name).await;
        let is_told = matches!(&again, Err(StoreError::Account(AccountError::Unknown(gone))) if gone == name);
        assert!(is_told, "{name:?} is removed once: {again:?}");
        assert!(good(store.find(name).await).is_none(), "{name:?} was removed");
    }
}

/// Two that are taken for one are one person's.
pub(super) async fn names_are_told_apart_by_their_bytes(store: &impl AccountStore) {
    for (name, others) in [
        ("alice", &["Alice", "alic", "alice ", " alice", "", "\0", "alice\0", "%", "alice%", "a_ice"][..]),
        ("\u{e9}mile", &["e\u{301}mile", "\u{c9}mile", "emile", "\u{e9}mile\u{301}"]),
        ("stra\u{df}e", &["strasse", "STRASSE", "stra\u{1e9e}e"]),
    ] {
        good(store.add(&account(name)).await);
        for other in others {
            assert!(good(store.find(other).await).is_none(), "{other:?} is not {name:?}");
            if Account::new(other, [""; 0]).is_ok() {
                let removed = store.remove(other).await;
                assert!(matches!(removed, Err(StoreError::Account(_))), "{other:?} is not {name:?}: {removed:?}");
            }
        }
        found(store, name).await;
        good(store.remove(name).await);
    }
}

pub(super) async fn all_fields_come_back(store: &impl AccountStore) {
    let mut alice = account("alice");
    // Each by its letters, and in the order in which they were given.
    for permission in ["write", "READ", "admin:*", "Write"] {
        good(alice.add_permission(permission));
    }
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
    stretched.set_stretched(&good(stretching.stretch("stretched", super::PASSWORD)).newest());
    for account in [account("bare"), good(Account::new("nothing", [""; 0])), alice, stretched, largest("largest")] {
        let name = account.name();
        good(store.add(&account).await);
        let read = found(store, name).await;
        assert_eq!(texts(&read), texts(&account), "{name}: what is added is what is found");
        assert_eq!(read.epoch(), found(store, name).await.epoch(), "{name}: and again");
        let remembered = good(store.update(&read, &read.clone().with_answers(answers())).await);
        let is_kept = (remembered.answers(), remembered.epoch()) == (answers(), read.epoch());
        assert!(is_kept, "{name}: answers are kept, and are no change of the account");
        assert_eq!(found(store, name).await.answers(), answers(), "{name}: answers are found");
        good(store.remove(name).await);
    }
}

/// As much as an account may have, of all that it may have much of, and the latest time.
fn largest(name: &str) -> Account {
    let words = (0..limits::MAX_PERMISSIONS).map(|number| format!("permission{number:04}"));
    let mut account = good(Account::new(name, words));
    for _ in 0..limits::MAX_TOKENS {
        good(account.issue_token());
    }
    for number in 0..limits::MAX_CLIENT_KEYS {
        let mut seed = [0; 32];
        seed.fill(good(u8::try_from(number)));
        let key = good(SigningKey::from_ed25519(&seed)).public_key().clone();
        good(account.add_key(&good(AuthorizedKey::bounded(key, &"c".repeat(255), None, None))));
    }
    account.set_totp(&good(TotpSecret::generate()));
    good(account.issue_recovery_codes());
    let addresses: Vec<String> = (0..256).map(|number| format!("198.51.100.{number}")).collect();
    good(account.set_from(Some(&addresses.join(","))));
    // The end of the year 9999.
    account.set_expiry(Some(UnixTime::from_secs(u64::MAX)));
    for _ in 0..3 {
        account.unlock();
        account.lock();
    }
    account
}

pub(super) async fn pages_have_all_once(store: &impl AccountStore) {
    good(store.add_role(&good(Role::new("clerk", ["orders:read"]))).await);
    let mut names = vec!["B", "Z", "a", "a-b", "aa", "b", "e", "e\u{301}", "z", "\u{c4}", "\u{e9}"];
    for name in &names {
        let mut account = account(name);
        good(account.add_role("clerk"));
        good(account.issue_token());
        good(store.add(&account).await);
    }
    names.sort_unstable();
    for most in [1, 2, names.len(), 100] {
        let (mut seen, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let page = good(store.page(after.as_deref(), most).await);
            assert!(page.len() <= most, "a page of {} where {most} were asked for", page.len());
            for listed in &page {
                let found = found(store, listed.name()).await;
                let is_same = texts(listed) == texts(&found) && listed.epoch() == found.epoch();
                assert!(is_same && listed.granted().is_ok(), "a page has accounts as they are found, with their roles");
            }
            seen.extend(page.iter().map(|account| account.name().to_owned()));
            after = seen.last().cloned();
            if page.len() < most {
                break;
            }
        }
        assert_eq!(seen, names, "by the names' bytes");
    }
    assert!(good(store.page(None, 0).await).is_empty(), "a page of none");
    // Whoever was the last on a page may be gone when the next one is asked for.
    good(store.remove("b").await);
    let after =
        async |name| good(store.page(Some(name), 2).await).iter().map(|one| one.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(after("b").await, ["e", "e\u{301}"], "a page after a name that is gone");
    assert_eq!(after("aaa").await, ["e", "e\u{301}"], "a page after a name that was never there");
    assert_eq!(after("").await, ["B", "Z"], "a page after the empty name");
    assert!(after("\u{ff}").await.is_empty(), "a page after the last name");
    for name in names.into_iter().filter(|name| *name != "b") {
        good(store.remove(name).await);
    }
    good(store.remove_role("clerk").await);
}
