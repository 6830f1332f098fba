//! Properties of frames, messages and sessions, against a second decoder written by hand from PROTOCOL.md.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::codec;
use countersign::frame::{self, FrameReader, FrameType};
use countersign::{Error, Received, Session, Suite};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use support::Scenario;
use support::wire::{self, Message};

const HANDSHAKE: [FrameType; 4] =
    [FrameType::ClientHello, FrameType::ServerHello, FrameType::ClientLogin, FrameType::ServerVerdict];

/// Whole frames of any type, with bodies of any allowed length.
fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let one = (0..FrameType::ALL.len(), any::<Index>(), any::<u8>()).prop_map(|(kind, length, byte)| {
        let kind = FrameType::ALL[kind];
        let length = kind.min_body() + length.index(kind.max_body().min(2000).saturating_sub(kind.min_body()) + 1);
        support::frame(kind.byte(), &vec![byte; length])
    });
    vec(one, 1..8)
}

/// Feeds the stream in pieces of these sizes, over and over.
fn read_in_pieces(mut stream: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let (mut reader, mut frames) = (FrameReader::new(), Vec::new());
    let mut sizes = sizes.iter().cycle();
    while !stream.is_empty() {
        let (mut piece, rest) = stream.split_at((*sizes.next().unwrap()).min(stream.len()));
        stream = rest;
        while !piece.is_empty() {
            let missing = reader.missing().unwrap();
            let taken = reader.feed(piece, &FrameType::ALL).unwrap();
            assert!(taken > 0 && missing > 0, "progress");
            piece = &piece[taken..];
            frames.extend(reader.take());
        }
    }
    assert!(reader.is_at_boundary());
    assert_eq!(reader.take(), None);
    frames
}

/// A message of the hand-written kind, with what its type number is below.
#[derive(Clone, Debug)]
enum Any {
    ClientHello(wire::ClientHello),
    ServerHello(wire::ServerHello),
    ClientLogin(wire::ClientLogin),
    Credential(wire::Credential),
    ServerVerdict(wire::ServerVerdict),
    Verdict(wire::Verdict),
    ServerResumption(wire::ServerResumption),
    FactorRequest(wire::FactorRequest),
    Factor(wire::Factor),
}

impl Any {
    const KINDS: usize = 9;

    fn number(&self) -> usize {
        match self {
            Self::ClientHello(_) => 0,
            Self::ServerHello(_) => 1,
            Self::ClientLogin(_) => 2,
            Self::Credential(_) => 3,
            Self::ServerVerdict(_) => 4,
            Self::Verdict(_) => 5,
            Self::ServerResumption(_) => 6,
            Self::FactorRequest(_) => 7,
            Self::Factor(_) => 8,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::ClientHello(message) => message.encode(),
            Self::ServerHello(message) => message.encode(),
            Self::ClientLogin(message) => message.encode(),
            Self::Credential(message) => message.encode(),
            Self::ServerVerdict(message) => message.encode(),
            Self::Verdict(message) => message.encode(),
            Self::ServerResumption(message) => message.encode(),
            Self::FactorRequest(message) => message.encode(),
            Self::Factor(message) => message.encode(),
        }
    }
}

/// Decodes with the library and encodes again; `None` where it refuses.
fn library(number: usize, bytes: &[u8]) -> Option<Vec<u8>> {
    fn both<'a, M: codec::Message<'a>>(bytes: &'a [u8]) -> Option<Vec<u8>> {
        let message = codec::decode::<M>(bytes).ok()?;
        let mut out = Vec::new();
        codec::encode(&message, &mut out).unwrap();
        assert_eq!(message.encoded_len(), out.len());
        Some(out)
    }
    match number {
        0 => both::<codec::ClientHello<'_>>(bytes),
        1 => both::<codec::ServerHello<'_>>(bytes),
        2 => both::<codec::ClientLogin<'_>>(bytes),
        3 => both::<codec::CredentialMessage<'_>>(bytes),
        4 => both::<codec::ServerVerdict<'_>>(bytes),
        5 => both::<codec::VerdictMessage<'_>>(bytes),
        6 => both::<codec::ServerResumption<'_>>(bytes),
        7 => both::<codec::FactorRequest<'_>>(bytes),
        _ => both::<codec::Factor<'_>>(bytes),
    }
}

/// The same by hand.
fn by_hand(number: usize, bytes: &[u8]) -> Option<Vec<u8>> {
    fn both<M: Message>(bytes: &[u8]) -> Option<Vec<u8>> {
        M::decode(bytes).map(|message| message.encode())
    }
    match number {
        0 => both::<wire::ClientHello>(bytes),
        1 => both::<wire::ServerHello>(bytes),
        2 => both::<wire::ClientLogin>(bytes),
        3 => both::<wire::Credential>(bytes),
        4 => both::<wire::ServerVerdict>(bytes),
        5 => both::<wire::Verdict>(bytes),
        6 => both::<wire::ServerResumption>(bytes),
        7 => both::<wire::FactorRequest>(bytes),
        _ => both::<wire::Factor>(bytes),
    }
}

/// The two decoders agree on whether this is a message, and what they accept encodes to itself.
fn agree(number: usize, bytes: &[u8]) -> Result<bool, TestCaseError> {
    let (library, by_hand) = (library(number, bytes), by_hand(number, bytes));
    prop_assert_eq!(&library, &by_hand, "message {}", number);
    if let Some(again) = &library {
        prop_assert_eq!(&again[..], bytes, "message {}", number);
    }
    Ok(library.is_some())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..100)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    ".{0,40}".prop_map(String::into_bytes)
}

fn extensions() -> impl Strategy<Value = wire::Extensions> {
    vec((any::<u16>(), bytes()), 0..=16)
}

/// Context, extensions and proof.
fn answer() -> impl Strategy<Value = ([u8; 8], wire::Extensions, Vec<u8>)> {
    (any::<[u8; 8]>(), extensions(), bytes())
}

fn message() -> impl Strategy<Value = Any> {
    let hello = (
        vec(any::<u16>(), 0..=8),
        vec(any::<u16>(), 0..=16),
        any::<[u8; 32]>(),
        vec((any::<u8>(), bytes()), 0..=4),
        text(),
        vec(any::<[u8; 32]>(), 0..=8),
        (any::<[u8; 8]>(), bytes(), extensions(), bytes(), bytes()),
    );
    let hello = hello.prop_map(|(versions, suites, nonce, key_shares, server_name, known_keys, rest)| {
        let (context, ticket, extensions, rsa_ciphertext, binder) = rest;
        Any::ClientHello(wire::ClientHello {
            versions,
            suites,
            nonce,
            key_shares,
            server_name,
            known_keys,
            context,
            ticket,
            extensions,
            rsa_ciphertext,
            binder,
        })
    });
    let challenge =
        (any::<(u16, u16)>(), any::<([u8; 32], [u8; 32])>(), bytes(), bytes(), vec(any::<u8>(), 0..=8), answer());
    let challenge =
        challenge.prop_map(|((version, suite), (nonce, key_id), spki, key_share, credential_kinds, rest)| {
            let (context, extensions, proof) = rest;
            Any::ServerHello(wire::ServerHello {
                version,
                suite,
                nonce,
                key_id,
                spki,
                key_share,
                credential_kinds,
                context,
                extensions,
                proof,
            })
        });
    let login = (bytes(), bytes()).prop_map(|(rsa_ciphertext, sealed_credential)| {
        Any::ClientLogin(wire::ClientLogin { rsa_ciphertext, sealed_credential })
    });
    let credential = (any::<u8>(), text(), bytes())
        .prop_map(|(kind, user, secret)| Any::Credential(wire::Credential { kind, user, secret }));
    let sealed = any::<u8>().prop_map(|byte| Any::ServerVerdict(wire::ServerVerdict(vec![byte; 2064])));
    let verdict = (any::<u8>(), text(), vec(text(), 0..=32), bytes(), any::<u64>(), extensions());
    let verdict = verdict.prop_map(|(decision, principal, permissions, ticket, ticket_lifetime, extensions)| {
        Any::Verdict(wire::Verdict { decision, principal, permissions, ticket, ticket_lifetime, extensions })
    });
    let resumption = (any::<u16>(), any::<u16>(), any::<[u8; 32]>(), bytes(), extensions(), any::<u8>());
    let resumption = resumption.prop_map(|(version, suite, nonce, key_share, extensions, byte)| {
        let sealed_verdict = vec![byte; 2064];
        Any::ServerResumption(wire::ServerResumption { version, suite, nonce, key_share, extensions, sealed_verdict })
    });
    let request =
        (any::<u8>(), text()).prop_map(|(form, prompt)| Any::FactorRequest(wire::FactorRequest { form, prompt }));
    let factor = bytes().prop_map(|answer| Any::Factor(wire::Factor { answer }));
    prop_oneof![hello, challenge, login, credential, sealed, verdict, resumption, request, factor]
}

/// A change of an encoding: what a careless decoder would let pass.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
    Append(Vec<u8>),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Append(more) => bytes.extend_from_slice(more),
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
            _ if bytes.is_empty() => {}
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << (bit % 8);
            }
            Self::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        1 => any::<Index>().prop_map(Mutation::Remove),
        1 => any::<Index>().prop_map(Mutation::Truncate),
        1 => vec(any::<u8>(), 1..4).prop_map(Mutation::Append),
    ]
}

/// What one side of a session does.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    UpdateKey,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(prop_oneof![6 => (0..40_000_usize).prop_map(Step::Write), 1 => Just(Step::UpdateKey)], 1..12)
}

/// The stream that these steps and a close make, and the bytes in it.
fn write(session: &mut Session, steps: &[Step]) -> (Vec<u8>, Vec<u8>) {
    let (mut stream, mut data) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Write(length) => {
                let piece: Vec<u8> = (data.len()..data.len() + length).map(|at| (at % 251) as u8).collect();
                session.sealer.seal(&piece, &mut stream).unwrap();
                data.extend_from_slice(&piece);
            }
            Step::UpdateKey => session.sealer.update_key(&mut stream).unwrap(),
        }
    }
    session.sealer.close(&mut stream).unwrap();
    (stream, data)
}

/// Everything that comes out of the frames up to the close or the first error.
fn open_all(session: &mut Session, frames: Vec<Vec<u8>>) -> (Vec<u8>, Result<bool, Error>) {
    let mut out = Vec::new();
    for mut frame in frames {
        match session.opener.open(&mut frame) {
            Ok(Received::Data(data)) => out.extend_from_slice(data),
            Ok(Received::KeyUpdate) => {}
            Ok(Received::Close) => return (out, Ok(true)),
            Err(error) => return (out, Err(error)),
        }
    }
    (out, Ok(false))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_a_stream_gives_the_same_frames(frames in frames(), sizes in vec(1..200_usize, 1..10)) {
        prop_assert_eq!(read_in_pieces(&frames.concat(), &sizes), frames);
    }

    #[test]
    fn a_frame_reader_and_split_agree_on_any_bytes(bytes in vec(any::<u8>(), 0..40), small in any::<bool>()) {
        let mut bytes = bytes;
        if small && bytes.len() > 3 {
            bytes[0] %= 9;
            bytes[1] = 0;
        }
        let mut reader = FrameReader::new();
        let whole = match reader.feed(&bytes, &FrameType::ALL) {
            Ok(taken) => {
                let frame = reader.take();
                prop_assert_eq!(frame.as_ref().map_or(bytes.len(), Vec::len), taken);
                frame.filter(|frame| frame.len() == bytes.len())
            }
            Err(_) => None,
        };
        prop_assert_eq!(whole.is_some(), frame::split(&bytes).is_ok());
    }

    #[test]
    fn whatever_is_encoded_is_decoded_to_the_same(message in message()) {
        prop_assert!(agree(message.number(), &message.encode())?, "{:?}", message);
    }

    #[test]
    fn what_is_decoded_from_mutated_encodings_encodes_to_itself(
        message in message(),
        mutations in vec(mutation(), 1..4),
    ) {
        let mut bytes = message.encode();
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        for number in 0..Any::KINDS {
            agree(number, &bytes)?;
        }
    }

    #[test]
    fn what_is_decoded_from_random_bytes_encodes_to_itself(
        bytes in vec(0..4_u8, 0..60),
        noise in vec(any::<u8>(), 0..2000),
    ) {
        for number in 0..Any::KINDS {
            agree(number, &bytes)?;
            agree(number, &noise)?;
        }
    }

    #[test]
    fn no_frame_from_a_stranger_makes_a_machine_panic(
        which in 0..4_usize,
        mutations in vec(mutation(), 1..6),
        noise in proptest::option::of(vec(any::<u8>(), 1..700)),
    ) {
        let scenario = Scenario::new();
        let mut frame = scenario.finish().frames[which].clone();
        match noise {
            Some(noise) => frame = support::frame(HANDSHAKE[which].byte(), &noise),
            None => {
                // The header says what it is and how long, so that it is the body that counts.
                let mut body = frame.split_off(3);
                mutations.iter().for_each(|mutation| mutation.apply(&mut body));
                frame = support::frame(HANDSHAKE[which].byte(), &body);
            }
        }
        let untouched = frame == scenario.finish().frames[which];
        let accepted = match which {
            0 => scenario.answer(&frame).is_ok() && untouched,
            1 => scenario.log_in(scenario.await_challenge().1, &frame).is_ok() && untouched,
            2 => scenario.decide(scenario.await_login().server, &frame).is_ok(),
            _ => scenario.await_verdict().client.read(&frame, support::at(40), support::TODAY).is_ok(),
        };
        prop_assert_eq!(accepted, untouched);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pieces_of_writes_and_reads_give_the_same_bytes(
        steps in steps(),
        sizes in vec(1..30_000_usize, 1..10),
        suite in 0..4_usize,
        from_server in any::<bool>(),
    ) {
        let (mut client, mut server) = Scenario::new().suite(Suite::ALL[suite]).sessions();
        let (from, to) = if from_server { (&mut server, &mut client) } else { (&mut client, &mut server) };
        let (stream, data) = write(from, &steps);
        let (out, end) = open_all(to, read_in_pieces(&stream, &sizes));
        prop_assert_eq!(end, Ok(true));
        prop_assert!(out == data);
        prop_assert_eq!(to.opener.end(), Ok(()));
    }

    #[test]
    fn an_altered_stream_of_records_never_yields_a_wrong_byte(
        steps in steps(),
        mutations in vec(mutation(), 1..3),
        (drop, swap) in (any::<Index>(), any::<Index>()),
        kind in 0..4_u8,
    ) {
        let (mut client, mut server) = Scenario::new().sessions();
        let (stream, data) = write(&mut client, &steps);
        let mut frames = read_in_pieces(&stream, &[100_000]);
        let genuine = frames.clone();
        match kind {
            0 => drop_one(&mut frames, drop),
            1 => {
                let (a, b) = (drop.index(frames.len()), swap.index(frames.len()));
                frames.swap(a, b);
            }
            2 => {
                let again = frames[drop.index(frames.len())].clone();
                frames.insert(swap.index(frames.len() + 1), again);
            }
            _ => {
                let at = drop.index(frames.len());
                mutations.iter().for_each(|mutation| mutation.apply(&mut frames[at]));
            }
        }
        let (out, end) = open_all(&mut server, frames.clone());
        prop_assert!(data.starts_with(&out), "a wrong byte came out");
        if frames != genuine && end == Ok(true) {
            // Only what comes after the close may differ.
            prop_assert!(frames.starts_with(&genuine));
        }
        prop_assert_eq!(end == Ok(true), out == data && frames.starts_with(&genuine));
    }
}

fn drop_one(frames: &mut Vec<Vec<u8>>, at: Index) {
    frames.remove(at.index(frames.len()));
}
