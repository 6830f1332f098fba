//! *Is this the server's key?* What there is to answer it by.

use super::TrustLevel;
use crate::crypto::{PublicKey, Suite};
use crate::limits;
use crate::terms::context::Context;
use crate::time::UnixTime;
use crate::wire::codec::{self, Bytes, Extensions, List};

/// The number of the extension with certificates.
pub(crate) const CERTIFICATES: u16 = 1;

/// The number of the extension with a manifest.
pub(crate) const MANIFEST: u16 = 2;

/// A key that a server answered under, and all that there is to tell whether it is the right server's.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub(crate) key: &'a PublicKey,
    pub(crate) server_name: &'a str,
    pub(crate) suite: Suite,
    pub(crate) is_proved: bool,
    pub(crate) evidence: &'a Evidence,
    pub(crate) now: UnixTime,
    pub(crate) is_bound: bool,
    pub(crate) context: &'a Context,
    pub(crate) so_far: Option<TrustLevel>,
}

impl<'a> Question<'a> {
    /// The key.
    pub fn key(&self) -> &'a PublicKey {
        self.key
    }

    /// The server name that the client asked for; empty if it named none.
    pub fn server_name(&self) -> &'a str {
        self.server_name
    }

    /// The suite that the server picked.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Whether the server has proved that it holds the key.
    pub fn is_proved(&self) -> bool {
        self.is_proved
    }

    /// The certificates that the server sent, each in DER, its own first; none where it was not asked for them, has none, or sent something else.
    /// Nothing in them has been checked. Up to 8, of 16384 bytes together.
    pub fn certificates(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.evidence.certificates.iter().map(Vec::as_slice)
    }

    /// The manifest that the server sent, unchecked; none where it was not asked for one, or has none. Up to 16384 bytes.
    pub fn manifest(&self) -> Option<&'a [u8]> {
        self.evidence.manifest.as_deref()
    }

    /// The time of day, by the client's clock.
    pub fn now(&self) -> UnixTime {
        self.now
    }

    /// Whether the login is bound to the channel underneath, such as TLS.
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// The connection, as the application described it.
    pub fn context(&self) -> &'a Context {
        self.context
    }

    /// The highest level that those give the key that were asked before; none if none trusts it so far.
    pub fn so_far(&self) -> Option<TrustLevel> {
        self.so_far
    }
}

/// What a server sent beside its key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    certificates: Vec<Vec<u8>>,
    manifest: Option<Vec<u8>>,
}

impl Evidence {
    /// What is in the extensions of a ServerHello that was asked for it. What is not as it should be is no evidence.
    pub(crate) fn read(extensions: &Extensions<'_>, wants: super::Wants) -> Self {
        let find = |number| extensions.iter().find(|extension| extension.number == number).map(|found| found.data.0);
        let list = find(CERTIFICATES).filter(|_| wants.certificates);
        let list = list.and_then(|list| codec::read::<List<Bytes<'_>, { limits::MAX_CERTIFICATES }>>(list).ok());
        let certificates = list.unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect();
        let manifest = find(MANIFEST).filter(|_| wants.manifest).map(<[u8]>::to_vec);
        Self { certificates, manifest }
    }
}
