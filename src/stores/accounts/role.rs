//! Roles: permissions under one name, for many accounts.

use super::account::Account;
use super::line::{LineError, Permissions, Rest};
use super::since::Since;
use super::{AccountError, Accounts, Line};
use crate::limits;
use crate::terms::grant::Grant;
use core::fmt;
use std::sync::Arc;

/// A role: permissions under a name, which accounts have by that name.
///
/// In an account file it is a line that begins with `@`: `@clerk permissions=orders:read,orders:write`.
#[derive(Clone)]
pub struct Role {
    /// The role's name in the principal's place.
    grant: Grant,
    /// The line that it was read from, where that is not what is written.
    line: Option<Box<[u8]>>,
    since: Since,
}

impl Role {
    /// A role. Its name has 1 to 64 bytes: letters and digits of ASCII, `-`, `_` and `.`; its permissions are those of [`Grant::new`].
    ///
    /// # Errors
    /// [`AccountError::BadRole`], [`AccountError::Permissions`].
    pub fn new<P: AsRef<str>>(name: &str, permissions: impl IntoIterator<Item = P>) -> Result<Self, AccountError> {
        check(name)?;
        Ok(Self { grant: Grant::new(name, permissions)?, line: None, since: Since::now() })
    }

    /// Its name, without the `@`.
    pub fn name(&self) -> &str {
        self.grant.principal()
    }

    /// What it permits.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        self.grant.permissions()
    }

    /// Gives it a permission. Gives whether it is a new one.
    ///
    /// # Errors
    /// [`AccountError::Permissions`].
    pub fn add_permission(&mut self, permission: &str) -> Result<bool, AccountError> {
        if self.permissions().any(|held| held == permission) {
            return Ok(false);
        }
        *self = Self::new(self.name(), self.permissions().chain([permission]))?;
        Ok(true)
    }

    /// Takes a permission from it. Gives whether there was such a one.
    ///
    /// # Errors
    /// [`AccountError::Permissions`].
    pub fn remove_permission(&mut self, permission: &str) -> Result<bool, AccountError> {
        if self.permissions().all(|held| held != permission) {
            return Ok(false);
        }
        *self = Self::new(self.name(), self.permissions().filter(|&held| held != permission))?;
        Ok(true)
    }

    /// Whether both have the same name and permissions, whatever their versions are.
    pub fn is_same(&self, other: &Self) -> bool {
        self.grant == other.grant
    }

    /// A number that stands for the last change of the role.
    pub fn version(&self) -> u64 {
        self.since.number()
    }

    /// The same role under this version. For stores of one's own: a random number, drawn anew whenever the role is changed, and kept with it;
    /// it is a part of the epochs of the accounts that have the role.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.since = Since::from_number(version);
        self
    }

    /// Reads what stands behind the `@`; `line` is all of the line.
    pub(super) fn parse(text: &str, line: &[u8]) -> Result<Self, LineError> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().filter(|name| check(name).is_ok()).ok_or(LineError::RoleName)?;
        let permissions = match (words.next().map(|word| word.strip_prefix("permissions=")), words.next()) {
            (None, None) => None,
            (Some(Some(permissions)), None) => Some(permissions.split(',')),
            _ => return Err(LineError::RoleField),
        };
        let grant = Grant::new(name, permissions.into_iter().flatten()).map_err(|_| LineError::Permissions)?;
        let mut role = Self { grant, line: None, since: Since::now() };
        if !Rest::is_all(line, format_args!("{role}")) {
            role.line = Some(line.into());
        }
        Ok(role)
    }

    /// As it is written.
    pub(super) fn to_line(&self) -> Box<[u8]> {
        self.line.clone().unwrap_or_else(|| self.to_string().into_bytes().into())
    }

    pub(super) fn since(&self) -> Since {
        self.since
    }

    pub(super) fn is_same_line(&self, other: &Self) -> bool {
        self.grant == other.grant && self.line == other.line
    }

    /// The same one, changed then.
    pub(super) fn changed(&self, since: Since) -> Self {
        Self { since, ..self.clone() }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.name())?;
        if self.permissions().next().is_some() {
            write!(f, " permissions={}", Permissions(&self.grant))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Role({self})")
    }
}

/// Whether a role may have this name.
pub(super) fn check(name: &str) -> Result<(), AccountError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let allowed = (1..=limits::MAX_ROLE).contains(&name.len()) && name.bytes().all(is_plain);
    if allowed { Ok(()) } else { Err(AccountError::BadRole) }
}

/// Roles.
impl Accounts {
    /// The roles, in the order of their lines.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.lines.iter().filter_map(|line| match line {
            Line::Role(role) => Some(&**role),
            _ => None,
        })
    }

    /// The role of this name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.role_at(name).map(|(_, role)| &**role)
    }

    fn role_at(&self, name: &str) -> Option<(usize, &Arc<Role>)> {
        let index = *self.index.roles.get(name)?;
        match self.lines.get(index)? {
            Line::Role(role) => Some((index, role)),
            _ => None,
        }
    }

    /// Adds a role.
    ///
    /// # Errors
    /// [`AccountError::BadRole`], [`AccountError::Permissions`], [`AccountError::RoleExists`], also where a line that can't be read has its name.
    pub fn add_role<P: AsRef<str>>(
        &mut self,
        name: &str,
        permissions: impl IntoIterator<Item = P>,
    ) -> Result<(), AccountError> {
        self.insert_role(Role::new(name, permissions)?)
    }

    pub(super) fn insert_role(&mut self, role: Role) -> Result<(), AccountError> {
        let name = role.name();
        if self.role(name).is_some() || self.index.claims.contains_key(&format!("@{name}")) {
            return Err(AccountError::RoleExists(name.to_owned()));
        }
        // In front of those who have it: people read from the top.
        let first = self.lines.iter().position(|line| matches!(line, Line::Account(_))).unwrap_or(self.lines.len());
        self.lines.insert(first, Line::Role(Arc::new(role)));
        self.reindex();
        Ok(())
    }

    /// Gives a role a permission. Gives whether it is a new one. All who have the role have it, and another epoch.
    ///
    /// # Errors
    /// [`AccountError::UnknownRole`], [`AccountError::Permissions`]: also where an account that has the role would have more than a grant may have.
    pub fn add_role_permission(&mut self, name: &str, permission: &str) -> Result<bool, AccountError> {
        self.edit_role(name, |role| role.add_permission(permission))
    }

    /// Takes a permission from a role. Gives whether there was such a one.
    ///
    /// # Errors
    /// [`AccountError::UnknownRole`].
    pub fn remove_role_permission(&mut self, name: &str, permission: &str) -> Result<bool, AccountError> {
        self.edit_role(name, |role| role.remove_permission(permission))
    }

    /// Removes a role that no account has.
    ///
    /// # Errors
    /// [`AccountError::UnknownRole`], [`AccountError::RoleInUse`].
    pub fn remove_role(&mut self, name: &str) -> Result<(), AccountError> {
        self.known_role(name)?;
        if let Some(account) = self.iter().find(|account| account.roles().any(|role| role == name)) {
            return Err(AccountError::RoleInUse { role: name.to_owned(), user: account.name().to_owned() });
        }
        self.lines.retain(|line| !matches!(line, Line::Role(role) if role.name() == name));
        self.reindex();
        Ok(())
    }

    fn edit_role(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Role) -> Result<bool, AccountError>,
    ) -> Result<bool, AccountError> {
        let mut role = self.known_role(name)?.clone();
        let is_another = change(&mut role)?;
        if is_another {
            self.put_role(role)?;
        }
        Ok(is_another)
    }

    fn known_role(&self, name: &str) -> Result<&Role, AccountError> {
        self.role(name).ok_or_else(|| AccountError::UnknownRole(name.to_owned()))
    }

    pub(super) fn put_role(&mut self, role: Role) -> Result<(), AccountError> {
        let Some((index, _)) = self.role_at(role.name()) else {
            return Err(AccountError::UnknownRole(role.name().to_owned()));
        };
        let role = Arc::new(role);
        let of_it = |account: &Account| account.roles().any(|held| held == role.name());
        let find = |name: &str| {
            if name == role.name() {
                Some(Arc::clone(&role))
            } else {
                self.role_at(name).map(|(_, role)| Arc::clone(role))
            }
        };
        for account in self.iter().filter(|account| of_it(account)) {
            account.clone().resolve(find)?;
        }
        if let Some(line) = self.lines.get_mut(index) {
            *line = Line::Role(role);
        }
        // Each of them was tried above.
        drop(self.resolve());
        Ok(())
    }

    /// The account with the permissions of its roles.
    pub(super) fn resolved(&self, mut account: Account) -> Result<Account, AccountError> {
        account.resolve(|name| self.role_at(name).map(|(_, role)| Arc::clone(role)))?;
        Ok(account)
    }

    /// Gives all accounts the permissions of their roles. Gives the lines of those that have a role which there is not: they lock out
    /// their accounts, as all do that can't be read.
    pub(super) fn resolve(&mut self) -> Vec<(usize, LineError)> {
        let mut lines = core::mem::take(&mut self.lines);
        let roles = |name: &str| match lines.get(*self.index.roles.get(name)?)? {
            Line::Role(role) => Some(Arc::clone(role)),
            _ => None,
        };
        let mut broken = Vec::new();
        let mut found = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            if let Line::Account(account) = line
                && account.roles().next().is_some()
            {
                let mut account = account.clone();
                match account.resolve(roles) {
                    Ok(()) => found.push((index, Some(account))),
                    Err(error) => {
                        broken.push((index, LineError::of_role(&error)));
                        found.push((index, None));
                    }
                }
            }
        }
        for (index, account) in found {
            let Some(line) = lines.get_mut(index) else { continue };
            match (account, &*line) {
                (Some(account), _) => *line = Line::Account(account),
                (None, Line::Account(account)) => *line = account.to_broken(index.saturating_add(1)),
                (None, _) => {}
            }
        }
        self.lines = lines;
        if !broken.is_empty() {
            self.reindex();
        }
        broken
    }
}
