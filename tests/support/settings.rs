//! What two ends agree on, and what the server is like: on the toy provider, so that many thousands of frames can be fed to them.
//! Include it with `#[path]`, beside `support`, `toy` and `ends`.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::ends::{Client, Machine, Server, Stage, meet};
use super::support::{OTHER2048, RSA2048, Scenario, TODAY, grant, verify};
use super::toy;
use countersign::crypto::Provider;
use countersign::{
    ClientKey, Credential, CredentialKind, Grant, Reason, Server as Known, SigningKey, StretchParameters,
    StretchedPassword, Stretching, Ticket, TicketKeys, UnixTime,
};
use std::sync::LazyLock;
use std::time::Duration;

/// For how long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// The epoch of alice's account.
pub const EPOCH: u64 = 7;

/// What answers a request for a further factor.
pub const CODE: &[u8] = b"123456";

/// What the two ends agree on, and what the server is like.
#[derive(Clone)]
pub struct Setting {
    pub name: &'static str,
    /// What tickets are sealed with.
    pub provider: Provider,
    /// What the server goes by; without, by anything (S12).
    pub names: Option<&'static [&'static str]>,
    /// Who may log in.
    pub verify: fn(Credential<'_>) -> Result<Grant, Reason>,
    pub scenario: Scenario,
    /// The server gives tickets, and this is what it keeps of them; the client shows one, if it has one.
    pub tickets: Option<Vec<u8>>,
    pub shown: Option<Ticket>,
    /// Tickets that are not taken: K2, K7, K6.
    pub spent: Vec<(&'static str, Ticket)>,
    /// The client seals a secret to the server's key beside a ticket, too.
    pub seals_beside_ticket: bool,
    /// Tickets are taken as often as they are shown.
    pub takes_twice: bool,
    /// How many further factors the server asks for.
    pub factors: usize,
    /// What the client answers to those.
    pub code: &'static [u8],
    pub mood: Mood,
    /// The client's, and the server's.
    pub prologues: [&'static [u8]; 2],
    pub today: UnixTime,
    pub epoch: u64,
}

/// What a server does with good and bad alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Usual,
    /// It opens nothing that a ClientHello brings.
    NoProof,
    /// It has no room for a hello.
    Full,
    /// It can't decide about logins.
    Away,
    /// It knows nobody.
    Strict,
}

/// alice's key. Anybody can sign for it with the toy provider; what is signed is what counts here.
pub static KEY: LazyLock<ClientKey> =
    LazyLock::new(|| toy::client_key(SigningKey::from_ed25519(&[7; 32]).unwrap().public_key()));

static STRETCHING: LazyLock<Stretching> =
    LazyLock::new(|| Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap());

/// alice's password, and a wrong one. Computed once: it takes milliseconds.
static STRETCHED: LazyLock<[StretchedPassword; 2]> =
    LazyLock::new(|| [&b"password"[..], b"wrong"].map(|password| STRETCHING.stretch("alice", password).unwrap()));

pub const WRONG: Credential<'static> = Credential::Password { user: "alice", password: b"wrong" };

impl Setting {
    /// A fingerprint, and alice's password.
    pub fn over(name: &'static str, provider: Provider) -> Self {
        let scenario = Scenario::over(provider, toy::server_key(RSA2048.private.public_key()));
        let (tickets, shown, names) = (None, None, None);
        let mood = Mood::Usual;
        let spent = Vec::new();
        let verify = Self::verify;
        Self {
            name,
            provider,
            names,
            verify,
            scenario,
            tickets,
            shown,
            spent,
            seals_beside_ticket: false,
            takes_twice: false,
            factors: 0,
            code: CODE,
            mood,
            prologues: [b"", b""],
            today: TODAY,
            epoch: EPOCH,
        }
    }

    pub fn scenario(mut self, change: impl FnOnce(Scenario) -> Scenario) -> Self {
        self.scenario = change(self.scenario);
        self
    }

    fn prologues(mut self, client: &'static [u8], server: &'static [u8]) -> Self {
        self.prologues = [client, server];
        self.scenario(|scenario| scenario.prologues(client, server))
    }

    fn factors(self, factors: usize) -> Self {
        Self { factors, ..self }.scenario(Scenario::factors)
    }

    pub fn mood(self, mood: Mood) -> Self {
        Self { mood, ..self }
    }

    /// Ticket keys that are not made yet, or not loaded.
    pub fn ticket_keys(&self) -> TicketKeys {
        let keys = TicketKeys::new(self.provider, LIFETIME);
        if self.takes_twice { keys.with_reuse() } else { keys }
    }

    /// The server gives tickets, and the client has one; besides there are some that the server takes no more.
    fn ticket(mut self) -> Self {
        let hour = |hours: u64| UnixTime::from_secs(TODAY.as_secs() - 3600 * hours);
        self.tickets = Some(self.ticket_keys().save().unwrap().to_vec());
        let mut got = |seed, today, epoch| {
            let before = Self { shown: None, today, epoch, ..self.clone() }.seed(seed);
            let (mut client, mut server) = (Client::new(&before), Server::new(&before));
            meet(&mut client, &mut server);
            self.tickets = Some(server.saved());
            client.session().info.ticket().cloned().unwrap()
        };
        let expired = got("the login that the expired ticket is from", hour(1), EPOCH);
        let other_epoch = got("the login before the account was changed", TODAY, EPOCH - 1);
        let used = got("the login that the used ticket is from", TODAY, EPOCH);
        let fresh = got("the login that the ticket is from", TODAY, EPOCH);
        let using = Self { shown: Some(used.clone()), ..self.clone() }.seed("the login by ticket before");
        let mut server = Server::new(&using);
        assert_eq!(server.feed(&Client::new(&using).hello).stage, Stage::AwaitConfirm);
        self.tickets = Some(server.saved());
        self.shown = Some(fresh);
        self.spent = vec![("an expired ticket", expired), ("a ticket of before", other_epoch), ("a used ticket", used)];
        self
    }

    /// Another connection between the same two.
    pub fn seed(self, seed: &'static str) -> Self {
        self.scenario(|scenario| scenario.seed(seed))
    }

    /// Everybody wants another server: one with another key.
    pub fn elsewhere(self) -> Self {
        let key = toy::server_key(OTHER2048.private.public_key());
        let trust = match self.scenario.trusted().known_keys().is_empty() {
            true => Known::pinned(key.public_key().id()),
            false => Known::key(key.public_key().clone()),
        };
        self.scenario(|scenario| scenario.server_key(key).trust(trust))
    }

    /// The client logs in with what is not good.
    pub fn wrong(self) -> Self {
        let wrong = match self.scenario.credential.kind() {
            CredentialKind::Stretched => Credential::Stretched { user: "alice", password: &STRETCHED[1] },
            CredentialKind::Key => Credential::Key { user: "bob", key: &KEY },
            _ => WRONG,
        };
        self.scenario(|scenario| scenario.credential(wrong))
    }

    /// As [`verify`], and what alice's key and stretched password are.
    fn verify(credential: Credential<'_>) -> Result<Grant, Reason> {
        match credential {
            Credential::Stretched { user: "alice", password } => {
                password.check(Some(&STRETCHED[0].newest())).map(|()| grant())
            }
            Credential::Stretched { password, .. } => password.check(None).map(|()| grant()),
            Credential::Key { user: "alice", key } if key.public_key().id() == KEY.public_key().id() => Ok(grant()),
            other => verify(other),
        }
    }

    /// Whether the client has the server's key whole.
    pub fn knows_key(&self) -> bool {
        !self.scenario.trusted().known_keys().is_empty()
    }

    pub fn all(provider: Provider) -> Vec<Self> {
        let new = |name| Self::over(name, provider);
        let known = Scenario::known_key;
        let key = |scenario: Scenario| {
            let kinds = [CredentialKind::Key, CredentialKind::Password];
            scenario.server_kinds(&kinds).credential(Credential::Key { user: "alice", key: &KEY })
        };
        let stretched = |scenario: Scenario| {
            let credential = Credential::Stretched { user: "alice", password: &STRETCHED[0] };
            scenario.stretching(&STRETCHING).credential(credential)
        };
        vec![
            new("a fingerprint"),
            new("a key, and a proof").scenario(known),
            new("a fingerprint, a ticket").ticket(),
            new("a key, a ticket").scenario(known).ticket(),
            Self { seals_beside_ticket: true, ..new("a key, a ticket, and a proof") }
                .scenario(|it| known(it).proof_at_resumption())
                .ticket(),
            new("a fingerprint, and two factors").factors(2),
            new("a key, a proof, and a factor").scenario(known).factors(1),
            new("a client's key").scenario(key),
            new("a client's key, after a proof").scenario(|it| key(known(it))),
            new("a stretched password").scenario(|it| stretched(known(it))),
            new("other prologues").prologues(b"chess 1", b"chess 2"),
            new("other prologues, and a key").scenario(known).prologues(b"chess 1", b"chess 2"),
            new("no room").mood(Mood::Full),
            new("a store that is away").scenario(known).mood(Mood::Away),
        ]
    }
}
