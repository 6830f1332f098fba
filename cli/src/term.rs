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
    let date = UnixTime::from_rfc3339(text).or_else(|| UnixTime::from_rfc3339(&format!("{text}T00:00:00Z")));
    let from_now = || SystemTime::now().checked_add(humantime::parse_duration(text).ok()?).map(UnixTime::from_system);
    let wrong = || "it is not a date; write it as 2027-01-31, 2027-01-31T12:00:00Z (UTC) or 30days".to_owned();
    date.or_else(from_now).ok_or_else(wrong)
}

/// `1 bit`, `2 bits`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// How many columns there are: those of the terminal, or as `COLUMNS` says; none where nobody says, as in a pipe.
pub(crate) fn width() -> Option<usize> {
    let said = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
    terminal_width().or_else(said).filter(|&columns| columns > 0)
}

#[cfg(unix)]
fn terminal_width() -> Option<usize> {
    rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.into()).filter(|&columns| columns > 0)
}

#[cfg(not(unix))]
fn terminal_width() -> Option<usize> {
    None
}

/// Rows of text, the first column to the left, the others to the right. A row of one cell is a heading across. Where they do not
/// fit, each row becomes a few lines, every cell behind the name that the first `heads` rows give it.
pub(crate) fn aligned(rows: &[Vec<String>], heads: usize, width: Option<usize>) -> Vec<String> {
    let (heads, rows) = rows.split_at(heads.min(rows.len()));
    Table::new(heads.to_vec(), width).lines(rows)
}

/// As [`aligned`], for more rows than are to be held at once: columns get no narrower from some of them to the next.
pub(crate) struct Table {
    heads: Vec<Vec<String>>,
    width: Option<usize>,
    widths: Vec<usize>,
    has_begun: bool,
    is_stacked: bool,
}

impl Table {
    pub(crate) fn new(heads: Vec<Vec<String>>, width: Option<usize>) -> Self {
        let mut table = Self { heads: Vec::new(), width, widths: Vec::new(), has_begun: false, is_stacked: false };
        table.widen(&heads);
        table.heads = heads;
        table
    }

    /// The next rows; the first time with the heads above them.
    pub(crate) fn lines(&mut self, rows: &[Vec<String>]) -> Vec<String> {
        self.widen(rows);
        let heads = if self.has_begun { &[][..] } else { &self.heads[..] };
        let lines: Vec<String> = heads.iter().chain(rows).map(|row| self.line(row)).collect();
        let is_wide = |width: usize| lines.iter().any(|line| line.chars().count() > width);
        self.has_begun = true;
        self.is_stacked |= self.width.is_some_and(is_wide);
        match self.width.filter(|_| self.is_stacked) {
            Some(width) => rows.iter().flat_map(|row| self.stacked(row, width)).collect(),
            None => lines,
        }
    }

    fn widen(&mut self, rows: &[Vec<String>]) {
        for row in rows.iter().filter(|row| row.len() > 1) {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        let widths = self.widths.iter().copied().chain(std::iter::repeat(0));
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            line.push_str(&if column == 0 { format!("{cell:width$}") } else { format!("  {cell:>width$}") });
        }
        line.trim_end().to_owned()
    }

    fn stacked(&self, row: &[String], width: usize) -> Vec<String> {
        let name = |column: usize| {
            self.heads.iter().filter_map(|row| row.get(column)).map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let named = |(column, cell): (usize, &String)| format!("{} {cell}", name(column).trim());
        let values: Vec<String> = row.iter().enumerate().skip(1).map(named).collect();
        let head = row.first().filter(|_| row.len() == 1 || name(0).trim().is_empty()).cloned();
        let head = head.or_else(|| Some(format!("{} {}", name(0).trim(), row.first()?)));
        let flow = wrap(&values.join(", "), width.saturating_sub(4)).into_iter().map(|line| format!("    {line}"));
        head.into_iter().chain(flow).collect()
    }
}

/// A line that is too long for the terminal, broken into several under its own indentation.
pub(crate) fn folded(line: &str, width: Option<usize>) -> Vec<String> {
    match width {
        Some(width) if line.chars().count() > width => {
            let indent = line.chars().take_while(|c| *c == ' ').count();
            let parts = wrap(line, width.saturating_sub(indent));
            parts.into_iter().map(|part| format!("{:indent$}{part}", "")).collect()
        }
        _ => vec![line.to_owned()],
    }
}

/// Prints a line on standard output, in several where the terminal is narrow.
pub(crate) fn fold(text: impl Display) -> Result<(), Failure> {
    folded(&text.to_string(), width()).into_iter().try_for_each(line)
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

    fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
        cells.map(str::to_owned).into()
    }

    #[test]
    fn columns_line_up_and_headings_do_not_widen_them() {
        let rows = [row(["a", "bb", "c"]), vec!["a heading across".to_owned()], row(["aaa", "b", "cc"])];
        for width in [None, Some(16)] {
            assert_eq!(aligned(&rows, 1, width), ["a    bb   c", "a heading across", "aaa   b  cc"]);
        }
    }

    #[test]
    fn a_table_that_does_not_fit_is_told_row_by_row() {
        let rows = [
            row(["", "server", "share"]),
            row(["", "ms", "of it"]),
            vec!["RSA".to_owned()],
            row(["  x25519", "0.1", "9 %"]),
        ];
        assert_eq!(aligned(&rows, 2, Some(20)), ["RSA", "  x25519", "    server ms 0.1,", "    share of it 9 %"]);
        let rows = [row(["NAME", "STATE"]), row(["alice", "open"])];
        assert_eq!(aligned(&rows, 1, Some(9)), ["NAME alice", "    STATE", "    open"]);
        assert_eq!(folded("  one two three", Some(10)), ["  one two", "  three"]);
        assert_eq!(folded("  one two three", None), ["  one two three"]);
    }

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
