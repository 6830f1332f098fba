//! When clients log in: without a pause, or whenever one is due.
//!
//! A load at a rate is open-loop: logins come when they are due, whether earlier ones are done or not, and each one's time
//! counts from then. Clients that waited for each other would hide a slow server's queue. They come at random moments, as
//! those of clients that know nothing of each other: the same random moments in each run.

use super::crowd::{Crowd, Outcome};
use super::stats::number;
use indicatif::ProgressBar;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Clients at once: more than the server can serve in the second that a login may wait there, so that it has to refuse some,
/// and below the file descriptors that any system gives.
pub(crate) const CLIENTS: usize = 200;

/// What is not tried this long after the last login was due is given up: the rate is far too high.
const GRACE: Duration = Duration::from_secs(5);

/// The most logins that one rate may schedule: each one's time is kept.
pub(crate) const MOST_LOGINS: f64 = 1_000_000.0;

/// How many logins come in this time; at least one.
pub(crate) fn expected(rate: f64, duration: Duration) -> f64 {
    (rate * duration.as_secs_f64()).round().max(1.0)
}

/// The moments in which logins are due, in order: as many as the rate says, each anywhere in the time.
pub(crate) fn arrivals(rate: f64, duration: Duration) -> Vec<Duration> {
    let mut rng = StdRng::seed_from_u64(1);
    // Bounded by the options.
    let count = expected(rate, duration) as usize;
    let mut due: Vec<Duration> = (0..count).map(|_| duration.mul_f64(rng.random::<f64>())).collect();
    due.sort_unstable();
    due
}

/// Whether the `index`th login resumes: spread evenly, whatever the share.
fn resumes(index: usize, share: f64) -> bool {
    let until = |index: usize| (number(index) * share).floor();
    until(index.saturating_add(1)) > until(index)
}

/// Lets clients log in without a pause, until `count` logins or the time is over. Gives how many were done, and in which
/// time.
pub(crate) fn saturate(
    crowd: &Crowd,
    share: f64,
    clients: usize,
    count: usize,
    time: Duration,
    bar: &ProgressBar,
) -> (usize, Duration) {
    let (next, done, start) = (AtomicUsize::new(0), AtomicUsize::new(0), Instant::now());
    let work = || {
        while start.elapsed() < time {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            match crowd.visit(index, resumes(index, share)).0 {
                Outcome::Done { .. } => drop(done.fetch_add(1, Ordering::Relaxed)),
                Outcome::Refused => {}
                // A server that is gone fails at once, again and again.
                Outcome::Failed => thread::sleep(Duration::from_millis(20)),
            }
        }
    };
    together(clients, time, bar, work);
    (done.into_inner(), start.elapsed())
}

/// How a login went.
pub(crate) struct Visit {
    pub(crate) outcome: Outcome,
    /// From the start of the load.
    pub(crate) due: Duration,
    /// How long after it was due that was known.
    pub(crate) took: Duration,
}

/// Lets a client log in whenever one is due.
pub(crate) fn open_loop(
    crowd: &Crowd,
    share: f64,
    due: &[Duration],
    start: Instant,
    time: Duration,
    bar: &ProgressBar,
) -> Vec<Visit> {
    let (next, end) = (AtomicUsize::new(0), time.saturating_add(GRACE));
    let work = || {
        let mut visits = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&due) = due.get(index) else {
                return visits;
            };
            thread::sleep(due.saturating_sub(start.elapsed()));
            if start.elapsed() > end {
                return visits;
            }
            let (outcome, knew) = crowd.visit(index, resumes(index, share));
            visits.push(Visit { outcome, due, took: knew.saturating_duration_since(start).saturating_sub(due) });
        }
    };
    together(CLIENTS.min(due.len()), time, bar, work).into_iter().flatten().collect()
}

/// Does the work on so many threads at once, and moves the bar by the time it is meant to take.
fn together<T: Send>(threads: usize, time: Duration, bar: &ProgressBar, work: impl Fn() -> T + Sync) -> Vec<T> {
    let (start, at) = (Instant::now(), bar.position());
    let position = |elapsed: Duration| at.saturating_add(elapsed.min(time).as_secs());
    let results = thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().name("client".to_owned()).spawn_scoped(scope, &work).ok();
        // A system that is out of threads leaves fewer; the load says then that logins were not tried in time.
        let threads: Vec<_> = (0..threads).map_while(spawn).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(10));
            bar.set_position(position(start.elapsed()));
        }
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    bar.set_position(position(time));
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_come_at_the_rate_and_resume_by_the_share() {
        let due = arrivals(100.0, Duration::from_secs(5));
        assert_eq!(due.len(), 500);
        assert!(due.is_sorted() && due.last().is_some_and(|last| *last < Duration::from_secs(5)));
        assert_eq!(arrivals(0.1, Duration::from_secs(1)).len(), 1);
        for (share, expected) in [(0.0, 0), (0.9, 900), (0.25, 250), (1.0, 1000)] {
            let resumed = (0..1000).filter(|index| resumes(*index, share)).count();
            assert!(resumed.abs_diff(expected) <= 1, "{share}: {resumed}");
        }
    }
}
