//! The demo's service: each line gets an answer of one line.

use super::End;
use crate::lines::{Line, Lines, MAX_LINE};
use crate::relay::{GOODBYE_TIMEOUT, Stop};
use countersign::{Grant, Stream};
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client that says no line for this long, or takes no answer, is left.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Answers each line with one line, until the client quits, leaves or breaks a rule.
pub(super) async fn run(mut stream: Stream<TcpStream>, stop: &Stop) -> End {
    let end = tokio::select! {
        served = serve(&mut stream, Lines::default()) => match served {
            Ok(end) => end,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => End::new("idle", "idle for too long"),
            Err(error) => End::broken(&error),
        },
        () = stop.stopped() => End::stopping(),
    };
    // The peer may be gone.
    let _ = stream.finish(GOODBYE_TIMEOUT).await;
    end
}

async fn serve(stream: &mut Stream<TcpStream>, mut lines: Lines) -> io::Result<End> {
    loop {
        let answer = match timeout(IDLE_TIMEOUT, lines.next(stream)).await?? {
            Line::End => return Ok(End::closed()),
            Line::Text(line) if line == "quit" => {
                say(stream, "bye".to_owned()).await?;
                return Ok(End::new("quit", "quit"));
            }
            Line::Text(line) => answer(&line, &stream.grant()),
            Line::NotUtf8 => "error: the line is not UTF-8".to_owned(),
            Line::TooLong => {
                say(stream, format!("error: a line has at most {MAX_LINE} bytes; closing")).await?;
                return Ok(End::new("line-too-long", "a line was too long"));
            }
        };
        say(stream, answer).await?;
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
async fn say(stream: &mut Stream<TcpStream>, mut line: String) -> io::Result<()> {
    line.push('\n');
    timeout(IDLE_TIMEOUT, async {
        stream.write_all(line.as_bytes()).await?;
        stream.flush().await
    })
    .await?
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
