//! PEM blocks (RFC 7468).

use super::KeyError;
use pkcs8::der::pem;
use zeroize::Zeroizing;

pub(super) const PUBLIC_LABEL: &str = "PUBLIC KEY";
pub(super) const PRIVATE_LABEL: &str = "PRIVATE KEY";

pub(super) fn decode_pem(text: &str, expected: &'static str) -> Result<(String, Zeroizing<Vec<u8>>), KeyError> {
    let block = pem_block(text).ok_or(KeyError::NotPem { expected })?.as_bytes();
    let label = pem::decode_label(block).map_err(|_| KeyError::NotPem { expected })?.to_owned();
    if label != expected {
        return Err(KeyError::WrongPem { found: label, expected });
    }
    let (_, der) = pem::decode_vec(block).map_err(|_| KeyError::NotPem { expected })?;
    Ok((label, Zeroizing::new(der)))
}

/// The first block, from its BEGIN to its END line. Text and other blocks may stand around it (RFC 7468, section 2), such
/// as a certificate behind its key, but the decoder takes a block alone.
fn pem_block(text: &str) -> Option<&str> {
    let block = text.get(text.find("-----BEGIN ")?..)?;
    let end = block.find("-----END ")?;
    let last_line = block.get(end..)?.split(['\r', '\n']).next()?.trim_end();
    block.get(..end.checked_add(last_line.len())?)
}

pub(super) fn encode_pem(label: &'static str, der: &[u8]) -> Zeroizing<String> {
    // The only failure is a label with forbidden characters, and ours are constants.
    Zeroizing::new(pem::encode_string(label, pem::LineEnding::LF, der).unwrap_or_default())
}
