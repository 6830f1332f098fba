//! Verifiers: where the application says whether a credential is good.

use super::context::{Context, Source};
use super::credential::{Credential, CredentialKind};
use super::error::Reason;
use super::factor::Prompt;
use super::grant::{Epochs, Grant};
use super::policy::{PolicyRequest, WithPolicy};
use crate::time::UnixTime;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use futures_channel::oneshot;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A credential, and who shows it.
pub struct Attempt<'a> {
    pub(crate) credential: Credential<'a>,
    pub(crate) asker: Asker<'a>,
}

/// Somebody who was let in as this principal before: the client shows a ticket, whose secret it holds, or has a session that is
/// looked at again.
pub struct Returning<'a> {
    pub(crate) principal: &'a str,
    pub(crate) kind: CredentialKind,
    pub(crate) authenticated: UnixTime,
    pub(crate) is_session: bool,
    pub(crate) epochs: Epochs,
    pub(crate) asker: Asker<'a>,
}

/// A login whose credential is good, and the further factors so far: is that enough?
pub struct Further<'a> {
    pub(crate) good: Good<'a>,
    pub(crate) asker: Asker<'a>,
}

/// The answer to a request for a further factor, and who gives it.
pub struct FactorAttempt<'a> {
    pub(crate) answer: &'a [u8],
    pub(crate) good: Good<'a>,
    pub(crate) asker: Asker<'a>,
}

/// What is good so far of a login.
#[derive(Clone, Copy)]
pub(crate) struct Good<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) kind: CredentialKind,
    pub(crate) step: usize,
}

/// What is known of whoever asks to be let in.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) server_name: &'a str,
    pub(crate) context: &'a Context,
    /// Where costly work is done; here, if nowhere else.
    pub(crate) pool: Option<&'a dyn Pool>,
}

/// Threads for work that would hold up others.
pub(crate) trait Pool: Sync {
    /// Does `work` for a login from this source before any login that has not begun; false where there is no room.
    fn submit(&self, source: &Source, work: Box<dyn FnOnce() + Send>) -> bool;
}

macro_rules! asker {
    ($($type:ident),*) => { $(
        impl<'a> $type<'a> {
            /// As if the client had asked for the server of this name.
            #[must_use]
            pub fn with_server_name(mut self, name: &'a str) -> Self {
                self.asker.server_name = name;
                self
            }

            /// The connection, as the application described it.
            pub fn context(&self) -> &Context {
                self.asker.context
            }

            /// The server name that the client asked for; empty if it named none.
            pub fn server_name(&self) -> &str {
                self.asker.server_name
            }

            /// Does work that takes a processor, such as a password hash, where it holds up nobody else: on one of the acceptor's
            /// threads, as many at once as it has, before any login that has not begun. Where there are none (a machine driven
            /// by hand), it is done at once.
            ///
            /// # Errors
            /// [`Reason::NotNow`] where there is no room, [`Reason::VerifierFailed`] where the work panicked.
            pub async fn compute<R: Send + 'static>(
                &self,
                work: impl FnOnce() -> R + Send + 'static,
            ) -> Result<R, Reason> {
                self.asker.compute(work).await
            }
        }

        impl fmt::Debug for $type<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("context", self.asker.context).finish_non_exhaustive()
            }
        }
    )* };
}
asker!(Attempt, Returning, Further, FactorAttempt);

impl<'a> Attempt<'a> {
    /// An attempt, to ask a [`Verifier`] about: for machines that are driven by hand, with [`crate::server::Claim::credential`],
    /// and for tests of verifiers.
    pub fn new(credential: Credential<'a>, context: &'a Context) -> Self {
        Self { credential, asker: Asker::new(context) }
    }

    /// The credential to check. A login that did not open comes with one that no account matches, of the first kind that the
    /// server takes: an empty user and password, or an empty token. Check it like any other, so that its refusal costs what others
    /// cost; whatever the verifier says of it, it is refused.
    pub fn credential(&self) -> Credential<'a> {
        self.credential
    }
}

impl<'a> Returning<'a> {
    /// A return, to ask a [`Verifier`] about, with what a [`crate::FreshTicket`] says: for machines that are driven by hand, and
    /// for tests of verifiers.
    pub fn new(principal: &'a str, kind: CredentialKind, authenticated: UnixTime, context: &'a Context) -> Self {
        Self {
            principal,
            kind,
            authenticated,
            is_session: false,
            epochs: Epochs::default(),
            asker: Asker::new(context),
        }
    }

    /// With the account's epoch, as the ticket has it ([`crate::FreshTicket::epoch`]) or the session's grant: of several keys of an
    /// account it says which was shown.
    #[must_use]
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epochs.account = Some(epoch);
        self
    }

    /// With the epoch of the credential, as the session's grant has it.
    #[must_use]
    pub fn with_credential_epoch(mut self, epoch: u64) -> Self {
        self.epochs.credential = Some(epoch);
        self
    }

    /// As if this were asked about a session that is open.
    #[must_use]
    pub fn of_session(mut self) -> Self {
        self.is_session = true;
        self
    }

    /// Whether this is asked about a session that is open ([`crate::Recheck`]), and not about a ticket that is shown.
    pub fn is_session(&self) -> bool {
        self.is_session
    }

    /// Whom they were let in as.
    pub fn principal(&self) -> &str {
        self.principal
    }

    /// Of what kind the credential was that they last showed. The grant must be no more than what a login with such a
    /// credential gives: a token for one purpose must not come back as the whole account.
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// When they last showed a credential.
    pub fn authenticated(&self) -> UnixTime {
        self.authenticated
    }

    /// The account's epoch when they were let in ([`Grant::with_epoch`]), or when their session was last looked at.
    pub fn epoch(&self) -> Option<u64> {
        self.epochs.account
    }

    /// The epoch of the credential that they were let in by ([`Grant::with_credential_epoch`]): of a session, as a ticket does not keep it.
    pub fn credential_epoch(&self) -> Option<u64> {
        self.epochs.credential
    }
}

macro_rules! good {
    ($($type:ident),*) => { $(
        impl<'a> $type<'a> {
            /// What the verifier granted for the credential. Nobody is let in with it before the last factor.
            pub fn grant(&self) -> &'a Grant {
                self.good.grant
            }

            /// Of what kind the credential was.
            pub fn kind(&self) -> CredentialKind {
                self.good.kind
            }

            /// How many further factors were good before: 0 to 4.
            pub fn step(&self) -> usize {
                self.good.step
            }
        }
    )* };
}
good!(Further, FactorAttempt);

impl<'a> Further<'a> {
    /// A login that may need a further factor, to ask a [`Verifier`] about: for machines that are driven by hand, and for tests of
    /// verifiers.
    pub fn new(grant: &'a Grant, kind: CredentialKind, step: usize, context: &'a Context) -> Self {
        Self { good: Good { grant, kind, step }, asker: Asker::new(context) }
    }
}

impl<'a> FactorAttempt<'a> {
    /// An answer, to ask a [`Verifier`] about, with [`crate::server::FactorClaim::answer`]: for machines that are driven by hand,
    /// and for tests of verifiers.
    pub fn new(answer: &'a [u8], grant: &'a Grant, kind: CredentialKind, step: usize, context: &'a Context) -> Self {
        Self { answer, good: Good { grant, kind, step }, asker: Asker::new(context) }
    }

    /// The answer: 1 to 256 bytes.
    pub fn answer(&self) -> &'a [u8] {
        self.answer
    }
}

impl<'a> Asker<'a> {
    fn new(context: &'a Context) -> Self {
        Self { server_name: "", context, pool: None }
    }

    pub(crate) async fn compute<R: Send + 'static>(
        self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Reason> {
        let Some(pool) = self.pool else {
            return catch_unwind(AssertUnwindSafe(work)).map_err(|_| Reason::VerifierFailed);
        };
        let (answer, answered) = oneshot::channel();
        // Whoever asked may be gone when it is done.
        let submitted = pool.submit(self.context.source(), Box::new(move || drop(answer.send(work()))));
        if !submitted {
            return Err(Reason::NotNow("no thread is free to check the credential"));
        }
        answered.await.map_err(|_| Reason::VerifierFailed)
    }
}

/// Says whether a credential is good, and for what: a store that answers at once or may block, asked on one of the acceptor's
/// threads. For one that is asked over a network from async code, see [`AsyncVerifier`].
///
/// Any `Fn(&Attempt<'_>) -> Result<Grant, Reason>` is one. What each kind of mistake costs:
///
/// - returning a grant without checking: anyone logs in;
/// - skipping the password hash for an unknown user: names can be enumerated, up to the refusal floor's hiding it.
///   `PasswordCheck` (feature `accounts`) does the same work for them;
/// - giving out grants with an epoch that stays the same when an account changes, or that comes back with an earlier state of
///   it: tickets outlive the change ([`Grant::with_epoch`] says how to make one);
/// - treating an empty password as "anonymous" in a directory behind it: nothing, since a login with an empty secret
///   never opens and is refused whatever the verifier says.
///
/// A verifier that can't tell (its database is away) says [`Reason::NotNow`], which must not depend on the credential: it costs whoever guesses nothing.
/// One that has handed the credential to somebody else to check, and has no answer, says [`Reason::NoAnswer`]: that counts as a guess. One that panics
/// ends in the same refusal as any other, at the same moment.
///
/// It needs a timeout of its own for whatever it waits for. A login is given up once
/// [`crate::ServerConfig::with_handshake_timeout`] has passed since it arrived: its connection is closed without a verdict. But
/// nothing ends the call: one that hangs takes one of the acceptor's threads for good. (An [`AsyncVerifier`]'s future is dropped at that
/// moment, and the client told "not now"; the login counts as a guess, [`Reason::NoAnswer`].) So give up before that, and say [`Reason::NotNow`], where it is a store that hangs,
/// and nobody has looked at the credential: else an outage makes everybody wait for the guesses that they did not make.
pub trait Verifier: Send + Sync {
    /// Checks a credential. An unknown user must cost what a wrong password costs.
    ///
    /// # Errors
    /// The local reason for the refusal; it goes to the audit log and never onto the wire.
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason>;

    /// The account as it is now, with its epoch: asked when a client shows a ticket instead of a credential, and about each open session
    /// every half minute ([`crate::Recheck`]). An error sends a client with a ticket the longer way: it must then show a
    /// credential. It ends a session, unless it says that nobody can tell now ([`Reason::NotNow`]). Where credentials of different
    /// kinds give different permissions, mind [`Returning::kind`].
    ///
    /// The default is [`Reason::ResumeUnsupported`]: a verifier that does not know of this lets no ticket in, and its sessions are
    /// left alone.
    ///
    /// # Errors
    /// The local reason.
    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        let _ = returning;
        Err(Reason::ResumeUnsupported)
    }

    /// Whether more is needed than the credential, which was good, and the further factors so far: the prompt for the next one, or none
    /// where that is enough. Asked right after [`Verifier::verify`], and after each [`Verifier::check_factor`]; four factors at most. A client
    /// that can't be asked is refused.
    ///
    /// The default is none: credentials are enough.
    ///
    /// # Errors
    /// The local reason for a refusal.
    fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        let _ = further;
        Ok(None)
    }

    /// Checks the answer for a further factor, the one that [`Verifier::further`] asked for at this step. A minute may have passed
    /// since [`Verifier::verify`]: look whether the account is still as it was. There is one attempt in a handshake; count those that
    /// fail, by account: a code of six digits is guessed soon.
    ///
    /// The default is an error: a verifier that does not know of further factors never takes one.
    ///
    /// # Errors
    /// The local reason for the refusal.
    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        let _ = attempt;
        Err(Reason::WrongFactor)
    }

    /// Has a policy asked about whatever this verifier grants, at logins, for tickets, and about open sessions: for what depends on more than
    /// the account, such as the hour, the tenant, or the device. It sees the grant, the connection, the server name and the kind of
    /// credential, and gives the grant that counts ([`Grant::narrowed_to`] makes a smaller one) or a reason for a refusal, which looks
    /// like any other from outside. It is not asked about a credential that is not good, and must not block.
    ///
    /// The principal has to stay the same, and the epochs do: what a policy says may change at any time by itself.
    ///
    /// ```
    /// use countersign::{Attempt, Grant, PolicyRequest, Reason, Verifier};
    /// # let verifier = |_: &Attempt<'_>| Ok(Grant::new("alice", ["orders:*"])?);
    /// # fn is_open() -> bool { true }
    ///
    /// let verifier = verifier.with_policy(|request: &PolicyRequest<'_>| {
    ///     if request.server_name() == "test.example" {
    ///         return Err(Reason::Application("no clerks on the test system"));
    ///     }
    ///     if is_open() { Ok(request.grant().clone()) } else { Ok(request.grant().narrowed_to(["orders:read"])?) }
    /// });
    /// # let _: &dyn Verifier = &verifier;
    /// ```
    fn with_policy<P>(self, policy: P) -> WithPolicy<Self, P>
    where
        Self: Sized,
        P: Fn(&PolicyRequest<'_>) -> Result<Grant, Reason> + Send + Sync,
    {
        WithPolicy::new(self, policy)
    }
}

/// As [`Verifier`], for a store that is asked from async code. It is polled where the login's future is, and must not block;
/// what takes a processor goes through [`Attempt::compute`].
///
/// ```
/// use countersign::{AsyncVerifier, Attempt, Credential, Grant, Reason};
/// # #[cfg(feature = "accounts")] {
/// use countersign::accounts::PasswordCheck;
/// use std::sync::Arc;
/// # struct Database;
/// # struct Row { hash: String, permissions: Vec<String> }
/// # impl Database { async fn user(&self, _: &str) -> Result<Option<Row>, ()> { Ok(None) } }
///
/// struct Store { database: Database, passwords: Arc<PasswordCheck> }
///
/// impl AsyncVerifier for Store {
///     async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
///         let Credential::Password { user, password } = attempt.credential() else {
///             return Err(Reason::UnknownToken);
///         };
///         let row = self.database.user(user).await.map_err(|()| Reason::NotNow("the database is away"))?;
///         // The same work, whether there is a row or not.
///         let stored = row.as_ref().map(|row| row.hash.clone());
///         let check = self.passwords.prepare(user, password, stored);
///         attempt.compute(move || check.run()).await??;
///         let row = row.ok_or(Reason::UnknownUser)?;
///         Ok(Grant::new(user, row.permissions)?)
///     }
/// }
/// # }
/// ```
pub trait AsyncVerifier: Send + Sync {
    /// As [`Verifier::verify`].
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    fn verify(&self, attempt: &Attempt<'_>) -> impl Future<Output = Result<Grant, Reason>> + Send;

    /// As [`Verifier::resume`].
    ///
    /// # Errors
    /// As [`Verifier::resume`].
    fn resume(&self, returning: &Returning<'_>) -> impl Future<Output = Result<Grant, Reason>> + Send {
        let _ = returning;
        core::future::ready(Err(Reason::ResumeUnsupported))
    }

    /// As [`Verifier::further`].
    ///
    /// # Errors
    /// As [`Verifier::further`].
    fn further(&self, further: &Further<'_>) -> impl Future<Output = Result<Option<Prompt>, Reason>> + Send {
        let _ = further;
        core::future::ready(Ok(None))
    }

    /// As [`Verifier::check_factor`].
    ///
    /// # Errors
    /// As [`Verifier::check_factor`].
    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> impl Future<Output = Result<(), Reason>> + Send {
        let _ = attempt;
        core::future::ready(Err(Reason::WrongFactor))
    }

    /// As [`Verifier::with_policy`].
    fn with_policy<P>(self, policy: P) -> WithPolicy<Self, P>
    where
        Self: Sized,
        P: Fn(&PolicyRequest<'_>) -> Result<Grant, Reason> + Send + Sync,
    {
        WithPolicy::new(self, policy)
    }
}

impl<V: Verifier + ?Sized> Verifier for Arc<V> {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        (**self).verify(attempt)
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        (**self).resume(returning)
    }

    fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        (**self).further(further)
    }

    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        (**self).check_factor(attempt)
    }
}

impl<V: AsyncVerifier + ?Sized> AsyncVerifier for Arc<V> {
    fn verify(&self, attempt: &Attempt<'_>) -> impl Future<Output = Result<Grant, Reason>> + Send {
        (**self).verify(attempt)
    }

    fn resume(&self, returning: &Returning<'_>) -> impl Future<Output = Result<Grant, Reason>> + Send {
        (**self).resume(returning)
    }

    fn further(&self, further: &Further<'_>) -> impl Future<Output = Result<Option<Prompt>, Reason>> + Send {
        (**self).further(further)
    }

    fn check_factor(&self, attempt: &FactorAttempt<'_>) -> impl Future<Output = Result<(), Reason>> + Send {
        (**self).check_factor(attempt)
    }
}

impl<F: Fn(&Attempt<'_>) -> Result<Grant, Reason> + Send + Sync> Verifier for F {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self(attempt)
    }
}

/// A verifier's answer, on its way.
pub(crate) type Verifying<'a, T = Grant> = Pin<Box<dyn Future<Output = Result<T, Reason>> + Send + 'a>>;

/// [`AsyncVerifier`] as an object.
pub(crate) trait DynVerifier: Send + Sync {
    fn verify<'a>(&'a self, attempt: &'a Attempt<'_>) -> Verifying<'a>;

    fn resume<'a>(&'a self, returning: &'a Returning<'_>) -> Verifying<'a>;

    fn further<'a>(&'a self, further: &'a Further<'_>) -> Verifying<'a, Option<Prompt>>;

    fn check_factor<'a>(&'a self, attempt: &'a FactorAttempt<'_>) -> Verifying<'a, ()>;
}

impl<V: AsyncVerifier> DynVerifier for V {
    fn verify<'a>(&'a self, attempt: &'a Attempt<'_>) -> Verifying<'a> {
        // Nothing of the application's runs before the first poll: there a panic is caught.
        Box::pin(async move { AsyncVerifier::verify(self, attempt).await })
    }

    fn resume<'a>(&'a self, returning: &'a Returning<'_>) -> Verifying<'a> {
        Box::pin(async move { AsyncVerifier::resume(self, returning).await })
    }

    fn further<'a>(&'a self, further: &'a Further<'_>) -> Verifying<'a, Option<Prompt>> {
        Box::pin(async move { AsyncVerifier::further(self, further).await })
    }

    fn check_factor<'a>(&'a self, attempt: &'a FactorAttempt<'_>) -> Verifying<'a, ()> {
        Box::pin(async move { AsyncVerifier::check_factor(self, attempt).await })
    }
}
