//! A login from where the server's key is trusted to its end: the credential, further factors, and verdicts.

use super::cases::Case;
use super::inputs::{Inputs, signing_key_der};
use super::oracle::End;
use super::plaintexts::{self, ACCEPT};
use super::run::{TODAY, Wire, alice, granted, in_code};
use super::setting::script;
use countersign::client::{AwaitSignature, AwaitVerdict, Trusted, Verdict};
use countersign::server::{Accepted, Admitted, Asked, AwaitFactor, AwaitLogin, Claim, Refusal};
use countersign::{
    Credential, Error, Form, Grant, Moment, Prompt, Reason, Session, StretchedHash, UnixTime, VerifyingKey, limits,
};

const NOW: Moment = Moment::ORIGIN;

/// The client's login, as the library begins it.
pub enum Begun {
    Sealed(Vec<u8>, AwaitVerdict),
    Signing(AwaitSignature),
}

/// What a server has decided.
enum Decided {
    Accepted(Session),
    Asked(AwaitFactor),
    Refused(Reason),
}

pub fn begin(case: &Case, inputs: &Inputs, trusted: Trusted) -> Result<Begun, Error> {
    let mut rng = script([inputs.rsa_secret.as_ref(), inputs.oaep_seed.as_ref()]);
    Ok(match &case.signer {
        None => {
            let (frame, state) = trusted.login(case.credential, &mut rng)?;
            Begun::Sealed(frame, state)
        }
        Some(signer) => {
            let key = VerifyingKey::from_spki_der(&signing_key_der(signer.key).1).unwrap();
            Begun::Signing(trusted.sign(signer.user, &key, &mut rng)?)
        }
    })
}

/// The ClientLogin of the oracle, which is the library's, too, unless that would not send it: then there is no state.
fn send(
    case: &Case,
    inputs: &Inputs,
    client: &mut End<'_>,
    begun: Option<Begun>,
) -> (Vec<u8>, Option<AwaitVerdict>, Option<String>) {
    let Some(signer) = &case.signer else {
        let secret = hex::decode(inputs.credential_secret.as_ref().unwrap()).unwrap();
        let user = inputs.credential_user.as_ref().unwrap();
        let plaintext = plaintexts::padded(inputs.credential_kind.unwrap(), user, &secret, |_| {});
        let plaintext = case.plaintext.map_or(plaintext, |replacement| replacement());
        let frame = client.login(plaintext.len(), |_| plaintext);
        let state = match begun {
            Some(Begun::Sealed(sealed, state)) if case.plaintext.is_none() => {
                assert_eq!(sealed, frame, "{}", case.name);
                Some(state)
            }
            _ => None,
        };
        return (frame, state, None);
    };
    let size = signer.credential(&[0; 32]).0.len();
    let (mut signature, mut message) = (Vec::new(), Vec::new());
    let frame = client.login(size, |transcript_r| {
        message = signer.message(transcript_r);
        let (plaintext, signed) = signer.credential(transcript_r);
        signature = signed;
        plaintext
    });
    let state = begun.and_then(|begun| match begun {
        Begun::Signing(signing) => {
            assert_eq!(signing.message(), message, "{}", case.name);
            // It would not send what is not its key's signature.
            let (sealed, state) = signing.answer(&signature).ok().filter(|_| !signer.is_spoilt)?;
            assert_eq!(sealed, frame, "{}", case.name);
            Some(state)
        }
        Begun::Sealed(..) => None,
    });
    assert_eq!(state.is_none(), signer.is_spoilt, "{}", case.name);
    (frame, state, Some(hex::encode(signature)))
}

/// From the login to what becomes of it.
pub fn log_in(
    wire: &mut Wire<'_>,
    inputs: &Inputs,
    (client, server): (&mut End<'_>, &mut End<'_>),
    begun: Option<Begun>,
    waits: AwaitLogin,
) {
    let case = wire.case;
    let (frame, mut state, signature) = send(case, inputs, client, begun);
    wire.signature = signature;
    let login = wire.cross(frame);
    let (mut frame, mut decided) = decide(case, waits, login.clone());
    match &decided {
        Decided::Refused(Reason::Malformed(_)) => server.read_malformed_login(&login),
        _ => drop(server.read_login(&login)),
    }
    for step in 0.. {
        let opened = server.open_verdict(&frame[3..]).unwrap();
        let expected = expected(case, inputs, &decided, step, &opened);
        assert_eq!(opened, expected, "{}", case.name);
        let replaced = case.verdict.filter(|_| !matches!(decided, Decided::Asked(_)));
        let front = match replaced {
            Some(replace) => replace(expected),
            None => expected,
        };
        let verdict = server.verdict(&front);
        if replaced.is_none() {
            assert_eq!(frame, verdict, "{}", case.name);
        }
        let arrived = wire.cross(verdict);
        let read = state.take().map(|state| state.read_step(&arrived, NOW, TODAY));
        let seen = client.read_verdict(&arrived);
        let Decided::Asked(asked) = decided else {
            wire.verdict = Some(hex::encode(&front));
            return end(wire, client, seen, read, decided);
        };
        wire.requests.push(hex::encode(&front));
        server.ask();
        let wanted = match read {
            Some(Ok(Verdict::Factor(wanted))) => wanted,
            Some(Err(error)) => return wire.end(error.code(), None),
            _ => panic!("{}", case.name),
        };
        assert_eq!(seen.as_ref(), Some(&front), "{}", case.name);
        client.ask();
        let answer = case.factors.answers[step];
        let is_last = step + 1 == case.factors.answers.len();
        let spoilt = case.factors.plaintext.filter(|_| is_last);
        let factor = client.factor(&spoilt.map_or_else(|| plaintexts::padded_factor(answer, |_| {}), |make| make()));
        let (sealed, waits) = wanted.answer(answer, NOW).unwrap();
        state = spoilt.is_none().then_some(waits);
        if spoilt.is_none() {
            assert_eq!(sealed, factor, "{}", case.name);
        }
        let factor = wire.cross(factor);
        server.read_factor(&factor);
        (frame, decided) = decide_factor(case, asked, factor, step);
    }
}

/// What the verdict has to say. Every refusal is the same, whatever the reason; not now is another.
fn expected(case: &Case, inputs: &Inputs, decided: &Decided, step: usize, opened: &[u8]) -> Vec<u8> {
    match decided {
        Decided::Accepted(_) => {
            let (ticket, lifetime) = plaintexts::ticket_in(opened);
            assert_eq!((ticket.len(), lifetime), if case.tickets { (480, 3600) } else { (0, 0) });
            granted(inputs, (&ticket, lifetime))
        }
        Decided::Asked(_) => {
            let (form, prompt, _) = case.factors.wanted[step];
            plaintexts::request(form, prompt, &[])
        }
        Decided::Refused(Reason::NotNow(_)) => plaintexts::verdict(2, "", &[], (&[], 0)),
        Decided::Refused(_) => plaintexts::verdict(0, "", &[], (&[], 0)),
    }
}

/// The last verdict has arrived.
fn end(
    wire: &mut Wire<'_>,
    client: &End<'_>,
    seen: Option<Vec<u8>>,
    read: Option<Result<Verdict, Error>>,
    decided: Decided,
) {
    let case = wire.case;
    let read = read.map(|read| read.and_then(Verdict::accepted));
    let seen = match seen.map(|verdict| verdict[0]) {
        Some(ACCEPT) => "accepted",
        Some(0) => "refused",
        Some(_) => "not-now",
        None => "verdict-not-authentic",
    };
    let seen = match &read {
        Some(Err(error)) if matches!(case.rule, Some("V3" | "V7")) => error.code(),
        Some(read) => {
            assert_eq!(seen, read.as_ref().map_or_else(Error::code, |_| "accepted"), "{}", case.name);
            seen
        }
        None => seen,
    };
    let (logged, session) = match decided {
        Decided::Accepted(session) => ("accepted".to_owned(), Some(session)),
        Decided::Refused(reason) => (in_code(&reason), None),
        Decided::Asked(_) => panic!("{}", case.name),
    };
    wire.end(seen, Some(&logged));
    let read = read.and_then(Result::ok);
    if case.verdict.is_some() {
        // The oracle's server took the place of the library's, which has sealed another verdict.
        if let Some(ticket) = read.as_ref().and_then(|session| session.info.ticket()) {
            let of =
                |lifetime: u64| UnixTime::from_secs(TODAY.as_secs() + lifetime.min(limits::TICKET_MAX_AGE.as_secs()));
            let (_, lifetime) = plaintexts::ticket_in(&hex::decode(wire.verdict.as_ref().unwrap()).unwrap());
            let last = UnixTime::from_secs(of(lifetime).as_secs() - 1);
            assert_eq!(
                [TODAY, last, of(lifetime)].map(|now| ticket.is_usable(now)),
                [true, true, false],
                "{}",
                case.name
            );
        }
        let id = read.map(|session| session.info.id().to_string());
        return assert_eq!(id.as_deref(), client.secrets.get("session_id").filter(|_| case.rule.is_none()));
    }
    wire.sessions = read.zip(session);
}

/// The server's way from a ClientLogin to its verdict.
fn decide(case: &Case, waits: AwaitLogin, login: Vec<u8>) -> (Vec<u8>, Decided) {
    let claim = waits.read(login, NOW).map(|login| match login.admit() {
        Admitted::Sealed(open) => open.run(&mut script([])),
        Admitted::Opened(claim) => claim,
    });
    let claim = match claim {
        Ok(claim) => claim,
        Err(refusal) => return refused(refusal),
    };
    let wanted = case.factors.wanted.first();
    match (verify(case, claim.credential()), wanted) {
        (_, None) if case.not_now => refused(claim.reject(Reason::NotNow("the store is away"))),
        (Ok(_), Some(_)) => asked(claim.ask(&prompt(case, 0), NOW)),
        (Ok(grant), None) => accepted(accept(claim, grant)),
        (Err(reason), _) => refused(claim.reject(reason)),
    }
}

fn accept(claim: Claim, grant: Grant) -> Result<Accepted, Refusal> {
    claim.accept_with_ticket(grant, TODAY, &mut script([]))
}

/// And from a ClientFactor, the answer to the request of this step.
fn decide_factor(case: &Case, waits: AwaitFactor, factor: Vec<u8>, step: usize) -> (Vec<u8>, Decided) {
    let claim = match waits.read(factor, NOW) {
        Ok(claim) => claim,
        Err(refusal) => return refused(refusal),
    };
    let wanted = case.factors.wanted;
    if claim.answer() != wanted[step].2 {
        return refused(claim.reject(Reason::WrongFactor));
    }
    if step + 1 < wanted.len() {
        return asked(claim.ask(&prompt(case, step + 1), NOW));
    }
    match case.not_now {
        true => refused(claim.reject(Reason::NotNow("the store is away"))),
        false => accepted(claim.accept_with_ticket(alice(), TODAY, &mut script([]))),
    }
}

fn prompt(case: &Case, step: usize) -> Prompt {
    let (form, text, _) = case.factors.wanted[step];
    Prompt::new(Form::from_number(form).unwrap(), text).unwrap()
}

fn accepted(accepted: Result<Accepted, Refusal>) -> (Vec<u8>, Decided) {
    accepted.map_or_else(refused, |accepted| (accepted.frame, Decided::Accepted(accepted.session)))
}

fn asked(asked: Result<Asked, Refusal>) -> (Vec<u8>, Decided) {
    asked.map_or_else(refused, |asked| (asked.frame, Decided::Asked(asked.state)))
}

fn refused(refusal: Refusal) -> (Vec<u8>, Decided) {
    (refusal.frame, Decided::Refused(refusal.reason))
}

fn verify(case: &Case, credential: Credential<'_>) -> Result<Grant, Reason> {
    match credential {
        Credential::Password { user: "alice", password: b"correct horse battery staple" } => Ok(alice()),
        Credential::Password { user: "alice", .. } => Err(Reason::WrongPassword),
        Credential::Token(b"an-opaque-token") => Ok(Grant::new("robot", [""; 0]).unwrap().with_epoch(1)),
        Credential::Token(_) => Err(Reason::UnknownToken),
        Credential::Key { user: "alice", key } => {
            let hers = ["ed25519", "p256", "rsa"].map(|key| signing_key_der(key).1);
            let is_hers = hers.iter().any(|spki| spki == key.public_key().spki_der());
            if is_hers { Ok(alice()) } else { Err(Reason::UnknownKey) }
        }
        Credential::Stretched { user, password } => {
            let hers = case.stretching.as_ref().unwrap().stored();
            let hers = hers.iter().map(|stored| stored.parse::<StretchedHash>().unwrap());
            // Each of them would do.
            let checked = hers.map(|stored| password.check(Some(&stored).filter(|_| user == "alice")));
            checked.fold(Ok(()), Result::and).map(|()| alice())
        }
        _ => Err(Reason::UnknownUser),
    }
}
