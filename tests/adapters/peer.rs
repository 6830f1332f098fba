//! A peer that is driven by hand over a plain socket, and does what no adapter would.

use crate::ends::HANG;
use crate::support::{Scenario, TODAY, at};
use countersign::client::{AwaitChallenge, AwaitVerdict};
use countersign::frame::{FrameReader, FrameType};
use countersign::{Credential, Error, Session};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

pub struct Peer(pub TcpStream);

/// Length of a verdict's frame: every one of them.
pub const VERDICT: usize = 2067;

impl Peer {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(HANG)).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub fn receive(&mut self, kind: FrameType) -> Vec<u8> {
        let mut reader = FrameReader::new();
        loop {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            reader.feed(&byte, &[kind]).unwrap();
            if let Some(frame) = reader.take() {
                return frame;
            }
        }
    }

    /// Whether anything is there to be received.
    pub fn has_answer(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let is_there = self.0.peek(&mut [0]).is_ok_and(|len| len > 0);
        self.0.set_nonblocking(false).unwrap();
        is_there
    }

    /// Everything up to the end, or to a reset.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        rest
    }

    /// Everything up to the end, which is no reset: that could have taken with it what was sent last.
    pub fn rest_without_reset(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }

    /// Up to the server's challenge.
    pub fn hello(&mut self, scenario: &Scenario) -> Challenged {
        let (hello, state) = scenario.await_challenge();
        self.send(&hello);
        let challenge = self.receive(FrameType::ServerHello);
        Challenged { hello, challenge, state }
    }

    /// Up to the login.
    pub fn login(&mut self, scenario: &Scenario, credential: Credential<'static>) -> AwaitVerdict {
        let Challenged { challenge, state, .. } = self.hello(scenario);
        let (login, state) = scenario.clone().credential(credential).log_in(state, &challenge).unwrap();
        self.send(&login);
        state
    }

    /// Up to the verdict.
    pub fn finish_login(&mut self, scenario: &Scenario, credential: Credential<'static>) -> Result<Session, Error> {
        let state = self.login(scenario, credential);
        state.read(&self.receive(FrameType::ServerVerdict), at(100), TODAY)
    }

    pub fn end_sending(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

pub struct Challenged {
    pub hello: Vec<u8>,
    pub challenge: Vec<u8>,
    pub state: AwaitChallenge,
}
