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
        "serve",
        "login",
        "connect",
        "demo",
        "bench",
        "inspect",
    ];
    for command in commands {
        let args: Vec<&str> = command.split_ascii_whitespace().chain(["--help"]).collect();
        let said = run(&args, "").ok();
        assert!(said.out.contains("Usage: countersign"), "{said:?}");
        assert!(said.out.contains("  countersign "), "no example in the help of {command:?}: {}", said.out);
        assert!(said.out.lines().all(|line| line.chars().count() <= 100), "{}", said.out);
    }
    assert_eq!(run(&["--version"], "").ok().out, format!("countersign {}\n", env!("CARGO_PKG_VERSION")));
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
    assert!(said.out.lines().all(|line| line.chars().count() <= 100), "{}", said.out);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
