//! SCRAM-SHA-256 (RFC 7677) with rsasl.
//!
//! The server has the salted keys of the account and never hashes a password. The client hashes it with PBKDF2, unless
//! it kept the result of the last login: a row each.

use crate::contender::{Contender, Family, PASSWORD, Row, USER};
use crate::meter::Meter;
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::scram::properties::{SaltedPassword, ScramStoredPassword};
use rsasl::mechanisms::scram::tools;
use rsasl::mechname::Mechname;
use rsasl::prelude::{SASLClient, SASLConfig, SASLServer, SessionError, State, Validation};
use rsasl::property::{AuthId, Password};
use rsasl::validate::{Validate, ValidationError};
use sha2_010::{Digest, Sha256};
use std::sync::Arc;

/// The least that RFC 7677 allows.
const ITERATIONS: u32 = 4096;
const SALT: &[u8; 16] = b"sixteen of salt.";
const MECHANISM: &[u8] = b"SCRAM-SHA-256";

/// A client that hashes, and one that kept the result.
pub fn all() -> Vec<Box<dyn Contender>> {
    vec![Box::new(Scram::new(PASSWORD, false)), Box::new(Scram::new(PASSWORD, true))]
}

struct Scram {
    client: Arc<SASLConfig>,
    server: Arc<SASLConfig>,
    cached: bool,
}

impl Scram {
    /// A server that takes [`PASSWORD`], and a client that knows `password`.
    fn new(password: &'static [u8], cached: bool) -> Self {
        let client = Client { password, salted: cached.then(|| salt(password)) };
        Self {
            client: SASLConfig::builder().with_defaults().with_callback(client).unwrap(),
            server: SASLConfig::builder().with_defaults().with_callback(Server::new(PASSWORD)).unwrap(),
            cached,
        }
    }

    /// A whole login: whom the server let in, if the client took the server's proof.
    fn login(&self, meter: &mut Meter) -> Option<String> {
        let mechanism = Mechname::parse(MECHANISM).unwrap();
        let (message, mut client) = meter.client(|| {
            let mut session = SASLClient::new(self.client.clone()).start_suggested(&[mechanism]).unwrap();
            let mut out = Vec::new();
            session.step(None, &mut out).unwrap();
            (out, session)
        });
        meter.client_sends(&message);
        let (message, mut server) = meter.server(|| {
            let mut session = SASLServer::<Principal>::new(self.server.clone()).start_suggested(mechanism).unwrap();
            let mut out = Vec::new();
            session.step(Some(&message), &mut out).unwrap();
            (out, session)
        });
        meter.server_sends(&message);
        let message = meter.client(|| {
            let mut out = Vec::new();
            client.step(Some(&message), &mut out).unwrap();
            out
        });
        meter.client_sends(&message);
        let (message, principal) = meter.server(|| {
            let mut out = Vec::new();
            server.step(Some(&message), &mut out).unwrap();
            (out, server.validation())
        });
        meter.server_sends(&message);
        let end = meter.client(|| client.step(Some(&message), &mut Vec::new()));
        if matches!(end, Ok(State::Finished(_))) { principal } else { None }
    }
}

impl Contender for Scram {
    fn row(&self) -> Row {
        let how = if self.cached { "salted password kept" } else { "PBKDF2 at the client" };
        Row {
            name: format!("SCRAM-SHA-256, {ITERATIONS} iterations, {how} (rsasl)"),
            family: Family::Peer,
            round_trips: "2",
            authenticates: "both: password",
            forward_secret: "no session key",
        }
    }

    fn once(&mut self, meter: &mut Meter) {
        assert_eq!(self.login(meter).as_deref(), Some(USER));
    }
}

/// `PBKDF2[HMAC-SHA-256](password, salt, iterations)`
fn salt(password: &[u8]) -> Vec<u8> {
    let mut salted = Default::default();
    tools::hash_password::<Sha256>(password, ITERATIONS, SALT, &mut salted);
    salted.to_vec()
}

/// Whom the server lets in.
struct Principal;

impl Validation for Principal {
    type Value = String;
}

/// The client's answers to what the mechanism asks.
struct Client {
    password: &'static [u8],
    salted: Option<Vec<u8>>,
}

impl SessionCallback for Client {
    fn callback(&self, _: &SessionData, _: &Context<'_>, request: &mut Request<'_>) -> Result<(), SessionError> {
        request.satisfy::<AuthId>(USER)?;
        if let Some(salted) = &self.salted {
            request.satisfy::<SaltedPassword>(salted)?;
        }
        request.satisfy::<Password>(self.password)?;
        Ok(())
    }
}

/// The server's, from its one account.
struct Server {
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Server {
    fn new(password: &[u8]) -> Self {
        let (client_key, server_key) = tools::derive_keys::<Sha256>(&salt(password));
        Self { stored_key: Sha256::digest(client_key).to_vec(), server_key: server_key.to_vec() }
    }
}

impl SessionCallback for Server {
    fn callback(&self, _: &SessionData, context: &Context<'_>, request: &mut Request<'_>) -> Result<(), SessionError> {
        if context.get_ref::<AuthId>() == Some(USER) {
            let account = ScramStoredPassword::new(ITERATIONS, SALT, &self.stored_key, &self.server_key);
            request.satisfy::<ScramStoredPassword<'_>>(&account)?;
        }
        Ok(())
    }

    fn validate(
        &self,
        _: &SessionData,
        context: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        // Asked only where the proof was good.
        validate.with::<Principal, _>(|| Ok(context.get_ref::<AuthId>().unwrap_or_default().to_owned()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::WRONG;

    #[test]
    fn a_wrong_password_is_refused() {
        for cached in [false, true] {
            assert_eq!(Scram::new(WRONG, cached).login(&mut Meter::default()), None);
            assert_eq!(Scram::new(PASSWORD, cached).login(&mut Meter::default()).as_deref(), Some(USER));
        }
    }
}
