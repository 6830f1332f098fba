//! The client awaits a ServerVerdict: rules V1 to V6. V7 is in `factors`.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::client::AwaitVerdict;
use countersign::codec::DecodeError;
use countersign::frame::{FrameError, FrameType};
use countersign::{Credential, Error, Grant, KeyExchange, Misuse, Reason, Session, Suite, Violation, limits};
use support::wire::{self, Message, Verdict, padded};
use support::{
    DEADLINE, LOGIN_AT, RSA2048, Scenario, Sent, TODAY, VERDICT_AT, at, error, frame, grant, not_that_frame,
};

/// What a client says to this frame in the place of its verdict.
fn read(scenario: &Scenario, verdict: &[u8]) -> Result<Session, Error> {
    scenario.await_verdict().client.read(verdict, at(VERDICT_AT), TODAY)
}

/// A client, and the accepting verdict on its way to it.
fn with_verdict(scenario: &Scenario) -> (AwaitVerdict, Vec<u8>) {
    let Sent { login, client, server, .. } = scenario.await_verdict();
    (client, scenario.decide(server, &login).unwrap().frame)
}

fn rsa_alone() -> Scenario {
    Scenario::new().suite(Suite::RSA_AES_256_GCM)
}

/// What a client says to a verdict with this plaintext, by the server it trusts.
fn forged(plaintext: &[u8]) -> Result<Session, Error> {
    let read = |scenario: Scenario| {
        let Sent { hello, challenge, login, client, .. } = scenario.await_verdict();
        client.read(&wire::verdict(RSA2048.pem, [&hello, &challenge, &login], plaintext), at(VERDICT_AT), TODAY)
    };
    // With a proof before, and without: the verdict is the same.
    let proved = read(rsa_alone().known_key_under(KeyExchange::Rsa));
    let read = read(rsa_alone());
    assert_eq!(
        read.as_ref().map(|session| session.info.login_grant()),
        proved.as_ref().map(|session| session.info.login_grant())
    );
    read
}

fn says(decision: u8, principal: &[u8], permissions: &[&[u8]]) -> Verdict {
    let permissions = permissions.iter().map(|word| word.to_vec()).collect();
    let (principal, ticket) = (principal.to_vec(), Vec::new());
    Verdict { decision, principal, permissions, ticket, ticket_lifetime: 0, extensions: vec![] }
}

fn verdict(decision: u8, principal: &[u8], permissions: &[&[u8]]) -> Vec<u8> {
    padded(says(decision, principal, permissions).encode(), 2048)
}

#[test]
fn v1_anything_but_a_server_verdict_frame_is_refused() {
    let [.., genuine] = Scenario::new().finish().frames;
    for (bytes, expected) in not_that_frame(FrameType::ServerVerdict, &genuine) {
        assert_eq!(error(read(&Scenario::new(), &bytes)), Error::Frame(expected), "{:?}", bytes.get(..8));
    }
    assert_eq!(AwaitVerdict::EXPECTS, [FrameType::ServerVerdict]);
}

#[test]
fn v1_every_other_length_is_refused() {
    for len in [1, 16, 256, 1040, 1552, 2063, 2065, 2080, 4128, 65535] {
        let expected = FrameError::Length { kind: FrameType::ServerVerdict, len, min: 2064, max: 2064 };
        assert_eq!(error(read(&Scenario::new(), &frame(4, &vec![0; len]))), Error::Frame(expected));
    }
}

#[test]
fn v2_a_verdict_that_does_not_open_says_nothing_about_the_credential() {
    let scenario = Scenario::new();
    let (client, mut changed) = with_verdict(&scenario);
    changed[2066] ^= 1;
    assert_eq!(error(client.read(&changed, at(VERDICT_AT), TODAY)), Error::VerdictNotAuthentic);
    let [.., of_another_connection] = scenario.clone().seed("another").finish().frames;
    let unopened = scenario.await_login().server.fail(Error::DeadlinePassed, at(LOGIN_AT)).frame;
    for bytes in [of_another_connection, unopened, frame(4, &[0; 2064]), frame(4, &[0xff; 2064])] {
        assert_eq!(error(read(&scenario, &bytes)), Error::VerdictNotAuthentic);
    }
    let (client, genuine) = with_verdict(&scenario);
    assert!(client.read(&genuine, at(VERDICT_AT), TODAY).is_ok());
}

#[test]
fn v3_a_verdict_that_is_no_verdict_is_refused() {
    let truncated = Error::Decode(DecodeError::Truncated);
    // Lengths that run past the end of the plaintext.
    let mut long_principal = vec![1, 0xff, 0xff];
    long_principal.resize(2048, b'a');
    let mut no_end = vec![1, 7, 0xfe];
    no_end.resize(2048, b'a');
    assert_eq!(error(forged(&long_principal)), truncated);
    assert_eq!(error(forged(&no_end)), truncated);
    let mut many = [&[1, 0, 1, b'a', 33][..]].concat();
    many.resize(2048, 0);
    assert_eq!(error(forged(&many)), Error::Decode(DecodeError::TooMany { found: 33, limit: 32 }));
    assert_eq!(error(forged(&verdict(1, b"\xff", &[]))), Error::Decode(DecodeError::NotUtf8));
    assert_eq!(error(forged(&verdict(1, b"alice", &[b"\xff"]))), Error::Decode(DecodeError::NotUtf8));
}

#[test]
fn v3_padding_that_is_not_zeros_is_refused() {
    for good in [verdict(1, b"alice", &[b"read"]), verdict(0, b"", &[])] {
        for at in [30, 500, 2047] {
            let mut plaintext = good.clone();
            plaintext[at] = 1;
            assert_eq!(error(forged(&plaintext)), Error::Decode(DecodeError::Padding));
        }
    }
}

#[test]
fn v3_an_unknown_decision_is_refused() {
    for decision in [4, 127, 255] {
        for plaintext in [verdict(decision, b"alice", &[]), verdict(decision, b"", &[])] {
            assert_eq!(error(forged(&plaintext)), Violation::UnknownDecision(decision).into());
        }
    }
}

#[test]
fn v3_an_accept_with_a_field_out_of_bounds_is_refused() {
    let words: Vec<Vec<u8>> = (b'a'..=b'z').map(|letter| vec![letter; 30]).collect();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let twice = [&words[..], &words[..1]].concat();
    let cases: [(&[u8], &[&[u8]]); 17] = [
        (b"", &[]),
        (b"", &[b"read"]),
        (&[b'a'; 256], &[]),
        (b"ali\nce", &[]),
        (b"alice\x7f", &[]),
        ("alice\u{80}".as_bytes(), &[]),
        (b"alice", &[b""]),
        (b"alice", &[b"read", b"read"]),
        (b"alice", &twice),
        (b"alice", &[b"read write"]),
        (b"alice", &[b"read,write"]),
        (b"alice", &[&[b'a'; 65]]),
        (b"alice", &["l\u{e9}sen".as_bytes()]),
        (b"alice", &[b"orders*"]),
        (b"alice", &[b"*:read"]),
        (b"alice", &[b"orders:*:read"]),
        (b"alice", &[b"orders:**"]),
    ];
    for (principal, permissions) in cases {
        let refused = error(forged(&verdict(1, principal, permissions)));
        assert_eq!(refused, Violation::BadString("the grant").into(), "{principal:?} {permissions:?}");
    }
}

#[test]
fn v3_a_grant_of_more_than_1024_bytes_is_refused_and_never_made() {
    let longest: Vec<String> = ('a'..='o').map(|letter| letter.to_string().repeat(64)).collect();
    for (last, is_good) in [(23, true), (24, false)] {
        let permissions = [&longest[..], &["p".repeat(last)]].concat();
        let words: Vec<&[u8]> = permissions.iter().map(String::as_bytes).collect();
        let made = Grant::new("alice", &permissions);
        match forged(&verdict(1, b"alice", &words)) {
            Ok(session) if is_good => assert_eq!(made.as_ref(), Ok(session.info.login_grant())),
            read => {
                let len = 1 + 2 + "alice".len() + 1 + 15 * (2 + 64) + 2 + last;
                assert_eq!(made, Err(Misuse::TooLong { what: "the grant", len, limit: limits::MAX_GRANT }));
                assert_eq!((error(read), len), (Violation::BadString("the grant").into(), 1025));
            }
        }
    }
}

#[test]
fn v3_a_reject_that_names_anything_is_refused() {
    let expected: Error = Violation::BadString("the grant of a rejection").into();
    let cases: [(&[u8], &[&[u8]]); 3] = [(b"alice", &[]), (b"", &[b"read"]), (b"wrong password", &[b""])];
    for decision in [0, 2, 3] {
        for (principal, permissions) in cases {
            assert_eq!(error(forged(&verdict(decision, principal, permissions))), expected);
        }
        for (ticket, ticket_lifetime) in [(vec![1; 480], 60), (vec![1], 0), (vec![], 60)] {
            let with_ticket = Verdict { ticket, ticket_lifetime, ..says(decision, b"", &[]) };
            assert_eq!(error(forged(&padded(with_ticket.encode(), 2048))), expected);
        }
    }
}

#[test]
fn v3_an_accept_with_a_ticket_out_of_bounds_is_refused() {
    for (ticket, ticket_lifetime) in [(vec![1; 501], 60), (vec![1; 480], 0), (vec![], 60)] {
        let with_ticket = Verdict { ticket, ticket_lifetime, ..says(1, b"alice", &[]) };
        assert_eq!(error(forged(&padded(with_ticket.encode(), 2048))), Violation::BadTicket.into());
    }
    let with_ticket = Verdict { ticket: vec![1; 500], ticket_lifetime: 1, ..says(1, b"alice", &[]) };
    assert!(forged(&padded(with_ticket.encode(), 2048)).unwrap().info.ticket().is_some());
}

#[test]
fn v3_extensions_twice_or_too_long_are_refused_and_others_skipped() {
    let with = |decision, extensions: &[(u16, Vec<u8>)]| {
        let principal: &[u8] = if decision == 1 { b"alice" } else { b"" };
        forged(&padded(Verdict { extensions: extensions.to_vec(), ..says(decision, principal, &[]) }.encode(), 2048))
    };
    for decision in [0, 1, 2] {
        let twice = [(9, vec![]), (9, vec![])];
        assert_eq!(error(with(decision, &twice)), Violation::Duplicate("the extensions").into());
        for long in [vec![(5, vec![0; 477])], vec![(5, vec![0; 200]), (6, vec![0; 273])]] {
            assert_eq!(error(with(decision, &long)), Violation::Extensions(481).into());
        }
        let many: Vec<_> = (0..17).map(|number| (number, vec![])).collect();
        assert_eq!(error(with(decision, &many)), Error::Decode(DecodeError::TooMany { found: 17, limit: 16 }));
    }
    for good in [vec![(5, vec![0; 476])], (0..16).map(|number| (number, vec![1; 26])).collect()] {
        assert!(with(1, &good).is_ok());
        assert_eq!(error(with(0, &good)), Error::Refused);
        assert_eq!(error(with(2, &good)), Error::NotNow);
    }
}

#[test]
fn a_grant_at_every_bound_arrives() {
    let permissions: Vec<String> = (0..32).map(|number| format!("{number:018}")).collect();
    let largest = Grant::new("\u{1f600}".repeat(63) + "abc", permissions).unwrap();
    let words = Grant::new(
        "a",
        [(0x21..=0x7e).filter(|byte| !b",*".contains(byte)).map(char::from).take(64).collect::<String>()],
    );
    // Exactly 1024 bytes: decision 1, principal 2 + 255, count 1, and permissions of 765 bytes with their lengths.
    let mut exact: Vec<String> = (0..11).map(|number| format!("{number:064}")).collect();
    exact.push("x".repeat(765 - 11 * 66 - 2));
    let exact = Grant::new("p".repeat(255), exact).unwrap();
    assert!(
        Grant::new("p".repeat(255), exact.permissions().map(|word| format!("{word}-")).collect::<Vec<_>>()).is_err()
    );
    for grant in [largest, words.unwrap(), exact] {
        let scenario = Scenario::new();
        let Sent { login, client, server, .. } = scenario.await_verdict();
        let accepted = scenario.open(server, &login).unwrap().accept(grant.clone()).unwrap();
        assert_eq!(accepted.frame.len(), 2067);
        assert_eq!(client.read(&accepted.frame, at(VERDICT_AT), TODAY).unwrap().info.login_grant(), &grant);
    }
}

#[test]
fn the_forged_verdict_of_these_tests_is_accepted_where_nothing_is_wrong_with_it() {
    let session = forged(&verdict(1, b"alice", &[b"read", b"write"])).unwrap();
    assert_eq!(session.info.login_grant(), &grant());
    assert_eq!(error(forged(&verdict(0, b"", &[]))), Error::Refused);
}

#[test]
fn v4_a_reject_is_refused() {
    let wrong = Scenario::new().credential(Credential::Password { user: "alice", password: b"wrong" });
    let finished = wrong.finish();
    assert_eq!(error(finished.client), Error::Refused);
    assert_eq!(error(finished.server).reason, Reason::WrongPassword);
}

#[test]
fn v5_a_verdict_after_the_deadline_is_refused() {
    let read = |millis| {
        let (client, verdict) = with_verdict(&Scenario::new());
        assert_eq!(client.deadline(), at(DEADLINE));
        client.read(&verdict, at(millis), TODAY).map(drop)
    };
    assert_eq!(read(DEADLINE), Ok(()));
    assert_eq!(read(DEADLINE + 1), Err(Error::DeadlinePassed));
}

#[test]
fn v6_a_not_now_is_no_decision_and_no_session() {
    for scenario in [Scenario::new(), Scenario::new().known_key()] {
        let Sent { login, client, server, .. } = scenario.await_verdict();
        let refusal = scenario.open(server, &login).unwrap().reject(Reason::NotNow("the store is away"));
        assert_eq!(error(client.read(&refusal.frame, at(VERDICT_AT), TODAY)), Error::NotNow);
        // Somebody on the way can't say it in the server's place, nor turn a refusal or an accept into it.
        let wrong = scenario.clone().credential(Credential::Password { user: "alice", password: b"wrong" });
        for genuine in [scenario.finish().frames, wrong.finish().frames] {
            for byte in [3, 4, 5, 6] {
                let mut changed = genuine[3].clone();
                changed[byte] ^= 2;
                assert_eq!(error(read(&scenario, &changed)), Error::VerdictNotAuthentic);
            }
        }
    }
    assert_eq!(error(forged(&verdict(2, b"", &[]))), Error::NotNow);
}
