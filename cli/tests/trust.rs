//! What a client trusts and keeps of a server: its key, and its name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use support::{House, Said, Server, run};

const GOOD: &str = "secret of alice";
const PROVED: &str = ", server proved itself\n";

/// Where the servers that this house knows are kept.
const KNOWN: &str = "state/countersign/known_hosts";

#[track_caller]
fn proved(said: Said, is_so: bool) -> Said {
    let said = said.ok();
    assert_eq!(said.err.contains(PROVED), is_so, "{said:?}");
    said
}

#[test]
fn a_key_that_was_told_is_kept_and_the_next_login_is_proved() {
    let house = House::new();
    let server = house.serve(&[]);
    let login = || server.login(&house, "alice", GOOD, &["--send", "whoami"]);
    proved(login(), false);
    let kept = house.read(KNOWN);
    assert!(kept.starts_with(&format!("{} accepted=pin since=20", server.address)), "{kept}");
    assert_eq!((house.mode(KNOWN), kept.lines().count()), (0o600, 1));
    for _ in 0..2 {
        proved(login(), true);
    }
    // Another user's of this machine has it from the same pin, and a token's login, too.
    let token = house.token("alice");
    let who = ["--token-stdin", "--pin", &house.pin()];
    proved(server.login_keeping(&house, &who, &[], &token), true);
    assert_eq!(house.read(KNOWN), kept, "nothing is written twice");
    // The whole key needs no file.
    fs::remove_dir_all(house.path("state")).unwrap();
    let who = ["--user", "alice", "--password-stdin", "--server-key", &house.path("server.pub.pem")];
    proved(server.login_keeping(&house, &who, &[], GOOD), true);
    assert!(!fs::exists(house.path(KNOWN)).unwrap());
    // Where there is no place for it, none is kept, and nothing fails.
    fs::remove_dir_all(house.path("state")).unwrap();
    house.write("state", b"", 0o600);
    for _ in 0..2 {
        let said = proved(login(), false);
        assert!(said.err.contains("the server's key is not kept"), "{said:?}");
    }
}

#[test]
fn what_is_revoked_is_refused_even_if_it_is_given() {
    let house = House::new();
    let server = house.serve(&[]);
    let pin = house.pin();
    let known = |args: &[&str]| run(&[&["known-hosts"], args, &["--known-hosts", &house.path("hosts")]].concat(), "");
    let login = || server.login(&house, "alice", GOOD, &["--known-hosts", &house.path("hosts")]);
    known(&["revoke", "*", &pin]).ok();
    login().fails(3, &[&pin, "IS REVOKED", "line 1 of", &house.path("hosts"), "nothing secret was sent"]);
    // Nor is it while it can't be read what is revoked.
    house.write("hosts", b"@revoked *\n", 0o600);
    login().fails(3, &["line 1", "revoke"]);
    house.write("hosts", b"", 0o600);
    proved(login(), false);
    proved(login(), true);
    // What is listed does not bind who gives another key.
    house.write("hosts", format!("{} nonsense\n", server.address).as_bytes(), 0o600);
    proved(login(), false);
}

#[test]
fn a_server_with_a_new_key_is_asked_again_once() {
    let house = House::new();
    let old_pin = house.pin();
    let mut server = house.serve(&[]);
    let address = server.address.clone();
    proved(server.login(&house, "alice", GOOD, &[]), false);
    server.stop("-TERM");
    house.key("other2048.pem", "server.pem");
    let mut server = house.serve(&["--listen", &address]);
    let both = ["--pin", &old_pin];
    // It names the one it has; the server proves the other one at the second connection.
    proved(server.login(&house, "alice", GOOD, &both), true);
    server.wait_for(&["event=handshake-failed", "before its ClientLogin"]);
    server.wait_for(&["event=login-accepted"]);
    // From then on at the first.
    proved(server.login(&house, "alice", GOOD, &both), true);
    server.stop("-TERM");
    assert_eq!(server.seen.iter().filter(|line| line.contains("event=handshake-failed")).count(), 1);
}

/// A login that asks for a name.
fn named(server: &Server, house: &House, name: &str, more: &[&str]) -> Said {
    server.login(house, "alice", GOOD, &[&["--server-name", name, "--send", "whoami"], more].concat())
}

#[test]
fn a_server_answers_to_its_names_alone_unless_told_otherwise() {
    let house = House::new();
    let mut server = house.serve(&["--server-name", "db.example", "--server-name", "www.example"]);
    for name in ["db.example", "www.example"] {
        named(&server, &house, name, &[]).ok();
    }
    server.login(&house, "alice", GOOD, &[]).ok();
    let failed = named(&server, &house, "Db.example", &[]);
    failed.fails(4, &["does this server go by the name Db.example?", "serve --server-name"]);
    server.wait_for(&["event=handshake-failed", "code=no-server-key"]);
    let any = house.serve(&["--any-server-name"]);
    named(&any, &house, "whatever", &[]).ok();

    named(&any, &house, "", &[]).fails(2, &["--server-name", "1 to 255"]);
    named(&any, &house, "two words", &[]).fails(2, &["--server-name", "1 to 255"]);
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    for names in [["a b", "c"], ["", "c"], ["c", "c"]] {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &users];
        run(&[&serve[..], &["--server-name", names[0], "--server-name", names[1]]].concat(), "")
            .fails(2, &["--server-name"]);
    }
}

#[test]
fn a_ticket_of_one_name_is_not_shown_under_another() {
    let house = House::new();
    let mut server = house.serve(&["--server-name", "one", "--server-name", "two"]);
    for name in ["one", "two"] {
        named(&server, &house, name, &[]).ok();
        server.wait_for(&["event=login-accepted"]);
    }
    for name in ["two", "one"] {
        let said = named(&server, &house, name, &["--resume"]).ok();
        assert!(said.err.contains(", resumed\n"), "{said:?}");
    }
    named(&server, &house, "two", &["--resume"]).ok();
    server.login(&house, "alice", GOOD, &["--resume"]).ok();
    server.wait_for(&["event=login-accepted"]);
}
