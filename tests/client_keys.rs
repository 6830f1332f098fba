//! Logins by a key of the client's: what is signed, what a server refuses, and that a signature is of no use anywhere else.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::{Sign, SignError};
use countersign::server::Claim;
use countersign::{
    ClientKey, Credential, CredentialKind, CryptoRng, Error, Grant, Misuse, Reason, ServerConfig, SigningKey, Suite,
    TrustLevel, VerifyingKey,
};
use std::sync::{Arc, Mutex};
use support::wire::{self, Forger, Message as _, padded};
use support::{
    FLOOR, Hellos, LOGIN_AT, OTHER2048, RSA2048, RSA3072, Scenario, TODAY, VERDICT_AT, at, error, grant, provider,
};

const ALL: [CredentialKind; 3] = [CredentialKind::Password, CredentialKind::Token, CredentialKind::Key];

fn ed25519(seed: u8) -> SigningKey {
    SigningKey::from_ed25519(&[seed; 32]).unwrap()
}

/// One key of each kind.
fn keys() -> [SigningKey; 4] {
    [ed25519(7), SigningKey::from_p256(&[7; 32]).unwrap(), rsa_key(RSA2048.pem), rsa_key(RSA3072.pem)]
}

fn rsa_key(pem: &str) -> SigningKey {
    countersign::PrivateKey::from_pem(pem).unwrap().into()
}

fn load(key: &SigningKey) -> ClientKey {
    ClientKey::load(key, provider()).unwrap()
}

fn lp(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// What PROTOCOL.md, "KeyProof", has a key sign.
fn signed(transcript_r: &[u8; 32], user: &str) -> Vec<u8> {
    [&[b' '; 64][..], b"countersign v1 client signature", &[0], transcript_r, &lp(user.as_bytes())].concat()
}

/// The grant of a key that is alice's.
fn verify(claim: Claim, alices: &VerifyingKey) -> Result<countersign::server::Accepted, countersign::server::Refusal> {
    match claim.credential() {
        Credential::Key { user: "alice", key } if key.public_key() == alices => claim.accept(grant()),
        Credential::Key { .. } => Err(claim.reject(Reason::UnknownKey)),
        _ => Err(claim.reject(Reason::UnknownUser)),
    }
}

#[test]
fn a_client_logs_in_by_each_kind_of_key_with_a_proof_and_without() {
    for (key, scenario) in keys().iter().flat_map(|key| {
        let scenario = || Scenario::new().server_kinds(&ALL);
        [(key, scenario()), (key, scenario().known_key())]
    }) {
        let client_key = load(key);
        let Hellos { challenge, client, server, .. } = scenario.await_login();
        let trusted = client.read(&challenge, at(20)).unwrap().trust(scenario.trusted(), TODAY).unwrap();
        let credential = Credential::Key { user: "alice", key: &client_key };
        let (login, client) = trusted.login(credential, &mut scenario.rng("login")).unwrap();
        let claim = scenario.open(server, &login).unwrap();
        let Credential::Key { user: "alice", key: seen } = claim.credential() else { panic!("another credential") };
        assert!(!seen.can_sign(), "a server has the public half alone");
        let accepted = verify(claim, key.public_key()).unwrap();
        let session = client.read(&accepted.frame, at(VERDICT_AT), TODAY).unwrap();
        assert_eq!(session.info.id(), accepted.session.info.id());
    }
}

#[test]
fn what_is_signed_is_what_the_protocol_says_and_a_signer_elsewhere_answers_it() {
    let scenario = Scenario::new().server_kinds(&ALL);
    let Hellos { hello, challenge, client, server } = scenario.await_login();
    let trusted = client.read(&challenge, at(20)).unwrap().trust(scenario.trusted(), TODAY).unwrap();
    let key = ed25519(7);
    let signing = trusted.sign("alice", key.public_key(), &mut scenario.rng("login")).unwrap();
    let message = signing.message().to_vec();
    let signature = load(&key).sign(&message, &mut scenario.rng("sign")).unwrap();
    let (login, _) = signing.answer(&signature).unwrap();
    // The header, the ciphertext's length and the ciphertext.
    let transcript_r = wire::transcript(&[&hello, &challenge, &login[..5 + 256]]);
    assert_eq!(message, signed(&transcript_r, "alice"));
    assert!(verify(scenario.open(server, &login).unwrap(), key.public_key()).is_ok());
}

#[test]
fn a_signature_that_is_not_the_key_s_never_leaves() {
    type Lie = fn(Vec<u8>) -> Result<Vec<u8>, SignError>;
    struct Lies(Arc<dyn Sign>, Lie);
    impl Sign for Lies {
        fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
            self.1(self.0.sign(message, rng)?)
        }
    }
    let (ours, theirs) = (ed25519(7), ed25519(8));
    let signer = |key: &SigningKey| provider().signatures.unwrap().load_signer(key).unwrap();
    let log_in = |key: ClientKey| {
        let scenario = Scenario::new().server_kinds(&ALL);
        let trusted = scenario.challenge().trust(scenario.trusted(), TODAY).unwrap();
        trusted.login(Credential::Key { user: "alice", key: &key }, &mut scenario.rng("login")).map(drop)
    };
    let of_ours = |sign: Arc<dyn Sign>| log_in(ClientKey::with_sign(ours.public_key().clone(), sign));
    assert_eq!(of_ours(signer(&ours)), Ok(()));
    assert_eq!(of_ours(signer(&theirs)), Err(Error::Sign(SignError::Wrong)));
    let lies: [Lie; 3] = [
        |mut signature| {
            signature[9] ^= 1;
            Ok(signature)
        },
        |signature| Ok([signature, vec![0]].concat()),
        |_| Ok(Vec::new()),
    ];
    for lie in lies {
        assert_eq!(of_ours(Arc::new(Lies(signer(&ours), lie))), Err(Error::Sign(SignError::Wrong)));
    }
    assert_eq!(
        of_ours(Arc::new(Lies(signer(&ours), |_| Err(SignError::Refused)))),
        Err(Error::Sign(SignError::Refused))
    );
    assert_eq!(of_ours(Arc::new(Lies(signer(&ours), |_| panic!("boom")))), Err(Error::Sign(SignError::Panicked)));
    assert_eq!(log_in(ClientKey::public_only(ours.public_key().clone())), Err(Error::Sign(SignError::NotHere)));
}

#[test]
fn a_key_may_log_in_where_the_server_s_key_is_trusted_at_first_use_alone() {
    use countersign::{Answer, Question, Server, Trust};
    struct FirstUse;
    impl Trust for FirstUse {
        fn decide(&self, _: &Question<'_>) -> Answer {
            Answer::Trusted(TrustLevel::FirstUse)
        }

        fn scope(&self) -> String {
            String::new()
        }
    }
    let scenario = Scenario::new().server_kinds(&ALL);
    let key = load(&ed25519(7));
    let credential = Credential::Key { user: "alice", key: &key };
    let log_in = |server: &Server| {
        scenario.challenge().trust(server, TODAY).unwrap().login(credential, &mut scenario.rng("login")).map(drop)
    };
    assert_eq!(log_in(&Server::trusting(FirstUse)), Ok(()));
    let (kind, level) = (CredentialKind::Key, TrustLevel::FirstUse);
    let strict = Server::trusting(FirstUse).with_level_for(kind, TrustLevel::Verified);
    assert_eq!(log_in(&strict), Err(Error::TrustTooLow { kind, level }));
}

#[test]
fn a_server_takes_kinds_of_credentials_that_it_can_announce_and_no_others() {
    use CredentialKind::{Key, Stretched, Token};
    let taking = |kinds: &[CredentialKind]| ServerConfig::new(provider()).with_credential_kinds(kinds).err();
    assert!(ALL.iter().all(|kind| taking(&[*kind]).is_none()));
    let list = "the list of credential kinds";
    assert_eq!(
        [taking(&[]), taking(&[Token, Key, Token]), taking(&[Stretched])],
        // How passwords are stretched is said first.
        [Misuse::BadInput(list), Misuse::Duplicate(list), Misuse::UnsupportedKind(Stretched)].map(Some)
    );
}

#[test]
fn a_server_takes_no_keys_unless_it_is_told_to_and_can_check_them() {
    let key = load(&ed25519(7));
    let scenario = Scenario::new();
    let trusted = scenario.challenge().trust(scenario.trusted(), TODAY).unwrap();
    let refused = trusted.login(Credential::Key { user: "alice", key: &key }, &mut scenario.rng("login"));
    assert_eq!(error(refused), Error::KindNotTaken(CredentialKind::Key));
    let without = countersign::crypto::Provider { signatures: None, ..provider() };
    let refused = ServerConfig::new(without).with_credential_kinds(&ALL).map(drop);
    assert_eq!(refused, Err(Misuse::UnsupportedKind(CredentialKind::Key)));
}

/// What stands in `secret`, made from what is to be signed.
type Proof<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// A login by key that keeps to no rule: `proof` makes what stands in `secret` from what is to be signed.
fn forged(scenario: &Scenario, user: &str, proof: impl Fn(&[u8]) -> Vec<u8>) -> Claim {
    let hellos = scenario.await_login();
    let forger = Forger::new(&hellos.hello, &hellos.challenge);
    let mut rng = scenario.rng("forger");
    let ciphertext = forger.encrypt(&forger.bound_secret(), rsa::Oaep::new(), &mut rng);
    let credential =
        |secret: Vec<u8>| padded(wire::Credential { kind: 3, user: user.as_bytes().to_vec(), secret }.encode(), 256);
    // What is signed covers the header, whose length is that of the sealed credential.
    let draft = forger.login(&ciphertext, &credential(proof(&[0; 32])));
    let transcript_r = wire::transcript(&[&hellos.hello, &hellos.challenge, &draft[..5 + ciphertext.len()]]);
    let login = forger.login(&ciphertext, &credential(proof(&signed(&transcript_r, user))));
    scenario.open(hellos.server, &login).unwrap()
}

fn taking_keys() -> Scenario {
    Scenario::new().suite(Suite::RSA_CHACHA20_POLY1305).server_kinds(&ALL)
}

fn key_proof(spki: &[u8], signature: &[u8]) -> Vec<u8> {
    [lp(spki), lp(signature)].concat()
}

fn sign(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    load(key).sign(message, &mut support::TestRng::new("signature")).unwrap()
}

#[test]
fn l11_a_signature_that_is_not_the_key_s_or_a_key_that_is_not_allowed_is_refused() {
    let scenario = taking_keys();
    let key = ed25519(7);
    let spki = key.public_key().spki_der().to_vec();
    let good = |message: &[u8]| key_proof(&spki, &sign(&key, message));
    assert!(verify(forged(&scenario, "alice", good), key.public_key()).is_ok(), "the forger can do it right");
    // Of Ed448.
    let ed448 = [&hex::decode("3043300506032b6571033a00").unwrap()[..], &[7; 57]].concat();
    let weak = [&spki[..12], &[1], &[0; 31]].concat();
    let other = ed25519(8).public_key().spki_der().to_vec();
    let bad: [Proof<'_>; 9] = [
        &|message| key_proof(&other, &sign(&key, message)),
        &|message| key_proof(&spki, &sign(&ed25519(8), message)),
        &|message| key_proof(&spki, &sign(&key, &[message, b"x"].concat())),
        // Without what keeps it apart from other signatures.
        &|message| key_proof(&spki, &sign(&key, message.get(64..).unwrap_or(message))),
        &|message| key_proof(&spki, &sign(&key, message)[..63]),
        &|_| key_proof(&spki, &[]),
        &|message| key_proof(&ed448, &sign(&key, message)),
        &|message| key_proof(&weak, &sign(&key, message)),
        &|message| key_proof(&[&spki[..], &[0]].concat(), &sign(&key, message)),
    ];
    for (index, proof) in bad.into_iter().enumerate() {
        let claim = || forged(&scenario, "alice", proof);
        let refusal = claim().reject(Reason::UnknownUser);
        assert_eq!(refusal.reason, Reason::BadSignature, "{index}");
        assert_eq!((refusal.frame.len(), refusal.not_before), (2067, at(LOGIN_AT + FLOOR)));
        assert_eq!(error(claim().accept(grant())).reason, Reason::BadSignature, "{index}: it is a decoy");
        assert!(matches!(claim().credential(), Credential::Password { user: "", .. }), "{index}");
    }
    // One user's signature is none of another's.
    let mallory = forged(&scenario, "mallory", |message| {
        let transcript_r = message.get(96..128).and_then(|hash| hash.try_into().ok()).unwrap_or([0; 32]);
        key_proof(&spki, &sign(&key, &signed(&transcript_r, "alice")))
    });
    assert_eq!(mallory.reject(Reason::UnknownUser).reason, Reason::BadSignature);
}

#[test]
fn l8_a_secret_that_is_not_exactly_one_key_proof_is_refused() {
    let scenario = taking_keys();
    let key = ed25519(7);
    let good = |message: &[u8]| key_proof(key.public_key().spki_der(), &sign(&key, message));
    let bad: [Proof<'_>; 3] =
        [&|message| [good(message), vec![0]].concat(), &|message| good(message)[..20].to_vec(), &|message| {
            lp(&good(message))
        }];
    for proof in bad {
        assert_eq!(forged(&scenario, "alice", proof).reject(Reason::UnknownUser).reason, Reason::NotOpened);
    }
    for user in ["", "al\nice"] {
        assert_eq!(forged(&scenario, user, good).reject(Reason::UnknownUser).reason, Reason::NotOpened);
    }
}

#[test]
fn where_keys_come_first_what_does_not_open_is_checked_as_a_key_that_nobody_has() {
    let scenario = Scenario::new().server_kinds(&[CredentialKind::Key, CredentialKind::Password]);
    let login = scenario.await_verdict().login;
    let mut altered = login.clone();
    *altered.last_mut().unwrap() ^= 1;
    let claim = scenario.open(scenario.await_login().server, &altered).unwrap();
    assert!(matches!(claim.credential(), Credential::Key { user: "", .. }));
    assert_eq!(error(claim.accept(Grant::new("alice", [""; 0]).unwrap())).reason, Reason::NotOpened);
}

/// What somebody in the middle gets who has a victim sign: signatures over connections of their own making.
#[test]
fn a_signature_shown_to_one_server_is_refused_by_another_and_on_another_connection() {
    let victim = ed25519(7);
    let stolen: Arc<Mutex<Vec<u8>>> = Arc::default();
    // The victim logs in to the attacker's server, which it trusts, at first use perhaps.
    let evil = Scenario::new().server_kinds(&ALL).server_key(OTHER2048.server.clone()).trust(OTHER2048.trust());
    let trusted = evil.challenge().trust(evil.trusted(), TODAY).unwrap();
    let signing = trusted.sign("alice", victim.public_key(), &mut evil.rng("login")).unwrap();
    *stolen.lock().unwrap() = sign(&victim, signing.message());
    // The attacker shows it to the right one.
    let scenario = taking_keys();
    let proof = |_: &[u8]| key_proof(victim.public_key().spki_der(), &stolen.lock().unwrap());
    assert_eq!(forged(&scenario, "alice", proof).reject(Reason::UnknownUser).reason, Reason::BadSignature);
    // One that the right server has seen is of no use on another connection to it.
    let first = taking_keys();
    let seen = Mutex::new(Vec::new());
    let remember = |message: &[u8]| {
        *seen.lock().unwrap() = sign(&victim, message);
        key_proof(victim.public_key().spki_der(), &seen.lock().unwrap())
    };
    assert!(verify(forged(&first, "alice", remember), victim.public_key()).is_ok());
    let again = |_: &[u8]| key_proof(victim.public_key().spki_der(), &seen.lock().unwrap());
    let second = taking_keys().seed("another connection");
    assert_eq!(forged(&second, "alice", again).reject(Reason::UnknownUser).reason, Reason::BadSignature);
}
