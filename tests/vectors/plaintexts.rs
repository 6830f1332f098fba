//! What is sealed: verdicts and credentials.

use super::primitives::lp;

pub const ACCEPT: u8 = 1;
pub const VERDICT: usize = 2048;

/// Where the ticket's field begins in a verdict, which comes after decision, principal and permissions.
fn ticket_at(verdict: &[u8]) -> usize {
    let length = |at: usize| usize::from(u16::from_be_bytes([verdict[at], verdict[at + 1]]));
    let mut at = 1;
    at += 2 + length(at);
    let permissions = verdict[at];
    at += 1;
    for _ in 0..permissions {
        at += 2 + length(at);
    }
    at
}

pub fn has_ticket(verdict: &[u8]) -> bool {
    let at = ticket_at(verdict);
    verdict[at..at + 2] != [0, 0]
}

/// How many bytes a verdict has before its padding.
pub fn verdict_size(verdict: &[u8]) -> usize {
    let length = |at: usize| usize::from(u16::from_be_bytes([verdict[at], verdict[at + 1]]));
    let mut at = ticket_at(verdict);
    at += 2 + length(at) + 8;
    let extensions = verdict[at];
    at += 1;
    for _ in 0..extensions {
        at += 4 + length(at + 2);
    }
    at
}

/// The ticket in a verdict, and its lifetime.
pub fn ticket_in(verdict: &[u8]) -> (Vec<u8>, u64) {
    let at = ticket_at(verdict);
    let (ticket, rest) = verdict[at + 2..].split_at(usize::from(u16::from_be_bytes([verdict[at], verdict[at + 1]])));
    (ticket.to_vec(), u64::from_be_bytes(rest[..8].try_into().unwrap()))
}

/// A verdict without its padding.
pub fn verdict(decision: u8, principal: &str, permissions: &[&str], (ticket, lifetime): (&[u8], u64)) -> Vec<u8> {
    let mut bytes = [&[decision][..], &lp(principal.as_bytes())].concat();
    bytes.push(u8::try_from(permissions.len()).unwrap());
    permissions.iter().for_each(|permission| bytes.extend(lp(permission.as_bytes())));
    bytes.extend(lp(ticket));
    bytes.extend(lifetime.to_be_bytes());
    bytes.push(0);
    bytes
}

/// A verdict, without its padding, that asks for a further factor, and some bytes behind the FactorRequest.
pub fn request(form: u8, prompt: &str, tail: &[u8]) -> Vec<u8> {
    let mut bytes = verdict(3, "", &[], (&[], 0));
    bytes.pop();
    bytes.extend([1, 0, 5]);
    bytes.extend(lp(&[&[form][..], &lp(prompt.as_bytes()), tail].concat()));
    bytes
}

/// A factor and its padding, which `spoil` may alter.
pub fn padded_factor(answer: &[u8], spoil: fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = lp(answer);
    let used = bytes.len();
    bytes.resize(512, 0);
    spoil(&mut bytes[used..]);
    bytes
}

pub fn padded_verdict(front: &[u8]) -> Vec<u8> {
    let mut bytes = front.to_vec();
    bytes.resize(VERDICT, 0);
    bytes
}

/// A credential and its padding, which `spoil` may alter.
pub fn padded(kind: u8, user: &str, secret: &[u8], spoil: fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = [&[kind][..], &lp(user.as_bytes()), &lp(secret)].concat();
    let used = bytes.len();
    bytes.resize(used.next_multiple_of(256), 0);
    spoil(&mut bytes[used..]);
    bytes
}
