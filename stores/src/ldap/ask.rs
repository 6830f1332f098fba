//! A connection to a directory, for one login.

use super::config::{People, Security, USER};
use super::entry::{ATTRIBUTES, Person};
use super::{Inner, LdapError, NOBODY, dn, policy};
use countersign::Reason;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Scope, SearchEntry, SearchOptions};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// A connection that the directory has answered on: the service account is in, where there is one. It ends with this.
pub(super) struct Session {
    ldap: Ldap,
    inner: Arc<Inner>,
    end: Instant,
}

const UNREACHABLE: &str = "the directory can't be reached";
const LATE: &str = "the directory does not answer in time";

/// Why there is nothing to be said of a user.
pub(super) enum Trouble {
    /// Nobody answers. What the system says of that.
    Unreachable(String),
    Late,
    /// The directory answers that it will not, or something that nobody asked for.
    Refused(LdapResult),
    /// There is no such entry to search below.
    NoBase(String),
    /// There are more groups than it gives.
    Cut,
    /// What it has can't be used.
    Unfit(Reason),
}

impl Trouble {
    /// Of what was asked before a password was sent: that depends on none.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) => Reason::NotNow(UNREACHABLE),
            Self::Late => Reason::NotNow(LATE),
            Self::Refused(answer) => policy::away(answer.rc),
            Self::NoBase(_) => {
                Reason::NotNow("there is no entry to search below, or the service account may not see it")
            }
            Self::Cut => Reason::NotNow("the directory does not give all groups of the user at once"),
            Self::Unfit(reason) => reason.clone(),
        }
    }

    /// Of a password that was sent, and not answered for. A directory may let those wait who show a wrong one, or hang up on them, so it counts
    /// as a guess.
    fn unanswered(&self) -> Reason {
        match self {
            Self::Unreachable(_) => Reason::NoAnswer(UNREACHABLE),
            Self::Late => Reason::NoAnswer(LATE),
            trouble => trouble.reason(),
        }
    }

    /// Of what is asked once the password was taken. "Not now" would say that it is right, to whoever guesses, and not count as a guess: it is a
    /// refusal as any other, and the log has why.
    fn after_password(&self) -> Reason {
        match self.reason() {
            Reason::NotNow(why) => Reason::Application(why),
            reason => reason,
        }
    }
}

impl From<ldap3::LdapError> for Trouble {
    fn from(error: ldap3::LdapError) -> Self {
        match error {
            ldap3::LdapError::LdapResult { result } => Self::Refused(result),
            // The name or the filter is none that a directory could have; it was not sent.
            ldap3::LdapError::FilterParsing => Self::Unfit(Reason::NotNow("the filter for the directory is none")),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<&Trouble> for LdapError {
    fn from(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Unreachable(what) => Self::Away(what.clone()),
            Trouble::Late => Self::Away(LATE.to_owned()),
            Trouble::Refused(answer) => {
                let text = format!("{} ({answer})", policy::trouble(answer.rc));
                if policy::may_pass(answer.rc) { Self::Away(text) } else { Self::Refused(text) }
            }
            Trouble::NoBase(base) => {
                Self::Refused(format!("there is no {base}, or the service account may not see it"))
            }
            Trouble::Cut | Trouble::Unfit(_) => Self::Refused(match trouble.reason() {
                Reason::NotNow(why) | Reason::Application(why) => why.to_owned(),
                reason => reason.to_string(),
            }),
        }
    }
}

/// What is asked, if it is answered by then.
async fn by<T>(end: Instant, asked: impl Future<Output = Result<T, ldap3::LdapError>>) -> Result<T, Trouble> {
    timeout_at(end, asked).await.map_err(|_| Trouble::Late)?.map_err(Trouble::from)
}

impl Session {
    /// Connects, and asks the directory something that depends on nobody who logs in. All that is asked has until `end`.
    pub(super) async fn open(inner: &Arc<Inner>, end: Instant) -> Result<Self, Trouble> {
        let config = &inner.config;
        let mut settings = LdapConnSettings::new().set_starttls(config.security == Security::StartTls);
        if let Some(tls) = &inner.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        let (connection, mut ldap) = by(end, LdapConnAsync::with_settings(settings, &config.url)).await?;
        // It ends with the last handle.
        tokio::spawn(async move { connection.drive().await });
        let answer = match &config.service {
            Some((name, password)) => by(end, ldap.simple_bind(name, password)).await?,
            // Whatever is said of it: that strangers may not see it is an answer, too.
            None => {
                let answer = by(end, ldap.search("", Scope::Base, "(objectClass=*)", vec!["1.1"])).await?.1;
                if policy::may_pass(answer.rc) { answer } else { LdapResult { rc: 0, ..answer } }
            }
        };
        if answer.rc == 0 { Ok(Self { ldap, inner: Arc::clone(inner), end }) } else { Err(Trouble::Refused(answer)) }
    }

    /// Whether it answers what logins ask, as far as that depends on nobody: a base that is misspelt has nobody in it. It asks no more than they do:
    /// otherwise it might be away to the one, and there for the others.
    pub(super) async fn look(&mut self) -> Result<(), Trouble> {
        if self.inner.config.service.is_some() {
            self.find(NOBODY).await?;
        }
        Ok(())
    }

    /// Lets the directory check a password, and gives whose it is. The same requests are made for whoever is not there.
    pub(super) async fn log_in(mut self, user: &str, password: &str) -> Result<Person, Reason> {
        if self.inner.config.service.is_none() {
            return self.log_in_by_name(user, password).await;
        }
        let person = match self.find(user).await {
            Ok(person) => person.ok_or(Reason::UnknownUser),
            // What it has of them lets nobody in, and that takes as long.
            Err(Trouble::Unfit(reason)) if !reason.is_not_now() => Err(reason),
            Err(trouble) => return Err(trouble.reason()),
        };
        let name = match &person {
            Ok(person) => person.dn.clone(),
            Err(_) => self.named(user)?,
        };
        let verdict = policy::verdict(&self.bind(&name, password).await?);
        match person {
            Ok(person) => verdict.map(|()| person),
            // The search did not find them; a directory that takes the password all the same has another entry of that name.
            Err(reason) => Err(verdict.err().filter(Reason::is_not_now).unwrap_or(reason)),
        }
    }

    /// Without a service account: nothing is known of whoever it is but what the directory says to the password.
    async fn log_in_by_name(mut self, user: &str, password: &str) -> Result<Person, Reason> {
        let name = self.named(user)?;
        let answer = self.bind(&name, password).await?;
        match policy::verdict(&answer) {
            Ok(()) => self.own(&name, user).await.map_err(|trouble| trouble.after_password()),
            // What may be no name must not be logged as one: it is, where a policy's words show that there is such an account.
            Err(reason) if !reason.knows_account() || policy::knows_account(&answer) => Err(reason),
            // It is not willing: to let this one in, or to check anybody's password.
            Err(_) if answer.rc == 53 => {
                let name = self.named(NOBODY)?;
                let of_nobody = self.bind(&name, NOBODY).await?;
                Err(if of_nobody.rc == 53 { policy::away(53) } else { Reason::UnknownUser })
            }
            Err(_) => Err(Reason::UnknownUser),
        }
    }

    /// Shows the directory a password, and gives what it says to it.
    async fn bind(&mut self, name: &str, password: &str) -> Result<LdapResult, Reason> {
        let asked = self.ldap.with_controls(policy::asked()).simple_bind(name, password);
        let answer = by(self.end, asked).await.map_err(|trouble| trouble.unanswered())?;
        // Too busy, or too late for it: as good as no answer, and maybe to this password alone.
        if policy::may_pass(answer.rc) { Err(Reason::NoAnswer(policy::trouble(answer.rc))) } else { Ok(answer) }
    }

    /// What the directory would call this user.
    fn named(&self, user: &str) -> Result<String, Reason> {
        match &self.inner.config.people {
            Some(People::Named(template)) => Ok(dn::named(template, user)),
            // A name that there is not, below a base that there is.
            Some(People::Found(base, _)) => Ok(dn::named(&format!("cn={USER},{base}"), user)),
            None => Err(Reason::NotNow(UNREACHABLE)),
        }
    }

    /// The entry of whoever is in, with its groups, read as them.
    async fn own(&mut self, dn: &str, user: &str) -> Result<Person, Trouble> {
        let unfit = |why| Trouble::Unfit(Reason::Application(why));
        let own = self.read(dn, Scope::Base, "(objectClass=*)").await?.into_iter().next();
        let own = own.ok_or_else(|| unfit("the directory does not let users read their own entries"))?;
        let person = self.person(own, user).await?;
        person.ok_or_else(|| unfit("the user's entry does not have the attribute of their name"))
    }

    /// The user's entry, with its groups.
    pub(super) async fn find(&mut self, user: &str) -> Result<Option<Person>, Trouble> {
        let inner = Arc::clone(&self.inner);
        let found = match &inner.config.people {
            Some(People::Named(template)) => {
                self.read(&dn::named(template, user), Scope::Base, "(objectClass=*)").await?
            }
            Some(People::Found(base, filter)) => self.read(base, Scope::Subtree, &dn::filter(filter, user, "")).await?,
            None => Vec::new(),
        };
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(entry), None) => self.person(entry, user).await,
            (Some(_), Some(_)) => {
                self.groups("cn=nobody", user).await?;
                Err(Trouble::Unfit(Reason::Application("the directory has several entries of that name")))
            }
            (None, _) => {
                // As many requests as for somebody.
                self.groups("cn=nobody", user).await?;
                Ok(None)
            }
        }
    }

    async fn person(&mut self, entry: SearchEntry, user: &str) -> Result<Option<Person>, Trouble> {
        let Some(mut person) = Person::of(entry, self.inner.config.name_attribute(), user) else {
            // It is another's, which a directory finds by a mail address, say: as many requests as for nobody.
            self.groups("cn=nobody", user).await?;
            return Ok(None);
        };
        if let Some(groups) = self.groups(&person.dn, person.name()).await? {
            person.set_groups(groups);
        }
        Ok(Some(person))
    }

    /// The names of the groups that a user is in; none where their entry says it.
    async fn groups(&mut self, dn: &str, user: &str) -> Result<Option<Vec<String>>, Trouble> {
        let inner = Arc::clone(&self.inner);
        let Some((base, filter)) = &inner.config.groups else { return Ok(None) };
        let filter = dn::filter(filter, user, dn);
        let found = self.search(base, Scope::Subtree, &filter, &["1.1"], 0).await?;
        Ok(Some(found.into_iter().map(|entry| entry.dn).collect()))
    }

    async fn read(&mut self, base: &str, scope: Scope, filter: &str) -> Result<Vec<SearchEntry>, Trouble> {
        let inner = Arc::clone(&self.inner);
        let name = inner.config.name_attribute();
        let attributes: Vec<&str> =
            ATTRIBUTES.into_iter().chain([name]).chain(inner.config.password_set.as_deref()).collect();
        // One more than is let in.
        self.search(base, scope, filter, &attributes, 2).await
    }

    /// At most so many entries; 0 for all.
    async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
        most: u8,
    ) -> Result<Vec<SearchEntry>, Trouble> {
        let seconds = i32::try_from(self.inner.config.patience.as_secs().max(1)).unwrap_or(i32::MAX);
        let options = SearchOptions::new().sizelimit(most.into()).timelimit(seconds);
        let asked = self.ldap.with_search_options(options).search(base, scope, filter, attributes.to_vec());
        let answer = by(self.end, asked).await?;
        let entries = answer.0.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
        let entries: Vec<_> = entries.map(SearchEntry::construct).collect();
        match answer.1.rc {
            0 => Ok(entries),
            // There are more than were asked for; or more than the directory gives, and which ones came is its choice.
            4 if most > 0 && entries.len() >= most.into() => Ok(entries),
            4 => Err(Trouble::Cut),
            // No such entry, or a name that can't be one: it is nobody's.
            32 | 34 if scope == Scope::Base => Ok(Vec::new()),
            // Below which nothing can be searched. It says nothing of who is there: it may be a directory that is being filled, or a right to
            // read that is gone.
            32 | 34 => Err(Trouble::NoBase(base.to_owned())),
            _ => Err(Trouble::Refused(answer.1)),
        }
    }
}
