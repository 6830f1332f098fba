//! Policies: what decides beside the store, whether that is asked on a thread or from async code.

use crate::ends::{Adapter, Session, accepting, config, connector, eventually, login, pair, protocol, refused};
use crate::live::{Async, SOON, Store, meet, reading, refused_as, works};
use crate::logins::with_tickets;
use crate::support::RSA2048;
use countersign::{
    Acceptor, AsyncVerifier, Context, Credential, CredentialKind, Error, Grant, PolicyRequest, Reason, Recheck,
    Revocation, Ticket, Verifier,
};
use std::sync::{Arc, Mutex};

for_every_adapter!(
    policies_decide_at_logins_and_about_sessions,
    a_policy_that_makes_its_grant_anew_leaves_the_account_its_epochs,
);

/// Over this store as a thread asks it, and as async code does.
fn acceptors<P>(store: &Store, policy: P) -> [Acceptor; 2]
where
    P: Fn(&PolicyRequest<'_>) -> Result<Grant, Reason> + Send + Sync + Clone + 'static,
{
    let (config, key) = (|| with_tickets(config()), || RSA2048.server.clone());
    let blocking = Verifier::with_policy(store.clone(), policy.clone());
    let from_async = AsyncVerifier::with_policy(Async(store.clone()), policy);
    [Acceptor::new(config(), key(), blocking), Acceptor::new_async(config(), key(), from_async)]
        .map(|acceptor| acceptor.with_recheck(Recheck::every(SOON)))
}

/// Somebody comes back by ticket, or by the password where that is not taken.
fn come_back<A: Adapter>(acceptor: &Acceptor, ticket: &Ticket) -> (A::Session, A::Session) {
    let (client, server) = pair();
    let server = accepting::<A>(acceptor, server, Context::uncounted());
    let alice = Credential::Password { user: "alice", password: b"password" };
    (A::resume(&connector(), client, ticket, alice).unwrap(), server.join().unwrap().unwrap())
}

fn ticket<S: Session>(client: &S) -> Ticket {
    client.info().ticket().expect("the grant has an epoch").clone()
}

fn policies_decide_at_logins_and_about_sessions<A: Adapter>() {
    let store = Store::default();
    store.put("alice", &["orders:*"], 1, Some(1));
    let hours = Arc::new(Mutex::new("open"));
    let now = Arc::clone(&hours);
    let policy = move |request: &PolicyRequest<'_>| -> Result<Grant, Reason> {
        assert_eq!((request.kind(), request.server_name()), (CredentialKind::Password, ""));
        let is_ticket = request.authenticated().is_some() && !request.is_session();
        assert!(is_ticket || request.authenticated().is_some() == request.is_session());
        assert!(!request.context().source().is_counted());
        match *now.lock().unwrap() {
            "no tickets" if is_ticket => Err(Reason::Application("closed")),
            "open" | "no tickets" => Ok(request.grant().clone()),
            "evening" => Ok(request.grant().narrowed_to(["orders:read"])?),
            "another's" => Ok(Grant::new("bob", ["orders:*"])?),
            _ => Err(Reason::Application("closed")),
        }
    };
    for acceptor in acceptors(&store, policy) {
        let at = |hour| *hours.lock().unwrap() = hour;
        at("open");
        let (mut client, mut server) = meet::<A>(&acceptor, "alice");
        assert!(server.permits("orders:write") && client.permits("orders:write"));
        at("evening");
        let late = meet::<A>(&acceptor, "alice");
        assert!(!late.0.permits("orders:write") && late.0.permits("orders:read"));
        let late = come_back::<A>(&acceptor, &ticket(&late.0));
        assert!(late.0.info().is_resumed() && !late.0.permits("orders:write") && late.0.permits("orders:read"));
        eventually("it is evening", || !server.permits("orders:write"));
        assert!(server.permits("orders:read"));
        works(&mut client, &mut server);
        at("no tickets");
        assert!(!come_back::<A>(&acceptor, &ticket(&late.0)).0.info().is_resumed());
        at("closed");
        assert_eq!(reading(server).join().unwrap().1, refused_as(Reason::Application("closed")));
        for (hour, reason) in [("closed", "closed"), ("another's", "the policy gave the grant of another principal")] {
            at(hour);
            let alice = Credential::Password { user: "alice", password: b"password" };
            let (client, server) = login::<A>(&acceptor, &connector(), alice);
            assert_eq!(protocol(client.map(drop).unwrap_err()), Error::Refused);
            assert_eq!(refused(server.map(drop).unwrap_err()).1, Reason::Application(reason));
        }
    }
}

fn a_policy_that_makes_its_grant_anew_leaves_the_account_its_epochs<A: Adapter>() {
    let store = Store::default();
    let policy = |request: &PolicyRequest<'_>| -> Result<Grant, Reason> {
        Ok(Grant::new(request.grant().principal(), ["read", "write"])?)
    };
    for acceptor in acceptors(&store, policy) {
        store.put("alice", &["read"], 1, Some(1));
        let (mut client, mut server) = meet::<A>(&acceptor, "alice");
        let (again, _) = come_back::<A>(&acceptor, &ticket(&client));
        assert!(again.info().is_resumed());
        // Something else about the account than its credentials.
        store.put("alice", &["read"], 2, Some(1));
        eventually("it is seen", || server.current_grant().get().epoch() == Some(2));
        works(&mut client, &mut server);
        store.put("alice", &["read"], 3, Some(2));
        assert_eq!(reading(server).join().unwrap().1, Revocation::CredentialChanged);
        assert!(!come_back::<A>(&acceptor, &ticket(&again)).0.info().is_resumed());
    }
}
