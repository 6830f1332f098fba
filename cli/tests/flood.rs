//! Strangers who only want to be in the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::rustcrypto;
use countersign::{ChannelBinding, ClientConfig, Moment, Server as Trust, client};
use rand::SeedableRng;
use rand::rngs::StdRng;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use support::{House, PATIENCE, Server};

const GOOD: &str = "secret of alice";

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Connects from another address of this machine: every one of 127.0.0.0/8 is, on Linux.
fn connect_from(address: &str, server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(address.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&server.address.parse::<SocketAddr>().unwrap().into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the server closes: nothing may come.
#[track_caller]
fn closes_silently(mut stream: TcpStream) {
    let mut bytes = [0; 16];
    match stream.read(&mut bytes) {
        Ok(0) => {}
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        other => panic!("expected a closed connection, got {other:?}"),
    }
}

/// Past what the system keeps, a client's first packet is dropped, and it comes again after a second, and after two more.
#[cfg(target_os = "linux")]
#[test]
fn hundreds_who_come_while_a_server_has_no_time_for_them_are_kept() {
    const MANY: usize = 300;
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    if most.trim().parse::<usize>().unwrap() <= MANY {
        return support::left_out("backlog", "this system keeps too few connections (net.core.somaxconn)");
    }
    let house = House::new();
    let server = house.serve(&[]);
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &server.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    signal("-STOP");
    // Those that are not kept never get there while nobody accepts any: the system gives up after minutes.
    let kept: Vec<_> = (0..MANY)
        .map_while(|_| {
            let address = server.address.parse().unwrap();
            TcpStream::connect_timeout(&address, std::time::Duration::from_secs(20)).ok()
        })
        .collect();
    signal("-CONT");
    assert_eq!(kept.len(), MANY);
}

#[test]
fn half_open_connections_make_way_for_a_good_client() {
    let house = House::new();
    // They would outlast the test if nothing pushed them out.
    let mut server = house.serve(&["--max-handshakes", "32", "--handshake-timeout", "1h"]);
    let mut idle = Vec::new();
    for round in 0..600 {
        // Within one address it would be a matter of chance: a burst is accepted in no order.
        let mut stream = connect_from("127.0.0.2", &server);
        match round % 4 {
            0 => {}
            1 => stream.write_all(&[1]).unwrap(),
            2 => stream.write_all(&[1, 0, 79, 1, 0, 1]).unwrap(),
            _ => {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
            }
        }
        idle.push(stream);
        if round % 100 == 99 {
            assert_eq!(
                server.login(&house, "alice", GOOD, &["--no-resume", "--send", "echo through"]).ok().out,
                "through\n"
            );
            server.wait_for(&["event=login-accepted", "user=\"alice\""]);
        }
    }
    // The first was idle, and long since pushed out.
    closes_silently(idle.remove(0));
    let (status, _) = server.stop("-TERM");
    assert_eq!(status, 0);
    let last = server.seen.last().unwrap();
    assert!(last.contains("accepted=6 "), "{last}");
    assert!(server.seen.iter().any(|line| line.contains("made way for a newer connection")));
    let pushed_out: u32 = last.split("pushed_out=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(pushed_out >= 300, "{last}");
}

/// No more than so many files open.
const FEW: &str = "ulimit -n 48";

#[test]
#[cfg(target_os = "linux")]
fn refusals_of_one_address_that_are_not_due_yet_keep_nobody_else_out() {
    let house = House::new();
    let mut server = house.serve_within(FEW, &["--max-handshakes", "32", "--refusal-floor", "1h"]);
    let config = Arc::new(ClientConfig::new(rustcrypto::provider()));
    let (trust, mut rng) = (Trust::pinned(house.public_key().id()), StdRng::seed_from_u64(1));
    let (hello, _) = client::start(&config, &trust, &ChannelBinding::none(), &mut rng, Moment::ORIGIN).unwrap();
    let waiting: Vec<TcpStream> = (0..150)
        .map(|_| {
            let mut stream = connect_from("127.0.0.2", &server);
            // A login of one byte is refused, an hour later.
            stream.write_all(&[&hello[..], &[3, 0, 1, 0]].concat()).unwrap();
            // The challenge is here: the server has read the hello.
            stream.read_exact(&mut [0; 3]).unwrap();
            stream
        })
        .collect();
    assert_eq!(server.login(&house, "alice", GOOD, &["--no-resume", "--send", "echo through"]).ok().out, "through\n");
    server.wait_for(&["event=login-accepted"]);
    drop(waiting);
    assert_eq!(server.stop("-TERM").0, 0);
    assert!(!server.seen.iter().any(|line| line.contains("event=accept-failed")), "{:#?}", server.seen);
}

#[test]
fn bounds_that_do_not_fit_the_open_files_are_lowered() {
    let house = House::new();
    let mut server = house.serve_within(FEW, &["--max-handshakes", "1000", "--handshake-timeout", "1h"]);
    let idle: Vec<TcpStream> = (0..300).map(|_| connect_from("127.0.0.2", &server)).collect();
    assert_eq!(server.login(&house, "alice", GOOD, &["--no-resume", "--send", "echo through"]).ok().out, "through\n");
    server.wait_for(&["event=login-accepted"]);
    drop(idle);
    let (status, err) = server.stop("-TERM");
    assert_eq!(status, 0);
    assert!(err.contains("warning: this process may have 48 files open (ulimit -n)"), "{err}");
}

#[test]
#[cfg(all(target_os = "linux", feature = "sql", feature = "redis", feature = "ldap"))]
#[allow(clippy::arithmetic_side_effects)]
fn what_a_server_asks_has_its_open_files_beside_all_connections() {
    let house = House::new();
    let needed = |more: &str| -> usize {
        let text = format!("listen = \"127.0.0.1:0\"\nkey = {:?}\n{more}", house.path("server.pem"));
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "ulimit -n 1024; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_countersign"), "check-config"]);
        let said = shell.arg(house.write("serve.toml", text.as_bytes(), 0o644)).output().unwrap();
        let said = String::from_utf8(said.stderr).unwrap();
        let number = said.split("the bounds may need ").nth(1).unwrap().split(';').next().unwrap();
        number.parse().unwrap()
    };
    let users = format!("users = {:?}\n", house.path("users.txt"));
    let alone = needed(&users);
    let (sqlite, redis) = (house.path("accounts.db"), house.path("no-socket"));
    support::run(&["db", "migrate", "--users", &format!("sqlite:{sqlite}")], "").ok();
    let directory =
        "ldap = \"ldap://127.0.0.1:1\"\nldap-user-dn = \"uid={user},dc=example\"\nldap-permission = [\"read\"]\n";
    for (more, count) in [
        (format!("{users}metrics-listen = \"127.0.0.1:0\"\n"), 8),
        (format!("{users}redis = \"redis+unix://{redis}\"\n"), 2),
        (format!("users = \"sqlite:{sqlite}\"\n"), 48),
        // As many questions as may be asked at once, those about sessions, and whether it is there: a connection, and what its address is asked with.
        (directory.to_owned(), 2 * (64 + 16 + 1)),
    ] {
        assert_eq!(needed(&more), alone + count, "{more}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_raises_its_limit_of_open_files_as_far_as_the_system_lets_it() {
    let house = House::new();
    let bounds = ["--max-handshakes", "500", "--max-refusals", "500", "--max-sessions", "500"];
    let mut server = house.serve_within("ulimit -Sn 64; ulimit -Hn 4096", &bounds);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert!(files.split_whitespace().filter(|word| *word == "4096").count() == 2, "{files}");
    let (status, err) = server.stop("-TERM");
    assert_eq!((status, err.contains("ulimit -n")), (0, false), "{err}");
}

#[test]
fn strangers_fill_no_log() {
    const CONNECTIONS: usize = 300;
    let house = House::new();
    // And those whom a balancer says nothing of.
    for more in [&[][..], &["--proxy-protocol", "127.0.0.1"]] {
        let mut server = house.serve(more);
        let began = std::time::Instant::now();
        let streams: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(&server)).collect();
        for mut stream in &streams {
            // The server may have closed it to make way for another.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
        }
        for mut stream in streams {
            let end = stream.read_to_end(&mut Vec::new());
            assert!(!end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it is not closed");
        }
        assert_eq!(server.stop("-TERM").0, 0);
        let written = server.seen.iter().filter(|line| line.contains(" peer=127.0.0.1:")).count();
        let omitted =
            server.seen.iter().filter(|line| line.contains("event=lines-omitted") && line.contains("cause=strangers"));
        let omitted = omitted
            .map(|line| line.split("count=").nth(1).unwrap().split(' ').next().unwrap().parse::<usize>().unwrap());
        let omitted: usize = omitted.sum();
        let told = format!("{written} lines, and {omitted} that were left out");
        assert!(written + omitted >= CONNECTIONS, "{told}");
        // A hundred for each second, of which more have begun than are over.
        let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
        assert!(written <= 100 * (seconds + 1), "{told}, in {seconds} seconds");
    }
}

#[test]
fn garbage_gets_at_most_a_closed_connection() {
    let house = House::new();
    let mut server = house.serve(&[]);
    let huge = [&[1, 0xff, 0xff][..], &[0; 4096]].concat();
    let empty_lists = [&[1, 0, 53][..], &[0; 53]].concat();
    let long_list = [&[1, 0, 53, 200][..], &[0; 52]].concat();
    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "is no frame type"),
        (b"\x16\x03\x01\x02\x00\x01", "is no frame type"),
        (&[0; 64], "is no frame type"),
        (&huge, "65535"),
        (&[3, 0, 4], "not expected now"),
        (&[1, 0, 0], "a body of 0 bytes"),
        (&long_list, "a list has 200 entries"),
        (&empty_lists, "the peer broke the protocol"),
    ] {
        let mut stream = connect(&server);
        // The server may close before it has all of it.
        let _ = stream.write_all(bytes);
        closes_silently(stream);
        server.wait_for(&["event=handshake-failed", "peer=127.0.0.1:", reason]);
    }
    drop(connect(&server));
    server.wait_for(&["event=handshake-failed", "before its ClientHello"]);
    server.login(&house, "alice", GOOD, &[]).ok();
}

#[test]
fn a_stalled_handshake_ends_at_its_deadline() {
    let house = House::new();
    let mut server = house.serve(&["--handshake-timeout", "300ms"]);
    let mut stream = connect(&server);
    stream.write_all(&[1, 0]).unwrap();
    closes_silently(stream);
    server.wait_for(&["event=handshake-failed", "deadline"]);
}
