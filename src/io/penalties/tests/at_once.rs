//! Many passwords at once: how many are looked at, and who is next.

use super::*;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};

/// How many of these are looked at together, before there is a verdict on any.
fn at_once(guard: &Guard, sources: &[Source], users: &[String]) -> Vec<Reservation> {
    let each = sources.iter().zip(users);
    let looked = each.filter_map(|(source, user)| match guard.check(source, user, &Others::None, None) {
        Checked::Go(reservation) => Some(reservation),
        Checked::Shut(_) | Checked::Wait(_) => None,
    });
    looked.collect()
}

/// Who has waited, and comes with as many connections as there may be, has one guess by it and no more.
#[test]
fn at_the_end_of_a_wait_one_password_is_looked_at_however_many_come() {
    let names: Vec<_> = (0..64).map(|number| format!("user {number}")).collect();
    let (one, far): (Vec<_>, Vec<_>) =
        ((0..64).map(|_| v4([2, 1])).collect(), (0..64).map(|number| v4([number, 1])).collect());
    let alice = vec!["alice".to_owned(); 64];
    for (sources, users, free) in [(&one, &names, 8), (&far, &alice, 10)] {
        let guard = guard();
        // At first as many as are free, and the one by which a wait begins.
        let mut looked_at = 0;
        for wait in 0..20 {
            let reservations = at_once(&guard, sources, users);
            assert!(reservations.len() == if wait == 0 { free + 1 } else { 1 }, "{wait}: {}", reservations.len());
            looked_at += reservations.len();
            // None of them is given back: their logins were cut before they were counted.
            drop(reservations);
            while let Err(shut) = check(&guard, &sources[0], &users[0], &Others::None) {
                guard.skip(shut.left + Duration::from_secs(1));
            }
        }
        assert_eq!(looked_at, free + 20);
        assert!(guard.is_idle());
    }
}

/// Each of what passwords are counted by has its bound by itself: here the others are far from theirs.
#[test]
fn at_once_no_more_are_looked_at_than_one_after_the_other_wherever_they_are_counted() {
    let names: Vec<_> = (0..200).map(|number| format!("user {number}")).collect();
    let home = v6(7, 7);
    let at_home = (vec![home.clone(); 64], vec!["alice".to_owned(); 64]);
    let of_a_network = ((0..200).map(|number| v6(1, number)).collect(), names.clone());
    let of_all = ((0..200).map(|number| v6(number + 100, 1)).collect(), names);
    let looked_at = [at_home, of_a_network, of_all].map(|(sources, users)| {
        let guard = guard();
        login(&guard, &home, "alice").unwrap();
        at_once(&guard, &sources, &users).len()
    });
    assert_eq!(looked_at, [10 + 1, 64 + 1, 87]);
}

#[test]
fn good_logins_at_once_count_for_nothing_once_they_are_known_to_be_good() {
    let (guard, office) = (guard(), v4([2, 1]));
    for round in 0..20 {
        let users: Vec<_> = (0..64).map(|user| format!("user {user}")).collect();
        let mut left: Vec<_> = users.iter().collect();
        // Nobody is shut out: who finds no room comes again once others are through.
        while !left.is_empty() {
            let before = left.len();
            let mut looked = Vec::new();
            left.retain(|user| match guard.check(&office, user, &Others::None, None) {
                Checked::Go(reservation) => {
                    looked.push((*user, reservation));
                    false
                }
                Checked::Wait(_) => true,
                Checked::Shut(shut) => panic!("{shut:?}"),
            });
            for (user, reservation) in looked {
                reservation.give_back();
                guard.accepted(&office, user);
            }
            assert!(before - left.len() >= before.min(if round == 0 { 9 } else { 64 }), "{before}");
        }
    }
    assert!(guard.is_idle());
}

/// Somebody who has to wait for others.
fn waits(guard: &Guard, source: &Source, user: &str, waited: Option<Waiting>) -> Pin<Box<Waiting>> {
    match guard.check(source, user, &Others::None, waited) {
        Checked::Wait(waiting) => Box::pin(waiting),
        Checked::Go(_) => panic!("there is room"),
        Checked::Shut(shut) => panic!("{shut:?}"),
    }
}

/// Somebody who has waited.
fn goes(guard: &Guard, source: &Source, user: &str, waited: Pin<Box<Waiting>>) -> Reservation {
    match guard.check(source, user, &Others::None, Some(*Pin::into_inner(waited))) {
        Checked::Go(reservation) => reservation,
        Checked::Wait(_) => panic!("there is no room"),
        Checked::Shut(shut) => panic!("{shut:?}"),
    }
}

fn is_called(waiting: &mut Pin<Box<Waiting>>) -> bool {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn who_waits_for_others_is_called_in_turn_one_for_each_verdict_and_nobody_is_overtaken() {
    let guard = Guard::new(Some(Penalties::default().with_account(Waits::new(0, HOUR, HOUR))), Tags::default());
    let from = |number| v4([number, 1]);
    let first = look(&guard, &from(1), "alice", &Others::None).unwrap();
    let [mut second, mut third, mut fourth, mut fifth] =
        [2, 3, 4, 5].map(|number| waits(&guard, &from(number), "alice", None));
    for waiting in [&mut second, &mut third, &mut fourth, &mut fifth] {
        assert!(!is_called(waiting));
    }
    first.give_back();
    assert!(is_called(&mut second) && !is_called(&mut third) && !is_called(&mut fourth));
    // Nobody comes before it while it is on its way, and then there is one place for one.
    let mut sixth = waits(&guard, &from(6), "alice", None);
    let second = goes(&guard, &from(2), "alice", second);
    assert!(!is_called(&mut third) && !is_called(&mut sixth));
    // One that was called and leaves calls the next, and one that leaves before calls nobody.
    second.give_back();
    assert!(is_called(&mut third));
    drop(fourth);
    assert!(!is_called(&mut fifth));
    drop(third);
    assert!(is_called(&mut fifth) && !is_called(&mut sixth));
    // It was cut, and counts: then all of them have to wait, and are told so one after the other.
    drop(goes(&guard, &from(5), "alice", fifth));
    assert!(is_called(&mut sixth));
    assert_eq!(guess(&guard, &from(7), "alice"), Some(Penalty::Account));
    drop(sixth);
    assert!(guard.is_idle());
}

#[test]
fn who_was_called_and_finds_no_room_yet_stands_where_it_stood() {
    let free = Waits::new(2, Duration::ZERO, Duration::ZERO);
    let guard = Guard::new(Some(Penalties::default().with_account(free)), Tags::default());
    let from = |number| v4([number, 1]);
    let mut looked: Vec<_> = (0..3).map(|n| look(&guard, &from(n), "alice", &Others::None).unwrap()).collect();
    let (mut first, mut second) = (waits(&guard, &from(11), "alice", None), waits(&guard, &from(12), "alice", None));
    // It was wrong: there is less room by it, and none for the first of those who wait.
    drop(looked.pop());
    assert!(is_called(&mut first) && !is_called(&mut second));
    let mut first = waits(&guard, &from(11), "alice", Some(*Pin::into_inner(first)));
    assert!(!is_called(&mut first) && !is_called(&mut second));
    drop(looked.pop());
    assert!(is_called(&mut first) && !is_called(&mut second));
    let mut first = waits(&guard, &from(11), "alice", Some(*Pin::into_inner(first)));
    // One may always be looked at.
    looked.pop().unwrap().give_back();
    assert!(is_called(&mut first) && !is_called(&mut second));
    goes(&guard, &from(11), "alice", first).give_back();
    assert!(is_called(&mut second));
    goes(&guard, &from(12), "alice", second).give_back();
    assert!(guard.is_idle());
}

/// Of two counts that both are full, each with somebody who waits for it and would have to wait for the other one, too.
#[test]
fn who_waits_in_one_place_goes_before_those_who_wait_in_another() {
    let one = Waits::new(0, Duration::ZERO, Duration::ZERO);
    let guard = Guard::new(Some(Penalties::default().with_account(one).with_source(one)), Tags::default());
    let (home, office) = (v4([1, 1]), v4([2, 1]));
    let alice = look(&guard, &home, "alice", &Others::None).unwrap();
    let bob = look(&guard, &office, "bob", &Others::None).unwrap();
    // For alice's count, and for the office's; both want both.
    let mut of_name = waits(&guard, &office, "alice", None);
    let mut of_source = waits(&guard, &office, "carol", None);
    alice.give_back();
    bob.give_back();
    assert!(is_called(&mut of_name) && is_called(&mut of_source));
    let held = goes(&guard, &office, "alice", of_name);
    let mut of_source = waits(&guard, &office, "carol", Some(*Pin::into_inner(of_source)));
    assert!(!is_called(&mut of_source));
    held.give_back();
    assert!(is_called(&mut of_source));
    goes(&guard, &office, "carol", of_source).give_back();
    assert!(guard.is_idle());
}

#[test]
fn who_comes_from_a_known_place_waits_for_no_stranger_in_the_total_and_for_whoever_came_before_at_its_name() {
    let guard = Guard::new(Some(Penalties::default().with_account(Waits::new(0, HOUR, HOUR))), Tags::default());
    let (home, far) = (v4([2, 1]), |number: u32| Source::named(&number.to_string()));
    login(&guard, &home, "alice").unwrap();
    // As many as may be wrong in all, and one that waits for them.
    let _held: Vec<_> =
        (0..87).map(|number| look(&guard, &far(number), &number.to_string(), &Others::None).unwrap()).collect();
    let _stranger = waits(&guard, &far(87), "carol", None);
    let bob = look(&guard, &home, "bob", &Others::None).unwrap();
    let mut next = waits(&guard, &far(88), "bob", None);
    bob.give_back();
    assert!(is_called(&mut next));
    drop(waits(&guard, &home, "bob", None));
}
