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
    let said = user(&house, &["add", "alice", "--permission", "read", "--password-stdin"], "first password\n").ok();
    assert!(said.err.contains("no such file yet") && said.err.contains("added alice"), "{said:?}");
    assert_eq!(house.mode("users.txt"), 0o600);
    assert!(!house.read("users.txt").contains("first password"));

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
    assert_eq!(
        list(&house),
        [["alice", "read", "yes", "0", "0", "no", "open"], ["robot", "-", "no", "0", "1", "no", "open"]]
    );

    let before = house.read("users.txt");
    user(&house, &["passwd", "alice", "--password-stdin"], "second password\r\n").ok();
    assert_ne!(before, house.read("users.txt"));
    let said = user(&house, &["revoke-tokens", "robot"], "").ok();
    assert!(said.err.contains("revoked 1 token of robot"));
    user(&house, &["remove", "alice"], "").ok();
    assert_eq!(list(&house), [["robot", "-", "no", "0", "0", "no", "open"]]);
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
    warns(user(&house, &["passwd", "alice", "--password-stdin"], "secret of alice\n"));
    warns(user(&house, &["add", "dora", "--no-password"], ""));
    warns(user(&house, &["token", "dora"], ""));
    warns(user(&house, &["revoke-tokens", "dora"], ""));
    warns(user(&house, &["remove", "dora"], ""));
    warns(user(&house, &["remove", "alice"], ""));
    assert_eq!(house.read("users.txt"), "# our people\n\nbob nonsense\ncarol password=plain\n");
}

#[test]
fn of_many_lines_that_can_t_be_read_some_are_named_and_the_others_counted() {
    let house = House::empty();
    house.write("users.txt", "bob nonsense\n".repeat(30).as_bytes(), 0o600);
    let said =
        user(&house, &["check"], "").fails(1, &["line 20: ", "10 lines more can't be read", "30 lines can't be read"]);
    assert!(!said.err.contains("line 21: "), "{said:?}");
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let house = House::new();
    let before = house.read("users.txt");
    user(&house, &["add", "alice", "--password-stdin"], "x\n").fails(1, &["alice exists", "user passwd"]);
    user(&house, &["passwd", "bob", "--password-stdin"], "x\n").fails(1, &["no user bob", "user list"]);
    for change in ["remove", "token", "revoke-tokens", "lock", "unlock", "show"] {
        user(&house, &[change, "bob"], "").fails(1, &["no user bob"]);
    }
    user(&house, &["add", "b c", "--password-stdin"], "x\n").fails(1, &["not a user name"]);
    for name in ["#b", "@b"] {
        user(&house, &["add", name, "--password-stdin"], "x\n").fails(1, &["not a user name"]);
    }
    user(&house, &["add", "b\nmallory", "--password-stdin"], "x\n").fails(1, &["not a user name"]);
    user(&house, &["add", "b", "--permission", "a b", "--password-stdin"], "x\n").fails(1, &["permission"]);
    user(&house, &["passwd", "alice", "--password-stdin"], "").fails(2, &["empty"]);
    user(&house, &["passwd", "alice", "--password-stdin"], "\n").fails(2, &["empty"]);
    user(&house, &["passwd", "alice", "--password-stdin"], &"x".repeat(4097)).fails(2, &["4096"]);
    for weak in ["seven77", "ALICE", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"] {
        user(&house, &["passwd", "alice", "--password-stdin"], weak).fails(2, &["at least 8", "--allow-weak-password"]);
    }
    user(&house, &["add"], "").fails(2, &["NAME"]);
    user(&house, &["revoke", "alice"], "").fails(2, &["PERMISSION"]);
    user(&house, &["grant", "alice", "admin", "a,b"], "").fails(1, &["permission"]);
    user(&house, &["expire", "alice", "tomorrow"], "").fails(2, &["2027-01-31"]);
    assert_eq!(house.read("users.txt"), before);
    user(&house, &["passwd", "alice", "--password-stdin"], &"x".repeat(4096)).ok();
    user(&house, &["passwd", "alice", "--password-stdin", "--allow-weak-password"], "x\n").ok();
}

#[test]
fn odd_names_are_quoted_in_advice_and_misleading_ones_refused() {
    let house = House::empty();
    let users = house.path("my users.txt");
    for (name, word) in [("-x", "-- -x"), ("o'brien", "\"o'brien\""), ("$HOME", "'$HOME'")] {
        let said = run(&["user", "add", "--no-password", "--users", &users, "--", name], "").ok();
        let next = format!("next: countersign user token --users '{users}' {word}\n");
        assert!(said.err.contains(&next), "{said:?}");
    }
    run(&["user", "token", "--users", &users, "--", "-x"], "").ok();
    for name in ["al\u{202e}ice", "bob\u{200b}", "\u{feff}bob", "a:b"] {
        // No password is read: there is none.
        let said =
            run(&["user", "add", name, "--password-stdin", "--users", &users], "").fails(1, &["not a user name"]);
        assert!(!said.err.contains('\u{202e}') && !said.err.contains('\u{200b}'), "{said:?}");
        let said = run(&["user", "remove", name, "--users", &users], "").fails(1, &["no user"]);
        assert!(!said.err.contains('\u{202e}') && !said.err.contains('\u{200b}'), "{said:?}");
    }
    let list = run(&["user", "list", "--users", &users], "").ok().out;
    let names: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["-x", "o'brien", "$HOME"]);
}

#[test]
fn a_missing_file_is_made_by_add_alone() {
    let house = House::empty();
    for change in ["passwd", "remove", "token", "revoke-tokens", "lock", "unlock", "show"] {
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

/// What `jq` would read.
fn json(said: Said) -> serde_json::Value {
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn permissions_locks_and_expiry_are_changed_and_shown() {
    let house = House::new();
    let show = || json(user(&house, &["show", "alice", "--json"], "").ok());
    user(&house, &["grant", "alice", "admin", "read"], "").ok().err.contains("granted 1 new permission to alice");
    assert_eq!(show()["permissions"], serde_json::json!(["read", "write", "admin"]));
    user(&house, &["revoke", "alice", "write", "never-had"], "").ok().err.contains("revoked 1 permission of alice");
    assert_eq!(show()["permissions"], serde_json::json!(["read", "admin"]));

    user(&house, &["lock", "alice"], "").ok();
    assert!(user(&house, &["lock", "alice"], "").ok().err.contains("locked already"));
    assert_eq!((&show()["locked"], &show()["can_log_in"]), (&true.into(), &false.into()));
    assert!(user(&house, &["list"], "").ok().out.contains("locked"));
    user(&house, &["unlock", "alice"], "").ok();
    assert_eq!((&show()["locked"], &show()["can_log_in"]), (&false.into(), &true.into()));

    user(&house, &["expire", "alice", "2001-02-03"], "").ok();
    assert_eq!((&show()["expires"], &show()["expired"]), (&"2001-02-03T00:00:00Z".into(), &true.into()));
    assert_eq!(show()["can_log_in"], serde_json::json!(false));
    assert!(user(&house, &["list"], "").ok().out.contains("expired 2001-02-03T00:00:00Z"));
    user(&house, &["expire", "alice", "never"], "").ok();
    assert_eq!(show()["expires"], serde_json::Value::Null);
    let said = user(&house, &["add", "guest", "--expires", "30days", "--password-stdin"], "secret of guest\n").ok();
    assert!(!said.err.contains("warning"), "{said:?}");
    assert!(user(&house, &["list"], "").ok().out.contains("until 20"));
    let said = user(&house, &["add", "late", "--expires", "2001-02-03", "--no-password"], "").ok();
    assert!(said.err.contains("warning: that date is over"), "{said:?}");
    let said = user(&house, &["show", "alice"], "").ok();
    assert!(said.out.contains("permissions  read, admin") && !said.out.contains("$argon2"), "{said:?}");
}

#[test]
fn a_locked_or_expired_user_is_refused_like_any_other_and_the_log_says_why() {
    let house = House::new();
    let mut server = house.serve(&["--refusal-floor", "1ms"]);
    for (how, undo, code) in [
        (&["lock", "alice"][..], &["unlock", "alice"][..], "account-locked"),
        (&["expire", "alice", "2001-02-03"], &["expire", "alice", "never"], "account-expired"),
    ] {
        user(&house, how, "").ok();
        let locked = server.login(&house, "alice", "secret of alice", &[]).fails(1, &["refused"]);
        server.wait_for(&["event=login-refused", "user=\"alice\"", &format!("code={code}")]);
        let wrong = server.login(&house, "alice", "not her secret", &[]).fails(1, &["refused"]);
        server.wait_for(&["event=login-refused", "user=\"alice\"", "code=wrong-password"]);
        assert_eq!(locked.err, wrong.err);
        user(&house, undo, "").ok();
        server.login(&house, "alice", "secret of alice", &[]).ok();
    }
}

#[test]
fn broken_lines_are_named_for_scripts_and_no_hash_is_shown() {
    let house = House::new();
    user(&house, &["check"], "").ok();
    let hash = house.read("users.txt").split("password=").nth(1).unwrap().trim().to_owned();
    let text = format!(
        "{}bob:$2y$05$In4fFqrowow7BOlwcBiR/OvYIlrS61EJTQAnBxYNTdSXDhleu/AMu\ncarol password={}\nalice permissions=admin\ndora",
        house.read("users.txt"),
        hash.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+/".contains(c)),
    );
    house.write("users.txt", text.as_bytes(), 0o600);
    let named =
        ["line 2: ", "htpasswd", "line 3: ", "cut short", "line 4: ", "earlier line, line 1", "line 5: ", "line feed"];
    for args in [&["list"][..], &["check"], &["list", "--json"]] {
        let said = user(&house, args, "").fails(1, &named);
        for text in [&said.out, &said.err] {
            assert!(!text.contains("$argon2") && !text.contains("$2y") && !text.contains(&hash[40..60]), "{text}");
        }
    }
    let said = json(user(&house, &["list", "--json"], ""));
    let broken = said["broken_lines"].as_array().unwrap();
    let codes: Vec<&str> = broken.iter().map(|line| line["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["other-file", "password-hash-cut", "duplicate-name", "line-unended"]);
    assert_eq!(said["accounts"].as_array().unwrap().len(), 1);
    user(&house, &["add", "bob", "--no-password"], "").fails(1, &["line 2", "countersign user remove"]);
    user(&house, &["remove", "bob"], "").ok();
    user(&house, &["remove", "carol"], "").ok();
    user(&house, &["remove", "dora"], "").ok();
    // The duplicate goes with its name.
    user(&house, &["list"], "").fails(1, &["line 2: "]);
    user(&house, &["remove", "alice"], "").ok();
    assert_eq!(house.read("users.txt"), "");
}

#[test]
fn what_is_no_file_is_called_what_it_is_and_nothing_waits_for_it() {
    let house = House::empty();
    let folder = house.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let pipe = house.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, what) in [(folder.as_str(), "a directory"), (&pipe, "a pipe"), ("/dev/null", "a device")] {
        for args in [&["list"][..], &["add", "alice", "--no-password"], &["remove", "alice"]] {
            let said = run(&[&["user"], args, &["--users", path]].concat(), "").fails(1, &[what]);
            assert!(!said.err.contains("chmod"), "{said:?}");
        }
    }
    let missing = house.path("no such/users.txt");
    let said = run(&["user", "add", "alice", "--password-stdin", "--users", &missing], "").fails(1, &["mkdir -p '"]);
    assert!(!said.err.contains("user add"), "{said:?}");
    std::os::unix::fs::symlink("nowhere", house.path("link")).unwrap();
    for args in [&["add", "alice", "--no-password"][..], &["list"]] {
        let said = run(&[&["user"], args, &["--users", &house.path("link")]].concat(), "")
            .fails(1, &["a link to a file that is"]);
        assert!(!said.err.contains("make it with"), "{said:?}");
    }
}

/// As people do both at once: `sed -i` while the command asks, hashes and writes.
#[test]
fn neither_an_edit_by_hand_nor_a_command_is_lost_when_they_overlap() {
    const EDITS: usize = 20;
    let house = House::new();
    let users = house.path("users.txt");
    for number in 0..EDITS {
        let name = format!("user-{number}");
        let add = ["user", "add", &name, "--users", &users, "--password-stdin"];
        let mut child = support::command(&add).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"secret of many\n").unwrap();
        // At another moment each time: a command takes about as long as twenty of these.
        let sed = |text: &str| {
            let said = std::process::Command::new("sed").args(["-i", text, &users]).status().unwrap();
            assert!(said.success());
        };
        (0..number).for_each(|more| sed(&format!("1i # look {number} {more}")));
        sed(&format!("1i # edit {number}"));
        let said = Said::from(child.wait_with_output().unwrap()).ok();
        assert!(said.err.contains(&format!("added {name}")), "{said:?}");
        let text = house.read("users.txt");
        let has = |line: &str| text.lines().any(|there| there.starts_with(line));
        assert!(has(&format!("# edit {number}")) && has(&format!("{name} ")), "{text}");
        assert!((0..number).all(|more| has(&format!("# look {number} {more}"))), "{text}");
    }
    assert_eq!(user(&house, &["list", "--json"], "").ok().out.matches("\"name\"").count(), EDITS + 1);
}

#[test]
fn a_command_that_is_killed_leaves_a_whole_file_and_nothing_beside_it_for_long() {
    let house = House::new();
    let users = house.path("users.txt");
    let beside = || {
        std::fs::read_dir(house.folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".tmp"))
            .count()
    };
    let mut seen = 0;
    for number in 0..10 {
        let add = ["user", "add", &format!("user-{number}"), "--users", &users, "--no-password"];
        let mut child = support::command(&add).spawn().unwrap();
        // Until it has begun to write, or is done.
        while beside() == 0 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        seen += beside();
        user(&house, &["check"], "").ok();
        assert_eq!(beside(), 0, "the next command takes it away");
        user(&house, &["show", "alice"], "").ok();
    }
    assert!(seen > 0, "at least one was killed while it wrote");
}

/// What `user` says over such a file system.
fn failing(house: &House, fails: &str, errno: &str, args: &[&str]) -> Option<Said> {
    let users = house.path("users.txt");
    let args = [&["user"], args, &["--users", &users]].concat();
    Some(support::finish(&mut support::over_failing(house, fails, errno, &args)?, ""))
}

#[test]
fn a_folder_that_cannot_be_synced_makes_no_lie() {
    let house = House::new();
    // A file system that has no such thing: the change is made.
    let Some(said) = failing(&house, "dirsync", "EINVAL", &["token", "alice"]) else { return };
    assert!(said.ok().out.starts_with("cst_"));
    assert!(user(&house, &["show", "alice"], "").ok().out.contains("tokens       1"));
    // A disk that is broken, for the folder or for the file: it is not, and that is said.
    let before = house.read("users.txt");
    for (fails, says) in [("dirsync", "was undone"), ("filesync", "users.txt: the operating system refused")] {
        for args in [&["token", "alice"][..], &["lock", "alice"], &["add", "bob", "--no-password"]] {
            let said = failing(&house, fails, "EIO", args).unwrap().fails(1, &[says]);
            assert_eq!(said.out, "");
            assert_eq!(house.read("users.txt"), before);
        }
    }
}

/// As `docker run -v ./users.txt:/users.txt` has it.
#[test]
fn a_file_that_is_mounted_by_itself_is_read_and_says_what_to_do() {
    let house = House::new();
    let (users, source) = (house.path("users.txt"), house.write("source", b"alice\n", 0o600));
    let script = format!(
        "mount --bind '{source}' '{users}' || exit 77; '{command}' user list --users '{users}' && \
         '{command}' user add bob --no-password --users '{users}'",
        command = env!("CARGO_BIN_EXE_countersign")
    );
    let run = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output();
    let output = run.ok().filter(|output| !matches!(output.status.code(), Some(77) | None));
    let Some(said) = output.map(Said::from).filter(|said| !said.err.starts_with("unshare")) else {
        support::left_out("mounts", "nothing can be mounted here");
        return;
    };
    let said = said.fails(1, &["mount point", "mount the folder"]);
    assert!(said.out.contains("alice"), "{said:?}");
    assert_eq!(house.read("source"), "alice\n");
    assert_eq!(std::fs::read_dir(house.folder.path()).unwrap().count(), 4, "nothing is left beside it");
}
