//! `user key`: the keys of accounts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::{House, Said, run};

const ED25519: &str = include_str!("../../tests/keys/signing/id_ed25519.pub");

fn key(house: &House, args: &[&str], stdin: &str) -> Said {
    run(&[&["user", "key"], args, &["--users", &house.path("users.txt")]].concat(), stdin)
}

fn list(house: &House) -> serde_json::Value {
    serde_json::from_str(&key(house, &["list", "alice", "--json"], "").ok().out).unwrap()
}

#[test]
fn keys_are_added_listed_and_removed() {
    let house = House::new();
    let public = house.write("id.pub", ED25519.as_bytes(), 0o644);
    let said = key(&house, &["add", "alice", "--key", &public], "").ok();
    assert!(said.err.starts_with("added to alice SHA256:") && said.err.contains("(Ed25519"), "{said:?}");
    // The server's own, as any key of RSA, in PEM.
    key(&house, &["add", "alice", "--key", "-"], &house.read("server.pub.pem")).ok();
    let listed = list(&house);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let id = listed[0]["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!((&listed[0]["algorithm"], &listed[1]["fingerprint"]), (&"Ed25519".into(), &house.pin().into()));
    let table = key(&house, &["list", "alice"], "").ok().out;
    assert!(table.starts_with("FINGERPRINT ") && table.contains(&id) && table.contains(&house.pin()), "{table}");
    let users = house.path("users.txt");
    let shown = run(&["user", "show", "alice", "--users", &users], "").ok().out;
    assert!(shown.contains(&format!("keys         2: {id}, {}\n", house.pin())), "{shown}");
    let table = run(&["user", "list", "--users", &users], "").ok().out;
    assert!(table.lines().next().unwrap().contains("KEYS"), "{table}");

    key(&house, &["remove", "alice", &house.pin()], "").ok();
    key(&house, &["remove", "alice", &house.pin()], "").fails(1, &["has no key", "user key list"]);
    // As ssh-keygen prints it, too.
    key(&house, &["remove", "alice", listed[0]["openssh_fingerprint"].as_str().unwrap()], "").ok();
    assert_eq!(list(&house).as_array().unwrap().len(), 0);
    key(&house, &["remove", "alice", "SHA256:short"], "").fails(2, &["not a fingerprint"]);
    key(&house, &["list", "nobody"], "").fails(1, &["nobody", "user list"]);
}

#[test]
fn bounds_are_kept_and_those_of_the_line_are_not_loosened() {
    let house = House::new();
    let line = format!("from=\"192.0.2.0/24\",expiry-time=\"20271231Z\" {ED25519}");
    key(&house, &["add", "alice", "--key", "-"], &line).ok();
    let listed = list(&house);
    assert_eq!((&listed[0]["from"], &listed[0]["until"]), (&"192.0.2.0/24".into(), &"2027-12-31T00:00:01Z".into()));
    for more in [["--from", "*"], ["--until", "2099-01-01"]] {
        let said = key(&house, &[&["add", "alice", "--key", "-"], &more[..]].concat(), &line);
        said.fails(2, &["has such a bound of its own", more[0]]);
    }
    // Given for a line without, they take the place of what was.
    let bounds = ["--from", "10.0.0.1,!10.0.0.2", "--until", "2030-01-01"];
    let said = key(&house, &[&["add", "alice", "--key", "-"], &bounds[..]].concat(), ED25519).ok();
    assert!(said.err.starts_with("there already, and bound as given now: alice SHA256:"), "{said:?}");
    let listed = list(&house);
    assert_eq!(
        (&listed[0]["from"], &listed[0]["until"]),
        (&"10.0.0.1,!10.0.0.2".into(), &"2030-01-01T00:00:00Z".into())
    );
    key(&house, &["add", "alice", "--key", "-", "--from", "example.com"], ED25519)
        .fails(2, &["host names are not taken"]);
}

#[test]
fn options_that_are_not_kept_are_refused_with_the_line_and_nothing_is_added() {
    let house = House::new();
    let before = house.read("users.txt");
    let text = format!("# mine\n{ED25519}\nno-pty {ED25519}");
    let path = house.write("keys", text.as_bytes(), 0o644);
    for file in ["-", &path] {
        let said = key(&house, &["add", "alice", "--key", file], &text);
        said.fails(1, &["line 4 is not taken", "the option no-pty is not taken"]);
    }
    key(&house, &["add", "alice", "--key", "-"], "ssh-dss AAAA me\n").fails(1, &["standard input", "line 1"]);
    key(&house, &["add", "alice", "--key", "-"], "").fails(1, &["standard input", "empty"]);
    key(&house, &["add", "alice", "--key", &house.path("missing")], "").fails(1, &["missing", "ssh-keygen -t ed25519"]);
    assert_eq!(house.read("users.txt"), before);
}

#[test]
fn a_user_is_added_with_a_key_and_no_password() {
    let house = House::new();
    let public = house.write("id.pub", ED25519.as_bytes(), 0o644);
    let users = house.path("users.txt");
    let said = run(&["user", "add", "bob", "--no-password", "--key", &public, "--users", &users], "").ok();
    assert!(said.err.contains("added bob\nwith the key SHA256:") && !said.err.contains("user token"), "{said:?}");
    let shown = run(&["user", "show", "bob", "--users", &users, "--json"], "").ok();
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&shown["can_log_in"], &shown["password"]), (&true.into(), &false.into()));
    assert_eq!(shown["keys"].as_array().unwrap().len(), 1);
    // A line's bounds are kept, and a key that is over lets nobody in.
    let bounded = format!("from=\"192.0.2.0/24\",expiry-time=\"20010101Z\" {ED25519}");
    let bounded = house.write("bounded.pub", bounded.as_bytes(), 0o644);
    run(&["user", "add", "dave", "--no-password", "--key", &bounded, "--users", &users], "").ok();
    let shown = run(&["user", "show", "dave", "--users", &users, "--json"], "").ok();
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&shown["keys"][0]["from"], &shown["can_log_in"]), (&"192.0.2.0/24".into(), &false.into()));
    let both = ["user", "add", "carol", "--password-stdin", "--key", "-", "--users", &users];
    run(&both, "a long password\n").fails(2, &["standard input can't be both"]);
    let both = ["user", "add", "carol", "--password-stdin", "--key", &public, "--users", &users];
    run(&both, "a long password\n").ok();
}
