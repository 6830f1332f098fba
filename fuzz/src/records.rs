//! Two sessions, and somebody between them: every record in both directions, whatever becomes of it.
//!
//! ```text
//! input = suite (1) || one act (1) and what it needs after the other
//! ```
//!
//! | `act & 15` | what happens, on the way from the client or, with the top bit, to it |
//! |---|---|
//! | 0 | the sender seals data: length (2) |
//! | 1 | it seals a record in place: length of the frame (2), which may be wrong |
//! | 2 | it changes its key |
//! | 3 | it closes |
//! | 4 | both ends give back what memory they can |
//! | 5, 6, 7 | the next record arrives |
//! | 8 | it is edited: where and how (4) |
//! | 9 | it is lost |
//! | 10 | it comes after the others |
//! | 11 | an earlier record, of either direction, arrives: which (1) |
//! | 12 | a made-up one: type (1), length (2), body |
//! | 13 | both ends export a key: length (2), label and context (1) |
//! | 14, 15 | all records that are under way arrive |
//!
//! What comes out at one end is what went in at the other, in its order, from the first byte on, and then nothing more. An end that has
//! received anything else has ended, and takes nothing more; only the peer's close is a proper end. The other direction goes on. Records
//! have the lengths that they have to have, and take no more memory than that.

use crate::judge::{self, Reached};
use crate::memory;
use crate::peers::Peers;
use crate::{Input, edit, frame};
use countersign::frame::{FrameType, Header, split};
use countersign::{Error, Misuse, Received, RecordError, Session, limits};
use std::collections::VecDeque;

/// More acts, and more data, show nothing that fewer do not.
const MOST_ACTS: usize = 64;
const MOST_DATA: usize = 3 * limits::MAX_RECORD + 100;

/// One direction.
#[derive(Default)]
struct Way {
    /// What is under way.
    wire: VecDeque<Vec<u8>>,
    /// What the sender has sealed, and what is in it.
    sent: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// How many of those the receiver has opened.
    opened: usize,
    closed: bool,
    /// Why the receiver takes nothing more.
    over: Option<Result<(), RecordError>>,
}

pub fn run(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let (mut client, mut server) = Peers::new(input.byte()).seeded(input.seed()).sessions();
    judge::agree(&client, &server);
    let mut ways: [Way; 2] = Default::default();
    let mut acts = 0;
    while !input.is_empty() && acts < MOST_ACTS {
        acts += 1;
        let act = input.byte();
        let down = usize::from(act >> 7);
        let (from, to) = if down == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
        match act & 15 {
            0 => seal(from, &mut ways[down], input.number()),
            1 => seal_in_place(from, &mut ways[down], input.number()),
            2 => {
                let idle = ways[down].sent.last().is_none_or(|(record, _)| is(record, FrameType::KeyUpdate));
                let mut out = Vec::new();
                let updated = from.sealer.update_key(&mut out);
                check_closed(&updated, ways[down].closed);
                assert_eq!(out.is_empty(), idle || ways[down].closed, "an unused key is not changed, a used one is");
                ways[down].put(out, None);
            }
            3 => {
                let mut out = Vec::new();
                let closed = from.sealer.close(&mut out);
                check_closed(&closed, ways[down].closed);
                ways[down].put(out, None);
                ways[down].closed = true;
                assert!(from.sealer.is_closed());
            }
            4 => {
                for session in [from, to] {
                    session.sealer.rest();
                    session.opener.rest();
                }
            }
            5..=7 => {
                let next = ways[down].wire.pop_front();
                arrive(to, &mut ways[down], next);
            }
            8 => {
                let change = [input.byte(), input.byte(), input.byte(), input.byte()];
                let next = ways[down].wire.pop_front().map(|mut record| {
                    edit(change, &mut record);
                    record
                });
                arrive(to, &mut ways[down], next);
            }
            9 => drop(ways[down].wire.pop_front()),
            10 => {
                let some = usize::from(ways[down].wire.len() > 1);
                ways[down].wire.rotate_left(some);
            }
            11 => {
                let number = usize::from(input.byte());
                let of = &ways[number & 1].sent;
                let earlier = (number >> 1).checked_rem(of.len()).map(|at| of[at].0.clone());
                arrive(to, &mut ways[down], earlier);
            }
            12 => {
                let kind = FrameType::ALL[usize::from(input.byte()) % FrameType::ALL.len()];
                let len = input.number();
                let made_up = frame(kind, input.bytes(len));
                arrive(to, &mut ways[down], Some(made_up));
            }
            13 => export(&client, &server, input.number(), input.byte()),
            _ => {
                while let Some(next) = ways[down].wire.pop_front() {
                    arrive(to, &mut ways[down], Some(next));
                }
            }
        }
    }
    if ways.iter().any(|way| way.over.is_some_and(|end| end.is_err())) { Reached::Cut } else { Reached::Session }
}

fn is(record: &[u8], kind: FrameType) -> bool {
    split(record).is_ok_and(|(found, _)| found == kind)
}

/// A closed side seals nothing, an open one everything.
fn check_closed(sealed: &Result<(), Error>, closed: bool) {
    match sealed {
        Ok(()) => assert!(!closed, "something was sealed after the close"),
        Err(error) => assert!(closed && matches!(error, Error::Misuse(Misuse::Closed)), "{error:?}"),
    }
}

impl Way {
    fn put(&mut self, record: Vec<u8>, data: Option<Vec<u8>>) {
        if !record.is_empty() {
            self.wire.push_back(record.clone());
            self.sent.push((record, data));
        }
    }
}

fn seal(from: &mut Session, way: &mut Way, len: usize) {
    let data: Vec<u8> = (0..len % MOST_DATA).map(|at| (at % 251) as u8).collect();
    let mut out = Vec::new();
    let records = data.len().div_ceil(limits::MAX_RECORD);
    let size = data.len() + records * Session::OVERHEAD;
    // A buffer that grows is there twice while it does, and the key is made at the first record.
    let sealed = memory::within(3 * size + 1024, || from.sealer.seal(&data, &mut out));
    check_closed(&sealed, way.closed);
    assert_eq!(out.len(), if way.closed { 0 } else { size }, "a record has its data, and what is around it");
    let mut rest = &out[..];
    let mut pieces = data.chunks(limits::MAX_RECORD);
    while let Ok(Some(header)) = Header::parse(rest) {
        let (record, after) = rest.split_at(limits::FRAME_HEADER + header.body);
        assert_eq!(header.kind, FrameType::Data);
        let piece = pieces.next().expect("as many records as pieces");
        assert!(piece.len() < 16 || !record.windows(piece.len()).any(|window| window == piece), "data in the clear");
        way.put(record.to_vec(), Some(piece.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty());
}

fn seal_in_place(from: &mut Session, way: &mut Way, len: usize) {
    let mut record = vec![7; len];
    let data = record.get(3..len.saturating_sub(limits::TAG)).unwrap_or_default().to_vec();
    // It may have to make its key.
    let sealed = memory::within(1024, || from.sealer.seal_in_place(&mut record));
    let fits = (1..=limits::MAX_RECORD).contains(&len.saturating_sub(Session::OVERHEAD));
    match sealed {
        Ok(()) => {
            assert!(fits && !way.closed);
            way.put(record, Some(data));
        }
        Err(Error::Misuse(Misuse::Closed)) => assert!(way.closed && fits),
        Err(Error::Misuse(_)) => {
            assert!(!fits);
            assert!(record.iter().all(|&byte| byte == 7), "a frame that can't be sealed is left alone");
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn arrive(to: &mut Session, way: &mut Way, record: Option<Vec<u8>>) {
    let Some(mut record) = record else { return };
    let next = way.sent.get(way.opened).filter(|(sent, _)| way.over.is_none() && *sent == record);
    assert_eq!(
        to.opener.end(),
        way.over.unwrap_or(Err(RecordError::Truncated)),
        "the first end is the one that counts"
    );
    // In place: the key at most is made for it.
    let (result, held) = memory::held(|| to.opener.open(&mut record));
    assert!(held <= 1024, "a record took {held} bytes more");
    if way.over.is_some() {
        assert!(matches!(result, Err(Error::Record(RecordError::AfterEnd))), "{result:?} after the end");
        return;
    }
    match judge::received(&result, next) {
        Some(FrameType::Close) => way.over = Some(Ok(())),
        Some(_) => {}
        None => {
            let Err(Error::Record(why)) = result else { panic!("no error of a record: {result:?}") };
            assert!(!matches!(why, RecordError::KeyOverused), "nobody uses a key that often here");
            way.over = Some(Err(why));
        }
    }
    if let Ok(Received::Data(data)) = result {
        assert!((1..=limits::MAX_RECORD).contains(&data.len()));
    }
    way.opened += 1;
    assert_eq!(to.opener.end(), way.over.unwrap_or(Err(RecordError::Truncated)));
}

/// Both ends export the same, and another label or context gives something else.
fn export(client: &Session, server: &Session, len: usize, label: u8) {
    let labels = ["", "one", "two", "with\0nul", &"x".repeat(256)];
    let (name, context) = (labels[usize::from(label) % labels.len()], [label >> 4]);
    let len = len % 8200;
    let exported = [client, server].map(|end| {
        let mut out = vec![0; len];
        end.info.export(name, &context, &mut out).map(|()| out)
    });
    let is_good = matches!(name, "one" | "two") && (1..=8160).contains(&len);
    assert_eq!(exported[0], exported[1], "the two ends export different keys");
    match &exported[0] {
        Ok(key) => {
            assert!(is_good);
            let mut other = vec![0; len];
            server.info.export(name, &[!context[0]], &mut other).unwrap();
            assert!(len < 16 || other != *key, "the context makes no difference");
        }
        Err(_) => assert!(!is_good),
    }
}
