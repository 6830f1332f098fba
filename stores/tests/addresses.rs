//! Addresses of databases: what one says counts, or it is refused; and what keeps a connection away is said.
#![cfg(all(unix, feature = "sql"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "../../tests/support/left_out.rs"]
mod left_out;

use countersign_stores::{OpenError, Place, SqlStore};
use left_out::left_out;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, crypto::aws_lc_rs};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

fn refused(address: &str) -> OpenError {
    let refused = Place::parse(address).expect_err(address);
    assert!(!format!("{refused} {refused:?}").contains("hunter"), "{refused:?}");
    refused
}

#[test]
fn a_parameter_that_is_none_is_refused_by_its_name() {
    for name in ["sslMode", "channel_binding", "target_session_attrs", "sslmod", "connect_timeout", "options[x", "Host"]
    {
        let error = refused(&format!("postgres://alice@db.example/accounts?{name}=hunter22&sslmode=require"));
        assert!(matches!(&error, OpenError::Parameter(Some(said)) if said == name), "{error:?}");
        assert!(error.to_string().contains(name) && error.to_string().contains("sslmode"), "{error}");
    }
    // What is behind an & of the password.
    for address in ["postgres://h/d?password=x&hunter22", "postgres://h/d?hunter22=1&password=x"] {
        assert!(matches!(refused(address), OpenError::Parameter(None)));
    }
    for known in [
        "sslmode=prefer",
        "ssl-mode=verify-full&sslrootcert=a",
        "sslmode=verify-ca&ssl-root-cert=a&ssl-ca=b",
        "sslcert=a&sslkey=b&ssl-cert=c&ssl-key=d",
        "statement-cache-capacity=0",
        "host=/run/postgresql&port=5433&dbname=x&user=y&password=z",
        "hostaddr=192.0.2.1&application_name=x",
        "options=-c%20search_path=a&options[statement_timeout]=1s",
    ] {
        Place::parse(&format!("postgres://db.example/accounts?{known}")).expect(known);
    }
}

#[test]
fn how_the_other_end_is_checked_is_said_in_words_that_there_are() {
    for mode in ["full", "verify_full", "", "require,verify-full"] {
        let error = refused(&format!("postgres://alice:hunter22@db.example/accounts?sslmode={mode}"));
        assert!(matches!(error, OpenError::SslMode("sslmode")), "{mode}: {error:?}");
    }
    // A certificate that nothing would be checked by.
    for mode in ["", "sslmode=disable&", "sslmode=allow&", "sslmode=prefer&"] {
        let error = refused(&format!("postgres://alice@db.example/accounts?{mode}sslrootcert=ca.pem"));
        assert!(matches!(error, OpenError::Unchecked), "{mode}: {error:?}");
    }
}

#[test]
fn a_password_that_cuts_an_address_in_two_is_refused_and_not_printed() {
    for password in
        ["1#hunter22", "1/hunter22", "1?hunter22", "a#hunter22", "a/hunter22", "a?hunter=22", "1/?#hunter22"]
    {
        let error = refused(&format!("postgres://alice:{password}@db.example/accounts"));
        assert!(matches!(error, OpenError::Escapes), "{password}: {error:?}");
        assert!(error.to_string().contains("%23 %2F %3F %40 %3A"), "{error}");
    }
    assert!(matches!(refused("postgres://db.example/accounts?password=a#hunter22"), OpenError::Escapes));
    let escaped = Place::parse("postgres://alice:1%23%2F%3F%40%3Ahunter22@db.example/accounts").unwrap();
    assert_eq!(escaped.to_string(), "postgres://alice@db.example/accounts");
}

#[test]
fn a_user_may_stand_in_front_of_no_host_where_the_folder_of_a_socket_is_named() {
    for (given, shown) in [
        ("postgres://alice@/accounts?host=/run/x", "postgres://alice@/accounts?host=/run/x"),
        ("postgresql://a%2Bb:hunter22@/accounts?host=/run/x", "postgresql://a%2Bb@/accounts?host=/run/x"),
        ("postgres://alice@?host=/run/x&password=hunter22", "postgres://alice@?host=%2Frun%2Fx"),
    ] {
        let place = Place::parse(given).unwrap();
        assert_eq!(place.to_string(), shown);
    }
}

/// By whom and with what a server is asked to let somebody in, who finds one at the socket.
#[tokio::test]
async fn who_stands_in_front_of_no_host_is_who_asks() {
    for (user, asks) in [("alice", "alice"), ("a%2Bb%26c+d", "a+b&c+d")] {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let asked = std::thread::spawn(move || startup(&mut listener.accept().unwrap().0));
        let address = format!("postgres://{user}@/accounts?host={}&sslmode=disable", folder.path().display());
        assert!(Place::parse(&address).unwrap().schema().await.is_err());
        let asked = asked.join().unwrap();
        assert!(asked.contains(&format!("user\0{asks}\0")) && asked.contains("database\0accounts\0"), "{asked:?}");
    }
}

/// Reads how a client begins, and refuses it.
fn startup(stream: &mut (impl Read + Write)) -> String {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut message).unwrap();
    let fields = format!("SFATAL\0VFATAL\0C28000\0M{REFUSAL}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    stream.write_all(&[b"E", &length[..], fields.as_bytes()].concat()).unwrap();
    stream.flush().unwrap();
    String::from_utf8(message.split_off(4)).unwrap()
}

const REFUSAL: &str = "not with me";

/// Two authorities, and a certificate of one of them for other.example.
fn certificates(folder: &Path) -> bool {
    let script = "\
        for ca in ca strangers; do openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$ca -keyout $ca.key -out $ca.pem || exit 1; done; \
        openssl req -newkey rsa:2048 -nodes -subj /CN=other.example -keyout key.pem -out request.pem \
        && printf 'subjectAltName=DNS:other.example' > names \
        && openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
    if Command::new("openssl").arg("version").output().is_err() {
        left_out("openssl", "there is no openssl here");
        return false;
    }
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    true
}

/// As much of a PostgreSQL as speaks TLS, and lets nobody in who is content with its certificate.
fn encrypted(folder: &Path) -> u16 {
    let cert = CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![cert], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move |mut stream: TcpStream| {
        let mut request = [0; 8];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(b"S").unwrap();
        let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut encrypted = rustls::Stream::new(&mut session, &mut stream);
        if encrypted.conn.complete_io(encrypted.sock).is_ok() {
            startup(&mut encrypted);
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            // Who leaves in the middle of it is none the worse.
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Without a word of who the process' cryptography is by: a library has none to say.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_looked_at_as_far_as_the_address_says() {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
        return;
    }
    let port = encrypted(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (mode, is_content) in [
        ("require".to_owned(), true),
        (format!("verify-ca&sslrootcert={}", at("ca.pem")), true),
        (format!("verify-ca&sslrootcert={}", at("strangers.pem")), false),
        ("verify-ca".to_owned(), false),
        (format!("verify-full&sslrootcert={}", at("ca.pem")), false),
        // As PostgreSQL's own tools have it.
        (format!("require&sslrootcert={}", at("ca.pem")), true),
        (format!("require&sslrootcert={}", at("strangers.pem")), false),
    ] {
        let place = Place::parse(&format!("postgres://alice@127.0.0.1:{port}/accounts?sslmode={mode}")).unwrap();
        match place.schema().await {
            Err(OpenError::Refused(said)) => {
                assert!(said.to_string().contains(REFUSAL), "{mode}: {said}");
                assert!(is_content, "{mode}");
            }
            Err(OpenError::Away(said)) => assert!(!is_content, "{mode}: {said}"),
            other => panic!("{mode}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_or_a_key_that_is_not_there_is_named_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone.pem");
    for parameters in
        ["sslmode=verify-full&sslrootcert", "sslmode=require&sslcert", "sslkey", "ssl-mode=verify-ca&ssl-ca"]
    {
        // Nobody is there.
        let address = format!("postgres://alice@127.0.0.1:1/accounts?{parameters}={}", gone.display());
        let place = Place::parse(&address).unwrap();
        for opened in [SqlStore::open(&place).await.map(drop), SqlStore::open_even_if_away(&place).await.map(drop)] {
            let Err(OpenError::File { path, .. }) = opened else { panic!("{parameters}: {opened:?}") };
            assert_eq!(path, gone);
        }
    }
}

#[tokio::test]
async fn that_nobody_listens_is_said_and_not_that_time_is_up() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::parse(&format!("postgres://alice@127.0.0.1:{port}/accounts?sslmode=disable")).unwrap();
    let Err(OpenError::Away(said)) = place.schema().await else { panic!("somebody is there") };
    assert!(said.to_string().contains("refused"), "{said}");
}
