//! Who is told that accounts can't be asked for, and that they can be again.

use countersign::accounts::StoreError;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Whether a database or a directory answers: for the log, and for those who watch a server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Availability<'a> {
    /// It does not, or refuses, or is not as it should be, as logins or `check` have found. Logins are told "not now".
    Away(&'a StoreError),
    /// It does again.
    Back,
    /// It answers, and refuses to write. Logins are told "not now" where something is to be changed for them, as with a second factor or a recovery code; all
    /// others go on.
    ReadOnly(&'a StoreError),
    /// It has written again.
    Written,
}

type Tell = dyn Fn(Availability<'_>) + Send + Sync;

/// Who has asked it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A login, or a session that is looked at again.
    Login,
    /// Whoever asks for nobody, and more thoroughly than a login does that comes to an answer.
    Check,
}

/// Told of each change once, and of one after the other.
#[derive(Default)]
pub(crate) struct Watcher {
    absence: Mutex<Absence>,
    tell: RwLock<Option<Arc<Tell>>>,
}

/// Who has found it away, and has not found it back since. A login that is answered is no proof that what a check found is mended: were they to take
/// turns, it would be away and back with each of them.
#[derive(Default)]
struct Absence {
    of_logins: bool,
    of_checks: bool,
    /// Whether it reads alone, which is no absence.
    #[cfg(feature = "sql")]
    is_read_only: bool,
}

impl Absence {
    fn is_any(&self) -> bool {
        self.of_logins || self.of_checks
    }
}

impl Watcher {
    /// In the place of whoever was told before. What is away is told anew.
    pub(crate) fn set(&self, tell: impl Fn(Availability<'_>) + Send + Sync + 'static) {
        let mut absence = self.absence.lock().unwrap_or_else(PoisonError::into_inner);
        *absence = Absence::default();
        *self.tell.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tell));
    }

    /// Nobody is told of anything from now on.
    #[cfg(feature = "sql")]
    pub(crate) fn silence(&self) {
        *self.tell.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It would not write.
    #[cfg(feature = "sql")]
    pub(crate) fn read_only(&self, error: &StoreError) {
        self.note_written(Availability::ReadOnly(error), true);
    }

    /// It has written.
    #[cfg(feature = "sql")]
    pub(crate) fn written(&self) {
        self.note_written(Availability::Written, false);
    }

    #[cfg(feature = "sql")]
    fn note_written(&self, news: Availability<'_>, is_read_only: bool) {
        let mut absence = self.absence.lock().unwrap_or_else(PoisonError::into_inner);
        if absence.is_read_only != is_read_only
            && let Some(tell) = self.told()
        {
            absence.is_read_only = is_read_only;
            tell(news);
        }
    }

    fn told(&self) -> Option<Arc<Tell>> {
        self.tell.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where nobody is there to be told yet, it is not noted, so that whoever comes is.
    pub(crate) fn away(&self, asker: Asker, error: &StoreError) {
        if self.told().is_some() {
            self.note(Availability::Away(error), |absence| match asker {
                Asker::Login => absence.of_logins = true,
                Asker::Check => absence.of_checks = true,
            });
        }
    }

    pub(crate) fn back(&self, asker: Asker) {
        self.note(Availability::Back, |absence| {
            absence.of_logins = false;
            absence.of_checks &= asker == Asker::Login;
        });
    }

    /// Told under the lock: what is told last is how it is.
    fn note(&self, news: Availability<'_>, change: impl FnOnce(&mut Absence)) {
        let mut absence = self.absence.lock().unwrap_or_else(PoisonError::into_inner);
        let before = absence.is_any();
        change(&mut absence);
        if before != absence.is_any()
            && let Some(tell) = self.told()
        {
            tell(news);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Asker, Availability, Watcher};
    use countersign::accounts::StoreError;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Mutex};

    fn away() -> StoreError {
        StoreError::Away { what: "it is away", source: None }
    }

    #[test]
    fn a_login_that_is_answered_does_not_undo_what_a_check_has_found() {
        let (watcher, told) = (Watcher::default(), Arc::new(Mutex::new(Vec::new())));
        watcher.away(Asker::Check, &away());
        let tell = Arc::clone(&told);
        watcher.set(move |news| tell.lock().unwrap().push(matches!(news, Availability::Back)));
        for _ in 0..3 {
            watcher.away(Asker::Check, &away());
            watcher.back(Asker::Login);
            watcher.away(Asker::Login, &away());
            watcher.back(Asker::Login);
        }
        assert_eq!(*told.lock().unwrap(), [false], "it is away all the time");
        watcher.away(Asker::Login, &away());
        watcher.back(Asker::Check);
        assert_eq!(*told.lock().unwrap(), [false, true], "a check asks what logins do");
        watcher.away(Asker::Login, &away());
        watcher.back(Asker::Login);
        assert_eq!(*told.lock().unwrap(), [false, true, false, true]);
    }

    #[test]
    fn who_comes_second_takes_the_place_of_the_first_and_is_told_what_is_away_by_then() {
        let (watcher, told) = (Watcher::default(), Arc::new(Mutex::new(Vec::new())));
        let observer = |name: char| {
            let told = Arc::clone(&told);
            move |news: Availability<'_>| told.lock().unwrap().push((name, matches!(news, Availability::Back)))
        };
        watcher.set(observer('a'));
        watcher.away(Asker::Login, &away());
        watcher.set(observer('b'));
        watcher.away(Asker::Login, &away());
        watcher.back(Asker::Login);
        assert_eq!(*told.lock().unwrap(), [('a', false), ('b', false), ('b', true)]);
    }

    /// One finds it away, and is held up while it says so; another finds it back.
    #[test]
    fn what_is_told_last_is_how_it_is() {
        let (watcher, told) = (Arc::new(Watcher::default()), Arc::new(Mutex::new(Vec::new())));
        let (enter, entered) = channel();
        let is_back = Arc::new(AtomicBool::new(false));
        let (tell, back) = (Arc::clone(&told), Arc::clone(&is_back));
        watcher.set(move |news| {
            let is_back = matches!(news, Availability::Back);
            if !is_back {
                enter.send(()).unwrap();
                // Until the other has overtaken it, or has had the time to.
                for _ in 0..100_000 {
                    if back.load(SeqCst) {
                        break;
                    }
                    std::thread::yield_now();
                }
            }
            tell.lock().unwrap().push(is_back);
            back.fetch_or(is_back, SeqCst);
        });
        let other = Arc::clone(&watcher);
        let other = std::thread::spawn(move || {
            entered.recv().unwrap();
            other.back(Asker::Login);
        });
        watcher.away(Asker::Login, &away());
        other.join().unwrap();
        assert_eq!(*told.lock().unwrap(), [false, true]);
    }
}
