//! Bounds that fit what the process may have open. The limits are this whole process's: all of it is one test.

#![cfg(all(feature = "files", unix))]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use countersign::{Bounds, raise_open_files};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn what_a_process_may_have_open_is_raised_as_far_as_may_be_and_the_bounds_fit() {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20).min(100_000);
    let allow = |current, maximum| {
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: Some(maximum) }).unwrap();
    };
    let may = || getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    allow(64, most);
    assert_eq!((raise_open_files(), may()), (usize::try_from(most).ok(), usize::try_from(most).ok()));

    // Nothing is lowered that fits.
    let small = Bounds::default().with_handshakes(8).with_refusals(8).with_sessions(8);
    allow(64, 512);
    let fitting = small.fitting_process(1, 0);
    assert_eq!((fitting.files(1), may()), (small.files(1), Some(512)));

    allow(64, 512);
    for (per_session, besides) in [(1, 0), (2, 0), (1, 200)] {
        let fitting = Bounds::default().fitting_process(per_session, besides);
        assert_eq!(may(), Some(512));
        let needed = fitting.files(per_session) + besides;
        assert!((400..=512 - 20).contains(&needed), "{needed} of 512, and some have to be left for the process itself");
    }
}
