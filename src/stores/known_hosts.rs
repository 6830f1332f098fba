//! Known hosts: the servers that a client has met, and their keys, as lines of text.
//!
//! ```text
//! # comment
//! db.example:4500 accepted=confirmed since=2026-11-27T08:00:00Z floor=rsa+x25519 key=MIIBojANBgkq... # rack 7
//! [2001:db8::1]:4500,www.example:4500 accepted=first-use since=2026-11-27T08:01:00Z key=MIIBojANBgkq...
//! db.example:4500 accepted=certificate since=2026-11-27T08:02:00Z until=2027-02-27T00:00:00Z key=MIIBojANBgkq...
//! |hmac-sha256|c2FsdA...|aGFzaA... accepted=pin key=MIIBojANBgkq...
//! @revoked * id=SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU
//! ```
//!
//! One key of one or several servers per line: the names, then fields in any order; a server has as many keys as there are lines
//! for it.
//!
//! | field | what it says |
//! |---|---|
//! | `key=` | the key: its SubjectPublicKeyInfo in DER, in base64 |
//! | `accepted=` | on what it was accepted: `first-use`, `confirmed` (by somebody who compared the fingerprint), `pin`, `certificate`, `manifest` |
//! | `since=` | when |
//! | `until=` | from when on that does not count any more |
//! | `floor=` | the weakest key exchange to take from the server: `rsa`, `rsa+x25519` (where the line does not say) or `rsa+x25519mlkem768` |
//! | `id=` | the key's fingerprint: in place of `key=` in lines that revoke, otherwise a check |
//!
//! Names are as a user types them, `host:port` or `[address]:port`, in ASCII; upper and lower case are the same, and there are no
//! wildcards. A hashed name is `|hmac-sha256|salt|hash`, each in base64, of 32 bytes: the hash is HMAC-SHA256 of the name in
//! lower case under the salt. `@revoked` in front says that the key is not to be trusted for these names; there, `*` stands for
//! all servers. What follows a `#` is a comment.
//!
//! The text is UTF-8, with or without a byte order mark, of at most 1 MiB, a line at most 64 KiB. A line that can't be read is
//! left as it is, reported with its number, and never trusted. No key is taken at first use for a server whose name is in such a
//! line. One that may be meant to revoke a key (it begins with an `@`, or has the word `revoked`) makes the whole file count for
//! nothing: every key is refused until it is mended. A last line without a line feed can't be told from one that was cut short,
//! and counts as broken, unless it revokes.

mod distrust;
mod error;
mod file;
mod hosts;
mod line;
mod name;
mod policy;

pub use distrust::{ChangedKey, Distrust};
pub use error::HostsError;
pub use file::KnownHosts;
pub use hosts::{Hosts, Known, Listing};
pub use line::{Accepted, BrokenLine, Entry, LineError};
pub use policy::{Ask, KnownHost, Unknown};
