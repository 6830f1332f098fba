//! OPAQUE-3DH over Ristretto255 with opaque-ke. Key stretching is the identity, so that no password hash is in the
//! figures.
//!
//! The server's setup is at hand; the user's record is parsed for each login, as it would come from a database.

use crate::contender::{Contender, Family, PASSWORD, Row, USER};
use crate::meter::Meter;
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialFinalization, CredentialRequest, CredentialResponse, Ristretto255, ServerLogin, ServerLoginParameters,
    ServerRegistration, ServerSetup, TripleDh, ksf,
};
use rand_core_06::OsRng;
use sha2_010::Sha512;

/// The suite of the library's own examples, without Argon2.
struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, Sha512>;
    type Ksf = ksf::Identity;
}

/// The one suite.
pub fn all() -> Vec<Box<dyn Contender>> {
    vec![Box::new(Opaque::new())]
}

/// A server with one account.
struct Opaque {
    setup: ServerSetup<Suite>,
    record: Vec<u8>,
}

impl Opaque {
    fn new() -> Self {
        let setup = ServerSetup::<Suite>::new(&mut OsRng);
        let client = ClientRegistration::<Suite>::start(&mut OsRng, PASSWORD).unwrap();
        let server = ServerRegistration::<Suite>::start(&setup, client.message, USER.as_bytes()).unwrap();
        let parameters = ClientRegistrationFinishParameters::default();
        let client = client.state.finish(&mut OsRng, PASSWORD, server.message, parameters).unwrap();
        Self { setup, record: ServerRegistration::finish(client.message).serialize().to_vec() }
    }

    /// A whole login: the client's session key and the server's, or neither.
    fn login(&self, password: &[u8], meter: &mut Meter) -> Option<(Vec<u8>, Vec<u8>)> {
        let (request, client) = meter.client(|| {
            let start = ClientLogin::<Suite>::start(&mut OsRng, password).unwrap();
            (start.message.serialize(), start.state)
        });
        meter.client_sends(USER.as_bytes());
        meter.client_sends(&request);
        let (response, server) = meter.server(|| {
            let record = ServerRegistration::<Suite>::deserialize(&self.record).unwrap();
            let request = CredentialRequest::deserialize(&request).unwrap();
            let parameters = ServerLoginParameters::default();
            let start = ServerLogin::start(&mut OsRng, &self.setup, Some(record), request, USER.as_bytes(), parameters)
                .unwrap();
            (start.message.serialize(), start.state)
        });
        meter.server_sends(&response);
        let (finalization, client_key) = meter.client(|| {
            let response = CredentialResponse::deserialize(&response).unwrap();
            let parameters = ClientLoginFinishParameters::default();
            let finish = client.finish(&mut OsRng, password, response, parameters).ok()?;
            Some((finish.message.serialize(), finish.session_key.to_vec()))
        })?;
        meter.client_sends(&finalization);
        let server_key = meter.server(|| {
            let finalization = CredentialFinalization::deserialize(&finalization).unwrap();
            let finish = server.finish(finalization, ServerLoginParameters::default()).ok()?;
            Some(finish.session_key.to_vec())
        })?;
        Some((client_key, server_key))
    }
}

impl Contender for Opaque {
    fn row(&self) -> Row {
        Row {
            name: "OPAQUE-3DH, Ristretto255 (opaque-ke)".to_owned(),
            family: Family::Peer,
            round_trips: "1",
            authenticates: "both: password",
            forward_secret: "yes",
        }
    }

    fn once(&mut self, meter: &mut Meter) {
        let (client, server) = self.login(PASSWORD, meter).unwrap();
        assert_eq!(client, server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::WRONG;

    #[test]
    fn a_wrong_password_is_refused() {
        assert!(Opaque::new().login(WRONG, &mut Meter::default()).is_none());
    }

    #[test]
    fn each_login_has_a_key_of_its_own() {
        let opaque = Opaque::new();
        let keys = [(); 2].map(|()| opaque.login(PASSWORD, &mut Meter::default()).unwrap());
        assert_ne!(keys[0], keys[1]);
    }
}
