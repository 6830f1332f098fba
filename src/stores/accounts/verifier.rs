//! What lets whom in: the one verifier over all stores of accounts.

use super::account::Account;
use super::hash;
use super::imitation::Imitated;
use super::line::hash_token;
use super::store::{AccountStore, StoreError, TRIES};
use super::{PasswordCheck, address_of, stretched};
use crate::terms::credential::{Credential, CredentialKind};
use crate::terms::error::Reason;
use crate::terms::factor::Prompt;
use crate::terms::grant::{Epochs, Grant};
use crate::terms::stretch::StretchedPassword;
use crate::terms::verifier::{AsyncVerifier, Attempt, FactorAttempt, Further, Returning};
use crate::time::{Clock, TimeOfDay};
use core::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Lets in who has an account in a store: the [`AsyncVerifier`] over an [`AccountStore`].
///
/// - A password costs one hash, whether the user is known, has a password, is locked, or nothing of all that, at the parameters of a stored
///   one ([`Imitation`](super::Imitation)).
/// - A stretched password costs one hash alike while accounts move ([`crate::Stretching::with_moving`]), and otherwise none.
/// - With a second factor ([`Account::set_totp`]) passwords and keys need a code, too. What is remembered of answers
///   ([`Answers`](super::Answers)) is kept by the store before a login is told of it: over a store that several servers share, each code is
///   good once among all of them, and wrong ones are counted for all of them. An [`AccountFile`](super::AccountFile) and
///   `RwLock<Accounts>` remember for as long as the process lives, and take no code of the 30 seconds in which it began.
/// - A recovery code is taken out of the account. Where the store can't do that, it lets nobody in.
/// - A clock that jumps refuses nobody and ends no session for a while ([`Clock`]).
/// - A store that is away is answered by [`Reason::NotNow`], whatever the credential. So is a second factor where the store can be read and
///   not written; [`AccountStore`]s of files alone tell that apart, by taking codes and no recovery codes.
///
/// ```
/// use countersign::accounts::AccountVerifier;
/// use countersign::{Accounts, AsyncVerifier, Attempt, Context, Credential};
/// use std::sync::RwLock;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let mut accounts = Accounts::new();
/// accounts.add("alice", ["read"])?;
/// accounts.edit("alice", |account| account.set_password(b"correct horse"))?;
/// let verifier = AccountVerifier::new(RwLock::new(accounts));
/// // What an `Acceptor::new_async(config, keys, verifier)` asks:
/// let context = Context::uncounted();
/// let attempt = Attempt::new(Credential::Password { user: "alice", password: b"correct horse" }, &context);
/// assert!(verifier.verify(&attempt).await.is_ok());
/// # Ok(()) }) }
/// ```
pub struct AccountVerifier<S> {
    store: S,
    upgrade: Option<Arc<Upgrade>>,
    moves: bool,
    clock: Arc<Clock>,
}

type Upgrade = dyn Fn(&Account, &[u8]) -> Option<Account> + Send + Sync;

impl<S: AccountStore> AccountVerifier<S> {
    /// Over this store. A shared one, to be edited while it is served, is `Arc<S>`.
    ///
    /// A login whose password was good, and is stored as [`PasswordCheck::needs_upgrade`] finds too little, has it stored anew, as
    /// [`PasswordCheck::hash`] makes it, if it is the one that was set ([`PasswordCheck::is_exact`]): [`AccountVerifier::with_upgrade`] makes something else of it, and
    /// [`AccountVerifier::without_upgrade`] leaves it as it is.
    pub fn new(store: S) -> Self {
        Self { store, upgrade: Some(Arc::new(upgraded)), moves: false, clock: Clock::system() }
    }

    /// Leaves stored passwords as they are.
    #[must_use]
    pub fn without_upgrade(mut self) -> Self {
        self.upgrade = None;
        self
    }

    /// At a login whose password was good, puts what `upgrade` makes of the account in its place, before the grant is made: to hash the
    /// password anew, under better parameters. It is told the account and the password, gives `None` where nothing is to be done,
    /// and may take a processor for a while. It is not asked where the stored hash is good for other passwords, too
    /// ([`PasswordCheck::is_exact`]): this one may have been mistyped. Where the store does not take the change, the login is as good without it.
    #[must_use]
    pub fn with_upgrade(
        mut self,
        upgrade: impl Fn(&Account, &[u8]) -> Option<Account> + Send + Sync + 'static,
    ) -> Self {
        self.upgrade = Some(Arc::new(upgrade));
        self
    }

    /// At a good login by stretched password, keeps that at the newest parameters in the place of what was kept: of a password that was not
    /// stretched so far ([`crate::Stretching::with_moving`]), if it is the one that was set ([`PasswordCheck::is_exact`]), or one at older parameters. The account gets another epoch. Where the store does not
    /// take the change, the login is as good without it.
    ///
    /// Where the client sends the password itself, too, the server computes once what it is stretched to, keeps that, whatever the client has shown, and
    /// refuses a password that does not lead to what was kept before. Where it does not, what it shows at the new parameters is taken on its word, as if it had changed its password; of an account with a second factor
    /// it is not, since that has not been asked for yet.
    #[must_use]
    pub fn with_moving(mut self) -> Self {
        self.moves = true;
        self
    }

    /// Goes by another clock than [`Clock::system`].
    #[must_use]
    pub fn with_clock(mut self, clock: impl Into<Arc<Clock>>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    async fn find(&self, name: &str) -> Result<Option<Account>, Reason> {
        known(self.store.find(name).await)
    }

    async fn verify_stretched(
        &self,
        attempt: &Attempt<'_>,
        user: &str,
        shown: &StretchedPassword,
    ) -> Result<Grant, Reason> {
        let (mut may_move, address) = (self.moves, address_of(attempt.context()));
        for _ in 0..TRIES {
            let found = self.find(user).await;
            let imitated = self.store.imitation().await.of(user);
            let (moves, time) = (core::mem::take(&mut may_move), self.clock.look());
            let decide = move |shown: &StretchedPassword| {
                // Even if the store is away, so that a refusal costs what it always does.
                let account = match found {
                    Ok(account) => account,
                    Err(reason) => {
                        let _ = stretched::check(None, &imitated, shown);
                        return Err(reason);
                    }
                };
                stretched::check(account.as_ref(), &imitated, shown)?;
                let account = account.ok_or(Reason::UnknownUser)?;
                let grant = account.admit(CredentialKind::Stretched, address, time)?;
                let moved = if moves { stretched::moved(&account, shown)? } else { None };
                Ok((grant, account, moved))
            };
            // Without a hash there is nothing to be computed elsewhere: a microsecond here, and no thread's turn.
            let is_hashed = shown.stretching().is_moving();
            let (grant, account, moved) = if is_hashed {
                let shown = shown.clone();
                attempt.compute(move || decide(&shown)).await??
            } else {
                decide(shown)?
            };
            // Where there is a conflict, another login of theirs has moved it, perhaps, or the password was changed: it is checked again.
            match moved {
                Some(moved) => match self.store.update(&account, &moved).await {
                    Ok(account) => return account.admit(CredentialKind::Stretched, address, time),
                    Err(StoreError::Conflict) => {}
                    Err(_) => return Ok(grant),
                },
                None if !is_hashed || self.is_unchanged(&account).await => return Ok(grant),
                None => {}
            }
        }
        Err(StoreError::Conflict.reason())
    }

    async fn verify_password(&self, attempt: &Attempt<'_>, user: &str, password: &[u8]) -> Result<Grant, Reason> {
        let (mut upgrade, address) = (self.upgrade.clone(), address_of(attempt.context()));
        for _ in 0..TRIES {
            let found = self.find(user).await;
            let imitated = self.store.imitation().await.of(user);
            let (may_upgrade, password) = (upgrade.take(), Zeroizing::new(password.to_vec()));
            let time = self.clock.look();
            let check = move || {
                // Even if the store is away, so that a refusal costs what it always does.
                let account = match found {
                    Ok(account) => account,
                    Err(reason) => imitated.spend(&password).and(Err(reason))?,
                };
                check_password(account.as_ref(), &imitated, &password)?;
                let account = account.ok_or(Reason::UnknownUser)?;
                let grant = account.admit(CredentialKind::Password, address, time)?;
                let stored = account.password.as_ref().map(|(hash, _)| hash);
                let is_exact = stored.is_some_and(|hash| hash::is_exact(hash, &password));
                let better = may_upgrade.filter(|_| is_exact).and_then(|upgrade| upgrade(&account, &password));
                Ok::<_, Reason>((grant, account, better))
            };
            let (grant, account, better) = attempt.compute(check).await??;
            // Where there is a conflict, who else was let in meanwhile has upgraded it, perhaps, or the password was changed: it is checked again.
            match better {
                Some(better) => match self.store.update(&account, &better).await {
                    Ok(account) => return account.admit(CredentialKind::Password, address, time),
                    Err(StoreError::Conflict) => {}
                    Err(_) => return Ok(grant),
                },
                None if self.is_unchanged(&account).await => return Ok(grant),
                None => {}
            }
        }
        Err(StoreError::Conflict.reason())
    }

    /// Whether an account is still the one that a password was checked against: a hash takes a while, and what is changed meanwhile counts.
    async fn is_unchanged(&self, account: &Account) -> bool {
        // A store that is away now is asked once more whether a password is enough: what it says then is compared, too.
        let Ok(found) = self.find(account.name()).await else { return true };
        found.is_some_and(|found| found.version() == account.version())
    }
}

/// The account with its password hashed anew, where that is due.
fn upgraded(account: &Account, password: &[u8]) -> Option<Account> {
    let (stored, _) = account.password.as_ref()?;
    let hash = PasswordCheck::upgrade(stored, password)?;
    let mut upgraded = account.clone();
    upgraded.set_password_hash(&hash).ok()?;
    Some(upgraded)
}

/// An account that can't be read lets nobody in, as one that there is not.
fn known(found: Result<Option<Account>, StoreError>) -> Result<Option<Account>, Reason> {
    match found {
        Err(StoreError::Account(_)) => Ok(None),
        found => found.map_err(|error| error.reason()),
    }
}

/// Checks a password. A closed account costs what an open one does, and one without a password, or none at all, what is imitated.
pub(super) fn check_password(account: Option<&Account>, imitated: &Imitated, password: &[u8]) -> Result<(), Reason> {
    let stored = account.and_then(|account| account.password.as_ref()).map(|(hash, _)| hash.as_str());
    let is_good = hash::matches(stored.unwrap_or(imitated.as_str()), password)?;
    match account {
        // Whoever knows a password of what is imitated, which nobody does, is let in nowhere.
        Some(_) if is_good && stored.is_some() => Ok(()),
        Some(_) => Err(Reason::WrongPassword),
        None => Err(Reason::UnknownUser),
    }
}

/// What a token or a key is good for; `account` is whose it claims to be.
pub(super) fn check_other(
    account: Option<&Account>,
    credential: Credential<'_>,
    address: Option<IpAddr>,
    time: TimeOfDay,
) -> Result<Grant, Reason> {
    let Credential::Key { key, .. } = credential else {
        return account.ok_or(Reason::UnknownToken)?.admit(CredentialKind::Token, address, time);
    };
    // The signature has been checked. An account that has not this key, and a user that there is not, cost and say the same.
    let held = account.map_or(&[][..], Account::keys).iter().find(|held| held.key() == key.public_key());
    match (account, held) {
        (Some(account), Some(held)) if held.admits(address, time.earliest()) => {
            account.admit(CredentialKind::Key, address, time)
        }
        (_, Some(_)) => Err(Reason::KeyNotAdmitted),
        (_, None) => Err(Reason::UnknownKey),
    }
}

/// Whether somebody may come back who was let in by such a credential: not by a password where the account has none now, nor by
/// a token where all are gone.
pub(super) fn check_return(
    account: Option<&Account>,
    kind: CredentialKind,
    address: Option<IpAddr>,
    time: TimeOfDay,
) -> Result<Grant, Reason> {
    let account = account.ok_or(Reason::UnknownUser)?;
    let can_log_in = match kind {
        CredentialKind::Password | CredentialKind::Stretched => account.has_password() || account.stretched().is_some(),
        CredentialKind::Token => account.tokens() > 0,
        CredentialKind::Key => account.admits_key(address, time),
    };
    if can_log_in { account.admit(kind, address, time) } else { Err(Reason::AccountDisabled) }
}

/// As [`Account::admit`], for the credential under these numbers: of several keys, the one that was shown.
fn admit_again(
    account: &Account,
    (kind, epochs): (CredentialKind, Epochs),
    address: Option<IpAddr>,
    time: TimeOfDay,
) -> Result<Grant, Reason> {
    let grant = account.admit(kind, address, time)?;
    if kind == CredentialKind::Key { account.granted_again(&grant, epochs, address, time) } else { Ok(grant) }
}

impl<S: AccountStore> AsyncVerifier for AccountVerifier<S> {
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let account = match attempt.credential() {
            Credential::Password { user, password } => return self.verify_password(attempt, user, password).await,
            Credential::Stretched { user, password } => return self.verify_stretched(attempt, user, password).await,
            // Looked up by hash: the time it takes says nothing about any token.
            Credential::Token(token) => known(self.store.find_token(&hash_token(token)).await)?,
            Credential::Key { user, .. } => self.find(user).await?,
        };
        let grant =
            check_other(account.as_ref(), attempt.credential(), address_of(attempt.context()), self.clock.look())?;
        match (attempt.credential(), &account) {
            (Credential::Key { key, .. }, Some(account)) => Ok(account.granted_to(key.public_key().id(), grant)),
            _ => Ok(grant),
        }
    }

    async fn resume(&self, returning: &Returning<'_>) -> Result<Grant, Reason> {
        let account = self.find(returning.principal()).await?;
        let (address, time) = (address_of(returning.context()), self.clock.look());
        check_return(account.as_ref(), returning.kind(), address, time)?;
        let account = account.ok_or(Reason::UnknownUser)?;
        admit_again(&account, (returning.kind(), returning.epochs), address, time)
    }

    async fn further(&self, further: &Further<'_>) -> Result<Option<Prompt>, Reason> {
        // It may have been removed or locked since the store was asked what the credential is good for, or what was shown been taken away. Who
        // makes grants without epochs has nothing to compare.
        let account = self.find(further.grant().principal()).await?.ok_or(Reason::UnknownUser)?;
        let (held, address) = (further.grant().epochs(), address_of(further.context()));
        let now = admit_again(&account, (further.kind(), held), address, self.clock.look())?.epochs();
        if held.credential.is_some() && held.credential != now.credential {
            return Err(Reason::Application("the account's credentials have changed since they were checked"));
        }
        Ok(account.next_factor(further.kind(), further.step()))
    }

    async fn check_factor(&self, attempt: &FactorAttempt<'_>) -> Result<(), Reason> {
        for _ in 0..TRIES {
            let account = self.find(attempt.grant().principal()).await?.ok_or(Reason::UnknownUser)?;
            let time = self.clock.look();
            let shown = (attempt.kind(), attempt.grant().epochs());
            let admitted = admit_again(&account, shown, address_of(attempt.context()), time)?;
            if admitted.epoch() != attempt.grant().epoch() {
                return Err(Reason::Application("the account has changed since its credential was checked"));
            }
            let mut judged = account.clone();
            let verdict = judged.judge(attempt.answer(), time);
            // Before anybody is told: what is not remembered would be good again.
            match self.store.update(&account, &judged).await {
                Ok(_) => return verdict,
                // Another answer came first, and may have been the same.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.reason()),
            }
        }
        Err(StoreError::Conflict.reason())
    }
}

impl<S> fmt::Debug for AccountVerifier<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountVerifier").finish_non_exhaustive()
    }
}
