//! `serve --ldap`: passwords that a directory checks, in the place of accounts that are kept here.

use super::users::{Told, keep_asking};
use crate::failure::Failure;
use crate::{secrets, term};
use clap::Args;
use countersign_stores::{LdapConfig, LdapError, LdapVerifier};
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

/// Where the service account's password may stand, beside a file.
pub(super) const PASSWORD_VARIABLE: &str = "COUNTERSIGN_LDAP_PASSWORD";

#[derive(Args, Clone)]
#[command(next_help_heading = "An LDAP directory")]
pub(super) struct LdapArgs {
    /// Let this LDAP directory check passwords, in the place of --users: ldaps://HOST, ldap://HOST (with StartTLS, but on the loopback) or
    /// ldapi://PATH, with %2F for each slash
    ///
    /// Users log in by password alone; tokens, keys, second factors and roles of this command are for accounts in --users. Tickets, and a look at open
    /// sessions (--recheck), need --ldap-bind-dn.
    // Nothing is refused here: what is wrong with a value would be told with the value, and there may be a password in it.
    #[arg(long, value_name = "URL", conflicts_with_all = ["users", "stretch", "no_password_upgrade"])]
    ldap: Option<OsString>,
    /// A user's name in the directory, as uid={user},ou=people,dc=example
    #[arg(long, value_name = "TEMPLATE", requires = "ldap", conflicts_with = "ldap_base")]
    ldap_user_dn: Option<String>,
    /// Look for users below this entry, as --ldap-bind-dn
    #[arg(long, value_name = "DN", requires = "ldap", requires = "ldap_bind_dn")]
    ldap_base: Option<String>,
    /// How they are found there. With Active Directory: (sAMAccountName={user})
    #[arg(long, value_name = "FILTER", default_value = "(uid={user})", requires = "ldap_base")]
    ldap_filter: String,
    /// The account by which users and groups are read
    #[arg(long, value_name = "DN", requires = "ldap")]
    ldap_bind_dn: Option<String>,
    /// Read its password from the first line of this file; or have it in COUNTERSIGN_LDAP_PASSWORD
    #[arg(long, value_name = "FILE", requires = "ldap_bind_dn")]
    ldap_password_file: Option<PathBuf>,
    /// Let in the members of this group, with these permissions: "cn=clerks,ou=groups,dc=example orders:read,orders:write". May be given
    /// more than once; who is in none of them is not let in
    #[arg(long, value_name = "\"DN PERMISSION,...\"", requires = "ldap")]
    ldap_group: Vec<Group>,
    /// Let in everybody whom the directory lets in, with these permissions; separated by commas
    #[arg(long, value_name = "PERMISSION", value_delimiter = ',', requires = "ldap")]
    ldap_permission: Vec<String>,
    /// Look for the groups that a user is in below this entry, instead of in the user's own (memberOf)
    #[arg(long, value_name = "DN", requires = "ldap")]
    ldap_group_base: Option<String>,
    /// How they are found there, with {dn} and {user} for the user's. With Active Directory's groups in groups:
    /// (member:1.2.840.113556.1.4.1941:={dn})
    #[arg(long, value_name = "FILTER", default_value = "(member={dn})", requires = "ldap_group_base")]
    ldap_group_filter: String,
    /// The attribute with the name that a user is called by [default: what {user} stands for]
    #[arg(long, value_name = "ATTRIBUTE", requires = "ldap")]
    ldap_name_attribute: Option<String>,
    /// The attribute that changes with a user's password, without which there are no tickets [default: pwdChangedTime, pwdLastSet or
    /// krbLastPwdChange]
    #[arg(long, value_name = "ATTRIBUTE", requires = "ldap")]
    ldap_password_set_attribute: Option<String>,
    /// Trust the certificates in this file of PEM to speak for the directory, instead of the system's
    #[arg(long, value_name = "FILE", requires = "ldap")]
    ldap_ca_file: Option<PathBuf>,
    /// Speak ldap:// without TLS, also over a network: whoever is in between reads every password
    #[arg(long, requires = "ldap")]
    ldap_without_tls: bool,
    /// How long the directory may take for all of a login; then the login is told "not now". A password that the directory has by then counts as
    /// wrong, so keep this longer than the directory delays its answer to one. At most half of --handshake-timeout
    #[arg(long, value_name = "TIME", default_value = term::time(LdapConfig::PATIENCE), value_parser = term::timeout, requires = "ldap")]
    ldap_timeout: Duration,
}

/// A group, and what its members may do.
#[derive(Clone)]
struct Group {
    name: String,
    permissions: Vec<String>,
}

impl FromStr for Group {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // No permission has a blank in it, and the name of a group may have many. One with a `=` would be the end of a name whose permissions
        // were forgotten.
        let (name, permissions) = text.trim().rsplit_once(' ').unwrap_or((text, ""));
        let permissions: Vec<String> = permissions.split(',').map(str::to_owned).collect();
        if !name.contains('=') || permissions.iter().any(|word| word.is_empty() || word.contains('=')) {
            return Err("write the group's name, a blank, and permissions with commas between");
        }
        Ok(Self { name: name.trim_end().to_owned(), permissions })
    }
}

impl LdapArgs {
    pub(super) fn is_given(&self) -> bool {
        self.ldap.is_some()
    }

    /// The directory, if one is named, for logins that may take so long.
    pub(super) fn directory(&self, handshake: Duration) -> Result<Option<Config>, Failure> {
        let Some(address) = &self.ldap else { return Ok(None) };
        // A login whose time is over while it waits for a directory that hangs would count as a guess, as if it were the password that is not answered for.
        if self.ldap_timeout > handshake.checked_div(2).unwrap_or_default() {
            return Err(Failure::usage("--ldap-timeout may be half of --handshake-timeout at the most"));
        }
        let mut config = parse(address)?.with_patience(self.ldap_timeout);
        config = match (&self.ldap_user_dn, &self.ldap_base) {
            (Some(template), _) => config.with_names(template),
            (None, Some(base)) => config.with_search(base, &self.ldap_filter),
            (None, None) => {
                return Err(Failure::usage(
                    "--ldap: say how users are found: --ldap-user-dn 'uid={user},ou=people,dc=example', or --ldap-base with \
                     --ldap-bind-dn",
                ));
            }
        };
        if let Some(name) = &self.ldap_bind_dn {
            config = config.with_service(name, &self.password()?);
        }
        for Group { name, permissions } in &self.ldap_group {
            config = config.with_permissions_of(name, permissions);
        }
        config = config.with_permissions(&self.ldap_permission);
        if let Some(base) = &self.ldap_group_base {
            config = config.with_groups(base, &self.ldap_group_filter);
        }
        if let Some(attribute) = &self.ldap_name_attribute {
            config = config.with_name_attribute(attribute);
        }
        if let Some(attribute) = &self.ldap_password_set_attribute {
            config = config.with_password_set_attribute(attribute);
        }
        if let Some(path) = &self.ldap_ca_file {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::new(format_args!("--ldap-ca-file {}: {error}", path.display())))?;
            let wrong = |error| Failure::new(format_args!("--ldap-ca-file {}: {error}", path.display()));
            config = config.with_roots(&pem).map_err(wrong)?;
        }
        if self.ldap_without_tls {
            config = config.without_encryption();
        }
        Ok(Some(Config { config, has_service: self.ldap_bind_dn.is_some() }))
    }

    /// The service account's.
    fn password(&self) -> Result<Zeroizing<String>, Failure> {
        if let Some(path) = &self.ldap_password_file {
            return secrets::of_file(path);
        }
        let given = env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty()).map(Zeroizing::new);
        given.ok_or_else(|| {
            Failure::usage(format_args!(
                "--ldap-bind-dn: its password is missing; give it in a file with --ldap-password-file, or in {PASSWORD_VARIABLE}"
            ))
        })
    }
}

fn parse(address: &OsStr) -> Result<LdapConfig, Failure> {
    // What is no text is no address, either.
    LdapConfig::parse(address.to_str().unwrap_or_default())
        .map_err(|error| Failure::usage(format_args!("--ldap: {error}")))
}

/// An address as it may be printed: not at all where it is none.
pub(super) fn shown(address: &OsStr) -> String {
    parse(address).map_or_else(|_| String::new(), |config| config.to_string())
}

/// A directory that is yet to be spoken to.
pub(super) struct Config {
    config: LdapConfig,
    has_service: bool,
}

impl Config {
    /// Opens it, on the runtime that this is called on, and says what is doubtful: that it is away, which it may be.
    pub(super) async fn open(self) -> Result<(Directory, Vec<String>), Failure> {
        let named = self.config.to_string();
        let wrong = |error: &LdapError| format!("--ldap {named}: {error}");
        let verifier = LdapVerifier::new(self.config).map_err(|error| match error {
            LdapError::People => Failure::usage(format_args!(
                "{}; {{user}} has to stand in --ldap-user-dn or --ldap-filter",
                wrong(&error)
            )),
            error => Failure::usage(wrong(&error)),
        })?;
        let mut warnings = Vec::new();
        match verifier.check().await {
            Ok(()) => {}
            Err(error @ LdapError::Away(_)) => {
                warnings.push(format!("warning: {}; until it is back, logins are told \"not now\"", wrong(&error)));
            }
            Err(error @ LdapError::Refused(_)) => {
                let failure = Failure::new(wrong(&error));
                return Err(failure.and("see --ldap-bind-dn and its password, --ldap-base and --ldap-group-base"));
            }
            Err(error) => return Err(Failure::new(wrong(&error))),
        }
        if !self.has_service {
            let note = "note: without --ldap-bind-dn there are no tickets, and open sessions are not looked at again";
            warnings.push(note.to_owned());
        }
        Ok((Directory { verifier, named }, warnings))
    }
}

/// A directory that decides who is let in.
pub(crate) struct Directory {
    verifier: LdapVerifier,
    named: String,
}

impl Directory {
    /// Where it is.
    pub(super) fn named(&self) -> &str {
        &self.named
    }

    /// What decides, with its absences told.
    pub(super) fn verifier(self, told: Told) -> LdapVerifier {
        let verifier = self.verifier.with_observer(move |news| told.tell(&news));
        let asked = verifier.clone();
        // Who watches it is told.
        keep_asking(move || {
            let asked = asked.clone();
            async move { drop(asked.check().await) }
        });
        verifier
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parsed_without_users;
    use super::*;
    use std::io::Write;

    /// All that is made of it, but for passwords.
    fn shown(words: &[&str]) -> String {
        let serve = parsed_without_users(&[&["--ldap=ldap://ldap.example"], words].concat());
        let directory = serve.ldap.directory(serve.options.handshake_timeout).ok().unwrap();
        format!("{:?}", directory.unwrap().config)
    }

    #[test]
    fn what_is_said_of_a_directory_counts() {
        let named = || LdapConfig::parse("ldap://ldap.example").unwrap().with_names("cn={user},dc=example");
        let template = "--ldap-user-dn=cn={user},dc=example";
        assert_eq!(shown(&[template]), format!("{:?}", named()));
        let more = named()
            .with_permissions_of("cn=Chiefs,dc=example", ["orders:*", "staff"])
            .with_permissions_of("cn=clerks,dc=example", ["orders:read"])
            .with_permissions(["read", "write"])
            .with_groups("ou=groups,dc=example", "(memberUid={user})")
            .with_name_attribute("mail")
            .with_password_set_attribute("modifyTimestamp")
            .without_encryption()
            .with_patience(Duration::from_secs(4));
        let words = [
            template,
            "--ldap-group=cn=Chiefs,dc=example orders:*,staff",
            "--ldap-group=cn=clerks,dc=example orders:read",
            "--ldap-permission=read,write",
            "--ldap-group-base=ou=groups,dc=example",
            "--ldap-group-filter=(memberUid={user})",
            "--ldap-name-attribute=mail",
            "--ldap-password-set-attribute=modifyTimestamp",
            "--ldap-without-tls",
            "--ldap-timeout=4s",
        ];
        assert_eq!(shown(&words), format!("{more:?}"));

        // By a search.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"secret\n").unwrap();
        let password = format!("--ldap-password-file={}", file.path().display());
        let search = ["--ldap-base=ou=people,dc=example", "--ldap-bind-dn=cn=ours,dc=example", &password];
        let searched = |filter: &str| {
            let config = LdapConfig::parse("ldap://ldap.example").unwrap().with_service("cn=ours,dc=example", "secret");
            config.with_search("ou=people,dc=example", filter)
        };
        assert_eq!(shown(&search), format!("{:?}", searched("(uid={user})")));
        let less = searched("(&(uid={user})(!(uid=bob)))").with_groups("dc=example", "(member={dn})");
        let words =
            ["--ldap-filter=(&(uid={user})(!(uid=bob)))", "--ldap-group-base=dc=example", "--ldap-timeout=20ms"];
        let less = less.with_patience(Duration::from_millis(20));
        assert_eq!(shown(&[&search[..], &words].concat()), format!("{less:?}"));
    }

    #[test]
    fn a_group_is_a_name_and_permissions() {
        let read = |text: &str| text.parse::<Group>().map(|group| (group.name, group.permissions));
        let group = |name: &str, permissions: &[&str]| {
            Ok((name.to_owned(), permissions.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()))
        };
        assert_eq!(read("cn=a,dc=x orders:read"), group("cn=a,dc=x", &["orders:read"]));
        assert_eq!(read("cn=Order Clerks, dc=x  a:*,b"), group("cn=Order Clerks, dc=x", &["a:*", "b"]));
        for bad in ["", "cn=a", "cn=Order Clerks,dc=x", "clerks read", "cn=a,dc=x ", "cn=a read,", "cn=a, dc=x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
