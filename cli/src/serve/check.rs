//! `check-config`: whether a server would start with a file.

use super::{Backend, Serve, config, descriptors, listen};
use crate::accounts::runtime;
use crate::failure::Failure;
use crate::term;
use clap::Args;
use std::path::PathBuf;

/// Check the configuration of a server, without starting one.
///
/// Reads the file as `serve --config` does, and what it names: keys, certificates, manifest, users or the directory, ticket keys. Nothing is changed, and
/// nobody is listened to. Ends with 0 if a server would start, with what is doubtful on standard error; with 2 if the file is wrong, and
/// with 1 if something that it names is.
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign check-config /etc/countersign/serve.toml
  countersign check-config serve.toml --print > all-that-is-in-force.toml
  countersign check-config serve.toml && systemctl reload countersign")]
pub(crate) struct CheckConfig {
    /// The file
    file: PathBuf,
    /// Print all that is in force, as such a file; defaults as comments
    #[arg(long)]
    print: bool,
}

impl CheckConfig {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let serve = config::of_file(&self.file)?;
        let found = serve.check()?;
        found.warnings.iter().for_each(term::note);
        if self.print {
            return term::line(serve.in_force.to_toml().trim_end());
        }
        found.facts.iter().try_for_each(term::line)
    }
}

/// What a check found.
struct Found {
    facts: Vec<String>,
    warnings: Vec<String>,
}

impl Serve {
    /// Everything that a start does, but for listening and for taking over saved tickets.
    fn check(&self) -> Result<Found, Failure> {
        let mut warnings = Vec::new();
        let service = self.service();
        self.guessing.penalties()?;
        let (keys, of_keys) = self.keys.load(None)?;
        warnings.extend(of_keys);
        let set = keys.of("").ok_or_else(|| Failure::new("there is no key"))?;
        let mut facts = vec![format!("key {}", set.current().public_key().id())];
        facts.extend(set.next().iter().map(|key| format!("next key {}", key.public_key().id())));
        let stretching = self.stretch.stretching(&self.keys)?;
        let runtime = runtime()?;
        let backend = match self.missing()? {
            // What a start would make.
            Some(place) => {
                self.check_ticket_keys(Some(&place))?;
                warnings.push(format!("warning: {place}: no such file yet; a start makes it, without accounts"));
                None
            }
            None => {
                let (backend, doubtful) = runtime.block_on(self.backend())?;
                warnings.extend(doubtful);
                Some(backend)
            }
        };
        let store = backend.as_ref().and_then(Backend::store);
        let _closing = store.map(|store| store.closing(&runtime));
        let (count, directory, (redis, tickets)) = runtime.block_on(async {
            if let Some(backend) = &backend {
                self.check_ticket_keys(backend.users())?;
                warnings.extend(backend.warnings(stretching.as_ref(), self.no_password_upgrade).await);
            }
            let store = backend.as_ref().and_then(Backend::store);
            let (sharing, away) = self.sharing.open(&self.keys, store, None).await?;
            warnings.extend(away);
            let count = match &backend {
                Some(backend) => backend.count().await,
                None => Some(0),
            };
            let directory = backend.filter(|backend| backend.store().is_none()).map(|backend| backend.named());
            let sharing = (sharing.named().map(str::to_owned), self.options.tickets(&sharing));
            Ok::<_, Failure>((count, directory, sharing))
        })?;
        facts.extend(count.map(|count| term::count(usize::try_from(count).unwrap_or(usize::MAX), "account")));
        facts.extend(directory);
        facts.extend(redis);
        listen::check("--listen", &self.listen)?;
        self.metrics_listen.iter().try_for_each(|address| listen::check("--metrics-listen", address))?;
        if self.metrics_listen.as_ref() == Some(&self.listen) && !self.listen.ends_with(":0") {
            return Err(Failure::usage("--metrics-listen is the address of --listen: pick another"));
        }
        warnings.extend(self.options.warning());
        // As a start reads it, which takes it only later.
        self.kept_tickets(tickets.as_ref())?;
        let (more, has_balancers) = (self.more_files(), !self.proxy_protocol.is_empty());
        let fitting = descriptors::fit(self.options.bounds(), more, service.descriptors(), has_balancers);
        warnings.extend(fitting.warning);
        Ok(Found { facts, warnings })
    }
}
