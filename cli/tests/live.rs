//! Sessions under a running `serve` learn of what becomes of their users.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use countersign::Stream;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use support::{House, Server, connect, run};

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
    server.wait_for(&["event=session-ended", "user=alice"])
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
    let last = server.wait_for(&["event=stopped"]);
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
    assert!(said.contains("code=account-expired"), "{said}");
}
