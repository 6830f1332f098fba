//! Two peers that know each other, and a shortcut to every state of a login between them.

#![allow(dead_code, unreachable_pub, reason = "each bench uses its part of this module")]

use core::hint::black_box;
use countersign::client::{self, Answer, AwaitAnswer, AwaitChallenge, AwaitVerdict, Resumed};
use countersign::crypto::Provider;
use countersign::server::{AwaitConfirm, AwaitHello, AwaitLogin, Claim, Hello};
use countersign::{ChannelBinding, ClientConfig, ClientKey, Credential, CredentialKind, Grant, KeyExchange, Moment};
use countersign::{
    CryptoRng, PrivateKey, Server, ServerConfig, ServerKey, Session, SigningKey, Stretching, Suite, Ticket, TicketKeys,
    UnixTime,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The test keys, by what the names of benches call them.
pub const KEYS: [(&str, &str); 3] = [
    ("rsa2048", include_str!("../../tests/keys/rsa2048.pem")),
    ("rsa3072", include_str!("../../tests/keys/rsa3072.pem")),
    ("rsa4096", include_str!("../../tests/keys/rsa4096.pem")),
];

pub const ALICE: Credential<'_> = Credential::Password { user: "alice", password: b"correct horse" };

/// No clock is read: every state is reached at once.
pub const NOW: Moment = Moment::ORIGIN;

/// Nor a calendar: every ticket is shown when it is given.
pub const TODAY: UnixTime = UnixTime::from_secs(1_800_000_000);

/// The machines get all their randomness from here, so every run measures the same bytes.
pub fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

pub fn private_key(pem: &str) -> PrivateKey {
    PrivateKey::from_pem(pem).unwrap()
}

/// The providers that are built in: `--features aws-lc` adds the second.
pub fn providers() -> Vec<Provider> {
    vec![
        countersign::crypto::rustcrypto::provider(),
        #[cfg(feature = "aws-lc")]
        countersign::crypto::aws_lc::provider(),
    ]
}

pub struct Peers {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
    pub key: ServerKey,
    pub trust: Server,
    /// What the client logs in by in the place of its password.
    pub client_key: Option<ClientKey>,
}

impl Peers {
    /// A client and a server that speak this suite alone, and the fingerprint between them.
    pub fn new(provider: Provider, suite: Suite, pem: &str) -> Self {
        let key = ServerKey::load(&private_key(pem), provider).unwrap();
        let tickets = Arc::new(TicketKeys::new(provider, Duration::from_secs(3600)));
        Self {
            client: Arc::new(ClientConfig::new(provider).with_suites(&[suite]).unwrap()),
            server: Arc::new(ServerConfig::new(provider).with_suites(&[suite]).unwrap().with_tickets(tickets)),
            trust: Server::pinned(key.public_key().id()).with_floor(KeyExchange::Rsa),
            key,
            client_key: None,
        }
    }

    /// The same peers, but the client has the key whole: the server proves itself first.
    #[must_use]
    pub fn with_proof(self) -> Self {
        let trust = Server::key(self.key.public_key().clone()).with_floor(KeyExchange::Rsa);
        Self { trust, ..self }
    }

    /// The same peers, but the client logs in by a key of its own.
    #[must_use]
    pub fn with_client_key(mut self, provider: Provider, key: &SigningKey) -> Self {
        let kinds = [CredentialKind::Password, CredentialKind::Token, CredentialKind::Key];
        let config = ServerConfig::clone(&self.server).with_credential_kinds(&kinds).unwrap();
        self.server = Arc::new(config);
        self.client_key = Some(ClientKey::load(key, provider).unwrap());
        self
    }

    /// The same peers, but the client stretches its password.
    #[must_use]
    pub fn with_stretching(mut self, stretching: &Stretching) -> Self {
        self.server = Arc::new(ServerConfig::clone(&self.server).with_stretching(stretching.clone()).unwrap());
        self
    }

    fn credential(&self) -> Credential<'_> {
        self.client_key.as_ref().map_or(ALICE, |key| Credential::Key { user: "alice", key })
    }

    pub fn hello(&self, rng: &mut dyn CryptoRng) -> (Vec<u8>, AwaitChallenge) {
        client::start(&self.client, &self.trust, &ChannelBinding::none(), rng, NOW).unwrap()
    }

    pub fn await_hello(&self) -> AwaitHello {
        AwaitHello::new(&self.server, &ChannelBinding::none(), NOW)
    }

    /// A hello, checked, and the key for it: just before the RSA operation, if the client sealed a secret to the key.
    pub fn read(&self, hello: Vec<u8>) -> Hello {
        self.await_hello().read(hello, NOW).unwrap().choose(&self.key).unwrap()
    }

    /// From a hello to the challenge, with a proof if one is asked for.
    pub fn challenge(&self, hello: Vec<u8>, rng: &mut dyn CryptoRng) -> (Vec<u8>, AwaitLogin) {
        let hello = match self.read(hello).open(rng) {
            Ok(open) => open.run(rng),
            Err(hello) => *hello,
        };
        hello.challenge(rng).unwrap()
    }

    /// From the server's challenge to the client's login: the client's half of the work.
    pub fn seal(&self, state: AwaitChallenge, challenge: &[u8], rng: &mut dyn CryptoRng) -> (Vec<u8>, AwaitVerdict) {
        state.read(challenge, NOW).unwrap().trust(&self.trust, TODAY).unwrap().login(self.credential(), rng).unwrap()
    }

    /// A login at the server's, and what the client awaits.
    pub fn login(&self, rng: &mut dyn CryptoRng) -> (Vec<u8>, AwaitLogin, AwaitVerdict) {
        let (hello, client) = self.hello(rng);
        let (challenge, server) = self.challenge(hello, rng);
        let (login, client) = self.seal(client, &challenge, rng);
        (login, server, client)
    }

    /// An opened login.
    pub fn claim(&self, rng: &mut dyn CryptoRng) -> (Claim, AwaitVerdict) {
        let (login, server, client) = self.login(rng);
        (claim(server, login, rng), client)
    }

    /// A whole login: the client's session, the server's.
    pub fn sessions(&self) -> (Session, Session) {
        let rng = &mut rng();
        let (claim, client) = self.claim(rng);
        let accepted = claim.accept(grant()).unwrap();
        (client.read(&accepted.frame, NOW, TODAY).unwrap(), accepted.session)
    }

    /// What the client keeps of a login.
    pub fn ticket(&self, rng: &mut dyn CryptoRng) -> Ticket {
        let (claim, client) = self.claim(rng);
        let accepted = claim.accept_with_ticket(account(), TODAY, rng).unwrap();
        client.read(&accepted.frame, NOW, TODAY).unwrap().info.ticket().unwrap().clone()
    }

    /// A hello with the ticket in it.
    pub fn show(&self, ticket: &Ticket, rng: &mut dyn CryptoRng) -> (Vec<u8>, AwaitAnswer) {
        let ticket = self.trust.resume(ticket.clone(), "alice", TODAY).unwrap();
        client::resume(&self.client, &self.trust, &ChannelBinding::none(), ticket, rng, NOW).unwrap()
    }

    /// From that hello to the answer: the server's work but for the Confirm. It uses the ticket up.
    pub fn resume(&self, hello: Vec<u8>, account: Grant, rng: &mut dyn CryptoRng) -> (Vec<u8>, AwaitConfirm) {
        let hello = self.read(hello);
        let ticket = hello.ticket(TODAY).unwrap().use_up_now().unwrap();
        hello.resume(ticket, account, TODAY, rng).unwrap()
    }

    /// A resumption, and the ticket for the next. Gives the time that the server took.
    pub fn resume_next(&self, ticket: &mut Ticket, rng: &mut dyn CryptoRng) -> Duration {
        let (hello, client) = self.show(ticket, rng);
        let account = account();
        let start = Instant::now();
        let (answer, server) = self.resume(black_box(hello), account, rng);
        let mut spent = start.elapsed();
        let resumed = resumed(client, &answer);
        *ticket = resumed.session.info.ticket().unwrap().clone();
        let start = Instant::now();
        let session = server.read(resumed.frame, NOW).unwrap();
        spent += start.elapsed();
        drop(black_box(session));
        spent
    }
}

/// From a login to a claim: with the RSA operation, unless that is done.
pub fn claim(state: AwaitLogin, login: Vec<u8>, rng: &mut dyn CryptoRng) -> Claim {
    state.read(login, NOW).unwrap().admit().open(rng)
}

/// The client reads a ServerResumption.
pub fn resumed(state: AwaitAnswer, answer: &[u8]) -> Resumed {
    match state.read(answer, NOW, TODAY) {
        Ok(Answer::Resumed(resumed)) => resumed,
        _ => panic!("the answer is genuine"),
    }
}

/// The account behind the grant: it has an epoch, so its logins give tickets.
pub fn account() -> Grant {
    grant().with_epoch(7)
}

pub fn grant() -> Grant {
    Grant::new("alice", ["read", "write"]).unwrap()
}
