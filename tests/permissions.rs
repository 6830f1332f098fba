//! What a permission covers (PROTOCOL.md, "Permissions"), as a table and as properties.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::{Forbidden, Grant, Misuse};
use proptest::prelude::*;
use std::io;

fn grant(permissions: &[&str]) -> Grant {
    Grant::new("alice", permissions).unwrap()
}

/// What is held, what it covers, and what it does not.
const TABLE: [(&[&str], &[&str], &[&str]); 9] = [
    (&[], &[], &["read", "", "*"]),
    (&["read"], &["read"], &["Read", "READ", "rea", "reads", "read:", "read:all", " read", "read ", "r"]),
    (
        &["orders:*"],
        &["orders:read", "orders:write", "orders:eu:read", "orders::"],
        &["orders", "orders:", "Orders:read", "order:read", "orderss:read", "read", "orders/read"],
    ),
    (&["orders:eu:*"], &["orders:eu:read"], &["orders:read", "orders:us:read", "orders:eu"]),
    (&["orders:read", "reports:*"], &["orders:read", "reports:x"], &["orders:write", "orders:read:all"]),
    (&["*"], &["read", "orders:read", "a:b:c", ":", "x"], &[]),
    (&[":*"], &[":read"], &["read", ":", "a:read"]),
    (&["a.b"], &["a.b"], &["axb", "a", "a.", "a.b.c"]),
    (&["orders:?", "[a-z]"], &["orders:?", "[a-z]"], &["orders:x", "a"]),
];

#[test]
fn p2_a_permission_covers_what_the_table_says_and_nothing_else() {
    for (held, covered, not) in TABLE {
        let grant = grant(held);
        for asked in covered {
            assert!(grant.permits(asked), "{held:?} {asked}");
            assert_eq!(grant.require(asked), Ok(()));
        }
        for asked in not {
            assert!(!grant.permits(asked), "{held:?} {asked:?}");
            let Forbidden { permission, has_ended, .. } = grant.require(asked).unwrap_err();
            assert_eq!((permission.as_str(), has_ended), (*asked, false));
        }
    }
}

#[test]
fn p1_a_wildcard_and_what_is_no_permission_are_never_permitted() {
    let long = "x".repeat(65);
    let asked =
        ["*", "orders:*", "*:read", "or*", "**", "orders:*:read", "", "a,b", ",", "a b", "read\0", "l\u{e9}sen", &long];
    for held in [&["*"][..], &["orders:*"], &["*", "orders:*"]] {
        for asked in asked {
            assert!(!grant(held).permits(asked), "{held:?} {asked:?}");
        }
    }
    assert!(grant(&["*"]).permits(&"x".repeat(64)));
}

#[test]
fn a_wildcard_stands_at_the_end_and_for_whole_parts_alone() {
    for good in ["*", "orders:*", "orders:eu:*", ":*"] {
        assert!(Grant::new("alice", [good]).is_ok(), "{good}");
    }
    for bad in ["**", "or*", "*rs", "*:read", "orders:*:read", "orders:**", "orders.*", "*:*", "orders:* "] {
        assert_eq!(Grant::new("alice", [bad]), Err(Misuse::BadInput("a permission")), "{bad}");
    }
    // One that another covers is no duplicate: who takes the other away means to leave it.
    assert!(Grant::new("alice", ["orders:*", "orders:read"]).is_ok());
    assert_eq!(Grant::new("alice", ["orders:*", "orders:*"]), Err(Misuse::Duplicate("the permissions")));
}

#[test]
fn a_refusal_names_what_is_missing_and_can_be_shown() {
    let forbidden = grant(&["orders:read"]).require("orders:write").unwrap_err();
    assert_eq!(forbidden.permission, "orders:write");
    assert_eq!(forbidden.to_string(), "you need the permission orders:write for this");
    let error = io::Error::from(forbidden.clone());
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(error.to_string(), forbidden.to_string());
    assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&forbidden));
}

#[test]
fn a_grant_is_narrowed_to_what_both_cover() {
    let wide = grant(&["orders:*", "reports:read"]).with_epoch(7).with_credential_epoch(3);
    for (to, left) in [
        (&["orders:read"][..], &["orders:read"][..]),
        (&["*"], &["orders:*", "reports:read"]),
        (&["reports:*", "orders:eu:*"], &["reports:read", "orders:eu:*"]),
        (&["orders", "users:read"], &[]),
        (&["orders:read", "orders:*"], &["orders:read", "orders:*"]),
        (&[], &[]),
    ] {
        let narrowed = wide.narrowed_to(to).unwrap();
        assert_eq!(narrowed.permissions().collect::<Vec<_>>(), left, "{to:?}");
        assert_eq!((narrowed.principal(), narrowed.epoch(), narrowed.credential_epoch()), ("alice", Some(7), Some(3)));
    }
    assert_eq!(wide.narrowed_to(["or*"]), Err(Misuse::BadInput("a permission")));
}

fn permission() -> impl Strategy<Value = String> {
    let parts = prop::collection::vec("[ab]{0,2}", 1..4).prop_map(|parts| parts.join(":"));
    (parts, any::<bool>()).prop_map(|(parts, is_wide)| if is_wide { format!("{parts}:*") } else { parts })
}

fn permissions() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(permission().prop_filter("not empty", |word| !word.is_empty()), 0..5)
        .prop_map(|words| words.into_iter().collect())
}

/// The rule once more, by parts in the place of bytes.
fn by_parts(held: &str, asked: &str) -> bool {
    let (held, asked): (Vec<_>, Vec<_>) = (held.split(':').collect(), asked.split(':').collect());
    match held.split_last() {
        Some((&"*", front)) => asked.len() > front.len() && asked.starts_with(front) && asked[front.len()..] != [""],
        _ => held == asked,
    }
}

proptest! {
    #[test]
    fn permissions_cover_what_a_second_reading_of_the_rule_says(held in permissions(), asked in "[ab:]{1,7}") {
        let grant = Grant::new("alice", &held).unwrap();
        prop_assert_eq!(grant.permits(&asked), held.iter().any(|held| by_parts(held, &asked)));
    }

    #[test]
    fn a_narrowed_grant_permits_what_both_permit(held in permissions(), to in permissions(), asked in "[ab:]{1,7}") {
        let (grant, limit) = (Grant::new("alice", &held).unwrap(), Grant::new("alice", &to).unwrap());
        let narrowed = grant.narrowed_to(&to).unwrap();
        prop_assert_eq!(narrowed.permits(&asked), grant.permits(&asked) && limit.permits(&asked));
    }

    #[test]
    fn no_question_is_answered_by_a_panic(asked in ".{0,80}", held in ".{0,80}") {
        prop_assert!(!asked.contains('*') || !grant(&["*"]).permits(&asked));
        let _ = Grant::new("alice", [held]);
    }
}
