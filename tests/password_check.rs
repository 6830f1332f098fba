//! A password check for a store of one's own: whatever the store says, it does the work of one hash.
//!
//! Counted as in tests/enumeration.rs: Argon2id takes its memory cost from the allocator.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, missing_docs)]
#![cfg(feature = "accounts")]

#[path = "support/heap.rs"]
mod heap;

use countersign::accounts::{AccountError, HashParameters, LineError, PasswordCheck};
use countersign::{Reason, limits};

/// What `work` gives, and the bytes that it allocates, in KiB.
fn kib<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let (result, bytes) = heap::allocated(work);
    (result, bytes / 1024)
}

/// One hash at this memory cost, and nothing else that would show.
fn is_one_hash(kib: usize, memory: usize) -> bool {
    (memory..memory + 256).contains(&kib)
}

/// A hash of `correct horse` at this memory cost, as it stands in the store.
fn stored(memory: u32) -> String {
    let argon2 = HashParameters::new(memory, 1, 1).unwrap();
    PasswordCheck::hash_with(b"correct horse", argon2).unwrap()
}

#[test]
fn a_password_check_costs_the_same_whatever_the_store_says() {
    let hash = stored(1024);
    let passwords = PasswordCheck::imitating([&hash]).unwrap();
    let unreadable = [
        "",
        "correct horse",
        "$2x$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
        hash.strip_suffix(hash.rsplit('$').next().unwrap()).unwrap(),
        &hash.replace("argon2id", "argon2x"),
        // Four times the memory that any stored hash may ask for: it is not even tried.
        &hash.replace("m=1024", "m=4194304"),
    ]
    .map(str::to_owned);
    // Like any other no, which counts as a guess, to whatever is shown: *not now* would be said of names alone that there are, and cost nothing.
    let refused = Err(Reason::Application("a stored password hash can't be read"));
    assert!(refused.as_ref().is_err_and(|reason: &Reason| reason.is_failure() && !reason.is_not_now()));
    let mut cases = vec![
        ("alice", "correct horse", Some(hash.clone()), Ok(())),
        ("alice", "wrong", Some(hash.clone()), Err(Reason::WrongPassword)),
        ("mallory", "wrong", None, Err(Reason::UnknownUser)),
        ("mallory", "correct horse", None, Err(Reason::UnknownUser)),
    ];
    for phc in unreadable {
        cases.push(("alice", "correct horse", Some(phc.clone()), refused.clone()));
        cases.push(("alice", "wrong", Some(phc), refused.clone()));
    }
    let mut costs = Vec::new();
    for (user, secret, stored, expected) in cases {
        let (verdict, cost) = kib(|| passwords.verify(user, secret.as_bytes(), stored.as_deref()));
        assert_eq!(verdict, expected, "{user}, {stored:?}");
        assert!(is_one_hash(cost, 1024), "{user}, {stored:?}: {cost} KiB");
        let prepared = passwords.prepare(user, secret.as_bytes(), stored.clone());
        let (verdict, later) = kib(|| prepared.run());
        assert_eq!((verdict, later), (expected, cost), "{user}, {stored:?}, done elsewhere");
        costs.push(cost);
    }
    let (least, most) = (costs.iter().min().unwrap(), costs.iter().max().unwrap());
    assert!(most - least <= 1, "{costs:?} KiB");
}

#[test]
fn a_password_check_imitates_the_hashes_of_its_store_and_always_the_same_for_a_name() {
    let hashes = [stored(1024), stored(4096)];
    let passwords = PasswordCheck::imitating(&hashes).unwrap();
    let costs = || -> Vec<bool> {
        let names = (0..64).map(|n| format!("mallory-{n}"));
        names
            .map(|user| {
                let (verdict, cost) = kib(|| passwords.verify(&user, b"wrong", None));
                assert_eq!(verdict, Err(Reason::UnknownUser));
                assert!(is_one_hash(cost, 1024) || is_one_hash(cost, 4096), "{cost} KiB");
                cost >= 4096
            })
            .collect()
    };
    let before = costs();
    assert!(before.contains(&true) && before.contains(&false), "both are imitated");
    assert_eq!(costs(), before);
    // A name whose stored hash can't be read costs what it would cost if there were none.
    for (n, large) in before.iter().enumerate() {
        let (_, cost) = kib(|| passwords.verify(&format!("mallory-{n}"), b"wrong", Some("unreadable")));
        assert!(is_one_hash(cost, if *large { 4096 } else { 1024 }), "{cost} KiB");
    }
    // A user who is there costs their own hash, whichever that is.
    for (hash, memory) in hashes.iter().zip([1024, 4096]) {
        let (verdict, cost) = kib(|| passwords.verify("alice", b"wrong", Some(hash)));
        assert_eq!(verdict, Err(Reason::WrongPassword));
        assert!(is_one_hash(cost, memory), "{cost} KiB");
    }
}

#[test]
fn a_password_check_with_a_key_imitates_the_same_in_every_process() {
    let hashes = [stored(1024), stored(4096)];
    let costs = |passwords: &PasswordCheck| -> Vec<bool> {
        let names = (0..32).map(|n| format!("mallory-{n}"));
        names.map(|user| kib(|| passwords.verify(&user, b"wrong", None)).1 >= 4096).collect()
    };
    let of = |key: u8| PasswordCheck::imitating(&hashes).unwrap().with_key(&[key; 32]);
    assert_eq!(costs(&of(1)), costs(&of(1)));
    assert_ne!(costs(&of(1)), costs(&of(2)));
    let one = of(1);
    let other_order = PasswordCheck::imitating(hashes.iter().rev()).unwrap().with_key(&[1; 32]);
    assert_eq!(costs(&one), costs(&other_order));
}

#[test]
fn a_password_check_without_a_store_to_imitate_costs_a_default_hash() {
    let memory = usize::try_from(HashParameters::default().memory()).unwrap();
    // The first of this size, and the only one that shows: it leaves its memory for the next.
    let (verdict, cost) = kib(|| PasswordCheck::new().verify("mallory", b"wrong", None));
    assert_eq!(verdict, Err(Reason::UnknownUser));
    assert!(is_one_hash(cost, memory), "{cost} KiB");
    let fresh = PasswordCheck::hash(b"correct horse").unwrap();
    assert!(fresh.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{fresh}");
    assert_ne!(fresh, PasswordCheck::hash(b"correct horse").unwrap(), "a salt of its own");
    assert_eq!(PasswordCheck::default().verify("alice", b"correct horse", Some(&fresh)), Ok(()));
}

#[test]
fn a_password_check_takes_no_hash_to_imitate_that_it_can_t_compute() {
    let good = stored(1024);
    let bad = "$apr1$salt$hash".to_owned();
    assert_eq!(PasswordCheck::imitating([""; 0]).map(drop), Err(LineError::Password), "there must be one");
    assert_eq!(PasswordCheck::imitating([&good, &bad]).map(drop), Err(LineError::OtherHash("Apache MD5")));
    assert_eq!(PasswordCheck::hash(b""), Err(AccountError::BadPassword));
    let long = vec![b'x'; limits::MAX_SECRET + 1];
    assert_eq!(PasswordCheck::hash(&long), Err(AccountError::BadPassword));
    assert_eq!(format!("{:?}", PasswordCheck::new()), "PasswordCheck { .. }");
    let prepared = PasswordCheck::new().prepare("alice", b"nobody may see", Some(good));
    assert_eq!(format!("{prepared:?}"), "PreparedCheck { .. }");
}
