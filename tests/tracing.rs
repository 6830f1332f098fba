//! With the feature `tracing`: each decision is an event of that crate, in the span of its handshake, with the fields of [`countersign::Event`].

#![cfg(all(feature = "tracing", any(feature = "rustcrypto", feature = "aws-lc")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::{Acceptor, Attempt, ClientConfig, Connector, Credential, Grant, Reason, ServerConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use support::{ALICE, RSA2048, provider, verifier};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

type Fields = BTreeMap<String, String>;

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Kept(Arc<Inner>);

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    spans: Mutex<BTreeMap<u64, Fields>>,
    events: Mutex<Vec<(Level, Fields)>>,
    /// The fields that an event may have.
    names: Mutex<BTreeSet<&'static str>>,
    entered: Mutex<Vec<(std::thread::ThreadId, u64)>>,
}

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "countersign" || metadata.target() == module_path!()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.0.next.fetch_add(1, Ordering::SeqCst) + 1;
        let mut fields = Fields::new();
        span.record(&mut Collect(&mut fields));
        self.0.spans.lock().unwrap().insert(id, fields);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut Collect(self.0.spans.lock().unwrap().entry(span.into_u64()).or_default()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Collect(&mut fields));
        self.0.names.lock().unwrap().extend(event.metadata().fields().iter().map(|field| field.name()));
        let here = std::thread::current().id();
        let entered = self.0.entered.lock().unwrap();
        if let Some((_, span)) = entered.iter().rev().find(|(thread, _)| *thread == here) {
            fields.insert("in span".to_owned(), span.to_string());
        }
        self.0.events.lock().unwrap().push((*event.metadata().level(), fields));
    }

    fn enter(&self, span: &Id) {
        self.0.entered.lock().unwrap().push((std::thread::current().id(), span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        let entry = (std::thread::current().id(), span.into_u64());
        let mut entered = self.0.entered.lock().unwrap();
        let at = entered.iter().rposition(|held| *held == entry).unwrap();
        entered.remove(at);
    }
}

fn asked(attempt: &Attempt<'_>) -> Result<Grant, Reason> {
    tracing::info!("the verifier was asked");
    verifier(attempt)
}

#[test]
fn each_decision_is_one_event_and_what_the_verifier_says_is_in_the_span_of_its_handshake() {
    let kept = Kept::default();
    tracing::subscriber::set_global_default(kept.clone()).unwrap();
    let told = Arc::new(Mutex::new(BTreeMap::new()));
    let observed = Arc::clone(&told);
    let observe = move |event: &countersign::Event<'_>| {
        let mut names = BTreeSet::from(["event".to_owned()]);
        event.fields(|name, _| names.extend([name.to_owned()]));
        observed.lock().unwrap().insert(event.name().to_owned(), names);
    };
    let acceptor = Acceptor::new(ServerConfig::new(provider()), RSA2048.server.clone(), asked).with_observer(observe);
    let connector = Connector::new(ClientConfig::new(provider()), RSA2048.trust());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut session = None;
    for credential in [ALICE, Credential::Password { user: "hunter2", password: b"correct horse" }] {
        let acceptor = acceptor.clone();
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (stream, peer) = listener.accept().unwrap();
                drop(acceptor.accept_blocking(stream, peer));
            });
            let login = connector.connect_blocking(TcpStream::connect(address).unwrap(), credential);
            session = session.take().or(login.ok().map(|session| session.id().to_string()));
            server.join().unwrap();
        });
    }
    // A connection that sends nothing.
    drop(TcpStream::connect(address).unwrap());
    let (stream, peer) = listener.accept().unwrap();
    acceptor.accept_blocking(stream, peer).unwrap_err();

    let events = kept.0.events.lock().unwrap();
    let one = |name: &str| {
        let is_it = |(_, fields): &&(Level, Fields)| fields.get("event").is_some_and(|event| event == name);
        let found: Vec<_> = events.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{name} in {events:#?}");
        found[0]
    };
    let (level, accepted) = one("login-accepted");
    assert_eq!((*level, &*accepted["user"], &*accepted["code"]), (Level::INFO, "alice", "ok"));
    assert_eq!(accepted["session"], session.unwrap());
    assert!(accepted["rsa_ms"].parse::<f64>().unwrap() > 0.0 && accepted["peer"].starts_with("127.0.0.1:"));
    let (level, refused) = one("login-refused");
    assert_eq!((*level, &*refused["code"], refused.get("user")), (Level::WARN, "unknown-user", None));
    assert_eq!(refused["user_tag"].len(), 8);
    assert_eq!(one("handshake-failed").0, Level::DEBUG, "strangers fill no log");
    assert_eq!(one("session-ended").1["session"], accepted["session"]);
    for (name, fields) in &*told.lock().unwrap() {
        let traced = one(name).1.keys().filter(|name| *name != "in span");
        assert_eq!(traced.cloned().collect::<BTreeSet<_>>(), *fields, "{name}");
    }
    // Those of other decisions, too.
    let source = include_str!("../src/io/events.rs");
    let named = source.split("(\"").skip(1).zip(source.split("(\"")).filter_map(|(after, before)| {
        let name = after.split('"').next().unwrap();
        (before.ends_with("tell") || name.ends_with("_ms")).then_some(name)
    });
    let mut names = kept.0.names.lock().unwrap().clone();
    assert!(names.remove("event") && names.remove("message"));
    assert_eq!(names, named.collect());
    // What verifiers say, on threads of the acceptor's, belongs to the handshakes that they are asked about.
    let said: Vec<&Fields> =
        events.iter().filter(|(_, fields)| fields.contains_key("message")).map(|(_, of)| of).collect();
    let spans = kept.0.spans.lock().unwrap();
    assert_eq!(said.len(), 2, "{events:#?}");
    for said in said {
        let span = &spans[&said["in span"].parse::<u64>().unwrap()];
        assert!(span["key"].starts_with("SHA256:") && span["peer"].starts_with("127.0.0.1:"), "{span:?}");
        assert_eq!(span["suite"], accepted["suite"]);
    }
    let all = format!("{events:?} {spans:?}");
    for secret in ["hunter2", "correct horse"] {
        assert!(!all.contains(secret), "{all}");
    }
}
