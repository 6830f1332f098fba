//! What whoever sits on the wire learns from a frame, and what not.

use crate::inspect::fields::{credential_kind, join, key, suite};
use countersign::KeyId;
use countersign::codec::{self, ClientHello, ClientLogin, DecodeError, ServerHello};
use countersign::frame::{FrameType, split};

/// What an eavesdropper sees, and what stays hidden.
pub(super) struct View {
    pub(super) seen: String,
    pub(super) hidden: &'static str,
}

/// The view of one whole frame.
pub(super) fn view(frame: &[u8]) -> View {
    let whole = split(frame).ok();
    whole
        .and_then(|(kind, body)| of_body(kind, body).ok())
        .unwrap_or(View { seen: "bytes that are no frame of the protocol".to_owned(), hidden: "nothing" })
}

fn of_body(kind: FrameType, body: &[u8]) -> Result<View, DecodeError> {
    Ok(match kind {
        FrameType::ClientHello => {
            let hello: ClientHello<'_> = codec::decode(body)?;
            let (ticket, hidden) = match hello.ticket.len() {
                0 => (String::new(), "nothing yet: who is about to log in is not in it"),
                len => (
                    format!("; a ticket of {len} bytes; a proof that the client holds its secret"),
                    "whose ticket it is, and its secret: the server alone can open it, and takes it once",
                ),
            };
            View {
                seen: format!(
                    "version {}; suites {}; a random nonce; {} key share{ticket}",
                    join(&hello.versions, ", ", u16::to_string),
                    join(&hello.suites, " and ", |&number| suite(number)),
                    hello.key_shares.len(),
                ),
                hidden,
            }
        }
        FrameType::ServerHello => {
            let hello: ServerHello<'_> = codec::decode(body)?;
            let id = KeyId::from_bytes(hello.key_id);
            let (spki, _) = key(&hello.spki, id);
            View {
                seen: format!(
                    "the suite picked, {}; the challenge, 32 random bytes; the server's public key ({spki}; {id}); its key \
                     share; credentials taken: {}",
                    suite(hello.suite),
                    join(&hello.credential_kinds, ", ", |&kind| credential_kind(kind)),
                ),
                hidden: "nothing: all of it is public",
            }
        }
        FrameType::ClientLogin => {
            let login: ClientLogin<'_> = codec::decode(body)?;
            View {
                seen: format!(
                    "{} bytes sealed to the server's RSA key; {} bytes of sealed credential",
                    login.rsa_ciphertext.len(),
                    login.sealed_credential.len(),
                ),
                hidden: "the user name, the password, and how long they are. Sent again on another connection, it opens \
                         nothing: it answers this one challenge",
            }
        }
        FrameType::ServerVerdict => View {
            seen: format!("{} bytes, as many for yes as for no", body.len()),
            hidden: "whether it is yes or no, the name, the permissions, and a ticket for the next login. Only the owner of \
                     the private key can make it",
        },
        FrameType::ServerResumption => View {
            seen: "that the ticket was taken; the suite; 32 random bytes; the server's key share".to_owned(),
            hidden: "the name, the permissions, and the next ticket. Only who holds the ticket's secret can open it",
        },
        FrameType::Data => View {
            seen: format!("that {} bytes are said", body.len().saturating_sub(countersign::limits::TAG)),
            hidden: "what they say",
        },
        FrameType::KeyUpdate => View { seen: "a change of keys".to_owned(), hidden: "the keys" },
        FrameType::Close => {
            View { seen: "that this direction ends".to_owned(), hidden: "nothing; but nobody else can make this frame" }
        }
    })
}
