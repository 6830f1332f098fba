//! `inspect`: good streams and broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod support;

use countersign::crypto::rustcrypto;
use countersign::{
    ChannelBinding, ClientConfig, Credential, Grant, Moment, Server, ServerConfig, ServerKey, UnixTime, client, server,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use support::{House, Said, run};

/// A login and a few records: what the client sent, and what the server did.
fn capture(house: &House) -> (Vec<u8>, Vec<u8>) {
    let (provider, none, now) = (rustcrypto::provider(), ChannelBinding::none(), Moment::ORIGIN);
    let mut rng = StdRng::seed_from_u64(1);
    let private = countersign::PrivateKey::from_pem(&house.read("server.pem")).unwrap();
    let key = ServerKey::load(&private, provider).unwrap();
    let trust = Server::pinned(private.public_key().id()).with_name("db.example").unwrap();
    let client_config = Arc::new(ClientConfig::new(provider));
    let server_config = Arc::new(ServerConfig::new(provider));

    let (hello, state) = client::start(&client_config, &trust, &none, &mut rng, now).unwrap();
    let choice = server::AwaitHello::new(&server_config, &none, now).read(hello.clone(), now).unwrap();
    let (challenge, await_login) = choice.choose(&key).unwrap().challenge(&mut rng).unwrap();
    let trusted = state.read(&challenge, now).unwrap().trust(&trust, UnixTime::default()).unwrap();
    let credential = Credential::Password { user: "alice", password: b"secret of alice" };
    let (login, state) = trusted.login(credential, &mut rng).unwrap();
    let claim = await_login.read(login.clone(), now).unwrap().admit().open(&mut rng);
    let mut accepted = claim.accept(Grant::new("alice", ["read"]).unwrap()).unwrap();
    let mut session = state.read(&accepted.frame, now, UnixTime::from_secs(0)).unwrap();

    let (mut from_client, mut from_server) = ([hello, login].concat(), [challenge, accepted.frame].concat());
    session.sealer.seal(b"whoami\n", &mut from_client).unwrap();
    session.sealer.update_key(&mut from_client).unwrap();
    session.sealer.close(&mut from_client).unwrap();
    accepted.session.sealer.seal(b"alice\n", &mut from_server).unwrap();
    (from_client, from_server)
}

fn inspect(house: &House, bytes: &[u8]) -> Said {
    run(&["inspect", &house.write("stream.bin", bytes, 0o600)], "")
}

#[track_caller]
fn shows(said: &Said, parts: &[&str]) {
    for part in parts {
        assert!(said.out.contains(part), "{part:?} is missing in {}", said.out);
    }
}

#[test]
fn good_streams_are_shown_field_by_field() {
    let house = House::new();
    let (from_client, from_server) = capture(&house);
    let said = inspect(&house, &from_client).ok();
    shows(
        &said,
        &[
            "frame 1: ClientHello at offset 0, 3 + ",
            "versions            1\n",
            "rsa+x25519mlkem768/aes-256-gcm",
            "rsa+x25519mlkem768/chacha20-poly1305",
            "rsa+x25519/aes-256-gcm",
            "rsa+x25519/chacha20-poly1305",
            &hex::encode(&from_client[15..47]),
            "rsa+x25519, 32 bytes: ",
            "rsa+x25519mlkem768, 1216 bytes: ",
            "\"db.example\"",
            "known_keys          none",
            "context             prologue ",
            "ticket              none",
            "extensions          none",
            "rsa_ciphertext      none",
            "binder              none",
            "frame 2: ClientLogin",
            "256 bytes, sealed to an RSA key of 2048 bits",
            "272 bytes, sealed: 256 bytes of padded credential",
            "frame 3: Data",
            "23 bytes, sealed: 7 bytes of data",
            "frame 4: KeyUpdate",
            "frame 5: Close",
            "5 frames, ",
            ", nothing wrong",
        ],
    );
    assert!(!said.out.contains("alice"));

    // From standard input, too.
    let said = run(&["inspect", "-"], &from_server).ok();
    shows(
        &said,
        &[
            "frame 1: ServerHello at offset 0, 3 + 1500 bytes",
            "suite               rsa+x25519mlkem768/aes-256-gcm",
            &format!("key_id              {}", house.pin()),
            "294 bytes: RSA 2048 bits, e = 65537",
            "credential_kinds    password, token",
            "context             prologue ",
            "extensions          none",
            "proof               none",
            "frame 2: ServerVerdict",
            "2064 bytes, sealed: 2048 bytes of verdict",
            "frame 3: Data",
        ],
    );
    assert_eq!(inspect(&house, b"").ok().out, "0 frames, 0 bytes, nothing wrong\n");
}

#[test]
fn a_proof_a_confirm_and_a_busy_are_shown_too() {
    let house = House::new();
    let (provider, none, now) = (rustcrypto::provider(), ChannelBinding::none(), Moment::ORIGIN);
    let mut rng = StdRng::seed_from_u64(1);
    let private = countersign::PrivateKey::from_pem(&house.read("server.pem")).unwrap();
    let key = ServerKey::load(&private, provider).unwrap();
    let trust = Server::key(private.public_key().clone());
    let (hello, _) = client::start(&Arc::new(ClientConfig::new(provider)), &trust, &none, &mut rng, now).unwrap();
    let config = Arc::new(ServerConfig::new(provider));
    let choice = server::AwaitHello::new(&config, &none, now).read(hello.clone(), now).unwrap();
    let open = choice.choose(&key).unwrap().open(&mut rng).unwrap();
    let (challenge, _) = open.run(&mut rng).challenge(&mut rng).unwrap();

    let confirm = [&[10, 0, 16][..], &[7; 16]].concat();
    let said = inspect(&house, &[hello, confirm].concat()).ok();
    let known = format!("known_keys          {}", house.pin());
    let sealed = "rsa_ciphertext      256 bytes, sealed to an RSA key of 2048 bits";
    shows(&said, &[&known, sealed, "frame 2: Confirm", "16 bytes, sealed: an empty message"]);
    let said = inspect(&house, &challenge).ok();
    shows(&said, &["spki                left out: the client has it", "proof               32 bytes"]);

    let busy = server::busy(std::time::Duration::from_secs(77));
    shows(&inspect(&house, &busy).ok(), &["frame 1: Busy", "retry_after         77 s", "extensions          none"]);
    // What is no puzzle, one that means nothing, and one of somebody's own.
    let extensions = [&[0, 9, 3, 0, 3, 0, 2, 0xab, 0xcd][..], &[0x1a, 0x1a, 0, 0, 0xff, 1, 0, 1, 0xee]].concat();
    let said = inspect(&house, &[&[9, 0, 18][..], &extensions].concat()).ok();
    shows(
        &said,
        &[
            "retry_after         9 s",
            "0003, 2 bytes, which are no puzzle",
            "1a1a, empty, reserved: means nothing",
            "ff01, 1 bytes: ee, private use",
        ],
    );
    let puzzle = [&[9, 0, 40, 0, 9, 1, 0, 3, 0, 33, 14][..], &[7; 32]].concat();
    shows(&inspect(&house, &puzzle).ok(), &["0003, a puzzle of 14 bits for 0707"]);
    let counters: Vec<u8> = (1..=16_u64).flat_map(u64::to_be_bytes).collect();
    shows(&inspect(&house, &[&[12, 0, 128][..], &counters].concat()).ok(), &["Solution", "1, 2, 3, 4, 5, 6"]);
    inspect(&house, &[&[12, 0, 128][..], &[0; 128]].concat())
        .fails(1, &["offset 3", "the counters of a solution ascend"]);
    let twice = [&[9, 0, 11, 0, 9, 2][..], &[0, 3, 0, 0, 0, 3, 0, 0]].concat();
    inspect(&house, &twice).fails(1, &["offset 5", "the extensions name a number twice"]);
    // What clients and servers say does not come in one stream.
    inspect(&house, &[busy, [&[10, 0, 16][..], &[7; 16]].concat()].concat()).fails(1, &["both directions"]);
}

/// Offsets in a stream that begins with the ServerHello: its SPKI's length, and its end.
const SPKI: usize = 3 + 2 + 2 + 32 + 32;
const SERVER_HELLO: usize = 3 + 1500;

#[test]
fn broken_streams_say_where_and_why_after_what_could_be_read() {
    let house = House::new();
    let (from_client, from_server) = capture(&house);
    let hello = 3 + usize::from(u16::from_be_bytes([from_client[1], from_client[2]]));

    let said = inspect(&house, &from_server[..SERVER_HELLO - 10]).fails(1, &["offset 1493", "10 bytes are missing"]);
    shows(&said, &["frame 1: ServerHello", "nonce", "key_id", "spki", "credential_kinds"]);
    assert!(!said.out.contains("context"));

    let said = inspect(&house, &[&from_client[..hello], &[3, 1]].concat());
    let said = said.fails(1, &[&format!("offset {hello}"), "1 bytes are missing"]);
    shows(&said, &["frame 1: ClientHello", "known_keys"]);

    let said = inspect(&house, &[&from_client[..hello], b"GET / HTTP/1.1\r\n"].concat());
    shows(&said.fails(1, &[&format!("offset {hello}"), "0x47 is no frame type"]), &["frame 1: ClientHello"]);
    inspect(&house, &[3, 0xff, 0xff]).fails(1, &["offset 0", "a ClientLogin frame with a body of 65535 bytes"]);

    // A count over its limit, in the second field: the first was read.
    let mut bytes = from_client.clone();
    bytes[3 + 1 + 2] = 200;
    let said = inspect(&house, &bytes).fails(1, &["offset 6", "a list has 200 entries; it may have 16"]);
    shows(&said, &["versions            1\n", "frame 2: ClientLogin", "frame 5: Close"]);
    assert!(!said.out.contains("suites"), "{}", said.out);

    // A server name that is not UTF-8: `0xff` for its first letter. The fields before it were read.
    let mut bytes = from_client.clone();
    let name = bytes.windows(10).position(|window| window == b"db.example").unwrap();
    bytes[name] = 0xff;
    let said = inspect(&house, &bytes).fails(1, &["a string is not UTF-8", &format!("offset {}", name + 9)]);
    shows(&said, &["key_shares", "frame 2: ClientLogin"]);
    assert!(!said.out.contains("server_name"), "{}", said.out);

    // A SPKI that is shorter than its place: what follows is read wrongly, or left over.
    let mut bytes = from_server.clone();
    bytes[SPKI + 1] -= 1;
    shows(&inspect(&house, &bytes).fails(1, &["the server's key is unusable"]), &["WRONG at offset"]);

    // Another key than the one named.
    let mut bytes = from_server.clone();
    bytes[SPKI - 1] ^= 1;
    let offset = format!("offset {SPKI}: ");
    inspect(&house, &bytes).fails(1, &[&offset, "the key id does not match", &house.pin()]);

    // A byte too many in a body, stated in the header.
    let mut bytes = from_client[..hello].to_vec();
    bytes[2] += 1;
    bytes.push(0);
    inspect(&house, &bytes).fails(1, &[&format!("offset {hello}"), "1 bytes follow the end"]);

    // Both directions in one file.
    let said = inspect(&house, &[from_client, from_server].concat()).fails(1, &["both directions"]);
    shows(&said, &["8 frames", "1 problem\n"]);
}

#[test]
fn what_is_far_more_than_a_login_is_not_looked_at() {
    let house = House::empty();
    for (len, says) in [(64 << 20, "offset 0: "), ((64 << 20) + 1, "more than 64 MiB")] {
        let file = house.path("stream.bin");
        std::fs::File::create(&file).unwrap().set_len(len).unwrap();
        run(&["inspect", &file], "").fails(1, &[says]);
    }
}

#[test]
fn every_cut_and_every_flipped_byte_is_survived() {
    let house = House::new();
    let (from_client, _) = capture(&house);
    for cut in [1, 2, 3, 4, 7, 30, 60, 90, 100, 400] {
        inspect(&house, &from_client[..cut]).fails(1, &["offset"]);
    }
    for at in (0..96).step_by(5) {
        let mut bytes = from_client.clone();
        bytes[at] ^= 0xff;
        let said = inspect(&house, &bytes);
        assert!([0, 1].contains(&said.status), "{said:?}");
    }
    run(&["inspect", "no-such-file"], "").fails(1, &["no-such-file"]);
}
