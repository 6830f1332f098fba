//! What the fuzz targets do, as functions: `tests/seeds.rs` runs them on the seeds without a fuzzer.

mod between;
pub mod certificates;
pub mod client_machine;
pub mod command;
pub mod connection;
pub mod decode;
pub mod files;
mod hostile;
mod judge;
mod memory;
pub mod mutate;
pub mod passwords;
mod peers;
pub mod proxy;
pub mod records;
pub mod seeds;
pub mod server_machine;
pub mod tickets;
#[path = "../../tests/support/toy.rs"]
mod toy;

use countersign::frame::FrameType;
use countersign::limits;
pub use judge::Reached;

/// What a target does with an input.
type Run = fn(&[u8]);

/// All targets.
pub const TARGETS: [(&str, Run); 11] = [
    ("certificates", |data| _ = certificates::run(data)),
    ("client_machine", |data| _ = client_machine::run(data)),
    ("command", |data| _ = command::run(data)),
    ("connection", |data| _ = connection::run(data)),
    ("decode", decode::run),
    ("files", |data| _ = files::run(data)),
    ("passwords", |data| _ = passwords::run(data)),
    ("proxy", |data| _ = proxy::run(data)),
    ("records", |data| _ = records::run(data)),
    ("server_machine", |data| _ = server_machine::run(data)),
    ("tickets", |data| _ = tickets::run(data)),
];

/// A fuzz target of this name, with the mutator for its inputs.
#[macro_export]
macro_rules! target {
    ($module:ident) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            $crate::$module::run(data);
        });
    };
    ($module:ident, $kind:ident) => {
        $crate::target!($module);
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let changed = $crate::mutate::mutate($crate::mutate::Kind::$kind, data, size, max_size, seed);
            changed.unwrap_or_else(|| libfuzzer_sys::fuzzer_mutate(data, size, max_size))
        });
    };
}

/// The fuzzer's bytes, read from the front. Past the end there are zeros, so that every input means something.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    /// As many as there are, up to `len`.
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For keys of this input's own. Under the same keys in every run, the fuzzer reads a record off one run's comparisons
    /// and sends it in another: authentic, and never sent.
    fn seed(&self) -> u64 {
        self.0.iter().fold(0, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }
}

/// A frame with the right length in its header, which a fuzzer would take long to find by itself.
fn frame(kind: FrameType, body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(kind.max_body())];
    let len = u16::try_from(body.len()).expect("no frame has a longer body");
    [&[kind.byte()], &len.to_be_bytes()[..], body].concat()
}

/// The body in a frame, or as a frame itself.
fn in_frame(header: bool, kind: FrameType, body: &[u8]) -> Vec<u8> {
    if header { frame(kind, body) } else { body.to_vec() }
}

/// Flips, cuts, inserts or removes at a place, by the low bits of `how`.
fn edit([how, high, low, byte]: [u8; 4], frame: &mut Vec<u8>) {
    let at = usize::from(u16::from_be_bytes([high, low])) % (frame.len() + 1);
    match how & 3 {
        0 if at < frame.len() => frame[at] ^= byte,
        1 => frame.truncate(at),
        2 => frame.insert(at, byte),
        3 if at < frame.len() => drop(frame.remove(at)),
        _ => frame.push(byte),
    }
    // With this bit the edit gets past the check of the length.
    if how & 4 != 0 && frame.len() >= limits::FRAME_HEADER {
        let len = u16::try_from(frame.len() - limits::FRAME_HEADER).unwrap_or(u16::MAX);
        frame[1..3].copy_from_slice(&len.to_be_bytes());
    }
}
