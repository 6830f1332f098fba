//! What is secret is never printed, and what must move between threads can.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::codec::{self, Bytes, CredentialMessage, Text};
use countersign::crypto::{Decrypted, SharedSecret};
use countersign::frame::FrameReader;
use countersign::server::{AwaitLogin, Claim, Login, Open, Refusal};
use countersign::{
    ChannelBinding, ClientConfig, Credential, Moment, Opener, PrivateKey, Reason, Sealer, Server, ServerConfig,
    ServerKey, Session, SessionInfo, Verifier, blocking, client, server,
};
use std::fmt::Debug;
use support::der::Numbers;
use support::{LOGIN_AT, RSA2048, Scenario, Sent, at, grant};

const USER: &str = "a-user-nobody-may-see";
const PASSWORD: &[u8] = b"a-password-nobody-may-see";
const SECRET: [u8; 32] = *b"thirty-two bytes nobody may see!";

/// The ways in which bytes turn up in text: as they are, in hex, and as a list of numbers.
fn shapes(secret: &[u8]) -> Vec<String> {
    // A part is as bad as the whole.
    let part = &secret[..secret.len().min(6)];
    let list = format!("{part:?}");
    let hex_list = format!("{part:x?}");
    let pretty = format!("{part:#?}").replace(['[', ']'], "");
    vec![
        String::from_utf8_lossy(part).into_owned(),
        hex::encode(part),
        hex::encode_upper(part),
        list.trim_matches(['[', ']']).to_owned(),
        hex_list.trim_matches(['[', ']']).to_owned(),
        pretty.trim().to_owned(),
    ]
}

/// Panics where `value` prints any of the secrets.
fn prints_none(value: &dyn Debug, secrets: &[Vec<u8>]) -> String {
    let printed = format!("{value:?}\n{value:#?}\n{value:x?}");
    for secret in secrets {
        for shape in shapes(secret) {
            assert!(!printed.contains(&shape), "{shape:?} in {printed}");
        }
    }
    format!("{value:?}")
}

fn secrets() -> Vec<Vec<u8>> {
    let mut secrets = vec![USER.into(), PASSWORD.to_vec(), SECRET.to_vec()];
    let [_, _, private @ ..] = Numbers::of(RSA2048.pem).0;
    secrets.extend(private);
    // Of the key in PEM, past what every key begins with.
    secrets.push(RSA2048.pem.as_bytes()[200..240].to_vec());
    secrets
}

#[test]
fn the_check_of_these_tests_finds_what_it_looks_for() {
    #[derive(Debug)]
    #[allow(dead_code)]
    struct Careless<T>(T);
    for value in [
        &Careless(PASSWORD) as &dyn Debug,
        &Careless(std::str::from_utf8(PASSWORD).unwrap()),
        &Careless(hex::encode(PASSWORD)),
    ] {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| prints_none(value, &secrets())));
        assert!(caught.is_err(), "{value:?}");
    }
}

/// A scenario with every secret there is.
fn scenario() -> Scenario {
    let binding = ChannelBinding::tls_exporter(SECRET);
    let user = Credential::Password { user: USER, password: PASSWORD };
    Scenario::new().credential(user).bindings(binding.clone(), binding)
}

#[test]
fn no_state_prints_a_secret() {
    let scenario = scenario();
    let secrets = secrets();
    let Sent { hello, challenge, login, client, server } = scenario.await_verdict();
    let waiting = server.read(login.clone(), at(LOGIN_AT)).unwrap();
    let claim = || scenario.open(scenario.await_login().server, &login).unwrap();
    let admitted = scenario.await_verdict().server.read(login.clone(), at(LOGIN_AT)).unwrap().admit();
    let accepted = claim().accept(grant()).unwrap();
    let client_session = client.read(&accepted.frame, at(LOGIN_AT)).unwrap();
    let exported = {
        let mut key = vec![0; 32];
        client_session.info.export("key", b"", &mut key).unwrap();
        key
    };
    let secrets = [secrets, vec![exported]].concat();
    let refusal = claim().reject(Reason::WrongPassword);
    let challenged = scenario.challenge();
    let trusted = scenario.challenge().trust(scenario.trusted()).unwrap();
    let await_hello = scenario.await_hello();
    let choice = scenario.await_hello().read(hello, at(1)).unwrap();
    let mut reader = FrameReader::new();
    reader.feed(&login[..login.len() - 1], AwaitLogin::EXPECTS).unwrap();
    let states: [&dyn Debug; 17] = [
        &await_hello,
        &choice,
        &scenario.await_login().server,
        &scenario.await_challenge().1,
        &challenged,
        &trusted,
        &scenario.await_verdict().client,
        &waiting,
        &admitted,
        &claim(),
        &accepted,
        &refusal,
        &client_session,
        &client_session.info,
        &reader,
        &codec::decode::<codec::ClientLogin<'_>>(&login[3..]).unwrap(),
        &codec::decode::<codec::ServerHello<'_>>(&challenge[3..]).unwrap(),
    ];
    for state in states {
        prints_none(state, &secrets);
    }
    let Session { info, sealer, opener } = accepted.session;
    for state in [&info as &dyn Debug, &sealer, &opener] {
        prints_none(state, &secrets);
    }
    assert_eq!(format!("{:?}", scenario.await_login().server), "AwaitLogin { .. }");
    assert_eq!(format!("{:?}", claim()), "Claim { .. }");
}

#[test]
fn no_key_and_no_setting_prints_a_secret() {
    let secrets = secrets();
    let scenario = scenario();
    let credential = CredentialMessage { kind: 1, user: Text(USER), secret: Bytes(PASSWORD) };
    let values: [&dyn Debug; 13] = [
        &RSA2048.private,
        &RSA2048.private.to_pem(),
        &RSA2048.server,
        RSA2048.private.public_key(),
        &Server::key(RSA2048.private.public_key().clone()),
        &ChannelBinding::tls_exporter(SECRET),
        &scenario.client_config(),
        &scenario.server_config(),
        &Decrypted::new(&[SECRET, SECRET].concat()),
        &SharedSecret::new(&SECRET).unwrap(),
        &credential,
        &Bytes(&SECRET),
        &Text(USER),
    ];
    for value in values {
        prints_none(value, &secrets);
    }
    // And no error has room for one.
    let refused = scenario.finish();
    prints_none(&refused.server.err(), &secrets);
    prints_none(&refused.client.err(), &secrets);
}

#[test]
fn a_record_prints_its_length_alone() {
    let (mut client, mut server) = Scenario::new().sessions();
    let mut record = Vec::new();
    client.sealer.seal(PASSWORD, &mut record).unwrap();
    let received = server.opener.open(&mut record).unwrap();
    assert_eq!(prints_none(&received, &secrets()), format!("Data({} bytes)", PASSWORD.len()));
}

#[test]
fn streams_print_no_secret() {
    let scenario = scenario();
    let (client, server) = (scenario.client_config(), scenario.server_config());
    let binding = ChannelBinding::tls_exporter(SECRET);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    let verify = |_: Credential<'_>| Ok(grant());
    std::thread::scope(|scope| {
        let (scenario, theirs) = (&scenario, binding.clone());
        let server = scope.spawn(move || {
            let key = scenario.private_key().clone();
            let arrival = blocking::receive(far, &server, &theirs, |_| Some(key), &verify).unwrap();
            prints_none(&arrival, &secrets());
            let blocking::Arrival::Login(incoming) = arrival else { panic!("there was no ticket") };
            prints_none(&incoming, &secrets());
            prints_none(&incoming.verify(&verify).unwrap(), &secrets());
        });
        let stream = blocking::connect(near, &client, &binding, scenario.trusted(), scenario.credential).unwrap();
        prints_none(&stream, &secrets());
        let (_, reader, writer) = stream.split(std::net::TcpStream::try_clone).unwrap();
        prints_none(&reader, &secrets());
        prints_none(&writer, &secrets());
        server.join().unwrap();
    });
}

#[cfg(feature = "accounts")]
#[test]
fn accounts_print_no_hash() {
    let mut accounts = countersign::Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts.set_password("alice", PASSWORD).unwrap();
    let token = accounts.issue_token("alice").unwrap();
    let text = accounts.to_string();
    let hashes: Vec<Vec<u8>> = text
        .split_whitespace()
        .filter_map(|word| word.rsplit_once(['$', ':']))
        .map(|(_, hash)| hash.as_bytes().to_vec())
        .collect();
    assert_eq!(hashes.len(), 2);
    let secrets = [secrets(), hashes, vec![token.as_bytes().to_vec()]].concat();
    prints_none(&accounts, &secrets);
    prints_none(accounts.get("alice").unwrap(), &secrets);
}

#[test]
fn what_goes_to_other_threads_can() {
    fn send<T: Send + 'static>() {}
    fn share<T: Send + Sync + 'static>() {}
    // The RSA operation and what comes of it: the point of having it as a step.
    send::<Open>();
    send::<Claim>();
    // Every state, as a server moves connections between threads.
    send::<server::AwaitHello>();
    send::<AwaitLogin>();
    send::<Login>();
    send::<server::Accepted>();
    send::<Refusal>();
    send::<client::AwaitChallenge>();
    send::<client::Challenge>();
    send::<client::Trusted>();
    send::<client::AwaitVerdict>();
    send::<Session>();
    send::<Sealer>();
    send::<Opener>();
    send::<blocking::Stream<std::net::TcpStream>>();
    send::<blocking::Incoming<std::net::TcpStream>>();
    send::<FrameReader>();
    send::<Decrypted>();
    // What every connection shares.
    share::<ServerConfig>();
    share::<ClientConfig>();
    share::<ServerKey>();
    share::<PrivateKey>();
    share::<Server>();
    share::<ChannelBinding>();
    share::<SessionInfo>();
    share::<Moment>();
    share::<countersign::Error>();
    share::<blocking::Error>();
    // A verifier may be a trait object.
    let _: &dyn Verifier = &support::verifier;
    share::<Box<dyn Verifier>>();
}
