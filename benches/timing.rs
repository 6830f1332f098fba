//! Can a client tell by the clock why it was refused?
//!
//! ```text
//! cargo bench --bench timing --features aws-lc,password-formats                   # some minutes; --blocks N for more
//! cargo bench --bench timing --features aws-lc,password-formats -- --load 2        # while two threads compute something else
//! cargo bench --bench timing --features aws-lc,password-formats -- --floor 250     # with a refusal floor, in milliseconds
//! ```
//!
//! A client on the loopback interface sends logins that are refused for different reasons and times each answer, from the login's
//! last byte to the refusal's. Classes take turns in blocks: each block has every class once, in an order of its own, so that whatever
//! changes slowly (heat, other programs) is the same for all. Compared are the differences within blocks, by a test that supposes no
//! distribution: Friedman's over all classes, and for each class against the first the median difference with its 95 % interval, by
//! order statistics (the sign test's).
//!
//! Accounts whose passwords are hashed otherwise, or by another program (with `--features password-formats`), have servers of their own, and
//! are compared among themselves.
//!
//! There is no refusal floor unless it is asked for, and the password hashes are the smallest there are: nothing hides in them.
//! The last class is a control: its verifier hashes twice, 0.03 ms more. Where that is not found without a floor, the run says nothing, and
//! ends with 1.
//!
//! Those that did not open are compared among themselves as well: whether RSA failed, or something after it, is what whoever attacks RSA
//! wants to know.
//!
//! This is for people to run and judge, not a gate: a busy machine widens the intervals. docs/timing.md has the results of some runs.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/kinds.rs"]
mod kinds;
#[path = "support/statistics.rs"]
mod statistics;
#[allow(unused)]
mod support;

use countersign::crypto::Provider;
use countersign::{
    Acceptor, Accounts, Attempt, ChannelBinding, ClientConfig, Credential, Grant, KeyExchange, Reason, Server,
    ServerConfig, ServerKey, Suite, Verifier, client,
};
use kinds::{accounts_of, login_of};
use rand::SeedableRng;
use rand::rngs::StdRng;
use statistics::{columns, in_blocks, only, report};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{KEYS, NOW, TODAY, private_key, providers};

/// Ways to be refused. All names and passwords have one length.
const CLASSES: [&str; 12] = [
    "wrong password",
    "unknown user",
    "account with a key alone",
    "account without a credential",
    "wrong password, locked",
    "right password, locked",
    "right password, expired",
    "right password, other network",
    "RSA fails",
    "sealed for another challenge",
    "altered",
    CONTROL,
];

const CONTROL: &str = "hashes twice";

/// Of the first group: what did not open.
const UNOPENED: [&str; 3] = ["RSA fails", "sealed for another challenge", "altered"];

/// Those that are compared among themselves, each with the first: a client can tell what a hash costs, and must not tell by that whether there is
/// the user.
fn groups() -> Vec<&'static [&'static str]> {
    vec![
        &CLASSES,
        &kinds::OTHERWISE,
        #[cfg(feature = "password-formats")]
        &kinds::BY_OTHERS,
    ]
}

/// Of a frame: its type and its length.
const HEADER: usize = 3;

const SUITE: Suite = Suite::X25519_AES_256_GCM;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |flag: &str| {
        let at = args.iter().position(|arg| arg == flag)?;
        Some(args.get(at + 1).and_then(|number| number.parse::<u64>().ok()).unwrap_or_else(|| panic!("{flag} N")))
    };
    let is_test = args.iter().any(|arg| arg == "--test");
    let blocks = number("--blocks").unwrap_or(if is_test { 3 } else { 3000 });
    let floor = Duration::from_millis(number("--floor").unwrap_or(0));
    for _ in 0..number("--load").unwrap_or(0) {
        std::thread::spawn(|| {
            let mut state = 1_u64;
            loop {
                state = std::hint::black_box(state.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7));
            }
        });
    }
    if is_test {
        statistics::check();
    }
    let mut is_worth_nothing = false;
    for provider in providers() {
        println!("{}, {blocks} blocks, {floor:?} of refusal floor", provider.name);
        let mut rows = measure(provider, blocks, floor);
        for group in groups() {
            // Its columns.
            let of_group: Vec<Vec<f64>> = rows.iter_mut().map(|row| row.drain(..group.len()).collect()).collect();
            let is_found = report(group, &of_group, group.last() == Some(&CONTROL));
            // Under a floor it has to be hidden, and three blocks find nothing.
            is_worth_nothing |= !is_found && floor.is_zero() && !is_test;
            if let Some(columns) = columns(&UNOPENED, group) {
                report(&UNOPENED, &only(&columns, &of_group), false);
            }
        }
    }
    if is_worth_nothing {
        eprintln!("timing: the control was not found: more blocks, or a machine that does nothing else");
        std::process::exit(1);
    }
}

/// Microseconds: a row for each block, with one for each class.
fn measure(provider: Provider, blocks: u64, floor: Duration) -> Vec<Vec<f64>> {
    let addresses: Vec<SocketAddr> =
        groups().iter().map(|group| serve(provider, floor, accounts_of(group[0]))).collect();
    let client = Client::new(provider, addresses[0]);
    let classes: Vec<(&str, SocketAddr)> = groups()
        .iter()
        .zip(&addresses)
        .flat_map(|(group, address)| group.iter().map(|class| (*class, *address)))
        .collect();
    let rng = &mut StdRng::seed_from_u64(7);
    in_blocks(blocks, classes.len(), &mut StdRng::seed_from_u64(8), |class| {
        let (class, address) = classes[class];
        client.refused(class, address, rng)
    })
}

/// An acceptor of the library, as an application has one, but for the bounds on guessing.
fn serve(provider: Provider, floor: Duration, accounts: Accounts) -> SocketAddr {
    let config = ServerConfig::new(provider).with_suites(&[SUITE]).unwrap().with_refusal_floor(floor);
    let key = ServerKey::load(&private_key(KEYS[0].1), provider).unwrap();
    let acceptor = Acceptor::new(config, key, Twice(accounts)).without_penalties();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let peer = stream.peer_addr().unwrap();
            let acceptor = acceptor.clone();
            std::thread::spawn(move || drop(acceptor.accept_blocking(stream, peer)));
        }
    });
    address
}

/// Hashes twice for one name.
struct Twice(Accounts);

impl Verifier for Twice {
    fn verify(&self, attempt: &Attempt<'_>) -> Result<Grant, Reason> {
        let address = attempt.context().peer().map(|peer| peer.ip());
        if attempt.credential().user() == Some("double") {
            drop(self.0.check_from(attempt.credential(), address));
        }
        self.0.check_from(attempt.credential(), address)
    }
}

struct Client {
    config: Arc<ClientConfig>,
    trust: Server,
    /// Of another connection.
    stale: Vec<u8>,
}

impl Client {
    fn new(provider: Provider, address: SocketAddr) -> Self {
        let config = Arc::new(ClientConfig::new(provider).with_suites(&[SUITE]).unwrap());
        let key = ServerKey::load(&private_key(KEYS[0].1), provider).unwrap();
        let trust = Server::pinned(key.public_key().id()).with_floor(KeyExchange::Rsa);
        let mut client = Self { config, trust, stale: Vec::new() };
        client.stale = client.login(address, "user00", b"a wrong guess", &mut StdRng::seed_from_u64(1)).1;
        client
    }

    /// A connection on which the login is next, and the login.
    fn login(&self, address: SocketAddr, user: &str, password: &[u8], rng: &mut StdRng) -> (TcpStream, Vec<u8>) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let (hello, state) = client::start(&self.config, &self.trust, &ChannelBinding::none(), rng, NOW).unwrap();
        stream.write_all(&hello).unwrap();
        let challenge = read_frame(&mut stream);
        let state = state.read(&challenge, NOW).unwrap().trust(&self.trust, TODAY).unwrap();
        let (login, _) = state.login(Credential::Password { user, password }, rng).unwrap();
        (stream, login)
    }

    fn refused(&self, class: &str, address: SocketAddr, rng: &mut StdRng) -> Duration {
        let (user, password) = login_of(class);
        let (mut stream, mut login) = self.login(address, user, password, rng);
        // The ciphertext of the secret is the first field: two bytes of length, and 256 of it.
        let ciphertext = HEADER + 2..HEADER + 2 + 256;
        match class {
            "RSA fails" => login[ciphertext.end - 1] ^= 1,
            "sealed for another challenge" => {
                let stale = self.stale[ciphertext.clone()].to_vec();
                login[ciphertext].copy_from_slice(&stale);
            }
            "altered" => *login.last_mut().unwrap() ^= 1,
            _ => {}
        }
        let start = Instant::now();
        stream.write_all(&login).unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).expect("a refusal");
        start.elapsed()
    }
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    stream.read_exact(&mut frame).unwrap();
    let len = usize::from(u16::from_be_bytes([frame[1], frame[2]]));
    frame.resize(HEADER + len, 0);
    stream.read_exact(&mut frame[HEADER..]).unwrap();
    frame
}
