//! The same for `tracing`: a span for each handshake, and an event for whatever was decided, under the same names.

use super::{Ended, Event, Field, Named};
use crate::crypto::{KeyId, Suite};
use crate::terms::context::Context;
use tracing::field::{Empty, display};
use tracing::{Level, Span};

/// The span of a handshake. What a verifier says is in it, also on other threads.
pub(super) fn span(context: &Context) -> Span {
    let peer = context.peer().map(|peer| display(super::canonical(peer)));
    tracing::debug_span!(
        target: "countersign",
        "handshake",
        peer,
        source = %context.source(),
        server_name = Empty,
        key = Empty,
        suite = Empty,
    )
}

/// The hello is here.
pub(super) fn record(span: &Span, server_name: &str, key: KeyId, suite: Suite) {
    if !server_name.is_empty() {
        span.record("server_name", server_name);
    }
    span.record("key", display(key));
    span.record("suite", display(suite));
}

macro_rules! at {
    ($level:expr, $event:ident) => {{
        let (user, unknown, tag) = match $event.user {
            _ if $event.principal().is_some() => ($event.principal(), None, None),
            Named::Nobody => (None, None, None),
            Named::Known(name) => (Some(name), None, None),
            Named::Unknown { name, tag } => (None, name, Some(tag)),
        };
        let ended = match $event.decision {
            super::Decision::Ended(ended) => Some(ended),
            _ => None,
        };
        let of_ended = |of: fn(&Ended<'_>) -> u64| ended.as_ref().map(of);
        let timings = $event.timings;
        let ms = |time| ended.is_none().then(|| display(Field::Millis(time)));
        tracing::event!(
            target: "countersign",
            $level,
            event = $event.name(),
            user,
            unknown_user = unknown,
            user_tag = tag.map(|tag| display(format!("{tag:08x}"))),
            peer = $event.context.peer().map(|peer| display(super::canonical(peer))),
            source = %$event.context.source(),
            session = $event.session().map(display),
            server_name = Some($event.server_name).filter(|name| !name.is_empty()),
            key = $event.key_id.map(display),
            suite = $event.suite.map(display),
            credential = $event.credential.map(crate::CredentialKind::name),
            client_key = $event.client_key.map(display),
            factors = Some($event.factors).filter(|factors| *factors > 0),
            seconds = of_ended(|ended| ended.lasted.as_secs()),
            received = of_ended(|ended| ended.received),
            sent = of_ended(|ended| ended.sent),
            wait_ms = ms(timings.waited),
            rsa_ms = ms(timings.opened),
            verify_ms = ms(timings.verified),
            total_ms = ms(timings.total),
            code = $event.code(),
            reason = $event.decision.reason(),
        )
    }};
}

/// Logins and the ends of sessions are `INFO`, refusals `WARN`; what costs whoever causes it no more than a connection is `DEBUG`, so
/// that strangers fill no log.
pub(super) fn emit(event: &Event<'_>) {
    match event.decision {
        _ if event.is_cheap() => at!(Level::DEBUG, event),
        super::Decision::Refused(_) => at!(Level::WARN, event),
        _ => at!(Level::INFO, event),
    }
}
