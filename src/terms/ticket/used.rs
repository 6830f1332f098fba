//! What a server remembers of tickets that were used, so that each is good for one login.
//!
//! The tickets of one client form a chain: each is the successor of the one it used. So one number for each chain is all there
//! is to remember, however often its client comes.

use super::Chain;
use crate::limits;
use crate::terms::error::codes;
use crate::time::UnixTime;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A ticket about to be used, as a [`TicketMemory`] sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketUse {
    /// Whose it is.
    pub principal: String,
    /// The chain that it is of: 16 random bytes.
    pub chain: [u8; 16],
    /// How many came before it in its chain.
    pub number: u64,
    /// When a credential was shown at the start of the chain.
    pub authenticated: UnixTime,
    /// When no ticket of the chain will be taken any more.
    pub until: UnixTime,
}

/// What a memory says of a ticket, some time later.
pub type Using<'a> = Pin<Box<dyn Future<Output = Result<(), AlreadyUsed>> + Send + 'a>>;

/// The ticket, or a later one of its chain, was used; or that can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlreadyUsed {
    /// It was used.
    #[error("the ticket was used before")]
    Used,
    /// What was known of its chain had to be forgotten, for want of room.
    #[error("what was known of the ticket's chain had to be forgotten")]
    Forgotten,
    /// The memory is away.
    #[error("the memory of used tickets does not answer")]
    Away,
}

codes!(AlreadyUsed {
    Self::Used => "ticket-used",
    Self::Forgotten => "ticket-forgotten",
    Self::Away => "ticket-memory-away",
});

/// Remembers which tickets were used. [`UsedTickets`] is one, for one server; servers that share ticket keys need one that
/// they share, too (a database, say), or each ticket is good for one login at each of them.
pub trait TicketMemory: Send + Sync {
    /// Marks a ticket as used, atomically: of two that ask about one ticket, or about an older and a newer one of its chain in
    /// that order, one is told so. To be remembered until [`TicketUse::until`].
    ///
    /// # Errors
    /// [`AlreadyUsed`]; the client then logs in with its credential.
    fn use_once<'a>(&'a self, ticket: &'a TicketUse) -> Using<'a>;
}

impl<M: TicketMemory + ?Sized> TicketMemory for Arc<M> {
    fn use_once<'a>(&'a self, ticket: &'a TicketUse) -> Using<'a> {
        (**self).use_once(ticket)
    }
}

/// Used tickets in memory, of one server.
///
/// There is room for some number of chains, and in it for some of each principal ([`UsedTickets::OF_A_PRINCIPAL`] by default). Where there is no more, the
/// oldest chain is forgotten (of that principal, or of all), and its tickets, and those of chains that began before it and are not
/// known, are not taken any more: their clients log in with their credential.
pub struct UsedTickets {
    room: usize,
    of_a_principal: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<[u8; 16], Known>,
    /// The oldest first.
    by_age: BTreeSet<(UnixTime, [u8; 16])>,
    principals: HashMap<Arc<str>, Principal>,
    /// Of chains that began up to then, those that are not known may have been forgotten.
    forgotten: Option<UnixTime>,
    /// With so many principals, those of whom there is nothing left to remember are let go.
    sweep_at: usize,
    counts: UsedCounts,
}

struct Known {
    /// Of the newest ticket that was used.
    number: u64,
    authenticated: UnixTime,
    until: UnixTime,
    principal: Arc<str>,
}

#[derive(Default)]
struct Principal {
    chains: BTreeSet<(UnixTime, [u8; 16])>,
    /// As [`State::forgotten`].
    forgotten: Option<UnixTime>,
    /// When the last of its forgotten chains has ended.
    until: UnixTime,
}

/// What [`UsedTickets`] holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsedCounts {
    /// Chains that are remembered.
    pub chains: usize,
    /// Chains that there is room for.
    pub room: usize,
    /// Chains that had to be forgotten for want of room, since the beginning: of a principal that has too many, or in all.
    pub forgotten: u64,
    /// Tickets that were refused because they had been used, since the beginning.
    pub used: u64,
    /// Tickets that were refused because their chain may have been forgotten, since the beginning.
    pub untold: u64,
}

impl UsedTickets {
    /// How many chains of one principal are remembered by default: clients that come back at the same time.
    pub const OF_A_PRINCIPAL: usize = 64;

    /// Room for this many chains, about 200 bytes each. It needs as many as clients log in with their credential while a chain
    /// lasts (two lifetimes of a ticket, and a week at most) and come back.
    pub fn new(chains: usize) -> Self {
        Self { room: chains.max(1), of_a_principal: Self::OF_A_PRINCIPAL, state: Mutex::default() }
    }

    /// Room for this many chains of one principal, at least 1: as many as there are clients that share an account, such as a fleet of
    /// devices.
    #[must_use]
    pub fn with_chains_per_principal(mut self, chains: usize) -> Self {
        self.of_a_principal = chains.max(1);
        self
    }

    /// For tickets of this lifetime: room for one new chain a second, 4096 to 262144 (50 MB when full).
    pub(super) fn for_lifetime(lifetime: Duration) -> Self {
        let chains = lifetime.min(limits::TICKET_MAX_AGE).as_secs().saturating_mul(2);
        Self::new(usize::try_from(chains).unwrap_or(usize::MAX).clamp(4096, 1 << 18))
    }

    /// What it holds and has done.
    pub fn counts(&self) -> UsedCounts {
        let state = self.lock();
        UsedCounts { chains: state.known.len(), room: self.room, ..state.counts }
    }

    pub(super) fn mark(&self, ticket: &TicketUse, now: UnixTime) -> Result<(), AlreadyUsed> {
        let mut state = self.lock();
        state.drop_ended(now);
        let marked = state.mark(ticket);
        if marked.is_ok() {
            state.make_room(&ticket.principal, self.of_a_principal, self.room);
        }
        marked
    }

    /// All that is remembered.
    pub(super) fn saved(&self) -> Vec<TicketUse> {
        let state = self.lock();
        let chain = |(chain, known): (&[u8; 16], &Known)| TicketUse {
            principal: known.principal.to_string(),
            chain: *chain,
            number: known.number,
            authenticated: known.authenticated,
            until: known.until,
        };
        state.known.iter().map(chain).collect()
    }

    /// The latest start of a chain that may have been forgotten.
    pub(super) fn forgotten(&self) -> Option<UnixTime> {
        let state = self.lock();
        let of_principals = state.principals.values().filter_map(|principal| principal.forgotten).max();
        state.forgotten.max(of_principals)
    }

    /// Says of no chain that began up to then that it was not used.
    pub(super) fn forget_until(&self, time: UnixTime) {
        let mut state = self.lock();
        state.forgotten = state.forgotten.max(Some(time));
    }

    /// Remembers these, and nothing else.
    pub(super) fn restore(&self, saved: &[TicketUse], forgotten: Option<UnixTime>) {
        let mut state = self.lock();
        *state = State { forgotten, counts: state.counts, ..State::default() };
        for ticket in saved {
            state.insert(ticket);
            state.make_room(&ticket.principal, self.of_a_principal, self.room);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn mark(&mut self, ticket: &TicketUse) -> Result<(), AlreadyUsed> {
        if let Some(known) = self.known.get_mut(&ticket.chain) {
            if ticket.number <= known.number {
                self.counts.used = self.counts.used.saturating_add(1);
                return Err(AlreadyUsed::Used);
            }
            known.number = ticket.number;
            known.until = known.until.max(ticket.until);
            return Ok(());
        }
        let of_principal = self.principals.get(ticket.principal.as_str()).and_then(|principal| principal.forgotten);
        if self.forgotten.max(of_principal).is_some_and(|forgotten| ticket.authenticated <= forgotten) {
            self.counts.untold = self.counts.untold.saturating_add(1);
            return Err(AlreadyUsed::Forgotten);
        }
        self.insert(ticket);
        Ok(())
    }

    fn insert(&mut self, ticket: &TicketUse) {
        let principal: Arc<str> = match self.principals.get_key_value(ticket.principal.as_str()) {
            Some((principal, _)) => Arc::clone(principal),
            None => ticket.principal.as_str().into(),
        };
        let place = (ticket.authenticated, ticket.chain);
        self.by_age.insert(place);
        self.principals.entry(Arc::clone(&principal)).or_default().chains.insert(place);
        let TicketUse { number, authenticated, until, .. } = *ticket;
        self.known.insert(ticket.chain, Known { number, authenticated, until, principal });
    }

    /// Forgets the oldest of a principal that has too many, and the oldest of all where there are too many.
    fn make_room(&mut self, principal: &str, of_a_principal: usize, room: usize) {
        while let Some(held) = self.principals.get_mut(principal) {
            let oldest = held.chains.first().copied().filter(|_| held.chains.len() > of_a_principal);
            let Some((began, chain)) = oldest else { break };
            held.forgotten = held.forgotten.max(Some(began));
            held.until = self.known.get(&chain).map_or(held.until, |known| held.until.max(known.until));
            self.forget(chain);
        }
        while self.known.len() > room {
            let Some(&(began, chain)) = self.by_age.first() else { break };
            self.forgotten = self.forgotten.max(Some(began));
            self.forget(chain);
        }
    }

    fn forget(&mut self, chain: [u8; 16]) {
        self.remove(chain);
        self.counts.forgotten = self.counts.forgotten.saturating_add(1);
    }

    fn remove(&mut self, chain: [u8; 16]) {
        let Some(known) = self.known.remove(&chain) else { return };
        let place = (known.authenticated, chain);
        self.by_age.remove(&place);
        if let Some(held) = self.principals.get_mut(&known.principal) {
            held.chains.remove(&place);
            if held.chains.is_empty() && held.forgotten.is_none() {
                self.principals.remove(&known.principal);
            }
        }
    }

    /// Drops chains none of whose tickets is taken any more. Chains end in about the order in which they began: what is not at the
    /// front is dropped a little later.
    fn drop_ended(&mut self, now: UnixTime) {
        while let Some(&(_, chain)) = self.by_age.first() {
            if self.known.get(&chain).is_some_and(|known| now < known.until) {
                break;
            }
            self.remove(chain);
        }
        if self.principals.len() >= self.sweep_at.max(64) {
            self.principals.retain(|_, held| !held.chains.is_empty() || now < held.until);
            self.sweep_at = self.principals.len().saturating_mul(2);
        }
    }
}

impl Chain {
    pub(super) fn to_use(&self, principal: &str, until: UnixTime) -> TicketUse {
        TicketUse {
            principal: principal.to_owned(),
            chain: self.id,
            number: self.number,
            authenticated: self.authenticated,
            until,
        }
    }
}

impl fmt::Debug for UsedTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsedTickets").field("room", &self.room).field("counts", &self.counts()).finish()
    }
}
