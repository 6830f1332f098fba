//! What is run with its secrets hidden: the way from RSA's result to the verdict, and what comes after.

use crate::hidden::{HiddenRng, all_but_the_answer, all_but_the_ticket_secret, everything, failed_or_not};
use crate::hidden::{all_but_the_secret, all_but_the_values, nothing, showing};
use crate::kinds::{accounts, cheap, login_of};
use crate::memcheck::{hide, is_hidden, show, unreported};
use crate::support::{KEYS, NOW, Peers, TODAY, account, private_key, resumed};
use core::hint::black_box;
use core::pin::pin;
use core::task::{Context as Waiting, Poll, Waker};
use countersign::accounts::{Account, PasswordCheck, TotpSecret};
use countersign::client::{AwaitVerdict, Verdict};
use countersign::crypto::{Decrypted, Provider};
use countersign::server::{Admitted, AwaitConfirm, AwaitLogin, Claim, Open, SealedLogin};
use countersign::{
    AccountVerifier, Accounts, AsyncVerifier, Attempt, ClientConfig, Context, Credential, CredentialKind, Error,
    FactorAttempt, Further, Grant, Reason, Received, RecordError, Session, StretchParameters, StretchedPassword,
    Stretching, Suite, Ticket, UnixTime,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::RwLock;
use std::time::{Duration, SystemTime};

type Case = (&'static str, fn(Provider));

pub(crate) const CASES: &[Case] = &[
    ("logins that are refused", refused),
    ("logins that do not open", unopened),
    ("a login with a proof", proved),
    ("against a stored hash that is secret, too", against_a_hidden_hash),
    #[cfg(feature = "password-formats")]
    ("against another program's hash", against_anothers_hash),
    ("a login by token", by_token),
    ("a login by stretched password", by_stretched_password),
    ("a second factor", second_factor),
    ("every suite: a login, keys for others, records, a ticket, a resumption", suites),
    ("forged records, Confirm, binder and proof", forged),
];

/// What many would write. Each has a function of its name.
pub(crate) const CONTROLS: [Case; 4] = [
    ("goes_on_only_where_rsa_did_not_fail", |provider| careless(provider, goes_on_only_where_rsa_did_not_fail)),
    ("compares_the_challenge_byte_by_byte", |provider| careless(provider, compares_the_challenge_byte_by_byte)),
    ("compares_hashes_as_slices", |provider| own(provider, compares_hashes_as_slices)),
    ("looks_a_letter_up", |provider| own(provider, looks_a_letter_up)),
];

const SUITE: Suite = Suite::X25519_AES_256_GCM;

// ---- Peers whose secrets are hidden ----------------------------------------------------------------------------------

fn peers(provider: Provider, suite: Suite) -> (Peers, HiddenRng) {
    (Peers::new(provider, suite, KEYS[0].1), HiddenRng::new())
}

/// What was sent, everybody may see.
fn sent(mut frame: Vec<u8>) -> Vec<u8> {
    show(frame.as_mut_slice());
    frame
}

/// A secret that the client has typed.
fn typed(secret: &[u8]) -> Vec<u8> {
    let mut secret = black_box(secret).to_vec();
    hide(secret.as_mut_slice());
    secret
}

/// A login at the server's, with RSA's result to come if it seals a secret; and what its client awaits.
fn arrived(peers: &Peers, rng: &mut HiddenRng, credential: Credential<'_>) -> (Vec<u8>, Admission, AwaitVerdict) {
    let (hello, client) = rng.hello(|rng| peers.hello(rng));
    let (challenge, server) = challenge(peers, hello, rng);
    let challenge = client.read(&challenge, NOW).unwrap();
    let (login, client) = challenge.trust(&peers.trust, TODAY).unwrap().login(credential, rng).unwrap();
    (sent(login), Box::new(move |login| server.read(login, NOW).unwrap().admit()), client)
}

fn challenge(peers: &Peers, hello: Vec<u8>, rng: &mut HiddenRng) -> (Vec<u8>, AwaitLogin) {
    let hello = match peers.read(hello).open(rng) {
        Ok(open) => open.run(rng),
        Err(hello) => *hello,
    };
    rng.hello(|rng| hello.challenge(rng).unwrap())
}

/// The server takes a ticket.
fn resume(peers: &Peers, hello: Vec<u8>, rng: &mut HiddenRng) -> (Vec<u8>, AwaitConfirm) {
    let hello = peers.read(hello);
    let ticket = showing(all_but_the_ticket_secret, || hello.ticket(TODAY)).unwrap().use_up_now().unwrap();
    rng.hello(|rng| {
        let (answer, state) = hello.resume(ticket, account(), TODAY, rng).unwrap();
        assert!(is_hidden(&answer[answer.len() - 16..]), "what was hidden got lost on the way");
        (answer, state)
    })
}

type Admission = Box<dyn FnOnce(Vec<u8>) -> Admitted>;

fn sealed(admitted: Admitted) -> Open<SealedLogin> {
    match admitted {
        Admitted::Sealed(open) => open,
        Admitted::Opened(_) => panic!("it has no proof"),
    }
}

fn claim(admit: Admission, login: Vec<u8>, look: fn(&mut [u8]), rng: &mut HiddenRng) -> Claim {
    showing(look, || admit(login).open(rng))
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Waiting::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits for something"),
    }
}

fn context() -> Context {
    Context::from(SocketAddr::from(([192, 0, 2, 1], 7007)))
}

type Verifying = AccountVerifier<RwLock<Accounts>>;

fn over(accounts: Accounts) -> Verifying {
    AccountVerifier::new(RwLock::new(accounts)).without_upgrade()
}

fn verify(claim: &Claim, accounts: &Verifying) -> Result<Grant, Reason> {
    at_once(accounts.verify(&Attempt::new(claim.credential(), &context())))
}

/// Refuses it. The refusal is sealed under a key that comes from what is hidden; if it were not hidden, nothing would have been.
fn refuse(claim: Claim, reason: Reason, client: AwaitVerdict) {
    let mut refusal = claim.reject(reason);
    // It is for the log alone.
    show(&mut refusal.reason);
    assert!(is_hidden(&refusal.frame[3..]), "what was hidden got lost on the way");
    let answer = showing(everything, || client.read(&sent(refusal.frame), NOW, TODAY));
    drop(answer);
}

/// Accepts it: the client's session, and the server's.
fn accept(claim: Claim, grant: Grant, client: AwaitVerdict, rng: &mut HiddenRng) -> (Session, Session) {
    let accepted = claim.accept_with_ticket(grant, TODAY, rng).unwrap();
    assert!(is_hidden(&accepted.frame[3..]), "what was hidden got lost on the way");
    let session = showing(everything, || client.read(&sent(accepted.frame), NOW, TODAY)).unwrap();
    (session, accepted.session)
}

// ---- Cases -----------------------------------------------------------------------------------------------------------

fn refused(provider: Provider) {
    let accounts = over(accounts());
    for class in [
        "wrong password",
        "unknown user",
        "account with a key alone",
        "account without a credential",
        "right password, locked",
        "right password, expired",
        "right password, other network",
    ] {
        let (peers, mut rng) = peers(provider, SUITE);
        let (user, password) = login_of(class);
        let password = typed(password);
        let (login, admit, client) = arrived(&peers, &mut rng, Credential::Password { user, password: &password });
        let claim = claim(admit, login, all_but_the_secret, &mut rng);
        let reason = verify(&claim, &accounts).expect_err("nothing here is good");
        assert_ne!(reason, Reason::NotOpened);
        refuse(claim, reason, client);
    }
}

fn unopened(provider: Provider) {
    let accounts = over(accounts());
    for class in ["RSA fails", "sealed for another challenge", "altered"] {
        let (peers, mut rng) = peers(provider, SUITE);
        let (user, password) = login_of(class);
        let password = typed(password);
        let credential = Credential::Password { user, password: &password };
        let (other, admit_other, _) = arrived(&peers, &mut rng, credential);
        let (mut login, admit, client) = arrived(&peers, &mut rng, credential);
        if class == "altered" {
            *login.last_mut().unwrap() ^= 1;
        }
        let open = sealed(admit(login));
        let decrypted = match class {
            "RSA fails" => failed_or_not(Decrypted::failed()),
            "sealed for another challenge" => decrypt(provider, &sealed(admit_other(other))),
            _ => decrypt(provider, &open),
        };
        let claim = open.answer(decrypted);
        let reason = verify(&claim, &accounts).expect_err("it did not open");
        assert!(!claim.is_open());
        refuse(claim, reason, client);
    }
}

fn decrypt(provider: Provider, open: &Open<SealedLogin>) -> Decrypted {
    let key = provider.rsa.load_key(&private_key(KEYS[0].1)).unwrap();
    key.decrypt(open.ciphertext(), &mut StdRng::seed_from_u64(2))
}

fn proved(provider: Provider) {
    let accounts = over(accounts());
    let (peers, mut rng) = peers(provider, SUITE);
    let peers = peers.with_proof();
    let password = typed(b"correct horse");
    let credential = Credential::Password { user: "user00", password: &password };
    let (login, admit, client) = arrived(&peers, &mut rng, credential);
    let claim = claim(admit, login, all_but_the_secret, &mut rng);
    let grant = verify(&claim, &accounts).expect("it is the right one");
    accept(claim, grant, client, &mut rng);
}

/// As above, with what is stored of the passwords hidden, too.
fn against_a_hidden_hash(provider: Provider) {
    let accounts = unreported(|| {
        let mut alice = Account::new("alice", ["read"]).unwrap();
        let mut hash = PasswordCheck::hash_with(b"correct horse", cheap()).unwrap().into_bytes();
        let output = hash.iter().rposition(|&byte| byte == b'$').unwrap() + 1;
        hide(&mut hash[output..]);
        alice.set_password_hash(&String::from_utf8(hash).unwrap()).unwrap();
        let mut accounts = Accounts::new();
        accounts.insert(&alice).unwrap();
        over(accounts)
    });
    for password in [b"correct horse", b"a wrong guess"] {
        let (peers, mut rng) = peers(provider, SUITE);
        let password = typed(password);
        let (login, admit, client) =
            arrived(&peers, &mut rng, Credential::Password { user: "alice", password: &password });
        let claim = claim(admit, login, all_but_the_secret, &mut rng);
        match verify(&claim, &accounts) {
            Ok(grant) => drop(accept(claim, grant, client, &mut rng)),
            Err(reason) => refuse(claim, reason, client),
        }
    }
}

/// As Django makes it, of `correct horse`, with as few rounds as are taken.
#[cfg(feature = "password-formats")]
fn against_anothers_hash(provider: Provider) {
    const PBKDF2: &str = "pbkdf2_sha256$1000$salt$boRToEKoQr22LeDTyHDsEkHpDsDOTyWJq16HknEiweU=";
    let mut alice = Account::new("alice", ["read"]).unwrap();
    alice.set_password_hash(PBKDF2).unwrap();
    let mut accounts = Accounts::new();
    accounts.insert(&alice).unwrap();
    let accounts = over(accounts);
    for password in [b"correct horse", b"a wrong guess"] {
        let (peers, mut rng) = peers(provider, SUITE);
        let password = typed(password);
        let credential = Credential::Password { user: "alice", password: &password };
        let (login, admit, client) = arrived(&peers, &mut rng, credential);
        let claim = claim(admit, login, all_but_the_secret, &mut rng);
        match verify(&claim, &accounts) {
            Ok(grant) => drop(accept(claim, grant, client, &mut rng)),
            Err(reason) => refuse(claim, reason, client),
        }
    }
}

fn by_token(provider: Provider) {
    let mut robot = Account::new("robot", ["read"]).unwrap();
    let token = robot.issue_token().unwrap();
    let mut accounts = Accounts::new();
    accounts.insert(&robot).unwrap();
    let accounts = over(accounts);
    for token in [token.as_bytes(), &[b'x'; 50]] {
        let (peers, mut rng) = peers(provider, SUITE);
        let token = typed(token);
        let (login, admit, client) = arrived(&peers, &mut rng, Credential::Token(&token));
        let claim = claim(admit, login, all_but_the_secret, &mut rng);
        match verify(&claim, &accounts) {
            Ok(grant) => drop(accept(claim, grant, client, &mut rng)),
            Err(reason) => refuse(claim, reason, client),
        }
    }
}

fn by_stretched_password(provider: Provider) {
    let stretching = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap();
    let stretched = |password: &[u8]| stretching.stretch("alice", password).unwrap();
    let (right, wrong) = (stretched(b"correct horse"), stretched(b"a wrong guess"));
    let mut account = Account::new("alice", ["read"]).unwrap();
    account.set_stretched(&right.newest());
    let mut accounts = Accounts::new();
    accounts.insert(&account).unwrap();
    let accounts = over(accounts);
    let try_it = |user, password: &StretchedPassword| {
        let (peers, mut rng) = peers(provider, SUITE);
        let peers = peers.with_stretching(&stretching);
        let (login, admit, client) = arrived(&peers, &mut rng, Credential::Stretched { user, password });
        let claim = claim(admit, login, all_but_the_values, &mut rng);
        match verify(&claim, &accounts) {
            Ok(grant) => drop(accept(claim, grant, client, &mut rng)),
            Err(reason) => refuse(claim, reason, client),
        }
    };
    try_it("alice", &right);
    try_it("alice", &wrong);
    try_it("nobody", &wrong);
}

fn second_factor(provider: Provider) {
    let secret = TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
    let mut alice = Account::new("alice", ["read"]).unwrap();
    alice.set_totp(&secret);
    let recovery = alice.issue_recovery_codes().unwrap();
    alice.set_password_with(b"correct horse", cheap()).unwrap();
    let mut accounts = Accounts::new();
    accounts.insert(&alice).unwrap();
    let accounts = over(accounts);
    // A code of the next step, so that none is of the 30 seconds in which this began.
    let code = secret.code(UnixTime::from_system(SystemTime::now() + Duration::from_secs(30)));
    for answer in [b"000000", recovery[3].as_bytes(), code.as_bytes()] {
        let (mut peers, mut rng) = peers(provider, SUITE);
        peers.client = ClientConfig::clone(&peers.client).offering_factors().into();
        let password = typed(b"correct horse");
        let credential = Credential::Password { user: "alice", password: &password };
        let (login, admit, client) = arrived(&peers, &mut rng, credential);
        let claim = claim(admit, login, all_but_the_secret, &mut rng);
        let grant = verify(&claim, &accounts).expect("it is the right one");
        let prompt = at_once(accounts.further(&Further::new(&grant, CredentialKind::Password, 0, &context())));
        let asked = claim.ask(&prompt.unwrap().expect("a second factor is set"), NOW).unwrap();
        let Verdict::Factor(wanted) = showing(everything, || client.read_step(&sent(asked.frame), NOW, TODAY)).unwrap()
        else {
            panic!("it is asked for")
        };
        let (frame, client) = wanted.answer(&typed(answer), NOW).unwrap();
        let factor = showing(all_but_the_answer, || asked.state.read(sent(frame), NOW)).unwrap();
        let context = context();
        let attempt = FactorAttempt::new(factor.answer(), &grant, CredentialKind::Password, 0, &context);
        let verdict = match at_once(accounts.check_factor(&attempt)) {
            Ok(()) => factor.accept(grant).unwrap().frame,
            Err(reason) => factor.reject(reason).frame,
        };
        assert!(is_hidden(&verdict[3..]), "what was hidden got lost on the way");
        drop(showing(everything, || client.read(&sent(verdict), NOW, TODAY)));
    }
}

fn suites(provider: Provider) {
    for suite in Suite::ALL.into_iter().filter(|&suite| provider.supports(suite)) {
        let (peers, mut rng) = peers(provider, suite);
        let (client, server, ticket) = sessions(&peers, &mut rng);
        records(client, server);
        let (hello, client) = rng.hello(|rng| peers.show(&ticket, rng));
        let (answer, server) = resume(&peers, hello, &mut rng);
        let resumed = showing(everything, || resumed(client, &answer));
        let server = server.read(sent(resumed.frame), NOW).unwrap();
        records(resumed.session, server);
    }
}

fn sessions(peers: &Peers, rng: &mut HiddenRng) -> (Session, Session, Ticket) {
    let password = typed(b"correct horse");
    let credential = Credential::Password { user: "alice", password: &password };
    let (login, admit, client) = arrived(peers, rng, credential);
    let claim = claim(admit, login, all_but_the_secret, rng);
    let (client, server) = accept(claim, account(), client, rng);
    let ticket = client.info.ticket().unwrap().clone();
    (client, server, ticket)
}

/// Exported keys; data both ways, of some lengths; a change of the key; the end.
fn records(mut client: Session, mut server: Session) {
    for side in [&client, &server] {
        let mut key = [0; 32];
        side.info.export("test", b"", &mut key).unwrap();
        assert!(is_hidden(&key), "what was hidden got lost on the way");
    }
    for len in [1, 100, 1000] {
        for (from, to) in [(&mut client.sealer, &mut server.opener), (&mut server.sealer, &mut client.opener)] {
            let mut record = Vec::new();
            from.seal(&typed(&vec![7; len]), &mut record).unwrap();
            assert!(is_hidden(&record[3..]), "what was hidden got lost on the way");
            let mut record = sent(record);
            let Ok(Received::Data(data)) = to.open(&mut record) else { panic!("a record") };
            assert!(data.len() == len && is_hidden(data));
        }
    }
    let mut update = Vec::new();
    client.sealer.update_key(&mut update).unwrap();
    assert!(matches!(server.opener.open(&mut sent(update)), Ok(Received::KeyUpdate)));
    let mut close = Vec::new();
    client.sealer.close(&mut close).unwrap();
    assert!(matches!(server.opener.open(&mut sent(close)), Ok(Received::Close)));
}

fn forged(provider: Provider) {
    let (peers, mut rng) = peers(provider, SUITE);
    let forge = |frame: Vec<u8>| {
        let mut frame = sent(frame);
        *frame.last_mut().unwrap() ^= 1;
        frame
    };
    let (mut client, mut server, ticket) = sessions(&peers, &mut rng);
    let mut record = Vec::new();
    client.sealer.seal(&typed(b"some words"), &mut record).unwrap();
    assert!(matches!(server.opener.open(&mut forge(record)), Err(Error::Record(RecordError::NotAuthentic))));
    // A binder that is not the one.
    let (hello, _) = rng.hello(|rng| peers.show(&ticket, rng));
    let hello = peers.read(forge(hello));
    assert!(showing(all_but_the_ticket_secret, || hello.ticket(TODAY)).is_none());
    // A Confirm.
    let (hello, client) = rng.hello(|rng| peers.show(&ticket, rng));
    let (answer, server) = resume(&peers, hello, &mut rng);
    let resumed = showing(everything, || resumed(client, &answer));
    assert_eq!(server.read(forge(resumed.frame), NOW).err(), Some(Error::NotConfirmed));
    // A proof.
    let peers = peers.with_proof();
    let (hello, client) = rng.hello(|rng| peers.hello(rng));
    let (challenge, _) = challenge(&peers, hello, &mut rng);
    assert_eq!(client.read(&forge(challenge), NOW).err(), Some(Error::ProofNotAuthentic));
}

// ---- Controls --------------------------------------------------------------------------------------------------------

/// What a careless key service gives: the plaintext, and whether there is one.
struct Plaintext {
    bytes: [u8; 64],
    is_good: bool,
}

fn careless(provider: Provider, handler: fn(Open<SealedLogin>, &Plaintext, &[u8; 32]) -> Option<Claim>) {
    let (peers, mut rng) = peers(provider, SUITE);
    let password = typed(b"a wrong guess");
    let credential = Credential::Password { user: "user00", password: &password };
    let (login, admit, _) = arrived(&peers, &mut rng, credential);
    let mut plaintext = black_box(Plaintext { bytes: [7; 64], is_good: true });
    hide(&mut plaintext.bytes);
    hide(&mut plaintext.is_good);
    drop(black_box(handler(sealed(admit(login)), &plaintext, black_box(&[7; 32]))));
}

fn goes_on_only_where_rsa_did_not_fail(open: Open<SealedLogin>, plaintext: &Plaintext, _: &[u8; 32]) -> Option<Claim> {
    if !plaintext.is_good {
        return None;
    }
    Some(showing(nothing, || open.answer(Decrypted::new(&plaintext.bytes))))
}

fn compares_the_challenge_byte_by_byte(
    open: Open<SealedLogin>,
    plaintext: &Plaintext,
    challenge: &[u8; 32],
) -> Option<Claim> {
    for (theirs, ours) in plaintext.bytes[32..].iter().zip(challenge) {
        if theirs != ours {
            return None;
        }
    }
    Some(open.answer(Decrypted::new(&plaintext.bytes)))
}

/// A verifier of one's own.
fn own(provider: Provider, verifier: fn(&[u8]) -> bool) {
    let (peers, mut rng) = peers(provider, SUITE);
    let token = typed(b"a token that somebody has stolen");
    let (login, admit, client) = arrived(&peers, &mut rng, Credential::Token(&token));
    let claim = claim(admit, login, all_but_the_secret, &mut rng);
    let Credential::Token(shown) = claim.credential() else { panic!("it is a token") };
    let mut is_good = black_box(verifier(shown));
    show(&mut is_good);
    black_box(is_good);
    refuse(claim, Reason::UnknownToken, client);
}

fn compares_hashes_as_slices(token: &[u8]) -> bool {
    // Of arrays of a known length there is code that compares all at once.
    black_box(Sha256::digest(token).to_vec()) == black_box(vec![7; 32])
}

fn looks_a_letter_up(token: &[u8]) -> bool {
    black_box(&[true; 256])[usize::from(token[0])]
}
