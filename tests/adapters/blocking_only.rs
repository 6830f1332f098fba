//! What is special to blocking streams: transports of any kind, and halves for two threads.

use crate::ends::{acceptor, bounded, client_config, config, connector, eventually_empty, pair, protocol};
use crate::support::{ALICE, RSA2048, TestRng, verifier};
use countersign::blocking::{Over, Stopper, Timed, Transport, Untimed};
use countersign::{Acceptor, Bounds, Connector, Context, Credential, Error, LoginError, Misuse, Stream};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

fn connect<T: Transport>(stream: T) -> Result<Stream<T>, LoginError> {
    connector().connect_blocking(stream, ALICE)
}

fn accept<T: Transport + Send + 'static>(stream: T) -> Result<Stream<T>, LoginError> {
    acceptor().accept_blocking(stream, Context::uncounted())
}

fn to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    stream.read_to_end(&mut out).unwrap();
    out
}

#[test]
fn eight_megabytes_go_both_ways_at_once_in_pieces_of_any_size() {
    const SIZE: usize = 8 << 20;
    fn data(seed: &str) -> Vec<u8> {
        let block = TestRng::new(seed).bytes(4099);
        block.iter().copied().cycle().take(SIZE).collect()
    }
    fn end(stream: Stream<TcpStream>, seed: &'static str) -> Vec<u8> {
        let (info, mut reader, mut writer) = stream.split(TcpStream::try_clone).unwrap();
        assert_eq!(info.login_grant().principal(), "alice");
        let arrived = std::thread::spawn(move || {
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
        assert_eq!(writer.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(writer.update_key().unwrap_err(), Misuse::Closed.into());
        arrived.join().unwrap()
    }
    bounded(|| {
        let (at_client, at_server) = both(
            pair(),
            |stream| end(connect(stream).unwrap(), "from the client"),
            |stream| end(accept(stream).unwrap(), "from the server"),
        );
        assert!(at_client == data("from the server"));
        assert!(at_server == data("from the client"));
    });
}

/// A session has its place until both halves are gone.
#[test]
fn a_split_session_counts_once_until_both_halves_are_gone() {
    bounded(|| {
        let acceptor = acceptor();
        for reads_on in [false, true] {
            let (client, server) =
                both(pair(), connect, |stream| acceptor.accept_blocking(stream, Context::uncounted()).unwrap());
            drop(client.unwrap());
            let (_, reader, writer) = server.split(TcpStream::try_clone).unwrap();
            assert_eq!(acceptor.counts().sessions, 1);
            let (mut reader, mut writer) = (Some(reader), Some(writer));
            if reads_on {
                drop(writer.take())
            } else {
                drop(reader.take())
            }
            assert_eq!(acceptor.counts().sessions, 1);
            drop((reader, writer));
            assert_eq!(acceptor.counts().sessions, 0);
        }
        // Where there is no second handle the session is over.
        let (client, server) =
            both(pair(), connect, |stream| acceptor.accept_blocking(stream, Context::uncounted()).unwrap());
        let failed = server.split(|_| Err(ErrorKind::OutOfMemory.into())).map(drop).unwrap_err();
        assert_eq!((failed.kind(), acceptor.counts().sessions), (ErrorKind::OutOfMemory, 0));
        drop(client);
    });
}

/// A transport whose every call fails in the same way, from a given call on.
struct Failing {
    calls: usize,
    inner: TcpStream,
    kind: ErrorKind,
    /// Calls after that.
    failed: Arc<AtomicUsize>,
}

impl Failing {
    fn call(&mut self) -> io::Result<()> {
        self.calls = self.calls.saturating_sub(1);
        if self.calls > 0 {
            return Ok(());
        }
        self.failed.fetch_add(1, Ordering::SeqCst);
        Err(self.kind.into())
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
    bounded(|| {
        for calls in 1..4 {
            for (kind, deadline) in
                [(ErrorKind::ConnectionReset, false), (ErrorKind::TimedOut, true), (ErrorKind::WouldBlock, true)]
            {
                let timeout = Duration::from_millis(if deadline { 300 } else { 60_000 });
                let connector = Connector::new(client_config().with_handshake_timeout(timeout), RSA2048.trust());
                let failed = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&failed);
                let (client, _) = both(
                    pair(),
                    |inner| {
                        let failing = Failing { calls, inner, kind, failed };
                        connector.connect_blocking(failing, ALICE).map(drop).unwrap_err()
                    },
                    |stream| accept(stream).map(drop),
                );
                match client {
                    LoginError::Io(error) => assert!(!deadline && error.kind() == kind),
                    other => assert!(deadline && protocol(other) == Error::DeadlinePassed),
                }
                // One that can't wait is left alone for a while, and does not keep a core busy until the deadline.
                assert!(count.load(Ordering::SeqCst) <= 301, "{count:?} calls in 300 milliseconds");
            }
        }
    });
}

/// A transport that fails before each call, though nothing is wrong, and takes and gives one byte at a time.
struct Stuttering<S> {
    inner: S,
    calls: usize,
    /// A handshake is only interrupted; after it the transport is not ready now and then.
    in_session: bool,
}

impl<S> Stuttering<S> {
    fn new(inner: S) -> Self {
        Self { inner, calls: 0, in_session: false }
    }

    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match (self.calls % 4, self.in_session) {
            (1, true) => Err(ErrorKind::WouldBlock.into()),
            (1 | 3, _) => Err(ErrorKind::Interrupted.into()),
            _ => Ok(()),
        }
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
        self.in_session |= timeout.is_none();
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

/// Otherwise what buffers underneath would keep the last of it, and both ends wait for ever.
#[test]
fn a_flush_reaches_the_stream_that_is_wrapped() {
    let mut untimed = Untimed(BufWriter::new(Vec::new()));
    untimed.write_all(b"hello").unwrap();
    assert_eq!(untimed.0.get_ref(), b"");
    untimed.flush().unwrap();
    assert_eq!(untimed.0.get_ref(), b"hello");
    let under = Timed::new(pair().0);
    let mut over = Over::new(BufWriter::new(Vec::new()), under);
    over.write_all(b"hello").unwrap();
    assert_eq!(over.get_ref().get_ref(), b"");
    over.flush().unwrap();
    assert_eq!(over.get_ref().get_ref(), b"hello");
    let flushed = Flushed::default();
    Timed::new(flushed.clone()).flush().unwrap();
    assert_eq!(flushed.0.load(Ordering::SeqCst), 1);
}

/// Counts how often it was flushed.
#[derive(Clone, Default)]
struct Flushed(Arc<AtomicUsize>);

impl Read for &Flushed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

impl Write for &Flushed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Transport for &Flushed {
    fn set_timeouts(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_byte_is_lost_or_sent_twice_where_the_transport_stutters() {
    bounded(|| {
        let data: Vec<u8> = (0..3000_u32).map(|number| (number % 251) as u8).collect();
        let (client, server) = both(
            duplex(),
            |end| {
                let mut stream = connect(Stuttering::new(end)).unwrap();
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
                let mut stream = accept(Untimed(end)).unwrap();
                let mut out = vec![0; data.len()];
                stream.read_exact(&mut out).unwrap();
                stream.write_all(&out).unwrap();
                out
            },
        );
        assert!(client == data && server == data);
        // The server's side of it, up to a close that takes its time.
        let (answer, ()) = both(
            duplex(),
            |end| {
                let mut stream = connect(Untimed(end)).unwrap();
                stream.write_all(b"question").unwrap();
                stream.close().unwrap();
                to_end(&mut stream)
            },
            |end| {
                let mut stream = accept(Stuttering::new(end)).unwrap();
                let mut out = Vec::new();
                while insist(|| match stream.read(&mut [0; 100]) {
                    Ok(count) => Ok((out.push(count), count).1),
                    Err(error) => Err(error),
                }) > 0
                {}
                assert_eq!(out.iter().sum::<usize>(), 8);
                insist(|| stream.write(b"answer"));
                stream.finish_blocking(Duration::from_secs(60)).unwrap();
            },
        );
        assert_eq!(answer, b"answer");
    });
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

/// One that keeps what is written until it is flushed, as compression does, or a WebSocket.
struct Buffered<S> {
    inner: S,
    kept: Vec<u8>,
}

impl<S: Read> Read for Buffered<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl<S: Write> Write for Buffered<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.write_all(&std::mem::take(&mut self.kept))
    }
}

#[test]
fn a_transport_that_buffers_is_flushed_whenever_the_peer_waits_for_it() {
    bounded(|| {
        let buffered = |inner| Untimed(Buffered { inner, kept: Vec::new() });
        let (answer, ()) = both(
            duplex(),
            |end| {
                let mut stream = connect(buffered(end)).unwrap();
                stream.write_all(b"question").unwrap();
                stream.flush().unwrap();
                let mut answer = [0; 6];
                stream.read_exact(&mut answer).unwrap();
                stream.finish_blocking(Duration::from_secs(60)).unwrap();
                answer
            },
            |end| {
                let mut stream = accept(buffered(end)).unwrap();
                stream.read_exact(&mut [0; 8]).unwrap();
                stream.write_all(b"answer").unwrap();
                stream.flush().unwrap();
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
                stream.close().unwrap();
            },
        );
        assert_eq!(&answer, b"answer");
    });
}

#[test]
fn the_half_that_writes_flushes_the_transport_too() {
    bounded(|| {
        let buffered = |inner| Untimed(Buffered { inner, kept: Vec::new() });
        let (client, server) = both(pair(), |end| connect(buffered(end)), accept);
        let mut server = server.unwrap();
        let duplicate = |under: &Untimed<Buffered<TcpStream>>| Ok(buffered(under.0.inner.try_clone()?));
        let (_, mut reader, mut writer) = client.unwrap().split(duplicate).unwrap();
        writer.write_all(b"question").unwrap();
        writer.flush().unwrap();
        server.read_exact(&mut [0; 8]).unwrap();
        server.write_all(b"answer").unwrap();
        reader.read_exact(&mut [0; 6]).unwrap();
    });
}

/// Otherwise whoever says one thing and goes would never know.
#[test]
fn a_write_that_fails_is_told_at_once() {
    bounded(|| {
        let failing =
            |inner| Failing { calls: usize::MAX, inner, kind: ErrorKind::ConnectionReset, failed: Arc::default() };
        let log_in = || both(pair(), |inner| connect(failing(inner)).unwrap(), accept);
        let (mut client, _server) = log_in();
        assert_eq!(client.write(b"hello").unwrap(), 5);
        client.get_mut().calls = 1;
        assert_eq!(client.write(b"hello").unwrap_err().kind(), ErrorKind::ConnectionReset);
        // So is a close.
        let (mut client, _server) = log_in();
        client.get_mut().calls = 1;
        let failed = client.finish_blocking(Duration::from_secs(60)).unwrap_err();
        assert!(matches!(failed, LoginError::Io(error) if error.kind() == ErrorKind::ConnectionReset));
        // And what comes instead of the peer's, after ours has gone out; but not that nothing comes.
        let (mut client, _server) = log_in();
        client.get_mut().calls = 2;
        let failed = client.finish_blocking(Duration::from_secs(60)).unwrap_err();
        assert!(matches!(failed, LoginError::Io(error) if error.kind() == ErrorKind::ConnectionReset));
        let (client, _server) = both(pair(), |stream| connect(stream).unwrap(), accept);
        client.finish_blocking(Duration::from_millis(50)).unwrap();
    });
}

/// Holds what it has taken, and can't get rid of it once it is full.
struct Holding {
    inner: TcpStream,
    timeout: Option<Duration>,
    is_full: bool,
}

impl Read for Holding {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl Write for Holding {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        assert!(!self.is_full || self.timeout.is_some(), "it would wait for ever");
        if self.is_full { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

impl Transport for Holding {
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeout = timeout;
        self.inner.set_timeouts(timeout)
    }
}

#[test]
fn no_layer_that_holds_what_it_took_holds_up_the_end_past_its_time() {
    bounded(|| {
        let holding = |inner| Holding { inner, timeout: None, is_full: false };
        let (mut client, _server) = both(pair(), |inner| connect(holding(inner)).unwrap(), accept);
        client.close().unwrap();
        client.get_mut().is_full = true;
        let failed = client.finish_blocking(Duration::from_secs(60)).unwrap_err();
        assert!(matches!(failed, LoginError::Protocol(Error::DeadlinePassed)), "{failed:?}");
    });
}

/// One of a socket that nobody can set up.
struct Unusable(TcpStream);

impl Read for Unusable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Unusable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Transport for Unusable {
    fn set_timeouts(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_nonblocking(&mut self, _: bool) -> io::Result<bool> {
        Err(ErrorKind::InvalidInput.into())
    }
}

#[test]
fn a_connection_that_can_not_even_be_set_up_is_told_and_counted() {
    bounded(|| {
        let (tell, told) = channel();
        let acceptor = acceptor().with_observer(move |event| tell.send(event.to_string()).unwrap());
        let (_client, server) = pair();
        let error = acceptor.accept_blocking(Unusable(server), Context::uncounted()).map(drop).unwrap_err();
        assert!(matches!(error, LoginError::Io(error) if error.kind() == ErrorKind::InvalidInput));
        assert_eq!(acceptor.totals().iter().collect::<Vec<_>>(), [("handshake-failed", "io", 1)]);
        // With what the system says, and not only that something failed.
        let (line, cause) = (told.recv().unwrap(), io::Error::from(ErrorKind::InvalidInput));
        assert!(line.ends_with(&format!(" code=io reason=\"the connection failed: {cause}\"")), "{line}");
        eventually_empty(&acceptor);
    });
}

/// One that can't wait for ever.
struct Hasty(TcpStream);

impl Read for Hasty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Hasty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Transport for Hasty {
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        timeout.map(drop).ok_or_else(|| ErrorKind::InvalidInput.into())
    }
}

/// Whoever counts sessions by what is told would count it for ever.
#[test]
fn a_session_that_fails_as_it_begins_is_told_to_have_ended() {
    bounded(|| {
        let acceptor = acceptor();
        let (client, error) = both(pair(), connect, |stream| {
            acceptor.accept_blocking(Hasty(stream), Context::uncounted()).map(drop).unwrap_err()
        });
        assert!(matches!(error, LoginError::Io(error) if error.kind() == ErrorKind::InvalidInput));
        drop(client.unwrap());
        let totals = acceptor.totals();
        assert_eq!((totals.of("login-accepted"), totals.with_code("session-ended", "truncated")), (1, 1));
        eventually_empty(&acceptor);
    });
}

/// One of a process that has no file left to open.
struct Last(TcpStream);

impl Read for Last {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Last {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Transport for Last {
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_timeouts(timeout)
    }

    fn stopper(&mut self) -> io::Result<Option<Stopper>> {
        Err(ErrorKind::QuotaExceeded.into())
    }
}

/// Nobody could end it while it waits.
#[test]
fn a_session_that_can_get_no_stopper_does_not_begin() {
    bounded(|| {
        let acceptor = acceptor();
        let (client, error) = both(pair(), connect, |stream| {
            acceptor.accept_blocking(Last(stream), Context::uncounted()).map(drop).unwrap_err()
        });
        assert!(matches!(error, LoginError::Io(error) if error.kind() == ErrorKind::QuotaExceeded));
        assert_eq!(client.unwrap().read(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(acceptor.totals().with_code("session-ended", "truncated"), 1);
        eventually_empty(&acceptor);
    });
}

#[test]
fn any_stream_in_memory_will_do_for_logins_and_for_refusals() {
    bounded(|| {
        let (answer, ()) = both(
            duplex(),
            |end| {
                let mut stream = connect(Untimed(end)).unwrap();
                stream.write_all(b"question").unwrap();
                stream.close().unwrap();
                to_end(&mut stream)
            },
            |end| {
                let mut stream = accept(Untimed(end)).unwrap();
                assert_eq!(to_end(&mut stream), b"question");
                stream.write_all(b"answer").unwrap();
                stream.close().unwrap();
            },
        );
        assert_eq!(answer, b"answer");
        let acceptor = acceptor();
        let wrong = Credential::Password { user: "alice", password: b"wrong" };
        let (client, server) = both(
            duplex(),
            |end| connector().connect_blocking(Untimed(end), wrong).map(drop).unwrap_err(),
            |end| acceptor.accept_blocking(Untimed(end), Context::uncounted()).map(drop).unwrap_err(),
        );
        assert_eq!((protocol(client), server.code()), (Error::Refused, "wrong-password"));
        // The thread that accepted told the peer: nothing is left to do.
        assert_eq!(acceptor.counts().refusals, 0);
    });
}

#[cfg(unix)]
#[test]
fn unix_sockets_work_owned_and_by_reference() {
    use std::os::unix::net::UnixStream;
    bounded(|| {
        let (client, server) = UnixStream::pair().unwrap();
        let (client, server) = both(
            (&client, server),
            |stream| to_end(&mut connect(stream).unwrap()),
            |stream| {
                let mut stream = accept(stream).unwrap();
                stream.write_all(b"hello").unwrap();
                stream.close().unwrap();
                stream.grant().principal().to_owned()
            },
        );
        assert_eq!((&client[..], &server[..]), (&b"hello"[..], "alice"));
    });
}

#[test]
fn a_tcp_stream_by_reference_works_and_has_no_timeouts_left() {
    bounded(|| {
        let (client, server) = pair();
        // As a listener that does not block may hand them out.
        server.set_nonblocking(true).unwrap();
        client.set_nonblocking(true).unwrap();
        let server: &'static TcpStream = Box::leak(Box::new(server));
        both((&client, server), |stream| drop(connect(stream).unwrap()), |stream| drop(accept(stream).unwrap()));
        for stream in [&client, server] {
            assert_eq!((stream.read_timeout().unwrap(), stream.write_timeout().unwrap()), (None, None));
        }
        // It blocks, as it should.
        let (mut reader, writer) = (server, client.try_clone().unwrap());
        let read = std::thread::spawn(move || {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            byte
        });
        (&writer).write_all(b"x").unwrap();
        assert_eq!(&read.join().unwrap(), b"x");
    });
}

#[test]
fn a_stream_over_another_is_flushed_and_then_ends_its_sending_underneath() {
    bounded(|| {
        let (mut peer, stream) = pair();
        let under = Timed::new(stream);
        let mut over = Over::new(Buffered { inner: under.clone(), kept: Vec::new() }, under);
        over.write_all(b"the last of it").unwrap();
        over.end_sending().unwrap();
        assert_eq!(to_end(&mut peer), b"the last of it");
        // The other direction is open.
        peer.write_all(b"answer").unwrap();
        over.read_exact(&mut [0; 6]).unwrap();
    });
}

/// Passes everything on, and keeps a record of it, as a TLS library would stand between.
struct Recording(Timed<TcpStream>, Arc<Mutex<Vec<u8>>>);

impl Read for Recording {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Recording {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.lock().unwrap().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_stream_over_another_has_the_deadlines_of_the_one_underneath() {
    bounded(|| {
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let over = |stream: TcpStream| {
            let under = Timed::new(stream);
            Over::new(Recording(under.clone(), Arc::clone(&recorded)), under)
        };
        let (client, server) = both(pair(), |stream| connect(over(stream)), |stream| accept(over(stream)));
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        client.write_all(b"hello").unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        assert!(client.get_ref().get_ref().0.get_ref().peer_addr().is_ok());
        client.get_mut().get_mut().0.get_ref().set_nodelay(true).unwrap();
        assert!(recorded.lock().unwrap().len() > 2000);
        // A silent peer meets the deadline of the stream underneath.
        let config = config().with_handshake_timeout(Duration::from_millis(50));
        let hurried = Acceptor::new(config, RSA2048.server.clone(), verifier);
        let (silent, stream) = pair();
        let error = hurried.accept_blocking(over(stream), Context::uncounted()).map(drop).unwrap_err();
        assert_eq!(protocol(error), Error::DeadlinePassed);
        drop(silent);
        // And a refused one is told by somebody else's thread.
        let wrong = Credential::Password { user: "alice", password: b"wrong" };
        let acceptor = Acceptor::new(config_with_long_floor(), RSA2048.server.clone(), verifier);
        let (stream, far) = pair();
        let client = std::thread::spawn(move || connector().connect_blocking(stream, wrong).map(drop));
        let error = acceptor.accept_blocking(over(far), Context::uncounted()).map(drop).unwrap_err();
        assert_eq!((error.code(), acceptor.counts().refusals), ("wrong-password", 1));
        assert_eq!(protocol(client.join().unwrap().unwrap_err()), Error::Refused);
        eventually_empty(&acceptor);
    });
}

/// Reads on until 64 bytes are there, as TLS reads on until a record is.
struct Greedy(Timed<TcpStream>);

impl Read for Greedy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut record = [0; 64];
        self.0.read_exact(&mut record)?;
        buffer[0] = record[0];
        Ok(1)
    }
}

impl Write for Greedy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_peer_that_drips_into_a_record_of_the_layer_underneath_meets_the_deadline_and_makes_way() {
    bounded(|| {
        let accept = |acceptor: Acceptor, finished: Sender<LoginError>| {
            let (dripper, stream) = pair();
            std::thread::spawn(move || {
                let under = Timed::new(stream);
                let over = Over::new(Greedy(under.clone()), under);
                let _ = finished.send(acceptor.accept_blocking(over, Context::uncounted()).map(drop).unwrap_err());
            });
            dripper
        };
        // Drips for as long as it is listened to: each byte comes well before any timeout of a single read.
        let drip = |mut dripper: TcpStream, finished: &Receiver<LoginError>| loop {
            match finished.recv_timeout(Duration::from_millis(20)) {
                Ok(error) => return error,
                Err(_) => drop(dripper.write(&[1])),
            }
        };
        let hurried = Acceptor::new(
            config().with_handshake_timeout(Duration::from_millis(100)),
            RSA2048.server.clone(),
            verifier,
        );
        let (finished, end) = channel();
        assert_eq!(protocol(drip(accept(hurried, finished), &end)), Error::DeadlinePassed);

        let crowded = acceptor().with_bounds(Bounds::default().with_handshakes(1));
        let (finished, end) = channel();
        let dripper = accept(crowded.clone(), finished);
        while crowded.counts().handshakes == 0 {
            std::thread::yield_now();
        }
        let (other, _silent) = channel();
        let _newcomer = accept(crowded, other);
        assert_eq!(drip(dripper, &end).code(), "made-way");
    });
}

#[test]
fn a_transport_that_has_no_deadline_any_more_has_no_timeouts_underneath() {
    let (near, mut far) = pair();
    let mut timed = Timed::new(near);
    timed.set_timeouts(Some(Duration::from_secs(60))).unwrap();
    far.write_all(&[7]).unwrap();
    timed.read_exact(&mut [0]).unwrap();
    assert!(timed.get_ref().read_timeout().unwrap().is_some());
    timed.set_timeouts(None).unwrap();
    let stream = timed.get_ref();
    assert_eq!((stream.read_timeout().unwrap(), stream.write_timeout().unwrap()), (None, None));
}

/// Longer than the way from one assertion to the next.
fn config_with_long_floor() -> countersign::ServerConfig {
    config().with_refusal_floor(Duration::from_secs(2))
}

#[test]
fn a_transport_whose_time_is_over_says_so_at_each_call_until_it_has_more() {
    let (near, mut far) = pair();
    let mut timed = Timed::new(near);
    timed.set_timeouts(Some(Duration::ZERO)).unwrap();
    far.write_all(b"in vain").unwrap();
    assert_eq!(timed.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(timed.write(b"in vain").unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(timed.flush().unwrap_err().kind(), ErrorKind::TimedOut);
    timed.set_timeouts(None).unwrap();
    assert_eq!(timed.read(&mut [0; 7]).unwrap(), 7);
}
