//! Who takes part: honest clients and servers, each the real machine, as a function of the frames that were delivered to it.

use super::ends::{Client, Machine, Sent, Server, Stage, kind};
use super::settings::Setting;
use countersign::frame::FrameType;
use countersign::{KeyExchange, KeyId, Suite, Ticket, TicketKeys};
use std::collections::HashMap;
use std::sync::Arc;

/// An honest end: one run of a client, or one connection at a server.
pub struct End {
    pub name: &'static str,
    pub setting: Setting,
    pub role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A user who means this server: its key and its name are the setting's.
    Client { user: &'static str },
    /// A connection. Those that share ticket keys are of one process.
    Server,
}

/// A ticket of the attacker's own account, and why no server in the world takes it, or the key, name and suite that it is for.
pub struct Own {
    pub ticket: Ticket,
    pub is_good: bool,
    pub key: KeyId,
    pub name: &'static str,
}

/// Some honest ends and what the attacker begins with.
pub struct World {
    pub name: &'static str,
    pub ends: Vec<End>,
    /// The attacker's, from logins with an account that is honestly theirs.
    pub own: Vec<Own>,
    /// Saved ticket keys of all servers, if they give tickets.
    pub tickets: Option<Vec<u8>>,
    /// The best that both ends take.
    pub best: Suite,
    /// Clients send nothing before the server has proved itself.
    pub wants_proof: bool,
    /// Clients log in by keys.
    pub has_keys: bool,
    /// Nobody may get a session: the two ends do not mean the same channel.
    pub is_apart: bool,
    /// The weakest key exchange that clients take.
    pub floor: KeyExchange,
}

/// A frame, by its number in [`Frames`].
pub type Frame = usize;

/// Every frame once.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, Frame>,
}

impl Frames {
    pub fn number(&mut self, bytes: &[u8]) -> Frame {
        if let Some(&number) = self.numbers.get(bytes) {
            return number;
        }
        self.bytes.push(bytes.to_vec());
        self.numbers.insert(bytes.to_vec(), self.bytes.len() - 1);
        self.bytes.len() - 1
    }

    pub fn bytes(&self, frame: Frame) -> &[u8] {
        &self.bytes[frame]
    }

    pub fn kind(&self, frame: Frame) -> Option<FrameType> {
        kind(&self.bytes[frame])
    }
}

/// What can be seen of an end.
#[derive(Clone, Debug)]
pub struct View {
    pub stage: Stage,
    /// Frames that it took, and that it sent, in order; a client's first is its hello.
    pub taken: Vec<Frame>,
    pub sent: Vec<Frame>,
    /// Of a client: where its credential went.
    pub login: Option<Sent>,
    pub session: Option<Reached>,
}

/// A session that an end has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reached {
    pub principal: String,
    pub id: [u8; 16],
    pub suite: Suite,
    pub is_resumed: bool,
}

/// A process after some deliveries: the views of its ends, in their order.
pub type Views = Vec<View>;

/// The ends of one process: a client alone, a server's connection alone, or all connections where tickets are given.
pub fn processes(world: &World) -> Vec<Vec<usize>> {
    let (clients, servers): (Vec<_>, Vec<_>) =
        (0..world.ends.len()).partition(|&end| matches!(world.ends[end].role, Role::Client { .. }));
    let alone = |ends: Vec<usize>| ends.into_iter().map(|end| vec![end]).collect::<Vec<_>>();
    let servers = if world.tickets.is_some() { vec![servers] } else { alone(servers) };
    alone(clients).into_iter().chain(servers).collect()
}

/// Runs a process anew: delivers these frames, each to one of its ends. `None` where the last one is refused.
pub fn run(world: &World, process: &[usize], history: &[(usize, Frame)], frames: &mut Frames) -> Option<Views> {
    let keys = world.tickets.as_ref().map(|saved| {
        let keys = world.ends[process[0]].setting.ticket_keys();
        keys.load(saved).unwrap();
        Arc::new(keys)
    });
    let mut machines: Vec<Either> = process.iter().map(|&end| Either::new(&world.ends[end], keys.as_ref())).collect();
    let mut views: Views = machines
        .iter()
        .map(|machine| View {
            stage: machine.machine().stage(),
            taken: Vec::new(),
            sent: machine.hello().map(|hello| frames.number(hello)).into_iter().collect(),
            login: None,
            session: None,
        })
        .collect();
    for &(slot, frame) in history {
        let (machine, view) = (&mut machines[slot], &mut views[slot]);
        let reply = machine.machine_mut().feed(frames.bytes(frame));
        if matches!(reply.stage, Stage::Over(_)) {
            return None;
        }
        view.stage = reply.stage;
        view.taken.push(frame);
        if !reply.sent.is_empty() {
            view.sent.push(frames.number(&reply.sent));
        }
        view.login = machine.login();
        if reply.stage == Stage::Session {
            let info = &machine.machine_mut().session().info;
            view.session = Some(Reached {
                principal: info.login_grant().principal().to_owned(),
                id: *info.id().as_bytes(),
                suite: info.suite(),
                is_resumed: info.is_resumed(),
            });
        }
    }
    Some(views)
}

#[allow(clippy::large_enum_variant, reason = "there are a few at a time")]
enum Either {
    Client(Client),
    Server(Server),
}

impl Either {
    fn new(end: &End, keys: Option<&Arc<TicketKeys>>) -> Self {
        match end.role {
            Role::Client { .. } => Self::Client(Client::new(&end.setting)),
            Role::Server => Self::Server(Server::with_tickets(end.setting.clone(), keys.cloned())),
        }
    }

    fn machine(&self) -> &dyn Machine {
        match self {
            Self::Client(client) => client,
            Self::Server(server) => server,
        }
    }

    fn machine_mut(&mut self) -> &mut dyn Machine {
        match self {
            Self::Client(client) => client,
            Self::Server(server) => server,
        }
    }

    fn hello(&self) -> Option<&[u8]> {
        match self {
            Self::Client(client) => Some(&client.hello),
            Self::Server(_) => None,
        }
    }

    fn login(&self) -> Option<Sent> {
        match self {
            Self::Client(client) => client.sent,
            Self::Server(_) => None,
        }
    }
}
