//! Who holds a place: open handshakes, refusals that are not due, sessions. Each is bounded, by source first.
//!
//! A stranger can open connections faster than anyone can tell good from bad. So a newcomer is not refused for want of
//! room: somebody makes way. It is one of the source that holds the most places, so that whoever floods the table pushes out
//! their own; one that its peer has kept waiting for longer than a good client takes, where there is one; one that has sent
//! nothing before one that has; and at random among those alike, so that nobody can tell whom. Of sources that hold as many,
//! those from where somebody has logged in come last, as long as such hold no more than half of the places.
//!
//! A login that has arrived is different: it has done its part and waits for us. It holds a place of another kind, takes none
//! from those who are still on their way, and makes way for nobody. So does a refusal: could newcomers push it out before it is
//! due, then whoever floods the table would see when the decision fell, and that tells why.

mod eviction;
mod held;
mod principals;
mod waiting;

pub(super) use eviction::Eviction;

use held::Held;
use principals::Principals;
use waiting::{Stand, Waiting};

use super::bounds::Bounds;
use super::error::BusyReason;
use super::live::Live;
use super::queue::Origin;
use super::sessions::{Entry, Sessions, Shown};
use crate::terms::context::Source;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

/// The table. A clone is the same table.
#[derive(Clone)]
pub(super) struct Places(Arc<Table>);

struct Table {
    bounds: RwLock<Bounds>,
    state: Mutex<State>,
}

impl Table {
    fn bounds(&self) -> Bounds {
        *self.bounds.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    next: u64,
    random: RandomState,
    handshakes: HashMap<u64, Handshake>,
    sources: HashMap<Source, Held>,
    /// Of the sources, those with handshakes that wait for their peers: sessions, of which there may be very many, have no part
    /// in who makes way.
    waiting: Waiting,
    /// Whose the sessions are.
    principals: Principals,
    /// Of whom logins wait for a further factor.
    awaited: Principals,
    /// Of the handshakes, those whose login has arrived.
    logins: usize,
    refusals: usize,
    sessions: usize,
    made_way: u64,
    stopping: bool,
    /// Sources that were looked at to find who makes way.
    #[cfg(test)]
    looked_at: usize,
}

/// So many of the sources alike are looked at, at random, to find one that makes way: with all of them, whoever comes from many would
/// have each newcomer cost more than a good one does. Where every tenth of them stalls, none of those is found once in a thousand times.
const LOOKED_AT: usize = 64;

struct Handshake {
    source: Source,
    stage: Stage,
    cut: Arc<Eviction>,
}

/// How far a handshake has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The peer has sent nothing.
    Silent,
    /// The peer has sent a ClientHello.
    Greeted,
    /// The peer's login or good ticket is here: it waits for us.
    Arrived,
}

/// How many hold places now, and what happened since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Handshakes that wait for their peers.
    pub handshakes: usize,
    /// Logins that have arrived and are not decided, and good tickets about which the verifier is asked.
    pub logins: usize,
    /// Hellos and logins that wait for their turn: for a thread, or for a store or a key that is elsewhere.
    pub waiting: usize,
    /// Refusals that are not sent yet, or whose peers have not hung up.
    pub refusals: usize,
    /// Sessions.
    pub sessions: usize,
    /// Handshakes that had to make way for others, since the beginning.
    pub made_way: u64,
    /// Sessions that were ended while they were under way ([`super::Recheck`], [`super::Acceptor::revoke`]), since the beginning.
    pub revoked: u64,
    /// Of the sessions, those about which nobody can tell now whether their principals are still welcome.
    pub unconfirmed: usize,
    /// Hellos that were told that the server is busy since their source has to wait, since the beginning
    /// ([`crate::Penalties`]).
    pub turned_away: u64,
    /// Passwords that nobody looked at since there were too many failed logins, since the beginning.
    pub unchecked: u64,
    /// How often the store of failed logins did not answer, since the beginning ([`crate::PenaltyStore`]).
    pub store_away: u64,
    /// Hellos that were asked to solve a puzzle, since the beginning ([`crate::Puzzles`]).
    pub puzzles_asked: u64,
    /// Of these, those that did.
    pub puzzles_solved: u64,
    /// And those whose solution was wrong. The others left, or were too slow.
    pub puzzles_failed: u64,
    /// How hard the next puzzle is, in bits; 0 while none is asked for.
    pub puzzle_bits: u8,
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Table { bounds: RwLock::new(bounds), state: Mutex::default() }))
    }

    /// Others from now on. Whoever holds a place keeps it: those over a lower bound make way as newcomers come, or leave by themselves.
    pub(super) fn set_bounds(&self, bounds: Bounds) {
        *self.0.bounds.write().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    /// A place for a newcomer; somebody makes way for it where that is needed and can be had.
    pub(super) fn enter(&self, of: (&Source, Origin)) -> Result<Place, BusyReason> {
        self.enter_at(of, Instant::now())
    }

    fn enter_at(&self, (source, origin): (&Source, Origin), now: Instant) -> Result<Place, BusyReason> {
        let mut state = self.lock();
        if state.stopping {
            return Err(BusyReason::Stopping);
        }
        let cut = state.make_room(&self.0.bounds(), source, now);
        let (id, cut_of_newcomer) = (state.next, Arc::new(Eviction::default()));
        state.next = id.wrapping_add(1);
        let held = state.sources.entry(source.clone()).or_default();
        held.is_known = origin == Origin::Known;
        held.add(id, Stage::Silent, now);
        let handshake = Handshake { source: source.clone(), stage: Stage::Silent, cut: Arc::clone(&cut_of_newcomer) };
        state.handshakes.insert(id, handshake);
        state.note_waiting(source);
        drop(state);
        if let Some(cut) = cut {
            cut.cut(BusyReason::MadeWay);
        }
        Ok(Place { places: self.clone(), source: source.clone(), id, cut: cut_of_newcomer })
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            handshakes: state.handshakes.len().saturating_sub(state.logins),
            logins: state.logins,
            refusals: state.refusals,
            sessions: state.sessions,
            made_way: state.made_way,
            ..Counts::default()
        }
    }

    /// Lets nobody in any more, and cuts the handshakes that wait for their peers. Sessions go on, and logins that have arrived.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let waiting = state.handshakes.values().filter(|handshake| handshake.stage != Stage::Arrived);
        let cuts: Vec<_> = waiting.map(|handshake| Arc::clone(&handshake.cut)).collect();
        drop(state);
        cuts.iter().for_each(|cut| cut.cut(BusyReason::Stopping));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where there is no room for one more handshake of this source, takes somebody's place.
    fn make_room(&mut self, bounds: &Bounds, source: &Source, now: Instant) -> Option<Arc<Eviction>> {
        let own = self.sources.get(source).map_or(0, Held::handshakes);
        let all = self.handshakes.len().saturating_sub(self.logins);
        // There is always one that can: whoever does not wait for its peer is not counted here.
        if source.is_counted() && own >= bounds.handshakes_of_a_source() {
            self.take_one_of(source, now)
        } else if all >= bounds.handshakes {
            self.take_one(bounds, now)
        } else {
            None
        }
    }

    /// Takes the place of a handshake of the source that has the most of them; among sources alike, of one that stalls, or has
    /// sent nothing.
    fn take_one(&mut self, bounds: &Bounds, now: Instant) -> Option<Arc<Eviction>> {
        let line = self.waiting.last(bounds.handshakes / 2);
        let weight = |source: &Source| {
            let held = self.sources.get(source)?;
            Some((held.is_stalling(now), !held.silent.is_empty()))
        };
        let looked_at: Vec<&Source> = if line.len() <= LOOKED_AT {
            line.iter().collect()
        } else {
            (0..LOOKED_AT).filter_map(|turn| line.get(self.roll(turn, line.len())?)).collect()
        };
        let most = looked_at.iter().filter_map(|source| weight(source)).max()?;
        let alike: Vec<&&Source> = looked_at.iter().filter(|source| weight(source) == Some(most)).collect();
        let source = (**alike.get(self.pick(alike.len())?)?).clone();
        #[cfg(test)]
        {
            self.looked_at = self.looked_at.saturating_add(looked_at.len());
        }
        self.take_one_of(&source, now)
    }

    /// Keeps [`State::waiting`] up to date with what a source holds.
    fn note_waiting(&mut self, source: &Source) {
        let held = self.sources.get(source).filter(|held| held.handshakes() > 0);
        self.waiting.set(source, held.map(|held| stand(source, held)));
    }

    /// Takes the place of a handshake of this source.
    fn take_one_of(&mut self, source: &Source, now: Instant) -> Option<Arc<Eviction>> {
        let candidates = self.sources.get(source)?.candidates(now);
        let (id, _) = *candidates.get(self.pick(candidates.len())?)?;
        let cut = Arc::clone(&self.handshakes.get(&id)?.cut);
        self.leave(id);
        self.made_way = self.made_way.saturating_add(1);
        Some(cut)
    }

    /// One of so many, at random.
    fn pick(&self, count: usize) -> Option<usize> {
        self.roll(LOOKED_AT, count)
    }

    /// The same, several times in a row.
    fn roll(&self, turn: usize, count: usize) -> Option<usize> {
        let roll = self.random.hash_one((self.next, self.made_way, turn, count));
        u64::try_from(count).ok().and_then(|count| roll.checked_rem(count)).and_then(|pick| usize::try_from(pick).ok())
    }

    fn leave(&mut self, id: u64) {
        if let Some(Handshake { source, stage, .. }) = self.handshakes.remove(&id) {
            self.logins = self.logins.saturating_sub(usize::from(stage == Stage::Arrived));
            self.change(&source, |held| held.remove(id, stage));
            self.note_waiting(&source);
        }
    }

    fn move_to(&mut self, id: u64, stage: Stage) {
        let Some(handshake) = self.handshakes.get_mut(&id) else { return };
        let source = handshake.source.clone();
        if let Some(held) = self.sources.get_mut(&source) {
            held.remove(id, handshake.stage);
            held.add(id, stage, Instant::now());
            self.logins = self.logins.saturating_sub(usize::from(handshake.stage == Stage::Arrived));
            self.logins = self.logins.saturating_add(usize::from(stage == Stage::Arrived));
            handshake.stage = stage;
        }
        self.note_waiting(&source);
    }

    /// Changes what a source holds, and forgets a source that holds nothing.
    fn change(&mut self, source: &Source, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.sources.get_mut(source) {
            change(held);
            if held.is_empty() {
                self.sources.remove(source);
            }
        }
    }
}

/// Where a source stands among those who may make way.
fn stand(source: &Source, held: &Held) -> Stand {
    if source.is_counted() {
        Stand { is_known: held.is_known, handshakes: held.handshakes() }
    } else {
        // Those that are not counted are no one's flood: each is a source of its own here.
        Stand { is_known: false, handshakes: 1 }
    }
}

/// A handshake's place; dropping it, even in a panic, gives it back.
pub(super) struct Place {
    places: Places,
    source: Source,
    id: u64,
    cut: Arc<Eviction>,
}

impl Place {
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Says when this handshake has to make way.
    pub(super) fn cut(&self) -> &Arc<Eviction> {
        &self.cut
    }

    /// The peer has sent a ClientHello.
    pub(super) fn greeted(&self) {
        self.places.lock().move_to(self.id, Stage::Greeted);
    }

    /// The peer's login is here, or its good ticket. From now on it makes way for nobody.
    pub(super) fn arrived(&self) -> Result<(), BusyReason> {
        let mut state = self.places.lock();
        if let Some(crowded) = self.cut.reason() {
            return Err(crowded);
        }
        if !state.handshakes.contains_key(&self.id) {
            // Its place was taken, and it is about to be told so.
            return Err(BusyReason::MadeWay);
        }
        // Every login may end in a refusal that has to wait; where there is no room for that, this is the last moment at which
        // closing the connection tells nothing.
        let bounds = self.places.0.bounds();
        let held = state.sources.get(&self.source).filter(|_| self.source.is_counted());
        let own = held.map_or(0, |held| held.logins.saturating_add(held.refusals));
        let all = state.logins.saturating_add(state.refusals);
        let is_full = all >= bounds.refusals && (own > 0 || all >= bounds.refusals_at_the_most());
        let is_full_of_own = own >= bounds.refusals_of_a_source();
        if is_full || is_full_of_own {
            return Err(BusyReason::NoRoom);
        }
        state.move_to(self.id, Stage::Arrived);
        // Whoever stops the server may have picked this one a moment ago, and be about to say so.
        self.cut.disarm();
        Ok(())
    }

    /// The ticket is not taken: it is for the peer again to send something, and the time that it takes counts from now.
    pub(super) fn back_to_greeted(&self) -> Result<(), BusyReason> {
        let mut state = self.places.lock();
        if state.stopping {
            return Err(BusyReason::Stopping);
        }
        // As for a newcomer: it was not counted among those who wait for their peers.
        let cut = state.make_room(&self.places.0.bounds(), &self.source, Instant::now());
        state.move_to(self.id, Stage::Greeted);
        self.cut.arm();
        drop(state);
        if let Some(cut) = cut {
            cut.cut(BusyReason::MadeWay);
        }
        Ok(())
    }

    /// The login is refused, and the refusal waits until it is due.
    pub(super) fn into_refusal(self) -> RefusalPlace {
        let mut state = self.places.lock();
        state.refusals = state.refusals.saturating_add(1);
        let held = state.sources.entry(self.source.clone()).or_default();
        held.refusals = held.refusals.saturating_add(1);
        drop(state);
        RefusalPlace { places: self.places.clone(), source: self.source.clone() }
    }

    /// Whether one session more could begin, of whichever principal.
    pub(super) fn has_room_for_session(&self) -> bool {
        self.has_room(&self.places.lock())
    }

    fn has_room(&self, state: &State) -> bool {
        let bounds = self.places.0.bounds();
        let own = state.sources.get(&self.source).map_or(0, |held| held.sessions);
        state.sessions < bounds.sessions && !(self.source.is_counted() && own >= bounds.sessions_of_a_source())
    }

    /// Whether one session more of this principal could begin.
    pub(super) fn has_room_for_session_of(&self, principal: &str) -> bool {
        let state = self.places.lock();
        self.has_room(&state) && !self.is_full_of(&state, principal)
    }

    fn is_full_of(&self, state: &State, principal: &str) -> bool {
        state.principals.of(principal) >= self.places.0.bounds().sessions_of_a_principal()
    }

    /// For as long as this login waits for further factors of this principal; `None` where as many do as may. It keeps its own place, too: whoever
    /// has a password, and not what is asked further, could take all of those from many addresses, for as long as people may take to type.
    pub(super) fn factor_place(&self, principal: &str) -> Option<FactorPlace> {
        let mut state = self.places.lock();
        if state.awaited.of(principal) >= self.places.0.bounds().factors_of_a_principal() {
            return None;
        }
        let principal = state.awaited.add(principal);
        Some(FactorPlace { places: self.places.clone(), principal })
    }

    /// A seat for a session of this principal; `None` where there are as many as there may be.
    pub(super) fn session_place(&self, principal: &str) -> Option<SessionPlace> {
        let mut state = self.places.lock();
        if !self.has_room(&state) || self.is_full_of(&state, principal) {
            return None;
        }
        let principal = state.principals.add(principal);
        state.sessions = state.sessions.saturating_add(1);
        let held = state.sources.entry(self.source.clone()).or_default();
        held.sessions = held.sessions.saturating_add(1);
        drop(state);
        Some(SessionPlace { places: self.places.clone(), source: self.source.clone(), principal, entry: None })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().leave(self.id);
    }
}

/// A refusal's place, until its peer has hung up.
pub(super) struct RefusalPlace {
    places: Places,
    source: Source,
}

impl Drop for RefusalPlace {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.refusals = state.refusals.saturating_sub(1);
        state.change(&self.source, |held| held.refusals = held.refusals.saturating_sub(1));
    }
}

/// That a login waits for a further factor.
pub(super) struct FactorPlace {
    places: Places,
    principal: Arc<str>,
}

impl Drop for FactorPlace {
    fn drop(&mut self) {
        self.places.lock().awaited.remove(&self.principal);
    }
}

/// A session's place.
pub(super) struct SessionPlace {
    places: Places,
    source: Source,
    principal: Arc<str>,
    /// Once it is looked at again.
    entry: Option<Entry>,
}

impl SessionPlace {
    /// The session begins, and is looked at again from now on.
    pub(super) fn enter(&mut self, sessions: &Sessions, live: &Arc<Live>, shown: Shown) {
        self.entry = Some(sessions.enter(live, shown));
    }
}

impl SessionPlace {
    pub(super) fn principal(&self) -> &str {
        &self.principal
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.sessions = state.sessions.saturating_sub(1);
        state.change(&self.source, |held| held.sessions = held.sessions.saturating_sub(1));
        state.principals.remove(&self.principal);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests;
