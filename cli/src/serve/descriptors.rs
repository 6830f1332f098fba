//! How many files this process may have open, and bounds that fit.

use super::Numbers;

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

fn lower(numbers: Numbers, limit: usize, for_session: usize, has_balancers: bool) -> (Numbers, Option<String>) {
    let Numbers { handshakes, refusals, sessions } = numbers;
    // As many again may wait for a header.
    let handshakes_need = handshakes.saturating_mul(if has_balancers { 2 } else { 1 });
    let need = handshakes_need.saturating_add(refusals).saturating_add(sessions.saturating_mul(for_session));
    let room = limit.saturating_sub(OWN);
    if need <= room {
        return (numbers, None);
    }
    let part = |count: usize| {
        let part = u128::try_from(count).ok().zip(u128::try_from(room).ok()).zip(u128::try_from(need).ok());
        let part = part.and_then(|((count, room), need)| count.checked_mul(room)?.checked_div(need));
        part.and_then(|part| usize::try_from(part).ok()).unwrap_or(count).max(1)
    };
    let fitting = Numbers { handshakes: part(handshakes), refusals: part(refusals), sessions: part(sessions) };
    let warning = format!(
        "warning: this process may have {limit} files open (ulimit -n), and the bounds may need {}; they are lowered to \
         {} handshakes, {} refusals and {} sessions",
        need.saturating_add(OWN),
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
        let need = 1024 + 2048 + 2 * 512 + OWN;
        assert_eq!(lower(numbers, need, 2, false), (numbers, None));
        for limit in [0, OWN, 48, 256, 1024, need - 1] {
            let (fitting, warning) = lower(numbers, limit, 2, false);
            assert!(warning.is_some_and(|warning| warning.contains("ulimit -n")));
            let used = fitting.handshakes + fitting.refusals + 2 * fitting.sessions;
            assert!(used <= limit.saturating_sub(OWN).max(4), "{limit}: {fitting:?}");
        }
        assert!(lower(numbers, need, 2, true).1.is_some());
    }
}
