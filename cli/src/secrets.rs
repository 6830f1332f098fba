//! Passwords, tokens and passphrases: from a terminal without echo, or from the first line of standard input. Never from
//! arguments, which everyone on the machine can read.

use crate::failure::Failure;
use crate::prompt::{self, Answer};
use crate::term;
use clap::Args;
use countersign::files;
use countersign::limits::MAX_SECRET;
use countersign::{Form, Prompt};
use std::fmt::Display;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A secret of 1 to 4096 bytes.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// Asks once, or reads the first line of standard input.
pub(crate) fn ask(prompt: impl Display, from_stdin: bool, switch: &str) -> Result<Secret, Failure> {
    if from_stdin { first_line() } else { check(hidden(prompt, switch)?) }
}

/// Asks twice, and wants the same answer, or reads the first line of standard input.
pub(crate) fn ask_new(user: &str, from_stdin: bool) -> Result<Secret, Failure> {
    const SWITCH: &str = "--password-stdin";
    if from_stdin {
        return first_line();
    }
    let first = check(hidden(format_args!("New password for {user}: "), SWITCH)?)?;
    if hidden("The same again: ", SWITCH)? == first {
        Ok(first)
    } else {
        Err(Failure::new("the two passwords differ; nothing was changed, try again"))
    }
}

/// Asks for something that may be seen while it is typed.
pub(crate) fn ask_shown(prompt: impl Display, advice: &str) -> Result<Secret, Failure> {
    typed(prompt::ask_shown(&prompt.to_string()), advice)
}

/// The next line of standard input.
pub(crate) fn from_stdin() -> Result<Secret, Failure> {
    first_line()
}

/// The password in a file, of what a server speaks to: its first line.
#[cfg(any(feature = "ldap", feature = "sql"))]
pub(crate) fn of_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    match std::str::from_utf8(files::read_secret(path)?.as_slice()) {
        Ok(text) if !text.is_empty() => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(Failure::usage(format_args!("{}: the first line is empty, or no text", path.display()))),
    }
}

/// What a server asks, as somebody is to see it.
pub(crate) fn question(prompt: &Prompt) -> String {
    let text = if prompt.text().is_empty() { "Further factor" } else { prompt.text() };
    format!("{}: ", term::visible(text))
}

/// Asks for what a server wants to know beside the credential; none where nobody can be asked.
pub(crate) fn ask_factor(prompt: &Prompt) -> Option<Secret> {
    let question = question(prompt);
    let answer = match prompt.form() {
        Form::Hidden => prompt::ask(&question),
        _ => prompt::ask_shown(&question),
    };
    match answer {
        Ok(Answer::Typed(answer)) if !answer.is_empty() => Some(answer),
        _ => None,
    }
}

/// Where the passphrase of an encrypted private key comes from.
#[derive(Args, Clone, Default)]
pub(crate) struct Passphrase {
    /// Read the passphrase of an encrypted key from the first line of this file
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_stdin")]
    passphrase_file: Option<PathBuf>,
    /// Read the passphrase of an encrypted key from the first line of standard input
    #[arg(long)]
    pub(crate) passphrase_stdin: bool,
}

impl Passphrase {
    /// Asks for it where it comes from nowhere else.
    pub(crate) fn of(&self, key: &Path) -> Result<Secret, Failure> {
        match &self.passphrase_file {
            Some(path) => check(Zeroizing::new(files::read_secret(path)?.to_vec())),
            None if self.passphrase_stdin => first_line(),
            None => check(hidden(
                format_args!("Passphrase for {}: ", key.display()),
                "--passphrase-stdin, or in a file with --passphrase-file",
            )?),
        }
    }
}

impl Passphrase {
    /// Whether it is said where it comes from.
    pub(crate) fn is_given(&self) -> bool {
        !self.is_asked()
    }

    /// Whether somebody has to type it.
    pub(crate) fn is_asked(&self) -> bool {
        self.passphrase_file.is_none() && !self.passphrase_stdin
    }

    /// Whether it can be read again.
    pub(crate) fn is_in_file(&self) -> bool {
        self.passphrase_file.is_some()
    }

    /// A new one, asked for twice where it comes from nowhere else.
    pub(crate) fn of_new(&self, key: &Path) -> Result<Secret, Failure> {
        let first = self.of(key)?;
        if self.is_asked() && hidden("The same again: ", "--passphrase-stdin")? != first {
            return Err(Failure::new("the two passphrases differ; nothing was written, try again"));
        }
        Ok(first)
    }
}

/// With the line feed it is what the kernel's line discipline has room for.
const LONGEST_LINE: usize = 4095;

fn hidden(prompt: impl Display, switch: &str) -> Result<Secret, Failure> {
    typed(prompt::ask(&prompt.to_string()), &format!("give it on the first line of standard input with {switch}"))
}

fn typed(answer: io::Result<Answer>, advice: &str) -> Result<Secret, Failure> {
    match answer {
        // A terminal gives no longer line, and drops the rest without a word.
        Ok(Answer::Typed(secret)) if secret.len() >= LONGEST_LINE => {
            Err(Failure::usage(format_args!("a terminal takes no line of {LONGEST_LINE} bytes or more; {advice}")))
        }
        Ok(Answer::Typed(secret)) => Ok(secret),
        Ok(Answer::End) => Err(Failure::usage("nothing was typed, so nothing was done")),
        Err(error) => Err(Failure::usage(format_args!("there is no terminal to ask on ({error}); {advice}"))),
    }
}

/// The first line of standard input, without its line ending. What follows is left for others to read.
fn first_line() -> Result<Secret, Failure> {
    // Room for the longest line from the start: growing would leave copies of the secret behind.
    let room = MAX_SECRET.saturating_add(2);
    let mut line = Zeroizing::new(Vec::with_capacity(room));
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    io::stdin()
        .lock()
        .take(limit)
        .read_until(b'\n', &mut line)
        .map_err(|error| Failure::new(format_args!("standard input: {error}")))?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    check(line)
}

fn check(secret: Secret) -> Result<Secret, Failure> {
    match secret.len() {
        0 => Err(Failure::usage("it is empty, and has to have 1 to 4096 bytes")),
        1..=MAX_SECRET => Ok(secret),
        _ => Err(Failure::usage("it is longer than 4096 bytes")),
    }
}
