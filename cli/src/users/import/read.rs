//! Lines of other programs' files of users, each for itself: a damaged one costs no other, and none can take the rest with it.

use crate::term;
use countersign::accounts::{Account, AccountError, LineError};
use countersign::{UnixTime, limits};
use csv::{ReaderBuilder, StringRecord, Trim};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, Read};
use zeroize::Zeroizing;

/// What a line says of a user. What it does not say stays as it is.
pub(super) struct Record {
    line: usize,
    pub(super) name: String,
    pub(super) hash: Option<Zeroizing<String>>,
    pub(super) permissions: Option<Vec<String>>,
    pub(super) expires: Option<Option<UnixTime>>,
    pub(super) locked: Option<bool>,
}

/// A line that is not taken, and why. Nothing of it is in here but the name.
pub(super) struct Rejected {
    pub(super) line: usize,
    name: Option<String>,
    reason: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if let Some(name) = &self.name {
            // As long as the longest that could be a name: it may be anything.
            let front: String = name.chars().take(limits::MAX_USER).collect();
            write!(f, "{}: ", term::visible(&front))?;
        }
        f.write_str(&self.reason)
    }
}

impl Record {
    /// What it takes in a users file, in bytes, or less.
    pub(super) fn size(&self) -> usize {
        let permissions = self.permissions.iter().flatten().map(|word| word.len().saturating_add(1));
        let hash = self.hash.as_ref().map_or(0, |hash| hash.len().saturating_add(" password=".len()));
        permissions.fold(self.name.len().saturating_add(hash).saturating_add(1), usize::saturating_add)
    }

    pub(super) fn rejected(&self, reason: &str) -> Rejected {
        Rejected { line: self.line, name: Some(self.name.clone()), reason: reason.to_owned() }
    }

    /// Whether it can be an account at all.
    fn check(&self) -> Result<(), AccountError> {
        let mut trial = Account::new(&self.name, self.permissions.iter().flatten())?;
        self.hash.as_ref().map_or(Ok(()), |hash| trial.set_password_hash(hash))
    }
}

/// Why there can't be such an account, in words for somebody who has it in another program.
pub(super) fn reason(error: &AccountError) -> String {
    match error {
        AccountError::Exists(_) => "a user of this name exists already; --update changes it, and --skip-existing leaves it as it is".to_owned(),
        AccountError::BadHash(LineError::OtherHash(kind)) => format!(
            "the password is stored as {kind}, which is not taken: it protects too little, or is not known here; the user needs \
             a new password (countersign user add)"
        ),
        AccountError::BadHash(LineError::ClearPassword) => {
            "the password is not stored as a hash that is known here; it may be the password itself, DES-crypt, or marked as locked or as none \
             (! or *); the user needs a new one (countersign user add)"
                .to_owned()
        }
        AccountError::BadHash(LineError::CutHash) => "the password hash is cut short; look for the whole of it".to_owned(),
        AccountError::BadHash(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// The lines of a file of any length and content.
pub(super) struct Lines<'a, R> {
    input: &'a mut R,
    line: Zeroizing<Vec<u8>>,
    number: usize,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(input: &'a mut R) -> Self {
        Self { input, line: Zeroizing::new(Vec::with_capacity(limits::MAX_LINE.saturating_add(1))), number: 0 }
    }

    /// The next line with its number, from 1, and without what ends it. One that is too long comes cut, one byte longer than a line may
    /// be.
    pub(super) fn next(&mut self) -> io::Result<Option<(usize, &[u8])>> {
        self.line.clear();
        let most = u64::try_from(limits::MAX_LINE).unwrap_or(u64::MAX).saturating_add(1);
        if self.input.by_ref().take(most).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        let is_cut = self.line.len() > limits::MAX_LINE && !self.line.ends_with(b"\n");
        if is_cut {
            self.input.skip_until(b'\n')?;
        }
        self.number = self.number.saturating_add(1);
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        Ok(Some((self.number, line)))
    }
}

/// Nothing, or a comment of htpasswd's.
pub(super) fn is_blank(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with(b"#")
}

/// Whether this is the first line of comma-separated values: with a column for the name.
pub(super) fn is_header(line: &[u8]) -> bool {
    Columns::read(line).is_ok()
}

/// What follows a carriage return would be a line of its own, of which nobody would hear.
fn has_no_return(line: &[u8]) -> Result<(), String> {
    if line.contains(&b'\r') {
        return Err("there is a carriage return in it; save the file with lines that end in LF or CRLF".to_owned());
    }
    Ok(())
}

/// How lines are read, and the names that were in those before.
pub(super) struct Reader {
    columns: Option<Columns>,
    random: RandomState,
    /// Each name's line, by a hash under a random key: a file has millions. Of ten million names two have the same in three imports of a million, and the
    /// second of them is told as one that comes twice.
    names: HashMap<u64, usize>,
}

impl Reader {
    /// For comma-separated values, with the line that names the columns.
    pub(super) fn new(is_csv: bool, header: &[u8]) -> Result<Self, String> {
        let columns = if is_csv { Some(Columns::read(header)?) } else { None };
        Ok(Self { columns, random: RandomState::new(), names: HashMap::new() })
    }

    /// `None` where there is nothing on the line.
    pub(super) fn read(&mut self, number: usize, line: &[u8]) -> Result<Option<Record>, Rejected> {
        let is_nothing = match self.columns {
            Some(_) => line.trim_ascii().is_empty(),
            None => is_blank(line),
        };
        if is_nothing {
            return Ok(None);
        }
        let reject = |name: Option<String>, reason: String| Rejected { line: number, name, reason };
        if line.len() > limits::MAX_LINE {
            return Err(reject(None, format!("longer than {} KiB", limits::MAX_LINE >> 10)));
        }
        has_no_return(line).map_err(|reason| reject(None, reason))?;
        let text = std::str::from_utf8(line).map_err(|error| {
            let column = error.valid_up_to().saturating_add(1);
            reject(None, format!("not UTF-8 text: see column {column}"))
        })?;
        let (name, record) = match &self.columns {
            Some(columns) => columns.record(number, text),
            None => htpasswd(number, text),
        };
        let checked = record.and_then(|record| match record.check() {
            Ok(()) => Ok(record),
            Err(error) => Err(reason(&error)),
        });
        // Taken or not: an older password further down is not to count in the place of what is wrong with this one.
        if let Some(name) = &name {
            match self.names.entry(self.random.hash_one(name)) {
                Entry::Occupied(first) => {
                    let reason = format!("line {} is of this user, too, and the first one counts", first.get());
                    return Err(reject(Some(name.clone()), reason));
                }
                Entry::Vacant(place) => drop(place.insert(number)),
            }
        }
        checked.map(Some).map_err(|reason| reject(name, reason))
    }
}

/// A name, where one can be told, and what the line says of it.
type Told = (Option<String>, Result<Record, String>);

fn htpasswd(line: usize, text: &str) -> Told {
    let mut fields = text.trim_ascii_end().split(':');
    let (Some(name), Some(hash)) = (fields.next(), fields.next()) else {
        return (None, Err("no line of htpasswd, which is NAME:HASH; for other files: --format csv".to_owned()));
    };
    let name = name.to_owned();
    // What follows in /etc/shadow would be lost, and some of it closes accounts.
    if fields.next().is_some() {
        return (Some(name), Err("more than NAME:HASH: is it of /etc/passwd, /etc/shadow or htdigest?".to_owned()));
    }
    let hash = Some(Zeroizing::new(hash.to_owned()));
    (Some(name.clone()), Ok(Record { line, name, hash, permissions: None, expires: None, locked: None }))
}

/// Where in a line of comma-separated values what stands.
struct Columns {
    delimiter: u8,
    count: usize,
    name: usize,
    hash: Option<usize>,
    permissions: Option<usize>,
    expires: Option<usize>,
    locked: Option<usize>,
}

const KNOWN: &str =
    "the columns are name, password_hash, permissions, expires and locked, in any order; name must be there";

impl Columns {
    fn read(header: &[u8]) -> Result<Self, String> {
        has_no_return(header)?;
        let text = std::str::from_utf8(header).map_err(|_| "not UTF-8 text".to_owned())?;
        // As spreadsheets in some countries write it.
        let delimiter = [b',', b';', b'\t'].into_iter().find(|&byte| header.contains(&byte)).unwrap_or(b',');
        let names = values(text, delimiter)?;
        let (mut columns, mut name) = (
            Self { delimiter, count: names.len(), name: 0, hash: None, permissions: None, expires: None, locked: None },
            None,
        );
        for (index, column) in names.iter().enumerate() {
            let place = match column.to_ascii_lowercase().as_str() {
                "name" => &mut name,
                "password_hash" => &mut columns.hash,
                "permissions" => &mut columns.permissions,
                "expires" => &mut columns.expires,
                "locked" => &mut columns.locked,
                _ => return Err(format!("no column can be called {:?}; {KNOWN}", term::visible(column))),
            };
            if place.replace(index).is_some() {
                return Err(format!("two columns are called {:?}; {KNOWN}", term::visible(column)));
            }
        }
        columns.name = name.ok_or_else(|| format!("no column is called \"name\"; {KNOWN}"))?;
        Ok(columns)
    }

    fn record(&self, line: usize, text: &str) -> Told {
        let values = match values(text, self.delimiter) {
            Ok(values) => values,
            Err(error) => return (None, Err(error)),
        };
        if values.len() != self.count {
            return (None, Err(format!("{} instead of {}", term::count(values.len(), "value"), self.count)));
        }
        let name = values.get(self.name).filter(|name| !name.is_empty()).map(str::to_owned);
        (name.clone(), self.record_of(line, name.unwrap_or_default(), &values))
    }

    fn record_of(&self, line: usize, name: String, values: &StringRecord) -> Result<Record, String> {
        // What is empty stays as it is.
        let value = |column: Option<usize>| values.get(column?).filter(|value| !value.is_empty());
        let expires = match value(self.expires) {
            Some("never") => Some(None),
            Some(text) => Some(Some(date(text)?)),
            None => None,
        };
        let locked = match value(self.locked).map(str::to_ascii_lowercase).as_deref() {
            None => None,
            // t and f are psql's.
            Some("no" | "false" | "f" | "0") => Some(false),
            Some("yes" | "true" | "t" | "1") => Some(true),
            Some(_) => return Err("locked is neither yes nor no".to_owned()),
        };
        let hash = value(self.hash).map(|hash| Zeroizing::new(hash.to_owned()));
        let permissions = value(self.permissions).map(words).transpose()?;
        Ok(Record { line, name, hash, permissions, expires, locked })
    }
}

/// Permissions with something between them, or as an array of PostgreSQL or JSON.
fn words(text: &str) -> Result<Vec<String>, String> {
    let inside = |ends: [char; 2]| text.strip_prefix(ends[0])?.strip_suffix(ends[1]);
    let inner = inside(['{', '}']).or_else(|| inside(['[', ']']));
    let is_between = |c: char| c.is_ascii_whitespace() || c == ',' || c == ';';
    let words = inner.unwrap_or(text).split(is_between).filter(|word| !word.is_empty());
    let plain = |word: &str| match inner.and_then(|_| word.strip_prefix('"')?.strip_suffix('"')).unwrap_or(word) {
        odd if odd.contains(['{', '}', '[', ']', '"']) => {
            Err("the permissions are neither words nor an array of words")
        }
        word => Ok(word.to_owned()),
    };
    words.map(plain).collect::<Result<_, _>>().map_err(str::to_owned)
}

/// A date as [`term::date`] takes it, but not from now: a file is read today and tomorrow.
fn date(text: &str) -> Result<UnixTime, String> {
    let wrong = || "expires is not a date such as 2027-01-31 or 2027-01-31T12:00:00Z".to_owned();
    if text.contains('-') { term::date(text).map_err(|_| wrong()) } else { Err(wrong()) }
}

/// The values of one line (RFC 4180). None of ours has a line break in it; and so a quote without an end takes no other line with it.
fn values(text: &str, delimiter: u8) -> Result<StringRecord, String> {
    if text.bytes().filter(|&byte| byte == b'"').count() & 1 == 1 {
        return Err("a quote has no end on its line".to_owned());
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        .trim(Trim::All)
        .buffer_capacity(text.len().max(1))
        .from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    reader.read_record(&mut record).map_err(|_| "not comma-separated values".to_owned())?;
    Ok(record)
}
