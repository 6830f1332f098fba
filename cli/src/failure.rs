//! How a command fails: what it says on stderr, and its exit status.

use countersign::KeyError;
use countersign::accounts::AccountError;
use countersign::files::FileError;
use std::error::Error;
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

/// An error, and what caused it, and what caused that.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some say their cause themselves.
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
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

    /// Whether it has this exit status.
    pub(crate) fn is(&self, status: u8) -> bool {
        self.status == status
    }

    /// Standard output can't be written. A reader that has seen enough, such as `head`, is no news.
    pub(crate) fn output(error: &io::Error) -> Self {
        let message = (error.kind() != io::ErrorKind::BrokenPipe).then(|| format!("standard output: {error}"));
        Self { status: 1, message }
    }

    /// A file could not be used, and the command that mends it, if there is one.
    pub(crate) fn file(error: &FileError) -> Self {
        let failure = Self::new(chain(error));
        match error.remedy() {
            Some(command) => failure.and(format_args!("run: {command}")),
            None => failure,
        }
    }

    /// A file could not be used; `remedy` says how to make it, should it be missing.
    pub(crate) fn missing(error: &FileError, remedy: impl Display) -> Self {
        if error.is_missing() { Self::file(error).and(remedy) } else { Self::file(error) }
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
        Self::file(&error)
    }
}

macro_rules! from {
    ($($error:ty),*) => { $(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(chain(&error))
            }
        }
    )* };
}
from!(AccountError, KeyError);
