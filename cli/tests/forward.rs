//! `serve --forward`: a login in front of a TCP service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use support::{House, PATIENCE, command, connect, echo, finish_large, noise, service};

const GOOD: &str = "secret of alice";

/// What a service heard until the end of its input, or how that broke.
type Heard = Result<Vec<u8>, ErrorKind>;

fn hear(stream: &mut TcpStream, to: &Sender<Heard>) {
    let mut bytes = Vec::new();
    let heard = stream.read_to_end(&mut bytes).map(|_| bytes).map_err(|error| error.kind());
    to.send(heard).unwrap();
}

#[test]
fn bytes_and_ends_go_both_ways() {
    let house = House::new();
    let mut server = house.serve(&["--forward", &service(echo)]);
    let who = ["--server", &server.address, "--user", "alice", "--password-stdin", "--pin", &house.pin(), "--pipe"];
    let data = noise(8 * 1024 * 1024);
    let stdin = [GOOD.as_bytes(), b"\n", &data].concat();
    let output = finish_large(&mut command(&[&["login"], &who[..]].concat()), stdin);
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && err.contains("logged in as alice (read, write)\n"), "{err}");
    assert!(output.stdout == data, "{} bytes came back of {}", output.stdout.len(), data.len());
    server.wait_for(&["event=login-accepted", "user=\"alice\""]);
    server.wait_for(&["event=session-ended", "code=closed", "reason=\"both ends closed\""]);
}

#[test]
fn the_service_may_close_first_and_still_listen() {
    let house = House::new();
    let (sender, heard) = channel();
    let sender = Mutex::new(sender);
    let target = service(move |mut stream| {
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        hear(&mut stream, &sender.lock().unwrap());
    });
    let mut server = house.serve(&["--forward", &target]);
    let mut session = house.session(connect(&server.address));
    let mut said = Vec::new();
    session.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"hello");
    session.write_all(b"late").unwrap();
    session.close().unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Ok(b"late".to_vec()));
    server.wait_for(&["event=session-ended", "both ends closed"]);
}

#[test]
fn what_is_cut_is_not_passed_on_as_an_end() {
    let house = House::new();
    let (sender, heard) = channel();
    let sender = Mutex::new(sender);
    let target = service(move |mut stream| hear(&mut stream, &sender.lock().unwrap()));
    let mut server = house.serve(&["--forward", &target]);
    let mut session = house.session(connect(&server.address));
    session.write_all(b"half a sen").unwrap();
    drop(session.into_inner());
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    server.wait_for(&["event=session-ended", "code=truncated"]);

    // And the other way round.
    let target = service(|stream| {
        let socket = socket2::Socket::from(stream);
        socket.send(b"half a sen").unwrap();
        socket.recv(&mut [std::mem::MaybeUninit::uninit(); 4]).unwrap();
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    });
    let mut server = house.serve(&["--forward", &target]);
    let mut session = house.session(connect(&server.address));
    session.read_exact(&mut [0; 10]).unwrap();
    session.write_all(b"now").unwrap();
    assert_eq!(session.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    server.wait_for(&["event=session-ended", "code=far-end-broken", &target]);
}

#[test]
fn a_service_that_is_down_cuts_the_session_and_is_logged() {
    let house = House::new();
    let mut server = house.serve(&["--forward", "127.0.0.1:1"]);
    server.login(&house, "alice", GOOD, &["--pipe"]).fails(4, &["the session broke"]);
    server.wait_for(&["event=session-ended", "code=target-unreachable", "cannot connect to 127.0.0.1:1: "]);
    let files = ["--key", &house.path("server.pem"), "--users", &house.path("users.txt")];
    let serve = |more: &[&str]| support::run(&[&["serve", "--listen", "127.0.0.1:0"], &files[..], more].concat(), "");
    serve(&["--forward", "localhost"]).fails(2, &["--forward", "HOST:PORT"]);
    serve(&["--forward", "localhost:1", "--demo-service"]).fails(2, &["--forward", "--demo-service"]);
    serve(&["--forward", "localhost:1", "--exec", "cat"]).fails(2, &["--forward", "--exec"]);
    serve(&["--send-proxy"]).fails(2, &["--forward"]);
}

/// As behind a firewall that drops what it does not let through.
#[test]
#[cfg(target_os = "linux")]
fn a_service_that_does_not_answer_is_given_up() {
    use socket2::{Domain, Socket, Type};
    let house = House::new();
    // Nobody takes a connection there, and there is room for one that waits for that: the next gets no answer.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let target = listener.local_addr().unwrap().as_socket().unwrap();
    let fill = || TcpStream::connect_timeout(&target, std::time::Duration::from_secs(1));
    let waiting: Vec<TcpStream> = std::iter::from_fn(|| fill().ok()).collect();
    let mut server = house.serve(&["--forward", &target.to_string()]);
    let mut session = house.session(connect(&server.address));
    server.wait_for(&["event=session-ended", "code=target-unreachable", "it did not answer in time"]);
    assert_eq!(session.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    drop((waiting, listener));
}

/// The front of a PROXY header of version 2 over IPv4 (source and destination), and its extensions.
#[track_caller]
fn header(stream: &mut TcpStream) -> (SocketAddr, SocketAddr, Vec<(u8, String)>) {
    let mut front = [0; 16];
    stream.read_exact(&mut front).unwrap();
    assert_eq!(&front[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
    let mut body = vec![0; usize::from(u16::from_be_bytes([front[14], front[15]]))];
    stream.read_exact(&mut body).unwrap();
    let address = |ip: usize, port: usize| {
        let ip: [u8; 4] = body[ip..ip + 4].try_into().unwrap();
        SocketAddr::from((ip, u16::from_be_bytes([body[port], body[port + 1]])))
    };
    let (source, destination) = (address(0, 8), address(4, 10));
    let (mut extensions, mut rest) = (Vec::new(), &body[12..]);
    while let [kind, high, low, more @ ..] = rest {
        let (value, next) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        extensions.push((*kind, String::from_utf8(value.to_vec()).unwrap()));
        rest = next;
    }
    assert_eq!(rest, b"");
    (source, destination, extensions)
}

#[test]
fn the_service_is_told_who_comes_from_where() {
    let house = House::new();
    let (sender, headers) = channel();
    let sender = Mutex::new(sender);
    let target = service(move |mut stream| {
        sender.lock().unwrap().send(header(&mut stream)).unwrap();
        echo(stream);
    });
    let mut server = house.serve(&["--forward", &target, "--send-proxy"]);
    let mut session = house.session(connect(&server.address));
    let who = |session: &str| {
        [(5, session), (0xe0, "alice"), (0xe1, "read,write")].map(|(kind, value)| (kind, value.to_owned()))
    };
    let (source, destination, extensions) = headers.recv_timeout(PATIENCE).unwrap();
    assert_eq!(source, session.get_ref().local_addr().unwrap());
    assert_eq!(destination.to_string(), server.address);
    assert_eq!(extensions, who(&session.id().to_string()));
    // What follows is the client's.
    session.write_all(b"through").unwrap();
    let mut answer = [0; 7];
    session.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"through");

    // Whoever comes by ticket is connected at once, too: the service may speak first.
    let ticket = session.info().ticket().unwrap().clone();
    let mut resumed = house.resume(&server.address, &ticket);
    let (_, _, extensions) = headers.recv_timeout(PATIENCE).unwrap();
    assert_eq!(extensions, who(&resumed.id().to_string()));
    resumed.write_all(b"through").unwrap();
    resumed.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"through");
    server.wait_for(&["event=login-accepted", &session.id().to_string()]);
    server.wait_for(&["event=login-resumed", &resumed.id().to_string()]);
}

#[test]
fn a_server_that_stops_cuts_what_goes_on_and_passes_no_end_on() {
    let house = House::new();
    let (sender, heard) = channel();
    let sender = Mutex::new(sender);
    let target = service(move |mut stream| {
        stream.write_all(b"hello").unwrap();
        hear(&mut stream, &sender.lock().unwrap());
    });
    let mut server = house.serve(&["--forward", &target]);
    let mut session = house.session(connect(&server.address));
    session.write_all(b"half a sen").unwrap();
    session.read_exact(&mut [0; 5]).unwrap();
    let start = std::time::Instant::now();
    assert_eq!(server.stop("-TERM"), (0, String::new()));
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    assert_eq!(session.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(server.seen.iter().any(|line| line.contains("event=session-ended") && line.contains("code=stopping")));
    assert!(server.seen.last().unwrap().contains("event=stopped accepted=1 "), "{:#?}", server.seen);
}
