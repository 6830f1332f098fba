//! The demo's service: each line gets an answer of one line.

use super::End;
use crate::lines::{Line, Lines, MAX_LINE};
use crate::relay::{GOODBYE_TIMEOUT, Stop};
use countersign::{Grant, Stream};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client that says no line for this long, or takes no answer, is left.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Answers each line with one line, until the client quits, leaves or breaks a rule.
pub(super) async fn run(mut stream: Stream<TcpStream>, stop: &Stop) -> End {
    let end = tokio::select! {
        served = serve(&mut stream, Stream::grant, IDLE_TIMEOUT) => match served {
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

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    grant: impl Fn(&S) -> Arc<Grant>,
    idle: Duration,
) -> io::Result<End> {
    let mut lines = Lines::default();
    loop {
        let answer = match timeout(idle, lines.next(stream)).await?? {
            Line::End => return Ok(End::closed()),
            Line::Text(line) if line == "quit" => {
                say(stream, "bye".to_owned(), idle).await?;
                return Ok(End::new("quit", "quit"));
            }
            Line::Text(line) => answer(&line, &grant(stream)),
            Line::NotUtf8 => "error: the line is not UTF-8".to_owned(),
            Line::TooLong => {
                say(stream, format!("error: a line has at most {MAX_LINE} bytes; closing"), idle).await?;
                return Ok(End::new("line-too-long", "a line was too long"));
            }
        };
        say(stream, answer, idle).await?;
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
async fn say(stream: &mut (impl AsyncWrite + Unpin), mut line: String, idle: Duration) -> io::Result<()> {
    line.push('\n');
    timeout(idle, async {
        stream.write_all(line.as_bytes()).await?;
        stream.flush().await
    })
    .await?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    /// More than any of it takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_client_that_says_nothing_or_takes_no_answer_is_left() {
        let alice = Arc::new(Grant::new("alice", ["read"]).unwrap());
        for asked in [&b""[..], b"whoami\n"] {
            // There is room for the question, and for a part of the answer.
            let (mut near, mut far) = duplex(16);
            far.write_all(asked).await.unwrap();
            let served = serve(&mut near, |_| Arc::clone(&alice), Duration::from_millis(20));
            let served = timeout(PATIENCE, served).await.unwrap();
            assert_eq!(served.err().map(|error| error.kind()), Some(io::ErrorKind::TimedOut), "{asked:?}");
        }
    }

    #[test]
    fn each_command_has_its_answer() {
        let alice = Grant::new("alice", ["read", "write"]).unwrap();
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
