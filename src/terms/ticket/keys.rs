//! A server's keys for tickets: a ring, changed by time.

use super::used::{AlreadyUsed, TicketMemory, TicketUse, UsedCounts, UsedTickets, Using};
use super::{CONTENTS, Chain, FORMAT, NAME, NONCE, TicketContents};
use crate::crypto::once;
use crate::crypto::schedule::{Key, Secret};
use crate::crypto::{Aead, AeadKey, Cipher, CryptoError, CryptoRng, Provider, SecretBytes};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::terms::error::Misuse;
use crate::time::UnixTime;
use crate::wire::codec::{self, EncodeError, Field, List, Reader, layout};
use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The server's keys for sealing tickets: made by the library, rotated by time, never seen by a client. And its memory of
/// the tickets that were used: each is good for one login.
///
/// Each key seals for one lifetime and opens for one more, so a ticket is good for at least its lifetime, if the chain that it is
/// of began under a key that still opens. Share them by [`TicketKeys::export`] among several servers, of which one rotates and the
/// others follow, or by [`TicketKeys::rotate_shared`] in one place without one that leads; keep them across a restart by [`TicketKeys::save`]. A restart forgets them otherwise, and clients fall back
/// to the full login.
///
/// What each mistake costs: a stolen key lets the thief log in as anyone, and be the server to clients that show tickets, until it
/// no longer opens, two lifetimes after it was made; and read resumed sessions of suites that are not forward secret. Keep
/// exports as you keep the server key.
pub struct TicketKeys {
    cipher: &'static dyn Cipher,
    lifetime: Duration,
    max_age: Duration,
    ring: Mutex<Ring>,
    used: Used,
}

/// Who remembers which tickets were used.
enum Used {
    Here(UsedTickets),
    Shared(Arc<dyn TicketMemory>),
    Nobody,
}

struct Ring {
    /// The newest first.
    keys: List<RingKey, RING>,
    /// Whether this process makes new keys, or waits for them.
    follows: bool,
    /// The latest that the clock has said.
    latest: UnixTime,
    /// What the clock has said last.
    last: UnixTime,
    /// Whether the keys come from elsewhere, and what was used under them is not known here.
    is_without_uses: bool,
}

/// One that seals, one that opens, and one that servers which share keys have before any of them seals under it.
const RING: usize = 3;

layout! {
    /// A key for tickets, here and in an export.
    struct RingKey {
        name: [u8; NAME],
        key: Key,
        made: UnixTime,
        /// When it stops opening. Kept, so that no change of the lifetime brings a retired key back.
        ends: UnixTime,
    }
}

/// No key: what a ring is filled up with.
impl Default for RingKey {
    fn default() -> Self {
        Self { name: [0; NAME], key: Key::new([0; 32]), made: UnixTime(0), ends: UnixTime(0) }
    }
}

impl RingKey {
    /// No key yet, but its time: it seals for one lifetime, and opens for two.
    fn from_time(made: UnixTime, lifetime: Duration) -> Self {
        Self { made, ends: made.after(lifetime.saturating_mul(2)), ..Self::default() }
    }
}

layout! {
    /// What a server keeps across a restart, before the tickets that were used.
    struct Saved {
        keys: List<RingKey, RING>,
        latest: UnixTime,
        /// 0, or one second past [`UsedTickets::forgotten`].
        forgotten: u64,
        /// 1 if what was used follows, 0 if that was remembered elsewhere, or by nobody.
        has_uses: u8,
    }
}

layout! {
    /// A used ticket across a restart.
    struct SavedUse {
        principal: String [..=limits::MAX_PRINCIPAL],
        chain: [u8; 16],
        number: u64,
        authenticated: UnixTime,
        until: UnixTime,
    }
}

/// A ticket for a client, and for how long it is good.
pub(crate) struct Issued {
    pub(crate) ticket: Vec<u8>,
    pub(crate) lifetime: Duration,
}

impl TicketKeys {
    /// Keys for tickets of this lifetime, in whole seconds (at least one), each good for one login. The first key is made with the first
    /// ticket. A chain of tickets ends after [`limits::TICKET_MAX_AGE`], or once the key that it began under no longer opens.
    ///
    /// Tickets are sealed with AES-256-GCM, or with ChaCha20-Poly1305 where the provider lacks that; servers that share keys
    /// need the same.
    pub fn new(provider: Provider, lifetime: Duration) -> Self {
        let aead = if provider.aes_256_gcm.is_some() { Aead::Aes256Gcm } else { Aead::ChaCha20Poly1305 };
        let cipher = provider.cipher_or_missing(aead);
        let lifetime = Duration::from_secs(lifetime.as_secs().max(1));
        let ring = Mutex::new(Ring {
            keys: List::new(),
            follows: false,
            latest: UnixTime(0),
            last: UnixTime(0),
            is_without_uses: false,
        });
        let used = Used::Here(UsedTickets::for_lifetime(lifetime));
        Self { cipher, lifetime, max_age: limits::TICKET_MAX_AGE, ring, used }
    }

    /// Asks for a credential again when the last one was shown this long ago, however many tickets came since.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Remembers used tickets in this memory: of another size, say.
    #[must_use]
    pub fn with_memory(mut self, memory: UsedTickets) -> Self {
        self.used = Used::Here(memory);
        self
    }

    /// Remembers used tickets in a memory that servers share, as those need that share keys.
    #[must_use]
    pub fn with_shared_memory(mut self, memory: impl TicketMemory + 'static) -> Self {
        self.used = Used::Shared(Arc::new(memory));
        self
    }

    /// Takes each ticket as often as it is shown, until it expires. Whoever gets hold of a copy can then use it beside its owner,
    /// and nobody notices.
    #[must_use]
    pub fn with_unlimited_reuse(mut self) -> Self {
        self.used = Used::Nobody;
        self
    }

    /// What the memory of used tickets holds and has done; `None` where it is not in this process.
    pub fn used(&self) -> Option<UsedCounts> {
        match &self.used {
            Used::Here(memory) => Some(memory.counts()),
            Used::Shared(_) | Used::Nobody => None,
        }
    }

    /// The keys, for servers that follow this one: give it to [`TicketKeys::follow`] there, after every rotation (once a
    /// lifetime) at the latest. Secret.
    ///
    /// # Errors
    /// [`CryptoError`] where no key could be made.
    pub fn export(&self, now: UnixTime, rng: &mut dyn CryptoRng) -> Result<SecretBytes, CryptoError> {
        let mut ring = self.ring();
        self.turn(&mut ring, now, rng);
        Self::exported(&ring.keys)
    }

    /// Takes over another server's keys. From now on this one makes no keys of its own: when the newest is a lifetime
    /// old, no tickets are given out until newer ones are taken over.
    ///
    /// Unless the memory of used tickets is shared, too, this server takes tickets of chains that began after it began to follow:
    /// what was used before, here or elsewhere, it can't tell.
    ///
    /// # Errors
    /// [`Misuse::BadInput`] for bytes that are no export; the keys stay as they are.
    pub fn follow(&self, exported: &[u8]) -> Result<(), Misuse> {
        let keys = Self::imported(exported)?;
        let mut ring = self.ring();
        ring.is_without_uses |= !ring.follows;
        ring.keys = keys;
        ring.follows = true;
        Ok(())
    }

    /// Brings up to date what servers that share keys keep in one place, such as a row of a database: gives what is to be put in the place of
    /// `kept`, if that is still there then, or `None` where it stays. Empty is what is kept at first. No server leads: whoever finds that
    /// a key is due makes it, and the others [follow](TicketKeys::follow) what is there. Secret.
    ///
    /// A new key is there `lead` before anybody seals under it, so that all servers can open what one seals; so each has to look more often than that.
    /// The clock that `now` comes from should be one for all, such as the database's: by it keys come and go.
    ///
    /// A follower whose own clock was ahead for a while, so that everything had expired, goes on once `now` says, too, that it was; it then has to
    /// [follow](TicketKeys::follow) again. If its memory of used tickets is its own, tickets of before are not taken any more.
    ///
    /// # Errors
    /// [`Misuse::BadInput`] for bytes that are no export.
    pub fn rotate_shared(
        &self,
        kept: &[u8],
        now: UnixTime,
        lead: Duration,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<SecretBytes>, Misuse> {
        let kept = if kept.is_empty() { List::new() } else { Self::imported(kept)? };
        self.go_back_to(now);
        // A thief has no use for what no longer opens. And what a clock that was wrong has made for a far future would be waited for.
        let latest = now.after(lead).after(limits::CLOCK_SKEW);
        let mut alive = List::<RingKey, RING>::new();
        for key in kept.into_entries().filter(|key| now < key.ends && key.made <= latest) {
            // There is as much room as before.
            let _ = alive.push(key);
        }
        let next = alive.first().map(|newest| newest.made.after(self.lifetime));
        if next.is_some_and(|next| now.after(lead) < next) {
            return Ok(None);
        }
        let mut fresh = RingKey::from_time(next.unwrap_or(now).max(now), self.lifetime);
        rng.fill_bytes(&mut fresh.name);
        rng.fill_bytes(fresh.key.as_mut_slice());
        alive.push_front(fresh);
        let exported = Self::exported(&alive).map_err(|_| Misuse::BadInput("the exported ticket keys"))?;
        Ok(Some(exported))
    }

    /// How long each key seals, and a ticket is good for.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    fn exported(keys: &List<RingKey, RING>) -> Result<SecretBytes, CryptoError> {
        let mut out = Zeroizing::new(Vec::with_capacity(keys.size().saturating_add(1)));
        out.push(FORMAT);
        codec::append(keys, &mut out).map_err(|_| CryptoError::Failed)?;
        Ok(SecretBytes::new(out))
    }

    fn imported(exported: &[u8]) -> Result<List<RingKey, RING>, Misuse> {
        let bad = Misuse::BadInput("the exported ticket keys");
        codec::read(exported.strip_prefix(&[FORMAT]).ok_or(bad)?).map_err(|_| bad)
    }

    /// The keys, and the memory of used tickets if it is in this process, for [`TicketKeys::load`] after a restart. Secret.
    ///
    /// Save once no login is accepted any more, and load it once: with a save that is older than the last login, tickets that
    /// were used since are good again. So remove it when it is loaded; a server that dies without having saved then begins
    /// anew, and its clients log in with their credentials.
    ///
    /// # Errors
    /// [`CryptoError`] where it could not be put together.
    pub fn save(&self) -> Result<SecretBytes, CryptoError> {
        let failed = |_: EncodeError| CryptoError::Failed;
        let (used, forgotten, has_uses) = match &self.used {
            Used::Here(memory) => (memory.saved(), memory.forgotten(), 1),
            Used::Shared(_) | Used::Nobody => (Vec::new(), None, 0),
        };
        let mut ring = self.ring();
        let forgotten = forgotten.map_or(0, |forgotten| forgotten.as_secs().saturating_add(1));
        let saved = Saved { keys: core::mem::take(&mut ring.keys), latest: ring.latest, forgotten, has_uses };
        // All of it at once: growing would leave copies of the keys.
        let mut out = Zeroizing::new(Vec::with_capacity(saved.size().saturating_add(1)));
        out.push(FORMAT);
        let written = codec::append(&saved, &mut out);
        ring.keys = saved.keys;
        written.map_err(failed)?;
        let mut uses = Vec::new();
        for TicketUse { principal, chain, number, authenticated, until } in used {
            codec::append(&SavedUse { principal, chain, number, authenticated, until }, &mut uses).map_err(failed)?;
        }
        let mut whole = Zeroizing::new(Vec::with_capacity(out.len().saturating_add(uses.len())));
        whole.extend_from_slice(&out);
        whole.extend_from_slice(&uses);
        Ok(SecretBytes::new(whole))
    }

    /// Goes on with what [`TicketKeys::save`] gave.
    ///
    /// # Errors
    /// [`Misuse::BadInput`] for anything else; the keys stay as they are.
    pub fn load(&self, saved: &[u8]) -> Result<(), Misuse> {
        let bad = Misuse::BadInput("the saved ticket keys");
        let mut reader = Reader::new(saved.strip_prefix(&[FORMAT]).ok_or(bad)?);
        let Saved { keys, latest, forgotten, has_uses } = Saved::read(&mut reader).map_err(|_| bad)?;
        let mut uses = Vec::new();
        while !reader.rest().is_empty() {
            let SavedUse { principal, chain, number, authenticated, until } =
                SavedUse::read(&mut reader).map_err(|_| bad)?;
            uses.push(TicketUse { principal, chain, number, authenticated, until });
        }
        *self.ring() = Ring { keys, follows: false, latest, last: latest, is_without_uses: has_uses == 0 };
        if let Used::Here(memory) = &self.used {
            memory.restore(&uses, forgotten.checked_sub(1).map(UnixTime));
        }
        Ok(())
    }

    /// Seals a ticket: `key name || nonce || AEAD-Seal(Expand(key, "ticket", nonce), 0^12, "", contents || zeros)`, of
    /// [`limits::TICKET`] bytes. `contents` come with no times; the first of a chain has no root. `None` where there is no key to seal
    /// under, and where the chain is at its end.
    pub(crate) fn seal(
        &self,
        mut contents: TicketContents,
        now: UnixTime,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<Issued>, CryptoError> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let (name, key) = {
            let mut ring = self.ring();
            let now = self.turn(&mut ring, now, rng);
            // What would not be taken back is not given out: by a key of the future, from a server that this one follows.
            let is_ours = |key: &&RingKey| now < key.made.after(self.lifetime) && Self::opens(key, now);
            // Not under one whose time has not come, where there is another: other servers may not have it yet.
            let begun = ring.keys.iter().filter(|key| key.made <= now).find(is_ours);
            let Some(newest) = begun.or_else(|| ring.keys.iter().find(is_ours)) else { return Ok(None) };
            if contents.chain.number == 0 {
                contents.chain.root = newest.name;
            }
            let Some(root) = ring.keys.iter().find(|key| key.name == contents.chain.root) else { return Ok(None) };
            let end = self.end(root, &contents.chain);
            contents.made = now;
            contents.expires = now.after(self.lifetime).min(end);
            (newest.name, newest.key.clone())
        };
        let lifetime = contents.expires.as_secs().saturating_sub(contents.made.as_secs());
        if lifetime == 0 {
            return Ok(None);
        }
        // The contents are written where they are sealed. The capacity holds it all: growing would leave a copy of them.
        let mut ticket = Zeroizing::new(Vec::with_capacity(limits::TICKET));
        ticket.extend_from_slice(&name);
        ticket.extend_from_slice(&nonce);
        ticket.resize(limits::TICKET, 0);
        let sealed = ticket.get_mut(NAME.saturating_add(NONCE)..).unwrap_or_default();
        codec::fill(&contents, sealed.get_mut(..CONTENTS).unwrap_or_default()).map_err(|_| CryptoError::Failed)?;
        once::seal(&*self.sealer(&key, &nonce)?, sealed)?;
        Ok(Some(Issued { ticket: core::mem::take(&mut *ticket), lifetime: Duration::from_secs(lifetime) }))
    }

    /// Opens a ticket; `None` for one that breaks K1, K2 or K10.
    pub(crate) fn open(&self, ticket: &[u8], now: UnixTime) -> Option<TicketContents> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let (key, roots, now) = {
            let mut ring = self.ring();
            let now = self.clock(&mut ring, now);
            let at = ring.keys.iter().position(|key| key.name == *name && Self::opens(key, now))?;
            // The keys that a chain may have begun under whose ticket is sealed under this one.
            let older = ring.keys.get(at..)?;
            let mut roots = List::<_, RING>::new();
            older.iter().filter(|key| Self::opens(key, now)).try_for_each(|key| roots.push(key.name))?;
            (older.first()?.key.clone(), roots, now)
        };
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let plaintext = once::open(&*self.sealer(&key, nonce).ok()?, &mut sealed).ok()?;
        let contents: TicketContents = codec::decode_padded(plaintext, CONTENTS).ok()?;
        let TicketContents { made, expires, chain: Chain { authenticated, root, .. }, .. } = &contents;
        let soon = now.after(limits::CLOCK_SKEW);
        let is_past = *made <= soon && *authenticated <= soon;
        let is_alive = (now < *expires && now < authenticated.after(self.max_age)) || lacks(Check::K2);
        (is_past && is_alive && (roots.contains(root) || lacks(Check::K10))).then_some(contents)
    }

    /// Marks a ticket as used; false where it was before, or that can't be told.
    pub(crate) async fn use_once(&self, contents: &TicketContents, now: UnixTime) -> bool {
        // By then its chain has ended, whatever lifetime its tickets were given: not by the one that is configured now, which may be shorter.
        let until = {
            let ring = self.ring();
            let root = ring.keys.iter().find(|key| key.name == contents.chain.root);
            root.map_or(contents.expires, |root| self.end(root, &contents.chain)).max(contents.expires)
        };
        let ticket = contents.chain.to_use(&contents.principal, until.after(limits::CLOCK_SKEW));
        match &self.used {
            Used::Here(memory) => {
                let now = self.clock(&mut self.ring(), now);
                memory.mark(&ticket, now).is_ok()
            }
            Used::Shared(memory) => memory.use_once(&ticket).await.is_ok(),
            Used::Nobody => true,
        }
    }

    fn opens(key: &RingKey, now: UnixTime) -> bool {
        key.made <= now.after(limits::CLOCK_SKEW) && now < key.ends
    }

    /// When the tickets of a chain that began under this key are no longer taken.
    fn end(&self, root: &RingKey, chain: &Chain) -> UnixTime {
        root.ends.min(chain.authenticated.after(self.max_age))
    }

    fn sealer(&self, key: &Key, nonce: &[u8; NONCE]) -> Result<Box<dyn AeadKey>, CryptoError> {
        // A key for each ticket, so that a nonce of the AEAD's size never has to be unique among all of them.
        let mut fresh = Key::new([0; 32]);
        Secret::from_key(key).fill("ticket", nonce, fresh.as_mut_slice());
        self.cipher.key(&fresh)
    }

    /// Makes a new key if the newest is a lifetime old, and drops what no longer opens. Gives the time to go by.
    fn turn(&self, ring: &mut Ring, now: UnixTime, rng: &mut dyn CryptoRng) -> UnixTime {
        let now = self.clock(ring, now);
        let is_due = ring.keys.first().is_none_or(|newest| now >= newest.made.after(self.lifetime));
        if !ring.follows && is_due {
            let mut fresh = RingKey::from_time(now, self.lifetime);
            rng.fill_bytes(&mut fresh.name);
            rng.fill_bytes(fresh.key.as_mut_slice());
            ring.keys.push_front(fresh);
        }
        now
    }

    /// The time to go by: the clock's, or the latest that it has told. A clock that goes back would make tickets good again that had
    /// expired, whose use may be forgotten by then.
    ///
    /// One that goes back by more than a skew was wrong before, or is now: then nothing that was made before is good any more,
    /// and this begins anew. (Whoever follows others can't make keys, and waits until the clock has caught up, or that of all servers says, too, that
    /// it was wrong.)
    fn clock(&self, ring: &mut Ring, now: UnixTime) -> UnixTime {
        ring.last = now;
        if now.after(limits::CLOCK_SKEW) < ring.latest && !ring.follows {
            ring.keys = List::new();
            ring.latest = now;
            if let Used::Here(memory) = &self.used {
                memory.restore(&[], None);
            }
        }
        ring.latest = ring.latest.max(now);
        let now = ring.latest;
        if let (true, Used::Here(memory)) = (core::mem::take(&mut ring.is_without_uses), &self.used) {
            memory.forget_until(now);
        }
        // A key that no longer opens is worth nothing but to a thief.
        if ring.keys.iter().any(|key| now >= key.ends) {
            let mut kept = List::new();
            for key in core::mem::take(&mut ring.keys).into_entries().filter(|key| now < key.ends) {
                // There is as much room as before.
                let _ = kept.push(key);
            }
            ring.keys = kept;
        }
        now
    }

    /// Goes back with a follower's clock, where that of all servers says that it was ahead before. One clock alone says nothing: it may be wrong now.
    fn go_back_to(&self, common: UnixTime) {
        let mut ring = self.ring();
        let now = ring.last.max(common);
        if ring.follows && now.after(limits::CLOCK_SKEW) < ring.latest {
            ring.latest = now;
            if let Used::Here(memory) = &self.used {
                // It may have dropped, as ended, what was used and is good again now.
                memory.forget_until(now.after(limits::CLOCK_SKEW));
            }
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As any other memory of used tickets: for servers in one process that share keys.
impl TicketMemory for UsedTickets {
    fn use_once<'a>(&'a self, ticket: &'a TicketUse) -> Using<'a> {
        let marked: Result<(), AlreadyUsed> = self.mark(ticket, ticket.authenticated);
        Box::pin(core::future::ready(marked))
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}
