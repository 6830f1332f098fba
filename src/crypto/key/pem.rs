//! PEM blocks (RFC 7468): written strictly, and found in whatever text stands around and inside them.

use super::KeyFileError;
use base64ct::{Base64Unpadded, Encoding};
use pkcs8::der::pem;
use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

pub(crate) fn encode_pem(label: &'static str, der: &[u8]) -> Zeroizing<String> {
    // The only failure is a label with forbidden characters, and ours are constants.
    Zeroizing::new(pem::encode_string(label, pem::LineEnding::LF, der).unwrap_or_default())
}

/// A block as it stands in a text.
pub(crate) struct PemBlock<'a> {
    pub(crate) label: &'a str,
    /// Of its BEGIN, counted from 1.
    pub(crate) line: usize,
    /// What stands between BEGIN and END.
    body: &'a [u8],
}

/// A block without an END.
pub(crate) struct Unfinished<'a> {
    pub(crate) label: &'a str,
    /// Of its BEGIN.
    pub(crate) line: usize,
    /// The line in which something else begins, or the text ends.
    last: usize,
}

impl From<Unfinished<'_>> for KeyFileError {
    fn from(Unfinished { label, line, last }: Unfinished<'_>) -> Self {
        Self::Unfinished { label: label.to_owned(), line, last }
    }
}

/// Finds the blocks of a text in any encoding that has ASCII in it, one after the other. Nothing but the markers counts: what
/// stands before, between and after the blocks, on the same line or another, is no matter.
pub(crate) struct PemBlocks<'a> {
    text: &'a [u8],
    /// How much of it is read.
    at: usize,
    /// Up to where lines are counted, and how many there are: each byte is looked at once, whatever the text.
    counted: (usize, usize),
}

impl<'a> PemBlocks<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0, counted: (0, 1) }
    }

    /// What is read from `at` on.
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Goes past this many bytes.
    fn skip(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
    }

    /// The line, counted from 1, in which the byte at `at` stands, which is not before the one asked for last.
    fn line_of(&mut self, at: usize) -> usize {
        let (counted, lines) = self.counted;
        let between = self.text.get(counted..at).unwrap_or_default();
        let lines = lines.saturating_add(line_of(between, between.len())).saturating_sub(1);
        self.counted = (at, lines);
        lines
    }

    /// The label behind a marker, and past its dashes; none where it isn't one.
    fn label(&mut self, marker: &[u8]) -> Option<&'a str> {
        const LONGEST: usize = 128;
        let after = self.rest().get(marker.len()..)?;
        let after = after.get(..LONGEST).unwrap_or(after);
        let line = after.split(|&byte| byte == b'\n' || byte == b'\r').next()?;
        let len = find(line, DASHES)?;
        let label = str::from_utf8(line.get(..len)?).ok()?;
        self.skip(marker.len().saturating_add(len).saturating_add(DASHES.len()));
        Some(label.trim())
    }
}

impl<'a> Iterator for PemBlocks<'a> {
    type Item = Result<PemBlock<'a>, Unfinished<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (label, line) = loop {
            self.skip(find(self.rest(), BEGIN)?);
            let line = self.line_of(self.at);
            match self.label(BEGIN) {
                Some(label) => break (label, line),
                // A word of its text.
                None => self.skip(BEGIN.len()),
            }
        };
        let start = self.at;
        let Some(len) = find(self.rest(), DASHES) else {
            self.at = self.text.len();
            let last = self.line_of(self.text.trim_ascii_end().len());
            return Some(Err(Unfinished { label, line, last }));
        };
        self.skip(len);
        let body = self.text.get(start..self.at).unwrap_or_default();
        let last = self.line_of(self.at);
        let end = if self.rest().starts_with(END) { self.label(END) } else { None };
        Some(match end {
            Some(end) if end == label => Ok(PemBlock { label, line, body }),
            // What follows may be a block of its own.
            _ => Err(Unfinished { label, line, last }),
        })
    }
}

impl PemBlock<'_> {
    /// The bytes that the block encodes. Blanks and line breaks may stand anywhere in it, and headers before it (RFC 1421).
    pub(crate) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        if self.is_encrypted() {
            return Err(KeyFileError::OldEncryption { line: self.line });
        }
        decode_base64(self.without_headers()).map_err(|before| KeyFileError::BadBase64 {
            line: self.line.saturating_add(self.headers()).saturating_add(before),
        })
    }

    /// Whether its headers say that OpenSSL's old way has encrypted it.
    fn is_encrypted(&self) -> bool {
        let is_marked = |line: &[u8]| line.starts_with(b"Proc-Type:") && find(line, b"ENCRYPTED").is_some();
        self.lines().take(self.headers()).any(is_marked)
    }

    /// How many lines, from that of BEGIN on, come before the base64.
    fn headers(&self) -> usize {
        let is_header = |line: &[u8]| line.contains(&b':');
        if !self.lines().nth(1).is_some_and(is_header) {
            return 0;
        }
        // A header may go on in further lines, up to the blank one.
        let blank = self.lines().skip(1).position(|line| line.trim_ascii().is_empty());
        blank.map_or(0, |blank| blank.saturating_add(1))
    }

    fn without_headers(&self) -> &[u8] {
        let len: usize = self.lines().take(self.headers()).map(|line| line.len().saturating_add(1)).sum();
        self.body.get(len..).unwrap_or_default()
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.body.split(|&byte| byte == b'\n')
    }
}

/// Decodes base64 with blanks and line breaks anywhere, also those that JSON and environment files write as `\n`, and with or
/// without its padding.
///
/// # Errors
/// In which line of it, counted from 0, is what is no base64.
pub(super) fn decode_base64(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, usize> {
    let line = |at: usize| line_of(text, at).saturating_sub(1);
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut bytes = text.iter().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if bytes.next_if(|(_, next)| matches!(next, b'n' | b'r')).is_some() => {}
            byte if byte.is_ascii_whitespace() => {}
            byte if byte.is_ascii_alphanumeric() || b"+/=".contains(byte) => packed.push(*byte),
            _ => return Err(line(at)),
        }
    }
    while packed.last() == Some(&b'=') {
        packed.pop();
    }
    let mut bytes = Zeroizing::new(vec![0; packed.len()]);
    let len = str::from_utf8(&packed).ok().and_then(|packed| Base64Unpadded::decode(packed, &mut bytes).ok());
    let len = len.map(<[u8]>::len).ok_or_else(|| line(text.trim_ascii_end().len()))?;
    bytes.truncate(len);
    Ok(bytes)
}

/// The line, counted from 1, in which the byte at `at` stands.
fn line_of(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.iter().filter(|&&byte| byte == b'\n').count().saturating_add(1)
}

pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
