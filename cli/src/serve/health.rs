//! The listener for those who watch a server: `/metrics`, `/healthz`, `/readyz`, over HTTP/1.1.

use super::metrics::Sources;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Whether logins can be accepted, and why not.
#[derive(Default)]
pub(crate) struct Health {
    pub(crate) stopping: AtomicBool,
    /// The store of accounts can't be read.
    pub(crate) no_accounts: AtomicBool,
    /// How often it could not be read any more.
    pub(crate) absences: AtomicU64,
}

impl Health {
    /// The store of accounts can't be read any more.
    pub(crate) fn note_no_accounts(&self) {
        self.no_accounts.store(true, Relaxed);
        self.absences.fetch_add(1, Relaxed);
    }

    /// What keeps it from accepting logins. (Without keys it would not run.)
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        if self.stopping.load(Relaxed) {
            Some("stopping")
        } else if self.no_accounts.load(Relaxed) {
            Some("the accounts can't be read")
        } else {
            None
        }
    }
}

/// Connections at once. Those who come later wait in the system's queue: whoever holds all of these keeps out others that watch, for
/// no longer than [`PATIENCE`], and no client.
pub(super) const CONNECTIONS: usize = 8;

/// How long a connection may take for its one request and the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a request's head may take: more than any that asks for these.
const HEAD: usize = 8 * 1024;

/// How long to leave the system alone that could not give a connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, sources: Sources) {
    let (sources, room) = (Arc::new(sources), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        let sources = Arc::clone(&sources);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let response = respond(&request, &sources);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            http.keep_alive(false).max_buf_size(HEAD);
            // Its head is within that, too. Whoever broke it knows.
            let _ = timeout(PATIENCE, http.serve_connection(TokioIo::new(stream), answer)).await;
            drop(permit);
        });
    }
}

fn respond(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let (status, kind, text) = match request.uri().path() {
        "/metrics" | "/healthz" | "/readyz" if !is_read => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET\n".to_owned()),
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", sources.page()),
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match sources.health.trouble() {
            None => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{trouble}\n")),
        },
        _ => (StatusCode::NOT_FOUND, TEXT, "there are /metrics, /healthz and /readyz\n".to_owned()),
    };
    let builder = Response::builder().status(status).header(CONTENT_TYPE, kind).header(CACHE_CONTROL, "no-store");
    let builder = if status == StatusCode::METHOD_NOT_ALLOWED { builder.header(ALLOW, "GET, HEAD") } else { builder };
    builder.body(Full::new(Bytes::from(text))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_watches_has_as_much_as_operators_are_told() {
        assert_eq!(PATIENCE, Duration::from_secs(5));
        let sentence = format!(
            "It takes {CONNECTIONS}\nconnections at a time, for five seconds and a head of {} KiB each",
            HEAD / 1024
        );
        assert!(include_str!("../../../docs/operating.md").contains(&sentence), "{sentence}");
    }
}
