//! What a session is for: a program, another service, or the lines of the demo.

#[cfg(unix)]
mod exec;
mod forward;
mod lines;

#[cfg(unix)]
pub(crate) use exec::Exec;
pub(crate) use forward::Forward;

use super::visit::Visit;
use crate::failure::chain;
use crate::relay::{Broken, Stop};
use countersign::Stream;
use std::io;
use tokio::net::TcpStream;

/// What is behind the login.
pub(crate) enum Service {
    Lines,
    Forward(Forward),
    #[cfg(unix)]
    Exec(Exec),
}

/// Why a session ended, for the log.
pub(crate) struct End {
    pub(crate) reason: String,
    pub(crate) code: &'static str,
}

impl End {
    fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code }
    }

    fn stopping() -> Self {
        Self::new("stopping", "the server is stopping")
    }

    fn closed() -> Self {
        Self::new("closed", "the client closed")
    }

    /// The session failed.
    fn broken(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<countersign::Error>());
        Self::new(inner.map_or("io", countersign::Error::code), chain(error))
    }

    /// How a relay to `far` ended.
    fn of(relayed: Result<(), Broken>, far: &str) -> Self {
        match relayed {
            Ok(()) => Self::new("closed", "both ends closed"),
            Err(Broken::Session(error)) => Self::broken(&error),
            Err(Broken::Far(error)) => Self::new("far-end-broken", format!("{far}: {error}")),
            Err(Broken::Stopping) => Self::stopping(),
        }
    }
}

impl Service {
    /// File descriptors that a session takes.
    pub(crate) fn descriptors(&self) -> usize {
        match self {
            Self::Lines => 1,
            Self::Forward(_) => 2,
            // Two pipes, and a handle of the process.
            #[cfg(unix)]
            Self::Exec(_) => 4,
        }
    }

    /// Whether it is told of permissions when a session begins, and never again.
    pub(crate) fn looks_once(&self) -> bool {
        match self {
            Self::Lines => false,
            Self::Forward(forward) => forward.send_proxy,
            #[cfg(unix)]
            Self::Exec(_) => true,
        }
    }

    /// Serves a session to its end.
    pub(crate) async fn run(&self, stream: Stream<TcpStream>, visit: &Visit, stop: &Stop) -> End {
        match self {
            Self::Lines => lines::run(stream, stop).await,
            Self::Forward(forward) => forward.run(stream, visit, stop).await,
            #[cfg(unix)]
            Self::Exec(exec) => exec.run(stream, visit, stop).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{DRAIN_TIMEOUT, GOODBYE_TIMEOUT};
    use crate::serve::log::FINISH_TIMEOUT;
    use crate::serve::server::STOP_TIMEOUT;

    #[test]
    fn nobody_is_waited_for_longer_than_operators_are_told() {
        let page = include_str!("../../../docs/operating.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let minutes = lines::IDLE_TIMEOUT.as_secs() / 60;
        let sentences = [
            format!("a service has {} seconds to take a connection", forward::CONNECT_TIMEOUT.as_secs()),
            format!("a program that has ended, {} seconds to take what that has left", DRAIN_TIMEOUT.as_secs()),
            format!("of the demo's service, {minutes} minutes for a line"),
            format!(
                "{} ms later they are cut, and after {} ms it",
                GOODBYE_TIMEOUT.as_millis(),
                STOP_TIMEOUT.as_millis()
            ),
            format!("whoever reads the log has {} ms for its last lines", FINISH_TIMEOUT.as_millis()),
        ];
        let missing: Vec<&String> = sentences.iter().filter(|sentence| !page.contains(*sentence)).collect();
        assert!(missing.is_empty(), "{missing:#?}");
        assert_eq!(lines::IDLE_TIMEOUT.as_secs() % 60, 0);
    }
}
