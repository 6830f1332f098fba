//! The answer: how many logins a second, and what they cost.

use super::report::{Handshake, Held, Load, Machine, Mix, Plan, Rate, Summary, TicketMemory};
use super::setup::Setup;
use super::stats::number;
use super::table::{about, percent};

/// The best that is known: by the server's own CPU time, or else what clients on the same cores got, or else the work of
/// the handshakes alone.
pub(crate) fn summary(setup: &Setup, one: &Handshake, load: Option<&Load>) -> Summary {
    let cores = number(setup.machine.cores);
    let of = |rate: fn(&Mix) -> Option<f64>| {
        let mixes = &load?.mixes;
        // Without any resumption the second is the first.
        mixes.first().and_then(rate).zip(mixes.last().and_then(rate))
    };
    let by_cpu = of(|mix| mix.capacity_per_second).map(|rates| ("server-cpu", rates));
    let by_clients = || of(|mix| Some(mix.saturated_per_second)).map(|rates| ("saturated", rates));
    let alone = (cores * one.logins_per_second_per_core, cores * one.mixed_logins_per_second_per_core);
    let (basis, (full, mixed)) = by_cpu.or_else(by_clients).unwrap_or(("in-process", alone));
    let summary = Summary {
        provider: one.provider,
        bits: one.bits,
        suite: one.suite.clone(),
        basis,
        logins_per_second: full,
        mixed_logins_per_second: mixed,
        rsa_share: one.rsa_share,
        hash_share: one.hash_share,
        held: load.map(|load| load.mixes.iter().map(held).collect()).unwrap_or_default(),
        ticket_memory_full_after_seconds: load.and_then(memory).and_then(|tickets| tickets.full_after_seconds),
        sentence: String::new(),
    };
    Summary { sentence: sentence(&setup.plan, &setup.machine, load, &summary), ..summary }
}

/// The answer, in words.
fn sentence(plan: &Plan, machine: &Machine, load: Option<&Load>, summary: &Summary) -> String {
    let cores = crate::term::count(machine.cores, "core");
    let (full, mixed) = (about(summary.logins_per_second), about(summary.mixed_logins_per_second));
    let share = percent(plan.resumed_share);
    let resumed = if plan.resumed_share > 0.0 { format!(", and {mixed} if {share} resume") } else { String::new() };
    let basis = match summary.basis {
        "server-cpu" => "by the CPU time that the server took",
        "saturated" => "with its clients on the same cores",
        _ => "by the work of the handshake alone, without a network",
    };
    // Sockets, threads and the system take their share, too.
    let about = if summary.basis == "in-process" { "less than" } else { "about" };
    let mut text = format!(
        "This machine's {cores} serve {about} {full} logins/s with RSA-{}, {} ({}) and Argon2id {}{resumed}, {basis}. The \
         password hash is {} of a full login's work, RSA {}.",
        summary.bits,
        summary.suite,
        summary.provider,
        plan.argon2,
        percent(summary.hash_share),
        percent(summary.rsa_share),
    );
    if let Some(load) = load {
        let held: Vec<String> = load.mixes.iter().zip(&summary.held).map(|(mix, held)| in_words(mix, held)).collect();
        text.push_str(&format!(
            " Tried here, with the clients on the same cores, it held {}: 99 % of logins were done in {:.0} ms, and the others too \
             late, refused, failed or not tried.",
            held.join(", and "),
            plan.within_ms
        ));
    }
    if let (Some(tickets), Some(seconds)) = (load.and_then(memory), summary.ticket_memory_full_after_seconds) {
        text.push_str(&format!(
            " At the highest rate that held where some resume, the memory of used tickets {} full after {}: from then on the clients \
             that were forgotten log in anew, so for longer it is fewer logins/s than that.",
            if tickets.forgotten > 0 { "was" } else { "is" },
            super::table::minutes(seconds)
        ));
    }
    text
}

/// The memory of used tickets at the highest rate that was sustained where some resume.
fn memory(load: &Load) -> Option<&TicketMemory> {
    let rates = load.mixes.iter().filter(|mix| mix.resumed_share > 0.0).filter_map(Mix::sustained);
    let highest = rates.max_by(|one, other| one.per_second.total_cmp(&other.per_second))?;
    Some(&highest.server.as_ref()?.tickets)
}

fn held(mix: &Mix) -> Held {
    let rate = mix.sustained();
    Held {
        resumed_share: mix.resumed_share,
        per_second: rate.map(|rate| rate.per_second),
        scheduled: rate.map_or(0, |rate| rate.scheduled),
        not_done: rate.map_or(0, Rate::not_done),
    }
}

fn in_words(mix: &Mix, held: &Held) -> String {
    let who =
        if mix.resumed_share > 0.0 { format!(" where {} resume", percent(mix.resumed_share)) } else { String::new() };
    let Some(rate) = held.per_second else {
        return format!("none of the rates{who}");
    };
    let is_highest = mix.rates.iter().all(|other| other.per_second <= rate);
    let least = if is_highest { "at least " } else { "" };
    format!("{least}{rate} logins/s{who} ({} of {} not done)", held.not_done, held.scheduled)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::report::{Argon2Parameters, Counted};
    use super::*;

    /// A hundred logins, of which so many were done in time.
    fn rate(per_second: f64, within: usize, tickets: TicketMemory) -> Rate {
        Rate {
            per_second,
            scheduled: 100,
            done: within,
            refused: 100_usize.saturating_sub(within),
            within,
            server: Some(Counted { tickets, ..Counted::default() }),
            ..Rate::default()
        }
    }

    fn mix(resumed_share: f64, rates: Vec<Rate>) -> Mix {
        Mix { resumed_share, rates, ..Mix::default() }
    }

    fn said(mixes: Vec<Mix>) -> (Vec<Held>, Option<f64>, String) {
        let load = Load { mixes, ..Load::default() };
        let summary = Summary {
            held: load.mixes.iter().map(held).collect(),
            ticket_memory_full_after_seconds: memory(&load).and_then(|tickets| tickets.full_after_seconds),
            ..Summary::default()
        };
        let argon2 = Argon2Parameters { m: 19456, t: 2, p: 1 };
        let plan = Plan { quick: false, argon2, resumed_share: 0.9, within_ms: 500.0 };
        let machine = Machine { cores: 2, os: "linux", arch: "x86_64" };
        let sentence = sentence(&plan, &machine, Some(&load), &summary);
        (summary.held, summary.ticket_memory_full_after_seconds, sentence)
    }

    #[test]
    fn the_answer_says_what_was_not_done_and_of_no_rate_above_one_that_did_not_hold() {
        let none = TicketMemory::default;
        let rates =
            vec![rate(20.0, 100, none()), rate(40.0, 99, none()), rate(60.0, 98, none()), rate(80.0, 99, none())];
        let (held, _, sentence) = said(vec![mix(0.0, rates), mix(0.9, vec![rate(5.0, 50, none())])]);
        let of = |held: &Held| (held.per_second, held.scheduled, held.not_done);
        assert_eq!(held.iter().map(of).collect::<Vec<_>>(), [(Some(40.0), 100, 1), (None, 0, 0)]);
        let part = "it held 40 logins/s (1 of 100 not done), and none of the rates where 90 % resume: ";
        assert!(sentence.contains(part), "{sentence}");
        let (_, _, sentence) = said(vec![mix(0.0, vec![rate(20.0, 100, none())])]);
        assert!(sentence.contains("it held at least 20 logins/s (0 of 100 not done): "), "{sentence}");
    }

    #[test]
    fn a_memory_of_tickets_that_was_full_is_not_announced_for_later_nor_for_the_first_moment() {
        let tickets =
            |forgotten| TicketMemory { forgotten, full_after_seconds: Some(900.0), ..TicketMemory::default() };
        for (forgotten, is) in [(0, "is"), (40, "was")] {
            // What is at a rate that did not hold, or where nobody resumes, does not count.
            let lost = TicketMemory { full_after_seconds: Some(7.0), ..tickets(1) };
            let resuming = vec![rate(100.0, 99, tickets(forgotten)), rate(200.0, 10, lost.clone())];
            let (_, full, sentence) = said(vec![mix(0.0, vec![rate(300.0, 100, lost)]), mix(0.9, resuming)]);
            assert_eq!(full, Some(900.0));
            assert!(sentence.contains(&format!("memory of used tickets {is} full after 15 min: ")), "{sentence}");
        }
        let (_, full, sentence) = said(vec![mix(0.9, vec![rate(100.0, 99, TicketMemory::default())])]);
        assert!(full.is_none() && !sentence.contains("memory of used tickets"), "{sentence}");
    }
}
