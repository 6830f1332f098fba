//! The client's machine: bytes in, bytes and decisions out (PROTOCOL.md, "Client states").
//!
//! | state | what it waits for | next |
//! |---|---|---|
//! | [`AwaitAnswer`], with a ticket | a ServerResumption, or a ServerHello | [`Resumed`], or [`Challenge`] |
//! | [`AwaitChallenge`] | a ServerHello | [`Challenge`] |
//! | [`Challenge`] | *is this the server's key?* | [`Trusted`] |
//! | [`Trusted`] | *the credential* | [`AwaitVerdict`], or [`AwaitSignature`] |
//! | [`AwaitSignature`] | *a signature by the client's key* | [`AwaitVerdict`] |
//! | [`AwaitVerdict`] | a ServerVerdict | a [`Session`] |
//!
//! ```text
//! start ──ClientHello──▶ AwaitChallenge ──▶ Challenge ──▶ Trusted ──ClientLogin──▶ AwaitVerdict ──▶ Session
//! ```
//!
//! Where a key of the server's is known whole, the ClientHello seals a secret to it, and the server proves in its answer that it
//! has opened it: the credential leaves after that.
//!
//! Each state is consumed by the step out of it; on an error it is gone, and a new try is a new connection. Dropping any
//! state is always safe. The machine holds no clock, no socket and no randomness of its own.

mod config;

pub use config::ClientConfig;

use crate::crypto::once;
use crate::crypto::schedule::{self, Key, Sources};
use crate::crypto::{
    ClientKey, CryptoError, CryptoRng, KeyExchange, KeyId, Offer, Provider, PublicKey, SharedSecret, Suite, Transcript,
    VerifyingKey,
};
use crate::handshake::{self, NewTicket, Opened, Secrets, VERSION};
use crate::limits;
use crate::session::{Outcome, Session, Side};
use crate::terms::binding::{ChannelBinding, ContextHash};
use crate::terms::context::Context;
use crate::terms::credential::{Credential, CredentialKind};
use crate::terms::error::{Error, Misuse, Violation};
use crate::terms::grant::NoGrant;
use crate::terms::ticket::{Owner, Ticket, TrustedTicket};
use crate::terms::trust::{self, Approved, Evidence, Question, Server, TrustLevel, Wants};
use crate::time::{Moment, UnixTime};
use crate::wire::codec::{
    self, Busy, Bytes, ClientHello, ClientLogin, Confirm, CredentialMessage, Extension, Extensions, KeyProof, KeyShare,
    List, Message as _, ServerHello, ServerResumption, ServerVerdict, Tail, Text,
};
use crate::wire::frame::{self, FrameType};
use std::sync::Arc;
use subtle::ConstantTimeEq;
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
    let shown = |ticket: Ticket| Shown { stage_0: schedule::stage_0(&ticket.secret), ticket };
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
    ticket: Option<&Shown>,
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
    let is_offered = |exchange: &KeyExchange| config.suites.iter().any(|suite| suite.key_exchange == *exchange);
    let exchanges = KeyExchange::ALL.into_iter().filter(|exchange| exchange.client_share() > 0).filter(is_offered);
    let mut shares = Vec::with_capacity(exchanges.clone().map(KeyExchange::client_share).sum());
    let mut offers = Offers::default();
    for (slot, exchange) in offers.iter_mut().zip(exchanges) {
        *slot = Some(Offer::start(&config.provider, exchange, rng, &mut shares)?);
    }
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
        extensions: extensions(&nonce, server.wants()).ok_or(CryptoError::Failed)?,
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
    let state = AwaitChallenge {
        config: Arc::clone(config),
        transcript,
        offers,
        known_keys,
        context,
        sealed,
        needs_proof: server.needs_proof(),
        wants: server.wants(),
        is_bound: !binding.is_none(),
        deadline: now.after(config.handshake_timeout),
    };
    Ok((frame, state))
}

/// What the server is asked for beside its key, and now and then what nobody may understand.
fn extensions(nonce: &[u8; limits::NONCE], wants: Wants) -> Option<Extensions<'static>> {
    let mut extensions = handshake::reserved_extensions(nonce);
    for (number, _) in [(trust::CERTIFICATES, wants.certificates), (trust::MANIFEST, wants.manifest)]
        .into_iter()
        .filter(|(_, is_wanted)| *is_wanted)
    {
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
struct Shown {
    ticket: Ticket,
    stage_0: Key,
}

/// A secret that stands in the ClientHello.
struct Sealed {
    to: KeyId,
    secret: Zeroizing<[u8; limits::SECRET]>,
}

/// The ClientHello is out, with a ticket; a ServerResumption is awaited, or a ServerHello.
pub struct AwaitAnswer {
    state: AwaitChallenge,
    ticket: Option<Shown>,
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
        let Shown { ticket, stage_0 } =
            ticket.filter(|shown| shown.ticket.suite == suite).ok_or(Violation::ResumedOther)?;
        let exchange = state.finish_exchange(suite.key_exchange, &answer.key_share)?;
        let [tail] = answer.tails();
        state.transcript.add(tail.cut(frame).head);
        let rsa = state.sealed.as_ref().map(|sealed| &*sealed.secret);
        let sources = Sources { ticket: Some(&stage_0), rsa };
        let secrets = Secrets::new(&state.config.provider, suite, state.transcript, sources, &exchange);
        let mut sealed = Zeroizing::new(*answer.sealed_verdict);
        let (grant, new) = match secrets.open_verdict(&mut sealed)? {
            Opened::Granted(grant, new) => (grant, new),
            // A server that does not want the ticket sends a challenge.
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
    deadline: Moment,
}

impl AwaitChallenge {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::ServerHello, FrameType::Busy];

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
        if let Some(differs) = self.context.differs(hello.context) {
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
            if !bool::from(secrets.proof().ct_eq(&*hello.proof)) {
                return Err(Error::ProofNotAuthentic);
            }
            secrets.add(parts.field);
            Keys::Proved(secrets)
        };
        let evidence = Evidence::read(&hello.extensions, self.wants);
        let Self { config, needs_proof, is_bound, deadline, .. } = self;
        let kinds = hello.credential_kinds;
        Ok(Challenge { config, login, suite, key, evidence, kinds, needs_proof, is_bound, deadline })
    }

    fn check_choice(&self, version: u16, suite: u16) -> Result<Suite, Violation> {
        if version != VERSION {
            return Err(Violation::VersionNotOffered(version));
        }
        let picked = Suite::from_number(suite).filter(|picked| self.config.suites.contains(picked));
        picked.ok_or(Violation::SuiteNotOffered(suite))
    }

    fn server_key(&self, hello: &ServerHello<'_>) -> Result<PublicKey, Error> {
        let id = KeyId::from_bytes(hello.key_id);
        if hello.spki.is_empty() {
            return self.known_keys.iter().find(|key| key.id() == id).cloned().ok_or(Violation::KeyNotSent.into());
        }
        let key = PublicKey::from_spki_der(&hello.spki).map_err(Error::ServerKey)?;
        if key.id() != id {
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

/// The server's key is trusted. *Which credential?*
pub struct Trusted {
    challenge: Challenge,
    approved: Approved,
}

impl Trusted {
    /// The server's key.
    pub fn key(&self) -> &PublicKey {
        &self.challenge.key
    }

    /// How well it is known.
    pub fn level(&self) -> TrustLevel {
        self.approved.level
    }

    /// When the whole handshake must be over.
    pub fn deadline(&self) -> Moment {
        self.challenge.deadline
    }

    /// Seals the credential to the server's key and to this very connection: gives the ClientLogin frame to send.
    ///
    /// A [`Credential::Key`] signs in this thread; where its private half answers later, or somewhere else, [`Trusted::sign`] is the way.
    ///
    /// # Errors
    /// [`Error::KindNotTaken`]; [`Error::TrustTooLow`] where the key is not known well enough for it; [`Error::Misuse`] for
    /// a credential out of bounds; [`Error::Sign`]; [`Error::Crypto`]. Nothing secret has been sent.
    pub fn login(self, credential: Credential<'_>, rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        if let Credential::Key { user, key } = credential {
            let signing = self.sign(user, key.public_key(), rng)?;
            let signature = key.sign(signing.message(), rng).map_err(Error::Sign)?;
            return signing.answer(&signature);
        }
        let message = credential.to_message(&[])?;
        self.seal(credential.kind(), &message, rng)?.finish(&message)
    }

    /// Begins a login by a key of the client's: gives what is to be signed, here or anywhere.
    ///
    /// # Errors
    /// As [`Trusted::login`].
    pub fn sign(self, user: &str, key: &VerifyingKey, rng: &mut dyn CryptoRng) -> Result<AwaitSignature, Error> {
        let client_key = ClientKey::public_only(key.clone());
        let proof = proof(key, &vec![0; key.signature_len()])?;
        let message = Credential::Key { user, key: &client_key }.to_message(&proof)?;
        let started = self.seal(CredentialKind::Key, &message, rng)?;
        let message = handshake::to_sign(&started.secrets.transcript_hash(), user);
        Ok(AwaitSignature { started, key: client_key, user: user.to_owned(), message })
    }

    /// Everything of the login but the credential: the frame, with room for that.
    fn seal(
        self,
        kind: CredentialKind,
        message: &CredentialMessage<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Started, Error> {
        let Self { challenge: Challenge { config, login: keys, suite, key, kinds, deadline, .. }, approved } = self;
        let Approved { level, levels, server_name, .. } = approved;
        let provider = config.provider;
        if level < levels.of(kind) {
            return Err(Error::TrustTooLow { kind, level });
        }
        if !kinds.contains(&kind.number()) {
            return Err(Error::KindNotTaken(kind));
        }
        let sealed = codec::padded_len(message, limits::CREDENTIAL_BLOCK).saturating_add(limits::TAG);
        let (proved, room) = match &keys {
            Keys::Proved(_) => (true, 0),
            Keys::Sealed { .. } => (false, key.size()),
        };
        let login = ClientLogin { rsa_ciphertext: codec::room(room)?, sealed_credential: codec::room(sealed)? };
        let [ciphertext, tail] = login.tails();
        let mut frame = Zeroizing::new(handshake::write(FrameType::ClientLogin, &login)?);
        let secrets = match keys {
            Keys::Proved(mut secrets) => {
                secrets.add(tail.cut(&frame).head);
                secrets
            }
            Keys::Sealed { mut transcript, exchange } => {
                let room = ciphertext.cut_mut(&mut frame);
                let secret = handshake::seal_secret(&provider, &key, &transcript, rng, { room }.content_mut())?;
                transcript.add(tail.cut(&frame).head);
                Secrets::new(&provider, suite, transcript, Sources::rsa(&secret), &exchange)
            }
        };
        Ok(Started { provider, frame, tail, secrets, key, proved, server_name, deadline })
    }
}

/// A KeyProof.
fn proof(key: &VerifyingKey, signature: &[u8]) -> Result<Vec<u8>, Error> {
    let proof = KeyProof { key: Bytes(key.spki_der()), signature: Bytes(signature) };
    let mut out = Vec::with_capacity(proof.encoded_len());
    codec::encode(&proof, &mut out)?;
    Ok(out)
}

/// A login whose credential has still to be sealed.
struct Started {
    provider: Provider,
    frame: Zeroizing<Vec<u8>>,
    tail: Tail,
    /// Up to the sealed credential.
    secrets: Secrets,
    key: PublicKey,
    proved: bool,
    server_name: String,
    deadline: Moment,
}

impl Started {
    fn finish(self, message: &CredentialMessage<'_>) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        let Self { mut frame, tail, mut secrets, key, proved, server_name, deadline, .. } = self;
        let mut parts = tail.cut_mut(&mut frame);
        // Written where it is sent from, and sealed there, so that no copy of the credential is left behind.
        let credential_key = secrets.credential_key(&secrets.transcript_hash())?;
        handshake::seal(&*credential_key, message, parts.content_mut())?;
        secrets.add(parts.field);
        let user = message.user.0.to_owned();
        let state = AwaitVerdict { secrets, key, proved, server_name, user, deadline };
        Ok((core::mem::take(&mut *frame), state))
    }
}

/// The login is made but for a signature by the client's key. *Who signs it?*
pub struct AwaitSignature {
    started: Started,
    key: ClientKey,
    user: String,
    message: Vec<u8>,
}

impl AwaitSignature {
    /// What is to be signed: 130 bytes and the user's name (PROTOCOL.md, "KeyProof"). It is no secret, and a signature of it is of no
    /// use on any other connection.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The key to sign with.
    pub fn key(&self) -> &VerifyingKey {
        self.key.public_key()
    }

    /// When the whole handshake must be over.
    pub fn deadline(&self) -> Moment {
        self.started.deadline
    }

    /// Goes on with the signature: gives the ClientLogin frame to send.
    ///
    /// # Errors
    /// [`Error::Sign`] where it is not the key's over [`AwaitSignature::message`]; [`Error::Crypto`]. Nothing has been sent.
    pub fn answer(self, signature: &[u8]) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        let Self { started, key, user, message } = self;
        // Whoever signed may have been mistaken, or lie; the server would refuse it without saying why.
        key.check(started.provider, &message, signature).map_err(Error::Sign)?;
        let proof = proof(key.public_key(), signature)?;
        started.finish(&Credential::Key { user: &user, key: &key }.to_message(&proof)?)
    }
}

/// The login is out; a ServerVerdict is awaited.
pub struct AwaitVerdict {
    secrets: Secrets,
    key: PublicKey,
    proved: bool,
    server_name: String,
    user: String,
    deadline: Moment,
}

impl AwaitVerdict {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::ServerVerdict];

    /// When the whole handshake must be over.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Reads the ServerVerdict, one whole frame. A session is the proof that the server holds the private key, saw
    /// every byte as this side did, and accepted. `clock` is the time of day, for the ticket.
    ///
    /// # Errors
    /// [`Error::Refused`] for an authentic refusal, [`Error::NotNow`] where the server can't decide,
    /// [`Error::VerdictNotAuthentic`] for bytes that are no verdict of this handshake, and the rest of [`Error`].
    pub fn read(self, frame: &[u8], now: Moment, clock: UnixTime) -> Result<Session, Error> {
        if now > self.deadline {
            return Err(Error::DeadlinePassed);
        }
        let verdict: ServerVerdict<'_> = handshake::read(FrameType::ServerVerdict, frame)?;
        let mut sealed = Zeroizing::new(*verdict.sealed_verdict);
        let (grant, new) = match self.secrets.open_verdict(&mut sealed)? {
            Opened::Granted(grant, new) => (grant, new),
            Opened::Not(NoGrant::Reject) => return Err(Error::Refused),
            Opened::Not(NoGrant::NotNow) => return Err(Error::NotNow),
        };
        let Self { secrets, key, proved, server_name, user, .. } = self;
        let of = Owner { server_name, user, authenticated: clock };
        let ticket = new.map(|new| keep(new, secrets.suite(), key.id(), of, clock));
        let outcome = Outcome { grant, ticket, resumed: false, server_key: Some(key), proved };
        Ok(secrets.session(frame, Side::Client, outcome))
    }
}

crate::opaque_debug!(Resumed, AwaitAnswer, AwaitChallenge, Challenge, Trusted, AwaitSignature, AwaitVerdict);
