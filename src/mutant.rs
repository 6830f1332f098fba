//! Checks that can be taken out, so that the model of the machines has to find the attack: `tests/mutants/mod.rs` does that. Only in this
//! library's own unit tests, for which the compiler sets `cfg(test)`; everywhere else [`lacks`] is `false`, known when it is compiled.
//!
//! What a crypto provider or a setting can take out from outside (tags that are not looked at, signatures, trust, floors, proofs that
//! are not asked for, tickets that are taken twice) has no place here.

/// What can be taken out, by its rule in PROTOCOL.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "nothing takes a check out"))]
pub(crate) enum Check {
    /// That a suite was offered.
    C4,
    /// That the key is the one whose id is named.
    C8,
    /// That both ends mean the same prologue and channel binding (`context`, at both ends).
    Context,
    /// That the proof is right.
    C12,
    /// That a secret was sealed for this very handshake.
    L6,
    /// That a ticket has not expired.
    K2,
    /// That whoever shows it holds its secret.
    K3,
    /// That its suite is still taken.
    K4,
    /// That it is from a login under this key.
    K5,
    /// That the account is as it was.
    K7,
    /// That it is for this server name and prologue.
    K8,
    /// That its chain began with a kind of credential that is still taken.
    K9,
    /// That a key's signature is for this handshake (`transcript_r` in what is signed).
    SignedTranscript,
    /// That keys are of this handshake (the transcripts in the key schedule).
    KeyContext,
}

#[cfg(not(test))]
pub(crate) const fn lacks(_: Check) -> bool {
    false
}

#[cfg(test)]
#[allow(unused_imports, reason = "a build without what the model needs has no mutants")]
pub(crate) use taken::{Filter, hashed, lacks, without};

#[cfg(test)]
#[allow(dead_code, reason = "a build without what the model needs has no mutants")]
mod taken {
    use super::Check;
    use std::borrow::Cow;
    use std::cell::{Cell, RefCell};

    /// What takes bytes out of a transcript: is given a part of it, and gives what is hashed in its place.
    pub(crate) type Filter = fn(&[u8]) -> Vec<u8>;

    thread_local! {
        static TAKEN: RefCell<Vec<Check>> = const { RefCell::new(Vec::new()) };
        static FILTER: Cell<Option<Filter>> = const { Cell::new(None) };
    }

    pub(crate) fn lacks(check: Check) -> bool {
        TAKEN.with_borrow(|taken| taken.contains(&check))
    }

    /// What of these bytes enters the transcript.
    pub(crate) fn hashed(bytes: &[u8]) -> Cow<'_, [u8]> {
        match FILTER.get() {
            None => Cow::Borrowed(bytes),
            Some(filter) => Cow::Owned(filter(bytes)),
        }
    }

    /// Takes checks out, and parts of the transcript, in this thread, for as long as `run` lasts.
    pub(crate) fn without<T>(checks: &[Check], filter: Option<Filter>, run: impl FnOnce() -> T) -> T {
        TAKEN.replace(checks.to_vec());
        FILTER.set(filter);
        let result = run();
        TAKEN.replace(Vec::new());
        FILTER.set(None);
        result
    }
}
