//! What a session can do: a small service of lines.

use crate::lines::{Line, Lines, MAX_LINE};
use countersign::{Grant, blocking};
use std::io::{self, Read, Write};

/// Why a session ended, for the log.
pub(crate) type End = &'static str;

/// Answers each line with one line, until the client quits, leaves or breaks a rule. Calls `heard` when the client's first
/// word is here.
pub(crate) fn run<S: Read + Write>(stream: &mut blocking::Stream<S>, heard: impl FnOnce()) -> io::Result<End> {
    let mut lines = Lines::default();
    let mut line = lines.next(stream)?;
    heard();
    loop {
        match line {
            Line::End => return Ok("the client closed"),
            Line::Text(line) if line == "quit" => {
                say(stream, "bye".to_owned())?;
                return Ok("quit");
            }
            Line::Text(line) => {
                let answer = answer(&line, stream.grant());
                say(stream, answer)?;
            }
            Line::NotUtf8 => say(stream, "error: the line is not UTF-8".to_owned())?,
            Line::TooLong => {
                say(stream, format!("error: a line has at most {MAX_LINE} bytes; closing"))?;
                return Ok("a line was too long");
            }
        }
        line = lines.next(stream)?;
    }
}

fn answer(line: &str, grant: &Grant) -> String {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("whoami", "") => {
            let permissions: Vec<&str> = grant.permissions().collect();
            format!("{} permissions={}", grant.principal(), permissions.join(","))
        }
        ("echo", text) => text.to_owned(),
        _ => "error: unknown command; there are: whoami, echo TEXT, quit".to_owned(),
    }
}

/// One line, one record.
fn say(stream: &mut impl Write, mut line: String) -> io::Result<()> {
    line.push('\n');
    stream.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_answer() {
        let Ok(alice) = Grant::new("alice", ["read", "write"]) else { return };
        for (line, expected) in [
            ("whoami", "alice permissions=read,write"),
            ("echo", ""),
            ("echo ", ""),
            ("echo a  b", "a  b"),
            ("echo quit", "quit"),
        ] {
            assert_eq!(answer(line, &alice), expected, "{line}");
        }
        for line in ["", " ", "whoami x", "WHOAMI", "quit now", "help"] {
            assert!(answer(line, &alice).starts_with("error: unknown command"), "{line}");
        }
    }
}
