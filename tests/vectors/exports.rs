//! The vectors of exported keys, at the bounds of what may be asked for. The session is that of a vector of a login.

use super::cases::cases;
use super::primitives::{expand, unhex};
use super::run::session;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The login's vector.
const LOGIN: &str = "proof-rsa2048-x25519-aes256gcm";

/// Key material that an application on top asks for. Bytes are in hex.
#[derive(Debug, Serialize)]
pub struct Vector {
    pub name: &'static str,
    about: &'static str,
    /// The vector whose `exporter` it is expanded from.
    login: &'static str,
    exporter: String,
    label: String,
    context: String,
    length: usize,
    exported: String,
}

/// Both ends and the formula of PROTOCOL.md, "Key schedule", agree on each.
pub fn exports() -> Vec<Vector> {
    let login = cases().into_iter().find(|case| case.name == LOGIN).unwrap();
    let (vector, [client, server]) = session(&login);
    let exporter = vector.secrets.unwrap().get("exporter").unwrap().to_owned();
    let vector = |name, about, label: &str, context: &[u8], length| {
        let (mut ours, mut theirs) = (vec![0; length], vec![0; length]);
        client.info.export(label, context, &mut ours).unwrap();
        server.info.export(label, context, &mut theirs).unwrap();
        let exported = expand(&unhex(&exporter), &format!("export {label}"), &Sha256::digest(context), length);
        assert_eq!((&ours, &theirs), (&exported, &exported), "{name}");
        let (label, context, exported) = (label.to_owned(), hex::encode(context), hex::encode(exported));
        Vector { name, about, login: LOGIN, exporter: exporter.clone(), label, context, length, exported }
    };
    vec![
        vector("no-context", "no context is the empty context", "example", b"", 32),
        vector("other-label", "another label gives another key", "example ", b"", 32),
        vector("shortest", "one byte, under a label of one byte", "x", b"y", 1),
        vector("utf-8", "a label is UTF-8, and a context any bytes", "schl\u{fc}ssel \u{1f511}", &[0, 0xff], 48),
        vector("longest-label", "a label of 255 bytes, a context of 1000", &"label".repeat(51), &[7; 1000], 33),
        vector("longest", "8160 bytes, all that HKDF-Expand gives", "example", b"context", 8160),
    ]
}
