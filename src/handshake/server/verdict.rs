//! What a login ends in.

use super::ServerConfig;
use crate::crypto::{CryptoError, CryptoRng, KeyId};
use crate::handshake::{self, Secrets};
use crate::limits;
use crate::session::Session;
use crate::terms::error::{Error, Reason};
use crate::terms::grant::{Grant, NoGrant};
use crate::terms::ticket::{Chain, Issued, TicketContents};
use crate::time::{Moment, UnixTime};
use crate::wire::codec::{Bytes, Extensions, ServerVerdict, VerdictMessage};
use crate::wire::frame::FrameType;

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

/// A login that was accepted.
pub struct Accepted {
    /// The ServerVerdict frame to send, at once.
    pub frame: Vec<u8>,
    /// The session, ready once the frame is sent.
    pub session: Session,
}

/// A login that was refused, or that can't be decided now. On the wire every refusal is the same.
#[derive(Clone, Debug)]
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
    /// [`Reason::NotNow`] says that there is no decision, any other reason that it is no.
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
    if matches!(reason, Reason::NotNow(_)) { NoGrant::NotNow } else { NoGrant::Reject }
}

crate::opaque_debug!(Accepted);
