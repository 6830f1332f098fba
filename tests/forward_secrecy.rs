//! What a stolen private key opens, and what it does not (SECURITY.md, "Later theft of the private key").

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::client::{self, AwaitChallenge};
use countersign::server::AwaitHello;
use countersign::{ChannelBinding, ClientConfig, Error, Moment, Server, ServerConfig, ServerKey, Suite, Violation};
use std::collections::BTreeSet;
use std::sync::Arc;
use support::wire::{self, ClientHello, ClientLogin, Message, ServerHello, edit};
use support::{LOGIN_AT, RSA2048, Scenario, Sent, TODAY, TestRng, VERDICT_AT, at, error, grant, provider, sealed};

/// What somebody has who answers in the server's place: the public key, and no private one.
fn forger() -> ServerKey {
    ServerKey::public_only(RSA2048.private.public_key().clone())
}

fn forward_secret() -> impl Iterator<Item = Suite> {
    Suite::ALL.into_iter().filter(|suite| suite.key_exchange.is_forward_secret())
}

/// A client that has the key whole.
fn knowing(suite: Suite) -> Scenario {
    Scenario::new().suite(suite).known_key_under(suite.key_exchange)
}

/// What a client says to whoever does this with its hello: whether a login left it.
fn answers(client: AwaitChallenge, scenario: &Scenario, challenge: &[u8]) -> Result<Vec<u8>, Error> {
    scenario.log_in(client, challenge).map(|(login, _)| login)
}

#[test]
fn without_a_proof_whoever_answered_is_refused_and_reads_the_credential_only_with_the_stolen_key() {
    for suite in forward_secret() {
        let forged = Scenario::new().suite(suite).server_key(forger());
        // Now: nothing opens, and the client notices.
        let Sent { login, client, server, .. } = forged.await_verdict();
        let claim = forged.open(server, &login).unwrap();
        assert_eq!(claim.credential().user(), Some(""), "a stand-in");
        let refusal = error(claim.accept(grant()));
        assert_eq!(error(client.read(&refusal.frame, at(VERDICT_AT), TODAY)), Error::VerdictNotAuthentic);

        // Later: the limit that the documents state, so that nobody claims more.
        let Sent { login, server, .. } = forged.await_verdict();
        let open = sealed(server.read(login, at(LOGIN_AT)).unwrap());
        let stolen = RSA2048.decryptor();
        let secret = stolen.decrypt(open.ciphertext(), &mut TestRng::new("later"));
        assert_eq!(open.answer(secret).credential().user(), Some("alice"));
    }
}

#[test]
fn with_a_proof_no_credential_leaves_for_whoever_answers_and_steals_the_key_later() {
    for scenario in forward_secret().map(knowing) {
        let (hello, client) = scenario.await_challenge();
        // With no proof, with one under a secret of his own, and with one that he makes up.
        let forged = scenario.clone().server_key(forger());
        let unproved = forged.await_hello().read(hello.clone(), at(1)).unwrap().choose(&forger()).unwrap();
        let (unproved, _) = unproved.challenge(&mut TestRng::new("forger")).unwrap();
        let (proved, _) = forged.answer(&hello).unwrap();
        let made_up = edit(&proved, |hello: &mut ServerHello| hello.proof = vec![7; 32]);
        let key = RSA2048.private.public_key().id();
        assert_eq!(answers(client, &scenario, &unproved), Err(Error::NoProof(key)));
        for challenge in [proved, made_up] {
            let client = scenario.await_challenge().1;
            assert_eq!(answers(client, &scenario, &challenge), Err(Error::ProofNotAuthentic));
        }
        // All that he has is the hello. The stolen key opens what is sealed in it, and nothing is sealed under that.
        let secret = wire::hello_secret(RSA2048.pem, &hello);
        assert_eq!(secret.len(), 32);
        let said = ClientHello::decode(&hello[3..]).unwrap();
        assert!(said.ticket.is_empty() && said.binder.is_empty());
        assert!(!hello.windows(5).any(|five| five == b"alice"));
    }
}

/// Somebody between the two, who has the server prove itself, and a key share of his own on either side.
#[test]
fn with_a_proof_nobody_puts_a_key_share_of_his_own_in_either_hello() {
    for scenario in forward_secret().map(knowing) {
        let (hello, client) = scenario.await_challenge();
        let own = scenario.clone().seed("the one between").await_challenge().0;
        let own_share = ClientHello::decode(&own[3..]).unwrap().key_shares;
        let with_own = edit(&hello, |hello: &mut ClientHello| hello.key_shares = own_share);
        // The server proves itself to this hello as to any other; its secret belongs to the client's.
        let (challenge, _) = scenario.answer(&with_own).unwrap();
        assert_eq!(answers(client, &scenario, &challenge), Err(Error::ProofNotAuthentic));
        // A hello of his own, and the server's genuine proof in it.
        let (challenge, _) = scenario.answer(&own).unwrap();
        assert_eq!(answers(scenario.await_challenge().1, &scenario, &challenge), Err(Error::ProofNotAuthentic));
        // The server's genuine answer, with his share in it, and as it was.
        for with_own in [true, false] {
            let (hello, client) = scenario.await_challenge();
            let (genuine, _) = scenario.answer(&hello).unwrap();
            let other = scenario.clone().seed("the one between").answer(&hello).unwrap().0;
            let other_share = ServerHello::decode(&other[3..]).unwrap().key_share;
            let changed = edit(&genuine, |hello: &mut ServerHello| hello.key_share = other_share);
            let seen = answers(client, &scenario, if with_own { &changed } else { &genuine });
            assert_eq!(seen.map(drop), if with_own { Err(Error::ProofNotAuthentic) } else { Ok(()) });
        }
    }
}

/// What a recorded login holds for whoever has the key: everything but the exchanges' secret.
fn stolen_credential(scenario: &Scenario) -> Option<Vec<u8>> {
    let sent = scenario.await_verdict();
    let suite = ServerHello::decode(&sent.challenge[3..]).unwrap().suite;
    let login = ClientLogin::decode(&sent.login[3..]).unwrap();
    let front = &sent.login[..3 + 2 + login.rsa_ciphertext.len()];
    let master = wire::master(&wire::hello_secret(RSA2048.pem, &sent.hello), &[0; 32]);
    let key = wire::expand(&master, "credential", &wire::transcript(&[&sent.hello, &sent.challenge, front]), 32);
    wire::open(suite, &key, &[0; 12], b"", &login.sealed_credential)
}

#[test]
fn with_rsa_alone_the_stolen_key_reads_all_that_was_recorded_with_a_proof_or_without() {
    for suite in Suite::ALL.into_iter().filter(|suite| !suite.key_exchange.is_forward_secret()) {
        let read = stolen_credential(&knowing(suite)).unwrap();
        assert!(read.windows(8).any(|eight| eight == b"password"), "{suite}");
    }
    for scenario in forward_secret().map(knowing) {
        assert_eq!(stolen_credential(&scenario), None, "the exchange's secret is not in it");
    }
}

/// A client that was told to go on without a proof is where one with a fingerprint is: no better, and no worse.
#[test]
fn a_client_that_goes_on_without_a_proof_has_the_old_limit() {
    let trust = Server::key(RSA2048.private.public_key().clone()).without_proof();
    let forged = Scenario::new().trust(trust).server_key(forger());
    let (hello, client) = forged.await_challenge();
    let read = forged.await_hello().read(hello, at(1)).unwrap().choose(&forger()).unwrap();
    let (challenge, server) = read.challenge(&mut TestRng::new("forger")).unwrap();
    let login = answers(client, &forged, &challenge).unwrap();
    let open = sealed(server.read(login, at(LOGIN_AT)).unwrap());
    let stolen = RSA2048.decryptor();
    let secret = stolen.decrypt(open.ciphertext(), &mut TestRng::new("later"));
    assert_eq!(open.answer(secret).credential().user(), Some("alice"));
}

/// Who reads one connection's keys reads no other's, and who breaks one key exchange has nothing of the other's.
#[test]
fn every_nonce_and_every_share_is_fresh_and_no_two_have_a_key_in_common() {
    let suites = [Suite::X25519MLKEM768_AES_256_GCM, Suite::X25519_AES_256_GCM];
    let scenario = Scenario::new().client_suites(&suites);
    let mut seen = BTreeSet::new();
    let mut is_new = |what: &str, bytes: &[u8]| assert!(seen.insert(bytes.to_vec()), "{what} was there before");
    let mut rng = TestRng::new("one generator for all");
    let (config, none) = (scenario.client_config(), ChannelBinding::none());
    for _ in 0..3 {
        let (hello, _) = client::start(&config, scenario.trusted(), &none, &mut rng, Moment::ORIGIN).unwrap();
        let said = ClientHello::decode(&hello[3..]).unwrap();
        is_new("the client's nonce", &said.nonce);
        for (exchange, share) in &said.key_shares {
            let (kem, x25519) = share.split_at(share.len() - 32);
            assert_eq!((*exchange, kem.len()), if kem.is_empty() { (2, 0) } else { (3, 1184) });
            is_new("an X25519 key of the client's", x25519);
            if !kem.is_empty() {
                is_new("an encapsulation key", kem);
            }
        }
        // The same hello again, as from whoever recorded it.
        for suite in [suites[0], suites[1], suites[0]] {
            let server = scenario.clone().server_suites(&[suite]);
            let hello = server.await_hello().read(hello.clone(), at(1)).unwrap().choose(&RSA2048.server).unwrap();
            let (challenge, _) = hello.challenge(&mut rng).unwrap();
            let answer = ServerHello::decode(&challenge[3..]).unwrap();
            let (kem, x25519) = answer.key_share.split_at(answer.key_share.len() - 32);
            is_new("the challenge", &answer.nonce);
            is_new("an X25519 key of the server's", x25519);
            if !kem.is_empty() {
                is_new("a ciphertext", kem);
            }
        }
    }
}

#[test]
fn suites_without_forward_secrecy_are_neither_offered_nor_taken_unasked() {
    let none = ChannelBinding::none();
    let (server, client) = (Arc::new(ServerConfig::new(provider())), Arc::new(ClientConfig::new(provider())));
    let mut rng = TestRng::new("nobody asked");
    let (hello, _) = client::start(&client, &RSA2048.trust(), &none, &mut rng, Moment::ORIGIN).unwrap();
    let offered = ClientHello::decode(&hello[3..]).unwrap().suites;
    assert!(!offered.is_empty() && offered.iter().all(|suite| suite >> 8 > 1), "{offered:04x?}");
    for alone in [0x0101, 0x0102] {
        let answer = |suites: Vec<u16>| {
            let hello = edit(&hello, |hello: &mut ClientHello| hello.suites = suites);
            let hello = if ClientHello::decode(&hello[3..]).unwrap().suites == [alone] {
                edit(&hello, |hello: &mut ClientHello| hello.key_shares.clear())
            } else {
                hello
            };
            let hello = AwaitHello::new(&server, &none, Moment::ORIGIN).read(hello, at(1))?.choose(&RSA2048.server)?;
            let (challenge, _) = hello.challenge(&mut TestRng::new("server"))?;
            Ok::<_, Error>(ServerHello::decode(&challenge[3..]).unwrap().suite)
        };
        assert_eq!(answer(vec![alone]), Err(Violation::NoCommonSuite.into()));
        // Nor where the client likes it best.
        let picked = answer([&[alone][..], &offered].concat()).unwrap();
        assert!(offered.contains(&picked), "{picked:04x}");
    }
}
