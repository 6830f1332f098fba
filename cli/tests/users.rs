//! `user`: the accounts of a users file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::{House, Said, run};

fn user(house: &House, args: &[&str], stdin: &str) -> Said {
    run(&[&["user"], args, &["--users", &house.path("users.txt")]].concat(), stdin)
}

#[test]
fn a_life_of_an_account() {
    let house = House::empty();
    let said = user(&house, &["add", "alice", "--permission", "read", "--password-stdin"], "first\n").ok();
    assert!(said.err.contains("no such file yet") && said.err.contains("added alice"), "{said:?}");
    assert_eq!(house.mode("users.txt"), 0o600);
    assert!(!house.read("users.txt").contains("first"));

    let said = user(&house, &["add", "robot", "--no-password"], "").ok();
    assert!(!said.err.contains("no such file"), "{said:?}");
    let said = user(&house, &["token", "robot"], "").ok();
    let token = said.out.trim_end();
    assert!(token.starts_with("cst_") && said.out.lines().count() == 1, "{said:?}");
    assert!(said.err.contains("will not be shown again"));
    assert!(!house.read("users.txt").contains(token));

    let list = |house: &House| -> Vec<Vec<String>> {
        let said = user(house, &["list"], "").ok();
        said.out.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    assert_eq!(list(&house), [["alice", "read", "yes", "0"], ["robot", "-", "no", "1"]]);

    let before = house.read("users.txt");
    user(&house, &["passwd", "alice", "--password-stdin"], "second\r\n").ok();
    assert_ne!(before, house.read("users.txt"));
    let said = user(&house, &["revoke", "robot"], "").ok();
    assert!(said.err.contains("revoked 1 token of robot"));
    user(&house, &["remove", "alice"], "").ok();
    assert_eq!(list(&house), [["robot", "-", "no", "0"]]);
}

#[test]
fn broken_lines_and_comments_are_reported_and_kept() {
    let house = House::empty();
    let text = "# our people\nalice permissions=read\n\nbob nonsense\ncarol password=plain\n";
    house.write("users.txt", text.as_bytes(), 0o600);
    let warns = |said: Said| {
        let said = said.ok();
        assert!(said.err.contains("line 4: ") && said.err.contains("line 5: "), "{said:?}");
    };
    warns(user(&house, &["list"], ""));
    warns(user(&house, &["passwd", "alice", "--password-stdin"], "secret\n"));
    warns(user(&house, &["add", "dora", "--no-password"], ""));
    warns(user(&house, &["token", "dora"], ""));
    warns(user(&house, &["revoke", "dora"], ""));
    warns(user(&house, &["remove", "dora"], ""));
    warns(user(&house, &["remove", "alice"], ""));
    assert_eq!(house.read("users.txt"), "# our people\n\nbob nonsense\ncarol password=plain\n");
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let house = House::new();
    let before = house.read("users.txt");
    user(&house, &["add", "alice", "--password-stdin"], "x\n").fails(1, &["alice exists", "user passwd"]);
    user(&house, &["passwd", "bob", "--password-stdin"], "x\n").fails(1, &["no user bob", "user list"]);
    for change in ["remove", "token", "revoke"] {
        user(&house, &[change, "bob"], "").fails(1, &["no user bob"]);
    }
    user(&house, &["add", "b c", "--password-stdin"], "x\n").fails(1, &["not a user name"]);
    user(&house, &["add", "#b", "--password-stdin"], "x\n").fails(1, &["not a user name"]);
    user(&house, &["add", "b\nmallory", "--password-stdin"], "x\n").fails(1, &["not a user name"]);
    user(&house, &["add", "b", "--permission", "a b", "--password-stdin"], "x\n").fails(1, &["permission"]);
    user(&house, &["passwd", "alice", "--password-stdin"], "").fails(2, &["empty"]);
    user(&house, &["passwd", "alice", "--password-stdin"], "\n").fails(2, &["empty"]);
    user(&house, &["passwd", "alice", "--password-stdin"], &"x".repeat(4097)).fails(2, &["4096"]);
    user(&house, &["add"], "").fails(2, &["NAME"]);
    assert_eq!(house.read("users.txt"), before);
    user(&house, &["passwd", "alice", "--password-stdin"], &"x".repeat(4096)).ok();
}

#[test]
fn odd_names_are_shown_for_what_they_are() {
    let house = House::empty();
    let users = house.path("users.txt");
    for name in ["-x", "al\u{202e}ice", "bob\u{200b}", "o'brien"] {
        let said = run(&["user", "add", "--no-password", "--users", &users, "--", name], "").ok();
        let dashes = if name == "-x" { "-- " } else { "" };
        assert!(
            said.err.contains(&format!("next: countersign user token --users {users} {dashes}{name}\n")),
            "{said:?}"
        );
    }
    run(&["user", "token", "--users", &users, "--", "-x"], "").ok();
    let list = user(&house, &["list"], "").ok().out;
    let names: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["-x", r"al\u{202e}ice", r"bob\u{200b}", "o'brien"]);
}

#[test]
fn a_missing_file_is_made_by_add_alone() {
    let house = House::empty();
    for change in ["passwd", "remove", "token", "revoke"] {
        user(&house, &[change, "alice"], "x\n").fails(1, &["users.txt", "countersign user add"]);
    }
    user(&house, &["list"], "").fails(1, &["users.txt", "countersign user add"]);
    user(&house, &["add", "b c", "--password-stdin"], "x\n").fails(1, &[]);
    user(&house, &["add", "alice", "--password-stdin"], "").fails(2, &[]);
    assert_eq!(std::fs::read_dir(house.folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_everyone_can_read_is_refused() {
    let house = House::empty();
    house.write("users.txt", b"", 0o644);
    for args in [&["list"][..], &["add", "alice", "--no-password"], &["remove", "alice"]] {
        user(&house, args, "").fails(1, &["0644", "chmod 600"]);
    }
}
