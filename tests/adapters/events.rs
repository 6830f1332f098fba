//! An event loop over sockets that do not block, made of `std` alone: one thread, a queue of tasks that were woken, and a
//! list of those that wait for their sockets or for a moment to come.

use countersign::{Link, Moment};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::{Pin, pin};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Without `poll(2)`, which `std` has not, sockets are looked at this often.
const TICK: Duration = Duration::from_millis(1);

static LOOP: LazyLock<Arc<Loop>> = LazyLock::new(|| {
    let events = Arc::new(Loop::default());
    let ours = Arc::clone(&events);
    std::thread::spawn(move || ours.run());
    events
});

#[derive(Default)]
struct Loop {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    woken: Vec<Arc<Task>>,
    /// Those that wait for a socket or a moment.
    waiting: Vec<Waker>,
}

struct Task(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        LOOP.state.lock().unwrap().woken.push(self);
        LOOP.changed.notify_one();
    }
}

impl Loop {
    fn run(&self) {
        loop {
            let mut state = self.state.lock().unwrap();
            while state.woken.is_empty() && state.waiting.is_empty() {
                state = self.changed.wait(state).unwrap();
            }
            if state.woken.is_empty() {
                state = self.changed.wait_timeout(state, TICK).unwrap().0;
            }
            let (woken, waiting) = (std::mem::take(&mut state.woken), std::mem::take(&mut state.waiting));
            drop(state);
            for task in woken {
                let mut future = task.0.lock().unwrap();
                let waker = Waker::from(Arc::clone(&task));
                if future.as_mut().is_some_and(|task| task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()) {
                    *future = None;
                }
            }
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

/// Drives a future on the loop, and waits for what it gives.
pub fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (done, finished) = channel();
    // Whoever waits may have given up.
    let task = async move { drop(done.send(future.await)) };
    Arc::new(Task(Mutex::new(Some(Box::pin(task))))).wake();
    finished.recv().unwrap()
}

/// What `future` gives, or nothing if `until` is ready first: then it is dropped.
pub async fn unless<T>(until: impl Future<Output = ()>, future: impl Future<Output = T>) -> Option<T> {
    let (mut until, mut future) = (pin!(until), pin!(future));
    poll_fn(|task| match until.as_mut().poll(task) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => future.as_mut().poll(task).map(Some),
    })
    .await
}

/// A socket that does not block.
#[derive(Debug)]
pub struct Socket(pub TcpStream);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A socket on the loop: what the library's script drives.
pub struct SocketLink {
    socket: Socket,
    start: Instant,
    deadline: Moment,
}

pub fn link(stream: TcpStream) -> SocketLink {
    stream.set_nonblocking(true).unwrap();
    SocketLink { socket: Socket(stream), start: Instant::now(), deadline: Moment::ORIGIN }
}

impl SocketLink {
    fn try_now<T>(
        &mut self,
        task: &Context<'_>,
        call: impl FnOnce(&mut Socket) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if self.now() >= self.deadline {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        match call(&mut self.socket) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(task),
            done => Poll::Ready(done),
        }
    }
}

/// The loop asks again.
fn wait<T>(task: &Context<'_>) -> Poll<T> {
    LOOP.state.lock().unwrap().waiting.push(task.waker().clone());
    Poll::Pending
}

impl Link for SocketLink {
    type Stream = Socket;

    fn now(&self) -> Moment {
        Moment::after_origin(self.start.elapsed())
    }

    fn set_deadline(&mut self, deadline: Moment) {
        self.deadline = deadline;
    }

    fn poll_read(&mut self, task: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.try_now(task, |socket| socket.read(room))
    }

    fn poll_write(&mut self, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.try_now(task, |socket| socket.write(bytes))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.flush())
    }

    fn poll_end_sending(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.0.shutdown(Shutdown::Write))
    }

    fn poll_wait(&mut self, task: &mut Context<'_>, moment: Moment) -> Poll<()> {
        if self.now() >= moment { Poll::Ready(()) } else { wait(task) }
    }

    fn poll_gone(&mut self, task: &mut Context<'_>) -> Poll<()> {
        match self.socket.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(task),
            _ => Poll::Ready(()),
        }
    }

    fn into_stream(self) -> io::Result<Socket> {
        Ok(self.socket)
    }
}
