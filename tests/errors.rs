//! Errors as logs get them: a stable code for each kind, a text that says nothing twice, and the right one to blame.

#![cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use core::error::Error as StdError;
use countersign::codec::{DecodeError, EncodeError};
use countersign::crypto::{AeadKey, Cipher, CryptoError, Provider, SignError};
use countersign::frame::{FrameError, FrameType};
use countersign::server::{AwaitHello, Claim};
use countersign::{
    Acceptor, Aead, BusyReason, ChannelBinding, ClientConfig, Connector, CredentialKind, Differs, Error, Form, Grant,
    KeyError, LoginError, Misuse, Penalty, Prompt, Reason, RecordError, Revocation, ServerConfig, StretchError, Suite,
    TicketKeys, TrustLevel, UnixTime, Violation, client, limits,
};
use std::collections::BTreeSet;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use support::{ALICE, RSA2048, Scenario, TestRng, at, grant, provider, verifier};

fn suite() -> Suite {
    Suite::X25519_AES_256_GCM
}

fn frame_errors() -> Vec<FrameError> {
    use FrameError as E;
    let kind = FrameType::Data;
    vec![
        E::UnknownType(0),
        E::UnexpectedType(kind),
        E::Length { kind, len: 0, min: 1, max: 2 },
        E::Truncated { missing: 1 },
        E::Trailing(1),
    ]
}

fn decode_errors() -> Vec<DecodeError> {
    use DecodeError as E;
    vec![E::Truncated, E::Trailing(1), E::TooMany { found: 2, limit: 1 }, E::NotUtf8, E::Padding, E::Unknown]
}

fn violations() -> Vec<Violation> {
    use Violation as V;
    vec![
        V::NoCommonVersion,
        V::NoCommonSuite,
        V::Empty("the suites"),
        V::Duplicate("the suites"),
        V::KeyShares,
        V::BadKeyShare,
        V::VersionNotOffered(2),
        V::SuiteNotOffered(2),
        V::KeyIdMismatch,
        V::KeyNotSent,
        V::CiphertextRange,
        V::KeyNotNamed,
        V::Extensions(1025),
        V::SealedLength,
        V::BadString("the server name"),
        V::BadTicket,
        V::ResumedOther,
        V::FactorNotOffered,
        V::BadFactorRequest,
        V::BadStretching,
        V::WrongSolution,
        V::UnknownDecision(2),
    ]
}

fn record_errors() -> Vec<RecordError> {
    use RecordError as E;
    let wrapping = frame_errors().into_iter().map(E::Frame).chain([E::Crypto(CryptoError::Failed)]);
    [E::NotAuthentic, E::AfterEnd, E::Truncated, E::IdleUpdate, E::KeyOverused].into_iter().chain(wrapping).collect()
}

fn misuses() -> Vec<Misuse> {
    use Misuse as M;
    vec![
        M::TooLong { what: "the record", len: 2, limit: 1 },
        M::TooMany { what: "the suites", limit: 1 },
        M::BadInput("the record"),
        M::Duplicate("the suites"),
        M::UnsupportedSuite(suite()),
        M::UnsupportedKind(CredentialKind::Key),
        M::Closed,
        M::KeyUpdateDue,
        M::Mismatch,
    ]
}

fn errors() -> Vec<Error> {
    use Error as E;
    let mut errors = vec![
        E::ServerKey(KeyError::NotDer),
        E::Untrusted(support::untrusted(RSA2048.private.public_key().id())),
        E::TrustTooLow { kind: CredentialKind::Password, level: TrustLevel::FirstUse },
        E::UnderFloor(suite()),
        E::NoProof(RSA2048.private.public_key().id()),
        E::ProofNotAuthentic,
        E::DifferentContext(Differs::Both),
        E::Busy { retry_after: 7 },
        E::KindNotTaken(CredentialKind::Token),
        E::Sign(SignError::Refused),
        E::Stretch(StretchError::NotTaken),
        E::Refused,
        E::FactorWanted(Prompt::new(Form::Code, "The code").unwrap()),
        E::NotNow,
        E::VerdictNotAuthentic,
        E::DeadlinePassed,
        E::NoServerKey,
        E::NotConfirmed,
        E::Crypto(CryptoError::Failed),
    ];
    errors.extend(revocations().into_iter().map(E::Revoked));
    errors.extend(stretch_errors().into_iter().skip(1).map(E::Stretch));
    errors.extend(frame_errors().into_iter().map(E::Frame));
    errors.extend(decode_errors().into_iter().map(E::Decode));
    errors.extend(violations().into_iter().map(E::Violation));
    errors.extend(record_errors().into_iter().map(E::Record));
    errors.extend(misuses().into_iter().map(E::Misuse));
    errors
}

fn revocations() -> Vec<Revocation> {
    use Revocation as R;
    let refused = R::Refused(Box::new(Reason::AccountLocked));
    vec![R::Ended, refused, R::CredentialChanged, R::PermissionsChanged, R::Unconfirmed]
}

fn stretch_errors() -> Vec<StretchError> {
    use StretchError as E;
    let parameters = countersign::StretchParameters::DEFAULT;
    let bounds = [E::TooWeak(parameters), E::TooCostly(parameters), E::OtherRealm("db.example".to_owned())];
    let others = [E::BadPassword, E::NoMemory, E::NotBuilt];
    [E::NotTaken].into_iter().chain(bounds).chain(others).collect()
}

fn penalties() -> Vec<Penalty> {
    use Penalty as P;
    vec![P::Source, P::Block, P::Account, P::KnownSource, P::Total, P::Strangers]
}

fn reasons() -> Vec<Reason> {
    use Reason as R;
    let mut reasons = vec![
        R::NotAdmitted("too many logins"),
        R::NotOpened,
        R::KindNotTaken(CredentialKind::Token),
        R::UnknownUser,
        R::WrongPassword,
        R::UnknownToken,
        R::OtherStretching,
        R::BadSignature,
        R::UnknownKey,
        R::KeyNotAdmitted,
        R::FactorNotOffered,
        R::TooManyFactors,
        R::WrongFactor,
        R::FactorUsed,
        R::FactorLocked,
        R::AccountDisabled,
        R::AccountLocked,
        R::AccountExpired,
        R::NetworkNotAdmitted,
        R::NotNow("the store is away"),
        R::NoAnswer("the directory does not answer in time"),
        R::Failed(CryptoError::Failed),
        R::VerifierFailed,
        R::ResumeUnsupported,
        R::BadGrant(Misuse::BadInput("a permission")),
        R::Application("not on Sundays"),
    ];
    reasons.extend(penalties().into_iter().map(R::Penalty));
    reasons.extend(errors().into_iter().map(R::Malformed));
    reasons
}

fn crowded() -> Vec<BusyReason> {
    vec![
        BusyReason::NoRoom,
        BusyReason::Pressed,
        BusyReason::NoSession,
        BusyReason::MadeWay,
        BusyReason::Unsolved,
        BusyReason::Stopping,
    ]
}

fn login_errors() -> Vec<LoginError> {
    use LoginError as E;
    let wrapped = io::Error::from(Error::Record(RecordError::Truncated));
    let mut all = vec![E::Io(io::ErrorKind::BrokenPipe.into()), E::Io(wrapped)];
    all.extend(FrameType::ALL.map(|awaited| E::Disconnected { awaited }));
    all.extend(crowded().into_iter().map(E::Busy));
    all.extend(errors().into_iter().map(E::Protocol));
    all.extend(reasons().into_iter().map(|reason| E::LoginRefused { user: Some("alice".to_owned()), reason }));
    all
}

/// The variants of an enum, in a file of the library's.
fn variants<'a>(source: &'a str, name: &str) -> BTreeSet<&'a str> {
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).expect("the enum");
    let (body, _) = body.split_once("\n}\n").expect("its end");
    let names = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = names.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names.map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap()).collect()
}

/// That of these errors there is one of each variant.
fn are_all<E: core::fmt::Debug>(errors: &[E], source: &str, name: &str) {
    let printed: Vec<String> = errors.iter().map(|error| format!("{error:?}")).collect();
    let listed: BTreeSet<&str> =
        printed.iter().map(|text| text.split(|c: char| !c.is_alphanumeric()).next().unwrap()).collect();
    assert_eq!(listed, variants(source, name), "{name}");
}

#[test]
fn these_tests_know_every_error() {
    let (terms, frame) = (include_str!("../src/terms/error.rs"), include_str!("../src/wire/frame.rs"));
    are_all(&errors(), terms, "Error");
    are_all(&violations(), terms, "Violation");
    are_all(&record_errors(), terms, "RecordError");
    are_all(&misuses(), terms, "Misuse");
    are_all(&revocations(), include_str!("../src/terms/revocation.rs"), "Revocation");
    are_all(&stretch_errors(), include_str!("../src/terms/stretch/error.rs"), "StretchError");
    are_all(&reasons(), include_str!("../src/terms/error/reason.rs"), "Reason");
    are_all(&penalties(), include_str!("../src/terms/error/reason.rs"), "Penalty");
    are_all(&frame_errors(), frame, "FrameError");
    are_all(&decode_errors(), include_str!("../src/wire/codec.rs"), "DecodeError");
    are_all(&login_errors(), include_str!("../src/io/error.rs"), "LoginError");
    are_all(&crowded(), include_str!("../src/io/error.rs"), "BusyReason");
}

/// These codes are kebab-case, and each is another.
fn are_codes(codes: impl IntoIterator<Item = &'static str>) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for code in codes {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        assert!(code.split('-').all(is_word), "{code}");
        assert!(seen.insert(code), "{code} twice");
    }
    seen
}

#[test]
fn every_kind_of_error_has_a_code_of_its_own() {
    are_codes(frame_errors().iter().map(FrameError::code));
    are_codes(decode_errors().iter().map(DecodeError::code));
    are_codes(violations().iter().map(Violation::code));
    are_codes(misuses().iter().map(Misuse::code));
    // What only passes another error on has that one's code.
    are_codes(record_errors().iter().map(RecordError::code));
    for error in errors() {
        let inner = match &error {
            Error::Frame(inner) => inner.code(),
            Error::Decode(inner) => inner.code(),
            Error::Violation(inner) => inner.code(),
            Error::Record(inner) => inner.code(),
            Error::Misuse(inner) => inner.code(),
            Error::Crypto(inner) => inner.code(),
            Error::Sign(inner) => inner.code(),
            Error::Revoked(inner) => inner.code(),
            _ => continue,
        };
        assert_eq!(error.code(), inner, "{error:?}");
        assert_eq!(LoginError::Protocol(error.clone()).code(), inner, "{error:?}");
    }
    // A frame or a provider may be at fault in a handshake and in a session; no other two have one code.
    let own = |error: &Error| {
        let refused = matches!(error, Error::Revoked(Revocation::Refused(_)));
        !refused && !matches!(error, Error::Record(RecordError::Frame(_) | RecordError::Crypto(_)))
    };
    // What would refuse a login ends a session.
    assert_eq!(Revocation::Refused(Box::new(Reason::AccountLocked)).code(), Reason::AccountLocked.code());
    let codes = are_codes(errors().iter().filter(|error| own(error)).map(Error::code));

    let mut reasons = reasons();
    assert!(reasons.iter().filter(|reason| matches!(reason, Reason::Malformed(_))).all(|r| r.code() == "malformed"));
    reasons.retain(|reason| !matches!(reason, Reason::Malformed(inner) if *inner != Error::Refused));
    let of_reasons = are_codes(reasons.iter().map(Reason::code));
    // Whoever counts both counts them apart: a reason is of the server's log, an error of either's.
    let both: Vec<_> = codes.intersection(&of_reasons).collect();
    assert_eq!(both, [&"kind-not-taken", &"not-now"], "it is the same thing, seen from either end");

    let of_logins = login_errors().into_iter().filter(|error| match error {
        LoginError::Io(error) => error.get_ref().is_none(),
        LoginError::Disconnected { awaited } => *awaited == FrameType::ClientHello,
        LoginError::Protocol(_) | LoginError::LoginRefused { .. } => false,
        _ => true,
    });
    let of_logins = are_codes(of_logins.map(|error| error.code()));
    assert!(of_logins.is_disjoint(&codes) && of_logins.is_disjoint(&of_reasons));
    for reason in reasons {
        let code = reason.code();
        assert_eq!(LoginError::LoginRefused { user: None, reason }.code(), code);
    }
}

/// That the codes of these errors are those of docs/codes.txt; what only passes another error on has none there.
fn are_listed<E: core::fmt::Debug>(errors: &[E], name: &str, code: impl Fn(&E) -> &'static str) {
    let list = include_str!("../docs/codes.txt");
    for error in errors {
        let printed = format!("{error:?}");
        let variant = printed.split(|c: char| !c.is_alphanumeric()).next().unwrap();
        let listed = list.lines().find_map(|line| line.strip_prefix(&format!("{name}::{variant} ")));
        assert!(listed.is_none_or(|listed| listed == code(error)), "{error:?}: {} and {listed:?}", code(error));
    }
}

#[test]
fn every_error_has_the_code_that_is_listed_for_it() {
    are_listed(&frame_errors(), "FrameError", FrameError::code);
    are_listed(&decode_errors(), "DecodeError", DecodeError::code);
    are_listed(&violations(), "Violation", Violation::code);
    are_listed(&record_errors(), "RecordError", RecordError::code);
    are_listed(&misuses(), "Misuse", Misuse::code);
    are_listed(&errors(), "Error", Error::code);
    are_listed(&revocations(), "Revocation", Revocation::code);
    are_listed(&stretch_errors(), "StretchError", StretchError::code);
    are_listed(&penalties(), "Penalty", Penalty::code);
    are_listed(&reasons(), "Reason", Reason::code);
    are_listed(&crowded(), "BusyReason", |reason| reason.code());
    are_listed(&login_errors(), "LoginError", LoginError::code);
}

#[test]
fn a_code_says_what_a_provider_failed_at() {
    for error in [CryptoError::NotAuthentic, CryptoError::BadKeyShare, CryptoError::Unsupported, CryptoError::Failed] {
        assert_eq!(Error::Crypto(error).code(), error.code());
        assert_eq!(RecordError::Crypto(error).code(), error.code());
    }
}

/// A reporter prints an error and then what it came from: no text may hold the next one.
fn says_nothing_twice(error: &dyn StdError) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.ends_with('.'), "{error:?}: {text}");
    if let Some(source) = error.source() {
        let from = source.to_string();
        assert!(!text.contains(&from), "{text:?} says {from:?} already");
        says_nothing_twice(source);
    }
}

#[test]
fn no_error_says_what_it_came_from() {
    fn each<E: StdError>(errors: impl IntoIterator<Item = E>) {
        errors.into_iter().for_each(|error| says_nothing_twice(&error));
    }
    each(frame_errors());
    each(decode_errors());
    each(violations());
    each(record_errors());
    each(misuses());
    each(errors());
    each(reasons());
    each(crowded());
    each(login_errors());
    each([EncodeError::StringTooLong(1), EncodeError::DoesNotFit(1)]);
    // As those see them who only know of `std::io`.
    each(errors().into_iter().map(io::Error::from));
    each(login_errors().into_iter().map(io::Error::from));
    each([grant().require("admin").unwrap_err()]);
}

/// A server that hangs up says nothing: what it may have meant is a guess, by when it did so.
#[test]
fn a_client_is_told_why_a_server_may_have_hung_up() {
    let said = |awaited| LoginError::Disconnected { awaited }.to_string();
    assert!(said(FrameType::ServerHello).contains("may not go by the name"));
    assert!(said(FrameType::ServerVerdict).contains("may be too busy"));
    assert!(!said(FrameType::Data).contains("may"));
}

#[cfg(feature = "accounts")]
#[test]
fn no_error_of_a_store_says_what_it_came_from() {
    use countersign::accounts::{AccountError, Accounts, LineError};
    use countersign::crypto::KeyFileError;
    use countersign::files::FileError;
    let path = std::path::PathBuf::from("server.pem");
    let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
    let files = [
        FileError::Io { path: path.clone(), source: denied() },
        FileError::NotFile { path: path.clone(), what: "a directory" },
        FileError::NoFolder { path: path.clone(), source: denied() },
        FileError::MountPoint { path: path.clone(), source: denied() },
        FileError::Locked { path: path.clone() },
        FileError::Unsettled { path: path.clone() },
        FileError::Late { path: path.clone() },
        FileError::Undone { path: path.clone(), source: denied() },
        FileError::TooLong { path: path.clone(), most: 1 << 26 },
        FileError::Exposed { path: path.clone(), mode: 0o644 },
        FileError::Writable { path: path.clone(), mode: 0o666 },
        FileError::Owner { path: path.clone(), uid: 1, gid: 1, source: denied() },
        FileError::Exists { path: path.clone() },
        FileError::Silent { path: path.clone() },
        FileError::Key { path: path.clone(), source: KeyFileError::Key { line: 1, source: KeyError::NotDer } },
    ];
    #[cfg(feature = "x509")]
    let files = {
        let source = countersign::crypto::CertificateFileError::Empty;
        let certificates = FileError::Certificates { path: path.clone(), source };
        let source = countersign::AuthorizedKeyError::Empty;
        let source = countersign::AuthorizedKeysError::Line { line: 3, source };
        files.into_iter().chain([certificates, FileError::AuthorizedKeys { path, source }]).collect::<Vec<_>>()
    };
    #[cfg(feature = "x509")]
    are_all(&files, include_str!("../src/stores/files.rs"), "FileError");
    for error in &files {
        says_nothing_twice(error);
        assert!(error.to_string().contains("server.pem"), "whatever is printed of it, the file is named");
    }
    let accounts = [
        AccountError::Exists("alice".to_owned()),
        AccountError::Unknown("alice".to_owned()),
        AccountError::Unreadable("alice".to_owned(), LineError::Name),
        AccountError::Broken { name: "alice".to_owned(), line: 3 },
        AccountError::BadName,
        AccountError::BadPassword,
        AccountError::WeakPassword,
        AccountError::BadHash(LineError::Password),
        AccountError::TooManyTokens("alice".to_owned()),
        AccountError::TooManyKeys("alice".to_owned()),
        AccountError::NoTotp("alice".to_owned()),
        AccountError::DuplicateToken("alice".to_owned()),
        AccountError::Encoding("alice".to_owned()),
        AccountError::BadRole,
        AccountError::RoleExists("clerk".to_owned()),
        AccountError::UnknownRole("clerk".to_owned()),
        AccountError::RoleInUse { role: "clerk".to_owned(), user: "alice".to_owned() },
        AccountError::TooManyRoles("alice".to_owned()),
        AccountError::From(countersign::AddressPatterns::parse("example.com").unwrap_err()),
        AccountError::Permissions(Misuse::BadInput("the permission")),
        AccountError::Hashing,
    ];
    are_all(&accounts, include_str!("../src/stores/accounts/error.rs"), "AccountError");
    accounts.iter().for_each(|error| says_nothing_twice(error));
    let (_, broken) = Accounts::parse("alice password=x");
    says_nothing_twice(&broken[0]);
    let mut codes: Vec<&str> =
        files.iter().map(FileError::code).chain(accounts.iter().map(AccountError::code)).collect();
    codes.sort_unstable();
    let count = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), count, "each has a code of its own: {codes:?}");
}

#[cfg(feature = "files")]
#[test]
fn no_error_of_known_hosts_says_what_it_came_from() {
    use countersign::files::{FileError, TextError};
    use countersign::known_hosts::{Hosts, HostsError, LineError};
    let path = std::path::PathBuf::from("known_hosts");
    let (name, key) = ("db.example:4500".to_owned(), RSA2048.private.public_key().id());
    let lines = {
        use LineError as E;
        let text = [TextError::NotUtf8 { column: 1 }, TextError::ZeroBytes, TextError::TooLong, TextError::Unended];
        are_all(&text, include_str!("../src/stores/files/text.rs"), "TextError");
        let more = text.map(E::Text).into_iter().chain([E::OfOpenSsh, E::NotAccepted]);
        let fields = [E::Field, E::NoKey, E::NotBase64, E::Key(KeyError::NotDer), E::Id, E::OtherId, E::Accepted];
        [E::Marker, E::Name, E::All, E::Floor, E::Date].into_iter().chain(fields).chain(more).collect::<Vec<_>>()
    };
    are_all(&lines, include_str!("../src/stores/known_hosts/line.rs"), "LineError");
    lines.iter().for_each(|error| says_nothing_twice(error));
    are_codes(lines.iter().map(LineError::code));
    let broken = Hosts::parse("a:1 what\n").broken_lines().next().unwrap();
    let errors = [
        HostsError::File(FileError::TooLong { path: path.clone(), most: 1 << 20 }),
        HostsError::BrokenRevocation { path, broken },
        HostsError::BadName,
        HostsError::NoSuchName(name.clone()),
        HostsError::NoSuchKey { name: name.clone(), key },
        HostsError::Revoked { name, key, line: 3 },
        HostsError::Random,
    ];
    are_all(&errors, include_str!("../src/stores/known_hosts/error.rs"), "HostsError");
    errors.iter().for_each(|error| says_nothing_twice(error));
    are_codes(errors.iter().map(HostsError::code));
}

/// A provider whose AES-256-GCM opens what it is given, and can't seal it.
fn unsealing() -> Provider {
    Provider { aes_256_gcm: Some(&Unsealing), ..provider() }
}

struct Unsealing;

impl Cipher for Unsealing {
    fn key(&self, key: &[u8; 32]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(UnsealingKey(provider().cipher(Aead::Aes256Gcm).ok_or(CryptoError::Unsupported)?.key(key)?)))
    }
}

struct UnsealingKey(Box<dyn AeadKey>);

impl AeadKey for UnsealingKey {
    fn seal(&self, _: &[u8; 12], _: &[u8], _: &mut [u8]) -> Result<[u8; limits::TAG], CryptoError> {
        Err(CryptoError::Failed)
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; limits::TAG]) -> Result<(), CryptoError> {
        self.0.open(nonce, aad, data, tag)
    }
}

/// A genuine login at a server with this provider, opened.
fn claim(config: ServerConfig) -> Claim {
    let config = config.with_suites(&[suite()]).unwrap();
    let scenario = Scenario::new().suite(suite());
    let (none, rng) = (ChannelBinding::none(), &mut TestRng::new("a server"));
    let (hello, client) = client::start(&scenario.client_config(), scenario.trusted(), &none, rng, at(0)).unwrap();
    let state = AwaitHello::new(&Arc::new(config), &none, at(0)).read(hello, at(0)).unwrap();
    let (challenge, server) = state.choose(scenario.private_key()).unwrap().challenge(rng).unwrap();
    let (login, _) = scenario.log_in(client, &challenge).unwrap();
    let claim = server.read(login, at(0)).unwrap().admit().open(rng);
    assert_eq!(claim.credential().user(), Some("alice"), "it opens");
    claim
}

#[test]
fn a_provider_that_fails_is_not_a_login_that_is_malformed() {
    let refusal = claim(ServerConfig::new(unsealing())).accept(grant()).map(drop).unwrap_err();
    assert_eq!(refusal.reason, Reason::Failed(CryptoError::Failed));
    assert!(!refusal.reason.is_failure(), "nobody looked at the credential");
    assert!(refusal.frame.is_empty(), "there is nothing to send");
    // What the verifier said is the reason where there is one.
    let refusal = claim(ServerConfig::new(unsealing())).reject(Reason::WrongPassword);
    assert_eq!((refusal.reason, refusal.frame), (Reason::WrongPassword, Vec::new()));
    // The ticket's cipher may fail, too.
    let tickets = Arc::new(TicketKeys::new(unsealing(), Duration::from_secs(60)));
    let config = ServerConfig::new(provider()).with_tickets(tickets);
    let with_epoch: Grant = grant().with_epoch(1);
    let accepted = claim(config).accept_with_ticket(with_epoch, UnixTime::from_secs(1), &mut TestRng::new("ticket"));
    assert_eq!(accepted.map(drop).unwrap_err().reason, Reason::Failed(CryptoError::Failed));
}

#[test]
fn a_provider_that_fails_behind_a_connection_is_in_the_audit_log_as_that() {
    let config = ServerConfig::new(unsealing()).with_suites(&[suite()]).unwrap();
    let acceptor = Acceptor::new(config.with_refusal_floor(Duration::ZERO), RSA2048.server.clone(), verifier);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, peer) = listener.accept().unwrap();
        acceptor.accept_blocking(stream, peer).map(drop).unwrap_err()
    });
    let connector = Connector::new(ClientConfig::new(provider()), RSA2048.trust());
    let client = connector.connect_blocking(TcpStream::connect(address).unwrap(), ALICE).map(drop).unwrap_err();
    let server = server.join().unwrap();
    let reason = match &server {
        LoginError::LoginRefused { user, reason } => (user.as_deref(), reason.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(reason, (Some("alice"), Reason::Failed(CryptoError::Failed)));
    assert_eq!(server.code(), "failed");
    assert!(matches!(client, LoginError::Disconnected { awaited: FrameType::ServerVerdict }), "{client:?}");
}

/// What stands in the place of a name is logged only where the verifier has found an account of that name.
#[test]
fn a_reason_says_that_there_is_an_account_only_where_the_verifier_found_one() {
    let known = [
        "wrong-password",
        "key-not-admitted",
        "factor-needed",
        "too-many-factors",
        "wrong-factor",
        "factor-used",
        "factor-locked",
        "account-disabled",
        "account-locked",
        "account-expired",
        "network-not-admitted",
    ];
    let unseen = ["not-admitted", "not-now", "failed", "verifier-failed", "resume-unsupported", "bad-grant"];
    for reason in reasons() {
        let is_unseen = unseen.contains(&reason.code()) || matches!(reason, Reason::Penalty(_));
        assert_eq!(reason.is_failure(), !is_unseen, "{reason:?}");
        assert_eq!(
            reason.is_not_now(),
            ["not-now", "no-answer", "penalty-strangers"].contains(&reason.code()),
            "{reason:?}"
        );
        assert_eq!(reason.knows_account(), known.contains(&reason.code()), "{reason:?}");
    }
}

/// Whoever reads from a stream, or drives several kinds of them, goes by the kind alone.
#[test]
fn errors_of_streams_and_logins_have_the_kinds_that_callers_go_by() {
    use io::ErrorKind as K;
    let revoked = Error::Revoked(Revocation::Ended);
    for (error, kind) in [
        (Error::Record(RecordError::Truncated), K::UnexpectedEof),
        (Error::Record(RecordError::NotAuthentic), K::InvalidData),
        (Error::Misuse(Misuse::Closed), K::BrokenPipe),
        (Error::Misuse(Misuse::KeyUpdateDue), K::InvalidInput),
        (Error::Sign(SignError::Refused), K::Other),
        (Error::DeadlinePassed, K::TimedOut),
        (Error::Refused, K::PermissionDenied),
        (Error::VerdictNotAuthentic, K::PermissionDenied),
        (Error::ProofNotAuthentic, K::PermissionDenied),
        (Error::UnderFloor(suite()), K::PermissionDenied),
        (revoked, K::PermissionDenied),
        (Error::Busy { retry_after: 1 }, K::ResourceBusy),
        (Error::NotNow, K::ResourceBusy),
        (Error::Crypto(CryptoError::Failed), K::Other),
        (Error::NotConfirmed, K::InvalidData),
    ] {
        assert_eq!(io::Error::from(error.clone()).kind(), kind, "{error:?}");
        assert_eq!(io::Error::from(LoginError::from(error)).kind(), kind);
    }
    let refused = LoginError::LoginRefused { user: None, reason: Reason::WrongPassword };
    for (error, kind) in [
        (LoginError::Io(K::AddrInUse.into()), K::AddrInUse),
        (LoginError::Disconnected { awaited: FrameType::ServerHello }, K::UnexpectedEof),
        (LoginError::Busy(BusyReason::Pressed), K::ConnectionAborted),
        (refused, K::PermissionDenied),
    ] {
        assert_eq!(io::Error::from(error).kind(), kind);
    }
}
