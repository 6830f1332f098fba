//! What is secret is never printed, and what must move between threads can.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::codec::{self, Bytes, CredentialMessage, Text};
use countersign::crypto::{Decrypted, SharedSecret};
use countersign::frame::FrameReader;
use countersign::server::{AwaitLogin, Claim, Login, Refusal};
use countersign::{
    Acceptor, Attempt, Begun, Bounds, ChannelBinding, ClientConfig, Connector, Context, Credential, CredentialKind,
    Form, LoginError, MemoryTickets, Moment, Opener, PrivateKey, Prompt, Reason, Sealer, Server, ServerConfig,
    ServerKey, ServerKeys, Session, SessionInfo, SigningKey, Stream, Ticket, TicketCache, TicketKeys, UnixTime,
    Verifier, blocking, client, server,
};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use support::der::Numbers;
use support::{LOGIN_AT, RSA2048, Scenario, Sent, TODAY, at, grant, provider};

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
    let client_session = client.read(&accepted.frame, at(LOGIN_AT), TODAY).unwrap();
    let exported = {
        let mut key = vec![0; 32];
        client_session.info.export("key", b"", &mut key).unwrap();
        key
    };
    let secrets = [secrets, vec![exported]].concat();
    let refusal = claim().reject(Reason::WrongPassword);
    let challenged = scenario.challenge();
    let trusted = scenario.challenge().trust(scenario.trusted(), TODAY).unwrap();
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
    let Session { info, sealer, opener, .. } = accepted.session;
    for state in [&info as &dyn Debug, &sealer, &opener] {
        prints_none(state, &secrets);
    }
    // What it exports from is not known here: so it prints this and nothing else.
    assert_eq!(
        format!("{info:?}"),
        format!("SessionInfo {{ id: {}, grant: {:?}, .. }}", info.id(), info.login_grant())
    );
    assert_eq!(format!("{:?}", scenario.await_login().server), "AwaitLogin { .. }");
    assert_eq!(format!("{:?}", claim()), "Claim { .. }");
}

/// How each state on the way to a session is printed, and the session.
fn states() -> BTreeSet<String> {
    let mut states = BTreeSet::new();
    let mut add = |state: &dyn Debug| states.extend([format!("{state:?}")]);
    let tickets = TicketKeys::new(provider(), Duration::from_secs(60));
    let kinds = [CredentialKind::Password, CredentialKind::Key];
    let scenario = Scenario::new().server_kinds(&kinds).tickets(tickets).factors();
    let (rng, none) = (&mut scenario.rng("states"), ChannelBinding::none());

    // A puzzle, a secret in the hello, and a signature.
    add(&scenario.await_hello());
    let chosen = |scenario: &Scenario| scenario.await_hello().read(scenario.await_challenge().0, at(1)).unwrap();
    add(&chosen(&scenario));
    let hello = chosen(&scenario).choose(scenario.private_key()).unwrap();
    add(&hello);
    let difficulty = countersign::PuzzleDifficulty::new(1).unwrap();
    add(&hello.puzzle(difficulty, Duration::from_secs(1), rng).unwrap().1);
    let known = scenario.clone().known_key();
    add(&chosen(&known).choose(known.private_key()).unwrap().open(rng).unwrap());
    add(&scenario.await_challenge().1);
    add(&scenario.challenge());
    let trusted = || scenario.challenge().trust(scenario.trusted(), TODAY).unwrap();
    add(&trusted());
    let key = SigningKey::from_ed25519(&SECRET).unwrap();
    add(&trusted().sign("alice", key.public_key(), rng).unwrap());

    // A password, and a further factor.
    let prompt = Prompt::new(Form::Code, "The code").unwrap();
    let Sent { login, client, server, .. } = scenario.await_verdict();
    add(&client);
    add(&server);
    add(&server.read(login, at(LOGIN_AT)).unwrap());
    add(&scenario.claim());
    let asked = scenario.claim().ask(&prompt, at(LOGIN_AT)).unwrap();
    add(&asked);
    add(&asked.state);
    let client::Verdict::Factor(wanted) = client.read_step(&asked.frame, at(LOGIN_AT), TODAY).unwrap() else {
        panic!("a factor is wanted")
    };
    add(&wanted);
    let (answer, client) = wanted.answer(PASSWORD, at(LOGIN_AT)).unwrap();
    let factor = asked.state.read(answer, at(LOGIN_AT)).unwrap();
    assert_eq!(factor.answer(), PASSWORD);
    add(&factor);
    let accepted = factor.accept_with_ticket(grant().with_epoch(1), TODAY, rng).unwrap();
    add(&accepted);
    let session = client.read(&accepted.frame, at(LOGIN_AT), TODAY).unwrap();
    add(&session);
    add(&session.sealer);
    add(&session.opener);

    // A ticket.
    let ticket = session.info.ticket().unwrap().clone();
    let shown = scenario.trusted().resume(ticket, "alice", TODAY).unwrap();
    let (hello, waiting) =
        client::resume(&scenario.client_config(), scenario.trusted(), &none, shown, rng, at(0)).unwrap();
    add(&waiting);
    let hello = scenario.hello(&hello).unwrap();
    let claim = hello.ticket(TODAY).unwrap();
    add(&claim);
    let fresh = claim.use_up_now().unwrap();
    add(&fresh);
    let (frame, confirm) = hello.resume(fresh, grant().with_epoch(1), TODAY, rng).unwrap();
    add(&confirm);
    let client::Answer::Resumed(resumed) = waiting.read(&frame, at(1), TODAY).unwrap() else { panic!("it is good") };
    add(&resumed);
    states
}

/// What a state holds is not known here: so it prints its name and nothing else.
#[test]
fn every_state_prints_its_name_alone() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = vec![source.join("terms/ticket.rs")];
    for folder in ["handshake", "handshake/client", "handshake/server"] {
        paths.extend(std::fs::read_dir(source.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let mut names: BTreeSet<String> = ["Session", "Sealer", "Opener"].map(str::to_owned).into();
    for path in paths.iter().filter(|path| path.is_file()) {
        let source = std::fs::read_to_string(path).unwrap();
        let found = source.lines().filter_map(|line| line.strip_prefix("pub struct "));
        names.extend(found.map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()));
    }
    // Settings, what is told of a refusal, and what is in an `Open` and not to be had alone.
    for other in ["ServerConfig", "ClientConfig", "Refusal", "SealedHello", "SealedLogin"] {
        assert!(names.remove(other), "{other}");
    }
    assert_eq!(states(), names.iter().map(|name| format!("{name} {{ .. }}")).collect());
}

#[cfg(feature = "stretch")]
#[test]
fn a_stretched_password_prints_nothing() {
    let weakest = countersign::StretchParameters::new(7, 5, 1).unwrap();
    let stretching = countersign::Stretching::new("db.example", &[weakest]).unwrap().with_moving();
    let stretched = stretching.stretch(USER, PASSWORD).unwrap();
    assert_eq!(stretched.password(), Some(PASSWORD), "it has the password itself, too");
    assert_eq!(prints_none(&stretched, &secrets()), "StretchedPassword { .. }");
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

/// What both ends of a login hold, and what they say of a refused one.
#[test]
fn acceptors_connectors_and_streams_print_no_secret() {
    let binding = ChannelBinding::tls_exporter(SECRET);
    let prologue = SECRET;
    let tickets = Arc::new(TicketKeys::new(provider(), Duration::from_secs(60)));
    let config = ServerConfig::new(provider()).with_prologue(&prologue).unwrap().with_tickets(Arc::clone(&tickets));
    let config = config.with_refusal_floor(Duration::ZERO);
    let judge = |attempt: &Attempt<'_>| {
        prints_none(attempt, &secrets());
        match attempt.credential() {
            Credential::Password { user: USER, password: PASSWORD } => Ok(grant().with_epoch(7)),
            _ => Err(Reason::WrongPassword),
        }
    };
    let keys = ServerKeys::from(RSA2048.server.clone());
    let acceptor = Acceptor::new(config, keys.clone(), judge).with_bounds(Bounds::default());
    let client = ClientConfig::new(provider()).with_prologue(&prologue).unwrap();
    let connector = Connector::new(client, RSA2048.trust()).with_binding(binding.clone());
    let context = Context::uncounted().with_binding(binding).with_value(SECRET);
    for value in [&tickets as &dyn Debug, &keys, &acceptor, &acceptor.counts(), &connector, &context] {
        prints_none(value, &secrets());
    }
    let ends = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (acceptor, context, far) = (acceptor.clone(), context.clone(), listener.accept().unwrap().0);
        (near, std::thread::spawn(move || acceptor.accept_blocking(far, context)))
    };
    let user = Credential::Password { user: USER, password: PASSWORD };
    let (near, server) = ends();
    let mut near = Some(near);
    let begun = connector.begin_blocking(|| Ok(near.take().unwrap()), None).unwrap();
    assert_eq!(prints_none(&begun, &secrets()), "Trusted");
    let Begun::Trusted(trusted) = begun else { panic!("there was no ticket") };
    prints_none(&trusted, &secrets());
    let stream = trusted.login_blocking(user).unwrap();
    let server = server.join().unwrap().unwrap();
    let ticket = stream.info().ticket().unwrap().clone();
    let kept = ticket.to_bytes().unwrap();
    let mut exported = vec![0; 32];
    stream.info().export("key", b"", &mut exported).unwrap();
    let keys_of_tickets = tickets.export(UnixTime::from_secs(1), &mut Scenario::new().rng("export")).unwrap();
    // Behind a version, a count and the key's name.
    let of_tickets = keys_of_tickets[10..].to_vec();
    let secrets = [secrets(), vec![kept[43..75].to_vec(), kept[77..].to_vec(), exported, of_tickets]].concat();
    let cache = MemoryTickets::new();
    cache.put(connector.server(), "somebody", &ticket);
    let trusted =
        connector.server().resume(ticket.clone(), USER, UnixTime::from_system(std::time::SystemTime::now())).unwrap();
    let values: [&dyn Debug; 10] = [
        &kept,
        &keys_of_tickets,
        &stream,
        &server,
        stream.info(),
        &ticket,
        &trusted,
        &cache,
        &connector.clone().with_tickets(cache_of(&ticket)),
        &tickets,
    ];
    for value in values {
        prints_none(value, &secrets);
    }
    for (info, reader, writer) in [stream, server].map(|stream| stream.split(std::net::TcpStream::try_clone).unwrap()) {
        for value in [&info as &dyn Debug, &reader, &writer] {
            prints_none(value, &secrets);
        }
    }
    // A refusal names whom it refused, and nothing that they showed.
    let (near, server) = ends();
    let wrong = Credential::Password { user: "alice", password: PASSWORD };
    let client = connector.connect_blocking(near, wrong).map(drop).unwrap_err();
    let server = server.join().unwrap().map(drop).unwrap_err();
    for error in [client, server] {
        prints_none(&error, &secrets);
        let code = error.code();
        let error = std::io::Error::from(error);
        prints_none(&error, &secrets);
        assert!(!code.is_empty() && !format!("{error}").contains("password-nobody"));
    }
}

fn cache_of(ticket: &Ticket) -> MemoryTickets {
    let cache = MemoryTickets::new();
    cache.put(&RSA2048.trust(), "somebody", ticket);
    cache
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn streams_over_tokio_print_no_secret() {
    let judge = |_: &Attempt<'_>| Ok(grant());
    let acceptor = Acceptor::new(ServerConfig::new(provider()), RSA2048.server.clone(), judge);
    let connector = Connector::new(ClientConfig::new(provider()), RSA2048.trust());
    let (near, far) = tokio::io::duplex(4096);
    let accept = async { acceptor.accept(far, Context::uncounted()).await.unwrap() };
    let connect = async {
        let mut near = Some(near);
        let begun = connector.begin(|| core::future::ready(Ok(near.take().unwrap())), None).await.unwrap();
        assert_eq!(prints_none(&begun, &secrets()), "Trusted");
        let Begun::Trusted(trusted) = begun else { panic!("there was no ticket") };
        prints_none(&trusted, &secrets());
        trusted.login(Credential::Password { user: USER, password: PASSWORD }).await.unwrap()
    };
    let (client, server) = tokio::join!(connect, accept);
    let mut exported = vec![0; 32];
    client.info().export("key", b"", &mut exported).unwrap();
    let secrets = [secrets(), vec![exported]].concat();
    prints_none(&client, &secrets);
    prints_none(&server, &secrets);
    prints_none(&client.closing_on_drop(), &secrets);
}

#[cfg(feature = "accounts")]
#[test]
fn accounts_print_no_hash() {
    let mut accounts = countersign::Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts.edit("alice", |account| account.set_password(PASSWORD)).unwrap();
    let token = accounts.edit("alice", |account| account.issue_token()).unwrap();
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
    let check = countersign::accounts::PasswordCheck::imitating([std::str::from_utf8(&hashes_of(&text)).unwrap()]);
    prints_none(&check, &secrets);
    let prepared = check.unwrap().prepare(USER, PASSWORD, Some(String::from_utf8(hashes_of(&text)).unwrap()));
    prints_none(&prepared, &secrets);
}

/// The stored hash as it stands in the file.
#[cfg(feature = "accounts")]
fn hashes_of(text: &str) -> Vec<u8> {
    let field = text.split_whitespace().find_map(|word| word.strip_prefix("password=")).unwrap();
    field.as_bytes().to_vec()
}

#[test]
fn what_goes_to_other_threads_can() {
    fn send<T: Send + 'static>() {}
    fn share<T: Send + Sync + 'static>() {}
    // The RSA operation and what comes of it: the point of having it as a step.
    send::<server::Open<server::SealedHello>>();
    send::<server::Open<server::SealedLogin>>();
    send::<server::Hello>();
    send::<server::AwaitConfirm>();
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
    send::<Stream<std::net::TcpStream>>();
    send::<blocking::Reader<std::net::TcpStream>>();
    send::<blocking::Writer<std::net::TcpStream>>();
    send::<blocking::BlockingLink<std::net::TcpStream>>();
    send::<Begun<blocking::BlockingLink<std::net::TcpStream>>>();
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
    share::<LoginError>();
    share::<Acceptor>();
    share::<Connector>();
    share::<Context>();
    share::<TicketKeys>();
    share::<Ticket>();
    share::<MemoryTickets>();
    // A verifier may be a trait object.
    let _: Arc<dyn Verifier> = Arc::new(support::verifier);
}
