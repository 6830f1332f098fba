//! Servers that are known by a file: met for the first time, met again, and with another key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use support::{House, Said, Server, run};

const GOOD: &str = "secret of alice";
const KNOWN: &str = "state/countersign/known_hosts";

/// Logs in with no key given. There is no terminal to ask on.
fn login(server: &Server, house: &House, more: &[&str]) -> Said {
    server.login_keeping(house, &["--user", "alice", "--password-stdin"], more, GOOD)
}

fn known(house: &House, args: &[&str]) -> Said {
    run(&[&["known-hosts"], args, &["--known-hosts", &house.path(KNOWN)]].concat(), "")
}

#[test]
fn a_server_that_is_not_known_is_refused_where_nobody_can_be_asked() {
    let house = House::new();
    let mut server = house.serve(&[]);
    for more in [&[][..], &["--trust", "ask"], &["--trust", "strict"]] {
        let said = login(&server, &house, more);
        said.fails(3, &["no key of", &server.address, KNOWN, &house.pin(), "nothing secret was sent", "--pin"]);
        server.wait_for(&["event=handshake-failed"]);
    }
    assert!(!fs::exists(house.path(KNOWN)).unwrap());
    // Given once, it is known from then on.
    server.login(&house, "alice", GOOD, &[]).ok();
    let said = login(&server, &house, &[]).ok();
    assert!(said.err.contains(", server proved itself\n"), "{said:?}");
}

#[test]
fn the_first_key_is_taken_where_that_is_asked_for_and_no_other_after_it() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let address = server.address.clone();
    let accept = ["--trust", "accept-new", "--no-resume"];
    assert!(!login(&server, &house, &accept).ok().err.contains("proved"));
    assert!(house.read(KNOWN).starts_with(&format!("{address} accepted=first-use ")), "{}", house.read(KNOWN));
    assert!(login(&server, &house, &accept).ok().err.contains(", server proved itself\n"));
    // A password goes there only if that is said, or once somebody has compared the fingerprint.
    let confirm = format!("run: countersign known-hosts confirm {address} SHA256:...\n");
    login(&server, &house, &["--no-resume"]).fails(3, &["first use", "nothing secret was sent", &confirm]);
    known(&house, &["confirm", &address, &house.pin()]).ok();
    login(&server, &house, &["--no-resume"]).ok();
    // A token does, too.
    fs::remove_file(house.path(KNOWN)).unwrap();
    let token = house.token("alice");
    server.login_keeping(&house, &["--token-stdin"], &accept, &token).ok();
    server.login_keeping(&house, &["--token-stdin"], &[], &token).fails(3, &["first use", &confirm]);
    let kept = house.read(KNOWN);
    server.stop("-TERM");

    let old = house.pin();
    house.key("other2048.pem", "server.pem");
    let mut server = house.serve(&["--listen", &address]);
    for more in [&accept[..], &["--trust", "ask"], &["--trust", "strict"], &[]] {
        let said = login(&server, &house, more);
        let cure = format!("countersign known-hosts remove {address} --known-hosts {}", house.path(KNOWN));
        said.fails(3, &["HAS CHANGED", &old, &house.pin(), "line 1 of", &cure, "nothing secret was sent"]);
        server.wait_for(&["event=handshake-failed"]);
    }
    assert_eq!(house.read(KNOWN), kept);
    known(&house, &["remove", &address]).ok();
    login(&server, &house, &accept).ok();
    assert_eq!(server.stop("-TERM").0, 0);
}

#[test]
fn servers_behind_one_address_have_names_of_their_own() {
    let house = House::new();
    let server = house.serve(&["--any-server-name"]);
    let accept = |name: &[&str]| login(&server, &house, &[&["--trust", "accept-new"], name].concat()).ok();
    accept(&[]);
    accept(&["--server-name", "One.example"]);
    let kept = house.read(KNOWN);
    let names: Vec<&str> = kept.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, [server.address.clone(), format!("{}/one.example", server.address)]);
    // What is said to do is about that server, and that file.
    let file = house.path(KNOWN);
    let confirm = format!(
        "run: countersign known-hosts confirm {}/One.example SHA256:... --known-hosts {file}\n",
        server.address
    );
    login(&server, &house, &["--server-name", "One.example", "--known-hosts", &file, "--no-resume"])
        .fails(3, &[&confirm]);
    let said = login(&server, &house, &["--server-name", "a,b"]);
    said.fails(2, &["can't have this server", "--pin"]);
}

#[test]
fn a_name_is_hashed_where_that_is_asked_for() {
    let house = House::new();
    let server = house.serve(&[]);
    login(&server, &house, &["--trust", "accept-new", "--hash-known-hosts"]).ok();
    assert!(house.read(KNOWN).starts_with("|hmac-sha256|") && !house.read(KNOWN).contains(&server.address));
    let said = login(&server, &house, &["--trust", "accept-new"]).ok();
    assert!(said.err.contains(", server proved itself\n"), "{said:?}");
    let listed = known(&house, &["list", &server.address]).ok().out;
    assert!(
        listed.contains("|hmac-sha256|") && listed.contains(&house.pin()) && listed.contains("first-use"),
        "{listed}"
    );
    // Where its key was given, too; and by the command that adds one.
    fs::remove_file(house.path(KNOWN)).unwrap();
    login(&server, &house, &["--pin", &house.pin(), "--hash-known-hosts"]).ok();
    assert!(house.read(KNOWN).starts_with("|hmac-sha256|"), "{}", house.read(KNOWN));
    known(&house, &["add", "--hash", "www.example:4500", &house.path("server.pub.pem")]).ok();
    assert!(!house.read(KNOWN).contains("www.example"), "{}", house.read(KNOWN));
}

#[test]
fn the_file_is_looked_after_by_commands() {
    let house = House::new();
    let (pin, key) = (house.pin(), house.path("server.pub.pem"));
    fs::create_dir_all(house.path("state/countersign")).unwrap();
    let none = known(&house, &["list"]).ok();
    assert_eq!(none.out, "SERVER  KEY  ACCEPTED  SINCE  UNTIL\n");
    let said = known(&house, &["add", "DB.example:4500", &key]).ok();
    assert_eq!(said.err, format!("added to DB.example:4500 {pin}\n"));
    known(&house, &["add", "db.example:4500", &key]).ok();
    known(&house, &["add", "--hash", "www.example:4500", &key]).ok();
    let listed = known(&house, &["list", "db.example:4500"]).ok().out;
    assert!(listed.lines().count() == 2 && listed.contains(&pin) && listed.contains("confirmed"), "{listed}");
    known(&house, &["revoke", "db.example:4500", &pin]).ok();
    let refused = known(&house, &["add", "db.example:4500", &key]);
    refused.fails(1, &[&pin, "is revoked for db.example:4500 in line 1"]);
    known(&house, &["confirm", "db.example:4500", &pin]).fails(1, &["is revoked"]);
    known(&house, &["confirm", "other.example:1", &pin]).fails(1, &["is not listed for other.example:1"]);
    known(&house, &["remove", "db.example:4500"])
        .fails(1, &["no key is listed for db.example:4500", "by its fingerprint"]);
    known(&house, &["remove", "db.example:4500", &pin]).ok();
    known(&house, &["revoke", "*", &pin]).ok();
    assert!(house.read(KNOWN).lines().all(|line| line.starts_with("@revoked ")), "{}", house.read(KNOWN));
    known(&house, &["remove", "*", &pin]).ok();
    for name in ["", "a b", "a*"] {
        known(&house, &["add", name, &key]).fails(2, &["not a server's name"]);
    }
    // What no login can have is told: it would never be found.
    for name in ["db.example", "[::1]", "db.example/blue", "db.example:", "db.example:ssh"] {
        for args in [["add", name, &key], ["revoke", name, &pin], ["confirm", name, &pin]] {
            known(&house, &args).fails(2, &[name, "HOST:PORT"]);
        }
    }
    known(&house, &["add", "[2001:DB8:0:0:0:0:0:1]:4500", &key]).ok();
    assert!(known(&house, &["list", "[2001:db8::1]:4500"]).ok().out.contains(&pin));
    known(&house, &["add", "a:1", &house.path("missing.pem")]).fails(2, &["missing.pem"]);
    known(&house, &["confirm", "a:1", "SHA256:short"]).fails(2, &["not a fingerprint"]);
}

#[test]
fn what_is_known_of_a_key_is_listed_for_people_and_for_scripts() {
    let house = House::new();
    fs::create_dir_all(house.path("state/countersign")).unwrap();
    let (since, until, floor) = ("2026-01-02T03:04:05Z", "2096-02-03T04:05:06Z", "rsa+x25519mlkem768");
    let public = house.read("server.pub.pem");
    let key: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    let line = format!("db.example:4500 accepted=certificate since={since} until={until} floor={floor} key={key}\n");
    house.write(KNOWN, line.as_bytes(), 0o600);
    let listed = known(&house, &["list"]).ok().out;
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["db.example:4500", &house.pin(), "certificate", since, until]);
    let json = known(&house, &["list", "--json"]).ok().out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let key = &json["keys"][0];
    for (field, value) in [("accepted", "certificate"), ("since", since), ("until", until), ("floor", floor)] {
        assert_eq!(key[field], value, "{field}");
    }
}

/// A key that was stolen stays good where it is listed: whoever is given another is told so.
#[test]
fn whoever_is_given_a_new_key_is_told_of_the_old_ones_that_are_good_too() {
    let house = House::new();
    let server = house.serve(&[]);
    fs::create_dir_all(house.path("state/countersign")).unwrap();
    let old = run(&["keygen", "--out", &house.path("old.pem")], "").ok().out.trim().to_owned();
    known(&house, &["add", &server.address, &house.path("old.pub.pem")]).ok();
    let revoke = format!("known-hosts revoke {} {old}", server.address);
    let said = login(&server, &house, &["--pin", &house.pin()]).ok();
    assert!(said.err.contains("is good for") && said.err.contains(&revoke), "{said:?}");
    // Once it is kept: no more than once. Whoever names both means both.
    let both = login(&server, &house, &["--pin", &house.pin(), "--pin", &old]).ok();
    assert!(!both.err.contains(&revoke), "{both:?}");
    let said = known(&house, &["add", &server.address, &house.path("server.pub.pem")]).ok();
    assert!(said.err.contains(&revoke), "{said:?}");
    known(&house, &["revoke", &server.address, &old]).ok();
    let said = known(&house, &["add", &server.address, &house.path("server.pub.pem")]).ok();
    assert!(!said.err.contains("is good for"), "{said:?}");
}

#[test]
fn lines_that_cant_be_read_are_reported_by_number_and_kept() {
    let house = House::new();
    fs::create_dir_all(house.path("state/countersign")).unwrap();
    let text = "# mine\n\na:1 accepted=pin key=MIIB\nb:1 ssh-rsa AAAA me@home\n";
    house.write(KNOWN, text.as_bytes(), 0o600);
    let parts = ["known_hosts: line 3: key=", "known_hosts: line 4: a line of OpenSSH's", "2 lines of"];
    known(&house, &["list"]).fails(1, &parts);
    let json = known(&house, &["list", "--json"]).fails(1, &parts).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["broken_lines"][0]["line"], 3);
    known(&house, &["add", "c:1", &house.path("server.pub.pem")]).ok();
    assert!(house.read(KNOWN).starts_with(text));
    let json = known(&house, &["list", "--json", "c:1"]).fails(1, &parts).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let key = &json["keys"][0];
    assert_eq!(key["fingerprint"], house.pin());
    assert_eq!((&key["line"], &key["accepted"], &key["revoked"]), (&5.into(), &"confirmed".into(), &false.into()));
    assert_eq!(key["names"][0], "c:1");
}

#[test]
fn a_file_that_everyone_can_change_is_not_used_and_the_command_that_mends_it_is_said() {
    let house = House::new();
    fs::create_dir_all(house.path("state/countersign")).unwrap();
    let server = house.serve(&[]);
    house.write(KNOWN, b"", 0o666);
    login(&server, &house, &["--trust", "accept-new"]).fails(2, &["lets everyone change", "chmod o-w"]);
    assert_eq!(house.read(KNOWN), "");
    // One that was named is there for what it revokes: also where the key is given.
    let (pin, file) = (house.pin(), house.path(KNOWN));
    login(&server, &house, &["--pin", &pin, "--known-hosts", &file]).fails(2, &["lets everyone change"]);
}
