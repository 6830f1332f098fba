//! The server's machine: bytes in, bytes and decisions out (PROTOCOL.md, "Server states").
//!
//! | state | what it waits for | next |
//! |---|---|---|
//! | [`AwaitHello`] | a ClientHello | [`ChooseKey`] |
//! | [`ChooseKey`] | *which key? is the ticket's principal still welcome?* | [`AwaitLogin`], or [`Accepted`] |
//! | [`AwaitLogin`] | a ClientLogin | [`Login`] |
//! | [`Login`] | *admit it?* | [`Open`] |
//! | [`Open`] | the RSA operation | [`Claim`] |
//! | [`Claim`] | *is the credential good?* | [`Accepted`] or [`Refusal`] |
//!
//! ```text
//! AwaitHello ──▶ ChooseKey ──ServerHello──▶ AwaitLogin ──▶ Login ──▶ Open ──▶ Claim ──ServerVerdict──▶ Accepted
//!     │              │                          │            │                  │
//!     ▼              ▼                          ▼            ▼                  ▼
//!   close          close                     Refusal      Refusal            Refusal ──ServerVerdict──▶ close
//! ```
//!
//! Each state is consumed by the step out of it: one attempt per challenge. Dropping any state is always safe. The
//! machine holds no clock, no socket, no randomness of its own and no accounts.

mod config;

pub use config::ServerConfig;

use crate::crypto::once;
use crate::crypto::schedule::{self, Source};
use crate::crypto::{
    self, CryptoError, CryptoRng, Decrypted, Decrypting, KeyExchange, KeyId, ServerKey, SharedSecret, Suite,
    Transcript, TranscriptHash,
};
use crate::handshake::{self, Secrets, VERSION};
use crate::limits;
use crate::session::{Outcome, Session, Side};
use crate::terms::binding::ChannelBinding;
use crate::terms::credential::{Credential, CredentialKind};
use crate::terms::error::{Error, Misuse, Reason, Violation};
use crate::terms::grant::Grant;
use crate::terms::server::is_server_name;
use crate::terms::ticket::{TicketClaim, TicketContents};
use crate::time::Moment;
use crate::time::UnixTime;
use crate::wire::codec::{
    self, Bytes, ClientHello, ClientLogin, CredentialMessage, List, ServerHello, ServerResumption, ServerVerdict, Tail,
    VerdictMessage,
};
use crate::wire::frame::FrameType;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A connection is here; a ClientHello is awaited.
pub struct AwaitHello {
    config: Arc<ServerConfig>,
    transcript: Transcript,
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
        let (ticket, binder) = (hello.ticket.len(), hello.binder.len());
        if ticket > limits::MAX_TICKET || binder != if ticket == 0 { 0 } else { limits::BINDER } {
            return Err(Violation::BadTicket.into());
        }
        if !hello.versions.contains(&VERSION) {
            return Err(Violation::NoCommonVersion.into());
        }
        let suite = self.config.suites.iter().copied().find(|suite| hello.suites.contains(&suite.number()));
        let suite = suite.ok_or(Violation::NoCommonSuite)?;
        // What the binder covers, and then the binder.
        let parts = hello.tail().cut(&frame);
        self.transcript.add(parts.head);
        let shown = (ticket > 0).then(|| self.transcript.clone());
        self.transcript.add(parts.field);
        Ok(ChooseKey { config: self.config, transcript: self.transcript, shown, deadline: self.deadline, frame, suite })
    }
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

/// The client's offer is here. *Which key is the challenge sent under?*
pub struct ChooseKey {
    config: Arc<ServerConfig>,
    transcript: Transcript,
    /// What the binder covers, if a ticket is shown.
    shown: Option<Transcript>,
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
    /// authenticated, and readable by anyone on the way.
    pub fn server_name(&self) -> &str {
        self.hello().map_or("", |hello| hello.server_name.0)
    }

    /// The ids of the server keys that the client has at hand. A hint for choosing among several.
    pub fn known_keys(&self) -> impl Iterator<Item = KeyId> {
        let known_keys = self.hello().map(|hello| hello.known_keys).unwrap_or_default();
        (0..known_keys.len()).filter_map(move |index| known_keys.get(index).map(|id| KeyId::from_bytes(*id)))
    }

    /// The suite that will be used.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The ticket that the client shows, if it is a good one: sealed by this server's ticket keys for a login under `key`,
    /// not expired, not used where tickets are for single use, for a suite that both sides still take, and shown by
    /// somebody who holds its secret.
    ///
    /// `None` is no error: go on with [`ChooseKey::challenge`].
    pub fn ticket(&self, key: &ServerKey, now: UnixTime) -> Option<TicketClaim> {
        let (keys, shown) = (self.config.tickets.as_ref()?, self.shown.as_ref()?);
        let hello = self.hello().ok()?;
        let contents = keys.open(&hello.ticket, now)?;
        let is_ours = contents.key_id == key.public_key().id();
        let suite = contents.suite;
        let is_taken = hello.suites.contains(&suite.number()) && self.config.suites.contains(&suite);
        let stage_0 = schedule::stage_0(&contents.secret);
        let is_held = handshake::binder(&stage_0, shown).ct_eq(&hello.binder);
        let is_good = is_ours && is_taken && bool::from(is_held);
        (is_good && keys.use_once(&hello.ticket, &contents, now)).then_some(TicketClaim { contents, stage_0 })
    }

    /// Takes the ticket: gives the ServerResumption frame to send, and the session. `grant` is the account as it is now.
    ///
    /// # Errors
    /// [`Misuse::Mismatch`] where `grant` is not the ticket's account ([`TicketClaim::is_current`]); otherwise [`Error`].
    /// Close the connection then, and send nothing.
    pub fn resume(
        self,
        claim: TicketClaim,
        grant: Grant,
        now: UnixTime,
        rng: &mut dyn CryptoRng,
    ) -> Result<Accepted, Error> {
        if !claim.is_current(&grant) {
            return Err(Misuse::Mismatch.into());
        }
        let TicketClaim { contents: TicketContents { suite, key_id, authenticated, .. }, stage_0 } = claim;
        let hello = self.hello()?;
        let (config, mut transcript) = (Arc::clone(&self.config), self.transcript.clone());
        let mut nonce = [0; limits::NONCE];
        rng.fill_bytes(&mut nonce);
        let (key_share, exchange) = answer_exchange(&config, &hello, suite, rng)?;
        let answer = ServerResumption {
            version: VERSION,
            suite: suite.number(),
            nonce,
            key_share: Bytes(&key_share),
            sealed_verdict: &[0; limits::SERVER_VERDICT],
        };
        let mut frame = handshake::write(FrameType::ServerResumption, &answer)?;
        let mut parts = answer.tail().cut_mut(&mut frame);
        transcript.add(parts.head);
        let secrets = Secrets::new(&config.provider, suite, transcript, &Source::Ticket(&stage_0), &exchange);
        let ticket = issue(&config, &secrets, &grant, key_id, authenticated, now, rng)?;
        secrets.seal_verdict(&accept(&grant, &ticket), parts.content_mut())?;
        let session = secrets.session(parts.field, Side::Server, Outcome { grant, ticket: None, resumed: true });
        Ok(Accepted { frame, session })
    }

    /// Gives the ServerHello frame to send: a fresh challenge under `key`.
    ///
    /// # Errors
    /// [`Error`]; close the connection then, and send nothing.
    pub fn challenge(self, key: &ServerKey, rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, AwaitLogin), Error> {
        let hello = self.hello()?;
        let (deadline, suite) = (self.deadline, self.suite);
        let mut nonce = [0; limits::NONCE];
        rng.fill_bytes(&mut nonce);
        let mut fallback = Zeroizing::new([0; limits::SECRET]);
        rng.fill_bytes(fallback.as_mut_slice());
        let (key_share, exchange) = answer_exchange(&self.config, &hello, suite, rng)?;

        let public = key.public_key();
        let is_known = hello.known_keys.contains(public.id().as_bytes());
        let mut kinds = List::new();
        for kind in &self.config.kinds {
            // Never full: the configuration holds each kind at most once.
            let _ = kinds.push(kind.number());
        }
        let answer = ServerHello {
            version: VERSION,
            suite: suite.number(),
            nonce,
            key_id: *public.id().as_bytes(),
            spki: Bytes(if is_known { &[] } else { public.spki_der() }),
            key_share: Bytes(&key_share),
            credential_kinds: kinds,
        };
        let frame = handshake::write(FrameType::ServerHello, &answer)?;
        let Self { config, mut transcript, .. } = self;
        transcript.add(&frame);
        let challenge = transcript.hash();
        let state = AwaitLogin { config, key: key.clone(), transcript, challenge, fallback, exchange, suite, deadline };
        Ok((frame, state))
    }
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

/// A ticket's bytes and its end.
type Issued = (Vec<u8>, UnixTime);

/// A ticket for this login, where the server gives tickets and the account has an epoch.
fn issue(
    config: &ServerConfig,
    secrets: &Secrets,
    grant: &Grant,
    key_id: KeyId,
    authenticated: UnixTime,
    now: UnixTime,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Issued>, CryptoError> {
    let (Some(keys), Some(epoch)) = (&config.tickets, grant.epoch()) else {
        return Ok(None);
    };
    let expires = now.after(keys.lifetime());
    let contents = TicketContents {
        principal: grant.principal().to_owned(),
        epoch,
        suite: secrets.suite(),
        key_id,
        authenticated,
        expires,
        secret: secrets.resumption(),
    };
    Ok(keys.seal(&contents, now, rng)?.map(|ticket| (ticket, expires)))
}

fn accept<'a>(grant: &'a Grant, ticket: &'a Option<Issued>) -> VerdictMessage<'a> {
    let (ticket, expires) = match ticket {
        Some((ticket, expires)) => (ticket.as_slice(), expires.as_secs()),
        None => (&[][..], 0),
    };
    VerdictMessage { grant: grant.to_message(), ticket: Bytes(ticket), ticket_expires: expires }
}

/// The challenge is out; a ClientLogin is awaited.
///
/// This is the state a half-open connection sits in. It holds no frame, and no heap memory of its own.
pub struct AwaitLogin {
    config: Arc<ServerConfig>,
    key: ServerKey,
    transcript: Transcript,
    challenge: TranscriptHash,
    fallback: Zeroizing<[u8; limits::SECRET]>,
    exchange: SharedSecret,
    suite: Suite,
    deadline: Moment,
}

impl AwaitLogin {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::ClientLogin];

    /// When the login must have arrived.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Takes the ClientLogin, one whole frame. Checks everything that can be checked without the private key.
    ///
    /// # Errors
    /// A [`Refusal`] to send, the same on the wire as any other.
    pub fn read(self, frame: Vec<u8>, now: Moment) -> Result<Login, Refusal> {
        match self.check(&frame, now) {
            Ok(tail) => Ok(Login(Pending { state: self, frame, tail, arrival: now })),
            Err(error) => Err(self.refuse(&frame, Reason::Malformed(error), now)),
        }
    }

    /// Refuses without a login: the stream did not carry one. Gives the one answer there is.
    pub fn fail(self, error: Error, now: Moment) -> Refusal {
        self.refuse(&[], Reason::Malformed(error), now)
    }

    /// Says where the sealed credential stands.
    fn check(&self, frame: &[u8], now: Moment) -> Result<Tail, Error> {
        if now > self.deadline {
            return Err(Error::DeadlinePassed);
        }
        let login: ClientLogin<'_> = handshake::read(FrameType::ClientLogin, frame)?;
        if !self.key.public_key().admits(&login.rsa_ciphertext) {
            return Err(Violation::CiphertextRange.into());
        }
        let sealed = login.sealed_credential.len();
        let padded = sealed.checked_sub(limits::TAG).ok_or(Violation::SealedLength)?;
        if padded == 0 || padded % limits::CREDENTIAL_BLOCK != 0 || sealed > limits::MAX_SEALED_CREDENTIAL {
            return Err(Violation::SealedLength.into());
        }
        Ok(login.tail())
    }

    /// The one refusal, before the RSA operation: sealed under the fallback secret, which nobody can open.
    fn refuse(self, login: &[u8], reason: Reason, arrival: Moment) -> Refusal {
        let mut transcript = self.transcript;
        transcript.add(login);
        let secrets =
            Secrets::new(&self.config.provider, self.suite, transcript, &Source::Rsa(&self.fallback), &self.exchange);
        Refusal::seal(&secrets, reason, arrival.after(self.config.refusal_floor))
    }
}

/// A login and everything needed to open it.
struct Pending {
    state: AwaitLogin,
    frame: Vec<u8>,
    tail: Tail,
    arrival: Moment,
}

impl Pending {
    fn deadline(&self) -> Moment {
        self.arrival.after(self.state.config.handshake_timeout)
    }

    fn ciphertext(&self) -> &[u8] {
        // It was read before, so it can be read again.
        let login = handshake::read::<ClientLogin<'_>>(FrameType::ClientLogin, &self.frame);
        login.map_or(&[], |login| login.rsa_ciphertext.0)
    }

    fn refuse(self, reason: Reason) -> Refusal {
        let Self { state, frame, arrival, .. } = self;
        state.refuse(&frame, reason, arrival)
    }
}

/// A well-formed login is here. *Is it admitted to the private-key operation?*
///
/// This is the place for rate limits and load shedding: nothing costly has been done yet.
pub struct Login(Pending);

impl Login {
    /// When the login must have been decided: as long after its arrival as a handshake may take.
    pub fn deadline(&self) -> Moment {
        self.0.deadline()
    }

    /// Goes on to the RSA operation.
    pub fn admit(self) -> Open {
        Open(self.0)
    }

    /// Refuses before the RSA operation: too many tries, too busy.
    pub fn refuse(self, reason: Reason) -> Refusal {
        self.0.refuse(reason)
    }
}

/// The RSA operation, to be done here or anywhere: `Send + 'static`.
///
/// Either call [`Open::run`] on whatever thread suits, or await [`Open::remote`], or hand [`Open::ciphertext`] to a queue or
/// a hardware module; from the last two come back with [`Open::answer`].
pub struct Open(Pending);

impl Open {
    /// When the login must have been decided.
    pub fn deadline(&self) -> Moment {
        self.0.deadline()
    }

    /// The RSA-OAEP ciphertext: as long as the key's modulus, and below it.
    pub fn ciphertext(&self) -> &[u8] {
        self.0.ciphertext()
    }

    /// The key it was sealed to.
    pub fn key(&self) -> &ServerKey {
        &self.0.state.key
    }

    /// Refuses after all: the queue for the RSA operation is full, or whoever does it is gone.
    pub fn refuse(self, reason: Reason) -> Refusal {
        self.0.refuse(reason)
    }

    /// Does the RSA operation with the server key, in this thread. `rng` is for blinding.
    ///
    /// Where the key's private half is not here ([`ServerKey::with_remote_decrypt`], [`ServerKey::public_only`]), and where a
    /// decryptor panics, it goes on as [`Decrypted::failed`]: every login ends in the one refusal.
    pub fn run(self, rng: &mut dyn CryptoRng) -> Claim {
        let decrypted = self.key().decrypt(self.ciphertext(), rng);
        self.answer(decrypted)
    }

    /// Starts the RSA operation where the key's private half answers later ([`ServerKey::with_remote_decrypt`]): a future that
    /// gives what [`Open::answer`] takes, for any executor. A panic in it is [`Decrypted::failed`]. None where the private half
    /// is not remote: then [`Open::run`].
    pub fn remote(&self) -> Option<Decrypting> {
        self.key().decrypt_remotely(self.ciphertext())
    }

    /// Goes on with what somebody else decrypted. A failure goes on just the same: it ends in the same refusal.
    pub fn answer(self, decrypted: Decrypted) -> Claim {
        let Pending { state, frame, tail, arrival } = self.0;
        let mut frame = Zeroizing::new(frame);
        // Implicit rejection: whatever went wrong, there is a secret; if it is the fallback, the AEAD will not open.
        let secret = decrypted.secret_or(&state.challenge, &state.fallback);
        let mut parts = tail.cut_mut(&mut frame);
        let mut transcript = state.transcript;
        transcript.add(parts.head);
        let mut secrets =
            Secrets::new(&state.config.provider, state.suite, transcript, &Source::Rsa(&secret), &state.exchange);
        // The key covers the transcript so far; the rest is added as received, before it is opened in place.
        let key = secrets.credential_key();
        secrets.add(parts.field);
        let opened = key.and_then(|key| once::open(&*key, parts.content_mut()).map(drop)).is_ok();
        let key_id = state.key.public_key().id();
        let mut claim = Claim { config: state.config, secrets, key_id, frame, tail, fault: None, arrival };
        claim.fault = claim.find_fault(opened);
        claim
    }
}

/// An opened login, not yet verified. *Is the credential good?*
///
/// A login that did not open is a claim, too: its [`Claim::credential`] is a decoy that no account matches, so that the
/// verifier does its usual work, and [`Claim::accept`] refuses it.
pub struct Claim {
    config: Arc<ServerConfig>,
    secrets: Secrets,
    key_id: KeyId,
    frame: Zeroizing<Vec<u8>>,
    tail: Tail,
    fault: Option<Reason>,
    arrival: Moment,
}

impl Claim {
    /// The credential to verify. Do not look at it to skip work: verify it, then accept or reject.
    pub fn credential(&self) -> Credential<'_> {
        // The configuration always names a kind.
        let decoy = Credential::decoy(self.config.kinds.first().copied().unwrap_or(CredentialKind::Password));
        if self.fault.is_some() { decoy } else { self.opened().unwrap_or(decoy) }
    }

    /// The suite of this handshake.
    pub fn suite(&self) -> Suite {
        self.secrets.suite()
    }

    /// The credential is good: gives the verdict to send and the session.
    ///
    /// # Errors
    /// A [`Refusal`] where the login had not opened (the claim was a decoy), or where the crypto provider fails.
    pub fn accept(self, grant: Grant) -> Result<Accepted, Refusal> {
        self.conclude(grant, |_, _| Ok(None))
    }

    /// As [`Claim::accept`], with a ticket for the next login, if the server gives tickets and the grant has an epoch.
    ///
    /// # Errors
    /// As [`Claim::accept`].
    pub fn accept_with_ticket(self, grant: Grant, now: UnixTime, rng: &mut dyn CryptoRng) -> Result<Accepted, Refusal> {
        self.conclude(grant, |claim, grant| issue(&claim.config, &claim.secrets, grant, claim.key_id, now, now, rng))
    }

    fn conclude(
        self,
        grant: Grant,
        issue: impl FnOnce(&Self, &Grant) -> Result<Option<Issued>, CryptoError>,
    ) -> Result<Accepted, Refusal> {
        if let Some(reason) = self.fault.clone() {
            return Err(self.reject(reason));
        }
        let not_before = self.arrival.after(self.config.refusal_floor);
        let accepted = issue(&self, &grant).map_err(Error::from).and_then(|ticket| {
            let frame = verdict_frame(&self.secrets, &accept(&grant, &ticket))?;
            let session = self.secrets.session(&frame, Side::Server, Outcome { grant, ticket: None, resumed: false });
            Ok(Accepted { frame, session })
        });
        accepted.map_err(|error| Refusal { frame: Vec::new(), not_before, reason: failed(error) })
    }

    /// The credential is not good: gives the verdict to send, and when. For a login that had not opened, the refusal's
    /// reason is [`Reason::NotOpened`] or [`Reason::KindNotTaken`], whatever is said here.
    pub fn reject(self, reason: Reason) -> Refusal {
        let reason = self.fault.unwrap_or(reason);
        Refusal::seal(&self.secrets, reason, self.arrival.after(self.config.refusal_floor))
    }

    fn find_fault(&self, opened: bool) -> Option<Reason> {
        if !opened {
            return Some(Reason::NotOpened);
        }
        match self.opened() {
            Some(credential) if self.config.kinds.contains(&credential.kind()) => None,
            Some(credential) => Some(Reason::KindNotTaken(credential.kind())),
            None => Some(Reason::NotOpened),
        }
    }

    /// The credential in the opened plaintext; `None` where it breaks a rule of PROTOCOL.md, "Credential".
    fn opened(&self) -> Option<Credential<'_>> {
        let (plaintext, _) = self.tail.cut(&self.frame).content().split_last_chunk::<{ limits::TAG }>()?;
        let message = codec::decode_padded::<CredentialMessage<'_>>(plaintext, limits::CREDENTIAL_BLOCK).ok()?;
        Credential::from_message(&message)
    }
}

/// Sealing an accept fails where the crypto provider does; the peer has no part in it.
fn failed(error: Error) -> Reason {
    match error {
        Error::Crypto(error) => Reason::Failed(error),
        _ => Reason::Failed(CryptoError::Failed),
    }
}

fn verdict_frame(secrets: &Secrets, verdict: &VerdictMessage<'_>) -> Result<Vec<u8>, Error> {
    let message = ServerVerdict { sealed_verdict: &[0; limits::SERVER_VERDICT] };
    let mut frame = handshake::write(FrameType::ServerVerdict, &message)?;
    secrets.seal_verdict(verdict, message.tail().cut_mut(&mut frame).content_mut())?;
    Ok(frame)
}

/// A login that was accepted.
pub struct Accepted {
    /// The ServerVerdict frame to send, at once.
    pub frame: Vec<u8>,
    /// The session, ready once the frame is sent.
    pub session: Session,
}

/// A login that was refused. On the wire every refusal is the same.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The ServerVerdict frame to send. Then close the connection. Empty if the crypto provider failed: close at once.
    pub frame: Vec<u8>,
    /// Send the frame no earlier than this.
    pub not_before: Moment,
    /// Why, for the audit log alone.
    pub reason: Reason,
}

impl Refusal {
    fn seal(secrets: &Secrets, reason: Reason, not_before: Moment) -> Self {
        let frame = verdict_frame(secrets, &Grant::reject()).unwrap_or_default();
        Self { frame, not_before, reason }
    }
}

crate::opaque_debug!(AwaitHello, ChooseKey, AwaitLogin, Login, Open, Claim, Accepted);
