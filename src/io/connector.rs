//! The client's way in: logins to one server, with the ticket of an earlier one where there is.

use super::error::LoginError;
use super::link::Link;
use super::script;
use super::stream::Stream;
use crate::crypto::PublicKey;
use crate::handshake::client::{self, ClientConfig};
use crate::session::Session;
use crate::terms::binding::ChannelBinding;
use crate::terms::context::Context;
use crate::terms::credential::Credential;
use crate::terms::error::Error;
use crate::terms::factor::Prompt;
use crate::terms::ticket::{Ticket, TrustedTicket};
use crate::terms::trust::Server;
use core::fmt;
use core::future::{Future, ready};
use core::pin::Pin;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Logs in to one server: knows what to trust, and keeps tickets if told to.
///
/// Cheap to clone. `dial` (feature `tokio`) and [`Connector::dial_blocking`] connect to an address over TCP and log in; over streams of
/// your own `connect` (feature `tokio`) and [`Connector::connect_blocking`] are the calls, over anything else
/// [`Connector::connect_over`].
#[derive(Clone)]
pub struct Connector {
    pub(super) client: Arc<ClientState>,
    tickets: Option<Arc<dyn TicketCache>>,
}

/// What a client wants of a connection.
#[derive(Clone)]
pub(super) struct ClientState {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server: Arc<Server>,
    pub(super) context: Context,
    answerer: Option<Arc<Answerer>>,
}

/// Whoever answers requests for further factors.
pub(super) type Answerer = dyn Fn(&Prompt) -> Answering + Send + Sync;

/// An answer, or none, on its way.
type Answering = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

/// Where a client keeps tickets: one of each user, the newest. A ticket is as secret as a password until it expires.
pub trait TicketCache: Send + Sync {
    /// Takes the ticket for this user of this server out, if there is one: it is good for one login.
    fn take(&self, server: &Server, user: &str) -> Option<Ticket>;

    /// Keeps a ticket in the place of an older one.
    fn put(&self, server: &Server, user: &str, ticket: &Ticket);
}

impl<T: TicketCache + ?Sized> TicketCache for Arc<T> {
    fn take(&self, server: &Server, user: &str) -> Option<Ticket> {
        (**self).take(server, user)
    }

    fn put(&self, server: &Server, user: &str, ticket: &Ticket) {
        (**self).put(server, user, ticket);
    }
}

/// Tickets in memory: up to 1024 of them, by the server's name and key and by user. Past that, those that expire first go.
/// In an [`Arc`], they are those of several connectors.
#[derive(Default)]
pub struct MemoryTickets(Mutex<HashMap<(String, String), Ticket>>);

/// Tickets that are kept in memory.
const TICKETS: usize = 1024;

impl MemoryTickets {
    /// No tickets yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl TicketCache for MemoryTickets {
    fn take(&self, server: &Server, user: &str) -> Option<Ticket> {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.remove(&(server.scope(), user.to_owned()))
    }

    fn put(&self, server: &Server, user: &str, ticket: &Ticket) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.insert((server.scope(), user.to_owned()), ticket.clone());
        if tickets.len() > TICKETS {
            let first = tickets.iter().min_by_key(|(_, ticket)| ticket.expires()).map(|(of, _)| of.clone());
            first.and_then(|first| tickets.remove(&first));
        }
    }
}

impl fmt::Debug for MemoryTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTickets").finish_non_exhaustive()
    }
}

impl Connector {
    /// Logs in to `server`.
    pub fn new(config: ClientConfig, server: Server) -> Self {
        let context = Context::uncounted();
        Self {
            client: Arc::new(ClientState {
                config: Arc::new(config),
                server: Arc::new(server),
                context,
                answerer: None,
            }),
            tickets: None,
        }
    }

    /// Keeps the tickets that the server gives, and shows them at the next login of the same user. Logins by token keep none.
    ///
    /// Where the server's key is known whole, they are shown by the calls that may dial again, and by all with
    /// [`ClientConfig::with_proof_at_resumption`]: a ticket that is not taken leads to a login without a proof otherwise.
    ///
    /// **A login by ticket checks no password**, also not a wrong one: do not use a connector with tickets to find out whether a
    /// password is right.
    #[must_use]
    pub fn with_tickets(mut self, tickets: impl TicketCache + 'static) -> Self {
        self.tickets = Some(Arc::new(tickets));
        self
    }

    /// Binds the logins over this connector to the channel underneath; a clone for each connection shares the rest.
    #[must_use]
    pub fn with_binding(self, binding: ChannelBinding) -> Self {
        let context = self.client.context.clone().with_binding(binding);
        Self { client: Arc::new(ClientState { context, ..ClientState::clone(&self.client) }), ..self }
    }

    /// Tells those who decide whether a key is the server's of the connection: [`crate::Question::context`]. What it is bound to is part
    /// of that; where it is bound to nothing, what [`Connector::with_binding`] has said before stays.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<Context>) -> Self {
        let (context, before) = (context.into(), self.client.context.binding());
        let context = if context.binding().is_none() { context.with_binding(before.clone()) } else { context };
        self.client = Arc::new(ClientState { context, ..ClientState::clone(&self.client) });
        self
    }

    /// Answers the server's requests for further factors, such as a one-time code: `answer` is told what to ask the user, and gives the
    /// answer (1 to 256 bytes, wiped after use), or none to give the login up. There is a minute for it
    /// ([`ClientConfig::with_factor_timeout`]), and one attempt: a wrong answer is refused, and the next login begins anew.
    /// Without this the server can't ask, and refuses accounts that need more than their credential.
    ///
    /// `answer` is called where the login's future is polled: it may block in a `_blocking` call alone. From async code,
    /// [`Connector::with_factors_async`].
    ///
    /// ```
    /// # fn ask_user(_: &str) -> Option<String> { None }
    /// # fn with_codes(connector: countersign::Connector) -> countersign::Connector {
    /// connector.with_factors(|prompt| ask_user(prompt.text()).map(String::into_bytes))
    /// # }
    /// ```
    #[must_use]
    pub fn with_factors(self, answer: impl Fn(&Prompt) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.with_answerer(Arc::new(move |prompt: &Prompt| -> Answering { Box::pin(ready(answer(prompt))) }))
    }

    /// As [`Connector::with_factors`], with an answer that takes its time. Its future is dropped when that is over, or when the server
    /// hangs up.
    #[must_use]
    pub fn with_factors_async<F: Future<Output = Option<Vec<u8>>> + Send + 'static>(
        self,
        answer: impl Fn(Prompt) -> F + Send + Sync + 'static,
    ) -> Self {
        self.with_answerer(Arc::new(move |prompt: &Prompt| -> Answering { Box::pin(answer(prompt.clone())) }))
    }

    fn with_answerer(mut self, answerer: Arc<Answerer>) -> Self {
        let client = ClientState::clone(&self.client);
        let config = Arc::new(ClientConfig::clone(&client.config).offering_factors());
        self.client = Arc::new(ClientState { config, answerer: Some(answerer), ..client });
        self
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.client.server
    }

    /// Logs in over any [`Link`]: sends the ClientHello, checks the server's key, sends the credential, and waits for the
    /// verdict; where there is a ticket that the server takes, without the credential.
    ///
    /// # Errors
    /// [`LoginError`]. Only those that say so guarantee that nothing secret has been sent. [`Error::NoProof`] is one that a second
    /// connection may cure: [`Connector::dial_over`] makes it.
    pub async fn connect_over<L: Link>(
        &self,
        link: L,
        credential: Credential<'_>,
    ) -> Result<Stream<L::Stream>, LoginError> {
        let mut link = Some(link);
        let only_once = || core::future::ready(link.take().ok_or_else(|| io::ErrorKind::NotConnected.into()));
        self.log_in(only_once, false, credential).await
    }

    /// As [`Connector::connect_over`], over the connection that `dial` makes. Where the server does not prove itself as it could (it has
    /// another key that is trusted, or did not take a ticket) nothing secret was sent; a second connection is made then, once, on
    /// which it has to.
    ///
    /// # Errors
    /// As [`Connector::connect_over`], and what `dial` says.
    pub async fn dial_over<L: Link, D: Future<Output = io::Result<L>>>(
        &self,
        dial: impl FnMut() -> D,
        credential: Credential<'_>,
    ) -> Result<Stream<L::Stream>, LoginError> {
        self.log_in(dial, true, credential).await
    }

    async fn log_in<L: Link, D: Future<Output = io::Result<L>>>(
        &self,
        dial: impl FnMut() -> D,
        again: bool,
        credential: Credential<'_>,
    ) -> Result<Stream<L::Stream>, LoginError> {
        let tickets = self.tickets.as_deref().zip(credential.user());
        // A ticket that is not taken leads to a login without a proof; with one connection there is no second try.
        let may_show = again
            || !self.server().needs_proof(&self.server().known_keys())
            || self.client.config.asks_for_proof_at_resumption();
        // Not before there is somebody to show it to: it would be gone.
        let ticket = || {
            let (tickets, user) = tickets.filter(|_| may_show)?;
            self.server().resume(tickets.take(self.server(), user)?, user, script::unix_now())
        };
        let stream = match self.start(dial, again, ticket).await? {
            Begun::Resumed(stream) => stream,
            // In a box of its own, for which those who wait for a challenge hold no room.
            Begun::Trusted(trusted) => Box::pin(trusted.login(credential)).await?,
        };
        if let Some(((tickets, user), ticket)) = tickets.zip(stream.info().ticket()) {
            tickets.put(self.server(), user, ticket);
        }
        Ok(stream)
    }

    /// Begins a login over the connection that `dial` makes, with the ticket of an earlier one if there is: sends the ClientHello, and
    /// checks the server's key. Only if the server does not take the ticket is a credential needed. The connector's own tickets are
    /// left alone. A second connection may be made, as by [`Connector::dial_over`].
    ///
    /// The ticket is shown as [`Server::resume`] lets it be; do not show it again, whatever comes of it.
    /// [`crate::SessionInfo::ticket`] has the next one.
    ///
    /// # Errors
    /// [`LoginError`]. Nothing secret has been sent.
    pub async fn begin_over<L: Link, D: Future<Output = io::Result<L>>>(
        &self,
        dial: impl FnMut() -> D,
        ticket: Option<TrustedTicket>,
    ) -> Result<Begun<L>, LoginError> {
        self.start(dial, true, || ticket).await
    }

    async fn start<L: Link, D: Future<Output = io::Result<L>>>(
        &self,
        mut dial: impl FnMut() -> D,
        again: bool,
        ticket: impl FnOnce() -> Option<TrustedTicket>,
    ) -> Result<Begun<L>, LoginError> {
        // Before it is asked: whoever decides on the answer may keep the key that is in it.
        let first_known = || self.server().known_keys().into_iter().next();
        let mut was_first = first_known();
        let mut link = dial().await?;
        let ticket = ticket();
        let is_shown = ticket.is_some();
        let mut begun = match Box::pin(script::begin(&mut link, &self.client, self.server(), ticket)).await {
            // Another login took a newer manifest while this one was on its way: the server has that, too, if it is the right one.
            Err(LoginError::Protocol(Error::Untrusted(why))) if again && why.is_overtaken() => {
                was_first = first_known();
                link = dial().await?;
                Box::pin(script::begin(&mut link, &self.client, self.server(), None)).await?
            }
            begun => begun?,
        };
        if let (script::Begun::Unproved(key), true) = (&begun, again)
            // Whoever was asked for a proof under this very key would only be asked the same once more.
            && (is_shown || was_first.as_ref() != Some(key))
        {
            let server = self.server().with_known_key(key);
            link = dial().await?;
            begun = Box::pin(script::begin(&mut link, &self.client, &server, None)).await?;
        }
        Ok(match begun {
            script::Begun::Resumed(session) => Begun::Resumed(into_stream(link, session)?),
            script::Begun::Trusted(state) => {
                Begun::Trusted(ServerTrusted { link, state, answerer: self.client.answerer.clone() })
            }
            script::Begun::Unproved(key) => return Err(Error::NoProof(key.id()).into()),
        })
    }
}

fn into_stream<L: Link>(link: L, session: Session) -> Result<Stream<L::Stream>, LoginError> {
    Ok(Stream::of_client(link.into_stream()?, session))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("server", &self.client.server).finish_non_exhaustive()
    }
}

/// How a login goes on after its beginning.
#[allow(clippy::large_enum_variant, reason = "moved once, on the stack")]
#[must_use = "nobody is logged in yet where a credential is wanted"]
pub enum Begun<L: Link> {
    /// The server took the ticket: the login is over.
    Resumed(Stream<L::Stream>),
    /// The server wants a credential, and its key is trusted.
    Trusted(ServerTrusted<L>),
}

/// A server whose key is trusted, waiting for a credential until the handshake's deadline.
#[must_use = "nobody is logged in yet"]
pub struct ServerTrusted<L> {
    link: L,
    state: client::Trusted,
    answerer: Option<Arc<Answerer>>,
}

impl<L: Link> ServerTrusted<L> {
    /// The server's key.
    pub fn server_key(&self) -> &PublicKey {
        self.state.key()
    }

    /// Sends the credential, and waits for the verdict.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login(mut self, credential: Credential<'_>) -> Result<Stream<L::Stream>, LoginError> {
        let session = Box::pin(script::login(&mut self.link, self.state, credential, self.answerer.as_deref())).await?;
        into_stream(self.link, session)
    }
}

impl<L: Link> fmt::Debug for Begun<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resumed(_) => "Resumed",
            Self::Trusted(_) => "Trusted",
        })
    }
}

impl<L> fmt::Debug for ServerTrusted<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTrusted").finish_non_exhaustive()
    }
}
