//! A genuine client and a genuine server on the toy provider, the same in every run.

use crate::toy::{self, CountingRng};
use countersign::client::{self, AwaitChallenge, AwaitVerdict};
use countersign::crypto::Provider;
use countersign::server::{AwaitHello, AwaitLogin};
use countersign::{
    ChannelBinding, ClientConfig, Credential, Error, Grant, KeyExchange, Moment, PrivateKey, PublicKey, ServerConfig,
    ServerKey, ServerTrust, Session, Suite,
};
use std::sync::{Arc, LazyLock};

pub(crate) const NOW: Moment = Moment::ORIGIN;

pub(crate) struct Peers {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) trust: ServerTrust,
    pub(crate) key: ServerKey,
    seed: u64,
}

impl Peers {
    pub(crate) fn new(choice: u8) -> Self {
        Self::with(choice, toy::provider(), toy::provider())
    }

    /// `choice` says what of the protocol the genuine client uses: two bits for the suite, one for a key it has at hand.
    pub(crate) fn with(choice: u8, client: &'static dyn Provider, server: &'static dyn Provider) -> Self {
        static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
            let pem = include_str!("../../tests/keys/rsa2048.pem");
            PrivateKey::from_pem(pem).unwrap().public_key().clone()
        });
        let suite = Suite::ALL[usize::from(choice & 3)];
        let trust = if choice & 4 == 0 { ServerTrust::pin(KEY.id()) } else { ServerTrust::key(KEY.clone()) };
        Self {
            client: Arc::new(ClientConfig::new(client).with_suites(&[suite]).unwrap()),
            server: Arc::new(ServerConfig::new(server).with_suites(&Suite::ALL).unwrap()),
            trust: trust.with_floor(KeyExchange::Rsa),
            key: toy::server_key(&KEY),
            seed: 0,
        }
    }

    /// Other randomness than every run's.
    pub(crate) fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    fn rng(&self, stream: u64) -> CountingRng {
        CountingRng(self.seed ^ stream)
    }

    pub(crate) fn hello(&self) -> (Vec<u8>, AwaitChallenge) {
        let binding = &ChannelBinding::none();
        client::start(&self.client, binding, self.trust.known_keys(), &mut self.rng(1), NOW).unwrap()
    }

    pub(crate) fn await_hello(&self) -> AwaitHello {
        AwaitHello::new(&self.server, &ChannelBinding::none(), NOW)
    }

    pub(crate) fn challenge(&self, hello: &[u8]) -> Result<(Vec<u8>, AwaitLogin), Error> {
        let state = self.await_hello().read(hello, NOW)?;
        let name = state.server_name();
        assert!(name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(state.known_keys().count() <= 8);
        state.challenge(&self.key, &mut self.rng(2))
    }

    pub(crate) fn login(&self, state: AwaitChallenge, challenge: &[u8]) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        self.login_as(ALICE, state, challenge)
    }

    pub(crate) fn login_as(
        &self,
        credential: Credential<'_>,
        state: AwaitChallenge,
        challenge: &[u8],
    ) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        state.read(challenge, NOW)?.trust(&self.trust)?.login(credential, &mut self.rng(3))
    }

    /// The client's session and the server's.
    pub(crate) fn sessions(&self) -> (Session, Session) {
        let (hello, client) = self.hello();
        let (challenge, server) = self.challenge(&hello).unwrap();
        let (login, client) = self.login(client, &challenge).unwrap();
        let claim = server.read(login, NOW).unwrap().admit().run(&mut CountingRng(4));
        let accepted = claim.accept(grant()).unwrap();
        (client.read(&accepted.frame, NOW).unwrap(), accepted.session)
    }
}

pub(crate) const ALICE: Credential<'_> = Credential::Password { user: "alice", password: b"correct horse" };

pub(crate) fn grant() -> Grant {
    Grant::new("alice", ["read", "write"]).unwrap()
}
