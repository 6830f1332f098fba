//! Logins by ticket, and the file that the client keeps its tickets in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use countersign::{Credential, Ticket, UsedTickets};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use support::{House, Said, Server, run};

const GOOD: &str = "secret of alice";
const CACHE: &str = "state/countersign/tickets";

#[track_caller]
fn full(server: &mut Server, said: Said) -> Said {
    let said = said.ok();
    assert!(said.err.contains("logged in as alice (read, write)\n"), "{said:?}");
    server.wait_for(&["event=login-"]);
    assert!(server.seen.last().unwrap().contains("event=login-accepted user=\"alice\""), "{:?}", server.seen.last());
    said
}

#[track_caller]
fn resumed(server: &mut Server, said: Said) -> Said {
    let said = said.ok();
    assert!(said.err.contains("logged in as alice (read, write), resumed\n"), "{said:?}");
    let log = server.wait_for(&["event=login-"]);
    for part in
        ["event=login-resumed user=\"alice\" peer=127.0.0.1:", " permissions=\"read,write\" suite=rsa+x25519mlkem768/"]
    {
        assert!(log.contains(part), "{part:?} is missing in {log}");
    }
    assert!(said.err.contains(log.split("session=").nth(1).unwrap().split(' ').next().unwrap()), "{said:?}, {log}");
    said
}

/// Logs in as alice by the ticket of the login before, where that is taken. Nobody is asked for a password: in a session of its
/// own it has no terminal.
fn again(server: &Server, house: &House, more: &[&str], stdin: &str) -> Said {
    let mut alone = Command::new("setsid");
    alone.args(["--wait", env!("CARGO_BIN_EXE_countersign"), "login", "--server", &server.address, "--user", "alice"]);
    alone.args(["--pin", &house.pin()]).args(more).env("XDG_STATE_HOME", house.path("state"));
    alone.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    support::finish(&mut alone, stdin)
}

/// The ticket was not taken, and there is nobody to ask.
#[track_caller]
fn wants_a_password(server: &mut Server, house: &House) {
    again(server, house, &[], "").fails(2, &["no terminal", "--password-stdin"]);
    server.wait_for(&["event=handshake-failed", "before its ClientLogin"]);
}

fn user(house: &House, args: &[&str], stdin: &str) {
    run(&[&["user"], args, &["--users", &house.path("users.txt")]].concat(), stdin).ok();
}

#[test]
fn the_second_login_is_resumed_and_needs_no_password() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let login = server.login(&house, "alice", GOOD, &["--send", "whoami"]);
    full(&mut server, login);
    assert_eq!(house.mode(CACHE), 0o600);
    assert_eq!(house.mode("state/countersign"), 0o700);
    let text = house.read(CACHE);
    assert!(text.contains(&format!("\n{} alice ", server.address)), "{text}");
    assert!(!text.contains(GOOD) && !text.contains(&hex::encode(GOOD)));

    let login = again(&server, &house, &[], "echo one\necho two");
    assert_eq!(resumed(&mut server, login).out, "one\ntwo\n");
    assert_eq!(house.mode(CACHE), 0o600);
    assert_ne!(house.read(CACHE), text);
    let login = again(&server, &house, &["--send", "whoami"], "");
    assert_eq!(resumed(&mut server, login).out, "alice permissions=read,write\n");
    // A ticket of a key that is not trusted is not shown.
    let other = House::new();
    other.key("other2048.pem", "server.pem");
    again(&server, &other, &[], "").fails(3, &["not trusted"]);
    // It was kept for the right one. Another name for the same server is another server.
    let login = again(&server, &house, &[], "");
    resumed(&mut server, login);
    user(&house, &["add", "bob", "--password-stdin"], "secret of bob\n");
    server.login(&house, "bob", "secret of bob", &["--send", "whoami"]).ok();
    server.wait_for(&["event=login-accepted user=\"bob\""]);
    let login = again(&server, &house, &[], "");
    resumed(&mut server, login);
    assert_eq!(server.stop("-TERM").0, 0);
    assert!(server.seen.last().unwrap().contains("event=stopped accepted=6 refused=0 "), "{:?}", server.seen.last());
}

#[test]
fn a_ticket_is_good_once() {
    let house = House::new();
    let mut server = house.serve(&["--metrics-listen", "127.0.0.1:0"]);
    server.said(&["event=started"]);
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    let text = house.read(CACHE);
    let login = again(&server, &house, &[], "");
    resumed(&mut server, login);
    house.write(CACHE, text.as_bytes(), 0o600);
    wants_a_password(&mut server, &house);
    let (_, metrics) = server.get("/metrics");
    for counted in ["s_not_taken_total{code=\"used\"} 1", "s_not_taken_total{code=\"forgotten\"} 0", "_chains 1"] {
        assert!(metrics.contains(&format!("\ncountersign_ticket{counted}\n")), "{counted} in {metrics}");
    }
}

/// The server may have taken it, and be gone before it could say so.
#[test]
fn a_ticket_that_was_shown_is_shown_no_more_whatever_came_of_it() {
    let house = House::new();
    let (mut server, pin) = (house.serve(&[]), house.pin());
    let who = ["--user", "alice", "--password-stdin", "--pin", &pin, "--resume"];
    let said = server.login_keeping(&house, &who, &[], GOOD);
    full(&mut server, said);
    assert_eq!(house.read(CACHE).lines().filter(|line| !line.starts_with('#')).count(), 1);
    let address = server.address.clone();
    drop(server);
    let listener = TcpListener::bind(&address).unwrap();
    let gone = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
        // Nobody comes a second time.
        drop((stream, listener));
    });
    let mut login = support::command(&["login", "--server", &address, "--user", "alice", "--pin", &pin, "--resume"]);
    support::finish(login.env("XDG_STATE_HOME", house.path("state")), "").fails(4, &[]);
    gone.join().unwrap();
    assert_eq!(house.read(CACHE).lines().filter(|line| !line.starts_with('#')).count(), 0);
}

#[test]
fn a_password_that_is_given_is_checked_whatever_tickets_there_are() {
    let house = House::new();
    let mut server = house.serve(&["--refusal-floor", "1ms"]);
    for _ in 0..2 {
        let login = server.login(&house, "alice", GOOD, &[]);
        full(&mut server, login);
    }
    server.login(&house, "alice", "wrong", &[]).fails(1, &["refused this login"]);
    server.wait_for(&["event=login-refused", "user=\"alice\"", "reason=\"wrong password\""]);
    server.login(&house, "alice", "", &[]).fails(2, &["empty"]);
    // The ticket of the last good one is there still, for those who say that it is enough.
    let login = server.login(&house, "alice", "whatever", &["--resume"]);
    resumed(&mut server, login);
    user(&house, &["passwd", "alice", "--password-stdin"], "another secret\n");
    let login = server.login(&house, "alice", "another secret", &["--resume"]);
    full(&mut server, login);
}

#[test]
fn a_changed_password_ends_the_tickets() {
    let house = House::new();
    let mut server = house.serve(&["--refusal-floor", "1ms"]);
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    user(&house, &["passwd", "alice", "--password-stdin"], "another secret\n");
    wants_a_password(&mut server, &house);
    let login = server.login(&house, "alice", "another secret", &[]);
    full(&mut server, login);
    let login = again(&server, &house, &[], "");
    resumed(&mut server, login);
}

#[test]
fn a_removed_user_has_no_use_for_a_ticket() {
    let house = House::new();
    let mut server = house.serve(&["--refusal-floor", "1ms"]);
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    user(&house, &["remove", "alice"], "");
    wants_a_password(&mut server, &house);
    server.login(&house, "alice", GOOD, &[]).fails(1, &["refused this login"]);
    server.wait_for(&["event=login-refused", "user_tag=", "reason=\"unknown user\""]);
}

#[test]
fn nobody_is_resumed_while_the_users_file_cannot_be_read() {
    let house = House::new();
    let mut server = house.serve(&["--refusal-floor", "1ms"]);
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    fs::set_permissions(house.path("users.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    wants_a_password(&mut server, &house);
    server.login(&house, "alice", GOOD, &[]).fails(8, &["can't decide this login now"]);
    server.wait_for(&["event=login-refused", "not now: the account file can't be read"]);
}

#[test]
fn a_cache_that_cannot_be_used_costs_a_full_login_and_is_rewritten() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    let good = house.read(CACHE);
    let cut = &good[..good.len() - 3];
    for (bytes, mode, note) in [
        (&b"nonsense\n"[..], 0o600, "line 1 is no ticket"),
        (b"\xff\xfe", 0o600, "UTF-8"),
        (cut.as_bytes(), 0o600, "line 2 is no ticket"),
        (&[b'x'; 2_000_000], 0o600, "too long"),
        (good.as_bytes(), 0o644, "mode 0644"),
        (good.as_bytes(), 0o620, "mode 0620"),
    ] {
        house.write(CACHE, bytes, mode);
        let said = again(&server, &house, &[], "").fails(2, &["no terminal"]);
        assert!(said.err.contains(CACHE) && said.err.contains(note), "{note}: {said:?}");
        server.wait_for(&["event=handshake-failed"]);
        let login = server.login(&house, "alice", GOOD, &[]);
        full(&mut server, login);
        assert_eq!(house.mode(CACHE), 0o600);
        let login = again(&server, &house, &[], "");
        let said = resumed(&mut server, login);
        assert!(!said.err.contains(CACHE), "{said:?}");
    }
    // Where there is no place for a file, there is no ticket, and no failure.
    fs::remove_dir_all(house.path("state")).unwrap();
    house.write("state", b"", 0o600);
    for _ in 0..2 {
        let login = server.login(&house, "alice", GOOD, &[]);
        let said = full(&mut server, login);
        assert!(said.err.contains("is not kept"), "{said:?}");
    }
}

#[test]
fn what_has_expired_is_neither_shown_nor_kept() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    // As if it had been kept since 1970: in a ticket's hex that is 8 bytes, behind 52 others.
    let fresh = house.read(CACHE);
    let at = fresh.rfind(' ').unwrap() + 1 + 2 * 52;
    let old = format!("{}{:016x}{}", &fresh[..at], 1, &fresh[at + 16..]);
    house.write(CACHE, old.as_bytes(), 0o600);
    wants_a_password(&mut server, &house);
    let mut second = house.serve(&[]);
    let login = second.login(&house, "alice", GOOD, &[]);
    full(&mut second, login);
    let new = house.read(CACHE);
    assert!(!new.contains(old.lines().nth(1).unwrap()) && !new.contains(&server.address), "{new}");
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    assert!(house.read(CACHE).contains(&second.address));
}

#[test]
fn no_resume_and_tokens_leave_the_cache_alone() {
    let house = House::new();
    let token = house.token("alice");
    let mut server = house.serve(&[]);
    let with_token = ["--token-stdin", "--pin", &house.pin()];
    for _ in 0..2 {
        let login = server.login(&house, "alice", GOOD, &["--no-resume"]);
        full(&mut server, login);
        let login = server.login_keeping(&house, &with_token, &[], &token);
        full(&mut server, login);
    }
    assert!(!fs::exists(house.path(CACHE)).unwrap());
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    let text = house.read(CACHE);
    let login = server.login(&house, "alice", GOOD, &["--no-resume"]);
    full(&mut server, login);
    assert_eq!(house.read(CACHE), text);
    server.login(&house, "alice", "wrong", &["--no-resume"]).fails(1, &["refused"]);
}

#[test]
fn a_server_without_tickets_leaves_no_file() {
    let house = House::new();
    let mut server = house.serve(&["--ticket-lifetime", "0s"]);
    for _ in 0..2 {
        let login = server.login(&house, "alice", GOOD, &[]);
        full(&mut server, login);
    }
    assert!(!fs::exists(house.path(CACHE)).unwrap());
}

#[test]
fn a_server_that_started_anew_wants_the_password() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    let address = server.address.clone();
    server.stop("-TERM");
    let mut server = house.serve(&["--listen", &address]);
    wants_a_password(&mut server, &house);
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
}

/// The cache as it is, to show its ticket once more.
fn put_back(house: &House, text: &str) {
    house.write(CACHE, text.as_bytes(), 0o600);
}

#[test]
fn a_stop_in_good_order_keeps_the_tickets_and_the_memory_of_used_ones() {
    let house = House::new();
    let file = house.path("ticket.keys");
    let mut first = house.serve(&["--ticket-keys", &file]);
    let more = ["--ticket-keys", &file, "--listen", &first.address.clone()];
    let login = first.login(&house, "alice", GOOD, &[]);
    full(&mut first, login);
    let used = house.read(CACHE);
    let login = again(&first, &house, &[], "");
    resumed(&mut first, login);
    assert!(!fs::exists(&file).unwrap());
    assert_eq!(first.stop("-TERM"), (0, String::new()));
    assert_eq!(house.mode("ticket.keys"), 0o600);
    let saved = fs::read(&file).unwrap();

    let mut second = house.serve(&more);
    assert!(!fs::exists(&file).unwrap(), "whoever loads it a second time would take used tickets");
    let fresh = house.read(CACHE);
    put_back(&house, &used);
    wants_a_password(&mut second, &house);
    put_back(&house, &fresh);
    let login = again(&second, &house, &[], "");
    resumed(&mut second, login);
    // Killed, it has saved nothing.
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    assert!(!fs::exists(&file).unwrap());
    let mut third = house.serve(&more);
    wants_a_password(&mut third, &house);
    assert_eq!(third.stop("-INT").0, 0);

    // What is no ticket keys stays where it is, and what others can read is not trusted.
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let serve = |more: &[&str]| {
        run(&[&["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &users], more].concat(), "")
    };
    serve(&["--ticket-keys", &key]).fails(1, &["server.pem", "name another file"]);
    for mode in [0o644, 0o640, 0o620, 0o610, 0o604, 0o602, 0o601] {
        house.write("ticket.keys", &saved, mode);
        serve(&["--ticket-keys", &file]).fails(1, &["ticket.keys", &format!("mode 0{mode:o}")]);
    }
    serve(&["--ticket-keys", &house.path("no/such/folder")]).fails(1, &["a folder that can be written"]);
    serve(&["--ticket-keys", &file, "--ticket-lifetime", "0s"]).fails(2, &["there are none"]);
    assert!(fs::exists(&key).unwrap() && fs::exists(&file).unwrap());
}

/// What a server before has kept is the next one's that begins, whatever kept those in between from it.
#[test]
fn a_start_that_fails_leaves_the_ticket_keys_to_the_next_one() {
    let house = House::new();
    let file = house.path("ticket.keys");
    let mut first = house.serve(&["--ticket-keys", &file]);
    let login = first.login(&house, "alice", GOOD, &[]);
    full(&mut first, login);
    let address = first.address.clone();
    assert_eq!(first.stop("-TERM").0, 0);
    let saved = fs::read(&file).unwrap();
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &users, "--ticket-keys", &file];
    // Where it would be watched there is somebody else.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = taken.local_addr().unwrap().to_string();
    let failed = run(&[&serve[..], &["--metrics-listen", &metrics]].concat(), "");
    failed.fails(1, &[&metrics, "pick another --metrics-listen address"]);
    assert_eq!(fs::read(&file).unwrap(), saved);
    // A check takes it no more than that.
    let text = format!("listen = \"127.0.0.1:0\"\nkey = {key:?}\nusers = {users:?}\nticket-keys = {file:?}\n");
    let configuration = house.write("serve.toml", text.as_bytes(), 0o644);
    run(&["check-config", &configuration], "").ok();
    assert_eq!(fs::read(&file).unwrap(), saved);
    // What a start refuses, it does, too.
    for (name, bytes, mode, says) in [
        ("exposed.keys", &saved[..], 0o644, "others can use it (mode 0644"),
        ("junk.keys", b"[Service]\n", 0o600, "name another file for --ticket-keys"),
    ] {
        let other = house.write(name, bytes, mode);
        let configuration = house.write("other.toml", text.replace(&file, &other).as_bytes(), 0o644);
        run(&["check-config", &configuration], "").fails(1, &[&other, says]);
        run(&["serve", "--config", &configuration], "").fails(1, &[&other, says]);
        assert_eq!(fs::read(&other).unwrap(), bytes);
    }
    let mut last = house.serve(&["--ticket-keys", &file, "--listen", &address]);
    assert!(!fs::exists(&file).unwrap());
    let login = again(&last, &house, &[], "");
    resumed(&mut last, login);
}

/// They would be there again after a power failure, and with them tickets that were used since.
#[test]
fn ticket_keys_that_are_not_gone_for_good_are_not_used() {
    let house = House::new();
    let (file, key, users) = (house.path("ticket.keys"), house.path("server.pem"), house.path("users.txt"));
    let args = ["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &users, "--ticket-keys", &file];
    let save = || assert_eq!(house.serve(&["--ticket-keys", &file]).stop("-TERM").0, 0);
    save();
    let Some(mut command) = support::over_failing(&house, "dirsync", "EIO", &args) else { return };
    let mut refused = command.spawn().unwrap();
    assert_eq!(support::status(&mut refused), 1);
    let said = Said::from(refused.wait_with_output().unwrap());
    said.fails(1, &["ticket.keys", "have to be removed, and these can't be"]);
    // A file system that has no such thing is written as it always is.
    save();
    let mut server = Server::of(support::over_failing(&house, "dirsync", "EINVAL", &args).unwrap());
    assert!(!fs::exists(&file).unwrap());
    assert_eq!(server.stop("-TERM").0, 0);
}

#[test]
fn a_memory_that_had_to_forget_is_logged_at_the_stop() {
    let house = House::new();
    let token = house.token("alice");
    let mut server = house.serve(&["--refusal-floor", "1ms"]);
    let log_in = || {
        let token = Credential::Token(token.trim_end().as_bytes());
        let session = house.connector().connect_blocking(support::connect(&server.address), token).unwrap();
        session.info().ticket().unwrap().clone()
    };
    // One more than is remembered of one user.
    let tickets: Vec<Ticket> = (0..=UsedTickets::OF_A_PRINCIPAL).map(|_| log_in()).collect();
    tickets.iter().for_each(|ticket| drop(house.resume(&server.address, ticket)));
    server.stop("-TERM");
    let lines: Vec<&String> = server.seen.iter().filter(|line| line.contains("event=tickets-forgotten")).collect();
    assert!(lines.len() == 1 && lines[0].contains("chains=64 forgotten=1 not_taken=0"), "{lines:#?}");
}

#[test]
fn without_a_state_directory_tickets_are_kept_under_the_home() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let address = server.address.clone();
    let who = ["login", "--server", &address, "--user", "alice", "--pin", &house.pin()];
    // A relative path counts as none.
    let login = |more: &[&str]| {
        let mut command = support::command(&[&who[..], more].concat());
        command.env("HOME", house.path("home")).env("XDG_STATE_HOME", "state").current_dir(house.path("."));
        support::finish(&mut command, GOOD)
    };
    full(&mut server, login(&["--password-stdin"]));
    resumed(&mut server, login(&["--send", "whoami"]));
    assert_eq!(house.mode("home/.local/state/countersign/tickets"), 0o600);
    assert!(!fs::exists(house.path("state")).unwrap());
}

#[test]
fn tickets_do_not_pass_by_the_limit_of_sessions() {
    let house = House::new();
    let mut server = house.serve(&["--max-sessions", "1", "--refusal-floor", "1ms"]);
    let login = server.login(&house, "alice", GOOD, &[]);
    full(&mut server, login);
    server.wait_for(&["event=session-ended"]);

    let who = ["login", "--server", &server.address, "--user", "alice", "--password-stdin", "--pin", &house.pin()];
    let mut client = support::command(&who).spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let mut answers = BufReader::new(client.stdout.take().unwrap());
    write!(stdin, "{GOOD}\necho here\n").unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    assert_eq!(answer, "here\n");

    server.login(&house, "alice", GOOD, &[]).fails(7, &["busy"]);
    server.wait_for(&["event=login-refused", "not admitted: too many sessions"]);
    drop(stdin);
    assert!(client.wait().unwrap().success());
    server.wait_for(&["event=session-ended"]);
    again(&server, &house, &[], "").ok();
    server.wait_for(&["event=session-ended"]);
    let login = again(&server, &house, &[], "");
    resumed(&mut server, login);
}
