//! What two ends agree on, and what the server is like: on the toy provider, so that many thousands of frames can be fed to them.
//! Include it with `#[path]`, beside `support`, `toy` and `ends`.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::ends::{Client, Machine, Server, Side, Stage, meet};
use super::support::wire::{self, lp};
use super::support::{OTHER2048, RSA2048, SUITES, Scenario, TODAY, TOKEN, grant, verify};
use super::toy;
use countersign::crypto::{Cipher as _, Provider};
use countersign::{
    Aead, Answer, ClientKey, Credential, CredentialKind, Grant, KeyId, PuzzleDifficulty, Question, Reason,
    Server as Known, SigningKey, StretchParameters, StretchedPassword, Stretching, Suite, Ticket, TicketKeys, Trust,
    TrustLevel, UnixTime, Untrusted,
};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use std::time::Duration;

/// For how long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// The epoch of alice's account.
pub const EPOCH: u64 = 7;

/// What answers a request for a further factor.
pub const CODE: &[u8] = b"123456";

/// The puzzles of a server that asks for some, and the hardest that a client solves.
pub const BITS: u8 = 3;

/// What the two ends agree on, and what the server is like.
#[derive(Clone)]
pub struct Setting {
    pub name: &'static str,
    /// The end that it is for, if the other can't tell it from another setting.
    pub only: Option<Side>,
    /// What tickets are sealed with.
    pub provider: Provider,
    /// What the server goes by, beside no name; without, by anything (S12).
    pub names: Option<&'static [&'static str]>,
    /// Who may log in.
    pub verify: fn(Credential<'_>) -> Result<Grant, Reason>,
    pub scenario: Scenario,
    /// The server gives tickets, and this is what it keeps of them; the client shows one, if it has one.
    pub tickets: Option<Vec<u8>>,
    pub shown: Option<Ticket>,
    /// Tickets that are not taken: K2, K7, K6, K10.
    pub spent: Vec<(&'static str, Ticket)>,
    /// The client seals a secret to the server's key beside a ticket, too.
    pub seals_beside_ticket: bool,
    /// Tickets are taken as often as they are shown.
    pub takes_twice: bool,
    /// How many further factors the server asks for.
    pub factors: usize,
    /// The client can be asked for some.
    pub offers_factors: bool,
    /// What the client answers to those.
    pub code: &'static [u8],
    /// The bits of the puzzle that the server asks for, if it does, and those up to which the client solves one, if it does.
    pub puzzle: Option<u8>,
    pub solves: Option<u8>,
    /// How well the client knows the server's key.
    pub level: TrustLevel,
    /// The client sends no password itself.
    pub stretched_only: bool,
    /// The suites of the client.
    pub offered: &'static [Suite],
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

/// What a server goes by, if by anything.
pub const NAME: &str = "db.example";

/// Under what a client's floor is.
const UNDER_FLOOR: [Suite; 2] = [Suite::X25519_AES_256_GCM, Suite::RSA_AES_256_GCM];

/// A key that was seen before, and nothing else is known of it.
struct Seen(KeyId);

impl Trust for Seen {
    fn decide(&self, question: &Question<'_>) -> Answer {
        let key = question.key().id();
        if key == self.0 {
            Answer::Trusted(TrustLevel::FirstUse)
        } else {
            Answer::Unknown(Untrusted::new("other-key", std::fmt::Error))
        }
    }

    fn scope(&self) -> String {
        String::new()
    }

    fn recall(&self, _: KeyId, _: Suite, _: UnixTime) -> Answer {
        Answer::Trusted(TrustLevel::FirstUse)
    }
}

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
            only: None,
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
            offers_factors: false,
            code: CODE,
            puzzle: None,
            solves: None,
            level: TrustLevel::Verified,
            stretched_only: false,
            offered: &SUITES,
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
        Self { factors, offers_factors: true, ..self }.scenario(Scenario::factors)
    }

    /// The server asks for work first; the client does it, if it solves puzzles of so many bits.
    fn puzzle(self, solves: Option<u8>) -> Self {
        let most = solves.map(|bits| PuzzleDifficulty::new(bits).unwrap());
        Self { puzzle: Some(BITS), solves, ..self }.scenario(|scenario| scenario.puzzles(most))
    }

    /// The client knows the key no better than by having seen it.
    fn at_first_use(self) -> Self {
        let key = self.scenario.private_key().public_key().id();
        Self { level: TrustLevel::FirstUse, ..self }.scenario(|it| it.trust(Known::trusting(Seen(key))))
    }

    /// The client makes this of what it knows of its server.
    pub fn trust(self, change: fn(Known) -> Known) -> Self {
        self.scenario(|scenario| {
            let known = change(scenario.trusted().clone());
            scenario.trust(known)
        })
    }

    fn only(self, side: Side) -> Self {
        Self { only: Some(side), ..self }
    }

    pub fn mood(self, mood: Mood) -> Self {
        Self { mood, ..self }
    }

    /// Ticket keys that are not made yet, or not loaded.
    pub fn ticket_keys(&self) -> TicketKeys {
        let keys = TicketKeys::new(self.provider, LIFETIME);
        if self.takes_twice { keys.with_unlimited_reuse() } else { keys }
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
        let minted = self.minted(&fresh);
        self.shown = Some(fresh);
        self.spent = vec![
            ("an expired ticket", expired),
            ("a ticket of before", other_epoch),
            ("a used ticket", used),
            ("a ticket of a later chain than its key", minted),
        ];
        self
    }

    /// What somebody makes who has stolen the older of the two ticket keys: a ticket that says that its chain began under the newer one,
    /// and so would outlive the older (K10). How a ticket is made is the server's own affair: this is how this library does it.
    fn minted(&self, like: &Ticket) -> Ticket {
        let saved = self.tickets.as_ref().unwrap();
        assert_eq!(saved[1], 2, "how many ticket keys there are, the newest first");
        let [newer, older] = [0, 1].map(|index: usize| &saved[2 + index * 56..][..40]);
        let prologue = Sha256::digest([lp(b"countersign v1 prologue"), lp(b"")].concat());
        let scope = Sha256::digest([lp(b"countersign v1 ticket"), lp(b""), lp(&prologue)].concat());
        let [now, end] = [TODAY.as_secs(), TODAY.as_secs() + 100].map(u64::to_be_bytes);
        let number = 1_u64.to_be_bytes();
        let mut plain = [
            &lp(b"alice")[..],
            &EPOCH.to_be_bytes(),
            &like.suite().number().to_be_bytes(),
            like.key_id().as_bytes(),
            &scope,
            &[9; 16],
            &number,
            &[1],
            &now,
            &newer[..8],
            &now,
            &end,
            &wire::ticket_secret(like),
        ]
        .concat();
        let (name, nonce, mut kept) = (&older[..8], [5; 16], like.to_bytes().unwrap().to_vec());
        let front = kept.len() - 480;
        plain.resize(480 - name.len() - nonce.len() - 16, 0);
        let key = wire::expand(&older[8..], "ticket", &nonce, 32).try_into().unwrap();
        let tag = toy::ToyCipher(Aead::Aes256Gcm).key(&key).unwrap().seal(&[0; 12], b"", &mut plain).unwrap();
        kept.splice(front.., [name, &nonce, &plain, &tag].concat());
        Ticket::from_bytes(&kept).unwrap()
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
            CredentialKind::Token => Credential::Token(b"another token"),
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
        let token = |scenario: Scenario| scenario.credential(Credential::Token(TOKEN));
        let named = Self { names: Some(&[NAME]), ..new("a server name") }.scenario(|it| it.server_name(NAME));
        let password = Self { stretched_only: true, ..new("a password that goes stretched alone") };
        let unasked = Self { factors: 1, ..new("a factor that nobody can be asked for") };
        let floor = Self { offered: &UNDER_FLOOR, ..new("an offer under the floor") };
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
            new("a token, after a proof").scenario(|it| token(known(it))),
            unasked,
            new("a key, a proof, and a puzzle").scenario(known).puzzle(Some(BITS)),
            new("a fingerprint, a ticket, and a puzzle").ticket().puzzle(Some(BITS)),
            new("no puzzles").puzzle(None).only(Side::Client),
            named.only(Side::Server),
            floor.scenario(|it| it.client_suites(&UNDER_FLOOR)).only(Side::Client),
            new("first use").at_first_use().only(Side::Client),
            new("first use, a client's key, and a factor").scenario(key).at_first_use().factors(1).only(Side::Client),
            password.trust(Known::with_stretched_only).only(Side::Client),
        ]
    }
}
