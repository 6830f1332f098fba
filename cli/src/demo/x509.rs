//! Certificates: an authority vouches for a server, and for whom it does not.

mod authority;

use super::print::item;
use super::stage::{ALICE, FULL, LEFT, PASSWORD, Scene, Stage, USER, connector, loaded};
use crate::failure::Failure;
use authority::Authority;
use countersign::crypto::CertificateChain;
use countersign::x509::{Roots, X509};
use countersign::{PrivateKey, Server, ServerKey};
use std::path::Path;

const NAME: &str = "db.example";

pub(super) fn play(folder: &Path) -> Result<(), Failure> {
    let mut stage = Stage::set_up(folder, "Certificates: clients know an authority, and the name of their server.")?;
    let (authority, namesake) = (Authority::new("Example CA")?, Authority::new("Example CA")?);
    item(
        "authority",
        "\"Example CA\"; its certificate is all that clients are given. And another one of the same name",
    )?;
    let (old, new, other) =
        (stage.key("the server's, old")?, stage.key("the server's, new")?, stage.key("somebody else's")?);
    let users = stage.users(|account| account.set_password(PASSWORD.as_bytes()))?;
    let with = |key: &PrivateKey, der: Vec<u8>| -> Result<ServerKey, Failure> {
        let chain = CertificateChain::parse(&der).map_err(Failure::new)?;
        loaded(key)?.with_certificates(chain).map_err(Failure::new)
    };
    let (these_years, long_ago) = ((2020, 2099), (2020, 2021));
    let first = stage.serve("the right one", with(&old, authority.issue(NAME, &old, these_years)?)?, &users)?;
    let renewed =
        stage.serve("the right one, with a new key", with(&new, authority.issue(NAME, &new, these_years)?)?, &users)?;
    let forged = with(&other, namesake.issue(NAME, &other, these_years)?)?;
    let forger = stage.serve("one with a certificate of the other authority", forged, &users)?;
    let neighbour = with(&other, authority.issue("mallory.example", &other, these_years)?)?;
    let neighbour = stage.serve("one of the same authority, for mallory.example", neighbour, &users)?;
    let late = with(&old, authority.issue(NAME, &old, long_ago)?)?;
    let late = stage.serve("the right one, with a certificate of long ago", late, &users)?;
    let client = || -> Result<_, Failure> {
        let roots = Roots::parse(authority.certificate()).map_err(Failure::new)?;
        Ok(connector(Server::trusting(X509::new(roots).for_name(NAME).map_err(Failure::new)?)))
    };

    let met = Scene {
        title: "First contact: the authority vouches for the key",
        host: &first,
        connector: client()?,
        credential: ALICE,
        alter: None,
        explain: true,
        error: None,
        frames: FULL,
        log: &["event=login-accepted user=\"alice\""],
        moral: "The client has never seen this key. Its certificate is for db.example, valid now, and signed by the authority that the \
                client was told to believe. Whoever watches sees the certificates, and so the server's names.",
    };
    stage.play(&met)?;

    let followed = Scene {
        title: "The server has a new key, and a certificate for it",
        host: &renewed,
        connector: client()?,
        explain: false,
        moral: "Nobody had to tell the client. So it is whenever the authority is mistaken, too: it can vouch for anybody, and a pin can't.",
        ..met
    };
    stage.play(&followed)?;

    let forged = Scene {
        title: "Somebody in the middle, with a certificate for db.example by another authority of that name",
        host: &forger,
        connector: client()?,
        error: Some("certificate-signature"),
        frames: LEFT,
        log: &["event=handshake-failed", "before its ClientLogin"],
        moral: "A name is written quickly; the signature is not that of the client's authority. The client left before its ClientLogin.",
        ..followed
    };
    stage.play(&forged)?;

    let named = Scene {
        title: "Somebody in the middle, with a good certificate for their own name",
        host: &neighbour,
        connector: client()?,
        error: Some("certificate-name"),
        moral: "The authority vouches for mallory.example, which is somebody else.",
        ..forged
    };
    stage.play(&named)?;

    let expired = Scene {
        title: "The right server, with a certificate that has expired",
        host: &late,
        connector: client()?,
        error: Some("certificate-expired"),
        moral: "No date is overlooked: `serve` warns of it when it starts. Nobody is asked whether a certificate was revoked, so let them \
                live for a short time.",
        ..named
    };
    stage.play(&expired)?;
    stage.finish(
        vec![first, renewed, forger, neighbour, late],
        &[("the user name", USER.as_bytes()), ("the password", PASSWORD.as_bytes())],
    )
}
