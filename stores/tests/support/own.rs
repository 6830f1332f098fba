//! A store as somebody might write it, in memory, with one fault or none.

use base64ct::{Base64Unpadded, Encoding};
use countersign::UnixTime;
use countersign::accounts::{Account, AccountError, AccountStore, Answers, Imitation, Role, StoreError};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a store of somebody's own may do wrong. Each of these lets somebody in who should not be, keeps somebody out, or tells who there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Nothing,
    AnotherKeyEachTime,
    NothingIsImitated,
    TheListShrinks,
    TokensStay,
    TokensOfOthers,
    TokensAreNoChange,
    NewTokensAreInNoIndex,
    TokensFindNoVersion,
    RolesAreNoChange,
    RolesComeAlive,
    RolesAreFolded,
    RefusedAndHalfKept,
    RefusedAndRemembered,
    WithoutItsRoles,
    PagesWithoutRoles,
    PagesLookForTheName,
    VersionsAreCounted,
    VersionsAreOfTheFields,
    ChangesForgetAnswers,
    ChangesKeepOldAnswers,
    ChangesCompareVersionsAlone,
    ChangesRename,
    AnswersStay,
    AnswersAreSmall,
    TimesAreShort,
    NamesAreFolded,
    NamesAreNormalised,
    PermissionsAreSorted,
    AwayIsAbsence,
    AddedTwice,
    RemovedTwice,
    FoundOnceForEver,
    AnotherKeyEachServer,
    EachServerComparesForItself,
}

/// One server's view of the tables.
pub(crate) struct Own {
    fault: Fault,
    tables: Arc<Mutex<Tables>>,
    /// What [`Fault::FoundOnceForEver`] has found.
    found: Mutex<HashMap<String, Option<Account>>>,
    turn: tokio::sync::Mutex<()>,
    key: [u8; 32],
}

#[derive(Default)]
struct Tables {
    accounts: BTreeMap<String, Account>,
    roles: BTreeMap<String, Role>,
    /// Whose a token is.
    tokens: HashMap<String, String>,
    costs: Vec<String>,
    versions: u64,
    /// Of those who are gone, too: with [`Fault::AnswersStay`].
    answers: HashMap<String, Answers>,
}

/// The hashes of an account's tokens, as a file has them.
fn tokens(account: &Account) -> Vec<String> {
    let fields = account.fields().into_iter().filter(|(field, _)| *field == "token");
    fields.map(|(_, value)| value.as_str().to_owned()).collect()
}

/// The same account with other fields.
fn with_fields(account: &Account, change: impl Fn(&str, String) -> String) -> Account {
    let fields = account.fields();
    let fields: Vec<_> =
        fields.iter().map(|(field, value)| (*field, change(field, value.as_str().to_owned()))).collect();
    let fields = fields.iter().map(|(field, value)| (*field, value.as_str()));
    let changed = Account::from_fields(account.name(), fields).unwrap();
    changed.with_version(account.version()).with_answers(account.answers())
}

impl Fault {
    /// What a name is kept under.
    fn key(self, name: &str) -> String {
        match self {
            Self::NamesAreFolded => name.to_lowercase(),
            Self::NamesAreNormalised => name.replace("e\u{301}", "\u{e9}"),
            _ => name.to_owned(),
        }
    }

    fn role_key(self, name: &str) -> String {
        if self == Self::RolesAreFolded { name.to_lowercase() } else { name.to_owned() }
    }

    /// An account as it comes out of the columns.
    fn read(self, account: Account) -> Account {
        match self {
            Self::AnswersAreSmall => {
                let Answers { last_step, wrong, closed_until } = account.answers();
                let short = u64::from(closed_until.as_secs() as u32);
                account.with_answers(Answers { last_step, wrong, closed_until: UnixTime::from_secs(short) })
            }
            Self::TimesAreShort => {
                let mut account = account;
                let last = UnixTime::from_secs(i32::MAX as u64);
                account.set_expiry(account.expires().map(|expires| expires.min(last)));
                account
            }
            Self::PermissionsAreSorted => with_fields(&account, |field, value| {
                let mut words: Vec<&str> = value.split(',').collect();
                words.sort_unstable();
                if field == "permissions" { words.join(",") } else { value }
            }),
            _ => account,
        }
    }
}

impl Tables {
    fn version(&mut self, fault: Fault, old: Option<&Account>, new: &Account) -> u64 {
        self.versions += 1;
        match fault {
            Fault::VersionsAreCounted => old.map_or(1, |old| old.version() + 1),
            Fault::VersionsAreOfTheFields => {
                let mut hasher = DefaultHasher::new();
                new.fields().iter().for_each(|(field, value)| (*field, value.as_str()).hash(&mut hasher));
                hasher.finish()
            }
            _ => self.versions,
        }
    }

    fn resolved(&self, account: &Account) -> Result<Account, AccountError> {
        account.clone().with_roles(self.roles.values().cloned())
    }

    fn find(&self, fault: Fault, name: &str) -> Result<Option<Account>, StoreError> {
        let found = self.accounts.get(&fault.key(name)).cloned().map(|account| fault.read(account));
        Ok(found.map(|account| self.resolved(&account)).transpose()?)
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
        let is_new = !self.accounts.contains_key(&fault.key(name));
        if is_new || fault != Fault::NewTokensAreInNoIndex {
            self.tokens.extend(tokens(&stored).into_iter().map(|token| (token, name.to_owned())));
        }
        self.accounts.insert(fault.key(name), stored.clone());
        Ok(stored)
    }

    fn current(&self, fault: Fault, old: &Account, new: &Account) -> Result<Account, StoreError> {
        let is_current = |current: &&Account| {
            let has_answers = fault == Fault::ChangesCompareVersionsAlone && !new.is_same(old)
                || fault.read((*current).clone()).answers() == old.answers();
            let is_named = new.name() == old.name() || fault == Fault::ChangesRename;
            current.version() == old.version() && has_answers && is_named
        };
        let current = self.accounts.get(&fault.key(old.name())).filter(is_current);
        Ok(current.ok_or(StoreError::Conflict)?.clone())
    }

    fn change(&mut self, fault: Fault, current: &Account, new: &Account) -> Result<Account, StoreError> {
        let is_kept = new.is_same(current) || fault == Fault::TokensAreNoChange && tokens(new) != tokens(current);
        let version = if is_kept { current.version() } else { self.version(fault, Some(current), new) };
        let answers = match fault {
            Fault::ChangesForgetAnswers if !is_kept => Answers::default(),
            Fault::ChangesKeepOldAnswers if !is_kept => current.answers(),
            _ => new.answers(),
        };
        let stored = self.put(fault, &new.clone().with_answers(answers), version);
        if let Ok(stored) = &stored {
            let kept = tokens(stored);
            self.tokens.retain(|token, owner| owner != current.name() || kept.contains(token));
            self.answers.insert(new.name().to_owned(), answers);
        }
        let mut half = current.clone();
        match fault {
            Fault::RefusedAndHalfKept if stored.is_err() && new.is_locked() => drop(half.lock()),
            Fault::RefusedAndRemembered if stored.is_err() => half = half.with_answers(answers),
            Fault::WithoutItsRoles => {
                let bare = with_fields(new, |_, value| value).with_answers(new.answers());
                return stored.map(|stored| bare.with_version(stored.version()));
            }
            _ => return stored,
        }
        self.accounts.insert(fault.key(current.name()), half);
        stored
    }

    fn update_role(&mut self, fault: Fault, old: &Role, new: &Role) -> Result<(), StoreError> {
        let name = fault.role_key(old.name());
        let is_as_before = |current: &Role| match fault {
            Fault::RolesAreNoChange => current.is_same(old),
            _ => current.version() == old.version(),
        };
        let is_current = self.roles.get(&name).map_or(fault == Fault::RolesComeAlive, is_as_before);
        if !is_current || new.name() != old.name() {
            return Err(StoreError::Conflict);
        }
        self.versions += 1;
        let version = if fault == Fault::RolesAreNoChange { old.version() } else { self.versions };
        let before = self.roles.insert(name.clone(), new.clone().with_version(version));
        let trouble = self.accounts.values().find_map(|account| self.resolved(account).err());
        if let (Some(trouble), Some(before)) = (trouble, before) {
            self.roles.insert(name, before);
            return Err(trouble.into());
        }
        Ok(())
    }
}

impl Own {
    pub(crate) fn new(fault: Fault) -> Self {
        Self::over(fault, Arc::default())
    }

    /// As two servers have it.
    pub(crate) fn two(fault: Fault) -> [Self; 2] {
        let tables = Arc::default();
        [0, 1].map(|_| Self::over(fault, Arc::clone(&tables)))
    }

    fn over(fault: Fault, tables: Arc<Mutex<Tables>>) -> Self {
        let key = if fault == Fault::AnotherKeyEachServer { rand::random() } else { [7; 32] };
        Self { fault, tables, found: Mutex::default(), turn: tokio::sync::Mutex::default(), key }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    /// To write: what was found before counts no more, here.
    fn changing(&self) -> MutexGuard<'_, Tables> {
        let tables = self.tables();
        self.found.lock().unwrap().clear();
        tables
    }
}

impl AccountStore for Own {
    async fn find(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let tables = self.tables();
        let found = tables.find(self.fault, name)?;
        Ok(if self.fault == Fault::FoundOnceForEver {
            self.found.lock().unwrap().entry(name.to_owned()).or_insert(found).clone()
        } else {
            found
        })
    }

    async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        let tables = self.tables();
        let owner = tables.tokens.get(&format!("SHA256:{}", Base64Unpadded::encode_string(hash)));
        let found = owner.map_or(Ok(None), |owner| tables.find(self.fault, owner));
        match found {
            Ok(Some(found)) if self.fault == Fault::TokensFindNoVersion => Ok(Some(found.with_version(0))),
            found => found,
        }
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Vec<Account>, StoreError> {
        let tables = self.tables();
        let all = tables.accounts.values();
        let rest: Vec<_> = match after.filter(|after| !after.is_empty()) {
            None => all.collect(),
            Some(after) if self.fault == Fault::PagesLookForTheName => {
                all.skip_while(|account| account.name() != after).skip(1).collect()
            }
            Some(after) => all.filter(|account| account.name() > after).collect(),
        };
        let page = rest.into_iter().take(most);
        if self.fault == Fault::PagesWithoutRoles {
            return Ok(page.map(|account| with_fields(account, |_, value| value)).collect());
        }
        page.filter_map(|account| tables.find(self.fault, account.name()).transpose()).collect()
    }

    async fn imitation(&self) -> Imitation {
        let tables = self.tables();
        let key: [u8; 32] = if self.fault == Fault::AnotherKeyEachTime { rand::random() } else { self.key };
        match self.fault {
            Fault::NothingIsImitated => Imitation::default(),
            Fault::TheListShrinks => Imitation::new(key, tables.accounts.values().filter_map(Account::password_cost)),
            _ => Imitation::new(key, &tables.costs),
        }
    }

    async fn add(&self, account: &Account) -> Result<(), StoreError> {
        let mut tables = self.changing();
        let is_there = tables.accounts.contains_key(&self.fault.key(account.name()));
        if is_there && self.fault != Fault::AddedTwice {
            return Err(AccountError::Exists(account.name().to_owned()).into());
        }
        let version = tables.version(self.fault, None, account);
        let left = tables.answers.get(account.name()).filter(|_| self.fault == Fault::AnswersStay);
        let account = account.clone().with_answers(left.copied().unwrap_or(account.answers()));
        // Only updates forget to look.
        let fault = if self.fault == Fault::TokensOfOthers { Fault::Nothing } else { self.fault };
        tables.put(fault, &account, version).map(drop)
    }

    async fn update(&self, old: &Account, new: &Account) -> Result<Account, StoreError> {
        if self.fault == Fault::EachServerComparesForItself {
            let _turn = self.turn.lock().await;
            let current = self.tables().current(self.fault, old, new)?;
            tokio::task::yield_now().await;
            return self.changing().change(self.fault, &current, new);
        }
        let mut tables = self.changing();
        let current = tables.current(self.fault, old, new)?;
        tables.change(self.fault, &current, new)
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let mut tables = self.changing();
        if self.fault != Fault::TokensStay {
            tables.tokens.retain(|_, owner| owner != name);
        }
        let removed = tables.accounts.remove(&self.fault.key(name));
        let is_told = removed.is_none() && self.fault != Fault::RemovedTwice;
        if is_told { Err(AccountError::Unknown(name.to_owned()).into()) } else { Ok(()) }
    }

    async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        Ok(self.tables().roles.values().cloned().collect())
    }

    async fn role_users(&self, role: &str) -> Result<u64, StoreError> {
        Ok(self.tables().accounts.values().filter(|account| account.roles().any(|held| held == role)).count() as u64)
    }

    async fn add_role(&self, role: &Role) -> Result<(), StoreError> {
        let mut tables = self.changing();
        let name = self.fault.role_key(role.name());
        if tables.roles.contains_key(&name) {
            return Err(AccountError::RoleExists(role.name().to_owned()).into());
        }
        tables.versions += 1;
        let version = tables.versions;
        tables.roles.insert(name, role.clone().with_version(version));
        Ok(())
    }

    async fn update_role(&self, old: &Role, new: &Role) -> Result<(), StoreError> {
        self.changing().update_role(self.fault, old, new)
    }

    async fn remove_role(&self, name: &str) -> Result<(), StoreError> {
        let mut tables = self.changing();
        let has_it = |account: &&Account| account.roles().any(|role| role == name);
        if let Some(user) = tables.accounts.values().find(has_it).map(|account| account.name().to_owned()) {
            return Err(AccountError::RoleInUse { role: name.to_owned(), user }.into());
        }
        let removed = tables.roles.remove(&self.fault.role_key(name));
        removed.map(drop).ok_or_else(|| AccountError::UnknownRole(name.to_owned()).into())
    }
}

/// A store that is away, or says that nobody is there.
pub(crate) struct Gone(pub(crate) Fault);

impl Gone {
    fn say<T>(&self, nothing: T) -> Result<T, StoreError> {
        match self.0 {
            Fault::AwayIsAbsence => Ok(nothing),
            _ => Err(StoreError::Away { what: "it is away", source: None }),
        }
    }

    fn refuse<T>(&self, error: AccountError) -> Result<T, StoreError> {
        Err(if self.0 == Fault::AwayIsAbsence {
            error.into()
        } else {
            StoreError::Away { what: "it is away", source: None }
        })
    }
}

impl AccountStore for Gone {
    async fn find(&self, _: &str) -> Result<Option<Account>, StoreError> {
        self.say(None)
    }

    async fn find_token(&self, _: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        self.say(None)
    }

    async fn page(&self, _: Option<&str>, _: usize) -> Result<Vec<Account>, StoreError> {
        self.say(Vec::new())
    }

    async fn imitation(&self) -> Imitation {
        Imitation::default()
    }

    async fn add(&self, _: &Account) -> Result<(), StoreError> {
        self.say(())
    }

    async fn update(&self, _: &Account, _: &Account) -> Result<Account, StoreError> {
        self.refuse(AccountError::Unknown(String::new()))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.refuse(AccountError::Unknown(name.to_owned()))
    }

    async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        self.say(Vec::new())
    }

    async fn role_users(&self, _: &str) -> Result<u64, StoreError> {
        self.say(0)
    }

    async fn add_role(&self, _: &Role) -> Result<(), StoreError> {
        self.say(())
    }

    async fn update_role(&self, _: &Role, _: &Role) -> Result<(), StoreError> {
        self.refuse(AccountError::UnknownRole(String::new()))
    }

    async fn remove_role(&self, name: &str) -> Result<(), StoreError> {
        self.refuse(AccountError::UnknownRole(name.to_owned()))
    }
}
