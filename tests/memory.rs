//! What a stranger can make either side hold: heap bytes and allocations, counted by the allocator.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/heap.rs"]
mod heap;
mod support;

use countersign::blocking::Untimed;
use countersign::crypto::{CryptoError, Decrypt, Decrypted, Provider, Rsa};
use countersign::frame::{FrameReader, FrameType};
use countersign::server::{AwaitHello, AwaitLogin, Hello};
use countersign::{
    Acceptor, ChannelBinding, ClientConfig, Connector, CryptoRng, KeyError, Moment, PrivateKey, PublicKey,
    PuzzleDifficulty, Received, Server, ServerConfig, ServerKey, Session, Suite, client, codec, limits,
};
use heap::{measure, uncounted};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use support::{ALICE, RSA2048, RSA4096, Scenario, Sent, TODAY, TestRng, at, grant, provider, verifier};

/// The real provider, with what its RSA allocates left out of the count.
fn quiet() -> Provider {
    Provider { rsa: &QuietRsa, ..provider() }
}

struct QuietRsa;

impl Rsa for QuietRsa {
    fn encrypt(
        &self,
        key: &PublicKey,
        message: &[u8; limits::SEALED_SECRET],
        rng: &mut dyn CryptoRng,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        uncounted(|| provider().rsa.encrypt(key, message, rng, out))
    }

    fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError> {
        provider().rsa.load_key(key).map(|key| Arc::new(QuietKey(key)) as Arc<dyn Decrypt>)
    }
}

struct QuietKey(Arc<dyn Decrypt>);

impl Decrypt for QuietKey {
    fn decrypt(&self, ciphertext: &[u8], rng: &mut dyn CryptoRng) -> Decrypted {
        uncounted(|| self.0.decrypt(ciphertext, rng))
    }
}

#[test]
fn a_half_open_connection_holds_one_secret_on_the_heap_and_nothing_else() {
    // Of the key exchange, or the master secret that was made of it: as large as HMAC-SHA-256 with its key.
    let (exchanged, master) = (64, 144);
    for (scenario, secret) in [
        (Scenario::new(), exchanged),
        (Scenario::new().key(&RSA4096), exchanged),
        (Scenario::new().suite(Suite::RSA_AES_256_GCM), exchanged),
        (Scenario::new().suite(Suite::X25519MLKEM768_AES_256_GCM), exchanged),
        (Scenario::new().known_key(), master),
        (Scenario::new().key(&RSA4096).known_key(), master),
    ] {
        let config = scenario.server_config();
        let none = ChannelBinding::none();
        let (hello, _) = scenario.await_challenge();
        let (waiting, held, _) = measure(|| (AwaitHello::new(&config, &none, Moment::ORIGIN), FrameReader::new()));
        assert_eq!(held, 0, "waiting for a ClientHello");
        let (state, held, _) = measure(|| {
            // The hello is the state's to keep, until it is answered.
            let choice = waiting.0.read(hello.clone(), at(1)).unwrap();
            let mut rng = uncounted(|| TestRng::new("server"));
            let hello = opened(choice.choose(scenario.private_key()).unwrap(), &mut rng);
            // The challenge is sent and forgotten.
            let (_, state) = hello.challenge(&mut rng).unwrap();
            drop(rng);
            (state, FrameReader::new())
        });
        println!("{held} bytes on the heap, waiting for a ClientLogin");
        assert!(held <= secret, "waiting for a ClientLogin: {held}");
        drop(state);
    }
}

/// What is sealed in a hello is opened.
fn opened(hello: Hello, rng: &mut TestRng) -> Hello {
    match hello.open(rng) {
        Ok(open) => open.run(rng),
        Err(hello) => *hello,
    }
}

#[test]
fn a_half_open_connection_takes_432_bytes() {
    let (hello, login, reader) = (size_of::<AwaitHello>(), size_of::<AwaitLogin>(), size_of::<FrameReader>());
    println!("AwaitHello {hello}, AwaitLogin {login}, FrameReader {reader} bytes");
    // With its secret, as below.
    assert!(login + reader + 144 <= 432, "{login} + {reader} bytes");
    assert!(hello <= login);
}

#[test]
fn a_hello_that_waits_for_a_solution_takes_its_own_bytes_and_no_more() {
    for (scenario, most) in [(Scenario::new(), 1340), (Scenario::new().known_key(), 1630)] {
        let (server_config, none) = (Arc::new(ServerConfig::new(provider())), ChannelBinding::none());
        let client_config = Arc::new(ClientConfig::new(provider()));
        let (hello, _) =
            client::start(&client_config, scenario.trusted(), &none, &mut TestRng::new("client"), Moment::ORIGIN)
                .unwrap();
        assert!(hello.len() <= most, "{} bytes", hello.len());
        let (len, mut rng) = (isize::try_from(hello.len()).unwrap(), TestRng::new("server"));
        let (waiting, held, _) = measure(|| {
            let hello = AwaitHello::new(&server_config, &none, Moment::ORIGIN).read(hello, at(1)).unwrap();
            let hello = hello.choose(scenario.private_key()).unwrap();
            hello.puzzle(PuzzleDifficulty::new(10).unwrap(), Duration::ZERO, &mut rng).unwrap().1
        });
        // The hello was there before.
        assert_eq!(held, 0, "beside the {len} bytes of the hello");
        drop(waiting);
    }
}

#[test]
fn a_length_alone_makes_a_reader_allocate_nothing() {
    for kind in FrameType::ALL {
        let [high, low] = u16::try_from(kind.max_body()).unwrap().to_be_bytes();
        let before = heap::held();
        let mut reader = FrameReader::new();
        assert_eq!(heap::held(), before);
        reader.feed(&[kind.byte(), high, low], &FrameType::ALL).unwrap();
        let held = heap::held() - before;
        assert!(held <= 8, "{kind}: {held} bytes for a header of 3");
        // From there on it holds as much as arrived, with room to double.
        let (piece, mut arrived) = ([0; 10], 3);
        while reader.missing().unwrap() > piece.len() {
            arrived += isize::try_from(reader.feed(&piece, &FrameType::ALL).unwrap()).unwrap();
            let held = heap::held() - before;
            assert!(held <= 2 * arrived + 16, "{kind}: {held} bytes for {arrived}");
        }
    }
}

#[test]
fn decoding_allocates_nothing() {
    let [hello, challenge, login, verdict] = Scenario::new().finish().frames;
    let ((), held, calls) = measure(|| {
        codec::decode::<codec::ClientHello<'_>>(&hello[3..]).unwrap();
        codec::decode::<codec::ServerHello<'_>>(&challenge[3..]).unwrap();
        codec::decode::<codec::ClientLogin<'_>>(&login[3..]).unwrap();
        codec::decode::<codec::ServerVerdict<'_>>(&verdict[3..]).unwrap();
        // What claims to be long is not believed either.
        assert!(codec::decode::<codec::ClientLogin<'_>>(&[0xff; 4]).is_err());
        assert!(codec::decode::<codec::VerdictMessage<'_>>(&[1, 0xff, 0xff, 32]).is_err());
    });
    assert_eq!((held, calls), (0, 0));
}

#[test]
fn a_handshake_makes_a_handful_of_allocations() {
    let server_key = ServerKey::load(&RSA2048.private, quiet()).unwrap();
    let server_config = Arc::new(ServerConfig::new(quiet()));
    let client_config = Arc::new(ClientConfig::new(quiet()));
    let none = ChannelBinding::none();
    let (pinned, known) = (RSA2048.trust(), Server::key(RSA2048.private.public_key().clone()));
    let (mut ours, mut theirs) = (TestRng::new("client"), TestRng::new("server"));
    let mut once = |trust: &Server| {
        let ((hello, state), _, client_1) =
            measure(|| client::start(&client_config, trust, &none, &mut ours, Moment::ORIGIN).unwrap());
        // A frame is as long as was known beforehand: its buffer never grew, and nothing of it is unused.
        assert_eq!(hello.capacity(), hello.len());
        let ((challenge, waiting), _, server_1) = measure(|| {
            let state = AwaitHello::new(&server_config, &none, Moment::ORIGIN);
            let hello = state.read(hello, at(1)).unwrap().choose(&server_key).unwrap();
            opened(hello, &mut theirs).challenge(&mut theirs).unwrap()
        });
        let ((login, state), _, client_2) = measure(|| {
            let trusted = state.read(&challenge, at(2)).unwrap().trust(trust, TODAY).unwrap();
            trusted.login(ALICE, &mut ours).unwrap()
        });
        assert_eq!(login.capacity(), login.len());
        let grant = grant();
        let (accepted, _, server_2) =
            measure(|| waiting.read(login, at(3)).unwrap().admit().open(&mut theirs).accept(grant).unwrap());
        assert_eq!(challenge.capacity(), challenge.len());
        assert_eq!(accepted.frame.capacity(), accepted.frame.len());
        let (session, _, client_3) = measure(|| state.read(&accepted.frame, at(4), TODAY).unwrap());
        drop(session);
        ([client_1, client_2, client_3], [server_1, server_2])
    };
    // What is made once, for all logins of a process.
    once(&pinned);
    for trust in [pinned, known] {
        let (client, server) = once(&trust);
        assert_eq!(once(&trust), (client, server));
        println!("allocations beside RSA, step by step: client {client:?}, server {server:?}");
        // Some, beside what the crypto library allocates within itself: for aws-lc-rs that is some of these.
        let limit = if cfg!(feature = "rustcrypto") { 14 } else { 20 };
        assert!(server.iter().sum::<usize>() <= limit, "server {server:?}");
        // The copy of the hello, for which a puzzle may be asked; what is sealed; and each secret that waits for the server.
        assert!(client.iter().sum::<usize>() <= limit + 10, "client {client:?}");
    }
}

#[test]
fn an_established_session_allocates_nothing_for_its_records() {
    for suite in Suite::ALL {
        let (mut client, mut server) = Scenario::new().suite(suite).sessions();
        let data = vec![7; limits::MAX_RECORD];
        let mut record = Vec::with_capacity(2 * limits::MAX_RECORD);
        let mut cross = || {
            record.clear();
            client.sealer.seal(&data, &mut record).unwrap();
            assert!(
                matches!(server.opener.open(&mut record), Ok(Received::Data(opened)) if opened.len() == data.len())
            );
        };
        // The first record makes the keys.
        cross();
        let ((), held, calls) = measure(|| (0..10).for_each(|_| cross()));
        assert_eq!((held, calls), (0, 0), "{suite}");
    }
}

#[test]
fn an_idle_session_holds_less_than_a_kibibyte() {
    const KIB: usize = 1024;
    for suite in Suite::ALL {
        let scenario = Scenario::new().suite(suite);
        let Sent { login, client, server, .. } = scenario.await_verdict();
        let claim = scenario.open(server, &login).unwrap();
        let (mut accepted, held, _) = measure(|| claim.accept(grant()).unwrap());
        // The frame is for sending, and gone then; the login and its keys were freed in the same step.
        let on_the_heap = held - isize::try_from(accepted.frame.capacity()).unwrap();
        assert!(on_the_heap <= 0, "{suite}: {on_the_heap}");
        let mut client = client.read(&accepted.frame, at(4), TODAY).unwrap();

        let mut record = Vec::with_capacity(KIB);
        let ((), keys, _) = measure(|| {
            client.sealer.seal(b"hello", &mut record).unwrap();
            accepted.session.opener.open(&mut record).unwrap();
        });
        let ((), given_back, _) = measure(|| {
            for half in [&mut client, &mut accepted.session] {
                half.sealer.rest();
                half.opener.rest();
            }
        });
        println!("{suite}: Session {} bytes, and {} for each direction in use", size_of::<Session>(), keys / 2);
        assert_eq!(keys + given_back, 0);
        assert!(size_of::<Session>() + usize::try_from(keys / 2).unwrap() < KIB + KIB / 2);
        assert!(size_of::<Session>() + grant().principal().len() + 32 < KIB);
        // It goes on as if nothing had been.
        record.clear();
        client.sealer.seal(b"again", &mut record).unwrap();
        assert_eq!(accepted.session.opener.open(&mut record).unwrap(), Received::Data(b"again"));
    }
}

/// A stream that notes what this thread holds whenever it is read from: the read may wait.
struct Noting(TcpStream, Rc<Cell<isize>>);

impl Read for Noting {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.1.set(heap::held());
        self.0.read(room)
    }
}

impl Write for Noting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whatever it has written and read before: blocking, and in an event loop, whose sockets say that they would have to wait.
#[test]
fn a_session_that_waits_keeps_little_of_what_it_was_read_and_written_by_and_of_an_event_loop_nothing() {
    const SIZE: usize = 64 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let acceptor = Acceptor::new(ServerConfig::new(provider()), RSA2048.server.clone(), verifier);
        let (stream, peer) = listener.accept().unwrap();
        let mut session = acceptor.accept_blocking(stream, peer).unwrap();
        let mut bytes = vec![0; SIZE];
        session.read_exact(&mut bytes).unwrap();
        session.write_all(&bytes).unwrap();
        session.read_exact(&mut [0]).unwrap();
        session.write_all(b".").unwrap();
        // Until the other one leaves.
        assert!(session.read(&mut [0]).is_err());
    });
    let connector = Connector::new(ClientConfig::new(provider()), RSA2048.trust());
    let noted = Rc::new(Cell::new(0));
    let stream = Untimed(Noting(TcpStream::connect(address).unwrap(), Rc::clone(&noted)));
    let mut session = connector.connect_blocking(stream, ALICE).unwrap();
    let (data, mut room, before) = (vec![7; SIZE], vec![0; SIZE], heap::held());
    // Of a buffer and a key in each direction.
    let (buffer, key) = (4096, 1500);
    session.write_all(&data).unwrap();
    session.flush().unwrap();
    let held = heap::held() - before;
    assert!(held <= buffer + key, "{held} bytes after a large write");
    session.read_exact(&mut room).unwrap();
    session.write_all(b"?").unwrap();
    session.read_exact(&mut [0]).unwrap();
    let held = noted.get() - before;
    assert!(held <= 2 * (buffer + key), "{held} bytes while it waits");
    session.get_ref().0.0.set_nonblocking(true).unwrap();
    assert_eq!(session.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(heap::held() - before, 0);
    drop(session);
    answering.join().unwrap();
}

#[test]
fn a_session_that_is_sent_megabytes_holds_a_few_records_of_them_at_a_time() {
    const SIZE: usize = 8 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sending = std::thread::spawn(move || {
        let acceptor = Acceptor::new(ServerConfig::new(provider()), RSA2048.server.clone(), verifier);
        let (stream, peer) = listener.accept().unwrap();
        let mut session = acceptor.accept_blocking(stream, peer).unwrap();
        session.write_all(&vec![7; SIZE]).unwrap();
        session.close().unwrap();
    });
    let connector = Connector::new(ClientConfig::new(provider()), RSA2048.trust());
    let mut session = connector.connect_blocking(TcpStream::connect(address).unwrap(), ALICE).unwrap();
    let (before, mut room) = (heap::held(), [0; 5000]);
    let (mut read, mut most) = (0, 0);
    loop {
        match session.read(&mut room).unwrap() {
            0 => break,
            count => (read, most) = (read + count, most.max(heap::held() - before)),
        }
    }
    sending.join().unwrap();
    assert_eq!(read, SIZE);
    assert!(most < 256 * 1024, "{most} bytes");
}
