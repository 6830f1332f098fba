//! Lines of text over a session, as the server and the client of the demo service exchange them.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line either side takes, in bytes without its line feed.
pub(crate) const MAX_LINE: usize = 4096;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Text(String),
    TooLong,
    NotUtf8,
    /// The peer closed its direction.
    End,
}

/// Cuts a stream into lines. Never holds more than a line and one read.
#[derive(Default)]
pub(crate) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    pub(crate) async fn next(&mut self, source: &mut (impl AsyncRead + Unpin)) -> io::Result<Line> {
        let mut chunk = [0; 1024];
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let rest = self.pending.split_off(end.saturating_add(1));
                return Ok(text(std::mem::replace(&mut self.pending, rest)));
            }
            if self.pending.len() > MAX_LINE {
                return Ok(Line::TooLong);
            }
            match source.read(&mut chunk).await? {
                0 if self.pending.is_empty() => return Ok(Line::End),
                0 => return Ok(text(std::mem::take(&mut self.pending))),
                count => self.pending.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
        }
    }
}

fn text(mut line: Vec<u8>) -> Line {
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if line.len() > MAX_LINE {
        return Line::TooLong;
    }
    String::from_utf8(line).map_or(Line::NotUtf8, Line::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cuts_lines_and_bounds_them() {
        let mut stream = &b"one\r\n\ntwo\n\xff\nlast"[..];
        let mut lines = Lines::default();
        for line in ["one", "", "two"] {
            assert_eq!(lines.next(&mut stream).await.ok(), Some(Line::Text(line.to_owned())));
        }
        assert_eq!(lines.next(&mut stream).await.ok(), Some(Line::NotUtf8));
        assert_eq!(lines.next(&mut stream).await.ok(), Some(Line::Text("last".into())));
        assert_eq!(lines.next(&mut stream).await.ok(), Some(Line::End));

        for (len, fits) in [(MAX_LINE, true), (MAX_LINE + 1, false)] {
            let long = [vec![b'x'; len], b"\n".to_vec()].concat();
            let line = Lines::default().next(&mut &long[..]).await.ok();
            assert_eq!(matches!(line, Some(Line::Text(_))), fits, "{len}");
        }
        assert_eq!(Lines::default().next(&mut tokio::io::repeat(b'x')).await.ok(), Some(Line::TooLong));
    }
}
