//! What a server knows of a connection before the login, and what its verifier gets to see of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects, missing_docs)]

use countersign::{Attempt, ChannelBinding, Context, Credential, CredentialKind, Reason, Returning, Source, UnixTime};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn block(address: &str, ipv4: u8, ipv6: u8) -> Source {
    Source::block(ip(address), ipv4, ipv6)
}

#[test]
fn an_address_is_a_source_and_64_bits_of_them_are_one() {
    for (one, other, same) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.0", false),
        ("2001:db8:0:1::", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        // One of IPv4, however it is written; or one could be two sources.
        ("::ffff:192.0.2.1", "192.0.2.1", true),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        // Also by a NAT64 with the well-known prefix; one with a prefix of its own is one source.
        ("64:ff9b::192.0.2.1", "192.0.2.1", true),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false),
        ("64:ff9b:0:0:0:1:c000:201", "192.0.2.1", false),
        ("64:ff9b:1::192.0.2.1", "64:ff9b:1::192.0.2.2", true),
        // The same bits in another family are somebody else.
        ("::c000:201", "192.0.2.1", false),
        ("0.0.0.0", "::", false),
    ] {
        assert_eq!(Source::address(ip(one)) == Source::address(ip(other)), same, "{one}, {other}");
    }
}

#[test]
fn a_block_is_as_wide_as_its_prefix_says() {
    for (address, ipv4, ipv6, text) in [
        ("192.0.2.213", 32, 64, "192.0.2.213/32"),
        ("192.0.2.213", 24, 64, "192.0.2.0/24"),
        ("192.0.2.213", 31, 64, "192.0.2.212/31"),
        ("192.0.2.213", 1, 64, "128.0.0.0/1"),
        ("192.0.2.213", 0, 64, "0.0.0.0/0"),
        // There is no more of an address than there is.
        ("192.0.2.213", 33, 64, "192.0.2.213/32"),
        ("192.0.2.213", 255, 64, "192.0.2.213/32"),
        ("::ffff:192.0.2.213", 24, 64, "192.0.2.0/24"),
        ("64:ff9b::192.0.2.213", 24, 64, "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", 32, 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", 32, 56, "2001:db8:1::/56"),
        ("2001:db8:1:2:3:4:5:6", 32, 127, "2001:db8:1:2:3:4:5:6/127"),
        ("2001:db8:1:2:3:4:5:6", 32, 128, "2001:db8:1:2:3:4:5:6/128"),
        ("2001:db8:1:2:3:4:5:6", 32, 129, "2001:db8:1:2:3:4:5:6/128"),
        ("2001:db8:1:2:3:4:5:6", 32, 0, "::/0"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 32, 1, "8000::/1"),
    ] {
        let source = block(address, ipv4, ipv6);
        assert_eq!(source.to_string(), text, "{address} with {ipv4} and {ipv6}");
        assert!(source.is_counted());
    }
    assert_eq!(block("192.0.2.1", 0, 0), block("198.51.100.1", 0, 0), "all of IPv4");
    assert_ne!(block("192.0.2.1", 0, 0), block("2001:db8::1", 0, 0), "and none of IPv6");
    // A wide block is not the narrow one it begins with.
    assert_ne!(block("192.0.2.0", 24, 64), block("192.0.2.0", 32, 64));
}

#[test]
fn a_block_contains_what_is_in_it_and_nothing_of_another_family() {
    let [v4, v6] = [block("192.0.2.0", 24, 64), block("2001:db8:1::", 32, 48)];
    for (other, of_v4, of_v6) in [
        (v4.clone(), true, false),
        (Source::address(ip("192.0.2.213")), true, false),
        (block("192.0.2.128", 25, 64), true, false),
        (Source::address(ip("192.0.3.213")), false, false),
        (block("192.0.2.0", 23, 64), false, false),
        (v6.clone(), false, true),
        (Source::address(ip("2001:db8:1:2::1")), false, true),
        (Source::address(ip("2001:db8:2::1")), false, false),
        (block("2001:db8::", 32, 32), false, false),
        (Source::named("192.0.2.0/24"), false, false),
        (Source::uncounted(), false, false),
    ] {
        assert_eq!((v4.contains(&other), v6.contains(&other)), (of_v4, of_v6), "{other}");
    }
    // The same bits in another family are somebody else.
    let all = block("0.0.0.0", 0, 0);
    assert!(all.contains(&v4) && !all.contains(&v6) && !all.contains(&block("::", 0, 0)));
    assert!(!block("::", 0, 0).contains(&all));
    assert!(Source::named("a").contains(&Source::named("a")) && !Source::named("a").contains(&Source::named("b")));
}

#[test]
fn a_source_may_have_a_name_or_not_be_counted() {
    let tenant = Source::named("tenant 7");
    assert_eq!((tenant.clone(), tenant.to_string()), (Source::named("tenant 7"), "tenant 7".to_owned()));
    assert!(tenant.is_counted() && tenant != Source::named("tenant 8"));
    // No name is an address, or nothing.
    assert_ne!(Source::named("192.0.2.1/32"), Source::address(ip("192.0.2.1")));
    let uncounted = Source::uncounted();
    assert!(!uncounted.is_counted());
    assert_eq!(uncounted.to_string(), "uncounted");
    assert_ne!(Source::named("uncounted"), uncounted);
    assert_ne!(Source::named(""), uncounted);
}

#[test]
fn a_context_begins_with_where_the_connection_comes_from() {
    let peer: SocketAddr = "192.0.2.1:40000".parse().unwrap();
    let context = Context::from(peer);
    assert_eq!((context.peer(), context.source()), (Some(peer), &Source::address(peer.ip())));
    assert_eq!(context.binding(), &ChannelBinding::none());
    let from_port = |port| Context::from(SocketAddr::new(peer.ip(), port)).source().clone();
    assert_eq!(from_port(1), from_port(2), "a port costs nothing");

    // Behind a proxy the peer is the proxy; who is counted is for the application to say.
    let forwarded = context.with_source(Source::address(ip("198.51.100.7")));
    assert_eq!((forwarded.peer(), forwarded.source().to_string()), (Some(peer), "198.51.100.7/32".to_owned()));
    let named = Context::from(Source::named("cell 9"));
    assert_eq!((named.peer(), named.source()), (None, &Source::named("cell 9")));
    assert!(!Context::uncounted().source().is_counted());
}

#[test]
fn a_context_carries_one_value_of_the_application_s() {
    #[derive(Debug, PartialEq)]
    struct Listener(u8);
    let context = Context::uncounted();
    assert_eq!(context.value::<Listener>(), None);
    let context = context.with_value(Listener(2));
    assert_eq!(context.value(), Some(&Listener(2)));
    assert_eq!(context.value::<u8>(), None, "of its type alone");
    assert_eq!(context.clone().value(), Some(&Listener(2)), "a clone shares it");
    let context = context.with_value("another");
    assert_eq!((context.value::<&str>(), context.value::<Listener>()), (Some(&"another"), None));
    // What is shared is found as what it is.
    let shared = Arc::new(Listener(3));
    let context = Context::uncounted().with_value(Arc::clone(&shared));
    assert!(Arc::ptr_eq(context.value::<Arc<Listener>>().unwrap(), &shared));
}

#[test]
fn a_context_prints_neither_its_value_nor_its_channel() {
    let context = Context::from("192.0.2.1:1".parse::<SocketAddr>().unwrap())
        .with_value("a client's certificate")
        .with_binding(ChannelBinding::tls_exporter(*b"thirty-two bytes nobody may see!"));
    let token = Credential::Token(b"a secret");
    let attempt = Attempt::new(token, &context).with_server_name("db.example");
    let returning = Returning::new("alice", CredentialKind::Password, UnixTime::from_secs(1), &context);
    for printed in [format!("{context:?}"), format!("{attempt:?}"), format!("{returning:?}")] {
        assert!(printed.contains("192.0.2.1"), "{printed}");
        for secret in ["certificate", "thirty", "116, 104", "a secret", "alice"] {
            assert!(!printed.contains(secret), "{secret} in {printed}");
        }
    }
}

#[tokio::test]
async fn work_that_panics_is_a_verifier_that_failed_where_it_is_done_at_once_too() {
    let context = Context::uncounted();
    let attempt = Attempt::new(Credential::Token(b"token"), &context);
    assert_eq!(attempt.compute(|| 7).await, Ok(7));
    assert_eq!(attempt.compute(|| panic!("a quiet panic")).await, Err::<(), _>(Reason::VerifierFailed));
}

#[test]
fn a_verifier_is_told_who_asks_for_what() {
    let context = Context::from(Source::named("cell 9")).with_value(7_u8);
    let attempt = Attempt::new(Credential::Token(b"token"), &context);
    assert_eq!(attempt.server_name(), "");
    let attempt = attempt.with_server_name("db.example");
    assert_eq!(attempt.server_name(), "db.example");
    assert!(matches!(attempt.credential(), Credential::Token(b"token")));
    assert_eq!((attempt.context().source(), attempt.context().value()), (&Source::named("cell 9"), Some(&7_u8)));
    let returning = Returning::new("alice", CredentialKind::Password, UnixTime::from_secs(5), &context)
        .with_server_name("db.example");
    assert_eq!((returning.principal(), returning.authenticated()), ("alice", UnixTime::from_secs(5)));
    assert_eq!((returning.server_name(), returning.context().value()), ("db.example", Some(&7_u8)));
}
