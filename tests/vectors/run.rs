//! Both machines of the library, frame by frame, beside both ends of the oracle.

use super::cases::{Answer, Case, PROLOGUE, cases};
use super::inputs::{Inputs, TicketState};
use super::login;
use super::oracle::{End, Secrets};
use super::plaintexts::{self, ACCEPT};
use super::refusals::codes;
use super::setting::{binding, inputs, load, script, trust};
use countersign::client::{self, AwaitAnswer, AwaitChallenge};
use countersign::crypto::rustcrypto::provider;
use countersign::server;
use countersign::{
    ClientConfig, Error, FreshTicket, Grant, Moment, Reason, ServerConfig, ServerKey, Session, Ticket, TicketKeys,
    UnixTime,
};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

const EXPORT_LABEL: &str = "example";
const EXPORT_CONTEXT: &[u8] = b"context";
pub const TODAY: UnixTime = UnixTime::from_secs(1_800_000_000);

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
    /// What each verdict opens to that asks for a further factor, without its padding.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requests: Vec<String>,
    /// What the last verdict opens to, without its padding.
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
    /// The rule by which a ticket was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_taken: Option<&'static str>,
    /// What the client ends with: `accepted`, or the code of its error.
    client: String,
    /// What the server ends with: `accepted`, or the code of its reason; `null` if it is left waiting.
    server: Option<String>,
}

pub fn alice() -> Grant {
    Grant::new("alice", ["read", "write"]).unwrap().with_epoch(1)
}

/// The verdict that grants this.
pub fn granted(inputs: &Inputs, ticket: (&[u8], u64)) -> Vec<u8> {
    match inputs.credential_kind {
        Some(2) => plaintexts::verdict(ACCEPT, "robot", &[], ticket),
        _ => plaintexts::verdict(ACCEPT, "alice", &["read", "write"], ticket),
    }
}

fn tickets() -> Arc<TicketKeys> {
    Arc::new(TicketKeys::new(provider(), Duration::from_secs(3600)))
}

/// Runs a case through both machines, checks it against the oracle, and gives the vector.
pub fn run(case: &Case) -> Vector {
    let ours = tickets();
    // The login before gives a ticket, whether it does in its own vector or not.
    let ticket = case.resumes.map(|before| {
        let before = cases().into_iter().find(|case| case.name == before).unwrap();
        let before = Case { tickets: true, ..before };
        let (_, sessions) = exchange(&before, &ours, None, None);
        let ticket = sessions.unwrap().0.info.ticket().unwrap().clone();
        if case.shown.is_used {
            let first = Case::resumed("first", "", before.server_suites[0], "the same ticket");
            assert!(exchange(&first, &ours, Some(ticket.clone()), None).1.is_some());
        }
        (before, ticket)
    });
    let (ticket, state) = ticket.map(|(before, ticket)| shown(case, &before, &ticket)).unzip();
    let keys = if case.answer == Answer::TicketUnknown { tickets() } else { ours };
    exchange(case, &keys, ticket, state.flatten()).0
}

/// An accepted login, and its session at the client and at the server.
pub fn session(login: &Case) -> (Vector, [Session; 2]) {
    let (vector, sessions) = exchange(login, &tickets(), None, None);
    (vector, sessions.unwrap().into())
}

/// The ticket of a login as the client of a case shows it, and what its server knows of it, where that decides.
fn shown(case: &Case, before: &Case, ticket: &Ticket) -> (Ticket, Option<TicketState>) {
    let mut kept = ticket.to_bytes().unwrap().to_vec();
    let secret = hex::encode(&kept[kept.len() - 480 - 2 - 32..][..32]);
    (case.shown.alter)(&mut kept);
    let made = TODAY.as_secs();
    let state = TicketState {
        principal: "alice",
        epoch: 1,
        suite: format!("{:04x}", before.server_suites[0].number()),
        key_id: hex::encode(ticket.key_id().as_bytes()),
        server_name: before.server_name,
        prologue: hex::encode(PROLOGUE),
        kind: 1,
        authenticated: made,
        made,
        expires: made + 3600,
        secret,
        now: server_now(case).as_secs(),
        epoch_now: case.shown.epoch,
        was_used: case.shown.is_used,
    };
    let is_known = case.shown.not_taken.is_some_and(|rule| rule != "K1");
    (Ticket::from_bytes(&kept).unwrap(), is_known.then_some(state))
}

fn server_now(case: &Case) -> UnixTime {
    UnixTime::from_secs(TODAY.as_secs() + case.shown.after)
}

/// The client's machine at its start.
enum Started {
    Login(AwaitChallenge),
    Resume(AwaitAnswer),
}

/// The vector under way.
pub struct Wire<'c> {
    pub case: &'c Case,
    frames: Vec<String>,
    altered: Option<Altered>,
    pub signature: Option<String>,
    pub requests: Vec<String>,
    pub verdict: Option<String>,
    outcome: Outcome,
    pub sessions: Option<(Session, Session)>,
}

impl Wire<'_> {
    /// Sends a frame: the bytes that arrive.
    pub fn cross(&mut self, sent: Vec<u8>) -> Vec<u8> {
        let mut arrived = sent.clone();
        (self.case.alter)(self.frames.len() + 1, &mut arrived);
        self.frames.push(hex::encode(&arrived));
        if arrived != sent {
            self.altered = Some(Altered { frame: self.frames.len(), sent: hex::encode(sent) });
        }
        arrived
    }

    pub fn end(&mut self, client: &str, server: Option<&str>) {
        (self.outcome.client, self.outcome.server) = (client.to_owned(), server.map(str::to_owned));
    }
}

/// One handshake. Gives both sessions if the login was accepted.
fn exchange(
    case: &Case,
    tickets: &Arc<TicketKeys>,
    ticket: Option<Ticket>,
    state: Option<TicketState>,
) -> (Vector, Option<(Session, Session)>) {
    let inputs = inputs(case, ticket.as_ref(), state);
    let suite = format!("{:04x}", case.server_suites[0].number());
    let mut ends = (End::client(&inputs, &suite), End::server(&inputs, &suite));
    let outcome = Outcome { rule: case.rule, not_taken: case.shown.not_taken, ..Outcome::default() };
    let (frames, requests) = (Vec::new(), Vec::new());
    let mut wire =
        Wire { case, frames, altered: None, signature: None, requests, verdict: None, outcome, sessions: None };
    handshake(&inputs, tickets, ticket, &mut ends, &mut wire);
    let (client, server) = ends;
    let Wire { frames, altered, signature, requests, verdict, outcome, mut sessions, .. } = wire;
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
        requests,
        verdict,
        server_secrets: if client == server { None } else { noted(server) },
        secrets: noted(client),
        records,
        outcome,
        suite,
        inputs: Inputs { client_signature: signature, ..inputs },
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
    let config = if case.factors.are_offered { config.offering_factors() } else { config };
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
    let config = match &case.stretching {
        Some(stretched) => config.with_stretching(stretched.announced()).unwrap(),
        None => config,
    };
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
    let account = alice().with_epoch(case.shown.epoch);
    match taken(&waits, &account, server_now(case)) {
        Ok(fresh) => {
            assert_eq!(case.shown.not_taken, None, "{}", case.name);
            let (frame, waits) = waits.resume(fresh, account, TODAY, &mut rng).unwrap();
            return resumed(wire, inputs, (client, server), started, frame, waits);
        }
        Err(rules) => assert!(case.shown.not_taken.is_none_or(|rule| rules.contains(&rule)), "{}", case.name),
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
    let begun = answer.and_then(|answer| match answer {
        client::Answer::Challenge(challenge) => login::begin(case, inputs, challenge.trust(&trust, TODAY)?),
        client::Answer::Resumed(_) => panic!("{}", case.name),
    });
    let begun = match begun {
        Ok(begun) => Some(begun),
        Err(Error::ProofNotAuthentic) if case.ignores_proof => {
            client.ignore_proof(&challenge);
            None
        }
        // It was told so, and is to go on all the same.
        Err(Error::KindNotTaken(_)) if case.rule == Some("L9") => None,
        Err(error) => return wire.end(error.code(), differs.map(|differs| Error::DifferentContext(differs).code())),
    };
    login::log_in(wire, inputs, (client, server), begun, waits);
}

/// The ticket that is shown, if it is good; otherwise the rules that it may break, as far as this library tells them apart.
fn taken(waits: &server::Hello, account: &Grant, now: UnixTime) -> Result<FreshTicket, &'static [&'static str]> {
    let claim = waits.ticket(now).ok_or(&["K1", "K2", "K3", "K4", "K5", "K8", "K9", "K10", "K11"][..])?;
    let fresh = claim.use_up_now().ok_or(&["K6"][..])?;
    if fresh.is_current(account) { Ok(fresh) } else { Err(&["K7"]) }
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
    if !["db.example", "ws.example"].contains(&choice.server_name()) {
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

    // Before the verdict is opened, the client has given up.
    let is_opened = !matches!(wire.case.rule, Some("A2" | "A3" | "A4"));
    let opened = is_opened.then(|| client.read_resumption(&frame)).flatten();
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
pub fn in_code(reason: &Reason) -> String {
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
