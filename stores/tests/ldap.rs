//! Passwords that a real directory checks, which locks, hangs, dies, and is asked for odd names.
//!
//! The tests start Debian's `slapd` on sockets of their own, and are skipped where there is none.
#![cfg(all(unix, feature = "ldap"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use countersign::{AsyncVerifier, Attempt, Context, Credential, CredentialKind, Grant, Reason, Returning, UnixTime};
use countersign_stores::{LdapConfig, LdapError, LdapVerifier};
use std::collections::HashSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PASSWORD: &[u8] = b"correct horse";

/// A directory of this test's own.
struct Directory {
    folder: tempfile::TempDir,
    process: Child,
    port: u16,
    tls: Option<u16>,
}

const PEOPLE: &str = "\
dn: dc=example
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: cn=policy,dc=example
objectClass: organizationalRole
objectClass: pwdPolicy
cn: policy
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 20
pwdMustChange: TRUE

dn: cn=countersign,dc=example
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: countersign
userPassword: of the service

dn: ou=people,dc=example
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example
objectClass: organizationalUnit
ou: groups

dn: cn=Chiefs,ou=groups,dc=example
objectClass: groupOfNames
cn: Chiefs
member: uid=alice,ou=people,dc=example
member: uid=locked,ou=people,dc=example
member: uid=fresh,ou=people,dc=example

dn: cn=clerks,ou=groups,dc=example
objectClass: groupOfNames
cn: clerks
member: uid=alice,ou=people,dc=example
member: uid=bob,ou=people,dc=example
";

fn person(uid: &str, more: &str) -> String {
    format!(
        "\ndn: uid={uid},ou=people,dc=example\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\nuserPassword: correct horse\npwdChangedTime: 20260101000000Z\n{more}"
    )
}

impl Directory {
    fn start() -> Option<Self> {
        Self::with_tls(false)
    }

    fn with_tls(tls: bool) -> Option<Self> {
        if !std::path::Path::new("/usr/sbin/slapd").exists() {
            eprintln!("skipped: no /usr/sbin/slapd (Debian's package slapd)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(at("db")).unwrap();
        let certificates = if tls { certificates(&folder) } else { String::new() };
        let settings = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\ninclude /etc/ldap/schema/inetorgperson.schema\n\
             pidfile {pid}\n{certificates}\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload memberof\nmoduleload ppolicy\n\
             database mdb\nsuffix dc=example\ndirectory {db}\nrootdn cn=admin,dc=example\nrootpw of the admin\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.base=cn=countersign,dc=example read by self read by anonymous auth by * none\n\
             overlay memberof\noverlay ppolicy\nppolicy_default cn=policy,dc=example\nppolicy_use_lockout\n",
            pid = at("pid"),
            db = at("db"),
        );
        let settings = settings.replace("rootpw of the admin", "rootpw \"of the admin\"");
        fs::write(at("conf"), settings).unwrap();
        let groups = "memberOf: cn=Chiefs,ou=groups,dc=example\nmemberOf: cn=clerks,ou=groups,dc=example\n";
        let people = [
            PEOPLE.to_owned(),
            person("alice", groups),
            person("bob", ""),
            person("nobody's", ""),
            person("locked", "pwdAccountLockedTime: 000001010000Z\n"),
            person("fresh", "pwdReset: TRUE\n"),
        ];
        fs::write(at("ldif"), people.concat()).unwrap();
        let slapadd = Command::new("/usr/sbin/slapadd").args(["-f", &at("conf"), "-l", &at("ldif")]).output().unwrap();
        assert!(slapadd.status.success(), "{}", String::from_utf8_lossy(&slapadd.stderr));
        let port = free_port();
        let secure = tls.then(free_port);
        let process = run(&folder, port, secure);
        Some(Self { folder, process, port, tls: secure })
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = run(&self.folder, self.port, self.tls);
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap().success());
    }

    fn socket(&self) -> String {
        format!("ldapi://{}", self.folder.path().join("socket").display().to_string().replace('/', "%2F"))
    }

    fn config(&self) -> LdapConfig {
        LdapConfig::parse(&self.socket()).unwrap().with_patience(Duration::from_secs(20))
    }

    /// Searches as a service account, and has permissions for two groups.
    fn verifier(&self) -> LdapVerifier {
        LdapVerifier::new(searching(self.config())).unwrap()
    }

    /// As the administrator.
    async fn change(&self, dn: &str, change: ldap3::Mod<&str>) {
        let (connection, mut ldap) = ldap3::LdapConnAsync::new(&self.socket()).await.unwrap();
        tokio::spawn(async move { connection.drive().await });
        ldap.simple_bind("cn=admin,dc=example", "of the admin").await.unwrap().success().unwrap();
        ldap.modify(dn, vec![change]).await.unwrap().success().unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.signal_quietly();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Directory {
    fn signal_quietly(&self) {
        let _ = Command::new("kill").args(["-CONT", &self.process.id().to_string()]).stderr(Stdio::null()).status();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(folder: &tempfile::TempDir, port: u16, secure: Option<u16>) -> Child {
    let socket = folder.path().join("socket");
    let _ = fs::remove_file(&socket);
    let listen = format!("ldapi://{} ldap://0.0.0.0:{port}", socket.display().to_string().replace('/', "%2F"));
    let listen = secure.map_or(listen.clone(), |secure| format!("{listen} ldaps://0.0.0.0:{secure}"));
    let conf = folder.path().join("conf");
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let mut process = Command::new("/usr/sbin/slapd") // Nothing but errors.
        .args(["-d", "16384", "-h", &listen, "-f"])
        .arg(conf)
        .stderr(log)
        .spawn()
        .unwrap();
    while UnixStream::connect(&socket).is_err() || TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = process.try_wait().unwrap() {
            panic!("slapd: {status}: {}", fs::read_to_string(folder.path().join("log")).unwrap());
        }
        std::thread::yield_now();
    }
    process
}

/// An authority, and a certificate of it for localhost and 127.0.0.2.
fn certificates(folder: &tempfile::TempDir) -> String {
    let script = "\
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem \
        && openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem \
        && printf 'subjectAltName=DNS:localhost,IP:127.0.0.2' > names \
        && openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let at = |name: &str| folder.path().join(name).display().to_string();
    format!("TLSCertificateFile {}\nTLSCertificateKeyFile {}\n", at("cert.pem"), at("key.pem"))
}

fn searching(config: LdapConfig) -> LdapConfig {
    config
        .with_search("ou=people,dc=example", "(uid={user})")
        .with_service("cn=countersign,dc=example", "of the service")
        .with_groups("ou=groups,dc=example", "(member={dn})")
        .with_permissions_of("cn=chiefs, ou=groups, dc=example", ["orders:*", "staff"])
        .with_permissions_of("cn=clerks,ou=groups,dc=example", ["orders:read", "staff"])
}

async fn log_in(verifier: &LdapVerifier, user: &str, password: &[u8]) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    verifier.verify(&Attempt::new(Credential::Password { user, password }, &context)).await
}

async fn come_back(verifier: &LdapVerifier, principal: &str, kind: CredentialKind) -> Result<Grant, Reason> {
    let context = Context::uncounted();
    verifier.resume(&Returning::new(principal, kind, UnixTime::from_secs(0), &context)).await
}

fn permissions(grant: &Grant) -> HashSet<String> {
    grant.permissions().map(str::to_owned).collect()
}

fn set(permissions: &[&str]) -> HashSet<String> {
    permissions.iter().map(|permission| (*permission).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_directory_knows_gets_what_their_groups_may() {
    let Some(directory) = Directory::start() else { return };
    let tcp = LdapConfig::parse(&format!("ldap://127.0.0.1:{}", directory.port)).unwrap();
    for verifier in [directory.verifier(), LdapVerifier::new(searching(tcp)).unwrap()] {
        verifier.check().await.unwrap();
        let alice = log_in(&verifier, "alice", PASSWORD).await.unwrap();
        assert_eq!((alice.principal(), permissions(&alice)), ("alice", set(&["orders:*", "staff", "orders:read"])));
        let bob = log_in(&verifier, "bob", PASSWORD).await.unwrap();
        assert_eq!(permissions(&bob), set(&["orders:read", "staff"]));
        assert_eq!(log_in(&verifier, "alice", b"guess").await, Err(Reason::WrongPassword));
        assert_eq!(log_in(&verifier, "mallory", PASSWORD).await, Err(Reason::UnknownUser));
        assert_eq!(
            log_in(&verifier, "ALICE", PASSWORD).await.unwrap().principal(),
            "alice",
            "one account has one name"
        );
        assert!(matches!(log_in(&verifier, "nobody's", PASSWORD).await, Err(Reason::Application(_))), "in no group");
        assert_eq!(log_in(&verifier, "locked", PASSWORD).await, Err(Reason::AccountLocked));
        assert_eq!(log_in(&verifier, "fresh", PASSWORD).await, Err(Reason::AccountExpired), "to be changed first");
        assert_eq!(log_in(&verifier, "fresh", b"guess").await, Err(Reason::WrongPassword));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_password_or_by_a_name_that_says_more() {
    let Some(directory) = Directory::start() else { return };
    let named = directory.config().with_names("uid={user},ou=people,dc=example").with_permissions(["read"]);
    for verifier in [directory.verifier(), LdapVerifier::new(named).unwrap()] {
        for user in ["alice", "mallory", ""] {
            for password in [&b""[..], b"\0", b"\xff\xfe", b"correct horse\0"] {
                assert_eq!(log_in(&verifier, user, password).await, Err(Reason::UnknownUser), "{user:?} {password:?}");
            }
        }
        for user in [
            "",
            " alice",
            "alice ",
            "*",
            "a*",
            "alice)(uid=*",
            "*)(|(uid=*",
            "alice,ou=people,dc=example",
            "alice+cn=alice",
            "alice\\",
            "\u{0}alice",
            "alice\0",
            "#616c696365",
            "\"alice\"",
            "{user}",
            "{dn}",
            "(",
            ")",
            "\\2a",
            "a=b,c=d",
        ] {
            assert_eq!(log_in(&verifier, user, PASSWORD).await, Err(Reason::UnknownUser), "{user:?}");
        }
        assert!(log_in(&verifier, "alice", PASSWORD).await.is_ok());
        let context = Context::uncounted();
        let token = verifier.verify(&Attempt::new(Credential::Token(b"correct horse"), &context)).await;
        assert_eq!(token, Err(Reason::UnknownToken));
    }
    let (no_service, no_place) =
        (directory.config().with_search("dc=example", "(uid={user})"), directory.config().with_names("uid=alice"));
    let no_password =
        directory.config().with_search("dc=example", "(uid={user})").with_service("cn=countersign,dc=example", "");
    for config in [directory.config(), no_service, no_place, no_password] {
        assert!(matches!(LdapVerifier::new(config), Err(LdapError::People)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_with_names_by_a_template_are_read_as_themselves() {
    let Some(directory) = Directory::start() else { return };
    let config = directory.config().with_names("uid={user},ou=people,dc=example");
    let config = config.with_permissions_of("cn=chiefs,ou=groups,dc=example", ["orders:*"]);
    let verifier = LdapVerifier::new(config.clone()).unwrap();
    let alice = log_in(&verifier, "Alice", PASSWORD).await.unwrap();
    assert_eq!((alice.principal(), permissions(&alice)), ("alice", set(&["orders:*"])), "by memberOf");
    assert_eq!(alice.epoch(), None, "nobody could look her up again");
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await, Err(Reason::ResumeUnsupported));
    assert_eq!(log_in(&verifier, "alice", b"guess").await, Err(Reason::UnknownUser), "it does not say which is wrong");
    assert_eq!(log_in(&verifier, "locked", PASSWORD).await, Err(Reason::AccountLocked));
    assert!(matches!(log_in(&verifier, "bob", PASSWORD).await, Err(Reason::Application(_))));
    // With a service account the same template has tickets.
    let verifier = LdapVerifier::new(config.with_service("cn=countersign,dc=example", "of the service")).unwrap();
    let alice = log_in(&verifier, "alice", PASSWORD).await.unwrap();
    assert!(alice.epoch().is_some());
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await.unwrap(), alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_is_who_they_are_now() {
    let Some(directory) = Directory::start() else { return };
    let verifier = directory.verifier();
    let first = log_in(&verifier, "alice", PASSWORD).await.unwrap();
    assert!(first.epoch().is_some());
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await.unwrap(), first);
    // Failed guesses of others are no change.
    let _ = log_in(&verifier, "alice", b"guess").await;
    assert_eq!(log_in(&verifier, "alice", PASSWORD).await.unwrap(), first);
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Token).await, Err(Reason::AccountDisabled));
    assert_eq!(come_back(&verifier, "mallory", CredentialKind::Password).await, Err(Reason::UnknownUser));
    let alice = "uid=alice,ou=people,dc=example";
    let out_of_group = ldap3::Mod::Delete("member", HashSet::from([alice]));
    directory.change("cn=Chiefs,ou=groups,dc=example", out_of_group).await;
    let fewer = come_back(&verifier, "alice", CredentialKind::Password).await.unwrap();
    assert_eq!(permissions(&fewer), set(&["orders:read", "staff"]));
    assert_ne!(fewer.epoch(), first.epoch());
    directory.change(alice, ldap3::Mod::Replace("userPassword", HashSet::from(["another"]))).await;
    // It was another's hand: she would have to change it first.
    assert_eq!(log_in(&verifier, "alice", b"another").await, Err(Reason::AccountExpired));
    directory.change(alice, ldap3::Mod::Delete("pwdReset", HashSet::new())).await;
    let changed = come_back(&verifier, "alice", CredentialKind::Password).await.unwrap();
    assert_ne!(changed.epoch(), fewer.epoch());
    assert_ne!(changed.credential_epoch(), fewer.credential_epoch());
    assert_eq!(log_in(&verifier, "alice", PASSWORD).await, Err(Reason::WrongPassword));
    assert_eq!(log_in(&verifier, "alice", b"another").await.unwrap(), changed);
    directory.change(alice, ldap3::Mod::Replace("pwdAccountLockedTime", HashSet::from(["000001010000Z"]))).await;
    assert_eq!(come_back(&verifier, "alice", CredentialKind::Password).await, Err(Reason::AccountLocked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_can_not_be_asked_says_not_now_whatever_the_password() {
    let Some(mut directory) = Directory::start() else { return };
    let verifier = directory.verifier();
    let patient = |time| LdapVerifier::new(searching(directory.config().with_patience(time))).unwrap();
    let hasty = patient(Duration::from_millis(300));
    let is_away = |verdict: Result<Grant, Reason>| assert!(matches!(verdict, Err(Reason::NotNow(_))), "{verdict:?}");
    directory.signal("-STOP");
    for password in [PASSWORD, b"guess"] {
        is_away(log_in(&hasty, "alice", password).await);
    }
    is_away(come_back(&hasty, "alice", CredentialKind::Password).await);
    directory.signal("-CONT");
    let other = |password: &str| {
        let config = searching(directory.config()).with_service("cn=countersign,dc=example", password);
        LdapVerifier::new(config).unwrap()
    };
    for user in ["alice", "mallory"] {
        is_away(log_in(&other("of nobody"), user, PASSWORD).await);
    }
    assert!(matches!(other("of nobody").check().await, Err(LdapError::Away(_))));
    directory.kill();
    for (user, password) in [("alice", PASSWORD), ("alice", b"guess"), ("mallory", PASSWORD), ("", b"")] {
        is_away(log_in(&verifier, user, password).await);
    }
    directory.restart();
    assert!(log_in(&verifier, "alice", PASSWORD).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_machine_goes_to_the_directory_alone() {
    let Some(directory) = Directory::with_tls(true) else { return };
    let authority = fs::read(directory.folder.path().join("ca.pem")).unwrap();
    let secure = format!("ldaps://localhost:{}", directory.tls.unwrap());
    // An address that does not look as if it were this machine's.
    let starting = format!("ldap://127.0.0.2:{}", directory.port);
    for address in [&secure, &starting] {
        let config = || searching(LdapConfig::parse(address).unwrap());
        let trusting = LdapVerifier::new(config().with_roots(&authority).unwrap()).unwrap();
        assert!(log_in(&trusting, "alice", PASSWORD).await.is_ok(), "{address}");
        let doubting = LdapVerifier::new(config()).unwrap();
        assert!(matches!(log_in(&doubting, "alice", PASSWORD).await, Err(Reason::NotNow(_))), "{address}");
    }
    let wrong_name = searching(LdapConfig::parse(&format!("ldaps://127.0.0.1:{}", directory.tls.unwrap())).unwrap());
    let wrong_name = LdapVerifier::new(wrong_name.with_roots(&authority).unwrap()).unwrap();
    assert!(matches!(log_in(&wrong_name, "alice", PASSWORD).await, Err(Reason::NotNow(_))));
    assert!(matches!(LdapConfig::parse(&secure).unwrap().with_roots(b"none"), Err(LdapError::Roots)));
    // Where StartTLS is not to be had, nothing is said in the clear.
    let Some(plain) = Directory::start() else { return };
    let plain = LdapConfig::parse(&format!("ldap://127.0.0.2:{}", plain.port)).unwrap();
    let stubborn = LdapVerifier::new(searching(plain.clone())).unwrap();
    assert!(matches!(log_in(&stubborn, "alice", PASSWORD).await, Err(Reason::NotNow(_))));
}
