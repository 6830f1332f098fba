//! Memory that is given back holds no password on its way to a directory, none of a service account's, and no key of tickets that servers share.
//!
//! The allocator looks at what is freed, as that of the library's own test does. What the libraries underneath leave is theirs: `ldap3` wipes no password
//! that it has sent, so what a bind of its own leaves is what a login here may leave.
#![cfg(all(unix, feature = "ldap", feature = "sql"))]
#![allow(unsafe_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/directory.rs"]
mod directory;
#[path = "support/ldap.rs"]
mod ldap;

use countersign::crypto::rustcrypto;
use countersign::{Reason, TicketKeys, UnixTime};
use countersign_stores::{FleetSecret, LdapConfig, LdapVerifier, Place, SharedTicketKeys, SqlStore};
use directory::address_of;
use ldap::{listen, log_in};
use ldap3::LdapConnAsync;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

const PASSWORD: &[u8] = b"pass x-marked-secret-x word";

/// The front of a key of tickets, once there is one.
static KEY: OnceLock<[u8; 16]> = OnceLock::new();

static ARMED: AtomicBool = AtomicBool::new(false);
static PASSWORDS: AtomicUsize = AtomicUsize::new(0);
static KEYS: AtomicUsize = AtomicUsize::new(0);

struct Looking;

/// # Safety
/// `pointer` is to `length` readable bytes.
unsafe fn look(pointer: *const u8, length: usize) {
    if !ARMED.load(SeqCst) {
        return;
    }
    // A byte at a time: a block that was not written in whole is no slice.
    // SAFETY: within the block.
    let is = |at: usize, secret: &[u8]| {
        (0..secret.len()).all(|index| unsafe { pointer.add(at + index).read_volatile() } == secret[index])
    };
    // In a longer one it is part of a message, which is the library's.
    if length == PASSWORD.len() && is(0, PASSWORD) {
        PASSWORDS.fetch_add(1, SeqCst);
    }
    if let Some(key) = KEY.get()
        && (0..(length + 1).saturating_sub(key.len())).any(|at| is(at, key))
    {
        KEYS.fetch_add(1, SeqCst);
    }
}

// SAFETY: hands every call to the system's allocator, but for growing, which is made of the others.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that what an earlier owner left is not taken for what this one leaves.
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's until it is freed below.
        unsafe { look(pointer, layout.size()) };
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static LOOKING: Looking = Looking;

/// How many blocks that are the password, and how many with the key, were freed meanwhile, by any thread.
fn left_behind(work: impl FnOnce()) -> (usize, usize) {
    PASSWORDS.store(0, SeqCst);
    KEYS.store(0, SeqCst);
    ARMED.store(true, SeqCst);
    work();
    ARMED.store(false, SeqCst);
    (PASSWORDS.load(SeqCst), KEYS.load(SeqCst))
}

/// A directory that takes nobody's password.
async fn refuse(mut stream: UnixStream) {
    loop {
        // Requests of less than 128 bytes each, one at a time.
        let mut front = [0; 2];
        if stream.read_exact(&mut front).await.is_err() {
            return;
        }
        let mut rest = vec![0; usize::from(front[1])];
        stream.read_exact(&mut rest).await.unwrap();
        let [2, 1, number, operation, ..] = rest[..] else { panic!("{rest:?}") };
        rest.fill(0);
        let (done, code) = if operation == 0x60 { (0x61, 49) } else { (0x65, 0) };
        stream.write_all(&[0x30, 12, 2, 1, number, done, 7, 0x0a, 1, code, 4, 0, 4, 0]).await.unwrap();
    }
}

/// With a directory at a socket, on a runtime that is gone in the end, and all that it had.
fn with_directory<F: Future<Output = ()>>(work: impl FnOnce(String) -> F) -> (usize, usize) {
    left_behind(|| {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        Runtime::new().unwrap().block_on(async {
            listen(&socket, refuse);
            work(address_of(&socket)).await;
        });
    })
}

fn over_a_directory() {
    let name = "uid=alice,ou=people,dc=example";
    let (by_the_library, _) = with_directory(async |address| {
        let (connection, mut ldap) = LdapConnAsync::new(&address).await.unwrap();
        let driving = tokio::spawn(async move { connection.drive().await });
        let answer = ldap.simple_bind(name, std::str::from_utf8(PASSWORD).unwrap()).await.unwrap();
        assert_eq!(answer.rc, 49);
        drop(ldap);
        driving.await.unwrap().unwrap();
    });
    let (by_a_login, _) = with_directory(async |address| {
        let config = LdapConfig::parse(&address).unwrap().with_names("uid={user},ou=people,dc=example");
        let verifier = LdapVerifier::new(config.with_permissions(["read"])).unwrap();
        assert_eq!(log_in(&verifier, "alice", PASSWORD).await, Err(Reason::UnknownUser));
    });
    assert_eq!(by_a_login, by_the_library, "a password that was shown");
    let ours = left_behind(|| {
        let config = LdapConfig::parse("ldaps://directory.example").unwrap();
        drop(config.with_service("cn=countersign", std::str::from_utf8(PASSWORD).unwrap()).clone());
    });
    assert_eq!(ours, (0, 0), "the password of the service account");
}

async fn shared(file: &Path) -> (SqlStore, Arc<TicketKeys>) {
    let store = SqlStore::open(&Place::sqlite(file)).await.unwrap();
    let keys = Arc::new(TicketKeys::new(rustcrypto::provider(), Duration::from_secs(3600)));
    SharedTicketKeys::new(&store, &keys, &FleetSecret::new([1; 32])).sync().await.unwrap();
    (store, keys)
}

fn over_shared_ticket_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accounts.db");
    Runtime::new().unwrap().block_on(async {
        Place::sqlite(&file).migrate().await.unwrap();
        let keys = shared(&file).await.1;
        let exported = keys.export(UnixTime::from_system(SystemTime::now()), &mut rand::rng()).unwrap();
        // A version, how many, a name, and the key.
        KEY.set(*exported[2 + 8..].first_chunk().unwrap()).unwrap();
    });
    assert_eq!(left_behind(|| drop(black_box(KEY.get().unwrap().to_vec()))), (0, 1), "does it see what it looks for?");
    // A server that takes over what is there.
    let left = left_behind(|| {
        Runtime::new().unwrap().block_on(async {
            let (store, keys) = shared(&file).await;
            let exported = keys.export(UnixTime::from_system(SystemTime::now()), &mut rand::rng()).unwrap();
            assert_eq!(exported[2 + 8..][..16], KEY.get().unwrap()[..]);
            store.close().await;
        });
    });
    assert_eq!(left, (0, 0), "a key of tickets");
}

#[test]
fn what_is_freed_holds_no_password_of_a_directory_and_no_shared_key() {
    // One test, so that nothing else is freed meanwhile. First: does it see what it looks for?
    assert_eq!(left_behind(|| drop(black_box(PASSWORD.to_vec()))), (1, 0));
    over_a_directory();
    over_shared_ticket_keys();
}
