//! Standard output and standard error, without the panics of `println!`.

use crate::failure::Failure;
use countersign::{UnixTime, files, limits};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

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

/// A path as a shell takes it; as it is shown, where nobody can type it.
pub(crate) fn quoted(path: &Path) -> String {
    files::shell_quoted(path).unwrap_or_else(|| visible(&path.display().to_string()))
}

/// A word as a shell takes it.
pub(crate) fn word(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| visible(text), String::from)
}

/// A name that can be logged in with at all, said before a password is asked for.
pub(crate) fn user_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > limits::MAX_USER || text.chars().any(char::is_control) {
        return Err(format!("the user name has 1 to {} bytes, and no control characters", limits::MAX_USER));
    }
    Ok(text.to_owned())
}

/// A date in UTC, such as `2027-01-31` (when it begins) or `2027-01-31T12:00:00Z`, or a time from now, such as `30days`.
pub(crate) fn date(text: &str) -> Result<UnixTime, String> {
    let midnight = format!("{text}T00:00:00Z");
    let date = humantime::parse_rfc3339(text).or_else(|_| humantime::parse_rfc3339(&midnight));
    let from_now = || SystemTime::now().checked_add(humantime::parse_duration(text).ok()?);
    let time = date.ok().or_else(from_now);
    let wrong = || "it is not a date; write it as 2027-01-31, 2027-01-31T12:00:00Z (UTC) or 30days".to_owned();
    time.map(UnixTime::from_system).ok_or_else(wrong)
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
    fn dates_are_read_in_each_of_their_forms() {
        for text in ["2027-01-31", "2027-01-31T00:00:00Z"] {
            assert_eq!(date(text).map(UnixTime::as_secs), Ok(1_801_353_600), "{text}");
        }
        let now = UnixTime::from_system(SystemTime::now()).as_secs();
        assert!(date("30days").is_ok_and(|time| (30 * 86_400..30 * 86_400 + 3600).contains(&(time.as_secs() - now))));
        for text in ["", "never", "2027-13-01", "31.1.2027", "2027-01-31T00:00:00", "30"] {
            assert!(date(text).is_err(), "{text}");
        }
    }

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
