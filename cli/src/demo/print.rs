//! What the demo prints, and how.

use super::frames;
use super::relay::Towards;
use crate::failure::Failure;
use crate::term;
use countersign::frame::FrameType;
use countersign::limits::FRAME_HEADER;
use std::fmt::Display;
use std::io;
use std::time::Duration;

/// Where nobody says how wide the terminal is. A wider one is not filled: long lines are hard to read.
const WIDTH: usize = 80;
const WIDEST: usize = 100;

fn width() -> usize {
    term::width().unwrap_or(WIDTH).min(WIDEST)
}

/// A line, in several where the terminal is narrow.
pub(super) fn print(line: &str) -> Result<(), Failure> {
    term::folded(line, Some(width())).into_iter().try_for_each(term::line)
}

/// A labelled text in lines that fit the terminal; a narrow one has no room for a column of labels.
pub(super) fn block(indent: usize, label_width: usize, label: &str, text: &str) -> Result<(), Failure> {
    const NARROW: usize = 60;
    if width() < NARROW {
        return print(&format!("  {label}: {text}"));
    }
    let mut label = label;
    for line in term::wrap(text, width().saturating_sub(indent).saturating_sub(label_width)) {
        term::line(format_args!("{:indent$}{label:label_width$}{line}", ""))?;
        label = "";
    }
    Ok(())
}

pub(super) fn said(who: &str, what: &str) -> Result<(), Failure> {
    block(2, 13, who, what)
}

pub(super) fn item(name: &str, value: impl Display) -> Result<(), Failure> {
    block(2, 13, name, &value.to_string())
}

pub(super) fn time(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

pub(super) fn setup(error: &io::Error) -> Failure {
    Failure::new(format_args!("setting up: {error}"))
}

/// A frame on its way; with what whoever sees it learns, where that is to be explained.
pub(super) fn frame(
    at: Duration,
    towards: Towards,
    kind: FrameType,
    frame: &[u8],
    note: &str,
    explain: bool,
) -> Result<(), Failure> {
    let way = match towards {
        Towards::Server => "client --> server",
        Towards::Client => "client <-- server",
    };
    let (body, name) = (frame.len().saturating_sub(FRAME_HEADER), kind.to_string());
    print(&format!("  {:>9}   {way}   {name:<16}  {FRAME_HEADER} + {body:>4} bytes{note}", time(at)))?;
    if explain {
        let view = frames::view(frame);
        for (label, text) in [("seen", view.seen.as_str()), ("hidden", view.hidden)] {
            block(14, 8, label, text)?;
        }
    }
    Ok(())
}
