//! What the tests of accounts in SQLite and in PostgreSQL have in common.
#![allow(clippy::indexing_slicing)]

use super::{House, Said, Server, command, run};
use serde_json::Value;
use std::io::Write;
use std::time::Duration;

/// A database of SQLite's in the house, by its address.
pub fn sqlite(house: &House) -> String {
    format!("sqlite:{}", house.path("accounts.db"))
}

/// `countersign user`, on the accounts at an address.
pub fn user(users: &str, args: &[&str], stdin: &str) -> Said {
    run(&[&["user"], args, &["--users", users]].concat(), stdin)
}

/// `countersign serve`, over the accounts at an address.
pub fn serve(house: &House, users: &str, more: &[&str]) -> Server {
    Server::of(command(&serving(house, users, more)))
}

/// The words of it.
pub fn serving(house: &House, users: &str, more: &[&str]) -> Vec<String> {
    let key = house.key("rsa2048.pem", "server.pem");
    let args = ["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", users];
    [&args[..], more].concat().iter().map(|word| (*word).to_owned()).collect()
}

pub fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap()
}

/// Kills whoever adds users, whenever that is: before it has begun, in the middle, or after its end. What was said to be done is there, and whole.
pub fn kill_whoever_adds_users(users: &str) {
    user(users, &["add", "first", "--no-password"], "").ok();
    let mut added = Vec::new();
    for round in 0..24_u32 {
        let name = format!("user{round}");
        let mut child = command(&["user", "add", &name, "--permission", "read", "--password-stdin", "--users", users])
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"a long password\n").unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(round) * 4));
        child.kill().unwrap();
        if child.wait_with_output().unwrap().status.success() {
            added.push(name);
        }
        assert!(user(users, &["check"], "").ok().out.contains("can be read"));
    }
    let list = json(&user(users, &["list", "--json"], "").ok());
    let accounts = list["accounts"].as_array().unwrap();
    for name in &added {
        assert!(accounts.iter().any(|account| account["name"] == name.as_str()), "{name} is lost");
    }
    for account in accounts.iter().filter(|account| account["name"] != "first") {
        assert!(account["password"] == true && account["permissions"][0] == "read", "{account} is half there");
    }
    println!("{} of 24 were added", added.len());
    user(users, &["add", "last", "--no-password"], "").ok();
}
