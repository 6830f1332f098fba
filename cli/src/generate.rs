//! What packages ship beside the command: manual pages and completions for shells.

use crate::Cli;
use crate::failure::Failure;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Print completions for a shell.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign completions bash > /usr/share/bash-completion/completions/countersign
  countersign completions zsh > /usr/share/zsh/site-functions/_countersign
  countersign completions fish > /usr/share/fish/vendor_completions.d/countersign.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "countersign", &mut text);
        let mut out = io::stdout().lock();
        out.write_all(&text).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
    }
}

/// Write the manual pages, countersign.1 and one for each subcommand, for packages to install.
#[derive(Args)]
#[command(after_help = "Example:\n  countersign man /usr/share/man/man1")]
pub(crate) struct Man {
    /// The directory to write them in; it has to be there
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // Without the second way to ask for help that each subcommand would have a page for.
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        write_pages(command, &self.folder)
            .map_err(|error| Failure::new(format_args!("{}: {error}; make the directory first", self.folder.display())))
    }
}

/// The page of a command, and those of its subcommands.
fn write_pages(command: clap::Command, folder: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        write_pages(subcommand.clone(), folder)?;
    }
    let page = clap_mangen::Man::new(command);
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(folder.join(page.get_filename()), with_examples(&String::from_utf8_lossy(&text)))
}

/// A page whose examples stay on lines of their own, to be copied from there.
fn with_examples(page: &str) -> String {
    let (mut text, mut is_example) = (String::new(), false);
    for line in page.lines() {
        if line.starts_with("  ") != is_example {
            is_example = !is_example;
            text.push_str(if is_example { ".nf\n" } else { ".fi\n" });
        }
        text.push_str(if line == ".SH EXTRA" { ".SH NOTES" } else { line });
        text.push('\n');
    }
    text
}
