//! How a command fails: what it says on stderr, and its exit status.

use countersign::KeyError;
use countersign::accounts::AccountError;
use countersign::files::FileError;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// What did not work, in words that say what to do next, and the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    /// Nothing is said where nobody is left to read it.
    message: Option<String>,
}

impl Failure {
    /// The command line asks for something that can't be: the status that `clap` exits with, too.
    pub(crate) const USAGE: u8 = 2;

    pub(crate) fn new(message: impl Display) -> Self {
        Self::with_status(1, message)
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self::with_status(Self::USAGE, message)
    }

    pub(crate) fn with_status(status: u8, message: impl Display) -> Self {
        Self { status, message: Some(message.to_string()) }
    }

    /// The same failure, with more to know about it.
    pub(crate) fn and(self, more: impl Display) -> Self {
        Self { message: self.message.map(|message| format!("{message}; {more}")), ..self }
    }

    /// The same failure under another exit status.
    pub(crate) fn status(self, status: u8) -> Self {
        Self { status, ..self }
    }

    /// Standard output can't be written. A reader that has seen enough, such as `head`, is no news.
    pub(crate) fn output(error: &io::Error) -> Self {
        let message = (error.kind() != io::ErrorKind::BrokenPipe).then(|| format!("standard output: {error}"));
        Self { status: 1, message }
    }

    /// A file could not be used; `remedy` says how to make it, should it be missing.
    pub(crate) fn missing(error: &FileError, remedy: impl Display) -> Self {
        match error {
            FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::new(format!("{error}; {remedy}"))
            }
            _ => Self::new(error),
        }
    }

    /// What to tell the user; nothing where standard output is gone.
    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::new(error)
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        Self::new(error)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::new(error)
    }
}
