//! Counts that fade, for as many names as strangers think of, in a table of one size.
//!
//! A count-min sketch with conservative update (Estan and Varghese, *New Directions in Traffic Measurement and Accounting*, 2002).
//! Nothing is ever evicted, so nobody can have their own count forgotten by inventing others. Two that share all four of their
//! cells share a count: which ones do depends on a secret, and a count is never too low.

use super::store::Standing;
use crate::time::Moment;
use core::time::Duration;
use std::hash::{BuildHasher, Hash, RandomState};

/// Cells in each of the four rows: 16 bits of a hash name one.
const WIDTH: usize = 1 << 16;

const ROWS: usize = 4;

/// How long until half of a count is forgotten.
pub(super) const HALF_LIFE: Duration = Duration::from_secs(3600);

/// The counts: 2 MiB, of which the system gives what was touched.
pub(super) struct Sketch {
    random: RandomState,
    /// Packed, since a vector of zeros costs no memory before it is written to.
    cells: Vec<u64>,
}

/// What a cell came to, and when that was.
#[derive(Clone, Copy, Default)]
struct Cell {
    level: f32,
    ticks: u32,
}

impl Sketch {
    pub(super) fn new() -> Self {
        Self { random: RandomState::new(), cells: vec![0; WIDTH.saturating_mul(ROWS)] }
    }

    pub(super) fn read(&self, key: &impl Hash, now: Moment) -> Standing {
        let cells = self.places(key).map(|place| self.cell(place));
        let lowest = cells.into_iter().min_by(|a, b| a.faded(now).total_cmp(&b.faded(now)));
        lowest.unwrap_or_default().standing(now)
    }

    /// Adds to a count, or takes away, but not below zero.
    pub(super) fn add(&mut self, key: &impl Hash, amount: f64, now: Moment) {
        let places = self.places(key);
        let own = self.read(key, now).faded(HALF_LIFE);
        for place in places {
            let level = self.cell(place).faded(now);
            let changed = if amount < 0.0 { plus(level, amount) } else { level.max(plus(own, amount)) };
            // A cell that is higher is somebody else's, and so is the time of it.
            if changed.total_cmp(&level).is_ne()
                && let Some(cell) = self.cells.get_mut(place)
            {
                *cell = Cell::at(changed, now).pack();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn fill(&mut self, level: f32, now: Moment) {
        self.cells.fill(Cell::at(level.into(), now).pack());
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    fn places(&self, key: &impl Hash) -> [usize; ROWS] {
        let hash = self.random.hash_one(key);
        let [a, b, c, d, e, f, g, h] = hash.to_be_bytes();
        let rows = [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes);
        let mut row = 0_usize;
        rows.map(|at| {
            let place = row.saturating_mul(WIDTH).saturating_add(at.into());
            row = row.saturating_add(1);
            place
        })
    }

    fn cell(&self, place: usize) -> Cell {
        Cell::unpack(self.cells.get(place).copied().unwrap_or_default())
    }
}

/// The sum, and zero where that would be less.
#[allow(clippy::arithmetic_side_effects, reason = "floating point does not overflow into a panic")]
pub(super) fn plus(level: f64, amount: f64) -> f64 {
    (level + amount).max(0.0)
}

impl Cell {
    /// Sixteenths of a second: eight years of them.
    fn at(level: f64, now: Moment) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "seven digits are enough of a count")]
        Self { level: level as f32, ticks: ticks(now) }
    }

    fn standing(self, now: Moment) -> Standing {
        let since = Duration::from_millis(u64::from(ticks(now).saturating_sub(self.ticks)).saturating_mul(125) / 2);
        Standing { level: self.level.into(), since }
    }

    fn faded(self, now: Moment) -> f64 {
        self.standing(now).faded(HALF_LIFE)
    }

    fn pack(self) -> u64 {
        u64::from(self.level.to_bits()) << 32 | u64::from(self.ticks)
    }

    fn unpack(packed: u64) -> Self {
        let [high, low] = [packed >> 32, packed & u64::from(u32::MAX)].map(|half| u32::try_from(half).unwrap_or(0));
        Self { level: f32::from_bits(high), ticks: low }
    }
}

fn ticks(now: Moment) -> u32 {
    let millis = now.saturating_since(Moment::ORIGIN).as_millis();
    u32::try_from(millis.saturating_mul(2) / 125).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::after_origin(Duration::from_secs(secs))
    }

    #[test]
    fn a_count_is_exact_alone_and_fades_by_half_in_an_hour() {
        let mut sketch = Sketch::new();
        assert_eq!(sketch.read(&"alice", at(5)).level.to_bits(), 0);
        for second in 0..10 {
            sketch.add(&"alice", 1.0, at(second));
        }
        let standing = sketch.read(&"alice", at(9 + 3600));
        assert!((9.9..=10.0).contains(&standing.level), "{standing:?}");
        assert_eq!(standing.since, HALF_LIFE);
        assert!((4.9..5.1).contains(&standing.faded(HALF_LIFE)));
        sketch.add(&"alice", -1e9, at(3700));
        assert_eq!(sketch.read(&"alice", at(3700)).level.to_bits(), 0);
    }

    #[test]
    fn names_that_are_invented_push_nothing_out_and_raise_hardly_any_other() {
        let mut sketch = Sketch::new();
        for _ in 0..20 {
            sketch.add(&"alice", 1.0, at(1));
        }
        for number in 0..100_000_u32 {
            sketch.add(&number, 1.0, at(2));
        }
        assert!(sketch.read(&"alice", at(3)).level >= 19.9, "never too low");
        let raised = (200_000..210_000_u32).filter(|number| sketch.read(number, at(3)).faded(HALF_LIFE) >= 3.0).count();
        assert!(raised < 100, "{raised} of 10000 that did nothing stand at three or more");
    }
}
