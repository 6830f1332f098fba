//! Passwords that are being looked at. Each counts as wrong until it is known that it is not: otherwise all that come at the moment at which a
//! wait ends would be looked at, and the wait be one for so many guesses, and not for each.
//!
//! Nobody is refused for what is not known yet. Who comes when there is no room left waits for the others' verdicts.

use super::super::store::PenaltyKey;
use super::{Guard, Guessed, Others, Shut};
use crate::io::events::Named;
use crate::io::penalties::Guess;
use crate::terms::context::Source;
use crate::terms::error::{Penalty, Reason};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::HashMap;
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

#[derive(Default)]
struct Flight {
    held: u32,
    /// Those who wait for one of them, by a number of their own.
    waiting: HashMap<u64, Option<Waker>>,
}

impl InFlight {
    pub(super) fn of(&self, key: &PenaltyKey) -> u32 {
        self.counts.get(key).map_or(0, |flight| flight.held)
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
            woken.extend(flight.waiting.drain().filter_map(|(_, waker)| waker));
            if flight.held == 0 {
                self.counts.remove(key);
            }
        }
        woken
    }

    /// Joins those who wait. Under the lock under which there was no room: none of what is given back is missed.
    pub(super) fn join(&mut self, key: &PenaltyKey) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.counts.entry(key.clone()).or_default().waiting.insert(self.next, None);
        self.next
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
    source: Source,
    user: String,
    keys: Vec<PenaltyKey>,
}

impl Reservation {
    /// For what can't be guessed.
    pub(in crate::io) fn none() -> Self {
        Self(None)
    }

    pub(super) fn new(guard: Guard, source: &Source, user: &str, keys: Vec<PenaltyKey>) -> Self {
        Self(Some(Box::new(Held { guard, source: source.clone(), user: user.to_owned(), keys })))
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
        let Some(shared) = &self.guard.0 else { return };
        let woken = shared.lock().in_flight.give_back(&self.keys);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            let Held { guard, source, user, .. } = &*held;
            // Nobody knows whether there is such a user.
            let named = Named::Unknown { name: None, tag: guard.tag(user) };
            let guessed = Guessed { user, guess: Guess::New, named };
            guard.tell_later(guard.failed(source, Some(guessed), &Others::None));
            held.give_back();
        }
    }
}

/// Somebody who waits until one of those is decided that are being looked at. Then there may be room, or not yet.
pub(in crate::io) struct Waiting {
    guard: Guard,
    key: PenaltyKey,
    id: u64,
}

impl Waiting {
    pub(super) fn new(guard: Guard, key: PenaltyKey, id: u64) -> Self {
        Self { guard, key, id }
    }

    /// Nobody will look at it.
    pub(in crate::io) fn give_up(&self) -> Reason {
        if let Some(shared) = &self.guard.0 {
            shared.unchecked.fetch_add(1, Ordering::Relaxed);
        }
        Reason::Penalty(match &self.key {
            PenaltyKey::Source(_) | PenaltyKey::LoginsFrom(_) => Penalty::Source,
            PenaltyKey::Block(_) => Penalty::Block,
            PenaltyKey::Account(_) => Penalty::Account,
            PenaltyKey::KnownSource(..) | PenaltyKey::Logins(..) => Penalty::KnownSource,
            PenaltyKey::Total => Penalty::Total,
        })
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = &self.guard.0 else { return Poll::Ready(()) };
        let waker = task.waker().clone();
        let mut state = shared.lock();
        let flight = state.in_flight.counts.get_mut(&self.key);
        let Some(place) = flight.and_then(|flight| flight.waiting.get_mut(&self.id)) else { return Poll::Ready(()) };
        let before = place.replace(waker);
        // What a waker does when it is dropped is not ours to know.
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(shared) = &self.guard.0 else { return };
        let mut state = shared.lock();
        let flight = state.in_flight.counts.get_mut(&self.key);
        let waker = flight.and_then(|flight| flight.waiting.remove(&self.id));
        drop(state);
        drop(waker);
    }
}
