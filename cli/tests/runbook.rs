//! docs/runbook.md: every command in it works, in the order in which it stands there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::Credential;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use support::{ALICE, House, Said, Server, command, connect, finish, run};

const RUNBOOK: &str = include_str!("../../docs/runbook.md");

/// The configuration that packages ship.
const CONFIGURATION: &str = include_str!("../../contrib/serve.toml");

/// What stands there for a name, as a comment or not.
fn shipped(name: &str) -> &'static str {
    let lines = CONFIGURATION.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
    values.next().unwrap_or_else(|| panic!("no {name} in it"))
}

/// The commands of a section: what stands in its blocks of `sh`.
fn commands(section: &str) -> String {
    let heading = format!("\n## {section}\n");
    let text = RUNBOOK.split_once(&heading).unwrap_or_else(|| panic!("no section {section}")).1;
    let text = text.split_once("\n## ").map_or(text, |(text, _)| text);
    text.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0).collect()
}

/// The sections that have commands.
fn sections() -> Vec<&'static str> {
    RUNBOOK
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|section| !commands(section).is_empty())
        .collect()
}

/// The machine of the runbook: its files in a folder, its service a process of this test.
struct Machine {
    house: House,
    server: Option<Server>,
    /// That of the service. Another than this test's, where it may give files away.
    group: u32,
}

const USERS: [(&str, &str); 2] = [("alice", "secret of alice"), ("bob", "secret of bob")];

impl Machine {
    /// As somebody has it who has gone through *Setting up*.
    fn new() -> Self {
        let house = House::empty();
        let own = fs::metadata(house.path("")).unwrap().gid();
        let group = chown(house.path(""), None, Some(own + 1)).map_or(own, |()| own + 1);
        let machine = Self { house, server: None, group };
        let users = machine.at(shipped("users"));
        for (user, password) in USERS {
            run(&["user", "add", user, "--password-stdin", "--users", &users], format!("{password}\n")).ok();
        }
        run(&["user", "add", "robot", "--no-password", "--users", &users], "").ok();
        run(&["user", "token", "robot", "--users", &users], "").ok();
        machine
    }

    /// Where a path of the runbook is.
    fn at(&self, text: &str) -> String {
        let folder = self.house.path("");
        text.replace("/etc/countersign/", &folder).replace("/var/lib/countersign/", &folder)
    }

    fn serve(&mut self) {
        let (keys, users, tickets) =
            (self.at(shipped("keys")), self.at(shipped("users")), self.at(shipped("ticket-keys")));
        let args = ["serve", "--listen", "127.0.0.1:0", "--keys", &keys, "--users", &users, "--ticket-keys", &tickets];
        self.server = Some(Server::of(command(&args)));
    }

    fn server(&mut self) -> &mut Server {
        if self.server.is_none() {
            self.serve();
        }
        self.server.as_mut().unwrap()
    }

    /// A command of the runbook: what is the machine's is done by this test, everything else by a shell.
    fn run(&mut self, line: &str) -> Said {
        println!("$ {line}");
        match line {
            "systemctl reload countersign" => {
                let server = self.server();
                let hangup = Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap();
                assert!(hangup.success());
                server.wait_for(&["event=keys-reloaded"]);
            }
            // With the service alone, a client that comes meanwhile has the socket start it again.
            "systemctl stop countersign.socket countersign.service" => {
                let (status, err) = self.server().stop("-TERM");
                assert_eq!(status, 0, "{err}");
            }
            "systemctl start countersign.socket countersign.service" => self.serve(),
            other if other.starts_with("systemctl ") => {
                panic!("{other}: what would that do to a service and its socket?")
            }
            _ => return self.shell(line),
        }
        Said { status: 0, out: String::new(), err: String::new() }
    }

    fn shell(&mut self, line: &str) -> Said {
        let folder = self.house.path("");
        let address = if line.contains("db.example") { self.server().address.clone() } else { String::new() };
        let own = fs::metadata(&folder).unwrap().uid();
        // There is no such user or group here.
        let line =
            line.replace("sudo -u countersign ", "").replace("root:countersign", &format!("{own}:{}", self.group));
        let line = self.at(&line).replace("db.example:4500", &address);
        // What a person types at a prompt.
        let asks = line.contains(" login ") || line.contains(" passwd ");
        let line = if asks { format!("{line} --password-stdin") } else { line };
        let said = if asks { "secret of alice\n" } else { "" };
        let mut shell = Command::new("/bin/sh");
        let path = Path::new(env!("CARGO_BIN_EXE_countersign")).parent().unwrap().display();
        let path = format!("{path}:{}", std::env::var("PATH").unwrap());
        shell
            .args(["-e", "-c", &line])
            .current_dir(&folder)
            .env("PATH", path)
            .env("XDG_STATE_HOME", self.house.path("state"));
        shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        finish(shell.stderr(std::process::Stdio::piped()), said)
    }

    /// Runs every command of a section; each has to work.
    #[track_caller]
    fn follow(&mut self, section: &str) -> Vec<Said> {
        let lines: Vec<String> = commands(section).lines().map(str::to_owned).collect();
        let said = lines.iter().map(|line| self.run(line).ok()).collect();
        self.service_can_read_its_keys();
        said
    }

    /// Its user is not who goes through the runbook.
    #[track_caller]
    fn service_can_read_its_keys(&self) {
        let folder = self.at(shipped("keys"));
        let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        for path in files.chain([folder.into()]) {
            let meta = fs::metadata(&path).unwrap();
            let of_group = if meta.is_dir() { 0o050 } else { 0o040 };
            let mode = meta.permissions().mode();
            let can =
                (meta.gid() == self.group && mode & of_group == of_group) || mode & (of_group >> 3) == of_group >> 3;
            assert!(can, "{}: mode {mode:o}, group {}", path.display(), meta.gid());
        }
    }

    fn login(&mut self, who: &str) -> Said {
        self.shell(&format!("countersign login --server db.example:4500 --user alice {who} --no-resume --send whoami"))
    }

    /// What `key list` says of a key.
    fn key(&self, role: &str) -> Vec<String> {
        let said = run(&["key", "list", "--keys", &self.at(shipped("keys"))], "").ok().out;
        let line = said.lines().find(|line| line.starts_with(role)).unwrap_or_else(|| panic!("no {role} in {said}"));
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn pin(&self, role: &str) -> String {
        self.key(role)[1].clone()
    }

    /// So that clients of this test know the server.
    fn take_over_the_key(&self) {
        let file = format!("{}/{}", self.at(shipped("keys")), self.key("current")[2]);
        fs::copy(file, self.house.path("server.pem")).unwrap();
    }
}

#[test]
fn every_section_with_commands_has_a_test() {
    assert_eq!(
        sections(),
        [
            "Setting up",
            "A planned rotation",
            "A server key is stolen",
            "Ticket keys are stolen",
            "An identity key is stolen",
            "The account file is stolen"
        ]
    );
    // The table at the top leads to them.
    for line in RUNBOOK.lines().filter(|line| line.starts_with("| [")) {
        let anchor = line.split_once("(#").unwrap().1.split_once(')').unwrap().0;
        assert!(sections().iter().any(|section| section.to_lowercase().replace(' ', "-") == anchor), "{anchor}");
    }
}

#[test]
fn setting_up_leads_to_a_login_by_identity() {
    let mut machine = Machine::new();
    let said = machine.follow("Setting up");
    assert!(said.iter().any(|said| said.out.contains("alice")), "{said:?}");
    assert_eq!(fs::metadata(machine.house.path("identity.pem")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_planned_rotation_loses_nobody() {
    let mut machine = Machine::new();
    machine.follow("Setting up");
    let (current, next) = (machine.pin("current"), machine.pin("next"));
    // The key of this pin is kept, whole.
    machine.login(&format!("--pin {current}")).ok();
    machine.follow("A planned rotation");
    assert_eq!((machine.pin("current"), machine.pin("retired")), (next.clone(), current.clone()));
    for who in [format!("--pin {current}"), format!("--pin {next}"), "--identity-key identity.pub.pem".to_owned()] {
        machine.login(&who).ok();
    }
    // And once more: each time the one that was next is known.
    machine.follow("A planned rotation");
    machine.login("--identity-key identity.pub.pem").ok();
}

#[test]
fn a_stolen_server_key_is_of_no_use_to_anybody_afterwards() {
    let mut machine = Machine::new();
    machine.follow("Setting up");
    let (current, next) = (machine.pin("current"), machine.pin("next"));
    machine.login(&format!("--pin {current}")).ok();
    machine.follow("A server key is stolen");
    for pin in [current, next] {
        machine.login(&format!("--pin {pin}")).fails(3, &["not trusted"]);
    }
    machine.login("--identity-key identity.pub.pem").ok();
    let current = machine.pin("current");
    machine.login(&format!("--pin {current}")).ok();
}

#[test]
fn tickets_made_with_stolen_keys_are_not_taken() {
    let mut machine = Machine::new();
    machine.follow("Setting up");
    let resumes = |machine: &mut Machine| {
        let login = "countersign login --server db.example:4500 --user alice --identity-key identity.pub.pem --resume --send whoami";
        machine.shell(login).ok().err.contains("resumed")
    };
    resumes(&mut machine);
    assert!(resumes(&mut machine));
    machine.follow("Ticket keys are stolen");
    assert!(!resumes(&mut machine), "the ticket of before was taken");
}

#[test]
fn a_stolen_identity_is_replaced_by_another() {
    let mut machine = Machine::new();
    machine.follow("Setting up");
    machine.follow("An identity key is stolen");
    let pin = fs::read_to_string(machine.house.path("manifest-2.pem")).unwrap();
    assert!(pin.contains("COUNTERSIGN MANIFEST"));
    machine.login("--identity-key identity.pub.pem").fails(3, &["identity"]);
    machine.login("--identity-key identity-2.pub.pem").ok();
}

#[test]
fn a_stolen_account_file_is_changed_while_the_server_runs() {
    let mut machine = Machine::new();
    machine.follow("Setting up");
    machine.take_over_the_key();
    let address = machine.server().address.clone();
    let bob = Credential::Password { user: "bob", password: b"secret of bob" };
    let open = [ALICE, bob].map(|who| machine.house.session_as(connect(&address), who));
    let said = machine.follow("The account file is stolen");
    assert!(said.iter().any(|said| said.out.contains("bob")), "{said:?}");
    machine.login("--identity-key identity.pub.pem").ok();
    // Whoever had stolen the file was in already, perhaps.
    for mut session in open {
        assert_eq!(session.read(&mut [0]).unwrap(), 0, "a session goes on");
    }
    let log = machine.server();
    for (user, code) in [("alice", "credential-changed"), ("bob", "account-locked")] {
        log.said(&["event=session-ended", &format!("user=\"{user}\""), &format!("code={code}")]);
    }
}
