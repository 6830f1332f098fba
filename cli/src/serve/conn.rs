//! A connection that can be taken away from the thread that serves it.

use countersign::blocking::Transport;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A TCP stream whose file descriptor the gate can free.
///
/// Shutting a stream down wakes whoever reads it, but its descriptor lives on until the last owner is gone, and a thread
/// that sleeps until a refusal is due may own it for a while. So the stream is lent out for one call at a time.
pub(crate) struct Conn {
    peer: SocketAddr,
    stream: Mutex<Option<Arc<TcpStream>>>,
    /// Whether the end of reading is our own doing, and not the peer's.
    stopped: AtomicBool,
}

/// How long a read without data takes once the reading half was ended.
const PAUSE: Duration = Duration::from_millis(10);

impl Conn {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        Self { peer, stream: Mutex::new(Some(Arc::new(stream))), stopped: AtomicBool::new(false) }
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Cuts the connection and gives its descriptor back.
    pub(crate) fn cut(&self) {
        if let Some(stream) = self.slot().take() {
            // What fails here is cut already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.slot().is_none()
    }

    /// Ends the reading half, so that the thread that serves the session wakes up and can still say goodbye.
    pub(crate) fn end_reading(&self) {
        if let Ok(stream) = self.stream() {
            self.stopped.store(true, Ordering::SeqCst);
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// As [`Transport::set_timeouts`], from wherever.
    pub(crate) fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        (&*self.stream()?).set_timeouts(timeout)
    }

    fn stream(&self) -> io::Result<Arc<TcpStream>> {
        self.slot().clone().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<TcpStream>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for &Conn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (&*self.stream()?).read(buffer)? {
            // To the session this must not look like a stream that somebody cut: it may still say goodbye.
            // The peer's goodbye still comes through, but nothing waits for it any more: without a pause, whoever asks
            // again until it is here would keep a core busy.
            0 if self.stopped.load(Ordering::SeqCst) => {
                std::thread::sleep(PAUSE);
                Err(io::ErrorKind::TimedOut.into())
            }
            count => Ok(count),
        }
    }
}

impl Write for &Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.stream()?).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for &Conn {
    fn end_sending(&mut self) -> io::Result<()> {
        self.stream()?.shutdown(Shutdown::Write)
    }

    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        Conn::set_timeouts(self, timeout)
    }
}
