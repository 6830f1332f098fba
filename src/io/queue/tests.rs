//! The queue, in virtual time.

use super::*;
use std::collections::BTreeSet;

const PATIENCE: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Moment {
    Moment::after_origin(Duration::from_millis(millis))
}

fn source(name: &str) -> Source {
    Source::named(name)
}

fn pop(queue: &mut Queue<&'static str>, now: u64) -> (Option<&'static str>, Vec<&'static str>) {
    let mut late = Vec::new();
    (queue.pop(at(now), PATIENCE, &mut late), late)
}

#[test]
fn sources_take_turns_whatever_the_length_of_their_lines() {
    let mut queue = Queue::new();
    for job in ["a1", "a2", "a3", "a4"] {
        queue.push((&source("a"), Origin::New), Progress::Fresh, at(0), job);
    }
    queue.push((&source("b"), Origin::New), Progress::Fresh, at(1), "b1");
    let order: Vec<_> = (0..5).map(|_| pop(&mut queue, 2).0.unwrap()).collect();
    assert!(order.iter().position(|&job| job == "b1").unwrap() <= 1, "{order:?}");
    assert_eq!(order.iter().filter(|job| job.starts_with('a')).copied().collect::<Vec<_>>(), ["a1", "a2", "a3", "a4"]);
    assert_eq!((pop(&mut queue, 3).0, queue.len()), (None, 0));
}

#[test]
fn a_source_that_comes_back_waits_for_those_who_were_there() {
    let mut queue = Queue::new();
    let push = |queue: &mut Queue<_>, name| {
        queue.push((&source(name), Origin::New), Progress::Fresh, at(0), name);
    };
    push(&mut queue, "often");
    assert_eq!(pop(&mut queue, 1).0, Some("often"));
    for name in ["a", "b", "a", "b"] {
        push(&mut queue, name);
    }
    let first = [0; 2].map(|_| pop(&mut queue, 1).0.unwrap());
    assert!(first == ["a", "b"] || first == ["b", "a"], "{first:?}");
    push(&mut queue, "often");
    assert_eq!(pop(&mut queue, 1).0, Some(first[0]));
}

#[test]
fn whoever_was_refused_waits_behind_those_who_were_not_until_it_is_forgiven() {
    let mut queue = Queue::new();
    for _ in 0..8 {
        queue.note_refused(&source("junk"), at(0));
    }
    queue.note_refused(&source("typo"), at(0));
    for (name, job) in [("junk", "junk"), ("typo", "typo"), ("good", "good")] {
        queue.push((&source(name), Origin::New), Progress::Fresh, at(1), job);
    }
    assert_eq!([0; 3].map(|_| pop(&mut queue, 2).0.unwrap()), ["good", "typo", "junk"]);
    // Ten half-lives later nobody remembers.
    assert_eq!(queue.refused.rank(&source("junk"), at(100_000)), 0);
    // Those who are not counted by source are not held to account by it.
    queue.note_refused(&Source::uncounted(), at(0));
    assert_eq!(queue.refused.rank(&Source::uncounted(), at(0)), 0);
}

#[test]
fn known_sources_come_before_new_ones_that_have_every_eighth_turn_and_are_shed_first() {
    let mut queue = Queue::new();
    for number in 0..16 {
        queue.push((&source(&format!("new{number}")), Origin::New), Progress::Fresh, at(0), "new");
        queue.push((&source(&format!("known{number}")), Origin::Known), Progress::Fresh, at(1), "known");
    }
    queue.note_refused(&source("known15"), at(1));
    let order: Vec<_> = (0..28).map(|_| pop(&mut queue, 2).0.unwrap()).collect();
    for (number, job) in order.iter().enumerate() {
        // All but the one of which something was refused: that comes after everybody who did nothing wrong.
        let is_known = number < 17 && number % 8 < 7;
        assert_eq!(*job, if is_known { "known" } else { "new" }, "{order:?}");
    }
    let pressed = |queue: &Queue<&str>, origin| queue.is_pressed((&source("other"), origin), at(600), PATIENCE);
    assert!(!pressed(&queue, Origin::Known) && pressed(&queue, Origin::New));
    let id = queue.push((&source("known0"), Origin::Known), Progress::Fresh, at(3), "good");
    assert_eq!([0; 4].map(|_| queue.shed(at(3)).unwrap()), ["known", "new", "new", "new"]);
    assert_eq!((queue.remove(&source("known0"), id), queue.len()), (Some("good"), 0));
}

#[test]
fn a_source_is_pressed_by_those_who_would_be_served_before_it() {
    let mut queue = Queue::new();
    let pressed =
        |queue: &Queue<&str>, name: &str, now| queue.is_pressed((&source(name), Origin::New), at(now), PATIENCE);
    queue.push((&source("busy"), Origin::New), Progress::Fresh, at(0), "one");
    assert!(!pressed(&queue, "busy", 499) && !pressed(&queue, "good", 499));
    // Half of the patience.
    assert!(pressed(&queue, "busy", 500) && pressed(&queue, "good", 500));
    // Whoever waits behind the others presses none of them.
    queue.note_refused(&source("busy"), at(500));
    assert!(pressed(&queue, "busy", 501) && !pressed(&queue, "good", 501));
    assert!(pop(&mut queue, 502).0.is_some() && !pressed(&queue, "busy", 502));
}

#[test]
fn a_line_that_stands_serves_the_newest_and_sheds_the_oldest() {
    let mut queue = Queue::new();
    for (time, job) in [(0, "first"), (100, "second"), (700, "third")] {
        queue.push((&source("a"), Origin::New), Progress::Fresh, at(time), job);
    }
    // In order while it moves.
    assert_eq!(pop(&mut queue, 400), (Some("first"), vec![]));
    assert_eq!(pop(&mut queue, 701), (Some("third"), vec![]));
    assert_eq!(pop(&mut queue, 1100), (None, vec!["second"]));
    assert_eq!(queue.len(), 0);
}

#[test]
fn where_there_are_too_many_the_oldest_of_the_worst_goes() {
    let mut queue = Queue::new();
    queue.push((&source("good"), Origin::New), Progress::Fresh, at(0), "good");
    for job in ["many1", "many2"] {
        queue.push((&source("many"), Origin::New), Progress::Fresh, at(1), job);
    }
    assert_eq!(queue.shed(at(2)), Some("many1"));
    queue.note_refused(&source("many"), at(2));
    assert_eq!(queue.shed(at(2)), Some("many2"));
    let id = queue.push((&source("good"), Origin::New), Progress::Fresh, at(3), "gone");
    assert_eq!(queue.remove(&source("good"), id), Some("gone"));
    assert_eq!((queue.remove(&source("good"), id), queue.shed(at(4)), queue.shed(at(4))), (None, Some("good"), None));
    assert_eq!((queue.len(), queue.lines.len()), (0, 0));
}

#[test]
fn the_memory_of_refusals_is_bounded() {
    let mut refused = RefusalHistory::default();
    for number in 0..3 * SOURCES {
        refused.note(&source(&number.to_string()), at(0));
    }
    assert!(refused.0.len() <= SOURCES);
    let worst = source("worst");
    (0..10).for_each(|_| refused.note(&worst, at(1)));
    assert!(refused.rank(&worst, at(1)) > 2);
    (0..SOURCES).for_each(|number| refused.note(&source(&format!("x{number}")), at(1)));
    assert!(refused.rank(&worst, at(1)) > 2, "what weighs much stays");
}

#[test]
fn where_all_that_is_remembered_weighs_much_nobody_new_is_and_where_it_weighs_little_whoever_comes_is() {
    let mut refused = RefusalHistory::default();
    let new = source("new");
    for _ in 0..3 {
        (0..SOURCES).for_each(|number| refused.note(&source(&number.to_string()), at(0)));
    }
    refused.note(&new, at(0));
    assert_eq!((refused.0.len(), refused.rank(&new, at(0))), (SOURCES, 0));
    // Half of three, ten seconds later.
    refused.note(&new, at(10_000));
    assert_eq!((refused.0.len(), refused.rank(&new, at(10_000))), (1, 2));
}

#[test]
fn what_has_begun_takes_turns_with_what_is_fresh_and_is_shed_last() {
    let mut queue = Queue::new();
    for (name, progress, job) in [
        ("a", Progress::Fresh, "a's hello"),
        ("b", Progress::Fresh, "b's hello"),
        ("b", Progress::Begun, "b's login"),
        ("junk", Progress::Begun, "junk's login"),
        ("c", Progress::Begun, "c's login"),
    ] {
        queue.push((&source(name), Origin::New), progress, at(0), job);
    }
    queue.note_refused(&source("junk"), at(0));
    // Begun or not, whoever was refused goes before those who were not.
    assert_eq!(queue.shed(at(1)), Some("junk's login"));
    // Then it is the longest line's turn, and of its jobs the fresh one's; of lines alike, that of one that has any.
    assert_eq!([0; 2].map(|_| queue.shed(at(1)).unwrap()), ["b's hello", "a's hello"]);
    for job in ["a's hello", "a's next"] {
        queue.push((&source("a"), Origin::New), Progress::Fresh, at(1), job);
    }
    let order = [0; 4].map(|_| pop(&mut queue, 2).0.unwrap());
    assert_eq!(order.map(|job| job.ends_with("login")), [true, false, true, false], "{order:?}");
    // What has begun waits no longer than anything else, and is taken out like it.
    queue.push((&source("a"), Origin::New), Progress::Begun, at(3), "late");
    let id = queue.push((&source("a"), Origin::New), Progress::Begun, at(3), "gone");
    assert_eq!(queue.remove(&source("a"), id), Some("gone"));
    assert!(queue.is_pressed((&source("new"), Origin::New), at(503), PATIENCE));
    assert_eq!(pop(&mut queue, 1003), (None, vec!["late"]));
    assert_eq!((queue.len(), queue.lines.len()), (0, 0));
}

/// What a login costs a thread before and after its peer's turn, and how long the peer's turn takes, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Costs {
    hello: u64,
    login: u64,
    peer: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Done(Option<u64>),
    Hello(u64),
    Login(u64),
}

/// For ten seconds, logins of so many sources come evenly, `percent` of what one thread can do: how many are done, in percent of that.
fn goodput(costs: Costs, sources: u64, percent: u64) -> u64 {
    const END: u64 = 10_000_000;
    let micros = |time| Moment::after_origin(Duration::from_micros(time));
    let from = |peer: u64| source(&(peer % sources).to_string());
    let (each, waiting) = ((costs.hello + costs.login) * 1000, 256);
    let (mut queue, mut events) = (Queue::new(), BTreeSet::from([(0, Event::Hello(0))]));
    let (mut is_free, mut good) = (true, 0);
    while let Some((now, event)) = events.pop_first().filter(|(now, _)| *now < END) {
        let time = micros(now);
        match event {
            Event::Hello(peer) => {
                events.insert((now + each * 100 / percent, Event::Hello(peer + 1)));
                if !queue.is_pressed((&from(peer), Origin::New), time, PATIENCE) {
                    queue.push((&from(peer), Origin::New), Progress::Fresh, time, (peer, Progress::Fresh));
                }
            }
            Event::Login(peer) => {
                queue.push((&from(peer), Origin::New), Progress::Begun, time, (peer, Progress::Begun));
            }
            Event::Done(answered) => {
                is_free = true;
                good += u64::from(answered.is_none());
                events.extend(answered.map(|peer| (now + costs.peer * 1000, Event::Login(peer))));
            }
        }
        if queue.len() + usize::from(!is_free) > waiting + 1 {
            queue.shed(time);
        }
        if is_free && let Some((peer, progress)) = queue.pop(time, PATIENCE, &mut Vec::new()) {
            is_free = false;
            let (cost, answered) = match progress {
                Progress::Fresh => (costs.hello, Some(peer)),
                Progress::Begun => (costs.login, None),
            };
            events.insert((now + cost * 1000, Event::Done(answered)));
        }
    }
    good * each * 100 / END
}

#[test]
fn under_twice_the_load_and_more_almost_all_that_can_be_done_is_done() {
    // The RSA operation costs next to nothing beside a password hash, or as much as what comes after it, or nearly all.
    for (hello, login) in [(2, 40), (10, 10), (8, 1)] {
        for (peer, sources) in [(0, 100), (100, 1), (100, u64::MAX), (300, 100)] {
            let costs = Costs { hello, login, peer };
            for (percent, least) in [(90, 85), (200, 95), (1000, 85)] {
                let done = goodput(costs, sources, percent);
                assert!(
                    done >= least,
                    "{done} % of what can be done, where {percent} % come: {costs:?}, {sources} sources"
                );
            }
        }
    }
}
