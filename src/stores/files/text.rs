//! Files of lines, as people and their editors write them.

use crate::limits;

/// What keeps a line from being a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoText {
    TooLong,
    ZeroBytes,
    /// Where, in bytes; the first is 1.
    NotUtf8 {
        column: usize,
    },
}

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
pub(crate) fn check(content: &[u8]) -> Result<&str, NoText> {
    if content.len() > limits::MAX_LINE {
        return Err(NoText::TooLong);
    }
    if content.contains(&0) {
        return Err(NoText::ZeroBytes);
    }
    core::str::from_utf8(content).map_err(|error| NoText::NotUtf8 { column: error.valid_up_to().saturating_add(1) })
}
