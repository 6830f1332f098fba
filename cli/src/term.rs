//! Standard output and standard error, without the panics of `println!`.

use crate::failure::Failure;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Prints a line on standard output and flushes it: a script may be waiting for it.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Prints a line on standard error. If that is gone, there is nobody left to tell.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The peer's text as a terminal may be shown it: control characters could make it do things. Scripts get every byte.
pub(crate) fn from_peer(text: &str) -> String {
    if !io::stdout().is_terminal() {
        return text.to_owned();
    }
    text.split('\t').map(visible).collect::<Vec<_>>().join("\t")
}

/// A text with whatever is not printable, reorders text or has no width escaped.
pub(crate) fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        '\'' | '"' | '\\' => c.to_string(),
        // Behind a letter, so that the marks of many scripts stay as they are.
        _ => format!("a{c}").escape_debug().skip(1).collect(),
    };
    text.chars().map(shown).collect()
}

/// `1 bit`, `2 bits`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Breaks words into lines of at most `width` characters.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count().saturating_add(word.chars().count()) < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Parses a duration such as `10s`, `250ms` or `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 10s, 250ms or 1m30s"))
}

/// A duration as [`duration`] reads it: for defaults.
pub(crate) fn time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// As [`duration`], where none at all would make no sense.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("it must be more than zero".to_owned()) } else { Ok(time) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_reorders_text_is_escaped_and_the_rest_is_left() {
        for text in ["alice", "o'brien", "a\\b", "\u{e9}e\u{301}", "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}"] {
            assert_eq!(visible(text), text);
        }
        for (text, shown) in [
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{2066}", "\\u{2066}"),
            ("a\u{200b}", "a\\u{200b}"),
            ("\u{200d}\u{feff}", "\\u{200d}\\u{feff}"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }
}
