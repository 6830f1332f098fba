//! What must hold whatever the input is: the targets' assertions.

use crate::peers::{NOW, Peers, account, grant, shown};
use crate::toy::CountingRng;
use countersign::client::AwaitVerdict;
use countersign::codec::{self, Bytes, GrantMessage, List, Message, Text, VerdictMessage};
use countersign::frame::{FrameType, split};
use countersign::server::{Accepted, AwaitLogin, Claim, Refusal};
use countersign::{Credential, Error, Reason, Received, Session, limits};

/// How far an input got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The server did not take the hello.
    AwaitHello,
    /// The server did not take the ticket.
    NotTaken,
    /// The client did not go on with the server's answer.
    AwaitAnswer,
    /// The server did not take the login, or none came.
    AwaitLogin,
    /// The login did not open.
    Claim,
    /// The server accepted, the client did not take its verdict.
    Accepted,
    /// Two sessions, of which somebody cut one.
    Cut,
    /// Two sessions that agree.
    Session,
    /// The same, by a ticket.
    Resumed,
}

/// From a login to a decision, which has to be the one a genuine login gets, or the one for all others.
pub(crate) fn serve(peers: &Peers, state: AwaitLogin, login: Vec<u8>, genuine: bool) -> Result<Accepted, Reached> {
    let login = state.read(login, NOW).map_err(|refusal| {
        assert!(!genuine, "a genuine login was turned away: {:?}", refusal.reason);
        check(&refusal);
        Reached::AwaitLogin
    })?;
    let claim = login.admit().run(&mut CountingRng(4));
    match claim.credential() {
        Credential::Password { user: "", password: b"" } => assert!(!genuine),
        Credential::Password { user: "alice", password: b"correct horse" } => assert!(genuine),
        _ => panic!("a credential that nobody sent"),
    }
    decide(peers, claim, genuine)
}

pub(crate) fn decide(peers: &Peers, claim: Claim, genuine: bool) -> Result<Accepted, Reached> {
    let decision = claim.accept_with_ticket(account(), peers.today, &mut CountingRng(5));
    decision.inspect(|_| assert!(genuine, "accepted what nobody sent")).map_err(|refusal| {
        assert!(!genuine, "a genuine login was refused: {:?}", refusal.reason);
        assert_eq!(refusal.reason, Reason::NotOpened);
        check(&refusal);
        Reached::Claim
    })
}

/// Every refusal looks the same and waits as long.
pub(crate) fn check(refusal: &Refusal) {
    assert!(split(&refusal.frame).is_ok_and(|(kind, _)| kind == FrameType::ServerVerdict));
    assert_eq!(refusal.not_before, NOW.after(limits::REFUSAL_FLOOR));
}

pub(crate) fn finish(client: AwaitVerdict, accepted: &Accepted) -> Reached {
    conclude(client, &accepted.frame, Some(accepted))
}

/// The client takes a verdict if it is the one that its server sent, and no other.
pub(crate) fn conclude(client: AwaitVerdict, verdict: &[u8], sent: Option<&Accepted>) -> Reached {
    let sent = sent.filter(|accepted| accepted.frame == verdict);
    match (client.read(verdict, NOW), sent) {
        (Ok(session), Some(accepted)) => {
            agree(&session, &accepted.session);
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

pub(crate) fn agree(client: &Session, server: &Session) {
    assert_eq!(client.info.id(), server.info.id());
    assert_eq!(client.info.suite(), server.info.suite());
    assert_eq!(client.info.is_resumed(), server.info.is_resumed());
    assert_eq!(*client.info.grant(), grant());
    assert_eq!(*server.info.grant(), account());
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
pub(crate) fn grant_is(session: &Session, plaintext: &[u8]) {
    let permissions: Vec<_> = session.info.grant().permissions().map(Text).collect();
    let ticket = session.info.ticket().map(shown).unwrap_or_default();
    let principal = Text(session.info.grant().principal());
    let message = VerdictMessage {
        grant: GrantMessage { decision: 1, principal, permissions: List::from_slice(&permissions).unwrap() },
        ticket: Bytes(&ticket),
        ticket_expires: session.info.ticket().map_or(0, |ticket| ticket.expires().as_secs()),
    };
    assert_is(&message, &plaintext[..plaintext.len().min(limits::VERDICT)], limits::VERDICT);
}

/// The message, padded with zeros to a multiple of `block`, is the plaintext, filled up likewise.
pub(crate) fn assert_is<'a>(message: &impl Message<'a>, plaintext: &[u8], block: usize) {
    let (mut encoded, mut plaintext) = (Vec::new(), plaintext.to_vec());
    codec::encode(message, &mut encoded).unwrap();
    encoded.resize(encoded.len().next_multiple_of(block), 0);
    plaintext.resize(plaintext.len().max(1).next_multiple_of(block), 0);
    assert_eq!(encoded, plaintext, "not the canonical encoding");
}
