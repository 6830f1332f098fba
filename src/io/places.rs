//! Who holds a place: open handshakes, refusals that are not due, sessions. Each is bounded, by source first.
//!
//! A stranger can open connections faster than anyone can tell good from bad. So a newcomer is not refused for want of
//! room: somebody makes way. It is one of the source that holds the most places, so that whoever floods the table pushes out
//! their own; one that its peer has kept waiting for longer than a good client takes, where there is one; one that has sent
//! nothing before one that has; and at random among those alike, so that nobody can tell whom.
//!
//! A login that has arrived is different: it has done its part and waits for us. It holds a place of another kind, takes none
//! from those who are still on their way, and makes way for nobody. So does a refusal: could newcomers push it out before it is
//! due, then whoever floods the table would see when the decision fell, and that tells why.

use super::bounds::Bounds;
use super::error::BusyReason;
use crate::terms::context::Source;
use core::task::{Context, Poll, Waker};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The table. A clone is the same table.
#[derive(Clone)]
pub(super) struct Places(Arc<Table>);

struct Table {
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    random: RandomState,
    handshakes: HashMap<u64, Handshake>,
    sources: HashMap<Source, Held>,
    /// Of the sources, those with handshakes that wait for their peers: sessions, of which there may be very many, have no part
    /// in who makes way.
    waiting: HashSet<Source>,
    principals: HashMap<Arc<str>, usize>,
    /// Of the handshakes, those whose login has arrived.
    logins: usize,
    refusals: usize,
    sessions: usize,
    made_way: u64,
    stopping: bool,
}

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

/// What one source holds.
#[derive(Default)]
struct Held {
    silent: ByAge,
    greeted: ByAge,
    logins: usize,
    refusals: usize,
    sessions: usize,
}

/// Handshakes that wait for their peers, and since when; those that wait longest come first.
#[derive(Default)]
struct ByAge(Vec<(u64, Instant)>);

/// How long a good client may keep a server waiting before it is counted among those who stall: two round trips around the
/// world.
const GRACE: Duration = Duration::from_millis(500);

impl ByAge {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, id: u64, now: Instant) {
        self.0.push((id, now));
    }

    fn remove(&mut self, id: u64) {
        self.0.retain(|&(waiting, _)| waiting != id);
    }

    /// How many have waited for longer than [`GRACE`].
    fn stalled(&self, now: Instant) -> usize {
        self.0.partition_point(|(_, since)| now.saturating_duration_since(*since) > GRACE)
    }
}

impl Held {
    /// Those from which one is taken.
    fn candidates(&self, now: Instant) -> &[(u64, Instant)] {
        let stalled =
            [&self.silent, &self.greeted].map(|waiting| waiting.0.get(..waiting.stalled(now)).unwrap_or_default());
        let classes = [stalled[0], stalled[1], &self.silent.0, &self.greeted.0];
        classes.into_iter().find(|class| !class.is_empty()).unwrap_or_default()
    }

    /// How soon one is taken from this source, among those that hold alike.
    fn is_stalling(&self, now: Instant) -> bool {
        self.silent.stalled(now) > 0 || self.greeted.stalled(now) > 0
    }

    /// Those that wait for their peers.
    fn handshakes(&self) -> usize {
        self.silent.len().saturating_add(self.greeted.len())
    }

    fn is_empty(&self) -> bool {
        self.handshakes() == 0 && self.logins == 0 && self.refusals == 0 && self.sessions == 0
    }

    fn add(&mut self, id: u64, stage: Stage, now: Instant) {
        match stage {
            Stage::Silent => self.silent.push(id, now),
            Stage::Greeted => self.greeted.push(id, now),
            Stage::Arrived => self.logins = self.logins.saturating_add(1),
        }
    }

    fn remove(&mut self, id: u64, stage: Stage) {
        match stage {
            Stage::Silent => self.silent.remove(id),
            Stage::Greeted => self.greeted.remove(id),
            Stage::Arrived => self.logins = self.logins.saturating_sub(1),
        }
    }
}

/// How many hold places now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Handshakes that wait for their peers.
    pub handshakes: usize,
    /// Logins that have arrived and are not decided, and good tickets about which the verifier is asked.
    pub logins: usize,
    /// Refusals that are not sent yet, or whose peers have not hung up.
    pub refusals: usize,
    /// Sessions.
    pub sessions: usize,
    /// Handshakes that had to make way for others, since the beginning.
    pub made_way: u64,
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Table { bounds, state: Mutex::default() }))
    }

    /// A place for a newcomer; somebody makes way for it where that is needed and can be had.
    pub(super) fn enter(&self, source: &Source) -> Result<Place, BusyReason> {
        self.enter_at(source, Instant::now())
    }

    fn enter_at(&self, source: &Source, now: Instant) -> Result<Place, BusyReason> {
        let mut state = self.lock();
        if state.stopping {
            return Err(BusyReason::Stopping);
        }
        let cut = state.make_room(&self.0.bounds, source, now);
        let (id, cut_of_newcomer) = (state.next, Arc::new(Eviction::default()));
        state.next = id.wrapping_add(1);
        state.sources.entry(source.clone()).or_default().add(id, Stage::Silent, now);
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
            self.take_one(now)
        } else {
            None
        }
    }

    /// Takes the place of a handshake of the source that has the most of them; among sources alike, of one that stalls, or has
    /// sent nothing.
    fn take_one(&mut self, now: Instant) -> Option<Arc<Eviction>> {
        let weight = |source: &Source| {
            let held = self.sources.get(source)?;
            // Those that are not counted are no one's flood: each is a source of its own here.
            let handshakes = if source.is_counted() { held.handshakes() } else { 1 };
            Some((handshakes, held.is_stalling(now), !held.silent.is_empty()))
        };
        let most = self.waiting.iter().filter_map(weight).max()?;
        let alike = self.waiting.iter().filter(|source| weight(source) == Some(most));
        let pick = self.pick(alike.clone().count())?;
        let source = alike.clone().nth(pick)?.clone();
        self.take_one_of(&source, now)
    }

    /// Keeps [`State::waiting`] up to date with what a source holds.
    fn note_waiting(&mut self, source: &Source) {
        if self.sources.get(source).is_some_and(|held| held.handshakes() > 0) {
            self.waiting.insert(source.clone());
        } else {
            self.waiting.remove(source);
        }
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
        let roll = self.random.hash_one((self.next, self.made_way, count));
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
        let bounds = &self.places.0.bounds;
        let held = state.sources.get(&self.source).filter(|_| self.source.is_counted());
        let own = held.map_or(0, |held| held.logins.saturating_add(held.refusals));
        let all = state.logins.saturating_add(state.refusals);
        let is_full = all >= bounds.refusals && (own > 0 || all >= bounds.refusals.saturating_mul(2));
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
        let cut = state.make_room(&self.places.0.bounds, &self.source, Instant::now());
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
        let bounds = &self.places.0.bounds;
        let own = state.sources.get(&self.source).map_or(0, |held| held.sessions);
        state.sessions < bounds.sessions && !(self.source.is_counted() && own >= bounds.sessions_of_a_source())
    }

    /// Whether one session more of this principal could begin.
    pub(super) fn has_room_for_session_of(&self, principal: &str) -> bool {
        let state = self.places.lock();
        self.has_room(&state) && !self.is_full_of(&state, principal)
    }

    fn is_full_of(&self, state: &State, principal: &str) -> bool {
        let own = state.principals.get(principal).copied().unwrap_or(0);
        own >= self.places.0.bounds.sessions_of_a_principal()
    }

    /// A seat for a session of this principal; `None` where there are as many as there may be.
    pub(super) fn session_place(&self, principal: &str) -> Option<SessionPlace> {
        let mut state = self.places.lock();
        if !self.has_room(&state) || self.is_full_of(&state, principal) {
            return None;
        }
        let own = state.principals.get(principal).copied().unwrap_or(0);
        let principal: Arc<str> = principal.into();
        state.principals.insert(Arc::clone(&principal), own.saturating_add(1));
        state.sessions = state.sessions.saturating_add(1);
        let held = state.sources.entry(self.source.clone()).or_default();
        held.sessions = held.sessions.saturating_add(1);
        drop(state);
        Some(SessionPlace { places: self.places.clone(), source: self.source.clone(), principal })
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

/// A session's place.
pub(super) struct SessionPlace {
    places: Places,
    source: Source,
    principal: Arc<str>,
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.sessions = state.sessions.saturating_sub(1);
        state.change(&self.source, |held| held.sessions = held.sessions.saturating_sub(1));
        let left = state.principals.get(&self.principal).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            state.principals.remove(&self.principal);
        } else {
            state.principals.insert(Arc::clone(&self.principal), left);
        }
    }
}

/// Tells a handshake that it has to make way.
#[derive(Default)]
pub(super) struct Eviction(Mutex<CutState>);

#[derive(Default)]
struct CutState {
    reason: Option<BusyReason>,
    waker: Option<Waker>,
    /// What the handshake has to do now, it does whatever anybody says.
    is_disarmed: bool,
}

impl Eviction {
    fn cut(&self, reason: BusyReason) {
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
    fn disarm(&self) {
        let mut state = self.lock();
        state.reason = None;
        state.is_disarmed = true;
    }

    fn arm(&self) {
        self.lock().is_disarmed = false;
    }

    pub(super) fn reason(&self) -> Option<BusyReason> {
        self.lock().reason
    }

    pub(super) fn poll(&self, task: &Context<'_>) -> Poll<BusyReason> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn source(name: &str) -> Source {
        Source::named(name)
    }

    fn enter(places: &Places, name: &str) -> Place {
        places.enter(&source(name)).unwrap()
    }

    fn is_cut(place: &Place) -> bool {
        place.cut.reason().is_some()
    }

    #[test]
    fn the_source_with_the_most_loses_one_and_the_silent_go_first() {
        let places = Places::new(Bounds::default().with_handshakes(8).with_handshakes_per_source(7));
        let good = enter(&places, "good");
        let flood: Vec<Place> = (0..7).map(|_| enter(&places, "flood")).collect();
        flood[..6].iter().for_each(Place::greeted);
        // The table is full.
        let other = enter(&places, "other");
        assert!(is_cut(&flood[6]) && !flood[..6].iter().any(is_cut), "the silent one made way");
        let more: Vec<Place> = (0..2).map(|_| enter(&places, "more")).collect();
        assert_eq!(flood[..6].iter().filter(|place| is_cut(place)).count(), 2);
        assert!(!is_cut(&good) && !is_cut(&other) && !more.iter().any(is_cut));
        assert_eq!(places.counts(), Counts { handshakes: 8, made_way: 3, ..Counts::default() });
    }

    #[test]
    fn those_that_are_not_counted_are_not_pushed_out_for_being_many() {
        let places = Places::new(Bounds::default().with_handshakes(20));
        let local: Vec<Place> = (0..10).map(|_| places.enter(&Source::uncounted()).unwrap()).collect();
        let _flood: Vec<Place> = (0..40).map(|number| enter(&places, &format!("flood {}", number % 5))).collect();
        assert!(!local.iter().any(is_cut));
    }

    #[test]
    fn whoever_keeps_the_server_waiting_makes_way_before_one_that_has_just_come() {
        let places = Places::new(Bounds::default().with_handshakes(8).with_handshakes_per_source(8));
        let start = Instant::now();
        let enter = |after: u64| places.enter_at(&source("nat"), start + Duration::from_millis(after)).unwrap();
        let stalled: Vec<Place> = (0..4).map(|_| enter(0)).collect();
        let late: Vec<Place> = (0..4).map(|_| enter(600)).collect();
        let flood: Vec<Place> = (0..4).map(|_| enter(700)).collect();
        assert!(stalled.iter().all(is_cut) && !late.iter().chain(&flood).any(is_cut));
        // None stalls any more: all are alike.
        let _one_more = enter(800);
        assert_eq!(late.iter().chain(&flood).filter(|place| is_cut(place)).count(), 1);
    }

    #[test]
    fn among_sources_alike_one_that_has_sent_nothing_makes_way() {
        for _ in 0..32 {
            let places = Places::new(Bounds::default().with_handshakes(8));
            let good: Vec<Place> = (0..4).map(|number| enter(&places, &format!("good {number}"))).collect();
            good.iter().for_each(Place::greeted);
            let idle: Vec<Place> = (0..4).map(|number| enter(&places, &format!("idle {number}"))).collect();
            let _newcomers: Vec<Place> = (0..4).map(|number| enter(&places, &format!("new {number}"))).collect();
            assert!(!good.iter().any(is_cut));
            assert!(idle.iter().any(is_cut));
        }
    }

    #[test]
    fn a_source_at_its_own_bound_makes_way_for_itself_and_uncounted_ones_have_none() {
        let places = Places::new(Bounds::default().with_handshakes(100));
        let ours: Vec<Place> = (0..60).map(|_| enter(&places, "one")).collect();
        assert_eq!(ours.iter().filter(|place| is_cut(place)).count(), 60 - 50);
        let local: Vec<Place> = (0..50).map(|_| places.enter(&Source::uncounted()).unwrap()).collect();
        assert!(!local.iter().any(is_cut));
    }

    #[test]
    fn who_makes_way_is_a_matter_of_chance() {
        let victims: Vec<usize> = (0..64)
            .map(|_| {
                let places = Places::new(Bounds::default().with_handshakes(8).with_handshakes_per_source(8));
                let ours: Vec<Place> = (0..8).map(|_| enter(&places, "one")).collect();
                let _newcomer = enter(&places, "two");
                ours.iter().position(is_cut).unwrap()
            })
            .collect();
        // All 64 alike: one chance in 8 to the power of 63.
        assert!(victims.iter().any(|&victim| victim != victims[0]), "{victims:?}");
    }

    #[test]
    fn a_login_that_has_arrived_makes_way_for_nobody() {
        let places = Places::new(Bounds::default().with_handshakes(2).with_handshakes_per_source(2));
        let ours = [enter(&places, "one"), enter(&places, "one")];
        ours.iter().for_each(|place| place.arrived().unwrap());
        let more: Vec<Place> = (0..8).map(|_| enter(&places, "one")).collect();
        let others: Vec<Place> = (0..8).map(|_| enter(&places, "two")).collect();
        assert!(!ours.iter().any(is_cut));
        assert_eq!(more.iter().chain(&others).filter(|place| !is_cut(place)).count(), 2);
        assert_eq!(places.counts(), Counts { handshakes: 2, logins: 2, made_way: 14, ..Counts::default() });
        drop((ours, more, others));
        assert_eq!(places.counts(), Counts { made_way: 14, ..Counts::default() });
    }

    #[test]
    fn a_login_that_arrives_as_its_place_is_taken_is_too_late() {
        let places = Places::new(Bounds::default().with_handshakes(1));
        let first = enter(&places, "one");
        // The newcomer has the place, and has not told anybody yet.
        let untold = places.lock().take_one(Instant::now()).unwrap();
        assert_eq!((untold.reason(), first.arrived()), (None, Err(BusyReason::MadeWay)));
    }

    #[test]
    fn refusals_are_bounded_by_source_and_in_total() {
        let places = Places::new(Bounds::default().with_refusals(8));
        let refuse = |name: &str| {
            let place = enter(&places, name);
            place.arrived().map(|()| place.into_refusal())
        };
        let flood = [refuse("flood").unwrap(), refuse("flood").unwrap()];
        assert_eq!(refuse("flood").err(), Some(BusyReason::NoRoom));
        let others: Vec<_> = ["a", "a", "b", "b", "c", "c"].into_iter().map(|name| refuse(name).unwrap()).collect();
        assert_eq!(refuse("a").err(), Some(BusyReason::NoRoom));
        // Who has none waiting is let in past the total, up to twice as many.
        let good: Vec<_> = (0..8).map(|name| refuse(&format!("good {name}")).unwrap()).collect();
        assert_eq!(refuse("one more").err(), Some(BusyReason::NoRoom));
        drop((flood, others, good));
        assert_eq!(places.counts(), Counts::default());
        assert!(refuse("flood").is_ok());
    }

    #[test]
    fn sessions_are_bounded_in_total_by_source_and_by_principal() {
        let places = Places::new(Bounds::default().with_sessions(16));
        let place = |name: &str| enter(&places, name);
        let alice: Vec<_> =
            (0..2).map(|number| place(&format!("source {number}")).session_place("alice").unwrap()).collect();
        assert!(place("another source").session_place("alice").is_none(), "an eighth of one principal");
        assert!(place("another source").has_room_for_session());
        let one: Vec<_> = (0..8).map(|number| place("one").session_place(&format!("user {number}")).unwrap()).collect();
        assert!(
            place("one").session_place("bob").is_none() && !place("one").has_room_for_session(),
            "half of one source"
        );
        let rest: Vec<_> =
            (0..6).map(|number| place("two").session_place(&format!("other {number}")).unwrap()).collect();
        assert!(place("three").session_place("bob").is_none(), "all of them");
        drop((alice, one, rest));
        assert_eq!(places.counts().sessions, 0);
        let state = places.lock();
        assert!(state.principals.is_empty() && state.sources.is_empty());
    }

    #[test]
    fn a_server_that_stops_cuts_handshakes_and_lets_nobody_in() {
        let places = Places::new(Bounds::default());
        let (place, session_place) = (enter(&places, "one"), enter(&places, "two").session_place("alice").unwrap());
        let arrived = enter(&places, "four");
        arrived.arrived().unwrap();
        places.stop();
        assert!(!is_cut(&arrived), "a login that has arrived is answered");
        assert_eq!(
            (place.cut.reason(), places.enter(&source("three")).err()),
            (Some(BusyReason::Stopping), Some(BusyReason::Stopping))
        );
        assert_eq!(places.counts().sessions, 1);
        drop(session_place);
    }

    #[test]
    fn whoever_has_arrived_obeys_no_word_that_comes_late() {
        let places = Places::new(Bounds::default());
        let place = enter(&places, "one");
        place.arrived().unwrap();
        // As from a server that picked it before it arrived.
        place.cut.cut(BusyReason::Stopping);
        assert!(!is_cut(&place));
        place.back_to_greeted().unwrap();
        assert!(!is_cut(&place), "it was said to nobody");
        places.stop();
        assert_eq!(place.cut.reason(), Some(BusyReason::Stopping));
    }

    #[test]
    fn a_ticket_that_is_asked_about_makes_way_for_nobody_and_waits_anew_after_that() {
        let places = Places::new(Bounds::default().with_handshakes(2));
        let ticket = enter(&places, "one");
        ticket.greeted();
        ticket.arrived().unwrap();
        let flood: Vec<Place> = (0..8).map(|number| enter(&places, &format!("flood {number}"))).collect();
        assert!(!is_cut(&ticket));
        assert_eq!(places.counts(), Counts { handshakes: 2, logins: 1, made_way: 6, ..Counts::default() });
        // Back among those who wait, it takes the place of one of them, and has just come.
        ticket.back_to_greeted().unwrap();
        assert_eq!(places.counts(), Counts { handshakes: 2, logins: 0, made_way: 7, ..Counts::default() });
        let waited = Instant::now().duration_since(places.lock().sources[&source("one")].greeted.0[0].1);
        assert!(waited < GRACE);
        ticket.arrived().unwrap();
        assert_eq!((places.counts().handshakes, places.counts().logins), (1, 1));
        places.stop();
        assert_eq!((ticket.back_to_greeted(), is_cut(&ticket)), (Err(BusyReason::Stopping), false));
        drop((ticket, flood));
        assert_eq!(places.counts(), Counts { made_way: 7, ..Counts::default() });
        assert!(places.lock().sources.is_empty());
    }
}
