//! Does the work of a refusal tell why it is one?
//!
//! ```text
//! cargo bench --bench refusals --features aws-lc      # needs valgrind
//! ```
//!
//! Counts the instructions that the server executes from the RSA operation's result to the refusal, password check included,
//! once for each way to fail and each kind of account, with each provider. They may differ by [`ALLOWED`] and no more. That is repeatable,
//! so it is a gate. Two handlers that many would write stand beside it, one that returns early where the RSA operation fails and
//! one that looks for the account before it hashes: both have to be found out, or nothing was looked at.
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

use arena::Arena;
use callgrind::{count, measured};
use countersign::client;
use countersign::crypto::{Decrypted, Provider};
use countersign::server::{Admitted, AwaitHello, Claim, Open, SealedLogin};
use countersign::{
    AccountVerifier, Accounts, AsyncVerifier, Attempt, ChannelBinding, ClientConfig, Context, Credential, KeyExchange,
    Reason, Server, ServerConfig, ServerKey, Suite,
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

/// Those that are compared among themselves: accounts that are hashed otherwise.
fn hashed_otherwise() -> Vec<&'static [&'static str]> {
    vec![
        &kinds::OTHERWISE,
        #[cfg(feature = "password-formats")]
        &kinds::BY_OTHERS,
    ]
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
        providers.iter().for_each(|provider| {
            let others = hashed_otherwise().concat();
            OPENED.iter().chain(&UNOPENED).chain(&others).chain(&CONTROLS).for_each(|class| refuse(*provider, class));
        });
        return ExitCode::SUCCESS;
    }
    let good = providers.iter().map(|provider| compare(provider.name)).fold(true, |all, good| all & good);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(provider: &str) -> bool {
    println!("{provider}: instructions from RSA's result to the refusal, and beside a wrong password's");
    let of = |classes: &[&str], wrong: Option<u64>| -> Vec<u64> {
        let mut counts = Vec::new();
        for class in classes {
            let count = count(&["--class", class, provider]);
            counts.push(count);
            let beside = wrong.unwrap_or(counts[0]);
            println!("  {class:<40} {count:>9} {:+}", count.cast_signed() - beside.cast_signed());
        }
        counts
    };
    let opened = of(&OPENED, None);
    let wrong = opened[0];
    let unopened = of(&UNOPENED, Some(wrong));
    let others: Vec<Vec<u64>> = hashed_otherwise().into_iter().map(|group| of(group, None)).collect();
    let controls = of(&CONTROLS, Some(wrong));
    let all = [&opened[..], &unopened].concat();
    let mut groups =
        vec![("that opened", &opened, ALLOWED), ("that did not", &unopened, ALLOWED), ("all", &all, ALLOWED_UNOPENED)];
    groups.extend(others.iter().map(|group| ("hashed otherwise, each alike", group, ALLOWED)));
    let even = groups.into_iter().fold(true, |good, (which, counts, allowed)| {
        let apart = counts.iter().max().unwrap() - counts.iter().min().unwrap();
        println!("  {which}: {apart} apart, of {allowed} allowed{}", if apart <= allowed { "" } else { ": TOO MANY" });
        good && apart <= allowed
    });
    let found = controls.iter().all(|count| count.abs_diff(wrong) > ALLOWED_UNOPENED);
    println!("  the last two are controls, and {}", if found { "found out" } else { "NOT FOUND OUT" });
    even && found
}

/// A refusal of this class, counted.
fn refuse(provider: Provider, class: &str) {
    let server = Peers::new(provider);
    let accounts = AccountVerifier::new(RwLock::new(accounts_of(class))).without_upgrade();
    let context = Context::from(SocketAddr::from(([192, 0, 2, 1], 7007)));
    let (user, password) = login_of(class);
    let credential = Credential::Password { user, password };
    let open = server.arrived(credential, class == "altered", 1);
    let decrypted = match class {
        "RSA fails" | "RSA fails, name of nobody" | "returns where RSA fails" => Decrypted::failed(),
        // It decrypts, and what is in it is bound to another challenge than this one.
        "sealed for another challenge" => server.decrypt(&server.arrived(credential, false, 2)),
        _ => server.decrypt(&open),
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

/// What the server does once RSA has given a result.
fn verdict(open: Open<SealedLogin>, decrypted: Decrypted, accounts: &Verifying, context: &Context) -> Reason {
    refusal(open.answer(decrypted), accounts, context)
}

fn refusal(claim: Claim, accounts: &Verifying, context: &Context) -> Reason {
    let reason = reason(&claim, accounts, context);
    claim.reject(reason).reason
}

fn reason(claim: &Claim, accounts: &Verifying, context: &Context) -> Reason {
    let attempt = Attempt::new(claim.credential(), context);
    let verifying = pin!(accounts.verify(&attempt));
    // Everything is here, so it is ready at once.
    match verifying.poll(&mut core::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => verdict.expect_err("nothing here is good"),
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

    /// A login at the server's, with the RSA operation to come.
    fn arrived(&self, credential: Credential<'_>, is_altered: bool, seed: u64) -> Open<SealedLogin> {
        let (none, rng) = (ChannelBinding::none(), &mut StdRng::seed_from_u64(seed));
        let (hello, client) = client::start(&self.client, &self.trust, &none, rng, NOW).unwrap();
        let hello = AwaitHello::new(&self.server, &none, NOW).read(hello, NOW).unwrap().choose(&self.key).unwrap();
        let (challenge, server) = hello.challenge(rng).unwrap();
        let trusted = client.read(&challenge, NOW).unwrap().trust(&self.trust, TODAY).unwrap();
        let (mut login, _) = trusted.login(credential, rng).unwrap();
        if is_altered {
            *login.last_mut().unwrap() ^= 1;
        }
        match server.read(login, NOW).unwrap().admit() {
            Admitted::Sealed(open) => open,
            Admitted::Opened(_) => panic!("the client has no key to seal to before"),
        }
    }

    fn decrypt(&self, login: &Open<SealedLogin>) -> Decrypted {
        let rsa = self.provider.rsa.load_key(&private_key(KEYS[0].1)).unwrap();
        rsa.decrypt(login.ciphertext(), &mut rng())
    }
}
