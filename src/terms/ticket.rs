//! Tickets: what makes the next login cheap (PROTOCOL.md, "Resumption").
//!
//! After a login the server may hand out a ticket: the principal and a secret, sealed under keys that only the server
//! has. The client shows it in its next ClientHello and proves that it holds the secret. No RSA and no password hash are
//! needed then; the application is asked whether the principal is still welcome.

use crate::crypto::once;
use crate::crypto::schedule::{Key, Secret};
use crate::crypto::{Aead, Cipher, CryptoError, CryptoRng, KeyId, Provider, Suite};
use crate::limits;
use crate::terms::error::Misuse;
use crate::terms::grant::Grant;
use crate::terms::server::Server;
use crate::time::UnixTime;
use crate::wire::codec::{self, DecodeError, EncodeError, Field, List, Reader, Writer, layout};
use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The server's keys for sealing tickets: made by the library, rotated by time, never seen by a client.
///
/// Each key seals for one lifetime and opens for one more, so a ticket is good for at least its lifetime. Share them by
/// [`TicketKeys::export`] among several servers, of which one rotates and the others follow; a restart forgets them
/// otherwise, and clients fall back to the full login.
///
/// What each mistake costs: a stolen key lets the thief log in as anyone for up to two lifetimes, and read resumed
/// sessions of suites that are not forward secret. Keep exports as you keep the server key.
pub struct TicketKeys {
    cipher: &'static dyn Cipher,
    lifetime: Duration,
    max_age: Duration,
    ring: Mutex<Ring>,
    used: Option<Mutex<Used>>,
}

struct Ring {
    /// The newest first.
    keys: List<RingKey, 2>,
    /// Whether this process makes new keys, or waits for them.
    follows: bool,
}

layout! {
    /// A key for tickets, here and in an export.
    struct RingKey {
        name: [u8; NAME],
        key: Key,
        made: UnixTime,
    }
}

/// No key: what a ring is filled up with.
impl Default for RingKey {
    fn default() -> Self {
        Self { name: [0; NAME], key: Key::new([0; 32]), made: UnixTime(0) }
    }
}

/// Tickets that were used, by the hash they are bound to, until they expire.
struct Used {
    tickets: BTreeSet<(UnixTime, [u8; 16])>,
    capacity: usize,
}

impl TicketKeys {
    /// Keys for tickets of this lifetime, in whole seconds (at least one). The first key is made with the first ticket. A
    /// chain of tickets ends after [`limits::TICKET_MAX_AGE`].
    ///
    /// Tickets are sealed with AES-256-GCM, or with ChaCha20-Poly1305 where the provider lacks that; servers that share keys
    /// need the same.
    pub fn new(provider: Provider, lifetime: Duration) -> Self {
        let aead = if provider.aes_256_gcm.is_some() { Aead::Aes256Gcm } else { Aead::ChaCha20Poly1305 };
        let cipher = provider.cipher_or_missing(aead);
        let lifetime = Duration::from_secs(lifetime.as_secs().max(1));
        let ring = Mutex::new(Ring { keys: List::new(), follows: false });
        Self { cipher, lifetime, max_age: limits::TICKET_MAX_AGE, ring, used: None }
    }

    /// Asks for a credential again when the last one was shown this long ago, however many tickets came since.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Takes each ticket only once, remembering up to `capacity` used ones until they expire. When that many are
    /// remembered, every ticket falls back to the full login. Servers that share keys do not share this memory.
    #[must_use]
    pub fn with_single_use(mut self, capacity: usize) -> Self {
        self.used = Some(Mutex::new(Used { tickets: BTreeSet::new(), capacity }));
        self
    }

    /// The keys, for servers that follow this one: give it to [`TicketKeys::follow`] there, after every rotation (once a
    /// lifetime) at the latest. Secret.
    ///
    /// # Errors
    /// [`CryptoError`] where no key could be made.
    pub fn export(&self, now: UnixTime, rng: &mut dyn CryptoRng) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut ring = self.ring();
        self.rotate(&mut ring, now, rng);
        let mut out = Zeroizing::new(Vec::with_capacity(ring.keys.size().saturating_add(1)));
        out.push(FORMAT);
        codec::append(&ring.keys, &mut out).map_err(|_| CryptoError::Failed)?;
        Ok(out)
    }

    /// Takes over another server's keys. From now on this one makes no keys of its own: when the newest is a lifetime
    /// old, no tickets are given out until newer ones are taken over.
    ///
    /// # Errors
    /// [`Misuse::BadInput`] for bytes that are no export; the keys stay as they are.
    pub fn follow(&self, exported: &[u8]) -> Result<(), Misuse> {
        let bad = Misuse::BadInput("the exported ticket keys");
        let keys = exported.strip_prefix(&[FORMAT]).ok_or(bad)?;
        let keys = codec::read(keys).map_err(|_| bad)?;
        let mut ring = self.ring();
        *ring = Ring { keys, follows: true };
        Ok(())
    }

    /// Seals a ticket: `key name || nonce || AEAD-Seal(Expand(key, "ticket", nonce), 0^12, "", contents)`. `None` where
    /// there is no key to seal under.
    pub(crate) fn seal(
        &self,
        contents: &TicketContents,
        now: UnixTime,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<Vec<u8>>, CryptoError> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let (name, key) = {
            let mut ring = self.ring();
            self.rotate(&mut ring, now, rng);
            match ring.keys.first() {
                Some(newest) if now < newest.made.after(self.lifetime) => (newest.name, newest.key.clone()),
                _ => return Ok(None),
            }
        };
        // The contents are written where they are sealed. The capacity holds it all: growing would leave a copy of them.
        let len = [NAME, NONCE, contents.size(), limits::TAG].into_iter().fold(0, usize::saturating_add);
        let mut ticket = Zeroizing::new(Vec::with_capacity(len));
        ticket.extend_from_slice(&name);
        ticket.extend_from_slice(&nonce);
        codec::append(contents, &mut ticket).map_err(|_| CryptoError::Failed)?;
        ticket.extend_from_slice(&[0; limits::TAG]);
        let sealed = ticket.get_mut(NAME.saturating_add(NONCE)..).unwrap_or_default();
        once::seal(&*self.sealer(&key, &nonce)?, sealed)?;
        Ok(Some(core::mem::take(&mut *ticket)))
    }

    /// Opens a ticket; `None` for one that is altered, foreign, expired, or the last of a chain that is too old.
    pub(crate) fn open(&self, ticket: &[u8], now: UnixTime) -> Option<TicketContents> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let key = {
            let ring = self.ring();
            let open_for = self.lifetime.saturating_mul(2);
            let key = ring.keys.iter().find(|key| key.name == *name && now < key.made.after(open_for))?;
            key.key.clone()
        };
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let plaintext = once::open(&*self.sealer(&key, nonce).ok()?, &mut sealed).ok()?;
        let contents: TicketContents = codec::read(plaintext).ok()?;
        (now < contents.expires && now < contents.authenticated.after(self.max_age)).then_some(contents)
    }

    /// Marks a ticket as used; false where it was already, or nobody can say.
    pub(crate) fn use_once(&self, ticket: &[u8], contents: &TicketContents, now: UnixTime) -> bool {
        let Some(used) = &self.used else {
            return true;
        };
        // The nonce names the ticket: it is authenticated, since it is in the key.
        let Some(name) = ticket.get(NAME..).and_then(|rest| rest.first_chunk::<NONCE>()) else {
            return false;
        };
        let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
        used.tickets = used.tickets.split_off(&(now, [0; NONCE]));
        used.tickets.len() < used.capacity && used.tickets.insert((contents.expires, *name))
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    fn sealer(&self, key: &Key, nonce: &[u8; NONCE]) -> Result<Box<dyn crate::crypto::AeadKey>, CryptoError> {
        // A key for each ticket, so that a nonce of the AEAD's size never has to be unique among all of them.
        let mut fresh = Key::new([0; 32]);
        Secret::from_key(key).fill("ticket", nonce, fresh.as_mut_slice());
        self.cipher.key(&fresh)
    }

    /// Makes a new key if the newest is a lifetime old, and drops the one before the last.
    fn rotate(&self, ring: &mut Ring, now: UnixTime, rng: &mut dyn CryptoRng) {
        let is_due = ring.keys.first().is_none_or(|newest| now >= newest.made.after(self.lifetime));
        if ring.follows || !is_due {
            return;
        }
        let mut fresh = RingKey { made: now, ..RingKey::default() };
        rng.fill_bytes(&mut fresh.name);
        rng.fill_bytes(fresh.key.as_mut_slice());
        ring.keys.push_front(fresh);
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// Length of the name of the key that a ticket is sealed under.
const NAME: usize = 8;

/// Length of a ticket's nonce.
const NONCE: usize = 16;

/// The first byte of what is kept outside of this process: saved tickets and exported keys.
const FORMAT: u8 = 1;

layout! {
    /// What a server seals into a ticket. No part of the protocol: tickets are opaque to clients.
    pub(crate) struct TicketContents {
        pub(crate) principal: String [..=limits::MAX_PRINCIPAL],
        pub(crate) epoch: u64,
        pub(crate) suite: Suite,
        pub(crate) key_id: KeyId,
        pub(crate) authenticated: UnixTime,
        pub(crate) expires: UnixTime,
        pub(crate) secret: Key,
    }
}

const _: () = assert!(NAME + NONCE + TicketContents::LARGEST + limits::TAG <= limits::MAX_TICKET);

/// A good ticket that a client came with. *Is its principal still welcome?*
///
/// It is authentic, in time, and the client holds its secret. Look the principal up: if the account is gone, or its epoch
/// is another than the ticket's, go on with the challenge.
pub struct TicketClaim {
    pub(crate) contents: TicketContents,
    /// Computed from the ticket's secret when the binder was checked.
    pub(crate) stage_0: Key,
}

impl TicketClaim {
    /// Who logged in when the ticket's chain began.
    pub fn principal(&self) -> &str {
        &self.contents.principal
    }

    /// The account's epoch at that time.
    pub fn epoch(&self) -> u64 {
        self.contents.epoch
    }

    /// When the principal last showed a credential.
    pub fn authenticated(&self) -> UnixTime {
        self.contents.authenticated
    }

    /// Whether `grant`, the account as it is now, is the account that the ticket was made for.
    pub fn is_current(&self, grant: &Grant) -> bool {
        grant.principal() == self.principal() && grant.epoch() == Some(self.epoch())
    }
}

crate::opaque_debug!(TicketClaim);

layout! {
    /// A ticket as the client holds it: opaque bytes, and the secret that goes with them. Zeroized, never printed.
    #[derive(Clone)]
    pub struct Ticket {
        pub(crate) suite: Suite,
        pub(crate) key_id: KeyId,
        pub(crate) expires: UnixTime,
        pub(crate) secret: Key,
        pub(crate) bytes: Vec<u8> [..=limits::MAX_TICKET],
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

    /// When the server will no longer take it, by the server's clock.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// As bytes to keep. Secret: whoever has them can log in until the ticket expires.
    ///
    /// # Errors
    /// [`Misuse::TooLong`]; never for a ticket that came from a login.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, Misuse> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.size().saturating_add(1)));
        out.push(FORMAT);
        let too_long = Misuse::TooLong { what: "the ticket", len: self.bytes.len(), limit: limits::MAX_TICKET };
        codec::append(self, &mut out).map_err(|_| too_long)?;
        Ok(out)
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
        f.debug_struct("Ticket").field("key_id", &self.key_id).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A ticket that may be used: [`Server::resume`] makes one where the server it is from is still trusted.
#[derive(Clone, Debug)]
pub struct TrustedTicket(pub(crate) Ticket);

impl Server {
    /// Lets a ticket be used if the server key it is from is trusted, and its suite is not under the floor.
    pub fn resume(&self, ticket: &Ticket) -> Option<TrustedTicket> {
        self.check(ticket.key_id, ticket.suite).ok().map(|()| TrustedTicket(ticket.clone()))
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
