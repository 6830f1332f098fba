//! What a person reads: the tables and the sentence.

use super::report::{Handshake, Load, Machine, Mix, Plan, Rate, Relief, Slice};
use super::stats::number;
use crate::term::{aligned, width};
use std::collections::BTreeMap;

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

/// `93 %`, `0.4 %`; `98.9 %` of what is nearly all: that 99 % are reached, or all, is said only where they are.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // 0.986 times 1000 may be a little less than 986.
    let tenths = (share * 1000.0 + 1e-6).floor();
    if (95.0..100.0).contains(&percent) {
        let decimals = usize::from(tenths % 10.0 > 0.0);
        format!("{:.decimals$} %", tenths / 10.0)
    } else if percent > 0.0 && percent < 0.05 {
        "under 0.1 %".to_owned()
    } else if (0.05..0.95).contains(&percent) {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// A rate that is no more precise than it was measured: `7.3`, `95`, `1240`.
pub(crate) fn about(rate: f64) -> String {
    if rate < 10.0 {
        return format!("{rate:.1}");
    }
    let step = if rate < 100.0 { 1.0 } else { 10_f64.powf(rate.log10().floor() - 1.0) };
    format!("{:.0}", (rate / step).round() * step)
}

fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

fn ms(value: f64) -> String {
    format!("{value:.3}")
}

/// The first lines: where this was measured.
pub(crate) fn machine(machine: &Machine) -> String {
    let cores = crate::term::count(machine.cores, "core");
    format!("countersign {} on {cores}, {} {}", env!("CARGO_PKG_VERSION"), machine.os, machine.arch)
}

/// What stretching at the clients spares the server.
pub(crate) fn relief(plan: &Plan, relief: &Relief, answer: &Handshake) -> Vec<String> {
    let mut lines = vec![
        format!("Logins by password, with RSA-{}, {} ({}), on one core", answer.bits, answer.suite, answer.provider),
        String::new(),
        format!(
            "hashed: the server computes Argon2id {}. stretched: the client does, with {},",
            plan.argon2, relief.parameters
        ),
        format!(
            "in {:.0} ms (`serve --stretch`). junk: a login that does not open. The RSA operation in each of",
            relief.client_ms
        ),
        format!("them takes {} ms (median of {} rounds).", ms(answer.rsa_ms), relief.rounds),
        String::new(),
    ];
    let each = |what: &str, hashed: f64, stretched: f64| {
        let rate = |ms: f64| about(1000.0 / ms);
        row([what, &ms(hashed), &ms(stretched), &format!("{:.1}", hashed / stretched), &rate(hashed), &rate(stretched)])
    };
    let rows = vec![
        row(["", "hashed", "stretched", "ratio", "hashed", "stretched"]),
        row(["server", "ms", "ms", "", "logins/s/core", "logins/s/core"]),
        each("login", relief.password_server_ms, relief.stretched_server_ms),
        each("junk", relief.password_junk_ms, relief.stretched_junk_ms),
    ];
    lines.extend(aligned(&rows, 1, width()));
    lines
}

/// What each side computes for a login.
pub(crate) fn handshakes(plan: &Plan, hash: f64, handshakes: &[Handshake]) -> Vec<String> {
    let rounds = handshakes.first().map_or(0, |first| first.rounds);
    let memory = f64::from(plan.argon2.m) / 1024.0;
    let mut lines = vec![
        format!("One login on one core, without a network (median of {rounds} rounds)"),
        String::new(),
        format!("A password hash, Argon2id {} ({memory:.0} MiB): {hash:.1} ms.", plan.argon2),
        "server: all of the server's work but that hash; RSA: the decryption in it; proof: the server's work where the"
            .to_owned(),
        "client has its key whole and it proves itself first, to that without; resumed: with a ticket instead, no RSA"
            .to_owned(),
        "and no hash. The shares, and the logins per second, are of the server with the hash.".to_owned(),
        String::new(),
    ];
    let share = percent(plan.resumed_share);
    let mixed = format!("{share} resume");
    let mut rows = vec![
        row(["", "server", "RSA", "client", "proof", "resumed", "RSA", "hash", "logins/s/core", "logins/s/core"]),
        row(["", "ms", "ms", "ms", "ratio", "ms", "share", "share", "none resumes", &mixed]),
    ];
    let mut under = None;
    for one in handshakes {
        if under != Some((one.provider, one.bits)) {
            under = Some((one.provider, one.bits));
            rows.push(vec![format!("RSA-{}, {}", one.bits, one.provider)]);
        }
        rows.push(vec![
            format!("  {}", one.suite),
            ms(one.server_ms),
            ms(one.rsa_ms),
            ms(one.client_ms),
            format!("{:.3}", one.proof_ratio),
            ms(one.resumed_server_ms),
            percent(one.rsa_share),
            percent(one.hash_share),
            about(one.logins_per_second_per_core),
            about(one.mixed_logins_per_second_per_core),
        ]);
    }
    if plan.resumed_share <= 0.0 {
        // It would be the column before it again.
        rows.iter_mut().for_each(|row| row.truncate(9));
    }
    lines.extend(aligned(&rows, 2, width()));
    lines
}

/// Under which load the server is, and how: the mixes follow.
pub(crate) fn load(machine: &Machine, load: &Load) -> Vec<String> {
    let cores = crate::term::count(machine.cores, "core");
    let memory = match load.memory_per_session_bytes {
        Some(bytes) => format!("{:.0} KiB of the server's memory, besides the kernel's", bytes as f64 / 1024.0),
        None => "its memory is not measured on this system".to_owned(),
    };
    vec![
        format!("A real server over loopback: RSA-{}, {}, {}", load.bits, load.suite, load.provider),
        String::new(),
        format!("An open, idle session: {memory}."),
        format!("The clients run on the same {cores}, so the server has fewer than in earnest. Logins come at random"),
        format!("moments for {:.1} s at each rate; their times count from when they were due.", load.seconds_per_rate),
    ]
}

/// How it did with one share of logins that resume.
pub(crate) fn mix(plan: &Plan, machine: &Machine, mix: &Mix) -> Vec<String> {
    let who = who(mix.resumed_share);
    let cpu = match (mix.server_cpu_ms, mix.client_cpu_ms) {
        (Some(server), Some(client)) => {
            let alone = mix.alone_ms;
            format!(
                "each took the server {server:.2} ms of CPU time (handshake and hash alone: {alone:.2}), its client {client:.2}"
            )
        }
        _ => "CPU time is not measured on this system".to_owned(),
    };
    let (clients, reached) = (mix.saturated_clients, about(mix.saturated_per_second));
    let mut lines =
        vec![format!("{who}: {clients} clients without a pause got {reached} logins/s;"), format!("{cpu}.")];
    // A part of a core is lost in waiting for each other.
    if let Some(other) = others(machine, mix).filter(|other| *other > 0.25 * number(machine.cores)) {
        lines.push(format!("Something else had up to {other:.1} of the cores: take these results as rough ones."));
    }
    let within = format!("{:.0} ms", plan.within_ms);
    let mut rows = vec![
        row([
            "due", "done", "resumed", "refused", "failed", "untried", "p50", "p99", "p99.9", "done in", "server",
            "server", "clients",
        ]),
        row(["/s", "", "", "", "", "", "ms", "ms", "ms", &within, "MiB", "cores", "cores"]),
    ];
    for rate in &mix.rates {
        let counts = [rate.done, rate.resumed, rate.refused, rate.failed, rate.untried];
        let counts = counts.map(|count| count.to_string());
        let mut row = vec![format!("{}", rate.per_second)];
        row.extend(counts);
        row.extend([rate.p50_ms, rate.p99_ms, rate.p999_ms].map(|time| optional(time, 1)));
        row.push(percent(number(rate.within) / number(rate.scheduled.max(1))));
        let memory = rate.server.as_ref().and_then(|server| server.memory_bytes);
        row.push(optional(memory.map(|bytes| bytes as f64 / 1024.0 / 1024.0), 0));
        row.extend([rate.server_cores, rate.client_cores].map(|cores| optional(cores, 2)));
        rows.push(row);
    }
    lines.extend(
        aligned(&rows, 2, width().map(|width| width.saturating_sub(2))).into_iter().map(|line| format!("  {line}")),
    );
    if let Some(failure) = mix.rates.iter().find_map(|rate| rate.first_failure.as_ref()) {
        lines.push(format!("  (the first that failed: {failure})"));
    }
    lines.extend(mix.rates.iter().filter_map(causes));
    lines.extend(mix.rates.iter().filter_map(tickets));
    lines.extend(mix.rates.iter().filter_map(drift));
    let fewest = mix.rates.iter().map(|rate| rate.done).min().unwrap_or_default();
    if fewest < 1000 {
        lines.push(
            "  (p99.9 of fewer than 1000 logins is the slowest of them; a longer --duration gives more)".to_owned(),
        );
    }
    lines
}

/// What the server turned away at a rate, and why.
fn causes(rate: &Rate) -> Option<String> {
    let server = rate.server.as_ref()?;
    let said = |what: &'static str, by_code: &BTreeMap<String, u64>| {
        let said: Vec<String> = by_code.iter().map(|(code, count)| format!("{count} {code}")).collect();
        (!said.is_empty()).then(|| format!("{what} {}", said.join(", ")))
    };
    let parts =
        [said("turned away", &server.turned_away), said("refused", &server.refused), said("failed", &server.failed)];
    let mut parts: Vec<String> = parts.into_iter().flatten().collect();
    if server.log_lines_dropped > 0 {
        parts.push(format!("left out {} lines of its log", server.log_lines_dropped));
    }
    (!parts.is_empty()).then(|| format!("  ({}/s: the server {})", rate.per_second, parts.join("; ")))
}

/// How the memory of used tickets did at a rate, where it is or will be full.
fn tickets(rate: &Rate) -> Option<String> {
    let tickets = &rate.server.as_ref()?.tickets;
    let mut text = format!(
        "  ({}/s: {} new chains of tickets, {} of {} places taken",
        rate.per_second, tickets.new, tickets.chains, tickets.room
    );
    if tickets.forgotten > 0 {
        text.push_str(&format!(
            "; {} forgotten, and {} tickets not taken for that",
            tickets.forgotten, tickets.not_taken
        ));
        text.push_str(
            &tickets.full_after_seconds.map(|full| format!("; was full after {}", minutes(full))).unwrap_or_default(),
        );
    } else {
        let full = tickets.full_after_seconds?;
        text.push_str(&format!("; full after {}", minutes(full)));
    }
    Some(text + ")")
}

/// How the last part of a long time differs from the first.
fn drift(rate: &Rate) -> Option<String> {
    let (first, last) = (rate.over_time.first()?, rate.over_time.last()?);
    // Of a few seconds it would be chance.
    if last.until_seconds < 60.0 {
        return None;
    }
    let lost = |part: &Slice| part.not_done.saturating_add(part.untried);
    let chains = |part: &Slice| part.ticket_chains.map_or_else(|| "-".to_owned(), |chains| chains.to_string());
    let mib = |bytes: Option<u64>| optional(bytes.map(|bytes| bytes as f64 / 1024.0 / 1024.0), 0);
    Some(format!(
        "  ({}/s: first and last {}: p99 {} and {} ms, resumed {} and {}, not done {} and {}, server {} and {} MiB, tickets \
         of {} and {} clients)",
        rate.per_second,
        minutes(first.until_seconds),
        optional(first.p99_ms, 1),
        optional(last.p99_ms, 1),
        first.resumed,
        last.resumed,
        lost(first),
        lost(last),
        mib(first.memory_bytes),
        mib(last.memory_bytes),
        chains(first),
        chains(last),
    ))
}

/// `45 s`, `12 min`
pub(crate) fn minutes(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// The most cores that something else had while there was enough to do for all of them.
fn others(machine: &Machine, mix: &Mix) -> Option<f64> {
    let overloaded = mix.rates.iter().filter(|rate| rate.refused > 0 || rate.untried > 0);
    let unused = |rate: &Rate| Some(number(machine.cores) - rate.server_cores? - rate.client_cores?);
    overloaded.filter_map(unused).chain(mix.other_cores).max_by(f64::total_cmp)
}

/// `No login resumes`, `90 % resume`
fn who(share: f64) -> String {
    if share > 0.0 { format!("{} resume", percent(share)) } else { "No login resumes".to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_an_hour_looks_no_better_for_what_was_not_tried() {
        let part = |until_seconds, untried, ticket_chains| Slice {
            until_seconds,
            not_done: 2,
            untried,
            ticket_chains,
            ..Slice::default()
        };
        let rate = Rate { over_time: vec![part(300.0, 0, Some(900)), part(3600.0, 40, None)], ..Rate::default() };
        let said = drift(&rate).unwrap();
        assert!(said.contains("not done 2 and 42, ") && said.ends_with("tickets of 900 and - clients)"), "{said}");
    }

    #[test]
    fn numbers_say_no_more_than_was_measured() {
        assert_eq!([0.0, 0.0004, 0.004, 0.93, 1.0].map(percent), ["0 %", "under 0.1 %", "0.4 %", "93 %", "100 %"]);
        // 98.96 of a hundred are less than 99, and all but one of ten thousand less than all.
        assert_eq!([0.95, 0.986, 0.9896, 0.99, 0.9999].map(percent), ["95 %", "98.6 %", "98.9 %", "99 %", "99.9 %"]);
        assert_eq!([0.43, 7.31, 47.6, 118.2, 1234.0, 98765.0].map(about), ["0.4", "7.3", "48", "120", "1200", "99000"]);
    }
}
