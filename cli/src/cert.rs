//! `cert`: certificates of server keys, and requests for them.

use crate::failure::Failure;
use crate::keys;
use crate::secrets::Passphrase;
use crate::term;
use clap::{Args, Subcommand};
use countersign::crypto::{Certificate, CertificateDraft, DraftError};
use countersign::files::{self, Existing, FileError};
use countersign::{PrivateKey, UnixTime};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Subcommand)]
pub(crate) enum Cert {
    SelfSigned(SelfSigned),
    Csr(Csr),
    Show(Show),
}

/// Make a certificate that a server key signs itself, for clients to trust explicitly.
///
/// It says under which names, and until when, the key is the server's. No authority vouches for it.
#[derive(Args)]
#[command(after_help = "\
Example:
  countersign cert self-signed --key server.pem --name localhost --name 10.0.0.1 --out server.crt")]
pub(crate) struct SelfSigned {
    #[command(flatten)]
    draft: Draft,
    /// For how many days it is valid
    #[arg(long, value_name = "DAYS", default_value = "365", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

/// Make a request for a certificate (PKCS#10), to be sent to a certificate authority.
#[derive(Args)]
#[command(after_help = "\
Example:
  countersign cert csr --key server.pem --name db.example --out server.csr

What to do with it is in docs/certificates.md.")]
pub(crate) struct Csr {
    #[command(flatten)]
    draft: Draft,
}

/// Print what the certificates of a file say: names, dates, issuer, and the fingerprint of the key.
///
/// Nothing is verified.
#[derive(Args)]
#[command(after_help = "Example:\n  countersign cert show server.crt")]
pub(crate) struct Show {
    /// The file: PEM, or a certificate in DER
    file: PathBuf,
}

/// What a certificate and a request for one have in common.
#[derive(Args)]
struct Draft {
    /// The server's private key; it is read, and stays as it is
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A name of the server, as its clients give it: a DNS name or an IP address; more than once for several
    #[arg(long = "name", value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    passphrase: Passphrase,
}

impl Cert {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::SelfSigned(SelfSigned { draft, days }) => {
                let lifetime = Duration::from_secs(u64::from(*days).saturating_mul(24 * 3600));
                let key = draft.write(|certificate, key| certificate.self_signed(key, now(), lifetime))?;
                term::note(format_args!(
                    "certificate: {} (valid for {days} days; give it to clients)",
                    draft.out.display()
                ));
                term::line(key.public_key().id())
            }
            Self::Csr(Csr { draft }) => {
                let key = draft.write(CertificateDraft::request)?;
                term::note(format_args!(
                    "request: {} (send it to the certificate authority; it is not secret)",
                    draft.out.display()
                ));
                term::line(key.public_key().id())
            }
            Self::Show(Show { file }) => show(file),
        }
    }
}

impl Draft {
    /// Makes what is wanted and writes it; gives the key.
    fn write(
        &self,
        make: impl FnOnce(&CertificateDraft, &PrivateKey) -> Result<String, DraftError>,
    ) -> Result<PrivateKey, Failure> {
        let draft = CertificateDraft::for_names(&self.names).map_err(Failure::usage)?;
        // Before a passphrase is asked for.
        self.check_target()?;
        let key = keys::at_rest(&self.key, &self.passphrase)?;
        let pem = make(&draft, &key).map_err(Failure::new)?;
        let existing = if self.force { Existing::Replace } else { Existing::Keep };
        files::write_certificate(&self.out, &pem, existing).map_err(|error| exists(&error))?;
        Ok(key)
    }

    /// The key must not be lost by a slip in the command line.
    fn check_target(&self) -> Result<(), Failure> {
        let same = |(out, key)| out == key;
        if fs::canonicalize(&self.out).ok().zip(fs::canonicalize(&self.key).ok()).is_some_and(same) {
            let out = self.out.display();
            return Err(Failure::usage(format_args!("{out}: this is the key; pick another --out, such as server.crt")));
        }
        if !self.force && fs::symlink_metadata(&self.out).is_ok() {
            return Err(exists(&FileError::Exists { path: self.out.clone() }));
        }
        Ok(())
    }
}

fn exists(error: &FileError) -> Failure {
    match error {
        FileError::Exists { .. } => {
            Failure::new(format_args!("{error}; pick another name, or replace it with --force"))
        }
        _ => Failure::file(error),
    }
}

fn show(path: &Path) -> Result<(), Failure> {
    let certificates = files::read_certificates(path)?;
    for certificate in &certificates {
        if let Err(not_timely) = certificate.check_time(now()) {
            term::note(format_args!("{}: {not_timely}", path.display()));
        }
    }
    let blocks: Vec<String> = certificates.iter().map(describe).collect();
    term::line(blocks.join("\n\n"))
}

fn describe(certificate: &Certificate) -> String {
    let names = if certificate.names().is_empty() { "none".to_owned() } else { certificate.names().join(", ") };
    let issuer = if certificate.is_self_issued() { "itself" } else { certificate.issuer() };
    let key = certificate.public_key().map_or_else(|error| format!("none ({error})"), |key| key.id().to_string());
    format!(
        "subject:     {}\nnames:       {names}\nkind:        {}\nvalid from:  {}\nvalid until: {}\nissuer:      {issuer}\n\
         fingerprint: {key}",
        certificate.subject(),
        if certificate.is_authority() { "authority" } else { "server" },
        date(certificate.not_before()),
        date(certificate.not_after()),
    )
}

/// A date of a certificate, which has four digits for the year.
fn date(time: UnixTime) -> String {
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    date.map_or_else(|| "never".to_owned(), |date| humantime::format_rfc3339_seconds(date).to_string())
}

fn now() -> UnixTime {
    UnixTime::from_system(SystemTime::now())
}
