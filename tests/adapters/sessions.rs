//! Sessions: bytes go through whole or not at all, an end is told from a cut, and errors are of the kinds that generic code
//! expects.

use crate::ends::{
    Adapter, Session, accepting, acceptor, asking, bounded, connector, disconnected, failed, pair, session,
};
use crate::peer::Peer;
use crate::support::{ALICE, Scenario, TestRng, grant};
use countersign::frame::{FrameError, FrameType};
use countersign::{
    Attempt, BusyReason, Context, Credential, Error, Grant, KeyId, LoginError, Misuse, Reason, RecordError, Suite,
    Violation,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

for_every_adapter!(
    megabytes_go_through_each_way_in_pieces_of_any_size,
    a_closed_stream_ends_and_a_cut_one_is_an_error,
    after_our_close_we_write_no_more_and_go_on_reading,
    after_a_peer_is_gone_nothing_says_that_all_is_well,
    empty_reads_and_writes_do_nothing,
    a_key_update_goes_unnoticed_by_the_reader,
    an_altered_stream_gives_an_error_and_never_an_end,
    nothing_is_written_after_a_broken_record,
    finishing_loses_no_byte_whoever_closes_first,
    permissions_match_whole_words,
    errors_of_logins_become_errors_of_the_kind_that_is_expected,
    the_tcp_stream_comes_out_again,
);

/// The library's error inside an [`io::Error`], and its kind.
fn inner(error: &io::Error) -> (ErrorKind, Option<&Error>) {
    (error.kind(), error.get_ref().and_then(|inner| inner.downcast_ref()))
}

fn to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    stream.read_to_end(&mut out).unwrap();
    out
}

fn megabytes_go_through_each_way_in_pieces_of_any_size<A: Adapter>() {
    const SIZE: usize = 3 << 20;
    let data: Vec<u8> = TestRng::new("data").bytes(4099).iter().copied().cycle().take(SIZE).collect();
    let (client, server) = session::<A>(ALICE);
    let cross = |mut from: A::Session, mut to: A::Session| {
        let sent = data.clone();
        let writer = std::thread::spawn(move || {
            let (mut rest, mut rng) = (&sent[..], TestRng::new("pieces"));
            while !rest.is_empty() {
                let (piece, later) = rest.split_at((1 + rng.below(200_000)).min(rest.len()));
                from.write_all(piece).unwrap();
                if rng.below(10) == 0 {
                    from.update_key().unwrap();
                }
                rest = later;
            }
            from.close().unwrap();
            from
        });
        let (mut out, mut rng, mut buffer) = (Vec::new(), TestRng::new("room"), vec![0; 70_000]);
        loop {
            let wanted = 1 + rng.below(buffer.len());
            match to.read(&mut buffer[..wanted]).unwrap() {
                0 => break,
                count => out.extend_from_slice(&buffer[..count]),
            }
        }
        assert!(out == data);
        (writer.join().unwrap(), to)
    };
    let (client, server) = cross(client, server);
    cross(server, client);
}

fn a_closed_stream_ends_and_a_cut_one_is_an_error<A: Adapter>() {
    let (mut client, mut server) = session::<A>(ALICE);
    server.write_all(b"data").unwrap();
    server.close().unwrap();
    assert_eq!(to_end(&mut client), b"data");
    assert_eq!([(); 3].map(|()| client.read(&mut [0; 4]).unwrap()), [0; 3]);

    let (mut client, mut server) = session::<A>(ALICE);
    server.write_all(b"data").unwrap();
    server.flush().unwrap();
    server.cut();
    client.read_exact(&mut [0; 4]).unwrap();
    let truncated = RecordError::Truncated.into();
    for _ in 0..3 {
        let error = client.read(&mut [0; 4]).unwrap_err();
        assert_eq!(inner(&error), (ErrorKind::UnexpectedEof, Some(&truncated)));
    }
}

fn after_our_close_we_write_no_more_and_go_on_reading<A: Adapter>() {
    let (mut client, mut server) = session::<A>(ALICE);
    client.write_all(b"question").unwrap();
    client.close().unwrap();
    let closed = Misuse::Closed.into();
    assert_eq!(inner(&client.write(b"more").unwrap_err()), (ErrorKind::BrokenPipe, Some(&closed)));
    assert_eq!(client.update_key().unwrap_err(), closed);
    // Closing again does nothing.
    client.close().unwrap();
    assert_eq!(to_end(&mut server), b"question");
    server.write_all(b"answer").unwrap();
    server.close().unwrap();
    assert_eq!(to_end(&mut client), b"answer");
    assert_eq!(client.update_key().unwrap_err(), closed);
}

fn after_a_peer_is_gone_nothing_says_that_all_is_well<A: Adapter>() {
    let (mut client, server) = session::<A>(ALICE);
    drop(server);
    assert_eq!(client.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    // As generic code expects it: a pipe that nobody reads from.
    let truncated = RecordError::Truncated.into();
    for _ in 0..2 {
        assert_eq!(inner(&client.write(b"is anybody there?").unwrap_err()), (ErrorKind::BrokenPipe, Some(&truncated)));
        assert_eq!(inner(&client.flush().unwrap_err()), (ErrorKind::BrokenPipe, Some(&truncated)));
    }
    assert!(client.finish(Duration::from_secs(60)).is_err());
}

fn empty_reads_and_writes_do_nothing<A: Adapter>() {
    let (mut client, mut server) = session::<A>(ALICE);
    assert_eq!((client.write(b"").unwrap(), client.read(&mut []).unwrap()), (0, 0));
    let count = client.write(&[7; 1 << 20]).unwrap();
    assert_eq!(count, 65536, "no more than it says");
    let writer = std::thread::spawn(move || {
        client.flush().unwrap();
        client.close().unwrap();
        client
    });
    assert_eq!(server.read(&mut []).unwrap(), 0);
    assert_eq!(to_end(&mut server).len(), count);
    drop(writer.join().unwrap());
}

fn a_key_update_goes_unnoticed_by_the_reader<A: Adapter>() {
    let (mut client, mut server) = session::<A>(ALICE);
    client.write_all(b"before ").unwrap();
    client.update_key().unwrap();
    client.write_all(b"after").unwrap();
    client.close().unwrap();
    assert_eq!(to_end(&mut server), b"before after");
}

/// Somebody between client and server, who changes a byte of one of the server's frames: which frame, and where in it.
fn relayed(at: (usize, usize), bits: u8) -> (TcpStream, TcpStream) {
    let ((client, relay_client), (mut relay_server, server)) = (pair(), pair());
    let (mut from_client, mut to_server) = (relay_client.try_clone().unwrap(), relay_server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    let mut to_client = relay_client;
    std::thread::spawn(move || {
        for number in 0.. {
            let mut header = [0; 3];
            if relay_server.read_exact(&mut header).is_err() {
                break;
            }
            let mut frame = header.to_vec();
            frame.resize(3 + usize::from(u16::from_be_bytes([header[1], header[2]])), 0);
            relay_server.read_exact(&mut frame[3..]).unwrap();
            if number == at.0 {
                frame[at.1] ^= bits;
            }
            if to_client.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(std::net::Shutdown::Write);
    });
    (client, server)
}

fn an_altered_stream_gives_an_error_and_never_an_end<A: Adapter>() {
    // After challenge and verdict.
    let first_record = |at: usize| (2, at);
    let not_authentic = RecordError::NotAuthentic;
    let unexpected = RecordError::Frame(FrameError::UnexpectedType(FrameType::ServerVerdict));
    for (at, bits, expected) in [
        (first_record(10), 1, not_authentic),
        (first_record(22), 0x80, not_authentic),
        (first_record(0), 1, unexpected),
    ] {
        let (client, server) = relayed(at, bits);
        let server = accepting::<A>(&acceptor(), server, Context::uncounted());
        let mut client = A::connect(&connector(), client, ALICE).unwrap();
        let mut server = server.join().unwrap().unwrap();
        server.write_all(b"data").unwrap();
        server.write_all(b"more").unwrap();
        server.close().unwrap();
        let expected = expected.into();
        for _ in 0..4 {
            let error = client.read(&mut [0; 100]).unwrap_err();
            assert_eq!(inner(&error), (ErrorKind::InvalidData, Some(&expected)));
        }
    }
    // In the handshake it is the login that fails.
    for at in [(1, 3), (1, 700)] {
        let (client, server) = relayed(at, 1);
        let server = accepting::<A>(&acceptor(), server, Context::uncounted());
        let error = A::connect(&connector(), client, ALICE).map(drop).unwrap_err();
        assert!(matches!(error, LoginError::Protocol(Error::VerdictNotAuthentic)), "{error:?}");
        drop(server.join().unwrap());
    }
}

fn nothing_is_written_after_a_broken_record<A: Adapter>() {
    let (client, server) = pair();
    let server = accepting::<A>(&acceptor(), server, Context::uncounted());
    let mut peer = Peer::new(client);
    let mut session = peer.finish_login(&Scenario::new(), ALICE).unwrap();
    let mut server = server.join().unwrap().unwrap();
    let mut records = Vec::new();
    session.sealer.seal(b"good", &mut records).unwrap();
    let good = records.len();
    session.sealer.seal(b"bad!", &mut records).unwrap();
    records[good + 5] ^= 1;
    session.sealer.seal(b"late", &mut records).unwrap();
    peer.send(&records);
    server.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(server.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::InvalidData);
    // What comes behind a broken record is not opened, and whoever sent it is told nothing any more.
    assert_eq!(server.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::InvalidData);
    let broken = Error::from(RecordError::NotAuthentic);
    assert_eq!(inner(&server.write(b"secret").unwrap_err()), (ErrorKind::InvalidData, Some(&broken)));
    assert_eq!(server.update_key().unwrap_err(), broken);
    drop(server.close());
    assert!(server.finish(Duration::from_secs(60)).is_err());
    assert_eq!(peer.rest(), b"");
}

fn finishing_loses_no_byte_whoever_closes_first<A: Adapter>() {
    let long = Duration::from_secs(60);
    let (mut client, mut server) = session::<A>(ALICE);
    client.write_all(b"the last word").unwrap();
    let finishing = std::thread::spawn(move || client.finish(long));
    assert_eq!(to_end(&mut server), b"the last word");
    // What is said after that is thrown away, and no error.
    server.write_all(b"too late").unwrap();
    server.finish(long).unwrap();
    finishing.join().unwrap().unwrap();
    // Both at once.
    let (mut client, mut server) = session::<A>(ALICE);
    client.write_all(&[1; 10_000]).unwrap();
    server.write_all(&[2; 10_000]).unwrap();
    let finishing = std::thread::spawn(move || client.finish(long));
    server.finish(long).unwrap();
    finishing.join().unwrap().unwrap();
    // One that closes and then waits for nothing: the other is not held up to the end of its patience.
    let (client, mut server) = session::<A>(ALICE);
    server.close().unwrap();
    let finishing = std::thread::spawn(move || client.finish(crate::ends::HANG * 10));
    finishing.join().unwrap().unwrap();
    drop(server);
}

fn permissions_match_whole_words<A: Adapter>() {
    let acceptor = asking(|_: &Attempt<'_>| Ok(Grant::new("alice", ["orders:write", "read", "a.b"]).unwrap()));
    let (client, server) = crate::ends::login::<A>(&acceptor, &connector(), ALICE);
    for end in [client.unwrap(), server.unwrap()] {
        for held in ["orders:write", "read", "a.b"] {
            assert!(end.permits(held), "{held}");
        }
        for not in [
            "",
            "rea",
            "ead",
            "r",
            "read,a.b",
            "orders:write,read",
            ",",
            "Read",
            "READ",
            "read ",
            " read",
            "orders",
            "orders:",
            "write",
            "axb",
            "a",
            "*",
            "read\0",
        ] {
            assert!(!end.permits(not), "{not:?}");
        }
    }
}

fn errors_of_logins_become_errors_of_the_kind_that_is_expected<A: Adapter>() {
    let wrong = Credential::Password { user: "alice", password: b"wrong" };
    let (client, server) = failed::<A>(&acceptor(), &connector(), wrong);
    assert_eq!(io::Error::from(client).kind(), ErrorKind::PermissionDenied);
    assert_eq!(io::Error::from(server).kind(), ErrorKind::PermissionDenied);
    let (client, server) = pair();
    drop(client);
    let error = A::accept(&acceptor(), server, Context::uncounted()).map(drop).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), ErrorKind::UnexpectedEof);
    let (client, server) = pair();
    drop(server);
    let error = A::connect(&connector(), client, ALICE).map(drop).unwrap_err();
    let reset = matches!(error, LoginError::Io(_));
    assert!(reset || disconnected(error) == FrameType::ServerHello);
}

fn the_tcp_stream_comes_out_again<A: Adapter>() {
    let (client, mut server) = session::<A>(ALICE);
    server.close().unwrap();
    // What the session sealed is none of ours any more, and what we say none of the session's.
    let (mut client, mut server) = (client.into_tcp(), server.into_tcp());
    client.write_all(b"plain").unwrap();
    let mut plain = [0; 5];
    server.read_exact(&mut plain).unwrap();
    assert_eq!(&plain, b"plain");
    // A blocking stream is as it came.
    for stream in [client, server] {
        assert_eq!((stream.read_timeout().unwrap(), stream.write_timeout().unwrap()), (None, None));
    }
}

#[test]
fn every_error_becomes_one_of_the_kind_that_is_expected() {
    bounded(|| {
        let truncated: Error = RecordError::Truncated.into();
        let broken: Error = RecordError::NotAuthentic.into();
        let violation: Error = Violation::BadTicket.into();
        for (error, kind) in [
            (truncated, ErrorKind::UnexpectedEof),
            (broken, ErrorKind::InvalidData),
            (violation, ErrorKind::InvalidData),
            (FrameError::UnknownType(9).into(), ErrorKind::InvalidData),
            (Misuse::Closed.into(), ErrorKind::BrokenPipe),
            (Misuse::Mismatch.into(), ErrorKind::InvalidInput),
            (Error::DeadlinePassed, ErrorKind::TimedOut),
            (Error::Refused, ErrorKind::PermissionDenied),
            (Error::VerdictNotAuthentic, ErrorKind::PermissionDenied),
            (Error::Untrusted(crate::support::untrusted(KeyId::from_bytes([0; 32]))), ErrorKind::PermissionDenied),
            (Error::UnderFloor(Suite::RSA_AES_256_GCM), ErrorKind::PermissionDenied),
            (Error::Crypto(countersign::crypto::CryptoError::Failed), ErrorKind::Other),
        ] {
            let (direct, wrapped) = (io::Error::from(error.clone()), io::Error::from(LoginError::from(error.clone())));
            assert_eq!((inner(&direct), inner(&wrapped)), ((kind, Some(&error)), (kind, Some(&error))));
        }
        let refused = LoginError::LoginRefused { user: None, reason: Reason::UnknownUser };
        let forbidden = grant().require("admin").unwrap_err();
        for (error, kind) in [
            (LoginError::Busy(BusyReason::MadeWay).into(), ErrorKind::ConnectionAborted),
            (LoginError::Disconnected { awaited: FrameType::ClientHello }.into(), ErrorKind::UnexpectedEof),
            (refused.into(), ErrorKind::PermissionDenied),
            (LoginError::Io(ErrorKind::ConnectionReset.into()).into(), ErrorKind::ConnectionReset),
            (io::Error::from(forbidden), ErrorKind::PermissionDenied),
        ] {
            assert_eq!(io::Error::kind(&error), kind, "{error:?}");
        }
        assert_eq!(grant().principal(), "alice");
    });
}

/// Everything of the library's in scope, and the crates that an application has beside it.
#[allow(unused_imports)]
mod glob {
    use countersign::*;
    use std::io::{Read, Write};

    #[test]
    fn everything_in_scope_hides_no_crate() {
        // Were there a module `tokio` in the library, this would be ambiguous.
        let (tell, told) = tokio::sync::oneshot::channel::<u8>();
        tell.send(7).unwrap();
        assert_eq!(told.blocking_recv(), Ok(7));
        let result: Result<(), Error> = Ok(());
        assert!(result.is_ok());
    }
}
