//! `serve --proxy-protocol`: connections by way of a balancer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use support::{ALICE, House, Server, connect, until};

/// A header of version 2 with this command, family and body.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, body].concat()
}

/// From 203.0.113.`host`, port 12345, to 192.0.2.2, port 4500.
fn from(host: u8) -> Vec<u8> {
    v2(0x21, 0x11, &[203, 0, 113, host, 192, 0, 2, 2, 0x30, 0x39, 0x11, 0x94])
}

fn after(server: &Server, header: &[u8]) -> TcpStream {
    let mut stream = connect(&server.address);
    stream.write_all(header).unwrap();
    stream
}

#[track_caller]
fn is_closed(mut stream: TcpStream) {
    match stream.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        other => panic!("expected a closed connection, got {other:?}"),
    }
}

#[test]
fn a_trusted_balancer_says_whose_connection_it_is() {
    let house = House::new();
    let mut server = house.serve(&["--proxy-protocol", "10.0.0.0/8,127.0.0.0/8"]);
    let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[9], &[0; 15], &[1], &[0x30, 0x39, 0x11, 0x94]].concat();
    for (header, peer) in [
        (b"PROXY TCP4 203.0.113.9 192.0.2.2 12345 4500\r\n".to_vec(), "203.0.113.9:12345"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 12345 4500\r\n".to_vec(), "[2001:db8::9]:12345"),
        (from(9), "203.0.113.9:12345"),
        (v2(0x21, 0x21, &v6), "[2001:db8::9]:12345"),
    ] {
        let session = house.session(after(&server, &header));
        let via = session.get_ref().local_addr().unwrap();
        let log = server.wait_for(&["event=login-accepted", &session.id().to_string()]);
        assert!(log.contains(&format!(" peer={peer} via={via} ")), "{log}");
        drop(session);
        let log = server.wait_for(&["event=session-ended"]);
        assert!(log.contains(&format!(" peer={peer} via={via} ")), "{log}");
    }
    // The balancer itself, to see whether we are there, and one that can't say.
    for header in [&v2(0x20, 0, b"")[..], b"PROXY UNKNOWN\r\n"] {
        let session = house.session(after(&server, header));
        let own = session.get_ref().local_addr().unwrap();
        let log = server.wait_for(&["event=login-accepted", &session.id().to_string()]);
        assert!(log.contains(&format!(" peer={own} permissions")), "{log}");
    }
    drop(after(&server, &v2(0x20, 0, b"")));
    assert_eq!(server.stop("-TERM").0, 0);
    assert!(!server.seen.iter().any(|line| line.contains("disconnected")), "{:#?}", server.seen);
}

/// Many end it by a reset, to have one packet less.
#[test]
fn a_balancer_that_looks_whether_anybody_is_there_is_counted_and_not_logged_however_it_leaves() {
    let house = House::new();
    let more = ["--proxy-protocol", "127.0.0.1", "--metrics-listen", "127.0.0.1:0"];
    let mut server = house.serve(&more);
    server.said(&["event=started"]);
    let reset = |stream: TcpStream| socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    for header in [&v2(0x20, 0, b"")[..], b"PROXY UNKNOWN\r\n"] {
        reset(after(&server, header));
        drop(after(&server, header));
    }
    let counted = |server: &Server, code: &str, count: u32| {
        let line = format!("countersign_decisions_total{{event=\"handshake-failed\",code=\"{code}\"}} {count}\n");
        until(&line, || server.get("/metrics").1.contains(&line));
    };
    counted(&server, "io", 2);
    counted(&server, "disconnected", 2);
    // One that says whose it is is somebody's.
    reset(after(&server, &from(9)));
    let log = server.wait_for(&["event=handshake-failed"]);
    assert!(log.contains("peer=203.0.113.9:12345") && log.contains("code=io "), "{log}");
}

#[test]
fn the_named_address_is_what_is_counted() {
    let house = House::new();
    let bounds = ["--max-sessions", "8", "--max-sessions-per-address", "1", "--max-sessions-per-user", "8"];
    let mut server = house.serve(&[&["--proxy-protocol", "127.0.0.1"], &bounds[..]].concat());
    let _first = house.session(after(&server, &from(9)));
    let refused = house.connector().connect_blocking(after(&server, &from(9)), ALICE);
    assert!(refused.is_err());
    server.wait_for(&["event=login-refused", "peer=203.0.113.9:12345", "code=not-admitted", "too many sessions"]);
    let _other = house.session(after(&server, &from(10)));
}

#[test]
fn from_anybody_else_a_header_is_refused() {
    let house = House::new();
    let mut server = house.serve(&["--proxy-protocol", "192.0.2.0/24,::1"]);
    for header in [&b"PROXY TCP4 203.0.113.9 192.0.2.2 12345 4500\r\n"[..], &from(9)] {
        is_closed(after(&server, header));
        let log = server.wait_for(&["event=handshake-failed", "is no frame type"]);
        assert!(log.contains("peer=127.0.0.1:") && !log.contains("203.0.113.9"), "{log}");
    }
    house.session(connect(&server.address));
    server.wait_for(&["event=login-accepted", "peer=127.0.0.1:"]);
}

#[test]
fn a_header_that_is_garbled_too_long_or_late_ends_the_connection() {
    let house = House::new();
    let more = ["--handshake-timeout", "500ms", "--metrics-listen", "127.0.0.1:0"];
    let mut server = house.serve(&[&["--proxy-protocol", "127.0.0.1"], &more[..]].concat());
    server.said(&["event=started"]);
    for (sent, code, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "proxy-header", "no PROXY header came first"),
        (b"PROXY TCP4 nowhere 192.0.2.2 12345 4500\r\n", "proxy-header", "no PROXY header"),
        (&[1, 0, 79], "proxy-header", "no PROXY header"),
        (&v2(0x21, 0x11, b"short"), "proxy-header", "no PROXY header"),
        (&v2(0x21, 0x11, &[0; 5000]), "proxy-header", "5016 bytes"),
        (b"PROXY TCP4 203.0.113.9", "proxy-deadline-passed", "in time"),
        (b"\r\n\r\n\0", "proxy-deadline-passed", "in time"),
        (b"", "proxy-deadline-passed", "in time"),
    ] {
        is_closed(after(&server, sent));
        server.wait_for(&["event=handshake-failed", "peer=127.0.0.1:", &format!("code={code} "), reason]);
    }
    drop(after(&server, b"PROXY"));
    server.wait_for(&["event=handshake-failed", "code=proxy-disconnected", "before its PROXY header"]);
    let (_, metrics) = server.get("/metrics");
    for (code, count) in [("proxy-header", 5), ("proxy-deadline-passed", 3), ("proxy-disconnected", 1)] {
        let counted = format!("\ncountersign_proxy_failures_total{{code=\"{code}\"}} {count}\n");
        assert!(metrics.contains(&counted), "{counted} in {metrics}");
    }
    let bad = ["serve", "--listen", "127.0.0.1:0", "--key", "k", "--users", "u", "--proxy-protocol", "10.0.0.0/33"];
    support::run(&bad, "").fails(2, &["--proxy-protocol", "no block of addresses"]);
}

#[test]
fn only_so_many_connections_wait_for_their_header() {
    let house = House::new();
    let mut server = house.serve(&["--proxy-protocol", "127.0.0.1", "--max-handshakes", "1"]);
    let waiting = after(&server, b"PROXY ");
    let one_more = after(&server, b"PROXY ");
    // Whichever of the two came first has the place.
    server.wait_for(&["event=handshake-failed", "code=proxy-no-room ", "too many connections wait for a PROXY header"]);
    drop((waiting, one_more));
    server.wait_for(&["event=handshake-failed", "code=proxy-disconnected "]);
    house.session(after(&server, &from(9)));
}

#[test]
#[cfg(unix)]
fn a_program_is_told_of_the_client_and_not_of_its_balancer() {
    let house = House::new();
    let server = house.serve(&["--proxy-protocol", "127.0.0.0/8", "--exec", "echo $COUNTERSIGN_PEER"]);
    let mut said = String::new();
    house.session(after(&server, &from(9))).read_to_string(&mut said).unwrap();
    assert_eq!(said, "203.0.113.9:12345\n");
}
