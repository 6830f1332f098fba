//! A real LDAP directory: Debian's `slapd`, on a socket in a folder of its own. Shared with the tests of the command.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(clippy::duplicate_mod, reason = "a test of the command has it in its own support, too")]
#[path = "../../../tests/support/left_out.rs"]
mod left_out;

use left_out::left_out;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A directory of one test's own, with alice (a chief and a clerk), bob (a clerk), `nobody's` (in no group), locked, and fresh (whose password
/// is to be changed first) among its people, and a guest who has bob's name.
pub struct Directory {
    pub folder: tempfile::TempDir,
    process: Child,
    /// For `ldap:` and for `ldaps:`, where it listens there, too.
    ports: Option<(u16, Option<u16>)>,
}

/// All of the people have it.
pub const PASSWORD: &[u8] = b"correct horse";

/// The password of the guest.
pub const GUESTS: &[u8] = b"another horse";

/// The account that may read the others, and its password.
pub const SERVICE: (&str, &str) = ("cn=countersign,dc=example", "of the service");

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

dn: ou=guests,dc=example
objectClass: organizationalUnit
ou: guests

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
    of_unit("people", uid, "correct horse", more)
}

fn of_unit(unit: &str, uid: &str, password: &str, more: &str) -> String {
    format!(
        "\ndn: uid={uid},ou={unit},dc=example\nobjectClass: inetOrgPerson\nobjectClass: shadowAccount\nuid: {uid}\ncn: {uid}\nsn: {uid}\n\
         userPassword: {password}\npwdChangedTime: 20260101000000Z\n{more}"
    )
}

impl Directory {
    /// On a socket in its folder alone; none where there is no slapd.
    pub fn start() -> Option<Self> {
        Self::with(None)
    }

    /// On ports of all addresses of this machine, too: with `ldaps:` and StartTLS, or without.
    pub fn on_the_network(has_tls: bool) -> Option<Self> {
        Self::with(Some(has_tls))
    }

    fn with(network: Option<bool>) -> Option<Self> {
        if !Path::new("/usr/sbin/slapd").exists() {
            left_out("slapd", "no /usr/sbin/slapd (Debian's package slapd)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(at("db")).unwrap();
        let certificates = if network == Some(true) { certificates(folder.path()) } else { String::new() };
        let settings = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\ninclude /etc/ldap/schema/inetorgperson.schema\n\
             include /etc/ldap/schema/nis.schema\n\
             pidfile {pid}\n{certificates}\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload memberof\nmoduleload ppolicy\n\
             database mdb\nsuffix dc=example\ndirectory {db}\nrootdn cn=admin,dc=example\nrootpw \"of the admin\"\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.base=cn=countersign,dc=example read by self read by anonymous auth by * none\n\
             overlay memberof\noverlay ppolicy\nppolicy_default cn=policy,dc=example\nppolicy_use_lockout\n",
            pid = at("pid"),
            db = at("db"),
        );
        fs::write(at("conf"), settings).unwrap();
        let groups = "memberOf: cn=Chiefs,ou=groups,dc=example\nmemberOf: cn=clerks,ou=groups,dc=example\n";
        let people = [
            PEOPLE.to_owned(),
            person("alice", groups),
            person("bob", ""),
            person("nobody's", ""),
            person("locked", "pwdAccountLockedTime: 000001010000Z\n"),
            person("fresh", "pwdReset: TRUE\n"),
            of_unit("guests", "bob", "another horse", ""),
        ];
        fs::write(at("ldif"), people.concat()).unwrap();
        let slapadd = Command::new("/usr/sbin/slapadd").args(["-f", &at("conf"), "-l", &at("ldif")]).output().unwrap();
        assert!(slapadd.status.success(), "slapadd: {}: {}", slapadd.status, String::from_utf8_lossy(&slapadd.stderr));
        // Whoever else looks for a free port may take the one that was found here before slapd does.
        for _ in 0..10 {
            let ports = network.map(|has_tls| (free_port(), has_tls.then(free_port)));
            match run(folder.path(), ports) {
                Ok(process) => return Some(Self { folder, process, ports }),
                Err(said) if said.contains("Address already in use") => eprintln!("again, at other ports: {said}"),
                Err(said) => panic!("{said}"),
            }
        }
        panic!("there is no free port");
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.process = run(self.folder.path(), self.ports).unwrap_or_else(|said| panic!("{said}"));
    }

    /// `-STOP` and `-CONT`, for one that hangs: from now on.
    pub fn signal(&self, signal: &str) {
        let id = self.process.id();
        assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
        // One thread may have answered while another was stopped.
        let is_stopped = |task: &fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        if let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task"))
            && signal == "-STOP"
        {
            for task in tasks.flatten() {
                while !is_stopped(&task) {
                    std::thread::yield_now();
                }
            }
        }
    }

    /// The address of its socket.
    pub fn socket(&self) -> String {
        address_of(&self.folder.path().join("socket"))
    }

    pub fn port(&self) -> u16 {
        self.ports.unwrap().0
    }

    pub fn tls_port(&self) -> u16 {
        self.ports.unwrap().1.unwrap()
    }

    /// The file of the authority that its certificate is of.
    pub fn authority(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// Changes an entry as its administrator does.
    pub async fn change(&self, dn: &str, change: ldap3::Mod<&str>) {
        self.administer().await.modify(dn, vec![change]).await.unwrap().success().unwrap();
    }

    /// Gives an entry, with all below it, another first part of its name.
    pub async fn rename(&self, dn: &str, first: &str) {
        self.administer().await.modifydn(dn, first, true, None).await.unwrap().success().unwrap();
    }

    async fn administer(&self) -> ldap3::Ldap {
        let (connection, mut ldap) = ldap3::LdapConnAsync::new(&self.socket()).await.unwrap();
        tokio::spawn(async move { connection.drive().await });
        ldap.simple_bind("cn=admin,dc=example", "of the admin").await.unwrap().success().unwrap();
        ldap
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // One that was stopped would not end.
        let _ = Command::new("kill").args(["-CONT", &self.process.id().to_string()]).stderr(Stdio::null()).status();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address of a socket.
pub fn address_of(socket: &Path) -> String {
    format!("ldapi://{}", socket.display().to_string().replace('/', "%2F"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts it, and waits until it says that it has; what it said, where it ended instead.
fn run(folder: &Path, ports: Option<(u16, Option<u16>)>) -> Result<Child, String> {
    let socket = folder.join("socket");
    let _ = fs::remove_file(&socket);
    let mut listen = address_of(&socket);
    if let Some((port, secure)) = ports {
        listen.push_str(&format!(" ldap://0.0.0.0:{port}"));
        listen.extend(secure.map(|secure| format!(" ldaps://0.0.0.0:{secure}")));
    }
    let conf = folder.join("conf");
    // It makes, and fills, a table with a place for each file that it could open: gigabytes where there is no limit to that.
    let mut process = Command::new("sh")
        .args(["-c", "ulimit -n 1024; exec /usr/sbin/slapd \"$@\"", "slapd", "-d", "16384", "-h", &listen, "-f"])
        .arg(conf)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Not into a file: where the disk is full, what it said of that would be lost, too.
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = String::new();
    for line in lines.by_ref() {
        said.push_str(&line);
        said.push('\n');
        if line.ends_with("slapd starting") {
            break;
        }
    }
    if !said.ends_with("slapd starting\n") {
        return Err(format!("slapd: {}: {said}", process.wait().unwrap()));
    }
    // It must not wait for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    while UnixStream::connect(&socket).is_err() {
        if let Some(status) = process.try_wait().unwrap() {
            return Err(format!("slapd: {status}, once it had started: {said}"));
        }
        std::thread::yield_now();
    }
    Ok(process)
}

/// An authority, and a certificate of it for localhost and 127.0.0.2.
fn certificates(folder: &Path) -> String {
    let script = "\
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem \
        && openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem \
        && printf 'subjectAltName=DNS:localhost,IP:127.0.0.2' > names \
        && openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let at = |name: &str| folder.join(name).display().to_string();
    format!("TLSCertificateFile {}\nTLSCertificateKeyFile {}\n", at("cert.pem"), at("key.pem"))
}
