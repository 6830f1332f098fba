//! Bytes into every decoder and into the framing. Whatever is accepted must turn back into the same bytes. Decoding takes no memory at
//! all, and a stream as much as has arrived of a frame, whatever length its header has.
//!
//! ```text
//! input = seed of the first split (1) || seed of the second (1) || frame type (1) || bytes
//! ```

use crate::{Input, frame, memory};
use countersign::codec::{self, Busy, ClientHello, ClientLogin, CredentialMessage, KeyProof, Message, ServerHello};
use countersign::codec::{
    ClientFactor, Confirm, Factor, FactorRequest, PuzzleMessage, ServerResumption, ServerVerdict, Solution,
    StretchedMessage, StretchingMessage, VerdictMessage,
};
use countersign::frame::{FrameError, FrameReader, FrameType, Header, split};
use countersign::{SignedManifest, limits};

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let splits = [input.byte(), input.byte()];
    let kind = FrameType::ALL[usize::from(input.byte()) % FrameType::ALL.len()];
    let bytes = input.rest();

    messages(bytes);
    let framed = frame(kind, bytes);
    whole(&framed);
    whole(bytes);

    // A good frame in front, so that a stream does not end where it begins.
    let stream = [&framed, bytes].concat();
    let expected = cut(&stream);
    for seed in splits {
        assert_eq!(read(&stream, seed), expected);
    }
}

/// Gives how many decoders took the bytes.
pub fn messages(bytes: &[u8]) -> usize {
    [
        message::<ClientHello<'_>>(bytes),
        message::<ServerHello<'_>>(bytes),
        message::<ClientLogin<'_>>(bytes),
        message::<ServerVerdict<'_>>(bytes),
        message::<ServerResumption<'_>>(bytes),
        message::<CredentialMessage<'_>>(bytes),
        message::<KeyProof<'_>>(bytes),
        message::<StretchingMessage<'_>>(bytes),
        message::<StretchedMessage<'_>>(bytes),
        message::<VerdictMessage<'_>>(bytes),
        message::<Busy<'_>>(bytes),
        message::<Confirm<'_>>(bytes),
        message::<ClientFactor<'_>>(bytes),
        message::<Factor<'_>>(bytes),
        message::<FactorRequest<'_>>(bytes),
        message::<PuzzleMessage>(bytes),
        message::<Solution<'_>>(bytes),
        manifest(bytes),
    ]
    .into_iter()
    .filter(|&decoded| decoded)
    .count()
}

fn message<'a, M: Message<'a>>(bytes: &'a [u8]) -> bool {
    let Ok(message) = memory::within(0, || codec::decode::<M>(bytes)) else { return false };
    assert_eq!(message.encoded_len(), bytes.len());
    let mut again = Vec::new();
    codec::encode(&message, &mut again).unwrap();
    assert_eq!(again, bytes, "not the canonical encoding");
    true
}

/// A manifest that is taken is these very bytes, in its text as well, and no longer than one may be.
fn manifest(bytes: &[u8]) -> bool {
    let Ok(manifest) = SignedManifest::from_bytes(bytes) else { return false };
    assert_eq!(manifest.as_bytes(), bytes);
    assert!(bytes.len() <= limits::MANIFEST);
    assert_eq!(SignedManifest::from_pem(&manifest.to_pem()).as_ref(), Ok(&manifest));
    true
}

fn whole(bytes: &[u8]) {
    if let Ok((kind, body)) = split(bytes) {
        assert_eq!(frame(kind, body), bytes);
        assert!((kind.min_body()..=kind.max_body()).contains(&body.len()));
    }
}

/// The frames of a stream, and how it ends: the bytes left over, or why it can't be followed any further.
type Cut = (Vec<Vec<u8>>, Result<usize, FrameError>);

/// As the definition of a frame has it.
fn cut(mut stream: &[u8]) -> Cut {
    let mut frames = Vec::new();
    loop {
        let end = match Header::parse(stream) {
            Ok(Some(header)) => 3 + header.body,
            Ok(None) => return (frames, Ok(stream.len())),
            Err(error) => return (frames, Err(error)),
        };
        let Some((frame, rest)) = stream.split_at_checked(end) else { return (frames, Ok(stream.len())) };
        assert!(split(frame).is_ok());
        frames.push(frame.to_vec());
        stream = rest;
    }
}

/// As an adapter does it, with pieces of sizes that follow from `seed`.
fn read(stream: &[u8], seed: u8) -> Cut {
    let (mut reader, mut frames, mut number) = (FrameReader::new(), Vec::new(), usize::from(seed));
    let (mut rest, mut buffered) = (stream, 0);
    while !rest.is_empty() {
        number = (number * 25_173 + 13_849) % 65_536;
        let size = 1 + number % [3, 17, 300][number % 3];
        let piece = &rest[..size.min(rest.len())];
        // A buffer that grows has room for twice what is in it.
        match memory::within(2 * (buffered + piece.len()) + 16, || reader.feed(piece, &FrameType::ALL)) {
            Ok(taken) => {
                rest = &rest[taken..];
                buffered += taken;
            }
            Err(error) => return (frames, Err(error)),
        }
        if let Some(frame) = reader.take() {
            frames.push(frame);
            buffered = 0;
        }
    }
    let left = stream.len() - frames.iter().map(Vec::len).sum::<usize>();
    assert_eq!(reader.is_at_boundary(), left == 0);
    (frames, Ok(left))
}
