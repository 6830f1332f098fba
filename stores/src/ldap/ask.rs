//! A connection to a directory, for one login.

use super::config::{People, Security, USER};
use super::entry::{ATTRIBUTES, Person};
use super::{Inner, LdapError, dn, policy};
use countersign::Reason;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Scope, SearchEntry, SearchOptions};
use std::sync::Arc;

/// A connection that the directory has answered on: the service account is in, where there is one. It ends with this.
pub(super) struct Session {
    ldap: Ldap,
    inner: Arc<Inner>,
}

const UNREACHABLE: Reason = Reason::NotNow("the directory can't be reached");
const BROKEN: Reason = Reason::NotNow("the connection to the directory broke");

/// Of an answer that never comes, or is none.
fn broken(error: ldap3::LdapError) -> Reason {
    match error {
        ldap3::LdapError::LdapResult { result } => policy::away(result.rc),
        _ => BROKEN,
    }
}

/// Of what goes wrong once the password was taken. "Not now" would say that it is right, to whoever guesses, and not count as a guess: it is a refusal as
/// any other, and the log has why. A connection that breaks says nothing of the password.
fn no_longer_away(reason: Reason) -> Reason {
    match reason {
        Reason::NotNow(why) if reason != BROKEN => Reason::Application(why),
        reason => reason,
    }
}

/// Why there is no session.
pub(super) enum NotOpened {
    /// Nobody answers. What the system says of that.
    Unreachable(String),
    /// The directory does not want to be asked.
    Refused(LdapResult),
}

impl NotOpened {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) => UNREACHABLE,
            Self::Refused(answer) => policy::away(answer.rc),
        }
    }
}

impl From<ldap3::LdapError> for NotOpened {
    fn from(error: ldap3::LdapError) -> Self {
        match error {
            ldap3::LdapError::LdapResult { result } => Self::Refused(result),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<NotOpened> for LdapError {
    fn from(error: NotOpened) -> Self {
        match error {
            NotOpened::Unreachable(what) => Self::Away(what),
            NotOpened::Refused(answer) => said(&answer),
        }
    }
}

/// What an answer that is none of those wanted is, for an operator.
fn said(answer: &LdapResult) -> LdapError {
    let text = format!("{} ({answer})", policy::trouble(answer.rc));
    if policy::may_pass(answer.rc) { LdapError::Away(text) } else { LdapError::Refused(text) }
}

impl Session {
    /// Connects, and asks the directory something that depends on nobody who logs in.
    pub(super) async fn open(inner: &Arc<Inner>) -> Result<Self, NotOpened> {
        let config = &inner.config;
        let mut settings = LdapConnSettings::new()
            .set_conn_timeout(config.patience)
            .set_starttls(config.security == Security::StartTls);
        if let Some(tls) = &inner.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        let (connection, mut ldap) = LdapConnAsync::with_settings(settings, &config.url).await?;
        // It ends with the last handle.
        tokio::spawn(async move { connection.drive().await });
        let answer = match &config.service {
            Some((name, password)) => ldap.simple_bind(name, password).await?,
            // Whatever is said of it: that strangers may not see it is an answer, too.
            None => {
                let answer = ldap.search("", Scope::Base, "(objectClass=*)", vec!["1.1"]).await?.1;
                if policy::may_pass(answer.rc) { answer } else { LdapResult { rc: 0, ..answer } }
            }
        };
        if answer.rc == 0 { Ok(Self { ldap, inner: Arc::clone(inner) }) } else { Err(NotOpened::Refused(answer)) }
    }

    /// Whether there is what is to be searched: a base that is misspelt has nobody in it, as if nobody had an account.
    pub(super) async fn look(&mut self) -> Result<(), LdapError> {
        let inner = Arc::clone(&self.inner);
        let config = &inner.config;
        let people = match &config.people {
            Some(People::Found(base, _)) => Some(base),
            _ => None,
        };
        let groups = config.service.as_ref().and(config.groups.as_ref()).map(|(base, _)| base);
        for base in people.into_iter().chain(groups) {
            let looked = self.ldap.search(base, Scope::Base, "(objectClass=*)", vec!["1.1"]).await;
            let looked = looked.map_err(|error| LdapError::from(NotOpened::from(error)))?;
            match (looked.0.is_empty(), looked.1.rc) {
                (false, 0) => {}
                (true, 0) | (_, 32 | 34) => {
                    let text = format!("there is no {base}, or the service account may not see it");
                    return Err(LdapError::Refused(text));
                }
                _ => return Err(said(&looked.1)),
            }
        }
        Ok(())
    }

    /// Lets the directory check a password, and gives whose it is. The same requests are made for whoever is not there.
    pub(super) async fn log_in(mut self, user: &str, password: &str) -> Result<Person, Reason> {
        let has_service = self.inner.config.service.is_some();
        let person = if has_service { self.find(user).await? } else { None };
        let name = match (&person, &self.inner.config.people) {
            (Some(person), _) => person.dn.clone(),
            (None, Some(People::Named(template))) => dn::named(template, user),
            // A name that there is not, below a base that there is.
            (None, Some(People::Found(base, _))) => dn::named(&format!("cn={},{base}", USER), user),
            (None, None) => return Err(UNREACHABLE),
        };
        let answer = self.ldap.with_controls(policy::asked()).simple_bind(&name, password).await.map_err(broken)?;
        let verdict = policy::verdict(&answer);
        match (person, has_service) {
            (Some(person), _) => verdict.map(|()| person),
            // The search did not find them; a directory that takes the password all the same has another entry of that name.
            (None, true) => {
                Err(verdict.err().filter(|reason| matches!(reason, Reason::NotNow(_))).unwrap_or(Reason::UnknownUser))
            }
            (None, false) => {
                // It does not say which of the two is wrong, and what may be no name must not be logged as one.
                verdict.map_err(|reason| if reason == Reason::WrongPassword { Reason::UnknownUser } else { reason })?;
                self.own(&name, user).await.map_err(no_longer_away)
            }
        }
    }

    /// The entry of whoever is in, with its groups, read as them.
    async fn own(&mut self, dn: &str, user: &str) -> Result<Person, Reason> {
        let own = self.read(dn, Scope::Base, "(objectClass=*)").await?;
        let own = own
            .into_iter()
            .next()
            .ok_or(Reason::Application("the directory does not let users read their own entries"))?;
        let person = self.person(own, user).await?;
        person.ok_or(Reason::Application("the user's entry does not have the attribute of their name"))
    }

    /// The user's entry, with its groups.
    pub(super) async fn find(&mut self, user: &str) -> Result<Option<Person>, Reason> {
        let inner = Arc::clone(&self.inner);
        let found = match &inner.config.people {
            Some(People::Named(template)) => {
                self.read(&dn::named(template, user), Scope::Base, "(objectClass=*)").await?
            }
            Some(People::Found(base, filter)) => self.read(base, Scope::Subtree, &dn::filter(filter, user, "")).await?,
            None => return Err(UNREACHABLE),
        };
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(entry), None) => self.person(entry, user).await,
            (Some(_), Some(_)) => Err(Reason::Application("the directory has several entries of that name")),
            (None, _) => {
                // As many requests as for somebody.
                self.groups("cn=nobody", user).await?;
                Ok(None)
            }
        }
    }

    async fn person(&mut self, entry: SearchEntry, user: &str) -> Result<Option<Person>, Reason> {
        let Some(mut person) = Person::of(entry, self.inner.config.name_attribute(), user) else { return Ok(None) };
        if let Some(groups) = self.groups(&person.dn, person.name()).await? {
            person.set_groups(groups);
        }
        Ok(Some(person))
    }

    /// The names of the groups that a user is in; none where their entry says it.
    async fn groups(&mut self, dn: &str, user: &str) -> Result<Option<Vec<String>>, Reason> {
        let inner = Arc::clone(&self.inner);
        let Some((base, filter)) = &inner.config.groups else { return Ok(None) };
        let filter = dn::filter(filter, user, dn);
        let found = self.search(base, Scope::Subtree, &filter, &["1.1"], 0).await?;
        Ok(Some(found.into_iter().map(|entry| entry.dn).collect()))
    }

    async fn read(&mut self, base: &str, scope: Scope, filter: &str) -> Result<Vec<SearchEntry>, Reason> {
        let inner = Arc::clone(&self.inner);
        let name = inner.config.name_attribute();
        let attributes: Vec<&str> =
            ATTRIBUTES.into_iter().chain([name]).chain(inner.config.password_set.as_deref()).collect();
        // One more than is let in.
        self.search(base, scope, filter, &attributes, 2).await
    }

    async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
        most: i32,
    ) -> Result<Vec<SearchEntry>, Reason> {
        let seconds = i32::try_from(self.inner.config.patience.as_secs().max(1)).unwrap_or(i32::MAX);
        let options = SearchOptions::new().sizelimit(most).timelimit(seconds);
        let answer = self.ldap.with_search_options(options).search(base, scope, filter, attributes.to_vec()).await;
        let answer = answer.map_err(|error| match error {
            // The name or the filter is none that a directory could have; it was not sent.
            ldap3::LdapError::FilterParsing => Reason::NotNow("the filter for the directory is none"),
            error => broken(error),
        })?;
        match answer.1.rc {
            // 4: there are more than were asked for.
            0 | 4 => {}
            // No such entry; a name that can't be one.
            32 | 34 => return Ok(Vec::new()),
            code => return Err(policy::away(code)),
        }
        let entries = answer.0.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
        Ok(entries.map(SearchEntry::construct).collect())
    }
}
