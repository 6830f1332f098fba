//! Accounts in a file: served while it changes, edited without losing another's edit.

mod store;

use super::hash::Cost;
use super::imitation::Learned;
use super::reader::{NotStarted, Reader, View};
use super::since::Since;
use super::{Accounts, BrokenLine, TotpCheck};
use crate::stores::files::access::Kind;
use crate::stores::files::stamp::{Seen, Stamp, look};
use crate::stores::files::{FileError, MAX_FILE, Missing, edit};
use core::fmt;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::FileThreads;

/// An account file: an [`AccountStore`](super::AccountStore) that notices when the file changes.
///
/// A thread of its own looks at the file: for each login, and every second. A login takes what a look found that began
/// after it came. Where that takes longer than a quarter of a second (a long file is read anew, a mount hangs), what was found before
/// counts, for ten seconds. Then, and while the file can't be read, nobody is let in: the accounts read last may hold one that
/// has been removed since. A line that can't be read locks out its own account alone.
///
/// Changes by the store are edits of the file, as by [`edit_accounts`], each on a thread of its own, and at most 8 at once. A
/// server that must not write the file takes no recovery codes.
pub struct AccountFile {
    path: PathBuf,
    reader: Arc<Reader<Reading, FileError>>,
    watcher: Arc<Mutex<Watcher>>,
    threads: FileThreads,
}

/// What all readings of a file share.
struct Shared {
    imitation: Arc<Learned>,
    answers: Arc<TotpCheck>,
}

/// What there is to tell of an account file: for the log.
#[derive(Debug)]
#[non_exhaustive]
pub enum News<'a> {
    /// The file has changed, or can be read again.
    Read {
        /// What is in it.
        accounts: &'a Accounts,
        /// What could not be read of it.
        broken: &'a [BrokenLine],
    },
    /// The file can't be read. Nobody is let in until it can.
    Unreadable(&'a FileError),
}

type Tell = Box<dyn FnMut(News<'_>) + Send>;

/// Who is told, and of what trouble they were told last.
#[derive(Default)]
struct Watcher {
    tell: Option<Tell>,
    trouble: Option<String>,
}

/// How long the file's first bytes may take.
const FIRST: Duration = Duration::from_secs(10);

/// How long a login waits to hear that the file is as it was.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long what was read counts without having been compared with the file.
const STALE: Duration = Duration::from_secs(10);

const KIND: Kind = Kind { most: MAX_FILE, is_secret: true };

struct Reading {
    seen: Seen,
    /// The one of all so far that changed last.
    latest: Stamp,
    accounts: Arc<Accounts>,
    broken: Arc<[BrokenLine]>,
}

impl AccountFile {
    /// Opens an account file that others can't read.
    ///
    /// Takes away what a killed edit has left behind.
    ///
    /// # Errors
    /// [`FileError`]. Broken lines are no error; see [`AccountFile::broken_lines`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref().to_owned();
        let watcher = Arc::new(Mutex::new(Watcher::default()));
        let (at, told) = (path.clone(), Arc::clone(&watcher));
        let shared = Shared { imitation: Arc::default(), answers: Arc::default() };
        let has_bytes = Arc::new(AtomicBool::new(false));
        let is_sure = Arc::clone(&has_bytes);
        let look = move |last: Option<&Arc<Reading>>| {
            if last.is_none() {
                edit::clean_up(&at);
            }
            let read = read(&at, last, &shared, &has_bytes);
            told.lock().unwrap_or_else(PoisonError::into_inner).hear(last, &read);
            read
        };
        let reader = match Reader::start(FIRST, || is_sure.load(Relaxed), look) {
            Ok(reader) => Arc::new(reader),
            Err(NotStarted::Failed(error)) => return Err(error),
            Err(NotStarted::Late) => return Err(FileError::Late { path }),
            Err(NotStarted::Thread(source)) => return Err(FileError::Io { path, source }),
        };
        match FileThreads::open(&path, &reader) {
            Ok(threads) => Ok(Self { path, reader, watcher, threads }),
            Err(source) => Err(FileError::Io { path, source }),
        }
    }

    /// Tells of each change, and of trouble with reading the file, once. Called by the thread that reads, before a login is
    /// decided by it. A second observer takes the first one's place.
    #[must_use]
    pub fn with_observer(self, observer: impl FnMut(News<'_>) + Send + 'static) -> Self {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner).tell = Some(Box::new(observer));
        self
    }

    /// Has the file looked at now, and waits for that. Logins do so by themselves.
    ///
    /// # Errors
    /// [`FileError`]; [`AccountFile::accounts`] stays as it was, and is not to be served.
    pub fn refresh(&self) -> Result<(), Arc<FileError>> {
        let View { error, begun, .. } = self.reader.ask_patiently(FIRST);
        match error {
            Some(error) => Err(error),
            None if begun.elapsed() > STALE => Err(Arc::new(FileError::Late { path: self.path.clone() })),
            None => Ok(()),
        }
    }

    /// The accounts as read last.
    pub fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&self.reader.latest().accounts)
    }

    /// The lines that could not be read.
    pub fn broken_lines(&self) -> Arc<[BrokenLine]> {
        Arc::clone(&self.reader.latest().broken)
    }
}

/// Edits a file in place: reads it, lets `change` work on the accounts, and writes it atomically.
///
/// The file keeps its owner, its group and their permissions; a new one gets mode 0600. Where `path` is a link, its
/// target is edited. A missing one is made, or is an error, as `missing` says; comments, broken lines and whatever is not changed are
/// kept to the byte. An error leaves the file as it was, or missing.
///
/// Edits wait for each other. If others change the file meanwhile, by hand, `change` is called again, on what they made of
/// it: what it gave last is what counts. An editor that had read the file before and writes it within a tenth of a second
/// after this edit is waited for, so an edit takes that long. On file systems that can't exchange two files (NFS is one), and on
/// other systems than Linux and Apple's, a change by hand in the moment of the replacing can be lost.
///
/// # Errors
/// [`FileError`], and what `change` says.
pub fn edit_accounts<T, E: From<FileError>>(
    path: impl AsRef<Path>,
    missing: Missing,
    mut change: impl FnMut(&mut Accounts) -> Result<T, E>,
) -> Result<T, E> {
    let path = path.as_ref();
    edit::edit(path, KIND, missing == Missing::Make, |text| {
        let (mut accounts, _) = Accounts::parse(text);
        let result = change(&mut accounts)?;
        accounts.keep_imitation();
        let text = accounts.text();
        // It could not be read again, and would lock everybody out.
        if u64::try_from(text.len()).is_ok_and(|length| length > MAX_FILE) {
            return Err(FileError::TooLong { path: path.to_owned(), most: MAX_FILE }.into());
        }
        Ok((text, result))
    })
}

impl fmt::Debug for AccountFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Watcher {
    fn hear(&mut self, last: Option<&Arc<Reading>>, read: &Result<Arc<Reading>, FileError>) {
        // Whoever opens the file knows what is in it.
        let (Some(last), Some(tell)) = (last, &mut self.tell) else { return };
        match read {
            Ok(read) => {
                let is_back = self.trouble.take().is_some();
                if is_back || !Arc::ptr_eq(&read.accounts, &last.accounts) {
                    tell(News::Read { accounts: &read.accounts, broken: &read.broken });
                }
            }
            Err(error) => {
                let source = error.source().map(ToString::to_string).unwrap_or_default();
                let trouble = format!("{error}: {source}");
                if self.trouble.as_ref() != Some(&trouble) {
                    tell(News::Unreadable(error));
                    self.trouble = Some(trouble);
                }
            }
        }
    }
}

/// Looks at the file, and reads it if it is not as it was `last`. Says when it has all bytes: the
/// rest depends on nothing else.
fn read(
    path: &Path,
    last: Option<&Arc<Reading>>,
    shared: &Shared,
    has_bytes: &AtomicBool,
) -> Result<Arc<Reading>, FileError> {
    let looked = look(path, KIND, last.map(|last| &last.seen))?;
    let (bytes, seen) = match (looked, last) {
        (Some(read), _) => read,
        (None, Some(last)) => return Ok(Arc::clone(last)),
        // A look without a last one reads.
        (None, None) => return Err(FileError::Unsettled { path: path.to_owned() }),
    };
    has_bytes.store(true, Relaxed);
    let stamp = seen.stamp;
    let latest = last.map(|last| last.latest);
    let (accounts, broken) = match last {
        // Touched, or put back: a long file is not taken apart again for that.
        Some(last) if last.seen.digest == seen.digest => (Arc::clone(&last.accounts), Arc::clone(&last.broken)),
        _ => {
            let (mut accounts, broken) = Accounts::parse(&*bytes);
            shared.imitation.adopt(&accounts.imitation());
            // What an upgrade at a login ends in, before there is one.
            shared.imitation.learn(Cost::default());
            (accounts.imitation, accounts.answers) = (Arc::clone(&shared.imitation), Arc::clone(&shared.answers));
            accounts.changed(last.map(|last| &*last.accounts), Since::of_file(&stamp, latest.as_ref()));
            (Arc::new(accounts), broken.into())
        }
    };
    let latest = latest.filter(|latest| !stamp.changed_after(latest)).unwrap_or(stamp);
    Ok(Arc::new(Reading { seen, latest, accounts, broken }))
}
