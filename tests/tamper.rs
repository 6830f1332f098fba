//! Somebody on the way: frames cut, altered bit by bit, repeated, reordered, and swapped between connections. Whatever
//! they do, nothing panics, neither side accepts, and no login is sent to another key.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::client::AwaitVerdict;
use countersign::frame::{FrameError, FrameReader, FrameType};
use countersign::server::{AwaitHello, AwaitLogin, Refusal};
use countersign::{Credential, CredentialKind, Error, KeyExchange, Reason, Session, Suite};
use rsa::Oaep;
use std::ops::Range;
use support::wire::{ClientLogin, Forger, Message, ServerHello, edit, padded};
use support::{
    CHALLENGE_AT, FLOOR, HELLO_AT, LOGIN_AT, RSA2048, Scenario, TODAY, VERDICT_AT, at, error, frame, verify,
};

/// One suite of each key exchange, with both AEADs between them.
fn families() -> [Scenario; 2] {
    [Suite::X25519_AES_256_GCM, Suite::RSA_CHACHA20_POLY1305].map(|suite| Scenario::new().suite(suite))
}

/// The same, by clients that have the server's key whole: the server proves itself first.
fn proved() -> [Scenario; 2] {
    [KeyExchange::X25519, KeyExchange::Rsa]
        .into_iter()
        .zip(families())
        .map(|(floor, scenario)| scenario.known_key_under(floor))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|_| panic!("two"))
}

fn all() -> impl Iterator<Item = Scenario> {
    families().into_iter().chain(proved())
}

/// A client that has sent its login, without the work of its server.
fn sent(scenario: &Scenario, challenge: &[u8]) -> AwaitVerdict {
    scenario.log_in(scenario.await_challenge().1, challenge).unwrap().1
}

/// Does `work` for each number, on two threads.
fn for_each(numbers: Range<usize>, work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for first in 0..2 {
            let (work, numbers) = (&work, numbers.clone());
            scope.spawn(move || numbers.skip(first).step_by(2).for_each(work));
        }
    });
}

fn flipped(frame: &[u8], bit: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[bit / 8] ^= 1 << (bit % 8);
    frame
}

/// Whether anybody was let in, and what the client saw.
struct Outcome {
    sent_login: bool,
    server: Option<Refusal>,
    client: Error,
}

/// A handshake with each frame replaced on the way. Panics where either side accepts.
fn handshake(scenario: &Scenario, replace: impl Fn(usize, Vec<u8>) -> Vec<u8>) -> Outcome {
    let gone = |sent_login, client| Outcome { sent_login, server: None, client };
    let (hello, client) = scenario.await_challenge();
    let (challenge, server) = match scenario.answer(&replace(1, hello)) {
        Ok(answer) => answer,
        Err(error) => return gone(false, error),
    };
    let (login, client) = match scenario.log_in(client, &replace(2, challenge)) {
        Ok(login) => login,
        Err(error) => return gone(false, error),
    };
    let refusal = match scenario.decide(server, &replace(3, login)) {
        Ok(_) => panic!("the server accepted"),
        Err(refusal) => refusal,
    };
    let client = match client.read(&replace(4, refusal.frame.clone()), at(VERDICT_AT), TODAY) {
        Ok(_) => panic!("the client accepted"),
        Err(error) => error,
    };
    Outcome { sent_login: true, server: Some(refusal), client }
}

#[test]
fn without_an_attacker_both_sides_accept() {
    for scenario in all() {
        let finished = scenario.finish();
        assert!(finished.client.is_ok() && finished.server.is_ok());
    }
}

#[test]
fn every_bit_of_the_client_hello_counts() {
    for scenario in families() {
        let scenario = scenario.server_name("db.example");
        let length = scenario.await_challenge().0.len();
        for_each(0..length * 8, |bit| {
            let flip = |number, frame: Vec<u8>| if number == 1 { flipped(&frame, bit) } else { frame };
            let outcome = handshake(&scenario, flip);
            if let Some(refusal) = outcome.server {
                assert_eq!(refusal.reason, Reason::NotOpened, "bit {bit}");
                assert_eq!(outcome.client, Error::VerdictNotAuthentic);
            }
        });
    }
}

#[test]
fn every_bit_of_the_server_hello_counts() {
    for scenario in families() {
        let spki = RSA2048.private.public_key().spki_der();
        let length = scenario.await_login().challenge.len();
        // header, version, suite, nonce, key id, length, key
        let key_id = 3 + 4 + 32..3 + 4 + 64;
        let key = key_id.end..key_id.end + 2 + spki.len();
        for_each(0..length * 8, |bit| {
            let flip = |number, frame: Vec<u8>| if number == 2 { flipped(&frame, bit) } else { frame };
            let outcome = handshake(&scenario, flip);
            if key_id.contains(&(bit / 8)) || key.contains(&(bit / 8)) {
                assert!(!outcome.sent_login, "a login was sent to a changed key: bit {bit}");
            }
            if let Some(refusal) = outcome.server {
                assert_eq!(refusal.reason, Reason::NotOpened, "bit {bit}");
                assert_eq!(outcome.client, Error::VerdictNotAuthentic);
            }
        });
    }
}

/// Somebody who changes a bit of the first two frames gets no credential, not even one that nobody can open today.
#[test]
fn every_bit_of_both_hellos_counts_before_a_credential_leaves_a_client_that_asks_for_a_proof() {
    for scenario in proved() {
        let scenario = scenario.server_name("db.example");
        let hellos = scenario.await_login();
        // What a server says to a changed hello, in all that it says, is no proof for this client. Where it is the secret that was
        // changed, nobody on the way sees that it failed to open.
        let ciphertext = (hellos.hello.len() - 256 - 2) * 8;
        for_each(0..hellos.hello.len() * 8, |bit| {
            let Ok((challenge, _)) = scenario.answer(&flipped(&hellos.hello, bit)) else { return };
            let refused = error(scenario.log_in(scenario.await_challenge().1, &challenge).map(drop));
            if bit >= ciphertext {
                assert_eq!(challenge.len(), hellos.challenge.len(), "bit {bit}");
                assert_eq!(refused, Error::ProofNotAuthentic, "bit {bit}");
            }
        });
        for_each(0..hellos.challenge.len() * 8, |bit| {
            let sent = scenario.log_in(scenario.await_challenge().1, &flipped(&hellos.challenge, bit));
            assert!(sent.is_err(), "bit {bit} of the ServerHello");
        });
    }
}

#[test]
fn every_bit_of_the_client_login_counts() {
    for scenario in all() {
        let sent = scenario.await_verdict();
        let (hello, login) = (sent.hello, sent.login);
        for_each(0..login.len() * 8, |bit| {
            let (_, server) = scenario.answer(&hello).unwrap();
            let refusal = error(scenario.decide(server, &flipped(&login, bit)));
            assert!(matches!(refusal.reason, Reason::NotOpened | Reason::Malformed(_)), "bit {bit}");
            assert_eq!(refusal.frame.len(), 2067);
        });
        // The refusal is of no use to the client: one bit of each part is as good as all of them.
        for byte in [0, 1, 4, 5, 200, 260, 262, 263, 400, login.len() - 1].into_iter().filter(|&at| at < login.len()) {
            let flip = |number, frame: Vec<u8>| if number == 3 { flipped(&frame, byte * 8) } else { frame };
            assert_eq!(handshake(&scenario, flip).client, Error::VerdictNotAuthentic);
        }
    }
}

#[test]
fn every_bit_of_the_server_verdict_counts() {
    for scenario in all() {
        let [_, challenge, _, verdict] = scenario.finish().frames;
        for_each(0..verdict.len() * 8, |bit| {
            let refused = error(sent(&scenario, &challenge).read(&flipped(&verdict, bit), at(VERDICT_AT), TODAY));
            match bit / 8 {
                0..3 => assert!(matches!(refused, Error::Frame(_)), "bit {bit}"),
                _ => assert_eq!(refused, Error::VerdictNotAuthentic, "bit {bit}"),
            }
        });
    }
}

#[test]
fn every_bit_of_a_refusal_counts() {
    for scenario in [Scenario::new(), Scenario::new().known_key()] {
        let scenario = scenario.credential(Credential::Password { user: "alice", password: b"wrong" });
        let [_, challenge, _, refusal] = scenario.finish().frames;
        for_each(24..refusal.len() * 8, |bit| {
            let refused = error(sent(&scenario, &challenge).read(&flipped(&refusal, bit), at(VERDICT_AT), TODAY));
            assert_eq!(refused, Error::VerdictNotAuthentic, "bit {bit}");
        });
    }
}

#[test]
fn every_frame_cut_anywhere_is_refused() {
    for scenario in all() {
        let [hello, challenge, login, verdict] = scenario.finish().frames;
        let truncated = |frame: &[u8], cut: usize| match cut {
            0..3 => FrameError::Truncated { missing: 3 - cut },
            _ => FrameError::Truncated { missing: frame.len() - cut },
        };
        for cut in 0..hello.len() {
            assert_eq!(error(scenario.answer(&hello[..cut])), truncated(&hello, cut).into());
        }
        for cut in 0..challenge.len() {
            let refused = error(scenario.await_challenge().1.read(&challenge[..cut], at(CHALLENGE_AT)));
            assert_eq!(refused, truncated(&challenge, cut).into());
        }
        for cut in 0..login.len() {
            let refused = error(scenario.open(scenario.await_login().server, &login[..cut]));
            assert_eq!(refused.reason, Reason::Malformed(truncated(&login, cut).into()));
        }
        for_each(0..verdict.len(), |cut| {
            let refused = error(sent(&scenario, &challenge).read(&verdict[..cut], at(VERDICT_AT), TODAY));
            assert_eq!(refused, truncated(&verdict, cut).into());
        });
        for (frame, kind) in [hello, challenge, login, verdict].iter().zip(FrameType::ALL) {
            for cut in 0..frame.len() {
                let mut reader = FrameReader::new();
                assert_eq!(reader.feed(&frame[..cut], &[kind]), Ok(cut));
                assert_eq!(reader.take(), None);
            }
        }
    }
}

#[test]
fn every_frame_made_longer_is_refused() {
    for scenario in all() {
        let [hello, challenge, login, verdict] = scenario.finish().frames;
        for extra in [&[0][..], &[0xff; 16], &hello, &[0; 256]] {
            let trailing = FrameError::Trailing(extra.len());
            let longer = |frame: &[u8]| [frame, extra].concat();
            assert_eq!(error(scenario.answer(&longer(&hello))), trailing.into());
            let client = scenario.await_challenge().1;
            assert_eq!(error(client.read(&longer(&challenge), at(CHALLENGE_AT))), trailing.into());
            let refusal = error(scenario.open(scenario.await_login().server, &longer(&login)));
            assert_eq!(refusal.reason, Reason::Malformed(trailing.into()));
            let client = scenario.await_verdict().client;
            assert_eq!(error(client.read(&longer(&verdict), at(VERDICT_AT), TODAY)), trailing.into());
        }
    }
}

#[test]
fn a_frame_of_another_connection_gets_nobody_in() {
    for scenario in families() {
        let other = scenario.clone().seed("another connection").finish().frames;
        for number in 1..=3 {
            let swap = |at: usize, frame: Vec<u8>| if at == number { other[at - 1].clone() } else { frame };
            let outcome = handshake(&scenario, swap);
            // An X25519 share of another connection is a share like any other: it shows at the login.
            assert_eq!(outcome.client, Error::VerdictNotAuthentic, "frame {number}");
            assert_eq!(outcome.server.unwrap().reason, Reason::NotOpened);
        }
        let refused = error(scenario.await_verdict().client.read(&other[3], at(VERDICT_AT), TODAY));
        assert_eq!(refused, Error::VerdictNotAuthentic);
        // Two connections whose attacker crosses everything but the first frame, and everything but the last.
        for swapped in [1..=2, 2..=3, 1..=3] {
            let swap = |at: usize, frame: Vec<u8>| if swapped.contains(&at) { other[at - 1].clone() } else { frame };
            assert_eq!(handshake(&scenario, swap).client, Error::VerdictNotAuthentic);
        }
    }
}

#[test]
fn a_frame_of_another_connection_gets_nobody_in_after_a_proof() {
    for scenario in proved() {
        let other = scenario.clone().seed("another connection").finish().frames;
        for swapped in [1..=1, 2..=2, 1..=2, 2..=3, 1..=3] {
            let swap = |at: usize, frame: Vec<u8>| if swapped.contains(&at) { other[at - 1].clone() } else { frame };
            let outcome = handshake(&scenario, swap);
            assert_eq!((outcome.sent_login, outcome.client), (false, Error::ProofNotAuthentic), "{swapped:?}");
        }
        let outcome = handshake(&scenario, |at, frame| if at == 3 { other[2].clone() } else { frame });
        assert_eq!(outcome.server.unwrap().reason, Reason::NotOpened);
        assert_eq!(outcome.client, Error::VerdictNotAuthentic);
        let refused = error(scenario.await_verdict().client.read(&other[3], at(VERDICT_AT), TODAY));
        assert_eq!(refused, Error::VerdictNotAuthentic);
    }
}

/// A hello can be played again: it costs the server its RSA operation, and gets whoever plays it nothing.
#[test]
fn a_recorded_hello_with_a_secret_gives_no_session() {
    for scenario in proved() {
        let [hello, challenge, login, verdict] = scenario.finish().frames;
        for seed in ["a second", "a third"] {
            let replayed = || scenario.clone().seed(seed).answer(&hello).unwrap();
            let (another, server) = replayed();
            let proof = |frame: &[u8]| ServerHello::decode(&frame[3..]).unwrap().proof;
            assert!(proof(&another).len() == 32 && proof(&another) != proof(&challenge), "each proof is another");
            // The login and everything in it belongs to the first challenge.
            assert_eq!(error(scenario.decide(server, &login)).reason, Reason::NotOpened);
            let credential = edit(&login, |login: &mut ClientLogin| login.sealed_credential = vec![0; 272]);
            assert_eq!(error(scenario.decide(replayed().1, &credential)).reason, Reason::NotOpened);
            // And the first client takes no other challenge than its own: not even of the same server's.
            let client = scenario.await_challenge().1;
            assert!(client.read(&another, at(CHALLENGE_AT)).is_ok(), "a fresh answer to this very hello is one");
            let client = scenario.clone().seed("a second").await_challenge().1;
            assert_eq!(error(client.read(&challenge, at(CHALLENGE_AT))), Error::ProofNotAuthentic);
        }
        let client = scenario.clone().seed("a second").await_verdict().client;
        assert_eq!(error(client.read(&verdict, at(VERDICT_AT), TODAY)), Error::VerdictNotAuthentic);
    }
}

#[test]
fn a_recorded_login_opens_under_no_other_challenge() {
    for scenario in families() {
        let [hello, _, login, verdict] = scenario.finish().frames;
        // The very same ClientHello to a server that draws another nonce.
        for seed in ["a second", "a third"] {
            let (challenge, server) = scenario.clone().seed(seed).answer(&hello).unwrap();
            assert_ne!(challenge, scenario.answer(&hello).unwrap().0);
            assert_eq!(error(scenario.decide(server, &login)).reason, Reason::NotOpened);
        }
        // And under another key of the same server's, with the same randomness.
        let other = scenario.clone().server_key(support::OTHER2048.server.clone());
        let (_, server) = other.answer(&hello).unwrap();
        let refused = error(other.decide(server, &login)).reason;
        assert!(matches!(refused, Reason::NotOpened | Reason::Malformed(_)));
        // A recorded verdict says nothing to a client that asks anew.
        let client = scenario.clone().seed("a second").await_verdict().client;
        assert_eq!(error(client.read(&verdict, at(VERDICT_AT), TODAY)), Error::VerdictNotAuthentic);
    }
}

#[test]
fn each_state_takes_its_own_frame_and_no_other() {
    let frames = Scenario::new().finish().frames;
    for (kind, bytes) in FrameType::ALL.into_iter().zip(&frames) {
        let unexpected = Error::Frame(FrameError::UnexpectedType(kind));
        if kind != FrameType::ClientHello {
            assert_eq!(error(Scenario::new().await_hello().read(bytes.clone(), at(HELLO_AT))), unexpected);
        }
        if kind != FrameType::ServerHello {
            assert_eq!(error(Scenario::new().await_challenge().1.read(bytes, at(CHALLENGE_AT))), unexpected);
        }
        if kind != FrameType::ClientLogin {
            let refusal = error(Scenario::new().await_login().server.read(bytes.clone(), at(LOGIN_AT)));
            assert_eq!(refusal.reason, Reason::Malformed(unexpected.clone()));
        }
        if kind != FrameType::ServerVerdict {
            assert_eq!(error(Scenario::new().await_verdict().client.read(bytes, at(VERDICT_AT), TODAY)), unexpected);
        }
        let (mut client, mut server) = Scenario::new().sessions();
        for session in [&mut client, &mut server] {
            assert!(session.opener.open(&mut bytes.clone()).is_err(), "a handshake frame in a session");
        }
    }
}

#[test]
fn a_frame_sent_twice_is_refused_at_its_first_byte() {
    let frames = Scenario::new().finish().frames;
    let next: [&[FrameType]; 4] = [AwaitLogin::EXPECTS, AwaitVerdict::EXPECTS, Session::EXPECTS, Session::EXPECTS];
    let own: [&[FrameType]; 4] =
        [AwaitHello::EXPECTS, countersign::client::AwaitChallenge::EXPECTS, AwaitLogin::EXPECTS, AwaitVerdict::EXPECTS];
    for (number, bytes) in frames.iter().enumerate() {
        let twice = [&bytes[..], bytes].concat();
        let mut reader = FrameReader::new();
        assert_eq!(reader.feed(&twice, own[number]), Ok(bytes.len()), "nothing is read ahead");
        assert_eq!(reader.take().as_ref(), Some(bytes));
        let kind = FrameType::ALL[number];
        assert_eq!(reader.feed(&twice[bytes.len()..][..1], next[number]), Err(FrameError::UnexpectedType(kind)));
    }
}

/// A refused login of some kind: the refusal, what the client makes of it, and whether the server had the client's secret and saw
/// what it sent.
type Refused = (&'static str, Refusal, Option<Error>, bool);

fn refusals() -> Vec<Refused> {
    let known = || Scenario::new().known_key();
    let honest = |name, scenario: Scenario, credential| {
        let scenario = scenario.credential(credential);
        let sent = scenario.await_verdict();
        let refusal = error(scenario.decide(sent.server, &sent.login));
        let seen = error(sent.client.read(&refusal.frame, at(VERDICT_AT), TODAY));
        (name, refusal, Some(seen), true)
    };
    // What arrives is not what the client sent; the client gets the answer to it.
    let altered_of = |name, scenario: Scenario, change: fn(&mut Vec<u8>)| {
        let sent = scenario.await_verdict();
        let mut login = sent.login;
        change(&mut login);
        let refusal = error(scenario.decide(sent.server, &login));
        let seen = error(sent.client.read(&refusal.frame, at(VERDICT_AT), TODAY));
        (name, refusal, Some(seen), false)
    };
    let altered = |name, change| altered_of(name, Scenario::new(), change);
    let altered_proved = |name, change| altered_of(name, known(), change);
    // A client that keeps to no rules. It could open the refusal if the server opened its login; the library's can't.
    let forged = |name, plaintext: Vec<u8>, reject: bool| {
        let scenario = Scenario::new().suite(Suite::RSA_AES_256_GCM).server_kinds(&[CredentialKind::Password]);
        let hellos = scenario.await_login();
        let forger = Forger::new(&hellos.hello, &hellos.challenge);
        let login = forger.login_with(&padded(plaintext, 256), &mut scenario.rng("forger"));
        let claim = scenario.open(hellos.server, &login).unwrap();
        let refusal = if reject {
            claim.reject(verify(Credential::Token(b"")).unwrap_err())
        } else {
            error(claim.accept(support::grant()))
        };
        (name, refusal, None, true)
    };
    let token = support::wire::Credential { kind: 2, user: Vec::new(), secret: b"a token".to_vec() };
    let wrong = |user, password| Credential::Password { user, password };

    // It is not looked at, and as the server has proved itself, it can tell the client so.
    let not_admitted = |name, scenario: Scenario| {
        let sent = scenario.await_verdict();
        let refusal = sent.server.read(sent.login, at(LOGIN_AT)).unwrap().refuse(Reason::NotAdmitted("busy"));
        let seen = error(sent.client.read(&refusal.frame, at(VERDICT_AT), TODAY));
        (name, refusal, Some(seen), true)
    };
    let no_frame = |name, scenario: Scenario| {
        let sent = scenario.await_verdict();
        let failed = sent.server.fail(FrameError::UnknownType(b'G').into(), at(LOGIN_AT));
        let seen = error(sent.client.read(&failed.frame, at(VERDICT_AT), TODAY));
        (name, failed, Some(seen), false)
    };

    vec![
        honest("wrong password", Scenario::new(), wrong("alice", b"wrong")),
        honest("wrong password, proved", known(), wrong("alice", b"wrong")),
        honest("unknown user", Scenario::new(), wrong("bob", b"password")),
        honest("unknown user, proved", known(), wrong("bob", b"password")),
        honest("a longer wrong password", Scenario::new(), wrong("alice", &[b'x'; 4096])),
        honest("a longer wrong password, proved", known(), wrong("alice", &[b'x'; 4096])),
        honest("unknown token", Scenario::new(), Credential::Token(b"wrong")),
        honest("unknown token, proved", known(), Credential::Token(b"wrong")),
        altered("not a ClientLogin", |login| login[0] = 1),
        altered("cut short", |login| login.truncate(100)),
        altered("malformed", |login| login[3] = 0xff),
        altered("out of range", |login| login[5..261].fill(0xff)),
        altered("not decrypted", |login| login[100] ^= 1),
        altered("not opened", |login| *login.last_mut().unwrap() ^= 1),
        altered("an impossible length", |login| {
            *login = edit(login, |login: &mut ClientLogin| login.sealed_credential.truncate(100));
        }),
        forged("no credential", vec![9], true),
        forged("no credential, accepted", vec![9], false),
        forged("kind not taken", token.encode(), true),
        forged("kind not taken, accepted", token.encode(), false),
        altered_proved("not a ClientLogin, proved", |login| login[0] = 1),
        altered_proved("cut short, proved", |login| login.truncate(100)),
        altered_proved("malformed, proved", |login| login[5] = 0xff),
        altered_proved("with a ciphertext, proved", |login| login[4] = 1),
        altered_proved("not opened, proved", |login| login[100] ^= 1),
        not_admitted("not admitted, proved", known()),
        no_frame("no frame", Scenario::new()),
        no_frame("no frame, proved", known()),
    ]
}

#[test]
fn every_refusal_has_the_same_type_size_and_time() {
    for (name, refusal, ..) in refusals() {
        assert_eq!(refusal.frame.len(), 2067, "{name}");
        assert_eq!(refusal.frame[..3], [4, 8, 16], "{name}");
        assert_eq!(refusal.not_before, at(LOGIN_AT + FLOOR), "{name}");
    }
    let [.., grant] = Scenario::new().finish().frames;
    assert_eq!((grant.len(), &grant[..3]), (2067, &[4, 8, 16][..]), "and so does a grant");
}

#[test]
fn the_client_opens_a_refusal_if_and_only_if_the_server_has_its_secret_and_saw_what_it_sent() {
    for (name, _, seen, opened) in refusals() {
        let expected = if opened { Error::Refused } else { Error::VerdictNotAuthentic };
        if let Some(seen) = seen {
            assert_eq!(seen, expected, "{name}");
        }
    }
}

#[test]
fn a_client_that_keeps_to_no_rules_gets_the_same_refusal_to_open() {
    // Whatever is wrong with the credential, the plaintext of the refusal is the same: the same bytes, as here the keys
    // are the same.
    let scenario = Scenario::new().suite(Suite::RSA_AES_256_GCM).server_kinds(&[CredentialKind::Password]);
    let hellos = scenario.await_login();
    let forger = Forger::new(&hellos.hello, &hellos.challenge);
    let ciphertext = forger.encrypt(&forger.bound_secret(), Oaep::new(), &mut scenario.rng("forger"));
    let credential = |kind, user: &[u8], secret: &[u8]| {
        padded(support::wire::Credential { kind, user: user.to_vec(), secret: secret.to_vec() }.encode(), 256)
    };
    for plaintext in [
        credential(1, b"alice", b"wrong"),
        credential(1, b"bob", b"wrong"),
        credential(1, b"", b"wrong"),
        credential(2, b"", b"token"),
        credential(9, b"alice", b""),
        vec![0xff; 256],
    ] {
        let login = forger.login(&ciphertext, &plaintext);
        let refusal = error(scenario.decide(scenario.await_login().server, &login));
        let reject = support::wire::verdict(RSA2048.pem, [&hellos.hello, &hellos.challenge, &login], &[0; 2048]);
        assert_eq!(refusal.frame, reject);
    }
    assert_eq!(frame(4, &[0; 2064])[..3], [4, 8, 16]);
}
