//! What whoever sits on the wire learns from a frame, and what not.

use crate::inspect::fields::{STRETCHING, credential_kind, join, key, stretching, suite};
use countersign::KeyId;
use countersign::codec::{self, ClientHello, ClientLogin, DecodeError, Extensions, ServerHello};
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

/// The extensions that say something (PROTOCOL.md, "Extension").
const CERTIFICATES: u16 = 1;
const MANIFEST: u16 = 2;
const FACTORS: u16 = 5;

/// What a client asks for beside the key, and offers.
fn asked(extensions: &Extensions<'_>) -> String {
    let said = extensions.iter().map(|extension| match extension.number {
        CERTIFICATES => "; that it wants certificates",
        MANIFEST => "; that it wants a manifest",
        FACTORS => "; that it can be asked for a second factor",
        _ => "",
    });
    said.collect()
}

/// What a server sends beside its key.
fn evidence(extensions: &Extensions<'_>) -> String {
    let said = extensions.iter().map(|extension| match (extension.number, extension.data.len()) {
        (CERTIFICATES, len) => format!("; its certificates, {len} bytes"),
        (MANIFEST, len) => format!("; its manifest, {len} bytes"),
        (STRETCHING, _) => format!("; {}", stretching(&extension.data)),
        _ => String::new(),
    });
    said.collect()
}

/// The size of a frame without its extensions: one hello in eight has one that means nothing.
pub(super) fn size(frame: &[u8]) -> usize {
    let extensions = |extensions: &Extensions<'_>| -> usize {
        extensions.iter().map(|extension| extension.data.len().saturating_add(4)).sum()
    };
    let more = match split(frame) {
        Ok((FrameType::ClientHello, body)) => {
            codec::decode(body).map_or(0, |hello: ClientHello<'_>| extensions(&hello.extensions))
        }
        Ok((FrameType::ServerHello, body)) => {
            codec::decode(body).map_or(0, |hello: ServerHello<'_>| extensions(&hello.extensions))
        }
        _ => 0,
    };
    frame.len().saturating_sub(more)
}

fn of_body(kind: FrameType, body: &[u8]) -> Result<View, DecodeError> {
    Ok(match kind {
        FrameType::ClientHello => {
            let hello: ClientHello<'_> = codec::decode(body)?;
            let (more, hidden) = match (hello.ticket.len(), hello.rsa_ciphertext.len()) {
                (0, 0) => (String::new(), "nothing yet: who is about to log in is not in it"),
                (0, len) => (
                    format!("; which key the client has; {len} bytes sealed to it"),
                    "the secret in them, which is for this connection alone. Who is about to log in is not in it",
                ),
                (len, _) => (
                    format!("; a ticket of {len} bytes; a proof that the client holds its secret"),
                    "whose ticket it is, and its secret: the server alone can open it, and takes it once",
                ),
            };
            View {
                seen: format!(
                    "version {}; suites {}; a random nonce; {} key share{}{more}",
                    join(&hello.versions, ", ", u16::to_string),
                    join(&hello.suites, " and ", |&number| suite(number)),
                    hello.key_shares.len(),
                    asked(&hello.extensions),
                ),
                hidden,
            }
        }
        FrameType::ServerHello => {
            let hello: ServerHello<'_> = codec::decode(body)?;
            let id = KeyId::from_bytes(hello.key_id);
            let (spki, _) = key(&hello.spki, id);
            let (proof, hidden) = if hello.proof.is_empty() {
                ("", "nothing: all of it is public")
            } else {
                (
                    "; a proof that it has opened the client's secret",
                    "whether the proof is right: only the client can tell",
                )
            };
            View {
                seen: format!(
                    "the suite picked, {}; the challenge, 32 random bytes; the server's public key ({spki}; {id}); its key \
                     share; credentials taken: {}{}{proof}",
                    suite(hello.suite),
                    join(&hello.credential_kinds, ", ", |&kind| credential_kind(kind)),
                    evidence(&hello.extensions),
                ),
                hidden,
            }
        }
        FrameType::ClientLogin => {
            let login: ClientLogin<'_> = codec::decode(body)?;
            let to_key = match login.rsa_ciphertext.len() {
                0 => String::new(),
                len => format!("{len} bytes sealed to the server's RSA key; "),
            };
            View {
                seen: format!("{to_key}{} bytes of sealed credential", login.sealed_credential.len()),
                hidden: "the user name, the password or the key and its signature, and how long they are. Sent again on another connection, it opens \
                         nothing: it answers this one challenge",
            }
        }
        FrameType::ServerVerdict => View {
            seen: format!("{} bytes, as many for yes as for no", body.len()),
            hidden: "whether it is yes or no or a question, the name, the permissions, and a ticket for the next login. Only the owner of \
                     the private key can make it",
        },
        FrameType::ClientFactor => View {
            seen: format!("{} bytes, whatever the answer", body.len()),
            hidden: "the answer, and how long it is",
        },
        FrameType::ServerResumption => View {
            seen: "that the ticket was taken; the suite; 32 random bytes; the server's key share".to_owned(),
            hidden: "the name, the permissions, and the next ticket. Only who holds the ticket's secret can open it",
        },
        FrameType::Confirm => {
            View { seen: "that the client goes on".to_owned(), hidden: "nothing; but nobody else can make this frame" }
        }
        FrameType::Busy => View {
            seen: "that the server has no room, and when to try again, or what puzzle to solve first".to_owned(),
            hidden: "nothing: anybody on the way could have said it",
        },
        FrameType::Solution => View {
            seen: "what the client has computed for the server to go on".to_owned(),
            hidden: "nothing; but it is good for this connection alone",
        },
        FrameType::Data => View {
            seen: format!("that {} bytes are said", body.len().saturating_sub(countersign::limits::TAG)),
            hidden: "what they say",
        },
        FrameType::KeyUpdate => View { seen: "a change of keys".to_owned(), hidden: "the keys" },
        FrameType::Close => {
            View { seen: "that this direction ends".to_owned(), hidden: "nothing; but nobody else can make this frame" }
        }
        _ => View { seen: format!("{} bytes", body.len()), hidden: "what they are" },
    })
}
