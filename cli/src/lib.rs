//! The `countersign` command: make keys, keep accounts, serve, log in, and look at the bytes.
//!
//! A library for two: `main.rs`, which is the command, and the fuzz targets of `fuzz/`. It is no interface for anybody else.

#![forbid(unsafe_code)]

mod accounts;
mod bench;
#[cfg(feature = "x509")]
mod cert;
mod client_key;
mod connect;
mod crypto;
#[cfg(feature = "sql")]
mod db;
mod demo;
mod dial;
mod failure;
mod fingerprint;
pub mod fuzzed;
mod generate;
mod inspect;
mod keys;
mod known_hosts;
mod lines;
mod login;
mod manifest;
mod prompt;
mod relay;
mod remote;
mod roles;
mod secrets;
mod serve;
mod state;
mod term;
mod tickets;
mod trust;
mod users;

use clap::{Parser, Subcommand};
use failure::Failure;
use serve::NotParsed;
use std::process::ExitCode;

/// RSA challenge-response login over TCP: make keys, keep accounts, serve, log in, and look at the bytes.
#[derive(Parser)]
#[command(name = "countersign", version = VERSION, long_version = long_version(), max_term_width = 100, after_help = FIRST_STEPS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("COUNTERSIGN_COMMIT"), ")");

/// What whoever reads a report of a fault wants to know.
fn long_version() -> String {
    let provider = crypto::provider().name;
    format!("{VERSION}\nprovider: {provider}\nfeatures: {}", env!("COUNTERSIGN_FEATURES"))
}

const FIRST_STEPS: &str = "\
See it work, with nothing to prepare:
  countersign demo

Set up a server and log in:
  countersign keygen --out server.pem
  countersign user add alice --users users --permission read
  countersign serve --listen 127.0.0.1:4500 --key server.pem --users users
  countersign login --server 127.0.0.1:4500 --user alice --server-key server.pub.pem

Put the login in front of a database, and reach it from elsewhere:
  countersign serve --listen '[::]:4500' --key server.pem --users users --forward localhost:5432
  countersign connect --listen 127.0.0.1:5432 --server db.example:4500 --user alice --pin SHA256:...

Exit status: 0 where it worked, 1 where it did not, 2 where the command line can't be right. For
what login and connect add to that, see their --help.";

#[derive(Subcommand)]
enum Command {
    Keygen(keys::Keygen),
    /// Look at keys, and change them from time to time.
    #[command(subcommand)]
    Key(keys::Key),
    /// Sign which keys a server has, so that clients which know the identity key follow them.
    #[command(subcommand)]
    Manifest(manifest::Manifest),
    /// Make and look at certificates of server keys.
    #[cfg(feature = "x509")]
    #[command(subcommand)]
    Cert(cert::Cert),
    /// Keep accounts, in a users file or a database.
    #[command(subcommand)]
    User(users::User),
    /// Keep roles: permissions under a name, for many users at once.
    #[command(subcommand)]
    Role(roles::RoleCommand),
    /// Make the tables of a database of accounts, and look at them.
    #[cfg(feature = "sql")]
    #[command(subcommand)]
    Db(db::Db),
    /// Look after the servers that `login` and `connect` know, and their keys.
    #[command(subcommand)]
    KnownHosts(known_hosts::KnownHostsCommand),
    Serve(Box<serve::Serve>),
    CheckConfig(serve::CheckConfig),
    Login(login::Login),
    Connect(connect::Connect),
    Demo(demo::Demo),
    Bench(bench::Bench),
    Inspect(inspect::Inspect),
    Completions(generate::Completions),
    #[command(hide = true)]
    Man(generate::Man),
}

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    let parsed = match serve::command_line(std::env::args_os().collect()) {
        Ok(cli) => run(cli.command),
        Err(NotParsed::Words(error)) => error.exit(),
        Err(NotParsed::File(failure)) => Err(failure),
    };
    match parsed {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                term::note(format_args!("countersign: {message}"));
            }
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Keygen(keygen) => keygen.run(),
        Command::Key(key) => key.run(),
        Command::Manifest(manifest) => manifest.run(),
        #[cfg(feature = "x509")]
        Command::Cert(cert) => cert.run(),
        Command::User(user) => user.run(),
        Command::Role(role) => role.run(),
        #[cfg(feature = "sql")]
        Command::Db(db) => db.run(),
        Command::KnownHosts(known_hosts) => known_hosts.run(),
        Command::Serve(serve) => serve.run(),
        Command::CheckConfig(check) => check.run(),
        Command::Login(login) => login.run(),
        Command::Connect(connect) => connect.run(),
        Command::Demo(demo) => demo.run(),
        Command::Bench(bench) => bench.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    }
}

#[cfg(test)]
#[cfg(all(unix, feature = "ldap", feature = "redis", feature = "sql", feature = "ssh-agent", feature = "x509"))]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    /// The command lines in the help of a command: what a shell would make of them, after a pipe, and up to where it goes on by itself.
    fn examples(command: &clap::Command) -> Vec<Vec<String>> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default().replace("\\\n", " ");
        let lines = help.lines().filter(|line| line.starts_with("  ")).filter_map(|line| {
            let line = line.rsplit_once(" | ").map_or(line, |(_, line)| line).trim();
            line.starts_with("countersign ").then(|| shlex::split(line).unwrap())
        });
        let ends = |word: &String| ["<", ">", "&&"].contains(&word.as_str()) || word.starts_with('(');
        lines.map(|words| words.into_iter().take_while(|word| !ends(word)).collect()).collect()
    }

    #[test]
    fn each_example_of_the_help_is_a_command_line_that_is_taken() {
        const FINGERPRINT: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let (mut left, mut found) = (vec![Cli::command()], 0);
        while let Some(command) = left.pop() {
            left.extend(command.get_subcommands().cloned());
            for words in examples(&command) {
                found += 1;
                let words = words.iter().map(|word| word.replace("SHA256:...", FINGERPRINT));
                let Err(error) = Cli::try_parse_from(words.clone()) else { continue };
                // The rest stands in the file.
                let has_file = words.clone().any(|word| word == "--config");
                let is_taken = has_file && error.kind() == ErrorKind::MissingRequiredArgument;
                assert!(is_taken, "{:?} in the help of {}: {error}", words.collect::<Vec<_>>(), command.get_name());
            }
        }
        assert!(found >= 75, "{found}");
    }
}
