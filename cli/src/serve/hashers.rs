//! The threads that hash passwords, one for each core.
//!
//! A password hash fills 19 MiB. With a hash on each connection's own thread, a flood of logins would fill that many times as
//! much at once.

use crate::failure::Failure;
use countersign::{Accounts, Credential, Grant, Reason, Verifier};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use zeroize::Zeroizing;

/// Somewhere to have passwords hashed.
pub(crate) struct Hashers(Sender<Job>);

struct Job {
    accounts: Arc<Accounts>,
    user: String,
    password: Zeroizing<Vec<u8>>,
    answer: SyncSender<Result<Grant, Reason>>,
}

impl Hashers {
    pub(crate) fn start(count: usize) -> Result<Self, Failure> {
        let (sender, jobs) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..count {
            let jobs = Arc::clone(&jobs);
            let spawned = thread::Builder::new().name("hasher".to_owned()).spawn(move || work(&jobs));
            spawned.map_err(|error| Failure::new(format_args!("cannot start a thread: {error}")))?;
        }
        Ok(Self(sender))
    }

    /// Verifies a credential, on another thread where that takes a hash.
    pub(crate) fn verify(&self, accounts: Arc<Accounts>, credential: Credential<'_>) -> Result<Grant, Reason> {
        let Credential::Password { user, password } = credential else {
            return accounts.verify(credential);
        };
        let (answer, verdict) = sync_channel(1);
        let password = Zeroizing::new(password.to_vec());
        let sent = self.0.send(Job { accounts, user: user.to_owned(), password, answer });
        // No thread is left to answer: nobody can be let in.
        sent.ok().and_then(|()| verdict.recv().ok()).unwrap_or(Err(Reason::NotNow("the account store is unavailable")))
    }
}

/// Works until the server is gone.
fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { accounts, user, password, answer }) = job else {
            return;
        };
        let credential = Credential::Password { user: &user, password: &password };
        let verified = catch_unwind(AssertUnwindSafe(|| accounts.verify(credential)));
        // Whoever asked may be gone.
        let _ = answer.send(verified.unwrap_or(Err(Reason::VerifierFailed)));
    }
}
