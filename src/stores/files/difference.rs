//! What a change of a file was, to see whether it is there.

use super::access::Content;
use std::collections::HashSet;

/// The lines in which two texts differ.
pub(super) struct Difference {
    added: Vec<Content>,
    removed: Vec<Content>,
}

impl Difference {
    pub(super) fn between(old: &[u8], new: &[u8]) -> Self {
        let (olds, news) = (lines(old), lines(new));
        let owned = |lines: &HashSet<&[u8]>, without: &HashSet<&[u8]>| {
            lines.difference(without).map(|line| line.to_vec().into()).collect()
        };
        Self { added: owned(&news, &olds), removed: owned(&olds, &news) }
    }

    /// Whether the change that made it is in this text, too.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        let lines = lines(text);
        self.added.iter().all(|line| lines.contains(line.as_slice()))
            && !self.removed.iter().any(|line| lines.contains(line.as_slice()))
    }
}

fn lines(text: &[u8]) -> HashSet<&[u8]> {
    text.split(|&byte| byte == b'\n').collect()
}
