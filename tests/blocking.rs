//! The blocking adapter over real sockets: what each end is told, whatever the other does.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::blocking::{self, Arrival, Error, Incoming, Stream, Transport, Untimed};
use countersign::frame::{FrameError, FrameReader, FrameType, split};
use countersign::{ChannelBinding, Credential, KeyExchange, Misuse, Moment, Reason, RecordError, Server, Suite};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use support::{OTHER2048, RSA2048, Scenario, TOKEN, TestRng, grant, verify};

/// Two ends of a TCP connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Both ends at once: what the client's closure gives, and the server's.
fn both<C, S: Send, A, B: Send>(
    (client, server): (A, B),
    client_end: impl FnOnce(A) -> C,
    server_end: impl FnOnce(B) -> S + Send,
) -> (C, S) {
    std::thread::scope(|scope| {
        let server = scope.spawn(move || server_end(server));
        let client = client_end(client);
        (client, server.join().unwrap())
    })
}

/// A scenario whose refusals are not waited for.
fn scenario() -> Scenario {
    Scenario::new().refusal_floor(1)
}

fn connect<T: Transport>(scenario: &Scenario, stream: T) -> Result<Stream<T>, Error> {
    let none = ChannelBinding::none();
    blocking::connect(stream, &scenario.client_config(), &none, scenario.trusted(), scenario.credential)
}

fn accept<T: Transport>(scenario: &Scenario, stream: T) -> Result<Stream<T>, Error> {
    let none = ChannelBinding::none();
    blocking::accept(stream, &scenario.server_config(), &none, scenario.private_key(), &verify)
}

fn receive<T: Transport>(scenario: &Scenario, stream: T) -> Result<Incoming<T>, Error> {
    let key = scenario.private_key().clone();
    let none = ChannelBinding::none();
    blocking::receive(stream, &scenario.server_config(), &none, |_| Some(key), &verify).map(login)
}

fn login<T>(arrival: Arrival<T>) -> Incoming<T> {
    match arrival {
        Arrival::Login(login) => login,
        Arrival::Resumed(_) => panic!("there was no ticket"),
    }
}

/// Logs in, and does something with each end of the stream.
fn session<C, S: Send>(
    client_end: impl FnOnce(Stream<TcpStream>) -> C,
    server_end: impl FnOnce(Stream<TcpStream>) -> S + Send,
) -> (C, S) {
    let scenario = scenario();
    both(
        pair(),
        |stream| client_end(connect(&scenario, stream).unwrap()),
        |stream| server_end(accept(&scenario, stream).unwrap()),
    )
}

/// A login that fails at both ends.
fn failed(scenario: &Scenario) -> (Error, Error) {
    let fail = |result: Result<Stream<TcpStream>, Error>| result.map(drop).unwrap_err();
    both(pair(), |stream| fail(connect(scenario, stream)), |stream| fail(accept(scenario, stream)))
}

fn protocol(error: Error) -> countersign::Error {
    match error {
        Error::Protocol(error) => error,
        other => panic!("{other}"),
    }
}

/// Why the server refused, and whom.
fn refused(error: Error) -> (Option<String>, Reason) {
    match error {
        Error::LoginRefused { user, reason } => (user, reason),
        other => panic!("{other}"),
    }
}

/// What the peer left without.
fn disconnected(error: Error) -> FrameType {
    match error {
        Error::Disconnected { awaited } => awaited,
        other => panic!("{other}"),
    }
}

/// The library's error inside an [`io::Error`], and its kind.
fn inner(error: &io::Error) -> (ErrorKind, Option<&countersign::Error>) {
    (error.kind(), error.get_ref().and_then(|inner| inner.downcast_ref()))
}

fn to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    stream.read_to_end(&mut out).unwrap();
    out
}

#[test]
fn a_login_over_tcp_gives_both_ends_the_same_session() {
    let end = |stream: Stream<TcpStream>| {
        let mut key = [0; 32];
        stream.info().export("a test", b"", &mut key).unwrap();
        (stream.grant().clone(), stream.suite(), stream.id(), key)
    };
    let (client, server) = session(end, end);
    assert_eq!(client, server);
    assert_eq!((client.0, client.1), (grant(), Suite::X25519_AES_256_GCM));
}

#[test]
fn tokens_and_every_suite_log_in() {
    for suite in Suite::ALL {
        let scenario = scenario().suite(suite).credential(Credential::Token(TOKEN));
        let (client, server) = both(pair(), |stream| connect(&scenario, stream), |stream| accept(&scenario, stream));
        assert_eq!((client.unwrap().suite(), server.unwrap().grant().principal()), (suite, "robot"));
    }
}

#[test]
fn a_refusal_arrives_at_the_client_and_its_reason_stays_at_the_server() {
    for (user, password, reason) in
        [("alice", &b"wrong"[..], Reason::WrongPassword), ("bob", b"password", Reason::UnknownUser)]
    {
        let (client, server) = failed(&scenario().credential(Credential::Password { user, password }));
        assert_eq!(protocol(client), countersign::Error::Refused);
        assert_eq!(refused(server), (Some(user.to_owned()), reason));
    }
    let (client, server) = failed(&scenario().credential(Credential::Token(b"wrong")));
    assert_eq!(protocol(client), countersign::Error::Refused);
    assert_eq!(refused(server), (None, Reason::UnknownToken));
}

#[test]
fn a_key_that_is_not_trusted_gets_no_login() {
    let (client, server) = failed(&scenario().trust(OTHER2048.trust()));
    assert_eq!(protocol(client), countersign::Error::Untrusted(RSA2048.private.public_key().id()));
    assert_eq!(disconnected(server), FrameType::ClientLogin);
    let under = scenario().suite(Suite::RSA_AES_256_GCM).trust(RSA2048.trust());
    let (client, server) = failed(&under);
    assert_eq!(protocol(client), countersign::Error::UnderFloor(Suite::RSA_AES_256_GCM));
    assert_eq!(disconnected(server), FrameType::ClientLogin);
}

#[test]
fn different_prologues_or_channel_bindings_end_in_a_refusal_that_says_nothing() {
    let not_opened = |(client, server): (Error, Error)| {
        assert_eq!(protocol(client), countersign::Error::VerdictNotAuthentic);
        assert_eq!(refused(server), (None, Reason::NotOpened));
    };
    not_opened(failed(&scenario().prologues(b"my protocol 3", b"my protocol 4")));
    let scenario = scenario();
    let binding = |byte| ChannelBinding::tls_exporter([byte; 32]);
    let login = |ours: ChannelBinding, theirs: ChannelBinding| {
        let (trust, key) = (scenario.trusted(), scenario.private_key());
        both(
            pair(),
            |stream| blocking::connect(stream, &scenario.client_config(), &ours, trust, scenario.credential).map(drop),
            |stream| blocking::accept(stream, &scenario.server_config(), &theirs, key, &verify).map(drop),
        )
    };
    for (ours, theirs) in [(binding(1), binding(2)), (binding(1), ChannelBinding::none())] {
        let (client, server) = login(ours, theirs);
        not_opened((client.unwrap_err(), server.unwrap_err()));
    }
    let (client, server) = login(binding(1), binding(1));
    assert!(client.is_ok() && server.is_ok());
}

#[test]
fn a_login_that_is_not_admitted_is_refused_before_the_private_key_is_used() {
    let scenario = scenario();
    let (client, server) = both(
        pair(),
        |stream| connect(&scenario, stream).map(drop).unwrap_err(),
        |stream| receive(&scenario, stream).unwrap().refuse(Reason::NotAdmitted("busy")),
    );
    assert_eq!(protocol(client), countersign::Error::VerdictNotAuthentic);
    assert_eq!(refused(server), (None, Reason::NotAdmitted("busy")));
}

#[test]
fn the_server_chooses_its_key_by_the_name_that_the_client_wants() {
    let choose = |name: &str| match name {
        "db.example" => Some(RSA2048.server.clone()),
        "other.example" => Some(OTHER2048.server.clone()),
        _ => None,
    };
    let none = ChannelBinding::none();
    for (name, key) in [("db.example", &RSA2048), ("other.example", &OTHER2048)] {
        let scenario = scenario().server_name(name).trust(Server::key(key.private.public_key().clone()));
        let (client, server) = both(
            pair(),
            |stream| connect(&scenario, stream).map(drop),
            |stream| {
                let arrival = blocking::receive(stream, &scenario.server_config(), &none, choose, &verify)?;
                login(arrival).verify(&verify).map(drop)
            },
        );
        assert!(client.is_ok() && server.is_ok(), "{name}");
    }
    let scenario = scenario().server_name("unknown.example");
    let (client, server) = both(
        pair(),
        |stream| connect(&scenario, stream).map(drop).unwrap_err(),
        |stream| blocking::receive(stream, &scenario.server_config(), &none, choose, &verify).map(drop).unwrap_err(),
    );
    assert_eq!(disconnected(client), FrameType::ServerHello);
    assert_eq!(protocol(server), countersign::Error::NoServerKey);
}

#[test]
fn a_peer_that_leaves_is_reported_with_the_frame_that_was_awaited() {
    let scenario = scenario();
    let leave = |stream: TcpStream| drop(stream);
    let hello = scenario.await_challenge().0;
    // The client leaves.
    let ((), server) = both(pair(), leave, |stream| accept(&scenario, stream).map(drop).unwrap_err());
    assert_eq!(disconnected(server), FrameType::ClientHello);
    let half = |mut stream: TcpStream| stream.write_all(&hello[..20]).unwrap();
    let ((), server) = both(pair(), half, |stream| accept(&scenario, stream).map(drop).unwrap_err());
    assert_eq!(disconnected(server), FrameType::ClientHello);
    let after_hello = |mut stream: TcpStream| {
        stream.write_all(&hello).unwrap();
        read_frame(&mut stream, FrameType::ServerHello)
    };
    let (_, server) = both(pair(), after_hello, |stream| accept(&scenario, stream).map(drop).unwrap_err());
    assert_eq!(disconnected(server), FrameType::ClientLogin);
    // The server leaves.
    let before_hello = |mut stream: TcpStream| read_frame(&mut stream, FrameType::ClientHello);
    let (client, _) = both(pair(), |stream| connect(&scenario, stream).map(drop).unwrap_err(), before_hello);
    assert_eq!(disconnected(client), FrameType::ServerHello);
    let after_login = |stream| drop(receive(&scenario, stream).unwrap());
    let (client, ()) = both(pair(), |stream| connect(&scenario, stream).map(drop).unwrap_err(), after_login);
    assert_eq!(disconnected(client), FrameType::ServerVerdict);
}

fn read_frame(stream: &mut impl Read, kind: FrameType) -> Vec<u8> {
    let mut reader = FrameReader::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        reader.feed(&byte, &[kind]).unwrap();
        if let Some(frame) = reader.take() {
            return frame;
        }
    }
}

#[test]
fn a_peer_that_says_nothing_is_given_up_at_the_deadline() {
    let scenario = scenario().timeouts(50, 50);
    let passed = |error: Error| assert_eq!(protocol(error), countersign::Error::DeadlinePassed);
    // In each case the silent peer stays until the other has given up.
    let (silent, server) = pair();
    passed(accept(&scenario, server).map(drop).unwrap_err());
    drop(silent);

    let (mut silent, server) = pair();
    silent.write_all(&scenario.await_challenge().0).unwrap();
    passed(accept(&scenario, server).map(drop).unwrap_err());
    // The challenge at the most, and nothing after it.
    let answer = to_end(&mut silent);
    assert!(answer.is_empty() || split(&answer).is_ok_and(|(kind, _)| kind == FrameType::ServerHello));

    let (client, silent) = pair();
    passed(connect(&scenario, client).map(drop).unwrap_err());
    drop(silent);

    let (client, silent) = pair();
    let patient = scenario.clone().timeouts(50, 10_000);
    let (client, incoming) =
        both((client, silent), |stream| connect(&patient, stream).map(drop), |stream| receive(&patient, stream).ok());
    passed(client.unwrap_err());
    drop(incoming);
}

#[test]
fn a_peer_of_another_protocol_is_told_nothing() {
    let scenario = scenario();
    let http = |mut stream: TcpStream| {
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        // The server may have gone away over the first byte; a reset is no answer either.
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let (answer, server) = both(pair(), http, |stream| accept(&scenario, stream).map(drop).unwrap_err());
    assert_eq!(answer, b"");
    assert_eq!(protocol(server), FrameError::UnknownType(b'G').into());
    let ssh = |mut stream: TcpStream| {
        stream.write_all(b"SSH-2.0-x\r\n").unwrap();
        read_frame(&mut stream, FrameType::ClientHello);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        rest
    };
    let (client, rest) = both(pair(), |stream| connect(&scenario, stream).map(drop).unwrap_err(), ssh);
    assert_eq!(protocol(client), FrameError::UnknownType(b'S').into());
    assert_eq!(rest, b"", "no login");
}

#[test]
fn what_is_no_login_gets_the_refusal_even_where_more_was_sent_than_read() {
    for garbage in [&[9; 1][..], &[9; 100_000], &[1; 5000], &[3, 0xff, 0xff, 0, 0, 0], &[3, 0, 1, 0]] {
        let scenario = scenario();
        let client = |mut stream: TcpStream| {
            stream.write_all(&scenario.await_challenge().0).unwrap();
            read_frame(&mut stream, FrameType::ServerHello);
            stream.write_all(garbage).unwrap();
            read_frame(&mut stream, FrameType::ServerVerdict)
        };
        let (verdict, server) = both(pair(), client, |stream| accept(&scenario, stream).map(drop).unwrap_err());
        assert_eq!(verdict.len(), 1555);
        assert!(matches!(refused(server), (None, Reason::Malformed(_))));
    }
}

#[test]
fn eight_megabytes_go_both_ways_at_once_in_pieces_of_any_size() {
    const SIZE: usize = 8 << 20;
    let data = |seed: &str| {
        let block = TestRng::new(seed).bytes(4099);
        block.iter().copied().cycle().take(SIZE).collect::<Vec<u8>>()
    };
    let end = |seed: &'static str| {
        move |stream: Stream<TcpStream>| {
            let (_, mut reader, mut writer) = stream.split(TcpStream::try_clone).unwrap();
            std::thread::scope(|scope| {
                let arrived = scope.spawn(move || {
                    let (mut out, mut rng) = (Vec::new(), TestRng::new(seed));
                    let mut buffer = vec![0; 70_000];
                    loop {
                        let wanted = 1 + rng.below(buffer.len());
                        match reader.read(&mut buffer[..wanted]).unwrap() {
                            0 => return out,
                            count => out.extend_from_slice(&buffer[..count]),
                        }
                    }
                });
                let (data, mut rng) = (data(seed), TestRng::new("pieces"));
                let mut rest = &data[..];
                while !rest.is_empty() {
                    let (piece, later) = rest.split_at((1 + rng.below(200_000)).min(rest.len()));
                    writer.write_all(piece).unwrap();
                    if rng.below(10) == 0 {
                        writer.update_key().unwrap();
                    }
                    rest = later;
                }
                writer.close().unwrap();
                arrived.join().unwrap()
            })
        }
    };
    let (at_client, at_server) = session(end("from the client"), end("from the server"));
    assert!(at_client == data("from the server"));
    assert!(at_server == data("from the client"));
}

#[test]
fn a_closed_stream_ends_and_a_cut_one_is_an_error() {
    let (result, ()) = session(
        |mut stream| {
            let mut out = [0; 4];
            stream.read_exact(&mut out).unwrap();
            let ends: Vec<_> = (0..3).map(|_| stream.read(&mut out).unwrap()).collect();
            (out, ends)
        },
        |mut stream| {
            stream.write_all(b"data").unwrap();
            stream.close().unwrap();
        },
    );
    assert_eq!(result, (*b"data", vec![0, 0, 0]));

    let (errors, ()) = session(
        |mut stream| {
            let mut out = [0; 4];
            stream.read_exact(&mut out).unwrap();
            [(); 3].map(|()| stream.read(&mut out).unwrap_err())
        },
        |mut stream| {
            stream.write_all(b"data").unwrap();
            stream.transport().shutdown(Shutdown::Write).unwrap();
        },
    );
    for error in &errors {
        let truncated = countersign::Error::Record(RecordError::Truncated);
        assert_eq!(inner(error), (ErrorKind::UnexpectedEof, Some(&truncated)));
    }
}

#[test]
fn after_our_close_we_write_no_more_and_go_on_reading() {
    let (error, ()) = session(
        |mut stream| {
            stream.write_all(b"question").unwrap();
            stream.close().unwrap();
            let write = stream.write(b"more").unwrap_err();
            let closed = Misuse::Closed.into();
            assert_eq!(inner(&write), (ErrorKind::BrokenPipe, Some(&closed)));
            assert_eq!(stream.update_key().unwrap_err(), closed);
            assert_eq!(to_end(&mut stream), b"answer");
            stream.update_key().unwrap_err()
        },
        |mut stream| {
            assert_eq!(to_end(&mut stream), b"question");
            stream.write_all(b"answer").unwrap();
            stream.close().unwrap();
        },
    );
    assert_eq!(error, Misuse::Closed.into());
}

#[test]
fn empty_reads_and_writes_do_nothing() {
    let (count, arrived) = session(
        |mut stream| {
            assert_eq!(stream.write(b"").unwrap(), 0);
            assert_eq!(stream.read(&mut []).unwrap(), 0);
            let count = stream.write(&[7; 1 << 20]).unwrap();
            stream.flush().unwrap();
            stream.close().unwrap();
            count
        },
        |mut stream| {
            assert_eq!(stream.read(&mut []).unwrap(), 0);
            to_end(&mut stream).len()
        },
    );
    assert_eq!(count, arrived);
    assert!(count >= 16384);
}

/// What passes through it, changed.
struct Altered<S, F> {
    inner: S,
    change: F,
    seen: usize,
}

impl<S: Read, F: FnMut(usize, &mut [u8])> Read for Altered<S, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        (self.change)(self.seen, &mut buffer[..count]);
        self.seen += count;
        Ok(count)
    }
}

impl<S: Write, F> Write for Altered<S, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<S: Transport, F: FnMut(usize, &mut [u8])> Transport for Altered<S, F> {
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_timeouts(timeout)
    }
}

#[test]
fn an_altered_stream_gives_an_error_and_never_an_end() {
    let scenario = scenario();
    let [_, challenge, _, verdict] = scenario.finish().frames;
    let first_record = challenge.len() + verdict.len();
    let not_authentic = RecordError::NotAuthentic;
    let unexpected = RecordError::Frame(FrameError::UnexpectedType(FrameType::ServerVerdict));
    for (at, bits, expected) in
        [(first_record + 10, 1, not_authentic), (first_record + 22, 0x80, not_authentic), (first_record, 1, unexpected)]
    {
        let change = move |seen: usize, bytes: &mut [u8]| {
            if let Some(byte) = at.checked_sub(seen).and_then(|at| bytes.get_mut(at)) {
                *byte ^= bits;
            }
        };
        let (errors, ()) = both(
            pair(),
            |stream| {
                let mut stream = connect(&scenario, Altered { inner: stream, change, seen: 0 }).unwrap();
                [(); 4].map(|()| stream.read(&mut [0; 100]).unwrap_err())
            },
            |stream| {
                let mut stream = accept(&scenario, stream).unwrap();
                stream.write_all(b"data").unwrap();
                stream.write_all(b"more").unwrap();
                stream.close().unwrap();
            },
        );
        let expected = countersign::Error::Record(expected);
        assert_eq!(inner(&errors[0]), (ErrorKind::InvalidData, Some(&expected)));
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::InvalidData));
    }
}

/// A transport whose every call fails in the same way, from a given call on.
struct Failing {
    calls: usize,
    inner: TcpStream,
    kind: ErrorKind,
}

impl Failing {
    fn call(&mut self) -> io::Result<()> {
        self.calls = self.calls.saturating_sub(1);
        if self.calls == 0 { Err(self.kind.into()) } else { Ok(()) }
    }
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call()?;
        self.inner.read(buffer)
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Transport for Failing {
    fn set_timeouts(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_transport_that_fails_is_reported_as_it_failed() {
    let scenario = scenario();
    for calls in 1..4 {
        for (kind, deadline) in
            [(ErrorKind::ConnectionReset, false), (ErrorKind::TimedOut, true), (ErrorKind::WouldBlock, true)]
        {
            let (client, _) = both(
                pair(),
                |inner| connect(&scenario, Failing { calls, inner, kind }).map(drop).unwrap_err(),
                |stream| accept(&scenario, stream).map(drop),
            );
            match client {
                Error::Io(error) => assert!(!deadline && error.kind() == kind),
                other => assert!(deadline && protocol(other) == countersign::Error::DeadlinePassed),
            }
        }
    }
}

/// A transport that is interrupted before each call, and takes and gives one byte at a time.
struct Stuttering<S> {
    inner: S,
    interrupted: bool,
    /// What it says in between: interrupted in a handshake, or not ready after it.
    kind: ErrorKind,
}

impl<S> Stuttering<S> {
    fn call(&mut self) -> io::Result<()> {
        self.interrupted = !self.interrupted;
        if self.interrupted { Err(self.kind.into()) } else { Ok(()) }
    }
}

impl<S: Read> Read for Stuttering<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call()?;
        let length = buffer.len().min(1);
        self.inner.read(&mut buffer[..length])
    }
}

impl<S: Write> Write for Stuttering<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call()?;
        self.inner.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<S: Read + Write> Transport for Stuttering<S> {
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // A session has no timeouts of the library's: from here on the application's own apply.
        if timeout.is_none() {
            self.kind = ErrorKind::WouldBlock;
        }
        Ok(())
    }
}

/// Tries again where the transport was not ready.
fn insist<T>(mut call: impl FnMut() -> io::Result<T>) -> T {
    loop {
        match call() {
            Ok(value) => return value,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }
}

#[test]
fn no_byte_is_lost_or_sent_twice_where_the_transport_stutters() {
    let scenario = scenario();
    let stutter = |inner| Stuttering { inner, interrupted: false, kind: ErrorKind::Interrupted };
    let data: Vec<u8> = (0..3000_u32).map(|number| (number % 251) as u8).collect();
    let (client, server) = both(
        duplex(),
        |end| {
            let mut stream = connect(&scenario, stutter(end)).unwrap();
            let mut rest = &data[..];
            while !rest.is_empty() {
                let count = insist(|| stream.write(&rest[..rest.len().min(100)]));
                rest = &rest[count..];
            }
            insist(|| stream.flush());
            let mut out = vec![0; data.len()];
            let mut read = 0;
            while read < out.len() {
                read += insist(|| stream.read(&mut out[read..]));
            }
            out
        },
        |end| {
            let mut stream = accept(&scenario, Untimed(end)).unwrap();
            let mut out = vec![0; data.len()];
            stream.read_exact(&mut out).unwrap();
            stream.write_all(&out).unwrap();
            out
        },
    );
    assert!(client == data && server == data);
}

/// One end of a connection in memory.
struct Pipe {
    to: Sender<Vec<u8>>,
    from: Receiver<Vec<u8>>,
    rest: Vec<u8>,
}

fn duplex() -> (Pipe, Pipe) {
    let ((to_server, at_server), (to_client, at_client)) = (channel(), channel());
    (
        Pipe { to: to_server, from: at_client, rest: Vec::new() },
        Pipe { to: to_client, from: at_server, rest: Vec::new() },
    )
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.from.recv().unwrap_or_default();
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.send(bytes.to_vec()).map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn any_stream_in_memory_will_do() {
    let scenario = scenario();
    let (answer, ()) = both(
        duplex(),
        |end| {
            let mut stream = connect(&scenario, Untimed(end)).unwrap();
            stream.write_all(b"question").unwrap();
            stream.close().unwrap();
            to_end(&mut stream)
        },
        |end| {
            let mut stream = accept(&scenario, Untimed(end)).unwrap();
            assert_eq!(to_end(&mut stream), b"question");
            stream.write_all(b"answer").unwrap();
            stream.close().unwrap();
        },
    );
    assert_eq!(answer, b"answer");
}

#[cfg(unix)]
#[test]
fn unix_sockets_work_owned_and_by_reference() {
    use std::os::unix::net::UnixStream;
    let scenario = scenario();
    let (client, server) = UnixStream::pair().unwrap();
    let (client, server) = both(
        (&client, server),
        |stream| to_end(&mut connect(&scenario, stream).unwrap()),
        |stream| {
            let mut stream = accept(&scenario, stream).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.close().unwrap();
            stream.grant().principal().to_owned()
        },
    );
    assert_eq!((&client[..], &server[..]), (&b"hello"[..], "alice"));
}

#[test]
fn a_tcp_stream_by_reference_works_and_has_no_timeouts_left() {
    let scenario = scenario();
    let (client, server) = pair();
    both(
        (&client, &server),
        |stream| drop(connect(&scenario, stream).unwrap()),
        |stream| drop(accept(&scenario, stream).unwrap()),
    );
    for stream in [client, server] {
        assert_eq!((stream.read_timeout().unwrap(), stream.write_timeout().unwrap()), (None, None));
    }
}

#[test]
fn a_known_key_is_not_sent_and_works_all_the_same() {
    let scenario = scenario().known_key();
    let (client, server) = both(pair(), |stream| connect(&scenario, stream), |stream| accept(&scenario, stream));
    assert!(client.is_ok() && server.is_ok());
    let both_keys = Server::key(OTHER2048.private.public_key().clone())
        .or(Server::key(RSA2048.private.public_key().clone()))
        .with_floor(KeyExchange::X25519);
    let scenario = scenario.trust(both_keys);
    let (client, server) = both(pair(), |stream| connect(&scenario, stream), |stream| accept(&scenario, stream));
    assert!(client.is_ok() && server.is_ok());
}

#[test]
fn the_session_stream_is_not_read_past_by_the_handshake() {
    // The server's first record is on the wire together with its verdict.
    let scenario = scenario();
    let (client, mut server) = pair();
    let (out, ()) = both(
        (client, &mut server),
        |stream| {
            let mut stream = connect(&scenario, stream).unwrap();
            to_end(&mut stream)
        },
        |stream| {
            let hello = read_frame(stream, FrameType::ClientHello);
            let (challenge, state) = scenario.answer(&hello).unwrap();
            stream.write_all(&challenge).unwrap();
            let login = read_frame(stream, FrameType::ClientLogin);
            let claim = state.read(login, Moment::ORIGIN).unwrap().admit().run(&mut scenario.rng("blinding"));
            let mut accepted = claim.accept(grant()).unwrap();
            let mut out = accepted.frame;
            accepted.session.sealer.seal(b"hello", &mut out).unwrap();
            accepted.session.sealer.close(&mut out).unwrap();
            stream.write_all(&out).unwrap();
        },
    );
    assert_eq!(out, b"hello");
}
