//! Every store there is, put to the same tests, and stores that are to fail them.
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, missing_docs)]

#[path = "../../tests/support/left_out.rs"]
mod left_out;

use base64ct::{Base64Unpadded, Encoding};
use countersign::accounts::{Account, AccountError, AccountFile, AccountStore, Accounts, Imitation, Role, StoreError};
use countersign::files::{FileError, Missing, edit_accounts};
use countersign_stores::{Place, SqlStore, conformance};
use left_out::left_out;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::thread::JoinHandle;

#[tokio::test(flavor = "multi_thread")]
async fn accounts_in_memory() {
    conformance::check(Arc::new(RwLock::new(Accounts::new()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    edit_accounts(&path, Missing::Make, |_| Ok::<_, FileError>(())).unwrap();
    conformance::check(Arc::new(AccountFile::open(&path).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::sqlite(folder.path().join("accounts of a server?#%.db"));
    place.migrate().await.unwrap();
    conformance::check(Arc::new(SqlStore::open(&place).await.unwrap())).await;
}

/// Against the server at `COUNTERSIGN_TEST_POSTGRES`, an address of an empty database.
#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let Ok(address) = std::env::var("COUNTERSIGN_TEST_POSTGRES") else {
        return left_out("postgres", "no PostgreSQL, whose address COUNTERSIGN_TEST_POSTGRES would have");
    };
    let place = Place::parse(&address).unwrap();
    place.migrate().await.unwrap();
    conformance::check(Arc::new(SqlStore::open(&place).await.unwrap())).await;
}

/// What a store of somebody's own may do wrong. Each of these lets somebody in who should not be, or tells who there is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    AnotherKeyEachTime,
    NothingIsImitated,
    TheListShrinks,
    TokensStay,
    TokensOfOthers,
    TokensAreNoChange,
    RolesAreNoChange,
    RefusedAndHalfKept,
    WithoutItsRoles,
}

/// A store as somebody might write it, in memory, with one fault or none.
struct Own(Fault, Mutex<Tables>);

#[derive(Default)]
struct Tables {
    accounts: BTreeMap<String, Account>,
    roles: BTreeMap<String, Role>,
    /// Whose a token is.
    tokens: HashMap<String, String>,
    costs: Vec<String>,
    versions: u64,
}

/// The hashes of an account's tokens, as a file has them.
fn tokens(account: &Account) -> Vec<String> {
    let fields = account.fields().into_iter().filter(|(field, _)| *field == "token");
    fields.map(|(_, value)| value.as_str().to_owned()).collect()
}

impl Tables {
    fn version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    fn resolved(&self, account: &Account) -> Result<Account, AccountError> {
        account.clone().with_roles(self.roles.values().cloned())
    }

    fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        Ok(self.accounts.get(name).map(|account| self.resolved(account)).transpose()?)
    }

    fn put(&mut self, fault: Fault, new: &Account, version: u64) -> Result<Account, StoreError> {
        let name = new.name();
        let is_others = |token: &String| self.tokens.get(token).is_some_and(|owner| owner != name);
        if fault != Fault::TokensOfOthers && tokens(new).iter().any(is_others) {
            return Err(AccountError::DuplicateToken(name.to_owned()).into());
        }
        let stored = self.resolved(&new.clone().with_version(version))?;
        if let Some(cost) = stored.password_cost().filter(|cost| !self.costs.contains(cost)) {
            self.costs.push(cost);
        }
        self.tokens.extend(tokens(&stored).into_iter().map(|token| (token, name.to_owned())));
        self.accounts.insert(name.to_owned(), stored.clone());
        Ok(stored)
    }

    fn update(&mut self, fault: Fault, old: &Account, new: &Account) -> Result<Account, StoreError> {
        let current = self.accounts.get(old.name()).filter(|current| {
            (current.version(), current.answers(), new.name()) == (old.version(), old.answers(), old.name())
        });
        let current = current.ok_or(StoreError::Conflict)?.clone();
        let is_kept = new.is_same(&current) || fault == Fault::TokensAreNoChange && tokens(new) != tokens(&current);
        let version = if is_kept { current.version() } else { self.version() };
        let stored = self.put(fault, new, version);
        if let Ok(stored) = &stored {
            let kept = tokens(stored);
            self.tokens.retain(|token, owner| owner != old.name() || kept.contains(token));
        }
        if stored.is_err() && fault == Fault::RefusedAndHalfKept && new.is_locked() {
            let mut half = current;
            half.lock();
            self.accounts.insert(old.name().to_owned(), half);
        }
        if fault == Fault::WithoutItsRoles {
            let fields = new.fields();
            let fields = fields.iter().map(|(field, value)| (*field, value.as_str()));
            let bare = Account::from_fields(new.name(), fields).unwrap().with_answers(new.answers());
            return stored.map(|stored| bare.with_version(stored.version()));
        }
        stored
    }

    fn update_role(&mut self, fault: Fault, old: &Role, new: &Role) -> Result<(), StoreError> {
        let is_as_before = |current: &Role| match fault {
            Fault::RolesAreNoChange => current.is_same(old),
            _ => current.version() == old.version(),
        };
        if !self.roles.get(old.name()).is_some_and(is_as_before) || new.name() != old.name() {
            return Err(StoreError::Conflict);
        }
        let version = if fault == Fault::RolesAreNoChange { old.version() } else { self.version() };
        let before = self.roles.insert(old.name().to_owned(), new.clone().with_version(version));
        let trouble = self.accounts.values().find_map(|account| self.resolved(account).err());
        if let (Some(trouble), Some(before)) = (trouble, before) {
            self.roles.insert(old.name().to_owned(), before);
            return Err(trouble.into());
        }
        Ok(())
    }
}

impl Own {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.1.lock().unwrap()
    }
}

impl AccountStore for Own {
    async fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.tables().find(name)
    }

    async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        let tables = self.tables();
        let owner = tables.tokens.get(&format!("SHA256:{}", Base64Unpadded::encode_string(hash)));
        owner.map_or(Ok(None), |owner| tables.find(owner))
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError> {
        let tables = self.tables();
        let names = tables.accounts.keys().filter(|name| after.is_none_or(|after| name.as_str() > after)).take(most);
        names.filter_map(|name| tables.find(name).transpose()).collect()
    }

    async fn imitation(&self) -> Imitation {
        let tables = self.tables();
        let key: [u8; 32] = if self.0 == Fault::AnotherKeyEachTime { rand::random() } else { [7; 32] };
        match self.0 {
            Fault::NothingIsImitated => Imitation::default(),
            Fault::TheListShrinks => Imitation::new(key, tables.accounts.values().filter_map(Account::password_cost)),
            _ => Imitation::new(key, &tables.costs),
        }
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if tables.accounts.contains_key(account.name()) {
            return Err(AccountError::Exists(account.name().to_owned()).into());
        }
        let version = tables.version();
        // Only updates forget to look.
        let fault = if self.0 == Fault::TokensOfOthers { Fault::Nothing } else { self.0 };
        tables.put(fault, account, version).map(drop)
    }

    async fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        self.tables().update(self.0, old, new)
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if self.0 != Fault::TokensStay {
            tables.tokens.retain(|_, owner| owner != name);
        }
        tables.accounts.remove(name).map(drop).ok_or_else(|| AccountError::Unknown(name.to_owned()).into())
    }

    async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        Ok(self.tables().roles.values().cloned().collect())
    }

    async fn role_users(&self, role: &str) -> Result<u64, StoreError> {
        Ok(self.tables().accounts.values().filter(|account| account.roles().any(|held| held == role)).count() as u64)
    }

    async fn add_role(&self, role: &Role) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if tables.roles.contains_key(role.name()) {
            return Err(AccountError::RoleExists(role.name().to_owned()).into());
        }
        let version = tables.version();
        tables.roles.insert(role.name().to_owned(), role.clone().with_version(version));
        Ok(())
    }

    async fn update_role(&self, old: &Role, new: &Role) -> Result<(), StoreError> {
        self.tables().update_role(self.0, old, new)
    }

    async fn remove_role(&self, name: &str) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let has_it = |account: &&Account| account.roles().any(|role| role == name);
        if let Some(user) = tables.accounts.values().find(has_it).map(|account| account.name().to_owned()) {
            return Err(AccountError::RoleInUse { role: name.to_owned(), user }.into());
        }
        tables.roles.remove(name).map(drop).ok_or_else(|| AccountError::UnknownRole(name.to_owned()).into())
    }
}

/// Puts a store with this fault to the suite. It is no task that could be moved between threads, so it is on one of its own.
fn check(fault: Fault) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(conformance::check(Arc::new(Own(fault, Mutex::default()))));
    })
}

#[test]
fn a_store_of_ones_own_passes_and_none_does_with_a_fault_that_lets_somebody_in_or_tells_who_there_is() {
    check(Fault::Nothing).join().unwrap();
    let checked = [
        (Fault::AnotherKeyEachTime, "an unknown name costs the same each time"),
        (Fault::NothingIsImitated, "what each password costs is what some unknown name costs"),
        (Fault::TheListShrinks, "an unknown name costs the same when others have gone"),
        (Fault::TokensStay, "a token of an account that was removed, and added anew without it"),
        (Fault::TokensOfOthers, "an update with a token of somebody else's"),
        (Fault::TokensAreNoChange, "a token: another version"),
        (Fault::RolesAreNoChange, "no epoch comes back with what a role was"),
        (Fault::RefusedAndHalfKept, "of a change that is refused nothing is kept"),
        (Fault::WithoutItsRoles, "a role: an update gives the account with its roles"),
    ]
    .map(|(fault, says)| (fault, says, check(fault)));
    for (fault, says, check) in checked {
        let said = check.join().err().unwrap_or_else(|| panic!("{fault:?} passes"));
        let text =
            said.downcast_ref::<String>().map(String::as_str).or_else(|| said.downcast_ref::<&'static str>().copied());
        assert!(text.is_some_and(|text| text.contains(says)), "{fault:?}: {text:?}");
    }
}
