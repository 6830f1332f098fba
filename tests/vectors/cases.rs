//! What each vector is of.

use super::factors::{Factors, further_factors};
use super::keys::{Signer, logins_by_key};
use super::plaintexts;
use super::refusals::{refused_answers, refused_hellos, refused_logins, refused_verdicts};
use super::stretched::{Stretched, stretched_passwords};
use super::tickets::{Shown, not_taken, resumptions};
use countersign::{Credential, CredentialKind, KeyExchange, Suite};

pub const ALICE: Credential<'static> =
    Credential::Password { user: "alice", password: b"correct horse battery staple" };
pub const PROLOGUE: &[u8] = b"example/1";
/// What stands for the 32 bytes of a TLS exporter.
pub const EXPORTER: [u8; 32] = [0x42; 32];

/// What makes one vector differ from the plain accept.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub about: &'static str,
    pub rule: Option<&'static str>,
    pub key: &'static str,
    pub client_suites: Vec<Suite>,
    pub server_suites: Vec<Suite>,
    pub server_kinds: Vec<CredentialKind>,
    pub server_name: &'static str,
    pub credential: Credential<'static>,
    /// Its key signs, in the place of the credential.
    pub signer: Option<Signer>,
    pub factors: Factors,
    /// The server takes stretched passwords, and says this of it.
    pub stretching: Option<Stretched>,
    /// The client trusts the server's key, but at first use alone.
    pub first_use: bool,
    /// The keys that the client has whole, by their files; it has pinned the server's otherwise.
    pub known_keys: &'static [&'static str],
    pub pins_other: bool,
    pub needs_proof: bool,
    /// Sends its credential after a wrong proof, as no client may.
    pub ignores_proof: bool,
    pub floor: KeyExchange,
    pub server_prologue: &'static [u8],
    /// Whether the ends have a channel binding.
    pub is_bound: [bool; 2],
    /// Whether both hellos have a reserved extension.
    pub reserved: bool,
    /// The server gives a ticket.
    pub tickets: bool,
    /// Shows the ticket of this login.
    pub resumes: Option<&'static str>,
    pub proof_at_resumption: bool,
    pub shown: Shown,
    pub answer: Answer,
    pub not_now: bool,
    /// Alters a frame on the way; it is told which one (1 to 4).
    pub alter: fn(usize, &mut Vec<u8>),
    /// Replaces the padded credential by these bytes, sealed as the client would.
    pub plaintext: Option<fn() -> Vec<u8>>,
    /// Replaces the verdict, without its padding, sealed as the server would.
    pub verdict: Option<fn(Vec<u8>) -> Vec<u8>>,
}

/// How the server answers a ClientHello.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Usual,
    /// It does not do the RSA operation.
    Unproved,
    Busy,
    /// It has other ticket keys by now.
    TicketUnknown,
}

impl Case {
    pub fn accept(name: impl Into<String>, about: &'static str, suite: Suite) -> Self {
        Self {
            name: name.into(),
            about,
            rule: None,
            key: "rsa2048",
            client_suites: vec![suite],
            server_suites: vec![suite],
            server_kinds: vec![CredentialKind::Password, CredentialKind::Token],
            server_name: "db.example",
            credential: ALICE,
            signer: None,
            factors: Factors::none(),
            stretching: None,
            first_use: false,
            known_keys: &[],
            pins_other: false,
            needs_proof: true,
            ignores_proof: false,
            floor: KeyExchange::Rsa,
            server_prologue: PROLOGUE,
            is_bound: [false; 2],
            reserved: false,
            tickets: false,
            resumes: None,
            proof_at_resumption: false,
            shown: Shown::good(),
            answer: Answer::Usual,
            not_now: false,
            alter: |_, _| {},
            plaintext: None,
            verdict: None,
        }
    }

    pub fn refuse(name: &'static str, rule: &'static str, about: &'static str) -> Self {
        Self::refuse_under(Suite::X25519_AES_256_GCM, name, rule, about)
    }

    pub fn refuse_under(suite: Suite, name: &'static str, rule: &'static str, about: &'static str) -> Self {
        Self { rule: Some(rule), ..Self::accept(name, about, suite) }
    }

    /// The client has the server's key whole, so there is a proof.
    pub fn refuse_proved(name: &'static str, rule: &'static str, about: &'static str) -> Self {
        Self { known_keys: &["rsa2048"], ..Self::refuse(name, rule, about) }
    }

    fn proved(self) -> Self {
        let known_keys: &[&str] = match self.key {
            "rsa2048" => &["rsa2048"],
            "rsa3072" => &["rsa3072"],
            _ => &["rsa4096"],
        };
        Self { name: format!("proof-{}", self.name), known_keys, ..self }
    }

    pub fn resumed(name: &'static str, before: &'static str, suite: Suite, about: &'static str) -> Self {
        Self { tickets: true, resumes: Some(before), ..Self::accept(name, about, suite) }
    }

    /// Whether the ClientHello seals a secret to a key of the server's.
    pub fn seals(&self) -> bool {
        !self.known_keys.is_empty() && (self.resumes.is_none() || self.proof_at_resumption)
    }

    /// Whether the server opens it.
    pub fn proves(&self) -> bool {
        let is_usual =
            self.answer != Answer::Unproved && self.server_prologue == PROLOGUE && self.is_bound[0] == self.is_bound[1];
        self.seals() && is_usual && self.known_keys.first() == Some(&self.key)
    }

    /// Whether the server takes the ticket.
    pub fn takes_ticket(&self) -> bool {
        self.resumes.is_some() && self.answer == Answer::Usual && self.shown.not_taken.is_none()
    }

    pub fn offers(&self, exchange: KeyExchange) -> bool {
        self.client_suites.iter().any(|suite| suite.key_exchange == exchange)
    }
}

pub fn cases() -> Vec<Case> {
    [
        accepted(),
        logins_by_key(),
        further_factors(),
        stretched_passwords(),
        resumptions(),
        not_taken(),
        refused_hellos(),
        refused_answers(),
        refused_logins(),
        refused_verdicts(),
    ]
    .concat()
}

/// The six suites, each with a proof and without, and what else is accepted.
fn accepted() -> Vec<Case> {
    let aes = Suite::X25519_AES_256_GCM;
    let each = [
        Case {
            tickets: true,
            ..Case::accept("rsa2048-x25519-aes256gcm", "a password, and a ticket for next time", aes)
        },
        Case {
            key: "rsa3072",
            is_bound: [true; 2],
            ..Case::accept("rsa3072-x25519-chacha20poly1305", "a channel binding", Suite::X25519_CHACHA20_POLY1305)
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
    ];
    let others = [
        Case {
            reserved: true,
            ..Case::accept("reserved-extensions", "both hellos have a reserved extension", aes).proved()
        },
        Case {
            known_keys: &["rsa2048"],
            answer: Answer::Unproved,
            needs_proof: false,
            ..Case::accept("known-key-without-proof", "the server gives no proof, and the client goes on without", aes)
        },
        Case {
            known_keys: &["other2048", "rsa2048"],
            needs_proof: false,
            ..Case::accept(
                "second-key-without-proof",
                "the server answers under the second key that the client knows, and the client goes on without a proof",
                aes,
            )
        },
    ];
    let extended = Case {
        verdict: Some(|verdict| {
            let (front, no_extensions) = verdict.split_at(verdict.len() - 1);
            assert_eq!(no_extensions, [0]);
            [front, &[1, 0x3a, 0x3a, 0, 2, 0xab, 0xcd]].concat()
        }),
        ..Case::accept("verdict-extension", "the verdict has an extension, with data, that nobody knows", aes)
    };
    let lasting = Case {
        verdict: Some(|_| {
            let ticket = (&[0x7e; 480][..], u64::MAX);
            plaintexts::verdict(plaintexts::ACCEPT, "alice", &["read", "write"], ticket)
        }),
        ..Case::accept(
            "verdict-lifetime",
            "the ticket in the verdict is said to be good for as long as a u64 can say",
            aes,
        )
    };
    let proved = each.clone().map(Case::proved);
    proved.into_iter().chain(each).chain(others).chain([extended, lasting]).collect()
}
