//! Where accounts are kept: what a store has to do, and what it does not have to know.

use super::AccountError;
use super::account::Account;
use super::imitation::Imitation;
use super::role::Role;
use crate::stores::files::FileError;
use crate::terms::error::{Reason, codes};
use core::future::Future;
use std::error::Error;
use std::sync::Arc;

/// A place where accounts are kept: [`AccountFile`](super::AccountFile), `RwLock<Accounts>`, a database of your own. It finds
/// accounts, and takes changed ones if nobody else has changed them meanwhile; it decides nothing. What lets whom in is decided in
/// one place for all stores, by an [`AccountVerifier`](super::AccountVerifier) over it.
///
/// A store keeps of an account its name, [`Account::fields`], [`Account::version`] and [`Account::answers`], and gives all of them
/// back: [`Account::from_fields`], [`Account::with_version`], [`Account::with_answers`]. It keeps roles beside them, and gives an account with
/// those that it has, by whatever method: [`Account::with_roles`], [`Role::with_version`]. What the errors name is what they are about, to the letter. Its methods are asked from async code and
/// must not block; they need a timeout of their own, after which they say [`StoreError::Away`]. A future of theirs may be dropped
/// at any time.
pub trait AccountStore: Send + Sync {
    /// The account of this name: as it is now, or as it was no more than some seconds ago, but never as it was before what this store has said of it
    /// already: a login whose password was just stored anew is looked up once more.
    ///
    /// # Errors
    /// [`StoreError::Away`]; [`StoreError::Account`] where it can't be read: nobody is let in by it, then.
    fn find(&self, name: &str) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send;

    /// The account that has a token with this SHA-256, as [`AccountStore::find`] gives it. Among [`Account::fields`] it is the `token` whose value is `SHA256:` and
    /// the base64 of the hash, without padding.
    ///
    /// # Errors
    /// As [`AccountStore::find`].
    fn find_token(&self, hash: &[u8; 32]) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send;

    /// The accounts whose names come after `after`, in the order of the names' bytes: at most `most` of them, and fewer at the end
    /// alone. What changes meanwhile may be among them or not; all else is, once.
    ///
    /// # Errors
    /// [`StoreError`].
    fn page(&self, after: Option<&str>, most: usize) -> impl Future<Output = Result<Vec<Account>, StoreError>> + Send;

    /// What the checks of unknown users' passwords imitate. Where the store is away, or would be asked too often, this is what it said
    /// before.
    fn imitation(&self) -> impl Future<Output = Imitation> + Send;

    /// Adds an account, with the answers that are remembered of it, under a version of its own: not one that an account of this name has had before.
    ///
    /// # Errors
    /// Within [`StoreError::Account`]: [`AccountError::Exists`]; [`AccountError::DuplicateToken`] where another account has one of its tokens;
    /// [`AccountError::UnknownRole`]; [`AccountError::Permissions`] where it would have more than a grant may have, with those of its roles
    /// ([`Account::with_roles`] says the last two). Others as well. Then nothing was added; after [`StoreError::Away`] nobody knows.
    fn add(&self, account: &Account) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Puts `new` in the place of `old`, if that is still how the account is: both its version and the answers that are remembered of
    /// it. Gives it as it is kept then: under another version, unless only the answers are others ([`Account::is_same`] with `old`). The answers are those
    /// of `new`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is not, where it is gone, or where `new` has another name; within [`StoreError::Account`], as
    /// [`AccountStore::add`]: [`AccountError::DuplicateToken`], [`AccountError::UnknownRole`], [`AccountError::Permissions`]. Others as well. Then nothing was
    /// changed, of what is remembered of answers neither; after [`StoreError::Away`] nobody knows.
    fn update(&self, old: &Account, new: &Account) -> impl Future<Output = Result<Account, StoreError>> + Send;

    /// Removes the account of this name, even if it can't be read.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], within [`StoreError::Account`], and others.
    fn remove(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The roles, in the order of their names' bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    fn roles(&self) -> impl Future<Output = Result<Vec<Role>, StoreError>> + Send;

    /// How many accounts have a role.
    ///
    /// # Errors
    /// [`StoreError`].
    fn role_users(&self, role: &str) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Adds a role.
    ///
    /// # Errors
    /// [`AccountError::RoleExists`], within [`StoreError::Account`], and others.
    fn add_role(&self, role: &Role) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Puts `new` in the place of `old`, if that is still how the role is, and so changes all accounts that have it: they have other epochs
    /// then.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is not, where it is gone, or where `new` has another name; [`AccountError::Permissions`], within [`StoreError::Account`], where an account would
    /// have more permissions than a grant may have; and others. Then nothing was changed; after [`StoreError::Away`] nobody knows.
    fn update_role(&self, old: &Role, new: &Role) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes a role that no account has.
    ///
    /// # Errors
    /// [`AccountError::UnknownRole`], and [`AccountError::RoleInUse`] with the role and one who has it, within [`StoreError::Account`]; and others.
    fn remove_role(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Changes a role, as [`AccountStore::edit`] does an account.
    ///
    /// # Errors
    /// [`AccountError::UnknownRole`], and what `change` says, within [`StoreError::Account`]; and as [`AccountStore::update_role`].
    fn edit_role<T: Send>(
        &self,
        name: &str,
        mut change: impl FnMut(&mut Role) -> Result<T, AccountError> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        async move {
            for _ in 0..TRIES {
                let old = self.roles().await?.into_iter().find(|role| role.name() == name);
                let old = old.ok_or_else(|| AccountError::UnknownRole(name.to_owned()))?;
                let mut new = old.clone();
                let result = change(&mut new)?;
                if new.is_same(&old) {
                    return Ok(result);
                }
                match self.update_role(&old, &new).await {
                    Ok(()) => return Ok(result),
                    Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(StoreError::Conflict)
        }
    }

    /// Changes an account, whoever else changes it: `change` is called again on what they made of it, and what it gave last is what
    /// counts.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], and what `change` says, within [`StoreError::Account`]; [`StoreError::Conflict`] where others are
    /// in the way again and again.
    fn edit<T: Send>(
        &self,
        name: &str,
        mut change: impl FnMut(&mut Account) -> Result<T, AccountError> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        async move {
            for _ in 0..TRIES {
                let old = self.find(name).await?.ok_or_else(|| AccountError::Unknown(name.to_owned()))?;
                let mut new = old.clone();
                let result = change(&mut new)?;
                if new.is_same(&old) {
                    return Ok(result);
                }
                match self.update(&old, &new).await {
                    Ok(_) => return Ok(result),
                    Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(StoreError::Conflict)
        }
    }
}

/// How often a change is made anew that others were in the way of.
pub(super) const TRIES: usize = 16;

macro_rules! lent {
    ($lent:ty) => {
        impl<S: AccountStore + ?Sized> AccountStore for $lent {
            fn find(&self, name: &str) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send {
                (**self).find(name)
            }

            fn find_token(&self, hash: &[u8; 32]) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send {
                (**self).find_token(hash)
            }

            fn page(
                &self,
                after: Option<&str>,
                most: usize,
            ) -> impl Future<Output = Result<Vec<Account>, StoreError>> + Send {
                (**self).page(after, most)
            }

            fn imitation(&self) -> impl Future<Output = Imitation> + Send {
                (**self).imitation()
            }

            fn add(&self, account: &Account) -> impl Future<Output = Result<(), StoreError>> + Send {
                (**self).add(account)
            }

            fn update(&self, old: &Account, new: &Account) -> impl Future<Output = Result<Account, StoreError>> + Send {
                (**self).update(old, new)
            }

            fn remove(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
                (**self).remove(name)
            }

            fn roles(&self) -> impl Future<Output = Result<Vec<Role>, StoreError>> + Send {
                (**self).roles()
            }

            fn role_users(&self, role: &str) -> impl Future<Output = Result<u64, StoreError>> + Send {
                (**self).role_users(role)
            }

            fn add_role(&self, role: &Role) -> impl Future<Output = Result<(), StoreError>> + Send {
                (**self).add_role(role)
            }

            fn update_role(&self, old: &Role, new: &Role) -> impl Future<Output = Result<(), StoreError>> + Send {
                (**self).update_role(old, new)
            }

            fn remove_role(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
                (**self).remove_role(name)
            }

            fn edit_role<T: Send>(
                &self,
                name: &str,
                change: impl FnMut(&mut Role) -> Result<T, AccountError> + Send,
            ) -> impl Future<Output = Result<T, StoreError>> + Send {
                (**self).edit_role(name, change)
            }

            fn edit<T: Send>(
                &self,
                name: &str,
                change: impl FnMut(&mut Account) -> Result<T, AccountError> + Send,
            ) -> impl Future<Output = Result<T, StoreError>> + Send {
                (**self).edit(name, change)
            }
        }
    };
}

lent!(Arc<S>);
lent!(&S);

/// Why a store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It can't be reached, can't be read, or takes too long. A login is told "not now", whatever its credential.
    #[error("{what}")]
    Away {
        /// What can't be done now: for the log of refused logins.
        what: &'static str,
        /// What is known of it.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Somebody else has changed the account since it was read.
    #[error("somebody else changed the account meanwhile; try again")]
    Conflict,
    /// What was asked for can't be done to this account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A file can't be written.
    #[error(transparent)]
    File(#[from] FileError),
}

codes!(StoreError {
    Self::Away { .. } => "store-away",
    Self::Conflict => "account-changed",
    Self::Account(error) => error.code(),
    Self::File(error) => error.code(),
});

impl StoreError {
    /// It can't be reached, can't be read, or takes too long.
    pub fn away(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Away { what, source: Some(source.into()) }
    }

    /// What a login is refused for that needed it.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Away { what, .. } => Reason::NotNow(what),
            Self::Conflict => Reason::Application("the account was changed again and again meanwhile"),
            Self::Account(_) => Reason::Application("the account can't be changed"),
            Self::File(_) => Reason::Application("the account file can't be written"),
        }
    }
}
