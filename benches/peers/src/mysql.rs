//! MySQL's `caching_sha2_password` over plain TCP, where the server has not cached the account ("full authentication").
//!
//! A re-enactment for measurement, after the protocol's public description. NOT TO BE USED: whoever stands in the middle
//! hands the client another key and reads the password, nothing that follows is encrypted, and OAEP is over SHA-1.
//!
//! Left out: the greeting's and the login packet's other fields, and the server's 5000 rounds of SHA-256-crypt over the
//! password, which is compared with a constant instead.

use crate::bare::aws_lc_key;
use crate::contender::{Contender, Family, KEYS, PASSWORD, Row};
use crate::meter::Meter;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PublicEncryptingKey};
use pkcs8::Document;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

const NONCE: usize = 20;
const REQUEST_KEY: u8 = 2;
const FULL_AUTHENTICATION: u8 = 4;
const MORE_DATA: u8 = 1;
const OK: u8 = 0;
const ERR: u8 = 0xff;

/// The one exchange.
pub fn all() -> Vec<Box<dyn Contender>> {
    vec![Box::new(Mysql::new())]
}

/// A server with a key, which it also keeps as the text to send.
struct Mysql {
    key: OaepPrivateDecryptingKey,
    public_pem: String,
    rng: StdRng,
}

impl Mysql {
    fn new() -> Self {
        let key = countersign::PrivateKey::from_pem(KEYS[0].1).unwrap();
        Self {
            key: OaepPrivateDecryptingKey::new(aws_lc_key(KEYS[0].1)).unwrap(),
            public_pem: key.public_key().to_pem(),
            rng: StdRng::try_from_rng(&mut SysRng).unwrap(),
        }
    }

    /// A whole login: whether the server let the client in.
    fn login(&mut self, password: &[u8], meter: &mut Meter) -> bool {
        let (greeting, nonce) = meter.server(|| {
            let mut nonce = [0; NONCE];
            self.rng.fill_bytes(&mut nonce);
            (packet(0, &nonce), nonce)
        });
        meter.server_sends(&greeting);
        let scramble = meter.client(|| packet(1, &fast_scramble(password, body(&greeting))));
        meter.client_sends(&scramble);
        let answer = meter.server(|| packet(2, &[MORE_DATA, FULL_AUTHENTICATION]));
        meter.server_sends(&answer);
        let request = meter.client(|| packet(3, &[REQUEST_KEY]));
        meter.client_sends(&request);
        let key = meter.server(|| packet(4, &[&[MORE_DATA], self.public_pem.as_bytes()].concat()));
        meter.server_sends(&key);
        let sealed = meter.client(|| packet(5, &seal(password, body(&greeting), &body(&key)[1..])));
        meter.client_sends(&sealed);
        let verdict = meter.server(|| {
            let good = self.open(body(&sealed), &nonce).is_some_and(|password| password == PASSWORD);
            packet(6, &[if good { OK } else { ERR }])
        });
        meter.server_sends(&verdict);
        meter.client(|| body(&verdict) == [OK])
    }

    /// The password in what the client sealed.
    fn open(&self, sealed: &[u8], nonce: &[u8; NONCE]) -> Option<Vec<u8>> {
        let mut opened = vec![0; self.key.min_output_size()];
        let opened = self.key.decrypt(&OAEP_SHA1_MGF1SHA1, sealed, &mut opened, None).ok()?;
        let mut password = xor(opened, nonce);
        (password.pop() == Some(0)).then_some(password)
    }
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)) || nonce)`: enough where the server has cached the account.
fn fast_scramble(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let once = Sha256::digest(password);
    let mask = Sha256::new().chain_update(Sha256::digest(once)).chain_update(nonce).finalize();
    xor(&once, &mask)
}

/// `RSA-OAEP-SHA-1(key, (password || 0) XOR nonce)`
fn seal(password: &[u8], nonce: &[u8], pem: &[u8]) -> Vec<u8> {
    let (_, spki) = Document::from_pem(str::from_utf8(pem).unwrap()).unwrap();
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(spki.as_bytes()).unwrap()).unwrap();
    let mut sealed = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA1_MGF1SHA1, &xor(&[password, &[0]].concat(), nonce), &mut sealed, None).unwrap();
    sealed
}

/// `data` under `mask`, which starts over where it ends.
fn xor(data: &[u8], mask: &[u8]) -> Vec<u8> {
    data.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// A packet: three bytes of length, one of sequence, the body.
fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&[a, b, c, sequence], body].concat()
}

fn body(packet: &[u8]) -> &[u8] {
    &packet[4..]
}

impl Contender for Mysql {
    fn row(&self) -> Row {
        Row {
            name: "MySQL caching_sha2_password, RSA-2048 (re-enacted)".to_owned(),
            family: Family::Peer,
            round_trips: "3.5",
            authenticates: "client only: password",
            forward_secret: "no session key",
        }
    }

    fn once(&mut self, meter: &mut Meter) {
        assert!(self.login(PASSWORD, meter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::WRONG;

    #[test]
    fn a_wrong_password_is_refused() {
        assert!(!Mysql::new().login(WRONG, &mut Meter::default()));
    }

    #[test]
    fn a_password_sealed_under_another_nonce_is_refused() {
        let mysql = Mysql::new();
        let sealed = seal(PASSWORD, &[1; NONCE], mysql.public_pem.as_bytes());
        assert_eq!(mysql.open(&sealed, &[1; NONCE]).as_deref(), Some(PASSWORD));
        assert_ne!(mysql.open(&sealed, &[2; NONCE]).as_deref(), Some(PASSWORD));
    }
}
