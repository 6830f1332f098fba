//! A user as a directory has them.

use super::{LdapConfig, dn};
use asn1_rs::GeneralizedTime;
use countersign::{Grant, Reason, UnixTime};
use ldap3::SearchEntry;
use sha2::{Digest, Sha256};

/// What is read of an entry, whatever directory it is in, beside the name. What one does not have is left out.
pub(super) const ATTRIBUTES: [&str; 16] = [
    // Its groups.
    "memberOf",
    // Which entry it is, however it is renamed.
    "entryUUID",
    "objectGUID",
    "nsUniqueId",
    // When its password was set.
    "pwdChangedTime",
    "pwdLastSet",
    "krbLastPwdChange",
    // Whether it may be used.
    "pwdAccountLockedTime",
    "nsAccountLock",
    "loginDisabled",
    "userAccountControl",
    "accountExpires",
    "shadowExpire",
    "krbPrincipalExpiration",
    "pwdStartTime",
    "pwdEndTime",
];

/// Those of them that say when the password was set.
const SET: [&str; 3] = ["pwdChangedTime", "pwdLastSet", "krbLastPwdChange"];

/// A user's entry.
pub(super) struct Person {
    pub(super) dn: String,
    /// As the directory writes it.
    name: String,
    entry: SearchEntry,
    groups: Vec<String>,
}

impl Person {
    /// None where the entry is not that of this user: it may have several names, of which one must be the one that was asked for.
    pub(super) fn of(entry: SearchEntry, attribute: &str, user: &str) -> Option<Self> {
        let came_by = values(&entry, attribute).find(|name| name.to_lowercase() == user.to_lowercase())?;
        // That of the entry's own name, if it has one of them. A directory gives values in any order.
        let front = |name: &str| dn::normal(&dn::named(&format!("{attribute}={}", super::config::USER), name));
        let (own, rest) = (dn::normal(&entry.dn), [',', '+']);
        let is_own = |name: &&str| {
            own.strip_prefix(&front(name)).is_some_and(|after| after.is_empty() || after.starts_with(rest))
        };
        // Of other names the directory has said of this one alone that nobody else has it.
        let name = values(&entry, attribute).find(is_own).unwrap_or(came_by).to_owned();
        let groups = values(&entry, "memberOf").map(dn::normal).collect();
        Some(Self { dn: entry.dn.clone(), name, entry, groups })
    }

    /// Whether the directory shows which entry it is.
    pub(super) fn is_identified(&self) -> bool {
        self.identity().len() > 1
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn set_groups(&mut self, groups: Vec<String>) {
        self.groups = groups.iter().map(|group| dn::normal(group)).collect();
    }

    /// What they may do, or why they are not let in.
    pub(super) fn grant(&self, config: &LdapConfig) -> Result<Grant, Reason> {
        let time = config.clock.look();
        let seconds = |time: UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let (now, otherwise) = (seconds(time.now()), time.otherwise().map_or(i64::MIN, seconds));
        self.admit(seconds(time.earliest()), now.max(otherwise))?;
        let mut groups: Vec<&str> = Vec::new();
        let mut permissions: Vec<&str> = Vec::new();
        for (group, of_group) in &config.permissions {
            if self.groups.contains(group) {
                groups.push(group);
                permissions.extend(of_group.iter().map(String::as_str));
            }
        }
        if groups.is_empty() && config.everybody.is_empty() && !config.permissions.is_empty() {
            return Err(Reason::Application("the account is in none of the groups that are let in"));
        }
        permissions.extend(config.everybody.iter().map(String::as_str));
        let mut seen = Vec::new();
        permissions.retain(|permission| {
            let is_new = !seen.contains(permission);
            seen.push(permission);
            is_new
        });
        let grant = Grant::new(self.name.as_str(), permissions)?;
        // Without an account that reads entries nobody can tell later whether they are the same.
        if config.service.is_none() {
            return Ok(grant);
        }
        let Some(password) = self.password(config) else { return Ok(grant) };
        let of_account = [b"countersign account".to_vec()].into_iter().chain(password.iter().cloned());
        let of_account: Vec<_> = of_account.chain(groups.iter().map(|group| group.as_bytes().to_vec())).collect();
        Ok(grant.with_epoch(number(&of_account)).with_credential_epoch(number(&password)))
    }

    /// Whether the entry may be used, in Unix seconds: by the earlier of two times it is not over, and by the later one it has begun.
    fn admit(&self, now: i64, latest: i64) -> Result<(), Reason> {
        let is = |attribute: &str, value: &str| self.values(attribute).any(|held| held.eq_ignore_ascii_case(value));
        let number = |attribute: &str| self.values(attribute).next().and_then(|value| value.parse::<i64>().ok());
        // For ever. Any other time may be over, which the directory knows when it is asked for the password.
        if is("pwdAccountLockedTime", "000001010000Z") {
            return Err(Reason::AccountLocked);
        }
        // Bit 2 is ACCOUNTDISABLE.
        if is("nsAccountLock", "TRUE")
            || is("loginDisabled", "TRUE")
            || number("userAccountControl").is_some_and(|flags| flags & 2 != 0)
        {
            return Err(Reason::AccountDisabled);
        }
        // In tenths of microseconds since 1601; 0 is never, and so is the largest, in the year 30828.
        let of_windows = number("accountExpires").filter(|time| *time != 0);
        let of_windows = of_windows.map(|time| time.saturating_div(10_000_000).saturating_sub(11_644_473_600));
        // In days.
        let of_shadow = number("shadowExpire").filter(|days| *days >= 0).map(|days| days.saturating_mul(86_400));
        let time = |attribute| self.values(attribute).next().map(time).transpose();
        // MIT Kerberos writes 0 for never.
        let of_kerberos = time("krbPrincipalExpiration")?.filter(|end| *end != 0);
        let (start, of_policy) = (time("pwdStartTime")?, time("pwdEndTime")?);
        if [of_windows, of_shadow, of_kerberos, of_policy].into_iter().flatten().any(|end| end <= now) {
            return Err(Reason::AccountExpired);
        }
        // As of one that was disabled until then.
        if start.is_some_and(|start| latest < start) {
            return Err(Reason::AccountDisabled);
        }
        Ok(())
    }

    /// Which entry it is, and when its password was set; none where the directory does not tell. Not when the entry was changed: a password policy changes it
    /// with each wrong password, so strangers could end everybody's sessions.
    fn password(&self, config: &LdapConfig) -> Option<Vec<Vec<u8>>> {
        let attributes = config.password_set.as_deref().map_or(SET.to_vec(), |attribute| vec![attribute]);
        let set: Vec<&str> = attributes.into_iter().flat_map(|name| values(&self.entry, name)).collect();
        if set.is_empty() {
            return None;
        }
        let mut parts = self.identity();
        parts.extend(set.into_iter().map(|text| text.as_bytes().to_vec()));
        Some(parts)
    }

    /// Which entry it is: one that is made anew under the same name is another.
    fn identity(&self) -> Vec<Vec<u8>> {
        let mut identity = vec![dn::normal(&self.dn).into_bytes()];
        for attribute in ["entryUUID", "objectGUID", "nsUniqueId"] {
            identity.extend(self.values(attribute).map(|text| text.as_bytes().to_vec()));
            let is_it = |name: &&String| name.eq_ignore_ascii_case(attribute);
            if let Some(name) = self.entry.bin_attrs.keys().find(is_it) {
                identity.extend(self.entry.bin_attrs.get(name).into_iter().flatten().cloned());
            }
        }
        identity
    }

    fn values<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = &'a str> {
        values(&self.entry, attribute)
    }
}

/// A generalized time (RFC 4517, 3.3.13), in Unix seconds.
fn time(text: &str) -> Result<i64, Reason> {
    let time = GeneralizedTime::from_bytes(text.as_bytes()).and_then(|time| time.utc_datetime());
    let time = time.map_err(|_| Reason::Application("the account has a time in the directory that can't be read"))?;
    Ok(time.unix_timestamp())
}

/// An attribute's values, whatever case its name is written in.
fn values<'a>(entry: &'a SearchEntry, attribute: &str) -> impl Iterator<Item = &'a str> {
    let found = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute));
    found.into_iter().flat_map(|(_, values)| values).map(String::as_str)
}

/// `SHA-256(length || part || ...)`, its first 64 bits.
fn number(parts: &[Vec<u8>]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::{ATTRIBUTES, LdapConfig, Person, SET, time};
    use countersign::{Clock, Moment, Reason, UnixTime};
    use ldap3::SearchEntry;
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    fn entry(attributes: &[(&str, &str)]) -> SearchEntry {
        let attributes = [("uid", "alice")].iter().chain(attributes);
        let attrs = attributes.map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        SearchEntry { dn: "uid=alice,dc=example".to_owned(), attrs, bin_attrs: HashMap::new() }
    }

    fn person(entry: SearchEntry) -> Person {
        Person::of(entry, "uid", "alice").unwrap()
    }

    #[test]
    fn of_several_names_it_is_the_entrys_own_or_else_the_one_that_they_come_by_whatever_the_order() {
        let named = |dn: &str, names: [&str; 3], user: &str| {
            let attrs = HashMap::from([("UID".to_owned(), names.map(str::to_owned).to_vec())]);
            let entry = SearchEntry { dn: dn.to_owned(), attrs, bin_attrs: HashMap::new() };
            Person::of(entry, "uid", user).map(|person| person.name().to_owned())
        };
        for (user, as_written) in
            [("Alice", "Alice"), ("a.smith", "a.smith"), ("ALICE", "Alice"), ("alice smith", "Alice Smith")]
        {
            for names in [["Alice", "a.smith", "Alice Smith"], ["Alice Smith", "a.smith", "Alice"]] {
                for (dn, name) in [
                    ("uid=alice,dc=example", "Alice"),
                    ("UID = Alice Smith, dc=example", "Alice Smith"),
                    ("uid=a.smith+cn=Alice,dc=example", "a.smith"),
                    // Whoever may write the attribute could have written anybody's there, and shown none of it.
                    ("cn=Alice Smith,dc=example", as_written),
                    ("uid=somebody else,dc=example", as_written),
                ] {
                    assert_eq!(named(dn, names, user).as_deref(), Some(name), "{dn} {names:?} {user}");
                }
            }
        }
        assert_eq!(named("uid=alice,dc=example", ["alice", "a", "b"], "mallory"), None);
    }

    #[test]
    fn an_account_that_is_shut_or_over_is_not_let_in_whichever_directory_it_is_of() {
        // 2026-11-28 00:00:00 UTC.
        const NOW: i64 = 1_795_824_000;
        let (locked, disabled, expired) =
            (Err(Reason::AccountLocked), Err(Reason::AccountDisabled), Err(Reason::AccountExpired));
        for (name, value, verdict) in [
            ("pwdAccountLockedTime", "000001010000Z", &locked),
            ("pwdAccountLockedTime", "20261127160000Z", &Ok(())),
            ("nsAccountLock", "TRUE", &disabled),
            ("nsaccountlock", "true", &disabled),
            ("nsAccountLock", "FALSE", &Ok(())),
            ("loginDisabled", "TRUE", &disabled),
            ("loginDisabled", "FALSE", &Ok(())),
            // NORMAL_ACCOUNT, DONT_EXPIRE_PASSWORD and SCRIPT, each with ACCOUNTDISABLE and without.
            ("userAccountControl", "514", &disabled),
            ("userAccountControl", "512", &Ok(())),
            ("userAccountControl", "66050", &disabled),
            ("userAccountControl", "66048", &Ok(())),
            ("userAccountControl", "515", &disabled),
            ("userAccountControl", "513", &Ok(())),
            ("accountExpires", "134402976000000000", &expired),
            ("accountExpires", "134402976010000000", &Ok(())),
            ("accountExpires", "0", &Ok(())),
            ("accountExpires", "9223372036854775807", &Ok(())),
            ("shadowExpire", "20785", &expired),
            ("shadowExpire", "20786", &Ok(())),
            ("shadowExpire", "0", &expired),
            ("shadowExpire", "-1", &Ok(())),
            ("krbPrincipalExpiration", "20261128000000Z", &expired),
            ("krbPrincipalExpiration", "20261128000001Z", &Ok(())),
            ("krbPrincipalExpiration", "19700101000000Z", &Ok(())),
            ("pwdEndTime", "20261128000000Z", &expired),
            ("pwdEndTime", "20261128000001Z", &Ok(())),
            ("pwdEndTime", "19700101000000Z", &expired),
            ("pwdStartTime", "20261128000001Z", &disabled),
            ("pwdStartTime", "20261128000000Z", &Ok(())),
        ] {
            assert_eq!(&person(entry(&[(name, value)])).admit(NOW, NOW), verdict, "{name}: {value}");
            assert!(ATTRIBUTES.iter().any(|asked| asked.eq_ignore_ascii_case(name)), "{name} is not asked for");
        }
        for name in ["krbPrincipalExpiration", "pwdEndTime", "pwdStartTime"] {
            let unreadable = person(entry(&[(name, "never")])).admit(NOW, NOW);
            assert!(matches!(unreadable, Err(Reason::Application(_))), "{name}: {unreadable:?}");
        }
        // Of several ends the first counts.
        let ends = [("accountExpires", "0"), ("shadowExpire", "20785"), ("krbPrincipalExpiration", "20270101000000Z")];
        assert_eq!(person(entry(&ends)).admit(NOW, NOW), expired);
    }

    #[test]
    fn an_account_has_ended_when_it_has_by_both_times_of_a_clock_that_jumped() {
        const DAY: u64 = 86_400;
        let time = Arc::new(AtomicU64::new(20_000 * DAY));
        let told = Arc::clone(&time);
        let clock = Clock::new(move || (Moment::ORIGIN, UnixTime::from_secs(told.load(Relaxed))));
        let config = LdapConfig::parse("ldaps://ldap.example").unwrap().with_clock(clock);
        let grant = |ends_on: u64| person(entry(&[("shadowExpire", &ends_on.to_string())])).grant(&config).map(drop);
        let expired = Err(Reason::AccountExpired);
        assert_eq!((grant(20_000), grant(20_001)), (expired.clone(), Ok(())));
        for (jump, ended) in [(20_400, 20_000), (19_600, 19_600)] {
            time.store(jump * DAY, Relaxed);
            assert_eq!((grant(ended), grant(ended + 1)), (expired.clone(), Ok(())), "{jump}");
        }
        // The other way round: it is enough that one of them says that it has begun.
        let begins = |on: &str| person(entry(&[("pwdStartTime", on)])).grant(&config).map(drop);
        assert_eq!((begins("20241004000000Z"), begins("20241006000000Z")), (Ok(()), Err(Reason::AccountDisabled)));
    }

    #[test]
    fn another_password_or_another_entry_of_the_same_name_has_another_epoch() {
        let config = LdapConfig::parse("ldaps://ldap.example").unwrap().with_permissions(["read"]);
        let config = config.with_search("dc=example", "(uid={user})").with_service("cn=service", "its password");
        let epochs = |entry| {
            let grant = person(entry).grant(&config).unwrap();
            assert_eq!(grant.epoch().is_some(), grant.credential_epoch().is_some());
            grant.credential_epoch()
        };
        let mut seen = HashSet::new();
        for name in SET {
            assert!(ATTRIBUTES.contains(&name), "{name} is not asked for");
            for value in [format!("{name} one"), format!("{name} other")] {
                assert!(seen.insert(epochs(entry(&[(name, &value)])).unwrap()), "{value}");
            }
        }
        for name in ["entryUUID", "objectGUID", "nsUniqueId"] {
            assert!(ATTRIBUTES.contains(&name), "{name} is not asked for");
            for value in [format!("{name} one"), format!("{name} other")] {
                let text = entry(&[("pwdLastSet", "1"), (name, &value)]);
                // Those that are no text, as Active Directory has them.
                let mut binary = entry(&[("pwdLastSet", "2")]);
                binary.bin_attrs.insert(name.to_owned(), vec![[value.as_bytes(), b"\xff"].concat()]);
                for entry in [text, binary] {
                    assert!(seen.insert(epochs(entry).unwrap()), "{value}");
                }
            }
        }
        assert_eq!(epochs(entry(&[("entryUUID", "one")])), None, "nothing says when the password was set");
    }

    #[test]
    fn a_time_is_read_as_directories_write_it_and_nothing_else_is_one() {
        assert_eq!(time("20261127160000Z"), Ok(1_795_795_200));
        assert_eq!(time("20261127160000.0Z"), Ok(1_795_795_200));
        assert_eq!(time("20261127170000+0100"), Ok(1_795_795_200));
        for bad in ["", "never", "2026", "20261327160000Z", "20260230160000Z", "20261127160000Zulu", "-0261127160000Z"]
        {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
