//! The tickets that `login` keeps between runs: one for each server and user, in one file that only its owner can read.

use crate::term;
use countersign::files::{self, FileError};
use countersign::{Ticket, UnixTime};
use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// A cache file of tickets. It only saves time: nothing that is wrong with it makes a login fail.
///
/// A line for each ticket, `SERVER USER HEX`. Two logins that end at once may lose one of their tickets: the file is
/// written whole, so the price is a password typed, and a lock that somebody may hold for ever would cost more.
pub(crate) struct Tickets {
    path: PathBuf,
}

const HEADER: &str = "# Tickets of `countersign login`. Secret: whoever has one can log in until it expires.\n";

/// Room for a thousand tickets; whatever is longer was not written here.
const MAX_FILE: u64 = 1024 * 1024;

/// A server and a user, as they stand in a line, and the ticket.
type Entry = (String, Ticket);

impl Tickets {
    /// `countersign/tickets` in the user's state directory; `None` where the environment names none.
    pub(crate) fn of_user() -> Option<Self> {
        let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")))?;
        Some(Self { path: state.join("countersign").join("tickets") })
    }

    /// The ticket of an earlier login of `user` at `server`, if there is one that has not expired.
    pub(crate) fn find(&self, server: &str, user: &str) -> Option<Ticket> {
        match self.read() {
            Ok(entries) => {
                let (key, now) = (key(server, user), now());
                entries.into_iter().find(|(of, ticket)| *of == key && ticket.expires() > now).map(|(_, ticket)| ticket)
            }
            Err(error) => {
                self.note(&error, "it is not used");
                None
            }
        }
    }

    /// Keeps `ticket` for the next login of `user` at `server`, in place of the one before, and forgets what has expired.
    pub(crate) fn keep(&self, server: &str, user: &str, ticket: Option<&Ticket>) {
        // What can't be used makes way; [`Tickets::find`] has said so.
        let read = self.read();
        let had = read.as_ref().map_or(0, Vec::len);
        let (key, now) = (key(server, user), now());
        let mut entries = read.unwrap_or_default();
        entries.retain(|(of, ticket)| *of != key && ticket.expires() > now);
        // Nothing is made for a server that gives no tickets.
        if ticket.is_none() && entries.len() == had {
            return;
        }
        entries.extend(ticket.map(|ticket| (key, ticket.clone())));
        if let Err(error) = self.write(&entries) {
            self.note(&error, "the ticket for the next login is not kept");
        }
    }

    fn note(&self, error: &io::Error, so: &str) {
        term::note(format_args!("countersign: {}: {error}; {so}", self.path.display()));
    }

    /// All entries. A file that is missing has none; one that others could read, or have written to, is not trusted with
    /// a single one.
    fn read(&self) -> io::Result<Vec<Entry>> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        // Before it is opened: that would wait for ever at a pipe.
        match fs::metadata(&self.path) {
            Ok(meta) if meta.is_file() => {}
            Ok(_) => return Err(bad("it is no file".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let file = File::open(&self.path)?;
        let meta = file.metadata()?;
        if let Some(mode) = exposed(&meta) {
            return Err(bad(format!("others can use it (mode {mode:04o}, and it should be 0600)")));
        }
        if meta.len() > MAX_FILE {
            return Err(bad("it is too long".to_owned()));
        }
        // Room for all of it from the start: growing would leave copies of the secrets behind.
        let room = usize::try_from(meta.len()).unwrap_or_default().saturating_add(1);
        let mut text = Zeroizing::new(String::with_capacity(room));
        file.take(meta.len()).read_to_string(&mut text)?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
        let entry = |(index, line): (usize, &str)| {
            entry(line).ok_or_else(|| bad(format!("line {} is no ticket", index.saturating_add(1))))
        };
        lines.map(entry).collect()
    }

    /// Puts a new file, mode 0600, in the place of the old one.
    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        make_private(folder)?;
        let mut lines = Vec::with_capacity(entries.len());
        for (key, ticket) in entries {
            let bytes = ticket.to_bytes().map_err(io::Error::other)?;
            lines.push((key, Zeroizing::new(hex::encode(&*bytes))));
        }
        // Room for all of it from the start: growing would leave copies of the secrets behind.
        let room = lines.iter().map(|(key, hex)| key.len().saturating_add(hex.len()).saturating_add(2));
        let mut text = Zeroizing::new(String::with_capacity(room.fold(HEADER.len(), usize::saturating_add)));
        text.push_str(HEADER);
        for (key, hex) in &lines {
            [key.as_str(), " ", hex, "\n"].into_iter().for_each(|part| text.push_str(part));
        }
        files::write_secret(&self.path, text.as_bytes()).map_err(|error| match error {
            FileError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })
    }
}

/// `SERVER USER`, whatever is in them: different ones never look the same.
fn key(server: &str, user: &str) -> String {
    let escape = |text: &str| -> String {
        let escaped = |c: char| match c {
            '\\' | '#' => c.escape_unicode().to_string(),
            _ if c.is_whitespace() || c.is_control() => c.escape_unicode().to_string(),
            _ => c.to_string(),
        };
        text.chars().map(escaped).collect()
    };
    format!("{} {}", escape(server), escape(user))
}

fn entry(line: &str) -> Option<Entry> {
    let (key, hex) = line.rsplit_once(' ')?;
    let (_, _) = key.split_once(' ')?;
    let bytes = Zeroizing::new(hex::decode(hex).ok()?);
    Some((key.to_owned(), Ticket::from_bytes(&bytes).ok()?))
}

fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

/// The mode of a file that anyone but its owner can read or write.
#[cfg(unix)]
fn exposed(meta: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(meta.permissions().mode() & 0o7777).filter(|mode| mode & 0o077 != 0)
}

#[cfg(not(unix))]
fn exposed(_: &fs::Metadata) -> Option<u32> {
    None
}

/// Makes a directory, and those above it, for its owner alone.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_name_passes_for_another() {
        let names = ["a", "a b", "a\\u{20}b", "a\nb", "#a", "", " ", "\\", "\u{2028}"];
        let keys: Vec<String> = names.iter().flat_map(|server| names.map(|user| key(server, user))).collect();
        for (index, one) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == one), Some(index), "{one}");
            assert_eq!(one.split(' ').count(), 2);
            assert!(one.lines().count() == 1 && !one.starts_with('#'));
        }
        assert_eq!(key("db.example:4500", "alice"), "db.example:4500 alice");
    }

    #[test]
    fn a_missing_file_is_an_empty_one_and_anything_else_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let tickets = Tickets { path: folder.path().join("a/b/tickets") };
        assert!(tickets.read().unwrap().is_empty());
        tickets.keep("server", "user", None);
        assert!(!folder.path().join("a").exists());
        tickets.write(&[]).unwrap();
        assert!(tickets.read().unwrap().is_empty());
        let path = folder.path().to_owned();
        for text in ["x", "a b", "a b c", "a b 00", "\n", "a b \u{e9}"] {
            fs::write(&tickets.path, text).unwrap();
            assert!(tickets.read().is_err(), "{text:?}");
        }
        fs::write(&tickets.path, [0xff]).unwrap();
        assert!(tickets.read().is_err());
        assert!(Tickets { path }.read().is_err());
    }
}
