//! Since when an account is as it is: so that no epoch comes back when an account does.

use crate::stores::files::stamp::Stamp;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that stands for the last change of an account, and for no other change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since(u64);

impl Since {
    /// A change now: a number that nothing in this process had before, and whose beginning is random.
    pub(super) fn now() -> Self {
        static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(first()));
        Self(NEXT.fetch_add(1, Relaxed))
    }

    /// A change that brought a file to this stamp: the same number for everybody who finds it so, a server that is started anew,
    /// or one beside it. Not where the file did not change after `latest`, the latest stamp so far: one from a backup may look as
    /// it once did.
    pub(super) fn of_file(stamp: &Stamp, latest: Option<&Stamp>) -> Self {
        if latest.is_none_or(|latest| stamp.changed_after(latest)) { Self(stamp.number()) } else { Self::now() }
    }

    /// That of a store which keeps numbers of its own.
    pub(super) fn from_number(number: u64) -> Self {
        Self(number)
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }

    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// Another one at each start of a process: saved ticket keys outlast it, and with them tickets of epochs from before.
fn first() -> u64 {
    RandomState::new().hash_one("since")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Accounts;
    use super::*;

    /// Of 32 bits that are random all are zeros once in 4 billion times.
    #[test]
    fn the_first_number_of_a_process_is_random() {
        assert_ne!(first(), first());
        assert!(Since::now().number() >> 32 != 0);
    }

    #[test]
    fn a_file_gives_one_number_at_first_and_never_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let stamp = Stamp::of(&file.as_file().metadata().unwrap());
        let first = Since::of_file(&stamp, None);
        assert_eq!(first, Since::of_file(&stamp, None), "after a restart");
        let again = [Since::of_file(&stamp, Some(&stamp)), Since::of_file(&stamp, Some(&stamp)), Since::now()];
        assert!(again.iter().all(|since| *since != first), "it looks as it did");
        assert!(
            again.iter().enumerate().all(|(index, since)| !again.iter().skip(index + 1).any(|other| other == since))
        );
    }

    /// Whoever knows when a file changed, and what everybody may know of an account, does not know its epoch; neither does who
    /// knows the account's line alone.
    #[test]
    fn an_epoch_takes_both_the_line_and_the_change() {
        let epoch = |salt: &str, since| {
            let hash = format!("$argon2id$v=19$m=8,t=1,p=1${salt}$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
            let (mut accounts, broken) = Accounts::parse(format!("alice permissions=read password={hash}\n"));
            assert_eq!(broken, []);
            accounts.changed(None, Since(since));
            accounts.get("alice").unwrap().epoch()
        };
        assert_eq!(epoch("c2FsdHNhbHQ", 1), epoch("c2FsdHNhbHQ", 1));
        assert_ne!(epoch("c2FsdHNhbHQ", 1), epoch("c2FsdHNhbHU", 1));
        assert_ne!(epoch("c2FsdHNhbHQ", 1), epoch("c2FsdHNhbHQ", 2));
    }
}
