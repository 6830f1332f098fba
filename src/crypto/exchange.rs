//! Key exchanges, put together from their groups (PROTOCOL.md, "Key exchanges").
//!
//! The groups are the provider's, the combination is the protocol's: shares and secrets of several groups are simply
//! joined, in the order of [`KeyExchange::groups`], and each has a fixed size.

use super::{Agreement, CryptoError, CryptoRng, Exchange, Group, KeyExchange, Provider, SharedSecret};

/// The client's half of a key exchange, waiting for the server's share.
pub(crate) struct Offer {
    exchange: KeyExchange,
    /// One for each group, in order.
    keys: [Option<Box<dyn Exchange>>; KeyExchange::MAX_GROUPS],
}

impl Offer {
    /// Makes an ephemeral key for each group, and appends the client's share to `out`.
    pub(crate) fn start(
        provider: &Provider,
        exchange: KeyExchange,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<u8>,
    ) -> Result<Self, CryptoError> {
        let mut keys = [const { None }; KeyExchange::MAX_GROUPS];
        for (slot, &group) in keys.iter_mut().zip(exchange.groups()) {
            let end = out.len().saturating_add(group.client_share());
            *slot = Some(agreement(provider, group)?.start(rng, out)?);
            check_len(out, end)?;
        }
        Ok(Self { exchange, keys })
    }

    pub(crate) fn exchange(&self) -> KeyExchange {
        self.exchange
    }

    /// `secret of the first group || secret of the second`, from the server's share.
    pub(crate) fn finish(self, mut share: &[u8]) -> Result<SharedSecret, CryptoError> {
        let mut secret = SharedSecret::new(b"")?;
        for (key, group) in self.keys.into_iter().flatten().zip(self.exchange.groups()) {
            append(&mut secret, &key.finish(take(&mut share, group.server_share())?)?)?;
        }
        finished(self.exchange, share, secret)
    }
}

/// The server's half, in one step: appends the server's share to `out`, and gives the secret as [`Offer::finish`] does.
pub(crate) fn answer(
    provider: &Provider,
    exchange: KeyExchange,
    mut share: &[u8],
    rng: &mut dyn CryptoRng,
    out: &mut Vec<u8>,
) -> Result<SharedSecret, CryptoError> {
    let mut secret = SharedSecret::new(b"")?;
    for &group in exchange.groups() {
        let end = out.len().saturating_add(group.server_share());
        let theirs = take(&mut share, group.client_share())?;
        append(&mut secret, &agreement(provider, group)?.answer(theirs, rng, out)?)?;
        check_len(out, end)?;
    }
    finished(exchange, share, secret)
}

/// The configuration has made sure of it.
fn agreement(provider: &Provider, group: Group) -> Result<&'static dyn Agreement, CryptoError> {
    provider.agreement(group).ok_or(CryptoError::Unsupported)
}

/// RSA alone has no groups: its share is empty, and the key schedule takes zeros for its secret.
fn finished(exchange: KeyExchange, rest: &[u8], secret: SharedSecret) -> Result<SharedSecret, CryptoError> {
    match rest {
        [] if exchange.groups().is_empty() => Ok(SharedSecret::none()),
        [] => Ok(secret),
        _ => Err(CryptoError::BadKeyShare),
    }
}

/// Each group's secret has 32 bytes: what is joined has one way to be read.
fn append(joined: &mut SharedSecret, secret: &SharedSecret) -> Result<(), CryptoError> {
    if secret.as_bytes().len() == 32 { joined.append(secret) } else { Err(CryptoError::Failed) }
}

fn take<'a>(share: &mut &'a [u8], len: usize) -> Result<&'a [u8], CryptoError> {
    let (front, rest) = share.split_at_checked(len).ok_or(CryptoError::BadKeyShare)?;
    *share = rest;
    Ok(front)
}

/// A provider whose shares have other sizes would make frames that nobody can read.
fn check_len(out: &[u8], end: usize) -> Result<(), CryptoError> {
    if out.len() == end { Ok(()) } else { Err(CryptoError::Failed) }
}
