//! Two providers, one protocol: whatever one does, the other understands. Each by itself passes all the other tests,
//! `rustcrypto` in a build with all features, `aws-lc-rs` in one without `rustcrypto`.

#![cfg(all(feature = "rustcrypto", feature = "ml-kem", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use core::convert::Infallible;
use countersign::client::Answer;
use countersign::crypto::{
    Agreement, CryptoError, CryptoRng, Exchange, Group, ParseSuiteError, Provider, SharedSecret, aws_lc, rustcrypto,
};
use countersign::server::AwaitHello;
use countersign::{
    Aead, ChannelBinding, ClientConfig, Error, Grant, KeyError, KeyExchange, KeySize, Misuse, PrivateKey, Server,
    ServerConfig, ServerKey, Session, Suite, TicketKeys, UnixTime, client,
};
use rand_core::{TryCryptoRng, TryRng};
use std::sync::Arc;
use std::time::Duration;
use support::{ALICE, OTHER2048, RSA2048, RSA3072, RSA4096, TestKey, TestRng, at};

/// In both orders: each provider is once the client's and once the server's.
fn pairs() -> [[Provider; 2]; 2] {
    let [ours, theirs] = [rustcrypto::provider(), aws_lc::provider()];
    [[ours, theirs], [theirs, ours]]
}

const TODAY: UnixTime = UnixTime::from_secs(1_800_000_000);

struct Peers {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    key: ServerKey,
    trust: Server,
    rng: TestRng,
}

impl Peers {
    fn new([client, server]: [Provider; 2], suite: Suite, key: &TestKey) -> Self {
        let tickets = Arc::new(TicketKeys::new(server, Duration::from_secs(60)));
        Self {
            client: Arc::new(ClientConfig::new(client).with_suites(&[suite]).unwrap()),
            server: Arc::new(ServerConfig::new(server).with_suites(&[suite]).unwrap().with_tickets(tickets)),
            key: ServerKey::load(&key.private, server).unwrap(),
            trust: key.trust().with_floor(suite.key_exchange),
            rng: TestRng::new("providers"),
        }
    }

    fn login(&mut self) -> (Session, Session) {
        let (none, rng) = (ChannelBinding::none(), &mut self.rng);
        let (hello, client) = client::start(&self.client, &self.trust, &none, rng, at(0)).unwrap();
        let server = AwaitHello::new(&self.server, &none, at(0)).read(hello, at(0)).unwrap();
        let (challenge, server) = server.choose(&self.key).unwrap().challenge(rng).unwrap();
        let trusted = client.read(&challenge, at(0)).unwrap().trust(&self.trust, TODAY).unwrap();
        let (login, client) = trusted.login(ALICE, rng).unwrap();
        let claim = server.read(login, at(0)).unwrap().admit().open(rng);
        let accepted = claim.accept_with_ticket(grant(), TODAY, rng).unwrap();
        (client.read(&accepted.frame, at(0), TODAY).unwrap(), accepted.session)
    }

    fn resume(&mut self, client: &Session) -> (Session, Session) {
        let (none, rng) = (ChannelBinding::none(), &mut self.rng);
        let ticket = self.trust.resume(client.info.ticket().unwrap().clone(), "alice", TODAY).unwrap();
        let (hello, client) = client::resume(&self.client, &self.trust, &none, ticket, rng, at(0)).unwrap();
        let choice = AwaitHello::new(&self.server, &none, at(0)).read(hello, at(0)).unwrap();
        let hello = choice.choose(&self.key).unwrap();
        let ticket = hello.ticket(TODAY).unwrap().use_up_now().unwrap();
        let (frame, server) = hello.resume(ticket, grant(), TODAY, rng).unwrap();
        let Answer::Resumed(client) = client.read(&frame, at(0), TODAY).unwrap() else { panic!("not resumed") };
        (client.session, server.read(client.frame, at(0)).unwrap())
    }
}

fn grant() -> Grant {
    Grant::new("alice", ["read"]).unwrap().with_epoch(7)
}

/// Records of several sizes both ways, and a key update between them.
fn talk((mut client, mut server): (Session, Session)) {
    assert_eq!(client.info.id(), server.info.id());
    for (from_client, len) in [(true, 1), (false, 17), (true, 16 * 1024), (false, 1000)] {
        let (from, to) = if from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let text = vec![7; len];
        let mut frame = Vec::new();
        from.sealer.seal(&text, &mut frame).unwrap();
        assert_eq!(to.opener.open(&mut frame).unwrap(), countersign::Received::Data(&text));
        let mut frame = Vec::new();
        from.sealer.update_key(&mut frame).unwrap();
        to.opener.open(&mut frame).unwrap();
    }
}

#[test]
fn each_logs_in_and_resumes_at_the_other_with_every_suite() {
    for pair in pairs() {
        for suite in Suite::ALL {
            assert!(pair.iter().all(|provider| provider.supports(suite)));
            let mut peers = Peers::new(pair, suite, &RSA2048);
            let sessions = peers.login();
            let resumed = peers.resume(&sessions.0);
            talk(sessions);
            talk(resumed);
        }
    }
}

#[test]
fn each_opens_what_the_other_sealed_to_a_key_of_every_size() {
    for pair in pairs() {
        for key in [&RSA2048, &RSA3072, &RSA4096] {
            talk(Peers::new(pair, Suite::RSA_AES_256_GCM, key).login());
        }
    }
}

#[test]
fn a_key_that_one_generated_is_a_key_of_the_other_s() {
    for [maker, user] in pairs() {
        let key = maker.generate_key(KeySize::Rsa2048, &mut TestRng::new(maker.name)).unwrap();
        let key = PrivateKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!((key.public_key().bits(), key.public_key().exponent()), (2048, 65537));
        ServerKey::load(&key, user).unwrap();
    }
}

#[test]
fn a_login_that_is_not_for_this_key_fails_in_the_same_way_with_each() {
    for [client, server] in pairs() {
        let mut peers = Peers::new([client, server], Suite::X25519_AES_256_GCM, &RSA2048);
        peers.key = ServerKey::load(&OTHER2048.private, server).unwrap();
        let (none, rng) = (ChannelBinding::none(), &mut peers.rng);
        let (hello, client) = client::start(&peers.client, &peers.trust, &none, rng, at(0)).unwrap();
        let server = AwaitHello::new(&peers.server, &none, at(0)).read(hello, at(0)).unwrap();
        let (mut challenge, server) = server.choose(&peers.key).unwrap().challenge(rng).unwrap();
        // Somebody puts the pinned key in the place of the server's; both have the same size.
        let (from, to) = (OTHER2048.private.public_key(), RSA2048.private.public_key());
        for (from, to) in [(&from.id().as_bytes()[..], &to.id().as_bytes()[..]), (from.spki_der(), to.spki_der())] {
            let found = challenge.windows(from.len()).position(|window| window == from).unwrap();
            challenge[found..found + to.len()].copy_from_slice(to);
        }
        let trusted = client.read(&challenge, at(0)).unwrap().trust(&peers.trust, TODAY).unwrap();
        let (login, client) = trusted.login(ALICE, rng).unwrap();
        // It may be past the other modulus, which is refused before RSA.
        let refusal = match server.read(login, at(0)) {
            Ok(login) => login.admit().open(rng).accept(grant()).unwrap_err(),
            Err(refusal) => refusal,
        };
        client.read(&refusal.frame, at(0), TODAY).unwrap_err();
    }
}

#[test]
fn each_seals_to_the_same_bytes() {
    for aead in Aead::ALL {
        let [ours, theirs] = pairs()[0].map(|provider| provider.cipher(aead).unwrap().key(&[7; 32]).unwrap());
        for len in [0, 1, 15, 16, 17, 255, 16 * 1024] {
            let (mut data, mut again) = (vec![3; len], vec![3; len]);
            let tag = ours.seal(&[9; 12], b"aad", &mut data).unwrap();
            assert_eq!(theirs.seal(&[9; 12], b"aad", &mut again).unwrap(), tag);
            assert_eq!(data, again);
            theirs.open(&[9; 12], b"aad", &mut data, &tag).unwrap();
            assert_eq!(data, vec![3; len]);
            assert_eq!(ours.open(&[9; 12], b"add", &mut again, &tag), Err(CryptoError::NotAuthentic));
        }
    }
}

#[test]
fn each_shares_a_secret_with_the_other_in_every_group() {
    for [client, server] in pairs() {
        for group in [Group::X25519, Group::MlKem768] {
            let rng = &mut TestRng::new("groups");
            let (mut share, mut answer) = (Vec::new(), Vec::new());
            let exchange = client.agreement(group).unwrap().start(rng, &mut share).unwrap();
            assert_eq!(share.len(), group.client_share());
            let server = server.agreement(group).unwrap();
            server.answer(&share, rng, &mut answer).unwrap();
            assert_eq!(answer.len(), group.server_share());
            exchange.finish(&answer).unwrap();
            // Nor does either take a share of another length.
            for share in [&share[1..], &[&share[..], &[0]].concat(), &[]] {
                let error = server.answer(share, rng, &mut Vec::new()).unwrap_err();
                assert_eq!(error, CryptoError::BadKeyShare);
            }
        }
    }
}

#[test]
fn a_configuration_names_a_suite_and_none_twice() {
    let [one, other] = [Suite::X25519_AES_256_GCM, Suite::X25519_CHACHA20_POLY1305];
    let list = "the list of suites";
    let misuses = [Misuse::BadInput(list), Misuse::Duplicate(list)].map(Some);
    let client = |suites: &[Suite]| ClientConfig::new(rustcrypto::provider()).with_suites(suites).err();
    let server = |suites: &[Suite]| ServerConfig::new(rustcrypto::provider()).with_suites(suites).err();
    assert_eq!([client(&[]), client(&[one, other, one])], misuses);
    assert_eq!([server(&[]), server(&[one, other, one])], misuses);
}

/// What a provider supports follows from its parts, and a configuration takes no more than that.
#[test]
fn a_suite_without_one_of_its_parts_is_not_supported_and_refused() {
    let needs = |provider: Provider, is_lost: fn(Suite) -> bool| {
        let name = provider.name;
        for suite in Suite::ALL {
            assert_eq!(provider.supports(suite), !is_lost(suite), "{name}: {suite}");
            let unsupported = is_lost(suite).then_some(Misuse::UnsupportedSuite(suite));
            assert_eq!(ClientConfig::new(provider).with_suites(&[suite]).err(), unsupported, "{name}");
            assert_eq!(ServerConfig::new(provider).with_suites(&[suite]).err(), unsupported, "{name}");
        }
        // A configuration that names none has what is left.
        let suite = Suite::DEFAULT.into_iter().find(|&suite| !is_lost(suite)).unwrap();
        let mut peers = Peers::new([provider; 2], suite, &RSA2048);
        peers.client = Arc::new(ClientConfig::new(provider));
        let sessions = peers.login();
        assert_eq!(sessions.0.info.suite(), suite, "{name}");
        talk(sessions);
    };
    for all in [rustcrypto::provider(), aws_lc::provider()] {
        needs(Provider { aes_256_gcm: None, ..all }, |suite| suite.aead == Aead::Aes256Gcm);
        needs(Provider { chacha20_poly1305: None, ..all }, |suite| suite.aead == Aead::ChaCha20Poly1305);
        needs(Provider { ml_kem_768: None, ..all }, |suite| suite.key_exchange == KeyExchange::X25519MlKem768);
        // X25519MLKEM768 has it, too: what is left is not forward secret, and nobody gets that unasked.
        let rsa_alone = Provider { x25519: None, ..all };
        for suite in Suite::ALL {
            assert_eq!(rsa_alone.supports(suite), suite.key_exchange == KeyExchange::Rsa);
        }
        let (rng, none) = (&mut TestRng::new("no keys"), ChannelBinding::none());
        let started = client::start(&Arc::new(ClientConfig::new(rsa_alone)), &RSA2048.trust(), &none, rng, at(0));
        assert_eq!(started.err(), Some(Misuse::BadInput("the list of suites").into()));
        let no_keys = Provider { key_generation: None, ..all };
        assert_eq!(no_keys.generate_key(KeySize::Rsa2048, rng).err(), Some(KeyError::Provider));
        assert!(Suite::ALL.into_iter().all(|suite| no_keys.supports(suite)));
    }
}

#[test]
fn a_suite_is_read_by_the_name_that_it_prints_and_by_no_other() {
    for suite in Suite::ALL {
        assert_eq!(suite.to_string().parse(), Ok(suite));
        for other in [format!("{suite} "), suite.to_string().to_uppercase(), suite.key_exchange.to_string()] {
            assert_eq!(other.parse::<Suite>(), Err(ParseSuiteError), "{other:?}");
        }
    }
}

/// Tickets are for the server alone, so they are sealed with what it has.
#[test]
fn tickets_are_sealed_without_aes_too() {
    let provider = Provider { aes_256_gcm: None, ..rustcrypto::provider() };
    let mut peers = Peers::new([provider; 2], Suite::X25519_CHACHA20_POLY1305, &RSA2048);
    let sessions = peers.login();
    talk(peers.resume(&sessions.0));
}

/// X25519 with a mistake in it.
enum Mistaken {
    /// Sends a share of another size.
    ShortShare,
    /// Has no secret to give.
    NoSecret,
}

impl Agreement for Mistaken {
    fn start(&self, rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<Box<dyn Exchange>, CryptoError> {
        let exchange = rustcrypto::provider().x25519.unwrap().start(rng, out)?;
        if matches!(self, Self::ShortShare) {
            out.pop();
        }
        Ok(exchange)
    }

    fn answer(&self, share: &[u8], rng: &mut dyn CryptoRng, out: &mut Vec<u8>) -> Result<SharedSecret, CryptoError> {
        let secret = rustcrypto::provider().x25519.unwrap().answer(share, rng, out)?;
        match self {
            Self::ShortShare => drop(out.pop()),
            Self::NoSecret => return SharedSecret::new(b""),
        }
        Ok(secret)
    }
}

/// Whatever a provider gets wrong, no credential leaves unsealed, and no suite is weaker than its name.
#[test]
fn a_provider_s_mistake_fails_the_handshake() {
    let failed = Some(Error::Crypto(CryptoError::Failed));
    let good = rustcrypto::provider();
    let peers = Peers::new(
        [Provider { x25519: Some(&Mistaken::ShortShare), ..good }, good],
        Suite::X25519_AES_256_GCM,
        &RSA2048,
    );
    let (none, rng) = (ChannelBinding::none(), &mut TestRng::new("mistakes"));
    assert_eq!(client::start(&peers.client, &peers.trust, &none, rng, at(0)).err(), failed);

    for mistaken in [&Mistaken::NoSecret, &Mistaken::ShortShare] {
        let providers = [good, Provider { x25519: Some(mistaken), ..good }];
        let peers = Peers::new(providers, Suite::X25519_AES_256_GCM, &RSA2048);
        let (hello, _) = client::start(&peers.client, &peers.trust, &none, rng, at(0)).unwrap();
        let server = AwaitHello::new(&peers.server, &none, at(0)).read(hello, at(0)).unwrap();
        assert_eq!(server.choose(&peers.key).unwrap().challenge(rng).err(), failed);
    }
}

/// How much is drawn from a generator.
struct Drawn(TestRng, usize);

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.1 += 4;
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.1 += 8;
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.1 += out.len();
        self.0.try_fill_bytes(out)
    }
}

impl TryCryptoRng for Drawn {}

/// What is raised to the private exponent is no number that a client has chosen. (AWS-LC blinds with randomness of its own.)
#[test]
fn the_pure_rust_provider_blinds_each_private_operation() {
    let provider = rustcrypto::provider();
    for key in [&RSA2048, &RSA3072] {
        let loaded = provider.rsa.load_key(&key.private).unwrap();
        let size = key.private.public_key().bits() / 8;
        let mut sealed = vec![0; size];
        provider.rsa.encrypt(key.private.public_key(), &[7; 64], &mut TestRng::new("seal"), &mut sealed).unwrap();
        let mut altered = sealed.clone();
        altered[size / 2] ^= 1;
        // One that opens, one that was altered, and one that is none.
        for ciphertext in [&sealed, &altered, &vec![0; size]] {
            let mut rng = Drawn(TestRng::new("blinding"), 0);
            drop(loaded.decrypt(ciphertext, &mut rng));
            assert!(rng.1 >= size, "{} bytes are no blinding factor", rng.1);
        }
    }
}
