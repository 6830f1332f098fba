//! An account as a row.

use crate::database::{Row, Value};
use base64ct::{Base64Unpadded, Encoding};
use countersign::UnixTime;
use countersign::accounts::{Account, Answers, LineError};
use sqlx::Error;

/// The columns that stand for fields which come once, as a line of an account file has them.
const ONCE: [(&str, &str); 4] =
    [("permissions", "permissions"), ("password", "password"), ("totp", "totp"), ("expires", "expires")];

/// Those that stand for fields which may come often, with blanks between.
const OFTEN: [(&str, &str); 3] = [("key", "public_keys"), ("recovery", "recovery_codes"), ("token", "tokens")];

/// Everything that is read of an account, and the order in which it is written. What no column is for stands in `more`, as a line has
/// it: a field that a later version of the library knows.
#[derive(Default)]
pub(crate) struct Record {
    permissions: Option<String>,
    password: Option<String>,
    password_cost: Option<String>,
    public_keys: Option<String>,
    totp: Option<String>,
    recovery_codes: Option<String>,
    locked: bool,
    locks: i64,
    expires: Option<String>,
    more: Option<String>,
    /// Of a table of their own.
    pub(crate) tokens: Vec<String>,
}

impl Record {
    pub(crate) fn of(account: &Account) -> Self {
        let mut record = Self { password_cost: account.password_cost(), ..Self::default() };
        for (field, value) in account.fields() {
            let value = value.as_str();
            let often = match field {
                "permissions" => &mut record.permissions,
                "password" => &mut record.password,
                "totp" => &mut record.totp,
                "expires" => &mut record.expires,
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
                _ => {
                    append(&mut record.more, &format!("{field}={value}"));
                    continue;
                }
            };
            append(often, value);
        }
        record
    }

    /// What stands for `$1` to `$10` in a statement that writes all columns of the fields, in the order of the table.
    pub(crate) fn values(&self) -> Vec<Value> {
        let text = |text: &Option<String>| Value::Maybe(text.clone());
        vec![
            text(&self.permissions),
            text(&self.password),
            text(&self.password_cost),
            text(&self.public_keys),
            text(&self.totp),
            text(&self.recovery_codes),
            Value::Flag(self.locked),
            Value::Number(self.locks),
            text(&self.expires),
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

/// The name in a row, and the account, if it can be read.
pub(crate) fn read(row: &Row) -> Result<(String, Result<Account, LineError>), Error> {
    let name = row.text("name")?;
    let columns = ONCE.iter().chain(&OFTEN).map(|(field, column)| Ok((*field, row.maybe(column)?)));
    let columns = columns.collect::<Result<Vec<_>, Error>>()?;
    let (locks, more) = (row.number("locks")?.to_string(), row.maybe("more")?.unwrap_or_default());
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
    fields.extend(more.split_ascii_whitespace().map(|word| word.split_once('=').unwrap_or((word, ""))));
    let unsigned = |column| Ok::<_, Error>(u64::try_from(row.number(column)?).unwrap_or_default());
    let answers = Answers {
        last_step: unsigned("last_step")?,
        wrong: u32::try_from(row.number("wrong_answers")?).unwrap_or(u32::MAX),
        closed_until: UnixTime::from_secs(unsigned("closed_until")?),
    };
    let version = row.number("version")?.cast_unsigned();
    let account = Account::from_fields(&name, fields);
    Ok((name, account.map(|account| account.with_version(version).with_answers(answers))))
}

/// A token's hash as the table has it, which is as a file has it.
pub(crate) fn token(hash: &[u8; 32]) -> String {
    format!("SHA256:{}", Base64Unpadded::encode_string(hash))
}
