//! `inspect`: the frames of a captured stream, field by field.

pub(crate) mod fields;

use crate::failure::Failure;
use crate::term;
use clap::Args;
use countersign::codec::DecodeError;
use countersign::frame::{FrameError, FrameType, Header};
use countersign::limits::FRAME_HEADER;
use fields::Field;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Show the frames of a captured stream, field by field.
///
/// Takes the raw bytes of one direction of a connection. Sealed parts are shown as sizes: nobody can look inside. Goes
/// on after a frame with a broken body; stops where frames can't be told apart any more.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign inspect client.bin
  tshark -r login.pcap -q -z follow,tcp,raw,0 ... | xxd -r -p | countersign inspect -

Exit status: 0 where every byte is as it should be, 1 where something is wrong.")]
pub(crate) struct Inspect {
    /// The file with the bytes; - reads standard input
    file: PathBuf,
}

/// Far more than a login, and a session worth looking at by eye.
const MAX_STREAM: u64 = 64 * 1024 * 1024;

impl Inspect {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let bytes = self.read().map_err(|error| Failure::new(format_args!("{}: {error}", self.file.display())))?;
        let mut report = Report::default();
        report.stream(&bytes)?;
        let total = format!("{}, {}", term::count(report.frames, "frame"), term::count(bytes.len(), "byte"));
        match report.problems.as_slice() {
            [] => term::fold(format_args!("{total}, nothing wrong")),
            [first, rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
                term::line(format_args!("{total}, {}", term::count(report.problems.len(), "problem")))?;
                Err(Failure::new(format_args!("{}: {first}{more}", self.file.display())))
            }
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let source: Box<dyn Read> =
            if self.file.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(&self.file)?) };
        source.take(MAX_STREAM.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_STREAM) {
            Ok(bytes)
        } else {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 MiB: cut the capture to one connection"))
        }
    }
}

#[derive(Default)]
struct Report {
    frames: usize,
    problems: Vec<String>,
    from_client: bool,
    from_server: bool,
}

impl Report {
    fn stream(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut offset: usize = 0;
        while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            let header = match Header::parse(rest) {
                Ok(Some(header)) => header,
                Ok(None) => {
                    let missing = FRAME_HEADER.saturating_sub(rest.len());
                    return self.problem(offset, FrameError::Truncated { missing });
                }
                // Without a length there is no next frame to look for.
                Err(error) => return self.problem(offset, error),
            };
            self.frames = self.frames.saturating_add(1);
            let (start, size) = (offset.saturating_add(FRAME_HEADER), header.body);
            term::fold(format_args!(
                "frame {}: {} at offset {offset}, {FRAME_HEADER} + {size} bytes",
                self.frames, header.kind
            ))?;
            self.direction(header.kind, offset)?;
            offset = start.saturating_add(size);
            if let Some(body) = bytes.get(start..offset) {
                self.body(header.kind, body, start)?;
            } else {
                let there = bytes.get(start..).unwrap_or_default();
                let (fields, _) = fields::readable(header.kind, there);
                self.fields(&fields, start)?;
                let missing = size.saturating_sub(there.len());
                self.problem(bytes.len(), FrameError::Truncated { missing })?;
            }
            term::line("")?;
        }
        Ok(())
    }

    fn body(&mut self, kind: FrameType, body: &[u8], start: usize) -> Result<(), Failure> {
        match fields::decode(kind, body) {
            Ok(fields) => self.fields(&fields, start),
            Err(error) => {
                let (fields, end) = fields::readable(kind, body);
                self.fields(&fields, start)?;
                let at = fields::fault(kind, body, error);
                let unread = match error {
                    DecodeError::Trailing(_) => String::new(),
                    _ => format!("; {} from offset {} on not read", left(body, end), start.saturating_add(end)),
                };
                self.problem(start.saturating_add(at), format_args!("{error}{unread}"))
            }
        }
    }

    fn fields(&mut self, fields: &[Field], start: usize) -> Result<(), Failure> {
        let mut offset = start;
        for field in fields {
            let head = format!("  {offset:>8}  {:>5}  {:<18}", field.size, field.name);
            shown(&head, &field.value)?;
            if let Some(problem) = &field.problem {
                self.problem(offset, problem)?;
            }
            offset = offset.saturating_add(field.size);
        }
        Ok(())
    }

    /// The two directions are two streams; one file with both was put together by somebody.
    fn direction(&mut self, kind: FrameType, offset: usize) -> Result<(), Failure> {
        let (client, server) = (self.from_client, self.from_server);
        match kind {
            FrameType::ClientHello
            | FrameType::ClientLogin
            | FrameType::Confirm
            | FrameType::ClientFactor
            | FrameType::Solution => self.from_client = true,
            FrameType::ServerHello | FrameType::ServerVerdict | FrameType::ServerResumption | FrameType::Busy => {
                self.from_server = true;
            }
            _ => {}
        }
        if self.from_client && self.from_server && !(client && server) {
            return self.problem(offset, "frames of both directions in one stream; each has its own");
        }
        Ok(())
    }

    fn problem(&mut self, offset: usize, what: impl Display) -> Result<(), Failure> {
        let problem = format!("offset {offset}: {what}");
        term::fold(format_args!("  WRONG at {problem}"))?;
        self.problems.push(problem);
        Ok(())
    }
}

/// A value beside its head, or, where the terminal is too narrow for that, under it.
fn shown(head: &str, value: &str) -> Result<(), Failure> {
    let (width, indent) = (term::width(), head.chars().count().saturating_add(2));
    let fits = |line: &str| width.is_none_or(|width| indent.saturating_add(line.chars().count()) <= width);
    if !value.lines().all(fits) {
        term::line(head.trim_end())?;
        return value.lines().try_for_each(|line| term::fold(format_args!("    {line}")));
    }
    for (index, line) in value.lines().enumerate() {
        let head = if index == 0 { head } else { "" };
        term::line(format_args!("{head:<0$}  {line}", indent.saturating_sub(2)))?;
    }
    Ok(())
}

fn left(body: &[u8], end: usize) -> String {
    term::count(body.len().saturating_sub(end), "byte")
}
