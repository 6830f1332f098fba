//! The same for `tracing`: a span for each handshake, and an event for whatever was decided, under the same names.

use super::{Event, Field};
use crate::crypto::{KeyId, Suite};
use crate::terms::context::Context;
use std::collections::HashMap;
use tracing::field::{Empty, Value, display};
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

/// The fields of an event by name, as `tracing` takes them.
fn values(event: &Event<'_>) -> HashMap<&'static str, Box<dyn Value>> {
    let mut values = HashMap::new();
    event.fields(|name, field| {
        let value: Box<dyn Value> = match field {
            Field::Text(text) => Box::new(text.to_owned()),
            Field::Count(count) => Box::new(count),
            Field::Word(_) | Field::Millis(_) => Box::new(display(field.to_string())),
        };
        values.insert(name, value);
    });
    values
}

/// `tracing` wants all names that there may be written out.
macro_rules! at {
    ($level:expr, $event:ident) => {
        at!($level, $event: user unknown_user user_tag peer source permissions suite session server_name key credential client_key
            factors seconds received sent wait_ms rsa_ms verify_ms total_ms code reason)
    };
    ($level:expr, $event:ident: $($name:ident)*) => {
        if tracing::enabled!(target: "countersign", $level) {
            let values = values($event);
            let value = |name| values.get(name).map(|value| &**value);
            tracing::event!(
                target: "countersign",
                $level,
                event = $event.name(),
                $($name = value(stringify!($name)),)*
            )
        }
    };
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
