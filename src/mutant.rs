//! Checks that can be taken out, so that the model of the machines has to find the attack: `tests/mutants/mod.rs` does that. Only in this
//! library's own unit tests, for which the compiler sets `cfg(test)`; everywhere else [`lacks`] is `false`, known when it is compiled.
//!
//! What a crypto provider or a setting can take out from outside (tags that are not looked at, signatures, trust, floors, proofs that
//! are not asked for, tickets that are taken twice) has no place here.

/// What can be taken out, by its rule in PROTOCOL.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "nothing takes a check out"))]
pub(crate) enum Check {
    /// That a resumption is under the ticket's suite.
    A3,
    /// That a puzzle is the first on its connection.
    B1,
    /// That a solution is one.
    B3,
    /// That a suite was offered.
    C4,
    /// That the key is the one whose id is named.
    C8,
    /// That both ends mean the same prologue and channel binding (`context`, at both ends).
    Context,
    /// That the server means what the client does.
    C11,
    /// That the proof is right.
    C12,
    /// That a secret was sealed for this very handshake.
    L6,
    /// That a credential is of a kind that is taken.
    L9,
    /// That a client that is asked for a further factor has offered to answer.
    L12,
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
    /// That its chain began under a ticket key that still opens, and is no newer than its own.
    K10,
    /// That the client means what the server does, and the key that the server answers under.
    K11,
    /// That the server goes by the name that is asked for.
    S12,
    /// That the server takes the credential's kind.
    T3,
    /// That a request for a further factor was offered to be answered, and is not the fifth.
    V7,
    /// That the key is known well enough for an answer to a further factor.
    V8,
    /// That a key's signature is for this handshake (`transcript_r` in what is signed).
    SignedTranscript,
    /// That what is expanded under this label is of this handshake (its transcript in the key schedule).
    KeyContext(&'static str),
}

#[cfg(not(test))]
pub(crate) const fn lacks(_: Check) -> bool {
    false
}

#[cfg(not(test))]
pub(crate) const fn lacks_context(_: &str) -> bool {
    false
}

#[cfg(test)]
#[allow(unused_imports, reason = "a build without what the model needs has no mutants")]
pub(crate) use taken::{Filter, hashed, lacks, lacks_context, without};

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

    /// Whether what is expanded under this label is of no handshake.
    pub(crate) fn lacks_context(label: &str) -> bool {
        TAKEN.with_borrow(|taken| taken.iter().any(|it| matches!(it, Check::KeyContext(of) if *of == label)))
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
