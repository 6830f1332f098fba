//! PostgreSQL that goes away, comes back, and is slow, and several servers at it.
//!
//! `COUNTERSIGN_TEST_POSTGRES` is the address of an empty database, with `?host=` the folder of its socket; `.ci/postgres COMMAND` starts
//! one for a command.
#![cfg(all(unix, feature = "sql"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "../../tests/support/left_out.rs"]
mod left_out;
#[path = "support/tables.rs"]
mod tables;

use countersign::Reason;
use countersign::accounts::{Account, AccountError, AccountStore, HashParameters, Role, StoreError};
use countersign_stores::{Availability, OpenError, Place, Schema, SqlStore};
use left_out::left_out;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tables::{BACK_TO_1, account, all_but_one, log_in, read_beside_changes_that_wait, watched};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A database of this test's own, and the folder of the server's socket.
struct Server {
    name: String,
    socket: PathBuf,
}

impl Server {
    async fn with(name: &str) -> Option<Self> {
        Self::created(name, "").await
    }

    async fn created(name: &str, how: &str) -> Option<Self> {
        let Ok(address) = std::env::var("COUNTERSIGN_TEST_POSTGRES") else {
            left_out("postgres", "no PostgreSQL, whose address COUNTERSIGN_TEST_POSTGRES would have");
            return None;
        };
        let socket = PathBuf::from(address.split_once("host=").unwrap().1);
        let mut connection = PgConnection::connect(&address).await.unwrap();
        let name = format!("{name}_{}", std::process::id());
        let create = AssertSqlSafe(format!("CREATE DATABASE {name} {how}"));
        sqlx::query(create).execute(&mut connection).await.unwrap();
        Some(Self { name, socket })
    }

    fn address(&self, socket: &Path) -> String {
        format!("postgres://countersign@localhost/{}?host={}", self.name, socket.display())
    }

    fn place(&self) -> Place {
        Place::parse(&self.address(&self.socket)).unwrap()
    }

    async fn run(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.address(&self.socket)).await.unwrap();
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    }
}

/// What lies between a store and its database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Up,
    /// All that is asked arrives four tenths of a second later.
    Slow,
    /// Nothing is carried, and nothing is said of it.
    Silent,
    /// Connections break, and new ones are refused.
    Cut,
}

impl Line {
    fn carries(self) -> bool {
        matches!(self, Self::Up | Self::Slow)
    }
}

/// A socket in the middle.
struct Relay {
    folder: tempfile::TempDir,
    line: watch::Sender<Line>,
    lost: Vec<watch::Sender<Line>>,
}

impl Relay {
    fn to(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let line = Self::listen(folder.path(), server);
        Self { folder, line, lost: Vec::new() }
    }

    /// What is said on the connections that there are gets nowhere from now on, and new ones are as ever.
    fn lose(&mut self, server: &Server) {
        self.line.send(Line::Silent).unwrap();
        std::fs::remove_file(self.folder.path().join(".s.PGSQL.5432")).unwrap();
        let line = Self::listen(self.folder.path(), server);
        self.lost.push(std::mem::replace(&mut self.line, line));
    }

    fn listen(folder: &Path, server: &Server) -> watch::Sender<Line> {
        let (line, state) = watch::channel(Line::Up);
        let (there, here) = (server.socket.join(".s.PGSQL.5432"), folder.join(".s.PGSQL.5432"));
        let listener = UnixListener::bind(here).unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() == Line::Cut {
                    continue;
                }
                let server = UnixStream::connect(&there).await.unwrap();
                tokio::spawn(carry(client, server, state.clone()));
            }
        });
        line
    }
}

async fn carry(client: UnixStream, server: UnixStream, mut state: watch::Receiver<Line>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut up, mut down) = ([0; 8192], [0; 8192]);
    loop {
        let line = *state.borrow_and_update();
        tokio::select! {
            biased;
            changed = state.changed() => if changed.is_err() { return },
            read = from_client.read(&mut up), if line.carries() => match read {
                Ok(1..) => {
                    if line == Line::Slow {
                        tokio::time::sleep(Duration::from_millis(400)).await;
                    }
                    to_server.write_all(&up[..read.unwrap()]).await.unwrap();
                }
                _ => return,
            },
            read = from_server.read(&mut down), if line.carries() => match read {
                Ok(1..) => if to_client.write_all(&down[..read.unwrap()]).await.is_err() { return },
                _ => return,
            },
        }
        if *state.borrow() == Line::Cut {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_once_by_whoever_is_first() {
    let Some(server) = Server::with("made_once").await else { return };
    assert!(matches!(SqlStore::open(&server.place()).await, Err(OpenError::Schema(Schema::Missing))));
    let all: Vec<_> = (0..8)
        .map(|_| {
            let place = server.place();
            tokio::spawn(async move { place.migrate().await.unwrap() })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    SqlStore::open(&server.place()).await.unwrap();
    for (statement, found) in [
        ("UPDATE countersign SET version = 7, compatible_from = 7", Schema::Newer { version: 7 }),
        ("UPDATE countersign SET compatible_from = 4", Schema::Compatible { version: 7 }),
        ("UPDATE countersign SET version = 2", Schema::Older { version: 2 }),
        ("UPDATE countersign SET version = 4", Schema::Current),
        ("ALTER TABLE accounts DROP COLUMN more", Schema::Damaged),
        ("DROP TABLE countersign", Schema::Foreign),
    ] {
        server.run(statement).await;
        assert_eq!(server.place().schema().await.unwrap(), found, "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_somebody_is_in_the_way_of_lets_logins_through_and_names_them() {
    let Some(server) = Server::with("in_the_way").await else { return };
    server.place().migrate().await.unwrap();
    for statement in BACK_TO_1 {
        server.run(statement).await;
    }
    // As a backup does.
    let mut holder = PgConnection::connect(&server.address(&server.socket)).await.unwrap();
    for statement in ["SET application_name = 'pg_dump'", "BEGIN", "LOCK TABLE accounts IN ACCESS SHARE MODE"] {
        sqlx::query(statement).execute(&mut holder).await.unwrap();
    }
    let place = server.place();
    let migrating = tokio::spawn(async move { place.migrate().await });
    // Whoever reads waits behind the one who waits to write: for one try at a time.
    let mut reader = PgConnection::connect(&server.address(&server.socket)).await.unwrap();
    while !migrating.is_finished() {
        sqlx::query("SET statement_timeout = '20s'").execute(&mut reader).await.unwrap();
        sqlx::query("SELECT name FROM accounts").fetch_all(&mut reader).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let refused = migrating.await.unwrap().unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused:?}");
    assert!(refused.to_string().contains("pg_dump"), "{refused}");
    assert_eq!(server.place().schema().await.unwrap(), Schema::Older { version: 1 });
    // With the next try it is done.
    let place = server.place();
    let migrating = tokio::spawn(async move { place.migrate().await });
    sqlx::query("COMMIT").execute(&mut holder).await.unwrap();
    assert_eq!(migrating.await.unwrap().unwrap(), Schema::Older { version: 1 });
    assert_eq!(server.place().schema().await.unwrap(), Schema::Current);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_comes_after_a_later_programs_leaves_the_tables_to_that() {
    let Some(server) = Server::with("later_first").await else { return };
    server.place().migrate().await.unwrap();
    for (compatible_from, found) in [(7, Schema::Newer { version: 7 }), (4, Schema::Compatible { version: 7 })] {
        server.run("UPDATE countersign SET version = 2").await;
        let mut other = PgConnection::connect(&server.address(&server.socket)).await.unwrap();
        let lock = format!("SELECT pg_advisory_lock({})", 0x636f_756e_7465_7273_i64);
        sqlx::query(AssertSqlSafe(lock)).execute(&mut other).await.unwrap();
        let place = server.place();
        let migrating = tokio::spawn(async move { place.migrate().await });
        let waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
             (SELECT oid FROM pg_database WHERE datname = current_database())";
        while sqlx::query(waiting).fetch_all(&mut other).await.unwrap().is_empty() {}
        server.run(&format!("UPDATE countersign SET version = 7, compatible_from = {compatible_from}")).await;
        other.close().await.unwrap();
        match migrating.await.unwrap() {
            // As it says itself when it comes a moment later.
            Ok(said) | Err(OpenError::Schema(said)) => assert_eq!(said, found),
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(server.place().schema().await.unwrap(), found);
        let again = server.place().migrate().await;
        assert_eq!(again.is_ok(), matches!(found, Schema::Compatible { .. }), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_may_not_be_read_are_not_taken_for_damaged_ones() {
    let Some(server) = Server::with("not_granted").await else { return };
    server.place().migrate().await.unwrap();
    let role = format!("clerk_{}", std::process::id());
    server.run(&format!("CREATE ROLE {role} LOGIN")).await;
    let address = server.address(&server.socket).replace("countersign@", &format!("{role}@"));
    for grants in ["", "GRANT SELECT ON countersign, tokens TO"] {
        if !grants.is_empty() {
            server.run(&format!("{grants} {role}")).await;
        }
        let found = Place::parse(&address).unwrap().schema().await;
        let Err(OpenError::Refused(said)) = found else { panic!("{found:?}") };
        assert!(said.to_string().contains("permission denied"), "{said}");
    }
    server.run(&format!("DROP OWNED BY {role}")).await;
    server.run(&format!("DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_says_not_now_and_is_asked_again_when_it_is_back() {
    let Some(server) = Server::with("goes_away").await else { return };
    server.place().migrate().await.unwrap();
    let relay = Relay::to(&server);
    let place = Place::parse(&server.address(relay.folder.path())).unwrap();
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    store.add(&account("alice")).await.unwrap();
    for line in [Line::Cut, Line::Silent] {
        assert!(log_in(&store, "alice").await.is_ok());
        relay.line.send(line).unwrap();
        for user in ["alice", "mallory"] {
            let refused = log_in(&store, user).await;
            assert!(matches!(refused, Err(Reason::NotNow(_))), "{user}: {refused:?}");
        }
        let edit = store.edit("alice", |account| Ok(account.lock())).await;
        assert!(matches!(edit, Err(StoreError::Away { .. })), "{edit:?}");
        assert!(matches!(SqlStore::open(&place).await, Err(OpenError::Away(_))));
        relay.line.send(Line::Up).unwrap();
        // By itself: one login after the other asks for it.
        let end = Instant::now() + Duration::from_secs(60);
        while log_in(&store, "alice").await.is_err() {
            assert!(Instant::now() < end, "it does not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(!store.find("alice").await.unwrap().unwrap().is_locked(), "nothing was half done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_slow_is_no_more_away_to_a_check_than_to_logins() {
    let Some(server) = Server::with("merely_slow").await else { return };
    server.place().migrate().await.unwrap();
    let relay = Relay::to(&server);
    let (store, told) = watched(&Place::parse(&server.address(relay.folder.path())).unwrap()).await;
    store.add(&account("alice")).await.unwrap();
    relay.line.send(Line::Slow).unwrap();
    store.check().await.unwrap();
    assert!(log_in(&store, "alice").await.is_ok());
    assert_eq!(*told.lock().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_finds_wrong_is_told_once_and_not_taken_back_by_each_login() {
    let Some(server) = Server::with("in_part").await else { return };
    server.place().migrate().await.unwrap();
    let role = format!("part_{}", std::process::id());
    server.run(&format!("CREATE ROLE {role} LOGIN")).await;
    server.run(&format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")).await;
    let address = server.address(&server.socket).replace("countersign@", &format!("{role}@"));
    let (store, told) = watched(&Place::parse(&address).unwrap()).await;
    store.add(&account("alice")).await.unwrap();
    store.check().await.unwrap();
    server.run(&format!("REVOKE ALL ON ticket_keys FROM {role}")).await;
    for _ in 0..3 {
        assert!(matches!(store.check().await, Err(StoreError::Away { .. })));
        assert!(log_in(&store, "alice").await.is_ok(), "a login asks for no ticket keys");
    }
    assert_eq!(*told.lock().unwrap(), [false]);
    server.run(&format!("GRANT ALL ON ticket_keys TO {role}")).await;
    store.check().await.unwrap();
    assert_eq!(*told.lock().unwrap(), [false, true]);
    server.run(&format!("DROP OWNED BY {role}")).await;
    server.run(&format!("DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_reads_and_does_not_write_says_so_and_is_no_absence() {
    const REFUSES: &str = "the database refuses to write";
    let Some(server) = Server::with("reads_alone").await else { return };
    server.place().migrate().await.unwrap();
    let role = format!("reader_{}", std::process::id());
    server.run(&format!("CREATE ROLE {role} LOGIN")).await;
    server.run(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")).await;
    let owner = SqlStore::open(&server.place()).await.unwrap();
    assert_eq!(owner.unwritable().await.unwrap(), None);
    owner.add_role(&Role::new("clerk", ["orders:read"]).unwrap()).await.unwrap();
    let mut alice = account("alice");
    alice.add_role("clerk").unwrap();
    owner.add(&alice).await.unwrap();
    let address = server.address(&server.socket).replace("countersign@", &format!("{role}@"));
    let place = Place::parse(&address).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let store = SqlStore::open(&place).await.unwrap().with_observer(move |news| {
        tell.lock().unwrap().push(match news {
            Availability::ReadOnly(error) => error.to_string(),
            Availability::Written => "written".to_owned(),
            other => format!("{other:?}"),
        });
    });
    let store = Arc::new(store);
    let lock = async || store.edit("alice", |account| Ok(account.lock())).await;
    for _ in 0..2 {
        let refused = lock().await;
        assert!(matches!(refused, Err(StoreError::Away { what: REFUSES, .. })), "{refused:?}");
        store.check().await.unwrap();
        assert!(log_in(&store, "alice").await.is_ok());
    }
    assert_eq!(*told.lock().unwrap(), [REFUSES]);
    assert!(store.unwritable().await.unwrap().unwrap().contains("UPDATE accounts"));
    server.run(&format!("GRANT UPDATE ON accounts TO {role}")).await;
    assert!(store.unwritable().await.unwrap().unwrap().contains("UPDATE roles"));
    // As operators are told: enough for all that a server writes, and what it costs to imitate a password of another kind.
    let docs = include_str!("../../docs/accounts.md");
    let grants: Vec<&str> = docs.lines().filter(|line| line.starts_with("GRANT ")).collect();
    assert_eq!(grants.len(), 3, "{grants:?}");
    for grant in grants {
        let (grant, _) = grant.split_once(" TO server;").unwrap();
        server.run(&format!("{grant} TO {role}")).await;
    }
    assert_eq!(store.unwritable().await.unwrap(), None);
    assert!(lock().await.unwrap());
    let dearer = HashParameters::new(16, 1, 1).unwrap();
    store.edit("alice", |account| account.set_password_with(b"another", dearer)).await.unwrap();
    let mut connection = PgConnection::connect(&address).await.unwrap();
    for statement in ["INSERT INTO ticket_keys VALUES (1, 1, '', 1)", "UPDATE ticket_keys SET version = 2"] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    assert_eq!(*told.lock().unwrap(), [REFUSES, "written"]);
    // A standby says the same.
    server.run(&format!("ALTER ROLE {role} SET default_transaction_read_only = on")).await;
    let standby = SqlStore::open(&place).await.unwrap();
    assert!(standby.unwritable().await.unwrap().unwrap().contains("read-only"));
    let refused = standby.edit("alice", |account| Ok(account.unlock())).await;
    assert!(matches!(refused, Err(StoreError::Away { what: REFUSES, .. })), "{refused:?}");
    server.run(&format!("DROP OWNED BY {role}")).await;
    server.run(&format!("DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_there_is_no_room_for_a_connection_is_said_and_not_that_time_is_up() {
    let Some(server) = Server::with("no_room").await else { return };
    let role = format!("many_{}", std::process::id());
    server.run(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")).await;
    let address = server.address(&server.socket).replace("countersign@", &format!("{role}@"));
    let opened = SqlStore::open(&Place::parse(&address).unwrap()).await;
    let Err(OpenError::Away(said)) = opened else { panic!("{opened:?}") };
    assert!(said.to_string().contains("too many connections"), "{said}");
    server.run(&format!("DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_database_can_not_have_is_nobodys_and_no_absence_of_it() {
    let latin = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'";
    let Some(server) = Server::created("odd_names", latin).await else { return };
    server.place().migrate().await.unwrap();
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    let store = SqlStore::open(&server.place()).await.unwrap().with_observer(move |_| tell.store(true, SeqCst));
    let store = Arc::new(store);
    store.add(&account("alice")).await.unwrap();
    for name in ["", "\0", "alice\0", "\u{10ffff}", "\u{feff}alice"] {
        assert_eq!(log_in(&store, name).await, Err(Reason::UnknownUser), "{name:?}");
        assert!(log_in(&store, "alice").await.is_ok(), "after {name:?}");
    }
    assert!(!told.load(SeqCst), "nobody was told that it is away");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_those_whom_the_database_can_not_have_are_named_and_the_others_kept() {
    let latin = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'";
    let Some(server) = Server::created("odd_accounts", latin).await else { return };
    server.place().migrate().await.unwrap();
    let store = SqlStore::open(&server.place()).await.unwrap();
    let (zoe, delta) = ("zo\u{eb}", "\u{3b4}");
    let odd = || AccountError::Encoding(delta.to_owned());
    let refused = store.add_all(&[account("alice"), account(delta), account(zoe)]).await.unwrap();
    assert_eq!(refused, [(delta.to_owned(), odd())]);
    let mut taken = store.taken(&["alice", delta, "nobody", zoe]).await.unwrap();
    taken.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let there = |name: &str| (name.to_owned(), AccountError::Exists(name.to_owned()));
    assert_eq!(taken, [there("alice"), there(zoe), (delta.to_owned(), odd())]);
    let lock = |account: &mut Account| {
        account.lock();
        Ok(())
    };
    let failed = store.edit_all(&["alice", delta, zoe], lock).await.unwrap();
    assert_eq!(failed, [(delta.to_owned(), AccountError::Unknown(delta.to_owned()))]);
    for name in ["alice", zoe] {
        assert!(store.find(name).await.unwrap().unwrap().is_locked(), "{name}");
    }
    let added = store.add(&account(delta)).await;
    assert!(matches!(added, Err(StoreError::Account(error)) if error == odd()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_that_can_t_be_kept_as_it_is_wanted_keeps_no_other_back() {
    let Some(server) = Server::with("all_but_one").await else { return };
    server.place().migrate().await.unwrap();
    all_but_one(&SqlStore::open(&server.place()).await.unwrap()).await;
}

/// As where a network has swallowed what was said, and takes it up again: TCP goes on trying, for many minutes.
#[tokio::test(flavor = "multi_thread")]
async fn connections_on_which_nothing_comes_any_more_are_given_up_and_others_made() {
    const CONNECTIONS: i64 = 16;
    let Some(server) = Server::with("swallowed").await else { return };
    server.place().migrate().await.unwrap();
    let mut relay = Relay::to(&server);
    let place = Place::parse(&server.address(relay.folder.path())).unwrap();
    let store = Arc::new(SqlStore::open(&place).await.unwrap());
    store.add(&account("alice")).await.unwrap();
    // All of them are in use: half to read, half to write.
    let mut holder = PgConnection::connect(&server.address(&server.socket)).await.unwrap();
    for statement in ["BEGIN", "LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE"] {
        sqlx::query(statement).execute(&mut holder).await.unwrap();
    }
    let ask = |number: i64| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            if number % 2 == 0 {
                store.find("alice").await.map(drop)
            } else {
                store.add(&account(&format!("user{number}"))).await
            }
        })
    };
    let asked: Vec<_> = (0..CONNECTIONS).map(ask).collect();
    let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
         WHERE NOT l.granted AND d.datname = current_database()";
    // A machine that is slow may not get there in time.
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut holder).await.unwrap() < CONNECTIONS
        && !asked.iter().any(JoinHandle::is_finished)
    {}
    relay.lose(&server);
    for one in asked {
        let given_up = one.await.unwrap();
        assert!(matches!(given_up, Err(StoreError::Away { .. })), "{given_up:?}");
    }
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while log_in(&store, "alice").await.is_err() {
        assert!(Instant::now() < end, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while store.edit("alice", |account| Ok(account.lock())).await.is_err() {
        assert!(Instant::now() < end, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_slow_is_given_up_and_nobody_else_waits() {
    let Some(server) = Server::with("slow").await else { return };
    server.place().migrate().await.unwrap();
    let store = Arc::new(SqlStore::open(&server.place()).await.unwrap());
    for name in ["alice", "bob"] {
        store.add(&account(name)).await.unwrap();
    }
    // Somebody has alice's row, and takes their time.
    let mut holder = PgConnection::connect(&server.address(&server.socket)).await.unwrap();
    sqlx::query("BEGIN").execute(&mut holder).await.unwrap();
    sqlx::query("SELECT name FROM accounts WHERE name = 'alice' FOR UPDATE").execute(&mut holder).await.unwrap();
    let late = store.edit("alice", |account| Ok(account.lock()));
    let (late, bob) = tokio::join!(late, store.edit("bob", |account| Ok(account.lock())));
    assert!(matches!(late, Err(StoreError::Away { .. })), "{late:?}");
    assert!(bob.unwrap());
    assert!(log_in(&store, "alice").await.is_ok(), "reading waits for nobody");
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
}

/// As while somebody makes an index, or a standby is missing that has to say yes to each change.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_for_a_lock_keep_nobody_from_reading() {
    let Some(server) = Server::with("lock").await else { return };
    server.place().migrate().await.unwrap();
    let (store, told) = watched(&server.place()).await;
    store.add(&account("alice")).await.unwrap();
    assert!(log_in(&store, "alice").await.is_ok());
    let mut holder = PgConnection::connect(&server.address(&server.socket)).await.unwrap();
    for statement in ["BEGIN", "LOCK TABLE accounts IN SHARE MODE"] {
        sqlx::query(statement).execute(&mut holder).await.unwrap();
    }
    read_beside_changes_that_wait(&store).await;
    assert_eq!(*told.lock().unwrap(), []);
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while store.edit("alice", |account| Ok(account.lock())).await.is_err() {
        assert!(Instant::now() < end, "no change is made any more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_update_that_the_docs_give_for_postgresql_locks_an_account_and_kills_its_tickets() {
    let Some(server) = Server::with("by_hand").await else { return };
    server.place().migrate().await.unwrap();
    let store = Arc::new(SqlStore::open(&server.place()).await.unwrap());
    store.add(&account("alice")).await.unwrap();
    let before = store.find("alice").await.unwrap().unwrap();
    let docs = include_str!("../../docs/accounts.md");
    let line = docs.lines().find(|line| line.starts_with("UPDATE accounts") && line.contains("-- PostgreSQL")).unwrap();
    server.run(line.split(" --").next().unwrap()).await;
    let after = store.find("alice").await.unwrap().unwrap();
    assert!(after.is_locked() && after.version() != before.version());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_and_an_account_that_change_at_once_never_give_more_than_a_grant_may_have() {
    let Some(server) = Server::with("roles_at_once").await else { return };
    server.place().migrate().await.unwrap();
    let store = Arc::new(SqlStore::open(&server.place()).await.unwrap());
    let words = |front: &str, count: usize| (0..count).map(|number| format!("{front}{number}")).collect::<Vec<_>>();
    for round in 0..10 {
        let (name, role) = (format!("user{round}"), format!("role{round}"));
        store.add_role(&Role::new(&role, words("r", 16)).unwrap()).await.unwrap();
        let mut user = Account::new(&name, words("u", 15)).unwrap();
        user.add_role(&role).unwrap();
        store.add(&user).await.unwrap();
        // Room for one more, and two who want it.
        let (one, other) = tokio::join!(
            store.edit(&name, |account| account.add_permission("one")),
            store.edit_role(&role, |role| role.add_permission("other"))
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
        assert_eq!(store.find(&name).await.unwrap().unwrap().granted().unwrap().permissions().count(), 32);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_roles_that_change_at_once_never_give_more_than_a_grant_may_have() {
    let Some(server) = Server::with("two_roles_at_once").await else { return };
    server.place().migrate().await.unwrap();
    let store = Arc::new(SqlStore::open(&server.place()).await.unwrap());
    let words = |front: &str, count: usize| (0..count).map(|number| format!("{front}{number}")).collect::<Vec<_>>();
    for round in 0..20 {
        let (name, roles) = (format!("user{round}"), [format!("one{round}"), format!("other{round}")]);
        let mut user = Account::new(&name, words("u", 15)).unwrap();
        for (role, front) in roles.iter().zip(["a", "b"]) {
            store.add_role(&Role::new(role, words(front, 8)).unwrap()).await.unwrap();
            user.add_role(role).unwrap();
        }
        store.add(&user).await.unwrap();
        // Room for one more, and two who want it.
        let (one, other) = tokio::join!(
            store.edit_role(&roles[0], |role| role.add_permission("one")),
            store.edit_role(&roles[1], |role| role.add_permission("other"))
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
        assert_eq!(store.find(&name).await.unwrap().unwrap().granted().unwrap().permissions().count(), 32);
    }
}

#[test]
fn an_address_is_printed_without_its_password_and_a_bad_one_not_at_all() {
    let place = Place::parse("postgres://alice:hunter22@db.example:5433/accounts?sslmode=require").unwrap();
    assert_eq!(place.to_string(), "postgres://alice@db.example:5433/accounts?sslmode=require");
    assert!(!format!("{place:?}").contains("hunter22"));
    let other = Place::parse("postgres://db.example/accounts?password=hunter22&user=alice").unwrap();
    assert_eq!(other.to_string(), "postgres://db.example/accounts?user=alice");
    for bad in ["postgres://alice:hunter22@:nonsense", "postgres://u:hunter22@h/d?sslmode=x", "mysql://u:hunter22@h/d"]
    {
        let error = Place::parse(bad).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter22"), "{bad}");
    }
}
