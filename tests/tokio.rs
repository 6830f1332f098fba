//! The tokio adapter, over real sockets and over pipes that give and take as little as they can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]
#![cfg(feature = "tokio")]

#[path = "support/provider.rs"]
mod provider;

use countersign::server::{Claim, Open, Refusal};
use countersign::tokio::{Acceptor, Arrival, Bounds, Error, Stream, connect};
use countersign::{
    ChannelBinding, ClientConfig, Credential, Grant, PrivateKey, Reason, RecordError, ServerConfig, ServerKey,
    ServerTrust, Verifier, blocking,
};
use provider::provider;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const ALICE: Credential<'static> = Credential::Password { user: "alice", password: b"correct horse" };

fn verify(credential: Credential<'_>) -> Result<Grant, Reason> {
    match credential {
        Credential::Password { user: "alice", password: b"correct horse" } => {
            Ok(Grant::new("alice", ["read"]).unwrap())
        }
        Credential::Password { user: "alice", .. } => Err(Reason::WrongPassword),
        _ => Err(Reason::UnknownUser),
    }
}

fn key() -> PrivateKey {
    PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap()
}

fn trust() -> ServerTrust {
    ServerTrust::pin(key().public_key().id())
}

fn server_config() -> ServerConfig {
    ServerConfig::new(provider()).with_refusal_floor(Duration::ZERO)
}

fn client_config() -> Arc<ClientConfig> {
    Arc::new(ClientConfig::new(provider()))
}

fn acceptor() -> Acceptor {
    acceptor_with(server_config(), verify)
}

fn acceptor_with(config: ServerConfig, verifier: impl Verifier + Send + Sync + 'static) -> Acceptor {
    Acceptor::new(config, ServerKey::load(&key(), provider()).unwrap(), verifier)
}

async fn login<C, S>(client: C, server: S) -> (Stream<C>, Stream<S>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (acceptor, config, trust, none) = (acceptor(), client_config(), trust(), ChannelBinding::none());
    let (client, server) = tokio::join!(connect(client, &config, &none, &trust, ALICE), acceptor.accept(server, &none));
    (client.unwrap(), server.unwrap())
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (client.unwrap(), server.unwrap().0)
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
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
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
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.balks(context) {
            return Poll::Pending;
        }
        let count = self.some().min(bytes.len());
        Pin::new(&mut self.inner).poll_write(context, &bytes[..count])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
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

#[tokio::test]
async fn bytes_cross_both_ways_at_once_over_a_transport_that_splits_and_stalls() {
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
}

#[tokio::test]
async fn a_cancelled_read_loses_no_byte() {
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
}

#[tokio::test]
async fn a_cancelled_write_is_sent_whole_or_not_at_all() {
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
}

#[tokio::test]
async fn after_a_shutdown_the_other_direction_goes_on() {
    let (client, server) = tcp().await;
    let (mut client, mut server) = login(client, server).await;
    client.write_all(b"that is all").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(client.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    let mut read = String::new();
    server.read_to_string(&mut read).await.unwrap();
    server.write_all(b"not for me").await.unwrap();
    server.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!((read.as_str(), answer.as_str()), ("that is all", "not for me"));
}

#[tokio::test]
async fn a_peer_that_vanishes_is_told_from_a_close() {
    let (client, server) = tcp().await;
    let (mut client, mut server) = login(client, server).await;
    client.write_all(b"half a sent").await.unwrap();
    client.flush().await.unwrap();
    drop(client);
    let mut read = Vec::new();
    let error = server.read_to_end(&mut read).await.unwrap_err();
    assert_eq!((read.as_slice(), error.kind()), (&b"half a sent"[..], ErrorKind::UnexpectedEof));
    let inner = error.into_inner().unwrap().downcast::<countersign::Error>().unwrap();
    assert_eq!(*inner, RecordError::Truncated.into());
    // And it stays that way.
    assert_eq!(server.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_reader_that_never_reads_holds_the_writer_back() {
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
}

#[tokio::test]
async fn a_key_update_goes_unnoticed_by_the_reader() {
    let (client, server) = duplex(4096);
    let (mut client, mut server) = login(client, server).await;
    client.write_all(b"before ").await.unwrap();
    client.update_key().unwrap();
    client.write_all(b"after").await.unwrap();
    client.shutdown().await.unwrap();
    let mut read = String::new();
    server.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "before after");
}

#[tokio::test]
async fn framed_and_line_protocols_run_over_it_unchanged() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_util::codec::{Framed, LinesCodec};
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
}

#[tokio::test]
async fn a_refusal_arrives_and_each_side_gets_its_own_reason() {
    let (client, server) = tcp().await;
    let (acceptor, config, trust, none) = (acceptor(), client_config(), trust(), ChannelBinding::none());
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    let (client, server) = tokio::join!(connect(client, &config, &none, &trust, wrong), acceptor.accept(server, &none));
    assert!(matches!(client.unwrap_err(), Error::Protocol(countersign::Error::Refused)));
    let Error::LoginRefused { user, reason } = server.unwrap_err() else { panic!("refused") };
    assert_eq!((user.as_deref(), reason), (Some("alice"), Reason::WrongPassword));
}

#[tokio::test]
async fn a_frame_of_another_type_is_answered_with_the_refusal() {
    let (mut client, server) = duplex(8192);
    let server = tokio::spawn(async move { acceptor().accept(server, &ChannelBinding::none()).await });
    let config = client_config();
    let mut rng = StdRng::seed_from_u64(9);
    let now = countersign::Moment::ORIGIN;
    let (hello, _) = countersign::client::start(&config, &ChannelBinding::none(), &[], &mut rng, now).unwrap();
    client.write_all(&hello).await.unwrap();
    let mut header = [0; 3];
    client.read_exact(&mut header).await.unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
    client.read_exact(&mut body).await.unwrap();
    client.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer.len(), answer[0]), (1555, 4));
    assert!(matches!(server.await.unwrap().unwrap_err(), Error::LoginRefused { reason: Reason::Malformed(_), .. }));
}

#[tokio::test]
async fn a_silent_peer_meets_the_deadline_on_either_side() {
    let short = Duration::from_millis(20);
    let passed = |error: Error| matches!(error, Error::Protocol(countersign::Error::DeadlinePassed));
    let (_silent, server) = duplex(64);
    let acceptor = acceptor_with(server_config().with_handshake_timeout(short), verify);
    assert!(passed(acceptor.accept(server, &ChannelBinding::none()).await.unwrap_err()));
    let (_silent, client) = duplex(4096);
    let config = Arc::new(ClientConfig::new(provider()).with_handshake_timeout(short));
    assert!(passed(connect(client, &config, &ChannelBinding::none(), &trust(), ALICE).await.unwrap_err()));
}

/// A verifier that says when it begins, waits until it may go on, and keeps count of how many are at it at once.
fn held(
    most: Arc<AtomicUsize>,
) -> (impl Verifier + Send + Sync + 'static, tokio::sync::mpsc::UnboundedReceiver<()>, mpsc::Sender<()>) {
    let (entered, is_in) = tokio::sync::mpsc::unbounded_channel();
    let (go, may_go) = mpsc::channel::<()>();
    let (may_go, inside) = (std::sync::Mutex::new(may_go), AtomicUsize::new(0));
    let verifier = move |credential: Credential<'_>| {
        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        entered.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        inside.fetch_sub(1, Ordering::SeqCst);
        verify(credential)
    };
    (verifier, is_in, go)
}

fn bounded(bounds: Bounds, verifier: impl Verifier + Send + Sync + 'static) -> Acceptor {
    Acceptor::with_bounds(server_config(), ServerKey::load(&key(), provider()).unwrap(), verifier, bounds)
}

fn one_at_a_time() -> Bounds {
    Bounds::default().with_working(1).with_patience(Duration::from_secs(3600))
}

type Ends = (tokio::task::JoinHandle<Result<(), Error>>, tokio::task::JoinHandle<Result<(), Error>>);

/// A login on its way, at the client and at the server.
fn start(acceptor: &Acceptor) -> Ends {
    let (client, server) = duplex(8192);
    let acceptor = acceptor.clone();
    let server = tokio::spawn(async move { acceptor.accept(server, &ChannelBinding::none()).await.map(drop) });
    let client = tokio::spawn(async move {
        connect(client, &client_config(), &ChannelBinding::none(), &trust(), ALICE).await.map(drop)
    });
    (client, server)
}

/// One login computes, one waits, and the third is turned away without having cost an RSA operation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_past_the_bounds_are_refused_as_busy() {
    let most = Arc::new(AtomicUsize::new(0));
    let (verifier, mut is_in, go) = held(most.clone());
    let acceptor = bounded(one_at_a_time().with_waiting(1), verifier);
    let mut open = vec![start(&acceptor), start(&acceptor), start(&acceptor)];
    is_in.recv().await.unwrap();
    // Whichever comes third is refused while one computes and one waits.
    let mut busy: Vec<Ends> = Vec::new();
    while busy.is_empty() {
        tokio::task::yield_now().await;
        (busy, open) = open.into_iter().partition(|(_, server)| server.is_finished());
    }
    for (client, server) in busy {
        let Error::LoginRefused { reason, .. } = server.await.unwrap().unwrap_err() else { panic!("refused") };
        assert!(matches!(reason, Reason::NotAdmitted(_)));
        let seen = client.await.unwrap().unwrap_err();
        assert!(matches!(seen, Error::Protocol(countersign::Error::VerdictNotAuthentic)));
    }
    assert_eq!(open.len(), 2);
    go.send(()).unwrap();
    go.send(()).unwrap();
    for (client, server) in open {
        client.await.unwrap().unwrap();
        server.await.unwrap().unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_would_wait_too_long_is_refused_as_busy() {
    let (verifier, mut is_in, go) = held(Arc::default());
    let acceptor = bounded(one_at_a_time().with_patience(Duration::ZERO), verifier);
    let (client, server) = start(&acceptor);
    is_in.recv().await.unwrap();
    let (turned_away, refused) = start(&acceptor);
    let Error::LoginRefused { reason, .. } = refused.await.unwrap().unwrap_err() else { panic!("refused") };
    assert!(matches!(reason, Reason::NotAdmitted(_)));
    turned_away.await.unwrap().unwrap_err();
    go.send(()).unwrap();
    client.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_login_after_the_other_is_never_too_many() {
    let acceptor = bounded(one_at_a_time().with_waiting(0), verify);
    for _ in 0..40 {
        let (client, server) = start(&acceptor);
        client.await.unwrap().unwrap();
        server.await.unwrap().unwrap();
    }
}

/// The application keeps all threads that tokio has for blocking work.
#[test]
fn a_login_is_refused_when_no_thread_is_free_in_time_and_served_when_one_is() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).max_blocking_threads(1).enable_all();
    let (busy, free) = mpsc::channel::<()>();
    runtime.build().unwrap().block_on(async {
        let kept = tokio::task::spawn_blocking(move || free.recv());
        // Time enough for a login to arrive, on any machine; then it is waited out.
        let config = server_config().with_handshake_timeout(Duration::from_secs(3));
        let bounds = Bounds::default().with_working(1).with_patience(Duration::ZERO);
        let key = ServerKey::load(&key(), provider()).unwrap();
        let acceptor = Acceptor::with_bounds(config, key, verify, bounds);
        let (client, server) = start(&acceptor);
        let refused = server.await.unwrap().unwrap_err();
        assert!(matches!(refused, Error::LoginRefused { reason: Reason::NotAdmitted(_), .. }), "{refused:?}");
        client.await.unwrap().unwrap_err();
        busy.send(()).unwrap();
        kept.await.unwrap().unwrap();
        let (client, server) = start(&acceptor);
        client.await.unwrap().unwrap();
        server.await.unwrap().unwrap();
    });
}

#[tokio::test]
async fn a_handshake_past_the_bound_is_told_nothing_and_a_dropped_one_gives_its_place_back() {
    let acceptor = bounded(Bounds::default().with_handshakes(1), verify);
    let (_silent, theirs) = duplex(8192);
    let holder = acceptor.clone();
    let none = ChannelBinding::none();
    let mut first = Box::pin(holder.accept(theirs, &none));
    // Polled once, it has its place and waits for the hello.
    tokio::select! {
        biased;
        _ = &mut first => panic!("nobody said hello"),
        () = std::future::ready(()) => {}
    }
    let (mut ours, theirs) = duplex(8192);
    let busy = acceptor.accept(theirs, &ChannelBinding::none()).await;
    assert!(matches!(busy, Err(Error::Busy)), "{busy:?}");
    let mut told = Vec::new();
    ours.read_to_end(&mut told).await.unwrap();
    assert_eq!(told, b"");
    drop(first);
    let (client, server) = start(&acceptor);
    client.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
}

/// A queue beside the acceptor opens the logins; here it takes them two at a time.
#[tokio::test]
async fn the_rsa_operation_may_be_done_elsewhere_and_later() {
    let private = provider().rsa.load_key(&key()).unwrap();
    let server_key = ServerKey::public_only(key().public_key().clone());
    let acceptor = Acceptor::new(server_config(), server_key, verify);
    let (queue, mut waiting) =
        tokio::sync::mpsc::unbounded_channel::<(Open, oneshot::Sender<Result<Claim, Refusal>>)>();
    let worker = tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(1);
        let mut batches = 0;
        loop {
            let mut batch = Vec::new();
            while batch.len() < 2 {
                let Some(next) = waiting.recv().await else { return batches };
                batch.push(next);
            }
            batches += 1;
            let opened: Vec<_> = batch.iter().map(|(open, _)| private.decrypt(open.ciphertext(), &mut rng)).collect();
            for ((open, answer), decrypted) in batch.into_iter().zip(opened) {
                let _ = answer.send(Ok(open.answer(decrypted)));
            }
        }
    });
    let login = |credential: Credential<'static>, full: bool| {
        let (acceptor, queue) = (acceptor.clone(), queue.clone());
        let (client, server) = duplex(8192);
        let server = tokio::spawn(async move {
            let key = |_: &str| Some(ServerKey::public_only(key().public_key().clone()));
            let Arrival::Login(login) = acceptor.receive(server, &ChannelBinding::none(), key).await? else {
                panic!("no ticket was shown");
            };
            let open = |open: Open| async move {
                if full {
                    return Err(open.refuse(Reason::NotAdmitted("the queue is full")));
                }
                let (answer, answered) = oneshot::channel();
                assert!(queue.send((open, answer)).is_ok());
                answered.await.unwrap()
            };
            login.verify_with(open).await.map(drop)
        });
        let client = tokio::spawn(async move {
            connect(client, &client_config(), &ChannelBinding::none(), &trust(), credential).await.map(drop)
        });
        async move { (client.await.unwrap(), server.await.unwrap()) }
    };
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    let (good, bad, full) = tokio::join!(login(ALICE, false), login(wrong, false), login(ALICE, true));
    assert!(good.0.is_ok() && good.1.is_ok());
    assert!(matches!(bad.0, Err(Error::Protocol(countersign::Error::Refused))), "{:?}", bad.0);
    assert!(matches!(bad.1, Err(Error::LoginRefused { reason: Reason::WrongPassword, .. })));
    assert!(matches!(full.0, Err(Error::Protocol(countersign::Error::VerdictNotAuthentic))));
    assert!(matches!(full.1, Err(Error::LoginRefused { reason: Reason::NotAdmitted(_), .. })));
    drop(queue);
    assert_eq!(worker.await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_dropped_while_it_computes_gives_its_turn_back() {
    let (verifier, mut is_in, go) = held(Arc::default());
    let acceptor = bounded(one_at_a_time().with_waiting(1), verifier);
    let (_, dropped) = start(&acceptor);
    is_in.recv().await.unwrap();
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let (client, server) = start(&acceptor);
    go.send(()).unwrap();
    go.send(()).unwrap();
    client.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_blocking_client_and_a_tokio_server_understand_each_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let stream = std::net::TcpStream::connect(address).unwrap();
        let mut session =
            blocking::connect(stream, &client_config(), &ChannelBinding::none(), &trust(), ALICE).unwrap();
        session.write_all(b"ping").unwrap();
        session.close().unwrap();
        let mut answer = String::new();
        session.read_to_string(&mut answer).unwrap();
        (session.id(), answer)
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut session = acceptor().accept(stream, &ChannelBinding::none()).await.unwrap();
    let mut read = String::new();
    session.read_to_string(&mut read).await.unwrap();
    session.write_all(b"pong").await.unwrap();
    session.shutdown().await.unwrap();
    assert_eq!((session.id(), "pong".to_owned()), client.join().unwrap());
    assert_eq!(read, "ping");
}
