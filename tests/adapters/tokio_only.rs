//! What is special to tokio's streams: futures that are cancelled, streams that are not ready, and what an idle one holds.

use crate::ends::{acceptor, asking, config, connector};
use crate::penalties::Looked;
use crate::places::{Gate, one_at_a_time};
use crate::support::{ALICE, RSA2048, provider};
use countersign::{
    Acceptor, Connector, Context as Connection, Credential, Error, LoginError, MemoryTickets, Reason, Stream,
    TicketKeys,
};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use std::future::{Future, pending, ready};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, ReadBuf, duplex};

/// Drives a test, and fails it where it hangs.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(crate::ends::HANG, test).await.expect("hangs") });
}

async fn login<C, S>(client: C, server: S) -> (Stream<C>, Stream<S>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (acceptor, connector) = (acceptor(), connector());
    let (client, server) =
        tokio::join!(connector.connect(client, ALICE), acceptor.accept(server, Connection::uncounted()));
    (client.unwrap(), server.unwrap())
}

/// A transport that gives and takes a random few bytes at a time, and is often not ready.
struct Reluctant<S> {
    inner: S,
    rng: StdRng,
}

impl<S> Reluctant<S> {
    fn new(inner: S, seed: u64) -> Self {
        Self { inner, rng: StdRng::seed_from_u64(seed) }
    }

    /// Not ready this time, one time in four; woken at once.
    fn balks(&mut self, context: &Context<'_>) -> bool {
        let balks = self.rng.random_ratio(1, 4);
        if balks {
            context.waker().wake_by_ref();
        }
        balks
    }

    fn some(&mut self) -> usize {
        if self.rng.random_ratio(1, 2) { self.rng.random_range(1..8) } else { self.rng.random_range(8..40_000) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reluctant<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.balks(context) {
            return Poll::Pending;
        }
        let count = self.some().min(out.remaining());
        let mut piece = vec![0; count];
        let mut piece = ReadBuf::new(&mut piece);
        let result = Pin::new(&mut self.inner).poll_read(context, &mut piece);
        out.put_slice(piece.filled());
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reluctant<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.balks(context) {
            return Poll::Pending;
        }
        let count = self.some().min(bytes.len());
        Pin::new(&mut self.inner).poll_write(context, &bytes[..count])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[test]
fn a_transport_that_buffers_is_flushed_whenever_the_peer_waits_for_it() {
    run(async {
        let (client, server) = duplex(1 << 16);
        let (client, mut server) = login(BufStream::new(client), BufStream::new(server)).await;
        let (mut client, mut room) = (client.closing_on_drop(), [0; 8]);
        client.write_all(b"question").await.unwrap();
        client.flush().await.unwrap();
        server.read_exact(&mut room).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut room[..6]).await.unwrap();
        assert_eq!(&room, b"answeron");
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut room).await.unwrap(), 0);
    });
}

/// Otherwise whoever says one thing and goes would never know.
#[test]
fn a_write_that_fails_is_told_at_once() {
    run(async {
        let (client, server) = duplex(1 << 16);
        let (mut client, server) = login(client, server).await;
        assert_eq!(client.write(b"hello").await.unwrap(), 5);
        drop(server);
        assert_eq!(client.write(b"hello").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Writes `total` random bytes in random pieces and closes; gives their hash.
async fn send(stream: &mut (impl AsyncWrite + Unpin), total: usize, seed: u64) -> [u8; 32] {
    let (mut rng, mut hash, mut left) = (StdRng::seed_from_u64(seed), Sha256::new(), total);
    while left > 0 {
        let mut piece = vec![0; rng.random_range(1..100_000).min(left)];
        rng.fill_bytes(&mut piece);
        hash.update(&piece);
        stream.write_all(&piece).await.unwrap();
        if rng.random_ratio(1, 8) {
            stream.flush().await.unwrap();
        }
        left -= piece.len();
    }
    stream.shutdown().await.unwrap();
    hash.finalize().into()
}

/// Reads to the authenticated end in random pieces; gives the length and the hash.
async fn receive(stream: &mut (impl AsyncRead + Unpin), seed: u64) -> (usize, [u8; 32]) {
    let (mut rng, mut hash, mut total) = (StdRng::seed_from_u64(seed), Sha256::new(), 0);
    let mut buffer = vec![0; 70_000];
    loop {
        let room = rng.random_range(1..buffer.len());
        let count = stream.read(&mut buffer[..room]).await.unwrap();
        if count == 0 {
            return (total, hash.finalize().into());
        }
        hash.update(&buffer[..count]);
        total += count;
    }
}

#[test]
fn bytes_cross_both_ways_at_once_over_a_transport_that_splits_and_stalls() {
    run(async {
        let (client, server) = duplex(30_000);
        let (client, server) = login(Reluctant::new(client, 1), Reluctant::new(server, 2)).await;
        let (mut client_reader, mut client_writer) = tokio::io::split(client);
        let (mut server_reader, mut server_writer) = tokio::io::split(server);
        let total = 4 << 20;
        let (up, down, at_server, at_client) = tokio::join!(
            send(&mut client_writer, total, 3),
            send(&mut server_writer, total, 4),
            receive(&mut server_reader, 5),
            receive(&mut client_reader, 6),
        );
        assert_eq!((at_server, at_client), ((total, up), (total, down)));
    });
}

#[test]
fn a_cancelled_read_loses_no_byte() {
    run(async {
        let (client, server) = duplex(512);
        let (mut client, mut server) = login(client, Reluctant::new(server, 7)).await;
        let sender = tokio::spawn(async move { send(&mut client, 1 << 20, 8).await });
        let (mut hash, mut total, mut cancelled) = (Sha256::new(), 0, 0);
        let mut buffer = [0; 3000];
        loop {
            let count = tokio::select! {
                biased;
                count = server.read(&mut buffer) => count.unwrap(),
                () = std::future::ready(()) => {
                    cancelled += 1;
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            total += count;
        }
        assert!(cancelled > 0);
        assert_eq!((total, <[u8; 32]>::from(hash.finalize())), (1 << 20, sender.await.unwrap()));
    });
}

#[test]
fn a_cancelled_write_is_sent_whole_or_not_at_all() {
    run(async {
        let (client, server) = duplex(64);
        let (mut client, mut server) = login(client, server).await;
        // The pipe takes 64 bytes: the first write is taken and does not fit, the second is not taken.
        assert_eq!(client.write(&[1; 1000]).await.unwrap(), 1000);
        tokio::select! {
            biased;
            _ = client.write(&[2; 1000]) => panic!("there is no room"),
            () = std::future::ready(()) => {}
        }
        let writer = tokio::spawn(async move {
            client.write_all(&[3; 1000]).await.unwrap();
            client.shutdown().await.unwrap();
        });
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        writer.await.unwrap();
        assert_eq!(read, [[1; 1000], [3; 1000]].concat());
    });
}

#[test]
fn a_cancelled_shutdown_can_be_asked_for_again() {
    run(async {
        let (client, server) = duplex(64);
        let (mut client, mut server) = login(client, server).await;
        assert_eq!(client.write(&[1; 1000]).await.unwrap(), 1000);
        tokio::select! {
            biased;
            _ = client.shutdown() => panic!("there is no room"),
            () = std::future::ready(()) => {}
        }
        let writer = tokio::spawn(async move {
            client.shutdown().await.unwrap();
            assert_eq!(client.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        writer.await.unwrap();
        assert_eq!(read, [1; 1000]);
    });
}

#[test]
fn a_ticket_is_there_for_the_next_try_where_no_connection_came_of_this_one() {
    run(async {
        let tickets = Arc::new(TicketKeys::new(provider(), Duration::from_secs(60)));
        let acceptor = Acceptor::new(config().with_tickets(tickets), RSA2048.server.clone(), Looked::default());
        let connector = connector().with_tickets(MemoryTickets::new());
        let is_resumed = async || {
            let (client, server) = duplex(1 << 16);
            let acceptor = acceptor.clone();
            let accepted = tokio::spawn(async move { acceptor.accept(server, Connection::uncounted()).await });
            let session = connector.connect(client, ALICE).await.unwrap();
            accepted.await.unwrap().unwrap();
            session.info().is_resumed()
        };
        assert!(!is_resumed().await);
        let nobody = || ready(Err::<DuplexStream, _>(io::ErrorKind::ConnectionRefused.into()));
        assert!(connector.dial(nobody, ALICE).await.is_err());
        // Given up before there was one.
        drop(tokio::time::timeout(Duration::ZERO, connector.dial(pending::<io::Result<DuplexStream>>, ALICE)).await);
        assert!(is_resumed().await);
    });
}

#[test]
fn a_reader_that_never_reads_holds_the_writer_back() {
    run(async {
        let (client, server) = duplex(1000);
        let (mut client, _server) = login(client, server).await;
        let mut taken = 0;
        loop {
            tokio::select! {
                biased;
                count = client.write(&[0; 1000]) => taken += count.unwrap(),
                () = std::future::ready(()) => break,
            }
        }
        assert!(taken <= 2000, "{taken} bytes were taken for a pipe of 1000");
    });
}

#[test]
fn framed_and_line_protocols_run_over_it_unchanged() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_util::codec::{Framed, LinesCodec};
    run(async {
        let (client, server) = duplex(100);
        let (client, server) = login(client, server).await;
        let mut client = Framed::new(client, LinesCodec::new());
        let mut server = Framed::new(server, LinesCodec::new());
        let echo = async {
            while let Some(line) = server.next().await {
                server.send(format!("you said {}", line.unwrap())).await.unwrap();
            }
            SinkExt::<String>::close(&mut server).await.unwrap();
        };
        let talk = async {
            for word in ["one", "two", "three"] {
                client.send(word.to_owned()).await.unwrap();
                assert_eq!(client.next().await.unwrap().unwrap(), format!("you said {word}"));
            }
            SinkExt::<String>::close(&mut client).await.unwrap();
            assert!(client.next().await.is_none());
        };
        tokio::join!(echo, talk);
    });
}

#[test]
fn the_stream_underneath_can_be_seen_and_comes_out_again() {
    run(async {
        let (client, server) = duplex(8192);
        let (mut client, server) = login(Reluctant::new(client, 1), server).await;
        client.get_mut().rng = StdRng::seed_from_u64(9);
        assert!(client.get_ref().rng == StdRng::seed_from_u64(9));
        let (mut client, mut server) = (client.into_inner().inner, server.into_inner());
        client.write_all(b"plain").await.unwrap();
        let mut plain = [0; 5];
        server.read_exact(&mut plain).await.unwrap();
        assert_eq!(&plain, b"plain");
    });
}

type Ends = (tokio::task::JoinHandle<Result<(), LoginError>>, tokio::task::JoinHandle<Result<(), LoginError>>);

/// A login on its way, at the client and at the server.
fn start(acceptor: &Acceptor, connector: &Connector) -> Ends {
    let (client, server) = duplex(8192);
    let (acceptor, connector) = (acceptor.clone(), connector.clone());
    let server = tokio::spawn(async move { acceptor.accept(server, Connection::uncounted()).await.map(drop) });
    let client = tokio::spawn(async move { connector.connect(client, ALICE).await.map(drop) });
    (client, server)
}

/// One login computes, one waits, and the third is turned away without having cost an RSA operation.
#[test]
fn logins_past_the_bounds_are_closed_as_busy() {
    run(async {
        let (gate, verifier) = Gate::new();
        let acceptor = asking(verifier).with_bounds(one_at_a_time().with_waiting(1));
        let connector = connector();
        let mut open: Vec<_> = (0..3).map(|_| start(&acceptor, &connector)).collect();
        tokio::task::block_in_place(|| gate.entered.recv().unwrap());
        // Whichever is shed is refused while one computes and one waits.
        let mut busy: Vec<Ends> = Vec::new();
        while busy.is_empty() {
            tokio::task::yield_now().await;
            (busy, open) = open.into_iter().partition(|(_, server)| server.is_finished());
        }
        for (client, server) in busy {
            let error = server.await.unwrap().unwrap_err();
            assert!(matches!(error, LoginError::LoginRefused { reason: Reason::NotNow(_), .. }), "{error:?}");
            let seen = client.await.unwrap().unwrap_err();
            assert!(matches!(seen, LoginError::Disconnected { .. }), "{seen:?}");
        }
        assert_eq!(open.len(), 2);
        gate.go.send(()).unwrap();
        gate.go.send(()).unwrap();
        for (client, server) in open {
            client.await.unwrap().unwrap();
            server.await.unwrap().unwrap();
        }
        assert_eq!(gate.asked(), 2);
    });
}

/// The application may keep all threads that tokio has for blocking work: logins need none of them.
#[test]
fn logins_go_on_where_no_thread_of_tokio_s_is_free_for_blocking_work() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).max_blocking_threads(1).enable_all();
    let (busy, free) = mpsc::channel::<()>();
    runtime.build().unwrap().block_on(async {
        let kept = tokio::task::spawn_blocking(move || free.recv());
        let (client, server) = start(&acceptor(), &connector());
        client.await.unwrap().unwrap();
        server.await.unwrap().unwrap();
        busy.send(()).unwrap();
        kept.await.unwrap().unwrap();
    });
}

/// A verifier that blocks holds up nothing of the runtime's, though that has one thread.
#[test]
fn a_verifier_that_blocks_holds_up_no_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (gate, verifier) = Gate::new();
        let (client, server) = start(&asking(verifier), &connector());
        while gate.asked() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        gate.go.send(()).unwrap();
        client.await.unwrap().unwrap();
        server.await.unwrap().unwrap();
    });
}

#[test]
fn a_refusal_outlives_the_future_that_found_it() {
    run(async {
        let (client, server) = duplex(8192);
        let acceptor = acceptor();
        let connector = connector();
        let wrong = Credential::Password { user: "alice", password: b"wrong" };
        let client = tokio::spawn(async move { connector.connect(client, wrong).await.map(drop).unwrap_err() });
        let refused = acceptor.accept(server, Connection::uncounted()).await.map(drop).unwrap_err();
        assert_eq!(refused.code(), "wrong-password");
        let seen = client.await.unwrap();
        assert!(matches!(seen, LoginError::Protocol(Error::Refused)), "{seen:?}");
    });
}

/// What a server holds for each connection that has sent nothing yet, or no login: the future of its task.
#[test]
fn a_half_open_login_takes_2_kib_and_a_half_beside_its_stream() {
    run(async {
        let (client, server) = duplex(64);
        let (acceptor, connector) = (acceptor(), connector());
        let stream = size_of_val(&server);
        let accept = size_of_val(&acceptor.accept(server, Connection::uncounted()));
        let connect = size_of_val(&connector.connect(client, ALICE));
        println!("accept {accept} bytes, connect {connect} bytes, the stream {stream} of each");
        assert!(accept - stream <= 2560, "{accept}");
        assert!(connect - stream <= 4096, "{connect}");
    });
}

#[test]
fn futures_and_streams_go_from_thread_to_thread() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    run(async {
        let (client, server) = duplex(8192);
        let (acceptor, connector) = (acceptor(), connector());
        let accept = send(acceptor.accept(server, Connection::uncounted()));
        let connect = send(connector.connect(client, ALICE));
        let (client, server) = tokio::join!(connect, accept);
        drop((send(client.unwrap()), send(server.unwrap())));
    });
}

/// Always ready: a hello, and then zeros without end.
struct Talkative(Vec<u8>);

impl AsyncRead for Talkative {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.0.len().min(out.remaining());
        let piece: Vec<u8> = self.0.drain(..count).collect();
        out.put_slice(if piece.is_empty() { &[0; 1] } else { &piece });
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Talkative {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_peer_that_always_has_something_to_say_is_left_all_the_same() {
    run(async {
        let acceptor = acceptor().with_limiter(|_, _| Err(Reason::NotAdmitted("not today")));
        let (hello, _) = crate::support::Scenario::new().await_challenge();
        let told = acceptor.accept(Talkative(hello), Connection::uncounted()).await.map(drop).unwrap_err();
        assert_eq!(told.code(), "not-admitted");
    });
}

/// Takes whatever is written, and is done with none of it once it is stuck: it then tells that somebody waits.
struct Sticking(DuplexStream, Option<tokio::sync::mpsc::UnboundedSender<()>>);

impl AsyncRead for Sticking {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, out)
    }
}

impl Sticking {
    fn ready(&self) -> Poll<()> {
        self.1.as_ref().map_or(Poll::Ready(()), |waits| {
            waits.send(()).unwrap();
            Poll::Pending
        })
    }
}

impl AsyncWrite for Sticking {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ready().map(Ok)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ready().map(Ok)
    }
}

/// A login at an acceptor that can end its session.
async fn revocable<S>(server: S, client: DuplexStream) -> (Acceptor, Stream<DuplexStream>, Stream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (acceptor, connector) = (acceptor(), connector());
    let (client, server) =
        tokio::join!(connector.connect(client, ALICE), acceptor.accept(server, Connection::uncounted()));
    (acceptor, client.unwrap(), server.unwrap())
}

#[test]
fn a_flush_or_a_shutdown_that_waits_for_the_transport_ends_with_the_session() {
    run(async {
        for shuts_down in [false, true] {
            let (client, server) = duplex(1 << 16);
            let (acceptor, _client, mut server) = revocable(Sticking(server, None), client).await;
            let (waits, mut waiting) = tokio::sync::mpsc::unbounded_channel();
            server.get_mut().1 = Some(waits);
            let task =
                tokio::spawn(async move { if shuts_down { server.shutdown().await } else { server.flush().await } });
            waiting.recv().await.unwrap();
            assert_eq!(acceptor.revoke("alice"), 1);
            assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
    });
}

/// Whoever is told that all went well would rely on what has never left.
#[test]
fn a_shutdown_of_a_session_that_was_ended_or_is_broken_says_so_and_shuts_the_transport_down() {
    run(async {
        let (client, server) = duplex(700);
        let (acceptor, mut client, mut server) = revocable(server, client).await;
        assert_eq!(server.write(&[7; 1000]).await.unwrap(), 1000, "sealed, and not all of it sent");
        assert_eq!(acceptor.revoke("alice"), 1);
        assert_eq!(server.shutdown().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        let ended = client.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::UnexpectedEof);
        drop(server);

        let (client, server) = duplex(700);
        let (_, client, mut server) = revocable(server, client).await;
        let mut client = client.into_inner();
        client.write_all(b"no record").await.unwrap();
        assert!(server.read(&mut [0]).await.is_err());
        assert_eq!(server.shutdown().await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(server);
    });
}
