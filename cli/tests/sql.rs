//! Accounts in SQLite, by the command: the same life as in a users file, and whatever happens to a database on one machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg(feature = "sql")]

mod support;

use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use support::databases::{json, kill_whoever_adds_users, serve, serving, sqlite, user};
use support::{House, Server, command, finish, run};

#[test]
fn accounts_and_roles_live_the_same_life_in_a_file_and_in_a_database() {
    let house = House::empty();
    let key = house.write(
        "id.pub",
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4 a laptop\n",
        0o644,
    );
    let places = [house.path("users.txt"), sqlite(&house)];
    let ends = places.each_ref().map(|users| {
        let say = |args: &[&str], stdin: &str| user(users, args, stdin).ok();
        let role = |args: &[&str]| run(&[&["role"], args, &["--users", users]].concat(), "");
        let add =
            ["add", "alice", "--permission", "read", "--expires", "2040-01-31", "--password-stdin", "--key", &key];
        assert!(say(&add, "secret of alice\n").err.contains("making it"));
        user(users, &["add", "alice", "--no-password"], "").fails(1, &["exists already", "user passwd"]);
        user(users, &["add", "erin", "--no-password", "--role", "clerk"], "").fails(1, &["no role clerk", "role add"]);
        role(&["add", "clerk", "--permission", "orders:read"]).ok();
        role(&["add", "clerk"]).fails(1, &["exists already", "role grant clerk"]);
        say(&["add", "erin", "--no-password", "--role", "clerk"], "");
        say(&["add", "robot", "--no-password"], "");
        assert!(say(&["token", "robot"], "").out.starts_with("cst_"));
        say(
            &[
                "passwd",
                "alice",
                "--password-stdin",
                "--stretch-realm",
                "db.example",
                "--stretch-parameters",
                "m=65536,t=1,p=4",
            ],
            "another secret\n",
        );
        assert!(say(&["grant", "alice", "write", "admin"], "").err.contains("granted 2 new permissions"));
        assert!(say(&["revoke", "alice", "admin"], "").err.contains("revoked 1 permission"));
        say(&["from", "alice", "192.0.2.0/24,!192.0.2.7"], "");
        say(&["role", "add", "alice", "clerk"], "");
        role(&["grant", "clerk", "orders:write"]).ok();
        role(&["remove", "clerk"]).fails(1, &["has the role clerk", "user role remove"]);
        role(&["grant", "nobody", "x"]).fails(1, &["no role nobody", "role list"]);
        assert_eq!(say(&["totp", "erin", "--no-confirm"], "").out.lines().count(), 11);
        say(&["lock", "robot"], "");
        say(&["unlock", "robot"], "");
        say(&["lock", "robot"], "");
        say(&["expire", "erin", "2041-02-03"], "");
        user(users, &["grant", "nobody", "x"], "").fails(1, &["no user nobody", "user list"]);
        assert_eq!(json(&say(&["key", "list", "alice", "--json"], "")).as_array().unwrap().len(), 1);
        say(&["add", "gone", "--no-password"], "");
        say(&["remove", "gone"], "");
        user(users, &["remove", "gone"], "").fails(1, &["no user gone"]);
        assert!(say(&["check"], "").out.contains("3 accounts, and every"));
        let roles = json(&role(&["list", "--json"]).ok());
        let mut list = json(&say(&["list", "--json"], ""));
        let table = say(&["list"], "").out;
        assert_eq!(table.lines().count(), 4);
        (list["accounts"].take(), roles, table)
    });
    assert_eq!(ends[0], ends[1]);
    assert_eq!(house.mode("accounts.db"), 0o600);
}

/// A server over SQLite, and alice in it.
fn served(house: &House, more: &[&str]) -> Server {
    let users = sqlite(house);
    if !std::path::Path::new(&house.path("accounts.db")).exists() {
        user(&users, &["add", "alice", "--permission", "read", "--password-stdin"], "secret of alice\n").ok();
    }
    serve(house, &users, more)
}

#[test]
fn a_running_server_lets_in_who_is_in_the_database_now() {
    let house = House::empty();
    let mut server = served(&house, &["--recheck", "1s"]);
    let users = sqlite(&house);
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    server.login(&house, "bob", "secret of bob", &["--send", "whoami"]).fails(1, &[]);
    user(&users, &["add", "bob", "--password-stdin"], "secret of bob\n").ok();
    run(&["role", "add", "clerk", "--permission", "orders:read", "--users", &users], "").ok();
    user(&users, &["role", "add", "bob", "clerk"], "").ok();
    assert!(server.login(&house, "bob", "secret of bob", &["--send", "whoami"]).ok().out.contains("orders:read"));
    user(&users, &["lock", "bob"], "").ok();
    server.login(&house, "bob", "secret of bob", &["--send", "whoami"]).fails(1, &[]);
    server.wait_for(&["login-refused", "account-locked"]);
}

#[test]
fn without_users_the_accounts_are_in_sqlite_in_the_state_directory() {
    let house = House::empty();
    let key = house.key("rsa2048.pem", "server.pem");
    let at_home = |args: &[&str]| {
        let mut command = command(args);
        command.env("XDG_STATE_HOME", house.path("state"));
        command
    };
    let mut server = Server::of(at_home(&["serve", "--listen", "127.0.0.1:0", "--key", &key]));
    let started = server.seen.join("\n");
    let file = house.path("state/countersign/accounts.db");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{started}");
    finish(&mut at_home(&["user", "add", "alice", "--password-stdin"]), "secret of alice\n").ok();
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    server.wait_for(&["started", "accounts.db"]);
    let (_, said) = server.stop("-TERM");
    assert!(said.contains("made it; there are no accounts yet"), "{said}");
    // Nobody knows where, then.
    run(&["serve", "--listen", "127.0.0.1:0", "--key", &key], "").fails(2, &["--users"]);
}

#[test]
fn what_is_named_and_not_there_is_not_made_by_a_server() {
    let house = House::empty();
    let key = house.key("rsa2048.pem", "server.pem");
    let users = sqlite(&house);
    let serve = |users: &str| run(&["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", users], "");
    serve(&users).fails(1, &["no such file", "countersign user add NAME"]);
    house.write("accounts.db", b"", 0o600);
    serve(&users).fails(1, &["no tables", "countersign db migrate --users sqlite:"]);
    user(&users, &["list"], "").fails(1, &["no tables", "countersign db migrate"]);
    run(&["db", "status", "--users", &users], "").fails(1, &["no tables", "countersign db migrate"]);
    run(&["db", "migrate", "--users", &users], "").ok();
    assert!(run(&["db", "status", "--users", &users], "").ok().out.contains("as this program needs them"));
    assert!(run(&["db", "migrate", "--users", &users], "").ok().err.contains("nothing to do"));
    run(&["db", "migrate", "--users", &house.path("users.txt")], "").fails(2, &["a users file has no tables"]);
    house.write("accounts.db", b"not a database, though it is as long as one, or so it seems at least", 0o600);
    serve(&users).fails(1, &["accounts.db", "refuses"]);
    for kind in ["mysql://u:hunter22@h/d", "postgres://u:hunter22@:nonsense", "sqlite:", ""] {
        let said = serve(kind).fails(2, &["--users"]);
        assert!(!format!("{said:?}").contains("hunter22"), "{said:?}");
    }
}

#[test]
fn a_password_in_an_address_is_told_to_nobody() {
    let house = House::empty();
    let key = house.key("rsa2048.pem", "server.pem");
    // Nobody listens there.
    let users = "postgres://app:hunter22@127.0.0.1:1/accounts?sslmode=disable&password=hunter23";
    let file = house.write(
        "serve.toml",
        format!("listen = \"127.0.0.1:0\"\nkey = \"{key}\"\nusers = \"{users}\"\n").as_bytes(),
        0o600,
    );
    let bad = house.write("bad.toml", format!("users = \"{users}\"\nkez = 1\n").as_bytes(), 0o600);
    for (args, part) in [
        (&["user", "list", "--users", users][..], "postgres://app@127.0.0.1:1/accounts?sslmode=disable"),
        // And why, which a pool of connections does not say.
        (&["user", "list", "--users", users], "onnection refused"),
        (&["user", "add", "alice", "--no-password", "--users", users], "can't be reached"),
        (&["role", "list", "--users", users], "can't be reached"),
        (&["db", "status", "--users", users], "can't be reached"),
        (&["db", "migrate", "--users", users], "can't be reached"),
        (&["check-config", &file], "can't be reached"),
        (&["check-config", &file, "--print"], "postgres://app@127.0.0.1:1/accounts?sslmode=disable"),
        (&["check-config", &bad], "kez"),
        (&["user", "list", "--users", users, "--nonsense"], "--nonsense"),
    ] {
        let said = run(args, "");
        let all = format!("{}{}", said.out, said.err);
        assert!(all.contains(part) && !all.contains("hunter22") && !all.contains("hunter23"), "{args:?}: {said:?}");
    }
}

#[test]
fn an_address_of_which_something_would_not_count_is_refused_with_what_helps() {
    let house = House::empty();
    let (key, gone) = (house.key("rsa2048.pem", "server.pem"), house.path("gone.pem"));
    let escapes = &["%23 %2F %3F %40 %3A", "--users-password-file"][..];
    for (address, parts) in [
        ("postgres://app:1#hunter22@db.example/accounts", escapes),
        ("postgres://app:1/hunter22@db.example/accounts", escapes),
        ("postgres://app@db.example/accounts?sslMode=verify-full", &["sslMode", "sslmode"]),
        ("postgres://app@db.example/accounts?sslmode=full", &["sslmode", "verify-full"]),
        ("postgres:/nonsense", &["not a database", "or a users file"]),
    ] {
        let said = run(&["user", "list", "--users", address], "").fails(2, parts);
        assert!(!format!("{}{}", said.out, said.err).contains("hunter22"), "{said:?}");
        run(&["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", address], "").fails(2, parts);
    }
    let place = "postgres://app@db.example/accounts";
    let mut list = command(&["user", "list", "--users", place]);
    finish(list.env("PGSSLMODE", "verify_full"), "").fails(2, &["PGSSLMODE", "verify-full"]);
    // A server does not start without it.
    let place = format!("{place}?sslmode=verify-full&sslrootcert={gone}");
    run(&["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &place], "").fails(1, &[&gone, "No such file"]);
}

/// Whatever a command does, and however it ends: a copy of the file has it all.
#[test]
fn after_each_command_and_each_server_nothing_is_left_beside_a_file_of_sqlites() {
    let house = House::empty();
    let (users, key) = (sqlite(&house), house.key("rsa2048.pem", "server.pem"));
    let config = format!("listen = \"127.0.0.1:0\"\nkey = \"{key}\"\nusers = \"{users}\"\n");
    let config = house.write("serve.toml", config.as_bytes(), 0o600);
    let hash = "$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG";
    let records = house.write("records", format!("dora:{hash}\nerin:{hash}\n").as_bytes(), 0o600);
    let alone = |after: &str| {
        let beside = ["-wal", "-shm"].map(|end| house.path(&format!("accounts.db{end}")));
        assert!(beside.iter().all(|path| !std::path::Path::new(path).exists()), "after {after}");
    };
    for (status, args) in [
        (0, &["user", "add", "alice", "--password-stdin"][..]),
        (1, &["user", "add", "alice", "--password-stdin"]),
        (0, &["user", "import", &records]),
        (0, &["user", "list"]),
        (0, &["user", "list", "--json"]),
        (0, &["user", "show", "alice"]),
        (0, &["user", "check"]),
        (0, &["user", "lock", "dora"]),
        (1, &["user", "lock", "nobody"]),
        (0, &["user", "remove", "erin"]),
        (0, &["user", "token", "dora"]),
        (0, &["role", "add", "clerk", "--permission", "read"]),
        (0, &["role", "list"]),
        (1, &["role", "remove", "nobody"]),
        (0, &["db", "migrate"]),
        (0, &["db", "status"]),
    ] {
        let said = run(&[args, &["--users", &users]].concat(), "secret of alice\n");
        assert_eq!(said.status, status, "{args:?}: {said:?}");
        alone(&args.join(" "));
    }
    run(&["check-config", &config], "").ok();
    alone("check-config");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    run(&["serve", "--listen", &address, "--key", &key, "--users", &users], "").fails(1, &["--listen"]);
    alone("a start that failed");
    let mut server = served(&house, &[]);
    server.login(&house, "alice", "secret of alice", &["--send", "whoami"]).ok();
    user(&users, &["lock", "alice"], "").ok();
    assert_eq!(server.stop("-TERM").0, 0);
    alone("a server");
    fs::copy(house.path("accounts.db"), house.path("copy.db")).unwrap();
    let copy = format!("sqlite:{}", house.path("copy.db"));
    let copied = json(&user(&copy, &["list", "--json"], "").ok());
    let locked: Vec<_> = copied["accounts"].as_array().unwrap().iter().map(|account| &account["locked"]).collect();
    assert_eq!(locked, [true, true]);
}

#[test]
fn a_database_is_given_the_password_in_the_file() {
    let house = House::empty();
    let file = house.write("password", b"hunter24\nsomething else\n", 0o600);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let users = format!("postgres://app:hunter22@{}/accounts?sslmode=disable", listener.local_addr().unwrap());
    // As much of a PostgreSQL as asks for a password: an AuthenticationCleartextPassword behind the StartupMessage.
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        support::bounded(&stream);
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4]).unwrap();
        stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[0], b'p');
        let mut password = vec![0; u32::from_be_bytes(*answer.last_chunk().unwrap()) as usize - 4];
        stream.read_exact(&mut password).unwrap();
        String::from_utf8(password).unwrap()
    });
    let said = run(&["user", "list", "--users", &users, "--users-password-file", &file], "").fails(1, &[]);
    assert_eq!(asked.join().unwrap(), "hunter24\0");
    assert!(!said.err.contains("hunter"), "{said:?}");
    for place in [house.path("users.txt"), format!("sqlite:{}", house.path("accounts.db"))] {
        run(&["user", "list", "--users", &place, "--users-password-file", &file], "").fails(2, &["has no password"]);
    }
    let exposed = house.write("exposed", b"hunter24\n", 0o644);
    run(&["user", "list", "--users", &users, "--users-password-file", &exposed], "").fails(1, &["0644"]);
}

#[test]
fn a_stored_password_is_hashed_anew_at_a_login_unless_that_is_switched_off() {
    const BCRYPT: &str = "$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG";
    let house = House::empty();
    house.key("rsa2048.pem", "server.pem");
    let users = house.path("users.txt");
    run(&["user", "import", "-", "--users", &users], format!("alice:{BCRYPT}\n")).ok();
    for (more, stays) in [(&["--no-password-upgrade"][..], true), (&[], false)] {
        let server = house.serve(more);
        server.login(&house, "alice", "correct horse", &["--send", "whoami"]).ok();
        assert_eq!(house.read("users.txt").contains(BCRYPT), stays, "{more:?}");
    }
    assert!(house.read("users.txt").contains("$argon2id$"));
}

#[test]
fn an_import_into_a_database_is_as_one_into_a_file() {
    const BCRYPT: &str = "$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG";
    let house = House::empty();
    let text: String =
        (0..2500).map(|number| format!("user{number}:{BCRYPT}\n")).chain(["bad:plain\n".to_owned()]).collect();
    for users in [house.path("users.txt"), sqlite(&house)] {
        let import =
            |args: &[&str], text: &str| run(&[&["user", "import", "-", "--users", &users], args].concat(), text);
        import(&["--dry-run"], &text).fails(1, &["would import 2500 users", "1 line was not taken"]);
        import(&[], &text).fails(1, &["imported 2500 users", "no such file yet", "1 line was not taken"]);
        let again = import(&[], "user7:$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG\n")
            .fails(1, &["imported 0 users"]);
        assert!(again.out.contains("line 1: user7: "), "{again:?}");
        let csv = "name,permissions,locked\nuser1,read,yes\nuser2,read,no\nnew,write,no\n";
        import(&["--update", "--dry-run"], csv).ok();
        assert!(import(&["--update"], csv).ok().err.contains("imported 3 users"));
        let one = json(&user(&users, &["show", "user1", "--json"], "").ok());
        assert_eq!(
            (&one["permissions"], &one["locked"], &one["password"]),
            (&Value::from(vec!["read"]), &true.into(), &true.into())
        );
        assert!(user(&users, &["check"], "").ok().out.contains("2501 accounts"));
        // With those of a role one would have more than a grant may have: it is named, and the others are changed.
        let wide: Vec<String> = (0..30).flat_map(|number| ["--permission".to_owned(), format!("w{number}")]).collect();
        let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
        run(&[&["role", "add", "wide"], &wide[..], &["--users", &users]].concat(), "").ok();
        user(&users, &["role", "add", "user4", "wide"], "").ok();
        let csv = "name,permissions\nuser3,a b c\nuser4,a b c\nuser5,a b c\n";
        let said = import(&["--update"], csv).fails(1, &["imported 2 users", "1 line was not taken"]);
        assert!(said.out.contains("line 3: user4: "), "{said:?}");
        let permissions = |name| json(&user(&users, &["show", name, "--json"], "").ok())["permissions"].clone();
        assert_eq!(permissions("user3"), Value::from(vec!["a", "b", "c"]));
        assert_eq!(permissions("user5"), Value::from(vec!["a", "b", "c"]));
    }
    // What was imported can log in.
    user(&sqlite(&house), &["unlock", "user1"], "").ok();
    let server = served(&house, &[]);
    server.login(&house, "user1", "correct horse", &["--send", "whoami"]).ok();
}

#[test]
fn an_import_that_was_stopped_goes_on_and_leaves_those_who_are_there_as_they_are() {
    const BCRYPT: &str = "$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG";
    const ALL: usize = 20_000;
    let house = House::empty();
    let text: String = (0..ALL).map(|number| format!("user{number}:{BCRYPT}\n")).collect();
    let file = house.write("people", text.as_bytes(), 0o600);
    let users = sqlite(&house);
    // A disk that is full in the middle of it.
    let mut stopped = std::process::Command::new("sh");
    stopped.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_countersign")]);
    stopped.args(["user", "import", &file, "--users", &users]);
    stopped.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let said = finish(stopped.stderr(std::process::Stdio::piped()), "").fails(1, &["what was written before stays"]);
    assert!(said.err.contains("run it again with --skip-existing"), "{said:?}");
    // Somebody who is there already sets another password.
    user(&users, &["passwd", "user7", "--password-stdin"], "another secret\n").ok();
    let import = |more: &[&str]| run(&[&["user", "import", &file, "--users", &users], more].concat(), "");
    let dry = import(&["--skip-existing", "--dry-run"]).ok();
    let said = import(&["--skip-existing"]).ok();
    let counts = |said: &support::Said, front: &str| {
        let (_, rest) = said.err.split_once(front).unwrap_or_else(|| panic!("{said:?}"));
        let (added, rest) = rest.split_once(" users into ").unwrap();
        let there = rest.split_once("; ").unwrap().1.split_once(" there before").unwrap().0;
        (added.parse::<usize>().unwrap(), there.parse::<usize>().unwrap())
    };
    let (added, there) = counts(&said, "imported ");
    assert!(added + there == ALL && there >= 1000 && added >= 1000 && said.out.is_empty(), "{said:?}");
    assert_eq!(counts(&dry, "would import "), (added, there));
    assert!(user(&users, &["check"], "").ok().out.contains(&format!("{ALL} accounts")));
    let server = served(&house, &[]);
    server.login(&house, "user7", "another secret", &["--send", "whoami"]).ok();
    server.login(&house, "user19999", "correct horse", &["--send", "whoami"]).ok();
}

/// As long as a database is away, which may be what somebody wants to mend.
#[test]
fn a_reload_that_is_asked_for_while_a_server_starts_ends_nothing_and_comes_when_it_has() {
    let house = House::empty();
    // As much of a PostgreSQL as takes a connection, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let users = format!("postgres://app@{}/accounts?sslmode=disable", listener.local_addr().unwrap());
    let pid = house.path("pid");
    let asked = std::thread::spawn(move || {
        let held = listener.accept().unwrap();
        let pid = fs::read_to_string(pid).unwrap();
        assert!(std::process::Command::new("kill").args(["-HUP", pid.trim()]).status().unwrap().success());
        (held, listener)
    });
    let mut shell = std::process::Command::new("sh");
    let script = "echo $$ > \"$1\"; shift; exec \"$0\" \"$@\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_countersign"), &house.path("pid")]);
    let mut server = Server::of({
        shell.args(serving(&house, &users, &[]));
        shell
    });
    let _held = asked.join().unwrap();
    server.said(&["event=started"]);
    server.wait_for(&["event=keys-reloaded"]);
}

#[test]
fn whoever_is_killed_while_adding_users_loses_and_halves_none() {
    kill_whoever_adds_users(&sqlite(&House::empty()));
}
