//! Accounts of almost the same name, where a store tells upper from lower case; and anybody may register the other one.

use super::*;

/// Others than `alice` who are counted as she is.
const OTHERS: [&str; 3] = ["Alice", "alice ", "al\u{200b}ice"];

#[test]
fn whoever_has_an_account_of_almost_the_same_name_has_no_more_guesses_at_this_one() {
    let far = Source::named("far");
    let guard = Guard::new(Some(Penalties::default().with_exempt(far.clone())), Tags::default());
    for source in [v4([2, 1]), far] {
        for other in OTHERS {
            login(&guard, &source, other).unwrap();
        }
        let looked_at = OTHERS.iter().cycle().take(60).filter(|other| {
            login(&guard, &source, other).unwrap();
            guess(&guard, &source, "alice").is_none()
        });
        let looked_at = looked_at.count();
        assert!((8..=11).contains(&looked_at), "{looked_at} from {source}");
        guard.skip(24 * HOUR);
    }
}

#[test]
fn what_was_wrong_for_another_is_a_new_guess_at_this_one() {
    let guard = guard();
    for name in ["Alice", "alice"] {
        assert_eq!(guard.guess(name, b"old"), Guess::New, "{name}");
        assert_eq!(guard.guess(name, b"old"), Guess::Again, "{name}");
    }
}

#[test]
fn logins_to_an_account_of_almost_the_same_name_push_out_none_of_this_one_s_sources() {
    let (guard, home) = (guard(), v4([3, 1]));
    login(&guard, &home, "alice").unwrap();
    (0..200).for_each(|number| login(&guard, &v4([4, number]), "Alice").unwrap());
    for number in 0..20 {
        let _ = guess(&guard, &Source::named(&format!("flat {number}")), "alice");
    }
    for stranger in [Source::named("elsewhere"), v4([4, 199])] {
        assert_eq!(guess(&guard, &stranger, "alice"), Some(Penalty::Account), "{stranger}");
    }
    assert_eq!(guess(&guard, &home, "alice"), None);
}

/// Directories take all of these for one.
#[test]
fn a_name_has_one_count_of_strangers_however_it_is_written() {
    let guard = guard();
    let ways = ["alice", OTHERS[0], OTHERS[1], OTHERS[2]];
    let looked_at = (0..40).filter(|number| {
        let from = Source::named(&format!("flat {number}"));
        guess(&guard, &from, ways[number % 4]).is_none()
    });
    assert_eq!(looked_at.count(), 11);
}
