//! What a million accounts cost, by the real command: a measurement, for people to run on a machine that does nothing else.
//!
//! ```text
//! cargo test --release -p countersign-cli --test million -- --ignored --nocapture
//! ```
//!
//! `COUNTERSIGN_TEST_COUNT` is another number of accounts than a million. docs/performance.md has the results of a run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg(all(feature = "sql", target_os = "linux"))]

mod support;

use countersign::Credential;
use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{House, Server, command, connect, finish};

/// `correct horse` at 2^5 rounds: a few milliseconds, so that little else hides in it.
const BCRYPT: &str = "$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG";

const LOGINS: u64 = 1000;

#[test]
#[ignore = "a measurement, of minutes"]
fn a_million_accounts_in_sqlite() {
    measure(u64::MAX, |house| format!("sqlite:{}", house.path("accounts.db")));
}

#[test]
#[ignore = "a measurement, of minutes"]
fn as_many_accounts_in_a_file_as_it_takes() {
    // It has at most 64 MiB, in which Argon2id's hashes take more room than these.
    measure(400_000, |house| house.path("accounts.txt"));
}

fn measure(most: u64, place: impl Fn(&House) -> String) {
    let many = std::env::var("COUNTERSIGN_TEST_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let many: u64 = most.min(many);
    let mut medians = Vec::new();
    for count in [1000, many] {
        let house = House::empty();
        house.key("rsa2048.pem", "server.pem");
        let users = place(&house);
        let text = (0..count).fold(String::new(), |mut text, number| {
            writeln!(text, "user{number}:{BCRYPT}").unwrap();
            text
        });
        house.write("htpasswd", text.as_bytes(), 0o600);
        println!("{count} accounts in {}", users.split(':').next().unwrap().rsplit('.').next().unwrap());
        let start = Instant::now();
        finish(&mut command(&["user", "import", &house.path("htpasswd"), "--users", &users]), "").ok();
        println!("  user import: {:.1?}", start.elapsed());
        let file = fs::metadata(users.trim_start_matches("sqlite:")).unwrap().len();
        println!("  the file: {:.1} MB", file as f64 / 1e6);
        for listing in [&["list"][..], &["list", "--json"]] {
            let (time, memory) = peak(&[&["user"], listing, &["--users", &users]].concat());
            println!("  user {}: {time:.1?}, {memory:.0} MB at most", listing.join(" "));
        }
        let args = ["serve", "--listen", "127.0.0.1:0", "--no-password-upgrade", "--users", &users, "--key"];
        let start = Instant::now();
        let mut server = Server::of(command(&[&args[..], &[&house.path("server.pem")]].concat()));
        println!("  serve is there after {:.0?}, with {:.0} MB", start.elapsed(), resident(server.child.id(), "VmRSS"));
        let connector = house.connector();
        let mut times: Vec<Duration> = (0..LOGINS)
            .map(|number| {
                let user = format!("user{}", number * 7919 % count);
                let stream = connect(&server.address);
                let start = Instant::now();
                let credential = Credential::Password { user: &user, password: b"correct horse" };
                connector.connect_blocking(stream, credential).unwrap();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let at = |part: usize| times[times.len() * part / 100];
        println!("  {LOGINS} logins: median {:.2?}, 99 of 100 within {:.2?}", at(50), at(99));
        println!("  serve has {:.0} MB then", resident(server.child.id(), "VmRSS"));
        medians.push((at(50).as_secs_f64(), at(99).as_secs_f64()));
        server.stop("-TERM");
    }
    println!(
        "  many beside few: median x {:.2}, 99 of 100 x {:.2}",
        medians[1].0 / medians[0].0,
        medians[1].1 / medians[0].1
    );
}

/// How long a command takes, and the most memory that it is seen to have, in MB.
fn peak(args: &[&str]) -> (Duration, f64) {
    let start = Instant::now();
    let mut child = command(args).stdout(Stdio::null()).spawn().unwrap();
    let mut most: f64 = 0.0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(resident(child.id(), "VmHWM"));
        std::thread::sleep(Duration::from_millis(2));
    }
    (start.elapsed(), most)
}

/// What a process has in memory, in MB.
fn resident(process: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok()).unwrap_or_default() / 1000.0
}
