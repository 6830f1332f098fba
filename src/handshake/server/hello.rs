//! From the ClientHello to the answer.

use super::ServerConfig;
use super::login::{AwaitLogin, Keys};
use super::open::{Open, SealedHello};
use super::verdict::{accept, issue};
use crate::crypto::schedule::{self, Sources};
use crate::crypto::{
    self, AeadKey, CryptoError, CryptoRng, KeyExchange, KeyId, ServerKey, SharedSecret, Suite, Transcript,
    TranscriptHash, once,
};
use crate::handshake::{self, Secrets, VERSION};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::session::{Outcome, Session, Side};
use crate::terms::binding::{ChannelBinding, ContextHash};
use crate::terms::error::{Differs, Error, Misuse, Violation};
use crate::terms::factor::offers_factors;
use crate::terms::grant::Grant;
use crate::terms::stretch::EXTENSION as STRETCHING;
use crate::terms::ticket::{FreshTicket, TicketClaim, TicketContents};
use crate::terms::trust::server::is_server_name;
use crate::terms::trust::{CERTIFICATES, MANIFEST, SignedManifest};
use crate::time::{Moment, UnixTime};
use crate::wire::codec::{
    self, Busy, Bytes, ClientHello, Confirm, Extension, Extensions, List, ServerHello, ServerResumption, Tail,
};
use crate::wire::frame::FrameType;
use core::time::Duration;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The Busy frame: the answer to a ClientHello for which there is no room now. Close the connection after it.
///
/// It says after how long, in whole seconds up to 65535, it is worth trying again.
pub fn busy(retry_after: Duration) -> Vec<u8> {
    busy_with(retry_after, Extensions::new())
}

pub(super) fn busy_with(retry_after: Duration, extensions: Extensions<'_>) -> Vec<u8> {
    let retry_after = u16::try_from(retry_after.as_secs()).unwrap_or(u16::MAX);
    // It always fits.
    handshake::write(FrameType::Busy, &Busy { retry_after, extensions }).unwrap_or_default()
}

/// A connection is here; a ClientHello is awaited.
pub struct AwaitHello {
    config: Arc<ServerConfig>,
    transcript: Transcript,
    context: ContextHash,
    deadline: Moment,
}

impl AwaitHello {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::ClientHello];

    /// The start of every handshake.
    pub fn new(config: &Arc<ServerConfig>, binding: &ChannelBinding, now: Moment) -> Self {
        Self {
            config: Arc::clone(config),
            transcript: binding.transcript(&config.prologue),
            context: binding.context(&config.prologue),
            deadline: now.after(config.handshake_timeout),
        }
    }

    /// When the login must have arrived.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Reads the ClientHello, one whole frame.
    ///
    /// # Errors
    /// [`Error`]; close the connection then, and send nothing.
    pub fn read(mut self, frame: Vec<u8>, now: Moment) -> Result<ChooseKey, Error> {
        if now > self.deadline {
            return Err(Error::DeadlinePassed);
        }
        let hello: ClientHello<'_> = handshake::read(FrameType::ClientHello, &frame)?;
        handshake::check_list("the versions", &hello.versions)?;
        handshake::check_list("the suites", &hello.suites)?;
        check_shares(&hello)?;
        if handshake::has_duplicate(hello.known_keys.iter()) {
            return Err(Violation::Duplicate("the known keys").into());
        }
        if !is_server_name(&hello.server_name) {
            return Err(Violation::BadString("the server name").into());
        }
        handshake::check_extensions(&hello.extensions, limits::MAX_CLIENT_EXTENSIONS)?;
        let (ticket, binder) = (hello.ticket.len(), hello.binder.len());
        if ticket > limits::MAX_TICKET || binder != if ticket == 0 { 0 } else { limits::BINDER } {
            return Err(Violation::BadTicket.into());
        }
        let is_sealed = !hello.rsa_ciphertext.is_empty();
        if is_sealed && hello.known_keys.is_empty() {
            return Err(Violation::KeyNotNamed.into());
        }
        if !hello.versions.contains(&VERSION) {
            return Err(Violation::NoCommonVersion.into());
        }
        let suite = self.config.suites.iter().copied().find(|suite| hello.suites.contains(&suite.number()));
        let suite = suite.ok_or(Violation::NoCommonSuite)?;
        let differs = self.context.differs(hello.context);
        // What the secret is bound to, and then the secret; what the binder covers, and then the binder.
        let [ciphertext, binder] = hello.tails();
        let parts = ciphertext.cut(&frame);
        self.transcript.add(parts.head);
        let sealed = is_sealed.then(|| Sealed { bound_to: self.transcript.hash(), at: ciphertext });
        self.transcript.add(parts.field);
        let shown = (ticket > 0).then(|| self.transcript.clone());
        self.transcript.add(binder.cut(&frame).field);
        let Self { config, transcript, context, deadline } = self;
        Ok(ChooseKey { config, transcript, context, differs, shown, sealed, arrival: now, deadline, frame, suite })
    }
}

/// A secret that the client sealed to the first of its known keys.
struct Sealed {
    bound_to: TranscriptHash,
    at: Tail,
}

/// Exactly one share for each key exchange among the suites, known to us or not, but for RSA alone, which has none.
fn check_shares(hello: &ClientHello<'_>) -> Result<(), Violation> {
    let exchange_of = |suite: &u16| suite.to_be_bytes()[0];
    let has_share = |exchange: u8| hello.key_shares.iter().any(|share| share.exchange == exchange);
    let is_offered = |exchange: u8| hello.suites.iter().any(|suite| exchange_of(suite) == exchange);
    let rsa = KeyExchange::Rsa.number();
    let all_sent = hello.suites.iter().map(exchange_of).all(|exchange| exchange == rsa || has_share(exchange));
    let all_wanted = hello.key_shares.iter().all(|share| share.exchange != rsa && is_offered(share.exchange));
    let has_duplicate = handshake::has_duplicate(hello.key_shares.iter().map(|share| share.exchange));
    if all_sent && all_wanted && !has_duplicate { Ok(()) } else { Err(Violation::KeyShares) }
}

/// The client's offer is here. *Which key is it answered under?*
pub struct ChooseKey {
    config: Arc<ServerConfig>,
    transcript: Transcript,
    context: ContextHash,
    differs: Option<Differs>,
    /// What the binder covers, if a ticket is shown.
    shown: Option<Transcript>,
    sealed: Option<Sealed>,
    arrival: Moment,
    deadline: Moment,
    /// The ClientHello, checked.
    frame: Vec<u8>,
    suite: Suite,
}

impl ChooseKey {
    /// When the login must have arrived.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    fn hello(&self) -> Result<ClientHello<'_>, Error> {
        handshake::read(FrameType::ClientHello, &self.frame)
    }

    /// The server name that the client wants: up to 255 bytes of printable ASCII, empty if it named none. Not
    /// authenticated, and readable by anyone on the way. A server that does not go by it closes the connection.
    pub fn server_name(&self) -> &str {
        self.hello().map_or("", |hello| hello.server_name.0)
    }

    /// The ids of the server keys that the client has whole. A hint for choosing among several: the first is the one that it
    /// sealed a secret to, if it did.
    pub fn known_keys(&self) -> impl Iterator<Item = KeyId> {
        let known_keys = self.hello().map(|hello| hello.known_keys).unwrap_or_default();
        (0..known_keys.len()).filter_map(move |index| known_keys.get(index).map(|id| KeyId::from_bytes(*id)))
    }

    /// Whether the client sealed a secret to the first of its known keys: another key can't open it.
    pub fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// The server key that the ticket is from which the client shows, if that is one of this server's. A hint, as whether the ticket is
    /// taken shows later: it is only under this key.
    pub fn ticket_key(&self, now: UnixTime) -> Option<KeyId> {
        let (keys, hello) = (self.config.tickets.as_ref()?, self.hello().ok()?);
        if hello.ticket.is_empty() {
            return None;
        }
        keys.open(&hello.ticket, now).map(|contents| contents.key_id)
    }

    /// The suite that will be used, unless a ticket is taken.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Answers under this key.
    ///
    /// # Errors
    /// [`Violation::CiphertextRange`] where the client sealed a secret to this key that can't be one; close the connection then,
    /// and send nothing.
    pub fn choose(self, key: &ServerKey) -> Result<Hello, Error> {
        let hello = self.hello()?;
        let public = key.public_key();
        let is_theirs = hello.known_keys.first() == Some(public.id().as_bytes());
        let secret = match &self.sealed {
            None => Secret::None,
            Some(_) if is_theirs && !public.admits(&hello.rsa_ciphertext) => {
                return Err(Violation::CiphertextRange.into());
            }
            Some(_) if is_theirs && self.differs.is_none() => Secret::Sealed,
            // A secret that is sealed to another key, or a connection that is not the one the client means, is not opened.
            Some(_) => Secret::Closed,
        };
        Ok(Hello { choice: self, key: key.clone(), secret, manifest: None })
    }
}

/// What became of the secret that a ClientHello may seal to the server's key.
enum Secret {
    /// There is none.
    None,
    /// It stays closed: it is sealed to another key, or the two ends do not mean the same connection.
    Closed,
    /// It can be opened.
    Sealed,
    /// It was opened, or what takes its place where that failed.
    Opened(Zeroizing<[u8; limits::SECRET]>),
}

/// A ClientHello, and the key that it is answered under. *Is it admitted? Is its ticket's principal still welcome?*
///
/// This is the place for rate limits and load shedding: nothing costly has been done yet, nothing secret has been sent, and
/// [`busy`] tells the client so.
pub struct Hello {
    choice: ChooseKey,
    key: ServerKey,
    secret: Secret,
    /// Until the answer is made: whoever is waited for holds none.
    manifest: Option<Arc<[u8]>>,
}

impl Hello {
    /// When the login must have arrived.
    pub fn deadline(&self) -> Moment {
        self.choice.deadline
    }

    /// When the answer may be sent: after a private-key operation that could show by its time what it found, no earlier than
    /// [`ServerConfig::with_answer_floor`] says.
    pub fn not_before(&self) -> Moment {
        let ServerConfig { answer_floor, refusal_floor, .. } = &*self.choice.config;
        match (&self.secret, answer_floor) {
            (Secret::None | Secret::Closed | Secret::Sealed, _) => self.choice.arrival,
            (Secret::Opened(_), Some(floor)) => self.choice.arrival.after(*floor),
            (Secret::Opened(_), None) if self.key.is_loaded() => self.choice.arrival,
            (Secret::Opened(_), None) => self.choice.arrival.after(*refusal_floor),
        }
    }

    /// Sends this manifest with the challenge, if the client asked for one.
    #[must_use]
    pub fn with_manifest(self, manifest: &SignedManifest) -> Self {
        Self { manifest: Some(Arc::clone(manifest.bytes())), ..self }
    }

    /// As [`ChooseKey::server_name`].
    pub fn server_name(&self) -> &str {
        self.choice.server_name()
    }

    /// The suite that will be used, unless a ticket is taken.
    pub fn suite(&self) -> Suite {
        self.choice.suite
    }

    /// The id of the key that it is answered under.
    pub fn key_id(&self) -> KeyId {
        self.key.public_key().id()
    }

    /// What the client means otherwise than this server: the prologue or the channel binding. Then send the challenge, which shows
    /// that to the client, and close the connection.
    pub fn differs(&self) -> Option<Differs> {
        self.choice.differs
    }

    /// Whether the client sealed a secret to this key that is not opened yet: [`Hello::open`].
    pub fn is_sealed(&self) -> bool {
        matches!(self.secret, Secret::Sealed)
    }

    /// Goes on to the RSA operation, after which the answer has a proof.
    ///
    /// # Errors
    /// The hello as it was, where there is nothing to open.
    pub fn open(self, rng: &mut dyn CryptoRng) -> Result<Open<SealedHello>, Box<Self>> {
        match &self.choice.sealed {
            Some(Sealed { bound_to, .. }) if self.is_sealed() => {
                let bound_to = *bound_to;
                let mut fallback = Zeroizing::new([0; limits::SECRET]);
                rng.fill_bytes(fallback.as_mut_slice());
                Ok(Open::new(SealedHello { hello: self, bound_to, fallback }))
            }
            _ => Err(Box::new(self)),
        }
    }

    pub(super) fn key(&self) -> &ServerKey {
        &self.key
    }

    pub(super) fn ciphertext(&self) -> &[u8] {
        self.choice.sealed.as_ref().map_or(&[], |sealed| sealed.at.cut(&self.choice.frame).content())
    }

    /// The ClientHello, one whole frame.
    pub(super) fn frame(&self) -> &[u8] {
        &self.choice.frame
    }

    /// It counts as having arrived now: the answer may be held back until a fixed time after that.
    pub(super) fn arrived(mut self, now: Moment) -> Self {
        self.choice.arrival = now;
        self
    }

    pub(super) fn with_secret(self, secret: Zeroizing<[u8; limits::SECRET]>) -> Self {
        Self { secret: Secret::Opened(secret), ..self }
    }

    fn rsa(&self) -> Option<&[u8; limits::SECRET]> {
        match &self.secret {
            Secret::Opened(secret) => Some(secret),
            Secret::None | Secret::Closed | Secret::Sealed => None,
        }
    }

    /// The ticket that the client shows, if it is a good one (K1 to K5 and K8 to K11 of PROTOCOL.md): sealed by this server's
    /// ticket keys for a login under this key, to this server name and with this prologue, in time, for a suite and a kind of credential
    /// that are still taken, and shown by somebody who holds its secret.
    ///
    /// `None` is no error: go on with [`Hello::challenge`].
    pub fn ticket(&self, now: UnixTime) -> Option<TicketClaim> {
        let config = &self.choice.config;
        let (keys, shown) = (config.tickets.as_ref()?, self.choice.shown.as_ref()?);
        let is_meant = self.choice.differs.is_none() && !matches!(self.secret, Secret::Closed);
        if !is_meant && !lacks(Check::K11) {
            return None;
        }
        let hello = self.choice.hello().ok()?;
        let contents = keys.open(&hello.ticket, now)?;
        let TicketContents { suite, key_id, scope, chain, secret, .. } = &contents;
        let is_of_key = *key_id == self.key.public_key().id() || lacks(Check::K5);
        let is_in_scope = *scope == config.prologue.scope(&hello.server_name) || lacks(Check::K8);
        let is_taken = hello.suites.contains(&suite.number()) && (config.suites.contains(suite) || lacks(Check::K4));
        let stage_0 = schedule::stage_0(secret);
        let is_held = handshake::is_shown(&handshake::binder(&stage_0, shown), &hello.binder);
        let is_shown_by_owner = bool::from(is_held) || lacks(Check::K3);
        let is_of_kind = config.kinds.contains(&chain.kind) || lacks(Check::K9);
        let is_good = is_of_key && is_in_scope && is_taken && is_of_kind && is_shown_by_owner;
        is_good.then(|| TicketClaim { contents, stage_0, keys: Arc::clone(keys), now })
    }

    /// Takes the ticket: gives the ServerResumption frame to send. `grant` is the account as it is now.
    ///
    /// # Errors
    /// [`Misuse::Mismatch`] where `grant` is not the ticket's account ([`FreshTicket::is_current`]), and where a sealed secret was not
    /// opened ([`Hello::open`]); otherwise [`Error`]. Close the connection then, and send nothing.
    pub fn resume(
        self,
        ticket: FreshTicket,
        grant: Grant,
        now: UnixTime,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, AwaitConfirm), Error> {
        if !ticket.is_current(&grant) || matches!(self.secret, Secret::Sealed | Secret::Closed) {
            return Err(Misuse::Mismatch.into());
        }
        let FreshTicket(TicketClaim {
            contents: TicketContents { suite, key_id, scope, mut chain, .. }, stage_0, ..
        }) = ticket;
        let hello = self.choice.hello()?;
        let (config, mut transcript) = (&self.choice.config, self.choice.transcript.clone());
        let mut nonce = [0; limits::NONCE];
        rng.fill_bytes(&mut nonce);
        let (key_share, exchange) = answer_exchange(config, &hello, suite, rng)?;
        let answer = ServerResumption {
            version: VERSION,
            suite: suite.number(),
            nonce,
            key_share: Bytes(&key_share),
            extensions: handshake::reserved_extensions(&nonce),
            sealed_verdict: &[0; limits::SERVER_VERDICT],
        };
        let mut frame = handshake::write(FrameType::ServerResumption, &answer)?;
        let [tail] = answer.tails();
        let mut parts = tail.cut_mut(&mut frame);
        transcript.add(parts.head);
        let sources = Sources { ticket: Some(&stage_0), rsa: self.rsa() };
        let secrets = Secrets::new(&config.provider, suite, transcript, sources, &exchange);
        chain.number = chain.number.saturating_add(1);
        let ticket = issue(config, &secrets, &grant, (key_id, scope), chain, now, rng)?;
        secrets.seal_verdict(&accept(&grant, ticket.as_ref()), parts.content_mut())?;
        let outcome = Outcome { grant, ticket: None, resumed: true, server_key: None, proved: false };
        let (session, key) = secrets.resumed(parts.field, Side::Server, outcome)?;
        Ok((frame, AwaitConfirm { session, key, deadline: self.choice.deadline }))
    }

    /// Gives the ServerHello frame to send: a fresh challenge under the key, with a proof if a secret was opened.
    ///
    /// # Errors
    /// [`Error`]; close the connection then, and send nothing.
    pub fn challenge(self, rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, AwaitLogin), Error> {
        let hello = self.choice.hello()?;
        let config = &self.choice.config;
        let suite = self.choice.suite;
        let mut nonce = [0; limits::NONCE];
        rng.fill_bytes(&mut nonce);
        let (key_share, exchange) = answer_exchange(config, &hello, suite, rng)?;

        let public = self.key.public_key();
        let is_known = hello.known_keys.contains(public.id().as_bytes());
        let mut kinds = List::new();
        for kind in &config.kinds {
            // Never full: the configuration holds each kind at most once.
            let _ = kinds.push(kind.number());
        }
        let room = if self.rsa().is_some() { &[0; limits::PROOF][..] } else { &[] };
        let certificates = certificates(&self.key, &hello)?;
        let manifest = self.manifest.as_deref().filter(|_| asks_for(&hello, MANIFEST)).unwrap_or_default();
        let mut extensions = handshake::reserved_extensions(&nonce);
        let stretching = config.announced().map(|announced| announced.bytes.as_slice()).unwrap_or_default();
        for (number, data) in [(CERTIFICATES, &*certificates), (MANIFEST, manifest), (STRETCHING, stretching)] {
            if !data.is_empty() {
                extensions.push(Extension { number, data: Bytes(data) }).ok_or(CryptoError::Failed)?;
            }
        }
        let answer = ServerHello {
            version: VERSION,
            suite: suite.number(),
            nonce,
            key_id: *public.id().as_bytes(),
            spki: Bytes(if is_known { &[] } else { public.spki_der() }),
            key_share: Bytes(&key_share),
            credential_kinds: kinds,
            context: self.choice.context.0,
            extensions,
            proof: Bytes(room),
        };
        let mut frame = handshake::write(FrameType::ServerHello, &answer)?;
        let [tail] = answer.tails();
        let scope = config.tickets.as_ref().map(|_| config.prologue.scope(&hello.server_name)).unwrap_or_default();
        let can_be_asked = offers_factors(&hello.extensions);
        let Self { choice: ChooseKey { config, mut transcript, deadline, .. }, key, secret, manifest: _ } = self;
        let mut parts = tail.cut_mut(&mut frame);
        transcript.add(parts.head);
        let keys = if let Secret::Opened(secret) = secret {
            let mut secrets = Secrets::new(&config.provider, suite, transcript, Sources::rsa(&secret), &exchange);
            *parts.content_mut().first_chunk_mut().ok_or(CryptoError::Failed)? = *secrets.proof();
            secrets.add(parts.field);
            Keys::Proved(secrets)
        } else {
            transcript.add(parts.field);
            let mut fallback = Zeroizing::new([0; limits::SECRET]);
            rng.fill_bytes(fallback.as_mut_slice());
            Keys::Sealed { challenge: transcript.hash(), transcript, fallback, exchange }
        };
        Ok((frame, AwaitLogin { config, key, keys, suite, scope, can_be_asked, deadline }))
    }
}

fn asks_for(hello: &ClientHello<'_>, number: u16) -> bool {
    hello.extensions.iter().any(|extension| extension.number == number)
}

/// The certificates of the key, as extension 1 has them; empty where the client does not ask, or there are none.
fn certificates(key: &ServerKey, hello: &ClientHello<'_>) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    if asks_for(hello, CERTIFICATES) && !key.certificates().is_empty() {
        let mut list: List<Bytes<'_>, { limits::MAX_CERTIFICATES }> = List::new();
        for der in key.certificates().ders() {
            // Never full: a chain has no more.
            let _ = list.push(Bytes(der));
        }
        codec::append(&list, &mut data)?;
    }
    Ok(data)
}

/// The server's half of the suite's key exchange: its share, and the secret.
fn answer_exchange(
    config: &ServerConfig,
    hello: &ClientHello<'_>,
    suite: Suite,
    rng: &mut dyn CryptoRng,
) -> Result<(Vec<u8>, SharedSecret), Error> {
    let exchange = suite.key_exchange;
    let theirs = hello.key_shares.iter().find(|share| share.exchange == exchange.number());
    // RSA alone has no share; for every other exchange among the suites there is one.
    let theirs = theirs.map_or(&[][..], |theirs| &theirs.share);
    let mut ours = Vec::with_capacity(exchange.server_share());
    let secret =
        crypto::answer(&config.provider, exchange, theirs, rng, &mut ours).map_err(handshake::from_exchange)?;
    Ok((ours, secret))
}

/// The ticket is taken, and the client told so; its Confirm is awaited.
pub struct AwaitConfirm {
    session: Session,
    key: Box<dyn AeadKey>,
    deadline: Moment,
}

impl AwaitConfirm {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::Confirm];

    /// When it must have come.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Whose session it will be.
    pub fn principal(&self) -> &str {
        self.session.info.login_grant().principal()
    }

    /// Reads the Confirm, one whole frame: the client is there, and has checked the answer.
    ///
    /// # Errors
    /// [`Error`]; close the connection then, and send nothing. [`Error::NotConfirmed`] is what comes of a recorded hello that is played
    /// again.
    pub fn read(self, mut frame: Vec<u8>, now: Moment) -> Result<Session, Error> {
        if now > self.deadline {
            return Err(Error::DeadlinePassed);
        }
        let [tail] = handshake::read::<Confirm<'_>>(FrameType::Confirm, &frame)?.tails();
        let opened = once::open(&*self.key, tail.cut_mut(&mut frame).content_mut()).map(drop);
        opened.map_err(|error| match error {
            CryptoError::NotAuthentic => Error::NotConfirmed,
            other => Error::Crypto(other),
        })?;
        Ok(self.session)
    }
}

crate::opaque_debug!(AwaitHello, ChooseKey, Hello, AwaitConfirm);
