//! A folder of a server's keys over time: `keys.toml` says which of its files is which.
//!
//! Key files are never changed: what a rotation changes is `keys.toml` alone, at once and whole, so that a server which reads the
//! folder at any moment reads one state or the other.

use super::{key_error, private, public_path};
use crate::failure::{Failure, chain};
use crate::secrets::Passphrase;
use crate::{state, term};
use countersign::crypto::{KeyFile, KeyFileError};
use countersign::files::{self, Existing};
use countersign::limits::CLOCK_SKEW;
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

/// The public half of a key of a folder.
pub(crate) struct Half {
    pub(crate) key: PublicKey,
    /// That the file beside the private key has another, and what to do about it: [`Half::key`] is the private key's own.
    pub(crate) stale: Option<Stale>,
}

/// A file of a public half that is another key's than the private one beside it.
pub(crate) struct Stale {
    what: String,
    /// The command that writes the right one.
    remedy: String,
}

impl Stale {
    /// For where the private key counts.
    pub(crate) fn said(&self) -> String {
        format!("{}; that counts: have its public half beside it with: {}", self.what, self.remedy)
    }
}

/// What keys are read for.
#[derive(Clone, Copy)]
pub(crate) struct Situation<'a> {
    /// What was in force until now.
    pub(crate) before: Option<&'a KeySet>,
    /// The names that the server goes by; none where it goes by any.
    pub(crate) names: Option<&'a [String]>,
    pub(crate) now: UnixTime,
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
    pub(crate) fn load(&self, passphrase: &Passphrase, situation: Situation<'_>) -> Result<Loaded, Failure> {
        let Situation { before, now, .. } = situation;
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
            let (with, of_manifest) = with_manifest(keys, &path, situation)?;
            keys = with;
            warnings.extend(of_manifest);
        }
        Ok(Loaded { keys, warnings })
    }

    fn load_key(&self, name: &str, passphrase: &Passphrase, before: Option<&KeySet>) -> Result<ServerKey, Failure> {
        let (path, file) = (self.file(name), self.read(name)?);
        match before {
            Some(before) => again(&file, &path, passphrase, before),
            None => private(&file, &path, passphrase, None),
        }
    }

    /// The file of a key. No new one can stand in for it: clients know this one.
    fn read(&self, name: &str) -> Result<KeyFile, Failure> {
        files::read_key_file(self.file(name)).map_err(|error| {
            let names = self.file(NAME);
            Failure::missing(&error, format_args!("put the private key there, which {} names", names.display()))
        })
    }

    /// The public half of a key: its own where that can be read, or that of the file beside it.
    pub(crate) fn half(&self, name: &str) -> Result<Half, Failure> {
        let path = self.file(name);
        let public = public_path(&path);
        let mut beside = None;
        if public.exists() {
            let mut keys = files::read_public_keys(&public)?.into_iter();
            if let (Some(source), None) = (keys.next(), keys.next()) {
                beside = Some(source.key);
            }
        }
        match (files::read_private_key(&path), beside) {
            (Ok(own), beside) => {
                let key = own.public_key().clone();
                let other = beside.filter(|beside| beside.id() != key.id());
                let stale = other.map(|other| Stale {
                    what: format!(
                        "{}: this is the public half of another key, {}, and the private one beside it is {}",
                        public.display(),
                        other.id(),
                        key.id()
                    ),
                    remedy: format!("openssl pkey -in {} -pubout -out {}", term::quoted(&path), term::quoted(&public)),
                });
                Ok(Half { key, stale })
            }
            // Whoever signs has the public halves alone, and who lists them may not be allowed to read the others.
            (Err(_), Some(key)) => Ok(Half { key, stale: None }),
            (Err(error), None) => Err(error.into()),
        }
    }

    pub(crate) fn public_key(&self, name: &str) -> Result<PublicKey, Failure> {
        Ok(self.half(name)?.key)
    }

    /// Refuses a key whose private half is missing or another's: a server would not start with it, or answer under a key that clients
    /// were not told of. Of an encrypted one that can't be seen.
    pub(crate) fn check_pair(&self, name: &str) -> Result<(), Failure> {
        match self.read(name)?.private_key(None) {
            Ok(_) => {}
            Err(KeyFileError::Encrypted { .. }) => return Ok(()),
            Err(error) => return Err(key_error(&self.file(name), error)),
        }
        match self.half(name)?.stale {
            Some(stale) => Err(Failure::new(stale.what).and("put the right private key there, which clients know")),
            None => Ok(()),
        }
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
    again(&files::read_key_file(path)?, path, passphrase, before)
}

fn again(file: &KeyFile, path: &Path, passphrase: &Passphrase, before: &KeySet) -> Result<ServerKey, Failure> {
    if !file.needs_passphrase() || passphrase.is_in_file() {
        return private(file, path, passphrase, None);
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
pub(crate) fn with_manifest(
    keys: KeySet,
    path: &Path,
    situation: Situation<'_>,
) -> Result<(KeySet, Vec<String>), Failure> {
    let manifest = read_manifest(path)?;
    let current = keys.current().public_key().id();
    let refused = refused_by_clients(&manifest, current, situation);
    let (keys, what) = match keys.clone().with_manifest(manifest) {
        Ok(keys) => (keys, refused),
        Err(_) => (keys, vec![format!("does not name the current key {current}, and is not sent; sign a new one")]),
    };
    Ok((keys, what.iter().map(|what| format!("{}: this manifest {what}", path.display())).collect()))
}

/// For what clients refuse a manifest that is sent, or the current key by it.
fn refused_by_clients(
    manifest: &SignedManifest,
    current: KeyId,
    Situation { before, names, now }: Situation<'_>,
) -> Vec<String> {
    let body = manifest.unverified_body();
    let kept = before.and_then(KeySet::manifest).filter(|kept| *kept != manifest);
    let kept = kept.filter(|kept| kept.identity().ok() == manifest.identity().ok());
    let last = kept.map(|kept| kept.unverified_body().sequence).filter(|last| body.sequence <= *last);
    let soon = UnixTime::from_secs(now.as_secs().saturating_add(CLOCK_SKEW.as_secs()));
    let is_over = now >= body.expires;
    let key = body.keys.iter().find(|key| key.id == current && !is_over);
    let key = key.filter(|key| now < key.not_before || now >= key.not_after);
    let is_of = |names: &[String]| body.names.is_empty() || names.iter().any(|name| body.names.contains(name));
    let found = [
        is_over.then(|| format!("expired on {}; sign a new one", body.expires)),
        (body.issued > soon).then(|| {
            format!(
                "was issued on {}, and it is {now} now: clients refuse it until then; see which clock is wrong, and sign a new one",
                body.issued
            )
        }),
        last.map(|last| {
            format!(
                "has the number {}, and the one before it had {last}: clients that have seen that refuse this one; sign a new one, with \
                 --sequence {}",
                body.sequence,
                last.saturating_add(1)
            )
        }),
        key.map(|key| {
            format!(
                "has the current key {current} from {} until {}, and it is {now} now: clients refuse the key; sign a new one",
                key.not_before, key.not_after
            )
        }),
        (!names.is_none_or(is_of)).then(|| {
            format!(
                "is for {} alone, and this server goes by no such name (--server-name): clients refuse it; sign a new one, \
                 with --name",
                body.names.join(", ")
            )
        }),
    ];
    found.into_iter().flatten().collect()
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

    /// Makes `next` the next key, and leaves all else as it is.
    pub(crate) fn begin_next(mut self, next: &str) -> Result<(), Failure> {
        set(&mut self.text, "next", next);
        write(&self.folder.path, &self.text.to_string())
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

/// Puts the file into its place, for whoever may read the one that is there. Where that is a link, its target is replaced.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let file = path.join(NAME);
    let written = || -> std::io::Result<PathBuf> {
        let target = if file.is_symlink() { fs::canonicalize(&file)? } else { file.clone() };
        let folder = target.parent().unwrap_or(path).to_owned();
        let mut new = tempfile::NamedTempFile::new_in(&folder)?;
        new.write_all(text.as_bytes())?;
        give_as(new.path(), &target, NO_SECRET)?;
        new.as_file().sync_all()?;
        new.persist(&target)?;
        Ok(folder)
    };
    let folder = written().map_err(|error| {
        Failure::new(format_args!("{}: {error}", file.display()))
            .and("run this as root, or as the user that the server runs as")
    })?;
    // It has taken its place, for all to see: a key that was stolen must not come back into it.
    state::sync_folder(&folder).map_err(|error| {
        Failure::new(format_args!("{}: {error}", file.display()))
            .and("the file is changed, but may be as before once the power has gone off: look after the disk")
    })
}

/// What others than the owner and the group are left of a mode: nothing of a secret, and of what is none all but to change it.
const SECRET: u32 = 0o770;
const NO_SECRET: u32 = 0o774;

/// Gives a new file the owner, the group and the mode of another, if that is there: a server that could read it can read this.
#[cfg(unix)]
fn give_as(new: &Path, model: &Path, kept: u32) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let (Ok(wanted), there) = (fs::metadata(model), fs::metadata(new)?) else { return Ok(()) };
    if (wanted.uid(), wanted.gid()) != (there.uid(), there.gid()) {
        chown(new, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    fs::set_permissions(new, fs::Permissions::from_mode(wanted.mode() & kept))
}

#[cfg(not(unix))]
fn give_as(_: &Path, _: &Path, _: u32) -> std::io::Result<()> {
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
        give_as(&file, model, SECRET).map_err(|error| {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::crypto;
    use countersign::crypto::SigningKey;
    use countersign::{KeyExchange, ManifestBody, ManifestKey};

    #[test]
    fn operators_are_told_of_a_manifest_from_and_until_the_second_in_which_clients_refuse_it() {
        const NOW: u64 = 2_000_000_000;
        let identity = SigningKey::generate(crypto::provider()).unwrap();
        let id = KeyId::from_bytes([7; 32]);
        let told = |issued: u64, expires: u64, from: u64, until: u64| {
            let [issued, expires, not_before, not_after] = [issued, expires, from, until].map(UnixTime::from_secs);
            let key = ManifestKey { id, not_before, not_after, floor: KeyExchange::X25519.into() };
            let body = ManifestBody { sequence: 1, issued, expires, names: Vec::new(), keys: vec![key] };
            let manifest = body.sign(&identity, crypto::provider()).unwrap();
            let situation = Situation { before: None, names: None, now: UnixTime::from_secs(NOW) };
            refused_by_clients(&manifest, id, situation)
        };
        for (issued, expires, from, until, says) in [
            (NOW - 9, NOW + 1, NOW - 9, NOW + 1, None),
            (NOW - 9, NOW, NOW - 9, NOW + 1, Some("expired on ")),
            (NOW + 60, NOW + 999, NOW - 9, NOW + 1, None),
            (NOW + 61, NOW + 999, NOW - 9, NOW + 1, Some("was issued on ")),
            (NOW - 9, NOW + 999, NOW, NOW + 1, None),
            (NOW - 9, NOW + 999, NOW + 1, NOW + 2, Some("has the current key ")),
            (NOW - 9, NOW + 999, NOW - 9, NOW, Some("has the current key ")),
        ] {
            let told = told(issued, expires, from, until);
            assert_eq!(told.len(), usize::from(says.is_some()), "{told:?}");
            assert!(told.iter().zip(says).all(|(told, says)| told.starts_with(says)), "{told:?}");
        }
    }
}
