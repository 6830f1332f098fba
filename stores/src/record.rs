//! An account as a row.

use crate::database::{Row, Value};
use base64ct::{Base64Unpadded, Encoding};
use countersign::UnixTime;
use countersign::accounts::{Account, AccountError, Answers, LineError, Role};
use sqlx::Error;

/// The columns that stand for fields which come once, as a line of an account file has them.
const ONCE: [(&str, &str); 6] = [
    ("permissions", "permissions"),
    ("password", "password"),
    ("stretched", "stretched"),
    ("totp", "totp"),
    ("expires", "expires"),
    ("from", "allowed_from"),
];

/// Those that stand for fields which may come often, with blanks between.
const OFTEN: [(&str, &str); 3] = [("key", "public_keys"), ("recovery", "recovery_codes"), ("token", "tokens")];

/// Everything that is read of an account, and the order in which it is written. What no column is for stands in `more`, as a line has
/// it: a field that a later version of the library knows.
#[derive(Default)]
pub(crate) struct Record {
    permissions: Option<String>,
    password: Option<String>,
    stretched: Option<String>,
    public_keys: Option<String>,
    totp: Option<String>,
    recovery_codes: Option<String>,
    locked: bool,
    locks: i64,
    expires: Option<String>,
    allowed_from: Option<String>,
    more: Option<String>,
    /// Of tables of their own.
    pub(crate) tokens: Vec<String>,
    pub(crate) roles: Vec<String>,
}

/// The columns of [`Record::values`], in their order.
macro_rules! columns {
    () => {
        "permissions, password, stretched, public_keys, totp, recovery_codes, locked, locks, expires, allowed_from, more"
    };
}
pub(crate) use columns;

impl Record {
    pub(crate) fn of(account: &Account) -> Self {
        let mut record = Self { roles: account.roles().map(str::to_owned).collect(), ..Self::default() };
        for (field, value) in account.fields() {
            let value = value.as_str();
            let column = match field {
                "permissions" => &mut record.permissions,
                "password" => &mut record.password,
                "stretched" => &mut record.stretched,
                "totp" => &mut record.totp,
                "expires" => &mut record.expires,
                "from" => &mut record.allowed_from,
                "key" => &mut record.public_keys,
                "recovery" => &mut record.recovery_codes,
                "locked" => {
                    record.locked = true;
                    continue;
                }
                "locks" => {
                    record.locks = value.parse().unwrap_or_default();
                    continue;
                }
                "token" => {
                    record.tokens.push(value.to_owned());
                    continue;
                }
                "roles" => continue,
                _ => {
                    append(&mut record.more, &format!("{field}={value}"));
                    continue;
                }
            };
            append(column, value);
        }
        record
    }

    /// What stands for `$1` to `$11` in a statement that writes all columns of the fields.
    pub(crate) fn values(&self) -> Vec<Value> {
        let text = |text: &Option<String>| Value::Maybe(text.clone());
        vec![
            text(&self.permissions),
            text(&self.password),
            text(&self.stretched),
            text(&self.public_keys),
            text(&self.totp),
            text(&self.recovery_codes),
            Value::Flag(self.locked),
            Value::Number(self.locks),
            text(&self.expires),
            text(&self.allowed_from),
            text(&self.more),
        ]
    }
}

fn append(column: &mut Option<String>, value: &str) {
    match column {
        Some(column) => {
            column.push(' ');
            column.push_str(value);
        }
        None => *column = Some(value.to_owned()),
    }
}

/// What is remembered of answers, as the three numbers of a row.
pub(crate) fn numbers(answers: Answers) -> [Value; 3] {
    let bounded = |number: u64| Value::Number(i64::try_from(number).unwrap_or(i64::MAX));
    [bounded(answers.last_step), Value::Number(answers.wrong.into()), bounded(answers.closed_until.as_secs())]
}

/// The name in a row, and the account with its roles, if it can be read.
pub(crate) fn read(row: &Row) -> Result<(String, Result<Account, LineError>), Error> {
    let name = row.text("name")?;
    let columns = ONCE.iter().chain(&OFTEN).map(|(field, column)| Ok((*field, row.maybe(column)?)));
    let columns = columns.collect::<Result<Vec<_>, Error>>()?;
    let (locks, more) = (row.number("locks")?.to_string(), row.maybe("more")?.unwrap_or_default());
    let roles = row.maybe("roles")?.unwrap_or_default();
    let roles: Option<Vec<Role>> = roles.split_ascii_whitespace().map(role_of).collect();
    let names = roles.iter().flatten().map(Role::name).collect::<Vec<_>>().join(",");
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for (field, text) in &columns {
        let text = text.as_deref().unwrap_or_default();
        fields.extend(text.split_ascii_whitespace().map(|value| (*field, value)));
    }
    if row.flag("locked")? {
        fields.push(("locked", "yes"));
    }
    if locks != "0" {
        fields.push(("locks", &locks));
    }
    if !names.is_empty() {
        fields.push(("roles", &names));
    }
    fields.extend(more.split_ascii_whitespace().map(|word| word.split_once('=').unwrap_or((word, ""))));
    let unsigned = |column| Ok::<_, Error>(u64::try_from(row.number(column)?).unwrap_or_default());
    let answers = Answers {
        last_step: unsigned("last_step")?,
        wrong: u32::try_from(row.number("wrong_answers")?).unwrap_or(u32::MAX),
        closed_until: UnixTime::from_secs(unsigned("closed_until")?),
    };
    let version = row.number("version")?.cast_unsigned();
    let account = Account::from_fields(&name, fields).and_then(|account| {
        let account = account.with_version(version).with_answers(answers);
        account.with_roles(roles.ok_or(LineError::UnknownRole)?).map_err(|error| match error {
            AccountError::UnknownRole(_) => LineError::UnknownRole,
            _ => LineError::TooManyPermissions,
        })
    });
    Ok((name, account))
}

/// A role out of `NAME:VERSION:PERMISSIONS`: there is no colon in the first two.
fn role_of(text: &str) -> Option<Role> {
    let mut parts = text.splitn(3, ':');
    role(parts.next()?, parts.next()?.parse().ok()?, parts.next()?)
}

/// A role out of its columns, if it can be read.
pub(crate) fn role(name: &str, version: i64, permissions: &str) -> Option<Role> {
    let permissions = permissions.split(',').filter(|permission| !permission.is_empty());
    Some(Role::new(name, permissions).ok()?.with_version(version.cast_unsigned()))
}

/// The permissions of a role, as its column has them.
pub(crate) fn permissions(role: &Role) -> Value {
    let words: Vec<&str> = role.permissions().collect();
    Value::Maybe((!words.is_empty()).then(|| words.join(",")))
}

/// A token's hash as the table has it, which is as a file has it.
pub(crate) fn token(hash: &[u8; 32]) -> String {
    format!("SHA256:{}", Base64Unpadded::encode_string(hash))
}
