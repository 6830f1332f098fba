//! Verifiers: where the application says whether a credential is good.

use super::context::Context;
use super::credential::{Credential, CredentialKind};
use super::error::Reason;
use super::grant::Grant;
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

/// A ticket, and who shows it: the client holds its secret, and was let in as this principal before.
pub struct Returning<'a> {
    pub(crate) principal: &'a str,
    pub(crate) kind: CredentialKind,
    pub(crate) authenticated: UnixTime,
    pub(crate) asker: Asker<'a>,
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
    /// Does `work` before any login that has not begun; false where there is no room.
    fn submit(&self, work: Box<dyn FnOnce() + Send>) -> bool;
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
asker!(Attempt, Returning);

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
        Self { principal, kind, authenticated, asker: Asker::new(context) }
    }

    /// Whom the ticket was given to.
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
        let submitted = pool.submit(Box::new(move || drop(answer.send(work()))));
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
/// A verifier that can't tell (its database is away) says [`Reason::NotNow`]. One that panics ends in the same refusal as
/// any other, at the same moment.
///
/// It needs a timeout of its own for whatever it waits for. A login is given up once
/// [`crate::ServerConfig::with_handshake_timeout`] has passed since it arrived: its connection is closed without a verdict. But
/// nothing ends the call: one that hangs takes one of the acceptor's threads for good. (An [`AsyncVerifier`]'s future is dropped at that
/// moment, and the client gets a refusal like any other.)
pub trait Verifier: Send + Sync {
    /// Checks a credential. An unknown user must cost what a wrong password costs.
    ///
    /// # Errors
    /// The local reason for the refusal; it goes to the audit log and never onto the wire.
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason>;

    /// The account as it is now, with its epoch: asked when a client shows a ticket instead of a credential. An error sends
    /// the client the longer way: it must then show a credential. Where credentials of different kinds give different
    /// permissions, mind [`Returning::kind`].
    ///
    /// The default is an error: a verifier that does not know of tickets never lets one in.
    ///
    /// # Errors
    /// The local reason.
    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        let _ = returning;
        Err(Reason::AccountDisabled)
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
///         Grant::new(user, row.permissions).map_err(|_| Reason::NotNow("the row is not usable"))
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
        core::future::ready(Err(Reason::AccountDisabled))
    }
}

impl<V: Verifier + ?Sized> Verifier for Arc<V> {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        (**self).verify(attempt)
    }

    fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        (**self).resume(returning)
    }
}

impl<V: AsyncVerifier + ?Sized> AsyncVerifier for Arc<V> {
    fn verify(&self, attempt: &Attempt<'_>) -> impl Future<Output = Result<Grant, Reason>> + Send {
        (**self).verify(attempt)
    }

    fn resume(&self, returning: &Returning<'_>) -> impl Future<Output = Result<Grant, Reason>> + Send {
        (**self).resume(returning)
    }
}

impl<F: Fn(&Attempt<'_>) -> Result<Grant, Reason> + Send + Sync> Verifier for F {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        self(attempt)
    }
}

/// A verifier's answer, on its way.
pub(crate) type Verifying<'a> = Pin<Box<dyn Future<Output = Result<Grant, Reason>> + Send + 'a>>;

/// [`AsyncVerifier`] as an object.
pub(crate) trait DynVerifier: Send + Sync {
    fn verify<'a>(&'a self, attempt: &'a Attempt<'_>) -> Verifying<'a>;

    fn resume<'a>(&'a self, returning: &'a Returning<'_>) -> Verifying<'a>;
}

impl<V: AsyncVerifier> DynVerifier for V {
    fn verify<'a>(&'a self, attempt: &'a Attempt<'_>) -> Verifying<'a> {
        // Nothing of the application's runs before the first poll: there a panic is caught.
        Box::pin(async move { AsyncVerifier::verify(self, attempt).await })
    }

    fn resume<'a>(&'a self, returning: &'a Returning<'_>) -> Verifying<'a> {
        Box::pin(async move { AsyncVerifier::resume(self, returning).await })
    }
}
