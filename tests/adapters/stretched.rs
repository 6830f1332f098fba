//! Passwords that the client stretches, over each adapter.

use crate::ends::{
    Adapter, Session, accepting, client_config, config, connector, disconnected, eventually_empty, failed, login, pair,
    protocol, refused,
};
use crate::support::{ALICE, RSA2048};
use countersign::accounts::AccountVerifier;
use countersign::{
    Acceptor, Accounts, Connector, Credential, CredentialKind, Error, MemoryTickets, Penalties, Reason, Server, Source,
    StretchError, StretchParameters, StretchedHash, Stretching, TicketKeys, Waits,
};
use std::sync::{Arc, RwLock};
use std::time::Duration;

for_every_adapter!(
    a_password_is_stretched_where_the_server_takes_that,
    a_wrong_password_and_an_unknown_user_get_the_refusal,
    accounts_move_while_the_server_asks_for_the_password_too,
    an_account_moves_at_its_next_good_login_and_stays_where_it_is_after_that,
    a_ticket_spares_the_client_the_stretching,
    nothing_is_sent_to_a_server_that_stretches_for_another_realm,
    a_password_that_is_not_to_go_as_it_is_does_not,
    an_old_password_that_is_shown_again_and_again_at_home_is_counted_once,
);

fn stretching() -> Stretching {
    Stretching::new("db.example", &[StretchParameters::new(7, 5, 1).unwrap()]).unwrap()
}

/// alice's password is stretched, and carol's is not.
fn accounts() -> Accounts {
    let mut accounts = Accounts::new();
    accounts.add("alice", ["read"]).unwrap();
    accounts
        .edit("alice", |account| {
            account.set_stretched(&stretching().stretch("alice", b"password").unwrap().newest());
            Ok(())
        })
        .unwrap();
    accounts.add("carol", ["read"]).unwrap();
    accounts.edit("carol", |account| account.set_password(b"password")).unwrap();
    accounts
}

fn verifier() -> AccountVerifier<RwLock<Accounts>> {
    AccountVerifier::new(RwLock::new(accounts()))
}

fn acceptor(stretching: Stretching) -> Acceptor {
    Acceptor::new_async(config().with_stretching(stretching).unwrap(), RSA2048.server.clone(), verifier())
}

fn password(user: &'static str, password: &'static [u8]) -> Credential<'static> {
    Credential::Password { user, password }
}

fn a_password_is_stretched_where_the_server_takes_that<A: Adapter>() {
    for server in [RSA2048.trust(), Server::key(RSA2048.private.public_key().clone())] {
        let strict = server.with_stretched_only().with_realm("db.example");
        let (client, server) = login::<A>(&acceptor(stretching()), &Connector::new(client_config(), strict), ALICE);
        assert_eq!(client.unwrap().info().id(), server.unwrap().info().id());
    }
}

fn a_wrong_password_and_an_unknown_user_get_the_refusal<A: Adapter>() {
    let acceptor = acceptor(stretching());
    for (user, secret, reason) in [
        ("alice", &b"wrong"[..], Reason::WrongPassword),
        ("mallory", b"password", Reason::UnknownUser),
        ("carol", b"password", Reason::WrongPassword),
    ] {
        let (client, server) = failed::<A>(&acceptor, &connector(), password(user, secret));
        assert_eq!(protocol(client), Error::Refused);
        // A name that nobody has is a stranger's text.
        let user = Some(user.to_owned()).filter(|_| reason.knows_account());
        assert_eq!(refused(server), (user, reason));
    }
    eventually_empty(&acceptor);
}

fn accounts_move_while_the_server_asks_for_the_password_too<A: Adapter>() {
    let acceptor = acceptor(stretching().with_moving());
    for user in ["alice", "carol"] {
        let (client, server) = login::<A>(&acceptor, &connector(), password(user, b"password"));
        assert_eq!((client.unwrap().info().login_grant().principal(), server.is_ok()), (user, true));
    }
    let strict = Connector::new(client_config(), RSA2048.trust().with_stretched_only());
    assert!(login::<A>(&acceptor, &strict, ALICE).0.is_ok());
    let (_, server) = failed::<A>(&acceptor, &strict, password("carol", b"password"));
    assert_eq!(refused(server).1, Reason::WrongPassword, "it was not sent");
}

fn an_account_moves_at_its_next_good_login_and_stays_where_it_is_after_that<A: Adapter>() {
    let store = Arc::new(RwLock::new(accounts()));
    let over = |stretching: Stretching| {
        let verifier = AccountVerifier::new(Arc::clone(&store)).with_moving();
        Acceptor::new_async(config().with_stretching(stretching).unwrap(), RSA2048.server.clone(), verifier)
    };
    let carol = |secret| password("carol", secret);
    let kept = |user| store.read().unwrap().get(user).unwrap().stretched().map(StretchedHash::parameters);
    let moving = over(stretching().with_moving());
    let (_, server) = failed::<A>(&moving, &connector(), carol(b"wrong"));
    assert_eq!((refused(server).1, kept("carol")), (Reason::WrongPassword, None));
    assert!(login::<A>(&moving, &connector(), carol(b"password")).0.is_ok());
    assert_eq!(kept("carol"), Some(stretching().newest()));
    assert!(!store.read().unwrap().get("carol").unwrap().has_password());
    assert!(login::<A>(&over(stretching()), &connector(), carol(b"password")).0.is_ok(), "without the password");
    // Newer parameters: alice moves by what she shows at them, or with the password by what the server computes.
    let newer = StretchParameters::new(8, 5, 2).unwrap();
    let both = Stretching::new("db.example", &[newer, stretching().newest()]).unwrap();
    for (stretching, user) in [(both.clone(), "alice"), (both.with_moving(), "carol")] {
        assert!(login::<A>(&over(stretching), &connector(), password(user, b"password")).0.is_ok());
        assert_eq!(kept(user), Some(newer));
    }
    let alone = over(Stretching::new("db.example", &[newer]).unwrap());
    for user in ["alice", "carol"] {
        assert!(login::<A>(&alone, &connector(), password(user, b"password")).0.is_ok());
    }
}

fn a_ticket_spares_the_client_the_stretching<A: Adapter>() {
    let tickets = Arc::new(TicketKeys::new(crate::support::provider(), Duration::from_secs(60)));
    let config = config().with_stretching(stretching()).unwrap().with_tickets(tickets);
    let acceptor = Acceptor::new_async(config, RSA2048.server.clone(), verifier());
    let connector = connector().with_tickets(MemoryTickets::new());
    for resumed in [false, true, true] {
        let (client, server) = login::<A>(&acceptor, &connector, ALICE);
        assert_eq!((client.unwrap().info().is_resumed(), server.is_ok()), (resumed, true));
    }
}

fn nothing_is_sent_to_a_server_that_stretches_for_another_realm<A: Adapter>() {
    let connector = Connector::new(client_config(), RSA2048.trust().with_realm("bank.example"));
    let (client, server) = failed::<A>(&acceptor(stretching()), &connector, ALICE);
    assert_eq!(protocol(client), StretchError::OtherRealm("db.example".to_owned()).into());
    disconnected(server);
}

fn a_password_that_is_not_to_go_as_it_is_does_not<A: Adapter>() {
    let plain = Acceptor::new_async(config(), RSA2048.server.clone(), verifier());
    let connector = Connector::new(client_config(), RSA2048.trust().with_stretched_only());
    let (client, server) = failed::<A>(&plain, &connector, password("carol", b"password"));
    assert_eq!(protocol(client), StretchError::NotTaken.into());
    disconnected(server);
    let tokens = config().with_credential_kinds(&[CredentialKind::Token]).unwrap();
    let tokens = Acceptor::new_async(tokens, RSA2048.server.clone(), verifier());
    let (client, _) = failed::<A>(&tokens, &connector, ALICE);
    assert_eq!(protocol(client), StretchError::NotTaken.into());
}

fn an_old_password_that_is_shown_again_and_again_at_home_is_counted_once<A: Adapter>() {
    const HOUR: Duration = Duration::from_secs(3600);
    let penalties = Penalties::default().with_account(Waits::new(1, HOUR, HOUR));
    let acceptor = acceptor(stretching()).with_penalties(penalties);
    let comes = |secret: &'static [u8]| {
        let (client, server) = pair();
        let server = accepting::<A>(&acceptor, server, Source::named("home"));
        let is_in = A::connect(&connector(), client, password("alice", secret)).is_ok();
        drop(server.join().unwrap());
        is_in
    };
    let tries = [&b"password"[..], b"old", b"old", b"old", b"password", b"older", b"oldest", b"password"];
    // Two that are new in a row are one too many.
    assert_eq!(tries.map(comes), [true, false, false, false, true, false, false, false]);
}
