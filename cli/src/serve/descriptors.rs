//! How many files this process may have open, and bounds that fit.

use super::options::Numbers;

/// What a server has open beside its connections: standard streams, the listener, the runtime's own, a file that it reads.
const OWN: usize = 20;

/// Raises what the process may have open as far as the system lets it, and lowers the bounds where they need more. Gives what
/// to tell the operator then.
pub(super) fn fit(numbers: Numbers, for_session: usize, has_balancers: bool) -> (Numbers, Option<String>) {
    match raise() {
        Some(limit) => lower(numbers, limit, for_session, has_balancers),
        None => (numbers, None),
    }
}

/// Sources with nothing waiting are let in past the bound of refusals, up to twice as many.
const FOR_REFUSAL: usize = 2;

fn lower(numbers: Numbers, limit: usize, for_session: usize, has_balancers: bool) -> (Numbers, Option<String>) {
    // As many again may wait for a header.
    let for_handshake = if has_balancers { 2 } else { 1 };
    let need = |numbers: Numbers| {
        let handshakes = numbers.handshakes.saturating_mul(for_handshake);
        let refusals = numbers.refusals.saturating_mul(FOR_REFUSAL);
        handshakes.saturating_add(refusals).saturating_add(numbers.sessions.saturating_mul(for_session))
    };
    let (needed, room) = (need(numbers), limit.saturating_sub(OWN));
    if needed <= room {
        return (numbers, None);
    }
    // A quarter each for those who want to be let in; what they leave is for those who are.
    let part = |count: usize, each: usize| count.min(room.checked_div(each.saturating_mul(4)).unwrap_or(count)).max(1);
    let handshakes = part(numbers.handshakes, for_handshake);
    let refusals = part(numbers.refusals, FOR_REFUSAL);
    let left = room.saturating_sub(need(Numbers { handshakes, refusals, sessions: 0 }));
    let sessions = numbers.sessions.min(left.checked_div(for_session).unwrap_or(left)).max(1);
    let fitting = Numbers { handshakes, refusals, sessions };
    let warning = format!(
        "warning: this process may have {limit} files open (ulimit -n), and the bounds may need {}; they are lowered to \
         {} handshakes, {} refusals and {} sessions",
        needed.saturating_add(OWN),
        fitting.handshakes,
        fitting.refusals,
        fitting.sessions,
    );
    (fitting, Some(warning))
}

/// The limit; `None` where there is none, or none that is known.
#[cfg(unix)]
fn raise() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    // Where the system does not let it, it stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum });
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok())
}

#[cfg(not(unix))]
fn raise() -> Option<usize> {
    None
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_lowered_only_where_they_do_not_fit() {
        let numbers = Numbers { handshakes: 1024, refusals: 2048, sessions: 512 };
        let need = 1024 + 2 * 2048 + 2 * 512 + OWN;
        assert_eq!(lower(numbers, need, 2, false), (numbers, None));
        for limit in [0, OWN, 48, 256, 1024, need - 1] {
            let (fitting, warning) = lower(numbers, limit, 2, false);
            assert!(warning.is_some_and(|warning| warning.contains("ulimit -n")));
            let used = fitting.handshakes + 2 * fitting.refusals + 2 * fitting.sessions;
            assert!(used <= limit.saturating_sub(OWN).max(5), "{limit}: {fitting:?}");
            assert!(fitting.handshakes >= (limit.saturating_sub(OWN) / 4).min(1024), "{limit}: {fitting:?}");
        }
        assert!(lower(numbers, need, 2, true).1.is_some());
    }
}
