//! Accounts: what a file of them may hold, how it is changed, and what a verifier makes of it.

#![cfg(feature = "accounts")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use argon2::{Algorithm, Argon2, Params, Version};
use countersign::accounts::{AccountError, AccountFile, BrokenLine, LineError};
use countersign::files::FileError;
use countersign::{Accounts, Attempt, Context, Credential, Misuse, Reason, Verifier};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// As cheap as Argon2id gets: these tests are not about its strength.
fn cheap() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap())
}

fn hash(password: &[u8]) -> String {
    let mut accounts = Accounts::new();
    accounts.add("x", [""; 0]).unwrap();
    accounts.set_password_with("x", password, &cheap()).unwrap();
    accounts.to_string().trim().trim_start_matches("x password=").to_owned()
}

fn password<'a>(user: &'a str, password: &'a [u8]) -> Credential<'a> {
    Credential::Password { user, password }
}

/// The verdict as a name or a reason.
fn verify(verifier: &impl Verifier, credential: Credential<'_>) -> Result<String, Reason> {
    verifier.verify(&Attempt::new(credential, &Context::uncounted())).map(|grant| grant.principal().to_owned())
}

/// The hash of the token "token one".
const TOKEN_ONE: &str = "SHA256:/K6YqKtISs5VNDg8gDFOyFAq+jsTw4ZjBcxFn0Iqiak";

fn token_hash(token: &[u8]) -> String {
    use base64ct::{Base64Unpadded, Encoding};
    format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(token)))
}

#[test]
fn a_file_is_printed_as_it_was_read() {
    let (first, second) = (hash(b"one"), hash(b"two"));
    let token = token_hash(b"token one");
    let text = format!(
        "# the accounts of the test server\n\
         \n\
         alice permissions=read,write password={first} token={token}\n\
         \t # an indented comment\n\
         bob\n\
         what is this line?\n\
         carol password=plain\n\
         dave password={second}\n\
         \u{e9}mile permissions=a\n"
    );
    let (accounts, broken) = Accounts::parse(&text);
    assert_eq!(accounts.to_string(), text);
    assert_eq!(broken.iter().map(|line| line.number).collect::<Vec<_>>(), [6, 7]);
    let names: Vec<&str> = accounts.iter().map(|account| account.name()).collect();
    assert_eq!(names, ["alice", "bob", "dave", "\u{e9}mile"]);
    let alice = accounts.get("alice").unwrap();
    assert!(alice.has_password() && alice.tokens() == 1);
    assert_eq!(alice.grant().permissions().collect::<Vec<_>>(), ["read", "write"]);
    assert_eq!(alice.to_string(), text.lines().nth(2).unwrap());
    assert!(accounts.get("carol").is_none());
    // And once more.
    let (again, _) = Accounts::parse(&accounts.to_string());
    assert_eq!(again.to_string(), text);
}

#[test]
fn changes_keep_comments_and_broken_lines_where_they_were() {
    let text = "# first\nalice\n!broken line\nbob permissions=read\n\n# last\n";
    let (mut accounts, broken) = Accounts::parse(text);
    assert_eq!(broken, [BrokenLine { number: 3, error: LineError::Field }]);
    accounts.remove("alice").unwrap();
    accounts.add("carol", ["write"]).unwrap();
    assert_eq!(
        accounts.to_string(),
        "# first\n!broken line\nbob permissions=read\n\n# last\ncarol permissions=write\n"
    );
}

#[test]
fn each_broken_line_is_reported_with_its_number_and_its_fault() {
    let good = hash(b"password");
    let token = token_hash(b"t");
    let cases = [
        (format!("a{}", "b".repeat(255)), LineError::Name),
        ("al\u{a0}ice".to_owned(), LineError::Name),
        ("al\u{7}ice".to_owned(), LineError::Name),
        ("al\u{7f}ice".to_owned(), LineError::Name),
        ("good".to_owned(), LineError::DuplicateName),
        ("alice read".to_owned(), LineError::Field),
        ("alice admin=yes".to_owned(), LineError::Field),
        ("alice =".to_owned(), LineError::Field),
        ("alice Password=x".to_owned(), LineError::Field),
        ("alice permissions=a permissions=b".to_owned(), LineError::Field),
        (format!("alice password={good} password={good}"), LineError::Field),
        ("alice permissions=".to_owned(), LineError::Permissions),
        ("alice permissions=a,a".to_owned(), LineError::Permissions),
        ("alice permissions=a,,b".to_owned(), LineError::Permissions),
        ("alice permissions=l\u{e9}".to_owned(), LineError::Permissions),
        (format!("alice permissions={}", "a".repeat(65)), LineError::Permissions),
        (
            format!("alice permissions={}", (0..33).map(|n| n.to_string()).collect::<Vec<_>>().join(",")),
            LineError::Permissions,
        ),
        ("alice password=".to_owned(), LineError::Password),
        ("alice password=secret".to_owned(), LineError::Password),
        (format!("alice password={}", good.replace("argon2id", "argon2i")), LineError::Password),
        (format!("alice password={}", good.replace("argon2id", "scrypt")), LineError::Password),
        (format!("alice password={}", good.rsplit_once('$').unwrap().0), LineError::Password),
        (format!("alice password={}", good.replace("m=8", "m=1")), LineError::Password),
        (format!("alice password={}", good.replace("m=8", "m=1048577")), LineError::Password),
        (format!("alice password={}", good.replace("t=1", "t=33")), LineError::Password),
        (format!("alice password={}", good.replace("m=8", "m=1024").replace("p=1", "p=17")), LineError::Password),
        ("alice token=".to_owned(), LineError::Token),
        ("alice token=cst_abc".to_owned(), LineError::Token),
        ("alice token=SHA256:abc".to_owned(), LineError::Token),
        (format!("alice token={token}="), LineError::Token),
        (format!("alice token={}", token.replace("SHA256", "SHA512")), LineError::Token),
        (format!("alice token={TOKEN_ONE}"), LineError::DuplicateToken),
    ];
    for (line, error) in cases {
        let text = format!("# comment\ngood password={good} token={TOKEN_ONE}\n\n{line}\nafter password={good}\n");
        let (accounts, broken) = Accounts::parse(&text);
        assert_eq!(broken, [BrokenLine { number: 4, error }], "{line:?}");
        assert_eq!(accounts.to_string(), text);
        assert!(broken[0].to_string().starts_with("line 4: "), "{}", broken[0]);
        // The other lines still work.
        for name in ["good", "after"] {
            assert_eq!(verify(&accounts, password(name, b"password")), Ok(name.to_owned()));
        }
        assert_eq!(verify(&accounts, password("alice", b"password")), Err(Reason::UnknownUser));
    }
}

/// Otherwise that account never logs in, and an unknown name that imitates it costs no hash.
#[test]
fn a_hash_that_is_accepted_in_a_file_can_be_verified_at_a_login() {
    let good = hash(b"password");
    let [head, salt, output] =
        good.rsplitn(3, '$').collect::<Vec<_>>().try_into().map(|[c, b, a]: [_; 3]| [a, b, c]).unwrap();
    let mut wrong = Vec::new();
    for line in [
        good.clone(),
        good.replace("v=19", "v=16"),
        good.replace("v=19", "v=18"),
        good.replace("v=19", "v=20"),
        good.replace("$v=19", ""),
        good.replace("p=1", "p=2"),
        good.replace("t=1", "t=0"),
        good.replace("p=1", "p=1,keyid=AAAA"),
        good.replace("p=1", "p=1,data=AAAA"),
        format!("{head}${}${output}", &salt[..4]),
        format!("{head}${}${output}", &salt[..10]),
        format!("{head}${salt}${}", &output[..4]),
        format!("{head}${salt}${}", &output[..16]),
        format!("{head}${salt}${output}{output}"),
    ] {
        let (accounts, broken) = Accounts::parse(&format!("alice password={line}\n"));
        let verdicts = [("alice", Reason::WrongPassword), ("bob", Reason::UnknownUser)];
        for (name, reason) in verdicts {
            let verdict = verify(&accounts, password(name, b"wrong"));
            if broken.is_empty() && verdict != Err(reason) {
                wrong.push((line.clone(), verdict));
            }
        }
    }
    assert_eq!(wrong, []);
}

#[test]
fn a_hash_that_costs_more_than_a_server_can_spend_is_neither_read_nor_made() {
    let with = |m, t, p| {
        let line = hash(b"password").replace("m=8,t=1,p=1", &format!("m={m},t={t},p={p}"));
        let (_, broken) = Accounts::parse(&format!("alice password={line}\n"));
        let mut accounts = Accounts::new();
        accounts.add("alice", [""; 0]).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(m, t, p, None).unwrap());
        (broken, move || accounts.set_password_with("alice", b"password", &argon2))
    };
    for (m, t, p) in [(1 << 20, 1, 1), (8, 32, 1), (128, 1, 16)] {
        assert_eq!(with(m, t, p).0, [], "m={m},t={t},p={p}");
    }
    for (m, t, p) in [((1 << 20) + 1, 1, 1), (4_194_304_000, 1, 1), (8, 33, 1), (8, u32::MAX, 1), (136, 1, 17)] {
        let (broken, mut set) = with(m, t, p);
        assert_eq!(broken, [BrokenLine { number: 1, error: LineError::Password }], "m={m},t={t},p={p}");
        assert!(broken[0].to_string().contains("m=1048576, t=32, p=16"), "{}", broken[0]);
        assert_eq!(set(), Err(AccountError::Hashing), "m={m},t={t},p={p}");
    }
}

#[test]
fn verifying_says_what_was_wrong_to_the_local_side() {
    let (mut accounts, _) = Accounts::parse(&format!("robot token={}\n", token_hash(b"token one")));
    for (name, secret) in [("alice", &b"correct horse"[..]), ("bob", b"\0\xff binary \n")] {
        accounts.add(name, ["read"]).unwrap();
        accounts.set_password_with(name, secret, &cheap()).unwrap();
    }
    let ok = |name: &str| Ok(name.to_owned());
    for (credential, expected) in [
        (password("alice", b"correct horse"), ok("alice")),
        (password("bob", b"\0\xff binary \n"), ok("bob")),
        (password("alice", b"correct hors"), Err(Reason::WrongPassword)),
        (password("alice", b"correct horse\0"), Err(Reason::WrongPassword)),
        (password("alice", b"\0\xff binary \n"), Err(Reason::WrongPassword)),
        (password("alice", b""), Err(Reason::WrongPassword)),
        (password("Alice", b"correct horse"), Err(Reason::UnknownUser)),
        (password("alice ", b"correct horse"), Err(Reason::UnknownUser)),
        (password("", b""), Err(Reason::UnknownUser)),
        // An account without a password has none that fits.
        (password("robot", b""), Err(Reason::WrongPassword)),
        (password("robot", b"token one"), Err(Reason::WrongPassword)),
        (Credential::Token(b"token one"), ok("robot")),
        (Credential::Token(b"token on"), Err(Reason::UnknownToken)),
        (Credential::Token(b""), Err(Reason::UnknownToken)),
        (Credential::Token(&Sha256::digest(b"token one")), Err(Reason::UnknownToken)),
    ] {
        assert_eq!(verify(&accounts, credential), expected);
    }
}

#[test]
fn a_password_can_be_changed_and_the_old_one_is_gone() {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    assert!(!accounts.get("alice").unwrap().has_password());
    accounts.set_password_with("alice", b"old", &cheap()).unwrap();
    let first = accounts.to_string();
    accounts.set_password_with("alice", b"new", &cheap()).unwrap();
    assert_eq!(verify(&accounts, password("alice", b"old")), Err(Reason::WrongPassword));
    assert_eq!(verify(&accounts, password("alice", b"new")), Ok("alice".to_owned()));
    accounts.set_password_with("alice", b"old", &cheap()).unwrap();
    assert_ne!(accounts.to_string(), first, "a fresh salt");
    let text = accounts.to_string();
    assert!(text.contains("password=$argon2id$v=19$m=8,t=1,p=1$") && !text.contains("old"), "{text}");
}

#[test]
fn the_default_parameters_are_those_of_the_documentation() {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts.set_password("alice", b"password").unwrap();
    assert!(accounts.to_string().contains("password=$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_eq!(verify(&accounts, password("alice", b"password")), Ok("alice".to_owned()));
}

#[test]
fn a_token_is_returned_once_and_stored_as_a_hash_alone() {
    let mut accounts = Accounts::new();
    accounts.add("robot", ["write"]).unwrap();
    let [first, second] = [(); 2].map(|()| accounts.issue_token("robot").unwrap());
    assert_ne!(*first, *second);
    let text = accounts.to_string();
    for token in [&first, &second] {
        assert!(token.starts_with("cst_") && token.len() == 4 + 43, "256 bits");
        assert!(!text.contains(token.as_str()) && !text.contains(&token[4..]), "the token is not in the file");
        assert!(text.contains(&token_hash(token.as_bytes())));
        assert_eq!(verify(&accounts, Credential::Token(token.as_bytes())), Ok("robot".to_owned()));
    }
    let (read, broken) = Accounts::parse(&text);
    assert!(broken.is_empty());
    assert_eq!(verify(&read, Credential::Token(first.as_bytes())), Ok("robot".to_owned()));
    assert_eq!(accounts.get("robot").unwrap().tokens(), 2);
    assert_eq!(accounts.revoke_tokens("robot"), Ok(2));
    assert_eq!(verify(&accounts, Credential::Token(first.as_bytes())), Err(Reason::UnknownToken));
    assert_eq!(accounts.revoke_tokens("robot"), Ok(0));
}

#[test]
fn a_removed_account_is_gone_with_its_password_and_its_tokens() {
    let mut accounts = Accounts::new();
    for name in ["alice", "robot", "zoe"] {
        accounts.add(name, [name]).unwrap();
        accounts.set_password_with(name, b"password", &cheap()).unwrap();
    }
    let [robot, zoe] = ["robot", "zoe"].map(|name| accounts.issue_token(name).unwrap());
    accounts.remove("robot").unwrap();
    assert_eq!(verify(&accounts, password("robot", b"password")), Err(Reason::UnknownUser));
    assert_eq!(verify(&accounts, Credential::Token(robot.as_bytes())), Err(Reason::UnknownToken));
    // Those around it are still themselves.
    assert_eq!(verify(&accounts, password("alice", b"password")), Ok("alice".to_owned()));
    assert_eq!(verify(&accounts, Credential::Token(zoe.as_bytes())), Ok("zoe".to_owned()));
    assert_eq!(accounts.iter().count(), 2);
}

#[test]
fn each_change_that_can_t_be_made_says_why() {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    let before = accounts.to_string();
    let exists = Err(AccountError::Exists("alice".to_owned()));
    assert_eq!(accounts.add("alice", ["write"]), exists);
    let long = "x".repeat(256);
    for name in ["", "#alice", "al ice", "al\tice", "al\nice", "al\u{2003}ice", "\u{85}", "a\0", &long] {
        assert_eq!(accounts.add(name, [""; 0]), Err(AccountError::BadName), "{name:?}");
    }
    let unknown = AccountError::Unknown("bob".to_owned());
    assert_eq!(accounts.set_password("bob", b"password"), Err(unknown.clone()));
    assert_eq!(accounts.issue_token("bob").map(drop), Err(unknown.clone()));
    assert_eq!(accounts.revoke_tokens("bob"), Err(unknown.clone()));
    assert_eq!(accounts.remove("bob"), Err(unknown));
    for bad in [&b""[..], &[b'x'; 4097]] {
        assert_eq!(accounts.set_password("alice", bad), Err(AccountError::BadPassword));
    }
    accounts.set_password_with("alice", &[b'x'; 4096], &cheap()).unwrap();
    let twice = AccountError::Permissions(Misuse::Duplicate("the permissions"));
    assert_eq!(accounts.add("carol", ["a", "a"]), Err(twice));
    let comma = AccountError::Permissions(Misuse::BadInput("a permission"));
    assert_eq!(accounts.add("carol", ["a,b"]), Err(comma));
    assert_ne!(accounts.to_string(), before);
    assert_eq!(accounts.iter().count(), 1);
}

#[test]
fn an_account_s_hashes_can_t_be_injected_through_its_name_or_permissions() {
    let mut accounts = Accounts::new();
    for name in ["eve password=x", "eve\nroot", "eve\u{2028}root"] {
        assert_eq!(accounts.add(name, [""; 0]), Err(AccountError::BadName));
    }
    for permission in ["a password=x", "a\nroot", ""] {
        assert!(accounts.add("eve", [permission]).is_err());
    }
    assert_eq!(accounts.to_string(), "");
}

mod file {
    use super::*;

    /// A folder with an account file in it: alice and her password, and a comment.
    fn folder() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        AccountFile::edit(&path, true, |accounts| -> Result<(), FileError> {
            accounts.add("alice", ["read"]).unwrap();
            accounts.set_password_with("alice", b"password", &cheap()).unwrap();
            Ok(())
        })
        .unwrap();
        (folder, path)
    }

    fn add(path: &Path, name: &str) -> Result<(), FileError> {
        AccountFile::edit(path, false, |accounts| {
            accounts.add(name, ["read"]).unwrap();
            accounts.set_password_with(name, b"password", &cheap()).unwrap();
            Ok(())
        })
    }

    fn names(path: &Path) -> Vec<String> {
        AccountFile::open(path).unwrap().accounts().iter().map(|account| account.name().to_owned()).collect()
    }

    #[test]
    fn a_file_is_made_only_where_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        assert!(matches!(AccountFile::open(&path), Err(FileError::Io { path: named, .. }) if named == path));
        assert!(matches!(add(&path, "alice"), Err(FileError::Io { .. })));
        assert!(!path.exists());
        AccountFile::edit(&path, true, |_| Ok::<_, FileError>(())).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        add(&path, "alice").unwrap();
        assert_eq!(names(&path), ["alice"]);
    }

    #[test]
    fn an_edit_keeps_what_it_does_not_change() {
        let (_folder, path) = folder();
        let text = format!("# who may log in\n{}bob ?\n", fs::read_to_string(&path).unwrap());
        fs::write(&path, &text).unwrap();
        add(&path, "carol").unwrap();
        let edited = fs::read_to_string(&path).unwrap();
        assert!(edited.starts_with(&text), "{edited}");
        let broken = AccountFile::open(&path).unwrap().broken_lines();
        assert_eq!(*broken, [BrokenLine { number: 3, error: LineError::Field }]);
    }

    /// What stops an edit.
    #[derive(Debug)]
    struct Stop;

    impl From<FileError> for Stop {
        fn from(error: FileError) -> Self {
            panic!("{error}")
        }
    }

    #[test]
    fn an_edit_that_fails_leaves_no_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        assert!(AccountFile::edit(&path, true, |_| Err::<(), _>(Stop)).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // But an empty one that was there.
        fs::write(&path, "").unwrap();
        restrict(&path);
        assert!(AccountFile::edit(&path, true, |_| Err::<(), _>(Stop)).is_err());
        assert!(path.exists());
    }

    #[test]
    fn an_edit_that_fails_leaves_the_file_as_it_was() {
        let (folder, path) = folder();
        let before = fs::read_to_string(&path).unwrap();
        let stopped = AccountFile::edit(&path, false, |accounts| {
            accounts.remove("alice").unwrap();
            Err::<(), _>(Stop)
        });
        assert!(stopped.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_replaced_whole_and_only_its_owner_can_read_it() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let (folder, path) = folder();
        let metadata = || fs::metadata(&path).unwrap();
        assert_eq!(metadata().permissions().mode() & 0o7777, 0o600);
        // Held open, so that its inode is not given to another.
        let held = fs::File::open(&path).unwrap();
        let before = metadata().ino();
        add(&path, "bob").unwrap();
        assert_ne!(metadata().ino(), before);
        assert_eq!(metadata().permissions().mode() & 0o7777, 0o600);
        assert_eq!(held.metadata().unwrap().ino(), before);
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["accounts"], "no temporary files are left");
    }

    #[cfg(unix)]
    #[test]
    fn an_edit_leaves_the_file_to_its_owner_and_group_with_their_permissions() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        let (_folder, path) = folder();
        // Only root can give files away; anyone can keep what is theirs.
        let _ = chown(&path, Some(4321), Some(1234));
        for mode in [0o640, 0o660, 0o600] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let access = || {
                let metadata = fs::metadata(&path).unwrap();
                (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
            };
            let (before, ino) = (access(), fs::metadata(&path).unwrap().ino());
            add(&path, &format!("user-{mode:o}")).unwrap();
            assert_eq!(access(), before);
            assert_ne!(fs::metadata(&path).unwrap().ino(), ino, "a new file");
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_edit_through_a_link_edits_its_target() {
        use std::os::unix::fs::symlink;
        let (folder, target) = folder();
        let elsewhere = tempfile::tempdir().unwrap();
        let (link, chain) = (elsewhere.path().join("link"), elsewhere.path().join("chain"));
        symlink(&target, &link).unwrap();
        symlink("link", &chain).unwrap();
        let file = AccountFile::open(&chain).unwrap();
        for (path, name) in [(&link, "bob"), (&chain, "carol"), (&target, "dave")] {
            add(path, name).unwrap();
            assert_eq!(verify(&file, password(name, b"password")), Ok(name.to_owned()));
        }
        assert!(link.is_symlink() && chain.is_symlink() && !target.is_symlink());
        assert_eq!(names(&target), ["alice", "bob", "carol", "dave"]);
        for folder in [folder.path(), elsewhere.path()] {
            assert!(
                fs::read_dir(folder).unwrap().all(|entry| !entry
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .contains("tmp"))
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nowhere_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let edited = AccountFile::edit(&link, true, |_| Ok::<_, FileError>(()));
        assert!(matches!(edited, Err(FileError::Io { path, .. }) if path == link));
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_everyone_can_read_or_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, path) = folder();
        for mode in [0o644, 0o604, 0o602, 0o601, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let exposed = |result: Result<(), FileError>| match result {
                Err(FileError::Exposed { mode: named, .. }) => named == mode,
                _ => false,
            };
            assert!(exposed(AccountFile::open(&path).map(drop)), "{mode:o}");
            assert!(exposed(add(&path, "bob")), "{mode:o}");
        }
        for mode in [0o600, 0o640, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(AccountFile::open(&path).is_ok(), "{mode:o}");
        }
        assert_eq!(names(&path), ["alice"]);
    }

    #[test]
    fn a_file_that_is_no_text_is_refused() {
        let (_folder, path) = folder();
        fs::write(&path, b"alice \xff\xfe\n").unwrap();
        assert!(matches!(AccountFile::open(&path), Err(FileError::NotText { .. })));
        assert!(matches!(add(&path, "bob"), Err(FileError::NotText { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"alice \xff\xfe\n");
    }

    #[test]
    fn edits_from_many_threads_lose_nothing() {
        const THREADS: usize = 8;
        const EACH: usize = 6;
        let (folder, path) = folder();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..EACH {
                        add(path, &format!("user-{thread}-{number}")).unwrap();
                    }
                });
            }
        });
        let mut found = names(&path);
        found.sort_unstable();
        let mut expected: Vec<String> =
            (0..THREADS).flat_map(|thread| (0..EACH).map(move |number| format!("user-{thread}-{number}"))).collect();
        expected.push("alice".to_owned());
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_changes_is_read_anew() {
        let (_folder, path) = folder();
        let file = AccountFile::open(&path).unwrap();
        assert!(!file.refresh().unwrap(), "nothing has changed");
        assert_eq!(verify(&file, password("bob", b"password")), Err(Reason::UnknownUser));
        let before = file.accounts();
        add(&path, "bob").unwrap();
        assert!(file.refresh().unwrap());
        assert!(!file.refresh().unwrap());
        assert_eq!(verify(&file, password("bob", b"password")), Ok("bob".to_owned()));
        assert_eq!(before.iter().count(), 1, "what was handed out stays as it was");
        // Without being told to.
        add(&path, "carol").unwrap();
        assert_eq!(verify(&file, password("carol", b"password")), Ok("carol".to_owned()));
        AccountFile::edit(&path, false, |accounts| {
            accounts.remove("bob").unwrap();
            Ok::<_, FileError>(())
        })
        .unwrap();
        assert_eq!(verify(&file, password("bob", b"password")), Err(Reason::UnknownUser));
        assert_eq!(verify(&file, password("carol", b"password")), Ok("carol".to_owned()));
    }

    /// Otherwise a user whose removal made the file unreadable would go on logging in.
    #[test]
    fn nobody_is_let_in_while_the_file_is_gone_or_unreadable() {
        let (_folder, path) = folder();
        let good = [&fs::read(&path).unwrap()[..], format!("robot token={TOKEN_ONE}\n").as_bytes()].concat();
        fs::write(&path, &good).unwrap();
        let file = AccountFile::open(&path).unwrap();
        let (alice, robot) = (password("alice", b"password"), Credential::Token(b"token one"));
        let open = || assert_eq!([alice, robot].map(|c| verify(&file, c).is_ok()), [true; 2]);
        let closed = || {
            for credential in [alice, robot, password("alice", b"wrong"), password("bob", b""), Credential::Token(b"")]
            {
                assert_eq!(verify(&file, credential), Err(Reason::NotNow("the account file can't be read")));
            }
        };
        open();
        fs::remove_file(&path).unwrap();
        closed();
        assert!(matches!(file.refresh(), Err(FileError::Io { .. })));
        closed();
        fs::write(&path, b"\xff").unwrap();
        restrict(&path);
        assert!(matches!(file.refresh(), Err(FileError::NotText { .. })));
        closed();
        // And when it is back, it counts again.
        fs::remove_file(&path).unwrap();
        fs::write(&path, [&good[..], b"bob\n"].concat()).unwrap();
        restrict(&path);
        open();
        assert_eq!(file.accounts().iter().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_is_let_in_while_everyone_can_write_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, path) = folder();
        let file = AccountFile::open(&path).unwrap();
        for (mode, expected) in [
            (0o602, Err(Reason::NotNow("the account file can't be read"))),
            (0o600, Ok("alice".to_owned())),
            (0o604, Err(Reason::NotNow("the account file can't be read"))),
        ] {
            // Its content stays the same.
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(verify(&file, password("alice", b"password")), expected, "{mode:o}");
        }
        fs::write(&path, "mallory\n").unwrap();
        assert!(matches!(file.refresh(), Err(FileError::Exposed { .. })));
        assert_eq!(file.accounts().iter().next().unwrap().name(), "alice");
    }

    #[test]
    fn broken_lines_of_a_file_are_listed_and_the_others_served() {
        let (_folder, path) = folder();
        let text = format!("what?\n{}carol password=plain\n", fs::read_to_string(&path).unwrap());
        fs::write(&path, text).unwrap();
        let file = AccountFile::open(&path).unwrap();
        assert_eq!(
            *file.broken_lines(),
            [BrokenLine { number: 3, error: LineError::Password }],
            "`what?` is a user without a password"
        );
        assert_eq!(verify(&file, password("alice", b"password")), Ok("alice".to_owned()));
    }

    fn restrict(path: &Path) {
        #[cfg(unix)]
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        #[cfg(not(unix))]
        let _ = path;
    }
}

#[test]
fn removing_a_user_removes_the_later_lines_of_that_name_too() {
    let mut first = Accounts::new();
    first.add("alice", ["read"]).unwrap();
    let text = format!("{first}# alice is a comment\nalice permissions=admin\nbob\n");
    let (mut accounts, broken) = Accounts::parse(&text);
    assert_eq!(broken.len(), 1);
    accounts.remove("alice").unwrap();
    assert_eq!(accounts.to_string(), "# alice is a comment\nbob\n");
}
