//! What is counted and measured, in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4).
//!
//! Written here: most of it is counted elsewhere already, and what is left is a dozen lines. No label holds a name or an address, so
//! there are no more series than there are codes.

use super::health::Health;
use super::log::{Cause, Log};
use super::sharing::Watched;
use countersign::events::Decision;
use countersign::{Acceptor, Counts, Event, Reason, TicketKeys, UsedCounts};
use std::collections::{BTreeMap, HashSet};
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The counts of a Redis.
pub(super) struct RedisNumbers {
    pub(super) is_away: bool,
    pub(super) absences: u64,
    pub(super) answered: u64,
    pub(super) unanswered: u64,
    pub(super) emptied: u64,
}

/// What the library does not count itself.
pub(crate) struct Metrics {
    start: SystemTime,
    accepted: Histogram,
    resumed: Histogram,
    refused: Histogram,
    waited: Histogram,
    opened: Histogram,
    verified: Histogram,
    received: AtomicU64,
    sent: AtomicU64,
    /// By code: connections of balancers that came to no handshake.
    proxy: Mutex<BTreeMap<&'static str, u64>>,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            start: SystemTime::now(),
            accepted: Histogram::default(),
            resumed: Histogram::default(),
            refused: Histogram::default(),
            waited: Histogram::default(),
            opened: Histogram::default(),
            verified: Histogram::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            proxy: Mutex::default(),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
        }
    }
}

/// What is read when somebody asks.
pub(crate) struct Sources {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) acceptor: Acceptor,
    pub(crate) tickets: Option<Arc<TicketKeys>>,
    pub(crate) redis: Option<Watched>,
    pub(crate) log: Arc<Log>,
    pub(crate) health: Arc<Health>,
}

impl Metrics {
    pub(crate) fn note(&self, event: &Event<'_>) {
        let total = match event.decision {
            Decision::Accepted(_) => &self.accepted,
            Decision::Resumed(_) => &self.resumed,
            // One that does not open costs nothing to make, and what a login costs here.
            Decision::Refused(reason) if !event.is_cheap() || matches!(reason, Reason::NotOpened) => &self.refused,
            Decision::Ended(ended) => {
                self.received.fetch_add(ended.received, Relaxed);
                self.sent.fetch_add(ended.sent, Relaxed);
                return;
            }
            _ => return,
        };
        total.note(event.timings.total);
        self.waited.note(event.timings.waited);
        // A resumption has neither, and a refusal may have ended before.
        for (histogram, time) in [(&self.opened, event.timings.opened), (&self.verified, event.timings.verified)] {
            if !time.is_zero() {
                histogram.note(time);
            }
        }
    }

    pub(crate) fn note_proxy(&self, code: &'static str) {
        let mut counts = self.proxy.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(code).or_default();
        *count = count.saturating_add(1);
    }

    pub(crate) fn proxy_failures(&self) -> u64 {
        self.proxy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub(crate) fn note_reload(&self, was_taken: bool) {
        let count = if was_taken { &self.reloads } else { &self.failed_reloads };
        count.fetch_add(1, Relaxed);
    }
}

/// Upper bounds in seconds: from a resumption on the same machine to a client at the end of its patience.
const BOUNDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How many times were how long.
#[derive(Default)]
struct Histogram {
    /// Up to each bound and over the one before; the last is for what is over all of them.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    fn note(&self, time: Duration) {
        let at = BOUNDS.iter().position(|bound| time.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Relaxed);
        }
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A page of metrics.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Places, puzzles and penalties.
    fn counts(&mut self, counts: &Counts) {
        let places = [
            ("handshakes", counts.handshakes),
            ("waiting", counts.waiting),
            ("logins", counts.logins),
            ("refusals", counts.refusals),
            ("sessions", counts.sessions),
        ];
        let name = "countersign_places";
        self.head(name, "gauge", "Places that are taken now, by what they are for.");
        places.iter().for_each(|(of, count)| self.sample(name, &[("for", of)], count));
        let name = "countersign_puzzles_total";
        self.head(name, "counter", "Puzzles that clients were asked to solve, those solved, and wrong solutions.");
        let outcomes =
            [("asked", counts.puzzles_asked), ("solved", counts.puzzles_solved), ("failed", counts.puzzles_failed)];
        outcomes.iter().for_each(|(outcome, count)| self.sample(name, &[("outcome", outcome)], count));
        let help = "How hard the next puzzle is, in bits; 0 while none is asked for.";
        self.one("countersign_puzzle_bits", "gauge", help, counts.puzzle_bits);
        let name = "countersign_penalties_total";
        self.head(
            name,
            "counter",
            "Hellos turned away and passwords not looked at for failed logins, and how often others' counts were away.",
        );
        for (what, count) in
            [("turned-away", counts.turned_away), ("unchecked", counts.unchecked), ("store-away", counts.store_away)]
        {
            self.sample(name, &[("what", what)], count);
        }
    }

    fn tickets(&mut self, counts: &UsedCounts) {
        let UsedCounts { chains, room, forgotten, used, untold, .. } = counts;
        self.one("countersign_ticket_chains", "gauge", "Chains of tickets that are remembered.", chains);
        self.one("countersign_ticket_chains_room", "gauge", "Chains of tickets that there is room for.", room);
        let help = "Chains that were forgotten for want of room.";
        self.one("countersign_ticket_chains_forgotten_total", "counter", help, forgotten);
        let name = "countersign_tickets_not_taken_total";
        self.head(name, "counter", "Tickets that were not taken, as they were used before or may have been.");
        self.sample(name, &[("code", "used")], used);
        self.sample(name, &[("code", "forgotten")], untold);
    }

    fn redis(&mut self, numbers: &RedisNumbers) {
        let RedisNumbers { is_away, absences, answered, unanswered, emptied } = numbers;
        self.one("countersign_redis_away", "gauge", "1 while Redis does not answer.", u8::from(*is_away));
        let help = "How often Redis did not answer any more.";
        self.one("countersign_redis_away_total", "counter", help, absences);
        let name = "countersign_redis_questions_total";
        self.head(name, "counter", "What Redis was asked, and whether it answered in time.");
        self.sample(name, &[("outcome", "answered")], answered);
        self.sample(name, &[("outcome", "unanswered")], unanswered);
        let help = "How often Redis was new, or had lost what it knew of used tickets.";
        self.one("countersign_redis_emptied_total", "counter", help, emptied);
    }

    fn histogram(&mut self, name: &str, label: (&str, &str), histogram: &Histogram) {
        let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        let mut count = 0_u64;
        for (bound, of) in bounds.zip(&histogram.counts) {
            count = count.saturating_add(of.load(Relaxed));
            self.sample(&format!("{name}_bucket"), &[label, ("le", &bound)], count);
        }
        let sum = Duration::from_nanos(histogram.nanos.load(Relaxed)).as_secs_f64();
        self.sample(&format!("{name}_sum"), &[label], sum);
        self.sample(&format!("{name}_count"), &[label], count);
    }
}

/// Decisions that alarms are for, there before the first one: a rate is of a count that there was before.
const FROM_THE_START: [(&str, &str); 9] = [
    ("turned-away", "made-way"),
    ("turned-away", "no-room"),
    ("turned-away", "no-session"),
    ("turned-away", "pressed"),
    ("turned-away", "stopping"),
    ("turned-away", "unsolved"),
    ("login-refused", "not-now"),
    ("login-refused", "unknown-user"),
    ("login-refused", "wrong-password"),
];

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Sources {
    /// The page.
    pub(crate) fn page(&self) -> String {
        let Self { metrics, acceptor, tickets, redis, log, health } = self;
        let mut page = Page::default();
        let (counter, gauge) = ("counter", "gauge");
        page.head("countersign_build_info", gauge, "Always 1; what runs stands in the labels.");
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", env!("COUNTERSIGN_COMMIT")),
            ("provider", crate::crypto::provider().name),
        ];
        page.sample("countersign_build_info", &build, 1);
        let start = metrics.start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        page.one(
            "countersign_start_time_seconds",
            gauge,
            "When it was started, since the epoch.",
            format_args!("{start:.3}"),
        );
        let ready = u8::from(health.trouble().is_none());
        page.one("countersign_ready", gauge, "1 if logins are accepted, as /readyz says.", ready);

        page.one(
            "countersign_accounts_away_total",
            counter,
            "How often the accounts could not be read any more.",
            health.absences.load(Relaxed),
        );

        page.head(
            "countersign_decisions_total",
            counter,
            "Logins, handshakes and sessions, by how each ended: the events of the log.",
        );
        let totals = acceptor.totals();
        let seen: HashSet<(&str, &str)> = totals.iter().map(|(event, code, _)| (event, code)).collect();
        for (event, code, count) in totals.iter() {
            page.sample("countersign_decisions_total", &[("event", event), ("code", code)], count);
        }
        for (event, code) in FROM_THE_START.into_iter().filter(|row| !seen.contains(row)) {
            page.sample("countersign_decisions_total", &[("event", event), ("code", code)], 0);
        }
        page.head(
            "countersign_proxy_failures_total",
            counter,
            "Connections of balancers without a PROXY header that could be read.",
        );
        for (code, count) in metrics.proxy.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            page.sample("countersign_proxy_failures_total", &[("code", code)], count);
        }
        page.counts(&acceptor.counts());
        page.head(
            "countersign_session_bytes_total",
            counter,
            "Bytes of sessions that have ended, without what sealing adds.",
        );
        for (direction, bytes) in [("received", &metrics.received), ("sent", &metrics.sent)] {
            page.sample("countersign_session_bytes_total", &[("direction", direction)], bytes.load(Relaxed));
        }

        let name = "countersign_login_seconds";
        page.head(name, "histogram", "From the connection to the decision, the client's part included.");
        for (outcome, of) in
            [("accepted", &metrics.accepted), ("resumed", &metrics.resumed), ("refused", &metrics.refused)]
        {
            page.histogram(name, ("outcome", outcome), of);
        }
        let name = "countersign_login_stage_seconds";
        page.head(name, "histogram", "The server's parts of a login: in queues, the RSA operation, the verifier.");
        for (stage, of) in [("wait", &metrics.waited), ("rsa", &metrics.opened), ("verify", &metrics.verified)] {
            page.histogram(name, ("stage", stage), of);
        }

        if let Some(used) = tickets.as_ref().and_then(|keys| keys.used()) {
            page.tickets(&used);
        }
        if let Some(redis) = redis {
            page.redis(&redis.numbers());
        }
        if let Some(manifest) = acceptor.keys().of("").and_then(|set| set.manifest().cloned()) {
            let expires = manifest.unverified_body().expires.as_secs();
            page.one(
                "countersign_manifest_expires_seconds",
                gauge,
                "When the manifest expires, since the epoch.",
                expires,
            );
        }
        page.one("countersign_log_lines_total", counter, "Lines of the log that were written.", log.written());
        page.head("countersign_log_lines_dropped_total", counter, "Lines of the log that were left out, by cause.");
        for cause in Cause::ALL {
            page.sample("countersign_log_lines_dropped_total", &[("cause", cause.code())], log.dropped(cause));
        }
        page.head("countersign_reloads_total", counter, "Reloads of keys and configuration at SIGHUP.");
        page.sample("countersign_reloads_total", &[("outcome", "taken")], metrics.reloads.load(Relaxed));
        page.sample("countersign_reloads_total", &[("outcome", "failed")], metrics.failed_reloads.load(Relaxed));
        page.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_at_a_bound_to_it_and_never_loses_one() {
        let histogram = Histogram::default();
        for millis in [0, 1, 10, 11, 250, 99_999] {
            histogram.note(Duration::from_millis(millis));
        }
        let mut page = Page::default();
        page.histogram("t", ("of", "it"), &histogram);
        for line in [
            "t_bucket{of=\"it\",le=\"0.0005\"} 1",
            "t_bucket{of=\"it\",le=\"0.001\"} 2",
            "t_bucket{of=\"it\",le=\"0.01\"} 3",
            "t_bucket{of=\"it\",le=\"0.25\"} 5",
            "t_bucket{of=\"it\",le=\"10\"} 5",
            "t_bucket{of=\"it\",le=\"+Inf\"} 6",
            "t_sum{of=\"it\"} 100.271",
            "t_count{of=\"it\"} 6",
        ] {
            assert!(page.0.lines().any(|of| of == line), "{line} in {}", page.0);
        }
    }

    /// What is counted by the library, or of Redis, each another number.
    #[test]
    fn each_number_stands_under_its_own_name() {
        let (mut counts, mut used) = (Counts::default(), UsedCounts::default());
        (counts.handshakes, counts.waiting, counts.logins, counts.refusals, counts.sessions) = (1, 2, 3, 4, 5);
        (counts.puzzles_asked, counts.puzzles_solved, counts.puzzles_failed, counts.puzzle_bits) = (6, 7, 8, 9);
        (counts.turned_away, counts.unchecked, counts.store_away) = (10, 11, 12);
        (used.chains, used.room, used.forgotten, used.used, used.untold) = (13, 14, 15, 16, 17);
        let redis = RedisNumbers { is_away: true, absences: 18, answered: 19, unanswered: 20, emptied: 21 };
        let mut page = Page::default();
        page.counts(&counts);
        page.tickets(&used);
        page.redis(&redis);
        let expected = [
            "places{for=\"handshakes\"} 1",
            "places{for=\"waiting\"} 2",
            "places{for=\"logins\"} 3",
            "places{for=\"refusals\"} 4",
            "places{for=\"sessions\"} 5",
            "puzzles_total{outcome=\"asked\"} 6",
            "puzzles_total{outcome=\"solved\"} 7",
            "puzzles_total{outcome=\"failed\"} 8",
            "puzzle_bits 9",
            "penalties_total{what=\"turned-away\"} 10",
            "penalties_total{what=\"unchecked\"} 11",
            "penalties_total{what=\"store-away\"} 12",
            "ticket_chains 13",
            "ticket_chains_room 14",
            "ticket_chains_forgotten_total 15",
            "tickets_not_taken_total{code=\"used\"} 16",
            "tickets_not_taken_total{code=\"forgotten\"} 17",
            "redis_away 1",
            "redis_away_total 18",
            "redis_questions_total{outcome=\"answered\"} 19",
            "redis_questions_total{outcome=\"unanswered\"} 20",
            "redis_emptied_total 21",
        ];
        let samples: Vec<&str> = page.0.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, expected.map(|sample| format!("countersign_{sample}")));
        let mut back = Page::default();
        back.redis(&RedisNumbers { is_away: false, ..redis });
        assert!(back.0.contains("\ncountersign_redis_away 0\n"), "{}", back.0);
    }

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.sample("t", &[("a", "\"\\\n")], 1);
        assert_eq!(page.0, "t{a=\"\\\"\\\\\\n\"} 1\n");
    }
}
