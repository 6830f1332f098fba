//! The worlds that are searched.

use super::dolev_yao::{NAME, PASSWORD};
use super::ends::{Client, Machine as _, Server, meet};
use super::settings::{EPOCH, KEY, Setting};
use super::support::wire;
use super::support::{OTHER2048, RSA2048, Scenario, TODAY, TestKey};
use super::toy;
use super::world::{End, Own, Role, World};
use countersign::crypto::Provider;
use countersign::{
    ChannelBinding, Credential, CredentialKind, Grant, Reason, Server as Known, Suite, Ticket, UnixTime,
};

/// What one of the worlds is made with: the genuine parts, or those of a mutant.
#[derive(Clone, Copy)]
pub struct Parts {
    pub provider: Provider,
    /// What tickets are sealed with, if not with that.
    pub ticket_provider: Option<Provider>,
    /// What a client makes of what it knows of its server.
    pub trust: fn(Known) -> Known,
    pub takes_twice: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Self { provider: toy::provider(), ticket_provider: None, trust: |known| known, takes_twice: false }
    }
}

const ALICE: Credential<'static> = Credential::Password { user: "alice", password: b"alice's" };
const BOB: Credential<'static> = Credential::Password { user: "bob", password: b"bob's" };
const MALLORY: Credential<'static> = Credential::Password { user: NAME, password: PASSWORD };

/// The accounts at every server.
fn verify(credential: Credential<'_>) -> Result<Grant, Reason> {
    let principal = match credential {
        Credential::Password { user: "alice", password: b"alice's" } => "alice",
        Credential::Password { user: "bob", password: b"bob's" } => "bob",
        Credential::Password { user: NAME, password: PASSWORD } | Credential::Token(PASSWORD) => NAME,
        Credential::Key { user: "alice", key } if key.public_key().id() == KEY.public_key().id() => "alice",
        _ => return Err(Reason::WrongPassword),
    };
    Ok(Grant::new(principal, ["read"]).unwrap())
}

/// A signature that is none, in a KeyProof of alice's.
pub fn no_proof() -> Vec<u8> {
    let key = KEY.public_key();
    [wire::lp(key.spki_der()), wire::lp(&vec![1; key.signature_len()])].concat()
}

/// The part of a ticket that the server gets to see.
pub fn shown(ticket: &Ticket) -> Vec<u8> {
    let kept = ticket.to_bytes().unwrap();
    let front = 1 + 2 + 32 + 2 + ticket.server_name().len() + 2 + ticket.user().len() + 3 * 8;
    kept[front + 32 + 2..].to_vec()
}

/// The same with one bit changed of the name that it is for: in what is sealed, behind the name of a key and a nonce, and a length.
fn altered(ticket: &Ticket) -> Ticket {
    let mut kept = ticket.to_bytes().unwrap().to_vec();
    let front = kept.len() - shown(ticket).len();
    kept[front + 8 + 16 + 2] ^= 1;
    Ticket::from_bytes(&kept).unwrap()
}

/// How the ends of a world are made.
struct Maker {
    parts: Parts,
    suites: &'static [Suite],
    /// Clients have the keys of servers whole.
    is_known: bool,
}

impl Maker {
    fn setting(&self, key: &TestKey, change: impl FnOnce(Scenario) -> Scenario) -> Setting {
        let public = key.private.public_key();
        let mut setting = Setting::over("", self.parts.provider);
        setting.provider = self.parts.ticket_provider.unwrap_or(self.parts.provider);
        setting.verify = verify;
        setting.takes_twice = self.parts.takes_twice;
        setting.scenario(|scenario| {
            let scenario = scenario.server_key(toy::server_key(public));
            change(scenario.server_suites(self.suites).client_suites(self.suites))
        })
    }

    /// Somebody who means the server of this key and name.
    fn client(
        &self,
        name: &'static str,
        user: &'static str,
        credential: Credential<'static>,
        of: (&TestKey, &str),
    ) -> End {
        let (key, server) = of;
        let public = key.private.public_key();
        let known = if self.is_known { Known::key(public.clone()) } else { Known::pinned(public.id()) };
        let floor = self.suites.iter().map(|suite| suite.key_exchange).max().unwrap();
        let known = (self.parts.trust)(known.with_floor(floor)).with_name(server).unwrap();
        let setting = self.setting(key, |scenario| scenario.trust(known).credential(credential).seed(name));
        End { name, setting, role: Role::Client { user } }
    }

    fn server(&self, name: &'static str, key: &TestKey, names: &'static [&'static str]) -> End {
        let mut setting = self.setting(key, |scenario| scenario.seed(name));
        setting.names = Some(names);
        End { name, setting, role: Role::Server }
    }

    fn world(&self, name: &'static str, ends: Vec<End>) -> World {
        World {
            name,
            ends,
            own: Vec::new(),
            tickets: None,
            best: self.suites[0],
            floor: self.suites[0].key_exchange,
            wants_proof: self.is_known,
            is_apart: false,
            has_keys: false,
        }
    }
}

const RSA_ALONE: &[Suite] = &[Suite::RSA_AES_256_GCM];
const X25519: &[Suite] = &[Suite::X25519_AES_256_GCM];
const AEADS: &[Suite] = &[Suite::RSA_AES_256_GCM, Suite::RSA_CHACHA20_POLY1305];
const EXCHANGES: &[Suite] = &[Suite::X25519_AES_256_GCM, Suite::RSA_AES_256_GCM];

/// alice and bob, each at their own server.
fn two_servers(name: &'static str, maker: &Maker) -> World {
    let ends = vec![
        maker.client("alice", "alice", ALICE, (&RSA2048, "one")),
        maker.client("bob", "bob", BOB, (&OTHER2048, "two")),
        maker.server("server one", &RSA2048, &["one"]),
        maker.server("server two", &OTHER2048, &["two"]),
    ];
    maker.world(name, ends)
}

/// alice and bob at one server, and two connections to it.
fn one_server(name: &'static str, maker: &Maker) -> World {
    let mut bob = maker.client("bob", "bob", BOB, (&RSA2048, "two"));
    bob.setting = bob.setting.scenario(Scenario::factors);
    let mut second = maker.server("server one, again", &RSA2048, &["one", "two"]);
    let kinds = [CredentialKind::Token, CredentialKind::Password];
    second.setting = second.setting.scenario(|scenario| scenario.server_kinds(&kinds));
    let ends = vec![
        maker.client("alice", "alice", ALICE, (&RSA2048, "one")),
        bob,
        maker.server("server one", &RSA2048, &["one", "two"]),
        second,
    ];
    maker.world(name, ends)
}

fn channel(byte: u8) -> ChannelBinding {
    ChannelBinding::tls_exporter([byte; 32])
}

/// The client means another connection than the server: somebody ends TLS between them, say.
fn apart(name: &'static str, maker: &Maker, means: fn(Scenario) -> Scenario) -> World {
    let bind = |mut end: End| {
        end.setting = end.setting.scenario(means);
        end
    };
    let ends = vec![
        bind(maker.client("alice", "alice", ALICE, (&RSA2048, "one"))),
        bind(maker.server("server one", &RSA2048, &["one"])),
    ];
    World { is_apart: true, ..maker.world(name, ends) }
}

/// alice logs in by her key, to the attacker's own server, and to another.
fn signatures(maker: &Maker) -> World {
    let kinds = [CredentialKind::Key, CredentialKind::Password];
    let key = Credential::Key { user: "alice", key: &KEY };
    let mut server = maker.server("server one", &RSA2048, &["one"]);
    server.setting = server.setting.scenario(|scenario| scenario.server_kinds(&kinds));
    let ends =
        vec![maker.client("alice, at the attacker's", "alice", key, (&super::support::RSA3072, "three")), server];
    World { has_keys: true, wants_proof: false, ..maker.world("signatures", ends) }
}

/// alice comes back with a ticket; the attacker has tickets, too. To one server, or to one of two that share ticket keys.
fn tickets(name: &'static str, maker: &Maker, is_one: bool) -> World {
    let mut saved = maker.setting(&RSA2048, |scenario| scenario).ticket_keys().save().unwrap().to_vec();
    let mut log_in = |seed, credential: Credential<'static>, key: &TestKey, change: fn(Setting) -> Setting| {
        let client = maker.client(seed, credential.user().unwrap_or_default(), credential, (key, "one")).setting;
        let server = maker.server(seed, key, &["one"]).setting;
        let server = Setting { tickets: Some(saved.clone()), ..server };
        let (mut client, mut server) = (Client::new(&change(client)), Server::new(&change(server)));
        meet(&mut client, &mut server);
        saved = server.saved();
        client.session().info.ticket().cloned().unwrap()
    };
    let own = |ticket: Ticket, is_good| Own { key: ticket.key_id(), ticket, is_good, name: "one" };
    let own = if is_one {
        let hour_ago = |setting| Setting { today: UnixTime::from_secs(TODAY.as_secs() - 3600), ..setting };
        let before = |setting| Setting { epoch: EPOCH - 1, ..setting };
        let tokens = |setting: Setting| setting.scenario(|it| it.server_kinds(&[CredentialKind::Token]));
        let chacha = |setting: Setting| setting.scenario(|it| it.suite(Suite::RSA_CHACHA20_POLY1305));
        // A clock that goes back would end all tickets.
        let expired = log_in("expired", MALLORY, &RSA2048, hour_ago);
        let good = log_in("mallory, at one", MALLORY, &RSA2048, |it| it);
        vec![
            own(expired, false),
            own(log_in("of before", MALLORY, &RSA2048, before), false),
            own(log_in("of a token", Credential::Token(PASSWORD), &RSA2048, tokens), false),
            own(log_in("of another suite", MALLORY, &RSA2048, chacha), false),
            own(altered(&good), false),
            own(good, true),
        ]
    } else {
        vec![
            own(log_in("mallory, at one", MALLORY, &RSA2048, |it| it), true),
            own(log_in("mallory, at two", MALLORY, &OTHER2048, |it| it), true),
        ]
    };
    let mut alice = maker.client("alice", "alice", ALICE, (&RSA2048, "one"));
    alice.setting.shown = Some(log_in("alice, before", ALICE, &RSA2048, |it| it));
    let passwords = |mut end: End| {
        end.setting = end.setting.scenario(|it| it.server_kinds(&[CredentialKind::Password]));
        end
    };
    let second = match is_one {
        true => maker.server("server one, again", &RSA2048, &["one"]),
        false => maker.server("server two", &OTHER2048, &["one", "two"]),
    };
    let ends = vec![alice, passwords(maker.server("server one", &RSA2048, &["one"])), passwords(second)];
    World { own, tickets: Some(saved), ..maker.world(name, ends) }
}

/// By its name.
pub fn world(name: &str, parts: Parts) -> World {
    let maker = |suites, is_known| Maker { parts, suites, is_known };
    match name {
        "two servers" => two_servers("two servers", &maker(RSA_ALONE, false)),
        "two servers, X25519" => two_servers("two servers, X25519", &maker(X25519, false)),
        "two servers, a proof" => two_servers("two servers, a proof", &maker(RSA_ALONE, true)),
        "one server" => one_server("one server", &maker(RSA_ALONE, false)),
        "one server, a proof" => one_server("one server, a proof", &maker(RSA_ALONE, true)),
        "two suites" => two_servers("two suites", &maker(AEADS, false)),
        "two suites, a proof" => two_servers("two suites, a proof", &maker(AEADS, true)),
        "a floor" => two_servers("a floor", &maker(EXCHANGES, false)),
        "two channels" => apart("two channels", &maker(RSA_ALONE, false), |it| it.bindings(channel(1), channel(2))),
        "two prologues" => apart("two prologues", &maker(RSA_ALONE, false), |it| it.prologues(b"chess 1", b"chess 2")),
        "signatures" => signatures(&maker(RSA_ALONE, false)),
        "tickets" => tickets("tickets", &maker(RSA_ALONE, false), true),
        "tickets, two servers" => tickets("tickets, two servers", &maker(RSA_ALONE, false), false),
        other => panic!("there is no world by the name of {other}"),
    }
}

/// The names of all.
pub const WORLDS: [&str; 13] = [
    "two servers",
    "two servers, X25519",
    "two servers, a proof",
    "one server",
    "one server, a proof",
    "two suites",
    "two suites, a proof",
    "a floor",
    "two channels",
    "two prologues",
    "signatures",
    "tickets",
    "tickets, two servers",
];
