//! Both machines, whole, with somebody between them who changes what they like: frames, records, and the bytes of both.
//!
//! ```text
//! input = what (1) || for each frame, in the order they are sent: act (1) || what the act needs
//! ```
//!
//! What the acts are is in [`crate::between`].
//!
//! The lowest bit of `what` is for a ticket, the next four are as in [`crate::server_machine`], one is for a key in place of a
//! password, one for two further factors; with the top bit, tickets can be used again and again, and clients without one have to solve a
//! puzzle first. Passwords are stretched ones where there are extensions that nobody knows. The peers see streams, not frames. Neither may hold a session, or take a record, unless each byte up to
//! there is what the other sent, and what went well once, played again to the server, gives no session.

use crate::Input;
use crate::between::{Between, DOWN, UP};
use crate::judge::{self, Reached, Sent, serve};
use crate::peers::{self, NOW, Opening, Peers, Taken, answer, prompt, ticket_keys};
use crate::toy;
use countersign::Session;
use countersign::client::{Answer, AwaitVerdict, Verdict};
use countersign::frame::{FrameReader, FrameType};
use countersign::server::{Accepted, AwaitConfirm, AwaitFactor, AwaitHello, AwaitLogin, AwaitSolution};

pub fn run(data: &[u8]) -> Reached {
    peers::within_budget(data, || meet(data))
}

fn meet(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let seed = input.seed();
    let what = input.byte();
    let factors = if what & 0x40 == 0 { 0 } else { 2 };
    let mut peers = Peers::new(what >> 1 & 15).with_login(what & 0x20 != 0, factors).seeded(seed);
    if what & 0x80 != 0 {
        peers = peers.with_tickets(ticket_keys(toy::provider()).with_unlimited_reuse());
    }
    if peers.is_extended() {
        peers = peers.with_stretching();
    }
    let ticket = (what & 1 != 0).then(|| peers.ticket());
    let reuse = what & 0x80 != 0;
    let between = Between::default();
    let mut wire = Wire { input, seed, reuse, between, ways: Default::default(), genuine: true };

    let (hello, client) = peers.open(ticket.as_ref());
    wire.send(UP, &hello);
    let Some(hello) = wire.receive(UP, AwaitHello::EXPECTS) else { return Reached::AwaitHello };
    if reuse && ticket.is_none() {
        return puzzled(&peers, client, &hello, wire);
    }
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

/// A puzzle before anything else. A client solves what anybody asks it to, within its bounds, and comes no further by that.
fn puzzled(peers: &Peers, client: Opening, hello: &[u8], mut wire: Wire<'_>) -> Reached {
    let (busy, server) = match peers.puzzle(hello, 2) {
        Ok(next) => next,
        Err(error) => {
            assert!(!wire.genuine, "a genuine hello was turned away: {error:?}");
            return Reached::AwaitHello;
        }
    };
    let is_genuine = wire.genuine;
    wire.send(DOWN, &busy);
    let Some(busy) = wire.receive(DOWN, client.expects()) else { return Reached::Busy };
    let Some(puzzle) = client.puzzle(&busy).filter(|puzzle| puzzle.difficulty().bits() <= 6) else {
        assert!(!wire.genuine, "a genuine puzzle is none");
        return Reached::Busy;
    };
    let (solution, client) = client.solved(&puzzle.solve(|| true).unwrap());
    assert!(client.puzzle(&busy).is_none(), "a client solves one puzzle");
    wire.send(UP, &solution);
    let Some(solution) = wire.receive(UP, AwaitSolution::EXPECTS) else { return Reached::Puzzle };
    let state = match server.read(&solution, NOW) {
        Ok(state) => state,
        Err(error) => {
            assert!(!wire.genuine, "a genuine solution was turned away: {error:?}");
            judge::blames_the_peer(&error);
            return Reached::Puzzle;
        }
    };
    // Nothing of this is secret or authenticated: who changed it, and solved it, is found out later, as if there had been no puzzle.
    wire.genuine = is_genuine;
    let (challenge, server) = peers.challenged(peers.opened(state)).expect("the hello was taken");
    wire.send(DOWN, &challenge);
    login(peers, client, hello, server, wire)
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

struct Wire<'a> {
    input: Input<'a>,
    seed: u64,
    reuse: bool,
    between: Between,
    ways: [Way; 2],
    /// Whether every frame that was received is the one that was sent.
    genuine: bool,
}

#[derive(Default)]
struct Way {
    sent: Vec<Vec<u8>>,
    /// What has come out at the other end and is not read yet.
    stream: Vec<u8>,
    received: usize,
}

impl Wire<'_> {
    fn send(&mut self, way: usize, sent: &[u8]) {
        self.ways[way].sent.push(sent.to_vec());
        self.ways[way].stream.extend(self.between.pass(&mut self.input, way, sent));
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
