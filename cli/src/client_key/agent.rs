//! Keys at the `ssh-agent` that the environment names.

use crate::crypto;
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::term;
use countersign::crypto::{CryptoError, RemoteSign, Sign, SignError, Signing};
use countersign::ssh_agent::{Agent, AgentKey};
use countersign::{ClientKey, SignatureAlgorithm, VerifyingKey};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// The agent's only key, or the one of this fingerprint.
pub(super) fn find(wanted: Option<Fingerprint>, patience: Duration) -> Result<ClientKey, Failure> {
    let agent = agent(patience)?;
    let held = agent.keys().map_err(|error| failed(&agent, &error))?;
    let found = match wanted {
        Some(wanted) => held.iter().find(|held| wanted.names(&held.key)),
        None => the_only(&agent, &held)?,
    };
    match found {
        Some(held) => signer(&agent, &held.key),
        None => {
            let which = wanted.map(|id| format!(" with the fingerprint {id}")).unwrap_or_default();
            let socket = agent.socket().display();
            Err(Failure::new(format_args!(
                "the ssh-agent at {socket} holds no key{which} that can be used here{}; give it one with: ssh-add FILE, or unlock it, \
                 if it is locked, with: ssh-add -X",
                listed(&held)
            )))
        }
    }
}

/// The agent's key with this public half.
pub(super) fn key(key: &VerifyingKey, patience: Duration) -> Result<ClientKey, Failure> {
    signer(&agent(patience)?, key)
}

fn agent(patience: Duration) -> Result<Agent, Failure> {
    let agent = Agent::from_env().map_err(|error| {
        Failure::new(error).and("start one with: eval \"$(ssh-agent)\", and give it the key with: ssh-add FILE")
    })?;
    Ok(agent.with_timeout(patience))
}

/// Of several, one has to be named: each that is tried would be a login, and one that is refused.
fn the_only<'a>(agent: &Agent, held: &'a [AgentKey]) -> Result<Option<&'a AgentKey>, Failure> {
    let mut usable = held.iter().filter(|held| is_usable(held));
    match (usable.next(), usable.next()) {
        (Some(_), Some(_)) => {
            let socket = agent.socket().display();
            Err(Failure::usage(format_args!(
                "the ssh-agent at {socket} holds several keys; say which, with --agent and its fingerprint{}",
                listed(held)
            )))
        }
        (only, _) => Ok(only),
    }
}

/// Agents can't make the signatures of RSA that are needed.
fn is_usable(held: &AgentKey) -> bool {
    held.key.algorithm() != SignatureAlgorithm::RsaPss
}

fn listed(held: &[AgentKey]) -> String {
    let line = |held: &AgentKey| {
        let unusable = if is_usable(held) { "" } else { ", which agents can't use here" };
        let (id, comment) = (held.key.openssh_fingerprint(), term::visible(&held.comment));
        format!("\n  {id} {comment} ({}{unusable})", held.key.algorithm())
    };
    held.iter().map(line).collect()
}

fn signer(agent: &Agent, key: &VerifyingKey) -> Result<ClientKey, Failure> {
    let sign = agent.signer(key, crypto::provider()).map_err(|error| match error {
        SignError::NotHere => {
            let (socket, id) = (agent.socket().display(), key.openssh_fingerprint());
            Failure::new(format_args!("the ssh-agent at {socket} does not hold the key {id}"))
                .and("give it the key with: ssh-add FILE, or unlock it, if it is locked, with: ssh-add -X")
        }
        error => failed(agent, &error),
    })?;
    Ok(ClientKey::with_remote_sign(key.clone(), Arc::new(Waiting(sign))))
}

fn failed(agent: &Agent, error: &SignError) -> Failure {
    Failure::signing(format_args!("the ssh-agent at {}: ", agent.socket().display()), error)
}

/// An agent may ask somebody first: whoever waits for its signature waits for the server, too, and other connections go on.
struct Waiting(Arc<dyn Sign>);

impl RemoteSign for Waiting {
    fn sign(&self, message: Vec<u8>) -> Signing {
        let sign = Arc::clone(&self.0);
        Box::pin(async move {
            let signed = spawn_blocking(move || {
                let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(|_| SignError::Crypto(CryptoError::Failed))?;
                sign.sign(&message, &mut rng)
            });
            signed.await.unwrap_or(Err(SignError::Panicked))
        })
    }
}
