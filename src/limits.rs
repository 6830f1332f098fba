//! Budgets: what a stranger can make either side hold, and for how long.
//!
//! Each number stands beside the reason it was chosen. Sizes are in bytes. PROTOCOL.md, "Limits", repeats the ones that
//! cross the wire; a test compares the two.

use core::time::Duration;

/// Length of a frame header: one type byte and a `u16` length.
pub const FRAME_HEADER: usize = 3;

/// Open files that a server has beside its connections: standard streams, the listener, the runtime's own, a file that it reads.
pub const OWN_FILES: usize = 20;

/// Length of each side's nonce; the server's is the challenge.
pub const NONCE: usize = 32;

/// Length of a key id: SHA-256 of the SubjectPublicKeyInfo.
pub const KEY_ID: usize = 32;

/// Length of an AEAD tag; both suites' AEADs have the same.
pub const TAG: usize = 16;

/// Length of the fresh secret that the client seals to the server's RSA key.
pub const SECRET: usize = 32;

/// Length of the RSA-OAEP plaintext: the secret, then the transcript hash.
pub const SEALED_SECRET: usize = 64;

/// Smallest accepted RSA modulus in bits (NIST SP 800-131A revision 2, table 5).
pub const MIN_MODULUS_BITS: usize = 2048;

/// Largest accepted RSA modulus in bits: a private-key operation at 8192 bits already costs about 50 times one at 2048.
pub const MAX_MODULUS_BITS: usize = 8192;

/// Accepted public exponents. Small ones have a history of attacks; large ones only cost the client time, and libraries
/// disagree on them (the upper bound is the `rsa` crate's and BoringSSL's).
pub const EXPONENTS: core::ops::RangeInclusive<u64> = 65537..=(1 << 33) - 1;

/// Length of what tells both ends whether they mean the same prologue and channel: four bytes of a hash of each.
pub const CONTEXT: usize = 8;

/// Length of the proof that a server has opened what a ClientHello sealed to its key.
pub const PROOF: usize = 32;

/// Largest number of extensions in one message.
pub const MAX_EXTENSIONS: usize = 16;

/// Largest size of a ClientHello's extensions together, and of those of a Busy: what a stranger can make a server hold.
pub const MAX_CLIENT_EXTENSIONS: usize = 1024;

/// Largest size of a ServerHello's extensions together, and of those of a ServerResumption: a chain of certificates fits.
pub const MAX_SERVER_EXTENSIONS: usize = 16 * 1024;

/// Largest number of certificates of a server key: chains to a root that browsers know have four at most.
pub const MAX_CERTIFICATES: usize = 8;

/// Largest size of the certificates that a server sends together, in DER: with their lengths they fit among its extensions.
pub const MAX_CERTIFICATES_SIZE: usize = 16_000;

/// Largest size of a verdict's extensions together.
pub const MAX_VERDICT_EXTENSIONS: usize = 480;

/// Largest number of server names in a manifest.
pub const MAX_MANIFEST_NAMES: usize = 16;

/// Largest number of server keys in a manifest: as many as a client may list as known.
pub const MAX_MANIFEST_KEYS: usize = MAX_KNOWN_KEYS;

/// Largest size of a manifest, with every list full and every name as long as it may be.
pub const MANIFEST: usize = 4626;

/// Largest number of versions in a ClientHello.
pub const MAX_VERSIONS: usize = 8;

/// Largest number of suites in a ClientHello.
pub const MAX_SUITES: usize = 16;

/// Largest number of key shares in a ClientHello: one per key exchange.
pub const MAX_KEY_SHARES: usize = 4;

/// Largest number of key ids a client may list as already known.
pub const MAX_KNOWN_KEYS: usize = 8;

/// Largest server name: a DNS name's limit (RFC 1035, section 2.3.4).
pub const MAX_SERVER_NAME: usize = 255;

/// Room for one key share in a hello's longest body: enough for the 1216 bytes of X25519MLKEM768
/// (draft-ietf-tls-ecdhe-mlkem). A share's own length is the key exchange's to check.
pub const MAX_KEY_SHARE: usize = 1536;

/// Largest SubjectPublicKeyInfo: an 8192-bit modulus and a 33-bit exponent take 1064 bytes.
pub const MAX_SPKI: usize = 1088;

/// Largest number of credential kinds in a ServerHello.
pub const MAX_CREDENTIAL_KINDS: usize = 8;

/// Largest user name.
pub const MAX_USER: usize = 255;

/// Largest password or token. Bearer tokens such as JWTs commonly reach 2 KiB.
pub const MAX_SECRET: usize = 4096;

/// A credential's plaintext is padded to a multiple of this, so that its length tells little.
pub const CREDENTIAL_BLOCK: usize = 256;

/// Largest grant in a verdict: the decision, the principal and the permissions.
pub const MAX_GRANT: usize = 1024;

/// Largest ticket.
pub const MAX_TICKET: usize = 500;

/// The one size of this library's tickets: that of the longest principal.
pub const TICKET: usize = 480;

/// How long a chain of tickets goes on without a credential: at the server by default, and at the client.
pub const TICKET_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far in the future a time may lie that another clock, or the same one earlier, has told.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How long the time of before still counts, too, after a system's clock has jumped ([`crate::Clock`]): for whoever looks after the server to
/// notice, and so short that an account whose end was reached while a machine slept is closed soon enough.
pub const CLOCK_DOUBT: Duration = Duration::from_secs(3600);

/// Length of the proof that a client holds its ticket's secret.
pub const BINDER: usize = 32;

/// A verdict's plaintext is padded to this, so that all decisions look alike, with a ticket and without.
pub const VERDICT: usize = 2048;

/// A factor's plaintext is padded to this, so that its length shows nothing.
pub const FACTOR: usize = 512;

/// Largest answer to a request for a further factor.
pub const MAX_ANSWER: usize = 256;

/// Largest prompt of a request for a further factor.
pub const MAX_PROMPT: usize = 255;

/// Largest number of further factors in a handshake: nobody has more, and each holds a place for a minute.
pub const MAX_FACTORS: usize = 4;

/// Default bound on each further factor, from the request on: somebody has to look for it and type it.
pub const FACTOR_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest principal name.
pub const MAX_PRINCIPAL: usize = 255;

/// Largest number of permissions in a grant.
pub const MAX_PERMISSIONS: usize = 32;

/// Largest permission name.
pub const MAX_PERMISSION: usize = 64;

/// Largest name of a role in an account file.
pub const MAX_ROLE: usize = 64;

/// Largest number of roles of an account.
pub const MAX_ROLES: usize = 32;

/// Largest sealed credential: the largest user and secret, padded, and a tag.
pub const MAX_SEALED_CREDENTIAL: usize = 18 * CREDENTIAL_BLOCK + TAG;

/// The one body size of a ServerVerdict.
pub const SERVER_VERDICT: usize = VERDICT + TAG;

/// The one body size of a ClientFactor.
pub const CLIENT_FACTOR: usize = FACTOR + TAG;

/// Largest plaintext of a record, as in TLS 1.3 (RFC 8446, section 5.1).
pub const MAX_RECORD: usize = 16 * 1024;

/// Records sealed under one traffic key before the sender updates it.
///
/// AES-GCM keeps its confidentiality margin of 2^-60 for about 2^24.5 full-size records (RFC 8446, section 5.5);
/// ChaCha20-Poly1305 for more. One number serves both.
pub const RECORDS_PER_KEY: u64 = 1 << 24;

/// Default bound on a handshake: at the server from the connection to the login's arrival, at the client from its first
/// byte to the verdict's.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Default time from a login's arrival to the release of a refusal: several times what one Argon2id verification at
/// its defaults takes, so that the reason for a refusal does not show in its timing.
pub const REFUSAL_FLOOR: Duration = Duration::from_millis(250);

/// Least characters of a new password, as NIST SP 800-63B has it for one that does not stand alone.
pub const MIN_PASSWORD: usize = 8;

/// Largest number of public keys of an account in a file.
pub const MAX_CLIENT_KEYS: usize = 32;

/// Largest number of tokens of an account in a file.
pub const MAX_TOKENS: usize = 512;

/// Largest number of recovery codes of an account in a file.
pub const MAX_RECOVERY_CODES: usize = 16;

/// Largest realm that passwords are stretched for.
pub const MAX_REALM: usize = 255;

/// Largest number of sets of parameters that a server announces for stretching: the new ones, and the old ones while accounts move.
pub const MAX_STRETCH_PARAMETERS: usize = 2;

/// Length of what a password is stretched to, and of what a server keeps of that.
pub const STRETCHED: usize = 32;

/// Least memory, in MiB, that a client stretches a password with. This bound and the next one hold all of OWASP's
/// recommendations for Argon2id, from 46 MiB and one pass to 7 MiB and five.
pub const MIN_STRETCH_MEMORY: u16 = 7;

/// Least memory times passes, in MiB.
pub const MIN_STRETCH_WORK: u32 = 35;

/// Most memory, in MiB, that a server may take of a client.
pub const MAX_STRETCH_MEMORY: u16 = 256;

/// Most memory times passes, in MiB, of all sets of parameters together: a second or so of a client's processor.
pub const MAX_STRETCH_WORK: u32 = 1024;

/// Most lanes, as of stored hashes.
pub const MAX_STRETCH_LANES: u8 = 16;

/// Largest size of what a server announces of stretching, as an extension of a ServerHello.
pub const STRETCHING: usize = 271;

/// Number of counters in a puzzle's solution: with sixteen small puzzles in the place of one large, hardly anybody has to try for longer
/// than twice the mean.
pub const PUZZLE_COUNTERS: usize = 16;

/// The one body size of a Solution.
pub const SOLUTION: usize = PUZZLE_COUNTERS * 8;

/// Most bits that a puzzle may ask of each counter: 2^28 hashes in all, half a minute of a processor. What a client goes along with by itself
/// is much less.
pub const MAX_PUZZLE_BITS: u8 = 24;

/// Longest line of an account file, in bytes. One with as much in it as there may be takes half of it.
pub const MAX_LINE: usize = 64 << 10;
