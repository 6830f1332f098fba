//! What a server counts itself while it is under a load: from its `/metrics`.

use super::process::Server;
use super::report::{Counted, TicketMemory};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

type Counts = BTreeMap<String, f64>;

/// A chain of tickets lasts so long in the server of the bench: two lifetimes of a ticket (`UsedTickets`), which is an hour there.
const CHAIN: Duration = Duration::from_secs(2 * 3600);

/// What was counted since `before`; `None` where the server did not answer.
pub(super) fn between(before: &Counts, server: &Server<'_>, seconds: f64) -> Option<Counted> {
    let after = server.counts();
    if before.is_empty() || after.is_empty() {
        return None;
    }
    Some(Counted { memory_bytes: server.memory(), ..difference(before, &after, seconds) })
}

fn difference(before: &Counts, after: &Counts, seconds: f64) -> Counted {
    let value = |of: &Counts, name: &str| of.get(name).copied().unwrap_or_default();
    let whole = |value: f64| value.max(0.0).round() as u64;
    let grown = |name: &str| whole(value(after, name) - value(before, name));
    let by_code = |event: &str| {
        let front = format!("countersign_decisions_total{{event=\"{event}\",code=\"");
        let of = |name: &String| Some((name.strip_prefix(&front)?.strip_suffix("\"}")?.to_owned(), grown(name)));
        after.keys().filter_map(of).filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>()
    };
    let (chains, room) = (value(after, "countersign_ticket_chains"), value(after, "countersign_ticket_chains_room"));
    let forgotten = grown("countersign_ticket_chains_forgotten_total");
    let new = (chains - value(before, "countersign_ticket_chains")).max(0.0) + forgotten as f64;
    let dropped = |name: &&String| name.starts_with("countersign_log_lines_dropped_total");
    Counted {
        turned_away: by_code("turned-away"),
        refused: by_code("login-refused"),
        failed: by_code("handshake-failed"),
        log_lines_dropped: after.keys().filter(dropped).map(|name| grown(name)).fold(0, u64::saturating_add),
        memory_bytes: None,
        tickets: TicketMemory {
            chains: whole(chains),
            room: whole(room),
            new: whole(new),
            forgotten,
            not_taken: grown("countersign_tickets_not_taken_total{code=\"forgotten\"}"),
            full_after_seconds: full_after(room, new / seconds.max(f64::MIN_POSITIVE)),
        },
    }
}

/// When a memory with this room is full, with so many new chains a second. Once the first ones end, it fills no further.
fn full_after(room: f64, new_per_second: f64) -> Option<f64> {
    let seconds = room / new_per_second;
    (seconds.is_finite() && seconds < CHAIN.as_secs_f64()).then_some(seconds)
}

/// What was seen of a server at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watched {
    pub(super) memory: Option<u64>,
    pub(super) chains: u64,
    pub(super) forgotten: u64,
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
                seen.push(look(server));
            }
            seen
        });
        let done = work();
        stop.store(true, Relaxed);
        // A system that is out of threads tells nothing of what was meanwhile.
        (done, watcher.ok().and_then(|watcher| watcher.join().ok()).unwrap_or_default())
    })
}

fn look(server: &Server<'_>) -> Watched {
    let counts = server.counts();
    let whole = |name: &str| counts.get(name).map_or(0, |value| value.max(0.0).round() as u64);
    Watched {
        memory: server.memory(),
        chains: whole("countersign_ticket_chains"),
        forgotten: whole("countersign_ticket_chains_forgotten_total"),
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, f64)]) -> Counts {
        list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn what_grew_is_told_by_cause_and_a_memory_that_fills_is_seen_coming() {
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
        let counted = difference(&before, &after, 10.0);
        assert_eq!((counted.turned_away["pressed"], counted.turned_away["made-way"]), (7, 2));
        assert_eq!((counted.refused["not-now"], counted.failed.len(), counted.log_lines_dropped), (4, 0, 5));
        let TicketMemory { chains, room, new, forgotten, full_after_seconds, .. } = counted.tickets;
        assert_eq!((chains, room, new, forgotten, full_after_seconds), (200, 7200, 120, 20, Some(600.0)));
        // One new client a second is what there is room for; none at all never fills it.
        assert_eq!((full_after(7200.0, 1.0), full_after(7200.0, 0.0), full_after(0.0, 0.0)), (None, None, None));
    }
}
