//! What those who do nothing hold: half-open logins and idle sessions over tokio, heap bytes counted by the allocator.

#![cfg(all(any(feature = "rustcrypto", feature = "aws-lc"), feature = "tokio"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/heap.rs"]
mod heap;
mod support;

use countersign::{Acceptor, Bounds, ClientConfig, Connector, Context, ServerConfig, Stream};
use heap::{held, measure};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use support::{ALICE, RSA2048, Scenario, provider, verifier};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// One thread, whose memory is counted.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// With the patience that a loaded machine needs: who is told that the server is busy holds something else.
fn acceptor() -> Acceptor {
    let config = ServerConfig::new(provider()).with_handshake_timeout(Duration::from_secs(3600));
    let bounds = Bounds::default().with_patience(Duration::from_secs(3600));
    Acceptor::new(config, RSA2048.server.clone(), verifier).with_bounds(bounds)
}

/// Asks once for something that has not come.
async fn find_nothing(stream: &mut Stream<TcpStream>) {
    let mut room = [0];
    poll_fn(|task| {
        assert!(Pin::new(&mut *stream).poll_read(task, &mut ReadBuf::new(&mut room)).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn an_idle_stream_holds_no_buffer_and_no_key() {
    run(async {
        let (client, server) = pair().await;
        let (acceptor, connector) = (acceptor(), Connector::new(ClientConfig::new(provider()), RSA2048.trust()));
        let (client, server) =
            tokio::join!(connector.connect(client, ALICE), acceptor.accept(server, Context::uncounted()));
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        find_nothing(&mut client).await;
        find_nothing(&mut server).await;
        let idle = held();
        for _ in 0..3 {
            for (from, to) in [(&mut client, &mut server)] {
                let writing = async { from.write_all(&[7; 100_000]).await.unwrap() };
                let mut out = vec![0; 100_000];
                let reading = async { to.read_exact(&mut out).await.map(drop).unwrap() };
                tokio::join!(writing, reading);
                from.flush().await.unwrap();
            }
            server.write_all(b"an answer").await.unwrap();
            client.read_exact(&mut [0; 9]).await.unwrap();
            assert!(held() > idle, "in use they hold keys at least");
            find_nothing(&mut client).await;
            find_nothing(&mut server).await;
            assert_eq!(held(), idle);
        }
        // And go on as if nothing had been.
        client.write_all(b"still here").await.unwrap();
        server.read_exact(&mut [0; 10]).await.unwrap();
    });
}

#[test]
fn a_half_open_login_holds_its_future_and_next_to_nothing_beside_it() {
    const MANY: usize = 64;
    run(async {
        let acceptor = acceptor();
        let hellos = [Scenario::new(), Scenario::new().known_key()].map(|scenario| scenario.await_challenge().0);
        for hello in [None, Some(&hellos[0]), Some(&hellos[1])] {
            let says_hello = hello.is_some();
            let mut pairs = Vec::new();
            for _ in 0..MANY {
                pairs.push(pair().await);
            }
            let mut clients = Vec::new();
            let mut waiting = Vec::with_capacity(MANY);
            let mut future = 0;
            for (mut client, server) in pairs {
                if let Some(hello) = hello {
                    client.write_all(hello).await.unwrap();
                }
                clients.push(client);
                let ((), bytes, _) = measure(|| waiting.push(Box::pin(acceptor.accept(server, Context::uncounted()))));
                future = bytes;
                assert!(bytes <= 2560 + 64, "a future of {bytes} bytes");
            }
            // With a timer, a row in the table of places, and what the challenge is made under.
            let mut answered = vec![!says_hello; MANY];
            for round in 0.. {
                for login in &mut waiting {
                    let polled = poll_fn(|task| Poll::Ready(login.as_mut().poll(task))).await;
                    assert!(polled.is_pending());
                }
                tokio::task::yield_now().await;
                for (client, answered) in clients.iter().zip(&mut answered) {
                    *answered |= client.try_read(&mut [0]).is_ok();
                }
                if answered.iter().all(|answered| *answered) {
                    break;
                }
                assert!(round < 100_000, "no challenge came");
            }
            assert_eq!(acceptor.counts().handshakes, MANY);
            // What is given back with them; the RSA operations were another thread's, which freed what was allocated here.
            let waited = held();
            drop(waiting);
            let each = (waited - held()) / isize::try_from(MANY).unwrap() - future;
            println!("hello: {says_hello}: {each} bytes on the heap beside the future of {future}");
            assert!(each <= 1024, "{each}");
            assert_eq!(acceptor.counts().handshakes, 0);
        }
    });
}
