//! How do I speak HTTP over it? hyper's server and client over the stream, and permissions where the handlers are.
//!
//! ```text
//! cargo run --features tokio --example hyper_service
//! ```
//!
//! Who somebody is belongs to the connection, and so to every request over it: no headers, no cookies. The client keeps
//! connections alive in hyper's pool; one that is dropped with the pool ends cleanly at the server, and makes no noise there.

use countersign::PrivateKey;
use countersign::crypto::rustcrypto;
use countersign::{
    Acceptor, AccountVerifier, Accounts, ClientConfig, ClosingStream, Connector, Credential, CurrentGrant, Forbidden,
    KeySize,
};
use countersign::{Server, ServerConfig, ServerKey, Stream};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::RwLock;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

// The server.

/// One session, from the login to its end.
async fn serve(session: Stream<TcpStream>) -> hyper::Result<()> {
    let grant = session.current_grant();
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&grant, request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(answer.unwrap_or_else(forbidden)))
    });
    http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(session), service).await
}

/// One request of whoever is granted this now: what was sent before the session was ended, and read only after that, is refused.
fn answer(grant: &CurrentGrant, method: &Method, path: &str) -> Result<Response<Full<Bytes>>, Forbidden> {
    let (status, body) = match (method, path) {
        (&Method::GET, "/orders") => {
            grant.require("orders:read")?;
            (StatusCode::OK, format!("orders for {}", grant.get().principal()))
        }
        (&Method::POST, "/orders") => {
            grant.require("orders:write")?;
            (StatusCode::CREATED, "ordered".to_owned())
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    Ok(answer)
}

fn forbidden(error: Forbidden) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(error.to_string()));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    answer
}

// The client.

/// Makes the connections of hyper's client: logs in.
#[derive(Clone)]
struct LoggedIn {
    connector: Connector,
    address: SocketAddr,
}

impl Service<Uri> for LoggedIn {
    type Response = LoggedInStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<LoggedInStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Always the same server: which one that is, its key says, and not the address.
    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { connector, address } = self.clone();
        Box::pin(async move {
            let alice = Credential::Password { user: "alice", password: b"correct horse" };
            let session = connector.connect(TcpStream::connect(address).await?, alice).await?;
            Ok(LoggedInStream(TokioIo::new(session.closing_on_drop())))
        })
    }
}

/// The stream, as hyper wants it.
struct LoggedInStream(TokioIo<ClosingStream<TcpStream>>);

impl Connection for LoggedInStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for LoggedInStream {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, out: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(task, out)
    }
}

impl Write for LoggedInStream {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(task)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let mut accounts = Accounts::new();
    accounts.add("alice", ["orders:read"])?;
    accounts.edit("alice", |account| account.set_password(b"correct horse"))?;
    let verifier = AccountVerifier::new(RwLock::new(accounts));
    let acceptor = Acceptor::new_async(ServerConfig::new(provider), ServerKey::load(&key, provider)?, verifier);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // How each session ended: the server's log.
    let (log, mut ended) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let (acceptor, log) = (acceptor.clone(), log.clone());
            tokio::spawn(async move {
                // hyper's client may begin a second login that it turns out not to need, and drop it.
                if let Ok(session) = acceptor.accept(stream, peer).await {
                    let _ = log.send(serve(session).await);
                }
            });
        }
    });

    let connector = Connector::new(ClientConfig::new(provider), Server::pinned(key.public_key().id()));
    // A program of its own, so to say: it ends with a connection in its pool.
    std::thread::spawn(move || tokio::runtime::Runtime::new()?.block_on(run_client(LoggedIn { connector, address })))
        .join()
        .map_err(|_| "the client panicked")??;
    let end = tokio::time::timeout(Duration::from_secs(10), ended.recv()).await?.ok_or("the server is gone")?;
    assert!(end.is_ok(), "no noise in the server's log: {end:?}");
    while let Ok(end) = ended.try_recv() {
        assert!(end.is_ok(), "no noise in the server's log: {end:?}");
    }
    println!("alice reads orders, may not write them, and her connection ends cleanly");
    Ok(())
}

async fn run_client(logged_in: LoggedIn) -> Result<(), Box<dyn Error + Send + Sync>> {
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(logged_in);
    let ask = async |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(format!("http://orders.example{path}"));
        let answer = client.request(request.body(Empty::new())?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok::<_, Box<dyn Error + Send + Sync>>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    assert_eq!(ask(Method::GET, "/orders").await?, (StatusCode::OK, "orders for alice".to_owned()));
    let (status, why) = ask(Method::POST, "/orders").await?;
    assert_eq!((status, why.as_str()), (StatusCode::FORBIDDEN, "you need the permission orders:write for this"));
    Ok(())
}
