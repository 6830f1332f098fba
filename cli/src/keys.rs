//! `keygen`, and `key` with what is below it.

pub(crate) mod folder;
mod rotate;

use crate::crypto;
use crate::failure::{Failure, chain};
use crate::secrets::Passphrase;
use crate::term;
use clap::{Args, Subcommand, ValueEnum};
use countersign::crypto::{Encoded, KeyFile, KeyFileError, SignatureAlgorithm, SigningKey, VerifyingKey};
use countersign::files::{self, Existing, FileError, Readers};
use countersign::{KeyError, KeyId, KeySize, PrivateKey, PublicKey, ServerKey};
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Make a server key.
///
/// Writes the private key (PKCS#8 PEM, readable by you alone) and, beside it, the public key (SPKI PEM) for clients.
/// Prints the fingerprint, which is what clients pin.
#[derive(Args)]
#[command(after_help = "\
Example:
  countersign keygen --out server.pem
      makes server.pem, to keep secret, and server.pub.pem, to give to clients
  countersign keygen --keys /etc/countersign/keys
      makes a folder of two keys, a current and a next one, for `serve --keys` and `key rotate`
  countersign keygen --identity --encrypt --out identity.pem
      makes an identity key (Ed25519) for `manifest sign`, to keep away from the server")]
pub(crate) struct Keygen {
    /// Where to write the private key; the public key goes to the same name with .pub.pem for .pem
    #[arg(long, value_name = "FILE", required_unless_present = "keys", conflicts_with = "keys")]
    out: Option<PathBuf>,
    /// Make a folder of keys, which can be rotated: a current and a next one
    #[arg(long, value_name = "FOLDER", conflicts_with = "force")]
    keys: Option<PathBuf>,
    /// Take this key for the current one of the folder
    #[arg(long, value_name = "FILE", requires = "keys")]
    current: Option<PathBuf>,
    /// Make an identity key, which signs manifests of server keys (see `manifest sign`)
    #[arg(long, requires = "out", conflicts_with_all = ["keys", "bits"])]
    identity: bool,
    /// Keep the identity key under a passphrase: asked for twice, or from --passphrase-file or --passphrase-stdin
    #[arg(long, requires = "identity")]
    encrypt: bool,
    #[command(flatten)]
    passphrase: Passphrase,
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

impl Bits {
    const fn size(self) -> KeySize {
        match self {
            Self::Rsa2048 => KeySize::Rsa2048,
            Self::Rsa3072 => KeySize::Rsa3072,
            Self::Rsa4096 => KeySize::Rsa4096,
        }
    }
}

/// Look at keys, and change them from time to time.
#[derive(Subcommand)]
pub(crate) enum Key {
    /// Print what a key file holds: the kind, form, size and fingerprint of each key; of one that signs (an identity, or a client's), the
    /// algorithm.
    ///
    /// Takes what OpenSSL and OpenSSH write: private keys (PKCS#8 or PKCS#1, encrypted or not, and OpenSSH's), public keys,
    /// ssh-rsa lines, and certificates; in PEM with whatever stands around it, or in DER.
    #[command(after_help = "\
Examples:
  countersign key show server.pub.pem
  openssl x509 -in server.crt -pubkey -noout | countersign key show -")]
    Show {
        /// The key file; - is standard input
        file: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    Rotate(rotate::Rotate),
    List(rotate::List),
}

impl Keygen {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        if self.passphrase.is_given() && !self.encrypt {
            return Err(Failure::usage(
                "--passphrase-file and --passphrase-stdin are for an identity key that is kept under a passphrase: give --encrypt, \
                 too; other keys are written as they are",
            ));
        }
        match (&self.keys, &self.out) {
            (Some(folder), _) => rotate::begin(folder, self.bits.size(), self.current.as_deref()),
            (None, Some(out)) if self.identity => self.identity(out),
            (None, Some(out)) => self.pair(out),
            (None, None) => Err(Failure::usage("where to write the key? Give --out FILE")),
        }
    }

    fn pair(&self, out: &Path) -> Result<(), Failure> {
        let public_path = public_path(out);
        let existing = if self.force { Existing::Replace } else { Existing::Keep };
        // Both, before the work: neither file is touched if either can't be written.
        for path in [out, &public_path] {
            check_target(path, existing)?;
        }
        let key = generate_with_spinner(self.bits.size())?;
        // The private key goes last: until it is replaced, the old one is not lost.
        let written = files::write_public_key(&public_path, key.public_key(), existing)
            .and_then(|()| files::write_private_key(out, &key, existing));
        if let Err(error) = written {
            return Err(self.half_done(&error, (out, &public_path), &key));
        }
        term::note(format_args!("private key: {} (keep it secret)", out.display()));
        term::note(format_args!("public key:  {} (give it, or the fingerprint, to clients)", public_path.display()));
        term::line(key.public_key().id())
    }

    fn identity(&self, out: &Path) -> Result<(), Failure> {
        let public_path = public_path(out);
        let existing = if self.force { Existing::Replace } else { Existing::Keep };
        for path in [out, &public_path] {
            check_target(path, existing)?;
        }
        let key = SigningKey::generate(crypto::provider())?;
        let pem = if self.encrypt { key.to_encrypted_pem(&self.passphrase.of_new(out)?)? } else { key.to_pkcs8_pem() };
        files::write_pem(out, pem.as_bytes(), Readers::Owner, existing)?;
        let written = files::write_pem(&public_path, key.public_key().to_pem().as_bytes(), Readers::All, existing);
        if let Err(error) = written {
            if !self.force {
                // Half a pair would only get in the way of the next try.
                let _ = fs::remove_file(out);
            }
            return Err(exists(&error));
        }
        term::note(format_args!("identity key: {} (keep it away from the server)", out.display()));
        term::note(format_args!("public key:   {} (give it, or the fingerprint, to clients)", public_path.display()));
        term::line(key.public_key().id())
    }

    /// What there is now, after a write that failed.
    fn half_done(&self, error: &FileError, (private, public): (&Path, &Path), key: &PrivateKey) -> Failure {
        let failure = exists(error);
        let id = key.public_key().id();
        let is_new_public = files::read_public_keys(public).is_ok_and(|keys| keys.iter().any(|of| of.key.id() == id));
        let is_new_private = files::read_private_key(private).is_ok_and(|of| of.public_key().id() == id);
        if !self.force {
            // Half a pair would only get in the way of the next try. It was made just now, so nothing is lost.
            for (path, _) in [(public, is_new_public), (private, is_new_private)].iter().filter(|(_, is_new)| *is_new) {
                let _ = fs::remove_file(path);
            }
            return failure.and("neither file was kept");
        }
        match (is_new_public, is_new_private) {
            (false, _) => failure.and("both files are as they were"),
            (true, true) => failure.and(format_args!("but both files are there, with the fingerprint {id}")),
            (true, false) => {
                let names = files::shell_quoted(private).zip(files::shell_quoted(public));
                let failure = failure.and(format_args!(
                    "{} has the new fingerprint {id} already, and {} is still the old key",
                    public.display(),
                    private.display(),
                ));
                match names {
                    Some((private, public)) => failure.and(format_args!(
                        "get its public half back with: openssl pkey -in {private} -pubout -out {public}"
                    )),
                    None => failure,
                }
            }
        }
    }
}

impl Key {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Show { file, passphrase } => show(file, passphrase),
            Self::Rotate(rotate) => rotate.run(),
            Self::List(list) => list.run(),
        }
    }
}

fn show(path: &Path, passphrase: &Passphrase) -> Result<(), Failure> {
    let file = if path.as_os_str() == "-" { of_stdin(passphrase)? } else { files::read_key_file(path)? };
    let mut blocks = Vec::new();
    if file.has_private_key() {
        blocks.push(describe_private(&file, path, passphrase)?);
    }
    match describe_public(&file) {
        Ok(described) => blocks.extend(described),
        Err(error) if blocks.is_empty() => return Err(key_error(path, error)),
        // Beside a private key it is no matter what there is.
        Err(_) => {}
    }
    term::line(blocks.join("\n\n"))
}

/// A server's key, or one that signs.
fn describe_private(file: &KeyFile, path: &Path, passphrase: &Passphrase) -> Result<String, Failure> {
    let passphrase = if file.needs_passphrase() { Some(passphrase.of(path)?) } else { None };
    let passphrase = passphrase.as_ref().map(|passphrase| passphrase.as_slice());
    let encoded = file.private_encoded().unwrap_or(Encoded::Pkcs8);
    let described = match file.private_key(passphrase) {
        Ok(key) => loadable(&key).map(|key| describe("private", encoded, key.public_key())),
        Err(error) if is_of_no_server(&error) => {
            file.signing_key(passphrase).map(|key| describe_signing("private", encoded, key.public_key()))
        }
        Err(error) => Err(error),
    };
    described.map_err(|error| key_error(path, error))
}

fn describe_public(file: &KeyFile) -> Result<Vec<String>, KeyFileError> {
    match file.public_keys() {
        Ok(keys) => Ok(keys.iter().map(|source| describe("public", source.encoded, &source.key)).collect()),
        Err(error) if is_of_no_server(&error) => {
            let keys = file.verifying_keys()?;
            Ok(keys.iter().map(|source| describe_signing("public", source.encoded, &source.key)).collect())
        }
        Err(error) => Err(error),
    }
}

/// Whether it is a key of another algorithm than RSA, which may be an identity or a client's.
fn is_of_no_server(error: &KeyFileError) -> bool {
    matches!(
        error,
        KeyFileError::Key { source: KeyError::NotRsa(_), .. }
            | KeyFileError::Wrong { wanted: "an RSA private key", .. }
    )
}

fn describe(kind: &str, encoded: Encoded, key: &PublicKey) -> String {
    let (bits, id) = (key.bits(), key.id());
    format!("kind:        {kind}\nform:        {encoded}\nbits:        {bits}\nfingerprint: {id}")
}

fn describe_signing(kind: &str, encoded: Encoded, key: &VerifyingKey) -> String {
    let (algorithm, id) = (key.algorithm(), key.id());
    format!("kind:        {kind}\nform:        {encoded}\nalgorithm:   {algorithm}\nfingerprint: {id}")
}

/// A key file on standard input.
fn of_stdin(passphrase: &Passphrase) -> Result<KeyFile, Failure> {
    const MOST: usize = 1 << 20;
    if passphrase.passphrase_stdin {
        return Err(Failure::usage("standard input can't be both the key and its passphrase; use --passphrase-file"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST.saturating_add(2)));
    let limit = u64::try_from(MOST).unwrap_or(u64::MAX).saturating_add(1);
    let read = io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(format_args!("standard input: {error}")))?;
    KeyFile::parse(&bytes).map_err(|error| key_error(Path::new("-"), error))
}

/// What is wrong with a key file. Of standard input there is no name to put into a command.
pub(crate) fn key_error(path: &Path, error: KeyFileError) -> Failure {
    if path.as_os_str() != "-" {
        return FileError::Key { path: path.to_owned(), source: error }.into();
    }
    let cure = error.cure().map(|cure| cure.command("OLD", "NEW"));
    let failure = Failure::new(format_args!("standard input: {}", chain(&error)));
    match cure {
        Some(command) => failure.and(format_args!("with it in a file OLD, run: {command}")),
        None => failure,
    }
}

/// A new key pair from the operating system's randomness.
pub(crate) fn generate(size: KeySize) -> Result<PrivateKey, Failure> {
    let mut rng = StdRng::try_from_rng(&mut SysRng)
        .map_err(|error| Failure::new(format_args!("the operating system gives no randomness: {error}")))?;
    Ok(crypto::provider().generate_key(size, &mut rng)?)
}

/// The public halves of the server keys in a file, or that of the private one in it: certificates may stand beside that, and the
/// first be its issuer's.
pub(crate) fn public_halves(path: &Path) -> Result<Vec<PublicKey>, Failure> {
    let file = files::read_key_file(path)?;
    match (file.private_key(None), file.public_keys()) {
        (Ok(key), _) => Ok(vec![key.public_key().clone()]),
        (Err(error @ KeyFileError::Encrypted { .. }), _) => {
            Err(key_error(path, error).and("give the file of its public half alone"))
        }
        (Err(_), Ok(keys)) => Ok(keys.into_iter().map(|source| source.key).collect()),
        (Err(error), Err(_)) if file.has_private_key() => Err(key_error(path, error)),
        (Err(_), Err(error)) => Err(key_error(path, error)),
    }
}

/// Reads an identity key.
pub(crate) fn identity_key(path: &Path, passphrase: &Passphrase) -> Result<SigningKey, Failure> {
    let file = files::read_key_file(path)
        .map_err(|error| Failure::missing(&error, "make one with: countersign keygen --identity --out FILE"))?;
    let key = match file.signing_key(None) {
        Err(KeyFileError::Encrypted { .. }) => file.signing_key(Some(&passphrase.of(path)?)),
        done => done,
    };
    let key = key.map_err(|error| key_error(path, error))?;
    if key.public_key().algorithm() != SignatureAlgorithm::Ed25519 {
        let failure =
            Failure::new(format_args!("{}: an identity key is of Ed25519, and this one is not", path.display()));
        return Err(failure.and("make one with: countersign keygen --identity --out FILE"));
    }
    Ok(key)
}

/// The fingerprint of an identity, as it is or as that of the key in a file: its public half, or both.
pub(crate) fn identity_pin(text: &str) -> Result<KeyId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let path = Path::new(text);
    let keys = files::read_verifying_keys(path).map_err(|error| {
        Failure::missing(&error, "give the fingerprint of the identity (SHA256:...), or the file of its public half")
    })?;
    let is_identity = |key: &VerifyingKey| key.algorithm() == SignatureAlgorithm::Ed25519;
    match <[_; 1]>::try_from(keys) {
        Ok([source]) if is_identity(&source.key) => Ok(source.key.id()),
        Ok(_) => {
            Err(Failure::new(format_args!("{}: an identity key is of Ed25519, and this one is not", path.display())))
        }
        Err(_) => {
            Err(Failure::new(format_args!("{}: more than one key in this file; an identity is one", path.display())))
        }
    }
}

/// Reads and loads a server's key.
pub(crate) fn load(path: &Path, passphrase: &Passphrase) -> Result<ServerKey, Failure> {
    private(&read(path)?, path, passphrase, Some(MAKE_NEW))
}

/// Reads a server's key, to do something else with it than serve.
#[cfg(any(feature = "redis", feature = "x509"))]
pub(crate) fn at_rest(path: &Path, passphrase: &Passphrase) -> Result<PrivateKey, Failure> {
    opened(&read(path)?, path, passphrase, Ok, Some(MAKE_NEW))
}

fn read(path: &Path) -> Result<KeyFile, Failure> {
    files::read_key_file(path).map_err(|error| match (make(path), &error) {
        (Some(command), FileError::Io { .. }) => Failure::missing(&error, format_args!("make one with: {command}")),
        _ => error.into(),
    })
}

/// What to do where a server key is wanted, and this can't be one.
const MAKE_NEW: &str = "make a new key with: countersign keygen --out FILE";

/// The private key of a file, as the crypto provider takes it; of one that can't be used, the advice.
fn private(file: &KeyFile, path: &Path, passphrase: &Passphrase, advice: Option<&str>) -> Result<ServerKey, Failure> {
    opened(file, path, passphrase, |key| loadable(&key), advice)
}

fn loadable(key: &PrivateKey) -> Result<ServerKey, KeyFileError> {
    ServerKey::load(key, crypto::provider()).map_err(|source| KeyFileError::Key { line: 0, source })
}

/// The private key of a file, and what comes of it.
fn opened<T>(
    file: &KeyFile,
    path: &Path,
    passphrase: &Passphrase,
    load: impl Fn(PrivateKey) -> Result<T, KeyFileError>,
    advice: Option<&str>,
) -> Result<T, Failure> {
    let passphrase = if file.needs_passphrase() { Some(passphrase.of(path)?) } else { None };
    let loaded = file.private_key(passphrase.as_ref().map(|passphrase| passphrase.as_slice())).and_then(load);
    loaded.map_err(|error| {
        let is_hopeless = matches!(&error, KeyFileError::Key { source, .. } if !matches!(source, KeyError::NotDer));
        let failure = key_error(path, error);
        match advice.filter(|_| is_hopeless) {
            Some(advice) => failure.and(advice),
            None => failure,
        }
    })
}

/// The command that makes a key there, if it can.
fn make(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let is_there = folder.is_none_or(Path::is_dir);
    let name = files::shell_quoted(path).filter(|_| is_there)?;
    Some(format!("countersign keygen --out {name}"))
}

/// The keys of a file that a client trusts.
pub(crate) fn trusted(path: &Path) -> Result<Vec<PublicKey>, Failure> {
    let sources = files::read_public_keys(path)
        .map_err(|error| Failure::missing(&error, "get the server's public key from its operator").on_this_side())?;
    for source in sources.iter().filter(|source| source.encoded == Encoded::Certificate) {
        term::note(format_args!(
            "{}: the key of this certificate is trusted, {}; its names, dates and issuer are not looked at",
            path.display(),
            source.key.id()
        ));
    }
    Ok(sources.into_iter().map(|source| source.key).collect())
}

fn generate_with_spinner(size: KeySize) -> Result<PrivateKey, Failure> {
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
        _ if !target.is_file() && !target.is_symlink() => {
            let path = path.display();
            Err(Failure::new(format_args!("{path}: not a file, so it can't be replaced; pick another --out")))
        }
        Existing::Replace => Ok(()),
        _ => Err(exists(&FileError::Exists { path: path.to_owned() })),
    }
}

fn exists(error: &FileError) -> Failure {
    match error {
        FileError::Exists { .. } => {
            Failure::new(format_args!("{error}; pick another name, or replace both files of the pair with --force"))
        }
        FileError::Io { path, source } if source.kind() == io::ErrorKind::NotFound => {
            let missing = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists());
            let folder = missing.and_then(files::shell_quoted);
            let failure = Failure::file(error);
            match folder {
                Some(folder) => failure.and(format_args!("make its folder first: mkdir -p {folder}")),
                None => failure,
            }
        }
        _ => Failure::file(error),
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
