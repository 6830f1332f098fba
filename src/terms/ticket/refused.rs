//! Used tickets that were shown here already: shown again, nobody else is asked about them.
//!
//! Whoever has seen one hello with a ticket on the wire can play it as often as they like, from anywhere, before anything that a stranger has to pay for.
//! The memory that all servers share must not be asked each time.

use super::TicketUse;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// So many of them, in 16 KiB; a later one may take the place of an earlier one.
const SLOTS: usize = 1 << 12;

/// What is kept is 44 bits of a hash under a secret, twelve of them by its place. One ticket in four thousand million is taken for another, and its client then
/// shows its credential.
pub(super) struct Refused {
    random: RandomState,
    marks: Mutex<Vec<u32>>,
}

impl Refused {
    pub(super) fn new() -> Self {
        Self { random: RandomState::new(), marks: Mutex::new(vec![0; SLOTS]) }
    }

    /// It was used, by whoever showed it now or before.
    pub(super) fn note(&self, ticket: &TicketUse) {
        let (slot, mark) = self.place(ticket);
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = marks.get_mut(slot) {
            *kept = mark;
        }
    }

    pub(super) fn has(&self, ticket: &TicketUse) -> bool {
        let (slot, mark) = self.place(ticket);
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).get(slot) == Some(&mark)
    }

    fn place(&self, ticket: &TicketUse) -> (usize, u32) {
        let [a, b, c, d, e, f, ..] = self.random.hash_one((ticket.chain, ticket.number)).to_be_bytes();
        let slot = usize::from(u16::from_be_bytes([a, b])) & SLOTS.saturating_sub(1);
        (slot, u32::from_be_bytes([c, d, e, f]).max(1))
    }
}
