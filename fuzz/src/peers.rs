//! A genuine client and a genuine server on the toy provider, the same in every run.

use crate::toy::{self, CountingRng};
use countersign::client::{self, Answer, AwaitAnswer, AwaitChallenge, AwaitVerdict, Challenge};
use countersign::crypto::Provider;
use countersign::frame::FrameType;
use countersign::server::{Accepted, AwaitHello, AwaitLogin};
use countersign::{
    ChannelBinding, ClientConfig, Credential, Error, Grant, KeyExchange, Moment, PrivateKey, PublicKey, Server,
    ServerConfig, ServerKey, Session, Suite, Ticket, TicketKeys, UnixTime,
};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub(crate) const NOW: Moment = Moment::ORIGIN;

/// When the peers meet, in seconds since 1970, and how long a ticket is good for.
const TODAY: u64 = 1_800_000_000;
pub(crate) const LIFETIME: u64 = 3600;

pub(crate) struct Peers {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) trust: Server,
    pub(crate) key: ServerKey,
    pub(crate) tickets: Arc<TicketKeys>,
    pub(crate) today: UnixTime,
    seed: u64,
}

impl Peers {
    pub(crate) fn new(choice: u8) -> Self {
        Self::with(choice, toy::provider(), toy::provider())
    }

    /// `choice` says what of the protocol the genuine client uses: three bits for the suite, one for a key it has at hand.
    pub(crate) fn with(choice: u8, client: Provider, server: Provider) -> Self {
        static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
            let pem = include_str!("../../tests/keys/rsa2048.pem");
            PrivateKey::from_pem(pem).unwrap().public_key().clone()
        });
        let suite = Suite::ALL[usize::from(choice & 7) % Suite::ALL.len()];
        let trust = if choice & 8 == 0 { Server::pinned(KEY.id()) } else { Server::key(KEY.clone()) };
        let tickets = Arc::new(ticket_keys(toy::provider()));
        let server = ServerConfig::new(server).with_suites(&Suite::ALL).unwrap().with_tickets(tickets.clone());
        Self {
            client: Arc::new(ClientConfig::new(client).with_suites(&[suite]).unwrap()),
            server: Arc::new(server),
            trust: trust.with_floor(KeyExchange::Rsa),
            key: toy::server_key(&KEY),
            tickets,
            today: UnixTime::from_secs(TODAY),
            seed: 0,
        }
    }

    /// Other randomness than every run's.
    pub(crate) fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// A server with these ticket keys.
    pub(crate) fn with_tickets(self, tickets: TicketKeys) -> Self {
        let tickets = Arc::new(tickets);
        let server = ServerConfig::clone(&self.server).with_tickets(tickets.clone());
        Self { server: server.into(), tickets, ..self }
    }

    /// So many seconds have gone by.
    pub(crate) fn later(self, seconds: usize) -> Self {
        Self { today: UnixTime::from_secs(TODAY + seconds as u64), ..self }
    }

    fn rng(&self, stream: u64) -> CountingRng {
        CountingRng(self.seed ^ stream)
    }

    pub(crate) fn hello(&self) -> (Vec<u8>, AwaitChallenge) {
        client::start(&self.client, &self.trust, &ChannelBinding::none(), &mut self.rng(1), NOW).unwrap()
    }

    pub(crate) fn await_hello(&self) -> AwaitHello {
        AwaitHello::new(&self.server, &ChannelBinding::none(), NOW)
    }

    pub(crate) fn challenge(&self, hello: &[u8]) -> Result<(Vec<u8>, AwaitLogin), Error> {
        let state = self.await_hello().read(hello.to_vec(), NOW)?;
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
        self.answer(credential, state.read(challenge, NOW)?)
    }

    /// The client's login, if it trusts what it is asked by.
    pub(crate) fn answer(
        &self,
        credential: Credential<'_>,
        challenge: Challenge,
    ) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        challenge.trust(&self.trust)?.login(credential, &mut self.rng(3))
    }

    /// The client's session and the server's.
    pub(crate) fn sessions(&self) -> (Session, Session) {
        let (hello, client) = self.hello();
        let (challenge, server) = self.challenge(&hello).unwrap();
        let (login, client) = self.login(client, &challenge).unwrap();
        let claim = server.read(login, NOW).unwrap().admit().run(&mut self.rng(4));
        let accepted = claim.accept_with_ticket(account(), self.today, &mut self.rng(5)).unwrap();
        (client.read(&accepted.frame, NOW).unwrap(), accepted.session)
    }

    /// What the client keeps of a login.
    pub(crate) fn ticket(&self) -> Ticket {
        self.sessions().0.info.ticket().expect("the account has an epoch").clone()
    }

    /// A hello with this ticket in it, or with none.
    pub(crate) fn open(&self, ticket: Option<&Ticket>) -> (Vec<u8>, Opening) {
        let Some(ticket) = ticket.and_then(|ticket| self.trust.resume(ticket)) else {
            let (hello, state) = self.hello();
            return (hello, Opening::Plain(state));
        };
        let binding = &ChannelBinding::none();
        let resumed = client::resume(&self.client, &self.trust, binding, ticket, &mut self.rng(1), NOW);
        let (hello, state) = resumed.unwrap();
        (hello, Opening::Shown(state))
    }

    /// The server's answer, if this hello shows a ticket that it takes.
    pub(crate) fn take(&self, hello: &[u8]) -> Option<Accepted> {
        let state = self.await_hello().read(hello.to_vec(), NOW).ok()?;
        let claim = state.ticket(&self.key, self.today)?;
        if !claim.is_current(&account()) {
            return None;
        }
        Some(state.resume(claim, account(), self.today, &mut self.rng(6)).unwrap())
    }
}

/// A client that awaits the server's first frame.
pub(crate) enum Opening {
    Plain(AwaitChallenge),
    Shown(AwaitAnswer),
}

impl Opening {
    pub(crate) fn expects(&self) -> &'static [FrameType] {
        match self {
            Self::Plain(_) => AwaitChallenge::EXPECTS,
            Self::Shown(_) => AwaitAnswer::EXPECTS,
        }
    }

    pub(crate) fn read(self, frame: &[u8]) -> Result<Answer, Error> {
        match self {
            Self::Plain(state) => state.read(frame, NOW).map(Answer::Challenge),
            Self::Shown(state) => state.read(frame, NOW),
        }
    }
}

pub(crate) fn ticket_keys(provider: Provider) -> TicketKeys {
    TicketKeys::new(provider, Duration::from_secs(LIFETIME))
}

/// The part of a ticket that the server gets to see. The client's bytes end in it, after version, suite, key id, expiry,
/// secret, and its length.
pub(crate) fn shown(ticket: &Ticket) -> Vec<u8> {
    ticket.to_bytes().unwrap()[1 + 2 + 32 + 8 + 32 + 2..].to_vec()
}

/// The account behind [`grant`]: it has an epoch, so its logins give tickets.
pub(crate) fn account() -> Grant {
    grant().with_epoch(7)
}

pub(crate) const ALICE: Credential<'_> = Credential::Password { user: "alice", password: b"correct horse" };

pub(crate) fn grant() -> Grant {
    Grant::new("alice", ["read", "write"]).unwrap()
}
