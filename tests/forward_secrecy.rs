//! What a stolen private key opens, and what it does not (SECURITY.md, "Later theft of the private key").
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/provider.rs"]
mod provider;

use countersign::crypto::Provider;
use countersign::{
    ChannelBinding, ClientConfig, Credential, Error, Grant, KeyExchange, Moment, PrivateKey, Server, ServerConfig,
    ServerKey, Suite, UnixTime, client, server,
};
use provider::provider;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;

const ALICE: Credential<'static> = Credential::Password { user: "alice", password: b"correct horse" };

fn key() -> PrivateKey {
    PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap()
}

/// A client logs in to whoever has `key`, up to the frame with its credential; the server keeps that and everything else.
fn login(
    provider: Provider,
    key: &ServerKey,
    suite: Suite,
) -> (client::AwaitVerdict, server::Open<server::SealedLogin>) {
    let (binding, now, mut rng) = (ChannelBinding::none(), Moment::ORIGIN, StdRng::seed_from_u64(1));
    let trust = Server::pinned(key.public_key().id()).with_floor(KeyExchange::Rsa);
    let config = Arc::new(ClientConfig::new(provider).with_suites(&[suite]).unwrap());
    let (hello, client) = client::start(&config, &trust, &binding, &mut rng, now).unwrap();
    let config = Arc::new(ServerConfig::new(provider).with_suites(&[suite]).unwrap());
    let server = server::AwaitHello::new(&config, &binding, now).read(hello, now).unwrap();
    let (challenge, server) = server.choose(key).unwrap().challenge(&mut rng).unwrap();
    let trusted = client.read(&challenge, now).unwrap().trust(&trust).unwrap();
    let (frame, client) = trusted.login(ALICE, &mut rng).unwrap();
    (
        client,
        match server.read(frame, now).unwrap().admit() {
            server::Admitted::Sealed(open) => open,
            server::Admitted::Opened(_) => panic!("its secret came with the hello"),
        },
    )
}

#[test]
fn whoever_forged_a_challenge_is_refused_by_the_client_and_reads_its_credential_only_with_the_stolen_key() {
    let provider = provider();
    let mut rng = StdRng::seed_from_u64(2);
    // What somebody has who answers in the server's place: the public key, and no private one.
    let forger = ServerKey::public_only(key().public_key().clone());

    // Now: nothing opens, and the client notices.
    let (client, open) = login(provider, &forger, Suite::X25519_AES_256_GCM);
    let claim = open.run(&mut rng);
    assert_eq!(claim.credential().user(), Some(""), "a stand-in");
    let refusal = claim.accept(Grant::new("alice", [""; 0]).unwrap()).unwrap_err();
    assert_eq!(
        client.read(&refusal.frame, Moment::ORIGIN, UnixTime::from_secs(1)).unwrap_err(),
        Error::VerdictNotAuthentic
    );

    // Later: the limit that the documents state, so that nobody claims more.
    let (_, open) = login(provider, &forger, Suite::X25519_AES_256_GCM);
    let stolen = provider.rsa.load_key(&key()).unwrap();
    let secret = stolen.decrypt(open.ciphertext(), &mut rng);
    assert_eq!(open.answer(secret).credential().user(), Some("alice"));
}
