//! What a login ends in.

use super::ServerConfig;
use super::factor::{Asked, AwaitFactor};
use crate::crypto::{CryptoError, CryptoRng, KeyId};
use crate::handshake::{self, Secrets};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::session::{Outcome, Session, Side};
use crate::terms::credential::CredentialKind;
use crate::terms::error::{Error, Reason};
use crate::terms::factor::{self, Prompt};
use crate::terms::grant::{Grant, NoGrant};
use crate::terms::ticket::{Chain, Issued, TicketContents};
use crate::time::{Moment, UnixTime};
use crate::wire::codec::{Bytes, Extension, Extensions, ServerVerdict, VerdictMessage};
use crate::wire::frame::FrameType;
use std::sync::Arc;

/// A ticket for this login, where the server gives tickets and the account has an epoch.
pub(super) fn issue(
    config: &ServerConfig,
    secrets: &Secrets,
    grant: &Grant,
    (key_id, scope): (KeyId, [u8; 32]),
    chain: Chain,
    now: UnixTime,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Issued>, CryptoError> {
    let (Some(keys), Some(epoch)) = (&config.tickets, grant.epoch()) else {
        return Ok(None);
    };
    let contents = TicketContents {
        principal: grant.principal().to_owned(),
        epoch,
        suite: secrets.suite(),
        key_id,
        scope,
        chain,
        made: now,
        expires: now,
        secret: secrets.resumption(),
    };
    keys.seal(contents, now, rng)
}

pub(super) fn accept<'a>(grant: &'a Grant, ticket: Option<&'a Issued>) -> VerdictMessage<'a> {
    let (ticket, lifetime) = ticket.map_or((&[][..], 0), |issued| (&issued.ticket, issued.lifetime.as_secs()));
    VerdictMessage {
        grant: grant.to_message(),
        ticket: Bytes(ticket),
        ticket_lifetime: lifetime,
        extensions: Extensions::new(),
    }
}

pub(super) fn verdict_frame(secrets: &Secrets, verdict: &VerdictMessage<'_>) -> Result<Vec<u8>, Error> {
    let message = ServerVerdict { sealed_verdict: &[0; limits::SERVER_VERDICT] };
    let mut frame = handshake::write(FrameType::ServerVerdict, &message)?;
    let [tail] = message.tails();
    secrets.seal_verdict(verdict, tail.cut_mut(&mut frame).content_mut())?;
    Ok(frame)
}

/// What is decided about: the same after a credential and after a further factor.
pub(super) struct Undecided {
    pub(super) config: Arc<ServerConfig>,
    pub(super) secrets: Secrets,
    /// What its ticket will be good for.
    pub(super) ticket_for: (KeyId, [u8; 32]),
    /// Of the credential that was good.
    pub(super) kind: CredentialKind,
    /// How many further factors may be asked for; `None` of a client that can't be asked.
    pub(super) left: Option<usize>,
    /// Of what is decided about.
    pub(super) arrival: Moment,
}

impl Undecided {
    pub(super) fn accept(self, grant: Grant) -> Result<Accepted, Refusal> {
        self.conclude(grant, |_, _| Ok(None))
    }

    pub(super) fn accept_with_ticket(
        self,
        grant: Grant,
        now: UnixTime,
        rng: &mut dyn CryptoRng,
    ) -> Result<Accepted, Refusal> {
        self.conclude(grant, |Self { config, secrets, ticket_for, kind, .. }, grant| {
            let mut chain = Chain { id: [0; 16], number: 0, kind: *kind, authenticated: now, root: Default::default() };
            rng.fill_bytes(&mut chain.id);
            issue(config, secrets, grant, *ticket_for, chain, now, rng)
        })
    }

    fn conclude(
        self,
        grant: Grant,
        issue: impl FnOnce(&Self, &Grant) -> Result<Option<Issued>, CryptoError>,
    ) -> Result<Accepted, Refusal> {
        let not_before = self.not_before();
        let accepted = issue(&self, &grant).map_err(Error::from).and_then(|ticket| {
            let frame = verdict_frame(&self.secrets, &accept(&grant, ticket.as_ref()))?;
            let outcome = Outcome { grant, ticket: None, resumed: false, server_key: None, proved: false };
            let session = self.secrets.session(&frame, Side::Server, outcome);
            Ok(Accepted { frame, session })
        });
        accepted.map_err(|error| Refusal::silent(failed(error), not_before))
    }

    pub(super) fn ask(mut self, prompt: &Prompt, now: Moment) -> Result<Asked, Refusal> {
        let left = self.left.or(if lacks(Check::L12) { Some(limits::MAX_FACTORS) } else { None });
        let left = match left.map(|left| left.checked_sub(1)) {
            Some(Some(left)) => left,
            Some(None) => return Err(self.reject(Reason::TooManyFactors)),
            None => return Err(self.reject(Reason::FactorNotOffered)),
        };
        let frame = prompt.to_bytes().and_then(|request| {
            let mut extensions = Extensions::new();
            let request = Extension { number: factor::EXTENSION, data: Bytes(&request) };
            extensions.push(request).ok_or(CryptoError::Failed)?;
            verdict_frame(&self.secrets, &VerdictMessage { extensions, ..NoGrant::Factor.to_message() })
        });
        let frame = frame.map_err(|error| Refusal::silent(failed(error), self.not_before()))?;
        self.secrets.add(&frame);
        self.left = Some(left);
        let deadline = now.after(self.config.factor_timeout);
        Ok(Asked { frame, state: AwaitFactor::new(self, deadline) })
    }

    pub(super) fn reject(self, reason: Reason) -> Refusal {
        let not_before = self.not_before();
        Refusal::seal(&self.secrets, decision(&reason), reason, not_before)
    }

    fn not_before(&self) -> Moment {
        self.arrival.after(self.config.refusal_floor)
    }
}

/// Sealing a verdict fails where the crypto provider does; the peer has no part in it.
fn failed(error: Error) -> Reason {
    match error {
        Error::Crypto(error) => Reason::Failed(error),
        _ => Reason::Failed(CryptoError::Failed),
    }
}

/// A login that was accepted.
#[non_exhaustive]
#[must_use = "the client is told by the frame"]
pub struct Accepted {
    /// The ServerVerdict frame to send, at once.
    pub frame: Vec<u8>,
    /// The session, ready once the frame is sent.
    pub session: Session,
}

/// A login that was refused, or that can't be decided now. On the wire every refusal is the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "the client is told by the frame, when that is due"]
pub struct Refusal {
    /// The ServerVerdict frame to send. Then close the connection. Empty if nothing is to be sent (the deadline has passed, or the
    /// crypto provider failed): close at once.
    pub frame: Vec<u8>,
    /// Send the frame no earlier than this.
    pub not_before: Moment,
    /// Why, for the audit log alone.
    pub reason: Reason,
}

impl Refusal {
    /// The frame says that there is no decision where [`Reason::is_not_now`], and with any other reason that it is no.
    pub(super) fn seal(secrets: &Secrets, decision: NoGrant, reason: Reason, not_before: Moment) -> Self {
        let frame = verdict_frame(secrets, &decision.to_message()).unwrap_or_default();
        Self { frame, not_before, reason }
    }

    pub(super) fn silent(reason: Reason, not_before: Moment) -> Self {
        Self { frame: Vec::new(), not_before, reason }
    }
}

/// What the client is told for this reason.
pub(super) fn decision(reason: &Reason) -> NoGrant {
    if reason.is_not_now() { NoGrant::NotNow } else { NoGrant::Reject }
}

crate::opaque_debug!(Accepted);
