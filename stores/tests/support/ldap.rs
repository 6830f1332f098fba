//! How the tests ask a directory, whatever it is.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use crate::directory::SERVICE;
use countersign::{AsyncVerifier, Attempt, Context, Credential, CredentialKind, Grant, Reason, Returning, UnixTime};
use countersign_stores::{LdapConfig, LdapVerifier};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::net::{UnixListener, UnixStream};

/// Searches as the service account, and has permissions for two groups.
pub fn searching(config: LdapConfig) -> LdapConfig {
    config
        .with_search("ou=people,dc=example", "(uid={user})")
        .with_service(SERVICE.0, SERVICE.1)
        .with_groups("ou=groups,dc=example", "(member={dn})")
        .with_permissions_of("cn=chiefs, ou=groups, dc=example", ["orders:*", "staff"])
        .with_permissions_of("cn=clerks,ou=groups,dc=example", ["orders:read", "staff"])
}

pub async fn log_in(verifier: &LdapVerifier, user: &str, password: &[u8]) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    verifier.verify(&Attempt::new(Credential::Password { user, password }, &context)).await
}

pub async fn come_back(verifier: &LdapVerifier, principal: &str, kind: CredentialKind) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    verifier.resume(&Returning::new(principal, kind, UnixTime::from_secs(0), &context)).await
}

/// Takes connections at a socket and counts them; what becomes of each is up to `serve`.
pub fn listen<F: Future<Output = ()> + Send + 'static>(
    socket: &Path,
    mut serve: impl FnMut(UnixStream) -> F + Send + 'static,
) -> Arc<AtomicUsize> {
    let (listener, count) = (UnixListener::bind(socket).unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    count
}
