//! Handshakes in this process, without sockets: what each side computes, by provider, key size and suite.

use super::report::{Handshake, Plan};
use super::stats::{median, millis};
use crate::failure::Failure;
use countersign::client::{self, Answer};
use countersign::crypto::{CryptoRng, Decrypt, Provider};
use countersign::server::{Admitted, AwaitHello, Hello};
use countersign::{
    Accounts, ChannelBinding, ClientConfig, Credential, Grant, KeyExchange, KeySize, Moment, PrivateKey, Server,
    ServerConfig, ServerKey, Suite, Ticket, TicketClaim, TicketKeys, UnixTime, UsedTickets,
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

const CREDENTIAL: Credential<'static> = Credential::Password { user: "alice", password: PASSWORD };

/// What is measured.
pub(crate) struct Combinations<'a> {
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

impl Combinations<'_> {
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
    /// By its fingerprint, and by the whole key.
    pinned: Server,
    known: Server,
    rounds: Vec<Times>,
}

/// What one round took.
#[derive(Clone, Copy, Default)]
struct Times {
    server: Duration,
    rsa: Duration,
    client: Duration,
    proved_server: Duration,
    proved_client: Duration,
    resumed_server: Duration,
    resumed_client: Duration,
}

impl Pair {
    fn new(provider: Provider, key: &PrivateKey, suite: Suite) -> Result<Self, Failure> {
        let private = provider.rsa.load_key(key)?;
        let public = key.public_key().clone();
        // As `serve` keeps them, with room for as many logins of one name in a second as there are rounds.
        let rounds = usize::try_from(MOST_ROUNDS).unwrap_or(usize::MAX).saturating_add(1);
        let used = UsedTickets::new(rounds).with_chains_per_principal(rounds);
        let tickets = TicketKeys::new(provider, Duration::from_secs(3600)).with_memory(used);
        let server = ServerConfig::new(provider).with_suites(&[suite]).map_err(broken)?;
        Ok(Self {
            provider,
            suite,
            bits: public.bits(),
            client: Arc::new(ClientConfig::new(provider).with_suites(&[suite]).map_err(broken)?),
            server: Arc::new(server.with_tickets(Arc::new(tickets))),
            pinned: Server::pinned(public.id()).with_floor(KeyExchange::Rsa),
            known: Server::key(public.clone()).with_floor(KeyExchange::Rsa),
            key: ServerKey::with_decrypt(public, Arc::clone(&private)),
            private,
            rounds: Vec::new(),
        })
    }

    fn round(&mut self, rng: &mut StdRng) -> Result<(), Failure> {
        let mut times = Times::default();
        // Whatever the one leaves in the caches, the other has it as often.
        let is_even = self.rounds.len().is_multiple_of(2);
        if is_even {
            self.log_in_proved(&mut times, rng)?;
        }
        let ticket = self.log_in(&mut times, rng)?;
        if !is_even {
            self.log_in_proved(&mut times, rng)?;
        }
        self.resume(ticket, &mut times, rng)?;
        self.rounds.push(times);
        Ok(())
    }

    /// A whole login from a fingerprint; the credential is taken at its word. Gives the client's ticket.
    fn log_in(&self, times: &mut Times, rng: &mut dyn CryptoRng) -> Result<Ticket, Failure> {
        let (server, client) = (&mut times.server, &mut times.client);
        let (hello, state) =
            clock(client, || client::start(&self.client, &self.pinned, &ChannelBinding::none(), rng, NOW))
                .map_err(broken)?;
        let (challenge, await_login) = clock(server, || self.hello(hello)?.challenge(rng).map_err(broken))?;
        let (login, state) =
            clock(client, || state.read(&challenge, NOW)?.trust(&self.pinned, today())?.login(CREDENTIAL, rng))
                .map_err(broken)?;
        let admitted = clock(server, || await_login.read(login, NOW).map(|login| login.admit())).map_err(refused)?;
        if let Admitted::Sealed(open) = &admitted {
            clock(&mut times.rsa, || self.private.decrypt(black_box(open.ciphertext()), rng));
        }
        let verdict = clock(server, || decide(admitted, rng))?;
        let session = clock(client, || state.read(&verdict, NOW, today())).map_err(broken)?;
        session.info.ticket().cloned().ok_or_else(|| broken("the server gave no ticket"))
    }

    /// The same of a client that has the key whole: the server proves itself first.
    fn log_in_proved(&self, times: &mut Times, rng: &mut dyn CryptoRng) -> Result<(), Failure> {
        let (server, client) = (&mut times.proved_server, &mut times.proved_client);
        let (hello, state) =
            clock(client, || client::start(&self.client, &self.known, &ChannelBinding::none(), rng, NOW))
                .map_err(broken)?;
        let (challenge, await_login) = clock(server, || {
            let open = self.hello(hello)?.open(rng).map_err(|_| broken("nothing was sealed to the key"))?;
            open.run(rng).challenge(rng).map_err(broken)
        })?;
        let (login, state) =
            clock(client, || state.read(&challenge, NOW)?.trust(&self.known, today())?.login(CREDENTIAL, rng))
                .map_err(broken)?;
        let verdict = clock(server, || decide(await_login.read(login, NOW).map_err(refused)?.admit(), rng))?;
        clock(client, || state.read(&verdict, NOW, today())).map(drop).map_err(broken)
    }

    /// The server's first step.
    fn hello(&self, hello: Vec<u8>) -> Result<Hello, Failure> {
        let read = AwaitHello::new(&self.server, &ChannelBinding::none(), NOW).read(hello, NOW);
        read.and_then(|choice| choice.choose(&self.key)).map_err(broken)
    }

    /// A login by ticket, up to the Confirm.
    fn resume(&self, ticket: Ticket, times: &mut Times, rng: &mut dyn CryptoRng) -> Result<(), Failure> {
        let (server, client) = (&mut times.resumed_server, &mut times.resumed_client);
        let ticket = self.pinned.resume(ticket, "alice", today()).ok_or_else(|| broken("the ticket is not trusted"))?;
        let (hello, state) =
            clock(client, || client::resume(&self.client, &self.pinned, &ChannelBinding::none(), ticket, rng, NOW))
                .map_err(broken)?;
        let (answer, await_confirm) = clock(server, || {
            let hello = self.hello(hello)?;
            let fresh = hello.ticket(today()).and_then(TicketClaim::use_up_now);
            let fresh = fresh.ok_or_else(|| broken("the ticket was not taken"))?;
            hello.resume(fresh, account()?, today(), rng).map_err(broken)
        })?;
        match clock(client, || state.read(&answer, NOW, today())).map_err(broken)? {
            Answer::Resumed(resumed) => {
                clock(server, || await_confirm.read(resumed.frame, NOW)).map(drop).map_err(broken)
            }
            Answer::Challenge(_) => Err(broken("the ticket was not taken")),
        }
    }

    fn summary(&self, hash: f64, plan: &Plan) -> Handshake {
        let of = |part: fn(&Times) -> Duration| median(self.rounds.iter().map(|times| millis(part(times))).collect());
        let (server, rsa) = (of(|times| times.server), of(|times| times.rsa));
        let (proved, resumed_server) = (of(|times| times.proved_server), of(|times| times.resumed_server));
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
            proved_server_ms: proved,
            proved_client_ms: of(|times| times.proved_client),
            proof_ratio: proved / server,
            resumed_server_ms: resumed_server,
            resumed_client_ms: of(|times| times.resumed_client),
            rsa_share: (rsa / full).min(1.0),
            hash_share: hash / full,
            logins_per_second_per_core: 1000.0 / full,
            mixed_logins_per_second_per_core: 1000.0 / mixed,
        }
    }
}

/// From the login on.
fn decide(admitted: Admitted, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, Failure> {
    let claim = admitted.open(rng);
    black_box(claim.credential());
    Ok(claim.accept_with_ticket(account()?, today(), rng).map_err(refused)?.frame)
}

/// Adds what a step took.
pub(super) fn clock<T>(total: &mut Duration, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = step();
    *total = total.saturating_add(start.elapsed());
    result
}

/// It has an epoch, so its logins give tickets.
fn account() -> Result<Grant, Failure> {
    Ok(Grant::new("alice", ["read", "write"]).map_err(broken)?.with_epoch(7))
}

pub(super) fn today() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

fn refused(refusal: countersign::server::Refusal) -> Failure {
    broken(refusal.reason)
}

pub(super) fn broken(error: impl Display) -> Failure {
    Failure::new(format_args!("a handshake of the bench failed: {error}; does `countersign demo` work?"))
}
