//! What an operator configures, watches and stops: `--config`, `check-config`, the log, metrics, health, reload, draining.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use support::{House, Server, command, connect, run, status, until};

/// A house with `serve.toml`: these lines, and what every server needs.
fn configured(lines: &str) -> (House, String) {
    let house = House::new();
    let file = write(&house, lines);
    (house, file)
}

fn write(house: &House, lines: &str) -> String {
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let text = format!("listen = \"127.0.0.1:0\"\nkey = {key:?}\nusers = {users:?}\n{lines}\n");
    house.write("serve.toml", text.as_bytes(), 0o644)
}

fn start(file: &str, more: &[&str]) -> Server {
    Server::of(command(&[&["serve", "--config", file], more].concat()))
}

fn signal(server: &Server, name: &str) {
    assert!(Command::new("kill").args([name, &server.child.id().to_string()]).status().unwrap().success());
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_with_its_place_and_what_was_meant() {
    for (lines, says) in [
        ("max-handshake = 5", &["serve.toml:4:1: ", "did you mean \"max-handshakes\"?"][..]),
        ("max_handshakes = 5", &["serve.toml:4:1: ", "did you mean \"max-handshakes\"?"]),
        ("Max-Handshakes = 5", &["serve.toml:4:1: ", "did you mean \"max-handshakes\"?"]),
        ("\n\n  qwzx = 5", &["serve.toml:6:3: ", "there is no \"qwzx\"", "countersign serve"]),
        ("max-handshakes = \"5\"", &["serve.toml:4:18: ", "max-handshakes is a string", "max-handshakes = 100"]),
        ("max-handshakes = 0", &["serve.toml:4:18: ", "'0'", "--max-handshakes"]),
        ("max-handshakes = -1", &["serve.toml:4:18: ", "--max-handshakes"]),
        ("max-handshakes = 1.5", &["serve.toml:4:18: ", "a number with a fraction"]),
        ("max-wait = 5", &["serve.toml:4:12: ", "max-wait is a number", "max-wait = \"10s\""]),
        ("max-wait = \"5 parsecs\"", &["serve.toml:4:12: ", "5 parsecs", "10s, 250ms or 1m30s"]),
        ("any-server-name = \"yes\"", &["serve.toml:4:19: ", "any-server-name = true"]),
        ("server-name = [1]", &["serve.toml:4:15: ", "server-name = [\"...\""]),
        ("proxy-protocol = [\"10.0.0.0/99\"]", &["serve.toml:4:18: ", "10.0.0.0/99"]),
        ("log-format = \"xml\"", &["serve.toml:4:14: ", "xml", "logfmt, json"]),
        (
            "forward = \"a:1\"\nexec = \"cat\"",
            &["cannot be used with", "serve.toml:4:1 sets forward", "serve.toml:5:1 sets exec"],
        ),
        ("send-proxy = true", &["--forward"]),
        ("[limits]\nmax-handshakes = 5", &["serve.toml:4:2: ", "no tables"]),
        ("[server-name]\na = 5", &["serve.toml:4:2: ", "no tables"]),
        ("key = \"again.pem\"", &["serve.toml:4:1: ", "duplicate key"]),
        ("max-wait = ", &["serve.toml:4:"]),
        ("config = \"other.toml\"", &["serve.toml:4:1: ", "config can't be set in a file"]),
        ("help = true", &["serve.toml:4:1: ", "help can't be set in a file"]),
    ] {
        let (_house, file) = configured(lines);
        // A check says what a server says, and both without doing anything.
        run(&["check-config", &file], "").fails(2, says);
        run(&["serve", "--config", &file], "").fails(2, says);
    }
    // All that is wrong, at once.
    let (_house, file) = configured("a = 1\nmax-wait = 5\nb = 2");
    run(&["check-config", &file], "").fails(2, &["serve.toml:4:1: ", "serve.toml:5:12: ", "serve.toml:6:1: "]);
    let house = House::new();
    run(&["check-config", &house.path("missing.toml")], "").fails(1, &["missing.toml"]);
    let file = house.write("short.toml", b"listen = \"127.0.0.1:0\"", 0o644);
    run(&["check-config", &file], "").fails(2, &["short.toml", "--key"]);
    let file = house.write("binary.toml", b"\xff\xfe", 0o644);
    run(&["check-config", &file], "").fails(1, &["binary.toml"]);
}

#[test]
fn a_check_looks_at_what_the_configuration_names() {
    let (house, file) = configured("max-sessions = 7");
    let said = run(&["check-config", &file], "").ok();
    assert!(said.out.contains(&format!("key {}\n", house.pin())) && said.out.contains("1 account\n"), "{said:?}");
    // A line that can't be read is a warning, as at a start.
    let users = house.read("users.txt");
    house.write("users.txt", format!("{users}carol\u{7} what=ever\n").as_bytes(), 0o600);
    assert!(run(&["check-config", &file], "").ok().err.contains("users.txt"));
    house.write("users.txt", users.as_bytes(), 0o644);
    run(&["check-config", &file], "").fails(1, &["users.txt"]);
    house.write("users.txt", users.as_bytes(), 0o600);
    house.write("server.pem", b"no key", 0o600);
    run(&["check-config", &file], "").fails(1, &["server.pem"]);
    for (lines, says) in [
        ("metrics-listen = \"here\"", "ADDRESS:PORT"),
        ("forward = \"localhost\"", "HOST:PORT"),
        ("ticket-keys = \"/nowhere/at/all\"", "/nowhere/at/all"),
        ("ticket-keys = \"keys\"\nticket-lifetime = \"0s\"", "ticket-lifetime"),
    ] {
        let (_house, file) = configured(lines);
        let said = run(&["check-config", &file], "");
        assert!(said.status != 0 && said.err.contains(says), "{said:?}");
    }
}

#[test]
fn what_is_in_force_is_printed_as_a_file_that_says_the_same() {
    let lines = "max-sessions = 7\nserver-name = [\"a\", \"b\\\"c\"]\nany-server-name = true\nforward = \"localhost:1\"\nsend-proxy = false\nmax-wait = \"1m 30s\"";
    let (house, file) = configured(lines);
    let printed = run(&["check-config", &file, "--print"], "").ok().out;
    for part in [
        "max-sessions = 7\n",
        "any-server-name = true\n",
        "forward = \"localhost:1\"\n",
        "# max-handshakes = 1024\n",
        "# exec is not set\n",
    ] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
    let again = house.write("again.toml", printed.as_bytes(), 0o644);
    assert_eq!(run(&["check-config", &again, "--print"], "").ok().out, printed);
    // Defaults that stand there change nothing.
    let all: String = printed
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line).to_owned() + "\n")
        .collect();
    let all = house.write("all.toml", all.as_bytes(), 0o644);
    run(&["check-config", &all], "").ok();
}

#[test]
fn the_configuration_that_packages_ship_names_nothing_that_is_not_there() {
    let house = House::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/serve.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    // What is commented out is good, too, but for what is at a place that this machine may have, and what excludes something else: of
    // those the first, and then a directory in the place of accounts.
    let password = house.write("ldap-password", b"secret\n", 0o600);
    for with_directory in [false, true] {
        let mut lines: Vec<(String, String)> = Vec::new();
        for line in shipped.lines() {
            let Some((name, value)) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ") else { continue };
            let is_left_out = ["keys", "exec", "redis", "redis-prefix", "redis-timeout"].contains(&name)
                || (name.ends_with("-file") && name != "ldap-password-file")
                || (name == "users" && with_directory)
                || (name.starts_with("ldap") && !with_directory);
            if !name.contains(' ') && !is_left_out && !lines.iter().any(|(known, _)| known == name) {
                let value = value.replace("/etc/countersign/users", &house.path("users.txt"));
                let value = value.replace("/etc/countersign/", &house.path(""));
                let value = value.replace("/run/credentials/countersign.service/ldap-password", &password);
                lines.push((name.to_owned(), value.replace("/var/lib/countersign/", &house.path(""))));
            }
        }
        assert!(lines.len() > 12, "{lines:#?}");
        let text: String = lines.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        let file = house.write("serve.toml", text.as_bytes(), 0o644);
        run(&["check-config", &file], "").ok();
    }
}

#[test]
fn the_command_line_goes_before_the_file() {
    let (house, file) = configured("exec = \"echo file\"\nserver-name = [\"a\"]\nlog-format = \"json\"");
    let mut server = start(&file, &[]);
    assert!(server.login(&house, "alice", "secret of alice", &["--pipe"]).ok().out.contains("file"));
    server.stop("-TERM");
    // The same name, and one that excludes it.
    for more in [&["--exec", "echo line"][..], &["--exec=echo line"]] {
        let mut server = start(&file, &[more, &["--log-format", "logfmt"]].concat());
        assert!(server.login(&house, "alice", "secret of alice", &["--pipe"]).ok().out.contains("line"));
        server.stop("-TERM");
        assert!(server.seen.iter().any(|line| line.contains("event=started") && line.contains("serve.toml")));
    }
    let mut server = start(&file, &["--demo-service"]);
    let said = server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    assert!(said.out.contains("alice permissions="), "{said:?}");
    server.stop("-TERM");
}

/// Lines of the log, each parsed as JSON.
fn parsed(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_line_is_an_object_of_json_and_none_has_a_secret_or_a_name_that_nobody_has() {
    let (house, file) = configured("log-format = \"json\"\nrefusal-floor = \"1ms\"\nmetrics-listen = \"127.0.0.1:0\"");
    let mut server = start(&file, &[]);
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    server.login(&house, "alice", "wrong horse", &[]).fails(1, &[]);
    for _ in 0..2 {
        server.login(&house, "hunter2\"\n", "battery staple", &[]);
        server.login(&house, "hunter2", "battery staple", &[]).fails(1, &[]);
    }
    let token = house.token("alice");
    let who = ["--user", "alice", "--token-stdin", "--pin", &house.pin()];
    let said = server.login_with(&who, &[], &token);
    assert!(said.status == 0 || said.status == 2, "{said:?}");
    drop(connect(&server.address).write_all(b"GET / HTTP/1.1\r\n\r\n"));
    server.wait_for(&["\"handshake-failed\"", "unknown-frame"]);
    signal(&server, "-HUP");
    server.wait_for(&["keys-reloaded"]);
    house.write("users.txt", format!("{}carol\u{7} what=ever\n", house.read("users.txt")).as_bytes(), 0o600);
    server.wait_for(&["users-broken-line"]);
    let (status, said) = server.stop("-TERM");
    assert_eq!(status, 0);
    let lines = parsed(&server.seen);
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    for event in [
        "started",
        "login-accepted",
        "login-refused",
        "handshake-failed",
        "session-ended",
        "keys-reloaded",
        "users-reloaded",
        "stopped",
    ] {
        assert!(!of(event).is_empty(), "no {event} in {lines:#?}");
    }
    assert!(lines.iter().all(|line| line["time"].as_str().is_some_and(|time| time.ends_with('Z'))));
    let started = of("started")[0];
    assert_eq!((&started["current"], &started["config"]), (&Value::from(house.pin()), &Value::from(file.as_str())));
    assert!(started["version"].as_str().unwrap().starts_with(env!("CARGO_PKG_VERSION")) && started["accounts"] == 1);
    let accepted = of("login-accepted")[0];
    for (name, value) in [("user", "alice"), ("credential", "password"), ("permissions", "read,write"), ("code", "ok")]
    {
        assert_eq!(accepted[name], value, "{accepted}");
    }
    assert!(accepted["rsa_ms"].as_f64().unwrap() > 0.0 && accepted["verify_ms"].as_f64().unwrap() > 0.0, "{accepted}");
    assert!(accepted["key"] == house.pin().as_str() && accepted["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let ended = of("session-ended")[0];
    assert_eq!((&ended["session"], &ended["code"]), (&accepted["session"], &Value::from("closed")));
    assert!(ended["received"].as_u64().unwrap() >= 7 && ended["sent"].as_u64().unwrap() > 7, "{ended}");
    // The same name has the same tag, and that is all there is of it.
    let unknown: Vec<&Value> = of("login-refused").into_iter().filter(|line| line["code"] == "unknown-user").collect();
    assert!(unknown.len() >= 2 && unknown.iter().all(|line| line["user"].is_null()), "{unknown:?}");
    let tags: Vec<&str> = unknown.iter().map(|line| line["user_tag"].as_str().unwrap()).collect();
    assert_eq!(tags[0], tags[tags.len() - 1]);
    let all = format!("{:?} {said}", server.seen);
    for secret in ["secret of alice", "wrong horse", "hunter2", "battery staple", token.trim(), "PRIVATE"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn names_that_nobody_has_are_logged_where_that_is_asked_for() {
    let (house, file) = configured("log-unknown-names = true\nrefusal-floor = \"1ms\"");
    let mut server = start(&file, &[]);
    server.login(&house, "mallory", "secret of alice", &[]).fails(1, &[]);
    server.wait_for(&["event=login-refused", "unknown_user=\"mallory\"", "user_tag=", "code=unknown-user"]);
    server.stop("-TERM");
}

#[test]
fn a_reload_takes_what_it_can_says_what_it_can_not_and_cuts_no_session() {
    let (house, file) = configured("max-sessions-per-user = 1\nserver-name = [\"a\"]");
    let mut server = start(&file, &[]);
    let mut session = house.session(connect(&server.address));
    let mut say = |line: &str| {
        session.write_all(format!("echo {line}\n").as_bytes()).unwrap();
        session.flush().unwrap();
        let mut answer = vec![0; line.len() + 1];
        session.read_exact(&mut answer).unwrap();
        assert_eq!(answer, format!("{line}\n").as_bytes());
    };
    say("one");
    // There is no room for another of hers, and the count is kept when there is.
    server.login(&house, "alice", "secret of alice", &[]).fails(1, &[]);
    server.wait_for(&["event=login-refused", "too many sessions"]);
    write(&house, "max-sessions-per-user = 2\nserver-name = [\"b\"]\nrefusal-floor = \"2ms\"");
    signal(&server, "-HUP");
    let line = server.wait_for(&["event=config-reloaded"]);
    assert!(line.contains("taken=max-sessions-per-user,server-name needs_restart=refusal-floor"), "{line}");
    say("two");
    server.login(&house, "alice", "secret of alice", &["--server-name", "b", "--send", "whoami"]).ok();
    let other = house.session(connect(&server.address));
    server.login(&house, "alice", "secret of alice", &[]).fails(1, &[]);
    drop(other);
    // A typo, a key that is gone: all stays as it was.
    write(&house, "max-sessions-per-user = 3\nserver-nam = [\"c\"]");
    signal(&server, "-HUP");
    server.wait_for(&["event=config-not-reloaded", "serve.toml:5:1", "did you mean", "still is"]);
    house.write(
        "serve.toml",
        house.read("serve.toml").replace("server-nam ", "server-name ").replace("server.pem", "gone.pem").as_bytes(),
        0o644,
    );
    signal(&server, "-HUP");
    server.wait_for(&["event=keys-not-reloaded", "gone.pem", "still is"]);
    server.login(&house, "alice", "secret of alice", &["--server-name", "b", "--send", "whoami"]).ok();
    let said = server.login(&house, "alice", "secret of alice", &["--server-name", "c"]);
    assert_ne!(said.status, 0, "{said:?}");
    // The format of the log, and what is behind the login.
    write(&house, "server-name = [\"b\"]\nlog-format = \"json\"\nexec = \"echo hello\"");
    signal(&server, "-HUP");
    server.wait_for(&["config-reloaded"]);
    let said = server.login(&house, "alice", "secret of alice", &["--pipe"]).ok();
    assert_eq!(said.out, "hello\n");
    let line = server.wait_for(&["\"event\":\"login-accepted\""]);
    assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    say("three");
    signal(&server, "-TERM");
    assert_eq!(support::status(&mut server.child), 0);
}

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
    let seen = server.seen.iter().find(|line| line.contains("metrics_listen=")).cloned();
    let line = seen.unwrap_or_else(|| server.wait_for(&["metrics_listen="]));
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

#[test]
fn a_server_that_drains_is_not_ready_takes_nobody_and_lets_sessions_end() {
    let house = House::new();
    let mut server = house.serve(&["--metrics-listen", "127.0.0.1:0", "--drain", "10m"]);
    let metrics = metrics_of(&mut server);
    let mut session = house.session(connect(&server.address));
    signal(&server, "-TERM");
    server.wait_for(&["event=draining", "sessions=1", "for=10m"]);
    assert_eq!(page(&metrics, "/readyz"), (503, "stopping\n".to_owned()));
    assert_eq!(page(&metrics, "/healthz").0, 200);
    assert_eq!(read_page(&page(&metrics, "/metrics").1)["countersign_ready"], 0.0);
    until("nobody listens", || TcpStream::connect(&server.address).is_err());
    session.write_all(b"echo still here\n").unwrap();
    session.flush().unwrap();
    let mut answer = [0; 11];
    session.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still here\n");
    session.write_all(b"quit\n").unwrap();
    session.flush().unwrap();
    let mut rest = String::new();
    session.read_to_string(&mut rest).unwrap();
    drop(session);
    assert_eq!(status(&mut server.child), 0);
    server.wait_for(&["event=stopped", "accepted=1", "sessions_cut=0"]);
}

#[test]
fn a_second_signal_ends_a_server_that_drains() {
    let house = House::new();
    let mut server = house.serve(&["--drain", "10m"]);
    let session = house.session(connect(&server.address));
    signal(&server, "-TERM");
    server.wait_for(&["event=draining"]);
    signal(&server, "-INT");
    assert_eq!(status(&mut server.child), 0);
    server.wait_for(&["event=stopped"]);
    drop(session);
}

#[test]
fn a_server_whose_accounts_can_not_be_read_is_not_ready() {
    let house = House::new();
    let mut server = house.serve(&["--metrics-listen", "127.0.0.1:0"]);
    let metrics = metrics_of(&mut server);
    let users = house.read("users.txt");
    std::fs::remove_file(house.path("users.txt")).unwrap();
    server.wait_for(&["event=users-unreadable"]);
    assert_eq!(page(&metrics, "/readyz"), (503, "the accounts can't be read\n".to_owned()));
    house.write("users.txt", users.as_bytes(), 0o600);
    server.wait_for(&["event=users-reloaded"]);
    assert_eq!(page(&metrics, "/readyz").0, 200);
}

#[test]
fn every_event_of_the_log_is_described_to_operators() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let described = std::fs::read_to_string(root.join("docs/operating.md")).unwrap();
    let mut names: Vec<String> = countersign::Event::NAMES.map(str::to_owned).into();
    let mut folders = vec![root.join("cli/src/serve.rs")];
    folders.extend(std::fs::read_dir(root.join("cli/src/serve")).unwrap().map(|file| file.unwrap().path()));
    for file in folders.into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let found = text.split("Entry::new(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        names.extend(found);
    }
    names.push("config-not-reloaded".to_owned());
    names.push("keys-not-reloaded".to_owned());
    assert!(names.len() > 15);
    for name in names {
        assert!(described.contains(&format!("`{name}`")), "docs/operating.md does not say what {name} is");
    }
}
