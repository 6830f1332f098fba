//! Who is told that accounts can't be asked for, and that they can be again.

use countersign::accounts::StoreError;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether a database or a directory answers: for the log, and for those who watch a server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Availability<'a> {
    /// It does not, or refuses, or is not as it should be. Logins are told "not now".
    Away(&'a StoreError),
    /// It does again.
    Back,
}

type Tell = dyn Fn(Availability<'_>) + Send + Sync;

/// Told of each change once.
#[derive(Default)]
pub(crate) struct Watcher {
    /// Whether the last that was heard is that it is away.
    is_away: AtomicBool,
    tell: OnceLock<Box<Tell>>,
}

impl Watcher {
    /// The first that is given is told.
    pub(crate) fn set(&self, tell: impl Fn(Availability<'_>) + Send + Sync + 'static) {
        let _ = self.tell.set(Box::new(tell));
    }

    /// Where nobody is there to be told yet, it is not noted, so that whoever comes is.
    pub(crate) fn away(&self, error: &StoreError) {
        if let Some(tell) = self.tell.get()
            && !self.is_away.swap(true, Relaxed)
        {
            tell(Availability::Away(error));
        }
    }

    pub(crate) fn back(&self) {
        // Asked with every answer, and hardly ever so.
        if self.is_away.load(Relaxed)
            && self.is_away.swap(false, Relaxed)
            && let Some(tell) = self.tell.get()
        {
            tell(Availability::Back);
        }
    }
}
