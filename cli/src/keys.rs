//! `keygen` and `key show`.

use crate::crypto;
use crate::failure::{Failure, chain};
use crate::term;
use clap::{Args, Subcommand, ValueEnum};
use countersign::crypto::KeyFileError;
use countersign::files::{self, Existing, FileError};
use countersign::{KeySize, PrivateKey, PublicKey, ServerKey};
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Make a server key.
///
/// Writes the private key (PKCS#8 PEM, readable by you alone) and, beside it, the public key (SPKI PEM) for clients.
/// Prints the fingerprint, which is what clients pin.
#[derive(Args)]
#[command(after_help = "\
Example:
  countersign keygen --out server.pem
      makes server.pem, to keep secret, and server.pub.pem, to give to clients")]
pub(crate) struct Keygen {
    /// Where to write the private key; the public key goes to the same name with .pub.pem for .pem
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The size of the modulus; a login with 4096 costs the server about twice one with 3072
    #[arg(long, value_enum, default_value = "3072")]
    bits: Bits,
    /// Replace the files if they exist; clients that pinned the old key will then refuse this server
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bits {
    #[value(name = "2048")]
    Rsa2048,
    #[value(name = "3072")]
    Rsa3072,
    #[value(name = "4096")]
    Rsa4096,
}

/// Look at keys.
#[derive(Subcommand)]
pub(crate) enum Key {
    /// Print what a key file holds: its kind, size and fingerprint.
    ///
    /// Takes private keys (PKCS#8 PEM) and public keys (SPKI PEM), also those that
    /// `openssl genpkey -algorithm RSA` and `openssl pkey -pubout` make.
    #[command(after_help = "Example:\n  countersign key show server.pub.pem")]
    Show {
        /// The key file
        file: PathBuf,
    },
}

impl Keygen {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let public_path = public_path(&self.out);
        let existing = if self.force { Existing::Replace } else { Existing::Keep };
        // Both, before the work: neither file is touched if either can't be written.
        for path in [&self.out, &public_path] {
            check_target(path, existing)?;
        }
        let size = match self.bits {
            Bits::Rsa2048 => KeySize::Rsa2048,
            Bits::Rsa3072 => KeySize::Rsa3072,
            Bits::Rsa4096 => KeySize::Rsa4096,
        };
        let key = with_spinner(size)?;
        // The private key goes last: until it is replaced, the old one is not lost.
        files::write_public_key(&public_path, key.public_key(), existing).map_err(|error| exists(&error))?;
        if let Err(error) = files::write_private_key(&self.out, &key, existing) {
            let failure = exists(&error);
            return Err(if self.force {
                failure.and(format_args!(
                    "{public} was replaced already and has the new fingerprint {id}; if the private key is still the old \
                     one, as `countersign key show {private}` says, get its public half back with: \
                     openssl pkey -in {private} -pubout -out {public}",
                    public = public_path.display(),
                    private = self.out.display(),
                    id = key.public_key().id(),
                ))
            } else {
                // Half a pair would only get in the way of the next try. It was made just now, so nothing is lost.
                let _ = fs::remove_file(&public_path);
                failure
            });
        }
        term::note(format_args!("private key: {} (keep it secret)", self.out.display()));
        term::note(format_args!("public key:  {} (give it, or the fingerprint, to clients)", public_path.display()));
        term::line(key.public_key().id())
    }
}

impl Key {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let Self::Show { file } = self;
        let (kind, key) = read(file)?;
        term::line(format_args!("kind:        {kind}"))?;
        term::line(format_args!("bits:        {}", key.bits()))?;
        term::line(format_args!("fingerprint: {}", key.id()))
    }
}

/// A new key pair from the operating system's randomness.
pub(crate) fn generate(size: KeySize) -> Result<PrivateKey, Failure> {
    let mut rng = StdRng::try_from_rng(&mut SysRng)
        .map_err(|error| Failure::new(format_args!("the operating system gives no randomness: {error}")))?;
    Ok(crypto::provider().generate_key(size, &mut rng)?)
}

/// Reads and loads a server's key.
pub(crate) fn load(path: &Path) -> Result<ServerKey, Failure> {
    let remedy = format!("make one with: countersign keygen --out {}", path.display());
    let key = files::read_private_key(path).map_err(|error| Failure::missing(&error, remedy))?;
    load_parsed(path, &key)
}

fn load_parsed(path: &Path, key: &PrivateKey) -> Result<ServerKey, Failure> {
    let bad = |source| FileError::Key { path: path.to_owned(), source: KeyFileError::Key { line: 0, source } };
    ServerKey::load(key, crypto::provider()).map_err(|error| bad(error).into())
}

fn read(path: &Path) -> Result<(&'static str, PublicKey), Failure> {
    let file = files::read_key_file(path)?;
    let bad = |source| FileError::Key { path: path.to_owned(), source };
    if file.has_private_key() {
        return Ok(("private", load_parsed(path, &file.private_key(None).map_err(bad)?)?.public_key().clone()));
    }
    let keys = file.public_keys().map_err(bad)?;
    let first = keys.into_iter().next().ok_or_else(|| Failure::new("no key"))?;
    Ok(("public", first.key))
}

fn with_spinner(size: KeySize) -> Result<PrivateKey, Failure> {
    // Hides itself where stderr is no terminal.
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.set_message(format!("looking for two primes of {} bits", size.bits().checked_div(2).unwrap_or_default()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let key = generate(size);
    spinner.finish_and_clear();
    key
}

/// Whether a key can be written there, as far as can be seen before.
fn check_target(path: &Path, existing: Existing) -> Result<(), Failure> {
    let target = match fs::symlink_metadata(path) {
        Ok(target) => target.file_type(),
        // A folder that is missing shows in the first write, when nothing has changed yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(FileError::Io { path: path.to_owned(), source }.into()),
    };
    match existing {
        Existing::Keep => Err(exists(&FileError::Exists { path: path.to_owned() })),
        Existing::Replace if target.is_file() || target.is_symlink() => Ok(()),
        Existing::Replace => {
            let path = path.display();
            Err(Failure::new(format_args!("{path}: not a file, so it can't be replaced; pick another --out")))
        }
    }
}

fn exists(error: &FileError) -> Failure {
    match error {
        FileError::Exists { .. } => {
            Failure::new(format_args!("{error}; pick another name, or replace both files of the pair with --force"))
        }
        _ => Failure::new(chain(error)),
    }
}

/// `server.pem` has `server.pub.pem` beside it; a name without `.pem` gets the ending appended.
fn public_path(private: &Path) -> PathBuf {
    if private.extension().is_some_and(|extension| extension == "pem") {
        return private.with_extension("pub.pem");
    }
    let mut name = private.as_os_str().to_owned();
    name.push(".pub.pem");
    name.into()
}
