//! Memory that the command gives back holds no password, no passphrase, no private key and no ticket, where they come by standard input and by files.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::Ticket;
use support::{Freed, House, PATIENT, command, finish};

const SECRET: &str = "pass x-marked-secret-x word";

/// The front alone: what grows leaves that behind first.
const FRONT: &[u8] = b"pass x-mar";

#[test]
fn a_password_of_standard_input_stays_in_no_memory_that_is_given_back() {
    let house = House::new();
    let Some(freed) = Freed::new(&house) else { return };
    let users = house.path("users.txt");
    // Does it see what it looks for?
    let named = ["user", "show", "alice", "--users", &users];
    finish(command(&named).envs(freed.environment(&[b"alice"])), "").ok();
    assert_ne!(freed.told(), "");
    let line = format!("{SECRET}\n");
    for args in [
        &["user", "add", "bob", "--password-stdin", "--permission", "read", "--users", &users][..],
        &["user", "passwd", "bob", "--password-stdin", "--users", &users],
        &["keygen", "--identity", "--encrypt", "--passphrase-stdin", "--out", &house.path("identity.pem")],
    ] {
        freed.holds_none(&[FRONT], args, &line);
    }
    let server = house.serve(&PATIENT);
    let login = ["login", "--server", &server.address, "--user", "bob", "--password-stdin", "--pin", &house.pin()];
    freed.holds_none(&[FRONT], &login, &line);
}

#[test]
fn a_private_key_of_standard_input_stays_in_no_memory_that_is_given_back() {
    let house = House::new();
    let Some(freed) = Freed::new(&house) else { return };
    let pem = house.read("server.pem");
    // Two lines in the midst of its numbers.
    let lines: Vec<&[u8]> = pem.lines().map(str::as_bytes).collect();
    freed.holds_none(&[&lines[10][..24], &lines[14][..24]], &["key", "show", "-"], &pem);
}

#[test]
fn a_ticket_that_is_kept_stays_in_no_memory_that_is_given_back() {
    let house = House::new();
    let Some(freed) = Freed::new(&house) else { return };
    let server = house.serve(&PATIENT);
    let login = ["login", "--server", &server.address, "--user", "alice", "--password-stdin", "--pin", &house.pin()];
    freed.holds_none(&[b"secret of alice"], &login, "secret of alice\n");
    // Of several in the file, the first is shown, the others are read and written.
    let other = house.serve(&PATIENT);
    let second = ["login", "--server", &other.address, "--user", "alice", "--password-stdin", "--pin", &house.pin()];
    freed.holds_none(&[b"secret of alice"], &second, "secret of alice\n");
    let kept = house.read("state/countersign/tickets");
    let mut marks: Vec<Vec<u8>> = Vec::new();
    for line in kept.lines().filter(|line| !line.starts_with('#')) {
        let bytes = hex::decode(line.rsplit_once(' ').unwrap().1).unwrap();
        let ticket = Ticket::from_bytes(&bytes).unwrap();
        // As it is kept: a version, the key, the names, three times, and the secret.
        let front = 1 + 2 + 32 + 2 + ticket.server_name().len() + 2 + ticket.user().len() + 3 * 8;
        let secret = &bytes[front..front + 16];
        marks.extend([secret.to_vec(), hex::encode(secret).into_bytes()]);
    }
    assert_eq!(marks.len(), 4);
    let marks: Vec<&[u8]> = marks.iter().map(Vec::as_slice).collect();
    let again = &login[..5];
    let said = freed.holds_none(&marks, &[again, &login[6..]].concat(), "");
    assert!(said.err.contains(", resumed"), "{said:?}");
}
