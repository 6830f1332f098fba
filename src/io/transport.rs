//! What blocking streams need: deadlines, on the stream itself or under another one.

use core::fmt;
use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A byte stream that a deadline can be put on.
///
/// Implemented for [`TcpStream`] and Unix streams, owned and by reference. For a stream over one of these, such as TLS, there are
/// [`Timed`] and [`Over`]; wrap anything else in [`Untimed`], and bound its time in some other way.
pub trait Transport: Read + Write {
    /// Makes every later read and write fail with [`io::ErrorKind::WouldBlock`] or [`io::ErrorKind::TimedOut`] after
    /// this long; `None` waits for ever.
    ///
    /// # Errors
    /// As the transport's own.
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Makes every later read and write fail with [`io::ErrorKind::WouldBlock`] where it would have to wait, or undoes that.
    /// Gives whether the transport can do so. One that can't keeps the thread that accepts until a refusal is due and sent, and
    /// a peer that leaves early is noticed late.
    ///
    /// # Errors
    /// As the transport's own.
    fn set_nonblocking(&mut self, nonblocking: bool) -> io::Result<bool> {
        let _ = nonblocking;
        Ok(false)
    }

    /// Ends the sending direction and leaves the other one open, if the transport can do that.
    ///
    /// # Errors
    /// As the transport's own.
    fn end_sending(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// What ends a read or write that waits, from another thread, if the transport can do that. A session over one that can't, which is ended from
    /// outside ([`crate::Recheck`]), notices at its next call.
    ///
    /// # Errors
    /// The transport's, such as that there is no descriptor left for it: no session begins then, rather than one that nobody can end.
    fn stopper(&mut self) -> io::Result<Option<Stopper>> {
        Ok(None)
    }
}

/// Ends reads and writes that wait on a transport, from another thread; or has an event loop look at a session ([`crate::Link::stopper`]).
pub struct Stopper(Box<dyn Fn(Shutdown) + Send>);

impl Stopper {
    /// Calls `stop` with the direction to end, such as to shut a socket down; it must not block. It is called twice at the most, for reading first,
    /// and dropped with the stream.
    pub fn new(stop: impl Fn(Shutdown) + Send + 'static) -> Self {
        Self(Box::new(stop))
    }

    pub(super) fn stop(&self, how: Shutdown) {
        (self.0)(how);
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

macro_rules! transport {
    ($inner:ty: $($stream:ty),*) => { $(
        impl Transport for $stream {
            fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(timeout)?;
                self.set_write_timeout(timeout)
            }

            fn set_nonblocking(&mut self, nonblocking: bool) -> io::Result<bool> {
                <$inner>::set_nonblocking(self, nonblocking).map(|()| true)
            }

            fn end_sending(&mut self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }

            /// A second handle of the socket: one descriptor more.
            fn stopper(&mut self) -> io::Result<Option<Stopper>> {
                let handle = self.try_clone()?;
                // One that is gone needs no end.
                Ok(Some(Stopper::new(move |how| drop(handle.shutdown(how)))))
            }
        }
    )* };
}
transport!(TcpStream: TcpStream, &TcpStream);
#[cfg(unix)]
transport!(std::os::unix::net::UnixStream: std::os::unix::net::UnixStream, &std::os::unix::net::UnixStream);

/// A transport whose timeouts bound a whole call, also of a stream above it: however many reads TLS makes for one of its
/// records, and whatever a peer drips, all of them end when the first would have.
///
/// A clone is the same transport. Give one to the stream above, and another to [`Over`].
pub struct Timed<S>(Arc<Deadlined<S>>);

struct Deadlined<S> {
    stream: S,
    deadline: Mutex<Option<Instant>>,
}

impl<S> Timed<S>
where
    for<'a> &'a S: Transport,
{
    /// Puts deadlines on `stream`.
    pub fn new(stream: S) -> Self {
        Self(Arc::new(Deadlined { stream, deadline: Mutex::new(None) }))
    }

    /// The transport, for its addresses and options.
    pub fn get_ref(&self) -> &S {
        &self.0.stream
    }

    fn call<T>(&self, call: impl FnOnce(&mut &S) -> io::Result<T>) -> io::Result<T> {
        let mut stream = &self.0.stream;
        let deadline = *self.0.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            stream.set_timeouts(Some(left))?;
        }
        call(&mut stream)
    }
}

impl<S> Clone for Timed<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Timed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").finish_non_exhaustive()
    }
}

impl<S> Read for Timed<S>
where
    for<'a> &'a S: Transport,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(|stream| stream.read(buffer))
    }
}

impl<S> Write for Timed<S>
where
    for<'a> &'a S: Transport,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.call(|stream| stream.flush())
    }
}

impl<S> Transport for Timed<S>
where
    for<'a> &'a S: Transport,
{
    /// From now on, for all calls together.
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        *self.0.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        match deadline {
            Some(_) => Ok(()),
            None => (&mut &self.0.stream).set_timeouts(None),
        }
    }

    fn set_nonblocking(&mut self, nonblocking: bool) -> io::Result<bool> {
        if nonblocking {
            // What does not wait needs no deadline, and must not fail for one that has passed.
            *self.0.deadline.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        (&mut &self.0.stream).set_nonblocking(nonblocking)
    }

    fn end_sending(&mut self) -> io::Result<()> {
        (&mut &self.0.stream).end_sending()
    }

    fn stopper(&mut self) -> io::Result<Option<Stopper>> {
        (&mut &self.0.stream).stopper()
    }
}

/// A stream over another one, such as TLS over TCP: bytes go through it, deadlines on what is underneath.
#[derive(Debug)]
pub struct Over<S, T> {
    stream: S,
    under: Timed<T>,
}

impl<S, T> Over<S, T> {
    /// `stream`, which reads from and writes to a clone of `under`.
    pub fn new(stream: S, under: Timed<T>) -> Self {
        Self { stream, under }
    }

    /// The stream above.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// As [`Over::get_ref`].
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: Read, T> Read for Over<S, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl<S: Write, T> Write for Over<S, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Read + Write, T> Transport for Over<S, T>
where
    for<'a> &'a T: Transport,
{
    fn set_timeouts(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.under.set_timeouts(timeout)
    }

    fn set_nonblocking(&mut self, nonblocking: bool) -> io::Result<bool> {
        self.under.set_nonblocking(nonblocking)
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.stream.flush()?;
        self.under.end_sending()
    }

    fn stopper(&mut self) -> io::Result<Option<Stopper>> {
        self.under.stopper()
    }
}

/// A stream without timeouts: a handshake over it can be stalled by the peer for ever, and the thread with it, whatever
/// [`crate::Bounds`] say.
#[derive(Debug)]
pub struct Untimed<S>(pub S);

impl<S: Read> Read for Untimed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Write> Write for Untimed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S: Read + Write> Transport for Untimed<S> {
    fn set_timeouts(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}
