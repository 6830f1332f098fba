//! A new password: how it is asked for, and what is kept of it.

use crate::failure::Failure;
use crate::{secrets, term};
use clap::Args;
use countersign::accounts::{self, Account, AccountError, PasswordCheck};
use countersign::{StretchParameters, StretchedHash, Stretching};

#[derive(Args)]
pub(crate) struct PasswordArgs {
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub(super) password_stdin: bool,
    /// Take a password of fewer than 8 characters, too, or one that is the user's name
    #[arg(long)]
    allow_weak_password: bool,
    /// Keep what the user's client stretches the password to, for the realm of a server with `serve --stretch`. What an account
    /// has stays so at `user passwd`
    #[arg(long, value_name = "REALM")]
    stretch_realm: Option<String>,
    /// What stretching takes of a client: KiB of memory, passes, lanes; the newest of what the server announces
    #[arg(long, value_name = "PARAMETERS", requires = "stretch_realm", default_value_t = StretchParameters::DEFAULT)]
    stretch_parameters: StretchParameters,
    /// Keep a hash of the password that the server computes, also where it was stretched so far
    #[arg(long, conflicts_with = "stretch_realm")]
    no_stretch: bool,
}

/// A new password, as it is kept.
pub(super) enum NewPassword {
    Hash(String),
    Stretched(StretchedHash),
}

impl NewPassword {
    pub(super) fn set(&self, account: &mut Account) -> Result<(), AccountError> {
        match self {
            Self::Hash(hash) => account.set_password_hash(hash),
            Self::Stretched(stretched) => {
                account.set_stretched(stretched);
                Ok(())
            }
        }
    }

    /// How it is kept, for who has not asked for it.
    pub(super) fn note(&self) {
        if let Self::Stretched(stretched) = self {
            let (realm, parameters) = (stretched.realm(), stretched.parameters());
            term::note(format_args!("it is stretched for {realm} at {parameters}: good with `serve --stretch` alone"));
        }
    }
}

impl PasswordArgs {
    /// Asks for a new password. Gives what is kept of it; `kept` is what was so far.
    pub(super) fn ask(&self, name: &str, kept: Option<&StretchedHash>) -> Result<NewPassword, Failure> {
        let stretching = self.stretching(kept)?;
        let password = secrets::ask_new(name, self.password_stdin)?;
        if !self.allow_weak_password {
            accounts::check_strength(name, &password)
                .map_err(|error| Failure::usage(error).and("take another, or this one with --allow-weak-password"))?;
        }
        // Before the file is locked and read: it takes its time.
        match stretching {
            None => Ok(NewPassword::Hash(PasswordCheck::hash(&password)?)),
            Some(stretching) => {
                let stretched = stretching.stretch(name, &password).map_err(Failure::new)?;
                Ok(NewPassword::Stretched(stretched.newest()))
            }
        }
    }

    fn stretching(&self, kept: Option<&StretchedHash>) -> Result<Option<Stretching>, Failure> {
        let stretching = match (&self.stretch_realm, kept) {
            (Some(realm), _) => Stretching::new(realm, &[self.stretch_parameters]),
            (None, Some(kept)) if !self.no_stretch => Stretching::new(kept.realm(), &[kept.parameters()]),
            (None, _) => return Ok(None),
        };
        stretching.map(Some).map_err(|error| Failure::usage(format_args!("--stretch-realm: {error}")))
    }
}
