//! Tickets: what makes the next login cheap (PROTOCOL.md, "Resumption").
//!
//! After a login the server may hand out a ticket: the principal and a secret, sealed under keys that only the server
//! has. The client shows it in its next ClientHello and proves that it holds the secret. No password hash is needed then;
//! the application is asked whether the principal is still welcome.

mod held;
mod keys;
mod used;

pub(crate) use held::Owner;
pub use held::{Ticket, TrustedTicket};
pub(crate) use keys::Issued;
pub use keys::TicketKeys;
pub use used::{AlreadyUsed, TicketMemory, TicketUse, UsedCounts, UsedTickets, Using};

use crate::crypto::schedule::Key;
use crate::crypto::{KeyId, Suite};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::terms::credential::CredentialKind;
use crate::terms::grant::{Epochs, Grant};
use crate::time::UnixTime;
use crate::wire::codec::{DecodeError, EncodeError, Field, Reader, Writer, layout};
use std::sync::Arc;

/// Length of the name of the key that a ticket is sealed under.
const NAME: usize = 8;

/// Length of a ticket's nonce.
const NONCE: usize = 16;

/// The first byte of what is kept outside of this process: saved tickets and exported keys.
const FORMAT: u8 = 2;

layout! {
    /// What a server seals into a ticket; zeros follow. No part of the protocol: tickets are opaque to clients.
    pub(crate) struct TicketContents {
        pub(crate) principal: String [..=limits::MAX_PRINCIPAL],
        pub(crate) epoch: u64,
        pub(crate) suite: Suite,
        pub(crate) key_id: KeyId,
        /// The hash of the server name and the prologue.
        pub(crate) scope: [u8; 32],
        pub(crate) chain: Chain,
        pub(crate) made: UnixTime,
        pub(crate) expires: UnixTime,
        pub(crate) secret: Key,
    }
}

layout! {
    /// What the tickets of a chain have in common, and which of them this is.
    #[derive(Clone)]
    pub(crate) struct Chain {
        pub(crate) id: [u8; 16],
        pub(crate) number: u64,
        /// How it began.
        pub(crate) kind: CredentialKind,
        pub(crate) authenticated: UnixTime,
        /// The ticket key that its first ticket was sealed under.
        pub(crate) root: [u8; NAME],
    }
}

/// Room for what is sealed.
const CONTENTS: usize = limits::TICKET - NAME - NONCE - limits::TAG;

const _: () = assert!(TicketContents::LARGEST <= CONTENTS && limits::TICKET <= limits::MAX_TICKET);

impl Field<'_> for CredentialKind {
    const LARGEST: usize = u8::LARGEST;

    fn size(&self) -> usize {
        Self::LARGEST
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.number().write(out)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_number(u8::read(from)?).ok_or(DecodeError::Unknown)
    }
}

/// A ticket that its server made for this very service, in time, shown by somebody who holds its secret. Whether it was used before
/// is asked next.
pub struct TicketClaim {
    pub(crate) contents: TicketContents,
    /// Computed from the ticket's secret when the binder was checked.
    pub(crate) stage_0: Key,
    pub(crate) keys: Arc<TicketKeys>,
    pub(crate) now: UnixTime,
}

impl TicketClaim {
    /// Uses the ticket up. `None` where it was used before, or that can't be told: go on with the challenge.
    pub async fn use_up(self) -> Option<FreshTicket> {
        let is_first = self.keys.use_once(&self.contents, self.now).await;
        is_first.then_some(FreshTicket(self))
    }

    /// As [`TicketClaim::use_up`], for a [`TicketMemory`] that answers at once, as [`UsedTickets`] does. `None` also where it does
    /// not.
    pub fn use_up_now(self) -> Option<FreshTicket> {
        let mut used = core::pin::pin!(self.use_up());
        match used.as_mut().poll(&mut core::task::Context::from_waker(core::task::Waker::noop())) {
            core::task::Poll::Ready(fresh) => fresh,
            core::task::Poll::Pending => None,
        }
    }
}

/// A good ticket that a client came with, and that is used up now. *Is its principal still welcome?*
///
/// Look the principal up: if the account is gone, or its epoch is another than the ticket's, go on with the challenge.
#[must_use = "it is used up, and its client waits for an answer"]
pub struct FreshTicket(pub(crate) TicketClaim);

impl FreshTicket {
    fn contents(&self) -> &TicketContents {
        &self.0.contents
    }

    /// Who logged in when the ticket's chain began.
    pub fn principal(&self) -> &str {
        &self.contents().principal
    }

    /// The account's epoch at that time.
    pub fn epoch(&self) -> u64 {
        self.contents().epoch
    }

    pub(crate) fn epochs(&self) -> Epochs {
        Epochs { account: Some(self.epoch()), credential: None }
    }

    /// When the principal last showed a credential.
    pub fn authenticated(&self) -> UnixTime {
        self.contents().chain.authenticated
    }

    /// Of what kind that was. The grant must be no more than what a login with such a credential gives.
    pub fn kind(&self) -> CredentialKind {
        self.contents().chain.kind
    }

    /// Whether `grant`, the account as it is now, is the account that the ticket was made for.
    #[must_use = "this decides whether they may come back"]
    pub fn is_current(&self, grant: &Grant) -> bool {
        grant.principal() == self.principal() && (grant.epoch() == Some(self.epoch()) || lacks(Check::K7))
    }
}

crate::opaque_debug!(TicketClaim, FreshTicket);
