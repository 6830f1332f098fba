//! A genuine client and a genuine server on the toy provider, the same in every run.

use crate::between::{DOWN, UP};
use crate::certificates::{GENUINE, ROOT};
use crate::judge::Reached;
use crate::memory;
use crate::toy::{self, CountingRng};
use countersign::client::{self, Answer, AwaitAnswer, AwaitChallenge, AwaitSignature, AwaitVerdict, Challenge};
use countersign::crypto::{CertificateChain, Decrypt, Decrypted, Provider};
use countersign::frame::FrameType;
use countersign::server::{Accepted, AwaitConfirm, AwaitHello, AwaitLogin, AwaitSolution, Claim, FactorClaim};
use countersign::server::{Hello, Refusal};
use countersign::x509::{Roots, X509};
use countersign::{
    ChannelBinding, ClientConfig, ClientKey, Credential, CredentialKind, CryptoRng, Differs, Error, Form, Grant,
    KeyExchange, Moment, PrivateKey, Prompt, Puzzle, PuzzleDifficulty, PuzzleSolution, Server, ServerConfig, ServerKey,
    Session, SigningKey, StretchError, StretchParameters, StretchedPassword, Stretching, Suite, Ticket, TicketKeys,
    UnixTime, limits,
};
use countersign::{Identity, ManifestBody, ManifestKey, SignedManifest};
use rand_core::Rng;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub(crate) const NOW: Moment = Moment::ORIGIN;

/// When the peers meet, in seconds since 1970, and how long a ticket is good for.
pub(crate) const TODAY: u64 = 1_800_000_000;
pub(crate) const LIFETIME: u64 = 3600;

/// 2026-11-27: within the dates of the certificates.
const CERTIFIED: UnixTime = UnixTime::from_secs(1_795_737_600);

/// When a client that solves no puzzles may come again.
const RETRY: Duration = Duration::from_secs(9);

#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) trust: Server,
    pub(crate) key: ServerKey,
    pub(crate) tickets: Arc<TicketKeys>,
    pub(crate) today: UnixTime,
    /// What the server has opened in this connection.
    opened: Arc<AtomicUsize>,
    /// Whether both hellos have an extension that nobody knows.
    is_extended: bool,
    /// Whether alice logs in by a key.
    has_key: bool,
    /// Whether the server takes stretched passwords in the place of passwords.
    is_stretching: bool,
    /// Whether her client offers to answer for further factors.
    offers_factors: bool,
    /// How many further factors the server wants of her.
    factors: usize,
    /// What each end means of the connection that is never sent ([`Peers::meaning`]).
    meant: [u8; 2],
    /// What the server sends to clients that ask for one.
    manifest: Option<SignedManifest>,
    seed: u64,
}

pub(crate) static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::from_pem(include_str!("../../tests/keys/rsa2048.pem")).unwrap());

/// Alice's keys: the second is for credentials that are longer than her own.
pub(crate) static ALICES_KEY: LazyLock<ClientKey> =
    LazyLock::new(|| toy::client_key(SigningKey::from_ed25519(&[7; 32]).unwrap().public_key()));
pub(crate) static LONG_KEY: LazyLock<ClientKey> = LazyLock::new(|| toy::client_key(&KEY.public_key().clone().into()));

/// What alice's password is stretched to, with a password beside it: a short one, and one that makes the credential longer. Computed once: it
/// takes milliseconds.
pub(crate) static STRETCHED: LazyLock<[StretchedPassword; 2]> = LazyLock::new(|| {
    let weakest = StretchParameters::new(7, 5, 1).unwrap();
    let stretching = Stretching::new("db.example", &[weakest]).unwrap().with_moving();
    [&b"correct horse"[..], &[b'x'; 600]].map(|password| stretching.stretch("alice", password).unwrap())
});

/// The server's name, for what is given out for one.
const NAME: &str = "db.example";

/// The client asks for that name, and takes any key exchange.
fn named(trust: Server) -> Server {
    trust.with_name(NAME).unwrap().with_floor(KeyExchange::Rsa)
}

/// What both ends together may hold at once, in bytes, beside what the input makes them hold: eight frames of the largest size.
const BUDGET: usize = 128 << 10;

/// Has them meet, within that.
pub(crate) fn within_budget(input: &[u8], meet: impl FnOnce() -> Reached) -> Reached {
    // What is computed once, for all.
    LazyLock::force(&STRETCHED);
    memory::within(BUDGET + 8 * input.len(), meet)
}

impl Peers {
    pub(crate) fn new(choice: u8) -> Self {
        Self::with(choice, toy::provider(), toy::provider())
    }

    /// `choice` says what of the protocol the genuine peers use. Three bits are the suite; the two numbers that are left have
    /// the first two suites, extensions in the hellos, offer to answer further factors, and ask for a proof at a resumption, too, where
    /// one can be had. One bit is for a client that has the server's key whole, and so for a proof.
    pub(crate) fn with(choice: u8, client: Provider, server: Provider) -> Self {
        let number = usize::from(choice & 7);
        let (suite, is_extended) = (Suite::ALL[number % Suite::ALL.len()], number >= Suite::ALL.len());
        let public = KEY.public_key();
        let trust = if choice & 8 == 0 { Server::pinned(public.id()) } else { Server::key(public.clone()) };
        let opened = Arc::new(AtomicUsize::new(0));
        let counting = Counting(toy::provider().rsa.load_key(&KEY).unwrap(), opened.clone());
        let tickets = Arc::new(ticket_keys(toy::provider()));
        let server = ServerConfig::new(server).with_suites(&Suite::ALL).unwrap().with_tickets(tickets.clone());
        let kinds = [CredentialKind::Password, CredentialKind::Token, CredentialKind::Key];
        let server = server.with_credential_kinds(&kinds).unwrap();
        let client = ClientConfig::new(client).with_suites(&[suite]).unwrap();
        Self {
            client: Arc::new(if is_extended { client.offering_factors().with_proof_at_resumption() } else { client }),
            server: Arc::new(server),
            trust: trust.with_floor(KeyExchange::Rsa),
            key: ServerKey::with_decrypt(public.clone(), Arc::new(counting)),
            tickets,
            today: UnixTime::from_secs(TODAY),
            opened,
            is_extended,
            has_key: false,
            is_stretching: false,
            offers_factors: is_extended,
            factors: 0,
            meant: [0; 2],
            manifest: None,
            seed: 0,
        }
    }

    /// Alice logs in by her key, or not, and with so many further factors.
    pub(crate) fn with_login(self, has_key: bool, factors: usize) -> Self {
        let client = ClientConfig::clone(&self.client);
        let client = if factors > 0 { client.offering_factors() } else { client };
        let offers_factors = self.offers_factors || factors > 0;
        Self { client: client.into(), has_key, offers_factors, factors, ..self }
    }

    /// What the client and the server mean of the connection that is never sent: one bit is for another prologue, the next for another channel
    /// underneath.
    pub(crate) fn meaning(self, meant: [u8; 2]) -> Self {
        let [ours, theirs] = meant.map(|meant| if meant & 1 == 0 { &b""[..] } else { b"another application" });
        let client = ClientConfig::clone(&self.client).with_prologue(ours).unwrap();
        let server = ServerConfig::clone(&self.server).with_prologue(theirs).unwrap();
        Self { client: client.into(), server: server.into(), meant, ..self }
    }

    /// In what they differ.
    pub(crate) fn differs(&self) -> Option<Differs> {
        match (self.meant[0] ^ self.meant[1]) & 3 {
            0 => None,
            1 => Some(Differs::Prologue),
            2 => Some(Differs::Binding),
            _ => Some(Differs::Both),
        }
    }

    /// The channel, as the client or the server names it.
    fn channel(&self, side: usize) -> ChannelBinding {
        if self.meant[side] & 2 == 0 { ChannelBinding::none() } else { ChannelBinding::tls_exporter([7; 32]) }
    }

    /// The client has the server's identity alone, and is shown a manifest.
    pub(crate) fn with_manifest(self) -> Self {
        let (key, time) = (KEY.public_key().id(), |seconds| UnixTime::from_secs(TODAY + seconds));
        let [not_before, not_after] = [time(0), time(LIFETIME)];
        let body = ManifestBody {
            sequence: 1,
            issued: time(0),
            expires: time(LIFETIME),
            names: vec![NAME.to_owned()],
            keys: vec![ManifestKey { id: key, not_before, not_after, floor: KeyExchange::Rsa.into() }],
        };
        let identity = SigningKey::from_ed25519(&[8; 32]).unwrap();
        let manifest = Some(body.sign(&identity, toy::provider()).unwrap());
        let trust = Server::trusting(Identity::pinned(identity.public_key().id(), toy::provider()));
        Self { trust: named(trust), manifest, ..self }
    }

    /// The client knows who may certify the server's key, and is shown a certificate.
    pub(crate) fn with_certificate(self) -> Self {
        let chain = CertificateChain::parse(&GENUINE[0]).unwrap();
        let trust = Server::trusting(X509::new(Roots::parse(ROOT).unwrap()));
        Self { trust: named(trust), key: self.key.with_certificates(chain).unwrap(), today: CERTIFIED, ..self }
    }

    /// The server takes stretched passwords in the place of passwords.
    pub(crate) fn with_stretching(self) -> Self {
        let server = ServerConfig::clone(&self.server).with_stretching(STRETCHED[0].stretching().clone()).unwrap();
        Self { server: server.into(), is_stretching: true, ..self }
    }

    /// Whether alice's client offers to answer for further factors.
    pub(crate) fn offers_factors(&self) -> bool {
        self.offers_factors
    }

    /// How many further factors the server wants of alice.
    pub(crate) fn factors(&self) -> usize {
        self.factors
    }

    /// What alice logs in with.
    pub(crate) fn alice(&self) -> Credential<'static> {
        match (self.has_key, self.is_stretching) {
            (true, _) => Credential::Key { user: "alice", key: &ALICES_KEY },
            (false, true) => Credential::Stretched { user: "alice", password: &STRETCHED[0] },
            (false, false) => ALICE,
        }
    }

    /// Whether there is an extension in both hellos that nobody knows.
    pub(crate) fn is_extended(&self) -> bool {
        self.is_extended
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
        self.at(TODAY + seconds as u64)
    }

    /// The server's clock says this.
    pub(crate) fn at(self, seconds: u64) -> Self {
        Self { today: UnixTime::from_secs(seconds), ..self }
    }

    /// Whether the client has the server's key whole, and waits for a proof.
    pub(crate) fn wants_proof(&self) -> bool {
        !self.trust.known_keys().is_empty()
    }

    /// Whether a client that shows a ticket asks for a proof.
    pub(crate) fn wants_proof_at_resumption(&self) -> bool {
        self.wants_proof() && self.is_extended
    }

    fn rng(&self, stream: u64) -> CountingRng {
        CountingRng(self.seed ^ stream)
    }

    /// For a hello: the last byte of its nonce, which is drawn first, decides on the extension.
    fn hello_rng(&self, stream: u64) -> CountingRng {
        let mut streams = (0..).map(|turn| self.rng(stream ^ (turn << 8)));
        let is_wanted = |rng: &CountingRng| {
            let mut nonce = [0; limits::NONCE];
            rng.clone().fill_bytes(&mut nonce);
            !self.is_extended || nonce[31] % 8 == 0
        };
        streams.find(is_wanted).expect("one in eight is")
    }

    /// A login costs the server one RSA operation, and a resumption without a proof none.
    pub(crate) fn has_opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    pub(crate) fn hello(&self) -> (Vec<u8>, AwaitChallenge) {
        client::start(&self.client, &self.trust, &self.channel(UP), &mut self.hello_rng(1), NOW).unwrap()
    }

    /// A new connection at the server.
    fn await_hello(&self) -> AwaitHello {
        self.opened.store(0, Ordering::SeqCst);
        AwaitHello::new(&self.server, &self.channel(DOWN), NOW)
    }

    /// The server's way to its answer: what is sealed in the hello is opened.
    pub(crate) fn read(&self, hello: &[u8]) -> Result<Hello, Error> {
        Ok(self.opened(self.greeted(hello)?))
    }

    /// The first part of that, which costs next to nothing.
    fn greeted(&self, hello: &[u8]) -> Result<Hello, Error> {
        let state = self.await_hello().read(hello.to_vec(), NOW)?;
        let name = state.server_name();
        assert!(name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(state.known_keys().count() <= 8);
        state.choose(&self.key)
    }

    /// A puzzle for whoever sent this hello, before anything costly is done for it.
    pub(crate) fn puzzle(&self, hello: &[u8], bits: u8) -> Result<(Vec<u8>, AwaitSolution), Error> {
        let difficulty = PuzzleDifficulty::new(bits).unwrap();
        let puzzle = self.greeted(hello)?.puzzle(difficulty, RETRY, &mut self.rng(9));
        assert_eq!(self.has_opened(), 0, "an RSA operation before the puzzle");
        puzzle
    }

    /// The second part.
    pub(crate) fn opened(&self, state: Hello) -> Hello {
        let is_sealed = state.is_sealed();
        let state = match state.open(&mut self.rng(7)) {
            Ok(open) => open.run(&mut self.rng(8)),
            Err(state) => *state,
        };
        assert!(!state.is_sealed() && self.has_opened() == usize::from(is_sealed));
        state
    }

    pub(crate) fn challenge(&self, hello: &[u8]) -> Result<(Vec<u8>, AwaitLogin), Error> {
        self.challenged(self.read(hello)?)
    }

    pub(crate) fn challenged(&self, hello: Hello) -> Result<(Vec<u8>, AwaitLogin), Error> {
        let hello = match &self.manifest {
            Some(manifest) => hello.with_manifest(manifest),
            None => hello,
        };
        hello.challenge(&mut self.hello_rng(2))
    }

    /// From a login to a claim, with the RSA operation if that was not done before.
    pub(crate) fn claim(&self, state: AwaitLogin, login: Vec<u8>) -> Result<Claim, Refusal> {
        let login = state.read(login, NOW)?;
        let is_proved = login.is_proved();
        assert_eq!(self.has_opened(), usize::from(is_proved));
        let claim = login.admit().open(&mut self.rng(4));
        assert_eq!(self.has_opened(), 1, "a login has one RSA operation");
        Ok(claim)
    }

    pub(crate) fn login(&self, state: AwaitChallenge, challenge: &[u8]) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        self.login_as(self.alice(), state, challenge)
    }

    pub(crate) fn login_as(
        &self,
        credential: Credential<'_>,
        state: AwaitChallenge,
        challenge: &[u8],
    ) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        self.answer(credential, state.read(challenge, NOW)?)
    }

    /// A login as alice by this key, up to the signature.
    pub(crate) fn sign(&self, state: AwaitChallenge, challenge: &[u8], key: &ClientKey) -> AwaitSignature {
        let trusted = state.read(challenge, NOW).unwrap().trust(&self.trust, self.today).unwrap();
        trusted.sign("alice", key.public_key(), &mut self.rng(3)).unwrap()
    }

    /// The client's login, if it trusts what it is asked by.
    pub(crate) fn answer(
        &self,
        credential: Credential<'_>,
        challenge: Challenge,
    ) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        // By a manifest it gets to know keys whole, for the next time.
        let (is_proved, wants_proof) = (challenge.is_proved(), self.wants_proof());
        let trusted = challenge.trust(&self.trust, self.today)?;
        if matches!(credential, Credential::Password { .. }) && trusted.stretching()?.is_some() {
            // No genuine server of these asks for it; what a made-up one announces would take the fuzzer a second each time.
            return Err(StretchError::NoMemory.into());
        }
        let answer = trusted.login(credential, &mut self.rng(3))?;
        assert!(is_proved || !wants_proof, "a credential left before the proof");
        Ok(answer)
    }

    /// The client's session and the server's.
    pub(crate) fn sessions(&self) -> (Session, Session) {
        let (hello, client) = self.hello();
        let (challenge, server) = self.challenge(&hello).unwrap();
        let (login, client) = self.login(client, &challenge).unwrap();
        let claim = self.claim(server, login).unwrap();
        let accepted = self.accept(claim).unwrap();
        (client.read(&accepted.frame, NOW, self.today).unwrap(), accepted.session)
    }

    /// The same for the answer to a further factor.
    pub(crate) fn accept_factor(&self, claim: FactorClaim) -> Result<Accepted, Refusal> {
        claim.accept_with_ticket(account(), self.today, &mut self.rng(5))
    }

    /// Accepts a claim, with a ticket.
    pub(crate) fn accept(&self, claim: Claim) -> Result<Accepted, Refusal> {
        claim.accept_with_ticket(account(), self.today, &mut self.rng(5))
    }

    /// What the client keeps of a login.
    pub(crate) fn ticket(&self) -> Ticket {
        self.sessions().0.info.ticket().expect("the account has an epoch").clone()
    }

    /// A hello with this ticket in it, or with none, if it is not alice's or not this server's. The client's clock says that it
    /// is still good.
    pub(crate) fn open(&self, ticket: Option<&Ticket>) -> (Vec<u8>, Opening) {
        let usable = |ticket: &Ticket| UnixTime::from_secs(ticket.expires().as_secs().saturating_sub(1));
        let shown = ticket.and_then(|ticket| self.trust.resume(ticket.clone(), "alice", usable(ticket)));
        let Some(ticket) = shown else {
            let (hello, state) = self.hello();
            return (hello, Opening::Plain(state));
        };
        let binding = &self.channel(UP);
        let resumed = client::resume(&self.client, &self.trust, binding, ticket, &mut self.hello_rng(1), NOW);
        let (hello, state) = resumed.unwrap();
        (hello, Opening::Shown(state))
    }

    /// The server's answer, if this hello shows a ticket that it takes.
    pub(crate) fn take(&self, hello: &[u8]) -> Option<Taken> {
        let state = self.read(hello).ok()?;
        let ticket = state.ticket(self.today)?.use_up_now()?;
        if !ticket.is_current(&account()) {
            return None;
        }
        let (frame, server) = state.resume(ticket, account(), self.today, &mut self.hello_rng(6)).unwrap();
        assert_eq!(server.principal(), "alice");
        Some(Taken { frame, server })
    }
}

/// A ticket that the server took: its answer, and its half of what follows.
pub(crate) struct Taken {
    pub(crate) frame: Vec<u8>,
    pub(crate) server: AwaitConfirm,
}

/// The toy's private key, and how often it was used.
struct Counting(Arc<dyn Decrypt>, Arc<AtomicUsize>);

impl Decrypt for Counting {
    fn decrypt(&self, ciphertext: &[u8], rng: &mut dyn CryptoRng) -> Decrypted {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.decrypt(ciphertext, rng)
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

    /// The puzzle in this frame, if the client goes along with it.
    pub(crate) fn puzzle(&self, frame: &[u8]) -> Option<Puzzle> {
        match self {
            Self::Plain(state) => state.puzzle(frame),
            Self::Shown(state) => state.puzzle(frame),
        }
    }

    /// The Solution, and the client after it.
    pub(crate) fn solved(self, solution: &PuzzleSolution) -> (Vec<u8>, Self) {
        match self {
            Self::Plain(state) => {
                let (frame, state) = state.solved(solution).unwrap();
                (frame, Self::Plain(state))
            }
            Self::Shown(state) => {
                let (frame, state) = state.solved(solution).unwrap();
                (frame, Self::Shown(state))
            }
        }
    }

    pub(crate) fn read(self, frame: &[u8], peers: &Peers) -> Result<Answer, Error> {
        match self {
            Self::Plain(state) => state.read(frame, NOW).map(Answer::Challenge),
            Self::Shown(state) => state.read(frame, NOW, peers.today),
        }
    }
}

pub(crate) fn ticket_keys(provider: Provider) -> TicketKeys {
    TicketKeys::new(provider, Duration::from_secs(LIFETIME))
}

/// The part of a ticket that the server gets to see.
pub(crate) fn shown(ticket: &Ticket) -> Vec<u8> {
    ticket.to_bytes().unwrap()[secret_at(ticket) + limits::SECRET + 2..].to_vec()
}

/// The part that proves that it is the client's.
pub(crate) fn secret(ticket: &Ticket) -> Vec<u8> {
    let at = secret_at(ticket);
    ticket.to_bytes().unwrap()[at..at + limits::SECRET].to_vec()
}

/// A ticket as it is kept: format, suite, key id, server name, user, when a credential was shown, when it was received, for how
/// long it is good, its secret, and what is shown.
fn secret_at(ticket: &Ticket) -> usize {
    1 + 2 + 32 + (2 + ticket.server_name().len()) + (2 + ticket.user().len()) + 8 + 8 + 8
}

/// The account behind [`grant`]: it has an epoch, so its logins give tickets.
pub(crate) fn account() -> Grant {
    grant().with_epoch(7)
}

pub(crate) const ALICE: Credential<'_> = Credential::Password { user: "alice", password: b"correct horse" };

/// What the server asks for, and what alice answers, by how often it asked before.
pub(crate) fn prompt(turn: usize) -> Prompt {
    Prompt::new(Form::ALL[turn % Form::ALL.len()], format!("factor {turn}")).unwrap()
}

pub(crate) fn answer(turn: usize) -> Vec<u8> {
    format!("answer {turn}").into_bytes()
}

pub(crate) fn grant() -> Grant {
    Grant::new("alice", ["read", "write"]).unwrap()
}
