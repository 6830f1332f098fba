//! The server awaits a ClientHello: rules S1 to S15; S11 is in `tests/resumption.rs`, S12 in
//! `tests/server_keys.rs`.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::codec::DecodeError;
use countersign::frame::FrameType;
use countersign::server::AwaitHello;
use countersign::{ChannelBinding, Differs, Error, KeyId, Server, ServerKey, Suite, Violation};
use std::sync::Arc;
use support::wire::{ClientHello, Message, ServerHello, edit};
use support::{
    CHALLENGE_AT, Counting, DEADLINE, HELLO_AT, OTHER2048, RSA2048, Scenario, TestKey, at, error, frame, not_that_frame,
};

fn genuine() -> Vec<u8> {
    Scenario::new().await_challenge().0
}

/// The ClientHello of a client that would also do without forward secrecy.
fn with_rsa() -> Vec<u8> {
    let suites = [Suite::X25519_AES_256_GCM, Suite::X25519_CHACHA20_POLY1305, Suite::RSA_AES_256_GCM];
    Scenario::new().client_suites(&suites).await_challenge().0
}

/// What the server says to a ClientHello: up to the ServerHello, for a bad share shows only then.
fn refused(hello: &[u8]) -> Error {
    error(Scenario::new().server_suites(&Suite::ALL).answer(hello))
}

fn accepted(hello: &[u8]) {
    if let Err(error) = Scenario::new().server_suites(&Suite::ALL).answer(hello) {
        panic!("refused: {error}");
    }
}

/// A change of a ClientHello, and what it is refused with.
type Case = (fn(&mut ClientHello), Error);

/// Each change of the genuine ClientHello is refused with its error.
fn each_refused<const N: usize>(from: &[u8], cases: [Case; N]) {
    for (index, (change, expected)) in cases.into_iter().enumerate() {
        assert_eq!(refused(&edit(from, change)), expected, "case {index}");
    }
}

#[test]
fn s1_anything_but_a_client_hello_frame_is_refused() {
    for (bytes, expected) in not_that_frame(FrameType::ClientHello, &genuine()) {
        assert_eq!(refused(&bytes), Error::Frame(expected), "{:?}", bytes.get(..8));
    }
    assert_eq!(AwaitHello::EXPECTS, [FrameType::ClientHello]);
}

#[test]
fn s2_a_body_that_is_cut_short_is_refused() {
    let body = genuine()[3..].to_vec();
    for cut in FrameType::ClientHello.min_body()..body.len() {
        assert_eq!(refused(&frame(1, &body[..cut])), Error::Decode(DecodeError::Truncated), "cut at {cut}");
    }
}

#[test]
fn s2_a_body_that_goes_on_is_refused() {
    for extra in [1, 2, 32, 1000] {
        let body = [&genuine()[3..], &vec![0; extra]].concat();
        assert_eq!(refused(&frame(1, &body)), Error::Decode(DecodeError::Trailing(extra)));
    }
}

#[test]
fn s2_a_list_with_too_many_entries_is_refused() {
    let too_many = |found, limit| Error::Decode(DecodeError::TooMany { found, limit });
    each_refused(
        &genuine(),
        [
            (|hello| hello.versions = (1..=9).collect(), too_many(9, 8)),
            (|hello| hello.versions = (1..=255).collect(), too_many(255, 8)),
            (|hello| hello.suites = (0x0201..=0x0211).collect(), too_many(17, 16)),
            (|hello| hello.key_shares = (2..=6).map(|exchange| (exchange, Vec::new())).collect(), too_many(5, 4)),
            (|hello| hello.known_keys = (0..9).map(|id| [id; 32]).collect(), too_many(9, 8)),
            (|hello| hello.extensions = (0..17).map(|number| (number, vec![])).collect(), too_many(17, 16)),
        ],
    );
}

#[test]
fn s2_a_server_name_that_is_not_utf8_is_refused() {
    let not_utf8 = Error::Decode(DecodeError::NotUtf8);
    each_refused(
        &genuine(),
        [
            (|hello| hello.server_name = vec![0xff], not_utf8.clone()),
            (|hello| hello.server_name = vec![0xc0, 0xaf], not_utf8.clone()),
            (|hello| hello.server_name = vec![0xed, 0xa0, 0x80], not_utf8),
        ],
    );
}

#[test]
fn s3_empty_versions_or_suites_are_refused() {
    each_refused(
        &genuine(),
        [
            (|hello| hello.versions.clear(), Violation::Empty("the versions").into()),
            (|hello| hello.suites.clear(), Violation::Empty("the suites").into()),
        ],
    );
}

#[test]
fn s4_a_version_named_twice_is_refused() {
    let twice: Error = Violation::Duplicate("the versions").into();
    each_refused(
        &genuine(),
        [
            (|hello| hello.versions = vec![1, 1], twice.clone()),
            (|hello| hello.versions = vec![9, 1, 2, 3, 4, 5, 6, 9], twice),
        ],
    );
}

#[test]
fn s4_a_suite_named_twice_is_refused() {
    let twice: Error = Violation::Duplicate("the suites").into();
    each_refused(
        &genuine(),
        [
            (|hello| hello.suites = vec![0x0201, 0x0201], twice.clone()),
            (|hello| hello.suites = vec![0x0201, 0x0299, 0x0202, 0x0299], twice),
        ],
    );
}

#[test]
fn s4_a_key_share_named_twice_is_refused() {
    let twice: Error = Violation::KeyShares.into();
    each_refused(
        &genuine(),
        [
            (|hello| hello.key_shares = vec![hello.key_shares[0].clone(); 2], twice.clone()),
            (|hello| hello.key_shares.push((2, vec![9; 32])), twice.clone()),
            (
                |hello| {
                    hello.suites.push(0x0301);
                    hello.key_shares.extend([(3, vec![1]), (3, vec![2])]);
                },
                twice,
            ),
        ],
    );
}

#[test]
fn s4_a_known_key_named_twice_is_refused() {
    let twice: Error = Violation::Duplicate("the known keys").into();
    each_refused(
        &genuine(),
        [
            (|hello| hello.known_keys = vec![[5; 32]; 2], twice.clone()),
            (|hello| hello.known_keys = vec![[5; 32], [6; 32], [7; 32], [6; 32]], twice),
        ],
    );
}

#[test]
fn s4_an_extension_named_twice_is_refused() {
    let twice: Error = Violation::Duplicate("the extensions").into();
    each_refused(
        &genuine(),
        [
            (|hello| hello.extensions = vec![(9, vec![]), (9, vec![])], twice.clone()),
            (|hello| hello.extensions = vec![(0x0a0a, vec![]), (1, vec![2]), (2, vec![]), (0x0a0a, vec![3])], twice),
        ],
    );
}

#[test]
fn s5_key_shares_that_do_not_match_the_suites_are_refused() {
    let shares: Error = Violation::KeyShares.into();
    each_refused(
        &with_rsa(),
        [
            // Without a share.
            (|hello| hello.key_shares.clear(), shares.clone()),
            (|hello| hello.suites.push(0x0301), shares.clone()),
            (|hello| hello.suites.push(0x00ff), shares.clone()),
            // Without a suite.
            (|hello| hello.key_shares.push((3, vec![3; 32])), shares.clone()),
            (|hello| hello.suites = vec![0x0101], shares.clone()),
            // For RSA alone.
            (|hello| hello.key_shares.push((1, Vec::new())), shares.clone()),
            (|hello| hello.key_shares.insert(0, (1, vec![1; 32])), shares),
        ],
    );
}

#[test]
fn s6_a_server_name_with_other_bytes_is_refused() {
    let name: Error = Violation::BadString("the server name").into();
    each_refused(
        &genuine(),
        [
            (|hello| hello.server_name = b"db example".to_vec(), name.clone()),
            (|hello| hello.server_name = b"\x20".to_vec(), name.clone()),
            (|hello| hello.server_name = b"\x7f".to_vec(), name.clone()),
            (|hello| hello.server_name = b"db\0".to_vec(), name.clone()),
            (|hello| hello.server_name = b"db\n".to_vec(), name.clone()),
            (|hello| hello.server_name = "b\u{fc}cher.example".into(), name.clone()),
            (|hello| hello.server_name = vec![b'a'; 256], name.clone()),
            (|hello| hello.server_name = vec![b'a'; 1000], name),
        ],
    );
}

#[test]
fn every_byte_from_21_to_7e_may_stand_in_a_server_name_and_255_of_them() {
    accepted(&edit(&genuine(), |hello: &mut ClientHello| hello.server_name = (0x21..=0x7e).collect()));
    accepted(&edit(&genuine(), |hello: &mut ClientHello| hello.server_name = vec![b'a'; 255]));
    accepted(&edit(&genuine(), |hello: &mut ClientHello| hello.server_name.clear()));
}

#[test]
fn s7_versions_without_1_are_refused() {
    let none: Error = Violation::NoCommonVersion.into();
    each_refused(
        &genuine(),
        [
            (|hello| hello.versions = vec![2], none.clone()),
            (|hello| hello.versions = vec![0], none.clone()),
            (|hello| hello.versions = vec![0x0100, 0x0101, 0xffff], none),
        ],
    );
}

#[test]
fn s8_suites_without_one_that_this_server_takes_are_refused() {
    let none: Error = Violation::NoCommonSuite.into();
    each_refused(
        &genuine(),
        [
            (|hello| hello.suites = vec![0x0203], none.clone()),
            (|hello| hello.suites = vec![0x0200, 0x02ff], none.clone()),
            (|hello| (hello.suites, hello.key_shares) = (vec![0x0103], Vec::new()), none.clone()),
            (|hello| (hello.suites, hello.key_shares) = (vec![0x0401], vec![(4, vec![0; 1216])]), none),
        ],
    );
    // The defaults on one side, suites without forward secrecy on the other: in both directions.
    let rsa = Scenario::new().client_suites(&[Suite::RSA_AES_256_GCM, Suite::RSA_CHACHA20_POLY1305]);
    assert_eq!(error(rsa.answer(&rsa.await_challenge().0)), Violation::NoCommonSuite.into());
    let rsa = Scenario::new().server_suites(&[Suite::RSA_AES_256_GCM]);
    assert_eq!(error(rsa.answer(&genuine())), Violation::NoCommonSuite.into());
}

/// Points of small order on Curve25519 and its twist, canonical and not: each gives an all-zero secret.
const SMALL_ORDER: [&str; 12] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[test]
fn s9_a_share_that_gives_an_all_zero_secret_is_refused() {
    for point in SMALL_ORDER {
        let share = hex::decode(point).unwrap();
        let hello = edit(&genuine(), |hello: &mut ClientHello| hello.key_shares[0].1 = share);
        assert_eq!(refused(&hello), Violation::BadKeyShare.into(), "{point}");
    }
}

#[test]
fn s9_a_share_of_the_wrong_length_is_refused() {
    for length in [0, 1, 31, 33, 64, 1536, 1537, 3000] {
        let hello = edit(&genuine(), |hello: &mut ClientHello| hello.key_shares[0].1 = vec![9; length]);
        assert_eq!(refused(&hello), Violation::BadKeyShare.into(), "{length} bytes");
    }
}

/// The same for X25519MLKEM768: 1184 bytes of ML-KEM, then 32 of X25519.
fn hybrid(change: impl Fn(&mut Vec<u8>)) -> Error {
    let hello = Scenario::new().client_suites(&[Suite::X25519MLKEM768_AES_256_GCM]).await_challenge().0;
    accepted(&hello);
    refused(&edit(&hello, |hello: &mut ClientHello| {
        assert_eq!((hello.key_shares[0].0, hello.key_shares[0].1.len()), (3, 1216));
        change(&mut hello.key_shares[0].1);
    }))
}

#[test]
fn s9_a_joined_share_of_the_wrong_length_is_refused() {
    for length in [0, 32, 1183, 1184, 1215, 1217, 1248, 1536, 2432] {
        assert_eq!(hybrid(|share| share.resize(length, 1)), Violation::BadKeyShare.into(), "{length} bytes");
    }
}

#[test]
fn s9_an_encapsulation_key_with_a_coefficient_that_is_not_reduced_is_refused() {
    for at in [0, 3, 384, 1149] {
        // Two coefficients of 12 bits each, both 3329.
        let change = |share: &mut Vec<u8>| share[at..at + 3].copy_from_slice(&[0x01, 0x1d, 0xd0]);
        assert_eq!(hybrid(change), Violation::BadKeyShare.into(), "at {at}");
    }
}

#[test]
fn s9_a_joined_share_whose_x25519_part_gives_an_all_zero_secret_is_refused() {
    for point in SMALL_ORDER {
        let point = hex::decode(point).unwrap();
        assert_eq!(hybrid(|share| share[1184..].copy_from_slice(&point)), Violation::BadKeyShare.into());
    }
}

#[test]
fn a_share_of_a_key_exchange_that_is_not_picked_is_not_looked_at() {
    accepted(&edit(&genuine(), |hello: &mut ClientHello| {
        hello.suites.insert(0, 0x0401);
        hello.key_shares.insert(0, (4, vec![0; 7]));
    }));
    let rsa_first = Scenario::new().server_suites(&[Suite::RSA_AES_256_GCM]);
    let hello = edit(&with_rsa(), |hello: &mut ClientHello| hello.key_shares[0].1.clear());
    rsa_first.answer(&hello).unwrap();
}

#[test]
fn s10_a_hello_after_the_deadline_is_refused() {
    let read = |millis| Scenario::new().await_hello().read(genuine(), at(millis)).map(drop);
    assert_eq!(Scenario::new().await_hello().deadline(), at(DEADLINE));
    assert_eq!(read(DEADLINE), Ok(()));
    assert_eq!(read(DEADLINE + 1), Err(Error::DeadlinePassed));
    assert_eq!(read(u64::MAX), Err(Error::DeadlinePassed));
    // The states up to the answer say when that is, too.
    let scenario = Scenario::new().known_key();
    let choice = scenario.await_hello().read(scenario.await_challenge().0, at(HELLO_AT)).unwrap();
    assert_eq!(choice.deadline(), at(DEADLINE));
    let hello = choice.choose(&RSA2048.server).unwrap();
    assert_eq!(hello.deadline(), at(DEADLINE));
    assert_eq!(hello.open(&mut scenario.rng("fallback")).unwrap().deadline(), at(DEADLINE));
}

#[test]
fn s13_extensions_of_more_than_1024_bytes_together_are_refused() {
    let long = |length| Error::from(Violation::Extensions(length));
    each_refused(
        &genuine(),
        [
            (|hello| hello.extensions = vec![(9, vec![0; 1021])], long(1025)),
            (|hello| hello.extensions = vec![(1, vec![0; 500]), (2, vec![0; 517])], long(1025)),
            (|hello| hello.extensions = (0..16).map(|number| (number, vec![0; 61])).collect(), long(1040)),
            (|hello| hello.extensions = vec![(9, vec![0; 4000])], long(4004)),
        ],
    );
    for good in [vec![(9, vec![0; 1020])], (0..16).map(|number| (number, vec![0xff; 60])).collect(), vec![(1, vec![])]]
    {
        accepted(&edit(&genuine(), |hello: &mut ClientHello| hello.extensions = good));
    }
}

#[test]
fn s14_a_sealed_secret_without_a_known_key_is_refused() {
    let known = Scenario::new().known_key().await_challenge().0;
    each_refused(&known, [(|hello| hello.known_keys.clear(), Violation::KeyNotNamed.into())]);
    each_refused(&genuine(), [(|hello| hello.rsa_ciphertext = vec![1], Violation::KeyNotNamed.into())]);
    accepted(&known);
}

/// What a server says to a ClientHello of a client that has its key whole, and how many RSA operations it does for that.
fn with_ciphertext(key: &TestKey, ciphertext: Vec<u8>) -> (Result<ServerHello, Error>, usize) {
    let private = Arc::new(Counting::default());
    let counted = ServerKey::with_decrypt(key.private.public_key().clone(), private.clone());
    let scenario = Scenario::new().known_key().server_key(counted);
    let hello = scenario.await_challenge().0;
    let hello = edit(&hello, |hello: &mut ClientHello| hello.rsa_ciphertext = ciphertext);
    let answer = scenario.answer(&hello).map(|(challenge, _)| ServerHello::decode(&challenge[3..]).unwrap());
    (answer, private.count())
}

#[test]
fn s15_a_ciphertext_that_is_not_as_long_as_the_modulus_or_not_below_it_is_refused_before_the_rsa_operation() {
    let modulus = RSA2048.private.public_key().modulus().to_vec();
    let mut above = modulus.clone();
    *above.last_mut().unwrap() += 1;
    let lengths = [1, 64, 128, 255, 257, 384, 512, 1024, 1025].map(|length| vec![1; length]);
    for ciphertext in lengths.into_iter().chain([modulus.clone(), above, vec![0xff; 256]]) {
        let length = ciphertext.len();
        let refused = (Err(Violation::CiphertextRange.into()), 0);
        assert_eq!(with_ciphertext(&RSA2048, ciphertext), refused, "{length} bytes");
    }
    // The largest and the smallest there are: tried, and answered as any other.
    let mut below = modulus;
    *below.last_mut().unwrap() -= 1;
    for ciphertext in [below, vec![0; 256], [&[0; 255][..], &[1]].concat()] {
        let (answer, operations) = with_ciphertext(&RSA2048, ciphertext);
        assert_eq!((answer.unwrap().proof.len(), operations), (32, 1));
    }
}

#[test]
fn a_secret_that_is_sealed_to_another_key_is_not_opened_and_gets_no_proof() {
    for length in [1, 255, 256, 257, 512, 1024] {
        let (answer, operations) = with_ciphertext(&OTHER2048, vec![0xff; length]);
        assert_eq!((answer.unwrap().proof.len(), operations), (0, 0), "{length} bytes");
    }
    // Also not where the key that the server answers under is known, but not the first.
    let both =
        Server::key(OTHER2048.private.public_key().clone()).or(Server::key(RSA2048.private.public_key().clone()));
    let scenario = Scenario::new().trust(both.clone());
    let challenge = ServerHello::decode(&scenario.await_login().challenge[3..]).unwrap();
    assert!(challenge.proof.is_empty() && challenge.spki.is_empty());
    assert!(scenario.trust(both.without_proof()).finish().client.is_ok(), "the login goes on as with a fingerprint");
}

#[test]
fn a_secret_is_not_opened_for_somebody_who_means_another_connection() {
    let private = Arc::new(Counting::with(&RSA2048));
    let counted = ServerKey::with_decrypt(RSA2048.private.public_key().clone(), private.clone());
    let (none, tls) = (ChannelBinding::none, ChannelBinding::tls_exporter([7; 32]));
    for (differs, scenario) in [
        (Differs::Prologue, Scenario::new().prologues(b"mine 1", b"mine 2")),
        (Differs::Binding, Scenario::new().bindings(none(), tls.clone())),
        (Differs::Both, Scenario::new().prologues(b"mine", b"").bindings(tls, none())),
    ] {
        for scenario in [scenario.clone(), scenario.known_key()] {
            let scenario = scenario.server_key(counted.clone());
            let (hello, client) = scenario.await_challenge();
            let read = scenario.hello(&hello).unwrap();
            assert_eq!((read.differs(), read.is_sealed()), (Some(differs), false));
            let challenge = scenario.answer(&hello).unwrap().0;
            assert!(ServerHello::decode(&challenge[3..]).unwrap().proof.is_empty());
            assert_eq!(error(client.read(&challenge, at(CHALLENGE_AT))), Error::DifferentContext(differs));
        }
    }
    assert_eq!(private.count(), 0);
}

#[test]
fn what_a_server_does_not_know_is_skipped() {
    let extensions = || vec![(0x0a0a, vec![]), (1, vec![0xff; 100]), (0xfafa, vec![0]), (0xffff, vec![7; 500])];
    accepted(&edit(&genuine(), |hello: &mut ClientHello| hello.extensions = extensions()));
    // What a Busy and a ServerHello have mean nothing here, whatever is in them.
    for number in [3, 4] {
        for data in [vec![], vec![0xff], vec![1; 34], vec![0; 500]] {
            accepted(&edit(&genuine(), |hello: &mut ClientHello| hello.extensions = vec![(number, data)]));
        }
    }

    accepted(&edit(&genuine(), |hello: &mut ClientHello| hello.versions = vec![7, 0xffff, 1]));
    accepted(&edit(&genuine(), |hello: &mut ClientHello| hello.suites.extend([0x0101, 0x0199, 0x02ff])));
    accepted(&edit(&genuine(), |hello: &mut ClientHello| hello.known_keys = (0..8).map(|id| [id; 32]).collect()));
}

#[test]
fn the_server_s_order_of_suites_decides() {
    let (gcm, chacha) = (Suite::X25519_AES_256_GCM, Suite::X25519_CHACHA20_POLY1305);
    for (ours, theirs, picked) in [
        ([gcm, chacha], [chacha, gcm], gcm),
        ([chacha, gcm], [gcm, chacha], chacha),
        ([Suite::RSA_AES_256_GCM, chacha], [chacha, gcm], chacha),
    ] {
        let scenario = Scenario::new().server_suites(&ours).client_suites(&theirs);
        assert_eq!(scenario.challenge().suite(), picked);
        let (hello, _) = scenario.await_challenge();
        assert_eq!(scenario.await_hello().read(hello, at(HELLO_AT)).unwrap().suite(), picked);
    }
}

#[test]
fn the_application_sees_the_name_and_the_known_keys_and_chooses_the_key() {
    let scenario = Scenario::new().server_name("db.example").known_key();
    let (hello, _) = scenario.await_challenge();
    let choice = scenario.await_hello().read(hello.clone(), at(HELLO_AT)).unwrap();
    assert_eq!(choice.server_name(), "db.example");
    let known: Vec<KeyId> = choice.known_keys().collect();
    assert_eq!(known, [RSA2048.private.public_key().id()]);
    // A key that the client knows is left out; another is sent.
    for (key, sent) in [(&RSA2048, 0), (&OTHER2048, OTHER2048.private.public_key().spki_der().len())] {
        let choice = scenario.await_hello().read(hello.clone(), at(HELLO_AT)).unwrap();
        let (challenge, _) = choice.choose(&key.server).unwrap().challenge(&mut scenario.rng("server")).unwrap();
        let challenge = ServerHello::decode(&challenge[3..]).unwrap();
        assert_eq!(challenge.spki.len(), sent);
        assert_eq!(challenge.key_id, *key.private.public_key().id().as_bytes());
    }
}

#[test]
fn each_challenge_is_another() {
    let nonce = |seed| {
        let frame = Scenario::new().seed(seed).await_login().challenge;
        ServerHello::decode(&frame[3..]).unwrap().nonce
    };
    assert_ne!(nonce("one"), nonce("another"));
    assert_eq!(nonce("one"), nonce("one"));
}
