//! Somebody between two peers, who does with each frame what the input says.
//!
//! | `act & 7` | what becomes of the frame |
//! |---|---|
//! | 0 | it passes |
//! | 1 | it is edited: the rest of the act says how, 3 more bytes where |
//! | 2 | it is dropped |
//! | 3 | it comes twice |
//! | 4 | it waits for the next in its direction, and comes after that |
//! | 5 | an earlier frame, of either direction, comes before it: its number (1) |
//! | 6 | the stream is cut inside it: where (2) |
//! | 7 | a forged frame comes before it: type (1), length (2), body |

use crate::{Input, edit, frame};
use countersign::frame::FrameType;

/// From the client to the server, and back.
pub(crate) const UP: usize = 0;
pub(crate) const DOWN: usize = 1;

#[derive(Default)]
pub(crate) struct Between {
    /// Every frame so far.
    seen: Vec<Vec<u8>>,
    ways: [Way; 2],
}

#[derive(Default)]
struct Way {
    held: Vec<u8>,
    is_cut: bool,
}

impl Between {
    /// What comes out at the other end.
    pub(crate) fn pass(&mut self, input: &mut Input<'_>, way: usize, sent: &[u8]) -> Vec<u8> {
        let way = &mut self.ways[way];
        if way.is_cut {
            return Vec::new();
        }
        let act = input.byte();
        let held = core::mem::take(&mut way.held);
        let mut changed = sent.to_vec();
        match act & 7 {
            0 => {}
            1 => edit([act >> 3, input.byte(), input.byte(), input.byte()], &mut changed),
            2 => changed.clear(),
            3 => changed.extend_from_slice(sent),
            4 => way.held = core::mem::take(&mut changed),
            5 => {
                let number = usize::from(input.byte());
                let earlier = number.checked_rem(self.seen.len()).map(|at| self.seen[at].as_slice());
                changed.splice(..0, earlier.unwrap_or_default().iter().copied());
            }
            6 => {
                changed.truncate(input.number() % (sent.len() + 1));
                way.is_cut = true;
            }
            _ => {
                let kind = FrameType::ALL[usize::from(input.byte()) % FrameType::ALL.len()];
                let len = input.number();
                changed.splice(..0, frame(kind, input.bytes(len)));
            }
        }
        if !way.is_cut {
            changed.extend(held);
        }
        self.seen.push(sent.to_vec());
        changed
    }

    /// Whether nothing more comes out there.
    pub(crate) fn is_cut(&self, way: usize) -> bool {
        self.ways[way].is_cut
    }
}
