//! One question over a Unix socket, within bounds of size and time.

use crate::crypto::SignError;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Longest message either way, as OpenSSH's agent has it.
const LONGEST: usize = 256 << 10;

/// Sends a message and gives the answer: both with their length in front of them on the wire, and without it here.
pub(super) fn ask(path: &Path, request: &[u8], timeout: Duration) -> Result<Vec<u8>, SignError> {
    let deadline = Deadline(Instant::now().checked_add(timeout).ok_or(SignError::TimedOut)?);
    let len = u32::try_from(request.len()).ok().filter(|_| request.len() <= LONGEST).ok_or(SignError::Refused)?;
    let mut stream = connect(path, &deadline)?;
    deadline.write(&mut stream, &len.to_be_bytes())?;
    deadline.write(&mut stream, request)?;
    let mut len = [0; 4];
    deadline.read(&mut stream, &mut len)?;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len == 0 || len > LONGEST {
        return Err(SignError::Garbled);
    }
    let mut answer = vec![0; len];
    deadline.read(&mut stream, &mut answer)?;
    Ok(answer)
}

/// In a thread of its own, which is left behind where an agent that hangs lets nobody in.
fn connect(path: &Path, deadline: &Deadline) -> Result<UnixStream, SignError> {
    let (tell, told) = mpsc::channel();
    let path = path.to_owned();
    let connector = move || drop(tell.send(UnixStream::connect(path)));
    thread::Builder::new().spawn(connector).map_err(failed)?;
    told.recv_timeout(deadline.left()?).map_err(|_| SignError::TimedOut)?.map_err(failed)
}

/// Until when everything has to be done.
struct Deadline(Instant);

impl Deadline {
    /// How long that is; never nothing, which would be for ever to a socket.
    fn left(&self) -> Result<Duration, SignError> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(SignError::TimedOut) } else { Ok(left) }
    }

    fn read(&self, stream: &mut UnixStream, mut out: &mut [u8]) -> Result<(), SignError> {
        while !out.is_empty() {
            stream.set_read_timeout(Some(self.left()?)).map_err(failed)?;
            let len = again(|| stream.read(out))?;
            out = out.get_mut(len..).filter(|_| len > 0).ok_or(SignError::Gone)?;
        }
        Ok(())
    }

    fn write(&self, stream: &mut UnixStream, mut bytes: &[u8]) -> Result<(), SignError> {
        while !bytes.is_empty() {
            stream.set_write_timeout(Some(self.left()?)).map_err(failed)?;
            let len = again(|| stream.write(bytes))?;
            bytes = bytes.get(len..).filter(|_| len > 0).ok_or(SignError::Gone)?;
        }
        Ok(())
    }
}

fn again(mut step: impl FnMut() -> io::Result<usize>) -> Result<usize, SignError> {
    loop {
        match step() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map_err(failed),
        }
    }
}

fn failed(error: io::Error) -> SignError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => SignError::TimedOut,
        _ => SignError::Gone,
    }
}
