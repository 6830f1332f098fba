//! Passwords that are being looked at. Each counts as wrong until it is known that it is not: otherwise all that come at the moment at which a
//! wait ends would be looked at, and the wait be one for so many guesses, and not for each.
//!
//! Nobody is refused for what is not known yet. Who comes when there is no room left waits for the others' verdicts, and those who wait are served in
//! the order in which they came: each verdict calls one of them, and so does one who was called and leaves.

use super::super::store::PenaltyKey;
use super::state::State;
use super::{Guard, Shut};
use crate::io::events::Named;
use crate::terms::error::{Penalty, Reason};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

/// Whether a password is looked at.
pub(in crate::io) enum Checked {
    /// It is, and until the verdict it counts as wrong.
    Go(Reservation),
    /// It is not: somebody has to wait.
    Shut(Shut),
    /// Not before one of those is decided that are being looked at: were they all wrong, this one would have to wait.
    Wait(Waiting),
}

/// How many are being looked at, by what they will count for if they are wrong. There are as many as the bounds let be looked at, and entries
/// for no others.
#[derive(Default)]
pub(super) struct InFlight {
    counts: HashMap<PenaltyKey, Flight>,
    next: u64,
}

/// Where somebody waits, somebody else is held or called: nobody waits for nothing.
#[derive(Default)]
struct Flight {
    held: u32,
    /// Those who wait for one of them, by a number of their own, which counts up.
    waiting: BTreeMap<u64, Waiter>,
}

#[derive(Default)]
struct Waiter {
    /// There may be room for it. It stands where it stood until it has looked.
    is_called: bool,
    waker: Option<Waker>,
}

impl Flight {
    /// There may be room for one more.
    fn call(&mut self) -> Option<Waker> {
        let waiter = self.waiting.values_mut().find(|waiter| !waiter.is_called)?;
        waiter.is_called = true;
        waiter.waker.take()
    }
}

impl InFlight {
    pub(super) fn of(&self, key: &PenaltyKey) -> u32 {
        self.counts.get(key).map_or(0, |flight| flight.held)
    }

    /// Whether somebody has come before, and waits.
    pub(super) fn is_waited_for(&self, key: &PenaltyKey) -> bool {
        self.counts.get(key).is_some_and(|flight| !flight.waiting.is_empty())
    }

    pub(super) fn reserve(&mut self, keys: &[PenaltyKey]) {
        for key in keys {
            let flight = self.counts.entry(key.clone()).or_default();
            flight.held = flight.held.saturating_add(1);
        }
    }

    /// Whom to wake for it.
    fn give_back(&mut self, keys: &[PenaltyKey]) -> Vec<Waker> {
        let mut woken = Vec::new();
        for key in keys {
            let Some(flight) = self.counts.get_mut(key) else { continue };
            flight.held = flight.held.saturating_sub(1);
            woken.extend(flight.call());
            self.tidy(key);
        }
        woken
    }

    /// Joins those who wait. Under the lock under which there was no room: none of what is given back is missed.
    fn join(&mut self, key: &PenaltyKey) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.counts.entry(key.clone()).or_default().waiting.insert(self.next, Waiter::default());
        self.next
    }

    /// There was no room for it yet.
    fn stay(&mut self, key: &PenaltyKey, id: u64) {
        if let Some(waiter) = self.waiter(key, id) {
            waiter.is_called = false;
        }
    }

    /// No longer waits. Gives what it was, and whom to wake, as it has not taken the room that it was called for.
    fn leave(&mut self, key: &PenaltyKey, id: u64, has_taken: bool) -> (Option<Waiter>, Option<Waker>) {
        let Some(flight) = self.counts.get_mut(key) else { return (None, None) };
        let waiter = flight.waiting.remove(&id);
        let was_called = waiter.as_ref().is_some_and(|waiter| waiter.is_called);
        let woken = if was_called && !has_taken { flight.call() } else { None };
        self.tidy(key);
        (waiter, woken)
    }

    fn waiter(&mut self, key: &PenaltyKey, id: u64) -> Option<&mut Waiter> {
        self.counts.get_mut(key)?.waiting.get_mut(&id)
    }

    fn tidy(&mut self, key: &PenaltyKey) {
        if self.counts.get(key).is_some_and(|flight| flight.held == 0 && flight.waiting.is_empty()) {
            self.counts.remove(key);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// A password that is being looked at. Dropped before there is a verdict, and before what was wrong is counted, it counts as wrong:
/// whoever leaves early must not guess for nothing.
pub(in crate::io) struct Reservation(Option<Box<Held>>);

struct Held {
    guard: Guard,
    user: String,
    keys: Vec<PenaltyKey>,
}

impl Reservation {
    /// For what can't be guessed.
    pub(in crate::io) fn none() -> Self {
        Self(None)
    }

    pub(super) fn new(guard: Guard, user: &str, keys: Vec<PenaltyKey>) -> Self {
        Self(Some(Box::new(Held { guard, user: user.to_owned(), keys })))
    }

    /// It was right, nobody could tell, or it is counted.
    pub(in crate::io) fn give_back(mut self) {
        if let Some(held) = self.0.take() {
            held.give_back();
        }
    }
}

impl Held {
    fn give_back(&self) {
        let woken = self.guard.0.lock().in_flight.give_back(&self.keys);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            let Held { guard, user, keys } = &*held;
            if let Some(shared) = guard.on() {
                // Nobody knows whether there is such a user.
                let named = Named::Unknown { name: None, tag: shared.tags.tag(user) };
                // What it held, and not what this server alone would say that it counts for: somebody may have logged in from there elsewhere.
                guard.tell_guess_later(shared.add(keys.iter().map(|key| (key.clone(), 1.0)).collect(), named));
            }
            held.give_back();
        }
    }
}

/// Somebody who waits until one of those is decided that are being looked at. Then there may be room: it looks again, with this.
pub(in crate::io) struct Waiting {
    guard: Guard,
    key: PenaltyKey,
    id: u64,
}

impl Waiting {
    /// Waits for what is full, where it stood if it has waited for that. The one that it was before is to be dropped after the lock.
    pub(super) fn of(guard: &Guard, state: &mut State, full: &PenaltyKey, before: &mut Option<Self>) -> Self {
        if let Some(waiting) = before.take_if(|waiting| waiting.key == *full) {
            state.in_flight.stay(&waiting.key, waiting.id);
            return waiting;
        }
        Self { guard: guard.clone(), key: full.clone(), id: state.in_flight.join(full) }
    }

    /// Has a place among these now. Dropped after the lock, it calls nobody if that was what it waited for.
    pub(super) fn take(&self, state: &mut State, keys: &[PenaltyKey]) {
        if keys.contains(&self.key) {
            // Whoever was called has no waker any more.
            let _ = state.in_flight.leave(&self.key, self.id, true);
        }
    }

    /// Nobody will look at it.
    pub(in crate::io) fn give_up(&self) -> Reason {
        self.guard.0.unchecked.fetch_add(1, Ordering::Relaxed);
        Reason::Penalty(match &self.key {
            PenaltyKey::Source(_) | PenaltyKey::LoginsFrom(_) => Penalty::Source,
            PenaltyKey::Block(_) => Penalty::Block,
            PenaltyKey::Account(_) => Penalty::Account,
            PenaltyKey::KnownSource(..) | PenaltyKey::ExemptSource(..) | PenaltyKey::Logins(..) => Penalty::KnownSource,
            PenaltyKey::Total => Penalty::Total,
        })
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let waker = task.waker().clone();
        let mut state = self.guard.0.lock();
        let waiter = state.in_flight.waiter(&self.key, self.id);
        let Some(waiter) = waiter.filter(|waiter| !waiter.is_called) else { return Poll::Ready(()) };
        let before = waiter.waker.replace(waker);
        // What a waker does when it is dropped is not ours to know.
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let (waiter, woken) = self.guard.0.lock().in_flight.leave(&self.key, self.id, false);
        drop(waiter);
        if let Some(waker) = woken {
            waker.wake();
        }
    }
}
