//! Several servers over one Redis, which goes away, comes back, is flushed, and hangs.
//!
//! The tests start `redis-server` on sockets of their own, and are skipped where there is none.
#![cfg(all(unix, feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/redis_server.rs"]
mod redis_server;
mod support;

use countersign::crypto::rustcrypto;
use countersign::{
    Acceptor, AccountVerifier, Accounts, AlreadyUsed, Penalties, PenaltyKey, PenaltyStore, ServerConfig, TicketKeys,
    TicketMemory, TicketUse, UnixTime, Waits, WhenAway,
};
use countersign_stores::{RedisConfig, RedisError, RedisEvent, RedisStore};
use redis_server::{Redis, now, secret, used};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use support::{Copies, PASSWORD, account, connector, log_in, server_key, source, until, why};

const HOUR: Duration = Duration::from_secs(3600);

/// What was told of a Redis.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn to(&self, config: RedisConfig) -> RedisConfig {
        let told = self.clone();
        config.with_observer(move |event| {
            let word = match event {
                RedisEvent::Away { .. } => "away",
                RedisEvent::Back { after } if after.is_zero() => "back at once",
                RedisEvent::Back { .. } => "back",
                RedisEvent::TicketsForgotten => "forgotten",
                RedisEvent::OtherSecret => "other secret",
                _ => "other",
            };
            told.0.lock().unwrap().push(word.to_owned());
        })
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Two servers over the same accounts, with the same ticket keys, that share what is in Redis.
fn servers(stores: [RedisStore; 2], when_away: WhenAway) -> [Acceptor; 2] {
    let accounts = Arc::new(RwLock::new(Accounts::new()));
    for name in ["alice", "bob"] {
        // An account of a store in memory keeps its epoch, so tickets outlive nothing here.
        accounts.write().unwrap().add(name, ["read"]).unwrap();
        let hash = account(name).fields().into_iter().find(|(field, _)| *field == "password").unwrap().1.to_string();
        accounts.write().unwrap().edit(name, |account| account.set_password_hash(&hash)).unwrap();
    }
    let keys = stores.each_ref().map(|store| {
        let keys = TicketKeys::new(rustcrypto::provider(), HOUR);
        Arc::new(keys.with_shared_memory(store.clone()))
    });
    keys[1].follow(&keys[0].export(now(), &mut rand::rng()).unwrap()).unwrap();
    let mut stores = stores.into_iter();
    keys.map(|keys| {
        let waits = |free| Waits::new(free, HOUR, HOUR);
        let penalties = Penalties::default().with_source(waits(8)).with_block(waits(64)).with_account(waits(10));
        let config = ServerConfig::new(rustcrypto::provider()).with_tickets(keys);
        let config = config.with_refusal_floor(Duration::ZERO);
        let verifier = AccountVerifier::new(Arc::clone(&accounts)).without_upgrade();
        Acceptor::new_async(config, server_key(), verifier)
            .with_penalties(penalties.with_store(stores.next().unwrap(), when_away))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_counts_the_other_knows() {
    let Some(redis) = Redis::start() else { return };
    let servers = servers([redis.store(), redis.store()], WhenAway::GoOn);
    assert_eq!(why(&servers[0], 1, "alice", PASSWORD).await, "accepted");
    // One source, at many names, by turns.
    for number in 0..9 {
        let name = format!("somebody {number}");
        assert_eq!(why(&servers[number % 2], 2, &name, b"guess").await, "unknown-user", "{number}");
    }
    for server in &servers {
        assert_eq!(why(server, 2, "bob", PASSWORD).await, "penalty-source");
    }
    // One name, from many sources, by turns.
    for number in 0..11 {
        assert_eq!(why(&servers[number % 2], 10 + number as u8, "alice", b"guess").await, "wrong-password", "{number}");
    }
    for server in &servers {
        assert_eq!(why(server, 40, "alice", PASSWORD).await, "penalty-account");
        // She has logged in from there at one of them.
        assert_eq!(why(server, 1, "alice", PASSWORD).await, "accepted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_one_server_is_good_at_the_other_and_once() {
    let Some(redis) = Redis::start() else { return };
    redis.age().await;
    let servers = servers([redis.store(), redis.store()], WhenAway::GoOn);
    let (first, second) = (Copies::default(), Copies::default());
    let by = |copies: &Copies| connector().with_tickets(copies.clone());
    assert!(!log_in(&servers[0], 1, &by(&first), "alice", PASSWORD).await.0.unwrap());
    *second.0.lock().unwrap() = first.0.lock().unwrap().clone();
    let stolen = Copies(Arc::new(Mutex::new(first.0.lock().unwrap().clone())));
    assert!(log_in(&servers[1], 1, &by(&first), "alice", PASSWORD).await.0.unwrap(), "from one to the other");
    assert!(log_in(&servers[0], 1, &by(&first), "alice", PASSWORD).await.0.unwrap(), "and back, by the next");
    for server in &servers {
        let copy = Copies(Arc::new(Mutex::new(stolen.0.lock().unwrap().clone())));
        assert!(!log_in(server, 1, &by(&copy), "alice", PASSWORD).await.0.unwrap(), "used before");
    }
    // Many who show one at once, at both: one of them gets in by it.
    let copies: Vec<_> = (0..8).map(|_| Copies(Arc::new(Mutex::new(first.0.lock().unwrap().clone())))).collect();
    let logins = copies.into_iter().enumerate().map(|(number, copy)| {
        let (server, connector) = (servers[number % 2].clone(), by(&copy));
        tokio::spawn(async move { log_in(&server, 1, &connector, "alice", PASSWORD).await.0.unwrap() })
    });
    let logins: Vec<_> = logins.collect();
    let mut resumed = 0;
    for login in logins {
        resumed += usize::from(login.await.unwrap());
    }
    assert_eq!(resumed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_loses_counts_and_lets_no_ticket_in_again() {
    let Some(redis) = Redis::start() else { return };
    redis.age().await;
    let told = Told::default();
    let stores = [RedisStore::new(told.to(redis.config()), &secret(7)).unwrap(), redis.store()];
    let servers = servers(stores, WhenAway::TurnAway);
    let copies = Copies::default();
    let by = connector().with_tickets(copies.clone());
    assert!(!log_in(&servers[0], 1, &by, "alice", PASSWORD).await.0.unwrap());
    let used = copies.0.lock().unwrap().clone();
    assert!(log_in(&servers[0], 1, &by, "alice", PASSWORD).await.0.unwrap());
    let fresh = copies.0.lock().unwrap().clone();
    for number in 0..9 {
        assert_eq!(why(&servers[1], 2, &format!("somebody {number}"), b"guess").await, "unknown-user");
    }
    assert_eq!(why(&servers[0], 2, "bob", PASSWORD).await, "penalty-source");
    let () = redis.ask(&["FLUSHALL"]).await;
    for ticket in [used, fresh] {
        let by = connector().with_tickets(Copies(Arc::new(Mutex::new(ticket))));
        assert!(!log_in(&servers[0], 1, &by, "alice", PASSWORD).await.0.unwrap(), "by password, as nobody can tell");
    }
    assert_eq!(told.all(), ["forgotten"]);
    assert_eq!(why(&servers[0], 2, "bob", PASSWORD).await, "accepted", "this one had counted nothing itself");
    assert_eq!(why(&servers[1], 2, "bob", PASSWORD).await, "accepted", "from where he has logged in");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_holds_up_nobody_and_comes_back_without_what_it_knew_of_tickets() {
    let Some(mut redis) = Redis::start() else { return };
    redis.age().await;
    let told = Told::default();
    let store = RedisStore::new(told.to(redis.config().with_patience(Duration::from_secs(1))), &secret(7)).unwrap();
    let open = servers([store.clone(), store.clone()], WhenAway::GoOn);
    let closed = servers([redis.store(), redis.store()], WhenAway::TurnAway);
    let copies = Copies::default();
    let by = connector().with_tickets(copies.clone());
    assert!(!log_in(&open[0], 1, &by, "alice", PASSWORD).await.0.unwrap());
    assert_eq!(why(&closed[0], 1, "alice", PASSWORD).await, "accepted");
    let ticket = copies.0.lock().unwrap().clone();
    redis.kill();
    let with_ticket = || connector().with_tickets(Copies(Arc::new(Mutex::new(ticket.clone()))));
    assert!(!log_in(&open[1], 1, &with_ticket(), "alice", PASSWORD).await.0.unwrap(), "by password");
    assert_eq!(why(&open[1], 5, "bob", PASSWORD).await, "accepted");
    assert_eq!(why(&open[1], 5, "bob", b"guess").await, "wrong-password");
    assert_eq!(why(&closed[0], 5, "bob", PASSWORD).await, "not-now", "a stranger");
    assert_eq!(why(&closed[0], 1, "alice", PASSWORD).await, "accepted", "known at this server");
    assert_eq!(told.all(), ["away"], "once");
    // Whoever does not ask, as it was away a moment ago, is one without an answer, too.
    assert!(store.counts().away >= 3, "{:?}", store.counts());
    let before = store.counts();
    for _ in 0..3 {
        assert!(store.read(&[PenaltyKey::Total]).await.is_err());
    }
    let after = store.counts();
    assert!(after.away - before.away >= 3 && after.asked - before.asked == after.away - before.away, "{after:?}");
    assert!(matches!(redis.store().check().await, Err(RedisError::Away(_))));
    redis.restart();
    // By and by: whoever was told a moment ago that it is away does not ask.
    until(async || why(&closed[0], 5, "bob", PASSWORD).await == "accepted").await;
    until(async || store.check().await.is_ok()).await;
    assert!(!log_in(&open[1], 1, &with_ticket(), "alice", PASSWORD).await.0.unwrap(), "it can't know");
    assert_eq!(told.all().iter().filter(|word| *word == "away").count(), 1);
    assert!(told.all().contains(&"back".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_is_given_up() {
    let Some(redis) = Redis::start() else { return };
    redis.age().await;
    let told = Told::default();
    let store = RedisStore::new(told.to(redis.config().with_patience(Duration::from_secs(1))), &secret(7)).unwrap();
    let servers = servers([store.clone(), store.clone()], WhenAway::GoOn);
    let copies = Copies::default();
    let by = connector().with_tickets(copies.clone());
    assert!(!log_in(&servers[0], 1, &by, "alice", PASSWORD).await.0.unwrap());
    let ticket = copies.0.lock().unwrap().clone();
    redis.signal("-STOP");
    // Without a deadline none of these would end.
    let logins = (0..20).map(|number| {
        let server = servers[number % 2].clone();
        tokio::spawn(async move { why(&server, 60 + number as u8, "bob", PASSWORD).await })
    });
    for login in logins.collect::<Vec<_>>() {
        assert_eq!(login.await.unwrap(), "accepted");
    }
    let replay = connector().with_tickets(Copies(Arc::new(Mutex::new(ticket.clone()))));
    assert!(!log_in(&servers[1], 1, &replay, "alice", PASSWORD).await.0.unwrap());
    assert_eq!(told.all()[0], "away");
    redis.signal("-CONT");
    until(async || store.check().await.is_ok()).await;
    assert_eq!(told.all().last().unwrap(), "back");
}

/// How many writes it has refused.
async fn refusals(redis: &Redis) -> u64 {
    let stats: String = redis.ask(&["INFO", "errorstats"]).await;
    let of = |line: &str| {
        line.split_once(":count=").and_then(|(name, count)| Some((name.to_owned(), count.trim().parse().ok()?)))
    };
    let refused = |(name, _): &(String, u64)| ["errorstat_OOM", "errorstat_READONLY"].contains(&name.as_str());
    stats.lines().filter_map(of).filter(refused).map(|(_, count)| count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_reads_and_takes_no_writes_is_away_until_it_does() {
    let Some(redis) = Redis::start() else { return };
    let other = Redis::start().unwrap();
    redis.age().await;
    let told = Told::default();
    let store = RedisStore::new(told.to(redis.config().with_patience(Duration::from_secs(1))), &secret(7)).unwrap();
    let closed = servers([store.clone(), store.clone()], WhenAway::TurnAway);
    assert_eq!(why(&closed[0], 1, "alice", PASSWORD).await, "accepted");
    let (full, room): (&[&str], &[&str]) = (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]);
    let there = other.folder.path().join("socket").display().to_string();
    // A Redis on a socket alone has no port that a replica could come to. To be one it need not get there.
    let (replica, master): (&[&str], &[&str]) = (&["REPLICAOF", &there, "1"], &["REPLICAOF", "NO", "ONE"]);
    for (number, (wrong, right)) in [(full, room), (replica, master)].into_iter().enumerate() {
        let () = redis.ask(wrong).await;
        // As a start sees it, to which all that it reads is in order.
        let said = redis.store().check().await;
        assert!(matches!(said, Err(RedisError::Away(_))), "{said:?}");
        // The first guess may find out.
        let stranger = 5 + number as u8;
        let _ = why(&closed[0], stranger, "bob", b"guess").await;
        // Again and again: most are not asked for, so until some were.
        for _ in 0..3 {
            for is_check in [true, false] {
                let before = refusals(&redis).await;
                until(async || {
                    if is_check {
                        assert!(store.check().await.is_err());
                    } else {
                        assert!(store.read(&[PenaltyKey::Total]).await.is_err(), "also what only reads");
                    }
                    refusals(&redis).await > before
                })
                .await;
            }
        }
        assert_eq!(why(&closed[0], stranger, "bob", PASSWORD).await, "not-now");
        assert_eq!(why(&closed[0], 1, "alice", PASSWORD).await, "accepted", "known at this server");
        assert_eq!(told.all().len(), 2 * number + 1, "once: {:?}", told.all());
        let () = redis.ask(right).await;
        // By itself, without a check.
        until(async || why(&closed[0], stranger, "bob", PASSWORD).await == "accepted").await;
        assert_eq!(told.all().last().unwrap(), "back");
    }
    assert_eq!(told.all(), ["away", "back", "away", "back"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_secrets_under_one_prefix_neither_has_tickets_and_both_are_told_so() {
    let Some(redis) = Redis::start() else { return };
    redis.age().await;
    let told = Told::default();
    let [ours, theirs] = [7, 8].map(|byte| RedisStore::new(told.to(redis.config()), &secret(byte)).unwrap());
    let recently = UnixTime::from_secs(now().as_secs() - 10);
    assert_eq!(ours.use_once(&used("alice", 1, 0, recently)).await, Ok(()));
    for _ in 0..3 {
        assert_eq!(theirs.use_once(&used("alice", 1, 0, recently)).await, Err(AlreadyUsed::Forgotten));
        assert_eq!(ours.use_once(&used("alice", 1, 1, recently)).await, Err(AlreadyUsed::Forgotten));
    }
    assert_eq!(told.all(), ["other secret", "other secret"], "once a minute each");
    assert_eq!((ours.counts().other_secret, ours.counts().tickets_forgotten), (3, 0));
    // With another prefix they are apart.
    let apart = RedisStore::new(told.to(redis.config().with_prefix("theirs:")), &secret(8)).unwrap();
    apart.check().await.unwrap();
    ours.check().await.unwrap();
    apart.check().await.unwrap();
    assert_eq!((apart.counts().other_secret, ours.counts().other_secret), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_an_address_that_moves_there_and_back_nothing_is_taken_twice() {
    let (Some(one), Some(two)) = (Redis::start(), Redis::start()) else { return };
    for redis in [&one, &two] {
        redis.age().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("socket");
    let to = |redis: &Redis| {
        let next = folder.path().join("next");
        std::os::unix::fs::symlink(redis.folder.path().join("socket"), &next).unwrap();
        std::fs::rename(next, &address).unwrap();
    };
    to(&one);
    let told = Told::default();
    let config = RedisConfig::parse(&format!("redis+unix://{}", address.display())).unwrap();
    let store = RedisStore::new(told.to(config), &secret(7)).unwrap();
    let recently = UnixTime::from_secs(now().as_secs() - 10);
    assert_eq!(store.use_once(&used("alice", 1, 0, recently)).await, Ok(()));
    for next in [&two, &one] {
        to(next);
        // Whoever is connected stays.
        let () = one.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        let () = two.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        let again = loop {
            match store.use_once(&used("alice", 1, 0, recently)).await {
                Err(AlreadyUsed::Away) => {}
                known => break known,
            }
        };
        assert_eq!(again, Err(AlreadyUsed::Forgotten));
        assert_eq!(store.use_once(&used("alice", 2, 0, recently)).await, Err(AlreadyUsed::Forgotten));
    }
    assert_eq!(told.all().iter().filter(|word| *word == "forgotten").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_clock_is_behind_and_that_begins_anew_takes_nothing_of_before() {
    let Some(redis) = Redis::start() else { return };
    // A server's clock that is ahead of Redis's by three minutes is as good as a Redis that is behind by as much: what began then is still
    // before the server's now.
    let script = concat!(include_str!("../src/redis/common.lua"), include_str!("../src/redis/use.lua"));
    let ahead = now().as_secs() + 180;
    let ask = |chain: &str, began: u64, clock: u64| {
        let (began, ends, clock) = (began.to_string(), (began + 7200).to_string(), clock.to_string());
        let words =
            ["EVAL", script, "1", "apart:", chain, "0", &began, &ends, "64", "60", &clock, "", "1", "secret", "alice"];
        words.map(str::to_owned)
    };
    for (chain, began, clock, expected) in [
        ("1", 0, ahead, "forgotten"),
        ("2", ahead - 10, ahead, "forgotten"),
        ("3", ahead + 60, ahead + 60, "forgotten"),
        ("4", ahead + 61, ahead + 61, "first"),
    ] {
        let words = ask(chain, began, clock);
        let said: Vec<String> = redis.ask(&words.each_ref().map(String::as_str)).await;
        assert_eq!(said[0], expected, "{chain}");
    }
    // A mark lasts until the clock that is behind says that it has ended.
    for key in ["apart:chains:alice", "apart:ages:alice"] {
        let left: i64 = redis.ask(&["TTL", key]).await;
        assert!(left >= 7200 + 180, "{key}: {left}");
    }
    // One that is years ahead shuts nobody out for years.
    let () = redis.ask(&["DEL", "apart:tickets"]).await;
    let words = ask("5", 0, ahead + 1_000_000_000);
    let _: Vec<String> = redis.ask(&words.each_ref().map(String::as_str)).await;
    let since: u64 = redis.ask(&["HGET", "apart:tickets", "since"]).await;
    assert!(since <= now().as_secs() + 3600);
    // Nor is a mark of a server that is behind gone before that takes the ticket no more, and a minute later.
    let () = redis.ask(&["HSET", "apart:tickets", "since", "1"]).await;
    for key in ["apart:chains:alice", "apart:ages:alice"] {
        let () = redis.ask(&["DEL", key]).await;
    }
    let behind = now().as_secs() - 3000;
    let words = ask("6", behind, behind);
    let said: Vec<String> = redis.ask(&words.each_ref().map(String::as_str)).await;
    assert_eq!(said[0], "first");
    for key in ["apart:chains:alice", "apart:ages:alice"] {
        let end: u64 = redis.ask(&["EXPIRETIME", key]).await;
        assert!((behind + 3000 + 7260..=now().as_secs() + 7260 + 1).contains(&end), "{key}: {end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_clock_was_ahead_when_it_began_keeps_nothing_out_once_that_is_right_and_one_that_is_behind_lets_nothing_in()
 {
    let Some(redis) = Redis::start() else { return };
    redis.age().await;
    let store = redis.store();
    let at = |ahead: i64| now().as_secs().saturating_add_signed(ahead);
    let set = async |field: &str, seconds: u64| {
        let () = redis.ask(&["HSET", "countersign:tickets", field, &seconds.to_string()]).await;
    };
    let kept = async |field: &str| -> u64 { redis.ask(&["HGET", "countersign:tickets", field]).await };
    // It began, and took another secret, by a clock that was a day ahead.
    for field in ["since", "changed"] {
        set(field, at(24 * 3600)).await;
    }
    let of = |chain, ahead| used("alice", chain, 0, UnixTime::from_secs(at(ahead)));
    assert_eq!(store.use_once(&of(1, -10)).await, Err(AlreadyUsed::Forgotten), "of before");
    for field in ["since", "changed"] {
        assert!(kept(field).await <= at(0), "{field}");
    }
    assert_eq!(store.use_once(&of(2, 120)).await, Ok(()), "of after that");
    assert_eq!(store.use_once(&of(2, 120)).await, Err(AlreadyUsed::Used));
    // As seen by a server whose clock says this, while its own says what it does: one of the two that is behind moves nothing.
    let script = concat!(include_str!("../src/redis/common.lua"), include_str!("../src/redis/use.lua"));
    let look = async |clock: u64| {
        let words =
            ["EVAL", script, "1", "apart:", "", "0", "0", "0", "64", "60", &clock.to_string(), "", "1", "secret", ""];
        let _: Vec<String> = redis.ask(&words).await;
    };
    look(at(0)).await;
    for (since, clock) in [(7200, 4000), (3000, -24 * 3600), (-10, -24 * 3600), (24 * 3600, 23 * 3600)] {
        let before = at(since);
        let () = redis.ask(&["HSET", "apart:tickets", "since", &before.to_string()]).await;
        look(at(clock)).await;
        let after: u64 = redis.ask(&["HGET", "apart:tickets", "since"]).await;
        assert_eq!(after, before, "{since} {clock}");
    }
}

#[cfg(feature = "sql")]
#[tokio::test(flavor = "multi_thread")]
async fn until_a_server_knows_that_its_clock_is_right_it_marks_and_takes_no_ticket_and_counts_with_the_others() {
    use countersign_stores::{Place, SharedTicketKeys, SqlStore};
    let Some(redis) = Redis::start() else { return };
    let place = Place::sqlite(redis.folder.path().join("accounts.db"));
    place.migrate().await.unwrap();
    let store = SqlStore::open(&place).await.unwrap();
    // The others are at a secret that is this one's next.
    let secrets = secret(8).with_next(secret(7));
    let memory = RedisStore::new(redis.config(), &secrets).unwrap();
    let keys = Arc::new(TicketKeys::new(rustcrypto::provider(), HOUR).with_shared_memory(memory.clone()));
    let shared = SharedTicketKeys::new(&store, &keys, &secrets).with_memory(&memory);
    memory.check().await.unwrap();
    let names: Vec<String> = redis.ask(&["KEYS", "countersign:tickets"]).await;
    assert_eq!(names, [""; 0], "it may be ahead");
    redis.age().await;
    let account = PenaltyKey::Account("alice".into());
    redis.store().add(&[(account.clone(), 5.0)]).await.unwrap();
    memory.check().await.unwrap();
    assert!(memory.read(&[account]).await.unwrap()[0].level > 4.9);
    let ticket = used("alice", 1, 0, UnixTime::from_secs(now().as_secs() - 10));
    assert_eq!(memory.use_once(&ticket).await, Err(AlreadyUsed::Away));
    shared.sync().await.unwrap();
    assert_eq!(memory.use_once(&ticket).await, Ok(()));
    assert_eq!(redis.store().use_once(&ticket).await, Err(AlreadyUsed::Used));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_stays_for_as_long_as_any_ticket_of_its_principal_and_what_has_ended_makes_nobody_forgotten() {
    let Some(redis) = Redis::start() else { return };
    redis.age().await;
    let store = RedisStore::new(redis.config().with_chains_per_principal(2), &secret(7)).unwrap();
    let at = |seconds: i64| UnixTime::from_secs(now().as_secs().saturating_add_signed(seconds));
    let shown = |chain, number, until| TicketUse { until: at(until), ..used("alice", chain, number, at(-1000)) };
    // One that is good for two hours, others that end sooner, of the same chain as well.
    for ticket in [shown(1, 0, 7200), shown(1, 1, -300), shown(2, 0, 60)] {
        assert_eq!(store.use_once(&ticket).await, Ok(()));
    }
    let lasting = async |key: &str| -> i64 {
        let found: Vec<Vec<u8>> = redis.ask(&["KEYS", key]).await;
        let client = redis::Client::open(redis.address()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("TTL").arg(&found[0]).query_async(&mut connection).await.unwrap()
    };
    for key in ["*:chains:*", "*:ages:*"] {
        let left = lasting(key).await;
        assert!((7000..=7200 + 60).contains(&left), "{key}: {left}");
    }
    // The longest counts, whichever ticket of the chain came last: what has to go while it lasts is forgotten.
    assert_eq!(store.use_once(&TicketUse { authenticated: at(-900), ..shown(3, 0, 60) }).await, Ok(()));
    let earlier = |ticket| TicketUse { authenticated: at(-1100), ..ticket };
    assert_eq!(store.use_once(&earlier(shown(4, 0, 60))).await, Err(AlreadyUsed::Forgotten));
    // Of chains that are over, by more than clocks may differ, there is nothing to forget.
    let of_bob = |chain, until| TicketUse { principal: "bob".to_owned(), ..shown(chain, 0, until) };
    for chain in 1..=3 {
        assert_eq!(store.use_once(&of_bob(chain, -300)).await, Ok(()), "{chain}");
    }
    assert_eq!(store.use_once(&earlier(of_bob(4, 7200))).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_not_do_all_of_it_is_refused_and_not_taken_for_an_absence() {
    let Some(redis) = Redis::start() else { return };
    let socket = redis.folder.path().join("socket");
    let () = redis.ask(&["ACL", "SETUSER", "reader", "on", ">hunter22", "~*", "+@read"]).await;
    for (user, password) in [("reader", "hunter22"), ("reader", "another"), ("nobody", "hunter22")] {
        let address = format!("redis+unix://{}?user={user}&pass={password}", socket.display());
        let config = RedisConfig::parse(&address).unwrap().with_patience(Duration::from_secs(60));
        let store = RedisStore::new(config, &secret(7)).unwrap();
        let said = store.check().await;
        assert!(matches!(said, Err(RedisError::Refused(_))), "{user} {password}: {said:?}");
    }
}

/// The rights of a user that docs/cluster.md lists.
fn rights() -> Vec<&'static str> {
    let page = include_str!("../../docs/cluster.md");
    let line = page.lines().find_map(|line| line.trim().strip_prefix("ACL SETUSER countersign on >"));
    line.unwrap().split(' ').skip(1).collect()
}

/// Gives it these rights, and no other.
async fn set_user(redis: &Redis, rights: &[&str]) {
    let () = redis.ask(&[&["ACL", "SETUSER", "countersign", "reset", "on", ">hunter22"], rights].concat()).await;
}

/// How that user comes to it.
fn as_user(redis: &Redis) -> RedisConfig {
    let socket = redis.folder.path().join("socket");
    let address = format!("redis+unix://{}?user=countersign&pass=hunter22", socket.display());
    RedisConfig::parse(&address).unwrap().with_patience(Duration::from_secs(60))
}

/// A good login, as servers of before tell of it.
fn good_login(from: u8, name: &str) -> [(PenaltyKey, f64); 4] {
    let name: Arc<str> = name.into();
    [
        (PenaltyKey::KnownSource(source(from), Arc::clone(&name)), f64::MIN),
        (PenaltyKey::Source(source(from)), -1.0),
        (PenaltyKey::LoginsFrom(source(from)), 1.0),
        (PenaltyKey::Logins(source(from), name), 1.0),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_are_documented_are_enough_for_all_that_servers_do() {
    let Some(redis) = Redis::start() else { return };
    set_user(&redis, &rights()).await;
    let told = Told::default();
    // Chains, too, are more than there is room for.
    let store = || RedisStore::new(told.to(as_user(&redis)).with_chains_per_principal(1), &secret(7)).unwrap();
    let stores = [store(), store()];
    assert!(stores[0].is_ours().await.unwrap());
    for store in &stores {
        store.check().await.unwrap();
    }
    let left: Vec<String> = redis.ask(&["KEYS", "countersign:may*"]).await;
    assert_eq!(left, [""; 0], "nothing stays of what is tried");
    redis.age().await;
    let servers = servers(stores.clone(), WhenAway::TurnAway);
    for copies in [Copies::default(), Copies::default()] {
        let by = connector().with_tickets(copies.clone());
        assert!(!log_in(&servers[0], 1, &by, "alice", PASSWORD).await.0.unwrap());
        assert!(log_in(&servers[1], 1, &by, "alice", PASSWORD).await.0.unwrap(), "by ticket");
    }
    for from in 0..70 {
        stores[0].add(&good_login(from, "bob")).await.unwrap();
        assert_eq!(why(&servers[usize::from(from % 2)], 100 + from, "alice", PASSWORD).await, "accepted", "{from}");
    }
    for number in 0..9 {
        assert_eq!(why(&servers[0], 2, &format!("somebody {number}"), b"guess").await, "unknown-user");
    }
    assert_eq!(why(&servers[1], 2, "bob", PASSWORD).await, "penalty-source");
    assert_eq!(told.all(), ["forgotten"]);
    assert_eq!(stores.map(|store| store.counts().away), [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_whichever_right_is_missing() {
    let Some(redis) = Redis::start() else { return };
    let all = rights();
    for right in all.iter().filter(|right| right.starts_with('+')) {
        let taken = right.replacen('+', "-", 1);
        for is_look in [false, true] {
            set_user(&redis, &[&all[..], &[&taken]].concat()).await;
            // What is known there by now need not be loaded.
            let () = redis.ask(&["SCRIPT", "FLUSH"]).await;
            let store = RedisStore::new(as_user(&redis), &secret(7)).unwrap();
            let said = if is_look { store.is_ours().await.map(drop) } else { store.check().await };
            assert!(matches!(said, Err(RedisError::Refused(_))), "{taken}: {said:?}");
        }
    }
    // And keys of its own.
    set_user(&redis, &[&all[1..], &["~elsewhere:*"]].concat()).await;
    let said = RedisStore::new(as_user(&redis), &secret(7)).unwrap().check().await;
    assert!(matches!(said, Err(RedisError::Refused(_))), "{said:?}");
    // What a script does that the check has not tried would be found out by a login.
    let called =
        |script: &'static str| script.split("redis.call('").skip(1).map(|rest| rest.split('\'').next().unwrap());
    let tried: Vec<_> = called(include_str!("../src/redis/rights.lua")).collect();
    for script in [
        include_str!("../src/redis/common.lua"),
        include_str!("../src/redis/add.lua"),
        include_str!("../src/redis/look.lua"),
        include_str!("../src/redis/probe.lua"),
        include_str!("../src/redis/read.lua"),
        include_str!("../src/redis/use.lua"),
    ] {
        assert!(!script.contains("pcall"));
        for command in called(script) {
            assert!(tried.contains(&command), "{command}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_user_loses_a_right_is_away_once_and_until_it_has_it_again() {
    let Some(redis) = Redis::start() else { return };
    set_user(&redis, &rights()).await;
    let told = Told::default();
    let config = as_user(&redis).with_patience(Duration::from_secs(1));
    let store = RedisStore::new(told.to(config), &secret(7)).unwrap();
    until(async || store.check().await.is_ok()).await;
    let before = told.all().len();
    let () = redis.ask(&["ACL", "SETUSER", "countersign", "-sadd"]).await;
    // Nothing but a first login from somewhere needs that.
    until(async || store.add(&good_login(1, "alice")).await.is_err()).await;
    assert_eq!(told.all()[before..], ["away"]);
    for _ in 0..3 {
        until(async || matches!(store.check().await, Err(RedisError::Refused(_)))).await;
        assert!(store.read(&[PenaltyKey::Total]).await.is_err());
    }
    assert_eq!(told.all()[before..], ["away"]);
    let () = redis.ask(&["ACL", "SETUSER", "countersign", "+sadd"]).await;
    until(async || store.check().await.is_ok()).await;
    assert_eq!(told.all()[before..], ["away", "back"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_login_takes_a_failure_off_its_source_once_at_whichever_server_and_none_off_its_neighbours() {
    let Some(redis) = Redis::start() else { return };
    let servers = [redis.store(), redis.store()];
    let (near, far) = (PenaltyKey::Source(source(1)), PenaltyKey::Source(source(2)));
    let block = PenaltyKey::Block(source(1).around(24, 48).unwrap());
    servers[0].add(&[(near.clone(), 3.0), (far.clone(), 3.0), (block.clone(), 6.0)]).await.unwrap();
    let levels = || async {
        let read = servers[1].read(&[near.clone(), far.clone(), block.clone()]).await.unwrap();
        read.iter().map(|standing| standing.level.round() as u32).collect::<Vec<_>>()
    };
    let log_in = async |server: usize, from: u8, name: &str| {
        let name: Arc<str> = name.into();
        let amounts = [
            (PenaltyKey::KnownSource(source(from), Arc::clone(&name)), f64::MIN),
            (PenaltyKey::Source(source(from)), -1.0),
            (block.clone(), -1.0),
            (PenaltyKey::LoginsFrom(source(from)), 1.0),
            (PenaltyKey::Logins(source(from), name), 1.0),
        ];
        servers[server].add(&amounts).await.unwrap();
    };
    log_in(0, 1, "mallory").await;
    assert_eq!(levels().await, [2, 3, 5]);
    // Each server has just begun, and takes it for the first.
    log_in(1, 1, "mallory").await;
    // From elsewhere, within the hour, and from where nothing failed.
    log_in(0, 2, "mallory").await;
    log_in(0, 3, "trent").await;
    assert_eq!(levels().await, [2, 3, 5]);
    log_in(0, 2, "alice").await;
    assert_eq!(levels().await, [2, 2, 4]);
    // Past as many sources as are remembered, every login would be a first one.
    for number in 0..130 {
        log_in(0, 100 + number % 65, "bob").await;
    }
    let before = levels().await;
    log_in(0, 1, "bob").await;
    assert_eq!(levels().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_flush_it_learns_again_from_where_people_log_in() {
    let Some(redis) = Redis::start() else { return };
    let servers = servers([redis.store(), redis.store()], WhenAway::GoOn);
    assert_eq!(why(&servers[0], 1, "alice", PASSWORD).await, "accepted");
    let () = redis.ask(&["FLUSHALL"]).await;
    assert_eq!(why(&servers[0], 1, "alice", PASSWORD).await, "accepted", "nothing new to this server");
    for number in 0..11 {
        assert_eq!(why(&servers[1], 10 + number, "alice", b"guess").await, "wrong-password");
    }
    assert_eq!(why(&servers[1], 40, "alice", PASSWORD).await, "penalty-account");
    assert_eq!(why(&servers[1], 1, "alice", PASSWORD).await, "accepted", "told by the other one");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_chain_only_later_tickets_are_good_and_of_a_principal_only_so_many_chains_are_known() {
    let Some(redis) = Redis::start() else { return };
    let store = RedisStore::new(redis.config().with_chains_per_principal(3), &secret(7)).unwrap();
    let recently = UnixTime::from_secs(now().as_secs() - 10);
    assert_eq!(store.use_once(&used("alice", 1, 0, recently)).await, Err(AlreadyUsed::Forgotten), "Redis is new");
    redis.age().await;
    for (number, expected) in
        [(0, Ok(())), (0, Err(AlreadyUsed::Used)), (2, Ok(())), (1, Err(AlreadyUsed::Used)), (3, Ok(()))]
    {
        assert_eq!(store.use_once(&used("alice", 1, number, recently)).await, expected, "{number}");
    }
    let older = |seconds| UnixTime::from_secs(now().as_secs() - seconds);
    for chain in 2..=4 {
        assert_eq!(store.use_once(&used("alice", chain, 0, older(100 - u64::from(chain)))).await, Ok(()));
    }
    // The second had to go, as the oldest, and nobody knows of chains from before it.
    assert_eq!(store.use_once(&used("alice", 2, 1, older(98))).await, Err(AlreadyUsed::Forgotten));
    assert_eq!(store.use_once(&used("alice", 9, 0, older(500))).await, Err(AlreadyUsed::Forgotten));
    assert_eq!(store.use_once(&used("bob", 9, 0, older(500))).await, Ok(()), "somebody else's are not touched");
    for chain in [3, 4, 1] {
        assert_eq!(store.use_once(&used("alice", chain, 9, older(90))).await, Ok(()), "{chain}");
    }
    // What Lua can't count to the end, and whom nobody has named.
    assert_eq!(store.use_once(&used("alice", 1, (1 << 53) - 1, recently)).await, Ok(()));
    assert_eq!(store.use_once(&used("alice", 1, 1 << 53, recently)).await, Err(AlreadyUsed::Away));
    assert_eq!(store.use_once(&used("", 1, 0, recently)).await, Err(AlreadyUsed::Away));
    // One that evicts anything can't say of any chain that it was not used, even where it still has all that it knows of tickets.
    let () = redis.ask(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]).await;
    let () = redis.ask(&["SET", "of another program", &"x".repeat(1 << 20), "EX", "10"]).await;
    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "1200000"]).await;
    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(store.use_once(&used("bob", 8, 0, recently)).await, Err(AlreadyUsed::Forgotten));
    // One chain is remembered of everybody, whatever is said.
    let config = redis.config().with_prefix("alone:").with_chains_per_principal(0);
    let store = RedisStore::new(config, &secret(7)).unwrap();
    store.check().await.unwrap();
    redis.age_under("alone:").await;
    for number in 0..2 {
        assert_eq!(store.use_once(&used("alice", 1, number, recently)).await, Ok(()), "{number}");
    }
}
