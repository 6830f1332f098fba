//! What servers over one database share: keys for tickets, and that whoever is removed is removed everywhere. Over SQLite, and over PostgreSQL
//! where there is one (`.ci/postgres COMMAND`).
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/databases.rs"]
mod databases;
#[path = "../../tests/support/drawn.rs"]
mod drawn;
mod support;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64ct::{Base64Unpadded, Encoding};

use countersign::accounts::{Account, AccountError, AccountStore, AccountVerifier};
use countersign::crypto::rustcrypto;
use countersign::{Acceptor, Context, Credential, Recheck, ServerConfig, TicketKeys, UnixTime, UsedTickets};
use countersign_stores::{FleetSecret, Place, SharedTicketKeys, SqlStore, TicketSharingError};
use databases::databases;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqliteConnection};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime};
use support::{Copies, PASSWORD, account, connector, log_in, server_key, source, until};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

fn keys(lifetime: Duration) -> TicketKeys {
    TicketKeys::new(rustcrypto::provider(), lifetime)
}

fn secret(byte: u8) -> FleetSecret {
    FleetSecret::new([byte; 32])
}

fn exported(keys: &TicketKeys) -> Vec<u8> {
    keys.export(now(), &mut rand::rng()).unwrap().as_slice().to_vec()
}

fn server(store: &SqlStore, keys: &Arc<TicketKeys>) -> Acceptor {
    let config = ServerConfig::new(rustcrypto::provider()).with_tickets(Arc::clone(keys));
    let verifier = AccountVerifier::new(store.clone()).without_upgrade();
    Acceptor::new_async(config.with_refusal_floor(Duration::ZERO), server_key(), verifier)
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_once_agree_on_a_key_and_take_each_others_tickets_once() {
    for (place, _folder) in databases("agree").await {
        let memory = Arc::new(UsedTickets::new(100));
        let starting = (0..6).map(|_| {
            let (place, memory) = (place.clone(), Arc::clone(&memory));
            tokio::spawn(async move {
                let store = SqlStore::open(&place).await.unwrap();
                let keys = Arc::new(keys(HOUR).with_shared_memory(memory));
                SharedTicketKeys::new(&store, &keys, &secret(1)).sync().await.unwrap();
                (store, keys)
            })
        });
        let mut servers = Vec::new();
        for one in starting.collect::<Vec<_>>() {
            servers.push(one.await.unwrap());
        }
        for (_, keys) in &servers {
            assert_eq!(exported(keys), exported(&servers[0].1));
        }
        servers[0].0.add(&account("alice")).await.unwrap();
        let servers: Vec<_> = servers.iter().map(|(store, keys)| server(store, keys)).collect();
        let (copies, stolen) = (Copies::default(), Copies::default());
        let by = |copies: &Copies| connector().with_tickets(copies.clone());
        assert!(!log_in(&servers[0], 1, &by(&copies), "alice", PASSWORD).await.0.unwrap());
        *stolen.0.lock().unwrap() = copies.0.lock().unwrap().clone();
        for server in &servers {
            assert!(log_in(server, 1, &by(&copies), "alice", PASSWORD).await.0.unwrap());
        }
        assert!(!log_in(&servers[3], 1, &by(&stolen), "alice", PASSWORD).await.0.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_seals_before_servers_that_look_late_have_it() {
    let (maker, lead) = (keys(HOUR), Duration::from_secs(300));
    let rotate = |kept: &[u8], now| {
        let rotated = maker.rotate_shared(kept, now, lead, &mut rand::rng()).unwrap();
        rotated.map(|bytes| bytes.as_slice().to_vec())
    };
    let at = |seconds: i64| UnixTime::from_secs(now().as_secs().saturating_add_signed(seconds));
    // Made almost an hour ago, it is followed soon.
    let old = rotate(&[], at(-3500)).unwrap();
    assert_eq!(rotate(&old, at(-3400)), None);
    let new = rotate(&old, at(0)).unwrap();
    assert_eq!(rotate(&new, at(0)), None, "that is enough for now");
    assert_ne!(old, new);
    // A server that has the new key still seals under the old one, and one that has not opens it.
    let memory = Arc::new(UsedTickets::new(10));
    let with = |exported: &[u8]| {
        let keys = keys(HOUR).with_shared_memory(Arc::clone(&memory));
        keys.follow(exported).unwrap();
        Arc::new(keys)
    };
    let (place, _folder) = databases("seals").await.remove(0);
    let store = SqlStore::open(&place).await.unwrap();
    store.add(&account("alice")).await.unwrap();
    let (ahead, behind) = (server(&store, &with(&new)), server(&store, &with(&old)));
    let copies = Copies::default();
    let by = connector().with_tickets(copies.clone());
    assert!(!log_in(&ahead, 1, &by, "alice", PASSWORD).await.0.unwrap());
    assert!(log_in(&behind, 1, &by, "alice", PASSWORD).await.0.unwrap());
    assert!(log_in(&ahead, 1, &by, "alice", PASSWORD).await.0.unwrap());
    // Long after, what no longer opens is gone, and a key is there at once.
    let late = rotate(&new, at(5 * 3600)).unwrap();
    assert_eq!(late.len(), old.len(), "one key");
    // A database whose clock was wrong for a while is not waited for.
    let wrong = rotate(&old, at(365 * 24 * 3600)).unwrap();
    assert_ne!(rotate(&wrong, at(0)), None);
    assert!(maker.rotate_shared(b"what is no export", now(), lead, &mut rand::rng()).is_err());
}

/// What stands in a row, under a secret of 32 times this byte: `Base64(nonce || AES-256-GCM(key, nonce, "countersign ticket keys", keys))` with
/// `key = HMAC-SHA256(secret, "ticket keys in a database" || 0)`.
fn cipher(byte: u8) -> Aes256Gcm {
    use hmac::Mac;
    let mut mac = <hmac::Hmac<sha2::Sha256> as KeyInit>::new_from_slice(&[byte; 32]).unwrap();
    mac.update(b"ticket keys in a database\0");
    let key: [u8; 32] = mac.finalize().into_bytes().into();
    Aes256Gcm::new(&key.into())
}

const AAD: &[u8] = b"countersign ticket keys";

fn opened(byte: u8, wrapped: &str) -> Vec<u8> {
    let bytes = Base64Unpadded::decode_vec(wrapped).unwrap();
    let nonce: [u8; 12] = bytes[..12].try_into().unwrap();
    cipher(byte).decrypt(&nonce.into(), Payload { msg: &bytes[12..], aad: AAD }).unwrap()
}

fn wrapped(byte: u8, keys: &[u8]) -> String {
    let nonce = [9; 12];
    let sealed = cipher(byte).encrypt(&nonce.into(), Payload { msg: keys, aad: AAD }).unwrap();
    Base64Unpadded::encode_string(&[&nonce[..], &sealed].concat())
}

/// Servers of two releases share them, and each has the next one in time.
#[tokio::test(flavor = "multi_thread")]
async fn keys_stand_in_the_database_as_in_earlier_releases_and_a_new_one_five_minutes_before_its_time() {
    let (place, _folder) = databases("sealed").await.remove(0);
    let store = SqlStore::open(&place).await.unwrap();
    let options = SqliteConnectOptions::new().filename(place.path().unwrap());
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let ours = Arc::new(keys(HOUR));
    let before = now().as_secs();
    SharedTicketKeys::new(&store, &ours, &secret(1)).sync().await.unwrap();
    let select = "SELECT wrapped, ends FROM ticket_keys";
    let (row, ends): (String, u64) = sqlx::query_as(select).fetch_one(&mut connection).await.unwrap();
    assert_eq!(opened(1, &row), exported(&ours));
    // When the last of three keys no longer opens: before that nobody who can't read it puts another one there.
    assert!((before + 3 * 3600..=now().as_secs() + 3 * 3600).contains(&ends), "{ends}");
    // What another release has put there.
    for (age, is_due) in [(3600 - 600, false), (3600 - 60, true)] {
        let made = UnixTime::from_secs(now().as_secs() - age);
        let old = ours.rotate_shared(&[], made, Duration::ZERO, &mut rand::rng()).unwrap().unwrap();
        let update = "UPDATE ticket_keys SET version = version + 1, wrapped = $1";
        sqlx::query(update).bind(wrapped(1, old.as_slice())).execute(&mut connection).await.unwrap();
        // Whoever is late takes what was put there first.
        let syncing = (0..8).map(|_| {
            let (store, keys) = (store.clone(), Arc::new(keys(HOUR)));
            tokio::spawn(async move {
                SharedTicketKeys::new(&store, &keys, &secret(1)).sync().await.unwrap();
                keys
            })
        });
        let (row, _): (String, u64) = {
            let mut rings = HashSet::new();
            for one in syncing.collect::<Vec<_>>() {
                rings.insert(exported(&one.await.unwrap()));
            }
            let row = sqlx::query_as(select).fetch_one(&mut connection).await.unwrap();
            assert_eq!(rings.len(), 1, "all have the same keys");
            row
        };
        let found = opened(1, &row);
        assert_eq!((found.len() > old.as_slice().len(), found == old.as_slice()), (is_due, !is_due), "{age}");
    }
}

/// Somebody else at the same database.
async fn run(place: &Place, statement: &'static str) {
    if let Some(path) = place.path() {
        let options = SqliteConnectOptions::new().filename(path);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    } else {
        let mut connection = PgConnection::connect(&place.to_string()).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_the_database_are_of_no_use_without_the_secret() {
    for (place, _folder) in databases("wrapped").await {
        let store = SqlStore::open(&place).await.unwrap();
        let (ours, theirs) = (Arc::new(keys(HOUR)), Arc::new(keys(HOUR)));
        SharedTicketKeys::new(&store, &ours, &secret(1)).sync().await.unwrap();
        let before = exported(&theirs);
        let stranger = SharedTicketKeys::new(&store, &theirs, &secret(2));
        assert!(matches!(stranger.sync().await, Err(TicketSharingError::Unreadable)));
        assert_eq!(exported(&theirs), before, "its own go on");
        // One that knows both reads what was written under the other, and leaves it there, until that is retired.
        SharedTicketKeys::new(&store, &theirs, &secret(2).with_next(secret(1))).sync().await.unwrap();
        assert_eq!(exported(&theirs), exported(&ours));
        assert!(matches!(stranger.sync().await, Err(TicketSharingError::Unreadable)));
        SharedTicketKeys::new(&store, &theirs, &secret(2).with_retired(secret(1))).sync().await.unwrap();
        stranger.sync().await.unwrap();
        let before = SharedTicketKeys::new(&store, &ours, &secret(1).with_next(secret(2)));
        before.sync().await.unwrap();
        assert_eq!(exported(&theirs), exported(&ours));
        // What nobody can read any more is in the way until it has ended.
        let late = Arc::new(keys(HOUR));
        let bereft = SharedTicketKeys::new(&store, &late, &secret(3));
        assert!(matches!(bereft.sync().await, Err(TicketSharingError::Unreadable)));
        run(&place, "UPDATE ticket_keys SET ends = 1").await;
        bereft.sync().await.unwrap();
        assert_ne!(exported(&late), exported(&ours));
        assert!(matches!(before.sync().await, Err(TicketSharingError::Unreadable)), "they are new ones");
        if let Some(path) = place.path() {
            store.close().await;
            let file = std::fs::read(path).unwrap();
            let key = &exported(&ours)[12..28];
            assert!(!file.windows(key.len()).any(|window| window == key));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_deleted_and_made_anew_or_put_back_are_taken_over() {
    let (place, _folder) = databases("anew").await.remove(0);
    let store = SqlStore::open(&place).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path().unwrap());
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let keys = [0, 1].map(|_| Arc::new(keys(HOUR)));
    let shared = keys.each_ref().map(|keys| SharedTicketKeys::new(&store, keys, &secret(1)));
    shared[0].sync().await.unwrap();
    let old = exported(&keys[0]);
    let select = "SELECT version, wrapped FROM ticket_keys";
    let (version, wrapped): (i64, String) = sqlx::query_as(select).fetch_one(&mut connection).await.unwrap();
    // Whoever is at it next makes a key, as if it were the first.
    sqlx::query("DELETE FROM ticket_keys").execute(&mut connection).await.unwrap();
    shared[1].sync().await.unwrap();
    shared[0].sync().await.unwrap();
    assert_eq!(exported(&keys[0]), exported(&keys[1]));
    assert_ne!(exported(&keys[0]), old);
    // Of twelve bytes, in front. Two messages under one key and one nonce would give both away.
    let mut nonces = Vec::new();
    for _ in 0..64 {
        sqlx::query("DELETE FROM ticket_keys").execute(&mut connection).await.unwrap();
        shared[1].sync().await.unwrap();
        let (_, anew): (i64, String) = sqlx::query_as(select).fetch_one(&mut connection).await.unwrap();
        nonces.push(Base64Unpadded::decode_vec(&anew).unwrap()[..12].to_vec());
    }
    drawn::each_bit_varies(&nonces, 8);
    // And what a database that failed over has is what counts.
    let update = "UPDATE ticket_keys SET version = $1, wrapped = $2";
    sqlx::query(update).bind(version).bind(wrapped).execute(&mut connection).await.unwrap();
    for (shared, keys) in shared.iter().zip(&keys) {
        shared.sync().await.unwrap();
        assert_eq!(exported(keys), old);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_kept_follow_the_database_for_as_long_as_they_are_and_what_is_wrong_is_told() {
    let (place, _folder) = databases("kept").await.remove(0);
    let store = SqlStore::open(&place).await.unwrap();
    let keys = Arc::new(keys(Duration::from_secs(2)));
    let shared = SharedTicketKeys::new(&store, &keys, &secret(1));
    shared.sync().await.unwrap();
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    tokio::spawn(shared.keep(move |error| tell.store(matches!(error, TicketSharingError::Store(_)), SeqCst)));
    // One key comes and goes by itself, perhaps two: more are made by whoever goes on.
    let mut rings = HashSet::new();
    until(async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        rings.insert(exported(&keys));
        rings.len() > 6
    })
    .await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path().unwrap());
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("DROP TABLE ticket_keys").execute(&mut connection).await.unwrap();
    until(async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        told.load(SeqCst)
    })
    .await;
}

/// A session at each of two servers, which ends where its account is changed so.
async fn both_end(
    store: &SqlStore,
    servers: &[Acceptor; 2],
    change: impl Fn(&mut Account) -> Result<bool, AccountError> + Send,
) {
    let mut ends = Vec::new();
    for server in servers {
        let (client, end) = UnixStream::pair().unwrap();
        let server = server.clone();
        let held = tokio::spawn(async move {
            let mut session = server.accept(end, Context::new(source(1))).await.unwrap();
            session.read(&mut [0; 1]).await.map(drop).map_err(|error| error.to_string())
        });
        let alice = Credential::Password { user: "alice", password: PASSWORD };
        ends.push((connector().connect(client, alice).await.unwrap(), held));
    }
    store.edit("alice", change).await.unwrap();
    for (mut client, held) in ends {
        // Without an end this waits for ever.
        let read = client.read(&mut [0; 1]).await;
        assert!(!matches!(read, Ok(1)));
        assert!(held.await.unwrap().is_err(), "the server knows that it ended it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_locked_removed_or_given_another_password_has_no_session_at_any_server() {
    for (place, _folder) in databases("revoked").await {
        let mut stores = Vec::new();
        for _ in 0..2 {
            stores.push(SqlStore::open(&place).await.unwrap());
        }
        let servers = [0, 1].map(|number| {
            let server = server(&stores[number], &Arc::new(keys(HOUR)));
            server.with_recheck(Recheck::every(Duration::from_millis(50)))
        });
        stores[0].add(&account("alice")).await.unwrap();
        both_end(&stores[0], &servers, |alice| Ok(alice.lock())).await;
        stores[0].edit("alice", |alice| Ok(alice.unlock())).await.unwrap();
        let hash = |account: &Account| {
            let fields = account.fields();
            fields.iter().find(|(field, _)| *field == "password").unwrap().1.to_string()
        };
        let another = hash(&account("bob"));
        both_end(&stores[0], &servers, |alice| alice.set_password_hash(&another).map(|()| true)).await;
    }
}
