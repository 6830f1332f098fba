//! What both machines share: configuration checks, and everything from the RSA secret on.

pub mod client;
pub mod server;

use crate::crypto::once;
use crate::crypto::schedule::{Key, Secret, Source};
use crate::crypto::{AeadKey, Cipher, CryptoError, KeyId, Provider, SharedSecret, Suite, Transcript};
use crate::limits;
use crate::session::{Outcome, Session, Side};
use crate::terms::error::{Error, Misuse, Violation};
use crate::terms::grant::Grant;
use crate::terms::ticket::Ticket;
use crate::time::UnixTime;
use crate::wire::codec::{self, Message, VerdictMessage};
use crate::wire::frame::{self, FrameError, FrameType, Header};
use zeroize::Zeroizing;

/// The one protocol version there is.
pub const VERSION: u16 = 1;

/// The suites a configuration may name: at least one, each once, each implemented.
pub(crate) fn check_suites(provider: &Provider, suites: &[Suite]) -> Result<Vec<Suite>, Misuse> {
    if suites.is_empty() {
        return Err(Misuse::BadInput("the list of suites"));
    }
    if has_duplicate(suites.iter()) {
        return Err(Misuse::Duplicate("the list of suites"));
    }
    match suites.iter().find(|&&suite| !provider.supports(suite)) {
        Some(&suite) => Err(Misuse::UnsupportedSuite(suite)),
        None => Ok(suites.to_vec()),
    }
}

/// The suites of a configuration that names none: the forward-secret ones, as far as the provider has them.
pub(crate) fn default_suites(provider: &Provider) -> Vec<Suite> {
    Suite::DEFAULT.into_iter().filter(|&suite| provider.supports(suite)).collect()
}

/// A prologue fits in the transcript: up to 65535 bytes.
pub(crate) fn check_prologue(prologue: &[u8]) -> Result<Vec<u8>, Misuse> {
    let limit = usize::from(u16::MAX);
    if prologue.len() > limit {
        return Err(Misuse::TooLong { what: "the prologue", len: prologue.len(), limit });
    }
    Ok(prologue.to_vec())
}

/// Lists are short and bounded, so comparing every pair is the quickest way.
pub(crate) fn has_duplicate<T: PartialEq>(entries: impl Iterator<Item = T> + Clone) -> bool {
    let earlier = entries.clone();
    entries.enumerate().any(|(index, entry)| earlier.clone().take(index).any(|earlier| earlier == entry))
}

/// A list of the peer's that must have entries, each once.
pub(crate) fn check_list<T: PartialEq>(what: &'static str, list: &[T]) -> Result<(), Violation> {
    if list.is_empty() {
        return Err(Violation::Empty(what));
    }
    if has_duplicate(list.iter()) {
        return Err(Violation::Duplicate(what));
    }
    Ok(())
}

/// `Expand(stage_0, "binder", transcript_b)`, where `transcript_b` covers the ClientHello up to the end of the ticket.
pub(crate) fn binder(stage_0: &Key, transcript: &Transcript) -> Key {
    Secret::from_key(stage_0).key("binder", &transcript.hash())
}

/// The handshake from the moment the RSA secret is known: the same on both sides, byte for byte.
pub(crate) struct Secrets {
    cipher: &'static dyn Cipher,
    suite: Suite,
    transcript: Transcript,
    master: Secret,
}

impl Secrets {
    /// `transcript` covers ClientHello, ServerHello, and ClientLogin up to the end of the RSA ciphertext; or, where a
    /// ticket is the source, ClientHello, and ServerResumption up to the sealed verdict.
    pub(crate) fn new(
        provider: &Provider,
        suite: Suite,
        transcript: Transcript,
        source: &Source<'_>,
        exchange: &SharedSecret,
    ) -> Self {
        Self {
            cipher: provider.cipher_or_missing(suite.aead),
            suite,
            transcript,
            master: Secret::master(source, exchange),
        }
    }

    /// The suite of this handshake.
    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    /// `credential_key = Expand(master, "credential", transcript up to the RSA ciphertext)`
    pub(crate) fn credential_key(&self) -> Result<Box<dyn AeadKey>, CryptoError> {
        self.key("credential")
    }

    /// Adds the rest of the ClientLogin frame.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.transcript.add(bytes);
    }

    /// `Expand(master, "resumption", transcript_3)`: the secret of the ticket that this verdict carries.
    pub(crate) fn resumption(&self) -> Key {
        self.master.key("resumption", &self.transcript.hash())
    }

    /// Seals the verdict into the room for it.
    pub(crate) fn seal_verdict(&self, verdict: &VerdictMessage<'_>, room: &mut [u8]) -> Result<(), Error> {
        seal(&*self.key("verdict")?, verdict, room)
    }

    /// Opens a sealed verdict. `Ok(None)` is an authentic rejection.
    pub(crate) fn open_verdict(
        &self,
        sealed: &[u8; limits::SERVER_VERDICT],
        key_id: KeyId,
    ) -> Result<Option<(Grant, Option<Ticket>)>, Error> {
        let mut sealed = Zeroizing::new(*sealed);
        let plaintext = once::open(&*self.key("verdict")?, sealed.as_mut_slice()).map_err(|error| match error {
            CryptoError::NotAuthentic => Error::VerdictNotAuthentic,
            other => Error::Crypto(other),
        })?;
        let verdict = codec::decode_padded::<VerdictMessage<'_>>(plaintext, limits::VERDICT)?;
        let Some(grant) = Grant::from_message(&verdict)? else {
            return Ok(None);
        };
        let (bytes, expires) = (verdict.ticket.0, verdict.ticket_expires);
        if bytes.len() > limits::MAX_TICKET || (bytes.is_empty() && expires != 0) {
            return Err(Violation::BadTicket.into());
        }
        let ticket = (!bytes.is_empty()).then(|| Ticket {
            bytes: bytes.to_vec(),
            secret: self.resumption(),
            suite: self.suite,
            key_id,
            expires: UnixTime::from_secs(expires),
        });
        Ok(Some((grant, ticket)))
    }

    /// The session that follows an accepting verdict.
    pub(crate) fn session(mut self, verdict: &[u8], side: Side, outcome: Outcome) -> Session {
        self.transcript.add(verdict);
        Session::new(self.cipher, self.suite, &self.master, &self.transcript.hash(), side, outcome)
    }

    fn key(&self, label: &str) -> Result<Box<dyn AeadKey>, CryptoError> {
        let key: Key = self.master.key(label, &self.transcript.hash());
        self.cipher.key(&key)
    }
}

/// The message in the body of a frame, which must be of type `kind`.
pub(crate) fn read<'a, M: Message<'a>>(kind: FrameType, frame: &'a [u8]) -> Result<M, Error> {
    Ok(codec::decode(frame::expect(frame, kind)?)?)
}

/// A frame with this message. A body that is too long for its type is, as always with a message of ours, due to the caller's
/// inputs.
pub(crate) fn write<'a>(kind: FrameType, message: &impl Message<'a>) -> Result<Vec<u8>, Error> {
    let body = message.encoded_len();
    let header = Header { kind, body }.to_bytes().map_err(|error| match error {
        FrameError::Length { len, max, .. } => Misuse::TooLong { what: "the message", len, limit: max }.into(),
        other => Error::Frame(other),
    })?;
    let len = body.saturating_add(header.len());
    let mut frame = Vec::with_capacity(len);
    frame.extend_from_slice(&header);
    frame.resize(len, 0);
    codec::fill(message, frame.get_mut(header.len()..).unwrap_or_default())?;
    Ok(frame)
}

/// Seals a message, and zeros after it, into the room for both and a tag.
pub(crate) fn seal<'a>(key: &dyn AeadKey, message: &impl Message<'a>, room: &mut [u8]) -> Result<(), Error> {
    let (plaintext, _) = room.split_last_chunk_mut::<{ limits::TAG }>().ok_or(CryptoError::Failed)?;
    codec::fill(message, plaintext)?;
    Ok(once::seal(key, room)?)
}

/// A peer's bad share is the peer's fault; anything else is the provider's.
pub(crate) fn from_exchange(error: CryptoError) -> Error {
    match error {
        CryptoError::BadKeyShare => Violation::BadKeyShare.into(),
        other => other.into(),
    }
}
