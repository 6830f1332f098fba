//! Accounts: what a file of them may hold, how it is changed, and what a verifier makes of it.

#![cfg(feature = "accounts")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "support/drawn.rs"]
mod drawn;

use countersign::accounts::{self, Account, AccountError, BrokenLine, HashParameters, LineError};
use countersign::files::TextError;
use countersign::{Accounts, Credential, CredentialKind, Misuse, Reason, UnixTime};
use sha2::{Digest, Sha256};

/// As cheap as Argon2id gets: these tests are not about its strength.
fn cheap() -> HashParameters {
    HashParameters::new(8, 1, 1).unwrap()
}

fn hash(password: &[u8]) -> String {
    let mut accounts = Accounts::new();
    accounts.add("x", [""; 0]).unwrap();
    accounts.edit("x", |account| account.set_password_with(password, cheap())).unwrap();
    accounts.to_string().trim().trim_start_matches("x password=").to_owned()
}

fn password<'a>(user: &'a str, password: &'a [u8]) -> Credential<'a> {
    Credential::Password { user, password }
}

/// Whether a ticket that was got with such a credential lets them in.
fn resume(accounts: &Accounts, user: &str, kind: CredentialKind) -> Result<(), Reason> {
    accounts.current(user, kind).map(drop)
}

/// The verdict as a name or a reason.
fn verify(accounts: &Accounts, credential: Credential<'_>) -> Result<String, Reason> {
    accounts.check(credential).map(|grant| grant.principal().to_owned())
}

/// The numbers of lines, and what is wrong with them.
fn faults(broken: &[BrokenLine]) -> Vec<(usize, LineError)> {
    broken.iter().map(|line| (line.number, line.error)).collect()
}

/// The hash of the token "token one".
const TOKEN_ONE: &str = "SHA256:/K6YqKtISs5VNDg8gDFOyFAq+jsTw4ZjBcxFn0Iqiak";

fn token_hash(token: &[u8]) -> String {
    use base64ct::{Base64Unpadded, Encoding};
    format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(token)))
}

#[test]
fn a_file_is_printed_as_it_was_read() {
    let (first, second) = (hash(b"one"), hash(b"two"));
    let token = token_hash(b"token one");
    let text = format!(
        "# the accounts of the test server\n\
         \n\
         alice permissions=read,write password={first} token={token}\n\
         \t # an indented comment\n\
         bob\n\
         what is this line?\n\
         carol password=plain\n\
         dave password={second}\n\
         \u{e9}mile permissions=a\n"
    );
    let (accounts, broken) = Accounts::parse(&text);
    assert_eq!(accounts.to_string(), text);
    assert_eq!(broken.iter().map(|line| line.number).collect::<Vec<_>>(), [6, 7]);
    let names: Vec<&str> = accounts.iter().map(|account| account.name()).collect();
    assert_eq!(names, ["alice", "bob", "dave", "\u{e9}mile"]);
    let alice = accounts.get("alice").unwrap();
    assert!(alice.has_password() && alice.tokens() == 1);
    assert_eq!(alice.own_grant().permissions().collect::<Vec<_>>(), ["read", "write"]);
    assert_eq!(alice.to_string(), text.lines().nth(2).unwrap());
    assert!(accounts.get("carol").is_none());
    // And once more.
    let (again, _) = Accounts::parse(accounts.to_string());
    assert_eq!(again.to_string(), text);
}

#[test]
fn changes_keep_comments_and_broken_lines_where_they_were() {
    let text = "# first\nalice\n!broken line\nbob permissions=read\n\n# last\n";
    let (mut accounts, broken) = Accounts::parse(text);
    assert_eq!(faults(&broken), [(3, LineError::Field)]);
    accounts.remove("alice").unwrap();
    accounts.add("carol", ["write"]).unwrap();
    assert_eq!(
        accounts.to_string(),
        "# first\n!broken line\nbob permissions=read\n\n# last\ncarol permissions=write\n"
    );
}

#[test]
fn each_broken_line_is_reported_with_its_number_and_its_fault() {
    let good = hash(b"password");
    let token = token_hash(b"t");
    let cases = [
        (format!("a{}", "b".repeat(255)), LineError::Name),
        ("al\u{a0}ice".to_owned(), LineError::Name),
        ("al\u{7}ice".to_owned(), LineError::Name),
        ("al\u{7f}ice".to_owned(), LineError::Name),
        ("good".to_owned(), LineError::DuplicateName { first: 2 }),
        ("alice read".to_owned(), LineError::Field),
        ("alice admin=yes".to_owned(), LineError::Field),
        ("alice =".to_owned(), LineError::Field),
        ("alice Password=x".to_owned(), LineError::Field),
        ("alice permissions=a permissions=b".to_owned(), LineError::Field),
        (format!("alice password={good} password={good}"), LineError::Field),
        ("alice permissions=".to_owned(), LineError::Permissions),
        ("alice permissions=a,a".to_owned(), LineError::Permissions),
        ("alice permissions=a,,b".to_owned(), LineError::Permissions),
        ("alice permissions=l\u{e9}".to_owned(), LineError::Permissions),
        (format!("alice permissions={}", "a".repeat(65)), LineError::Permissions),
        (
            format!("alice permissions={}", (0..33).map(|n| n.to_string()).collect::<Vec<_>>().join(",")),
            LineError::Permissions,
        ),
        ("alice password=".to_owned(), LineError::ClearPassword),
        ("alice password=secret".to_owned(), LineError::ClearPassword),
        (format!("alice password={}", good.replace("argon2id", "apr1")), LineError::OtherHash("Apache MD5")),
        (format!("alice password={}", good.rsplit_once('$').unwrap().0), LineError::CutHash),
        // 15 bytes.
        (format!("alice password={}${}", good.rsplit_once('$').unwrap().0, "A".repeat(20)), LineError::CutHash),
        (format!("alice password={}", good.replace("m=8", "m=1")), LineError::Password),
        (format!("alice password={}", good.replace("m=8", "m=1048577")), LineError::Password),
        (format!("alice password={}", good.replace("t=1", "t=33")), LineError::Password),
        (format!("alice password={}", good.replace("m=8", "m=1024").replace("p=1", "p=17")), LineError::Password),
        ("alice token=".to_owned(), LineError::Token),
        ("alice token=cst_abc".to_owned(), LineError::Token),
        ("alice token=SHA256:abc".to_owned(), LineError::Token),
        (format!("alice token={token}="), LineError::Token),
        (format!("alice token={}", token.replace("SHA256", "SHA512")), LineError::Token),
        (format!("alice token={TOKEN_ONE}"), LineError::DuplicateToken),
    ];
    for (line, error) in cases {
        let text = format!("# comment\ngood password={good} token={TOKEN_ONE}\n\n{line}\nafter password={good}\n");
        let (accounts, broken) = Accounts::parse(&text);
        assert_eq!(faults(&broken), [(4, error)], "{line:?}");
        assert_eq!(accounts.to_string(), text);
        assert!(broken[0].to_string().starts_with("line 4: "), "{}", broken[0]);
        // The other lines still work.
        for name in ["good", "after"] {
            assert_eq!(verify(&accounts, password(name, b"password")), Ok(name.to_owned()));
        }
        assert_eq!(verify(&accounts, password("alice", b"password")), Err(Reason::UnknownUser));
    }
    let of_16_bytes = format!("alice password={}${}\n", good.rsplit_once('$').unwrap().0, "A".repeat(22));
    assert_eq!(Accounts::parse(&of_16_bytes).1, []);
}

/// Otherwise that account never logs in, and an unknown name that imitates it costs no hash.
#[test]
fn a_hash_that_is_accepted_in_a_file_can_be_verified_at_a_login() {
    let good = hash(b"password");
    let [head, salt, output] =
        good.rsplitn(3, '$').collect::<Vec<_>>().try_into().map(|[c, b, a]: [_; 3]| [a, b, c]).unwrap();
    let mut wrong = Vec::new();
    for line in [
        good.clone(),
        good.replace("v=19", "v=16"),
        good.replace("v=19", "v=18"),
        good.replace("v=19", "v=20"),
        good.replace("$v=19", ""),
        good.replace("p=1", "p=2"),
        good.replace("t=1", "t=0"),
        good.replace("p=1", "p=1,keyid=AAAA"),
        good.replace("p=1", "p=1,data=AAAA"),
        format!("{head}${}${output}", &salt[..4]),
        format!("{head}${}${output}", &salt[..10]),
        format!("{head}${salt}${}", &output[..4]),
        format!("{head}${salt}${}", &output[..16]),
        format!("{head}${salt}${output}{output}"),
    ] {
        let (accounts, broken) = Accounts::parse(format!("alice password={line}\n"));
        let verdicts = [("alice", Reason::WrongPassword), ("bob", Reason::UnknownUser)];
        for (name, reason) in verdicts {
            let verdict = verify(&accounts, password(name, b"wrong"));
            if broken.is_empty() && verdict != Err(reason) {
                wrong.push((line.clone(), verdict));
            }
        }
    }
    assert_eq!(wrong, []);
}

#[test]
fn a_hash_that_costs_more_than_a_server_can_spend_is_neither_read_nor_made() {
    let with = |m, t, p| {
        let line = hash(b"password").replace("m=8,t=1,p=1", &format!("m={m},t={t},p={p}"));
        let (_, broken) = Accounts::parse(format!("alice password={line}\n"));
        let mut accounts = Accounts::new();
        accounts.add("alice", [""; 0]).unwrap();
        let set = move || {
            let parameters = HashParameters::new(m, t, p)?;
            accounts.edit("alice", |account| account.set_password_with(b"password", parameters))
        };
        (broken, set)
    };
    for (m, t, p) in [(1 << 20, 4, 1), (1 << 17, 32, 1), (128, 1, 16)] {
        assert_eq!(with(m, t, p).0, [], "m={m},t={t},p={p}");
    }
    for (m, t, p) in [
        ((1 << 20) + 1, 1, 1),
        (4_194_304_000, 1, 1),
        (8, 33, 1),
        (8, u32::MAX, 1),
        (136, 1, 17),
        (1 << 20, 5, 1),
        ((1 << 17) + 1, 32, 1),
    ] {
        let (broken, mut set) = with(m, t, p);
        assert_eq!(faults(&broken), [(1, LineError::Password)], "m={m},t={t},p={p}");
        assert!(broken[0].to_string().contains("m=1048576, t=32, p=16, and m times t 4194304"), "{}", broken[0]);
        assert_eq!(set(), Err(AccountError::Hashing), "m={m},t={t},p={p}");
    }
}

#[test]
fn verifying_says_what_was_wrong_to_the_local_side() {
    let (mut accounts, _) = Accounts::parse(format!("robot token={}\n", token_hash(b"token one")));
    for (name, secret) in [("alice", &b"correct horse"[..]), ("bob", b"\0\xff binary \n")] {
        accounts.add(name, ["read"]).unwrap();
        accounts.edit(name, |account| account.set_password_with(secret, cheap())).unwrap();
    }
    let ok = |name: &str| Ok(name.to_owned());
    for (credential, expected) in [
        (password("alice", b"correct horse"), ok("alice")),
        (password("bob", b"\0\xff binary \n"), ok("bob")),
        (password("alice", b"correct hors"), Err(Reason::WrongPassword)),
        (password("alice", b"correct horse\0"), Err(Reason::WrongPassword)),
        (password("alice", b"\0\xff binary \n"), Err(Reason::WrongPassword)),
        (password("alice", b""), Err(Reason::WrongPassword)),
        (password("Alice", b"correct horse"), Err(Reason::UnknownUser)),
        (password("alice ", b"correct horse"), Err(Reason::UnknownUser)),
        (password("", b""), Err(Reason::UnknownUser)),
        // An account without a password has none that fits.
        (password("robot", b""), Err(Reason::WrongPassword)),
        (password("robot", b"token one"), Err(Reason::WrongPassword)),
        (Credential::Token(b"token one"), ok("robot")),
        (Credential::Token(b"token on"), Err(Reason::UnknownToken)),
        (Credential::Token(b""), Err(Reason::UnknownToken)),
        (Credential::Token(&Sha256::digest(b"token one")), Err(Reason::UnknownToken)),
    ] {
        assert_eq!(verify(&accounts, credential), expected);
    }
}

#[test]
fn a_password_can_be_changed_and_the_old_one_is_gone() {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    assert!(!accounts.get("alice").unwrap().has_password());
    accounts.edit("alice", |account| account.set_password_with(b"old", cheap())).unwrap();
    let first = accounts.to_string();
    accounts.edit("alice", |account| account.set_password_with(b"new", cheap())).unwrap();
    assert_eq!(verify(&accounts, password("alice", b"old")), Err(Reason::WrongPassword));
    assert_eq!(verify(&accounts, password("alice", b"new")), Ok("alice".to_owned()));
    accounts.edit("alice", |account| account.set_password_with(b"old", cheap())).unwrap();
    assert_ne!(accounts.to_string(), first, "a fresh salt");
    let text = accounts.to_string();
    assert!(text.contains("password=$argon2id$v=19$m=8,t=1,p=1$") && !text.contains("old"), "{text}");
}

#[test]
fn the_default_parameters_are_those_of_the_documentation() {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts.edit("alice", |account| account.set_password(b"password")).unwrap();
    assert!(accounts.to_string().contains("password=$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_eq!(verify(&accounts, password("alice", b"password")), Ok("alice".to_owned()));
}

#[test]
fn a_token_is_returned_once_and_stored_as_a_hash_alone() {
    let mut accounts = Accounts::new();
    accounts.add("robot", ["write"]).unwrap();
    let [first, second] = [(); 2].map(|()| accounts.edit("robot", |account| account.issue_token()).unwrap());
    assert_ne!(*first, *second);
    let text = accounts.to_string();
    for token in [&first, &second] {
        assert!(token.starts_with("cst_") && token.len() == 4 + 43, "256 bits");
        assert!(!text.contains(token.as_str()) && !text.contains(&token[4..]), "the token is not in the file");
        assert!(text.contains(&token_hash(token.as_bytes())));
        assert_eq!(verify(&accounts, Credential::Token(token.as_bytes())), Ok("robot".to_owned()));
        // Whoever has stolen the file shows what stands there.
        let (hash, bytes) = (token_hash(token.as_bytes()), Sha256::digest(token.as_bytes()));
        let base64 = &hash["SHA256:".len()..];
        for shown in [hash.as_bytes(), base64.as_bytes(), format!("cst_{base64}").as_bytes(), &bytes] {
            assert_eq!(verify(&accounts, Credential::Token(shown)), Err(Reason::UnknownToken));
        }
    }
    let (read, broken) = Accounts::parse(&text);
    assert!(broken.is_empty());
    assert_eq!(verify(&read, Credential::Token(first.as_bytes())), Ok("robot".to_owned()));
    assert_eq!(accounts.get("robot").unwrap().tokens(), 2);
    assert_eq!(accounts.edit("robot", |account| Ok(account.revoke_tokens())), Ok(2));
    assert_eq!(verify(&accounts, Credential::Token(first.as_bytes())), Err(Reason::UnknownToken));
    assert_eq!(accounts.edit("robot", |account| Ok(account.revoke_tokens())), Ok(0));
}

#[test]
fn each_of_a_token_s_256_bits_is_random() {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let mut accounts = Accounts::new();
    accounts.add("robot", [""; 0]).unwrap();
    let tokens: Vec<Vec<u8>> = (0..64)
        .map(|_| accounts.edit("robot", |account| account.issue_token()).unwrap())
        .map(|token| Base64UrlUnpadded::decode_vec(token.strip_prefix("cst_").unwrap()).unwrap())
        .collect();
    assert!(tokens.iter().all(|token| token.len() == 32));
    drawn::each_bit_varies(&tokens, 8);
}

#[test]
fn a_removed_account_is_gone_with_its_password_and_its_tokens() {
    let mut accounts = Accounts::new();
    for name in ["alice", "robot", "zoe"] {
        accounts.add(name, [name]).unwrap();
        accounts.edit(name, |account| account.set_password_with(b"password", cheap())).unwrap();
    }
    let [robot, zoe] = ["robot", "zoe"].map(|name| accounts.edit(name, |account| account.issue_token()).unwrap());
    accounts.remove("robot").unwrap();
    assert_eq!(verify(&accounts, password("robot", b"password")), Err(Reason::UnknownUser));
    assert_eq!(verify(&accounts, Credential::Token(robot.as_bytes())), Err(Reason::UnknownToken));
    // Those around it are still themselves.
    assert_eq!(verify(&accounts, password("alice", b"password")), Ok("alice".to_owned()));
    assert_eq!(verify(&accounts, Credential::Token(zoe.as_bytes())), Ok("zoe".to_owned()));
    assert_eq!(accounts.iter().count(), 2);
}

#[test]
fn each_change_that_can_t_be_made_says_why() {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    let before = accounts.to_string();
    let exists = Err(AccountError::Exists("alice".to_owned()));
    assert_eq!(accounts.add("alice", ["write"]), exists);
    let long = "x".repeat(256);
    for name in ["", "#alice", "@alice", "al ice", "al\tice", "al\nice", "al\u{2003}ice", "\u{85}", "a\0", &long] {
        assert_eq!(accounts.add(name, [""; 0]), Err(AccountError::BadName), "{name:?}");
    }
    let unknown = AccountError::Unknown("bob".to_owned());
    assert_eq!(accounts.edit("bob", |account| account.set_password(b"password")), Err(unknown.clone()));
    assert_eq!(accounts.edit("bob", |account| account.issue_token()).map(drop), Err(unknown.clone()));
    assert_eq!(accounts.edit("bob", |account| Ok(account.revoke_tokens())), Err(unknown.clone()));
    assert_eq!(accounts.remove("bob"), Err(unknown));
    for bad in [&b""[..], &[b'x'; 4097]] {
        assert_eq!(accounts.edit("alice", |account| account.set_password(bad)), Err(AccountError::BadPassword));
    }
    accounts.edit("alice", |account| account.set_password_with(&[b'x'; 4096], cheap())).unwrap();
    let twice = AccountError::Permissions(Misuse::Duplicate("the permissions"));
    assert_eq!(accounts.add("carol", ["a", "a"]), Err(twice));
    let comma = AccountError::Permissions(Misuse::BadInput("a permission"));
    assert_eq!(accounts.add("carol", ["a,b"]), Err(comma));
    assert_ne!(accounts.to_string(), before);
    assert_eq!(accounts.iter().count(), 1);
}

#[test]
fn an_account_s_hashes_can_t_be_injected_through_its_name_or_permissions() {
    let mut accounts = Accounts::new();
    for name in ["eve password=x", "eve\nroot", "eve\u{2028}root"] {
        assert_eq!(accounts.add(name, [""; 0]), Err(AccountError::BadName));
    }
    for permission in ["a password=x", "a\nroot", ""] {
        assert!(accounts.add("eve", [permission]).is_err());
    }
    assert_eq!(accounts.to_string(), "");
}

#[test]
fn removing_a_user_removes_the_later_lines_of_that_name_too() {
    let mut first = Accounts::new();
    first.add("alice", ["read"]).unwrap();
    let text = format!("{first}# alice is a comment\nalice permissions=admin\nbob\n");
    let (mut accounts, broken) = Accounts::parse(&text);
    assert_eq!(broken.len(), 1);
    accounts.remove("alice").unwrap();
    assert_eq!(accounts.to_string(), "# alice is a comment\nbob\n");
}

/// What a name comes to that cannot log in for what the file says.
fn names(accounts: &Accounts) -> Vec<&str> {
    accounts.iter().map(|account| account.name()).collect()
}

/// Small files of the kind that people have: each with what it should come to.
#[test]
fn files_as_people_have_them_are_read_or_named_for_what_they_are() {
    let case = |name: &str| std::fs::read(format!("{}/tests/users/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let none: &[&str] = &[];
    for (file, expected, errors) in [
        ("bom.txt", &["alice"][..], &[][..]),
        ("order-t-m-p.txt", &["alice"], &[]),
        ("latin1-comment.txt", &["alice"], &[(2, LineError::Text(TextError::NotUtf8 { column: 6 }))]),
        ("htpasswd-bcrypt.txt", none, &[(1, LineError::OtherFile)]),
        ("duplicate.txt", &["alice"], &[(2, LineError::DuplicateName { first: 1 })]),
        ("truncated-hash.txt", none, &[(1, LineError::CutHash)]),
        ("bidi-name.txt", none, &[(1, LineError::Name)]),
    ] {
        let text = case(file);
        let (accounts, broken) = Accounts::parse(&text);
        assert_eq!(names(&accounts), expected, "{file}");
        let broken: Vec<_> = broken.into_iter().map(|line| (line.number, line.error)).collect();
        assert_eq!(broken, errors, "{file}");
        assert_eq!(*accounts.to_bytes(), text, "{file} is kept to the byte");
    }
}

/// What is said of the cut hash of another program: without the feature that it takes, what it is.
fn other_or_cut(kind: &'static str) -> LineError {
    if cfg!(feature = "password-formats") { LineError::CutHash } else { LineError::OtherHash(kind) }
}

#[test]
fn lines_of_other_programs_and_passwords_in_clear_are_called_that() {
    for (line, error) in [
        ("alice:$apr1$x$y", LineError::OtherFile),
        ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", LineError::OtherFile),
        ("alice:rqXexS6ZhobKA", LineError::OtherFile),
        ("root:x:0:0:root:/root:/bin/sh", LineError::OtherFile),
        ("root:$6$salt$hash:19000:0:99999:7:::", LineError::OtherFile),
        ("alice:secret", LineError::Name),
        ("alice password=$2b$12$abcdefghijklmnopqrstuu", other_or_cut("bcrypt")),
        ("alice password=$6$salt$hash", other_or_cut("SHA-512-crypt")),
        ("alice password=pbkdf2_sha256$1000$x", other_or_cut("PBKDF2")),
        ("alice password=$argon2d$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ", other_or_cut("Argon2d")),
        ("alice password=$1$x$y", LineError::OtherHash("MD5-crypt")),
        ("alice password={SSHA}abc", LineError::OtherHash("LDAP")),
        ("alice password=$argon2id$v=19$m=19456,t=2", LineError::CutHash),
        ("alice password=hunter22", LineError::ClearPassword),
        ("a\0l\0i\0c\0e\0", LineError::Text(TextError::ZeroBytes)),
        ("alice locked=no", LineError::Lock),
        ("alice locked=yes locked=yes", LineError::Lock),
        ("alice locks=many", LineError::Lock),
        ("alice expires=tomorrow", LineError::Expires),
        ("alice expires=2027-01-31", LineError::Expires),
    ] {
        let (accounts, broken) = Accounts::parse(format!("{line}\n"));
        assert_eq!(faults(&broken), [(1, error)], "{line:?}");
        assert!(accounts.get("alice").is_none());
        assert!(!broken[0].to_string().contains("hunter22"));
    }
    let long = format!("alice permissions={}\nbob\n", "x".repeat(1 << 16));
    let (accounts, broken) = Accounts::parse(&long);
    assert_eq!(faults(&broken), [(1, LineError::Text(TextError::TooLong))]);
    assert!(accounts.get("bob").is_some() && broken[0].to_string().contains("64 KiB"));
}

/// Otherwise a typo would bring a forgotten line back to life: an old password, with permissions of then.
#[test]
fn a_broken_line_keeps_its_name_taken() {
    let old = format!("alice permissions=admin password={}", hash(b"password"));
    for broken in [
        "alice permissions read",
        "alice,permissions=read",
        "alice permissions=read,",
        "alice\u{a0}permissions=read",
        "alice:permissions=read",
        "alice password=$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$short",
        "alice permissions=l\u{e9}",
        "\u{200b}alice permissions=read",
        "\"alice\" permissions read",
    ] {
        let (accounts, lines) = Accounts::parse(format!("{broken}\n{old}\nbob\n"));
        assert_eq!(names(&accounts), ["bob"], "{broken}");
        assert_eq!(lines[1].error, LineError::DuplicateName { first: 1 }, "{broken}");
        assert_eq!(verify(&accounts, password("alice", b"password")), Err(Reason::UnknownUser), "{broken}");
    }
    for name in ["<alice>", "'alice", "\"", "<"] {
        let (accounts, lines) = Accounts::parse(format!("{name} permissions read\n{name}\n"));
        assert_eq!((names(&accounts).len(), lines.len()), (0, 2), "{name}: {lines:?}");
    }
    let (mut accounts, _) = Accounts::parse(format!("alice oops\n{old}\n"));
    let taken = AccountError::Broken { name: "alice".to_owned(), line: 1 };
    assert_eq!(accounts.add("alice", [""; 0]), Err(taken.clone()));
    assert_eq!(accounts.edit("alice", |account| Ok(account.lock())), Err(taken));
    // With the line, all that it kept dead is gone.
    accounts.remove("alice").unwrap();
    assert_eq!(accounts.to_string(), "");
    accounts.add("alice", [""; 0]).unwrap();
}

/// `permissions=read-only`, cut, is `permissions=read`.
#[test]
fn a_last_line_without_a_line_feed_is_not_taken_for_another_line() {
    let whole =
        format!("bob password={}\nalice permissions=read-only,no-admin password={}", hash(b"bob"), hash(b"alice"));
    let first = whole.find('\n').unwrap();
    for end in first + 2..=whole.len() {
        let (accounts, broken) = Accounts::parse(&whole[..end]);
        assert_eq!(names(&accounts), ["bob"], "{}", &whole[..end]);
        assert_eq!(faults(&broken), [(2, LineError::Text(TextError::Unended))], "{}", &whole[..end]);
    }
    let (mut accounts, _) = Accounts::parse(&whole);
    // Nothing that is added gives it the line feed that it lacks.
    accounts.add("carol", ["read"]).unwrap();
    let expected = whole.replace("\nalice", "\ncarol permissions=read\nalice");
    assert_eq!(accounts.to_string(), expected);
    let (again, broken) = Accounts::parse(accounts.to_bytes().as_slice());
    assert_eq!(names(&again), ["bob", "carol"]);
    assert_eq!(faults(&broken), [(3, LineError::Text(TextError::Unended))]);
    let taken = AccountError::Broken { name: "alice".to_owned(), line: 3 };
    assert_eq!(accounts.add("alice", [""; 0]), Err(taken));
    accounts.remove("alice").unwrap();
    assert_eq!(names(&accounts), ["bob", "carol"]);
    // What is no account can't be half of one.
    for tail in ["# comment", "  ", ""] {
        let text = format!("bob\n{tail}");
        let (mut accounts, broken) = Accounts::parse(&text);
        assert_eq!((names(&accounts), broken.len()), (vec!["bob"], 0), "{tail:?}");
        accounts.add("carol", [""; 0]).unwrap();
        assert_eq!(accounts.to_string(), format!("bob\ncarol\n{tail}"));
    }
}

#[test]
fn what_is_not_changed_is_kept_to_the_byte() {
    let text = format!(
        "\u{feff}alice   permissions=read\r\n\tbob\ttoken={TOKEN_ONE} permissions=a  \r\ncarol password={}\n\r\n# end\r\n",
        hash(b"password")
    );
    let (mut accounts, broken) = Accounts::parse(&text);
    assert_eq!(broken, []);
    assert_eq!(accounts.to_string(), text);
    accounts.edit("carol", |account| account.add_permission("write")).unwrap();
    assert_eq!(accounts.edit("bob", |account| account.add_permission("a")), Ok(false), "no change");
    accounts.remove("alice").unwrap();
    let expected = text.split_once('\n').unwrap().1.replace("carol password", "carol permissions=write password");
    assert_eq!(accounts.to_string(), expected);
    accounts.edit("bob", |account| Ok(account.lock())).unwrap();
    let bob = format!("bob locked=yes locks=1 permissions=a token={TOKEN_ONE}\n");
    assert!(accounts.to_string().starts_with(&bob), "{accounts}");
}

#[test]
fn a_ticket_is_no_good_once_the_account_has_no_credential_of_the_kind_it_was_got_with() {
    use CredentialKind::{Password, Token};
    let disabled = || Err(Reason::AccountDisabled);
    let lines = format!("alice password={}\nbob token={TOKEN_ONE}\ncarol\n", hash(b"password"));
    let (mut accounts, broken) = Accounts::parse(lines);
    assert_eq!(broken, []);
    let of = |accounts: &Accounts, user| [Password, Token].map(|kind| resume(accounts, user, kind));
    assert_eq!(of(&accounts, "alice"), [Ok(()), disabled()]);
    assert_eq!(of(&accounts, "bob"), [disabled(), Ok(())]);
    assert_eq!(of(&accounts, "carol"), [disabled(), disabled()]);
    accounts.edit("alice", |account| account.issue_token()).unwrap();
    assert_eq!(of(&accounts, "alice"), [Ok(()), Ok(())]);
    accounts.edit("alice", |account| Ok(account.revoke_tokens())).unwrap();
    assert_eq!(of(&accounts, "alice"), [Ok(()), disabled()]);
}

#[test]
fn a_closed_account_is_refused_for_that_where_the_credential_is_good() {
    let (mut accounts, broken) =
        Accounts::parse(format!("alice permissions=a password={} token={TOKEN_ONE}\n", hash(b"password")));
    assert_eq!(broken, []);
    let check = |accounts: &Accounts| {
        let [ticket, other] = CredentialKind::DEFAULT.map(|kind| resume(accounts, "alice", kind));
        assert_eq!(ticket, other);
        let good = [password("alice", b"password"), Credential::Token(b"token one")];
        assert_eq!(verify(accounts, password("alice", b"wrong")), Err(Reason::WrongPassword));
        let [password, token] = good.map(|credential| verify(accounts, credential).map(drop));
        assert!(password == token && token == ticket, "{password:?} {token:?} {ticket:?}");
        password
    };
    assert_eq!(check(&accounts), Ok(()));
    assert_eq!(accounts.edit("alice", |account| Ok(account.lock())), Ok(true));
    assert_eq!(check(&accounts), Err(Reason::AccountLocked));
    assert_eq!(accounts.edit("alice", |account| Ok(account.unlock())), Ok(true));
    assert_eq!(check(&accounts), Ok(()));
    let now = UnixTime::from_system(std::time::SystemTime::now()).as_secs();
    for (expires, expected) in
        [(now, Err(Reason::AccountExpired)), (0, Err(Reason::AccountExpired)), (now + 3600, Ok(())), (u64::MAX, Ok(()))]
    {
        accounts
            .edit("alice", |account| {
                account.set_expiry(Some(UnixTime::from_secs(expires)));
                Ok(())
            })
            .unwrap();
        let (read, broken) = Accounts::parse(accounts.to_bytes().as_slice());
        assert_eq!(broken, [], "{accounts}");
        assert_eq!([check(&accounts), check(&read)], [expected.clone(), expected], "{expires}");
    }
    accounts
        .edit("alice", |account| {
            account.set_expiry(None);
            Ok(())
        })
        .unwrap();
    assert_eq!(check(&accounts), Ok(()));
}

/// A ticket that was stolen before is what an account is locked for.
#[test]
fn an_epoch_never_comes_back_when_an_account_is_locked_and_unlocked() {
    let (mut accounts, _) = Accounts::parse(format!("alice token={TOKEN_ONE}\n"));
    let mut epochs = vec![accounts.get("alice").unwrap().epoch()];
    for _ in 0..4 {
        assert_eq!(
            (
                accounts.edit("alice", |account| Ok(account.lock())),
                accounts.edit("alice", |account| Ok(account.lock()))
            ),
            (Ok(true), Ok(false))
        );
        epochs.push(accounts.get("alice").unwrap().epoch());
        assert_eq!(
            (
                accounts.edit("alice", |account| Ok(account.unlock())),
                accounts.edit("alice", |account| Ok(account.unlock()))
            ),
            (Ok(true), Ok(false))
        );
        epochs.push(accounts.get("alice").unwrap().epoch());
        accounts = Accounts::parse(accounts.to_bytes().as_slice()).0;
    }
    let count = epochs.len();
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), count);
}

/// A line has no later date. An account that is over later than what its line says would be another each time that it is read.
#[test]
fn an_account_is_over_by_the_end_of_the_year_9999_as_its_line_can_say() {
    let last = UnixTime::from_secs(253_402_300_799);
    let mut alice = Account::new("alice", ["read"]).unwrap();
    for (set, held) in
        [(u64::MAX, last.as_secs()), (last.as_secs() + 1, last.as_secs()), (1_800_000_000, 1_800_000_000)]
    {
        alice.set_expiry(Some(UnixTime::from_secs(set)));
        assert_eq!(alice.expires(), Some(UnixTime::from_secs(held)));
        let fields = alice.fields();
        let read = Account::from_fields("alice", fields.iter().map(|(field, value)| (*field, value.as_str()))).unwrap();
        assert!(read.is_same(&alice), "{set}");
    }
}

#[test]
fn permissions_are_granted_and_revoked_within_their_bounds() {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["a"]).unwrap();
    assert_eq!(
        (
            accounts.edit("alice", |account| account.add_permission("b")),
            accounts.edit("alice", |account| account.add_permission("b"))
        ),
        (Ok(true), Ok(false))
    );
    assert_eq!(
        (
            accounts.edit("alice", |account| account.remove_permission("a")),
            accounts.edit("alice", |account| account.remove_permission("a"))
        ),
        (Ok(true), Ok(false))
    );
    assert_eq!(accounts.to_string(), "alice permissions=b\n");
    assert!(matches!(
        accounts.edit("alice", |account| account.add_permission("c d")),
        Err(AccountError::Permissions(_))
    ));
    (1..32).for_each(|number| {
        assert_eq!(accounts.edit("alice", |account| account.add_permission(&number.to_string())), Ok(true))
    });
    assert!(matches!(
        accounts.edit("alice", |account| account.add_permission("one-more")),
        Err(AccountError::Permissions(_))
    ));
    assert_eq!(
        accounts.edit("bob", |account| account.add_permission("b")),
        Err(AccountError::Unknown("bob".to_owned()))
    );
}

#[test]
fn an_account_has_a_bounded_number_of_tokens() {
    let tokens: String = (0..512).map(|number: u32| format!(" token={}", token_hash(&number.to_be_bytes()))).collect();
    let (mut accounts, broken) = Accounts::parse(format!("alice{tokens}\nbob{tokens} token={TOKEN_ONE}\n"));
    assert_eq!(faults(&broken), [(2, LineError::TooManyTokens)]);
    assert_eq!(
        accounts.edit("alice", |account| account.issue_token()).map(drop),
        Err(AccountError::TooManyTokens("alice".to_owned()))
    );
    accounts.edit("alice", |account| Ok(account.revoke_tokens())).unwrap();
    accounts.edit("alice", |account| account.issue_token()).unwrap();
}

#[test]
fn a_hash_can_be_set_and_nothing_else_for_one() {
    let mut accounts = Accounts::new();
    accounts.add("alice", [""; 0]).unwrap();
    accounts.edit("alice", |account| account.set_password_hash(&hash(b"password"))).unwrap();
    assert_eq!(verify(&accounts, password("alice", b"password")), Ok("alice".to_owned()));
    let before = accounts.to_string();
    for (wrong, error) in [("x", LineError::ClearPassword), ("$2y$05$x", other_or_cut("bcrypt"))] {
        assert_eq!(
            accounts.edit("alice", |account| account.set_password_hash(wrong)),
            Err(AccountError::BadHash(error))
        );
    }
    assert_eq!(accounts.to_string(), before);
}

#[test]
fn a_weak_password_is_one_that_is_short_or_the_name() {
    for weak in ["", "1234567", "ALICE-smith", "\u{e9}\u{e9}\u{e9}\u{e9}"] {
        assert_eq!(accounts::check_strength("alice-smith", weak.as_bytes()), Err(AccountError::WeakPassword), "{weak}");
    }
    for good in ["12345678", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", "alice-smith2"] {
        assert_eq!(accounts::check_strength("alice-smith", good.as_bytes()), Ok(()), "{good}");
    }
    assert_eq!(accounts::check_strength("x", b"\xff\xff\xff\xff\xff\xff\xff\xff"), Ok(()));
}
