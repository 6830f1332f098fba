//! The command as a whole: help, versions, and the demo.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::run;

#[test]
fn every_command_has_help_with_an_example() {
    let commands = [
        "",
        "keygen",
        "key show",
        "user add",
        "user passwd",
        "user remove",
        "user list",
        "user show",
        "user check",
        "user token",
        "user revoke-tokens",
        "user grant",
        "user revoke",
        "user lock",
        "user unlock",
        "user expire",
        "user from",
        "user role add",
        "user role remove",
        "role add",
        "role list",
        "role remove",
        "role grant",
        "role revoke",
        "serve",
        "login",
        "connect",
        "demo",
        "bench",
        "inspect",
        "completions",
        "man",
    ];
    for command in commands {
        let args: Vec<&str> = command.split_ascii_whitespace().chain(["--help"]).collect();
        let said = run(&args, "").ok();
        assert!(said.out.contains("Usage: countersign"), "{said:?}");
        assert!(said.out.contains("  countersign "), "no example in the help of {command:?}: {}", said.out);
        assert!(said.out.lines().all(|line| line.chars().count() <= 100), "{}", said.out);
    }
    run(&["no-such-command"], "").fails(2, &["no-such-command"]);
    run::<&str>(&[], "").fails(2, &["Usage"]);
}

#[test]
fn the_demo_goes_as_it_should_and_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let output = support::command(&["demo"]).env("TMPDIR", folder.path()).output().unwrap();
    let said = support::Said::from(output).ok();
    for part in [
        "ClientHello",
        "ServerHello",
        "ClientLogin",
        "ServerVerdict",
        "ServerResumption",
        "event=login-resumed",
        "the full login took",
        "reason=\"wrong password\"",
        "reason=\"unknown user\"",
        "is not trusted",
        "one bit flipped",
        "All as it should be",
    ] {
        assert!(said.out.contains(part), "{part:?} is missing in {}", said.out);
    }
    assert_eq!(said.err, "");
    assert!(said.out.lines().all(|line| line.chars().count() <= 80), "{}", said.out);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn each_way_to_trust_has_a_demo_that_goes_as_it_should_and_cleans_up() {
    let ways = [
        ("known-hosts", "HAS CHANGED"),
        ("manifest", "an older manifest, number 1"),
        ("client-key", "reason=\"unknown key\""),
        ("totp", "was used before"),
        ("stretch", "it logs nobody in"),
    ];
    let certificates = ("x509", "and not for db.example");
    for (way, part) in ways.into_iter().chain(cfg!(feature = "x509").then_some(certificates)) {
        let folder = tempfile::tempdir().unwrap();
        let output = support::command(&["demo", "--trust", way]).env("TMPDIR", folder.path()).output().unwrap();
        let said = support::Said::from(output).ok();
        // Wherever a line ends.
        let text = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [part, "event=login-accepted user=\"alice\"", "The eavesdropper's catch", "All as it should be"] {
            assert!(text.contains(part), "{part:?} is missing in {}", said.out);
        }
        assert_eq!(said.err, "");
        // The names of files may be longer.
        let fits = |line: &str| line.chars().count() <= 80 || !line.trim().contains(' ');
        assert!(said.out.lines().all(fits), "{}", said.out);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{way}");
    }
    run(&["demo", "--trust", "everybody"], "").fails(2, &["everybody", "known-hosts"]);
}

/// But for what can't be broken, such as a fingerprint, and for the usage and the names of options, which `clap` leaves as they
/// are.
fn fits(text: &str, width: usize) {
    let is_usage = |line: &str| line.starts_with("Usage: ") || line.starts_with("       countersign ");
    let is_ours = |line: &&str| !is_usage(line) && !line.trim_start().starts_with('-');
    for line in text.lines().filter(is_ours) {
        let is_word = line.split_whitespace().count() <= 1;
        assert!(line.chars().count() <= width || is_word, "{} of {width} columns: {line}", line.chars().count());
    }
}

#[test]
fn what_is_wide_fits_a_terminal_of_80_columns_and_of_40() {
    let house = support::House::new();
    let hello = house.path("hello");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = vec![0; 4096];
        let len = std::io::Read::read(&mut stream, &mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    });
    let who = ["login", "--server", &address, "--user", "alice", "--password-stdin", "--pin", &house.pin()];
    run(&who, "secret\n").fails(4, &[]);
    std::fs::write(&hello, reader.join().unwrap()).unwrap();
    let bench = ["bench", "--quick", "--no-load", "--bits", "2048"];
    for width in [80, 40] {
        for args in
            [&["demo"][..], &["inspect", &hello], &bench, &["serve", "--help"], &["login", "--help"], &["--help"]]
        {
            let output = support::command(args).env("COLUMNS", width.to_string()).output().unwrap();
            fits(&support::Said::from(output).ok().out, width);
        }
    }
}
