//! What the documents, and the command's help, say in numbers is what the code has. A row names the text around a number, at how many
//! places it stands, and what is to be there; how a number is written is free. Figures that were measured are not looked at.

#![cfg(all(feature = "accounts", feature = "ml-kem", feature = "rustcrypto"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects, unreachable_pub)]

#[path = "documents/amounts.rs"]
mod amounts;
mod support;

use amounts::{Amount, constant, faults, in_one_line, literal, read};
use core::time::Duration;
use countersign::accounts::Account;
use countersign::crypto::Group;
use countersign::{
    CredentialKind, Form, KeyExchange, PuzzleDifficulty, Suite, TrustLevel, UsedTickets, VERSION, limits,
};
use support::Scenario;

/// Of a document, or of one of its sections: at how many places this text stands, and with what at each `{}`.
macro_rules! says {
    ($file:expr; $($count:literal $pattern:literal: $($amount:expr),+;)*) => {
        says!($file, in_one_line($file); $($count $pattern: $($amount),+;)*);
    };
    ($file:expr, $text:expr; $($count:literal $pattern:literal: $($amount:expr),+;)*) => {{
        let (file, text) = ($file, $text);
        let mut found = Vec::<String>::new();
        $(found.extend(faults(file, &text, $count, $pattern, &[$(Amount::from($amount)),+]));)*
        assert!(found.is_empty(), "{}", found.join("\n"));
    }};
}

const PROTOCOL: &str = "PROTOCOL.md";

/// What stands under a heading, up to the next one, in one line.
fn section(file: &str, heading: &str) -> String {
    let text = read(file);
    let (_, rest) = text.split_once(&format!("# {heading}\n")).unwrap_or_else(|| panic!("{file} has no {heading}"));
    let lines = rest.lines().take_while(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn held() -> Amount {
    constant("src/io/places/held.rs", "GRACE")
}

fn linger() -> Amount {
    constant("src/io/link.rs", "LINGER")
}

/// What follows a `u16` of it.
const BYTES: usize = u16::MAX as usize;

#[test]
fn the_protocol_s_messages_have_the_sizes_and_numbers_that_it_states() {
    let [password, token, key, stretched] = CredentialKind::ALL.map(CredentialKind::number);
    let [code, visible, hidden] = Form::ALL.map(Form::number);
    let [rsa, x25519, mlkem] = KeyExchange::ALL;
    assert_eq!((rsa.client_share(), rsa.server_share()), (0, 0));
    let certificates = || constant("src/terms/trust/question.rs", "CERTIFICATES");
    let manifest = || constant("src/terms/trust/question.rs", "MANIFEST");
    let puzzle = || constant("src/terms/puzzle.rs", "EXTENSION");
    let stretching = || constant("src/terms/stretch.rs", "EXTENSION");
    let factors = || constant("src/terms/factor.rs", "EXTENSION");
    let accept = || constant("src/terms/grant.rs", "ACCEPT");
    let no_grant = |name: &str| literal("src/terms/grant.rs", &format!("\n    {name} = {{}},\n"));
    let token_text = {
        let token = Account::new("robot", ["read"]).unwrap().issue_token().unwrap();
        token.as_str().len() - "cst_".len()
    };
    says! { PROTOCOL;
        1 "this document is {} |": VERSION;
        1 "the version picked: {} |": VERSION;
        1 "versions without {};": VERSION;
        1 "ClientHello has room for shares of {} bytes together": limits::MAX_KEY_SHARE * 2;
        1 "ServerResumption for a share of {}, and": limits::MAX_KEY_SHARE;
        1 "and ServerHello for an SPKI of {}. No": limits::MAX_SPKI;
        1 "and {}-byte tags; `seal(": limits::TAG;
        1 "| `02` | X25519 public key: {} bytes | X25519 public key: {} bytes |": x25519.client_share(), x25519.server_share();
        1 "ML-KEM-768 encapsulation key ({}), then X25519 public key ({}): {} bytes |":
            Group::MlKem768.client_share(), Group::X25519.client_share(), mlkem.client_share();
        1 "ML-KEM-768 ciphertext ({}), then X25519 public key ({}): {} bytes |":
            Group::MlKem768.server_share(), Group::X25519.server_share(), mlkem.server_share();
        1 "any {} bytes are an X25519 public key": Group::X25519.client_share();
        1 "any {} bytes an ML-KEM ciphertext": Group::MlKem768.server_share();
        1 "the SHA-256 of that DER, {} bytes.": limits::KEY_ID;
        1 "fewer than {} or more than {} bits": limits::MIN_MODULUS_BITS, limits::MAX_MODULUS_BITS;
        1 "is even, below {}, or above {}.": *limits::EXPONENTS.start(), *limits::EXPONENTS.end();
        1 "where that means nothing: in a message for which the table has a dash, or that it does not name, or beside what it goes with ({} without kind {}, {} with another decision than {})":
            stretching(), stretched, factors(), no_grant("Factor");
        1 "| {}, certificates | empty": certificates();
        1 "| {}, manifest | empty": manifest();
        1 "| {}, puzzle | –": puzzle();
        1 "| {}, stretching | –": stretching();
        1 "one Stretching (*Stretching*), where kind {} is taken": stretched;
        1 "| {}, further factors | empty": factors();
        1 "one FactorRequest, with decision {} |": no_grant("Factor");
        1 "puts one Stretching into extension {} of": stretching();
        1 "have one FactorRequest under number {}:": factors();
        1 "client that offered extension {} is asked": factors();
        1 "Extension {} in a verdict of another decision": factors();
        1 "that has a Puzzle in extension {}, and": puzzle();
        1 "did not offer extension {}. In": factors();
        1 "did not offer extension {}, or without": factors();
        1 "**C15** kind {} among the credential kinds, and not exactly one Stretching, with its fields in their bounds, in extension {}.":
            stretched, stretching();
        1 "into one in {} of its ClientHellos": literal("src/handshake.rs", "roll % {} == 0");
        1 "bytes 21 to 7e (hex), at most {}; may": limits::MAX_SERVER_NAME;
        1 "a ticket of an earlier login, at most {} bytes": limits::MAX_TICKET;
        1 "| {} bytes that prove that the client holds": limits::BINDER;
        1 "| {} bytes that prove that the server has opened": limits::PROOF;
        2 "`rsa_secret` is {} fresh random bytes": limits::SECRET;
        2 "all but its last {} bytes": 2 + limits::PROOF;
        1 "\"binder\", transcript_b, {})": limits::BINDER;
        1 "\"proof\", transcript_p, {}) ```": limits::PROOF;
        1 "Credential kinds are {}, password; {}, token; {}, key; and {}, stretched": password, token, key, stretched;
        1 "| {}, password; {}, token; {}, key; or {}, stretched": password, token, key, stretched;
        1 "kinds {}, {} and {}: 1 to {} bytes without": password, key, stretched, limits::MAX_USER;
        1 "kind {}: empty |": token;
        1 "the password or the token, 1 to {} bytes; for kind {}, one KeyProof; for kind {}, one": limits::MAX_SECRET, key, stretched;
        1 "= first {} bytes of SHA-256(lp(\"countersign v1 prologue\") || lp(prologue)) || first {} bytes of SHA-256(": limits::CONTEXT / 2, limits::CONTEXT / 2;
        1 "for {} bytes of a hash of each (*Context*)": limits::CONTEXT / 2;
        1 "multiple of {} bytes, at least {} and at most {}, and a {}-byte tag":
            limits::CREDENTIAL_BLOCK, limits::CREDENTIAL_BLOCK, limits::MAX_SEALED_CREDENTIAL - limits::TAG, limits::TAG;
        1 "up to the next multiple of {}; none": limits::CREDENTIAL_BLOCK;
        1 "only as a number of {}-byte blocks": limits::CREDENTIAL_BLOCK;
        1 "this library's are `cst_` and {} characters of base64url": token_text;
        1 "the DER of its SubjectPublicKeyInfo, at most {} bytes": limits::MAX_SPKI;
        1 "what the passwords are for: 1 to {} bytes": limits::MAX_REALM;
        1 "passes, lanes), {} bytes stored": limits::STRETCHED;
        1 "| memory, of each set | {} | {} |":
            Amount::from(limits::MIN_STRETCH_MEMORY).times(1 << 20), Amount::from(limits::MAX_STRETCH_MEMORY).times(1 << 20);
        1 "| memory times passes, of each set | {} | –": Amount::from(limits::MIN_STRETCH_WORK).times(1 << 20);
        1 "| memory times passes, of all sets together | – | {} |": Amount::from(limits::MAX_STRETCH_WORK).times(1 << 20);
        1 "| lanes, of each set | 1 | {} |": limits::MAX_STRETCH_LANES;
        1 "| the password, 1 to {} bytes, where": limits::MAX_SECRET;
        1 "always {} bytes of ciphertext and a {}-byte tag. `padding` is zeros up to {} bytes. ### Verdict": limits::VERDICT, limits::TAG, limits::VERDICT;
        1 "always {} bytes of ciphertext and a {}-byte tag. `padding` is zeros up to {} bytes. Factor has": limits::FACTOR, limits::TAG, limits::FACTOR;
        1 "| {}, accept; {}, reject; {}, not now; or {}, a further factor":
            accept(), no_grant("Reject"), no_grant("NotNow"), no_grant("Factor");
        1 "logged in as, 1 to {} bytes": limits::MAX_PRINCIPAL;
        1 "different words of 1 to {} bytes": limits::MAX_PERMISSION;
        1 "a ticket for the next login, at most {} bytes": limits::MAX_TICKET;
        1 "What is over {} is {} to the client": limits::TICKET_MAX_AGE, limits::TICKET_MAX_AGE;
        1 "Decision, principal and permissions have at most {} bytes together": limits::MAX_GRANT;
        1 "| {}, a one-time code; {}, an answer that may be seen while it is typed; {}, one that may not |": code, visible, hidden;
        1 "what to show to the user, up to {} bytes": limits::MAX_PROMPT;
        1 "is asked, and {} times at most in a handshake": limits::MAX_FACTORS;
        1 "| answer | `bytes` | 1 to {} bytes |": limits::MAX_ANSWER;
        1 "a tag of {} bytes.": limits::TAG;
        1 "each hash must have, 1 to {} |": limits::MAX_PUZZLE_BITS;
        1 "has {} different good counters, so it takes {} * 2^`bits` hashes on average": limits::PUZZLE_COUNTERS, limits::PUZZLE_COUNTERS;
        1 "its mean), and {} hashes to check": limits::PUZZLE_COUNTERS;
        1 "goes up to {} bits unless told otherwise": PuzzleDifficulty::CLIENT.bits();
        1 "| {} `u64`, ascending": limits::PUZZLE_COUNTERS;
        1 "and the ciphertext: {} bytes, and the modulus's size": limits::FRAME_HEADER + 2;
        1 "is spoken inside: up to {} bytes; empty": BYTES;
        1 "its type is text of up to {} bytes and its bytes are at most {}.": literal("src/terms/binding.rs", "kind.len() > {} {"), BYTES;
        1 "L bytes, 1 to {}, under a label of 1 to {} bytes":
            constant("src/crypto/schedule.rs", "MAX_OUTPUT"), literal("src/session.rs", "label.len() > {} ||");
        1 "(this library's have {} bytes)": limits::TICKET;
        1 "which chain it is of ({} random bytes": 16;
        1 "carries 1 to {} bytes of plaintext": limits::MAX_RECORD;
        1 "MUST send one after {} frames of any type": limits::RECORDS_PER_KEY;
    }
    assert_eq!([stretched, hidden], [4, 3]);
    for (heading, message) in [
        ("ClientHello", limits::MAX_CLIENT_EXTENSIONS),
        ("ServerHello", limits::MAX_SERVER_EXTENSIONS),
        ("ServerResumption", limits::MAX_SERVER_EXTENSIONS),
        ("Verdict", limits::MAX_VERDICT_EXTENSIONS),
        ("Busy", limits::MAX_CLIENT_EXTENSIONS),
    ] {
        says! { PROTOCOL, section(PROTOCOL, heading);
            1 "| extensions | `list<Extension, {}>` | at most {} bytes together,": limits::MAX_EXTENSIONS, message;
        }
    }
}

#[test]
fn the_smallest_hello_that_offers_the_defaults_is_as_long_as_the_protocol_says() {
    // Now and then there is a reserved extension in one.
    let hello = |seed| Scenario::new().client_suites(&Suite::DEFAULT).seed(seed).await_challenge().0.len();
    let shortest = ["one", "two", "three", "four"].map(hello).into_iter().min().unwrap();
    says! { PROTOCOL;
        1 "ClientHello that offers the defaults has at least {}. The": shortest - limits::FRAME_HEADER;
    }
}

#[test]
fn the_protocol_s_rules_have_the_numbers_of_the_code() {
    says! { PROTOCOL;
        1 "outside 21 to 7e (hex), or over {} bytes; - **S7**": limits::MAX_SERVER_NAME;
        1 "**S11** a ticket of more than {} bytes, a ticket without a binder of {} bytes": limits::MAX_TICKET, limits::BINDER;
        1 "**S13** extensions of more than {} bytes": limits::MAX_CLIENT_EXTENSIONS;
        1 "**B2** a frame of another type than Solution, or of another length than {};": limits::SOLUTION;
        1 "**L6** an `rsa_ciphertext`, here or in the ClientHello, that does not decrypt, to {} bytes, the last {} of which":
            limits::SEALED_SECRET, limits::SEALED_SECRET - limits::SECRET;
        1 "**N1** a frame of another type than ClientFactor, or of another length than {};": limits::CLIENT_FACTOR;
        1 "**F1** a frame of another type than Confirm, or of another length than {};": limits::TAG;
        1 "name a number twice or have over {} bytes; - **A3**": limits::MAX_SERVER_EXTENSIONS;
        1 "**C12** a proof that is wrong: of another length than {}, of": limits::PROOF;
        1 "name a number twice, or have more than {} bytes together; - **C14**": limits::MAX_SERVER_EXTENSIONS;
        1 "**V1** a frame of another type than ServerVerdict, or of another length than {};": limits::SERVER_VERDICT;
        1 "form that is not known is out of them), or the {}; - **V8**": limits::MAX_FACTORS + 1;
        1 "**R5** more than {} frames under one key": limits::RECORDS_PER_KEY + 1;
        1 "can't be a permission: the empty word, one of more than {} bytes": limits::MAX_PERMISSION;
        1 "the weakest that it takes, `{}` unless its user says": KeyExchange::X25519.number();
        1 "no kind {}, and beside kind {} the field": CredentialKind::Password.number(), CredentialKind::Stretched.number();
        3 "by more than a small skew ({})": limits::CLOCK_SKEW;
        1 "- **M4** it has not expired, and was not issued in the future by more than a small skew ({});": limits::CLOCK_SKEW;
        1 "chain began, by its own clock, over {} ago": limits::TICKET_MAX_AGE;
        1 "(by default, {}), or one of its times": limits::TICKET_MAX_AGE;
        1 "that it is given: {} at most": limits::TICKET_MAX_AGE;
        1 "draws a secret `fallback` of {} random bytes": limits::SECRET;
        1 "the plaintext is not {} bytes long": limits::SEALED_SECRET;
        1 "put {} bytes of your own in the plaintext's place": limits::SEALED_SECRET;
        1 "a fixed time, {} by default, after the login arrived": limits::REFUSAL_FLOOR;
        1 "until the client hangs up, for {} at most": linger();
        1 "by default {} each; and for each further factor": limits::HANDSHAKE_TIMEOUT;
        1 "to its answer, by default {}, and then": limits::FACTOR_TIMEOUT;
        1 "first those that have kept it waiting for {}, and": held();
    }
}

/// The shape of each field of every table of fields that has a length or a largest count, in the order of the document.
#[test]
fn each_list_and_each_field_of_one_size_has_the_bound_that_the_code_has() {
    let text = read(PROTOCOL);
    let mut heading = "";
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            heading = name;
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
        let number = |shape: &str| {
            let inner = shape.strip_prefix("bytes[").and_then(|rest| rest.strip_suffix(']'));
            let list = shape.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')?.rsplit(", ").next());
            inner.or(list)?.parse::<usize>().ok()
        };
        if let [field, shape, _] = cells[..]
            && let Some(number) = number(shape)
        {
            found.push((heading, field, number));
        }
    }
    let expected = [
        ("ClientHello", "versions", limits::MAX_VERSIONS),
        ("ClientHello", "suites", limits::MAX_SUITES),
        ("ClientHello", "nonce", limits::NONCE),
        ("ClientHello", "key_shares", limits::MAX_KEY_SHARES),
        ("ClientHello", "known_keys", limits::MAX_KNOWN_KEYS),
        ("ClientHello", "context", limits::CONTEXT),
        ("ClientHello", "extensions", limits::MAX_EXTENSIONS),
        ("ServerHello", "nonce", limits::NONCE),
        ("ServerHello", "key_id", limits::KEY_ID),
        ("ServerHello", "credential_kinds", limits::MAX_CREDENTIAL_KINDS),
        ("ServerHello", "context", limits::CONTEXT),
        ("ServerHello", "extensions", limits::MAX_EXTENSIONS),
        ("Stretching", "parameters", limits::MAX_STRETCH_PARAMETERS),
        ("StretchedPassword", "values", limits::MAX_STRETCH_PARAMETERS),
        ("Verdict", "permissions", limits::MAX_PERMISSIONS),
        ("Verdict", "extensions", limits::MAX_EXTENSIONS),
        ("ServerResumption", "nonce", limits::NONCE),
        ("ServerResumption", "extensions", limits::MAX_EXTENSIONS),
        ("ServerResumption", "sealed_verdict", limits::SERVER_VERDICT),
        ("Busy", "extensions", limits::MAX_EXTENSIONS),
        ("Puzzle", "nonce", limits::NONCE),
        ("Solution", "counters", limits::SOLUTION),
        ("Manifest", "identity", limits::KEY_ID),
        ("Manifest", "names", limits::MAX_MANIFEST_NAMES),
        ("Manifest", "keys", limits::MAX_MANIFEST_KEYS),
        ("Manifest", "signature", 64),
        ("Manifest", "key_id", limits::KEY_ID),
    ];
    assert_eq!(found, expected);
    says! { PROTOCOL;
        1 "`list<bytes, {}>`: certificates in DER": limits::MAX_CERTIFICATES;
    }
}

#[test]
fn how_well_a_key_is_known_has_the_number_of_its_level() {
    let [first_use, certified, verified] = TrustLevel::ALL.map(|level| level as u8);
    says! { PROTOCOL;
        1 "| fingerprints, or keys | if it is one of them | {}, verified |": verified;
        1 "valid now and for the server's name | {} |": verified;
        1 "if a manifest names it (*Manifest*) | {} |": verified;
        1 "at which it was listed; {} where a certificate or a manifest": certified;
        1 "if the user says so | {} |": verified;
        1 "if certificates lead to one of them (*Certificates*) | {}, certified |": certified;
        1 "if no other key is known for this server | {}, first use |": first_use;
        1 "or a token needs level {}, and a key's signature level {}.": certified, first_use;
    }
}

const SECURITY: &str = "SECURITY.md";

#[test]
fn what_guessing_costs_is_in_security_md_what_it_is() {
    let guessing = |name: &str| constant("cli/src/serve/guessing.rs", name);
    let of_block = || literal("src/io/penalties.rs", "block: Waits::new({}, ");
    let (wait, longest) = (guessing("WAIT"), guessing("LONGEST"));
    let minute = guessing("A_MINUTE");
    says! { SECURITY;
        1 "the /64 of an IPv6 address | {} | {} to {} |": guessing("OF_ADDRESS"), wait, longest;
        1 "around it | {} | {} to {} |": of_block(), wait, longest;
        1 "| name, from sources that have not logged in to it | {} | {} to {} |":
            guessing("OF_USER"), guessing("USER_WAIT"), guessing("USER_LONGEST");
        1 "| name, and a source that has logged in to it | {} | {} to {} |":
            guessing("OF_USER"), guessing("USER_WAIT"), guessing("USER_LONGEST");
        1 "the names | {} a minute; {} where somebody": minute, minute.times(4);
        1 "| | {} a day at all accounts together; {} from addresses": minute.times(24 * 60), minute.times(4 * 24 * 60);
        1 "and {} times as many are too many, it is the refusal": literal("src/io/penalties/guard.rs", "const LAST: f64 = {};");
        1 "are looked at together: {} and {}, less what": guessing("OF_USER").plus_one(), guessing("OF_ADDRESS").plus_one();
        1 "and {} more after each login of its owner's": guessing("OF_USER").plus_one();
        1 "Half of a count is forgotten in {}. At the defaults": constant("src/io/penalties/sketch.rs", "HALF_LIFE");
        1 "count-min sketch of {}, from": constant("src/io/penalties/sketch.rs", "WIDTH").times(4 * 8);
        1 "and not where one of its {} sources": constant("src/io/penalties/known.rs", "SOURCES");
        1 "logged in from (the last {}), and": constant("src/io/penalties/known.rs", "SOURCES");
        1 "and a principal has {} (each": constant("src/io/penalties/known.rs", "SOURCES");
        1 "so the {} that there is room for": constant("src/io/penalties/known.rs", "PAIRS");
        1 "It is forgotten {} after its last login": Duration::from_secs(200 * 24 * 3600);
        1 "they are asked once in {}, and about {} of one block":
            constant("src/io/penalties/elsewhere.rs", "WINDOW"), constant("src/io/penalties/elsewhere.rs", "OF_A_BLOCK");
        1 "with principals, each of which has {} sources": constant("src/io/penalties/known.rs", "SOURCES");
    }
    assert_eq!(constant("src/io/penalties/sketch.rs", "ROWS"), 4.into());
    assert_eq!(constant("src/io/penalties/known.rs", "LOGINS"), (200 * 24 * 3600).into());
    says! { "docs/operating.md";
        1 "how many failures cost nothing: {} of an address, {} times as many of the block": guessing("OF_ADDRESS"), 8;
        1 "of the block of addresses around it, {} wrong passwords for a user": guessing("OF_USER");
        1 "than may be wrong: {} of those who": guessing("OF_ADDRESS").plus_one();
        1 "in all, past which strangers have to wait: {} |": minute;
    }
    assert_eq!(of_block(), guessing("OF_ADDRESS").times(8));
}

#[test]
fn security_md_has_the_numbers_of_the_code() {
    let recheck = || literal("src/io/recheck.rs", "Self::every({})\n");
    let grace = || literal("src/io/recheck.rs", "grace: Some({}),");
    let circuit = || constant("stores/src/circuit.rs", "EVERY");
    let patience = || constant("stores/src/place.rs", "PATIENCE");
    let health = |name: &str| constant("cli/src/serve/health.rs", name);
    let totp = |name: &str| constant("src/stores/accounts/totp.rs", name);
    let kib = 1 << 10;
    says! { SECURITY;
        1 "have not arrived, {} bytes for a half-open login in the machine": literal("tests/memory.rs", "144 <= {}, ");
        1 "memory for bytes that have not arrived; {} bytes for a half-open login": literal("tests/memory.rs", "144 <= {}, ");
        1 "within a configured time ({}), or": recheck();
        1 "is asked about again every {} (`Recheck`)": recheck();
        1 "before the grace is over ({}), and": grace();
        1 "At once {} are asked about (`Bounds::with_rechecks`)": literal("src/io/bounds.rs", "            rechecks: {},");
        1 "every sequence of up to {} frames": literal("tests/sequences/explore.rs", "DEPTH: usize = {};");
        1 "after {} wrong ones in a row the account's codes wait": totp("FREE");
        2 "also across the {} around it": Duration::from_secs(30);
        1 "tokens are {} random bits, stored as hashes": 256;
        1 "none that take more than {} or about": Amount::from(limits::MAX_STRETCH_MEMORY).times(1 << 20);
        1 "those that keep a server waiting for {} are among": held();
        1 "those that take longer than {} are among": held();
        1 "asks for work first: {} counters": limits::PUZZLE_COUNTERS;
        1 "**Slow clients pay more.** {} bits (": constant("src/terms/puzzle.rs", "MOST");
        1 "so there a puzzle of {} bits costs": constant("src/terms/puzzle.rs", "MOST");
        1 "up to the client's own bound ({} bits)": PuzzleDifficulty::CLIENT.bits();
        1 "takes longer than {} (the file is long": constant("src/stores/accounts/file.rs", "PATIENCE");
        1 "what was read before counts for up to {}. Then": constant("src/stores/accounts/file.rs", "STALE");
        1 "an editor writes within {} after it what it had read before": constant("src/stores/files/lock.rs", "WATCH");
        1 "An answer that takes longer than {} is given up": patience();
        1 "can't wait for a store that hangs, each for its {}.": patience();
        1 "but for one in each {} that asks again": circuit();
        1 "(`--handshake-timeout`, {}): a": limits::HANDSHAKE_TIMEOUT;
        1 "jumps by more than {}, both times count for {} (`countersign::Clock`)": limits::CLOCK_SKEW, limits::CLOCK_DOUBT;
        1 "which the refusal floor hides while it is shorter ({})": limits::REFUSAL_FLOOR;
        1 "until a fixed time after the login arrived ({} unless configured)": limits::REFUSAL_FLOOR;
        1 "a chain ends after {}, or": limits::TICKET_MAX_AGE;
        1 "from ticket to ticket for {} at most": limits::TICKET_MAX_AGE;
        1 "bounded to {} lines a second": constant("cli/src/serve/log.rs", "STRANGERS_PER_SECOND");
        1 "has no login, and tells how many log in and how that goes to whoever can connect. {} connections are served at once, each for {} and a request of {}, so":
            health("CONNECTIONS"), health("PATIENCE"), health("HEAD");
        1 "At most {} sets are imitated": constant("src/stores/accounts/imitation.rs", "MOST");
        1 "a few at most (Argon2: {} of memory times passes), and {} (Argon2) or {} (scrypt, yescrypt)":
            constant("src/stores/accounts/hash/argon2.rs", "MAX_WORK").times(kib),
            constant("src/stores/accounts/hash/argon2.rs", "MAX_MEMORY").times(kib),
            constant("src/stores/accounts/hash/formats.rs", "MAX_MEMORY");
        1 "that have the same {} bytes in front": constant("src/stores/accounts/hash/formats/bcrypt.rs", "LONGEST");
        1 "those that opened, within {} of": constant("benches/refusals.rs", "ALLOWED");
        1 "Keys of {} to {} bits, odd modulus, odd exponent of at least {}, in":
            limits::MIN_MODULUS_BITS, limits::MAX_MODULUS_BITS, *limits::EXPONENTS.start();
        1 "there is a tag of {} bits, by a keyed hash": 32;
    }
}

#[test]
fn the_readme_and_contributing_have_the_numbers_of_the_code() {
    says! { "README.md";
        1 "names and secrets are padded to {} bytes": limits::CREDENTIAL_BLOCK;
        1 "| {} bytes for each in the machine, a deadline": literal("tests/memory.rs", "144 <= {}, ");
        1 "is asked about each again within {} (`Recheck`)": literal("src/io/recheck.rs", "Self::every({})\n");
    }
    says! { "CONTRIBUTING.md";
        1 "every sequence of up to {} frames": literal("tests/sequences/explore.rs", "DEPTH: usize = {};");
    }
    // How often one may guess in a day is counted by the tests of `src/io/penalties`.
    let [security, readme] = [SECURITY, "README.md"].map(in_one_line);
    let counted = |text: &str, pattern: &str| text.matches(pattern).count();
    assert_eq!((counted(&security, "| 230 guesses a day |"), counted(&security, "| 1,350 a day |")), (1, 1));
    assert_eq!((counted(&security, "| 300 a day, "), counted(&readme, "some 230 guesses a day]")), (2, 1));
    assert_eq!(counted(&readme, "from an address, 300 at a name."), 1);
    let toml = |file: &str| {
        let text = read(file);
        text.lines()
            .find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"').map(str::to_owned))
            .unwrap()
    };
    let [library, stores, cli] = ["Cargo.toml", "stores/Cargo.toml", "cli/Cargo.toml"].map(toml);
    assert_eq!(stores, cli);
    let minimum = format!("Minimum Rust version: {library}; for `countersign-stores` and the command, {cli}.");
    assert!(readme.contains(&minimum), "README.md does not say: {minimum}");
}

#[test]
fn operators_read_the_numbers_of_the_code() {
    let health = |name: &str| constant("cli/src/serve/health.rs", name);
    let recheck = || constant("cli/src/serve/options.rs", "RECHECK");
    let goodbye = || constant("cli/src/relay.rs", "GOODBYE_TIMEOUT");
    let check = || constant("cli/src/serve/users.rs", "CHECK");
    let once = || constant("cli/src/serve/paced.rs", "EVERY");
    let circuit = || constant("stores/src/circuit.rs", "EVERY");
    let patience = || constant("stores/src/place.rs", "PATIENCE");
    says! { "docs/operating.md";
        1 "It is a file, and no pipe, of at most {}. No secret": constant("cli/src/serve/config.rs", "MAX_FILE");
        1 "how long it may take for one answer, of which a login needs up to five; after that it counts as away ({}) |":
            literal("stores/src/redis.rs", "pub const PATIENCE: Duration = {};");
        1 "harder by a factor of two with each {} that the waiting lasts": constant("src/io/puzzles.rs", "RISE");
        1 "up to `--hardest-puzzle` ({}: a": constant("cli/src/serve/options.rs", "HARDEST_PUZZLE");
        1 "Raising it above {} needs clients": PuzzleDifficulty::CLIENT.bits();
        1 "then they are told to end, and {} later they are cut": goodbye();
        1 "Of what costs a stranger nothing, {} lines a second": constant("cli/src/serve/log.rs", "STRANGERS_PER_SECOND");
        1 "or the check every {}, and logins are told": check();
        1 "the time of day was set, by more than {}: the time of before counts, too, for {}, so":
            limits::CLOCK_SKEW, limits::CLOCK_DOUBT;
        3 "once {} at most": once();
        1 "at once, and then once {} |": once();
        1 "It takes {} connections at a time, for {} and a head of {} each":
            health("CONNECTIONS"), health("PATIENCE"), health("HEAD");
        1 "this server's clock is over {} off": limits::CLOCK_SKEW;
    }
    says! { "docs/accounts.md";
        1 "`user import` writes {} accounts at a time": constant("cli/src/users/import/database.rs", "BATCH");
        1 "and gives that up after {}. A users file holds at most {}, some":
            literal("stores/src/place.rs", "const PATIENCE: Duration = {};"), literal("src/stores/files.rs", "pub const MAX_FILE: u64 = {};");
        1 "a migration waits {} at a time for locks": Duration::from_secs(2);
        1 "after {} tries it changes nothing": constant("stores/src/schema.rs", "TRIES");
        1 "- Every question is given up after {}, and": patience();
        1 "(keep `--handshake-timeout` above {}: a": patience().times(2);
        1 "one login in each {} goes on asking it, so that one that hangs costs no other login its {}.": circuit(), patience();
        1 "it asks every {} (`SqlStore::check`)": check();
        1 "is given up {} after the question on it was": constant("stores/src/database.rs", "RETURN");
        1 "- At most {} connections for each `SqlStore`, and at most {} of them to write":
            constant("stores/src/place.rs", "CONNECTIONS"), constant("stores/src/place.rs", "WRITERS");
        1 "`max_connections` has to know of the {}.": constant("stores/src/place.rs", "CONNECTIONS");
        1 "It is given up after {}. With SQLite": literal("stores/src/bulk.rs", "PATIENCE: Duration = Duration::from_secs({});");
        1 "writers wait for each other for up to {}. Its": constant("stores/src/place.rs", "BUSY");
        1 "the last step of {} whose code was used": constant("src/stores/accounts/totp.rs", "STEP").as_seconds();
        1 "how long the directory may take for all of a login: {}; at": literal("stores/src/ldap/config.rs", "pub const PATIENCE: Duration = {};");
        1 "**Open sessions** are looked at every `--recheck` ({}):": recheck();
        1 "all but one in each {} at once": circuit();
        1 "(the {} that are free, and": constant("cli/src/serve/guessing.rs", "OF_USER");
    }
    assert!(read("stores/src/schema.rs").contains("lock_timeout = '2s'"));
    says! { "docs/cluster.md";
        1 "(`Recheck`, {}) | |": recheck();
        1 "**A deadline** of {} (": literal("stores/src/redis.rs", "pub const PATIENCE: Duration = {};");
        1 "up to {}, 250 bytes each)": literal("stores/src/redis.rs", "chains.clamp(1, {});");
        1 "and {} keys are kept: one": constant("src/terms/ticket/keys.rs", "RING");
        1 "own clocks may differ by {} (`limits::CLOCK_SKEW`)": limits::CLOCK_SKEW;
        1 "by more than {}, ends nothing for {} (event": limits::CLOCK_SKEW, limits::CLOCK_DOUBT;
    }
    says! { "docs/certificates.md";
        1 "Up to {}, {} bytes together": limits::MAX_CERTIFICATES, limits::MAX_CERTIFICATES_SIZE;
    }
    says! { "docs/runbook.md";
        1 "`--recheck` ({}) with a database": recheck();
    }
    assert_eq!(
        constant("stores/src/place.rs", "PATIENCE"),
        literal("stores/src/ldap/config.rs", "PATIENCE: Duration = {};")
    );
    assert_eq!(literal("src/io/recheck.rs", "Self::every({})\n"), recheck());
    assert_eq!(literal("src/io/recheck.rs", "grace: Some({}),"), constant("cli/src/serve/options.rs", "RECHECK_GRACE"));
    assert_eq!(UsedTickets::OF_A_PRINCIPAL, 64);
}

/// The numbers of the command's help that clap does not put there itself.
#[test]
fn the_command_s_help_has_the_numbers_of_the_code() {
    let totp = |name: &str| constant("src/stores/accounts/totp.rs", name);
    let longest = || constant("cli/src/connect/pace.rs", "LONGEST");
    let goodbye = || constant("cli/src/relay.rs", "GOODBYE_TIMEOUT");
    says! { "cli/src/connect.rs";
        1 "After a good login such a connection is reset, and for {} so are others, without a login": constant("cli/src/connect/pace.rs", "SHORTEST");
        1 "this doubles, up to {}, until": longest();
        1 "says if that is less than {}.\"": longest();
    }
    says! { "cli/src/serve.rs";
        1 "the session does not end in {}, a TCP service": goodbye();
    }
    says! { "cli/src/serve/options.rs";
        1 "is told to stop. After that, and {} to say goodbye": goodbye();
        1 "may get, 1 to {}: {} bits": limits::MAX_PUZZLE_BITS, constant("cli/src/serve/options.rs", "HARDEST_PUZZLE");
        1 "Clients go up to {} unless": PuzzleDifficulty::CLIENT.bits();
    }
    says! { "cli/src/serve/guessing.rs";
        1 "[default: {} times --failures-per-address]": literal("cli/src/serve/guessing.rs", "failures_per_address.saturating_mul({})");
    }
    says! { "cli/src/users.rs";
        1 "prints {} recovery codes, once": constant("src/stores/accounts/factor.rs", "CODES");
        1 "also within its {}. After {} wrong ones in a row none is looked at for {}, and": totp("STEP").as_seconds(), totp("FREE"), totp("FIRST").as_seconds();
        1 "after each further one, up to {}. The users file": totp("LONGEST").as_seconds();
        1 "has at most {}, a line": constant("src/stores/files.rs", "MAX_FILE");
        1 "file holds at most {}, some": constant("src/stores/files.rs", "MAX_FILE");
        1 "a line at most {}. A line": limits::MAX_LINE;
        1 "A database holds any number, and gets {} at a time": constant("cli/src/users/import/database.rs", "BATCH");
        1 "Issue a token for a user: {} random bits": 256;
    }
    says! { "cli/src/users/password.rs";
        1 "a password of fewer than {} characters": limits::MIN_PASSWORD;
    }
    says! { "cli/src/known_hosts.rs";
        1 "It has at most {}, a line at most {}. A": constant("src/stores/files.rs", "MAX_KNOWN_HOSTS"), limits::MAX_LINE;
    }
    says! { "cli/src/inspect.rs";
        1 "\"more than {}: cut": constant("cli/src/inspect.rs", "MAX_STREAM");
    }
    says! { "cli/src/secrets.rs";
        2 "1 to {} bytes": limits::MAX_SECRET;
        1 "it is longer than {} bytes": limits::MAX_SECRET;
    }
}

/// Of what docs.rs shows, which is where embedders read it.
#[test]
fn the_library_s_own_documentation_has_the_numbers_of_the_code() {
    let guessing = |name: &str| constant("cli/src/serve/guessing.rs", name);
    let (wait, longest) = (guessing("WAIT"), guessing("LONGEST"));
    let known = |name: &str| constant("src/io/penalties/known.rs", name);
    let (of_accounts, of_hosts) =
        (constant("src/stores/files.rs", "MAX_FILE"), constant("src/stores/files.rs", "MAX_KNOWN_HOSTS"));
    let argon2 = |name: &str| constant("src/stores/accounts/hash/argon2.rs", name);
    let kib = 1 << 10;
    says! { "src/io/penalties.rs";
        1 "the /64 of an IPv6 address) | {} | {} | {} |": guessing("OF_ADDRESS"), wait, longest;
        1 "around it: the /24, the /48 | {} | {} | {} |": literal("src/io/penalties.rs", "block: Waits::new({}, "), wait, longest;
        1 "from sources that have not logged in to it | {} | {} | {} |":
            guessing("OF_USER"), guessing("USER_WAIT"), guessing("USER_LONGEST");
        1 "from a source that has logged in to it | {} | {} | {} |":
            guessing("OF_USER"), guessing("USER_WAIT"), guessing("USER_LONGEST");
        1 "not logged in to the names | {} a minute": guessing("A_MINUTE");
        1 "Half of a count is forgotten in {}. The wait": constant("src/io/penalties/sketch.rs", "HALF_LIFE");
        1 "So a first {} logins to a name": guessing("OF_USER").plus_one();
        1 "The counts are in memory, {} for as many": constant("src/io/penalties/sketch.rs", "WIDTH").times(4 * 8);
        1 "up to 16 MiB for {} pairs": known("PAIRS");
        1 "has logged in under, {} for each principal": known("SOURCES");
        1 "logged in to an account from for {} is not known": known("LOGINS").as_seconds();
    }
    says! { "src/io/recheck.rs";
        1 "Every {}, with a grace of {}.": literal("src/io/recheck.rs", "Self::every({})\n"), literal("src/io/recheck.rs", "grace: Some({}),");
    }
    says! { "src/io/puzzles.rs";
        1 "the hardest are of | {} bits:": constant("src/terms/puzzle.rs", "MOST");
    }
    says! { "src/io/bounds.rs";
        1 "kept the server waiting for {}, a connection": held();
    }
    says! { "src/session.rs";
        1 "The label has 1 to {} bytes and no NUL; `out` 1 to {} bytes.":
            literal("src/session.rs", "label.len() > {} ||"), constant("src/crypto/schedule.rs", "MAX_OUTPUT");
    }
    says! { "src/terms/stretch/parameters.rs";
        1 "clients compute: {} to {}, memory times passes from {} to {}, 1 to {} lanes":
            limits::MIN_STRETCH_MEMORY, Amount::from(limits::MAX_STRETCH_MEMORY).times(1 << 20),
            limits::MIN_STRETCH_WORK, Amount::from(limits::MAX_STRETCH_WORK).times(1 << 20), limits::MAX_STRETCH_LANES;
    }
    says! { "src/stores/files.rs";
        1 "that is read, in bytes: {}. None": of_accounts;
        1 "that is read and written, in bytes: {}, which": of_hosts;
        1 "has held the file's lock for {}. #[error": constant("src/stores/files/lock.rs", "PATIENCE");
        1 "The file could not be read in {}. #[error": constant("src/stores/accounts/file.rs", "FIRST");
        1 "longer than its kind may be: {} for accounts, {} for known hosts.": of_accounts, of_hosts;
    }
    says! { "src/stores/known_hosts.rs";
        1 "of at most {}, a line at most {}. A": of_hosts, limits::MAX_LINE;
    }
    says! { "src/stores/accounts.rs";
        1 "or without a byte order mark, of at most {}, a line": of_accounts;
        1 "at most {}, {} passes, {} of memory times passes, and {} lanes":
            argon2("MAX_MEMORY").times(kib), argon2("MAX_PASSES"), argon2("MAX_WORK").times(kib), argon2("MAX_LANES");
    }
    says! { "src/stores/accounts/hash/parameters.rs";
        1 "passes over it, and lanes: up to {}, {} passes and {} lanes, and {} of memory times passes":
            argon2("MAX_MEMORY").times(kib), argon2("MAX_PASSES"), argon2("MAX_LANES"), argon2("MAX_WORK").times(kib);
    }
    says! { "src/stores/accounts/totp.rs";
        1 "After {} wrong answers in a row none is looked at for {}, and for twice as long after each further one, up to {}. Only":
            constant("src/stores/accounts/totp.rs", "FREE"), constant("src/stores/accounts/totp.rs", "FIRST").as_seconds(),
            constant("src/stores/accounts/totp.rs", "LONGEST").as_seconds();
    }
    says! { "stores/src/redis.rs";
        1 "remembered by principal, {} sources for each": known("SOURCES");
        1 "logged in under there), for {}. What": known("LOGINS").as_seconds();
        1 "chains of tickets of one principal, 1 to {}, about": literal("stores/src/redis.rs", "chains.clamp(1, {});");
    }
}
