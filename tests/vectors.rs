//! The vectors of `tests/vectors/`: made here, checked here, and printed into PROTOCOL.md from here.
//!
//! The oracle in `vectors/oracle.rs` computes every byte and every secret from PROTOCOL.md and the primitives' crates
//! alone; the library's machines must agree with it, and both with the files. To write the files anew, after a change
//! of the protocol: `UPDATE_VECTORS=1 cargo test --test vectors`.
//!
//! Only the `rustcrypto` provider draws all its randomness from what is handed in, so only it can make these bytes;
//! `tests/providers.rs` has the other read them.
#![cfg(all(feature = "rustcrypto", feature = "ml-kem"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects, unreachable_pub)]

#[path = "vectors/oracle.rs"]
mod oracle;

use countersign::crypto::rustcrypto::provider;
use countersign::{
    ChannelBinding, ClientConfig, Credential, CredentialKind, Error, Grant, KeyExchange, Moment, PrivateKey, Reason,
    Server, ServerConfig, ServerKey, Session, Suite, TicketKeys, UnixTime, client, server,
};
use oracle::{Inputs, Script, Secrets};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Vector {
    name: String,
    about: String,
    suite: String,
    server_key: String,
    inputs: Inputs,
    /// The frames as they arrived: where one was altered on the way, it is the altered one.
    frames: Vec<String>,
    secrets: Option<Secrets>,
    records: Option<Records>,
    outcome: Outcome,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Records {
    /// Client to server: one Data, one KeyUpdate, one Data under the next key, one Close.
    client: Vec<String>,
    /// Server to client: one Data, one Close.
    server: Vec<String>,
    export_label: String,
    export_context: String,
    exported: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Outcome {
    /// Who refuses first, by which rule; `null` for an accept.
    rule: Option<String>,
    /// What the client ends with: `accepted`, `refused` (a reject that opened), or an error.
    client: String,
    /// What the server's log says: `accepted`, the reason for a refusal, or why it closed; `null` if it is left waiting.
    server: Option<String>,
}

/// What makes one vector differ from the plain accept.
struct Case {
    name: &'static str,
    about: &'static str,
    rule: Option<&'static str>,
    key: &'static str,
    client_suites: Vec<Suite>,
    server_suites: Vec<Suite>,
    server_kinds: Vec<CredentialKind>,
    credential: Credential<'static>,
    knows_key: bool,
    pins_other: bool,
    floor: KeyExchange,
    /// Alters a frame on the way; it is told which one (1 to 4).
    alter: fn(usize, &mut Vec<u8>),
    /// Replaces the padded credential by these bytes, sealed as the client would.
    plaintext: Option<fn() -> Vec<u8>>,
}

const ALICE: Credential<'static> = Credential::Password { user: "alice", password: b"correct horse battery staple" };
const PROLOGUE: &[u8] = b"example/1";

impl Case {
    fn accept(name: &'static str, about: &'static str, suite: Suite) -> Self {
        Self {
            name,
            about,
            rule: None,
            key: "rsa2048",
            client_suites: vec![suite],
            server_suites: vec![suite],
            server_kinds: CredentialKind::ALL.to_vec(),
            credential: ALICE,
            knows_key: false,
            pins_other: false,
            floor: KeyExchange::Rsa,
            alter: |_, _| {},
            plaintext: None,
        }
    }

    fn refuse(name: &'static str, rule: &'static str, about: &'static str) -> Self {
        Self::refuse_under(Suite::X25519_AES_256_GCM, name, rule, about)
    }

    fn refuse_under(suite: Suite, name: &'static str, rule: &'static str, about: &'static str) -> Self {
        Self { rule: Some(rule), ..Self::accept(name, about, suite) }
    }

    fn offers(&self, exchange: KeyExchange) -> bool {
        self.client_suites.iter().any(|suite| suite.key_exchange == exchange)
    }
}

fn without_ml_kem() -> Vec<Suite> {
    Suite::ALL.into_iter().filter(|suite| suite.key_exchange != KeyExchange::X25519MlKem768).collect()
}

fn cases() -> Vec<Case> {
    let x25519 = Suite::X25519_AES_256_GCM;
    vec![
        Case::accept("rsa2048-x25519-aes256gcm", "the exchange printed in PROTOCOL.md", x25519),
        Case {
            key: "rsa3072",
            ..Case::accept("rsa3072-x25519-chacha20poly1305", "a 3072-bit key", Suite::X25519_CHACHA20_POLY1305)
        },
        Case::accept("rsa2048-rsa-aes256gcm", "RSA alone", Suite::RSA_AES_256_GCM),
        Case {
            key: "rsa4096",
            credential: Credential::Token(b"an-opaque-token"),
            ..Case::accept("rsa4096-rsa-chacha20poly1305", "RSA alone, a token", Suite::RSA_CHACHA20_POLY1305)
        },
        Case::accept(
            "rsa2048-x25519mlkem768-aes256gcm",
            "X25519MLKEM768, the only key exchange offered",
            Suite::X25519MLKEM768_AES_256_GCM,
        ),
        Case {
            key: "rsa3072",
            client_suites: Suite::DEFAULT.to_vec(),
            ..Case::accept(
                "rsa3072-x25519mlkem768-chacha20poly1305",
                "the client offers X25519MLKEM768 and X25519",
                Suite::X25519MLKEM768_CHACHA20_POLY1305,
            )
        },
        Case {
            knows_key: true,
            client_suites: without_ml_kem(),
            server_suites: without_ml_kem(),
            ..Case::accept("known-key", "the client listed the key's id, so the server leaves the key out", x25519)
        },
        Case {
            client_suites: vec![Suite::RSA_AES_256_GCM],
            ..Case::refuse("s8-no-common-suite", "S8", "the client offers RSA alone; the server wants X25519")
        },
        Case {
            // The first two coefficients of the encapsulation key become 4095, which is not below 3329. The share is the
            // last thing before four empty fields.
            alter: |frame, bytes| {
                if frame == 1 {
                    let at = bytes.len() - 1216 - 2 - "db.example".len() - 1 - 2 - 2;
                    bytes[at..at + 3].fill(0xff);
                }
            },
            ..Case::refuse_under(
                Suite::X25519MLKEM768_AES_256_GCM,
                "s9-encapsulation-key",
                "S9",
                "the client's ML-KEM encapsulation key has coefficients that are not reduced",
            )
        },
        Case {
            // The suite's low byte, behind the header and the version.
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes[6] ^= 3;
                }
            },
            ..Case::refuse("c4-suite-not-offered", "C4", "the picked suite was changed from 0201 to 0202 on the way")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes[3 + 2 + 2 + 32] ^= 1;
                }
            },
            ..Case::refuse("c8-key-id-mismatch", "C8", "a bit of the key id was flipped on the way")
        },
        Case {
            // The X25519 part of the server's share, before the credential kinds.
            alter: |frame, bytes| {
                if frame == 2 {
                    let at = bytes.len() - 32 - 3;
                    bytes[at..at + 32].fill(0);
                }
            },
            ..Case::refuse_under(
                Suite::X25519MLKEM768_AES_256_GCM,
                "c9-all-zero-output",
                "C9",
                "the X25519 part of the server's share became zeros on the way",
            )
        },
        Case { pins_other: true, ..Case::refuse("t1-untrusted-key", "T1", "the client has pinned another key") },
        Case {
            client_suites: vec![x25519, Suite::RSA_AES_256_GCM],
            server_suites: vec![Suite::RSA_AES_256_GCM],
            floor: KeyExchange::X25519,
            ..Case::refuse("t2-under-floor", "T2", "the server picks RSA alone; the pin's floor is X25519")
        },
        Case {
            server_kinds: vec![CredentialKind::Token],
            ..Case::refuse("t3-kind-not-taken", "T3", "the server takes tokens; the client has a password")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes.push(0);
                    let length = u16::try_from(bytes.len() - 3).unwrap().to_be_bytes();
                    bytes[1..3].copy_from_slice(&length);
                }
            },
            ..Case::refuse("l2-trailing-byte", "L2", "one byte too many in the ClientLogin")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes[5..5 + 256].fill(0xff);
                }
            },
            ..Case::refuse("l3-ciphertext-range", "L3", "the RSA ciphertext is not below the modulus")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes.pop();
                    let length = u16::try_from(bytes.len() - 3).unwrap().to_be_bytes();
                    bytes[1..3].copy_from_slice(&length);
                    bytes[5 + 256 + 1] -= 1;
                }
            },
            ..Case::refuse("l4-sealed-length", "L4", "the sealed credential is one byte short of 256 and a tag")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes[5 + 255] ^= 1;
                }
            },
            ..Case::refuse("l6-not-decrypted", "L6", "a bit of the RSA ciphertext was flipped: OAEP fails")
        },
        Case {
            // The server's nonce as the client saw it: the OAEP plaintext is bound to another transcript.
            alter: |frame, bytes| {
                if frame == 2 {
                    bytes[7] ^= 1;
                }
            },
            ..Case::refuse("l6-other-challenge", "L6", "a bit of the challenge was flipped on the way to the client")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 3 {
                    bytes[5 + 256 + 2] ^= 1;
                }
            },
            ..Case::refuse("l7-credential-altered", "L7", "a bit of the sealed credential was flipped")
        },
        Case {
            plaintext: Some(|| oracle::padded(1, "alice", b"correct horse battery staple", |pad| pad[0] = 1)),
            ..Case::refuse("l8-padding", "L8", "the padding is not all zeros")
        },
        Case {
            plaintext: Some(|| oracle::padded(1, "", b"correct horse battery staple", |_| {})),
            ..Case::refuse("l8-empty-user", "L8", "a password without a user name")
        },
        Case {
            server_kinds: vec![CredentialKind::Password],
            plaintext: Some(|| oracle::padded(2, "", b"an-opaque-token", |_| {})),
            ..Case::refuse("l9-kind-not-taken", "L9", "a token, which the server said it does not take")
        },
        Case {
            credential: Credential::Password { user: "alice", password: b"wrong" },
            ..Case::refuse("l10-wrong-password", "L10", "a wrong password")
        },
        Case {
            credential: Credential::Password { user: "mallory", password: b"correct horse battery staple" },
            ..Case::refuse("l10-unknown-user", "L10", "an unknown user")
        },
        Case {
            credential: Credential::Token(b"another-token"),
            ..Case::refuse("l10-unknown-token", "L10", "an unknown token")
        },
        Case {
            alter: |frame, bytes| {
                if frame == 4 {
                    bytes[3] ^= 1;
                }
            },
            ..Case::refuse("v2-verdict-altered", "V2", "a bit of the verdict was flipped")
        },
    ]
}

#[test]
fn the_machines_and_the_oracle_agree_with_every_vector_file() {
    let folder = folder();
    let update = std::env::var_os("UPDATE_VECTORS").is_some();
    let mut names = Vec::new();
    for case in cases() {
        let vector = run(&case);
        let text = serde_json::to_string_pretty(&vector).unwrap() + "\n";
        let path = folder.join(format!("{}.json", case.name));
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let filed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(serde_json::from_str::<Vector>(&filed).unwrap(), vector, "{} has drifted", case.name);
        names.push(format!("{}.json", case.name));
    }
    for suite in [Suite::X25519MLKEM768_AES_256_GCM, Suite::X25519_AES_256_GCM, Suite::RSA_CHACHA20_POLY1305] {
        let vector = resumed(suite);
        let path = folder.join(format!("{}.json", vector.name));
        if update {
            std::fs::write(&path, serde_json::to_string_pretty(&vector).unwrap() + "\n").unwrap();
        }
        let filed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(serde_json::from_str::<Resumed>(&filed).unwrap(), vector, "{} has drifted", vector.name);
        names.push(format!("{}.json", vector.name));
    }
    let filed = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in filed.filter(|name| name.ends_with(".json")) {
        assert!(names.contains(&name), "{name} belongs to no case");
    }
}

#[test]
fn the_exchange_in_protocol_md_is_the_vector() {
    let vector = run(&cases()[0]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- exchange:begin").unwrap();
    let (marker, rest) = rest.split_once("-->\n").unwrap();
    let (_, after) = rest.split_once("<!-- exchange:end -->").unwrap();
    let fresh = format!("{before}<!-- exchange:begin{marker}-->\n{}<!-- exchange:end -->{after}", in_hex(&vector));
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), fresh, "PROTOCOL.md's exchange has drifted");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn verify(credential: Credential<'_>) -> Result<Grant, Reason> {
    match credential {
        Credential::Password { user: "alice", password: b"correct horse battery staple" } => {
            Ok(Grant::new("alice", ["read", "write"]).unwrap())
        }
        Credential::Password { user: "alice", .. } => Err(Reason::WrongPassword),
        Credential::Token(b"an-opaque-token") => Ok(Grant::new("robot", [""; 0]).unwrap()),
        Credential::Token(_) => Err(Reason::UnknownToken),
        _ => Err(Reason::UnknownUser),
    }
}

/// Runs a case through both machines, checks it against the oracle, and gives the vector.
fn run(case: &Case) -> Vector {
    let key = load(case.key);
    let hybrid = case.offers(KeyExchange::X25519MlKem768);
    let inputs = Inputs::derive(case.name, case.key, &case.credential, PROLOGUE, case.knows_key, hybrid);
    let mut vector = Vector {
        name: case.name.to_owned(),
        about: case.about.to_owned(),
        suite: format!("{:04x}", case.server_suites[0].number()),
        server_key: format!("tests/keys/{}.pem", case.key),
        inputs,
        frames: Vec::new(),
        secrets: None,
        records: None,
        outcome: Outcome { rule: case.rule.map(str::to_owned), client: String::new(), server: None },
    };
    let end = exchange(case, &key, &mut vector);
    if let Some((mut client, mut server)) = end {
        vector.records = Some(records(&mut client, &mut server));
    }
    if vector.frames.len() >= 3 {
        let secrets = oracle::secrets(&vector.inputs, &vector.suite, &vector.frames);
        if case.rule.is_none() {
            oracle::check(&secrets, &vector.suite, &vector.frames, &vector.records.as_ref().unwrap().client);
            assert_eq!(vector.records.as_ref().unwrap().exported, oracle::exported(&secrets));
        }
        if vector.frames.len() == 4 && case.rule != Some("V2") {
            let opens = oracle::verdict(&secrets, &vector.suite, &vector.frames[3]).is_some();
            if case.plaintext.is_some() {
                // The client that really sealed this plaintext opens the reject; ours had sealed another.
                vector.outcome.client = "refused".to_owned();
            }
            // L7's client has another transcript than its altered frame gives, so it alone can't open the verdict.
            let expected = vector.outcome.client != "verdict not authentic" || case.rule == Some("L7");
            assert_eq!(opens, expected, "{}", case.name);
        }
        vector.secrets = Some(secrets);
    }
    vector
}

/// Both machines, frame by frame. Gives both sessions if the login was accepted.
fn exchange(case: &Case, key: &PrivateKey, vector: &mut Vector) -> Option<(Session, Session)> {
    let provider = provider();
    let now = Moment::ORIGIN;
    let inputs = vector.inputs.clone();
    let (mut drawn, mut answered) = (vec![&inputs.client_nonce], vec![&inputs.server_nonce, &inputs.fallback]);
    drawn.extend(case.offers(KeyExchange::X25519).then_some(&inputs.client_x25519));
    drawn.extend(&inputs.client_x25519mlkem768);
    answered.extend(match case.server_suites[0].key_exchange {
        KeyExchange::X25519MlKem768 => inputs.server_x25519mlkem768.as_ref(),
        _ => Some(&inputs.server_x25519),
    });
    let (mut client_rng, mut server_rng) = (Script::new(&drawn), Script::new(&answered));
    let mut login_rng = Script::new(&[&inputs.rsa_secret, &inputs.oaep_seed]);
    let binding = ChannelBinding::none();
    let config = ClientConfig::new(provider).with_suites(&case.client_suites).unwrap();
    let config = Arc::new(config.with_prologue(PROLOGUE).unwrap());
    let pinned = if case.pins_other { load("other2048") } else { load(case.key) };
    let trust = match case.knows_key {
        true => Server::key(pinned.public_key().clone()),
        false => Server::pinned(pinned.public_key().id()),
    };
    let trust = trust.with_floor(case.floor).with_name("db.example").unwrap();
    let (frame, challenged) = client::start(&config, &trust, &binding, &mut client_rng, now).unwrap();
    let hello = cross(case, vector, frame);

    let config = ServerConfig::new(provider).with_suites(&case.server_suites).unwrap();
    let config = config.with_prologue(PROLOGUE).unwrap().with_credential_kinds(&case.server_kinds).unwrap();
    let waiting = server::AwaitHello::new(&Arc::new(config), &binding, now);
    let server_key = ServerKey::load(key, provider).unwrap();
    let chosen = waiting.read(hello.clone(), now);
    let (frame, waiting) = match chosen.and_then(|chosen| chosen.challenge(&server_key, &mut server_rng)) {
        Ok(challenged) => challenged,
        Err(error) => return end(vector, "disconnected", Some(in_full(&error))),
    };
    let challenge = cross(case, vector, frame);

    let login = challenged
        .read(&challenge, now)
        .and_then(|challenge| challenge.trust(&trust))
        .and_then(|trusted| trusted.login(case.credential, &mut login_rng));
    let (mut frame, verdict_waits) = match login {
        Ok(login) => login,
        Err(error) => return end(vector, &in_full(&error), None),
    };
    if let Some(plaintext) = case.plaintext {
        let frames = [&hello, &challenge].map(hex::encode);
        frame = oracle::reseal(&vector.inputs, &vector.suite, &frames, &frame, &plaintext());
    }
    let login = cross(case, vector, frame);

    let verdict = match waiting.read(login, now) {
        Ok(login) => {
            let claim = login.admit().run(&mut Script::new(&[]));
            match verify(claim.credential()) {
                Ok(grant) => claim.accept(grant),
                Err(reason) => Err(claim.reject(reason)),
            }
        }
        Err(refusal) => Err(refusal),
    };
    let (frame, server) = match verdict {
        Ok(accepted) => (accepted.frame, Ok(accepted.session)),
        Err(refusal) => (refusal.frame, Err(in_full(&refusal.reason))),
    };
    let frame = cross(case, vector, frame);
    let client = verdict_waits.read(&frame, now);
    let seen = match &client {
        Ok(_) => "accepted".to_owned(),
        Err(Error::Refused) => "refused".to_owned(),
        Err(Error::VerdictNotAuthentic) => "verdict not authentic".to_owned(),
        Err(error) => in_full(&error),
    };
    let logged = server.as_ref().map_or_else(Clone::clone, |_| "accepted".to_owned());
    end(vector, &seen, Some(logged));
    client.ok().zip(server.ok())
}

fn cross(case: &Case, vector: &mut Vector, mut frame: Vec<u8>) -> Vec<u8> {
    (case.alter)(vector.frames.len() + 1, &mut frame);
    vector.frames.push(hex::encode(&frame));
    frame
}

/// An error and what it came from, as a log prints them.
fn in_full(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", in_full(source)),
        None => error.to_string(),
    }
}

fn end(vector: &mut Vector, client: &str, server: Option<String>) -> Option<(Session, Session)> {
    let accepted = client == "accepted" && server.as_deref() == Some("accepted");
    assert_eq!(accepted, vector.outcome.rule.is_none(), "{}: {client}, {server:?}", vector.name);
    vector.outcome.client = client.to_owned();
    vector.outcome.server = server;
    None
}

fn records(client: &mut Session, server: &mut Session) -> Records {
    assert_eq!(client.info.id(), server.info.id());
    let take = |session: &mut Session, step: &dyn Fn(&mut Session, &mut Vec<u8>)| {
        let mut frame = Vec::new();
        step(session, &mut frame);
        hex::encode(frame)
    };
    let data = |text: &'static [u8]| move |s: &mut Session, out: &mut Vec<u8>| s.sealer.seal(text, out).unwrap();
    let client_records = vec![
        take(client, &data(b"whoami\n")),
        take(client, &|s, out| s.sealer.update_key(out).unwrap()),
        take(client, &data(b"quit\n")),
        take(client, &|s, out| s.sealer.close(out).unwrap()),
    ];
    let server_records = vec![take(server, &data(b"alice\n")), take(server, &|s, out| s.sealer.close(out).unwrap())];
    for (receiver, frames) in [(&mut *server, &client_records), (&mut *client, &server_records)] {
        for frame in frames {
            receiver.opener.open(&mut hex::decode(frame).unwrap()).unwrap();
        }
    }
    let mut exported = [0; 48];
    client.info.export(oracle::EXPORT_LABEL, oracle::EXPORT_CONTEXT, &mut exported).unwrap();
    Records {
        client: client_records,
        server: server_records,
        export_label: oracle::EXPORT_LABEL.to_owned(),
        export_context: hex::encode(oracle::EXPORT_CONTEXT),
        exported: hex::encode(exported),
    }
}

/// A resumption: another message flow, so another kind of file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Resumed {
    name: String,
    about: String,
    suite: String,
    inputs: oracle::ResumedInputs,
    /// ClientHello and ServerResumption.
    frames: Vec<String>,
    secrets: oracle::ResumedSecrets,
    /// What the sealed verdict opens to, without its padding's zeros.
    verdict: String,
    records: Records,
}

/// A full login that gives a ticket, and a resumption with it; the vector has the second alone.
fn resumed(suite: Suite) -> Resumed {
    let (provider, none, now) = (provider(), ChannelBinding::none(), Moment::ORIGIN);
    let today = UnixTime::from_secs(1_800_000_000);
    let name = format!("resumed-{}", suite.to_string().replace(['/', '+'], "-"));
    let key = load("rsa2048");
    let server_key = ServerKey::load(&key, provider).unwrap();
    let trust = Server::pinned(key.public_key().id()).with_floor(KeyExchange::Rsa).with_name("db.example").unwrap();
    let config = ClientConfig::new(provider).with_suites(&[suite]).unwrap().with_prologue(PROLOGUE).unwrap();
    let client_config = Arc::new(config);
    let tickets = Arc::new(TicketKeys::new(provider, std::time::Duration::from_secs(3600)));
    let config = ServerConfig::new(provider).with_suites(&[suite]).unwrap().with_prologue(PROLOGUE).unwrap();
    let server_config = Arc::new(config.with_tickets(tickets));
    let grant = || Grant::new("alice", ["read", "write"]).unwrap().with_epoch(1);

    let mut rng = Script::new(&[]);
    let (hello, client) = client::start(&client_config, &trust, &none, &mut rng, now).unwrap();
    let server = server::AwaitHello::new(&server_config, &none, now).read(hello, now).unwrap();
    let (challenge, server) = server.challenge(&server_key, &mut rng).unwrap();
    let trusted = client.read(&challenge, now).unwrap().trust(&trust).unwrap();
    let (login, client) = trusted.login(ALICE, &mut rng).unwrap();
    // Blinding draws what the RSA library likes; the vectors do not depend on it.
    let claim = server.read(login, now).unwrap().admit().run(&mut Script::new(&[]));
    let accepted = claim.accept_with_ticket(grant(), today, &mut rng).unwrap();
    let ticket = client.read(&accepted.frame, now).unwrap().info.ticket().unwrap().clone();

    let hybrid = suite.key_exchange == KeyExchange::X25519MlKem768;
    let inputs = oracle::ResumedInputs::derive(&name, PROLOGUE, &ticket.to_bytes().unwrap(), hybrid);
    let (mut drawn, mut answered) = (vec![&inputs.client_nonce], vec![&inputs.server_nonce]);
    match suite.key_exchange {
        KeyExchange::Rsa => {}
        KeyExchange::X25519 => {
            drawn.push(&inputs.client_x25519);
            answered.push(&inputs.server_x25519);
        }
        _ => {
            drawn.extend(&inputs.client_x25519mlkem768);
            answered.extend(&inputs.server_x25519mlkem768);
        }
    }
    let (mut client_rng, mut server_rng) = (Script::new(&drawn), Script::new(&answered));
    let trusted = trust.resume(&ticket).unwrap();
    let (hello, state) = client::resume(&client_config, &trust, &none, trusted, &mut client_rng, now).unwrap();
    let choice = server::AwaitHello::new(&server_config, &none, now).read(hello.clone(), now).unwrap();
    let claim = choice.ticket(&server_key, today).unwrap();
    let accepted = choice.resume(claim, grant(), today, &mut server_rng).unwrap();
    let (frame, mut server) = (accepted.frame, accepted.session);
    let client::Answer::Resumed(mut client) = state.read(&frame, now).unwrap() else { panic!("{name}") };

    let frames = vec![hex::encode(&hello), hex::encode(&frame)];
    let number = format!("{:04x}", suite.number());
    let (secrets, verdict) = oracle::resumed(&inputs, &number, &frames);
    let next = client.info.ticket().unwrap().to_bytes().unwrap();
    assert_eq!(hex::encode(&next[43..75]), secrets.next_ticket_secret);
    assert_eq!(client.info.id().to_string(), secrets.session_id);
    let records = records(&mut client, &mut server);
    oracle::check_first_record(&number, &secrets.client_traffic, &records.client[0]);
    Resumed {
        about: "a resumption with a ticket of an earlier login".to_owned(),
        suite: number,
        name,
        inputs,
        frames,
        secrets,
        verdict,
        records,
    }
}

fn load(name: &str) -> PrivateKey {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/keys/{name}.pem"));
    PrivateKey::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The frames and secrets of a vector as PROTOCOL.md prints them.
fn in_hex(vector: &Vector) -> String {
    let secrets = vector.secrets.as_ref().unwrap();
    let records = vector.records.as_ref().unwrap();
    let names = ["ClientHello", "ServerHello", "ClientLogin", "ServerVerdict"];
    let mut parts: Vec<(String, &str)> = vec![("prologue".into(), &vector.inputs.prologue)];
    for (index, name) in names.iter().enumerate() {
        parts.push((format!("frame {}, {name}", index + 1), &vector.frames[index]));
    }
    let value = serde_json::to_value(secrets).unwrap();
    let order = Secrets::ORDER.map(|name| (name.to_owned(), value[name].as_str().unwrap().to_owned()));
    parts.extend(order.iter().map(|(name, hex)| (name.clone(), hex.as_str())));
    parts.push(("client's first record: \"whoami\\n\"".into(), &records.client[0]));
    parts.push(("server's first record: \"alice\\n\"".into(), &records.server[0]));
    let mut out = String::from("```text\n");
    for (name, hex) in parts {
        out.push_str(&format!("{name} ({} bytes)\n", hex.len() / 2));
        for line in hex.as_bytes().chunks(112) {
            out.push_str(&format!("  {}\n", std::str::from_utf8(line).unwrap()));
        }
    }
    out + "```\n"
}
