//! What a server counts itself while it is under a load: from its `/metrics`.

use super::process::Server;
use super::report::{Counted, Slice, TicketMemory};
use super::stats::number;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// What a server says, by series; nothing where it did not answer.
pub(super) type Counts = BTreeMap<String, f64>;

/// A chain of tickets lasts so long in the server of the bench: two lifetimes of a ticket (`UsedTickets`), which is an hour there.
const CHAIN: Duration = Duration::from_secs(2 * 3600);

const CHAINS: &str = "countersign_ticket_chains";
const ROOM: &str = "countersign_ticket_chains_room";
const FORGOTTEN: &str = "countersign_ticket_chains_forgotten_total";

/// What was counted from `before` to `after`; `None` where the server did not answer.
pub(super) fn between(before: &Counts, after: &Counts) -> Option<Counted> {
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let value = |of: &Counts, name: &str| of.get(name).copied().unwrap_or_default();
    let whole = |value: f64| value.max(0.0).round() as u64;
    let grown = |name: &str| whole(value(after, name) - value(before, name));
    let by_code = |event: &str| {
        let front = format!("countersign_decisions_total{{event=\"{event}\",code=\"");
        let of = |name: &String| Some((name.strip_prefix(&front)?.strip_suffix("\"}")?.to_owned(), grown(name)));
        after.keys().filter_map(of).filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>()
    };
    let chains = value(after, CHAINS);
    let forgotten = grown(FORGOTTEN);
    let dropped = |name: &&String| name.starts_with("countersign_log_lines_dropped_total");
    Some(Counted {
        turned_away: by_code("turned-away"),
        refused: by_code("login-refused"),
        failed: by_code("handshake-failed"),
        log_lines_dropped: after.keys().filter(dropped).map(|name| grown(name)).fold(0, u64::saturating_add),
        memory_bytes: None,
        tickets: TicketMemory {
            chains: whole(chains),
            room: whole(value(after, ROOM)),
            new: whole((chains - value(before, CHAINS)).max(0.0) + forgotten as f64),
            forgotten,
            not_taken: grown("countersign_tickets_not_taken_total{code=\"forgotten\"}"),
            full_after_seconds: None,
        },
    })
}

/// How many chains a second come to a memory of used tickets while clients go on as these: so many logins were done, and so many of them resumed.
///
/// Not by those that came meanwhile: they are of the tickets that there were to begin with, too, which in the first seconds are drawn more than
/// others. A client that logs in anew is a chain once it has come back, and at any time that share of them has which resumes: out of n t
/// tickets s n / (1 - s) are drawn a second, so one that is there since u was not drawn by t with (u / t)^(s / (1 - s)), and that is 1 - s in the mean.
pub(super) fn chains_per_second(done: usize, resumed: usize, seconds: f64) -> f64 {
    let share = number(resumed) / number(done.max(1));
    number(done.saturating_sub(resumed)) * share / seconds.max(f64::MIN_POSITIVE)
}

/// After how many seconds a memory is full to which so many chains a second come, or was, where it had to forget some.
pub(super) fn full_after(tickets: &TicketMemory, per_second: f64, over_time: &[Slice]) -> Option<f64> {
    let forgot = |slice: &&Slice| slice.tickets_forgotten.is_some_and(|forgotten| forgotten > 0);
    let seen = || over_time.iter().find(forgot).map(|slice| slice.until_seconds);
    let seconds = tickets.room as f64 / per_second;
    // Once the first chains end, it fills no further.
    let to_come = (seconds.is_finite() && seconds < CHAIN.as_secs_f64()).then_some(seconds);
    if tickets.forgotten > 0 { seen().or(to_come) } else { to_come }
}

/// What was seen of a server at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    pub(super) memory: Option<u64>,
    pub(super) counts: Counts,
}

impl Watched {
    pub(super) fn of(server: &Server<'_>) -> Self {
        Self { memory: server.memory(), counts: server.counts() }
    }
}

/// In so many parts the time at a rate is looked at, none of them shorter than a second.
const PARTS: u32 = 12;

/// Does `work`, and looks at the server at the end of each part of the time that it is meant to take.
pub(super) fn while_under<T>(server: &Server<'_>, time: Duration, work: impl FnOnce() -> T) -> (T, Vec<Watched>) {
    let parts = PARTS.min(u32::try_from(time.as_secs()).unwrap_or(PARTS)).max(1);
    let (start, stop) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        let watcher = thread::Builder::new().name("watch".to_owned()).spawn_scoped(scope, || {
            let mut seen = Vec::new();
            for part in 1..=parts {
                let until = time.mul_f64(f64::from(part) / f64::from(parts));
                while start.elapsed() < until && !stop.load(Relaxed) {
                    thread::sleep(until.saturating_sub(start.elapsed()).min(Duration::from_millis(100)));
                }
                seen.push(Watched::of(server));
            }
            seen
        });
        let done = work();
        stop.store(true, Relaxed);
        // A system that is out of threads tells nothing of what was meanwhile.
        (done, watcher.ok().and_then(|watcher| watcher.join().ok()).unwrap_or_default())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, f64)]) -> Counts {
        list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn what_grew_is_told_by_cause() {
        let before = counts(&[
            ("countersign_decisions_total{event=\"turned-away\",code=\"pressed\"}", 3.0),
            ("countersign_ticket_chains", 100.0),
            ("countersign_ticket_chains_room", 7200.0),
        ]);
        let after = counts(&[
            ("countersign_decisions_total{event=\"turned-away\",code=\"pressed\"}", 10.0),
            ("countersign_decisions_total{event=\"turned-away\",code=\"made-way\"}", 2.0),
            ("countersign_decisions_total{event=\"login-refused\",code=\"not-now\"}", 4.0),
            ("countersign_ticket_chains", 200.0),
            ("countersign_ticket_chains_room", 7200.0),
            ("countersign_ticket_chains_forgotten_total", 20.0),
            ("countersign_log_lines_dropped_total{cause=\"strangers\"}", 5.0),
        ]);
        let counted = between(&before, &after).unwrap();
        assert_eq!((counted.turned_away["pressed"], counted.turned_away["made-way"]), (7, 2));
        assert_eq!((counted.refused["not-now"], counted.failed.len(), counted.log_lines_dropped), (4, 0, 5));
        let TicketMemory { chains, room, new, forgotten, .. } = counted.tickets;
        assert_eq!((chains, room, new, forgotten), (200, 7200, 120, 20));
        // One that did not answer is no server on which nothing happened.
        assert!(between(&Counts::new(), &after).is_none() && between(&before, &Counts::new()).is_none());
    }

    fn memory(new: u64, forgotten: u64) -> TicketMemory {
        TicketMemory { chains: new.min(7200), room: 7200, new, forgotten, ..TicketMemory::default() }
    }

    #[test]
    fn a_memory_that_fills_is_seen_coming_by_those_who_log_in_anew() {
        // Five seconds at ten a second, in which half of the tickets that there were to begin with were used for the first time.
        let few = chains_per_second(50, 45, 5.0);
        assert!((few - 0.9).abs() < 1e-9, "{few}");
        assert_eq!(full_after(&memory(33, 0), few, &[]), None);
        // And at a hundred.
        let many = chains_per_second(500, 450, 5.0);
        assert_eq!(full_after(&memory(100, 0), many, &[]).map(f64::round), Some(800.0));
        // Where nobody comes back, or nobody is new, none is remembered; nor where nothing was done, or there is no memory.
        for rate in [(500, 0, 5.0), (500, 500, 5.0), (0, 0, 5.0), (0, 0, 0.0)] {
            let per_second = chains_per_second(rate.0, rate.1, rate.2);
            assert_eq!(full_after(&memory(64, 0), per_second, &[]), None, "{rate:?}");
        }
        assert_eq!(full_after(&TicketMemory::default(), 0.0, &[]), None);
    }

    #[test]
    fn a_memory_that_was_full_is_said_to_have_been_when_it_first_forgot() {
        let part = |until_seconds, tickets_forgotten| Slice { until_seconds, tickets_forgotten, ..Slice::default() };
        let parts = [part(300.0, Some(0)), part(600.0, None), part(900.0, Some(40)), part(1200.0, Some(90))];
        assert_eq!(full_after(&memory(7290, 90), 9.0, &parts), Some(900.0));
        // Where it did not answer in between, by what came to it.
        assert_eq!(full_after(&memory(7290, 90), 9.0, &parts[..2]), Some(800.0));
    }

    /// The tickets that there are at the beginning, and those of clients that log in anew; each login takes any that there is, or brings one.
    #[test]
    fn chains_come_to_a_memory_as_fast_as_is_reckoned() {
        let mut pool = super::super::crowd::Pool::new();
        (0..64).for_each(|chain| pool.put(chain));
        let (mut next, mut seen) = (64, std::collections::BTreeSet::new());
        for login in 0..36_000 {
            if login % 10 == 0 {
                pool.put(next);
                next += 1;
            } else if let Some(chain) = pool.take() {
                seen.insert(chain);
                pool.put(chain);
            }
        }
        let reckoned = chains_per_second(36_000, 32_400, 360.0) * 360.0;
        let off = (seen.len() as f64 / reckoned - 1.0).abs();
        assert!(off < 0.05, "{} instead of {reckoned}", seen.len());
    }
}
