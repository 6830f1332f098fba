//! What is in a known-hosts file, line by line.

use super::error::HostsError;
use super::line::{Accepted, BrokenLine, Entry, LineError};
use super::name::{self, ALL, Name, may_revoke, mentions};
use crate::crypto::{KeyExchange, KeyId, PublicKey};
use crate::stores::files::TextError;
use crate::stores::files::text::{check, content, split};
use crate::time::UnixTime;
use core::cmp::Reverse;
use zeroize::Zeroizing;

/// The lines of a known-hosts file.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    lines: Vec<Line>,
    /// Whether the last line has no line feed.
    is_unended: bool,
}

/// One line, without its line feed.
#[derive(Clone, Debug)]
struct Line {
    /// To the byte, until it is changed.
    bytes: Box<[u8]>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Entry(Entry),
    /// Nothing, or a comment.
    Blank,
    Broken(LineError),
}

/// A key to be listed for a server.
#[derive(Clone, Debug)]
pub struct Listing {
    pub(super) key: PublicKey,
    pub(super) accepted: Accepted,
    pub(super) floor: KeyExchange,
    pub(super) until: Option<UnixTime>,
}

impl Listing {
    /// This key, accepted on this, under the usual floor ([`KeyExchange::X25519`]: forward secrecy).
    pub fn new(key: PublicKey, accepted: Accepted) -> Self {
        Self { key, accepted, floor: KeyExchange::X25519, until: None }
    }

    /// Sets the weakest key exchange to keep with the server.
    #[must_use]
    pub fn with_floor(mut self, floor: KeyExchange) -> Self {
        self.floor = floor;
        self
    }

    /// Lists it until then: when a certificate or a manifest expires.
    #[must_use]
    pub fn with_until(mut self, until: UnixTime) -> Self {
        self.until = Some(until);
        self
    }
}

/// What a file says of one server.
#[derive(Clone, Debug, Default)]
pub struct Known {
    keys: Vec<Entry>,
    revoked: Vec<Entry>,
    broken: Vec<BrokenLine>,
}

/// What a file says of one server's key at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is listed for the server.
    New,
    /// It is listed, by this line.
    Listed(Entry),
    /// It is revoked, by this line.
    Revoked(Entry),
    /// Other keys are listed in its place, that somebody looked at, or that came first.
    Changed(Vec<Entry>),
    /// Other keys are listed, that something vouched for which may vouch for this one, too.
    Vouched(Vec<Entry>),
    /// What is listed for the server has run out.
    Expired(Vec<Entry>),
    /// Nothing is listed, but for a line that can't be read.
    Unreadable(BrokenLine),
}

impl Known {
    /// The keys that are listed for the server and not revoked, the newest first; also those that have run out.
    pub fn keys(&self) -> &[Entry] {
        &self.keys
    }

    /// The keys that are revoked for it, or for all servers.
    pub fn revoked(&self) -> &[Entry] {
        &self.revoked
    }

    /// The lines that can't be read and may be about it.
    pub fn broken_lines(&self) -> &[BrokenLine] {
        &self.broken
    }

    /// Whether the file says nothing of the server: no line has its name, not even one that can't be read. A key that is revoked
    /// for all servers is nothing about this one.
    pub fn is_new(&self) -> bool {
        self.keys.is_empty() && self.broken.is_empty()
    }

    pub(super) fn standing(&self, key: KeyId, now: UnixTime) -> Standing {
        if let Some(revoked) = self.revoked.iter().find(|entry| entry.id == key) {
            return Standing::Revoked(revoked.clone());
        }
        let live: Vec<&Entry> = self.keys.iter().filter(|entry| entry.is_live(now)).collect();
        let own = live.iter().filter(|entry| entry.id == key);
        if let Some(&own) = own.max_by_key(|entry| entry.accepted.map(Accepted::strength)) {
            return Standing::Listed(own.clone());
        }
        let looked_at = |entry: &&&Entry| !entry.accepted.is_some_and(Accepted::is_evidence);
        let others: Vec<Entry> = live.iter().filter(looked_at).map(|&entry| entry.clone()).collect();
        if !others.is_empty() {
            return Standing::Changed(others);
        }
        if !live.is_empty() {
            return Standing::Vouched(live.into_iter().cloned().collect());
        }
        match self.broken.first() {
            Some(broken) => Standing::Unreadable(broken.clone()),
            None if self.keys.is_empty() => Standing::New,
            None => Standing::Expired(self.keys.clone()),
        }
    }

    /// The whole keys that are good at this time, each once, the newest first.
    pub(super) fn live_keys(&self, now: UnixTime) -> Vec<PublicKey> {
        let mut keys: Vec<PublicKey> = Vec::new();
        for entry in self.keys.iter().filter(|entry| entry.is_live(now)) {
            if let Some(key) = entry.key.clone().filter(|key| !keys.contains(key)) {
                keys.push(key);
            }
        }
        keys
    }
}

impl Hosts {
    /// Reads lines.
    pub fn parse(text: impl AsRef<[u8]>) -> Self {
        let (lines, tail) = split(text.as_ref());
        let mut lines: Vec<Line> = lines.zip(1..).map(|(line, number)| Line::parse(line, number)).collect();
        let is_unended = !tail.is_empty();
        if is_unended {
            let mut tail = Line::parse(tail, lines.len().saturating_add(1));
            // What is missing may be what binds the key. A revocation binds nobody else.
            if matches!(&tail.content, Content::Entry(entry) if !entry.is_revoked) {
                tail.content = Content::Broken(TextError::Unended.into());
            }
            lines.push(tail);
        }
        Self { lines, is_unended }
    }

    /// The lines that list a key or revoke one, in their order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lines.iter().filter_map(Line::entry)
    }

    /// The lines that can't be read. They are kept, and count for nobody.
    pub fn broken_lines(&self) -> impl Iterator<Item = BrokenLine> {
        self.broken().map(|(_, broken)| broken)
    }

    /// The first line that can't be read and may have been one that revokes a key. While there is one, nothing in the file is to be
    /// trusted: it may have been about any key.
    pub fn broken_revocation(&self) -> Option<BrokenLine> {
        self.broken().find(|(line, _)| may_revoke(&line.bytes)).map(|(_, broken)| broken)
    }

    /// What is said of the server of this name; nothing of one that can't have a line.
    pub fn lookup(&self, name: &str) -> Known {
        let Some(name) = name::normal(name) else { return Known::default() };
        let found: Vec<&Entry> = self.entries().filter(|entry| entry.covers(&name)).collect();
        let of =
            |is_revoked| found.iter().filter(move |entry| entry.is_revoked == is_revoked).map(|&entry| entry.clone());
        let mut keys: Vec<Entry> = of(false).collect();
        keys.sort_by_key(|entry| Reverse((entry.since, entry.line)));
        let broken = self.broken().filter(|(line, _)| mentions(&line.bytes, &name)).map(|(_, broken)| broken).collect();
        Known { keys, revoked: of(true).collect(), broken }
    }

    /// The whole keys with these fingerprints, whichever servers they are listed for, the newest first; none that is revoked for the
    /// server of this name.
    pub fn keys_of(&self, name: &str, keys: &[KeyId]) -> Vec<PublicKey> {
        let revoked = self.lookup(name).revoked;
        let is_good = |entry: &&Entry| keys.contains(&entry.id) && revoked.iter().all(|revoked| revoked.id != entry.id);
        let mut entries: Vec<&Entry> = self.entries().filter(|entry| !entry.is_revoked).filter(is_good).collect();
        entries.sort_by_key(|entry| Reverse((entry.since, entry.line)));
        let mut found: Vec<PublicKey> = Vec::new();
        for key in entries.into_iter().filter_map(|entry| entry.key.as_ref()) {
            if !found.contains(key) {
                found.push(key.clone());
            }
        }
        found
    }

    /// As a file, to the byte: what [`Hosts::parse`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            bytes.extend_from_slice(&line.bytes);
            bytes.push(b'\n');
        }
        if self.is_unended {
            bytes.pop();
        }
        bytes
    }

    pub(super) fn to_content(&self) -> Zeroizing<Vec<u8>> {
        self.to_bytes().into()
    }

    /// Lists a key for a server, or makes more of the line that it has. Gives whether anything changed.
    pub(super) fn add(&mut self, name: &Name, plain: &str, new: &Listing, now: UnixTime) -> Result<bool, HostsError> {
        let known = self.lookup(plain);
        if let Some(revoked) = known.revoked.iter().find(|entry| entry.id == new.key.id()) {
            return Err(HostsError::Revoked { name: plain.to_owned(), key: new.key.id(), line: revoked.line });
        }
        let own = || known.keys.iter().filter(|entry| entry.id == new.key.id());
        let strength = |entry: &&Entry| entry.accepted.map(Accepted::strength);
        let new_strength = Some(new.accepted.strength());
        let same = own().find(|entry| entry.accepted == Some(new.accepted));
        let stronger = || own().find(|entry| entry.until.is_none() && strength(entry) >= new_strength);
        let weaker = || own().find(|entry| new.until.is_none() && strength(entry) <= new_strength);
        let Some(old) = same.or_else(stronger).or_else(weaker) else {
            let entry = Entry {
                line: 0,
                is_revoked: false,
                names: vec![name.clone()],
                id: new.key.id(),
                key: Some(new.key.clone()),
                accepted: Some(new.accepted),
                floor: Some(new.floor),
                since: Some(now),
                until: new.until,
                note: String::new(),
            };
            self.push(entry);
            return Ok(true);
        };
        let mut changed = old.clone();
        changed.floor = Some(old.floor().max(new.floor));
        if same.is_some() {
            changed.until = old.until.and(new.until);
        } else if stronger().is_none() {
            (changed.accepted, changed.until) = (Some(new.accepted), None);
        }
        let is_same = (changed.floor(), changed.accepted, changed.until) == (old.floor(), old.accepted, old.until);
        if !is_same {
            let (line, name) = (old.line, name.clone());
            self.change(line, plain, name, |entry| {
                (entry.floor, entry.accepted, entry.until) = (changed.floor, changed.accepted, changed.until);
            });
        }
        Ok(!is_same)
    }

    /// Says that somebody has compared the fingerprint of a key that is listed.
    pub(super) fn confirm(&mut self, name: &Name, plain: &str, key: KeyId) -> Result<bool, HostsError> {
        let known = self.lookup(plain);
        let name_of = || plain.to_owned();
        if let Some(revoked) = known.revoked.iter().find(|entry| entry.id == key) {
            return Err(HostsError::Revoked { name: name_of(), key, line: revoked.line });
        }
        let own = known.keys.iter().filter(|entry| entry.id == key);
        let Some(best) = own.max_by_key(|entry| (entry.until.is_none(), entry.accepted.map(Accepted::strength))) else {
            return Err(HostsError::NoSuchKey { name: name_of(), key });
        };
        let is_news = best.until.is_some() || best.accepted != Some(Accepted::Confirmed);
        if is_news {
            self.change(best.line, plain, name.clone(), |entry| {
                (entry.accepted, entry.until) = (Some(Accepted::Confirmed), None);
            });
        }
        Ok(is_news)
    }

    /// Revokes a key for one server.
    pub(super) fn revoke(&mut self, name: &Name, plain: &str, key: KeyId, now: UnixTime) -> bool {
        let lines = self.lines_of(|entry| !entry.is_revoked && entry.id == key && entry.covers(plain));
        let is_revoked = self.lookup(plain).revoked.iter().any(|entry| entry.id == key);
        // From the end: a line that is split moves those after it.
        for &line in lines.iter().rev() {
            self.change(line, plain, name.clone(), |entry| entry.is_revoked = true);
        }
        if lines.is_empty() && !is_revoked {
            self.push_revoked(name.clone(), key, now);
        }
        !lines.is_empty() || !is_revoked
    }

    /// Revokes a key for all servers.
    pub(super) fn revoke_everywhere(&mut self, key: KeyId, now: UnixTime) -> bool {
        let is_revoked =
            self.entries().any(|entry| entry.is_revoked && entry.id == key && entry.names.contains(&Name::All));
        let lines = self.lines_of(|entry| !entry.is_revoked && entry.id == key);
        for &line in &lines {
            self.rewrite(line, |entry| entry.is_revoked = true);
        }
        if !is_revoked {
            self.push_revoked(Name::All, key, now);
        }
        !lines.is_empty() || !is_revoked
    }

    /// Takes keys of a server off the list: this one, and also where it is revoked; or all that are not revoked.
    pub(super) fn remove(&mut self, plain: &str, key: Option<KeyId>) -> Result<usize, HostsError> {
        let is_meant = |entry: &Entry| match key {
            Some(key) => entry.id == key,
            None => !entry.is_revoked,
        };
        let has_name = |entry: &Entry| match plain {
            ALL => entry.names.contains(&Name::All),
            _ => entry.names.iter().any(|own| *own != Name::All && own.covers(plain)),
        };
        let lines = self.lines_of(|entry| is_meant(entry) && has_name(entry));
        for &line in lines.iter().rev() {
            let is_other = |own: &Name| match plain {
                ALL => *own != Name::All,
                _ => *own == Name::All || !own.covers(plain),
            };
            let Some(entry) = self.entry(line) else { continue };
            if entry.names.iter().any(is_other) {
                self.rewrite(line, |entry| entry.names.retain(is_other));
            } else {
                self.delete(line);
            }
        }
        match (lines.len(), key) {
            (0, None) => Err(HostsError::NoSuchName(plain.to_owned())),
            (0, Some(key)) => Err(HostsError::NoSuchKey { name: plain.to_owned(), key }),
            (count, _) => Ok(count),
        }
    }

    fn broken(&self) -> impl Iterator<Item = (&Line, BrokenLine)> {
        self.lines.iter().zip(1..).filter_map(|(line, number)| match &line.content {
            Content::Broken(error) => Some((line, BrokenLine { number, error: error.clone() })),
            Content::Entry(_) | Content::Blank => None,
        })
    }

    fn entry(&self, line: usize) -> Option<&Entry> {
        self.entries().find(|entry| entry.line == line)
    }

    fn lines_of(&self, is_meant: impl Fn(&Entry) -> bool) -> Vec<usize> {
        self.entries().filter(|entry| is_meant(entry)).map(|entry| entry.line).collect()
    }

    fn push_revoked(&mut self, name: Name, id: KeyId, since: UnixTime) {
        let key = self.entries().filter(|entry| entry.id == id).find_map(|entry| entry.key.clone());
        let (names, since) = (vec![name], Some(since));
        let (accepted, floor, until, note) = (None, None, None, String::new());
        self.push(Entry { line: 0, is_revoked: true, names, id, key, accepted, floor, since, until, note });
    }

    /// Changes what a line says of one server; the others that it names get it as it was.
    fn change(&mut self, line: usize, plain: &str, name: Name, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entry(line) else { return };
        let is_other = |own: &Name| !own.covers(plain);
        if !entry.names.iter().any(is_other) {
            return self.rewrite(line, change);
        }
        let mut own = Entry { names: vec![name], note: String::new(), ..entry.clone() };
        change(&mut own);
        self.rewrite(line, |entry| entry.names.retain(is_other));
        // Behind it, or before it where it is the last, without a line feed.
        let at = if self.is_unended && line == self.lines.len() { line.saturating_sub(1) } else { line };
        self.lines.insert(at, Line::of(own));
        self.number();
    }

    fn rewrite(&mut self, line: usize, change: impl FnOnce(&mut Entry)) {
        let at = line.checked_sub(1).and_then(|index| self.lines.get_mut(index));
        if let Some(Line { bytes, content: Content::Entry(entry) }) = at {
            change(entry);
            *bytes = entry.to_string().into_bytes().into();
        }
    }

    fn delete(&mut self, line: usize) {
        if let Some(index) = line.checked_sub(1).filter(|&index| index < self.lines.len()) {
            self.is_unended &= line != self.lines.len();
            self.lines.remove(index);
            self.number();
        }
    }

    /// A new last line; before one that has no line feed.
    fn push(&mut self, entry: Entry) {
        let end = self.lines.len();
        self.lines.insert(if self.is_unended { end.saturating_sub(1) } else { end }, Line::of(entry));
        self.number();
    }

    fn number(&mut self) {
        for (line, number) in self.lines.iter_mut().zip(1..) {
            if let Content::Entry(entry) = &mut line.content {
                entry.line = number;
            }
        }
    }
}

impl Line {
    fn parse(bytes: &[u8], number: usize) -> Self {
        let inside = content(bytes, number);
        let parsed = match inside.first() {
            // Whatever is in a comment.
            None | Some(b'#') => Ok(Content::Blank),
            Some(_) => {
                check(inside).map_err(LineError::from).and_then(|text| Entry::parse(text, number)).map(Content::Entry)
            }
        };
        Self { bytes: bytes.into(), content: parsed.unwrap_or_else(Content::Broken) }
    }

    fn of(entry: Entry) -> Self {
        Self { bytes: entry.to_string().into_bytes().into(), content: Content::Entry(entry) }
    }

    fn entry(&self) -> Option<&Entry> {
        match &self.content {
            Content::Entry(entry) => Some(entry),
            Content::Blank | Content::Broken(_) => None,
        }
    }
}
