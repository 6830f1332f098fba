//! What every adapter's stream is made of: sealed bytes on their way out, opened bytes on their way in. No transport.

use crate::error::{Error, RecordError};
use crate::frame::{self, Header};
use crate::limits;
use crate::session::{Opener, Received, Sealer, Session};
use core::ops::Range;

/// Plaintext that one write takes at the most: several records go to the transport in one call.
const BATCH: usize = 4 * limits::MAX_RECORD;

/// Sealed bytes on their way out. A record is never sent in part: what the transport did not take is kept.
pub(crate) struct Outbox {
    sealer: Sealer,
    sealed: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub(crate) fn new(sealer: Sealer) -> Self {
        Self { sealer, sealed: Vec::new(), sent: 0 }
    }

    /// Seals from the front of `data`, and gives how many bytes of it: at most [`BATCH`]. Call it with nothing pending.
    pub(crate) fn seal(&mut self, data: &[u8]) -> Result<usize, Error> {
        let piece = data.get(..data.len().min(BATCH)).unwrap_or_default();
        self.sealer.seal(piece, &mut self.sealed)?;
        Ok(piece.len())
    }

    pub(crate) fn update_key(&mut self) -> Result<(), Error> {
        self.sealer.update_key(&mut self.sealed)
    }

    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.sealer.close(&mut self.sealed)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn is_closed(&self) -> bool {
        self.sealer.is_closed()
    }

    /// What is still to be sent.
    pub(crate) fn pending(&self) -> &[u8] {
        self.sealed.get(self.sent..).unwrap_or_default()
    }

    /// Gives back the buffer's memory if everything in it was sent: an idle session holds none.
    #[cfg(feature = "tokio")]
    pub(crate) fn release(&mut self) {
        if self.pending().is_empty() {
            self.sealed = Vec::new();
        }
    }

    /// The transport took this many bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count);
        if self.pending().is_empty() {
            self.sealed.clear();
            self.sent = 0;
        }
    }
}

/// Sealed bytes as they arrive, and what was opened of them and not read yet.
pub(crate) struct Inbox {
    opener: Opener,
    /// Bytes from the transport; records are opened in place.
    bytes: Vec<u8>,
    /// Opened plaintext in `bytes` that was not read yet.
    ready: Range<usize>,
    /// Where in `bytes` the next record begins.
    next: usize,
    end: Option<Result<(), RecordError>>,
}

impl Inbox {
    pub(crate) fn new(opener: Opener) -> Self {
        Self { opener, bytes: Vec::new(), ready: 0..0, next: 0, end: None }
    }

    /// Reads opened bytes: `Some(0)` is the peer's close, `None` that more bytes of the transport are needed.
    ///
    /// An error is final: every later call gives it again, and no byte.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<Option<usize>, Error> {
        loop {
            if !self.ready.is_empty() {
                return Ok(Some(self.copy(out)));
            }
            if let Some(end) = self.end {
                return end.map(|()| Some(0)).map_err(Error::Record);
            }
            match self.open_next() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => self.end = Some(Err(error)),
            }
        }
    }

    /// Bytes that the transport gave. Call it when [`Inbox::read`] needs more, so that they never pile up.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.next > 0 {
            self.bytes.drain(..self.next.min(self.bytes.len()));
            (self.next, self.ready) = (0, 0..0);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Fails once the session is broken: nothing may be sent then either (PROTOCOL.md, "Session").
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.end {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The transport has ended.
    pub(crate) fn finish(&mut self) {
        if self.end.is_none() {
            self.end = Some(Err(RecordError::Truncated));
        }
    }

    /// Gives back the buffer's memory if nothing is in it: an idle session holds none.
    #[cfg(feature = "tokio")]
    pub(crate) fn release(&mut self) {
        if self.next >= self.bytes.len() {
            self.bytes = Vec::new();
            (self.next, self.ready) = (0, 0..0);
        }
    }

    fn copy(&mut self, out: &mut [u8]) -> usize {
        let ready = self.bytes.get(self.ready.clone()).unwrap_or_default();
        let count = ready.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.ready.start = self.ready.start.saturating_add(count);
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
            Received::Close => self.end = Some(Ok(())),
        }
        self.next = self.next.saturating_add(length);
        Ok(true)
    }
}
