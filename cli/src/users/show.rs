//! What there is to see of accounts. Never a hash.

use super::keys;
use crate::accounts::{Opened, Unreadable, Users, all_read};
use crate::failure::Failure;
use crate::term;
use countersign::UnixTime;
use countersign::accounts::Account;
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One account, for scripts.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    permissions: Vec<&'a str>,
    password: bool,
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

/// All accounts, for scripts.
#[derive(Serialize)]
struct Listing<'a> {
    accounts: Vec<Shown<'a>>,
    broken_lines: Vec<Unreadable>,
}

impl<'a> Shown<'a> {
    fn of(account: &'a Account) -> Self {
        let now = UnixTime::from_system(SystemTime::now());
        let expired = account.expires().is_some_and(|expires| expires <= now);
        let has_key = account.keys().iter().any(|key| key.expiry().is_none_or(|expiry| now <= expiry));
        let (password, tokens, locked) = (account.has_password(), account.tokens(), account.is_locked());
        Self {
            name: account.name(),
            permissions: account.grant().permissions().collect(),
            password,
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

pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    term::line(text.map_err(|error| Failure::new(format_args!("this can't be written as JSON: {error}")))?)
}

/// The words, or a dash.
fn words(words: &[&str], between: &str) -> String {
    if words.is_empty() { "-".to_owned() } else { term::visible(&words.join(between)) }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

pub(super) fn list(users: &Users, as_json: bool) -> Result<(), Failure> {
    let opened = Opened::open(users)?;
    let mut accounts = Vec::new();
    opened.each(|account| accounts.push(account))?;
    let broken = opened.unreadable()?;
    let shown: Vec<Shown<'_>> = accounts.iter().map(Shown::of).collect();
    if as_json {
        let listing = Listing { accounts: shown, broken_lines: broken };
        json(&listing)?;
        return all_read(users, &listing.broken_lines);
    }
    let mut rows =
        vec![["NAME", "PERMISSIONS", "PASSWORD", "KEYS", "TOKENS", "TOTP", "STATE"].map(str::to_owned).to_vec()];
    rows.extend(shown.iter().map(|account| {
        vec![
            term::visible(account.name),
            words(&account.permissions, ","),
            yes(account.password).to_owned(),
            account.keys.len().to_string(),
            account.tokens.to_string(),
            yes(account.totp).to_owned(),
            account.state(),
        ]
    }));
    term::aligned(&rows, 1, term::width()).into_iter().try_for_each(term::line)?;
    all_read(users, &broken)
}

/// Says whether all can be read.
pub(super) fn check(users: &Users) -> Result<(), Failure> {
    let opened = Opened::open(users)?;
    let mut count = 0_usize;
    opened.each(|_| count = count.saturating_add(1))?;
    all_read(users, &opened.unreadable()?)?;
    let what = if matches!(users, Users::File(_)) { "line" } else { "account" };
    term::line(format_args!("{users}: {}, and every {what} can be read", term::count(count, "account")))
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
    let keys = match shown.keys.as_slice() {
        [] => "0".to_owned(),
        keys => format!("{}: {}", keys.len(), keys.iter().map(|key| &*key.fingerprint).collect::<Vec<_>>().join(", ")),
    };
    for (what, is) in [
        ("name", term::visible(shown.name)),
        ("permissions", words(&shown.permissions, ", ")),
        ("password", yes(shown.password).to_owned()),
        ("keys", keys),
        ("tokens", shown.tokens.to_string()),
        ("totp", second_factor),
        ("locked", yes(shown.locked).to_owned()),
        ("expires", expires),
        ("can log in", yes(shown.can_log_in).to_owned()),
    ] {
        term::line(format_args!("{what:11}  {is}"))?;
    }
    Ok(())
}
