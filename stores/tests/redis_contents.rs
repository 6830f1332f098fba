//! What stands in a Redis: it names nobody, fades, and is not led astray by a clock that was wrong.
//!
//! The tests start `redis-server` on sockets of their own, and are skipped where there is none.
#![cfg(all(unix, feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/redis_server.rs"]
mod redis_server;
mod support;

use countersign::{PenaltyKey, PenaltyStore, TicketMemory, UnixTime};
use countersign_stores::RedisStore;
use redis_server::{Redis, now, secret, used};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::{source, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_it_names_nobody_and_does_not_grow_with_a_flood() {
    let Some(redis) = Redis::start() else { return };
    let store = redis.store();
    let keys = |number: u32| {
        let from = countersign::Source::address(std::net::IpAddr::V4((0x0a00_0000 + number).into()));
        let name: Arc<str> = format!("mallory {number}").into();
        [PenaltyKey::Source(from.clone()), PenaltyKey::Account(name), PenaltyKey::Total]
    };
    for number in 0..2000 {
        store.add(&keys(number).map(|key| (key, 1.0))).await.unwrap();
    }
    let names: Vec<String> = redis.ask(&["KEYS", "*"]).await;
    assert_eq!(names.len(), 2, "{names:?}");
    // Logins leave something: so much for each account.
    let alice: Arc<str> = "alice".into();
    for number in 0..100 {
        store.add(&good_login(number, &alice)).await.unwrap();
    }
    let names: Vec<redis::Value> = redis.ask(&["KEYS", "*"]).await;
    assert_eq!(names.len(), 2 + 2 + 64);
    let known =
        |number| [PenaltyKey::Logins(source(number), Arc::clone(&alice)), PenaltyKey::LoginsFrom(source(number))];
    let levels = store.read(&[known(99), known(0)].concat()).await.unwrap();
    let levels: Vec<f64> = levels.iter().map(|standing| standing.level).collect();
    assert_eq!(levels, [1.0, 1.0, 0.0, 0.0], "the latest are kept");
    // All of it, as a thief has it: no name and no address, as it is or as it is written.
    let ticket = used("alice", 1, 0, now());
    let _ = store.use_once(&ticket).await;
    let dump: Vec<Vec<u8>> = {
        let mut all = Vec::new();
        let keys: Vec<Vec<u8>> = redis.ask(&["KEYS", "*"]).await;
        let client = redis::Client::open(redis.address()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        for key in keys {
            let value: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.unwrap();
            let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
            assert!(left > 0 || key.ends_with(b":tickets"), "all but one fixed key end");
            all.extend([key, value]);
        }
        all
    };
    for needle in ["alice", "mallory", "192.0."] {
        let has = |hay: &Vec<u8>| hay.windows(needle.len()).any(|window| window == needle.as_bytes());
        assert!(!dump.iter().any(has), "{needle}");
    }
}

/// By what somebody could be told: what keys end in, what is in sets and hashes, and which cells of the counts were added to. Chains of tickets are
/// random.
const MARKS: &str = r"
local prefix, marks = ARGV[1], {}
for _, key in ipairs(redis.call('KEYS', prefix .. '*')) do
  local rest, kind = string.sub(key, #prefix + 1), redis.call('TYPE', key).ok
  if string.find(rest, ':', 1, true) then marks[#marks + 1] = rest end
  if kind == 'set' then
    for _, member in ipairs(redis.call('SMEMBERS', key)) do marks[#marks + 1] = member end
  elseif string.sub(rest, 1, 6) == 'pairs:' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do marks[#marks + 1] = member end
  elseif string.sub(rest, 1, 8) == 'sources:' then
    for _, field in ipairs(redis.call('HKEYS', key)) do marks[#marks + 1] = field end
  elseif rest == 'counts' then
    local counts, none = redis.call('GET', key), string.rep('\0', 10)
    for at = 1, #counts, 10 do
      if string.sub(counts, at, at + 9) ~= none then marks[#marks + 1] = 'count ' .. at end
    end
  end
end
return marks";

#[tokio::test(flavor = "multi_thread")]
async fn without_the_secret_no_name_and_no_address_can_be_tried_against_what_is_in_it() {
    let Some(redis) = Redis::start() else { return };
    let alice: Arc<str> = "alice".into();
    let mut marks = Vec::new();
    // The same of the same people, under two secrets.
    for byte in [7, 8] {
        let prefix = format!("{byte}:");
        let store = RedisStore::new(redis.config().with_prefix(&prefix), &secret(byte)).unwrap();
        store.check().await.unwrap();
        redis.age_under(&prefix).await;
        let counted = [
            PenaltyKey::Source(source(1)),
            PenaltyKey::Account(Arc::clone(&alice)),
            PenaltyKey::LoginsOf(Arc::clone(&alice)),
            PenaltyKey::LoginsFrom(source(1)),
            PenaltyKey::Logins(source(1), Arc::clone(&alice)),
            PenaltyKey::KnownSource(source(1), Arc::clone(&alice)),
        ];
        store.add(&counted.map(|key| (key, 1.0))).await.unwrap();
        let recently = UnixTime::from_secs(now().as_secs() - 10);
        assert_eq!(store.use_once(&used("alice", 1, 0, recently)).await, Ok(()));
        let found: Vec<Vec<u8>> = redis.ask(&["EVAL", MARKS, "0", &prefix]).await;
        marks.push(found.into_iter().collect::<BTreeSet<_>>());
    }
    // Five keys, what is in three of them, and four cells for each of two counts.
    assert_eq!((marks[0].len(), marks[1].len()), (16, 16));
    let shared: Vec<_> = marks[0].intersection(&marks[1]).map(|mark| String::from_utf8_lossy(mark)).collect();
    assert_eq!(shared, [""; 0]);
}

/// Servers of two releases at one Redis are to find what the other one has counted and marked.
///
/// `HMAC-SHA256(secret, "redis" || 0 || kind || 0 || text || 0)`, by Python's `hmac` under 32 bytes of 7.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_has_the_names_and_places_that_it_had_in_earlier_releases() {
    const ALICE: &str = "e0410840332312da9075cb3c384912be";
    const SOURCE: &str = "8cb4ba341fd8b997f70046d4c4ff3c09";
    const PRINCIPAL: &str = "cc57711be2cfbfe17c009602fc477792";
    let Some(redis) = Redis::start() else { return };
    redis.age().await;
    let (store, alice): (_, Arc<str>) = (redis.store(), "alice".into());
    store.add(&good_login(1, &alice)).await.unwrap();
    store.add(&[(PenaltyKey::Source(source(1)), 3.0), (PenaltyKey::Total, 1.0)]).await.unwrap();
    let recently = UnixTime::from_secs(now().as_secs() - 10);
    let ticket = used("alice", 5, 2, recently);
    assert_eq!(store.use_once(&ticket).await, Ok(()));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // What follows is a word, or a hash, in which there may be a colon, too.
    let shown = |key: &Vec<u8>| {
        let (word, hash) = match key.iter().skip("countersign:".len()).position(|&byte| byte == b':') {
            Some(at) => key.split_at("countersign:".len() + at + 1),
            None => (&key[..], &[][..]),
        };
        String::from_utf8(word.to_vec()).unwrap() + &hex(hash)
    };
    let keys: Vec<Vec<u8>> = redis.ask(&["KEYS", "countersign:*"]).await;
    // But for what a check leaves for a minute.
    let keys: BTreeSet<String> = keys.iter().map(shown).filter(|key| key != "countersign:probe").collect();
    let expected = [
        "accounts:".to_owned() + SOURCE,
        "ages:".to_owned() + PRINCIPAL,
        "chains:".to_owned() + PRINCIPAL,
        "counts".to_owned(),
        "pairs:".to_owned() + ALICE,
        "sources:".to_owned() + ALICE,
        "tickets".to_owned(),
        "total".to_owned(),
    ];
    assert_eq!(keys, expected.map(|rest| format!("countersign:{rest}")).into());
    let marks: Vec<Vec<u8>> = redis.ask(&["EVAL", MARKS, "0", "countersign:"]).await;
    let cells: Vec<_> = marks.into_iter().filter(|mark| mark.starts_with(b"count ")).collect();
    // Four numbers of 16 bits, each in a row of 65536 cells of ten bytes.
    assert_eq!(cells, [401_180, 933_870, 1_529_410, 2_475_130].map(|at| format!("count {}", at + 1).into_bytes()));
    let client = redis::Client::open(redis.address()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = |front: &str, rest: &str| {
        let rest = (0..16).map(|at| u8::from_str_radix(&rest[2 * at..][..2], 16).unwrap()).collect::<Vec<_>>();
        [front.as_bytes(), &rest].concat()
    };
    let mark = redis::cmd("HGET").arg(key("countersign:chains:", PRINCIPAL)).arg(&[5_u8; 16]).to_owned();
    let mark: String = mark.query_async(&mut connection).await.unwrap();
    assert_eq!(mark, format!("2 {}", ticket.until.as_secs()));
    let secret = redis::cmd("HGET").arg("countersign:tickets").arg("secret").to_owned();
    let secret: Vec<u8> = secret.query_async(&mut connection).await.unwrap();
    assert_eq!(hex(&secret), "3f6df462974b0289");
}

/// Has others add to each count's first cell, where they share it: 100 in all of those.
const CROWD: &str = r"
local cell = struct.pack('>fI6', 100, redis.call('TIME')[1] * 1000)
redis.call('SETRANGE', ARGV[1] .. 'counts', 0, string.rep(cell, 65536))
return {}";

/// What the highest of those comes to.
const HIGHEST: &str = r"
local counts, highest = redis.call('GETRANGE', ARGV[1] .. 'counts', 0, 655359), 0
for at = 1, #counts, 10 do highest = math.max(highest, struct.unpack('>f', string.sub(counts, at, at + 3))) end
return { string.format('%.1f', highest) }";

#[tokio::test(flavor = "multi_thread")]
async fn of_a_count_s_cells_the_lowest_counts_and_one_that_others_have_raised_is_not_raised_further() {
    let Some(redis) = Redis::start() else { return };
    let (prefix, near) = ("crowd:", [PenaltyKey::Source(source(1))]);
    let store = RedisStore::new(redis.config().with_prefix(prefix), &secret(7)).unwrap();
    store.add(&near.clone().map(|key| (key, 3.0))).await.unwrap();
    let _: Vec<String> = redis.ask(&["EVAL", CROWD, "0", prefix]).await;
    store.add(&near.clone().map(|key| (key, 2.0))).await.unwrap();
    let level = store.read(&near).await.unwrap()[0].level;
    assert!((4.9..=5.0).contains(&level), "{level}");
    let highest: Vec<String> = redis.ask(&["EVAL", HIGHEST, "0", prefix]).await;
    assert_eq!(highest, ["100.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_fade_and_never_fall_below_zero() {
    let Some(redis) = Redis::start() else { return };
    let (store, other) = (redis.store(), redis.store());
    let name: Arc<str> = "alice".into();
    let account = PenaltyKey::Account(Arc::clone(&name));
    for amounts in [[3.0, 2.0], [-1.0, -1.0]] {
        store.add(&amounts.map(|amount| (account.clone(), amount))).await.unwrap();
    }
    let level = |standings: Vec<countersign::Standing>| standings[0].level;
    let read = level(other.read(std::slice::from_ref(&account)).await.unwrap());
    assert!((2.9..=3.0).contains(&read), "{read}");
    store.add(&[(account.clone(), -100.0)]).await.unwrap();
    assert_eq!(level(other.read(&[account]).await.unwrap()), 0.0);
    // Of a pair that has logged in, a good login clears the count; of another pair it clears nothing.
    let (home, gateway) =
        (PenaltyKey::KnownSource(source(1), Arc::clone(&name)), PenaltyKey::KnownSource(source(2), Arc::clone(&name)));
    store.add(&[(PenaltyKey::Logins(source(1), Arc::clone(&name)), 1.0)]).await.unwrap();
    for key in [&home, &gateway] {
        store.add(&[(key.clone(), 5.0)]).await.unwrap();
        let read = level(other.read(std::slice::from_ref(key)).await.unwrap());
        assert!((4.9..=5.0).contains(&read), "{read}");
        store.add(&[(key.clone(), f64::MIN)]).await.unwrap();
    }
    assert_eq!(level(other.read(&[home]).await.unwrap()), 0.0);
    assert!(level(other.read(&[gateway]).await.unwrap()) > 4.9);
    // Another secret is another service: it sees nothing of these.
    let stranger = RedisStore::new(redis.config(), &secret(8)).unwrap();
    assert_eq!(level(stranger.read(&[PenaltyKey::Logins(source(1), name)]).await.unwrap()), 0.0);
}

/// Raises all that strangers add to.
const FILL: &str = r"
local cell = struct.pack('>fI6', 100, redis.call('TIME')[1] * 1000)
redis.call('SET', ARGV[1] .. 'counts', string.rep(cell, 4 * 65536))
return {}";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exempt_is_counted_apart_from_what_strangers_fill() {
    let Some(redis) = Redis::start() else { return };
    let (prefix, store, alice): (_, _, Arc<str>) = ("full:", redis.config().with_prefix("full:"), "alice".into());
    let store = RedisStore::new(store, &secret(7)).unwrap();
    let _: Vec<String> = redis.ask(&["EVAL", FILL, "0", prefix]).await;
    let exempt = [1, 2].map(|from| PenaltyKey::ExemptSource(source(from), Arc::clone(&alice)));
    store.add(&[(exempt[0].clone(), 3.0)]).await.unwrap();
    let counts = [&exempt[..], &[PenaltyKey::Account(alice)]].concat();
    let levels: Vec<f64> = store.read(&counts).await.unwrap().iter().map(|standing| standing.level).collect();
    assert_eq!(levels, [3.0, 0.0, 100.0]);
}

/// Has all counts under a prefix be from so many seconds from now, by a clock that was wrong.
const AHEAD: &str = r"
local prefix, later = ARGV[1], struct.pack('>I6', (redis.call('TIME')[1] + ARGV[2]) * 1000)
redis.call('SETRANGE', prefix .. 'total', 4, later)
local counts, none = redis.call('GET', prefix .. 'counts'), string.rep('\0', 4)
for at = 0, #counts - 10, 10 do
  if string.sub(counts, at + 1, at + 4) ~= none then redis.call('SETRANGE', prefix .. 'counts', at + 4, later) end
end
for _, key in ipairs(redis.call('KEYS', prefix .. 'sources:*')) do
  for _, field in ipairs(redis.call('HKEYS', key)) do
    redis.call('HSET', key, field, string.sub(redis.call('HGET', key, field), 1, 10) .. later)
  end
end
return {}";

#[tokio::test(flavor = "multi_thread")]
async fn a_count_from_the_future_is_one_of_now_and_fades_from_then_on_also_where_it_is_only_read() {
    let Some(redis) = Redis::start() else { return };
    let alice: Arc<str> = "alice".into();
    for seconds in ["60", "1800", "7200"] {
        let prefix = format!("{seconds}:");
        let store = RedisStore::new(redis.config().with_prefix(&prefix), &secret(7)).unwrap();
        store.add(&[(PenaltyKey::Logins(source(1), Arc::clone(&alice)), 1.0)]).await.unwrap();
        let counts = [
            PenaltyKey::Total,
            PenaltyKey::Source(source(2)),
            PenaltyKey::Account(Arc::clone(&alice)),
            PenaltyKey::KnownSource(source(1), Arc::clone(&alice)),
        ];
        store.add(&counts.clone().map(|key| (key, 5.0))).await.unwrap();
        let _: Vec<String> = redis.ask(&["EVAL", AHEAD, "0", &prefix, seconds]).await;
        let read = store.read(&counts).await.unwrap();
        assert!(read.iter().all(|standing| standing.level == 5.0), "{seconds}: {read:?}");
        // Who waits for them waits no longer than for any other, though nobody adds to them.
        until(async || store.read(&counts).await.unwrap().iter().all(|standing| standing.since > Duration::ZERO)).await;
        store.add(&counts.clone().map(|key| (key, 1.0))).await.unwrap();
        let read = store.read(&counts).await.unwrap();
        assert!(read.iter().all(|standing| (1.5..=6.0).contains(&standing.level)), "{seconds}: {read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_kept_for_a_day_and_an_account_takes_a_failure_off_a_source_once_an_hour() {
    let Some(redis) = Redis::start() else { return };
    let (store, alice): (_, Arc<str>) = (redis.store(), "alice".into());
    let near = PenaltyKey::Source(source(1));
    store.add(&[(near.clone(), 3.0), (PenaltyKey::Total, 3.0)]).await.unwrap();
    let left = async |key: &str| -> i64 {
        let found: Vec<Vec<u8>> = redis.ask(&["KEYS", key]).await;
        let [found] = &found[..] else { panic!("{key}: {}", found.len()) };
        let client = redis::Client::open(redis.address()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("TTL").arg(found).query_async(&mut connection).await.unwrap()
    };
    for key in ["*counts", "*total"] {
        let left = left(key).await;
        assert!((23 * 3600..=24 * 3600).contains(&left), "{key}: {left}");
    }
    let first_login = [(near, -1.0), (PenaltyKey::Logins(source(1), alice), 1.0)];
    store.add(&first_login).await.unwrap();
    let left = left("*credited:*").await;
    assert!((3500..=3600).contains(&left), "{left}");
}

/// As if all logins had been so many days earlier.
const AGE: &str = r"
for _, key in ipairs(redis.call('KEYS', '*sources:*')) do
  local all = redis.call('HGETALL', key)
  for at = 1, #all, 2 do
    local login = struct.unpack('>I6', all[at + 1]) - ARGV[1] * 24 * 3600 * 1000
    redis.call('HSET', key, all[at], struct.pack('>I6', login) .. string.sub(all[at + 1], 7))
  end
end
return {}";

/// What a good login adds.
fn good_login(from: u8, name: &Arc<str>) -> [(PenaltyKey, f64); 4] {
    good_login_of(name, from, name)
}

fn good_login_of(principal: &Arc<str>, from: u8, name: &Arc<str>) -> [(PenaltyKey, f64); 4] {
    [
        (PenaltyKey::KnownSource(source(from), Arc::clone(name)), f64::MIN),
        (PenaltyKey::LoginsOf(Arc::clone(principal)), 1.0),
        (PenaltyKey::LoginsFrom(source(from)), 1.0),
        (PenaltyKey::Logins(source(from), Arc::clone(name)), 1.0),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_has_logged_in_from_for_long_is_not_known_however_busy_the_account_is() {
    let Some(redis) = Redis::start() else { return };
    let store = redis.store();
    let alice: Arc<str> = "alice".into();
    store.add(&good_login(1, &alice)).await.unwrap();
    let _: Vec<String> = redis.ask(&["EVAL", AGE, "0", "201"]).await;
    store.add(&good_login(2, &alice)).await.unwrap();
    let known = [1, 2].map(|from| PenaltyKey::Logins(source(from), Arc::clone(&alice)));
    let levels: Vec<f64> = store.read(&known).await.unwrap().iter().map(|standing| standing.level).collect();
    assert_eq!(levels, [0.0, 1.0]);
}

/// As directories have it, and whoever has one account there.
#[tokio::test(flavor = "multi_thread")]
async fn however_a_name_is_written_its_principal_leaves_as_much_and_takes_one_failure_off_in_an_hour() {
    let Some(redis) = Redis::start() else { return };
    let store = redis.store();
    let [mallory, alice]: [Arc<str>; 2] = ["mallory".into(), "alice".into()];
    store.add(&good_login(0, &alice)).await.unwrap();
    let near = [1, 2, 3].map(|from| PenaltyKey::Source(source(from)));
    store.add(&near.clone().map(|key| (key, 5.0))).await.unwrap();
    for way in 0..200_u8 {
        let (from, name): (u8, Arc<str>) = (1 + way % 3, format!("mallory {way}").into());
        let mut amounts = good_login_of(&mallory, from, &name).to_vec();
        amounts.push((PenaltyKey::Source(source(from)), -1.0));
        store.add(&amounts).await.unwrap();
    }
    let levels = store.read(&near).await.unwrap();
    let levels: Vec<f64> = levels.iter().map(|standing| standing.level.round()).collect();
    assert_eq!(levels, [4.0, 5.0, 5.0]);
    // Whose they are and its credit; an account for each name of the last 64, and three sources. Beside them alice's three, and the counts.
    let keys: Vec<redis::Value> = redis.ask(&["KEYS", "*"]).await;
    assert_eq!(keys.len(), 2 + 64 + 3 + 3 + 1);
    let known = |from: u8, name: &str| PenaltyKey::Logins(source(from), name.into());
    let asked = [known(2, "mallory 199"), known(1, "mallory 99"), known(0, "alice")];
    let levels: Vec<f64> = store.read(&asked).await.unwrap().iter().map(|standing| standing.level).collect();
    assert_eq!(levels, [1.0, 0.0, 1.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_somebody_goes_on_to_log_in_from_stays_known() {
    const DAY: i64 = 24 * 3600;
    let Some(redis) = Redis::start() else { return };
    let store = redis.store();
    let alice: Arc<str> = "alice".into();
    store.add(&good_login(1, &alice)).await.unwrap();
    let mut keys: Vec<Vec<u8>> = redis.ask(&["KEYS", "*sources:*"]).await;
    let others: [Vec<Vec<u8>>; 2] = [redis.ask(&["KEYS", "*accounts:*"]).await, redis.ask(&["KEYS", "*pairs:*"]).await];
    keys.extend(others.concat());
    assert_eq!(keys.len(), 3);
    let _: Vec<String> = redis.ask(&["EVAL", AGE, "0", "199"]).await;
    let client = redis::Client::open(redis.address()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for key in &keys {
        let () = redis::cmd("EXPIRE").arg(key).arg(DAY).query_async(&mut connection).await.unwrap();
    }
    store.add(&good_login(1, &alice)).await.unwrap();
    for key in &keys {
        let left: i64 = redis::cmd("TTL").arg(key).query_async(&mut connection).await.unwrap();
        assert!(left > 199 * DAY, "{left}");
    }
    let _: Vec<String> = redis.ask(&["EVAL", AGE, "0", "2"]).await;
    let known = [PenaltyKey::Logins(source(1), alice)];
    assert_eq!(store.read(&known).await.unwrap()[0].level, 1.0, "by the last login, not the first");
}
