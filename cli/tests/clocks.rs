//! Servers whose clock jumps, or is hours off, by libfaketime (Debian's package `libfaketime`). Without it nothing is tested here, and each test says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg(all(target_os = "linux", feature = "sql"))]

mod support;

use countersign::PrivateKey;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use support::databases::{serving, sqlite, user};
use support::servers::Database;
use support::{House, PATIENT, Server, command, connect, echoes};

/// The time of day alone: not the clock that is never set, nor the times of files.
const REST: [(&str, &str); 4] = [
    ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ("DONT_FAKE_MONOTONIC", "1"),
    ("NO_FAKE_STAT", "1"),
    ("FAKETIME_CACHE_DURATION", "1"),
];

fn faketime() -> Option<PathBuf> {
    let folders =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let found =
        folders.iter().map(|folder| Path::new(folder).join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    if found.is_none() {
        support::left_out("faketime", "libfaketime is not installed (Debian: libfaketime)");
    }
    found
}

/// The clock of a server, which is off by what the file says.
struct Clock(String);

impl Clock {
    fn of(house: &House, name: &str, off: &str) -> Self {
        let clock = Self(house.path(name));
        clock.set(off);
        clock
    }

    /// `+2h`, or `-400d`, from the right time.
    fn set(&self, off: &str) {
        // In one piece: a server may read it at any time.
        let new = format!("{}.new", self.0);
        fs::write(&new, off).unwrap();
        fs::rename(new, &self.0).unwrap();
    }

    fn serve(&self, library: &Path, words: &[String]) -> Server {
        let mut command = command(words);
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &self.0).envs(REST);
        Server::of(command)
    }
}

#[test]
fn a_clock_that_jumps_refuses_nobody_ends_no_session_and_is_told_of() {
    let Some(library) = faketime() else { return };
    let houses = [House::empty(), House::empty(), House::empty()];
    let database = Database::open("clock_jumps");
    let places = [
        Some(houses[0].path("users.txt")),
        Some(sqlite(&houses[1])),
        database.as_ref().map(|database| database.address.clone()),
    ];
    // Most of it is waiting for clocks to be looked at.
    std::thread::scope(|scope| {
        for (house, users) in houses.iter().zip(places.iter().flatten()) {
            scope.spawn(|| jumps(&library, house, users));
        }
    });
}

/// Over these accounts.
fn jumps(library: &Path, house: &House, users: &str) {
    user(users, &["add", "alice", "--expires", "2days", "--password-stdin"], "secret of alice\n").ok();
    let clock = Clock::of(house, "clock", "+0");
    let words = serving(house, users, &[&PATIENT[..], &["--recheck", "1s"]].concat());
    let mut server = clock.serve(library, &words);
    let mut open = house.session(connect(&server.address));
    for (off, direction) in [("+400d", "direction=forward"), ("-400d", "direction=back")] {
        clock.set(off);
        server.wait_for(&["event=clock-jumped", direction]);
        drop(house.session(connect(&server.address)));
        server.wait_for(&["event=login-accepted"]);
        server.login(house, "alice", "a guess", &["--send", "whoami"]).fails(1, &[]);
        server.wait_for(&["event=login-refused", "code=wrong-password"]);
        assert!(echoes(&mut open), "{users} {off}");
        clock.set("+0");
        server.wait_for(&["event=clock-settled", "as it was"]);
    }
    drop(house.session(connect(&server.address)));
    assert!(echoes(&mut open));
    server.stop("-TERM");
    assert!(!server.seen.iter().any(|line| line.contains("code=account-expired")));

    // One that is started while its clock is wrong knows no better, and is well as soon as that is.
    clock.set("+400d");
    let mut server = clock.serve(library, &words);
    server.login(house, "alice", "secret of alice", &["--send", "whoami"]).fails(1, &[]);
    server.wait_for(&["event=login-refused", "code=account-expired"]);
    clock.set("+0");
    server.wait_for(&["event=clock-jumped", "direction=back"]);
    drop(house.session(connect(&server.address)));
    server.wait_for(&["event=login-accepted"]);
}

#[test]
fn a_retired_key_is_not_over_because_a_clock_jumped() {
    let Some(library) = faketime() else { return };
    let house = House::new();
    fs::create_dir(house.path("keys")).unwrap();
    house.key("rsa2048.pem", "keys/current.pem");
    let retired = PrivateKey::from_pem(&fs::read_to_string(house.key("other2048.pem", "keys/retired.pem")).unwrap());
    let known = house.write("retired.pub.pem", retired.unwrap().public_key().to_pem().as_bytes(), 0o644);
    let until = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(2 * 24 * 3600));
    let listed = format!("current = \"current.pem\"\n[[retired]]\nkey = \"retired.pem\"\nuntil = {until}\n");
    house.write("keys/keys.toml", listed.as_bytes(), 0o600);
    let clock = Clock::of(&house, "clock", "+0");
    let (keys, users) = (house.path("keys"), house.path("users.txt"));
    let words = ["serve", "--listen", "127.0.0.1:0", "--keys", &keys, "--users", &users].map(str::to_owned);
    let mut server = clock.serve(&library, &words);
    let log_in = |server: &Server| {
        let who = ["--user", "alice", "--password-stdin", "--server-key", &known];
        server.login_with(&who, &["--send", "whoami"], "secret of alice\n").ok();
    };
    log_in(&server);
    clock.set("+400d");
    server.wait_for(&["event=clock-jumped"]);
    log_in(&server);
    // Nor is it left out when the keys are read anew.
    assert!(Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap().success());
    server.wait_for(&["event=keys-reloaded", "retired="]);
    log_in(&server);
}

/// As a time server or a battery has it after a boot.
#[cfg(feature = "redis")]
#[test]
fn a_server_whose_clock_is_ahead_does_not_say_to_a_new_redis_when_it_began() {
    let Some(library) = faketime() else { return };
    let (Some(redis), Some(database)) = (support::servers::Redis::start(), Database::open("ahead_of_redis")) else {
        return;
    };
    let house = House::empty();
    let password = house.write("redis-password", format!("{}\n", support::servers::Redis::PASSWORD).as_bytes(), 0o600);
    let more = ["--redis", &redis.address(), "--redis-password-file", &password];
    let words = serving(&house, &database.address, &[&PATIENT[..], &["--redis-timeout", "20s"], &more].concat());
    let wrong = Clock::of(&house, "clock", "+50m").serve(&library, &words);
    // At its start, and in all the looks that follow.
    let scripts = || -> u32 {
        let all = redis.ask(&["INFO", "commandstats"]);
        let calls = all.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap_or("0,");
        calls.split(',').next().unwrap().parse().unwrap()
    };
    let before = scripts();
    support::until("it has looked three times", || scripts() >= before + 12);
    assert_eq!(redis.ask(&["HGET", "countersign:tickets", "since"]), "\n");
    let _right = Server::of(command(&words));
    let since: u64 = redis.ask(&["HGET", "countersign:tickets", "since"]).trim().parse().unwrap();
    assert!(since <= SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs());
    drop(wrong);
}

/// They look for new keys every six seconds.
#[cfg(feature = "redis")]
#[test]
fn two_servers_whose_clocks_are_hours_apart_let_in_everybody_and_share_tickets_again_when_they_agree() {
    let Some(library) = faketime() else { return };
    let (Some(redis), Some(database)) = (support::servers::Redis::start(), Database::open("hours_apart")) else {
        return;
    };
    let house = House::empty();
    let password = house.write("redis-password", format!("{}\n", support::servers::Redis::PASSWORD).as_bytes(), 0o600);
    database.user(&["add", "alice", "--password-stdin"], "secret of alice\n").ok();
    let more = ["--redis", &redis.address(), "--redis-password-file", &password, "--ticket-lifetime", "60s"];
    let more = [&PATIENT[..], &["--redis-timeout", "20s"], &more].concat();
    let words = serving(&house, &database.address, &more);
    let right = Server::of(command(&words));
    redis.settle();
    let ticket = |server: &Server| house.session(connect(&server.address)).info().ticket().cloned();
    let takes =
        |server: &Server, ticket: &_| matches!(house.begin(&server.address, ticket), countersign::Begun::Resumed(_));
    for (off, which) in [("+3h", "ahead of"), ("-3h", "behind")] {
        let clock = Clock::of(&house, "clock", off);
        let mut wrong = clock.serve(&library, &words);
        wrong.wait_for(&["event=ticket-keys-not-shared", which]);
        let first = ticket(&right).unwrap();
        assert!(!takes(&wrong, &first), "{off}");
        assert!(ticket(&wrong).is_none(), "{off}: none that nobody takes");
        // It has used up nothing, and not led the other astray.
        assert!(takes(&right, &first), "{off}");
        clock.set("+0");
        support::until("it gives tickets that the other takes", || {
            ticket(&wrong).is_some_and(|ticket| takes(&right, &ticket))
        });
        support::until("and takes the other's", || ticket(&right).is_some_and(|ticket| takes(&wrong, &ticket)));
    }
}
