//! Accounts that have keys: who is let in by which, from where and until when, and what stands in the file.

#![cfg(feature = "accounts")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::accounts::{AccountError, Accounts, BrokenLine, LineError};
use countersign::{
    AddressPatterns, AuthorizedKey, ClientKey, Credential, CredentialKind, Reason, SigningKey, UnixTime, VerifyingKey,
    limits,
};
use std::net::IpAddr;

fn key(seed: u8) -> VerifyingKey {
    SigningKey::from_ed25519(&[seed; 32]).unwrap().public_key().clone()
}

fn check(accounts: &Accounts, user: &str, key: &VerifyingKey, address: Option<&str>) -> Result<String, Reason> {
    let key = ClientKey::public_only(key.clone());
    let address = address.map(|address| address.parse::<IpAddr>().unwrap());
    let grant = accounts.check_from(Credential::Key { user, key: &key }, address)?;
    Ok(grant.principal().to_owned())
}

fn with_keys(keys: &[AuthorizedKey]) -> Accounts {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts.add("bob", [""; 0]).unwrap();
    for key in keys {
        accounts.edit("alice", |account| account.add_key(key)).unwrap();
    }
    accounts
}

fn read(text: &str) -> (Accounts, Vec<BrokenLine>) {
    Accounts::parse(text.as_bytes())
}

fn bounded(seed: u8, from: Option<&str>, until: Option<u64>) -> AuthorizedKey {
    AuthorizedKey::bounded(key(seed), "alice@laptop", from, until.map(UnixTime::from_secs)).unwrap()
}

#[test]
fn a_key_lets_in_whom_it_belongs_to_and_nobody_else() {
    let accounts = with_keys(&[AuthorizedKey::new(key(1), ""), AuthorizedKey::new(key(2), "")]);
    assert_eq!(check(&accounts, "alice", &key(1), None).as_deref(), Ok("alice"));
    assert_eq!(check(&accounts, "alice", &key(2), None).as_deref(), Ok("alice"));
    for (user, seed) in [("alice", 3), ("bob", 1), ("mallory", 1), ("", 1)] {
        assert_eq!(check(&accounts, user, &key(seed), None), Err(Reason::UnknownKey), "{user} {seed}");
    }
}

#[test]
fn a_key_is_good_from_its_addresses_and_in_its_time_alone() {
    let accounts = with_keys(&[bounded(1, Some("192.0.2.0/24,!192.0.2.13"), None), bounded(2, None, Some(1))]);
    assert_eq!(check(&accounts, "alice", &key(1), Some("192.0.2.7")).as_deref(), Ok("alice"));
    for address in [Some("192.0.2.13"), Some("198.51.100.1"), None] {
        assert_eq!(check(&accounts, "alice", &key(1), address), Err(Reason::KeyNotAdmitted), "{address:?}");
    }
    assert_eq!(check(&accounts, "alice", &key(2), None), Err(Reason::KeyNotAdmitted), "in 1970 it was over");
    // Who comes back by ticket may not come from elsewhere, either.
    let current = |address: &str| accounts.current_from("alice", CredentialKind::Key, Some(address.parse().unwrap()));
    assert!(current("192.0.2.7").is_ok());
    assert_eq!(current("198.51.100.1"), Err(Reason::AccountDisabled));
}

#[test]
fn a_locked_account_is_closed_to_its_keys_and_a_removed_key_changes_the_epoch() {
    let mut accounts = with_keys(&[AuthorizedKey::new(key(1), ""), AuthorizedKey::new(key(2), "")]);
    let epoch = |accounts: &Accounts| accounts.find("alice").unwrap().epoch();
    let before = epoch(&accounts);
    assert_eq!(accounts.edit("alice", |account| Ok(account.remove_key(key(2).id()))), Ok(true));
    assert_eq!(accounts.edit("alice", |account| Ok(account.remove_key(key(2).id()))), Ok(false));
    assert_ne!(epoch(&accounts), before, "tickets of before are not taken");
    assert_eq!(check(&accounts, "alice", &key(2), None), Err(Reason::UnknownKey));
    accounts.edit("alice", |account| Ok(account.lock())).unwrap();
    assert_eq!(check(&accounts, "alice", &key(1), None), Err(Reason::AccountLocked));
    assert_eq!(
        accounts.edit("nobody", |account| Ok(account.remove_key(key(1).id()))),
        Err(AccountError::Unknown("nobody".to_owned()))
    );
}

/// The same words mean the same of a key and of its account, in the file and by the calls.
#[test]
fn at_the_time_that_is_given_a_key_is_over_and_so_is_an_account() {
    let key = bounded(1, None, Some(1_800_000_000));
    let line = with_keys(&[key]).to_string();
    assert!(line.contains(";until=2027-01-15T08:00:00Z;"), "{line}");
    let (accounts, _) = read(&line);
    let [held] = accounts.find("alice").unwrap().keys() else { panic!("{line}") };
    let admits = |secs| held.admits(None, UnixTime::from_secs(secs));
    assert_eq!([admits(1_799_999_999), admits(1_800_000_000)], [true, false]);
    assert_eq!(held.until(), Some(UnixTime::from_secs(1_800_000_000)));
}

#[test]
fn keys_stand_in_the_file_as_they_were_given() {
    let all = [
        AuthorizedKey::new(key(1), "alice@laptop"),
        bounded(2, Some("192.0.2.0/24, !192.0.2.13"), Some(1_800_000_000)),
        AuthorizedKey::new(SigningKey::from_p256(&[7; 32]).unwrap().public_key().clone(), "two words; and = more"),
    ];
    let accounts = with_keys(&all);
    let text = accounts.to_string();
    let again = read(&text).0;
    assert_eq!(again.to_string(), text);
    let keys = again.find("alice").unwrap().keys().to_vec();
    assert_eq!(keys.len(), 3);
    assert_eq!((keys[0].key(), keys[0].comment()), (&key(1), "alice@laptop"));
    assert_eq!(keys[1].allowed_from().map(AddressPatterns::as_str), Some("192.0.2.0/24,!192.0.2.13"));
    assert_eq!(keys[1].until(), Some(UnixTime::from_secs(1_800_000_000)));
    assert_eq!(keys[2].comment(), "two_words__and_=_more");
    assert!(text.lines().all(|line| !line.contains("PRIVATE")));
}

#[test]
fn a_key_that_can_not_be_read_breaks_its_line_alone_and_lets_nobody_in() {
    let good = with_keys(&[AuthorizedKey::new(key(1), "")]).to_string();
    let field = good.split_ascii_whitespace().find(|word| word.starts_with("key=")).unwrap().to_owned();
    for bad in [
        "key=",
        "key=AAAA",
        &field[..field.len() - 4],
        &format!("{field};color=red"),
        &format!("{field};from=host"),
        &format!("{field};until=soon"),
        &format!("{field};from=192.0.2.1;from=192.0.2.2"),
        &format!("{field};until=2027-01-31T00:00:00Z;until=2037-01-31T00:00:00Z"),
        &format!("{field};comment=a;comment=b"),
    ] {
        let (accounts, broken) = read(&format!("alice {bad}\nbob\n"));
        assert_eq!(broken.first().map(|line| line.error), Some(LineError::Key), "{bad}");
        assert_eq!(check(&accounts, "alice", &key(1), None), Err(Reason::UnknownKey));
        assert!(accounts.find("bob").is_ok());
    }
}

#[test]
fn an_account_has_so_many_keys_and_no_more() {
    let mut accounts = with_keys(&[]);
    for seed in 0..limits::MAX_CLIENT_KEYS {
        let key = AuthorizedKey::new(key(u8::try_from(seed).unwrap()), "");
        assert_eq!(accounts.edit("alice", |account| account.add_key(&key)), Ok(true));
        assert_eq!(accounts.edit("alice", |account| account.add_key(&key)), Ok(false), "the same once more");
    }
    let more = AuthorizedKey::new(key(200), "");
    assert_eq!(
        accounts.edit("alice", |account| account.add_key(&more)),
        Err(AccountError::TooManyKeys("alice".to_owned()))
    );
    let text = accounts.to_string();
    assert_eq!(read(&text).1, []);
    let one_more = with_keys(&[more]).to_string();
    let one_more = one_more.split_ascii_whitespace().find(|word| word.starts_with("key=")).unwrap();
    let line = text.lines().find(|line| line.starts_with("alice ")).unwrap();
    let (_, broken) = read(&format!("{line} {one_more}\n"));
    assert_eq!(broken.first().map(|line| line.error), Some(LineError::TooManyKeys));
}
