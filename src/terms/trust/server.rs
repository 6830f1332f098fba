//! What a client knows of a server: its name, which of its keys to send a secret to, and how weak it may be.

use super::{Answer, AsyncTrust, DynTrust, Levels, Pins, Question, Trust, TrustLevel, Untrusted, UntrustedKey, Wants};
use crate::crypto::{KeyExchange, KeyId, PublicKey, Suite};
use crate::limits;
use crate::terms::credential::CredentialKind;
use crate::terms::error::{Error, Misuse};
use crate::time::UnixTime;
use core::fmt;
use core::future::Future;
use core::task::{self, Poll};
use std::sync::Arc;

/// A server as its clients know it: its name, how its keys are known, and the weakest key exchange to accept from their
/// owners.
///
/// Nothing is trusted by default: there is no way to make one that trusts no key, or every key. Several ways to know a key serve
/// to replace it without a flag day, or to get to know it: [`Server::or`]. They are asked in the order in which they were given.
/// A key that one of them refuses ([`Answer::Refused`]: it is revoked, or another has taken its place) is not trusted, whatever the others
/// say; otherwise the highest level counts.
///
/// ```
/// use countersign::{KeyId, Server};
///
/// let pin: KeyId = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".parse()?;
/// let server = Server::pinned(pin).with_name("db.example")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Server {
    name: String,
    ways: Vec<Way>,
    /// A key that the server told, to be proved.
    told: Option<PublicKey>,
    floor: KeyExchange,
    needs_proof: bool,
    needs_binding: bool,
    levels: Levels,
    passwords: Passwords,
}

/// How passwords go to a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passwords {
    /// Never as they are.
    pub(crate) stretched_only: bool,
    /// Stretched for this realm alone.
    pub(crate) realm: Option<String>,
}

/// A way to know keys.
#[derive(Clone)]
enum Way {
    Now(Arc<dyn Trust>),
    Later(Arc<dyn DynTrust>),
}

impl Server {
    /// The server whose key has this fingerprint.
    pub fn pinned(id: KeyId) -> Self {
        Self::trusting(Pins::pin(id))
    }

    /// The server with this key. Better than its fingerprint: the server then proves that it holds the key before a credential
    /// leaves, so that no credential can be read by whoever steals the key later.
    pub fn key(key: PublicKey) -> Self {
        Self::trusting(Pins::key(key))
    }

    /// The server whose keys are known this way.
    pub fn trusting(trust: impl Trust + 'static) -> Self {
        Self::new(Way::Now(Arc::new(trust)))
    }

    /// The server whose keys the application decides on from async code.
    ///
    /// A machine that is driven by hand asks it through [`Server::decide`].
    pub fn trusting_async(trust: impl AsyncTrust + 'static) -> Self {
        Self::new(Way::Later(Arc::new(trust)))
    }

    fn new(way: Way) -> Self {
        Self {
            name: String::new(),
            ways: vec![way],
            told: None,
            // The floor keeps a stolen or coerced key from being used to strip forward secrecy.
            floor: KeyExchange::X25519,
            needs_proof: true,
            needs_binding: false,
            levels: Levels::default(),
            passwords: Passwords::default(),
        }
    }

    /// Trusts the keys that `other` trusts, too, under the higher floor of the two, and wants a proof, a channel binding, and stretched
    /// passwords alone, if one of the two does. The realm is `other`'s where this has none. The name stays, and so does what each kind of
    /// credential needs.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.ways.extend(other.ways);
        self.floor = self.floor.max(other.floor);
        self.needs_proof |= other.needs_proof;
        self.needs_binding |= other.needs_binding;
        self.passwords.stretched_only |= other.passwords.stretched_only;
        // Without one, whoever is trusted says for which.
        self.passwords.realm = self.passwords.realm.or(other.passwords.realm);
        self
    }

    /// Goes on, where a key is known whole and the server answers without a proof, as with a fingerprint alone: who answered in the
    /// server's place can read the credential if they get its private key later.
    #[must_use]
    pub fn without_proof(mut self) -> Self {
        self.needs_proof = false;
        self
    }

    /// Sends nothing secret over a connection that is not bound to the channel underneath, such as TLS: no key is trusted there.
    #[must_use]
    pub fn with_required_binding(mut self) -> Self {
        self.needs_binding = true;
        self
    }

    /// Never sends a password itself: only what it is stretched to, and that only if the server takes it ([`crate::Stretching`]). Also where the server
    /// would like the password beside it, so that its account can move.
    #[must_use]
    pub fn with_stretched_only(mut self) -> Self {
        self.passwords.stretched_only = true;
        self
    }

    /// Stretches passwords for this realm alone. Without it the server says for which: one that is trusted, and wants to log in elsewhere, could name
    /// another server's realm, where the user has the same password.
    #[must_use]
    pub fn with_realm(mut self, realm: impl Into<String>) -> Self {
        self.passwords.realm = Some(realm.into());
        self
    }

    /// Sends credentials of this kind to keys that are known at least this well. The default is [`TrustLevel::Certified`] for a password
    /// or a token, what a password needs for a stretched one, and [`TrustLevel::FirstUse`] for a key, whose signature is of no use to whoever sees it.
    #[must_use]
    pub fn with_level_for(mut self, kind: CredentialKind, level: TrustLevel) -> Self {
        self.levels.set(kind, level);
        self
    }

    /// Names the server that is wanted, for machines with several: up to 255 bytes of printable ASCII without spaces. It crosses
    /// the wire in the clear.
    ///
    /// # Errors
    /// [`Misuse::BadInput`].
    pub fn with_name(mut self, name: &str) -> Result<Self, Misuse> {
        if !is_server_name(name) {
            return Err(Misuse::BadInput("the server name"));
        }
        name.clone_into(&mut self.name);
        Ok(self)
    }

    /// Sets the weakest key exchange to accept. The default is [`KeyExchange::X25519`]: forward secrecy.
    ///
    /// To log in with a suite without forward secrecy, lower this to [`KeyExchange::Rsa`] and offer such a suite.
    #[must_use]
    pub fn with_floor(mut self, floor: KeyExchange) -> Self {
        self.floor = floor;
        self
    }

    /// The name; empty for none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys that are known whole, each once, the one to be proved first.
    pub fn known_keys(&self) -> Vec<PublicKey> {
        let mut known: Vec<PublicKey> = self.told.iter().cloned().collect();
        for mut keys in self.asked_now().map(|way| way.known_keys(&self.name)) {
            keys.retain(|key| known.iter().all(|known| known.id() != key.id()));
            if known.is_empty() {
                known = keys;
            } else {
                known.append(&mut keys);
            }
        }
        known
    }

    /// What the server is asked for beside its key.
    pub fn wants(&self) -> Wants {
        let wants = self.ways.iter().map(|way| match way {
            Way::Now(way) => way.wants(),
            Way::Later(way) => way.wants(),
        });
        wants.fold(Wants::default(), Wants::or)
    }

    /// What a [`crate::TicketCache`] keeps its tickets under: the name, and what the first way to know its keys says of itself, such as the first
    /// fingerprint. Not secret.
    pub fn scope(&self) -> String {
        let first = match self.ways.first() {
            Some(Way::Now(way)) => way.scope(),
            Some(Way::Later(_)) | None => String::new(),
        };
        format!("{} {first}", self.name)
    }

    /// Knows this key whole, and has the server prove first that it holds this one. Trusts no other key because of it.
    pub(crate) fn with_known_key(&self, key: &PublicKey) -> Self {
        Self { told: Some(key.clone()), ..self.clone() }
    }

    /// Whether a credential waits for a proof, where these of its keys are known whole.
    pub(crate) fn needs_proof(&self, known_keys: &[PublicKey]) -> bool {
        self.needs_proof && !known_keys.is_empty()
    }

    fn asked_now(&self) -> impl Iterator<Item = &dyn Trust> {
        self.ways.iter().filter_map(|way| match way {
            Way::Now(way) => Some(&**way),
            Way::Later(_) => None,
        })
    }

    /// Decides whether the key in question is this server's, well enough known for anything to be sent to it: what
    /// [`crate::client::Challenge::approve`] takes.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::UnderFloor`].
    pub async fn decide(&self, question: &Question<'_>) -> Result<Approved, Error> {
        let mut verdict = Verdict::begin(self, question)?;
        for way in &self.ways {
            let question = Question { so_far: verdict.level, ..*question };
            let answer = match way {
                Way::Now(way) => way.decide(&question),
                Way::Later(way) => way.decide(&question).await,
            };
            verdict.hear(answer)?;
        }
        verdict.end(self)
    }

    /// As [`Server::decide`], where nobody is asked who answers later: those that would ([`Server::trusting_async`]) have not answered.
    pub(crate) fn decide_now(&self, question: &Question<'_>) -> Result<Approved, Error> {
        let mut deciding = core::pin::pin!(self.decide(question));
        match deciding.as_mut().poll(&mut task::Context::from_waker(task::Waker::noop())) {
            Poll::Ready(decided) => decided,
            Poll::Pending => {
                let why = Untrusted::new("undecided-key", Undecided);
                Err(Error::Untrusted(UntrustedKey::new(question.key.id(), why)))
            }
        }
    }

    /// Whether a key of an earlier login is still trusted, as far as that can be told without the server.
    pub(crate) fn recalls(&self, key: KeyId, suite: Suite, now: UnixTime) -> bool {
        let answers: Vec<Answer> = self.asked_now().map(|way| way.recall(key, suite, &self.name, now)).collect();
        let is_refused = answers.iter().any(|answer| matches!(answer, Answer::Refused(_)));
        let is_trusted = answers.iter().any(|answer| matches!(answer, Answer::Trusted(_)));
        suite.key_exchange >= self.floor && is_trusted && !is_refused
    }
}

/// A decision on its way.
struct Verdict {
    key: KeyId,
    is_known_whole: bool,
    level: Option<TrustLevel>,
    why: Vec<Untrusted>,
}

impl Verdict {
    fn begin(server: &Server, question: &Question<'_>) -> Result<Self, Error> {
        let key = question.key.id();
        if server.needs_binding && !question.is_bound {
            let why = Untrusted::new("no-channel-binding", NotBound);
            return Err(Error::Untrusted(UntrustedKey::new(key, why)));
        }
        if question.suite.key_exchange < server.floor {
            return Err(Error::UnderFloor(question.suite));
        }
        // Before anybody is asked: a key that is kept from now on was not known.
        Ok(Self { key, is_known_whole: !server.known_keys().is_empty(), level: None, why: Vec::new() })
    }

    fn hear(&mut self, answer: Answer) -> Result<(), Error> {
        match answer {
            Answer::Trusted(level) => self.level = self.level.max(Some(level)),
            Answer::Unknown(why) => self.why.push(why),
            Answer::Refused(why) => return Err(Error::Untrusted(UntrustedKey::new(self.key, why))),
        }
        Ok(())
    }

    fn end(self, server: &Server) -> Result<Approved, Error> {
        let Some(level) = self.level else {
            return Err(Error::Untrusted(UntrustedKey::for_all(self.key, self.why)));
        };
        Ok(Approved {
            key: self.key,
            level,
            server_name: server.name.clone(),
            needs_proof: server.needs_proof && self.is_known_whole,
            levels: server.levels.clone(),
            passwords: server.passwords.clone(),
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("this connection is not bound to a channel such as TLS, as it has to be")]
struct NotBound;

#[derive(Debug, thiserror::Error)]
#[error("nobody has decided on it yet")]
struct Undecided;

/// A key that was found to be the right server's: [`Server::decide`] makes it.
pub struct Approved {
    pub(crate) key: KeyId,
    pub(crate) level: TrustLevel,
    pub(crate) server_name: String,
    pub(crate) needs_proof: bool,
    pub(crate) levels: Levels,
    pub(crate) passwords: Passwords,
}

impl Approved {
    /// The key.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// How well it is known.
    pub fn level(&self) -> TrustLevel {
        self.level
    }
}

impl fmt::Debug for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approved").field("key", &self.key).field("level", &self.level).finish_non_exhaustive()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<String> = self.asked_now().map(Trust::scope).collect();
        f.debug_struct("Server").field("name", &self.name).field("trusting", &scopes).finish_non_exhaustive()
    }
}

/// Server names are DNS-like: up to 255 bytes of printable ASCII without spaces.
pub(crate) fn is_server_name(name: &str) -> bool {
    name.len() <= limits::MAX_SERVER_NAME && name.bytes().all(|byte| byte.is_ascii_graphic())
}
