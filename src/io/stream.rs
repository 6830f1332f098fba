//! The stream after a login, and what it is made of: sealed bytes on their way out, opened bytes on their way in. `blocking.rs`
//! and `tokio.rs` move them.

use super::events::{Record, Seat};
use super::link::Link;
use super::live::{CurrentGrant, Live};
use super::script::Started;
use crate::crypto::Suite;
use crate::limits;
use crate::session::{Opener, Received, Sealer, Session, SessionId, SessionInfo};
use crate::terms::error::{Error, RecordError};
use crate::terms::grant::{Forbidden, Grant};
use crate::wire::frame::{self, Header};
use core::fmt;
use core::ops::Range;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// Plaintext that one write takes at the most: several records go to the transport in one call.
const BATCH: usize = 4 * limits::MAX_RECORD;

/// What a session keeps of a buffer for records that it has done with: room for small ones, so that only large ones need a new one.
const KEPT: usize = 4 * 1024;

/// The encrypted stream after a login, with the peer's name on it: `Read + Write` where the transport is, and, with the
/// feature `tokio`, `AsyncRead + AsyncWrite` where the transport is.
///
/// Reading gives 0 bytes only after the peer's authenticated close. A stream that was cut, or altered on the way, gives an
/// [`std::io::Error`] whose inner error is a [`crate::Error`], and from then on writes fail, too. A peer that has left without a close is
/// an `UnexpectedEof` to whoever reads, and a `BrokenPipe` to whoever writes.
///
/// A write takes up to 64 KiB, seals them into records of their own, and sends them as far as the transport takes them in
/// time; the rest goes out with the next write or flush. Many small writes are better put through a buffer.
///
/// Dropping the stream does not close it: end it with `finish_blocking` or `close` over blocking streams, with `finish` or a
/// shutdown over tokio's, or the peer will rightly report a cut. (For pools, which drop what idles, there is
/// `closing_on_drop`.) After a close, reading goes on.
pub struct Stream<S> {
    pub(super) transport: S,
    pub(super) info: SessionInfo,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    /// The session's place among those that the acceptor bounds.
    pub(super) seat: Option<Arc<Seat>>,
}

impl<S> Stream<S> {
    /// At a client, where nobody looks at it again.
    pub(super) fn of_client(transport: S, session: Session) -> Self {
        let (info, inbox, outbox) = parts(session);
        Self { transport, info, inbox, outbox, seat: None }
    }

    /// At a server; what waits on the transport is ended by the link's stopper, if there is one.
    ///
    /// # Errors
    /// The link's, where there is no transport after all, or no stopper where there should be. That the session has begun was told by then, so
    /// its end is, too.
    pub(super) fn of_server<L: Link<Stream = S>>(mut link: L, begun: Started, record: Record) -> io::Result<Self> {
        let Started { session, mut place, sessions, shown } = begun;
        let (stopper, transport) = match link.stopper() {
            Ok(stopper) => (stopper, link.into_stream()),
            Err(error) => (None, Err(error)),
        };
        let (info, inbox, outbox) = parts(session);
        let live = &inbox.live;
        live.set_stopper(stopper);
        place.enter(&sessions, live, shown);
        let seat = Arc::new(Seat::new(record, place, Arc::clone(live)));
        let transport = transport.map_err(|error| live.blame(error))?;
        Ok(Self { transport, info, inbox, outbox, seat: Some(seat) })
    }

    /// Who the client is, and what it may do now. At a server it is looked at again while the session lasts ([`crate::Recheck`]);
    /// [`SessionInfo::login_grant`] is what the login gave, and all that a client knows. It stays as it was when the session is ended from
    /// outside: to decide, ask [`Stream::permits`] or [`Stream::require`].
    pub fn grant(&self) -> Arc<Grant> {
        self.inbox.live.grant()
    }

    /// Whether the client may do this now; nothing, once the session was ended from outside.
    #[must_use = "this decides what they may do"]
    pub fn permits(&self, permission: &str) -> bool {
        self.inbox.live.permits(permission)
    }

    /// As [`Stream::permits`], for `?`.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn require(&self, permission: &str) -> Result<(), Forbidden> {
        self.inbox.live.require(permission)
    }

    /// What the client may do, from now on and from anywhere: for whoever splits the stream, or hands it on.
    pub fn current_grant(&self) -> CurrentGrant {
        CurrentGrant(Arc::clone(&self.inbox.live))
    }

    /// The suite of the session.
    pub fn suite(&self) -> Suite {
        self.info.suite()
    }

    /// The session's public name, the same at both ends: for logs.
    pub fn id(&self) -> SessionId {
        self.info.id()
    }

    /// What is known of the session: its ticket and its exporter among it.
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// The transport underneath, for its addresses and options. Reading from it or writing to it breaks the stream.
    pub fn get_ref(&self) -> &S {
        &self.transport
    }

    /// As [`Stream::get_ref`].
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.transport
    }

    /// The transport underneath. What was read of it and not opened, or sealed and not sent, is lost, and the session over:
    /// end it first.
    pub fn into_inner(self) -> S {
        self.transport
    }

    /// Changes the sending key, so that what was sent so far can't be read with what is in memory from now on. The change
    /// goes out with the next write or flush.
    ///
    /// # Errors
    /// [`crate::Misuse::Closed`] after a close; [`Error::Record`] in a broken session.
    pub fn update_key(&mut self) -> Result<(), Error> {
        self.outbox.update_key()
    }
}

impl<S> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What is known of a session, and both directions of it, as an adapter moves them.
fn parts(Session { info, sealer, opener }: Session) -> (SessionInfo, Inbox, Outbox) {
    let live = Arc::new(Live::new(Arc::new(info.login_grant().clone())));
    let inbox = Inbox { opener, bytes: Vec::new(), ready: 0..0, next: 0, closed: false, live: Arc::clone(&live) };
    (info, inbox, Outbox { sealer, sealed: Vec::new(), sent: 0, lacks: false, live })
}

/// Sealed bytes on their way out. A record is never sent in part: what the transport did not take is kept.
///
/// Once the other direction has found the session broken, nothing more goes out (PROTOCOL.md, "Records"); once it was ended from
/// outside, a close at the most.
pub(super) struct Outbox {
    sealer: Sealer,
    sealed: Vec<u8>,
    sent: usize,
    /// The last write failed: not all was said that was to be.
    lacks: bool,
    pub(super) live: Arc<Live>,
}

impl Outbox {
    /// Seals from the front of `data`, and gives how many bytes of it: at most [`BATCH`]. Call it with nothing pending.
    pub(super) fn seal(&mut self, data: &[u8]) -> Result<usize, Error> {
        self.check()?;
        let piece = data.get(..data.len().min(BATCH)).unwrap_or_default();
        let records = piece.len().div_ceil(limits::MAX_RECORD);
        self.sealed.reserve(piece.len().saturating_add(records.saturating_mul(Session::OVERHEAD)));
        self.sealer.seal(piece, &mut self.sealed)?;
        self.live.traffic.sent(piece.len());
        // What was to be written before was tried again, or is not wanted any more.
        self.lacks &= piece.is_empty();
        Ok(piece.len())
    }

    pub(super) fn update_key(&mut self) -> Result<(), Error> {
        self.check()?;
        self.sealer.update_key(&mut self.sealed)
    }

    /// Seals the close, the first time it is asked to.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.check()?;
        if !self.sealer.is_closed() {
            self.sealer.close(&mut self.sealed)?;
            self.live.traffic.closed();
        }
        Ok(())
    }

    /// Something that was to be written is not.
    pub(super) fn note_lack(&mut self) {
        self.lacks = true;
    }

    /// The close of a session that was ended from outside, where all that was written has left, and no write has failed: otherwise
    /// a clean end would make half of it look whole. There once.
    pub(super) fn farewell(&mut self) -> Option<&[u8]> {
        let is_due = self.live.is_revoked() && !self.live.is_broken() && !self.sealer.is_closed();
        if !is_due || self.lacks || !self.sealed.is_empty() {
            return None;
        }
        self.sealer.close(&mut self.sealed).ok()?;
        Some(&self.sealed)
    }

    /// What is still to be sent.
    ///
    /// # Errors
    /// What broke the session; nothing is to be sent then.
    pub(super) fn pending(&self) -> Result<&[u8], Error> {
        self.check()?;
        Ok(self.sealed.get(self.sent..).unwrap_or_default())
    }

    /// What the transport did with what is pending.
    ///
    /// # Errors
    /// The transport's; where it takes nothing any more, too.
    pub(super) fn written(&mut self, taken: io::Result<usize>) -> io::Result<()> {
        match taken {
            Ok(0) => Err(self.live.blame(ErrorKind::WriteZero.into())),
            Ok(count) => {
                self.sent = self.sent.saturating_add(count);
                if self.sent >= self.sealed.len() {
                    self.sealed.clear();
                    // Beside sealing as much, making a large buffer anew costs next to nothing.
                    self.sealed.shrink_to(KEPT);
                    self.sent = 0;
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(self.live.blame(error)),
        }
    }

    /// Gives back the memory of the buffer and the key if everything was sent: an idle session holds none.
    pub(super) fn release(&mut self) {
        if self.sealed.is_empty() {
            self.sealed = Vec::new();
            self.sealer.rest();
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.live.check()
    }
}

/// Sealed bytes as they arrive, and what was opened of them and not read yet.
pub(super) struct Inbox {
    opener: Opener,
    /// Bytes from the transport; records are opened in place.
    bytes: Vec<u8>,
    /// Opened plaintext in `bytes` that was not read yet.
    ready: Range<usize>,
    /// Where in `bytes` the next record begins.
    next: usize,
    closed: bool,
    pub(super) live: Arc<Live>,
}

impl Inbox {
    /// Reads opened bytes: `Some(0)` is the peer's close, `None` that more bytes of the transport are needed.
    ///
    /// An error is final: every later call gives it again, and no byte.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<Option<usize>, Error> {
        loop {
            if !self.ready.is_empty() && !self.live.is_revoked() {
                return Ok(Some(self.copy(out)));
            }
            self.live.check()?;
            if self.closed {
                return Ok(Some(0));
            }
            match self.open_next() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => self.fail(error),
            }
        }
    }

    /// Bytes that the transport gave. Call it when [`Inbox::read`] needs more, so that they never pile up.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.next > 0 {
            self.bytes.drain(..self.next.min(self.bytes.len()));
            (self.next, self.ready) = (0, 0..0);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The transport has ended: too early, unless the peer has closed.
    pub(super) fn finish(&mut self) {
        if !self.closed {
            self.fail(RecordError::Truncated);
        }
    }

    /// Gives back the memory of the buffer and the key if nothing is in it: an idle session holds none.
    pub(super) fn release(&mut self) {
        if self.next >= self.bytes.len() {
            self.bytes = Vec::new();
            self.opener.rest();
            (self.next, self.ready) = (0, 0..0);
        }
    }

    /// Gives back most of the buffer's memory if nothing is in it: for whoever is going to wait, maybe, and has no way to know.
    pub(super) fn shrink(&mut self) {
        if self.next >= self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            (self.next, self.ready) = (0, 0..0);
        }
    }

    fn fail(&self, error: RecordError) {
        self.live.fail(error);
    }

    fn copy(&mut self, out: &mut [u8]) -> usize {
        let ready = self.bytes.get(self.ready.clone()).unwrap_or_default();
        let count = ready.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.ready.start = self.ready.start.saturating_add(count);
        self.live.traffic.received(count);
        count
    }

    /// Opens the next record; false if it is not complete yet.
    fn open_next(&mut self) -> Result<bool, RecordError> {
        let waiting = self.bytes.get_mut(self.next..).unwrap_or_default();
        frame::check_type(waiting, Session::EXPECTS).map_err(RecordError::Frame)?;
        let Some(header) = Header::parse(waiting).map_err(RecordError::Frame)? else {
            return Ok(false);
        };
        let length = limits::FRAME_HEADER.saturating_add(header.body);
        let Some(frame) = waiting.get_mut(..length) else {
            return Ok(false);
        };
        match self.opener.receive(frame)? {
            Received::Data(data) => {
                let start = self.next.saturating_add(limits::FRAME_HEADER);
                self.ready = start..start.saturating_add(data.len());
            }
            Received::KeyUpdate => {}
            Received::Close => {
                self.closed = true;
                self.live.traffic.peer_closed();
            }
        }
        self.next = self.next.saturating_add(length);
        Ok(true)
    }
}
