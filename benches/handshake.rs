//! What a login costs, by side and step, by key size and suite.
//!
//! - `client/...`, `server/...`: one step each, named in the order of the handshake; `.../login/...`: a whole side;
//!   `.../proved-login/...`: the same side where the server proves itself first; `.../resume/...`: the same side with a ticket
//!   in place of the login, and the next ticket in the verdict.
//!   `.../key-login/...`: the login, by a key of the client's in the place of a password.
//! - `server/verify/...`: the account file, at the default Argon2id parameters. An attacker who can tell a known user from
//!   an unknown one reads it off these.
//! - `server/checked-login/...`: a whole login at the server with its look at the account, by password, stretched password and token; and
//!   `server/junk-login/...`: one that does not open, where passwords are taken, and where stretched ones are.
//! - `bare/...`: the `rsa` crate with nothing around it, in the same run: what a step costs over it is ours.
//!
//! A step's state is made in the setup, which is not timed. The whole sides are replayed instead: the machines are
//! functions of bytes, time and randomness, so the peer's frames, recorded once, fit every time.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use core::hint::black_box;
use core::time::Duration;
use countersign::crypto::rustcrypto;
use countersign::{Accounts, Credential, Reason, SigningKey, StretchParameters, Stretching, Suite};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rsa::Oaep;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use sha2::Sha256;
use support::{ALICE, KEYS, NOW, Peers, TODAY, account, claim, grant, private_key, rng};

const SUITE: Suite = Suite::DEFAULT[0];

/// Steps that the server key's size does not touch, beyond a few more bytes to hash.
fn by_suite(c: &mut Criterion) {
    for suite in Suite::ALL {
        let peers = &Peers::new(rustcrypto::provider(), suite, KEYS[0].1);
        let rng = &mut rng();

        c.bench_function(&format!("client/hello/{suite}"), |b| b.iter(|| peers.hello(rng)));

        let (hello, _) = peers.hello(rng);
        c.bench_function(&format!("server/challenge/{suite}"), |b| {
            b.iter_batched(|| hello.clone(), |hello| peers.challenge(hello, rng), BatchSize::SmallInput);
        });

        // Turned away before the RSA operation: what shedding a login costs.
        let (login, ..) = peers.login(rng);
        c.bench_function(&format!("server/refuse/{suite}"), |b| {
            let setup = || (peers.challenge(hello.clone(), rng).1, login.clone());
            let refuse = |(state, login): (countersign::server::AwaitLogin, _)| {
                state.read(login, NOW).map(|login| login.refuse(Reason::NotAdmitted("busy"))).unwrap()
            };
            b.iter_batched(setup, refuse, BatchSize::SmallInput);
        });

        c.bench_function(&format!("server/accept/{suite}"), |b| {
            let setup = || (peers.claim(rng).0, grant());
            b.iter_batched(setup, |(claim, grant)| claim.accept(grant).unwrap(), BatchSize::SmallInput);
        });

        c.bench_function(&format!("server/reject/{suite}"), |b| {
            let setup = || peers.claim(rng).0;
            b.iter_batched(setup, |claim| claim.reject(Reason::WrongPassword), BatchSize::SmallInput);
        });

        c.bench_function(&format!("client/verdict/{suite}"), |b| {
            let setup = || {
                let (claim, client) = peers.claim(rng);
                (client, claim.accept(grant()).unwrap().frame)
            };
            b.iter_batched(setup, |(client, frame)| client.read(&frame, NOW, TODAY).unwrap(), BatchSize::SmallInput);
        });
    }
}

/// Steps with RSA in them, under one suite.
fn by_key(c: &mut Criterion) {
    for (name, pem) in KEYS {
        let peers = &Peers::new(rustcrypto::provider(), SUITE, pem);

        c.bench_function(&format!("client/seal/{name}"), |b| {
            let (setup_rng, rng) = (&mut rng(), &mut rng());
            let setup = || {
                let (hello, client) = peers.hello(setup_rng);
                (client, peers.challenge(hello, setup_rng).0)
            };
            b.iter_batched(setup, |(client, challenge)| peers.seal(client, &challenge, rng), BatchSize::SmallInput);
        });

        c.bench_function(&format!("server/open/{name}"), |b| {
            let (setup_rng, rng) = (&mut rng(), &mut rng());
            let setup = || {
                let (login, state, _) = peers.login(setup_rng);
                (state, login)
            };
            b.iter_batched(setup, |(state, login)| claim(state, login, rng), BatchSize::SmallInput);
        });
    }
}

/// Everything one side does, from its first step to its session. The credential is taken at its word.
fn whole(c: &mut Criterion) {
    for suite in Suite::ALL {
        for (name, pem) in KEYS {
            let peers = Peers::new(rustcrypto::provider(), suite, pem);
            sides(c, &peers, &format!("login/{suite}/{name}"));
            sides(c, &peers.with_proof(), &format!("proved-login/{suite}/{name}"));
        }
    }
    // By a key of the client's, which the server checks: compare with `.../login/{suite}/rsa2048`.
    let by_key = [
        ("ed25519", SigningKey::from_ed25519(&[7; 32]).unwrap()),
        ("p256", SigningKey::from_p256(&[7; 32]).unwrap()),
        ("rsa2048", private_key(KEYS[0].1).into()),
    ];
    for (name, key) in by_key {
        let provider = rustcrypto::provider();
        let peers = Peers::new(provider, SUITE, KEYS[0].1).with_client_key(provider, &key);
        sides(c, &peers, &format!("key-login/{SUITE}/rsa2048/{name}"));
    }
}

fn sides(c: &mut Criterion, peers: &Peers, name: &str) {
    // One login, recorded. A replay needs each side's generator where it was: at the start.
    let (client_rng, server_rng) = (&mut rng(), &mut rng());
    let (hello, client) = peers.hello(client_rng);
    let (challenge, server) = peers.challenge(hello.clone(), server_rng);
    let (login, _) = peers.seal(client, &challenge, client_rng);
    let verdict = claim(server, login.clone(), server_rng).accept(grant()).unwrap().frame;

    c.bench_function(&format!("client/{name}"), |b| {
        let replay = |mut rng| {
            let (_, state) = peers.hello(&mut rng);
            let (_, state) = peers.seal(state, &challenge, &mut rng);
            state.read(&verdict, NOW, TODAY).unwrap()
        };
        b.iter_batched(rng, replay, BatchSize::SmallInput);
    });

    c.bench_function(&format!("server/{name}"), |b| {
        let replay = |(mut rng, hello, login, grant)| {
            let (_, state) = peers.challenge(hello, &mut rng);
            let claim = claim(state, login, &mut rng);
            black_box(claim.credential());
            claim.accept(grant).unwrap()
        };
        b.iter_batched(|| (rng(), hello.clone(), login.clone(), grant()), replay, BatchSize::SmallInput);
    });
}

/// The same sides where the client has a ticket. Compare with `.../login/{suite}/rsa3072`; the key's size matters only
/// there.
fn resumed(c: &mut Criterion) {
    for suite in Suite::ALL {
        let peers = &Peers::new(rustcrypto::provider(), suite, KEYS[1].1);
        let server_rng = &mut rng();
        let mut ticket = peers.ticket(server_rng);
        // What is replayed begins with the client's generator at its start.
        let (hello, _) = peers.show(&ticket, &mut rng());
        let (answer, _) = peers.resume(hello, account(), server_rng);

        c.bench_function(&format!("client/resume/{suite}"), |b| {
            let replay = |mut rng| {
                let (_, state) = peers.show(&ticket, &mut rng);
                support::resumed(state, &answer)
            };
            b.iter_batched(rng, replay, BatchSize::SmallInput);
        });

        // A ticket is good for one login, so nothing is replayed here.
        ticket = peers.ticket(server_rng);
        c.bench_function(&format!("server/resume/{suite}"), |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| peers.resume_next(&mut ticket, server_rng)).sum());
        });
    }
}

/// The same RSA operations without this library.
fn bare(c: &mut Criterion) {
    for (name, pem) in KEYS {
        let key = private_key(pem);
        let (rng, message) = (&mut rng(), [7; 64]);

        let spki = key.public_key().spki_der();
        let encrypt = |rng: &mut _| {
            let key = rsa::PublicKey::from_public_key_der(black_box(spki)).unwrap();
            key.encrypt(rng, Oaep::<Sha256>::new(), &message).unwrap()
        };
        c.bench_function(&format!("bare/parse-and-oaep-encrypt/{name}"), |b| b.iter(|| encrypt(rng)));

        let ciphertext = encrypt(rng);
        let key = rsa::PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
        c.bench_function(&format!("bare/oaep-decrypt/{name}"), |b| {
            // Blinded, as the provider does it.
            b.iter(|| key.decrypt_blinded(rng, Oaep::<Sha256>::new(), black_box(&ciphertext)).unwrap());
        });
    }
}

fn verify(c: &mut Criterion) {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read", "write"]).unwrap();
    accounts.edit("alice", |account| account.set_password(b"correct horse")).unwrap();
    let wrong = Credential::Password { user: "alice", password: b"battery staple" };
    let unknown = Credential::Password { user: "mallory", password: b"battery staple" };
    for (name, credential, expected) in [
        ("known-user", ALICE, Ok("alice".to_owned())),
        ("wrong-password", wrong, Err(Reason::WrongPassword)),
        ("unknown-user", unknown, Err(Reason::UnknownUser)),
    ] {
        assert_eq!(accounts.check(credential).map(|grant| grant.principal().to_owned()), expected);
        c.bench_function(&format!("server/verify/{name}"), |b| b.iter(|| accounts.check(black_box(credential))));
    }
}

/// What a login costs the server with its look at the account, where it hashes passwords and where its clients do; and what a junk login does.
fn relief(c: &mut Criterion) {
    let stretching = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap();
    let peers = || Peers::new(rustcrypto::provider(), SUITE, KEYS[0].1);
    let mut plain = Accounts::new();
    plain.add("alice", ["read"]).unwrap();
    plain.edit("alice", |account| account.set_password(b"correct horse")).unwrap();
    let token = plain.edit("alice", |account| account.issue_token()).unwrap();
    let mut relieved = Accounts::new();
    relieved.add("alice", ["read"]).unwrap();
    let stored = stretching.stretch("alice", b"correct horse").unwrap().newest();
    relieved
        .edit("alice", |account| {
            account.set_stretched(&stored);
            Ok(())
        })
        .unwrap();
    let token = Credential::Token(token.as_bytes());
    for (name, peers, credential, accounts) in [
        ("password", peers(), ALICE, &plain),
        ("stretched", peers().with_stretching(&stretching), ALICE, &relieved),
        ("token", peers(), token, &plain),
    ] {
        let (client_rng, server_rng) = (&mut rng(), &mut rng());
        let (hello, client) = peers.hello(client_rng);
        let (challenge, _) = peers.challenge(hello.clone(), server_rng);
        let trusted = client.read(&challenge, NOW).unwrap().trust(&peers.trust, TODAY).unwrap();
        let (login, _) = trusted.login(credential, client_rng).unwrap();
        let mut junk = login.clone();
        *junk.last_mut().unwrap() ^= 1;
        for (class, login, is_good) in [("checked", login, true), ("junk", junk, false)] {
            if name == "token" && !is_good {
                continue;
            }
            c.bench_function(&format!("server/{class}-login/{SUITE}/rsa2048/{name}"), |b| {
                let replay = |(mut rng, hello, login)| {
                    let (_, state) = peers.challenge(hello, &mut rng);
                    let claim = claim(state, login, &mut rng);
                    let verdict = accounts.check(black_box(claim.credential()));
                    assert_eq!(verdict.is_ok(), is_good);
                    match verdict {
                        Ok(grant) => claim.accept(grant).unwrap().frame,
                        Err(reason) => claim.reject(reason).frame,
                    }
                };
                b.iter_batched(|| (rng(), hello.clone(), login.clone()), replay, BatchSize::SmallInput);
            });
        }
    }
}

/// Short: there are more than a hundred of them, and a few percent is all that a shared machine can tell anyway.
fn config() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = config(); targets = by_suite, by_key, bare, whole, resumed, verify, relief }
criterion_main!(benches);
