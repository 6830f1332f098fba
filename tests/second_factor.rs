//! The second factor of an account: one-time codes, each good once, and recovery codes.

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "accounts"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use argon2::{Algorithm, Argon2, Params, Version};
use countersign::accounts::{AccountError, AccountFile, LineError, TotpCheck, TotpSecret};
use countersign::{
    Accounts, Context, Credential, CredentialKind, FactorAttempt, Form, Further, Grant, Reason, UnixTime, Verifier,
};
use std::fs;
use std::path::PathBuf;
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
    let cheap = Argon2::new(Algorithm::Argon2id, Version::default(), Params::new(8, 1, 1, None).unwrap());
    accounts.set_password_with("alice", PASSWORD, &cheap).unwrap();
    let token = accounts.issue_token("alice").unwrap().as_str().to_owned();
    accounts.set_totp("alice", &rfc()).unwrap();
    (accounts, token)
}

fn alice(accounts: &Accounts) -> Grant {
    accounts.check(Credential::Password { user: "alice", password: PASSWORD }).unwrap()
}

/// A code that was not used before this test began, and the time that it is of.
fn fresh() -> (String, UnixTime) {
    let next = secs(system_now().as_secs() + 30);
    (rfc().code(next).as_str().to_owned(), next)
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

#[test]
fn a_password_needs_a_code_and_a_token_none() {
    let (accounts, token) = accounts();
    let (context, grant) = (Context::uncounted(), alice(&accounts));
    let next = |kind, step| accounts.further(&Further::new(&grant, kind, step, &context)).unwrap();
    assert_eq!(next(CredentialKind::Password, 0).map(|prompt| prompt.form()), Some(Form::Code));
    assert_eq!(next(CredentialKind::Password, 1), None);
    assert_eq!(next(CredentialKind::Token, 0), None);
    assert!(accounts.check(Credential::Token(token.as_bytes())).is_ok());
    let (code, _) = fresh();
    let attempt = FactorAttempt::new(code.as_bytes(), &grant, CredentialKind::Password, 0, &context);
    assert_eq!(accounts.check_factor(&attempt), Ok(()));
    assert_eq!(accounts.check_factor(&attempt), Err(Reason::FactorUsed));
}

#[test]
fn an_account_without_a_second_factor_takes_none() {
    let (mut accounts, _) = accounts();
    assert_eq!((accounts.remove_totp("alice"), accounts.remove_totp("alice")), (Ok(true), Ok(false)));
    let grant = alice(&accounts);
    assert_eq!(accounts.next_factor(&grant, CredentialKind::Password, 0), None);
    let (code, now) = fresh();
    assert_eq!(accounts.check_answer(&grant, code.as_bytes(), now), Err(Reason::WrongFactor));
    assert_eq!(accounts.issue_recovery_codes("alice").unwrap_err(), AccountError::NoTotp("alice".to_owned()));
    assert!(matches!(accounts.set_totp("bob", &rfc()), Err(AccountError::Unknown(_))));
}

#[test]
fn an_account_that_changes_between_password_and_code_is_refused() {
    type Change = fn(&mut Accounts);
    let changes: [Change; 5] = [
        |accounts| assert_eq!(accounts.lock("alice"), Ok(true)),
        |accounts| accounts.set_expiry("alice", Some(UnixTime::from_secs(1))).unwrap(),
        |accounts| assert_eq!(accounts.remove_totp("alice"), Ok(true)),
        |accounts| assert_eq!(accounts.grant("alice", "write"), Ok(true)),
        |accounts| accounts.remove("alice").unwrap(),
    ];
    for change in changes {
        let (mut accounts, _) = accounts();
        let grant = alice(&accounts);
        change(&mut accounts);
        let (code, now) = fresh();
        assert!(accounts.check_answer(&grant, code.as_bytes(), now).is_err());
    }
}

#[test]
fn enrolling_changes_the_epoch_so_that_no_ticket_of_before_goes_round_it() {
    let (mut accounts, _) = accounts();
    let mut epochs = vec![alice(&accounts).epoch()];
    accounts.remove_totp("alice").unwrap();
    epochs.push(alice(&accounts).epoch());
    accounts.set_totp("alice", &rfc()).unwrap();
    epochs.push(alice(&accounts).epoch());
    accounts.issue_recovery_codes("alice").unwrap();
    epochs.push(alice(&accounts).epoch());
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 4);
}

#[test]
fn a_recovery_code_takes_the_place_of_one_code() {
    let (mut accounts, _) = accounts();
    let codes = accounts.issue_recovery_codes("alice").unwrap();
    assert_eq!((codes.len(), accounts.get("alice").unwrap().recovery_codes()), (10, 10));
    for code in &codes {
        assert_eq!((code.len(), code.split('-').count()), (29, 6));
    }
    let grant = alice(&accounts);
    let check = |code: &str| accounts.check_answer(&grant, code.as_bytes(), system_now());
    assert_eq!(check(&codes[0]), Ok(()));
    assert_eq!(check(&codes[0]), Err(Reason::FactorUsed));
    // As people type it.
    assert_eq!(check(&codes[1].to_uppercase().replace('-', " ")), Ok(()));
    assert_eq!(check(&codes[2].replace('-', "")), Ok(()));
    assert_eq!(check("aaaa-aaaa-aaaa-aaaa-aaaa-aaaa"), Err(Reason::WrongFactor));
    let (code, now) = fresh();
    assert_eq!(accounts.check_answer(&grant, code.as_bytes(), now), Ok(()), "the authenticator's are still good");
    // New ones take the place of the old.
    accounts.issue_recovery_codes("alice").unwrap();
    let again = accounts.check_answer(&alice(&accounts), codes[3].as_bytes(), now);
    assert_eq!(again, Err(Reason::WrongFactor));
}

#[test]
fn a_line_keeps_its_second_factor_and_shows_it_to_nobody() {
    let (mut accounts, _) = accounts();
    accounts.issue_recovery_codes("alice").unwrap();
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
        AccountFile::edit(house.users(), true, |file| {
            *file = Accounts::parse(&*accounts.to_bytes()).0;
            Ok::<_, countersign::files::FileError>(())
        })
        .unwrap();
        house
    }

    fn users(&self) -> PathBuf {
        self.0.path().join("users.txt")
    }

    fn open(&self) -> AccountFile {
        AccountFile::open(self.users()).unwrap()
    }
}

fn log_in(file: &AccountFile, answer: &str, now: UnixTime) -> Result<(), Reason> {
    let grant = file.check(Credential::Password { user: "alice", password: PASSWORD })?;
    assert!(file.next_factor(&grant, CredentialKind::Password, 0).is_some());
    file.check_answer(&grant, answer.as_bytes(), now)
}

#[test]
fn a_code_stays_used_when_the_file_is_read_anew() {
    let (accounts, _) = accounts();
    let house = House::with(&accounts);
    let file = house.open();
    let (code, now) = fresh();
    assert_eq!(log_in(&file, &code, now), Ok(()));
    AccountFile::edit(house.users(), false, |accounts| accounts.grant("alice", "write").map_err(|_| io_error()))
        .unwrap();
    file.refresh().unwrap();
    assert!(file.accounts().get("alice").unwrap().grant().permits("write"));
    assert_eq!(log_in(&file, &code, now), Err(Reason::FactorUsed));
    // One who opens the file now does not know, and takes none of this step.
    let code = rfc().code(system_now());
    assert_eq!(log_in(&house.open(), &code, system_now()), Err(Reason::FactorUsed));
}

fn io_error() -> countersign::files::FileError {
    AccountFile::open("/nonexistent/users").unwrap_err()
}

#[test]
fn a_recovery_code_is_used_up_in_the_file_for_every_server() {
    let (mut accounts, _) = accounts();
    let codes = accounts.issue_recovery_codes("alice").unwrap();
    let house = House::with(&accounts);
    let (one, other) = (house.open(), house.open());
    assert_eq!(log_in(&one, &codes[0], system_now()), Ok(()));
    other.refresh().unwrap();
    assert_eq!(log_in(&other, &codes[0], system_now()), Err(Reason::WrongFactor));
    assert_eq!(other.accounts().get("alice").unwrap().recovery_codes(), 9);
    // Whoever comes at the same time with the same code: one of them is let in.
    let threads = [&one, &other, &one, &other].map(|file| (file.check(alice_s()).unwrap(), file));
    let good = std::thread::scope(|scope| {
        let checks = threads.map(|(grant, file)| {
            let code = codes[1].as_bytes();
            scope.spawn(move || file.check_answer(&grant, code, system_now()))
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
    let codes = accounts.issue_recovery_codes("alice").unwrap();
    let house = House::with(&accounts);
    let file = house.open();
    fs::set_permissions(house.0.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let is_root = fs::write(house.0.path().join("probe"), b"").is_ok();
    let verdict = log_in(&file, &codes[0], system_now());
    fs::set_permissions(house.0.path(), fs::Permissions::from_mode(0o700)).unwrap();
    // Root may write everywhere.
    assert!(is_root || matches!(verdict, Err(Reason::Application(_))));
}
