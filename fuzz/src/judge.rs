//! What must hold whatever the input is: the targets' assertions.

use crate::peers::{NOW, Peers, Taken, account, grant, prompt, shown};
use countersign::client::{AwaitVerdict, Resumed, Verdict};
use countersign::codec::{self, Bytes, FactorRequest, GrantMessage, List, Message, Text, VerdictMessage};
use countersign::frame::{FrameType, split};
use countersign::server::{Accepted, Asked, AwaitLogin, Claim, Refusal};
use countersign::{Credential, Error, Prompt, Reason, Received, Session, Ticket, UnixTime, limits};

/// How far an input got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The server did not take the hello.
    AwaitHello,
    /// The server did not take the ticket.
    NotTaken,
    /// The server has no room, or somebody says so.
    Busy,
    Puzzle,
    /// The client did not go on with the server's answer.
    AwaitAnswer,
    /// The server took the ticket, and has not got the client's Confirm.
    AwaitConfirm,
    /// The server did not take the login, or none came.
    AwaitLogin,
    /// The login did not open.
    Claim,
    /// The client did not take the request for a further factor.
    AwaitRequest,
    /// The client is asked for a further factor.
    Asked,
    /// The server did not take the answer to a request for a further factor, or none came.
    AwaitFactor,
    /// The server took the answer, and it is not the right one.
    WrongFactor,
    /// The server accepted, the client did not take its verdict.
    Accepted,
    /// The client was told no.
    Refused,
    /// The client was told that there is no decision.
    NotNow,
    /// Two sessions, of which somebody cut one.
    Cut,
    /// Two sessions that agree.
    Session,
    /// The same, by a ticket.
    Resumed,
}

/// From a login to a decision, which has to be the one a genuine login gets, or the one for all others.
pub(crate) fn serve(peers: &Peers, state: AwaitLogin, login: Vec<u8>, genuine: bool) -> Result<Accepted, Reached> {
    decide(peers, claim(peers, state, login, genuine)?, genuine)
}

/// From a login to what is claimed, which is alice's credential if she sent it, and no credential otherwise.
pub(crate) fn claim(peers: &Peers, state: AwaitLogin, login: Vec<u8>, genuine: bool) -> Result<Claim, Reached> {
    let claim = peers.claim(state, login).map_err(|refusal| {
        assert!(!genuine, "a genuine login was turned away: {:?}", refusal.reason);
        check(&refusal);
        Reached::AwaitLogin
    })?;
    let credential = claim.credential();
    match credential {
        Credential::Password { user: "", password: b"" } | Credential::Stretched { user: "", .. } => assert!(!genuine),
        _ if is_same(&credential, &peers.alice()) => assert!(genuine),
        _ => panic!("a credential that nobody sent"),
    }
    Ok(claim)
}

pub(crate) fn is_same(one: &Credential<'_>, other: &Credential<'_>) -> bool {
    match (one, other) {
        (Credential::Password { user, password }, Credential::Password { user: name, password: secret }) => {
            (user, password) == (name, secret)
        }
        (Credential::Key { user, key }, Credential::Key { user: name, key: other }) => {
            (user, key.public_key()) == (name, other.public_key())
        }
        // What it is stretched to does not come out of either.
        (Credential::Stretched { user, password }, Credential::Stretched { user: name, password: other }) => {
            (user, password.password()) == (name, other.password())
        }
        _ => false,
    }
}

pub(crate) fn decide(peers: &Peers, claim: Claim, genuine: bool) -> Result<Accepted, Reached> {
    decided(peers.accept(claim), genuine)
}

/// The same, where the server wants a further factor.
pub(crate) fn ask(claim: Claim, genuine: bool) -> Result<Asked, Reached> {
    decided(claim.ask(&prompt(0), NOW), genuine)
}

fn decided<T>(decided: Result<T, Refusal>, genuine: bool) -> Result<T, Reached> {
    decided.inspect(|_| assert!(genuine, "accepted what nobody sent")).map_err(|refusal| {
        assert!(!genuine, "a genuine login was refused: {:?}", refusal.reason);
        assert!(matches!(refusal.reason, Reason::NotOpened | Reason::BadSignature), "{:?}", refusal.reason);
        check(&refusal);
        Reached::Claim
    })
}

/// Every refusal looks the same and waits as long.
pub(crate) fn check(refusal: &Refusal) {
    assert!(split(&refusal.frame).is_ok_and(|(kind, _)| kind == FrameType::ServerVerdict));
    assert_eq!(refusal.not_before, NOW.after(limits::REFUSAL_FLOOR));
}

pub(crate) fn finish(peers: &Peers, client: AwaitVerdict, accepted: &Accepted) -> Reached {
    conclude(peers, client, &accepted.frame, Some(accepted))
}

/// The client takes a verdict if it is the one that its server sent, and no other.
pub(crate) fn conclude(peers: &Peers, client: AwaitVerdict, verdict: &[u8], sent: Option<&Accepted>) -> Reached {
    let sent = sent.filter(|accepted| accepted.frame == verdict);
    match (client.read(verdict, NOW, peers.today), sent) {
        (Ok(session), Some(accepted)) => {
            agree(&session, &accepted.session);
            assert_eq!(session.info.is_proved(), peers.wants_proof());
            Reached::Session
        }
        (Ok(_), None) => panic!("a client took a verdict that nobody sent"),
        (Err(error), None) => {
            blames_the_peer(&error);
            Reached::Accepted
        }
        (Err(error), Some(_)) => panic!("a genuine verdict was refused: {error:?}"),
    }
}

/// The server has a session once it has the client's Confirm, and not before.
pub(crate) fn confirm(peers: &Peers, client: Resumed, taken: Taken) -> (Session, Session) {
    let server = taken.server.read(client.frame, NOW).expect("a genuine Confirm");
    agree(&client.session, &server);
    assert_eq!(client.session.info.is_proved(), peers.wants_proof_at_resumption());
    assert_eq!(peers.has_opened(), usize::from(peers.wants_proof_at_resumption()));
    (client.session, server)
}

/// A client that has the key whole goes on with a proof alone; and where it has one, nobody has changed anything.
pub(crate) fn proof(is_proved: bool, genuine: bool) {
    assert!(genuine || !is_proved, "a proof of a hello that was changed, or of one that nobody sent");
}

/// A genuine challenge is refused for one reason: a ticket was shown, without a wish for a proof, and not taken.
pub(crate) fn may_refuse(peers: &Peers, has_shown: bool, error: &Error) {
    let unproved = has_shown && peers.wants_proof() && !peers.wants_proof_at_resumption();
    assert!(unproved && matches!(error, Error::NoProof(_)), "a genuine challenge was turned away: {error:?}");
}

pub(crate) fn agree(client: &Session, server: &Session) {
    assert_eq!(client.info.id(), server.info.id());
    assert_eq!(client.info.suite(), server.info.suite());
    assert_eq!(client.info.is_resumed(), server.info.is_resumed());
    assert_eq!(*client.info.login_grant(), grant());
    assert_eq!(*server.info.login_grant(), account());
}

/// No bytes of the peer's make it our caller's fault, or the provider's.
pub(crate) fn blames_the_peer(error: &Error) {
    assert!(!matches!(error, Error::Misuse(_) | Error::Crypto(_)), "{error:?}");
}

/// A record as it was sent, and its data, if it has any.
pub(crate) type Sent = (Vec<u8>, Option<Vec<u8>>);

/// What comes out of a record is what the peer's next one holds, if `next` says that it is that one; otherwise nothing may.
pub(crate) fn received(result: &Result<Received<'_>, Error>, next: Option<&Sent>) -> Option<FrameType> {
    let kind = match (result, next) {
        (Ok(Received::Data(data)), Some((_, Some(sent)))) => {
            assert_eq!(data, sent);
            FrameType::Data
        }
        (Ok(Received::KeyUpdate), Some((_, None))) => FrameType::KeyUpdate,
        (Ok(Received::Close), Some((_, None))) => FrameType::Close,
        (Ok(received), _) => panic!("{received:?} came out, which is not the peer's next record"),
        (Err(error), Some(_)) => panic!("the peer's next record was refused: {error:?}"),
        (Err(_), None) => return None,
    };
    assert_eq!(next.map(|(record, _)| record[0]), Some(kind.byte()));
    Some(kind)
}

/// What the client takes for a grant, and for a ticket, encodes to what the server sealed.
pub(crate) fn grant_is(peers: &Peers, session: &Session, plaintext: &[u8]) {
    let permissions: Vec<_> = session.info.login_grant().permissions().map(Text).collect();
    let ticket = session.info.ticket().map(shown).unwrap_or_default();
    let principal = Text(session.info.login_grant().principal());
    let lifetime = session.info.ticket().map(|ticket| lifetime(ticket, peers.today));
    verdict_is(
        GrantMessage { decision: 1, principal, permissions: List::from_slice(&permissions).unwrap() },
        (&ticket, lifetime),
        plaintext,
    );
}

/// What a client that was asked for so many further factors makes of a verdict that somebody sealed under the right key must encode to it.
pub(crate) fn verdict(peers: &Peers, asked: usize, result: Result<Verdict, Error>, plaintext: &[u8]) -> Reached {
    match result {
        Ok(Verdict::Accepted(session)) => {
            grant_is(peers, &session, plaintext);
            Reached::Session
        }
        Ok(Verdict::Factor(wanted)) => {
            assert!(peers.offers_factors(), "a client went along with a request that it did not offer to answer");
            assert!(asked < limits::MAX_FACTORS, "a client went along with one request more than there may be");
            nothing_is_granted(3, plaintext);
            request_is(wanted.prompt(), plaintext);
            Reached::Asked
        }
        Err(Error::Refused) => {
            nothing_is_granted(0, plaintext);
            Reached::Refused
        }
        Err(Error::NotNow) => {
            nothing_is_granted(2, plaintext);
            Reached::NotNow
        }
        Err(Error::Decode(_) | Error::Violation(_)) => Reached::Accepted,
        Err(error) => panic!("an authentic verdict gave: {error:?}"),
    }
}

/// What a user is shown is in extension 5, and can be shown.
fn request_is(prompt: &Prompt, plaintext: &[u8]) {
    assert!(prompt.text().len() <= limits::MAX_PROMPT && !prompt.text().chars().any(char::is_control));
    let mut request = vec![0, 5, 0, 0];
    codec::encode(&FactorRequest { form: prompt.form().number(), prompt: Text(prompt.text()) }, &mut request).unwrap();
    let len = u16::try_from(request.len() - 4).unwrap();
    request[2..4].copy_from_slice(&len.to_be_bytes());
    // Past the end there are zeros.
    let plaintext = [plaintext, &vec![0; request.len()]].concat();
    assert!(plaintext.windows(request.len()).any(|window| window == request), "a request that nobody made");
}

/// A decision that grants nothing comes with nothing but extensions.
pub(crate) fn nothing_is_granted(decision: u8, plaintext: &[u8]) {
    let grant = GrantMessage { decision, principal: Text(""), permissions: List::new() };
    verdict_is(grant, (b"", None), plaintext);
}

fn verdict_is(grant: GrantMessage<'_>, (ticket, lifetime): (&[u8], Option<u64>), plaintext: &[u8]) {
    let plaintext = &plaintext[..plaintext.len().min(limits::VERDICT)];
    // A verdict ends in its extensions, which nobody here knows: a count, and that many numbers and data.
    let mut front = Vec::new();
    let (ticket, extensions) = (Bytes(ticket), List::new());
    let message = VerdictMessage { grant, ticket, ticket_lifetime: lifetime.unwrap_or(0), extensions };
    codec::encode(&message, &mut front).unwrap();
    front.pop();
    let mut padded = plaintext.to_vec();
    padded.resize(limits::VERDICT, 0);
    // Of a lifetime past the end of all times no ticket shows how far past.
    if let Some(most) = lifetime.filter(|&lifetime| is_endless(lifetime)) {
        let at = front.len() - 8..front.len();
        let said = <[u8; 8]>::try_from(&padded[at.clone()]).unwrap();
        assert!(u64::from_be_bytes(said) >= most, "a ticket for longer than was said");
        front[at].copy_from_slice(&said);
    }
    let mut rest = padded.strip_prefix(front.as_slice()).expect("the canonical encoding");
    let mut numbers = Vec::new();
    let count = rest.split_off_first().copied().unwrap_or(0);
    for _ in 0..count {
        let (header, after) = rest.split_first_chunk::<4>().expect("an extension");
        numbers.push([header[0], header[1]]);
        rest = &after[usize::from(u16::from_be_bytes([header[2], header[3]]))..];
    }
    assert!(rest.iter().all(|&byte| byte == 0), "not the canonical padding");
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "an extension that comes twice");
}

/// Whether a ticket of this lifetime, whenever it came, is good for ever.
fn is_endless(lifetime: u64) -> bool {
    // No clock here is further than that from 1970.
    lifetime > u64::MAX - (1 << 40)
}

/// For how long the server said that it takes the ticket.
fn lifetime(ticket: &Ticket, received: UnixTime) -> u64 {
    ticket.expires().as_secs().saturating_sub(received.as_secs())
}

/// The message, padded with zeros to a multiple of `block`, is the plaintext, filled up likewise.
pub(crate) fn assert_is<'a>(message: &impl Message<'a>, plaintext: &[u8], block: usize) {
    let (mut encoded, mut plaintext) = (Vec::new(), plaintext.to_vec());
    codec::encode(message, &mut encoded).unwrap();
    encoded.resize(encoded.len().next_multiple_of(block), 0);
    plaintext.resize(plaintext.len().max(1).next_multiple_of(block), 0);
    assert_eq!(encoded, plaintext, "not the canonical encoding");
}
