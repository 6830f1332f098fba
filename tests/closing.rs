//! A stream that closes when it is dropped: what the other end reads, and when it must still read a cut.

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "tokio"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, missing_docs)]

mod support;

use countersign::{Acceptor, ClientConfig, Connector, ServerConfig, Source, Stream};
use std::io::ErrorKind;
use std::task::{Context, Poll, Waker};
use support::{ALICE, RSA2048, provider, verifier};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::coop;

fn acceptor() -> Acceptor {
    Acceptor::new(ServerConfig::new(provider()), RSA2048.server.clone(), verifier)
}

fn connector() -> Connector {
    Connector::new(ClientConfig::new(provider()), RSA2048.trust())
}

async fn log_in<S>(client: S, server: S) -> (Stream<S>, Stream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connector = Connector::new(ClientConfig::new(provider()), RSA2048.trust());
    let acceptor = Acceptor::new(ServerConfig::new(provider()), RSA2048.server.clone(), verifier);
    let (client, server) = tokio::join!(connector.connect(client, ALICE), acceptor.accept(server, Source::uncounted()));
    (client.unwrap(), server.unwrap())
}

async fn pair() -> (Stream<DuplexStream>, Stream<DuplexStream>) {
    let (client, server) = duplex(8192);
    log_in(client, server).await
}

/// What the other end reads to its end.
async fn rest(mut stream: impl AsyncRead + Unpin) -> Result<Vec<u8>, ErrorKind> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.map(|_| read).map_err(|error| error.kind())
}

#[tokio::test]
async fn the_other_end_reads_a_clean_end_after_the_drop_of_an_idle_stream() {
    let (client, server) = pair().await;
    let mut client = client.closing_on_drop();
    client.write_all(b"last words").await.unwrap();
    client.flush().await.unwrap();
    drop(client);
    assert_eq!(rest(server).await.unwrap(), b"last words");
    // Without it, a drop is a cut.
    let (client, server) = pair().await;
    drop(client);
    assert_eq!(rest(server).await, Err(ErrorKind::UnexpectedEof));
    let (client, server) = pair().await;
    drop(client.closing_on_drop().into_inner());
    assert_eq!(rest(server).await, Err(ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn over_a_socket_also_from_a_task_that_has_used_its_turn_up_and_from_no_task_at_all() {
    for from_a_task in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (client, server) = log_in(client.unwrap(), server.unwrap().0).await;
        let client = client.closing_on_drop();
        if from_a_task {
            // More than a task may do before it is asked to yield: from then on tokio's own sockets are not ready.
            let mut task = Context::from_waker(Waker::noop());
            while let Poll::Ready(spent) = coop::poll_proceed(&mut task) {
                spent.made_progress();
            }
            drop(client);
        } else {
            std::thread::spawn(move || drop(client)).join().unwrap();
        }
        assert_eq!(rest(server).await, Ok(Vec::new()), "from a task: {from_a_task}");
    }
}

/// As when a program ends while its pool still holds connections.
#[test]
fn the_other_end_reads_a_clean_end_after_the_runtime_is_gone() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (ours, theirs) = (runtime(), runtime());
    let (listener, address) = theirs.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    });
    let server = theirs.spawn(async move {
        let acceptor = acceptor();
        let (stream, peer) = listener.accept().await.unwrap();
        rest(acceptor.accept(stream, peer).await.unwrap()).await
    });
    ours.block_on(async {
        let client = connector().connect(TcpStream::connect(address).await.unwrap(), ALICE).await.unwrap();
        let client = client.closing_on_drop();
        tokio::spawn(async move {
            let _client = client;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
    });
    drop(ours);
    assert_eq!(theirs.block_on(server).unwrap(), Ok(Vec::new()));
}

/// Half of an answer must not look like a whole one.
#[tokio::test]
async fn the_other_end_reads_a_cut_after_a_panic() {
    let (client, server) = pair().await;
    let mut client = client.closing_on_drop();
    let panicked = tokio::spawn(async move {
        client.write_all(b"the first half, and").await.unwrap();
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(rest(server).await, Err(ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn the_other_end_reads_a_cut_where_bytes_were_still_on_their_way() {
    let (client, server) = pair().await;
    let mut client = client.closing_on_drop();
    // More than the transport takes: the rest waits for a flush that never comes.
    assert_eq!(client.write(&[7; 30_000]).await.unwrap(), 30_000);
    drop(client);
    assert_eq!(rest(server).await, Err(ErrorKind::UnexpectedEof));

    // Also where there is room for the rest by then.
    let (client, mut server) = pair().await;
    let mut client = client.closing_on_drop();
    assert_eq!(client.write(&[7; 4000]).await.unwrap(), 4000);
    assert_eq!(client.write(&[7; 6000]).await.unwrap(), 6000);
    server.read_exact(&mut [0; 4000]).await.unwrap();
    drop(client);
    assert_eq!(rest(server).await, Err(ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn a_stream_that_was_shut_down_says_nothing_twice_and_reads_on() {
    let (client, mut server) = pair().await;
    let mut client = client.closing_on_drop();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut question = Vec::new();
    server.read_to_end(&mut question).await.unwrap();
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!((question.as_slice(), answer.as_slice()), (b"question".as_slice(), b"answer".as_slice()));
    assert_eq!(client.get_ref().grant().principal(), "alice");
    drop(client);
    assert_eq!(rest(server).await, Ok(Vec::new()));
}
