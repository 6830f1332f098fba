//! The tickets that `login` keeps between runs: one for each server and user, in one file that only its owner can read.

use crate::{state, term};
use countersign::{Server, Ticket, TrustedTicket, UnixTime};
use std::io;
use std::path::PathBuf;
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
        Some(Self { path: state::folder()?.join("tickets") })
    }

    /// Takes out the ticket of an earlier login of `user` at `server`, if there is one that may be shown there: no ticket is shown
    /// twice, whatever comes of it.
    pub(crate) fn take(&self, address: &str, user: &str, server: &Server) -> Option<TrustedTicket> {
        let (key, now) = (key(address, user), now());
        let taken = self.read().and_then(|mut entries| {
            let may_be_shown = |(index, (of, ticket)): (usize, &Entry)| {
                let ticket = (*of == key).then(|| server.resume(ticket.clone(), user, now)).flatten()?;
                Some((index, ticket))
            };
            let Some((index, ticket)) = entries.iter().enumerate().find_map(may_be_shown) else { return Ok(None) };
            entries.remove(index);
            self.write(&entries)?;
            Ok(Some(ticket))
        });
        taken.unwrap_or_else(|error| {
            self.note(&error, "it is not used");
            None
        })
    }

    /// Keeps `ticket` for the next login of its user at `address`, in place of the one before, and forgets what has expired.
    pub(crate) fn keep(&self, address: &str, user: &str, ticket: Option<&Ticket>) {
        // What can't be used makes way; [`Tickets::take`] has said so.
        let read = self.read();
        let had = read.as_ref().map_or(0, Vec::len);
        let (key, now) = (key(address, user), now());
        let name = ticket.map(Ticket::server_name);
        let mut entries = read.unwrap_or_default();
        entries.retain(|(of, held)| held.is_usable(now) && !(*of == key && Some(held.server_name()) == name));
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

    /// All entries. A file that is missing has none.
    fn read(&self) -> io::Result<Vec<Entry>> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let Some(bytes) = state::read_private(&self.path, MAX_FILE)? else { return Ok(Vec::new()) };
        let text = str::from_utf8(&bytes).map_err(|error| bad(format!("it is not UTF-8: {error}")))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
        let entry = |(index, line): (usize, &str)| {
            entry(line).ok_or_else(|| bad(format!("line {} is no ticket", index.saturating_add(1))))
        };
        lines.map(entry).collect()
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        state::make_private(state::folder_of(&self.path))?;
        let mut lines = Vec::new();
        for (key, ticket) in entries {
            lines.push((key, Zeroizing::new(hex::encode(&*ticket.to_bytes().map_err(io::Error::other)?))));
        }
        let lines = lines.iter().flat_map(|(key, hex)| [key, " ", hex, "\n"]);
        let parts: Vec<&str> = [HEADER].into_iter().chain(lines).collect();
        state::write_private(&self.path, Zeroizing::new(parts.concat()).as_bytes())
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
    // What is collected byte by byte grows, and leaves copies of the ticket behind.
    let mut bytes = Zeroizing::new(vec![0; hex.len().div_ceil(2)]);
    hex::decode_to_slice(hex, &mut bytes).ok()?;
    Some((key.to_owned(), Ticket::from_bytes(&bytes).ok()?))
}

fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

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
