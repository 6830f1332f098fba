//! Stored passwords of other programs: checked as they were there, within bounds, and at the same cost for unknown users.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, missing_docs)]
#![cfg(feature = "password-formats")]

#[path = "support/asked.rs"]
mod asked;
#[path = "support/heap.rs"]
mod heap;

use countersign::accounts::{AccountFile, AccountVerifier, LineError, PasswordCheck};
use countersign::files::{Missing, edit_accounts};
use countersign::{
    Accounts, AsyncVerifier, Attempt, Context, Credential, CredentialKind, Grant, Reason, Returning, StretchParameters,
    Stretching, UnixTime, limits,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

/// A program, a password, and what the program has stored of it.
fn hashes() -> Vec<[&'static str; 3]> {
    let lines = include_str!("password_formats/hashes.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').collect::<Vec<_>>().try_into().unwrap()).collect()
}

/// What programs store of `correct horse`: one of each.
fn one_of_each() -> Vec<&'static str> {
    let horses: Vec<_> = hashes().into_iter().filter(|[_, password, _]| *password == "correct horse").collect();
    assert!(horses.len() > 25);
    horses.into_iter().map(|[.., hash]| hash).collect()
}

fn verify(stored: &str, password: &[u8]) -> Result<(), Reason> {
    PasswordCheck::new().verify("alice", password, Some(stored))
}

fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|front| hash.contains(front))
}

/// Whether other passwords are good for this hash, too: those that are the same up to 72 bytes.
fn ends_before(program: &str, hash: &str, password: &[u8]) -> bool {
    password.len() > 72 && is_bcrypt(hash) && !program.contains("bcrypt_sha256")
}

const LONG: &str = "01234567890123456789012345678901234567890123456789012345678901234567890123456789";

/// What programs have stored of this one that look at its front alone.
fn cut() -> Vec<[&'static str; 2]> {
    let cut = hashes()
        .into_iter()
        .filter(|[program, password, hash]| *password == LONG && ends_before(program, hash, password.as_bytes()));
    let cut: Vec<_> = cut.map(|[program, _, hash]| [program, hash]).collect();
    assert!(cut.len() >= 4);
    cut
}

/// That one, with a slip behind its front, and without its end.
fn good_for_long() -> [String; 3] {
    [LONG.to_owned(), format!("{}something else", &LONG[..72]), LONG[..72].to_owned()]
}

#[test]
fn passwords_that_other_programs_have_stored_are_good_here_and_others_are_not() {
    for [program, password, hash] in hashes() {
        assert_eq!(verify(hash, password.as_bytes()), Ok(()), "{program}: {hash}");
        for wrong in [format!("{password} "), password[1..].to_owned(), password.to_uppercase() + "x", String::new()] {
            let expected = if ends_before(program, hash, wrong.as_bytes()) {
                verify(hash, wrong.as_bytes())
            } else {
                Err(Reason::WrongPassword)
            };
            assert_eq!(verify(hash, wrong.as_bytes()), expected, "{program}: {hash}: {wrong:?}");
        }
    }
}

/// As Spring, Dovecot and directories write them.
#[test]
fn what_stands_in_braces_in_front_of_a_hash_takes_nothing_from_it() {
    for hash in one_of_each().into_iter().filter(|hash| hash.starts_with('$')) {
        for scheme in ["{bcrypt}", "{BLF-CRYPT}", "{CRYPT}", "{pbkdf2@SpringSecurity_v5_8}"] {
            let wrapped = format!("{scheme}{hash}");
            assert_eq!(verify(&wrapped, b"correct horse"), Ok(()), "{wrapped}");
            assert_eq!(verify(&wrapped, b"battery staple"), Err(Reason::WrongPassword), "{wrapped}");
        }
        for odd in [format!("{{crypt{hash}"), format!("{{a b}}{hash}"), format!("{{x}}{{y}}{hash}")] {
            assert_eq!(PasswordCheck::imitating([&odd]).map(drop), Err(LineError::OtherHash("LDAP")), "{odd}");
        }
    }
}

#[test]
fn an_account_whose_password_another_program_has_stored_can_log_in() {
    for hash in one_of_each() {
        let (mut accounts, broken) = Accounts::parse(format!("alice permissions=read password={hash}\n"));
        assert_eq!(broken, [], "{hash}");
        let check = |accounts: &Accounts, password: &[u8]| {
            accounts.check(Credential::Password { user: "alice", password }).map(|grant| grant.permits("read"))
        };
        assert_eq!(check(&accounts, b"correct horse"), Ok(true), "{hash}");
        assert_eq!(check(&accounts, b"battery staple"), Err(Reason::WrongPassword), "{hash}");
        // As with any account: to the byte, and until it is replaced.
        assert_eq!(accounts.to_string(), format!("alice permissions=read password={hash}\n"));
        accounts.edit("alice", |account| account.set_password_hash(hash)).unwrap();
        assert_eq!(check(&accounts, b"correct horse"), Ok(true), "{hash}");
    }
}

#[test]
fn a_bcrypt_password_ends_at_72_bytes_as_where_it_was_hashed() {
    for [program, hash] in cut() {
        for good in good_for_long() {
            assert_eq!(verify(hash, good.as_bytes()), Ok(()), "{program}");
        }
        assert_eq!(verify(hash, format!("{}x", &LONG[..71]).as_bytes()), Err(Reason::WrongPassword), "{program}");
    }
}

/// What would take the hash's place is what was shown, and may be mistyped: then the owner would be locked out.
#[test]
fn a_password_that_is_good_beside_others_lets_in_and_is_stored_nowhere() {
    for [program, hash] in cut() {
        for good in good_for_long() {
            assert!(!PasswordCheck::is_exact(hash, good.as_bytes()), "{program}");
            assert_eq!(PasswordCheck::upgrade(hash, good.as_bytes()), None, "{program}");
        }
        assert!(PasswordCheck::is_exact(hash, &LONG.as_bytes()[..71]), "{program}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        let text = format!("alice permissions=read password={hash}\n");
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let file = Arc::new(AccountFile::open(&path).unwrap());
        let verifier = || AccountVerifier::new(Arc::clone(&file));
        // One of somebody's own is asked no more than the one that there is.
        let own = verifier().with_upgrade(|account, password| {
            let mut upgraded = account.clone();
            upgraded.set_password(password).unwrap();
            Some(upgraded)
        });
        let moving = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap().with_moving();
        for good in good_for_long() {
            for verifier in [&verifier(), &own] {
                assert!(log_in(verifier, good.as_bytes()).is_ok(), "{program}");
            }
            let (shown, context) = (moving.stretch("alice", good.as_bytes()).unwrap(), Context::uncounted());
            let attempt = Attempt::new(Credential::Stretched { user: "alice", password: &shown }, &context);
            assert!(asked::block_on(verifier().with_moving().verify(&attempt)).is_ok(), "{program}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{program}");
    }
    // HMAC fills a short key up with zeros: no program of ours stops there, and some may show one more.
    let filled: Vec<_> = one_of_each().into_iter().filter(|hash| verify(hash, b"correct horse\0") == Ok(())).collect();
    assert!(filled.len() > 5, "{filled:?}");
    for hash in filled {
        assert_eq!(PasswordCheck::upgrade(hash, b"correct horse\0"), None, "{hash}");
        assert!(PasswordCheck::is_exact(hash, b"correct horse"), "{hash}");
    }
    // What tells them apart is stored anew however long it is.
    let exact = hashes().into_iter().filter(|[.., hash]| PasswordCheck::needs_upgrade(hash));
    let exact =
        exact.filter(|[program, password, hash]| *password == LONG && !ends_before(program, hash, LONG.as_bytes()));
    let upgraded = exact.filter(|[.., hash]| PasswordCheck::upgrade(hash, LONG.as_bytes()).is_some());
    assert!(upgraded.count() > 10);
}

/// With its zero behind it, `ab` is hashed as `ab\0ab\0ab...`.
#[test]
fn a_password_with_a_zero_byte_is_none_that_bcrypt_or_crypt_have_stored() {
    for [program, password, hash] in hashes() {
        let with_zeros = format!("{password}\0{password}");
        assert_eq!(verify(hash, with_zeros.as_bytes()), Err(Reason::WrongPassword), "{program}: {hash}");
    }
}

#[test]
fn a_password_longer_than_crypt_takes_is_none_that_crypt_has_stored() {
    let longest = "x".repeat(limits::MAX_SECRET);
    for hash in one_of_each() {
        assert_eq!(verify(hash, longest.as_bytes()), Err(Reason::WrongPassword), "{hash}");
    }
}

#[test]
fn a_stored_hash_that_was_cut_is_refused() {
    for hash in one_of_each() {
        // Where the output begins, or for bcrypt and its 53 characters of both, the salt.
        let start = hash.rfind('$').unwrap() + 1;
        for end in 0..hash.len() {
            let cut = &hash[..end];
            let read = PasswordCheck::imitating([cut]).map(drop);
            // What is longer than 16 bytes may have been made so, where the format says nothing of the length.
            let fixed = is_bcrypt(hash) || ["$5$", "$6$", "$y$"].iter().any(|front| hash.starts_with(front));
            let is_cut = fixed || end < start + 22;
            assert!(read.is_err() || !is_cut, "{cut}");
            assert!(!hash.starts_with("$y$") || end < start || read == Err(LineError::CutHash), "{cut}: {read:?}");
            if let (Ok(()), true) = (&read, hash.contains("pbkdf2")) {
                // No less is compared than what is there, which can't be guessed.
                assert_eq!(verify(cut, b"battery staple"), Err(Reason::WrongPassword), "{cut}");
            }
        }
    }
}

#[test]
fn no_stored_hash_takes_more_than_its_bounds() {
    let (b22, b43) = ("A".repeat(22), "A".repeat(43));
    let (c43, c86) = (".".repeat(43), ".".repeat(86));
    let hashes = [
        "$2b$17$".to_owned() + &".".repeat(53),
        "$2b$31$".to_owned() + &".".repeat(53),
        "$2b$03$".to_owned() + &".".repeat(53),
        "$2b$+9$".to_owned() + &".".repeat(53),
        "$2b$99$".to_owned() + &".".repeat(53),
        format!("$5$rounds=999$salt${c43}"),
        format!("$6$rounds=1000001$salt${c86}"),
        format!("$6$rounds=999999999$salt${c86}"),
        format!("$6$rounds=99999999999999999999$salt${c86}"),
        format!("$6$rounds=-5000$salt${c86}"),
        format!("$6$seventeen-letters${c86}"),
        format!("$pbkdf2-sha256$i=999${b22}${b43}"),
        format!("$pbkdf2-sha256$i=5000001${b22}${b43}"),
        format!("$pbkdf2-sha256$4294967295${b22}${b43}"),
        format!("$pbkdf2-sha256$i=2000,l=64${b22}${b43}"),
        format!("$pbkdf2-sha512$i=2000${b22}${}", "A".repeat(88)),
        format!("pbkdf2_sha256$5000001$salt${b43}="),
        format!("pbkdf2_sha256$2000${}${b43}=", "s".repeat(129)),
        format!("$scrypt$ln=9,r=8,p=1${b22}${b43}"),
        format!("$scrypt$ln=18,r=9,p=1${b22}${b43}"),
        format!("$scrypt$ln=63,r=1,p=1${b22}${b43}"),
        format!("$scrypt$ln=10,r=0,p=1${b22}${b43}"),
        format!("$scrypt$ln=10,r=8,p=0${b22}${b43}"),
        format!("$scrypt$ln=10,r=8,p=17${b22}${b43}"),
        format!("$scrypt$ln=10,r=4294967295,p=4294967295${b22}${b43}"),
        format!("$scrypt$ln=17,r=8,p=16${b22}${b43}"),
        format!("$scrypt$ln=10,r=8,p=1,x=1${b22}${b43}"),
        format!("scrypt$16385$salt$8$1${b43}="),
        format!("$7$zzzzzzzzzzzsalt${c43}"),
        format!("$y$jET${}${c43}", ".".repeat(22)),
        format!("$y$j95.0${}${c43}", ".".repeat(22)),
        format!("$y$j9T0${}${c43}", ".".repeat(22)),
        format!("$y$.9T${}${c43}", ".".repeat(22)),
        format!("$y$jzzzzz${}${c43}", ".".repeat(22)),
        format!("$argon2i$v=19$m=1048577,t=1,p=1${b22}${b43}"),
        format!("$argon2d$v=19$m=1024,t=33,p=1${b22}${b43}"),
        format!("$argon2i$v=19$m=1048576,t=5,p=1${b22}${b43}"),
        format!("$argon2d$v=20$m=1024,t=1,p=1${b22}${b43}"),
        "$6$".to_owned() + &"x".repeat(1 << 20),
    ];
    for hash in hashes {
        let read = PasswordCheck::imitating([&hash]).map(drop);
        assert_eq!(read, Err(LineError::Password), "{}", &hash[..hash.len().min(80)]);
        // A table of one's own may have it: an error, after the work of another.
        assert_eq!(
            verify(&hash, b"x"),
            Err(Reason::Application("a stored password hash can't be read")),
            "{}",
            &hash[..9]
        );
    }
}

#[test]
fn what_protects_nothing_or_is_not_known_is_refused_by_its_name() {
    for (hash, kind) in [
        ("$apr1$x$y", "Apache MD5"),
        ("$1$x$y", "MD5-crypt"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "LDAP"),
        ("$2x$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2", "bcrypt with the flaw that $2x$ stands for"),
        ("$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2", "bcrypt, by passlib"),
        ("$gy$j9T$x$y", "gost-yescrypt"),
        ("$P$BabcdefghijklmnopqrstuvwxyzABCD", "phpass"),
        ("pbkdf2_md5$2000$x$y", "PBKDF2"),
        ("$wp$2y$10$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2", "a format that is not known here"),
        ("$S$DabcdefghijklmnopqrstuvwxyzABCD", "a format that is not known here"),
        ("{MD5-CRYPT}$1$x$y", "MD5-crypt"),
        (
            "$argon2id$v=19$m=19456,t=2,p=1,keyid=c2VjcmV0$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "Argon2 with a secret that does not stand in it",
        ),
    ] {
        assert_eq!(PasswordCheck::imitating([hash]).map(drop), Err(LineError::OtherHash(kind)), "{hash}");
    }
    assert_eq!(PasswordCheck::imitating(["correct horse"]).map(drop), Err(LineError::ClearPassword));
}

#[test]
fn an_upgrade_is_argon2id_at_the_defaults_and_only_for_what_is_less() {
    for hash in one_of_each() {
        assert!(PasswordCheck::needs_upgrade(hash), "{hash}");
        let upgraded = PasswordCheck::upgrade(hash, b"correct horse").unwrap();
        assert!(upgraded.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{upgraded}");
        assert_eq!(verify(&upgraded, b"correct horse"), Ok(()));
        assert!(!PasswordCheck::needs_upgrade(&upgraded));
        assert_eq!(PasswordCheck::upgrade(&upgraded, b"correct horse"), None);
    }
    let rest = format!("{}${}", "A".repeat(22), "A".repeat(43));
    for good in
        ["m=47104,t=1,p=1", "m=19456,t=2,p=1", "m=12288,t=3,p=1", "m=9216,t=4,p=1", "m=7168,t=5,p=1", "m=65536,t=3,p=4"]
    {
        assert!(!PasswordCheck::needs_upgrade(&format!("$argon2id$v=19${good}${rest}")), "{good}");
    }
    for less in [
        "m=47103,t=1,p=1",
        "m=19455,t=2,p=1",
        "m=12287,t=3,p=1",
        "m=9215,t=4,p=1",
        "m=7167,t=5,p=1",
        "m=7167,t=32,p=1",
        "m=8,t=1,p=1",
    ] {
        assert!(PasswordCheck::needs_upgrade(&format!("$argon2id$v=19${less}${rest}")), "{less}");
    }
    let short = format!("$argon2id$v=19$m=19456,t=2,p=1${}${}", "A".repeat(22), "A".repeat(22));
    for less in [format!("$argon2id$v=16$m=19456,t=2,p=1${rest}"), format!("$argon2id$m=19456,t=2,p=1${rest}"), short] {
        assert!(PasswordCheck::needs_upgrade(&less), "{less}");
    }
    // Nothing is known of it: nothing takes its place.
    for unreadable in ["", "$2b$05$x", "$apr1$x$y", "correct horse"] {
        assert_eq!(PasswordCheck::upgrade(unreadable, b"correct horse"), None);
    }
}

/// Argon2, scrypt and yescrypt take their memory from the allocator, and bcrypt, PBKDF2 and SHA-crypt take none that shows.
#[test]
fn an_unknown_user_costs_what_a_wrong_password_of_that_format_costs() {
    for hash in one_of_each() {
        let passwords = PasswordCheck::imitating([hash]).unwrap();
        let (wrong, known) = heap::allocated(|| passwords.verify("alice", b"wrong", Some(hash)));
        let (nobody, unknown) = heap::allocated(|| passwords.verify("mallory", b"wrong", None));
        let (unreadable, other) = heap::allocated(|| passwords.verify("alice", b"wrong", Some("x")));
        assert_eq!((wrong, nobody), (Err(Reason::WrongPassword), Err(Reason::UnknownUser)), "{hash}");
        assert_eq!(unreadable, Err(Reason::Application("a stored password hash can't be read")));
        // The text that is checked against takes a few bytes.
        assert!(unknown.abs_diff(known) < 4096 && other.abs_diff(known) < 4096, "{hash}: {known} {unknown} {other}");
    }
}

const BCRYPT: &str = "$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG";

/// A file of one account, whose password another program has hashed.
fn file() -> (tempfile::TempDir, std::path::PathBuf, Arc<AccountFile>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    let token = "SHA256:/K6YqKtISs5VNDg8gDFOyFAq+jsTw4ZjBcxFn0Iqiak";
    let text = format!("# people\nalice locks=2 permissions=read,write password={BCRYPT} token={token}\nbob oops\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = Arc::new(AccountFile::open(&path).unwrap());
    (folder, path, file)
}

fn log_in(verifier: &AccountVerifier<Arc<AccountFile>>, password: &[u8]) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    asked::block_on(verifier.verify(&Attempt::new(Credential::Password { user: "alice", password }, &context)))
}

#[test]
fn a_good_login_has_the_password_stored_as_argon2id_and_nothing_else_changed() {
    let (_folder, path, file) = file();
    let before = fs::read_to_string(&path).unwrap();
    let verifier = AccountVerifier::new(Arc::clone(&file));
    assert_eq!(log_in(&verifier, b"wrong"), Err(Reason::WrongPassword));
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    let grant = log_in(&verifier, b"correct horse").unwrap();
    let after = fs::read_to_string(&path).unwrap();
    let (hash, _) = after.split_once("password=").unwrap().1.split_once(' ').unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let (text, imitated) = after.split_once("#imitate ").unwrap();
    assert_eq!(text, before.replace(BCRYPT, hash));
    // An unknown name may still cost what this one did, and may have cost before what this one does.
    assert!(imitated.contains("$2b$05$") && imitated.contains("$argon2id$"), "{imitated}");
    // The ticket of this very login is good.
    let context = Context::uncounted();
    let returning = Returning::new("alice", CredentialKind::Password, UnixTime::from_secs(1), &context);
    assert_eq!(asked::block_on(verifier.resume(&returning)).unwrap().epoch(), grant.epoch());
    assert_eq!(log_in(&verifier, b"correct horse").unwrap().epoch(), grant.epoch(), "once");
    assert_eq!(log_in(&verifier, b"wrong"), Err(Reason::WrongPassword));
    assert_eq!(fs::read_to_string(&path).unwrap(), after);
}

#[test]
fn an_upgrade_keeps_what_others_change_at_the_same_time() {
    for change in ["permissions=read,write,admin", "permissions=read,write"] {
        let (_folder, path, file) = file();
        let verifier = Arc::new(AccountVerifier::new(Arc::clone(&file)));
        let (logged_in, edited) = std::thread::scope(|scope| {
            let login = scope.spawn(|| log_in(&verifier, b"correct horse"));
            let edit = scope.spawn(|| {
                edit_accounts(&path, Missing::Fail, |accounts| {
                    accounts.add("carol", [""; 0]).unwrap();
                    if change.contains("admin") {
                        accounts.edit("alice", |account| account.add_permission("admin")).unwrap();
                    }
                    Ok::<_, countersign::files::FileError>(())
                })
            });
            (login.join().unwrap(), edit.join().unwrap())
        });
        assert!(logged_in.is_ok() && edited.is_ok(), "{logged_in:?} {edited:?}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(change) && text.contains("\ncarol\n"), "{text}");
        log_in(&verifier, b"correct horse").unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains(BCRYPT));
    }
}

#[test]
fn a_password_is_left_as_it_is_where_upgrades_are_off() {
    let (_folder, path, file) = file();
    let before = fs::read_to_string(&path).unwrap();
    let verifier = AccountVerifier::new(Arc::clone(&file)).without_upgrade();
    log_in(&verifier, b"correct horse").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}
