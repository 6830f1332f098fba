//! Accounts in PostgreSQL, by the command, with a server that is stopped and started again.
//!
//! `.ci/postgres cargo test -p countersign-cli --test postgres` starts one for it. Without one nothing is tested here, and each test says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg(feature = "sql")]

mod support;

use std::fs;
use support::databases::{kill_whoever_adds_users, serve};
use support::servers::Database;
use support::{House, run, until};

const WATCHED: &[&str] = &["--metrics-listen", "127.0.0.1:0"];

/// As `login` ends where a server says "not now".
const NOT_NOW: i32 = 8;

#[test]
fn while_the_database_is_away_logins_are_told_not_now_and_then_let_in_again() {
    let Some(database) = Database::open("goes_away") else { return };
    database.user(&["add", "alice", "--permission", "read", "--password-stdin"], "secret of alice\n").ok();
    let house = House::empty();
    let mut server = serve(&house, &database.address, WATCHED);
    server.wait_for(&["started", "accounts=1"]);
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    assert!(server.is_ready());

    database.control(&["-m", "immediate", "stop"]);
    for (user, password) in [("alice", "secret of alice"), ("alice", "wrong"), ("nobody", "wrong")] {
        server.login(&house, user, password, &["--send", "whoami"]).fails(NOT_NOW, &[]);
    }
    server.wait_for(&["accounts-away", "store-away"]);
    server.wait_for(&["login-refused", "not-now"]);
    // One of them has waited for it, and others do not.
    until("a login is told at once", || {
        server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).fails(NOT_NOW, &[]);
        server.wait_for(&["login-refused", "not-now"]).contains("did not answer a moment ago")
    });
    let (status, body) = server.get("/readyz");
    assert!(status == "503" && body.contains("accounts"), "{status} {body}");
    assert!(server.get("/metrics").1.contains("\ncountersign_accounts_away_total 1\n"));
    database.user(&["list"], "").fails(1, &["can't be reached"]);

    database.control(&["start"]);
    server.wait_for(&["accounts-back"]);
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    server.login(&house, "alice", "wrong", &["--send", "whoami"]).fails(1, &[]);
    assert!(server.is_ready());
}

#[test]
fn a_server_starts_without_its_database_and_serves_as_soon_as_that_is_there() {
    let Some(database) = Database::open("starts_without") else { return };
    database.user(&["add", "alice", "--password-stdin"], "secret of alice\n").ok();
    database.control(&["-m", "fast", "stop"]);
    let house = House::empty();
    let mut server = serve(&house, &database.address, WATCHED);
    server.wait_for(&["started"]);
    until("it says that it is not ready", || !server.is_ready());
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).fails(NOT_NOW, &[]);
    database.control(&["start"]);
    until("it is ready", || server.is_ready());
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    let (_, said) = server.stop("-TERM");
    assert!(said.contains("until it is back, logins are told \"not now\""), "{said}");
}

#[test]
fn a_database_that_does_not_write_is_warned_of_and_logged_when_it_costs_a_second_factor() {
    let Some(database) = Database::open("reads_alone") else { return };
    for name in ["alice", "bob"] {
        database.user(&["add", name, "--password-stdin"], "a long password\n").ok();
    }
    let said = database.user(&["totp", "alice", "--no-confirm"], "").ok();
    let recovery = said.out.lines().last().unwrap().to_owned();
    let house = House::empty();
    let key = house.key("rsa2048.pem", "server.pem");
    // As a standby would have it.
    let address = format!("{}&options=-c%20default_transaction_read_only=on", database.address);
    let config = format!("listen = \"127.0.0.1:0\"\nkey = \"{key}\"\nusers = \"{address}\"\n");
    let config = house.write("serve.toml", config.as_bytes(), 0o600);
    let warned = run(&["check-config", &config], "").ok().err;
    assert!(warned.contains("read and not changed") && warned.contains("read-only"), "{warned}");
    let mut server = serve(&house, &address, WATCHED);
    server.wait_for(&["started"]);
    server.login(&house, "bob", "a long password", &["--send", "whoami"]).ok();
    let who = ["--user", "alice", "--password-stdin", "--factor-stdin", "--pin", &house.pin()];
    let stdin = format!("a long password\n{recovery}\n");
    server.login_with(&who, &["--send", "whoami"], &stdin).fails(NOT_NOW, &[]);
    server.wait_for(&["event=accounts-read-only", "the database refuses to write", "read-only transaction"]);
    server.wait_for(&["event=login-refused", "not-now", "the database refuses to write"]);
    assert!(server.is_ready());
    let (_, said) = server.stop("-TERM");
    assert!(said.contains("read and not changed"), "{said}");
    let warned = run(
        &[
            "check-config",
            &house.write(
                "good.toml",
                fs::read_to_string(&config).unwrap().replace(&address, &database.address).as_bytes(),
                0o600,
            ),
        ],
        "",
    );
    assert!(!warned.ok().err.contains("read and not changed"));
}

#[test]
fn whoever_is_killed_while_adding_users_loses_and_halves_none() {
    let Some(database) = Database::open("killed") else { return };
    kill_whoever_adds_users(&database.address);
}

#[test]
fn users_are_imported_and_roles_kept_in_postgresql_too() {
    const BCRYPT: &str = "$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG";
    let Some(database) = Database::open("imported") else { return };
    let text: String = (0..2500).map(|number| format!("user{number}:{BCRYPT}\n")).collect();
    let import =
        |args: &[&str]| run(&[&["user", "import", "-", "--users", &database.address], args].concat(), text.as_str());
    assert!(import(&["--dry-run"]).ok().err.contains("would import 2500 users"));
    assert!(import(&[]).ok().err.contains("imported 2500 users"));
    assert!(import(&["--update"]).ok().err.contains("2500 of them there before"));
    let role = |args: &[&str]| run(&[&["role"], args, &["--users", &database.address]].concat(), "");
    role(&["add", "clerk", "--permission", "orders:read"]).ok();
    database.user(&["role", "add", "user7", "clerk"], "").ok();
    role(&["remove", "clerk"]).fails(1, &["user7", "has the role clerk"]);
    role(&["grant", "clerk", "orders:write"]).ok();
    let house = House::empty();
    let server = serve(&house, &database.address, WATCHED);
    let said = server.login(&house, "user7", "correct horse", &["--send", "whoami"]).ok();
    assert!(said.out.contains("orders:write"), "{said:?}");
    database.user(&["role", "remove", "user7", "clerk"], "").ok();
    role(&["remove", "clerk"]).ok();
}
