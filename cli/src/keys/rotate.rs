//! `key rotate` and `key list`: a folder of keys over time.

use super::folder::{self, Folder, Locked, Role};
use super::{generate_with_spinner, public_path};
use crate::failure::Failure;
use crate::term;
use clap::{Args, ValueEnum};
use countersign::crypto::Encoded;
use countersign::files;
use countersign::{KeySize, PublicKey, UnixTime};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Make the next key of a folder the current one.
///
/// Makes a new next key, and retires the current one: it answers those who know no other, until --retire-for is over. A
/// server that is running takes over what is changed here at SIGHUP, without dropping a session or refusing a login.
///
/// Prints each key and what it is for now.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign key rotate --keys /etc/countersign/keys
  countersign key rotate --keys /etc/countersign/keys --stolen current

A planned rotation loses nobody: clients know the next key beforehand, by its fingerprint (--pin, given
twice) or from a manifest that names it. Where the keys are in other hands, say so with --stolen: what
is stolen is taken out at once, and clients that know no other key refuse this server from then on.
docs/runbook.md has both, step by step.")]
pub(crate) struct Rotate {
    /// The folder of the keys, as `keygen --keys` has made it
    #[arg(long, value_name = "FOLDER")]
    keys: PathBuf,
    /// How long the key that was current until now is still good for clients that know no other
    #[arg(long, value_name = "TIME", default_value = "30days", value_parser = term::duration)]
    retire_for: Duration,
    /// Take out what may be in other hands: the current key, whose place the next one takes, or all keys
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with = "retire_for")]
    stolen: Option<Stolen>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stolen {
    /// The current key alone: the next one was kept elsewhere, or where the thief could not look
    Current,
    /// Every key of the folder
    All,
}

/// Print the keys of a folder, and what each is for.
#[derive(Args)]
pub(crate) struct List {
    /// The folder of the keys, as `keygen --keys` has made it
    #[arg(long, value_name = "FOLDER")]
    keys: PathBuf,
}

/// Begins a folder of keys: a current one, which may be there already, and a next one.
pub(super) fn begin(path: &Path, size: KeySize, current: Option<&Path>) -> Result<(), Failure> {
    folder::check_is_new(path)?;
    make_folder(path)?;
    let current = match current {
        Some(file) => copy(path, file)?,
        None => folder::add(path, &generate_with_spinner(size)?, None)?,
    };
    let next = folder::add(path, &generate_with_spinner(size)?, None)?;
    folder::begin(path, &current, &next)?;
    term::note(format_args!("keys: {} (keep them secret); serve them with: countersign serve --keys", path.display()));
    show(&Folder::open(path)?)
}

/// A key that is there already, taken over as it is.
fn copy(path: &Path, file: &Path) -> Result<String, Failure> {
    let source = files::read_key_file(file)?;
    if source.needs_passphrase() {
        let name = term::quoted(file);
        // OpenSSL does not read OpenSSH's own form.
        let decrypt = match source.private_encoded() {
            Some(Encoded::OpenSsh) => format!("cp {name} NEW && ssh-keygen -p -N '' -m PKCS8 -f NEW"),
            _ => format!("openssl pkey -in {name} -out NEW"),
        };
        return Err(Failure::usage(format_args!(
            "{}: an encrypted key is not taken over; decrypt it first, with: {decrypt}",
            file.display()
        )));
    }
    folder::add(path, &files::read_private_key(file)?, None)
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    crate::state::make_private(path).map_err(|error| Failure::new(format_args!("{}: {error}", path.display())))
}

impl List {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        show(&Folder::open(&self.keys)?)
    }
}

impl Rotate {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let locked = Locked::open(&self.keys)?;
        let folder = locked.folder();
        let now = UnixTime::from_system(SystemTime::now());
        let find = |role: Role| folder.files().find(|(_, of)| *of == role).map(|(name, _)| name.to_owned());
        let current = find(Role::Current).ok_or_else(|| Failure::new("there is no current key"))?;
        let next = find(Role::Next);
        let (model, size) = (folder.file(&current), size_of(&folder.public_key(&current)?));
        let until = match self.stolen {
            None => Some(UnixTime::from_secs(now.as_secs().saturating_add(self.retire_for.as_secs()))),
            Some(_) => None,
        };
        let successor = match next.filter(|_| self.stolen != Some(Stolen::All)) {
            Some(next) => {
                // Before anything is changed: a folder without its key would not be loaded.
                folder.check_pair(&next).map_err(|failure| self.without_next(failure))?;
                if self.stolen.is_none() {
                    check_manifest(folder, &next)?;
                    check_certificates(folder, &current, &next)?;
                }
                next
            }
            None if self.stolen.is_none() => return self.begin_next(locked, size, &model),
            None => folder::add(&self.keys, &generate_with_spinner(size)?, Some(&model))?,
        };
        let next = folder::add(&self.keys, &generate_with_spinner(size)?, Some(&model))?;
        let is_certified = cfg!(feature = "x509") && folder.certificates(&current).is_some();
        let all = self.stolen == Some(Stolen::All);
        let out = locked.rotate((&successor, &next), until, all, now)?;
        let folder = Folder::open(&self.keys)?;
        show(&folder)?;
        for name in &out {
            let file = folder.file(name);
            let files = format!("{} {}", term::quoted(&file), term::quoted(&public_path(&file)));
            term::note(format_args!("no longer used; destroy it with: shred -u {files}"));
        }
        term::note("tell a server that is running: kill -HUP its process, or systemctl reload");
        let whens = [
            (&successor, "clients that go by certificates alone refuse it now"),
            (&next, "it needs one before the next rotation"),
        ];
        for (name, when) in whens.into_iter().filter(|(name, _)| is_certified && folder.certificates(name).is_none()) {
            term::note(format_args!("{name} has no certificate, and {when}; {}", folder.certify(name)));
        }
        if folder.manifest().is_some() {
            let when = if self.stolen.is_some() {
                "now: clients that follow it take no other key before"
            } else {
                "before the next rotation"
            };
            term::note(format_args!(
                "sign a manifest of these keys {when}, where the identity key is, with the public halves and keys.toml:\n  \
                 countersign manifest sign --identity identity.pem --keys FOLDER --out manifest.pem"
            ));
        }
        Ok(())
    }
}

impl Rotate {
    /// The next key can't be the current one.
    fn without_next(&self, failure: Failure) -> Failure {
        let failure = failure.and("nothing was changed");
        match self.stolen {
            None => failure.and(
                "if it is lost, take `next` out of keys.toml and run this again: it makes another, for clients to be told of",
            ),
            Some(_) => failure.and("if it is lost, run this with --stolen all"),
        }
    }

    /// There is no next key, and none that is made now can be known to clients.
    fn begin_next(&self, locked: Locked, size: KeySize, model: &Path) -> Result<(), Failure> {
        let next = folder::add(&self.keys, &generate_with_spinner(size)?, Some(model))?;
        locked.begin_next(&next)?;
        let folder = Folder::open(&self.keys)?;
        show(&folder)?;
        let first = match folder.manifest() {
            Some(_) => {
                "sign a manifest that names it, reload the server, and let clients see that (countersign manifest sign)"
            }
            None => "reload the server, and give clients its fingerprint",
        };
        Err(Failure::new(format_args!(
            "there was no next key: {next} is made and is the next one now, and the current key is as it was"
        ))
        .and(first)
        .and("then run this again"))
    }
}

/// Clients that follow the manifest are to know the key before it is the current one.
fn check_manifest(folder: &Folder, next: &str) -> Result<(), Failure> {
    let Some(path) = folder.manifest() else { return Ok(()) };
    let (id, manifest) = (folder.public_key(next)?.id(), folder::read_manifest(&path)?);
    if manifest.unverified_body().keys.iter().any(|key| key.id == id) {
        return Ok(());
    }
    Err(Failure::new(format_args!(
        "{}: this manifest does not name the next key {id}; nothing was changed",
        path.display()
    ))
    .and("sign one that does first, and let clients see it (countersign manifest sign)"))
}

/// Clients that go by certificates alone are to be shown one for the key that they see.
fn check_certificates(folder: &Folder, current: &str, next: &str) -> Result<(), Failure> {
    let Some(certificates) = folder.certificates(current).filter(|_| cfg!(feature = "x509")) else { return Ok(()) };
    if folder.certificates(next).is_some() {
        return Ok(());
    }
    Err(Failure::new(format_args!(
        "{}: the current key has a certificate, and the next one, {next}, has none; nothing was changed",
        certificates.display()
    ))
    .and(folder.certify(next))
    .and(format_args!("or remove {}, if no client goes by certificates", certificates.display())))
}

/// As large as the one before.
fn size_of(key: &PublicKey) -> KeySize {
    match key.bits() {
        ..=2048 => KeySize::Rsa2048,
        2049..=3072 => KeySize::Rsa3072,
        _ => KeySize::Rsa4096,
    }
}

/// One line for each key.
fn show(folder: &Folder) -> Result<(), Failure> {
    for (name, role) in folder.files() {
        let half = folder.half(name)?;
        half.stale.iter().for_each(|stale| term::note(stale.said()));
        let id = half.key.id();
        match role {
            Role::Current => term::line(format_args!("current  {id}  {name}"))?,
            Role::Next => term::line(format_args!("next     {id}  {name}"))?,
            Role::Retired(until) => term::line(format_args!("retired  {id}  {name}  until {until}"))?,
        }
    }
    match folder.manifest() {
        Some(path) => {
            let manifest = folder::read_manifest(&path)?;
            let body = manifest.unverified_body();
            let identity = manifest.identity().map_or_else(|_| "nobody".to_owned(), |id| id.to_string());
            term::line(format_args!("manifest {identity}  number {}  until {}", body.sequence, body.expires))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign::PrivateKey;

    #[test]
    fn the_next_key_is_as_large_as_the_one_before() {
        for (size, pem) in [
            (KeySize::Rsa2048, include_str!("../../../tests/keys/rsa2048.pem")),
            (KeySize::Rsa3072, include_str!("../../../tests/keys/rsa3072.pem")),
            (KeySize::Rsa4096, include_str!("../../../tests/keys/rsa4096.pem")),
        ] {
            assert_eq!(size_of(PrivateKey::from_pem(pem).unwrap().public_key()), size);
        }
    }
}
