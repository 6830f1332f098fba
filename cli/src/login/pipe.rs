//! `--pipe`: bytes both ways.

use crate::failure::Failure;
use crate::relay::{Broken, Far, Stop, relay};
use countersign::Stream;
use std::future::pending;
use std::io::{self, IsTerminal};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite, Stdout, stdin, stdout};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Carries standard input to the server, and what it says to standard output.
pub(super) async fn run(mut session: Stream<TcpStream>, patience: Duration) -> Result<(), Failure> {
    let (tell, mut end) = watch::channel(None);
    let (mut reader, mut writer) = (stdin(), Output { out: stdout(), end: tell });
    let ended = end.clone();
    let is_terminal = io::stdin().is_terminal();
    // Whoever types need not know that the server has closed; a program that writes may have more to say to it.
    let enough = async {
        let is_enough = |end: &Option<End>| match end {
            Some(End::Failed(_)) => true,
            Some(End::Closed) => is_terminal,
            None => false,
        };
        if end.wait_for(is_enough).await.is_err() {
            pending().await
        }
    };
    let never = Stop::never();
    let relayed = tokio::select! {
        relayed = relay(&mut session, Far::new(&mut reader, &mut writer), &never) => relayed,
        () = enough => Ok(()),
    };
    let end = ended.borrow().clone();
    match (end, relayed) {
        (Some(End::Failed(kind)), _) => Err(Failure::output(&kind.into())),
        (_, Err(Broken::Far(error))) => Err(Failure::usage(format_args!("standard input: {error}"))),
        // It has said everything, which is enough for whoever types.
        (Some(End::Closed), Err(_)) if is_terminal => Ok(()),
        (Some(End::Closed), Err(Broken::Session(error))) => {
            Err(Failure::session(&error).and("the server has said all, and may have got standard input in part"))
        }
        (_, Err(Broken::Session(error))) => Err(Failure::session(&error)),
        (_, Ok(()) | Err(Broken::Stopping)) => {
            // Where it is over, this does nothing.
            let _ = session.finish(patience).await;
            Ok(())
        }
    }
}

/// How standard output ended.
#[derive(Clone)]
enum End {
    Closed,
    Failed(io::ErrorKind),
}

/// Standard output that tells when it is over, and then lets go of what is behind it: whoever reads it sees its end.
struct Output {
    out: Stdout,
    end: watch::Sender<Option<End>>,
}

impl Output {
    fn tell<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.end.send_replace(Some(End::Failed(error.kind())));
        }
        polled
    }
}

impl AsyncWrite for Output {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.out).poll_write(task, bytes);
        self.tell(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.out).poll_flush(task);
        self.tell(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(task))?;
        #[cfg(unix)]
        if let Ok(nowhere) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
            rustix::stdio::dup2_stdout(nowhere)?;
        }
        self.end.send_replace(Some(End::Closed));
        Poll::Ready(Ok(()))
    }
}
