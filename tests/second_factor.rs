//! The second factor of an account: one-time codes, each good once, and recovery codes.

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "accounts"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/asked.rs"]
mod asked;
#[path = "support/drawn.rs"]
mod drawn;

use countersign::accounts::{
    Account, AccountError, AccountFile, AccountStore, HashParameters, LineError, TotpCheck, TotpSecret,
};
use countersign::files::{Missing, edit_accounts};
use countersign::{
    Accounts, AuthorizedKey, ClientKey, Credential, CredentialKind, Form, Grant, Reason, SigningKey, StretchParameters,
    Stretching, UnixTime,
};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

/// The secret of RFC 6238, appendix B: `12345678901234567890`.
const RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

const PASSWORD: &[u8] = b"correct horse";

fn rfc() -> TotpSecret {
    TotpSecret::parse(RFC).unwrap()
}

fn secs(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn system_now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

/// So many seconds after the beginning of a step.
fn at(seconds: u64) -> UnixTime {
    secs(1_800_000_000 + seconds)
}

/// Accounts with alice, who has a password, a token and a second factor.
fn accounts() -> (Accounts, String) {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    let cheap = HashParameters::new(8, 1, 1).unwrap();
    accounts.edit("alice", |account| account.set_password_with(PASSWORD, cheap)).unwrap();
    let token = accounts.edit("alice", |account| account.issue_token()).unwrap().as_str().to_owned();
    accounts
        .edit("alice", |account| {
            account.set_totp(&rfc());
            Ok(())
        })
        .unwrap();
    (accounts, token)
}

/// What alice's password is good for, before she is asked for a code.
fn alice(accounts: &Arc<RwLock<Accounts>>) -> Grant {
    asked::check(accounts, alice_s()).unwrap()
}

/// A code that was not used before this test began: the next one.
fn fresh() -> String {
    rfc().code(secs(system_now().as_secs() + 30)).as_str().to_owned()
}

#[test]
fn codes_are_those_of_rfc_6238() {
    for (time, code) in [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ] {
        assert_eq!(rfc().code(secs(time)).as_str(), code);
        assert!(rfc().confirms(code.as_bytes(), secs(time)));
    }
}

#[test]
fn a_secret_is_base32_and_comes_back_as_it_was() {
    let secret = TotpSecret::generate().unwrap();
    assert!(TotpSecret::parse(secret.to_base32().as_str()).is_some_and(|parsed| parsed == secret));
    assert!(TotpSecret::generate().unwrap() != secret);
    assert_eq!(secret.to_base32().len(), 32, "160 bits, as RFC 4226 recommends");
    let long = |len: usize| "A".repeat(len);
    for bad in
        ["", "A", &RFC.to_lowercase(), &format!("{RFC}="), &RFC[..24], "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ0", &long(104)]
    {
        assert!(TotpSecret::parse(bad).is_none(), "{bad}");
    }
    for good in [26, 32, 103] {
        assert!(TotpSecret::parse(&long(good)).is_some(), "{good}");
    }
    assert_eq!(format!("{secret:?}"), "TotpSecret { .. }");
}

#[test]
fn each_of_a_secret_s_160_bits_and_of_a_recovery_code_s_120_is_random() {
    let secrets: Vec<_> = (0..64).map(|_| drawn::base32(&TotpSecret::generate().unwrap().to_base32())).collect();
    assert!(secrets.iter().all(|secret| secret.len() == 32));
    drawn::each_bit_varies(&secrets, 5);
    let (mut accounts, _) = accounts();
    let codes: Vec<_> = (0..7)
        .flat_map(|_| accounts.edit("alice", Account::issue_recovery_codes).unwrap())
        .map(|code| drawn::base32(&code.replace('-', "").to_uppercase()))
        .collect();
    assert!(codes.iter().all(|code| code.len() == 24));
    drawn::each_bit_varies(&codes, 5);
}

#[test]
fn the_url_is_what_authenticators_read() {
    let url = rfc().url("db.example:7000", "al ice@x");
    let expected = format!(
        "otpauth://totp/db.example%3A7000:al%20ice%40x?secret={RFC}&issuer=db.example%3A7000&algorithm=SHA1&digits=6&period=30"
    );
    assert_eq!(url.as_str(), expected);
}

#[test]
fn a_code_is_good_one_step_early_and_late_and_no_more() {
    for (off, verdict) in [
        (0, Err(Reason::WrongFactor)),
        (30, Ok(())),
        (60, Ok(())),
        (89, Ok(())),
        (90, Ok(())),
        (120, Err(Reason::WrongFactor)),
    ] {
        let codes = TotpCheck::new(at(0));
        let code = rfc().code(at(off));
        // Now is the step from 60 to 89.
        assert_eq!(codes.verify("alice", &rfc(), code.as_bytes(), at(75)), verdict, "{off}");
    }
}

#[test]
fn a_code_is_good_once_and_so_is_whatever_came_before_it() {
    let codes = TotpCheck::new(at(0));
    let [early, middle, late] = [60, 90, 120].map(|when| rfc().code(at(when)).as_str().to_owned());
    assert_eq!(codes.verify("alice", &rfc(), middle.as_bytes(), at(95)), Ok(()));
    for (code, when) in [(&middle, 95), (&middle, 149), (&early, 95)] {
        assert_eq!(codes.verify("alice", &rfc(), code.as_bytes(), at(when)), Err(Reason::FactorUsed));
    }
    // Another user's is another's affair.
    assert_eq!(codes.verify("bob", &rfc(), middle.as_bytes(), at(95)), Ok(()));
    assert_eq!(codes.verify("alice", &rfc(), late.as_bytes(), at(95)), Ok(()));
    assert_eq!(codes.verify("alice", &rfc(), late.as_bytes(), at(130)), Err(Reason::FactorUsed));
    // A clock that goes back makes nothing good again.
    assert_eq!(codes.verify("alice", &rfc(), early.as_bytes(), at(61)), Err(Reason::FactorUsed));
}

#[test]
fn codes_from_before_the_memory_began_are_refused() {
    let codes = TotpCheck::new(at(10));
    for (of, when) in [(0, 10), (0, 29), (0, 31)] {
        assert_eq!(codes.verify("alice", &rfc(), rfc().code(at(of)).as_bytes(), at(when)), Err(Reason::FactorUsed));
    }
    assert_eq!(codes.verify("alice", &rfc(), rfc().code(at(30)).as_bytes(), at(31)), Ok(()));
}

/// As one is whose machine knows the time of another zone until the network is there.
#[test]
fn a_memory_that_began_under_a_clock_that_was_ahead_takes_codes_a_minute_after_that_is_right() {
    let codes = TotpCheck::new(at(7200));
    let verify = |user, of, when| codes.verify(user, &rfc(), rfc().code(at(of)).as_bytes(), at(when));
    assert_eq!(verify("bob", 7230, 7230), Ok(()));
    // All codes of now may have been used before it began.
    for of in [70, 100, 130] {
        assert_eq!(verify("alice", of, 100), Err(Reason::FactorUsed), "{of}");
    }
    assert_eq!(verify("alice", 130, 130), Err(Reason::FactorUsed));
    assert_eq!(verify("alice", 160, 160), Ok(()));
    assert_eq!(verify("alice", 160, 160), Err(Reason::FactorUsed));
    // What is known to be used makes those before it no good.
    assert_eq!(verify("bob", 160, 160), Err(Reason::FactorUsed));
    assert_eq!(verify("bob", 7260, 7260), Ok(()));
}

#[test]
fn five_wrong_codes_in_a_row_close_an_account_to_codes_for_longer_and_longer() {
    let codes = TotpCheck::new(at(0));
    let verify = |code: &str, when: u64| codes.verify("alice", &rfc(), code.as_bytes(), at(when));
    let good = |when: u64| rfc().code(at(when)).as_str().to_owned();
    for _ in 0..4 {
        assert_eq!(verify("000000", 100), Err(Reason::WrongFactor));
    }
    // One that is good begins anew.
    assert_eq!(verify(&good(100), 100), Ok(()));
    for _ in 0..5 {
        assert_eq!(verify("000000", 200), Err(Reason::WrongFactor));
    }
    let mut now = 200;
    for wait in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] {
        assert_eq!(verify(&good(now), now), Err(Reason::FactorLocked));
        assert_eq!(verify(&good(now), now + wait - 1), Err(Reason::FactorLocked));
        assert_eq!(codes.verify("bob", &rfc(), good(now + 30).as_bytes(), at(now + 1)), Ok(()), "it is alice's alone");
        now += wait;
        assert_eq!(verify("000000", now), Err(Reason::WrongFactor), "{wait}");
    }
    assert_eq!(verify(&good(now + 3600), now + 3600), Ok(()));
    assert_eq!(verify("000000", now + 3600), Err(Reason::WrongFactor), "it is no longer closed");
}

/// Somebody's five wrong codes while the clock was a day ahead lock nobody out for that day.
#[test]
fn a_clock_that_was_ahead_closes_no_account_to_codes_for_longer_than_an_hour() {
    let codes = TotpCheck::new(at(0));
    let verify = |code: &str, when: u64| codes.verify("alice", &rfc(), code.as_bytes(), at(when));
    for _ in 0..5 {
        assert_eq!(verify("000000", 86_400), Err(Reason::WrongFactor));
    }
    assert_eq!(verify(rfc().code(at(86_400)).as_str(), 86_400), Err(Reason::FactorLocked));
    // By half an hour and less it is no more than one that waits.
    assert_eq!(verify(rfc().code(at(84_700)).as_str(), 84_700), Err(Reason::FactorLocked));
    assert_eq!(verify(rfc().code(at(200)).as_str(), 200), Ok(()));
}

#[test]
fn what_is_no_code_is_wrong_and_blanks_in_one_do_not_count() {
    for code in
        ["", " ", "12345", "1234567", "+12345", "12345x", "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}", "\u{fffd}"]
    {
        let codes = TotpCheck::new(at(0));
        assert_eq!(codes.verify("alice", &rfc(), code.as_bytes(), at(60)), Err(Reason::WrongFactor), "{code:?}");
    }
    assert_eq!(TotpCheck::new(at(0)).verify("alice", &rfc(), b"\xff\xff", at(60)), Err(Reason::WrongFactor));
    let code = rfc().code(at(60));
    for typed in [format!("{} {}", &code[..3], &code[3..]), format!("{}-{} ", &code[..3], &code[3..])] {
        assert_eq!(TotpCheck::new(at(0)).verify("alice", &rfc(), typed.as_bytes(), at(60)), Ok(()));
    }
}

/// As a store.
fn served(accounts: Accounts) -> Arc<RwLock<Accounts>> {
    Arc::new(RwLock::new(accounts))
}

#[test]
fn a_password_needs_a_code_and_a_token_none() {
    let (accounts, token) = accounts();
    let accounts = served(accounts);
    let grant = alice(&accounts);
    let next = |grant, kind, step| asked::further(&accounts, grant, kind, step).unwrap();
    assert_eq!(next(&grant, CredentialKind::Password, 0).map(|prompt| prompt.form()), Some(Form::Code));
    assert_eq!(next(&grant, CredentialKind::Password, 1), None);
    let by_token = asked::check(&accounts, Credential::Token(token.as_bytes())).unwrap();
    assert_eq!(next(&by_token, CredentialKind::Token, 0), None);
    let code = fresh();
    assert_eq!(asked::answer(&accounts, &grant, &code), Ok(()));
    assert_eq!(asked::answer(&accounts, &grant, &code), Err(Reason::FactorUsed));
    assert_eq!(asked::check(&accounts, alice_s()).unwrap().epoch(), grant.epoch(), "a code is no change");
}

/// The accounts by themselves can't ask for a code, and so let in nobody who needs one.
#[test]
fn where_no_code_can_be_asked_for_who_needs_one_is_not_let_in() {
    let (mut accounts, token) = accounts();
    let key = SigningKey::from_ed25519(&[1; 32]).unwrap().public_key().clone();
    accounts.edit("alice", |account| account.add_key(&AuthorizedKey::new(key.clone(), ""))).unwrap();
    let key = ClientKey::public_only(key);
    let by_key = Credential::Key { user: "alice", key: &key };
    let realm = Stretching::new("example.com", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap();
    let shown = realm.stretch("alice", PASSWORD).unwrap();
    let stretched = Credential::Stretched { user: "alice", password: &shown };
    let stretch = |account: &mut Account| {
        account.set_stretched(&shown.newest());
        Ok(())
    };
    let remove = |account: &mut Account| Ok(account.remove_totp());

    let refused = Some(Reason::FactorNotOffered);
    let wrong = Credential::Password { user: "alice", password: b"battery staple" };
    assert_eq!(accounts.check(wrong), Err(Reason::WrongPassword));
    let password = accounts.check(alice_s()).err();
    accounts.edit("alice", stretch).unwrap();
    let others = [stretched, by_key].map(|credential| accounts.check(credential).err());
    assert_eq!((password, others), (refused.clone(), [refused.clone(), refused]));
    assert!(accounts.check(Credential::Token(token.as_bytes())).is_ok());
    accounts.edit("alice", remove).unwrap();
    assert_eq!([stretched, by_key].map(|credential| accounts.check(credential).err()), [None, None]);
}

#[test]
fn an_account_without_a_second_factor_takes_none() {
    let (mut accounts, _) = accounts();
    let mut remove = || accounts.edit("alice", |account| Ok(account.remove_totp()));
    assert_eq!((remove(), remove()), (Ok(true), Ok(false)));
    let issued = accounts.edit("alice", Account::issue_recovery_codes);
    assert_eq!(issued.unwrap_err(), AccountError::NoTotp("alice".to_owned()));
    let accounts = served(accounts);
    let grant = alice(&accounts);
    assert_eq!(asked::further(&accounts, &grant, CredentialKind::Password, 0), Ok(None));
    assert_eq!(asked::answer(&accounts, &grant, &fresh()), Err(Reason::WrongFactor));
}

#[test]
fn an_account_that_changes_between_password_and_code_is_refused() {
    type Change = fn(&mut Accounts);
    let changes: [Change; 5] = [
        |accounts| assert_eq!(accounts.edit("alice", |account| Ok(account.lock())), Ok(true)),
        |accounts| {
            let expire = |account: &mut Account| {
                account.set_expiry(Some(UnixTime::from_secs(1)));
                Ok(())
            };
            accounts.edit("alice", expire).unwrap();
        },
        |accounts| assert_eq!(accounts.edit("alice", |account| Ok(account.remove_totp())), Ok(true)),
        |accounts| assert_eq!(accounts.edit("alice", |account| account.add_permission("write")), Ok(true)),
        |accounts| accounts.remove("alice").unwrap(),
    ];
    for change in changes {
        let accounts = served(accounts().0);
        let grant = alice(&accounts);
        change(&mut accounts.write().unwrap());
        assert!(asked::answer(&accounts, &grant, &fresh()).is_err());
    }
}

/// Somebody who is removed or locked while a password is checked is not let in by it.
#[test]
fn an_account_that_is_closed_during_its_login_is_not_let_in() {
    let (mut accounts, _) = accounts();
    accounts.edit("alice", |account| Ok(account.remove_totp())).unwrap();
    let accounts = served(accounts);
    let grant = alice(&accounts);
    let further = || asked::further(&accounts, &grant, CredentialKind::Password, 0);
    assert_eq!(further(), Ok(None));
    accounts.write().unwrap().edit("alice", |account| Ok(account.lock())).unwrap();
    assert_eq!(further(), Err(Reason::AccountLocked));
    accounts.write().unwrap().remove("alice").unwrap();
    assert_eq!(further(), Err(Reason::UnknownUser));
}

#[test]
fn enrolling_changes_the_epoch_so_that_no_ticket_of_before_goes_round_it() {
    let accounts = served(accounts().0);
    let change = |change: fn(&mut Account)| {
        let change = |account: &mut Account| {
            change(account);
            Ok(())
        };
        accounts.write().unwrap().edit("alice", change).unwrap();
    };
    let mut epochs = vec![alice(&accounts).epoch()];
    change(|account| assert!(account.remove_totp()));
    epochs.push(alice(&accounts).epoch());
    change(|account| account.set_totp(&rfc()));
    epochs.push(alice(&accounts).epoch());
    change(|account| drop(account.issue_recovery_codes().unwrap()));
    epochs.push(alice(&accounts).epoch());
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 4);
}

#[test]
fn a_recovery_code_takes_the_place_of_one_code() {
    let (mut accounts, _) = accounts();
    let codes = accounts.edit("alice", |account| account.issue_recovery_codes()).unwrap();
    assert_eq!((codes.len(), accounts.get("alice").unwrap().recovery_codes()), (10, 10));
    for code in &codes {
        assert_eq!((code.len(), code.split('-').count()), (29, 6));
    }
    let accounts = served(accounts);
    let log_in = |code: &str| asked::answer(&accounts, &asked::check(&accounts, alice_s()).unwrap(), code);
    let grant = asked::check(&accounts, alice_s()).unwrap();
    assert_eq!(asked::answer(&accounts, &grant, &codes[0]), Ok(()));
    assert!(asked::answer(&accounts, &grant, &codes[0]).is_err());
    assert_eq!(log_in(&codes[0]), Err(Reason::WrongFactor));
    // As people type it.
    assert_eq!(log_in(&codes[1].to_uppercase().replace('-', " ")), Ok(()));
    assert_eq!(log_in(&codes[2].replace('-', "")), Ok(()));
    assert_eq!(log_in("aaaa-aaaa-aaaa-aaaa-aaaa-aaaa"), Err(Reason::WrongFactor));
    let code = fresh();
    assert_eq!(log_in(&code), Ok(()), "the authenticator's are still good");
    assert_eq!(log_in(&codes[9]), Ok(()));
    assert_eq!(log_in(&code), Err(Reason::FactorUsed), "a recovery code makes none good again");
    assert_eq!(accounts.read().unwrap().get("alice").unwrap().recovery_codes(), 6);
    // New ones take the place of the old.
    accounts.write().unwrap().edit("alice", Account::issue_recovery_codes).unwrap();
    assert_eq!(log_in(&codes[3]), Err(Reason::WrongFactor));
}

/// Whether it is set by an application, on accounts of its own, or through a store.
#[test]
fn of_an_old_authenticator_nothing_is_good_and_nothing_is_held_against_a_new_one() {
    let new = TotpSecret::generate().unwrap();
    let set = |account: &mut Account, secret: &TotpSecret| {
        account.set_totp(secret);
        Ok(())
    };
    for is_store in [false, true] {
        let (mut accounts, _) = accounts();
        let codes = accounts.edit("alice", Account::issue_recovery_codes).unwrap();
        let accounts = served(accounts);
        let enrol = |secret: &TotpSecret| match is_store {
            true => asked::block_on(AccountStore::edit(&accounts, "alice", |account| set(account, secret))).unwrap(),
            false => accounts.write().unwrap().edit("alice", |account| set(account, secret)).unwrap(),
        };
        let recovery_codes = || accounts.read().unwrap().get("alice").unwrap().recovery_codes();
        let log_in = |code: &str| asked::answer(&accounts, &asked::check(&accounts, alice_s()).unwrap(), code);
        // Of the next half minute, so that none of the new one's codes would be later.
        let (later, used) = (UnixTime::from_secs(system_now().as_secs() + 30), fresh());
        assert_eq!(log_in(&used), Ok(()));
        // The same one anew: what was used stays used.
        enrol(&rfc());
        assert_eq!((log_in(&used), recovery_codes()), (Err(Reason::FactorUsed), 0));
        (0..5).for_each(|_| drop(log_in("000000")));
        assert_eq!(log_in(&used), Err(Reason::FactorLocked));
        let more = accounts.write().unwrap().edit("alice", Account::issue_recovery_codes).unwrap();
        enrol(&new);
        assert_eq!(recovery_codes(), 0);
        for old in [&codes[0], &more[0]] {
            assert_eq!(log_in(old), Err(Reason::WrongFactor));
        }
        assert_eq!(log_in(&new.code(later)), Ok(()));
        // None is left of one that is taken away.
        accounts.write().unwrap().edit("alice", Account::issue_recovery_codes).unwrap();
        assert!(accounts.write().unwrap().edit("alice", |account| Ok(account.remove_totp())).unwrap());
        assert_eq!(recovery_codes(), 0);
    }
}

#[test]
fn a_line_keeps_its_second_factor_and_shows_it_to_nobody() {
    let (mut accounts, _) = accounts();
    accounts.edit("alice", |account| account.issue_recovery_codes()).unwrap();
    let text = String::from_utf8(accounts.to_bytes().to_vec()).unwrap();
    assert!(text.starts_with(&format!("alice totp={RFC} permissions=read password=")));
    assert_eq!(text.matches(" recovery=SHA256:").count(), 10);
    let (again, broken) = Accounts::parse(&text);
    assert_eq!((&again.to_bytes()[..], broken), (&accounts.to_bytes()[..], vec![]));
    let account = again.get("alice").unwrap();
    assert_eq!((account.has_totp(), account.recovery_codes()), (true, 10));
    assert!(!format!("{account:?}").contains(RFC));
}

#[test]
fn a_second_factor_that_can_t_be_read_closes_the_account() {
    let recovery = "recovery=SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (fields, error) in [
        ("totp=", LineError::Totp),
        ("totp=GEZDGNBV", LineError::Totp),
        ("totp=gezdgnbvgy3tqojqgezdgnbvgy3tqojq", LineError::Totp),
        (&format!("totp={RFC} totp={RFC}"), LineError::Field),
        (&format!("totp={RFC} recovery=SHA256:AAAA"), LineError::Recovery),
        (&format!("totp={RFC} {}", [recovery; 17].join(" ")), LineError::Recovery),
        (recovery, LineError::Recovery),
    ] {
        let (accounts, broken) = Accounts::parse(format!("alice {fields}\n"));
        assert_eq!((broken[0].error, accounts.get("alice").is_none()), (error, true), "{fields}");
    }
}

/// A file with the accounts, in a folder of its own.
struct House(tempfile::TempDir);

impl House {
    fn with(accounts: &Accounts) -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        edit_accounts(house.users(), Missing::Make, |file| {
            *file = Accounts::parse(&*accounts.to_bytes()).0;
            Ok::<_, countersign::files::FileError>(())
        })
        .unwrap();
        house
    }

    fn users(&self) -> PathBuf {
        self.0.path().join("users.txt")
    }

    fn open(&self) -> Arc<AccountFile> {
        Arc::new(AccountFile::open(self.users()).unwrap())
    }
}

fn log_in(file: &Arc<AccountFile>, answer: &str) -> Result<(), Reason> {
    let grant = asked::check(file, alice_s())?;
    assert!(asked::further(file, &grant, CredentialKind::Password, 0)?.is_some());
    asked::answer(file, &grant, answer)
}

#[test]
fn a_code_stays_used_when_the_file_is_read_anew() {
    let (accounts, _) = accounts();
    let house = House::with(&accounts);
    let file = house.open();
    let code = fresh();
    assert_eq!(log_in(&file, &code), Ok(()));
    edit_accounts(house.users(), Missing::Fail, |accounts| {
        accounts.edit("alice", |account| account.add_permission("write")).map_err(|_| io_error())
    })
    .unwrap();
    file.refresh().unwrap();
    assert!(file.accounts().get("alice").unwrap().own_grant().permits("write"));
    assert_eq!(log_in(&file, &code), Err(Reason::FactorUsed));
    // One who opens the file now does not know, and takes none of this step.
    let code = rfc().code(system_now());
    assert_eq!(log_in(&house.open(), &code), Err(Reason::FactorUsed));
}

fn io_error() -> countersign::files::FileError {
    AccountFile::open("/nonexistent/users").unwrap_err()
}

#[test]
fn a_recovery_code_is_used_up_in_the_file_for_every_server() {
    let (mut accounts, _) = accounts();
    let codes = accounts.edit("alice", |account| account.issue_recovery_codes()).unwrap();
    let house = House::with(&accounts);
    let (one, other) = (house.open(), house.open());
    assert_eq!(log_in(&one, &codes[0]), Ok(()));
    other.refresh().unwrap();
    assert_eq!(log_in(&other, &codes[0]), Err(Reason::WrongFactor));
    assert_eq!(other.accounts().get("alice").unwrap().recovery_codes(), 9);
    // Whoever comes at the same time with the same code: one of them is let in.
    let threads = [&one, &other, &one, &other].map(|file| (asked::check(file, alice_s()).unwrap(), file));
    let good = std::thread::scope(|scope| {
        let checks = threads.map(|(grant, file)| {
            let code = codes[1].as_str();
            scope.spawn(move || asked::answer(file, &grant, code))
        });
        checks.map(|check| check.join().unwrap()).into_iter().filter(Result::is_ok).count()
    });
    assert_eq!(good, 1);
    assert_eq!(fs::read_to_string(house.users()).unwrap().matches("recovery=").count(), 8);
}

fn alice_s() -> Credential<'static> {
    Credential::Password { user: "alice", password: PASSWORD }
}

/// Whatever the file's directory says: an edit makes a new file in it.
#[test]
#[cfg(unix)]
fn a_recovery_code_that_can_t_be_used_up_lets_nobody_in() {
    use std::os::unix::fs::PermissionsExt;
    let (mut accounts, _) = accounts();
    let codes = accounts.edit("alice", |account| account.issue_recovery_codes()).unwrap();
    let house = House::with(&accounts);
    let file = house.open();
    fs::set_permissions(house.0.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let is_root = fs::write(house.0.path().join("probe"), b"").is_ok();
    let verdict = log_in(&file, &codes[0]);
    fs::set_permissions(house.0.path(), fs::Permissions::from_mode(0o700)).unwrap();
    // Root may write everywhere.
    assert!(is_root || matches!(verdict, Err(Reason::Application(_))));
}
