//! Kinds of accounts, and ways to be refused at them.

use countersign::accounts::{Account, HashParameters};
use countersign::{Accounts, AuthorizedKey, SigningKey, UnixTime};

/// What is right for each account that has a password. All names and passwords have one length: that of their own, those who log in
/// know.
const RIGHT: &[u8] = b"correct horse";
const WRONG: &[u8] = b"a wrong guess";

/// The smallest Argon2id there is: it costs so little that it hides nothing else.
pub(crate) fn cheap() -> HashParameters {
    HashParameters::new(8, 1, 1).unwrap()
}

/// One account of each kind.
pub(crate) fn accounts() -> Accounts {
    let argon2 = cheap();
    let mut accounts = Accounts::new();
    for name in ["user00", "keyuse", "tokens", "nocred", "locked", "oldone", "remote", "double"] {
        let mut account = Account::new(name, ["read"]).unwrap();
        match name {
            "keyuse" => {
                let key = SigningKey::from_ed25519(&[7; 32]).unwrap();
                account.add_key(&AuthorizedKey::new(key.public_key().clone(), "")).unwrap();
            }
            "tokens" => drop(account.issue_token().unwrap()),
            "nocred" => {}
            _ => account.set_password_with(RIGHT, argon2).unwrap(),
        }
        match name {
            "locked" => drop(account.lock()),
            "oldone" => account.set_expiry(Some(UnixTime::from_secs(1))),
            "remote" => account.set_from(Some("198.51.100.0/24")).unwrap(),
            _ => {}
        }
        accounts.insert(&account).unwrap();
    }
    accounts
}

/// Ways to be refused by a server whose passwords are all hashed at other parameters: among themselves, as who hashes how is no secret, and an
/// unknown name has to look as one of those who are known.
pub(crate) const OTHERWISE: [&str; 3] =
    ["wrong password, hashed otherwise", "unknown user, hashed otherwise", "right password, locked, hashed otherwise"];

/// And of one whose passwords another program has hashed.
#[cfg(feature = "password-formats")]
pub(crate) const BY_OTHERS: [&str; 3] =
    ["wrong password, bcrypt", "unknown user, bcrypt", "right password, locked, bcrypt"];

/// The accounts that a login of this class is refused at.
pub(crate) fn accounts_of(class: &str) -> Accounts {
    if class.ends_with("hashed otherwise") {
        let argon2 = HashParameters::new(32, 2, 1).unwrap();
        return hashed(|account| account.set_password_with(RIGHT, argon2).unwrap());
    }
    if class.ends_with("bcrypt") {
        // `correct horse` at 2^5 rounds.
        const BCRYPT: &str = "$2y$05$regHHP5yGaCQxZ.IzIh2E.ge5Xdz78vYpgiLGGWgP6sFvW67SJfIG";
        return hashed(|account| account.set_password_hash(BCRYPT).unwrap());
    }
    accounts()
}

/// Accounts that all are hashed alike.
fn hashed(set_password: impl Fn(&mut Account)) -> Accounts {
    let mut accounts = Accounts::new();
    for name in ["user00", "locked"] {
        let mut account = Account::new(name, ["read"]).unwrap();
        set_password(&mut account);
        if name == "locked" {
            account.lock();
        }
        accounts.insert(&account).unwrap();
    }
    accounts
}

/// The name and the password that are refused in this way.
pub(crate) fn login_of(class: &str) -> (&'static str, &'static [u8]) {
    // However they are hashed.
    let class = class.split(", hashed").next().and_then(|class| class.split(", bcrypt").next()).unwrap_or(class);
    match class {
        "unknown user" | "RSA fails, name of nobody" | "looks for the account first" => ("nobody", WRONG),
        "account with a key alone" => ("keyuse", WRONG),
        "account with a token alone" => ("tokens", WRONG),
        "account without a credential" => ("nocred", WRONG),
        "wrong password, locked" => ("locked", WRONG),
        "right password, locked" => ("locked", RIGHT),
        "right password, expired" => ("oldone", RIGHT),
        "right password, other network" => ("remote", RIGHT),
        "hashes twice" => ("double", WRONG),
        _ => ("user00", WRONG),
    }
}
