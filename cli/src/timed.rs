//! A connection whose every step has an end, however slowly the peer goes about it.

use countersign::blocking::Transport;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A TCP stream with one moment by which all reads and writes have to be done.
///
/// The timeouts of a socket bound one call each. A peer that sends a byte, or a record without data, before each of them
/// is over could go on for ever.
pub(crate) struct Timed {
    stream: TcpStream,
    /// `None` for never.
    end: Cell<Option<Instant>>,
}

impl Timed {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, end: Cell::new(None) }
    }

    /// Everything from now on has to be done after `time`, until the next call.
    pub(crate) fn allow(&self, time: Option<Duration>) {
        self.end.set(time.and_then(|time| Instant::now().checked_add(time)));
    }

    /// Puts what is left on the next call.
    fn arm(&self) -> io::Result<()> {
        let left = self.end.get().map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        (&self.stream).set_timeouts(left)
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm()?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Timed {
    /// Stricter than asked for: bounds all later calls together.
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.allow(timeout);
        Ok(())
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_peer_that_always_has_something_to_say_does_not_put_the_end_off() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut timed = Timed::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (mut peer, _) = listener.accept().unwrap();
        let talk = std::thread::spawn(move || while peer.write_all(&[0; 1024]).is_ok() {});
        timed.allow(Some(Duration::from_millis(50)));
        let end = loop {
            if let Err(error) = timed.read(&mut [0; 16]) {
                break error.kind();
            }
        };
        assert!(matches!(end, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{end}");
        assert!(timed.write(b"x").is_err());
        // Another step, another end.
        timed.allow(None);
        assert_eq!(timed.read(&mut [0; 16]).unwrap(), 16);
        drop(timed);
        talk.join().unwrap();
    }
}
