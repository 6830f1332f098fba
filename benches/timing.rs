//! Can a client tell by the clock why it was refused?
//!
//! ```text
//! cargo bench --bench timing --features aws-lc                   # some minutes; --blocks N for more
//! cargo bench --bench timing --features aws-lc -- --load 2        # while two threads compute something else
//! cargo bench --bench timing --features aws-lc -- --floor 250     # with a refusal floor, in milliseconds
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
//! The last class is a control: its verifier hashes twice, 0.03 ms more. Where that is not found, the run says nothing.
//!
//! This is for people to run and judge, not a gate: a busy machine widens the intervals. docs/timing.md has the results of some runs.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "support/kinds.rs"]
mod kinds;
#[allow(unused)]
mod support;

use countersign::crypto::Provider;
use countersign::{
    Acceptor, Accounts, Attempt, ChannelBinding, ClientConfig, Credential, Grant, KeyExchange, Reason, Server,
    ServerConfig, ServerKey, Suite, Verifier, client,
};
use kinds::{accounts_of, login_of};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
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
    for provider in providers() {
        println!("{}, {blocks} blocks, {floor:?} of refusal floor", provider.name);
        let mut rows = measure(provider, blocks, floor);
        for group in groups() {
            // Its columns.
            let of_group: Vec<Vec<f64>> = rows.iter_mut().map(|row| row.drain(..group.len()).collect()).collect();
            report(group, &of_group);
        }
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
    let mut rows = Vec::new();
    // The first blocks find cold caches.
    for block in 0..blocks + blocks / 20 {
        let mut order: Vec<usize> = (0..classes.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, rng.random_range(0..=at));
        }
        let mut row = vec![0.0; classes.len()];
        for at in order {
            let (class, address) = classes[at];
            row[at] = client.refused(class, address, rng).as_secs_f64() * 1e6;
        }
        if block >= blocks / 20 {
            rows.push(row);
        }
    }
    rows
}

fn report(classes: &[&str], rows: &[Vec<f64>]) {
    let reference: Vec<f64> = rows.iter().map(|row| row[0]).collect();
    println!("  {:<40} median {:>8.1} us", classes[0], quantile(reference, 0.5));
    for (class, name) in classes.iter().enumerate().skip(1) {
        let differences: Vec<f64> = rows.iter().map(|row| row[class] - row[0]).collect();
        let (low, high) = interval(differences.len());
        println!(
            "  {name:<40} {:>+8.2} us, 95 % within {:+.2} and {:+.2}; sign test p = {:.2e}",
            quantile(differences.clone(), 0.5),
            quantile(differences.clone(), low),
            quantile(differences.clone(), high),
            sign_test(&differences)
        );
    }
    if classes.last() != Some(&CONTROL) {
        println!("  Friedman: p = {:.2e}", friedman(rows));
        return;
    }
    let without_control: Vec<Vec<f64>> = rows.iter().map(|row| row[..row.len() - 1].to_vec()).collect();
    println!("  Friedman: p = {:.2e} without the control, {:.2e} with it", friedman(&without_control), friedman(rows));
}

fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// Which order statistics hold the median in 95 of 100 samples of this size, as parts of it.
fn interval(len: usize) -> (f64, f64) {
    let half = 1.96 / 2.0 / (len as f64).sqrt();
    ((0.5 - half).max(0.0), (0.5 + half).min(1.0))
}

/// How probable it is that so many differences or more have one sign, if both are alike.
fn sign_test(differences: &[f64]) -> f64 {
    let (above, below) = differences.iter().fold((0.0, 0.0), |(above, below), difference| {
        (above + f64::from(u8::from(*difference > 0.0)), below + f64::from(u8::from(*difference < 0.0)))
    });
    let z =
        ((f64::max(above, below) - f64::min(above, below) - 1.0) / f64::sqrt(f64::max(above + below, 1.0))).max(0.0);
    (2.0 * upper_tail(z)).min(1.0)
}

/// Friedman's test: how probable ranks as uneven as these are, if the classes are alike. The chi-squared by Wilson and Hilferty's
/// cube root.
fn friedman(rows: &[Vec<f64>]) -> f64 {
    let (n, k) = (rows.len() as f64, rows[0].len() as f64);
    let mut sums = vec![0.0; rows[0].len()];
    for row in rows {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| row[*a].total_cmp(&row[*b]));
        for (rank, class) in (1..).zip(order) {
            sums[class] += f64::from(rank);
        }
    }
    let squares: f64 = sums.iter().map(|sum| sum * sum).sum();
    let chi = 12.0 / (n * k * (k + 1.0)) * squares - 3.0 * n * (k + 1.0);
    let spread = 2.0 / (9.0 * (k - 1.0));
    upper_tail(((chi.max(0.0) / (k - 1.0)).cbrt() - (1.0 - spread)) / spread.sqrt())
}

/// Of the normal distribution (Abramowitz and Stegun 26.2.17; beyond six, its leading term).
fn upper_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - upper_tail(-z);
    }
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z > 6.0 {
        return density / z;
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    density
        * t
        * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))))
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
