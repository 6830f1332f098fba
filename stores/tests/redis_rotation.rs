//! Servers over one Redis whose keys are rotated, and with them the secret that all is kept under.
//!
//! The tests start `redis-server` on sockets of their own, and are skipped where there is none.
#![cfg(all(unix, feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/redis_server.rs"]
mod redis_server;

use countersign::{AlreadyUsed, PenaltyKey, PenaltyStore, TicketMemory, TicketUse, UnixTime};
use countersign_stores::{FleetSecret, RedisStore};
use redis_server::{Redis, secret};
use std::time::{Duration, SystemTime};

/// A server's view of it, which waits for an answer for as long as it takes.
fn store(redis: &Redis, secret: FleetSecret) -> RedisStore {
    RedisStore::new(redis.config().with_patience(Duration::from_secs(60)), &secret).unwrap()
}

fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

fn used(principal: &str, chain: u8, number: u64, authenticated: UnixTime) -> TicketUse {
    let until = UnixTime::from_secs(now().as_secs() + 7200);
    TicketUse { principal: principal.to_owned(), chain: [chain; 16], number, authenticated, until }
}

/// A rotation of the servers' keys: one server after the other is started anew, and the one before knows what is next.
#[tokio::test(flavor = "multi_thread")]
async fn from_one_secret_to_the_next_no_ticket_ends_and_none_is_taken_twice() {
    let Some(redis) = Redis::start() else { return };
    redis.age().await;
    let old = store(&redis, secret(7).with_next(secret(8)));
    let recently = UnixTime::from_secs(now().as_secs() - 10);
    let (first, second) = (|number| used("alice", 1, number, recently), |number| used("alice", 2, number, recently));
    for ticket in [first(0), second(0)] {
        assert_eq!(old.use_once(&ticket).await, Ok(()));
    }
    // One that is started after it, and one whose key is not retired yet, as somebody is ahead with the folder.
    let ahead = store(&redis, secret(8).with_next(secret(7)));
    assert_eq!(ahead.use_once(&first(0)).await, Err(AlreadyUsed::Used));
    let named: String = redis.ask(&["HGET", "countersign:tickets", "before"]).await;
    assert_eq!(named, "", "that changes nothing");
    let new = store(&redis, secret(8).with_next(secret(9)).with_retired(secret(7)));
    for store in [&new, &old, &ahead] {
        assert_eq!(store.use_once(&first(0)).await, Err(AlreadyUsed::Used));
    }
    assert_eq!(new.use_once(&first(1)).await, Ok(()));
    assert_eq!(old.use_once(&first(1)).await, Err(AlreadyUsed::Used));
    assert_eq!(old.use_once(&first(2)).await, Ok(()));
    assert_eq!(new.use_once(&first(2)).await, Err(AlreadyUsed::Used));
    // Counts are those of both.
    let account = PenaltyKey::Account("alice".into());
    old.add(&[(account.clone(), 5.0)]).await.unwrap();
    let level = new.read(std::slice::from_ref(&account)).await.unwrap()[0].level;
    assert!(level > 4.9, "{level}");
    // One that no longer knows the secret of before takes nothing of then, and harms nobody.
    let late = store(&redis, secret(8).with_next(secret(9)));
    assert_eq!(late.use_once(&second(1)).await, Err(AlreadyUsed::Forgotten));
    let after = UnixTime::from_secs(now().as_secs() + 120);
    assert_eq!(late.use_once(&used("alice", 3, 0, after)).await, Ok(()));
    assert_eq!(old.use_once(&used("alice", 3, 0, after)).await, Err(AlreadyUsed::Used));
    assert_eq!(old.use_once(&second(1)).await, Ok(()));
    assert_eq!(new.use_once(&second(1)).await, Err(AlreadyUsed::Used));
    // Two changes later nothing is known of before the first one.
    let last = store(&redis, secret(9).with_retired(secret(8)).with_retired(secret(7)));
    assert_eq!(last.use_once(&second(2)).await, Err(AlreadyUsed::Forgotten));
    for store in [old, ahead, new, late, last] {
        assert_eq!((store.counts().other_secret, store.counts().tickets_forgotten), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_tells_whose_it_is_and_leaves_nothing() {
    let Some(redis) = Redis::start() else { return };
    let look = async |byte| store(&redis, secret(byte)).is_ours().await.unwrap();
    assert!(look(7).await && look(8).await);
    let names: Vec<String> = redis.ask(&["KEYS", "*"]).await;
    assert_eq!(names, [""; 0]);
    redis.age().await;
    let recently = UnixTime::from_secs(now().as_secs() - 10);
    assert_eq!(store(&redis, secret(7)).use_once(&used("alice", 1, 0, recently)).await, Ok(()));
    assert!(look(7).await && !look(8).await);
    assert!(store(&redis, secret(8).with_retired(secret(7))).is_ours().await.unwrap());
    assert_eq!(store(&redis, secret(7)).use_once(&used("alice", 1, 1, recently)).await, Ok(()));
}
