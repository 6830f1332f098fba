//! Second factors: set up with `user totp`, and asked for at a login.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::UnixTime;
use countersign::accounts::TotpSecret;
use std::io::{Read, Write};
use std::time::{Duration, SystemTime};
use support::{House, Said, Server, Tunnel, run};

const PASSWORD: &str = "secret of alice";

/// A house in which alice has a second factor: its secret, and her recovery codes.
fn enrolled() -> (House, TotpSecret, Vec<String>) {
    let house = House::new();
    let said = totp(&house, &["--no-confirm"]).ok();
    let mut lines = said.out.lines().map(str::to_owned);
    let url = lines.next().unwrap();
    assert!(url.starts_with("otpauth://totp/countersign:alice?secret="), "{url}");
    let secret = url.split(['=', '&']).nth(1).unwrap();
    (house, TotpSecret::parse(secret).unwrap(), lines.collect())
}

fn totp(house: &House, more: &[&str]) -> Said {
    run(&[&["user", "totp", "alice", "--users", &house.path("users.txt")], more].concat(), "")
}

/// The code of the next half minute, which is good already. Nobody can have used it before the server started.
fn fresh(secret: &TotpSecret) -> String {
    let next = SystemTime::now() + Duration::from_secs(30);
    secret.code(UnixTime::from_system(next)).as_str().to_owned()
}

fn login(server: &Server, house: &House, factor: &str) -> Said {
    let who = ["--user", "alice", "--password-stdin", "--factor-stdin", "--pin", &house.pin()];
    server.login_with(&who, &["--send", "whoami"], &format!("{PASSWORD}\n{factor}\n"))
}

#[test]
fn a_second_factor_is_set_and_shown_without_its_secret() {
    let (house, secret, codes) = enrolled();
    assert_eq!(codes.len(), 10);
    let line = house.read("users.txt");
    assert!(line.contains(&format!("alice totp={} permissions=read,write password=", secret.to_base32().as_str())));
    assert!(codes.iter().all(|code| !line.contains(code.as_str())), "only their hashes are kept");
    let users = house.path("users.txt");
    let shown = run(&["user", "show", "alice", "--users", &users], "").ok().out;
    assert!(shown.contains("totp         yes, 10 recovery codes left"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&run(&["user", "list", "--json", "--users", &users], "").ok().out).unwrap();
    assert_eq!((&json["accounts"][0]["totp"], &json["accounts"][0]["recovery_codes"]), (&true.into(), &10.into()));
    let listed = run(&["user", "list", "--users", &users], "").ok().out;
    for text in [&shown, &listed, &json.to_string()] {
        assert!(!text.contains(secret.to_base32().as_str()) && !text.contains("SHA256:"), "{text}");
    }
    let said = totp(&house, &["--no-confirm", "--issuer", "db.example"]).ok().out;
    assert!(said.starts_with("otpauth://totp/db.example:alice?") && said.contains("&issuer=db.example&"), "{said}");
    // New codes, another secret, and none.
    let again = totp(&house, &["--recovery-codes"]).ok();
    assert!(again.out.lines().count() == 10 && again.out.lines().all(|code| !codes.iter().any(|old| old == code)));
    assert!(totp(&house, &["--no-confirm"]).ok().err.contains("replaced the second factor of alice"));
    assert!(!house.read("users.txt").contains(secret.to_base32().as_str()));
    assert!(totp(&house, &["--remove"]).ok().err.contains("took the second factor of alice"));
    assert!(totp(&house, &["--remove"]).ok().err.contains("had no second factor: alice"));
    totp(&house, &["--recovery-codes"]).fails(1, &["alice has no second factor"]);
    assert!(!house.read("users.txt").contains("totp="));
}

#[test]
fn without_a_terminal_nothing_is_set_that_nobody_confirmed() {
    let house = House::new();
    let before = house.read("users.txt");
    let mut command = std::process::Command::new("setsid");
    command.args([
        "--wait",
        env!("CARGO_BIN_EXE_countersign"),
        "user",
        "totp",
        "alice",
        "--users",
        &house.path("users.txt"),
    ]);
    let said = Said::from(command.stdin(std::process::Stdio::null()).output().unwrap());
    said.fails(2, &["no terminal to ask on", "--no-confirm"]);
    assert_eq!(house.read("users.txt"), before);
    let bob = ["user", "totp", "bob", "--no-confirm", "--users", &house.path("users.txt")];
    run(&bob, "").fails(1, &["there is no user bob"]);
    totp(&house, &["--no-confirm", "--issuer", "a:b"]).fails(2, &["no colon"]);
}

#[test]
fn a_code_is_good_for_one_login() {
    let (house, secret, _) = enrolled();
    let mut server = house.serve(&[]);
    let code = fresh(&secret);
    assert!(login(&server, &house, &code).ok().out.contains("alice"));
    login(&server, &house, &code).fails(1, &["refused"]);
    server.wait_for(&["factor-used"]);
    login(&server, &house, "000000").fails(1, &["refused"]);
    server.wait_for(&["wrong-factor"]);
}

#[test]
fn a_recovery_code_is_good_once_and_gone_from_the_file() {
    let (house, _, codes) = enrolled();
    let server = house.serve(&[]);
    login(&server, &house, &codes[0]).ok();
    assert_eq!(house.read("users.txt").matches("recovery=").count(), 9);
    login(&server, &house, &codes[0]).fails(1, &["refused"]);
    login(&server, &house, &codes[1].to_uppercase().replace('-', " ")).ok();
    assert_eq!(house.read("users.txt").matches("recovery=").count(), 8);
}

#[test]
fn a_token_needs_no_code_and_a_password_alone_is_not_enough() {
    let (house, ..) = enrolled();
    let server = house.serve(&[]);
    let token = house.token("alice");
    server.login_with(&["--token-stdin", "--pin", &house.pin()], &["--send", "whoami"], &token).ok();
    // Nobody is there to ask.
    let mut command = std::process::Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_countersign"), "login", "--server", &server.address]);
    command.args(["--user", "alice", "--password-stdin", "--pin", &house.pin(), "--send", "whoami"]);
    command.env_remove("HOME").env_remove("XDG_STATE_HOME");
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    support::finish(&mut command, format!("{PASSWORD}\n")).fails(2, &["a further factor", "--factor-stdin"]);
    // A wrong password is asked for no code.
    let who = ["--user", "alice", "--password-stdin", "--factor-stdin", "--pin", &house.pin()];
    server.login_with(&who, &[], "wrong\n000000\n").fails(1, &["refused"]);
}

#[test]
fn a_ticket_takes_the_place_of_the_code_too() {
    let (house, _, codes) = enrolled();
    let server = house.serve(&[]);
    let who = ["--user", "alice", "--password-stdin", "--factor-stdin", "--resume", "--pin", &house.pin()];
    // A recovery code changes the account, and so its ticket is none for the next login.
    let stdin = |code: &str| format!("{PASSWORD}\n{code}\n");
    server.login_keeping(&house, &who, &["--send", "whoami"], &stdin(&codes[0])).ok();
    let again = server.login_keeping(&house, &who, &["--send", "whoami"], &stdin(&codes[1])).ok();
    assert!(!again.err.contains("resumed"), "{again:?}");
}

#[test]
fn a_ticket_after_a_code_is_taken_and_what_follows_the_code_is_sent() {
    let (house, secret, _) = enrolled();
    let server = house.serve(&[]);
    let who = ["--user", "alice", "--password-stdin", "--factor-stdin", "--resume", "--pin", &house.pin()];
    let stdin = format!("{PASSWORD}\n{}\nwhoami\n", fresh(&secret));
    for resumed in [false, true] {
        let said = server.login_keeping(&house, &who, &[], &stdin).ok();
        assert_eq!((said.err.contains("resumed"), said.out.lines().count()), (resumed, 1), "{said:?}");
    }
}

/// It is taken out of the account, which is another from then on: that is no reason to end what it began.
#[test]
fn a_session_that_began_with_a_recovery_code_goes_on_also_where_permissions_are_looked_at_once() {
    let (house, _, codes) = enrolled();
    let mut server = house.serve(&["--exec", "cat"]);
    let who = ["--user", "alice", "--password-stdin", "--factor-stdin"];
    let tunnel = Tunnel::start(&house, &server.address, &who, &[], &format!("{PASSWORD}\n{}\n", codes[0]));
    let mut session = tunnel.connect();
    server.wait_for(&["event=login-accepted", "factors=1"]);
    // All who are in are asked about when the file has changed.
    for (name, count) in [("bob", 2), ("carol", 3)] {
        run(&["user", "add", name, "--no-password", "--users", &house.path("users.txt")], "").ok();
        server.wait_for(&["event=users-reloaded", &format!("accounts={count}")]);
        session.write_all(b"still here").unwrap();
        session.read_exact(&mut [0; 10]).unwrap();
    }
}
