//! Who makes way for whom.

use super::held::GRACE;
use super::*;
use std::time::Duration;

fn source(name: &str) -> Source {
    Source::named(name)
}

fn enter(places: &Places, name: &str) -> Place {
    places.enter((&source(name), Origin::New)).unwrap()
}

/// From where somebody has logged in.
fn enter_known(places: &Places, name: &str) -> Place {
    places.enter((&source(name), Origin::Known)).unwrap()
}

fn is_cut(place: &Place) -> bool {
    place.cut.reason().is_some()
}

#[test]
fn the_source_with_the_most_loses_one_and_the_silent_go_first() {
    let places = Places::new(Bounds::default().with_handshakes(8).with_handshakes_per_source(7));
    let good = enter(&places, "good");
    let flood: Vec<Place> = (0..7).map(|_| enter(&places, "flood")).collect();
    flood[..6].iter().for_each(Place::greeted);
    // The table is full.
    let other = enter(&places, "other");
    assert!(is_cut(&flood[6]) && !flood[..6].iter().any(is_cut), "the silent one made way");
    let more: Vec<Place> = (0..2).map(|_| enter(&places, "more")).collect();
    assert_eq!(flood[..6].iter().filter(|place| is_cut(place)).count(), 2);
    assert!(!is_cut(&good) && !is_cut(&other) && !more.iter().any(is_cut));
    assert_eq!(places.counts(), Counts { handshakes: 8, made_way: 3, ..Counts::default() });
}

#[test]
fn those_that_are_not_counted_are_not_pushed_out_for_being_many() {
    let places = Places::new(Bounds::default().with_handshakes(20));
    let local: Vec<Place> = (0..10).map(|_| places.enter((&Source::uncounted(), Origin::New)).unwrap()).collect();
    let _flood: Vec<Place> = (0..40).map(|number| enter(&places, &format!("flood {}", number % 5))).collect();
    assert!(!local.iter().any(is_cut));
}

#[test]
fn whoever_keeps_the_server_waiting_makes_way_before_one_that_has_just_come() {
    let places = Places::new(Bounds::default().with_handshakes(8).with_handshakes_per_source(8));
    let start = Instant::now();
    let enter =
        |after: u64| places.enter_at((&source("nat"), Origin::New), start + Duration::from_millis(after)).unwrap();
    let stalled: Vec<Place> = (0..4).map(|_| enter(0)).collect();
    let late: Vec<Place> = (0..4).map(|_| enter(600)).collect();
    let flood: Vec<Place> = (0..4).map(|_| enter(700)).collect();
    assert!(stalled.iter().all(is_cut) && !late.iter().chain(&flood).any(is_cut));
    // None stalls any more: all are alike.
    let _one_more = enter(800);
    assert_eq!(late.iter().chain(&flood).filter(|place| is_cut(place)).count(), 1);
}

#[test]
fn among_sources_alike_one_that_has_sent_nothing_makes_way() {
    for _ in 0..32 {
        let places = Places::new(Bounds::default().with_handshakes(8));
        let good: Vec<Place> = (0..4).map(|number| enter(&places, &format!("good {number}"))).collect();
        good.iter().for_each(Place::greeted);
        let idle: Vec<Place> = (0..4).map(|number| enter(&places, &format!("idle {number}"))).collect();
        let _newcomers: Vec<Place> = (0..4).map(|number| enter(&places, &format!("new {number}"))).collect();
        assert!(!good.iter().any(is_cut));
        assert!(idle.iter().any(is_cut));
    }
}

#[test]
fn among_sources_alike_one_that_stands_still_makes_way_for_newcomers_also_after_its_hello() {
    for has_greeted in [false, true] {
        let places = Places::new(Bounds::default().with_handshakes(8));
        let later = Instant::now() + Duration::from_secs(700);
        let enter_later = |name: String| places.enter_at((&source(&name), Origin::New), later).unwrap();
        let stalled: Vec<Place> = (0..4).map(|number| enter(&places, &format!("stalled {number}"))).collect();
        if has_greeted {
            stalled.iter().for_each(Place::greeted);
        }
        let newcomers: Vec<Place> = (0..4).map(|number| enter_later(format!("new {number}"))).collect();
        let _more: Vec<Place> = (0..4).map(|number| enter_later(format!("more {number}"))).collect();
        assert!(stalled.iter().all(is_cut) && !newcomers.iter().any(is_cut));
    }
}

/// Strangers from more addresses than there are places, with one handshake each.
#[test]
fn those_from_where_somebody_has_logged_in_make_way_for_no_stranger_who_holds_as_many() {
    let places = Places::new(Bounds::default().with_handshakes(16).with_handshakes_per_source(16));
    // Slower than any stranger is.
    let later = Instant::now() + Duration::from_secs(5);
    let [home, office] = ["home", "office"].map(|name| enter_known(&places, name));
    home.greeted();
    let stranger = |number: u32| places.enter_at((&source(&number.to_string()), Origin::New), later).unwrap();
    let strangers: Vec<Place> = (0..200).map(stranger).collect();
    assert!(!is_cut(&home) && !is_cut(&office));
    assert_eq!(strangers.iter().filter(|place| !is_cut(place)).count(), 14);
    // Nor do they make way for one another, where there is a stranger.
    let others: Vec<Place> = (0..3).map(|number| enter_known(&places, &format!("office {number}"))).collect();
    assert!(!others.iter().chain([&home, &office]).any(is_cut));
    // One that holds more does.
    let second = enter_known(&places, "home");
    let _more: Vec<Place> = (200..210).map(stranger).collect();
    assert!(is_cut(&home) != is_cut(&second) && !others.iter().chain([&office]).any(is_cut));
}

/// Or somebody with some accounts could keep strangers out by what those are spared.
#[test]
fn those_from_where_somebody_has_logged_in_keep_no_more_than_half_of_the_places_from_strangers() {
    let places = Places::new(Bounds::default().with_handshakes(16));
    let known: Vec<Place> = (0..20).map(|number| enter_known(&places, &format!("known {number}"))).collect();
    assert_eq!(known.iter().filter(|place| is_cut(place)).count(), 4);
    let strangers: Vec<Place> = (0..8).map(|number| enter(&places, &format!("stranger {number}"))).collect();
    assert!(!strangers.iter().any(is_cut));
    assert_eq!(known.iter().filter(|place| !is_cut(place)).count(), 8);
    let _more: Vec<Place> = (8..40).map(|number| enter(&places, &format!("stranger {number}"))).collect();
    assert_eq!(known.iter().filter(|place| !is_cut(place)).count(), 8);
}

#[test]
fn a_newcomer_at_a_full_table_costs_no_more_the_more_sources_there_are_and_one_that_stalls_is_found() {
    const MANY: usize = 5000;
    let places = Places::new(Bounds::default().with_handshakes(MANY));
    let start = Instant::now();
    let enter = |number: usize, after| {
        places.enter_at((&source(&number.to_string()), Origin::New), start + Duration::from_millis(after)).unwrap()
    };
    let stalled: Vec<Place> = (0..MANY / 2).map(|number| enter(number, 0)).collect();
    let late: Vec<Place> = (MANY / 2..MANY).map(|number| enter(number, 600)).collect();
    assert_eq!(places.lock().looked_at, 0);
    let newcomers: Vec<Place> = (MANY..MANY + 1000).map(|number| enter(number, 700)).collect();
    assert_eq!(places.lock().looked_at, 1000 * LOOKED_AT);
    assert_eq!(stalled.iter().filter(|place| is_cut(place)).count(), 1000);
    drop((stalled, late, newcomers));
    assert!(places.lock().waiting.is_empty());
}

#[test]
fn which_of_the_sources_alike_makes_way_is_a_matter_of_chance() {
    let places = Places::new(Bounds::default().with_handshakes(8));
    let mut ours: Vec<Place> = (0..8).map(|number| enter(&places, &format!("source {number}"))).collect();
    let mut victims = Vec::new();
    for _ in 0..64 {
        let newcomer = enter(&places, "newcomer");
        let victim = ours.iter().position(is_cut);
        victims.push(victim);
        drop(newcomer);
        if let Some(victim) = victim {
            ours[victim] = enter(&places, &format!("source {victim}"));
        }
    }
    // All 64 alike: one chance in 8 to the power of 63.
    assert!(victims.iter().any(|victim| *victim != victims[0]), "{victims:?}");
}

#[test]
fn those_that_are_not_counted_are_bounded_by_the_total_alone() {
    let uncounted = |places: &Places| places.enter((&Source::uncounted(), Origin::New)).unwrap();
    // More than one source may have, of each.
    let places = Places::new(Bounds::default().with_handshakes(100));
    let handshakes: Vec<Place> = (0..100).map(|_| uncounted(&places)).collect();
    assert!(!handshakes.iter().any(is_cut));
    let places = Places::new(Bounds::default().with_refusals(8));
    let logins: Vec<Place> = (0..8).map(|_| uncounted(&places)).collect();
    assert!(logins.iter().all(|place| place.arrived().is_ok()));
    let places = Places::new(Bounds::default().with_sessions(16));
    let sessions: Vec<_> = (0..16).map(|number| uncounted(&places).session_place(&format!("user {number}"))).collect();
    assert!(sessions.iter().all(Option::is_some));
    assert!(uncounted(&places).session_place("one more").is_none());
}

#[test]
fn a_source_at_its_own_bound_makes_way_for_itself_and_uncounted_ones_have_none() {
    let places = Places::new(Bounds::default().with_handshakes(100));
    let ours: Vec<Place> = (0..60).map(|_| enter(&places, "one")).collect();
    assert_eq!(ours.iter().filter(|place| is_cut(place)).count(), 60 - 50);
    let local: Vec<Place> = (0..50).map(|_| places.enter((&Source::uncounted(), Origin::New)).unwrap()).collect();
    assert!(!local.iter().any(is_cut));
}

#[test]
fn who_makes_way_is_a_matter_of_chance() {
    let victims: Vec<usize> = (0..64)
        .map(|_| {
            let places = Places::new(Bounds::default().with_handshakes(8).with_handshakes_per_source(8));
            let ours: Vec<Place> = (0..8).map(|_| enter(&places, "one")).collect();
            let _newcomer = enter(&places, "two");
            ours.iter().position(is_cut).unwrap()
        })
        .collect();
    // All 64 alike: one chance in 8 to the power of 63.
    assert!(victims.iter().any(|&victim| victim != victims[0]), "{victims:?}");
}

#[test]
fn a_login_that_has_arrived_makes_way_for_nobody() {
    let places = Places::new(Bounds::default().with_handshakes(2).with_handshakes_per_source(2));
    let ours = [enter(&places, "one"), enter(&places, "one")];
    ours.iter().for_each(|place| place.arrived().unwrap());
    let more: Vec<Place> = (0..8).map(|_| enter(&places, "one")).collect();
    let others: Vec<Place> = (0..8).map(|_| enter(&places, "two")).collect();
    assert!(!ours.iter().any(is_cut));
    assert_eq!(more.iter().chain(&others).filter(|place| !is_cut(place)).count(), 2);
    assert_eq!(places.counts(), Counts { handshakes: 2, logins: 2, made_way: 14, ..Counts::default() });
    drop((ours, more, others));
    assert_eq!(places.counts(), Counts { made_way: 14, ..Counts::default() });
}

#[test]
fn a_login_that_arrives_as_its_place_is_taken_is_too_late() {
    let places = Places::new(Bounds::default().with_handshakes(1));
    let first = enter(&places, "one");
    // The newcomer has the place, and has not told anybody yet.
    let untold = places.lock().take_one(&Bounds::default(), Instant::now()).unwrap();
    assert_eq!((untold.reason(), first.arrived()), (None, Err(BusyReason::MadeWay)));
}

#[test]
fn refusals_are_bounded_by_source_and_in_total() {
    let places = Places::new(Bounds::default().with_refusals(8));
    let refuse = |name: &str| {
        let place = enter(&places, name);
        place.arrived().map(|()| place.into_refusal())
    };
    let flood = [refuse("flood").unwrap(), refuse("flood").unwrap()];
    assert_eq!(refuse("flood").err(), Some(BusyReason::NoRoom));
    let others: Vec<_> = ["a", "a", "b", "b", "c", "d"].into_iter().map(|name| refuse(name).unwrap()).collect();
    assert_eq!(refuse("a").err(), Some(BusyReason::NoRoom));
    // It has one less than it may have, and there is no room in total.
    assert_eq!(refuse("d").err(), Some(BusyReason::NoRoom));
    // Who has none waiting is let in past the total, up to twice as many.
    let good: Vec<_> = (0..8).map(|name| refuse(&format!("good {name}")).unwrap()).collect();
    assert_eq!(refuse("one more").err(), Some(BusyReason::NoRoom));
    drop((flood, others, good));
    assert_eq!(places.counts(), Counts::default());
    assert!(refuse("flood").is_ok());
}

#[test]
fn sessions_are_bounded_in_total_by_source_and_by_principal() {
    let places = Places::new(Bounds::default().with_sessions(16));
    let place = |name: &str| enter(&places, name);
    let alice: Vec<_> =
        (0..2).map(|number| place(&format!("source {number}")).session_place("alice").unwrap()).collect();
    assert!(place("another source").session_place("alice").is_none(), "an eighth of one principal");
    assert!(place("another source").has_room_for_session());
    let one: Vec<_> = (0..8).map(|number| place("one").session_place(&format!("user {number}")).unwrap()).collect();
    assert!(place("one").session_place("bob").is_none() && !place("one").has_room_for_session(), "half of one source");
    let rest: Vec<_> = (0..6).map(|number| place("two").session_place(&format!("other {number}")).unwrap()).collect();
    assert!(place("three").session_place("bob").is_none(), "all of them");
    drop((alice, one, rest));
    assert_eq!(places.counts().sessions, 0);
    let state = places.lock();
    assert!(state.principals.is_empty() && state.sources.is_empty());
}

#[test]
fn a_server_that_stops_cuts_handshakes_and_lets_nobody_in() {
    let places = Places::new(Bounds::default());
    let (place, session_place) = (enter(&places, "one"), enter(&places, "two").session_place("alice").unwrap());
    let arrived = enter(&places, "four");
    arrived.arrived().unwrap();
    places.stop();
    assert!(!is_cut(&arrived), "a login that has arrived is answered");
    assert_eq!(
        (place.cut.reason(), places.enter((&source("three"), Origin::New)).err()),
        (Some(BusyReason::Stopping), Some(BusyReason::Stopping))
    );
    assert_eq!(places.counts().sessions, 1);
    drop(session_place);
}

#[test]
fn whoever_has_arrived_obeys_no_word_that_comes_late() {
    let places = Places::new(Bounds::default());
    let place = enter(&places, "one");
    place.arrived().unwrap();
    // As from a server that picked it before it arrived.
    place.cut.cut(BusyReason::Stopping);
    assert!(!is_cut(&place));
    place.back_to_greeted().unwrap();
    assert!(!is_cut(&place), "it was said to nobody");
    places.stop();
    assert_eq!(place.cut.reason(), Some(BusyReason::Stopping));
}

#[test]
fn a_ticket_that_is_asked_about_makes_way_for_nobody_and_waits_anew_after_that() {
    let places = Places::new(Bounds::default().with_handshakes(2));
    let ticket = enter(&places, "one");
    ticket.greeted();
    ticket.arrived().unwrap();
    let flood: Vec<Place> = (0..8).map(|number| enter(&places, &format!("flood {number}"))).collect();
    assert!(!is_cut(&ticket));
    assert_eq!(places.counts(), Counts { handshakes: 2, logins: 1, made_way: 6, ..Counts::default() });
    // Back among those who wait, it takes the place of one of them, and has just come.
    ticket.back_to_greeted().unwrap();
    assert_eq!(places.counts(), Counts { handshakes: 2, logins: 0, made_way: 7, ..Counts::default() });
    let waited = Instant::now().duration_since(places.lock().sources[&source("one")].greeted.0[0].1);
    assert!(waited < GRACE);
    ticket.arrived().unwrap();
    assert_eq!((places.counts().handshakes, places.counts().logins), (1, 1));
    places.stop();
    assert_eq!((ticket.back_to_greeted(), is_cut(&ticket)), (Err(BusyReason::Stopping), false));
    drop((ticket, flood));
    assert_eq!(places.counts(), Counts { made_way: 7, ..Counts::default() });
    assert!(places.lock().sources.is_empty());
}

#[test]
fn logins_that_wait_for_a_further_factor_are_bounded_by_principal() {
    let places = Places::new(Bounds::default().with_refusals(24));
    let login = |number: u32| enter(&places, &format!("source {number}"));
    let all: Vec<Place> = (0..8).map(login).collect();
    let mut alice: Vec<FactorPlace> = all[..3].iter().filter_map(|place| place.factor_place("alice")).collect();
    assert!(alice.len() == 3 && all[3].factor_place("alice").is_none());
    let bob: Vec<_> = all[3..6].iter().map(|place| place.factor_place("bob")).collect();
    assert!(bob.iter().all(Option::is_some) && all[6].factor_place("bob").is_none());
    alice.pop();
    let again = all[3].factor_place("alice").unwrap();
    assert!(all[4].factor_place("alice").is_none());
    drop((again, alice, bob));
    assert!(places.lock().awaited.is_empty());
}
