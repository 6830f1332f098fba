//! Changes of a source, one inside the other, and the text with all of them made.

use std::ops::Range;

/// What takes the place of a stretch of the source.
pub(crate) enum Piece {
    Text(String),
    /// The source itself, with what is changed inside it.
    Source(Range<usize>),
    /// The code of one mutant.
    Mutant(usize, Vec<Piece>),
}

/// A change. Those inside others come after them.
pub(crate) struct Edit {
    pub(crate) range: Range<usize>,
    pub(crate) pieces: Vec<Piece>,
}

pub(crate) struct Woven {
    pub(crate) text: String,
    /// Which bytes of the text are which mutant's.
    pub(crate) ranges: Vec<(usize, Range<usize>)>,
}

pub(crate) fn woven(source: &str, edits: &[Edit]) -> Woven {
    let mut woven = Woven { text: String::new(), ranges: Vec::new() };
    woven.range(source, edits, 0..source.len(), 0);
    woven
}

impl Woven {
    /// A stretch of the source, with the changes from `first` on that lie in it.
    fn range(&mut self, source: &str, edits: &[Edit], range: Range<usize>, first: usize) {
        let mut at = range.start;
        for (index, edit) in edits.iter().enumerate().skip(first) {
            if edit.range.start < at || edit.range.end > range.end {
                continue;
            }
            self.text.push_str(&source[at..edit.range.start]);
            self.pieces(source, edits, &edit.pieces, index + 1);
            at = edit.range.end;
        }
        self.text.push_str(&source[at..range.end]);
    }

    fn pieces(&mut self, source: &str, edits: &[Edit], pieces: &[Piece], first: usize) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.text.push_str(text),
                Piece::Source(range) => self.range(source, edits, range.clone(), first),
                Piece::Mutant(number, pieces) => {
                    let start = self.text.len();
                    self.pieces(source, edits, pieces, first);
                    self.ranges.push((*number, start..self.text.len()));
                }
            }
        }
    }
}
