//! What an attacker who counts the server's work would see: every refusal does the password hash.
//!
//! Argon2id takes its memory cost from the allocator, so the bytes that a login allocates show, without a clock, whether
//! a hash was done and at which parameters.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, missing_docs)]

#[path = "support/asked.rs"]
mod asked;
#[path = "support/heap.rs"]
mod heap;
#[path = "support/provider.rs"]
mod provider;

use countersign::accounts::{AccountFile, AccountStore, HashParameters, Imitation, LineError, PasswordCheck};
use countersign::files::{self, FileError, Missing, edit_accounts};
use countersign::{
    Accounts, Attempt, ChannelBinding, ClientConfig, Context, Credential, Grant, Moment, PrivateKey, Reason, Server,
    ServerConfig, ServerKey, StretchParameters, Stretching, Verifier, client, server,
};
use provider::provider;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What `work` gives, and the bytes that it allocates, in KiB.
fn kib<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let (result, bytes) = heap::allocated(work);
    (result, bytes / 1024)
}

/// One hash at this memory cost, and nothing else that would show.
fn is_one_hash(kib: usize, memory: usize) -> bool {
    (memory..memory + 256).contains(&kib)
}

fn accounts(memory: u32) -> Accounts {
    let argon2 = HashParameters::new(memory, 1, 1).unwrap();
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts.edit("alice", |account| account.set_password_with(b"correct horse", argon2)).unwrap();
    accounts.add("robot", [""; 0]).unwrap();
    accounts
}

fn password(user: &'static str, password: &'static str) -> Credential<'static> {
    Credential::Password { user, password: password.as_bytes() }
}

#[test]
fn an_unknown_user_costs_one_password_hash_at_the_parameters_of_a_stored_user() {
    for memory in [1024, 4096] {
        let accounts = accounts(memory);
        let memory = usize::try_from(memory).unwrap();
        let (known, cost) = kib(|| accounts.check(password("alice", "wrong")));
        assert_eq!(known, Err(Reason::WrongPassword));
        assert!(is_one_hash(cost, memory), "known user: {cost} KiB");
        let (unknown, cost) = kib(|| accounts.check(password("mallory", "wrong")));
        assert_eq!(unknown, Err(Reason::UnknownUser));
        assert!(is_one_hash(cost, memory), "unknown user: {cost} KiB");
        let (no_password, cost) = kib(|| accounts.check(password("robot", "wrong")));
        assert_eq!(no_password, Err(Reason::WrongPassword));
        assert!(is_one_hash(cost, memory), "user without a password: {cost} KiB");
    }
}

#[test]
fn an_unknown_user_costs_a_default_hash_where_no_password_is_stored() {
    // Memory of that size may be kept from a hash of another test: until one of another size is kept.
    let other = accounts(8193);
    let shows = (0..32).any(|_| {
        assert_eq!(other.check(password("alice", "wrong")), Err(Reason::WrongPassword));
        let (unknown, cost) = kib(|| Accounts::new().check(password("mallory", "wrong")));
        assert_eq!(unknown, Err(Reason::UnknownUser));
        is_one_hash(cost, DEFAULT)
    });
    assert!(shows);
}

#[test]
fn an_unknown_user_costs_one_password_hash_however_many_accounts_there_are() {
    let text = accounts(1024).to_string();
    let line = text.lines().next().unwrap();
    let text: String = (0..50_000).map(|n| line.replace("alice", &format!("user-{n}")) + "\n").collect();
    let (mut accounts, broken) = Accounts::parse(&text);
    assert!(broken.is_empty());
    accounts.remove("user-0").unwrap();
    let (unknown, cost) = kib(|| accounts.check(password("mallory", "wrong")));
    assert_eq!(unknown, Err(Reason::UnknownUser));
    assert!(is_one_hash(cost, 1024), "{cost} KiB");
}

/// An account file with two passwords, of 1 MiB and of 4 MiB.
fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    let text = accounts(1024).to_string() + &accounts(4096).to_string().replace("alice", "bob").replace("robot", "#");
    edit_accounts(&path, Missing::Make, |accounts| -> Result<(), FileError> {
        *accounts = Accounts::parse(&text).0;
        Ok(())
    })
    .unwrap();
    (folder, path)
}

/// The memory, in KiB, that each of some unknown names costs.
fn imitated(file: &Arc<AccountFile>) -> Vec<usize> {
    costs_of_strangers(file, &Reason::UnknownUser)
}

/// The same, where this is the reason.
fn costs_of_strangers(file: &Arc<AccountFile>, reason: &Reason) -> Vec<usize> {
    let names = (0..32).map(|n| format!("mallory-{n}"));
    names
        .map(|user| {
            let (verdict, cost) = kib(|| asked::check(file, Credential::Password { user: &user, password: b"wrong" }));
            assert_eq!(verdict.as_ref(), Err(reason));
            let memory = [1024, 2048, 4096].into_iter().find(|&memory| is_one_hash(cost, memory));
            // That of hashes at the defaults is kept from one to the next.
            memory.unwrap_or_else(|| {
                assert!(cost < 256 || is_one_hash(cost, DEFAULT), "{cost} KiB");
                DEFAULT
            })
        })
        .collect()
}

const DEFAULT: usize = 19_456;

fn change(path: &Path, change: impl Fn(&mut Accounts)) {
    edit_accounts(path, Missing::Fail, |accounts| -> Result<(), FileError> {
        change(accounts);
        Ok(())
    })
    .unwrap();
}

fn add_password(accounts: &mut Accounts, name: &str, memory: u32) {
    let argon2 = HashParameters::new(memory, 1, 1).unwrap();
    accounts.add(name, [""; 0]).unwrap();
    accounts.edit(name, |account| account.set_password_with(b"password", argon2)).unwrap();
}

#[test]
fn an_unknown_user_costs_the_same_hash_whoever_comes_and_goes() {
    let (_folder, path) = file();
    let file = Arc::new(AccountFile::open(&path).unwrap());
    let costs = || {
        file.refresh().unwrap();
        imitated(&file)
    };
    let before = costs();
    assert!([1024, 4096, DEFAULT].iter().all(|memory| before.contains(memory)), "all are imitated: {before:?}");
    change(&path, |accounts| accounts.add("carol", [""; 0]).unwrap());
    assert_eq!(costs(), before);
    change(&path, |accounts| {
        [("dave", 1024), ("eve", 4096), ("frank", 1024)]
            .iter()
            .for_each(|(name, memory)| add_password(accounts, name, *memory));
    });
    assert_eq!(costs(), before);
    change(&path, |accounts| ["alice", "bob", "frank"].into_iter().for_each(|name| accounts.remove(name).unwrap()));
    assert_eq!(costs(), before);
    // The last that costs that much, and an upgrade of all others.
    change(&path, |accounts| accounts.remove("eve").unwrap());
    assert_eq!(costs(), before);
    change(&path, |accounts| accounts.edit("dave", |account| account.set_password(b"password")).unwrap());
    assert_eq!(costs(), before);
    // After a restart, and on another server.
    assert_eq!(imitated(&Arc::new(AccountFile::open(&path).unwrap())), before);
    // A new cost changes that of the names which imitate it from now on, and of no other.
    change(&path, |accounts| add_password(accounts, "grace", 2048));
    let after = costs();
    assert!(after.contains(&2048));
    assert!(after.iter().zip(&before).all(|(after, before)| after == before || *after == 2048), "{before:?} {after:?}");
    assert_eq!(imitated(&Arc::new(AccountFile::open(&path).unwrap())), after);
}

#[test]
fn no_more_costs_are_imitated_than_an_unknown_user_s_login_can_bear() {
    let (_folder, path) = file();
    change(&path, |accounts| (0..40).for_each(|number| add_password(accounts, &format!("user{number}"), 8 + number)));
    let text = fs::read_to_string(&path).unwrap();
    let kept = text.lines().find(|line| line.starts_with("#imitate key=")).unwrap();
    assert_eq!(kept.split(' ').skip(2).count(), Imitation::MOST);
}

#[test]
fn a_damaged_line_of_what_is_imitated_is_reported_and_mended_by_the_next_change() {
    let (_folder, path) = file();
    let text = fs::read_to_string(&path).unwrap();
    let kept = text.lines().find(|line| line.starts_with("#imitate key=")).unwrap();
    for damaged in ["#imitate key=", "#imitate key=x $2", &kept[..kept.len() - 30], &kept.replace("key=", "key=AAAA")] {
        fs::write(&path, text.replace(kept, damaged)).unwrap();
        let broken = AccountFile::open(&path).unwrap().broken_lines();
        assert_eq!(broken.iter().map(|line| line.error).collect::<Vec<_>>(), [LineError::Imitation], "{damaged}");
        change(&path, |accounts| accounts.add("carol", [""; 0]).unwrap());
        assert_eq!(*AccountFile::open(&path).unwrap().broken_lines(), [], "{damaged}");
    }
}

#[test]
fn a_login_costs_its_password_hash_while_the_account_file_can_t_be_read() {
    let (_folder, path) = file();
    let file = Arc::new(AccountFile::open(&path).unwrap());
    fs::remove_file(&path).unwrap();
    // Of one of those that are stored, whoever it is.
    for user in ["alice", "bob", "mallory"] {
        for secret in ["correct horse", "wrong"] {
            let (verdict, cost) = kib(|| asked::check(&file, password(user, secret)));
            assert_eq!(verdict, Err(Reason::NotNow("the account file can't be read")));
            let is_default = cost < 256 || is_one_hash(cost, DEFAULT);
            assert!(is_default || [1024, 4096].iter().any(|&memory| is_one_hash(cost, memory)), "{user}: {cost} KiB");
        }
    }
    // What is kept from one hash at the defaults to the next looks like no hash at all: so those that are no defaults have to show.
    let costs = costs_of_strangers(&file, &Reason::NotNow("the account file can't be read"));
    assert!([1024, 4096].iter().all(|memory| costs.contains(memory)), "{costs:?}");
    // A stretched password, too, while accounts move.
    let moving = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap().with_moving();
    let imitation = asked::block_on(file.imitation());
    for memory in [1024, 4096] {
        let costs_it = |user: &String| imitation.cost_of(user).contains(&format!("$m={memory},"));
        let user = (0..).map(|number| format!("mallory-{number}")).find(costs_it).unwrap();
        let shown = moving.stretch(&user, b"wrong").unwrap();
        let (verdict, cost) = kib(|| asked::check(&file, Credential::Stretched { user: &user, password: &shown }));
        assert_eq!(verdict, Err(Reason::NotNow("the account file can't be read")));
        assert!(is_one_hash(cost, memory), "{user}: {cost} KiB");
    }
}

/// Where nothing has written down which costs there are, and by which key they are chosen, the process keeps to what it has seen first.
#[test]
fn an_unknown_user_costs_the_same_where_a_file_that_no_edit_has_touched_is_changed_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    let text = accounts(1024).to_string() + &accounts(4096).to_string().replace("alice", "bob").replace("robot", "#");
    let write = |text: &str| {
        fs::write(&path, text).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write(&text);
    let file = AccountFile::open(&path).unwrap();
    let costs = || {
        let imitation = asked::block_on(file.imitation());
        (0..64).map(|number| imitation.cost_of(&format!("mallory-{number}"))).collect::<Vec<_>>()
    };
    let before = costs();
    assert!(before.iter().any(|cost| *cost != before[0]), "{}", before[0]);
    write(&(text + "carol\n"));
    file.refresh().unwrap();
    assert_eq!((file.accounts().iter().count(), costs() == before), (4, true));
}

/// Here for the sake of the counting: a copy of a private key in freed memory outlives the key.
#[test]
fn a_key_file_is_read_into_one_buffer_that_never_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    // The key in a text so long that a second copy of it would show.
    let text = "# comment\n".repeat(10_000) + include_str!("keys/rsa2048.pem");
    fs::write(&path, &text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (key, cost) = kib(|| files::read_private_key(&path).unwrap());
    assert_eq!(key.public_key().bits(), 2048);
    let once = text.len() / 1024;
    assert!((once..once + 32).contains(&cost), "{cost} KiB for {once}");
}

/// What is sealed in a hello is opened.
fn opened(hello: server::Hello, rng: &mut StdRng) -> server::Hello {
    match hello.open(rng) {
        Ok(open) => open.run(rng),
        Err(hello) => *hello,
    }
}

/// One login up to its verdict; gives the reason for a refusal and what opening, verifying and answering allocated: once for a
/// client that has pinned the key, and once for one that has it whole.
fn login(
    accounts: &Accounts,
    known: bool,
    credential: Credential<'_>,
    alter: fn(&mut Vec<u8>),
) -> (Option<Reason>, usize) {
    let (provider, binding, now) = (provider(), ChannelBinding::none(), Moment::ORIGIN);
    let key = PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap();
    let pinned = Server::pinned(key.public_key().id());
    let trust = if known { Server::key(key.public_key().clone()) } else { pinned };
    let key = ServerKey::load(&key, provider).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let config = Arc::new(ClientConfig::new(provider));
    let (hello, client) = client::start(&config, &trust, &binding, &mut rng, now).unwrap();
    let server = server::AwaitHello::new(&Arc::new(ServerConfig::new(provider)), &binding, now);
    let hello = opened(server.read(hello, now).unwrap().choose(&key).unwrap(), &mut rng);
    let (challenge, server) = hello.challenge(&mut rng).unwrap();
    let trusted = client.read(&challenge, now).unwrap().trust(&trust, countersign::UnixTime::default()).unwrap();
    let (mut frame, _) = trusted.login(credential, &mut rng).unwrap();
    alter(&mut frame);
    kib(|| {
        let claim = server.read(frame, now).unwrap().admit().open(&mut rng);
        match accounts.check(claim.credential()) {
            Ok(grant) => claim.accept(grant).err().map(|refusal| refusal.reason),
            Err(reason) => Some(claim.reject(reason).reason),
        }
    })
}

/// A name, what is sent, how it is altered on the way, and the reason for the refusal.
type Class = (&'static str, Credential<'static>, fn(&mut Vec<u8>), Option<Reason>);

#[test]
fn a_login_that_does_not_open_costs_the_password_hash_of_one_that_does() {
    let accounts = accounts(4096);
    let alice = password("alice", "correct horse");
    let classes: [Class; 5] = [
        ("accept", alice, |_| {}, None),
        ("wrong password", password("alice", "wrong"), |_| {}, Some(Reason::WrongPassword)),
        ("unknown user", password("mallory", "wrong"), |_| {}, Some(Reason::UnknownUser)),
        ("RSA ciphertext altered", alice, |frame| frame[100] ^= 1, Some(Reason::NotOpened)),
        ("credential altered", alice, |frame| *frame.last_mut().unwrap() ^= 1, Some(Reason::NotOpened)),
    ];
    for known in [false, true] {
        let costs = classes.clone().map(|(class, credential, alter, expected)| {
            let (reason, cost) = login(&accounts, known, credential, alter);
            assert_eq!(reason, expected, "{class}");
            (class, cost)
        });
        let (least, most) = (costs.iter().map(|c| c.1).min().unwrap(), costs.iter().map(|c| c.1).max().unwrap());
        assert!(least >= 4096 && most - least <= 8, "{costs:?} KiB");
    }
}

#[test]
fn a_verifier_that_accepts_everything_still_does_not_accept_a_login_that_did_not_open() {
    let anyone = |_: &Attempt<'_>| Ok(Grant::new("anyone", [""; 0]).unwrap());
    let (provider, binding, now) = (provider(), ChannelBinding::none(), Moment::ORIGIN);
    let key = PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap();
    let trusts = [Server::pinned(key.public_key().id()), Server::key(key.public_key().clone())];
    let key = ServerKey::load(&key, provider).unwrap();
    let mut rng = StdRng::seed_from_u64(2);
    let config = Arc::new(ClientConfig::new(provider));
    for trust in trusts {
        let (hello, client) = client::start(&config, &trust, &binding, &mut rng, now).unwrap();
        let server = server::AwaitHello::new(&Arc::new(ServerConfig::new(provider)), &binding, now);
        let hello = opened(server.read(hello, now).unwrap().choose(&key).unwrap(), &mut rng);
        let (challenge, server) = hello.challenge(&mut rng).unwrap();
        let trusted = client.read(&challenge, now).unwrap().trust(&trust, countersign::UnixTime::default()).unwrap();
        let (mut frame, _) = trusted.login(Credential::Token(b"token"), &mut rng).unwrap();
        frame[100] ^= 1;
        let claim = server.read(frame, now).unwrap().admit().open(&mut rng);
        let grant = anyone.verify(&Attempt::new(claim.credential(), &Context::uncounted())).unwrap();
        assert_eq!(claim.accept(grant).unwrap_err().reason, Reason::NotOpened);
    }
}

/// alice has moved to the stretched form, bob has not, and robot has no password.
fn moving_accounts(stretching: &Stretching) -> Accounts {
    let text = accounts(4096).to_string().replace("alice", "bob");
    let (mut accounts, broken) = Accounts::parse(&text);
    assert!(broken.is_empty());
    accounts.add("alice", ["read"]).unwrap();
    accounts
        .edit("alice", |account| {
            account.set_stretched(&stretching.stretch("alice", b"correct horse").unwrap().newest());
            Ok(())
        })
        .unwrap();
    accounts
}

/// A user, a password, and whether it is good, without moving and while accounts move.
const SHOWN: [(&str, &str, [bool; 2]); 6] = [
    ("alice", "correct horse", [true, true]),
    ("alice", "wrong", [false, false]),
    ("bob", "correct horse", [false, true]),
    ("bob", "wrong", [false, false]),
    ("robot", "wrong", [false, false]),
    ("mallory", "wrong", [false, false]),
];

#[test]
fn a_stretched_password_costs_no_hash_and_one_for_everybody_alike_while_accounts_move() {
    let once = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap();
    let accounts = moving_accounts(&once);
    for (stretching, moving) in [(once.clone(), false), (once.with_moving(), true)] {
        for (user, password, is_good) in SHOWN {
            let shown = stretching.stretch(user, password.as_bytes()).unwrap();
            let credential = Credential::Stretched { user, password: &shown };
            let (verdict, cost) = kib(|| accounts.check(credential));
            assert_eq!(verdict.is_ok(), is_good[usize::from(moving)], "{user}: {verdict:?}");
            let expected = if moving { is_one_hash(cost, 4096) } else { cost == 0 };
            assert!(expected, "{user}, moving {moving}: {cost} KiB");
        }
        // The same for a store of one's own.
        let hash = PasswordCheck::hash_with(b"correct horse", HashParameters::new(4096, 1, 1).unwrap()).unwrap();
        let passwords = PasswordCheck::imitating([&hash]).unwrap();
        let shown = stretching.stretch("alice", b"correct horse").unwrap();
        let stored = shown.newest();
        // What an account has moved from may have cost something else.
        let before = PasswordCheck::hash_with(b"correct horse", HashParameters::new(1024, 1, 1).unwrap()).unwrap();
        for (stretched, hash, is_good) in [
            (Some(&stored), None, [true, true]),
            (Some(&stored), Some(before.as_str()), [true, true]),
            (None, Some(hash.as_str()), [false, true]),
            (None, None, [false, false]),
        ] {
            let (verdict, cost) = kib(|| passwords.verify_stretched("alice", &shown, stretched, hash));
            assert_eq!(verdict.is_ok(), is_good[usize::from(moving)], "{verdict:?}");
            assert!(if moving { is_one_hash(cost, 4096) } else { cost == 0 }, "moving {moving}: {cost} KiB");
        }
    }
}

#[test]
fn while_accounts_move_who_sends_no_password_costs_a_hash_and_is_let_in_by_none() {
    let of = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap();
    let mut accounts = moving_accounts(&of);
    // A file may hold the hash of nothing.
    let params = argon2::Params::new(4096, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let nothing = argon2::PasswordHasher::hash_password(&argon2, b"").unwrap().to_string();
    accounts.add("eve", [""; 0]).unwrap();
    accounts.edit("eve", |account| account.set_password_hash(&nothing)).unwrap();
    // What arrives where the client keeps the password to itself.
    let (provider, binding, now) = (provider(), ChannelBinding::none(), Moment::ORIGIN);
    let key = PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap();
    let trust = Server::key(key.public_key().clone()).with_stretched_only();
    let key = ServerKey::load(&key, provider).unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    let config = Arc::new(ClientConfig::new(provider));
    let served = Arc::new(ServerConfig::new(provider).with_stretching(of.with_moving()).unwrap());
    for (user, is_good) in [("alice", true), ("bob", false), ("eve", false), ("mallory", false)] {
        let (hello, client) = client::start(&config, &trust, &binding, &mut rng, now).unwrap();
        let server = server::AwaitHello::new(&served, &binding, now);
        let hello = opened(server.read(hello, now).unwrap().choose(&key).unwrap(), &mut rng);
        let (challenge, server) = hello.challenge(&mut rng).unwrap();
        let trusted = client.read(&challenge, now).unwrap().trust(&trust, countersign::UnixTime::default()).unwrap();
        let (frame, _) = trusted.login(password(user, "correct horse"), &mut rng).unwrap();
        let claim = server.read(frame, now).unwrap().admit().open(&mut rng);
        let (verdict, cost) = kib(|| accounts.check(claim.credential()));
        assert_eq!(verdict.is_ok(), is_good, "{user}: {verdict:?}");
        assert!(is_one_hash(cost, 4096), "{user}: {cost} KiB");
    }
}

#[test]
fn every_login_by_stretched_password_has_the_same_bytes_and_a_junk_one_costs_no_hash() {
    let once = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap();
    let accounts = moving_accounts(&once);
    let (provider, binding, now) = (provider(), ChannelBinding::none(), Moment::ORIGIN);
    let key = PrivateKey::from_pem(include_str!("keys/rsa2048.pem")).unwrap();
    let trust = Server::pinned(key.public_key().id());
    let key = ServerKey::load(&key, provider).unwrap();
    let mut rng = StdRng::seed_from_u64(4);
    let config = Arc::new(ClientConfig::new(provider));
    for (stretching, moving) in [(once.clone(), false), (once.with_moving(), true)] {
        let served = Arc::new(ServerConfig::new(provider).with_stretching(stretching).unwrap());
        let mut sizes = Vec::new();
        for (user, secret, _) in SHOWN {
            for junk in [false, true] {
                let (hello, client) = client::start(&config, &trust, &binding, &mut rng, now).unwrap();
                let hello = server::AwaitHello::new(&served, &binding, now).read(hello, now).unwrap();
                let (challenge, server) = hello.choose(&key).unwrap().challenge(&mut rng).unwrap();
                let today = countersign::UnixTime::default();
                let trusted = client.read(&challenge, now).unwrap().trust(&trust, today).unwrap();
                let (mut frame, _) = trusted.login(password(user, secret), &mut rng).unwrap();
                // Every eighth hello has a reserved extension.
                sizes.push((frame.len(), VERDICT));
                frame[100] ^= u8::from(junk);
                let claim = server.read(frame, now).unwrap().admit().open(&mut rng);
                let (verdict, cost) = kib(|| accounts.check(claim.credential()));
                let answer = match verdict {
                    Ok(grant) => claim.accept(grant).map_or_else(|refusal| refusal.frame, |accepted| accepted.frame),
                    Err(reason) => claim.reject(reason).frame,
                };
                assert_eq!(answer.len(), VERDICT);
                assert!(if moving { is_one_hash(cost, 4096) } else { cost == 0 }, "{user}, junk {junk}: {cost} KiB");
            }
        }
        sizes.dedup();
        assert_eq!(sizes.len(), 1, "{sizes:?}");
    }
}

/// A verdict's frame.
const VERDICT: usize = 3 + 2064;
