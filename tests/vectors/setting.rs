//! What the machines of a case are given.

use super::cases::{Case, EXPORTER, PROLOGUE};
use super::inputs::{Inputs, key_der, nonce, random};
use super::primitives::Script;
use countersign::{ChannelBinding, Credential, KeyExchange, PrivateKey, Server, Suite, Ticket};
use std::path::Path;

/// What both ends of a case draw and have.
pub fn inputs(case: &Case, ticket: Option<&Ticket>) -> Inputs {
    let random = |what: &str| random(&case.name, what);
    let join = |parts: &[&str]| parts.iter().map(|part| random(part)).collect::<String>();
    let (pkcs8, spki) = key_der(case.key);
    let suites = |suites: &[Suite]| suites.iter().map(|suite| format!("{:04x}", suite.number())).collect();
    let [bound, server_bound] = case.is_bound;
    let kind = |bound: bool| if bound { "tls-exporter".to_owned() } else { String::new() };
    let bytes = |bound: bool| if bound { hex::encode(EXPORTER) } else { String::new() };
    let exchange = case.server_suites[0].key_exchange;
    let hybrid = KeyExchange::X25519MlKem768;
    let logs_in = !case.takes_ticket();
    let seals_login = logs_in && !case.proves();
    let (number, user, secret) = match case.credential {
        Credential::Password { user, password } => (1, user, password),
        Credential::Token(token) => (2, "", token),
        _ => panic!("a kind without vectors"),
    };
    // A kept ticket ends with its secret, and its bytes with their length.
    let kept = ticket.map(|ticket| ticket.to_bytes().unwrap());
    let ticket = kept.as_ref().map(|kept| hex::encode(&kept[kept.len() - 480..]));
    let ticket_secret = kept.as_ref().map(|kept| hex::encode(&kept[kept.len() - 480 - 2 - 32..][..32]));
    Inputs {
        server_key_pkcs8: pkcs8,
        server_key_spki: spki,
        prologue: hex::encode(PROLOGUE),
        binding_type: kind(bound),
        binding_bytes: bytes(bound),
        server_prologue: (case.server_prologue != PROLOGUE).then(|| hex::encode(case.server_prologue)),
        server_binding_type: (bound != server_bound).then(|| kind(server_bound)),
        server_binding_bytes: (bound != server_bound).then(|| bytes(server_bound)),
        server_name: case.server_name.to_owned(),
        client_suites: suites(&case.client_suites),
        server_suites: suites(&case.server_suites),
        server_kinds: case.server_kinds.iter().map(|kind| kind.number()).collect(),
        known_keys: case.known_keys.iter().map(|key| key_der(key).1).collect(),
        ticket,
        ticket_secret,
        client_nonce: nonce(&case.name, "client nonce", case.reserved),
        client_x25519: case.offers(KeyExchange::X25519).then(|| random("client x25519")),
        client_x25519mlkem768: case
            .offers(hybrid)
            .then(|| join(&["client d", "client z", "client x25519 beside ml-kem"])),
        hello_rsa_secret: case.seals().then(|| random("rsa secret in the hello")),
        hello_oaep_seed: case.seals().then(|| random("oaep seed in the hello")),
        server_nonce: nonce(&case.name, "server nonce", case.reserved),
        server_x25519: (exchange == KeyExchange::X25519).then(|| random("server x25519")),
        server_x25519mlkem768: (exchange == hybrid).then(|| join(&["server m", "server x25519 beside ml-kem"])),
        fallback: random("fallback"),
        rsa_secret: seals_login.then(|| random("rsa secret")),
        oaep_seed: seals_login.then(|| random("oaep seed")),
        credential_kind: logs_in.then_some(number),
        credential_user: logs_in.then(|| user.to_owned()),
        credential_secret: logs_in.then(|| hex::encode(secret)),
        factors: case.factors.iter().map(hex::encode).collect(),
    }
}

/// A generator that gives these first.
pub fn script<const N: usize>(parts: [Option<&String>; N]) -> Script {
    Script::new(&parts.into_iter().flatten().collect::<Vec<_>>())
}

pub fn binding(kind: &str, bytes: &str) -> ChannelBinding {
    match kind {
        "" => ChannelBinding::none(),
        kind => ChannelBinding::new(kind, &hex::decode(bytes).unwrap()).unwrap(),
    }
}

pub fn load(name: &str) -> PrivateKey {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/keys/{name}.pem"));
    PrivateKey::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What the client knows of its server.
pub fn trust(case: &Case) -> Server {
    let pinned = if case.pins_other { "other2048" } else { case.key };
    let trust = case.known_keys.iter().map(|key| Server::key(load(key).public_key().clone())).reduce(Server::or);
    let trust = trust.unwrap_or_else(|| Server::pinned(load(pinned).public_key().id()));
    let trust = trust.with_floor(case.floor).with_name(case.server_name).unwrap();
    if case.needs_proof { trust } else { trust.without_proof() }
}
