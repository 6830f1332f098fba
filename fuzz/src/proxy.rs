//! Both machines, whole, with somebody between them who changes what they like: frames, records, and the bytes of both.
//!
//! ```text
//! input = what (1) || for each frame, in the order they are sent: act (1) || what the act needs
//! ```
//!
//! | `act & 7` | what becomes of the frame |
//! |---|---|
//! | 0 | it passes |
//! | 1 | it is edited: the rest of the act says how, 3 more bytes where |
//! | 2 | it is dropped |
//! | 3 | it comes twice |
//! | 4 | it waits for the next in its direction, and comes after that |
//! | 5 | an earlier frame, of either direction, comes before it: its number (1) |
//! | 6 | the stream is cut inside it: where (2) |
//! | 7 | a forged frame comes before it: type (1), length (2), body |
//!
//! The lowest bit of `what` is for a ticket, the next four are as in [`crate::server_machine`], one is for a key in place of a
//! password, one for two further factors; with the top bit, tickets can be used again and again. The peers see streams, not frames. Neither may hold a session, or take a record, unless each byte up to
//! there is what the other sent, and what went well once, played again to the server, gives no session.

use crate::judge::{self, Reached, Sent, serve};
use crate::peers::{NOW, Opening, Peers, Taken, answer, prompt, ticket_keys};
use crate::toy;
use crate::{Input, edit, frame};
use countersign::Session;
use countersign::client::{Answer, AwaitVerdict, Verdict};
use countersign::frame::{FrameReader, FrameType};
use countersign::server::{Accepted, AwaitConfirm, AwaitFactor, AwaitHello, AwaitLogin};

pub fn run(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let seed = input.seed();
    let what = input.byte();
    let factors = if what & 0x40 == 0 { 0 } else { 2 };
    let mut peers = Peers::new(what >> 1 & 15).with_login(what & 0x20 != 0, factors).seeded(seed);
    if what & 0x80 != 0 {
        peers = peers.with_tickets(ticket_keys(toy::provider()).with_reuse());
    }
    let ticket = (what & 1 != 0).then(|| peers.ticket());
    let reuse = what & 0x80 != 0;
    let mut wire = Wire { input, seed, reuse, seen: Vec::new(), ways: Default::default(), genuine: true };

    let (hello, client) = peers.open(ticket.as_ref());
    wire.send(UP, &hello);
    let Some(hello) = wire.receive(UP, AwaitHello::EXPECTS) else { return Reached::AwaitHello };
    if let Some(taken) = peers.take(&hello) {
        assert!(wire.genuine && ticket.is_some(), "took a ticket that nobody showed");
        return resumed(&peers, client, &hello, taken, wire);
    }
    assert!(!(wire.genuine && ticket.is_some()), "a good ticket was not taken");
    match peers.challenge(&hello) {
        Ok((challenge, server)) => {
            wire.send(DOWN, &challenge);
            login(&peers, client, &hello, server, wire)
        }
        Err(error) => {
            assert!(!wire.genuine, "a genuine hello was turned away: {error:?}");
            Reached::AwaitHello
        }
    }
}

fn resumed(peers: &Peers, client: Opening, hello: &[u8], taken: Taken, mut wire: Wire<'_>) -> Reached {
    wire.send(DOWN, &taken.frame);
    let Some(answer) = wire.receive(DOWN, client.expects()) else { return Reached::AwaitAnswer };
    let client = match client.read(&answer, peers) {
        Ok(Answer::Resumed(resumed)) => {
            assert!(wire.genuine, "a session from a resumption that nobody sent");
            resumed
        }
        // Anybody can ask, but not prove. A login that comes of it has nowhere to go: the server is past that.
        Ok(Answer::Challenge(challenge)) => {
            assert!(!wire.genuine, "a resumption is no challenge");
            judge::proof(challenge.is_proved(), false);
            return Reached::AwaitAnswer;
        }
        Err(error) => {
            assert!(!wire.genuine, "a genuine resumption was refused: {error:?}");
            judge::blames_the_peer(&error);
            return Reached::AwaitAnswer;
        }
    };
    wire.send(UP, &client.frame);
    let Some(confirm) = wire.receive(UP, AwaitConfirm::EXPECTS) else { return Reached::AwaitConfirm };
    let mut server = match taken.server.read(confirm.clone(), NOW) {
        Ok(server) => {
            assert!(wire.genuine, "a session from a Confirm that nobody sent");
            server
        }
        Err(error) => {
            assert!(!wire.genuine, "a genuine Confirm was refused: {error:?}");
            judge::blames_the_peer(&error);
            return Reached::AwaitConfirm;
        }
    };
    // Played again, to the server that goes on: the answer is another, and so is the Confirm.
    if let Some(taken) = peers.clone().seeded(!wire.seed).take(hello) {
        assert!(wire.reuse, "took a ticket twice");
        assert!(taken.server.read(confirm, NOW).is_err(), "a session from a recording");
    }
    let sent = speak(&mut server, DOWN, &mut wire);
    talk(client.session, server, &sent, wire, Reached::Resumed)
}

fn login(peers: &Peers, client: Opening, hello: &[u8], server: AwaitLogin, mut wire: Wire<'_>) -> Reached {
    let Some(challenge) = wire.receive(DOWN, client.expects()) else { return Reached::AwaitAnswer };
    let has_shown = matches!(client, Opening::Shown(_));
    let login = client.read(&challenge, peers).and_then(|answer| match answer {
        Answer::Challenge(challenge) => {
            judge::proof(challenge.is_proved(), wire.genuine);
            peers.answer(peers.alice(), challenge)
        }
        Answer::Resumed(_) => panic!("a session from a resumption that nobody sent"),
    });
    let (login, client) = match login {
        Ok(next) => next,
        Err(error) => {
            if wire.genuine {
                judge::may_refuse(peers, has_shown, &error);
            }
            judge::blames_the_peer(&error);
            return Reached::AwaitAnswer;
        }
    };
    wire.send(UP, &login);
    let Some(login) = wire.receive(UP, AwaitLogin::EXPECTS) else { return Reached::AwaitLogin };
    let (accepted, client) = match decide(peers, client, server, login.clone(), &mut wire) {
        Ok(next) => next,
        Err(reached) => return reached,
    };
    // Played again: the challenge is another.
    let again = peers.clone().seeded(!wire.seed);
    let (_, server) = again.challenge(hello).expect("it was taken before");
    assert!(serve(&again, server, login, false).is_err(), "a session from a recording");
    wire.send(DOWN, &accepted.frame);
    let mut server = accepted.session;
    // The server may talk before the client has its verdict.
    let sent = speak(&mut server, DOWN, &mut wire);
    let Some(verdict) = wire.receive(DOWN, AwaitVerdict::EXPECTS) else { return Reached::Accepted };
    match client.read(&verdict, NOW, peers.today) {
        Ok(client) => {
            assert!(wire.genuine, "a client took a verdict that nobody sent");
            talk(client, server, &sent, wire, Reached::Session)
        }
        Err(error) => {
            assert!(!wire.genuine, "a genuine verdict was refused: {error:?}");
            judge::blames_the_peer(&error);
            Reached::Accepted
        }
    }
}

/// From a login to the verdict that accepts it, with as many further factors as the server wants.
fn decide(
    peers: &Peers,
    mut client: AwaitVerdict,
    server: AwaitLogin,
    login: Vec<u8>,
    wire: &mut Wire<'_>,
) -> Result<(Accepted, AwaitVerdict), Reached> {
    let claim = judge::claim(peers, server, login, wire.genuine)?;
    if peers.factors() == 0 {
        return Ok((judge::decide(peers, claim, wire.genuine)?, client));
    }
    let mut asked = judge::ask(claim, wire.genuine)?;
    for turn in 0.. {
        wire.send(DOWN, &asked.frame);
        let request = wire.receive(DOWN, AwaitVerdict::EXPECTS).ok_or(Reached::AwaitRequest)?;
        let wanted = match client.read_step(&request, NOW, peers.today) {
            Ok(Verdict::Factor(wanted)) => wanted,
            Ok(Verdict::Accepted(_)) => panic!("a client took a verdict that nobody sent"),
            Err(error) => {
                assert!(!wire.genuine, "a genuine request was refused: {error:?}");
                judge::blames_the_peer(&error);
                return Err(Reached::AwaitRequest);
            }
        };
        assert!(wire.genuine && *wanted.prompt() == prompt(turn), "a client took a request that nobody sent");
        let (answered, next) = wanted.answer(&answer(turn), NOW).unwrap();
        client = next;
        wire.send(UP, &answered);
        let answered = wire.receive(UP, AwaitFactor::EXPECTS).ok_or(Reached::AwaitFactor)?;
        let claim = asked.state.read(answered, NOW).map_err(|refusal| {
            assert!(!wire.genuine, "a genuine answer was turned away: {:?}", refusal.reason);
            judge::check(&refusal);
            Reached::AwaitFactor
        })?;
        assert!(wire.genuine && claim.answer() == answer(turn), "an answer that nobody sent");
        if turn + 1 == peers.factors() {
            return Ok((peers.accept_factor(claim).unwrap(), client));
        }
        asked = claim.ask(&prompt(turn + 1), NOW).unwrap();
    }
    unreachable!("the server wants so many, and no more")
}

/// Two sessions. The server has spoken already.
fn talk(mut client: Session, mut server: Session, sent: &[Sent], mut wire: Wire<'_>, whole: Reached) -> Reached {
    judge::agree(&client, &server);
    let ours = speak(&mut client, UP, &mut wire);
    let up = listen(&mut server, UP, &ours, &mut wire);
    let down = listen(&mut client, DOWN, sent, &mut wire);
    if up && down { whole } else { Reached::Cut }
}

/// Seals a few records of each kind, and sends them.
fn speak(session: &mut Session, way: usize, wire: &mut Wire<'_>) -> Vec<Sent> {
    let mut sent = Vec::new();
    for data in [Some(&b"one"[..]), None, Some(b"two"), Some(b"three"), None] {
        let mut record = Vec::new();
        match data {
            Some(data) => session.sealer.seal(data, &mut record).unwrap(),
            None if sent.len() < 4 => session.sealer.update_key(&mut record).unwrap(),
            None => session.sealer.close(&mut record).unwrap(),
        }
        wire.send(way, &record);
        sent.push((record, data.map(<[u8]>::to_vec)));
    }
    sent
}

/// Opens what comes, up to the first thing that is not the peer's. Gives whether the end was the peer's, too.
fn listen(session: &mut Session, way: usize, sent: &[Sent], wire: &mut Wire<'_>) -> bool {
    wire.genuine = true;
    let mut sent = sent.iter();
    while let Some(mut record) = wire.receive(way, Session::EXPECTS) {
        let next = sent.next().filter(|_| wire.genuine);
        match judge::received(&session.opener.open(&mut record), next) {
            Some(FrameType::Close) => {
                assert!(session.opener.end().is_ok() && sent.next().is_none());
                return true;
            }
            Some(_) => {}
            None => break,
        }
    }
    assert!(session.opener.end().is_err(), "the peer's close is the one proper end");
    false
}

const UP: usize = 0;
const DOWN: usize = 1;

struct Wire<'a> {
    input: Input<'a>,
    seed: u64,
    reuse: bool,
    /// Every frame so far.
    seen: Vec<Vec<u8>>,
    ways: [Way; 2],
    /// Whether every frame that was received is the one that was sent.
    genuine: bool,
}

#[derive(Default)]
struct Way {
    sent: Vec<Vec<u8>>,
    held: Vec<u8>,
    is_cut: bool,
    /// What has come out at the other end and is not read yet.
    stream: Vec<u8>,
    received: usize,
}

impl Wire<'_> {
    fn send(&mut self, way: usize, sent: &[u8]) {
        let (input, way) = (&mut self.input, &mut self.ways[way]);
        way.sent.push(sent.to_vec());
        if way.is_cut {
            return;
        }
        let act = input.byte();
        let held = core::mem::take(&mut way.held);
        let mut changed = sent.to_vec();
        match act & 7 {
            0 => {}
            1 => edit([act >> 3, input.byte(), input.byte(), input.byte()], &mut changed),
            2 => changed.clear(),
            3 => changed.extend_from_slice(sent),
            4 => way.held = core::mem::take(&mut changed),
            5 => {
                let number = usize::from(input.byte());
                let earlier = number.checked_rem(self.seen.len()).map(|at| self.seen[at].as_slice());
                changed.splice(..0, earlier.unwrap_or_default().iter().copied());
            }
            6 => {
                changed.truncate(input.number() % (sent.len() + 1));
                way.is_cut = true;
            }
            _ => {
                let kind = FrameType::ALL[usize::from(input.byte()) % FrameType::ALL.len()];
                let len = input.number();
                changed.splice(..0, frame(kind, input.bytes(len)));
            }
        }
        way.stream.extend(changed);
        if !way.is_cut {
            way.stream.extend(held);
        }
        self.seen.push(sent.to_vec());
    }

    /// The next frame of the stream, as a peer reads it; `None` where the stream has no such frame.
    fn receive(&mut self, way: usize, expects: &[FrameType]) -> Option<Vec<u8>> {
        let way = &mut self.ways[way];
        let is_next = way.sent.get(way.received).is_some_and(|sent| way.stream.starts_with(sent));
        way.received += 1;
        let mut reader = FrameReader::new();
        let frame = reader.feed(&way.stream, expects).ok().and_then(|taken| {
            way.stream.drain(..taken);
            reader.take()
        });
        assert!(!is_next || frame.is_some() || !self.genuine, "a genuine frame was not read");
        self.genuine &= is_next;
        frame
    }
}
