//! How many files this process may have open, and bounds that fit.

use countersign::Bounds;

/// What a server has open beside its connections: standard streams, the listener, the runtime's own, a file that it reads.
const OWN: usize = 20;

/// Bounds that fit.
#[derive(Debug)]
pub(super) struct Fitting {
    pub(super) bounds: Bounds,
    /// How many connections may wait for what their balancer says.
    pub(super) unnamed: usize,
    /// What to tell the operator, where they had to be lowered.
    pub(super) warning: Option<String>,
}

/// Raises what the process may have open as far as the system lets it, and lowers the bounds where they need more.
pub(super) fn fit(bounds: Bounds, for_session: usize, has_balancers: bool) -> Fitting {
    lower(bounds, raise().unwrap_or(usize::MAX), for_session, has_balancers)
}

fn lower(bounds: Bounds, limit: usize, for_session: usize, has_balancers: bool) -> Fitting {
    let room = limit.saturating_sub(OWN);
    // As many as there are handshakes may wait for a header, where there is somebody who sends one.
    let waiting = |count: usize| if has_balancers { count } else { 0 };
    let needed = bounds.files(for_session).saturating_add(waiting(bounds.handshakes()));
    if needed <= room {
        return Fitting { bounds, unnamed: bounds.handshakes(), warning: None };
    }
    let unnamed = bounds.handshakes().min(room.checked_div(8).unwrap_or_default().max(1));
    let bounds = bounds.fitting(room.saturating_sub(waiting(unnamed)), for_session);
    let warning = format!(
        "warning: this process may have {limit} files open (ulimit -n), and the bounds may need {}; they are lowered to \
         {} handshakes, {} refusals and {} sessions",
        needed.saturating_add(OWN),
        bounds.handshakes(),
        bounds.refusals(),
        bounds.sessions(),
    );
    Fitting { bounds, unnamed, warning: Some(warning) }
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
        let bounds = Bounds::default();
        let need = bounds.files(2) + OWN;
        assert!(lower(bounds, need, 2, false).warning.is_none());
        assert!(lower(bounds, need + bounds.handshakes(), 2, true).warning.is_none());
        for (limit, has_balancers) in [(need - 1, false), (need, true), (256, true), (48, false)] {
            let fitting = lower(bounds, limit, 2, has_balancers);
            assert!(fitting.warning.is_some_and(|warning| warning.contains("ulimit -n")));
            let waiting = if has_balancers { fitting.unnamed } else { 0 };
            assert!(fitting.bounds.files(2) + waiting <= limit - OWN, "{limit}: {:?}", fitting.bounds);
        }
    }
}
