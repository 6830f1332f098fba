"""Which server keys are trusted, and how far: one of several ways that a client may have besides pins and keys."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Optional, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from keys import fingerprint
from manifest import Identity
from wire import (BY_KEY, CERTIFICATES, CERTIFIED, FIRST_USE, MANIFEST, PASSWORD, STRETCHED, TOKEN, VERIFIED, Refused,
                  require)

# What may be sent to a key of which level, unless a user says otherwise.
NEEDS = {PASSWORD: CERTIFIED, TOKEN: CERTIFIED, BY_KEY: FIRST_USE, STRETCHED: CERTIFIED}


@dataclass
class Question:
    spki: bytes
    key_id: bytes
    suite: int
    server_name: str
    now: int  # Unix seconds
    certificates: list[bytes]  # as the server sent them; none if it sent none
    manifest: Optional[bytes]


class Vetoed(Refused):
    """A key that is not trusted, whatever else speaks for it."""


class Untrusted(Refused):
    """`reasons` are the rules by which each way refused the key."""

    def __init__(self, rule: str, why: str, reasons: list[str]):
        super().__init__(rule, why)
        self.reasons = reasons


class Trust(Protocol):
    """One way to know a server key. `asks_for` are the extensions that bring what it looks at."""

    asks_for: tuple[int, ...]

    def level(self, of: Question) -> int:
        """That of the key. Refused: this way does not know it."""

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> Optional[bool]:
        """Whether a ticket from a login under this key may be shown, as far as this way can tell before any evidence comes. False:
        it may not, whatever else speaks for the key."""


@dataclass
class ByManifest:
    identity: Identity
    asks_for: tuple[int, ...] = (MANIFEST,)

    def level(self, of: Question) -> int:
        try:
            self.identity.judge(of.manifest, of.key_id, of.suite, of.server_name, of.now)
        except Refused as why:
            # An old manifest, or a second one of a sequence, is what an attack looks like (M8).
            raise Vetoed(why.rule, str(why).removeprefix(f"{why.rule}: ")) if why.rule == "M3" else why
        return VERIFIED

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> Optional[bool]:
        try:
            self.identity.judge(None, id_, suite, server_name, now)
        except Refused:
            return None
        return True


@dataclass
class ByCertificates:
    """`name` is the DNS name or IP address that the client means; without it, the server name."""

    roots: list[x509.Certificate]
    name: str = ""
    asks_for: tuple[int, ...] = (CERTIFICATES,)

    def level(self, of: Question) -> int:
        if not of.certificates:
            raise Refused("T1", "no certificates were sent")
        try:
            first, *others = map(x509.load_der_x509_certificate, of.certificates)
            spki = first.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except Exception:  # a parser's
            raise Refused("T1", "not certificates") from None
        require(spki == of.spki, "X1", "the certificate is another key's")
        require_usage(first)
        self.require_chain(first, others, self.name or of.server_name, of.now)
        return CERTIFIED

    def require_chain(self, first: x509.Certificate, others: list[x509.Certificate], name: str, now: int) -> None:
        """RFC 5280, by the library; and X3."""
        if not name:
            raise Refused("X3", "no name to look for")
        subject = subject_of(name)
        require(subject in names_of(first), "X3", f"not for {name}")
        when = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
        verifier = PolicyBuilder().store(Store(self.roots)).time(when).build_server_verifier(subject)
        try:
            verifier.verify(first, others)
        except VerificationError as why:
            raise Refused("T1", f"the certificates do not lead to a root: {why}") from None

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> Optional[bool]:
        return None


def subject_of(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Wildcards are the library's affair, and left out."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def require_usage(certificate: x509.Certificate) -> None:
    """X2."""
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            require(not value.ca, "X2", "a certificate authority's")
        if isinstance(value, x509.KeyUsage):
            require(value.key_encipherment, "X2", "its key usage has no keyEncipherment")
        if isinstance(value, x509.ExtendedKeyUsage):
            require(ExtendedKeyUsageOID.SERVER_AUTH in value, "X2", "its extended key usage has no serverAuth")


@dataclass
class ByOwnCertificate:
    """The very certificate of the server, which the client has. It need not be sent."""

    certificate: x509.Certificate
    name: str = ""
    asks_for: tuple[int, ...] = ()

    def level(self, of: Question) -> int:
        own = self.certificate
        spki = own.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        require(spki == of.spki, "X1", "the certificate is another key's")
        require(subject_of(self.name or of.server_name) in names_of(own), "X3", "for another name")
        begins, ends = own.not_valid_before_utc.timestamp(), own.not_valid_after_utc.timestamp()
        require(begins <= of.now <= ends, "T1", "the certificate is not valid now")
        return VERIFIED

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> Optional[bool]:
        return None


@dataclass
class ByFirstUse:
    """Known hosts, in memory: takes what comes first for a server, and no other from then on (H2). A revoked key is not taken
    (H1). Whatever else speaks for either."""

    known: dict[str, bytes] = field(default_factory=dict)
    revoked: set[bytes] = field(default_factory=set)
    asks_for: tuple[int, ...] = ()

    def level(self, of: Question) -> int:
        if of.key_id in self.revoked:
            raise Vetoed("H1", "the key was revoked")
        if self.known.setdefault(of.server_name, of.key_id) != of.key_id:
            raise Vetoed("H2", "another key than the one known")
        return FIRST_USE

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> Optional[bool]:
        if id_ in self.revoked:
            return False
        return self.known[server_name] == id_ if server_name in self.known else None


def decide(ways: Iterable[Trust], of: Question, pinned: bool) -> int:
    """The key's level. Each of the ways is asked, and the highest answer counts, unless one of them says that nothing does."""
    level, reasons = VERIFIED if pinned else 0, list[Refused]()
    for way in ways:
        try:
            level = max(level, way.level(of))
        except Refused as why:
            reasons.append(why)
    if not level or any(isinstance(why, Vetoed) for why in reasons):
        told = "".join(f"; {why}" for why in reasons)
        raise Untrusted("T1", f"the server's key {fingerprint(of.key_id)} is not trusted{told}",
                        [why.rule for why in reasons])
    return level
