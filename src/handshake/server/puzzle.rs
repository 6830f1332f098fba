//! A puzzle between the ClientHello and what it costs to answer it.

use super::hello::{Hello, busy_with};
use crate::crypto::CryptoRng;
use crate::handshake;
use crate::limits;
use crate::terms::error::{Error, Violation};
use crate::terms::puzzle::{EXTENSION, Puzzle, PuzzleDifficulty};
use crate::time::Moment;
use crate::wire::codec::{self, Bytes, Extension, Extensions, PuzzleMessage, Solution};
use crate::wire::frame::FrameType;
use core::time::Duration;

impl Hello {
    /// Asks the client for work before anything costly is done for it: gives the Busy frame to send, with a fresh puzzle. A client that
    /// solves no puzzles takes it for any other Busy, and comes back after `retry_after`.
    ///
    /// Asked before [`Hello::open`] it covers what the hello costs and what the login after it does.
    ///
    /// # Errors
    /// [`Error`]; close the connection then, and send nothing.
    pub fn puzzle(
        self,
        difficulty: PuzzleDifficulty,
        retry_after: Duration,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, AwaitSolution), Error> {
        let mut nonce = [0; limits::NONCE];
        rng.fill_bytes(&mut nonce);
        let mut data = Vec::new();
        codec::encode(&PuzzleMessage { bits: difficulty.bits(), nonce }, &mut data)?;
        let mut extensions = Extensions::new();
        // There is room for one.
        let _ = extensions.push(Extension { number: EXTENSION, data: Bytes(&data) });
        let frame = busy_with(retry_after, extensions);
        let puzzle = Puzzle::new(difficulty, &nonce, self.frame());
        Ok((frame, AwaitSolution { hello: self, puzzle }))
    }
}

/// The puzzle is out; its solution is awaited. Until then the ClientHello is kept, and nothing else on the heap: up to 6279 bytes, 1320 of a client with
/// the default suites, and 1608 of one that has sealed a secret to a key of 2048 bits.
pub struct AwaitSolution {
    hello: Hello,
    puzzle: Puzzle,
}

impl AwaitSolution {
    /// The frames that may come now.
    pub const EXPECTS: &'static [FrameType] = &[FrameType::Solution];

    /// When the login must have arrived; the solution takes a part of that time.
    pub fn deadline(&self) -> Moment {
        self.hello.deadline()
    }

    /// Reads the Solution, one whole frame, and checks it: sixteen hashes.
    ///
    /// # Errors
    /// [`Error`]; close the connection then, and send nothing.
    pub fn read(self, frame: &[u8], now: Moment) -> Result<Hello, Error> {
        if now > self.deadline() {
            return Err(Error::DeadlinePassed);
        }
        let solution: Solution<'_> = handshake::read(FrameType::Solution, frame)?;
        if !self.puzzle.check(solution.counters) {
            return Err(Violation::WrongSolution.into());
        }
        Ok(self.hello.arrived(now))
    }
}

crate::opaque_debug!(AwaitSolution);
