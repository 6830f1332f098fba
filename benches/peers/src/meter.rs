//! A stopwatch for each side, and a scale for what goes over the wire.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// What the handshakes so far took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// The time of the client's steps.
    pub client: Duration,
    /// The time of the server's steps.
    pub server: Duration,
    /// The bytes that the client sent.
    pub to_server: usize,
    /// The bytes that the server sent.
    pub to_client: usize,
}

impl Meter {
    /// Runs a step of the client's.
    pub fn client<T>(&mut self, step: impl FnOnce() -> T) -> T {
        time(&mut self.client, step)
    }

    /// Runs a step of the server's.
    pub fn server<T>(&mut self, step: impl FnOnce() -> T) -> T {
        time(&mut self.server, step)
    }

    /// The client sends these bytes.
    pub fn client_sends(&mut self, bytes: &[u8]) {
        self.to_server += bytes.len();
    }

    /// The server sends these bytes.
    pub fn server_sends(&mut self, bytes: &[u8]) {
        self.to_client += bytes.len();
    }
}

/// Adds what `step` takes to `total`.
fn time<T>(total: &mut Duration, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = black_box(step());
    *total += start.elapsed();
    out
}
