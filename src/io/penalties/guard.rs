//! Who has to wait, by the counts.

use super::known::Known;
use super::sketch::{Sketch, plus};
use super::store::{PenaltyKey, PenaltyStore, Standing};
use super::tried::Tried;
use super::{Penalties, PenaltyEvent, WhenAway};
use crate::terms::context::Source;
use crate::terms::error::{Penalty, Reason};
use crate::time::Moment;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The counts of one server. A clone shares them.
#[derive(Clone)]
pub(in crate::io) struct Guard(Option<Arc<Shared>>);

struct Shared {
    penalties: Penalties,
    start: Instant,
    state: Mutex<State>,
    turned_away: AtomicU64,
    unchecked: AtomicU64,
    store_away: AtomicU64,
    /// Seconds that a test does not wait for.
    #[cfg(test)]
    skipped: AtomicU64,
}

struct State {
    sketch: Sketch,
    known: Known,
    tried: Tried,
    total: (f64, Moment),
}

/// Somebody has to wait.
#[derive(Debug)]
pub(in crate::io) struct Shut {
    pub(in crate::io) reason: Reason,
    pub(in crate::io) left: Duration,
}

/// What other servers have counted.
pub(in crate::io) enum Others {
    /// There are none.
    None,
    /// In the order of the keys that they were asked for.
    Counted(Vec<Standing>),
    /// They can't be asked.
    Away,
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

/// A part of a failure: what is not worth a whole one.
const PART: f64 = 0.25;

/// So much more than strangers may be wrong in all before those are stopped who come from where somebody has logged in.
const LAST: f64 = 4.0;

impl Guard {
    pub(in crate::io) fn new(penalties: Penalties) -> Self {
        let state =
            State { sketch: Sketch::new(), known: Known::default(), tried: Tried::new(), total: (0.0, Moment::ORIGIN) };
        Self(Some(Arc::new(Shared {
            penalties,
            start: Instant::now(),
            state: Mutex::new(state),
            turned_away: AtomicU64::new(0),
            unchecked: AtomicU64::new(0),
            store_away: AtomicU64::new(0),
            #[cfg(test)]
            skipped: AtomicU64::new(0),
        })))
    }

    /// Nobody has to wait for anything.
    pub(in crate::io) fn none() -> Self {
        Self(None)
    }

    /// Where other servers' counts are.
    pub(in crate::io) fn store(&self) -> Option<Arc<dyn PenaltyStore>> {
        self.0.as_ref()?.penalties.store.as_ref().map(|(store, _)| Arc::clone(store))
    }

    /// How many were turned away, how many passwords not checked, and how often the store was away.
    pub(in crate::io) fn counts(&self) -> (u64, u64, u64) {
        self.0.as_ref().map_or((0, 0, 0), |shared| {
            let [a, b, c] =
                [&shared.turned_away, &shared.unchecked, &shared.store_away].map(|count| count.load(Ordering::Relaxed));
            (a, b, c)
        })
    }

    pub(in crate::io) fn note_store_away(&self) {
        if let Some(shared) = &self.0 {
            shared.store_away.fetch_add(1, Ordering::Relaxed);
            shared.tell(&PenaltyEvent::StoreAway);
        }
    }

    /// The counts that say whether a hello is taken; none where it always is.
    pub(in crate::io) fn of_hello(&self, source: &Source) -> Vec<PenaltyKey> {
        match &self.0 {
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
        let Some(shared) = &self.0 else { return Vec::new() };
        let mut keys = vec![PenaltyKey::LoginsFrom(source.clone()), PenaltyKey::Total];
        if let Some(name) = name(user) {
            keys.push(PenaltyKey::Logins(source.clone(), Arc::clone(&name)));
            keys.push(PenaltyKey::KnownSource(source.clone(), Arc::clone(&name)));
            keys.push(PenaltyKey::Account(name));
        }
        if shared.counts_source(source) {
            keys.extend(shared.blocks(source));
        }
        keys
    }

    /// Whether a hello is taken.
    pub(in crate::io) fn greet(&self, source: &Source, others: &Others) -> Result<(), Shut> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let counts = shared.look(self.of_hello(source), others);
        let shut = shared.source_shut(&counts).filter(|_| !counts.has_logins_from());
        let shut = shut.or_else(|| shared.away(others).filter(|_| !counts.has_logins_here()));
        count(&shared.turned_away, shut)
    }

    /// Whether a password is looked at.
    pub(in crate::io) fn check(&self, source: &Source, user: &str, others: &Others) -> Result<(), Shut> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let counts = shared.look(self.of_password(source, user), others);
        count(&shared.unchecked, shared.password_shut(source, user, &counts, others))
    }

    /// The counts that say whose failure a wrong password for this user is.
    pub(in crate::io) fn of_failure(&self, source: &Source, user: &str) -> Vec<PenaltyKey> {
        let logins = |name| PenaltyKey::Logins(source.clone(), name);
        self.0.as_ref().and_then(|_| name(user)).map(logins).into_iter().collect()
    }

    /// Whether somebody has logged in from this source at this server, or it is exempt. Those who are not counted are no one's source.
    pub(in crate::io) fn is_known(&self, source: &Source) -> bool {
        let is_known = |shared: &Shared| shared.penalties.is_exempt(source) || shared.lock().known.has_any_from(source);
        source.is_counted() && self.0.as_deref().is_some_and(is_known)
    }

    /// What a wrong password for this user was.
    pub(in crate::io) fn guess(&self, user: &str, password: &[u8]) -> Guess {
        let (Some(shared), Some(name)) = (&self.0, name(user)) else { return Guess::New };
        if shared.lock().tried.note(&name, password) { Guess::Again } else { Guess::New }
    }

    /// A login failed, which named this user, or nobody.
    pub(in crate::io) fn failed(&self, source: &Source, user: Option<(&str, Guess)>, others: &Others) -> Amounts {
        let Some(shared) = &self.0 else { return Vec::new() };
        let name = user.filter(|(_, guess)| *guess != Guess::No).and_then(|(user, guess)| Some((name(user)?, guess)));
        let mut amounts = Vec::new();
        if let Some((name, guess)) = name {
            let is_exempt = shared.penalties.is_exempt(source);
            let is_known = shared.look(self.of_failure(source, &name), others).has_logins();
            // Elsewhere it is counted: a password hash costs as much the second time.
            if is_known && guess == Guess::Again {
                return Vec::new();
            }
            if is_known || is_exempt {
                return shared.add(vec![(PenaltyKey::KnownSource(source.clone(), name), 1.0)]);
            }
            amounts.push((PenaltyKey::Account(name), 1.0));
            amounts.push((PenaltyKey::Total, 1.0));
        }
        if shared.counts_source(source) {
            amounts.extend(shared.blocks(source).map(|block| (block, 1.0)));
        }
        shared.add(amounts)
    }

    /// A connection came to nothing, or its password was not looked at.
    pub(in crate::io) fn in_vain(&self, source: &Source) -> Amounts {
        match &self.0 {
            Some(shared) if shared.counts_source(source) => {
                shared.add(shared.blocks(source).map(|block| (block, PART)).collect())
            }
            _ => Vec::new(),
        }
    }

    /// A good login to this account.
    pub(in crate::io) fn accepted(&self, source: &Source, user: &str) -> Amounts {
        let (Some(shared), Some(name)) = (&self.0, name(user)) else { return Vec::new() };
        let now = shared.now();
        let mut state = shared.lock();
        let is_first = !state.known.has(source, &name);
        state.known.note(source, &name, now);
        drop(state);
        let mut amounts = vec![(PenaltyKey::KnownSource(source.clone(), Arc::clone(&name)), f64::MIN)];
        if is_first {
            if shared.counts_source(source) {
                // Whoever shares an address with a thousand others must not wait for what ten of them mistyped.
                amounts.extend(shared.blocks(source).map(|block| (block, -1.0)));
            }
            amounts.push((PenaltyKey::LoginsFrom(source.clone()), 1.0));
            amounts.push((PenaltyKey::Logins(source.clone(), name), 1.0));
        }
        shared.add(amounts)
    }
}

/// What was added to which counts, to be told to others.
pub(in crate::io) type Amounts = Vec<(PenaltyKey, f64)>;

/// Names are counted by what is the same for stores that don't tell upper from lower case: or whoever guesses has a fresh count
/// for each way to write one. A name that was not opened, or of a token, is none.
fn name(user: &str) -> Option<Arc<str>> {
    let name = user.trim().to_lowercase();
    (!name.is_empty()).then(|| name.into())
}

fn count(count: &AtomicU64, shut: Option<Shut>) -> Result<(), Shut> {
    match shut {
        None => Ok(()),
        Some(shut) => {
            count.fetch_add(1, Ordering::Relaxed);
            Err(shut)
        }
    }
}

/// Counts, here and elsewhere together.
struct Look(Vec<(PenaltyKey, Standing, Standing)>);

impl Look {
    /// Of the two, the one that is more now.
    fn of(&self, wanted: impl Fn(&PenaltyKey) -> bool) -> Standing {
        let found = self.0.iter().find(|(key, ..)| wanted(key));
        found.map_or_else(Standing::default, |(key, here, there)| {
            let half_life = key.half_life();
            if here.faded(half_life) >= there.faded(half_life) { *here } else { *there }
        })
    }

    fn has_logins_from(&self) -> bool {
        self.of(|key| matches!(key, PenaltyKey::LoginsFrom(_))).level > 0.0
    }

    /// As this server itself knows it.
    fn has_logins_here(&self) -> bool {
        let is_login = |key: &PenaltyKey| matches!(key, PenaltyKey::LoginsFrom(_));
        self.0.iter().any(|(key, here, _)| is_login(key) && here.level > 0.0)
    }

    fn has_logins(&self) -> bool {
        self.of(|key| matches!(key, PenaltyKey::Logins(..))).level > 0.0
    }
}

impl Shared {
    /// Whether failures of this source are counted by it.
    fn counts_source(&self, source: &Source) -> bool {
        source.is_counted() && !self.penalties.is_exempt(source)
    }

    /// The source and the block around it.
    fn blocks(&self, source: &Source) -> impl Iterator<Item = PenaltyKey> + use<> {
        let (ipv4, ipv6) = self.penalties.blocks;
        [Some(PenaltyKey::Source(source.clone())), source.around(ipv4, ipv6).map(PenaltyKey::Block)]
            .into_iter()
            .flatten()
    }

    fn look(&self, keys: Vec<PenaltyKey>, others: &Others) -> Look {
        let now = self.now();
        let state = self.lock();
        let there = |at: usize| match others {
            Others::Counted(standings) => standings.get(at).copied().unwrap_or_default(),
            Others::None | Others::Away => Standing::default(),
        };
        let counts = keys.into_iter().enumerate().map(|(at, key)| {
            let here = state.read(&key, now);
            (key, here, there(at))
        });
        Look(counts.collect())
    }

    fn source_shut(&self, counts: &Look) -> Option<Shut> {
        let own = self.penalties.source.left(counts.of(|key| matches!(key, PenaltyKey::Source(_))));
        let around = || self.penalties.block.left(counts.of(|key| matches!(key, PenaltyKey::Block(_))));
        own.map(|left| shut(Penalty::Source, left)).or_else(|| around().map(|left| shut(Penalty::Block, left)))
    }

    fn password_shut(&self, source: &Source, user: &str, counts: &Look, others: &Others) -> Option<Shut> {
        let waits = &self.penalties.account;
        if counts.has_logins() || self.penalties.is_exempt(source) && name(user).is_some() {
            let standing = counts.of(|key| matches!(key, PenaltyKey::KnownSource(..)));
            return waits.left(standing).map(|left| shut(Penalty::KnownSource, left));
        }
        if let Some(shut) = self.source_shut(counts).or_else(|| self.away(others)) {
            return Some(shut);
        }
        if let Some(left) = waits.left(counts.of(|key| matches!(key, PenaltyKey::Account(_)))) {
            return Some(shut(Penalty::Account, left));
        }
        let total = counts.of(|key| matches!(key, PenaltyKey::Total)).faded(super::MINUTE);
        #[allow(clippy::arithmetic_side_effects, reason = "floating point does not overflow into a panic")]
        let limit = self.penalties.total() * if counts.has_logins_from() { LAST } else { 1.0 };
        (total > limit).then(|| shut(Penalty::Total, super::MINUTE))
    }

    /// Whether nobody is to be let in while the others can't be asked.
    fn away(&self, others: &Others) -> Option<Shut> {
        let is_shut = matches!((others, &self.penalties.store), (Others::Away, Some((_, WhenAway::TurnAway))));
        let reason = Reason::NotNow("the counts of failed logins are away");
        is_shut.then_some(Shut { reason, left: Duration::ZERO })
    }

    fn add(&self, amounts: Amounts) -> Amounts {
        let now = self.now();
        let mut state = self.lock();
        let events: Vec<_> =
            amounts.iter().filter_map(|(key, amount)| self.add_one(&mut state, key, *amount, now)).collect();
        drop(state);
        events.iter().for_each(|event| self.tell(event));
        amounts
    }

    /// Adds, and says so where somebody has to wait for it.
    fn add_one(&self, state: &mut State, key: &PenaltyKey, amount: f64, now: Moment) -> Option<PenaltyEvent> {
        let before = state.read(key, now);
        state.add(key, amount, now);
        if amount <= 0.0 {
            return None;
        }
        let after = state.read(key, now);
        let penalties = &self.penalties;
        let (penalty, wait) = match key {
            PenaltyKey::Source(_) => (Penalty::Source, penalties.source.after(after.level)),
            PenaltyKey::Block(_) => (Penalty::Block, penalties.block.after(after.level)),
            PenaltyKey::Account(_) => (Penalty::Account, penalties.account.after(after.level)),
            PenaltyKey::KnownSource(..) => (Penalty::KnownSource, penalties.account.after(after.level)),
            PenaltyKey::Total => {
                let limit = penalties.total();
                let is_new = before.faded(super::MINUTE) <= limit && after.level > limit;
                (Penalty::Total, if is_new { super::MINUTE } else { Duration::ZERO })
            }
            PenaltyKey::Logins(..) | PenaltyKey::LoginsFrom(_) => return None,
        };
        (!wait.is_zero()).then(|| PenaltyEvent::Wait { penalty, key: key.clone(), wait })
    }

    fn tell(&self, event: &PenaltyEvent) {
        if let Some(observer) = &self.penalties.observer {
            // One that panics ends no login.
            let _ = catch_unwind(AssertUnwindSafe(|| observer(event)));
        }
    }

    fn now(&self) -> Moment {
        let now = Moment::after_origin(self.start.elapsed());
        #[cfg(test)]
        let now = now.after(Duration::from_secs(self.skipped.load(Ordering::Relaxed)));
        now
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Guard {
    pub(super) fn skip(&self, time: Duration) {
        if let Some(shared) = &self.0 {
            shared.skipped.fetch_add(time.as_secs(), Ordering::Relaxed);
        }
    }

    /// The bytes of all that strangers can fill, and whether anybody is known.
    pub(super) fn held(&self) -> (usize, bool) {
        self.0.as_ref().map_or((0, false), |shared| {
            let State { sketch, tried, known, .. } = &*shared.lock();
            (sketch.bytes().saturating_add(tried.bytes()), !known.is_empty())
        })
    }
}

impl State {
    fn read(&self, key: &PenaltyKey, now: Moment) -> Standing {
        let is_there = |is_there| Standing { level: if is_there { 1.0 } else { 0.0 }, since: Duration::ZERO };
        match key {
            PenaltyKey::Source(_) | PenaltyKey::Block(_) | PenaltyKey::Account(_) => self.sketch.read(key, now),
            PenaltyKey::KnownSource(source, name) => {
                // One that is exempt need not have logged in.
                self.known.read(source, name, now).unwrap_or_else(|| self.sketch.read(key, now))
            }
            PenaltyKey::Total => Standing { level: self.total.0, since: now.saturating_since(self.total.1) },
            PenaltyKey::Logins(source, name) => is_there(self.known.has(source, name)),
            PenaltyKey::LoginsFrom(source) => is_there(self.known.has_any_from(source)),
        }
    }

    fn add(&mut self, key: &PenaltyKey, amount: f64, now: Moment) {
        match key {
            PenaltyKey::Source(_) | PenaltyKey::Block(_) | PenaltyKey::Account(_) => self.sketch.add(key, amount, now),
            PenaltyKey::KnownSource(source, name) => {
                // What is cleared in a sketch may be somebody else's.
                if !self.known.add(source, name, amount, now) && amount > 0.0 {
                    self.sketch.add(key, amount, now);
                }
            }
            PenaltyKey::Total => {
                let level = self.read(key, now).faded(super::MINUTE);
                self.total = (plus(level, amount), now);
            }
            // By their good logins: [`Known::note`].
            PenaltyKey::Logins(..) | PenaltyKey::LoginsFrom(_) => {}
        }
    }
}
