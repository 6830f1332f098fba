//! Logins that wait to be computed: who is next, and who must go where there are too many.
//!
//! Each source has a line of its own. Next is the line of the source with the fewest refused logins lately, and among those
//! alike the one that was served longest ago: whoever floods the server with junk waits behind everybody who does not, and
//! one source can't take the turns of the others. Where there are too many, the oldest of the longest line of the worst source
//! goes.
//!
//! Of the sources with nothing refused, those from which somebody has logged in come before those that are new: of these a flood may have any
//! number, each too seldom to be counted, and an account makes only some known. After [`IN_A_ROW`] of the former one of the latter has its
//! turn, so that newcomers get in even where those who are known are more than can be served.
//!
//! What has begun and what is fresh take turns, where one source is no worse than the other, and of a source's own what is fresh is shed
//! first. A hello that is opened leads to a login that has begun: were they served as they come, more would be begun under load than can
//! be finished, and its cost be lost; were what has begun always first, nobody would be on their way when it is done.
//!
//! Within a line the first to come is the first to be served, as long as the line moves. Once its head has waited for half
//! of what a login may wait, the newest is next: more come then than can be served, and serving them in order would make
//! each wait to the limit. Those in front are overtaken and shed when their time is over.

use crate::terms::context::Source;
use crate::time::Moment;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

/// The lines, of jobs `J`.
pub(super) struct Queue<J> {
    lines: HashMap<Key, Line<J>>,
    len: usize,
    served: u64,
    next: u64,
    refused: RefusalHistory,
    /// Which of the two is next, where there are both.
    turn: Progress,
    /// How many of known sources were served since one of a new source was.
    in_a_row: u32,
}

/// So many of known sources are served at the most before one of a new source that waits.
pub(super) const IN_A_ROW: u32 = 7;

/// Whether somebody has logged in from a source before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody has.
    Known,
    /// Nobody has, as far as this server knows.
    New,
}

/// A line's source; where sources are not counted, each job has a line of its own.
type Key = (Source, Option<u64>);

/// What was done before for the login that a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing that costs much.
    Fresh,
    /// An RSA operation, or its ticket was used up.
    Begun,
}

impl Progress {
    fn other(self) -> Self {
        match self {
            Self::Fresh => Self::Begun,
            Self::Begun => Self::Fresh,
        }
    }
}

struct Line<J> {
    origin: Origin,
    begun: VecDeque<Job<J>>,
    fresh: VecDeque<Job<J>>,
    /// The count of jobs served when this line was served last.
    served: u64,
}

struct Job<J> {
    id: u64,
    since: Moment,
    job: J,
}

impl<J> Queue<J> {
    pub(super) fn new() -> Self {
        Self {
            lines: HashMap::new(),
            len: 0,
            served: 0,
            next: 0,
            refused: RefusalHistory::default(),
            turn: Progress::Begun,
            in_a_row: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a job at the end of its source's line, and gives its name.
    pub(super) fn push(&mut self, (source, origin): (&Source, Origin), progress: Progress, now: Moment, job: J) -> u64 {
        let id = self.next;
        self.next = id.wrapping_add(1);
        let served = self.served;
        let key = key(source, id);
        // A source that comes anew is next among its like, and not ahead of those who wait.
        let line = self.lines.entry(key).or_insert_with(|| Line::new(served));
        line.origin = origin;
        line.of_mut(progress).push_back(Job { id, since: now, job });
        self.len = self.len.saturating_add(1);
        id
    }

    /// Takes the next job; those that have waited for all of `patience` go into `late` on the way.
    pub(super) fn pop(&mut self, now: Moment, patience: Duration, late: &mut Vec<J>) -> Option<J> {
        self.shed_late(now, patience, late);
        let (turn, is_newcomers_turn) = (self.turn, self.in_a_row >= IN_A_ROW);
        let order = |(key, line): &(&Key, &Line<J>)| {
            let class = match self.class(key, line, now) {
                KNOWN if is_newcomers_turn => NEW,
                NEW if is_newcomers_turn => KNOWN,
                class => class,
            };
            (class, line.of(turn).is_empty(), line.served)
        };
        let (key, class) =
            self.lines.iter().min_by_key(order).map(|(key, line)| (key.clone(), self.class(key, line, now)))?;
        let line = self.lines.get_mut(&key)?;
        let progress = if line.of(turn).is_empty() { turn.other() } else { turn };
        self.turn = progress.other();
        let jobs = line.of_mut(progress);
        let job = if stands(jobs, now, patience) { jobs.pop_back() } else { jobs.pop_front() }?;
        self.served = self.served.saturating_add(1);
        self.in_a_row = if class == KNOWN { self.in_a_row.saturating_add(1) } else { 0 };
        line.served = self.served;
        self.len = self.len.saturating_sub(1);
        self.drop_empty(&key);
        Some(job.job)
    }

    /// Takes the job out that is worth the least.
    pub(super) fn shed(&mut self, now: Moment) -> Option<J> {
        let weight = |(key, line): &(&Key, &Line<J>)| (self.class(key, line, now), line.len(), !line.fresh.is_empty());
        let key = self.lines.iter().max_by_key(weight).map(|(key, _)| key.clone())?;
        let line = self.lines.get_mut(&key)?;
        let job = line.fresh.pop_front().or_else(|| line.begun.pop_front())?;
        self.len = self.len.saturating_sub(1);
        self.drop_empty(&key);
        Some(job.job)
    }

    /// Takes a job out that nobody waits for any more.
    pub(super) fn remove(&mut self, source: &Source, id: u64) -> Option<J> {
        let key = key(source, id);
        let [begun, fresh] = self.lines.get_mut(&key)?.lanes();
        let take = |jobs: &mut VecDeque<Job<J>>| {
            let at = jobs.iter().position(|job| job.id == id)?;
            jobs.remove(at)
        };
        let job = take(begun).or_else(|| take(fresh))?;
        self.len = self.len.saturating_sub(1);
        self.drop_empty(&key);
        Some(job.job)
    }

    /// A computed login of this source was refused.
    pub(super) fn note_refused(&mut self, source: &Source, now: Moment) {
        self.refused.note(source, now);
    }

    /// Whether a job of this source would wait behind some that have waited for half of `patience` already.
    pub(super) fn is_pressed(&self, (source, origin): (&Source, Origin), now: Moment, patience: Duration) -> bool {
        let own = class(self.refused.rank(source, now), origin);
        self.lines.iter().any(|(key, line)| {
            let is_standing = [&line.begun, &line.fresh].into_iter().any(|jobs| stands(jobs, now, patience));
            is_standing && self.class(key, line, now) <= own
        })
    }

    /// Whether somebody waits who comes before all that are new.
    pub(super) fn has_known(&self, now: Moment) -> bool {
        self.lines.iter().any(|(key, line)| self.class(key, line, now) == KNOWN)
    }

    fn class(&self, (source, _): &Key, line: &Line<J>, now: Moment) -> u32 {
        class(self.refused.rank(source, now), line.origin)
    }

    /// How long the first have waited among those whose source had no login refused lately: what somebody waits who comes anew, where the
    /// lines move.
    pub(super) fn wait(&self, now: Moment) -> Duration {
        let clean = self.lines.iter().filter(|((source, _), _)| self.refused.rank(source, now) == 0);
        let waits = clean.flat_map(|(_, line)| [&line.begun, &line.fresh]).filter_map(|jobs| waited(jobs, now));
        waits.max().unwrap_or_default()
    }

    /// Whether logins of this source were refused lately.
    pub(super) fn was_refused(&self, source: &Source, now: Moment) -> bool {
        self.refused.rank(source, now) > 0
    }

    fn shed_late(&mut self, now: Moment, patience: Duration, late: &mut Vec<J>) {
        let before = late.len();
        for jobs in self.lines.values_mut().flat_map(Line::lanes) {
            while waited(jobs, now).is_some_and(|waited| waited >= patience) {
                late.extend(jobs.pop_front().map(|job| job.job));
            }
        }
        let count = late.len().saturating_sub(before);
        if count > 0 {
            self.len = self.len.saturating_sub(count);
            self.lines.retain(|_, line| line.len() > 0);
        }
    }

    fn drop_empty(&mut self, key: &Key) {
        if self.lines.get(key).is_some_and(|line| line.len() == 0) {
            self.lines.remove(key);
        }
    }
}

impl<J> Line<J> {
    fn new(served: u64) -> Self {
        Self { origin: Origin::New, begun: VecDeque::new(), fresh: VecDeque::new(), served }
    }

    fn of(&self, progress: Progress) -> &VecDeque<Job<J>> {
        match progress {
            Progress::Begun => &self.begun,
            Progress::Fresh => &self.fresh,
        }
    }

    fn of_mut(&mut self, progress: Progress) -> &mut VecDeque<Job<J>> {
        match progress {
            Progress::Begun => &mut self.begun,
            Progress::Fresh => &mut self.fresh,
        }
    }

    fn lanes(&mut self) -> [&mut VecDeque<Job<J>>; 2] {
        [&mut self.begun, &mut self.fresh]
    }

    fn len(&self) -> usize {
        self.begun.len().saturating_add(self.fresh.len())
    }
}

/// Those from which somebody has logged in, and nothing was refused lately.
const KNOWN: u32 = 0;

/// Those of which nothing is known.
const NEW: u32 = 1;

/// Who comes before whom, by how much of theirs was refused lately, and by whether they are known.
fn class(rank: u32, origin: Origin) -> u32 {
    match (rank, origin) {
        (0, Origin::Known) => KNOWN,
        (rank, _) => rank.saturating_add(NEW),
    }
}

/// How long the first of these has waited.
fn waited<J>(jobs: &VecDeque<Job<J>>, now: Moment) -> Option<Duration> {
    jobs.front().map(|job| now.saturating_since(job.since))
}

/// Whether these stand: the first has waited for half of `patience`.
fn stands<J>(jobs: &VecDeque<Job<J>>, now: Moment, patience: Duration) -> bool {
    waited(jobs, now).is_some_and(|waited| waited >= patience.checked_div(2).unwrap_or_default())
}

fn key(source: &Source, id: u64) -> Key {
    (source.clone(), (!source.is_counted()).then_some(id))
}

/// How many logins of each source were refused lately: a count that halves every [`HALF_LIFE`].
#[derive(Default)]
struct RefusalHistory(HashMap<Source, (f64, Moment)>);

/// A user who mistyped is forgiven in a minute; whoever sends junk all the time never is.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// Sources that are remembered: some 400 KiB of them.
const SOURCES: usize = 4096;

impl RefusalHistory {
    fn note(&mut self, source: &Source, now: Moment) {
        if !source.is_counted() {
            return;
        }
        let count = self.count(source, now) + 1.0;
        if self.0.len() >= SOURCES && !self.0.contains_key(source) {
            // Whoever comes from so many sources that they don't fit is forgotten with all that weigh little.
            self.0.retain(|_, (count, since)| decayed(*count, *since, now) >= 2.0);
            if self.0.len() >= SOURCES {
                return;
            }
        }
        self.0.insert(source.clone(), (count, now));
    }

    fn count(&self, source: &Source, now: Moment) -> f64 {
        self.0.get(source).map_or(0.0, |(count, since)| decayed(*count, *since, now))
    }

    /// The count in powers of two: sources that differ by less are alike.
    fn rank(&self, source: &Source, now: Moment) -> u32 {
        let count = self.count(source, now);
        (0..32).find(|&rank| count < 0.5 * f64::from(1u32.checked_shl(rank).unwrap_or(u32::MAX))).unwrap_or(32)
    }
}

#[allow(
    clippy::arithmetic_side_effects,
    reason = "floating point neither overflows into a panic nor divides by zero here"
)]
fn decayed(count: f64, since: Moment, now: Moment) -> f64 {
    count * 0.5f64.powf(now.saturating_since(since).as_secs_f64() / HALF_LIFE.as_secs_f64())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests;
