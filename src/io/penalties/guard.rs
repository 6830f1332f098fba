//! Who has to wait, by the counts.

mod look;
mod reservation;
mod state;
mod untold;

pub(in crate::io) use look::Others;
pub(in crate::io) use reservation::{Checked, Reservation, Waiting};

use look::Look;
use state::State;

use super::name::{exact, name};
use super::store::{PenaltyKey, PenaltyStore};
use super::{Penalties, PenaltyEvent, WhenAway};
use crate::io::events::{Named, Tags};
use crate::terms::context::Source;
use crate::terms::error::{Penalty, Reason};
use crate::time::Moment;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

/// The counts of one server. A clone shares them.
#[derive(Clone)]
pub(in crate::io) struct Guard(Arc<Shared>);

struct Shared {
    /// Where nobody has to wait for anything, those that were the last.
    penalties: RwLock<Arc<Penalties>>,
    is_on: AtomicBool,
    tags: Tags,
    #[cfg_attr(test, allow(dead_code, reason = "in tests time passes when it is skipped"))]
    start: Instant,
    state: Mutex<State>,
    turned_away: AtomicU64,
    unchecked: AtomicU64,
    store_away: AtomicU64,
    /// Seconds that have passed in a test: no others do.
    #[cfg(test)]
    skipped: AtomicU64,
}

/// Somebody has to wait.
#[derive(Debug)]
pub(in crate::io) struct Shut {
    pub(in crate::io) reason: Reason,
    pub(in crate::io) left: Duration,
}

fn shut(penalty: Penalty, left: Duration) -> Shut {
    Shut { reason: Reason::Penalty(penalty), left }
}

/// What was wrong about a login that named a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum Guess {
    /// A credential that nobody finds by trying.
    No,
    /// A password, or what came after a good one.
    New,
    /// A password that was wrong before.
    Again,
}

/// A login that failed, and named a user.
#[derive(Clone, Copy)]
pub(in crate::io) struct Guessed<'a> {
    pub(in crate::io) user: &'a str,
    pub(in crate::io) guess: Guess,
    /// As the user may be spoken of.
    pub(in crate::io) named: Named<'a>,
}

/// A part of a failure: what is not worth a whole one.
const PART: f64 = 0.25;

/// So much more than strangers may be wrong in all before those are stopped who come from where somebody has logged in.
const LAST: f64 = 4.0;

impl Guard {
    /// With no counts yet, and where there are no penalties, nobody has to wait for anything. A name that nobody vouches for is told by these tags.
    pub(in crate::io) fn new(penalties: Option<Penalties>, tags: Tags) -> Self {
        Self(Arc::new(Shared {
            is_on: AtomicBool::new(penalties.is_some()),
            penalties: RwLock::new(Arc::new(penalties.unwrap_or_default())),
            tags,
            start: Instant::now(),
            state: Mutex::new(State::new()),
            turned_away: AtomicU64::new(0),
            unchecked: AtomicU64::new(0),
            store_away: AtomicU64::new(0),
            #[cfg(test)]
            skipped: AtomicU64::new(0),
        }))
    }

    /// From now on it is these, or none, over the same counts.
    pub(in crate::io) fn set(&self, penalties: Option<Penalties>) {
        let is_on = penalties.is_some();
        if let Some(penalties) = penalties {
            *self.0.penalties.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(penalties);
        }
        self.0.is_on.store(is_on, Ordering::Relaxed);
    }

    /// None where nobody has to wait for anything.
    fn on(&self) -> Option<&Shared> {
        self.0.is_on.load(Ordering::Relaxed).then_some(&*self.0)
    }

    /// Where other servers' counts are.
    pub(in crate::io) fn store(&self) -> Option<Arc<dyn PenaltyStore>> {
        self.on()?.penalties().store.as_ref().map(|(store, _)| Arc::clone(store))
    }

    /// How many were turned away, how many passwords not checked, and how often the store was away.
    pub(in crate::io) fn counts(&self) -> (u64, u64, u64) {
        let Shared { turned_away, unchecked, store_away, .. } = &*self.0;
        let [a, b, c] = [turned_away, unchecked, store_away].map(|count| count.load(Ordering::Relaxed));
        (a, b, c)
    }

    pub(in crate::io) fn note_store_away(&self) {
        self.0.store_away.fetch_add(1, Ordering::Relaxed);
        self.0.tell(&PenaltyEvent::StoreAway);
    }

    /// The counts that say whether a hello is taken; none where it always is.
    pub(in crate::io) fn of_hello(&self, source: &Source) -> Vec<PenaltyKey> {
        match self.on() {
            Some(shared) if shared.counts_source(source) => {
                let mut keys = vec![PenaltyKey::LoginsFrom(source.clone())];
                keys.extend(shared.blocks(source));
                keys
            }
            _ => Vec::new(),
        }
    }

    /// The counts that say whether a password is looked at.
    pub(in crate::io) fn of_password(&self, source: &Source, user: &str) -> Vec<PenaltyKey> {
        let Some(shared) = self.on() else { return Vec::new() };
        let mut keys = vec![PenaltyKey::LoginsFrom(source.clone()), PenaltyKey::Total];
        if let (Some(name), Some(exact)) = (name(user), exact(user)) {
            keys.push(PenaltyKey::Logins(source.clone(), Arc::clone(&exact)));
            keys.push(PenaltyKey::KnownSource(source.clone(), exact));
            if shared.penalties().is_exempt(source) {
                keys.push(PenaltyKey::ExemptSource(source.clone(), Arc::clone(&name)));
            }
            keys.push(PenaltyKey::Account(name));
        }
        if shared.counts_source(source) {
            keys.extend(shared.blocks(source));
        }
        keys
    }

    /// Whether a hello is taken as far as this server itself can tell. Where it is, or somebody may have logged in from there elsewhere, others are to
    /// be asked.
    pub(in crate::io) fn greet_here(&self, source: &Source) -> Result<(), Shut> {
        let Some(shared) = self.on() else { return Ok(()) };
        let Some(shut) = self.hello_shut(shared, source, &Others::None) else { return Ok(()) };
        let may_ask = || {
            let (ipv4, ipv6) = shared.penalties().blocks;
            let block = source.around(ipv4, ipv6);
            shared.lock().elsewhere.may_ask(source, block.as_ref().unwrap_or(source), shared.now())
        };
        if shared.penalties().store.is_some() && may_ask() { Ok(()) } else { shared.turn_away(shut) }
    }

    /// Whether a hello is taken.
    pub(in crate::io) fn greet(&self, source: &Source, others: &Others) -> Result<(), Shut> {
        let Some(shared) = self.on() else { return Ok(()) };
        self.hello_shut(shared, source, others).map_or(Ok(()), |shut| shared.turn_away(shut))
    }

    fn hello_shut(&self, shared: &Shared, source: &Source, others: &Others) -> Option<Shut> {
        let mut state = shared.lock();
        let counts = shared.look(&state, self.of_hello(source), others);
        let now = shared.now();
        if counts.has_logins_from() && !counts.has_logins_here() {
            state.elsewhere.note(source, now);
        }
        let is_known = counts.has_logins_from() || state.elsewhere.has(source, now);
        drop(state);
        let shut = shared.source_shut(&counts).filter(|_| !is_known);
        shut.or_else(|| shared.away(others).filter(|_| !counts.has_logins_here()))
    }

    /// Whether a password is looked at. If it is, it counts as wrong from now on, until the [`Reservation`] is given back. Who has waited for others
    /// comes with that.
    pub(in crate::io) fn check(
        &self,
        source: &Source,
        user: &str,
        others: &Others,
        mut waited: Option<Waiting>,
    ) -> Checked {
        let Some(shared) = self.on() else { return Checked::Go(Reservation::none()) };
        let mut state = shared.lock();
        let counts = shared.look(&state, self.of_password(source, user), others);
        // Each way out drops the lock before whoever has waited, which takes it.
        if let Some(shut) = shared.password_shut(source, user, &counts, others) {
            shared.unchecked.fetch_add(1, Ordering::Relaxed);
            drop(state);
            return Checked::Shut(shut);
        }
        let keys = shared.charged(source, user, counts.has_logins());
        // Whoever has waited goes by the counts alone: of two that wait in two places, and let each other go first, neither would go.
        let has_waited = waited.is_some();
        let is_full = |key: &&PenaltyKey| {
            shared.is_full(&state, key, &counts) || !has_waited && shared.is_waited_for(&state, key, &counts)
        };
        if let Some(full) = keys.iter().find(is_full).cloned() {
            let waiting = Waiting::of(self, &mut state, &full, &mut waited);
            drop(state);
            return Checked::Wait(waiting);
        }
        state.in_flight.reserve(&keys);
        if let Some(waited) = &waited {
            waited.take(&mut state, &keys);
        }
        drop(state);
        Checked::Go(Reservation::new(self.clone(), user, keys))
    }

    /// The counts that say whose failure a wrong password for this user is.
    pub(in crate::io) fn of_failure(&self, source: &Source, user: &str) -> Vec<PenaltyKey> {
        let logins = |name| PenaltyKey::Logins(source.clone(), name);
        self.on().and_then(|_| exact(user)).map(logins).into_iter().collect()
    }

    /// Whether somebody has logged in from this source at this server, or it is exempt. Those who are not counted are no one's source.
    pub(in crate::io) fn is_known(&self, source: &Source) -> bool {
        let is_known =
            |shared: &Shared| shared.penalties().is_exempt(source) || shared.lock().known.has_any_from(source);
        source.is_counted() && self.on().is_some_and(is_known)
    }

    /// What a wrong password for this user was.
    pub(in crate::io) fn guess(&self, user: &str, password: &[u8]) -> Guess {
        let (Some(shared), Some(name)) = (self.on(), exact(user)) else { return Guess::New };
        if shared.lock().tried.note(&name, password) { Guess::Again } else { Guess::New }
    }

    /// A login failed, which named this user, or nobody.
    pub(in crate::io) fn failed(&self, source: &Source, guessed: Option<Guessed<'_>>, others: &Others) -> Amounts {
        let Some(shared) = self.on() else { return Vec::new() };
        let guessed = guessed.filter(|guessed| guessed.guess != Guess::No);
        let named = guessed.map_or(Named::Nobody, |guessed| guessed.named);
        let user = guessed.map_or("", |guessed| guessed.user);
        let is_known = shared.look(&shared.lock(), self.of_failure(source, user), others).has_logins();
        // Elsewhere it is counted: a password hash costs as much the second time.
        if is_known && guessed.is_some_and(|guessed| guessed.guess == Guess::Again) {
            return Vec::new();
        }
        let keys = shared.charged(source, user, is_known);
        shared.add(keys.into_iter().map(|key| (key, 1.0)).collect(), named)
    }

    /// These are to be told to others with whatever comes next, as it costs a stranger nothing to be one more.
    pub(in crate::io) fn tell_later(&self, amounts: Amounts) {
        if let Some(shared) = self.on().filter(|shared| shared.penalties().store.is_some()) {
            shared.lock().untold.add(amounts);
        }
    }

    /// As [`Guard::tell_later`], of a guess for which nothing can be waited for, or could not be told.
    pub(in crate::io) fn tell_guess_later(&self, amounts: Amounts) {
        if let Some(shared) = self.on().filter(|shared| shared.penalties().store.is_some()) {
            shared.lock().untold.add_guess(amounts);
        }
    }

    /// What others were not told yet: connections that came to nothing, and guesses.
    pub(in crate::io) fn take_untold(&self) -> (Amounts, Amounts) {
        self.on().map(|shared| shared.lock().untold.take(shared.now())).unwrap_or_default()
    }

    /// Whether others have not been told for so long that it is time.
    pub(in crate::io) fn is_due(&self) -> bool {
        self.on().is_some_and(|shared| shared.lock().untold.is_due(shared.now()))
    }

    /// A connection came to nothing, or its password was not looked at.
    pub(in crate::io) fn in_vain(&self, source: &Source) -> Amounts {
        match self.on() {
            Some(shared) if shared.counts_source(source) => {
                shared.add(shared.blocks(source).map(|block| (block, PART)).collect(), Named::Nobody)
            }
            _ => Vec::new(),
        }
    }

    /// A good login to this account.
    pub(in crate::io) fn accepted(&self, source: &Source, user: &str) -> Amounts {
        let (Some(shared), Some(name)) = (self.on(), exact(user)) else { return Vec::new() };
        let now = shared.now();
        let mut amounts = vec![(PenaltyKey::KnownSource(source.clone(), Arc::clone(&name)), f64::MIN)];
        let mut state = shared.lock();
        let is_first = state.known.note(source, &name, now);
        if is_first && shared.counts_source(source) {
            // Whoever shares an address with a thousand others must not wait for what ten of them mistyped. Nor does the network around it, but for
            // no more than failed from there.
            let failed = state.read(&PenaltyKey::Source(source.clone()), now).faded(super::sketch::HALF_LIFE);
            if failed > 0.0 && state.known.take_credit(&name, now) {
                let credit = failed.min(1.0);
                amounts.extend(shared.blocks(source).map(|block| (block, -credit)));
            }
        }
        drop(state);
        // Each time: a store may have lost what it was told.
        amounts.push((PenaltyKey::LoginsFrom(source.clone()), 1.0));
        amounts.push((PenaltyKey::Logins(source.clone(), name), 1.0));
        shared.add(amounts, Named::Nobody)
    }
}

/// What was added to which counts, to be told to others.
pub(in crate::io) type Amounts = Vec<(PenaltyKey, f64)>;

impl Shared {
    fn penalties(&self) -> Arc<Penalties> {
        Arc::clone(&self.penalties.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether failures of this source are counted by it.
    fn counts_source(&self, source: &Source) -> bool {
        source.is_counted() && !self.penalties().is_exempt(source)
    }

    /// The source and the block around it.
    fn blocks(&self, source: &Source) -> impl Iterator<Item = PenaltyKey> + use<> {
        let (ipv4, ipv6) = self.penalties().blocks;
        [Some(PenaltyKey::Source(source.clone())), source.around(ipv4, ipv6).map(PenaltyKey::Block)]
            .into_iter()
            .flatten()
    }

    fn turn_away(&self, shut: Shut) -> Result<(), Shut> {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        Err(shut)
    }

    /// What a wrong password counts for.
    fn charged(&self, source: &Source, user: &str, is_known: bool) -> Vec<PenaltyKey> {
        let mut keys = Vec::new();
        if let (Some(name), Some(exact)) = (name(user), exact(user)) {
            if is_known {
                return vec![PenaltyKey::KnownSource(source.clone(), exact)];
            }
            if self.penalties().is_exempt(source) {
                return vec![PenaltyKey::ExemptSource(source.clone(), name)];
            }
            keys.push(PenaltyKey::Account(name));
            keys.push(PenaltyKey::Total);
        }
        if self.counts_source(source) {
            keys.extend(self.blocks(source));
        }
        keys
    }

    fn look(&self, state: &State, keys: Vec<PenaltyKey>, others: &Others) -> Look {
        let now = self.now();
        let counts = keys.into_iter().enumerate().map(|(at, key)| {
            let here = state.read(&key, now);
            (key, here, others.at(at))
        });
        Look(counts.collect())
    }

    /// Whether so many passwords are being looked at that one more would have to wait if they were all wrong. One may always be looked at for
    /// which nobody has to wait.
    #[allow(clippy::arithmetic_side_effects, reason = "floating point does not overflow into a panic")]
    fn is_full(&self, state: &State, key: &PenaltyKey, counts: &Look) -> bool {
        let held = state.in_flight.of(key);
        let free = match key {
            PenaltyKey::Source(_) => f64::from(self.penalties().source.free),
            PenaltyKey::Block(_) => f64::from(self.penalties().block.free),
            PenaltyKey::Account(_) | PenaltyKey::KnownSource(..) | PenaltyKey::ExemptSource(..) => {
                f64::from(self.penalties().account.free)
            }
            PenaltyKey::Total => self.limit(counts),
            PenaltyKey::Logins(..) | PenaltyKey::LoginsFrom(_) => return false,
        };
        held > 0 && counts.level(key) + f64::from(held) > free
    }

    /// Whether others have come before, and wait. Of the total there is more for those who come from where somebody has logged in: they don't wait for
    /// those for whom there is less.
    fn is_waited_for(&self, state: &State, key: &PenaltyKey, counts: &Look) -> bool {
        state.in_flight.is_waited_for(key) && !(*key == PenaltyKey::Total && counts.has_logins_from())
    }

    /// The total past which no password is looked at from there.
    #[allow(clippy::arithmetic_side_effects, reason = "floating point does not overflow into a panic")]
    fn limit(&self, counts: &Look) -> f64 {
        self.penalties().total() * if counts.has_logins_from() { LAST } else { 1.0 }
    }

    fn source_shut(&self, counts: &Look) -> Option<Shut> {
        let own = self.penalties().source.left(counts.of(|key| matches!(key, PenaltyKey::Source(_))));
        let around = || self.penalties().block.left(counts.of(|key| matches!(key, PenaltyKey::Block(_))));
        own.map(|left| shut(Penalty::Source, left)).or_else(|| around().map(|left| shut(Penalty::Block, left)))
    }

    fn password_shut(&self, source: &Source, user: &str, counts: &Look, others: &Others) -> Option<Shut> {
        let waits = self.penalties().account;
        let own = if counts.has_logins() {
            Some(counts.of(|key| matches!(key, PenaltyKey::KnownSource(..))))
        } else if self.penalties().is_exempt(source) && name(user).is_some() {
            Some(counts.of(|key| matches!(key, PenaltyKey::ExemptSource(..))))
        } else {
            None
        };
        if let Some(own) = own {
            return waits.left(own).map(|left| shut(Penalty::KnownSource, left));
        }
        if let Some(shut) = self.source_shut(counts).or_else(|| self.away(others)) {
            return Some(shut);
        }
        let is_over = counts.level(&PenaltyKey::Total) > self.limit(counts);
        // Nobody's password is looked at from there, so nobody is told that it is wrong. Whatever the name, and before that is looked at: which
        // names wait shows nothing, and none was logged in to from there. Not at an exempt source, where each name has a count of its own.
        if is_over && !counts.has_logins_from() && !self.penalties().is_exempt(source) {
            return Some(shut(Penalty::Strangers, super::MINUTE));
        }
        if let Some(left) = waits.left(counts.of(|key| matches!(key, PenaltyKey::Account(_)))) {
            return Some(shut(Penalty::Account, left));
        }
        is_over.then(|| shut(Penalty::Total, super::MINUTE))
    }

    /// Whether nobody is to be let in while the others can't be asked.
    fn away(&self, others: &Others) -> Option<Shut> {
        let is_shut = matches!((others, &self.penalties().store), (Others::Away, Some((_, WhenAway::TurnAway))));
        let reason = Reason::NotNow("the counts of failed logins are away");
        is_shut.then_some(Shut { reason, left: Duration::ZERO })
    }

    /// Adds, and tells where somebody has to wait for it; a name in the keys is that of `named`.
    fn add(&self, amounts: Amounts, named: Named<'_>) -> Amounts {
        let now = self.now();
        let mut state = self.lock();
        let waits: Vec<_> = amounts
            .iter()
            .filter_map(|(key, amount)| Some((key, self.add_one(&mut state, key, *amount, now)?)))
            .collect();
        drop(state);
        for (key, (penalty, wait)) in waits {
            let (source, user) = match key {
                PenaltyKey::Source(source) | PenaltyKey::Block(source) => (Some(source), Named::Nobody),
                PenaltyKey::Account(_) => (None, named),
                PenaltyKey::KnownSource(source, _) | PenaltyKey::ExemptSource(source, _) => (Some(source), named),
                PenaltyKey::Total | PenaltyKey::Logins(..) | PenaltyKey::LoginsFrom(_) => (None, Named::Nobody),
            };
            self.tell(&PenaltyEvent::Wait { penalty, source, user, wait });
        }
        amounts
    }

    /// Adds, and says who has to wait for it, and for how long, if somebody has.
    fn add_one(&self, state: &mut State, key: &PenaltyKey, amount: f64, now: Moment) -> Option<(Penalty, Duration)> {
        let before = state.read(key, now);
        state.add(key, amount, now);
        if amount <= 0.0 {
            return None;
        }
        let after = state.read(key, now);
        let penalties = self.penalties();
        let (penalty, wait) = match key {
            PenaltyKey::Source(_) => (Penalty::Source, penalties.source.after(after.level)),
            PenaltyKey::Block(_) => (Penalty::Block, penalties.block.after(after.level)),
            PenaltyKey::Account(_) => (Penalty::Account, penalties.account.after(after.level)),
            PenaltyKey::KnownSource(..) | PenaltyKey::ExemptSource(..) => {
                (Penalty::KnownSource, penalties.account.after(after.level))
            }
            PenaltyKey::Total => {
                let limit = penalties.total();
                let is_new = before.faded(super::MINUTE) <= limit && after.level > limit;
                (Penalty::Total, if is_new { super::MINUTE } else { Duration::ZERO })
            }
            PenaltyKey::Logins(..) | PenaltyKey::LoginsFrom(_) => return None,
        };
        (!wait.is_zero()).then_some((penalty, wait))
    }

    fn tell(&self, event: &PenaltyEvent<'_>) {
        if let Some(observer) = &self.penalties().observer {
            // One that panics ends no login.
            let _ = catch_unwind(AssertUnwindSafe(|| observer(event)));
        }
    }

    #[cfg(not(test))]
    fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }

    #[cfg(test)]
    fn now(&self) -> Moment {
        Moment::after_origin(Duration::from_secs(self.skipped.load(Ordering::Relaxed)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Guard {
    pub(super) fn skip(&self, time: Duration) {
        self.0.skipped.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    /// The bytes of all that strangers can fill, and whether anybody is known.
    pub(super) fn held(&self) -> (usize, bool) {
        let State { sketch, tried, known, .. } = &*self.0.lock();
        (sketch.bytes().saturating_add(tried.bytes()), !known.is_empty())
    }

    /// Whether no password is being looked at.
    pub(super) fn is_idle(&self) -> bool {
        self.0.lock().in_flight.is_empty()
    }
}
