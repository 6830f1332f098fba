//! Logins that wait to be computed: who is next, and who must go where there are too many.
//!
//! Each source has a line of its own. Next is the line of the source with the fewest refused logins lately, and among those
//! alike the one that was served longest ago: whoever floods the server with junk waits behind everybody who does not, and
//! one source can't take the turns of the others. Where there are too many, the oldest of the longest line of the worst source
//! goes.
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
}

/// A line's source; where sources are not counted, each job has a line of its own.
type Key = (Source, Option<u64>);

struct Line<J> {
    jobs: VecDeque<Job<J>>,
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
        Self { lines: HashMap::new(), len: 0, served: 0, next: 0, refused: RefusalHistory::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a job at the end of its source's line, and gives its name.
    pub(super) fn push(&mut self, source: &Source, now: Moment, job: J) -> u64 {
        let id = self.next;
        self.next = id.wrapping_add(1);
        let served = self.served;
        let key = key(source, id);
        // A source that comes anew is next among its like, and not ahead of those who wait.
        let line = self.lines.entry(key).or_insert_with(|| Line { jobs: VecDeque::new(), served });
        line.jobs.push_back(Job { id, since: now, job });
        self.len = self.len.saturating_add(1);
        id
    }

    /// Takes the next job; those that have waited for all of `patience` go into `late` on the way.
    pub(super) fn pop(&mut self, now: Moment, patience: Duration, late: &mut Vec<J>) -> Option<J> {
        self.shed_late(now, patience, late);
        let next = self.lines.iter().min_by_key(|((source, _), line)| (self.refused.rank(source, now), line.served));
        let key = next.map(|(key, _)| key.clone())?;
        let line = self.lines.get_mut(&key)?;
        let head = line.jobs.front().map(|job| now.saturating_since(job.since));
        let stands = head.is_some_and(|waited| is_standing(waited, patience));
        let job = if stands { line.jobs.pop_back() } else { line.jobs.pop_front() }?;
        self.served = self.served.saturating_add(1);
        line.served = self.served;
        self.len = self.len.saturating_sub(1);
        self.drop_empty(&key);
        Some(job.job)
    }

    /// Takes the job out that is worth the least.
    pub(super) fn shed(&mut self, now: Moment) -> Option<J> {
        let weight = |((source, _), line): &(&Key, &Line<J>)| (self.refused.rank(source, now), line.jobs.len());
        let worst = self.lines.iter().max_by_key(weight);
        let key = worst.map(|(key, _)| key.clone())?;
        let job = self.lines.get_mut(&key)?.jobs.pop_front()?;
        self.len = self.len.saturating_sub(1);
        self.drop_empty(&key);
        Some(job.job)
    }

    /// Takes a job out that nobody waits for any more.
    pub(super) fn remove(&mut self, source: &Source, id: u64) -> Option<J> {
        let key = key(source, id);
        let line = self.lines.get_mut(&key)?;
        let at = line.jobs.iter().position(|job| job.id == id)?;
        let job = line.jobs.remove(at)?;
        self.len = self.len.saturating_sub(1);
        self.drop_empty(&key);
        Some(job.job)
    }

    /// A computed login of this source was refused.
    pub(super) fn note_refused(&mut self, source: &Source, now: Moment) {
        self.refused.note(source, now);
    }

    /// Whether a job of this source would wait behind some that have waited for half of `patience` already.
    pub(super) fn is_pressed(&self, source: &Source, now: Moment, patience: Duration) -> bool {
        let rank = self.refused.rank(source, now);
        self.lines.iter().any(|((of, _), line)| {
            let waited = line.jobs.front().map(|job| now.saturating_since(job.since));
            waited.is_some_and(|waited| is_standing(waited, patience)) && self.refused.rank(of, now) <= rank
        })
    }

    fn shed_late(&mut self, now: Moment, patience: Duration, late: &mut Vec<J>) {
        let before = late.len();
        for line in self.lines.values_mut() {
            let is_late = |job: &Job<J>| now.saturating_since(job.since) >= patience;
            while line.jobs.front().is_some_and(is_late) {
                late.extend(line.jobs.pop_front().map(|job| job.job));
            }
        }
        let count = late.len().saturating_sub(before);
        if count > 0 {
            self.len = self.len.saturating_sub(count);
            self.lines.retain(|_, line| !line.jobs.is_empty());
        }
    }

    fn drop_empty(&mut self, key: &Key) {
        if self.lines.get(key).is_some_and(|line| line.jobs.is_empty()) {
            self.lines.remove(key);
        }
    }
}

/// Whether a line stands whose head has waited so long.
fn is_standing(waited: Duration, patience: Duration) -> bool {
    waited >= patience.checked_div(2).unwrap_or_default()
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
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Moment {
        Moment::after_origin(Duration::from_millis(millis))
    }

    fn source(name: &str) -> Source {
        Source::named(name)
    }

    fn pop(queue: &mut Queue<&'static str>, now: u64) -> (Option<&'static str>, Vec<&'static str>) {
        let mut late = Vec::new();
        (queue.pop(at(now), PATIENCE, &mut late), late)
    }

    #[test]
    fn sources_take_turns_whatever_the_length_of_their_lines() {
        let mut queue = Queue::new();
        for job in ["a1", "a2", "a3", "a4"] {
            queue.push(&source("a"), at(0), job);
        }
        queue.push(&source("b"), at(1), "b1");
        let order: Vec<_> = (0..5).map(|_| pop(&mut queue, 2).0.unwrap()).collect();
        assert!(order.iter().position(|&job| job == "b1").unwrap() <= 1, "{order:?}");
        assert_eq!(
            order.iter().filter(|job| job.starts_with('a')).copied().collect::<Vec<_>>(),
            ["a1", "a2", "a3", "a4"]
        );
        assert_eq!((pop(&mut queue, 3).0, queue.len()), (None, 0));
    }

    #[test]
    fn whoever_was_refused_waits_behind_those_who_were_not_until_it_is_forgiven() {
        let mut queue = Queue::new();
        for _ in 0..8 {
            queue.note_refused(&source("junk"), at(0));
        }
        queue.note_refused(&source("typo"), at(0));
        for (name, job) in [("junk", "junk"), ("typo", "typo"), ("good", "good")] {
            queue.push(&source(name), at(1), job);
        }
        assert_eq!([0; 3].map(|_| pop(&mut queue, 2).0.unwrap()), ["good", "typo", "junk"]);
        // Ten half-lives later nobody remembers.
        assert_eq!(queue.refused.rank(&source("junk"), at(100_000)), 0);
        // Those who are not counted by source are not held to account by it.
        queue.note_refused(&Source::uncounted(), at(0));
        assert_eq!(queue.refused.rank(&Source::uncounted(), at(0)), 0);
    }

    #[test]
    fn a_source_is_pressed_by_those_who_would_be_served_before_it() {
        let mut queue = Queue::new();
        let pressed = |queue: &Queue<&str>, name: &str, now| queue.is_pressed(&source(name), at(now), PATIENCE);
        queue.push(&source("busy"), at(0), "one");
        assert!(!pressed(&queue, "busy", 499) && !pressed(&queue, "good", 499));
        // Half of the patience.
        assert!(pressed(&queue, "busy", 500) && pressed(&queue, "good", 500));
        // Whoever waits behind the others presses none of them.
        queue.note_refused(&source("busy"), at(500));
        assert!(pressed(&queue, "busy", 501) && !pressed(&queue, "good", 501));
        assert!(pop(&mut queue, 502).0.is_some() && !pressed(&queue, "busy", 502));
    }

    #[test]
    fn a_line_that_stands_serves_the_newest_and_sheds_the_oldest() {
        let mut queue = Queue::new();
        for (time, job) in [(0, "first"), (100, "second"), (700, "third")] {
            queue.push(&source("a"), at(time), job);
        }
        // In order while it moves.
        assert_eq!(pop(&mut queue, 400), (Some("first"), vec![]));
        assert_eq!(pop(&mut queue, 701), (Some("third"), vec![]));
        assert_eq!(pop(&mut queue, 1100), (None, vec!["second"]));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn where_there_are_too_many_the_oldest_of_the_worst_goes() {
        let mut queue = Queue::new();
        queue.push(&source("good"), at(0), "good");
        for job in ["many1", "many2"] {
            queue.push(&source("many"), at(1), job);
        }
        assert_eq!(queue.shed(at(2)), Some("many1"));
        queue.note_refused(&source("many"), at(2));
        assert_eq!(queue.shed(at(2)), Some("many2"));
        let id = queue.push(&source("good"), at(3), "gone");
        assert_eq!(queue.remove(&source("good"), id), Some("gone"));
        assert_eq!(
            (queue.remove(&source("good"), id), queue.shed(at(4)), queue.shed(at(4))),
            (None, Some("good"), None)
        );
        assert_eq!((queue.len(), queue.lines.len()), (0, 0));
    }

    #[test]
    fn the_memory_of_refusals_is_bounded() {
        let mut refused = RefusalHistory::default();
        for number in 0..3 * SOURCES {
            refused.note(&source(&number.to_string()), at(0));
        }
        assert!(refused.0.len() <= SOURCES);
        let worst = source("worst");
        (0..10).for_each(|_| refused.note(&worst, at(1)));
        assert!(refused.rank(&worst, at(1)) > 2);
        (0..SOURCES).for_each(|number| refused.note(&source(&format!("x{number}")), at(1)));
        assert!(refused.rank(&worst, at(1)) > 2, "what weighs much stays");
    }
}
