//! Files of lines, as people and their editors write them.

use crate::limits;
use crate::terms::error::codes;

/// A line that can't be read, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {error}")]
#[non_exhaustive]
pub struct BrokenLine<E> {
    /// The line's number; the first is 1.
    pub number: usize,
    /// What is wrong with it.
    pub error: E,
}

/// What is wrong with a line, whatever stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The line has a byte that is not UTF-8.
    #[error("not UTF-8 text: see column {column}; the file may be in Latin-1, and has to be saved as UTF-8")]
    NotUtf8 {
        /// Where, in bytes; the first is 1.
        column: usize,
    },
    /// The line has zero bytes.
    #[error("there are zero bytes in it: the file may be in UTF-16, and has to be saved as UTF-8")]
    ZeroBytes,
    /// The line is longer than 64 KiB.
    #[error("longer than {} KiB, which is as much as a line may have", limits::MAX_LINE >> 10)]
    TooLong,
    /// The file's last line has no line feed.
    #[error("the file ends without a line feed behind it, so it may be cut short; put one there if it is whole")]
    Unended,
}

codes!(TextError {
    Self::NotUtf8 { .. } => "not-utf8",
    Self::ZeroBytes => "zero-bytes",
    Self::TooLong => "line-too-long",
    Self::Unended => "line-unended",
});

/// The lines of a file without their line feeds, and what comes after the last line feed.
pub(crate) fn split(text: &[u8]) -> (impl Iterator<Item = &[u8]>, &[u8]) {
    let (lines, tail) = match text.iter().rposition(|&byte| byte == b'\n').and_then(|end| text.split_at_checked(end)) {
        Some((lines, tail)) => (Some(lines), tail.get(1..).unwrap_or_default()),
        None => (None, text),
    };
    (lines.into_iter().flat_map(|lines| lines.split(|&byte| byte == b'\n')), tail)
}

/// What is in a line: without white space around it, and without the mark that some editors put in front of the first.
pub(crate) fn content(line: &[u8], number: usize) -> &[u8] {
    let line = if number == 1 { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
    line.trim_ascii()
}

/// The text of a line that has any.
pub(crate) fn check(content: &[u8]) -> Result<&str, TextError> {
    if content.len() > limits::MAX_LINE {
        return Err(TextError::TooLong);
    }
    if content.contains(&0) {
        return Err(TextError::ZeroBytes);
    }
    core::str::from_utf8(content).map_err(|error| TextError::NotUtf8 { column: error.valid_up_to().saturating_add(1) })
}
