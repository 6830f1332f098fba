//! How a command fails: what it says on stderr, and its exit status.

use countersign::accounts::AccountError;
use countersign::crypto::KeyFileError;
#[cfg(any(test, all(feature = "ssh-agent", unix)))]
use countersign::crypto::SignError;
use countersign::files::FileError;
use countersign::{Error as Protocol, KeyError, LoginError};
use std::error::Error;
use std::fmt::{self, Display};
use std::io;
use std::process::ExitCode;

/// Why a command ends, other than well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// What the command was to do did not work. `login` and `connect` never end so: see [`Failure::on_this_side`].
    Failed,
    /// The command line can't be right, or, for `login` and `connect`, something else is wrong on this side.
    Usage,
    /// The server refused the login.
    Refused,
    /// The server's key is not trusted.
    Untrusted,
    /// The server can't be reached, or the connection broke.
    Network,
    /// What came is not the protocol, or was altered.
    Protocol,
    /// The server takes no credential of this kind.
    KindNotTaken,
    /// The server has no room for this login.
    Busy,
    /// The server can't tell whether the login is good.
    NotNow,
}

impl Status {
    /// The exit status: one meaning each, as the help of the command has them.
    const fn number(self) -> u8 {
        match self {
            Self::Failed | Self::Refused => 1,
            // `clap` exits so, too.
            Self::Usage => 2,
            Self::Untrusted => 3,
            Self::Network => 4,
            Self::Protocol => 5,
            Self::KindNotTaken => 6,
            Self::Busy => 7,
            Self::NotNow => 8,
        }
    }
}

/// The exit statuses of `login` and `connect`, as their help has them.
pub(crate) const OF_CLIENTS: &str = "\
Exit status:
  0  logged in, and every line was answered, or both directions were closed
  1  the server refused the login
  2  something is wrong on this side: the command line, a file, the secret, the key or who holds
     it, the output
  3  the server's key is not trusted, or it does not prove that it has it, or its suite is too
     weak; nothing secret was sent
  4  the server can't be reached, or did not answer in time, or the session was cut
  5  what came is not the protocol, or was altered on the way, before the login or after it
  6  the server takes no credential of this kind; nothing secret was sent
  7  the server, or somebody on the way, says that it is busy: try again later; nothing secret was
     sent
  8  the server can't check logins now, whatever the credential: try again later";

/// What the library calls its errors at a client, the status of each, and what to do. What is not here is [`Status::Protocol`].
const LOGINS: [(&str, Status, &str); 32] = [
    ("refused", Status::Refused, ""),
    (
        "factor-wanted",
        Status::Usage,
        ". It is asked for on the terminal; where there is none, give it on standard input with --factor-stdin, in the line after a \
         password or token that comes from there, too",
    ),
    ("kind-not-taken", Status::KindNotTaken, ". Ask its operator what it takes"),
    (
        "untrusted-key",
        Status::Untrusted,
        ". Ask its operator for the fingerprint first: a key that is not the right one is what an attack looks like",
    ),
    ("trust-too-low", Status::Untrusted, ""),
    ("unknown-server-key", Status::Untrusted, ", and give it as --pin once"),
    ("server-key-changed", Status::Untrusted, ""),
    ("server-key-revoked", Status::Untrusted, ". Ask its operator for its new key"),
    ("server-key-not-confirmed", Status::Untrusted, ""),
    ("under-floor", Status::Untrusted, "; ask the server's operator"),
    ("server-key-unusable", Status::Untrusted, "; ask the server's operator"),
    (
        "no-proof",
        Status::Untrusted,
        ". Somebody else may be answering in its place: try again later, and if it stays so, ask the server's operator",
    ),
    (
        "proof-not-authentic",
        Status::Untrusted,
        ". Try again from another network, and if it stays so, ask the server's operator",
    ),
    ("busy", Status::Busy, ""),
    ("not-now", Status::NotNow, ", with the same password or token"),
    ("sign-refused", Status::Usage, ". Is the agent unlocked, and was the use of the key confirmed?"),
    ("sign-timed-out", Status::Usage, ". If somebody has to confirm it, give them a longer --timeout"),
    ("sign-gone", Status::Usage, ". Is it still running, and is SSH_AUTH_SOCK its socket?"),
    ("sign-garbled", Status::Usage, ". Is SSH_AUTH_SOCK the socket of an ssh-agent?"),
    ("sign-wrong", Status::Usage, ". Log in with another agent, or with the key's file: --identity"),
    (
        "stretch-too-weak",
        Status::Untrusted,
        ". Ask its operator for stronger parameters: somebody else may be answering in its place",
    ),
    ("stretch-too-costly", Status::Untrusted, ". Ask its operator for parameters that clients can afford"),
    ("stretch-other-realm", Status::Untrusted, ". Ask its operator which realm is its own"),
    ("stretch-not-taken", Status::KindNotTaken, ". Without --stretched-only it would get it"),
    ("stretch-not-built", Status::KindNotTaken, ""),
    ("stretch-no-memory", Status::Usage, ""),
    ("io", Status::Network, "; try again"),
    ("disconnected", Status::Network, "; try again"),
    ("truncated", Status::Network, "; log in again"),
    (
        "different-context",
        Status::Protocol,
        ". Is this the right server for what is spoken here, and does nothing in between end its TLS?",
    ),
    ("deadline-passed", Status::Network, "; if the network is slow, give a longer --timeout"),
    (
        "verdict-not-authentic",
        Status::Protocol,
        ". Let no machine try again and again, and if it stays so, ask the server's operator",
    ),
];

fn known(code: &str) -> Option<(Status, &'static str)> {
    LOGINS.iter().find(|(of, ..)| *of == code).map(|&(_, status, advice)| (status, advice))
}

/// What did not work, in words that say what to do next, and the exit status.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    status: Status,
    /// Nothing is said where nobody is left to read it.
    message: Option<String>,
}

/// An error, and what caused it, and what caused that.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some say their cause themselves.
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

impl Failure {
    pub(crate) fn new(message: impl Display) -> Self {
        Self::with_status(Status::Failed, message)
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self::with_status(Status::Usage, message)
    }

    pub(crate) fn with_status(status: Status, message: impl Display) -> Self {
        Self { status, message: Some(message.to_string()) }
    }

    /// A login that failed, and what to do next.
    pub(crate) fn login(error: &LoginError) -> Self {
        if let LoginError::Io(error) = error
            && let Some(failure) = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>())
        {
            // There was no connection: see [`io::Error::from`].
            return failure.clone();
        }
        let (status, advice) = known(error.code()).unwrap_or(match error {
            LoginError::Protocol(Protocol::Untrusted(_)) => (Status::Untrusted, ""),
            LoginError::Protocol(Protocol::Misuse(_) | Protocol::Crypto(_) | Protocol::Sign(_)) => (Status::Usage, ""),
            _ => (Status::Protocol, "; is this a countersign server, of the same version?"),
        });
        Self::with_status(status, format_args!("{}{advice}", chain(error)))
    }

    /// Whoever holds a client's key can't be used; `who` begins the sentence.
    #[cfg(all(feature = "ssh-agent", unix))]
    pub(crate) fn signing(who: impl Display, error: &SignError) -> Self {
        let advice = known(error.code()).map_or("", |(_, advice)| advice);
        Self::usage(format_args!("{who}{}{advice}", chain(error)))
    }

    /// A session that failed after its login.
    pub(crate) fn session(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Protocol>());
        let status = match inner {
            Some(inner) => known(inner.code()).map_or(Status::Protocol, |(status, _)| status),
            None => Status::Network,
        };
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) && inner.is_none() {
            return Self::with_status(
                status,
                "the server did not answer in time; give a longer --timeout, or log in again",
            );
        }
        Self::with_status(status, format_args!("the session broke: {}; log in again", chain(error)))
    }

    /// The same failure, with more to know about it.
    pub(crate) fn and(self, more: impl Display) -> Self {
        Self { message: self.message.map(|message| format!("{message}; {more}")), ..self }
    }

    /// The same failure of a client, whose 1 means that the server has refused: what failed here is something else.
    pub(crate) fn on_this_side(self) -> Self {
        Self { status: if self.is(Status::Failed) { Status::Usage } else { self.status }, ..self }
    }

    /// Whether it has this exit status.
    pub(crate) fn is(&self, status: Status) -> bool {
        self.status == status
    }

    /// Standard output can't be written. A reader that has seen enough, such as `head`, is no news.
    pub(crate) fn output(error: &io::Error) -> Self {
        let message = (error.kind() != io::ErrorKind::BrokenPipe).then(|| format!("standard output: {error}"));
        Self { status: Status::Failed, message }
    }

    /// A file could not be used, and the command that mends it, if there is one.
    pub(crate) fn file(error: &FileError) -> Self {
        let failure = Self::new(chain(error));
        match error.remedy() {
            Some(command) if matches!(error, FileError::Exposed { .. }) => failure.and(format_args!(
                "run: {command}, or, where it is mounted and can't be changed (Kubernetes, Docker), mount it with mode 0440"
            )),
            Some(command) => failure.and(format_args!("run: {command}")),
            None => failure,
        }
    }

    /// A file could not be used; `remedy` says how to make it, should it be missing.
    pub(crate) fn missing(error: &FileError, remedy: impl Display) -> Self {
        if error.is_missing() { Self::file(error).and(remedy) } else { Self::file(error) }
    }

    /// What to tell the user; nothing where standard output is gone.
    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status.number())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().unwrap_or_default())
    }
}

impl Error for Failure {}

/// Through what is called by the library and calls back: [`Failure::login`] finds it again.
impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(failure)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::file(&error)
    }
}

macro_rules! from {
    ($($error:ty),*) => { $(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(chain(&error))
            }
        }
    )* };
}
from!(AccountError, KeyError, KeyFileError);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign::{Differs, KeyId, Misuse};

    #[test]
    fn every_status_of_a_client_has_a_number_of_its_own_and_a_line_of_help() {
        use Status::{Busy, KindNotTaken, Network, NotNow, Protocol, Refused, Untrusted, Usage};
        let all = [Refused, Usage, Untrusted, Network, Protocol, KindNotTaken, Busy, NotNow];
        for (status, number) in all.into_iter().zip(1..) {
            assert_eq!(status.number(), number, "{status:?}");
            assert!(OF_CLIENTS.contains(&format!("\n  {number}  ")), "{status:?}");
        }
        assert_eq!(Failure::new("").on_this_side().status, Usage);
        assert_eq!(Failure::with_status(Refused, "").on_this_side().status, Refused);
    }

    #[test]
    fn the_readme_has_the_statuses_of_clients_in_the_words_of_their_help() {
        let unwrapped = OF_CLIENTS.replace("\n     ", " ");
        let rows = unwrapped.lines().skip(1).map(|line| line.trim_start().split_once("  ").unwrap());
        let said: Vec<String> = rows.map(|(number, text)| format!("| {number} | {text} |")).collect();
        let (_, table) = include_str!("../../README.md").split_once("\n| status | means |\n|---|---|\n").unwrap();
        assert_eq!(table.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>(), said);
        assert_eq!(said.len(), 9);
    }

    #[test]
    fn a_server_without_room_is_not_one_that_refuses_and_an_impostor_is_not_one_that_is_away() {
        for (error, status) in [
            (Protocol::Busy { retry_after: 9 }, Status::Busy),
            (Protocol::NotNow, Status::NotNow),
            (Protocol::Refused, Status::Refused),
            (Protocol::NoProof(KeyId::from_bytes([7; 32])), Status::Untrusted),
            (Protocol::ProofNotAuthentic, Status::Untrusted),
            (Protocol::DifferentContext(Differs::Prologue), Status::Protocol),
            (Protocol::DeadlinePassed, Status::Network),
            (Protocol::Misuse(Misuse::Closed), Status::Usage),
            (Protocol::VerdictNotAuthentic, Status::Protocol),
            (Protocol::Sign(SignError::Refused), Status::Usage),
            (Protocol::Sign(SignError::Panicked), Status::Usage),
        ] {
            let failure = Failure::login(&error.clone().into());
            assert!(failure.is(status), "{error}: {failure:?}");
        }
    }

    #[test]
    fn where_there_was_no_connection_the_failure_stays_as_it_was() {
        let failure = Failure::with_status(Status::Usage, "write it as HOST:PORT");
        let found = Failure::login(&LoginError::Io(failure.clone().into()));
        assert_eq!((found.status, found.message), (failure.status, failure.message));
    }

    /// Scripts go by them: what is an attack is not tried again, and what is no attack may be.
    #[test]
    fn each_status_is_that_of_the_codes_that_belong_to_it() {
        let belong: [(Status, &[&str]); 8] = [
            (Status::Refused, &["refused"]),
            (
                Status::Usage,
                &[
                    "factor-wanted",
                    "sign-refused",
                    "sign-timed-out",
                    "sign-gone",
                    "sign-garbled",
                    "sign-wrong",
                    "stretch-no-memory",
                ],
            ),
            (
                Status::Untrusted,
                &[
                    "untrusted-key",
                    "trust-too-low",
                    "unknown-server-key",
                    "server-key-changed",
                    "server-key-revoked",
                    "server-key-not-confirmed",
                    "under-floor",
                    "server-key-unusable",
                    "no-proof",
                    "proof-not-authentic",
                    "stretch-too-weak",
                    "stretch-too-costly",
                    "stretch-other-realm",
                ],
            ),
            (Status::Network, &["io", "disconnected", "truncated", "deadline-passed"]),
            (Status::Protocol, &["different-context", "verdict-not-authentic"]),
            (Status::KindNotTaken, &["kind-not-taken", "stretch-not-taken", "stretch-not-built"]),
            (Status::Busy, &["busy"]),
            (Status::NotNow, &["not-now"]),
        ];
        for (status, codes) in belong {
            let has: Vec<_> = LOGINS.iter().filter(|(_, of, _)| *of == status).map(|(code, ..)| *code).collect();
            assert_eq!(has, codes, "{status:?}");
        }
    }

    #[test]
    fn every_code_stands_in_the_table_once() {
        for (index, (code, ..)) in LOGINS.iter().enumerate() {
            assert_eq!(LOGINS.iter().position(|(of, ..)| of == code), Some(index), "{code}");
        }
    }
}
