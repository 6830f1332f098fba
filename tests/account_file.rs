//! Account files: edited without losing another's edit, and served while they change.

#![cfg(feature = "accounts")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/asked.rs"]
mod asked;
#[path = "support/folder.rs"]
mod folder;

use countersign::accounts::{
    Account, AccountFile, AccountStore, AccountVerifier, BrokenLine, HashParameters, LineError, News, Role,
};
use countersign::files::{FileError, MAX_FILE, Missing, TextError, edit_accounts};
use countersign::{AsyncVerifier, Attempt, Context, Credential, Reason};
use folder::files;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// As cheap as Argon2id gets: these tests are not about its strength.
fn cheap() -> HashParameters {
    HashParameters::new(8, 1, 1).unwrap()
}

fn password<'a>(user: &'a str, password: &'a [u8]) -> Credential<'a> {
    Credential::Password { user, password }
}

/// The verdict as a name or a reason.
fn verify(file: &Arc<AccountFile>, credential: Credential<'_>) -> Result<String, Reason> {
    asked::check(file, credential).map(|grant| grant.principal().to_owned())
}

fn open(path: &Path) -> Arc<AccountFile> {
    Arc::new(AccountFile::open(path).unwrap())
}

/// The hash of the token "token one".
const TOKEN_ONE: &str = "SHA256:/K6YqKtISs5VNDg8gDFOyFAq+jsTw4ZjBcxFn0Iqiak";

/// A folder with an account file in it: alice and her password, and a comment.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    edit_accounts(&path, Missing::Make, |accounts| -> Result<(), FileError> {
        accounts.add("alice", ["read"]).unwrap();
        accounts.edit("alice", |account| account.set_password_with(b"password", cheap())).unwrap();
        Ok(())
    })
    .unwrap();
    (folder, path)
}

fn add(path: &Path, name: &str) -> Result<(), FileError> {
    edit_accounts(path, Missing::Fail, |accounts| {
        accounts.add(name, ["read"]).unwrap();
        accounts.edit(name, |account| account.set_password_with(b"password", cheap())).unwrap();
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
    edit_accounts(&path, Missing::Make, |_| Ok::<_, FileError>(())).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    add(&path, "alice").unwrap();
    assert_eq!(names(&path), ["alice"]);
}

/// The numbers of lines, and what is wrong with them.
fn faults(broken: &[BrokenLine]) -> Vec<(usize, LineError)> {
    broken.iter().map(|line| (line.number, line.error)).collect()
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
    assert_eq!(faults(&broken), [(4, LineError::Field)]);
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
    assert!(edit_accounts(&path, Missing::Make, |_| Err::<(), _>(Stop)).is_err());
    assert_eq!(files(&folder), 0);
    // But an empty one that was there.
    fs::write(&path, "").unwrap();
    restrict(&path);
    assert!(edit_accounts(&path, Missing::Make, |_| Err::<(), _>(Stop)).is_err());
    assert!(path.exists());
}

#[test]
fn an_edit_that_fails_leaves_the_file_as_it_was() {
    let (folder, path) = folder();
    let before = fs::read_to_string(&path).unwrap();
    let stopped = edit_accounts(&path, Missing::Fail, |accounts| {
        accounts.remove("alice").unwrap();
        Err::<(), _>(Stop)
    });
    assert!(stopped.is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(files(&folder), 1);
}

/// A good password that is stored too cheaply is hashed anew. Where that can't be written, its owner is let in, and goes on as before.
#[test]
fn an_upgrade_that_can_not_be_written_lets_in_all_the_same() {
    let (folder, path) = folder();
    // As long as a file may be but for two bytes, and what a better hash takes is more than that. (A folder that can't be written would do,
    // but for root, who may write everywhere.)
    let comment = format!("#{}\n", "x".repeat(60_000));
    let mut text = fs::read_to_string(&path).unwrap();
    let room = usize::try_from(MAX_FILE).unwrap() - 2 - text.len();
    text.push_str(&comment.repeat(room / comment.len()));
    text.push_str(&format!("#{}\n", "x".repeat(room % comment.len() - 2)));
    fs::write(&path, &text).unwrap();
    let verifier = AccountVerifier::new(open(&path));
    let context = Context::uncounted();
    let log_in =
        |password| asked::block_on(verifier.verify(&Attempt::new(self::password("alice", password), &context)));
    for _ in 0..2 {
        assert_eq!(log_in(b"password").unwrap().principal(), "alice");
        assert_eq!(log_in(b"another"), Err(Reason::WrongPassword));
        assert!(fs::read_to_string(&path).unwrap() == text, "as it was");
    }
    assert_eq!(files(&folder), 1, "and nothing beside it");
    // With room for it, it is written.
    fs::write(&path, text.split('#').next().unwrap()).unwrap();
    log_in(b"password").unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("m=19456"));
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
/// Whoever else edits it waits, and none has to find out at the end that it was overtaken.
#[test]
#[cfg(unix)]
fn an_edit_has_the_file_locked_while_it_changes_it_and_no_longer() {
    let (_folder, path) = folder();
    let lock = || fs::File::open(&path).unwrap().try_lock();
    edit_accounts(&path, Missing::Fail, |accounts| {
        assert!(matches!(lock(), Err(fs::TryLockError::WouldBlock)));
        accounts.add("bob", ["read"]).unwrap();
        Ok::<_, FileError>(())
    })
    .unwrap();
    lock().unwrap();
    assert_eq!(names(&path), ["alice", "bob"]);
}

/// Who knows the key knows which cost belongs to which unknown name.
#[test]
fn what_unknown_names_cost_is_chosen_by_a_key_of_each_file_s_own() {
    let keys = [0, 1].map(|_| {
        let (_folder, path) = folder();
        add(&path, "bob").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let line = text.lines().find(|line| line.starts_with("#imitate key=")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().to_owned()
    });
    assert_ne!(keys[0], keys[1]);
    // In base64: no part of it is the same, as it would be where it is not drawn.
    let parts = |key: &str| key.as_bytes()[4..].chunks(10).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert!(parts(&keys[0]).iter().zip(parts(&keys[1])).all(|(one, other)| *one != other), "{keys:?}");
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
    let file = open(&chain);
    for (path, name) in [(&link, "bob"), (&chain, "carol"), (&target, "dave")] {
        add(path, name).unwrap();
        assert_eq!(verify(&file, password(name, b"password")), Ok(name.to_owned()));
    }
    assert!(link.is_symlink() && chain.is_symlink() && !target.is_symlink());
    assert_eq!(names(&target), ["alice", "bob", "carol", "dave"]);
    for folder in [folder.path(), elsewhere.path()] {
        assert!(
            fs::read_dir(folder).unwrap().all(|entry| !entry.unwrap().file_name().to_string_lossy().contains("tmp"))
        );
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_nowhere_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let edited = edit_accounts(&link, Missing::Make, |_| Ok::<_, FileError>(()));
    assert!(matches!(edited, Err(FileError::Io { path, .. }) if path == link));
    assert!(link.is_symlink());
    assert_eq!(files(&folder), 1);
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
fn one_bad_byte_costs_one_line() {
    let (_folder, path) = folder();
    let text = [&fs::read(&path).unwrap()[..], b"andr\xe9 permissions=read\n# caf\xe9\n"].concat();
    fs::write(&path, &text).unwrap();
    let broken = AccountFile::open(&path).unwrap().broken_lines();
    let numbers: Vec<_> = broken.iter().map(|line| (line.number, line.error)).collect();
    assert_eq!(
        numbers,
        [
            (3, LineError::Text(TextError::NotUtf8 { column: 5 })),
            (4, LineError::Text(TextError::NotUtf8 { column: 6 }))
        ]
    );
    add(&path, "bob").unwrap();
    assert!(fs::read(&path).unwrap().starts_with(&text), "and it is kept");
    assert_eq!(names(&path), ["alice", "bob"]);
}

#[test]
fn a_file_that_is_too_long_is_refused_with_the_limit() {
    let (_folder, path) = folder();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    let refused = AccountFile::open(&path).map(drop).unwrap_err();
    assert!(matches!(refused, FileError::TooLong { .. }) && refused.to_string().contains("64 MiB"), "{refused}");
    assert!(matches!(add(&path, "bob"), Err(FileError::TooLong { .. })));
}

/// A process that was stopped would otherwise stop all others, and a pipe whoever waits for its other end.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, named) in [(folder.path(), "a directory"), (&pipe, "a pipe"), (Path::new("/dev/null"), "a device")] {
        let is_named = |refused: FileError| matches!(refused, FileError::NotFile { what, .. } if what == named);
        assert!(is_named(AccountFile::open(path).map(drop).unwrap_err()), "{named}");
        assert!(is_named(add(path, "bob").unwrap_err()), "{named}");
    }
    assert_eq!(files(&folder), 1);
}

/// As `sed -i` and most editors do it: a new file in the place of the one that was read.
fn edit_by_hand(path: &Path, line: &str, meanwhile: impl FnOnce()) {
    let text = fs::read(path).unwrap();
    let copy = path.with_extension(line);
    fs::write(&copy, [&text[..], line.as_bytes(), b"\n"].concat()).unwrap();
    restrict(&copy);
    meanwhile();
    fs::rename(&copy, path).unwrap();
}

#[test]
fn an_edit_by_hand_during_an_edit_is_kept() {
    let (folder, path) = folder();
    let mut edits = 0;
    edit_accounts(&path, Missing::Fail, |accounts| -> Result<(), FileError> {
        if edits < 3 {
            edit_by_hand(&path, &format!("# edit {edits}"), || {});
        }
        edits += 1;
        accounts.add("bob", [""; 0]).unwrap();
        Ok(())
    })
    .unwrap();
    assert_eq!(edits, 4, "made again for each");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("# edit 0\n# edit 1\n# edit 2\nbob\n"), "{text}");
    assert_eq!(files(&folder), 1);
}

/// An editor that read the file before an edit, and writes it after: it knows nothing of what was changed.
#[test]
fn an_edit_is_kept_when_one_by_hand_that_began_before_ends_after_it() {
    let (folder, path) = folder();
    let (read, is_read) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let hand = scope.spawn(|| {
            let path = path.clone();
            edit_by_hand(&path, "# by hand", || {
                read.send(()).unwrap();
                // Until the other edit is there for all to see.
                while !fs::read_to_string(&path).unwrap().contains("bob") {
                    std::thread::yield_now();
                }
            });
        });
        is_read.recv().unwrap();
        add(&path, "bob").unwrap();
        hand.join().unwrap();
    });
    assert!(fs::read_to_string(&path).unwrap().contains("# by hand\n"));
    assert_eq!(names(&path), ["alice", "bob"]);
    assert_eq!(files(&folder), 1);
}

/// `echo line >> file` has the file open, and writes when another has taken its name.
#[cfg(unix)]
#[test]
fn a_line_that_is_appended_to_the_old_file_is_kept() {
    use std::io::Write;
    let (folder, path) = folder();
    std::thread::scope(|scope| {
        let mut old = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let path = &path;
        scope.spawn(move || {
            while !fs::read_to_string(path).unwrap().contains("bob") {
                std::thread::yield_now();
            }
            old.write_all(b"# appended\n").unwrap();
        });
        add(path, "bob").unwrap();
    });
    assert!(fs::read_to_string(&path).unwrap().contains("# appended\n"));
    assert_eq!(names(&path), ["alice", "bob"]);
    assert_eq!(files(&folder), 1);
}

#[cfg(unix)]
#[test]
fn many_edits_by_hand_and_by_this_library_lose_nothing() {
    const EACH: usize = 12;
    let (folder, path) = folder();
    std::thread::scope(|scope| {
        let path = &path;
        let commands = scope.spawn(move || (0..EACH).for_each(|number| add(path, &format!("user-{number}")).unwrap()));
        let mut number = 0;
        while !commands.is_finished() {
            edit_by_hand(path, &format!("# edit {number}"), || {});
            number += 1;
            // Other people's edits, one after the other, each with a look at what it came to.
            let text = fs::read_to_string(path).unwrap();
            assert!((0..number).all(|number| text.contains(&format!("# edit {number}\n"))), "{text}");
            std::thread::sleep(std::time::Duration::from_millis(150));
        }
    });
    let mut expected: Vec<String> = (0..EACH).map(|number| format!("user-{number}")).collect();
    expected.insert(0, "alice".to_owned());
    assert_eq!(names(&path), expected);
    assert_eq!(files(&folder), 1);
}

/// What a killed process had begun to write.
#[cfg(unix)]
#[test]
fn what_a_dead_edit_left_is_taken_away_and_what_a_live_one_has_is_not() {
    let (folder, path) = folder();
    // The name of a temporary file is not told: this is one.
    let mut name = None;
    let look = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).find(|other| *other != path);
    std::thread::scope(|scope| {
        let edit = scope.spawn(|| add(&path, "bob").unwrap());
        while !edit.is_finished() && name.is_none() {
            name = look();
        }
    });
    let name = name.expect("an edit takes a tenth of a second");
    assert_eq!(look(), None);
    let leave = |name: &Path| fs::write(name, "secret hashes").unwrap();
    leave(&name);
    add(&path, "carol").unwrap();
    assert_eq!(look(), None);
    leave(&name);
    AccountFile::open(&path).unwrap();
    assert_eq!(look(), None);
    // A process that lives holds its lock.
    leave(&name);
    let live = fs::File::open(&name).unwrap();
    live.lock().unwrap();
    AccountFile::open(&path).unwrap();
    add(&path, "dave").unwrap();
    assert_eq!(look(), Some(name.clone()));
    drop(live);
    AccountFile::open(&path).unwrap();
    assert_eq!(look(), None);
    // Others' files are left alone.
    let other = name.with_file_name(".countersign-00000000-x.tmp");
    leave(&other);
    AccountFile::open(&path).unwrap();
    assert!(other.exists());
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
    assert_eq!(files(&folder), 1);
}

#[test]
fn a_file_that_changes_is_read_anew() {
    let (_folder, path) = folder();
    let file = open(&path);
    file.refresh().unwrap();
    assert_eq!(verify(&file, password("bob", b"password")), Err(Reason::UnknownUser));
    let before = file.accounts();
    add(&path, "bob").unwrap();
    file.refresh().unwrap();
    assert_eq!(verify(&file, password("bob", b"password")), Ok("bob".to_owned()));
    assert_eq!(before.iter().count(), 1, "what was handed out stays as it was");
    // Without being told to.
    add(&path, "carol").unwrap();
    assert_eq!(verify(&file, password("carol", b"password")), Ok("carol".to_owned()));
    edit_accounts(&path, Missing::Fail, |accounts| {
        accounts.remove("bob").unwrap();
        Ok::<_, FileError>(())
    })
    .unwrap();
    assert_eq!(verify(&file, password("bob", b"password")), Err(Reason::UnknownUser));
    assert_eq!(verify(&file, password("carol", b"password")), Ok("carol".to_owned()));
}

/// A look that takes long on a busy machine is not waited for by logins.
#[test]
fn whoever_changes_a_file_finds_the_change() {
    let (_folder, path) = folder();
    let file = open(&path);
    let there = |name: &str| file.accounts().get(name).is_some();
    for number in 0..8 {
        let name = format!("user{number}");
        asked::block_on(file.add(&Account::new(&name, ["read"]).unwrap())).unwrap();
        assert!(there(&name), "without a look at the file");
        asked::block_on(file.remove(&name)).unwrap();
        assert!(!there(&name));
        let role = Role::new(&format!("role{number}"), ["write"]).unwrap();
        asked::block_on(file.add_role(&role)).unwrap();
        assert!(file.accounts().role(role.name()).is_some());
    }
}

/// Otherwise a user whose removal made the file unreadable would go on logging in.
#[test]
fn nobody_is_let_in_while_the_file_is_gone_or_unreadable() {
    let (_folder, path) = folder();
    let good = [&fs::read(&path).unwrap()[..], format!("robot token={TOKEN_ONE}\n").as_bytes()].concat();
    fs::write(&path, &good).unwrap();
    let file = open(&path);
    let (alice, robot) = (password("alice", b"password"), Credential::Token(b"token one"));
    let open = || assert_eq!([alice, robot].map(|c| verify(&file, c).is_ok()), [true; 2]);
    let closed = || {
        for credential in [alice, robot, password("alice", b"wrong"), password("bob", b""), Credential::Token(b"")] {
            assert_eq!(verify(&file, credential), Err(Reason::NotNow("the account file can't be read")));
        }
    };
    open();
    fs::remove_file(&path).unwrap();
    closed();
    assert!(matches!(file.refresh().as_ref().map_err(|error| &**error), Err(FileError::Io { .. })));
    closed();
    fs::create_dir(&path).unwrap();
    assert!(matches!(file.refresh().as_ref().map_err(|error| &**error), Err(FileError::NotFile { .. })));
    closed();
    // And when it is back, it counts again.
    fs::remove_dir(&path).unwrap();
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
    let file = open(&path);
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
    assert!(matches!(file.refresh().as_ref().map_err(|error| &**error), Err(FileError::Exposed { .. })));
    assert_eq!(file.accounts().iter().next().unwrap().name(), "alice");
}

/// An editor in place that puts the time back: only the system's own time of the change is left to see it by.
#[cfg(unix)]
#[test]
fn a_change_in_place_that_keeps_the_length_and_the_time_is_noticed() {
    let (_folder, path) = folder();
    let file = open(&path);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    for (from, to) in [("permissions=read", "permissions=root"), ("alice", "bobby"), ("bobby", "clara")] {
        let text = fs::read_to_string(&path).unwrap().replace(from, to);
        fs::write(&path, text).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        file.refresh().unwrap();
        assert!(
            format!("{:?}", file.accounts().iter().next().unwrap().own_grant())
                .contains(&to.replace("permissions=", ""))
        );
    }
}

#[test]
fn a_file_that_is_only_touched_is_not_taken_apart_again() {
    let (_folder, path) = folder();
    let file = open(&path);
    let before = file.accounts();
    fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    file.refresh().unwrap();
    assert!(Arc::ptr_eq(&before, &file.accounts()));
}

#[test]
fn who_watches_is_told_of_each_change_once_before_it_counts() {
    let (_folder, path) = folder();
    let (tell, told) = std::sync::mpsc::channel();
    let file = AccountFile::open(&path).unwrap().with_observer(move |news| {
        let _ = tell.send(match news {
            News::Read { accounts, broken } => format!("{} {}", accounts.iter().count(), broken.len()),
            News::Unreadable(error) => error.code().to_owned(),
            _ => String::new(),
        });
    });
    let news = || {
        // By now it has been told.
        let _ = file.refresh();
        told.try_iter().collect::<Vec<_>>()
    };
    assert_eq!(news(), [""; 0], "whoever opened it knows what is in it");
    add(&path, "bob").unwrap();
    assert_eq!(news(), ["2 0"]);
    assert_eq!(news(), [""; 0]);
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).unwrap();
    assert_eq!(news(), ["file-io"]);
    assert_eq!(news(), [""; 0], "once");
    fs::rename(&aside, &path).unwrap();
    assert_eq!(news(), ["2 0"], "and that it is back");
}

#[test]
fn broken_lines_of_a_file_are_listed_and_the_others_served() {
    let (_folder, path) = folder();
    let text = format!("what?\n{}carol password=plain\n", fs::read_to_string(&path).unwrap());
    fs::write(&path, text).unwrap();
    let file = open(&path);
    assert_eq!(faults(&file.broken_lines()), [(4, LineError::ClearPassword)], "`what?` is a user without a password");
    assert_eq!(verify(&file, password("alice", b"password")), Ok("alice".to_owned()));
}

fn restrict(path: &Path) {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    #[cfg(not(unix))]
    let _ = path;
}
