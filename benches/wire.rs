//! What bytes cost: messages, frames and records.
//!
//! - `codec/...`: each message of a default login, to bytes and back, without its frame.
//! - `frame/...`: a [`FrameReader`] on a whole stream, by the size of the pieces that arrive.
//! - `record/...`: one sealed record of a session, by AEAD and size.
//! - `bare/...`: the AEAD's crate with nothing around it, in the same run: what a record costs over it is ours.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit, Nonce};
use chacha20poly1305::ChaCha20Poly1305;
use core::hint::black_box;
use core::time::Duration;
use countersign::codec::{self, Bytes, ClientHello, ClientLogin, CredentialMessage, List, Message, ServerHello};
use countersign::codec::{Extensions, GrantMessage, ServerVerdict, Text, VerdictMessage};
use countersign::crypto::rustcrypto;
use countersign::frame::{FrameReader, FrameType, split};
use countersign::{Aead, Received, Session, Suite, limits};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use support::{KEYS, Peers, claim, grant, rng};

fn messages(c: &mut Criterion) {
    let peers = Peers::new(rustcrypto::provider(), Suite::DEFAULT[0], KEYS[0].1);
    let rng = &mut rng();
    let (hello, client) = peers.hello(rng);
    let (challenge, server) = peers.challenge(hello.clone(), rng);
    let (login, _) = peers.seal(client, &challenge, rng);
    let verdict = claim(server, login.clone(), rng).accept(grant()).unwrap().frame;
    let body = |frame| split(frame).unwrap().1;

    message::<ClientHello<'_>>(c, "client-hello", body(&hello));
    let peers = peers.with_proof();
    let (proving, _) = peers.hello(rng);
    let (proved, _) = peers.challenge(proving.clone(), rng);
    message::<ClientHello<'_>>(c, "client-hello-for-a-proof", body(&proving));
    message::<ServerHello<'_>>(c, "server-hello-with-proof", body(&proved));
    message::<ServerHello<'_>>(c, "server-hello", body(&challenge));
    message::<ClientLogin<'_>>(c, "client-login", body(&login));
    message::<ServerVerdict<'_>>(c, "server-verdict", body(&verdict));

    // These two travel sealed.
    let credential = CredentialMessage { kind: 1, user: Text("alice"), secret: Bytes(b"correct horse") };
    message::<CredentialMessage<'_>>(c, "credential", &encode(&credential));
    let permissions = List::from_slice(&[Text("read"), Text("write")]).unwrap();
    let grant = GrantMessage { decision: 1, principal: Text("alice"), permissions };
    let verdict = VerdictMessage {
        grant,
        ticket: Bytes(&[7; limits::TICKET]),
        ticket_lifetime: 1,
        extensions: Extensions::new(),
    };
    message::<VerdictMessage<'_>>(c, "verdict", &encode(&verdict));
}

fn message<'a, M: Message<'a>>(c: &mut Criterion, name: &str, body: &'a [u8]) {
    let message: M = codec::decode(body).unwrap();
    assert_eq!(encode(&message), body);
    c.bench_function(&format!("codec/decode/{name}"), |b| b.iter(|| codec::decode::<M>(black_box(body)).unwrap()));
    c.bench_function(&format!("codec/encode/{name}"), |b| {
        // Into a buffer that is there already: allocating one would be most of the time.
        let mut out = Vec::with_capacity(body.len());
        b.iter(|| {
            out.clear();
            codec::encode(black_box(&message), &mut out).unwrap();
        });
    });
}

fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(message, &mut out).unwrap();
    out
}

fn framing(c: &mut Criterion) {
    let (mut client, _) = Peers::new(rustcrypto::provider(), Suite::DEFAULT[0], KEYS[0].1).sessions();
    let mut small = Vec::new();
    for _ in 0..64 {
        client.sealer.seal(&[0; 64], &mut small).unwrap();
    }
    let mut large = Vec::new();
    client.sealer.seal(&[0; 64 * 1024], &mut large).unwrap();

    let mut group = c.benchmark_group("frame");
    for (stream, records) in [(&large, "16KiB-records"), (&small, "64B-records")] {
        group.throughput(Throughput::Bytes(stream.len() as u64));
        // All at once, by the Ethernet packet, and by the byte.
        for (size, pieces) in [(stream.len(), "whole"), (1460, "in-1460B-pieces"), (1, "in-1B-pieces")] {
            let count = cut(stream, size);
            assert_eq!(count, if records == "64B-records" { 64 } else { 4 });
            group.bench_function(format!("{records}/{pieces}"), |b| b.iter(|| cut(black_box(stream), size)));
        }
    }
    group.finish();
}

/// The number of frames in `stream`, which arrives in pieces of `size` bytes.
fn cut(stream: &[u8], size: usize) -> usize {
    let (mut reader, mut count) = (FrameReader::new(), 0);
    for mut piece in stream.chunks(size) {
        while !piece.is_empty() {
            let taken = reader.feed(piece, &[FrameType::Data]).unwrap();
            piece = &piece[taken..];
            count += usize::from(reader.take().map(black_box).is_some());
        }
    }
    count
}

const SIZES: [(usize, &str); 2] = [(1024, "1KiB"), (16 * 1024, "16KiB")];

fn records(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    for suite in [Suite::X25519_AES_256_GCM, Suite::X25519_CHACHA20_POLY1305] {
        for (size, name) in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let (client, server) = Peers::new(rustcrypto::provider(), suite, KEYS[0].1).sessions();
            record(&mut group, client, server, suite.aead, &vec![7; size], name);
        }
    }
    group.finish();
}

fn record(
    group: &mut BenchmarkGroup<'_, WallTime>,
    mut client: Session,
    mut server: Session,
    aead: Aead,
    data: &[u8],
    name: &str,
) {
    // Opening first: what it seals in its setup is opened in the same order.
    group.bench_function(format!("open/{aead}/{name}"), |b| {
        let seal = || {
            let mut record = Vec::new();
            client.sealer.seal(data, &mut record).unwrap();
            record
        };
        let open = |record: &mut Vec<u8>| assert!(matches!(server.opener.open(record), Ok(Received::Data(_))));
        b.iter_batched_ref(seal, open, BatchSize::LargeInput);
    });
    group.bench_function(format!("seal/{aead}/{name}"), |b| {
        // Into a buffer that is there already, as the adapters do it.
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            client.sealer.seal(black_box(data), &mut out).unwrap();
        });
    });
}

/// The same AEAD operations without this library.
fn bare(c: &mut Criterion) {
    let mut group = c.benchmark_group("bare");
    for (size, name) in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        aead(&mut group, &Aes256Gcm::new(&[1; 32].into()), Aead::Aes256Gcm, size, name);
        aead(&mut group, &ChaCha20Poly1305::new(&[1; 32].into()), Aead::ChaCha20Poly1305, size, name);
    }
    group.finish();
}

fn aead<A: AeadInOut<NonceSize = U12>>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    key: &A,
    aead: Aead,
    size: usize,
    name: &str,
) {
    // In place, over a record's header.
    let (nonce, header) = (Nonce::<A>::from([2; 12]), [5, 0, 0]);
    let seal = |data: &mut [u8]| key.encrypt_inout_detached(&nonce, &header, data.into()).unwrap();
    let mut sealed = vec![7; size];
    let tag = seal(&mut sealed);

    group.bench_function(format!("open/{aead}/{name}"), |b| {
        let open =
            |data: &mut Vec<u8>| key.decrypt_inout_detached(&nonce, &header, data.as_mut_slice().into(), &tag).unwrap();
        b.iter_batched_ref(|| sealed.clone(), open, BatchSize::LargeInput);
    });
    group.bench_function(format!("seal/{aead}/{name}"), |b| {
        let mut data = vec![7; size];
        b.iter(|| seal(black_box(&mut data)));
    });
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! { name = benches; config = config(); targets = messages, framing, records, bare }
criterion_main!(benches);
