//! What packages ship, and how a service manager starts the server.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{House, PATIENCE, Server, run};

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs a program of the machine's; none where it is not there.
fn tool(program: &str, args: &[&str]) -> Option<std::process::Output> {
    Command::new(program).args(args).stdin(Stdio::null()).output().ok()
}

#[test]
fn the_version_names_commit_provider_and_features() {
    let said = run(&["--version"], "").ok().out;
    let lines: Vec<&str> = said.lines().collect();
    let version = concat!("countersign ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(lines[0].starts_with(version) && lines[0].ends_with(')'), "{said}");
    assert!(["provider: aws-lc-rs", "provider: rustcrypto"].contains(&lines[1]), "{said}");
    assert!(lines[2].starts_with("features: ") && lines[2].contains("rustcrypto"), "{said}");
    let root = root();
    // Each that there is, if it is built with.
    let manifest = fs::read_to_string(root.join("cli/Cargo.toml")).unwrap();
    let features = manifest.split("[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let features = features.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let mut all: Vec<&str> = features.map(|(name, _)| name).filter(|name| *name != "default").collect();
    all.sort_unstable();
    assert!(all.len() > 6, "{all:?}");
    let built: Vec<&str> = lines[2].strip_prefix("features: ").unwrap().split(", ").collect();
    let expected: Vec<&str> = all.iter().copied().filter(|name| is_built_with(name)).collect();
    assert_eq!(built, expected, "{said}");
    if let Some(head) =
        tool("git", &["-C", root.to_str().unwrap(), "rev-parse", "HEAD"]).filter(|done| done.status.success())
    {
        let commit = lines[0].strip_prefix(version).unwrap().trim_end_matches(')');
        assert!(
            String::from_utf8(head.stdout).unwrap().starts_with(commit) || std::env::var("COUNTERSIGN_COMMIT").is_ok()
        );
    }
    assert_eq!(run(&["-V"], "").ok().out, format!("{}\n", lines[0]));
}

/// One that is new stands here and in `build.rs`.
fn is_built_with(feature: &str) -> bool {
    match feature {
        "aws-lc" => cfg!(feature = "aws-lc"),
        "ldap" => cfg!(feature = "ldap"),
        "redis" => cfg!(feature = "redis"),
        "rustcrypto" => cfg!(feature = "rustcrypto"),
        "sql" => cfg!(feature = "sql"),
        "ssh-agent" => cfg!(feature = "ssh-agent"),
        "x509" => cfg!(feature = "x509"),
        other => panic!("is it built with {other}?"),
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let house = House::empty();
    run(&["man", &house.path(".")], "").ok();
    let pages: Vec<PathBuf> = fs::read_dir(house.folder.path()).unwrap().map(|page| page.unwrap().path()).collect();
    for name in
        ["countersign", "countersign-serve", "countersign-login", "countersign-key-show", "countersign-user-add"]
    {
        assert!(pages.iter().any(|page| page.file_name().unwrap() == format!("{name}.1").as_str()), "{name}");
    }
    for page in pages {
        let path = page.to_str().unwrap();
        assert!(fs::read_to_string(path).unwrap().contains(".SH NAME"), "{path}");
        // A reader that warns of nothing.
        if let Some(read) = tool("groff", &["-man", "-Tutf8", "-ww", path]) {
            assert!(read.status.success() && read.stderr.is_empty(), "{path}: {read:?}");
        }
    }
    run(&["man", &house.path("missing")], "").fails(1, &["missing", "make the directory first"]);
}

#[test]
fn completions_are_what_their_shells_read() {
    let house = House::empty();
    for shell in ["bash", "zsh", "fish"] {
        let said = run(&["completions", shell], "").ok().out;
        assert!(said.contains("keygen") && said.contains("passphrase-file"), "{shell}");
        let path = house.write(shell, said.as_bytes(), 0o600);
        if let Some(read) = tool(shell, &["-n", &path]) {
            assert!(read.status.success(), "{shell}: {read:?}");
        }
    }
    run(&["completions", "csh"], "").fails(2, &["bash"]);
}

#[test]
fn a_package_has_all_its_parts() {
    let house = House::empty();
    let installed = Command::new(root().join("contrib/install"))
        .envs([("DESTDIR", house.path("").as_str()), ("PREFIX", "/opt/own"), ("BINARY", BINARY)])
        .output()
        .unwrap();
    assert!(installed.status.success(), "{installed:?}");
    for part in [
        "bin/countersign",
        "share/man/man1/countersign.1",
        "share/man/man1/countersign-serve.1",
        "share/bash-completion/completions/countersign",
        "share/zsh/site-functions/_countersign",
        "share/fish/vendor_completions.d/countersign.fish",
        "lib/systemd/system/countersign.service",
        "lib/systemd/system/countersign.socket",
        "lib/sysusers.d/countersign.conf",
        "share/countersign/countersign-databases.conf",
        "share/countersign/serve.toml",
    ] {
        assert!(fs::metadata(house.path(&format!("opt/own/{part}"))).unwrap().len() > 0, "{part}");
    }
    let unit = house.read("opt/own/lib/systemd/system/countersign.service");
    assert!(unit.contains("ExecStart=/opt/own/bin/countersign serve ") && !unit.contains("/usr/bin"), "{unit}");
}

/// Whatever whoever installs it keeps from others by default.
#[test]
fn what_is_installed_can_be_read_by_all_and_changed_by_its_owner_alone() {
    let house = House::empty();
    let install = format!("umask 077; exec {}", root().join("contrib/install").display());
    let installed = Command::new("sh")
        .args(["-c", &install])
        .envs([("DESTDIR", house.path("root").as_str()), ("PREFIX", "/usr"), ("BINARY", BINARY)])
        .output()
        .unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let (mut left, mut files) = (vec![PathBuf::from(house.path("root/usr"))], 0);
    while let Some(path) = left.pop() {
        let (meta, shown) = (fs::symlink_metadata(&path).unwrap(), path.display());
        let is_run = path.ends_with("bin/countersign");
        let mode = if meta.is_dir() || is_run { 0o755 } else { 0o644 };
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{shown}");
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert!(meta.is_file(), "{shown}");
            files += 1;
        }
    }
    assert!(files > 20, "{files} files");
}

/// What the unit's service may do and is kept from, line by line. Whoever takes something out of it, or opens it, does so here as well.
const SERVICE: [&str; 45] = [
    "Type=notify",
    "ExecStart=/usr/bin/countersign serve --config /etc/countersign/serve.toml",
    "ExecReload=/usr/bin/countersign check-config /etc/countersign/serve.toml",
    "ExecReload=kill -HUP $MAINPID",
    "User=countersign",
    "Group=countersign",
    "ConfigurationDirectory=countersign",
    "ConfigurationDirectoryMode=0750",
    "StateDirectory=countersign",
    "StateDirectoryMode=0700",
    "Restart=on-failure",
    "RestartSec=1s",
    "KillMode=mixed",
    "LimitNOFILE=65536",
    "TasksMax=4096",
    "AmbientCapabilities=",
    "CapabilityBoundingSet=",
    "DevicePolicy=closed",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "PrivateTmp=yes",
    "PrivateUsers=yes",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RemoveIPC=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "SystemCallFilter=setrlimit prlimit64",
    "UMask=0077",
];

/// The settings of a section of a file of systemd's.
fn section<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let lines = text.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// What systemd-analyze says of it is a sum, in which no single line counts for much.
#[test]
fn the_unit_shuts_what_the_server_does_not_need() {
    let read = |file: &str| fs::read_to_string(root().join("contrib/systemd").join(file)).unwrap();
    let unit = read("countersign.service");
    assert_eq!(section(&unit, "Service"), SERVICE);
    assert_eq!(unit.matches("[Service]").count(), 1);
    let listens = [
        "Description=countersign: a login in front of a service",
        "Documentation=man:countersign-serve(1)",
        "Requires=countersign.socket",
        "After=network.target countersign.socket",
    ];
    assert_eq!(section(&unit, "Unit"), listens);
    assert_eq!(section(&unit, "Install"), ["WantedBy=multi-user.target"]);
    // Where README.md, the image and PROTOCOL.md's examples have it.
    let socket = read("countersign.socket");
    assert_eq!(section(&socket, "Socket"), ["ListenStream=4500", "Backlog=4096", "NoDelay=yes"]);
    assert_eq!(section(&socket, "Install"), ["WantedBy=sockets.target"]);
    // The drop-in adds passwords, and takes nothing away.
    let drop_in = read("countersign-databases.conf");
    assert_eq!(section(&drop_in, "Service"), [""; 0]);
    let order = [
        "After=postgresql.service redis-server.service valkey-server.service slapd.service",
        "Wants=network-online.target",
        "After=network-online.target",
    ];
    assert_eq!(section(&drop_in, "Unit"), order);
    // A user without a password, a shell or a home.
    let users = read("countersign.sysusers");
    let users: Vec<&str> = users.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(users, ["u countersign - \"countersign login server\""]);
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let house = House::empty();
    for unit in ["countersign.service", "countersign.socket"] {
        let text = fs::read_to_string(root().join("contrib/systemd").join(unit)).unwrap();
        house.write(unit, text.replace("/usr/bin/countersign", BINARY).as_bytes(), 0o644);
    }
    // With the drop-in for databases, and each of its passwords.
    let drop_in = fs::read_to_string(root().join("contrib/systemd/countersign-databases.conf")).unwrap();
    assert_eq!(drop_in.matches("\n#LoadCredential=").count(), 3);
    fs::create_dir(house.path("countersign.service.d")).unwrap();
    house.write("countersign.service.d/databases.conf", drop_in.replace("\n#Load", "\nLoad").as_bytes(), 0o644);
    let (service, socket) = (house.path("countersign.service"), house.path("countersign.socket"));
    let Some(verified) = tool("systemd-analyze", &["verify", "--man=no", &service, &socket]) else {
        return support::left_out("systemd", "there is no systemd-analyze here");
    };
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    // In tenths: 10 is the lowest there is to be had without rules for addresses.
    let shut =
        tool("systemd-analyze", &["security", "--offline=true", "--threshold=20", "--no-pager", &service]).unwrap();
    assert!(shut.status.success(), "{shut:?}");
}

/// The words behind `serve` in the unit's ExecStart.
fn options_of_the_unit() -> Vec<String> {
    let unit = fs::read_to_string(root().join("contrib/systemd/countersign.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/countersign ")).unwrap();
    start.split_ascii_whitespace().map(str::to_owned).collect()
}

/// The command as systemd starts it by the unit: with a socket as descriptor 3.
fn activated(house: &House, sockets: &str) -> (Command, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // The configuration that packages ship, with its files elsewhere.
    let shipped = fs::read_to_string(root().join("contrib/serve.toml")).unwrap();
    let folder = house.path("");
    let config = shipped.replace("/var/lib/countersign/users", &house.path("users.txt"));
    let config = config.replace("\"/etc/countersign/", &format!("\"{folder}"));
    let config = house.write("serve.toml", config.as_bytes(), 0o644);
    let options = options_of_the_unit().into_iter();
    let options = options.map(|option| if option == "/etc/countersign/serve.toml" { config.clone() } else { option });
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=$0 exec \"$@\"";
    command.args(["-c", script, sockets, BINARY]).args(options);
    command.stdin(OwnedFd::from(listener.try_clone().unwrap()));
    (command, listener)
}

/// Lines of it that stand as comments, too.
#[test]
fn every_name_in_the_configuration_that_packages_ship_is_one() {
    let house = House::new();
    let shipped = fs::read_to_string(root().join("contrib/serve.toml")).unwrap();
    let mut names = 0;
    for line in shipped.lines() {
        let line = line.trim_start_matches("# ");
        let Some((name, value)) = line.split_once(" = ").filter(|(name, _)| !name.contains(' ')) else { continue };
        names += 1;
        let key = if ["key", "keys"].contains(&name) { "" } else { "key = \"server.pem\"\n" };
        let listen = if name == "listen" { "" } else { "listen = \"127.0.0.1:0\"\n" };
        // What it needs beside it is missing, perhaps, and the files are not there: but it is a name, and a value of its kind.
        let file = house.write("one.toml", format!("{listen}{key}{name} = {value}\n").as_bytes(), 0o644);
        let said = run(&["check-config", &file], "");
        for wrong in ["there is no \"", "write it as", "invalid value", "TOML"] {
            assert!(!said.err.contains(wrong), "{line}: {said:?}");
        }
    }
    assert!(names > 25, "{names} names in it");
}

/// Whatever else is said there is for whoever copies it to say: what is not said is as safe as the defaults, and what is shown is careful.
#[test]
fn the_configuration_that_packages_ship_says_where_it_listens_its_key_and_its_users_alone() {
    let shipped = fs::read_to_string(root().join("contrib/serve.toml")).unwrap();
    let on: Vec<&str> = shipped.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(
        on,
        ["listen = \"systemd\"", "key = \"/etc/countersign/server.pem\"", "users = \"/var/lib/countersign/users\""]
    );
    for careful in [
        "# users = \"postgres://countersign@db.example/accounts?sslmode=verify-full&",
        "# ldap = \"ldaps://",
        "# metrics-listen = \"127.0.0.1:",
        "# redis = \"redis://127.0.0.1:",
        "# proxy-protocol = [\"10.0.0.0/8\"]",
    ] {
        assert!(shipped.contains(careful), "{careful}");
    }
}

/// What is named behind a flag in a document's blocks of commands.
fn named<'a>(document: &'a str, flag: &str) -> BTreeSet<&'a str> {
    let blocks = document.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let words = blocks.flat_map(|block| block.split_whitespace().zip(block.split_whitespace().skip(1)));
    words.filter(|(word, place)| *word == flag && place.starts_with('/')).map(|(_, place)| place).collect()
}

/// Whoever follows one of them is to find at a place what the other has put there; and a server recovery codes that it can use up, hashes
/// that it can make anew.
#[test]
fn the_documents_have_the_places_of_the_configuration_and_the_service_may_change_what_it_has_to() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (configuration, unit) = (read("contrib/serve.toml"), read("contrib/systemd/countersign.service"));
    let place = |name: &str| {
        let lines = configuration.lines().map(|line| line.trim_start_matches("# "));
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
        values.next().unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let (install, runbook) = (read("contrib/README.md"), read("docs/runbook.md"));
    for (document, flag, name) in [
        (&install, "--users", "users"),
        (&install, "--out", "key"),
        (&runbook, "--users", "users"),
        (&runbook, "--keys", "keys"),
        (&runbook, "-f", "ticket-keys"),
    ] {
        assert_eq!(named(document, flag), BTreeSet::from([place(name).as_str()]), "{flag}");
    }
    assert!(section(&unit, "Service").contains(&"StateDirectory=countersign"));
    for name in ["users", "ticket-keys"] {
        let place = place(name);
        assert!(place.starts_with("/var/lib/countersign/"), "{name}, which the service can't change at {place}");
    }
}

#[test]
fn a_server_takes_the_socket_it_is_handed_and_says_when_it_is_ready() {
    let house = House::new();
    let manager = UnixDatagram::bind(house.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let len = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    };
    let (mut command, listener) = activated(&house, "1");
    command.args(["--exec", "env"]).env("NOTIFY_SOCKET", house.path("notify"));
    // A client that came before the server was there.
    let early = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut server = Server::with_stdin(command);
    assert_eq!(told().trim(), "READY=1");
    assert_eq!(server.address, listener.local_addr().unwrap().to_string());
    let mut session = house.session(early);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut session, &mut said).unwrap();
    assert!(said.contains("COUNTERSIGN_PRINCIPAL=alice"), "{said}");
    assert!(!said.contains("NOTIFY_SOCKET") && !said.contains("LISTEN_"), "{said}");
    let signalled = Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told().trim(), "READY=1", "whatever came of it: a manager waits for that");
    assert_eq!(server.stop("-TERM").0, 0);
    assert_eq!(told().trim(), "STOPPING=1");
    // The socket is the manager's: the next server goes on with it.
    TcpStream::connect(listener.local_addr().unwrap()).unwrap();
}

#[test]
fn a_server_that_is_handed_no_socket_says_so() {
    let house = House::new();
    let (mut command, _listener) = activated(&house, "0");
    let said = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    support::Said::from(said).fails(2, &["no socket was handed over", "socket unit"]);
    let (key, users) = (house.path("server.pem"), house.path("users.txt"));
    let serve = ["serve", "--listen", "systemd", "--key", &key, "--users", &users];
    run(&serve, "").fails(2, &["no socket was handed over"]);
}

#[test]
fn the_image_is_built_from_what_there_is_by_a_command_of_the_rehearsal() {
    let root = root();
    let text = fs::read_to_string(root.join("contrib/Dockerfile")).unwrap();
    let instructions: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let of = |name: &'static str| instructions.iter().filter(move |(of, _)| *of == name).map(|(_, rest)| *rest);
    let mut copied = Vec::new();
    for copy in of("COPY").filter(|copy| !copy.starts_with("--from")) {
        let (sources, _) = copy.rsplit_once(' ').unwrap();
        for source in sources.split(' ') {
            assert!(root.join(source).exists(), "{source}");
            copied.push(source);
        }
    }
    // Last of all it is what has no rights, and no shell.
    let last = text.split("\nFROM ").last().unwrap().trim_end();
    let shipped = "gcr.io/distroless/cc-debian12:nonroot\n\
        COPY --from=build /countersign/target/release/countersign /usr/bin/countersign\n\
        EXPOSE 4500\n\
        ENTRYPOINT [\"/usr/bin/countersign\"]\n\
        CMD [\"--help\"]";
    assert_eq!(last, shipped);
    // Which commit it is of is said by whoever builds it: there is no repository in it.
    assert_eq!(of("ENV").collect::<Vec<_>>(), ["COUNTERSIGN_COMMIT=$COUNTERSIGN_COMMIT"]);
    assert_eq!(of("USER").count(), 0, "nobody is anybody else in it");
    let rehearsal = fs::read_to_string(root.join(".ci/release")).unwrap();
    for build in of("RUN") {
        assert!(rehearsal.lines().any(|line| line.ends_with(build)), "nobody has tried: {build}");
    }
    let ignored = fs::read_to_string(root.join("contrib/Dockerfile.dockerignore")).unwrap();
    assert!(!ignored.lines().any(|line| copied.contains(&line)), "{ignored}");
    // With these alone, cargo finds everything that the manifests name.
    let house = House::empty();
    for source in copied {
        let done = tool("cp", &["-r", root.join(source).to_str().unwrap(), &house.path(source)]).unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    let manifest = house.path("Cargo.toml");
    let args =
        ["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1", "--manifest-path", &manifest];
    let read = tool(env!("CARGO"), &args).unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}
