//! Addresses of PostgreSQL: what is written in one counts, or it is refused; and no password is printed, wherever it ends up.

use crate::place::OpenError;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::env;
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// What `sqlx` takes. Of all else it takes no notice, so that a connection whose other end nobody checks looks as any other.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Those that name files, and what they are read from where the address does not have them.
const ROOTS: (&[&str], &str) = (&["sslrootcert", "ssl-root-cert", "ssl-ca"], "PGSSLROOTCERT");
const FILES: [(&[&str], &str); 3] =
    [ROOTS, (&["sslcert", "ssl-cert"], "PGSSLCERT"), (&["sslkey", "ssl-key"], "PGSSLKEY")];

/// An address that was understood to the last word.
pub(crate) struct Address {
    pub(crate) options: PgConnectOptions,
    /// As it was given, but for a password.
    pub(crate) shown: String,
    /// The certificates and the key that it names.
    pub(crate) files: Vec<PathBuf>,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, OpenError> {
        let (scheme, rest) = text.split_once("://").ok_or(OpenError::Address)?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // What comes of a password's own # / ?, which end the place where it stands. The rest of it must not be taken for a parameter, nor be printed.
        if tail.contains(['#', '@']) {
            return Err(OpenError::Escapes);
        }
        let hostless = authority.strip_suffix('@');
        let read = match hostless {
            Some(user) => without_host(scheme, user, tail).ok_or(OpenError::Address)?,
            None => text.to_owned(),
        };
        let parse = |text: &str| Url::parse(text).map_err(|_| OpenError::Address);
        let url = parse(&read)?;
        check_names(&url)?;
        check_mode(&url)?;
        // What the parser says of it may hold the password.
        let mut options = PgConnectOptions::from_str(&read).map_err(|_| OpenError::Address)?;
        if let Some(is_named_here) = named(&url, ROOTS).map(|(_, is_here)| is_here) {
            match options.get_ssl_mode() {
                PgSslMode::VerifyCa | PgSslMode::VerifyFull => {}
                // As for PostgreSQL's own tools. By itself it looks at no certificate.
                PgSslMode::Require => options = options.ssl_mode(PgSslMode::VerifyCa),
                _ if is_named_here => return Err(OpenError::Unchecked),
                _ => {}
            }
        }
        let files = FILES.into_iter().filter_map(|file| named(&url, file)).map(|(value, _)| value);
        let files = files.filter(|value| !value.trim_start().starts_with("-----BEGIN")).map(PathBuf::from).collect();
        let shown = match hostless.map(|user| user.split(':').next().unwrap_or_default()) {
            Some(user) => shown(parse(&format!("{scheme}://{tail}"))?).replacen("://", &format!("://{user}@"), 1),
            None => shown(url),
        };
        Ok(Self { options, shown, files })
    }
}

/// The address of a user who names no host before the path: the parser wants one there. Who it is goes to the parameters.
fn without_host(scheme: &str, user: &str, tail: &str) -> Option<String> {
    let with_host = Url::parse(&format!("{scheme}://{user}@host")).ok()?;
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let raw = |text: &str| text.replace('+', "%2B").replace('&', "%26");
    let mut parameters = vec![format!("user={}", raw(with_host.username()))];
    parameters.extend(with_host.password().map(|password| format!("password={}", raw(password))));
    parameters.extend((!query.is_empty()).then(|| query.to_owned()));
    Some(format!("{scheme}://{path}?{}", parameters.join("&")))
}

fn check_names(url: &Url) -> Result<(), OpenError> {
    let is_known = |name: &str| PARAMETERS.contains(&name) || (name.starts_with("options[") && name.ends_with(']'));
    let Some((name, _)) = url.query_pairs().find(|(name, _)| !is_known(name)) else { return Ok(()) };
    // It may be what is behind an & of the password.
    let has_password = url.query_pairs().any(|(name, _)| name == "password");
    Err(OpenError::Parameter((!has_password).then(|| name.into_owned())))
}

/// One that can't be read would be none, from the environment.
fn check_mode(url: &Url) -> Result<(), OpenError> {
    let is_one = |value: &str| PgSslMode::from_str(value).is_ok();
    let mut given = url.query_pairs().filter(|(name, _)| ["sslmode", "ssl-mode"].contains(&&**name)).peekable();
    if given.peek().is_some() {
        return if given.all(|(_, value)| is_one(&value)) { Ok(()) } else { Err(OpenError::SslMode("sslmode")) };
    }
    match env::var("PGSSLMODE") {
        Ok(value) if !is_one(&value) => Err(OpenError::SslMode("PGSSLMODE")),
        _ => Ok(()),
    }
}

/// What a parameter is, and whether that stands in the address. The last counts.
fn named(url: &Url, (names, variable): (&[&str], &str)) -> Option<(String, bool)> {
    let here = url.query_pairs().filter(|(name, _)| names.contains(&&**name)).last();
    let here = here.map(|(_, value)| (value.into_owned(), true));
    here.or_else(|| env::var(variable).ok().map(|value| (value, false)))
}

/// An address without its password, which can stand in two places.
fn shown(mut url: Url) -> String {
    if url.password().is_some() {
        // It has a host, or it would have no password.
        let _ = url.set_password(None);
    }
    let is_secret = |name: &str| name == "password";
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        let others = url.query_pairs().filter(|(name, _)| !is_secret(name));
        let others: Vec<(String, String)> = others.map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        url.set_query(None);
        if !others.is_empty() {
            url.query_pairs_mut().extend_pairs(others);
        }
    }
    url.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{PARAMETERS, PgConnectOptions};
    use std::str::FromStr;

    #[test]
    fn each_parameter_that_is_let_through_makes_a_difference() {
        let read = |address: &str| format!("{:?}", PgConnectOptions::from_str(address).unwrap());
        for name in PARAMETERS.into_iter().chain(["options[x]"]) {
            let value = if name.contains("mode") {
                "verify-full"
            } else if name == "hostaddr" {
                "192.0.2.1"
            } else {
                "77"
            };
            let address = "postgres://alice:secret@db.example/accounts";
            assert_ne!(read(&format!("{address}?{name}={value}")), read(address), "{name}");
        }
    }
}
