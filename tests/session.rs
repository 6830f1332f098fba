//! The session after a login: rules R1 to R4. R5 needs 2^24 records; its test is in `src/session.rs`.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::{AeadKey, Cipher, CryptoError, Provider};
use countersign::frame::{FrameError, FrameReader, FrameType};
use countersign::{Error, Misuse, Received, RecordError, Sealer, Session, Suite, limits};
use support::{RSA2048, Scenario, frame, grant, provider};

/// Both ends of a session, the client's first.
fn sessions() -> (Session, Session) {
    Scenario::new().sessions()
}

/// The records that `write` makes, one frame each.
fn records(session: &mut Session, write: impl FnOnce(&mut Session, &mut Vec<u8>)) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    write(session, &mut out);
    cut(&out)
}

fn cut(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut reader = FrameReader::new();
    while !stream.is_empty() {
        let taken = reader.feed(stream, Session::EXPECTS).unwrap();
        frames.push(reader.take().unwrap());
        stream = &stream[taken..];
    }
    frames
}

fn sealed(session: &mut Session, data: &[u8]) -> Vec<Vec<u8>> {
    records(session, |session, out| session.sealer.seal(data, out).unwrap())
}

fn closed(session: &mut Session) -> Vec<u8> {
    records(session, |session, out| session.sealer.close(out).unwrap()).remove(0)
}

fn updated(session: &mut Session) -> Vec<u8> {
    records(session, |session, out| session.sealer.update_key(out).unwrap()).remove(0)
}

/// Opens a record, and says what was wrong with it.
fn open(session: &mut Session, record: &[u8]) -> Result<Vec<u8>, Error> {
    match session.opener.open(&mut record.to_vec())? {
        Received::Data(data) => Ok(data.to_vec()),
        Received::KeyUpdate => Ok(b"key update".to_vec()),
        Received::Close => Ok(b"close".to_vec()),
    }
}

const AFTER_END: Result<Vec<u8>, Error> = Err(Error::Record(RecordError::AfterEnd));
const NOT_AUTHENTIC: Result<Vec<u8>, Error> = Err(Error::Record(RecordError::NotAuthentic));

#[test]
fn what_one_end_seals_the_other_opens() {
    for suite in Suite::ALL {
        let (mut client, mut server) = Scenario::new().suite(suite).sessions();
        for length in [1, 2, 255, 16383, 16384] {
            let data = vec![0x5a; length];
            for from_client in [true, false] {
                let (from, to) = if from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
                let [record] = &sealed(from, &data)[..] else { panic!("one record") };
                assert_eq!(record.len(), length + 19);
                assert_eq!(open(to, record), Ok(data.clone()));
            }
        }
    }
}

#[test]
fn both_ends_have_the_same_names_for_the_session() {
    let (client, server) = sessions();
    assert_eq!(client.info.login_grant(), &grant());
    assert_eq!(client.info.login_grant(), server.info.login_grant());
    assert_eq!(client.info.suite(), server.info.suite());
    assert_eq!(client.info.id(), server.info.id());
    assert_eq!(client.info.id().to_string(), hex::encode(client.info.id().as_bytes()));
    assert_ne!(client.info.id(), Scenario::new().seed("another").sessions().0.info.id());
}

#[test]
fn long_data_becomes_as_many_records_as_it_takes_and_no_data_none() {
    let (mut client, mut server) = sessions();
    for (length, pieces) in [(0, 0), (1, 1), (16384, 1), (16385, 2), (40000, 3)] {
        let data: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let records = sealed(&mut client, &data);
        assert_eq!(records.len(), pieces);
        let arrived: Vec<u8> = records.iter().flat_map(|record| open(&mut server, record).unwrap()).collect();
        assert_eq!(arrived, data);
    }
}

#[test]
fn r1_anything_but_a_record_is_refused() {
    let genuine = sealed(&mut sessions().0, b"data").remove(0);
    let length = |kind: FrameType, len| FrameError::Length { kind, len, min: kind.min_body(), max: kind.max_body() };
    let mut cases = vec![
        (Vec::new(), FrameError::Truncated { missing: 3 }),
        (genuine[..2].to_vec(), FrameError::Truncated { missing: 1 }),
        (genuine[..3].to_vec(), FrameError::Truncated { missing: 20 }),
        (genuine[..22].to_vec(), FrameError::Truncated { missing: 1 }),
        ([&genuine[..], &[0]].concat(), FrameError::Trailing(1)),
        (frame(5, &[0; 16]), length(FrameType::Data, 16)),
        (frame(5, &[]), length(FrameType::Data, 0)),
        (frame(5, &[0; 16401]), length(FrameType::Data, 16401)),
        (frame(6, &[0; 15]), length(FrameType::KeyUpdate, 15)),
        (frame(6, &[0; 17]), length(FrameType::KeyUpdate, 17)),
        (frame(7, &[0; 0]), length(FrameType::Close, 0)),
        (frame(7, &[0; 17]), length(FrameType::Close, 17)),
        (frame(0, &[0; 16]), FrameError::UnknownType(0)),
        (frame(13, &[0; 16]), FrameError::UnknownType(13)),
    ];
    let others = FrameType::ALL.iter().filter(|kind| !Session::EXPECTS.contains(kind));
    for kind in others {
        cases.push((frame(kind.byte(), &vec![0; kind.min_body()]), FrameError::UnexpectedType(*kind)));
    }
    for (bytes, expected) in cases {
        let (mut client, mut server) = sessions();
        let first = sealed(&mut client, b"data").remove(0);
        assert_eq!(open(&mut server, &bytes), Err(RecordError::Frame(expected).into()));
        assert_eq!(open(&mut server, &first), AFTER_END, "nothing more is delivered");
    }
}

#[test]
fn r2_a_record_that_was_altered_is_refused() {
    let length = sealed(&mut sessions().0, b"data").remove(0).len();
    for at in 3..length {
        let (mut client, mut server) = sessions();
        let [mut first, second] = [b"data", b"more"].map(|data| sealed(&mut client, data).remove(0));
        first[at] ^= 1;
        assert_eq!(open(&mut server, &first), NOT_AUTHENTIC);
        assert_eq!(open(&mut server, &second), AFTER_END, "nothing more is delivered");
    }
}

#[test]
fn r2_the_header_is_sealed_too() {
    // A KeyUpdate for a Close and the other way round: the bodies are of the same length.
    for (kind, take) in [(7, updated as fn(&mut Session) -> Vec<u8>), (6, closed)] {
        let (mut client, mut server) = sessions();
        open(&mut server, &sealed(&mut client, b"first").remove(0)).unwrap();
        let record = take(&mut client);
        assert_eq!(open(&mut server, &[&[kind], &record[1..]].concat()), NOT_AUTHENTIC);
    }
}

#[test]
fn r2_a_record_repeated_dropped_or_out_of_order_is_refused() {
    let three = |client: &mut Session| [b"one", b"two", b"sam"].map(|data| sealed(client, data).remove(0));
    for (order, good) in [(&[0, 0][..], 1), (&[1], 0), (&[0, 2], 1), (&[1, 0], 0), (&[0, 1, 1], 2), (&[0, 1, 0], 2)] {
        let (mut client, mut server) = sessions();
        let records = three(&mut client);
        for (position, &which) in order.iter().enumerate() {
            let opened = open(&mut server, &records[which]);
            assert_eq!(opened.is_ok(), position < good, "{order:?} at {position}");
            if position == good {
                assert_eq!(opened, NOT_AUTHENTIC);
            }
        }
        assert_eq!(open(&mut server, &records[good.min(2)]), AFTER_END);
    }
}

#[test]
fn r2_no_two_records_under_one_key_have_a_nonce_in_common() {
    let (mut client, _) = sessions();
    let mut seen = std::collections::HashSet::new();
    // Past what one byte of the record number counts, and two.
    for number in 0..=0x1_0000 {
        let mut record = Vec::new();
        client.sealer.seal(b"the same", &mut record).unwrap();
        assert!(seen.insert(record), "record {number} is one of those before it");
    }
}

#[test]
fn r2_a_record_of_the_other_direction_or_another_session_is_refused() {
    let (mut client, mut server) = sessions();
    let own = sealed(&mut client, b"data").remove(0);
    assert_eq!(open(&mut client, &own), NOT_AUTHENTIC, "reflected");
    let other = sealed(&mut Scenario::new().seed("another").sessions().0, b"data").remove(0);
    assert_eq!(open(&mut server, &other), NOT_AUTHENTIC);
}

#[test]
fn r2_after_a_key_update_the_old_key_opens_nothing() {
    let records = || {
        let (mut client, server) = sessions();
        let first = sealed(&mut client, b"old").remove(0);
        let update = updated(&mut client);
        (server, first, update, sealed(&mut client, b"new").remove(0))
    };
    let (mut server, first, update, _) = records();
    assert_eq!(open(&mut server, &first), Ok(b"old".to_vec()));
    assert_eq!(open(&mut server, &update), Ok(b"key update".to_vec()));
    assert_eq!(open(&mut server, &first), NOT_AUTHENTIC);
    let (mut server, first, _, second) = records();
    open(&mut server, &first).unwrap();
    assert_eq!(open(&mut server, &second), NOT_AUTHENTIC, "the update was dropped");
    let (mut server, first, update, second) = records();
    for record in [&first, &update, &second] {
        open(&mut server, record).unwrap();
    }
}

#[test]
fn key_updates_work_in_both_directions_on_their_own() {
    let (mut client, mut server) = sessions();
    for round in 0..20_u8 {
        let record = sealed(&mut client, &[round]).remove(0);
        let update = updated(&mut client);
        assert_eq!(open(&mut server, &record), Ok(vec![round]));
        assert_eq!(open(&mut server, &update), Ok(b"key update".to_vec()));
        let nothing = records(&mut client, |session, out| session.sealer.update_key(out).unwrap());
        assert_eq!(nothing, Vec::<Vec<u8>>::new(), "an unused key is not updated");
        let answer = sealed(&mut server, &[round]).remove(0);
        assert_eq!(open(&mut client, &answer), Ok(vec![round]));
    }
}

#[test]
fn r3_a_frame_after_a_close_is_refused() {
    for kind in [5, 6, 7] {
        let (mut client, mut server) = sessions();
        assert_eq!(open(&mut server, &closed(&mut client)), Ok(b"close".to_vec()));
        assert_eq!(open(&mut server, &frame(kind, &vec![0; if kind == 5 { 17 } else { 16 }])), AFTER_END);
    }
    let (mut client, mut server) = sessions();
    let close = closed(&mut client);
    open(&mut server, &close).unwrap();
    assert_eq!(open(&mut server, &close), AFTER_END);
    assert_eq!(server.opener.end(), Ok(()), "it was closed");
    // The other direction goes on.
    let record = sealed(&mut server, b"still here").remove(0);
    assert_eq!(open(&mut client, &record), Ok(b"still here".to_vec()));
}

#[test]
fn r4_the_end_of_the_stream_without_a_close_is_refused() {
    let (mut client, mut server) = sessions();
    let truncated = Err(RecordError::Truncated);
    assert_eq!(server.opener.end(), truncated);
    let record = sealed(&mut client, b"data").remove(0);
    open(&mut server, &record).unwrap();
    assert_eq!(server.opener.end(), truncated);
    open(&mut server, &updated(&mut client)).unwrap();
    assert_eq!(server.opener.end(), truncated);
    open(&mut server, &closed(&mut client)).unwrap();
    assert_eq!(server.opener.end(), Ok(()));
    assert_eq!(client.opener.end(), truncated, "each direction has a close of its own");
}

#[test]
fn r4_the_end_of_the_stream_after_a_refused_record_is_no_proper_end() {
    let (mut client, mut server) = sessions();
    let mut record = sealed(&mut client, b"data").remove(0);
    record[10] ^= 1;
    assert_eq!(open(&mut server, &record), NOT_AUTHENTIC);
    let first = Err(RecordError::NotAuthentic);
    assert_eq!(server.opener.end(), first, "no close came");
    // Whatever comes after that, it is the first that says what happened.
    assert_eq!(open(&mut server, &closed(&mut client)), AFTER_END);
    assert_eq!(server.opener.end(), first);
}

#[test]
fn our_own_close_is_the_last_thing_we_send() {
    let (mut client, _) = sessions();
    closed(&mut client);
    let mut out = Vec::new();
    let misuse = Err(Error::Misuse(Misuse::Closed));
    assert_eq!(client.sealer.seal(b"data", &mut out), misuse);
    assert_eq!(client.sealer.update_key(&mut out), misuse);
    assert_eq!(client.sealer.close(&mut out), misuse);
    assert_eq!(out, b"");
}

#[test]
fn the_halves_of_a_session_work_apart() {
    let (client, server) = sessions();
    let (Session { mut sealer, .. }, Session { info, mut opener, .. }) = (client, server);
    assert_eq!(info.login_grant(), &grant());
    let mut out = Vec::new();
    sealer.seal(b"data", &mut out).unwrap();
    assert_eq!(opener.open(&mut out).unwrap(), Received::Data(b"data"));
    assert_eq!(opener.end(), Err(RecordError::Truncated));
    out.clear();
    sealer.update_key(&mut out).unwrap();
    assert_eq!(opener.open(&mut out).unwrap(), Received::KeyUpdate);
    out.clear();
    sealer.close(&mut out).unwrap();
    assert_eq!(opener.open(&mut out).unwrap(), Received::Close);
    assert_eq!(opener.end(), Ok(()));
}

#[test]
fn sealing_appends_to_what_is_there() {
    let (mut client, mut server) = sessions();
    let mut out = b"before".to_vec();
    client.sealer.seal(b"data", &mut out).unwrap();
    assert_eq!(&out[..6], b"before");
    assert_eq!(open(&mut server, &out[6..]), Ok(b"data".to_vec()));
}

#[test]
fn exported_keys_are_the_same_at_both_ends_and_different_for_everything_else() {
    let (client, server) = sessions();
    let other = Scenario::new().seed("another").sessions().0;
    let export = |session: &Session, label: &str, context: &[u8], length: usize| {
        let mut out = vec![0; length];
        session.info.export(label, context, &mut out).unwrap();
        out
    };
    let key = export(&client, "my protocol", b"context", 32);
    assert_eq!(key, export(&server, "my protocol", b"context", 32));
    assert_ne!(key, export(&client, "my protocol2", b"context", 32));
    assert_ne!(key, export(&client, "my protocol", b"", 32));
    assert_ne!(key, export(&client, "my protocol", b"context", 33)[..32]);
    assert_ne!(key, export(&other, "my protocol", b"context", 32));
    export(&client, &"l".repeat(255), &[0; 100_000], 8160);
}

#[test]
fn an_export_out_of_bounds_is_refused() {
    let (client, _) = sessions();
    let label = Err(Misuse::BadInput("the exporter label"));
    for bad in ["", "a\0b", "\0", &"l".repeat(256)] {
        assert_eq!(client.info.export(bad, b"", &mut [0; 32]), label);
    }
    let too_long = Misuse::TooLong { what: "the exported key", len: 8161, limit: 8160 };
    assert_eq!(client.info.export("label", b"", &mut vec![0; 8161]), Err(too_long));
}

#[test]
fn an_export_of_no_bytes_is_refused() {
    assert!(sessions().0.info.export("label", b"", &mut []).is_err(), "PROTOCOL.md, \"Exporter\": 1 to 8160 bytes");
}

#[test]
fn no_record_is_longer_than_the_limit() {
    let (mut client, _) = sessions();
    for record in sealed(&mut client, &vec![0; 3 * limits::MAX_RECORD + 1]) {
        assert!(record.len() <= limits::FRAME_HEADER + limits::MAX_RECORD + limits::TAG);
    }
}

#[test]
fn sealing_in_place_gives_the_same_frames() {
    for size in [1, 17, 1000, limits::MAX_RECORD] {
        let (mut client, mut server) = sessions();
        let data = vec![7; size];
        let mut frame = [&[0; 3][..], &data, &[0; 16]].concat();
        assert_eq!(frame.len(), size + Session::OVERHEAD);
        client.sealer.seal_in_place(&mut frame).unwrap();
        assert_eq!(open(&mut server, &frame), Ok(data.clone()));
        let copied = sealed(&mut client, &data).remove(0);
        assert_eq!((frame.len(), &frame[..3]), (copied.len(), &copied[..3]));
        assert_eq!(open(&mut server, &copied), Ok(data));
    }
}

#[test]
fn sealing_in_place_refuses_what_is_no_record_and_nothing_is_lost() {
    let (mut client, mut server) = sessions();
    let limit = limits::MAX_RECORD + Session::OVERHEAD;
    for len in [0, 1, 3, 18, Session::OVERHEAD] {
        assert_eq!(client.sealer.seal_in_place(&mut vec![0; len]), Err(Misuse::BadInput("the record").into()), "{len}");
    }
    let long = Misuse::TooLong { what: "the record", len: limit + 1, limit };
    assert_eq!(client.sealer.seal_in_place(&mut vec![0; limit + 1]), Err(long.into()));
    let record = sealed(&mut client, b"data").remove(0);
    assert_eq!(open(&mut server, &record), Ok(b"data".to_vec()));
    client.sealer.close(&mut Vec::new()).unwrap();
    assert_eq!(client.sealer.seal_in_place(&mut [0; 20]), Err(Misuse::Closed.into()));
}

/// The AEAD of the provider under test, but that it fails at some data, and leaves that as it was.
struct Failing;

struct FailingKey(Box<dyn AeadKey>);

const FAILS: &[u8] = b"fails";

impl Cipher for Failing {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(FailingKey(provider().aes_256_gcm.unwrap().key(key)?)))
    }
}

impl AeadKey for FailingKey {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; limits::TAG], CryptoError> {
        if data == FAILS { Err(CryptoError::Failed) } else { self.0.seal(nonce, aad, data) }
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; limits::TAG]) -> Result<(), CryptoError> {
        self.0.open(nonce, aad, data, tag)
    }
}

#[test]
fn where_the_cipher_fails_nothing_unsealed_is_left_to_be_sent_and_nothing_more_is_sealed() {
    type Seal = fn(&mut Sealer, &mut Vec<u8>) -> Result<(), Error>;
    let in_place: Seal = |sealer, _| sealer.seal_in_place(&mut [&[0; 3][..], FAILS, &[0; 16]].concat());
    let ways: [(Seal, usize); 3] = [
        (|sealer, out| sealer.seal(FAILS, out), 0),
        // The second record of two; the first one is whole.
        (|sealer, out| sealer.seal(&[&[7; limits::MAX_RECORD][..], FAILS].concat(), out), 1),
        (in_place, 0),
    ];
    for (seal, whole) in ways {
        let failing = Provider { aes_256_gcm: Some(&Failing), ..provider() };
        let (mut client, mut server) =
            Scenario::over(failing, RSA2048.server.clone()).suite(Suite::X25519_AES_256_GCM).sessions();
        let mut out = sealed(&mut client, b"data").remove(0);
        assert_eq!(seal(&mut client.sealer, &mut out), Err(CryptoError::Failed.into()));
        let records = cut(&out);
        assert_eq!(records.len(), 1 + whole);
        assert!(records.iter().all(|record| open(&mut server, record).is_ok()));
        let closed = Err(Error::Misuse(Misuse::Closed));
        assert!(client.sealer.is_closed());
        assert_eq!(client.sealer.seal(b"data", &mut out), closed);
        assert_eq!(client.sealer.update_key(&mut out), closed);
        assert_eq!(client.sealer.close(&mut out), closed);
        assert_eq!(client.sealer.seal_in_place(&mut [0; 20]), closed);
        assert_eq!(cut(&out).len(), 1 + whole);
    }
}
