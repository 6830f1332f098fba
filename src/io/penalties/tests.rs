//! Who has to wait, in hours that pass at once.

use super::*;
use crate::io::events::Tags;
use crate::terms::error::Reason;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

mod at_once;
mod names;

const HOUR: Duration = Duration::from_secs(3600);

fn v4(last: [u8; 2]) -> Source {
    Source::address(IpAddr::V4(Ipv4Addr::new(192, 0, last[0], last[1])))
}

/// The /64s of one /48, and others.
fn v6(site: u16, network: u16) -> Source {
    Source::address(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, site, network, 0, 0, 0, 1)))
}

/// What a guess at a password comes to: why it is not looked at, or, where it is, that it was wrong.
fn guess(guard: &Guard, source: &Source, user: &str) -> Option<Penalty> {
    match guard.greet(source, &Others::None).and_then(|()| look(guard, source, user, &Others::None)) {
        Ok(reservation) => {
            failed(guard, source, user, Guess::New);
            reservation.give_back();
            None
        }
        Err(Shut { reason: Reason::Penalty(penalty), .. }) => {
            if matches!(penalty, Penalty::Account | Penalty::Total | Penalty::Strangers) {
                guard.in_vain(source);
            }
            Some(penalty)
        }
        Err(shut) => panic!("{shut:?}"),
    }
}

/// A password that is looked at, until what this gives is given back.
fn look(guard: &Guard, source: &Source, user: &str, others: &Others) -> Result<Reservation, Shut> {
    match guard.check(source, user, others, None) {
        Checked::Go(reservation) => Ok(reservation),
        Checked::Shut(shut) => Err(shut),
        Checked::Wait(_) => panic!("nobody else is looked at"),
    }
}

/// Whether one is.
fn check(guard: &Guard, source: &Source, user: &str, others: &Others) -> Result<(), Shut> {
    look(guard, source, user, others).map(Reservation::give_back)
}

/// A wrong password.
fn failed(guard: &Guard, source: &Source, user: &str, guess: Guess) {
    guard.failed(source, Some(Guessed { user, guess, named: Named::Known(user) }), &Others::None);
}

/// A login with the right password: whether it is let in.
fn login(guard: &Guard, source: &Source, user: &str) -> Result<(), Shut> {
    guard.greet(source, &Others::None)?;
    look(guard, source, user, &Others::None)?.give_back();
    accepted(guard, source, user);
    Ok(())
}

/// A good login.
fn accepted(guard: &Guard, source: &Source, user: &str) {
    guard.accepted(source, user, user);
}

fn guard() -> Guard {
    Guard::new(Some(Penalties::default()), Tags::default())
}

/// A store of others' counts, which nobody asks here.
struct Nowhere;
impl PenaltyStore for Nowhere {
    fn read<'a>(&'a self, _: &'a [PenaltyKey]) -> Stored<'a, Vec<Standing>> {
        Box::pin(core::future::ready(Err(StoreAway)))
    }

    fn add<'a>(&'a self, _: &'a [(PenaltyKey, f64)]) -> Stored<'a, ()> {
        Box::pin(core::future::ready(Err(StoreAway)))
    }
}

/// A server among others.
fn one_of_several(when_away: WhenAway) -> Guard {
    Guard::new(Some(Penalties::default().with_store(Nowhere, when_away)), Tags::default())
}

/// What others have counted, where somebody has logged in from there at one of them.
fn known_elsewhere(keys: &[PenaltyKey], counted: impl Fn(&PenaltyKey) -> Standing) -> Others {
    let standing = |key: &PenaltyKey| match key {
        PenaltyKey::Logins(..) | PenaltyKey::LoginsFrom(_) => Standing { level: 1.0, since: HOUR },
        other => counted(other),
    };
    Others::Counted(keys.iter().map(standing).collect())
}

#[test]
fn typos_cost_nothing_and_guesses_wait_longer_each_time_up_to_a_bound() {
    let (guard, home) = (guard(), v4([2, 1]));
    (0..8).for_each(|typo| assert_eq!(guess(&guard, &home, "alice"), None, "{typo}"));
    login(&guard, &home, "alice").unwrap();
    let (guard, attacker) = (self::guard(), v4([2, 2]));
    let mut waits = Vec::new();
    for number in 0..20 {
        // At another account each time, so that only the source is in the way.
        while guess(&guard, &attacker, &number.to_string()) == Some(Penalty::Source) {
            let wait = guard.greet(&attacker, &Others::None).unwrap_err().left;
            waits.push(wait.as_secs_f64().round() as u64);
            guard.skip(wait + Duration::from_secs(1));
        }
    }
    assert_eq!(waits[..3], [15, 29, 57], "a failure fades a little while it is waited for");
    // By then as much fades in a wait as a guess adds.
    assert!(
        waits.windows(2).all(|pair| pair[0] <= pair[1]) && (380..=400).contains(waits.last().unwrap()),
        "{waits:?}"
    );
    // Many that are decided at once make it no longer than the longest.
    (0..1000).for_each(|number| failed(&guard, &attacker, &format!("user {number}"), Guess::New));
    let wait = guard.greet(&attacker, &Others::None).unwrap_err().left;
    assert!((590..=600).contains(&wait.as_secs()), "{wait:?}");
    guard.skip(12 * HOUR);
    // By and by all is forgotten.
    guard.skip(6 * HOUR);
    (0..7).for_each(|number| assert_eq!(guess(&guard, &attacker, "alice"), None, "{number}"));
}

#[test]
fn where_many_failures_are_free_a_wait_doubles_with_each_eighth_part_of_them() {
    let waits = Waits::new(80, Duration::from_secs(1), HOUR);
    assert_eq!([80.0, 81.0, 91.0, 101.0, 111.0].map(|level| waits.after(level).as_secs()), [0, 1, 2, 4, 8]);
}

#[test]
fn what_failed_is_forgotten_by_half_in_an_hour_and_where_people_log_in_in_a_month() {
    let (source, name): (Source, Arc<str>) = (v4([2, 1]), "alice".into());
    let failures = [
        PenaltyKey::Source(source.clone()),
        PenaltyKey::Block(source.clone()),
        PenaltyKey::Account(Arc::clone(&name)),
        PenaltyKey::KnownSource(source.clone(), Arc::clone(&name)),
        PenaltyKey::ExemptSource(source.clone(), Arc::clone(&name)),
    ];
    assert!(failures.iter().all(|key| key.half_life() == HOUR));
    assert_eq!(PenaltyKey::Total.half_life(), MINUTE);
    let of = PenaltyKey::LoginsOf(Arc::clone(&name));
    let logins = [PenaltyKey::Logins(source.clone(), name), PenaltyKey::LoginsFrom(source), of];
    assert!(logins.iter().all(|key| key.half_life() == 30 * 24 * HOUR));
}

/// How many guesses of a day are looked at, from the next of these sources each time.
fn day(next: impl Fn(u16) -> Source) -> u16 {
    let (guard, mut passed, mut looked_at) = (guard(), Duration::ZERO, 0);
    while passed < 24 * HOUR {
        match guess(&guard, &next(looked_at), &looked_at.to_string()) {
            None => looked_at += 1,
            Some(_) => {
                guard.skip(Duration::from_secs(5));
                passed += Duration::from_secs(5);
            }
        }
    }
    looked_at
}

#[test]
fn a_day_of_guessing_is_so_many_guesses_from_one_address_and_so_many_from_one_network() {
    let (address, network) = (day(|_| v4([2, 1])), day(|number| v6(1, number)));
    assert!((200..260).contains(&address), "{address}");
    assert!((1200..1500).contains(&network), "{network}");
}

/// The seconds of a day in which a guess at alice's password is looked at, where one is tried in each of them from such a source.
fn day_at_alice(guard: &Guard, next: impl Fn(u32) -> Source) -> Vec<u32> {
    let tried = |second: u32| {
        let is_looked_at = guess(guard, &next(second), "alice").is_none();
        guard.skip(Duration::from_secs(1));
        is_looked_at
    };
    (0..24 * 3600).filter(|second| tried(*second)).collect()
}

#[test]
fn a_day_of_guessing_at_one_name_from_everywhere_is_three_hundred_guesses_known_or_not() {
    // Nothing here knows which names there are; a name that somebody has logged in to is counted as one that nobody can.
    let penalties = Penalties::default().with_total(1_000_000);
    let guards = [penalties.clone(), penalties].map(|penalties| Guard::new(Some(penalties), Tags::default()));
    login(&guards[0], &v4([9, 9]), "alice").unwrap();
    // A fresh address in a fresh network for each guess.
    let days = guards.map(|guard| day_at_alice(&guard, |second| Source::named(&second.to_string())));
    assert!((250..350).contains(&days[0].len()), "{}", days[0].len());
    assert!(days[0].len().abs_diff(days[1].len()) < 5);
}

/// Whoever has a directory behind this sets its lockout by it.
#[test]
fn no_more_wrong_passwords_for_a_name_are_passed_on_in_half_an_hour_than_operators_of_directories_are_told() {
    let guard = Guard::new(Some(Penalties::default().with_total(1_000_000)), Tags::default());
    let looked_at = day_at_alice(&guard, |second| Source::named(&second.to_string()));
    let within_half_an_hour = |from: &u32| looked_at.iter().filter(|at| (*from..from + 1800).contains(*at)).count();
    let most = looked_at.iter().map(within_half_an_hour).max().unwrap();
    assert_eq!(most, 26);
    // There is none in the crate as it is published.
    if let Ok(told) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/accounts.md")) {
        assert!(told.contains(&format!("up to {most} wrong passwords for a user in half an hour")));
    }
}

#[test]
fn a_day_of_guessing_at_one_name_from_its_owners_address_is_three_hundred_guesses_and_eleven_for_each_of_her_logins() {
    let (guard, home) = (guard(), v4([2, 1]));
    login(&guard, &home, "alice").unwrap();
    let looked_at = day_at_alice(&guard, |_| home.clone());
    assert!((250..350).contains(&looked_at.len()), "{}", looked_at.len());
    // The next one as long after the last as any.
    let waits: Vec<u32> = looked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[waits.len() - 100..].iter().all(|wait| (250..=301).contains(wait)), "{waits:?}");
    // Her own logins do not wait any longer than what was guessed there.
    guard.skip(Duration::from_secs(300));
    for _ in 0..3 {
        login(&guard, &home, "alice").unwrap();
        assert_eq!((0..100).filter(|_| guess(&guard, &home, "alice").is_none()).count(), 11);
        guard.skip(Duration::from_secs(3));
    }
}

/// How many guesses of an hour are looked at, each at a fresh name from a fresh source, with as many tried as may be, up to more than there should be.
fn hour_at_all(guard: &Guard, come_from: impl Fn(&Source)) -> u32 {
    let mut number = 0;
    let mut is_looked_at = || {
        let source = Source::named(&number.to_string());
        come_from(&source);
        let is_looked_at = number < 20_000 && guess(guard, &source, &format!("user {number}")).is_none();
        number += u32::from(is_looked_at);
        is_looked_at
    };
    for _ in 0..3600 {
        while is_looked_at() {}
        guard.skip(Duration::from_secs(1));
    }
    number
}

#[test]
fn a_day_of_guessing_at_all_accounts_from_everywhere_is_sixty_a_minute() {
    let guesses = hour_at_all(&guard(), |_| {});
    assert!((3600..3700).contains(&guesses), "{guesses} in an hour");
}

#[test]
fn a_day_of_guessing_at_all_accounts_from_where_somebody_has_logged_in_is_240_a_minute() {
    let guard = guard();
    // Be it the guesser to an account of their own, by ticket or key, which wait for nothing.
    let guesses = hour_at_all(&guard, |source| accepted(&guard, source, "mallory"));
    assert!((4 * 3600..4 * 3700).contains(&guesses), "{guesses} in an hour");
}

/// Nobody without an account has a server remember more than it does from the beginning.
#[test]
fn a_flood_of_names_and_sources_is_kept_in_as_much_as_is_documented() {
    const KIB: usize = 1024;
    let guard = guard();
    let before = guard.held();
    assert_eq!(before, (2048 * KIB + 128 * KIB, false));
    for number in 0..50_000_u32 {
        let (source, user) = (Source::named(&number.to_string()), format!("user {number}"));
        let guess = guard.guess(&user, b"guess");
        failed(&guard, &source, &user, guess);
        guard.in_vain(&source);
    }
    assert_eq!(guard.held(), before);
}

#[test]
fn whoever_has_logged_in_from_there_gets_in_whatever_others_do() {
    let (guard, home) = (guard(), v4([2, 1]));
    login(&guard, &home, "alice").unwrap();
    // Behind the same address, from the same network, and from everywhere, at her account and at all.
    for round in 0..200_u8 {
        for source in [home.clone(), v4([2, round]), v4([round, 1]), v6(round.into(), 1)] {
            guess(&guard, &source, if source == home { "bob" } else { "alice" });
            guess(&guard, &source, &format!("user {round}"));
        }
    }
    assert_eq!(guess(&guard, &v4([250, 1]), "alice"), Some(Penalty::Strangers));
    assert_eq!(
        guess(&guard, &home, "bob"),
        Some(Penalty::Source),
        "who hides behind her address is no less a stranger"
    );
    for _ in 0..100 {
        login(&guard, &home, "alice").unwrap();
        assert_eq!(guess(&guard, &home, "alice"), None, "her own typos");
    }
}

#[test]
fn a_source_that_has_logged_in_waits_for_its_own_wrong_passwords_and_others_do_not() {
    let (guard, [home, office]) = (guard(), [v4([2, 1]), v4([3, 1])]);
    login(&guard, &home, "alice").unwrap();
    login(&guard, &office, "alice").unwrap();
    (0..11).for_each(|_| assert_eq!(guess(&guard, &home, "alice"), None));
    assert_eq!(guess(&guard, &home, "alice"), Some(Penalty::KnownSource));
    login(&guard, &office, "alice").unwrap();
    // From elsewhere she is where she was, and so are others at home.
    assert_eq!(guess(&guard, &v4([4, 1]), "alice"), None);
    assert_eq!(guess(&guard, &home, "bob"), None);
    guard.skip(Duration::from_secs(3));
    login(&guard, &home, "alice").unwrap();
    (0..11).for_each(|_| assert_eq!(guess(&guard, &home, "alice"), None, "a login ends it"));
}

#[test]
fn what_is_not_looked_at_makes_no_wait_longer() {
    let guard = guard();
    (0..20_u8).for_each(|source| {
        let _ = guess(&guard, &v4([source, 1]), "alice");
    });
    let wait = check(&guard, &v4([50, 1]), "alice", &Others::None).unwrap_err().left;
    (0..200_u8).for_each(|source| {
        let _ = guess(&guard, &v4([source, 2]), "alice");
    });
    guard.skip(wait + Duration::from_secs(1));
    login(&guard, &v4([50, 1]), "alice").unwrap();
}

/// One address, of which nothing is looked at any more, and which goes on all day.
#[test]
fn what_comes_from_a_source_that_waits_makes_no_wait_longer_and_has_no_neighbour_wait() {
    let (guard, [one, neighbour]) = (guard(), [v4([2, 1]), v4([2, 2])]);
    let mut let_in = 0;
    for _ in 0..24 * 3600 / 12 {
        let_in += u32::from(guard.greet(&one, &Others::None).is_ok());
        (0..4).for_each(|_| drop(guard.failed(&one, None, &Others::None)));
        (0..4).for_each(|_| drop(guard.in_vain(&one)));
        assert_eq!(guard.greet(&neighbour, &Others::None).map_err(|shut| shut.reason), Ok(()));
        guard.skip(Duration::from_secs(12));
    }
    // As often as one that waits until it may come again.
    assert!((100..260).contains(&let_in), "{let_in}");
}

/// A network of sixty-five thousand sources, such as anybody gets for nothing.
#[test]
fn a_network_that_waits_fills_no_table_with_its_sources() {
    let guard = guard();
    for network in 0..40_000 {
        (0..9).for_each(|_| drop(guard.failed(&v6(1, network), None, &Others::None)));
    }
    assert_eq!(guess(&guard, &v6(1, 50_000), "x"), Some(Penalty::Block));
    let is_raised = |number: &u32| {
        let (source, name) = (Source::named(&number.to_string()), format!("user {number}"));
        guard.greet(&source, &Others::None).is_err() || check(&guard, &source, &name, &Others::None).is_err()
    };
    assert_eq!((0..2000).find(is_raised), None);
}

/// As thousands of networks could have it.
#[test]
fn where_all_strangers_have_failed_too_often_who_is_known_elsewhere_or_exempt_does_not_wait() {
    let proxy = v4([3, 3]);
    let penalties = Penalties::default().with_exempt(proxy.clone()).with_store(Nowhere, WhenAway::GoOn);
    let (guard, office) = (Guard::new(Some(penalties), Tags::default()), v4([2, 1]));
    guard.fill(20.0);
    assert_eq!(guess(&guard, &v4([9, 9]), "alice"), Some(Penalty::Source));
    let known = known_elsewhere(&guard.of_password(&office, "alice"), |_| Standing::default());
    check(&guard, &office, "alice", &known).unwrap();
    check(&guard, &proxy, "alice", &Others::None).unwrap();
    // Each has its own count as before.
    (0..11).for_each(|_| drop(look(&guard, &office, "alice", &known)));
    let shut = check(&guard, &office, "alice", &known).unwrap_err();
    assert_eq!(shut.reason, Reason::Penalty(Penalty::KnownSource));
    (0..11).for_each(|_| assert_eq!(guess(&guard, &proxy, "alice"), None));
    assert_eq!(guess(&guard, &proxy, "alice"), Some(Penalty::KnownSource));
    assert_eq!(guess(&guard, &proxy, "bob"), None);
}

#[test]
fn a_source_that_moves_about_in_its_network_is_stopped_with_it() {
    let guard = guard();
    let looked_at = (0..5000).filter(|network| guess(&guard, &v6(1, *network), &network.to_string()).is_none()).count();
    assert!(looked_at <= 70, "{looked_at}");
    assert_eq!(guess(&guard, &v6(1, 6000), "x"), Some(Penalty::Block));
    assert_eq!(guess(&guard, &v6(2, 1), "x"), None, "another network");
}

#[test]
fn four_connections_that_come_to_nothing_are_one_failure() {
    let (guard, source) = (guard(), v4([2, 1]));
    // Eight failures cost nothing.
    (0..32).for_each(|_| drop(guard.in_vain(&source)));
    guard.greet(&source, &Others::None).unwrap();
    let amounts = guard.in_vain(&source);
    assert_eq!(guard.greet(&source, &Others::None).unwrap_err().reason, Reason::Penalty(Penalty::Source));
    let block = source.around(24, 48).unwrap();
    assert_eq!(amounts, [(PenaltyKey::Source(source), 0.25), (PenaltyKey::Block(block), 0.25)]);
}

#[test]
fn an_address_of_many_users_does_not_wait_for_what_they_mistype() {
    // Two thousand users behind one address, on the first morning. One in ten mistypes.
    let (guard, nat) = (guard(), v4([2, 1]));
    for user in 0..2000 {
        let name = format!("user {user}");
        if user % 10 == 5 {
            assert_eq!(guess(&guard, &nat, &name), None, "{user}");
        }
        login(&guard, &nat, &name).unwrap();
    }
    // A guesser among them is stopped, and none of them are.
    assert!((0..100).filter(|number| guess(&guard, &nat, &format!("guess {number}")).is_none()).count() <= 10);
    for user in 0..2000 {
        let name = format!("user {user}");
        assert_eq!(guess(&guard, &nat, &name), None);
        login(&guard, &nat, &name).unwrap();
    }
}

#[test]
fn a_first_login_pays_for_no_more_than_failed_from_there_and_is_told_with_whose_it_was() {
    let (guard, home) = (guard(), v4([0, 1]));
    guard.in_vain(&home);
    let told = guard.accepted(&home, "alice", "db/alice");
    let is_failure = |key: &PenaltyKey| matches!(key, PenaltyKey::Source(_) | PenaltyKey::Block(_));
    let paid: Vec<f64> = told.iter().filter(|(key, _)| is_failure(key)).map(|(_, amount)| *amount).collect();
    assert_eq!(paid, [-0.25, -0.25]);
    assert!(told.contains(&(PenaltyKey::LoginsOf("db/alice".into()), 1.0)));
}

#[test]
fn logging_in_to_an_account_of_ones_own_pays_for_no_guesses() {
    let (guard, attacker) = (guard(), v4([2, 1]));
    let looked_at = (0..1000).filter(|number| {
        login(&guard, &attacker, "mallory").unwrap();
        guess(&guard, &attacker, &number.to_string()).is_none()
    });
    assert!(looked_at.count() <= 10);
}

#[test]
fn an_account_of_ones_own_and_more_addresses_than_are_remembered_pay_for_no_guesses() {
    let (guard, addresses) = (guard(), (0..65).map(|host| v4([2, host])).collect::<Vec<_>>());
    let guesses = (0..6500).filter(|number| {
        let source = &addresses[number % 65];
        // By ticket or key, which wait for nothing.
        accepted(&guard, source, "mallory");
        guess(&guard, source, &format!("user {number}")).is_none()
    });
    // Of the network around them: sixty-four, and the one after that.
    assert!(guesses.count() <= 66);
    // Where nothing has failed there is nothing to take off, and least of all from the neighbours.
    (100..200).for_each(|host| accepted(&guard, &v4([2, host]), &format!("clerk {host}")));
    assert_eq!(guess(&guard, &v4([2, 250]), "alice"), Some(Penalty::Block));
}

/// Where a directory takes all ways to write a name for one.
#[test]
fn one_account_whose_name_is_written_in_many_ways_pays_for_no_guesses() {
    let (guard, attacker) = (guard(), v4([2, 1]));
    let looked_at = (0..1000).filter(|number| {
        let way: String = (0..10).map(|bit| if number >> bit & 1 == 1 { 'M' } else { 'm' }).collect();
        // By ticket or key, which wait for nothing.
        guard.accepted(&attacker, &way, "mmmmmmmmmm");
        guess(&guard, &attacker, &number.to_string()).is_none()
    });
    assert!(looked_at.count() <= 10);
}

#[test]
fn past_the_total_strangers_wait_first_and_those_last_who_come_from_a_known_place() {
    let guard = guard();
    login(&guard, &v4([2, 1]), "alice").unwrap();
    login(&guard, &v4([2, 1]), "bob").unwrap();
    let far = |number: u32| Source::named(&number.to_string());
    let strangers = Some(Penalty::Strangers);
    let stopped = (0..200).find(|number| guess(&guard, &far(*number), &number.to_string()) == strangers);
    assert_eq!(stopped, Some(87), "60 a minute come to that");
    assert_eq!(guess(&guard, &far(1000), "alice"), strangers);
    // Somebody new, where others have logged in.
    login(&guard, &v4([2, 1]), "carol").unwrap();
    login(&guard, &v4([2, 1]), "alice").unwrap();
    guard.skip(MINUTE);
    assert_eq!(guess(&guard, &far(1001), "dave"), None);
}

/// Who guesses from there must not be told by it which names were logged in to, or are guessed at.
#[test]
fn past_the_total_it_is_not_now_where_nobody_has_logged_in_whatever_the_name_and_a_refusal_elsewhere() {
    let (guard, home) = (guard(), v4([2, 1]));
    login(&guard, &home, "alice").unwrap();
    for number in 0..20 {
        guess(&guard, &Source::named(&format!("at bob {number}")), "bob");
    }
    assert_eq!(guess(&guard, &v4([3, 1]), "bob"), Some(Penalty::Account), "he waits");
    for number in 0..400 {
        let source = Source::named(&number.to_string());
        // From known places, too: by strangers to those who have logged in from there.
        accepted(&guard, &source, &format!("mallory {number}"));
        guess(&guard, &source, &number.to_string());
    }
    for name in ["alice", "bob", "carol", "nobody", "", "\u{ad}"] {
        let shut = check(&guard, &v4([3, 1]), name, &Others::None).unwrap_err();
        assert_eq!(shut.reason, Reason::Penalty(Penalty::Strangers), "{name:?}");
        assert!(shut.reason.is_not_now() && !shut.reason.is_failure());
    }
    // At home that would say whose home it is: who is none of those is refused as with a wrong password, and she is looked at.
    for (name, penalty) in [("carol", Penalty::Total), ("bob", Penalty::Account), ("", Penalty::Total)] {
        let shut = check(&guard, &home, name, &Others::None).unwrap_err();
        assert_eq!(shut.reason, Reason::Penalty(penalty), "{name:?}");
        assert!(!shut.reason.is_not_now());
    }
    login(&guard, &home, "alice").unwrap();
}

/// At an exempt source each name has a count of its own, so what did not open, which has none, is told nothing else than it was.
#[test]
fn past_the_total_what_did_not_open_is_refused_at_an_exempt_source() {
    let proxy = Source::block(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0)), 24, 64);
    let guard = Guard::new(Some(Penalties::default().with_exempt(proxy).with_total(0)), Tags::default());
    assert_eq!(guess(&guard, &Source::named("far"), "x"), None);
    assert_eq!(guess(&guard, &Source::named("far"), "x"), Some(Penalty::Strangers));
    assert_eq!(guess(&guard, &v4([2, 7]), "alice"), None);
    assert_eq!(check(&guard, &v4([2, 7]), "", &Others::None).unwrap_err().reason, Reason::Penalty(Penalty::Total));
}

#[test]
fn exempt_sources_have_a_count_for_each_name_and_none_of_their_own() {
    let proxy = Source::block(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0)), 24, 64);
    let guard = Guard::new(Some(Penalties::default().with_exempt(proxy)), Tags::default());
    (0..1000).for_each(|number| assert_eq!(guess(&guard, &v4([2, 7]), &format!("user {number}")), None));
    login(&guard, &v4([2, 7]), "alice").unwrap();
    (0..11).for_each(|_| assert_eq!(guess(&guard, &v4([2, 7]), "bob"), None));
    assert_eq!(guess(&guard, &v4([2, 8]), "bob"), None, "each its own");
    assert_eq!(guess(&guard, &v4([2, 7]), "bob"), Some(Penalty::KnownSource));
    assert_eq!(guess(&guard, &v4([3, 7]), "bob"), None);
}

#[test]
fn an_old_password_that_is_shown_again_and_again_keeps_its_owner_out_of_nothing_at_home() {
    let (guard, [home, road]) = (guard(), [v4([2, 1]), v4([3, 1])]);
    login(&guard, &home, "alice").unwrap();
    let looked_at = |source: &Source| {
        let is_looked_at = check(&guard, source, "alice", &Others::None).is_ok();
        if is_looked_at {
            failed(&guard, source, "alice", guard.guess("Alice", b"the old one"));
        }
        is_looked_at
    };
    assert_eq!((0..100).filter(|_| looked_at(&home)).count(), 100);
    login(&guard, &home, "alice").unwrap();
    // Where she has not logged in, each costs a password hash, and counts.
    assert_eq!((0..100).filter(|_| looked_at(&road)).count(), 9);
}

#[test]
fn a_name_is_counted_once_however_it_is_written() {
    let guard = guard();
    let ways = ["alice", "Alice", "ALICE", " alice ", "aLice"];
    (0..11_u8).for_each(|n| assert_eq!(guess(&guard, &v4([n, 1]), ways[usize::from(n) % 5]), None));
    assert!(ways.iter().all(|way| guess(&guard, &v4([99, 1]), way) == Some(Penalty::Account)));
    let ways = ["Alice Smith", "alice  smith", " alice\tSMITH ", "alice\u{a0}\u{2003}smith"];
    (0..11_u8).for_each(|n| assert_eq!(guess(&guard, &v4([n, 2]), ways[usize::from(n) % 4]), None));
    assert!(ways.iter().all(|way| guess(&guard, &v4([99, 2]), way) == Some(Penalty::Account)));
    assert_eq!(guess(&guard, &v4([99, 2]), "alicesmith"), None);
}

#[test]
fn others_count_as_one_does_itself_and_a_store_that_is_away_counts_for_nobody_or_against_strangers() {
    let (source, heavy) = (v4([2, 1]), Standing { level: 20.0, since: Duration::ZERO });
    for (when_away, is_shut) in [(WhenAway::GoOn, false), (WhenAway::TurnAway, true)] {
        let guard = one_of_several(when_away);
        for keys in [guard.of_hello(&source), guard.of_password(&source, "alice")] {
            let standing = |key: &PenaltyKey| match key {
                PenaltyKey::Source(_) => heavy,
                _ => Standing::default(),
            };
            let counted = Others::Counted(keys.iter().map(standing).collect());
            let shut = match keys.len() {
                3 => guard.greet(&source, &counted),
                _ => check(&guard, &source, "alice", &counted),
            };
            assert_eq!(shut.unwrap_err().reason, Reason::Penalty(Penalty::Source));
            // Elsewhere somebody has logged in.
            let known = known_elsewhere(&keys, standing);
            assert!(
                if keys.len() == 3 { guard.greet(&source, &known) } else { check(&guard, &source, "alice", &known) }
                    .is_ok()
            );
        }
        assert_eq!(guard.greet(&source, &Others::Away).is_err(), is_shut);
        assert_eq!(check(&guard, &source, "alice", &Others::Away).is_err(), is_shut);
        accepted(&guard, &source, "alice");
        assert!(guard.greet(&source, &Others::Away).is_ok() && check(&guard, &source, "alice", &Others::Away).is_ok());
    }
}

#[test]
fn other_penalties_hold_from_now_on_over_the_same_counts() {
    let (guard, office, other) = (guard(), v4([2, 1]), v4([3, 1]));
    (0..9).for_each(|number| assert_eq!(guess(&guard, &office, &format!("u{number}")), None));
    (0..3).for_each(|number| assert_eq!(guess(&guard, &other, &format!("u{number}")), None));
    assert_eq!(guess(&guard, &office, "x"), Some(Penalty::Source));
    // Whoever is exempt now has had to wait, and has to again when that is over.
    guard.set(Some(Penalties::default().with_exempt(office.clone())));
    assert_eq!(guess(&guard, &office, "x"), None);
    guard.set(Some(Penalties::default()));
    assert_eq!(guess(&guard, &office, "x"), Some(Penalty::Source));
    // What has failed counts for those who may fail less often, and for those who may more often.
    let waits = |free| Penalties::default().with_source(Waits::new(free, Duration::from_secs(15), HOUR));
    guard.set(Some(waits(2)));
    assert_eq!(guess(&guard, &other, "y"), Some(Penalty::Source));
    guard.set(Some(waits(20)));
    assert_eq!(guess(&guard, &other, "y"), None);
    assert_eq!(guess(&guard, &office, "y"), None);
}

#[test]
fn penalties_are_switched_off_and_on_over_the_same_counts() {
    let office = v4([2, 1]);
    let one = || Penalties::default().with_source(Waits::new(1, HOUR, HOUR));
    let guard = Guard::new(None, Tags::default());
    (0..9).for_each(|_| assert_eq!(guess(&guard, &office, "alice"), None));
    // Nothing was counted so far.
    guard.set(Some(one()));
    assert_eq!(["a", "b", "c"].map(|user| guess(&guard, &office, user)), [None, None, Some(Penalty::Source)]);
    guard.set(None);
    assert_eq!(guess(&guard, &office, "d"), None);
    assert!(guard.greet(&office, &Others::None).is_ok() && !guard.is_known(&office));
    guard.set(Some(one()));
    assert_eq!(guess(&guard, &office, "e"), Some(Penalty::Source));
}

#[test]
fn whoever_is_looked_at_while_penalties_are_switched_off_leaves_nothing_behind() {
    let (guard, office) = (guard(), v4([2, 1]));
    let held = look(&guard, &office, "alice", &Others::None);
    guard.set(None);
    drop(held);
    assert!(guard.is_idle());
    guard.set(Some(Penalties::default().with_source(Waits::new(0, HOUR, HOUR))));
    assert!(check(&guard, &office, "alice", &Others::None).is_ok(), "it was no guess");
}

#[test]
fn an_observer_is_told_of_each_wait_and_may_panic() {
    let told: Arc<Mutex<Vec<(Penalty, String, u64)>>> = Arc::default();
    let heard = Arc::clone(&told);
    let penalties = Penalties::default().with_observer(move |event| {
        if let PenaltyEvent::Wait { penalty, source, user: Named::Nobody, wait } = event {
            heard.lock().unwrap().push((*penalty, source.unwrap().to_string(), wait.as_secs()));
        }
        std::panic::resume_unwind(Box::new(()));
    });
    let guard = Guard::new(Some(penalties), Tags::default());
    (0..9).for_each(|_| assert_eq!(guess(&guard, &v4([2, 1]), "alice"), None));
    assert_eq!(*told.lock().unwrap(), [(Penalty::Source, "192.0.2.1/32".to_owned(), 15)]);
}

#[test]
fn an_observer_is_told_once_that_the_total_is_full_and_of_no_name_with_a_source() {
    let told: Arc<Mutex<Vec<(Penalty, bool, bool)>>> = Arc::default();
    let heard = Arc::clone(&told);
    let penalties = Penalties::default().with_total(1).with_observer(move |event| {
        if let PenaltyEvent::Wait { penalty, source, user, .. } = event {
            heard.lock().unwrap().push((*penalty, source.is_some(), *user != Named::Nobody));
        }
    });
    let guard = Guard::new(Some(penalties.with_account(Waits::new(2, HOUR, HOUR))), Tags::default());
    let fail = |user: &str, times: u8| (0..times).for_each(|time| failed(&guard, &v4([2, time]), user, Guess::New));
    fail("alice", 3);
    fail("bob", 2);
    assert_eq!(*told.lock().unwrap(), [(Penalty::Total, false, false), (Penalty::Account, false, true)]);
    told.lock().unwrap().clear();
    // Once more where it was not full meanwhile.
    guard.skip(HOUR);
    fail("carol", 2);
    assert_eq!(*told.lock().unwrap(), [(Penalty::Total, false, false)]);
    told.lock().unwrap().clear();
    let office = v4([7, 7]);
    (0..9).for_each(|number: u8| failed(&guard, &office, &number.to_string(), Guess::New));
    assert_eq!(told.lock().unwrap().last(), Some(&(Penalty::Source, true, false)), "and of no source with a name");
}

#[test]
fn a_login_that_is_cut_counts_for_what_it_held_as_others_know_it() {
    let (guard, office) = (one_of_several(WhenAway::GoOn), v4([2, 1]));
    // She has logged in from there at another server.
    let known = known_elsewhere(&guard.of_password(&office, "alice"), |_| Standing::default());
    (0..11).for_each(|_| drop(look(&guard, &office, "alice", &known)));
    assert_eq!(
        check(&guard, &office, "alice", &known).unwrap_err().reason,
        Reason::Penalty(Penalty::KnownSource),
        "as wrong as others that are shown there"
    );
    let (_, told) = guard.take_untold();
    assert_eq!(told, [(PenaltyKey::KnownSource(office.clone(), "alice".into()), 11.0)]);
    // No stranger to her, and nobody else there, waits for it.
    assert_eq!(guess(&guard, &v4([3, 1]), "alice"), None);
    assert_eq!(guess(&guard, &office, "bob"), None);
}

#[test]
fn a_guess_that_is_cut_is_told_to_others_whatever_flood_there_is() {
    let guard = one_of_several(WhenAway::GoOn);
    let in_vain = |number: u32| guard.tell_later(guard.in_vain(&Source::named(&number.to_string())));
    (0..1000).for_each(in_vain);
    drop(look(&guard, &Source::named("far"), "alice", &Others::None));
    (1000..2000).for_each(in_vain);
    let (_, told) = guard.take_untold();
    let has = |key: &PenaltyKey| told.iter().any(|(of, amount)| of == key && amount.to_bits() == 1.0_f64.to_bits());
    assert!(has(&PenaltyKey::Account("alice".into())) && has(&PenaltyKey::Total), "{told:?}");
    assert!(has(&PenaltyKey::Source(Source::named("far"))), "{told:?}");
}

#[test]
fn of_a_network_that_waits_so_many_are_asked_about_elsewhere_and_room_is_left_for_others() {
    let (guard, office) = (one_of_several(WhenAway::GoOn), v4([2, 1]));
    (0..9).for_each(|number| assert_eq!(guess(&guard, &office, &format!("o{number}")), None));
    for network in 0..70 {
        let _ = guess(&guard, &v6(1, network), &format!("n{network}"));
    }
    assert_eq!(guess(&guard, &v6(1, 1000), "x"), Some(Penalty::Block));
    assert_eq!((0..1000).filter(|network| guard.greet_here(&v6(1, *network)).is_ok()).count(), 8);
    assert!(guard.greet_here(&office).is_ok(), "somebody may have logged in from there elsewhere");
    assert!(guard.greet_here(&office).is_err(), "once");
    guard.skip(Duration::from_secs(10));
    assert!(guard.greet_here(&office).is_ok() && guard.greet_here(&v6(1, 999)).is_ok());
}
