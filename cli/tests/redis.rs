//! `serve --redis`: what two servers on one machine share, how its password is given, and what becomes of logins while it is away.
//!
//! The tests start `redis-server` themselves. Where there is none they say so, and test nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg(feature = "redis")]

mod support;

use countersign::crypto::rustcrypto;
use countersign::{Begun, TicketKeys, UnixTime};
use countersign_stores::{FleetSecret, Place, SharedTicketKeys, SqlStore};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use support::databases::{serving, sqlite};
use support::servers::Redis;
use support::{House, PATIENCE, Said, Server, command, connect, finish, run};

/// A house whose accounts are in SQLite.
fn house() -> House {
    let house = House::empty();
    house.key("rsa2048.pem", "server.pem");
    house.write("redis-password", format!("{}\n", Redis::PASSWORD).as_bytes(), 0o600);
    let users = sqlite(&house);
    let add = ["user", "add", "alice", "--permission", "read", "--password-stdin", "--users", &users];
    run(&add, "secret of alice\n").ok();
    house
}

/// The words of a server over SQLite and this Redis.
fn words(house: &House, redis: &str, more: &[&str]) -> Vec<String> {
    serving(house, &sqlite(house), &[&["--redis", redis], more].concat())
}

fn serve(house: &House, redis: &Redis, more: &[&str]) -> Server {
    let password = house.path("redis-password");
    let more =
        [&["--redis-password-file", &password, "--redis-timeout", "5s", "--refusal-floor", "1ms"], more].concat();
    Server::of(command(&words(house, &redis.address(), &more)))
}

fn fails(house: &House, redis: &str, more: &[&str], status: i32, parts: &[&str]) {
    let said: Said = run(&words(house, redis, more), "").fails(status, parts);
    assert!(!format!("{said:?}").contains(Redis::PASSWORD), "{said:?}");
}

#[test]
fn the_password_of_redis_comes_from_a_file_or_the_environment_and_is_printed_nowhere() {
    let Some(redis) = Redis::start() else { return };
    let (house, address) = (house(), redis.address());
    fails(&house, &address, &[], 1, &["Redis refuses", "REDISCLI_AUTH", "--redis-password-file"]);
    let password = house.path("redis-password");
    house.write("wrong", b"wrong\n", 0o600);
    fails(&house, &address, &["--redis-password-file", &house.path("wrong")], 1, &["Redis refuses"]);
    house.write("exposed", b"wrong\n", 0o644);
    fails(&house, &address, &["--redis-password-file", &house.path("exposed")], 1, &["0644"]);
    for bad in ["redis://:hunter22@db.example:nonsense", "rediss://:hunter22@db.example", "hunter22"] {
        fails(&house, bad, &[], 2, &["expected redis://HOST:PORT"]);
    }
    let mut by_environment = command(&words(&house, &address, &["--exec", "env"]));
    by_environment.env("REDISCLI_AUTH", Redis::PASSWORD).env("PGPASSWORD", Redis::PASSWORD);
    let mut server = Server::of(by_environment);
    server.wait_for(&["event=started", &format!("redis=\"{address}\"")]);
    // Nor does a program that serves a session get it.
    let mut said = String::new();
    house.session(connect(&server.address)).read_to_string(&mut said).unwrap();
    assert!(said.contains("COUNTERSIGN_PRINCIPAL=alice") && !said.contains(Redis::PASSWORD), "{said}");
    let with_password = format!("{address}?pass={}", Redis::PASSWORD);
    let mut by_address = command(&words(&house, &with_password, &[]));
    // That of the address is the one that is meant.
    by_address.env("REDISCLI_AUTH", "of another");
    let mut by_address = Server::of(by_address);
    by_address.wait_for(&["event=started", &format!("redis=\"{address}\"")]);

    let (key, users) = (house.path("server.pem"), sqlite(&house));
    let file = |redis: &str, more: &str| {
        let text = format!("listen = \"127.0.0.1:0\"\nkey = {key:?}\nusers = {users:?}\nredis = {redis:?}\n{more}");
        house.write("serve.toml", text.as_bytes(), 0o644)
    };
    let named = file(&with_password, "redis-down = \"closed\"\n");
    let said = run(&["check-config", &named, "--print"], "").ok();
    assert!(said.out.contains(&format!("\nredis = \"{address}\"\n")), "{said:?}");
    assert!(said.out.contains("\nredis-down = \"closed\"\n") && !said.out.contains(Redis::PASSWORD), "{said:?}");
    let named = file(&address, &format!("redis-password-file = {password:?}\n"));
    assert!(run(&["check-config", &named], "").ok().out.contains(&format!("\n{address}\n")));
    run(&["check-config", &file(&address, "")], "").fails(1, &["Redis refuses"]);
    let said = run(&["check-config", &file("redis+unix:///nowhere/socket", "")], "").ok();
    assert!(said.err.contains("warning: --redis redis+unix:///nowhere/socket: Redis can't be asked"), "{said:?}");
    let mut check = command(&["check-config", &file(&address, "")]);
    finish(check.env("REDISCLI_AUTH", Redis::PASSWORD), "").ok();
    // An empty one is none, as a file of variables for containers has it where nothing is said.
    redis.ask(&["CONFIG", "SET", "requirepass", ""]);
    let mut check = command(&["check-config", &file(&address, "")]);
    finish(check.env("REDISCLI_AUTH", ""), "").ok();
}

#[test]
fn a_user_of_redis_s_that_may_not_do_all_that_is_needed_is_refused_by_a_check_and_by_a_start() {
    let Some(redis) = Redis::start() else { return };
    let house = house();
    redis.ask(&["ACL", "SETUSER", "careful", "on", &format!(">{}", Redis::PASSWORD), "~*", "+@all", "-@dangerous"]);
    let (address, password) = (format!("{}?user=careful", redis.address()), house.path("redis-password"));
    let (key, users) = (house.path("server.pem"), sqlite(&house));
    let text = format!(
        "listen = \"127.0.0.1:0\"\nkey = {key:?}\nusers = {users:?}\nredis = {address:?}\nredis-password-file = {password:?}\nredis-timeout = \"60s\"\n"
    );
    let file = house.write("serve.toml", text.as_bytes(), 0o644);
    run(&["check-config", &file], "").fails(1, &["Redis refuses", "the rights that docs/cluster.md lists"]);
    let patient = ["--redis-password-file", &password, "--redis-timeout", "60s"];
    fails(&house, &address, &patient, 1, &["Redis refuses", "docs/cluster.md"]);
}

#[test]
fn flags_that_make_no_sense_together_are_refused() {
    let house = house();
    let (nowhere, file) = ("redis+unix:///nowhere/socket", house.path("ticket.keys"));
    fails(&house, nowhere, &["--ticket-keys", &file], 2, &["--ticket-keys is for a server by itself", "sqlite:"]);
    house.write("secret", b"too short\n", 0o600);
    let secret = ["--shared-secret", &house.path("secret")];
    fails(&house, nowhere, &secret, 2, &["64 hexadecimal digits", "openssl rand -hex 32"]);
    let more = ["serve", "--listen", "127.0.0.1:0", "--key", "k", "--shared-secret", "s"];
    run(&more, "").fails(2, &["--redis"]);
    for bad in ["", "of ours:", "\u{fc}ber:"] {
        fails(&house, nowhere, &["--redis-prefix", bad], 2, &["1 to 64 characters of ASCII"]);
    }
}

#[test]
fn servers_over_one_sqlite_file_share_tickets_and_each_is_good_once() {
    let Some(redis) = Redis::start() else { return };
    let house = house();
    let secret = house.write("secret", format!("{}\n", "5a".repeat(32)).as_bytes(), 0o600);
    let mut servers = [0, 1].map(|_| serve(&house, &redis, &["--shared-secret", &secret]));
    redis.settle();
    let ticket = house.session(connect(&servers[0].address)).info().ticket().unwrap().clone();
    let next = house.resume(&servers[1].address, &ticket).info().ticket().unwrap().clone();
    for server in &servers {
        assert!(matches!(house.begin(&server.address, &ticket), Begun::Trusted(_)));
    }
    // A restart, in no good order, forgets neither the keys nor what was used.
    servers[0].child.kill().unwrap();
    servers[0] = serve(&house, &redis, &["--shared-secret", &secret]);
    assert!(matches!(house.begin(&servers[0].address, &ticket), Begun::Trusted(_)));
    drop(house.resume(&servers[0].address, &next));
    // One that keeps it all under another secret says so, and has tickets of its own. Of two that know ours, each looking every two seconds, it might
    // always be the other one that finds its secret there first, and puts ours back.
    assert_eq!(servers[0].stop("-TERM").0, 0);
    let mut stranger = serve(&house, &redis, &[]);
    servers[1].wait_for(&["event=redis-other-secret", "--shared-secret", "--redis-prefix"]);
    drop(house.session(connect(&stranger.address)));
    let (_, said) = stranger.stop("-TERM");
    assert!(said.contains("warning: the ticket keys in the database are encrypted under another secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_to_make_the_keys_that_are_shared() {
    let Some(redis) = Redis::start() else { return };
    let house = house();
    let secret = house.write("secret", format!("{}\n", "5a".repeat(32)).as_bytes(), 0o600);
    let _server = serve(&house, &redis, &["--shared-secret", &secret, "--ticket-lifetime", "2s"]);
    // One that looks on, and makes none as long as there is one.
    let store = SqlStore::open(&Place::sqlite(house.path("accounts.db"))).await.unwrap();
    let keys = Arc::new(TicketKeys::new(rustcrypto::provider(), Duration::from_secs(3600)));
    let looking = SharedTicketKeys::new(&store, &keys, &FleetSecret::new([0x5a; 32]));
    let (mut seen, end) = (HashSet::new(), Instant::now() + PATIENCE);
    while seen.len() <= 6 {
        assert!(Instant::now() < end, "there were {} only", seen.len());
        // On a machine that writes much else the database may keep it waiting for too long: then it looks again.
        if looking.sync().await.is_ok() {
            let now = UnixTime::from_system(SystemTime::now());
            seen.insert(keys.export(now, &mut StdRng::seed_from_u64(1)).unwrap().as_slice().to_vec());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_rotation_ends_no_ticket_and_a_check_changes_nothing() {
    let Some(redis) = Redis::start() else { return };
    let house = house();
    let (keys, users, password) = (house.path("keys"), sqlite(&house), house.path("redis-password"));
    run(&["keygen", "--bits", "2048", "--keys", &keys, "--current", &house.path("server.pem")], "").ok();
    let address = redis.address();
    let text = format!(
        "listen = \"127.0.0.1:0\"\nkeys = {keys:?}\nusers = {users:?}\nredis = {address:?}\nredis-password-file = {password:?}\n\
         redis-timeout = \"20s\"\nrefusal-floor = \"10ms\"\nmax-wait = \"1m\"\nhandshake-timeout = \"1m\"\n"
    );
    let file = house.write("serve.toml", text.as_bytes(), 0o644);
    let start = || Server::of(command(&["serve", "--config", &file]));
    let check = || run(&["check-config", &file], "").ok();
    // Nothing is there yet, and nothing is there afterwards.
    check();
    assert_eq!(redis.ask(&["DBSIZE"]), "0\n");
    let mut servers = [start(), start()];
    redis.settle();
    let mut used = Vec::new();
    let mut ticket = house.session(connect(&servers[0].address)).info().ticket().unwrap().clone();
    let mut is_taken = |server: &Server| {
        let next = house.resume(&server.address, &ticket).info().ticket().unwrap().clone();
        used.push(std::mem::replace(&mut ticket, next));
    };
    is_taken(&servers[1]);

    run(&["key", "rotate", "--keys", &keys], "").ok();
    let before = redis.ask(&["HGETALL", "countersign:tickets"]);
    assert!(!check().err.contains("secret"));
    assert_eq!(redis.ask(&["HGETALL", "countersign:tickets"]), before);
    is_taken(&servers[0]);
    // One is started anew, under the next key, while the other goes on under the one before; then it is as well.
    for number in [0, 1] {
        assert_eq!(servers[number].stop("-TERM").0, 0);
        servers[number] = start();
        (0..2).for_each(|server| is_taken(&servers[server]));
    }
    for (server, ticket) in servers.iter().flat_map(|server| used.iter().map(move |ticket| (server, ticket))) {
        assert!(matches!(house.begin(&server.address, ticket), Begun::Trusted(_)));
    }

    // Whoever would be a stranger there is told so, and does nothing yet.
    house.write("secret", format!("{}\n", "5a".repeat(32)).as_bytes(), 0o600);
    house.write("serve.toml", format!("{text}shared-secret = {:?}\n", house.path("secret")).as_bytes(), 0o644);
    let said = check();
    assert!(said.err.contains("warning: --redis") && said.err.contains("under another secret"), "{said:?}");
    drop(house.resume(&servers[0].address, &ticket));
}

/// The page of metrics at this address.
fn page(address: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn all_that_is_kept_in_redis_begins_with_the_prefix_that_is_given() {
    let Some(redis) = Redis::start() else { return };
    let house = house();
    let mut server = serve(&house, &redis, &["--redis-prefix", "ours:"]);
    drop(house.session(connect(&server.address)));
    server.login(&house, "alice", "wrong", &[]).fails(1, &["refused"]);
    server.wait_for(&["event=login-refused"]);
    support::until("something is told", || !redis.ask(&["KEYS", "ours:*"]).trim().is_empty());
    let others = "return #redis.call('KEYS', '*') - #redis.call('KEYS', 'ours:*')";
    assert_eq!(redis.ask(&["EVAL", others, "0"]), "0\n");
}

#[test]
fn a_redis_that_knows_nothing_is_told_of_and_counted_each_time() {
    let Some(redis) = Redis::start() else { return };
    let house = house();
    let mut server = serve(&house, &redis, &["--metrics-listen", "127.0.0.1:0"]);
    server.said(&["event=redis-emptied", "tickets of before are not taken"]);
    server.said(&["event=started"]);
    let emptied = |server: &Server, times: u32| {
        let metrics = server.get("/metrics").1;
        assert!(metrics.contains(&format!("\ncountersign_redis_emptied_total {times}\n")), "{metrics}");
    };
    emptied(&server, 1);
    assert_eq!(redis.ask(&["FLUSHALL"]), "OK\n");
    server.wait_for(&["event=redis-emptied"]);
    emptied(&server, 2);
}

#[test]
fn while_redis_is_away_logins_go_on_or_strangers_are_turned_away_as_configured() {
    let Some(mut redis) = Redis::start() else { return };
    let house = house();
    let mut open = serve(&house, &redis, &["--metrics-listen", "127.0.0.1:0"]);
    let mut closed = serve(&house, &redis, &["--redis-down", "closed"]);
    redis.settle();
    let line = open.said(&["metrics_listen="]);
    let metrics = line.split("metrics_listen=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    // How often it was away, and whether it is.
    let counts = |away: u32, is_away: u32| {
        support::until("it is counted", || {
            let page = page(&metrics);
            page.contains(&format!("\ncountersign_redis_away_total {away}\n"))
                && page.contains(&format!("\ncountersign_redis_away {is_away}\n"))
        });
    };
    counts(0, 0);
    let ticket = house.session(connect(&open.address)).info().ticket().unwrap().clone();
    assert!(!page(&metrics).contains("countersign_redis_questions_total{outcome=\"answered\"} 0\n"));
    assert!(page(&metrics).contains("countersign_redis_questions_total{outcome=\"unanswered\"} 0\n"));
    redis.kill();
    open.wait_for(&["event=redis-away", "logins go on by what this server has counted itself"]);
    closed.wait_for(&["event=redis-away", "turned away"]);
    assert!(matches!(house.begin(&open.address, &ticket), Begun::Trusted(_)));
    let log_in = |server: &Server| server.login(&house, "alice", "secret of alice", &["--send", "whoami"]);
    log_in(&open).ok();
    counts(1, 1);
    let page = page(&metrics);
    let (_, count) = page.split_once("\ncountersign_penalties_total{what=\"store-away\"} ").unwrap();
    assert!(!count.starts_with("0\n"), "{page}");
    assert!([7, 8].contains(&log_in(&closed).status), "busy, or not now");
    redis.restart();
    for server in [&mut open, &mut closed] {
        server.wait_for(&["event=redis-back"]);
    }
    counts(1, 0);
    log_in(&closed).ok();
    // Whoever is known there is let in, whatever Redis does.
    redis.kill();
    closed.wait_for(&["event=redis-away"]);
    log_in(&closed).ok();
}

#[test]
fn what_guessing_costs_is_shared_after_a_reload_as_before() {
    let Some(redis) = Redis::start() else { return };
    let house = house();
    let (key, users, password, address) =
        (house.path("server.pem"), sqlite(&house), house.path("redis-password"), redis.address());
    let write = |more: &str| {
        let text = format!(
            "listen = \"127.0.0.1:0\"\nkey = {key:?}\nusers = {users:?}\nredis = {address:?}\nredis-password-file = {password:?}\n\
             redis-timeout = \"20s\"\nrefusal-floor = \"10ms\"\nmax-wait = \"1m\"\nhandshake-timeout = \"1m\"\n{more}"
        );
        house.write("serve.toml", text.as_bytes(), 0o644)
    };
    let file = write("");
    let mut servers = [0, 1].map(|_| Server::of(command(&["serve", "--config", &file])));
    write("failures-per-user = 1\nuser-penalty-wait = \"10m\"\nuser-penalty-longest = \"1h\"\n");
    for server in &mut servers {
        let sent = std::process::Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        server.wait_for(&["event=config-reloaded", "taken=failures-per-user,user-penalty-longest,user-penalty-wait"]);
    }
    let guess =
        |server: &Server| drop(server.login(&house, "alice", "a guess", &["--no-resume"]).fails(1, &["refused"]));
    (0..2).for_each(|_| guess(&servers[0]));
    servers[0].wait_for(&["event=penalty", "code=penalty-account", "seconds=600"]);
    guess(&servers[1]);
    let line = servers[1].wait_for(&["event=login-refused"]);
    assert!(line.contains("code=penalty-account"), "{line}");
}
