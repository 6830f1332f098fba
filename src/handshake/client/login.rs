//! From the credential to the verdict.

use super::factor::{FactorWanted, Verdict};
use super::{Challenge, ClientConfig, Keys, keep};
use crate::crypto::schedule::Sources;
use crate::crypto::{ClientKey, CryptoRng, PublicKey, VerifyingKey};
use crate::handshake::{self, Opened, Secrets};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::session::{Outcome, Session, Side};
use crate::terms::credential::{Credential, CredentialKind};
use crate::terms::error::{Error, Misuse, Violation};
use crate::terms::grant::NoGrant;
use crate::terms::stretch::{CAN_STRETCH, StretchError, StretchedPassword, Stretching};
use crate::terms::ticket::Owner;
use crate::terms::trust::{Approved, TrustLevel};
use crate::time::{Moment, UnixTime};
use crate::wire::codec::{self, Bytes, ClientLogin, CredentialMessage, KeyProof, Message as _, ServerVerdict, Tail};
use crate::wire::frame::FrameType;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The server's key is trusted. *Which credential?*
#[must_use = "nobody is logged in yet"]
pub struct Trusted {
    pub(super) challenge: Challenge,
    pub(super) approved: Approved,
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
    /// A [`Credential::Key`] signs in this thread; where its private half answers later, or somewhere else, [`Trusted::sign`] is the way. A
    /// [`Credential::Password`] is stretched in this thread where the server takes that; to do it elsewhere, [`Trusted::stretching`] is
    /// the way.
    ///
    /// # Errors
    /// [`Error::KindNotTaken`]; [`Error::TrustTooLow`] where the key is not known well enough for it; [`Error::Misuse`] for
    /// a credential out of bounds; [`Error::Sign`]; [`Error::Stretch`]; [`Error::Crypto`]. Nothing secret has been sent.
    pub fn login(self, credential: Credential<'_>, rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        match credential {
            Credential::Key { user, key } => {
                let signing = self.sign(user, key.public_key(), rng)?;
                let signature = key.sign(signing.message(), rng).map_err(Error::Sign)?;
                signing.answer(&signature)
            }
            Credential::Password { user, password } => match self.stretching()? {
                Some(stretching) => {
                    // A name that can't be sent shows before it costs anything.
                    credential.check()?;
                    self.login_stretched(user, &stretching.stretch(user, password)?, rng)
                }
                None => self.login_plain(credential, rng),
            },
            Credential::Stretched { user, password } => self.login_stretched(user, password, rng),
            Credential::Token(_) => self.login_plain(credential, rng),
        }
    }

    fn login_plain(
        self,
        credential: Credential<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        let message = credential.to_message(&[])?;
        self.seal(credential.kind(), &message, rng)?.finish(&message)
    }

    fn login_stretched(
        self,
        user: &str,
        password: &StretchedPassword,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        self.check(CredentialKind::Stretched)?;
        let wanted = self.wanted()?.ok_or(Error::KindNotTaken(CredentialKind::Stretched))?;
        let goes_too_far = password.password().is_some() && !wanted.is_moving();
        if !password.stretching().agrees(&wanted) || goes_too_far {
            return Err(Misuse::Mismatch.into());
        }
        let bytes = password.to_bytes()?;
        let message = Credential::Stretched { user, password }.to_message(&bytes)?;
        self.seal(CredentialKind::Stretched, &message, rng)?.finish(&message)
    }

    /// How a password is to be stretched for this server, if it takes that: then [`Stretching::stretch`] it, on whatever thread suits, and give
    /// [`Trusted::login`] a [`Credential::Stretched`]. `None` where a password goes as it is.
    ///
    /// # Errors
    /// [`Error::Stretch`] where it must not be computed, or the password not be sent otherwise; [`Error::TrustTooLow`]. Nothing secret has been
    /// sent.
    pub fn stretching(&self) -> Result<Option<Stretching>, Error> {
        let takes_plain = self.challenge.kinds.contains(&CredentialKind::Password.number());
        if CAN_STRETCH && let Some(wanted) = self.wanted()? {
            self.check(CredentialKind::Stretched)?;
            return Ok(Some(wanted));
        }
        match () {
            () if self.approved.passwords.stretched_only => Err(StretchError::NotTaken.into()),
            () if !takes_plain && self.challenge.stretching.is_some() => Err(StretchError::NotBuilt.into()),
            () => Ok(None),
        }
    }

    /// What the server announces, as far as this client goes along with it.
    fn wanted(&self) -> Result<Option<Stretching>, Error> {
        let Some(announced) = &self.challenge.stretching else { return Ok(None) };
        let Approved { passwords, levels, level, .. } = &self.approved;
        announced.check_bounds()?;
        if passwords.realm.as_deref().is_some_and(|realm| realm != announced.realm()) {
            return Err(StretchError::OtherRealm(announced.realm().to_owned()).into());
        }
        // The password itself goes where it would go without being stretched, too.
        let may_go = !passwords.stretched_only && *level >= levels.of(CredentialKind::Password);
        Ok(Some(announced.moving(announced.is_moving() && may_go)))
    }

    /// Whether a credential of this kind may be sent.
    fn check(&self, kind: CredentialKind) -> Result<(), Error> {
        let Self { challenge: Challenge { kinds, .. }, approved: Approved { level, levels, .. } } = self;
        if *level < levels.of(kind) {
            return Err(Error::TrustTooLow { kind, level: *level });
        }
        if !kinds.contains(&kind.number()) && !lacks(Check::T3) {
            return Err(Error::KindNotTaken(kind));
        }
        Ok(())
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
        self.check(kind)?;
        let Self { challenge: Challenge { config, login: keys, suite, key, deadline, .. }, approved } = self;
        let Approved { level, levels, server_name, .. } = approved;
        let (provider, trust) = (config.provider, (level, levels.of(CredentialKind::Password)));
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
        Ok(Started { config, frame, tail, secrets, key, proved, server_name, trust, deadline })
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
    config: Arc<ClientConfig>,
    frame: Zeroizing<Vec<u8>>,
    tail: Tail,
    /// Up to the sealed credential.
    secrets: Secrets,
    key: PublicKey,
    proved: bool,
    server_name: String,
    trust: (TrustLevel, TrustLevel),
    deadline: Moment,
}

impl Started {
    fn finish(self, message: &CredentialMessage<'_>) -> Result<(Vec<u8>, AwaitVerdict), Error> {
        let Self { config, mut frame, tail, mut secrets, key, proved, server_name, trust, deadline } = self;
        let mut parts = tail.cut_mut(&mut frame);
        // Written where it is sent from, and sealed there, so that no copy of the credential is left behind.
        let credential_key = secrets.credential_key(&secrets.transcript_hash())?;
        handshake::seal(&*credential_key, message, parts.content_mut())?;
        secrets.add(parts.field);
        let user = message.user.0.to_owned();
        let state = AwaitVerdict { config, secrets, key, proved, server_name, user, trust, asked: 0, deadline };
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
        key.check(started.config.provider, &message, signature).map_err(Error::Sign)?;
        let proof = proof(key.public_key(), signature)?;
        started.finish(&Credential::Key { user: &user, key: &key }.to_message(&proof)?)
    }
}

/// The login is out; a ServerVerdict is awaited.
pub struct AwaitVerdict {
    pub(super) config: Arc<ClientConfig>,
    pub(super) secrets: Secrets,
    key: PublicKey,
    proved: bool,
    server_name: String,
    user: String,
    /// How well the key is known, and how well it must be for an answer to a further factor.
    trust: (TrustLevel, TrustLevel),
    /// How many further factors were asked for.
    pub(super) asked: usize,
    pub(super) deadline: Moment,
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
    /// [`Error::FactorWanted`] where the client offered to answer requests for further factors, and this is one: then
    /// [`AwaitVerdict::read_step`] is the call.
    pub fn read(self, frame: &[u8], now: Moment, clock: UnixTime) -> Result<Session, Error> {
        self.read_step(frame, now, clock)?.accepted()
    }

    /// As [`AwaitVerdict::read`], for a client that offered to answer requests for further factors
    /// ([`ClientConfig::offering_factors`]).
    ///
    /// # Errors
    /// As [`AwaitVerdict::read`].
    pub fn read_step(mut self, frame: &[u8], now: Moment, clock: UnixTime) -> Result<Verdict, Error> {
        if now > self.deadline {
            return Err(Error::DeadlinePassed);
        }
        let verdict: ServerVerdict<'_> = handshake::read(FrameType::ServerVerdict, frame)?;
        let mut sealed = Zeroizing::new(*verdict.sealed_verdict);
        let (grant, new) = match self.secrets.open_verdict(&mut sealed)? {
            Opened::Granted(grant, new) => (grant, new),
            Opened::Asked(prompt) => {
                let may_ask = self.config.factors && self.asked < limits::MAX_FACTORS;
                if !may_ask && !lacks(Check::V7) {
                    return Err(Violation::FactorNotOffered.into());
                }
                // Whoever a password is not sent to could ask for one.
                let (level, needed) = self.trust;
                if level < needed && !lacks(Check::V8) {
                    return Err(Error::TrustTooLow { kind: CredentialKind::Password, level });
                }
                self.asked = self.asked.saturating_add(1);
                self.secrets.add(frame);
                return Ok(Verdict::Factor(FactorWanted::new(self, prompt, now)));
            }
            Opened::Not(NoGrant::NotNow) => return Err(Error::NotNow),
            Opened::Not(NoGrant::Reject | NoGrant::Factor) => return Err(Error::Refused),
        };
        let Self { secrets, key, proved, server_name, user, .. } = self;
        let of = Owner { server_name, user, authenticated: clock };
        let ticket = new.map(|new| keep(new, secrets.suite(), key.id(), of, clock));
        let outcome = Outcome { grant, ticket, resumed: false, server_key: Some(key), proved };
        Ok(Verdict::Accepted(secrets.session(frame, Side::Client, outcome)))
    }
}

crate::opaque_debug!(Trusted, AwaitSignature, AwaitVerdict);
