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
    StretchedPassword, Stretching, Suite,
};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use std::sync::Arc;
use std::time::Duration;

const NOW: Moment = Moment::ORIGIN;
const USER: &str = "alice";

/// One combination, and what it is measured with.
pub(crate) struct Measure<'a> {
    pub(crate) provider: Provider,
    pub(crate) key: &'a PrivateKey,
    pub(crate) suite: Suite,
    /// What a password hash costs at the server.
    pub(crate) argon2: HashParameters,
    pub(crate) rounds: u32,
}

/// One side of the comparison.
struct Way {
    server: Arc<ServerConfig>,
    accounts: Accounts,
}

impl Measure<'_> {
    pub(crate) fn run(&self) -> Result<Relief, Failure> {
        let mut rng = StdRng::try_from_rng(&mut SysRng)
            .map_err(|error| Failure::new(format_args!("the operating system gives no randomness: {error}")))?;
        let stretching = Stretching::new("bench", &[Default::default()]).map_err(broken)?;
        let mut client = Duration::ZERO;
        let stretched = clock(&mut client, || stretching.stretch(USER, PASSWORD)).map_err(broken)?;
        let config = || ServerConfig::new(self.provider).with_suites(&[self.suite]).map_err(broken);
        let mut plain = Way { server: Arc::new(config()?), accounts: Accounts::new() };
        plain.accounts.add(USER, ["read"])?;
        plain.accounts.edit(USER, |account| account.set_password_with(PASSWORD, self.argon2))?;
        let server = config()?.with_stretching(stretching.clone()).map_err(broken)?;
        let mut relieved = Way { server: Arc::new(server), accounts: Accounts::new() };
        relieved.accounts.add(USER, ["read"])?;
        relieved.accounts.edit(USER, |account| {
            account.set_stretched(&stretched.newest());
            Ok(())
        })?;

        let mut times: [Vec<f64>; 4] = Default::default();
        // The first round is no measurement: memory is touched for the first time.
        for round in 0..=self.rounds {
            let took = [
                self.log_in(&plain, None, false, &mut rng)?,
                self.log_in(&relieved, Some(&stretched), false, &mut rng)?,
                self.log_in(&plain, None, true, &mut rng)?,
                self.log_in(&relieved, Some(&stretched), true, &mut rng)?,
            ];
            if round > 0 {
                times.iter_mut().zip(took).for_each(|(times, took)| times.push(millis(took)));
            }
        }
        let [password, stretched, password_junk, stretched_junk] = times.map(median);
        Ok(Relief {
            parameters: stretching.newest().to_string(),
            client_ms: millis(client),
            password_server_ms: password,
            stretched_server_ms: stretched,
            ratio: password / stretched,
            password_junk_ms: password_junk,
            stretched_junk_ms: stretched_junk,
        })
    }

    /// What a whole login from a fingerprint costs the server, with its look at the account; or a junk login, which does not open.
    fn log_in(
        &self,
        way: &Way,
        stretched: Option<&StretchedPassword>,
        is_junk: bool,
        rng: &mut dyn CryptoRng,
    ) -> Result<Duration, Failure> {
        let client = Arc::new(ClientConfig::new(self.provider).with_suites(&[self.suite]).map_err(broken)?);
        let public = self.key.public_key();
        let pinned = Server::pinned(public.id()).with_floor(self.suite.key_exchange);
        let key = ServerKey::load(self.key, self.provider).map_err(broken)?;
        let credential = match stretched {
            Some(password) => Credential::Stretched { user: USER, password },
            None => Credential::Password { user: USER, password: PASSWORD },
        };
        let mut time = Duration::ZERO;
        let binding = ChannelBinding::none();
        let (hello, state) = client::start(&client, &pinned, &binding, rng, NOW).map_err(broken)?;
        let (challenge, await_login) = clock(&mut time, || {
            AwaitHello::new(&way.server, &binding, NOW).read(hello, NOW)?.choose(&key)?.challenge(rng)
        })
        .map_err(broken)?;
        let trusted = state.read(&challenge, NOW).and_then(|state| state.trust(&pinned, today())).map_err(broken)?;
        let (mut login, _) = trusted.login(credential, rng).map_err(broken)?;
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
