//! How many files this process may have open, and bounds that fit.

use super::{Serve, health};
#[cfg(feature = "sql")]
use crate::accounts::Users;
use countersign::limits::OWN_FILES;
use countersign::{Bounds, raise_open_files};

/// A question to a directory: a connection, and what its name is looked up with.
const OF_A_QUESTION: usize = 2;

impl Serve {
    /// How many files a server may have open for what it asks, and for those who watch it. Without room for these a flood of connections would have all
    /// accounts be away.
    pub(super) fn more_files(&self) -> usize {
        let watching = self.metrics_listen.as_ref().map_or(0, |_| health::CONNECTIONS);
        watching.saturating_add(self.sharing.files()).saturating_add(self.files_for_accounts())
    }

    fn files_for_accounts(&self) -> usize {
        if self.ldap.is_given() {
            // One more is the look whether it is there.
            return self.options.bounds().questions().saturating_add(1).saturating_mul(OF_A_QUESTION);
        }
        #[cfg(feature = "sql")]
        if let Ok(Users::Sql(place)) = self.users.place() {
            return place.files();
        }
        0
    }
}

/// Bounds that fit.
#[derive(Debug)]
pub(super) struct Fitting {
    pub(super) bounds: Bounds,
    /// How many connections may wait for what their balancer says.
    pub(super) unnamed: usize,
    /// What to tell the operator, where they had to be lowered.
    pub(super) warning: Option<String>,
}

/// Raises what the process may have open as far as the system lets it, and lowers the bounds where they need more beside what else is open.
pub(super) fn fit(bounds: Bounds, more: usize, for_session: usize, has_balancers: bool) -> Fitting {
    lower(bounds, (raise_open_files().unwrap_or(usize::MAX), more), for_session, has_balancers)
}

fn lower(bounds: Bounds, (limit, more): (usize, usize), for_session: usize, has_balancers: bool) -> Fitting {
    let own = OWN_FILES.saturating_add(more);
    let room = limit.saturating_sub(own);
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
        needed.saturating_add(own),
        bounds.handshakes(),
        bounds.refusals(),
        bounds.sessions(),
    );
    Fitting { bounds, unnamed, warning: Some(warning) }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use crate::serve::service::Exec;
    use crate::serve::service::{Forward, Service};

    #[cfg(all(feature = "ldap", feature = "redis", feature = "sql"))]
    #[test]
    fn what_a_server_asks_and_who_watches_it_have_as_many_open_files_as_operators_are_told() {
        use crate::serve::parsed_without_users;
        let files = |words: &[&str]| parsed_without_users(words).more_files();
        let (file, sqlite) = ("--users=users", "--users=sqlite:accounts.db");
        let directory = ["--ldap=ldaps://ldap.example", "--ldap-user-dn=uid={user},dc=example"];
        assert_eq!(files(&[file]), 0);
        let redis = files(&[file, "--redis=redis://127.0.0.1:6379"]);
        let watching = files(&[file, "--metrics-listen=127.0.0.1:9450"]);
        let all = (files(&[sqlite]), files(&["--users=postgres://db.example/accounts"]), files(&directory));
        assert_eq!((all, redis, watching), ((48, 16, 162), 2, 8));
        assert_eq!(files(&[sqlite, "--redis=redis://127.0.0.1:6379", "--metrics-listen=127.0.0.1:9450"]), 48 + 2 + 8);
        let sentence =
            "48 for SQLite, 16 for PostgreSQL, 162 for a directory, two for Redis, eight for `--metrics-listen`";
        assert!(include_str!("../../../docs/operating.md").contains(sentence));
    }

    /// That of the session; and one to the service, or two pipes and a handle of the process.
    #[test]
    fn a_session_takes_as_many_descriptors_as_its_service_has_for_it() {
        let forward = Service::Forward(Forward { address: String::new(), send_proxy: false });
        assert_eq!((Service::Lines.descriptors(), forward.descriptors()), (1, 2));
        #[cfg(unix)]
        assert_eq!(Service::Exec(Exec { command: String::new() }).descriptors(), 4);
    }

    #[test]
    fn bounds_are_lowered_only_where_they_do_not_fit() {
        let bounds = Bounds::default();
        let need = bounds.files(2) + OWN_FILES;
        assert!(lower(bounds, (need, 0), 2, false).warning.is_none());
        assert!(lower(bounds, (need + bounds.handshakes(), 0), 2, true).warning.is_none());
        assert!(lower(bounds, (need + 48, 48), 2, false).warning.is_none());
        for (limit, more, has_balancers) in
            [(need - 1, 0, false), (need + 47, 48, false), (need, 0, true), (256, 136, true), (48, 0, false)]
        {
            let fitting = lower(bounds, (limit, more), 2, has_balancers);
            assert!(fitting.warning.is_some_and(|warning| warning.contains("ulimit -n")));
            let waiting = if has_balancers { fitting.unnamed } else { 0 };
            assert!(fitting.bounds.files(2) + waiting <= limit - OWN_FILES - more, "{limit}: {:?}", fitting.bounds);
        }
    }
}
