//! What a login costs, beside other libraries' logins. See README.md.

mod about;
mod bare;
mod chart;
mod contender;
mod field;
mod meter;
mod mysql;
mod noise;
mod opaque;
mod ours;
mod records;
mod report;
mod run;
mod scram;
mod tls;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const USAGE: &str = "\
usage: countersign-peers [--quick | --seconds N] [--json FILE] [--write]

  --quick      a few seconds: enough to see that everything runs, too little to quote
  --seconds N  how long to measure (default 75)
  --json FILE  write the figures there, too
  --write      put the tables into the repository's README.md and the chart into docs/peers.svg";

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let results = run::run(options.budget);
    println!("{}", report::markdown(&results));
    if let Some(file) = &options.json {
        fs::write(file, format!("{:#}\n", report::json(&results)?))?;
    }
    if options.write {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let readme = root.join("README.md");
        let text = report::replace(&fs::read_to_string(&readme)?, &report::section(&results)?);
        fs::write(&readme, text.ok_or("README.md has no marks for the tables")?)?;
        fs::create_dir_all(root.join("docs"))?;
        fs::write(root.join("docs/peers.svg"), chart::svg(&results))?;
    }
    Ok(())
}

/// What is measured in less is too little to quote.
const QUOTABLE: Duration = Duration::from_secs(30);

/// What the command line asks for.
struct Options {
    budget: Duration,
    json: Option<PathBuf>,
    write: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self { budget: Duration::from_secs(75), json: None, write: false };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.budget = Duration::from_secs(2),
                "--seconds" => options.budget = Duration::from_secs(arguments.next().ok_or(USAGE)?.parse()?),
                "--json" => options.json = Some(arguments.next().ok_or(USAGE)?.into()),
                "--write" => options.write = true,
                _ => return Err(USAGE.into()),
            }
        }
        if options.write && options.budget < QUOTABLE {
            return Err("--write is for figures to quote, which take more than a few seconds: without --quick".into());
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_few_seconds_gave_is_not_written_for_others_to_read() {
        let parse = |words: &str| Options::parse(words.split_whitespace().map(str::to_owned));
        for words in ["--write --quick", "--quick --write", "--seconds 2 --write"] {
            assert!(parse(words).is_err(), "{words}");
        }
        for words in ["--write", "--seconds 30 --write", "--quick", "--seconds 2"] {
            assert!(parse(words).is_ok(), "{words}");
        }
    }
}
