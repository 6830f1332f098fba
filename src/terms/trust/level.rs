//! How well a key is known, and what may be sent to it.

use crate::terms::credential::CredentialKind;
use core::fmt;

/// How well a client knows that a key is its server's. The numbers are PROTOCOL.md's ("Which keys are trusted").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum TrustLevel {
    /// It came first, and nothing spoke against it. Whoever was in the middle at that time is trusted instead, for as long as the
    /// key is kept.
    FirstUse = 1,
    /// Somebody vouches for it whom the client was told to believe: the issuer of its certificate.
    Certified = 2,
    /// The client, or its user, knows this very key, or one that speaks for it alone.
    Verified = 3,
}

impl TrustLevel {
    /// Every level, from the lowest.
    pub const ALL: [Self; 3] = [Self::FirstUse, Self::Certified, Self::Verified];
}

impl fmt::Display for TrustLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstUse => "first use",
            Self::Certified => "certified",
            Self::Verified => "verified",
        })
    }
}

/// The level that a credential of each kind needs, where the user has said something else than the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels([Option<TrustLevel>; CredentialKind::ALL.len()]);

impl Levels {
    pub(crate) fn of(&self, kind: CredentialKind) -> TrustLevel {
        let said = CredentialKind::ALL.into_iter().zip(self.0).find(|(other, _)| *other == kind);
        // What is a secret goes to a key that somebody vouches for; what is of no use to whoever sees it, to any.
        said.and_then(|(_, level)| level).unwrap_or_else(|| match kind {
            CredentialKind::Password | CredentialKind::Token => TrustLevel::Certified,
            CredentialKind::Key => TrustLevel::FirstUse,
            CredentialKind::Stretched => self.of(CredentialKind::Password),
        })
    }

    pub(crate) fn set(&mut self, kind: CredentialKind, level: TrustLevel) {
        for (slot, other) in self.0.iter_mut().zip(CredentialKind::ALL) {
            if other == kind {
                *slot = Some(level);
            }
        }
    }
}
