//! Logins by password, and junk logins, where the server hashes and where the clients do: what each costs the server.

use super::handshakes::{PASSWORD, broken, clock, today};
use super::report::Relief;
use super::stats::{median, millis};
use crate::failure::Failure;
use countersign::accounts::HashParameters;
use countersign::client;
use countersign::crypto::{CryptoRng, Provider};
use countersign::server::AwaitHello;
use countersign::{
    Accounts, ChannelBinding, ClientConfig, Credential, Moment, PrivateKey, Server, ServerConfig, ServerKey,
    Stretching, Suite,
};
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NOW: Moment = Moment::ORIGIN;
const USER: &str = "alice";

/// One combination, and what it is measured with.
pub(crate) struct Measure<'a> {
    pub(crate) provider: Provider,
    pub(crate) key: &'a PrivateKey,
    pub(crate) suite: Suite,
    /// What a password hash costs at the server.
    pub(crate) argon2: HashParameters,
    /// How many rounds there are at most, and how long they should take: no fewer than two.
    pub(crate) rounds: u32,
    pub(crate) budget: Duration,
}

/// Fewer say nothing, however long a hash takes.
const FEWEST: u32 = 2;

/// One side of the comparison.
struct Way<'a> {
    server: Arc<ServerConfig>,
    accounts: Accounts,
    credential: Credential<'a>,
}

/// What all logins have in common. The key is loaded once, as a server does it: a provider computes at a key's first use what it keeps.
struct Ends {
    client: Arc<ClientConfig>,
    pinned: Server,
    key: ServerKey,
}

impl Measure<'_> {
    pub(crate) fn run(&self, bar: &ProgressBar) -> Result<Relief, Failure> {
        let mut rng = StdRng::try_from_rng(&mut SysRng)
            .map_err(|error| Failure::new(format_args!("the operating system gives no randomness: {error}")))?;
        let stretching = Stretching::new("bench", &[Default::default()]).map_err(broken)?;
        let mut client = Duration::ZERO;
        let stretched = clock(&mut client, || stretching.stretch(USER, PASSWORD)).map_err(broken)?;
        let config = || ServerConfig::new(self.provider).with_suites(&[self.suite]).map_err(broken);
        let credential = Credential::Password { user: USER, password: PASSWORD };
        let mut plain = Way { server: Arc::new(config()?), accounts: Accounts::new(), credential };
        plain.accounts.add(USER, ["read"])?;
        plain.accounts.edit(USER, |account| account.set_password_with(PASSWORD, self.argon2))?;
        let server = config()?.with_stretching(stretching.clone()).map_err(broken)?;
        let credential = Credential::Stretched { user: USER, password: &stretched };
        let mut relieved = Way { server: Arc::new(server), accounts: Accounts::new(), credential };
        relieved.accounts.add(USER, ["read"])?;
        relieved.accounts.edit(USER, |account| {
            account.set_stretched(&stretched.newest());
            Ok(())
        })?;

        let ends = Ends {
            client: Arc::new(ClientConfig::new(self.provider).with_suites(&[self.suite]).map_err(broken)?),
            pinned: Server::pinned(self.key.public_key().id()).with_floor(self.suite.key_exchange),
            key: ServerKey::load(self.key, self.provider).map_err(broken)?,
        };

        let mut times: [Vec<f64>; 4] = Default::default();
        bar.set_length(self.rounds.into());
        let start = Instant::now();
        // The first round is no measurement: memory is touched, and the key is used, for the first time.
        for round in 0..=self.rounds {
            if round > FEWEST && start.elapsed() > self.budget {
                break;
            }
            let hashed = [ends.log_in(&plain, false, &mut rng)?, ends.log_in(&plain, true, &mut rng)?];
            // A server whose clients hash has no caches that a hash has just emptied. Whoever comes first pays for those, and is not counted.
            ends.log_in(&relieved, false, &mut rng)?;
            let spared = [ends.log_in(&relieved, false, &mut rng)?, ends.log_in(&relieved, true, &mut rng)?];
            if round > 0 {
                let took = hashed.into_iter().chain(spared);
                times.iter_mut().zip(took).for_each(|(times, took)| times.push(millis(took)));
                bar.inc(1);
            }
        }
        let rounds = times.first().map_or(0, Vec::len);
        let [password, password_junk, stretched, stretched_junk] = times.map(median);
        Ok(Relief {
            parameters: stretching.newest().to_string(),
            rounds,
            client_ms: millis(client),
            password_server_ms: password,
            stretched_server_ms: stretched,
            ratio: password / stretched,
            password_junk_ms: password_junk,
            stretched_junk_ms: stretched_junk,
        })
    }
}

impl Ends {
    /// What a whole login from a fingerprint costs the server, with its look at the account; or a junk login, which does not open.
    fn log_in(&self, way: &Way<'_>, is_junk: bool, rng: &mut dyn CryptoRng) -> Result<Duration, Failure> {
        let mut time = Duration::ZERO;
        let binding = ChannelBinding::none();
        let (hello, state) = client::start(&self.client, &self.pinned, &binding, rng, NOW).map_err(broken)?;
        let (challenge, await_login) = clock(&mut time, || {
            AwaitHello::new(&way.server, &binding, NOW).read(hello, NOW)?.choose(&self.key)?.challenge(rng)
        })
        .map_err(broken)?;
        let trusted = state.read(&challenge, NOW).and_then(|state| state.trust(&self.pinned, today()));
        let (mut login, _) = trusted.map_err(broken)?.login(way.credential, rng).map_err(broken)?;
        if let Some(last) = login.last_mut().filter(|_| is_junk) {
            *last ^= 1;
        }
        let is_in = clock(&mut time, || {
            let claim = await_login.read(login, NOW).ok()?.admit().open(rng);
            match way.accounts.check(claim.credential()) {
                Ok(grant) => claim.accept(grant).ok().map(drop),
                Err(reason) => {
                    drop(claim.reject(reason));
                    None
                }
            }
        });
        if is_in.is_some() == is_junk {
            return Err(broken("a login went as it should not"));
        }
        Ok(time)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign::crypto::{CryptoError, Decrypt, Decrypted, KeyError, Rsa};
    use countersign::{PublicKey, limits};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// The RSA of this build, with its loads and its uses counted.
    struct Counted;

    static LOADED: AtomicUsize = AtomicUsize::new(0);
    static USED: AtomicUsize = AtomicUsize::new(0);

    impl Rsa for Counted {
        fn encrypt(
            &self,
            key: &PublicKey,
            message: &[u8; limits::SEALED_SECRET],
            rng: &mut dyn CryptoRng,
            out: &mut [u8],
        ) -> Result<(), CryptoError> {
            crate::crypto::provider().rsa.encrypt(key, message, rng, out)
        }

        fn load_key(&self, key: &PrivateKey) -> Result<Arc<dyn Decrypt>, KeyError> {
            LOADED.fetch_add(1, Relaxed);
            Ok(Arc::new(CountedKey(crate::crypto::provider().rsa.load_key(key)?)))
        }
    }

    struct CountedKey(Arc<dyn Decrypt>);

    impl Decrypt for CountedKey {
        fn decrypt(&self, ciphertext: &[u8], rng: &mut dyn CryptoRng) -> Decrypted {
            USED.fetch_add(1, Relaxed);
            self.0.decrypt(ciphertext, rng)
        }
    }

    #[test]
    fn a_key_is_loaded_once_a_login_that_does_not_count_comes_first_and_time_that_is_up_ends_it() {
        let measure = Measure {
            provider: Provider { rsa: &Counted, ..crate::crypto::provider() },
            key: &PrivateKey::from_pem(include_str!("../../../tests/keys/rsa2048.pem")).unwrap(),
            suite: Suite::X25519_AES_256_GCM,
            argon2: HashParameters::new(8, 1, 1).unwrap(),
            rounds: 31,
            budget: Duration::ZERO,
        };
        let relief = measure.run(&ProgressBar::hidden()).unwrap();
        assert_eq!(LOADED.load(Relaxed), 1);
        // Two rounds, and one before them; in each the two ways, with a good login and a junk one, and the one between them.
        assert_eq!((relief.rounds, USED.load(Relaxed)), (2, 3 * 5));
    }
}
