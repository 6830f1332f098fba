//! What both machines share: configuration checks, and everything from the RSA secret on.

pub mod client;
pub mod server;

use crate::crypto::once;
use crate::crypto::schedule::{Key, Secret, Sources};
use crate::crypto::{
    AeadKey, Cipher, CryptoError, CryptoRng, Provider, PublicKey, SharedSecret, Suite, Transcript, TranscriptHash,
};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::session::{Outcome, Session, Side};
use crate::terms::error::{Error, Misuse, Violation};
use crate::terms::factor::Prompt;
use crate::terms::grant::{Grant, NoGrant};
use crate::wire::codec::{self, Bytes, Extension, Extensions, Field, Message, VerdictMessage};
use crate::wire::frame::{self, FrameError, FrameType, Header};
use subtle::{Choice, ConstantTimeEq};
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

/// A message's extensions: no number twice, and no more than so many bytes together. What they say is for others to read, or
/// nobody.
pub(crate) fn check_extensions(extensions: &Extensions<'_>, together: usize) -> Result<(), Violation> {
    if has_duplicate(extensions.iter().map(|extension| extension.number)) {
        return Err(Violation::Duplicate("the extensions"));
    }
    match extensions.size().saturating_sub(u8::LARGEST) {
        size if size > together => Err(Violation::Extensions(size)),
        _ => Ok(()),
    }
}

/// Now and then, an extension that nobody may understand (RFC 8701), so that skipping is exercised. The nonce decides, which is
/// random.
pub(crate) fn reserved_extensions(nonce: &[u8; limits::NONCE]) -> Extensions<'static> {
    let mut extensions = Extensions::new();
    let roll = nonce.last().copied().unwrap_or(1);
    if roll % 8 == 0 {
        let nibble = u16::from(roll >> 4);
        let number = nibble.saturating_mul(0x1010).saturating_add(0x0a0a);
        // There is room for one.
        let _ = extensions.push(Extension { number, data: Bytes(&[]) });
    }
    extensions
}

/// Seals a fresh secret, and the transcript it is for, to the server's key: into the room for a ciphertext.
pub(crate) fn seal_secret(
    provider: &Provider,
    key: &PublicKey,
    transcript: &Transcript,
    rng: &mut dyn CryptoRng,
    room: &mut [u8],
) -> Result<Box<Zeroizing<[u8; limits::SECRET]>>, CryptoError> {
    // OAEP(secret || transcript hash): the secret opens nothing but this connection.
    let mut message = Box::new(Zeroizing::new([0; limits::SEALED_SECRET]));
    let (secret, bound_to) = message.split_at_mut(limits::SECRET);
    rng.fill_bytes(secret);
    bound_to.copy_from_slice(&transcript.hash());
    let mut secret = Box::new(Zeroizing::new([0; limits::SECRET]));
    secret.copy_from_slice(message.split_at(limits::SECRET).0);
    provider.rsa.encrypt(key, &message, rng, room)?;
    Ok(secret)
}

/// `Expand(stage_0, "binder", transcript_b)`, where `transcript_b` covers all of the ClientHello before the binder.
pub(crate) fn binder(stage_0: &Key, transcript: &Transcript) -> Key {
    Secret::from_key(stage_0).key("binder", &transcript.hash())
}

/// Whether the peer has shown this, compared to its end wherever the two differ. Apart from what follows from it: that may branch, and the comparison may
/// not (`benches/memcheck.txt`).
pub(crate) fn is_shown(ours: &Key, theirs: &[u8]) -> Choice {
    ours.ct_eq(theirs)
}

/// What a client's key signs: `20^64 || "countersign v1 client signature" || 00 || transcript_r || lp(user)`.
///
/// The blanks and the words keep it apart from whatever else the key may sign (RFC 8446, section 4.4.3).
pub(crate) fn to_sign(transcript_r: &TranscriptHash, user: &str) -> Vec<u8> {
    let mut out = vec![b' '; 64];
    out.extend_from_slice(b"countersign v1 client signature\0");
    out.extend_from_slice(if lacks(Check::SignedTranscript) { &[0; 32] } else { transcript_r });
    // A user name is never as long as that.
    out.extend_from_slice(&u16::try_from(user.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(user.as_bytes());
    out
}

/// What a verdict says.
pub(crate) enum Opened<'v> {
    Granted(Grant, Option<NewTicket<'v>>),
    Asked(Prompt),
    Not(NoGrant),
}

/// A ticket in a verdict: its bytes, its lifetime in seconds, its secret.
pub(crate) struct NewTicket<'v> {
    pub(crate) bytes: &'v [u8],
    pub(crate) lifetime: u64,
    pub(crate) secret: Box<Key>,
}

/// The handshake from the moment the secrets are known: the same on both sides, byte for byte.
pub(crate) struct Secrets {
    cipher: &'static dyn Cipher,
    suite: Suite,
    transcript: Transcript,
    master: Box<Secret>,
}

impl Secrets {
    /// `transcript` covers everything before what is computed first: the proof, the sealed credential, or the sealed verdict of
    /// a ServerResumption.
    pub(crate) fn new(
        provider: &Provider,
        suite: Suite,
        transcript: Transcript,
        sources: Sources<'_>,
        exchange: &SharedSecret,
    ) -> Self {
        Self {
            cipher: provider.cipher_or_missing(suite.aead),
            suite,
            transcript,
            master: Box::new(Secret::master(sources, exchange)),
        }
    }

    /// The suite of this handshake.
    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    /// `proof = Expand(master, "proof", transcript up to the proof)`
    pub(crate) fn proof(&self) -> Key {
        self.master.key("proof", &self.transcript.hash())
    }

    /// The transcript so far.
    pub(crate) fn transcript_hash(&self) -> TranscriptHash {
        self.transcript.hash()
    }

    /// `credential_key = Expand(master, "credential", transcript_r)`
    pub(crate) fn credential_key(&self, transcript_r: &TranscriptHash) -> Result<Box<dyn AeadKey>, CryptoError> {
        let key: Key = self.master.key("credential", transcript_r);
        self.cipher.key(&key)
    }

    /// `factor_key = Expand(master, "factor", transcript_f)`, after the ServerVerdict that asks.
    pub(crate) fn factor_key(&self) -> Result<Box<dyn AeadKey>, CryptoError> {
        self.key("factor")
    }

    /// Adds what comes next of the frames.
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

    /// Opens a sealed verdict, in `sealed`.
    pub(crate) fn open_verdict<'v>(&self, sealed: &'v mut [u8; limits::SERVER_VERDICT]) -> Result<Opened<'v>, Error> {
        let plaintext = once::open(&*self.key("verdict")?, sealed.as_mut_slice()).map_err(|error| match error {
            CryptoError::NotAuthentic => Error::VerdictNotAuthentic,
            other => Error::Crypto(other),
        })?;
        let verdict = codec::decode_padded::<VerdictMessage<'_>>(plaintext, limits::VERDICT)?;
        check_extensions(&verdict.extensions, limits::MAX_VERDICT_EXTENSIONS)?;
        let grant = match Grant::from_message(&verdict)? {
            Ok(grant) => grant,
            Err(NoGrant::Factor) => return Ok(Opened::Asked(Prompt::of(&verdict.extensions)?)),
            Err(no_grant) => return Ok(Opened::Not(no_grant)),
        };
        let (bytes, lifetime) = (verdict.ticket.0, verdict.ticket_lifetime);
        if bytes.len() > limits::MAX_TICKET || bytes.is_empty() != (lifetime == 0) {
            return Err(Violation::BadTicket.into());
        }
        let ticket = (lifetime > 0).then(|| NewTicket { bytes, lifetime, secret: Box::new(self.resumption()) });
        Ok(Opened::Granted(grant, ticket))
    }

    /// The session that follows an accepting verdict.
    pub(crate) fn session(mut self, verdict: &[u8], side: Side, outcome: Outcome) -> Session {
        self.transcript.add(verdict);
        Session::new(self.cipher, self.suite, &self.master, &self.transcript.hash(), side, outcome)
    }

    /// The session that follows a ServerResumption, and the key of the Confirm before it.
    pub(crate) fn resumed(
        mut self,
        verdict: &[u8],
        side: Side,
        outcome: Outcome,
    ) -> Result<(Session, Box<dyn AeadKey>), CryptoError> {
        self.transcript.add(verdict);
        let transcript = self.transcript.hash();
        let confirm = self.cipher.key(&self.master.key("confirm", &transcript))?;
        Ok((Session::new(self.cipher, self.suite, &self.master, &transcript, side, outcome), confirm))
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
