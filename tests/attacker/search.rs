//! The search: every state that the attacker can bring the ends into, up to a bound, breadth first; and what must hold in each.

use super::dolev_yao::{Attacker, Known, NAME, PASSWORD, own_key};
use super::ends::Stage;
use super::support::wire::{self, ClientHello, ClientLogin, Message, ServerHello, ServerResumption};
use super::world::{Frame, Frames, Role, View, Views, World, processes, run};
use countersign::frame::FrameType;
use std::collections::{HashMap, HashSet, VecDeque};

/// How many frames of a trace may be put together from parts of others.
const SPLICED: u8 = 1;

/// What the attacker can do to these ends, and what it takes.
#[derive(Debug)]
pub struct Attack {
    pub broken: String,
    pub steps: Vec<String>,
}

/// How much was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Searched {
    pub states: usize,
    /// States in which a client has got its session, as it should.
    pub sessions: usize,
    pub deliveries: usize,
}

/// A process in some state.
type Local = usize;

struct Search<'w> {
    world: &'w World,
    attacker: Attacker<'w>,
    processes: Vec<Vec<usize>>,
    frames: Frames,
    locals: Vec<(Vec<(usize, Frame)>, Views)>,
    /// What comes of a delivery: none, where it is refused.
    steps: HashMap<(usize, Local, usize, Frame), Option<Local>>,
    /// What can be made from the one state of an end.
    made: HashMap<(usize, Local, usize, usize), Vec<Frame>>,
    spliced: HashMap<(Frame, Frame), Vec<Frame>>,
    hellos: Vec<Frame>,
    deliveries: usize,
}

struct Node {
    locals: Vec<Local>,
    spliced: u8,
    from: Option<(usize, String)>,
}

/// Looks at every state; the first in which something does not hold is the attack.
pub fn search(world: &World) -> Result<Searched, Attack> {
    let attacker = Attacker { world, provider: world.ends[0].setting.provider };
    let mut search = Search {
        world,
        processes: processes(world),
        frames: Frames::default(),
        locals: Vec::new(),
        steps: HashMap::new(),
        made: HashMap::new(),
        spliced: HashMap::new(),
        hellos: Vec::new(),
        deliveries: 0,
        attacker,
    };
    search.hellos = search.attacker.hellos().iter().map(|hello| search.frames.number(hello)).collect();
    let mut start = Vec::new();
    for process in search.processes.clone() {
        let views = run(world, &process, &[], &mut search.frames).unwrap();
        search.locals.push((Vec::new(), views));
        start.push(search.locals.len() - 1);
    }
    let mut nodes = vec![Node { locals: start.clone(), spliced: 0, from: None }];
    let mut seen: HashMap<Vec<Local>, u8> = HashMap::from([(start, 0)]);
    let mut queue = VecDeque::from([0]);
    while let Some(at) = queue.pop_front() {
        let (locals, spliced) = (nodes[at].locals.clone(), nodes[at].spliced);
        for process in 0..search.processes.len() {
            for slot in 0..search.processes[process].len() {
                for (frame, cost) in search.candidates(&locals, process, slot, SPLICED - spliced) {
                    let Some(next) = search.deliver(process, locals[process], slot, frame) else { continue };
                    let mut after = locals.clone();
                    after[process] = next;
                    let used = spliced + cost;
                    if seen.get(&after).is_some_and(|&before| before <= used) {
                        continue;
                    }
                    seen.insert(after.clone(), used);
                    let how = if cost > 0 { "spliced " } else { "" };
                    let end = self::name(world, search.processes[process][slot]);
                    let step = format!("{how}{} to {end}", search.describe(frame, &locals));
                    nodes.push(Node { locals: after.clone(), spliced: used, from: Some((at, step)) });
                    if let Some(broken) = search.broken(&after) {
                        return Err(Attack { broken, steps: trace(&nodes) });
                    }
                    queue.push_back(nodes.len() - 1);
                }
            }
        }
    }
    let has_session =
        |locals: &&Vec<Local>| search.views(locals).any(|(end, view)| search.is_client(end) && view.session.is_some());
    let sessions = seen.keys().filter(has_session).count();
    Ok(Searched { states: seen.len(), sessions, deliveries: search.deliveries })
}

fn name(world: &World, end: usize) -> &'static str {
    world.ends[end].name
}

fn trace(nodes: &[Node]) -> Vec<String> {
    let mut steps = Vec::new();
    let mut at = nodes.last();
    while let Some((from, step)) = at.and_then(|node| node.from.as_ref()) {
        steps.push(step.clone());
        at = nodes.get(*from);
    }
    steps.reverse();
    steps
}

impl Search<'_> {
    fn deliver(&mut self, process: usize, local: Local, slot: usize, frame: Frame) -> Option<Local> {
        if let Some(known) = self.steps.get(&(process, local, slot, frame)) {
            return *known;
        }
        self.deliveries += 1;
        let history = [&self.locals[local].0[..], &[(slot, frame)]].concat();
        let views = run(self.world, &self.processes[process], &history, &mut self.frames);
        let next = views.map(|views| {
            self.locals.push((history, views));
            self.locals.len() - 1
        });
        self.steps.insert((process, local, slot, frame), next);
        next
    }

    fn views<'s>(&'s self, locals: &'s [Local]) -> impl Iterator<Item = (usize, &'s View)> {
        self.processes
            .iter()
            .zip(locals)
            .flat_map(|(process, &local)| process.iter().copied().zip(&self.locals[local].1))
    }

    /// Every frame that has crossed the wire.
    fn seen(&self, locals: &[Local]) -> Vec<Frame> {
        let mut seen: Vec<Frame> = self.views(locals).flat_map(|(_, view)| view.sent.iter().copied()).collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    fn describe(&self, frame: Frame, locals: &[Local]) -> String {
        let kind = self.frames.kind(frame).unwrap();
        let from = self.views(locals).find(|(_, view)| view.sent.contains(&frame));
        format!(
            "the {kind} {}",
            from.map_or("of the attacker's".to_owned(), |(end, _)| format!("of {}", name(self.world, end)))
        )
    }

    /// What may be delivered to an end now, and what it costs of the bound.
    fn candidates(&mut self, locals: &[Local], process: usize, slot: usize, left: u8) -> Vec<(Frame, u8)> {
        let view = self.locals[locals[process]].1[slot].clone();
        let kinds: &[FrameType] = match view.stage {
            Stage::AwaitHello => &[FrameType::ClientHello],
            Stage::AwaitLogin => &[FrameType::ClientLogin],
            Stage::AwaitConfirm => &[FrameType::Confirm],
            Stage::AwaitAnswer => &[FrameType::ServerHello, FrameType::ServerResumption],
            Stage::AwaitChallenge => &[FrameType::ServerHello],
            Stage::AwaitVerdict => &[FrameType::ServerVerdict],
            // No world has puzzles or further factors.
            Stage::AwaitSolution | Stage::AwaitFactor | Stage::Session | Stage::Over(_) => return Vec::new(),
        };
        let known = self.known(locals);
        let key = (process, locals[process], slot, known.len());
        if !self.made.contains_key(&key) {
            let made = self.make(&view, &known, self.processes[process][slot]);
            self.made.insert(key, made);
        }
        let is_wanted = |frames: &Frames, frame: Frame| frames.kind(frame).is_some_and(|kind| kinds.contains(&kind));
        let mut whole: Vec<Frame> = self.seen(locals);
        whole.retain(|&frame| is_wanted(&self.frames, frame));
        let mut parts = whole.clone();
        // Of what the attacker makes, the first of each sort gives its parts, and of challenges one under each suite that is offered.
        let made = &self.made[&key];
        parts.extend(made.iter().take(3));
        if matches!(view.stage, Stage::AwaitAnswer | Stage::AwaitChallenge) {
            let under = |suite: u16| made.iter().find(|&&frame| self.suite(frame) == Some(suite));
            parts.extend(self.offers(&view).into_iter().filter_map(under));
        }
        whole.extend(made.iter());
        let mut given: HashSet<Frame> = whole.iter().copied().collect();
        let mut out: Vec<(Frame, u8)> = whole.iter().map(|&frame| (frame, 0)).collect();
        if left > 0 {
            for &base in &parts {
                for &donor in &parts {
                    let spliced = self.splice(base, donor);
                    out.extend(spliced.into_iter().filter(|&frame| given.insert(frame)).map(|frame| (frame, 1)));
                }
            }
        }
        out
    }

    /// What a challenge is under.
    fn suite(&self, frame: Frame) -> Option<u16> {
        let is_challenge = self.frames.kind(frame) == Some(FrameType::ServerHello);
        is_challenge.then(|| ServerHello::decode(&self.frames.bytes(frame)[3..]).map(|hello| hello.suite)).flatten()
    }

    /// One with one field of another's, in every way.
    fn splice(&mut self, base: Frame, donor: Frame) -> Vec<Frame> {
        if let Some(known) = self.spliced.get(&(base, donor)) {
            return known.clone();
        }
        let (a, b) = (self.frames.bytes(base).to_vec(), self.frames.bytes(donor).to_vec());
        let mut out = Vec::new();
        if base != donor && self.frames.kind(base) == self.frames.kind(donor) {
            match self.frames.kind(base) {
                Some(FrameType::ClientHello) => {
                    let donor = ClientHello::decode(&b[3..]).unwrap();
                    let fields: [fn(&mut ClientHello, ClientHello); 9] = [
                        |it, of| (it.suites, it.key_shares) = (of.suites, of.key_shares),
                        |it, of| it.nonce = of.nonce,
                        |it, of| it.server_name = of.server_name,
                        |it, of| it.known_keys = of.known_keys,
                        |it, of| it.context = of.context,
                        |it, of| it.ticket = of.ticket,
                        |it, of| it.extensions = of.extensions,
                        |it, of| it.rsa_ciphertext = of.rsa_ciphertext,
                        |it, of| it.binder = of.binder,
                    ];
                    out.extend(fields.map(|field| wire::edit(&a, |it| field(it, donor.clone()))));
                    // What is not there beside what is. (There are enough hellos as it is where there are tickets.)
                    if self.world.tickets.is_none() {
                        out.push(wire::edit(&a, |it: &mut ClientHello| it.versions.push(7)));
                    }
                    out.push(wire::edit(&a, |it: &mut ClientHello| {
                        let more: Vec<_> = donor.known_keys.iter().filter(|id| !it.known_keys.contains(*id)).collect();
                        it.known_keys.extend(more);
                    }));
                    // A ticket that is somebody's, and a binder that is nobody's.
                    out.push(wire::edit(&a, |it: &mut ClientHello| {
                        (it.ticket, it.binder) = (donor.ticket, donor.binder)
                    }));
                }
                Some(FrameType::ServerHello) => {
                    let donor = ServerHello::decode(&b[3..]).unwrap();
                    let fields: [fn(&mut ServerHello, ServerHello); 8] = [
                        |it, of| (it.suite, it.key_share) = (of.suite, of.key_share),
                        |it, of| it.nonce = of.nonce,
                        |it, of| (it.key_id, it.spki) = (of.key_id, of.spki),
                        |it, of| it.key_share = of.key_share,
                        |it, of| it.credential_kinds = of.credential_kinds,
                        |it, of| it.context = of.context,
                        |it, of| it.extensions = of.extensions,
                        |it, of| it.proof = of.proof,
                    ];
                    out.extend(fields.map(|field| wire::edit(&a, |it| field(it, donor.clone()))));
                }
                Some(FrameType::ClientLogin) => {
                    let donor = ClientLogin::decode(&b[3..]).unwrap();
                    out.push(wire::edit(&a, |it: &mut ClientLogin| it.rsa_ciphertext = donor.rsa_ciphertext.clone()));
                    out.push(wire::edit(&a, |it: &mut ClientLogin| it.sealed_credential = donor.sealed_credential));
                }
                Some(FrameType::ServerResumption) => {
                    let donor = ServerResumption::decode(&b[3..]).unwrap();
                    let fields: [fn(&mut ServerResumption, ServerResumption); 4] = [
                        |it, of| it.nonce = of.nonce,
                        |it, of| it.key_share = of.key_share,
                        |it, _| it.extensions.push((0x0a0a, Vec::new())),
                        |it, of| it.sealed_verdict = of.sealed_verdict,
                    ];
                    out.extend(fields.map(|field| wire::edit(&a, |it| field(it, donor.clone()))));
                }
                _ => {}
            }
        }
        let out: Vec<Frame> = out.iter().map(|bytes| self.frames.number(bytes)).collect();
        self.spliced.insert((base, donor), out.clone());
        out
    }

    /// What the attacker makes for an end in this state.
    fn make(&mut self, view: &View, known: &[Known], end: usize) -> Vec<Frame> {
        let frame = |frame: Frame| self.frames.bytes(frame);
        let made = match view.stage {
            Stage::AwaitHello => return self.hellos.clone(),
            Stage::AwaitLogin => self.attacker.logins(frame(view.taken[0]), frame(view.sent[0]), known),
            Stage::AwaitConfirm => self.attacker.confirms(&[frame(view.taken[0]), frame(view.sent[0])]),
            Stage::AwaitAnswer | Stage::AwaitChallenge => self.attacker.challenges(frame(view.sent[0])),
            Stage::AwaitVerdict => {
                let frames = [frame(view.sent[0]), frame(view.taken[0]), frame(view.sent[1])];
                let Role::Client { user } = self.world.ends[end].role else { return Vec::new() };
                self.attacker.verdict(&frames, user).into_iter().collect()
            }
            Stage::AwaitSolution | Stage::AwaitFactor | Stage::Session | Stage::Over(_) => Vec::new(),
        };
        made.iter().map(|bytes| self.frames.number(bytes)).collect()
    }

    /// The credential that this end has sent, if the attacker can read it.
    fn read(&self, view: &View) -> Option<Known> {
        let (&hello, &login) = (view.sent.first()?, view.sent.get(1)?);
        let frames = [hello, *view.taken.first()?, login].map(|frame| self.frames.bytes(frame));
        if self.frames.kind(login) == Some(FrameType::ClientLogin) { self.attacker.credential(frames) } else { None }
    }

    /// The credentials that the attacker has: their own, and what clients of the attacker's server have sent there. A signature that is
    /// none stands for those of others.
    fn known(&self, locals: &[Local]) -> Vec<Known> {
        let mut known = vec![(1, NAME.as_bytes().to_vec(), PASSWORD.to_vec())];
        let theirs = self.views(locals).filter(|(end, _)| matches!(self.world.ends[*end].role, Role::Client { .. }));
        known.extend(theirs.filter_map(|(_, view)| self.read(view)));
        if self.world.has_keys {
            known.push((3, b"alice".to_vec(), super::worlds::no_proof()));
        }
        known
    }

    /// What does not hold.
    fn broken(&self, locals: &[Local]) -> Option<String> {
        let views: Vec<(usize, &View)> = self.views(locals).collect();
        let clients = || views.iter().filter(|(end, _)| matches!(self.world.ends[*end].role, Role::Client { .. }));
        let servers = || views.iter().filter(|(end, _)| self.world.ends[*end].role == Role::Server);
        for &(end, view) in clients() {
            let (name, means) =
                (name(self.world, end), self.world.ends[end].setting.scenario.private_key().public_key().id());
            if means == own_key().id() {
                continue;
            }
            if self.read(view).is_some() {
                return Some(format!("secrecy: the attacker has read the credential of {name}"));
            }
            let has_answered = |(server, it): &&(usize, &View)| {
                self.key(*server) == means
                    && it.taken.first() == view.sent.first()
                    && it.sent.first() == view.taken.first()
            };
            if let Some(login) = view.login {
                if !self.offers(view).contains(&login.suite.number()) {
                    return Some(format!(
                        "no downgrade: {name} has sent its credential under a suite that it did not offer"
                    ));
                }
                if login.suite.key_exchange < self.world.floor {
                    return Some(format!("no downgrade: {name} has sent its credential under its floor"));
                }
                if self.world.wants_proof && !(login.is_proved && servers().any(|it| has_answered(&it))) {
                    return Some(format!("proof: {name} has sent its credential, and its server has not answered it"));
                }
                if self.world.wants_proof && login.suite != self.world.best {
                    return Some(format!("no downgrade: {name} has sent its credential under a lesser suite"));
                }
            }
            if let Some(session) = &view.session {
                let agrees = |(server, it): &&(usize, &View)| {
                    // A resumption's server waits for the Confirm.
                    let has_it = it.session.as_ref().is_none_or(|theirs| theirs == session);
                    let is_there = it.session.is_some() || session.is_resumed;
                    let same = it.sent == view.taken && view.sent.starts_with(&it.taken);
                    self.key(*server) == means && has_it && is_there && same
                };
                let Role::Client { user } = self.world.ends[end].role else { continue };
                if session.principal != user || servers().filter(agrees).count() != 1 {
                    return Some(format!("agreement: {name} has a session that its server does not share"));
                }
                if session.suite != self.world.best {
                    return Some(format!("no downgrade: {name} has a session under a lesser suite"));
                }
                let frames: Vec<&[u8]> = [&view.sent[..1], &view.taken[..1], &view.sent[1..]]
                    .concat()
                    .iter()
                    .map(|&it| self.frames.bytes(it))
                    .collect();
                if self.attacker.knows_session(&frames) {
                    return Some(format!("secrecy: the attacker can read the session of {name}"));
                }
            }
        }
        let mut matched = HashSet::new();
        for &(end, view) in servers() {
            let (name, key) = (name(self.world, end), self.key(end));
            if let Some(broken) = self.ticket_misused(end, view, &views) {
                return Some(broken);
            }
            let Some(session) = view.session.as_ref().filter(|session| session.principal != NAME) else { continue };
            if self.world.is_apart {
                return Some(format!("agreement: {name} has a session over another channel than its client's"));
            }
            let mut ours = clients().filter(|(client, it)| {
                let end = &self.world.ends[*client];
                let is_user = matches!(end.role, Role::Client { user } if user == session.principal);
                let means_it = end.setting.scenario.private_key().public_key().id() == key;
                is_user && means_it && it.sent == view.taken && view.sent.starts_with(&it.taken)
            });
            match ours.next() {
                Some(&(client, _)) if matched.insert(client) => {}
                Some(_) => return Some(format!("injective agreement: {name} has a second session for one login")),
                None => {
                    return Some(format!(
                        "agreement: {name} has a session as {}, whose client has seen other bytes, or nothing",
                        session.principal
                    ));
                }
            }
        }
        None
    }

    fn is_client(&self, end: usize) -> bool {
        matches!(self.world.ends[end].role, Role::Client { .. })
    }

    /// The key of a server, or the one that a client means.
    fn key(&self, end: usize) -> countersign::KeyId {
        self.world.ends[end].setting.scenario.private_key().public_key().id()
    }

    fn offers(&self, view: &View) -> Vec<u16> {
        ClientHello::decode(&self.frames.bytes(view.sent[0])[3..]).unwrap().suites
    }

    /// Tickets are taken within their scope, from those whose they are, once.
    fn ticket_misused(&self, end: usize, view: &View, views: &[(usize, &View)]) -> Option<String> {
        let is_taken =
            |view: &View| view.sent.first().and_then(|&it| self.frames.kind(it)) == Some(FrameType::ServerResumption);
        if !is_taken(view) {
            return None;
        }
        let hello = |view: &View| ClientHello::decode(&self.frames.bytes(view.taken[0])[3..]).unwrap();
        let (shown, server) = (hello(view), name(self.world, end));
        let times = views.iter().filter(|(_, it)| is_taken(it) && hello(it).ticket == shown.ticket).count();
        if times > 1 {
            return Some(format!("tickets: {server} has taken one that was taken before"));
        }
        let is_in_scope = match self.world.own.iter().find(|own| super::worlds::shown(&own.ticket) == shown.ticket) {
            Some(own) => own.is_good && own.key == self.key(end) && own.name.as_bytes() == shown.server_name,
            None => views.iter().any(|(client, it)| {
                matches!(self.world.ends[*client].role, Role::Client { .. })
                    && it.sent.first() == view.taken.first()
                    && self.key(*client) == self.key(end)
            }),
        };
        if is_in_scope {
            None
        } else {
            Some(format!("tickets: {server} has taken one that is not for it, or not from its owner"))
        }
    }
}
