//! What an operator configures, watches and stops: `--config`, `check-config`, the log, readiness, reload, draining.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{ALICE, House, PATIENCE, Server, command, connect, finish, run, status, until};

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

/// What a command says that may wait for ever, or take all memory that there is.
fn within_bounds(words: &[&str]) -> (i32, String) {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 4000000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_countersign")]).args(words);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = status(&mut child);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (status, said)
}

#[test]
fn a_configuration_is_a_file_of_a_mebibyte_at_most_and_nothing_else_is_waited_for_or_read() {
    const MOST: usize = 1 << 20;
    let (house, file) = configured("");
    let (pipe, long) = (house.path("pipe"), house.path("long.toml"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::File::create(&long).unwrap().set_len(MOST as u64 + 1).unwrap();
    let folder = house.path("");
    for (file, says) in [
        (pipe.as_str(), "this is no file"),
        ("/dev/zero", "this is no file"),
        (&folder, "this is no file"),
        (&long, "a configuration has at most 1048576 bytes"),
    ] {
        for words in [&["check-config", file][..], &["serve", "--config", file]] {
            let (status, said) = within_bounds(words);
            assert!(status == 2 && said.contains(&format!("{file}: ")) && said.contains(says), "{status}: {said}");
        }
    }
    let text = house.read("serve.toml") + "#";
    let padded = |length: usize| {
        house.write("serve.toml", [text.as_bytes(), &vec![b'x'; length - text.len()]].concat().as_slice(), 0o644)
    };
    run(&["check-config", &padded(MOST)], "").ok();
    assert_eq!(padded(MOST + 1), file);
    run(&["check-config", &file], "").fails(2, &["a configuration has at most 1048576 bytes"]);
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
        ("forward = \"localhost:0\"", "HOST:PORT"),
        ("forward = \":5432\"", "HOST:PORT"),
        ("exec = \"\"", "exec"),
        ("metrics-listen = \"9450\"", "serve.toml:4:18"),
        ("metrics-listen = \"127.0.0.1:65536\"", "ADDRESS:PORT"),
        ("ticket-keys = \"/nowhere/at/all\"", "/nowhere/at/all"),
        ("ticket-keys = \"keys\"\nticket-lifetime = \"0s\"", "ticket-lifetime"),
    ] {
        let (_house, file) = configured(lines);
        let said = run(&["check-config", &file], "");
        assert!(said.status != 0 && said.err.contains(says), "{said:?}");
    }
    let (_house, file) = configured("refusal-floor = \"10s\"");
    assert!(run(&["check-config", &file], "").ok().err.contains("warning: --refusal-floor is no shorter"));
    let (house, file) = configured("metrics-listen = \"127.0.0.1:4577\"");
    let text = house.read("serve.toml").replace("127.0.0.1:0", "127.0.0.1:4577");
    house.write("serve.toml", text.as_bytes(), 0o644);
    run(&["check-config", &file], "").fails(2, &["--metrics-listen is the address of --listen"]);
    let (house, file) = configured("");
    let text = house.read("serve.toml").replace("127.0.0.1:0", "here");
    house.write("serve.toml", text.as_bytes(), 0o644);
    let said = run(&["check-config", &file], "");
    assert!(said.status != 0 && said.err.contains("ADDRESS:PORT"), "{said:?}");
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
            let is_left_out = ["keys", "exec", "redis", "redis-down", "redis-prefix", "redis-timeout"].contains(&name)
                || (name.ends_with("-file") && name != "ldap-password-file")
                || (name == "users" && with_directory)
                || (name.starts_with("ldap") && !with_directory);
            if !name.contains(' ') && !is_left_out && !lines.iter().any(|(known, _)| known == name) {
                let value = value.replace("/var/lib/countersign/users", &house.path("users.txt"));
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

/// With the disk full, say.
#[test]
fn a_server_whose_log_can_not_be_written_begins_and_says_so_once_in_either_format() {
    for format in ["logfmt", "json"] {
        let (_house, file) = configured(&format!("log-format = {format:?}"));
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut child = command(&["serve", "--config", &file]).stdout(full).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("warning: the log can't be written: ")), "{format}");
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(status(&mut child), 0, "{format}");
        assert!(!lines.any(|line| line.contains("the log")), "{format}");
    }
}

/// A command of a service that must not write where it may read. Root is the owner of its files, and keeps to their modes without its capabilities.
fn bound_by_modes(args: &[&str], is_root: bool) -> Command {
    if !is_root {
        return command(args);
    }
    let mut bound = Command::new("setpriv");
    bound.args(["--bounding-set=-all", "--inh-caps=-all", env!("CARGO_BIN_EXE_countersign")]).args(args);
    bound.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    bound
}

/// What a login changes of an account is changed in the file, or not at all: nobody is to find that out by a code that is refused.
#[test]
fn a_users_file_that_logins_would_change_and_the_server_can_not_is_warned_of() {
    let house = House::new();
    std::fs::create_dir(house.path("accounts")).unwrap();
    let (folder, users, key) = (house.path("accounts"), house.path("accounts/users"), house.path("server.pem"));
    std::fs::copy(house.path("users.txt"), &users).unwrap();
    let set = |mode: u32| std::fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    set(0o500);
    let is_root = std::fs::write(house.path("accounts/x"), "")
        .and_then(|()| std::fs::remove_file(house.path("accounts/x")))
        .is_ok();
    let text = format!("listen = \"127.0.0.1:0\"\nkey = {key:?}\nusers = {users:?}\n");
    let file = house.write("serve.toml", text.as_bytes(), 0o644);
    let keeping = house.write("keeping.toml", format!("{text}no-password-upgrade = true\n").as_bytes(), 0o644);
    let check = |file: &str| finish(&mut bound_by_modes(&["check-config", file], is_root), "").ok().err;
    let (unchanged, codes, hashes) = (
        "this process can't change it (Permission denied",
        "recovery codes are refused (of ",
        "old passwords are not hashed anew (of ",
    );
    let edit = |args: &[&str], stdin: &str| {
        set(0o700);
        run(&[&["user"], args, &["--users", &users]].concat(), stdin).ok();
        set(0o500);
    };
    // Hers is as new ones are, and she has no codes.
    assert!(!check(&file).contains(unchanged));
    edit(&["import", "-"], "bob:$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG\n");
    let said = check(&file);
    assert!(
        said.contains(unchanged) && said.contains(&format!("{hashes}1 account)")) && !said.contains(codes),
        "{said}"
    );
    assert!(!check(&keeping).contains(unchanged));
    edit(&["totp", "alice", "--no-confirm"], "");
    let said = check(&keeping);
    assert!(
        said.contains(unchanged) && said.contains(&format!("{codes}1 account)")) && !said.contains(hashes),
        "{said}"
    );
    let mut server = Server::of(bound_by_modes(&["serve", "--config", &file], is_root));
    let (status, said) = server.stop("-TERM");
    assert!(status == 0 && [unchanged, codes, hashes].iter().all(|part| said.contains(part)), "{said}");
    // Nothing is left there, and with leave to write there is nothing to say.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    set(0o700);
    assert!(!check(&file).contains("can't change it"));
    // Where the new file could not be given to those who have this one, it takes no place.
    let group = std::fs::metadata(&users).unwrap().gid() + 1;
    if is_root && std::os::unix::fs::chown(&users, None, Some(group)).is_ok() {
        assert!(check(&file).contains("this process can't change it (Operation not permitted"));
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
    assert_eq!(started["pid"], server.child.id());
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
    // It is said as long as it waits.
    signal(&server, "-HUP");
    let line = server.wait_for(&["event=config-reloaded"]);
    assert!(line.contains("needs_restart=refusal-floor") && !line.contains("server-name"), "{line}");
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

#[test]
fn a_balancer_that_is_taken_out_at_a_reload_is_believed_no_longer_and_the_new_drain_counts() {
    let (house, file) = configured("proxy-protocol = [\"127.0.0.1\"]");
    let mut server = start(&file, &[]);
    let by_balancer = |server: &Server| {
        let mut stream = connect(&server.address);
        stream.write_all(b"PROXY TCP4 203.0.113.9 192.0.2.2 12345 4500\r\n").unwrap();
        stream
    };
    drop(house.session(by_balancer(&server)));
    server.wait_for(&["event=session-ended", "peer=203.0.113.9:12345"]);
    write(&house, "drain = \"10m\"");
    signal(&server, "-HUP");
    let line = server.wait_for(&["event=config-reloaded"]);
    assert!(line.contains("drain") && line.contains("proxy-protocol") && !line.contains("needs_restart"), "{line}");
    let mut refused = by_balancer(&server);
    let line = server.wait_for(&["event=handshake-failed", "is no frame type"]);
    assert!(line.contains("peer=127.0.0.1:"), "{line}");
    assert!(!matches!(refused.read(&mut [0; 1]), Ok(1)));
    let mut session = house.session(connect(&server.address));
    server.wait_for(&["event=login-accepted", "peer=127.0.0.1:"]);
    signal(&server, "-TERM");
    server.wait_for(&["event=draining", "sessions=1", "for=10m"]);
    session.write_all(b"echo still here\n").unwrap();
    session.flush().unwrap();
    session.read_exact(&mut [0; 11]).unwrap();
    drop(session);
    assert_eq!(status(&mut server.child), 0);
}

/// In the middle of an attack, a balancer or an office that is shut out has to be let in without a restart.
#[test]
fn an_address_is_exempt_from_the_next_reload_on() {
    let waits = "failures-per-address = 1\npenalty-wait = \"10m\"\npenalty-longest = \"1h\"\nrefusal-floor = \"1ms\"\n";
    let (house, file) = configured(waits);
    let mut server = start(&file, &[]);
    let log_in = |server: &Server, password: &str| server.login(&house, "alice", password, &["--send", "whoami"]);
    (0..2).for_each(|_| drop(log_in(&server, "a guess").fails(1, &["refused"])));
    server.wait_for(&["event=penalty", "code=penalty-source", "seconds=600"]);
    assert_ne!(log_in(&server, "secret of alice").status, 0);
    write(&house, &format!("{waits}penalty-exempt = [\"127.0.0.1\"]\ndrain = \"1s\""));
    signal(&server, "-HUP");
    let line = server.wait_for(&["event=config-reloaded"]);
    assert!(line.ends_with(" taken=drain,penalty-exempt"), "{line}");
    log_in(&server, "secret of alice").ok();
    // Nobody waits for anything, and then all do that had to.
    write(&house, "no-penalties = true\nrefusal-floor = \"1ms\"");
    signal(&server, "-HUP");
    let line = server.wait_for(&["event=config-reloaded"]);
    let taken = "drain,failures-per-address,no-penalties,penalty-exempt,penalty-longest,penalty-wait";
    assert!(line.ends_with(&format!(" taken={taken}")), "{line}");
    (0..3).for_each(|_| drop(log_in(&server, "a guess").fails(1, &["refused"])));
    log_in(&server, "secret of alice").ok();
    write(&house, waits);
    signal(&server, "-HUP");
    let line = server.wait_for(&["event=config-reloaded"]);
    assert!(line.ends_with(" taken=failures-per-address,no-penalties,penalty-longest,penalty-wait"), "{line}");
    // Not alice, who has logged in from there by now.
    assert_ne!(server.login(&house, "mallory", "a guess", &["--send", "whoami"]).status, 0);
    server.wait_for(&["code=penalty-source"]);
    // What makes no sense is not taken.
    write(&house, "penalty-wait = \"1h\"");
    run(&["check-config", &file], "").fails(2, &["--penalty-longest"]);
    run(&["serve", "--config", &file], "").fails(2, &["--penalty-longest"]);
    signal(&server, "-HUP");
    server.wait_for(&["event=config-not-reloaded", "--penalty-longest"]);
    assert_eq!(server.stop("-TERM").0, 0);
}

#[test]
fn as_many_connections_wait_for_their_header_as_the_last_reload_has_said() {
    let lines =
        |most: u8| format!("proxy-protocol = [\"127.0.0.1\"]\nhandshake-timeout = \"10m\"\nmax-handshakes = {most}");
    let (house, file) = configured(&lines(1));
    let mut server = start(&file, &[]);
    let silent = |server: &Server| {
        let mut stream = connect(&server.address);
        stream.write_all(b"PROXY ").unwrap();
        stream
    };
    // Whichever came first has the place.
    let mut held = vec![silent(&server), silent(&server)];
    server.wait_for(&["code=proxy-no-room"]);
    let reload = |server: &mut Server, most: u8| {
        write(&house, &lines(most));
        signal(server, "-HUP");
        server.wait_for(&["event=config-reloaded", "taken=max-handshakes"]);
    };
    reload(&mut server, 3);
    held.extend((0..3).map(|_| silent(&server)));
    server.wait_for(&["code=proxy-no-room"]);
    // Those who wait are left alone where there may be fewer, and there is room again when they have gone.
    reload(&mut server, 1);
    held.push(silent(&server));
    server.wait_for(&["code=proxy-no-room"]);
    drop(held);
    (0..3).for_each(|_| drop(server.wait_for(&["code=proxy-disconnected"])));
    let mut stream = connect(&server.address);
    stream.write_all(b"PROXY TCP4 203.0.113.9 192.0.2.2 12345 4500\r\n").unwrap();
    drop(house.session(stream));
    assert_eq!(server.stop("-TERM").0, 0);
    assert_eq!(server.seen.iter().filter(|line| line.contains("code=proxy-no-room")).count(), 3, "{:#?}", server.seen);
}

#[test]
fn bounds_of_a_reload_that_do_not_fit_the_open_files_are_lowered_and_that_is_told() {
    let (house, file) = configured("max-handshakes = 4\nmax-sessions = 4");
    let mut shell = Command::new("sh");
    let limited = "ulimit -n 48; exec \"$0\" \"$@\"";
    shell.args(["-c", limited, env!("CARGO_BIN_EXE_countersign"), "serve", "--config", &file]);
    let mut server = Server::of(shell);
    let reload = |server: &mut Server, lines: &str| {
        write(&house, lines);
        signal(server, "-HUP");
        server.wait_for(&["event=config-reloaded"])
    };
    let line = reload(&mut server, "max-handshakes = 4\nmax-sessions = 1000");
    assert!(line.ends_with(" taken=max-sessions"), "{line}");
    server.wait_for(&["event=config-warning", "this process may have 48 files open (ulimit -n)"]);
    reload(&mut server, "max-handshakes = 4\nmax-sessions = 3");
    let (status, said) = server.stop("-TERM");
    assert_eq!((status, said.as_str()), (0, ""));
    let warnings = server.seen.iter().filter(|line| line.contains("event=config-warning"));
    assert_eq!(warnings.count(), 1, "{:#?}", server.seen);
}

/// Clients, more of them than there are cores, log in until one of them has been asked to solve a puzzle.
fn until_a_puzzle_is_asked_for(house: &House, server: &mut Server) {
    server.said(&["event=started"]);
    let (address, connector) = (&server.address, house.connector());
    let (stop, crowd) = (AtomicBool::new(false), std::thread::available_parallelism().unwrap().get() * 4);
    let is_asked = || !server.get("/metrics").1.contains("\ncountersign_puzzles_total{outcome=\"asked\"} 0\n");
    std::thread::scope(|scope| {
        for _ in 0..crowd {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    drop(connector.connect_blocking(connect(address), ALICE));
                }
            });
        }
        let end = Instant::now() + PATIENCE;
        while !is_asked() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(is_asked(), "nobody was asked to solve a puzzle");
}

#[test]
fn puzzles_are_asked_for_from_the_start_or_the_reload_on_that_says_so() {
    // Without those nobody is known for having been there.
    let lines = "max-wait = \"8ms\"\nno-penalties = true\nmetrics-listen = \"127.0.0.1:0\"";
    let (house, file) = configured(&format!("{lines}\npuzzles = true"));
    let mut first = start(&file, &[]);
    until_a_puzzle_is_asked_for(&house, &mut first);
    drop(first);
    write(&house, lines);
    let mut second = start(&file, &[]);
    write(&house, &format!("{lines}\npuzzles = true"));
    signal(&second, "-HUP");
    second.wait_for(&["event=config-reloaded", "taken=puzzles"]);
    until_a_puzzle_is_asked_for(&house, &mut second);
}

/// What the kernel waits for at a server's connections, as /proc/net/tcp has it: with `02`, to see whether the peer is still there, and in how
/// many hundredths of a second.
#[cfg(target_os = "linux")]
fn timers(server: &Server) -> Vec<(String, u64)> {
    let port = server.address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let open = fields.filter(|fields| fields[1] == format!("0100007F:{port:04X}") && fields[3] == "01");
    let timer = |fields: Vec<&str>| {
        let (timer, time) = fields[5].split_once(':').unwrap();
        (timer.to_owned(), u64::from_str_radix(time, 16).unwrap())
    };
    open.map(timer).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn whether_a_silent_peer_is_still_there_is_looked_at_every_minute() {
    let house = House::new();
    let server = house.serve(&[]);
    let session = house.session(connect(&server.address));
    // As soon as all that was sent has arrived.
    until("it is looked at", || matches!(&timers(&server)[..], [(timer, time)] if timer == "02" && *time <= 6000));
    drop(session);
}

/// A server that may open no more files, and one that may again.
#[cfg(target_os = "linux")]
fn set_limit(server: &Server, files: u32) {
    let limit = format!("--nofile={files}:");
    let set = Command::new("prlimit").args(["--pid", &server.child.id().to_string(), &limit]).status().unwrap();
    assert!(set.success());
}

/// The time that a process has computed for, in hundredths of a second.
#[cfg(target_os = "linux")]
fn computed(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_without_descriptors_leaves_the_system_alone_between_its_tries() {
    let house = House::new();
    let mut server = house.serve(&["--metrics-listen", "127.0.0.1:0"]);
    let started = server.wait_for(&["event=started"]);
    let metrics = started.split("metrics_listen=").nth(1).unwrap().split(' ').next().unwrap();
    let (before, began) = (computed(&server), Instant::now());
    set_limit(&server, 3);
    let (waiting, _watching) = (connect(&server.address), connect(metrics));
    (0..40).for_each(|_| drop(server.wait_for(&["event=accept-failed"])));
    // Between any two of them it waits, however slow the machine is.
    assert!(began.elapsed() >= Duration::from_millis(39 * 50), "{:?}", began.elapsed());
    let after = computed(&server);
    set_limit(&server, 1024);
    drop(house.session(waiting));
    assert_eq!(server.stop("-TERM").0, 0);
    // The other listener, which says nothing, has not turned round and round either.
    assert!(after - before < 50, "it computed for {} hundredths of a second", after - before);
}

#[test]
fn a_server_that_drains_is_not_ready_takes_nobody_and_lets_sessions_end() {
    let house = House::new();
    let words = ["--metrics-listen", "127.0.0.1:0", "--drain", "10m", "--handshake-timeout", "1h"];
    let mut server = house.serve(&words);
    server.wait_for(&["event=started"]);
    let mut session = house.session(connect(&server.address));
    // It is not waited for: it comes to no session any more.
    let _half_open = connect(&server.address);
    signal(&server, "-TERM");
    server.wait_for(&["event=draining", "sessions=1", "for=10m"]);
    assert_eq!(server.get("/readyz"), ("503".to_owned(), "stopping\n".to_owned()));
    assert_eq!(server.get("/healthz").0, "200");
    assert!(server.get("/metrics").1.contains("\ncountersign_ready 0\n"));
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
    server.wait_for(&["event=stopped", "accepted=1", "sessions_cut=1"]);
    drop(session);
}

#[test]
fn a_server_whose_accounts_can_not_be_read_is_not_ready() {
    let house = House::new();
    let mut server = house.serve(&["--metrics-listen", "127.0.0.1:0"]);
    let users = house.read("users.txt");
    std::fs::remove_file(house.path("users.txt")).unwrap();
    server.wait_for(&["event=users-unreadable"]);
    assert_eq!(server.get("/readyz"), ("503".to_owned(), "the accounts can't be read\n".to_owned()));
    house.write("users.txt", users.as_bytes(), 0o600);
    server.wait_for(&["event=users-reloaded"]);
    assert!(server.is_ready());
}

static OPERATING: LazyLock<String> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("docs/operating.md")).unwrap()
});

/// The sources of `serve`, without their tests.
fn sources() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join("serve.rs")];
    files.extend(std::fs::read_dir(root.join("serve")).unwrap().map(|file| file.unwrap().path()));
    let files = files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"));
    let texts = files.map(|file| std::fs::read_to_string(file).unwrap());
    texts.map(|text| text.split("\nmod tests {").next().unwrap().to_owned()).collect()
}

#[test]
fn every_event_of_the_log_is_described_to_operators_and_no_other() {
    let described = &*OPERATING;
    let mut names: Vec<String> = countersign::Event::NAMES.map(str::to_owned).into();
    for text in sources() {
        let found = text.split("Entry::new(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        names.extend(found);
    }
    // Those whose names stand elsewhere.
    names.extend(["config-not-reloaded", "keys-not-reloaded", "lines-omitted"].map(str::to_owned));
    assert!(names.len() > 15);
    for name in &names {
        assert!(described.contains(&format!("`{name}`")), "docs/operating.md does not say what {name} is");
    }
    let table = described.lines().skip_while(|line| !line.starts_with("| event |")).skip(2);
    let events = table.take_while(|line| line.starts_with('|')).map(|row| row.split(" | ").next().unwrap());
    let events: Vec<&str> = events.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(events.len() > 15);
    for event in events {
        assert!(names.iter().any(|name| name == event), "docs/operating.md tells of {event}, which there is not");
    }
}

/// What stands between backquotes in a cell.
fn quoted(cell: &str) -> BTreeSet<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The names of the fields that are added in a piece of a source.
fn added(source: &str) -> BTreeSet<&str> {
    let calls = [".field(", ".count(", ".text(", "tell("];
    let arguments = calls.iter().flat_map(|call| source.split(call).skip(1));
    arguments.filter_map(|argument| argument.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

/// The rows of the table that begins with this heading, by their cells.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let table = OPERATING.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").collect()).collect()
}

#[test]
fn each_field_of_an_event_is_described_to_operators_and_no_other() {
    let of_logins: BTreeSet<&str> = rows("| field | what it is |").iter().flat_map(|row| quoted(row[0])).collect();
    // It is told of beside `user_tag`.
    let of_logins: BTreeSet<&str> = of_logins.into_iter().chain(["unknown_user"]).collect();
    let of_events: Vec<_> = rows("| event |").iter().map(|row| (quoted(row[0]), quoted(row[2]))).collect();
    assert!(of_events.len() > 15 && of_logins.len() > 15);

    let sources = sources();
    let described = sources.iter().find_map(|source| source.split_once("fn described(")).unwrap().1;
    let of_keys = added(described.split("\n}\n").next().unwrap());
    assert!(of_keys.len() > 3, "{of_keys:?}");
    // Where a log is written, and what the library tells of a login.
    let mut all: BTreeSet<&str> =
        added(include_str!("../../src/io/events.rs")).into_iter().chain(["wait_ms", "rsa_ms", "verify_ms"]).collect();
    assert!(all.len() > 15, "{all:?}");
    let is_described =
        |field: &str| of_logins.contains(field) || of_events.iter().any(|(_, fields)| fields.contains(field));
    let unknown: Vec<_> = all.iter().filter(|field| !is_described(field)).collect();
    assert!(unknown.is_empty(), "docs/operating.md does not say that a login has {unknown:?}");
    for source in &sources {
        let mut pieces = source.split("Entry::new(");
        let mut before = pieces.next().unwrap();
        for piece in pieces {
            // To the end of the function, or to where another one is made.
            let body = ["\n    }\n", "\n}\n"].iter().fold(piece, |piece, end| piece.split(end).next().unwrap());
            let mut fields = added(body);
            if body.contains("described(") || before.ends_with("described(") {
                fields.extend(&of_keys);
            }
            all.extend(&fields);
            before = piece;
            // A login's have been looked at; and of those whose name stands elsewhere nobody knows which row they have.
            let Some(event) = piece.strip_prefix('"').and_then(|rest| rest.split('"').next()) else { continue };
            let (_, row) = of_events.iter().find(|(events, _)| events.contains(event)).unwrap();
            let of_logins = if countersign::Event::NAMES.contains(&event) { &of_logins } else { row };
            let unknown: Vec<_> =
                fields.iter().filter(|field| !row.contains(*field) && !of_logins.contains(*field)).collect();
            assert!(unknown.is_empty(), "docs/operating.md does not say that {event} has {unknown:?}");
        }
    }
    // And the other way round, but for the values of a field, and for what is added elsewhere.
    let others = ["strangers", "slow-reader", "unwritable", "via", "peer", "cause", "count"];
    let told = of_events.iter().flat_map(|(_, fields)| fields).chain(&of_logins);
    let missing: Vec<_> = told.filter(|field| !all.contains(*field) && !others.contains(field)).collect();
    assert!(missing.is_empty(), "docs/operating.md tells of {missing:?}, which no event has");
}
