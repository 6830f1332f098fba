//! Grants: who a client is, and what it may do.

use crate::limits;
use crate::terms::error::{Misuse, Violation, codes};
use crate::wire::codec::{Bytes, Field, GrantMessage, List, Text, VerdictMessage};

/// A principal and its permissions: what a server's verifier says of a good credential, and what both ends hold after
/// the login.
///
/// A grant always fits in a verdict; that is checked here, once.
///
/// # What a permission covers
///
/// By convention a permission is made of parts, joined by colons: `orders:read`. One whose last part is `*` covers
/// whatever begins with what stands before the `*`, however many parts that has: `orders:*` covers `orders:read` and
/// `orders:eu:read`, and neither `orders` nor `orders:`; `*` alone covers everything. Any other permission covers itself
/// alone. All of it is compared byte for byte. What is asked for never has a `*`: to ask for one is to be refused, even of a
/// grant that has the very same (PROTOCOL.md, "Permissions").
///
/// ```
/// use countersign::Grant;
///
/// let grant = Grant::new("alice", ["orders:*", "reports:read"])?;
/// assert!(grant.permits("orders:write") && grant.permits("reports:read"));
/// assert!(!grant.permits("reports:write") && !grant.permits("orders:*"));
/// let missing = grant.require("reports:write").unwrap_err();
/// assert_eq!(missing.to_string(), "you need the permission reports:write for this");
/// # Ok::<(), countersign::Misuse>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    principal: String,
    /// Joined by commas, which none of them has.
    permissions: String,
    epoch: Option<u64>,
    credential_epoch: Option<u64>,
}

/// The numbers of an account and of its credentials, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    pub(crate) account: Option<u64>,
    pub(crate) credential: Option<u64>,
}

impl Grant {
    /// A grant for `principal` (1 to 255 bytes, no control characters) with up to 32 different permissions (1 to 64
    /// bytes each, printable ASCII without spaces and commas; a `*` is a part of its own, and the last). Order is kept.
    ///
    /// # Errors
    /// [`Misuse`] where one of them is out of bounds, or all together take more than 1024 bytes in a verdict.
    pub fn new<P: AsRef<str>>(
        principal: impl Into<String>,
        permissions: impl IntoIterator<Item = P>,
    ) -> Result<Self, Misuse> {
        let permissions = permissions.into_iter();
        let room = permissions.size_hint().0.min(limits::MAX_PERMISSIONS).saturating_mul(16);
        let permissions_joined = String::with_capacity(room);
        let mut grant =
            Self { principal: principal.into(), permissions: permissions_joined, epoch: None, credential_epoch: None };
        within("the principal", &grant.principal, limits::MAX_PRINCIPAL, |c| !c.is_control())?;
        for (count, permission) in permissions.enumerate() {
            let permission = permission.as_ref();
            within("a permission", permission, limits::MAX_PERMISSION, is_of_permissions)?;
            // A `*` elsewhere looks as if it covered something.
            if wildcard(permission).unwrap_or(permission).contains('*') {
                return Err(Misuse::BadInput("a permission"));
            }
            if count >= limits::MAX_PERMISSIONS {
                return Err(Misuse::TooMany { what: "the permissions", limit: limits::MAX_PERMISSIONS });
            }
            if grant.has(permission) {
                return Err(Misuse::Duplicate("the permissions"));
            }
            if count > 0 {
                grant.permissions.push(',');
            }
            grant.permissions.push_str(permission);
        }
        let len = grant.to_message().size();
        if len > limits::MAX_GRANT {
            return Err(Misuse::TooLong { what: "the grant", len, limit: limits::MAX_GRANT });
        }
        Ok(grant)
    }

    /// Whom the client is logged in as.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// What they may do.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        self.permissions.split(',').filter(|permission| !permission.is_empty())
    }

    /// Sets the account's epoch: a number that is another whenever the password, the permissions or anything else about
    /// the account has changed, and never one that an account of this name had before. Without one a login gets no ticket. It
    /// stays with the server and its tickets.
    ///
    /// In a store of your own, write a random number at each change, beside it and in one transaction, and for each new account:
    /// nobody can guess it, even with a stolen ticket key. A count does as well against all others, if it goes on where it was
    /// when an account of that name comes anew. Neither may come back with a backup: one that is restored brings the accounts of that day,
    /// and with their epochs the tickets of that day. So write new random numbers to all accounts after it, or keep the count
    /// where the backup does not reach. A hash of the account alone repeats as soon as the account does.
    #[must_use]
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// The account's epoch, at the server; never at the client.
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// Sets the epoch of the account's credentials: a number that is another whenever what this login was made with may be good no
    /// more (the password was changed, a token or a key taken away, a second factor set up anew), and that stays the same whatever
    /// else about the account changes. It never leaves the server.
    ///
    /// A session ends where it is seen to be another, and goes on with the new permissions where the epoch alone is
    /// ([`crate::Recheck`]). Without one, any change of the epoch ends it.
    #[must_use]
    pub fn with_credential_epoch(mut self, epoch: u64) -> Self {
        self.credential_epoch = Some(epoch);
        self
    }

    /// The epoch of the account's credentials, at the server; never at the client.
    pub fn credential_epoch(&self) -> Option<u64> {
        self.credential_epoch
    }

    /// Less than this grant, for a [policy](crate::Verifier::with_policy): what both it and `permissions` cover. Of `orders:*` and
    /// `orders:read` that is `orders:read`. Principal and epochs stay.
    ///
    /// # Errors
    /// [`Misuse`] where one of `permissions` can't be one, or where too many are left.
    pub fn narrowed_to<P: AsRef<str>>(&self, permissions: impl IntoIterator<Item = P>) -> Result<Self, Misuse> {
        let mut left: Vec<String> = Vec::new();
        for permission in permissions {
            let permission = permission.as_ref();
            // One that can't be given is a slip, and must not pass for one that nobody has.
            Self::new("-", [permission])?;
            let both =
                self.permissions().filter_map(|held| match (covers(held, permission), covers(permission, held)) {
                    (true, _) => Some(permission),
                    (_, true) => Some(held),
                    _ => None,
                });
            for both in both {
                if !left.iter().any(|left| left == both) {
                    left.push(both.to_owned());
                }
            }
        }
        Ok(Self::new(self.principal.as_str(), left)?.with_epochs_of(self))
    }

    pub(crate) fn epochs(&self) -> Epochs {
        Epochs { account: self.epoch, credential: self.credential_epoch }
    }

    pub(crate) fn with_epochs_of(self, other: &Self) -> Self {
        Self { epoch: other.epoch, credential_epoch: other.credential_epoch, ..self }
    }

    /// Whether one of the grant's permissions covers this one; never where it has a `*`, or can't be a permission.
    #[must_use = "this decides what they may do"]
    pub fn permits(&self, permission: &str) -> bool {
        let can_be_asked_for = within("", permission, limits::MAX_PERMISSION, |c| is_of_permissions(c) && c != '*');
        can_be_asked_for.is_ok() && self.permissions().any(|held| covers(held, permission))
    }

    /// As [`Grant::permits`], for `?`.
    ///
    /// # Errors
    /// [`Forbidden`], which becomes an [`std::io::Error`] of the kind [`std::io::ErrorKind::PermissionDenied`].
    pub fn require(&self, permission: &str) -> Result<(), Forbidden> {
        if self.permits(permission) {
            Ok(())
        } else {
            Err(Forbidden { permission: permission.to_owned(), has_ended: false })
        }
    }

    /// Whether this very permission is among the grant's, as it is written.
    fn has(&self, permission: &str) -> bool {
        self.permissions().any(|held| held == permission)
    }

    pub(crate) fn to_message(&self) -> GrantMessage<'_> {
        let mut permissions = List::new();
        for permission in self.permissions() {
            // Never full: `new` counted them.
            let _ = permissions.push(Text(permission));
        }
        GrantMessage { decision: ACCEPT, principal: Text(&self.principal), permissions }
    }

    /// The grant that a verdict carries.
    pub(crate) fn from_message(message: &VerdictMessage<'_>) -> Result<Result<Self, NoGrant>, Violation> {
        let GrantMessage { decision, principal, permissions } = &message.grant;
        if *decision == ACCEPT {
            let grant = Self::new(principal.0, permissions.iter().map(|text| text.0));
            return grant.map(Ok).map_err(|_| Violation::BadString("the grant"));
        }
        let no_grant = NoGrant::from_number(*decision).ok_or(Violation::UnknownDecision(*decision))?;
        // Extensions may come with any decision.
        let VerdictMessage { grant, ticket, ticket_lifetime, .. } = no_grant.to_message();
        let is_bare = message.grant == grant && message.ticket == ticket && message.ticket_lifetime == ticket_lifetime;
        if is_bare { Ok(Err(no_grant)) } else { Err(Violation::BadString("the grant of a rejection")) }
    }
}

const ACCEPT: u8 = 1;

/// A decision that grants nothing. The numbers are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum NoGrant {
    Reject = 0,
    NotNow = 2,
    Factor = 3,
}

impl NoGrant {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Reject, Self::NotNow, Self::Factor].into_iter().find(|decision| decision.number() == number)
    }

    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    /// The verdict that says so.
    pub(crate) fn to_message(self) -> VerdictMessage<'static> {
        let grant = GrantMessage { decision: self.number(), principal: Text(""), permissions: List::new() };
        VerdictMessage { grant, ticket: Bytes(b""), ticket_lifetime: 0, extensions: List::new() }
    }
}

/// The peer may not do this: it needs a permission that it does not have, or its session has ended.
///
/// What it prints names the permission alone, and can be shown to the client. It is an answer inside the session, which goes on unless
/// [`Forbidden::has_ended`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", forbidden(permission, *has_ended))]
#[non_exhaustive]
pub struct Forbidden {
    /// What is missing, as it was asked for.
    pub permission: String,
    /// The session was ended from outside, and permits nothing any more: [`crate::CurrentGrant::check`] says why.
    pub has_ended: bool,
}

codes!(Forbidden {
    Self { has_ended: true, .. } => "session-ended",
    Self { has_ended: false, .. } => "forbidden",
});

fn forbidden(permission: &str, has_ended: bool) -> String {
    if has_ended {
        "the session has ended".to_owned()
    } else {
        format!("you need the permission {permission} for this")
    }
}

impl From<Forbidden> for std::io::Error {
    fn from(error: Forbidden) -> Self {
        Self::new(std::io::ErrorKind::PermissionDenied, error)
    }
}

fn is_of_permissions(c: char) -> bool {
    c.is_ascii_graphic() && c != ','
}

/// What a permission that ends in a wildcard has in front of it: the colon with it, or nothing.
fn wildcard(permission: &str) -> Option<&str> {
    permission.strip_suffix('*').filter(|front| front.is_empty() || front.ends_with(':'))
}

/// Whether whatever `asked` covers is covered by `held`.
fn covers(held: &str, asked: &str) -> bool {
    match wildcard(held) {
        Some(front) => asked.len() > front.len() && asked.starts_with(front),
        None => held == asked,
    }
}

fn within(what: &'static str, text: &str, limit: usize, allowed: impl Fn(char) -> bool) -> Result<(), Misuse> {
    if text.len() > limit {
        return Err(Misuse::TooLong { what, len: text.len(), limit });
    }
    if text.is_empty() || !text.chars().all(allowed) {
        return Err(Misuse::BadInput(what));
    }
    Ok(())
}
