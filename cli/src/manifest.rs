//! `manifest`: which keys a server has, signed by an identity key that stays away from it.

use crate::crypto;
use crate::failure::{Failure, chain};
use crate::keys::folder::{Folder, Role, read_manifest};
use crate::keys::{identity_key, public_halves};
use crate::secrets::Passphrase;
use crate::term;
use clap::{Args, Subcommand};
use countersign::files::{self, Existing, Readers};
use countersign::{KeyExchange, KeyId, ManifestBody, ManifestKey, SignedManifest, UnixTime};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

/// Sign which keys a server has, so that clients which know the identity key follow them.
#[derive(Subcommand)]
pub(crate) enum Manifest {
    Sign(Sign),
    /// Print what a manifest says.
    ///
    /// Says whether the signature is that of the identity that the manifest names, and of the one that is pinned.
    Show {
        /// The manifest, in PEM
        file: PathBuf,
        /// The identity that it has to be of: fail if it is not
        #[arg(long, value_name = "SHA256:...")]
        identity_pin: Option<KeyId>,
    },
}

/// Sign a manifest of server keys.
///
/// Runs where the identity key is kept, which is not the server. Needs the public halves of the server keys alone.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign keygen --identity --out identity.pem
  countersign manifest sign --identity identity.pem --keys keys --out manifest.pem
  countersign manifest sign --identity identity.pem --key new.pub.pem --key old.pub.pem,until=2027-01-31 --out manifest.pem

A manifest has a number, one more than that of the manifest which stands in --out: clients refuse one
with a lower number than they have seen, so keep the file, or give --sequence. Clients refuse a manifest
that has expired, too: sign a new one in time.")]
pub(crate) struct Sign {
    /// The identity key, as `keygen --identity` makes it
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
    /// A server key, by the file of its public half (or of both); from when and until when it is good, and the weakest key exchange to take
    /// under it (rsa, x25519 or x25519mlkem768) may follow; can be repeated
    #[arg(
        long = "key",
        value_name = "FILE[,from=DATE][,until=DATE][,floor=EXCHANGE]",
        required_unless_present = "folder"
    )]
    keys: Vec<Key>,
    /// The server keys of this folder: keys.toml and the public halves are enough
    #[arg(long = "keys", value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Where to write the manifest; one that is there is replaced, and its number counted on
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A server name that it is for; can be repeated. Without any it is for every name
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// For how many days it is good
    #[arg(long, value_name = "NUMBER", default_value = "90", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Its number, where the manifest before is not in --out
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    sequence: Option<u64>,
}

/// A server key, and what is said of it.
#[derive(Clone)]
struct Key {
    file: PathBuf,
    from: Option<UnixTime>,
    until: Option<UnixTime>,
    floor: KeyExchange,
}

const DAY: u64 = 24 * 3600;

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A name may have commas in it; what comes last and has a known word before a `=` is none.
        let (mut rest, mut key) =
            (text, Self { file: PathBuf::new(), from: None, until: None, floor: KeyExchange::X25519 });
        while let Some((before, option)) = rest.rsplit_once(',') {
            match option.split_once('=') {
                Some(("from", date)) => key.from = Some(term::date(date)?),
                Some(("until", date)) => key.until = Some(term::date(date)?),
                Some(("floor", name)) => key.floor = exchange(name)?,
                _ => break,
            }
            rest = before;
        }
        key.file = rest.into();
        Ok(key)
    }
}

fn exchange(name: &str) -> Result<KeyExchange, String> {
    let is_it = |exchange: &KeyExchange| {
        let full = exchange.to_string();
        full == name || full.strip_prefix("rsa+") == Some(name)
    };
    let found = KeyExchange::ALL.into_iter().find(is_it);
    found.ok_or_else(|| format!("{name:?} is no key exchange: rsa, x25519 or x25519mlkem768"))
}

impl Manifest {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Sign(sign) => sign.run(),
            Self::Show { file, identity_pin } => show(file, *identity_pin),
        }
    }
}

impl Sign {
    fn run(&self) -> Result<(), Failure> {
        let identity = identity_key(&self.identity, &self.passphrase)?;
        let now = UnixTime::from_system(SystemTime::now());
        let expires = UnixTime::from_secs(now.as_secs().saturating_add(u64::from(self.days).saturating_mul(DAY)));
        // Clocks of clients may be a little slow.
        let before = UnixTime::from_secs(now.as_secs().saturating_sub(DAY));
        let mut keys = Vec::new();
        for Key { file, from, until, floor } in &self.keys {
            for key in public_halves(file)? {
                let (not_before, not_after) = (from.unwrap_or(before), until.unwrap_or(expires));
                keys.push(ManifestKey { id: key.id(), not_before, not_after, floor: (*floor).into() });
            }
        }
        if let Some(folder) = &self.folder {
            let folder = Folder::open(folder)?;
            for (name, role) in folder.files() {
                let not_after = match role {
                    Role::Current | Role::Next => expires,
                    Role::Retired(until) if now >= until => continue,
                    Role::Retired(until) => until,
                };
                let half = folder.half(name)?;
                half.stale.iter().for_each(|stale| term::note(stale.said()));
                let (id, floor) = (half.key.id(), KeyExchange::X25519.into());
                keys.push(ManifestKey { id, not_before: before, not_after, floor });
            }
        }
        let sequence = self.number(identity.public_key().id())?;
        let body = ManifestBody { sequence, issued: now, expires, names: self.names.clone(), keys };
        let manifest = body.sign(&identity, crypto::provider()).map_err(|error| Failure::new(chain(&error)))?;
        files::write_pem(&self.out, manifest.to_pem().as_bytes(), Readers::All, Existing::Replace)?;
        term::line(describe(&manifest, "good")?)?;
        term::note(format_args!(
            "give {} to the server (the folder of serve --keys, or --manifest), and have it read it: kill -HUP its process",
            self.out.display()
        ));
        Ok(())
    }

    /// One more than the manifest that stands there.
    fn number(&self, identity: KeyId) -> Result<u64, Failure> {
        let shown = self.out.display();
        if !self.out.exists() {
            return Ok(self.sequence.unwrap_or(1));
        }
        let before = read_manifest(&self.out)
            .map_err(|failure| failure.and("it is not replaced; name another file for --out"))?;
        let of = before.verify(before.identity().unwrap_or(identity), crypto::provider());
        let of = of
            .and_then(|_| before.identity())
            .map_err(|error| Failure::new(format_args!("{shown}: {}", chain(&error))))?;
        if of != identity {
            return Err(Failure::new(format_args!(
                "{shown}: this manifest is of another identity, {of}, and is not replaced; name another file for --out"
            )));
        }
        let last = before.unverified_body().sequence;
        match self.sequence {
            Some(sequence) if sequence <= last => Err(Failure::usage(format_args!(
                "--sequence {sequence}: the manifest in {shown} has the number {last}, and clients that have seen it would refuse this one"
            ))),
            Some(sequence) => Ok(sequence),
            None => last.checked_add(1).ok_or_else(|| Failure::new(format_args!("{shown}: there is no higher number"))),
        }
    }
}

fn show(file: &Path, pin: Option<KeyId>) -> Result<(), Failure> {
    let manifest = read_manifest(file)?;
    let wrong = |error: &countersign::ManifestError| Failure::new(format_args!("{}: {}", file.display(), chain(error)));
    let identity = manifest.identity().map_err(|error| wrong(&error))?;
    let verified = manifest.verify(pin.unwrap_or(identity), crypto::provider());
    match verified {
        Ok(_) if pin.is_some() => term::line(describe(&manifest, "good, and of the pinned identity")?),
        Ok(_) => term::line(describe(&manifest, "good (whether the identity is the right one is for --identity-pin)")?),
        Err(error) => Err(wrong(&error)),
    }
}

/// Everything that stands in it.
fn describe(manifest: &SignedManifest, signature: &str) -> Result<String, Failure> {
    let ManifestBody { sequence, issued, expires, names, keys } = manifest.unverified_body();
    let identity = manifest.identity().map_err(|error| Failure::new(chain(&error)))?;
    let names = if names.is_empty() { "any".to_owned() } else { names.join(", ") };
    let now = UnixTime::from_system(SystemTime::now());
    let over = if now >= *expires { " (over)" } else { "" };
    let mut text = format!(
        "identity:  {identity}\nsignature: {signature}\nnumber:    {sequence}\nissued:    {issued}\nexpires:   {expires}{over}\nnames:     {names}"
    );
    for ManifestKey { id, not_before, not_after, floor } in keys {
        let over = if now >= *not_after { " (over)" } else { "" };
        text.push_str(&format!("\nkey:       {id}  from {not_before} until {not_after}{over}, {floor} or stronger"));
    }
    Ok(text)
}
