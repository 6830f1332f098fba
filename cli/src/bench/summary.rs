//! The answer: how many logins a second, and what they cost.

use super::report::{Handshake, Load, Machine, Mix, Plan, Summary};
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
        ticket_memory_full_after_seconds: load.and_then(full_after),
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
        let held: Vec<String> = load.mixes.iter().map(held).collect();
        text.push_str(&format!(
            " Tried here, with the clients on the same cores, it held {}: 99 % of logins were done in {:.0} ms.",
            held.join(", and "),
            plan.within_ms
        ));
    }
    if let Some(seconds) = summary.ticket_memory_full_after_seconds {
        text.push_str(&format!(
            " At the highest rate that held where some resume, the memory of used tickets is full after {}: from then on the clients \
             that were forgotten log in anew, so for longer it is fewer logins/s than that.",
            super::table::minutes(seconds)
        ));
    }
    text
}

/// When the memory of used tickets is full at the highest rate that was sustained where some resume: 0 where it was.
fn full_after(load: &Load) -> Option<f64> {
    let rates = load.mixes.iter().filter(|mix| mix.resumed_share > 0.0).flat_map(|mix| &mix.rates);
    let sustained = rates.filter(|rate| rate.is_sustained());
    let highest = sustained.max_by(|one, other| one.per_second.total_cmp(&other.per_second))?;
    let tickets = &highest.server.as_ref()?.tickets;
    if tickets.forgotten > 0 { Some(0.0) } else { tickets.full_after_seconds }
}

fn held(mix: &Mix) -> String {
    let highest = mix.rates.iter().map(|rate| rate.per_second).max_by(f64::total_cmp);
    let rate = match mix.sustained_per_second {
        None => "none of the rates".to_owned(),
        Some(rate) if highest == Some(rate) => format!("at least {rate} logins/s"),
        Some(rate) => format!("{rate} logins/s"),
    };
    if mix.resumed_share > 0.0 { format!("{rate} where {} resume", percent(mix.resumed_share)) } else { rate }
}
