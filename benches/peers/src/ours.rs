//! countersign: full logins and resumed ones.
//!
//! Each side seeds its generator from the operating system for each connection, as the library's adapters do.

use crate::contender::{Contender, Family, KEYS, PASSWORD, Row, USER};
use crate::meter::Meter;
use countersign::client::{self, Answer};
use countersign::crypto::{Provider, aws_lc, rustcrypto};
use countersign::server::{AwaitHello, Hello};
use countersign::{ChannelBinding, ClientConfig, Credential, Grant, KeyExchange, Moment, PrivateKey, Reason};
use countersign::{Server, ServerConfig, ServerKey, Session, Suite, Ticket, TicketKeys, UnixTime};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::sync::Arc;
use std::time::Duration;

/// The crypto providers to measure.
pub const PROVIDERS: [fn() -> Provider; 2] = [rustcrypto::provider, aws_lc::provider];

const SUITES: [Suite; 3] = [Suite::RSA_AES_256_GCM, Suite::X25519_AES_256_GCM, Suite::X25519MLKEM768_AES_256_GCM];
/// No clock is read: every state is reached at once, and every ticket shown when it is given.
const NOW: Moment = Moment::ORIGIN;
const TODAY: UnixTime = UnixTime::from_secs(1_800_000_000);

/// Full logins for each provider, key and suite, and resumed ones for each provider and suite.
pub fn all() -> Vec<Box<dyn Contender>> {
    let mut all: Vec<Box<dyn Contender>> = Vec::new();
    for provider in PROVIDERS {
        for key in KEYS {
            all.extend(SUITES.map(|suite| Box::new(Login(Peers::new(provider(), suite, key))) as _));
        }
        // The key's size does not matter to these.
        all.extend(SUITES.map(|suite| Box::new(Resumption::new(Peers::new(provider(), suite, KEYS[0]))) as _));
    }
    all
}

/// A client and a server that speak one suite, and the fingerprint between them.
pub struct Peers {
    provider: Provider,
    suite: Suite,
    key_name: &'static str,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    key: ServerKey,
    trust: Server,
}

impl Peers {
    /// Peers whose server has `key`: its name and its PEM text.
    pub fn new(provider: Provider, suite: Suite, key: (&'static str, &str)) -> Self {
        let (key_name, pem) = key;
        let key = ServerKey::load(&PrivateKey::from_pem(pem).unwrap(), provider).unwrap();
        let tickets = Arc::new(TicketKeys::new(provider, Duration::from_secs(3600)));
        Self {
            provider,
            suite,
            key_name,
            client: Arc::new(ClientConfig::new(provider).with_suites(&[suite]).unwrap()),
            server: Arc::new(ServerConfig::new(provider).with_suites(&[suite]).unwrap().with_tickets(tickets)),
            trust: Server::pinned(key.public_key().id()).with_floor(KeyExchange::Rsa),
            key,
        }
    }

    /// A whole login: the client's session and the server's, or neither.
    pub fn login(&self, password: &[u8], give_ticket: bool, meter: &mut Meter) -> Option<(Session, Session)> {
        let unbound = ChannelBinding::none();
        let (hello, client, mut client_rng) = meter.client(|| {
            let mut rng = rng();
            let (hello, state) = client::start(&self.client, &self.trust, &unbound, &mut rng, NOW).unwrap();
            (hello, state, rng)
        });
        meter.client_sends(&hello);
        let (challenge, server, mut server_rng) = meter.server(|| {
            let mut rng = rng();
            let hello = match self.read(hello).open(&mut rng) {
                Ok(open) => open.run(&mut rng),
                Err(hello) => *hello,
            };
            let (challenge, state) = hello.challenge(&mut rng).unwrap();
            (challenge, state, rng)
        });
        meter.server_sends(&challenge);
        let (login, client) = meter.client(|| {
            let credential = Credential::Password { user: USER, password };
            let trusted = client.read(&challenge, NOW).unwrap().trust(&self.trust, TODAY).unwrap();
            trusted.login(credential, &mut client_rng).unwrap()
        });
        meter.client_sends(&login);
        let accepted = meter.server(|| {
            let claim = server.read(login, NOW).unwrap().admit().open(&mut server_rng);
            if !matches!(claim.credential(), Credential::Password { user: USER, password: PASSWORD }) {
                return Err(claim.reject(Reason::WrongPassword));
            }
            if give_ticket { claim.accept_with_ticket(grant(), TODAY, &mut server_rng) } else { claim.accept(grant()) }
        });
        let (verdict, server) = match accepted {
            Ok(accepted) => (accepted.frame, Some(accepted.session)),
            Err(refusal) => (refusal.frame, None),
        };
        meter.server_sends(&verdict);
        let client = meter.client(|| client.read(&verdict, NOW, TODAY).ok());
        client.zip(server)
    }

    /// A resumed login with the ticket of the one before.
    pub fn resume(&self, ticket: &Ticket, meter: &mut Meter) -> Option<(Session, Session)> {
        let unbound = ChannelBinding::none();
        let (hello, client) = meter.client(|| {
            let ticket = self.trust.resume(ticket.clone(), USER, TODAY).unwrap();
            client::resume(&self.client, &self.trust, &unbound, ticket, &mut rng(), NOW).unwrap()
        });
        meter.client_sends(&hello);
        let (answer, server) = meter.server(|| {
            let hello = self.read(hello);
            let ticket = hello.ticket(TODAY)?.use_up_now()?;
            hello.resume(ticket, grant(), TODAY, &mut rng()).ok()
        })?;
        meter.server_sends(&answer);
        let Ok(Answer::Resumed(client)) = meter.client(|| client.read(&answer, NOW, TODAY)) else { return None };
        meter.client_sends(&client.frame);
        let server = meter.server(|| server.read(client.frame, NOW).ok())?;
        Some((client.session, server))
    }

    /// A hello, checked, and the key for it.
    fn read(&self, hello: Vec<u8>) -> Hello {
        let state = AwaitHello::new(&self.server, &ChannelBinding::none(), NOW);
        state.read(hello, NOW).unwrap().choose(&self.key).unwrap()
    }

    fn row(&self, what: &str, round_trips: &'static str) -> Row {
        let exchange = match self.suite.key_exchange {
            KeyExchange::X25519 => " + X25519",
            KeyExchange::X25519MlKem768 => " + X25519MLKEM768",
            _ => "",
        };
        Row {
            name: format!("countersign {what}{exchange} ({})", self.provider.name),
            family: Family::Ours,
            round_trips,
            authenticates: "both: pinned key, password",
            forward_secret: if self.suite.key_exchange.is_forward_secret() { "yes" } else { "no" },
        }
    }
}

/// A full login, which gives no ticket.
struct Login(Peers);

impl Contender for Login {
    fn row(&self) -> Row {
        self.0.row(self.0.key_name, "2")
    }

    fn once(&mut self, meter: &mut Meter) {
        assert!(self.0.login(PASSWORD, false, meter).is_some());
    }
}

/// A resumed login, which gives the ticket for the next one.
struct Resumption {
    peers: Peers,
    ticket: Ticket,
}

impl Resumption {
    fn new(peers: Peers) -> Self {
        let (client, _) = peers.login(PASSWORD, true, &mut Meter::default()).unwrap();
        Self { ticket: client.info.ticket().unwrap().clone(), peers }
    }
}

impl Contender for Resumption {
    fn row(&self) -> Row {
        Row { authenticates: "both: ticket", ..self.peers.row("resumed", "1") }
    }

    fn once(&mut self, meter: &mut Meter) {
        let (client, _) = self.peers.resume(&self.ticket, meter).unwrap();
        self.ticket = client.info.ticket().unwrap().clone();
    }
}

fn rng() -> StdRng {
    StdRng::try_from_rng(&mut SysRng).unwrap()
}

/// The account: it has an epoch, so its logins may give tickets.
fn grant() -> Grant {
    Grant::new(USER, ["read", "write"]).unwrap().with_epoch(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::WRONG;
    use countersign::Received;

    fn each(test: impl Fn(Peers)) {
        for provider in PROVIDERS {
            SUITES.into_iter().for_each(|suite| test(Peers::new(provider(), suite, KEYS[0])));
        }
    }

    #[test]
    fn a_wrong_password_is_refused() {
        each(|peers| assert!(peers.login(WRONG, false, &mut Meter::default()).is_none()));
    }

    #[test]
    fn the_session_carries_bytes() {
        each(|peers| {
            let (client, server) = peers.login(PASSWORD, true, &mut Meter::default()).unwrap();
            let ticket = client.info.ticket().unwrap().clone();
            let resumed = peers.resume(&ticket, &mut Meter::default()).unwrap();
            assert!(resumed.0.info.is_resumed() && !client.info.is_resumed());
            assert_eq!([client.info.suite(), resumed.0.info.suite()], [peers.suite; 2]);
            for (mut client, mut server) in [(client, server), resumed] {
                let mut record = Vec::new();
                client.sealer.seal(b"hello", &mut record).unwrap();
                assert_eq!(server.opener.open(&mut record).unwrap(), Received::Data(b"hello"));
            }
        });
    }
}
