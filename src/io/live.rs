//! What both directions of a session share, and whoever may end it from outside.

use super::events::End as SessionEnd;
use super::transport::Stopper;
use crate::terms::error::{Error, RecordError};
use crate::terms::grant::{Forbidden, Grant};
use crate::terms::revocation::Revocation;
use core::fmt;
use core::task::Waker;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What both directions of a session share.
pub(super) struct Live {
    /// What broke the session.
    broken: OnceLock<RecordError>,
    /// Why it was ended from outside.
    revoked: OnceLock<Revocation>,
    /// The transport has failed. What came before may still be read, or sent, so this ends nothing by itself.
    lost: AtomicBool,
    pub(super) traffic: Traffic,
    state: Mutex<State>,
}

struct State {
    grant: Arc<Grant>,
    /// Who waits for the transport, of those who can be woken.
    wakers: [Option<Waker>; 2],
    /// Wakes a call that blocks.
    stopper: Option<Stopper>,
    /// The stream is gone.
    has_ended: bool,
}

/// What has gone both ways, and who has closed.
#[derive(Default)]
pub(super) struct Traffic {
    /// Our close was sealed.
    closed: AtomicBool,
    peer_closed: AtomicBool,
    /// Bytes that were opened and read, and bytes that were sealed.
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    pub(super) fn closed(&self) {
        self.closed.store(true, Relaxed);
    }

    pub(super) fn peer_closed(&self) {
        self.peer_closed.store(true, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    /// Bytes that were received, and sent.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }
}

/// Which way a task waits for the transport.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy)]
pub(super) enum Way {
    Reading,
    Writing,
}

impl Live {
    pub(super) fn new(grant: Arc<Grant>) -> Self {
        let state = State { grant, wakers: Default::default(), stopper: None, has_ended: false };
        Self {
            broken: OnceLock::new(),
            revoked: OnceLock::new(),
            lost: AtomicBool::new(false),
            traffic: Traffic::default(),
            state: Mutex::new(state),
        }
    }

    /// The first error is the one that says what happened.
    pub(super) fn fail(&self, error: RecordError) {
        if self.revoked.get().is_none() {
            let _ = self.broken.set(error);
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get().is_some()
    }

    /// How it has ended, if this is its end.
    pub(super) fn end_so_far(&self) -> SessionEnd<'_> {
        let Traffic { closed, peer_closed, .. } = &self.traffic;
        if let Some(revocation) = self.revoked.get() {
            return SessionEnd::Revoked(revocation);
        }
        match (self.broken.get(), closed.load(Relaxed), peer_closed.load(Relaxed)) {
            (Some(error), ..) => SessionEnd::Broken(*error),
            (None, _, false) if self.lost.load(Relaxed) => SessionEnd::Broken(RecordError::Truncated),
            (None, true, true) => SessionEnd::Closed,
            (None, false, true) => SessionEnd::ByPeer,
            (None, true, false) => SessionEnd::ByUs,
            (None, false, false) => SessionEnd::Cut,
        }
    }

    /// Whether the session goes on.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(revocation) = self.revoked.get() {
            return Err(Error::Revoked(revocation.clone()));
        }
        self.broken.get().map_or(Ok(()), |error| Err((*error).into()))
    }

    /// Notes that the transport has failed, unless it is only not ready. What ends a session from outside says more than what its
    /// transport says of that.
    pub(super) fn blame(&self, error: std::io::Error) -> std::io::Error {
        use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        if let Some(revocation) = self.revoked.get() {
            return Error::Revoked(revocation.clone()).into();
        }
        if !matches!(error.kind(), WouldBlock | TimedOut | Interrupted) {
            self.lost.store(true, Relaxed);
        }
        error
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.get().is_some()
    }

    pub(super) fn grant(&self) -> Arc<Grant> {
        Arc::clone(&self.lock().grant)
    }

    pub(super) fn set_grant(&self, grant: Grant) {
        self.lock().grant = Arc::new(grant);
    }

    pub(super) fn permits(&self, permission: &str) -> bool {
        !self.is_revoked() && self.lock().grant.permits(permission)
    }

    pub(super) fn require(&self, permission: &str) -> Result<(), Forbidden> {
        if self.is_revoked() {
            return Err(Forbidden { permission: permission.to_owned(), has_ended: true });
        }
        self.lock().grant.require(permission)
    }

    /// Has this task woken when the session is ended from outside; false where it is already.
    #[cfg(feature = "tokio")]
    pub(super) fn wait(&self, way: Way, waker: &Waker) -> bool {
        let mut state = self.lock();
        let [reading, writing] = &mut state.wakers;
        let slot = match way {
            Way::Reading => reading,
            Way::Writing => writing,
        };
        let is_new = slot.as_ref().is_none_or(|waiting| !waiting.will_wake(waker));
        let replaced = if is_new { slot.replace(waker.clone()) } else { None };
        // Under the lock: whoever ends it takes the wakers after having said so.
        let goes_on = !self.is_revoked();
        drop(state);
        // What a waker does when it is dropped is not ours to know.
        drop(replaced);
        goes_on
    }

    pub(super) fn set_stopper(&self, stopper: Option<Stopper>) {
        self.lock().stopper = stopper;
    }

    pub(super) fn has_stopper(&self) -> bool {
        self.lock().stopper.is_some()
    }

    /// Ends the session, unless that was done before. Whoever waits is then to be woken.
    pub(super) fn revoke(&self, revocation: Revocation) -> bool {
        self.revoked.set(revocation).is_ok()
    }

    /// Wakes whoever waits. What blocks in writing is woken by [`Live::stop`] alone: until then the peer can be told.
    pub(super) fn wake(&self) {
        let wakers = core::mem::take(&mut self.lock().wakers);
        // Of the application's runtime, which may be gone.
        wakers.into_iter().flatten().for_each(|waker| drop(catch_unwind(AssertUnwindSafe(|| waker.wake()))));
        self.stop(Shutdown::Read);
    }

    /// Ends what blocks on the transport.
    pub(super) fn stop(&self, how: Shutdown) {
        let Some(stopper) = self.lock().stopper.take() else { return };
        // It is the application's, and not called under the lock.
        let is_whole = catch_unwind(AssertUnwindSafe(|| stopper.stop(how))).is_ok();
        let mut state = self.lock();
        if is_whole && how != Shutdown::Both && !state.has_ended {
            state.stopper = Some(stopper);
        }
    }

    /// Whether the stream is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    /// The stream is gone: nothing of its transport is kept.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.has_ended = true;
        let gone = (state.stopper.take(), core::mem::take(&mut state.wakers));
        drop(state);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the peer of a session may do now: a handle to keep where the stream is out of reach, split or handed on.
///
/// At a server it follows the session ([`crate::Recheck`]); at a client it stays as it was at the login.
#[derive(Clone)]
pub struct CurrentGrant(pub(super) Arc<Live>);

impl CurrentGrant {
    /// As [`crate::Stream::grant`].
    pub fn get(&self) -> Arc<Grant> {
        self.0.grant()
    }

    /// Whether the grant permits this now; nothing once the session was ended from outside.
    #[must_use = "this decides what they may do"]
    pub fn permits(&self, permission: &str) -> bool {
        self.0.permits(permission)
    }

    /// As [`CurrentGrant::permits`], for `?`.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn require(&self, permission: &str) -> Result<(), Forbidden> {
        self.0.require(permission)
    }

    /// Whether the session goes on, as far as its server is concerned.
    ///
    /// # Errors
    /// [`Error::Revoked`], [`Error::Record`].
    pub fn check(&self) -> Result<(), Error> {
        self.0.check()
    }
}

impl fmt::Debug for CurrentGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CurrentGrant").field(&self.get()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_session_whose_transport_fails_before_the_peer_has_closed_was_not_cut_here() {
        use std::io::ErrorKind;
        let live = || Live::new(Arc::new(Grant::new("alice", ["read"]).unwrap()));
        let open = live();
        for kind in [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted] {
            assert_eq!(open.blame(kind.into()).kind(), kind);
        }
        assert_eq!(open.end_so_far(), SessionEnd::Cut, "it was only not ready");
        assert_eq!(open.blame(ErrorKind::ConnectionReset.into()).kind(), ErrorKind::ConnectionReset);
        assert_eq!(open.end_so_far(), SessionEnd::Broken(RecordError::Truncated));
        // What has come by then may still be read.
        assert_eq!(open.check(), Ok(()));
        open.traffic.closed();
        assert_eq!(open.end_so_far(), SessionEnd::Broken(RecordError::Truncated));
        // The peer has said all that it had to say.
        open.traffic.peer_closed();
        assert_eq!(open.end_so_far(), SessionEnd::Closed);
        // Whoever ends it from outside takes the transport away.
        let revoked = live();
        revoked.revoke(Revocation::Ended);
        assert_eq!(revoked.blame(ErrorKind::BrokenPipe.into()).kind(), ErrorKind::PermissionDenied);
        assert_eq!(revoked.end_so_far(), SessionEnd::Revoked(&Revocation::Ended));
    }

    #[test]
    fn what_ends_a_transport_is_called_for_reading_then_for_both_and_no_more() {
        let (live, calls) =
            (Live::new(Arc::new(Grant::new("alice", ["read"]).unwrap())), Arc::<Mutex<Vec<_>>>::default());
        let told = Arc::clone(&calls);
        live.set_stopper(Some(Stopper::new(move |how| told.lock().unwrap().push(how))));
        live.wake();
        assert!(live.has_stopper());
        live.stop(Shutdown::Both);
        assert!(!live.has_stopper());
        live.stop(Shutdown::Both);
        assert_eq!(*calls.lock().unwrap(), [Shutdown::Read, Shutdown::Both]);
        // One that panics is not called again.
        live.set_stopper(Some(Stopper::new(|_| panic!("on purpose"))));
        live.wake();
        assert!(!live.has_stopper());
        // Nor is one of a stream that is gone kept.
        live.end();
        live.set_stopper(Some(Stopper::new(|_| ())));
        live.wake();
        assert!(!live.has_stopper());
    }
}
