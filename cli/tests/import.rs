//! `user import`: accounts from files of other programs, whatever is in them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::{House, Said, run};

/// Hashes of `correct horse`.
const BCRYPT: &str = "$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG";
const OTHER: &str = "$2a$05$fLAMjO0P31n1ir5I2M0QS.Vqn.8e8WlqrDeUTlAffEVgNJ6ds1odG";
const SHA_CRYPT: &str = "$5$4KQ0BtnsKd7ei5k8$jgsX04gtCsm4ejeiPyZTlRrN/xSf5LaMFznwrQgbPD0";

fn import(house: &House, text: impl AsRef<[u8]>, args: &[&str]) -> Said {
    let users = house.path("users.txt");
    run(&[&["user", "import", "-", "--users", &users], args].concat(), text)
}

/// The lines of the users file that are accounts.
fn accounts(house: &House) -> Vec<String> {
    house.read("users.txt").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn no_hash(said: &Said) {
    for hash in [BCRYPT, OTHER, SHA_CRYPT] {
        assert!(!format!("{said:?}").contains(&hash[10..30]), "{said:?}");
    }
}

#[test]
fn users_of_htpasswd_are_imported_and_lines_not_taken_are_named_with_their_reason() {
    let house = House::empty();
    let text = format!(
        "# made by htpasswd\nalice:{BCRYPT}\r\n\nbob:{SHA_CRYPT}\ncarol:$apr1$x$y\ndave:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n\
         eve:hunter22\nfrank\nalice:{OTHER}\nmal\u{202e}lory:{BCRYPT}\ngrace:{}\nroot:$6$x$y:19000:0:99999:7:::\nheidi:{OTHER}",
        &BCRYPT[..40]
    );
    let said = import(&house, &text, &[]).fails(1, &["imported 3 users", "8 lines were not taken", "no such file yet"]);
    assert_eq!(
        accounts(&house),
        [format!("alice password={BCRYPT}"), format!("bob password={SHA_CRYPT}"), format!("heidi password={OTHER}"),]
    );
    assert_eq!(house.mode("users.txt"), 0o600);
    let lines: Vec<&str> = said.out.lines().collect();
    let expected = [
        ("line 5: carol: ", "Apache MD5"),
        ("line 6: dave: ", "LDAP"),
        ("line 7: eve: ", "may be the password itself"),
        ("line 8: ", "NAME:HASH"),
        ("line 9: alice: ", "line 2 is of this user, too"),
        ("line 10: mal\\u{202e}lory: ", "not a user name"),
        ("line 11: grace: ", "cut short"),
        ("line 12: ", "/etc/shadow"),
    ];
    assert_eq!(lines.len(), expected.len(), "{said:?}");
    for (line, (front, part)) in lines.iter().zip(expected) {
        assert!(line.starts_with(front) && line.contains(part), "{line}");
    }
    assert!(!said.out.contains("hunter22"));
    no_hash(&said);
    // Each of them logs in as before.
    run(&["user", "check", "--users", &house.path("users.txt")], "").ok();
    // Once more: all are there.
    let before = house.read("users.txt");
    let said = import(&house, format!("alice:{BCRYPT}\n"), &[]).fails(1, &["imported 0 users", "1 line was not taken"]);
    assert!(said.out.contains("--update") && said.out.contains("--skip-existing"), "{said:?}");
    assert_eq!(house.read("users.txt"), before);
}

#[test]
fn comma_separated_values_say_by_their_first_line_what_is_where() {
    let house = House::empty();
    let text = format!(
        "\u{feff}permissions,Name,password_hash,expires,locked\n\
         \"read,write\",alice,{BCRYPT},2027-01-31,no\n\
         read write,\"o'brien\",{OTHER},,yes\n\
         ,robot,,never,\n\
         read,carol,{BCRYPT},tomorrow,no\n\
         read,dave,{BCRYPT},,perhaps\n\
         read,eve,{BCRYPT}\n\
         read,\"frank,{BCRYPT},,\n\
         r\u{e9}ad,grace,{BCRYPT},,\n\
         read,\"he said \"\"x\"\"\",{BCRYPT},,\n\
         read,heidi,{BCRYPT},30days,\n"
    );
    let said = import(&house, &text, &[]).fails(1, &["imported 3 users", "7 lines were not taken"]);
    assert_eq!(
        accounts(&house),
        [
            format!("alice expires=2027-01-31T00:00:00Z permissions=read,write password={BCRYPT}"),
            format!("o'brien locked=yes locks=1 permissions=read,write password={OTHER}"),
            "robot".to_owned(),
        ]
    );
    for part in [
        "line 5: carol: expires is not",
        "line 6: dave: locked is",
        "line 7: 3 values instead of 5",
        "line 8: a quote has no end",
        "line 9: grace: ",
        "line 10: he said \"x\": not a user name",
        // From when the file was read, or written?
        "line 11: heidi: expires is not",
    ] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    no_hash(&said);
    // As spreadsheets write it elsewhere; and what can't be told apart is asked for.
    import(&house, format!("name;password_hash\nivan;{BCRYPT}\n"), &[]).ok();
    // No comment here.
    let said =
        import(&house, format!("name,password_hash\n#1fan,{BCRYPT}\n\n"), &[]).fails(1, &["1 line was not taken"]);
    assert!(said.out.contains("line 2: #1fan: not a user name"), "{said:?}");
    let house = House::empty();
    import(&house, "name,password\n", &["--format", "csv"]).fails(2, &["\"password\"", "password_hash"]);
    import(&house, "password_hash\n", &["--format", "csv"]).fails(2, &["\"name\""]);
    import(&house, "name,name\n", &["--format", "csv"]).fails(2, &["two columns"]);
    import(&house, "", &[]).fails(1, &["nothing in it"]);
    import(&house, "# comment\n\n", &[]).fails(1, &["nothing in it"]);
    assert!(!std::path::Path::new(&house.path("users.txt")).exists());
}

/// Apache goes by the first line of a name, and so does an import: also where that one is not taken.
#[test]
fn a_line_that_is_not_taken_keeps_its_name_from_an_older_password_further_down() {
    for text in [
        format!("alice:$apr1$x$y\nalice:{BCRYPT}\nbob:{OTHER}\n"),
        format!("alice:{SHA_CRYPT}:19000:0:99999:7:::\nalice:{BCRYPT}\nbob:{OTHER}\n"),
        format!("name,password_hash,locked\nalice,$apr1$x$y,yes\nalice,{BCRYPT},no\nbob,{OTHER},no\n"),
        format!("name,password_hash,locked\nalice,{SHA_CRYPT},perhaps\nalice,{BCRYPT},no\nbob,{OTHER},no\n"),
    ] {
        let house = House::empty();
        let said = import(&house, &text, &[]).fails(1, &["imported 1 user", "2 lines were not taken"]);
        assert!(said.out.contains("is of this user, too, and the first one counts"), "{said:?}");
        assert_eq!(accounts(&house), [format!("bob password={OTHER}")]);
        no_hash(&said);
    }
}

/// As databases write arrays and truth.
#[test]
fn arrays_of_permissions_and_the_booleans_of_databases_are_taken() {
    let house = House::empty();
    let text = "name,permissions,locked\nalice,\"{read,write}\",f\nbob,\"[\"\"read\"\", \"\"write\"\"]\",t\ncarol,{},false\ndave,\"{\"\"read\"\"}\",\n\
                eve,\"{read\",no\nfrank,\"\"\"read\"\"\",no\n";
    let said = import(&house, text, &[]).fails(1, &["imported 4 users", "2 lines were not taken"]);
    for line in ["line 6: eve: ", "line 7: frank: "] {
        assert!(
            said.out.contains(&format!("{line}the permissions are neither words nor an array of words")),
            "{said:?}"
        );
    }
    let expected = [
        "alice permissions=read,write",
        "bob locked=yes locks=1 permissions=read,write",
        "carol",
        "dave permissions=read",
    ];
    assert_eq!(accounts(&house), expected);
}

/// Spreadsheets of old Macs end lines in CR alone: no user is lost without a word.
#[test]
fn a_carriage_return_within_a_line_is_told() {
    for (text, taken) in [
        (format!("name,password_hash\ralice,{BCRYPT}\rbob,{OTHER}\r"), 0),
        (format!("name,password_hash\r\nalice,{BCRYPT}\rbob,{OTHER}\r\ncarol,{BCRYPT}\r\n"), 1),
    ] {
        for format in [&["--format", "csv"][..], &[]] {
            let house = House::empty();
            let said = import(&house, &text, format);
            assert!(said.status != 0 && format!("{said:?}").contains("carriage return"), "{said:?}");
            if taken > 0 {
                assert_eq!(accounts(&house), [format!("carol password={BCRYPT}")]);
            }
        }
    }
}

#[test]
fn an_update_changes_what_the_file_says_and_keeps_the_rest() {
    let house = House::empty();
    let users = house.path("users.txt");
    import(&house, format!("name,password_hash,permissions\nalice,{BCRYPT},read write\nbob,{BCRYPT},\n"), &[]).ok();
    run(&["user", "token", "alice", "--users", &users], "").ok();
    let token = accounts(&house)[0].split_once(" token=").unwrap().1.to_owned();
    let said = import(&house, format!("alice:{OTHER}\ncarol:{OTHER}\n"), &["--update"]).ok();
    assert!(said.err.contains("imported 2 users") && said.err.contains("1 of them there before"), "{said:?}");
    assert_eq!(
        accounts(&house),
        [
            format!("alice permissions=read,write password={OTHER} token={token}"),
            format!("bob password={BCRYPT}"),
            format!("carol password={OTHER}"),
        ]
    );
    let csv = "name,permissions,locked,expires\nalice,read admin,yes,2027-01-31\nbob,,,\n";
    import(&house, csv, &["--update"]).ok();
    let alice = "alice locked=yes locks=1 expires=2027-01-31T00:00:00Z permissions=read,admin";
    assert_eq!(
        accounts(&house)[..2],
        [format!("{alice} password={OTHER} token={token}"), format!("bob password={BCRYPT}"),]
    );
    // And back.
    import(&house, "name,locked,expires\nalice,no,never\n", &["--update"]).ok();
    let alice = format!("alice locks=1 permissions=read,admin password={OTHER} token={token}");
    assert_eq!(accounts(&house)[0], alice);
}

#[test]
fn whoever_is_there_stays_as_they_are_and_is_not_reported_where_that_is_asked_for() {
    let house = House::empty();
    import(&house, format!("alice:{BCRYPT}\n"), &[]).ok();
    let text = format!("name,password_hash,permissions,locked\nalice,{OTHER},admin,yes\nbob,{OTHER},,\ncarol,x,,\n");
    for more in [&["--dry-run"][..], &[]] {
        let said = import(&house, &text, &[&["--skip-existing"], more].concat()).fails(1, &["1 line was not taken"]);
        assert!(
            said.err.contains("import") && said.err.contains(" 1 user into ") && said.err.contains("; 1 there before"),
            "{said:?}"
        );
        assert!(said.out.starts_with("line 4: carol: ") && said.out.lines().count() == 1, "{said:?}");
    }
    assert_eq!(accounts(&house), [format!("alice password={BCRYPT}"), format!("bob password={OTHER}")]);
    import(&house, &text, &["--skip-existing", "--update"]).fails(2, &["cannot be used with"]);
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let house = House::empty();
    let text = format!("alice:{BCRYPT}\nbob:x\n");
    let dry =
        import(&house, &text, &["--dry-run"]).fails(1, &["would import 1 user", "nothing was changed", "1 line was"]);
    assert!(!std::path::Path::new(&house.path("users.txt")).exists());
    let real = import(&house, &text, &[]).fails(1, &["imported 1 user"]);
    assert_eq!(dry.out, real.out);
    let before = house.read("users.txt");
    let more = format!("alice:{OTHER}\ncarol:{OTHER}\n");
    let dry = import(&house, &more, &["--dry-run"]).fails(1, &["would import 1 user"]);
    assert!(dry.out.contains("line 1: alice: "), "{dry:?}");
    import(&house, &more, &["--dry-run", "--update"]).fails(0, &["would import 2 users", "1 of them there before"]);
    assert_eq!(house.read("users.txt"), before);
}

#[test]
fn a_hostile_file_costs_its_lines_and_no_more() {
    let house = House::empty();
    let alice = format!("alice:{BCRYPT}\n");
    let long = [b"x".repeat(1 << 20), b":y\n".to_vec()].concat();
    let parts: [&[u8]; 9] = [
        &long,
        b"\xff\xfe\n",
        b"a\0b:$2y$05$x\n",
        b"\"bob\n",
        b":::::\n",
        b"=cmd|' /C calc'!A0:$2y$05$x\n",
        b"bob:$scrypt$ln=31,r=4294967295,p=4294967295$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        b"bob:$6$rounds=999999999$salt$AAAA\n",
        alice.as_bytes(),
    ];
    let said = import(&house, parts.concat(), &["--format", "htpasswd"]).fails(1, &["imported 1 user", "8 lines were"]);
    assert_eq!(accounts(&house), [format!("alice password={BCRYPT}")]);
    assert!(said.out.starts_with("line 1: longer than 64 KiB\nline 2: not UTF-8 text: see column 1\n"), "{said:?}");
    assert!(said.out.bytes().all(|byte| byte == b'\n' || (b' '..0x7f).contains(&byte)), "{said:?}");
    // A million lines of nothing: told in part, and counted.
    let said = import(&house, "x\n".repeat(1_000_000), &["--format", "htpasswd"]).fails(1, &["1000000 lines were"]);
    assert_eq!(said.out.lines().count(), 10_001);
    assert!(said.out.ends_with("and 990000 lines more\n"), "{}", &said.out[said.out.len() - 80..]);
}

#[test]
fn more_users_than_the_file_holds_are_refused_as_a_whole() {
    let house = House::empty();
    import(&house, format!("alice:{BCRYPT}\n"), &[]).ok();
    let before = house.read("users.txt");
    let permissions = (0..15).map(|number| format!("{number:060}")).collect::<Vec<_>>().join(" ");
    let lines = (0..70_000).map(|number| format!("user{number},{BCRYPT},{permissions}\n"));
    let text = format!("name,password_hash,permissions\n{}", lines.collect::<String>());
    for args in [&[][..], &["--dry-run"]] {
        import(&house, &text, args).fails(1, &["at most 64 MiB", "400,000"]);
        assert_eq!(house.read("users.txt"), before);
    }
}

#[test]
fn a_file_is_read_by_its_name_and_a_broken_users_file_is_kept() {
    let house = House::empty();
    house.write("people", format!("bob:{BCRYPT}\n").as_bytes(), 0o600);
    house.write("users.txt", b"alice ?\n# end", 0o600);
    let users = house.path("users.txt");
    let said = run(&["user", "import", &house.path("people"), "--users", &users], "").ok();
    assert!(said.err.contains("line 1: "), "{said:?}");
    let text = house.read("users.txt");
    assert!(
        text.starts_with(&format!("alice ?\nbob password={BCRYPT}\n#imitate key=")) && text.ends_with("\n# end"),
        "{text}"
    );
    let said = import(&house, format!("alice:{BCRYPT}\n"), &[]).fails(1, &["1 line was"]);
    assert!(said.out.contains("line 1: alice: line 1 is of user alice and can't be read"), "{said:?}");
    run(&["user", "import", &house.path("nobody"), "--users", &users], "").fails(1, &["nobody"]);
}

#[test]
fn an_imported_user_logs_in_with_the_password_that_another_program_hashed() {
    let house = House::new();
    import(&house, format!("walter:{BCRYPT}\nvera:{SHA_CRYPT}\n"), &[]).ok();
    let server = house.serve(&[]);
    for user in ["walter", "vera"] {
        server.login(&house, user, "correct horse", &[]).ok();
        server.login(&house, user, "battery staple", &[]).fails(1, &["refused"]);
    }
}
