//! Sessions under a running `serve` learn of what becomes of their users.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use countersign::Stream;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use support::{House, Server, connect, run, until};

fn user(house: &House, args: &[&str], stdin: &str) {
    run(&[&["user"], args, &["--users", &house.path("users.txt")]].concat(), stdin).ok();
}

/// The file alone: it is looked at every second.
const BY_FILE: [&str; 2] = ["--recheck", "0s"];

fn session(house: &House, server: &Server) -> Stream<TcpStream> {
    house.session(connect(&server.address))
}

/// Asks the demo's service.
fn ask(session: &mut Stream<TcpStream>, line: &str) -> String {
    session.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::with_capacity(1, session).read_line(&mut answer).unwrap();
    answer
}

/// Reads to the end that the server gives the session, and gives what its log says of that.
fn ended(server: &mut Server, mut session: Stream<TcpStream>) -> String {
    assert_eq!(session.read(&mut [0]).unwrap(), 0, "an end, and no cut");
    server.wait_for(&["event=session-ended", "user=\"alice\""])
}

/// A configuration with these lines.
fn configure(house: &House, lines: &str) -> String {
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let text = format!("listen = \"127.0.0.1:0\"\nkey = {key:?}\nusers = {users:?}\n{lines}\n");
    house.write("serve.toml", text.as_bytes(), 0o644)
}

/// Has the server take such a one, and gives what its log says of it.
fn reload(house: &House, server: &mut Server, lines: &str) -> String {
    configure(house, lines);
    assert!(Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap().success());
    server.wait_for(&["event=config-reloaded"])
}

#[test]
fn a_removed_or_locked_user_is_out_within_a_second_or_so_and_others_stay() {
    let house = House::new();
    user(&house, &["add", "bob", "--no-password"], "");
    let mut server = house.serve(&BY_FILE);
    let open = session(&house, &server);
    user(&house, &["lock", "alice"], "");
    let said = ended(&mut server, open);
    assert!(said.contains("code=account-locked"), "{said}");
    user(&house, &["unlock", "alice"], "");
    let mut open = session(&house, &server);
    // Somebody else's account is nothing to it.
    user(&house, &["remove", "bob"], "");
    server.wait_for(&["event=users-reloaded", "accounts=1"]);
    assert_eq!(ask(&mut open, "echo still here"), "still here\n");
    user(&house, &["remove", "alice"], "");
    let said = ended(&mut server, open);
    assert!(said.contains("code=unknown-user"), "{said}");
    server.stop("-TERM");
    let last = server.seen.last().unwrap();
    assert!(last.contains("revoked=2"), "{last}");
}

#[test]
fn an_expiry_in_the_middle_of_a_session_ends_it_within_the_time() {
    let house = House::new();
    let mut server = house.serve(&["--recheck", "1s"]);
    let open = session(&house, &server);
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(3);
    let soon = humantime::format_rfc3339_seconds(soon).to_string();
    user(&house, &["expire", "alice", &soon], "");
    let said = ended(&mut server, open);
    assert!(said.contains("code=account-expired") && !said.contains("seconds=0 "), "{said}");
}

#[test]
fn operators_are_told_of_sessions_that_nobody_can_vouch_for() {
    let house = House::new();
    let mut server = house.serve(&["--recheck", "1s"]);
    let mut open = session(&house, &server);
    let users = house.read("users.txt");
    std::fs::remove_file(house.path("users.txt")).unwrap();
    server.wait_for(&["event=sessions-unconfirmed", "sessions=1", "--recheck-grace"]);
    house.write("users.txt", users.as_bytes(), 0o600);
    server.wait_for(&["event=users-reloaded"]);
    assert_eq!(ask(&mut open, "echo still here"), "still here\n");
}

#[test]
fn new_permissions_hold_in_open_sessions_and_a_new_password_ends_them() {
    let house = House::new();
    run(&["role", "add", "clerk", "--permission", "orders:read", "--users", &house.path("users.txt")], "").ok();
    let mut server = house.serve(&BY_FILE);
    let mut open = session(&house, &server);
    let mut granted = |permissions: &str| {
        until(permissions, || ask(&mut open, "whoami") == format!("alice permissions={permissions}\n"));
    };
    granted("read,write");
    user(&house, &["grant", "alice", "reports:*"], "");
    granted("read,write,reports:*");
    user(&house, &["revoke", "alice", "write", "reports:*"], "");
    granted("read");
    user(&house, &["role", "add", "alice", "clerk"], "");
    granted("read,orders:read");
    run(&["role", "grant", "clerk", "orders:write", "--users", &house.path("users.txt")], "").ok();
    granted("read,orders:read,orders:write");
    user(&house, &["passwd", "alice", "--password-stdin"], "another secret of alice\n");
    let said = ended(&mut server, open);
    assert!(said.contains("code=credential-changed"), "{said}");
}

#[test]
fn a_program_that_saw_the_permissions_once_is_ended_where_they_change() {
    let house = House::new();
    let mut server = house.serve(&["--recheck", "0s", "--exec", "cat"]);
    let mut open = session(&house, &server);
    open.write_all(b"hello").unwrap();
    open.read_exact(&mut [0; 5]).unwrap();
    user(&house, &["revoke", "alice", "write"], "");
    let said = server.wait_for(&["event=session-ended", "user=\"alice\""]);
    assert!(said.contains("code=permissions-changed"), "{said}");
}

#[test]
fn a_user_who_is_bound_to_a_network_is_refused_from_elsewhere_and_loses_sessions_and_tickets_there() {
    let house = House::new();
    let mut server = house.serve(&["--recheck", "0s", "--refusal-floor", "1ms"]);
    let open = session(&house, &server);
    let ticket = open.info().ticket().unwrap().clone();
    user(&house, &["from", "alice", "192.0.2.0/24"], "");
    let said = ended(&mut server, open);
    assert!(said.contains("code=network-not-admitted"), "{said}");
    assert!(matches!(house.begin(&server.address, &ticket), countersign::Begun::Trusted(_)));
    let there = server.login(&house, "alice", "secret of alice", &[]).fails(1, &["refused"]);
    server.wait_for(&["event=login-refused", "code=network-not-admitted"]);
    let wrong = server.login(&house, "alice", "not her secret", &[]).fails(1, &["refused"]);
    assert_eq!(there.err, wrong.err);
    user(&house, &["from", "alice", "127.0.0.0/8,::1"], "");
    let said = run(&["user", "show", "alice", "--users", &house.path("users.txt")], "").ok();
    assert!(said.out.contains("from         127.0.0.0/8,::1"), "{said:?}");
    server.login(&house, "alice", "secret of alice", &[]).ok();
    run(&["user", "from", "alice", "example.com", "--users", &house.path("users.txt")], "")
        .fails(1, &["example.com", "host names are not taken"]);
}

#[test]
fn roles_are_kept_by_commands_and_their_mistakes_named() {
    let house = House::new();
    let users = house.path("users.txt");
    let role = |args: &[&str]| run(&[&["role"], args, &["--users", &users]].concat(), "");
    let of_user = |args: &[&str]| run(&[&["user"], args, &["--users", &users]].concat(), "");
    role(&["add", "clerk", "--permission", "orders:*"]).ok();
    role(&["add", "clerk"]).fails(1, &["role clerk exists already", "role grant clerk"]);
    role(&["add", "cl erk"]).fails(1, &["not a role's name"]);
    role(&["add", "other", "--permission", "or*"]).fails(1, &["permission"]);
    of_user(&["role", "add", "alice", "clerk"]).ok();
    of_user(&["role", "add", "alice", "clrk"]).fails(1, &["no role clrk", "role add clrk"]);
    of_user(&["add", "bob", "--role", "clrk", "--no-password"]).fails(1, &["no role clrk"]);
    of_user(&["add", "bob", "--role", "clerk", "--no-password"]).ok();
    let said = role(&["list"]).ok();
    assert!(said.out.lines().any(|line| line.split_whitespace().eq(["clerk", "orders:*", "2"])), "{said:?}");
    assert!(of_user(&["list"]).ok().out.contains("@clerk,read,write"));
    let said = of_user(&["show", "alice"]).ok();
    assert!(said.out.contains("roles        clerk") && said.out.contains("from         anywhere"), "{said:?}");
    role(&["remove", "clerk"]).fails(1, &["has the role clerk", "user role remove"]);
    of_user(&["role", "remove", "alice", "clerk"]).ok();
    of_user(&["remove", "bob"]).ok();
    assert!(role(&["grant", "clerk", "reports:read", "orders:*"]).ok().err.contains("1 new permission"));
    role(&["revoke", "clerk", "orders:*"]).ok();
    let json: serde_json::Value = serde_json::from_str(&role(&["list", "--json"]).ok().out).unwrap();
    assert_eq!(json, serde_json::json!([{ "name": "clerk", "permissions": ["reports:read"], "users": 0 }]));
    role(&["remove", "clerk"]).ok();
    role(&["remove", "clerk"]).fails(1, &["no role clerk", "role list"]);
    assert!(!house.read("users.txt").contains('@'));
    // By hand.
    house.write("users.txt", b"bob roles=clrk\n", 0o600);
    of_user(&["check"]).fails(1, &["line 1", "@ and the role's name"]);
}

/// Also where it was something else at the start, and where it is by now.
#[test]
fn a_program_that_came_with_a_reload_is_ended_where_the_permissions_change() {
    let house = House::new();
    let file = configure(&house, "recheck = \"0s\"\ndemo-service = true");
    let mut server = Server::of(support::command(&["serve", "--config", &file]));
    reload(&house, &mut server, "recheck = \"0s\"\nexec = \"cat\"");
    let open = [session(&house, &server), session(&house, &server)];
    reload(&house, &mut server, "recheck = \"0s\"\ndemo-service = true");
    user(&house, &["revoke", "alice", "write"], "");
    for mut session in open {
        let _ = session.read(&mut [0]);
        assert!(server.wait_for(&["event=session-ended", "user=\"alice\""]).contains("code=permissions-changed"));
    }
}

/// The time between two looks, and the grace, are taken at a reload, too: for those who are in.
#[test]
fn sessions_are_looked_at_as_the_last_reload_has_said() {
    let house = House::new();
    let file = configure(&house, "recheck = \"1h\"");
    let mut server = Server::of(support::command(&["serve", "--config", &file]));
    let mut session = session(&house, &server);
    let line = reload(&house, &mut server, "recheck = \"20ms\"\nrecheck-grace = \"1s\"");
    assert!(line.contains("taken=recheck,recheck-grace"), "{line}");
    std::fs::remove_file(house.path("users.txt")).unwrap();
    let _ = session.read(&mut [0]);
    server.wait_for(&["event=session-ended", "code=unconfirmed"]);
}
