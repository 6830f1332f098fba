//! DER (X.690): the tree of an encoding, changed in one place, with lengths that fit.

use super::Dice;

enum Node {
    Leaf(u8, Vec<u8>),
    /// Its own content's front, such as the count of unused bits of a BIT STRING, and what is inside.
    Inner(u8, Vec<u8>, Vec<Node>),
}

pub(super) fn changed(bytes: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut nodes = read(bytes, 0)?;
    let count = nodes.iter().map(Node::count).sum();
    let mut which = dice.below(count);
    change(&mut nodes, &mut which, dice)?;
    Some(write(&nodes))
}

/// All of these bytes as elements one after the other.
fn read(mut bytes: &[u8], depth: usize) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    while let Some((&tag, rest)) = bytes.split_first() {
        let (&len, rest) = rest.split_first()?;
        let (len, rest) = match len {
            0..=0x7f => (usize::from(len), rest),
            0x81..=0x83 => {
                let (len, rest) = rest.split_at_checked(usize::from(len & 0x7f))?;
                (len.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        // Strings of octets or bits often have DER in them.
        let front = usize::from(tag == 3).min(content.len());
        let may_nest = tag & 0x20 != 0 || matches!(tag, 3 | 4) && content.len() > front + 2;
        let inside = if may_nest && depth < 12 { read(&content[front..], depth + 1) } else { None };
        nodes.push(match inside {
            Some(inside) => Node::Inner(tag, content[..front].to_vec(), inside),
            None => Node::Leaf(tag, content.to_vec()),
        });
        bytes = rest;
    }
    (!nodes.is_empty() || depth > 0).then_some(nodes)
}

impl Node {
    fn count(&self) -> usize {
        1 + match self {
            Self::Leaf(..) => 0,
            Self::Inner(_, _, inside) => inside.iter().map(Self::count).sum(),
        }
    }

    fn copy(&self) -> Self {
        match self {
            Self::Leaf(tag, content) => Self::Leaf(*tag, content.clone()),
            Self::Inner(tag, front, inside) => {
                Self::Inner(*tag, front.clone(), inside.iter().map(Self::copy).collect())
            }
        }
    }

    fn tag(&mut self) -> &mut u8 {
        match self {
            Self::Leaf(tag, _) | Self::Inner(tag, ..) => tag,
        }
    }

    fn edit(&mut self, dice: &mut Dice) {
        let Self::Leaf(_, content) = self else { return };
        let at = dice.below(content.len());
        match dice.below(6) {
            0 => content.truncate(at),
            1 => content.insert(at, 0),
            2 => {
                let len = dice.length();
                *content = dice.bytes(len);
            }
            3 => content.insert(at, 0xff),
            _ if content.is_empty() => content.push(0),
            _ => content[at] ^= 1 << dice.below(8),
        }
    }
}

fn change(nodes: &mut Vec<Node>, which: &mut usize, dice: &mut Dice) -> Option<()> {
    for at in 0..nodes.len() {
        if *which > 0 {
            *which -= 1;
            if let Node::Inner(_, _, inside) = &mut nodes[at]
                && change(inside, which, dice).is_some()
            {
                return Some(());
            }
            continue;
        }
        match dice.below(8) {
            0 => drop(nodes.remove(at)),
            1 => nodes.insert(at, nodes[at].copy()),
            2 => {
                let other = dice.below(nodes.len());
                nodes.swap(at, other);
            }
            3 => *nodes[at].tag() = *dice.pick(&[1, 2, 3, 4, 5, 6, 0x0c, 0x16, 0x17, 0x30, 0x31, 0x82, 0xa0])?,
            4 => nodes[at] = Node::Leaf(4, Vec::new()),
            _ => nodes[at].edit(dice),
        }
        return Some(());
    }
    None
}

fn write(nodes: &[Node]) -> Vec<u8> {
    let mut out = Vec::new();
    for node in nodes {
        let (tag, content) = match node {
            Node::Leaf(tag, content) => (tag, content.clone()),
            Node::Inner(tag, front, inside) => (tag, [&front[..], &write(inside)].concat()),
        };
        out.push(*tag);
        match content.len() {
            len @ 0..0x80 => out.push(len as u8),
            len @ 0x80..0x100 => out.extend([0x81, len as u8]),
            len => out.extend([0x82, (len >> 8) as u8, len as u8]),
        }
        out.extend(content);
    }
    out
}
