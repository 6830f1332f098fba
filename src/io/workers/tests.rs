use super::*;
use crate::io::drive::block_on;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

fn start(at_once: usize, waiting: usize, patience: Duration) -> Workers {
    Workers::new(WorkBounds { at_once, waiting, patience })
}

fn source() -> Source {
    Source::named("test")
}

/// Has a thread at work until it is told to go on.
fn occupy(workers: &Workers) -> Sender<()> {
    let ((go, wait), (started, starts)) = (channel::<()>(), channel());
    let work = move || {
        started.send(()).unwrap();
        wait.recv().unwrap();
    };
    assert!(workers.submit((&source(), Origin::New), Box::new(work)));
    starts.recv().unwrap();
    go
}

fn eventually(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn work_is_done_on_another_thread_and_a_panic_is_told() {
    let workers = start(1, 1, Duration::from_secs(60));
    let here = std::thread::current().id();
    let there =
        block_on(workers.queue((&source(), Origin::New), Progress::Fresh, (), |()| std::thread::current().id()));
    assert!(matches!(there, Done::Answer(id) if id != here));
    assert_eq!(
        block_on(workers.queue((&source(), Origin::New), Progress::Fresh, (), |()| -> u8 { panic!("on purpose") })),
        Done::Panicked
    );
    assert_eq!(block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 7, |item| item)), Done::Answer(7));
}

#[test]
fn what_is_over_the_bound_is_shed_and_what_is_dropped_is_not_begun() {
    let workers = start(1, 2, Duration::from_secs(60));
    let (go, wait) = channel::<()>();
    let (started, starts) = channel();
    let first = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| {
        started.send(()).unwrap();
        wait.recv().unwrap();
        1
    });
    starts.recv().unwrap();
    let second = workers.queue((&source(), Origin::New), Progress::Fresh, 2, |item| item);
    let third = workers.queue((&source(), Origin::New), Progress::Fresh, 3, |item| item);
    // The oldest goes.
    let fourth = workers.queue((&source(), Origin::New), Progress::Fresh, 4, |item| item);
    assert_eq!(block_on(second), Done::Shed);
    drop(third);
    let (ran, runs) = channel();
    // Logins that have begun come first.
    assert!(workers.submit((&source(), Origin::New), Box::new(move || ran.send(()).unwrap())));
    let fifth = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| runs.try_recv().is_ok());
    go.send(()).unwrap();
    assert_eq!(
        (block_on(first), block_on(fourth), block_on(fifth)),
        (Done::Answer(1), Done::Answer(4), Done::Answer(true))
    );
}

#[test]
fn as_many_work_at_once_as_may_even_where_one_was_idle() {
    for _ in 0..20 {
        let workers = start(2, 10, Duration::from_secs(60));
        assert_eq!(block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 1, |item| item)), Done::Answer(1));
        while workers.lock().rest.idle == 0 {
            std::thread::yield_now();
        }
        // Each of two waits for the other.
        let ((to_second, from_first), (to_first, from_second)) = (channel(), channel());
        let meet = Duration::from_secs(20);
        let first = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| {
            to_second.send(()).unwrap();
            from_second.recv_timeout(meet).is_ok()
        });
        let second = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| {
            to_first.send(()).unwrap();
            from_first.recv_timeout(meet).is_ok()
        });
        assert_eq!((block_on(first), block_on(second)), (Done::Answer(true), Done::Answer(true)));
    }
}

#[test]
fn a_thread_without_work_ends_and_the_next_login_has_another() {
    let workers = start(1, 1, Duration::from_secs(60));
    for number in 0..3 {
        let login = workers.queue((&source(), Origin::New), Progress::Fresh, number, |item| item);
        assert_eq!(block_on(login), Done::Answer(number));
        eventually(|| workers.lock().rest.count == 0);
    }
}

#[test]
fn a_thread_over_a_lower_bound_ends_and_takes_nothing_more() {
    let workers = start(2, 10, Duration::from_secs(60));
    let (started, starts) = channel();
    let occupied = [(); 2].map(|()| {
        let ((go, wait), started) = (channel::<()>(), started.clone());
        let work = move |()| {
            started.send(()).unwrap();
            wait.recv().unwrap();
        };
        (go, workers.queue((&source(), Origin::New), Progress::Fresh, (), work))
    });
    assert_eq!(starts.iter().take(2).count(), 2);
    workers.set_bounds(WorkBounds { at_once: 1, waiting: 10, patience: Duration::from_secs(60) });
    let next = workers.queue((&source(), Origin::New), Progress::Fresh, 3, |item| item);
    let [(go, first), (go_on, second)] = occupied;
    go.send(()).unwrap();
    assert_eq!(block_on(first), Done::Answer(()));
    eventually(|| workers.lock().rest.count == 1);
    assert!(!next.is_begun(), "the other one is at work");
    go_on.send(()).unwrap();
    assert_eq!((block_on(second), block_on(next)), (Done::Answer(()), Done::Answer(3)));
}

#[test]
fn a_job_that_wakes_a_thread_over_a_lower_bound_is_taken_by_another_at_once() {
    // Nobody looks at the queue without having been woken.
    let workers = Workers::idling_for(
        Duration::from_secs(3600),
        WorkBounds { at_once: 4, waiting: 10, patience: Duration::from_secs(60) },
    );
    [(); 4].map(|()| occupy(&workers)).into_iter().for_each(|go| go.send(()).unwrap());
    eventually(|| workers.lock().rest.idle == 4);
    workers.set_bounds(WorkBounds { at_once: 1, waiting: 10, patience: Duration::from_secs(60) });
    let (done, runs) = channel();
    assert!(workers.submit((&source(), Origin::New), Box::new(move || done.send(()).unwrap())));
    assert_eq!(runs.recv_timeout(Duration::from_secs(60)), Ok(()), "nobody took it");
    eventually(|| workers.lock().rest.count == 1);
}

#[test]
fn under_a_higher_bound_what_waits_already_is_begun() {
    let workers = start(1, 10, Duration::from_secs(60));
    let go = occupy(&workers);
    // Each of them keeps a thread.
    let (started, starts) = channel();
    let waiting = [(); 3].map(|()| {
        let ((go, wait), started) = (channel::<()>(), started.clone());
        let work = move || {
            let _ = started.send(());
            let _ = wait.recv();
        };
        assert!(workers.submit((&source(), Origin::New), Box::new(work)));
        go
    });
    assert_eq!(workers.lock().rest.count, 1);
    workers.set_bounds(WorkBounds { at_once: 3, waiting: 10, patience: Duration::from_secs(60) });
    for _ in 0..2 {
        assert_eq!(starts.recv_timeout(Duration::from_secs(60)), Ok(()), "nobody began it");
    }
    let state = workers.lock();
    assert_eq!((state.rest.count, state.jobs()), (3, 1), "and no more than may be");
    drop(state);
    go.send(()).unwrap();
    drop(waiting);
}

#[test]
fn what_new_sources_have_begun_waits_for_so_many_known_ones_in_a_row_and_no_more() {
    let workers = start(1, 100, Duration::from_secs(60));
    let go = occupy(&workers);
    let (done, order) = channel();
    let told = |what: &'static str| {
        let done = done.clone();
        move || done.send(what).unwrap()
    };
    assert!(workers.submit((&Source::named("new"), Origin::New), Box::new(told("new"))));
    let _known: Vec<_> = (0..20)
        .map(|number| {
            let known = Source::named(&format!("known {number}"));
            let tell = told("known");
            workers.queue((&known, Origin::Known), Progress::Fresh, (), move |()| tell())
        })
        .collect();
    go.send(()).unwrap();
    let order: Vec<_> = order.iter().take(21).collect();
    assert_eq!(order.iter().position(|what| *what == "new"), Some(IN_A_ROW as usize), "{order:?}");
}

#[test]
fn what_a_source_has_begun_waits_behind_that_of_others_if_its_logins_were_refused() {
    let workers = start(1, 100, Duration::from_secs(60));
    let go = occupy(&workers);
    let (done, order) = channel();
    (0..4).for_each(|_| workers.note_refused(&Source::named("junk")));
    let names = std::iter::once("junk".to_owned()).chain((0..30).map(|number| format!("good {number}")));
    for name in names {
        let (from, done) = (Source::named(&name), done.clone());
        assert!(workers.submit((&from, Origin::New), Box::new(move || done.send(name).unwrap())));
    }
    go.send(()).unwrap();
    let order: Vec<_> = order.iter().take(31).collect();
    assert_eq!(order.last().map(String::as_str), Some("junk"), "{order:?}");
}

#[test]
fn bounds_that_change_hold_for_those_who_are_there() {
    let workers = start(1, 0, Duration::from_secs(60));
    let (go, wait) = channel::<()>();
    let (started, starts) = channel();
    let first = workers.queue((&source(), Origin::New), Progress::Fresh, (), move |()| {
        started.send(()).unwrap();
        wait.recv().unwrap();
    });
    starts.recv().unwrap();
    assert_eq!(block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 2, |item| item)), Done::Shed);
    // Another one may work beside it now.
    workers.set_bounds(WorkBounds { at_once: 2, waiting: 0, patience: Duration::from_secs(60) });
    assert_eq!(block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 3, |item| item)), Done::Answer(3));
    workers.set_bounds(WorkBounds { at_once: 1, waiting: 1, patience: Duration::from_secs(60) });
    go.send(()).unwrap();
    assert_eq!(block_on(first), Done::Answer(()));
    assert_eq!(block_on(workers.queue((&source(), Origin::New), Progress::Fresh, 4, |item| item)), Done::Answer(4));
}

#[test]
fn a_known_source_waits_for_no_hash_of_a_flood_but_for_the_one_that_is_computed() {
    let workers = start(1, 100, Duration::from_secs(60));
    let go = occupy(&workers);
    let (done, order) = channel();
    let done = move |what: &'static str| {
        let done = done.clone();
        move || done.send(what).unwrap()
    };
    let new = source();
    let known = Source::named("known");
    for _ in 0..4 {
        workers.submit((&new, Origin::New), Box::new(done("a hash of the flood")));
    }
    let hello = done("a known hello");
    let hello = workers.queue((&known, Origin::Known), Progress::Fresh, (), move |()| hello());
    workers.submit((&known, Origin::Known), Box::new(done("a known hash")));
    go.send(()).unwrap();
    assert_eq!(block_on(hello), Done::Answer(()));
    let order: Vec<_> = order.iter().take(6).collect();
    assert_eq!(order[..3], ["a known hash", "a known hello", "a hash of the flood"]);
}

#[test]
fn of_the_work_of_logins_that_have_begun_no_more_waits_than_may() {
    let workers = start(1, 2, Duration::from_secs(60));
    let go = occupy(&workers);
    let (ran, runs) = channel();
    let submit = || {
        let ran = ran.clone();
        workers.submit((&source(), Origin::New), Box::new(move || ran.send(()).unwrap()))
    };
    // As many as may be computed at once, and as many as may wait for that.
    assert_eq!([(); 5].map(|()| submit()), [true, true, true, false, false]);
    // All who wait are told, whether their logins have begun or not.
    let fresh = workers.queue((&source(), Origin::New), Progress::Fresh, (), |()| ());
    assert_eq!(workers.waiting(), 3 + 1);
    drop(fresh);
    assert_eq!(workers.waiting(), 3);
    go.send(()).unwrap();
    assert_eq!(runs.iter().take(3).count(), 3);
    assert!(submit());
    assert_eq!(runs.iter().take(1).count(), 1);
}

#[test]
fn nobody_waits_longer_than_the_patience() {
    let workers = start(1, 10, Duration::ZERO);
    // Patience of zero: what is queued is taken before it is late only if a thread is quick, so it is not asked for.
    let go = occupy(&workers);
    let late = workers.queue((&source(), Origin::New), Progress::Fresh, 1, |item| item);
    go.send(()).unwrap();
    assert_eq!(block_on(late), Done::Shed);
    // Nothing works here, so it can be taken back.
    let idle = start(1, 1, Duration::from_secs(60));
    let (stop, stopped) = channel::<()>();
    let blocker = idle.queue((&source(), Origin::New), Progress::Fresh, stopped, |stopped| stopped.recv().is_ok());
    let second = idle.queue((&source(), Origin::New), Progress::Fresh, 2, |item| item);
    let back = second.take_back();
    drop(stop);
    assert_eq!(block_on(blocker), Done::Answer(false));
    assert!(back == Some(2) || (back.is_none() && block_on(second) == Done::Answer(2)));
}
