//! What `login` and `connect` take for the server's key: what is given, or what the known hosts say.

#[cfg(feature = "x509")]
mod certificates;

use crate::failure::Failure;
use crate::known_hosts::{self, FileArgs};
use crate::prompt::{self, Answer};
use crate::{crypto, keys, state, term};
use clap::{Args, ValueEnum};
use countersign::known_hosts::{Accepted, HostsError, KnownHosts, Listing};
use countersign::{CredentialKind, Identity, KeyId, ManifestFiles, PublicKey, Question, Server, TrustLevel};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

#[derive(Args, Clone)]
pub(crate) struct TrustArgs {
    /// Trust the server key with this fingerprint, whatever the known hosts say, but for what they revoke; can be repeated, for
    /// when the key is about to change
    #[arg(long = "pin", value_name = "SHA256:...")]
    pins: Vec<KeyId>,
    /// Trust the server keys in this file, any of them; can be repeated. Takes what `key show` takes, also certificates and
    /// the ssh-rsa lines of OpenSSH
    #[arg(long = "server-key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Trust the server keys that manifests of this identity name: its fingerprint, or the file of its public half. What is learnt
    /// of it is kept, so that the server proves itself from the second login on, and an old manifest is noticed
    #[arg(long = "identity-key", value_name = "SHA256:...|FILE")]
    identity: Option<String>,
    #[cfg(feature = "x509")]
    #[command(flatten)]
    certificates: certificates::CertificateArgs,
    /// What to do about a server that is not known yet: `ask` on the terminal (the default), `accept-new` without asking, or take
    /// none (`strict`). A server that is known with another key is never trusted. With --roots or --certificate, the known hosts
    /// count beside those only if this is given
    #[arg(long, value_name = "MODE", conflicts_with_all = ["pins", "keys", "identity"])]
    trust: Option<Mode>,
    #[command(flatten)]
    file: FileArgs,
    /// Store the names of new servers as hashes in the known-hosts file
    #[arg(long)]
    hash_known_hosts: bool,
    #[arg(skip)]
    asked: Arc<AtomicBool>,
    /// What is learnt of it while this runs is learnt once, wherever it is kept.
    #[arg(skip)]
    known_identity: Arc<OnceLock<Identity>>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Strict,
    Ask,
    AcceptNew,
}

impl TrustArgs {
    /// The server of this name, as the known hosts have it, and the keys of it that are trusted. It is asked to prove the first one
    /// that is whole; `called` is its name in certificates, unless another is given, and `told` a key that it is known to have by now.
    pub(crate) fn server(&self, name: &str, called: &str, told: Option<&PublicKey>) -> Result<Server, Failure> {
        #[cfg(feature = "x509")]
        self.certificates.check()?;
        let server = match (self.is_given(), self.trust) {
            (false, _) => self.known(name)?,
            (true, None) => self.given(name, called, told)?,
            (true, Some(_)) => self.given(name, called, told)?.or(self.known(name)?),
        };
        if self.mode() != Mode::AcceptNew {
            return Ok(server);
        }
        // Whoever says so has said that a password may go there, too.
        let kinds = [CredentialKind::Password, CredentialKind::Token].into_iter();
        Ok(kinds.fold(server, |server, kind| server.with_level_for(kind, TrustLevel::FirstUse)))
    }

    fn is_given(&self) -> bool {
        !self.pins.is_empty() || !self.keys.is_empty() || self.identity.is_some() || self.has_certificates()
    }

    #[cfg(feature = "x509")]
    fn has_certificates(&self) -> bool {
        self.certificates.are_given()
    }

    #[cfg(not(feature = "x509"))]
    fn has_certificates(&self) -> bool {
        false
    }

    /// Whether somebody may be asked about a server's key.
    pub(crate) fn may_ask(&self) -> bool {
        let counts = !self.is_given() || self.trust.is_some();
        counts && self.mode() == Mode::Ask
    }

    /// Whether somebody was asked about the server's key: it took its time, and the key is known by now.
    pub(crate) fn has_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// The option that names the file in a command, if one is needed.
    pub(crate) fn file_option(&self) -> String {
        let path = self.file.path().filter(|_| self.file.is_given());
        path.map(|path| format!(" --known-hosts {}", term::quoted(&path))).unwrap_or_default()
    }

    fn mode(&self) -> Mode {
        self.trust.unwrap_or(Mode::Ask)
    }

    /// The keys of the pins, whole where they were kept, and those of the files.
    fn given(&self, name: &str, called: &str, told: Option<&PublicKey>) -> Result<Server, Failure> {
        let hosts = self.kept()?;
        let kept = hosts.as_ref().map(|hosts| hosts.hosts()).transpose()?;
        let mut keys = kept.map(|kept| kept.keys_of(name, &self.pins)).unwrap_or_default();
        for path in &self.keys {
            keys.extend(keys::trusted(path)?);
        }
        // What manifests and certificates vouch for is trusted because of them alone.
        let is_own = |told: &&PublicKey| self.pins.contains(&told.id()) || keys.iter().any(|key| key == *told);
        if let Some(told) = told.filter(is_own) {
            keys.retain(|key| key.id() != told.id());
            keys.insert(0, told.clone());
        }
        let pins = self.pins.iter().filter(|&&pin| keys.iter().all(|key| key.id() != pin));
        let pins: Vec<Server> = pins.map(|&pin| Server::pinned(pin)).collect();
        let identity = self.identity()?.map(Server::trusting);
        let vouched = identity.into_iter().chain(self.certified(name, called, hosts.as_ref())?);
        let server = vouched.chain(keys.into_iter().map(Server::key)).chain(pins);
        let server = server.reduce(Server::or).ok_or_else(nothing)?;
        match hosts {
            // What is revoked is not trusted, whoever gives it, and whether it is now or while this runs.
            Some(hosts) => {
                // Of a server that no line can name, what is revoked for all.
                let host = hosts.at(name).or_else(|_| hosts.at(UNNAMED)).map_err(bad_name)?;
                Ok(server.or(Server::trusting(host.only_revoking())))
            }
            None => Ok(server),
        }
    }

    /// The identity, and what was learnt of it, in countersign/manifests beside what else is remembered.
    fn identity(&self) -> Result<Option<Identity>, Failure> {
        let Some(identity) = &self.identity else { return Ok(None) };
        if let Some(known) = self.known_identity.get() {
            return Ok(Some(known.clone()));
        }
        let identity =
            Identity::pinned(keys::identity_pin(identity).map_err(Failure::on_this_side)?, crypto::provider());
        let identity = match state::folder() {
            Some(folder) => identity.with_store(ManifestFiles::new(folder.join("manifests"))),
            None => {
                term::note("countersign: neither HOME nor XDG_STATE_HOME is set: an old manifest will not be noticed");
                identity
            }
        };
        Ok(Some(self.known_identity.get_or_init(|| identity).clone()))
    }

    #[cfg(feature = "x509")]
    fn certified(&self, name: &str, called: &str, hosts: Option<&KnownHosts>) -> Result<Vec<Server>, Failure> {
        if self.has_certificates() {
            self.file.make_room();
        }
        let hosts = hosts.cloned().map(|hosts| self.hashing(hosts));
        self.certificates.ways(called, name, hosts.as_ref(), self.trust.is_some())
    }

    #[cfg(not(feature = "x509"))]
    fn certified(&self, _: &str, _: &str, _: Option<&KnownHosts>) -> Result<Vec<Server>, Failure> {
        Ok(Vec::new())
    }

    fn hashing(&self, hosts: KnownHosts) -> KnownHosts {
        if self.hash_known_hosts { hosts.with_hashed_names() } else { hosts }
    }

    /// The known hosts where a key is given: what is wrong with the usual file, which nobody named, is only said.
    fn kept(&self) -> Result<Option<KnownHosts>, Failure> {
        match self.file.path() {
            None => Ok(None),
            Some(path) => match self.file.open() {
                Err(error) if !self.file.is_given() => {
                    term::note(format_args!("countersign: {error}; {} is not used", path.display()));
                    Ok(None)
                }
                opened => opened.map(Some),
            },
        }
    }

    fn known(&self, name: &str) -> Result<Server, Failure> {
        self.file.path().ok_or_else(nothing)?;
        self.file.make_room();
        let hosts = self.hashing(self.file.open()?);
        let host = hosts.at(name).map_err(bad_name)?;
        Ok(match self.mode() {
            Mode::AcceptNew => Server::trusting(host.accepting_new()),
            Mode::Ask if prompt::has_terminal() => {
                let (name, asked) = (name.to_owned(), Arc::clone(&self.asked));
                Server::trusting(host.asking(move |question| {
                    asked.store(true, Relaxed);
                    ask(&name, question)
                }))
            }
            Mode::Ask | Mode::Strict => Server::trusting(host),
        })
    }

    /// Keeps a key of the server's, trusted by its pin, for the next login. It only makes that safer: where it can't be kept,
    /// this one goes on.
    pub(crate) fn learn(&self, name: &str, key: &PublicKey) {
        if !self.pins.contains(&key.id()) {
            return;
        }
        self.file.make_room();
        // What is wrong with the file has been said.
        let Ok(hosts) = self.file.open() else { return self.not_kept(&"the known hosts can't be read") };
        if let Err(error) = self.hashing(hosts.clone()).add(name, &Listing::new(key.clone(), Accepted::Pin)) {
            self.not_kept(&error);
        }
        known_hosts::tell_others(&hosts, name, |id| id == key.id() || self.pins.contains(&id));
    }

    fn not_kept(&self, why: &dyn std::fmt::Display) {
        if self.file.path().is_some() {
            not_kept(why);
        }
    }
}

/// Stands for a server that can't be in a file of known hosts.
const UNNAMED: &str = "-";

fn not_kept(why: &dyn std::fmt::Display) {
    term::note(format_args!("countersign: {why}; the server's key is not kept for the next login"));
}

fn nothing() -> Failure {
    Failure::usage(
        "which server key to trust? Give --pin SHA256:..., --server-key server.pub.pem or --identity-key, or a file of known hosts \
         with --known-hosts. The fingerprint is what `countersign key show server.pem` prints on the server, and `countersign serve` when \
         it starts; get it in a way that nobody can tamper with",
    )
}

fn bad_name(error: HostsError) -> Failure {
    Failure::usage(format_args!(
        "the known hosts can't have this server: {error}; give its key, with --pin or --server-key"
    ))
}

/// Asks on the terminal whether this is the server's key.
fn ask(name: &str, question: &Question<'_>) -> bool {
    let (id, bits) = (question.key().id(), question.key().bits());
    let mut prompt = format!(
        "{} is not known yet. It shows the key\n  {id} (RSA, {bits} bits)\nCompare that with the fingerprint that its operator \
         gives you, in a way that nobody can tamper with.\nIs it the server's key? (yes, no, or the fingerprint) ",
        term::visible(name)
    );
    loop {
        let Ok(Answer::Typed(answer)) = prompt::ask_shown(&prompt) else { return false };
        let answer = String::from_utf8_lossy(&answer).trim().to_owned();
        prompt = match answer.parse::<KeyId>() {
            Ok(typed) if typed == id => return true,
            Ok(_) => "That is the fingerprint of another key. yes, no, or the fingerprint: ".to_owned(),
            Err(_) if answer.eq_ignore_ascii_case("yes") => return true,
            Err(_) if answer.eq_ignore_ascii_case("no") => return false,
            Err(_) => "yes, no, or the fingerprint: ".to_owned(),
        };
    }
}
