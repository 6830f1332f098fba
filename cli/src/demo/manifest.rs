//! An identity that signs which keys a server has: clients follow it, and nobody else.

use super::print::item;
use super::stage::{AGAIN, ALICE, FULL, LEFT, LEFT_TWICE, PASSWORD, Scene, Stage, USER, check, connector, loaded, now};
use crate::crypto;
use crate::failure::Failure;
use countersign::{
    Identity, KeyExchange, KeySet, ManifestBody, ManifestKey, PrivateKey, Server, SignedManifest, SigningKey, UnixTime,
};
use std::path::Path;

const MONTH: u64 = 30 * 24 * 3600;

pub(super) fn play(folder: &Path) -> Result<(), Failure> {
    let mut stage =
        Stage::set_up(folder, "A manifest: clients know an identity, and follow its server from key to key.")?;
    let identity = SigningKey::generate(crypto::provider())?;
    let pin = identity.public_key().id();
    item("identity", format_args!("{pin}, kept in a safe; all that clients are given"))?;
    let (old, new, other) = (stage.key("the server's, old")?, stage.key("the server's, new")?, stage.key("a thief's")?);
    let users = stage.users(|account| account.set_password(PASSWORD.as_bytes()))?;
    let served = |key: &PrivateKey, manifest: &SignedManifest| -> Result<KeySet, Failure> {
        KeySet::new(loaded(key)?).with_manifest(manifest.clone()).map_err(Failure::new)
    };
    let (first, second) = (sign(&identity, 1, &old)?, sign(&identity, 2, &new)?);
    let forged = sign(&SigningKey::generate(crypto::provider())?, 3, &other)?;
    let before = stage.serve("the right one, with manifest 1 for its old key", served(&old, &first)?, &users)?;
    let after = stage.serve("the right one later, with manifest 2 for its new key", served(&new, &second)?, &users)?;
    let thief = stage.serve("a thief, with the old key and manifest 1", served(&old, &first)?, &users)?;
    let forger = stage.serve("a forger, with a manifest of their own", served(&other, &forged)?, &users)?;
    // What it learns is kept: in memory here, and in a file by `login`.
    let known = Identity::pinned(pin, crypto::provider());
    let client = || connector(Server::trusting(known.clone()));

    let met = Scene {
        title: "First contact: the identity speaks for the key",
        host: &before,
        connector: client(),
        credential: ALICE,
        alter: None,
        explain: true,
        error: None,
        frames: FULL,
        log: &["event=login-accepted user=\"alice\""],
        moral: "The client was given the identity's fingerprint, and has never seen this key. The manifest came in the clear, and only \
                the identity's private half, which is not at the server, could have signed it.",
    };
    stage.play(&met)?;

    let rotated = Scene {
        title: "The server has a new key, and the client was told nothing",
        host: &after,
        connector: client(),
        explain: false,
        frames: AGAIN,
        moral: "Manifest 2 names the new key. As the client knew a key of this server, it wanted a proof before it sent a password, and \
                got it on a second connection. (`key rotate` announces keys before they are used, so that it takes one.)",
        ..met
    };
    let seen = stage.play(&rotated)?;
    check(seen.is_proved, "the server proves that it holds the new key")?;

    let rolled_back = Scene {
        title: "A thief of the old key comes with the old manifest",
        host: &thief,
        connector: client(),
        error: Some("manifest-rollback"),
        frames: LEFT_TWICE,
        log: &["event=handshake-failed", "before its ClientLogin"],
        moral: "The signature is right, and the number goes back: the client has seen manifest 2. It asked once more, as the right \
                server could have changed in that very moment. Nothing was sent that a thief could use.",
        ..rotated
    };
    stage.play(&rolled_back)?;

    let forged = Scene {
        title: "Somebody signs a manifest with an identity of their own",
        host: &forger,
        connector: client(),
        error: Some("manifest-other-identity"),
        frames: LEFT,
        moral: "Its number is higher, and its identity is not the one that the client was given.",
        ..rolled_back
    };
    stage.play(&forged)?;
    stage.finish(
        vec![before, after, thief, forger],
        &[("the user name", USER.as_bytes()), ("the password", PASSWORD.as_bytes())],
    )
}

fn sign(identity: &SigningKey, sequence: u64, key: &PrivateKey) -> Result<SignedManifest, Failure> {
    let (issued, expires) = (now(), UnixTime::from_secs(now().as_secs().saturating_add(MONTH)));
    let (id, floor) = (key.public_key().id(), KeyExchange::X25519.into());
    let keys = vec![ManifestKey { id, not_before: issued, not_after: expires, floor }];
    let body = ManifestBody { sequence, issued, expires, names: Vec::new(), keys };
    body.sign(identity, crypto::provider()).map_err(Failure::new)
}
