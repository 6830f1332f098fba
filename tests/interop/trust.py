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
    """A key that is not trusted, unless at this level by something else."""

    def __init__(self, rule: str, why: str, unless: int):
        super().__init__(rule, why)
        self.unless = unless


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

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> bool:
        """Whether a ticket from a login under this key may be shown: before any evidence comes."""


@dataclass
class ByManifest:
    identity: Identity
    asks_for: tuple[int, ...] = (MANIFEST,)

    def level(self, of: Question) -> int:
        self.identity.judge(of.manifest, of.key_id, of.suite, of.server_name, of.now)
        return VERIFIED

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> bool:
        try:
            self.identity.judge(None, id_, suite, server_name, now)
        except Refused:
            return False
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

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> bool:
        return False


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

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> bool:
        return False


@dataclass
class ByFirstUse:
    """Known hosts, in memory: takes what comes first for a server, and no other from then on, unless what speaks for
    the other is as good. A revoked key is not taken, whatever speaks for it."""

    known: dict[str, bytes] = field(default_factory=dict)
    revoked: set[bytes] = field(default_factory=set)
    asks_for: tuple[int, ...] = ()

    def level(self, of: Question) -> int:
        if of.key_id in self.revoked:
            raise Vetoed("T1", "the key was revoked", VERIFIED + 1)
        if self.known.setdefault(of.server_name, of.key_id) != of.key_id:
            raise Vetoed("T1", "another key than the one known", FIRST_USE)
        return FIRST_USE

    def still(self, id_: bytes, suite: int, server_name: str, now: int) -> bool:
        return id_ not in self.revoked and self.known.get(server_name) == id_


def decide(ways: Iterable[Trust], of: Question, pinned: bool) -> int:
    """The key's level. Each of the ways is asked, and the highest answer counts."""
    level, least, reasons = VERIFIED if pinned else 0, FIRST_USE, list[Refused]()
    for way in ways:
        try:
            level = max(level, way.level(of))
        except Refused as why:
            reasons.append(why)
            least = max(least, why.unless if isinstance(why, Vetoed) else 0)
    if level < least:
        told = "".join(f"; {why}" for why in reasons)
        raise Untrusted("T1", f"the server's key {fingerprint(of.key_id)} is not trusted{told}",
                        [why.rule for why in reasons])
    return level
