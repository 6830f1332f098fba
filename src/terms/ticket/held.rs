//! A client's tickets: what it keeps, and when it may show one.

use super::FORMAT;
use crate::crypto::schedule::Key;
use crate::crypto::{KeyId, SecretBytes, Suite};
use crate::limits;
use crate::terms::error::Misuse;
use crate::terms::trust::Server;
use crate::time::UnixTime;
use crate::wire::codec::{self, DecodeError, EncodeError, Field, Reader, Writer, layout};
use core::fmt;
use zeroize::Zeroizing;

layout! {
    /// A ticket as the client holds it: opaque bytes, the secret that goes with them, and what they are good for. Zeroized,
    /// never printed.
    #[derive(Clone)]
    pub struct Ticket {
        pub(crate) suite: Suite,
        pub(crate) key_id: KeyId,
        pub(crate) of: Owner,
        pub(crate) received: UnixTime,
        pub(crate) lifetime: u64,
        pub(crate) secret: Key,
        pub(crate) bytes: Vec<u8> [..=limits::MAX_TICKET],
    }
}

layout! {
    /// Whom a client logged in as, where, and when it last showed a credential there.
    #[derive(Clone)]
    pub(crate) struct Owner {
        pub(crate) server_name: String [..=limits::MAX_SERVER_NAME],
        pub(crate) user: String [..=limits::MAX_USER],
        pub(crate) authenticated: UnixTime,
    }
}

impl Ticket {
    /// The server key that the ticket was got from.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The suite that resuming will use.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The server's name when it was got; empty for none.
    pub fn server_name(&self) -> &str {
        &self.of.server_name
    }

    /// The user that it was got as; empty after a login by token.
    pub fn user(&self) -> &str {
        &self.of.user
    }

    /// When the server will no longer take it, by this end's clock.
    pub fn expires(&self) -> UnixTime {
        UnixTime(self.received.as_secs().saturating_add(self.lifetime))
    }

    /// Whether it may still be shown: it is neither expired nor from the future, and its user has shown a credential within
    /// the last week ([`limits::TICKET_MAX_AGE`]), all by this end's clock.
    pub fn is_usable(&self, now: UnixTime) -> bool {
        let soon = now.after(limits::CLOCK_SKEW);
        let began = self.of.authenticated;
        self.received <= soon && now < self.expires() && began <= soon && now < began.after(limits::TICKET_MAX_AGE)
    }

    /// As bytes to keep. Secret: whoever has them can log in until the ticket expires.
    ///
    /// # Errors
    /// [`Misuse::TooLong`]; never for a ticket that came from a login.
    pub fn to_bytes(&self) -> Result<SecretBytes, Misuse> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.size().saturating_add(1)));
        out.push(FORMAT);
        let too_long = Misuse::TooLong { what: "the ticket", len: self.bytes.len(), limit: limits::MAX_TICKET };
        codec::append(self, &mut out).map_err(|_| too_long)?;
        Ok(SecretBytes::new(out))
    }

    /// What [`Ticket::to_bytes`] gave.
    ///
    /// # Errors
    /// [`Misuse::BadInput`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Misuse> {
        let bad = Misuse::BadInput("the saved ticket");
        let ticket = bytes.strip_prefix(&[FORMAT]).ok_or(bad)?;
        let ticket: Self = codec::read(ticket).map_err(|_| bad)?;
        if ticket.bytes.is_empty() || ticket.bytes.len() > limits::MAX_TICKET {
            return Err(bad);
        }
        Ok(ticket)
    }
}

/// Prints nothing that helps to use it.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("key_id", &self.key_id).field("expires", &self.expires()).finish_non_exhaustive()
    }
}

/// A ticket that may be shown: [`Server::resume`] makes one where its user's password might be sent.
#[derive(Debug)]
pub struct TrustedTicket {
    pub(crate) ticket: Ticket,
    /// By which time of day that was.
    pub(crate) at: UnixTime,
}

impl Server {
    /// Lets a ticket be shown, once, to log in as `user` (empty for a login by token), if it is for that user and this
    /// server name, the server key it is from is still trusted, its suite is not under the floor, and it is usable
    /// ([`Ticket::is_usable`]).
    pub fn resume(&self, ticket: Ticket, user: &str, now: UnixTime) -> Option<TrustedTicket> {
        let is_theirs = ticket.user() == user && ticket.server_name() == self.name();
        let is_trusted = self.recalls(ticket.key_id, ticket.suite, now);
        (is_theirs && is_trusted && ticket.is_usable(now)).then_some(TrustedTicket { ticket, at: now })
    }
}

/// By its number.
impl Field<'_> for Suite {
    const LARGEST: usize = u16::LARGEST;

    fn size(&self) -> usize {
        Self::LARGEST
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.number().write(out)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_number(u16::read(from)?).ok_or(DecodeError::Unknown)
    }
}

impl Field<'_> for KeyId {
    const LARGEST: usize = limits::KEY_ID;

    fn size(&self) -> usize {
        Self::LARGEST
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.as_bytes().write(out)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        <[u8; limits::KEY_ID]>::read(from).map(Self::from_bytes)
    }
}
