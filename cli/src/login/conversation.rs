//! A conversation in lines, with the demo's service.

use crate::failure::{Failure, Status};
use crate::lines::{Line, Lines};
use crate::term;
use countersign::{LoginError, Stream};
use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A conversation in lines.
pub(crate) struct Conversation {
    stream: Stream<TcpStream>,
    answers: Lines,
    /// How long each answer, and the goodbye, may take.
    patience: Duration,
}

impl Conversation {
    pub(crate) fn new(stream: Stream<TcpStream>, patience: Duration) -> Self {
        Self { stream, answers: Lines::default(), patience }
    }

    pub(super) async fn run(mut self, lines: &[String]) -> Result<(), Failure> {
        if lines.is_empty() {
            self.relay().await?;
        } else {
            for line in lines {
                self.send(line).await?;
            }
        }
        self.close().await.map_err(|error| Failure::session(&error.into()))
    }

    /// Sends each line of standard input, until its end or a `quit`.
    async fn relay(&mut self) -> Result<(), Failure> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            term::note("type whoami, echo TEXT, or quit");
        }
        for line in stdin.lock().lines() {
            let line = line
                .map_err(|error| Failure::usage(format_args!("standard input: {error}; lines must be UTF-8 text")))?;
            self.send(&line).await?;
            if line == "quit" {
                break;
            }
        }
        Ok(())
    }

    async fn send(&mut self, line: &str) -> Result<(), Failure> {
        match self.ask(line).await.map_err(|error| Failure::session(&error))? {
            Some(answer) => term::line(term::from_peer(&answer)),
            None => Err(Failure::with_status(
                Status::Network,
                format_args!("the server closed the session before it answered {line:?}; log in again to go on"),
            )),
        }
    }

    /// Sends a line and waits for its answer; `None` where the server has closed the session.
    pub(crate) async fn ask(&mut self, line: &str) -> io::Result<Option<String>> {
        let answer = timeout(self.patience, async {
            self.stream.write_all(format!("{line}\n").as_bytes()).await?;
            self.stream.flush().await?;
            self.answers.next(&mut self.stream).await
        });
        match answer.await?? {
            Line::Text(answer) => Ok(Some(answer)),
            Line::End => Ok(None),
            Line::TooLong | Line::NotUtf8 => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is no line")),
        }
    }

    /// Ends the session: says so, and waits for the server to say so, too, but not for long. Every line has its answer.
    pub(crate) async fn close(mut self) -> Result<(), LoginError> {
        // A server that has closed already may be gone.
        match timeout(self.patience, self.stream.shutdown()).await {
            Ok(Ok(())) => self.stream.finish(self.patience).await,
            _ => Ok(()),
        }
    }
}
