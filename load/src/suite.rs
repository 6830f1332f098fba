//! The suite, by its parts.

mod attacker;
mod crowd;
mod measure;
mod net;
mod pace;
mod record;
mod run;
mod scenarios;
mod serve;
mod server;
mod stage;
mod store;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Whatever goes wrong with the suite itself.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Attacks and faults beside good clients of a countersign server: do they keep logging in?
#[derive(Parser, Debug)]
#[command(args_conflicts_with_subcommands = true, max_term_width = 120)]
struct Options {
    /// Run these alone
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Say what there is, and run nothing
    #[arg(long)]
    list: bool,
    /// A second and a half for each, in all two minutes or so: a p99 fails only past ten times the quiet one, and what fails has its full time
    /// then
    #[arg(long)]
    quick: bool,
    /// A server without bounds and penalties: the control, with which attacks have to succeed
    #[arg(long)]
    without_limits: bool,
    /// Write the lines of those that ran into the table of this file of Markdown, between its two marks
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "without_limits"])]
    record: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand, Debug)]
enum Part {
    /// The server of a scenario, which is told by its standard input what goes wrong
    #[command(hide = true)]
    Serve(serve::Serve),
}

pub(crate) fn main() -> ExitCode {
    let options = Options::parse();
    let ended = match options.part {
        Some(Part::Serve(serve)) => serve::run(&serve).map(|()| true),
        None if options.list => {
            scenarios::ALL.iter().for_each(|scenario| println!("{:<20} {}", scenario.name, scenario.about));
            Ok(true)
        }
        None => {
            run::run(&options.names, run::Mode::new(options.quick, options.without_limits), options.record.as_deref())
        }
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(2)
        }
    }
}
