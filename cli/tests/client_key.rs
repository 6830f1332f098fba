//! Logins by a key of the client's: of a file, and what is said of one that is no good.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::process::Command;
use support::{House, Said, Server, Tunnel, run};

/// A pair of keys by ssh-keygen, in the house; false, and a note, where that is not installed.
fn make(house: &House, name: &str, more: &[&str]) -> bool {
    let made = Command::new("ssh-keygen").args(["-q", "-C", name, "-f", &house.path(name)]).args(more).output();
    match made {
        Ok(made) => {
            assert!(made.status.success(), "{made:?}");
            true
        }
        Err(error) => {
            support::left_out("openssh", &format!("there is no ssh-keygen here: {error}"));
            false
        }
    }
}

const ED25519: [&str; 4] = ["-t", "ed25519", "-N", ""];

fn add(house: &House, name: &str) -> Said {
    run(&["user", "key", "add", "alice", "--users", &house.path("users.txt"), "--key", &house.path(name)], "")
}

fn login(house: &House, server: &Server, more: &[&str], stdin: &str) -> Said {
    let (key, send) = (house.path("server.pub.pem"), ["--send", "whoami"]);
    server.login_keeping(house, &["--user", "alice", "--server-key", &key], &[more, &send].concat(), stdin)
}

#[test]
fn a_key_by_ssh_keygen_logs_in_and_both_ends_prove_themselves() {
    let house = House::new();
    if !make(&house, "id_ed25519", &ED25519) {
        return;
    }
    make(&house, "id_ecdsa", &["-t", "ecdsa", "-b", "256", "-N", ""]);
    make(&house, "id_rsa", &["-t", "rsa", "-b", "2048", "-N", ""]);
    make(&house, "id_pkcs8", &["-t", "rsa", "-b", "2048", "-N", "", "-m", "PKCS8"]);
    let mut server = house.serve(&[]);
    for name in ["id_ed25519", "id_ecdsa", "id_rsa", "id_pkcs8"] {
        add(&house, &format!("{name}.pub")).ok();
        server.wait_for(&["event=users-reloaded"]);
        let said = login(&house, &server, &["--identity", &house.path(name), "--no-resume"], "").ok();
        assert_eq!(said.out, "alice permissions=read,write\n");
        assert!(said.err.contains(", server proved itself\n"), "{said:?}");
        server.wait_for(&["event=login-accepted", "user=\"alice\""]);
    }
}

#[test]
fn a_login_by_key_leaves_a_ticket_for_the_next_one() {
    let house = House::new();
    if !make(&house, "id_ed25519", &ED25519) {
        return;
    }
    add(&house, "id_ed25519.pub").ok();
    let mut server = house.serve(&[]);
    let identity = ["--identity", &house.path("id_ed25519")];
    assert!(!login(&house, &server, &identity, "").ok().err.contains("resumed"));
    assert!(login(&house, &server, &identity, "").ok().err.contains("(read, write), resumed"));
    // A ticket goes with the key that it is from.
    let list = run(&["user", "key", "list", "alice", "--users", &house.path("users.txt"), "--json"], "").ok();
    let list: serde_json::Value = serde_json::from_str(&list.out).unwrap();
    let id = list[0]["fingerprint"].as_str().unwrap();
    run(&["user", "key", "remove", "alice", id, "--users", &house.path("users.txt")], "").ok();
    login(&house, &server, &identity, "").fails(1, &["refused this login"]);
    server.wait_for(&["event=login-refused", "code=unknown-key"]);
}

#[test]
fn another_key_is_refused_as_a_wrong_password_is() {
    let house = House::new();
    if !make(&house, "id_ed25519", &ED25519) {
        return;
    }
    make(&house, "other", &ED25519);
    add(&house, "id_ed25519.pub").ok();
    let mut server = house.serve(&[]);
    let other = login(&house, &server, &["--identity", &house.path("other")], "");
    server.wait_for(&["event=login-refused", "code=unknown-key"]);
    let wrong = login(&house, &server, &["--password-stdin"], "a wrong one\n");
    assert_eq!((other.status, other.err, other.out), (1, wrong.err, wrong.out));
    // The key is alice's, and there is no such user: the same again.
    let args =
        ["--user", "mallory", "--server-key", &house.path("server.pub.pem"), "--identity", &house.path("id_ed25519")];
    let nobody = server.login_with(&args, &[], "");
    assert_eq!((nobody.status, nobody.err), (1, login(&house, &server, &["--password-stdin"], "x\n").err));
}

#[test]
fn an_encrypted_key_takes_its_passphrase_from_elsewhere_and_a_wrong_one_is_named() {
    let house = House::new();
    if !make(&house, "id_ed25519", &["-t", "ed25519", "-N", "open sesame"]) {
        return;
    }
    add(&house, "id_ed25519.pub").ok();
    let server = house.serve(&[]);
    let identity = house.path("id_ed25519");
    let stdin = ["--identity", &identity, "--passphrase-stdin", "--no-resume"];
    login(&house, &server, &stdin, "open sesame\n").ok();
    login(&house, &server, &stdin, "open barley\n").fails(2, &["id_ed25519", "passphrase does not open"]);
    let file = house.write("passphrase", b"open sesame\n", 0o600);
    login(&house, &server, &["--identity", &identity, "--passphrase-file", &file, "--no-resume"], "").ok();
    login(&house, &server, &["--passphrase-stdin"], "x\n").fails(2, &["give the key's file with --identity"]);
}

#[test]
fn files_that_are_no_such_key_are_named_with_what_to_do_and_nothing_is_dialled() {
    let house = House::new();
    let key = house.path("server.pub.pem");
    // Nobody listens there.
    let nowhere = |identity: &str| {
        let args =
            ["login", "--server", "127.0.0.1:9", "--user", "alice", "--server-key", &key, "--identity", identity];
        run(&args, "")
    };
    nowhere(&house.path("missing")).fails(2, &["missing", "ssh-keygen -t ed25519 -f"]);
    nowhere(&house.write("text", b"hello", 0o600)).fails(2, &["text: there is no key in it"]);
    if !make(&house, "id_p384", &["-t", "ecdsa", "-b", "384", "-N", ""]) {
        return;
    }
    nowhere(&house.path("id_p384")).fails(2, &["id_p384: ", "nistp384", "ssh-keygen -t ed25519"]);
    make(&house, "id_ed25519", &ED25519);
    let open = house.write("open", house.read("id_ed25519").as_bytes(), 0o644);
    nowhere(&open).fails(2, &["open: mode 0644", "chmod 600"]);
    add(&house, "id_ed25519").fails(1, &["this is an OpenSSH private key", "the public half is in", "id_ed25519.pub"]);
    run(
        &[
            "login",
            "--server",
            "127.0.0.1:9",
            "--user",
            "a",
            "--identity",
            &open,
            "--password-stdin",
            "--server-key",
            &key,
        ],
        "",
    )
    .fails(2, &["cannot be used with"]);
}

#[test]
fn a_tunnel_is_opened_by_key() {
    let house = House::new();
    if !make(&house, "id_ed25519", &ED25519) {
        return;
    }
    add(&house, "id_ed25519.pub").ok();
    let mut server = house.serve(&["--forward", &support::service(support::echo)]);
    let who = ["--user", "alice", "--identity", &house.path("id_ed25519")];
    let tunnel = Tunnel::start(&house, &server.address.clone(), &who, &[], "");
    for how in ["event=login-accepted", "event=login-resumed"] {
        let mut stream = tunnel.connect();
        std::io::Write::write_all(&mut stream, b"hello").unwrap();
        let mut back = [0; 5];
        std::io::Read::read_exact(&mut stream, &mut back).unwrap();
        assert_eq!(&back, b"hello");
        server.wait_for(&[how]);
    }
}

/// The README's lines, as they stand there, but for the address.
#[test]
fn the_readme_shows_authentication_by_key_at_both_ends() {
    let readme = include_str!("../../README.md");
    let block = readme.split("```sh\n").find(|block| block.contains("--identity id_ed25519")).unwrap();
    let lines: Vec<&str> = block.split("```").next().unwrap().lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let house = House::empty();
    house.key("rsa2048.pem", "server.pem");
    house.write("server.pub.pem", house.public_key().to_pem().as_bytes(), 0o644);
    if !make(&house, "probe", &ED25519) {
        return;
    }
    let shell = |line: &str| {
        let program = env!("CARGO_BIN_EXE_countersign");
        let line = line.replace("countersign ", &format!("{program} "));
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(house.folder.path()).env("XDG_STATE_HOME", house.path("state"));
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
        command
    };
    let no_passphrase = lines[0].replace("ssh-keygen", "ssh-keygen -q -N ''");
    support::finish(&mut shell(&no_passphrase), "").ok();
    support::finish(&mut shell(lines[1]), "").ok();
    let serve = lines[2].replace("[::]:4500", "127.0.0.1:0").replace("countersign serve", "exec countersign serve");
    let server = Server::of(shell(&serve));
    let login = format!("{} --send whoami", lines[3].replace("db.example:4500", &server.address));
    let said = support::finish(&mut shell(&login), "").ok();
    assert!(said.err.contains("logged in as carol") && said.err.contains("server proved itself"), "{said:?}");
}
