//! Where lines are written, which may have no room for a while.

use super::{Cause, Entry, Format};
use std::io::{self, Write};
#[cfg(unix)]
use std::os::fd::AsFd;

/// What is written where a disk may be full for a while.
pub(super) struct Lines {
    out: Box<dyn Write + Send>,
    lost: u64,
    /// Of the last one a part was.
    is_torn: bool,
}

impl Lines {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, lost: 0, is_torn: false }
    }

    /// Lines in a row that could not be written.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes a line, behind one that says how many are missing before it.
    pub(super) fn write(&mut self, entry: &Entry, format: Format) -> io::Result<()> {
        let written = self.tell_of_lost(format).and_then(|()| self.put(&format!("{}\n", entry.line(format))));
        if written.is_err() {
            self.lost = self.lost.saturating_add(1);
        }
        written
    }

    fn tell_of_lost(&mut self, format: Format) -> io::Result<()> {
        if self.lost > 0 {
            let end = if self.is_torn { "\n" } else { "" };
            let line = Entry::omitted(self.lost, Cause::Unwritable).line(format);
            self.put(&format!("{end}{line}\n"))?;
            self.lost = 0;
        }
        Ok(())
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    self.is_torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.flush()
    }
}

/// Standard output, of which no line stays behind in a buffer where a part of it could not be written.
pub(in crate::serve) fn standard_output() -> Box<dyn Write + Send> {
    #[cfg(unix)]
    if let Ok(file) = io::stdout().as_fd().try_clone_to_owned() {
        return Box::new(std::fs::File::from(file));
    }
    Box::new(io::stdout())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A disk with so much room.
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *self.0.lock().unwrap();
            let taken = bytes.len().min(room.saturating_sub(written.len()));
            written.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_had_no_room_for_is_counted_where_it_is_missing_and_takes_no_other_line_with_it() {
        for (format, room) in [(Format::Json, 100), (Format::Logfmt, 100), (Format::Logfmt, 0)] {
            let disk = Arc::new(Mutex::new((Vec::new(), usize::MAX)));
            let mut lines = Lines::new(Box::new(Disk(Arc::clone(&disk))));
            let give = |room: usize| {
                let (written, most) = &mut *disk.lock().unwrap();
                *most = written.len().saturating_add(room);
            };
            for episode in [3, 2] {
                lines.write(&Entry::new("before"), format).unwrap();
                give(room);
                let long = Entry::new("lost").text("text", &"x".repeat(200));
                (0..episode).for_each(|_| drop(lines.write(&long, format).unwrap_err()));
                assert_eq!(lines.lost, episode);
                // Room for a part of what tells of them, and then for the whole.
                give(if room == 0 { 0 } else { 10 });
                lines.write(&Entry::new("lost"), format).unwrap_err();
                give(1000);
                lines.write(&Entry::new("after"), format).unwrap();
            }
            let text = String::from_utf8(disk.lock().unwrap().0.clone()).unwrap();
            let whole = |line: &&str| match format {
                Format::Json => serde_json::from_str::<serde_json::Value>(line).is_ok(),
                Format::Logfmt => line.starts_with("time=") && !line.contains("xxx") && line.contains("event="),
            };
            let read: Vec<&str> = text.lines().filter(whole).collect();
            assert_eq!(read.len(), 6, "{text}");
            for (line, part) in
                read.iter().zip(["before", "lines-omitted", "after", "before", "lines-omitted", "after"])
            {
                assert!(line.contains(part), "{text}");
            }
            let counts = |line: &str, count: u8| {
                [format!("count={count} cause=unwritable"), format!("\"count\":{count},\"cause\":\"unwritable\"")]
                    .iter()
                    .any(|part| line.contains(part))
            };
            assert!(counts(read[1], 4) && counts(read[4], 3), "{text}");
            let expected = if room == 0 { 6 } else { 10 };
            assert_eq!(text.lines().count(), expected, "{text}");
        }
    }
}
