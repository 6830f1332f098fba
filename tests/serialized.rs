//! What stands in configuration files and reports: written as it is printed, and checked when it is read as if it was built by hand.

#![cfg(all(feature = "serde", any(feature = "rustcrypto", feature = "aws-lc")))]
#![allow(clippy::unwrap_used, missing_docs)]

use countersign::{Grant, KeyId, Suite};
use serde_json::{from_str, json, to_value};

#[test]
fn a_grant_is_written_and_read_and_nothing_that_is_none() {
    let grant = Grant::new("alice", ["orders:read", "orders:write"]).unwrap();
    let written = to_value(&grant).unwrap();
    assert_eq!(written, json!({ "principal": "alice", "permissions": ["orders:read", "orders:write"] }));
    assert_eq!(from_str::<Grant>(&written.to_string()).unwrap(), grant);
    // No permissions are none.
    assert_eq!(from_str::<Grant>(r#"{"principal":"bob"}"#).unwrap(), Grant::new("bob", [""; 0]).unwrap());
    for text in [
        // A misspelt field would be a grant without permissions.
        r#"{"principal":"alice","permission":["orders:read"]}"#,
        r#"{"principal":"alice","permissions":[],"epoch":1}"#,
        r#"{"permissions":["orders:read"]}"#,
        r#"{"principal":"alice","permissions":"orders:read"}"#,
        r#"{"principal":"alice","permissions":["orders:read,orders:write"]}"#,
        r#"{"principal":"alice","permissions":["orders:read","orders:read"]}"#,
        r#"{"principal":"","permissions":[]}"#,
    ] {
        assert!(from_str::<Grant>(text).is_err(), "{text}");
    }
}

#[test]
fn fingerprints_and_suites_are_written_as_they_print() {
    let id = KeyId::from_bytes([7; 32]);
    assert_eq!(to_value(id).unwrap(), json!(id.to_string()));
    assert_eq!(from_str::<KeyId>(&json!(id.to_string()).to_string()).unwrap(), id);
    for suite in Suite::ALL {
        assert_eq!(to_value(suite).unwrap(), json!(suite.to_string()));
        assert_eq!(from_str::<Suite>(&json!(suite.to_string()).to_string()).unwrap(), suite);
    }
    assert!(from_str::<KeyId>("\"SHA256:\"").is_err() && from_str::<Suite>("\"rsa\"").is_err());
    assert!(from_str::<Suite>("513").is_err());
}
