//! The two machines, each behind one call: a whole frame in, and what comes of it. Include it with `#[path]`, beside `support`, `toy`
//! and `settings`.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::settings::{CODE, Mood, Setting};
use super::support::grant;
use countersign::client::{self, Answer, AwaitAnswer, AwaitChallenge, AwaitVerdict, Challenge, Verdict};
use countersign::frame::FrameType;
use countersign::server::{self, AwaitConfirm, AwaitFactor, AwaitHello, AwaitLogin, AwaitSolution, Hello};
use countersign::{
    Differs, Error, Form, Grant, KeyId, Moment, Prompt, Puzzle, PuzzleDifficulty, PuzzleSolution, Reason, Received,
    ServerKeys, Session, Suite, TicketClaim, TicketKeys,
};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// Everything happens at once: time has tests of its own.
const NOW: Moment = Moment::ORIGIN;

/// Where a machine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Stage {
    AwaitHello,
    AwaitSolution,
    AwaitLogin,
    AwaitFactor,
    AwaitConfirm,
    AwaitAnswer,
    AwaitChallenge,
    AwaitVerdict,
    Session,
    /// It has ended, and takes nothing any more.
    Over(End),
}

/// How.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum End {
    /// The peer closed its direction.
    Closed,
    /// The input was refused.
    Refused,
    /// The server has no room.
    Busy,
    /// The two ends do not mean the same connection.
    Different,
    /// At the client: the login was not good.
    Rejected,
    /// At the client: nobody could decide.
    NotNow,
}

/// What comes of a frame: where the machine is then, and what it sends (nothing, or one frame).
pub struct Reply {
    pub stage: Stage,
    pub sent: Vec<u8>,
}

fn reply(stage: Stage, sent: Vec<u8>) -> Reply {
    Reply { stage, sent }
}

fn over(end: End) -> Reply {
    reply(Stage::Over(end), Vec::new())
}

/// Either end, as a test feeds it.
pub trait Machine {
    fn stage(&self) -> Stage;
    fn feed(&mut self, frame: &[u8]) -> Reply;
    fn session(&mut self) -> &mut Session;

    /// What it sent before anything came.
    fn hello(&self) -> Option<&[u8]> {
        None
    }
}

pub struct Server {
    setting: Setting,
    keys: Option<Arc<TicketKeys>>,
    state: ServerState,
}

enum ServerState {
    Hello(AwaitHello),
    Solution(AwaitSolution),
    Login(AwaitLogin),
    Factor(AwaitFactor, usize),
    Confirm(AwaitConfirm),
    Session(Session),
    Over(End),
}

impl Server {
    pub fn new(setting: &Setting) -> Self {
        let setting = setting.clone();
        let keys = setting.tickets.as_ref().map(|saved| {
            let keys = setting.ticket_keys();
            keys.load(saved).unwrap();
            Arc::new(keys)
        });
        Self::with_tickets(setting, keys)
    }

    /// One of several that share ticket keys, and remember together what was used.
    pub fn with_tickets(setting: Setting, keys: Option<Arc<TicketKeys>>) -> Self {
        let mut scenario = setting.scenario.clone();
        if let Some(keys) = &keys {
            scenario = scenario.tickets(Arc::clone(keys));
        }
        Self { keys, state: ServerState::Hello(scenario.await_hello()), setting }
    }

    /// What is kept of tickets for the next connection.
    pub fn saved(&self) -> Vec<u8> {
        self.keys.as_ref().unwrap().save().unwrap().to_vec()
    }

    fn grant(&self) -> Grant {
        grant().with_epoch(self.setting.epoch)
    }

    fn take(&mut self, frame: &[u8]) -> Result<Reply, Vec<u8>> {
        let silent = |_: Error| Vec::new();
        let refusal = |refusal: server::Refusal| refusal.frame;
        match core::mem::replace(&mut self.state, ServerState::Over(End::Refused)) {
            ServerState::Hello(state) => {
                let hello = state.read(frame.to_vec(), NOW).map_err(silent)?;
                let hello = self.server_keys().answer(hello, self.setting.today).map_err(silent)?;
                let Some(bits) = self.setting.puzzle else { return self.answer(hello).map_err(silent) };
                let (bits, wait) = (PuzzleDifficulty::new(bits).unwrap(), Duration::from_secs(3));
                // Another server draws another nonce.
                let scenario = &self.setting.scenario;
                let rng = &mut scenario.rng(&format!("puzzle of {}", scenario.private_key().public_key().id()));
                let (frame, state) = hello.puzzle(bits, wait, rng).map_err(silent)?;
                self.state = ServerState::Solution(state);
                Ok(reply(Stage::AwaitSolution, frame))
            }
            ServerState::Solution(state) => {
                let hello = state.read(frame, NOW).map_err(silent)?;
                self.answer(hello).map_err(silent)
            }
            ServerState::Login(state) => {
                let rng = &mut self.setting.scenario.rng("blinding");
                let claim = state.read(frame.to_vec(), NOW).map_err(refusal)?.admit().open(rng);
                let verdict = (self.setting.verify)(claim.credential());
                let verdict = if self.setting.mood == Mood::Strict { Err(Reason::UnknownUser) } else { verdict };
                if self.setting.mood == Mood::Away {
                    return Err(refusal(claim.reject(Reason::NotNow("the store is away"))));
                }
                let grant = match verdict {
                    Ok(grant) => grant.with_epoch(self.setting.epoch),
                    Err(reason) => return Err(refusal(claim.reject(reason))),
                };
                if self.setting.factors > 0 {
                    let asked = claim.ask(&prompt(), NOW).map_err(refusal)?;
                    self.state = ServerState::Factor(asked.state, 1);
                    return Ok(reply(Stage::AwaitFactor, asked.frame));
                }
                let rng = &mut self.setting.scenario.rng("ticket");
                let accepted = claim.accept_with_ticket(grant, self.setting.today, rng).map_err(refusal)?;
                self.state = ServerState::Session(accepted.session);
                Ok(reply(Stage::Session, accepted.frame))
            }
            ServerState::Factor(state, asked) => {
                let claim = state.read(frame.to_vec(), NOW).map_err(refusal)?;
                if claim.answer() != CODE {
                    return Err(refusal(claim.reject(Reason::WrongFactor)));
                }
                if asked < self.setting.factors {
                    let next = claim.ask(&prompt(), NOW).map_err(refusal)?;
                    self.state = ServerState::Factor(next.state, asked + 1);
                    return Ok(reply(Stage::AwaitFactor, next.frame));
                }
                let accepted = claim.accept(self.grant()).map_err(refusal)?;
                self.state = ServerState::Session(accepted.session);
                Ok(reply(Stage::Session, accepted.frame))
            }
            ServerState::Confirm(state) => {
                self.state = ServerState::Session(state.read(frame.to_vec(), NOW).map_err(silent)?);
                Ok(reply(Stage::Session, Vec::new()))
            }
            ServerState::Session(mut session) => {
                let next = record(&mut session, frame).map_err(silent)?;
                self.state = match next.stage {
                    Stage::Over(end) => ServerState::Over(end),
                    _ => ServerState::Session(session),
                };
                Ok(next)
            }
            ServerState::Over(_) => panic!("a machine that has ended takes nothing"),
        }
    }

    /// The key, by the names that it goes by.
    fn server_keys(&self) -> ServerKeys {
        let key = self.setting.scenario.private_key();
        let keys = ServerKeys::from(key.clone());
        match self.setting.names {
            None => keys.with_any_name(),
            Some(names) => names.iter().fold(keys, |keys, name| keys.with_name(name, key.clone()).unwrap()),
        }
    }

    fn answer(&mut self, hello: Hello) -> Result<Reply, Error> {
        let scenario = &self.setting.scenario;
        if self.setting.mood == Mood::Full {
            return Ok(reply(Stage::Over(End::Busy), server::busy(Duration::from_secs(3))));
        }
        let rng = &mut scenario.rng("server hello");
        let hello = match self.setting.mood {
            Mood::NoProof => hello,
            _ => match hello.open(&mut scenario.rng("fallback")) {
                Ok(open) => open.run(&mut scenario.rng("blinding")),
                Err(hello) => *hello,
            },
        };
        let ticket = hello.ticket(self.setting.today).and_then(TicketClaim::use_up_now);
        let account = |principal: &str| Grant::new(principal, ["read"]).unwrap().with_epoch(self.setting.epoch);
        let ticket = ticket.map(|ticket| (account(ticket.principal()), ticket));
        if let Some((grant, ticket)) = ticket.filter(|(grant, ticket)| ticket.is_current(grant)) {
            let (frame, state) = hello.resume(ticket, grant, self.setting.today, rng)?;
            self.state = ServerState::Confirm(state);
            return Ok(reply(Stage::AwaitConfirm, frame));
        }
        if hello.differs().is_some() {
            return Ok(reply(Stage::Over(End::Different), hello.challenge(rng)?.0));
        }
        let (frame, state) = hello.challenge(rng)?;
        self.state = ServerState::Login(state);
        Ok(reply(Stage::AwaitLogin, frame))
    }
}

fn prompt() -> Prompt {
    Prompt::new(Form::Code, "code").unwrap()
}

/// Each puzzle once: there are a few, and each is met a thousand times.
fn solve(puzzle: Option<Puzzle>) -> PuzzleSolution {
    thread_local!(static SOLVED: RefCell<Vec<(Puzzle, PuzzleSolution)>> = const { RefCell::new(Vec::new()) });
    let puzzle = puzzle.unwrap();
    SOLVED.with_borrow_mut(|solved| {
        if let Some((_, solution)) = solved.iter().find(|(known, _)| *known == puzzle) {
            return solution.clone();
        }
        let solution = puzzle.solve(|| true).unwrap();
        solved.push((puzzle, solution.clone()));
        solution
    })
}

fn record(session: &mut Session, frame: &[u8]) -> Result<Reply, Error> {
    Ok(match session.opener.open(&mut frame.to_vec())? {
        Received::Close => over(End::Closed),
        Received::Data(_) | Received::KeyUpdate => reply(Stage::Session, Vec::new()),
    })
}

impl Machine for Server {
    fn stage(&self) -> Stage {
        match &self.state {
            ServerState::Hello(_) => Stage::AwaitHello,
            ServerState::Solution(_) => Stage::AwaitSolution,
            ServerState::Login(_) => Stage::AwaitLogin,
            ServerState::Factor(..) => Stage::AwaitFactor,
            ServerState::Confirm(_) => Stage::AwaitConfirm,
            ServerState::Session(_) => Stage::Session,
            ServerState::Over(end) => Stage::Over(*end),
        }
    }

    fn feed(&mut self, frame: &[u8]) -> Reply {
        let reply = self.take(frame).unwrap_or_else(|sent| reply(Stage::Over(End::Refused), sent));
        if let Stage::Over(end) = reply.stage {
            self.state = ServerState::Over(end);
        }
        reply
    }

    fn session(&mut self) -> &mut Session {
        match &mut self.state {
            ServerState::Session(session) => session,
            _ => panic!("there is no session"),
        }
    }
}

pub struct Client {
    setting: Setting,
    /// What it sent first.
    pub hello: Vec<u8>,
    /// What its login went to.
    pub sent: Option<Sent>,
    state: ClientState,
}

/// Whom a credential has gone to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    pub key: KeyId,
    pub suite: Suite,
    pub is_proved: bool,
}

enum ClientState {
    Answer(AwaitAnswer),
    Challenge(AwaitChallenge),
    Verdict(AwaitVerdict),
    Session(Session),
    Over(End),
}

impl Client {
    pub fn new(setting: &Setting) -> Self {
        let scenario = &setting.scenario;
        let shown = setting.shown.clone().and_then(|ticket| scenario.trusted().resume(ticket, "alice", setting.today));
        let (config, rng) = (scenario.client_config(), &mut scenario.rng("client hello"));
        let (hello, state) = match shown {
            Some(ticket) => {
                let resumed = client::resume(&config, scenario.trusted(), scenario.client_binding(), ticket, rng, NOW);
                let (hello, state) = resumed.unwrap();
                (hello, ClientState::Answer(state))
            }
            None => {
                let (hello, state) =
                    client::start(&config, scenario.trusted(), scenario.client_binding(), rng, NOW).unwrap();
                (hello, ClientState::Challenge(state))
            }
        };
        Self { setting: setting.clone(), hello, sent: None, state }
    }

    fn take(&mut self, frame: &[u8]) -> Result<Reply, Error> {
        match core::mem::replace(&mut self.state, ClientState::Over(End::Refused)) {
            ClientState::Answer(state) if state.puzzle(frame).is_some() => {
                let solution = solve(state.puzzle(frame));
                let (frame, state) = state.solved(&solution)?;
                self.state = ClientState::Answer(state);
                Ok(reply(Stage::AwaitAnswer, frame))
            }
            ClientState::Challenge(state) if state.puzzle(frame).is_some() => {
                let solution = solve(state.puzzle(frame));
                let (frame, state) = state.solved(&solution)?;
                self.state = ClientState::Challenge(state);
                Ok(reply(Stage::AwaitChallenge, frame))
            }
            ClientState::Answer(state) => match state.read(frame, NOW, self.setting.today)? {
                Answer::Resumed(resumed) => {
                    self.state = ClientState::Session(resumed.session);
                    Ok(reply(Stage::Session, resumed.frame))
                }
                Answer::Challenge(challenge) => self.log_in(challenge),
            },
            ClientState::Challenge(state) => self.log_in(state.read(frame, NOW)?),
            ClientState::Verdict(state) => match state.read_step(frame, NOW, self.setting.today)? {
                Verdict::Accepted(session) => {
                    self.state = ClientState::Session(session);
                    Ok(reply(Stage::Session, Vec::new()))
                }
                Verdict::Factor(wanted) => {
                    let (frame, state) = wanted.answer(self.setting.code, NOW)?;
                    self.state = ClientState::Verdict(state);
                    Ok(reply(Stage::AwaitVerdict, frame))
                }
            },
            ClientState::Session(mut session) => {
                let next = record(&mut session, frame)?;
                self.state = match next.stage {
                    Stage::Over(end) => ClientState::Over(end),
                    _ => ClientState::Session(session),
                };
                Ok(next)
            }
            ClientState::Over(_) => panic!("a machine that has ended takes nothing"),
        }
    }

    fn log_in(&mut self, challenge: Challenge) -> Result<Reply, Error> {
        let scenario = &self.setting.scenario;
        let sent = Sent { key: challenge.key().id(), suite: challenge.suite(), is_proved: challenge.is_proved() };
        let trusted = challenge.trust(scenario.trusted(), self.setting.today)?;
        let (frame, state) = trusted.login(scenario.credential, &mut scenario.rng("client login"))?;
        self.state = ClientState::Verdict(state);
        self.sent = Some(sent);
        Ok(reply(Stage::AwaitVerdict, frame))
    }
}

impl Machine for Client {
    fn hello(&self) -> Option<&[u8]> {
        Some(&self.hello)
    }

    fn stage(&self) -> Stage {
        match &self.state {
            ClientState::Answer(_) => Stage::AwaitAnswer,
            ClientState::Challenge(_) => Stage::AwaitChallenge,
            ClientState::Verdict(_) => Stage::AwaitVerdict,
            ClientState::Session(_) => Stage::Session,
            ClientState::Over(end) => Stage::Over(*end),
        }
    }

    fn feed(&mut self, frame: &[u8]) -> Reply {
        let reply = self.take(frame).unwrap_or_else(|error| {
            over(match error {
                Error::Busy { .. } => End::Busy,
                Error::DifferentContext(Differs::Prologue) => End::Different,
                Error::Refused => End::Rejected,
                Error::NotNow => End::NotNow,
                _ => End::Refused,
            })
        });
        if let Stage::Over(end) = reply.stage {
            self.state = ClientState::Over(end);
        }
        reply
    }

    fn session(&mut self) -> &mut Session {
        match &mut self.state {
            ClientState::Session(session) => session,
            _ => panic!("there is no session"),
        }
    }
}

/// Who sent a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Client,
    Server,
}

/// Carries frames to and fro until nobody has anything to say. Gives them all.
pub fn meet(client: &mut Client, server: &mut Server) -> Vec<(Side, Vec<u8>)> {
    let mut frames = vec![(Side::Client, client.hello.clone())];
    while let Some((from, frame)) = frames.last().cloned() {
        let (machine, side): (&mut dyn Machine, _) = match from {
            Side::Client => (server, Side::Server),
            Side::Server => (client, Side::Client),
        };
        if matches!(machine.stage(), Stage::Over(_)) {
            break;
        }
        match machine.feed(&frame).sent {
            sent if sent.is_empty() => break,
            sent => frames.push((side, sent)),
        }
    }
    frames
}

/// A record that either end sends.
#[derive(Clone, Copy)]
pub enum Record {
    Data(&'static [u8]),
    Update,
    Close,
}

impl Record {
    pub fn seal(self, session: &mut Session) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Data(data) => session.sealer.seal(data, &mut out).unwrap(),
            Self::Update => session.sealer.update_key(&mut out).unwrap(),
            Self::Close => session.sealer.close(&mut out).unwrap(),
        }
        out
    }
}

/// The type that a frame says it is of.
pub fn kind(frame: &[u8]) -> Option<FrameType> {
    frame.first().and_then(|&byte| FrameType::from_byte(byte))
}
