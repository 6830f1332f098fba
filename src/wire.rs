//! The bytes: frames of a stream, and messages in frames. Neither knows the other.

pub mod codec;
pub mod frame;

/// The longest bodies that [`frame`] lets pass are the fullest messages that [`codec`] can give. An array each, so that the
/// compiler names both numbers where they differ.
#[allow(dead_code, reason = "there for the compiler to check")]
mod longest {
    use super::codec::{Busy, ClientHello, ClientLogin, Message, ServerHello, ServerResumption, ServerVerdict};
    use super::frame::FrameType;

    const CLIENT_HELLO: [(); FrameType::ClientHello.max_body()] = [(); ClientHello::MAX];
    const SERVER_HELLO: [(); FrameType::ServerHello.max_body()] = [(); ServerHello::MAX];
    const CLIENT_LOGIN: [(); FrameType::ClientLogin.max_body()] = [(); ClientLogin::MAX];
    const SERVER_VERDICT: [(); FrameType::ServerVerdict.max_body()] = [(); ServerVerdict::MAX];
    const BUSY: [(); FrameType::Busy.max_body()] = [(); Busy::MAX];
    const SERVER_RESUMPTION: [(); FrameType::ServerResumption.max_body()] = [(); ServerResumption::MAX];
}
