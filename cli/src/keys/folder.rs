//! A folder of a server's keys over time: `keys.toml` says which of its files is which.
//!
//! Key files are never changed: what a rotation changes is `keys.toml` alone, at once and whole, so that a server which reads the
//! folder at any moment reads one state or the other.

use super::{load, private, public_path};
use crate::failure::{Failure, chain};
use crate::secrets::Passphrase;
use crate::{state, term};
use countersign::files::{self, Existing};
use countersign::{KeyId, KeySet, PrivateKey, PublicKey, ServerKey, SignedManifest, UnixTime};
use serde::Deserialize;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use toml_edit::{ArrayOfTables, Datetime, DocumentMut, Item, Table, value};

/// The name of the file that says which key is which.
const NAME: &str = "keys.toml";

/// The name of the manifest, which is sent to clients that ask for one if it is there.
const MANIFEST: &str = "manifest.pem";

/// What stands for a date that is none.
const NEVER: UnixTime = UnixTime::from_secs(u64::MAX);

const HEAD: &str = "\
# The keys of a countersign server: `serve --keys` reads this file when it starts and at SIGHUP, `key rotate` changes it.
# Every name is that of a file in this folder. A client is answered under the key that it knows, as long as that is in time,
# and otherwise under the current one. `manifest.pem` is sent to clients that ask for it, if it is there.
";

/// A folder of keys, as its file has them.
pub(crate) struct Folder {
    path: PathBuf,
    listed: Listed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    current: String,
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    retired: Vec<Retired>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retired {
    key: String,
    until: Datetime,
}

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Current,
    Next,
    Retired(UnixTime),
}

/// What was read of a folder.
pub(crate) struct Loaded {
    pub(crate) keys: KeySet,
    /// What its operator should know.
    pub(crate) warnings: Vec<String>,
}

impl Folder {
    /// Reads which keys there are.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let file = path.join(NAME);
        let text = fs::read_to_string(&file).map_err(|error| {
            let failure = Failure::new(format_args!("{}: {error}", file.display()));
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            if is_missing {
                failure.and(format_args!("make keys with: countersign keygen --keys {}", term::quoted(path)))
            } else {
                failure
            }
        })?;
        let listed: Listed = toml_edit::de::from_str(&text).map_err(|error| wrong(&file, &error))?;
        let folder = Self { path: path.to_owned(), listed };
        for (name, role) in folder.files() {
            let is_name = Path::new(name).file_name().is_some_and(|file| file == name);
            if !is_name {
                return Err(Failure::new(format_args!(
                    "{}: {name:?} is no name of a file in this folder",
                    file.display()
                )));
            }
            if let Role::Retired(NEVER) = role {
                return Err(Failure::new(format_args!(
                    "{}: the `until` of {name} is no date in UTC; write it as 2027-01-31T12:00:00Z",
                    file.display()
                )));
            }
        }
        Ok(folder)
    }

    /// The files of the keys, and what each is for. A date that is none is the end of time.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, Role)> {
        let Listed { current, next, retired, .. } = &self.listed;
        let retired = retired.iter().map(|Retired { key, until }| (key.as_str(), Role::Retired(until_of(*until))));
        let next = next.iter().map(|next| (next.as_str(), Role::Next));
        core::iter::once((current.as_str(), Role::Current)).chain(next).chain(retired)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Loads the keys, and the manifest. Encrypted keys that are loaded already are left as they are.
    pub(crate) fn load(
        &self,
        passphrase: &Passphrase,
        before: Option<&KeySet>,
        now: UnixTime,
    ) -> Result<Loaded, Failure> {
        let mut warnings = Vec::new();
        let mut key = |name: &str| -> Result<ServerKey, Failure> {
            let key = self.load_key(name, passphrase, before)?;
            let Some(certificates) = self.certificates(name) else { return Ok(key) };
            let (key, warning) = with_certificates(key, &certificates, now)?;
            warnings.extend(warning);
            Ok(key)
        };
        let mut keys = KeySet::new(key(&self.listed.current)?);
        let mut over = Vec::new();
        for (name, role) in self.files() {
            let twice = |error| Failure::new(format_args!("{}: {name}: {error}", self.file(NAME).display()));
            keys = match role {
                Role::Current => keys,
                Role::Next => keys.with_next(key(name)?).map_err(twice)?,
                Role::Retired(until) if now >= until => {
                    let path = self.file(name);
                    over.push(format!(
                        "{}: its time was over on {until}; it is not used, and can be removed",
                        path.display()
                    ));
                    keys
                }
                Role::Retired(until) => keys.with_retired(key(name)?, until).map_err(twice)?,
            };
        }
        warnings.extend(over);
        warnings.extend(self.without_certificates(now));
        if let Some(path) = self.manifest() {
            let (with, warning) = with_manifest(keys, &path, now)?;
            keys = with;
            warnings.extend(warning);
        }
        Ok(Loaded { keys, warnings })
    }

    fn load_key(&self, name: &str, passphrase: &Passphrase, before: Option<&KeySet>) -> Result<ServerKey, Failure> {
        let path = self.file(name);
        match before {
            Some(before) => load_again(&path, passphrase, before),
            None => load(&path, passphrase),
        }
    }

    /// The public half of a key: from the file beside it, or its own.
    pub(crate) fn public_key(&self, name: &str) -> Result<PublicKey, Failure> {
        let path = self.file(name);
        let public = public_path(&path);
        if public.exists() {
            let mut keys = files::read_public_keys(&public)?.into_iter();
            if let (Some(source), None) = (keys.next(), keys.next()) {
                return Ok(source.key);
            }
        }
        Ok(files::read_private_key(&path)?.public_key().clone())
    }

    /// The file of a key's certificates, if there is one.
    pub(crate) fn certificates(&self, name: &str) -> Option<PathBuf> {
        Some(self.certificates_place(name)).filter(|path| path.exists())
    }

    fn certificates_place(&self, name: &str) -> PathBuf {
        self.file(name).with_extension("crt")
    }

    /// What is to be said of a key that clients see, or will, where another one has certificates and this one has none.
    fn without_certificates(&self, now: UnixTime) -> Option<String> {
        let is_over = |role: &Role| matches!(role, Role::Retired(until) if now >= *until);
        let mut used = self.files().filter(|(_, role)| !is_over(role));
        if !cfg!(feature = "x509") || !used.any(|(name, _)| self.certificates(name).is_some()) {
            return None;
        }
        let (name, role) = self
            .files()
            .find(|(name, role)| matches!(role, Role::Current | Role::Next) && self.certificates(name).is_none())?;
        let what = match role {
            Role::Current => {
                "the current key has no certificate, as another has: clients that go by certificates alone refuse it"
            }
            _ => {
                "the next key has no certificate yet, as another has: clients that go by certificates alone would refuse it"
            }
        };
        Some(format!("{}: {what}; {}", self.file(name).display(), self.certify(name)))
    }

    /// How a key gets a certificate.
    pub(crate) fn certify(&self, name: &str) -> String {
        let (key, out) = (self.file(name), self.file(name).with_extension("csr"));
        format!(
            "get one, as {}: countersign cert csr --key {} --name HOST --out {}",
            self.certificates_place(name).display(),
            term::quoted(&key),
            term::quoted(&out)
        )
    }

    /// The file of the manifest, if there is one.
    pub(crate) fn manifest(&self) -> Option<PathBuf> {
        Some(self.file(MANIFEST)).filter(|path| path.exists())
    }
}

/// Reads a key while nobody is there to be asked for its passphrase: an encrypted one that is loaded already is left as it is.
pub(crate) fn load_again(path: &Path, passphrase: &Passphrase, before: &KeySet) -> Result<ServerKey, Failure> {
    let file = files::read_key_file(path)?;
    if !file.needs_passphrase() || passphrase.is_in_file() {
        return private(&file, path, passphrase);
    }
    let beside: Vec<KeyId> = files::read_public_keys(public_path(path))
        .map(|sources| sources.iter().map(|source| source.key.id()).collect())
        .unwrap_or_default();
    before.all().find(|key| beside.contains(&key.public_key().id())).cloned().ok_or_else(|| {
        let failure =
            Failure::new(format_args!("{}: this key is encrypted, and nobody can be asked now", path.display()));
        failure.and("give its passphrase with --passphrase-file, or start the server anew")
    })
}

fn until_of(until: Datetime) -> UnixTime {
    UnixTime::from_rfc3339(&until.to_string()).unwrap_or(NEVER)
}

fn wrong(file: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(format_args!("{}: {}", file.display(), chain(error).trim_end()))
}

/// The keys with the manifest of this file, and what is to be said of it: one that does not fit is left out, and keeps nobody from
/// logging in who has a fingerprint.
pub(crate) fn with_manifest(keys: KeySet, path: &Path, now: UnixTime) -> Result<(KeySet, Option<String>), Failure> {
    let manifest = read_manifest(path)?;
    let (body, shown) = (manifest.unverified_body().clone(), path.display());
    let warning =
        (now >= body.expires).then(|| format!("{shown}: this manifest expired on {}; sign a new one", body.expires));
    match keys.clone().with_manifest(manifest) {
        Ok(keys) => Ok((keys, warning)),
        Err(_) => {
            let id = keys.current().public_key().id();
            Ok((
                keys,
                Some(format!(
                    "{shown}: this manifest does not name the current key {id}, and is not sent; sign a new one"
                )),
            ))
        }
    }
}

/// The key with the certificates of this file, and what is to be said of them.
#[cfg(feature = "x509")]
pub(crate) fn with_certificates(
    key: ServerKey,
    path: &Path,
    now: UnixTime,
) -> Result<(ServerKey, Option<String>), Failure> {
    let certificates = files::read_certificate_chain(path)?;
    let warning = certificates.warning(now).map(|what| format!("{}: {what}", path.display()));
    let key = key.with_certificates(certificates);
    let key = key.map_err(|error| Failure::new(format_args!("{}: {}", path.display(), chain(&error))))?;
    Ok((key, warning))
}

/// There are none to be sent.
#[cfg(not(feature = "x509"))]
pub(crate) fn with_certificates(
    key: ServerKey,
    path: &Path,
    _: UnixTime,
) -> Result<(ServerKey, Option<String>), Failure> {
    Ok((key, Some(format!("{}: this build sends no certificates (feature x509)", path.display()))))
}

/// Reads a manifest in PEM.
pub(crate) fn read_manifest(path: &Path) -> Result<SignedManifest, Failure> {
    const MOST: u64 = 1 << 20;
    let shown = path.display();
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(File::open(path)?, MOST), &mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error| Failure::new(format_args!("{shown}: {error}")))?;
    SignedManifest::from_pem(&text).map_err(|error| Failure::new(format_args!("{shown}: {}", chain(&error))))
}

/// A folder that nobody else changes meanwhile.
pub(crate) struct Locked {
    folder: Folder,
    text: DocumentMut,
    _lock: Option<File>,
}

impl Locked {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let lock = lock(path)?;
        let folder = Folder::open(path)?;
        let file = folder.file(NAME);
        let text = fs::read_to_string(&file).map_err(|error| wrong(&file, &error))?;
        let text = text.parse().map_err(|error: toml_edit::TomlError| wrong(&file, &error))?;
        Ok(Self { folder, text, _lock: lock })
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Makes `current` the current key and `next` the next one; retires the one before until then, or takes it out, and `all` others
    /// with it if so. Keys whose time is over are taken out, too: gives the names of all that are.
    pub(crate) fn rotate(
        mut self,
        (current, next): (&str, &str),
        until: Option<UnixTime>,
        all: bool,
        now: UnixTime,
    ) -> Result<Vec<String>, Failure> {
        let mut out = Vec::new();
        let mut retired = ArrayOfTables::new();
        let before = (self.folder.listed.current.clone(), until);
        let mut kept: Vec<(String, UnixTime)> = Vec::new();
        match before {
            (name, Some(until)) => kept.push((name, until)),
            (name, None) => out.push(name),
        }
        for Retired { key, until } in &self.folder.listed.retired {
            match until_of(*until) {
                until if now < until && !all => kept.push((key.clone(), until)),
                _ => out.push(key.clone()),
            }
        }
        out.extend(self.folder.listed.next.iter().filter(|name| *name != current).cloned());
        for (name, until) in kept {
            let until: Datetime = until.to_string().parse().map_err(|error| wrong(&self.folder.file(NAME), &error))?;
            let mut table = Table::new();
            table.insert("key", value(name));
            table.insert("until", value(until));
            retired.push(table);
        }
        set(&mut self.text, "current", current);
        set(&mut self.text, "next", next);
        self.text.remove("retired");
        if !retired.is_empty() {
            self.text.insert("retired", Item::ArrayOfTables(retired));
        }
        write(&self.folder.path, &self.text.to_string())?;
        Ok(out)
    }
}

fn set(text: &mut DocumentMut, name: &str, to: &str) {
    match text.get_mut(name).and_then(Item::as_value_mut) {
        Some(there) => {
            let decor = there.decor().clone();
            *there = to.into();
            *there.decor_mut() = decor;
        }
        None => {
            text.insert(name, value(to));
        }
    }
}

/// Begins a folder with these keys.
pub(crate) fn begin(path: &Path, current: &str, next: &str) -> Result<(), Failure> {
    let text = format!("{HEAD}\ncurrent = {current:?}\nnext = {next:?}\n");
    write(path, &text)
}

/// Refuses a folder that has keys already.
pub(crate) fn check_is_new(path: &Path) -> Result<(), Failure> {
    let file = path.join(NAME);
    if !file.exists() {
        return Ok(());
    }
    let failure = Failure::new(format_args!("{}: the file exists and was left as it is", file.display()));
    Err(failure.and(format_args!(
        "exchange the keys of this folder with: countersign key rotate --keys {}",
        term::quoted(path)
    )))
}

/// Puts the file into its place, for whoever may read the one that is there.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let file = path.join(NAME);
    let written = || -> std::io::Result<()> {
        let mut new = tempfile::NamedTempFile::new_in(path)?;
        new.write_all(text.as_bytes())?;
        give_as(new.path(), &file)?;
        new.as_file().sync_all()?;
        new.persist(&file)?;
        Ok(())
    };
    written().map_err(|error| {
        Failure::new(format_args!("{}: {error}", file.display()))
            .and("run this as root, or as the user that the server runs as")
    })?;
    // It has taken its place, for all to see: a key that was stolen must not come back into it.
    state::sync_folder(path).map_err(|error| {
        Failure::new(format_args!("{}: {error}", file.display()))
            .and("the file is changed, but may be as before once the power has gone off: look after the disk")
    })
}

/// Gives a new file the owner, the group and the mode of another, if that is there: a server that could read it can read this.
#[cfg(unix)]
fn give_as(new: &Path, model: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let (Ok(wanted), there) = (fs::metadata(model), fs::metadata(new)?) else { return Ok(()) };
    if (wanted.uid(), wanted.gid()) != (there.uid(), there.gid()) {
        chown(new, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    fs::set_permissions(new, fs::Permissions::from_mode(wanted.mode() & 0o770))
}

#[cfg(not(unix))]
fn give_as(_: &Path, _: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Nobody else changes the folder until this is gone. Where a system has no such locks, an operator has to see to it.
fn lock(path: &Path) -> Result<Option<File>, Failure> {
    let Ok(folder) = File::open(path) else { return Ok(None) };
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(fs::TryLockError::WouldBlock) => {
            Err(Failure::new(format_args!("{}: another process is changing these keys; try again", path.display())))
        }
        Err(fs::TryLockError::Error(_)) => Ok(None),
    }
}

/// Writes both halves of a new key into the folder, for whoever may read the key `model`, and gives the name of its file.
pub(crate) fn add(path: &Path, key: &PrivateKey, model: Option<&Path>) -> Result<String, Failure> {
    let id = key.public_key().id();
    let name = format!("key-{}.pem", short(id));
    let file = path.join(&name);
    files::write_public_key(public_path(&file), key.public_key(), Existing::Replace)?;
    files::write_private_key(&file, key, Existing::Keep)?;
    if let Some(model) = model {
        give_as(&file, model).map_err(|error| {
            let failure = Failure::new(format_args!("{}: {error}", file.display()));
            failure.and("run this as root, or as the user that the server runs as; nothing was changed")
        })?;
    }
    Ok(name)
}

/// Enough of a fingerprint to tell the keys of a server apart, for the name of a file.
fn short(id: KeyId) -> String {
    hex::encode(id.as_bytes().first_chunk::<6>().unwrap_or(&[0; 6]))
}
