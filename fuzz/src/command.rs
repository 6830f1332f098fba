//! What the command reads of what others wrote: a server's configuration, the header in front of a connection by a balancer, and the
//! users of another program.
//!
//! ```text
//! input = what (1) || the rest
//! ```
//!
//! | `what % 4` | the rest is |
//! |---|---|
//! | 0 | the file of `serve --config` |
//! | 1 | what a balancer sends: a PROXY header of version 1 or 2, and what the client says |
//! | 2 | a file for `user import`, into accounts that there are |
//! | 3 | the same with `--update` |
//!
//! A configuration that is in force can be written as one, and is in force again as the same; a wrong one is told with its place. A header
//! gives an address that stands in it, and takes no byte of the client's. An import changes nobody but those whom the file names, and each line
//! that it does not take is told, without what is secret in it.

use crate::memory;
use countersign::Accounts;
use countersign::accounts::Account;
use countersign_cli::fuzzed::{self, Proxied};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Gives how much was of use: settings, headers or users.
pub fn run(data: &[u8]) -> usize {
    let Some((what, rest)) = data.split_first() else { return 0 };
    match what % 4 {
        0 => config(rest),
        1 => proxy(rest),
        what => import(rest, what == 3),
    }
}

/// A file in memory, as far as that is there: it is read as often as there are inputs.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("countersign-fuzz-{}.toml", std::process::id()))
});

fn config_of(text: &[u8]) -> Result<String, String> {
    std::fs::write(&*FILE, text).unwrap();
    fuzzed::config(&FILE)
}

fn config(text: &[u8]) -> usize {
    match config_of(text) {
        Ok(in_force) => {
            // The password in an address is not repeated.
            let is_set = |line: &&str| !line.starts_with('#');
            if !in_force.contains('@') {
                assert_eq!(
                    config_of(in_force.as_bytes()).as_ref(),
                    Ok(&in_force),
                    "what is in force is no configuration"
                );
            }
            in_force.lines().filter(is_set).count()
        }
        Err(told) => {
            assert!(!told.is_empty());
            // Where it can be told, in which line and column, of those that there are.
            let lines = text.iter().filter(|&&byte| byte == b'\n').count() + 1;
            for place in told.split("countersign-fuzz-").skip(1) {
                let mut numbers = place.split(':').skip(1).map_while(|number| number.trim().parse::<usize>().ok());
                assert!(numbers.next().is_none_or(|line| (1..=lines).contains(&line)), "{told}");
            }
            0
        }
    }
}

const PEER: &str = "192.0.2.1:1000";
const LOCAL: &str = "192.0.2.2:4500";

fn proxy(bytes: &[u8]) -> usize {
    let (peer, local): (SocketAddr, SocketAddr) = (PEER.parse().unwrap(), LOCAL.parse().unwrap());
    let header = |bytes: &[u8]| memory::within(16 << 10, || fuzzed::proxy_header(bytes, peer, local));
    let Ok(read) = header(bytes) else { return 0 };
    let Proxied { rest, is_check, .. } = read;
    let len = bytes.len() - rest;
    let front = &bytes[..len];
    // The same without what follows, and with something else there; and less of it is no header.
    assert_eq!(header(front), Ok(Proxied { rest: 0, ..read }));
    assert_eq!(header(&[front, b"\x01\0\x39"].concat()), Ok(Proxied { rest: 3, ..read }));
    assert!(header(&front[..len - 1]).is_err(), "a header without its end");
    if is_check {
        assert_eq!((read.peer, read.local), (peer, local), "the balancer itself, by an address that it was told");
        return 1;
    }
    // By other means: what stands there as text, or byte for byte.
    let family = |address: SocketAddr| address.ip().to_canonical();
    if front.starts_with(b"PROXY ") {
        let text = str::from_utf8(front).expect("version 1 is text");
        let words: Vec<&str> = text.trim_ascii_end().split(' ').collect();
        let address = |at: usize| {
            let port = words.get(at + 2).and_then(|port| port.parse().ok())?;
            Some(SocketAddr::new(words.get(at)?.parse().ok()?, port))
        };
        for (read, at) in [(read.peer, 2), (read.local, 3)] {
            let stands = address(at).expect("an address");
            assert_eq!((read.ip(), read.port()), (family(stands), stands.port()));
        }
        assert!(len <= 107, "a line of {len} bytes");
    } else {
        let body = &front[16..];
        let of = |at: usize, port: usize| {
            let port = u16::from_be_bytes([body[port], body[port + 1]]);
            let ip = match front[13] >> 4 {
                1 => <[u8; 4]>::try_from(&body[4 * at..4 * at + 4]).unwrap().into(),
                _ => <[u8; 16]>::try_from(&body[16 * at..16 * at + 16]).unwrap().into(),
            };
            SocketAddr::new(ip, port)
        };
        let ports = if front[13] >> 4 == 1 { 8 } else { 32 };
        for (read, stands) in [(read.peer, of(0, ports)), (read.local, of(1, ports + 2))] {
            assert_eq!((read.ip(), read.port()), (family(stands), stands.port()));
        }
    }
    1
}

const USERS: &str = "\
# those that there are
alice permissions=read password=$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA
robot locked=yes locks=1
";

fn import(file: &[u8], update: bool) -> usize {
    let (mut accounts, _) = Accounts::parse(USERS);
    let before: Vec<Account> = accounts.iter().cloned().collect();
    let lines = file.split(|&byte| byte == b'\n').count();
    // A line is held a few times: as bytes, as values, and as the account that it may become.
    let budget = (1 << 20) + 64 * file.len();
    let imported = memory::within(budget, || fuzzed::imported(&mut accounts, file, update));
    let Ok((added, updated, rejected)) = imported else {
        assert_eq!(accounts.to_bytes().as_slice(), USERS.as_bytes(), "an import that failed changed something");
        return 0;
    };
    assert!(added + updated + rejected.len() <= lines, "more than there are lines");
    assert!(update || updated == 0);
    assert_eq!(accounts.iter().count(), before.len() + added);
    for (account, before) in accounts.iter().zip(&before) {
        let is_named = file.windows(account.name().len()).any(|window| window == account.name().as_bytes());
        assert!(is_named && update || account.is_same(before), "{} was changed", account.name());
    }
    for told in &rejected {
        assert!(told.starts_with("line ") && !told.chars().any(char::is_control), "{told:?}");
    }
    // What was imported is a file of accounts.
    let (again, broken) = Accounts::parse(accounts.to_bytes().as_slice());
    assert!(broken.is_empty(), "{broken:?}");
    assert_eq!(again.iter().count(), accounts.iter().count());
    for account in accounts.iter() {
        assert!(again.get(account.name()).is_some_and(|read| read.is_same(account)), "{}", account.name());
    }
    added + updated
}
