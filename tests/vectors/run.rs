//! Both machines of the library, frame by frame, beside both ends of the oracle.

use super::cases::{Answer, Case, PROLOGUE, cases};
use super::inputs::Inputs;
use super::oracle::{End, Secrets};
use super::plaintexts::{self, ACCEPT};
use super::refusals::codes;
use super::setting::{binding, inputs, load, script, trust};
use countersign::client::{self, AwaitAnswer, AwaitChallenge};
use countersign::crypto::rustcrypto::provider;
use countersign::server::{self, Admitted, Refusal};
use countersign::{
    ClientConfig, Credential, Error, Form, Grant, Moment, Prompt, Reason, ServerConfig, ServerKey, Session, Ticket,
    TicketKeys, UnixTime,
};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

const EXPORT_LABEL: &str = "example";
const EXPORT_CONTEXT: &[u8] = b"context";
const TODAY: UnixTime = UnixTime::from_secs(1_800_000_000);

#[derive(Debug, Serialize)]
pub struct Vector {
    pub name: String,
    about: &'static str,
    suite: String,
    server_key: String,
    pub inputs: Inputs,
    /// The frames as they arrived: where one was altered on the way, it is the altered one.
    pub frames: Vec<String>,
    altered: Option<Altered>,
    /// What the sealed verdict opens to, without its padding.
    verdict: Option<String>,
    /// As the client has them.
    pub secrets: Option<Secrets>,
    /// As the server has them, where that is not the same.
    server_secrets: Option<Secrets>,
    pub records: Option<Records>,
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
struct Altered {
    /// From 1.
    frame: usize,
    /// As it was sent.
    sent: String,
}

#[derive(Debug, Serialize)]
pub struct Records {
    /// Client to server: one Data, one KeyUpdate, one Data under the next key, one Close.
    pub client: Vec<String>,
    /// Server to client: one Data, one Close.
    pub server: Vec<String>,
    pub export_label: &'static str,
    pub export_context: String,
    pub exported: String,
}

#[derive(Debug, Default, Serialize)]
struct Outcome {
    /// Who refuses first, by which rule; `null` for an accept.
    rule: Option<&'static str>,
    /// What the client ends with: `accepted`, or the code of its error.
    client: String,
    /// What the server ends with: `accepted`, or the code of its reason; `null` if it is left waiting.
    server: Option<String>,
}

fn verify(credential: Credential<'_>) -> Result<Grant, Reason> {
    match credential {
        Credential::Password { user: "alice", password: b"correct horse battery staple" } => Ok(alice()),
        Credential::Password { user: "alice", .. } => Err(Reason::WrongPassword),
        Credential::Token(b"an-opaque-token") => Ok(Grant::new("robot", [""; 0]).unwrap()),
        Credential::Token(_) => Err(Reason::UnknownToken),
        _ => Err(Reason::UnknownUser),
    }
}

fn alice() -> Grant {
    Grant::new("alice", ["read", "write"]).unwrap().with_epoch(1)
}

/// The verdict that grants this.
fn granted(inputs: &Inputs, ticket: (&[u8], u64)) -> Vec<u8> {
    match inputs.credential_kind {
        Some(2) => plaintexts::verdict(ACCEPT, "robot", &[], ticket),
        _ => plaintexts::verdict(ACCEPT, "alice", &["read", "write"], ticket),
    }
}

/// Runs a case through both machines, checks it against the oracle, and gives the vector.
pub fn run(case: &Case) -> Vector {
    let tickets = || Arc::new(TicketKeys::new(provider(), Duration::from_secs(3600)));
    let ours = tickets();
    // The login before gives a ticket, whether it does in its own vector or not.
    let ticket = case.resumes.map(|before| {
        let before = cases().into_iter().find(|case| case.name == before).unwrap();
        let before = Case { tickets: true, ..before };
        let (_, sessions) = exchange(&before, &ours, None);
        sessions.unwrap().0.info.ticket().unwrap().clone()
    });
    let keys = if case.answer == Answer::TicketUnknown { tickets() } else { ours };
    exchange(case, &keys, ticket).0
}

/// The client's machine at its start.
enum Started {
    Login(AwaitChallenge),
    Resume(AwaitAnswer),
}

/// The vector under way.
struct Wire<'c> {
    case: &'c Case,
    frames: Vec<String>,
    altered: Option<Altered>,
    verdict: Option<String>,
    outcome: Outcome,
    sessions: Option<(Session, Session)>,
}

impl Wire<'_> {
    /// Sends a frame: the bytes that arrive.
    fn cross(&mut self, sent: Vec<u8>) -> Vec<u8> {
        let mut arrived = sent.clone();
        (self.case.alter)(self.frames.len() + 1, &mut arrived);
        self.frames.push(hex::encode(&arrived));
        if arrived != sent {
            self.altered = Some(Altered { frame: self.frames.len(), sent: hex::encode(sent) });
        }
        arrived
    }

    fn end(&mut self, client: &str, server: Option<&str>) {
        (self.outcome.client, self.outcome.server) = (client.to_owned(), server.map(str::to_owned));
    }
}

/// One handshake. Gives both sessions if the login was accepted.
fn exchange(case: &Case, tickets: &Arc<TicketKeys>, ticket: Option<Ticket>) -> (Vector, Option<(Session, Session)>) {
    let inputs = inputs(case, ticket.as_ref());
    let suite = format!("{:04x}", case.server_suites[0].number());
    let mut ends = (End::client(&inputs, &suite), End::server(&inputs, &suite));
    let outcome = Outcome { rule: case.rule, ..Outcome::default() };
    let mut wire = Wire { case, frames: Vec::new(), altered: None, verdict: None, outcome, sessions: None };
    handshake(&inputs, tickets, ticket, &mut ends, &mut wire);
    let (client, server) = ends;
    let Wire { frames, altered, verdict, outcome, mut sessions, .. } = wire;
    let is_accepted = outcome.client == "accepted" && outcome.server.as_deref() == Some("accepted");
    assert_eq!(is_accepted, case.rule.is_none(), "{}: {outcome:?}", case.name);
    if let Some(rule) = case.rule {
        let refused_by = if "SLNF".contains(&rule[..1]) { outcome.server.as_deref() } else { Some(&*outcome.client) };
        assert!(refused_by.is_some_and(|code| codes(rule).contains(&code)), "{}: {outcome:?}", case.name);
    }
    assert_eq!(is_accepted && case.verdict.is_none(), sessions.is_some(), "{}", case.name);
    let records = sessions.as_mut().map(|(ours, theirs)| {
        assert_eq!(client.secrets, server.secrets, "{}", case.name);
        let records = records(ours, theirs);
        client.check_records(&records.client, &records.server);
        assert_eq!(records.exported, client.exported(EXPORT_LABEL, EXPORT_CONTEXT, 48));
        assert_eq!(Some(ours.info.id().to_string().as_str()), client.secrets.get("session_id"));
        let next = ours.info.ticket().map(|ticket| ticket.to_bytes().unwrap());
        let next = next.map(|kept| hex::encode(&kept[kept.len() - 480 - 2 - 32..][..32]));
        assert_eq!(next.as_deref(), client.secrets.get("next_ticket_secret"));
        records
    });
    let (client, server) = (client.secrets, server.secrets);
    let noted = |secrets: Secrets| (!secrets.0.is_empty()).then_some(secrets);
    let vector = Vector {
        name: case.name.clone(),
        about: case.about,
        server_key: format!("tests/keys/{}.pem", case.key),
        frames,
        altered,
        verdict,
        server_secrets: if client == server { None } else { noted(server) },
        secrets: noted(client),
        records,
        outcome,
        suite,
        inputs,
    };
    (vector, sessions)
}

fn handshake(
    inputs: &Inputs,
    tickets: &Arc<TicketKeys>,
    ticket: Option<Ticket>,
    (client, server): &mut (End<'_>, End<'_>),
    wire: &mut Wire<'_>,
) {
    let (case, now) = (wire.case, Moment::ORIGIN);
    let trust = trust(case);
    let mut rng = script([
        Some(&inputs.client_nonce),
        inputs.client_x25519.as_ref(),
        inputs.client_x25519mlkem768.as_ref(),
        inputs.hello_rsa_secret.as_ref(),
        inputs.hello_oaep_seed.as_ref(),
    ]);
    let config = ClientConfig::new(provider()).with_suites(&case.client_suites).unwrap();
    let config = config.with_prologue(PROLOGUE).unwrap();
    let config = if case.factors.is_empty() { config } else { config.with_factors() };
    let config = Arc::new(if case.proof_at_resumption { config.with_proof_at_resumption() } else { config });
    let bound_to = binding(&inputs.binding_type, &inputs.binding_bytes);
    let (hello, started) = match ticket {
        None => {
            let (hello, state) = client::start(&config, &trust, &bound_to, &mut rng, now).unwrap();
            (hello, Started::Login(state))
        }
        Some(ticket) => {
            let ticket = trust.resume(ticket, "alice", TODAY).unwrap();
            let (hello, state) = client::resume(&config, &trust, &bound_to, ticket, &mut rng, now).unwrap();
            (hello, Started::Resume(state))
        }
    };
    assert_eq!(hello, client.hello(), "{}", case.name);
    let hello = wire.cross(hello);

    let config = ServerConfig::new(provider()).with_suites(&case.server_suites).unwrap();
    let config = config.with_prologue(case.server_prologue).unwrap().with_credential_kinds(&case.server_kinds).unwrap();
    let config = Arc::new(if case.tickets { config.with_tickets(Arc::clone(tickets)) } else { config });
    let waits = match read_hello(case, inputs, &config, hello.clone()) {
        Ok(hello) => hello,
        Err(error) => return wire.end("disconnected", Some(error.code())),
    };
    if case.answer == Answer::Busy {
        let frame = server::busy(Duration::from_secs(30));
        assert_eq!(frame, [9, 0, 3, 0, 30, 0]);
        let frame = wire.cross(frame);
        let error = read_answer(started, &frame).unwrap_err();
        return wire.end(error.code(), Some("busy"));
    }
    server.read_hello(&hello);
    let differs = waits.differs();
    let waits = if waits.is_sealed() && case.answer != Answer::Unproved {
        server.open_hello();
        let open = waits.open(&mut script([Some(&inputs.fallback)])).unwrap();
        open.run(&mut script([]))
    } else {
        waits
    };
    let is_opened = case.proves();
    let mut rng = script([
        Some(&inputs.server_nonce),
        inputs.server_x25519.as_ref(),
        inputs.server_x25519mlkem768.as_ref(),
        Some(&inputs.fallback).filter(|_| !is_opened),
    ]);
    if let Some(claim) = waits.ticket(TODAY) {
        let fresh = claim.use_up_now().unwrap();
        let (frame, waits) = waits.resume(fresh, alice(), TODAY, &mut rng).unwrap();
        return resumed(wire, inputs, (client, server), started, frame, waits);
    }
    let (frame, waits) = match waits.challenge(&mut rng) {
        Ok(challenged) => challenged,
        Err(error) => return wire.end("disconnected", Some(error.code())),
    };
    assert_eq!(frame, server.challenge(), "{}", case.name);
    let challenge = wire.cross(frame);

    let answer = read_answer(started, &challenge);
    // Where the client sealed no secret there is none that a proof could be computed from.
    if answer.is_ok() || case.seals() && matches!(answer, Err(Error::ProofNotAuthentic)) {
        assert_eq!(client.read_challenge(&challenge), answer.is_ok(), "{}", case.name);
    }
    let mut rng = script([inputs.rsa_secret.as_ref(), inputs.oaep_seed.as_ref()]);
    let login = answer.and_then(|answer| match answer {
        client::Answer::Challenge(challenge) => challenge.trust(&trust, TODAY),
        client::Answer::Resumed(_) => panic!("{}", case.name),
    });
    let login = login.and_then(|trusted| trusted.login(case.credential, &mut rng));
    let sealed = match login {
        Ok(login) => Some(login),
        Err(Error::ProofNotAuthentic) if case.ignores_proof => {
            client.ignore_proof(&challenge);
            None
        }
        Err(error) => return wire.end(error.code(), differs.map(|differs| Error::DifferentContext(differs).code())),
    };
    let secret = hex::decode(inputs.credential_secret.as_ref().unwrap()).unwrap();
    let user = inputs.credential_user.as_ref().unwrap();
    let plaintext = plaintexts::padded(inputs.credential_kind.unwrap(), user, &secret, |_| {});
    let frame = client.login(&case.plaintext.map_or(plaintext, |replacement| replacement()));
    // Where the library's client would not send that, the oracle's takes its place.
    let sealed = sealed.filter(|_| case.plaintext.is_none());
    let waits_for_verdict = sealed.map(|(sealed, state)| {
        assert_eq!(sealed, frame, "{}", case.name);
        state
    });
    let login = wire.cross(frame);

    let decided = decide(case, waits, login.clone());
    match &decided {
        Decided::Refused(Refusal { reason: Reason::Malformed(_), .. }) => server.read_malformed_login(&login),
        _ => drop(server.read_login(&login)),
    }
    let (waits_for_verdict, decided) = match decided {
        Decided::Asked(asked) => {
            let waits = waits_for_verdict.unwrap();
            let (waits, decided) = further(wire, (&mut *client, &mut *server), waits, asked);
            (Some(waits), decided)
        }
        decided => (waits_for_verdict, decided),
    };
    let (frame, session) = match decided {
        Decided::Accepted(accepted) => (accepted.frame, Ok(accepted.session)),
        Decided::Refused(refusal) => (refusal.frame, Err(refusal.reason)),
        Decided::Asked(_) => panic!("{}: there is one factor at most", case.name),
    };
    // Every refusal is the same, whatever the reason; not now is another.
    let opened = server.open_verdict(&frame[3..]).unwrap();
    let expected = match &session {
        Ok(_) => {
            let (ticket, lifetime) = plaintexts::ticket_in(&opened);
            assert_eq!((ticket.len(), lifetime), if case.tickets { (480, 3600) } else { (0, 0) });
            granted(inputs, (&ticket, lifetime))
        }
        Err(Reason::NotNow(_)) => plaintexts::verdict(2, "", &[], (&[], 0)),
        Err(_) => plaintexts::verdict(0, "", &[], (&[], 0)),
    };
    assert_eq!(opened, expected, "{}", case.name);
    let front = case.verdict.map_or_else(|| expected.clone(), |replace| replace(expected.clone()));
    let verdict = server.verdict(&front);
    if case.verdict.is_none() {
        assert_eq!(frame, verdict, "{}", case.name);
    }
    wire.verdict = Some(hex::encode(&front));
    let frame = wire.cross(verdict);

    let read = waits_for_verdict.map(|state| state.read(&frame, now, TODAY));
    let seen = match client.read_verdict(&frame).map(|verdict| verdict[0]) {
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
    let logged = session.as_ref().map_or_else(in_code, |_| "accepted".to_owned());
    wire.end(seen, Some(&logged));
    let read = read.and_then(Result::ok);
    if case.verdict.is_some() {
        // The oracle's server took the place of the library's, which has sealed another verdict.
        let id = read.map(|session| session.info.id().to_string());
        return assert_eq!(id.as_deref(), client.secrets.get("session_id").filter(|_| case.rule.is_none()));
    }
    wire.sessions = read.zip(session.ok());
}

/// What the server does with a ClientHello before it answers.
fn read_hello(
    case: &Case,
    inputs: &Inputs,
    config: &Arc<ServerConfig>,
    hello: Vec<u8>,
) -> Result<server::Hello, Error> {
    let kind = inputs.server_binding_type.as_ref().unwrap_or(&inputs.binding_type);
    let bytes = inputs.server_binding_bytes.as_ref().unwrap_or(&inputs.binding_bytes);
    let key = ServerKey::load(&load(case.key), provider()).unwrap();
    let waiting = server::AwaitHello::new(config, &binding(kind, bytes), Moment::ORIGIN);
    let choice = waiting.read(hello, Moment::ORIGIN)?;
    if choice.server_name() != "db.example" {
        return Err(Error::NoServerKey);
    }
    choice.choose(&key)
}

fn read_answer(started: Started, frame: &[u8]) -> Result<client::Answer, Error> {
    match started {
        Started::Login(state) => state.read(frame, Moment::ORIGIN).map(client::Answer::Challenge),
        Started::Resume(state) => state.read(frame, Moment::ORIGIN, TODAY),
    }
}

/// What a server says of a credential, or of a further factor.
enum Decided {
    Accepted(server::Accepted),
    Asked(server::Asked),
    Refused(Refusal),
}

impl From<Refusal> for Decided {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

const PROMPT: &str = "Code";

/// The server's way from a ClientLogin to its verdict.
fn decide(case: &Case, waits: server::AwaitLogin, login: Vec<u8>) -> Decided {
    let verdict = waits.read(login, Moment::ORIGIN).and_then(|login| {
        let claim = match login.admit() {
            Admitted::Sealed(open) => open.run(&mut script([])),
            Admitted::Opened(claim) => claim,
        };
        match verify(claim.credential()) {
            _ if case.not_now => Err(claim.reject(Reason::NotNow("the store is away"))),
            Ok(_) if case.wants_factor || !case.factors.is_empty() => {
                let prompt = Prompt::new(Form::Code, PROMPT).unwrap();
                claim.ask(&prompt, Moment::ORIGIN).map(Decided::Asked)
            }
            Ok(grant) => claim.accept_with_ticket(grant, TODAY, &mut script([])).map(Decided::Accepted),
            Err(reason) => Err(claim.reject(reason)),
        }
    });
    verdict.unwrap_or_else(Decided::from)
}

/// From a verdict that asks for a further factor to what is said of the answer.
fn further(
    wire: &mut Wire<'_>,
    (client, server): (&mut End<'_>, &mut End<'_>),
    waits: client::AwaitVerdict,
    server::Asked { frame, state }: server::Asked,
) -> (client::AwaitVerdict, Decided) {
    let (case, now) = (wire.case, Moment::ORIGIN);
    let expected = plaintexts::asking(PROMPT);
    assert_eq!(server.open_verdict(&frame[3..]).as_ref(), Some(&expected), "{}", case.name);
    assert_eq!(frame, server.verdict(&expected), "{}", case.name);
    server.asked();
    let frame = wire.cross(frame);
    assert_eq!(client.read_verdict(&frame), Some(expected), "{}", case.name);
    client.asked();
    let wanted = match waits.read_step(&frame, now, TODAY).unwrap() {
        client::Verdict::Factor(wanted) => wanted,
        client::Verdict::Accepted(_) => panic!("{}", case.name),
    };
    assert_eq!((wanted.prompt().form(), wanted.prompt().text()), (Form::Code, PROMPT));
    let (frame, waits) = wanted.answer(case.factors[0], now).unwrap();
    assert_eq!(frame, client.factor(&plaintexts::padded_factor(case.factors[0])), "{}", case.name);
    let frame = wire.cross(frame);
    let opened = server.read_factor(&frame);
    let decided = state.read(frame, now).and_then(|claim| {
        assert_eq!(opened, Some(plaintexts::padded_factor(claim.answer())), "{}", case.name);
        match claim.answer() {
            b"123456" => claim.accept_with_ticket(alice(), TODAY, &mut script([])).map(Decided::Accepted),
            _ => Err(claim.reject(Reason::WrongFactor)),
        }
    });
    (waits, decided.unwrap_or_else(Decided::from))
}

/// From a ServerResumption on.
fn resumed(
    wire: &mut Wire<'_>,
    inputs: &Inputs,
    (client, server): (&mut End<'_>, &mut End<'_>),
    started: Started,
    frame: Vec<u8>,
    waits: server::AwaitConfirm,
) {
    let name = &wire.case.name;
    let mut ours = server.take_ticket();
    let opened = server.open_verdict(&frame[ours.len()..]).unwrap();
    let (ticket, lifetime) = plaintexts::ticket_in(&opened);
    assert_eq!((ticket.len(), lifetime), (480, 3600));
    let expected = granted(inputs, (&ticket, lifetime));
    assert_eq!(opened, expected, "{name}");
    ours.extend(server.resumption_verdict(&expected));
    assert_eq!(frame, ours, "{name}");
    wire.verdict = Some(hex::encode(&expected));
    let frame = wire.cross(frame);

    let opened = client.read_resumption(&frame);
    let resumed = match read_answer(started, &frame) {
        Ok(client::Answer::Resumed(resumed)) => resumed,
        Ok(client::Answer::Challenge(_)) => panic!("{}", wire.case.name),
        Err(error) => {
            assert!(opened.is_none());
            return wire.end(error.code(), None);
        }
    };
    assert_eq!(opened, Some(expected));
    assert_eq!(resumed.frame, client.confirm());
    let confirm = wire.cross(resumed.frame);

    let is_confirm = server.is_confirm(&confirm);
    let confirmed = waits.read(confirm, Moment::ORIGIN);
    assert_eq!(is_confirm, confirmed.is_ok());
    wire.end("accepted", Some(confirmed.as_ref().map_or_else(Error::code, |_| "accepted")));
    wire.sessions = confirmed.ok().map(|session| (resumed.session, session));
}

/// The reason's code, and that of what is wrong with the bytes.
fn in_code(reason: &Reason) -> String {
    match reason {
        Reason::Malformed(error) => format!("{}: {}", reason.code(), error.code()),
        reason => reason.code().to_owned(),
    }
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
    client.info.export(EXPORT_LABEL, EXPORT_CONTEXT, &mut exported).unwrap();
    Records {
        client: client_records,
        server: server_records,
        export_label: EXPORT_LABEL,
        export_context: hex::encode(EXPORT_CONTEXT),
        exported: hex::encode(exported),
    }
}
