//! The client awaits a ServerHello, and decides whether to trust its key: rules C1 to C14 and T1 to T4.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use core::time::Duration;
use countersign::client::AwaitChallenge;
use countersign::codec::DecodeError;
use countersign::frame::{FrameError, FrameType};
use countersign::{
    ClientKey, Credential, CredentialKind, Differs, Error, KeyError, KeyExchange, Misuse, Server, SigningKey, Suite,
    Violation, server,
};
use sha2::{Digest, Sha256};
use support::wire::{Message, ServerHello, edit, hello_secret, prove};
use support::{
    CHALLENGE_AT, DEADLINE, OTHER2048, RSA2048, RSA3072, Scenario, TODAY, at, der, error, frame, not_that_frame,
    provider,
};

/// The client of a scenario with the genuine ServerHello changed: what it says, up to the login.
fn with(scenario: &Scenario, change: impl FnOnce(&mut ServerHello)) -> Result<(), Error> {
    let hellos = scenario.await_login();
    scenario.log_in(hellos.client, &edit(&hellos.challenge, change)).map(drop)
}

fn refused(change: impl FnOnce(&mut ServerHello)) -> Error {
    with(&Scenario::new(), change).unwrap_err()
}

fn with_rsa() -> Scenario {
    Scenario::new().suite(Suite::RSA_AES_256_GCM)
}

#[test]
fn c1_anything_but_a_server_hello_frame_is_refused() {
    let genuine = Scenario::new().await_login().challenge;
    let busy = FrameType::Busy.byte();
    for (bytes, expected) in not_that_frame(FrameType::ServerHello, &genuine) {
        // A Busy may come, too: C14.
        if bytes.first() == Some(&busy) {
            continue;
        }
        let refused = error(Scenario::new().await_challenge().1.read(&bytes, at(CHALLENGE_AT)));
        assert_eq!(refused, Error::Frame(expected), "{:?}", bytes.get(..8));
    }
    assert_eq!(AwaitChallenge::EXPECTS, [FrameType::ServerHello, FrameType::Busy]);
}

#[test]
fn c2_a_body_that_is_not_exactly_one_server_hello_is_refused() {
    let body = Scenario::new().await_login().challenge[3..].to_vec();
    let read = |body: &[u8]| error(Scenario::new().await_challenge().1.read(&frame(2, body), at(CHALLENGE_AT)));
    for cut in FrameType::ServerHello.min_body()..body.len() {
        assert_eq!(read(&body[..cut]), Error::Decode(DecodeError::Truncated), "cut at {cut}");
    }
    for extra in [1, 9, 700] {
        assert_eq!(read(&[&body[..], &vec![0; extra]].concat()), Error::Decode(DecodeError::Trailing(extra)));
    }
    let too_many = refused(|hello| hello.credential_kinds = (1..=9).collect());
    assert_eq!(too_many, Error::Decode(DecodeError::TooMany { found: 9, limit: 8 }));
    let too_many = refused(|hello| hello.extensions = (0..17).map(|number| (number, vec![])).collect());
    assert_eq!(too_many, Error::Decode(DecodeError::TooMany { found: 17, limit: 16 }));
}

#[test]
fn c3_a_version_that_was_not_offered_is_refused() {
    for version in [0, 2, 0x0100, 0xffff] {
        let expected = Violation::VersionNotOffered(version).into();
        assert_eq!(refused(|hello| hello.version = version), expected);
    }
}

#[test]
fn c4_a_suite_that_was_not_offered_is_refused() {
    for suite in [0x0101, 0x0102, 0x0200, 0x0203, 0x0301, 0x0000, 0xffff] {
        let changed = refused(|hello| {
            hello.suite = suite;
            hello.key_share.truncate(if suite >> 8 == 1 { 0 } else { 32 });
        });
        assert_eq!(changed, Violation::SuiteNotOffered(suite).into());
    }
    // Known and forward secret, but not on this client's list.
    let one = Scenario::new().client_suites(&[Suite::X25519_AES_256_GCM]);
    assert_eq!(with(&one, |hello| hello.suite = 0x0202), Err(Violation::SuiteNotOffered(0x0202).into()));
}

#[test]
fn c5_credential_kinds_that_are_empty_or_name_one_twice_are_refused() {
    let twice: Error = Violation::Duplicate("the credential kinds").into();
    assert_eq!(refused(|hello| hello.credential_kinds.clear()), Violation::Empty("the credential kinds").into());
    assert_eq!(refused(|hello| hello.credential_kinds = vec![1, 1]), twice);
    assert_eq!(refused(|hello| hello.credential_kinds = vec![9, 1, 2, 9]), twice);
}

#[test]
fn kinds_that_a_client_does_not_know_are_skipped() {
    let scenario = Scenario::new();
    let hellos = scenario.await_login();
    let kinds = |hello: &mut ServerHello| hello.credential_kinds = vec![0, 9, 1, 200];
    let challenge = hellos.client.read(&edit(&hellos.challenge, kinds), at(CHALLENGE_AT)).unwrap();
    assert_eq!(challenge.credential_kinds().collect::<Vec<_>>(), [CredentialKind::Password]);
}

#[test]
fn c6_a_key_that_is_left_out_and_was_not_listed_is_refused() {
    assert_eq!(refused(|hello| hello.spki.clear()), Violation::KeyNotSent.into());
    // Listed was another one.
    let known = Scenario::new().known_key();
    assert_eq!(with(&known, |hello| hello.key_id[0] ^= 1), Err(Violation::KeyNotSent.into()));
    let other = *OTHER2048.private.public_key().id().as_bytes();
    assert_eq!(with(&known, |hello| hello.key_id = other), Err(Violation::KeyNotSent.into()));
    // Pinned is not the same as at hand.
    let pinned = Scenario::new().trust(RSA2048.trust());
    assert_eq!(with(&pinned, |hello| hello.spki.clear()), Err(Violation::KeyNotSent.into()));
}

#[test]
fn a_listed_key_may_be_left_out_or_sent() {
    let known = knows_rsa2048();
    assert_eq!(with(&known, |hello| assert!(hello.spki.is_empty())), Ok(()));
    let spki = RSA2048.private.public_key().spki_der().to_vec();
    assert_eq!(proved(&known, |hello| hello.spki = spki), Ok(()));
    assert!(known.finish().client.is_ok());
}

#[test]
fn c7_an_spki_that_is_no_acceptable_server_key_is_refused() {
    const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let e = &[1, 0, 1][..];
    let mut even = der::modulus(2048);
    *even.last_mut().unwrap() &= 0xfe;
    let ec = der::sequence(&[&der::algorithm(EC, P256), &der::bit_string(&[4; 65])]);
    let cases = [
        (vec![0], KeyError::NotDer),
        ([RSA2048.private.public_key().spki_der(), &[0]].concat(), KeyError::NotDer),
        (ec, KeyError::NotRsa("1.2.840.10045.2.1".to_owned())),
        (der::spki(&der::modulus(1024), e), KeyError::Size(1024)),
        (der::spki(&der::modulus(2047), e), KeyError::Size(2047)),
        (der::spki(&even, e), KeyError::EvenModulus),
        (der::spki(&der::modulus(2048), &[3]), KeyError::Exponent),
        (der::spki(&der::modulus(2048), &[1]), KeyError::Exponent),
        (der::spki(&der::modulus(2048), &[1, 0, 0]), KeyError::Exponent),
        (der::spki(&der::modulus(2048), &[1; 9]), KeyError::Exponent),
    ];
    for (spki, expected) in cases {
        let id: [u8; 32] = Sha256::digest(&spki).into();
        let refused = refused(|hello| (hello.spki, hello.key_id) = (spki, id));
        assert_eq!(refused, Error::ServerKey(expected));
    }
    // One bit more than 8192, within the largest frame or not.
    let large = der::spki(&der::modulus(8193), e);
    let refused = refused(|hello| (hello.key_id, hello.spki) = (Sha256::digest(&large).into(), large));
    assert_eq!(refused, Error::ServerKey(KeyError::Size(8193)));
}

#[test]
fn c8_a_key_id_that_is_not_the_hash_of_the_key_is_refused() {
    let trusted = *RSA2048.private.public_key().id().as_bytes();
    let other = OTHER2048.private.public_key().spki_der().to_vec();
    // The pinned id over somebody else's key: the attack this rule is for.
    assert_eq!(refused(|hello| (hello.key_id, hello.spki) = (trusted, other)), Violation::KeyIdMismatch.into());
    assert_eq!(refused(|hello| hello.key_id[31] ^= 1), Violation::KeyIdMismatch.into());
    assert_eq!(refused(|hello| hello.key_id = [0; 32]), Violation::KeyIdMismatch.into());
}

#[test]
fn c9_a_key_share_where_the_suite_has_none_is_refused() {
    for share in [vec![0], vec![9; 32]] {
        assert_eq!(with(&with_rsa(), |hello| hello.key_share = share), Err(Violation::BadKeyShare.into()));
    }
    assert_eq!(with(&with_rsa(), |_| ()), Ok(()));
}

#[test]
fn c9_a_key_share_that_is_unusable_is_refused() {
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    let lengths = [0, 1, 31, 33, 64, 1216, 1537].map(|length| vec![9; length]);
    for share in lengths.into_iter().chain([vec![0; 32], minus_one.to_vec()]) {
        assert_eq!(refused(|hello| hello.key_share = share), Violation::BadKeyShare.into());
    }
}

#[test]
fn c9_a_joined_key_share_that_is_unusable_is_refused() {
    let hybrid = Scenario::new().suite(Suite::X25519MLKEM768_AES_256_GCM);
    let with_share = |change: &dyn Fn(&mut Vec<u8>)| with(&hybrid, |hello| change(&mut hello.key_share));
    assert_eq!(with_share(&|share| assert_eq!(share.len(), 1120)), Ok(()));
    for length in [0, 32, 1088, 1119, 1121, 1216] {
        assert_eq!(with_share(&|share| share.resize(length, 9)), Err(Violation::BadKeyShare.into()), "{length}");
    }
    assert_eq!(with_share(&|share| share[1088..].fill(0)), Err(Violation::BadKeyShare.into()));
    // Another ciphertext is another secret, which shows at the verdict (V2).
    assert_eq!(with_share(&|share| share[0] ^= 1), Ok(()));
}

#[test]
fn c10_a_challenge_after_the_deadline_is_refused() {
    let read = |millis| {
        let hellos = Scenario::new().await_login();
        assert_eq!(hellos.client.deadline(), at(DEADLINE));
        hellos.client.read(&hellos.challenge, at(millis)).map(drop)
    };
    assert_eq!(read(DEADLINE), Ok(()));
    assert_eq!(read(DEADLINE + 1), Err(Error::DeadlinePassed));
}

/// A client that has the server's key whole, under a suite of RSA alone, so that a test can make what belongs to it.
fn knows_rsa2048() -> Scenario {
    Scenario::new().suite(Suite::RSA_AES_256_GCM).known_key_under(KeyExchange::Rsa)
}

/// As [`with`], with the proof that belongs to the change: by the owner of the key, who keeps to no other rule.
fn proved(scenario: &Scenario, change: impl FnOnce(&mut ServerHello)) -> Result<(), Error> {
    let hellos = scenario.await_login();
    let challenge = edit(&hellos.challenge, change);
    let challenge = prove(&hello_secret(RSA2048.pem, &hellos.hello), &hellos.hello, &challenge);
    scenario.log_in(hellos.client, &challenge).map(drop)
}

#[test]
fn c11_another_context_than_the_client_s_is_refused_and_named() {
    for known in [Scenario::new(), Scenario::new().known_key()] {
        for bit in 0..64 {
            let differs = if bit < 32 { Differs::Prologue } else { Differs::Binding };
            let changed = with(&known, |hello| hello.context[bit / 8] ^= 1 << (bit % 8));
            assert_eq!(changed, Err(Error::DifferentContext(differs)));
        }
        let changed = with(&known, |hello| hello.context = [0; 8]);
        assert_eq!(changed, Err(Error::DifferentContext(Differs::Both)));
    }
    // Also by somebody who proves that the key is theirs.
    let changed = proved(&knows_rsa2048(), |hello| hello.context[0] ^= 1);
    assert_eq!(changed, Err(Error::DifferentContext(Differs::Prologue)));
}

const NOT_PROVED: Result<(), Error> = Err(Error::ProofNotAuthentic);

#[test]
fn c12_a_proof_of_another_length_is_refused() {
    for known in [Scenario::new().known_key(), knows_rsa2048()] {
        for length in [1, 16, 31, 33, 64, 1000] {
            assert_eq!(with(&known, |hello| hello.proof.resize(length, 0)), NOT_PROVED, "{length}");
        }
        assert_eq!(with(&known, |hello| assert_eq!(hello.proof.len(), 32)), Ok(()));
    }
}

#[test]
fn c12_a_proof_of_other_bytes_is_refused() {
    let known = Scenario::new().known_key();
    for bit in 0..256 {
        assert_eq!(with(&known, |hello| hello.proof[bit / 8] ^= 1 << (bit % 8)), NOT_PROVED, "bit {bit}");
    }
    assert_eq!(with(&known, |hello| hello.proof = vec![0; 32]), NOT_PROVED);
    // Somebody who knows another secret: that of the fallback, of no secret, of the client's connection before.
    let known = knows_rsa2048();
    let hellos = known.await_login();
    let before = known.clone().seed("before").await_challenge().0;
    for secret in [vec![0; 32], hello_secret(RSA2048.pem, &before)] {
        let challenge = prove(&secret, &hellos.hello, &hellos.challenge);
        let client = known.await_challenge().1;
        assert_eq!(known.log_in(client, &challenge).map(drop), NOT_PROVED);
    }
    // The right secret, and the proof of another exchange: of another hello, and of another answer to this one.
    let secret = hello_secret(RSA2048.pem, &hellos.hello);
    for (hello, change) in [(&before, false), (&hellos.hello, true)] {
        let challenge = edit(&hellos.challenge, |hello: &mut ServerHello| hello.nonce[0] ^= u8::from(change));
        let of_another = ServerHello::decode(&prove(&secret, hello, &challenge)[3..]).unwrap().proof;
        assert_eq!(with(&known, |hello| hello.proof = of_another), NOT_PROVED);
    }
    // The forger of these tests can prove it, where it is theirs to prove.
    assert_eq!(proved(&known, |hello| hello.nonce = [7; 32]), Ok(()));
}

#[test]
fn c12_a_proof_under_another_key_than_the_secret_was_sealed_to_is_refused() {
    // The client has both keys whole, and trusts both; the first is the one that it seals to.
    let both = Server::key(RSA2048.private.public_key().clone())
        .or(Server::key(OTHER2048.private.public_key().clone()))
        .with_floor(KeyExchange::Rsa);
    let scenario = knows_rsa2048().trust(both);
    let other = *OTHER2048.private.public_key().id().as_bytes();
    // The owner of the first key makes the client believe that the second key's owner has proved himself.
    assert_eq!(proved(&scenario, |hello| hello.key_id = other), NOT_PROVED);
    let spki = OTHER2048.private.public_key().spki_der().to_vec();
    assert_eq!(proved(&scenario, |hello| (hello.key_id, hello.spki) = (other, spki)), NOT_PROVED);
    assert_eq!(proved(&scenario, |_| ()), Ok(()));
}

#[test]
fn c12_a_proof_where_no_secret_was_sealed_is_refused() {
    for length in [1, 32, 33] {
        assert_eq!(with(&Scenario::new(), |hello| hello.proof = vec![7; length]), NOT_PROVED, "{length}");
    }
    let pinned = with_rsa();
    let hellos = pinned.await_login();
    let challenge = prove(&[0; 32], &hellos.hello, &hellos.challenge);
    assert_eq!(pinned.log_in(hellos.client, &challenge).map(drop), NOT_PROVED);
}

#[test]
fn c13_extensions_twice_or_too_long_are_refused() {
    let twice: Error = Violation::Duplicate("the extensions").into();
    assert_eq!(refused(|hello| hello.extensions = vec![(9, vec![]), (9, vec![1])]), twice);
    assert_eq!(refused(|hello| hello.extensions = vec![(0x0a0a, vec![]), (1, vec![]), (0x0a0a, vec![])]), twice);
    assert_eq!(
        refused(|hello| hello.extensions = vec![(9, vec![0; 16_381])]),
        Violation::Extensions(16_385).into(),
        "number and length count"
    );
    let halves = |second| vec![(1, vec![0; 8_000]), (0xff00, vec![0; second])];
    assert_eq!(refused(|hello| hello.extensions = halves(8_377)), Violation::Extensions(16_385).into());
    for good in [vec![(9, vec![0; 16_380])], halves(8_376), (0..16).map(|number| (number, vec![7; 1_020])).collect()] {
        assert_eq!(with(&Scenario::new(), |hello| hello.extensions = good), Ok(()));
    }
}

#[test]
fn an_extension_that_a_client_does_not_know_is_skipped() {
    let unknown = [vec![(0x0a0a, vec![])], vec![(1, vec![0xff; 100]), (0xfafa, vec![1]), (0xff00, vec![])]];
    // Those of a Busy and of a verdict, and that of a kind that this server does not take, mean nothing here, whatever is in them.
    let misplaced = [3, 4, 5]
        .into_iter()
        .flat_map(|number| [vec![], vec![0xff], vec![1; 34], vec![0; 500]].map(|data| vec![(number, data)]));
    for extensions in unknown.into_iter().chain(misplaced) {
        assert_eq!(proved(&knows_rsa2048(), |hello| hello.extensions = extensions.clone()), Ok(()), "{extensions:?}");
    }
}

#[test]
fn c14_a_busy_or_what_should_be_one_and_is_not_is_refused() {
    let read = |bytes: &[u8]| {
        let [pinned, known] = [Scenario::new(), Scenario::new().known_key()].map(|scenario| {
            let client = scenario.await_challenge().1;
            error(client.read(bytes, at(CHALLENGE_AT)))
        });
        assert_eq!(pinned, known);
        known
    };
    for (seconds, said) in [(0, 0), (7, 7), (65_535, 65_535), (70_000, 65_535)] {
        let busy = server::busy(Duration::from_secs(seconds));
        assert_eq!(busy.len(), 6);
        assert_eq!(read(&busy), Error::Busy { retry_after: said });
    }
    // What it may say beside is skipped, and what means something elsewhere alone.
    for number in [1, 2, 4, 5] {
        assert_eq!(read(&frame(9, &[0, 7, 1, 0, number, 0, 2, 9, 0xff])), Error::Busy { retry_after: 7 });
    }
    assert_eq!(read(&frame(9, &[0, 7, 2, 0, 3, 0, 1, 9, 0xff, 0, 0, 0])), Error::Busy { retry_after: 7 });
    assert_eq!(read(&frame(9, &[0, 7, 1])), Error::Decode(DecodeError::Truncated));
    assert_eq!(read(&frame(9, &[0, 7, 0, 0])), Error::Decode(DecodeError::Trailing(1)));
    let twice = Violation::Duplicate("the extensions").into();
    assert_eq!(read(&frame(9, &[0, 7, 2, 0, 3, 0, 0, 0, 3, 0, 0])), twice);
    for length in [2, 1_028] {
        let length_of_busy = FrameError::Length { kind: FrameType::Busy, len: length, min: 3, max: 1_027 };
        assert_eq!(read(&frame(9, &vec![0; length])), length_of_busy.into());
    }
    let late = Scenario::new().await_challenge().1.read(&server::busy(Duration::ZERO), at(DEADLINE + 1));
    assert_eq!(error(late), Error::DeadlinePassed);
}

#[test]
fn t4_a_server_that_does_not_prove_itself_gets_no_login_from_a_client_that_has_its_key() {
    let (ours, theirs) = (RSA2048.private.public_key(), OTHER2048.private.public_key());
    let no_proof = |key: &countersign::PublicKey| Err(Error::NoProof(key.id()));
    let known = Scenario::new().known_key();
    assert_eq!(with(&known, |hello| hello.proof.clear()), no_proof(ours));
    // What was wanted when the hello was sent stays wanted, whatever is said of the server later.
    let hellos = known.await_login();
    let stripped = edit(&hellos.challenge, |hello: &mut ServerHello| hello.proof.clear());
    let challenge = hellos.client.read(&stripped, at(CHALLENGE_AT)).unwrap();
    assert_eq!(challenge.trust(&RSA2048.trust(), TODAY).map(drop), no_proof(ours));
    // And what is wanted by then, whatever was known when it was sent.
    let learnt = Server::key(ours.clone());
    assert_eq!(Scenario::new().challenge().trust(&learnt, TODAY).map(drop), no_proof(ours));
    // A server that answers under another key, which is trusted, too: whole, or by its fingerprint.
    for theirs in [OTHER2048.trust(), Server::key(theirs.clone())] {
        let known = || Server::key(ours.clone());
        let moving = known().or(theirs.clone());
        let lax_first = OTHER2048.trust().without_proof().or(known());
        for moving in [moving.clone(), known().or(theirs.without_proof()), lax_first] {
            let scenario = Scenario::new().trust(moving).server_key(OTHER2048.server.clone());
            let met = with(&scenario, |hello| assert!(hello.proof.is_empty()));
            assert_eq!(met, no_proof(OTHER2048.private.public_key()), "one of the two wants one");
        }
        // Unless the user has said that it may go on.
        let scenario = Scenario::new().trust(moving.without_proof()).server_key(OTHER2048.server.clone());
        assert!(scenario.finish().client.is_ok());
    }
    // One that is not trusted is not asked for a proof.
    let scenario = Scenario::new().known_key().server_key(OTHER2048.server.clone());
    assert_eq!(with(&scenario, |_| ()), Err(Error::Untrusted(support::untrusted(theirs.id()))));
    // A server that has the key, and would not do the operation.
    let known = known.trust(Server::key(ours.clone()).without_proof());
    assert!(known.finish().client.is_ok_and(|session| session.info.is_proved()));
    assert_eq!(with(&known, |hello| hello.proof.clear()), Ok(()));
}

#[test]
fn t1_a_key_that_is_not_trusted_gets_no_login() {
    let id = RSA2048.private.public_key().id();
    for trust in [
        OTHER2048.trust(),
        Server::key(OTHER2048.private.public_key().clone()),
        OTHER2048.trust().or(RSA3072.trust()),
        OTHER2048.trust().with_floor(KeyExchange::Rsa),
    ] {
        let refused = error(Scenario::new().challenge().trust(&trust, TODAY));
        assert!(matches!(refused, Error::Untrusted(key) if key.key() == id));
    }
    for trust in [
        RSA2048.trust(),
        Server::key(RSA2048.private.public_key().clone()).without_proof(),
        OTHER2048.trust().or(RSA2048.trust()),
        RSA2048.trust().or(OTHER2048.trust()),
    ] {
        assert!(Scenario::new().challenge().trust(&trust, TODAY).is_ok());
    }
    assert_eq!(Scenario::new().challenge().key(), RSA2048.private.public_key());
}

#[test]
fn t2_a_suite_under_the_floor_gets_no_login() {
    let scenario = with_rsa();
    let under = Error::UnderFloor(Suite::RSA_AES_256_GCM);
    // The floor is forward secrecy unless somebody says otherwise, and the higher of two floors.
    let lowered = RSA2048.trust().with_floor(KeyExchange::Rsa);
    for trust in [RSA2048.trust(), lowered.clone().or(OTHER2048.trust()), OTHER2048.trust().or(lowered.clone())] {
        assert_eq!(error(scenario.challenge().trust(&trust, TODAY)), under);
    }
    assert!(scenario.challenge().trust(&lowered, TODAY).is_ok());
    assert!(Scenario::new().challenge().trust(&lowered, TODAY).is_ok());
}

#[test]
fn t3_a_credential_of_a_kind_that_is_not_taken_is_not_sent() {
    let (password, token) = (CredentialKind::Password, CredentialKind::Token);
    let tokens = Scenario::new().server_kinds(&[token]);
    assert_eq!(with(&tokens, |_| ()), Err(Error::KindNotTaken(password)));
    let passwords = Scenario::new().server_kinds(&[password]).credential(Credential::Token(b"a token"));
    assert_eq!(with(&passwords, |_| ()), Err(Error::KindNotTaken(token)));
    assert_eq!(refused(|hello| hello.credential_kinds = vec![2, 3]), Error::KindNotTaken(password));
    assert_eq!(refused(|hello| hello.credential_kinds = vec![3]), Error::KindNotTaken(password));
}

/// Run by hand: `cargo test --no-default-features --features rustcrypto --test client_await_challenge`.
#[cfg(not(feature = "stretch"))]
#[test]
fn a_build_that_can_not_stretch_passwords_says_so_where_the_server_takes_no_others() {
    use countersign::{StretchError, StretchParameters, Stretching};
    let stretching = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap();
    let stretched = Scenario::new().stretching(&stretching);
    assert_eq!(with(&stretched, |_| ()), Err(StretchError::NotBuilt.into()));
    let both = stretched.server_kinds(&[CredentialKind::Stretched, CredentialKind::Password]);
    assert_eq!(with(&both, |_| ()), Ok(()), "the password itself goes where it is taken");
    assert!(matches!(stretching.stretch("alice", b"password"), Err(StretchError::NotBuilt)));
}

#[test]
fn a_credential_out_of_bounds_is_not_sent() {
    const LONG: &str = match std::str::from_utf8(&[b'a'; 256]) {
        Ok(text) => text,
        Err(_) => panic!(),
    };
    let bad = Misuse::BadInput("the user name or the secret");
    let long = |what, len, limit| Misuse::TooLong { what, len, limit };
    for (credential, misuse) in [
        (Credential::Password { user: "", password: b"password" }, bad),
        (Credential::Password { user: "alice\n", password: b"password" }, bad),
        (Credential::Password { user: "alice\u{9f}", password: b"password" }, bad),
        (Credential::Password { user: "alice", password: b"" }, bad),
        (Credential::Token(b""), bad),
        (Credential::Password { user: LONG, password: b"password" }, long("the user name", 256, 255)),
        (Credential::Password { user: "alice", password: &[0; 4097] }, long("the secret", 4097, 4096)),
        (Credential::Token(&[0; 70000]), long("the secret", 70000, 4096)),
    ] {
        assert_eq!(with(&Scenario::new().credential(credential), |_| ()), Err(Error::Misuse(misuse)));
    }
}

#[test]
fn the_client_s_deadline_stays_the_same_through_every_state() {
    let scenario = Scenario::new();
    let challenge = scenario.challenge();
    assert_eq!(challenge.deadline(), at(DEADLINE));
    let trusted = challenge.trust(scenario.trusted(), TODAY).unwrap();
    assert_eq!(trusted.deadline(), at(DEADLINE));
    let (_, state) = trusted.login(scenario.credential, &mut scenario.rng("login")).unwrap();
    assert_eq!(state.deadline(), at(DEADLINE));
    // Where a signer elsewhere is asked, too.
    let scenario = scenario.server_kinds(&[CredentialKind::Key]);
    let trusted = scenario.challenge().trust(scenario.trusted(), TODAY).unwrap();
    let key = SigningKey::from_ed25519(&[7; 32]).unwrap();
    let signing = trusted.sign("alice", key.public_key(), &mut scenario.rng("login")).unwrap();
    assert_eq!(signing.deadline(), at(DEADLINE));
    let signature = ClientKey::load(&key, provider()).unwrap().sign(signing.message(), &mut scenario.rng("signer"));
    let (_, state) = signing.answer(&signature.unwrap()).unwrap();
    assert_eq!(state.deadline(), at(DEADLINE));
}

/// Of names and secrets nothing can be seen but how many blocks of 256 bytes they fill together.
#[test]
fn a_login_is_as_long_as_its_blocks_whatever_is_in_them() {
    let fixed = 1 + 2 + 2;
    for (scenario, ciphertext) in [(Scenario::new(), 256), (Scenario::new().known_key(), 0)] {
        for (user, secret) in [(1, 1), (5, 8), (255, 1), (5, 251 - 5), (5, 252 - 5), (5, 256), (255, 4096), (20, 487)] {
            let user: &'static str = "u".repeat(user).leak();
            let password: &'static [u8] = "p".repeat(secret).leak().as_bytes();
            let login = scenario.clone().credential(Credential::Password { user, password }).await_verdict().login;
            let blocks = (fixed + user.len() + password.len()).div_ceil(256);
            assert_eq!(login.len(), 3 + 2 + ciphertext + 2 + 256 * blocks + 16, "{} {}", user.len(), password.len());
        }
        let token = scenario.clone().credential(Credential::Token(b"t")).await_verdict().login;
        assert_eq!(token.len(), 3 + 2 + ciphertext + 2 + 256 + 16, "nor which kind it is");
    }
}
