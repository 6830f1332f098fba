//! What the integration tests share: test keys, a generator that repeats itself, and [`Scenario`], which reaches any
//! state of either side in one line.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod der;
mod left_out;
pub mod provider;
mod repeating;
pub mod wire;

#[allow(unused_imports, reason = "not every test needs something of the machine's")]
pub use left_out::left_out;
pub use provider::provider;

use core::convert::Infallible;
use core::time::Duration;
use countersign::client::{self, AwaitChallenge, AwaitVerdict, Challenge};
use countersign::crypto::{Decrypt, Decrypted, Provider};
use countersign::frame::{FrameError, FrameType};
use countersign::server::{self, Admitted, AwaitHello, AwaitLogin, Claim, Hello, Refusal};
use countersign::{
    Attempt, ChannelBinding, ClientConfig, Credential, CredentialKind, CryptoRng, Error, Grant, KeyExchange, KeyId,
    Moment, PrivateKey, PuzzleDifficulty, Reason, Server, ServerConfig, ServerKey, Session, Stretching, Suite,
    TicketKeys, UnixTime, Untrusted, UntrustedKey,
};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// What both ends offer: without X25519MLKEM768, whose shares of more than a thousand bytes make each test that goes
/// through a frame bit by bit many times longer. Tests of it name it.
pub const SUITES: [Suite; 2] = [Suite::X25519_AES_256_GCM, Suite::X25519_CHACHA20_POLY1305];

/// Every byte in order: block i is `SHA-256(seed || u64(i))`.
pub struct TestRng {
    seed: Vec<u8>,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl TestRng {
    pub fn new(seed: impl AsRef<[u8]>) -> Self {
        Self { seed: seed.as_ref().to_vec(), counter: 0, block: [0; 32], used: 32 }
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.try_fill_bytes(&mut out).unwrap();
        out
    }

    /// A number below `bound`; the slight bias does not matter here.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.try_next_u64().unwrap() % bound as u64).unwrap()
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for slot in out {
            if self.used == self.block.len() {
                let hash = Sha256::new_with_prefix(&self.seed).chain_update(self.counter.to_be_bytes());
                (self.block, self.used) = (hash.finalize().into(), 0);
                self.counter += 1;
            }
            *slot = self.block[self.used];
            self.used += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

/// One of the keys in `tests/keys`.
pub struct TestKey {
    pub pem: &'static str,
    pub private: PrivateKey,
    pub server: ServerKey,
}

impl TestKey {
    fn load(pem: &'static str) -> Self {
        let private = PrivateKey::from_pem(pem).unwrap();
        let server = ServerKey::load(&private, provider()).unwrap();
        Self { pem, private, server }
    }

    /// The private key, loaded for the provider under test.
    pub fn decryptor(&self) -> Arc<dyn Decrypt> {
        provider().rsa.load_key(&self.private).unwrap()
    }

    pub fn trust(&self) -> Server {
        Server::pinned(self.private.public_key().id())
    }
}

macro_rules! keys {
    ($($name:ident = $file:literal),*) => { $(
        pub static $name: LazyLock<TestKey> =
            LazyLock::new(|| TestKey::load(include_str!(concat!("../keys/", $file))));
    )* };
}
keys!(RSA2048 = "rsa2048.pem", OTHER2048 = "other2048.pem", RSA3072 = "rsa3072.pem", RSA4096 = "rsa4096.pem");

pub const TOKEN: &[u8] = b"a token";
pub const ALICE: Credential<'static> = Credential::Password { user: "alice", password: b"password" };

/// Knows `alice` with `password`, and one token. Costs nothing.
pub fn verify(credential: Credential<'_>) -> Result<Grant, Reason> {
    match credential {
        Credential::Password { user: "alice", password: b"password" } => Ok(grant()),
        Credential::Password { user: "alice", .. } => Err(Reason::WrongPassword),
        Credential::Password { .. } => Err(Reason::UnknownUser),
        Credential::Token(TOKEN) => Ok(Grant::new("robot", [""; 0]).unwrap()),
        _ => Err(Reason::UnknownToken),
    }
}

/// [`verify`], as a verifier.
pub fn verifier(attempt: &Attempt<'_>) -> Result<Grant, Reason> {
    verify(attempt.credential())
}

/// What alice is granted.
pub fn grant() -> Grant {
    Grant::new("alice", ["read", "write"]).unwrap()
}

/// A moment of virtual time.
pub fn at(millis: u64) -> Moment {
    Moment::after_origin(Duration::from_millis(millis))
}

/// A login that is still to be opened.
pub type Open = server::Open<server::SealedLogin>;

/// The RSA operation of a login that brought its secret itself.
pub fn sealed(login: server::Login) -> Open {
    match login.admit() {
        Admitted::Sealed(open) => open,
        Admitted::Opened(_) => panic!("its secret came with the hello"),
    }
}

/// When what arrives in a [`Scenario`]; the deadline is [`DEADLINE`].
pub const HELLO_AT: u64 = 10;
pub const CHALLENGE_AT: u64 = 20;
pub const LOGIN_AT: u64 = 30;
pub const VERDICT_AT: u64 = 40;
pub const DEADLINE: u64 = 10_000;
pub const FLOOR: u64 = 250;

/// What is said of a key that is not the one that is pinned.
pub fn untrusted(key: KeyId) -> UntrustedKey {
    UntrustedKey::new(key, Untrusted::new("untrusted-key", std::fmt::Error))
}

/// The time of day in a [`Scenario`].
pub const TODAY: UnixTime = UnixTime::from_secs(1_800_000_000);

/// A login between two machines. Everything in it repeats exactly, so that a state can be had as often as a test wants.
#[derive(Clone)]
pub struct Scenario {
    key: ServerKey,
    trust: Server,
    server: ServerConfig,
    client: ClientConfig,
    server_binding: ChannelBinding,
    client_binding: ChannelBinding,
    pub credential: Credential<'static>,
    seed: &'static str,
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}

impl Scenario {
    /// alice logs in with her password, to a 2048-bit key that she has pinned, with [`SUITES`].
    pub fn new() -> Self {
        Self::over(repeating::provider(), RSA2048.server.clone())
    }

    /// The same over another provider, with what it makes of the key.
    pub fn over(provider: Provider, key: ServerKey) -> Self {
        Self {
            trust: Server::pinned(key.public_key().id()),
            key,
            server: ServerConfig::new(provider).with_suites(&SUITES).unwrap(),
            client: ClientConfig::new(provider).with_suites(&SUITES).unwrap(),
            server_binding: ChannelBinding::none(),
            client_binding: ChannelBinding::none(),
            credential: ALICE,
            seed: "a connection",
        }
    }

    /// Both ends take this suite alone, and the client asked for it.
    pub fn suite(self, suite: Suite) -> Self {
        let mut scenario = self.server_suites(&[suite]).client_suites(&[suite]);
        scenario.trust = scenario.trust.with_floor(suite.key_exchange);
        scenario
    }

    pub fn server_suites(mut self, suites: &[Suite]) -> Self {
        self.server = self.server.with_suites(suites).unwrap();
        self
    }

    pub fn client_suites(mut self, suites: &[Suite]) -> Self {
        self.client = self.client.with_suites(suites).unwrap();
        self
    }

    /// The server has this key, and the client has pinned it.
    pub fn key(mut self, key: &TestKey) -> Self {
        self.key = key.server.clone();
        self.knowing(key.trust())
    }

    /// The server has this key; what the client trusts stays.
    pub fn server_key(mut self, key: ServerKey) -> Self {
        self.key = key;
        self
    }

    /// The client has the server's key whole, and says so.
    pub fn known_key(self) -> Self {
        self.known_key_under(KeyExchange::X25519)
    }

    pub fn known_key_under(self, floor: KeyExchange) -> Self {
        let server = Server::key(self.key.public_key().clone()).with_floor(floor);
        self.knowing(server)
    }

    /// The client knows this of the server that it names as before.
    fn knowing(mut self, server: Server) -> Self {
        self.trust = server.with_name(self.trust.name()).unwrap();
        self
    }

    pub fn trust(mut self, trust: Server) -> Self {
        self.trust = trust;
        self
    }

    pub fn credential(mut self, credential: Credential<'static>) -> Self {
        self.credential = credential;
        self
    }

    pub fn server_kinds(mut self, kinds: &[CredentialKind]) -> Self {
        self.server = self.server.with_credential_kinds(kinds).unwrap();
        self
    }

    /// The server takes stretched passwords in the place of passwords.
    pub fn stretching(mut self, stretching: &Stretching) -> Self {
        self.server = self.server.with_stretching(stretching.clone()).unwrap();
        self
    }

    pub fn server_name(mut self, name: &str) -> Self {
        self.trust = self.trust.with_name(name).unwrap();
        self
    }

    pub fn prologues(mut self, client: &[u8], server: &[u8]) -> Self {
        self.client = self.client.with_prologue(client).unwrap();
        self.server = self.server.with_prologue(server).unwrap();
        self
    }

    pub fn bindings(mut self, client: ChannelBinding, server: ChannelBinding) -> Self {
        (self.client_binding, self.server_binding) = (client, server);
        self
    }

    pub fn timeouts(mut self, client: u64, server: u64) -> Self {
        self.client = self.client.with_handshake_timeout(Duration::from_millis(client));
        self.server = self.server.with_handshake_timeout(Duration::from_millis(server));
        self
    }

    pub fn refusal_floor(mut self, floor: u64) -> Self {
        self.server = self.server.with_refusal_floor(Duration::from_millis(floor));
        self
    }

    /// The server has these settings, but for its suites.
    pub fn server_config_of(mut self, config: ServerConfig) -> Self {
        self.server = config.with_suites(&SUITES).unwrap();
        self
    }

    /// The client asks for a proof beside a ticket, too.
    pub fn proof_at_resumption(mut self) -> Self {
        self.client = self.client.with_proof_at_resumption();
        self
    }

    /// The server gives out tickets under these keys, and takes them.
    pub fn tickets(mut self, keys: impl Into<Arc<TicketKeys>>) -> Self {
        self.server = self.server.with_tickets(keys);
        self
    }

    /// The client takes requests for further factors.
    pub fn factors(mut self) -> Self {
        self.client = self.client.offering_factors();
        self
    }

    /// The client solves puzzles that are no harder; `None`: it solves none.
    pub fn puzzles(mut self, most: Option<PuzzleDifficulty>) -> Self {
        self.client = match most {
            Some(most) => self.client.with_puzzles(most),
            None => self.client.without_puzzles(),
        };
        self
    }

    pub fn factor_timeouts(mut self, client: u64, server: u64) -> Self {
        self.client = self.client.with_factor_timeout(Duration::from_millis(client));
        self.server = self.server.with_factor_timeout(Duration::from_millis(server));
        self
    }

    /// Other randomness: another connection.
    pub fn seed(mut self, seed: &'static str) -> Self {
        self.seed = seed;
        self
    }

    pub fn rng(&self, of: &str) -> TestRng {
        TestRng::new(format!("{} {of}", self.seed))
    }

    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::new(self.server.clone())
    }

    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::new(self.client.clone())
    }

    pub fn private_key(&self) -> &ServerKey {
        &self.key
    }

    pub fn trusted(&self) -> &Server {
        &self.trust
    }

    pub fn client_binding(&self) -> &ChannelBinding {
        &self.client_binding
    }

    pub fn await_hello(&self) -> AwaitHello {
        AwaitHello::new(&self.server_config(), &self.server_binding, Moment::ORIGIN)
    }

    /// Gives the ClientHello, and the client that sent it.
    pub fn await_challenge(&self) -> (Vec<u8>, AwaitChallenge) {
        let mut rng = self.rng("client hello");
        client::start(&self.client_config(), &self.trust, &self.client_binding, &mut rng, Moment::ORIGIN).unwrap()
    }

    /// A server's answer to this ClientHello: the ServerHello, and the state after it.
    pub fn answer(&self, hello: &[u8]) -> Result<(Vec<u8>, AwaitLogin), Error> {
        self.hello(hello)?.challenge(&mut self.rng("server hello"))
    }

    /// A server's way from a ClientHello to its answer: what is sealed in it is opened.
    pub fn hello(&self, hello: &[u8]) -> Result<Hello, Error> {
        let hello = self.await_hello().read(hello.to_vec(), at(HELLO_AT))?.choose(&self.key)?;
        Ok(match hello.open(&mut self.rng("fallback")) {
            Ok(open) => open.run(&mut self.rng("blinding")),
            Err(hello) => *hello,
        })
    }

    /// Gives ClientHello and ServerHello, and both sides after them.
    pub fn await_login(&self) -> Hellos {
        let (hello, client) = self.await_challenge();
        let (challenge, server) = self.answer(&hello).unwrap();
        Hellos { hello, challenge, client, server }
    }

    /// The client's decision on a key is due.
    pub fn challenge(&self) -> Challenge {
        let Hellos { challenge, client, .. } = self.await_login();
        client.read(&challenge, at(CHALLENGE_AT)).unwrap()
    }

    /// The client's way from a ServerHello to its ClientLogin.
    pub fn log_in(&self, client: AwaitChallenge, challenge: &[u8]) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        let trusted = client.read(challenge, at(CHALLENGE_AT))?.trust(&self.trust, TODAY)?;
        trusted.login(self.credential, &mut self.rng("client login"))
    }

    /// Gives the first three frames, and both sides with the ClientLogin on its way.
    pub fn await_verdict(&self) -> Sent {
        let Hellos { hello, challenge, client, server } = self.await_login();
        let (login, client) = self.log_in(client, &challenge).unwrap();
        Sent { hello, challenge, login, client, server }
    }

    /// The server's way from a ClientLogin to a claim.
    pub fn open(&self, server: AwaitLogin, login: &[u8]) -> Result<Claim, Refusal> {
        Ok(server.read(login.to_vec(), at(LOGIN_AT))?.admit().open(&mut self.rng("blinding")))
    }

    /// The server's way from a ClientLogin to its verdict, with [`verify`].
    pub fn decide(&self, server: AwaitLogin, login: &[u8]) -> Result<server::Accepted, Refusal> {
        let claim = self.open(server, login)?;
        match verify(claim.credential()) {
            Ok(grant) => claim.accept(grant),
            Err(reason) => Err(claim.reject(reason)),
        }
    }

    pub fn claim(&self) -> Claim {
        let Sent { login, server, .. } = self.await_verdict();
        self.open(server, &login).unwrap()
    }

    /// The login's end on both sides.
    pub fn finish(&self) -> Finished {
        let Sent { hello, challenge, login, client, server } = self.await_verdict();
        let verdict = self.decide(server, &login);
        let frame = verdict.as_ref().map_or_else(|refusal| &refusal.frame, |accepted| &accepted.frame).clone();
        let client = client.read(&frame, at(VERDICT_AT), TODAY);
        Finished { frames: [hello, challenge, login, frame], client, server: verdict.map(|accepted| accepted.session) }
    }

    /// The client's session and the server's.
    pub fn sessions(&self) -> (Session, Session) {
        let Finished { client, server, .. } = self.finish();
        (client.unwrap(), server.unwrap())
    }
}

pub struct Hellos {
    pub hello: Vec<u8>,
    pub challenge: Vec<u8>,
    pub client: AwaitChallenge,
    pub server: AwaitLogin,
}

pub struct Sent {
    pub hello: Vec<u8>,
    pub challenge: Vec<u8>,
    pub login: Vec<u8>,
    pub client: AwaitVerdict,
    pub server: AwaitLogin,
}

pub struct Finished {
    pub frames: [Vec<u8>; 4],
    pub client: Result<Session, Error>,
    pub server: Result<Session, Refusal>,
}

/// A private key that counts what it is asked; by default it answers nothing.
#[derive(Default)]
pub struct Counting {
    asked: AtomicUsize,
    key: Option<Arc<dyn Decrypt>>,
}

impl Counting {
    /// One that answers with this key.
    pub fn with(key: &TestKey) -> Self {
        Self { key: Some(key.decryptor()), ..Self::default() }
    }

    pub fn count(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Decrypt for Counting {
    fn decrypt(&self, ciphertext: &[u8], rng: &mut dyn CryptoRng) -> Decrypted {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.key.as_ref().map_or_else(Decrypted::failed, |key| key.decrypt(ciphertext, rng))
    }
}

/// A frame of any type around any body.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, high, low][..], body].concat()
}

/// What no state that awaits `expected` takes in the place of `genuine`, and the error each gives: other types, no
/// types, impossible lengths, and a frame that is cut short or goes on.
pub fn not_that_frame(expected: FrameType, genuine: &[u8]) -> Vec<(Vec<u8>, FrameError)> {
    let (min, max) = (expected.min_body(), expected.max_body());
    let length = |len: usize| FrameError::Length { kind: expected, len, min, max };
    let mut cases = vec![
        (Vec::new(), FrameError::Truncated { missing: 3 }),
        (genuine[..1].to_vec(), FrameError::Truncated { missing: 2 }),
        (genuine[..2].to_vec(), FrameError::Truncated { missing: 1 }),
        (genuine[..3].to_vec(), FrameError::Truncated { missing: genuine.len() - 3 }),
        (genuine[..genuine.len() - 1].to_vec(), FrameError::Truncated { missing: 1 }),
        ([genuine, &[0]].concat(), FrameError::Trailing(1)),
        ([genuine, genuine].concat(), FrameError::Trailing(genuine.len())),
        (frame(expected.byte(), &vec![0; max + 1]), length(max + 1)),
        (frame(expected.byte(), &vec![0; min - 1]), length(min - 1)),
        (frame(expected.byte(), &[0xaa; 65535]), length(65535)),
    ];
    for byte in [0, 13, 0x16, b'G', b'S', 0xff] {
        cases.push(([&[byte], &genuine[1..]].concat(), FrameError::UnknownType(byte)));
    }
    for other in FrameType::ALL.into_iter().filter(|&other| other != expected) {
        cases.push(([&[other.byte()], &genuine[1..]].concat(), FrameError::UnexpectedType(other)));
        cases.push((frame(other.byte(), &vec![0; other.min_body()]), FrameError::UnexpectedType(other)));
    }
    cases
}

/// The error in a result that has no `Debug` to unwrap with.
pub fn error<T, E>(result: Result<T, E>) -> E {
    match result {
        Ok(_) => panic!("this must be refused"),
        Err(error) => error,
    }
}
