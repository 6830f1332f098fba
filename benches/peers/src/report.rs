//! The results as text: Markdown tables, JSON, and the section of the repository's README.

use crate::about;
use crate::run::{Quartiles, Record, Results};
use serde_json::{Value, json};
use std::fmt::Write;
use std::io;

const BEGIN: &str = "<!-- peers:begin -->";
const END: &str = "<!-- peers:end -->";

/// The tables.
pub fn markdown(results: &Results) -> String {
    let mut out = String::from(
        "| handshake | server µs | client µs | round trips | bytes to server / client | who is authenticated | forward secret |\n\
         |---|--:|--:|--:|--:|---|---|\n",
    );
    for handshake in &results.handshakes {
        let row = &handshake.row;
        let (server, client) = (micros(handshake.server), micros(handshake.client));
        let (to_server, to_client) = (handshake.to_server, handshake.to_client);
        let words = [row.round_trips, row.authenticates, row.forward_secret];
        let [round_trips, authenticates, forward_secret] = words;
        let name = &row.name;
        // A String takes whatever is written to it.
        let _ = writeln!(
            out,
            "| {name} | {server} | {client} | {round_trips} | {to_server} / {to_client} | {authenticates} | {forward_secret} |"
        );
    }
    out.push_str("\n| records, AES-256-GCM: seal and open | 16 KiB, GB/s | 1 KiB, GB/s |\n|---|--:|--:|\n");
    let (large, small) = results.records.split_at(results.records.len() / 2);
    for (large, small) in large.iter().zip(small) {
        let _ = writeln!(out, "| {} | {} | {} |", large.name, speed(large), speed(small));
    }
    out
}

/// The median; the quartiles are in the JSON.
fn micros(Quartiles { median, .. }: Quartiles) -> String {
    let digits = if median < 10.0 { 1 } else { 0 };
    format!("{median:.digits$}")
}

fn speed(Record { gb_per_s: Quartiles { median, .. }, .. }: &Record) -> String {
    format!("{median:.2}")
}

/// Everything, for programs.
pub fn json(results: &Results) -> io::Result<Value> {
    let short = |value: f64| (value * 1000.0).round() / 1000.0;
    let spread =
        |all: Quartiles| json!({ "low": short(all.low), "median": short(all.median), "high": short(all.high) });
    let handshakes = results.handshakes.iter().map(|handshake| {
        json!({
            "name": handshake.row.name,
            "server_us": spread(handshake.server),
            "client_us": spread(handshake.client),
            "round_trips": handshake.row.round_trips,
            "bytes_to_server": handshake.to_server,
            "bytes_to_client": handshake.to_client,
            "authenticates": handshake.row.authenticates,
            "forward_secret": handshake.row.forward_secret,
        })
    });
    let records = results.records.iter().map(
        |record| json!({ "name": record.name, "payload_bytes": record.size, "gb_per_s": spread(record.gb_per_s) }),
    );
    let crates: serde_json::Map<_, _> =
        about::crates()?.into_iter().map(|(name, version)| (name, version.into())).collect();
    Ok(json!({
        "date": about::date(),
        "cpu": about::cpu(),
        "rustc": about::rustc(),
        "crates": crates,
        "rounds": results.rounds,
        "handshakes": handshakes.collect::<Vec<_>>(),
        "records": records.collect::<Vec<_>>(),
    }))
}

/// The tables, where they come from, and the chart: what stands between the marks in the README.
pub fn section(results: &Results) -> io::Result<String> {
    let crates: Vec<_> = about::crates()?.into_iter().map(|(name, version)| format!("{name} {version}")).collect();
    Ok(format!(
        "![The server's time for one handshake, in microseconds, on a logarithmic scale](docs/peers.svg)\n\n{}\n\
         Medians of {} interleaved rounds. {}, {}, one thread, {}: {}.\n",
        markdown(results),
        results.rounds,
        about::date(),
        about::cpu(),
        about::rustc(),
        crates.join(", "),
    ))
}

/// `text` with `section` between the marks; `None` where they are missing.
pub fn replace(text: &str, section: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{section}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_the_one_before() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let once = replace(&text, "new\n").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(replace(&once, "new\n").as_ref(), Some(&once));
        assert_eq!(replace("no marks", "new\n"), None);
    }

    #[test]
    fn the_readme_has_the_marks() {
        let readme = include_str!("../../../README.md");
        assert!(replace(readme, "").is_some());
    }
}
