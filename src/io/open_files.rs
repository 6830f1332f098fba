//! How many files this process may have open.

/// Raises how many files this process may have open (`ulimit -n`) as far as the system lets it, and gives how many that are; `None` where there is no
/// limit, or none that is known, as on Windows. Programs that it starts have the limit, too.
///
/// [`Bounds::fitting_process`](crate::Bounds::fitting_process) does that by itself.
pub fn raise_open_files() -> Option<usize> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limits = getrlimit(Resource::Nofile);
        // Where the system does not let it, it stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum });
        getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok())
    }
    #[cfg(not(unix))]
    None
}
