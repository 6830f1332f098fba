//! The listener for those who watch a server: metrics, and whether it is there. What they, or whoever else can reach it, can do.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use support::{House, Server, connect, service, until};

/// An answer over HTTP: its status, head and body.
fn get(address: &str, request: &str) -> (u16, String, String) {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
}

fn page(address: &str, path: &str) -> (u16, String) {
    let (status, _, body) = get(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    (status, body)
}

fn metrics_of(server: &mut Server) -> String {
    let line = server.said(&["metrics_listen="]);
    line.split("metrics_listen=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

/// Reads a page as strictly as the format is described: help and type once and before their samples, all samples of a metric
/// together, no series twice, histograms that only grow.
fn read_page(page: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut types): (BTreeMap<String, f64>, BTreeMap<String, String>) = Default::default();
    let (mut current, mut helped) = (String::new(), String::new());
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split(' ').next().unwrap().to_owned();
            assert!(help.len() > helped.len() + 5 && !types.contains_key(&helped), "{line}");
            continue;
        }
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').unwrap();
            assert!(name == helped && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            current = name.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("countersign_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        let base = if types[&current] == "histogram" {
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap()
        } else {
            name
        };
        assert_eq!(base, current, "{line}");
        if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
            for label in labels.split(',') {
                let (key, value) = label.split_once('=').unwrap();
                assert!(key.chars().all(|c| c.is_ascii_lowercase()), "{line}");
                assert!(value.len() > 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
            }
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value >= 0.0 && samples.insert(series.to_owned(), value).is_none(), "{line}");
    }
    for (name, kind) in types.iter().filter(|(_, kind)| *kind == "histogram") {
        let of = |end: &str| {
            let front = format!("{name}{end}");
            samples.iter().filter(|(series, _)| series.starts_with(&front)).collect::<Vec<_>>()
        };
        assert!(!of("_bucket").is_empty() && of("_sum").len() == of("_count").len(), "{name} {kind}");
        for (series, count) in of("_count") {
            let all = series.replace("_count{", "_bucket{").replace('}', ",le=\"+Inf\"}");
            assert_eq!(samples[&all], *count, "{all}");
        }
    }
    samples
}

#[test]
fn metrics_are_read_by_a_plain_client_and_count_what_was_done() {
    let house = House::new();
    let mut server = house.serve(&["--metrics-listen", "127.0.0.1:0", "--refusal-floor", "1ms"]);
    let metrics = metrics_of(&mut server);
    let before = read_page(&page(&metrics, "/metrics").1);
    assert_eq!(before["countersign_ready"], 1.0);
    assert_eq!(before["countersign_places{for=\"sessions\"}"], 0.0);
    // The rate of a count that was not there before its first event is none.
    let codes = include_str!("../../docs/codes.txt")
        .lines()
        .filter_map(|line| line.strip_prefix("BusyReason::")?.split(' ').nth(1));
    let turned_away: Vec<f64> = codes
        .map(|code| before[&format!("countersign_decisions_total{{event=\"turned-away\",code=\"{code}\"}}")])
        .collect();
    assert_eq!(turned_away, [0.0; 6]);
    for code in ["not-now", "unknown-user", "wrong-password"] {
        assert_eq!(before[&format!("countersign_decisions_total{{event=\"login-refused\",code=\"{code}\"}}")], 0.0);
    }
    let who = ["--user", "alice", "--password-stdin", "--pin", &house.pin(), "--resume", "--send", "whoami"];
    server.login_keeping(&house, &who, &[], "secret of alice\n").ok();
    server.login_keeping(&house, &who, &[], "secret of alice\n").ok();
    server.login(&house, "mallory", "x", &[]).fails(1, &[]);
    drop(TcpStream::connect(&server.address).unwrap());
    server.wait_for(&["event=login-resumed"]);
    server.wait_for(&["event=handshake-failed"]);
    let _held = house.session(connect(&server.address));
    let accepted = "event=\"login-accepted\",code=\"ok\"} 2\n";
    until("the server has counted it", || page(&metrics, "/metrics").1.contains(accepted));
    let text = page(&metrics, "/metrics").1;
    let after = read_page(&text);
    for (series, value) in [
        ("countersign_decisions_total{event=\"login-accepted\",code=\"ok\"}", 2.0),
        ("countersign_decisions_total{event=\"login-resumed\",code=\"ok\"}", 1.0),
        ("countersign_decisions_total{event=\"login-refused\",code=\"unknown-user\"}", 1.0),
        ("countersign_decisions_total{event=\"handshake-failed\",code=\"disconnected\"}", 1.0),
        ("countersign_places{for=\"sessions\"}", 1.0),
        ("countersign_login_seconds_count{outcome=\"accepted\"}", 2.0),
        ("countersign_login_seconds_count{outcome=\"refused\"}", 1.0),
        ("countersign_login_stage_seconds_count{stage=\"verify\"}", 4.0),
        ("countersign_login_stage_seconds_count{stage=\"wait\"}", 4.0),
        ("countersign_login_stage_seconds_count{stage=\"rsa\"}", 3.0),
        ("countersign_ticket_chains", 1.0),
        ("countersign_log_lines_dropped_total{cause=\"strangers\"}", 0.0),
    ] {
        assert_eq!(after.get(series), Some(&value), "{series} in {text}");
    }
    assert!(after["countersign_log_lines_total"] >= 5.0);
    for (series, value) in &before {
        let is_counted = series.contains("_total") || series.contains("_count") || series.contains("_bucket");
        assert!(!is_counted || after[series] >= *value, "{series} went back");
    }
    for name in ["alice", "mallory", "127.0.0.1"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
}

#[test]
#[cfg(feature = "redis")]
fn operators_are_told_of_every_metric_that_there_is_and_of_no_other() {
    let house = House::new();
    let [identity, manifest] = ["identity.pem", "manifest.pem"].map(|name| house.path(name));
    support::run(&["keygen", "--identity", "--out", &identity], "").ok();
    let key = house.path("server.pem");
    let sign = ["manifest", "sign", "--days", "7", "--identity", &identity, "--key", &key, "--out", &manifest];
    let signed = support::run(&sign, "").ok().out;
    let expires = signed.lines().find_map(|line| line.strip_prefix("expires:")).unwrap().trim();
    let expires = humantime::parse_rfc3339(expires).unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let nowhere = ["--redis", "redis+unix:///nowhere/socket", "--manifest", &manifest];
    let mut server = house.serve(&[&["--metrics-listen", "127.0.0.1:0"], &nowhere[..]].concat());
    let page = page(&metrics_of(&mut server), "/metrics").1;
    let there: std::collections::BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let told = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    let told = std::fs::read_to_string(told).unwrap();
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = told.match_indices("countersign_").map(|(at, _)| told[at..].split(|c| !is_letter(c)).next().unwrap());
    assert_eq!(there, words.collect());
    let samples = read_page(&page);
    assert_eq!(samples["countersign_manifest_expires_seconds"], f64::from(u32::try_from(expires).unwrap()));
    assert_eq!(samples["countersign_redis_away"], 1.0);
}

#[test]
fn a_listener_that_others_can_reach_is_warned_of() {
    let house = House::new();
    for (address, warns) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let (_, said) = house.serve(&["--metrics-listen", address]).stop("-TERM");
        assert_eq!(said.contains("can read /metrics"), warns, "{said}");
    }
}

#[test]
fn whoever_asks_for_something_else_or_too_much_harms_nobody() {
    let house = House::new();
    let mut server = house.serve(&["--metrics-listen", "127.0.0.1:0"]);
    let metrics = metrics_of(&mut server);
    assert_eq!(page(&metrics, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(page(&metrics, "/readyz"), (200, "ok\n".to_owned()));
    assert_eq!(page(&metrics, "/").0, 404);
    let (status, head, _) = get(&metrics, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(status == 405 && head.to_lowercase().contains("allow: get"), "{head}");
    let (status, head, body) = get(&metrics, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    // What is in between must not go on to say that it is ready.
    for path in ["/metrics", "/healthz", "/readyz"] {
        let (_, head, _) = get(&metrics, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(head.to_lowercase().contains("cache-control: no-store"), "{path}: {head}");
    }
    // A head without end is cut off, and so are those who say nothing: the others get their turn.
    let mut endless = connect(&metrics);
    let _ = endless.write_all(b"GET /metrics HTTP/1.1\r\n");
    let line = [b'x'; 1 << 16];
    let mut sent = 0;
    while sent < 1 << 26 && endless.write_all(&line).is_ok() {
        sent += line.len();
    }
    assert!(sent < 1 << 26, "it took {sent} bytes of a head");
    let idle: Vec<TcpStream> = (0..20).map(|_| connect(&metrics)).collect();
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    assert_eq!(page(&metrics, "/healthz").0, 200);
    drop(idle);
}

/// As whoever can reach it may, who is on the same network.
#[test]
fn whoever_reaches_the_listener_takes_neither_its_descriptors_nor_its_memory_from_the_server() {
    let house = House::new();
    let mut server = house.serve_within("ulimit -n 48", &["--metrics-listen", "127.0.0.1:0"]);
    let metrics = metrics_of(&mut server);
    // The whole of a request that is longer than any needs to be.
    for (size, is_taken) in [(7 << 10, true), (9 << 10, false), (1 << 16, false)] {
        let mut long = connect(&metrics);
        let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(size));
        let _ = long.write_all(head.as_bytes());
        let mut answer = Vec::new();
        let _ = long.read_to_end(&mut answer);
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), is_taken, "{size}: {}", String::from_utf8_lossy(&answer));
    }
    let mut idle: Vec<TcpStream> = (0..100).map(|_| connect(&metrics)).collect();
    for _ in 0..3 {
        server.login(&house, "alice", "secret of alice", &["--no-resume", "--send", "whoami"]).ok();
    }
    // It does not wait for them for ever.
    assert!(!matches!(idle[0].read(&mut [0; 1]), Err(error) if error.kind() == ErrorKind::WouldBlock));
    idle.clear();
    assert_eq!(server.stop("-TERM").0, 0);
    assert!(!server.seen.iter().any(|line| line.contains("event=accept-failed")), "{:#?}", server.seen);
}

#[test]
fn what_is_counted_is_what_it_is_called() {
    let house = House::new();
    // It hears a hundred bytes and says ten.
    let target = service(|mut stream| {
        stream.read_exact(&mut [0; 100]).unwrap();
        stream.write_all(&[7; 10]).unwrap();
    });
    let mut server = house.serve(&["--metrics-listen", "127.0.0.1:0", "--forward", &target]);
    let metrics = metrics_of(&mut server);
    let mut session = house.session(connect(&server.address));
    session.write_all(&[7; 100]).unwrap();
    session.close().unwrap();
    let mut answer = Vec::new();
    session.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [7; 10]);
    drop(session);
    server.wait_for(&["event=session-ended", " received=100 sent=10 "]);
    let reload = |server: &mut Server, event: &str| {
        assert!(Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap().success());
        server.wait_for(&[event]);
    };
    reload(&mut server, "event=keys-reloaded");
    house.write("server.pem", b"no key", 0o600);
    reload(&mut server, "event=keys-not-reloaded");
    reload(&mut server, "event=keys-not-reloaded");
    let counted = read_page(&page(&metrics, "/metrics").1);
    for (series, value) in [
        ("countersign_session_bytes_total{direction=\"received\"}", 100.0),
        ("countersign_session_bytes_total{direction=\"sent\"}", 10.0),
        ("countersign_reloads_total{outcome=\"taken\"}", 1.0),
        ("countersign_reloads_total{outcome=\"failed\"}", 2.0),
    ] {
        assert_eq!(counted.get(series), Some(&value), "{series}");
    }
}
