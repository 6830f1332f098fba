//! When puzzles are asked for, and how hard they are.
//!
//! What there is too much of shows in one number: how long those wait for their turn to be computed who have done nothing wrong. Past a
//! bound puzzles begin, and get harder by a bit with each half second that it lasts; below it they get easier by a bit with each
//! two seconds, and end. So the price goes to where those who are willing to pay it are no more than can be served, and a flood
//! whose work is free elsewhere (a bound on sources, a penalty) costs nobody anything.

use super::places::Counts;
use crate::terms::puzzle::PuzzleDifficulty;
use crate::time::Moment;
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Puzzles for clients while there is more to compute than can be: a client then spends so many hashes before the server spends an RSA
/// operation, a key exchange or a password hash on it. See PROTOCOL.md, "Puzzle", and SECURITY.md, "Puzzles".
///
/// | | default |
/// |---|---|
/// | begin once somebody has waited for a turn for | 125 ms |
/// | the first are of | 10 bits: 16,384 hashes, a millisecond or a few |
/// | the hardest are of | 16 bits: a million hashes, a tenth of a second, or half a second without instructions for SHA-256 |
///
/// They get harder by a bit (twice the work) with each half second for which the waiting does not end, and easier by a bit with each two
/// seconds without. Nobody solves one who comes back by ticket, nor who comes from where somebody has logged in before
/// ([`crate::Penalties`] remember that) and nothing was refused lately. Whoever has solved one waits for its turn as others do, and is
/// not turned away for how long those before it have waited. Clients that solve no puzzles are told, by the same frame, that the server is
/// busy; that is sooner than they would be told without puzzles.
///
/// ```
/// use countersign::{PuzzleDifficulty, Puzzles};
/// use std::time::Duration;
///
/// let puzzles = Puzzles::default().with_most(PuzzleDifficulty::new(14)?).with_wait(Duration::from_millis(50));
/// # Ok::<(), countersign::Misuse>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Puzzles {
    first: PuzzleDifficulty,
    most: PuzzleDifficulty,
    wait: Duration,
}

/// So long the effect of one bit takes to show: clients solve, and those who were let in before are served.
const RISE: Duration = Duration::from_millis(500);

/// Slower than they rise, so that whoever floods pays most of the time.
const FALL: Duration = Duration::from_secs(2);

impl Default for Puzzles {
    fn default() -> Self {
        let [first, most] = [PuzzleDifficulty::FIRST, PuzzleDifficulty::MOST];
        Self { first, most, wait: Duration::from_millis(125) }
    }
}

impl Puzzles {
    /// Sets how hard the first puzzles are: that of [`Puzzles::with_most`] at most.
    #[must_use]
    pub fn with_first(mut self, first: PuzzleDifficulty) -> Self {
        self.first = first;
        self
    }

    /// Sets how hard they may get. Clients turn away what is over their own bound ([`PuzzleDifficulty::CLIENT`] by default).
    #[must_use]
    pub fn with_most(mut self, most: PuzzleDifficulty) -> Self {
        self.most = most;
        self
    }

    /// Sets how long somebody has to have waited for a turn before they begin. With [`Duration::ZERO`] they are always asked for.
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// How hard puzzles are now. Told the time, and nothing else from outside.
#[derive(Debug)]
struct Level {
    /// `None` where there are to be none.
    puzzles: Option<Puzzles>,
    /// As of `since`; `None` where there are none.
    now: Option<PuzzleDifficulty>,
    /// When that was last changed, or had reason to stay.
    since: Moment,
}

impl Level {
    fn new(puzzles: Option<Puzzles>) -> Self {
        let mut level = Self { puzzles: None, now: None, since: Moment::ORIGIN };
        level.set(puzzles);
        level
    }

    /// Goes on as hard as it is, if it may still be.
    fn set(&mut self, puzzles: Option<Puzzles>) {
        self.puzzles = puzzles.map(|puzzles| Puzzles { first: puzzles.first.min(puzzles.most), ..puzzles });
        self.now = self.now.zip(self.puzzles).map(|(now, puzzles)| now.min(puzzles.most));
    }

    /// Somebody comes, where others have waited for so long.
    fn look(&mut self, wait: Duration, now: Moment) -> Option<PuzzleDifficulty> {
        let Puzzles { first, most, wait: bound } = self.puzzles?;
        let (level, falls) = self.fallen(now);
        (self.now, self.since) = match level {
            level if wait < bound => (level, self.since.after(FALL.saturating_mul(falls))),
            None => (Some(first), now),
            Some(level) if now.saturating_since(self.since) >= RISE => (Some(level.harder().min(most)), now),
            level => (level, self.since),
        };
        self.now
    }

    /// What is left of it by now, and how many times it has fallen.
    fn fallen(&self, now: Moment) -> (Option<PuzzleDifficulty>, u32) {
        let since = now.saturating_since(self.since).as_millis();
        let falls = since.checked_div(FALL.as_millis()).and_then(|falls| u32::try_from(falls).ok()).unwrap_or(u32::MAX);
        let level = self.now.and_then(|level| level.easier(falls));
        let level = level.filter(|level| self.puzzles.is_some_and(|puzzles| *level >= puzzles.first));
        (level, falls)
    }
}

/// The puzzles of one server, and what became of them. A clone shares them.
#[derive(Clone)]
pub(super) struct PuzzleControl(Arc<Shared>);

struct Shared {
    start: Instant,
    level: Mutex<Level>,
    asked: AtomicU64,
    solved: AtomicU64,
    failed: AtomicU64,
}

impl PuzzleControl {
    /// `None` for none.
    pub(super) fn new(puzzles: Option<Puzzles>) -> Self {
        Self(Arc::new(Shared {
            start: Instant::now(),
            level: Mutex::new(Level::new(puzzles)),
            asked: AtomicU64::new(0),
            solved: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }))
    }

    pub(super) fn set(&self, puzzles: Option<Puzzles>) {
        self.0.level().set(puzzles);
    }

    /// How hard a puzzle is for somebody who comes now, where others have waited for `wait`.
    pub(super) fn look(&self, wait: impl FnOnce() -> Duration) -> Option<PuzzleDifficulty> {
        self.0.level().puzzles?;
        let wait = wait();
        self.0.level().look(wait, self.0.now())
    }

    pub(super) fn asked(&self) {
        self.0.asked.fetch_add(1, Relaxed);
    }

    pub(super) fn answered(&self, is_right: bool) {
        let count = if is_right { &self.0.solved } else { &self.0.failed };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self, counts: Counts) -> Counts {
        let [puzzles_asked, puzzles_solved, puzzles_failed] =
            [&self.0.asked, &self.0.solved, &self.0.failed].map(|count| count.load(Relaxed));
        let (level, _) = self.0.level().fallen(self.0.now());
        let puzzle_bits = level.map_or(0, PuzzleDifficulty::bits);
        Counts { puzzles_asked, puzzles_solved, puzzles_failed, puzzle_bits, ..counts }
    }
}

impl Shared {
    fn level(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BUSY: Duration = Duration::from_millis(125);
    const IDLE: Duration = Duration::from_millis(124);

    fn at(millis: u64) -> Moment {
        Moment::after_origin(Duration::from_millis(millis))
    }

    fn bits(level: Option<PuzzleDifficulty>) -> u8 {
        level.map_or(0, PuzzleDifficulty::bits)
    }

    #[test]
    fn nobody_is_asked_while_nobody_waits() {
        let mut level = Level::new(Some(Puzzles::default()));
        assert_eq!([0, 1, 60_000].map(|millis| bits(level.look(IDLE, at(millis)))), [0; 3]);
    }

    #[test]
    fn it_gets_harder_with_each_half_second_of_waiting_and_no_harder_than_it_may() {
        let mut level = Level::new(Some(Puzzles::default()));
        // However many come in between.
        let asked: Vec<u8> = (0..=40).map(|tenth| bits(level.look(BUSY, at(5_000 + tenth * 100)))).collect();
        let expected: Vec<u8> = (0..=40).map(|tenth| (10 + tenth / 5).min(16)).collect();
        assert_eq!(asked, expected);
    }

    #[test]
    fn it_begins_as_hard_as_is_said_and_no_harder_than_it_may_get() {
        let hard = |bits| PuzzleDifficulty::new(bits).unwrap();
        for (first, most, expected) in [(13, 16, 13), (13, 11, 11), (3, 16, 3)] {
            let mut level = Level::new(Some(Puzzles::default().with_first(hard(first)).with_most(hard(most))));
            assert_eq!(bits(level.look(BUSY, at(0))), expected);
        }
    }

    #[test]
    fn it_gets_easier_with_each_two_seconds_without_and_ends() {
        let mut level = Level::new(Some(Puzzles::default()));
        assert_eq!([0, 500, 1_000].map(|millis| bits(level.look(BUSY, at(millis)))), [10, 11, 12]);
        let moments = [1_001, 2_999, 3_000, 4_999, 5_000, 6_999, 7_000, 60_000];
        assert_eq!(moments.map(|millis| bits(level.fallen(at(millis)).0)), [12, 12, 11, 11, 10, 10, 0, 0]);
        // The same, whether somebody comes in between or not.
        assert_eq!(moments.map(|millis| bits(level.look(IDLE, at(millis)))), [12, 12, 11, 11, 10, 10, 0, 0]);
        // And it begins anew, from the first.
        assert_eq!([60_001, 60_500, 60_501].map(|millis| bits(level.look(BUSY, at(millis)))), [10, 10, 11]);
    }

    #[test]
    fn a_long_silence_is_no_reason_to_go_on_where_it_was() {
        let mut level = Level::new(Some(Puzzles::default()));
        let all: Vec<u8> = (0..10).map(|step| bits(level.look(BUSY, at(step * 500)))).collect();
        assert_eq!(all.last(), Some(&16));
        assert_eq!(bits(level.look(BUSY, at(3_600_000))), 10);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_changes_nothing() {
        let mut level = Level::new(Some(Puzzles::default()));
        assert_eq!(bits(level.look(BUSY, at(9_000))), 10);
        assert_eq!([9_000, 3, 0].map(|millis| bits(level.look(BUSY, at(millis)))), [10; 3]);
        assert_eq!([9_000, 3, 0].map(|millis| bits(level.look(IDLE, at(millis)))), [10; 3]);
    }

    #[test]
    fn others_go_on_where_those_before_were_as_far_as_they_may_and_none_end_them() {
        let mut level = Level::new(None);
        assert_eq!([0, 9_000].map(|millis| bits(level.look(BUSY, at(millis)))), [0, 0]);
        level.set(Some(Puzzles::default()));
        assert_eq!([9_000, 9_500, 10_000, 10_500].map(|millis| bits(level.look(BUSY, at(millis)))), [10, 11, 12, 13]);
        let of = |bits| PuzzleDifficulty::new(bits).unwrap();
        // Somebody has waited long enough for these, and they may be less hard.
        level.set(Some(Puzzles::default().with_most(of(11)).with_wait(IDLE)));
        assert_eq!([10_600, 11_500].map(|millis| bits(level.look(IDLE, at(millis)))), [11, 11]);
        level.set(None);
        assert_eq!(bits(level.fallen(at(11_500)).0), 0);
        assert_eq!([11_600, 12_500].map(|millis| bits(level.look(BUSY, at(millis)))), [0, 0]);
        level.set(Some(Puzzles::default()));
        assert_eq!([12_600, 13_100].map(|millis| bits(level.look(BUSY, at(millis)))), [10, 11]);
    }

    #[test]
    fn what_is_told_of_how_hard_they_are_gets_less_while_nobody_comes() {
        let now = Instant::now();
        for (ago, told) in [(Duration::ZERO, 10), (FALL, 0)] {
            let control = PuzzleControl(Arc::new(Shared {
                start: now.checked_sub(ago).unwrap(),
                level: Mutex::new(Level::new(Some(Puzzles::default()))),
                asked: AtomicU64::new(0),
                solved: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            }));
            control.0.level().look(BUSY, Moment::ORIGIN);
            // On a machine that takes two seconds for this, they may have got easier, and it is told.
            let least = if now.elapsed() < FALL { told } else { 0 };
            assert!((least..=told).contains(&control.count(Counts::default()).puzzle_bits));
        }
    }

    #[test]
    fn the_first_is_no_harder_than_the_hardest_and_without_a_wait_all_are_asked() {
        let puzzles = Puzzles::default().with_most(PuzzleDifficulty::new(4).unwrap()).with_wait(Duration::ZERO);
        let mut level = Level::new(Some(puzzles));
        assert_eq!([0, 9_000].map(|millis| bits(level.look(Duration::ZERO, at(millis)))), [4, 4]);
    }

    /// A flood that pays whatever is asked for as long as it can, against a server that can serve so many: the price settles where they
    /// meet, and what good clients pay with it.
    #[test]
    fn the_price_settles_where_those_who_pay_are_no_more_than_can_be_served() {
        // Per tenth of a second: the server serves 100, and the flood has 64 million hashes, for 1000 hellos at the most.
        let (served, hashes, hellos) = (100_u64, 64_000_000_u64, 1_000_u64);
        let mut level = Level::new(Some(Puzzles::default()));
        let mut waiting = 0_u64;
        let mut asked = Vec::new();
        for tenth in 0..600 {
            let wait = Duration::from_millis(waiting.checked_mul(100).unwrap().checked_div(served).unwrap());
            let price = level.look(wait, at(tenth * 100)).map_or(1, PuzzleDifficulty::hashes);
            asked.push(price);
            // What waits for more than a second is shed.
            let come = hashes.checked_div(price).unwrap().min(hellos);
            waiting = waiting.saturating_add(come).saturating_sub(served).min(served.saturating_mul(10));
        }
        // From the tenth second on: between half and twice the price at which the flood can pay for what the server can serve, 640,000.
        let settled = asked.split_off(100);
        assert!(settled.iter().all(|price| (262_144..=1_048_576).contains(price)), "{settled:?}");
        assert!(settled.contains(&524_288));
    }
}
