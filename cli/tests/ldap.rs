//! `serve --ldap`: a directory that checks passwords, in the place of accounts that are kept here.
//!
//! The tests start Debian's `slapd` themselves. Where there is none they say so, and test nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg(feature = "ldap")]

#[path = "../../stores/tests/support/directory.rs"]
mod directory;
mod support;

use countersign::Begun;
use directory::{Directory, SERVICE};
use std::collections::HashSet;
use std::io::{Read, Write};
use support::{House, Said, Server, command, connect, finish, run, until};

const PASSWORD: &str = "correct horse";

/// As `login` ends where a server says "not now".
const NOT_NOW: i32 = 8;

fn house() -> House {
    let house = House::empty();
    house.key("rsa2048.pem", "server.pem");
    house.write("ldap-password", format!("{}\n", SERVICE.1).as_bytes(), 0o600);
    house
}

/// For a machine that is slow, and busy with other things.
const PATIENT: [&str; 4] = ["--handshake-timeout", "1m", "--max-wait", "1m"];

/// The words of a server that searches this directory.
fn words(house: &House, address: &str, more: &[&str]) -> Vec<String> {
    let (key, password) = (house.path("server.pem"), house.path("ldap-password"));
    let args =
        ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--key", &key, "--ldap", address];
    let search =
        ["--ldap-base", "ou=people,dc=example", "--ldap-bind-dn", SERVICE.0, "--ldap-password-file", &password];
    let groups = [
        "--ldap-group",
        "cn=Chiefs,ou=groups,dc=example orders:*,staff",
        "--ldap-group",
        "cn=clerks,ou=groups,dc=example orders:read",
        "--ldap-group-base",
        "ou=groups,dc=example",
        "--refusal-floor",
        "1ms",
    ];
    let patience: &[&str] = if more.contains(&"--ldap-timeout") { &[] } else { &["--ldap-timeout", "20s"] };
    [&args[..], &search, &groups, &PATIENT, patience, more].concat().iter().map(|word| (*word).to_owned()).collect()
}

fn serve(house: &House, address: &str, more: &[&str]) -> Server {
    Server::of(command(&words(house, address, more)))
}

fn log_in(server: &Server, house: &House, user: &str, password: &str) -> Said {
    server.login(house, user, password, &["--send", "whoami"])
}

fn fails(args: &[String], status: i32, parts: &[&str]) {
    let said = run(args, "").fails(status, parts);
    assert!(!format!("{said:?}").contains(SERVICE.1), "{said:?}");
}

#[test]
fn whoever_the_directory_lets_in_is_let_in_with_what_their_groups_may() {
    let Some(directory) = Directory::start() else { return };
    let (house, address) = (house(), directory.socket());
    let mut server = serve(&house, &address, &[]);
    server.wait_for(&["event=started", &format!("users=\"{address}\"")]);
    let alice = log_in(&server, &house, "alice", PASSWORD).ok();
    assert!(alice.out.contains("orders:*") && alice.out.contains("orders:read"), "{alice:?}");
    server.wait_for(&["event=login-accepted", "user=\"alice\"", "credential=password"]);
    let bob = log_in(&server, &house, "bob", PASSWORD).ok();
    assert!(bob.out.contains("orders:read") && !bob.out.contains("staff"), "{bob:?}");
    for (user, password, code) in [
        ("alice", "wrong", "wrong-password"),
        ("nobody", PASSWORD, "unknown-user"),
        ("nobody's", PASSWORD, "application"),
        ("locked", PASSWORD, "account-locked"),
        ("fresh", PASSWORD, "account-expired"),
    ] {
        log_in(&server, &house, user, password).fails(1, &["refused"]);
        server.wait_for(&["event=login-refused", &format!("code={code}")]);
    }
    // It takes nothing but passwords.
    let token = ["--pin", &house.pin(), "--token-stdin", "--send", "whoami"];
    server.login_with(&[], &token, &format!("{}\n", "A".repeat(43))).fails(6, &[]);
    // By a template, everybody, and without a service account: no ticket, as nobody could look them up again.
    let key = house.path("server.pem");
    let args = ["serve", "--listen", "127.0.0.1:0", "--key", &key, "--ldap", &address, "--ldap-user-dn"];
    let named = [&args[..], &["uid={user},ou=people,dc=example", "--ldap-permission", "read,write"], &PATIENT].concat();
    let mut server = Server::of(command(&named));
    let nobodys = log_in(&server, &house, "nobody's", PASSWORD).ok();
    assert!(nobodys.out.contains("read") && nobodys.out.contains("write"), "{nobodys:?}");
    let (_, said) = server.stop("-TERM");
    assert!(said.contains("without --ldap-bind-dn there are no tickets"), "{said}");
}

#[test]
fn filters_and_attributes_are_those_that_are_given() {
    let Some(directory) = Directory::start() else { return };
    let (house, address) = (house(), directory.socket());
    let filters =
        ["--ldap-filter", "(&(uid={user})(!(uid=bob)))", "--ldap-group-filter", "(&(member={dn})(cn=clerks))"];
    let server = serve(&house, &address, &filters);
    let alice = log_in(&server, &house, "alice", PASSWORD).ok();
    assert!(alice.out.contains("orders:read") && !alice.out.contains("orders:*"), "{alice:?}");
    log_in(&server, &house, "bob", PASSWORD).fails(1, &["refused"]);
    // An attribute that names nobody.
    let server = serve(&house, &address, &["--ldap-name-attribute", "mail"]);
    log_in(&server, &house, "alice", PASSWORD).fails(1, &["refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_the_directory_reaches_tickets_and_open_sessions() {
    let Some(directory) = Directory::start() else { return };
    let house = house();
    let mut server = serve(&house, &directory.socket(), &["--recheck", "200ms"]);
    let alice = countersign::Credential::Password { user: "alice", password: PASSWORD.as_bytes() };
    let session = house.session_as(connect(&server.address), alice);
    let ticket = session.info().ticket().expect("there is a service account").clone();
    drop(session);
    let mut session = house.resume(&server.address, &ticket);
    let next = session.info().ticket().unwrap().clone();
    session.write_all(b"whoami\n").unwrap();
    session.read_exact(&mut [0; 5]).unwrap();
    let lock = ldap3::Mod::Replace("pwdAccountLockedTime", HashSet::from(["000001010000Z"]));
    directory.change("uid=alice,ou=people,dc=example", lock).await;
    server.wait_for(&["event=session-ended", "user=\"alice\"", "code=account-locked"]);
    assert!(matches!(house.begin(&server.address, &next), Begun::Trusted(_)), "the ticket is not taken");
    drop(session);
}

/// Names of a directory may have anything in them; those of an account file can't.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_blanks_and_quotes_makes_no_field_of_a_line() {
    let Some(directory) = Directory::start() else { return };
    let (house, odd) = (house(), "bob code=ok user=\"alice\"");
    directory.change("uid=bob,ou=people,dc=example", ldap3::Mod::Replace("cn", HashSet::from([odd]))).await;
    let by_cn = ["--ldap-filter", "(cn={user})", "--ldap-name-attribute", "cn"];
    let mut server = serve(&house, &directory.socket(), &by_cn);
    log_in(&server, &house, odd, PASSWORD).ok();
    for event in ["event=login-accepted", "event=session-ended"] {
        let line = server.wait_for(&[event]);
        assert!(line.contains(&format!("{event} user={odd:?} ")), "{line}");
    }
}

#[test]
fn while_the_directory_is_away_logins_are_told_not_now_and_then_let_in_again() {
    let Some(mut directory) = Directory::start() else { return };
    let house = house();
    let mut server = serve(&house, &directory.socket(), &["--ldap-timeout", "3s"]);
    log_in(&server, &house, "alice", PASSWORD).ok();
    server.wait_for(&["event=login-accepted"]);
    assert!(server.is_ready());
    directory.kill();
    for (user, password) in [("alice", PASSWORD), ("alice", "wrong"), ("nobody", "wrong")] {
        log_in(&server, &house, user, password).fails(NOT_NOW, &[]);
    }
    server.wait_for(&["event=accounts-away", "directory is away"]);
    assert!(!server.is_ready());
    directory.restart();
    server.wait_for(&["event=accounts-back"]);
    until("alice is let in", || log_in(&server, &house, "alice", PASSWORD).status == 0);
    until("a wrong password is one", || log_in(&server, &house, "alice", "wrong").status == 1);
    until("it is ready", || server.is_ready());
    // One that takes connections and says nothing, too.
    directory.signal("-STOP");
    server.wait_for(&["event=accounts-away"]);
    log_in(&server, &house, "alice", PASSWORD).fails(NOT_NOW, &[]);
    directory.signal("-CONT");
    server.wait_for(&["event=accounts-back"]);
    // And it starts without one.
    directory.kill();
    let mut other = serve(&house, &directory.socket(), &[]);
    other.said(&["event=accounts-away"]);
    directory.restart();
    other.wait_for(&["event=accounts-back"]);
    log_in(&other, &house, "alice", PASSWORD).ok();
    let (_, said) = other.stop("-TERM");
    assert!(said.contains("until it is back, logins are told \"not now\""), "{said}");
}

#[test]
fn the_password_of_the_service_account_comes_from_a_file_or_the_environment_and_is_printed_nowhere() {
    let Some(directory) = Directory::start() else { return };
    let (house, address) = (house(), directory.socket());
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let without = ["serve", "--listen", "127.0.0.1:0", "--key", &key, "--ldap", &address, "--ldap-base"];
    let without = [&without[..], &["ou=people,dc=example", "--ldap-bind-dn", SERVICE.0, "--exec", "env"]].concat();
    run(&without, "").fails(2, &["--ldap-password-file", "COUNTERSIGN_LDAP_PASSWORD"]);
    let mut by_environment = command(&without);
    by_environment.env("COUNTERSIGN_LDAP_PASSWORD", SERVICE.1);
    let mut server = Server::of(by_environment);
    server.wait_for(&["event=started"]);
    // Nor does a program that serves a session get it.
    let alice = countersign::Credential::Password { user: "alice", password: PASSWORD.as_bytes() };
    let mut said = String::new();
    house.session_as(connect(&server.address), alice).read_to_string(&mut said).unwrap();
    assert!(said.contains("COUNTERSIGN_PRINCIPAL=alice") && !said.contains(SERVICE.1), "{said}");
    // Whoever names a file means that.
    let mut by_both = command(&words(&house, &address, &[]).iter().map(String::as_str).collect::<Vec<_>>());
    by_both.env("COUNTERSIGN_LDAP_PASSWORD", "of nobody");
    let mut server = Server::of(by_both);
    server.wait_for(&["event=started"]);
    drop(server);
    // What the directory refuses, and what makes no sense, keeps a server from starting.
    let wrong = house.write("wrong", b"of nobody\n", 0o600);
    fails(&words(&house, &address, &["--ldap-password-file", &wrong]), 2, &["cannot be used multiple times"]);
    let mut refused = words(&house, &address, &[]);
    let at = refused.iter().position(|word| word == "--ldap-password-file").unwrap();
    refused[at + 1] = wrong;
    fails(&refused, 1, &["the directory refuses", "rc=49", "--ldap-bind-dn"]);
    let mut misspelt = words(&house, &address, &[]);
    let at = misspelt.iter().position(|word| word == "ou=people,dc=example").unwrap();
    misspelt[at] = "ou=peple,dc=example".to_owned();
    fails(&misspelt, 1, &["there is no ou=peple,dc=example"]);
    fails(&words(&house, &address, &["--users", &users]), 2, &["--users", "--ldap"]);
    fails(&words(&house, &address, &["--ldap-timeout", "31s"]), 2, &["--ldap-timeout", "half of --handshake-timeout"]);
    fails(&words(&house, &address, &["--stretch"]), 2, &["--stretch", "--ldap"]);
    fails(&words(&house, &address, &["--ldap-group", "clerks read"]), 2, &["permissions with commas between"]);
    fails(&words(&house, &address, &["--ldap-user-dn", "uid={user}"]), 2, &["--ldap-user-dn", "--ldap-base"]);
    for bad in ["ldap://cn=x:hunter22@ldap.example", "http://ldap.example"] {
        let said = run(&words(&house, bad, &[]), "").fails(2, &["expected ldaps://HOST"]);
        assert!(!said.err.contains("hunter22"), "{said:?}");
    }
    run(&["user", "list", "--users", "ldaps://ldap.example"], "").fails(2, &["serve --ldap"]);
}

#[test]
fn a_file_can_say_all_of_it_and_is_checked() {
    let Some(directory) = Directory::start() else { return };
    let (house, address) = (house(), directory.socket());
    let (key, password) = (house.path("server.pem"), house.path("ldap-password"));
    let text = format!(
        "listen = \"127.0.0.1:0\"\nkey = {key:?}\nldap = {address:?}\nldap-base = \"ou=people,dc=example\"\n\
         ldap-bind-dn = {:?}\nldap-password-file = {password:?}\nldap-timeout = \"2s\"\n\
         ldap-group = [\"cn=Chiefs,ou=groups,dc=example orders:*\", \"cn=clerks,ou=groups,dc=example orders:read\"]\n",
        SERVICE.0
    );
    let file = house.write("serve.toml", text.as_bytes(), 0o644);
    let said = run(&["check-config", &file], "").ok();
    assert!(said.out.contains(&format!("\n{address}\n")) && !said.out.contains("account"), "{said:?}");
    let said = run(&["check-config", &file, "--print"], "").ok();
    assert!(said.out.contains(&format!("\nldap = \"{address}\"\n")) && !said.out.contains(SERVICE.1), "{said:?}");
    assert!(said.out.contains("\nldap-group = [\"cn=Chiefs,ou=groups,dc=example orders:*\", "), "{said:?}");
    let server = Server::of(command(&["serve", "--config", &file]));
    assert!(log_in(&server, &house, "alice", PASSWORD).ok().out.contains("orders:*"));
    let both = house.write("both.toml", format!("{text}users = \"users\"\n").as_bytes(), 0o644);
    run(&["check-config", &both], "").fails(2, &["both.toml:3:", "--users"]);
    let nowhere = text.replace(&address, "ldapi://%2Fnowhere%2Fsocket");
    let file = house.write("nowhere.toml", nowhere.as_bytes(), 0o644);
    let said = finish(&mut command(&["check-config", &file]), "").ok();
    assert!(said.err.contains("warning: --ldap ldapi://%2Fnowhere%2Fsocket: the directory can't be asked"), "{said:?}");
}

#[test]
fn a_directory_over_a_network_is_spoken_to_over_tls_alone() {
    let Some(directory) = Directory::on_the_network(true) else { return };
    let (house, authority) = (house(), directory.authority());
    let addresses =
        [format!("ldaps://localhost:{}", directory.tls_port()), format!("ldap://127.0.0.2:{}", directory.port())];
    for address in &addresses {
        let server = serve(&house, address, &["--ldap-ca-file", &authority]);
        log_in(&server, &house, "alice", PASSWORD).ok();
        let doubting = serve(&house, address, &[]);
        log_in(&doubting, &house, "alice", PASSWORD).fails(NOT_NOW, &[]);
    }
    // Whose certificates are given is not trusted beside the system's, but in their place.
    let other = Directory::on_the_network(true).unwrap();
    for (given, status) in [(other.authority(), NOT_NOW), (authority.clone(), 0)] {
        let mut strict = command(&words(&house, &addresses[0], &["--ldap-ca-file", &given]));
        let strict = Server::of({
            strict.env("SSL_CERT_FILE", &authority);
            strict
        });
        let said = log_in(&strict, &house, "alice", PASSWORD);
        assert_eq!(said.status, status, "{said:?}");
    }
    let mut of_the_system = command(&words(&house, &addresses[0], &[]));
    of_the_system.env("SSL_CERT_FILE", &authority);
    log_in(&Server::of(of_the_system), &house, "alice", PASSWORD).ok();
    let none = house.write("none.pem", b"none\n", 0o644);
    fails(&words(&house, &addresses[0], &["--ldap-ca-file", &none]), 1, &["--ldap-ca-file", "no certificate"]);
    let Some(plain) = Directory::on_the_network(false) else { return };
    let address = format!("ldap://127.0.0.2:{}", plain.port());
    fails(&words(&house, &address, &[]), 1, &["the directory refuses"]);
    let careless = serve(&house, &address, &["--ldap-without-tls"]);
    log_in(&careless, &house, "alice", PASSWORD).ok();
}
