//! What bytes are, from their outermost structure alone, and what they are where they are no key.

use super::super::pem::find;
use super::Encoded;
use super::error::{Cure, KeyFileError};
use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Decode, Reader, SliceReader, Tag, Tagged};

/// The elements of a SEQUENCE in DER: as many as it takes to tell forms apart.
pub(super) struct Shape(Vec<Tag>);

impl Shape {
    pub(super) fn of(der: &[u8]) -> Self {
        let mut tags = Vec::new();
        if let Ok(sequence) = AnyRef::from_der(trim(der))
            && let Ok(mut inner) = SliceReader::new(sequence.value())
        {
            while !inner.is_finished() && tags.len() < 4 {
                let Ok(element) = AnyRef::decode(&mut inner) else { break };
                tags.push(element.tag());
            }
        }
        Self(tags)
    }

    /// Which form of a key it is.
    pub(super) fn encoded(&self) -> Option<Encoded> {
        Some(match *self.0 {
            [Tag::Integer, Tag::Sequence, Tag::OctetString, ..] => Encoded::Pkcs8,
            [Tag::Integer, Tag::Integer, Tag::Integer, Tag::Integer] => Encoded::Pkcs1,
            [Tag::Integer, Tag::Integer] => Encoded::Pkcs1Public,
            // With the name of its curve, without which it is no key by itself.
            [Tag::Integer, Tag::OctetString, Tag::ContextSpecific { .. }, ..] => Encoded::Sec1,
            [Tag::Sequence, Tag::OctetString] => Encoded::EncryptedPkcs8,
            [Tag::Sequence, Tag::BitString] => Encoded::Spki,
            [Tag::Sequence, Tag::Sequence, Tag::BitString] => Encoded::Certificate,
            _ => return None,
        })
    }

    /// What to say of it where it is none.
    pub(super) fn no_key(&self) -> KeyFileError {
        let (looks_like, cure) = match *self.0 {
            [Tag::Integer, Tag::OctetString, ..] => ("an elliptic-curve private key in DER", None),
            [Tag::Integer, Tag::Sequence, ..] => ("a PKCS#12 archive", Some(Cure::FromPkcs12)),
            [Tag::ObjectIdentifier, ..] => ("a PKCS#7 message in DER", None),
            _ => ("DER that is no key, or is cut short", None),
        };
        KeyFileError::NoKey { looks_like, cure }
    }
}

/// Whether it begins as one whole SEQUENCE in DER.
pub(super) fn is_sequence(bytes: &[u8]) -> bool {
    outer(bytes).is_some()
}

/// The first element, without what follows it: OpenSSL lets it follow, too.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    outer(bytes).unwrap_or(bytes)
}

fn outer(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let element = reader.tlv_bytes().ok()?;
    (element.first() == Some(&0x30)).then_some(element)
}

/// The lines of OpenSSH that are a public key, as in `id_rsa.pub`: line, algorithm, base64. Those of `known_hosts` are not: they
/// are keys of many machines, and some are there because they are revoked.
pub(super) fn ssh_lines(text: &[u8]) -> impl Iterator<Item = (usize, &str, &[u8])> {
    text.split(|&byte| byte == b'\n').enumerate().filter_map(|(index, line)| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let algorithm = words.next().and_then(ssh_algorithm)?;
        let blob = words.next().filter(|blob| blob.starts_with(b"AAAA"))?;
        Some((index.saturating_add(1), algorithm, blob))
    })
}

fn ssh_algorithm(word: &[u8]) -> Option<&str> {
    let word = str::from_utf8(word).ok()?;
    let is_one = word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-") || word.starts_with("sk-");
    (is_one && word.bytes().all(|byte| byte.is_ascii_graphic()) && word.len() < 64).then_some(word)
}

/// Whether this algorithm of OpenSSH's is that of a certificate (PROTOCOL.certkeys), and not of a key.
pub(in crate::crypto) fn is_openssh_certificate(algorithm: &[u8]) -> bool {
    algorithm.ends_with(b"-cert-v01@openssh.com")
}

/// What a file without a key seems to be, and the way to a key where there is one.
pub(super) fn looks_like(bytes: &[u8]) -> (&'static str, Option<Cure>) {
    let starts = |with: &[u8]| bytes.trim_ascii_start().starts_with(with);
    let has = |part: &[u8]| find(bytes, part).is_some();
    match () {
        () if starts(b"\xff\xfe") || starts(b"\xfe\xff") => {
            ("text in UTF-16, as PowerShell writes it", Some(Cure::FromUtf16))
        }
        () if has(b"---- BEGIN SSH2 PUBLIC KEY") => ("a public key in the form of RFC 4716", Some(Cure::FromSsh2)),
        () if starts(b"PuTTY-User-Key-File") => ("a private key of PuTTY", Some(Cure::FromPutty)),
        () if has(b" ssh-rsa AAAA") => {
            ("OpenSSH's known_hosts or authorized_keys; the line of one key is needed, from ssh-rsa on", None)
        }
        () if starts(b"{") && has(b"\"kty\"") => ("a JSON Web Key", None),
        () if starts(b"SHA256:") => ("a fingerprint, and not the key that it is of", None),
        () if has(b"$argon2") => ("a file of accounts", None),
        () if starts(b"LS0tLS1CRUdJTi") => ("a PEM file in base64, as Kubernetes keeps it", Some(Cure::FromBase64)),
        () if starts(b"$ANSIBLE_VAULT") => ("a file that Ansible has encrypted", None),
        () if has(b"BEGIN PUBLIC KEY") || has(b"PRIVATE KEY") || has(b"-----BEGIN") || has(b"-----END") => {
            ("a PEM block whose BEGIN line is damaged: it is to have five dashes on each side", None)
        }
        () if has(b"<RSAKeyValue") => ("an RSA key in XML, as .NET writes it", None),
        () if starts(b"<") => ("a web page", None),
        () if starts(b"\xfe\xed\xfe\xed") => ("a Java keystore", None),
        () if starts(b"Salted__") => ("a file that `openssl enc` has encrypted", None),
        () if starts(b"age-encryption.org") => ("a file that age has encrypted", None),
        () if starts(b"\x1f\x8b") || starts(b"PK\x03\x04") => ("a compressed file", None),
        () if starts(b"\x7fELF") => ("a program", None),
        () if !bytes.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()) => {
            ("text of another kind", None)
        }
        () => ("binary data", None),
    }
}
