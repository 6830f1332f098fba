//! The four messages, out of the strings and numbers of SSH (RFC 4251, section 5).

use crate::crypto::SignError;
use ssh_key::encoding::{Decode, Encode, Reader};
use ssh_key::{Algorithm, EcdsaCurve, Mpint, Signature};

/// `SSH_AGENTC_REQUEST_IDENTITIES`, the whole message.
pub(super) const REQUEST_IDENTITIES: [u8; 1] = [11];
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// `SSH_AGENT_FAILURE`, and what some agents say in place of it.
const FAILURES: [u8; 3] = [5, 30, 102];

/// What an agent has signed: 64 bytes.
pub(super) enum Answer {
    Ed25519([u8; 64]),
    EcdsaP256([u8; 64]),
}

/// The keys of an agent, in the way of SSH, and what they are called.
pub(super) fn identities(answer: &[u8]) -> Result<Vec<(Vec<u8>, String)>, SignError> {
    let mut body = body(answer, IDENTITIES_ANSWER)?;
    let count = u32::decode(&mut body).map_err(garbled)?;
    let mut keys = Vec::new();
    for _ in 0..count {
        let blob = Vec::decode(&mut body).map_err(garbled)?;
        let comment: Vec<u8> = Vec::decode(&mut body).map_err(garbled)?;
        let comment = String::from_utf8_lossy(&comment).chars().filter(|c| !c.is_control()).collect();
        keys.push((blob, comment));
    }
    body.finish(keys).map_err(garbled)
}

/// Asks for a signature over `data`, without flags.
pub(super) fn sign_request(key: &[u8], data: &[u8]) -> Result<Vec<u8>, SignError> {
    let mut out = vec![SIGN_REQUEST];
    key.encode(&mut out).and_then(|()| data.encode(&mut out)).and_then(|()| 0_u32.encode(&mut out)).map_err(garbled)?;
    Ok(out)
}

/// A signature: its algorithm, and what that makes of it (RFC 8709, section 6; RFC 5656, section 3.1.2).
pub(super) fn signature(answer: &[u8]) -> Result<Answer, SignError> {
    let mut body = body(answer, SIGN_RESPONSE)?;
    let signature: Vec<u8> = Vec::decode(&mut body).map_err(garbled)?;
    let signature = body.finish(signature).map_err(garbled)?;
    let signature = Signature::try_from(signature.as_slice()).map_err(|_| SignError::Garbled)?;
    match signature.algorithm() {
        Algorithm::Ed25519 => signature.as_bytes().try_into().map(Answer::Ed25519).map_err(|_| SignError::Garbled),
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } => r_and_s(signature.as_bytes()).map(Answer::EcdsaP256),
        // Of another key than the one that was asked for.
        _ => Err(SignError::Wrong),
    }
}

/// Two numbers as 32 bytes each, big-endian.
fn r_and_s(mut numbers: &[u8]) -> Result<[u8; 64], SignError> {
    let mut out = [0; 64];
    for half in out.chunks_mut(32) {
        let number = Mpint::decode(&mut numbers).map_err(garbled)?;
        let bytes = number.as_positive_bytes().ok_or(SignError::Garbled)?;
        let leading = half.len().checked_sub(bytes.len()).ok_or(SignError::Garbled)?;
        half.get_mut(leading..).ok_or(SignError::Garbled)?.copy_from_slice(bytes);
    }
    numbers.finish(out).map_err(garbled)
}

/// What follows the type of a message.
fn body(answer: &[u8], wanted: u8) -> Result<&[u8], SignError> {
    match answer.split_first() {
        Some((found, body)) if *found == wanted => Ok(body),
        Some((found, _)) if FAILURES.contains(found) => Err(SignError::Refused),
        _ => Err(SignError::Garbled),
    }
}

fn garbled(_: ssh_key::encoding::Error) -> SignError {
    SignError::Garbled
}
