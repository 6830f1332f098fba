//! Servers known by certificates: those that lead to a root, and those that were given.

use crate::failure::Failure;
use clap::Args;
use countersign::files;
use countersign::known_hosts::{Accepted, HostsError, KnownHost, KnownHosts, Listing};
use countersign::x509::{Roots, X509};
use countersign::{Answer, KeyId, PublicKey, Question, Server, Suite, Trust, TrustLevel, UnixTime, Untrusted, Wants};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

#[derive(Args, Clone)]
pub(super) struct CertificateArgs {
    /// Trust the server if its certificates lead to one of the roots in this file, or of the system (the word `system`); can be
    /// repeated. They have to be for the host of --server, unless --server-name or --certificate-name says another name
    #[arg(long, value_name = "FILE|system")]
    roots: Vec<PathBuf>,
    /// Trust the server if its key is that of this certificate, such as a self-signed one, while that is valid; can be repeated. It
    /// has to be for the same name
    #[arg(long = "certificate", value_name = "FILE")]
    certificates: Vec<PathBuf>,
    /// The name that certificates have to be for: a DNS name or an IP address; it does not cross the wire
    #[arg(long, value_name = "NAME")]
    certificate_name: Option<String>,
    /// What is learnt of it while this runs is learnt once.
    #[arg(skip)]
    certified: Arc<OnceLock<Arc<Certified>>>,
}

impl CertificateArgs {
    pub(super) fn are_given(&self) -> bool {
        !self.roots.is_empty() || !self.certificates.is_empty()
    }

    /// That a name is for something.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.certificate_name.is_some() && !self.are_given() {
            return Err(Failure::usage("--certificate-name is for certificates: give --roots or --certificate, too"));
        }
        Ok(())
    }

    /// The ways to know the server that are given, if it is called so. What the roots vouch for is kept with the known hosts, as
    /// those of `name`; where these count themselves, only what they have nothing against.
    pub(super) fn ways(
        &self,
        called: &str,
        name: &str,
        hosts: Option<&KnownHosts>,
        counts: bool,
    ) -> Result<Vec<Server>, Failure> {
        let called = self.certificate_name.as_deref().unwrap_or(called);
        let mut ways = Vec::new();
        if !self.roots.is_empty() {
            ways.push(Server::trusting(self.certified(called, name, hosts, counts)?));
        }
        for path in &self.certificates {
            let certificate = files::read_pinned_certificate(path).map_err(|error| {
                Failure::missing(&error, "get the server's certificate from its operator").on_this_side()
            })?;
            let named = certificate.for_name(called).map_err(|error| bad(path, &error))?;
            ways.push(Server::trusting(named));
        }
        Ok(ways)
    }

    fn certified(
        &self,
        called: &str,
        name: &str,
        hosts: Option<&KnownHosts>,
        counts: bool,
    ) -> Result<Arc<Certified>, Failure> {
        if let Some(certified) = self.certified.get() {
            return Ok(Arc::clone(certified));
        }
        let roots = self.roots.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        let roots = roots.into_iter().reduce(Roots::and).ok_or_else(|| Failure::usage("--roots names none"))?;
        let x509 = X509::new(roots).for_name(called).map_err(|_| {
            Failure::usage(format_args!(
                "certificates are for a DNS name or an IP address, which {called:?} is not; give that with --certificate-name"
            ))
        })?;
        let certified = Certified::new(x509, name, hosts.cloned(), counts);
        Ok(Arc::clone(self.certified.get_or_init(|| Arc::new(certified))))
    }
}

fn read(path: &Path) -> Result<Roots, Failure> {
    if path.as_os_str() == OsStr::new("system") {
        return Roots::platform().map_err(|error| {
            Failure::usage(format_args!(
                "--roots system: {error}; give the roots in a file, or name one in SSL_CERT_FILE"
            ))
        });
    }
    files::read_roots(path)
        .map_err(|error| Failure::missing(&error, "get the certificate of the authority that you trust").on_this_side())
}

fn bad(path: &Path, error: &dyn std::error::Error) -> Failure {
    let path = path.display();
    Failure::usage(format_args!("{path}: {error}; say the name that the server has there with --certificate-name"))
}

/// What roots vouch for. Each login has to show certificates; a key that they were valid for is kept until they expire, so that
/// the server proves that it holds it, and its tickets are good.
struct Certified {
    x509: X509,
    /// As the known hosts have the server.
    name: String,
    hosts: Option<KnownHosts>,
    /// Whether a key that they know the server not by is to be refused (PROTOCOL.md, H2): listing it would make it one that they know.
    counts: bool,
    /// The newest first.
    kept: Mutex<Vec<(PublicKey, UnixTime)>>,
}

impl Certified {
    fn new(x509: X509, name: &str, hosts: Option<KnownHosts>, counts: bool) -> Self {
        let known = hosts.as_ref().and_then(|hosts| hosts.lookup(name).ok());
        let vouched = known.iter().flat_map(|known| known.keys()).filter(|entry| {
            // Others are trusted for other reasons, which are none here.
            entry.accepted() == Some(Accepted::Certificate)
        });
        let kept = vouched.filter_map(|entry| Some((entry.key()?.clone(), entry.until()?))).collect();
        Self { x509, name: name.to_owned(), hosts, counts, kept: Mutex::new(kept) }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(PublicKey, UnixTime)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the known hosts will refuse it, which are asked after this.
    fn is_refused(&self, question: &Question<'_>) -> bool {
        let host = self.hosts.as_ref().filter(|_| self.counts).and_then(|hosts| hosts.at(&self.name).ok());
        let recall = |host: KnownHost| host.recall(question.key().id(), question.suite(), "", question.now());
        matches!(host.map(recall), Some(Answer::Refused(_)))
    }

    /// Keeps a key, here and with the known hosts, if that is news.
    fn keep(&self, key: &PublicKey, until: UnixTime) {
        let mut kept = self.kept();
        let is_news = !kept.iter().any(|(held, to)| held == key && *to == until);
        kept.retain(|(held, _)| held != key);
        kept.insert(0, (key.clone(), until));
        drop(kept);
        let Some(hosts) = self.hosts.as_ref().filter(|_| is_news) else { return };
        match hosts.add(&self.name, &Listing::new(key.clone(), Accepted::Certificate).with_until(until)) {
            // Whoever refuses it says so.
            Ok(_) | Err(HostsError::Revoked { .. }) => {}
            Err(error) => super::not_kept(&error),
        }
    }
}

impl Trust for Certified {
    fn decide(&self, question: &Question<'_>) -> Answer {
        let certificates: Vec<&[u8]> = question.certificates().collect();
        // The name is the one that it was made for.
        match self.x509.verify(&certificates, question.key(), question.server_name(), question.now()) {
            Ok(until) => {
                if !self.is_refused(question) {
                    self.keep(question.key(), until);
                }
                Answer::Trusted(TrustLevel::Certified)
            }
            Err(error) => Answer::Unknown(Untrusted::new(error.code(), error)),
        }
    }

    fn known_keys(&self, _: &str) -> Vec<PublicKey> {
        let now = UnixTime::from_system(SystemTime::now());
        self.kept().iter().filter(|(_, until)| now <= *until).map(|(key, _)| key.clone()).collect()
    }

    fn wants(&self) -> Wants {
        Wants::CERTIFICATES
    }

    fn recall(&self, key: KeyId, suite: Suite, server_name: &str, now: UnixTime) -> Answer {
        if self.kept().iter().any(|(held, until)| held.id() == key && now <= *until) {
            return Answer::Trusted(TrustLevel::Certified);
        }
        self.x509.recall(key, suite, server_name, now)
    }

    fn scope(&self) -> String {
        self.x509.scope()
    }
}
