//! The way in: by ticket, or with a credential, which a person is asked for only once the server's key is trusted.
//!
//! The connection over which the key was checked stays open while the person types, and is used if the server still has it: a
//! server that is known by its whole key has spent a private-key operation on it. Where typing took longer than the server
//! waits, the handshake is begun anew, once, with the key checked again: so it is where a person was asked about the key itself.

use crate::failure::Failure;
use crate::remote::{Identity, Remote};
use crate::tickets::Tickets;
use countersign::{Begun, Connector, Error, LoginError, PublicKey, ServerTrusted, Stream, TokioLink, TrustedTicket};
use tokio::net::TcpStream;

/// How tickets are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    Never,
    /// That of this login is kept for one of another kind.
    Keep,
    Show,
}

/// Logs in.
pub(super) async fn enter(remote: &Remote, resume: Resume) -> Result<Stream<TcpStream>, Failure> {
    let connector = remote.connector(None)?;
    let user = remote.user.as_deref();
    let cache = Tickets::of_user().zip(user).filter(|_| resume != Resume::Never);
    // Read even if the ticket is taken: the lines after it are what is sent.
    let who = remote.who()?;
    remote.read_factor()?;
    // Not before there is somebody to show the ticket to: it would be gone.
    let stream = remote.dial().await.map_err(|error| remote.failed(&error.into()))?;
    let ticket = cache.as_ref().filter(|_| resume == Resume::Show);
    let ticket = ticket.and_then(|(cache, user)| cache.take(&remote.server, user, connector.server()));
    let session = match begin(remote, &connector, Some(stream), ticket).await? {
        Begun::Resumed(session) => session,
        Begun::Trusted(trusted) => {
            let (key, asks) = (trusted.server_key().clone(), who.asks());
            let identity = who.identity()?;
            // Where somebody took their time, and would not have to answer twice.
            let may_begin_anew = || if asks { !remote.was_factor_asked() } else { remote.has_asked() };
            match login(trusted, &identity).await {
                Ok(session) => session,
                Err(error) if is_late(&error) && may_begin_anew() => anew(remote, &key, &identity).await?,
                Err(error) => return Err(remote.failed(&error)),
            }
        }
    };
    if let Some((cache, user)) = cache {
        cache.keep(&remote.server, user, session.info().ticket());
    }
    Ok(session)
}

/// Checks the server's key, before anybody is asked for a secret, and gives it.
pub(crate) async fn check(remote: &Remote, connector: &Connector) -> Result<Option<PublicKey>, Failure> {
    match begin(remote, connector, None, None).await? {
        Begun::Trusted(trusted) => Ok(Some(trusted.server_key().clone())),
        Begun::Resumed(_) => Ok(None),
    }
}

/// Logs in over another connection to the server of this key.
async fn anew(remote: &Remote, key: &PublicKey, identity: &Identity) -> Result<Stream<TcpStream>, Failure> {
    match begin(remote, &remote.connector(Some(key))?, None, None).await? {
        Begun::Resumed(session) => Ok(session),
        Begun::Trusted(trusted) => login(trusted, identity).await.map_err(|error| remote.failed(&error)),
    }
}

async fn login(
    trusted: ServerTrusted<TokioLink<TcpStream>>,
    identity: &Identity,
) -> Result<Stream<TcpStream>, LoginError> {
    trusted.login(identity.credential()).await
}

/// Over a connection that there is already, or a new one.
async fn begin(
    remote: &Remote,
    connector: &Connector,
    mut stream: Option<TcpStream>,
    ticket: Option<TrustedTicket>,
) -> Result<Begun<TokioLink<TcpStream>>, Failure> {
    let dial = || {
        let ready = stream.take();
        async move {
            match ready {
                Some(stream) => Ok(stream),
                None => remote.dial().await,
            }
        }
    };
    let begun = match connector.begin(dial, ticket).await {
        // Somebody took longer to look at the key than the server waits. It is known by now.
        Err(error) if remote.has_asked() && is_late(&error) => connector.begin(|| remote.dial(), None).await,
        begun => begun,
    };
    let begun = begun.map_err(|error| remote.failed(&error))?;
    if let Begun::Trusted(trusted) = &begun {
        remote.learn(connector, trusted.server_key());
    }
    Ok(begun)
}

/// Whether the handshake did not last as long as the person took.
fn is_late(error: &LoginError) -> bool {
    matches!(error, LoginError::Io(_) | LoginError::Disconnected { .. } | LoginError::Protocol(Error::DeadlinePassed))
}
