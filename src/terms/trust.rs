//! Trust: which keys a client takes for its server's (PROTOCOL.md, "Which keys are trusted").
//!
//! A [`Server`] has one way to know a key, or several. Each is asked in turn, and gives an [`Answer`]; the rules by which they
//! become one decision are [`Server`]'s.

mod level;
mod manifest;
mod pins;
mod question;
pub(crate) mod server;
#[cfg(feature = "x509")]
pub mod x509;

pub(crate) use level::Levels;
pub use level::TrustLevel;
pub use manifest::{
    Identity, Manifest, ManifestBody, ManifestError, ManifestFloor, ManifestKey, ManifestStore, MemoryManifests,
    SignedManifest,
};
pub(crate) use pins::Pins;
pub use question::Question;
pub(crate) use question::{CERTIFICATES, Evidence, MANIFEST};
pub use server::{Approved, Server};

use crate::crypto::{KeyId, PublicKey, Suite};
use crate::time::UnixTime;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::error::Error as StdError;
use std::sync::Arc;

/// One way to know a server's key, such as a list of known hosts, or certificates: answers at once, or blocks.
///
/// Ready ones are in [`Server`]'s constructors and in the modules that their features bring; for one of the application's that
/// waits for somebody from async code, see [`AsyncTrust`]. What each kind of mistake costs:
///
/// - trusting without looking at [`Question::key`]: whoever is in the middle gets the credential;
/// - a level above what is so ([`TrustLevel`]): a password goes where only a signature should;
/// - [`Trust::recall`] saying yes for a key that was revoked since: tickets are shown to its thief.
pub trait Trust: Send + Sync {
    /// Says whether the key in question is that of the server that the client means.
    fn decide(&self, question: &Question<'_>) -> Answer;

    /// The keys of this server that it knows whole, the best first: the server proves that it holds the first before a credential leaves. Asked
    /// when a login begins.
    fn known_keys(&self) -> Vec<PublicKey> {
        Vec::new()
    }

    /// What the server is to send beside its key. The default is nothing.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// What it says, at a later login, of a key that it was asked about before, where the server is not here to show evidence: for tickets, which are
    /// shown only if the key that they are from is still trusted. The default is that it can't tell.
    fn recall(&self, key: KeyId, suite: Suite, now: UnixTime) -> Answer {
        let _ = (key, suite, now);
        Answer::Unknown(Untrusted::new("not-recalled", NotRecalled))
    }

    /// What tells this server from others in what the application keeps by server, such as tickets: the same at each start of
    /// the program. Not secret.
    fn scope(&self) -> String;
}

/// As [`Trust`], for an application that decides by itself, from async code: it asks its user, or a service. It is polled where
/// the login's future is, and must not block. The server waits meanwhile, until its handshake's deadline.
pub trait AsyncTrust: Send + Sync {
    /// As [`Trust::decide`].
    fn decide(&self, question: &Question<'_>) -> impl Future<Output = Answer> + Send;

    /// As [`Trust::wants`].
    fn wants(&self) -> Wants {
        Wants::default()
    }
}

/// What a server is to send beside its key, if it has it (PROTOCOL.md, "Extension").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wants {
    /// The certificates of its key: [`Question::certificates`].
    pub certificates: bool,
    /// The manifest of its keys: [`Question::manifest`].
    pub manifest: bool,
}

impl Wants {
    /// The certificates of its key.
    pub const CERTIFICATES: Self = Self { certificates: true, manifest: false };
    /// The manifest of its keys.
    pub const MANIFEST: Self = Self { certificates: false, manifest: true };

    /// What either wants.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { certificates: self.certificates || other.certificates, manifest: self.manifest || other.manifest }
    }
}

/// What one way to know keys says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is the server's, and that is known this well.
    Trusted(TrustLevel),
    /// It can't tell that it is. Another way may.
    Unknown(Untrusted),
    /// It is not the server's, or no longer: nothing else counts then.
    Refused(Untrusted),
}

/// Why a key is not trusted, as one way to know keys sees it.
#[derive(Clone)]
pub struct Untrusted {
    code: &'static str,
    why: Arc<dyn StdError + Send + Sync>,
}

impl Untrusted {
    /// This reason, under a name that stays the same from release to release: lower-case words joined by hyphens.
    pub fn new(code: &'static str, why: impl StdError + Send + Sync + 'static) -> Self {
        Self { code, why: Arc::new(why) }
    }

    /// The name of the reason.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The reason itself, if it is of this type.
    pub fn reason<T: StdError + 'static>(&self) -> Option<&T> {
        self.why.downcast_ref()
    }
}

/// By the name of the reason.
impl PartialEq for Untrusted {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl Eq for Untrusted {}

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Untrusted").field(&self.why).finish()
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.why, f)
    }
}

/// A key that a client does not take for its server's, and why not: what each way to know keys said, in their order, or the one that
/// refused it.
#[derive(Clone, PartialEq, Eq)]
pub struct UntrustedKey {
    key: KeyId,
    why: Arc<[Untrusted]>,
}

impl UntrustedKey {
    /// A key that is not trusted for this reason.
    pub fn new(key: KeyId, why: Untrusted) -> Self {
        Self { key, why: [why].into() }
    }

    pub(crate) fn for_all(key: KeyId, why: Vec<Untrusted>) -> Self {
        Self { key, why: why.into() }
    }

    /// The key.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The reasons; at least one.
    pub fn reasons(&self) -> &[Untrusted] {
        &self.why
    }

    /// Whether the server sent a manifest that is older than the newest that this client has taken.
    pub(crate) fn is_overtaken(&self) -> bool {
        let is_older = |error: &ManifestError| matches!(error, ManifestError::Rollback { .. });
        self.why.iter().any(|why| why.reason().is_some_and(is_older))
    }

    /// The name of the reason, where there is one; otherwise `untrusted-key`.
    pub fn code(&self) -> &'static str {
        match &*self.why {
            [only] => only.code(),
            _ => "untrusted-key",
        }
    }
}

impl fmt::Debug for UntrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntrustedKey").field("key", &self.key).field("why", &self.why).finish()
    }
}

impl fmt::Display for UntrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server's key {} is not trusted; nothing secret was sent", self.key)?;
        for (index, why) in self.why.iter().enumerate() {
            write!(f, "{} {why}", if index == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it can't be told without the server whether this key is still trusted")]
struct NotRecalled;

/// An answer, on its way.
pub(crate) type Deciding<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// [`AsyncTrust`] as an object.
pub(crate) trait DynTrust: Send + Sync {
    fn decide<'a>(&'a self, question: &'a Question<'_>) -> Deciding<'a>;
    fn wants(&self) -> Wants;
}

impl<T: AsyncTrust> DynTrust for T {
    fn decide<'a>(&'a self, question: &'a Question<'_>) -> Deciding<'a> {
        Box::pin(AsyncTrust::decide(self, question))
    }

    fn wants(&self) -> Wants {
        AsyncTrust::wants(self)
    }
}

impl<T: Trust + ?Sized> Trust for Arc<T> {
    fn decide(&self, question: &Question<'_>) -> Answer {
        (**self).decide(question)
    }

    fn known_keys(&self) -> Vec<PublicKey> {
        (**self).known_keys()
    }

    fn wants(&self) -> Wants {
        (**self).wants()
    }

    fn recall(&self, key: KeyId, suite: Suite, now: UnixTime) -> Answer {
        (**self).recall(key, suite, now)
    }

    fn scope(&self) -> String {
        (**self).scope()
    }
}
