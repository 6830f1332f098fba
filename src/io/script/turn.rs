//! Turns: who may have what computed, or asked about elsewhere, and when.

use super::super::acceptor::ServerState;
use super::super::error::LoginError;
use super::super::events::Trace;
use super::super::link::Link;
use super::super::permits::Permit;
use super::super::places::Place;
use super::super::queue::{Origin, Progress};
use super::super::workers::Done;
use super::rng;
use crate::crypto::{CryptoError, Decrypted};
use crate::handshake::server::{Open, Sealed};
use crate::terms::context::Source;
use crate::terms::error::{Error, Reason};
use crate::time::Moment;
use crate::wire::frame::FrameType;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use std::sync::Arc;
use std::time::Instant;

/// A turn to be computed, or to be asked about elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) server: &'a ServerState,
    pub(super) place: &'a Place,
    pub(super) trace: &'a Arc<Trace>,
    pub(super) deadline: Moment,
    pub(super) progress: Progress,
}

pub(super) const TOO_MANY: Reason = Reason::NotNow("too many logins at once");

const SILENT: Reason = Reason::NotNow("whoever has the private key did not answer in time");

/// Why work was not done.
pub(super) enum NotDone<T> {
    /// It was not begun, as it had waited for too long, or others came first; or whoever was asked did not answer.
    Shed(T, Reason),
    Failed(LoginError),
}

impl<T> From<LoginError> for NotDone<T> {
    fn from(error: LoginError) -> Self {
        Self::Failed(error)
    }
}

impl Turn<'_> {
    /// Whose it is.
    fn of(&self) -> (&Source, Origin) {
        let source = self.place.source();
        (source, self.server.origin(source))
    }

    /// The next turn, after one that was had.
    pub(super) fn next(self) -> Self {
        Self { progress: Progress::Begun, ..self }
    }

    /// Waits for the turn, and for the work. Work whose peer leaves before is not begun.
    pub(super) async fn compute<L: Link, T: Send + 'static, R: Send + 'static>(
        &self,
        link: &mut L,
        item: T,
        work: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<R, NotDone<T>> {
        let workers = &self.server.workers;
        let patience = self.deadline.min(link.now().after(workers.patience()));
        let (since, trace) = (Instant::now(), Arc::clone(self.trace));
        let work = move |item| {
            trace.waited(since);
            trace.working(|| work(item))
        };
        let mut queued = workers.queue(self.of(), self.progress, item, work);
        let shed = |item| NotDone::Shed(item, TOO_MANY);
        let failed = || NotDone::Failed(Error::Crypto(CryptoError::Failed).into());
        poll_fn(|task| {
            if let Poll::Ready(done) = Pin::new(&mut queued).poll(task) {
                return Poll::Ready(match done {
                    Done::Answer(answer) => Ok(answer),
                    Done::Shed => Err(queued.take_back().map_or_else(failed, shed)),
                    // Nothing that may panic is left in it.
                    Done::Panicked => Err(failed()),
                });
            }
            // Once begun it is waited for, and what it finds is logged, whatever the peer does.
            if queued.is_begun() {
                let passed = |()| Err(NotDone::Failed(Error::DeadlinePassed.into()));
                return link.poll_wait(task, self.deadline).map(passed);
            }
            if link.poll_wait(task, patience).is_ready() {
                // Unless it is begun at this very moment, nobody will do it now.
                return match queued.take_back() {
                    Some(item) => Poll::Ready(Err(shed(item))),
                    None => {
                        task.waker().wake_by_ref();
                        Poll::Pending
                    }
                };
            }
            link.poll_gone(task).map(|()| Err(NotDone::Failed(left())))
        })
        .await
    }

    /// Waits for leave to have something done elsewhere; none where others come first.
    pub(super) async fn permit<L: Link>(&self, link: &mut L) -> Result<Option<Permit>, LoginError> {
        let permits = &self.server.permits;
        let patience = self.deadline.min(link.now().after(permits.patience()));
        let mut asking = permits.ask(self.of(), self.progress);
        let since = Instant::now();
        poll_fn(|task| {
            if let Poll::Ready(permit) = Pin::new(&mut asking).poll(task) {
                self.trace.waited(since);
                return Poll::Ready(Ok(permit));
            }
            if link.poll_wait(task, patience).is_ready() {
                return Poll::Ready(Ok(None));
            }
            link.poll_gone(task).map(|()| Err(left()))
        })
        .await
    }

    /// Has something opened by whoever has its key. The permit is good for what is asked next.
    pub(super) async fn open_remotely<L: Link, S: Sealed>(
        &self,
        link: &mut L,
        open: Open<S>,
    ) -> Result<(S::Next, Permit), NotDone<Open<S>>> {
        let Some(permit) = self.permit(link).await? else {
            return Err(NotDone::Shed(open, TOO_MANY));
        };
        // Not before there is a permit: this begins it.
        let since = Instant::now();
        let decrypted = match open.remote() {
            Some(decrypting) => within(link, self.deadline, decrypting).await,
            None => Some(Decrypted::failed()),
        };
        self.trace.opened(since);
        match decrypted {
            Some(decrypted) => Ok((open.answer(decrypted), permit)),
            None => Err(NotDone::Shed(open, SILENT)),
        }
    }
}

/// The peer has left while it had nothing to say.
pub(super) fn left() -> LoginError {
    LoginError::Disconnected { awaited: FrameType::Data }
}

/// Does the RSA operation; where even randomness fails, so does the login, like any other.
pub(super) fn run<S: Sealed>(open: Open<S>) -> S::Next {
    match rng() {
        Ok(mut rng) => open.run(&mut rng),
        Err(_) => open.answer(Decrypted::failed()),
    }
}

/// Waits for `future`, but no longer than to `deadline`.
pub(super) async fn within<L: Link, F: Future>(link: &mut L, deadline: Moment, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|task| match future.as_mut().poll(task) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => link.poll_wait(task, deadline).map(|()| None),
    })
    .await
}
