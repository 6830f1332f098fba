//! How do I say who may do what? One service of orders, three roles, and every refusal says what is missing.
//!
//! ```text
//! cargo run --example roles
//! ```
//!
//! The accounts are in memory here; in a file they are lines such as `@clerk permissions=orders:*` and `carol roles=clerk`, kept
//! by `countersign role` and `countersign user`. Open sessions learn of what becomes of both.

use countersign::accounts::AccountVerifier;
use countersign::crypto::rustcrypto;
use countersign::{Acceptor, Accounts, AsyncVerifier, ClientConfig, Connector, Credential, Error, Forbidden, KeySize};
use countersign::{PolicyRequest, PrivateKey, Reason, Server, ServerConfig, ServerKey, Stream};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, RwLock};

/// The roles, what each permits, and somebody who has it.
const ROLES: [(&str, &[&str], &str); 3] = [
    ("viewer", &["orders:read"], "vera"),
    ("clerk", &["orders:read", "orders:write"], "carol"),
    ("manager", &["orders:*", "reports:*"], "mary"),
];

/// What can be asked of the service, and what that needs.
const COMMANDS: [(&str, &str); 4] =
    [("list", "orders:read"), ("order", "orders:write"), ("cancel", "orders:cancel"), ("report", "reports:read")];

type Session = Stream<TcpStream>;

/// One request: the guard is the one line with the question mark.
fn answer(session: &Session, command: &str) -> Result<String, Forbidden> {
    let Some((_, needed)) = COMMANDS.iter().find(|(known, _)| *known == command) else {
        return Ok("there is no such command".to_owned());
    };
    session.require(needed)?;
    Ok(format!("done: {command}"))
}

/// Serves a session to its end: the client's close, or what ends it from outside.
fn serve(mut session: Session) -> io::Result<()> {
    loop {
        let mut line = String::new();
        if BufReader::with_capacity(1, &mut session).read_line(&mut line)? == 0 {
            return Ok(session.close()?);
        }
        // It names the permission and nothing else, so it can be shown.
        let answer = answer(&session, line.trim_end()).unwrap_or_else(|forbidden| format!("refused: {forbidden}"));
        writeln!(session, "{answer}")?;
    }
}

/// A client, and the service's thread for it.
struct Client {
    session: Session,
    served: std::thread::JoinHandle<io::Result<()>>,
}

impl Client {
    fn ask(&mut self, command: &str) -> io::Result<String> {
        writeln!(self.session, "{command}")?;
        let mut answer = String::new();
        BufReader::with_capacity(1, &mut self.session).read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut accounts = Accounts::new();
    for (role, permissions, user) in ROLES {
        accounts.add_role(role, permissions)?;
        accounts.add(user, [""; 0])?;
        accounts.edit(user, |account| {
            account.add_role(role)?;
            account.set_password(b"correct horse")
        })?;
    }
    let accounts = Arc::new(RwLock::new(accounts));
    // What depends on more than the account: nobody changes anything over the network of the guests.
    let verifier = AccountVerifier::new(Arc::clone(&accounts)).with_policy(|request: &PolicyRequest<'_>| {
        let is_guest = request.context().value::<&str>() == Some(&"guests");
        if is_guest { Ok(request.grant().narrowed_to(["orders:read"])?) } else { Ok(request.grant().clone()) }
    });

    let provider = rustcrypto::provider();
    let key = PrivateKey::generate(provider, KeySize::Rsa2048)?;
    let acceptor = Acceptor::new_async(ServerConfig::new(provider), ServerKey::load(&key, provider)?, verifier);
    let connector = Connector::new(ClientConfig::new(provider), Server::pinned(key.public_key().id()));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let log_in = |user: &str, network: &'static str| -> Result<Client, Box<dyn std::error::Error>> {
        std::thread::scope(|scope| {
            let client = TcpStream::connect(address)?;
            let accepting = scope.spawn(|| -> io::Result<Session> {
                let (stream, peer) = listener.accept()?;
                Ok(acceptor.accept_blocking(stream, context(peer, network))?)
            });
            let session = connector.connect_blocking(client, Credential::Password { user, password: b"correct horse" });
            let accepted = accepting.join().map_err(|_| "the server panicked")??;
            Ok(Client { session: session?, served: std::thread::spawn(move || serve(accepted)) })
        })
    };

    let refused = |permission| format!("refused: you need the permission {permission} for this");
    for (role, _, user) in ROLES {
        let mut client = log_in(user, "office")?;
        for (command, needed) in COMMANDS {
            let answer = client.ask(command)?;
            println!("{user} the {role}: {command}: {answer}");
            let may = match role {
                "viewer" => command == "list",
                "clerk" => command == "list" || command == "order",
                _ => true,
            };
            assert_eq!(answer, if may { format!("done: {command}") } else { refused(needed) });
        }
    }
    let mut guest = log_in("mary", "guests")?;
    assert_eq!((guest.ask("list")?, guest.ask("cancel")?), ("done: list".to_owned(), refused("orders:cancel")));

    // Carol's session is open while her role gets one more permission, and while she is locked out.
    let mut carol = log_in("carol", "office")?;
    assert_eq!(carol.ask("cancel")?, refused("orders:cancel"));
    let change = || accounts.write().map_err(|_| "a change panicked");
    change()?.add_role_permission("clerk", "orders:cancel")?;
    acceptor.recheck("carol"); // or wait for half a minute
    while carol.ask("cancel")? != "done: cancel" {
        std::thread::yield_now();
    }
    println!("carol the clerk: cancel: done, since her role permits it now");
    change()?.edit("carol", |account| Ok(account.lock()))?;
    acceptor.recheck("carol");
    let ended = carol.served.join().map_err(|_| "the service panicked")?;
    let ended = ended.err().and_then(|error| error.into_inner()).and_then(|error| error.downcast::<Error>().ok());
    let reason = ended.map(|error| *error);
    println!("carol the clerk: {}", reason.as_ref().map_or("goes on", |error| error.code()));
    let locked = countersign::Revocation::Refused(Box::new(Reason::AccountLocked));
    assert_eq!(reason, Some(Error::Revoked(locked)));
    Ok(())
}

/// Where a client comes from, and over which network: for the policy.
fn context(peer: SocketAddr, network: &'static str) -> countersign::Context {
    countersign::Context::from(peer).with_value(network)
}
