//! Passwords that are stretched at the client: what a client computes and sends, and what a server makes of it.

#![cfg(feature = "accounts")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

#[path = "support/asked.rs"]
mod asked;

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64Unpadded, Encoding};
use countersign::accounts::{AccountVerifier, PasswordCheck, TotpSecret};
use countersign::{
    Accounts, Answer, AsyncVerifier, Attempt, Context, Credential, CredentialKind, Error, Misuse, Question, Reason,
    Server, StretchError, StretchParameters, StretchedHash, StretchedPassword, Stretching, Trust, TrustLevel,
    Violation, client,
};
use sha2::{Digest, Sha256};
use std::sync::RwLock;
use support::wire::{self, Forger, Message, edit, padded};
use support::{ALICE, CHALLENGE_AT, RSA2048, Scenario, TODAY, at, error};

/// The cheapest that a client computes.
fn cheap() -> StretchParameters {
    StretchParameters::new(7, 5, 1).unwrap()
}

fn other() -> StretchParameters {
    StretchParameters::new(8, 5, 2).unwrap()
}

fn realm(parameters: &[StretchParameters]) -> Stretching {
    Stretching::new("db.example", parameters).unwrap()
}

fn stretched() -> Scenario {
    Scenario::new().stretching(&realm(&[cheap()]))
}

/// What the client says of the server's answer, once that is changed on the way, up to its login. Nothing on the way is found out before the
/// verdict, where the key alone is pinned.
fn meet(scenario: &Scenario, change: impl FnOnce(&mut wire::ServerHello)) -> Result<(), Error> {
    let hellos = scenario.await_login();
    let challenge = edit(&hellos.challenge, change);
    scenario.log_in(hellos.client, &challenge).map(drop)
}

/// Extension 4 as bytes.
fn announced(realm: &[u8], parameters: &[(u16, u8, u8)], moving: u8) -> Vec<u8> {
    let mut bytes = u16::try_from(realm.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(realm);
    bytes.push(u8::try_from(parameters.len()).unwrap());
    for (memory, passes, lanes) in parameters {
        bytes.extend_from_slice(&memory.to_be_bytes());
        bytes.extend_from_slice(&[*passes, *lanes]);
    }
    bytes.push(moving);
    bytes
}

fn announcing(data: Vec<u8>) -> impl FnOnce(&mut wire::ServerHello) {
    move |hello| {
        hello.extensions.retain(|(number, _)| *number != 4);
        hello.extensions.push((4, data));
    }
}

#[test]
fn a_server_announces_to_everybody_what_it_was_configured_with() {
    for (scenario, moving) in
        [(stretched(), 0), (Scenario::new().stretching(&realm(&[cheap(), other()]).with_moving()), 1)]
    {
        let hello = wire::ServerHello::decode(&scenario.await_login().challenge[3..]).unwrap();
        assert_eq!(hello.credential_kinds, [4, 2], "in the place of passwords");
        let sets: &[_] = if moving == 0 { &[(7, 5, 1)] } else { &[(7, 5, 1), (8, 5, 2)] };
        let data = hello.extensions.iter().find(|(number, _)| *number == 4).map(|(_, data)| data.clone());
        assert_eq!(data, Some(announced(b"db.example", sets, moving)));
    }
    let hello = wire::ServerHello::decode(&Scenario::new().await_login().challenge[3..]).unwrap();
    assert!(hello.extensions.iter().all(|(number, _)| *number != 4));
}

#[test]
fn what_a_server_takes_does_not_depend_on_what_was_said_of_it_first() {
    use CredentialKind::{Key, Password, Stretched, Token};
    let taken = |scenario: Scenario| {
        let challenge = scenario.await_login().challenge;
        wire::ServerHello::decode(&challenge[3..]).unwrap().credential_kinds
    };
    let realm = realm(&[cheap()]);
    for (named, expected) in [
        (&[Password, Token][..], &[4, 2][..]),
        (&[Token, Password, Key], &[2, 4, 3]),
        // Not in the place of anything.
        (&[Token], &[4, 2]),
        (&[Key], &[4, 3]),
    ] {
        assert_eq!(taken(Scenario::new().server_kinds(named).stretching(&realm)), expected, "{named:?}");
        assert_eq!(taken(Scenario::new().stretching(&realm).server_kinds(named)), expected, "{named:?}");
        let twice = Scenario::new().stretching(&realm).server_kinds(named).stretching(&realm);
        assert_eq!(taken(twice), expected, "{named:?}");
    }
    // Whoever names both takes both.
    let both = Scenario::new().stretching(&realm).server_kinds(&[Password, Stretched]);
    assert_eq!(taken(both), [1, 4]);
    let both = Scenario::new().stretching(&realm).server_kinds(&[Password, Stretched]).stretching(&realm);
    assert_eq!(taken(both), [1, 4]);
}

#[test]
fn c15_stretched_passwords_without_a_well_formed_stretching_are_refused() {
    let bad = Err(Violation::BadStretching.into());
    let good = announced(b"db.example", &[(7, 5, 1)], 0);
    assert_eq!(meet(&stretched(), announcing(good.clone())), Ok(()));
    assert_eq!(meet(&stretched(), |hello| hello.extensions.clear()), bad, "none");
    assert_eq!(meet(&Scenario::new(), |hello| hello.credential_kinds.push(4)), bad, "none");
    for (name, data) in [
        ("empty", Vec::new()),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("a byte more", [&good[..], &[0]].concat()),
        ("no realm", announced(b"", &[(7, 5, 1)], 0)),
        ("a blank in the realm", announced(b"db example", &[(7, 5, 1)], 0)),
        ("a realm of 256 bytes", announced(&[b'a'; 256], &[(7, 5, 1)], 0)),
        ("a realm that is not ASCII", announced("d\u{e9}".as_bytes(), &[(7, 5, 1)], 0)),
        ("no parameters", announced(b"db.example", &[], 0)),
        ("the same twice", announced(b"db.example", &[(7, 5, 1), (7, 5, 1)], 0)),
        ("three of them", announced(b"db.example", &[(7, 5, 1), (7, 6, 1), (7, 7, 1)], 0)),
        ("no memory", announced(b"db.example", &[(0, 5, 1)], 0)),
        ("no passes", announced(b"db.example", &[(35, 0, 1)], 0)),
        ("no lanes", announced(b"db.example", &[(35, 1, 0)], 0)),
        ("another way of moving", announced(b"db.example", &[(7, 5, 1)], 2)),
    ] {
        assert_eq!(meet(&stretched(), announcing(data)), bad, "{name}");
    }
    // Where the kind is not taken nobody looks at it.
    let passwords = Scenario::new().server_kinds(&[CredentialKind::Password]);
    assert_eq!(meet(&passwords, announcing(vec![1])), Ok(()));
}

#[test]
fn t6_parameters_out_of_bounds_and_other_realms_are_not_computed() {
    let met = |parameters: &[(u16, u8, u8)]| meet(&stretched(), announcing(announced(b"db.example", parameters, 0)));
    for weak in [(6, 255, 1), (7, 4, 1), (34, 1, 1), (17, 2, 1), (1, 35, 1)] {
        assert!(matches!(met(&[weak]), Err(Error::Stretch(StretchError::TooWeak(_)))), "{weak:?}");
        assert!(matches!(met(&[(7, 5, 1), weak]), Err(Error::Stretch(StretchError::TooWeak(_)))), "{weak:?}, second");
    }
    for costly in [(257, 1, 1), (65535, 255, 255), (256, 5, 1), (205, 5, 1), (7, 5, 17)] {
        assert!(matches!(met(&[costly]), Err(Error::Stretch(StretchError::TooCostly(_)))), "{costly:?}");
    }
    let together = met(&[(256, 2, 1), (257 / 2, 5, 1)]);
    assert!(matches!(together, Err(Error::Stretch(StretchError::TooCostly(_)))), "each of them would do");
    for good in [(7, 5, 1), (35, 1, 1), (7, 5, 16)] {
        assert_eq!(met(&[good]), Ok(()), "{good:?}");
    }
    let named = |name: &str| stretched().trust(RSA2048.trust().with_realm(name));
    assert_eq!(meet(&named("db.example"), |_| ()), Ok(()));
    let elsewhere = StretchError::OtherRealm("db.example".to_owned());
    assert_eq!(meet(&named("bank.example"), |_| ()), Err(elsewhere.into()));
    // A server's operator is told before any client is. What is as dear as may be is tried here, where nobody computes it.
    assert!(StretchParameters::new(6, 10, 1).is_err() && StretchParameters::new(256, 5, 1).is_err());
    let is_good = |sets: &[(u16, u8, u8)]| {
        let sets: Result<Vec<_>, _> = sets.iter().map(|&(m, t, p)| StretchParameters::new(m, t, p)).collect();
        sets.is_ok_and(|sets| Stretching::new("db.example", &sets).is_ok())
    };
    assert_eq!([StretchParameters::new(256, 4, 16).is_ok(), is_good(&[(256, 3, 1), (64, 4, 1)])], [true; 2]);
    let halves = [StretchParameters::new(256, 3, 1).unwrap(), StretchParameters::new(128, 4, 1).unwrap()];
    assert!(Stretching::new("db.example", &halves).is_err());
    assert!(Stretching::new("db.example", &[]).is_err() && Stretching::new("d b", &[cheap()]).is_err());
    assert_eq!(
        Stretching::new("db.example", &[cheap(), cheap()]),
        Err(Misuse::Duplicate("the list of stretching parameters"))
    );
}

/// What a server makes of a login.
fn arrived<T>(scenario: &Scenario, look: impl FnOnce(&str, &StretchedPassword) -> T) -> T {
    let claim = scenario.claim();
    match claim.credential() {
        Credential::Stretched { user, password } => look(user, password),
        _ => panic!("a credential of another kind"),
    }
}

#[test]
fn t7_a_password_itself_does_not_go_to_a_server_that_is_to_get_none() {
    let strict = || RSA2048.trust().with_stretched_only();
    let plain = Scenario::new().trust(strict());
    assert_eq!(meet(&plain, |_| ()), Err(StretchError::NotTaken.into()));
    let moving = Scenario::new().stretching(&realm(&[cheap()]).with_moving());
    assert_eq!(arrived(&moving, |_, shown| shown.password().map(<[u8]>::to_vec)), Some(b"password".to_vec()));
    assert!(!arrived(&moving.clone().trust(strict()), |_, shown| shown.password().is_some()));
    assert!(!arrived(&stretched(), |_, shown| shown.password().is_some()), "it was not asked for");
    // Who gets the password beside it must be known as well as who gets a password.
    let at_first_use = moving.trust(first_use(Some(TrustLevel::FirstUse)));
    assert!(!arrived(&at_first_use, |_, shown| shown.password().is_some()));
}

#[test]
fn servers_that_are_merged_are_as_strict_about_passwords_as_either() {
    type Strict = fn(Server) -> Server;
    let elsewhere = StretchError::OtherRealm("db.example".to_owned());
    let cases: [(Strict, Scenario, StretchError); 2] = [
        (Server::with_stretched_only, Scenario::new(), StretchError::NotTaken),
        (|server| server.with_realm("bank.example"), stretched(), elsewhere),
    ];
    for (strict, scenario, error) in cases {
        let lax = || RSA2048.trust();
        assert_eq!(meet(&scenario.clone().trust(lax().or(lax())), |_| ()), Ok(()));
        for merged in [strict(lax()).or(lax()), lax().or(strict(lax())), lax().or(lax().or(strict(lax())))] {
            assert_eq!(meet(&scenario.clone().trust(merged), |_| ()), Err(error.clone().into()));
        }
    }
    // Of two realms the first counts, and none that the server says.
    for (realms, met) in [(["db.example", "bank.example"], true), (["bank.example", "db.example"], false)] {
        let [first, second] = realms.map(|realm| RSA2048.trust().with_realm(realm));
        assert_eq!(meet(&stretched().trust(first.or(second)), |_| ()).is_ok(), met, "{realms:?}");
    }
}

/// Trusts whoever comes first, and sends stretched passwords to keys that are known this well.
fn first_use(level: Option<TrustLevel>) -> Server {
    struct FirstUse;
    impl Trust for FirstUse {
        fn decide(&self, _: &Question<'_>) -> Answer {
            Answer::Trusted(TrustLevel::FirstUse)
        }

        fn scope(&self) -> String {
            "first use".to_owned()
        }
    }
    let server = Server::trusting(FirstUse);
    match level {
        Some(level) => server.with_level_for(CredentialKind::Stretched, level),
        None => server,
    }
}

#[test]
fn a_stretched_password_needs_the_trust_that_a_password_needs() {
    let met = |server: Server| meet(&stretched().trust(server), |_| ());
    let too_low = Err(Error::TrustTooLow { kind: CredentialKind::Stretched, level: TrustLevel::FirstUse });
    assert_eq!(met(first_use(None)), too_low);
    assert_eq!(met(first_use(None).with_level_for(CredentialKind::Password, TrustLevel::FirstUse)), Ok(()));
    let strict = first_use(Some(TrustLevel::Verified)).with_level_for(CredentialKind::Password, TrustLevel::FirstUse);
    assert_eq!(met(strict), too_low);
}

#[test]
fn a_password_goes_stretched_wherever_the_server_takes_that() {
    let both = stretched().server_kinds(&[CredentialKind::Password, CredentialKind::Stretched]);
    for scenario in [stretched(), both] {
        let stored = arrived(&scenario, |user, shown| {
            assert_eq!((user, shown.parameters()), ("alice", &[cheap()][..]));
            shown.newest()
        });
        // The same comes out of the same password alone.
        let computed = |realm: &Stretching, user, password| realm.stretch(user, password).unwrap();
        let same = computed(&realm(&[cheap()]), "alice", b"password");
        assert_eq!(same.check(Some(&stored)), Ok(()));
        for shown in
            [computed(&realm(&[cheap()]), "alice", b"Password"), computed(&realm(&[cheap()]), "alicf", b"password")]
        {
            assert_eq!(shown.check(Some(&stored)), Err(Reason::WrongPassword));
        }
        let elsewhere = Stretching::new("bank.example", &[cheap()]).unwrap();
        for other in [elsewhere, realm(&[other()])] {
            let shown = computed(&other, "alice", b"password");
            assert_eq!(shown.check(Some(&stored)), Err(Reason::OtherStretching));
        }
        assert_eq!(same.check(None), Err(Reason::UnknownUser));
    }
}

#[test]
fn what_can_not_be_sent_is_refused_before_it_costs_a_client_anything() {
    for (user, password) in [("alice", &b""[..]), ("al\nice", b"password")] {
        let mut scenario = stretched();
        scenario.credential = Credential::Password { user, password };
        // Computing it would say something else of a password that is none.
        assert_eq!(meet(&scenario, |_| {}), Err(Misuse::BadInput("the user name or the secret").into()));
    }
}

#[test]
fn what_is_computed_elsewhere_is_sent_only_as_it_was_announced() {
    let trusted = |scenario: &Scenario| {
        let hellos = scenario.await_login();
        let challenge = hellos.client.read(&hellos.challenge, at(CHALLENGE_AT)).unwrap();
        challenge.trust(scenario.trusted(), TODAY).unwrap()
    };
    let login = |trusted: client::Trusted, password: &StretchedPassword| {
        let credential = Credential::Stretched { user: "alice", password };
        trusted.login(credential, &mut stretched().rng("client login")).map(drop)
    };
    let wanted = trusted(&stretched()).stretching().unwrap().unwrap();
    assert_eq!(wanted, realm(&[cheap()]));
    let good = wanted.stretch("alice", b"password").unwrap();
    assert_eq!(login(trusted(&stretched()), &good), Ok(()));
    let moving = realm(&[cheap()]).with_moving().stretch("alice", b"password").unwrap();
    for wrong in [&realm(&[other()]).stretch("alice", b"password").unwrap(), &moving] {
        assert_eq!(login(trusted(&stretched()), wrong), Err(Misuse::Mismatch.into()));
    }
    assert!(matches!(trusted(&Scenario::new()).stretching(), Ok(None)));
    assert_eq!(login(trusted(&Scenario::new()), &good), Err(Error::KindNotTaken(CredentialKind::Stretched)));
    for password in [&b""[..], &[0; 4097]] {
        assert!(matches!(wanted.stretch("alice", password), Err(StretchError::BadPassword)));
    }
    // The longest fits beside what it is stretched to.
    let longest = Credential::Password { user: "alice", password: &[7; 4096] };
    let moving = Scenario::new().stretching(&realm(&[cheap(), other()]).with_moving()).credential(longest);
    assert_eq!(arrived(&moving, |_, shown| shown.password().map(<[u8]>::len)), Some(4096));
}

fn credential(secret: &[u8]) -> Vec<u8> {
    padded(wire::Credential { kind: 4, user: b"alice".to_vec(), secret: secret.to_vec() }.encode(), 256)
}

#[test]
fn l8_a_stretched_password_that_was_not_asked_for_like_that_is_refused() {
    let (one, two) = (realm(&[cheap()]), realm(&[cheap(), other()]));
    let values = |count: usize| [&[u8::try_from(count).unwrap()][..], &vec![9; 32 * count]].concat();
    let with = |values: Vec<u8>, password: &[u8]| {
        [&values[..], &u16::try_from(password.len()).unwrap().to_be_bytes(), password].concat()
    };
    let cases = [
        ("good", &one, with(values(1), b""), true),
        ("good, of two", &two, with(values(2), b""), true),
        ("nothing", &one, vec![], false),
        ("the password alone", &one, b"password".to_vec(), false),
        ("no value", &one, with(values(0), b""), false),
        ("one value too few", &two, with(values(1), b""), false),
        ("one value too many", &one, with(values(2), b""), false),
        ("three values", &two, with(values(3), b""), false),
        ("cut short", &one, values(1), false),
        ("a byte more", &one, [&with(values(1), b"")[..], &[0]].concat(), false),
        ("a password that was not asked for", &one, with(values(1), b"password"), false),
    ];
    let moving = one.clone().with_moving();
    let moving = [
        ("good, while moving", &moving, with(values(1), b""), true),
        ("good, with the password", &moving, with(values(1), b"password"), true),
        ("with the longest", &moving, with(values(1), &[1; 4096]), true),
        ("with one that is longer", &moving, with(values(1), &[1; 4097]), false),
    ];
    for (name, stretching, secret, is_good) in cases.into_iter().chain(moving) {
        let scenario = Scenario::new().suite(countersign::Suite::RSA_AES_256_GCM).stretching(stretching);
        let hellos = scenario.await_login();
        let forger = Forger::new(&hellos.hello, &hellos.challenge);
        let login = forger.login_with(&credential(&secret), &mut scenario.rng("forger"));
        let claim = scenario.open(hellos.server, &login).unwrap();
        let Credential::Stretched { user, password } = claim.credential() else { panic!("{name}: another kind") };
        assert_eq!(user, if is_good { "alice" } else { "" }, "{name}");
        // What stands in for it is as long as what was announced.
        assert_eq!(password.parameters(), stretching.parameters(), "{name}");
        let reason = claim.accept(support::grant()).err().map(|refusal| refusal.reason);
        assert_eq!(reason, (!is_good).then_some(Reason::NotOpened), "{name}");
    }
}

#[test]
fn a_login_that_does_not_open_is_stood_in_for_by_a_stretched_password() {
    let scenario = stretched();
    let mut sent = scenario.await_verdict();
    *sent.login.last_mut().unwrap() ^= 1;
    let claim = scenario.open(sent.server, &sent.login).unwrap();
    let Credential::Stretched { user: "", password } = claim.credential() else { panic!("another kind") };
    assert_eq!(password.check(None), Err(Reason::UnknownUser));
    assert_eq!(error(claim.accept(support::grant())).reason, Reason::NotOpened);
}

/// What a password is stretched to in [`cheap`]'s way.
fn value_of(realm: &str, user: &str, password: &[u8]) -> [u8; 32] {
    let salt = ["countersign v1 stretch", realm, user].map(|part| wire::lp(part.as_bytes())).concat();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(7 << 10, 5, 1, None).unwrap());
    let mut value = [0; 32];
    argon2.hash_password_into(password, &Sha256::digest(salt), &mut value).unwrap();
    value
}

#[test]
fn what_a_server_keeps_is_written_and_read_and_lets_nobody_in() {
    let of = realm(&[cheap()]);
    let stored = of.stretch("alice", b"password").unwrap().newest();
    let text = stored.to_string();
    assert!(text.starts_with("SHA256:") && text.ends_with(";m=7168,t=5,p=1;realm=db.example"), "{text}");
    assert_eq!(text.parse(), Ok(stored.clone()));
    let (hash, rest) = text.split_once(';').unwrap();
    for bad in [
        "",
        hash,
        rest,
        &text.replace("SHA256:", ""),
        &text.replace("m=7168", "m=7169"),
        &text.replace("m=7168", "m=1024"),
        &text.replace(";realm=db.example", ""),
        &text.replace("db.example", ""),
        &text.replace("db.example", "d b"),
        &text.replace("p=1", "p=1,p=1"),
        &text.replace("p=1", "x=1"),
        &text.replace(hash, "SHA256:AAAA"),
        &format!("{text}\n"),
    ] {
        assert!(bad.parse::<StretchedHash>().is_err(), "{bad:?}");
    }
    assert!(!format!("{stored:?} {of:?}").contains(&hash["SHA256:".len()..]));
    // Whoever has stolen it shows it in the place of the password.
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts
        .edit("alice", |account| {
            account.set_stretched(&stored);
            Ok(())
        })
        .unwrap();
    let shown = of.stretch("alice", hash.as_bytes()).unwrap();
    let shown = Credential::Stretched { user: "alice", password: &shown };
    assert_eq!(accounts.check(shown), Err(Reason::WrongPassword));
    // Or in the place of what the password is stretched to, by a client of their own.
    let scenario = Scenario::new().suite(countersign::Suite::RSA_AES_256_GCM).stretching(&of);
    let check = |value: &[u8]| {
        let hellos = scenario.await_login();
        let forger = Forger::new(&hellos.hello, &hellos.challenge);
        let secret = [&[1][..], value, &[0, 0]].concat();
        let login = forger.login_with(&credential(&secret), &mut scenario.rng("forger"));
        let claim = scenario.open(hellos.server, &login).unwrap();
        accounts.check(claim.credential()).map(drop)
    };
    let stolen = Base64Unpadded::decode_vec(&hash["SHA256:".len()..]).unwrap();
    assert_eq!(check(&stolen), Err(Reason::WrongPassword));
    let value = value_of("db.example", "alice", b"password");
    assert_eq!((check(&value), Sha256::digest(value).to_vec()), (Ok(()), stolen), "it is that which is shown");
}

#[test]
fn an_account_logs_in_by_its_stretched_password_alone_once_it_has_one() {
    let of = realm(&[cheap()]);
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts.edit("alice", |account| account.set_password(b"password")).unwrap();
    let shown = |password: &[u8]| of.stretch("alice", password).unwrap();
    let check = |accounts: &Accounts, password: &[u8]| {
        accounts.check(Credential::Stretched { user: "alice", password: &shown(password) }).map(drop)
    };
    assert_eq!(check(&accounts, b"password"), Err(Reason::WrongPassword), "its password was never stretched");
    accounts
        .edit("alice", |account| {
            account.set_stretched(&shown(b"password").newest());
            Ok(())
        })
        .unwrap();
    assert_eq!(check(&accounts, b"password"), Ok(()));
    assert_eq!(check(&accounts, b"wrong"), Err(Reason::WrongPassword));
    assert_eq!(accounts.check(ALICE).map(drop), Err(Reason::WrongPassword), "that one is gone");
    assert!(accounts.get("alice").is_some_and(|alice| alice.stretched().is_some() && !alice.has_password()));
    assert!(accounts.current("alice", CredentialKind::Stretched).is_ok());
    let (read, broken) = Accounts::parse(accounts.to_bytes().as_slice());
    assert!(broken.is_empty(), "{broken:?}");
    assert_eq!(read.get("alice").unwrap().stretched(), accounts.get("alice").unwrap().stretched());
    assert_eq!(check(&read, b"password"), Ok(()));
    let epoch = |accounts: &Accounts| accounts.current("alice", CredentialKind::Stretched).unwrap().epoch();
    let before = epoch(&accounts);
    // A new password ends the old one, however it is kept.
    accounts.edit("alice", |account| account.set_password(b"another")).unwrap();
    assert_eq!(check(&accounts, b"password"), Err(Reason::WrongPassword));
    assert_ne!(epoch(&accounts), before);
    accounts.edit("alice", |account| Ok(account.lock())).unwrap();
    accounts
        .edit("alice", |account| {
            account.set_stretched(&shown(b"password").newest());
            Ok(())
        })
        .unwrap();
    assert_eq!(check(&accounts, b"password"), Err(Reason::AccountLocked));
}

/// Whoever sends anything else beside it would never move, and have the server compute it at each login; and what another password was stretched to
/// would leave its owner shut out.
#[test]
fn what_an_account_moves_to_is_what_its_password_is_stretched_to_whatever_a_client_says() {
    let moving = realm(&[cheap()]).with_moving();
    let scenario = Scenario::new().suite(countersign::Suite::RSA_AES_256_GCM).stretching(&moving);
    let value = value_of("db.example", "alice", b"password");
    for shown in [[9; 32], value] {
        let mut accounts = Accounts::new();
        accounts.add("alice", ["read"]).unwrap();
        accounts.edit("alice", |account| account.set_password(b"password")).unwrap();
        let accounts = RwLock::new(accounts);
        assert_eq!(verdict(&scenario, &accounts, &[shown], b"password"), Ok(()));
        let expected = moving.stretch("alice", b"password").unwrap().newest();
        let kept = |accounts: &RwLock<Accounts>| {
            let accounts = accounts.read().unwrap();
            let alice = accounts.get("alice").unwrap();
            (alice.has_password(), alice.stretched().cloned())
        };
        assert_eq!(kept(&accounts), (false, Some(expected.clone())));
        let again = if shown == value { Ok(()) } else { Err(Reason::WrongPassword) };
        assert_eq!(verdict(&scenario, &accounts, &[shown], b"password"), again, "it costs a stretching once");
        assert_eq!(kept(&accounts), (false, Some(expected)));
    }
}

#[test]
fn a_password_beside_a_stretched_one_that_it_does_not_lead_to_is_refused_and_moves_nothing() {
    let (old, both) = (realm(&[cheap()]), realm(&[other(), cheap()]).with_moving());
    let scenario = Scenario::new().suite(countersign::Suite::RSA_AES_256_GCM).stretching(&both);
    let kept = old.stretch("alice", b"password").unwrap().newest();
    let value = value_of("db.example", "alice", b"password");
    for (password, has_totp, verdict_due, moves) in [
        (&b"password"[..], false, Ok(()), true),
        (b"password", true, Ok(()), true),
        (b"wrong", false, Err(Reason::WrongPassword), false),
        (b"wrong", true, Err(Reason::WrongPassword), false),
    ] {
        let mut accounts = Accounts::new();
        accounts.add("alice", ["read"]).unwrap();
        accounts
            .edit("alice", |account| {
                account.set_stretched(&kept);
                if has_totp {
                    account.set_totp(&TotpSecret::generate().unwrap());
                }
                Ok(())
            })
            .unwrap();
        let accounts = RwLock::new(accounts);
        // What it shows at the new parameters is of no password.
        assert_eq!(verdict(&scenario, &accounts, &[[9; 32], value], password), verdict_due);
        let accounts = accounts.read().unwrap();
        let due = if moves { both.stretch("alice", b"password").unwrap().newest() } else { kept.clone() };
        assert_eq!(accounts.get("alice").unwrap().stretched(), Some(&due));
    }
}

/// Of a login of alice's with these values and this password, at a server whose accounts move.
fn verdict(
    scenario: &Scenario,
    accounts: &RwLock<Accounts>,
    values: &[[u8; 32]],
    password: &[u8],
) -> Result<(), Reason> {
    let hellos = scenario.await_login();
    let count = u8::try_from(values.len()).unwrap();
    let len = u16::try_from(password.len()).unwrap().to_be_bytes();
    let secret = [&[count][..], &values.concat(), &len, password].concat();
    let login =
        Forger::new(&hellos.hello, &hellos.challenge).login_with(&credential(&secret), &mut scenario.rng("forger"));
    let claim = scenario.open(hellos.server, &login).unwrap();
    let verifier = AccountVerifier::new(accounts).with_moving();
    let context = Context::uncounted();
    asked::block_on(verifier.verify(&Attempt::new(claim.credential(), &context))).map(drop)
}

#[test]
fn old_parameters_and_new_ones_are_announced_together_until_accounts_have_moved() {
    let (old, both) = (realm(&[cheap()]), realm(&[other(), cheap()]));
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts
        .edit("alice", |account| {
            account.set_stretched(&old.stretch("alice", b"password").unwrap().newest());
            Ok(())
        })
        .unwrap();
    let shown = both.stretch("alice", b"password").unwrap();
    let alice = Credential::Stretched { user: "alice", password: &shown };
    assert!(accounts.check(alice).is_ok());
    accounts
        .edit("alice", |account| {
            account.set_stretched(&shown.newest());
            Ok(())
        })
        .unwrap();
    assert_eq!(accounts.get("alice").unwrap().stretched().unwrap().parameters(), other());
    assert!(accounts.check(alice).is_ok());
    // Whoever announces the old ones alone shuts out who has moved, and is told why.
    let shown = old.stretch("alice", b"password").unwrap();
    let alice = Credential::Stretched { user: "alice", password: &shown };
    assert_eq!(accounts.check(alice), Err(Reason::OtherStretching));
}

#[test]
fn while_accounts_move_either_form_lets_them_in() {
    let moving = realm(&[cheap()]).with_moving();
    let mut accounts = Accounts::new();
    for name in ["alice", "bob", "robot"] {
        accounts.add(name, ["read"]).unwrap();
    }
    accounts.edit("alice", |account| account.set_password(b"password")).unwrap();
    accounts
        .edit("bob", |account| {
            account.set_stretched(&moving.stretch("bob", b"password").unwrap().newest());
            Ok(())
        })
        .unwrap();
    let check = |of: &Stretching, user: &str, password: &[u8]| {
        let shown = of.stretch(user, password).unwrap();
        accounts.check(Credential::Stretched { user, password: &shown }).map(drop)
    };
    let strict = realm(&[cheap()]);
    for (user, password, expected, expected_alone) in [
        ("alice", &b"password"[..], Ok(()), Err(Reason::WrongPassword)),
        ("bob", b"password", Ok(()), Ok(())),
        ("alice", b"wrong", Err(Reason::WrongPassword), Err(Reason::WrongPassword)),
        ("bob", b"wrong", Err(Reason::WrongPassword), Err(Reason::WrongPassword)),
        ("robot", b"password", Err(Reason::WrongPassword), Err(Reason::WrongPassword)),
        ("mallory", b"password", Err(Reason::UnknownUser), Err(Reason::UnknownUser)),
    ] {
        assert_eq!(check(&moving, user, password), expected, "{user}");
        assert_eq!(check(&strict, user, password), expected_alone, "{user}");
    }
    // The same of a store of one's own.
    let hash = PasswordCheck::hash(b"password").unwrap();
    let (passwords, shown) = (PasswordCheck::new(), moving.stretch("alice", b"password").unwrap());
    let stored = shown.newest();
    let verify = |stretched, hash| passwords.verify_stretched("alice", &shown, stretched, hash);
    assert_eq!(verify(Some(&stored), None), Ok(()));
    assert_eq!(verify(None, Some(&hash)), Ok(()));
    assert_eq!(verify(None, None), Err(Reason::UnknownUser));
    let elsewhere = moving.stretch("bob", b"password").unwrap().newest();
    assert_eq!(verify(Some(&elsewhere), Some(&hash)), Err(Reason::WrongPassword), "it has moved");
    assert_eq!(verify(Some(&elsewhere), None), Err(Reason::WrongPassword));
}

#[test]
fn a_store_of_one_s_own_lets_in_by_what_it_has_of_the_user_and_by_nothing_else() {
    let (strict, moving) = (realm(&[cheap()]), realm(&[cheap()]).with_moving());
    let (passwords, hash) = (PasswordCheck::new(), PasswordCheck::hash(b"password").unwrap());
    let stored = strict.stretch("alice", b"password").unwrap().newest();
    let [other_realm, other_cost] = [Stretching::new("www.example", &[cheap()]).unwrap(), realm(&[other()])]
        .map(|elsewhere| elsewhere.stretch("alice", b"password").unwrap().newest());
    let check = |of: &Stretching, password: &[u8], stretched: Option<&StretchedHash>, hash: Option<&str>| {
        passwords.verify_stretched("alice", &of.stretch("alice", password).unwrap(), stretched, hash)
    };
    for (name, stretched, hash, right, wrong) in [
        ("stretched", Some(&stored), None, Ok(()), Reason::WrongPassword),
        ("stretched, and what it was before", Some(&stored), Some(&*hash), Ok(()), Reason::WrongPassword),
        ("a hash alone", None, Some(&*hash), Err(Reason::WrongPassword), Reason::WrongPassword),
        ("nothing", None, None, Err(Reason::UnknownUser), Reason::UnknownUser),
        ("for another realm", Some(&other_realm), None, Err(Reason::OtherStretching), Reason::OtherStretching),
        ("at another cost", Some(&other_cost), None, Err(Reason::OtherStretching), Reason::OtherStretching),
    ] {
        assert_eq!(check(&strict, b"password", stretched, hash), right, "{name}");
        assert_eq!(check(&strict, b"wrong", stretched, hash), Err(wrong), "{name}, wrong");
    }
    // While accounts move, either form counts, and a wrong password is none of them.
    assert_eq!(check(&moving, b"password", None, Some(&hash)), Ok(()));
    for (stretched, hash) in [(Some(&stored), None), (Some(&stored), Some(&*hash)), (None, Some(&*hash))] {
        assert_eq!(check(&moving, b"wrong", stretched, hash), Err(Reason::WrongPassword));
    }
}

/// A table may have the hash of nothing, and a client may keep the password to itself.
#[test]
fn who_sends_no_password_has_none_that_a_store_of_one_s_own_could_have_the_hash_of() {
    let moving = realm(&[cheap()]).with_moving();
    let scenario = Scenario::new().stretching(&moving).trust(RSA2048.trust().with_stretched_only());
    let claim = scenario.claim();
    let Credential::Stretched { user: "alice", password: shown } = claim.credential() else {
        panic!("it is stretched")
    };
    assert_eq!(shown.password(), None);
    let nothing = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1024, 1, 1, None).unwrap());
    let nothing = argon2::PasswordHasher::hash_password(&nothing, b"").unwrap().to_string();
    let passwords = PasswordCheck::imitating([&nothing]).unwrap();
    assert_eq!(passwords.verify("alice", b"", Some(&nothing)), Ok(()), "it is the hash of nothing");
    let verify = |stretched| passwords.verify_stretched("alice", shown, stretched, Some(&nothing));
    assert_eq!(verify(None), Err(Reason::WrongPassword));
    let stored = moving.stretch("alice", b"password").unwrap().newest();
    assert_eq!(verify(Some(&stored)), Ok(()), "what was sent is good where it is what counts");
}
