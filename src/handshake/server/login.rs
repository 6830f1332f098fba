//! From the ClientLogin to the verdict.

use super::ServerConfig;
use super::factor::Asked;
use super::open::{Open, SealedLogin};
use super::verdict::{Accepted, Refusal, Undecided, decision};
use crate::crypto::schedule::Sources;
use crate::crypto::{
    ClientKey, CryptoError, CryptoRng, Decrypted, KeyId, ServerKey, SharedSecret, Suite, Transcript, TranscriptHash,
    VerifyingKey, once,
};
use crate::handshake::{self, Secrets};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::terms::credential::{Credential, CredentialKind, Shown};
use crate::terms::error::{Error, Reason, Violation};
use crate::terms::factor::Prompt;
use crate::terms::grant::Grant;
use crate::terms::stretch::StretchedPassword;
use crate::time::{Moment, UnixTime};
use crate::wire::codec::{self, ClientLogin, CredentialMessage, KeyProof, Tail};
use crate::wire::frame::FrameType;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The challenge is out; a ClientLogin is awaited.
///
/// This is the state a half-open connection sits in. It holds no frame, and no heap memory of its own.
pub struct AwaitLogin {
    pub(super) config: Arc<ServerConfig>,
    pub(super) key: ServerKey,
    pub(super) keys: Keys,
    pub(super) suite: Suite,
    /// What its ticket will be good for.
    pub(super) scope: [u8; 32],
    /// Whether the client takes a request for a further factor.
    pub(super) can_be_asked: bool,
    pub(super) deadline: Moment,
}

/// What the keys of the login come from.
pub(super) enum Keys {
    /// The secret that the login will bring, or the fallback.
    Sealed {
        transcript: Transcript,
        challenge: TranscriptHash,
        fallback: Zeroizing<[u8; limits::SECRET]>,
        exchange: SharedSecret,
    },
    /// The secret that the ClientHello brought, or what took its place.
    Proved(Secrets),
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
            // The connection is closed without an answer.
            Err(error @ Error::DeadlinePassed) => Err(Refusal::silent(Reason::Malformed(error), now)),
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
        let is_in_range = match self.keys {
            Keys::Sealed { .. } => self.key.public_key().admits(&login.rsa_ciphertext),
            Keys::Proved(_) => login.rsa_ciphertext.is_empty(),
        };
        if !is_in_range {
            return Err(Violation::CiphertextRange.into());
        }
        let sealed = login.sealed_credential.len();
        let padded = sealed.checked_sub(limits::TAG).ok_or(Violation::SealedLength)?;
        if padded == 0 || padded % limits::CREDENTIAL_BLOCK != 0 || sealed > limits::MAX_SEALED_CREDENTIAL {
            return Err(Violation::SealedLength.into());
        }
        let [_, tail] = login.tails();
        Ok(tail)
    }

    /// The one refusal, without the RSA operation: sealed under the fallback secret, which nobody can open, unless that of the
    /// ClientHello is known.
    fn refuse(self, login: &[u8], reason: Reason, arrival: Moment) -> Refusal {
        let secrets = match self.keys {
            Keys::Proved(mut secrets) => {
                secrets.add(login);
                secrets
            }
            Keys::Sealed { mut transcript, fallback, exchange, .. } => {
                transcript.add(login);
                Secrets::new(&self.config.provider, self.suite, transcript, Sources::rsa(&fallback), &exchange)
            }
        };
        Refusal::seal(&secrets, decision(&reason), reason, arrival.after(self.config.refusal_floor))
    }
}

/// A login and everything needed to open it.
pub(super) struct Pending {
    state: AwaitLogin,
    frame: Vec<u8>,
    tail: Tail,
    arrival: Moment,
}

impl Pending {
    pub(super) fn deadline(&self) -> Moment {
        self.arrival.after(self.state.config.handshake_timeout)
    }

    pub(super) fn key(&self) -> &ServerKey {
        &self.state.key
    }

    pub(super) fn ciphertext(&self) -> &[u8] {
        // It was read before, so it can be read again.
        let login = handshake::read::<ClientLogin<'_>>(FrameType::ClientLogin, &self.frame);
        login.map_or(&[], |login| login.rsa_ciphertext.0)
    }

    /// Turns it away undecided. What its client could not open would look like somebody's interference: it is told nothing then.
    fn refuse(self, reason: Reason) -> Refusal {
        let Self { state, frame, arrival, .. } = self;
        match state.keys {
            Keys::Proved(_) => state.refuse(&frame, reason, arrival),
            Keys::Sealed { .. } => Refusal::silent(reason, arrival),
        }
    }

    /// Goes on with what the RSA operation gave.
    pub(super) fn opened(self, decrypted: &Decrypted) -> Claim {
        let Self { state, frame, tail, arrival } = self;
        let AwaitLogin { config, key, keys, suite, scope, can_be_asked, .. } = state;
        let mut frame = Zeroizing::new(frame);
        let mut parts = tail.cut_mut(&mut frame);
        let mut secrets = match keys {
            Keys::Proved(mut secrets) => {
                secrets.add(parts.head);
                secrets
            }
            Keys::Sealed { mut transcript, challenge, fallback, exchange } => {
                // Implicit rejection: whatever went wrong, there is a secret; if it is the fallback, the AEAD will not open.
                let secret = decrypted.secret_or(&challenge, &fallback);
                transcript.add(parts.head);
                Secrets::new(&config.provider, suite, transcript, Sources::rsa(&secret), &exchange)
            }
        };
        // The key covers the transcript so far; the rest is added as received, before it is opened in place.
        let transcript_r = secrets.transcript_hash();
        let credential_key = secrets.credential_key(&transcript_r);
        secrets.add(parts.field);
        let opened = credential_key.and_then(|key| once::open(&*key, parts.content_mut()).map(drop)).is_ok();
        let ticket_for = (key.public_key().id(), scope);
        let mut claim = Claim {
            config,
            secrets,
            ticket_for,
            can_be_asked,
            frame,
            tail,
            shown: Shown::Secret,
            fault: None,
            arrival,
        };
        match claim.look(opened, &transcript_r) {
            Ok(shown) => claim.shown = shown,
            Err(reason) => claim.fault = Some(reason),
        }
        claim
    }
}

/// A well-formed login is here. *Is it admitted?*
///
/// After a proof nothing costly is left to be done but the verifier's work. Without one this is the place for load shedding: it
/// comes before the RSA operation.
pub struct Login(Pending);

/// A login that was admitted.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
pub enum Admitted {
    /// It brought a secret of its own.
    Sealed(Open<SealedLogin>),
    /// Its secret came with the ClientHello.
    Opened(Claim),
}

impl Login {
    /// When the login must have been decided: as long after its arrival as a handshake may take.
    pub fn deadline(&self) -> Moment {
        self.0.deadline()
    }

    /// Whether its client can read what it is told, also if it is not admitted: it had a proof.
    pub fn is_proved(&self) -> bool {
        matches!(self.0.state.keys, Keys::Proved(_))
    }

    /// Goes on, to the RSA operation if that is not done.
    pub fn admit(self) -> Admitted {
        if self.is_proved() {
            Admitted::Opened(self.0.opened(&Decrypted::failed()))
        } else {
            Admitted::Sealed(Open::new(SealedLogin(self.0)))
        }
    }

    /// Turns it away before the RSA operation, or the verifier's work: too many tries, too busy. If its client had a proof it is told,
    /// with [`Reason::NotNow`] that; otherwise nothing could be sent that it can open, and the connection is to be closed.
    pub fn refuse(self, reason: Reason) -> Refusal {
        self.0.refuse(reason)
    }
}

impl Admitted {
    /// Opens it in this thread, if that is not done: [`Open::run`].
    pub fn open(self, rng: &mut dyn CryptoRng) -> Claim {
        match self {
            Self::Sealed(open) => open.run(rng),
            Self::Opened(claim) => claim,
        }
    }
}

impl Open<SealedLogin> {
    /// Refuses after all, as [`Login::refuse`]: the queue for the RSA operation is full, or whoever does it is gone.
    pub fn refuse(self, reason: Reason) -> Refusal {
        self.into_sealed().0.refuse(reason)
    }
}

/// An opened login, not yet verified. *Is the credential good?*
///
/// A login that did not open is a claim, too: its [`Claim::credential`] is a decoy that no account matches, so that the
/// verifier does its usual work, and [`Claim::accept`] refuses it.
pub struct Claim {
    config: Arc<ServerConfig>,
    secrets: Secrets,
    ticket_for: (KeyId, [u8; 32]),
    can_be_asked: bool,
    frame: Zeroizing<Vec<u8>>,
    tail: Tail,
    /// What was read out of the credential's secret.
    shown: Shown,
    fault: Option<Reason>,
    arrival: Moment,
}

impl Claim {
    /// The credential to verify. Do not look at it to skip work: verify it, then accept or reject.
    pub fn credential(&self) -> Credential<'_> {
        let decoy = self.config.decoy();
        let opened = self.message().and_then(|message| Credential::from_message(&message, &self.shown));
        if self.fault.is_some() { decoy } else { opened.unwrap_or(decoy) }
    }

    /// Whether the login opened, and brought what it must: otherwise it is refused whatever is said of it, and names nobody. For logs;
    /// do not skip work by it.
    pub fn is_open(&self) -> bool {
        self.fault.is_none()
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
        self.good()?.accept(grant)
    }

    /// As [`Claim::accept`], with a ticket for the next login, if the server gives tickets and the grant has an epoch.
    ///
    /// # Errors
    /// As [`Claim::accept`].
    pub fn accept_with_ticket(self, grant: Grant, now: UnixTime, rng: &mut dyn CryptoRng) -> Result<Accepted, Refusal> {
        self.good()?.accept_with_ticket(grant, now, rng)
    }

    /// The credential is good and not enough: gives the verdict that asks for a further factor, to send at once. `now` is when
    /// the time for the answer begins.
    ///
    /// # Errors
    /// A [`Refusal`] as of [`Claim::accept`], and where the client can't be asked ([`Claim::can_be_asked`]).
    pub fn ask(self, prompt: &Prompt, now: Moment) -> Result<Asked, Refusal> {
        self.good()?.ask(prompt, now)
    }

    /// Whether the client has offered to answer requests for further factors.
    pub fn can_be_asked(&self) -> bool {
        self.can_be_asked
    }

    /// What is decided about, unless the login had not opened.
    fn good(self) -> Result<Undecided, Refusal> {
        if let Some(reason) = self.fault.clone() {
            return Err(self.reject(reason));
        }
        let kind = self.credential().kind();
        let Self { config, secrets, ticket_for, can_be_asked, arrival, .. } = self;
        let left = if can_be_asked { Some(limits::MAX_FACTORS) } else { None };
        Ok(Undecided { config, secrets, ticket_for, kind, left, arrival })
    }

    /// The credential is not good, or nobody can tell now: gives the verdict to send, and when. [`Reason::NotNow`] tells the client
    /// that there is no decision, and must not depend on the account or the credential; so does [`Reason::NoAnswer`], which counts as a guess. Any other
    /// reason stays here.
    ///
    /// For a login that had not opened, the refusal's reason is [`Reason::NotOpened`], [`Reason::KindNotTaken`] or [`Reason::BadSignature`],
    /// whatever is said here.
    pub fn reject(self, reason: Reason) -> Refusal {
        let decision = decision(&reason);
        let reason = self.fault.unwrap_or(reason);
        Refusal::seal(&self.secrets, decision, reason, self.arrival.after(self.config.refusal_floor))
    }

    /// What is wrong with the credential before anybody looks at its account; a key's signature is checked here.
    fn look(&self, opened: bool, transcript_r: &TranscriptHash) -> Result<Shown, Reason> {
        let message = self.message().filter(|_| opened).ok_or(Reason::NotOpened)?;
        let kind = CredentialKind::from_number(message.kind).ok_or(Reason::NotOpened)?;
        if matches!(kind, CredentialKind::Password | CredentialKind::Token) {
            // It breaks no rule of PROTOCOL.md, "Credential".
            Credential::from_message(&message, &Shown::Secret).ok_or(Reason::NotOpened)?;
        }
        if !self.config.kinds.contains(&kind) && !lacks(Check::L9) {
            return Err(Reason::KindNotTaken(kind));
        }
        let shown = match kind {
            CredentialKind::Password | CredentialKind::Token => Shown::Secret,
            CredentialKind::Key => Shown::Key(self.signer(&message, transcript_r)?),
            CredentialKind::Stretched => {
                let announced = self.config.announced();
                let read = announced.and_then(|of| StretchedPassword::from_bytes(&message.secret, &of.stretching));
                Shown::Stretched(read.ok_or(Reason::NotOpened)?)
            }
        };
        Credential::from_message(&message, &shown).ok_or(Reason::NotOpened)?;
        Ok(shown)
    }

    /// The key that has signed for this connection.
    fn signer(&self, message: &CredentialMessage<'_>, transcript_r: &TranscriptHash) -> Result<ClientKey, Reason> {
        let proof: KeyProof<'_> = codec::decode(&message.secret).map_err(|_| Reason::NotOpened)?;
        let key = VerifyingKey::from_spki_der(&proof.key).map_err(|_| Reason::BadSignature)?;
        let signed = handshake::to_sign(transcript_r, &message.user);
        self.config.provider.verify(&key, &signed, &proof.signature).map_err(|error| match error {
            CryptoError::NotAuthentic => Reason::BadSignature,
            error => Reason::Failed(error),
        })?;
        Ok(ClientKey::public_only(key))
    }

    /// What stands in the opened plaintext.
    fn message(&self) -> Option<CredentialMessage<'_>> {
        let (plaintext, _) = self.tail.cut(&self.frame).content().split_last_chunk::<{ limits::TAG }>()?;
        codec::decode_padded(plaintext, limits::CREDENTIAL_BLOCK).ok()
    }
}

crate::opaque_debug!(AwaitLogin, Login, Claim);
