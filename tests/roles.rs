//! Roles of accounts, and the networks that accounts are bound to.

#![cfg(feature = "accounts")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

use countersign::accounts::{Account, AccountError, Accounts, HashParameters, LineError, Role, TotpSecret};
use countersign::{
    AuthorizedKey, Credential, CredentialKind, Reason, SigningKey, StretchParameters, Stretching, UnixTime, limits,
};
use std::net::{IpAddr, Ipv4Addr};

const TOKEN: &[u8] = b"a token";

/// Alice and bob are clerks, alice may read reports besides; carol is nothing.
const FILE: &str = "\
# who may do what
@clerk permissions=orders:*
alice roles=clerk permissions=reports:read token=SHA256:4zFuK6/rthA6NBjod4wK3JYNQCE6A6fn9PzTQm7YB78
bob roles=clerk
@auditor permissions=reports:read,reports:sign
carol permissions=reports:read
";

fn parsed(text: &str) -> Accounts {
    let (accounts, broken) = Accounts::parse(text);
    assert_eq!(broken, []);
    accounts
}

fn permissions(accounts: &Accounts, name: &str) -> Vec<String> {
    accounts.get(name).unwrap().granted().unwrap().permissions().map(str::to_owned).collect()
}

fn epochs(accounts: &Accounts) -> [u64; 3] {
    ["alice", "bob", "carol"].map(|name| accounts.get(name).unwrap().epoch())
}

#[test]
fn an_account_has_the_permissions_of_its_roles_beside_its_own() {
    let mut accounts = parsed(FILE);
    assert_eq!(permissions(&accounts, "alice"), ["reports:read", "orders:*"]);
    assert_eq!(permissions(&accounts, "bob"), ["orders:*"]);
    accounts.edit("bob", |account| account.add_role("auditor")).unwrap();
    assert_eq!(permissions(&accounts, "bob"), ["orders:*", "reports:read", "reports:sign"]);
    // One that comes in several ways is one.
    accounts.edit("alice", |account| account.add_role("auditor")).unwrap();
    assert_eq!(permissions(&accounts, "alice"), ["reports:read", "orders:*", "reports:sign"]);
    assert!(!accounts.edit("alice", |account| account.add_role("auditor")).unwrap());
    assert!(accounts.edit("alice", |account| Ok(account.remove_role("clerk"))).unwrap());
    assert_eq!(permissions(&accounts, "alice"), ["reports:read", "reports:sign"]);
    // What is granted at a login, too.
    let account = accounts.get("alice").unwrap();
    let token = account.clone();
    let text = accounts.to_string();
    assert!(text.contains("\nbob roles=clerk,auditor\n") && text.contains("\n@clerk permissions=orders:*\n"), "{text}");
    assert_eq!(parsed(&text).to_string(), text);
    assert!(token.granted().unwrap().permits("reports:sign"));
}

#[test]
fn an_account_has_so_many_roles_and_no_more() {
    let names: Vec<String> = (0..=limits::MAX_ROLES).map(|number| format!("r{number}")).collect();
    let roles: String = names.iter().map(|name| format!("@{name}\n")).collect();
    let (most, more) = (names[1..].join(","), names.join(","));
    let (mut accounts, broken) = Accounts::parse(format!("{roles}alice roles={most}\nbob roles={more}\n"));
    let errors: Vec<_> = broken.iter().map(|line| line.error).collect();
    assert_eq!((errors, names.len()), (vec![LineError::Roles], 33));
    let add = |accounts: &mut Accounts| accounts.edit("alice", |account| account.add_role("r0"));
    assert_eq!(add(&mut accounts), Err(AccountError::TooManyRoles("alice".to_owned())));
    assert!(accounts.edit("alice", |account| Ok(account.remove_role("r1"))).unwrap());
    assert_eq!(add(&mut accounts), Ok(true));
}

#[test]
fn a_file_is_kept_to_the_byte_roles_and_all() {
    for text in [FILE, "@a\n", "  @b   permissions=x\t\nx  roles=b\n", "@c permissions=x\n\n# @d\n"] {
        assert_eq!(parsed(text).to_string(), text);
    }
    let mut accounts = parsed(FILE);
    accounts.edit("carol", |account| Ok(account.lock())).unwrap();
    assert_eq!(accounts.to_string(), FILE.replace("carol", "carol locked=yes locks=1"));
    accounts.add_role("manager", ["*"]).unwrap();
    assert!(accounts.to_string().contains("@clerk permissions=orders:*\n@manager permissions=*\nalice"));
}

#[test]
fn a_change_of_a_role_is_one_of_its_accounts_and_of_no_other() {
    let mut accounts = parsed(FILE);
    let [alice, bob, carol] = epochs(&accounts);
    assert!(accounts.add_role_permission("clerk", "reports:read").unwrap());
    assert!(!accounts.add_role_permission("clerk", "reports:read").unwrap());
    let after = epochs(&accounts);
    assert!(after[0] != alice && after[1] != bob && after[2] == carol);
    assert!(accounts.remove_role_permission("clerk", "reports:read").unwrap());
    // And no epoch comes back.
    let last = epochs(&accounts);
    assert!(last[0] != alice && last[0] != after[0] && last[1] != bob && last[2] == carol);
    assert_eq!(permissions(&accounts, "bob"), ["orders:*"]);
    // What is covered and what is had are two things: neither is lost by the other.
    assert!(accounts.add_role_permission("clerk", "orders:read").unwrap());
    assert!(accounts.remove_role_permission("clerk", "orders:*").unwrap());
    assert_eq!(permissions(&accounts, "bob"), ["orders:read"]);
}

#[test]
fn a_role_that_there_is_not_is_refused_and_never_nothing() {
    let (accounts, broken) =
        Accounts::parse("@clerk permissions=read\nalice roles=clrk\nbob roles=clerk\nalice permissions=x\n");
    let errors: Vec<_> = broken.iter().map(|line| (line.number, line.error)).collect();
    // Its name stays taken.
    assert_eq!(errors, [(2, LineError::UnknownRole), (4, LineError::DuplicateName { first: 2 })]);
    assert!(accounts.get("alice").is_none() && accounts.get("bob").is_some());
    assert!(accounts.to_string().contains("\nalice roles=clrk\n"), "it is kept");
    assert_eq!(accounts.current("alice", CredentialKind::Token), Err(Reason::UnknownUser));

    let mut accounts = parsed(FILE);
    let unknown = AccountError::UnknownRole("clrk".to_owned());
    assert_eq!(accounts.edit("carol", |account| account.add_role("clrk")), Err(unknown.clone()));
    let mut dave = Account::new("dave", ["read"]).unwrap();
    dave.add_role("clrk").unwrap();
    assert_eq!(accounts.insert(&dave), Err(unknown.clone()));
    // Of a store that forgot to find them.
    assert_eq!(dave.granted(), Err(unknown.clone()));
    assert_eq!(dave.clone().with_roles([Role::new("clerk", ["x"]).unwrap()]).map(drop), Err(unknown));
    let found = dave.with_roles([Role::new("clrk", ["x"]).unwrap()]).unwrap();
    assert!(found.granted().unwrap().permits("x"));
    assert_eq!(accounts.remove_role("clrk"), Err(AccountError::UnknownRole("clrk".to_owned())));
    let in_use = AccountError::RoleInUse { role: "clerk".to_owned(), user: "alice".to_owned() };
    assert_eq!(accounts.remove_role("clerk"), Err(in_use));
    accounts.remove_role("auditor").unwrap();
    assert_eq!(accounts.to_string(), FILE.replace("@auditor permissions=reports:read,reports:sign\n", ""));
}

#[test]
fn broken_roles_are_named_and_lock_out_those_who_have_them() {
    let many: Vec<String> = (0..32).map(|number| format!("p{number}")).collect();
    let many = many.join(",");
    for (role, error) in [
        ("@", LineError::RoleName),
        ("@cl/erk permissions=read", LineError::RoleName),
        ("@clerk perms=read", LineError::RoleField),
        ("@clerk permissions=read password=x", LineError::RoleField),
        ("@clerk read", LineError::RoleField),
        ("@clerk permissions=or*", LineError::Permissions),
        ("@clerk permissions=a,a", LineError::Permissions),
    ] {
        let (accounts, broken) = Accounts::parse(format!("{role}\nalice roles=clerk\nbob permissions=read\n"));
        let errors: Vec<_> = broken.iter().map(|line| (line.number, line.error)).collect();
        assert_eq!(errors, [(1, error), (2, LineError::UnknownRole)], "{role}");
        assert!(accounts.get("bob").is_some());
    }
    // A second line of a role does not come alive, whatever becomes of the first.
    for first in ["@clerk permissions=read", "@clerk permissions=read write"] {
        let (accounts, broken) = Accounts::parse(format!("{first}\n@clerk permissions=admin\n"));
        assert_eq!(broken.last().unwrap().error, LineError::DuplicateRole { first: 1 });
        assert!(accounts.role("clerk").is_none_or(|role| role.permissions().eq(["read"])));
    }
    for (line, error) in [
        ("alice roles=", LineError::Roles),
        ("alice roles=clerk,clerk", LineError::Roles),
        ("alice roles=clerk, from=10.0.0.1", LineError::Roles),
        ("alice roles=@clerk", LineError::Roles),
        ("alice roles=clerk roles=clerk", LineError::Field),
        ("alice from=example.com", LineError::From),
        ("alice from=192.0.2.1/24", LineError::From),
        ("alice from=", LineError::From),
        ("alice from=192.0.2.1 from=0.0.0.0/0", LineError::Field),
        ("alice roles=clerk permissions=q", LineError::TooManyPermissions),
    ] {
        let (_, broken) = Accounts::parse(format!("@clerk permissions={many}\n{line}\n"));
        assert_eq!(broken.first().map(|line| line.error), Some(error), "{line}");
    }
    // No change of a role makes an account more than a grant may have.
    let mut accounts = parsed(&format!("@clerk permissions={many}\n@other\nalice roles=clerk,other\n"));
    assert!(matches!(accounts.add_role_permission("other", "q"), Err(AccountError::Permissions(_))));
    assert_eq!(accounts.add_role_permission("clerk", "q").map_err(|error| error.code()), Err("too-many"));
    assert_eq!(accounts.role("other").unwrap().permissions().count(), 0);
    assert_eq!(accounts.add_role("cl erk", ["x"]), Err(AccountError::BadRole));
    assert_eq!(accounts.add_role(&"r".repeat(65), ["x"]), Err(AccountError::BadRole));
    accounts.add_role(&"r".repeat(64), ["x"]).unwrap();
    assert_eq!(accounts.add_role("clerk", ["x"]), Err(AccountError::RoleExists("clerk".to_owned())));
    // No user looks like a role.
    assert_eq!(Account::new("@clerk", ["x"]).map(drop), Err(AccountError::BadName));
}

#[test]
fn an_account_that_is_bound_to_networks_is_let_in_from_there_alone() {
    let mut accounts = parsed(FILE);
    accounts.edit("alice", |account| account.set_from(Some("192.0.2.0/24, !192.0.2.13"))).unwrap();
    let at = |last| Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
    let token = Credential::Token(TOKEN);
    assert!(accounts.check_from(token, at(7)).is_ok());
    for elsewhere in [at(13), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), None] {
        assert_eq!(accounts.check_from(token, elsewhere), Err(Reason::NetworkNotAdmitted), "{elsewhere:?}");
        // Whoever comes back, too.
        let again = accounts.current_from("alice", CredentialKind::Token, elsewhere);
        assert_eq!(again, Err(Reason::NetworkNotAdmitted));
    }
    // An IPv4 address that is written as one of IPv6 is one.
    assert!(accounts.check_from(token, Some("::ffff:192.0.2.7".parse().unwrap())).is_ok());
    assert!(accounts.to_string().contains("alice from=192.0.2.0/24,!192.0.2.13 roles=clerk permissions="));
    assert!(matches!(
        accounts.edit("alice", |account| account.set_from(Some("example.com"))),
        Err(AccountError::From(_))
    ));
    accounts.edit("alice", |account| account.set_from(None)).unwrap();
    assert!(accounts.check(token).is_ok());
}

/// A change of alice's account.
type Change = fn(&mut Account);

fn key(seed: u8) -> AuthorizedKey {
    AuthorizedKey::new(SigningKey::from_ed25519(&[seed; 32]).unwrap().public_key().clone(), "")
}

/// A password as the server hashes it.
fn set_hashed(account: &mut Account, password: &[u8]) {
    let cheap = HashParameters::new(8, 1, 1).unwrap();
    account.set_password_with(password, cheap).unwrap();
}

/// A password as the client stretches it.
fn set_stretched(account: &mut Account, password: &[u8]) {
    let stretching = Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap();
    account.set_stretched(&stretching.stretch("alice", password).unwrap().newest());
}

#[test]
fn what_lets_a_user_in_has_an_epoch_of_its_own() {
    use CredentialKind::{Key, Password, Stretched, Token};
    const ALL: [CredentialKind; 4] = [Password, Stretched, Token, Key];
    // What is changed, and the kinds of credentials whose sessions end by it.
    let changes: [(&str, Change, &[CredentialKind]); 16] = [
        ("nothing", |_| (), &[]),
        ("a permission more", |account| assert!(account.add_permission("x").unwrap()), &[]),
        ("a permission less", |account| assert!(account.remove_permission("reports:read").unwrap()), &[]),
        ("a role more", |account| assert!(account.add_role("auditor").unwrap()), &[]),
        ("a role less", |account| assert!(account.remove_role("clerk")), &[]),
        ("an expiry", |account| account.set_expiry(Some(UnixTime::from_secs(4_000_000_000))), &[]),
        ("networks", |account| account.set_from(Some("192.0.2.0/24")).unwrap(), &[]),
        ("another password", |account| set_hashed(account, b"another"), &[Password, Stretched]),
        ("another stretched password", |account| set_stretched(account, b"another"), &[Password, Stretched]),
        ("a token more", |account| drop(account.issue_token().unwrap()), &[Token]),
        ("the first key less", |account| assert!(account.remove_key(key(1).key().id())), &[Key]),
        ("the last key less", |account| assert!(account.remove_key(key(2).key().id())), &[Key]),
        ("recovery codes", |account| drop(account.issue_recovery_codes().unwrap()), &[]),
        (
            "another authenticator",
            |account| account.set_totp(&TotpSecret::generate().unwrap()),
            &[Password, Stretched, Key],
        ),
        ("no authenticator", |account| assert!(account.remove_totp()), &[Password, Stretched, Key]),
        ("locked and unlocked within one look", |account| assert!(account.lock() && account.unlock()), &ALL),
    ];
    for set_password in [set_hashed, set_stretched] {
        let found = changes.map(|(what, change, _)| {
            let mut accounts = parsed(FILE);
            let edit = |accounts: &mut Accounts, change: &dyn Fn(&mut Account)| {
                let changed = accounts.edit("alice", |account| {
                    change(account);
                    Ok(())
                });
                changed.unwrap();
            };
            edit(&mut accounts, &|account| {
                set_password(account, b"password");
                [1, 2].iter().for_each(|seed| assert!(account.add_key(&key(*seed)).unwrap()));
                account.set_totp(&TotpSecret::generate().unwrap());
            });
            let epochs = |accounts: &Accounts| {
                let address = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
                let grants = ALL.map(|kind| accounts.current_from("alice", kind, address).unwrap());
                (grants[0].epoch().unwrap(), grants.map(|grant| grant.credential_epoch().unwrap()))
            };
            let (epoch, before) = epochs(&accounts);
            edit(&mut accounts, &change);
            let (now, after) = epochs(&accounts);
            assert_eq!(now == epoch, what == "nothing", "{what}");
            let both = ALL.into_iter().zip(before.into_iter().zip(after));
            let ended: Vec<_> = both.filter_map(|(kind, (before, after))| (before != after).then_some(kind)).collect();
            (what, ended)
        });
        assert_eq!(found, changes.map(|(what, _, ended)| (what, ended.to_vec())));
    }
}
