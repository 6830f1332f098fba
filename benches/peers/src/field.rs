//! Everybody who takes part.

use crate::contender::{Contender, Pipe};
use crate::{bare, mysql, noise, opaque, ours, records, scram, tls};

/// Every handshake, in the order of the table.
pub fn handshakes() -> Vec<Box<dyn Contender>> {
    [ours::all(), tls::all(), noise::all(), opaque::all(), scram::all(), mysql::all(), bare::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// Every pipe for payloads of `size` bytes, in the order of the table.
pub fn pipes(size: usize) -> Vec<Box<dyn Pipe>> {
    records::all(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Meter;

    #[test]
    fn every_handshake_completes_again_and_again() {
        for mut contender in handshakes() {
            let mut meters = [Meter::default(); 3];
            meters.iter_mut().for_each(|meter| contender.once(meter));
            let name = contender.row().name;
            assert!(meters.iter().all(|meter| meter.to_server > 0 && !meter.server.is_zero()), "{name}");
            // Nothing is kept from the handshake before that would make the next one another; but one in eight of our hellos has
            // an extension of four bytes that means nothing.
            let is_same = |pair: &[Meter]| [0, 4].contains(&pair[0].to_server.abs_diff(pair[1].to_server));
            assert!(meters.windows(2).all(is_same), "{name}");
        }
    }

    #[test]
    fn every_pipe_carries_its_payload() {
        for size in records::SIZES {
            for mut pipe in pipes(size) {
                let name = pipe.name();
                for _ in 0..3 {
                    assert_eq!(pipe.pass(), vec![records::BYTE; size], "{name}");
                }
            }
        }
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<_> = handshakes().iter().map(|contender| contender.row().name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
