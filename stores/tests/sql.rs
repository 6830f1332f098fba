//! Databases as they are: not migrated, half gone, locked, killed, away, slow, and large.
#![cfg(feature = "sql")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "../../tests/support/drawn.rs"]
mod drawn;
#[path = "../../tests/support/heap.rs"]
mod heap;
#[path = "support/tables.rs"]
mod tables;

use countersign::accounts::{
    Account, AccountError, AccountFile, AccountStore, AccountVerifier, HashParameters, Role, StoreError,
};
use countersign::files::{FileError, Missing, edit_accounts};
use countersign::{AsyncVerifier, Attempt, Context, Credential, Reason, StretchParameters, Stretching};
use countersign_stores::{OpenError, Place, Schema, SqlStore};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tables::{BACK_TO_1, PASSWORD, account, all_but_one, log_in, read_beside_changes_that_wait, watched};
use tempfile::TempDir;

async fn sqlite() -> (TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::sqlite(folder.path().join("accounts.db"));
    place.migrate().await.unwrap();
    (folder, place)
}

/// Who knows it knows which cost belongs to which unknown name.
#[tokio::test]
async fn what_unknown_names_cost_is_chosen_by_a_key_of_each_database_s_own() {
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (_folder, place) = sqlite().await;
        let mut connection = other(&place, &[]).await;
        let select = "SELECT imitation_key FROM countersign";
        let key: String = sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap();
        keys.push(key);
    }
    let parts = |key: &str| key.as_bytes().chunks(16).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert!(parts(&keys[0]).iter().zip(parts(&keys[1])).all(|(one, other)| *one != other), "{keys:?}");
}

/// Somebody else at the same file.
async fn other(place: &Place, statements: &[&str]) -> SqliteConnection {
    let address = format!("sqlite:{}", place.path().unwrap().display());
    let mut connection = SqliteConnection::connect(&address).await.unwrap();
    for statement in statements {
        sqlx::query(AssertSqlSafe((*statement).to_owned())).execute(&mut connection).await.unwrap();
    }
    connection
}

fn schema(opened: Result<SqlStore, OpenError>) -> Schema {
    match opened {
        Err(OpenError::Schema(schema)) => schema,
        opened => panic!("{opened:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_not_as_they_should_be_are_named_with_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::sqlite(folder.path().join("accounts.db"));
    assert!(matches!(SqlStore::open(&place).await, Err(OpenError::File { .. })), "nothing is made by the way");
    assert_eq!(place.migrate().await.unwrap(), Schema::Missing);
    assert_eq!((place.migrate().await.unwrap(), place.schema().await.unwrap()), (Schema::Current, Schema::Current));
    let empty = Place::sqlite(folder.path().join("empty.db"));
    std::fs::write(empty.path().unwrap(), "").unwrap();
    restrict(empty.path().unwrap());
    let missing = schema(SqlStore::open(&empty).await);
    assert_eq!(missing, Schema::Missing);
    assert!(missing.to_string().contains("migration"));
    for (statement, found) in [
        ("UPDATE countersign SET version = 7, compatible_from = 7", Schema::Newer { version: 7 }),
        ("UPDATE countersign SET version = 0", Schema::Damaged),
        ("UPDATE countersign SET version = 2", Schema::Older { version: 2 }),
        ("UPDATE countersign SET version = 4", Schema::Current),
        // Of what is not all there nobody could know which half is right.
        ("UPDATE countersign SET imitation_key = substr(imitation_key, 1, 63)", Schema::Damaged),
        ("UPDATE countersign SET imitation_key = imitation_key || 'g'", Schema::Damaged),
        ("UPDATE countersign SET imitation_key = substr(imitation_key, 1, 63) || '0'", Schema::Current),
        ("UPDATE countersign SET version = 9, compatible_from = 4", Schema::Compatible { version: 9 }),
        ("UPDATE countersign SET compatible_from = 5", Schema::Newer { version: 9 }),
        ("UPDATE countersign SET compatible_from = 0", Schema::Newer { version: 9 }),
        ("UPDATE countersign SET version = 4", Schema::Current),
        ("ALTER TABLE accounts DROP COLUMN more", Schema::Damaged),
        ("DROP TABLE tokens", Schema::Damaged),
        ("DROP TABLE countersign", Schema::Foreign),
        ("DROP TABLE account_roles", Schema::Foreign),
        ("DROP TABLE accounts", Schema::Foreign),
        ("DROP TABLE roles", Schema::Foreign),
        ("DROP TABLE imitated_costs", Schema::Missing),
    ] {
        other(&place, &[statement]).await.close().await.unwrap();
        if matches!(found, Schema::Current | Schema::Compatible { .. }) {
            assert_eq!(place.migrate().await.unwrap(), found, "{statement}");
            SqlStore::open(&place).await.unwrap();
        } else {
            assert_eq!(schema(SqlStore::open(&place).await), found, "{statement}");
        }
        if matches!(found, Schema::Damaged | Schema::Foreign | Schema::Newer { .. }) {
            assert!(matches!(place.migrate().await, Err(OpenError::Schema(said)) if said == found), "{statement}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_to_drop_another_programs_tables() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::sqlite(folder.path().join("theirs.db"));
    std::fs::write(place.path().unwrap(), "").unwrap();
    restrict(place.path().unwrap());
    let theirs = ["CREATE TABLE accounts (id INTEGER, owner TEXT)", "INSERT INTO accounts VALUES (1, 'somebody')"];
    other(&place, &theirs).await.close().await.unwrap();
    let found = schema(SqlStore::open(&place).await);
    assert_eq!(found, Schema::Foreign);
    assert!(found.to_string().contains("use another database") && !found.to_string().contains("drop"));
    assert!(matches!(place.migrate().await, Err(OpenError::Schema(Schema::Foreign))));
}

#[tokio::test(flavor = "multi_thread")]
async fn older_tables_are_refused_until_they_are_migrated_and_keep_what_is_in_them() {
    let (_folder, place) = sqlite().await;
    let store = SqlStore::open(&place).await.unwrap();
    store.add(&account("alice")).await.unwrap();
    let mut bob = Account::new("bob", [""; 0]).unwrap();
    let argon2 = HashParameters::new(16, 1, 1).unwrap();
    bob.set_password_with(PASSWORD, argon2).unwrap();
    store.add(&bob).await.unwrap();
    store.close().await;
    let was_there = [
        "UPDATE accounts SET more = 'from=192.0.2.0/24' WHERE name = 'alice'",
        "UPDATE accounts SET password_cost = 'the digest of ' || name",
    ];
    other(&place, &[&BACK_TO_1[..], &was_there].concat()).await.close().await.unwrap();
    assert_eq!(schema(SqlStore::open(&place).await), Schema::Older { version: 1 });
    assert_eq!(place.migrate().await.unwrap(), Schema::Older { version: 1 });
    // What unknown names imitated they imitate from then on, before anybody logs in.
    let listed = costs(&place).await;
    for known in [account("alice"), bob].map(|account| account.password_cost().unwrap()) {
        assert!(listed.contains(&known), "{listed:?}");
    }
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    let alice = store.find("alice").await.unwrap().unwrap();
    assert_eq!((alice.has_password(), alice.allowed_from().map(|from| from.as_str())), (true, Some("192.0.2.0/24")));
    assert_eq!(store.edit("alice", |account| account.set_from(None)).await.unwrap(), ());
    assert!(log_in(&store, "alice").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_cut_off_leaves_everything_as_it_was() {
    let (_folder, place) = sqlite().await;
    other(&place, &BACK_TO_1).await.close().await.unwrap();
    // The last of its steps can't be done.
    other(&place, &["DROP INDEX accounts_by_password_cost"]).await.close().await.unwrap();
    assert!(matches!(place.migrate().await, Err(OpenError::Refused(_))));
    assert_eq!(place.schema().await.unwrap(), Schema::Older { version: 1 });
    let mut connection = other(&place, &[]).await;
    let made = "SELECT count(*) FROM sqlite_schema WHERE name IN ('roles', 'account_roles', 'imitated_costs')";
    let made: i64 = sqlx::query_scalar(made).fetch_one(&mut connection).await.unwrap();
    assert_eq!(made, 0);
}

async fn costs(place: &Place) -> Vec<String> {
    let mut connection = other(place, &[]).await;
    let select = "SELECT cost FROM imitated_costs ORDER BY number, cost";
    sqlx::query_scalar(select).fetch_all(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_imitated_costs_grows_with_each_kind_of_password_and_never_shrinks() {
    let (_folder, place) = sqlite().await;
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    let default = countersign::accounts::Imitation::default_cost();
    assert_eq!(
        costs(&place).await,
        std::slice::from_ref(&default),
        "what upgrades end in is there before the first of them"
    );
    // Many at once, from several processes' stores.
    let adds: Vec<_> = (0..8_u32)
        .map(|number| {
            let place = place.clone();
            tokio::spawn(async move {
                let store = SqlStore::open(&place).await.unwrap();
                let argon2 = HashParameters::new(8 + number % 2, 1, 1).unwrap();
                let mut account = Account::new(&format!("user{number}"), [""; 0]).unwrap();
                account.set_password_with(PASSWORD, argon2).unwrap();
                store.add(&account).await.unwrap();
            })
        })
        .collect();
    for add in adds {
        add.await.unwrap();
    }
    let listed = costs(&place).await;
    assert_eq!((listed.len(), &listed[0]), (3, &default));
    for number in 0..8 {
        store.remove(&format!("user{number}")).await.unwrap();
    }
    assert_eq!(costs(&place).await, listed);
    // Whoever writes a row by hand does not know of the list.
    let other_cost = "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let insert = format!("INSERT INTO accounts (name, version, password) VALUES ('hand', 1, '{other_cost}')");
    other(&place, &[&insert]).await.close().await.unwrap();
    assert_eq!(log_in(&store, "hand").await, Err(Reason::WrongPassword));
    assert_eq!(costs(&place).await.len(), 4);
    // The list is a part of what is kept: whoever opens it anew imitates the same.
    drop(SqlStore::open(&place).await.unwrap());
    assert_eq!(costs(&place).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_import_or_an_edit_makes_passwords_cost_is_on_the_list_before_anybody_logs_in() {
    let (_folder, place) = sqlite().await;
    let store = SqlStore::open(&place).await.unwrap();
    let argon2 = |memory| HashParameters::new(memory, 1, 1).unwrap();
    let hashed = |name, memory| {
        let mut account = Account::new(name, [""; 0]).unwrap();
        account.set_password_with(PASSWORD, argon2(memory)).unwrap();
        account
    };
    let is_listed = async |memory: u32| {
        let cost = format!("$m={memory},t=1,p=1$");
        costs(&place).await.iter().any(|listed| listed.contains(&cost))
    };
    assert_eq!(store.add_all(&[hashed("alice", 16), hashed("bob", 24)]).await.unwrap(), []);
    assert!(is_listed(16).await && is_listed(24).await);
    store.edit("alice", |account| account.set_password_with(PASSWORD, argon2(32))).await.unwrap();
    assert!(is_listed(32).await);
    let failed = store.edit_all(&["bob"], |account| account.set_password_with(PASSWORD, argon2(40))).await.unwrap();
    assert!(failed.is_empty() && is_listed(40).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_passwords_are_no_good_for_a_server_is_counted_in_each_of_their_forms() {
    let (_folder, place) = sqlite().await;
    let store = SqlStore::open(&place).await.unwrap();
    let stretching = |realm, memory| Stretching::new(realm, &[StretchParameters::new(memory, 5, 1).unwrap()]).unwrap();
    let (ours, other_realm, stronger) = (stretching("db", 7), stretching("bank", 7), stretching("db", 8));
    let raised = Stretching::new("db", &[stronger.parameters()[0], ours.parameters()[0]]).unwrap();
    let stretched = |name: &str, of: &Stretching| {
        let mut account = Account::new(name, [""; 0]).unwrap();
        account.set_stretched(&of.stretch(name, PASSWORD).unwrap().newest());
        account
    };
    let keyless = Account::new("without", [""; 0]).unwrap();
    let added = [
        account("plain"),
        account("simple"),
        stretched("ours", &ours),
        stretched("bank", &other_realm),
        stretched("stronger", &stronger),
        keyless,
    ];
    assert!(store.add_all(&added).await.unwrap().is_empty());
    let counts = async |of| {
        let counts = store.count_passwords(of).await.unwrap();
        (counts.plain, counts.older, counts.not_announced)
    };
    assert_eq!((counts(Some(&ours)).await, counts(None).await), ((2, 0, 2), (2, 0, 3)));
    assert_eq!(counts(Some(&raised)).await, (2, 1, 1));
    assert_eq!(store.count().await.unwrap(), 6);
}

/// Whoever puts an account back, or makes it anew, has no version that a ticket was given for.
#[tokio::test(flavor = "multi_thread")]
async fn each_bit_of_a_version_is_random() {
    let (_folder, place) = sqlite().await;
    let store = SqlStore::open(&place).await.unwrap();
    let accounts: Vec<Account> =
        (0..64).map(|number| Account::new(&format!("user{number}"), ["read"]).unwrap()).collect();
    assert!(store.add_all(&accounts).await.unwrap().is_empty());
    let versions = async || {
        let rows = store.rows("", 100).await.unwrap();
        rows.into_iter().map(|(_, read)| read.unwrap().version().to_be_bytes().to_vec()).collect::<Vec<_>>()
    };
    let added = versions().await;
    drawn::each_bit_varies(&added, 8);
    let names: Vec<&str> = accounts.iter().map(Account::name).collect();
    let edited = store.edit_all(&names, |account| account.add_permission("write").map(drop)).await.unwrap();
    assert!(edited.is_empty());
    let changed = versions().await;
    drawn::each_bit_varies(&changed, 8);
    assert!(added.iter().zip(&changed).all(|(before, after)| before != after));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_that_can_t_be_kept_as_it_is_wanted_keeps_no_other_back() {
    let (_folder, place) = sqlite().await;
    all_but_one(&SqlStore::open(&place).await.unwrap()).await;
}

/// As while servers change their version one by one.
#[tokio::test(flavor = "multi_thread")]
async fn with_tables_that_a_later_program_has_changed_people_are_let_in_where_it_says_so_and_otherwise_nobody() {
    let (_folder, place) = sqlite().await;
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    store.add(&account("alice")).await.unwrap();
    assert!(log_in(&store, "alice").await.is_ok());
    for (compatible_from, is_compatible) in [(4, true), (5, false), (1, true)] {
        let migrate = format!("UPDATE countersign SET version = 7, compatible_from = {compatible_from}");
        // What it added.
        let added = format!("ALTER TABLE accounts ADD COLUMN added_{compatible_from} TEXT");
        other(&place, &[&migrate, &added]).await.close().await.unwrap();
        assert_eq!(store.check().await.is_ok(), is_compatible);
        if is_compatible {
            assert!(log_in(&store, "alice").await.is_ok());
            store.edit("alice", |account| account.issue_token()).await.unwrap();
        } else {
            assert!(matches!(log_in(&store, "alice").await, Err(Reason::NotNow(_))));
        }
        other(&place, &["UPDATE countersign SET version = 4"]).await.close().await.unwrap();
        store.check().await.unwrap();
        assert!(log_in(&store, "alice").await.is_ok());
    }
}

/// Argon2 takes its memory from the allocator, which counts. That of hashes at the defaults is kept from one to the next.
#[test]
fn an_unknown_name_costs_what_a_stored_password_costs() {
    const KIB: usize = 1024;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_folder, place) = runtime.block_on(sqlite());
    let store = Arc::new(runtime.block_on(SqlStore::open(&place)).unwrap());
    let argon2 = HashParameters::new(1024, 1, 1).unwrap();
    let mut alice = Account::new("alice", [""; 0]).unwrap();
    alice.set_password_with(PASSWORD, argon2).unwrap();
    runtime.block_on(store.add(&alice)).unwrap();
    let mut costs = (0..64).map(|number| {
        let user = format!("mallory{number}");
        let (verdict, bytes) = heap::allocated(|| runtime.block_on(log_in(&store, &user)));
        assert_eq!(verdict, Err(Reason::UnknownUser));
        bytes / KIB
    });
    assert!(costs.any(|cost| (1024..1280).contains(&cost)), "hers is imitated by some");
}

/// As it stands in docs/accounts.md.
fn documented(of: &str) -> String {
    let docs = include_str!("../../docs/accounts.md");
    let line = docs.lines().find(|line| line.starts_with("UPDATE accounts") && line.contains(of)).unwrap();
    line.split(" --").next().unwrap().trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_update_that_the_docs_give_for_sqlite_locks_an_account_and_kills_its_tickets() {
    let (_folder, place) = sqlite().await;
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    store.add(&account("alice")).await.unwrap();
    let before = store.find("alice").await.unwrap().unwrap();
    other(&place, &[&documented("-- SQLite")]).await.close().await.unwrap();
    let after = store.find("alice").await.unwrap().unwrap();
    assert!(after.is_locked() && after.version() != before.version());
    assert_eq!(log_in(&store, "alice").await, Err(Reason::AccountLocked));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_migrate_and_open_at_once_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::sqlite(folder.path().join("accounts.db"));
    let all: Vec<_> = (0..8)
        .map(|number| {
            let place = place.clone();
            tokio::spawn(async move {
                place.migrate().await.unwrap();
                let store = SqlStore::open(&place).await.unwrap();
                store.add(&account(&format!("user-{number}"))).await.unwrap();
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(SqlStore::open(&place).await.unwrap().page(None, 100).await.unwrap().len(), 8);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, place) = sqlite().await;
    let store = SqlStore::open(&place).await.unwrap();
    store.add(&account("alice")).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{mode:o}");
    }
    store.close().await;
    std::fs::set_permissions(place.path().unwrap(), std::fs::Permissions::from_mode(0o604)).unwrap();
    assert!(matches!(SqlStore::open(&place).await, Err(OpenError::Exposed { mode: 0o604, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_can_t_be_read_lets_nobody_in_and_is_named() {
    let (_folder, place) = sqlite().await;
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    for name in ["alice", "bob", "carol"] {
        store.add(&account(name)).await.unwrap();
    }
    other(&place, &["UPDATE accounts SET password = 'hunter22' WHERE name = 'bob'"]).await.close().await.unwrap();
    assert_eq!(log_in(&store, "bob").await, Err(Reason::UnknownUser));
    assert!(log_in(&store, "alice").await.is_ok());
    let names: Vec<_> = store.page(None, 2).await.unwrap().iter().map(|account| account.name().to_owned()).collect();
    assert_eq!(names, ["alice", "carol"]);
    let unreadable = store.unreadable().await.unwrap();
    assert_eq!(
        unreadable.iter().map(|(name, error)| (name.as_str(), error.code())).collect::<Vec<_>>(),
        [("bob", "password-not-hashed")]
    );
    assert!(!unreadable.iter().any(|(_, error)| error.to_string().contains("hunter22")));
    store.remove("bob").await.unwrap();
    store.add(&account("bob")).await.unwrap();
    assert!(log_in(&store, "bob").await.is_ok());
}

/// As `sqlite3` does it, which knows of no foreign keys unless it is told.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_added_has_nothing_that_somebody_else_of_the_name_had() {
    let (_folder, place) = sqlite().await;
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    store.add_role(&Role::new("clerk", ["orders:read"]).unwrap()).await.unwrap();
    for is_import in [false, true] {
        let mut bob = account("bob");
        bob.add_role("clerk").unwrap();
        let token = bob.issue_token().unwrap();
        store.add(&bob).await.unwrap();
        let rows = ["PRAGMA foreign_keys = OFF", "DELETE FROM accounts WHERE name = 'bob'"];
        other(&place, &rows).await.close().await.unwrap();
        let mut another = account("bob");
        // One that he is to have, too, is in nobody's way.
        if is_import {
            another.add_role("clerk").unwrap();
            assert_eq!(store.add_all(&[account("carol"), another.clone()]).await.unwrap(), []);
        } else {
            store.add(&another).await.unwrap();
        }
        let found = store.find("bob").await.unwrap().unwrap();
        assert!(found.is_same(&another), "{:?}", found.roles().collect::<Vec<_>>());
        let (verifier, context) = (AccountVerifier::new(Arc::clone(&store)), Context::uncounted());
        let shown = verifier.verify(&Attempt::new(Credential::Token(token.as_bytes()), &context)).await;
        assert_eq!(shown, Err(Reason::UnknownToken));
        store.remove("bob").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_holds_the_file_it_is_read_and_writes_say_not_now() {
    let (_folder, place) = sqlite().await;
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    store.add(&account("alice")).await.unwrap();
    let mut holder = other(&place, &["BEGIN IMMEDIATE"]).await;
    assert!(log_in(&store, "alice").await.is_ok());
    let away = store.edit("alice", |account| Ok(account.lock())).await;
    assert!(matches!(away, Err(StoreError::Away { .. })), "{away:?}");
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    assert!(store.edit("alice", |account| Ok(account.lock())).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_for_a_lock_keep_nobody_from_reading() {
    let (_folder, place) = sqlite().await;
    let (store, told) = watched(&place).await;
    store.add(&account("alice")).await.unwrap();
    assert!(log_in(&store, "alice").await.is_ok());
    let mut holder = other(&place, &["BEGIN IMMEDIATE"]).await;
    read_beside_changes_that_wait(&store).await;
    assert_eq!(*told.lock().unwrap(), []);
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    assert!(store.edit("alice", |account| Ok(account.lock())).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_go_while_they_are_served_say_not_now_to_everybody() {
    let (_folder, place) = sqlite().await;
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    store.add(&account("alice")).await.unwrap();
    other(&place, &["ALTER TABLE accounts RENAME TO gone"]).await.close().await.unwrap();
    for user in ["alice", "mallory", ""] {
        assert!(matches!(log_in(&store, user).await, Err(Reason::NotNow(_))));
    }
    other(&place, &["ALTER TABLE gone RENAME TO accounts"]).await.close().await.unwrap();
    assert!(log_in(&store, "alice").await.is_ok());
    // Where a part is gone nobody is told that their token is somebody else's.
    other(&place, &["ALTER TABLE tokens RENAME TO gone"]).await.close().await.unwrap();
    let mut bob = account("bob");
    bob.issue_token().unwrap();
    let added = store.add(&bob).await;
    assert!(matches!(added, Err(StoreError::Away { .. })), "{added:?}");
}

/// All of them are looked at when their role gets more, each as a whole: none is refused for what nobody has looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_many_accounts_that_may_have_too_much_gets_more_until_one_of_them_has() {
    let (_folder, place) = sqlite().await;
    let store = SqlStore::open(&place).await.unwrap();
    let words = |front: &str, count: usize| (0..count).map(|number| format!("{front}{number}")).collect::<Vec<_>>();
    store.add_role(&Role::new("wide", words("word", 20)).unwrap()).await.unwrap();
    // The same words by their role and by themselves: counted twice there are more than a grant may have.
    let inserts = |names: &str, words: &[String]| {
        let names = format!("WITH RECURSIVE names (number) AS ({names})");
        let insert = "INSERT INTO accounts (name, version, permissions)";
        [
            format!("{names} {insert} SELECT 'user' || number, 1, '{}' FROM names", words.join(",")),
            format!("{names} INSERT INTO account_roles (account, role) SELECT 'user' || number, 'wide' FROM names"),
        ]
    };
    let more = async |word: &str| store.edit_role("wide", |role| role.add_permission(word)).await;
    let many = inserts("SELECT 1000 UNION ALL SELECT number + 1 FROM names WHERE number < 1500", &words("word", 20));
    other(&place, &many.each_ref().map(String::as_str)).await.close().await.unwrap();
    assert_eq!(store.role_users("wide").await.unwrap(), 501);
    assert!(more("one-more").await.unwrap());
    // The last of them has as many as it may have, with those of its role.
    let full = inserts("SELECT 9999", &[words("word", 20), words("own", 11)].concat());
    other(&place, &full.each_ref().map(String::as_str)).await.close().await.unwrap();
    let refused = more("another").await;
    assert!(matches!(refused, Err(StoreError::Account(AccountError::Permissions(_)))), "{refused:?}");
    store.remove("user9999").await.unwrap();
    assert!(more("another").await.unwrap());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_nowhere_is_not_replaced_and_called_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("link.db");
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    let refused = Place::sqlite(&path).migrate().await.unwrap_err();
    let OpenError::File { source, .. } = &refused else { panic!("{refused}") };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    assert!(path.is_symlink() && !folder.path().join("nowhere").exists());
}

/// Whether SQLite has anything of the database beside its file.
fn has_more(place: &Place) -> bool {
    let folder = place.path().unwrap().parent().unwrap();
    std::fs::read_dir(folder).unwrap().count() > 1
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_in_the_file_alone_once_a_store_is_closed_or_could_not_be_opened() {
    let (_folder, place) = sqlite().await;
    let (store, told) = watched(&place).await;
    store.add(&account("alice")).await.unwrap();
    assert!(has_more(&place), "as long as it is open");
    store.close().await;
    assert!(!has_more(&place));
    assert!(store.find("alice").await.is_err() && store.check().await.is_err(), "it is closed");
    assert_eq!(*told.lock().unwrap(), [], "whoever closes it knows");
    other(&place, &["UPDATE countersign SET version = 3"]).await.close().await.unwrap();
    schema(SqlStore::open(&place).await);
    assert!(!has_more(&place));
    assert!(SqlStore::open_even_if_away(&place).await.is_err() && !has_more(&place));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sqlite_can_not_open_beside_a_file_is_named() {
    let (folder, place) = sqlite().await;
    let beside = folder.path().join("accounts.db-wal");
    std::fs::create_dir(&beside).unwrap();
    for opened in [
        place.schema().await.map(drop),
        SqlStore::open(&place).await.map(drop),
        SqlStore::open_even_if_away(&place).await.map(drop),
        place.migrate().await.map(drop),
    ] {
        let Err(OpenError::File { path, .. }) = opened else { panic!("{opened:?}") };
        assert_eq!(path, beside);
    }
}

/// A PostgreSQL that takes connections and says nothing.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn while_a_database_takes_connections_and_says_nothing_few_logins_wait_for_it() {
    const NOT_ASKED: &str = "the database did not answer a moment ago";
    let folder = tempfile::tempdir().unwrap();
    let listener = tokio::net::UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(one) = listener.accept().await {
            held.push(one);
        }
    });
    let place = Place::parse(&format!("postgres://nobody@localhost/x?host={}", folder.path().display())).unwrap();
    let (store, away) = SqlStore::open_even_if_away(&place).await.unwrap();
    assert!(matches!(away, Some(OpenError::Away(_))));
    let store = Arc::new(store);
    assert!(matches!(log_in(&store, "alice").await, Err(Reason::NotNow(_))));
    let mut not_asked = 0;
    for number in 0..100 {
        // Alone: a login would hash the password, too.
        let found = store.find(&format!("user{number}")).await;
        not_asked += usize::from(matches!(found, Err(StoreError::Away { what: NOT_ASKED, .. })));
        assert!(matches!(found, Err(StoreError::Away { .. })), "{found:?}");
    }
    assert!(not_asked > 50, "{not_asked} of 100 were told at once");
    let written = store.edit("alice", |account| Ok(account.lock())).await;
    assert!(matches!(written, Err(StoreError::Away { .. })));
}

/// Not a test: what a process does that is killed, with the store that the environment names.
#[tokio::test(flavor = "multi_thread")]
async fn writer() {
    let Ok(store) = std::env::var("COUNTERSIGN_TEST_WRITER") else { return };
    let (kind, path) = store.split_once(':').unwrap();
    if kind == "sqlite" {
        write(&SqlStore::open(&Place::sqlite(path)).await.unwrap()).await;
    } else {
        write(&AccountFile::open(path).unwrap()).await;
    }
}

async fn write(store: &impl AccountStore) {
    let process = std::process::id();
    let count: usize = std::env::var("COUNTERSIGN_TEST_COUNT").unwrap().parse().unwrap();
    for number in 0..count {
        let name = format!("user-{process}-{number}");
        let mut new = account(&name);
        new.issue_token().unwrap();
        store.add(&new).await.unwrap();
        store.edit("shared", |account| account.issue_token().map(drop)).await.unwrap();
        println!("done {name}");
    }
}

fn start(store: &str, count: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "writer", "--nocapture"]).env("COUNTERSIGN_TEST_WRITER", store);
    command.env("COUNTERSIGN_TEST_COUNT", count.to_string()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// What a process has said is done, until it has said so many.
fn done(child: &mut Child, most: usize) -> Vec<String> {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    // The first stands behind what the test runner says.
    let names = lines.filter_map(|line| Some(line.split_once("done ")?.1.to_owned()));
    names.take(most).collect()
}

async fn killed<S: AccountStore>(kind: &str, path: &Path, open: impl AsyncFn() -> S) {
    open().await.add(&Account::new("shared", [""; 0]).unwrap()).await.unwrap();
    let (mut all, mut tokens) = (Vec::new(), 0);
    for round in 0..8 {
        let mut child = start(&format!("{kind}:{}", path.display()), 20);
        let names = done(&mut child, 1 + round % 3);
        // At whatever it is now.
        child.kill().unwrap();
        child.wait().unwrap();
        tokens += names.len();
        all.extend(names);
        let store = open().await;
        for name in &all {
            let found = store.find(name).await.unwrap().unwrap_or_else(|| panic!("{name} is lost"));
            assert_eq!((found.has_password(), found.tokens()), (true, 1), "{name} is half there");
        }
        let shared = store.find("shared").await.unwrap().unwrap();
        // And what was done and not said any more.
        assert!(shared.tokens() >= tokens, "{} of {tokens}", shared.tokens());
        tokens = shared.tokens();
        for account in store.page(None, 1000).await.unwrap() {
            assert!(account.name() == "shared" || account.tokens() == 1, "{} is half there", account.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_while_writing_to_sqlite_loses_and_halves_nothing() {
    let (_folder, place) = sqlite().await;
    killed("sqlite", place.path().unwrap(), async || SqlStore::open(&place).await.unwrap()).await;
    assert_eq!(SqlStore::open(&place).await.unwrap().unreadable().await.unwrap(), []);
    let mut connection = other(&place, &[]).await;
    let whole: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(whole, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_while_writing_to_an_account_file_loses_and_halves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    edit_accounts(&path, Missing::Make, |_| Ok::<_, FileError>(())).unwrap();
    killed("file", &path, async || AccountFile::open(&path).unwrap()).await;
    assert!(AccountFile::open(&path).unwrap().broken_lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_at_one_sqlite_file_lose_nothing_of_each_other() {
    let (_folder, place) = sqlite().await;
    let store = SqlStore::open(&place).await.unwrap();
    store.add(&Account::new("shared", [""; 0]).unwrap()).await.unwrap();
    let address = format!("sqlite:{}", place.path().unwrap().display());
    let mut children = [start(&address, 40), start(&address, 40)];
    for child in &mut children {
        assert_eq!(done(child, 40).len(), 40);
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(store.page(None, 1000).await.unwrap().len(), 81);
    assert_eq!(store.find("shared").await.unwrap().unwrap().tokens(), 80);
}

fn restrict(path: &Path) {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    #[cfg(not(unix))]
    let _ = path;
}

/// Prints what a lookup takes among a thousand accounts, and among a million.
///
/// `cargo test --release -p countersign-stores --test sql -- --ignored --nocapture a_million`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, of a minute"]
async fn a_million_accounts_are_looked_up_as_fast_as_a_thousand() {
    let (_folder, place) = sqlite().await;
    let store = SqlStore::open(&place).await.unwrap();
    store.add(&account("model")).await.unwrap();
    for count in [1_000, 1_000_000] {
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT OR IGNORE INTO accounts (name, version, permissions, password) \
             SELECT 'user-' || i, random(), permissions, password FROM accounts, n WHERE name = 'model'"
        );
        other(&place, &[&fill]).await.close().await.unwrap();
        let mut times = Vec::new();
        for number in 0..2_000_u64 {
            let name = format!("user-{}", 1 + number * 7919 % count);
            let start = std::time::Instant::now();
            assert!(store.find(&name).await.unwrap().is_some());
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let opened = std::time::Instant::now();
        let again = SqlStore::open(&place).await.unwrap();
        println!(
            "{count} accounts: median {:?}, 99 of 100 within {:?}; opened in {:?}",
            times[times.len() / 2],
            times[times.len() * 99 / 100],
            opened.elapsed()
        );
        again.close().await;
    }
}
