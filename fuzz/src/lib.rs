//! What the fuzz targets do, as functions: `tests/seeds.rs` runs them on the seeds without a fuzzer.

pub mod decode;
mod hostile;
mod peers;
pub mod seeds;
pub mod server_machine;
#[path = "../../tests/support/toy.rs"]
mod toy;

use countersign::frame::FrameType;

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

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A frame with the right length in its header, which a fuzzer would take long to find by itself.
fn frame(kind: FrameType, body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(kind.max_body())];
    let len = u16::try_from(body.len()).expect("no frame has a longer body");
    [&[kind.byte()], &len.to_be_bytes()[..], body].concat()
}
