//! `demo`: logins and refusals to watch, frame by frame, and what somebody in the middle sees of them and can't do.

mod client_key;
mod frames;
mod known_hosts;
mod logins;
mod manifest;
mod print;
mod relay;
mod stage;
mod stretch;
mod totp;
#[cfg(feature = "x509")]
mod x509;

use crate::failure::Failure;
use crate::term;
use clap::{Args, ValueEnum};
use print::{print, setup, time};
use std::path::Path;
use std::time::Instant;

/// Watch logins and refusals over real TCP, frame by frame, with nothing to prepare.
///
/// Makes keys and accounts in a temporary directory, starts a server on a loopback port, and logs in through a relay that prints
/// each frame as it crosses. Exits with 0 only if everything went as it should.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign demo
  countersign demo --trust known-hosts")]
pub(crate) struct Demo {
    /// Show one way by which client and server know each other, and who in the middle does not get in
    #[arg(long, value_name = "WAY")]
    trust: Option<Way>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// A file of known servers, which learns
    KnownHosts,
    /// Certificates of an authority
    #[cfg(feature = "x509")]
    X509,
    /// An identity that signs which keys a server has
    Manifest,
    /// A key of the client's instead of a password
    ClientKey,
    /// One-time codes as a second factor
    Totp,
    /// Passwords that the client stretches, so that the server need not
    Stretch,
}

impl Demo {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let start = Instant::now();
        let folder = tempfile::Builder::new().prefix("countersign-demo-").tempdir().map_err(|error| setup(&error))?;
        let path = folder.path().to_owned();
        // Ctrl-C ends a process without dropping anything. Without the handler the folder would stay, no more.
        let _ = ctrlc::set_handler(move || {
            let _ = std::fs::remove_dir_all(&path);
            std::process::exit(130);
        });
        self.play(folder.path())?;
        folder.close().map_err(|error| setup(&error))?;
        term::line("")?;
        print(&format!("All as it should be, in {}. The temporary files are gone.", time(start.elapsed())))
    }

    fn play(&self, folder: &Path) -> Result<(), Failure> {
        match self.trust {
            None => logins::play(folder),
            Some(Way::KnownHosts) => known_hosts::play(folder),
            #[cfg(feature = "x509")]
            Some(Way::X509) => x509::play(folder),
            Some(Way::Manifest) => manifest::play(folder),
            Some(Way::ClientKey) => client_key::play(folder),
            Some(Way::Totp) => totp::play(folder),
            Some(Way::Stretch) => stretch::play(folder),
        }
    }
}
