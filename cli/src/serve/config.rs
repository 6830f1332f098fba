//! The file of `serve --config`: the same words as on the command line, in TOML.
//!
//! It is turned into a command line, and that is parsed: so there is one list of what can be set, one set of defaults, and one check of each
//! value. What stands on the real command line takes the place of what the file says.

use crate::accounts::Users;
use crate::failure::Failure;
use crate::{Cli, term};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use countersign::files::FileError;
use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item, Value};

/// What a file has no say in.
const NOT_IN_A_FILE: [&str; 3] = ["config", "help", "version"];

/// More than anybody writes by hand.
const MAX_FILE: u64 = 1024 * 1024;

/// Why there is no command line to carry out.
pub(crate) enum NotParsed {
    /// What is typed is wrong, or asks for help.
    Words(Box<clap::Error>),
    /// The file is wrong.
    File(Failure),
}

impl From<clap::Error> for NotParsed {
    fn from(error: clap::Error) -> Self {
        Self::Words(Box::new(error))
    }
}

impl From<NotParsed> for Failure {
    fn from(not: NotParsed) -> Self {
        match not {
            NotParsed::Words(error) => Self::usage(first_paragraph(&error)),
            NotParsed::File(failure) => failure,
        }
    }
}

/// What is set, by name: what a server runs with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(super) file: Option<PathBuf>,
    values: BTreeMap<String, Setting>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    values: Vec<String>,
    is_default: bool,
}

impl InForce {
    /// Names whose values are others there. A default that comes or goes with what it is of is none of them.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.values.keys().chain(other.values.keys()).collect();
        let is_same = |name: &str| match (self.values.get(name), other.values.get(name)) {
            (Some(one), Some(other)) => one.values == other.values,
            (Some(one), None) | (None, Some(one)) => one.is_default,
            (None, None) => true,
        };
        names.into_iter().filter(|name| !is_same(name)).cloned().collect()
    }

    /// These are as they are there from now on.
    pub(super) fn take(&mut self, other: &Self, names: &[String]) {
        for name in names {
            match other.values.get(name) {
                Some(setting) => self.values.insert(name.clone(), setting.clone()),
                None => self.values.remove(name),
            };
        }
    }

    /// All of it, as a file has it; what is not set is a comment.
    pub(super) fn to_toml(&self) -> String {
        let command = of_serve();
        let mut text = String::new();
        for arg in settable(&command) {
            let Some(name) = arg.get_long() else { continue };
            let line = match self.values.get(name) {
                Some(Setting { values, is_default }) => {
                    let value = shown(arg, values);
                    if *is_default { format!("# {name} = {value}") } else { format!("{name} = {value}") }
                }
                None => format!("# {name} is not set"),
            };
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// Parses a command line, with what the file of its `--config` adds to it.
pub(crate) fn parse(words: Vec<OsString>) -> Result<Cli, NotParsed> {
    let given = Cli::command().ignore_errors(true).try_get_matches_from(&words);
    let given = given.ok().and_then(|given| given.subcommand_matches("serve").cloned());
    let file = given.as_ref().and_then(|given| given.get_one::<PathBuf>("config")).cloned();
    let (words, added) = match (&given, &file) {
        (Some(given), Some(file)) => with_file(words, given, file).map_err(NotParsed::File)?,
        _ => (words, Vec::new()),
    };
    let matches =
        Cli::command().try_get_matches_from(words).map_err(|error| in_file(error, file.as_deref(), &added))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (crate::Command::Serve(serve), Some(matches)) = (&mut cli.command, matches.subcommand_matches("serve")) {
        serve.in_force = InForce { file, values: values(matches) };
    }
    Ok(cli)
}

fn values(matches: &ArgMatches) -> BTreeMap<String, Setting> {
    let command = of_serve();
    let value = |arg: &Arg| {
        let (name, source) = (arg.get_long()?, matches.value_source(arg.get_id().as_str())?);
        let is_default = source == ValueSource::DefaultValue;
        // How a directory, or Redis, is asked is in force where there is one.
        let of = match name {
            "hardest-puzzle" => Some("puzzles"),
            _ => {
                ["ldap", "redis"].into_iter().find(|of| name.strip_prefix(of).is_some_and(|rest| rest.starts_with('-')))
            }
        };
        let is_given = |of| matches.value_source(of).is_some_and(|source| source != ValueSource::DefaultValue);
        if is_default && of.is_some_and(|of| !is_given(of)) {
            return None;
        }
        let raw = matches.get_raw(arg.get_id().as_str())?;
        let shown = |value: &OsStr| value.to_string_lossy().into_owned();
        // Of an address all but the password is told to anybody.
        let values: Vec<String> = match name {
            "users" => {
                raw.map(|value| Users::parse(value).map_or_else(|_| String::new(), |users| users.to_string())).collect()
            }
            #[cfg(feature = "ldap")]
            "ldap" => raw.map(super::ldap::shown).collect(),
            #[cfg(feature = "redis")]
            "redis" => raw.map(super::sharing::shown).collect(),
            _ => raw.map(shown).collect(),
        };
        // A switch that is off is one that is not set.
        (!is_switch(arg) || !is_default).then(|| (name.to_owned(), Setting { values, is_default }))
    };
    let mut values: BTreeMap<_, _> = settable(&command).filter_map(value).collect();
    // The first name is taken for it, and goes on to be as long as the server runs.
    if values.contains_key("stretch")
        && !values.contains_key("stretch-realm")
        && let Some(first) = values.get("server-name").and_then(|names| names.values.first().cloned())
    {
        values.insert("stretch-realm".to_owned(), Setting { values: vec![first], is_default: true });
    }
    values
}

fn of_serve() -> Command {
    let mut command = Cli::command();
    // What is derived (how many values there may be, and help) is there once it is built.
    command.build();
    command.find_subcommand("serve").cloned().unwrap_or_default()
}

/// What a file may set.
fn settable(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_long().is_some_and(|name| !NOT_IN_A_FILE.contains(&name)))
}

/// The names of all that can be set.
#[cfg(test)]
pub(super) fn names() -> Vec<String> {
    settable(&of_serve()).filter_map(Arg::get_long).map(str::to_owned).collect()
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some()
}

fn is_number(arg: &Arg) -> bool {
    let of = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<NonZeroUsize>(),
        TypeId::of::<NonZeroU32>(),
        TypeId::of::<NonZeroU64>(),
        TypeId::of::<usize>(),
        TypeId::of::<u64>(),
        TypeId::of::<u32>(),
        TypeId::of::<u16>(),
        TypeId::of::<u8>(),
    ];
    numbers.into_iter().any(|number| of == number)
}

/// A value as a file has it.
fn shown(arg: &Arg, values: &[String]) -> String {
    let text = |value: &String| Value::from(value.as_str()).to_string();
    if is_switch(arg) {
        return "true".to_owned();
    }
    match values {
        [value] if is_number(arg) => value.clone(),
        [value] if !is_list(arg) => text(value),
        values => format!("[{}]", values.iter().map(text).collect::<Vec<_>>().join(", ")),
    }
}

/// One line of a file, as words of a command line.
struct Added {
    name: String,
    words: Vec<OsString>,
    at: (usize, usize),
}

/// The words, with those of the file before what was typed, and without what was typed in their place.
fn with_file(words: Vec<OsString>, given: &ArgMatches, file: &Path) -> Result<(Vec<OsString>, Vec<Added>), Failure> {
    let command = of_serve();
    let is_typed = |arg: &Arg| {
        let source = given.value_source(arg.get_id().as_str());
        source == Some(clap::parser::ValueSource::CommandLine)
    };
    let typed: Vec<&Arg> = settable(&command).filter(|arg| is_typed(arg)).collect();
    let mut added = read(file, &command)?;
    added.retain(|line| {
        let arg = settable(&command).find(|arg| arg.get_long() == Some(&line.name));
        arg.is_none_or(|arg| {
            !typed.iter().any(|typed| typed.get_id() == arg.get_id() || excludes(&command, typed, arg))
        })
    });
    let mut words = words.into_iter();
    let mut all: Vec<OsString> = words.by_ref().take(2).collect();
    all.extend(added.iter().flat_map(|line| line.words.iter().cloned()));
    // What named the file has been heeded.
    while let Some(word) = words.next() {
        if word == "--config" {
            words.next();
        } else if !word.as_encoded_bytes().starts_with(b"--config=") {
            all.push(word);
        }
    }
    Ok((all, added))
}

/// Whether the two can't stand beside each other.
fn excludes(command: &Command, one: &Arg, other: &Arg) -> bool {
    let of =
        |one: &Arg, other: &Arg| command.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id());
    let is_choice = |group: &clap::ArgGroup| {
        let has = |arg: &Arg| group.get_args().any(|id| id == arg.get_id());
        !group.clone().is_multiple() && has(one) && has(other)
    };
    of(one, other) || of(other, one) || command.get_groups().any(is_choice)
}

/// Reads a file, and says all that is wrong with it at once.
fn read(file: &Path, command: &Command) -> Result<Vec<Added>, Failure> {
    let text = text_of(file)?;
    let say = |(line, column): (usize, usize), what: &str| format!("{}:{line}:{column}: {what}", file.display());
    let document = Document::parse(&text).map_err(|error| {
        let at = place(&text, error.span());
        Failure::usage(say(at, error.message()))
    })?;
    let (mut added, mut wrong) = (Vec::new(), Vec::new());
    let table = document.as_table();
    for (name, item) in table.iter() {
        let at = place(&text, table.key(name).and_then(|key| key.span()));
        match words_of(command, name, item) {
            Ok(words) => added.push(Added { name: name.to_owned(), words, at }),
            // Of the value, where there is something wrong with that.
            Err((OfValue(true), what)) => {
                wrong.push(say(item.span().map_or(at, |span| place(&text, Some(span))), &what))
            }
            Err((OfValue(false), what)) => wrong.push(say(at, &what)),
        }
    }
    if wrong.is_empty() { Ok(added) } else { Err(Failure::usage(wrong.join("\n"))) }
}

/// The text of what is a file, and no longer than one may be: for whoever writes to a pipe nobody waits, and a device has no end.
fn text_of(file: &Path) -> Result<String, Failure> {
    let io = |source| Failure::file(&FileError::Io { path: file.to_owned(), source });
    if !fs::metadata(file).map_err(io)?.is_file() {
        let reason = "this is no file, and a configuration is read again at each SIGHUP";
        return Err(Failure::usage(format_args!("{}: {reason}", file.display())));
    }
    let mut bytes = Vec::new();
    let read = |file: File| file.take(MAX_FILE.saturating_add(1)).read_to_end(&mut bytes);
    File::open(file).and_then(read).map_err(io)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE) {
        String::from_utf8(bytes).map_err(|error| io(io::Error::new(io::ErrorKind::InvalidData, error)))
    } else {
        Err(Failure::usage(format_args!("{}: a configuration has at most {MAX_FILE} bytes", file.display())))
    }
}

/// Line and column, both from 1.
fn place(text: &str, span: Option<Range<usize>>) -> (usize, usize) {
    let before = text.get(..span.map_or(0, |span| span.start)).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count().saturating_add(1), line.chars().count().saturating_add(1))
}

/// Whether the value is what is wrong, or else its name.
struct OfValue(bool);

/// The words that stand for one line, if they are good.
fn words_of(command: &Command, name: &str, item: &Item) -> Result<Vec<OsString>, (OfValue, String)> {
    let Some(arg) = settable(command).find(|arg| arg.get_long() == Some(name)) else {
        return Err((OfValue(false), unknown(command, name, item)));
    };
    let bad = |what: String| (OfValue(true), what);
    let option = format!("--{name}");
    let Some(value) = item.as_value() else {
        return Err((OfValue(false), format!("there are no tables: every name stands by itself, as {name} = ...")));
    };
    let wanted = |example: &str| bad(format!("{name} is {}; write it as {name} = {example}", kind(value)));
    let words = if is_switch(arg) {
        match value.as_bool().ok_or_else(|| wanted("true"))? {
            true => vec![option.into()],
            false => Vec::new(),
        }
    } else if is_list(arg) {
        let texts: Option<Vec<&str>> = match value {
            Value::Array(array) => array.iter().map(Value::as_str).collect(),
            value => value.as_str().map(|text| vec![text]),
        };
        let texts = texts.ok_or_else(|| wanted("[\"...\", \"...\"]"))?;
        texts.into_iter().map(|text| assigned(&option, text)).collect()
    } else if is_number(arg) {
        let number = value.as_integer().ok_or_else(|| wanted("100"))?;
        vec![assigned(&option, &number.to_string())]
    } else {
        let is_time = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "TIME"));
        let example = if is_time { "\"10s\"" } else { "\"...\"" };
        vec![assigned(&option, value.as_str().ok_or_else(|| wanted(example))?)]
    };
    // Alone: what is missing beside it, or does not go with it, is seen later.
    let alone = [OsString::from("serve")].into_iter().chain(words.iter().cloned());
    match command.clone().try_get_matches_from(alone) {
        Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => Err(bad(first_paragraph(&error))),
        _ => Ok(words),
    }
}

/// In one word, so that a value that begins with a dash is one.
fn assigned(option: &str, value: &str) -> OsString {
    format!("{option}={value}").into()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::InlineTable(_) => "a table",
    }
}

fn unknown(command: &Command, name: &str, item: &Item) -> String {
    if NOT_IN_A_FILE.contains(&name) {
        return format!("{name} can't be set in a file");
    }
    let told = || {
        // Of next to nothing anything could be meant.
        if name.len() < 3 {
            return None;
        }
        let words = [OsString::from("serve"), format!("--{name}=1").into()];
        let error = command.clone().try_get_matches_from(words).err()?;
        match error.get(ContextKind::SuggestedArg)? {
            ContextValue::String(name) => Some(name.trim_start_matches('-').to_owned()),
            _ => None,
        }
    };
    // As names are spelt elsewhere.
    let spelt = name.to_lowercase().replace(['_', ' ', '.'], "-");
    let is_there = |name: &&str| settable(command).any(|arg| arg.get_long() == Some(name));
    let meant = Some(spelt.as_str()).filter(is_there).map(str::to_owned).or_else(told);
    match meant.filter(|meant| !NOT_IN_A_FILE.contains(&meant.as_str())) {
        Some(meant) => format!("there is no {name:?}; did you mean {meant:?}?"),
        None if item.is_table_like() => {
            format!("there are no tables, and no {name:?}; every flag of `countersign serve` is a name by itself")
        }
        None => format!("there is no {name:?}; the names are the flags of `countersign serve`, without their dashes"),
    }
}

/// What clap says, without its usage.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    let lines = text.trim_start_matches("error: ").lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// Says where in the file that stands which an error is about.
fn in_file(error: clap::Error, file: Option<&Path>, added: &[Added]) -> NotParsed {
    let (Some(file), true) = (file, error.use_stderr()) else { return error.into() };
    let mut named = Vec::new();
    for (_, value) in error.context() {
        match value {
            ContextValue::String(name) => named.push(name.clone()),
            ContextValue::Strings(names) => named.extend(names.iter().cloned()),
            _ => {}
        }
    }
    let is_named =
        |line: &&Added| named.iter().any(|name| name.split([' ', '=']).next() == Some(&format!("--{}", line.name)));
    let places: Vec<String> = added
        .iter()
        .filter(is_named)
        .map(|Added { name, at: (line, column), .. }| format!("{}:{line}:{column} sets {name}", file.display()))
        .collect();
    let what = first_paragraph(&error);
    let what = if places.is_empty() {
        format!("{}: {what}", file.display())
    } else {
        format!("{what} ({})", places.join("; "))
    };
    NotParsed::File(Failure::usage(what))
}

/// The command line of this process, with its file as it is now.
pub(super) fn again() -> Result<super::Serve, Failure> {
    match parse(std::env::args_os().collect())?.command {
        crate::Command::Serve(serve) => Ok(*serve),
        _ => Err(Failure::new("this is no server")),
    }
}

/// What a server would run with that is started with this file.
pub(super) fn of_file(file: &Path) -> Result<super::Serve, Failure> {
    let option = OsStr::new("--config").to_owned();
    let words = vec!["countersign".into(), "serve".into(), option, file.as_os_str().to_owned()];
    match parse(words)?.command {
        crate::Command::Serve(serve) => Ok(*serve),
        _ => Err(Failure::new(format_args!("{} is not the configuration of a server", term::quoted(file)))),
    }
}

#[cfg(test)]
#[cfg(all(feature = "ldap", feature = "redis", feature = "sql", feature = "x509", unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What is of no use, or of another meaning, without something else: it would be dropped without a word.
    const NEEDS: [(&str, &[&str]); 25] = [
        ("hardest-puzzle", &["puzzles"]),
        ("ldap-base", &["ldap", "ldap-bind-dn"]),
        ("ldap-bind-dn", &["ldap"]),
        ("ldap-ca-file", &["ldap"]),
        ("ldap-filter", &["ldap", "ldap-base", "ldap-bind-dn"]),
        ("ldap-group", &["ldap"]),
        ("ldap-group-base", &["ldap"]),
        ("ldap-group-filter", &["ldap", "ldap-group-base"]),
        ("ldap-name-attribute", &["ldap"]),
        ("ldap-password-file", &["ldap", "ldap-bind-dn"]),
        ("ldap-password-set-attribute", &["ldap"]),
        ("ldap-permission", &["ldap"]),
        ("ldap-timeout", &["ldap"]),
        ("ldap-user-dn", &["ldap"]),
        ("ldap-without-tls", &["ldap"]),
        ("redis-down", &["redis"]),
        ("redis-password-file", &["redis"]),
        ("redis-prefix", &["redis"]),
        ("redis-timeout", &["redis"]),
        ("send-proxy", &["forward"]),
        ("shared-secret", &["redis"]),
        ("stretch-moving", &["stretch"]),
        ("stretch-parameters", &["stretch"]),
        ("stretch-realm", &["stretch"]),
        ("users-password-file", &["users"]),
    ];

    /// Of which one would be dropped without a word if both were taken.
    const EXCLUDES: [(&str, &[&str]); 7] = [
        ("demo-service", &["exec", "forward"]),
        ("exec", &["forward"]),
        ("keys", &["certificates", "key", "manifest"]),
        ("ldap", &["no-password-upgrade", "stretch", "users"]),
        ("ldap-user-dn", &["ldap-base"]),
        (
            "no-penalties",
            &[
                "failures-per-address",
                "failures-per-block",
                "failures-per-minute",
                "failures-per-user",
                "penalty-blocks",
                "penalty-exempt",
                "penalty-longest",
                "penalty-wait",
                "user-penalty-longest",
                "user-penalty-wait",
            ],
        ),
        ("passphrase-file", &["passphrase-stdin"]),
    ];

    /// The words that set it, to something that can be.
    fn words(arg: &Arg) -> Vec<String> {
        let name = arg.get_long().unwrap();
        if is_switch(arg) {
            return vec![format!("--{name}")];
        }
        let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        let value = match name {
            "ldap-group" => "cn=clerks read".to_owned(),
            "penalty-exempt" | "proxy-protocol" => "192.0.2.1".to_owned(),
            "listen" | "metrics-listen" | "forward" => "localhost:1".to_owned(),
            "stretch-parameters" => "m=65536,t=3,p=4".to_owned(),
            _ => default.unwrap_or_else(|| "1".to_owned()),
        };
        vec![format!("--{name}={value}")]
    }

    /// What is said to be missing beside it.
    fn missing(command: &Command, arg: &Arg) -> BTreeSet<String> {
        let base = [("listen", "--listen=127.0.0.1:0"), ("key", "--key=server.pem")];
        let is_set = |name: &str| arg.get_long() == Some(name) || (name == "key" && arg.get_long() == Some("keys"));
        let base = base.iter().filter(|(name, _)| !is_set(name)).map(|(_, word)| (*word).to_owned());
        let all = ["serve".to_owned()].into_iter().chain(base).chain(words(arg));
        let Err(error) = command.clone().try_get_matches_from(all) else { return BTreeSet::new() };
        assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument, "{error}");
        let Some(ContextValue::Strings(names)) = error.get(ContextKind::InvalidArg) else { return BTreeSet::new() };
        let name = |text: &String| {
            let name = text.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
            name.to_owned()
        };
        names.iter().map(name).collect()
    }

    fn table(rows: &[(&str, &[&str])]) -> BTreeSet<(String, String)> {
        let pairs = rows.iter().flat_map(|(one, others)| others.iter().map(move |other| (*one, *other)));
        pairs.map(|(one, other)| (one.to_owned(), other.to_owned())).collect()
    }

    #[test]
    fn what_is_of_no_use_without_something_else_is_not_taken_without_it() {
        let command = of_serve();
        let mut found = BTreeSet::new();
        for arg in settable(&command) {
            let name = arg.get_long().unwrap().to_owned();
            found.extend(missing(&command, arg).into_iter().map(|other| (name.clone(), other)));
        }
        assert_eq!(found, table(&NEEDS));
        let nothing = command.clone().try_get_matches_from(["serve", "--listen=127.0.0.1:0"]).unwrap_err();
        assert!(nothing.to_string().contains("--key <FILE>"), "{nothing}");
        let nowhere = command.clone().try_get_matches_from(["serve", "--key=server.pem"]).unwrap_err();
        assert!(nowhere.to_string().contains("--listen <ADDRESS:PORT>"), "{nowhere}");
    }

    #[test]
    fn of_two_that_exclude_each_other_neither_is_dropped() {
        let command = of_serve();
        let all: Vec<&Arg> = settable(&command).collect();
        let mut found = BTreeSet::new();
        for (at, one) in all.iter().enumerate() {
            for other in all.iter().skip(at) {
                if one.get_id() != other.get_id() && excludes(&command, one, other) {
                    found.insert(BTreeSet::from([one.get_long().unwrap(), other.get_long().unwrap()]));
                }
            }
        }
        let expected = table(&EXCLUDES);
        let expected = expected.iter().map(|(one, other)| BTreeSet::from([one.as_str(), other.as_str()])).collect();
        assert_eq!(found, expected);
    }
}
