//! What there is to see of accounts. Never a hash.

use super::keys;
use crate::accounts::{Opened, Unreadable, Users, all_read};
use crate::failure::Failure;
use crate::term;
use countersign::accounts::Account;
use countersign::{AddressPatterns, StretchedHash, UnixTime};
use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use std::cell::RefCell;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One account, for scripts.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    permissions: Vec<&'a str>,
    roles: Vec<&'a str>,
    /// From where alone they may log in.
    from: Option<&'a str>,
    /// In either form.
    password: bool,
    /// Where it is stretched at the client: for what, and at which parameters.
    stretched: Option<Stretched<'a>>,
    keys: Vec<keys::Shown>,
    tokens: usize,
    /// Whether a second factor is set.
    totp: bool,
    recovery_codes: usize,
    locked: bool,
    /// RFC 3339, in UTC.
    expires: Option<String>,
    expired: bool,
    /// Whether a login can succeed now.
    can_log_in: bool,
}

/// How a password is stretched, for scripts.
#[derive(Serialize)]
struct Stretched<'a> {
    realm: &'a str,
    parameters: String,
}

/// All accounts, for scripts: however many there are, those that are written are not held.
#[derive(Serialize)]
struct Listing<'a> {
    accounts: Each<'a>,
    /// Of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_lines: Option<&'a RefCell<Vec<Unreadable>>>,
    /// Of a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<&'a RefCell<Vec<Unreadable>>>,
}

/// Accounts that are read while they are written.
struct Each<'a> {
    opened: &'a Opened<'a>,
    unreadable: &'a RefCell<Vec<Unreadable>>,
    /// Why they could not be read to their end.
    failed: &'a RefCell<Option<Failure>>,
}

impl Serialize for Each<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut accounts = serializer.serialize_seq(None)?;
        let mut not_written = None;
        let read = self.opened.each(|account| {
            accounts.serialize_element(&Shown::of(account)).map_err(|error| {
                let failure = Failure::new(format_args!("standard output: {error}"));
                not_written = Some(error);
                failure
            })
        });
        match (read, not_written) {
            (Ok(unreadable), _) => {
                self.unreadable.replace(unreadable);
                accounts.end()
            }
            (Err(_), Some(error)) => Err(error),
            (Err(failure), None) => {
                self.failed.replace(Some(failure));
                Err(S::Error::custom("the accounts could not be read"))
            }
        }
    }
}

impl<'a> Shown<'a> {
    fn of(account: &'a Account) -> Self {
        let now = UnixTime::from_system(SystemTime::now());
        let expired = account.expires().is_some_and(|expires| expires <= now);
        let has_key = account.keys().iter().any(|key| key.until().is_none_or(|until| now < until));
        let stretched = account.stretched();
        let password = account.has_password() || stretched.is_some();
        let (tokens, locked) = (account.tokens(), account.is_locked());
        let shown = |of: &'a StretchedHash| Stretched { realm: of.realm(), parameters: of.parameters().to_string() };
        Self {
            name: account.name(),
            permissions: account.own_grant().permissions().collect(),
            roles: account.roles().collect(),
            from: account.allowed_from().map(AddressPatterns::as_str),
            password,
            stretched: stretched.map(shown),
            keys: account.keys().iter().map(keys::Shown::of).collect(),
            tokens,
            totp: account.has_totp(),
            recovery_codes: account.recovery_codes(),
            locked,
            expires: account.expires().map(date),
            expired,
            can_log_in: (password || tokens > 0 || has_key) && !locked && !expired,
        }
    }

    /// As the list has them: a role is what it is called, with an `@`.
    fn permissions_and_roles(&self) -> Vec<String> {
        let roles = self.roles.iter().map(|role| format!("@{role}"));
        roles.chain(self.permissions.iter().map(|&permission| permission.to_owned())).collect()
    }

    /// As the list has it.
    fn row(&self) -> Vec<String> {
        vec![
            term::visible(self.name),
            words(&self.permissions_and_roles(), ","),
            yes(self.password).to_owned(),
            self.keys.len().to_string(),
            self.tokens.to_string(),
            yes(self.totp).to_owned(),
            self.state(),
        ]
    }

    fn state(&self) -> String {
        match &self.expires {
            _ if self.locked => "locked".to_owned(),
            Some(expires) if self.expired => format!("expired {expires}"),
            Some(expires) => format!("until {expires}"),
            None => "open".to_owned(),
        }
    }
}

/// A date, as RFC 3339 has it.
pub(super) fn date(time: UnixTime) -> String {
    // What no date can be written for never comes.
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs().min(253_402_300_799)));
    time.map(|time| humantime::format_rfc3339_seconds(time).to_string()).unwrap_or_default()
}

pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    term::line(text.map_err(|error| Failure::new(format_args!("this can't be written as JSON: {error}")))?)
}

/// The words, or a dash.
pub(crate) fn words<W: AsRef<str>>(words: &[W], between: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    if words.is_empty() { "-".to_owned() } else { term::visible(&words.join(between)) }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

pub(super) fn list(users: &Users, as_json: bool) -> Result<(), Failure> {
    let opened = Opened::open(users)?;
    let unreadable = if as_json { list_json(users, &opened)? } else { list_table(&opened)? };
    all_read(users, &unreadable)
}

fn list_json(users: &Users, opened: &Opened<'_>) -> Result<Vec<Unreadable>, Failure> {
    let (unreadable, failed) = (RefCell::default(), RefCell::default());
    let accounts = Each { opened, unreadable: &unreadable, failed: &failed };
    let (broken_lines, others) = match users {
        Users::File(_) => (Some(&unreadable), None),
        #[cfg(feature = "sql")]
        Users::Sql(_) => (None, Some(&unreadable)),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut out, &Listing { accounts, broken_lines, unreadable: others });
    let written = written.map_err(io::Error::from).and_then(|()| writeln!(out)).and_then(|()| out.flush());
    match (failed.take(), written) {
        (Some(failure), _) => Err(failure),
        (None, written) => written.map_err(|error| Failure::output(&error)).map(|()| unreadable.take()),
    }
}

/// Rows that are printed at once.
const ROWS: usize = 1000;

fn list_table(opened: &Opened<'_>) -> Result<Vec<Unreadable>, Failure> {
    let heads = ["NAME", "PERMISSIONS", "PASSWORD", "KEYS", "TOKENS", "TOTP", "STATE"].map(str::to_owned).to_vec();
    let (mut table, mut rows) = (term::Table::new(vec![heads], term::width()), Vec::new());
    let unreadable = opened.each(|account| {
        rows.push(Shown::of(account).row());
        if rows.len() < ROWS { Ok(()) } else { term::line(table.lines(&std::mem::take(&mut rows)).join("\n")) }
    })?;
    let rest = table.lines(&rows);
    // The heads, at least, where nothing was printed yet.
    if rest.is_empty() { Ok(()) } else { term::line(rest.join("\n")) }?;
    Ok(unreadable)
}

pub(super) fn check(users: &Users) -> Result<(), Failure> {
    let opened = Opened::open(users)?;
    let mut count = 0_usize;
    let unreadable = opened.each(|_| {
        count = count.saturating_add(1);
        Ok(())
    })?;
    all_read(users, &unreadable)?;
    let all = match users {
        Users::File(_) => "every line",
        #[cfg(feature = "sql")]
        Users::Sql(_) => "every one",
    };
    term::line(format_args!("{users}: {}, and {all} can be read", term::count(count, "account")))
}

pub(super) fn account(account: &Account, as_json: bool) -> Result<(), Failure> {
    let shown = Shown::of(account);
    if as_json {
        return json(&shown);
    }
    let expires = match &shown.expires {
        Some(expires) if shown.expired => format!("{expires}, so it is over"),
        Some(expires) => expires.clone(),
        None => "never".to_owned(),
    };
    let second_factor = match shown.recovery_codes {
        _ if !shown.totp => yes(false).to_owned(),
        left => format!("{}, {} left", yes(true), term::count(left, "recovery code")),
    };
    let password = match &shown.stretched {
        Some(Stretched { realm, parameters }) => format!("yes, stretched for {realm} at {parameters}"),
        None => yes(shown.password).to_owned(),
    };
    let keys = match shown.keys.as_slice() {
        [] => "0".to_owned(),
        keys => format!("{}: {}", keys.len(), keys.iter().map(|key| &*key.fingerprint).collect::<Vec<_>>().join(", ")),
    };
    for (what, is) in [
        ("name", term::visible(shown.name)),
        ("roles", words(&shown.roles, ", ")),
        ("permissions", words(&shown.permissions, ", ")),
        ("password", password),
        ("keys", keys),
        ("tokens", shown.tokens.to_string()),
        ("totp", second_factor),
        ("from", term::visible(shown.from.unwrap_or("anywhere"))),
        ("locked", yes(shown.locked).to_owned()),
        ("expires", expires),
        ("can log in", yes(shown.can_log_in).to_owned()),
    ] {
        term::line(format_args!("{what:11}  {is}"))?;
    }
    Ok(())
}
