//! The server's machine: bytes in, bytes and decisions out (PROTOCOL.md, "Server states").
//!
//! | state | what it waits for | next |
//! |---|---|---|
//! | [`AwaitHello`] | a ClientHello | [`ChooseKey`] |
//! | [`ChooseKey`] | *which key?* | [`Hello`] |
//! | [`Hello`] | *is it admitted? is its ticket's principal welcome?* | [`Open`], [`AwaitLogin`], or [`AwaitConfirm`] |
//! | [`AwaitSolution`] | a Solution, where [`Hello::puzzle`] asked for one | [`Hello`] again |
//! | [`Open`] of a hello | the RSA operation | [`Hello`] again |
//! | [`AwaitConfirm`] | a Confirm | a [`Session`](crate::Session) |
//! | [`AwaitLogin`] | a ClientLogin | [`Login`] |
//! | [`Login`] | *is it admitted?* | [`Claim`], or [`Open`] |
//! | [`Open`] of a login | the RSA operation | [`Claim`] |
//! | [`Claim`] | *is the credential good?* | [`Accepted`], [`Refusal`], or [`AwaitFactor`] |
//! | [`AwaitFactor`] | a ClientFactor | [`FactorClaim`] |
//! | [`FactorClaim`] | *is the answer good?* | [`Accepted`], [`Refusal`], or [`AwaitFactor`] |
//!
//! ```text
//! AwaitHello ─▶ ChooseKey ─▶ Hello ──ServerHello──▶ AwaitLogin ─▶ Login ─▶ Claim ──ServerVerdict──▶ Accepted
//!     │             │        │ ▲ │                      │           │ ▲      │
//!     ▼             ▼        ▼ │ │                      ▼           ▼ │      ▼
//!   close         close      Open│                   Refusal        Open   Refusal ──ServerVerdict──▶ close
//!                                └─ServerResumption─▶ AwaitConfirm ──Confirm──▶ Session
//! ```
//!
//! There is one RSA operation: at the hello if the client sealed a secret to the server's key there, and at the login
//! otherwise. Each state is consumed by the step out of it: one attempt per challenge. Dropping any state is always safe. The
//! machine holds no clock, no socket, no randomness of its own and no accounts.

mod config;
mod factor;
mod hello;
mod login;
mod open;
mod puzzle;
mod verdict;

pub use config::ServerConfig;
pub use factor::{Asked, AwaitFactor, FactorClaim};
pub use hello::{AwaitConfirm, AwaitHello, ChooseKey, Hello, busy};
pub use login::{Admitted, AwaitLogin, Claim, Login};
pub use open::{Open, Sealed, SealedHello, SealedLogin};
pub use puzzle::AwaitSolution;
pub use verdict::{Accepted, Refusal};
