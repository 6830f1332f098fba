//! The keys of a server: by the name that a client asks for, and over time.

use crate::crypto::{KeyId, ServerKey};
use crate::handshake::server::{ChooseKey, Hello};
use crate::limits;
use crate::mutant::{Check, lacks};
use crate::terms::error::{Error, Misuse};
use crate::terms::trust::SignedManifest;
use crate::terms::trust::server::is_server_name;
use crate::time::UnixTime;
use std::sync::{Arc, PoisonError, RwLock};

/// The keys of a server: one, or several by server name; and of each name one, or a [`KeySet`] of several over time.
///
/// A single [`ServerKey`] is one, for clients that name no server. Clients that name one that there is not are turned away, unless
/// [`ServerKeys::with_any_name`] says otherwise: a client that trusts the keys of two servers can't be led to the other one.
#[derive(Clone, Debug)]
pub struct ServerKeys {
    default: KeySet,
    named: Vec<(String, KeySet)>,
    any_name: bool,
}

impl<K: Into<KeySet>> From<K> for ServerKeys {
    fn from(keys: K) -> Self {
        Self { default: keys.into(), named: Vec::new(), any_name: false }
    }
}

impl ServerKeys {
    /// Answers clients that want the server of this name (up to 255 bytes of printable ASCII, not empty, compared byte for byte)
    /// under this key, or one of these. Those that name none get the first key.
    ///
    /// # Errors
    /// [`Misuse`] for a name out of bounds, or one that is there already.
    pub fn with_name(mut self, name: &str, keys: impl Into<KeySet>) -> Result<Self, Misuse> {
        if name.is_empty() || !is_server_name(name) {
            return Err(Misuse::BadInput("the server name"));
        }
        if self.named.iter().any(|(named, _)| named == name) {
            return Err(Misuse::Duplicate("the server names"));
        }
        self.named.push((name.to_owned(), keys.into()));
        Ok(self)
    }

    /// Answers clients that want any other name under the first key, too. Then whoever is in the middle can lead a client that trusts
    /// this key under one name to another server that has it as well.
    #[must_use]
    pub fn with_any_name(mut self) -> Self {
        self.any_name = true;
        self
    }

    /// The keys of this name, the empty one included; none where there is no such name.
    pub fn of(&self, name: &str) -> Option<&KeySet> {
        let named = self.named.iter().find(|(named, _)| named == name).map(|(_, keys)| keys);
        let is_default = name.is_empty() || self.any_name || lacks(Check::S12);
        named.or(is_default.then_some(&self.default))
    }

    /// Answers a ClientHello under the key that it is for at this time ([`KeySet::choose`]), and has the manifest at hand if the
    /// client asked for one.
    ///
    /// # Errors
    /// [`Error::NoServerKey`] for a name that there is not, and as [`ChooseKey::choose`]; close the connection then, and send nothing.
    pub fn answer(&self, hello: ChooseKey, now: UnixTime) -> Result<Hello, Error> {
        let keys = self.of(hello.server_name()).ok_or(Error::NoServerKey)?;
        let key = keys.choose(&hello, now).clone();
        let hello = hello.choose(&key)?;
        Ok(match &keys.manifest {
            Some(manifest) => hello.with_manifest(manifest),
            None => hello,
        })
    }
}

/// The keys of one server over time: the current one, those that come after it, and those that went before.
///
/// A client is answered under the first key that it lists as known, while that is valid; a ticket, under the key that it is from;
/// everybody else, under the current key. So a key can be changed without a flag day: clients learn the next one beforehand, by its
/// fingerprint or from a manifest, and those that know only the one before it are served until its time is over.
///
/// | key | answers | until |
/// |---|---|---|
/// | current | everybody else | it is taken out |
/// | next | those that list it, and their tickets | it is taken out, or made the current one |
/// | retired | those that list it, and their tickets | its time is over |
#[derive(Clone, Debug)]
pub struct KeySet {
    current: ServerKey,
    next: Vec<ServerKey>,
    retired: Vec<(ServerKey, UnixTime)>,
    manifest: Option<SignedManifest>,
}

impl From<ServerKey> for KeySet {
    fn from(current: ServerKey) -> Self {
        Self { current, next: Vec::new(), retired: Vec::new(), manifest: None }
    }
}

impl KeySet {
    /// This key alone.
    pub fn new(current: ServerKey) -> Self {
        current.into()
    }

    /// A key that is to become the current one. Until then only those see it that know it already.
    ///
    /// # Errors
    /// [`Misuse::Duplicate`] for a key that is there already; [`Misuse::TooLong`] as in [`KeySet::with_manifest`].
    pub fn with_next(mut self, key: ServerKey) -> Result<Self, Misuse> {
        self.check_is_new(&key)?;
        check_fits(&key, self.manifest.as_ref())?;
        self.next.push(key);
        Ok(self)
    }

    /// A key that was the current one, for clients that know no other yet, and for the tickets that are from it. From `until` on it
    /// is as one that is not there.
    ///
    /// # Errors
    /// [`Misuse::Duplicate`] for a key that is there already; [`Misuse::TooLong`] as in [`KeySet::with_manifest`].
    pub fn with_retired(mut self, key: ServerKey, until: UnixTime) -> Result<Self, Misuse> {
        self.check_is_new(&key)?;
        check_fits(&key, self.manifest.as_ref())?;
        self.retired.push((key, until));
        Ok(self)
    }

    /// Sends this manifest to clients that ask for one.
    ///
    /// # Errors
    /// [`Misuse::Mismatch`] for one that does not name the current key: no client would take that. [`Misuse::TooLong`] where it does not
    /// fit into a ServerHello beside the certificates of a key.
    pub fn with_manifest(mut self, manifest: SignedManifest) -> Result<Self, Misuse> {
        let current = self.current.public_key().id();
        if !manifest.unverified_body().keys.iter().any(|key| key.id == current) {
            return Err(Misuse::Mismatch);
        }
        self.all().try_for_each(|key| check_fits(key, Some(&manifest)))?;
        self.manifest = Some(manifest);
        Ok(self)
    }

    fn check_is_new(&self, key: &ServerKey) -> Result<(), Misuse> {
        let id = key.public_key().id();
        if self.all().any(|held| held.public_key().id() == id) { Err(Misuse::Duplicate("the keys")) } else { Ok(()) }
    }

    /// The key for everybody who knows no other of them.
    pub fn current(&self) -> &ServerKey {
        &self.current
    }

    /// The keys that come after it.
    pub fn next(&self) -> &[ServerKey] {
        &self.next
    }

    /// The keys that went before, each with the time from which it is not served any more.
    pub fn retired(&self) -> &[(ServerKey, UnixTime)] {
        &self.retired
    }

    /// The manifest that goes to clients which ask for one.
    pub fn manifest(&self) -> Option<&SignedManifest> {
        self.manifest.as_ref()
    }

    /// The key under which this ClientHello is answered now.
    pub fn choose(&self, hello: &ChooseKey, now: UnixTime) -> &ServerKey {
        if self.next.is_empty() && self.retired.is_empty() {
            return &self.current;
        }
        // A secret that the client has sealed is for the first of its known keys, and where it stays closed no ticket is taken.
        let of_ticket = if hello.is_sealed() { None } else { hello.ticket_key(now) };
        let asked_for = of_ticket.into_iter().chain(hello.known_keys()).find_map(|id| self.find(id, now));
        asked_for.unwrap_or(&self.current)
    }

    /// The key of this id, if it is one that is served now.
    fn find(&self, id: KeyId, now: UnixTime) -> Option<&ServerKey> {
        let retired = self.retired.iter().filter(|(_, until)| now < *until).map(|(key, _)| key);
        let mut served = core::iter::once(&self.current).chain(&self.next).chain(retired);
        served.find(|key| key.public_key().id() == id)
    }

    /// All of them, those whose time is over included: the current one first.
    pub fn all(&self) -> impl Iterator<Item = &ServerKey> {
        core::iter::once(&self.current).chain(&self.next).chain(self.retired.iter().map(|(key, _)| key))
    }
}

/// That what speaks for a key fits among the extensions of a ServerHello, with what is said of stretching, and one more that nobody may understand.
fn check_fits(key: &ServerKey, manifest: Option<&SignedManifest>) -> Result<(), Misuse> {
    const WITHOUT_DATA: usize = 4;
    let (limit, length) = (limits::MAX_SERVER_EXTENSIONS, 2_usize);
    let certificates = key.certificates().ders().map(|der| der.len().saturating_add(length));
    let certificates = certificates.fold(1, usize::saturating_add);
    let manifest = manifest.map_or(0, |manifest| manifest.as_bytes().len());
    let rest = WITHOUT_DATA.saturating_mul(3).saturating_add(limits::STRETCHING);
    let len = rest.saturating_add(certificates).saturating_add(manifest);
    match len {
        0..=limits::MAX_SERVER_EXTENSIONS => Ok(()),
        _ => Err(Misuse::TooLong { what: "what certificates and manifest take together", len, limit }),
    }
}

/// The keys of an acceptor and of all its clones: another set takes their place at once and whole.
#[derive(Clone)]
pub(super) struct KeysInUse(Arc<RwLock<Arc<ServerKeys>>>);

impl KeysInUse {
    pub(super) fn new(keys: ServerKeys) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }

    pub(super) fn now(&self) -> Arc<ServerKeys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, keys: ServerKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}
