//! The server awaits a ClientLogin, opens it and has it verified: rules L1 to L10.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::codec::DecodeError;
use countersign::crypto::Decrypted;
use countersign::frame::{FrameError, FrameType};
use countersign::server::{Admitted, AwaitLogin, Claim, Refusal};
use countersign::{Credential, CredentialKind, Error, KeyExchange, Reason, ServerKey, Suite, Violation};
use rsa::Oaep;
use std::sync::Arc;
use support::wire::{self, ClientHello, ClientLogin, Forger, Message, ServerHello, edit, padded};
use support::{
    ALICE, Counting, DEADLINE, FLOOR, HELLO_AT, LOGIN_AT, RSA2048, Scenario, Sent, TODAY, VERDICT_AT, at, error, frame,
    grant, not_that_frame, sealed, verify,
};

/// The client has pinned the key, and has it whole.
fn both() -> [Scenario; 2] {
    [Scenario::new(), Scenario::new().known_key()]
}

/// What a server refuses this ClientLogin with before the RSA operation of a login, which it counts.
fn refused_unopened(login: &[u8]) -> Error {
    let [pinned, known] = both().map(|scenario| refused_by(&scenario, login));
    // After a proof the ciphertext has another length, which may be found first.
    assert!(pinned == known || known == Violation::CiphertextRange.into(), "{pinned}, {known}");
    pinned
}

fn refused_by(scenario: &Scenario, login: &[u8]) -> Error {
    let private = Arc::new(Counting::with(&RSA2048));
    let key = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), private.clone());
    let scenario = scenario.clone().server_key(key);
    let server = scenario.await_login().server;
    let before = private.count();
    let refusal = error(scenario.open(server, login));
    assert_eq!(private.count(), before, "no RSA operation");
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
    assert!(!claim().is_open(), "for logs");
}

/// A not now is what the client can open: after a proof, or once its own ciphertext is opened.
#[test]
fn a_not_now_has_the_size_and_the_moment_of_a_refusal_and_depends_on_nothing_in_the_login() {
    let not_now = || Reason::NotNow("the store is away");
    for scenario in both() {
        let wrong = scenario.clone().credential(Credential::Password { user: "bob", password: b"wrong" });
        for (scenario, reason) in [(&scenario, not_now()), (&wrong, not_now()), (&wrong, Reason::NoAnswer("too late"))]
        {
            let sent = scenario.await_verdict();
            let refusal = scenario.open(sent.server, &sent.login).unwrap().reject(reason.clone());
            is_the_refusal(&refusal);
            assert_eq!(refusal.reason, reason);
            assert_eq!(error(sent.client.read(&refusal.frame, at(VERDICT_AT), TODAY)), Error::NotNow);
        }
    }
    // Before anything is opened: whoever has a proof is told, and nobody else could read it.
    for (scenario, is_proved) in both().into_iter().zip([false, true]) {
        let sent = scenario.await_verdict();
        let login = sent.server.read(sent.login, at(LOGIN_AT)).unwrap();
        assert_eq!(login.is_proved(), is_proved);
        let refusal = login.refuse(not_now());
        if is_proved {
            is_the_refusal(&refusal);
            assert_eq!(error(sent.client.read(&refusal.frame, at(VERDICT_AT), TODAY)), Error::NotNow);
        } else {
            assert_eq!((refusal.frame.len(), refusal.not_before), (0, at(LOGIN_AT)), "closed at once");
        }
        // The queue for the RSA operation is full.
        if !is_proved {
            let sent = scenario.await_verdict();
            let refusal = sealed(sent.server.read(sent.login, at(LOGIN_AT)).unwrap()).refuse(not_now());
            assert!(refusal.frame.is_empty());
        }
    }
    // A login that did not open is told the same as one that did, and the log knows why.
    let known = rsa_alone().known_key_under(KeyExchange::Rsa);
    let sent = known.await_verdict();
    let not_opened = edit(&sent.login, |login: &mut ClientLogin| login.sealed_credential[0] ^= 1);
    let refusal = known.open(sent.server, &not_opened).unwrap().reject(not_now());
    is_the_refusal(&refusal);
    assert_eq!(refusal.reason, Reason::NotOpened);
    let plaintext = [&[2][..], &[0; 2047]].concat();
    assert_eq!(refusal.frame, wire::verdict(RSA2048.pem, [&sent.hello, &sent.challenge, &not_opened], &plaintext));
}

/// Whoever had a proof, and is refused before anything is opened, can read that as any other refusal.
#[test]
fn a_refusal_after_a_proof_opens_at_whoever_knows_the_secret() {
    let known = rsa_alone().known_key_under(KeyExchange::Rsa);
    let genuine = known.await_verdict();
    let longer = |login: &mut ClientLogin| login.sealed_credential.push(0);
    let sealed = |login: &mut ClientLogin| login.rsa_ciphertext = vec![1; 256];
    for (rule, login) in [
        ("L1", [&[1], &genuine.login[1..]].concat()),
        ("L2", frame(3, &[&genuine.login[3..], &[0]].concat())),
        ("L3", edit(&genuine.login, sealed)),
        ("L4", edit(&genuine.login, longer)),
        ("L7", edit(&genuine.login, |login: &mut ClientLogin| login.sealed_credential[7] ^= 1)),
    ] {
        let server = known.await_login().server;
        let refusal = error(known.decide(server, &login));
        is_the_refusal(&refusal);
        // What the client would have computed if it had sent that.
        let reject = wire::verdict_after(RSA2048.pem, [&genuine.hello, &genuine.challenge, &login], &[0; 2048]);
        assert_eq!(refusal.frame, reject, "{rule}");
        // The client sent something else: somebody interfered, and it is not told that its password is wrong.
        let seen = error(known.await_verdict().client.read(&refusal.frame, at(VERDICT_AT), TODAY));
        assert_eq!(seen, Error::VerdictNotAuthentic, "{rule}");
    }
    // Where no frame came of what the client sent, nothing of it counts.
    let refusal = known.await_login().server.fail(FrameError::UnknownType(b'G').into(), at(LOGIN_AT));
    let nothing = wire::verdict_after(RSA2048.pem, [&genuine.hello, &genuine.challenge, &[]], &[0; 2048]);
    assert_eq!(refusal.frame, nothing);
    // What the client did send, and the server refuses before it looks at it.
    for scenario in [known, Scenario::new().known_key()] {
        let sent = scenario.await_verdict();
        let refusal = sent.server.read(sent.login, at(LOGIN_AT)).unwrap().refuse(Reason::NotAdmitted("a rate"));
        is_the_refusal(&refusal);
        assert_eq!(error(sent.client.read(&refusal.frame, at(VERDICT_AT), TODAY)), Error::Refused);
    }
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
    for scenario in both() {
        for (_, cause) in not_that_frame(FrameType::ClientLogin, &[3; 9]) {
            let refusal = scenario.await_login().server.fail(Error::Frame(cause), at(LOGIN_AT));
            assert_eq!(refusal.reason, Reason::Malformed(Error::Frame(cause)));
            is_the_refusal(&refusal);
        }
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
        assert_eq!(refused_by(&Scenario::new(), &login), Violation::CiphertextRange.into(), "{length} bytes");
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
        assert_eq!(refused_by(&Scenario::new(), &login), Violation::CiphertextRange.into());
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
fn l3_after_a_proof_a_ciphertext_is_refused() {
    let known = Scenario::new().known_key();
    let genuine = ClientLogin::decode(&known.await_verdict().login[3..]).unwrap();
    assert!(genuine.rsa_ciphertext.is_empty());
    for length in [1, 255, 256, 257, 1024] {
        let login = ClientLogin { rsa_ciphertext: vec![1; length], ..genuine.clone() };
        assert_eq!(refused_by(&known, &frame(3, &login.encode())), Violation::CiphertextRange.into(), "{length}");
    }
    // One that would open is none the better: the secret is that of the hello.
    let pinned = Scenario::new().await_verdict().login;
    assert_eq!(refused_by(&known, &pinned), Violation::CiphertextRange.into());
    // And without a proof there is no login without one.
    assert_eq!(refused_by(&Scenario::new(), &known.await_verdict().login), Violation::CiphertextRange.into());
}

#[test]
fn l4_a_sealed_credential_of_an_impossible_length_is_refused_before_the_rsa_operation() {
    for scenario in both() {
        let Sent { login, .. } = scenario.await_verdict();
        for length in [0, 1, 15, 16, 17, 256, 271, 273, 288, 512, 4608, 4623, 4608 + 256 + 16] {
            let login = edit(&login, |login: &mut ClientLogin| login.sealed_credential.resize(length, 1));
            assert_eq!(refused_by(&scenario, &login), Violation::SealedLength.into(), "{length} bytes");
        }
        for blocks in 1..=18 {
            let login = edit(&login, |login: &mut ClientLogin| login.sealed_credential.resize(256 * blocks + 16, 1));
            assert!(scenario.await_login().server.read(login, at(LOGIN_AT)).is_ok(), "{blocks} blocks");
        }
    }
}

#[test]
fn l5_a_login_after_the_deadline_is_refused_and_not_answered() {
    for scenario in both() {
        let read = |millis| {
            let Sent { login, server, .. } = scenario.await_verdict();
            assert_eq!(server.deadline(), at(DEADLINE));
            server.read(login, at(millis)).map(drop)
        };
        assert!(read(DEADLINE).is_ok());
        // Whoever opens and verifies it has as much time again, from its arrival on.
        let Sent { login, server, .. } = scenario.await_verdict();
        let login = server.read(login, at(DEADLINE)).unwrap();
        assert_eq!(login.deadline(), at(2 * DEADLINE));
        if let Admitted::Sealed(open) = login.admit() {
            assert_eq!(open.deadline(), at(2 * DEADLINE));
        }
        for late in [DEADLINE + 1, u64::MAX / 2] {
            let refusal = read(late).unwrap_err();
            assert_eq!(refusal.reason, Reason::Malformed(Error::DeadlinePassed));
            assert_eq!((refusal.frame.len(), refusal.not_before), (0, at(late)), "closed at once");
        }
    }
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
fn l6_a_ciphertext_in_the_hello_that_does_not_decrypt_gets_a_wrong_proof_and_a_decoy() {
    let scenario = rsa_alone().known_key_under(KeyExchange::Rsa);
    let (hello, _) = scenario.await_challenge();
    let mut rng = scenario.rng("forger");
    let spki = RSA2048.private.public_key().spki_der();
    // The forger knows what it sealed, and asks whether the server has it: a login under that secret, and its proof.
    let mut is_opened = |plaintext: &dyn Fn(&[u8; 32]) -> Vec<u8>| {
        let mut sealed = Vec::new();
        let hello = wire::reseal(&hello, spki, &mut rng, |bound_to| {
            sealed = plaintext(&bound_to);
            sealed.clone()
        });
        sealed.resize(32, 0);
        let (challenge, _) = scenario.answer(&hello).unwrap();
        let forger = Forger { rsa_secret: sealed[..32].try_into().unwrap(), ..Forger::new(&hello, &challenge) };
        let login = forger.login(&[], &padded(credential(1, b"alice", b"password"), 256));
        let claim = || scenario.open(scenario.answer(&hello).unwrap().1, &login).unwrap();
        let is_proved = wire::prove(&forger.rsa_secret, &hello, &challenge) == challenge;
        let is_good = claim().accept(grant()).is_ok();
        assert_eq!(is_proved, is_good);
        assert_eq!(ServerHello::decode(&challenge[3..]).unwrap().proof.len(), 32);
        if !is_good {
            is_decoy(claim, Reason::NotOpened);
        }
        is_good
    };
    let secret = [7; 32];
    assert!(is_opened(&|hash| [secret, *hash].concat()), "the forger is no fool");
    assert!(!is_opened(&|_| Vec::new()));
    assert!(!is_opened(&|_| secret.to_vec()), "the secret alone");
    assert!(!is_opened(&|hash| [&secret[..], &hash[..31]].concat()), "63 bytes");
    assert!(!is_opened(&|hash| [&secret[..], hash, &[0]].concat()), "65 bytes");
    assert!(!is_opened(&|_| [secret, [0; 32]].concat()), "another hash");
    assert!(!is_opened(&|hash| [&secret[..], &hash[..31], &[hash[31] ^ 1]].concat()), "one bit of it");
    assert!(!is_opened(&|hash| [*hash, secret].concat()), "the other way round");
    assert!(!is_opened(&|_| vec![0; 190]), "all that fits");
    // What does not decrypt at all: the server has another secret, which nobody guesses from the failure.
    let nonsense = edit(&hello, |hello: &mut ClientHello| hello.rsa_ciphertext = vec![0x5a; 256]);
    let (challenge, _) = scenario.answer(&nonsense).unwrap();
    assert_ne!(wire::prove(&[0; 32], &nonsense, &challenge), challenge);
    // A module that does not answer is no other than that.
    let hello = || scenario.await_hello().read(hello.clone(), at(HELLO_AT)).unwrap().choose(&RSA2048.server).unwrap();
    for decrypted in [Decrypted::failed(), Decrypted::new(&[0; 64]), Decrypted::new(&[0; 63]), Decrypted::new(b"")] {
        let opened = hello().open(&mut rng).unwrap().answer(decrypted);
        let (challenge, server) = opened.challenge(&mut rng).unwrap();
        assert_eq!(ServerHello::decode(&challenge[3..]).unwrap().proof.len(), 32);
        let refused = scenario.log_in(scenario.await_challenge().1, &challenge);
        assert_eq!(error(refused), Error::ProofNotAuthentic);
        is_the_refusal(&server.fail(Error::Frame(FrameError::UnknownType(0)), at(LOGIN_AT)));
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
        ("kind 5", credential(5, b"alice", b"password")),
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
        Reason::VerifierFailed,
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
    // Nothing could be sent that the client can open: it would take it for somebody's interference.
    assert_eq!((refusal.frame.len(), refusal.not_before), (0, at(LOGIN_AT)));
    assert_eq!(private.count(), 0);
    // After a proof it can be told; the one operation is that of the hello.
    let key = ServerKey::load(&RSA2048.private, support::provider()).unwrap();
    let Sent { login, server, client, .. } = Scenario::new().server_key(key).known_key().await_verdict();
    let login = server.read(login, at(LOGIN_AT)).unwrap();
    assert!(login.is_proved());
    let refusal = login.refuse(Reason::NotNow("busy"));
    assert_eq!((refusal.frame.len(), refusal.not_before), (2067, at(LOGIN_AT + FLOOR)));
    assert_eq!(error(client.read(&refusal.frame, at(LOGIN_AT), support::TODAY)), Error::NotNow);
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
    assert_eq!(accepted.session.info.login_grant(), &grant());
    assert_eq!(accepted.frame.len(), 2067);
}
