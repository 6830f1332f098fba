//! The session: sealed records after the login (PROTOCOL.md, "Records").
//!
//! Sans-IO like the handshake: a [`Sealer`] turns plaintext into records, an [`Opener`] turns records into plaintext, in
//! place. The adapters move the bytes.

use crate::crypto::schedule::{Key, MAX_OUTPUT, Secret};
use crate::crypto::{AeadKey, Cipher, CryptoError, PublicKey, Suite, TranscriptHash};
use crate::limits;
use crate::terms::error::{Error, Misuse, RecordError};
use crate::terms::grant::Grant;
use crate::terms::ticket::Ticket;
use crate::wire::frame::{self, FrameError, FrameType, Header};
use core::fmt;
use sha2::{Digest, Sha256};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// What an accepting verdict says.
pub(crate) struct Outcome {
    pub(crate) grant: Grant,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) resumed: bool,
    /// At the client, after a full login.
    pub(crate) server_key: Option<PublicKey>,
    /// At the client: the server proved itself before the credential left, or before the ticket was taken.
    pub(crate) proved: bool,
}

/// A login that succeeded: a named peer, and keys for both directions.
///
/// Only an accepting verdict creates one.
#[non_exhaustive]
pub struct Session {
    /// Who the peer is, and what both ends know beside the keys of their records.
    pub info: SessionInfo,
    /// What is sent goes through it.
    pub sealer: Sealer,
    /// What is received goes through it.
    pub opener: Opener,
}

impl Session {
    /// The frames that may come in a session.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::Data, FrameType::KeyUpdate, FrameType::Close];

    /// What a record adds to its data, in bytes: the frame's header and the tag.
    pub const OVERHEAD: usize = limits::FRAME_HEADER + limits::TAG;

    pub(crate) fn new(
        cipher: &'static dyn Cipher,
        suite: Suite,
        master: &Secret,
        transcript: &TranscriptHash,
        side: Side,
        outcome: Outcome,
    ) -> Self {
        let client = Direction::new(cipher, master.key("client traffic", transcript));
        let server = Direction::new(cipher, master.key("server traffic", transcript));
        let (ours, theirs) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let mut id = [0; 16];
        master.fill("session id", transcript, &mut id);
        let exporter = Box::new(master.key("exporter", transcript));
        Self {
            info: SessionInfo { outcome, suite, id: SessionId(id), exporter },
            sealer: Sealer { direction: Box::new(ours), closed: false },
            opener: Opener { direction: Box::new(theirs), end: None },
        }
    }
}

/// What both ends know of a session beside the keys of its records.
pub struct SessionInfo {
    outcome: Outcome,
    suite: Suite,
    id: SessionId,
    exporter: Box<Key>,
}

impl SessionInfo {
    /// Who the client is, and what it might do when it had logged in. ([`crate::Stream::grant`] is what it may do now.)
    pub fn login_grant(&self) -> &Grant {
        &self.outcome.grant
    }

    /// Whether a ticket took the place of a credential.
    pub fn is_resumed(&self) -> bool {
        self.outcome.resumed
    }

    /// The server's key, at the client after a full login. Keep it beside what it was trusted by, and begin the next login with
    /// it ([`crate::Server::key`]): the server then proves itself before the credential leaves.
    pub fn server_key(&self) -> Option<&PublicKey> {
        self.outcome.server_key.as_ref()
    }

    /// Whether the server proved that it holds its private key before anything secret left, at the client; never at the
    /// server. (A session is the proof of it in any case.)
    pub fn is_proved(&self) -> bool {
        self.outcome.proved
    }

    /// The ticket for the next login, at the client, if the server gave one.
    pub fn ticket(&self) -> Option<&Ticket> {
        self.outcome.ticket.as_ref()
    }

    /// The suite of the session.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// A name for this session that both ends share and that gives nothing away: for logs.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Fills `out` with key material that only the two ends of this session can compute, for protocols on top
    /// (PROTOCOL.md, "Exporter"). The label has 1 to 255 bytes and no NUL; `out` 1 to 8160 bytes.
    ///
    /// # Errors
    /// [`Misuse`] for a label or a length out of bounds.
    pub fn export(&self, label: &str, context: &[u8], out: &mut [u8]) -> Result<(), Misuse> {
        if label.is_empty() || label.len() > 255 || label.contains('\0') {
            return Err(Misuse::BadInput("the exporter label"));
        }
        if out.is_empty() {
            return Err(Misuse::BadInput("the exported key"));
        }
        if out.len() > MAX_OUTPUT {
            return Err(Misuse::TooLong { what: "the exported key", len: out.len(), limit: MAX_OUTPUT });
        }
        let context: [u8; 32] = Sha256::digest(context).into();
        Secret::from_key(&self.exporter).fill(&format!("export {label}"), &context, out);
        Ok(())
    }
}

/// A public name of a session: 16 bytes, printed in hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a record held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Received<'a> {
    /// The peer's next bytes: 1 to 16384.
    Data(&'a [u8]),
    /// The peer changed its key; nothing to do.
    KeyUpdate,
    /// The peer will send no more. Nothing was cut off.
    Close,
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::KeyUpdate => f.write_str("KeyUpdate"),
            Self::Close => f.write_str("Close"),
        }
    }
}

/// The sending half of a session.
pub struct Sealer {
    direction: Box<Direction>,
    closed: bool,
}

impl Sealer {
    /// Seals `data` into as many records as it takes and appends them to `out`.
    ///
    /// # Errors
    /// [`Misuse::Closed`] after [`Sealer::close`]; [`Error::Crypto`].
    pub fn seal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if self.closed {
            return Err(Misuse::Closed.into());
        }
        for piece in data.chunks(limits::MAX_RECORD) {
            if self.direction.sealed >= limits::RECORDS_PER_KEY {
                self.update_key(out)?;
            }
            self.record(FrameType::Data, piece, out)?;
        }
        Ok(())
    }

    /// Seals one record where it is: `frame` has 3 bytes of room, 1 to 16384 bytes of data, and 16 bytes of room, and is the
    /// frame to send afterwards. For whoever fills a buffer anyway: [`Sealer::seal`] copies.
    ///
    /// # Errors
    /// [`Misuse::BadInput`] without data, [`Misuse::TooLong`], [`Misuse::Closed`], [`Misuse::KeyUpdateDue`] after 2^24 records
    /// under one key; [`Error::Crypto`], and then `frame` is to be thrown away.
    pub fn seal_in_place(&mut self, frame: &mut [u8]) -> Result<(), Error> {
        let limit = limits::MAX_RECORD.saturating_add(Session::OVERHEAD);
        if frame.len() > limit {
            return Err(Misuse::TooLong { what: "the record", len: frame.len(), limit }.into());
        }
        if frame.len() <= Session::OVERHEAD {
            return Err(Misuse::BadInput("the record").into());
        }
        if self.direction.sealed >= limits::RECORDS_PER_KEY {
            return Err(Misuse::KeyUpdateDue.into());
        }
        self.seal_frame(FrameType::Data, frame)
    }

    /// Appends a key update to `out`: what is sealed from now on is under a new key, and the old one is gone. Does nothing
    /// where nothing was sealed under the current key.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub fn update_key(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.closed {
            return Err(Misuse::Closed.into());
        }
        if self.direction.sealed == 0 {
            return Ok(());
        }
        self.record(FrameType::KeyUpdate, b"", out)?;
        self.direction.next_key();
        Ok(())
    }

    /// Appends the authenticated end of this direction to `out`. The other direction goes on.
    ///
    /// # Errors
    /// [`Misuse::Closed`] the second time.
    pub fn close(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.record(FrameType::Close, b"", out)?;
        self.closed = true;
        Ok(())
    }

    /// Gives back the memory of the expanded key, for a session that will be idle: some 600 bytes with AES-256-GCM of the
    /// `rustcrypto` provider. The next record makes it anew.
    pub fn rest(&mut self) {
        self.direction.keys = None;
    }

    /// Whether this direction has ended.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Appends a record of `data`.
    fn record(&mut self, kind: FrameType, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        out.reserve(Session::OVERHEAD.saturating_add(data.len()));
        out.extend_from_slice(&[0; limits::FRAME_HEADER]);
        out.extend_from_slice(data);
        out.extend_from_slice(&[0; limits::TAG]);
        let sealed = self.seal_frame(kind, out.get_mut(start..).unwrap_or_default());
        if sealed.is_err() {
            // No plaintext is left behind in a buffer that is on its way to the wire.
            out.truncate(start);
        }
        sealed
    }

    /// `frame = header || AEAD-Seal(key, nonce, header, data)`, where the data is in its place.
    fn seal_frame(&mut self, kind: FrameType, frame: &mut [u8]) -> Result<(), Error> {
        if self.closed {
            return Err(Misuse::Closed.into());
        }
        let body = frame.len().saturating_sub(limits::FRAME_HEADER);
        let header = Header { kind, body }.to_bytes()?;
        let (front, rest) = frame.split_first_chunk_mut().ok_or(CryptoError::Failed)?;
        let (data, tag) = rest.split_last_chunk_mut().ok_or(CryptoError::Failed)?;
        *front = header;
        match self.direction.next().and_then(|(key, nonce)| key.seal(&nonce, &header, data)) {
            Ok(sealed) => *tag = sealed,
            Err(error) => {
                self.closed = true;
                return Err(error.into());
            }
        }
        Ok(())
    }
}

/// The receiving half of a session.
pub struct Opener {
    direction: Box<Direction>,
    /// How it ended: by the peer's close, or by an error.
    end: Option<Result<(), RecordError>>,
}

impl Opener {
    /// Opens one whole frame in place.
    ///
    /// # Errors
    /// [`Error::Record`]; the session is over then, and every later call fails.
    pub fn open<'a>(&mut self, frame: &'a mut [u8]) -> Result<Received<'a>, Error> {
        Ok(self.receive(frame)?)
    }

    pub(crate) fn receive<'a>(&mut self, frame: &'a mut [u8]) -> Result<Received<'a>, RecordError> {
        let received = self.record(frame);
        match &received {
            Ok(Received::Close) => self.end = Some(Ok(())),
            // The first error is the one that says what happened.
            Err(error) if self.end.is_none() => self.end = Some(Err(*error)),
            _ => {}
        }
        received
    }

    /// Gives back the memory of the expanded key, for a session that will be idle: some 600 bytes with AES-256-GCM of the
    /// `rustcrypto` provider. The next record makes it anew.
    pub fn rest(&mut self) {
        self.direction.keys = None;
    }

    /// The stream ended: after the peer's close, that is the end; otherwise somebody may have cut it.
    ///
    /// # Errors
    /// [`RecordError::Truncated`], or the error that ended the session before.
    pub fn end(&self) -> Result<(), RecordError> {
        self.end.unwrap_or(Err(RecordError::Truncated))
    }

    fn record<'a>(&mut self, frame: &'a mut [u8]) -> Result<Received<'a>, RecordError> {
        if self.end.is_some() {
            return Err(RecordError::AfterEnd);
        }
        let (kind, _) = frame::split(frame).map_err(RecordError::Frame)?;
        if !Session::EXPECTS.contains(&kind) {
            return Err(RecordError::Frame(FrameError::UnexpectedType(kind)));
        }
        // One record past the limit is left for the key update that must come then.
        if self.direction.sealed > limits::RECORDS_PER_KEY {
            return Err(RecordError::KeyOverused);
        }
        // An update of an unused key only costs: a flood of them would keep a reader busy and give it nothing.
        if kind == FrameType::KeyUpdate && self.direction.sealed == 0 {
            return Err(RecordError::IdleUpdate);
        }
        let (header, body) = frame.split_at_mut(limits::FRAME_HEADER);
        let (data, tag) = body.split_last_chunk_mut().ok_or(RecordError::NotAuthentic)?;
        let (key, nonce) = self.direction.next()?;
        key.open(&nonce, header, data, tag).map_err(|_| RecordError::NotAuthentic)?;
        Ok(match kind {
            FrameType::KeyUpdate => {
                self.direction.next_key();
                Received::KeyUpdate
            }
            FrameType::Close => Received::Close,
            _ => Received::Data(data),
        })
    }
}

/// One direction's key, and its place in the sequence.
struct Direction {
    cipher: &'static dyn Cipher,
    secret: Key,
    /// Made when the first record needs them: expanded, the key is larger than all the rest.
    keys: Option<Keys>,
    /// Records so far under this key.
    sealed: u64,
}

struct Keys {
    aead: Box<dyn AeadKey>,
    iv: [u8; 12],
}

impl Direction {
    fn new(cipher: &'static dyn Cipher, secret: Key) -> Self {
        Self { cipher, secret, keys: None, sealed: 0 }
    }

    /// `key = Expand(secret, "key", ""), iv = Expand(secret, "iv", "")`
    fn keys(&mut self) -> Result<&Keys, CryptoError> {
        let keys = match self.keys.take() {
            Some(keys) => keys,
            None => {
                let from = Secret::from_key(&self.secret);
                let (mut key, mut iv) = (Key::new([0; 32]), [0; 12]);
                from.fill("key", b"", key.as_mut_slice());
                from.fill("iv", b"", &mut iv);
                Keys { aead: self.cipher.key(&key)?, iv }
            }
        };
        Ok(self.keys.insert(keys))
    }

    /// `secret' = Expand(secret, "update", "")`; the sequence starts over.
    fn next_key(&mut self) {
        let mut secret = Key::new([0; 32]);
        Secret::from_key(&self.secret).fill("update", b"", secret.as_mut_slice());
        *self = Self::new(self.cipher, secret);
    }

    /// The key and the nonce of the next record: `nonce = iv XOR (0^32 || u64(sequence number))` (RFC 8446, section 5.3).
    fn next(&mut self) -> Result<(&dyn AeadKey, [u8; 12]), CryptoError> {
        let sequence = self.sealed;
        self.sealed = sequence.checked_add(1).ok_or(CryptoError::Failed)?;
        let Keys { aead, iv } = self.keys()?;
        let mut nonce = *iv;
        for (slot, byte) in nonce.iter_mut().skip(4).zip(sequence.to_be_bytes()) {
            *slot ^= byte;
        }
        Ok((&**aead, nonce))
    }
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionInfo").field("id", &self.id).field("grant", self.login_grant()).finish_non_exhaustive()
    }
}

crate::opaque_debug!(Session, Sealer, Opener);

#[cfg(all(test, feature = "rustcrypto"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::crypto::{Aead, rustcrypto};

    fn pair() -> (Sealer, Opener) {
        let cipher = rustcrypto::provider().cipher_or_missing(Aead::Aes256Gcm);
        let direction = || Direction::new(cipher, Key::new([7; 32]));
        (
            Sealer { direction: Box::new(direction()), closed: false },
            Opener { direction: Box::new(direction()), end: None },
        )
    }

    /// As if this many records had crossed under the first key.
    fn pair_after(records: u64) -> (Sealer, Opener) {
        let (mut sealer, mut opener) = pair();
        (sealer.direction.sealed, opener.direction.sealed) = (records, records);
        (sealer, opener)
    }

    #[test]
    fn sealing_in_place_stops_where_the_key_is_due() {
        let (mut sealer, mut opener) = pair_after(limits::RECORDS_PER_KEY);
        let mut frame = [0; 20];
        assert_eq!(sealer.seal_in_place(&mut frame), Err(Misuse::KeyUpdateDue.into()));
        let mut update = Vec::new();
        sealer.update_key(&mut update).unwrap();
        sealer.seal_in_place(&mut frame).unwrap();
        assert_eq!(opener.open(&mut update).unwrap(), Received::KeyUpdate);
        assert_eq!(opener.open(&mut frame).unwrap(), Received::Data(&[0]));
    }

    #[test]
    fn a_sender_updates_its_key_after_2_to_the_24_records() {
        let (mut sealer, mut opener) = pair_after(limits::RECORDS_PER_KEY);
        let mut out = Vec::new();
        sealer.seal(b"next", &mut out).unwrap();
        let (update, data) = out.split_at_mut(limits::FRAME_HEADER + limits::TAG);
        assert_eq!(opener.open(update).unwrap(), Received::KeyUpdate);
        assert_eq!(opener.open(data).unwrap(), Received::Data(b"next"));
        assert_eq!((sealer.direction.sealed, opener.direction.sealed), (1, 1));
    }

    #[test]
    fn a_write_of_several_records_updates_its_key_where_that_is_due() {
        let (mut sealer, mut opener) = pair_after(limits::RECORDS_PER_KEY - 1);
        let mut out = Vec::new();
        sealer.seal(&vec![7; 2 * limits::MAX_RECORD], &mut out).unwrap();
        let (last, out) = out.split_at_mut(Session::OVERHEAD + limits::MAX_RECORD);
        let (update, next) = out.split_at_mut(Session::OVERHEAD);
        assert!(matches!(opener.open(last), Ok(Received::Data(_))));
        assert_eq!(opener.open(update), Ok(Received::KeyUpdate));
        assert!(matches!(opener.open(next), Ok(Received::Data(_))));
        assert_eq!(sealer.direction.sealed, 1);
    }

    #[test]
    fn r6_an_update_of_an_unused_key_is_refused() {
        let (mut sealer, mut opener) = pair();
        let mut out = Vec::new();
        sealer.update_key(&mut out).unwrap();
        assert_eq!(out, b"", "an honest sender does not send one");
        sealer.record(FrameType::KeyUpdate, b"", &mut out).unwrap();
        assert_eq!(opener.open(&mut out), Err(RecordError::IdleUpdate.into()));
    }

    #[test]
    fn r5_a_key_used_past_2_to_the_24_records_is_refused() {
        let (mut sealer, mut opener) = pair_after(limits::RECORDS_PER_KEY + 1);
        let mut out = Vec::new();
        sealer.record(FrameType::Data, b"too many", &mut out).unwrap();
        assert_eq!(opener.open(&mut out), Err(RecordError::KeyOverused.into()));
    }
}
