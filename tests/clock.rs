//! The time of day that a server goes by where something ends, and jumps of it.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use core::time::Duration;
use countersign::{Clock, Moment, TimeOfDay, UnixTime, limits};
use std::sync::{Arc, Mutex};

const START: u64 = 1_800_000_000;
const YEAR: u64 = 365 * 24 * 3600;

/// Looks at a clock that has run for so long, and says this.
fn clock() -> impl Fn(u64, u64) -> TimeOfDay {
    let hands = Arc::new(Mutex::new((0, START)));
    let read = Arc::clone(&hands);
    let clock = Clock::new(move || {
        let (passed, time) = *read.lock().unwrap();
        (Moment::after_origin(Duration::from_secs(passed)), UnixTime::from_secs(time))
    });
    move |passed, time| {
        *hands.lock().unwrap() = (passed, time);
        clock.look()
    }
}

/// Both times, by how far they are from what is right.
fn off(time: TimeOfDay, passed: u64) -> (i64, Option<i64>) {
    let off = |time: UnixTime| time.as_secs().cast_signed() - (START + passed).cast_signed();
    (off(time.now()), time.otherwise().map(off))
}

#[test]
fn a_clock_that_goes_on_or_is_adjusted_a_little_is_believed() {
    let set = clock();
    let mut late = 0;
    for passed in [0, 1, 3600, YEAR, YEAR + 1] {
        assert_eq!(off(set(passed, START + passed + late), passed), (late.cast_signed(), None));
        // As far as clocks may differ, at each look.
        late += limits::CLOCK_SKEW.as_secs();
    }
    assert_eq!(set(YEAR + 1, 0).now(), UnixTime::from_secs(0), "1970");
}

#[test]
fn both_times_of_a_jump_count_until_it_has_lasted() {
    let doubt = limits::CLOCK_DOUBT.as_secs();
    let year = YEAR.cast_signed();
    for (jump, is_ahead) in [(START + YEAR, true), (START - YEAR, false)] {
        let set = clock();
        let away = if is_ahead { year } else { -year };
        assert_eq!(off(set(10, jump + 10), 10), (away, Some(0)));
        let time = set(doubt + 9, jump + doubt + 9);
        assert_eq!(off(time, doubt + 9), (away, Some(0)));
        assert_eq!(time.earliest(), if is_ahead { time.otherwise().unwrap() } else { time.now() });
        assert_eq!(off(set(doubt + 10, jump + doubt + 10), doubt + 10), (away, None), "it stays there");
        assert_eq!(off(set(doubt + 20, START + doubt + 20), doubt + 20), (0, Some(away)), "it jumps back");
    }
}

#[test]
fn a_jump_is_doubted_for_as_long_as_operators_are_told() {
    assert_eq!(limits::CLOCK_DOUBT, Duration::from_secs(3600));
    for (text, sentence) in [
        (include_str!("../SECURITY.md"), "jumps by more than a minute, both times count for an hour"),
        (include_str!("../docs/operating.md"), "the time of before counts, too, for an hour"),
        (include_str!("../cli/src/serve/clock.rs"), "the time of before still counts, too, for an hour"),
    ] {
        assert!(text.contains(sentence), "{sentence}");
    }
}

#[test]
fn a_clock_that_comes_back_was_wrong_and_one_that_jumps_again_is_no_surer() {
    let doubt = limits::CLOCK_DOUBT.as_secs();
    let set = clock();
    assert!(set(10, START + YEAR).otherwise().is_some());
    assert_eq!(off(set(20, START + 20), 20), (0, None), "it is back");
    for number in 1..10 {
        let passed = 20 + number * (doubt - 1);
        assert_eq!(off(set(passed, START + passed + number * YEAR), passed).1, Some(0), "another jump");
    }
}
