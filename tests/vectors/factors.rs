//! The vectors of further factors.

use super::cases::Case;
use super::keys::Signer;
use super::plaintexts::{padded_factor, request};
use countersign::{CredentialKind, Suite};

/// What a server wants after a good credential: the form, the prompt, and the right answer.
pub type Wanted = (u8, &'static str, &'static [u8]);

const CODE: Wanted = (1, "The code that your authenticator shows", b"123456");
const PLACE: Wanted = (2, "", b"Oslo");
const PIN: Wanted = (3, "PIN", b"0000");

/// Further factors at both ends.
#[derive(Clone)]
pub struct Factors {
    /// Whether the client can be asked for them.
    pub are_offered: bool,
    pub wanted: &'static [Wanted],
    /// What the client answers.
    pub answers: &'static [&'static [u8]],
    /// Replaces the last padded factor by these bytes, sealed as the client would.
    pub plaintext: Option<fn() -> Vec<u8>>,
}

impl Factors {
    pub fn none() -> Self {
        Self { are_offered: false, wanted: &[], answers: &[], plaintext: None }
    }

    fn of(wanted: &'static [Wanted], answers: &'static [&'static [u8]]) -> Self {
        Self { are_offered: true, wanted, answers, plaintext: None }
    }
}

pub fn further_factors() -> Vec<Case> {
    let aes = Suite::X25519_AES_256_GCM;
    let one = || Factors::of(&[CODE], &[b"123456"]);
    let accept = |name, about, factors| Case { factors, ..Case::accept(name, about, aes) };
    let refuse = |name, rule, about, factors| Case { factors, ..Case::refuse(name, rule, about) };
    let proved = |case: Case| Case { known_keys: &["rsa2048"], ..case };
    let unasked = || Factors { are_offered: true, ..Factors::none() };
    let asks = |name, about, verdict| Case { verdict: Some(verdict), ..refuse(name, "V7", about, unasked()) };
    let four = Factors::of(&[CODE, PLACE, PIN, CODE], &[b"123456", b"Oslo", b"0000", b"123456"]);
    vec![
        accept("factor", "a password, and a one-time code", one()),
        proved(Case {
            tickets: true,
            ..accept(
                "proof-factor",
                "a password, and a one-time code, after a proof, and a ticket for next time",
                one(),
            )
        }),
        proved(Case {
            server_kinds: vec![CredentialKind::Password, CredentialKind::Token, CredentialKind::Key],
            signer: Some(Signer::good("ed25519")),
            ..accept(
                "proof-key-factors",
                "a key, and two further factors, after a proof",
                Factors::of(&[PLACE, PIN], &[b"Oslo", b"0000"]),
            )
        }),
        accept("factors-four", "four further factors", four.clone()),
        accept("factor-not-wanted", "the client can be asked, and is not", unasked()),
        refuse(
            "l12-not-offered",
            "L12",
            "the password is good, but not enough, and the client can't be asked for more",
            Factors { are_offered: false, ..one() },
        ),
        Case {
            alter: |frame, bytes| {
                if frame == 5 {
                    bytes[3] ^= 1;
                }
            },
            ..refuse("n2-factor-altered", "N2", "a bit of the ClientFactor was flipped", one())
        },
        refuse("n2-empty-answer", "N2", "an answer of no bytes", {
            Factors { plaintext: Some(|| padded_factor(b"", |_| {})), ..one() }
        }),
        refuse("n2-padding", "N2", "the padding is not all zeros", {
            Factors { plaintext: Some(|| padded_factor(b"123456", |pad| pad[0] = 1)), ..one() }
        }),
        refuse("n4-wrong-answer", "N4", "a wrong code", Factors::of(&[CODE], &[b"123457"])),
        proved(refuse("n4-after-proof", "N4", "a wrong code, after a proof", Factors::of(&[CODE], &[b"123457"]))),
        refuse("n4-second-answer", "N4", "the second of two answers is wrong", {
            Factors::of(&[CODE, PIN], &[b"123456", b"0001"])
        }),
        Case {
            factors: Factors::none(),
            ..asks("v7-not-offered", "the server asks a client that can't be asked", |_| request(1, "", &[]))
        },
        asks("v7-no-request", "the verdict asks, and has no FactorRequest", |_| {
            let mut verdict = request(1, "", &[]);
            verdict.truncate(1 + 2 + 1 + 2 + 8);
            [&verdict[..], &[0]].concat()
        }),
        asks("v7-unknown-form", "the form is none of the three", |_| request(4, "", &[])),
        asks("v7-prompt", "a control character in the prompt", |_| request(1, "\u{1b}[2J", &[])),
        asks("v7-trailing-byte", "a byte behind the FactorRequest", |_| request(1, "", &[0])),
        Case { verdict: Some(|_| request(1, "", &[])), ..refuse("v7-fifth", "V7", "a fifth request", four) },
        Case {
            first_use: true,
            server_kinds: vec![CredentialKind::Password, CredentialKind::Token, CredentialKind::Key],
            signer: Some(Signer::good("ed25519")),
            ..refuse("v8-at-first-use", "V8", "the server asks, and its key is trusted at first use", one())
        },
        Case { not_now: true, ..refuse("v6-after-factor", "V6", "the server can't decide after a good code", one()) },
    ]
}
