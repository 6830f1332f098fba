//! The client's machine: bytes in, bytes and decisions out (PROTOCOL.md, "Client states").
//!
//! | state | what it waits for | next |
//! |---|---|---|
//! | [`AwaitAnswer`], with a ticket | a ServerResumption, or a ServerHello | a [`Session`], or [`Challenge`] |
//! | [`AwaitChallenge`] | a ServerHello | [`Challenge`] |
//! | [`Challenge`] | *trust this key?* | [`Trusted`] |
//! | [`Trusted`] | *the credential* | [`AwaitVerdict`] |
//! | [`AwaitVerdict`] | a ServerVerdict | a [`Session`] |
//!
//! ```text
//! start ──ClientHello──▶ AwaitChallenge ──▶ Challenge ──▶ Trusted ──ClientLogin──▶ AwaitVerdict ──▶ Session
//! ```
//!
//! Each state is consumed by the step out of it; on an error it is gone, and a new try is a new connection. Dropping any
//! state is always safe. The machine holds no clock, no socket and no randomness of its own.

mod config;

pub use config::ClientConfig;

use crate::crypto::schedule::{self, Key, Source};
use crate::crypto::{CryptoError, CryptoRng, KeyExchange, KeyId, Offer, PublicKey, SharedSecret, Suite, Transcript};
use crate::handshake::{self, Secrets, VERSION};
use crate::limits;
use crate::session::{Outcome, Session, Side};
use crate::terms::binding::ChannelBinding;
use crate::terms::credential::{Credential, CredentialKind};
use crate::terms::error::{Error, Misuse, Violation};
use crate::terms::server::Server;
use crate::terms::ticket::{Ticket, TrustedTicket};
use crate::time::Moment;
use crate::wire::codec::{
    self, Bytes, ClientHello, ClientLogin, KeyShare, List, ServerHello, ServerResumption, ServerVerdict, Text,
};
use crate::wire::frame::{self, FrameType};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Begins a login: gives the ClientHello frame to send, and the state that awaits the answer.
///
/// The keys of `server` that are given whole ([`Server::known_keys`]) need not be sent by it; the first 8 are named to it.
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
/// as usual. The ticket is not shown where the configuration does not offer its suite.
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
    let TrustedTicket(ticket) = ticket;
    let shown = |ticket: Ticket| Shown { stage_0: schedule::stage_0(&ticket.secret), ticket };
    let ticket = Some(ticket).filter(|ticket| config.suites.contains(&ticket.suite())).map(shown);
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
    let known_keys = server.known_keys();
    let known_keys = known_keys.get(..known_keys.len().min(limits::MAX_KNOWN_KEYS)).unwrap_or_default();
    let mut ids = List::new();
    for key in known_keys {
        if !ids.contains(key.id().as_bytes()) {
            ids.push(*key.id().as_bytes()).ok_or(CryptoError::Failed)?;
        }
    }
    let (shown, room) = match ticket {
        Some(shown) => (shown.ticket.bytes.as_slice(), limits::BINDER),
        None => (&[][..], 0),
    };
    let hello = ClientHello {
        versions,
        suites,
        nonce,
        key_shares,
        server_name: Text(server.name()),
        known_keys: ids,
        ticket: Bytes(shown),
        binder: codec::room(room)?,
    };
    let mut frame = handshake::write(FrameType::ClientHello, &hello)?;
    let mut parts = hello.tail().cut_mut(&mut frame);
    let mut transcript = binding.transcript(&config.prologue);
    transcript.add(parts.head);
    if let Some(shown) = ticket {
        let binder = handshake::binder(&shown.stage_0, &transcript);
        *parts.content_mut().first_chunk_mut().ok_or(CryptoError::Failed)? = *binder;
    }
    transcript.add(parts.field);
    let state = AwaitChallenge {
        config: Arc::clone(config),
        transcript,
        offers,
        known_keys: known_keys.to_vec(),
        deadline: now.after(config.handshake_timeout),
    };
    Ok((frame, state))
}

/// A ticket that stands in the ClientHello, and what is computed from its secret.
struct Shown {
    ticket: Ticket,
    stage_0: Key,
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
    Resumed(Session),
    /// It was not: the full login.
    Challenge(Challenge),
}

impl AwaitAnswer {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::ServerHello, FrameType::ServerResumption];

    /// When the whole handshake must be over.
    pub fn deadline(&self) -> Moment {
        self.state.deadline
    }

    /// Reads the server's answer, one whole frame.
    ///
    /// # Errors
    /// [`Error`]; close the connection then. Nothing secret has been sent.
    pub fn read(self, frame: &[u8], now: Moment) -> Result<Answer, Error> {
        frame::check_type(frame, Self::EXPECTS)?;
        if frame.first() == Some(&FrameType::ServerHello.byte()) {
            return self.state.read(frame, now).map(Answer::Challenge);
        }
        self.read_resumption(frame, now).map(Answer::Resumed)
    }

    fn read_resumption(self, frame: &[u8], now: Moment) -> Result<Session, Error> {
        let Self { mut state, ticket } = self;
        if now > state.deadline {
            return Err(Error::DeadlinePassed);
        }
        let answer: ServerResumption<'_> = handshake::read(FrameType::ServerResumption, frame)?;
        let suite = state.check_choice(answer.version, answer.suite)?;
        let Shown { ticket, stage_0 } =
            ticket.filter(|shown| shown.ticket.suite == suite).ok_or(Violation::ResumedOther)?;
        let exchange = state.finish_exchange(suite.key_exchange, &answer.key_share)?;
        state.transcript.add(answer.tail().cut(frame).head);
        let source = Source::Ticket(&stage_0);
        let secrets = Secrets::new(&state.config.provider, suite, state.transcript, &source, &exchange);
        match secrets.open_verdict(answer.sealed_verdict, ticket.key_id)? {
            Some((grant, ticket)) => {
                Ok(secrets.session(answer.sealed_verdict, Side::Client, Outcome { grant, ticket, resumed: true }))
            }
            // A server that does not want the ticket sends a challenge.
            None => Err(Violation::UnknownDecision(0).into()),
        }
    }
}

/// The client's half of each key exchange it offers.
type Offers = [Option<Offer>; KeyExchange::ALL.len()];

/// The ClientHello is out; a ServerHello is awaited.
pub struct AwaitChallenge {
    config: Arc<ClientConfig>,
    transcript: Transcript,
    offers: Offers,
    known_keys: Vec<PublicKey>,
    deadline: Moment,
}

impl AwaitChallenge {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::ServerHello];

    /// When the whole handshake must be over.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Reads the ServerHello, one whole frame.
    ///
    /// # Errors
    /// [`Error`]; close the connection then. Nothing secret has been sent.
    pub fn read(mut self, frame: &[u8], now: Moment) -> Result<Challenge, Error> {
        if now > self.deadline {
            return Err(Error::DeadlinePassed);
        }
        let hello: ServerHello<'_> = handshake::read(FrameType::ServerHello, frame)?;
        let suite = self.check_choice(hello.version, hello.suite)?;
        handshake::check_list("the credential kinds", &hello.credential_kinds)?;
        let key = self.server_key(&hello)?;
        let exchange = self.finish_exchange(suite.key_exchange, &hello.key_share)?;
        self.transcript.add(frame);
        Ok(Challenge {
            config: self.config,
            transcript: self.transcript,
            exchange,
            suite,
            key,
            kinds: hello.credential_kinds,
            deadline: self.deadline,
        })
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

/// The server's challenge and key are here. *Is this key the right one?*
pub struct Challenge {
    config: Arc<ClientConfig>,
    transcript: Transcript,
    exchange: SharedSecret,
    suite: Suite,
    key: PublicKey,
    kinds: List<u8, { limits::MAX_CREDENTIAL_KINDS }>,
    deadline: Moment,
}

impl Challenge {
    /// The server's key. It is well-formed; whether it is the right one is what to decide now.
    pub fn key(&self) -> &PublicKey {
        &self.key
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

    /// Goes on if the key is one of `server`'s, and the suite not under its floor. There is no other way on.
    ///
    /// # Errors
    /// [`Error::Untrusted`] and [`Error::UnderFloor`]; nothing secret has been sent.
    pub fn trust(self, server: &Server) -> Result<Trusted, Error> {
        server.check(self.key.id(), self.suite)?;
        Ok(Trusted(self))
    }
}

/// The server's key is trusted. *Which credential?*
pub struct Trusted(Challenge);

impl Trusted {
    /// When the whole handshake must be over.
    pub fn deadline(&self) -> Moment {
        self.0.deadline
    }

    /// Seals the credential to the server's key and to this very connection: gives the ClientLogin frame to send.
    ///
    /// # Errors
    /// [`Error::KindNotTaken`]; [`Error::Misuse`] for a credential out of bounds; [`Error::Crypto`]. Nothing secret
    /// has been sent.
    pub fn login(self, credential: Credential<'_>, rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        let Challenge { config, mut transcript, exchange, suite, key, kinds, deadline } = self.0;
        let provider = config.provider;
        if !kinds.contains(&credential.kind().number()) {
            return Err(Error::KindNotTaken(credential.kind()));
        }
        let credential = credential.to_message()?;

        // OAEP(secret || transcript hash): the secret opens nothing but this connection.
        let mut message = Zeroizing::new([0; limits::SEALED_SECRET]);
        let (secret, bound_to) = message.split_at_mut(limits::SECRET);
        rng.fill_bytes(secret);
        bound_to.copy_from_slice(&transcript.hash());
        let mut secret = Zeroizing::new([0; limits::SECRET]);
        secret.copy_from_slice(message.split_at(limits::SECRET).0);

        let mut ciphertext = [0; limits::MAX_MODULUS_BITS / 8];
        let ciphertext = ciphertext.get_mut(..key.size()).ok_or(CryptoError::Failed)?;
        provider.rsa.encrypt(&key, &message, rng, ciphertext)?;
        let sealed = codec::padded_len(&credential, limits::CREDENTIAL_BLOCK).saturating_add(limits::TAG);
        let login = ClientLogin { rsa_ciphertext: Bytes(ciphertext), sealed_credential: codec::room(sealed)? };
        let mut frame = Zeroizing::new(handshake::write(FrameType::ClientLogin, &login)?);
        let mut parts = login.tail().cut_mut(&mut frame);
        transcript.add(parts.head);
        let mut secrets = Secrets::new(&provider, suite, transcript, &Source::Rsa(&secret), &exchange);
        // Written where it is sent from, and sealed there, so that no copy of the credential is left behind.
        handshake::seal(&*secrets.credential_key()?, &credential, parts.content_mut())?;
        secrets.add(parts.field);
        Ok((core::mem::take(&mut *frame), AwaitVerdict { secrets, key_id: key.id(), deadline }))
    }
}

/// The login is out; a ServerVerdict is awaited.
pub struct AwaitVerdict {
    secrets: Secrets,
    key_id: KeyId,
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
    /// every byte as this side did, and accepted.
    ///
    /// # Errors
    /// [`Error::Refused`] for an authentic refusal, [`Error::VerdictNotAuthentic`] for bytes that are no verdict of
    /// this handshake, and the rest of [`Error`].
    pub fn read(self, frame: &[u8], now: Moment) -> Result<Session, Error> {
        if now > self.deadline {
            return Err(Error::DeadlinePassed);
        }
        let verdict: ServerVerdict<'_> = handshake::read(FrameType::ServerVerdict, frame)?;
        match self.secrets.open_verdict(verdict.sealed_verdict, self.key_id)? {
            Some((grant, ticket)) => {
                Ok(self.secrets.session(frame, Side::Client, Outcome { grant, ticket, resumed: false }))
            }
            None => Err(Error::Refused),
        }
    }
}

crate::opaque_debug!(AwaitAnswer, AwaitChallenge, Challenge, Trusted, AwaitVerdict);
