//! A login by hand: both machines, two buffers between them, and no socket, thread or clock anywhere.
//!
//! ```text
//! cargo run --example by_hand
//! ```
//!
//! Read it from top to bottom beside the tables of states in [`countersign::client`] and [`countersign::server`]. An
//! adapter for another runtime is this, with its own way to move bytes and to tell the time.

use countersign::crypto::{rng, rustcrypto};
use countersign::frame::{FrameReader, FrameType};
use countersign::server::{AwaitHello, AwaitLogin, Refusal};
use countersign::{ChannelBinding, ClientConfig, Credential, Grant, KeySize, Moment, Reason, Received, Server};
use countersign::{ServerConfig, ServerKey, Session, UnixTime, client};
use std::error::Error;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    // What both ends have before they meet. Randomness and time are handed to the machines, which have none of their
    // own: a seeded generator and a made-up clock give the same bytes every time.
    let provider = rustcrypto::provider();
    let mut rng = rng()?;
    let (now, today) = (Moment::ORIGIN, UnixTime::from_secs(1_800_000_000));
    let key = ServerKey::load(&provider.generate_key(KeySize::Rsa2048, &mut rng)?, provider)?;
    let server_config = Arc::new(ServerConfig::new(provider));
    let client_config = Arc::new(ClientConfig::new(provider));
    let wanted = Server::key(key.public_key().clone()).with_name("db.example")?;

    // The network, and the channel underneath it: none that both ends could name.
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let binding = ChannelBinding::none();

    // Server, AwaitHello: a connection is here, and nothing is known of its peer.
    let server = AwaitHello::new(&server_config, &binding, now);

    // Client: the hello goes out. AwaitChallenge: the server's answer is awaited.
    let (hello, client) = client::start(&client_config, &wanted, &binding, &mut rng, now)?;
    to_server.extend(hello);

    // Server, ChooseKey: the client's offer is here. Which key is the challenge sent under?
    let hello = receive(&mut to_server, AwaitHello::EXPECTS)?;
    let server = server.read(hello, now)?;
    println!("server: a client for {:?} offers {}", server.server_name(), server.suite());

    // Server, Hello: the key is chosen. Is the client admitted? Nothing costly has been done yet.
    let server = server.choose(&key)?;

    // Server, Open: the RSA operation, of what the client sealed to the key. It is `Send + 'static`, to be done on whatever thread
    // suits. A client that knows only the key's fingerprint has sealed nothing yet; its login brings that.
    let server = match server.open(&mut rng) {
        Ok(open) => open.run(&mut rng),
        Err(server) => *server,
    };

    // Server: the challenge goes out, with a proof that the server holds the key. AwaitLogin: a half-open connection sits here, until its deadline.
    let (challenge, server) = server.challenge(&mut rng)?;
    to_client.extend(challenge);

    // Client, Challenge: the server's key is here. Is it the right one? Nothing secret has been sent yet.
    let client = client.read(&receive(&mut to_client, client::AwaitChallenge::EXPECTS)?, now)?;
    println!("client: the server's key is {}", client.key().id());

    // Client, Trusted: only this state takes a credential.
    let client = client.trust(&wanted, today)?;

    // Client: the credential goes out, sealed. AwaitVerdict: the server's decision is awaited.
    let alice = Credential::Password { user: "alice", password: b"correct horse" };
    let (login, client) = client.login(alice, &mut rng)?;
    to_server.extend(login);

    // Server, Login: a well-formed login is here. Is it admitted? Where there was no proof, nothing costly has been done yet.
    let login = receive(&mut to_server, AwaitLogin::EXPECTS)?;
    let server = server.read(login, now).map_err(refused)?;

    // Server, Claim: the login was opened (that takes the RSA operation now, where there was no proof), and nothing is verified. Is
    // the credential good?
    let server = server.admit().open(&mut rng);

    // Server: the verdict goes out, and a session begins. Nothing but an accepted claim makes one.
    let accepted = match verify(server.credential()) {
        Ok(grant) => server.accept(grant).map_err(refused)?,
        Err(reason) => return Err(refused(server.reject(reason)).into()),
    };
    to_client.extend(accepted.frame);
    let mut server: Session = accepted.session;

    // Client: an accepting verdict makes a session here, too. It proves that the server has the private key and saw
    // every byte as this side did.
    let mut client = client.read(&receive(&mut to_client, client::AwaitVerdict::EXPECTS)?, now, today)?;
    println!("client: logged in as {}, session {}", client.info.login_grant().principal(), client.info.id());

    // One sealed record each way: what is sent goes through a sealer, what is received through an opener.
    client.sealer.seal(b"what time is it?", &mut to_server)?;
    let mut record = receive(&mut to_server, Session::EXPECTS)?;
    if let Received::Data(question) = server.opener.open(&mut record)? {
        println!("server: {} asks: {}", server.info.login_grant().principal(), str::from_utf8(question)?);
    }
    server.sealer.seal(b"there is no clock here", &mut to_client)?;
    let mut record = receive(&mut to_client, Session::EXPECTS)?;
    if let Received::Data(answer) = client.opener.open(&mut record)? {
        println!("client: the server answers: {}", str::from_utf8(answer)?);
    }
    Ok(())
}

/// Takes one frame off the front of a buffer, as an adapter does off a socket: whatever follows it stays there.
fn receive(wire: &mut Vec<u8>, expected: &[FrameType]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut reader = FrameReader::new();
    let taken = reader.feed(wire, expected)?;
    wire.drain(..taken);
    Ok(reader.take().ok_or("the rest of the frame is still on its way")?)
}

/// The application's own decision; `countersign::Accounts` makes it from a file of password hashes.
fn verify(credential: Credential<'_>) -> Result<Grant, Reason> {
    match credential {
        Credential::Password { user: "alice", password: b"correct horse" } => {
            Grant::new("alice", ["read"]).map_err(|_| Reason::NotNow("the account store is unavailable"))
        }
        _ => Err(Reason::WrongPassword),
    }
}

/// What a refusal asks for. A server sends `refusal.frame` at `refusal.not_before`, the same whatever the reason, and
/// closes the connection; the reason is for its log alone.
fn refused(refusal: Refusal) -> Reason {
    refusal.reason
}
