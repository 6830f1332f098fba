//! The log of logins: one line of logfmt each, which no peer can break out of.

use std::fmt::{Display, Write as _};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// One line: the time, an event, and fields.
pub(crate) struct Entry(String);

impl Entry {
    pub(crate) fn new(event: &str) -> Self {
        Self(format!("time={} event={event}", humantime::format_rfc3339_millis(SystemTime::now())))
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

/// Where the lines go.
pub(crate) struct Log(Mutex<Inner>);

struct Inner {
    out: Box<dyn Write + Send>,
    second: Instant,
    /// Lines about strangers in this second.
    written: u32,
    /// Lines about strangers that were left out.
    omitted: u64,
    broken: bool,
}

/// Lines a second about connections that never logged in. Whoever floods the server shall not fill the disk, too.
const STRANGERS_PER_SECOND: u32 = 100;

impl Log {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(Inner { out, second: Instant::now(), written: 0, omitted: 0, broken: false }))
    }

    pub(crate) fn write(&self, entry: &Entry) {
        self.inner().write(&entry.0);
    }

    /// Logs what a stranger did. Past a number a second the lines are only counted, and the count is logged.
    pub(crate) fn write_stranger(&self, entry: &Entry) {
        let mut inner = self.inner();
        if inner.second.elapsed().as_secs() > 0 {
            (inner.second, inner.written) = (Instant::now(), 0);
            inner.report_omitted();
        }
        if inner.written < STRANGERS_PER_SECOND {
            inner.written = inner.written.saturating_add(1);
            inner.write(&entry.0);
        } else {
            inner.omitted = inner.omitted.saturating_add(1);
        }
    }

    /// Logs the last line.
    pub(crate) fn finish(&self, entry: &Entry) {
        let mut inner = self.inner();
        inner.report_omitted();
        inner.write(&entry.0);
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn report_omitted(&mut self) {
        if self.omitted > 0 {
            let entry = Entry::new("lines-omitted").field("count", self.omitted);
            self.omitted = 0;
            self.write(&entry.0);
        }
    }

    fn write(&mut self, line: &str) {
        // A server without a log still serves; it says so once.
        let written = self.out.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written
            && !self.broken
        {
            self.broken = true;
            crate::term::note(format_args!("warning: the log can't be written: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
