//! A server under load: what it can take, and how long logins wait at a rate.

use super::counted::{self, Counts, Watched};
use super::crowd::{Crowd, Outcome};
use super::pace::{CLIENTS, MOST_LOGINS, Visit, arrivals, open_loop, saturate};
use super::process::{Server, Stage, own_cpu};
use super::report::{Counted, Load, Mix, Plan, Rate, Slice, TicketMemory};
use super::stats::{millis, number, percentile, sorted};
use crate::failure::{Failure, chain};
use countersign::{KeyId, LoginError, Suite};
use indicatif::ProgressBar;
use std::thread;
use std::time::{Duration, Instant};

/// What the server and its clients agree on, and the course of the load.
pub(crate) struct Course<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) provider: &'static str,
    pub(crate) bits: usize,
    pub(crate) suite: Suite,
    pub(crate) pin: KeyId,
    pub(crate) users: &'a [String],
    pub(crate) cores: usize,
    /// What the server computes for a login, as measured without a network.
    pub(crate) full_ms: f64,
    pub(crate) resumed_ms: f64,
    /// Logins a second, in order; if none are given, some around what the server can take.
    pub(crate) rates: &'a [f64],
    pub(crate) duration: Duration,
    /// Sessions that are held open to see what they take.
    pub(crate) held: u32,
}

/// Rates to try, as parts of what clients without a pause get.
const FRACTIONS: [f64; 6] = [0.2, 0.4, 0.6, 0.8, 1.0, 1.2];
const QUICK_FRACTIONS: [f64; 3] = [0.3, 0.6, 1.1];

/// Tickets to begin with, for resumptions that overlap.
const TICKETS: usize = 64;

/// Of how many users sessions are held open.
const USERS_HELD: usize = 8;

/// How long clients without a pause log in: for what a login costs more than this adds nothing.
const SATURATED: Duration = Duration::from_secs(30);

impl Course<'_> {
    /// How much there is to do, in the bar's seconds.
    pub(crate) fn length(&self, shares: &[f64]) -> u64 {
        let rates = if self.rates.is_empty() { self.fractions().len() } else { self.rates.len() };
        let each = self.duration.as_secs_f64() * number(rates) + self.duration.min(SATURATED).as_secs_f64();
        let seconds = each * number(shares.len());
        Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |time| time.as_secs())
    }

    /// What there is to say before the first mix.
    pub(crate) fn begin(&self, stage: &Stage) -> Result<Load, Failure> {
        Ok(Load {
            provider: self.provider,
            bits: self.bits,
            suite: self.suite.to_string(),
            seconds_per_rate: self.duration.as_secs_f64(),
            memory_per_session_bytes: self.memory(stage)?,
            mixes: Vec::new(),
        })
    }

    fn fractions(&self) -> &'static [f64] {
        if self.plan.quick { &QUICK_FRACTIONS } else { &FRACTIONS }
    }

    pub(crate) fn mix(&self, stage: &Stage, share: f64, bar: &ProgressBar) -> Result<Mix, Failure> {
        let clients = self.cores.saturating_mul(4).min(CLIENTS);
        let name =
            if share > 0.0 { format!("{} resume", super::table::percent(share)) } else { "none resume".to_owned() };
        bar.set_message(format!("as many logins as it takes, {name}"));
        let (server, crowd) = self.fresh(stage, share)?;
        let before = (server.cpu(), own_cpu());
        let (done, time) = saturate(&crowd, share, clients, usize::MAX, self.duration.min(SATURATED), bar);
        let cost = |before: Option<Duration>, after: Option<Duration>| {
            Some(millis(after?.saturating_sub(before?)) / number(done)).filter(|cost| *cost > 0.0 && cost.is_finite())
        };
        let (server_cpu_ms, client_cpu_ms) = (cost(before.0, server.cpu()), cost(before.1, own_cpu()));
        server.check()?;
        if done == 0 {
            return Err(Failure::new(format_args!(
                "no login was done in {:.1} s: {}; give it a longer --duration",
                time.as_secs_f64(),
                crowd.trouble().unwrap_or_else(|| "every one was refused".to_owned())
            )));
        }
        drop(server);
        let saturated = number(done) / time.as_secs_f64();
        let used = server_cpu_ms.zip(client_cpu_ms).map(|(server, client)| (server + client) * saturated / 1000.0);

        // What the clients would have got with all cores to themselves and the server.
        let undisturbed =
            server_cpu_ms.zip(client_cpu_ms).map(|(one, other)| number(self.cores) * 1000.0 / (one + other));
        let most = undisturbed.map_or(saturated, |rate| rate.max(saturated));
        let asked = match self.rates {
            [] => around(most, self.fractions(), self.duration),
            rates => rates.to_owned(),
        };
        let mut rates = Vec::new();
        for rate in asked {
            bar.set_message(format!("{rate} logins/s, {name}"));
            rates.push(self.offer(stage, share, rate, bar)?);
        }
        let mix = Mix {
            resumed_share: share,
            saturated_per_second: saturated,
            saturated_clients: clients,
            server_cpu_ms,
            client_cpu_ms,
            alone_ms: (1.0 - share) * self.full_ms + share * self.resumed_ms,
            other_cores: used.map(|used| (number(self.cores) - used).max(0.0)),
            capacity_per_second: server_cpu_ms.map(|cost| number(self.cores) * 1000.0 / cost),
            sustained_per_second: None,
            rates,
        };
        Ok(Mix { sustained_per_second: mix.sustained().map(|rate| rate.per_second), ..mix })
    }

    /// A new server, so that nothing of one measurement reaches into the next, and its clients. Some have logged in.
    fn fresh<'a>(&self, stage: &'a Stage, share: f64) -> Result<(Server<'a>, Crowd), Failure> {
        let server = stage.serve()?;
        let crowd = Crowd::new(server.address, self.suite, self.pin, self.users)?;
        warm_up(&crowd, share, self.cores.saturating_mul(2));
        Ok((server, crowd))
    }

    fn offer(&self, stage: &Stage, share: f64, rate: f64, bar: &ProgressBar) -> Result<Rate, Failure> {
        let (server, crowd) = self.fresh(stage, share)?;
        let due = arrivals(rate, self.duration);
        let counts = server.counts();
        let before = (server.cpu(), own_cpu());
        let start = Instant::now();
        let (visits, watched) =
            counted::while_under(&server, self.duration, || open_loop(&crowd, share, &due, start, self.duration, bar));
        let elapsed = start.elapsed().as_secs_f64();
        let cores = |before: Option<Duration>, after: Option<Duration>| {
            Some(after?.saturating_sub(before?).as_secs_f64() / elapsed)
        };
        let (server_cores, client_cores) = (cores(before.0, server.cpu()), cores(before.1, own_cpu()));
        server.check()?;
        let count = |wanted: fn(&Outcome) -> bool| visits.iter().filter(|visit| wanted(&visit.outcome)).count();
        let done = |outcome: &Outcome| matches!(outcome, Outcome::Done { .. });
        let latencies = visits.iter().filter(|visit| done(&visit.outcome)).map(|visit| millis(visit.took));
        let latencies = sorted(latencies.collect());
        let resumed = count(|outcome| *outcome == Outcome::Done { resumed: true });
        let over_time = slices(&visits, &due, self.duration, &counts, &watched);
        let counted = counted::between(&counts, &server.counts()).map(|counted| {
            let chains_per_second = counted::chains_per_second(latencies.len(), resumed, self.duration.as_secs_f64());
            let full_after_seconds = counted::full_after(&counted.tickets, chains_per_second, &over_time);
            let tickets = TicketMemory { full_after_seconds, ..counted.tickets };
            Counted { memory_bytes: server.memory(), tickets, ..counted }
        });
        let result = Rate {
            per_second: rate,
            scheduled: due.len(),
            done: latencies.len(),
            resumed,
            refused: count(|outcome| *outcome == Outcome::Refused),
            failed: count(|outcome| *outcome == Outcome::Failed),
            untried: due.len().saturating_sub(visits.len()),
            within: latencies.iter().filter(|time| **time <= self.plan.within_ms).count(),
            server: counted,
            over_time,
            server_cores,
            client_cores,
            first_failure: crowd.trouble(),
            ..Rate::default()
        };
        Ok(result.with_latencies(&latencies))
    }

    /// What an open session takes in the server's memory; `None` where the system does not tell.
    fn memory(&self, stage: &Stage) -> Result<Option<u64>, Failure> {
        let server = stage.serve()?;
        let crowd = Crowd::new(server.address, self.suite, self.pin, self.users)?;
        let failed = |error: LoginError| {
            Failure::new(format_args!("a session of the bench could not be opened: {}", chain(&error)))
        };
        // By ticket: a password hash in between would move the memory more than all sessions. And of all users in turn, since
        // nobody may have them all.
        let mut held = Vec::new();
        for index in 0..USERS_HELD.min(self.users.len()) {
            held.push(crowd.enter(index, false).map_err(failed)?);
        }
        held.push(crowd.enter(0, true).map_err(failed)?);
        let Some(before) = server.memory() else {
            return Ok(None);
        };
        for number in 0..self.held {
            let index = usize::try_from(number).unwrap_or(0).checked_rem(USERS_HELD).unwrap_or(0);
            held.push(crowd.enter(index, true).map_err(failed)?);
        }
        // Each is on its way to its first read.
        thread::sleep(Duration::from_millis(100));
        let after = server.memory();
        drop(held);
        Ok(after.and_then(|after| after.saturating_sub(before).checked_div(self.held.into())))
    }
}

/// Lets some log in to a new server. What fails then is none of the load's trouble.
fn warm_up(crowd: &Crowd, share: f64, clients: usize) {
    let count = if share > 0.0 { TICKETS } else { clients };
    saturate(crowd, 0.0, clients, count, Duration::from_millis(1500), &ProgressBar::hidden());
    crowd.forget_trouble();
}

/// How it went in each part of the time. A login belongs to the part in which it was due.
fn slices(visits: &[Visit], due: &[Duration], duration: Duration, before: &Counts, watched: &[Watched]) -> Vec<Slice> {
    let part = duration.as_secs_f64() / number(watched.len().max(1));
    let last = watched.len().saturating_sub(1);
    let part_of = |due: &Duration| ((due.as_secs_f64() / part).floor() as usize).min(last);
    let (mut earlier, mut slices) = (before, Vec::new());
    for (index, watched) in watched.iter().enumerate() {
        let here: Vec<&Visit> = visits.iter().filter(|visit| part_of(&visit.due) == index).collect();
        let due = due.iter().filter(|due| part_of(due) == index).count();
        let done = |visit: &&&Visit| matches!(visit.outcome, Outcome::Done { .. });
        let times = sorted(here.iter().filter(done).map(|visit| millis(visit.took)).collect());
        let resumed = |visit: &&&Visit| visit.outcome == Outcome::Done { resumed: true };
        let in_it = counted::between(earlier, &watched.counts);
        let so_far = counted::between(before, &watched.counts).map(|counted| counted.tickets);
        earlier = &watched.counts;
        let (turned_away, refused) = in_it.map(|counted| (counted.turned_away, counted.refused)).unzip();
        slices.push(Slice {
            until_seconds: part * number(index.saturating_add(1)),
            done: times.len(),
            resumed: here.iter().filter(resumed).count(),
            not_done: here.len().saturating_sub(times.len()),
            untried: due.saturating_sub(here.len()),
            p99_ms: percentile(&times, 0.99),
            turned_away,
            refused,
            memory_bytes: watched.memory,
            ticket_chains: so_far.as_ref().map(|tickets| tickets.chains),
            tickets_forgotten: so_far.as_ref().map(|tickets| tickets.forgotten),
        });
    }
    slices
}

/// Rates to try where clients without a pause got `most`: in order, each once, and none that schedules more logins than may be.
fn around(most: f64, fractions: &[f64], duration: Duration) -> Vec<f64> {
    let bound = MOST_LOGINS / duration.as_secs_f64();
    let mut rates: Vec<f64> = fractions.iter().map(|fraction| round(fraction * most).min(bound)).collect();
    rates.dedup();
    rates
}

/// To two figures: a rate that can be said.
fn round(rate: f64) -> f64 {
    if rate < 10.0 {
        return ((rate * 10.0).round() / 10.0).max(0.1);
    }
    let step = 10_f64.powf(rate.log10().floor() - 1.0);
    (rate / step).round() * step
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::pace::expected;
    use super::*;
    use countersign::PrivateKey;
    use std::net::TcpListener;

    #[test]
    fn rates_are_as_many_as_may_be_scheduled_and_each_is_tried_once() {
        assert_eq!(around(100.0, &FRACTIONS, Duration::from_secs(5)), [20.0, 40.0, 60.0, 80.0, 100.0, 120.0]);
        assert_eq!(around(0.2, &FRACTIONS, Duration::from_secs(5)), [0.1, 0.2]);
        let (long, fast) = (Duration::from_secs(600), around(10_000.0, &FRACTIONS, Duration::from_secs(600)));
        assert!(fast.iter().all(|rate| expected(*rate, long) <= MOST_LOGINS), "{fast:?}");
        assert_eq!(fast.len(), 1, "{fast:?}");
    }

    #[test]
    fn what_fails_before_the_load_is_not_told_of_it() {
        // Nobody listens there any more.
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let key = PrivateKey::from_pem(include_str!("../../../tests/keys/rsa2048.pem")).unwrap();
        let users = ["user1".to_owned()];
        let crowd = Crowd::new(gone, Suite::X25519_AES_256_GCM, key.public_key().id(), &users).unwrap();
        assert_eq!(crowd.visit(0, false).0, Outcome::Failed);
        assert!(crowd.trouble().is_some());
        warm_up(&crowd, 0.0, 2);
        assert_eq!(crowd.trouble(), None);
    }

    /// Two parts of a second, and a server that does not answer at the end of the third.
    #[test]
    fn each_part_of_the_time_has_its_own_and_what_is_not_known_is_not_nothing() {
        let seconds = Duration::from_secs_f64;
        let visit = |due, outcome| Visit { outcome, due: seconds(due), took: Duration::from_millis(7) };
        let visits = [
            visit(0.1, Outcome::Done { resumed: true }),
            visit(0.9, Outcome::Refused),
            visit(1.5, Outcome::Done { resumed: false }),
            visit(2.5, Outcome::Failed),
        ];
        // One more was due in the second part, and nobody was free for it.
        let due: Vec<Duration> = visits.iter().map(|visit| visit.due).chain([seconds(1.7)]).collect();
        let counts = |pressed: f64, chains: f64, forgotten: f64| -> Counts {
            [
                ("countersign_decisions_total{event=\"turned-away\",code=\"pressed\"}", pressed),
                ("countersign_ticket_chains", chains),
                ("countersign_ticket_chains_forgotten_total", forgotten),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
        };
        let watched = [counts(3.0, 10.0, 0.0), counts(5.0, 12.0, 4.0), Counts::new()];
        let watched = watched.map(|counts| Watched { memory: None, counts });
        let parts = slices(&visits, &due, seconds(3.0), &counts(2.0, 9.0, 0.0), &watched);
        let of = |part: &Slice| [part.done, part.resumed, part.not_done, part.untried];
        assert_eq!(parts.iter().map(of).collect::<Vec<_>>(), [[1, 1, 1, 0], [1, 0, 0, 1], [0, 0, 1, 0]]);
        let pressed = |part: &Slice| part.turned_away.as_ref().map(|codes| codes["pressed"]);
        assert_eq!(parts.iter().map(pressed).collect::<Vec<_>>(), [Some(1), Some(2), None]);
        let tickets = |part: &Slice| part.ticket_chains.zip(part.tickets_forgotten);
        assert_eq!(parts.iter().map(tickets).collect::<Vec<_>>(), [Some((10, 0)), Some((12, 4)), None]);
    }
}
