//! Does the work of a refusal tell why it is one?
//!
//! ```text
//! cargo bench --bench refusals --features aws-lc      # needs valgrind
//! ```
//!
//! Counts the instructions that the server executes from the RSA operation's result to the refusal, password check included,
//! once for each way to fail and each kind of account, with each provider. They may differ by [`ALLOWED`] and no more. That is repeatable,
//! so it is a gate. Handlers that many would write stand beside it, one that returns early where the RSA operation fails,
//! one that looks for the account before it hashes, and others: each has to be found out, or nothing was looked at.
//!
//! So for a password without a proof, with one, for tokens, stretched passwords, keys, and further factors (`support/ways.rs`); each is compared in itself,
//! since who logs in by what is no secret to whoever does.
//!
//! It says nothing of caches or of instructions that take longer for some operands; nor of the RSA operation, which is the library's.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/arena.rs"]
mod arena;
#[path = "support/callgrind.rs"]
mod callgrind;
#[path = "support/kinds.rs"]
mod kinds;
#[allow(unused)]
mod support;
#[path = "support/ways.rs"]
mod ways;

use arena::Arena;
use callgrind::{count, measured};
use countersign::client::{self, AwaitChallenge, AwaitVerdict};
use countersign::crypto::{Decrypted, Provider};
use countersign::server::{Admitted, AwaitHello, Claim, Hello, Open, SealedLogin};
use countersign::{
    AccountVerifier, Accounts, AsyncVerifier, Attempt, ChannelBinding, ClientConfig, Context, Credential, Grant,
    KeyExchange, Reason, Server, ServerConfig, ServerKey, Suite,
};
use kinds::{accounts_of, login_of};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, RwLock};
use std::task::{Poll, Waker};
use support::{KEYS, NOW, TODAY, private_key, providers, rng};

#[global_allocator]
static ARENA: Arena = Arena::new();

/// How many instructions two refusals may differ by of which a client must not tell one from the other. An account that is found is copied out
/// of the store.
const ALLOWED: u64 = 2000;

/// How many between logins that opened and those that did not. Whoever made a login that opens knows that it does; and for whoever
/// did not, all that do not are alike. An AEAD that fails is spared the decryption.
const ALLOWED_UNOPENED: u64 = 7000;

const SUITE: Suite = Suite::X25519_AES_256_GCM;

/// What is compared with each other.
#[derive(Clone, Copy)]
struct Group {
    /// Refusals of logins that opened: with each other.
    opened: &'static [&'static str],
    /// Of those that did not: with each other.
    unopened: &'static [&'static str],
    /// How much they may differ by.
    allowed: u64,
    /// How much both together may, where they are compared.
    together: Option<u64>,
    /// What has to differ by more, from the first that opened.
    controls: &'static [&'static str],
}

/// Ways to be refused, of logins that opened.
const OPENED: [&str; 9] = [
    "wrong password",
    "unknown user",
    "account with a key alone",
    "account with a token alone",
    "account without a credential",
    "wrong password, locked",
    "right password, locked",
    "right password, expired",
    "right password, other network",
];

/// And of those that did not.
const UNOPENED: [&str; 4] = ["RSA fails", "RSA fails, name of nobody", "sealed for another challenge", "altered"];

/// What is found out, or this looks at nothing.
const CONTROLS: [&str; 2] = ["returns where RSA fails", "looks for the account first"];

/// Those by password, and all others.
fn groups() -> Vec<Group> {
    let alone = Group { opened: &[], unopened: &[], allowed: ALLOWED, together: None, controls: &[] };
    let mut groups = vec![
        Group { opened: &OPENED, unopened: &UNOPENED, together: Some(ALLOWED_UNOPENED), controls: &CONTROLS, ..alone },
        Group { opened: &kinds::OTHERWISE, ..alone },
        #[cfg(feature = "password-formats")]
        Group { opened: &kinds::BY_OTHERS, ..alone },
    ];
    groups.extend(ways::GROUPS);
    groups
}

impl Group {
    fn classes(&self) -> impl Iterator<Item = &'static str> {
        [self.opened, self.unopened, self.controls].into_iter().flatten().copied()
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let providers = providers();
    if let Some(at) = args.iter().position(|arg| arg == "--class") {
        let provider =
            providers.into_iter().find(|provider| provider.name == args[at + 2]).expect("a provider of this name");
        ARENA.open();
        refuse(provider, &args[at + 1]);
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--test") {
        for provider in providers {
            groups().iter().flat_map(Group::classes).for_each(|class| refuse(provider, class));
        }
        return ExitCode::SUCCESS;
    }
    let good = providers.iter().map(|provider| compare(provider.name)).fold(true, |all, good| all & good);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(provider: &str) -> bool {
    println!(
        "{provider}: instructions from RSA's result to the refusal, and beside the first of those it is compared with"
    );
    groups().iter().fold(true, |good, group| good & group.compare(provider))
}

impl Group {
    /// Whether they are as alike as they have to be.
    fn compare(&self, provider: &str) -> bool {
        let of = |classes: &[&str], first: Option<u64>| -> Vec<u64> {
            let mut counts = Vec::new();
            for class in classes {
                let count = count(&["--class", class, provider]);
                counts.push(count);
                let beside = first.unwrap_or(counts[0]);
                println!("  {class:<60} {count:>9} {:+}", count.cast_signed() - beside.cast_signed());
            }
            counts
        };
        let opened = of(self.opened, None);
        let first = opened[0];
        let unopened = of(self.unopened, Some(first));
        let controls = of(self.controls, Some(first));
        let all = [&opened[..], &unopened].concat();
        let mut compared = vec![("that opened", &opened, self.allowed), ("that did not", &unopened, self.allowed)];
        compared.extend(self.together.map(|allowed| ("all", &all, allowed)));
        compared.retain(|(_, counts, _)| counts.len() > 1);
        let even = compared.into_iter().fold(true, |good, (which, counts, allowed)| {
            let apart = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            let said = if apart <= allowed { "" } else { ": TOO MANY" };
            println!("    {which}: {apart} apart, of {allowed} allowed{said}");
            good && apart <= allowed
        });
        let largest = self.together.unwrap_or(self.allowed);
        let found = controls.iter().all(|count| count.abs_diff(first) > largest);
        if !self.controls.is_empty() {
            println!("    controls, the last: {}", if found { "found out" } else { "NOT FOUND OUT" });
        }
        even && found
    }
}

/// A refusal of this class, counted.
fn refuse(provider: Provider, class: &str) {
    if let Some((way, what)) = class.split_once(": ") {
        return ways::refuse(provider, way, what);
    }
    let server = Peers::new(provider);
    let (accounts, context) = (verifying(accounts_of(class)), context());
    let (user, password) = login_of(class);
    let credential = Credential::Password { user, password };
    let open = server.arrived(credential, class == "altered", 1);
    let decrypted = match class {
        "RSA fails" | "RSA fails, name of nobody" | "returns where RSA fails" => Decrypted::failed(),
        // It decrypts, and what is in it is bound to another challenge than this one.
        "sealed for another challenge" => server.decrypt(server.arrived(credential, false, 2).ciphertext()),
        _ => server.decrypt(open.ciphertext()),
    };
    let reason = match class {
        "returns where RSA fails" => measured(|| {
            // It was told that RSA failed, and sees no use in going on.
            drop((open, decrypted));
            Reason::NotOpened
        }),
        "looks for the account first" => measured(|| {
            let claim = open.answer(decrypted);
            let user = claim.credential().user().unwrap_or_default();
            match accounts.store().read().unwrap().get(user).is_some() {
                true => refusal(claim, &accounts, &context),
                false => claim.reject(Reason::UnknownUser).reason,
            }
        }),
        _ => measured(|| verdict(open, decrypted, &accounts, &context)),
    };
    assert_eq!(std::mem::discriminant(&reason), std::mem::discriminant(&expected(class)), "{class}: {reason:?}");
}

type Verifying = AccountVerifier<RwLock<Accounts>>;

fn verifying(accounts: Accounts) -> Verifying {
    AccountVerifier::new(RwLock::new(accounts)).without_upgrade()
}

/// Where they all come from.
fn context() -> Context {
    Context::from(SocketAddr::from(([192, 0, 2, 1], 7007)))
}

/// What the server does once RSA has given a result.
fn verdict(open: Open<SealedLogin>, decrypted: Decrypted, accounts: &Verifying, context: &Context) -> Reason {
    refusal(open.answer(decrypted), accounts, context)
}

fn refusal(claim: Claim, accounts: &Verifying, context: &Context) -> Reason {
    let reason = reason(&claim, accounts, context);
    claim.reject(reason).reason
}

fn reason(claim: &Claim, accounts: &Verifying, context: &Context) -> Reason {
    checked(claim, accounts, context).expect_err("nothing here is good")
}

fn checked(claim: &Claim, accounts: &Verifying, context: &Context) -> Result<Grant, Reason> {
    at_once(accounts.verify(&Attempt::new(claim.credential(), context)))
}

/// Everything is here, so it is ready at once.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut core::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits for something"),
    }
}

/// What stands in the server's log.
fn expected(class: &str) -> Reason {
    match class {
        class if class.starts_with("wrong password") => Reason::WrongPassword,
        "looks for the account first" => Reason::UnknownUser,
        class if class.starts_with("unknown user") => Reason::UnknownUser,
        class if class.starts_with("right password, locked") => Reason::AccountLocked,
        "right password, expired" => Reason::AccountExpired,
        "right password, other network" => Reason::NetworkNotAdmitted,
        class if class.starts_with("account with") => Reason::WrongPassword,
        _ => Reason::NotOpened,
    }
}

struct Peers {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    trust: Server,
    key: ServerKey,
    provider: Provider,
}

impl Peers {
    fn new(provider: Provider) -> Self {
        let key = ServerKey::load(&private_key(KEYS[0].1), provider).unwrap();
        let config = ServerConfig::new(provider).with_suites(&[SUITE]).unwrap();
        Self {
            client: Arc::new(ClientConfig::new(provider).with_suites(&[SUITE]).unwrap()),
            server: Arc::new(config),
            trust: Server::pinned(key.public_key().id()).with_floor(KeyExchange::Rsa),
            key,
            provider,
        }
    }

    fn hello(&self, seed: u64) -> (Vec<u8>, AwaitChallenge) {
        let rng = &mut StdRng::seed_from_u64(seed);
        client::start(&self.client, &self.trust, &ChannelBinding::none(), rng, NOW).unwrap()
    }

    fn read(&self, hello: Vec<u8>) -> Hello {
        let server = AwaitHello::new(&self.server, &ChannelBinding::none(), NOW);
        server.read(hello, NOW).unwrap().choose(&self.key).unwrap()
    }

    /// A login at the server's, with the RSA operation to come.
    fn arrived(&self, credential: Credential<'_>, is_altered: bool, seed: u64) -> Open<SealedLogin> {
        self.arrived_with(credential, is_altered, seed).0
    }

    /// And what its client awaits.
    fn arrived_with(
        &self,
        credential: Credential<'_>,
        is_altered: bool,
        seed: u64,
    ) -> (Open<SealedLogin>, AwaitVerdict) {
        let rng = &mut StdRng::seed_from_u64(seed + 100);
        let (hello, client) = self.hello(seed);
        let (challenge, server) = self.read(hello).challenge(rng).unwrap();
        let trusted = client.read(&challenge, NOW).unwrap().trust(&self.trust, TODAY).unwrap();
        let (mut login, client) = trusted.login(credential, rng).unwrap();
        if is_altered {
            *login.last_mut().unwrap() ^= 1;
        }
        match server.read(login, NOW).unwrap().admit() {
            Admitted::Sealed(open) => (open, client),
            Admitted::Opened(_) => panic!("the client has no key to seal to before"),
        }
    }

    fn decrypt(&self, ciphertext: &[u8]) -> Decrypted {
        let rsa = self.provider.rsa.load_key(&private_key(KEYS[0].1)).unwrap();
        rsa.decrypt(ciphertext, &mut rng())
    }
}
