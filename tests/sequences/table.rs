//! What PROTOCOL.md says of each frame in each state, as a table. It knows nothing of the machines: of a frame it reads the bytes,
//! by the decoder that the tests have of their own, and of what is sealed it is told by whoever made it.

use super::ends::{End, Stage};
use super::letters::{Letter, PUZZLE, SOLUTION, Says};
use super::settings::{Mood, Setting};
use super::support::SUITES;
use super::support::wire::{Busy as BusyMessage, ClientHello, ClientLogin, Message, ServerHello, lp};
use countersign::{CredentialKind, TrustLevel};
use sha2::{Digest, Sha256};

/// *Frames*: the shortest and the longest body of each type, by its number.
const BODIES: [(usize, usize); 13] = [
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
    (128, 128),
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
const SOLVED: u8 = 12;

/// What a ServerVerdict says that a server sends; it is opened by whoever looks ([`super::explore`]).
pub const ACCEPT: u8 = 101;
pub const REFUSAL: u8 = 102;
pub const NOT_NOW: u8 = 103;
pub const ASK: u8 = 104;

/// How many further factors there are at most in a handshake.
const MOST_FACTORS: usize = 4;

/// A frame that comes, and what came before it.
pub struct Case<'a> {
    pub setting: &'a Setting,
    pub before: &'a [String],
    /// All that went to and fro before, but for puzzles.
    pub frames: &'a [Vec<u8>],
    pub letter: &'a Letter,
}

/// What counts of what came before: neither a puzzle nor its solution is in the transcript.
fn handshake(before: &[String]) -> Vec<&str> {
    before.iter().map(String::as_str).filter(|token| ![PUZZLE, SOLUTION].contains(token)).collect()
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
        self.letter.after.as_deref().is_some_and(|after| handshake(after) == handshake(self.before))
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

    /// S3 to S8, S11, S12: what the letters break of them.
    fn is_hello(&self) -> bool {
        self.hello().is_some_and(|hello| {
            let name = hello.server_name.as_slice();
            let is_ours = |names: &[&str]| name.is_empty() || names.iter().any(|ours| ours.as_bytes() == name);
            let offered = |suite: &u16| (suite >> 8) as u8;
            let has_shares = hello
                .suites
                .iter()
                .map(offered)
                .all(|exchange| exchange == 1 || hello.key_shares.iter().any(|(share, _)| *share == exchange));
            let is_common = SUITES.iter().any(|suite| hello.suites.contains(&suite.number()));
            let is_bound = hello.ticket.is_empty() == hello.binder.is_empty();
            let is_named = self.setting.names.is_none_or(is_ours);
            has_shares && is_common && is_bound && is_named && hello.versions.contains(&1)
        })
    }

    /// C2 to C9, C15: what the letters break of them.
    fn is_challenge(&self) -> bool {
        self.challenge().is_some_and(|hello| {
            let is_offered = self.setting.offered.iter().any(|suite| suite.number() == hello.suite);
            let is_stretched = !hello.credential_kinds.contains(&4) || hello.extensions.iter().any(|it| it.0 == 4);
            let is_share = hello.key_share.is_empty() == (hello.suite >> 8 == 1);
            hello.version == 1 && is_offered && is_stretched && is_share
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

    /// T1 to T5, T7; T6 has no letters.
    fn is_trusted(&self) -> bool {
        let (kind, level) = match self.setting.scenario.credential.kind() {
            CredentialKind::Stretched => (4, TrustLevel::Certified),
            CredentialKind::Key => (3, TrustLevel::FirstUse),
            CredentialKind::Token => (2, TrustLevel::Certified),
            _ => (1, TrustLevel::Certified),
        };
        self.challenge().is_some_and(|hello| {
            let is_known = hello.key_id == self.key_id() && self.setting.level >= level;
            let may_go = kind != 1 || !self.setting.stretched_only;
            let is_proved = self.has_proof() || !self.setting.knows_key();
            // Nobody lowers their floor here.
            let is_over_floor = hello.suite >> 8 > 1;
            is_known && may_go && is_proved && is_over_floor && hello.credential_kinds.contains(&kind)
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

    fn busy(&self) -> Option<BusyMessage> {
        let numbers = |busy: &BusyMessage| busy.extensions.iter().map(|it| it.0).collect::<Vec<_>>();
        let is_once = |numbers: Vec<u16>| (1..numbers.len()).all(|at| !numbers[at..].contains(&numbers[at - 1]));
        BusyMessage::decode(self.frame()?.1).filter(|busy| is_once(numbers(busy)))
    }

    fn is_busy(&self) -> bool {
        self.busy().is_some()
    }

    /// B1: one that the client goes along with.
    fn is_puzzle(&self) -> bool {
        let Some(most) = self.setting.solves else { return false };
        let is_first = !self.before.iter().any(|token| token == PUZZLE);
        let is_one = |data: &[u8]| data.len() == 33 && (1..=most.min(24)).contains(&data[0]);
        is_first && self.busy().is_some_and(|busy| busy.extensions.iter().any(|it| it.0 == 3 && is_one(&it.1)))
    }

    /// L2 to L4.
    fn is_login(&self) -> bool {
        let is_proved = ServerHello::decode(&self.frames[1][3..]).is_some_and(|hello| !hello.proof.is_empty());
        self.frame().and_then(|(_, body)| ClientLogin::decode(body)).is_some_and(|login| {
            let sealed = login.sealed_credential.len();
            let is_in_range = login.rsa_ciphertext.len() == if is_proved { 0 } else { 256 };
            is_in_range && sealed % 256 == 16 && (272..=4624).contains(&sealed)
        })
    }

    /// How many factors were asked for before this frame: of what came before, the first was a hello or a challenge, and the second, at
    /// the server, the login.
    fn asked(&self) -> usize {
        handshake(self.before).len().saturating_sub(1)
    }

    /// V7, V8.
    fn can_be_asked(&self) -> bool {
        let Setting { offers_factors, level, .. } = self.setting;
        *offers_factors && *level >= TrustLevel::Certified && self.asked() < MOST_FACTORS
    }
}

/// In this state, of these frames, those for which this holds: the state that follows, what is sent (0: nothing; a type, or what a verdict
/// says), and the clauses of PROTOCOL.md that say so.
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
    AwaitAnswer, AwaitChallenge, AwaitConfirm, AwaitFactor, AwaitHello, AwaitLogin, AwaitSolution, AwaitVerdict, Over,
    Session,
};

/// The first row that fits decides. What none fits is refused: [`refused`].
pub const TABLE: &[Row] = &[
    // Server states.
    row((AwaitHello, CLIENT_HELLO, |it| !it.is_hello()), (Over(Refused), 0), "S2 to S8, S11 to S14"),
    row(
        (AwaitHello, CLIENT_HELLO, |it| it.setting.puzzle.is_some()),
        (AwaitSolution, BUSY),
        "Puzzle: it asks before anything else",
    ),
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
    row((AwaitSolution, SOLVED, |it| it.says(Says::Ticket)), (AwaitConfirm, SERVER_RESUMPTION), "Puzzle; Resumption"),
    row(
        (AwaitSolution, SOLVED, |it| it.says(Says::Good)),
        (AwaitLogin, SERVER_HELLO),
        "Puzzle: as if it had not asked",
    ),
    row(
        (AwaitLogin, CLIENT_LOGIN, |it| it.setting.mood == Mood::Away && it.is_login()),
        (Over(Refused), NOT_NOW),
        "Verdict: not now, whatever the credential",
    ),
    row(
        (AwaitLogin, CLIENT_LOGIN, |it| it.says(Says::Good) && it.setting.factors > 0 && it.setting.offers_factors),
        (AwaitFactor, ASK),
        "Verdict: a further factor",
    ),
    row(
        (AwaitLogin, CLIENT_LOGIN, |it| it.says(Says::Good) && it.setting.factors > 0),
        (Over(Refused), REFUSAL),
        "L12",
    ),
    row((AwaitLogin, CLIENT_LOGIN, |it| it.says(Says::Good)), (Session, ACCEPT), "Verdict: accept"),
    row(
        (AwaitFactor, CLIENT_FACTOR, |it| it.says(Says::Good) && it.asked() < it.setting.factors),
        (AwaitFactor, ASK),
        "Verdict: the next factor",
    ),
    row((AwaitFactor, CLIENT_FACTOR, |it| it.says(Says::Good)), (Session, ACCEPT), "Verdict: accept"),
    row((AwaitConfirm, CONFIRM, |it| it.is_made_here()), (Session, 0), "Confirm"),
    // Client states.
    row((AwaitAnswer, SERVER_RESUMPTION, |it| it.is_made_here()), (Session, CONFIRM), "Resumption"),
    row((AwaitAnswer, BUSY, |it| it.is_puzzle()), (AwaitAnswer, SOLVED), "B1: the first, and no harder than it may be"),
    row((AwaitChallenge, BUSY, |it| it.is_puzzle()), (AwaitChallenge, SOLVED), "B1, as before"),
    row((AwaitAnswer, BUSY, |it| it.is_busy()), (Over(Busy), 0), "A8, B1"),
    row((AwaitChallenge, BUSY, |it| it.is_busy()), (Over(Busy), 0), "C14, B1"),
    row((AwaitChallenge, SERVER_HELLO, |it| !it.is_challenge()), (Over(Refused), 0), "C2 to C5, C9, C15"),
    row((AwaitChallenge, SERVER_HELLO, |it| !it.is_same_at_client()), (Over(Different), 0), "C11"),
    row((AwaitChallenge, SERVER_HELLO, |it| !it.has_key()), (Over(Refused), 0), "C6, C8"),
    row((AwaitChallenge, SERVER_HELLO, |it| it.has_wrong_proof()), (Over(Refused), 0), "C12"),
    row((AwaitChallenge, SERVER_HELLO, |it| !it.is_trusted()), (Over(Refused), 0), "T1 to T5, T7"),
    row(
        (AwaitChallenge, SERVER_HELLO, |_| true),
        (AwaitVerdict, CLIENT_LOGIN),
        "ClientLogin; without a proof nothing ties it to the hello",
    ),
    row((AwaitVerdict, SERVER_VERDICT, |it| it.says(Says::Accept)), (Session, 0), "Verdict: accept"),
    row((AwaitVerdict, SERVER_VERDICT, |it| it.says(Says::Reject)), (Over(Rejected), 0), "V4"),
    row((AwaitVerdict, SERVER_VERDICT, |it| it.says(Says::NotNow)), (Over(NotNow), 0), "V6"),
    row(
        (AwaitVerdict, SERVER_VERDICT, |it| it.says(Says::Ask) && it.can_be_asked()),
        (AwaitVerdict, CLIENT_FACTOR),
        "ClientFactor",
    ),
    row((AwaitVerdict, SERVER_VERDICT, |it| it.says(Says::Ask)), (Over(Refused), 0), "V7, V8"),
    // Both.
    row((Session, DATA, |it| it.is_made_here()), (Session, 0), "Records"),
    row((Session, KEY_UPDATE, |it| it.is_made_here()), (Session, 0), "Records: KeyUpdate"),
    row((Session, CLOSE, |it| it.is_made_here()), (Over(Closed), 0), "Records: Close"),
];

/// What comes of everything else: the end, and what is sent.
fn refused(state: Stage) -> (Stage, u8, &'static str) {
    match state {
        AwaitHello => (Over(Refused), 0, "S1"),
        AwaitSolution => (Over(Refused), 0, "B2, B3"),
        // *The refusal*, whatever the reason.
        AwaitLogin => (Over(Refused), REFUSAL, "L1 to L4, L6 to L11; Refusals"),
        AwaitFactor => (Over(Refused), REFUSAL, "N1, N2, N4; Refusals"),
        AwaitConfirm => (Over(Refused), 0, "F1, F2"),
        AwaitAnswer => (Over(Refused), 0, "A1 to A6, A8"),
        AwaitChallenge => (Over(Refused), 0, "C1, C14"),
        AwaitVerdict => (Over(Refused), 0, "V1 to V3"),
        Session => (Over(Refused), 0, "R1, R2"),
        Over(_) => unreachable!("nothing is fed to what has ended"),
    }
}

/// What PROTOCOL.md says comes of this frame: the state, what is sent, the clauses, and the row.
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
