//! What PROTOCOL.md says of each frame in each state, as a table. It knows nothing of the machines: of a frame it reads the bytes,
//! by the decoder that the tests have of their own, and of what is sealed it is told by whoever made it.

use super::ends::{End, Stage};
use super::letters::{Letter, Says};
use super::settings::{Mood, Setting};
use super::support::SUITES;
use super::support::wire::{ClientHello, Message, ServerHello, lp};
use countersign::CredentialKind;
use sha2::{Digest, Sha256};

/// *Frames*: the shortest and the longest body of each type, by its number.
const BODIES: [(usize, usize); 12] = [
    (usize::MAX, 0),
    (53, 6276),
    (84, 19132),
    (4, 5652),
    (2064, 2064),
    (17, 16400),
    (16, 16),
    (16, 16),
    (2103, 20023),
    (3, 1027),
    (16, 16),
    (528, 528),
];

pub const CLIENT_HELLO: u8 = 1;
pub const SERVER_HELLO: u8 = 2;
pub const CLIENT_LOGIN: u8 = 3;
pub const SERVER_VERDICT: u8 = 4;
const DATA: u8 = 5;
const KEY_UPDATE: u8 = 6;
const CLOSE: u8 = 7;
const SERVER_RESUMPTION: u8 = 8;
const BUSY: u8 = 9;
const CONFIRM: u8 = 10;
const CLIENT_FACTOR: u8 = 11;

/// A frame that comes, and what came before it.
pub struct Case<'a> {
    pub setting: &'a Setting,
    pub before: &'a [String],
    pub letter: &'a Letter,
}

impl<'a> Case<'a> {
    /// The type and the body, if the header says what is there.
    fn frame(&self) -> Option<(u8, &'a [u8])> {
        let (header, body) = self.letter.bytes.split_first_chunk::<3>()?;
        let (shortest, longest) = *BODIES.get(usize::from(header[0]))?;
        let length = usize::from(header[1]) << 8 | usize::from(header[2]);
        (length == body.len() && length >= shortest && length <= longest).then_some((header[0], body))
    }

    /// It was made for this very connection, after just what came before.
    fn is_made_here(&self) -> bool {
        self.letter.after.as_deref() == Some(self.before)
    }

    fn says(&self, says: Says) -> bool {
        self.is_made_here() && self.letter.says == says
    }

    fn hello(&self) -> Option<ClientHello> {
        ClientHello::decode(self.frame()?.1)
    }

    fn challenge(&self) -> Option<ServerHello> {
        ServerHello::decode(self.frame()?.1)
    }

    /// S3 to S8, S11: what the letters break of them.
    fn is_hello(&self) -> bool {
        self.hello().is_some_and(|hello| {
            let offered = |suite: &u16| (suite >> 8) as u8;
            let has_shares = hello
                .suites
                .iter()
                .map(offered)
                .all(|exchange| exchange == 1 || hello.key_shares.iter().any(|(share, _)| *share == exchange));
            let is_common = SUITES.iter().any(|suite| hello.suites.contains(&suite.number()));
            let is_bound = hello.ticket.is_empty() == hello.binder.is_empty();
            has_shares && is_common && is_bound && hello.versions.contains(&1)
        })
    }

    /// C2 to C9, C15: what the letters break of them.
    fn is_challenge(&self) -> bool {
        self.challenge().is_some_and(|hello| {
            let is_offered = SUITES.iter().any(|suite| suite.number() == hello.suite);
            let is_stretched = !hello.credential_kinds.contains(&4) || hello.extensions.iter().any(|it| it.0 == 4);
            hello.version == 1 && is_offered && is_stretched
        })
    }

    fn has_key(&self) -> bool {
        self.challenge().is_some_and(|hello| match hello.spki.is_empty() {
            true => self.setting.knows_key() && hello.key_id == self.key_id(),
            false => hello.key_id == <[u8; 32]>::from(Sha256::digest(&hello.spki)),
        })
    }

    fn key_id(&self) -> [u8; 32] {
        *self.setting.scenario.private_key().public_key().id().as_bytes()
    }

    /// A secret stands in the client's hello.
    fn is_sealed(&self) -> bool {
        let Setting { shown, seals_beside_ticket, .. } = self.setting;
        self.setting.knows_key() && (shown.is_none() || *seals_beside_ticket)
    }

    /// C12.
    fn has_wrong_proof(&self) -> bool {
        let has_proof = self.challenge().is_some_and(|hello| !hello.proof.is_empty());
        has_proof && !(self.is_sealed() && self.is_made_here())
    }

    fn has_proof(&self) -> bool {
        self.challenge().is_some_and(|hello| !hello.proof.is_empty()) && !self.has_wrong_proof()
    }

    /// T1, T3, T4: the others have no letters.
    fn is_trusted(&self) -> bool {
        let kind = match self.setting.scenario.credential.kind() {
            CredentialKind::Stretched => 4,
            CredentialKind::Key => 3,
            _ => 1,
        };
        self.challenge().is_some_and(|hello| {
            let is_known = hello.key_id == self.key_id();
            is_known && hello.credential_kinds.contains(&kind) && (self.has_proof() || !self.setting.knows_key())
        })
    }

    /// *Context*, by its formula. Nobody here has a channel binding.
    fn means(&self, prologue: &[u8], context: [u8; 8]) -> bool {
        let ours = Sha256::digest([lp(b"countersign v1 prologue"), lp(prologue)].concat());
        let binding = Sha256::digest([lp(b"countersign v1 binding"), lp(b""), lp(b"")].concat());
        [&ours[..4], &binding[..4]].concat() == context
    }

    fn is_same_at_server(&self) -> bool {
        self.hello().is_some_and(|hello| self.means(self.setting.prologues[1], hello.context))
    }

    fn is_same_at_client(&self) -> bool {
        self.challenge().is_some_and(|hello| self.means(self.setting.prologues[0], hello.context))
    }

    /// Ours has no extensions.
    fn is_busy(&self) -> bool {
        self.frame().is_some_and(|(_, body)| body.len() == 3 && body[2] == 0)
    }

    /// How many factors were asked for before this one.
    fn asked(&self) -> usize {
        self.before.len().saturating_sub(1)
    }
}

/// In this state, of these frames, those for which this holds: the state that follows, what is sent (0: nothing), and the clauses of
/// PROTOCOL.md that say so.
pub struct Row {
    pub state: Stage,
    pub frame: u8,
    pub when: fn(&Case<'_>) -> bool,
    pub next: Stage,
    pub sends: u8,
    pub clauses: &'static str,
}

const fn row(
    (state, frame, when): (Stage, u8, fn(&Case<'_>) -> bool),
    (next, sends): (Stage, u8),
    clauses: &'static str,
) -> Row {
    Row { state, frame, when, next, sends, clauses }
}

use End::{Busy, Closed, Different, NotNow, Refused, Rejected};
use Stage::{
    AwaitAnswer, AwaitChallenge, AwaitConfirm, AwaitFactor, AwaitHello, AwaitLogin, AwaitVerdict, Over, Session,
};

/// The first row that fits decides. What none fits is refused: [`refused`].
pub const TABLE: &[Row] = &[
    // Server states.
    row((AwaitHello, CLIENT_HELLO, |it| !it.is_hello()), (Over(Refused), 0), "S2 to S8, S11, S13, S14"),
    row(
        (AwaitHello, CLIENT_HELLO, |it| it.setting.mood == Mood::Full),
        (Over(Busy), BUSY),
        "Busy; Where to turn them away",
    ),
    row((AwaitHello, CLIENT_HELLO, |it| !it.is_same_at_server()), (Over(Different), SERVER_HELLO), "Context"),
    row(
        (AwaitHello, CLIENT_HELLO, |it| it.letter.says == Says::Ticket),
        (AwaitConfirm, SERVER_RESUMPTION),
        "Resumption, K1 to K11",
    ),
    row(
        (AwaitHello, CLIENT_HELLO, |_| true),
        (AwaitLogin, SERVER_HELLO),
        "ServerHello; a hello may be anybody's, and from any time",
    ),
    row(
        (AwaitLogin, CLIENT_LOGIN, |it| it.setting.mood == Mood::Away),
        (Over(Refused), SERVER_VERDICT),
        "Verdict: not now",
    ),
    row(
        (AwaitLogin, CLIENT_LOGIN, |it| it.says(Says::Good) && it.setting.factors > 0),
        (AwaitFactor, SERVER_VERDICT),
        "Verdict: a further factor",
    ),
    row((AwaitLogin, CLIENT_LOGIN, |it| it.says(Says::Good)), (Session, SERVER_VERDICT), "Verdict: accept"),
    row(
        (AwaitFactor, CLIENT_FACTOR, |it| it.says(Says::Good) && it.asked() < it.setting.factors),
        (AwaitFactor, SERVER_VERDICT),
        "Verdict: the next factor",
    ),
    row((AwaitFactor, CLIENT_FACTOR, |it| it.says(Says::Good)), (Session, SERVER_VERDICT), "Verdict: accept"),
    row((AwaitConfirm, CONFIRM, |it| it.is_made_here()), (Session, 0), "Confirm"),
    // Client states.
    row((AwaitAnswer, SERVER_RESUMPTION, |it| it.is_made_here()), (Session, CONFIRM), "Resumption"),
    row((AwaitAnswer, BUSY, |it| it.is_busy()), (Over(Busy), 0), "A8"),
    row((AwaitChallenge, BUSY, |it| it.is_busy()), (Over(Busy), 0), "C14"),
    row((AwaitChallenge, SERVER_HELLO, |it| !it.is_challenge()), (Over(Refused), 0), "C2 to C5, C15"),
    row((AwaitChallenge, SERVER_HELLO, |it| !it.is_same_at_client()), (Over(Different), 0), "C11"),
    row((AwaitChallenge, SERVER_HELLO, |it| !it.has_key()), (Over(Refused), 0), "C6, C8"),
    row((AwaitChallenge, SERVER_HELLO, |it| it.has_wrong_proof()), (Over(Refused), 0), "C12"),
    row((AwaitChallenge, SERVER_HELLO, |it| !it.is_trusted()), (Over(Refused), 0), "T1, T3, T4"),
    row(
        (AwaitChallenge, SERVER_HELLO, |_| true),
        (AwaitVerdict, CLIENT_LOGIN),
        "ClientLogin; without a proof nothing ties it to the hello",
    ),
    row((AwaitVerdict, SERVER_VERDICT, |it| it.says(Says::Accept)), (Session, 0), "Verdict: accept"),
    row((AwaitVerdict, SERVER_VERDICT, |it| it.says(Says::Reject)), (Over(Rejected), 0), "V4"),
    row((AwaitVerdict, SERVER_VERDICT, |it| it.says(Says::NotNow)), (Over(NotNow), 0), "V6"),
    row((AwaitVerdict, SERVER_VERDICT, |it| it.says(Says::Ask)), (AwaitVerdict, CLIENT_FACTOR), "ClientFactor"),
    // Both.
    row((Session, DATA, |it| it.is_made_here()), (Session, 0), "Records"),
    row((Session, KEY_UPDATE, |it| it.is_made_here()), (Session, 0), "Records: KeyUpdate"),
    row((Session, CLOSE, |it| it.is_made_here()), (Over(Closed), 0), "Records: Close"),
];

/// What comes of everything else: the end, and what is sent.
fn refused(state: Stage) -> (Stage, u8, &'static str) {
    match state {
        AwaitHello => (Over(Refused), 0, "S1"),
        // *The refusal*, whatever the reason.
        AwaitLogin => (Over(Refused), SERVER_VERDICT, "L1 to L4, L6 to L11; Refusals"),
        AwaitFactor => (Over(Refused), SERVER_VERDICT, "N1, N2, N4; Refusals"),
        AwaitConfirm => (Over(Refused), 0, "F1, F2"),
        AwaitAnswer => (Over(Refused), 0, "A1 to A6, A8"),
        AwaitChallenge => (Over(Refused), 0, "C1, C14"),
        AwaitVerdict => (Over(Refused), 0, "V1 to V3, V7"),
        Session => (Over(Refused), 0, "R1, R2"),
        Over(_) => unreachable!("nothing is fed to what has ended"),
    }
}

/// What PROTOCOL.md says comes of this frame: the state, the type of what is sent, the clauses, and the row.
pub fn expected(state: Stage, case: &Case<'_>) -> (Stage, u8, &'static str, Option<usize>) {
    let (frame, _) = case.frame().unwrap_or_default();
    // `AwaitAnswer` takes a ServerHello just as `AwaitChallenge` does.
    let state = if state == AwaitAnswer && frame == SERVER_HELLO { AwaitChallenge } else { state };
    let fits = |row: &Row| row.state == state && row.frame == frame && (row.when)(case);
    match TABLE.iter().position(fits) {
        Some(number) => (TABLE[number].next, TABLE[number].sends, TABLE[number].clauses, Some(number)),
        None => {
            let (next, sends, clauses) = refused(state);
            (next, sends, clauses, None)
        }
    }
}
