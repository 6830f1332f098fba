//! What the machines of a case are given.

use super::cases::{Case, EXPORTER, PROLOGUE};
use super::factors::Wanted;
use super::inputs::{Factor, Inputs, TicketState, key_der, nonce, random, signing_key_der};
use super::primitives::Script;
use super::stretched::Stretched;
use countersign::{
    Answer, ChannelBinding, Credential, KeyExchange, PrivateKey, Question, Server, Suite, Ticket, Trust, TrustLevel,
};
use std::path::Path;

/// What both ends of a case draw and have.
pub fn inputs(case: &Case, ticket: Option<&Ticket>, ticket_state: Option<TicketState>) -> Inputs {
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
    let signer = case.signer.as_ref();
    let stretching = case.stretching.as_ref();
    let (number, user, secret) = match case.credential {
        _ if signer.is_some() => (3, signer.unwrap().user, None),
        Credential::Password { user, password } if stretching.is_some() => {
            (4, user, stretching.map(|stretched| hex::encode(stretched.secret(user, password))))
        }
        Credential::Password { user, password } => (1, user, Some(hex::encode(password))),
        Credential::Token(token) => (2, "", Some(hex::encode(token))),
        _ => panic!("a kind without vectors"),
    };
    let (client_pkcs8, client_spki) = signer.map(|signer| signing_key_der(signer.key)).unzip();
    let factor = |&(form, prompt, answer): &Wanted| Factor { form, prompt, answer: hex::encode(answer) };
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
        ticket_state,
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
        credential_secret: secret.filter(|_| logs_in),
        credential_password: stretching.and_then(|_| match case.credential {
            Credential::Password { password, .. } => Some(hex::encode(password)),
            _ => None,
        }),
        stretching: stretching.map(Stretched::input),
        client_key_pkcs8: client_pkcs8.map(hex::encode),
        client_key_spki: client_spki.map(hex::encode),
        client_signature: None,
        first_use: case.first_use,
        factor_answers: case.factors.are_offered.then(|| case.factors.answers.iter().map(hex::encode).collect()),
        factors: Some(case.factors.wanted.iter().map(factor).collect::<Vec<_>>()).filter(|wanted| !wanted.is_empty()),
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

/// Takes whatever key comes.
struct FirstUse;

impl Trust for FirstUse {
    fn decide(&self, _: &Question<'_>) -> Answer {
        Answer::Trusted(TrustLevel::FirstUse)
    }

    fn scope(&self) -> String {
        "first use".to_owned()
    }
}

/// What the client knows of its server.
pub fn trust(case: &Case) -> Server {
    let pinned = if case.pins_other { "other2048" } else { case.key };
    let trust = case.known_keys.iter().map(|key| Server::key(load(key).public_key().clone())).reduce(Server::or);
    if case.first_use {
        return Server::trusting(FirstUse).with_name(case.server_name).unwrap();
    }
    let pin = |key: &str| Server::pinned(load(key).public_key().id());
    let trust = trust.unwrap_or_else(|| pin(pinned));
    let trust = case.shown.from_key.map(pin).into_iter().fold(trust, Server::or);
    let trust = trust.with_floor(case.floor).with_name(case.server_name).unwrap();
    let trust = if case.rule == Some("T7") { trust.with_stretched_only() } else { trust };
    if case.needs_proof { trust } else { trust.without_proof() }
}
