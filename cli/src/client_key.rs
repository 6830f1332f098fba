//! The key that a client logs in with: of a file, or one that an `ssh-agent` holds.

#[cfg(all(feature = "ssh-agent", unix))]
mod agent;

use crate::crypto;
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::keys::key_error;
use crate::secrets::Passphrase;
use crate::term;
use clap::Args;
use countersign::crypto::{KeyFile, KeyFileError};
use countersign::files::{self, FileError};
use countersign::{ClientKey, KeyError, SigningKey, VerifyingKey};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a passphrase may be mistyped on the terminal.
const TRIES: usize = 3;

#[derive(Args, Clone, Default)]
pub(crate) struct KeyArgs {
    /// Log in with the private key in this file (OpenSSH's or PKCS#8; Ed25519, ECDSA on P-256, or RSA) instead of a password. Of a
    /// public key, such as id_ed25519.pub, the ssh-agent is to hold the private half
    #[arg(long = "identity", value_name = "FILE", conflicts_with_all = ["password_stdin", "token_stdin"])]
    key_file: Option<PathBuf>,
    /// Log in with a key that the ssh-agent at SSH_AUTH_SOCK holds; where it holds several, with the one of this fingerprint, as
    /// `ssh-add -l` or `user key list` prints it
    #[arg(long, value_name = "SHA256:...", num_args = 0..=1)]
    #[arg(conflicts_with_all = ["key_file", "password_stdin", "token_stdin"])]
    agent: Option<Option<Fingerprint>>,
    #[command(flatten)]
    passphrase: Passphrase,
}

/// A client's key, as far as it is there without asking anybody.
pub(crate) enum Key {
    Ready(ClientKey),
    Locked(Locked),
}

/// A private key whose passphrase somebody has to type.
pub(crate) struct Locked {
    file: KeyFile,
    path: PathBuf,
}

impl KeyArgs {
    /// The key, if one is given. An agent gets so much time for each of its answers.
    pub(crate) fn open(&self, patience: Duration) -> Result<Option<Key>, Failure> {
        match (&self.key_file, self.agent) {
            (Some(path), _) => self.of_file(path, patience).map(Some),
            (None, _) if self.passphrase.is_given() => {
                Err(Failure::usage("a passphrase is for an encrypted key; give the key's file with --identity"))
            }
            (None, Some(wanted)) => of_agent(wanted, patience).map(|key| Some(Key::Ready(key))),
            (None, None) => Ok(None),
        }
    }

    fn of_file(&self, path: &Path, patience: Duration) -> Result<Key, Failure> {
        let file = files::read_key_file(path).map_err(|error| match error {
            FileError::Key { source, .. } => unusable(path, source),
            error => {
                let made = term::quoted(path);
                Failure::missing(&error, format_args!("make a key with: ssh-keygen -t ed25519 -f {made}"))
            }
        })?;
        if !file.has_private_key() {
            return of_public(&file, path, patience).map(Key::Ready);
        }
        match file.signing_key(None) {
            Ok(key) => load(&key, path).map(Key::Ready),
            Err(KeyFileError::Encrypted { .. }) if self.passphrase.is_asked() => {
                Ok(Key::Locked(Locked { file, path: path.to_owned() }))
            }
            Err(KeyFileError::Encrypted { .. }) => {
                let passphrase = self.passphrase.of(path)?;
                let key = file.signing_key(Some(&passphrase)).map_err(|error| unusable(path, error))?;
                load(&key, path).map(Key::Ready)
            }
            Err(error) => Err(unusable(path, error)),
        }
    }
}

impl Locked {
    /// Asks for the passphrase.
    pub(crate) fn unlock(&self) -> Result<ClientKey, Failure> {
        let mut tries = TRIES;
        loop {
            let passphrase = Passphrase::default().of(&self.path)?;
            tries = tries.saturating_sub(1);
            match self.file.signing_key(Some(&passphrase)) {
                Ok(key) => return load(&key, &self.path),
                Err(error @ KeyFileError::WrongPassphrase { .. }) if tries > 0 => term::note(error),
                Err(error) => return Err(unusable(&self.path, error)),
            }
        }
    }
}

fn load(key: &SigningKey, path: &Path) -> Result<ClientKey, Failure> {
    ClientKey::load(key, crypto::provider()).map_err(|source| unusable(path, KeyFileError::Key { line: 0, source }))
}

/// The key of a file that has the public half alone.
fn of_public(file: &KeyFile, path: &Path, patience: Duration) -> Result<ClientKey, Failure> {
    let keys = file.verifying_keys().map_err(|error| unusable(path, error))?;
    match keys.as_slice() {
        [one] => held_by_agent(&one.key, path, patience),
        several => Err(Failure::usage(format_args!(
            "{}: there are {} public keys in this file; give one with the one that is meant",
            path.display(),
            several.len()
        ))),
    }
}

/// What is wrong with a file.
fn unusable(path: &Path, error: KeyFileError) -> Failure {
    let is_other = matches!(&error, KeyFileError::Key { source: KeyError::NotSigning(_) | KeyError::Curve(_), .. });
    let failure = key_error(path, error);
    if is_other { failure.and("make another with: ssh-keygen -t ed25519 -f FILE") } else { failure }
}

#[cfg(all(feature = "ssh-agent", unix))]
fn of_agent(wanted: Option<Fingerprint>, patience: Duration) -> Result<ClientKey, Failure> {
    agent::find(wanted, patience)
}

#[cfg(all(feature = "ssh-agent", unix))]
fn held_by_agent(key: &VerifyingKey, path: &Path, patience: Duration) -> Result<ClientKey, Failure> {
    agent::key(key, patience).map_err(|failure| {
        failure.and(format_args!("{} has the public half alone, so that an agent has to sign", path.display()))
    })
}

#[cfg(not(all(feature = "ssh-agent", unix)))]
fn of_agent(_: Option<Fingerprint>, _: Duration) -> Result<ClientKey, Failure> {
    Err(Failure::usage("this build asks no ssh-agent (feature ssh-agent, on Unix); give a private key with --identity"))
}

#[cfg(not(all(feature = "ssh-agent", unix)))]
fn held_by_agent(_: &VerifyingKey, path: &Path, _: Duration) -> Result<ClientKey, Failure> {
    let path = path.display();
    Err(Failure::usage(format_args!(
        "{path}: this is the public half, and this build asks no ssh-agent for the other (feature ssh-agent, on Unix); give the \
         private key"
    )))
}
