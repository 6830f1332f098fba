//! The client's machine: bytes in, bytes and decisions out (PROTOCOL.md, "Client states").
//!
//! | state | what it waits for | next |
//! |---|---|---|
//! | [`AwaitAnswer`], with a ticket | a ServerResumption, or a ServerHello | [`Resumed`], or [`Challenge`] |
//! | [`AwaitChallenge`] | a ServerHello | [`Challenge`] |
//! | [`Challenge`] | *is this the server's key?* | [`Trusted`] |
//! | [`Trusted`] | *the credential*, a password perhaps stretched ([`Trusted::stretching`]) | [`AwaitVerdict`], or [`AwaitSignature`] |
//! | [`AwaitSignature`] | *a signature by the client's key* | [`AwaitVerdict`] |
//! | [`AwaitVerdict`] | a ServerVerdict | a [`Session`], or [`FactorWanted`] |
//! | [`FactorWanted`] | *the further factor* | [`AwaitVerdict`] again |
//!
//! ```text
//! start ──ClientHello──▶ AwaitChallenge ──▶ Challenge ──▶ Trusted ──ClientLogin──▶ AwaitVerdict ──▶ Session
//! ```
//!
//! A server under load may ask for work first: its answer is a Busy with a puzzle ([`AwaitChallenge::puzzle`],
//! [`AwaitChallenge::solved`]), and the state is the same after the solution.
//!
//! Where a key of the server's is known whole, the ClientHello seals a secret to it, and the server proves in its answer that it
//! has opened it: the credential leaves after that.
//!
//! Each state is consumed by the step out of it; on an error it is gone, and a new try is a new connection. Dropping any
//! state is always safe. The machine holds no clock, no socket and no randomness of its own.

mod config;
mod factor;
mod login;

pub use config::ClientConfig;
pub use factor::{FactorWanted, Verdict};
pub use login::{AwaitSignature, AwaitVerdict, Trusted};

use crate::crypto::once;
use crate::crypto::schedule::{self, Key, Sources};
use crate::crypto::{CryptoError, CryptoRng, KeyExchange, KeyId, Offer, PublicKey, SharedSecret, Suite, Transcript};
use crate::handshake::{self, NewTicket, Opened, Secrets, VERSION};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::session::{Outcome, Session, Side};
use crate::terms;
use crate::terms::binding::{ChannelBinding, ContextHash};
use crate::terms::context::Context;
use crate::terms::credential::CredentialKind;
use crate::terms::error::{Error, Misuse, Violation};
use crate::terms::grant::NoGrant;
use crate::terms::puzzle::{Puzzle, PuzzleSolution};
use crate::terms::stretch::Stretching;
use crate::terms::ticket::{Owner, Ticket, TrustedTicket};
use crate::terms::trust::{self, Approved, Evidence, Question, Server, Wants};
use crate::time::{Moment, UnixTime};
use crate::wire::codec::{
    self, Busy, Bytes, ClientHello, Confirm, Extension, Extensions, KeyShare, List, ServerHello, ServerResumption,
    Solution, Text,
};
use crate::wire::frame::{self, FrameType};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Begins a login: gives the ClientHello frame to send, and the state that awaits the answer.
///
/// The keys of `server` that are given whole ([`Server::known_keys`]) need not be sent by it; the first 8 are named to it, and it is
/// made to prove that it holds the first.
///
/// # Errors
/// [`Error::Crypto`] where the provider fails.
pub fn start(
    config: &Arc<ClientConfig>,
    server: &Server,
    binding: &ChannelBinding,
    rng: &mut dyn CryptoRng,
    now: Moment,
) -> Result<(Vec<u8>, AwaitChallenge), Error> {
    hello(config, server, binding, None, rng, now)
}

/// As [`start`], with a ticket of an earlier login, so that the server may skip the rest. If it does not, the login goes on
/// as usual, but without a proof, unless [`ClientConfig::with_proof_at_resumption`] asks for one here, too; where a key is known
/// whole, [`Challenge::trust`] then says [`Error::NoProof`]. The ticket is not shown where the configuration does not offer its
/// suite, or where it is not one for `server`.
///
/// # Errors
/// As [`start`].
pub fn resume(
    config: &Arc<ClientConfig>,
    server: &Server,
    binding: &ChannelBinding,
    ticket: TrustedTicket,
    rng: &mut dyn CryptoRng,
    now: Moment,
) -> Result<(Vec<u8>, AwaitAnswer), Error> {
    let TrustedTicket { ticket, at } = ticket;
    let shown = |ticket: Ticket| ShownTicket { stage_0: Box::new(schedule::stage_0(&ticket.secret)), ticket };
    // It may have been another server that let it be shown.
    let is_theirs = server.recalls(ticket.key_id, ticket.suite, at) && ticket.server_name() == server.name();
    let ticket = Some(ticket).filter(|ticket| is_theirs && config.suites.contains(&ticket.suite())).map(shown);
    let (frame, state) = hello(config, server, binding, ticket.as_ref(), rng, now)?;
    Ok((frame, AwaitAnswer { state, ticket }))
}

fn hello(
    config: &Arc<ClientConfig>,
    server: &Server,
    binding: &ChannelBinding,
    ticket: Option<&ShownTicket>,
    rng: &mut dyn CryptoRng,
    now: Moment,
) -> Result<(Vec<u8>, AwaitChallenge), Error> {
    // The provider has no forward-secret suite, and the configuration named no other.
    if config.suites.is_empty() {
        return Err(Misuse::BadInput("the list of suites").into());
    }
    let mut nonce = [0; limits::NONCE];
    rng.fill_bytes(&mut nonce);
    let mut versions = List::new();
    versions.push(VERSION).ok_or(CryptoError::Failed)?;
    let mut suites = List::new();
    for suite in &config.suites {
        suites.push(suite.number()).ok_or(Misuse::TooMany { what: "the suites", limit: limits::MAX_SUITES })?;
    }
    let (offers, shares) = offers(config, rng)?;
    let mut key_shares = List::new();
    let mut rest = shares.as_slice();
    for offer in offers.iter().flatten() {
        let (share, after) = rest.split_at_checked(offer.exchange().client_share()).ok_or(CryptoError::Failed)?;
        let share = KeyShare { exchange: offer.exchange().number(), share: Bytes(share) };
        key_shares.push(share).ok_or(CryptoError::Failed)?;
        rest = after;
    }
    let known_keys = known_keys(server, ticket.map(|shown| shown.ticket.key_id));
    let mut ids = List::new();
    for key in &known_keys {
        ids.push(*key.id().as_bytes()).ok_or(CryptoError::Failed)?;
    }
    let prover = known_keys.first().filter(|first| match ticket {
        Some(shown) => config.proof_at_resumption && first.id() == shown.ticket.key_id,
        None => true,
    });
    let (shown, room) = match ticket {
        Some(shown) => (shown.ticket.bytes.as_slice(), limits::BINDER),
        None => (&[][..], 0),
    };
    let context = binding.context(&config.prologue);
    let hello = ClientHello {
        versions,
        suites,
        nonce,
        key_shares,
        server_name: Text(server.name()),
        known_keys: ids,
        context: context.0,
        ticket: Bytes(shown),
        extensions: extensions(&nonce, server.wants(), config.factors).ok_or(CryptoError::Failed)?,
        rsa_ciphertext: codec::room(prover.map_or(0, PublicKey::size))?,
        binder: codec::room(room)?,
    };
    let mut frame = handshake::write(FrameType::ClientHello, &hello)?;
    let [ciphertext, binder] = hello.tails();
    let mut transcript = binding.transcript(&config.prologue);
    let mut parts = ciphertext.cut_mut(&mut frame);
    transcript.add(parts.head);
    let sealed = match prover {
        Some(key) => {
            let secret = handshake::seal_secret(&config.provider, key, &transcript, rng, parts.content_mut())?;
            Some(Sealed { to: key.id(), secret })
        }
        None => None,
    };
    transcript.add(parts.field);
    let mut parts = binder.cut_mut(&mut frame);
    if let Some(shown) = ticket {
        let binder = handshake::binder(&shown.stage_0, &transcript);
        *parts.content_mut().first_chunk_mut().ok_or(CryptoError::Failed)? = *binder;
    }
    transcript.add(parts.field);
    let needs_proof = server.needs_proof(&known_keys);
    let state = AwaitChallenge {
        config: Arc::clone(config),
        transcript,
        offers,
        known_keys,
        context,
        sealed,
        needs_proof,
        wants: server.wants(),
        is_bound: !binding.is_none(),
        hello: frame.clone(),
        has_solved: false,
        deadline: now.after(config.handshake_timeout),
    };
    Ok((frame, state))
}

/// The client's half of each key exchange of its suites, and all shares in a row.
fn offers(config: &ClientConfig, rng: &mut dyn CryptoRng) -> Result<(Offers, Vec<u8>), Error> {
    let is_offered = |exchange: &KeyExchange| config.suites.iter().any(|suite| suite.key_exchange == *exchange);
    let exchanges = KeyExchange::ALL.into_iter().filter(|exchange| exchange.client_share() > 0).filter(is_offered);
    let mut shares = Vec::with_capacity(exchanges.clone().map(KeyExchange::client_share).sum());
    let mut offers = Offers::default();
    for (slot, exchange) in offers.iter_mut().zip(exchanges) {
        *slot = Some(Offer::start(&config.provider, exchange, rng, &mut shares)?);
    }
    Ok((offers, shares))
}

/// What the server is asked for beside its key, whether it may ask for further factors, and now and then what nobody may understand.
fn extensions(nonce: &[u8; limits::NONCE], wants: Wants, factors: bool) -> Option<Extensions<'static>> {
    let mut extensions = handshake::reserved_extensions(nonce);
    let all = [
        (trust::CERTIFICATES, wants.certificates),
        (trust::MANIFEST, wants.manifest),
        (terms::factor::EXTENSION, factors),
    ];
    for (number, _) in all.into_iter().filter(|(_, is_wanted)| *is_wanted) {
        extensions.push(Extension { number, data: Bytes(&[]) })?;
    }
    Some(extensions)
}

/// The keys of the server's that are known whole, as many as a ClientHello can name: that of the ticket first.
fn known_keys(server: &Server, of_ticket: Option<KeyId>) -> Vec<PublicKey> {
    let mut known = server.known_keys();
    known.sort_by_key(|key| Some(key.id()) != of_ticket);
    known.truncate(limits::MAX_KNOWN_KEYS);
    known
}

/// A ticket that stands in the ClientHello, and what is computed from its secret.
struct ShownTicket {
    ticket: Ticket,
    stage_0: Box<Key>,
}

/// A secret that stands in the ClientHello.
struct Sealed {
    to: KeyId,
    secret: Box<Zeroizing<[u8; limits::SECRET]>>,
}

/// The ClientHello is out, with a ticket; a ServerResumption is awaited, or a ServerHello.
pub struct AwaitAnswer {
    state: AwaitChallenge,
    ticket: Option<ShownTicket>,
}

/// What the server answers a ticket with.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub enum Answer {
    /// The ticket was taken: the login is over, without a credential.
    Resumed(Resumed),
    /// It was not: the full login.
    Challenge(Challenge),
}

/// A login by ticket.
#[non_exhaustive]
#[must_use = "the server lets nobody in before it has the frame"]
pub struct Resumed {
    /// The Confirm frame to send, at once: the server waits for it.
    pub frame: Vec<u8>,
    /// The session, ready once the frame is sent.
    pub session: Session,
}

impl AwaitAnswer {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::ServerHello, FrameType::ServerResumption, FrameType::Busy];

    /// When the whole handshake must be over.
    pub fn deadline(&self) -> Moment {
        self.state.deadline
    }

    /// As [`AwaitChallenge::puzzle`].
    pub fn puzzle(&self, frame: &[u8]) -> Option<Puzzle> {
        self.state.puzzle(frame)
    }

    /// As [`AwaitChallenge::solved`].
    ///
    /// # Errors
    /// As [`AwaitChallenge::solved`].
    pub fn solved(self, solution: &PuzzleSolution) -> Result<(Vec<u8>, Self), Error> {
        let (frame, state) = self.state.solved(solution)?;
        Ok((frame, Self { state, ..self }))
    }

    /// Reads the server's answer, one whole frame. `clock` is the time of day, for the next ticket.
    ///
    /// # Errors
    /// [`Error`]; close the connection then. Nothing secret has been sent. Do not show the ticket again.
    pub fn read(self, frame: &[u8], now: Moment, clock: UnixTime) -> Result<Answer, Error> {
        frame::check_type(frame, Self::EXPECTS)?;
        if frame.first() == Some(&FrameType::ServerResumption.byte()) {
            return self.read_resumption(frame, now, clock).map(Answer::Resumed);
        }
        self.state.read(frame, now).map(Answer::Challenge)
    }

    fn read_resumption(self, frame: &[u8], now: Moment, clock: UnixTime) -> Result<Resumed, Error> {
        let Self { mut state, ticket } = self;
        if now > state.deadline {
            return Err(Error::DeadlinePassed);
        }
        let answer: ServerResumption<'_> = handshake::read(FrameType::ServerResumption, frame)?;
        let suite = state.check_choice(answer.version, answer.suite)?;
        handshake::check_extensions(&answer.extensions, limits::MAX_SERVER_EXTENSIONS)?;
        let ShownTicket { ticket, stage_0 } =
            ticket.filter(|shown| shown.ticket.suite == suite || lacks(Check::A3)).ok_or(Violation::ResumedOther)?;
        let exchange = state.finish_exchange(suite.key_exchange, &answer.key_share)?;
        let [tail] = answer.tails();
        state.transcript.add(tail.cut(frame).head);
        let rsa = state.sealed.as_ref().map(|sealed| &**sealed.secret);
        let sources = Sources { ticket: Some(&stage_0), rsa };
        let secrets = Secrets::new(&state.config.provider, suite, state.transcript, sources, &exchange);
        let mut sealed = Zeroizing::new(*answer.sealed_verdict);
        let (grant, new) = match secrets.open_verdict(&mut sealed)? {
            Opened::Granted(grant, new) => (grant, new),
            // A server that does not want the ticket sends a challenge.
            Opened::Asked(_) => return Err(Violation::UnknownDecision(NoGrant::Factor.number()).into()),
            Opened::Not(decision) => return Err(Violation::UnknownDecision(decision.number()).into()),
        };
        let ticket = new.map(|new| keep(new, suite, ticket.key_id, ticket.of, clock));
        let outcome = Outcome { grant, ticket, resumed: true, server_key: None, proved: rsa.is_some() };
        let (session, key) = secrets.resumed(answer.sealed_verdict, Side::Client, outcome)?;
        let confirm = Confirm { tag: &[0; limits::TAG] };
        let mut frame = handshake::write(FrameType::Confirm, &confirm)?;
        let [tail] = confirm.tails();
        once::seal(&*key, tail.cut_mut(&mut frame).content_mut())?;
        Ok(Resumed { frame, session })
    }
}

/// What the client keeps of a ticket in a verdict.
fn keep(new: NewTicket<'_>, suite: Suite, key_id: KeyId, of: Owner, clock: UnixTime) -> Ticket {
    let NewTicket { bytes, lifetime, secret } = new;
    Ticket { suite, key_id, of, received: clock, lifetime, secret, bytes: bytes.to_vec() }
}

/// The client's half of each key exchange it offers.
type Offers = [Option<Offer>; KeyExchange::ALL.len()];

/// The ClientHello is out; a ServerHello is awaited.
pub struct AwaitChallenge {
    config: Arc<ClientConfig>,
    transcript: Transcript,
    offers: Offers,
    known_keys: Vec<PublicKey>,
    context: ContextHash,
    sealed: Option<Sealed>,
    needs_proof: bool,
    wants: Wants,
    is_bound: bool,
    /// What a puzzle would be for; hashed where there is one.
    hello: Vec<u8>,
    /// Whether a puzzle was solved: there is no second.
    has_solved: bool,
    deadline: Moment,
}

impl AwaitChallenge {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::ServerHello, FrameType::Busy];

    /// The puzzle in the server's answer, one whole frame, if it is a Busy with one that this client goes along with: the first on this
    /// connection, and no harder than [`ClientConfig::with_puzzles`] says. [`Puzzle::solve`] it, on whatever thread suits, and go on with
    /// [`AwaitChallenge::solved`]. For whoever does not, [`AwaitChallenge::read`] says [`Error::Busy`].
    pub fn puzzle(&self, frame: &[u8]) -> Option<Puzzle> {
        let most = self.config.puzzles.filter(|_| !self.has_solved || lacks(Check::B1))?;
        let busy: Busy<'_> = handshake::read(FrameType::Busy, frame).ok()?;
        handshake::check_extensions(&busy.extensions, limits::MAX_CLIENT_EXTENSIONS).ok()?;
        Puzzle::of(&busy.extensions, &self.hello).filter(|puzzle| puzzle.difficulty() <= most)
    }

    /// Goes on with the solution: gives the Solution frame to send, and the state that awaits the answer again.
    ///
    /// # Errors
    /// [`Misuse::Mismatch`] for the solution of another connection's puzzle.
    pub fn solved(self, solution: &PuzzleSolution) -> Result<(Vec<u8>, Self), Error> {
        if !solution.is_for(&self.hello) {
            return Err(Misuse::Mismatch.into());
        }
        let frame = handshake::write(FrameType::Solution, &Solution { counters: &solution.to_bytes() })?;
        Ok((frame, Self { has_solved: true, ..self }))
    }

    /// When the whole handshake must be over.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Reads the ServerHello, one whole frame, and checks its proof if it has one.
    ///
    /// # Errors
    /// [`Error`]; close the connection then. Nothing secret has been sent. [`Error::Busy`] where the server says that.
    pub fn read(mut self, frame: &[u8], now: Moment) -> Result<Challenge, Error> {
        if now > self.deadline {
            return Err(Error::DeadlinePassed);
        }
        frame::check_type(frame, Self::EXPECTS)?;
        if frame.first() == Some(&FrameType::Busy.byte()) {
            let busy: Busy<'_> = handshake::read(FrameType::Busy, frame)?;
            handshake::check_extensions(&busy.extensions, limits::MAX_CLIENT_EXTENSIONS)?;
            return Err(Error::Busy { retry_after: busy.retry_after });
        }
        let hello: ServerHello<'_> = handshake::read(FrameType::ServerHello, frame)?;
        let suite = self.check_choice(hello.version, hello.suite)?;
        handshake::check_list("the credential kinds", &hello.credential_kinds)?;
        handshake::check_extensions(&hello.extensions, limits::MAX_SERVER_EXTENSIONS)?;
        if let Some(differs) = self.context.differs(hello.context).filter(|_| !lacks(Check::C11)) {
            return Err(Error::DifferentContext(differs));
        }
        let key = self.server_key(&hello)?;
        let exchange = self.finish_exchange(suite.key_exchange, &hello.key_share)?;
        let [tail] = hello.tails();
        let parts = tail.cut(frame);
        self.transcript.add(parts.head);
        let login = if hello.proof.is_empty() {
            self.transcript.add(parts.field);
            Keys::Sealed { transcript: self.transcript, exchange }
        } else {
            let sealed = self.sealed.filter(|sealed| sealed.to == key.id()).ok_or(Error::ProofNotAuthentic)?;
            let sources = Sources::rsa(&sealed.secret);
            let mut secrets = Secrets::new(&self.config.provider, suite, self.transcript, sources, &exchange);
            if !bool::from(handshake::is_shown(&secrets.proof(), &hello.proof)) && !lacks(Check::C12) {
                return Err(Error::ProofNotAuthentic);
            }
            secrets.add(parts.field);
            Keys::Proved(secrets)
        };
        let takes_stretched = hello.credential_kinds.contains(&CredentialKind::Stretched.number());
        let stretching = if takes_stretched { Some(Stretching::of(&hello.extensions)?) } else { None };
        let evidence = Evidence::read(&hello.extensions, self.wants);
        let Self { config, needs_proof, is_bound, deadline, .. } = self;
        let kinds = hello.credential_kinds;
        Ok(Challenge { config, login, suite, key, evidence, kinds, stretching, needs_proof, is_bound, deadline })
    }

    fn check_choice(&self, version: u16, suite: u16) -> Result<Suite, Violation> {
        if version != VERSION {
            return Err(Violation::VersionNotOffered(version));
        }
        let is_offered = |picked: &Suite| self.config.suites.contains(picked) || lacks(Check::C4);
        let picked = Suite::from_number(suite).filter(is_offered);
        picked.ok_or(Violation::SuiteNotOffered(suite))
    }

    fn server_key(&self, hello: &ServerHello<'_>) -> Result<PublicKey, Error> {
        let id = KeyId::from_bytes(hello.key_id);
        if hello.spki.is_empty() {
            return self.known_keys.iter().find(|key| key.id() == id).cloned().ok_or(Violation::KeyNotSent.into());
        }
        let key = PublicKey::from_spki_der(&hello.spki).map_err(Error::ServerKey)?;
        if key.id() != id && !lacks(Check::C8) {
            return Err(Violation::KeyIdMismatch.into());
        }
        Ok(key)
    }

    fn finish_exchange(&mut self, exchange: KeyExchange, share: &[u8]) -> Result<SharedSecret, Error> {
        if exchange == KeyExchange::Rsa {
            return if share.is_empty() { Ok(SharedSecret::none()) } else { Err(Violation::BadKeyShare.into()) };
        }
        // The suite was offered, so its key exchange was started.
        let is_it = |offer: &&mut Option<Offer>| offer.as_ref().is_some_and(|offer| offer.exchange() == exchange);
        let offer = self.offers.iter_mut().find(is_it).and_then(Option::take).ok_or(Violation::BadKeyShare)?;
        offer.finish(share).map_err(handshake::from_exchange)
    }
}

/// What the keys of the login come from.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
enum Keys {
    /// A secret that is sealed to the server's key with the login.
    Sealed { transcript: Transcript, exchange: SharedSecret },
    /// The secret that the server has proved to have opened.
    Proved(Secrets),
}

/// The server's challenge and key are here. *Is this key the right one?*
///
/// [`Challenge::trust`] asks whom a [`Server`] names; where somebody among them answers later, [`Server::decide`] does, with
/// [`Challenge::question`], and [`Challenge::approve`] goes on.
pub struct Challenge {
    config: Arc<ClientConfig>,
    login: Keys,
    suite: Suite,
    key: PublicKey,
    evidence: Evidence,
    kinds: List<u8, { limits::MAX_CREDENTIAL_KINDS }>,
    /// Of a server that takes stretched passwords.
    stretching: Option<Stretching>,
    needs_proof: bool,
    is_bound: bool,
    deadline: Moment,
}

impl Challenge {
    /// The server's key. It is well-formed; whether it is the right one is what to decide now.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether the server has proved that it holds that key.
    pub fn is_proved(&self) -> bool {
        matches!(self.login, Keys::Proved(_))
    }

    /// The suite the server picked, one of those offered.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The credential kinds that the server takes and this library knows.
    pub fn credential_kinds(&self) -> impl Iterator<Item = CredentialKind> {
        self.kinds.iter().filter_map(|&number| CredentialKind::from_number(number))
    }

    /// When the whole handshake must be over.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// What [`Server::decide`] is asked. `clock` is the time of day, and `context` the connection, as the application describes it.
    pub fn question<'a>(&'a self, server: &'a Server, clock: UnixTime, context: &'a Context) -> Question<'a> {
        Question {
            key: &self.key,
            server_name: server.name(),
            suite: self.suite,
            is_proved: self.is_proved(),
            evidence: &self.evidence,
            now: clock,
            is_bound: self.is_bound,
            context,
            so_far: None,
        }
    }

    /// Goes on if the key is one of `server`'s, the suite not under its floor, and the server proved itself or could not. There is
    /// no other way on but [`Challenge::approve`]. `clock` is the time of day.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::UnderFloor`] and [`Error::NoProof`]; nothing secret has been sent.
    pub fn trust(self, server: &Server, clock: UnixTime) -> Result<Trusted, Error> {
        let approved = server.decide_now(&self.question(server, clock, &Context::uncounted()))?;
        self.approve(approved)
    }

    /// Goes on with a key that [`Server::decide`] has approved, if the server proved itself or could not.
    ///
    /// # Errors
    /// [`Error::NoProof`]; [`Misuse::Mismatch`] for the approval of another key. Nothing secret has been sent.
    pub fn approve(self, approved: Approved) -> Result<Trusted, Error> {
        let key = self.key.id();
        if approved.key != key {
            return Err(Misuse::Mismatch.into());
        }
        if (self.needs_proof || approved.needs_proof) && !self.is_proved() {
            return Err(Error::NoProof(key));
        }
        Ok(Trusted { challenge: self, approved })
    }
}

crate::opaque_debug!(Resumed, AwaitAnswer, AwaitChallenge, Challenge);
