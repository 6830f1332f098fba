//! The server proves itself first: what that costs, what it shows to whom, and what it leaves to nobody.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::{ChannelBinding, Credential, Error, KeyExchange, Reason, Server, ServerKey, Suite};
use rsa::pkcs8::DecodePrivateKey;
use std::collections::BTreeSet;
use std::sync::Arc;
use support::wire::{ClientHello, Message, ServerHello, edit};
use support::{
    ALICE, CHALLENGE_AT, Counting, FLOOR, HELLO_AT, LOGIN_AT, OTHER2048, RSA2048, RSA3072, RSA4096, SUITES, Scenario,
    TODAY, TestKey, TestRng, VERDICT_AT, at, error, verify,
};

/// A scenario whose server's RSA operations are counted.
fn counted(scenario: Scenario, key: &TestKey) -> (Scenario, Arc<Counting>) {
    let private = Arc::new(Counting::with(key));
    let server_key = ServerKey::with_decrypt(key.private.public_key().clone(), private.clone());
    (scenario.server_key(server_key), private)
}

fn both(scenario: Scenario) -> [(Scenario, bool); 2] {
    [(scenario.clone(), false), (scenario.known_key(), true)]
}

#[test]
fn a_login_costs_one_rsa_operation_with_a_proof_and_without() {
    for key in [&RSA2048, &RSA3072, &RSA4096] {
        for (scenario, known) in both(Scenario::new().key(key)) {
            for credential in [ALICE, Credential::Password { user: "bob", password: b"wrong" }] {
                let (scenario, private) = counted(scenario.clone().credential(credential), key);
                let finished = scenario.finish();
                assert_eq!(private.count(), 1, "{known}");
                let proof = ServerHello::decode(&finished.frames[1][3..]).unwrap().proof;
                let of_hello = ClientHello::decode(&finished.frames[0][3..]).unwrap().rsa_ciphertext;
                let of_login = support::wire::ClientLogin::decode(&finished.frames[2][3..]).unwrap().rsa_ciphertext;
                let size = key.private.public_key().bits() / 8;
                let expected = if known { (32, size, 0) } else { (0, 0, size) };
                assert_eq!((proof.len(), of_hello.len(), of_login.len()), expected);
                let client = finished.client.map(|session| session.info.is_proved());
                assert_eq!(client, if credential.user() == Some("alice") { Ok(known) } else { Err(Error::Refused) });
            }
        }
    }
}

/// The three that a stranger may try to tell apart: a secret that opens, one for another connection, and nonsense.
#[test]
fn a_secret_that_does_not_open_costs_what_one_costs_that_does_and_looks_the_same() {
    for suite in [Suite::X25519_AES_256_GCM, Suite::RSA_CHACHA20_POLY1305, Suite::X25519MLKEM768_AES_256_GCM] {
        let scenario = Scenario::new().suite(suite).known_key_under(suite.key_exchange);
        let of_another = ClientHello::decode(&scenario.clone().seed("another").await_challenge().0[3..]).unwrap();
        let changes: [(&str, Option<Vec<u8>>); 4] = [
            ("opens", None),
            ("another connection's", Some(of_another.rsa_ciphertext)),
            ("nonsense", Some(vec![0x5a; 256])),
            ("zero", Some(vec![0; 256])),
        ];
        let any_login = scenario.await_verdict().login;
        let seen = changes.map(|(name, ciphertext)| {
            let (hello, client) = scenario.await_challenge();
            let hello = edit(&hello, |hello: &mut ClientHello| {
                hello.rsa_ciphertext = ciphertext.clone().unwrap_or(hello.rsa_ciphertext.clone());
            });
            let (scenario, private) = counted(scenario.clone(), &RSA2048);
            let (challenge, server) = scenario.answer(&hello).unwrap();
            assert_eq!(private.count(), 1, "{name}");
            let mut answer = ServerHello::decode(&challenge[3..]).unwrap();
            assert_eq!(answer.proof.len(), 32, "{name}");
            // Only its own client can tell.
            let logged_in = scenario.log_in(client, &challenge).map(|(login, _)| login);
            let is_wrong = matches!(&logged_in, Err(Error::ProofNotAuthentic));
            assert_eq!((logged_in.is_ok(), is_wrong), (ciphertext.is_none(), ciphertext.is_some()), "{name}");
            let login = logged_in.unwrap_or_else(|_| any_login.clone());
            // The login after it: without another operation, up to the same verifier and the same refusal.
            let claim = scenario.open(server, &login).unwrap();
            let user = claim.credential().user().map(str::to_owned);
            assert_eq!(user.as_deref(), Some(if ciphertext.is_none() { "alice" } else { "" }), "{name}");
            assert_eq!(verify(claim.credential()).is_ok(), ciphertext.is_none(), "{name}");
            let refusal = claim.reject(Reason::WrongPassword);
            assert_eq!(refusal.reason == Reason::NotOpened, ciphertext.is_some(), "{name}");
            assert_eq!(private.count(), 1, "{name}");
            answer.proof.clear();
            // ML-KEM encapsulates to the client's key, which AWS-LC makes anew each time.
            answer.key_share.truncate(0);
            let length = challenge.len();
            // All but the proof and that is the same bytes.
            (length, answer, refusal.frame.len(), refusal.not_before)
        });
        assert!(seen.iter().all(|one| *one == seen[0]), "{suite}");
    }
}

#[test]
fn what_a_failed_operation_puts_in_the_place_of_a_secret_is_another_each_time() {
    let scenario = Scenario::new().known_key();
    let hello = edit(&scenario.await_challenge().0, |hello: &mut ClientHello| hello.rsa_ciphertext = vec![9; 256]);
    let mut rng = TestRng::new("fallbacks");
    let mut proofs = BTreeSet::new();
    for _ in 0..8 {
        let read = scenario.await_hello().read(hello.clone(), at(HELLO_AT)).unwrap().choose(&RSA2048.server).unwrap();
        let opened = read.open(&mut rng).unwrap().run(&mut TestRng::new("the same blinding"));
        // The same nonce and the same shares: the secret alone is another.
        let (challenge, _) = opened.challenge(&mut TestRng::new("the same answer")).unwrap();
        proofs.insert(ServerHello::decode(&challenge[3..]).unwrap().proof);
    }
    assert_eq!(proofs.len(), 8);
}

/// A proof is made under one connection's everything: an oracle for secrets of other connections it is not.
#[test]
fn a_secret_off_another_connection_opens_nothing_whoever_shows_it() {
    let victim = Scenario::new().known_key();
    let recorded = ClientHello::decode(&victim.await_challenge().0[3..]).unwrap();
    let genuine = victim.await_verdict().login;
    let changes: [fn(&mut ClientHello); 5] = [
        |hello| hello.nonce[0] ^= 1,
        |hello| hello.key_shares[0].1[0] ^= 1,
        |hello| hello.suites.reverse(),
        |hello| hello.server_name = b"other.example".to_vec(),
        |hello| hello.extensions.push((9, vec![])),
    ];
    for change in changes {
        let mut hello = recorded.clone();
        change(&mut hello);
        let (challenge, server) = victim.answer(&support::frame(1, &hello.encode())).unwrap();
        let client = victim.await_challenge().1.read(&challenge, at(CHALLENGE_AT)).map(drop);
        assert_eq!(client, Err(Error::ProofNotAuthentic));
        assert_eq!(error(victim.decide(server, &genuine)).reason, Reason::NotOpened);
    }
}

/// The contexts are a help for honest ends. Somebody who makes them agree on the way gets no further.
#[test]
fn whoever_makes_two_contexts_agree_gets_no_login_and_no_credential_after_a_proof() {
    let tls = |byte| ChannelBinding::tls_exporter([byte; 32]);
    for scenario in
        [Scenario::new().prologues(b"mine 1", b"mine 2"), Scenario::new().bindings(tls(1), tls(2)).suite(SUITES[1])]
    {
        for (scenario, known) in both(scenario) {
            let context = |server: bool| {
                let hello = ClientHello::decode(&scenario.await_challenge().0[3..]).unwrap();
                let answer = scenario.answer(&scenario.await_challenge().0).unwrap().0;
                if server { ServerHello::decode(&answer[3..]).unwrap().context } else { hello.context }
            };
            let (hello, client) = scenario.await_challenge();
            let hello = edit(&hello, |hello: &mut ClientHello| hello.context = context(true));
            let (challenge, server) = scenario.answer(&hello).unwrap();
            let challenge = edit(&challenge, |hello: &mut ServerHello| hello.context = context(false));
            match scenario.log_in(client, &challenge) {
                Err(error) => assert_eq!((error, known), (Error::ProofNotAuthentic, true)),
                Ok((login, client)) => {
                    assert!(!known);
                    let refusal = error(scenario.decide(server, &login));
                    assert_eq!(refusal.reason, Reason::NotOpened);
                    let seen = error(client.read(&refusal.frame, at(VERDICT_AT), TODAY));
                    assert_eq!(seen, Error::VerdictNotAuthentic);
                }
            }
        }
    }
}

#[test]
fn an_answer_is_held_back_where_somebody_elses_operation_could_show_by_its_time_what_it_found() {
    let scenario = Scenario::new().known_key();
    let (elsewhere, _) = counted(scenario.clone(), &RSA2048);
    let hello = scenario.await_challenge().0;
    let opened = |scenario: &Scenario| scenario.hello(&hello).unwrap().not_before();
    assert_eq!((opened(&scenario), opened(&elsewhere)), (at(HELLO_AT), at(HELLO_AT + FLOOR)));
    // Nothing was opened: there is nothing to see.
    let read = elsewhere.await_hello().read(hello.clone(), at(HELLO_AT)).unwrap();
    let closed = read.choose(&OTHER2048.server).unwrap();
    assert!(!closed.is_sealed());
    assert_eq!(closed.not_before(), at(HELLO_AT));
}

#[test]
fn each_hello_brings_a_secret_of_its_own() {
    let hello = |seed| ClientHello::decode(&Scenario::new().known_key().seed(seed).await_challenge().0[3..]).unwrap();
    let secret = |seed| {
        let frame = Scenario::new().known_key().seed(seed).await_challenge().0;
        support::wire::hello_secret(RSA2048.pem, &frame)
    };
    assert_ne!(hello("one").rsa_ciphertext, hello("two").rsa_ciphertext);
    assert_ne!(secret("one"), secret("two"));
    // What stood in a hello that got no proof is not used again in the login (PROTOCOL.md, "ClientLogin").
    let scenario = Scenario::new().trust(Server::key(RSA2048.private.public_key().clone()).without_proof());
    let (frame, client) = scenario.await_challenge();
    let hello = scenario.await_hello().read(frame.clone(), at(HELLO_AT)).unwrap().choose(&RSA2048.server).unwrap();
    assert!(hello.is_sealed());
    let (challenge, server) = hello.challenge(&mut scenario.rng("server")).unwrap();
    let (login, client) = scenario.log_in(client, &challenge).unwrap();
    let sealed = support::wire::ClientLogin::decode(&login[3..]).unwrap().rsa_ciphertext;
    let mut rng = TestRng::new("blinding");
    let key = RSA2048.decryptor();
    let claim = support::sealed(server.read(login, at(LOGIN_AT)).unwrap()).answer(key.decrypt(&sealed, &mut rng));
    assert_ne!(sealed, ClientHello::decode(&frame[3..]).unwrap().rsa_ciphertext);
    let private = rsa::PrivateKey::from_pkcs8_pem(RSA2048.pem).unwrap();
    let of_login = private.decrypt(rsa::Oaep::<sha2::Sha256>::new(), &sealed).unwrap();
    assert_ne!(of_login[..32], support::wire::hello_secret(RSA2048.pem, &frame));
    let accepted = claim.accept(support::grant()).unwrap();
    assert!(!client.read(&accepted.frame, at(VERDICT_AT), TODAY).unwrap().info.is_proved());
}

#[test]
fn the_secret_is_sealed_to_the_first_of_the_keys_that_are_known() {
    let [one, two] = [&RSA2048, &OTHER2048].map(|key| Server::key(key.private.public_key().clone()));
    let pinned_first = RSA2048.trust().or(two.clone());
    for (trust, key, listed) in
        [(one.clone().or(two.clone()), &RSA2048, 2), (two.or(one), &OTHER2048, 2), (pinned_first, &OTHER2048, 1)]
    {
        let scenario = Scenario::new().server_key(key.server.clone()).trust(trust);
        let hello = ClientHello::decode(&scenario.await_challenge().0[3..]).unwrap();
        assert_eq!((hello.known_keys.len(), hello.known_keys[0]), (listed, *key.private.public_key().id().as_bytes()));
        assert!(scenario.finish().client.unwrap().info.is_proved());
    }
}

const SEEDS: u32 = 64;

/// Both ends send, now and then, what nobody may understand; both skip it, and log in.
#[test]
fn reserved_extensions_are_sent_now_and_then_by_both_ends_and_skipped() {
    let [mut of_clients, mut of_servers] = [BTreeSet::new(), BTreeSet::new()];
    for number in 0..SEEDS {
        for known in [false, true] {
            let scenario = Scenario::new().seed(format!("reserved {number}").leak());
            let scenario = if known { scenario.known_key() } else { scenario };
            let finished = scenario.finish();
            assert!(finished.client.is_ok() && finished.server.is_ok());
            let hello = ClientHello::decode(&finished.frames[0][3..]).unwrap();
            let answer = ServerHello::decode(&finished.frames[1][3..]).unwrap();
            for (nonce, extensions, seen) in
                [(hello.nonce, hello.extensions, &mut of_clients), (answer.nonce, answer.extensions, &mut of_servers)]
            {
                assert_eq!(extensions.len(), usize::from(nonce[31] % 8 == 0), "one in eight");
                for (number, data) in extensions {
                    let [high, low] = number.to_be_bytes();
                    assert!(high == low && low & 0x0f == 0x0a && data.is_empty(), "{number:04x}");
                    seen.insert(number);
                }
            }
        }
    }
    assert!(of_clients.len() > 2 && of_servers.len() > 2, "{of_clients:?} {of_servers:?}");
}

#[test]
fn a_client_without_the_key_is_told_it_and_has_it_proved_from_the_next_login_on() {
    let first = Scenario::new().finish().client.unwrap();
    assert!(!first.info.is_proved());
    let key = first.info.server_key().unwrap().clone();
    assert_eq!(&key, RSA2048.private.public_key());
    let next = Scenario::new().trust(Server::key(key)).finish().client.unwrap();
    assert!(next.info.is_proved());
    // Under the floor that it was told.
    let scenario = Scenario::new().known_key_under(KeyExchange::X25519MlKem768);
    assert_eq!(
        error(scenario.challenge().trust(scenario.trusted(), TODAY)),
        Error::UnderFloor(Suite::X25519_AES_256_GCM)
    );
}
