//! Bytes as certificates: a server's chain, roots, a pinned one; and a genuine chain, changed.
//!
//! ```text
//! input = what (1) || the rest
//! ```
//!
//! | `what % 4` | the rest is |
//! |---|---|
//! | 0 | a file: PEM, or one certificate in DER |
//! | 1 | a certificate in DER, in the place of the server's own, issued by the root |
//! | 2 | one in the place of that between the server's and the root |
//! | 3 | a file of a certificate to pin |
//!
//! Whatever is read is what stands there, and can be shown on a terminal; nobody is trusted but with the certificates that the root has
//! issued, byte for byte, and no pinned certificate is for another key than its own.

use crate::files::CERTIFICATES;
use crate::memory;
use countersign::crypto::{Certificate, CertificateChain, certificates_of};
use countersign::x509::{PinnedCertificate, Roots, X509};
use countersign::{PrivateKey, PublicKey, UnixTime, limits};
use std::sync::LazyLock;

/// 2026-11-27: within the certificates' dates.
const NOW: UnixTime = UnixTime::from_secs(1_795_737_600);
const NAME: &str = "db.example";

static KEYS: LazyLock<[PublicKey; 2]> = LazyLock::new(|| {
    [include_str!("../../tests/keys/rsa2048.pem"), include_str!("../../tests/keys/other2048.pem")]
        .map(|pem| PrivateKey::from_pem(pem).unwrap().public_key().clone())
});
pub(crate) const ROOT: &[u8] = include_bytes!("../../tests/certificates/root.pem");

static BY_ROOT: LazyLock<X509> = LazyLock::new(|| X509::new(Roots::parse(ROOT).unwrap()));

/// The server's own, issued by the root, and another, issued by the last.
pub(crate) static GENUINE: LazyLock<[Vec<u8>; 3]> =
    LazyLock::new(|| ["good", "by-middle", "middle"].map(|name| der(name).unwrap()));

pub(crate) fn der(name: &str) -> Option<Vec<u8>> {
    let (_, file) = CERTIFICATES.iter().find(|(known, _)| *known == name)?;
    Some(certificates_of(file).ok()?.first()?.1.der().to_vec())
}

/// Gives how many certificates were of use.
pub fn run(data: &[u8]) -> usize {
    let Some((what, bytes)) = data.split_first() else { return 0 };
    let [good, by_middle, middle] = &*GENUINE;
    match what % 4 {
        0 => file(bytes),
        1 => verify(&[bytes], &[good]),
        2 => verify(&[by_middle, bytes], &[by_middle, middle]),
        _ => pinned(bytes),
    }
}

fn says(of: &Certificate) -> (String, String, Vec<String>, [UnixTime; 2], Option<PublicKey>, [bool; 2]) {
    let text = [of.subject(), of.issuer()].into_iter().chain(of.names().iter().map(String::as_str));
    assert!(text.flat_map(str::chars).all(|c| !c.is_control()), "what a terminal would act on");
    let (dates, is) = ([of.not_before(), of.not_after()], [of.is_authority(), of.may_encipher()]);
    (of.subject().to_owned(), of.issuer().to_owned(), of.names().to_vec(), dates, of.public_key().ok().cloned(), is)
}

fn file(bytes: &[u8]) -> usize {
    // A file of PEM is decoded in pieces, and each of those is kept as it is and as what it says.
    let found = memory::within(48 * bytes.len() + (64 << 10), || certificates_of(bytes)).unwrap_or_default();
    for (_, certificate) in &found {
        let again = Certificate::from_der(certificate.der()).expect("it was read before");
        assert_eq!(says(&again), says(certificate));
        assert!(certificate.names().len() <= 64);
        let timely = certificate.not_before() <= NOW && NOW <= certificate.not_after();
        assert_eq!(certificate.check_time(NOW).is_ok(), timely);
    }
    if let Ok(chain) = CertificateChain::parse(bytes) {
        assert!(chain.ders().eq(found.iter().map(|(_, certificate)| certificate.der())));
        assert!(chain.ders().len() <= limits::MAX_CERTIFICATES);
        assert!(chain.ders().map(<[u8]>::len).sum::<usize>() <= limits::MAX_CERTIFICATES_SIZE);
        assert_eq!(chain.key(), found[0].1.public_key().ok());
        assert!(chain.certificates().windows(2).all(|pair| pair[0].is_issued_by(&pair[1])), "a chain with a gap");
        // Whatever it is, it leads to our root only if it begins with what that has issued.
        let ders: Vec<&[u8]> = chain.ders().collect();
        verify(&ders, &[]);
    }
    found.len()
}

fn verify(sent: &[&[u8]], genuine: &[&Vec<u8>]) -> usize {
    let [key, other] = &*KEYS;
    let verified = BY_ROOT.verify(sent, key, NAME, NOW);
    let is_genuine = !genuine.is_empty() && sent.iter().eq(genuine.iter());
    if is_genuine {
        assert!(verified.is_ok(), "genuine certificates were not taken: {verified:?}");
    }
    let Ok(until) = verified else { return 0 };
    assert!(until >= NOW);
    // What comes behind the chain that leads to the root is not looked at.
    let issued = |der: &[u8]| CERTIFICATES.iter().any(|(name, _)| self::der(name).is_some_and(|known| known == der));
    assert!(issued(sent[0]), "trusted a certificate that nobody issued");
    assert!(BY_ROOT.verify(sent, other, NAME, NOW).is_err(), "trusted another key");
    assert!(BY_ROOT.verify(sent, key, "mallory.example", NOW).is_err(), "trusted it for another name");
    assert!(BY_ROOT.verify(sent, key, NAME, UnixTime::from_secs(until.as_secs() + 1)).is_err(), "trusted it too long");
    1
}

fn pinned(bytes: &[u8]) -> usize {
    let Ok(pinned) = PinnedCertificate::parse(bytes) else { return 0 };
    let certificate = pinned.certificate();
    assert_eq!(certificates_of(bytes).unwrap()[0].1.der(), certificate.der());
    let [key, other] = &*KEYS;
    for key in [key, other] {
        if pinned.verify(key, NAME, NOW).is_ok() {
            assert_eq!(certificate.public_key(), Ok(key), "pinned for another key");
            assert!(certificate.not_before() <= NOW && NOW <= certificate.not_after());
        }
    }
    1
}
