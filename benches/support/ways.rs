//! Other ways to log in than by a password without a proof, and to be refused. A class is called `way: what`.
//!
//! Where what a client chooses is checked at a cost of its own (a signature's bytes), the same login comes to different accounts: all that may differ then is
//! what was looked up.

use crate::kinds::{accounts, cheap, login_of};
use crate::support::{NOW, TODAY, rng};
use crate::{
    ALLOWED, Group, Peers, Verifying, at_once, callgrind::measured, context, reason, refusal, verdict, verifying,
};
use countersign::accounts::{Account, TotpSecret};
use countersign::client::{AwaitChallenge, AwaitVerdict, Verdict};
use countersign::crypto::{CryptoError, Decrypted, Provider, Sign, Signatures};
use countersign::server::{Admitted, AwaitLogin, Open, SealedHello};
use countersign::{
    Accounts, AsyncVerifier, AuthorizedKey, ClientConfig, ClientKey, Credential, CredentialKind, FactorAttempt,
    Further, KeyError, Reason, Server, ServerConfig, SigningKey, StretchParameters, Stretching, UnixTime, VerifyingKey,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How many instructions the answer to a hello may differ by. No account is looked at.
const ALLOWED_ANSWERS: u64 = 500;

/// Of logins that did not open nothing is looked up by what was sent.
const OTHERS: Group = Group { opened: &[], unopened: &[], allowed: ALLOWED, together: None, controls: &[] };

pub(crate) const GROUPS: [Group; 9] = [
    Group {
        opened: &["answer: RSA opens", "answer: RSA fails", "answer: sealed for another hello"],
        allowed: ALLOWED_ANSWERS,
        controls: &["answer: returns where RSA fails"],
        ..OTHERS
    },
    Group {
        opened: &[
            "proof: wrong password",
            "proof: unknown user",
            "proof: account with a key alone",
            "proof: account without a credential",
            "proof: right password, locked",
            "proof: right password, other network",
        ],
        unopened: &["proof: RSA fails", "proof: sealed for another hello", "proof: altered"],
        together: Some(crate::ALLOWED_UNOPENED),
        controls: &["proof: looks for the account first"],
        ..OTHERS
    },
    Group {
        opened: &["token: unknown", "token: locked", "token: expired", "token: other network"],
        unopened: &["token: RSA fails", "token: altered"],
        together: Some(crate::ALLOWED_UNOPENED),
        controls: &["token: looks twice"],
        ..OTHERS
    },
    Group {
        opened: &[
            "stretched: wrong",
            "stretched: unknown user",
            "stretched: account with a password alone",
            "stretched: account without a credential",
            "stretched: right, locked",
            "stretched: right, other network",
        ],
        unopened: &["stretched: RSA fails", "stretched: altered"],
        together: Some(crate::ALLOWED_UNOPENED),
        controls: &["stretched: looks twice"],
        ..OTHERS
    },
    Group {
        opened: &[
            "moving: wrong",
            "moving: unknown user",
            "moving: wrong, account with a password alone",
            "moving: right, account with a password alone, locked",
            "moving: right, locked",
        ],
        unopened: &["moving: RSA fails", "moving: altered"],
        together: Some(crate::ALLOWED_UNOPENED),
        controls: &["moving: looks twice"],
        ..OTHERS
    },
    Group {
        opened: &[
            "key: another of the account's",
            "key: unknown user",
            "key: account without a credential",
            "key: right, locked",
            "key: right, other network",
        ],
        // There is no signature to be checked: they are compared with each other alone.
        unopened: &["key: RSA fails", "key: altered"],
        controls: &["key: checks it twice"],
        ..OTHERS
    },
    Group {
        opened: &[
            "forged: another of the account's",
            "forged: unknown user",
            "forged: account without a credential",
            "forged: right",
            "forged: right, locked",
        ],
        controls: &["forged: checks it twice"],
        ..OTHERS
    },
    Group { opened: &["factor: wrong code", "factor: code used before"], controls: &["factor: looks twice"], ..OTHERS },
    Group {
        opened: &["factor: wrong code, codes wait", "factor: right code, codes wait"],
        controls: &["factor: looks twice, codes wait"],
        ..OTHERS
    },
];

/// A refusal of this class, counted.
pub(crate) fn refuse(provider: Provider, way: &str, what: &str) {
    let peers = Peers::new(provider);
    let (reason, expected) = match way {
        "answer" => return answer(peers, what),
        "proof" => proved(peers, what),
        "token" => by_token(peers, what),
        "stretched" => by_stretched_password(peers, what, stretching()),
        "moving" => by_stretched_password(peers, what, stretching().with_moving()),
        "key" => by_key(peers, what),
        "forged" => by_forged_key(peers, what),
        "factor" => by_factor(peers, what),
        _ => panic!("no such way: {way}"),
    };
    assert_eq!(std::mem::discriminant(&reason), std::mem::discriminant(&expected), "{way}: {what}: {reason:?}");
}

// ---- With a proof -----------------------------------------------------------------------------------------------------

impl Peers {
    /// The client has the key whole.
    fn proving(self) -> Self {
        Self { trust: Server::key(self.key.public_key().clone()).with_floor(countersign::KeyExchange::Rsa), ..self }
    }

    fn serving(self, change: impl FnOnce(ServerConfig) -> ServerConfig) -> Self {
        Self { server: Arc::new(change(ServerConfig::clone(&self.server))), ..self }
    }

    fn taking(self, kind: CredentialKind) -> Self {
        self.serving(|config| config.with_credential_kinds(&[kind]).unwrap())
    }

    /// A hello at the server's, with the RSA operation to come.
    fn sealed_hello(&self, seed: u64) -> (Open<SealedHello>, AwaitChallenge) {
        let (hello, client) = self.hello(seed);
        (self.read(hello).open(&mut rng()).expect("the client has the key whole"), client)
    }

    /// What RSA gives for a hello.
    fn result(&self, hello: &Open<SealedHello>, what: &str) -> Decrypted {
        match what {
            "RSA fails" | "returns where RSA fails" => Decrypted::failed(),
            // It decrypts, and what is in it is bound to another hello than this one.
            "sealed for another hello" => self.decrypt(self.sealed_hello(2).0.ciphertext()),
            _ => self.decrypt(hello.ciphertext()),
        }
    }
}

fn answer(peers: Peers, what: &str) {
    let peers = peers.proving();
    let (open, client) = peers.sealed_hello(1);
    let decrypted = peers.result(&open, what);
    if what == "returns where RSA fails" {
        return measured(|| drop((open, decrypted)));
    }
    let (challenge, _) = measured(|| answered(open, decrypted));
    assert_eq!(client.read(&challenge, NOW).is_ok(), what == "RSA opens", "{what}");
}

/// What the server does once RSA has given a result.
fn answered(open: Open<SealedHello>, decrypted: Decrypted) -> (Vec<u8>, AwaitLogin) {
    open.answer(decrypted).challenge(&mut rng()).unwrap()
}

fn proved(peers: Peers, what: &str) -> (Reason, Reason) {
    let (peers, accounts) = (peers.proving(), verifying(accounts()));
    let (user, password) = login_of(what);
    let opens = !matches!(what, "RSA fails" | "sealed for another hello");
    // No client of ours goes on after a wrong proof. An attacker's may, with a login that can't open.
    let (open, client) = peers.sealed_hello(1);
    let decrypted = peers.result(&open, if opens { what } else { "RSA opens" });
    let (challenge, server) = answered(open, decrypted);
    let trusted = client.read(&challenge, NOW).unwrap().trust(&peers.trust, TODAY).unwrap();
    let (mut login, _) = trusted.login(Credential::Password { user, password }, &mut rng()).unwrap();
    let server = match opens {
        true => server,
        false => {
            let (open, _) = peers.sealed_hello(1);
            let decrypted = peers.result(&open, what);
            answered(open, decrypted).1
        }
    };
    if what == "altered" {
        *login.last_mut().unwrap() ^= 1;
    }
    let reason = measured(|| {
        let Admitted::Opened(claim) = server.read(login, NOW).unwrap().admit() else { panic!("its secret was opened") };
        match what {
            "looks for the account first" if !is_there(&accounts, claim.credential().user()) => {
                claim.reject(Reason::UnknownUser).reason
            }
            _ => refusal(claim, &accounts, &context()),
        }
    });
    let expected = if opens && what != "altered" { crate::expected(what) } else { Reason::NotOpened };
    (reason, expected)
}

fn is_there(accounts: &Verifying, user: Option<&str>) -> bool {
    accounts.store().read().unwrap().get(user.unwrap_or_default()).is_some()
}

// ---- Credentials ------------------------------------------------------------------------------------------------------

/// Whoever logs in. The same in each class, so that all of the login is.
const USER: &str = "user00";

/// Two accounts, one of which is the user's, but where there is none. `give` gives it its credential.
fn accounts_of(what: &str, give: impl FnOnce(&mut Account)) -> Accounts {
    let has = |word: &str| what.split(", ").any(|part| part == word);
    let mut account = Account::new(if has("unknown user") { "user01" } else { USER }, ["read"]).unwrap();
    if !has("account without a credential") {
        give(&mut account);
    }
    if has("locked") {
        account.lock();
    }
    if has("expired") {
        account.set_expiry(Some(UnixTime::from_secs(1)));
    }
    if has("other network") {
        account.set_from(Some("198.51.100.0/24")).unwrap();
    }
    let mut accounts = Accounts::new();
    // What unknown names are imitated by.
    let mut other = Account::new("user02", ["read"]).unwrap();
    other.set_password_with(b"correct horse", cheap()).unwrap();
    accounts.insert(&account).unwrap();
    accounts.insert(&other).unwrap();
    accounts
}

/// What such an account is refused for once its credential is good; otherwise `wrong`.
fn expected(what: &str, wrong: Reason) -> Reason {
    let has = |word: &str| what.split(", ").any(|part| part == word);
    match what {
        "RSA fails" | "altered" => Reason::NotOpened,
        _ if has("unknown user") => wrong,
        _ if has("locked") => Reason::AccountLocked,
        _ if has("expired") => Reason::AccountExpired,
        _ if has("other network") => Reason::NetworkNotAdmitted,
        _ => wrong,
    }
}

/// A login by this credential at these accounts.
fn login(peers: &Peers, what: &str, credential: Credential<'_>, accounts: Accounts) -> Reason {
    let accounts = verifying(accounts);
    let open = peers.arrived(credential, what == "altered", 1);
    let decrypted = if what == "RSA fails" { Decrypted::failed() } else { peers.decrypt(open.ciphertext()) };
    match what {
        "looks twice" => measured(|| {
            let claim = open.answer(decrypted);
            let _ = reason(&claim, &accounts, &context());
            refusal(claim, &accounts, &context())
        }),
        "checks it twice" => {
            let (key, message, signature) = signed(peers.provider);
            measured(|| {
                let _ = peers.provider.verify(&key, &message, &signature);
                verdict(open, decrypted, &accounts, &context())
            })
        }
        _ => measured(|| verdict(open, decrypted, &accounts, &context())),
    }
}

fn by_token(peers: Peers, what: &str) -> (Reason, Reason) {
    let peers = peers.taking(CredentialKind::Token);
    let issued = |account: &mut Account| account.issue_token().unwrap();
    let mut token = issued(&mut Account::new("nobody", ["read"]).unwrap());
    let is_known = !matches!(what, "unknown" | "looks twice");
    let accounts = accounts_of(what, |account| {
        let issued = issued(account);
        if is_known {
            token = issued;
        }
    });
    (login(&peers, what, Credential::Token(token.as_bytes()), accounts), expected(what, Reason::UnknownToken))
}

fn stretching() -> Stretching {
    Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap()
}

fn by_stretched_password(peers: Peers, what: &str, stretching: Stretching) -> (Reason, Reason) {
    let peers = peers.serving(|config| config.with_stretching(stretching.clone()).unwrap());
    let shown = stretching.stretch(USER, b"correct horse").unwrap();
    let is_right = what.split(", ").any(|part| part == "right");
    let accounts = accounts_of(what, |account| {
        if what.contains("account with a password alone") {
            let password: &[u8] = if is_right { b"correct horse" } else { b"a better hors" };
            return account.set_password_with(password, cheap()).unwrap();
        }
        let stored = shown.newest().to_string();
        let (hash, rest) = stored.split_once(';').unwrap();
        let wrong = format!("SHA256:{};{rest}", "A".repeat(hash.len() - "SHA256:".len()));
        account.set_stretched(&if is_right { stored } else { wrong }.parse().unwrap());
    });
    let wrong = if what.contains("unknown user") { Reason::UnknownUser } else { Reason::WrongPassword };
    let credential = Credential::Stretched { user: USER, password: &shown };
    (login(&peers, what, credential, accounts), expected(what, wrong))
}

// ---- Keys -------------------------------------------------------------------------------------------------------------

fn ed25519(seed: u8) -> SigningKey {
    SigningKey::from_ed25519(&[seed; 32]).unwrap()
}

/// The user's account has the key with which the login comes, or another.
fn accounts_with_keys(what: &str) -> Accounts {
    let is_right = what.split(", ").any(|part| part == "right");
    let key = ed25519(if is_right { 7 } else { 8 });
    accounts_of(what, |account| {
        account.add_key(&AuthorizedKey::new(key.public_key().clone(), "")).unwrap();
    })
}

fn by_key(peers: Peers, what: &str) -> (Reason, Reason) {
    let peers = peers.taking(CredentialKind::Key);
    let key = ClientKey::load(&ed25519(7), peers.provider).unwrap();
    let reason = login(&peers, what, Credential::Key { user: USER, key: &key }, accounts_with_keys(what));
    (reason, expected(what, Reason::UnknownKey))
}

/// The client has the public half alone, and signs with another key.
fn by_forged_key(peers: Peers, what: &str) -> (Reason, Reason) {
    let provider = Provider { signatures: Some(&Unchecked), ..peers.provider };
    let client = ClientConfig::new(provider).with_suites(&[crate::SUITE]).unwrap();
    let peers = Peers { client: Arc::new(client), ..peers.taking(CredentialKind::Key) };
    let signer = peers.provider.signatures.unwrap().load_signer(&ed25519(9)).unwrap();
    let key = ClientKey::with_sign(ed25519(7).public_key().clone(), signer);
    let reason = login(&peers, what, Credential::Key { user: USER, key: &key }, accounts_with_keys(what));
    (reason, Reason::BadSignature)
}

/// A client's that sends signatures as they come.
struct Unchecked;

impl Signatures for Unchecked {
    fn verify(&self, _: &VerifyingKey, _: &[u8], _: &[u8]) -> Result<(), CryptoError> {
        Ok(())
    }

    fn load_signer(&self, _: &SigningKey) -> Result<Arc<dyn Sign>, KeyError> {
        Err(KeyError::Provider)
    }
}

/// A signature, to be checked once more.
fn signed(provider: Provider) -> (VerifyingKey, Vec<u8>, Vec<u8>) {
    let (key, message) = (ed25519(7), vec![7; 136]);
    let signer = provider.signatures.unwrap().load_signer(&key).unwrap();
    let signature = signer.sign(&message, &mut rng()).unwrap();
    (key.public_key().clone(), message, signature)
}

// ---- Further factors --------------------------------------------------------------------------------------------------

fn by_factor(mut peers: Peers, what: &str) -> (Reason, Reason) {
    peers.client = ClientConfig::clone(&peers.client).offering_factors().into();
    let start = SystemTime::now();
    let secret = TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
    let accounts = verifying(accounts_of(what, |account| {
        account.set_totp(&secret);
        account.set_password_with(b"correct horse", cheap()).unwrap();
    }));
    let credential = Credential::Password { user: USER, password: b"correct horse" };
    let (open, client) = peers.arrived_with(credential, false, 1);
    let decrypted = peers.decrypt(open.ciphertext());
    let claim = open.answer(decrypted);
    let context = context();
    let grant = crate::checked(&claim, &accounts, &context).expect("it is the right password");
    let further = Further::new(&grant, CredentialKind::Password, 0, &context);
    let prompt = at_once(accounts.further(&further)).unwrap().expect("a second factor is set");
    let asked = claim.ask(&prompt, NOW).unwrap();
    let check = |answer: &[u8]| {
        at_once(accounts.check_factor(&FactorAttempt::new(answer, &grant, CredentialKind::Password, 0, &context)))
    };
    let waits = what.ends_with("codes wait");
    if waits {
        (0..5).for_each(|_| assert_eq!(check(b"000000"), Err(Reason::WrongFactor)));
    }
    let code_of = |time| secret.code(UnixTime::from_system(time)).as_bytes().to_vec();
    let code = match what {
        // Of the 30 seconds in which this began: whoever was here before may have used it.
        "code used before" => code_of(start),
        "right code, codes wait" => code_of(start + Duration::from_secs(30)),
        _ => b"000000".to_vec(),
    };
    let frame = answer_of(client, &asked.frame, &code);
    let state = asked.state;
    let reason = measured(|| {
        let factor = state.read(frame, NOW).unwrap();
        if what.starts_with("looks twice") {
            let _ = check(factor.answer());
        }
        let reason = check(factor.answer()).expect_err("nothing here is good");
        factor.reject(reason).reason
    });
    let expected = match what {
        _ if waits => Reason::FactorLocked,
        "code used before" => Reason::FactorUsed,
        _ => Reason::WrongFactor,
    };
    (reason, expected)
}

/// What the client sends for a further factor.
fn answer_of(client: AwaitVerdict, asked: &[u8], answer: &[u8]) -> Vec<u8> {
    let Verdict::Factor(wanted) = client.read_step(asked, NOW, TODAY).unwrap() else { panic!("it is asked for") };
    wanted.answer(answer, NOW).unwrap().0
}
