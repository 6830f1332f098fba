//! Three servers as one service, as docs/cluster.md has them: over one PostgreSQL and one Redis, behind a balancer that tells the clients'
//! addresses. One of the three is killed. And HAProxy, as that page configures it, before three whose accounts go away.
//!
//! `.ci/postgres cargo test -p countersign-cli --test cluster` starts PostgreSQL for it; it starts `redis-server` itself. Without them nothing is
//! tested here, and it says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg(feature = "redis")]

mod support;

use countersign::{Begun, Credential, LoginError, Stream, Ticket};
use countersign_stores::Place;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use support::servers::{Database, Redis};
use support::{House, PATIENT, Server, bounded, command, connect, echoes};

const LOCALHOST: &str = "127.0.0.1:0";

/// Between what a client of the load does: on a small machine they would leave nothing to the servers.
const PACE: Duration = Duration::from_millis(10);

/// What a server says to a source that waits.
const BUSY: i32 = 7;

/// A balancer before these servers, which takes whichever is next and there, and says that the client is 203.0.113.`client`.
fn balancer(servers: &[&str], client: u8) -> String {
    let servers: Vec<String> = servers.iter().map(|&server| server.to_owned()).collect();
    let turn = AtomicUsize::new(0);
    support::service(move |client_side| {
        let first = turn.fetch_add(1, SeqCst);
        let mut in_turn = (0..servers.len()).map(|number| &servers[(first + number) % servers.len()]);
        let Some(mut server_side) = in_turn.find_map(|server| TcpStream::connect(server).ok()) else { return };
        bounded(&server_side);
        // PROXY protocol, version 2: a TCP connection over IPv4 from that client, port 12345, to 192.0.2.2, port 4500.
        let header =
            [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &[203, 0, 113, client, 192, 0, 2, 2, 0x30, 0x39, 0x11, 0x94][..]];
        if server_side.write_all(&header.concat()).is_err() {
            return;
        }
        let (mut from, mut to) = (client_side.try_clone().unwrap(), server_side.try_clone().unwrap());
        let there = thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let (mut server_side, mut client_side) = (server_side, client_side);
        let _ = std::io::copy(&mut server_side, &mut client_side);
        let _ = client_side.shutdown(std::net::Shutdown::Both);
        let _ = there.join();
    })
}

struct Cluster {
    house: House,
    database: Database,
    redis: Redis,
    servers: Vec<Server>,
}

impl Cluster {
    fn start(name: &str) -> Option<Self> {
        let (redis, database) = (Redis::start()?, Database::open(name)?);
        let house = House::empty();
        house.key("rsa2048.pem", "server.pem");
        house.write("redis-password", format!("{}\n", Redis::PASSWORD).as_bytes(), 0o600);
        database.user(&["add", "alice", "--permission", "read", "--password-stdin"], "secret of alice\n").ok();
        let mut cluster = Self { house, database, redis, servers: Vec::new() };
        cluster.servers = (0..3).map(|_| cluster.serve(LOCALHOST)).collect();
        cluster.redis.settle();
        Some(cluster)
    }

    fn serve(&self, listen: &str) -> Server {
        let (key, password) = (self.house.path("server.pem"), self.house.path("redis-password"));
        Server::of(command(
            &[
                &["serve", "--listen", listen, "--key", &key, "--users", &self.database.address],
                &["--redis", &self.redis.address(), "--redis-password-file", &password, "--redis-timeout", "20s"][..],
                &PATIENT,
                &["--proxy-protocol", "127.0.0.1", "--recheck", "1s", "--failures-per-address", "2"],
            ]
            .concat(),
        ))
    }

    /// A balancer before all of them.
    fn before_all(&self, client: u8) -> String {
        let addresses: Vec<&str> = self.servers.iter().map(|server| server.address.as_str()).collect();
        balancer(&addresses, client)
    }

    /// One before this server alone.
    fn before(&self, server: usize, client: u8) -> String {
        balancer(&[&self.servers[server].address], client)
    }

    fn log_in(&self, address: &str, user: &str) -> Result<Stream<TcpStream>, LoginError> {
        let password = format!("secret of {user}");
        let credential = Credential::Password { user, password: password.as_bytes() };
        let session = self.house.connector().connect_blocking(connect(address), credential)?;
        bounded(session.get_ref());
        Ok(session)
    }

    fn takes(&self, address: &str, ticket: &Ticket) -> bool {
        matches!(self.house.begin(address, ticket), Begun::Resumed(_))
    }
}

fn ticket(session: &Stream<TcpStream>) -> Ticket {
    session.info().ticket().expect("a ticket").clone()
}

#[test]
fn three_servers_know_the_same_accounts_tickets_failures_and_locks() {
    let Some(mut cluster) = Cluster::start("one_service") else { return };
    let all = cluster.before_all(9);
    cluster.database.user(&["add", "bob", "--password-stdin"], "secret of bob\n").ok();
    (0..3).for_each(|_| drop(cluster.log_in(&all, "bob").unwrap()));
    for server in &mut cluster.servers {
        server.wait_for(&["event=login-accepted", "user=\"bob\"", "peer=203.0.113.9:12345", "via=127.0.0.1:"]);
    }

    // A ticket of one is good at another, once at all of them, and so is the next one.
    let [a, b, c] = [0, 1, 2].map(|server| cluster.before(server, 9));
    let first = ticket(&cluster.log_in(&a, "alice").unwrap());
    let second = ticket(&cluster.house.resume(&b, &first));
    cluster.servers[1].wait_for(&["event=login-resumed", "user=\"alice\""]);
    for address in [&a, &b, &c] {
        assert!(!cluster.takes(address, &first));
    }
    assert!(cluster.takes(&c, &second));
    assert!(!cluster.takes(&a, &second));

    // Who has failed too often at one is turned away by the others, and nobody else is.
    let who = ["--user", "alice", "--password-stdin", "--pin", &cluster.house.pin()];
    let guess = |address: &str| {
        let args = ["login", "--server", address];
        support::run(&[&args[..], &who].concat(), "a guess\n").status
    };
    let guesser = cluster.before(0, 66);
    assert_eq!([guess(&guesser), guess(&guesser), guess(&guesser)], [1; 3]);
    assert_eq!([guess(&cluster.before(1, 66)), guess(&cluster.before(2, 66))], [BUSY; 2]);
    cluster.servers[1].wait_for(&["peer=203.0.113.66:", "code=penalty-source"]);
    drop(cluster.log_in(&cluster.before_all(67), "alice").unwrap());

    // A lock ends the sessions of all servers.
    let sessions = [&a, &b, &c].map(|address| cluster.log_in(address, "alice").unwrap());
    let bobs = cluster.log_in(&b, "bob").unwrap();
    cluster.database.user(&["lock", "alice"], "").ok();
    for mut session in sessions {
        assert_eq!(session.read(&mut [0]).unwrap(), 0, "an end, and no cut");
    }
    for server in &mut cluster.servers {
        server.wait_for(&["event=session-ended", "user=\"alice\"", "code=account-locked"]);
    }
    let mut bobs = bobs;
    assert!(echoes(&mut bobs));
}

#[test]
fn a_server_that_is_killed_under_load_takes_nothing_with_it_but_its_own_connections() {
    let Some(mut cluster) = Cluster::start("one_of_three") else { return };
    let (all, killed) = (cluster.before_all(9), cluster.before(0, 9));
    let kept = ticket(&cluster.log_in(&killed, "alice").unwrap());
    let used = ticket(&cluster.log_in(&killed, "alice").unwrap());
    assert!(cluster.takes(&killed, &used));

    // Sessions at each that talk, and clients that log in, without a pause.
    let (is_over, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(9 + 2 + 1)));
    let talks: Vec<_> = (0..9)
        .map(|number| {
            let mut session = cluster.log_in(&cluster.before(number % 3, 9), "alice").unwrap();
            let (is_over, busy) = (Arc::clone(&is_over), Arc::clone(&busy));
            thread::spawn(move || {
                assert!(echoes(&mut session));
                busy.wait();
                while !is_over.load(SeqCst) {
                    if !echoes(&mut session) {
                        return false;
                    }
                    thread::sleep(PACE);
                }
                echoes(&mut session)
            })
        })
        .collect();
    let logins: Vec<_> = (0..2)
        .map(|_| {
            let (is_over, busy, all) = (Arc::clone(&is_over), Arc::clone(&busy), all.clone());
            let connector = cluster.house.connector();
            thread::spawn(move || {
                busy.wait();
                let (mut good, mut bad) = (0, 0);
                while !is_over.load(SeqCst) {
                    match connector.connect_blocking(connect(&all), support::ALICE) {
                        Ok(_) => good += 1,
                        Err(_) => bad += 1,
                    }
                    thread::sleep(PACE);
                }
                (good, bad)
            })
        })
        .collect();
    busy.wait();
    cluster.servers[0].child.kill().unwrap();
    cluster.servers[0].child.wait().unwrap();
    // Whoever comes next is let in, by those that are left.
    (0..6).for_each(|_| drop(cluster.log_in(&all, "alice").unwrap()));
    cluster.database.user(&["add", "bob", "--password-stdin"], "secret of bob\n").ok();
    drop(cluster.log_in(&all, "bob").unwrap());
    let [b, c] = [1, 2].map(|server| cluster.before(server, 9));
    assert!(!cluster.takes(&b, &used), "its uses are not forgotten");
    assert!(cluster.takes(&c, &kept), "its tickets are good");
    is_over.store(true, SeqCst);
    let went_on: Vec<bool> = talks.into_iter().map(|talk| talk.join().unwrap()).collect();
    assert_eq!(went_on, (0..9).map(|number| number % 3 != 0).collect::<Vec<_>>());
    for login in logins {
        let (good, bad) = login.join().unwrap();
        assert!(good > 0 && bad <= 1, "{good} good logins, and {bad} more than the one that it took with it");
    }

    // It comes back, and takes tickets of the others, but none that was used.
    let address = cluster.servers[0].address.clone();
    cluster.servers[0] = cluster.serve(&address);
    let others = ticket(&cluster.log_in(&b, "bob").unwrap());
    assert!(cluster.takes(&killed, &others));
    assert!(!cluster.takes(&killed, &kept) && !cluster.takes(&killed, &used));
}

const PAGE: &str = include_str!("../../docs/cluster.md");

#[test]
fn the_recipe_says_as_whom_servers_come_to_the_database() {
    let address = PAGE.lines().find_map(|line| line.strip_prefix("export USERS=\"")?.strip_suffix('"')).unwrap();
    let place = Place::parse(&address.replace("$USER", "somebody")).unwrap();
    assert!(place.to_string().starts_with("postgres://somebody@"), "{place}");
}

/// HAProxy, as docs/cluster.md configures it.
struct HaProxy {
    process: Child,
    port: u16,
    /// Where it says what it knows of the servers.
    socket: String,
}

impl HaProxy {
    fn before(house: &House, servers: &[Server]) -> Option<Self> {
        // Debian's is where only root looks.
        let names = ["haproxy", "/usr/sbin/haproxy"];
        let quiet = |name: &&&str| Command::new(name).arg("-v").stdout(Stdio::null()).status().is_ok();
        let Some(name) = names.iter().find(quiet) else {
            support::left_out("haproxy", "no HAProxy (Debian's package haproxy)");
            return None;
        };
        let (_, rest) = PAGE.split_once("`haproxy.cfg`, ").unwrap();
        let recipe = rest.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
        let port = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
        let mut file = recipe.replace("bind :::4500 ", &format!("bind :::{port} "));
        assert_ne!(file, recipe);
        for (number, server) in servers.iter().enumerate() {
            let started = server.seen.iter().find_map(|line| line.split_once("metrics_listen=127.0.0.1:")).unwrap().1;
            let metrics = started.split_whitespace().next().unwrap();
            file = file.replace(&format!("127.0.0.1:450{}", number + 1), &server.address);
            file = file.replace(&format!("port 945{}", number + 1), &format!("port {metrics}"));
        }
        let socket = house.path("haproxy");
        let file = house.write("haproxy.cfg", format!("global\n  stats socket {socket}\n{file}").as_bytes(), 0o644);
        let process = Command::new(name).args(["-db", "-f", &file]).spawn().unwrap();
        let haproxy = Self { process, port, socket };
        support::until("it listens", || TcpStream::connect(haproxy.address()).is_ok());
        Some(haproxy)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Whether this many of the three servers that it asks are there, as it sees it.
    fn sees(&self, count: usize) -> bool {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(b"show servers state servers\n").unwrap();
        let text = std::io::read_to_string(&mut stream).unwrap();
        let states = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let asked: Vec<_> =
            states.filter(|words| words.get(3).is_some_and(|name| ["one", "two", "three"].contains(name))).collect();
        assert_eq!(asked.len(), 3, "{text}");
        asked.iter().filter(|words| words[5] == "2").count() == count
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a client says where a server can't look at credentials now.
const NOT_NOW: i32 = 8;

#[test]
fn behind_the_balancer_of_the_recipe_servers_without_their_accounts_say_not_now_and_sessions_go_on() {
    let house = House::new();
    let words = ["--proxy-protocol", "127.0.0.1", "--metrics-listen", "127.0.0.1:0"];
    let mut servers: Vec<Server> = (0..3).map(|_| house.serve(&[&PATIENT[..], &words].concat())).collect();
    for server in &mut servers {
        server.wait_for(&["event=started"]);
    }
    let Some(haproxy) = HaProxy::before(&house, &servers) else { return };
    let (address, pin) = (haproxy.address(), house.pin());
    let log_in = || {
        let args =
            ["login", "--server", &address, "--user", "alice", "--password-stdin", "--pin", &pin, "--send", "whoami"];
        support::run(&args, "secret of alice\n")
    };
    support::until("it sees them all", || haproxy.sees(3));
    let mut sessions: Vec<_> = (0..3).map(|_| house.session(connect(&address))).collect();
    drop(house.session(connect(&format!("[::1]:{}", haproxy.port))));

    let users = house.read("users.txt");
    std::fs::remove_file(house.path("users.txt")).unwrap();
    support::until("it sees none", || haproxy.sees(0));
    for _ in 0..3 {
        log_in().fails(NOT_NOW, &[]);
    }
    for session in &mut sessions {
        assert!(echoes(session));
    }
    house.write("users.txt", users.as_bytes(), 0o600);
    support::until("it sees them again", || haproxy.sees(3));
    log_in().ok();
    for server in &mut servers {
        server.said(&["event=login-accepted", "peer=127.0.0.1:", "via=127.0.0.1:"]);
    }

    // Of one that is gone only its own connections are.
    servers[0].child.kill().unwrap();
    servers[0].child.wait().unwrap();
    (0..6).for_each(|_| drop(log_in().ok()));
    support::until("it sees two", || haproxy.sees(2));
    (0..3).for_each(|_| drop(log_in().ok()));
    assert_eq!(sessions.iter_mut().map(echoes).filter(|&is_there| is_there).count(), 2);
}
