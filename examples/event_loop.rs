//! How do I use countersign in an event loop of my own, with the key in a module that answers later?
//!
//! One thread serves every connection over non-blocking sockets with `mio`; a second stands for a hardware module. No runtime
//! and no thread per connection: the login of each is a future that the loop polls when its socket is ready, when the module
//! has answered, or when its time is over. Afterwards the stream is read and written like the socket itself, and the loop is woken for
//! one whose user has been removed.
//!
//! Run it: `cargo run --example event_loop`. It serves, logs in to itself, and ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::arithmetic_side_effects, missing_docs)]

use countersign::blocking::Stopper;
use countersign::crypto::{Decrypted, Decrypting, RemoteDecrypt, rng, rustcrypto};
use countersign::{Acceptor, Attempt, ClientConfig, Connector, Credential, Grant, Link, LoginError, Moment};
use countersign::{PrivateKey, Reason, Server, ServerConfig, ServerKey, Stream};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

type Poll2<T> = std::task::Poll<T>;

/// A `mio` socket as the login sees it. The loop polls again whenever the socket is ready or [`Socket::next`] has come.
struct Socket {
    stream: TcpStream,
    start: Instant,
    deadline: Moment,
    next: Arc<Mutex<Moment>>,
    /// Wakes the loop for this connection.
    waker: Waker,
}

impl Socket {
    /// Not ready: the loop is to come back when the socket is, or at this moment.
    fn later<T>(&self, moment: Moment) -> Poll2<T> {
        let mut next = self.next.lock().expect("no panic while it is held");
        *next = moment.min(*next);
        Poll2::Pending
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut TcpStream) -> io::Result<T>) -> Poll2<io::Result<T>> {
        if self.now() >= self.deadline {
            return Poll2::Ready(Err(ErrorKind::TimedOut.into()));
        }
        match call(&mut self.stream) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.later(self.deadline),
            done => Poll2::Ready(done),
        }
    }
}

impl Link for Socket {
    type Stream = TcpStream;

    fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }

    fn set_deadline(&mut self, deadline: Moment) {
        self.deadline = deadline;
    }

    fn poll_read(&mut self, _: &mut Context<'_>, room: &mut [u8]) -> Poll2<io::Result<usize>> {
        self.call(|stream| stream.read(room))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll2<io::Result<usize>> {
        self.call(|stream| stream.write(bytes))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll2<io::Result<()>> {
        self.call(TcpStream::flush)
    }

    fn poll_end_sending(&mut self, _: &mut Context<'_>) -> Poll2<io::Result<()>> {
        self.call(|stream| stream.shutdown(std::net::Shutdown::Write))
    }

    fn poll_wait(&mut self, _: &mut Context<'_>, moment: Moment) -> Poll2<()> {
        if self.now() >= moment { Poll2::Ready(()) } else { self.later(moment) }
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll2<()> {
        match self.stream.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll2::Pending,
            _ => Poll2::Ready(()),
        }
    }

    fn stopper(&mut self) -> io::Result<Option<Stopper>> {
        let waker = self.waker.clone();
        Ok(Some(Stopper::new(move |_| waker.wake_by_ref())))
    }

    fn into_stream(self) -> io::Result<TcpStream> {
        Ok(self.stream)
    }
}

/// What the module is asked, and where its answer goes.
type Question = (Vec<u8>, futures_channel::oneshot::Sender<Decrypted>);

/// A module behind a queue, which opens one login at a time.
struct Module(Sender<Question>);

impl RemoteDecrypt for Module {
    fn decrypt(&self, ciphertext: Vec<u8>) -> Decrypting {
        let (answer, answered) = futures_channel::oneshot::channel();
        // A module that is gone answers nothing, which is a failure like any other.
        let _ = self.0.send((ciphertext, answer));
        Box::pin(async { answered.await.unwrap_or_else(|_| Decrypted::failed()) })
    }
}

fn module(key: &PrivateKey, questions: &Receiver<Question>) {
    let provider = rustcrypto::provider();
    let private = provider.rsa.load_key(key).expect("a key of the example's own");
    let mut rng = rng().expect("the system has randomness");
    for (ciphertext, answer) in questions {
        let _ = answer.send(private.decrypt(&ciphertext, &mut rng));
    }
}

/// Wakes the loop, and tells it for whom.
struct Ready(Arc<mio::Waker>, Sender<Token>, Token);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        let _ = self.1.send(self.2);
        let _ = self.0.wake();
    }
}

type Login = Pin<Box<dyn Future<Output = Result<Stream<TcpStream>, LoginError>>>>;

/// A connection, before and after its login.
enum Connection {
    Login(Login, Arc<Mutex<Moment>>, Instant),
    Session(Box<Stream<TcpStream>>),
}

fn verify(attempt: &Attempt<'_>) -> Result<Grant, Reason> {
    match attempt.credential() {
        Credential::Password { user: "alice", password: b"correct horse" } => {
            Grant::new("alice", ["read"]).map_err(|_| Reason::NotNow("no grant"))
        }
        _ => Err(Reason::UnknownUser),
    }
}

/// Serves until a session has ended.
fn serve(mut listener: TcpListener, acceptor: &Acceptor) -> io::Result<()> {
    const LISTENER: Token = Token(0);
    const WOKEN: Token = Token(1);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(64));
    let waker = Arc::new(mio::Waker::new(poll.registry(), WOKEN)?);
    let (ready, woken) = channel();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: HashMap<Token, Connection> = HashMap::new();
    let mut next = 2;
    loop {
        // Until a socket is ready, somebody wakes a login, or the first of them runs out of time.
        let now = Instant::now();
        let until = connections.values().filter_map(|connection| match connection {
            Connection::Login(_, next, start) => {
                let next = next.lock().expect("no panic while it is held").saturating_since(Moment::ORIGIN);
                start.checked_add(next).map(|at| at.saturating_duration_since(now))
            }
            Connection::Session(_) => None,
        });
        match poll.poll(&mut events, until.min().map(|wait| wait + Duration::from_millis(1))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        let mut due: Vec<Token> = events.iter().map(mio::event::Event::token).chain(woken.try_iter()).collect();
        while let Ok((mut stream, peer)) = listener.accept() {
            let token = Token(next);
            next += 1;
            poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let (start, later) = (Instant::now(), Arc::new(Mutex::new(Moment::ORIGIN)));
            let waker = Waker::from(Arc::new(Ready(Arc::clone(&waker), ready.clone(), token)));
            let socket = Socket { stream, start, deadline: Moment::ORIGIN, next: Arc::clone(&later), waker };
            let acceptor = acceptor.clone();
            let login = Box::pin(async move { acceptor.accept_over(socket, peer).await });
            connections.insert(token, Connection::Login(login, later, start));
            due.push(token);
        }
        let overdue = connections.iter().filter(|(_, connection)| match connection {
            Connection::Login(_, next, start) => {
                Moment::after_origin(start.elapsed()) >= *next.lock().expect("no panic while it is held")
            }
            Connection::Session(_) => false,
        });
        due.extend(overdue.map(|(token, _)| *token));
        for token in due {
            let Some(connection) = connections.remove(&token) else { continue };
            let session = match connection {
                Connection::Login(mut login, later, start) => {
                    // Whoever waits for a moment says so while it is polled.
                    *later.lock().expect("no panic while it is held") = Moment::after_origin(Duration::MAX);
                    let waker = Waker::from(Arc::new(Ready(Arc::clone(&waker), ready.clone(), token)));
                    match login.as_mut().poll(&mut Context::from_waker(&waker)) {
                        Poll2::Pending => {
                            connections.insert(token, Connection::Login(login, later, start));
                            continue;
                        }
                        Poll2::Ready(Err(error)) => {
                            println!("no login: {}", error.code());
                            continue;
                        }
                        Poll2::Ready(Ok(session)) => Box::new(session),
                    }
                }
                Connection::Session(session) => session,
            };
            match echo(session) {
                Ok(Some(session)) => drop(connections.insert(token, Connection::Session(session))),
                Ok(None) => return Ok(()),
                // It ends this one alone, as does its user's removal.
                Err(error) => println!("a session broke: {error}"),
            }
        }
    }
}

/// Echoes what has arrived; gives the session back until its peer has closed it.
fn echo(mut session: Box<Stream<TcpStream>>) -> io::Result<Option<Box<Stream<TcpStream>>>> {
    let mut bytes = [0; 1024];
    loop {
        // What was written and has not left yet. Whoever does not read is not read from, either.
        match session.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(session)),
            flushed => flushed?,
        }
        match session.read(&mut bytes) {
            Ok(0) => {
                session.close()?;
                return Ok(None);
            }
            // There is room for it: nothing waits to leave.
            Ok(count) => session.write_all(bytes.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(session)),
            Err(error) => return Err(error),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = PrivateKey::from_pem(include_str!("../tests/keys/rsa2048.pem"))?;
    let public = key.public_key().clone();
    let (ask, questions) = channel();
    std::thread::spawn(move || module(&key, &questions));
    let server_key = ServerKey::with_remote_decrypt(public.clone(), Arc::new(Module(ask)));
    let acceptor = Acceptor::new(ServerConfig::new(rustcrypto::provider()), server_key, verify);
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    let door = acceptor.clone();
    let server = std::thread::spawn(move || serve(listener, &acceptor));

    let connector = Connector::new(ClientConfig::new(rustcrypto::provider()), Server::key(public));
    let login = |password| {
        let stream = std::net::TcpStream::connect(address)?;
        connector.connect_blocking(stream, Credential::Password { user: "alice", password })
    };
    assert!(login(b"battery staple").is_err());
    // She is told that it is over, while neither end says anything.
    let mut session = login(b"correct horse")?;
    session.write_all(b"?")?;
    session.read_exact(&mut [0])?;
    assert_eq!((door.revoke("alice"), session.read(&mut [0])?), (1, 0));
    let mut session = login(b"correct horse")?;
    session.write_all(b"hello")?;
    session.close()?;
    let mut echoed = String::new();
    session.read_to_string(&mut echoed)?;
    assert_eq!(echoed, "hello");
    server.join().expect("the server does not panic")?;
    println!("{echoed}");
    Ok(())
}
