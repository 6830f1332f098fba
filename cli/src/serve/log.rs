//! The log: one line for each event, of logfmt or JSON, which no peer can break out of.

mod lines;

use crate::failure::Failure;
use clap::ValueEnum;
use countersign::events::Field;
use lines::Lines;
pub(super) use lines::standard_output;
use std::collections::VecDeque;
use std::fmt::{Display, Write as _};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// name=value, and quotes where they are needed
    #[default]
    Logfmt,
    /// An object of JSON for each line
    Json,
}

/// One event: the time, its name, and fields.
pub(crate) struct Entry {
    event: &'static str,
    time: SystemTime,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    /// Of ours, without spaces.
    Word(String),
    /// Perhaps a stranger's.
    Text(String),
    /// As it is written.
    Number(String),
}

impl Entry {
    pub(crate) fn new(event: &'static str) -> Self {
        Self { event, time: SystemTime::now(), fields: Vec::new() }
    }

    fn omitted(count: u64, cause: Cause) -> Self {
        Self::new("lines-omitted").count("count", count).field("cause", cause.code())
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.fields.push((name, value));
        self
    }

    /// A field with a value of ours, without spaces.
    pub(crate) fn field(self, name: &'static str, value: impl Display) -> Self {
        self.with(name, Value::Word(value.to_string()))
    }

    pub(crate) fn count(self, name: &'static str, value: u64) -> Self {
        self.with(name, Value::Number(value.to_string()))
    }

    /// A field with a text that may be a stranger's: quoted, and whatever is not printable escaped.
    pub(crate) fn text(self, name: &'static str, value: &str) -> Self {
        self.with(name, Value::Text(value.to_owned()))
    }

    /// Adds a field of one of the library's events.
    pub(crate) fn add(&mut self, name: &'static str, field: Field<'_>) {
        let value = match field {
            Field::Text(text) => Value::Text(text.to_owned()),
            Field::Count(_) | Field::Millis(_) => Value::Number(field.to_string()),
            word => Value::Word(word.to_string()),
        };
        self.fields.push((name, value));
    }

    pub(super) fn line(&self, format: Format) -> String {
        let time = humantime::format_rfc3339_millis(self.time);
        match format {
            Format::Logfmt => {
                let mut line = format!("time={time} event={}", self.event);
                for (name, value) in &self.fields {
                    // Writing to a string can't fail.
                    let _ = match value {
                        Value::Word(text) | Value::Number(text) => write!(line, " {name}={text}"),
                        // `Debug` escapes quotes, backslashes, line breaks, control characters, and what reorders or hides text.
                        Value::Text(text) => write!(line, " {name}={text:?}"),
                    };
                }
                line
            }
            Format::Json => {
                let mut line = format!("{{\"time\":\"{time}\",\"event\":\"{}\"", self.event);
                for (name, value) in &self.fields {
                    let _ = match value {
                        Value::Number(number) => write!(line, ",\"{name}\":{number}"),
                        Value::Word(text) | Value::Text(text) => write!(line, ",\"{name}\":{}", json(text)),
                    };
                }
                line.push('}');
                line
            }
        }
    }
}

/// A string of JSON. Escaped is also what JSON lets pass and a terminal, or a reader of lines, does not.
fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\'' => quoted.push('\''),
            // Behind a letter, so that the marks of many scripts stay as they are.
            c if format!("a{c}").escape_debug().count() == 2 => quoted.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Why a line was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Too many were about strangers in one second.
    Strangers,
    /// Whoever reads the log does not keep up.
    SlowReader,
    /// The log can't be written.
    Unwritable,
}

impl Cause {
    pub(crate) const ALL: [Self; 3] = [Self::Strangers, Self::SlowReader, Self::Unwritable];

    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Strangers => "strangers",
            Self::SlowReader => "slow-reader",
            Self::Unwritable => "unwritable",
        }
    }
}

/// Where the lines go, by way of a thread of its own: whoever reads them may stall, and the server must not.
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_json: AtomicBool,
    written: AtomicU64,
    dropped: [AtomicU64; Cause::ALL.len()],
}

struct State {
    /// What is to be written.
    lines: VecDeque<Entry>,
    /// A line is being written.
    writing: bool,
    /// Lines that found no room among those.
    dropped: u64,
    second: Instant,
    /// Lines about strangers in this second.
    strangers: u32,
    /// Lines about who has to wait, in the same.
    penalties: u32,
    /// Lines about strangers that were left out.
    omitted: u64,
    /// No more lines will come.
    closed: bool,
}

/// Lines a second about connections that never logged in, and about who has to wait. Whoever floods the server shall not fill the disk, too.
const STRANGERS_PER_SECOND: u32 = 100;

/// Lines that may wait for a slow reader. One with a full grant takes about 4 KiB, most take 400 bytes.
const QUEUE: usize = 1024;

/// How long the end waits for what is still to be written.
pub(super) const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

impl Log {
    pub(crate) fn new(out: Box<dyn Write + Send>, format: Format) -> Result<Self, Failure> {
        let state = State {
            lines: VecDeque::new(),
            writing: false,
            dropped: 0,
            second: Instant::now(),
            strangers: 0,
            penalties: 0,
            omitted: 0,
            closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            is_json: AtomicBool::new(format == Format::Json),
            written: AtomicU64::new(0),
            dropped: Default::default(),
        });
        let writer = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_all(out));
        spawned.map_err(|error| Failure::new(format_args!("cannot start a thread: {error}")))?;
        Ok(Self(shared))
    }

    /// Writes in this format from now on.
    pub(crate) fn set_format(&self, format: Format) {
        self.0.is_json.store(format == Format::Json, Relaxed);
    }

    /// Lines that were written since the beginning.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Relaxed)
    }

    /// Lines that were left out since the beginning.
    pub(crate) fn dropped(&self, cause: Cause) -> u64 {
        self.0.of(cause).load(Relaxed)
    }

    pub(crate) fn write(&self, entry: Entry) {
        self.change(|state, shared| state.push(entry, shared));
    }

    /// Logs what a stranger did. Past a number a second the lines are only counted, and the count is logged.
    pub(crate) fn write_stranger(&self, entry: Entry) {
        self.write_some(entry, |state| &mut state.strangers);
    }

    /// Logs that somebody has to wait: as many of these lines, of their own.
    pub(crate) fn write_penalty(&self, entry: Entry) {
        self.write_some(entry, |state| &mut state.penalties);
    }

    fn write_some(&self, entry: Entry, count: impl Fn(&mut State) -> &mut u32) {
        self.change(|state, shared| {
            if state.second.elapsed().as_secs() > 0 {
                (state.second, state.strangers, state.penalties) = (Instant::now(), 0, 0);
                state.report_omitted(shared);
            }
            let count = count(state);
            if *count < STRANGERS_PER_SECOND {
                *count = count.saturating_add(1);
                state.push(entry, shared);
            } else {
                state.omitted = state.omitted.saturating_add(1);
                shared.of(Cause::Strangers).fetch_add(1, Relaxed);
            }
        });
    }

    /// Logs the last line, and waits until it is written, but not for long.
    pub(crate) fn finish(&self, entry: Entry) {
        self.change(|state, shared| {
            state.report_omitted(shared);
            state.report_dropped();
            // Whether there is room or not: there are no more than these.
            state.lines.push_back(entry);
        });
        let unwritten = |state: &mut State| state.writing || !state.lines.is_empty();
        drop(self.0.changed.wait_timeout_while(self.0.lock(), FINISH_TIMEOUT, unwritten));
    }

    fn change(&self, change: impl FnOnce(&mut State, &Shared)) {
        change(&mut self.0.lock(), &self.0);
        self.0.changed.notify_all();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.change(|state, _| state.closed = true);
    }
}

impl State {
    fn push(&mut self, entry: Entry, shared: &Shared) {
        if self.lines.len() >= QUEUE {
            self.dropped = self.dropped.saturating_add(1);
            shared.of(Cause::SlowReader).fetch_add(1, Relaxed);
            return;
        }
        self.report_dropped();
        self.lines.push_back(entry);
    }

    fn report_omitted(&mut self, shared: &Shared) {
        if self.omitted > 0 {
            let omitted = std::mem::take(&mut self.omitted);
            self.push(Entry::omitted(omitted, Cause::Strangers), shared);
        }
    }

    fn report_dropped(&mut self) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.lines.push_back(Entry::omitted(dropped, Cause::SlowReader));
        }
    }
}

impl Shared {
    fn of(&self, cause: Cause) -> &AtomicU64 {
        let [strangers, slow_reader, unwritable] = &self.dropped;
        match cause {
            Cause::Strangers => strangers,
            Cause::SlowReader => slow_reader,
            Cause::Unwritable => unwritable,
        }
    }

    /// The writer's part: writes each line, and flushes it, as soon as it can.
    fn write_all(&self, out: Box<dyn Write + Send>) {
        let mut lines = Lines::new(out);
        while let Some(entry) = self.next() {
            let format = if self.is_json.load(Relaxed) { Format::Json } else { Format::Logfmt };
            // A server without a log still serves; it says so once, and again after there was one.
            let (was_lost, written) = (lines.lost(), lines.write(&entry, format));
            let count = if written.is_ok() { &self.written } else { self.of(Cause::Unwritable) };
            count.fetch_add(1, Relaxed);
            if let Err(error) = written
                && was_lost == 0
            {
                crate::term::note(format_args!("warning: the log can't be written: {error}"));
            }
        }
    }

    /// The next line, once the one before is written; `None` at the end.
    fn next(&self) -> Option<Entry> {
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const NASTY: [&str; 11] = [
        "a\nevent=x",
        "a\r\n",
        "a\" event=\"x",
        "a\\",
        "\0",
        "\u{1b}[2J",
        "\u{85}",
        "\u{2028}",
        "\u{202e}",
        "\",\"event\":\"x",
        "\u{e0001}",
    ];

    #[test]
    fn no_text_breaks_out_of_its_line_or_its_quotes() {
        for text in NASTY {
            let line = Entry::new("test").text("user", text).field("peer", 1).line(Format::Logfmt);
            let quoted = line.split_once(" user=\"").and_then(|(_, rest)| rest.strip_suffix("\" peer=1"));
            let quoted = quoted.unwrap_or_default();
            assert!(quoted.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{line}");
            assert!(!quoted.replace("\\\\", "").replace("\\\"", "").contains('"'), "{line}");
            assert_ne!(quoted, "", "{line}");
        }
    }

    #[test]
    fn json_reads_as_what_was_written_and_shows_nothing_that_hides_or_reorders_text() {
        for text in NASTY.into_iter().chain(["", "alice", "o'brien", "\u{e9}e\u{301}", "\u{1f600}"]) {
            let mut entry = Entry::new("test").text("user", text).count("n", 7);
            entry.add("ms", Field::Millis(Duration::from_micros(1500)));
            let line = entry.line(Format::Json);
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read["user"].as_str(), Some(text), "{line}");
            assert_eq!(
                (read["n"].as_u64(), read["ms"].as_f64(), read["event"].as_str()),
                (Some(7), Some(1.5), Some("test"))
            );
            assert!(!line.contains(['\n', '\u{202e}', '\u{2028}', '\u{85}', '\u{1b}', '\u{e0001}']), "{line}");
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
    fn strangers_that_were_left_out_are_told_of_when_their_second_is_over() {
        let ((came, lines), (go, take)) = (channel(), channel());
        drop(go);
        let log = Log::new(Box::new(Slow { came, take }), Format::Logfmt).unwrap();
        let set_second = |second: Option<Instant>| log.0.lock().second = second.unwrap();
        // One that goes on for as long as this test.
        set_second(Instant::now().checked_add(Duration::from_secs(3600)));
        (0..STRANGERS_PER_SECOND + 7).for_each(|_| log.write_stranger(Entry::new("stranger")));
        assert_eq!(log.dropped(Cause::Strangers), 7);
        set_second(Instant::now().checked_sub(Duration::from_secs(2)));
        log.write_stranger(Entry::new("next"));
        log.finish(Entry::new("stopped"));
        drop(log);
        let all: Vec<String> = lines.iter().collect();
        assert_eq!(all.len(), 103);
        for (line, part) in all[100..].iter().zip(["lines-omitted count=7 cause=strangers", "next", "stopped"]) {
            assert!(line.contains(&format!("event={part}")), "{line}");
        }
    }

    #[test]
    fn strangers_hide_nobody_who_has_to_wait_and_these_have_as_many_lines() {
        let ((came, lines), (go, take)) = (channel(), channel());
        drop(go);
        let log = Log::new(Box::new(Slow { came, take }), Format::Logfmt).unwrap();
        log.0.lock().second = Instant::now().checked_add(Duration::from_secs(3600)).unwrap();
        (0..1000).for_each(|_| log.write_stranger(Entry::new("stranger")));
        (0..STRANGERS_PER_SECOND + 7).for_each(|_| log.write_penalty(Entry::new("penalty")));
        assert_eq!(log.dropped(Cause::Strangers), 1000 - 100 + 7);
        log.finish(Entry::new("stopped"));
        drop(log);
        assert_eq!(lines.iter().filter(|line: &String| line.contains("event=penalty")).count(), 100);
    }

    #[test]
    fn a_reader_that_stalls_stops_nobody_and_what_it_missed_is_counted() {
        let (came, lines) = channel();
        let (go, take) = channel();
        let log = Log::new(Box::new(Slow { came, take }), Format::Logfmt).unwrap();
        log.write(Entry::new("first"));
        // It is out of the queue and stuck in the reader.
        assert!(lines.recv().unwrap().contains("event=first"));
        (0..QUEUE + 7).for_each(|number| log.write(Entry::new("queued").field("number", number)));
        assert_eq!((log.dropped(Cause::SlowReader), log.dropped(Cause::Strangers)), (7, 0));
        go.send(()).unwrap();
        // There is room for one again.
        assert!(lines.recv().unwrap().contains("number=0"));
        log.write(Entry::new("next"));
        log.finish(Entry::new("stopped"));
        drop((log, go));
        let rest: Vec<String> = lines.iter().collect();
        assert_eq!(rest.len(), QUEUE - 1 + 3);
        let last = ["event=stopped", "event=next", "event=lines-omitted count=7 cause=slow-reader"];
        for (line, part) in rest.iter().rev().zip(last) {
            assert!(line.contains(part), "{line}");
        }
        assert!(rest.iter().all(|line| line.ends_with('\n')));
    }

    #[test]
    fn lines_about_strangers_are_bounded_and_counted() {
        let log = Log::new(Box::new(io::sink()), Format::Json).unwrap();
        (0..300).for_each(|_| log.write_stranger(Entry::new("stranger")));
        // A second may have passed on a slow machine.
        let dropped = log.dropped(Cause::Strangers);
        assert!(dropped > 0 && dropped <= 200, "{dropped}");
        log.finish(Entry::new("stopped"));
        assert!(log.written() >= 101);
    }
}
