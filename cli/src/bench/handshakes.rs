//! Handshakes in this process, without sockets: what each side computes, by provider, key size and suite.

use super::report::{Handshake, Plan};
use super::stats::{median, millis};
use crate::failure::Failure;
use countersign::client::{self, Answer};
use countersign::crypto::{CryptoRng, Decrypt, Provider};
use countersign::server::AwaitHello;
use countersign::{
    Accounts, ChannelBinding, ClientConfig, Credential, Grant, KeyExchange, KeySize, Moment, PrivateKey, Server,
    ServerConfig, ServerKey, Suite, Ticket, TicketKeys, UnixTime,
};
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::fmt::Display;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Machines read no clock; nothing here may time out.
const NOW: Moment = Moment::ORIGIN;

/// What every login of the bench sends.
pub(crate) const PASSWORD: &[u8] = b"correct horse battery staple";

/// What is measured.
pub(crate) struct Bout<'a> {
    pub(crate) providers: &'a [Provider],
    pub(crate) keys: &'a [(KeySize, PrivateKey)],
    pub(crate) suites: &'a [Suite],
    /// A password hash is verified against these.
    pub(crate) accounts: &'a Accounts,
    pub(crate) user: &'a str,
    /// How long all rounds together should take, and how few there are at least.
    pub(crate) budget: Duration,
    pub(crate) least: u32,
}

/// More rounds than this move no median.
const MOST_ROUNDS: u32 = 300;

impl Bout<'_> {
    /// Runs every combination once a round, round after round: whatever else the machine does in between hits all alike.
    /// Gives the time of a password hash in milliseconds, and what was measured.
    pub(crate) fn run(&self, plan: &Plan, bar: &ProgressBar) -> Result<(f64, Vec<Handshake>), Failure> {
        let mut rng = StdRng::try_from_rng(&mut SysRng)
            .map_err(|error| Failure::new(format_args!("the operating system gives no randomness: {error}")))?;
        let mut pairs = Vec::new();
        for provider in self.providers {
            for (_, key) in self.keys {
                for &suite in self.suites.iter().filter(|&&suite| provider.supports(suite)) {
                    pairs.push(Pair::new(*provider, key, suite)?);
                }
            }
        }
        let mut hashes = Vec::new();
        // The first round is no measurement: memory is touched and tables are made for the first time.
        let start = Instant::now();
        self.round(&mut pairs, &mut hashes, &mut rng)?;
        let one = start.elapsed();
        pairs.iter_mut().for_each(|pair| pair.rounds.clear());
        hashes.clear();

        let fitting = self.budget.as_millis().checked_div(one.as_millis().max(1)).unwrap_or_default();
        let rounds = u32::try_from(fitting).unwrap_or(MOST_ROUNDS).clamp(self.least, MOST_ROUNDS);
        bar.set_length(rounds.into());
        let mut turned = 0_usize;
        for _ in 0..rounds {
            self.round(&mut pairs, &mut hashes, &mut rng)?;
            // Whoever comes first pays for the caches that the password hash has emptied: each in turn.
            turned = turned.saturating_add(1).checked_rem(pairs.len()).unwrap_or_default();
            pairs.rotate_left(1);
            bar.inc(1);
        }
        pairs.rotate_right(turned);
        let hash = median(hashes);
        Ok((hash, pairs.iter().map(|pair| pair.summary(hash, plan)).collect()))
    }

    fn round(&self, pairs: &mut [Pair], hashes: &mut Vec<f64>, rng: &mut StdRng) -> Result<(), Failure> {
        for pair in pairs {
            pair.round(rng)?;
        }
        // A hash at the costliest parameters takes seconds: two of them, past the first round, must do.
        let spent = Duration::from_secs_f64(hashes.iter().sum::<f64>() / 1000.0);
        if hashes.len() < 2 || spent < self.budget {
            let mut time = Duration::ZERO;
            let credential = Credential::Password { user: self.user, password: PASSWORD };
            clock(&mut time, || self.accounts.check(credential)).map_err(broken)?;
            hashes.push(millis(time));
        }
        Ok(())
    }
}

/// A client and a server that speak one suite, under one provider and one key.
struct Pair {
    provider: Provider,
    suite: Suite,
    bits: usize,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    key: ServerKey,
    private: Arc<dyn Decrypt>,
    trust: Server,
    rounds: Vec<Times>,
}

/// What one round took.
#[derive(Clone, Copy, Default)]
struct Times {
    server: Duration,
    rsa: Duration,
    client: Duration,
    resumed_server: Duration,
    resumed_client: Duration,
}

impl Pair {
    fn new(provider: Provider, key: &PrivateKey, suite: Suite) -> Result<Self, Failure> {
        let private = provider.rsa.load_key(key)?;
        let public = key.public_key().clone();
        // As `serve` keeps them.
        let tickets = TicketKeys::new(provider, Duration::from_secs(3600)).with_single_use(1 << 16);
        let server = ServerConfig::new(provider).with_suites(&[suite]).map_err(broken)?;
        Ok(Self {
            provider,
            suite,
            bits: public.bits(),
            client: Arc::new(ClientConfig::new(provider).with_suites(&[suite]).map_err(broken)?),
            server: Arc::new(server.with_tickets(Arc::new(tickets))),
            trust: Server::pinned(public.id()).with_floor(KeyExchange::Rsa),
            key: ServerKey::with_decrypt(public, Arc::clone(&private)),
            private,
            rounds: Vec::new(),
        })
    }

    fn round(&mut self, rng: &mut StdRng) -> Result<(), Failure> {
        let mut times = Times::default();
        let ticket = self.log_in(&mut times, rng)?;
        self.resume(&ticket, &mut times, rng)?;
        self.rounds.push(times);
        Ok(())
    }

    /// A whole login; the credential is taken at its word. Gives the client's ticket.
    fn log_in(&self, times: &mut Times, rng: &mut dyn CryptoRng) -> Result<Ticket, Failure> {
        let none = ChannelBinding::none();
        let (hello, client) =
            clock(&mut times.client, || client::start(&self.client, &self.trust, &none, rng, NOW)).map_err(broken)?;
        let (challenge, server) = clock(&mut times.server, || {
            AwaitHello::new(&self.server, &none, NOW).read(hello, NOW)?.challenge(&self.key, rng)
        })
        .map_err(broken)?;
        let (login, client) = clock(&mut times.client, || {
            let credential = Credential::Password { user: "alice", password: PASSWORD };
            client.read(&challenge, NOW)?.trust(&self.trust)?.login(credential, rng)
        })
        .map_err(broken)?;
        let open = clock(&mut times.server, || server.read(login, NOW).map(|login| login.admit())).map_err(refused)?;
        clock(&mut times.rsa, || self.private.decrypt(black_box(open.ciphertext()), rng));
        let accepted = clock(&mut times.server, || {
            let claim = open.run(rng);
            black_box(claim.credential());
            claim.accept_with_ticket(account()?, today(), rng).map_err(refused)
        })?;
        let session = clock(&mut times.client, || client.read(&accepted.frame, NOW)).map_err(broken)?;
        session.info.ticket().cloned().ok_or_else(|| broken("the server gave no ticket"))
    }

    /// A login by ticket.
    fn resume(&self, ticket: &Ticket, times: &mut Times, rng: &mut dyn CryptoRng) -> Result<(), Failure> {
        let none = ChannelBinding::none();
        let ticket = self.trust.resume(ticket).ok_or_else(|| broken("the ticket is not trusted"))?;
        let (hello, client) =
            clock(&mut times.resumed_client, || client::resume(&self.client, &self.trust, &none, ticket, rng, NOW))
                .map_err(broken)?;
        let accepted = clock(&mut times.resumed_server, || {
            let choice = AwaitHello::new(&self.server, &none, NOW).read(hello, NOW).map_err(broken)?;
            let claim = choice.ticket(&self.key, today()).ok_or_else(|| broken("the ticket was not taken"))?;
            choice.resume(claim, account()?, today(), rng).map_err(broken)
        })?;
        match clock(&mut times.resumed_client, || client.read(&accepted.frame, NOW)).map_err(broken)? {
            Answer::Resumed(_) => Ok(()),
            Answer::Challenge(_) => Err(broken("the ticket was not taken")),
        }
    }

    fn summary(&self, hash: f64, plan: &Plan) -> Handshake {
        let of = |part: fn(&Times) -> Duration| median(self.rounds.iter().map(|times| millis(part(times))).collect());
        let (server, rsa) = (of(|times| times.server), of(|times| times.rsa));
        let resumed_server = of(|times| times.resumed_server);
        let full = server + hash;
        let mixed = (1.0 - plan.resumed_share) * full + plan.resumed_share * resumed_server;
        Handshake {
            provider: self.provider.name,
            bits: self.bits,
            suite: self.suite.to_string(),
            rounds: self.rounds.len(),
            server_ms: server,
            rsa_ms: rsa,
            client_ms: of(|times| times.client),
            resumed_server_ms: resumed_server,
            resumed_client_ms: of(|times| times.resumed_client),
            rsa_share: (rsa / full).min(1.0),
            hash_share: hash / full,
            logins_per_second_per_core: 1000.0 / full,
            mixed_logins_per_second_per_core: 1000.0 / mixed,
        }
    }
}

/// Adds what a step took.
fn clock<T>(total: &mut Duration, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = step();
    *total = total.saturating_add(start.elapsed());
    result
}

/// It has an epoch, so its logins give tickets.
fn account() -> Result<Grant, Failure> {
    Ok(Grant::new("alice", ["read", "write"]).map_err(broken)?.with_epoch(7))
}

fn today() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

fn refused(refusal: countersign::server::Refusal) -> Failure {
    broken(refusal.reason)
}

fn broken(error: impl Display) -> Failure {
    Failure::new(format_args!("a handshake of the bench failed: {error}; does `countersign demo` work?"))
}
