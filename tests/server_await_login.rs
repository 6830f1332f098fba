//! The server awaits a ClientLogin, opens it and has it verified: rules L1 to L10.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::codec::DecodeError;
use countersign::crypto::Decrypted;
use countersign::frame::FrameType;
use countersign::server::{AwaitLogin, Claim, Refusal};
use countersign::{Credential, CredentialKind, Error, Reason, ServerKey, Suite, Violation};
use rsa::Oaep;
use std::sync::Arc;
use support::wire::{ClientLogin, Forger, Message, edit, padded};
use support::{
    ALICE, Counting, DEADLINE, FLOOR, LOGIN_AT, RSA2048, Scenario, Sent, at, error, frame, grant, not_that_frame,
    sealed, verify,
};

/// What a server refuses this ClientLogin with before the RSA operation, which it counts.
fn refused_unopened(login: &[u8]) -> Error {
    let private = Arc::new(Counting::default());
    let key = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), private.clone());
    let scenario = Scenario::new().server_key(key);
    let refusal = error(scenario.open(scenario.await_login().server, login));
    assert_eq!(private.count(), 0, "no RSA operation");
    is_the_refusal(&refusal);
    match refusal.reason {
        Reason::Malformed(error) => error,
        other => panic!("{other}"),
    }
}

fn is_the_refusal(refusal: &Refusal) {
    assert_eq!((refusal.frame.len(), refusal.frame[0]), (2067, 4));
    assert_eq!(refusal.not_before, at(LOGIN_AT + FLOOR));
}

/// A claim that did not open is a decoy: accepting it refuses it, and rejecting it keeps the reason it has.
fn is_decoy(claim: impl Fn() -> Claim, reason: Reason) {
    for refusal in [claim().reject(Reason::Application("another")), error(claim().accept(grant()))] {
        assert_eq!(refusal.reason, reason);
        is_the_refusal(&refusal);
    }
    assert!(matches!(claim().credential(), Credential::Password { user: "", password: b"" }));
    assert_eq!(verify(claim().credential()), Err(Reason::UnknownUser));
}

fn rsa_alone() -> Scenario {
    Scenario::new().suite(Suite::RSA_CHACHA20_POLY1305)
}

#[test]
fn l1_anything_but_a_client_login_frame_is_refused() {
    let Sent { login, .. } = Scenario::new().await_verdict();
    for (bytes, expected) in not_that_frame(FrameType::ClientLogin, &login) {
        assert_eq!(refused_unopened(&bytes), Error::Frame(expected), "{:?}", bytes.get(..8));
    }
    assert_eq!(AwaitLogin::EXPECTS, [FrameType::ClientLogin]);
}

#[test]
fn l1_a_stream_without_a_frame_gets_the_refusal_too() {
    for (_, cause) in not_that_frame(FrameType::ClientLogin, &[3; 9]) {
        let refusal = Scenario::new().await_login().server.fail(Error::Frame(cause), at(LOGIN_AT));
        assert_eq!(refusal.reason, Reason::Malformed(Error::Frame(cause)));
        is_the_refusal(&refusal);
    }
}

#[test]
fn l2_a_body_that_is_not_exactly_one_client_login_is_refused() {
    let body = Scenario::new().await_verdict().login[3..].to_vec();
    for cut in FrameType::ClientLogin.min_body()..body.len() {
        assert_eq!(refused_unopened(&frame(3, &body[..cut])), Error::Decode(DecodeError::Truncated), "cut at {cut}");
    }
    for extra in [1, 16, 256] {
        let longer = [&body[..], &vec![0; extra]].concat();
        assert_eq!(refused_unopened(&frame(3, &longer)), Error::Decode(DecodeError::Trailing(extra)));
    }
}

#[test]
fn l3_a_ciphertext_as_long_as_no_modulus_is_refused_before_the_rsa_operation() {
    let Sent { login, .. } = Scenario::new().await_verdict();
    for length in [0, 1, 64, 128, 255, 257, 384, 512, 1024] {
        let login = edit(&login, |login: &mut ClientLogin| login.rsa_ciphertext.resize(length, 1));
        assert_eq!(refused_unopened(&login), Violation::CiphertextRange.into(), "{length} bytes");
    }
}

#[test]
fn l3_a_ciphertext_not_below_the_modulus_is_refused_before_the_rsa_operation() {
    let Sent { login, .. } = Scenario::new().await_verdict();
    let modulus = RSA2048.private.public_key().modulus().to_vec();
    let mut above = modulus.clone();
    *above.last_mut().unwrap() += 1;
    for ciphertext in [modulus.clone(), above, vec![0xff; 256]] {
        let login = edit(&login, |login: &mut ClientLogin| login.rsa_ciphertext = ciphertext);
        assert_eq!(refused_unopened(&login), Violation::CiphertextRange.into());
    }
    // The largest and the smallest there are: tried, and not opened.
    let mut below = modulus;
    *below.last_mut().unwrap() -= 1;
    for ciphertext in [below, vec![0; 256], [&[0; 255][..], &[1]].concat()] {
        let login = edit(&login, |login: &mut ClientLogin| login.rsa_ciphertext = ciphertext);
        is_decoy(|| Scenario::new().open(Scenario::new().await_login().server, &login).unwrap(), Reason::NotOpened);
    }
}

#[test]
fn l4_a_sealed_credential_of_an_impossible_length_is_refused_before_the_rsa_operation() {
    let Sent { login, .. } = Scenario::new().await_verdict();
    for length in [0, 1, 15, 16, 17, 256, 271, 273, 288, 512, 4608, 4623] {
        let login = edit(&login, |login: &mut ClientLogin| login.sealed_credential.resize(length, 1));
        assert_eq!(refused_unopened(&login), Violation::SealedLength.into(), "{length} bytes");
    }
    let too_long = edit(&login, |login: &mut ClientLogin| login.sealed_credential.resize(4608 + 256 + 16, 1));
    assert_eq!(refused_unopened(&too_long), Violation::SealedLength.into());
    for blocks in 1..=18 {
        let login = edit(&login, |login: &mut ClientLogin| login.sealed_credential.resize(256 * blocks + 16, 1));
        let scenario = Scenario::new();
        assert!(scenario.await_login().server.read(login, at(LOGIN_AT)).is_ok(), "{blocks} blocks");
    }
}

#[test]
fn l5_a_login_after_the_deadline_is_refused() {
    let read = |millis| {
        let Sent { login, server, .. } = Scenario::new().await_verdict();
        assert_eq!(server.deadline(), at(DEADLINE));
        server.read(login, at(millis)).map(drop)
    };
    assert!(read(DEADLINE).is_ok());
    let refusal = read(DEADLINE + 1).unwrap_err();
    assert_eq!(refusal.reason, Reason::Malformed(Error::DeadlinePassed));
    assert_eq!(refusal.not_before, at(DEADLINE + 1 + FLOOR));
    assert_eq!(refusal.frame.len(), 1555);
}

#[test]
fn l6_a_ciphertext_that_does_not_decrypt_is_not_opened() {
    let scenario = rsa_alone();
    let hellos = scenario.await_login();
    let forger = Forger::new(&hellos.hello, &hellos.challenge);
    let credential = padded(credential(1, b"alice", b"password"), 256);
    let mut rng = scenario.rng("forger");
    let mut encrypt = |plaintext: &[u8], padding| forger.encrypt(plaintext, padding, &mut rng);
    let good = forger.bound_secret();
    let [secret, hash] = [&good[..32], &good[32..]];
    let cases = [
        ("no OAEP at all", vec![0x5a; 256]),
        ("OAEP with a label", encrypt(&good, Oaep::new_with_label(b"countersign".to_vec()))),
        ("empty", encrypt(b"", Oaep::new())),
        ("the secret alone", encrypt(secret, Oaep::new())),
        ("63 bytes", encrypt(&good[..63], Oaep::new())),
        ("65 bytes", encrypt(&[&good[..], &[0]].concat(), Oaep::new())),
        ("all that fits", encrypt(&[0; 190], Oaep::new())),
        ("another hash", encrypt(&[secret, &[0; 32]].concat(), Oaep::new())),
        ("one bit of the hash", encrypt(&[secret, &hash[..31], &[hash[31] ^ 1]].concat(), Oaep::new())),
        ("the other way round", encrypt(&[hash, secret].concat(), Oaep::new())),
    ];
    for (name, ciphertext) in cases {
        println!("{name}");
        let login = forger.login(&ciphertext, &credential);
        is_decoy(|| scenario.open(scenario.await_login().server, &login).unwrap(), Reason::NotOpened);
    }
    // The forger is no fool: with the right ciphertext the very same login is accepted.
    let login = forger.login(&encrypt(&good, Oaep::new()), &credential);
    assert!(scenario.decide(scenario.await_login().server, &login).is_ok());
}

#[test]
fn l6_a_module_that_does_not_answer_is_not_opened() {
    let open = |decrypted: Decrypted| {
        let Sent { login, server, .. } = Scenario::new().await_verdict();
        sealed(server.read(login, at(LOGIN_AT)).unwrap()).answer(decrypted)
    };
    is_decoy(|| open(Decrypted::failed()), Reason::NotOpened);
    for plaintext in [&[0; 64][..], &[0; 63], &[0; 65], b""] {
        is_decoy(|| open(Decrypted::new(plaintext)), Reason::NotOpened);
    }
}

#[test]
fn l6_what_somebody_else_decrypted_opens_the_login() {
    let scenario = rsa_alone();
    let hellos = scenario.await_login();
    let forger = Forger::new(&hellos.hello, &hellos.challenge);
    let login = forger.login_with(&padded(credential(1, b"alice", b"password"), 256), &mut scenario.rng("forger"));
    let open = sealed(hellos.server.read(login.clone(), at(LOGIN_AT)).unwrap());
    assert_eq!(open.ciphertext(), ClientLogin::decode(&login[3..]).unwrap().rsa_ciphertext);
    assert_eq!(open.key().public_key(), RSA2048.private.public_key());
    let claim = open.answer(Decrypted::new(&forger.bound_secret()));
    assert!(matches!(claim.credential(), Credential::Password { user: "alice", password: b"password" }));
    assert_eq!(claim.suite(), Suite::RSA_CHACHA20_POLY1305);
}

#[test]
fn l7_a_sealed_credential_that_does_not_open_is_refused() {
    let scenario = rsa_alone();
    let hellos = scenario.await_login();
    let mut forger = Forger::new(&hellos.hello, &hellos.challenge);
    let ciphertext = forger.encrypt(&forger.bound_secret(), Oaep::new(), &mut scenario.rng("forger"));
    let credential = padded(credential(1, b"alice", b"password"), 256);
    let good = forger.login(&ciphertext, &credential);
    let flip = |at: usize| {
        edit(&good, |login: &mut ClientLogin| {
            let at = at % login.sealed_credential.len();
            login.sealed_credential[at] ^= 0x80;
        })
    };
    // Under the key of another secret.
    forger.rsa_secret = [8; 32];
    let other_key = forger.login(&ciphertext, &credential);
    for login in [flip(0), flip(255), flip(256), flip(271), other_key] {
        is_decoy(|| scenario.open(scenario.await_login().server, &login).unwrap(), Reason::NotOpened);
    }
}

fn credential(kind: u8, user: &[u8], secret: &[u8]) -> Vec<u8> {
    support::wire::Credential { kind, user: user.to_vec(), secret: secret.to_vec() }.encode()
}

#[test]
fn l8_a_credential_that_breaks_its_rules_is_refused() {
    let scenario = rsa_alone();
    let hellos = scenario.await_login();
    let forger = Forger::new(&hellos.hello, &hellos.challenge);
    let cases = [
        ("kind 0", credential(0, b"alice", b"password")),
        ("kind 3, set aside", credential(3, b"alice", b"password")),
        ("kind 255", credential(255, b"", b"password")),
        ("a password without a user", credential(1, b"", b"password")),
        ("a user of 256 bytes", credential(1, &[b'a'; 256], b"password")),
        ("a user with NUL", credential(1, b"ali\0ce", b"password")),
        ("a user with a line feed", credential(1, b"alice\n", b"password")),
        ("a user with DEL", credential(1, b"alice\x7f", b"password")),
        ("a user with U+0085", credential(1, "alice\u{85}".as_bytes(), b"password")),
        ("a user that is not UTF-8", credential(1, b"alice\xff", b"password")),
        ("a token with a user", credential(2, b"alice", b"a token")),
        ("an empty password", credential(1, b"alice", b"")),
        ("an empty token", credential(2, b"", b"")),
        ("a password of 4097 bytes", credential(1, b"a", &[1; 4097])),
        ("a token of 4097 bytes", credential(2, b"", &[1; 4097])),
        ("only zeros", vec![0; 256]),
        ("a user longer than the message", [&[1, 0xff, 0xff][..], &[b'a'; 200]].concat()),
        ("a secret longer than the message", [&[1, 0, 1, b'a', 0x10, 0][..], &[1; 200]].concat()),
    ];
    for (name, plaintext) in cases {
        println!("{name}");
        let login = forger.login_with(&padded(plaintext, 256), &mut scenario.rng("forger"));
        is_decoy(|| scenario.open(scenario.await_login().server, &login).unwrap(), Reason::NotOpened);
    }
}

#[test]
fn l8_padding_that_is_not_zeros_up_to_the_next_block_is_refused() {
    let scenario = rsa_alone();
    let hellos = scenario.await_login();
    let forger = Forger::new(&hellos.hello, &hellos.challenge);
    let good = credential(1, b"alice", b"password");
    let with_byte = |at: usize| {
        let mut plaintext = padded(good.clone(), 256);
        plaintext[at] = 1;
        plaintext
    };
    let whole_block = credential(1, b"alice", &[b'x'; 256 - 10]);
    assert_eq!(whole_block.len(), 256);
    let cases = [
        ("the first byte of padding", with_byte(good.len())),
        ("the last byte of padding", with_byte(255)),
        ("a block of padding too many", padded([&padded(good.clone(), 256)[..], &[0]].concat(), 256)),
        ("a block of padding after a full one", padded([&whole_block[..], &[0]].concat(), 256)),
        ("a second credential for padding", padded([&good[..], &good].concat(), 256)),
    ];
    for (name, plaintext) in cases {
        println!("{name}");
        let login = forger.login_with(&plaintext, &mut scenario.rng("forger"));
        is_decoy(|| scenario.open(scenario.await_login().server, &login).unwrap(), Reason::NotOpened);
    }
    // No padding at all, where the credential ends on a block, is as it should be.
    let login = forger.login_with(&whole_block, &mut scenario.rng("forger"));
    let claim = scenario.open(scenario.await_login().server, &login).unwrap();
    assert!(matches!(claim.credential(), Credential::Password { user: "alice", .. }));
}

#[test]
fn the_longest_and_the_shortest_credentials_arrive_as_they_were_sent() {
    const LONG: &[u8] = &[0xc3; 4096];
    let long_user: &str = "\u{e9}".repeat(127).leak();
    for sent in [
        Credential::Password { user: "a", password: b"\0" },
        Credential::Password { user: long_user, password: LONG },
        Credential::Token(LONG),
        Credential::Token(b"1"),
    ] {
        let claim = Scenario::new().credential(sent).claim();
        match (sent, claim.credential()) {
            (Credential::Password { user, password }, Credential::Password { user: u, password: p }) => {
                assert_eq!((user, password), (u, p));
            }
            (Credential::Token(sent), Credential::Token(arrived)) => assert_eq!(sent, arrived),
            _ => panic!("another kind"),
        }
    }
}

#[test]
fn l9_a_credential_of_a_kind_that_this_server_does_not_take_is_refused() {
    let (password, token) = (CredentialKind::Password, CredentialKind::Token);
    for (taken, kind, user, secret) in
        [(token, password, &b"alice"[..], &b"password"[..]), (password, token, b"", b"a token")]
    {
        let scenario = rsa_alone().server_kinds(&[taken]);
        let hellos = scenario.await_login();
        let forger = Forger::new(&hellos.hello, &hellos.challenge);
        let plaintext = padded(credential(kind.number(), user, secret), 256);
        let login = forger.login_with(&plaintext, &mut scenario.rng("forger"));
        let claim = || scenario.open(scenario.await_login().server, &login).unwrap();
        assert_eq!(claim().credential().kind(), taken, "the decoy is of a kind that is taken");
        assert!(verify(claim().credential()).is_err());
        assert_eq!(error(claim().accept(grant())).reason, Reason::KindNotTaken(kind));
        let refusal = claim().reject(Reason::UnknownUser);
        assert_eq!(refusal.reason, Reason::KindNotTaken(kind));
        is_the_refusal(&refusal);
    }
}

#[test]
fn l10_a_credential_that_is_not_good_is_refused() {
    for (credential, reason) in [
        (Credential::Password { user: "alice", password: b"Password" }, Reason::WrongPassword),
        (Credential::Password { user: "alice", password: b"password\0" }, Reason::WrongPassword),
        (Credential::Password { user: "Alice", password: b"password" }, Reason::UnknownUser),
        (Credential::Token(b"another token"), Reason::UnknownToken),
    ] {
        let scenario = Scenario::new().credential(credential);
        let Sent { login, server, .. } = scenario.await_verdict();
        let refusal = error(scenario.decide(server, &login));
        assert_eq!(refusal.reason, reason);
        is_the_refusal(&refusal);
    }
}

#[test]
fn l10_every_reason_of_the_application_s_reaches_its_log_and_nobody_else() {
    for reason in [
        Reason::AccountDisabled,
        Reason::NotNow("the account store is unavailable"),
        Reason::Application("after hours"),
        Reason::NotAdmitted("too many tries"),
    ] {
        let scenario = Scenario::new();
        let login = scenario.await_verdict().login;
        let claim = || scenario.open(scenario.await_login().server, &login).unwrap();
        let refusal = claim().reject(reason.clone());
        assert_eq!(refusal.reason, reason);
        is_the_refusal(&refusal);
        let same = claim().reject(Reason::WrongPassword);
        assert_eq!(refusal.frame, same.frame, "the reason is not in the bytes");
    }
}

#[test]
fn a_login_that_is_not_admitted_costs_no_rsa_operation() {
    let private = Arc::new(Counting::default());
    let key = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), private.clone());
    let scenario = Scenario::new().server_key(key);
    let Sent { login, server, .. } = scenario.await_verdict();
    let refusal = server.read(login, at(LOGIN_AT)).unwrap().refuse(Reason::NotAdmitted("busy"));
    assert_eq!(refusal.reason, Reason::NotAdmitted("busy"));
    is_the_refusal(&refusal);
    assert_eq!(private.count(), 0);
}

#[test]
fn the_rsa_operation_can_be_done_on_another_thread() {
    let scenario = Scenario::new();
    let Sent { login, server, .. } = scenario.await_verdict();
    let open = sealed(server.read(login, at(LOGIN_AT)).unwrap());
    let mut rng = scenario.rng("blinding");
    let claim = std::thread::spawn(move || open.run(&mut rng)).join().unwrap();
    assert!(matches!((claim.credential(), ALICE), (Credential::Password { user, .. }, _) if user == "alice"));
    let accepted = claim.accept(grant()).unwrap();
    assert_eq!(accepted.session.info.grant(), &grant());
    assert_eq!(accepted.frame.len(), 2067);
}
