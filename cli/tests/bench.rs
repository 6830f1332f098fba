//! `bench`: what it reports, and what it refuses. Nothing here depends on how fast the machine is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Command;
use support::{Said, command, run};

/// Runs in a folder for temporary files of its own, which must be empty at the end: no key stays behind.
#[track_caller]
fn bench(args: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let args = [&["bench", "--quick", "--bits", "2048"], args].concat();
    let said = Said::from(command(&args).env("TMPDIR", folder.path()).output().unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{said:?}");
    said
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("no list {name:?} in {value:#}"))
}

#[track_caller]
fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("no number {name:?} in {value:#}"))
}

#[track_caller]
fn check_handshake(one: &Value) {
    for name in [
        "server_ms",
        "rsa_ms",
        "client_ms",
        "proved_server_ms",
        "proved_client_ms",
        "proof_ratio",
        "resumed_server_ms",
        "resumed_client_ms",
    ] {
        assert!(number(one, name) > 0.0, "{name} in {one:#}");
    }
    let (rsa, hash) = (number(one, "rsa_share"), number(one, "hash_share"));
    assert!(rsa > 0.0 && hash > 0.0 && rsa <= 1.0 && hash < 1.0, "{one:#}");
    let (full, mixed) = (number(one, "logins_per_second_per_core"), number(one, "mixed_logins_per_second_per_core"));
    assert!(full > 0.0 && mixed > full, "{one:#}");
    assert_eq!(one["bits"], 2048);
    assert_eq!(one["rounds"], 5);
}

#[track_caller]
fn check_relief(relief: &Value) {
    let of = |name| number(relief, name);
    for name in
        ["client_ms", "password_server_ms", "stretched_server_ms", "ratio", "password_junk_ms", "stretched_junk_ms"]
    {
        assert!(of(name) > 0.0, "{name} in {relief:#}");
    }
    assert!((of("ratio") * of("stretched_server_ms") / of("password_server_ms") - 1.0).abs() < 1e-9, "{relief:#}");
    assert_eq!((relief["parameters"].as_str(), of("rounds")), (Some("m=65536,t=3,p=4"), 3.0));
}

#[track_caller]
fn check_rate(rate: &Value, share: f64) {
    let of = |name| number(rate, name);
    assert_eq!(of("scheduled"), of("done") + of("refused") + of("failed") + of("untried"), "{rate:#}");
    assert!(of("resumed") <= of("done") && of("within") <= of("done"), "{rate:#}");
    if share == 0.0 {
        assert_eq!(of("resumed"), 0.0);
    }
    if of("done") > 0.0 {
        let times = ["p50_ms", "p99_ms", "p999_ms", "max_ms"].map(of);
        assert!(times[0] > 0.0 && times.is_sorted(), "{rate:#}");
    }
    assert_eq!(rate["first_failure"].is_null(), of("failed") == 0.0, "{rate:#}");
    // The server's own counts, at the end and in each part of the time.
    let server = &rate["server"];
    let tickets = &server["tickets"];
    assert!(number(tickets, "room") >= 4096.0 && number(tickets, "chains") <= number(tickets, "room"), "{rate:#}");
    for (name, by_code) in [("turned_away", &server["turned_away"]), ("refused", &server["refused"])] {
        assert!(by_code.as_object().is_some_and(|codes| codes.values().all(Value::is_u64)), "{name} in {rate:#}");
    }
    let parts = list(rate, "over_time");
    let all = |name| parts.iter().map(|part| number(part, name)).sum::<f64>();
    assert!(!parts.is_empty() && all("done") + all("not_done") == of("scheduled") - of("untried"), "{rate:#}");
    assert_eq!(all("untried"), of("untried"));
    for part in parts {
        // What is told is told by cause; a server that is too busy to say is one of which nothing is known.
        for name in ["turned_away", "refused"] {
            let codes = part[name].as_object().is_some_and(|codes| codes.values().all(Value::is_u64));
            assert!(codes || part[name].is_null() && part["ticket_chains"].is_null(), "{name} in {part:#}");
        }
    }
    if cfg!(target_os = "linux") {
        assert!(number(server, "memory_bytes") > 1e6 && parts.iter().all(|part| number(part, "memory_bytes") > 1e6));
    }
}

#[test]
fn the_report_has_every_part_and_its_counts_add_up() {
    let house = support::House::empty();
    let svg = house.path("bench.svg");
    let suite = "rsa+x25519/aes-256-gcm";
    let args = ["--suite", suite, "--suite", "rsa/chacha20-poly1305", "--resumed", "0.75", "--rate", "40,20,40"];
    let said = bench(&[&args[..], &["--within", "20s", "--json", "-", "--svg", &svg]].concat()).ok();
    let report: Value = serde_json::from_str(&said.out).unwrap();

    assert_eq!(report["version"], 1);
    assert!(number(&report["machine"], "cores") >= 1.0);
    assert_eq!(report["plan"]["argon2"], serde_json::json!({ "m": 19456, "t": 2, "p": 1 }));
    assert_eq!(number(&report["plan"], "resumed_share"), 0.75);
    assert!(number(&report, "password_hash_ms") > 0.0);

    let providers = cfg!(feature = "aws-lc") as usize + cfg!(feature = "rustcrypto") as usize;
    let handshakes = list(&report, "handshakes");
    assert_eq!(handshakes.len(), 2 * providers);
    handshakes.iter().for_each(check_handshake);
    check_relief(&report["relief"]);

    let load = &report["load"];
    assert_eq!(load["suite"], suite);
    let mixes = list(load, "mixes");
    assert_eq!(mixes.len(), 2);
    for (mix, share) in mixes.iter().zip([0.0, 0.75]) {
        assert_eq!(number(mix, "resumed_share"), share);
        assert!(number(mix, "saturated_per_second") > 0.0);
        let rates = list(mix, "rates");
        assert_eq!(rates.iter().map(|rate| number(rate, "per_second")).collect::<Vec<_>>(), [20.0, 40.0]);
        assert_eq!(rates.iter().map(|rate| number(rate, "scheduled")).collect::<Vec<_>>(), [10.0, 20.0]);
        rates.iter().for_each(|rate| check_rate(rate, share));
        if cfg!(target_os = "linux") {
            assert!(number(mix, "server_cpu_ms") > 0.0 && number(mix, "capacity_per_second") > 0.0, "{mix:#}");
        }
    }

    let summary = &report["summary"];
    assert!(number(summary, "mixed_logins_per_second") > 0.0 && number(summary, "logins_per_second") > 0.0);
    let held = list(summary, "held");
    assert_eq!(held.iter().map(|held| number(held, "resumed_share")).collect::<Vec<_>>(), [0.0, 0.75]);
    assert_eq!(
        held.iter().map(|held| &held["per_second"]).collect::<Vec<_>>(),
        mixes.iter().map(|mix| &mix["sustained_per_second"]).collect::<Vec<_>>()
    );
    let sentence = summary["sentence"].as_str().unwrap();
    for part in ["logins/s with RSA-2048", suite, "m=19456,t=2,p=1", "if 75 % resume", "The password hash is "] {
        assert!(sentence.contains(part), "{part:?} is missing in {sentence}");
    }
    // What people read went to the other stream.
    let rsa = format!("them takes {:.3} ms", number(&handshakes[0], "rsa_ms"));
    for part in ["RSA-2048, ", "junk", &rsa, "75 % resume", "untried", sentence.split(' ').next().unwrap()] {
        assert!(said.err.contains(part), "{part:?} is missing in {}", said.err);
    }

    let svg = fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    for part in ["class=\"p50\"", "class=\"p99\"", "class=\"p99.9\"", "logins due per second", "time to log in, ms"] {
        assert_eq!(svg.matches(part).count(), 2, "{part}");
    }
    for tag in ["<g ", "<text "] {
        let end = tag.replace('<', "</").replace(' ', ">");
        assert_eq!(svg.matches(tag).count(), svg.matches(&end).count());
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn without_a_load_the_handshakes_are_the_answer() {
    let house = support::House::empty();
    let json = house.write("bench.json", b"an older one", 0o644);
    let said = bench(&["--no-load", "--argon2", "m=64,t=1", "--resumed", "0", "--json", &json]).ok();
    assert_eq!(said.err, "");
    for part in ["Argon2id m=64,t=1,p=1", "rsa/aes-256-gcm", "by the work of the handshake alone"] {
        assert!(said.out.contains(part), "{part:?} is missing in {}", said.out);
    }
    assert!(!said.out.contains("resume,") && !said.out.contains("loopback"), "{}", said.out);
    let report: Value = serde_json::from_str(&house.read("bench.json")).unwrap();
    assert!(report["load"].is_null());
    assert_eq!(report["summary"]["basis"], "in-process");
    assert_eq!(fs::read_dir(house.folder.path()).unwrap().count(), 1);
}

#[test]
#[cfg(feature = "aws-lc")]
fn hundreds_of_logins_of_one_name_in_a_second_all_resume() {
    let args = ["bench", "--no-load", "--bits", "2048", "--suite", "rsa+x25519/aes-256-gcm", "--provider", "aws-lc-rs"];
    let said = run(&[&args[..], &["--argon2", "m=8,t=1", "--json", "-"]].concat(), "").ok();
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert!(number(&list(&report, "handshakes")[0], "rounds") > 5.0, "{report:#}");
}

#[test]
fn its_help_has_an_example_and_fits_the_terminal() {
    let help = run(&["bench", "--help"], "").ok().out;
    assert!(help.contains("\n  countersign bench --"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn what_cannot_be_measured_is_refused_before_the_work() {
    for (args, parts) in [
        (&["--rate", "0"][..], &["--rate", "more than 0"][..]),
        (&["--rate", "20,fast"], &["--rate", "'fast'"]),
        (&["--rate", "100000", "--duration", "1h"], &["--rate 100000", "--duration"]),
        (&["--resumed", "1.1"], &["--resumed", "from 0 to 1"]),
        (&["--suite", "rsa+x448/aes-256-gcm"], &["--suite", "rsa+x25519/"]),
        (&["--suite", "rsa/aes-256-gcm"], &["without forward secrecy", "--no-load"]),
        (&["--provider", "openssl"], &["--provider", "this build has "]),
        (&["--bits", "1024"], &["--bits", "2048, 3072 and 4096"]),
        (&["--argon2", "m=4"], &["--argon2", "m is at least 8"]),
        (&["--argon2", "t=2,m=2000000"], &["--argon2", "at most m="]),
        (&["--argon2", "64"], &["--argon2", "m=KIBIBYTES"]),
        (&["--duration", "0s"], &["--duration", "more than zero"]),
        (&["--json", "no/such/folder/bench.json"], &["no/such/folder/bench.json", "can't be written"]),
        (&["--svg", "/"], &["it is a directory"]),
        (&["--svg", "-"], &["--svg -", "bench.svg"]),
        (&["--duration", "1h"], &["--duration", "10 minutes", "--rate 20"]),
        (&["--no-load", "--within", "1s"], &["--no-load", "--within"]),
        (&["--no-load", "--svg", "bench.svg"], &["--no-load", "--svg"]),
    ] {
        run(&[&["bench"], args].concat(), "").fails(2, parts);
    }
}

#[test]
fn what_one_load_gave_is_printed_while_the_next_one_runs() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["bench", "--quick", "--bits", "2048", "--suite", "rsa+x25519/aes-256-gcm", "--argon2", "m=64,t=1"];
    let args = [&args[..], &["--rate", "5", "--duration", "2s", "--within", "20s"]].concat();
    let mut child = command(&args).env("TMPDIR", folder.path()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let found = lines.any(|line| line.starts_with("No login resumes: "));
    // The last line of the table; the load with tickets takes four seconds more.
    assert!(found && lines.any(|line| line.contains("p99.9 of fewer than 1000")), "{:?}", child.wait_with_output());
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(sent.success() && rest.is_empty(), "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_bench_that_is_interrupted_takes_its_server_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["bench", "--quick", "--bits", "2048", "--suite", "rsa+x25519/aes-256-gcm", "--duration", "2m"];
    let mut child = command(&args).env("TMPDIR", folder.path()).spawn().unwrap();
    // The server's standard error is in a file beside the key, once it runs.
    let running = |folder: &std::path::Path| {
        let mut found = fs::read_dir(folder).unwrap().map_while(Result::ok);
        found.next().is_some_and(|made| made.path().join("server.err").exists())
    };
    while !running(folder.path()) {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    // The pipes end with the last process that holds them.
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.status, 130, "{said:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // It was started with the folder in its arguments.
    let name = folder.path().to_str().unwrap();
    let all = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&all.stdout).contains(name));
}
