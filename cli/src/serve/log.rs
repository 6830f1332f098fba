//! The log of logins: one line of logfmt each, which no peer can break out of.

use crate::failure::Failure;
use std::collections::VecDeque;
use std::fmt::{Display, Write as _};
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// One line: the time, an event, and fields.
pub(crate) struct Entry(String);

impl Entry {
    pub(crate) fn new(event: &str) -> Self {
        Self(format!("time={} event={event}", humantime::format_rfc3339_millis(SystemTime::now())))
    }

    fn omitted(count: u64) -> Self {
        Self::new("lines-omitted").field("count", count)
    }

    /// A field with a value of ours, without spaces.
    pub(crate) fn field(mut self, name: &str, value: impl Display) -> Self {
        // Writing to a string can't fail.
        let _ = write!(self.0, " {name}={value}");
        self
    }

    /// A field with a text that may be a stranger's: quoted, and whatever is not printable escaped.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        // `Debug` escapes quotes, backslashes, line breaks, control characters, and what reorders or hides text.
        let _ = write!(self.0, " {name}={value:?}");
        self
    }
}

/// Where the lines go, by way of a thread of its own: whoever reads them may stall, and the server must not.
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What is to be written.
    lines: VecDeque<String>,
    /// A line is being written.
    writing: bool,
    /// Lines that found no room among those.
    dropped: u64,
    second: Instant,
    /// Lines about strangers in this second.
    strangers: u32,
    /// Lines about strangers that were left out.
    omitted: u64,
    /// No more lines will come.
    closed: bool,
}

/// Lines a second about connections that never logged in. Whoever floods the server shall not fill the disk, too.
const STRANGERS_PER_SECOND: u32 = 100;

/// Lines that may wait for a slow reader. One with a full grant takes about 4 KiB, most take 200 bytes.
const QUEUE: usize = 1024;

/// How long the end waits for what is still to be written.
const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

impl Log {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Result<Self, Failure> {
        let state = State {
            lines: VecDeque::new(),
            writing: false,
            dropped: 0,
            second: Instant::now(),
            strangers: 0,
            omitted: 0,
            closed: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let writer = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_all(out));
        spawned.map_err(|error| Failure::new(format_args!("cannot start a thread: {error}")))?;
        Ok(Self(shared))
    }

    pub(crate) fn write(&self, entry: Entry) {
        self.change(|state| state.push(entry));
    }

    /// Logs what a stranger did. Past a number a second the lines are only counted, and the count is logged.
    pub(crate) fn write_stranger(&self, entry: Entry) {
        self.change(|state| {
            if state.second.elapsed().as_secs() > 0 {
                (state.second, state.strangers) = (Instant::now(), 0);
                state.report_omitted();
            }
            if state.strangers < STRANGERS_PER_SECOND {
                state.strangers = state.strangers.saturating_add(1);
                state.push(entry);
            } else {
                state.omitted = state.omitted.saturating_add(1);
            }
        });
    }

    /// Logs the last line, and waits until it is written, but not for long.
    pub(crate) fn finish(&self, entry: Entry) {
        self.change(|state| {
            state.report_omitted();
            state.report_dropped();
            // Whether there is room or not: there are no more than these.
            state.lines.push_back(entry.0);
        });
        let unwritten = |state: &mut State| state.writing || !state.lines.is_empty();
        drop(self.0.changed.wait_timeout_while(self.0.lock(), FINISH_TIMEOUT, unwritten));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock());
        self.0.changed.notify_all();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.change(|state| state.closed = true);
    }
}

impl State {
    fn push(&mut self, entry: Entry) {
        if self.lines.len() >= QUEUE {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.report_dropped();
        self.lines.push_back(entry.0);
    }

    fn report_omitted(&mut self) {
        if self.omitted > 0 {
            let omitted = std::mem::take(&mut self.omitted);
            self.push(Entry::omitted(omitted));
        }
    }

    fn report_dropped(&mut self) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.lines.push_back(Entry::omitted(dropped).0);
        }
    }
}

impl Shared {
    /// The writer's part: writes each line, and flushes it, as soon as it can.
    fn write_all(&self, mut out: Box<dyn Write + Send>) {
        let mut broken = false;
        while let Some(line) = self.next() {
            // A server without a log still serves; it says so once.
            let written = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
            if let Err(error) = written
                && !broken
            {
                broken = true;
                crate::term::note(format_args!("warning: the log can't be written: {error}"));
            }
        }
    }

    /// The next line, once the one before is written; `None` at the end.
    fn next(&self) -> Option<String> {
        let mut state = self.lock();
        state.writing = false;
        self.changed.notify_all();
        let idle = |state: &mut State| state.lines.is_empty() && !state.closed;
        let mut state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let line = state.lines.pop_front();
        state.writing = line.is_some();
        line
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};

    #[test]
    fn no_text_breaks_out_of_its_line_or_its_quotes() {
        for text in ["a\nevent=x", "a\r\n", "a\" event=\"x", "a\\", "\0", "\u{1b}[2J", "\u{85}", "\u{2028}", "\u{202e}"]
        {
            let Entry(line) = Entry::new("test").text("user", text).field("peer", 1);
            let quoted = line.split_once(" user=\"").and_then(|(_, rest)| rest.strip_suffix("\" peer=1"));
            let quoted = quoted.unwrap_or_default();
            assert!(quoted.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{line}");
            assert!(!quoted.replace("\\\\", "").replace("\\\"", "").contains('"'), "{line}");
            assert_ne!(quoted, "", "{line}");
        }
    }

    /// A reader that says when a line has come, and takes it only when it is told to.
    struct Slow {
        came: Sender<String>,
        take: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.came.send(String::from_utf8_lossy(bytes).into_owned());
            // Whoever is gone lets everything pass.
            let _ = self.take.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_stops_nobody_and_what_it_missed_is_counted() {
        let (came, lines) = channel();
        let (go, take) = channel();
        let log = Log::new(Box::new(Slow { came, take })).unwrap();
        log.write(Entry::new("first"));
        // It is out of the queue and stuck in the reader.
        assert!(lines.recv().unwrap().contains("event=first"));
        (0..QUEUE + 7).for_each(|number| log.write(Entry::new("queued").field("number", number)));
        go.send(()).unwrap();
        // There is room for one again.
        assert!(lines.recv().unwrap().contains("number=0"));
        log.write(Entry::new("next"));
        log.finish(Entry::new("stopped"));
        drop((log, go));
        let rest: Vec<String> = lines.iter().collect();
        assert_eq!(rest.len(), QUEUE - 1 + 3);
        for (line, part) in rest.iter().rev().zip(["event=stopped", "event=next", "event=lines-omitted count=7"]) {
            assert!(line.contains(part), "{line}");
        }
        assert!(rest.iter().all(|line| line.ends_with('\n')));
    }
}
