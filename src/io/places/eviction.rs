//! Telling a handshake that it has to make way.

use crate::io::error::BusyReason;
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tells a handshake that it has to make way.
#[derive(Default)]
pub(in crate::io) struct Eviction(Mutex<CutState>);

#[derive(Default)]
struct CutState {
    reason: Option<BusyReason>,
    waker: Option<Waker>,
    /// What the handshake has to do now, it does whatever anybody says.
    is_disarmed: bool,
}

impl Eviction {
    pub(super) fn cut(&self, reason: BusyReason) {
        let waker = {
            let mut state = self.lock();
            if state.is_disarmed {
                return;
            }
            state.reason.get_or_insert(reason);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// From now on nothing cuts it, not even what has and was not noticed.
    pub(super) fn disarm(&self) {
        let mut state = self.lock();
        state.reason = None;
        state.is_disarmed = true;
    }

    pub(super) fn arm(&self) {
        self.lock().is_disarmed = false;
    }

    pub(in crate::io) fn reason(&self) -> Option<BusyReason> {
        self.lock().reason
    }

    pub(in crate::io) fn poll(&self, task: &Context<'_>) -> Poll<BusyReason> {
        let mut state = self.lock();
        match state.reason {
            Some(reason) => Poll::Ready(reason),
            None => {
                if state.waker.as_ref().is_none_or(|waker| !waker.will_wake(task.waker())) {
                    state.waker = Some(task.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, CutState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
